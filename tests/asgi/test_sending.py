"""Answers sent as messages: backpressure, clients that leave, streams that break."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

from micropie import App, EventStream
from micropie._core.execution.steps import no_function
from micropie._core.streams import CHUNKS_AHEAD, CHUNKS_PER_CHECK, ThreadStream
from micropie.asgi.streaming import WATCH_AFTER
from tests.asgi.calls import (
    Call,
    Lifespan,
    get,
    http_scope,
    piece,
    run,
    serve,
)
from tests.support.waiting import PATIENCE, until_async

ENOUGH = 5_000  # chunks after which a producer is taken for one that never stops


class Iterated(AsyncIterator[bytes]):
    """An async iterator that doesn't show whether it is waiting for an item."""

    def __init__(self, items: AsyncIterator[bytes]) -> None:
        self.items = items

    async def __anext__(self) -> bytes:
        return await anext(self.items)

    async def aclose(self) -> None:
        await self.items.aclose()  # type: ignore[attr-defined]


class Endless(App):
    """Streams for ever; `made` counts chunks, `closed` the generators that ended."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.made = self.closed = 0

    def _make(self) -> bytes:
        self.made += 1
        if self.made > ENOUGH:
            raise AssertionError("nobody stopped this stream")
        return b"x"

    async def waiting(self) -> AsyncIterator[bytes]:
        try:
            while True:
                await anyio.lowlevel.checkpoint()
                yield self._make()
        finally:
            self.closed += 1

    async def busy(self) -> AsyncIterator[bytes]:
        """Never lets the loop do anything else."""
        try:
            while True:
                yield self._make()
        finally:
            self.closed += 1

    async def cleans(self) -> AsyncIterator[bytes]:
        """Its clean-up has to wait, in no shield."""
        try:
            while True:
                yield self._make()
        finally:
            await anyio.sleep(0.01)
            self.closed += 1

    def sync(self) -> Iterator[bytes]:
        try:
            while True:
                yield self._make()
        finally:
            self.closed += 1

    async def silent(self) -> AsyncIterator[bytes]:
        """Has nothing more to say after its first chunk."""
        try:
            yield self._make()
            await anyio.sleep_forever()
        finally:
            self.closed += 1

    async def shielded(self) -> AsyncIterator[bytes]:
        """Its clean-up has to wait."""
        try:
            while True:
                await anyio.lowlevel.checkpoint()
                yield self._make()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            self.closed += 1

    def events(self) -> EventStream:
        return EventStream(self.waiting(), map=bytes.decode, send_timeout=FROZEN_AFTER)

    def iterator(self) -> Iterated:
        return Iterated(self.waiting())

    def iterator_events(self) -> EventStream:
        items = Iterated(self.waiting())
        return EventStream(items, None, map=bytes.decode, send_timeout=FROZEN_AFTER)

    def pooled(self) -> ThreadStream:
        """As a stream that a process of the pool makes."""
        return ThreadStream(self.sync(), interrupt=no_function)

    def silent_events(self) -> EventStream:
        """Only heartbeats are sent."""
        return EventStream(self.silent(), 0.01, map=bytes.decode, send_timeout=FROZEN_AFTER)


KINDS = ["waiting", "busy", "sync", "silent", "shielded"]
FROZEN_AFTER = 0.04  # seconds
AT = 3  # the chunk at which the client leaves


class Raises(Call):
    """ASGI 2.4: `send` raises an OSError once the client has gone."""

    async def send(self, message: Any) -> None:
        if len(self.sent) > AT:
            raise ConnectionResetError("gone")
        await super().send(message)


class Freezes(Call):
    """The client stays, but receives nothing more."""

    async def send(self, message: Any) -> None:
        if len(self.sent) > AT:
            await anyio.sleep_forever()
        await super().send(message)


class Shields(Freezes):
    """As `Freezes`, but `send` can't be cancelled, as in hypercorn on trio and in anycorn."""

    async def send(self, message: Any) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
            await super().send(message)


