"""Mounted WSGI applications under ASGI.

Each request has one worker thread, in which the application is called, iterated over and always
closed. The thread passes the chunks to the request's task, which joins those that are ready. The
thread passes the last chunk together with the end, because each switch between threads takes longer
than creating most responses. A short body is received before the thread starts. A longer body is
received by tasks on the loop, and the thread waits for them.
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from io import BufferedReader, BytesIO
from threading import Semaphore

import anyio
from anyio import from_thread

from micropie._core.errors import ClientDisconnect
from micropie._core.execution import Action, SingleWaiterEvent, slots_of
from micropie._core.execution.lane import Held
from micropie._core.execution.placement import Threads
from micropie._core.http import Exchange, Response
from micropie._core.http.addresses import server_address
from micropie._core.http.headers import MAX_HEADERS, NameTable
from micropie._core.http.protocols import Environ, Piece
from micropie._core.mounts.prefixes import Mount, MountedPath
from micropie._core.mounts.response import wait_for_head
from micropie._core.mounts.wsgi_call import RawBody, WSGICall, move
from micropie._core.streams import BYTES_AHEAD, CHUNKS_AHEAD, JOINED

_USUALLY_EMPTY = ("GET", "HEAD")


async def wsgi_under_asgi(
    mount: Mount, mounted_path: MountedPath, exchange: Exchange, threads: Threads
) -> Response:
    """Call a mounted WSGI application in a worker thread, within the limit of ``threads``, and
    return its response.
    """
    call = _ThreadCall(mount, exchange, threads)
    await call.start(environ_of(exchange, mounted_path, await call.input()))
    return await wait_for_head(call, exchange.method == "HEAD")


class _ThreadCall:
    """One call of the mounted application.

    ``_run``, ``_pull`` and the functions that they call run in the call's worker thread, and all
    other methods on the event loop.
    """

    def __init__(self, mount: Mount, exchange: Exchange, threads: Threads) -> None:
        self._wsgi = WSGICall(mount.target, mount, exchange.log_failure, self._give)
        self.response = self._wsgi.response
        self._exchange = exchange
        self._slots = slots_of(threads)
        self._body = exchange.body.so_far
        self._more = self._body is None
        self._tasks = self._slots.tasks
        # The chunks that the thread has produced. Each comes with a flag: whether more may follow.
        self._chunks: deque[Piece] = deque()
        self._failures: list[BaseException] = []  # exceptions that the application has raised
        self._chunk_given = SingleWaiterEvent(self._tasks)
        # Limits the chunks that the event loop has not taken yet; see ``_places_of``. It is created
        # on first use, because most responses are passed on as a whole.
        self._room: Semaphore | None = None
        # The cancel scope of the task that receives a piece of the body, or None if there is no
        # such task.
        self._receiving: anyio.CancelScope | None = None
        # ``_has_begun``: whether a chunk was taken. ``_is_complete``: whether the last chunk was
        # taken. ``has_ended``: whether the task of the call has ended.
        self._is_stopped = self._has_begun = self._is_complete = self.has_ended = False
        self._at_end: list[Action] = []  # called when the task has ended

    # -- on the event loop -------------------------------------------------------------------------

    async def input(self) -> BytesIO | BufferedReader:
        """Return the ``wsgi.input``. If the body is short, receive it first."""
        exchange = self._exchange
        if self._more and exchange.has_short_body:
            self._body = b""
            with suppress(Exception):  # raised again when the application reads the body
                while self._more:
                    piece, self._more = await exchange.receive_piece()
                    self._body += piece
        is_empty = (  # no Content-Length or Transfer-Encoding means no body: RFC 9112, section 6.3
            exchange.method in _USUALLY_EMPTY
            and not exchange.framing[2]
            and exchange.header("transfer-encoding") is None
            and str(exchange.scope.get("http_version", "1.1")).startswith("1")
        )
        if self._more and not is_empty:
            return BufferedReader(RawBody(self._pull))
        return BytesIO(self._body or b"")

    async def start(self, environ: Environ) -> None:
        """Wait for a free thread, and call the application in it."""
        self._exchange.set_reader(self._slots)
        await self._slots.take()
        self._tasks.start_soon(self._call, environ)

    async def take(self) -> Piece:
        """Return the next chunk, and whether more may follow; see ``PendingAnswer``."""
        chunk, more = await self._next_chunk()
        if not more and self._failures:
            raise self._failures.pop()
        if more and self._room is not None:
            self._room.release(_places_of(chunk))
            while len(chunk) < JOINED and self._chunks and self._chunks[0][1]:
                following, _ = self._chunks.popleft()
                self._room.release(_places_of(following))
                chunk += following
        return chunk, more

    async def stop(self) -> None:
        """End the call, and wait until it has ended; see ``PendingAnswer``. If the call hasn't
        begun its response, it goes on in its thread instead, as the call of a ``def`` handler does.
        """
        self._is_stopped = True
        if self._room is not None:
            self._room.release(CHUNKS_AHEAD)
        if self._receiving is not None:
            self._receiving.cancel()
        while self._has_begun and not self._is_complete:
            await self._next_chunk()
        # avoid a reference cycle between the exceptions and this call
        self.when_ended(self._failures.clear)
        if not self._has_begun:
            self._exchange.note_left_call(self)
        elif not self.has_ended:
            self._at_end.append(self._exchange.note_outlasting())

    def when_ended(self, action: Action) -> None:
        """See ``LeftCall``. Both this method and ``action`` are called on the event loop."""
        if self.has_ended:
            action()
        else:
            self._at_end.append(action)

    async def _next_chunk(self) -> Piece:
        while not self._chunks:
            await self._chunk_given.wait()
        chunk, more = self._chunks.popleft()
        self._has_begun, self._is_complete = True, not more
        return chunk, more

    async def _receive(self) -> Piece:
        """Return the next piece of the body to the thread, and whether more may follow."""
        self._check()
        with anyio.CancelScope() as self._receiving:
            try:
                piece: Piece = await self._exchange.receive_piece()
            except ClientDisconnect as error:
                raise ClientLeft(str(error)) from None
            return piece
        raise ClientLeft("the client disconnected")

    async def _call(self, environ: Environ) -> None:
        held = Held([self._slots])
        try:
            await self._slots.call(self._run, (environ,), 0.0, held=held)
        except BaseException as error:  # no thread could be started
            self._failures.append(error)
            self._chunks.append((b"", False))
        finally:
            if held:
                self._slots.give()
            self._exchange.set_reader(None)
            self.has_ended = True
            self._chunk_given.ring()
            for action in self._at_end:
                action()

    # -- in the thread -----------------------------------------------------------------------------

    def _run(self, environ: Environ) -> None:
        """Call the application, and pass its response to the loop."""
        call, last, end = self._wsgi, b"", self._wsgi.close
        try:
            call.begin(environ)
            last, more = call.take()
            while more:
                self._give(last)
                last, more = call.take()
            end = call.finish
        except BaseException as error:
            last = b""
            self._failures.append(error)
        self._chunks.append((last, False))
        if not call.is_complete:  # code after the last chunk must not delay the client
            self._tasks.call(self._chunk_given.ring)
        with suppress(BaseException):  # also suppress SystemExit, because it would end the thread
            end()

    def _pull(self) -> bytes:
        """Return the next piece of the body.

        Raises ``ClientLeft`` if the client has disconnected, and a 408 if the client stopped
        sending.
        """
        body, self._body = self._body, None
        piece = body or b""
        while self._more and not piece:
            self._check()  # raises if the call was stopped; the loop may have ended by now
            piece, self._more = from_thread.run(self._receive)
        return piece

    def _give(self, chunk: bytes) -> None:
        if self._room is None:
            self._room = Semaphore(CHUNKS_AHEAD)
        for _ in range(_places_of(chunk)):
            self._room.acquire()
            self._check()
        self._chunks.append((chunk, True))
        self._tasks.call(self._chunk_given.ring)

    def _check(self) -> None:
        if self._is_stopped:
            raise ClientLeft("the client disconnected")


def _places_of(chunk: bytes) -> int:
    """Return for how many chunks, of ``CHUNKS_AHEAD``, this chunk counts until it is taken. All of
    them together have about ``BYTES_AHEAD`` bytes.
    """
    return min(1 + len(chunk) * CHUNKS_AHEAD // BYTES_AHEAD, CHUNKS_AHEAD)


class ClientLeft(ClientDisconnect, OSError):
    """Raised by ``wsgi.input`` and ``write`` if the client has disconnected. It is an ``OSError``,
    because that is what WSGI applications expect.
    """


def environ_of(
    exchange: Exchange, mounted_path: MountedPath | None, body: BytesIO | BufferedReader
) -> Environ:
    """Return the environ of a request, with the scheme, client and host that middleware has set.
    ``mounted_path`` is None for an application that is not mounted.

    Headers with "_" in their names are left out, because the environ uses "_" for "-", so such a
    header could be mistaken for another one. The server has decoded a chunked body already.
    Transfer-Encoding is kept nevertheless, as under gunicorn: some applications read a body only
    with this header or a Content-Length. ``wsgi.input_terminated`` declares that the input ends
    after the body.
    """
    scope, client, query = exchange.scope, exchange.client, exchange.query_string
    name, port = server_address(scope.get("server"))
    if mounted_path is None:
        mounted_path = MountedPath(exchange.root_path, exchange.raw_path())
    path = mounted_path.raw_path.decode("latin-1")
    environ: Environ = {
        "REQUEST_METHOD": exchange.method,
        "QUERY_STRING": query,
        "REQUEST_URI": f"{path}?{query}" if query else path,
        "SERVER_NAME": name,
        "SERVER_PORT": str(port or (443 if exchange.scheme == "https" else 80)),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    headers, size = exchange.raw_headers(), len(environ)
    for field, value in headers:
        environ[_KEYS[field]] = value.decode("latin-1")
    # If a name is repeated, or if there are too many headers, use ``exchange.headers``. It joins
    # repeated values, and raises a 431 if there are too many headers.
    if len(environ) - size < len(headers) or len(headers) > MAX_HEADERS:
        for header, text in exchange.headers.items():
            environ[_KEYS[header.encode("latin-1")]] = text
    return move(environ, exchange, mounted_path, client)


def _key_of(header: bytes) -> str:
    """Return the key of a header in an environ (PEP 3333; RFC 3875, section 4.1.18).

    A name with "_" gets the key of the Proxy header, and ``move`` removes this key.
    """
    if b"_" in header:
        return "HTTP_PROXY"
    key = header.decode("latin-1").upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


_KEYS = NameTable(_key_of)
