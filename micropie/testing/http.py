"""The transport for httpx2 that both protocols share: it sends HTTP requests to the application and
returns the responses.

httpx2 normalises URLs (``/../y`` becomes ``/y``, ``//x`` names a host). The extension
``extensions={"target": b"/../y?a=%ff"}``, which httpcore also supports, sets the exact bytes of a
target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Self, cast

from micropie.testing.call import ClientCall, ClientSettings, Message, Runner, checked_headers
from micropie.testing.errors import ProtocolViolation
from micropie.testing.library import httpx

# The key of a request extension that contains an application. This application is called instead of
# the transport's own.
APP = "micropie.app"

START, BODY = "http.response.start", "http.response.body"
DISCONNECT: Message = {"type": "http.disconnect"}
SERVER_ERROR: Message = {
    "type": START,
    "status": 500,
    "headers": [(b"content-type", b"text/plain; charset=utf-8")],
}


def request_target(request: httpx.Request) -> bytes:
    """Return the request target: the part of a request's first line between the method and the
    version.
    """
    raw = request.extensions.get("target", request.url.raw_path)
    return raw.encode("latin-1") if isinstance(raw, str) else bytes(raw)


def server_address(url: httpx.URL) -> tuple[str, int]:
    return url.host, url.port or (443 if url.scheme in ("https", "wss") else 80)


def body_messages(request: httpx.Request) -> Iterator[Message]:
    """Yield the messages of a request's body as a server would: never beyond the Content-Length,
    and with an early end if the body is shorter.

    A fixed body (bytes, form, JSON) is one message. Any other body (an iterator, an upload) is read
    chunk by chunk. Empty chunks are skipped, because HTTP can't send them.
    """
    declared = request.headers.get("content-length", "")
    # None without a Content-Length, and for a malformed one, which the application must reject.
    rest = int(declared) if declared.isascii() and declared.isdigit() else None
    whole = b"".join(request.stream) if isinstance(request.stream, httpx.ByteStream) else None
    if whole is not None and rest in (None, len(whole)):
        yield {"type": "http.request", "body": whole, "more_body": False}
    else:
        # ``httpx.Client`` accepts no asynchronous streams.
        for chunk in cast(httpx.SyncByteStream, request.stream):
            taken = chunk[:rest]
            rest = None if rest is None else rest - len(taken)
            if taken:
                yield {"type": "http.request", "body": taken, "more_body": True}
        yield DISCONNECT if rest else {"type": "http.request", "body": b"", "more_body": False}


class HttpCall(ClientCall, httpx.SyncByteStream):
    """The call for an HTTP request. It is also the body of the response, read on demand."""

    disconnect = DISCONNECT
    # The type of the message that the application must send next; None after the last one.
    _expects: str | None = START
    _length: int | None = None  # the Content-Length of the response

    def __init__(
        self,
        runner: Runner,
        request: httpx.Request,
        settings: ClientSettings,
        open_calls: set[HttpCall],
    ) -> None:
        super().__init__(runner, f"{request.method} {request.url.path}", settings)
        self._is_head = request.method == "HEAD"
        self.body = body_messages(request)
        self._open = open_calls  # all open calls of the transport, including this one
        if isinstance(request.stream, httpx.ByteStream):
            self.feed()
        else:
            self.may_ask = True

    def checked(self, message: Message) -> Message:
        kind = message["type"]
        if kind != self._expects:
            expected = (
                f"{self._expects!r} has to come next"
                if self._expects
                else "its response is complete"
            )
            raise ProtocolViolation(f"{self.label}: the application sent {kind!r}, but {expected}")
        if kind == START:
            if not isinstance(message.get("status"), int):
                raise ProtocolViolation(
                    f"{self.label}: a status must be an int, not {message.get('status')!r}"
                )
            self._expects = BODY
            return {**message, "headers": checked_headers(message)}
        data = message.get("body", b"")
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ProtocolViolation(f"{self.label}: a body must be bytes, not {data!r}")
        more = bool(message.get("more_body"))
        self._expects = BODY if more else None
        return {"type": kind, "body": bytes(data), "more_body": more}

    def next_message(self) -> Message | None:
        if self.hung_up:
            self.inbox.clear()  # like uvicorn, drop the part of the body that was not read
        return super().next_message()

    def response(self) -> httpx.Response:
        """Start the application, and return its response when the status and headers arrive."""
        self._open.add(self)
        self.start()
        try:
            head = self._head()
            self._length = self._declared_length(head)
        except BaseException as error:
            self.leave(error)
            raise
        extensions = {"http_version": b"HTTP/1.1"}
        if "reason" in head:  # under WSGI only
            extensions["reason_phrase"] = head["reason"]
        return httpx.Response(
            head["status"], headers=head["headers"], stream=self, extensions=extensions
        )

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        more = True
        while more:
            try:
                message = self.next("answer")
                if message is None:
                    raise self._broken("the application ended before its response was complete")
            except BaseException as error:
                self.leave(error)
                raise
            more = message["more_body"]
            received += len(message["body"])
            if message["body"]:
                yield message["body"]
        self.close()
        if self._length not in (None, received):
            raise self._broken(
                f"the body has {received} bytes, but its Content-Length is {self._length}"
            )

    def close(self) -> None:
        """Disconnect, and wait until the application has ended. Raises the application's error, or
        ``AppTimeout``.
        """
        if self in self._open:
            self.finish()

    def leave(self, error: BaseException | None = None) -> None:
        self._open.discard(self)
        super().leave(error)

    def _head(self) -> Message:
        head = self.next("answer")
        if head is not None:
            return head
        if self.last_message is not None:
            raise self._broken(
                "the request's body is shorter than its Content-Length, and the application sent "
                "no response"
            )
        if self.settings.raise_app_exceptions:
            raise ProtocolViolation(f"{self.label}: the application ended without a response")
        self.outbox.put({"type": BODY, "body": b"Internal Server Error", "more_body": False})
        return SERVER_ERROR

    def _declared_length(self, head: Message) -> int | None:
        """Return the number of bytes that the body must have, or None if it is unknown, or if the
        Content-Length describes another response (HEAD, 304).
        """
        values = {value for name, value in head["headers"] if name.lower() == b"content-length"}
        if not values or self._is_head or head["status"] == 304:
            return None
        value = values.pop()
        if values or not value.isdigit():
            raise self._broken(
                f"the response's Content-Length is invalid: {b', '.join([value, *values])!r}"
            )
        return int(value)

    def _broken(self, what: str) -> httpx.RemoteProtocolError:
        """Return the error that a client gets when a real connection is closed in the middle of a
        response.
        """
        return httpx.RemoteProtocolError(f"{self.label}: {what}")


class AppTransport(httpx.BaseTransport, ABC):
    """Passes httpx2's requests to an application, and keeps track of open responses."""

    def __init__(self, app: Callable[..., Any], settings: ClientSettings) -> None:
        self.app = app
        self.settings = settings
        # All overrides are undone when the client is closed.
        self.overrides = ExitStack()
        # Ends what this transport has started. Closing a stack empties it, so a client may be
        # closed twice, by ``close`` and by ``with``.
        self.ends = ExitStack()
        self._open: set[HttpCall] = set()

    @abstractmethod
    def runner(self, app: Callable[..., Any], request: httpx.Request) -> Runner:
        """Return a runner that calls ``app`` for a request."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        runner = self.runner(request.extensions.get(APP, self.app), request)
        return HttpCall(runner, request, self.settings, self._open).response()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.push(self)
            if self.settings.lifespan:
                self.startup()
            stack.pop_all()  # the startup has succeeded, so don't run the clean-up
        return self

    def __exit__(
        self, kind: object = None, error: BaseException | None = None, traceback: object = None
    ) -> None:
        try:
            self.close()
        except Exception as failure:
            if error is None:
                raise
            # Don't hide the test's own error.
            error.add_note(f"closing the test client failed too: {failure!r}")

    def startup(self) -> None:
        """Run the application's startup, if the protocol has one."""

    def close(self) -> None:
        """Close the open responses, then shut down. Each step runs even if another one fails."""
        with ExitStack() as stack:
            stack.callback(self._raise_late)
            stack.callback(self.overrides.close)
            stack.callback(self.ends.close)
            for call in list(self._open):
                stack.callback(call.close)

    def _raise_late(self) -> None:
        """Raise the first error of a function that ran after a response."""
        for error in self.settings.late[:1]:
            self.settings.late.clear()
            raise error
