"""Chunks that a worker thread makes ahead: how far, for how long, and what is left of it when the
client leaves.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, NewType

import anyio
import anyio.to_thread
import pytest

from micropie import App
from micropie._core.execution.placement import Threads
from micropie._core.streams import BYTES_AHEAD, CHUNKS_AHEAD, JOINED, ThreadStream
from micropie._core.streams.threaded import INLINE, EventsFromThread, MadeAhead
from micropie.asgi.streaming import WATCH_AFTER
from tests.asgi.calls import Call, get, http_scope, piece, run
from tests.support.waiting import PATIENCE, until_async

Resource = NewType("Resource", str)


class Site(App):
    """`made` counts chunks. `held` waits for `go_on` before its third chunk."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.made = 0
        self.ended: list[str] = []
        self.go_on = threading.Event()
        self.begun = threading.Semaphore(0)

    def endless(self, size: int = 1) -> Iterator[bytes]:
        try:
            while True:
                self.made += 1
                yield b"x" * size
        finally:
            self.ended.append("endless")

    def held(self, fails: bool = False) -> Iterator[str]:
        try:
            yield "a"
            yield "b"
            self.begun.release()
            assert self.go_on.wait(PATIENCE)
            if fails:
                raise ValueError("too late")
            yield "c"
        finally:
            self.ended.append("held")

    def blocks(self) -> str:
        self.begun.release()
        assert self.go_on.wait(PATIENCE)
        return "blocked"

    def quick(self) -> str:
        return "quick"


class Stops(Call):
    """A client that takes no more than its first two messages."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if len(self.sent) > 2:
            await anyio.sleep_forever()


async def has_sent(call: Call, messages: int) -> None:
    while len(call.sent) < messages:  # noqa: ASYNC110 - the call has no event
        await anyio.sleep(0.001)


def test_R67_slow_clients_occupy_no_threads(backend: str) -> None:
    app = Site(threads=2)

    async def main() -> None:
        async with anyio.create_task_group() as clients:
            calls = [Stops(piece(b"")) for _ in range(6)]
            for call in calls:
                clients.start_soon(app, http_scope("GET", "/endless"), call.receive, call.send)
            for call in calls:
                await has_sent(call, 3)
            assert (await get(app, "/quick")).body == b"quick"
            clients.cancel_scope.cancel()

    run(backend, main)
    assert app.made <= 6 * (2 * CHUNKS_AHEAD + 1)
    assert app.ended == ["endless"] * 6


def test_R67_slow_sources_take_turns(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("micropie._core.streams.threaded.TURN", 0.005)
    log: list[str] = []
    may_begin = threading.Event()  # when both wait for the one thread, or have it

    class Root(App):
        def slow(self, name: str) -> Iterator[str]:
            assert may_begin.wait(PATIENCE)
            for _ in range(5):
                time.sleep(0.01)
                log.append(name)
                yield name

    async def main() -> None:
        app = Root(threads=1)
        async with anyio.create_task_group() as clients:
            clients.start_soon(get, app, "/slow/a")
            clients.start_soon(get, app, "/slow/b")
            await anyio.wait_all_tasks_blocked()
            may_begin.set()

    run(backend, main)
    assert sorted(log) == ["a"] * 5 + ["b"] * 5
    assert "aaaaa" not in "".join(log)


def test_R64_chunks_produced_in_advance_are_bounded_in_bytes(backend: str) -> None:
    app = Site()

    async def main() -> None:
        async with anyio.create_task_group() as clients:
            call = Stops(piece(b""))
            clients.start_soon(
                app, http_scope("GET", f"/endless/{BYTES_AHEAD // 2}"), call.receive, call.send
            )
            await anyio.wait_all_tasks_blocked()
            await anyio.sleep(0.05)
            clients.cancel_scope.cancel()

    run(backend, main)
    assert app.made <= 5


def test_a_stream_waits_for_a_free_thread(backend: str) -> None:
    app = Site(threads=1)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, app, "/blocks")
            await anyio.to_thread.run_sync(app.begun.acquire)
            streamed = Call(piece(b""))
            tasks.start_soon(app, http_scope("GET", "/held"), streamed.receive, streamed.send)
            await anyio.wait_all_tasks_blocked()
            assert not streamed.sent
            app.go_on.set()
        assert streamed.body == b"abc"

    run(backend, main)


def test_a_reused_buffer_is_copied_first(backend: str) -> None:
    class Root(App):
        def index(self) -> Iterator[memoryview]:
            buffer = bytearray(1)
            for number in range(100):
                buffer[0] = number
                yield memoryview(buffer)

    assert run(backend, get, Root()).body == bytes(range(100))


def test_all_chunks_and_the_cleanup_share_one_context(backend: str) -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    seen: list[int] = []

    class Root(App):
        def index(self) -> Iterator[str]:
            try:
                for number in range(100):
                    seen.append(variable.get())
                    variable.set(number)
                    yield "x"
            finally:
                seen.append(variable.get())

    run(backend, get, Root())
    assert seen == [0, *range(100)]


Leave = Callable[[Call, anyio.CancelScope], object]


@pytest.mark.parametrize(
    "leave", [lambda call, scope: call.leave(), lambda call, scope: scope.cancel()]
)
@pytest.mark.parametrize("fails", [0, 1])
def test_R61_a_client_that_disconnects_while_a_chunk_is_produced_waits_for_it(
    backend: str, leave: Leave, fails: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A source that fails after its client has gone is logged and raised, as any other."""
    app = Site()
    raised: list[BaseException] = []

    async def main() -> None:
        call = Call(piece(b""))

        async def serve(scope: anyio.CancelScope) -> None:
            with scope:
                try:
                    await app(http_scope("GET", f"/held?fails={fails}"), call.receive, call.send)
                except ValueError as error:
                    raised.append(error)

        async with anyio.create_task_group() as tasks:
            scope = anyio.CancelScope()
            tasks.start_soon(serve, scope)
            await has_sent(call, 3)
            await anyio.to_thread.run_sync(app.begun.acquire)
            await anyio.sleep(2 * WATCH_AFTER)
            leave(call, scope)
            await anyio.wait_all_tasks_blocked()
            assert not app.ended
            app.go_on.set()
        assert call.body in (b"ab", b"abc")
        assert not call.is_complete

    run(backend, main)
    assert app.ended == ["held"]
    assert len(raised) == fails
    assert len([record for record in caplog.records if record.exc_info]) == fails


