"""CherryPy's library: what its tools are made of, for applications that call it themselves.

Open ``cptools.py`` to change one of the small tools, ``encoding.py`` for ``encode``, ``decode`` and
``gzip``, ``static.py`` for files, and the module with the tool's name for any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from types import GeneratorType
from typing import Any, Protocol, TypeGuard

from micropie.compat.cherrypy.types import FileLike, Readable
from micropie.compat.core import current
from micropie.compat.missing import tell
from micropie.compat.results import Chunks


class _Closable(Protocol):
    def close(self) -> object:
        """Let go of what it has open."""


def is_iterator(obj: object) -> TypeGuard[Iterator[object]]:
    """Return whether ``obj`` is used up by iterating over it."""
    return isinstance(obj, GeneratorType) or (hasattr(obj, "__iter__") and iter(obj) is obj)


def is_closable_iterator(obj: object) -> TypeGuard[_Closable]:
    """Return whether ``obj`` is an iterator with a method ``close``."""
    return is_iterator(obj) and callable(getattr(obj, "close", None))


class file_generator:  # noqa: N801 - CherryPy's name
    """Iterate over an open file in pieces of ``chunkSize`` bytes or characters.

    The file is closed once: after the last piece, or by ``close``.
    """

    def __init__(self, input: FileLike, chunkSize: int = 65536) -> None:  # noqa: A002, N803
        self.input = input
        self.chunkSize = chunkSize
        self._close: Callable[[], object] | None = getattr(input, "close", None)

    def __iter__(self) -> file_generator:
        return self

    def __next__(self) -> bytes | str:
        chunk = self.input.read(self.chunkSize)
        if chunk:
            return chunk
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Close the file, unless that has been done."""
        close, self._close = self._close, None
        if close is not None:
            close()


def pieces_of(file: FileLike) -> file_generator:
    """Return the pieces of a file-like object that a handler has returned.

    It is closed with the request at the latest, because an error may replace the response.
    """
    pieces = file_generator(file)
    native = current.get(None)
    if native is not None and hasattr(file, "close"):
        native.on_close(pieces.close)
    return pieces


def file_generator_limited(
    fileobj: Readable, count: int, chunk_size: int = 65536
) -> Iterator[bytes]:
    """Yield ``count`` bytes of an open file, or less if it has less."""
    while count > 0 and (chunk := fileobj.read(min(chunk_size, count))):
        count -= len(chunk)
        yield chunk


class FilePart(Chunks):
    """The bytes of a file on a disk whose Content-Length is set, so they are sent as they are."""


def listed(value: str | Iterable[str] | None) -> list[str]:
    """Return an option that may be one text, several or none."""
    return [value] if isinstance(value, str) else list(value or ())


def set_vary_header(response: Any, header_name: str) -> None:
    """Add a name to the header Vary."""
    names = [name.strip() for name in response.headers.get("Vary", "").split(",") if name.strip()]
    if header_name not in names:
        names.append(header_name)
    response.headers["Vary"] = ", ".join(names)


def __getattr__(name: str) -> object:
    if name in ("headers", "locking", "reprconf"):
        return import_module(f"{__name__}.{name}")
    tell(__name__, name)
