"""Mounted ASGI applications under WSGI: one task on the portal's loop answers, the server's thread takes that.

The application may be two chunks ahead of the server, and waits in ``send`` then. The body is read by the server's own
thread, when the application asks for a piece and the thread waits for it anyway. It waits ``mount_timeout`` seconds at
most. When the server closes the answer before its end, an application that waits in ``receive`` is told and may end by
itself, any other is cancelled: nothing here waits for ever.

To get to the loop and back costs more than most answers, so an answer in one piece is one way there and one back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, Event, get_cancelled_exc_class, move_on_after

from micropie.errors import ClientDisconnect, HTTPError, ResponseError
from micropie.execution.backpressure import BackpressureWindow
from micropie.execution.loop import CLEAN_UP_WITHIN, LEAVE_WITHIN
from micropie.execution.portal import get_loop
from micropie.http.response import Response
from micropie.http.types import Message
from micropie.mounts.answering import has_its_length
from micropie.mounts.asgi_call import ASGIAnswer, moved_scope
from micropie.mounts.prefixes import Mount, MountedPath

if TYPE_CHECKING:
    from micropie.wsgi.request import WSGIRequest

_WANTS_BODY = "wants a piece of the body"
_CHUNK = "gives a chunk"
_ENDED = "has ended"
_DISCONNECT: Message = {"type": "http.disconnect"}


def answer_of_asgi(
    mount: Mount, mounted_path: MountedPath, request: WSGIRequest, backend: str, seconds: float | None
) -> Response:
    """The answer of a mounted ASGI application. Raises 504 if it does not begin within ``seconds``."""
    call = _Call(mount, mounted_path, request, backend, seconds)
    try:
        chunk, more = call.take()
    except BaseException:
        call.close()
        raise
    response = call.answer.response(chunk)
    if more or request.method == "HEAD" or not has_its_length(response):
        response.body = _Chunks(call, chunk, more)
    return response


class _Call:
    """One call of the application; ``take`` and ``close`` are the server's thread's, the rest is on the loop."""

    def __init__(
        self, mount: Mount, mounted_path: MountedPath, request: WSGIRequest, backend: str, seconds: float | None
    ) -> None:
        self.answer = ASGIAnswer()
        self._request = request
        self._seconds = seconds
        self._told: SimpleQueue[tuple[str, Any, bool]] = SimpleQueue()  # the chunk or failure, whether more will follow
        self._window = BackpressureWindow()
        self._resume: Event | None = None  # of the task that waits for a piece of the body
        self._kept = request._body_so_far()
        self._more = self._kept is None
        self._failure: Exception | None = None  # of the body
        self._ahead = self._next_piece() if not self._more or request._has_short_body else None
        self._piece = _DISCONNECT
        self._is_body_over = self._is_left = self._has_ended = self._is_listening = False
        self._gone: Event | None = None
        self._over: Event | None = None
        self._scope: CancelScope | None = None
        self._loop = get_loop(backend)
        lost = partial(self._told.put, (_ENDED, None, False))
        self._loop.spawn(lost, self._run, mount.target, moved_scope(request.scope, mount, mounted_path))

    # -- in the server's thread ----------------------------------------------------------------------------------

    def take(self) -> tuple[bytes, bool]:
        """The next chunk, and whether more will follow. Raises what the application raised, and 504."""
        self._go_on(self._window.ask())
        while True:
            try:
                what, value, more = self._told.get(timeout=self._seconds)
            except Empty:
                raise HTTPError(504, "The answer took too long. Please try again later.") from None
            if what is _CHUNK:
                return value, more
            if what is _ENDED:
                self._has_ended = True
                raise value or self._failure or ResponseError("the mounted application ended before its answer did")
            self._piece = self._next_piece()
            self._go_on(self._resume)

    def close(self) -> None:
        """Have it end, unless it has answered; wait for that."""
        if self.answer.is_complete or self._has_ended:
            return
        self._is_left = True
        with suppress(RuntimeError, Empty):  # a loop that has ended has ended its tasks
            self._loop.spawn(bool, self._stop)
            while not self._has_ended:
                self._has_ended = self._told.get(timeout=CLEAN_UP_WITHIN)[0] is _ENDED

    def _go_on(self, resume: Event | None) -> None:
        if resume is not None:
            with suppress(RuntimeError):  # a loop that has ended
                self._loop.call_soon(resume.set)

    def _next_piece(self) -> Message:
        kept, self._kept = self._kept, None
        if kept is not None:
            return {"type": "http.request", "body": kept, "more_body": False}
        try:
            piece, self._more = self._request.receive_piece()
        except (ClientDisconnect, HTTPError) as error:
            self._failure = error.with_traceback(None)  # which refers to this call
            self._more = False
            return _DISCONNECT
        return {"type": "http.request", "body": piece, "more_body": self._more}

    # -- in the task, on the loop ----------------------------------------------------------------------------------

    async def _run(self, target: Any, scope: Any) -> None:
        failure: BaseException | None = None
        try:
            with CancelScope() as self._scope:
                if not self._is_left:
                    await target(scope, self._receive, self._send)
        except get_cancelled_exc_class():
            pass
        except BaseException as error:  # a SystemExit would end the loop for everybody's
            failure = error
        if self._over is not None:
            self._over.set()
        self._told.put((_ENDED, failure, False))
        del failure

    async def _stop(self) -> None:
        if self._scope is None:  # it has not begun, and will see that
            return
        if self._is_listening and self._gone is not None:
            self._over = Event()
            self._gone.set()
            with move_on_after(LEAVE_WITHIN):
                await self._over.wait()
        self._scope.cancel()

    async def _receive(self) -> Message:
        if self._is_body_over or self.answer.is_complete:
            if not self.answer.is_complete:
                self._gone = self._gone or Event()
                self._is_listening = True
                try:
                    await self._gone.wait()
                finally:
                    self._is_listening = False
            return {"type": "http.disconnect"}
        message, self._ahead = self._ahead, None
        if message is None:
            self._resume = Event()
            self._told.put((_WANTS_BODY, None, True))
            await self._resume.wait()
            message, self._piece = self._piece, _DISCONNECT
        self._is_body_over = not message.get("more_body", False)
        return message

    async def _send(self, message: Message) -> None:
        chunk = self.answer.accept(message)
        if chunk is None:
            return
        if self.answer.is_complete and self._gone is not None:
            self._gone.set()
        self._told.put((_CHUNK, *chunk))
        parked = None if self.answer.is_complete else self._window.made()
        if parked is not None:
            await parked.wait()


class _Chunks(Iterator[bytes]):
    """The chunks of an answer, taken one by one."""

    def __init__(self, call: _Call, first: bytes, more: bool) -> None:
        self._call = call
        self._first: bytes | None = first
        self._more = more
        self.close = call.close

    def __next__(self) -> bytes:
        first, self._first = self._first, None
        if first is not None:
            return first
        if not self._more:
            raise StopIteration
        chunk, self._more = self._call.take()
        return chunk
