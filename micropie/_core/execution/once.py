"""Resources of the whole application, ``app.provides(Pool, once=True)``: opened at its start and
closed at its end, on each event loop that serves it.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextlib import contextmanager as sync_manager
from typing import Any

from micropie._core.execution.loop import LoopLocal


class Once:
    """A resource that each event loop opens once. ``make``: a function as ``provides`` takes it."""

    def __init__(self, make: Callable[..., Any], name: str) -> None:
        self._make = (
            asynccontextmanager(make)
            if inspect.isasyncgenfunction(make)
            else sync_manager(make)
            if inspect.isgeneratorfunction(make)
            else make
        )
        self._name = name
        self._opened = LoopLocal[list[object]](list)

    async def open(self, stack: AsyncExitStack) -> None:
        """Open it on this loop, until the end of ``stack``."""
        opened = self._opened.get()
        made: Any = self._make()
        if inspect.isawaitable(made) and not hasattr(type(made), "__aenter__"):
            made = await made
        if hasattr(type(made), "__aenter__"):
            made = await stack.enter_async_context(made)
        elif hasattr(type(made), "__enter__"):
            made = stack.enter_context(made)
        opened.append(made)
        stack.callback(opened.pop)

    async def give(self) -> AsyncIterator[object]:
        """Yield what is open on this loop: the provider.

        It is ``async``, so it runs there, and no request enters or leaves what it yields.
        """
        opened = self._opened.get()
        if not opened:
            raise RuntimeError(
                f"{self._name} is opened when the application starts, and it has not started on "
                "this event loop: with a test client, write with TestClient(app) as client"
            )
        yield opened[-1]

    @staticmethod
    @asynccontextmanager
    async def all_open(
        resources: Sequence[Once], lifespan: AbstractAsyncContextManager[object] | None
    ) -> AsyncIterator[object]:
        """Open the resources, then enter the lifespan, and leave all in reverse order."""
        async with AsyncExitStack() as stack:
            for one in resources:
                await one.open(stack)
            yield None if lifespan is None else await stack.enter_async_context(lifespan)
