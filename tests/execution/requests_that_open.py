"""Fifty kinds of requests that open and close something, and note it. A test ends them anywhere, or
lets their code raise anywhere.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
from anyio.lowlevel import checkpoint
from sniffio import current_async_library

from micropie import (
    App,
    EventStream,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Request,
    UploadFile,
    WebSocket,
    WebSocketMiddleware,
    run_async,
    run_in,
    static_file,
)
from micropie.channels import Channels
from micropie.middleware import ConcurrencyLimit, Timeout, ends_with_client
from tests.asgi.calls import Message, http_scope, piece
from tests.support.waiting import PATIENCE

PAGE = Path(__file__)

OPEN: list[str] = []
"""What is open."""

PENDING: list[object] = []
"""What has to be called after the response."""

COMMITTED: list[str] = []
"""The providers whose code after the ``yield`` began without an exception."""

FAILED: list[str] = []
"""What has failed at its end."""


class Points:
    """The points at which code of the application begins or ends: a test may let one of them
    raise.
    """

    passed = 0
    raise_at = 0
    failure: BaseException | None = None

    def begin(self, raise_at: int = 0, failure: BaseException | None = None) -> None:
        """Begin a request whose point ``raise_at`` raises ``failure``."""
        self.passed, self.raise_at, self.failure = 0, raise_at, failure

    def go(self) -> None:
        self.passed += 1
        if self.passed == self.raise_at and self.failure is not None:
            raise self.failure


POINTS = Points()


@contextmanager
def opened(name: str) -> Iterator[None]:
    """Note what is open during a ``with`` block."""
    POINTS.go()
    OPEN.append(name)
    try:
        yield
    finally:
        OPEN.remove(name)
        POINTS.go()


async def wait_to_close(name: str) -> None:
    """Close what closes slowly, unless a cancellation interrupts that. On asyncio, a server cancels
    a task once, which interrupts one wait.
    """
    interruption: BaseException | None = None
    for _ in range(2):
        try:
            await checkpoint()
        except BaseException as error:
            if interruption or current_async_library() == "trio":
                raise
            interruption = error
    OPEN.remove(name)
    if interruption is not None:
        raise interruption


@asynccontextmanager
async def opened_by(name: str) -> AsyncIterator[None]:
    """Note what code opens that may be cancelled: it may wait in its clean-up, on trio only when
    its generator is closed.
    """
    POINTS.go()
    OPEN.append(name)
    try:
        yield
    except BaseException as error:
        if isinstance(error, GeneratorExit) or current_async_library() == "asyncio":
            await wait_to_close(name)
        else:
            OPEN.remove(name)
        raise
    OPEN.remove(name)
    POINTS.go()


@asynccontextmanager
async def provided(name: str) -> AsyncIterator[None]:
    """Note what a provider opens."""
    async with opened_by(name):
        await checkpoint()
    OPEN.append(name)
    try:
        yield
        COMMITTED.append(name)
    finally:
        await wait_to_close(name)
        POINTS.go()


# -- the requests ----------------------------------------------------------------------------------


class Sync(str):
    __slots__ = ()


class Async(str):
    __slots__ = ()


class Nested(str):
    __slots__ = ()


class Early(str):
    __slots__ = ()


class Failing(str):
    __slots__ = ()


def sync_provider() -> Iterator[Sync]:
    with opened("def provider"):
        yield Sync("sync")
        COMMITTED.append("def provider")


async def async_provider() -> AsyncIterator[Async]:
    async with provided("async provider"):
        yield Async("async")


async def nested_provider(sync: Sync, awaited: Async) -> AsyncIterator[Nested]:
    async with provided("nested provider"):
        yield Nested(f"{sync} {awaited}")


async def early_provider() -> Early:
    """Closes what it has opened itself."""
    async with opened_by("early provider"):
        await checkpoint()
    return Early("early")


async def failing_provider() -> AsyncIterator[Failing]:
    """Fails at its end, whatever the reason of the end is."""
    async with opened_by("failing provider"):
        await checkpoint()
    try:
        yield Failing("failing")
    finally:
        FAILED.append("failing provider")
        raise LookupError("the end of a provider")


class Base(App):
    def __init__(self) -> None:
        super().__init__(secret_key="k" * 32, channels=Channels())
        self.provides(Sync)(sync_provider)
        self.provides(Async)(async_provider)
        self.provides(Nested)(nested_provider)
        self.provides(Early)(early_provider)
        self.provides(Failing)(failing_provider)


class Root(Base):
    def plain_def(self, sync: Sync) -> str:
        with opened("def handler"):
            return sync

    async def plain_async(self, awaited: Async) -> str:
        async with opened_by("async handler"):
            await checkpoint()
            return awaited

    @run_in("loop")
    def on_loop(self, sync: Sync) -> str:
        return sync

    def def_nested(self, nested: Nested) -> str:
        return nested

    async def async_nested(self, nested: Nested) -> str:
        await checkpoint()
        return nested

    async def early(self, early: Early) -> str:
        return early

    def def_failing_end(self, failing: Failing) -> str:
        return failing

    def def_chunks(self, sync: Sync) -> Iterator[str]:
        with opened("def chunks"):
            yield from "abc"

    async def async_chunks(self, awaited: Async) -> AsyncIterator[str]:
        async with opened_by("async chunks"):
            for chunk in "abc":
                await checkpoint()
                yield chunk

    async def nested_chunks(self, nested: Nested) -> AsyncIterator[str]:
        async with opened_by("nested chunks"):
            yield "a"
            yield "b"

    async def mixed_chunks(self, sync: Sync, awaited: Async) -> Any:
        async with opened_by("before the chunks"):
            await checkpoint()
        return 200, self._chunks()

    def _chunks(self) -> Iterator[str]:
        with opened("def chunks"):
            yield "a"
            yield "b"

    def def_events(self, sync: Sync) -> EventStream:
        return EventStream(self._chunks())

    async def async_events(self, awaited: Async) -> EventStream:
        async def source() -> AsyncIterator[str]:
            async with opened_by("events"):
                yield "a"
                await checkpoint()
                yield "b"

        return EventStream(source())

    async def subscription(self, awaited: Async) -> EventStream:
        async def source() -> AsyncIterator[str]:
            async with opened_by("events"), self.channels.subscribe("pies") as messages:
                await self.channels.publish("pies", "a")
                async for message in messages:
                    yield message
                    return

        return EventStream(source())

    async def chunks_on_close(self, sync: Sync) -> AsyncIterator[str]:
        OPEN.append("on_close")
        self.request.on_close(self._close)
        yield "a"
        yield "b"

    async def def_chunks_of_upload(self, file: UploadFile, sync: Sync) -> Any:
        return 200, self._chunks()

    def def_form(self, name: str, sync: Sync) -> str:
        return name

    async def async_upload(self, file: UploadFile, awaited: Async) -> str:
        content = file.read()
        return f"{len(content)}"

    def def_upload(self, file: UploadFile, sync: Sync) -> str:
        return f"{len(file.read())}"

    async def raw(self, awaited: Async) -> str:
        size = 0
        async for chunk in self.request.stream():
            size += len(chunk)
        return f"{size}"

    async def json_body(self, numbers: list[int], awaited: Async) -> int:
        return sum(numbers)

    async def session_write(self, awaited: Async) -> str:
        self.request.session["name"] = "Ann"
        return awaited

    def redirect(self, sync: Sync) -> None:
        raise Redirect("/plain_def")

    def http_error(self, sync: Sync) -> None:
        raise HTTPError(404)

    async def failure(self, awaited: Async) -> None:
        await checkpoint()
        raise KeyError("a failure")

    def def_failure(self, sync: Sync) -> None:
        raise KeyError("a failure")

    async def failure_of_cancelled(self, awaited: Async) -> str:
        try:
            await checkpoint()
        except BaseException as error:
            raise KeyError("a failure") from error
        return awaited

    def _note(self) -> None:
        PENDING.clear()
        POINTS.go()

    async def _note_slowly(self) -> None:
        async with opened_by("after the response"):
            await checkpoint()
        self._note()

    def after_def(self, sync: Sync) -> str:
        PENDING.append(self._note)
        self.request.after_response(self._note)
        return sync

    async def after_async(self, awaited: Async) -> str:
        PENDING.append(self._note)
        self.request.after_response(self._note_slowly)
        return awaited

    async def after_chunks(self, sync: Sync) -> AsyncIterator[str]:
        PENDING.append(self._note)
        self.request.after_response(self._note)
        yield "a"
        yield "b"

    async def after_upload(self, file: UploadFile, awaited: Async) -> str:
        PENDING.append(self._note)
        self.request.after_response(self._note)
        return awaited

    def _close(self) -> None:
        OPEN.remove("on_close")
        POINTS.go()

    async def on_close(self, awaited: Async) -> str:
        OPEN.append("on_close")
        self.request.on_close(self._close)
        await checkpoint()
        return awaited

    def waits_for_async(self, sync: Sync) -> str:
        async def wait() -> str:
            async with opened_by("run_async"):
                await checkpoint()
                return "waited"

        return run_async(wait)

    @ends_with_client
    async def watched(self, awaited: Async) -> str:
        async with opened_by("watched"):
            await checkpoint()
            await checkpoint()
        return awaited

    async def group(self, awaited: Async) -> str:
        async def one() -> None:  # raises nothing: asyncio's loop ends if a task raises SystemExit
            OPEN.append("group")
            try:
                await checkpoint()
            finally:
                OPEN.remove("group")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
        return awaited

    async def a_file(self, awaited: Async) -> Any:
        return static_file(PAGE.name, PAGE.parent)

    async def ws_talk(self, ws: WebSocket, nested: Nested) -> None:
        await ws.accept()
        async with opened_by("socket"):
            await ws.send_text(nested)
            await ws.receive_text()
            await ws.send_text("b")

    async def ws_unaccepted(self, ws: WebSocket, sync: Sync) -> None:
        async with opened_by("socket"):
            await checkpoint()

    async def ws_forwards(self, ws: WebSocket, awaited: Async) -> None:
        await ws.accept()
        async with self.channels.subscribe("pies") as messages:
            await self.channels.publish("pies", "a")
            async for message in messages:
                await ws.send_text(message)
                return

    async def ws_socket_failure(self, ws: WebSocket, nested: Nested) -> None:
        await ws.accept()
        await checkpoint()
        raise KeyError("a failure")


def def_middleware(request: Request) -> Iterator[None]:
    with opened("def middleware"):
        yield


async def async_middleware(request: Request) -> AsyncIterator[None]:
    async with opened_by("async middleware"):
        yield


class Hooks(HttpMiddleware):
    """A hook for each half; neither holds anything."""

    def before_request(self, request: Request) -> None:
        POINTS.go()

    async def after_request(
        self, request: Request, status: int, response_body: Any, extra_headers: Any
    ) -> None:
        await checkpoint()
        POINTS.go()


def plain() -> App:
    return Root()


class SocketHooks(WebSocketMiddleware):
    def before_websocket(self, request: Request) -> None:
        POINTS.go()
        OPEN.append("WebSocket middleware")

    async def after_websocket(self, request: Request) -> None:
        OPEN.remove("WebSocket middleware")
        await checkpoint()
        POINTS.go()


def with_middleware() -> App:
    app = Root()
    app.middlewares += [async_middleware, def_middleware, Hooks()]
    app.ws_middlewares.append(SocketHooks())
    return app


def with_limits() -> App:
    app = Root()
    app.middlewares += [ConcurrencyLimit(5), Timeout(PATIENCE), async_middleware]
    return app


def with_error_handlers() -> App:
    app = Root()

    async def failed(error: KeyError) -> tuple[int, str]:
        async with opened_by("error handler"):
            return 500, "failed"

    def missing(error: HTTPError) -> tuple[int, str]:
        with opened("error handler"):
            return 404, "missing"

    app.error(KeyError)(failed)
    app.error(404)(missing)
    app.middlewares.append(def_middleware)
    return app


def with_mounts() -> App:
    app = Root()

    def wsgi(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    async def asgi(scope: Message, receive: Any, send: Any) -> None:
        async with opened_by("ASGI application"):
            with suppress(OSError):
                await answer(scope, receive, send)

    async def answer(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": "a"})
            await send({"type": "websocket.close", "code": 1000})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    app.mount("/wsgi", wsgi)
    app.mount("/asgi", asgi)
    return app


def with_mounts_in_middleware() -> App:
    app = with_mounts()
    app.middlewares.append(async_middleware)
    return app


class Body:
    """The body of a WSGI application's response."""

    def __init__(self) -> None:
        OPEN.append("WSGI application")

    def __iter__(self) -> Iterator[bytes]:
        yield b"a"
        yield b"b"

    def close(self) -> None:
        OPEN.remove("WSGI application")
        POINTS.go()


