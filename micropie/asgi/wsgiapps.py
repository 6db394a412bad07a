"""Mounted WSGI applications under ASGI.

One request has one worker thread: the call, the iteration and ``close()`` happen there, ``close()`` always. The body is
pulled from the event loop as it is read, the answer pushed there chunk by chunk; an answer of one chunk comes back with
the thread's result, and is one hop less.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import from_thread

from micropie.asgi.mounted import Answering
from micropie.errors import ClientDisconnect
from micropie.level import Threads
from micropie.mounting import Mount, Place
from micropie.response import Response
from micropie.threads import in_thread
from micropie.types import Environ
from micropie.wsgicall import BodyInput, WSGICall

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest

Value = TypeVar("Value")


async def answer_of_wsgi(mount: Mount, threads: Threads, place: Place, request: ASGIRequest) -> Response:
    """The answer of a mounted WSGI application, which runs in one of ``threads``."""
    answering = Answering()
    call = _InThread(mount, answering, request)
    environ = environ_of(request, place, BodyInput(call.pull))

    async def make() -> None:
        last = await in_thread(threads, call.run, environ)
        await answering.give(last, more=False)

    answering.start(request, make)
    return await answering.response(request.method == "HEAD")


class _InThread:
    """What happens in the worker thread."""

    def __init__(self, mount: Mount, answering: Answering, request: ASGIRequest) -> None:
        self._call = WSGICall(mount.target, self._give)
        self._answering = answering
        self._request = request
        self._kept = request.body_so_far()
        self._more = self._kept is None
        answering.make_response = self._call.response

    def run(self, environ: Environ) -> bytes:
        """Call the application and give its chunks; the result is the last one, or nothing."""
        call = self._call
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
        try:
            while self._more and not piece:
                piece, self._more = _on_loop(self._request.receive_piece)
        except ClientDisconnect as error:
            raise ClientLeft(str(error)) from error
        return piece

    def _give(self, chunk: bytes) -> None:
        _on_loop(self._answering.give, chunk, True)


def _on_loop(function: Callable[..., Coroutine[Any, Any, Value]], *arguments: Any) -> Value:
    try:
        return from_thread.run(function, *arguments)
    except Exception:
        raise
    except BaseException as error:  # cancelled there; here it must be something that applications know
        raise ClientLeft("the client left") from error


class ClientLeft(ClientDisconnect, OSError):
    """What an application gets from ``wsgi.input`` and ``write``, for applications know OSError."""


def environ_of(request: ASGIRequest, place: Place, body: BodyInput) -> Environ:
    """The environ of a request. Middleware's word on scheme, client and host counts.

    Names of headers with "_" are dropped, as "-" becomes that; and Proxy, as ``HTTP_PROXY`` means something to others.
    Transfer-Encoding stays, as gunicorn has it, though the body is without one: it is how CherryPy knows that there is
    a body, and its end is told by ``wsgi.input_terminated``.
    """
    scope = request.scope
    name, port = scope.get("server") or ("localhost", None)
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": place.script_name,
        "PATH_INFO": place.path_info,
        "QUERY_STRING": request.query_string,
        "REQUEST_URI": place.raw_path.decode("latin-1") + (f"?{request.query_string}" if request.query_string else ""),
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
    for header, value in request.headers.items():
        key = _key(header)
        if key is not None:
            environ[key] = value
    if request.overridden_host is not None:
        environ["HTTP_HOST"] = request.overridden_host
    return environ


_OWN_KEYS = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}


def _key(header: str) -> str | None:
    if header == "proxy":
        return None
    return _OWN_KEYS.get(header) or "HTTP_" + header.upper().replace("-", "_")
