"""Results of handlers that may be ``def`` or ``async def``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any

# Most results, of which it takes longer to ask whether they can be awaited.
_VALUES = frozenset({str, bytes, dict, list, type(None)})


def then(result: object, function: Callable[[Any], object]) -> object:
    """Return ``function(result)``, or what can be awaited for it, if ``result`` is that of an ``async def``."""
    if type(result) in _VALUES or not isawaitable(result):
        return function(result)
    return _awaited(result, function)


async def _awaited(result: Awaitable[object], function: Callable[[Any], object]) -> object:
    return function(await result)
