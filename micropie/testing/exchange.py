"""One request and its answer, seen from the test: the same for ASGI and WSGI.

The application runs in another thread (``Call``), so that the test can stop waiting for it: under ASGI in the event
loop's thread, under WSGI in a new one. Its actions arrive here as events. The application continues only when the
test has taken the event, so a test sees a stream as it is produced, and at most one chunk is made ahead of it. When
the application asks for more of the request's body, the chunk is pulled here, in the test's thread: a generator of
the test runs in the test's own thread, and no third thread can be left behind.
"""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Generic, TypeVar

import httpx

from micropie.testing.errors import AppTimeout, ProtocolViolation, is_only_disconnect
from micropie.testing.wire import RequestBody

E = TypeVar("E")

# Seconds that a cancelled application may take to end. Where cancellation works, it is prompt.
CANCEL_GRACE = 1.0
APP = "micropie.app"  # httpx's extension that names the application of one request, where it is another one
PLAIN_500 = b"Internal Server Error"


class Signal(Enum):
    """An event that carries no data."""

    WANTS_BODY = auto()
    ENDED = auto()


@dataclass(frozen=True)
class Settings:
    """The settings of the client that every request needs."""

    root_path: str
    client: tuple[str, int] | None
    raise_app_exceptions: bool
    app_timeout: float


@dataclass(frozen=True)
class Head:
    """The status and headers of an answer. ``reason`` is only for WSGI."""

    status: int
    headers: list[tuple[bytes, bytes]]
    reason: bytes | None = None


@dataclass(frozen=True)
class Chunk:
    """A part of an answer's body."""

    data: bytes
    is_last: bool


class Call(ABC, Generic[E]):
    """One call of the application, running in another thread."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.events: queue.SimpleQueue[E | Signal] = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.waits_in = ""
        self.ended = False  # the test has seen the end, or no longer waits for it

    @property
    def app_error(self) -> BaseException | None:
        """The application's own error; None if there is none, or if it only says that the client has left."""
        return None if self.error is None or is_only_disconnect(self.error) else self.error

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

    def next_event(self, timeout: float, what: str) -> E | Signal:
        """Return the application's next event. Raises ``AppTimeout`` after ``timeout`` seconds."""
        try:
            event = self.events.get(timeout=timeout)
        except queue.Empty:
            where = f"it waits in {self.waits_in}" if self.waits_in else "it does not wait for the client"
            message = f"{self.label}: the application did not {what} within {timeout:g} s ({where})"
            raise AppTimeout(message) from None
        self.ended = self.ended or event is Signal.ENDED
        return event

    def wait_for_end(self, timeout: float) -> None:
        """Wait until the application ends. Cancel it and raise ``AppTimeout`` if it doesn't."""
        try:
            self._drain(timeout)
        except AppTimeout:
            self.cancel_and_wait(timeout)
            raise

    def abandon(self, error: BaseException, timeout: float) -> None:
        """Leave because of ``error``, which is on its way to the test and must not be replaced."""
        if self.ended:
            return
        self.hang_up()
        if isinstance(error, AppTimeout) or not isinstance(error, Exception):
            self.cancel_and_wait(timeout)  # the wait is over already, or the tests are to stop
        else:
            with suppress(AppTimeout):
                self.wait_for_end(timeout)

    def cancel_and_wait(self, timeout: float) -> None:
        """Cancel the application and wait for its end, for one second at most."""
        self.cancel()
        # An application that has not ended then blocks its thread: the code that joins the thread reports that.
        with suppress(AppTimeout):
            self._drain(min(timeout, CANCEL_GRACE))
        self.ended = True

    def _drain(self, timeout: float) -> None:
        while not self.ended:
            self.next_event(timeout, "end after the client was done with it")


class HttpCall(Call["Head | Chunk"]):
    """A call that answers an HTTP request."""

    @abstractmethod
    def feed(self, chunk: bytes) -> None:
        """Pass on a chunk of the request's body, ``b""`` at its end."""

    @abstractmethod
    def break_off(self) -> None:
        """End the request's body before its Content-Length."""


