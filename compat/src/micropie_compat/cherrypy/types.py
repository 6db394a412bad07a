"""Types that several modules of this package use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

Target = TypeVar("Target")
"""The function or the class that a decorator configures."""

Section: TypeAlias = dict[str, Any]
"""Configuration as a dict: that of a path or a handler, or the options of a tool."""

Sections: TypeAlias = dict[str, Section]
"""Configurations by path or by name."""

Strings: TypeAlias = str | Sequence[str]
"""One string or several: the value of an option, see ``lib.listed``."""

Options: TypeAlias = Mapping[str, Any]
"""The options of a tool by name."""

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
