"""Which bodies are received before the handler runs, and what they become: forms, files, JSON.

Any other body is left where it is until the handler asks for it (``request.read()``, ``request.stream()``).
"""

from __future__ import annotations

from micropie import codec
from micropie.body import UNREAD
from micropie.forms import form_parser, is_json, parse_urlencoded, require_utf8
from micropie.request import NULL, Request
from micropie.steps import RECEIVE_STEP, Flow

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


def receive_parameters(request: Request) -> Flow[None]:
    """Receive and parse the body if it is a form or JSON. Raises 400, 413 or 415 for one that is malformed."""
    media_type, parameters, length = request.framing()
    form = media_type == FORM
    if form or media_type == JSON or is_json(media_type):
        incoming = request.incoming
        if incoming.state is UNREAD:
            # Here and not by ``incoming.whole()``, as most bodies come in one piece: a generator less.
            piece, more = yield RECEIVE_STEP
            body = incoming.keep((yield from incoming.rest(piece)) if more else piece)
        else:  # a hook has read it
            body = yield from incoming.whole()
        if not body:  # scripts name the media type on a DELETE without a body, too
            return
        if form:
            require_utf8(parameters.get("charset", ""))
            request.form_fields = parse_urlencoded(body, request.level.limits)
        else:
            document = codec.loads(body)
            request.document = NULL if document is None else document
    elif media_type == MULTIPART:
        yield from _receive_multipart(request, parameters)
    elif length is not None:
        request.incoming  # noqa: B018 - refuses at once what is announced as too long


def _receive_multipart(request: Request, parameters: dict[str, str]) -> Flow[None]:
    parser = form_parser(MULTIPART, parameters, request.level.limits)
    assert parser is not None  # noqa: S101 - it is a form's media type
    request.on_close(parser.close)
    request.incoming.start_stream()
    while piece := (yield from request.incoming.next_piece()):
        parser.feed(piece)
    form = parser.finish()
    request.on_close(form.close)
    request.form_fields = form.fields
    request.uploads = form.files
