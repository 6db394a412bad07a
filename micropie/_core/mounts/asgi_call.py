"""One call of a mounted ASGI application, under any server. The application runs in a separate
task, and the request's task takes the chunks of its response. On asyncio, the application's task
begins at once, so a response that doesn't wait needs no turn of the event loop.

The application waits in ``send`` while ``CHUNKS_AHEAD`` chunks or ``BYTES_AHEAD`` bytes have not
been taken. The request's task joins small chunks that are ready. When the client has disconnected,
an application that waits in ``receive`` gets ``http.disconnect``, as from a server, so that it can
end its tasks. A cancellation would leave these tasks running. An application that does not wait in
``receive``, or does not end, is cancelled. After its last chunk, the application may continue to
run, as under a server, and shutdown waits for it.

Under WSGI, both tasks run on the background loop. The chunks are read there, as they are for a
stream of an ``async def`` handler.
"""

from __future__ import annotations

from collections import deque
from math import inf

import anyio

from micropie._core import execution
from micropie._core.errors import (
    ClientDisconnect,
    HTTPError,
    ResponseError,
    logger,
    websockets_need_asgi,
)
from micropie._core.execution import TASKS, Action, SingleWaiterEvent, move_on_after, set_deadline
from micropie._core.http import Exchange, GivenStatus, Response
from micropie._core.http.addresses import NO_HOST
from micropie._core.http.protocols import Piece, Scope, ServerMessage
from micropie._core.mounts.prefixes import Mount, MountedPath
from micropie._core.mounts.response import wait_for_head
from micropie._core.streams import BYTES_AHEAD, CHUNKS_AHEAD, joined

# Seconds that the application may go on after it has received ``http.disconnect``.
LEAVE_WITHIN = 2.0


async def call_asgi(
    mount: Mount, mounted_path: MountedPath, exchange: Exchange, seconds: float | None = None
) -> Response:
    """Call a mounted ASGI application and return its response.

    Raises a 504 if the application sends nothing for ``seconds``. None means no limit.
    """
    scope = moved_scope(exchange.scope, mount, mounted_path)
    extensions = exchange.scope.get("extensions") or {}
    # Leave out extensions for additional messages of a response, because hooks would not see these
    # messages. The other extensions describe the connection.
    scope["extensions"] = {
        name: extensions[name] for name in extensions if not name.startswith("http.response.")
    }
    scope["scheme"], scope["client"] = exchange.scheme, exchange.client
    if exchange.peer.host is not None:
        scope["headers"] = exchange.headers_with_host(exchange.peer.host)
    call = _ASGICall(mount, exchange, inf if seconds is None else seconds)
    TASKS.get().start(call.run, scope)
    return await wait_for_head(call, exchange.method == "HEAD")


async def asgi_under_wsgi(
    mount: Mount, mounted_path: MountedPath, exchange: Exchange, seconds: float | None
) -> Response:
    """Call a mounted ASGI application on the background loop and return its response.

    A WebSocket handshake is refused, because the application would mistake it for an ordinary GET.
    """
    if exchange.method == "GET" and "websocket" in (exchange.header("upgrade") or "").lower():
        raise websockets_need_asgi()
    return await call_asgi(mount, mounted_path, exchange, seconds)


_NO_END = "the mounted application returned before it had sent its whole response"


