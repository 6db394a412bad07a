"""A request may end wherever it waits: at each of its suspensions the server cancels it, the client
leaves, or ``send`` fails. Whatever was opened is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import anyio
import pytest
import trio

from micropie import App
from tests.asgi.calls import every_loop
from tests.execution.requests_that_open import (
    COMMITTED,
    FAILED,
    OPEN,
    OUTCOMES,
    PENDING,
    REQUESTS,
    Server,
    is_stream,
    open_files,
)
from tests.support.waiting import PATIENCE, until_async


class Counted(Coroutine[Any, Any, Any]):
    """A coroutine whose suspensions are counted."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], count: Callable[[], None]) -> None:
        self._coroutine, self._count = coroutine, count

    def send(self, value: Any) -> Any:
        yielded = self._coroutine.send(value)
        self._count()
        return yielded

    def throw(self, *error: Any) -> Any:
        yielded = self._coroutine.throw(*error)
        self._count()
        return yielded

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        raise NotImplementedError  # a task takes it as it is


async def serve_on_asyncio(app: App, server: Server) -> None:
    loop, before = asyncio.get_running_loop(), asyncio.all_tasks()

    def counted(
        loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
    ) -> asyncio.Task[Any]:
        return asyncio.Task(Counted(coroutine, server.count), loop=loop, **options)

    loop.set_task_factory(counted)
    try:
        call: Any = app(server.scope, server.receive, server.send)
        task = loop.create_task(call)
        server.cancel = task.cancel
        await asyncio.wait([task])
        server.cancel = None
        await until_async(lambda: not asyncio.all_tasks() - before)  # tasks of the request
    finally:
        loop.set_task_factory(None)
    if not task.cancelled():
        task.result()


class Steps(trio.abc.Instrument):
    def __init__(self, count: Callable[[], None]) -> None:
        self._count = count

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._count()


async def serve_on_trio(app: App, server: Server) -> None:
    steps, before = Steps(server.count), trio.lowlevel.current_statistics().tasks_living
    trio.lowlevel.add_instrument(steps)
    try:
        with trio.CancelScope() as cancels:
            server.cancel = cancels.cancel
            await app(server.scope, server.receive, server.send)
        server.cancel = None
    finally:
        trio.lowlevel.remove_instrument(steps)
    await until_async(lambda: trio.lowlevel.current_statistics().tasks_living <= before)


SERVE = {"asyncio": serve_on_asyncio, "trio": serve_on_trio}


def ends_logged(caplog: pytest.LogCaptureFixture) -> int:
    """How often the failure at the end of a provider was logged."""
    return sum("the end of a provider" in str(record.exc_info) for record in caplog.records)


async def end_everywhere(
    backend: str, app: App, path: str, body: bytes, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """End a request at its first suspension, then at its second one, and so on, until it ends by
    itself.
    """
    first = Server(path, body, 0, way)
    await app(first.scope, first.receive, first.send)  # it starts the application
    await until_async(lambda: not (OPEN or PENDING))
    assert first.outcome == OUTCOMES.get(path, first.usual)
    files, end_at, server = open_files(), 0, first
    while server.suspensions >= end_at:
        end_at += 1
        server = Server(path, body, end_at, way)
        COMMITTED.clear()
        FAILED.clear()
        caplog.clear()
        try:
            with anyio.fail_after(PATIENCE):
                await SERVE[backend](app, server)
                await until_async(lambda: not (OPEN or PENDING) and open_files() <= files)
            assert ends_logged(caplog) == len(FAILED)
            if is_stream(path):  # what a stream uses is open to its end
                assert server.is_answered or not COMMITTED
        except BaseException as error:
            error.add_note(f"ended at suspension {end_at}: {OPEN} open, sent {server.sent}")
            raise
        finally:
            OPEN.clear()
            PENDING.clear()
    assert end_at > 1


@pytest.mark.parametrize("way", ["cancel", "leave", "fail"])
@pytest.mark.parametrize(
    ("make", "path", "body"),
    REQUESTS,
    ids=[f"{make.__name__}{path}-{len(body)}" for make, path, body in REQUESTS],
)
@every_loop
@pytest.mark.usefixtures("uncollected")
def test_everything_that_a_request_has_opened_is_closed(
    backend: str,
    make: Callable[[], App],
    path: str,
    body: bytes,
    way: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    anyio.run(end_everywhere, backend, make(), path, body, way, caplog, backend=backend)
