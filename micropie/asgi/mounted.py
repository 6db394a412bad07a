"""Mounted applications under ASGI: each answers in a task of its own, from which the request's task takes the answer.

So the hooks around it see a head and a body as any other's. One chunk is on its way at a time: an application waits in
``send`` until the one before it was taken. When nobody wants more, it is told if it waits in ``receive``, as by a
server; one that has tasks of its own ends them then, and would lose them if it were cancelled. If it does not listen
or does not end, it is cancelled. After its last chunk it may go on, as it could under a server.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import (
    BrokenResourceError,
    CancelScope,
    ClosedResourceError,
    EndOfStream,
    Event,
    create_memory_object_stream,
    get_cancelled_exc_class,
    move_on_after,
)

from micropie.errors import ClientDisconnect, ResponseError
from micropie.loops import CLEAN_UP_WITHIN, LEAVE_WITHIN
from micropie.mounting import Mount, Place
from micropie.response import Response
from micropie.types import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest


class Answering:
    """An answer on its way. ``make_response(body)`` is its head, there when the first chunk has been taken.

    ``tell_to_leave()`` says whether the application hears, or has heard, that the client left.
    """

    def __init__(self) -> None:
        self._scope = CancelScope()
        self._ended = Event()
        self._failure: BaseException | None = None
        self.is_complete = False
        self.make_response: Callable[[Any], Response] = Response
        self.tell_to_leave: Callable[[], bool] = lambda: False

    def start(self, request: ASGIRequest, make: Callable[[], Awaitable[None]]) -> None:
        """Run ``make`` in a task. Raises ``RuntimeError`` where there is nobody to look after it."""
        watchers = request.watchers
        if watchers is None:  # of a site with mounts the driver makes some
            raise RuntimeError("a hook can hand over only under a server with lifespan; mount the application instead")
        self._sender, self._receiver = create_memory_object_stream[tuple[bytes, bool]](0)
        watchers.start_soon(self._run, make)

    # -- in the task that makes it -------------------------------------------------------------------------------

    async def _run(self, make: Callable[[], Awaitable[None]]) -> None:
        """What ``make`` raises is raised where the answer is taken."""
        try:
            with self._scope:
                await make()
        except get_cancelled_exc_class():
            raise
        except BaseException as error:  # this task belongs to all requests: nothing may end it
            self._failure = error
        finally:
            self._sender.close()
            self._ended.set()

    async def give(self, chunk: bytes, more: bool) -> None:
        """Hand over a chunk. Raises ``OSError`` if nobody wants it any more, as servers do (ASGI 2.4)."""
        self.is_complete = not more
        try:
            await self._sender.send((chunk, more))
        except (BrokenResourceError, ClosedResourceError):
            raise OSError("the client left") from None

    # -- in the request's ----------------------------------------------------------------------------------------

    async def take(self) -> tuple[bytes, bool]:
        """The next chunk, and whether more will follow. Raises what the application raised instead."""
        try:
            return await self._receiver.receive()
        except EndOfStream:
            failure = self._failure or self._end()
        self._failure = None
        try:
            raise failure
        finally:
            del failure

    def _end(self) -> Exception:
        if self.tell_to_leave():
            return ClientDisconnect("the client left")
        return ResponseError("the mounted application ended before its answer did")

    async def stop(self) -> None:
        """Have it end, unless it has answered; wait for that."""
        try:
            if not self.is_complete and self.tell_to_leave():
                with move_on_after(LEAVE_WITHIN):
                    await self._ended.wait()
        finally:
            self._receiver.close()
            if not self.is_complete:
                self._scope.cancel()
        if not self.is_complete:
            await self._ended.wait()

    async def response(self, keeps_length: bool) -> Response:
        """Wait for the head. ``keeps_length``: a Content-Length may stand above an empty body (HEAD)."""
        try:
            chunk, more = await self.take()
            if more or keeps_length:
                return self.make_response(_Chunks(self, chunk, more))
            response = self.make_response(chunk)
        except BaseException:
            with move_on_after(CLEAN_UP_WITHIN, shield=True):
                await self.stop()
            raise
        if response.headers.get("content-length", str(len(chunk))) != str(len(chunk)):
            response.body = _Chunks(self, chunk, more)  # as it stands: a wrong length is the server's to notice
        else:
            await self.stop()
        return response


class _Chunks:
    """The chunks of an answer, taken one by one."""

    def __init__(self, answering: Answering, first: bytes, more: bool) -> None:
        self._answering = answering
        self._first: bytes | None = first
        self._more = more

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        if first is not None:
            return first
        if not self._more:
            raise StopAsyncIteration
        chunk, self._more = await self._answering.take()
        return chunk

    async def aclose(self) -> None:
        await self._answering.stop()


async def answer_of_asgi(mount: Mount, place: Place, request: ASGIRequest) -> Response:
    """The answer of a mounted ASGI application."""
    answering = Answering()
    call = _ASGICall(answering, request)
    scope = moved_scope({**request.scope, "extensions": {}}, mount, place)
    scope["scheme"], scope["client"] = request.scheme, request.client
    answering.start(request, partial(mount.target, scope, call.receive, call.send))
    return await answering.response(request.method == "HEAD")


class _ASGICall:
    """``receive`` and ``send`` of a mounted application."""

    def __init__(self, answering: Answering, request: ASGIRequest) -> None:
        self._answering = answering
        self._request = request
        self._kept = request.body_so_far()
        self._start: Message | None = None
        self._listening: CancelScope | None = None
        self._is_told = False
        answering.make_response = self._response
        answering.tell_to_leave = self._tell_to_leave

    async def receive(self) -> Message:
        if self._answering.is_complete:
            return {"type": "http.disconnect"}
        kept, self._kept = self._kept, None
        if kept is not None:  # a hook has read the body
            return {"type": "http.request", "body": kept, "more_body": False}
        message: Message = {"type": "http.disconnect"}
        with CancelScope() as self._listening:
            try:
                message = await self._request.receive_message()
            finally:
                self._listening = None
        self._is_told = message["type"] == "http.disconnect"
        return message

    def _tell_to_leave(self) -> bool:
        if self._listening is None:
            return self._is_told
        self._listening.cancel()
        return True

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
        elif kind == "http.response.body" and self._start is not None and not self._answering.is_complete:
            await self._answering.give(bytes(message.get("body", b"")), message.get("more_body", False))
        else:
            raise RuntimeError(f"the mounted application sent {kind!r}, which can't come now")

    def _response(self, body: Any) -> Response:
        start = self._start or {}
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ())]
        return Response(body, start.get("status", 0), pairs, content_type="")


def moved_scope(scope: Scope, mount: Mount, place: Place) -> Scope:
    """``scope`` as the mounted application sees it: ``root_path`` has grown, ``path`` is whole, the state its own."""
    return {
        **scope,
        "root_path": place.root,
        "path": place.path,
        "raw_path": place.raw_path,
        "state": dict(mount.state),
    }


async def hand_over(mount: Mount, place: Place, scope: Scope, receive: Receive, send: Send) -> None:
    """Have a mounted application answer by itself: a WebSocket's, or one that shares nothing."""
    await mount.target(moved_scope(scope, mount, place), receive, send)
