"""When a stream's head leaves: with its first chunk, and that of events at once."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest

from micropie import App, EventStream, HTTPError, Response
from micropie.middleware import Compress
from micropie.sessions import InMemorySessionBackend
from tests.asgi.calls import Call, http_scope, piece, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until, until_async

COMMENT = b": \n\n"
EVENTS = "text/event-stream"

every_kind = pytest.mark.parametrize("kind", ["asynchronous", "sync"])


class Late(App):
    """Its streams make no chunk before ``go`` is set. ``log`` tells what became of them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.go = threading.Event()
        self.log: list[str] = []

    async def asynchronous(self) -> AsyncIterator[str]:
        self.log.append("begun")
        try:
            await until_async(self.go.is_set)
            self.response.headers["X-Late"] = "yes"
            yield "a"
            yield "b"
        finally:
            self.log.append("closed")

    def sync(self) -> Iterator[str]:
        self.log.append("begun")
        try:
            self.go.wait(PATIENCE)
            self.response.headers["X-Late"] = "yes"
            yield "a"
            yield "b"
        finally:
            self.log.append("closed")

    def events(self, kind: str = "", encoding: str = "", visit: str = "") -> Response:
        """Return an author's own response with events, as text."""
        if visit:
            self.request.session["name"] = "Ada"
        headers = {"Content-Encoding": encoding} if encoding else {}
        return Response(
            self._events() if kind == "sync" else self._async_events(),
            200,
            headers,
            f"{EVENTS}; charset=utf-8",
        )

    def _events(self) -> Iterator[str]:
        self.go.wait(PATIENCE)
        yield "data: a\n\n"

    async def _async_events(self) -> AsyncIterator[str]:
        await until_async(self.go.is_set)
        yield "data: a\n\n"


@every_kind
def test_the_response_starts_with_the_first_chunk(make_client: MakeClient, kind: str) -> None:
    app = Late()
    threading.Timer(0.1, app.go.set).start()
    answer = make_client(app).get(f"/{kind}")
    assert (answer.text, answer.headers["x-late"], app.log) == ("ab", "yes", ["begun", "closed"])


@every_kind
def test_R8_head_has_the_headers_that_are_set_late(make_client: MakeClient, kind: str) -> None:
    app = Late()
    threading.Timer(0.1, app.go.set).start()
    answer = make_client(app).head(f"/{kind}")
    assert (answer.text, answer.headers["x-late"]) == ("", "yes")
    until(lambda: app.log == ["begun", "closed"])


@every_kind
def test_an_event_stream_s_response_starts_immediately(make_client: MakeClient, kind: str) -> None:
    """With a comment, because some servers keep the head back until there is a byte."""
    app = Late()
    with make_client(app).stream("GET", f"/events?kind={kind}") as answer:
        assert answer.headers["content-type"] == f"{EVENTS}; charset=utf-8"
        app.go.set()
        assert b"".join(answer.iter_raw()) == COMMENT + b"data: a\n\n"


@every_kind
def test_events_encoded_by_the_author_get_no_comment(make_client: MakeClient, kind: str) -> None:
    app = Late()
    app.go.set()
    with make_client(app).stream("GET", f"/events?kind={kind}&encoding=rot13") as answer:
        assert b"".join(answer.iter_raw()) == b"data: a\n\n"


def test_events_are_never_compressed(make_client: MakeClient) -> None:
    app = Late()
    app.middlewares.append(Compress())
    app.go.set()
    answer = make_client(app).get("/events", headers={"Accept-Encoding": "gzip"})
    seen = (answer.content, "content-encoding" in answer.headers)
    assert seen == (COMMENT + b"data: a\n\n", False)


def test_the_session_is_saved_when_the_response_starts(make_client: MakeClient) -> None:
    app = Late()
    with make_client(app).stream("GET", "/events?visit=yes") as answer:
        assert "session_id" in answer.cookies
        app.go.set()
        assert b"".join(answer.iter_raw()) == COMMENT + b"data: a\n\n"


