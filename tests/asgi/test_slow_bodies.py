"""Clients that send their bodies slowly: a thread that waits for one keeps no other handler from
running.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from micropie import App, HTTPError, reads_body
from micropie._core.execution import threads as workers
from micropie._core.execution.placement import Threads
from micropie._core.execution.threads import in_thread, slots_of
from tests.asgi.calls import Call, get, http_scope, piece, run
from tests.support.waiting import PATIENCE, until_async

THREADS = 2

CHUNKED = [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/octet-stream")]


class Slow(Call):
    """A client that sends a piece, lets ``waits`` know that the next one is waited for, and sends
    it after ``go_on``.
    """

    def __init__(self) -> None:
        super().__init__(piece(b"slow ", more=True))
        self.waits = anyio.Event()
        self.go_on = anyio.Event()

    async def receive(self) -> Any:
        if self.incoming:
            return await super().receive()
        self.waits.set()
        await self.go_on.wait()
        return piece(b"body")

    async def ask(self, app: Any, path: str, *more: tuple[bytes, bytes]) -> None:
        await app(http_scope("POST", path, headers=[*(more or CHUNKED)]), self.receive, self.send)


class Site(App):
    def plain(self) -> str:
        return "quick"

    @reads_body
    def chunks(self) -> bytes:
        return b"".join(self.request.chunks())

    def whole(self) -> bytes:
        return self.request.read()

    @reads_body
    def streamed(self) -> Iterator[bytes]:
        yield from self.request.chunks()


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["wsgi.input"].read() or b"quick"]


def mounted(target: Any) -> App:
    app = App(threads=THREADS)
    app.mount("/m", target)
    return app


PLACES = [
    (lambda: Site(threads=THREADS), "/chunks", "/plain", THREADS),
    (lambda: Site(threads=THREADS), "/whole", "/plain", THREADS),
    (lambda: Site(threads=THREADS), "/streamed", "/plain", THREADS),
    (lambda: mounted(wsgi), "/m/slow", "/m/quick", THREADS),
]


@pytest.mark.parametrize(("make", "slow", "quick", "threads"), PLACES)
def test_R20_slow_uploads_do_not_occupy_threads(
    backend: str, make: Any, slow: str, quick: str, threads: int
) -> None:
    check_bodies_that_do_not_end(backend, make, slow, quick, threads)


def check_bodies_that_do_not_end(
    backend: str, make: Any, slow: str, quick: str, threads: int
) -> None:
    """Check that ``quick`` gets a response while more bodies than ``threads`` are waited for."""

    async def main() -> None:
        app, calls = make(), [Slow() for _ in range(threads + 1)]
        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(call.ask, app, slow)
            for call in calls:
                await call.waits.wait()
            answer = await get(app, quick)
            for call in calls:
                call.go_on.set()
        assert answer.body == b"quick"
        assert [call.body for call in calls] == [b"slow body"] * len(calls)

    run(backend, main)


def test_R20_a_short_body_of_a_migrated_application_arrives_before_it_has_a_thread(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is one of the threads needed that may wait for their clients."""
    monkeypatch.setattr(workers, "MOST_READERS", 0)
    check_a_short_body(backend, lambda: mounted(wsgi), "/m/slow")


def check_a_short_body(backend: str, make: Any, path: str) -> None:
    """Check the response to a body whose second piece comes late."""

    async def main() -> None:
        app, call = make(), Slow()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.ask, app, path, (b"content-length", b"9"))
            await call.waits.wait()
            call.go_on.set()
        assert call.body == b"slow body"

    run(backend, main)


def test_R20_more_slow_uploads_than_allowed_get_503(
    backend: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "MOST_READERS", 1)

    class Stubborn(Site):
        @reads_body
        def again(self) -> str:
            statuses = []
            for _ in range(2):
                try:
                    self.request.read()
                except HTTPError as error:
                    statuses.append(error.status)
            return str(statuses)

    async def main() -> None:
        app, waiting, refused, stubborn = Stubborn(threads=1), Slow(), Slow(), Slow()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting.ask, app, "/chunks")
            await waiting.waits.wait()
            await refused.ask(app, "/chunks")
            await stubborn.ask(app, "/again")
            answer = await get(app, "/plain")
            waiting.go_on.set()
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert stubborn.body == b"[503, 503]"
        assert caplog.messages == [
            "all 1 threads that may wait for slow request bodies are waiting: further slow requests get 503 until one of the threads is free"
        ]
        assert (answer.body, waiting.body) == (b"quick", b"slow body")
        later = Slow()
        later.go_on.set()
        await later.ask(app, "/chunks")
        assert later.body == b"slow body"

    run(backend, main)


def test_R20_a_thread_whose_body_has_arrived_does_not_wait_for_slow_uploads(
    backend: str,
) -> None:
    """It may have a lock for which all others wait."""

    class Locked(App):
        lock = threading.Lock()
        begun = threading.Event()

        @reads_body
        def reads(self) -> bytes:
            with self.lock:
                return b"".join(self.request.chunks())

        def waits(self) -> str:
            self.begun.set()
            assert self.lock.acquire(timeout=PATIENCE)
            self.lock.release()
            return "has waited"

    async def main() -> None:
        app, reader, waiter = Locked(threads=1), Slow(), Call(piece(b""))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.ask, app, "/reads")
            await reader.waits.wait()
            tasks.start_soon(app, http_scope("GET", "/waits"), waiter.receive, waiter.send)
            await until_async(app.begun.is_set)
            reader.go_on.set()
        assert (reader.body, waiter.body) == (b"slow body", b"has waited")

    run(backend, main)


def test_a_lent_slot_is_taken_back_when_its_thread_continues(backend: str) -> None:
    """A thread that goes on counts again: no call begins until there is room."""
    threads = Threads(1)
    go_on, order = threading.Event(), []

    def blocks(name: str) -> None:
        order.append(name)
        assert go_on.wait(PATIENCE)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(in_thread, threads, blocks, "reader")
            await until_async(lambda: len(order) == 1)
            assert slots_of(threads).usage() == (1, 0, 1)
            with slots_of(threads).lend() as may_wait:
                assert may_wait
                assert slots_of(threads).usage() == (0, 0, 1)
                tasks.start_soon(in_thread, threads, blocks, "other")
                await until_async(lambda: len(order) == 2)
                assert slots_of(threads).usage() == (1, 0, 1)
            assert slots_of(threads).usage() == (2, 0, 1)
            tasks.start_soon(in_thread, threads, order.append, "later")
            await until_async(lambda: slots_of(threads).usage() == (2, 1, 1))
            go_on.set()
        assert order == ["reader", "other", "later"]
        assert slots_of(threads).usage() == (0, 0, 1)

    run(backend, main)
