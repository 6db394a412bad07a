"""Which bodies are received before the handler runs, and what they become: forms, files, JSON.

Any other body is left where it is until the handler asks for it (``request.read()``, ``request.stream()``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie import codec
from micropie.forms import form_parser, parse_urlencoded, require_utf8
from micropie.steps import Flow

if TYPE_CHECKING:
    from micropie.request import Request

# RFC 9110, sections 9.3.1 and 9.3.2: a body of GET or HEAD has no meaning, so none is looked for.
WITHOUT_BODY = frozenset({"GET", "HEAD"})


def receive_parameters(request: Request) -> Flow[None]:
    """Receive and parse the body if it is a form or JSON. Raises 400, 413 or 415 for one that is malformed."""
    media_type = request.content_type
    if request.is_json:
        yield from _receive_json(request)
    elif media_type == "application/x-www-form-urlencoded":
        yield from _receive_urlencoded(request)
    elif media_type == "multipart/form-data":
        yield from _receive_multipart(request)
    elif request.content_length is not None:
        request.incoming  # noqa: B018 - refuses at once what is announced as too long


def _receive_json(request: Request) -> Flow[None]:
    body = yield from request.incoming.whole()
    if not body:  # a DELETE from a script that always names its media type
        return
    document = codec.loads(body)
    request.received_json = document
    if isinstance(document, dict):
        request.body_params = {
            name: value if isinstance(value, list) else [value] for name, value in document.items()
        }


def _receive_urlencoded(request: Request) -> Flow[None]:
    body = yield from request.incoming.whole()
    require_utf8(request.content_type_parameters[1].get("charset", ""))
    if body:
        request.body_params = parse_urlencoded(body, request.level.limits)


def _receive_multipart(request: Request) -> Flow[None]:
    parser = form_parser(*request.content_type_parameters, request.level.limits)
    assert parser is not None  # noqa: S101 - the media type was multipart/form-data
    request.on_close(parser.close)
    request.incoming.start_stream()
    while piece := (yield from request.incoming.next_piece()):
        parser.feed(piece)
    form = parser.finish()
    request.on_close(form.close)
    request.body_params = form.fields
    request.uploads = form.files
