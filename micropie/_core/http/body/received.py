"""``ReceivedBody``: what has arrived of one request's body, and what was parsed of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

from micropie._core.errors import BadRequest, HTTPError
from micropie._core.http.body.reader import UNREAD, BodyReader
from micropie._core.http.forms import UploadFile, parse_query, require_utf8
from micropie._core.http.json import exact, loads
from micropie._core.http.protocols import Json, Parameters, Piece


class _Null:
    """A JSON body that is null; None means that there was no JSON.

    It is the same object in another process.
    """

    def __reduce__(self) -> str:
        return "NULL"


NULL: Final = _Null()

_NO_UPLOADS: dict[str, list[UploadFile]] = {}


# Bytes of a body that a handler in a thread receives ahead.
LARGE = 64 * 1024


class Parsing(Protocol):
    """The part of an exchange on which parsing depends."""

    @property
    def framing(self) -> tuple[str, dict[str, str], int | None]: ...

    @property
    def config(self) -> Any: ...

    def header(self, name: str) -> str | None: ...


def unreadable(exchange: Parsing, error: HTTPError) -> HTTPError:
    """Return the error for a body that can't be parsed: 415 if it has a Content-Encoding, which is
    not decoded (RFC 9110, section 15.5.16), else ``error``.
    """
    if (exchange.header("content-encoding") or "identity").lower() == "identity":
        return error
    sentence = "The body has a Content-Encoding, and none is decoded here."
    return HTTPError(415, sentence, [("Accept-Encoding", "identity")])


class ReceivedBody:
    """The body of a request, as far as it was received. Its methods alone change it."""

    data: BodyReader | bytes | None = None
    """None until it is asked for, bytes if the flow found it in one piece."""
    put_back: Piece | None = None
    """A piece that is received again, and whether more may follow."""
    parse: Literal["form", "json"] | None = None
    """How it is parsed when it is first asked for; None if that is done, or nothing is to be
    parsed."""
    is_large = False
    """Whether to parse it deserves a thread."""

    form: Parameters | None = None
    uploads: dict[str, list[UploadFile]] = _NO_UPLOADS
    parts: Sequence[tuple[str, str | UploadFile]] = ()
    """Those of a multipart form, in order."""
    unselected: Sequence[str] = ()
    """The names of its file inputs that were left empty."""
    document: Json = None
    """The JSON body, ``NULL`` for null."""
    _exact: Json = None

    @property
    def so_far(self) -> bytes | None:
        """The body as far as it was received and kept: all of it, or b"" if it was streamed; None
        if unread.
        """
        data = self.data
        if isinstance(data, BodyReader):
            return None if data.state is UNREAD else data.data
        return data

    @property
    def exact_document(self) -> Json:
        """The JSON body with a Decimal for each number that no float has all digits of.

        Raises 400 for one nested too deeply, and for a number too close to zero.
        """
        document = self.document
        if document is None or document is NULL:
            return document
        if self._exact is None:
            try:
                found = exact(self.so_far or b"")
            except ValueError as error:
                raise BadRequest(str(error)) from None
            self._exact = document if found is None else found
        return self._exact

    def copied(self) -> ReceivedBody:
        """Return a copy for another process: without files, and without bytes that are parsed."""
        copy = ReceivedBody()
        copy.form, copy.parse, copy.document = self.form, self.parse, self.document
        copy.data = self.so_far if self.parse is not None else None
        return copy

    def keep(self, data: BodyReader | bytes) -> None:
        """Keep the body, which is whole if it is bytes."""
        self.data = data

    def return_piece(self, piece: bytes, more: bool) -> None:
        """Put back a piece, to be received again."""
        self.put_back = piece, more

    def take_piece(self) -> Piece:
        """Return the piece that was put back, or nothing, and whether more may follow."""
        piece, self.put_back = self.put_back or (b"", True), None
        return piece

    def parse_later(self, how: Literal["form", "json"] | None, most_on_loop: int) -> None:
        """Have the body parsed when it is first asked for, in a thread above so many bytes."""
        data = self.data.data if isinstance(self.data, BodyReader) else self.data or b""
        self.parse = how
        if len(data) > most_on_loop:
            self.is_large = how is not None

    def parsed(self, exchange: Parsing) -> Json:
        """Return the JSON body, ``NULL`` for null, None if there is none.

        Parses a received form, too.

        Raises 400, 413 and 415 for a bad body.
        """
        if self.parse is not None:
            data = self.data.data if isinstance(self.data, BodyReader) else self.data or b""
            if self.parse == "form":
                require_utf8(exchange.framing[1].get("charset", ""))
                try:
                    self.form = parse_query(data, exchange.config.limits)
                except BadRequest as error:
                    raise unreadable(exchange, error) from None
            elif data:  # scripts name the media type on a DELETE without a body, too
                try:
                    document = loads(data)
                except ValueError as error:
                    raise unreadable(exchange, BadRequest(str(error))) from None
                self.document = NULL if document is None else document
            self.parse, self.is_large = None, False
        return self.document

    def keep_form(self, fields: Parameters) -> None:
        """Keep the fields of a form."""
        self.form = fields

    def keep_parts(
        self,
        uploads: dict[str, list[UploadFile]],
        parts: Sequence[tuple[str, str | UploadFile]],
        unselected: Sequence[str],
    ) -> None:
        """Keep what a multipart form has beside its fields."""
        self.uploads, self.parts, self.unselected = uploads, parts, unselected
