"""``cherrypy._cpcompat``: text and bytes, for programs that ran on Python 2 as well."""

from __future__ import annotations

from importlib import import_module
from typing import Any

text_or_bytes = str, bytes


def ntob(n: str, encoding: str = "ISO-8859-1") -> bytes:
    """Return text as bytes. Raises ``TypeError`` for anything else."""
    return ntou(n).encode(encoding)


def ntou(n: str, encoding: str = "ISO-8859-1") -> str:
    """Return text as it is. Raises ``TypeError`` for anything else."""
    if not isinstance(n, str):
        raise TypeError(f"n must be a native str (got {type(n).__name__})")
    return n


def tonative(n: str | bytes, encoding: str = "ISO-8859-1") -> str:
    """Return bytes as text, text as it is."""
    return n.decode(encoding) if isinstance(n, bytes) else n


def __getattr__(name: str) -> Any:
    """Import a class that few programs use when it is asked for: with it come sockets and mails."""
    if name != "HTTPSConnection":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("http.client").HTTPSConnection