class _ASGICall:
    """One call of a mounted application, with the ``receive`` and ``send`` that the application
    gets.

    The request's task calls ``take`` and ``stop``.
    """

    def __init__(self, mount: Mount, exchange: Exchange, seconds: float) -> None:
        self._mount = mount
        self._exchange = exchange
        self._seconds = seconds
        # The cancel scope in which ``take`` waits; None before it first waits. It is cancelled if
        # the application sends nothing for ``seconds``.
        self._silence: anyio.CancelScope | None = None
        self._body = exchange.body.so_far
        self._start: ServerMessage | None = None
        self._is_complete = False  # whether the last chunk was sent
        tasks = TASKS.get()
        self._new_scope = tasks.new_scope
        self._scope = self._new_scope()
        self._chunks: deque[bytes] = deque()  # those that were sent, but not taken yet
        self._size = 0  # how many bytes they have
        # ``_has_begun``: whether the request's task has called ``take``. ``_is_stopped``: whether
        # it has stopped taking chunks. ``_has_ended``: whether the application has ended.
        self._has_begun = self._is_stopped = self._has_ended = False
        # Wakes the request's task when the application has sent its head or a chunk, or has ended.
        self._given = SingleWaiterEvent(tasks)
        # Wakes the application's task when its chunks were taken, or when no more chunks will be
        # taken.
        self._taken = SingleWaiterEvent(tasks)
        # Exceptions that the application raised, or that receiving the body raised.
        self._failures: list[BaseException] = []
        # The cancel scope in which the application waits for a message; None while it doesn't wait.
        self._receiving: anyio.CancelScope | None = None
        self._got_disconnect = False
        # Called when the application has ended, if it goes on after its response.
        self._at_end: Action | None = None

    # -- in the application's task -----------------------------------------------------------------

    async def run(self, scope: Scope) -> None:
        """Call the application. If it raises an exception, ``take`` raises that later."""
        try:
            with self._scope:
                await self._mount.target(scope, self._receive, self._send)
        # Log or store the exception, because nobody awaits this task.
        except BaseException as error:
            is_cancellation = isinstance(error, anyio.get_cancelled_exc_class())
            if is_cancellation and execution.failure_of(error) is None:
                if self._is_complete:
                    logger.error("%s: shutdown ended what followed its response", self._mount)
                raise
            if self._is_complete:
                sentence = f"{self._mount}: the mounted application failed after its response"
                self._exchange.log_failure(sentence, execution.failure_of(error) or error)
            else:
                self._failures.append(error)
        finally:
            self._has_ended = True
            self._given.ring()
            if self._at_end is not None:
                self._at_end()

    async def _receive(self) -> ServerMessage:
        if self._is_complete or self._failures:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        if body is not None:  # a hook has received the whole body
            return {"type": "http.request", "body": body, "more_body": False}
        message: ServerMessage = {"type": "http.disconnect"}
        with self._new_scope() as self._receiving:
            self._limit_silence()
            try:
                message = await self._exchange.receive_message()
            except (ClientDisconnect, HTTPError) as error:
                # Receiving the body has failed. Drop the traceback: it refers to this call, so
                # keeping it would create a reference cycle.
                self._failures.append(error.with_traceback(None))
            finally:
                self._receiving = None
        self._limit_silence()
        self._got_disconnect = message["type"] == "http.disconnect"
        return message

    async def _send(self, message: ServerMessage) -> None:
        """Pass on a message from the application to the request's task. Raises ``OSError`` if the
        client has disconnected, as servers do (ASGI 2.4), but not for the last chunk: the response
        to HEAD ends before it, and then the application goes on with what it does after a response.

        Raises ``RuntimeError`` for a message that isn't allowed at this point.
        """
        kind = message["type"]
        if kind == "http.response.start" and self._start is None:
            self._start = message
            self._given.ring()
            return
        if kind != "http.response.body" or self._start is None or self._is_complete:
            raise RuntimeError(f"the mounted application sent {kind!r} out of order")
        is_last = not message.get("more_body", False)
        while not self._is_stopped and (
            len(self._chunks) >= CHUNKS_AHEAD or self._size >= BYTES_AHEAD
        ):
            await self._taken.wait()
        if self._is_stopped and not is_last:
            raise OSError("the client disconnected")
        self._is_complete = is_last
        chunk = bytes(message.get("body", b""))
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._given.ring()

    def _limit_silence(self) -> None:
        """Let the time limit start now. The time spent waiting for the client doesn't count."""
        if self._silence is not None and self._seconds != inf:
            seconds = self._seconds if self._receiving is None else inf
            set_deadline(self._silence, anyio.current_time() + seconds)

    # -- in the request's task ---------------------------------------------------------------------

    async def take(self) -> Piece:
        """Return the next chunk, and whether more may follow; see ``PendingAnswer``.

        If the application has sent its head, but its first chunk isn't ready yet, the returned
        chunk is empty.
        """
        if not self._is_ready():
            with self._new_scope() as self._silence:
                self._limit_silence()
                while not self._is_ready():
                    await self._given.wait()
            if self._silence.cancelled_caught:
                raise HTTPError(504, "The response took too long. Please try again later.")
        is_head, self._has_begun = not self._has_begun, True
        if self._chunks:
            chunk = joined(self._chunks.popleft(), self._chunks)
            self._size -= len(chunk)
            self._taken.ring()
            return chunk, bool(self._chunks) or not self._is_complete
        if is_head and not self._has_ended:
            return b"", True
        if not self._failures:
            has_left = self._disconnect()
            self._failures.append(
                ClientDisconnect("the client disconnected") if has_left else ResponseError(_NO_END)
            )
        raise self._failures.pop(0)  # a later one is the application's, because of this one

    def _is_ready(self) -> bool:
        """Return whether ``take`` needn't wait."""
        has_head = self._start is not None and not self._has_begun
        return has_head or bool(self._chunks) or self._has_ended

    def response(self, body: object) -> Response:
        """Return the application's response with the body ``body``; see ``PendingAnswer``."""
        start = self._start or {}
        pairs = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in start.get("headers", ())
        ]
        return Response(body, GivenStatus(start.get("status", 0)), pairs, content_type="")

    async def stop(self) -> None:
        """End the application's task, unless its response is complete; see ``PendingAnswer``."""
        try:
            if self._disconnect() and not self._is_complete:
                with move_on_after(LEAVE_WITHIN):
                    await self._until_ended()
        finally:
            self._has_begun = self._is_stopped = True
            self._taken.ring()
            if not self._is_complete:
                self._scope.cancel()
            elif not self._has_ended:
                self._at_end = self._exchange.note_outlasting()
        if not self._is_complete:
            await self._until_ended()
        self._failures.clear()  # avoid a reference cycle between the exceptions and this call

    async def _until_ended(self) -> None:
        while not self._has_ended:
            await self._given.wait()

    def _disconnect(self) -> bool:
        """If the application waits in ``receive``, let that call return ``http.disconnect``.

        Return True if the application gets this message now or has already got it.
        """
        if self._receiving is None:
            return self._got_disconnect
        self._receiving.cancel()
        return True


def moved_scope(scope: Scope, mount: Mount, mounted_path: MountedPath) -> Scope:
    """Return the scope for a mounted application. ``root_path`` includes the prefix, and ``state``
    comes from the application's own lifespan. If the Host header is missing or empty, it is set to
    ``NO_HOST``.
    """
    headers = scope["headers"]
    if not any(value for name, value in headers if name == b"host"):
        others = [pair for pair in headers if pair[0] != b"host"]
        headers = [(b"host", NO_HOST.encode()), *others]
    return {
        **scope,
        "headers": headers,
        "root_path": mounted_path.root,
        "path": mounted_path.path,
        "raw_path": mounted_path.raw_path,
        "state": dict(mount.state),
    }
