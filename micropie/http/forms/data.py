"""Queries and urlencoded forms, and what they share with multipart forms: the data, its limits, the messages."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from micropie.errors import BadRequest, HTTPError
from micropie.http.forms.uploads import UploadFile

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one query or form; sizes in bytes."""

    max_form_field_size: int = MEBIBYTE
    max_fields: int = 1000  # as Django and PHP
    max_files: int = 100  # as Django
    max_data_size: int = 5 * MEBIBYTE // 2  # fields together: 413 past it, as Django
    max_file_memory: int = 16 * MEBIBYTE  # files together: on disk past it
    max_part_headers: int = 8  # browsers send 2, RFC 7578 knows 3
    max_part_header_size: int = 4096  # one line: room for a file name of 255 characters, all escaped
    spool_size: int = MEBIBYTE  # a file is in memory up to here, then on disk


DEFAULT_LIMITS = Limits()


@dataclass(slots=True)
class FormData:
    """The fields and files of a multipart form, each a list by name; ``close()`` closes the files.

    ``parts``: both in the order of the form, (name, value or file).
    """

    fields: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, list[UploadFile]] = field(default_factory=dict)
    parts: list[tuple[str, str | UploadFile]] = field(default_factory=list)

    def close(self) -> None:
        for uploads in self.files.values():
            for upload in uploads:
                upload.close()


class Budget:
    """A counter of fields and their bytes: the limits that every kind of form shares. Raises 413."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._count = 0
        self._memory = 0

    def begin(self) -> None:
        """Count one more field."""
        self._count += 1
        if self._count > self._limits.max_fields:
            raise HTTPError(413, f"A form or query may have {self._limits.max_fields} fields at most.")

    def measure(self, size: int) -> None:
        """Raise 413 if a name or value of ``size`` bytes is too long, by itself or with the fields so far."""
        if size > self._limits.max_form_field_size:
            raise HTTPError(413, f"A field may have {self._limits.max_form_field_size} bytes at most.")
        if self._memory + size > self._limits.max_data_size:
            raise HTTPError(413, f"A form's fields may have {self._limits.max_data_size} bytes together at most.")

    def spend(self, size: int) -> None:
        """Add a complete field of ``size`` bytes, name and value."""
        self._memory += size


def text_of(data: bytes) -> str:
    """Return a name or a value as text. Raises ``BadRequest``."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadRequest("A field's name or value is not valid UTF-8.") from None
    if "\0" in text:
        raise BadRequest("A field's name or value has a NUL character.")
    return text


def require_utf8(charset: str) -> None:
    """Raise 415 for another charset: text that is decoded by a guess would be stored wrongly."""
    if charset.lower() not in ("", "utf-8", "utf8", "us-ascii", "ascii"):
        raise HTTPError(415, "Forms are read as UTF-8 only.")


# -- queries and urlencoded forms --------------------------------------------------------------------------------------


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
        if text.count("&") < limits.max_fields and len(text) <= limits.max_data_size:
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
            if name in fields:
                fields[name].append(value)
            else:
                fields[name] = [value]
    return fields


def _unquoted(text: str) -> str:
    text = text.replace("+", " ")
    return text_of(unquote_to_bytes(text)) if "%" in text or "\0" in text else text


def parse_checked(query: bytes, limits: Limits) -> dict[str, list[str]]:
    """Return the same as ``parse_query``, and check the limits before each field is decoded."""
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
    # First the least length that it can have, because decoding 6 MiB of %41 takes a second.
    budget.measure(len(raw) - 2 * raw.count(b"%"))
    data = unquote_to_bytes(raw)
    budget.measure(len(data))
    return data
