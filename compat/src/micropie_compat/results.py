"""Helpers for handlers' results, which may be awaitable or sent in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import isawaitable
from itertools import chain
from os import PathLike
from typing import Any, TypeAlias
from unicodedata import normalize

AnyFunction: TypeAlias = Callable[..., object]
"""A function or another callable object, whatever its parameters are."""

Values: TypeAlias = Mapping[str, object]
"""Values of any types by name."""

StrPath: TypeAlias = str | PathLike[str]
"""The path of a file or directory."""

CHUNK = 65536
"""The number of bytes of a body or a file to read at once."""

SMALL = {True: 256 * 1024, False: 320 * 1024}
"""The maximum length in bytes of a file that is read as a whole, by whether the server sends longer
ones itself. If not, a chunk has 256 KiB, and one more takes a thread, which costs more than to read
a short rest.
"""

NO_CONTENT = frozenset({204, 304})
"""The statuses of responses without a body."""

LONGEST_NAME = 255
"""The maximum number of characters in a file's name: the NAME_MAX of most file systems."""

LONGEST_KEPT = 500
"""The maximum length of a string that is stored in a cache. Longer strings may come from a client,
and a cache with 256 strings of 10 MB would take 2.5 GB.
"""

# The types of most results, none of which is awaitable. This set is checked first because it is
# faster than ``isawaitable``.
_VALUES = frozenset({str, bytes, dict, list, type(None)})


def in_ascii(name: str) -> str:
    """Return a file's name with accents and all other non-ASCII characters removed.

    A name longer than ``LONGEST_NAME`` is cut first, because decomposing characters (NFKD) takes
    quadratic time.
    """
    return normalize("NFKD", name[:LONGEST_NAME]).encode("ascii", "ignore").decode()


def then(result: object, function: Callable[[Any], object]) -> object:
    """Return ``function(result)``. If ``result`` is awaitable, return a coroutine that awaits it
    and passes the value to ``function``.
    """
    if type(result) in _VALUES or not isawaitable(result):
        return function(result)

    async def await_first() -> object:
        return function(await result)

    return await_first()


class Chunks(chain[Any]):
    """An iterator over chunks, with a ``close`` method that closes their source. It is derived from
    ``chain`` for speed, because the ``__next__`` of ``chain`` is implemented in C.
    """

    close: Callable[[], object] = staticmethod(lambda: None)
    length: int | None = None
    """The number of bytes of all chunks, if it is known."""

    @classmethod
    def of(cls, source: Iterable[object], made: Iterable[object]) -> Chunks:
        """Return an iterator over ``made``, the chunks computed from ``source``. Its ``close``
        closes ``source``.
        """
        chunks = cls(made)
        chunks.close = getattr(source, "close", chunks.close)
        return chunks


def merged(*mappings: Mapping[str, Any]) -> dict[str, Any]:
    """Merge mappings into a new dict. Keys of later mappings replace those of earlier ones."""
    found: dict[str, Any] = {}
    for mapping in mappings:
        found.update(mapping)
    return found


def words(text: str) -> list[str]:
    """Return the words of a text: the names in a list that is easier to read without quotes."""
    return text.split()


def in_utf8(chunks: Iterable[object]) -> Chunks:
    """Return an iterator over chunks whose strings are encoded in UTF-8."""
    return Chunks.of(chunks, map(in_bytes, chunks))


def in_bytes(text: Any) -> Any:
    """Return a string encoded in UTF-8. Any other object is returned unchanged."""
    return text.encode() if isinstance(text, str) else text


def close_if_closable(source: object) -> None:
    """Call an object's ``close`` method, if it has one. A class is not closed, because the method
    needs an object.
    """
    close = None if isinstance(source, type) else getattr(source, "close", None)
    if close is not None:
        close()
