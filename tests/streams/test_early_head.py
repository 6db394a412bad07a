"""A stream's head leaves before a first chunk that takes long, and what goes wrong after that breaks the answer off."""

from __future__ import annotations

import gzip
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from micropie import App, EventStream, Response
from micropie.middleware import Compress
from micropie.routing.settings import Settings
from micropie.sessions import InMemorySessionBackend
from micropie.streams.source import EarlyHead
from tests.asgi.calls import Call, every_loop, http_scope, piece, run
from tests.conftest import MakeClient
from tests.support.waiting import PATIENCE, until, until_async

COMMENT = b": \n\n"
EVENTS = "text/event-stream"

every_kind = pytest.mark.parametrize("kind", ["asynchronous", "sync"])


class Late(App):
    """Its streams make no chunk before ``go`` is set. ``log`` tells what became of them.

    Under WSGI the test client keeps a head back until there is a byte, so there the head need only be complete.
    """

    def __init__(self, *, delay: float | None = 0.02, **settings: Any) -> None:
        super().__init__(stream_head_delay=delay, **settings)
        self.go = threading.Event()
        self.asked = threading.Event()
        self.begun = threading.Event()
        self.log: list[str] = []

    async def asynchronous(self, what: str = "chunk") -> AsyncIterator[Any]:
        self._prepare(what)
        return self._asynchronous(what)

    async def _asynchronous(self, what: str) -> AsyncIterator[Any]:
        if what == "late_events":
            await until_async(self.asked.is_set)
        if what in ("events", "late_events"):
            self.response.content_type = EVENTS
        try:
            self.begun.set()
            await until_async(
                lambda: self.go.is_set() or (self.request.environ is not None and self.request._exchange.is_head_sent)
            )
            for chunk in self._chunks(what):
                yield chunk
        finally:
            self.log.append("closed")

    def sync(self, what: str = "chunk") -> Iterator[Any]:
        self._prepare(what)
        return self._sync(what)

    def _sync(self, what: str) -> Iterator[Any]:
        if what == "late_events":
            self.asked.wait(PATIENCE)
        if what in ("events", "late_events"):
            self.response.content_type = EVENTS
        try:
            self.go.wait(PATIENCE)
            yield from self._chunks(what)
        finally:
            self.log.append("closed")

    def _prepare(self, what: str) -> None:
        self.response.headers["X-Early"] = "yes"
        if what == "session":
            self.request.session["name"] = "Ada"

    def _chunks(self, what: str) -> Iterator[Any]:
        if what == "late_header":
            self.response.headers["X-Late"] = "yes"
        if what == "error":
            raise KeyError("broken")
        if what == "number":
            yield 5
        if what != "nothing":
            yield from ("", "a", "b")

    async def generator(self) -> AsyncIterator[str]:
        await until_async(
            lambda: self.go.is_set() or (self.request.environ is not None and self.request._exchange.is_head_sent)
        )
        yield "a"

    def returned(self) -> Response:
        return Response(self._events(), content_type=f"{EVENTS}; charset=utf-8")

    def _events(self) -> Iterator[str]:
        self.go.wait(PATIENCE)
        yield "data: a\n\n"


def skip_what_blocks(world: str, kind: str) -> None:
    """Under WSGI a ``def`` generator has the server's thread until it gives a chunk: its head can't leave before."""
    if world == "wsgi" and kind == "sync":
        pytest.skip("the server's thread is in the generator")


def test_the_default_is_a_tenth_of_a_second() -> None:
    assert Settings().stream_head_delay == 0.1


@every_kind
def test_the_head_leaves_before_the_first_chunk(make_client: MakeClient, world: str, kind: str) -> None:
    skip_what_blocks(world, kind)
    app = Late()
    with make_client(app).stream("GET", f"/{kind}") as answer:
        assert (answer.status_code, answer.headers["x-early"]) == (200, "yes")
        assert "content-length" not in answer.headers
        app.go.set()
        assert b"".join(answer.iter_raw()) == b"ab"
    assert app.log == ["closed"]


