"""The steps by which an extension waits: in threads of its own, for a service, within a time
limit.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

import anyio
import pytest

from micropie import App, HTTPError
from micropie.middleware import (
    Call,
    FlowMiddleware,
    ServiceThreads,
    Threads,
    TookTooLong,
    call,
    call_within,
    kind_of,
)
from tests.asgi.calls import get, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE


class Asks(FlowMiddleware):
    """Calls a function by a step, and keeps what ends it."""

    def __init__(self, function: Any, otherwise: Any, seconds: float | None = None) -> None:
        self._function, self._seconds = function, seconds
        self._kind = kind_of(function, otherwise)
        self.ends: list[type[BaseException]] = []

    def before(self, request: Any) -> Generator[Any, Any, None]:
        try:
            if self._seconds is None:
                request.state.found = yield from call(self._kind, self._function)
            else:
                request.state.found = yield from call_within(
                    self._seconds, self._kind, self._function
                )
        except TookTooLong:
            raise HTTPError(503, "slow") from None
        except BaseException as error:
            self.ends.append(type(error))
            raise


class Root(App):
    def index(self) -> Any:
        return str(self.request.state.found)


def app_with(hook: Asks) -> App:
    app = Root()
    app.middlewares.append(hook)
    return app


def place() -> str:
    return threading.current_thread().name


@pytest.mark.parametrize("threads", [Threads(1), ServiceThreads(), None])
def test_a_step_may_call_a_blocking_function(
    make_client: MakeClient, threads: Threads | None
) -> None:
    client = make_client(app_with(Asks(place, Call(threads))))
    assert client.get("/").status_code == 200


@pytest.mark.parametrize("is_async", [False, True])
def test_a_function_that_takes_too_long_raises_an_error(
    make_client: MakeClient, is_async: bool
) -> None:
    leave = threading.Event()

    async def sleeps() -> None:
        await anyio.sleep_forever()

    hook = Asks(sleeps if is_async else lambda: leave.wait(PATIENCE), Call(Threads(1)), 0.01)
    client = make_client(app_with(hook))
    try:
        answer = client.get("/")
    finally:
        leave.set()
    assert (answer.status_code, answer.text) == (503, "slow")
    assert hook.ends == []


def test_a_call_without_a_slot_in_the_queue_is_refused(backend: str) -> None:
    begun, leave, answers = threading.Event(), threading.Event(), []

    def blocks() -> str:
        begun.set()
        leave.wait(PATIENCE)
        return "found"

    app = app_with(Asks(blocks, Call(Threads(1), is_queued=True)))

    async def ask() -> None:
        answers.append((await get(app, "/")).status)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.to_thread.run_sync(begun.wait, PATIENCE)
            await ask()
            leave.set()

    run(backend, main)
    assert answers == [503, 200]


def test_a_cancellation_is_raised_where_the_flow_waits(backend: str) -> None:
    begun, leave = threading.Event(), threading.Event()

    def blocks() -> None:
        begun.set()
        leave.wait(PATIENCE)

    hook = Asks(blocks, Call(Threads(1), leave_after=0.0))
    app = app_with(hook)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, app, "/")
            await anyio.to_thread.run_sync(begun.wait, PATIENCE)
            tasks.cancel_scope.cancel()
        assert hook.ends == [anyio.get_cancelled_exc_class()]

    try:
        run(backend, main)
    finally:
        leave.set()
