"""Receive the bodies that a handler gets as arguments: forms, files and JSON.

Any other body is left where it is until the handler asks for it (``request.read()``, ``request.stream()``).
"""

from __future__ import annotations

from typing import Final, Literal

from micropie.execution.steps import IO, RECEIVE, RECEIVE_STEP, Flow, ReceiveStep, no_function
from micropie.http import json as codec
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


def receive_body(request: Request, reads_body: bool | Literal["ahead"]) -> Flow[None]:
    """Receive a form, files or JSON.

    JSON and urlencoded forms are parsed when they are first asked for (``request._parse``), a multipart form as it
    arrives. ``reads_body``: the handler receives the body itself, or all but the first piece of a short one
    (``AHEAD``).

    Raises 400 and 413 for the announced length, whatever the media type is, and 400, 413 and 415 for a bad body.
    """
    media_type, parameters, length = request._framing()
    if length is not None and length > request.config.settings.max_body_size:
        request._incoming  # noqa: B018 - raises 413
    accept = None
    if reads_body:
        is_short = reads_body is AHEAD and (request.environ is not None or request._has_short_body)
        if not is_short or not 0 < (length or 0) <= LARGE:
            return
    elif media_type == MULTIPART:
        yield from receive_multipart(request, parameters)
        return
    else:
        accept = _PARSERS.get(media_type) or (accept_json if is_json(media_type) else None)
        if accept is None or request._form_fields is not None:  # nothing is to be parsed, or a hook did it
            return
    if request._received is None:  # the first piece nearly always is the whole body
        piece, more = yield RECEIVE_STEP
        if more or len(piece) > request.config.limits.max_data_size:
            request._put_back = piece, more
        else:
            request._received = piece
    if accept is not None:
        if type(request._received) is not bytes:
            incoming = request._incoming
            incoming.restrict(request.config.limits.max_data_size)
            yield from incoming.whole()
        request._parse = accept


def receive_form(request: Request) -> Flow[None]:
    """Receive a form ahead of the handler, for a hook: ``request._form_fields``. A second call does nothing more.

    Any other body is left alone, and that of a handler that reads it itself. Raises as ``receive_body`` does.
    """
    if request.route is not None and request.route.reads_body:
        return
    if request.content_type in (FORM, MULTIPART):
        yield from receive_body(request, False)
        if has_large_body(request):
            yield IO, request._parsed_document, ()
        else:
            request._parsed_document()


def has_large_body(request: Request) -> bool:
    """Return whether the body that was received deserves a thread in which it is parsed."""
    return len(request._body_so_far() or b"") > LARGE


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


def receive_multipart(request: Request, parameters: dict[str, str]) -> Flow[None]:
    """Receive a multipart form, unless that has been done. Raises 400, 413 or 415 for a bad one."""
    if request._form_fields is not None:
        return
    parser = MultipartParser(boundary_of(parameters), request.config.limits)
    request._release_after(parser.close)
    incoming = request._incoming
    incoming.start_stream()
    waiting: list[bytes] = []  # to be written to the disk
    size = 0
    while piece := (yield from incoming.next_piece(_RECEIVE_BATCH)):
        size += len(piece)
        if not parser.may_block(size):  # nothing waits then
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