class Broken(InMemorySessionBackend):
    def save(self, *args: Any) -> Any:
        raise OSError("the disk is full")


@every_kind
def test_a_failing_head_becomes_an_error_page(make_client: MakeClient, kind: str) -> None:
    client = make_client(Late(session_backend=Broken()), raise_app_exceptions=False)
    assert client.get(f"/events?visit=yes&kind={kind}").status_code == 503


# -- subscriptions ---------------------------------------------------------------------------------


class Subscribed:
    """It is entered when ``may_enter`` is set, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.may_enter = threading.Event()
        self.is_entered = False

    async def __aenter__(self) -> Subscribed:
        await until_async(self.may_enter.is_set)
        if self.failure is not None:
            raise self.failure
        self.is_entered = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.is_entered = False

    def __aiter__(self) -> Subscribed:
        return self

    async def __anext__(self) -> str:
        await anyio.sleep_forever()
        raise AssertionError


class Subscribing(App):
    def __init__(self, subscription: Subscribed) -> None:
        super().__init__()
        self.subscription = subscription

    def index(self) -> EventStream:
        return EventStream(self.subscription, heartbeat=0.05)  # finds that the client has left


def test_the_response_starts_once_the_subscription_is_entered(make_client: MakeClient) -> None:
    """A client that has the head misses nothing that is published from then on."""
    subscription = Subscribed()
    threading.Timer(0.1, subscription.may_enter.set).start()
    with make_client(Subscribing(subscription)).stream("GET", "/") as answer:
        chunks = answer.iter_raw()  # kept, because httpx2 closes the answer with its iterator
        assert next(chunks) == COMMENT
        assert subscription.is_entered
    until(lambda: not subscription.is_entered)


def test_a_subscription_that_cannot_be_entered_becomes_an_error_page(
    make_client: MakeClient,
) -> None:
    subscription = Subscribed(HTTPError(503, "closed today"))
    subscription.may_enter.set()
    answer = make_client(Subscribing(subscription)).get("/")
    assert (answer.status_code, answer.text) == (503, "closed today")


# -- under ASGI ------------------------------------------------------------------------------------


class Unsendable(Call):
    """A client that has disconnected when the response starts."""

    async def send(self, message: Any) -> None:
        raise OSError("gone")


class Source:
    """A source of events that must not be asked for one."""

    is_closed = False

    def __aiter__(self) -> Source:
        return self

    async def __anext__(self) -> str:
        raise AssertionError

    async def aclose(self) -> None:
        self.is_closed = True


class Unbegun(App):
    def __init__(self) -> None:
        super().__init__()
        self.source = Source()

    async def index(self) -> EventStream:
        return EventStream(self.source)


def test_R59_R61_a_disconnection_before_the_response_starts_closes_the_source(backend: str) -> None:
    app, call = Unbegun(), Unsendable(piece(b""))
    run(backend, app, http_scope(), call.receive, call.send)
    assert app.source.is_closed


def test_R59_R62_a_request_cancelled_before_the_response_starts_closes_the_source(
    backend: str,
) -> None:
    app, call = Unbegun(), Call(piece(b""))

    async def main() -> None:
        with anyio.CancelScope() as scope:

            async def send(message: Any) -> None:
                scope.cancel()
                await anyio.sleep_forever()

            await app(http_scope(), call.receive, send)

    run(backend, main)
    assert app.source.is_closed


def test_R61_a_request_cancelled_before_its_first_chunk_sends_no_head(backend: str) -> None:
    app, call = Late(), Call(piece(b""))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, http_scope("GET", "/asynchronous"), call.receive, call.send)
            await until_async(lambda: bool(app.log))
            tasks.cancel_scope.cancel()

    run(backend, main)
    assert (call.sent, app.log) == ([], ["begun", "closed"])
