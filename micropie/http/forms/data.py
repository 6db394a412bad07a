"""The data of a query or a form, and its limits: the same limits and messages for all kinds.

Too much is 413, malformed is 400, a charset other than UTF-8 is 415. Text is valid UTF-8 without NUL. Nothing
here knows a form's syntax.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from micropie.errors import BadRequest, HTTPError
from micropie.http.forms.uploads import UploadFile

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one query or form; sizes in bytes."""

    max_form_field_size: int = MEBIBYTE
    max_fields: int = 1000  # as Django and PHP
    max_files: int = 100  # as Django
    max_form_memory: int = 16 * MEBIBYTE  # fields together: 413 past it; files together: on disk past it
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
        self._max_memory = max(limits.max_form_memory, limits.max_form_field_size)

    def begin(self) -> None:
        """Count one more field."""
        self._count += 1
        if self._count > self._limits.max_fields:
            raise HTTPError(413, f"A form or query may have {self._limits.max_fields} fields at most.")

    def measure(self, size: int) -> None:
        """Raise 413 if a name or value of ``size`` bytes is too long, by itself or with the fields so far."""
        if size > self._limits.max_form_field_size:
            raise HTTPError(413, f"A field may have {self._limits.max_form_field_size} bytes at most.")
        if self._memory + size > self._max_memory:
            raise HTTPError(413, f"A form's fields may have {self._max_memory} bytes together at most.")

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
