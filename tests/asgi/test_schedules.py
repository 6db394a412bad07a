"""Clients that leave, and servers that cancel, at any moment: whatever comes first, nothing stays
behind.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micropie import App
from tests.asgi.calls import Call, Lifespan, every_loop, http_scope, piece, run
from tests.support.waiting import PATIENCE, until

TOGETHER = 50  # schedules that run beside each other
MOST_THREADS = threading.active_count() + 45  # workers stay for a while; 40 run at once
RUNS = settings().max_examples // 10  # of so many, each of them twice, in each batch, on each loop
BATCHES = 5  # 10,000 in all with --all-worlds


class Site(App):
    """Streams and sockets of every kind; `begun` and `ended` count them (lists, as threads add to
    them).
    """

    def __init__(self) -> None:
        super().__init__()
        self.begun: list[int] = []
        self.ended: list[int] = []

    async def waits(self) -> AsyncIterator[str]:
        self.begun.append(1)
        try:
            for _ in range(4):
                await checkpoint()
                yield "x"
        finally:
            self.ended.append(1)

    async def sleeps(self) -> AsyncIterator[str]:
        """Has nothing to say until somebody cancels it."""
        self.begun.append(1)
        try:
            yield "x"
            await anyio.sleep_forever()
        finally:
            self.ended.append(1)

    async def groups(self) -> AsyncIterator[str]:
        """Keeps a task group open while it is sent."""
        self.begun.append(1)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.sleep_forever)
                for _ in range(4):
                    yield "x"
                    await checkpoint()
                tasks.cancel_scope.cancel()
        finally:
            self.ended.append(1)

    async def quick(self) -> AsyncIterator[str]:
        self.begun.append(1)
        try:
            for _ in range(4):
                yield "x"
        finally:
            self.ended.append(1)

    def sync(self) -> Iterator[str]:
        self.begun.append(1)
        try:
            for _ in range(4):
                yield "x"
        finally:
            self.ended.append(1)

    async def ws_echo(self, ws: Any) -> None:
        self.begun.append(1)
        try:
            await ws.accept()
            async for message in ws:
                await ws.send_text(message)
        finally:
            self.ended.append(1)

    async def ws_busy(self, ws: Any) -> None:
        """Waits for something else than its client."""
        self.begun.append(1)
        try:
            await ws.accept()
            for _ in range(4):
                await checkpoint()
                await ws.send_text("x")
            await ws.receive_text()
        finally:
            self.ended.append(1)


STREAMS = ["waits", "sleeps", "groups", "quick", "sync"]
SOCKETS = ["echo", "busy"]


class Schedule(NamedTuple):
    """One client, and when it leaves: at its `at`th message, or so many turns of the loop later
    (`turns`).
    """

    path: str
    at: int
    turns: int
    raises: bool  # what `send` does then: it raises, or nothing
    cancels: bool  # whether the server cancels the request instead


schedules = st.builds(
    Schedule,
    st.sampled_from([*STREAMS, *SOCKETS]),
    st.integers(0, 6),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)


class Client(Call):
    """Follows a schedule."""

    def __init__(self, schedule: Schedule, scope: anyio.CancelScope, tasks: Any) -> None:
        is_socket = schedule.path in SOCKETS
        opening = [{"type": "websocket.connect"}, *[{"type": "websocket.receive", "text": "x"}] * 2]
        super().__init__(*(opening if is_socket else [piece(b"")]))
        self.schedule = schedule
        self.is_socket = is_socket
        self.scope = scope
        self.tasks = tasks
        self.has_left = False
        self._look()

    async def leave_at_last(self, closing_time: anyio.Event) -> None:
        """Nobody stays for ever."""
        await closing_time.wait()
        await self._end()

    async def receive(self) -> Any:
        message = await super().receive()
        if message["type"] == "http.disconnect" and self.is_socket:
            return {"type": "websocket.disconnect", "code": 1001, "reason": ""}
        return message

    async def send(self, message: Any) -> None:
        if self.has_left and self.schedule.raises:
            raise ConnectionResetError
        await super().send(message)
        self._look()
        await checkpoint()

    def _look(self) -> None:
        if len(self.sent) == self.schedule.at:
            self.tasks.start_soon(self._end)

    async def _end(self) -> None:
        for _ in range(self.schedule.turns):
            await checkpoint()
        self.has_left = True
        if self.schedule.cancels:
            self.scope.cancel()
        else:
            self.leave()


async def follow(
    app: Site, schedule: Schedule, state: dict[str, Any], closing_time: anyio.Event
) -> None:
    scope = http_scope("GET", f"/{schedule.path}", state=state)
    if schedule.path in SOCKETS:
        scope = {**scope, "type": "websocket", "scheme": "ws"}
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as cancel:
            client = Client(schedule, cancel, tasks)
            tasks.start_soon(client.leave_at_last, closing_time)
            with suppress(OSError):
                await app(scope, client.receive, client.send)
        tasks.cancel_scope.cancel()


async def follow_all(together: list[Schedule], with_lifespan: bool) -> None:
    app = Site()
    before = len(anyio.get_running_tasks())
    async with anyio.create_task_group() as server:
        lifespan = Lifespan(app, {})
        if with_lifespan:
            server.start_soon(lifespan.run)
            await lifespan.say("startup")
        async with anyio.create_task_group() as clients:
            closing_time = anyio.Event()
            for schedule in together:
                clients.start_soon(
                    follow, app, schedule, dict(lifespan.scope["state"]), closing_time
                )
            for _ in range(200):  # by one task, as each turn of each client's own would cost
                await checkpoint()
            closing_time.set()
        if with_lifespan:
            await lifespan.say("shutdown")
        lifespan.close()
    assert len(app.begun) == len(app.ended)
    with anyio.fail_after(PATIENCE):  # for the task of the loop's delayed calls
        while len(anyio.get_running_tasks()) > before:  # noqa: ASYNC110
            await anyio.sleep(0.001)


@every_loop
@pytest.mark.parametrize("batch", range(BATCHES))
@pytest.mark.timeout(180)
@settings(max_examples=RUNS, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    together=st.lists(schedules, min_size=TOGETHER, max_size=TOGETHER), with_lifespan=st.booleans()
)
def test_R61_ten_thousand_schedules_leave_no_task_behind(
    backend: str, batch: int, together: list[Schedule], with_lifespan: bool
) -> None:
    run(backend, follow_all, together, with_lifespan)
    before = len(os.listdir("/proc/self/fd"))
    run(backend, follow_all, together, with_lifespan)
    # what other tests have left may open some, too
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    # and their idle threads end within seconds
    until(lambda: threading.active_count() <= MOST_THREADS)
