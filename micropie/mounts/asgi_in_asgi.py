"""Mounted ASGI applications under ASGI: each answers in a task of its own, from which the request's task takes that.

One chunk is on its way at a time: an application waits in ``send`` until the one before it was taken. When nobody wants
more, it is told if it waits in ``receive``, as by a server; one that has tasks of its own ends them then, and would
lose them if it were cancelled. If it does not listen or does not end, it is cancelled. After its last chunk it may go
on, as it could under a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from micropie.execution.loop import LEAVE_WITHIN
from micropie.http.response import Response
from micropie.http.types import Message, Receive, Scope, Send
from micropie.mounts.answering import wait_for_head
from micropie.mounts.asgi_call import ASGIAnswer, moved_scope
from micropie.mounts.prefixes import Mount, MountedPath

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest


async def answer_of_asgi(mount: Mount, mounted_path: MountedPath, request: ASGIRequest) -> Response:
    """The answer of a mounted ASGI application. Raises ``RuntimeError`` where nobody would look after its task."""
    watchers = request.watchers
    if watchers is None:  # of a site with mounts the driver makes some
        raise RuntimeError("a hook can hand over only under a server with lifespan; mount the application instead")
    scope = moved_scope({**request.scope, "extensions": {}}, mount, mounted_path)
    scope["scheme"], scope["client"] = request.scheme, request.client
    call = _Call(mount, request)
    watchers.start_soon(call.run, scope)
    return await wait_for_head(call, request.method == "HEAD")


class _Call:
    """One call of an application, with its ``receive`` and ``send``; ``take`` and ``stop`` are the request's task's."""

    def __init__(self, mount: Mount, request: ASGIRequest) -> None:
        self._target = mount.target
        self._request = request
        self._kept = request._body_so_far()
        self._answer = ASGIAnswer()
        self.response = self._answer.response
        self._scope = CancelScope()
        self._ended = Event()
        self._failure: BaseException | None = None
        self._listening: CancelScope | None = None
        self._is_told = False
        self._sender, self._receiver = create_memory_object_stream[tuple[bytes, bool]](0)

    # -- in the application's task -------------------------------------------------------------------------------

    async def run(self, scope: Scope) -> None:
        """Call it. What it raises is raised where the answer is taken."""
        try:
            with self._scope:
                await self._target(scope, self._receive, self._send)
        except get_cancelled_exc_class():
            raise
        except BaseException as error:  # this task group belongs to all requests: nothing may end it
            self._failure = error
        finally:
            self._sender.close()
            self._ended.set()

    async def _receive(self) -> Message:
        if self._answer.is_complete:
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

    async def _send(self, message: Message) -> None:
        """Hand over a chunk. Raises ``OSError`` if nobody wants it any more, as servers do (ASGI 2.4)."""
        chunk = self._answer.accept(message)
        if chunk is None:
            return
        try:
            await self._sender.send(chunk)
        except (BrokenResourceError, ClosedResourceError):
            raise OSError("the client left") from None

    # -- in the request's ----------------------------------------------------------------------------------------

    async def take(self) -> tuple[bytes, bool]:
        """See ``Answering``."""
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
        if self._tell_to_leave():
            return ClientDisconnect("the client left")
        return ResponseError("the mounted application ended before its answer did")

    async def stop(self) -> None:
        """See ``Answering``."""
        try:
            if not self._answer.is_complete and self._tell_to_leave():
                with move_on_after(LEAVE_WITHIN):
                    await self._ended.wait()
        finally:
            self._receiver.close()
            if not self._answer.is_complete:
                self._scope.cancel()
        if not self._answer.is_complete:
            await self._ended.wait()

    def _tell_to_leave(self) -> bool:
        """Whether the application hears, or has heard, that the client left."""
        if self._listening is None:
            return self._is_told
        self._listening.cancel()
        return True


async def hand_over(mount: Mount, mounted_path: MountedPath, scope: Scope, receive: Receive, send: Send) -> None:
    """Have a mounted application answer by itself: a WebSocket's, or one that shares nothing."""
    await mount.target(moved_scope(scope, mount, mounted_path), receive, send)
