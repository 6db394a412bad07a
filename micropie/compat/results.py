"""Results of handlers that may be ``def`` or ``async def``, and those that are sent in chunks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import isawaitable
from itertools import chain
from typing import Any

# Most results, of which it takes longer to ask whether they can be awaited.
_VALUES = frozenset({str, bytes, dict, list, type(None)})


def then(result: object, function: Callable[[Any], object]) -> object:
    """Return ``function(result)``, or what can be awaited for it, if ``result`` is that of an
    ``async def``.
    """
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
        """Return the chunks ``made`` of ``source``. To close them closes ``source``."""
        chunks = cls(made)
        chunks.close = getattr(source, "close", chunks.close)
        return chunks
