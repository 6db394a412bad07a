"""Mounted ASGI applications under WSGI: one task on the portal's loop answers, the server's thread takes that.

The application waits in ``send`` until the chunk before was taken. The body is read by the server's own thread, when
the application asks for a piece and the thread waits for it anyway. It waits ``mount_timeout`` seconds at most. When
the server closes the answer before its end, an application that waits in ``receive`` is told and may end by itself,
any other is cancelled: nothing here waits for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, Event, get_cancelled_exc_class, move_on_after

from micropie.errors import ClientDisconnect, HTTPError, ResponseError
from micropie.loops import CLEAN_UP_WITHIN, LEAVE_WITHIN, caller
from micropie.mounting import Mount, Place
from micropie.response import Response
from micropie.types import Message
from micropie.wsgi.portal import get_portal

if TYPE_CHECKING:
    from micropie.wsgi.request import WSGIRequest

_WANTS_BODY = "wants a piece of the body"
_CHUNK = "gives a chunk"
_ENDED = "has ended"


def answer_of_asgi(mount: Mount, place: Place, request: WSGIRequest, backend: str, seconds: float | None) -> Response:
    """The answer of a mounted ASGI application. Raises 504 if it does not begin within ``seconds``."""
    call = _Call(mount, place, request, backend, seconds)
    try:
        chunk, more = call.take()
    except BaseException:
        call.close()
        raise
    response = call.response(chunk)
    length = response.headers.get("content-length", str(len(chunk)))
    if more or request.method == "HEAD" or length != str(len(chunk)):
        response.body = _Chunks(call, chunk, more)
    return response


class _Call:
    """One call of the application; ``take`` and ``close`` are the server's thread's, the rest is on the loop."""

    def __init__(self, mount: Mount, place: Place, request: WSGIRequest, backend: str, seconds: float | None) -> None:
        self._request = request
        self._seconds = seconds
        # What, the chunk or failure, whether more will follow, and what the application waits for meanwhile. That is of
        # each word its own: one task may be waiting in ``send`` and another in ``receive``.
        self._told: SimpleQueue[tuple[str, Any, bool, Event | None]] = SimpleQueue()
        self._kept = request.body_so_far()
        self._more = self._kept is None
        self._start: Message | None = None
        self._is_complete = False
        self._piece: Message = {"type": "http.disconnect"}
        self._failure: Exception | None = None  # of the body
        scope = {
            **request.scope,
            "root_path": place.root,
            "path": place.path,
            "raw_path": place.raw_path,
            "state": dict(mount.state),
        }
        self._portal = get_portal(backend)
        self._task: Future[None] = self._portal.start_task_soon(self._run, mount.target, scope)
        tell = self._told.put  # without self, or the future would be a cycle
        self._task.add_done_callback(lambda _: tell((_ENDED, None, False, None)))

    # -- in the server's thread ----------------------------------------------------------------------------------

    def take(self) -> tuple[bytes, bool]:
        """The next chunk, and whether more will follow. Raises what the application raised, and 504."""
        while True:
            try:
                what, value, more, resume = self._told.get(timeout=self._seconds)
            except Empty:
                raise HTTPError(504, "The answer took too long. Please try again later.") from None
            if what is _CHUNK:
                self._go_on(resume)
                return value, more
            if what is _ENDED:
                raise value or self._failure or ResponseError("the mounted application ended before its answer did")
            self._piece = self._next_piece()
            self._go_on(resume)

    def response(self, body: Any) -> Response:
        """The head, with ``body``."""
        start = self._start or {}
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ())]
        return Response(body, start.get("status", 0), pairs, content_type="")

    def close(self) -> None:
        """Have it end, unless it has answered; wait for that."""
        if self._is_complete:
            return
        with suppress(RuntimeError, CancelledError, TimeoutError):  # a loop that has ended has ended its tasks
            self._portal.start_task_soon(self._stop)
            self._task.result(CLEAN_UP_WITHIN)

    def _go_on(self, resume: Event | None) -> None:
        if resume is not None:
            with suppress(RuntimeError):  # a loop that has ended
                self._call_soon(resume.set)

    def _next_piece(self) -> Message:
        kept, self._kept = self._kept, None
        if kept is not None:
            return {"type": "http.request", "body": kept, "more_body": False}
        try:
            piece, self._more = self._request.receive_piece()
        except (ClientDisconnect, HTTPError) as error:
            self._failure = error.with_traceback(None)  # which refers to this call
            self._more = False
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": self._more}

    # -- in the task, on the loop ----------------------------------------------------------------------------------

    async def _run(self, target: Any, scope: Any) -> None:
        self._call_soon = caller()
        self._scope = CancelScope()
        failure: BaseException | None = None
        self._gone, self._over = Event(), Event()
        self._is_body_over = False
        self._is_listening = False
        try:
            with self._scope:
                await target(scope, self._receive, self._send)
        except get_cancelled_exc_class():
            raise
        except BaseException as error:  # a SystemExit would end the loop for everybody's
            failure = error
        finally:
            self._over.set()
        self._told.put((_ENDED, failure, False, None))
        del failure

    async def _stop(self) -> None:
        if self._is_listening:
            self._gone.set()
            with move_on_after(LEAVE_WITHIN):
                await self._over.wait()
        self._scope.cancel()

    async def _receive(self) -> Message:
        if self._is_body_over or self._is_complete:
            if not self._is_complete:
                self._is_listening = True
                try:
                    await self._gone.wait()
                finally:
                    self._is_listening = False
            return {"type": "http.disconnect"}
        await self._tell(_WANTS_BODY, None, False)
        message, self._piece = self._piece, {"type": "http.disconnect"}
        self._is_body_over = not message.get("more_body", False)
        return message

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
        elif kind == "http.response.body" and self._start is not None and not self._is_complete:
            more = message.get("more_body", False)
            self._is_complete = not more
            if not more:
                self._gone.set()
            await self._tell(_CHUNK, bytes(message.get("body", b"")), more)
        else:
            raise RuntimeError(f"the mounted application sent {kind!r}, which can't come now")

    async def _tell(self, what: str, value: Any, more: bool) -> None:
        """Tell the thread, and wait until it has taken that; the end of an answer is told, and that is all."""
        if what is _CHUNK and not more:
            self._told.put((what, value, more, None))
            return
        resume = Event()
        self._told.put((what, value, more, resume))
        await resume.wait()


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
