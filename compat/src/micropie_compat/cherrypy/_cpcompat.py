"""``cherrypy._cpcompat``: conversions between strings and bytes, for programs that also ran on
Python 2.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

text_or_bytes = str, bytes


def ntob(n: str, encoding: str = "ISO-8859-1") -> bytes:
    """Return a string encoded as bytes. Raises ``TypeError`` for any other type."""
    return ntou(n).encode(encoding)


def ntou(n: str, encoding: str = "ISO-8859-1") -> str:
    """Return a string unchanged. Raises ``TypeError`` for any other type."""
    if not isinstance(n, str):
        raise TypeError(f"n must be a native str (got {type(n).__name__})")
    return n


def tonative(n: str | bytes, encoding: str = "ISO-8859-1") -> str:
    """Return a string: bytes are decoded, and a string is returned unchanged."""
    return n.decode(encoding) if isinstance(n, bytes) else n


def __getattr__(name: str) -> Any:
    """Import ``HTTPSConnection`` when it is first used, since few programs need it and it imports
    ``socket`` and ``email``.
    """
    if name != "HTTPSConnection":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("http.client").HTTPSConnection
