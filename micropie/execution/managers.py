"""Context managers as generators that yield once, so that one mechanism opens and closes both."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import TypeVar

Value = TypeVar("Value")


def entered(manager: AbstractContextManager[Value]) -> Iterator[Value]:
    """Yield what ``manager`` gives, and leave it after that."""
    with manager as value:
        yield value


async def entered_on_loop(make: Callable[[], AbstractAsyncContextManager[Value]]) -> AsyncIterator[Value]:
    """The same for an async one, which is made on the event loop: many ask for the running loop then."""
    async with make() as value:
        yield value
