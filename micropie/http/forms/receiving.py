"""Which bodies are received before the handler runs, and what they become: forms, files, JSON.

Any other body is left where it is until the handler asks for it (``request.read()``, ``request.stream()``).
"""

from __future__ import annotations

from collections.abc import Callable

from micropie.execution.steps import IO, Flow
from micropie.http import json as codec
from micropie.http.forms import MULTIPART, MultipartParser, boundary_of, is_json, parse_urlencoded, require_utf8
from micropie.http.forms.uploads import BATCH, MOST_PIECES
from micropie.http.request import NULL, Request

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def try_receive_body(request: Request, reads_body: bool) -> bool:
    """Receive the body, if there is one to be parsed and it has arrived in one piece, without a step.

    False if that has to wait, or is more: then the flow goes on with it. ``reads_body``: the handler does that itself.
    Raises 400 and 413 for the body's length, and what is wrong with it.
    """
    accept = _parser(request)
    if accept is None or reads_body:
        return reads_body or request._framing()[0] != MULTIPART
    received = request.receive_nowait()
    if received is None:
        return False
    piece, more = received
    if more or len(piece) > request.config.settings.max_body_size:
        request._put_back = received
        return False
    request._received = piece
    accept(request, piece)
    return True


def receive_body(request: Request, reads_body: bool) -> Flow[None]:
    """Receive the body, if there is one to be parsed, unless a hook has done that; otherwise as above."""
    accept = _parser(request)
    if reads_body:
        return
    if accept is None:
        yield from receive_parts(request)
    else:
        accept(request, (yield from request._incoming.whole()))


def _parser(request: Request) -> Callable[[Request, bytes], None] | None:
    """What takes a body that is parsed as one piece of bytes, if it is one. Raises 400 and 413 for its length."""
    media_type, _, length = request._framing()
    if length is not None and length > request.config.settings.max_body_size:
        request._incoming  # noqa: B018 - refuses at once what is announced as too long
    if media_type == FORM:
        return accept_form
    return accept_json if media_type == JSON or is_json(media_type) else None


def accept_form(request: Request, body: bytes) -> None:
    """Take ``body`` as an urlencoded form."""
    require_utf8(request._framing()[1].get("charset", ""))
    request._form_fields = parse_urlencoded(body, request.config.limits) if body else None


def accept_json(request: Request, body: bytes) -> None:
    """Take ``body`` as JSON."""
    if body:  # scripts name the media type on a DELETE without a body, too
        document = codec.loads(body)
        request._document = NULL if document is None else document


def receive_form(request: Request) -> Flow[None]:
    """Receive a form for who looks into it before the handler: ``request._form_fields``. Does no harm done twice.

    Leaves any other body alone, and that of a handler that reads it itself. Raises what the flow would raise.
    """
    if request.route is not None and request.route.reads_body:
        return
    if request._framing()[0] == FORM:
        accept_form(request, (yield from request._incoming.whole()))
    else:
        yield from receive_parts(request)


def receive_parts(request: Request) -> Flow[None]:
    """Receive a body piece by piece if it is a multipart form, unless that has been done.

    Raises 400, 413 or 415 for one that is malformed.
    """
    media_type, parameters, _ = request._framing()
    if media_type == MULTIPART and request._form_fields is None:
        yield from _receive_multipart(request, parameters)


def _receive_multipart(request: Request, parameters: dict[str, str]) -> Flow[None]:
    parser = MultipartParser(boundary_of(parameters), request.config.limits)
    request._release_after(parser.close)
    incoming = request._incoming
    incoming.start_stream()
    waiting: list[bytes] = []  # for the disk
    size = 0
    while piece := (yield from incoming.next_piece()):
        size += len(piece)
        if not parser.may_block(size):  # so nothing waits
            parser.feed(piece)
            size = 0
            continue
        waiting.append(piece)
        if size >= BATCH or len(waiting) >= MOST_PIECES:
            yield IO, parser.feed, waiting
            waiting, size = [], 0
    if waiting:
        yield IO, parser.feed, waiting
    form = parser.finish()
    request._form_fields = form.fields
    request.uploads = form.files
    request._received_parts = form.parts
