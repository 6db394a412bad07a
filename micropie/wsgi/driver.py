"""One request under WSGI, from its environ to its last byte."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextvars import copy_context
from typing import Any

from micropie.context import current
from micropie.flow import respond
from micropie.lifecycle import Startable
from micropie.request import Request
from micropie.response import START_FAILED, encode, error_response, status_line
from micropie.site import Site
from micropie.steps import AWAIT
from micropie.streams import END, Stream, as_bytes
from micropie.types import Environ, StartResponse
from micropie.wsgi.performing import perform
from micropie.wsgi.portal import await_in_portal
from micropie.wsgi.process import Process
from micropie.wsgi.request import WSGIRequest

logger = logging.getLogger("micropie")

_STATUS_OK = status_line(200)


def serve_http(site: Site, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Answer one request."""
    request = WSGIRequest(environ, site.level)
    token = current.set(request)
    flow = respond(site, request)
    try:
        status, content_type, length, headers, body, stream = perform(flow, site.level, request.receive_piece)
        if content_type is not None:
            headers.append(("content-type", content_type))
        if length is not None:
            headers.append(("content-length", str(length)))
        start_response(_STATUS_OK if status == 200 else status_line(status), headers)
        return [body] if stream is None else _Chunks(stream, request, status)
    finally:
        flow.close()
        if request._closers:
            request.close()
        current.reset(token)


def start_and_serve(
    app: Startable, process: Process, environ: Environ, start_response: StartResponse
) -> Iterable[bytes]:
    """Start the application in this process, then answer its first request; a start that fails is answered by 500."""
    try:
        site = process.start(app)
    except Exception:
        logger.exception("start-up failed; the next request tries it again")
        status, content_type, _, headers, body, _ = encode(error_response(500, START_FAILED), None, False)
        start_response(status_line(status), [*headers, ("content-type", content_type)])
        return [body]
    return serve_http(site, environ, start_response)


class _Chunks:
    """A streamed body as PEP 3333 wants it. The server iterates and closes it, in whichever thread it likes.

    The request's context variables are put back around each chunk, and only then: between two of them the
    server's thread may answer somebody else.
    """

    def __init__(self, stream: Stream, request: Request, status: int) -> None:
        self._stream = stream
        self._request = request
        self._context = copy_context()
        self._first: Any = END if request.method == "HEAD" or status in (204, 304) else stream.first
        self._ended = self._first is END
        self._backend = request.level.settings.portal_backend

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        first, self._first = self._first, b""
        if first:
            if first is END:
                raise StopIteration
            return bytes(first)
        return self._context.run(self._next)

    def _next(self) -> bytes:
        piece = b""
        while not piece:
            if self._ended:
                raise StopIteration
            try:
                chunk = self._fetch()
            except Exception:
                self._ended = True
                request = self._request
                logger.exception("%s %r failed after its head was sent: aborted", request.method, request.path)
                raise
            if chunk is END:
                self._ended = True
                raise StopIteration
            piece = as_bytes(chunk)
        return piece

    def _fetch(self) -> Any:
        if not self._stream.is_async:
            return next(self._stream.source, END)
        try:
            return await_in_portal(self._backend, self._stream.source.__anext__, (), {})
        except StopAsyncIteration:
            return END

    def close(self) -> None:
        """Close the stream's source, once."""
        self._ended = True
        step = self._stream.close_step()
        if step is not None:
            kind, close, args, kwargs = step
            if kind is AWAIT:
                self._context.run(await_in_portal, self._backend, close, args, kwargs)
            else:
                self._context.run(close)
