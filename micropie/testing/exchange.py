"""One call of the application, seen from the test, with the request and the answer that ASGI and WSGI share.

The application runs in another thread, so that the test can stop waiting for it: under ASGI in the event loop's
thread, under WSGI in a new one. Its actions arrive in the test as events of a queue. The application continues only
when the test has taken the event, so a test sees a stream as it is produced, and at most one chunk is made ahead of
it. When the application asks for more of the request's body, the chunk is pulled in the test's thread: a generator of
the test runs in the test's own thread, and no third thread can be left behind.

httpx normalises URLs (``/../y`` becomes ``/y``, ``//x`` names a host). The extension
``extensions={"target": b"/../y?a=%ff"}``, which httpcore also supports, gives the exact bytes of a target.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from enum import Enum, auto
from typing import Any, Generic, NamedTuple, TypeVar, cast

import httpx

from micropie.testing.errors import AppTimeout, ProtocolViolation, is_only_disconnect

E = TypeVar("E")

# Seconds that a cancelled application may take to end. Where cancellation works, it is prompt.
CANCEL_GRACE = 1.0
APP = "micropie.app"  # httpx's extension that names the application of one request, where it is another one


class Signal(Enum):
    """An event that carries no data."""

    WANTS_BODY = auto()
    ENDED = auto()


class Settings(NamedTuple):
    """The settings of the client that every call needs."""

    root_path: str
    client: tuple[str, int] | None
    raise_app_exceptions: bool
    app_timeout: float


class Head(NamedTuple):
    """The status and headers of an answer. ``reason`` is only for WSGI."""

    status: int
    headers: list[tuple[bytes, bytes]]
    reason: bytes | None = None


class Chunk(NamedTuple):
    """A part of an answer's body."""

    data: bytes
    is_last: bool


class Call(ABC, Generic[E]):
    """One call of the application, running in another thread."""

    def __init__(self, label: str, settings: Settings) -> None:
        self.label = label
        self.settings = settings
        self.events: queue.SimpleQueue[E | Signal] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.waits_in = ""
        self.ended = False  # the test has seen the end, or no longer waits for it
        self._error_is_known = False

    @abstractmethod
    def start(self) -> None:
        """Start the application. Called once, when everything else is ready."""

    @abstractmethod
    def taken(self) -> None:
        """Let the application continue: the test has taken its last event."""

    @abstractmethod
    def hang_up(self) -> None:
        """Disconnect the client: reading then gives a disconnect or an end, writing an error."""

    @abstractmethod
    def cancel(self) -> None:
        """Stop the application, if the protocol has a way to do that."""

    @property
    def app_error(self) -> BaseException | None:
        """The application's own error; None if there is none, or if it only says that the client has left."""
        return None if self.error is None or is_only_disconnect(self.error) else self.error

    def raise_app_error(self) -> None:
        """Raise the application's own error in the test, only once: the test may expect it."""
        if self.app_error is not None and self.settings.raise_app_exceptions and not self._error_is_known:
            self._error_is_known = True
            raise self.app_error

    def next_event(self, what: str, timeout: float | None = None) -> E | Signal:
        """Return the application's next event. Raises ``AppTimeout`` after ``timeout`` seconds."""
        timeout = self.settings.app_timeout if timeout is None else timeout
        try:
            event = self.events.get(timeout=timeout)
        except queue.Empty:
            where = f"it waits in {self.waits_in}" if self.waits_in else "it does not wait for the client"
            message = f"{self.label}: the application did not {what} within {timeout:g} s ({where})"
            raise AppTimeout(message) from None
        self.ended = self.ended or event is Signal.ENDED
        return event

    def feed_next(self) -> None:
        """Pass on more of the request's body, if there is one: the application waits for it."""

    def next(self, what: str, timeout: float | None = None) -> E | None:
        """Return the application's next event, or None when it has ended. Raises its error."""
        while (event := self.next_event(what, timeout)) is Signal.WANTS_BODY:
            self.feed_next()
        if isinstance(event, Signal):
            self.raise_app_error()
            return None
        self.taken()
        return event

    def hang_up_and_wait(self) -> None:
        """Disconnect, and wait until the application ends. Cancel it and raise ``AppTimeout`` if it doesn't."""
        self.hang_up()
        try:
            self._drain(self.settings.app_timeout)
        except AppTimeout:
            self.cancel_and_wait()
            raise

    def finish(self) -> None:
        """Disconnect, wait until the application ends, and raise its error."""
        self.hang_up_and_wait()
        self.raise_app_error()

    def abandon(self, error: BaseException) -> None:
        """Leave because of ``error``, which is on its way to the test and must not be replaced."""
        if not isinstance(error, Exception) or isinstance(error, AppTimeout):
            self.hang_up()
            self.cancel_and_wait()  # the wait is over already, or the tests are to stop
        with suppress(AppTimeout):
            self.hang_up_and_wait()
        if self.app_error is not None and not self._error_is_known:
            error.add_note(f"{self.label}: the application raised {self.app_error!r}")

    def cancel_and_wait(self) -> None:
        """Cancel the application and wait for its end, for one second at most."""
        self.cancel()
        # An application that has not ended then blocks its thread: the code that joins the thread reports that.
        with suppress(AppTimeout):
            self._drain(min(self.settings.app_timeout, CANCEL_GRACE))
        self.ended = True

    def _drain(self, timeout: float) -> None:
        while not self.ended:
            self.next_event("end after the client was done with it", timeout)


DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def request_target(request: httpx.Request) -> bytes:
    """Return the request target: the part of a request's first line between the method and the version."""
    raw = request.extensions.get("target", request.url.raw_path)
    return raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)


def server_address(url: httpx.URL) -> tuple[str, int]:
    return url.host, url.port or DEFAULT_PORTS.get(url.scheme, 80)