@pytest.mark.parametrize("is_first", [True, False])
def test_R61_a_server_that_cancels_the_task_waits_for_its_thread(
    is_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """While the thread makes the first chunk, or closes the source. ``Task.cancel`` ignores
    shields.
    """
    app = Site()

    @app.provides(Resource)
    def resource() -> Iterator[Resource]:
        try:
            yield Resource("open")
        finally:
            app.ended.append("resource")

    @app.get("/")
    def index(_: Resource) -> Iterator[str]:
        try:
            if is_first:
                app.blocks()
            while True:
                yield "a"
        finally:
            if not is_first:
                app.blocks()
            app.ended.append("source")

    async def main() -> None:
        call = Stops(piece(b""))
        serve: Any = app(http_scope(), call.receive, call.send)
        task = asyncio.create_task(serve)
        if not is_first:
            await has_sent(call, 3)
            task.cancel()
        await anyio.to_thread.run_sync(app.begun.acquire)
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not app.ended
        app.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    run("asyncio", main)
    assert app.ended == ["source", "resource"]
    assert not caplog.records


def test_a_failure_ahead_of_a_disconnected_client_is_raised(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunks before it are still to be sent when the client leaves."""
    # a busy machine may end one at any chunk
    monkeypatch.setattr("micropie._core.streams.threaded.TURN", PATIENCE)
    error = ValueError("ahead")
    fails = threading.Event()

    class Root(App):
        def index(self) -> Iterator[str]:
            yield "a"
            yield "b"
            yield "c"
            fails.set()
            raise error

    class Leaves(Call):
        async def send(self, message: Any) -> None:
            if message.get("body") == b"b":
                await until_async(fails.is_set)
                raise ConnectionResetError
            await super().send(message)

    async def main() -> None:
        call = Leaves(piece(b""))
        with pytest.raises(ValueError, match="ahead"):
            await Root()(http_scope(), call.receive, call.send)

    run(backend, main)


def test_a_failing_close_besides_a_failing_source_is_raised(backend: str) -> None:
    class Source:
        def __iter__(self) -> Iterator[str]:
            return self

        def __next__(self) -> str:
            return "a"

        def close(self) -> None:
            raise RuntimeError("close failed")

    async def main() -> None:
        chunks = MadeAhead(ThreadStream(Source()), App()._micropie.compiled().config.threads)
        assert await anext(chunks) == b"a"
        with pytest.raises(RuntimeError, match="close failed"):
            await chunks.close_items()

    run(backend, main)


def test_an_ended_generator_needs_no_thread_to_be_closed(backend: str) -> None:
    async def main() -> None:
        inner = ThreadStream(iter_of("a"))
        chunks = MadeAhead(inner, App()._micropie.compiled().config.threads)
        assert [chunk async for chunk in chunks] == [b"a"]
        assert chunks.has_ended
        assert not inner.is_open

    run(backend, main)


def iter_of(*chunks: str) -> Iterator[str]:
    yield from chunks


def test_small_chunks_that_are_ready_are_sent_as_one(backend: str) -> None:
    large = b"x" * JOINED
    may_go_on = threading.Event()

    def source() -> Iterator[bytes]:
        yield b"0"
        yield b"1"
        assert may_go_on.wait(PATIENCE)
        yield from (b"2", b"3", large, large, b"4", b"5")

    async def main() -> list[bytes]:
        chunks = MadeAhead(ThreadStream(source()), App()._micropie.compiled().config.threads)
        chunks.first = await anext(chunks)
        taken = [await anext(chunks)]
        may_go_on.set()
        await until_async(lambda: not chunks._has_turn)
        return [chunks.first, *taken, *[chunk async for chunk in chunks]]

    assert run(backend, main) == [b"0", b"1", b"23" + large, large, b"45"]


class Notes:
    """Notes the chunks that it transforms, each with the thread."""

    def __init__(self) -> None:
        self.fed: list[tuple[bytes, str]] = []

    def feed(self, chunk: bytes) -> bytes:
        self.fed.append((chunk, threading.current_thread().name))
        return b"<%d>" % len(chunk)

    def finish(self) -> bytes:
        return b"end"


def test_chunks_that_are_ready_are_transformed_as_one_and_a_chunk_waits_for_no_later_one(
    backend: str,
) -> None:
    """The source holds the only thread for turns while its large chunk is transformed."""
    large = b"x" * (INLINE + 1)
    may_go_on, notes, outer = threading.Semaphore(0), Notes(), Notes()

    def source() -> Iterator[bytes]:
        yield from (b"0", b"1")
        assert may_go_on.acquire(timeout=PATIENCE)
        yield from (b"2", b"3", b"")
        yield large
        assert may_go_on.acquire(timeout=PATIENCE)
        yield b"4"

    async def main() -> tuple[list[bytes], str]:
        stream = ThreadStream(source())
        stream.transform(notes)
        stream.transform(outer)
        chunks = MadeAhead(stream, Threads(1))
        chunks.first = await anext(chunks)
        taken = [chunks.first, await anext(chunks)]
        may_go_on.release()
        await until_async(lambda: len(chunks._made) == 4)
        taken.append(await anext(chunks))
        may_go_on.release()
        taken += [chunk async for chunk in chunks]
        return [*taken, chunks.finish()], threading.current_thread().name

    sent, loop = run(backend, main)
    fed = [(chunk, name == loop) for chunk, name in notes.fed]
    assert fed == [(b"0", True), (b"1", True), (b"23" + large, False), (b"4", True)]
    assert [chunk for chunk, _ in outer.fed] == [b"<1>", b"<1>", b"<4099>", b"<1>", b"end"]
    assert sent == [b"<3>", b"<3>", b"<6>", b"<3>", b"<3>end"]


def test_an_iterator_without_close_is_not_closed(backend: str) -> None:
    source = map(str, range(100))

    async def main() -> None:
        chunks = MadeAhead(ThreadStream(source), App()._micropie.compiled().config.threads)
        assert await anext(chunks) == b"0"
        await chunks.close_items()

    run(backend, main)
    assert next(source) == "1"


def test_if_no_thread_can_be_started_the_stream_fails(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    async def main() -> None:
        app = Site(threads=1)
        with monkeypatch.context() as full:
            full.setattr("anyio.to_thread.run_sync", refuse)
            assert (await get(app, "/held")).status == 500
        app.go_on.set()
        assert (await get(app, "/held")).body == b"abc"

    run(backend, main)


def test_if_no_further_thread_can_be_started_the_stream_is_aborted(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    class Refused(Call):
        """No thread can be started once the first chunk is sent."""

        async def send(self, message: Any) -> None:
            await super().send(message)
            monkeypatch.setattr("anyio.to_thread.run_sync", refuse)

    async def main() -> None:
        app, call = Site(threads=1), Refused(piece(b""))
        app.go_on.set()
        with pytest.raises(RuntimeError, match="can't start new thread"):
            await app(http_scope("GET", "/held"), call.receive, call.send)
        assert not call.is_complete

    run(backend, main)


def test_an_available_chunk_is_not_waited_for(backend: str) -> None:
    """A thread may give one between the look for it and the wait."""

    async def main() -> None:
        ahead = MadeAhead(ThreadStream(iter([b"a"]), False), Threads(1))
        ahead._made.append(b"a")
        await ahead._wait_for_progress()

    run(backend, main)


class Remote(Iterator[bytes]):
    """Chunks of the pool, without end."""

    def __init__(self) -> None:
        self.made = 0
        self.interrupted = threading.Event()

    def stream(self) -> ThreadStream:
        return ThreadStream(self, interrupt=self.interrupted.set)

    def __next__(self) -> bytes:
        self.made += 1
        return b"x"

    def close(self) -> None:
        self.made = -1


def test_the_pool_is_asked_for_a_chunk_when_it_is_needed(backend: str) -> None:
    remote = Remote()

    async def main() -> None:
        chunks = MadeAhead(remote.stream(), Threads(1))
        for number in range(1, 5):
            assert await chunks.__anext__() == b"x"
            await anyio.sleep(0.01)
            assert remote.made == number
        await chunks.close_items()

    run(backend, main)
    assert remote.made == -1


class Arrived(Remote):
    """``CHUNKS_AHEAD + 1`` of its chunks arrive together."""

    @property
    def has_ready(self) -> bool:
        return self.made <= CHUNKS_AHEAD + 1


def test_the_chunks_that_have_arrived_from_the_pool_are_taken_as_one(backend: str) -> None:
    remote = Arrived()

    async def main() -> list[int]:
        chunks = MadeAhead(remote.stream(), Threads(1))
        chunks.first = await chunks.__anext__()
        taken = [len(chunks.first), *[len(await chunks.__anext__()) for _ in range(3)]]
        await chunks.close_items()
        return taken

    # the first alone, because the head isn't final before it; then one turn; then what comes
    assert run(backend, main) == [1, CHUNKS_AHEAD, 1, 1]


class Held(Remote):
    """A chunk that does not come before it is interrupted."""

    def __next__(self) -> bytes:
        assert self.interrupted.wait(PATIENCE)
        raise ValueError("interrupted")


def test_a_cancellation_interrupts_waiting_for_an_event_of_the_pool(backend: str) -> None:
    remote = Held()
    remote.interrupt_next = remote.interrupted.set  # type: ignore[attr-defined]

    async def main() -> None:
        source = EventsFromThread(remote)
        with anyio.move_on_after(0.02) as scope:
            await source.__anext__()
        assert scope.cancelled_caught
        await source.aclose()
        await until_async(lambda: remote.made == -1)

    run(backend, main)


def test_a_cancellation_interrupts_waiting_for_the_pool(
    backend: str,
) -> None:
    remote = Held()

    async def main() -> None:
        chunks = MadeAhead(remote.stream(), Threads(1))
        with anyio.move_on_after(0.02) as scope:
            await chunks.__anext__()
        assert scope.cancelled_caught
        await chunks.close_items()

    run(backend, main)
    assert remote.made == -1
