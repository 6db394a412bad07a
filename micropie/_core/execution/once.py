"""Resources that requests share, declared with ``app.provides(Pool, once=True)``. They are opened
at startup and closed at shutdown, on each event loop that serves the application.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextlib import contextmanager as sync_manager
from typing import Any

from micropie._core.execution.loop import LoopLocal
from micropie._core.execution.placement import AnyFunction, Given


class Once:
    """A resource that is opened once on each event loop.

    ``make``: the provider function. ``name``: the resource's name in errors.
    """

    def __init__(self, make: AnyFunction, name: str) -> None:
        self._make = (
            asynccontextmanager(make)
            if inspect.isasyncgenfunction(make)
            else sync_manager(make)
            if inspect.isgeneratorfunction(make)
            else make
        )
        self._name = name
        self._opened = LoopLocal[list[object]](list)
        self._stacks = LoopLocal[list[AsyncExitStack]](list)

    async def open(self, stack: AsyncExitStack) -> None:
        """Open the resource on this loop. ``stack`` will close it."""
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

    async def give(self) -> Given:
        """Return the resource that is open on this loop. This is the requests' provider function.

        It is ``async`` so that it runs on the loop. It doesn't open or close the resource, unless
        a test overrode it at startup.
        """
        opened = self._opened.get()
        if not opened:
            stacks = self._stacks.get()
            if not stacks:
                raise RuntimeError(
                    f"{self._name} is opened at startup, but the application has not started on "
                    'this event loop: in a test, write "with TestClient(app) as client:"'
                )
            await self.open(stacks[-1])
        return Given(opened[-1])

    @staticmethod
    @asynccontextmanager
    async def all_open(
        resources: Mapping[object, Once],
        overridden: Container[object],
        lifespan: AbstractAsyncContextManager[object] | None,
    ) -> AsyncIterator[object]:
        """Open the resources that tests don't override, then enter the lifespan. On exit, leave the
        lifespan, then close the resources in reverse order.
        """
        async with AsyncExitStack() as stack:
            for key, one in resources.items():
                stacks = one._stacks.get()
                stacks.append(stack)
                stack.callback(stacks.pop)
                if key not in overridden:
                    await one.open(stack)
            yield None if lifespan is None else await stack.enter_async_context(lifespan)
