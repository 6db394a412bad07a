"""Types that several modules of this package use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Section: TypeAlias = dict[str, Any]
"""Configuration as a dict: that of a path or a handler, or the options of a tool."""

Parameters: TypeAlias = dict[str, Any]
"""The keyword arguments of a handler: strings, lists of strings, parts of forms, and values that
tools have converted.
"""

Namespace: TypeAlias = Callable[[str, Any], object]
"""A function for one namespace of the configuration, called with each key's name and value."""


class Readable(Protocol):
    """An open binary file, or another object with ``read``."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes, or b"" at the end."""


class FileLike(Protocol):
    """An open file, binary or text, or another object with ``read``."""

    def read(self, size: int, /) -> bytes | str:
        """Return at most ``size`` bytes or characters, or an empty value at the end."""
