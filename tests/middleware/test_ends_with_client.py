"""``@ends_with_client``: a handler is cancelled when its client has left, and at no other time."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import anyio
import pytest

from micropie import App, EventStream, HTTPError, SetupError, post, reads_body, websocket
from micropie._core.errors import ClientDisconnect
from micropie.middleware import AccessLog, Timeout, ends_with_client
from tests.asgi.calls import Call, http_scope, piece, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until_async


class Transaction:
    pass


class Root(App):
    middlewares = [AccessLog()]  # noqa: RUF012

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.steps: list[str] = []
        self.left = anyio.Event()
        self.provides(Transaction)(self._transaction)

    async def _transaction(self) -> AsyncIterator[Transaction]:
        try:
            yield Transaction()
            self.steps.append("commit")
        except Exception as error:
            self.steps.append(type(error).__name__)
            raise

    @ends_with_client
    async def index(self, transaction: Transaction, word: str = "pie") -> str:
        await anyio.lowlevel.checkpoint()
        self.request.state.word = word
        return word

    @post
    @ends_with_client
    async def work(self, transaction: Transaction, word: str) -> None:
        self.steps.append(word)
        try:
            await anyio.sleep_forever()
        finally:
            self.steps.append("finally")

    @ends_with_client
    async def fails(self) -> str:
        raise HTTPError(418, "I am a teapot.")

    @ends_with_client
    async def stubborn(self, transaction: Transaction) -> str:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("in the middle")

    @ends_with_client
    async def done(self, transaction: Transaction) -> str:
        with anyio.CancelScope(shield=True):
            self.steps.append("done")
            await self.left.wait()
        return "done"

    @Timeout(0.001)
    @ends_with_client
    async def limited(self) -> str:
        await anyio.sleep_forever()
        return ""

    @post
    @reads_body
    @ends_with_client
    async def upload(self) -> int:
        return sum([len(chunk) async for chunk in self.request.stream()])

    @ends_with_client
    async def events(self) -> EventStream:
        return EventStream(self._events())

    async def _events(self) -> AsyncIterator[str]:
        self.steps.append("begun")
        try:
            await anyio.sleep_forever()
            yield ""
        finally:
            self.steps.append("closed")


def test_a_handler_whose_client_waits_runs_normally(make_client: MakeClient) -> None:
    app = Root()
    client = make_client(app)
    assert client.get("/?word=plum").text == "plum"
    assert client.get("/fails").text == "I am a teapot."
    assert client.post("/upload", content=b"12345").text == "5"
    assert app.steps == ["commit"]


def test_a_time_limit_cancels_a_handler_with_ends_with_client(make_client: MakeClient) -> None:
    assert make_client(Root()).get("/limited").status_code == 503


async def leave(app: App, path: str, step: str, body: bytes | None = None) -> Call:
    """Send a request, and leave when the handler has taken a step."""
    steps: list[str] = app.steps  # type: ignore[attr-defined]
    call = Call(piece(body or b""))
    headers = [(b"content-type", b"application/x-www-form-urlencoded")]
    scope = http_scope("GET" if body is None else "POST", path, headers=headers)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, scope, call.receive, call.send)
        while step not in steps:
            await anyio.lowlevel.checkpoint()
        call.leave()
        app.left.set()  # type: ignore[attr-defined]
    return call


def test_a_handler_is_cancelled_when_its_client_disconnects(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = Root()
    call = run(backend, leave, app, "/work", "plum", b"word=plum")
    assert app.steps == ["plum", "finally", "ClientDisconnect"]
    assert call.sent == []
    assert " status=499 " in caplog.text
    assert "Traceback" not in caplog.text


def test_a_cancelled_handler_that_fails_is_logged(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Root()

    async def leave_at_once() -> Call:
        call = Call(piece(b""))
        call.leave()
        await app(http_scope("GET", "/stubborn"), call.receive, call.send)
        return call

    assert run(backend, leave_at_once).status == 500
    assert app.steps == ["ValueError"]
    assert "ValueError: in the middle" in caplog.text


def test_a_handler_that_has_its_result_keeps_it(backend: str) -> None:
    app = Root()
    run(backend, leave, app, "/done", "done")
    assert app.steps == ["done", "commit"]


def test_a_stream_returned_by_the_handler_ends_with_the_client(backend: str) -> None:
    app = Root()
    call = run(backend, leave, app, "/events", "begun")
    assert app.steps == ["begun", "closed"]
    assert call.status == 200


def test_a_disconnection_in_the_middle_of_a_body_cancels_the_handler(backend: str) -> None:
    app = Root()

    async def leave_in_mid_body() -> Call:
        call = Call(piece(b"12", more=True))
        call.leave()
        await app(http_scope("POST", "/upload"), call.receive, call.send)
        return call

    assert run(backend, leave_in_mid_body).sent == []


def test_while_connected_can_be_called_any_number_of_times(backend: str) -> None:
    """Each call watches the client again."""
    seen, has_read = list[object](), anyio.Event()

    class Polls(App):
        @reads_body
        async def index(self) -> None:
            async def poll() -> bytes:
                await anyio.wait_all_tasks_blocked()  # so that the client is being watched
                return b""

            for _ in range(sys.getrecursionlimit()):
                await self.request.while_connected(poll)
            seen.append(await self.request.while_connected(self.request.body))
            has_read.set()
            for _ in range(2):  # a server may report the disconnect only once
                with pytest.raises(ClientDisconnect):
                    await self.request.while_connected(anyio.sleep_forever)
                seen.append("left")

    class Once(Call):
        async def receive(self) -> Any:
            if seen[1:]:
                await anyio.sleep_forever()
            return await super().receive()

    call = Once(piece(b"p", more=True), piece(b"ie"))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Polls(), http_scope("POST"), call.receive, call.send)
            await has_read.wait()
            call.leave()

    run(backend, main, within=3 * PATIENCE)  # a thousand calls take seconds
    assert seen == [b"pie", "left", "left"]


def test_while_connected_can_be_called_twice_at_once(backend: str) -> None:
    """Both calls are notified, although the server reports the disconnect only once."""
    begun: list[str] = []
    left: list[str] = []

    class Both(App):
        async def index(self) -> None:
            async def wait(name: str) -> None:
                begun.append(name)
                await anyio.sleep_forever()

            async def watch(name: str) -> None:
                with pytest.raises(ClientDisconnect):
                    await self.request.while_connected(partial(wait, name))
                left.append(name)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch, "a")
                tasks.start_soon(watch, "b")

    class Once(Call):
        async def receive(self) -> Any:
            if self.received == 2:
                await anyio.sleep_forever()
            return await super().receive()

    call = Once(piece(b""))

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Both(), http_scope(), call.receive, call.send)
            await until_async(lambda: len(begun) == 2)
            call.leave()

    run(backend, main)
    assert sorted(left) == ["a", "b"]


def test_a_handler_that_cannot_be_cancelled_is_refused() -> None:
    def plain() -> None: ...
    def stream() -> Iterator[str]:
        yield ""

    async def async_stream() -> AsyncIterator[str]:
        yield ""

    for function, reason in (
        (plain, "can't be interrupted: write async def .*plain"),
        (5, "can't be interrupted: write async def 5"),
        (stream, "stream is a stream, which already ends when its client disconnects"),
        (async_stream, "is a stream, which already ends when its client disconnects"),
    ):
        with pytest.raises(SetupError, match=reason):
            ends_with_client(function)  # type: ignore[type-var]


def test_a_websocket_handler_is_refused() -> None:
    class Chat(App):
        @websocket
        @ends_with_client
        async def chat(self, ws: Any) -> None: ...

    with pytest.raises(SetupError, match="chat handles WebSockets, which already end"):
        Chat()._micropie.compiled()


def test_a_server_that_fails_counts_as_a_disconnection(backend: str) -> None:
    app = Root()

    async def receive() -> Any:
        raise RuntimeError("no connection")

    async def request() -> None:
        call = Call()
        await app(http_scope("GET", "/stubborn"), receive, call.send)

    run(backend, request)
    assert app.steps == ["ValueError"]
