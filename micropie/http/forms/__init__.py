"""Query strings and forms: bytes pushed in, fields and files out; all that the framework uses of forms.

The rules, the same for a query, an urlencoded form and a multipart form, however they are cut into chunks:
- limits are checked field by field, in the order of the bytes, so that what comes first decides the answer;
- too much (fields, files, bytes of a field) is 413, malformed is 400, a charset other than UTF-8 is 415;
- text is valid UTF-8 without NUL; only ``&`` separates; a name without ``=`` has the value ``""``;
- a parser that raised has closed what it had opened, and is of no further use.
"""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from micropie.errors import BadRequest
from micropie.http.forms.data import DEFAULT_LIMITS, Budget, FormData, Limits, require_utf8, text_of
from micropie.http.forms.multipart import MULTIPART, MultipartParser, PartHead, PartParser, boundary_of
from micropie.http.forms.uploads import UploadFile
from micropie.http.media_types import content_type, is_json

__all__ = [
    "DEFAULT_LIMITS",
    "MULTIPART",
    "FormData",
    "Limits",
    "MultipartParser",
    "PartHead",
    "PartParser",
    "UploadFile",
    "UrlencodedParser",
    "boundary_of",
    "content_type",
    "is_json",
    "parse_query",
    "parse_urlencoded",
    "require_utf8",
    "text_of",
]


def parse_query(query: bytes | str, limits: Limits = DEFAULT_LIMITS) -> dict[str, list[str]]:
    """A whole query or urlencoded form; a str is WSGI's, bytes as latin-1. Raises ``HTTPError`` 400, 413."""
    if not query:
        return {}
    if len(query) <= limits.max_form_field_size and query.isascii():
        text = query if type(query) is str else query.decode("ascii")  # type: ignore[union-attr]
        # Where no limit can be passed, text does; anything else takes the parser's way.
        if "&" not in text and "%" not in text and "+" not in text and "\0" not in text and limits.max_fields:
            name, _, value = text.partition("=")
            return {name: [value]}
        if text.count("&") < limits.max_fields and len(text) <= limits.max_form_memory:
            return _fields_of(text)
    parser = UrlencodedParser(limits)
    parser.feed(_query_bytes(query) if isinstance(query, str) else query)
    return parser.finish().fields


parse_urlencoded = parse_query


def _fields_of(text: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    encoded = "%" in text or "+" in text or "\0" in text
    for pair in text.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            if encoded:
                name, value = _unquoted(name), _unquoted(value)
            fields.setdefault(name, []).append(value)
    return fields


def _unquoted(text: str) -> str:
    text = text.replace("+", " ")
    return text_of(unquote_to_bytes(text)) if "%" in text or "\0" in text else text


def _query_bytes(query: str) -> bytes:
    try:
        return query.encode("latin-1")
    except UnicodeEncodeError:
        raise BadRequest("The query is not percent-encoded UTF-8.") from None


class UrlencodedParser:
    """``a=1&b=2``, pushed in."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._form = FormData()
        self._budget = Budget(limits)
        self._pair = bytearray()
        # Three bytes (%41) may stand for one: a longer pair has a name or a value that is too long, decoded.
        self._longest = 6 * limits.max_form_field_size + 1

    def feed(self, chunk: bytes) -> None:
        start = 0
        while (end := chunk.find(b"&", start)) >= 0:
            self._pair += chunk[start:end]
            self._end_pair()
            start = end + 1
        self._pair += chunk[start:]
        if len(self._pair) > self._longest:
            self._end_pair()

    def finish(self) -> FormData:
        if self._pair:
            self._end_pair()
        return self._form

    def close(self) -> None:
        self._pair.clear()

    def _end_pair(self) -> None:
        # An empty pair (``a=1&&b=2``) is no field, but it counts: a million of them cost as much as fields.
        self._budget.begin()
        if self._pair:
            raw_name, _, raw_value = bytes(self._pair).replace(b"+", b" ").partition(b"=")
            self._pair.clear()
            name, value = self._decoded(raw_name), self._decoded(raw_value)
            self._budget.spend(len(name) + len(value))
            self._form.fields.setdefault(text_of(name), []).append(text_of(value))

    def _decoded(self, raw: bytes) -> bytes:
        # First the least that it can be: to decode 6 MiB of %41 takes a second.
        self._budget.measure(len(raw) - 2 * raw.count(b"%"))
        data = unquote_to_bytes(raw)
        self._budget.measure(len(data))
        return data