@every_kind
def test_of_events_it_leaves_whatever_the_setting_is(make_client: MakeClient, world: str, kind: str) -> None:
    skip_what_blocks(world, kind)
    app = Late(delay=1000.0)
    with make_client(app).stream("GET", f"/{kind}?what=events") as answer:
        assert answer.headers["content-type"] == EVENTS
        app.go.set()
        assert b"".join(answer.iter_raw()).removeprefix(COMMENT) == b"ab"


@every_kind
def test_a_generator_may_say_late_that_it_has_events(
    make_client: MakeClient, world: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_what_blocks(world, kind)
    app = Late(delay=1000.0)
    seconds = EarlyHead.seconds

    def noted(head: EarlyHead) -> float:
        delay = seconds(head)
        app.asked.set()
        return delay

    monkeypatch.setattr(EarlyHead, "seconds", noted)
    with make_client(app).stream("GET", f"/{kind}?what=late_events") as answer:
        assert answer.headers["content-type"] == EVENTS
        app.go.set()
        assert b"".join(answer.iter_raw()).removeprefix(COMMENT) == b"ab"


def test_of_a_response_of_events_it_leaves_in_each_world(make_client: MakeClient, world: str) -> None:
    app = Late(delay=1000.0)
    with make_client(app).stream("GET", "/returned") as answer:
        assert answer.headers["content-type"] == f"{EVENTS}; charset=utf-8"
        app.go.set()
        expected = COMMENT if world == "wsgi" else b""
        assert b"".join(answer.iter_raw()) == expected + b"data: a\n\n"


@every_kind
def test_without_the_setting_it_waits(make_client: MakeClient, kind: str) -> None:
    app = Late(delay=None)
    threading.Timer(0.1, app.go.set).start()
    answer = make_client(app).get(f"/{kind}?what=late_header")
    assert (answer.text, answer.headers["x-late"]) == ("ab", "yes")


@every_kind
def test_R8_head_has_the_headers_that_are_set_late(make_client: MakeClient, kind: str) -> None:
    app = Late()
    threading.Timer(0.15, app.go.set).start()
    answer = make_client(app).head(f"/{kind}?what=late_header")
    assert (answer.text, answer.headers["x-late"]) == ("", "yes")
    until(lambda: app.log == ["closed"])


@every_kind
def test_a_stream_of_nothing_ends(make_client: MakeClient, world: str, kind: str) -> None:
    skip_what_blocks(world, kind)
    app = Late()
    with make_client(app).stream("GET", f"/{kind}?what=nothing") as answer:
        app.go.set()
        assert b"".join(answer.iter_raw()) == b""
    assert app.log == ["closed"]


@every_kind
@pytest.mark.parametrize("what", ["error", "late_header", "number"])
def test_R60_what_fails_after_the_head_breaks_the_answer_off(
    make_client: MakeClient, world: str, kind: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    skip_what_blocks(world, kind)
    app = Late()
    client = make_client(app, raise_app_exceptions=False)
    with client.stream("GET", f"/{kind}?what={what}") as answer:
        app.go.set()
        if world != "wsgi":  # whose client has not got the head, so the server can answer
            assert answer.status_code == 200
            with pytest.raises(httpx.RemoteProtocolError):
                b"".join(answer.iter_raw())
    assert app.log == ["closed"]
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == [
        f"GET '/{kind}' failed after its head was sent: aborted"
    ]


@every_kind
def test_the_session_is_saved_with_the_head(make_client: MakeClient, world: str, kind: str) -> None:
    skip_what_blocks(world, kind)
    app = Late()
    client = make_client(app)
    with client.stream("GET", f"/{kind}?what=session") as answer:
        assert "session_id" in answer.cookies
        app.go.set()
        assert b"".join(answer.iter_raw()) == b"ab"


class Broken(InMemorySessionBackend):
    def save(self, *args: Any) -> Any:
        raise OSError("the disk is full")


@every_kind
def test_a_head_that_fails_is_an_error_s_page(make_client: MakeClient, world: str, kind: str) -> None:
    skip_what_blocks(world, kind)
    app = Late(session_backend=Broken())
    answer = make_client(app, raise_app_exceptions=False)
    if kind == "sync":  # its thread can't be interrupted
        threading.Timer(0.15, app.go.set).start()
    assert answer.get(f"/{kind}?what=session").status_code == 503
    until(lambda: app.log == ["closed"])


@every_kind
def test_it_may_be_compressed(make_client: MakeClient, world: str, kind: str) -> None:
    skip_what_blocks(world, kind)
    app = Late()
    app.middlewares.append(Compress())
    with make_client(app).stream("GET", f"/{kind}", headers={"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["content-encoding"] == "gzip"
        app.go.set()
        assert gzip.decompress(b"".join(answer.iter_raw())) == b"ab"


def test_a_handler_that_is_a_generator_has_it_too(make_client: MakeClient) -> None:
    app = Late()
    with make_client(app).stream("GET", "/generator") as answer:
        assert answer.status_code == 200
        app.go.set()
        assert answer.read() == b"a"


def test_R62_a_client_that_leaves_after_the_head_ends_the_stream(make_client: MakeClient) -> None:
    app = Late()
    with make_client(app).stream("GET", "/asynchronous"):
        pass
    until(lambda: app.log == ["closed"])


# -- under ASGI, where two tasks are at work -----------------------------------------------------------------------------


class Unsendable(Call):
    """A client that has left when the head is sent."""

    async def send(self, message: Any) -> None:
        raise OSError("gone")


@every_loop
def test_R61_a_client_that_has_left_before_the_head_ends_the_stream(backend: str) -> None:
    app = Late()
    call = Unsendable(piece(b""))
    run(backend, app, http_scope("GET", "/asynchronous"), call.receive, call.send)
    assert app.log == ["closed"]


class Slow(InMemorySessionBackend):
    """Its ``save`` waits for ``go`` and tells that it has begun."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()
        self.go = threading.Event()

    async def save(self, *args: Any) -> Any:
        self.begun.set()
        await until_async(self.go.is_set)
        return super().save(*args)


@every_loop
@pytest.mark.parametrize("what", ["session", "session_error"])
def test_the_chunk_waits_for_the_head(backend: str, what: str) -> None:
    backend_of_sessions = Slow()

    class Root(Late):
        def _prepare(self, what: str) -> None:
            super()._prepare("session")

        def _chunks(self, what: str) -> Iterator[Any]:
            return super()._chunks("error" if what == "session_error" else what)

    app = Root(session_backend=backend_of_sessions)
    call = Call(piece(b""))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:

            async def answer() -> None:
                try:
                    await app(http_scope("GET", f"/asynchronous?what={what}"), call.receive, call.send)
                except KeyError:
                    assert what == "session_error"

            tasks.start_soon(answer)
            await anyio.to_thread.run_sync(backend_of_sessions.begun.wait, PATIENCE)
            app.go.set()  # the chunk, or the error, comes while the session is being saved
            await anyio.to_thread.run_sync(until, lambda: app.log == ["closed"] or what == "session")
            assert not call.sent
            backend_of_sessions.go.set()

    run(backend, main)
    assert "set-cookie" in call.headers
    assert call.body == (b"" if what == "session_error" else b"ab")
    assert call.is_complete == (what == "session")


@every_loop
@pytest.mark.parametrize("has_begun", [True, False])
def test_R61_a_request_that_is_cancelled_sends_no_head(backend: str, has_begun: bool) -> None:
    backend_of_sessions = Slow()
    app = Late(session_backend=backend_of_sessions, delay=0.01 if has_begun else 1000.0)
    call = Call(piece(b""))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, http_scope("GET", "/asynchronous?what=session"), call.receive, call.send)
            if has_begun:
                await anyio.to_thread.run_sync(backend_of_sessions.begun.wait, PATIENCE)
            else:
                await until_async(app.begun.is_set)
            tasks.cancel_scope.cancel()

    run(backend, main)
    assert (call.sent, app.log) == ([], ["closed"])


@pytest.mark.usefixtures("early_events")
def test_head_of_silent_events_needs_no_event(make_client: MakeClient) -> None:
    class Root(App):
        async def index(self) -> EventStream:
            return EventStream(self._events())

        async def _events(self) -> AsyncIterator[str]:
            await anyio.sleep_forever()
            yield "never"

    answer = make_client(Root()).head("/")
    assert (answer.status_code, answer.text) == (200, "")
