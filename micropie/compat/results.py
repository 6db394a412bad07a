"""Results of handlers that may be ``def`` or ``async def``, and those that are sent in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import isawaitable
from itertools import chain
from typing import Any
from unicodedata import normalize

CHUNK = 65536
"""The bytes of a body or a file that are read at once."""

LONGEST_NAME = 255
"""Bytes of the name of a file: NAME_MAX of most file systems."""

LONGEST_KEPT = 500
"""The characters of a text that may be a client's which caches keep: 256 texts of 10 MB would be
2.5 GB."""

# The types of most results: looking a type up here is faster than asking whether a result can be
# awaited.
_VALUES = frozenset({str, bytes, dict, list, type(None)})


def in_ascii(name: str) -> str:
    """Return a file's name without accents and whatever else ASCII lacks, of ``LONGEST_NAME``
    characters at most.

    Longer ones are cut first: characters are taken apart in quadratic time.
    """
    return normalize("NFKD", name[:LONGEST_NAME]).encode("ascii", "ignore").decode()


def then(result: object, function: Callable[[Any], object]) -> object:
    """Return ``function(result)``, awaitable if ``result`` is what an ``async def`` returned."""
    if type(result) in _VALUES or not isawaitable(result):
        return function(result)

    async def await_first() -> object:
        return function(await result)

    return await_first()


class Chunks(chain[Any]):
    """The chunks of an iterable, and the method that closes what they come from. Written in C."""

    close: Callable[[], object] = staticmethod(lambda: None)

    @classmethod
    def of(cls, source: Iterable[object], made: Iterable[object]) -> Chunks:
        """Return the chunks ``made`` from ``source``. Closing them closes ``source``."""
        chunks = cls(made)
        chunks.close = getattr(source, "close", chunks.close)
        return chunks
