"""``ReceivedBody``: the bytes of a request's body that have arrived, and the values parsed from
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

from micropie._core.errors import BadRequest, HTTPError
from micropie._core.http.body.reader import UNREAD, BodyReader
from micropie._core.http.forms import UploadFile, parse_query, require_utf8
from micropie._core.http.json import check_values, exact, loads, values_in
from micropie._core.http.protocols import Json, Parameters, Piece
from micropie._core.on_demand import reserve


class _Null:
    """The class of ``NULL``, which represents the JSON body ``null``. None means that there is no
    JSON body.

    ``NULL`` can be pickled: every process unpickles it as its own ``NULL``.
    """

    def __reduce__(self) -> str:
        return "NULL"


NULL = _Null()

_NO_UPLOADS: dict[str, list[UploadFile]] = {}


# A size in bytes. If a handler runs in a thread and reads the body itself, a body of up to this
# size is received before the handler starts.
LARGE = 64 * 1024


Parser: TypeAlias = Literal["form", "json"]


class Parsing(Protocol):
    """The attributes of an ``Exchange`` that are needed to parse a body."""

    @property
    def framing(self) -> tuple[str, dict[str, str], int | None]: ...

    @property
    def config(self) -> Any: ...

    def header(self, name: str) -> str | None: ...


def unreadable(exchange: Parsing, error: HTTPError) -> HTTPError:
    """Return the error for a body that can't be parsed. For a body with a Content-Encoding, this is
    a 415, because micropie doesn't decode any (RFC 9110, section 15.5.16). For any other body, it
    is ``error``.
    """
    if (exchange.header("content-encoding") or "identity").lower() == "identity":
        return error
    sentence = "This server doesn't accept request bodies with a Content-Encoding."
    return HTTPError(415, sentence, [("Accept-Encoding", "identity")])


class ReceivedBody:
    """The body of a request, as far as it was received. Only its own methods change it."""

    data: BodyReader | bytes | None = None
    """The body: its bytes if it arrived in one piece, otherwise its reader; None until it is first
    needed.
    """
    put_back: Piece | None = None
    """A piece that was put back, to be received again, and whether more may follow it."""
    parse: Parser | None = None
    """How to parse the body when its values are first needed; None if it has been parsed, or if
    there is nothing to parse.
    """
    is_large = False
    """Whether the body is so large that it is parsed in a thread."""

    by_place: Sequence[tuple[str, object]] = ()
    """The values that have names: the form's fields and its files, or the top level of JSON, each
    with the name of its place: "form", "file" or "json".
    """
    form: Parameters | None = None
    uploads: dict[str, list[UploadFile]] = _NO_UPLOADS
    parts: Sequence[tuple[str, str | UploadFile]] = ()
    """The parts of a multipart form, in order."""
    unselected: Sequence[str] = ()
    """The names of file inputs that were left empty."""
    document: Json = None
    """The JSON body; ``NULL`` for null, None if there is none."""
    _exact: Json = None
    _inner_values = 0

    @property
    def so_far(self) -> bytes | None:
        """The whole body if it was received and stored; b"" if it was streamed; None if it is
        unread.
        """
        data = self.data
        if isinstance(data, BodyReader):
            return None if data.state is UNREAD else data.data
        return data

    @property
    def exact_document(self) -> Json:
        """The JSON body, with a Decimal for each number that a float can't represent with all its
        digits.

        Raises 400 if the document is nested too deeply, or has a number that is so close to zero
        that even a Decimal can't represent it.
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

    def copied(self, keeps_bytes: bool) -> ReceivedBody:
        """Return a copy for another process. The copy has the bytes only if they are not parsed
        yet, or with ``keeps_bytes``. It has no ``by_place``, because the handler's arguments are
        already bound.
        """
        copy = ReceivedBody()
        copy.form, copy.parse, copy.document = self.form, self.parse, self.document
        copy.uploads = self.uploads
        copy.data = self.so_far if keeps_bytes or self.parse is not None else None
        return copy

    @property
    def is_empty(self) -> bool:
        """Whether nothing was received."""
        return (self.form, self.parse, self.document, self.data) == (None, None, None, None)

    def keep(self, data: BodyReader | bytes) -> None:
        """Store the body: all of it as bytes, or the reader that receives it."""
        self.data = data

    def return_piece(self, piece: bytes, more: bool) -> None:
        """Put back a piece, so that it is received again."""
        self.put_back = piece, more

    def take_piece(self) -> Piece:
        """Return the piece that was put back, or b"", and whether more may follow."""
        piece, self.put_back = self.put_back or (b"", True), None
        return piece

    def parse_later(self, how: Parser | None, is_large: bool) -> None:
        """Record how to parse the body when its values are first needed, and whether it is so large
        that it must be parsed in a thread.
        """
        self.parse, self.is_large = how, is_large and how is not None

    def parsed(self, exchange: Parsing) -> Json:
        """Parse the body, if this hasn't been done yet. Return the JSON body, ``NULL`` for null, or
        None if there is no JSON.

        Raises 400, 413 and 415 for an invalid body.
        """
        if self.parse is not None:
            data = self.so_far or b""
            if self.parse == "form":
                charset = exchange.framing[1].get("charset")
                if charset:
                    require_utf8(charset)
                try:
                    fields = parse_query(data, exchange.config.limits)
                except BadRequest as error:
                    raise unreadable(exchange, error) from None
                self.form, self.by_place = fields, (("form", fields),)
            elif data:  # some clients declare JSON but send no body, for example with DELETE
                most = exchange.config.limits.max_json_values
                try:
                    if len(data) >= most:  # shorter data can't have more values
                        check_values(data, most)
                    document = loads(data)
                except HTTPError as error:
                    raise unreadable(exchange, error) from None
                except ValueError as error:
                    raise unreadable(exchange, BadRequest(str(error))) from None
                self.document = NULL if document is None else document
                if type(document) is dict:
                    self.by_place = (("json", document),)
            self.parse, self.is_large = None, False
        return self.document

    def count_message(self, content: bytes | str, most: int) -> None:
        """Raise 413 for the message of a WebSocket that has more than ``most`` values; see
        ``count_inner``.
        """
        check_values(content, most)
        self._inner_values = 0

    def count_inner(self, data: bytes, most: int) -> None:
        """Count the values of a JSON text inside the form or the document. Raises 413 if all such
        texts have more than ``most``.
        """
        self._inner_values = values_in(data, most, self._inner_values)

    def keep_parts(
        self,
        fields: Parameters,
        uploads: dict[str, list[UploadFile]],
        parts: Sequence[tuple[str, str | UploadFile]],
        unselected: Sequence[str],
    ) -> None:
        """Store the fields, the files, the parts and the empty file inputs of a multipart form."""
        self.form, self.uploads, self.parts, self.unselected = fields, uploads, parts, unselected
        self.by_place = ("form", fields), ("file", uploads)


reserve(ReceivedBody, "data parse is_large by_place form document uploads parts unselected")
