"""Parse the request's query, its form, and the files uploaded with it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote_to_bytes

from micropie import BadRequest, UploadFile
from micropie import HTTPError as NativeError
from micropie_compat.bottle.dicts import FormsDict, HeaderDict
from micropie_compat.bottle.properties import HeaderProperty
from micropie_compat.bottle.responses import HTTPError
from micropie_compat.core import Limits, MultipartParser, codec_of, content_type
from micropie_compat.results import CHUNK, StrPath, Values, in_ascii

_UNSAFE = re.compile(r"[^a-zA-Z0-9_.\s-]")
# The folders in an absolute path of Windows, which some old browsers send as a file's name.
_FOLDERS = re.compile(r"^(?:.:|\\)\\(?:.*\\)?", re.DOTALL)


class MultipartError(HTTPError):
    """Raised for a multipart form that is malformed (status 400) or too large (413)."""

    def __init__(self, msg: str, status: int = 400) -> None:
        super().__init__(status, f"MultipartError: {msg}")


class FileUpload:
    """A file that a client uploaded.

    ``raw_filename`` is the name as the client sent it; only ``filename`` is safe to use in a path.
    """

    content_type = HeaderProperty("Content-Type")
    content_length = HeaderProperty("Content-Length", reader=int, default=-1)

    def __init__(
        self,
        fileobj: IO[bytes],
        name: str,
        filename: str,
        headers: Values | None = None,
    ) -> None:
        self.file = fileobj
        self.name = name
        self.raw_filename = filename
        self.headers = HeaderDict(headers or {})
        self._filename: str | None = None

    def set_header(self, name: str, value: object) -> None:
        """Set a header in this file's part of the multipart form."""
        self.headers[name] = value

    def get_header(self, name: str, default: object = None) -> Any:
        """Return a header of this file's part of the multipart form."""
        return self.headers.get(name, default)

    @property
    def filename(self) -> str:
        """A safe file name of at most 255 ASCII letters, digits, ``-``, ``_`` and ``.``, or "empty"
        if the client's name has none of them.
        """
        if self._filename is None:
            raw = self.raw_filename
            text = raw.decode("utf-8", "ignore") if isinstance(raw, bytes) else raw
            name = in_ascii(text.replace("\\", "/").rpartition("/")[2])
            name = _UNSAFE.sub("", name).strip()
            self._filename = re.sub(r"[-\s]+", "-", name).strip(".-") or "empty"
        return self._filename

    @filename.setter
    def filename(self, name: str) -> None:
        self._filename = name

    def save(
        self,
        destination: StrPath | IO[bytes],
        overwrite: bool = False,
        chunk_size: int = CHUNK,
    ) -> None:
        """Write the content to a path, into a directory as ``filename``, or to an open file.

        Raises ``OSError`` if the path exists and ``overwrite`` is false.
        """
        if not isinstance(destination, str | os.PathLike):
            self._copy(destination, chunk_size)
            return
        path = Path(destination)
        if path.is_dir():
            path = path / self.filename
        try:
            # The mode "x" fails if the path exists, even if it is a link or another request has
            # just created the file.
            target = path.open("wb" if overwrite else "xb")
        except FileExistsError:
            raise OSError("File exists.") from None
        with target:
            self._copy(target, chunk_size)

    def _copy(self, target: IO[bytes], chunk_size: int) -> None:
        position = self.file.tell()
        shutil.copyfileobj(self.file, target, chunk_size)
        self.file.seek(position)


def parse_pairs(encoded: str) -> FormsDict:
    """Return the fields of a query or a urlencoded form. Malformed input raises no error, and bytes
    that are not UTF-8 are decoded as latin-1.

    ``encoded``: the bytes of the query or the form, decoded as latin-1.
    """
    found: dict[str, list[str]] = {}
    for pair in encoded.replace("+", " ").split("&"):
        if pair:
            name, _, value = pair.partition("=")
            found.setdefault(_unquoted(name), []).append(_unquoted(value))
    # without ``FormsDict()``, a call that takes as long as parsing a short form
    fields = FormsDict.__new__(FormsDict)
    fields.dict = found
    return fields


def _unquoted(text: str) -> str:
    if "%" not in text and text.isascii():
        return text
    raw = unquote_to_bytes(text.encode("latin-1"))
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def parse_multipart(
    header: str, body: IO[bytes], memory: int, counts: Limits | None = None
) -> tuple[Iterator[tuple[str, str | FileUpload]], MultipartParser]:
    """Parse a multipart form.

    Return an iterator over its fields as (name, string or ``FileUpload``), and the parser, whose
    ``close`` closes the files. A file input that was left empty is a field with the value "". A
    field is decoded from the charset that it declares, otherwise from that of the form, otherwise
    from UTF-8.

    ``memory``: the maximum size in bytes of all fields together, and the size above which a file is
        stored on disk.
    ``counts``: the maximum numbers of fields and of files.

    Raises ``MultipartError`` with status 400 or 413.
    """
    try:
        stated = content_type(header)[1]
        of_form = stated.get("charset", "utf-8")

        def read_field(headers: dict[str, str], data: bytes) -> str:
            charset = content_type(headers.get("content-type", ""))[1].get("charset", of_form)
            try:
                return data.decode(codec_of(charset))
            except (UnicodeDecodeError, LookupError):
                raise BadRequest(f"A form field's value can't be decoded as {charset!r}.") from None

        limits = replace(
            counts or Limits(),
            max_form_field_size=memory,
            max_data_size=memory,
            spool_size=memory,
        )
        parser = MultipartParser(stated.get("boundary", ""), limits, read_field)
        while chunk := body.read(CHUNK):
            parser.feed(chunk)
        form = parser.finish()
    except NativeError as error:
        refused = str(error), error.status
    else:
        return as_uploads(form.parts, form.unselected), parser
    raise MultipartError(*refused)


def as_uploads(
    parts: Iterable[tuple[str, str | UploadFile]], unselected: Iterable[str]
) -> Iterator[tuple[str, str | FileUpload]]:
    """Yield (name, value) for each field of a form that micropie has parsed. A value is a string or
    a ``FileUpload``.

    ``unselected``: the names of file inputs that were left empty. Their value is "".
    """
    for name, part in parts:
        yield (
            name,
            part
            if isinstance(part, str)
            else FileUpload(part.file, name, _FOLDERS.sub("", part.raw_filename), part.headers),
        )
    for name in unselected:
        yield name, ""
