"""Receive the bodies that a handler gets as arguments: forms, files and JSON.

Any other body is left where it is until the handler asks for it (``request.read()``, ``request.stream()``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from micropie.execution.steps import IO, RECEIVE, RECEIVE_STEP, Flow, ReceiveStep, no_function
from micropie.http import json as codec
from micropie.http.body import STREAMED, Body
from micropie.http.forms.data import FormData, parse_query, require_utf8
from micropie.http.forms.multipart import MULTIPART, MultipartParser, boundary_of
from micropie.http.forms.uploads import BATCH, MOST_PIECES
from micropie.http.media_types import is_json
from micropie.http.request import FORM, NULL, Request

JSON = "application/json"

# For a handler that receives the body itself, in a thread: a short one is received ahead, which saves the thread a way
# to the event loop and back.
AHEAD: Final = "ahead"

# Bytes of JSON or of a form from which parsing and binding have a thread of their own. 64 KiB take 0.2 to 4 ms, a
# thread 0.1 ms.
LARGE = 64 * 1024

# WSGI reads as much at once: 5 MB take a tenth less time than in pieces of 64 KiB.
_RECEIVE_BATCH: ReceiveStep = (RECEIVE, no_function, (BATCH,))


def receive_body(request: Request, reads_body: bool | Literal["ahead"], is_needed: bool) -> Flow[None] | None:
    """Receive a form, files or JSON. Return None if nothing is left to do, else the flow that does it.

    A body that has arrived in one piece, as most have, takes no step. ``reads_body``: the handler receives it itself,
    or all but the first piece of a short one (``AHEAD``). JSON and urlencoded forms are parsed at once if ``is_needed``
    for a parameter and not ``LARGE``. Any other is parsed when it is first asked for (``request._parse``). A multipart
    form is parsed as it arrives.

    Raises 400 and 413 for the announced length, whatever the media type is, and 400, 413 and 415 for a bad body.
    """
    media_type, parameters, length = request._framing()
    limit = request.config.settings.max_body_size
    if length is not None and length > limit:
        request._incoming  # noqa: B018 - raises 413
    if reads_body:
        is_short = reads_body is AHEAD and (request.environ is not None or request._has_short_body)
        return _receive_short(request) if is_short and 0 < (length or 0) <= LARGE else None
    if media_type == MULTIPART:
        return receive_multipart(request, parameters)
    accept = _PARSERS.get(media_type) or (accept_json if is_json(media_type) else None)
    if accept is None or request._form_fields is not None:  # nothing to parse, or a hook did it
        return None
    if request._received is None:
        first = request.receive_nowait()
        if first is not None:
            piece, more = first
            size = len(piece)
            if not more and size <= LARGE and size <= request.config.limits.max_data_size:
                request._received = piece
                if is_needed:
                    accept(request, piece)
                else:
                    request._parse = accept
                return None
            request._put_back = first
    return _receive_data(request, accept, is_needed)


def _receive_short(request: Request) -> Flow[None] | None:
    """Receive the first piece, which nearly always is the whole body. Return a flow if it has not arrived yet."""
    if request._received is not None:
        return None
    first = request.receive_nowait()
    if first is None:
        return _receive_first(request)
    _keep(request, first)
    return None


def _receive_first(request: Request) -> Flow[None]:
    _keep(request, (yield RECEIVE_STEP))


def _keep(request: Request, first: tuple[bytes, bool]) -> None:
    if first[1]:
        request._put_back = first
    else:
        request._received = first[0]


def receive_form(request: Request) -> Flow[None]:
    """Receive a form ahead of the handler, for a hook: ``request._form_fields``. A second call does nothing more.

    Any other body is left alone, and that of a handler that reads it itself. Raises as ``receive_body`` does.
    """
    if request.route is not None and request.route.reads_body:
        return
    media_type, parameters, _ = request._framing()
    if media_type == FORM:
        if request._form_fields is None:
            yield from _receive_data(request, accept_form, is_needed=True)
            if request._parse is not None:
                yield IO, request._parsed_document, ()
    elif media_type == MULTIPART:
        receiving = receive_multipart(request, parameters)
        if receiving is not None:
            yield from receiving


def _receive_data(request: Request, accept: Callable[[Request, bytes], None], is_needed: bool) -> Flow[None]:
    """Receive JSON or an urlencoded form, and parse it if it is needed and not large."""
    incoming = request._incoming
    incoming.restrict(request.config.limits.max_data_size)
    body = yield from incoming.whole()
    if is_needed and len(body) <= LARGE:
        accept(request, body)
    else:
        request._parse = accept


def accept_form(request: Request, body: bytes) -> None:
    """Parse an urlencoded form into the request's fields. Raises 400, 413 and 415."""
    parameters = request._framing()[1]
    if parameters:
        require_utf8(parameters.get("charset", ""))
    request._form_fields = parse_query(body, request.config.limits) if body else None


def accept_json(request: Request, body: bytes) -> None:
    """Parse JSON into the request's document. Raises 400."""
    if body:  # scripts name the media type on a DELETE without a body, too
        document = codec.loads(body)
        request._document = NULL if document is None else document


_PARSERS = {FORM: accept_form, JSON: accept_json}


def receive_multipart(request: Request, parameters: dict[str, str]) -> Flow[None] | None:
    """Receive a multipart form, unless that has been done. Return None if nothing is left to do, else the flow for it.

    Raises 400, 413 or 415 for a bad one, as the flow does.
    """
    if request._form_fields is not None:
        return None
    parser = MultipartParser(boundary_of(parameters), request.config.limits)
    request._release_after(parser.close)
    incoming = request._incoming
    incoming.start_stream()
    if incoming.state is STREAMED:
        first = request.receive_nowait()
        if first is not None and not first[1] and not parser.may_block(len(first[0])):
            incoming.end_stream(first[0])
            parser.feed(first[0])
            _keep_form(request, parser.finish())
            return None
        request._put_back = first
    return _receive_pieces(request, incoming, parser)


def _receive_pieces(request: Request, incoming: Body, parser: MultipartParser) -> Flow[None]:
    waiting: list[bytes] = []  # to be written to the disk
    size = 0
    while piece := (yield from incoming.next_piece(_RECEIVE_BATCH)):
        size += len(piece)
        if not parser.may_block(size):  # then ``waiting`` is empty, too
            parser.feed(piece)
            size = 0
            continue
        waiting.append(piece)
        if size >= BATCH or len(waiting) >= MOST_PIECES:
            yield IO, parser.feed, waiting
            waiting, size = [], 0
    if waiting:
        yield IO, parser.feed, waiting
    _keep_form(request, parser.finish())


def _keep_form(request: Request, form: FormData) -> None:
    request._form_fields = form.fields
    request.uploads = form.files
    request._received_parts = form.parts
