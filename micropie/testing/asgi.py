"""The ASGI side: a call of the application, for every type of scope, the lifespan, and the transport.

Scopes have spec_version 2.4, the newest that servers announce: since then ``send`` raises an OSError once the client
has left. A test sees everything that the application sends, even the body of an answer to HEAD.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import weakref
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import Future
from typing import Any, TypeVar
from urllib.parse import unquote

import anyio
import anyio.abc
import httpx

from micropie.testing.errors import AppTimeout, ClientDisconnected, LifespanFailed, ProtocolViolation
from micropie.testing.exchange import (
    AppTransport,
    Call,
    Chunk,
    Head,
    HttpCall,
    Settings,
    Signal,
    request_target,
    server_address,
)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
E = TypeVar("E")

DISCONNECT: Message = {"type": "http.disconnect"}
SHUTDOWN: Message = {"type": "lifespan.shutdown"}


def checked_headers(message: Message) -> list[tuple[bytes, bytes]]:
    """Return the headers of a head or an accept as a list of pairs. Raises ``ProtocolViolation``."""
    headers = [(name, value) for name, value in message.get("headers", ())]
    for name, value in headers:
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ProtocolViolation(f"{message['type']}: headers are pairs of bytes, not ({name!r}, {value!r})")
    return headers


class AppLoop:
    """The event loop in which the application runs: in a thread of the client's, or the test's own.

    ``post`` runs a function in it, from any thread; ``tasks`` starts tasks there.

    anyio's blocking portal does not fit: each of its calls, even the one that stops it, waits until the loop answers.
    An application that blocks its loop (a lock, a ``time.sleep``) would then hang the test instead of failing it. Here
    a call is put into a queue, and a byte in a socket wakes the loop: ``post`` never waits.
    """

    tasks: anyio.abc.TaskGroup  # for posted functions; entered before the first of them runs

    def __init__(self) -> None:
        self.started: Future[None] = Future()
        self._calls: deque[Callable[[], object]] = deque()
        self._lock = threading.Lock()  # a closed socket's number may be another file's by the time of ``send``
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)

    def post(self, call: Callable[[], object]) -> None:
        """Run ``call`` in the loop's thread, soon. Never waits; does nothing after the loop's end."""
        # A full socket wakes the loop too; after the loop's end the socket is closed.
        with self._lock, contextlib.suppress(OSError):
            self._calls.append(call)
            self._wake.send(b"\0")

    def stop(self, timeout: float | None = None) -> None:
        """Cancel the loop's tasks, soon."""

        def cancel() -> None:
            self.tasks.cancel_scope.cancel()  # ``run`` makes it in the loop's thread, perhaps after ``post``

        self.post(cancel)

    async def run(self) -> None:
        """Run the posted functions, until ``stop``."""
        try:
            async with anyio.create_task_group() as self.tasks:
                self.started.set_result(None)
                while True:
                    await anyio.wait_readable(self._woken)
                    self._woken.recv(4096)
                    while self._calls:
                        self._calls.popleft()()
        finally:
            self.close()

    def close(self) -> None:
        """Close the sockets."""
        with self._lock:
            self._wake.close()
            self._woken.close()


class LoopThread(AppLoop):
    """An event loop in a thread of its own."""

    def __init__(self, backend: str, backend_options: Mapping[str, object] | None) -> None:
        super().__init__()
        name = f"test client's {backend} loop"
        options = dict(backend_options or {})
        self._thread = threading.Thread(target=self._run, args=(backend, options), name=name, daemon=True)
        self._thread.start()
        self.started.result()

    def stop(self, timeout: float | None = None) -> None:
        """End the loop and cancel its tasks. With a ``timeout`` in seconds, also wait for the thread's end."""
        super().stop()
        if timeout is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise AppTimeout(f"the event loop's thread did not end within {timeout:g} s: something blocks it")

    def _run(self, backend: str, backend_options: dict[str, object]) -> None:
        try:
            anyio.run(self.run, backend=backend, backend_options=backend_options)
        except BaseException as error:
            if self.started.done():
                raise
            self.close()
            self.started.set_exception(error)