class RequestBody:
    """The body as a server would read it: in chunks, never past the Content-Length.

    A fixed body (bytes, form, JSON) is ``whole``. Any other body (an iterator, an upload) is pulled chunk by chunk, in
    the test's thread, when the application asks for more.
    """

    def __init__(self, request: httpx.Request) -> None:
        declared = request.headers.get("content-length", "")
        # None also for a malformed length, which the application has to refuse.
        self._remaining = int(declared) if declared.isascii() and declared.isdigit() else None
        self.is_chunked = self._remaining is None and "transfer-encoding" in request.headers
        self._chunks = iter(cast(httpx.SyncByteStream, request.stream))  # httpx.Client refuses asynchronous streams
        self.fell_short = False  # known after the last chunk
        self.whole: bytes | None = None
        if isinstance(request.stream, httpx.ByteStream):
            content = b"".join(request.stream)
            self.whole = content if self._remaining in (None, len(content)) else None

    def next_chunk(self) -> bytes | None:
        """Return the next chunk, ``b""`` after the last one, None if the body was shorter than its Content-Length.

        Empty chunks are skipped: HTTP can't send them.
        """
        for chunk in self._chunks:
            taken = chunk[: self._remaining]
            if self._remaining is not None:
                self._remaining -= len(taken)
            if taken:
                return taken
        self.fell_short = bool(self._remaining)
        return None if self.fell_short else b""


class HttpCall(Call[Head | Chunk], httpx.SyncByteStream):
    """A call that answers an HTTP request. It is also the answer's body, read on demand."""

    def __init__(self, request: httpx.Request, settings: Settings) -> None:
        super().__init__(f"{request.method} {request.url.path}", settings)
        self.body = RequestBody(request)
        self._is_head = request.method == "HEAD"
        self._expected: int | None = None
        self._open: set[HttpCall] = set()  # those of the transport: this one is in it until it is closed

    @abstractmethod
    def feed(self, chunk: bytes | None) -> None:
        """Pass on a chunk of the request's body, ``b""`` at its end, None if it ends before its Content-Length."""

    def response(self, open_calls: set[HttpCall]) -> httpx.Response:
        """Start the application. Return its answer when the head arrives."""
        self._open = open_calls
        self._open.add(self)
        self.start()
        try:
            head = self._receive_head()
            self._expected = self._declared_length(head)
        except BaseException as error:
            self._discard(error)
            raise
        reason = {} if head.reason is None else {"reason_phrase": head.reason}
        extensions = {"http_version": b"HTTP/1.1", **reason}
        return httpx.Response(head.status, headers=head.headers, stream=self, extensions=extensions)

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        is_last = False
        while not is_last:
            data, is_last = self._next_chunk()
            received += len(data)
            if data:
                yield data
        self.close()
        if self._expected is not None and received != self._expected:
            raise self._broken(f"received {received} bytes of a body of {self._expected} (its Content-Length)")

    def close(self) -> None:
        """Disconnect, and wait for the application's end. Raises its error, and ``AppTimeout``."""
        if self in self._open:
            self._open.discard(self)
            self.finish()

    def _discard(self, error: BaseException) -> None:
        self._open.discard(self)
        self.abandon(error)

    def feed_next(self) -> None:
        self.feed(self.body.next_chunk())

    def _receive_head(self) -> Head:
        event = self.next("answer")
        if isinstance(event, Head):
            return event
        if self.body.fell_short:
            raise self._broken("no answer to a request whose body was shorter than its Content-Length")
        if self.settings.raise_app_exceptions:
            raise ProtocolViolation(f"{self.label}: the application ended without answering")
        self.events.put(Chunk(b"Internal Server Error", is_last=True))
        return Head(500, [(b"content-type", b"text/plain; charset=utf-8")])

    def _next_chunk(self) -> Chunk:
        try:
            event = self.next("answer")
            if isinstance(event, Chunk):
                return event
            raise self._broken("the application ended before its answer was complete")
        except BaseException as error:
            self._discard(error)
            raise

    def _declared_length(self, head: Head) -> int | None:
        """Return how many bytes must follow; None if unknown, or if the head describes another answer (HEAD, 304)."""
        values = {value for name, value in head.headers if name.lower() == b"content-length"}
        if not values or self._is_head or head.status == 304:
            return None
        value = values.pop()
        if values or not value.isdigit():
            raise self._broken(f"the answer's Content-Length makes no sense: {b', '.join([value, *values])!r}")
        return int(value)

    def _broken(self, what: str) -> httpx.RemoteProtocolError:
        """Make the error that a client on a real connection would get: it ended in the middle of the answer."""
        return httpx.RemoteProtocolError(f"{self.label}: {what}")


class AppTransport(httpx.BaseTransport, ABC):
    """Answer httpx's requests from an application, and keep track of open answers."""

    def __init__(self, app: Callable[..., Any], settings: Settings) -> None:
        self.app = app
        self.settings = settings
        self.overrides = ExitStack()  # undone when the client is closed
        self._open: set[HttpCall] = set()

    @abstractmethod
    def call(self, app: Callable[..., Any], request: httpx.Request) -> HttpCall:
        """Return a call of an application that answers the request."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self.call(request.extensions.get(APP, self.app), request).response(self._open)

    def startup(self) -> None:
        """Start the application up, if the protocol has a way to do that."""

    @abstractmethod
    def shutdown(self) -> None:
        """Shut the application down, and release the transport's own resources."""

    def close(self) -> None:
        """Close the open answers, then shut down. Each step runs even if another fails."""
        with ExitStack() as stack:
            stack.callback(self.overrides.close)
            stack.callback(self.shutdown)
            for call in list(self._open):
                stack.callback(call.close)