class Exchange(httpx.SyncByteStream):
    """An answer: waits for its head, then serves as the body of httpx's response."""

    def __init__(
        self, call: HttpCall, body: RequestBody, method: str, settings: Settings, open_answers: set[Exchange]
    ) -> None:
        self._call = call
        self._body = body
        self._method = method
        self._timeout = settings.app_timeout
        self._raises = settings.raise_app_exceptions
        self._open = open_answers  # those of the transport: this one is in it until it is closed
        self._broke_off = False
        self._expected: int | None = None

    def response(self) -> httpx.Response:
        """Start the application. Return its answer when the head arrives; the body is this object, read on demand."""
        self._open.add(self)
        self._call.start()
        try:
            head = self._head()
            self._expected = self._declared_length(head)
        except BaseException as error:
            self._discard(error)
            raise
        reason = {} if head.reason is None else {"reason_phrase": head.reason}
        extensions = {"http_version": b"HTTP/1.1", **reason}
        return httpx.Response(head.status, headers=head.headers, stream=self, extensions=extensions)

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        chunk = Chunk(b"", is_last=False)
        while not chunk.is_last:
            chunk = self._next_chunk()
            received += len(chunk.data)
            if chunk.data:
                yield chunk.data
        self.close()
        if self._expected is not None and received != self._expected:
            raise self._broken(f"received {received} bytes of a body of {self._expected} (its Content-Length)")

    def close(self) -> None:
        """Disconnect, and wait for the application's end. Raises its error, and ``AppTimeout``."""
        if self not in self._open:
            return
        self._open.discard(self)
        self._call.hang_up()
        self._call.wait_for_end(self._timeout)
        if self._call.app_error is not None and self._raises:
            raise self._call.app_error

    def _discard(self, error: BaseException) -> None:
        self._open.discard(self)
        self._call.abandon(error, self._timeout)

    def _next(self) -> Head | Chunk | None:
        """Return the next part of the answer, or None when the application has ended. Raises its error."""
        while True:
            event = self._call.next_event(self._timeout, "answer")
            if event is Signal.WANTS_BODY:
                chunk = self._body.next_chunk()
                if chunk or not self._body.fell_short:
                    self._call.feed(chunk)
                else:
                    self._broke_off = True
                    self._call.break_off()
            elif event is Signal.ENDED:
                if self._call.error is not None and self._raises:
                    raise self._call.error
                return None
            else:
                self._call.taken()
                return event

    def _head(self) -> Head:
        event = self._next()
        if isinstance(event, Head):
            return event
        if self._broke_off:
            raise self._broken("no answer to a request whose body was shorter than its Content-Length")
        if self._raises:
            raise ProtocolViolation(f"{self._call.label}: the application ended without answering")
        self._call.events.put(Chunk(PLAIN_500, is_last=True))
        return Head(500, [(b"content-type", b"text/plain; charset=utf-8")])

    def _next_chunk(self) -> Chunk:
        try:
            event = self._next()
            if isinstance(event, Chunk):
                return event
            raise self._broken("the application ended before its answer was complete")
        except BaseException as error:
            self._discard(error)
            raise

    def _declared_length(self, head: Head) -> int | None:
        """Return how many bytes must follow; None if unknown, or if the head describes another answer (HEAD, 304)."""
        values = [value for name, value in head.headers if name.lower() == b"content-length"]
        if not values or self._method == "HEAD" or head.status == 304:
            return None
        if len(set(values)) > 1 or not values[0].isdigit():
            raise self._broken(f"the answer's Content-Length makes no sense: {b', '.join(values)!r}")
        return int(values[0])

    def _broken(self, what: str) -> httpx.RemoteProtocolError:
        """Make the error that a client on a real connection would get: it ended in the middle of the answer."""
        return httpx.RemoteProtocolError(f"{self._call.label}: {what}")


class AppTransport(httpx.BaseTransport):
    """Answer httpx's requests from an application, and keep track of open answers."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.overrides = ExitStack()  # undone when the client is closed
        self._open: set[Exchange] = set()

    def answer(self, call: HttpCall, body: RequestBody, request: httpx.Request) -> httpx.Response:
        return Exchange(call, body, request.method, self.settings, self._open).response()

    def startup(self) -> None:
        """Start the application up, if the protocol has a way to do that."""

    def shutdown(self) -> None:
        """Shut the application down, if it was started up."""

    def end(self) -> None:
        """Release the transport's own resources."""

    def close(self) -> None:
        """Close the open answers, shut down, end. Each step runs even if another fails."""
        with ExitStack() as stack:
            stack.callback(self.overrides.close)
            stack.callback(self.end)
            stack.callback(self.shutdown)
            for exchange in list(self._open):
                stack.callback(exchange.close)