class AppCall(Call[E]):
    """A call of an ASGI application: a task in the loop's thread.

    The test's thread changes the call, and has the loop's thread wake everything that waits, to check again.
    """

    ahead = 0  # how many messages the application may send before the test takes one
    disconnect: Message  # the message that tells the application that the client has left
    _changed: anyio.Event
    _cancel_scope: anyio.CancelScope

    def __init__(self, loop: AppLoop, app: ASGIApp, scope: Scope, *call: Any) -> None:
        super().__init__(*call)
        self._loop = loop
        self._app = app
        self.scope = scope
        self.inbox: deque[Message] = deque()
        self.may_ask = False  # whether the test has a message for an application that waits for one
        self.last_message: Message | None = None  # ``receive`` returns it whenever the inbox is empty
        self._hung_up = False
        self._sent = 0
        self._taken = 0
        self.received = 0

    def start(self) -> None:
        def begin() -> None:
            # anyio's primitives need a running loop, so they are made here.
            self._changed = anyio.Event()
            self._cancel_scope = anyio.CancelScope()
            self._loop.tasks.start_soon(self._run, name=self.label)

        self._loop.post(begin)

    def put(self, message: Message) -> None:
        """Pass on a message to the application."""
        self.inbox.append(message)
        self.pulse()

    def taken(self) -> None:
        self._taken += 1
        self.pulse()

    def hang_up(self) -> None:
        self._hung_up = True
        self.pulse()

    def cancel(self) -> None:
        def cancel() -> None:
            self._cancel_scope.cancel()  # ``begin`` makes it in the loop's thread, perhaps after ``post``

        self._loop.post(cancel)

    def pulse(self) -> None:
        """Wake everything that waits in the application."""

        def wake() -> None:
            self._changed.set()
            self._changed = anyio.Event()

        self._loop.post(wake)

    @abstractmethod
    def accept(self, message: Message) -> E:
        """Turn a message of the application into an event. Errors are raised at the application's own line."""

    async def _run(self) -> None:
        try:
            with self._cancel_scope:
                await self._app(self.scope, self._receive, self._send)
        except anyio.get_cancelled_exc_class() as error:
            # ``_cancel_scope`` catches its own cancellation, so the application cancelled itself, or the loop ends.
            self.error = ProtocolViolation(f"{self.label}: the application was cancelled, but not by the client")
            self.error.__cause__ = error
            raise
        except BaseException as error:
            self.error = error
        finally:
            self.events.put(Signal.ENDED)

    async def _receive(self) -> Message:
        while not self.inbox:
            if self.last_message is None and self._hung_up:
                self.last_message = self.disconnect
            if self.last_message is not None:
                return dict(self.last_message)
            if self.may_ask:
                self.may_ask = False  # ask once for each chunk, even if this is cancelled
                self.events.put(Signal.WANTS_BODY)
            await self._wait("receive()")
        self.received += 1
        return self.inbox.popleft()

    async def _send(self, message: Message) -> None:
        event = self.accept(message)
        if not self._hung_up:
            self.events.put(event)
            self._sent += 1
            needed = self._sent - self.ahead
            while self._taken < needed and not self._hung_up:
                await self._wait("send()")
            if self._taken >= needed:
                return
        raise ClientDisconnected(f"{self.label}: the client has disconnected")

    async def _wait(self, where: str) -> None:
        self.waits_in = where
        try:
            await self._changed.wait()
        finally:
            self.waits_in = ""


class ASGIHttpCall(AppCall[Head | Chunk], HttpCall):
    """An HTTP request. ``_expects`` is the type of the message that must come next, None after the last one."""

    disconnect = DISCONNECT
    _expects: str | None = "http.response.start"

    def start(self) -> None:
        if self.body.whole is None:
            self.may_ask = True
        else:
            self.inbox.append({"type": "http.request", "body": self.body.whole, "more_body": False})
        super().start()

    def feed(self, chunk: bytes | None) -> None:
        if chunk is None:
            self.last_message = self.disconnect
        else:
            self.inbox.append({"type": "http.request", "body": chunk, "more_body": bool(chunk)})
            self.may_ask = bool(chunk)
        self.pulse()

    async def _receive(self) -> Message:
        if self._hung_up:
            self.inbox.clear()  # uvicorn also drops the part of a body that was not read
        return await super()._receive()

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

    ahead = 1
    disconnect = SHUTDOWN

    def accept(self, message: Message) -> Message:
        return message

    def shutdown(self) -> None:
        self.ask("shutdown")
        self.hang_up_and_wait()
        if self.app_error is not None:
            raise LifespanFailed("the application raised after its shut-down") from self.app_error

    def ask(self, phase: str) -> bool:
        """Return True if the phase is complete, False if the application has no lifespan. Raises ``LifespanFailed``."""
        self.put({"type": f"lifespan.{phase}"})
        try:
            event = self.next_event(f"answer lifespan.{phase}")
        except BaseException:
            self.cancel_and_wait()
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
        self.hang_up_and_wait()
        if event["type"] == f"lifespan.{phase}.failed":
            raise LifespanFailed(event.get("message", "")) from self.app_error
        raise ProtocolViolation(f"the application answered lifespan.{phase} with {event['type']!r}")


class ASGITransport(AppTransport):
    """Answer httpx's requests from an ASGI application, in one event loop for the life of the client."""

    def __init__(
        self, app: ASGIApp, settings: Settings, *, backend: str, backend_options: Mapping[str, object] | None
    ) -> None:
        super().__init__(app, settings)
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
        """Return the scope of a request: the keys that HTTP and WebSockets share, and ``more``."""
        path, _, query = request_target(request).partition(b"?")
        return {
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            # Invalid UTF-8 becomes U+FFFD, as in uvicorn and hypercorn; ``raw_path`` keeps the bytes.
            "path": unquote(path, "utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "root_path": self.settings.root_path,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": self.settings.client,
            "server": server_address(request.url),
            "state": dict(self._state),
            "extensions": {},
            **more,
        }

    def call(self, app: ASGIApp, request: httpx.Request) -> ASGIHttpCall:
        scope = self.scope(request, type="http", method=request.method, scheme=request.url.scheme)
        return ASGIHttpCall(self.loop, app, scope, request, self.settings)

    def startup(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self._state}
        lifespan = Lifespan(self.loop, self.app, scope, "lifespan", self.settings)
        lifespan.start()
        if lifespan.ask("startup"):
            self._lifespan = lifespan

    def shutdown(self) -> None:
        lifespan, self._lifespan = self._lifespan, None  # a client may be closed twice, by a call and by ``with``
        try:
            if lifespan is not None:
                lifespan.shutdown()
        finally:
            if self._loop is not None:
                self._loop.stop(self.settings.app_timeout)
