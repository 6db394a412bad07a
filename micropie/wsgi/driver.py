"""Run a request under WSGI, from its environ to its last byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from functools import partial
from itertools import chain, repeat
from typing import Any

from micropie._core import execution
from micropie._core.execution import Action, current
from micropie._core.execution.lane import AsyncLane, Interrupted
from micropie._core.execution.steps import ANSWER, Flow, hold_shutdown, no_function
from micropie._core.flow import end_resources, log_lifecycle_failure, respond
from micropie._core.http import Request, start_failed, status_line
from micropie._core.http.headers import CAPITALS, KnownHead
from micropie._core.http.protocols import Environ, HeaderPairs, Pairs, StartResponse
from micropie._core.routing import Handover, Site
from micropie._core.streams import END, AnyStream, LoopStream
from micropie._core.tree import Tree
from micropie.wsgi.exchange import WSGIExchange
from micropie.wsgi.files import wrapped_file
from micropie.wsgi.state import WSGIState
from micropie.wsgi.steps import perform, unwound_after
from micropie.wsgi.streaming import StreamReader, close_stream, reader_of

# Compare a status with this constant by ``is``: the 200 of a mounted application may be a
# ``GivenStatus``, which is equal but may have its own reason phrase.
_OK = 200


def _start_private(
    start_response: StartResponse,
    handover: Handover,
    depends_on: Sequence[str],
    status: str,
    headers: Pairs,
    *exc_info: object,
) -> Any:
    """Start the response of a mounted application; see ``Handover.private``."""
    private = handover.private(headers, depends_on)
    return start_response(status, _head(None, None, private), *exc_info)


def serve_http(
    site: Site, environ: Environ, start_response: StartResponse, context: Context
) -> Iterable[bytes]:
    """Handle one request.

    This runs in ``context``, a copy of the thread's context, so that the thread's next request
    doesn't see context variables that are set here.
    """
    exchange = WSGIExchange(environ)
    request = Request(exchange)
    token = current.set(request)
    flow: Any = respond(site, request)
    try:
        kind, function, answer = next(flow)
        if kind is not ANSWER:
            answer = perform(flow, exchange, (kind, function, answer))
            if exchange.lane is not None:
                if exchange.resources or exchange.ending or isinstance(answer[5], LoopStream):
                    exchange.at_end()  # they still need the task of the async parts
                else:
                    exchange.end_lane()
        next(flow, None)  # end the flow; this is faster than ``close``
        status, content_type, length, pairs, body, stream = answer
        if stream is not None and stream.__class__ is Handover:
            # The mounted application must not see this application's current request.
            current.reset(token)
            environ_of_mount = stream.environ_of(exchange)
            if exchange.ends is not None:  # the server doesn't get its wrapper's object itself
                environ_of_mount.pop("wsgi.file_wrapper", None)
            depends_on = exchange.answer.depends_on
            if depends_on:  # a hook has read a header that identifies the client
                start_response = partial(_start_private, start_response, stream, depends_on)
            try:
                chunks: Iterable[bytes] = stream.mount.target(environ_of_mount, start_response)
            finally:
                current.set(request)
            if exchange.ends is None:
                return chunks
            pieces = _ClosingPieces(chunks)
            pieces.close = partial(_close_mounted, chunks, exchange, context)
            return pieces
        start_response(
            "200 OK" if status is _OK else status_line(status),
            _head(content_type, length, pairs),
        )
        if stream is not None:
            lent = None
            if length is not None:
                end = partial(_close, exchange, context)
                lent = wrapped_file(stream, exchange, status, end)
            return _Chunks(stream, exchange, status, context) if lent is None else lent
    except BaseException:
        exchange.answer.break_off()
        flow.close()
        perform(exchange.clean_up(exchange.cleanup_steps()), exchange, contains_exit=True)
        if exchange.lane is not None:
            exchange.at_end()
        _close(exchange, copy_context())
        raise
    if exchange.ends is None:
        return [body]
    if exchange.resources:  # resources of a stream that a hook has replaced
        perform(end_resources(exchange), exchange, contains_exit=True)
    closing = _ClosingBody((body,))
    closing.close = partial(context.run, exchange.close)
    if exchange.ending is not None:  # a call that goes on uses the resources
        closing.close = partial(_close, exchange, context)
    return closing


def _close(exchange: WSGIExchange, context: Context) -> None:
    """End the request, in its context. If a call that may use its resources goes on in another
    thread, that thread closes them, in the same context. Then the request ends in a copy, because
    two threads can't be in one context at the same time.
    """
    ending, exchange.ending = exchange.ending, None
    if ending is not None:
        lane, exchange.lane = exchange.lane, None
        end = partial(_end_later, exchange, ending, lane, hold_shutdown(is_left=True))
        exchange.when_unused(partial(context.run, end))
        context = context.copy()
    if exchange.ends is not None:
        context.run(exchange.close)


def _end_later(
    exchange: WSGIExchange, ending: Flow[None], lane: AsyncLane | None, tell_end: Action
) -> None:
    """Close the resources after the last call that has used them, in the task that opened them.
    Then call ``tell_end``.
    """
    exchange.lane = lane
    try:
        perform(ending, exchange)
        exchange.end_lane()
    finally:
        tell_end()


def _close_mounted(chunks: Iterable[bytes], exchange: WSGIExchange, context: Context) -> None:
    """Close the body of a mounted application. Then end the request, even if closing has failed."""
    try:
        getattr(chunks, "close", no_function)()
    finally:
        _close(exchange, context)


def start_and_serve(
    app: Tree, state: WSGIState, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """Handle a request. If the application has not started in this process, start it first. If that
    fails, respond with a 500.
    """
    try:
        site = state.site or state.start(app)
    except Exception as error:
        log_lifecycle_failure("startup failed, and the next request tries it again", error, environ)
        status, content_type, length, pairs, body, _ = start_failed(
            environ["REQUEST_METHOD"] == "HEAD"
        )
        start_response(status_line(status), _head(content_type, length, pairs))
        return [body]
    context = copy_context()
    return context.run(serve_http, site, environ, start_response, context)


def _head(content_type: str | None, length: int | None, pairs: Pairs) -> HeaderPairs:
    """Return headers in the form that WSGI requires: a new list, with names capitalized as
    usual.
    """
    if pairs.__class__ is not KnownHead:
        headers = [(CAPITALS[name], value) for name, value in pairs]
    elif content_type is None or length is None:
        headers = [*pairs.capitalized]
    else:  # most responses
        return [
            *pairs.capitalized,
            ("Content-Type", content_type),
            ("Content-Length", str(length)),
        ]
    if content_type is not None:
        headers.append(("Content-Type", content_type))
    if length is not None:
        headers.append(("Content-Length", str(length)))
    return headers


class _ClosingPieces(chain[bytes]):
    """The iterator of a body. ddtrace's middleware closes the iterator, not the body."""

    close: Action