def uploaded(size: int) -> bytes:
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    return head + b"x" * size + b"\r\n--b--\r\n"


FORM = b"name=Ann"
UPLOAD = uploaded(1_100_000)  # in a file
LARGE_UPLOAD = uploaded(4_200_000)  # in a file that a thread closes
JSON = b'{"numbers": [1, 2, 3]}'
TEXTS = b"a text of a WebSocket"
TYPES = {
    FORM: b"application/x-www-form-urlencoded",
    UPLOAD: b"multipart/form-data; boundary=b",
    LARGE_UPLOAD: b"multipart/form-data; boundary=b",
    JSON: b"application/json",
}

REQUESTS: list[tuple[Callable[[], App], str, bytes]] = [
    (plain, "/plain_def", b""),
    (plain, "/plain_async", b""),
    (plain, "/on_loop", b""),
    (plain, "/def_nested", b""),
    (plain, "/async_nested", b""),
    (plain, "/early", b""),
    (plain, "/def_failing_end", b""),
    (plain, "/def_chunks", b""),
    (plain, "/async_chunks", b""),
    (plain, "/nested_chunks", b""),
    (plain, "/mixed_chunks", b""),
    (plain, "/def_events", b""),
    (plain, "/async_events", b""),
    (plain, "/subscription", b""),
    (plain, "/def_form", FORM),
    (plain, "/async_upload", UPLOAD),
    (plain, "/def_upload", UPLOAD),
    (plain, "/async_upload", LARGE_UPLOAD),
    (plain, "/def_chunks_of_upload", LARGE_UPLOAD),
    (plain, "/chunks_on_close", b""),
    (plain, "/raw", FORM),
    (plain, "/json_body", JSON),
    (plain, "/session_write", b""),
    (plain, "/redirect", b""),
    (plain, "/failure_of_cancelled", b""),
    (plain, "/after_def", b""),
    (plain, "/after_async", b""),
    (plain, "/after_chunks", b""),
    (plain, "/after_upload", LARGE_UPLOAD),
    (plain, "/on_close", b""),
    (plain, "/waits_for_async", b""),
    (plain, "/watched", b""),
    (plain, "/group", b""),
    (plain, "/a_file", b""),
    (with_middleware, "/plain_def", b""),
    (with_middleware, "/plain_async", b""),
    (with_middleware, "/def_chunks", b""),
    (with_middleware, "/async_chunks", b""),
    (with_middleware, "/async_events", b""),
    (with_limits, "/def_nested", b""),
    (with_limits, "/async_nested", b""),
    (with_limits, "/nested_chunks", b""),
    (with_error_handlers, "/failure", b""),
    (with_error_handlers, "/def_failure", b""),
    (with_error_handlers, "/http_error", b""),
    (with_mounts, "/wsgi", b""),
    (with_mounts, "/asgi", b""),
    (with_mounts_in_middleware, "/wsgi", b""),
    (with_mounts_in_middleware, "/asgi", b""),
    (plain, "/talk", TEXTS),
    (plain, "/unaccepted", TEXTS),
    (plain, "/forwards", TEXTS),
    (plain, "/socket_failure", TEXTS),
    (with_middleware, "/talk", TEXTS),
    (with_mounts, "/asgi", TEXTS),
]


