"""The exchange of a request under WSGI: it reads the environ and the body
(https://peps.python.org/pep-3333/).

Strings in an environ are bytes decoded as latin-1, so ``/%C3%A9`` arrives as ``"/Ã©"``. The server
unescapes the path. So an escaped slash can be recognised only if the server also passes the raw
target (``RAW_URI`` of gunicorn, ``REQUEST_URI`` of uWSGI and waitress).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from threading import Lock
from urllib.parse import quote_from_bytes

import anyio

from micropie._core.errors import ClientDisconnect, HTTPError, logger
from micropie._core.execution import Action, in_thread, slots_of
from micropie._core.execution.lane import Lane, block_lane_of
from micropie._core.execution.placement import Threads
from micropie._core.execution.steps import (
    CALL,
    Flow,
    Step,
    hold_shutdown,
    start_tasks,
)
from micropie._core.http import Address, AnswerState, Exchange, ReceivedBody
from micropie._core.http.addresses import (
    escaped_path,
    raw_path_below,
    server_address,
    unescaped,
)
from micropie._core.http.headers import HeaderNames, NameTable
from micropie._core.http.protocols import Environ, Piece, RawPairs, Scope, ServerMessage
from micropie._core.on_demand import Value, computed, pattern
from micropie._core.routing import Config
from micropie.wsgi.steps import perform, perform_in_task, perform_step

_ABSOLUTE = pattern(rb"https?://[^/]*", re.IGNORECASE)

# The headers whose keys in an environ have no prefix ``HTTP_`` (PEP 3333). Some servers also pass
# them under keys with the prefix (``_BODY_KEYS``). These keys are ignored.
_UNPREFIXED = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}
_KEYS: NameTable[str, str] = NameTable(
    lambda name: _UNPREFIXED.get(name) or f"HTTP_{name.upper().replace('-', '_')}"
)
_BODY_KEYS = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})

PIECE = 64 * 1024  # bytes per read; most servers have a buffer of this size

# Async code reads bodies in these. Files have others, so they need not wait for slow clients.
_READING_THREADS = Threads(40)


class WSGIExchange(Exchange):
    """The exchange of a request under WSGI. ``environ`` is the server's object, not a copy."""

    config: Config
    environ: Environ
    # Bytes of the body that haven't been read yet; None before the first read.
    _left: int | None = None
    _reading: Lock | None = None  # held by a thread, not the server's, that reads the body
    _is_unreadable = False  # whether such a thread must not read, because the request has ended
    _is_passed_on = False  # whether a mounted application has got the whole body

    def __init__(self, environ: Environ) -> None:
        self.environ = self.outside = environ
        self.answer = AnswerState()
        self.body = ReceivedBody()
        self.method = environ["REQUEST_METHOD"]
        self.path = path = environ.get("PATH_INFO") or "/"
        if path.isascii():
            target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
            if not target or ("%" not in target and target[0] == "/"):
                self.literal_path = path
        else:
            self.path = path.encode("latin-1").decode("utf-8", "replace")

    def end_lane(self) -> None:
        """End the task of the async parts, if there is one."""
        lane, self.lane = self.lane, None
        if lane is not None:
            lane.end()

    def close(self) -> None:
        """See ``Exchange.close``. Also start the functions passed to ``after_response``."""
        was_answered = self.answer.is_over
        super().close()
        if self.lane is not None:
            self.end_lane()
        if self.left_calls:
            self._end_reading()
        if self.ends is not None and not was_answered:  # ``after_response`` was called
            settings = self.config.settings
            start_tasks(self, self.ends, settings.background_timeout, settings.portal_backend)

    def note_outlasting(self) -> Action:
        return hold_shutdown()

    @property
    def has_short_body(self) -> bool:
        # This includes a body that the client sends only after "100 Continue".
        return 0 < (self.framing[2] or 0) <= PIECE

    @property
    def sends_files(self) -> bool:  # type: ignore[override]
        return "wsgi.file_wrapper" in self.environ

    @property
    def has_several_workers(self) -> bool:  # type: ignore[override]
        return bool(self.environ.get("wsgi.multiprocess"))

    @property
    def scheme(self) -> str:
        return self.peer.scheme or self.environ["wsgi.url_scheme"]

    @property
    def root_path(self) -> str:  # type: ignore[override]
        name = self.environ.get("SCRIPT_NAME")
        return str(name).encode("latin-1").decode("utf-8", "replace").rstrip("/") if name else ""

    def server_client(self) -> Address | None:
        host = self.environ.get("REMOTE_ADDR")
        # CGI has no port. For a UNIX socket, waitress passes "None".
        port = str(self.environ.get("REMOTE_PORT", ""))
        return Address(host, int(port) if port.isdecimal() else 0) if host else None

    @computed
    def scope(self) -> Scope:
        """An ASGI scope that is made from the environ, for helpers and middleware that read a
        scope.
        """
        environ, root_path = self.environ, self.root_path
        root = environ.get("SCRIPT_NAME", "").encode("latin-1")
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
            "method": self.method,
            "scheme": self.scheme,
            "path": root_path
            + (environ.get("PATH_INFO") or "/").encode("latin-1").decode("utf-8", "replace"),
            "raw_path": quote_from_bytes(root).encode() + self._server_path(),
            "query_string": self.query_string.encode("latin-1"),
            "root_path": root_path,
            "headers": self.raw_headers(),
            "client": self.client,
            "server": server_address((environ.get("SERVER_NAME"), environ.get("SERVER_PORT"))),
            "extensions": {},
        }

    @property
    def is_at_prefix(self) -> bool:
        return not self.environ.get("PATH_INFO") and bool(self.environ.get("SCRIPT_NAME"))

    def _server_path(self) -> bytes:
        path = (self.environ.get("PATH_INFO") or "/").encode("latin-1")
        mount = self.environ.get("SCRIPT_NAME", "").encode("latin-1")
        raw = self._target()
        # If the request's target is not a path, for example "*" or "x/y", return the target,
        # because servers turn it into a path in PATH_INFO.
        if raw is not None and not raw.startswith(b"/"):
            return raw
        # Use the raw path only if it means the same path as PATH_INFO, because middleware or a
        # mount may have changed PATH_INFO.
        if raw is not None and unescaped(raw) == mount + path:
            return raw_path_below(mount, raw)
        return escaped_path(path)

    def _target(self) -> bytes | None:
        """Return the escaped path of the request's target, or None if the server doesn't pass the
        target.

        In an absolute target, the path comes after the host (RFC 9112, section 3.2).
        """
        target = self.environ.get("RAW_URI") or self.environ.get("REQUEST_URI")
        if not target:
            return None
        raw = target.encode("latin-1", "replace").partition(b"?")[0].partition(b"#")[0]
        absolute = _ABSOLUTE.match(raw)
        return raw if absolute is None else raw[absolute.end() :] or b"/"

    def raw_headers(self) -> RawPairs:
        environ = self.environ
        pairs = [
            (key[5:].replace("_", "-").lower(), value)
            for key, value in environ.items()
            if key.startswith("HTTP_") and key not in _BODY_KEYS
        ]
        # Format the values, because some servers pass the length as an int, although PEP 3333
        # requires a string.
        pairs += [
            (name, f"{environ[key]}") for name, key in _UNPREFIXED.items() if environ.get(key)
        ]
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]

    def header(self, name: str) -> str | None:
        return self.environ.get(_KEYS[name]) or None

    def named_headers(self, names: HeaderNames) -> dict[str, str]:
        environ = self.environ
        return {name: environ[key] for key, name in names.by_key.items() if environ.get(key)}

    def body_headers(self) -> tuple[str, str | None]:
        length = self.environ.get("CONTENT_LENGTH")
        if "HTTP_TRANSFER_ENCODING" in self.environ and self.environ.get("wsgi.input_terminated"):
            length = None  # the length of a chunked body is ignored: RFC 9112, section 6.3
        if type(length) is int:  # some servers pass an int, although PEP 3333 requires a string
            length = str(length)
        return self.environ.get("CONTENT_TYPE", ""), length or None

    @property
    def query_string(self) -> str:  # type: ignore[override]
        return self.environ.get("QUERY_STRING", "")  # type: ignore[no-any-return]

    # -- the body ----------------------------------------------------------------------------------

    def receive_piece(self, size: int = PIECE) -> Piece:
        """Return the next piece of the body, and whether more may follow. This never reads beyond
        the end of the body, because that would block.

        ``size``: how many bytes to read if the length is known; at least ``PIECE``. Raises
        ``ClientDisconnect`` if the body ends too early, a 408 if the client stops sending, and a
        411 if the body's end is unknown.
        """
        if self.body.put_back is not None:
            return self.body.take_piece()
        left = self._left
        if left is None:
            left = self.framing[2]
            if left is None:
                # A body without a length may be read only if the server marks the end of the input,
                # as it does for a chunked body.
                if self.environ.get("wsgi.input_terminated"):
                    piece = self._read(PIECE)
                    return piece, bool(piece)
                if self.environ.get("HTTP_TRANSFER_ENCODING"):
                    raise self._without_end()
                left = 0
        if left == 0:
            return b"", False
        piece = self._read(left if left <= size or left <= PIECE else max(size, PIECE))
        if not piece:
            raise ClientDisconnect("the request body ended before its Content-Length")
        self._left = left - len(piece)
        return piece, self._left > 0

    def _without_end(self) -> HTTPError:
        """Return the 411 for a chunked body whose end the server doesn't mark. Depending on the
        server, its input is empty, has the body or its chunks, or never ends.
        """
        logger.warning(
            "%s got a 411: its body is chunked, and the server (%s) doesn't set "
            "wsgi.input_terminated, so micropie can't know where the body ends. Use another "
            "server, or a proxy that adds the Content-Length, such as nginx with "
            "proxy_request_buffering on",
            self.label,
            self.environ.get("SERVER_SOFTWARE") or "its name is unknown",
        )
        return HTTPError(411, "Please send the body with a Content-Length.")

    def _read(self, size: int) -> bytes:
        try:
            piece: bytes = self.environ["wsgi.input"].read(size)
        except TimeoutError:  # raised by the server's socket
            raise HTTPError(
                408, "The request body stopped arriving before it was complete."
            ) from None
        # Catch more than OSError, because gunicorn raises other errors for a malformed chunk.
        except Exception as error:
            raise ClientDisconnect("the body could not be read") from error
        return piece

    async def receive_message(self) -> ServerMessage:
        """Return the next message of the body, for a mounted ASGI application. After the end of the
        body, wait until this call is cancelled.
        """
        if self._is_passed_on or self.body.so_far is not None:
            await anyio.sleep_forever()
        # Put the piece back, so that the call after a cancelled one finds it, too.
        await self._read_in_thread(lambda: self.body.return_piece(*self.receive_piece()))
        piece, more = self.body.take_piece()
        self._is_passed_on = not more
        return {"type": "http.request", "body": piece, "more_body": more}

    async def _read_in_thread(self, read: Callable[..., Value], *arguments: object) -> Value:
        """Call ``read`` in a thread, because reading from the server's socket would block the
        background loop, which other requests share. If this task is cancelled, the thread goes on
        until it has read, and closing the request waits for that.
        """
        if self._reading is None:
            self._reading = Lock()
            self.on_close(self._end_reading)
        return await in_thread(
            _READING_THREADS,
            self._read_alone,
            read,
            *arguments,
            abandon_after=0.0,
            on_left=self.note_left_call,
        )

    def _read_alone(self, read: Callable[..., Value], *arguments: object) -> Value:
        """Return the result of ``read``, which reads in a thread that the request may leave."""
        self._reading = reading = self._reading or Lock()
        with reading:
            if self._is_unreadable:
                raise ClientDisconnect("the request has ended")
            return read(*arguments)

    def _end_reading(self) -> None:
        """Wait until no thread reads, and let none read after that, because the server reads the
        next request from the same socket.
        """
        self._is_unreadable = True
        with self._reading or nullcontext():
            pass

    def while_connected(self, work: Callable[[], Awaitable[Value]]) -> Awaitable[Value]:
        # Return at once, because WSGI servers don't report that a client has disconnected.
        return work()

    def perform(self, flow: Flow[Value]) -> Value:
        if self.time_limit is None:
            return perform(flow, self)
        value: Value = self._read_alone(perform, flow, self)
        return value

    async def perform_async(self, flow: Flow[Value]) -> Value:
        lane = block_lane_of(self)
        if lane is None:  # no resource, so the flow reads the body
            return await self._read_in_thread(perform, flow, self)
        return await self._perform_here(flow, lane)

    async def _perform_here(
        self, flow: Flow[Value], lane: Lane | None, *, shields: bool = False
    ) -> Value:
        """Run a flow in the current task, and its ``def`` parts in ``lane``, in threads.

        ``shields``: whether a cancellation must not interrupt the ``def`` parts. The async parts
        exit scopes that are open in this task, so they can't run inside another one.
        """

        async def call(*step: object) -> object:
            result = None
            with anyio.CancelScope(shield=shields):
                result = await slots_of(_READING_THREADS).call(
                    perform_step,
                    (*step, self),
                    CALL.leave_after,
                    lane=lane,
                    on_left=self.note_left_call,
                )
            return result  # noqa: RET504 - mypy assumes that the scope may swallow exceptions

        return await perform_in_task(flow, call)

    async def abandon(self, steps: Iterable[Step]) -> None:
        await self._perform_here(self.clean_up(steps), block_lane_of(self), shields=True)
