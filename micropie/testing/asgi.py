"""Call ASGI applications: the event loop, the task in which the application runs, the lifespan, and
the transport.

Scopes have spec_version 2.4, the newest that servers use. Since this version, ``send`` raises an
OSError once the client has disconnected. A test sees everything that the application sends, even
the body of a response to HEAD.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from functools import partial
from math import inf
from typing import Any, TypeVar
from urllib.parse import unquote

import anyio
import anyio.abc
import anyio.from_thread
from anyio.lowlevel import checkpoint, current_token

from micropie.testing.call import (
    ClientCall,
    ClientSettings,
    Message,
    Runner,
    look_for_cancellation,
)
from micropie.testing.errors import AppTimeout, LifespanFailed, ProtocolViolation
from micropie.testing.http import AppTransport, request_target, server_address
from micropie.testing.library import httpx

ASGIApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
T = TypeVar("T")

SHUTDOWN: Message = {"type": "lifespan.shutdown"}


class AppLoop:
    """The event loop on which the application runs: one that the client started in a thread, or the
    test's own.

    anyio's blocking portal doesn't work here: each of its calls, even the one that stops it, waits
    until the loop responds. So if an application blocked the loop (with a lock or ``time.sleep``),
    the test would hang instead of failing.
    """

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        loop: Any = current_token().native_token
        self._call_soon = (
            loop.call_soon_threadsafe
            if hasattr(loop, "call_soon_threadsafe")
            else loop.run_sync_soon
        )
        self._thread = threading.current_thread()
        self._calls: deque[Callable[[], object]] = deque()
        self._has_calls = anyio.Event()
        self.tasks = tasks
        tasks.start_soon(self._make_calls)

    def post(self, call: Callable[[], object]) -> None:
        """Schedule a call on the loop. Any thread may use this method, which never waits.

        If the loop has ended, the call is not made.
        """
        self._calls.append(call)
        with suppress(RuntimeError):
            self._call_soon(lambda: self._has_calls.set())  # noqa: PLW0108 - look the event up when the loop calls this

    async def _make_calls(self) -> None:
        """Make the calls in a task, because under ``asyncio.run`` anyio detects the running loop by
        the current task.
        """
        while True:
            await self._has_calls.wait()
            self._has_calls = anyio.Event()
            while self._calls:
                self._calls.popleft()()

    def stop(self, timeout: float | None = None) -> None:
        """End the loop and its thread. With a ``timeout`` in seconds, wait until the thread has
        ended.

        Raises ``AppTimeout`` if the thread does not end in time.
        """
        self.post(self.tasks.cancel_scope.cancel)
        if timeout is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                raise AppTimeout(
                    f"the event loop's thread did not end within {timeout:g} s: something blocks it"
                )


async def _hold_loop(use: Callable[[AppLoop], object]) -> None:
    """Call ``use`` with the current event loop, and let tasks run on it until it is stopped."""
    async with anyio.create_task_group() as tasks:
        use(AppLoop(tasks))
        await anyio.sleep_forever()


@asynccontextmanager
async def current_loop() -> AsyncIterator[AppLoop]:
    """An async context manager for the test's own event loop, which is stopped at its end.

    Its task group is in a task of its own, because pytest-asyncio and unittest leave a fixture in
    another task than the one in which they have entered it.
    """
    loops: list[AppLoop] = []
    has_begun, has_ended = anyio.Event(), anyio.Event()

    def use(loop: AppLoop) -> None:
        loops.append(loop)
        has_begun.set()

    async def hold() -> None:
        try:
            await _hold_loop(use)
        finally:
            has_ended.set()

    native: Any = current_token().native_token
    # asyncio's loop has only a weak reference to a task, so keep one
    task = (
        native.create_task(hold())
        if hasattr(native, "create_task")
        else sys.modules["trio"].lowlevel.spawn_system_task(hold, context=copy_context())
    )
    with anyio.CancelScope(shield=True):
        await has_begun.wait()
    try:
        yield loops[0]
    finally:
        loops[0].stop()
        with anyio.CancelScope(shield=True):
            await has_ended.wait()
        del task


def start_loop(backend: str, backend_options: Mapping[str, object] | None) -> AppLoop:
    """Start an event loop in a new thread, and return it."""
    started: Future[AppLoop] = Future()

    def run() -> None:
        options = dict(backend_options or {})
        try:
            anyio.run(_hold_loop, started.set_result, backend=backend, backend_options=options)
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)

    threading.Thread(target=run, name=f"test client's {backend} loop", daemon=True).start()
    return started.result()


def _is_worker() -> bool:
    """Return whether this thread runs a function for which a task waits."""
    try:
        anyio.from_thread.check_cancelled()
    except BaseException as error:  # the task may be being cancelled
        return not isinstance(error, RuntimeError)
    return True


class AppTask(Runner):
    """Runs an ASGI application as a task on a loop."""

    _changed: anyio.Event
    _task: int
    _cancel_scope: anyio.CancelScope | None = None
    _has_ended = False

    def __init__(self, loop: AppLoop, app: ASGIApp, scope: Message) -> None:
        self._loop = loop
        self._app = app
        self._scope = scope

    def start(self, call: ClientCall) -> None:
        self._call = call
        self._loop.post(partial(self._loop.tasks.start_soon, self._run, name=call.label))

    def wake(self) -> None:
        self._loop.post(lambda: self._changed.set())  # noqa: PLW0108 - look the event up when the loop calls this

    def is_current(self) -> bool:
        try:
            return anyio.get_current_task().id == self._task
        except RuntimeError:  # this is a thread
            return not self._has_ended and _is_worker()

    def cancel(self) -> None:
        def cancel() -> None:
            # None if the application's task hasn't started yet, because something blocks the loop.
            if self._cancel_scope is not None:
                self._cancel_scope.cancel()

        self._loop.post(cancel)

    async def _run(self) -> None:
        call = self._call

        async def receive() -> Message:
            return await self._until(call.next_message, "receive()")

        async def send(message: Message) -> None:
            await self._until(call.sending(message), "send()")

        self._changed = anyio.Event()
        self._task = anyio.get_current_task().id
        try:
            with anyio.CancelScope() as self._cancel_scope:
                await self._app({**self._scope, **call.reports()}, receive, send)
                # If the application has cancelled its own task, let it be raised here. Otherwise,
                # it would end the loop.
                await checkpoint()
        except anyio.get_cancelled_exc_class() as error:
            # ``_cancel_scope`` catches its own cancellation. So this cancellation comes from the
            # application itself, or the loop is ending.
            violation = ProtocolViolation(
                f"{call.label}: the application was cancelled, but not by the client"
            )
            violation.__cause__ = error
            if anyio.current_effective_deadline() == -inf:
                call.error = violation
                raise
            call.fail(violation)  # as servers do: the loop goes on
        except BaseException as error:
            call.fail(error)
        finally:
            self._has_ended = True
            call.outbox.put(None)

    async def _until(self, look: Callable[[], T | None], where: str) -> T:
        """Wait until ``look`` returns something true, and return that."""
        with self._call.waiting(where):
            while not (found := look()):
                # ``receive`` and ``send`` may both wait for this event. Whichever wakes first
                # replaces the event.
                if self._changed.is_set():
                    self._changed = anyio.Event()
                await self._changed.wait()
            return found


class LifespanCall(ClientCall):
    """The call for the lifespan: the application's startup and shutdown.

    If an application raises before it receives ``lifespan.startup``, it doesn't support the
    lifespan. If it raises after that, its startup has failed. Servers treat a failed startup as
    missing support, too, and continue. In a test, that would hide a broken startup.
    """

    disconnect = SHUTDOWN

    def reports(self) -> dict[str, Callable[[BaseException], None]]:
        return {}  # the application raises its exceptions, so nothing needs to be reported

    def shutdown(self) -> None:
        self.ask("shutdown")
        self.leave()
        if self.app_error is not None:
            raise LifespanFailed(
                "the application raised an exception after its shutdown"
            ) from self.app_error

    def ask(self, phase: str) -> bool:
        """Send a startup or shutdown message. Return True if it succeeded, False if the application
        doesn't support the lifespan.

        Raises ``LifespanFailed``.
        """
        self.put({"type": f"lifespan.{phase}"})
        event = self.next_event(f"answer lifespan.{phase}", look=look_for_cancellation)
        if event is None:
            if self.error is not None and (phase == "shutdown" or not self.inbox):
                raise LifespanFailed(
                    f"the application raised an exception in its {phase}: {self.error!r}"
                ) from self.error
            if phase == "shutdown":
                raise LifespanFailed(
                    "the application ended without a response to lifespan.shutdown"
                )
            return False
        if event["type"] == f"lifespan.{phase}.complete":
            return True
        self.leave()
        if event["type"] == f"lifespan.{phase}.failed":
            raise LifespanFailed(event.get("message", "")) from self.app_error
        raise ProtocolViolation(
            f"the application responded to lifespan.{phase} with {event['type']!r}"
        )


class ASGITransport(AppTransport):
    """Handles httpx2's requests by calling an ASGI application. All calls of a client run on one
    event loop.
    """

    def __init__(
        self, app: ASGIApp, settings: ClientSettings, make_loop: Callable[[], AppLoop]
    ) -> None:
        super().__init__(app, settings)
        self._make_loop = make_loop
        self._state: dict[str, object] = {}
        self._lock = threading.Lock()
        self._loop: AppLoop | None = None

    @property
    def loop(self) -> AppLoop:
        """The event loop. Its thread is started on first use.

        If the client is garbage-collected without ``close``, the loop ends.
        """
        with self._lock:
            if self._loop is None:
                self._loop = self._make_loop()
                self.ends.callback(self._loop.stop, self.settings.app_timeout)
                weakref.finalize(self, self._loop.stop)
            return self._loop

    def use_loop(self, loop: AppLoop) -> None:
        """Run the application on the test's own loop."""
        self._loop = loop

    def scope(self, request: httpx.Request, **more: object) -> Message:
        """Return the scope of a request: the keys that HTTP and WebSockets have in common, and
        ``more``.
        """
        path, _, query = request_target(request).partition(b"?")
        return {
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            # Invalid UTF-8 becomes U+FFFD, as in uvicorn and hypercorn; ``raw_path`` has the bytes.
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

    def runner(self, app: ASGIApp, request: httpx.Request) -> AppTask:
        scope = self.scope(request, type="http", method=request.method, scheme=request.url.scheme)
        return AppTask(self.loop, app, scope)

    def startup(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        lifespan = LifespanCall(AppTask(self.loop, self.app, scope), "lifespan", self.settings)
        lifespan.start()
        if lifespan.ask("startup"):
            self.ends.callback(lifespan.shutdown)
