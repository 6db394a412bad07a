"""``cherrypy.lib``: the functions that implement the tools. Applications may also call them
directly.

Open ``cptools.py`` to change one of the small tools, ``encoding.py`` for ``encode``, ``decode`` and
``gzip``, ``static.py`` for files. Each of the other tools is in the module of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from types import GeneratorType
from typing import Any, TypeGuard

from micropie_compat.cherrypy.types import FileLike, Readable
from micropie_compat.core import current
from micropie_compat.missing import tell
from micropie_compat.results import Chunks


def is_iterator(obj: object) -> TypeGuard[Iterator[object]]:
    """Return whether ``obj`` is an iterator, which can be iterated over only once."""
    return isinstance(obj, GeneratorType) or (hasattr(obj, "__iter__") and iter(obj) is obj)


def is_closable_iterator(obj: object) -> bool:
    """Return whether ``obj`` is an iterator with a method ``close``."""
    return is_iterator(obj) and callable(getattr(obj, "close", None))


class file_generator:  # noqa: N801 - CherryPy's name
    """An iterator over pieces of an open file, each of ``chunkSize`` bytes or characters.

    The file is closed after the last piece, or by ``close``.
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
        """Close the file if it isn't closed yet."""
        close, self._close = self._close, None
        if close is not None:
            close()


def pieces_of(file: FileLike) -> file_generator:
    """Return an iterator over a file-like object that a handler has returned.

    The object is closed when the request ends, even if it isn't read because an error page has
    replaced the response.
    """
    pieces = file_generator(file)
    native = current.get(None)
    if native is not None and hasattr(file, "close"):
        native.on_close(pieces.close)
    return pieces


def file_generator_limited(
    fileobj: Readable, count: int, chunk_size: int = 65536
) -> Iterator[bytes]:
    """Yield the next ``count`` bytes of an open file in chunks, or fewer if the file is shorter."""
    while count > 0 and (chunk := fileobj.read(min(chunk_size, count))):
        count -= len(chunk)
        yield chunk


class EncodedChunks(Chunks):
    """An iterator over a handler's chunks, whose strings are encoded.

    ``Response`` calls ``fetched`` unless the response is streamed, because making the chunks may
    set headers or raise an ``HTTPError``. The chunks of an async handler are made there, too,
    outside of the event loop.
    """

    def fetched(self) -> list[object]:
        """Return all chunks. They aren't joined, because the tool ``flatten`` allows iterables
        among them.
        """
        try:
            return [*self]
        finally:
            self.close()


class ServedChunks(Chunks):
    """An iterator over the chunks of an open file, for ``serve_fileobj``.

    ``Response`` encodes strings in UTF-8 if the tool ``encode`` hasn't encoded them.
    """


class FilePart(Chunks):
    """An iterator over the chunks of a part of a file on disk. Its ``length`` is known, so
    ``Response`` needn't join the chunks to compute it.
    """


def listed(value: str | Iterable[str] | None) -> list[str]:
    """Return an option's value (a string, an iterable of strings or None) as a list of strings."""
    return [value] if isinstance(value, str) else list(value or ())


def set_vary_header(response: Any, header_name: str) -> None:
    """Add a name to the response's Vary header unless the header has it already."""
    names = [name.strip() for name in response.headers.get("Vary", "").split(",") if name.strip()]
    if header_name not in names:
        names.append(header_name)
    response.headers["Vary"] = ", ".join(names)


def __getattr__(name: str) -> object:
    if name in ("headers", "locking", "reprconf", "xmlrpcutil"):
        return import_module(f"{__package__}.{name}")
    tell(__package__, name)
