"""Types that several modules of this package name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

Section: TypeAlias = dict[str, Any]
"""Configuration by key, with values of any kind: of a path, of a handler, or of a tool, whose
options it is."""

Parameters: TypeAlias = dict[str, Any]
"""What a handler is called with by name: text, lists of text, parts of forms, and what tools make
of them."""

Namespace: TypeAlias = Callable[[str, Any], object]
"""A function that is called with the name and the value of each key of a namespace of the
configuration."""


class Readable(Protocol):
    """An open file, or another object with ``read``."""

    def read(self, size: int, /) -> bytes:
        """Return at most so many bytes, none at the end."""


class FileLike(Protocol):
    """A ``Readable``, or one of text."""

    def read(self, size: int, /) -> bytes | str:
        """Return at most so many bytes or characters, none at the end."""
