"""``multipart/form-data``: bytes pushed in, fields and files out; the only place that knows ``multipart``.

The answer doesn't depend on how the bytes are cut into chunks (RISKS row 34): every limit is checked in the
order of the bytes, and what the push parser would take or refuse as the chunks fall is refused before it.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from micropie.errors import BadRequest, HTTPError
from micropie.formdata import DEFAULT_LIMITS, Fields, FormData, Limits, require_utf8
from micropie.mediatypes import content_type, disposition
from micropie.uploads import UploadFile

try:
    import multipart  # type: ignore[import-untyped, unused-ignore]
except ImportError:  # pragma: no cover - the tests set it to None
    multipart = None


class MultipartParser:
    """RFC 7578, pushed in; files go to temporary files as they come.

    Stricter than the RFC: no preamble, no folded lines and no control characters in part headers. What
    follows the last boundary is ignored. After an error everything is closed.
    """

    def __init__(self, boundary: str, limits: Limits = DEFAULT_LIMITS) -> None:
        self._parser = _push_parser(boundary, limits)
        self._fields = Fields(limits)
        self._limits = limits
        self._openings = (b"--" + boundary.encode(), b"\r\n--" + boundary.encode())
        self._opening: bytes | None = b""  # what came so far of the first boundary; None once it is there
        self._name = ""
        self._value = bytearray()
        self._upload: UploadFile | None = None
        self._files = 0
        self._spooled = 0

    def feed(self, chunk: bytes) -> None:
        try:
            if self._opening is not None:
                chunk = self._opened(self._opening + chunk)
            if chunk:  # an empty one would mean the end to the push parser
                self._take(chunk)
        except multipart.ParserLimitReached:
            self.close()
            raise BadRequest("A part of the form has too many or too long headers.") from None
        except multipart.MultipartError:
            self.close()
            raise BadRequest("The multipart form is malformed.") from None
        except BaseException:
            self.close()
            raise

    def finish(self) -> FormData:
        """The form, whose files are the caller's to close from now on."""
        try:
            self._parser.close()
        except multipart.MultipartError:
            self.close()
            raise BadRequest("The multipart form is cut off before its last boundary.") from None
        form, self._fields.form = self._fields.form, FormData()
        return form

    def close(self) -> None:
        self._fields.form.close()
        if self._upload is not None:
            self._upload.close()

    def may_block(self, size: int) -> bool:
        """Whether feeding ``size`` bytes may write to the disk: then use a worker thread (RISKS row 31)."""
        return size + (self._upload.size if self._upload else 0) > self._room()

    def _opened(self, start: bytes) -> bytes:
        if start.startswith(self._openings):
            self._opening = None
            return start
        if not any(opening.startswith(start) for opening in self._openings):
            raise BadRequest("The multipart form does not begin with its boundary.")
        self._opening = start
        return b""

    def _take(self, chunk: bytes) -> None:
        for event in self._parser.parse(chunk):
            if event is None:
                self._end_part()
            elif type(event) is bytes:
                self._add_data(event)
            else:
                self._begin_part(_part_headers(event.headerlist))

    def _begin_part(self, headers: dict[str, str]) -> None:
        self._name, filename = disposition(headers["content-disposition"])
        if headers.get("content-transfer-encoding", "binary").lower() not in ("7bit", "8bit", "binary"):
            raise BadRequest("A part of the form has a Content-Transfer-Encoding, which forms don't use.")
        if filename is None:
            self._begin_field(headers.get("content-type", ""))
        else:
            self._begin_file(filename, headers)

    def _begin_field(self, media_type: str) -> None:
        require_utf8(content_type(media_type)[1].get("charset", ""))
        self._fields.begin()
        self._fields.measure(len(self._name.encode()))

    def _begin_file(self, filename: str, headers: dict[str, str]) -> None:
        self._files += 1
        if self._files > self._limits.max_files:
            raise HTTPError(413, f"A form may have {self._limits.max_files} files at most.")
        self._upload = UploadFile(filename, headers, self._room())

    def _room(self) -> int:
        """How much of the next file may stay in memory: 100 files of 1 MiB each would be too much."""
        return min(self._limits.spool_size, self._limits.max_form_memory - self._spooled)

    def _add_data(self, data: bytes) -> None:
        if self._upload is not None:
            self._upload.write(data)
        else:
            self._fields.measure(len(self._value) + len(data))
            self._value += data

    def _end_part(self) -> None:
        if self._upload is None:
            self._fields.add(self._name, bytes(self._value))
            self._value.clear()
        else:
            upload, self._upload = self._upload, None
            self._end_file(upload)

    def _end_file(self, upload: UploadFile) -> None:
        if not upload.raw_filename and not upload.size:
            upload.close()  # how a browser sends a file input that was left empty
            return
        if upload.size <= self._room():
            self._spooled += upload.size
        upload.seek(0)
        self._fields.form.files.setdefault(self._name, []).append(upload)


def _part_headers(pairs: list[tuple[str, str]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in pairs:
        if headers.setdefault(name.lower(), value) is not value:
            raise BadRequest("A part of the form has a header twice.")
    return headers


# RFC 2046, section 5.1.1, allows 70 of fewer characters; clients are known to send more and others.
_BOUNDARY = re.compile("[!-~](?:[ -~]{0,254}[!-~])?")
_UNFIT_HEADER_LINE = re.compile(rb"[ \t]|.*?[\x00-\x08\x0a-\x1f\x7f]", re.DOTALL)


def _push_parser(boundary: str, limits: Limits) -> Any:
    if not hasattr(multipart, "PushMultipartParser"):  # absent, or python-multipart, once of that name
        raise RuntimeError('multipart forms need the package multipart: pip install "micropie[standard]"')
    if not _BOUNDARY.fullmatch(boundary):
        raise BadRequest("The Content-Type header of the multipart form has no valid boundary.")
    parser = _checked_parser()(
        boundary,
        # Whether this counts the CR depends on the chunks. Ours is exact, below; this one bounds the memory.
        max_header_size=2 * limits.max_part_header_size + 2,
        max_header_count=limits.max_part_headers,
    )
    parser.longest_header = limits.max_part_header_size
    return parser


@cache
def _checked_parser() -> Any:
    class CheckedParser(multipart.PushMultipartParser):  # type: ignore[misc]
        longest_header = 0

        def _on_segment_headerline(self, line: bytes) -> None:
            # A bare LF is refused or not as the chunks fall; a folded line can be repeated for ever.
            if _UNFIT_HEADER_LINE.match(line):
                raise multipart.ParserError("unfit header line")
            if len(line) > self.longest_header:
                raise multipart.ParserLimitReached("header line too long")
            super()._on_segment_headerline(line)
            # RFC 7578 has no Content-Length in parts, and its check would race our limits as the chunks fall.
            self._segment_limit = -1

    return CheckedParser
