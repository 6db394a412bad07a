"""One request under WSGI, from its environ to its last byte."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any

from micropie.context import current
from micropie.flow import respond
from micropie.lifecycle import Startable
from micropie.request import Request
from micropie.response import start_failed, status_line
from micropie.site import Site
from micropie.steps import AWAIT, BLOCK
from micropie.streams import END, Stream, as_bytes
from micropie.types import Environ, StartResponse
from micropie.wsgi.performing import perform_one
from micropie.wsgi.portal import await_in_portal
from micropie.wsgi.process import Process
from micropie.wsgi.request import WSGIRequest

logger = logging.getLogger("micropie")


def serve_http(site: Site, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request. The flow is driven here as in ``performing.perform``, without the call."""
    request = WSGIRequest(environ)
    token = current.set(request)
    flow = respond(site, request)
    resume, result = flow.send, None
    try:
        while True:
            try:
                kind, function, arguments = resume(result)
            except StopIteration as end:
                result = None  # an exception's traceback refers to this frame: without this it would be a cycle
                status, content_type, length, headers, body, stream = end.value
                break
            resume = flow.send
            try:
                result = function(*arguments) if kind is BLOCK else perform_one(kind, function, arguments, request)
            except BaseException as error:
                resume, result = flow.throw, error
        if content_type is not None:
            headers.append(("content-type", content_type))
        if length is not None:
            headers.append(_length_headers.get(length) or _length_header(length))
        start_response("200 OK" if status == 200 else status_line(status), headers)
        if stream is not None:
            return _Chunks(stream, request, status)
    except BaseException:
        result = None
        flow.close()
        if request.answer_stream is not None:
            _Chunks(request.answer_stream, request, 500).close()
        request.close()
        raise
    finally:
        current.reset(token)
    if request.closers is not None:
        request.close()
    return [body]


_length_headers: dict[int, tuple[str, str]] = {}


def _length_header(length: int) -> tuple[str, str]:
    header = ("content-length", str(length))
    if length < 4096:  # short answers are the most frequent; this bounds the table
        _length_headers[length] = header
    return header


def start_and_serve(
    app: Startable, process: Process, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """Start the application in this process, then answer its first request; a start that fails is answered by 500."""
    try:
        site = process.start(app)
    except Exception:
        logger.exception("start-up failed; the next request tries it again")
        status, content_type, length, headers, body, _ = start_failed(environ["REQUEST_METHOD"] == "HEAD")
        described = [("content-type", str(content_type)), ("content-length", str(length))]
        start_response(status_line(status), headers + described)
        return [body]
    return serve_http(site, environ, start_response)


class _Chunks:
    """A streamed body as PEP 3333 wants it. The server iterates and closes it, in whichever thread it likes.

    The request's context variables are there while a chunk is made, and only then: between two of them the
    server's thread may answer somebody else.
    """

    def __init__(self, stream: Stream, request: Request, status: int) -> None:
        self._stream = stream
        self._request = request
        self._has_body = request.method != "HEAD" and status not in (204, 304)
        self._context = copy_context()

    def __iter__(self) -> Iterator[bytes]:
        first = self._stream.first
        if first is END or not self._has_body:
            return
        yield first
        advance, source, run = self._advance()
        try:
            while (chunk := run(advance, source, END)) is not END:
                piece = chunk if type(chunk) is bytes else as_bytes(chunk)
                if piece:
                    yield piece
        except Exception:
            logger.exception("%s %r failed after its head was sent: aborted", self._request.method, self._request.path)
            raise

    def _advance(self) -> tuple[Callable[..., Any], Any, Callable[..., Any]]:
        source = self._stream.source
        if self._stream.is_async:
            return partial(_next_of_async, self._request.level.settings.portal_backend), source, self._context.run
        return next, source, self._context.run

    def close(self) -> None:
        """Close the stream's source, once."""
        step = self._stream.close_step()
        if step is not None:
            kind, close, arguments = step
            if kind is AWAIT:
                self._context.run(await_in_portal, self._request.level.settings.portal_backend, close, arguments)
            else:
                self._context.run(close)
        self._request.close()


def _next_of_async(backend: str, source: Any, end: Any) -> Any:
    try:
        return await_in_portal(backend, source.__anext__, ())
    except StopAsyncIteration:
        return end
