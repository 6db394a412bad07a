"""Call WSGI applications: the environ, the thread in which the application runs, and the transport.

Each request runs in a new thread rather than in the test's, as under gunicorn's gthread or
waitress. So if the application hangs, the test fails instead of hanging. The test can also read a
stream while the application produces it.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import unquote_to_bytes

from micropie.testing.call import ClientCall, ClientSettings, Message, Runner
from micropie.testing.errors import ProtocolViolation
from micropie.testing.http import BODY, START, AppTransport, request_target, server_address
from micropie.testing.library import httpx

if TYPE_CHECKING:
    from _typeshed import OptExcInfo, WriteableBuffer

Environ = dict[str, Any]
T = TypeVar("T")
WSGIApp = Callable[[Environ, Callable[..., Callable[[bytes], object]]], Iterable[bytes]]


def request_environ(request: httpx.Request, settings: ClientSettings) -> Environ:
    """Return the environ without ``wsgi.input``.

    Its strings are bytes decoded as latin-1 (PEP 3333): ``/%C3%A9`` is ``'/Ã©'``.
    """
    target = request_target(request)
    raw_path, _, query = target.partition(b"?")
    path, root = unquote_to_bytes(raw_path), settings.root_path.encode()
    if root and not (path + b"/").startswith(root + b"/"):  # "/subway" is not under "/sub"
        raise ValueError(
            f"the path {path!r} does not begin with root_path {root!r}, as it must under WSGI"
        )
    host, port = server_address(request.url)
    environ: Environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": root.decode("latin-1"),
        "PATH_INFO": path[len(root) :].decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.url.scheme,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if settings.client is not None:
        environ.update(REMOTE_ADDR=settings.client[0], REMOTE_PORT=str(settings.client[1]))
    if settings.raw_uri:
        environ["RAW_URI"] = target.decode("latin-1")
    for name, value in request.headers.raw:
        # In the environ, ``X_User`` would look like ``X-User``. So gunicorn and waitress drop it,
        # too.
        if b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        separator = "; " if key == "HTTP_COOKIE" else ","
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    if "HTTP_TRANSFER_ENCODING" in environ and "CONTENT_LENGTH" not in environ:
        environ["wsgi.input_terminated"] = True
    return environ


class RequestInput(io.RawIOBase):
    """The raw stream behind ``wsgi.input``.

    When a chunk has been read, the stream gets the next one from the test.
    """

    _rest = b""
    _more = True

    def __init__(self, receive: Callable[[], Message]) -> None:
        self._receive = receive

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        if not self._rest and self._more:
            message = self._receive()
            # For the application, a lost connection means that the input ends early.
            self._rest, self._more = message.get("body", b""), message.get("more_body", False)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class AppThread(Runner):
    """Runs a WSGI application in a new thread, like a WSGI server.

    A thread can't be cancelled, so this is a daemon thread, which doesn't keep the process from
    ending.
    """

    def __init__(self, app: WSGIApp, environ: Environ) -> None:
        self._app = app
        self._environ = environ
        self._head: Message | None = None
        self._head_sent = False
        self._changed = threading.Condition()

    def start(self, call: ClientCall) -> None:
        self._call = call
        name = f"test client's {call.label}"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def is_current(self) -> bool:
        return threading.current_thread() is self._thread

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            self._call.fail(error)
        finally:
            self._call.outbox.put(None)

    def _serve(self) -> None:
        self._environ["wsgi.input"] = io.BufferedReader(RequestInput(self._receive))
        self._environ.update(self._call.reports())
        iterable = self._app(self._environ, self._start_response)
        if not isinstance(iterable, Iterable):
            raise ProtocolViolation(
                f"{self._call.label}: the application returned {iterable!r}, which is not iterable"
            )
        try:
            for data in iterable:
                self._write(data)
            self._send(b"")
        finally:
            close = getattr(iterable, "close", None)
            if close is not None:
                close()

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        label = self._call.label
        if exc_info is not None:
            # PEP 3333: the response can't be replaced once a part of it has been sent.
            if self._head_sent and exc_info[1] is not None:
                raise exc_info[1].with_traceback(exc_info[2])
        elif self._head is not None:
            raise ProtocolViolation(f"{label}: start_response was called twice without exc_info")
        code, _, reason = status.partition(" ")
        if len(code) != 3 or not code.isdigit():
            raise ProtocolViolation(
                f"{label}: a status must begin with three digits, such as '200 OK', not {status!r}"
            )
        try:
            pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
            self._head = {
                "type": START,
                "status": int(code),
                "headers": pairs,
                "reason": reason.encode("latin-1"),
            }
        except (AttributeError, UnicodeEncodeError) as error:
            raise ProtocolViolation(
                f"{label}: status and headers must be latin-1 text: {error}"
            ) from error
        return self._write

    def _write(self, data: bytes) -> None:
        """Send a chunk that the application has yielded, or passed to PEP 3333's ``write``.

        An empty chunk is skipped, because the response starts with the first chunk that isn't
        empty.
        """
        if not isinstance(data, bytes):
            raise ProtocolViolation(f"{self._call.label}: the body must be bytes, not {data!r}")
        if data:
            self._send(data)

    def _send(self, data: bytes) -> None:
        """Send a chunk. Before the first chunk, send the status and the headers. An empty chunk
        ends the body.
        """
        if self._head is None:
            raise ProtocolViolation(
                f"{self._call.label}: the application did not call start_response before its body"
            )
        if not self._head_sent:
            self._head_sent = True
            self._call.sending(self._head)
        chunk = {"type": BODY, "body": data, "more_body": bool(data)}
        self._until(self._call.sending(chunk), "its yield or write()")

    def _receive(self) -> Message:
        message = self._until(self._call.next_message, "wsgi.input")
        self._call.check_connected()
        return message

    def _until(self, look: Callable[[], T | None], where: str) -> T:
        """Wait until ``look`` returns something true, and return that."""
        with self._call.waiting(where), self._changed:
            return cast(T, self._changed.wait_for(look))


class WSGITransport(AppTransport):
    """Handles httpx2's requests by calling a WSGI application.

    When it is closed, it calls the application's ``wsgi_shutdown``, if there is one.

    WSGI has no lifespan: an application starts with its first request and ends with its process.
    The test process continues after the test, so the transport calls ``wsgi_shutdown``, which
    otherwise runs when a worker process exits.
    """

    def __init__(self, app: WSGIApp, settings: ClientSettings) -> None:
        super().__init__(app, settings)
        if end := getattr(app, "wsgi_shutdown", None):
            self.ends.callback(end)

    def runner(self, app: WSGIApp, request: httpx.Request) -> AppThread:
        return AppThread(app, request_environ(request, self.settings))
