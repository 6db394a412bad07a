"""Mounted ASGI applications under WSGI: each runs in a task on the background loop, the server's thread takes chunks.

The application may be two chunks ahead of the server; then it waits in ``send``. The server's thread waits for the
application, ``mount_timeout`` seconds at most, and reads the body meanwhile, when the application asks for a piece.
When the server closes the answer before its end, an application that waits in ``receive`` gets ``http.disconnect`` and
may end by itself; any other application is cancelled. So nothing waits for ever.

A round trip to the loop costs more than most answers take, so an answer in one piece needs only one.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue

from anyio import CancelScope, Event, get_cancelled_exc_class, move_on_after

from micropie.errors import ClientDisconnect, HTTPError, ResponseError, websockets_need_asgi
from micropie.execution import CLEAN_UP_WITHIN, LEAVE_WITHIN, BackpressureWindow, background_loop
from micropie.http import Exchange, Message, Response, Scope
from micropie.mounts.prefixes import Mount, MountedPath
from micropie.mounts.response import ASGIAnswer, block_for_head, log_late_failure, moved_scope

_NEEDS_BODY = "needs a piece of the body"
_CHUNK = "has a chunk"
_ENDED = "has ended"
_DISCONNECT: Message = {"type": "http.disconnect"}


def asgi_under_wsgi(
    mount: Mount, mounted_path: MountedPath, exchange: Exchange, backend: str, seconds: float | None
) -> Response:
    """Return the answer of a mounted ASGI application. Raises 504 if it does not begin within ``seconds``.

    Raises 426 for a WebSocket's handshake: the application would take it for a plain GET.
    """
    if exchange.method == "GET" and "websocket" in (exchange.environ or {}).get("HTTP_UPGRADE", "").lower():
        raise websockets_need_asgi()
    return block_for_head(_Call(mount, mounted_path, exchange, backend, seconds), exchange)


class _Call:
    """One call of the application. ``take`` and ``close`` run in the server's thread, the rest on the loop."""

    def __init__(
        self, mount: Mount, mounted_path: MountedPath, exchange: Exchange, backend: str, seconds: float | None
    ) -> None:
        self._mount = mount
        self._answer = ASGIAnswer()
        self.response = self._answer.response
        self._exchange = exchange
        self._seconds = seconds
        # From the task: a chunk and whether more will follow, or how it ended.
        self._messages: SimpleQueue[tuple[str, bytes, bool, BaseException | None]] = SimpleQueue()
        self._window = BackpressureWindow()
        self._resume: Event | None = None  # of the task that waits for a piece of the body
        self._body_failure: Exception | None = None
        self._piece: Message | None = None  # of the body, for the task
        body = exchange.body_so_far()
        if body is not None:
            self._piece = {"type": "http.request", "body": body, "more_body": False}
        elif exchange.has_short_body:
            self._piece = self._next_piece()
        self._is_body_over = self._is_closed = self._has_ended = self._is_listening = False
        self._has_body_begun = False
        self._disconnected: Event | None = None
        self._ended: Event | None = None
        self._scope: CancelScope | None = None
        self._loop = background_loop(backend)
        on_lost_loop = partial(self._messages.put, (_ENDED, b"", False, None))
        self._loop.spawn(on_lost_loop, self._run, moved_scope(exchange.scope, mount, mounted_path))

    # -- in the server's thread ----------------------------------------------------------------------------------

    def take(self) -> tuple[bytes, bool]:
        """Return the next chunk and whether more will follow. Raises what the application raised, and 504."""
        self._set(self._window.ask())
        while True:
            try:
                kind, chunk, more, failure = self._messages.get(timeout=self._seconds)
            except Empty:
                raise HTTPError(504, "The answer took too long. Please try again later.") from None
            if kind is _CHUNK:
                return chunk, more
            if kind is _ENDED:
                self._has_ended = True
                failure = failure or self._body_failure
                try:
                    raise failure or ResponseError("the mounted application ended before its answer did")
                finally:
                    del failure
            self._piece = self._next_piece()
            self._set(self._resume)

    def close(self) -> None:
        """End the application's task, unless its answer is complete, and wait for that."""
        if self._answer.is_complete or self._has_ended:
            return
        self._is_closed = True
        with suppress(RuntimeError, Empty):  # the loop may have ended, and its tasks with it
            self._loop.spawn(bool, self._stop)
            while not self._has_ended:
                self._has_ended = self._messages.get(timeout=CLEAN_UP_WITHIN)[0] is _ENDED

    def _set(self, event: Event | None) -> None:
        if event is not None:
            with suppress(RuntimeError):  # the loop may have ended
                self._loop.call_soon(event.set)

    def _next_piece(self) -> Message:
        try:
            piece, more = self._exchange.receive_piece()
        except (ClientDisconnect, HTTPError) as error:
            self._body_failure = error.with_traceback(None)  # the traceback refers to this call
            return _DISCONNECT
        return {"type": "http.request", "body": piece, "more_body": more}

    # -- in the task, on the loop ----------------------------------------------------------------------------------

    async def _run(self, scope: Scope) -> None:
        failure: BaseException | None = None
        try:
            with CancelScope() as self._scope:
                if not self._is_closed:
                    await self._mount.target(scope, self._receive, self._send)
        except get_cancelled_exc_class():
            pass
        except BaseException as error:  # a SystemExit would end the loop that all requests share
            failure = error
        if self._ended is not None:
            self._ended.set()
        self._has_body_begun = True
        if failure is not None and self._answer.is_complete:
            log_late_failure(self._mount, failure)
        self._messages.put((_ENDED, b"", False, failure))
        del failure

    async def _stop(self) -> None:
        if self._scope is None:  # ``_run`` has not begun, and will check ``_is_closed``
            return
        if self._is_listening and self._disconnected is not None:
            self._ended = Event()
            self._disconnected.set()
            with move_on_after(LEAVE_WITHIN):
                await self._ended.wait()
        self._scope.cancel()

    async def _receive(self) -> Message:
        if self._is_body_over or self._answer.is_complete:
            if not self._answer.is_complete:
                self._disconnected = self._disconnected or Event()
                self._is_listening = True
                try:
                    await self._disconnected.wait()
                finally:
                    self._is_listening = False
            return {"type": "http.disconnect"}
        if self._piece is None:
            self._resume = Event()
            self._messages.put((_NEEDS_BODY, b"", True, None))
            await self._resume.wait()
        message, self._piece = self._piece or _DISCONNECT, None
        self._is_body_over = not message.get("more_body", False)
        return message

    async def _send(self, message: Message) -> None:
        chunk = self._answer.accept(message)
        if chunk is None:
            self._loop.call_soon(self._send_head)
            return
        self._has_body_begun = True
        if self._answer.is_complete and self._disconnected is not None:
            self._disconnected.set()
        self._messages.put((_CHUNK, *chunk, None))
        far_ahead = None if self._answer.is_complete else self._window.made()
        if far_ahead is not None:
            await far_ahead.wait()

    def _send_head(self) -> None:
        """Let the head go with an empty chunk, if the application waits for something before its first chunk."""
        if not self._has_body_begun:
            self._window.made()
            self._messages.put((_CHUNK, b"", True, None))