class Ignores(Call):
    """Before 2.4: `send` does nothing, without ever waiting, and `receive` gives the disconnect."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        if len(self.sent) > AT:
            self.leave()


class Waits(Ignores):
    """As `Ignores`, but lets the loop go on at each message."""

    async def send(self, message: Any) -> None:
        await super().send(message)
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("server", [Raises, Ignores, Waits])
@pytest.mark.parametrize("kind", KINDS)
def test_R63_a_producer_stops_when_its_client_disconnects(
    backend: str,
    kind: str,
    server: type[Call],
    with_lifespan: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Endless()

    async def main() -> Call:
        call = server(piece(b""))
        if kind == "silent":  # nothing is sent any more, so only receive() can tell
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve, app, call, f"/{kind}", with_lifespan)
                await anyio.sleep(0.01)
                call.leave()
        else:
            await serve(app, call, f"/{kind}", with_lifespan)
        return call

    call = run(backend, main)
    assert app.closed == 1
    # One is fetched ahead, one is on its way. A server that raises says so at once; other clients
    # are looked for now and then, less often where nothing else waits, and the task that looks
    # takes some turns of the loop.
    looks = {Raises: 0, Waits: 1, Ignores: 6 if kind == "busy" else 1}[server]
    messages = AT + 8 + looks * CHUNKS_PER_CHECK
    # A thread's chunks are joined. One message more is a full buffer, one the turn that refills it.
    assert app.made <= ((messages + 2) * CHUNKS_AHEAD if kind == "sync" else messages)
    assert not call.is_complete  # a stream that was broken off does not end like a whole one
    assert not caplog.records


def test_R63_a_disconnection_is_noticed_on_a_loop_that_anyio_did_not_start(
    with_lifespan: bool,
) -> None:
    app = Endless()

    async def main() -> Call:
        call = Call(piece(b""))
        stream = asyncio.create_task(serve(app, call, "/silent", with_lifespan))
        while len(call.sent) < 2:  # noqa: ASYNC110 - it has nothing to wait for
            await asyncio.sleep(0.001)
        call.leave()
        await asyncio.wait_for(stream, PATIENCE)
        return call

    assert not asyncio.run(main()).is_complete
    assert app.closed == 1


@pytest.mark.parametrize("kind", KINDS)
def test_R63_a_disconnection_before_the_response_starts_closes_the_stream(
    backend: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone(Call):
        async def send(self, message: Any) -> None:
            raise BrokenPipeError

    app = Endless()
    run(backend, lambda: serve(app, Gone(piece(b"")), f"/{kind}", False))
    assert (app.closed, caplog.records) == (1, [])
    assert app.made <= 2


class Listed(AsyncIterator[bytes]):
    """Chunks of an iterator that is no generator, which can't tell whether it is being advanced."""

    def __init__(self) -> None:
        self.closed = 0

    async def __anext__(self) -> bytes:
        await anyio.lowlevel.checkpoint()  # so that the client is watched from the first chunk on
        return b"x"

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed += 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_R61_a_disconnection_while_the_response_starts_cancels_nothing_else(
    backend: str, method: str
) -> None:
    chunks = Listed()

    class Listing(App):
        async def index(self) -> Any:
            return chunks

    class Slow(Call):
        """A server that lets the loop go on for a while when it sends the head."""

        async def send(self, message: Any) -> None:
            await super().send(message)
            if len(self.sent) == 1:
                self.leave()
                await anyio.sleep(5 * WATCH_AFTER)

    app, returned = Listing(), []

    async def observed(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        returned.append(scope["type"])

    call = Slow(piece(b""))
    run(backend, serve, observed, call, f"{method} /", True)
    # a cancellation from here would end the server under trio
    assert returned == ["http", "lifespan"]
    assert (chunks.closed, call.sent[0]["status"]) == (1, 200)
    assert call.is_complete == (method == "HEAD")


class Fixed(App):
    async def index(self) -> str:
        return "x"

    def head(self) -> Iterator[str]:
        yield "a"


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/head"])
def test_R63_a_disconnection_during_a_fixed_response_ends_it_silently(
    backend: str, at: int, method: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Gone(Call):
        async def send(self, message: Any) -> None:
            if len(self.sent) == at:
                raise BrokenPipeError
            await super().send(message)

    async def main() -> Call:
        call = Gone(piece(b""))
        await Fixed()(http_scope(method, path), call.receive, call.send)
        return call

    assert len(run(backend, main).sent) == at
    assert not caplog.records


# -- what breaks -----------------------------------------------------------------------------------


class Breaks(App):
    error: Exception  # type: ignore[assignment]

    async def asynchronous(self) -> AsyncIterator[str]:
        yield "a"
        await anyio.lowlevel.checkpoint()
        raise self.error

    async def busy(self) -> AsyncIterator[str]:
        yield "a"
        raise self.error

    def sync(self) -> Iterator[str]:
        yield "a"
        raise self.error


ERRORS = [
    ValueError("x"),
    ExceptionGroup("g", [ValueError("x")]),
    OSError("of the author's"),
    TimeoutError("x"),
]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("kind", ["asynchronous", "busy", "sync"])
def test_R60_R76_an_error_in_a_stream_reaches_the_server_unchanged(
    backend: str, kind: str, error: Exception, with_lifespan: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = Breaks()
    app.error = error
    caught: list[Any] = []

    async def main() -> Call:
        call = Call(piece(b""))

        async def send(message: Any) -> None:
            await anyio.lowlevel.checkpoint()
            await call.send(message)

        lifespan = Lifespan(app, {})
        async with anyio.create_task_group() as tasks:
            if with_lifespan:
                tasks.start_soon(lifespan.run)
                await lifespan.say("startup")
            try:
                await app(
                    http_scope("GET", f"/{kind}", **_state(lifespan, with_lifespan)),
                    call.receive,
                    send,
                )
            except Exception as raised:
                caught.append(raised)
            if with_lifespan:
                await lifespan.say("shutdown")
        lifespan.close()
        return call

    call = run(backend, main)
    assert caught == [error]
    assert caught[0] is error
    assert (call.body, call.is_complete) == (b"a", False)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error


def _state(lifespan: Lifespan, with_lifespan: bool) -> dict[str, Any]:
    return {"state": dict(lifespan.scope["state"])} if with_lifespan else {}


def test_a_receive_that_fails_during_a_stream_ends_it(backend: str) -> None:
    class Failing(Call):
        async def receive(self) -> Any:
            raise RuntimeError("the server is closing")

    app = Endless()
    run(backend, lambda: serve(app, Failing(), "/waiting", False))
    assert app.closed == 1


def test_R61_a_stream_leaves_no_task_in_receive(backend: str) -> None:
    """A server with keep-alive gives the next request's messages to whoever is still receiving."""
    waiting = 0

    class Counting(Call):
        async def receive(self) -> Any:
            nonlocal waiting
            waiting += 1
            try:
                return await super().receive()
            finally:
                waiting -= 1

    class Root(App):
        async def index(self) -> AsyncIterator[str]:
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
                yield "x"

    async def main() -> None:
        app = Root()
        lifespan = Lifespan(app, {})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lifespan.run)
            await lifespan.say("startup")
            for _ in range(5):
                call = Counting(piece(b""))
                await app(http_scope(state=dict(lifespan.scope["state"])), call.receive, call.send)
                assert call.is_complete
                # The task that watches the client may have begun, on a slow machine. It is
                # cancelled, and may need another turn of the loop to end.
                await until_async(lambda: waiting == 0)
            await lifespan.say("shutdown")
        lifespan.close()

    run(backend, main)


def test_R64_a_slow_client_slows_down_its_producer(backend: str) -> None:
    class Slow(Call):
        async def send(self, message: Any) -> None:
            await super().send(message)
            assert app.made - len(self.body) <= 2 + ahead
            await anyio.sleep(0.001)
            if len(self.sent) > 10:
                raise ConnectionResetError

    for kind, ahead in (("busy", 0), ("sync", CHUNKS_AHEAD), ("waiting", 0)):
        app = Endless()
        run(backend, lambda app=app, kind=kind: serve(app, Slow(piece(b"")), f"/{kind}", False))
        assert app.made <= 13 * (ahead or 1)


def test_R61_a_request_cancelled_in_the_middle_of_a_stream_closes_it(backend: str) -> None:
    for kind in ("waiting", "silent", "sync", "shielded"):
        app = Endless()

        async def main(app: Endless = app, kind: str = kind) -> Call:
            call = Waits(piece(b""))
            call.leave = lambda: None  # type: ignore[method-assign]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serve, app, call, f"/{kind}", False)
                while len(call.sent) < (2 if kind == "silent" else 5):
                    await anyio.lowlevel.checkpoint()
                if kind == "silent":
                    await anyio.wait_all_tasks_blocked()
                tasks.cancel_scope.cancel()
            return call

        assert not run(backend, main).is_complete
        assert app.closed == 1


def test_a_sync_generator_is_advanced_and_closed_in_threads(backend: str) -> None:
    threads: list[str] = []

    class Root(App):
        def index(self) -> Iterator[str]:
            try:
                for _ in range(3):
                    threads.append(threading.current_thread().name)
                    yield "x"
            finally:
                threads.append(threading.current_thread().name)

    run(backend, get, Root())
    assert len(threads) == 4
    assert "MainThread" not in threads


def test_a_file_is_read_in_large_pieces(backend: str) -> None:
    class Root(App):
        def index(self) -> Any:
            return io.BytesIO(b"x" * 1_000_000)

    call = run(backend, get, Root())
    assert len(call.body) == 1_000_000
    assert len(call.sent) <= 20


@pytest.mark.parametrize(
    "chunks", [[b"0", b"1", b"2"], ["0", "1", "2"], ["", b"", b"0", "", b"12"], []], ids=repr
)
def test_a_stream_that_never_waits_starts_no_task(
    backend: str, chunks: list[str | bytes], with_lifespan: bool
) -> None:
    ended: list[None] = []

    class Root(App):
        async def index(self) -> AsyncIterator[str | bytes]:
            for chunk in chunks:
                yield chunk
            ended.append(None)

    async def main() -> int:
        call = Call(piece(b""))
        await serve(Root(), call, "/", with_lifespan)
        assert call.is_complete
        assert call.body == (b"012" if chunks else b"")
        # to some servers an empty one is the end
        assert all(message["body"] for message in call.sent[1:-1])
        return call.received

    assert run(backend, main) == 0
    assert len(ended) == 1


def test_the_response_starts_before_the_second_chunk_exists(backend: str) -> None:
    made: list[int] = []

    class Root(App):
        def index(self) -> Iterator[str]:
            for number in range(3):
                made.append(number)
                yield "x"

    async def main() -> int:
        counts: list[int] = []
        call = Call(piece(b""))

        async def send(message: Any) -> None:
            counts.append(len(made))
            await call.send(message)
            await to_thread.run_sync(int)

        await Root()(http_scope(), call.receive, send)
        return counts[0]

    assert run(backend, main) == 1


def test_a_slow_stream_leaves_no_task_behind(backend: str, with_lifespan: bool) -> None:
    class Root(App):
        async def index(self) -> AsyncIterator[str]:
            await anyio.sleep(3 * WATCH_AFTER)
            yield "a"
            await anyio.sleep(3 * WATCH_AFTER)
            yield "b"

    async def tasks_left() -> int:
        app, call = Root(), Call(piece(b""))
        before = len(anyio.get_running_tasks())
        await serve(app, call, "/", with_lifespan)
        assert call.body == b"ab"
        await anyio.wait_all_tasks_blocked()
        return len(anyio.get_running_tasks()) - before

    assert run(backend, tasks_left) == 0


FROZEN = [
    *("waiting", "busy", "sync", "shielded", "iterator", "pooled"),
    *("events", "iterator_events", "silent_events"),
]


@pytest.mark.parametrize("server", [Freezes, Shields])
@pytest.mark.parametrize("path", FROZEN)
def test_a_stream_ends_when_its_client_receives_nothing(
    backend: str, path: str, server: type[Call], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    app, call = Endless(send_timeout=FROZEN_AFTER), server(piece(b""))
    version = "2.1" if server is Shields else "2.4"

    async def main() -> None:
        scope = http_scope("GET", f"/{path}", asgi={"version": "3.0", "spec_version": version})
        await app(scope, call.receive, call.send)

    run(backend, main)
    assert app.closed == 1
    assert len(call.sent) == AT + 1
    (record,) = caplog.records
    assert record.getMessage() == f"GET '/{path}': the client received nothing for 0.04 s"


def test_a_clean_up_may_wait_after_its_client_has_received_nothing() -> None:
    """Not under trio, where every cancellation is by level."""
    app, call = Endless(send_timeout=FROZEN_AFTER), Freezes(piece(b""))
    run("asyncio", serve, app, call, "/cleans", True)
    assert app.closed == 1


class Opened:
    pass


@pytest.mark.parametrize("pause", [0.0, 3 * WATCH_AFTER])
@pytest.mark.parametrize("sent", [0, AT + 1])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_first_and_the_last_message_have_the_time_limit_of_a_chunk(
    backend: str, method: str, sent: int, pause: float
) -> None:
    class Root(App):
        async def index(self, opened: Opened) -> AsyncIterator[str]:
            for _ in range(AT):
                await anyio.sleep(pause)
                yield "x"

    sent = min(sent, 1) if method == "HEAD" else sent

    class Freezes(Call):
        async def send(self, message: Any) -> None:
            if len(self.sent) == sent:
                await anyio.sleep_forever()
            await super().send(message)

    app, closed, call = Root(send_timeout=FROZEN_AFTER), list[str](), Freezes(piece(b""))

    @app.provides(Opened)
    def opened() -> Iterator[Opened]:
        try:
            yield Opened()
            closed.append("as if everything was sent")
        finally:
            closed.append("closed")

    run(backend, serve, app, call, f"{method} /", True)
    assert len(call.sent) == sent
    assert closed == ["closed"]


def test_the_last_message_has_no_time_limit_under_servers_that_shield_it(backend: str) -> None:
    """A cancel scope around its wait would break hypercorn on trio."""

    class Late(Call):
        async def send(self, message: Any) -> None:
            if not message.get("more_body", True):
                await anyio.sleep(2 * FROZEN_AFTER)  # a limit would be over
            await super().send(message)

    class Root(App):
        async def index(self) -> AsyncIterator[str]:
            yield "x"

    async def main() -> Call:
        call = Late(piece(b""))
        scope = http_scope(asgi={"version": "3.0", "spec_version": "2.1"})
        await Root(send_timeout=FROZEN_AFTER)(scope, call.receive, call.send)
        return call

    assert run(backend, main).is_complete


class Slow(Call):
    """Each message takes most of the limit to be received."""

    async def send(self, message: Any) -> None:
        await anyio.sleep(FROZEN_AFTER / 2)
        await super().send(message)


@pytest.mark.parametrize("settings", [{"send_timeout": 10 * FROZEN_AFTER}, {"send_timeout": None}])
def test_a_slow_client_receives_everything(backend: str, settings: dict[str, Any]) -> None:
    class Root(App):
        async def index(self) -> AsyncIterator[str]:
            for _ in range(20):
                yield "x"

    call = Slow(piece(b""))
    run(backend, serve, Root(**settings), call, "/", True)
    assert call.body == 20 * b"x"


@pytest.mark.parametrize("path", ["silent", "silent_events"])
def test_a_source_may_be_silent_longer_than_the_time_limit(backend: str, path: str) -> None:
    async def main() -> None:
        app, call = Endless(send_timeout=FROZEN_AFTER), Call(piece(b""))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, app, call, f"/{path}", True)
            await anyio.sleep(3 * FROZEN_AFTER)  # a limit that counted this would be over
            assert app.closed == 0
            call.leave()
        assert app.closed == 1

    run(backend, main)
