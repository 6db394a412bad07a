"""Mounted WSGI applications under ASGI.

One request has one worker thread: the call, the iteration and ``close()`` happen there, ``close()`` always. The
request's task waits for what the thread tells: that it has a chunk, that it wants a piece of the body, that it has
ended. To get to a thread and back costs more than most answers, so an answer in one piece is told with the end.
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
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, WouldBlock

from micropie.errors import ClientDisconnect
from micropie.execution.loop import AHEAD
from micropie.execution.placement import Threads
from micropie.execution.threads import limiter_of
from micropie.execution.wake import SingleWaiterEvent, threadsafe_scheduler
from micropie.execution.worker_threads import run_in_worker
from micropie.http.headers import NameCache
from micropie.http.response import Response
from micropie.http.types import Environ
from micropie.mounts.answering import begun
from micropie.mounts.prefixes import Mount, MountedPath
from micropie.mounts.wsgi_call import RawBody, WSGICall

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest

_WANTS_BODY = "wants a piece of the body"
_CHUNK = "gives a chunk"
_ENDED = "has ended, with its last chunk or with what it raised"


async def answer_of_wsgi(mount: Mount, threads: Threads, mounted_path: MountedPath, request: ASGIRequest) -> Response:
    """The answer of a mounted WSGI application, which runs in one of ``threads``."""
    call = _Call(mount, request, limiter_of(threads))
    if request._has_short_body:
        await call.read_ahead()
    await call.start(environ_of(request, mounted_path, BufferedReader(RawBody(call.pull))))
    return await begun(call, request.method == "HEAD")


class _Call:
    """One call of the application; ``pull`` and what ``_run`` calls is the thread's, the rest on the event loop."""

    def __init__(self, mount: Mount, request: ASGIRequest, limiter: CapacityLimiter) -> None:
        self._wsgi = WSGICall(mount.target, self._give)
        self.response = self._wsgi.response
        self._request = request
        self._limiter = limiter
        self._kept = request._body_so_far()
        self._more = self._kept is None
        self._call_soon = threadsafe_scheduler()
        self._told: deque[tuple[str, Any, BaseException | None]] = deque()  # by the thread
        self._is_telling = False
        self._bell = SingleWaiterEvent()
        self._grants = chain((1, AHEAD), repeat(1))  # whether more than one chunk is wanted shows with the second
        self._granted: SimpleQueue[None] = SimpleQueue()  # one for each chunk that may be given
        self._pieces: SimpleQueue[tuple[bytes, bool] | Exception] = SimpleQueue()
        self._is_ahead = self._is_left = self._has_ended = False

    # -- on the event loop ---------------------------------------------------------------------------------------

    async def read_ahead(self) -> None:
        """Have the first piece of the body at hand, if nobody has read it."""
        self._is_ahead = self._more
        if self._is_ahead:
            self._pieces.put(await self._next_piece())

    async def start(self, environ: Environ) -> None:
        """Have a thread call the application, when one is free."""
        try:
            self._limiter.acquire_on_behalf_of_nowait(self)
        except WouldBlock:
            await self._limiter.acquire_on_behalf_of(self)
        try:
            run_in_worker(self._run, environ)
        except RuntimeError:  # there are too many threads in this process
            self._limiter.release_on_behalf_of(self)
            raise

    async def take(self) -> tuple[bytes, bool]:
        """See ``Answering``."""
        for _ in range(next(self._grants)):
            self._granted.put(None)
        while True:
            what, chunk, failure = await self._next()
            if what is not _WANTS_BODY:
                break
            self._pieces.put(await self._next_piece())
        self._has_ended = what is _ENDED
        if failure is None:
            return chunk, not self._has_ended
        try:
            raise failure
        finally:
            del failure

    async def stop(self) -> None:
        """See ``Answering``."""
        self._is_left = True
        self._granted.put(None)
        self._pieces.put(ClientLeft("the client left"))
        while not self._has_ended:
            self._has_ended = (await self._next())[0] is _ENDED

    async def _next(self) -> tuple[str, Any, BaseException | None]:
        while not self._told:
            await self._bell.wait()
        return self._told.popleft()

    async def _next_piece(self) -> tuple[bytes, bool] | Exception:
        try:
            return await self._request.receive_piece()
        except ClientDisconnect as error:
            return ClientLeft(str(error))
        except Exception as error:
            return error

    def _wake(self) -> None:
        self._is_telling = False  # first: what is told meanwhile has it called again
        self._bell.ring()

    def _end(self) -> None:
        self._limiter.release_on_behalf_of(self)
        self._wake()

    # -- in the thread -------------------------------------------------------------------------------------------

    def _run(self, environ: Environ) -> Callable[[], object]:
        last, failure = b"", None
        try:
            last = self._answer(environ)
        except BaseException as error:
            failure = error
        self._told.append((_ENDED, last, failure))
        del failure
        return partial(self._on_loop, self._end)

    def _answer(self, environ: Environ) -> bytes:
        """Call the application and give its chunks; the result is the last one, or nothing."""
        call = self._wsgi
        try:
            call.begin(environ)
            if call.is_short:
                return call.next()
            while chunk := call.next():
                self._give(chunk)
            return b""
        finally:
            call.close()

    def pull(self) -> bytes:
        """The next piece of the body. Raises ``ClientLeft``, and 408 if it stopped arriving."""
        kept, self._kept = self._kept, None
        piece = kept or b""
        while self._more and not piece:
            self._check()
            if not self._is_ahead:
                self._tell(_WANTS_BODY, None)
            self._is_ahead = False
            told = self._pieces.get()
            if isinstance(told, Exception):
                raise told
            piece, self._more = told
        return piece

    def _give(self, chunk: bytes) -> None:
        self._check()
        self._granted.get()
        self._check()
        self._tell(_CHUNK, chunk)

    def _check(self) -> None:
        if self._is_left:
            raise ClientLeft("the client left")

    def _tell(self, what: str, value: Any) -> None:
        self._told.append((what, value, None))
        if not self._is_telling:
            self._is_telling = True
            self._on_loop(self._wake)

    def _on_loop(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it who waits
            self._call_soon(function)


class ClientLeft(ClientDisconnect, OSError):
    """What an application gets from ``wsgi.input`` and ``write``, for applications know OSError."""


def environ_of(request: ASGIRequest, mounted_path: MountedPath, body: BufferedReader) -> Environ:
    """The environ of a request. Middleware's word on scheme, client and host counts.

    Names of headers with "_" are dropped, as "-" becomes that; and Proxy, as ``HTTP_PROXY`` means something to others.
    Transfer-Encoding stays, as gunicorn has it, though the body is without one: it is how CherryPy knows that there is
    a body, and its end is told by ``wsgi.input_terminated``.
    """
    scope = request.scope
    name, port = scope.get("server") or ("localhost", None)
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": mounted_path.script_name,
        "PATH_INFO": mounted_path.path_info,
        "QUERY_STRING": request.query_string,
        "REQUEST_URI": mounted_path.raw_path.decode("latin-1")
        + (f"?{request.query_string}" if request.query_string else ""),
        "SERVER_NAME": str(name),
        "SERVER_PORT": str(port or (443 if request.scheme == "https" else 80)),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    client = request.client
    if client is not None:
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = client.host, str(client.port)
    for header, value in request.headers.each():
        environ[_KEYS[header]] = value
    environ.pop("HTTP_PROXY", None)
    if request._host is not None:
        environ["HTTP_HOST"] = request._host
    return environ


_KEYS = NameCache(
    lambda header: "HTTP_" + header.upper().replace("-", "_"),
    {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"},
)
