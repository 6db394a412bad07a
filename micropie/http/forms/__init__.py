"""Query strings and forms: bytes in, fields and files out.

The rules are the same for a query, an urlencoded form and a multipart form:
- limits are checked field by field, in the order of the bytes, so that the first problem decides the answer;
- too much (fields, files, bytes of a field) is 413, malformed is 400, a charset other than UTF-8 is 415;
- text is valid UTF-8 without NUL; only ``&`` separates; a name without ``=`` has the value ``""``;
- a parser that raised has closed the files that it had opened, and can't be used again.
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
    "boundary_of",
    "content_type",
    "is_json",
    "parse_query",
    "require_utf8",
    "text_of",
]


def parse_query(query: bytes | str, limits: Limits = DEFAULT_LIMITS) -> dict[str, list[str]]:
    """Return name -> values of a query or an urlencoded form. A str is WSGI's: bytes as latin-1.

    Raises 400 for malformed text, 413 past a limit.
    """
    if not query:
        return {}
    if len(query) <= limits.max_form_field_size and query.isascii():
        text = query if isinstance(query, str) else query.decode("ascii")
        # Only where no limit can be passed. Anything else is parsed with checks.
        if "&" not in text and "%" not in text and "+" not in text and "\0" not in text and limits.max_fields:
            name, _, value = text.partition("=")
            return {name: [value]}
        if text.count("&") < limits.max_fields and len(text) <= limits.max_form_memory:
            return _parse_unchecked(text)
    if isinstance(query, str):
        try:
            query = query.encode("latin-1")
        except UnicodeEncodeError:
            raise BadRequest("The query is not percent-encoded UTF-8.") from None
    return parse_checked(query, limits)


def _parse_unchecked(text: str) -> dict[str, list[str]]:
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


def parse_checked(query: bytes, limits: Limits) -> dict[str, list[str]]:
    """Do as ``parse_query``; the limits are checked before each field is decoded."""
    fields: dict[str, list[str]] = {}
    budget = Budget(limits)
    *pairs, last = query.split(b"&", limits.max_fields)  # one pair too many is seen as the last
    for pair in [*pairs, last] if last else pairs:
        # An empty pair (``a=1&&b=2``) is no field, but it counts: a million of them cost as much as fields.
        budget.begin()
        if pair:
            raw_name, _, raw_value = pair.replace(b"+", b" ").partition(b"=")
            name, value = _decoded(raw_name, budget), _decoded(raw_value, budget)
            budget.spend(len(name) + len(value))
            fields.setdefault(text_of(name), []).append(text_of(value))
    return fields


def _decoded(raw: bytes, budget: Budget) -> bytes:
    # First the least that it can be: to decode 6 MiB of %41 takes a second.
    budget.measure(len(raw) - 2 * raw.count(b"%"))
    data = unquote_to_bytes(raw)
    budget.measure(len(data))
    return data