OUTCOMES = {
    "/redirect": 303,
    "/def_failing_end": 500,
    "/http_error": 404,
    "/failure": 500,
    "/def_failure": 500,
    "/socket_failure": 1011,
}


class Server:
    """One request's server. At the suspension ``end_at``, counted over all tasks of the request, it
    ends the request in a way: it cancels the task, the client leaves, or ``send`` fails from then
    on.
    """

    def __init__(self, path: str, body: bytes, end_at: int, way: str) -> None:
        self.scope = http_scope("POST" if body else "GET", path)
        self.incoming = [piece(body[:10], more=True), piece(body[10:])]
        self.farewell: Message = {"type": "http.disconnect"}
        self.usual = 200
        if body == TEXTS:
            del self.scope["method"]
            self.scope |= {"type": "websocket", "scheme": "ws", "subprotocols": []}
            text = {"type": "websocket.receive", "text": "a"}
            self.incoming = [{"type": "websocket.connect"}, text]
            self.farewell = {"type": "websocket.disconnect", "code": 1001}
            self.usual = 1000
        elif body:
            size = b"%d" % len(body)
            self.scope["headers"] += [(b"content-type", TYPES[body]), (b"content-length", size)]
        self.end_at, self.way = end_at, way
        self.suspensions = 0
        self.sent: list[Message] = []
        self.cancel: Callable[[], object] | None = None
        self._gone = anyio.Event()

    def count(self) -> None:
        self.suspensions += 1
        if self.suspensions == self.end_at and self.cancel is not None:
            if self.way == "cancel":
                self.cancel()
            else:
                self._gone.set()

    async def receive(self) -> Message:
        await checkpoint()
        if self.incoming and not self._gone.is_set():
            return self.incoming.pop(0)
        await self._gone.wait()
        return self.farewell

    @property
    def outcome(self) -> object:
        """The status of the response, or the code with which the WebSocket was closed."""
        closing = [message["code"] for message in self.sent if "code" in message]
        return closing[0] if closing else self.sent[0].get("status")

    @property
    def is_answered(self) -> bool:
        """Whether the response is complete, or the WebSocket was closed or refused."""
        last = self.sent[-1] if self.sent else {"type": "nothing"}
        return last["type"].endswith((".body", ".close")) and not last.get("more_body", False)

    @property
    def is_broken_off(self) -> bool:
        """Whether a response has begun and is not complete."""
        return bool(self.sent) and not self.is_answered

    async def send(self, message: Message) -> None:
        await checkpoint()
        if self._gone.is_set() and self.way == "fail":
            raise OSError("the client is gone")
        self.sent.append(message)


def is_stream(path: str) -> bool:
    return path == "/subscription" or "chunks" in path or "events" in path


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
