"""The ASGI side: scopes, the lifespan, the messages of a request and its answer, and the transport.

Scopes have spec_version 2.4, the newest that servers announce: since then ``send`` raises an OSError once the client
has left. A test sees everything that the application sends, even the body of an answer to HEAD.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

import httpx

from micropie.testing.app_call import AppCall, ASGIApp, Message, Scope, checked_headers
from micropie.testing.errors import LifespanFailed, ProtocolViolation
from micropie.testing.exchange import APP, AppTransport, Chunk, Head, HttpCall, Settings, Signal
from micropie.testing.loop import AppLoop, LoopThread
from micropie.testing.wire import RequestBody, request_target, server_address


def connection_scope(request: httpx.Request, settings: Settings) -> Scope:
    """Return what HTTP and WebSocket scopes share: all but ``type``, ``scheme``, ``state`` and ``extensions``."""
    path, _, query = request_target(request).partition(b"?")
    return {
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        # Invalid UTF-8 becomes U+FFFD, as in uvicorn and hypercorn; ``raw_path`` keeps the bytes.
        "path": unquote(path, "utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": settings.root_path,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "client": settings.client,
        "server": server_address(request.url),
    }


class ASGIHttpCall(AppCall["Head | Chunk"], HttpCall):
    """An HTTP request. ``_expects`` is the type of the message that must come next, None after the last one."""

    def __init__(self, loop: AppLoop, app: ASGIApp, scope: Scope, label: str, whole_body: bytes | None) -> None:
        super().__init__(loop, app, scope, label)
        self._expects: str | None = "http.response.start"
        self._may_ask = whole_body is None
        if whole_body is not None:
            self._inbox.append({"type": "http.request", "body": whole_body, "more_body": False})

    def feed(self, chunk: bytes) -> None:
        def accept_chunk() -> None:
            self._may_ask = bool(chunk)
            self._accept_message({"type": "http.request", "body": chunk, "more_body": bool(chunk)})

        self.post(accept_chunk)

    def break_off(self) -> None:
        self.post(partial(self._end_input, self.disconnect_message()))

    def disconnect_message(self) -> Message:
        return {"type": "http.disconnect"}

    def on_hang_up(self) -> None:
        self._inbox.clear()  # uvicorn also drops the part of a body that was not read

    def on_starved(self) -> None:
        if self._may_ask:
            self._may_ask = False  # ask once for each chunk, even if ``receive`` is cancelled
            self.events.put(Signal.WANTS_BODY)

    def accept(self, message: Message) -> Head | Chunk:
        kind = message["type"]
        if kind != self._expects:
            expected = f"{self._expects!r} has to come next" if self._expects else "its answer is complete"
            raise ProtocolViolation(f"{self.label}: the application sent {kind!r}, but {expected}")
        if kind == "http.response.start":
            status = message.get("status")
            if not isinstance(status, int):
                raise ProtocolViolation(f"{self.label}: a status is an int, not {status!r}")
            head = Head(status, checked_headers(message))
            self._expects = "http.response.body"
            return head
        data = message.get("body", b"")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ProtocolViolation(f"{self.label}: a body is bytes, not {data!r}")
        is_last = not message.get("more_body", False)
        if is_last:
            self._expects = None
        return Chunk(bytes(data), is_last)


class Lifespan(AppCall[Message]):
    """Start-up and shut-down of the application, around everything else.

    An application that raises before it receives ``lifespan.startup`` has no lifespan. One that raises after that has
    failed. Servers ignore that silently, which in a test would hide a broken start-up.
    """

    def __init__(self, loop: AppLoop, app: ASGIApp, state: dict[str, object], timeout: float) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        super().__init__(loop, app, scope, "lifespan", ahead=1)
        self._timeout = timeout
        self._supported = False

    def disconnect_message(self) -> Message:
        return {"type": "lifespan.shutdown"}

    def accept(self, message: Message) -> Message:
        return message

    def startup(self) -> None:
        self.start()
        self._supported = self._ask("startup")

    def shutdown(self) -> None:
        if self._supported:
            self._ask("shutdown")
            self._finish()
            if self.app_error is not None:
                raise LifespanFailed("the application raised after its shut-down") from self.app_error

    def _ask(self, phase: str) -> bool:
        """Return True if the phase is complete, False if the application has no lifespan. Raises ``LifespanFailed``."""
        self.put({"type": f"lifespan.{phase}"})
        try:
            event = self.next_event(self._timeout, f"answer lifespan.{phase}")
        except BaseException:
            self.cancel_and_wait(self._timeout)
            raise
        if isinstance(event, Signal):
            if self.error is not None and self.received:
                raise LifespanFailed(f"the application raised in its {phase}: {self.error!r}") from self.error
            if phase == "shutdown":
                raise LifespanFailed("the application ended without an answer to lifespan.shutdown")
            return False
        self.taken()
        if event["type"] == f"lifespan.{phase}.complete":
            return True
        self._finish()
        if event["type"] == f"lifespan.{phase}.failed":
            raise LifespanFailed(event.get("message", "")) from self.app_error
        raise ProtocolViolation(f"the application answered lifespan.{phase} with {event['type']!r}")

    def _finish(self) -> None:
        self.hang_up()
        self.wait_for_end(self._timeout)


class ASGITransport(AppTransport):
    """Answer httpx's requests from an ASGI application, in one event loop for the life of the client."""

    def __init__(
        self, app: ASGIApp, settings: Settings, *, backend: str, backend_options: Mapping[str, object] | None
    ) -> None:
        super().__init__(settings)
        self.app = app
        self._backend = backend
        self._backend_options = backend_options
        self._state: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._loop: AppLoop | None = None
        self._lifespan: Lifespan | None = None

    @property
    def loop(self) -> AppLoop:
        """The loop's thread, started at first use. It ends when a client is collected without ``close``."""
        with self._lock:
            if self._loop is None:
                self._loop = LoopThread(self._backend, self._backend_options)
                weakref.finalize(self, self._loop.stop)
            return self._loop

    def use_loop(self, loop: AppLoop) -> None:
        """Have the application run in the test's own loop."""
        self._loop = loop

    def scope(self, request: httpx.Request, **more: object) -> Scope:
        scope = connection_scope(request, self.settings)
        return {**scope, "state": dict(self._state), "extensions": {}, **more}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = RequestBody(request)
        scope = self.scope(request, type="http", method=request.method, scheme=request.url.scheme)
        label = f"{request.method} {request.url.path}"
        app = request.extensions.get(APP, self.app)
        return self.answer(ASGIHttpCall(self.loop, app, scope, label, body.whole), body, request)

    def startup(self) -> None:
        lifespan = Lifespan(self.loop, self.app, self._state, self.settings.app_timeout)
        lifespan.startup()
        self._lifespan = lifespan

    def shutdown(self) -> None:
        lifespan, self._lifespan = self._lifespan, None  # a client may be closed twice, by a call and by ``with``
        if lifespan is not None:
            lifespan.shutdown()

    def end(self) -> None:
        if self._loop is not None:
            self._loop.stop(self.settings.app_timeout)
