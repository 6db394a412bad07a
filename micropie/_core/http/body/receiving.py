"""Receive the bodies that become a handler's arguments: forms, files and JSON.

Any other body is received only when the handler reads it, for example by ``request.body()``.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final, Literal

from micropie._core.errors import BadRequest
from micropie._core.execution.steps import IO, RECEIVE, RECEIVE_STEP, Flow, Step, no_function
from micropie._core.http import forms
from micropie._core.http.body.received import LARGE, Parser, unreadable
from micropie._core.http.exchange import FORM, Exchange, RouteInfo
from micropie._core.http.forms import BATCH, MOST_PIECES, MULTIPART
from micropie._core.http.headers import is_json

# The value of ``reads_body`` for a handler that runs in a thread and reads the body itself. A short
# body is received before the handler gets its thread, so the thread neither waits for a slow client
# nor has to request the body from the event loop.
AHEAD: Final = "ahead"


# gunicorn copies the bytes that it has read ahead in each read: in pieces of 64 KiB, reading takes
# 1.6 times as long.
_RECEIVE_BATCH: Final[Step] = RECEIVE, no_function, (BATCH,)

_PARSED: dict[str, Parser] = {FORM: "form", "application/json": "json"}


def receive_body(exchange: Exchange, reads_body: bool | Literal["ahead"]) -> Flow[None]:
    """Receive a form, files or JSON before the handler runs.

    JSON and urlencoded forms are parsed when their values are first needed
    (``ReceivedBody.parse``). A multipart form is parsed while it arrives. ``reads_body``: whether
    the handler receives the body itself; ``AHEAD`` if it does so for long bodies only.

    Whatever the media type is, raises 400 for an invalid Content-Length and 413 if it is too large.
    Raises 400, 413 or 415 for an invalid body.
    """
    media_type, parameters, length = exchange.framing
    body = exchange.body
    if length is not None and length > exchange.config.settings.max_body_size:
        exchange.incoming  # noqa: B018 - raises 413
    accept: Parser | None
    if reads_body:
        accept, most = None, LARGE
        if reads_body is not AHEAD or not exchange.has_short_body:
            return
    elif media_type == MULTIPART:
        try:
            yield from receive_multipart(exchange, parameters)
        except BadRequest as error:
            raise unreadable(exchange, error) from None
        return
    else:
        accept = _PARSED.get(media_type) or ("json" if is_json(media_type) else None)
        if accept is None or body.form is not None:
            # There is nothing to parse, or a hook has parsed the form already.
            return
        most = exchange.config.limits.max_data_size
    data = body.data
    if data is None:  # the first piece is nearly always the whole body
        piece, more = yield RECEIVE_STEP
        if more or len(piece) > most:
            body.return_piece(piece, more)
        else:
            body.keep(piece)
            data = piece
    if data.__class__ is not bytes:
        exchange.incoming.restrict(most)
        data = yield from exchange.whole_body()
    body.parse_later(accept, len(data) > (exchange.route or RouteInfo).most_on_loop)


def find_field(exchange: Exchange, name: str) -> Flow[str]:
    """Return the text of the form's first field named ``name``, or "" if there is none. Hooks call
    this before the handler runs.

    This receives the whole form. But if the handler receives the body itself, this reads only the
    first ``max_data_size`` bytes of the body and puts them back. Raises the same errors as
    ``receive_body``.
    """
    (media_type, parameters, _), limits, body = (
        exchange.framing,
        exchange.config.limits,
        exchange.body,
    )
    if media_type not in (FORM, MULTIPART):
        return ""
    if not exchange.reads_body:
        yield from receive_body(exchange, False)
        if body.is_large:
            yield IO, body.parsed, (exchange,)
        else:
            body.parsed(exchange)
        return (body.form or {}).get(name, [""])[0]
    beginning = body.so_far
    if beginning is None:
        beginning = yield from _receive_beginning(exchange, limits.max_data_size)
    # Cut off the bytes beyond the limit, so that the result doesn't depend on how the body was
    # split into pieces.
    beginning = beginning[: limits.max_data_size]
    if media_type == FORM:  # search the bytes: other fields may be in any charset
        return (
            (b"&" + beginning)
            .partition(f"&{name}=".encode())[2]
            .partition(b"&")[0]
            .decode("latin-1")
        )
    parser = forms.PartParser(parameters.get("boundary", ""), limits, any_charset=True)
    value = None
    for event in parser.events(beginning):
        if isinstance(event, forms.PartHead):
            value = b"" if event.name == name and event.raw_filename is None else None
        elif value is not None and event is not None:
            value += event
        elif value is not None:
            return value.decode("latin-1")
    return ""


def _receive_beginning(exchange: Exchange, least: int) -> Flow[bytes]:
    # Don't keep the pieces, because a client may send two bytes at a time, and each piece takes 40
    # bytes more.
    data, more = BytesIO(), True
    while more and data.tell() < least:
        piece, more = yield RECEIVE_STEP
        data.write(piece)
    beginning = data.getvalue()
    if more:
        exchange.body.return_piece(beginning, True)
    else:
        exchange.body.keep(beginning)
    return beginning


def receive_multipart(exchange: Exchange, parameters: dict[str, str]) -> Flow[None]:
    """Receive a multipart form, unless it has been received already. Raises 400, 413 or 415 for an
    invalid form.
    """
    if exchange.body.form is not None:
        return
    config = exchange.config
    parser = forms.MultipartParser(forms.boundary_of(parameters), config.limits)
    if config.json_fields:
        parser.take_json(config.json_fields)
    exchange.release_after(parser.close)
    incoming = exchange.incoming
    incoming.start_stream()
    waiting: list[bytes] = []  # pieces to be written to the disk
    size = 0
    while not incoming.has_ended and (piece := (yield from incoming.next_piece(_RECEIVE_BATCH))):
        if not waiting and not parser.may_block(len(piece), piece):
            parser.feed(piece)
            continue
        waiting.append(piece)
        size += len(piece)
        if size >= BATCH or len(waiting) >= MOST_PIECES:
            yield IO, parser.feed, waiting
            waiting, size = [], 0
    if waiting:
        yield IO, parser.feed, waiting
    form = parser.finish(may_be_empty=True)
    exchange.body.keep_parts(form.fields, form.files, form.parts, form.unselected)
