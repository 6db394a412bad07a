"""Mounted WSGI applications under ASGI.

One request has one worker thread: the call, the iteration and ``close()`` happen there, ``close()`` always. The
thread sends three kinds of messages to the request's task: a chunk of the answer, a request for a piece of the body,
and the end. A round trip to a thread costs more than most answers take, so the end brings the last chunk with it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import BufferedReader
from itertools import chain, repeat
from queue import SimpleQueue

from micropie.errors import ClientDisconnect
from micropie.execution import AHEAD, WAKERS, SingleWaiterEvent, Threads, limiter_of, run_in_place, take_slot
from micropie.http import Environ, Exchange, Response, cached_if_short
from micropie.mounts.prefixes import Mount, MountedPath
from micropie.mounts.response import wait_for_head
from micropie.mounts.wsgi_call import RawBody, WSGICall

_NEEDS_BODY = "needs a piece of the body"
_CHUNK = "has a chunk"
_ENDED = "has ended: with its last chunk, or with an exception"


async def wsgi_under_asgi(mount: Mount, threads: Threads, mounted_path: MountedPath, exchange: Exchange) -> Response:
    """Return the answer of a mounted WSGI application, which is called in one of ``threads``."""
    call = _Call(mount, exchange, threads)
    await call.start(environ_of(exchange, mounted_path, BufferedReader(RawBody(call.pull))))
    return await wait_for_head(call, exchange.method == "HEAD")


class _Call:
    """One call of the application. ``pull``, ``_run`` and all below it run in the thread, others on the loop."""

    def __init__(self, mount: Mount, exchange: Exchange, threads: Threads) -> None:
        self._wsgi = WSGICall(mount, self._give)
        self.response = self._wsgi.response
        self._exchange = exchange
        self._threads = threads
        self._limiter = limiter_of(threads)
        self._body = exchange.body_so_far()
        self._more = self._body is None
        self._waker = WAKERS.get()
        self._messages: deque[tuple[str, bytes]] = deque()  # from the thread
        self._failures: list[BaseException] = []  # of the application
        self._message_sent = SingleWaiterEvent()
        self._grants = chain((1, AHEAD), repeat(1))  # chunks allowed by each ``take``; HEAD takes only the first one
        self._granted: SimpleQueue[None] = SimpleQueue()  # one for each chunk that may be given
        self._pieces: SimpleQueue[tuple[bytes, bool] | Exception] = SimpleQueue()
        self._is_stopped = self._has_ended = False

    # -- on the event loop ---------------------------------------------------------------------------------------

    async def start(self, environ: Environ) -> None:
        """Receive a short body, wait for a free thread, and let it call the application."""
        if self._more and self._exchange.has_short_body:
            body = bytearray()
            while self._more and self._pieces.empty():
                received = await self._next_piece()
                if isinstance(received, Exception):
                    self._pieces.put(received)
                else:
                    body += received[0]
                    self._more = received[1]
            self._body = bytes(body)
        self._exchange.reader = self._threads
        await take_slot(self._limiter, self)
        run_in_place(self._limiter, self, self._run, environ)

    async def take(self) -> tuple[bytes, bool]:
        """Return the next chunk and whether more may follow (``PendingAnswer``)."""
        for _ in range(next(self._grants)):
            self._granted.put(None)
        while True:
            kind, chunk = await self._next_message()
            if kind is not _NEEDS_BODY:
                break
            self._pieces.put(await self._next_piece())
        self._has_ended = kind is _ENDED
        if self._has_ended and self._failures:
            raise self._failures.pop()
        return chunk, not self._has_ended

    async def stop(self) -> None:
        """End the call, and wait for that (``PendingAnswer``)."""
        self._is_stopped = True
        self._granted.put(None)
        self._pieces.put(ClientLeft("the client left"))
        while not self._has_ended:
            self._has_ended = (await self._next_message())[0] is _ENDED
        self._failures.clear()  # nobody wants them, and their tracebacks refer to this call

    async def _next_message(self) -> tuple[str, bytes]:
        while not self._messages:
            await self._message_sent.wait()
        return self._messages.popleft()

    async def _next_piece(self) -> tuple[bytes, bool] | Exception:
        try:
            piece: tuple[bytes, bool] = await self._exchange.receive_piece()
        except ClientDisconnect as error:
            return ClientLeft(str(error))
        except Exception as error:
            return error
        return piece

    def lose(self, error: BaseException) -> None:
        """End the call: no thread could be started for it."""
        self._failures.append(error)
        self._messages.append((_ENDED, b""))
        self._message_sent.ring()

    def _end(self) -> None:
        self._exchange.reader = None
        self._limiter.release_on_behalf_of(self)
        self._message_sent.ring()

    # -- in the thread -------------------------------------------------------------------------------------------

    def _run(self, environ: Environ) -> Callable[[], object]:
        """Answer, and return the function that tells the loop once this thread is free."""
        last = b""
        try:
            last = self._answer(environ)
        except BaseException as error:
            self._failures.append(error)
        self._messages.append((_ENDED, last))
        if self._wsgi.has_close:  # the client does not wait for it
            self._waker.call(self._message_sent.ring)
        with suppress(BaseException):  # a SystemExit must not end this thread
            self._wsgi.close()
        return partial(self._waker.call, self._end)

    def _answer(self, environ: Environ) -> bytes:
        """Call the application and give its chunks. Return the last one, or b""."""
        call = self._wsgi
        call.begin(environ)
        if call.is_short:
            return call.next()
        while chunk := call.next():
            self._give(chunk)
        return b""

    def pull(self) -> bytes:
        """Return the next piece of the body. Raises ``ClientLeft``, and 408 if the body stopped arriving."""
        body, self._body = self._body, None
        piece = body or b""
        while self._more and not piece:
            self._check()
            if self._pieces.empty():
                self._send(_NEEDS_BODY)
            received = self._pieces.get()
            if isinstance(received, Exception):
                raise received
            piece, self._more = received
        return piece

    def _give(self, chunk: bytes) -> None:
        self._check()
        self._granted.get()
        self._check()
        self._send(_CHUNK, chunk)

    def _check(self) -> None:
        if self._is_stopped:
            raise ClientLeft("the client left")

    def _send(self, kind: str, chunk: bytes = b"") -> None:
        self._messages.append((kind, chunk))
        self._waker.call(self._message_sent.ring)


class ClientLeft(ClientDisconnect, OSError):
    """Raised by ``wsgi.input`` and ``write``. An OSError, as WSGI applications expect one."""


def environ_of(exchange: Exchange, mounted_path: MountedPath, body: BufferedReader) -> Environ:
    """Return the environ of a request, with the scheme, client and host that middleware has set.

    ``exchange.headers`` has no names with "_", as "-" becomes "_" here. Proxy is dropped, because libraries read
    ``HTTP_PROXY``. Transfer-Encoding stays, as under gunicorn, though the input is decoded: CherryPy reads a body only
    with this header or a Content-Length. ``wsgi.input_terminated`` says that the input ends by itself.
    """
    scope = exchange.scope
    name, port = scope.get("server") or ("localhost", None)
    environ: Environ = {
        "REQUEST_METHOD": exchange.method,
        "SCRIPT_NAME": mounted_path.script_name,
        "PATH_INFO": mounted_path.path_info,
        "QUERY_STRING": exchange.query_string,
        "REQUEST_URI": mounted_path.raw_path.decode("latin-1")
        + (f"?{exchange.query_string}" if exchange.query_string else ""),
        "SERVER_NAME": str(name),
        "SERVER_PORT": str(port or (443 if exchange.scheme == "https" else 80)),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": exchange.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    client = exchange.client
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client.host, str(client.port)
    for header, value in exchange.headers.items():
        environ[_key_of(header)] = value
    environ.pop("HTTP_PROXY", None)
    if exchange.known_host is not None:
        environ["HTTP_HOST"] = exchange.known_host
    return environ


_BODY_KEYS = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


@cached_if_short(256)  # clients choose the names
def _key_of(header: str) -> str:
    """Return the key of a header in an environ."""
    return _BODY_KEYS.get(header) or "HTTP_" + header.upper().replace("-", "_")