class _ClosingBody(_ClosingPieces):
    """A body in one piece. When the server closes it, the request ends.

    It isn't a list, because granian doesn't call ``close`` of a list.
    """

    def __len__(self) -> int:
        return 1


class _Chunks:
    """A streamed body as the iterable that PEP 3333 requires. The server iterates over it and
    closes it, possibly in different threads.

    Each chunk is produced in the request's context, because the thread may handle another request
    between two chunks. The context is the request's own, not a copy, because at its end, a
    generator may reset a context variable that it set before its first chunk, as Flask's
    ``stream_with_context`` does.
    """

    def __init__(
        self,
        stream: AnyStream,
        exchange: WSGIExchange,
        status: int,
        context: Context,
    ) -> None:
        self._stream = stream
        self._exchange = exchange
        self._is_over = stream.first is END or exchange.method == "HEAD" or status in (204, 304)
        self._context = context
        self._backend = exchange.config.settings.portal_backend
        self._failure: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        # ``map`` calls ``context.run`` for each chunk without a Python function in between.
        run = self._context.run
        chunks = _ClosingPieces(() if self._is_over else map(run, repeat(self._made().__next__)))
        chunks.close = self.close
        return chunks

    def _made(self) -> Iterator[bytes]:
        """Yield the chunks. This runs in the request's context."""
        stream = self._stream
        yield stream.first
        if not stream.is_open and stream.driver is None:
            self._is_over = True  # there was one chunk, or ``close`` was called meanwhile
            return
        try:
            if isinstance(stream, LoopStream):
                reader: StreamReader = stream.driver or reader_of(stream, self._exchange)
                yield from filter(None, reader.chunks())
            else:
                yield from filter(None, stream)
        except BaseException as error:
            failure = self._failure = (
                unwound_after(error, self._exchange)
                if isinstance(error, Interrupted)
                else execution.contained(error)
            )
            self._exchange.break_off(failure)
            try:
                raise failure
            finally:
                del failure  # avoid a reference cycle with this frame
        self._is_over = True

    def close(self) -> None:
        """Close the stream, unless it is closed already. Then end the request, even if closing has
        failed. Raises the exception with which closing the stream has failed.
        """
        exchange = self._exchange
        if not self._is_over:
            exchange.answer.break_off()
        try:
            self._close_stream()
        except BaseException as error:
            raise execution.contained(error)  # noqa: B904 - it has its cause
        finally:
            try:
                self._end_resources()
            finally:
                _close(exchange, self._context)

    def _close_stream(self) -> None:
        stream = self._stream
        try:
            if stream.is_open:
                self._context.run(close_stream, stream, self._backend)
            elif self._exchange.lane is not None:  # the stream has left its task
                self._exchange.lane.is_busy = False
        finally:
            stream.driver = None  # avoid a reference cycle with the reader

    def _end_resources(self) -> None:
        failure, self._failure = self._failure, None
        try:
            if self._exchange.resources:
                end = partial(perform, end_resources(self._exchange, failure), contains_exit=True)
                self._context.run(end, self._exchange)
        finally:
            del failure  # avoid a reference cycle between the exception and this frame
