"""``multipart/form-data``: bytes pushed in, parts or fields and files out; the only place that knows ``multipart``.

The result doesn't depend on how the bytes are cut into chunks (docs/risks.md, R34): every limit is checked in the
order of the bytes. Input that the push parser accepts or refuses depending on the cuts is refused before it gets there.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from threading import RLock
from typing import Any, NamedTuple, TypeAlias

from micropie.errors import BadRequest, HTTPError
from micropie.http.forms.data import DEFAULT_LIMITS, Budget, FormData, Limits, require_utf8, text_of
from micropie.http.forms.uploads import UploadFile
from micropie.http.media_types import content_type, disposition

try:
    import multipart  # type: ignore[import-untyped, unused-ignore]
except ImportError:  # pragma: no cover - the tests set it to None
    multipart = None

logger = logging.getLogger("micropie")

MULTIPART = "multipart/form-data"

FieldReader: TypeAlias = Callable[[dict[str, str], bytes], str]
"""Returns the text of a field, given its headers, names in lower case, and its bytes."""


class PartHead(NamedTuple):
    """The head of a part. ``raw_filename`` is None for a field; the names of the headers are lower-case.

    ``headers`` are not to be changed: other requests may have the same head.
    """

    name: str
    raw_filename: str | None
    headers: dict[str, str]


_PushMultipartParser: Any = getattr(multipart, "PushMultipartParser", object)


class PartParser(_PushMultipartParser):  # type: ignore[misc, unused-ignore]
    """A push parser for RFC 7578 that passes the parts on as their bytes arrive, and keeps nothing of them.

    Stricter than the RFC: no preamble, no folded lines and no control characters in part headers. The bytes after the
    last boundary are ignored. A file input that was left empty is no part. ``any_charset``: a field may state another
    charset than UTF-8; otherwise that is a 415.
    """

    # On the class, as in ``Request``. An object with more than 30 attributes of its own takes longer for each.
    unselected: Sequence[str] = ()
    """The names of file inputs that were left empty."""
    _any_charset = False
    _opening: bytes | None = b""  # the bytes so far of the first boundary; None once it is complete
    _has_short_head = True  # so far
    _field_name: bytes | None = None  # of the field whose value is being read
    _field_size = 0
    _nameless: PartHead | None = None  # a file without a name and, so far, without a byte
    _files = 0
    _failure: tuple[int, str] | None = None

    def __init__(self, boundary: str, limits: Limits = DEFAULT_LIMITS, any_charset: bool = False) -> None:
        if not hasattr(multipart, "PushMultipartParser"):  # absent, or python-multipart, once of that name
            raise RuntimeError('multipart forms need the package multipart: pip install "micropie-dual[standard]"')
        if not _BOUNDARY.fullmatch(boundary):
            raise BadRequest("The Content-Type header of the multipart form has no valid boundary.")
        super().__init__(
            boundary,
            # Whether this counts the CR depends on the chunks. It bounds the memory; the check of each line is exact.
            max_header_size=2 * limits.max_part_header_size + 2,
            max_header_count=limits.max_part_headers,
        )
        self._limits = limits
        self._budget = Budget(limits)
        if any_charset:
            self._any_charset = True

    def events(self, chunk: bytes) -> Iterator[PartHead | bytes | None]:
        """Return an iterator over the next chunk's parts: of each its head, its bytes, and None at its end.

        Take all of it before the next chunk. Raises 400, 413 and 415, and the same again at each later call.
        """
        chunk = self._opened(chunk)
        return self._parts(chunk) if chunk else iter(())  # an empty one would mean the end to the push parser

    def finish(self) -> None:
        """Declare the end of the body. Raises 400 if the form is incomplete."""
        if self._failure is not None:
            raise HTTPError(*self._failure)
        try:
            self.close()
        except multipart.MultipartError:
            raise BadRequest("The multipart form is cut off before its last boundary.") from None

    def _opened(self, chunk: bytes) -> bytes:
        """Return the bytes to parse: all since the start once the first boundary is complete, b"" before."""
        if self._failure is not None:
            raise HTTPError(*self._failure)
        if self._opening is None:
            return chunk
        start, openings = self._opening + chunk, (self._delimiter[2:], self._delimiter)
        if start.startswith(openings):
            self._opening = None
            return start
        if not any(opening.startswith(start) for opening in openings):
            raise self._failed(BadRequest("The multipart form does not begin with its boundary."))
        self._opening = start
        return b""

    def _parts(self, chunk: bytes) -> Iterator[PartHead | bytes | None]:
        try:
            for event in self.parse(chunk):
                if self._nameless is None:
                    yield event
                elif event is None:
                    self.unselected = [*self.unselected, self._nameless.name]
                    self._nameless = None
                elif type(event) is bytes:
                    yield self._nameless
                    self._nameless = None
                    yield event
        except (multipart.MultipartError, HTTPError) as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> HTTPError:
        """Return the error that is raised now and by each later call."""
        if isinstance(error, multipart.ParserLimitReached):
            answer: HTTPError = BadRequest("A part of the form has too many or too long headers.")
        else:
            answer = error if isinstance(error, HTTPError) else BadRequest("The multipart form is malformed.")
        self._failure = answer.status, answer.message  # not the exception, which refers to this parser's frames
        return answer

    # -- what the push parser calls: these take the place of its own, and what they return are its events -------------

    def _on_segment_headerline(self, line: bytes) -> None:
        pairs, longest = self._segment_headerlist, self._limits.max_part_header_size
        known = _known_lines.get(line)
        if known is not None and len(pairs) < self.max_header_count and len(line) <= longest:
            pairs.append(known)  # 0.3 µs, and not 2
            return
        # The parser would refuse a bare LF or not, depending on the chunks; a folded line can be repeated for ever.
        if _UNFIT_HEADER_LINE.match(line):
            raise multipart.ParserError("unfit header line")
        if len(line) > longest:
            raise multipart.ParserLimitReached("header line too long")
        super()._on_segment_headerline(line)
        # RFC 7578 has no Content-Length in parts. If it were checked, the chunks would decide which error comes.
        self._segment_limit = -1
        if len(line) > _SHORT_LINE:
            self._has_short_head = False
        else:
            if len(_known_lines) >= _MOST_LINES:
                _known_lines.clear()
            _known_lines[line] = pairs[-1]

    def _create_segment(self, pairs: list[tuple[str, str]]) -> PartHead:
        """Count a part, check that its bytes will be text, and return its head."""
        if self._has_short_head:
            head = _known_head(tuple(pairs))
        else:
            head, self._has_short_head = _head_of(pairs), True
        name, filename, headers = head
        if filename is None:
            media_type = headers.get("content-type")
            if media_type and not self._any_charset:
                require_utf8(content_type(media_type)[1].get("charset", ""))
            self._field_name, self._field_size = name.encode(), 0
            self._budget.begin()
            self._budget.measure(len(self._field_name))
            return head
        self._files += 1
        if self._files > self._limits.max_files:
            raise HTTPError(413, f"A form may have {self._limits.max_files} files at most.")
        if not filename:
            self._nameless = head
        return head

    def _on_segment_payload(self, chunk: bytes) -> bytes:
        if self._field_name is not None:
            self._field_size += len(chunk)
            self._budget.measure(self._field_size)
        return chunk

    def _on_segment_complete(self) -> None:
        if self._field_name is not None:
            self._budget.spend(len(self._field_name) + self._field_size)
            self._field_name = None


def _head_of(pairs: Sequence[tuple[str, str]]) -> PartHead:
    """Return the head that these headers make. Raises 400."""
    headers = {name.lower(): value for name, value in pairs}
    if len(headers) < len(pairs):
        raise BadRequest("A part of the form has a header twice.")
    name, filename = disposition(headers.get("content-disposition", ""))
    if headers.get("content-transfer-encoding", "binary").lower() not in ("7bit", "8bit", "binary"):
        raise BadRequest("A part of the form has a Content-Transfer-Encoding, which forms don't use.")
    return PartHead(name, filename, headers)


# A form's fields have the same headers in each request. What has been read is kept, if it is short: clients choose it.
_SHORT_LINE = 128  # bytes
_known_lines: dict[bytes, tuple[str, str]] = {}
_MOST_LINES = 1024
_known_head = lru_cache(maxsize=256)(_head_of)


class _FormParser(PartParser):
    """Keeps the parts in ``form``: fields as text, files as uploads. ``read_field``: see ``MultipartParser``."""

    upload: UploadFile | None = None
    """The file that is being received."""
    _head: PartHead
    _read_field: FieldReader | None = None
    _memory_used = 0  # by the files so far

    def __init__(self, boundary: str, limits: Limits, read_field: FieldReader | None) -> None:
        super().__init__(boundary, limits, any_charset=read_field is not None)
        if read_field is not None:
            self._read_field = read_field
        self.form = FormData()
        self._value = bytearray()

    def keep(self, chunk: bytes) -> None:
        """Parse the next chunk. Raises as ``events`` does, and for a full disk ``OSError``."""
        chunk = self._opened(chunk)
        if chunk:
            try:
                deque(self.parse(chunk), maxlen=0)
            except (multipart.MultipartError, HTTPError) as error:
                raise self._failed(error) from None

    @property
    def memory_for_file(self) -> int:
        """How much of the next file may stay in memory: 100 files of 1 MiB each would be too much."""
        return min(self._limits.spool_size, self._limits.max_file_memory - self._memory_used)

    def _create_segment(self, pairs: list[tuple[str, str]]) -> PartHead:
        self._head = head = super()._create_segment(pairs)
        if head.raw_filename:
            self.upload = UploadFile(head.raw_filename, head.headers, self.memory_for_file)
        return head

    def _on_segment_payload(self, chunk: bytes) -> bytes:
        if self._nameless is not None:
            self.upload, self._nameless = UploadFile("", self._nameless.headers, self.memory_for_file), None
        if self.upload is not None:
            self.upload.write(chunk)
        else:
            super()._on_segment_payload(chunk)
            self._value += chunk
        return chunk

    def _on_segment_complete(self) -> None:
        name, _, headers = self._head
        if self._nameless is not None:
            self.unselected = [*self.unselected, name]
            self._nameless = None
        elif self.upload is not None:
            upload, self.upload = self.upload, None
            if upload.size <= self.memory_for_file:
                self._memory_used += upload.size
            self.form.files.setdefault(name, []).append(upload)
            self.form.parts.append((name, upload))
            upload.finish()  # last, because a full disk may show here: ``close`` then closes the file
        else:
            super()._on_segment_complete()
            data = bytes(self._value)
            self._value.clear()
            value = text_of(data) if self._read_field is None else self._read_field(headers, data)
            self.form.fields.setdefault(name, []).append(value)
            self.form.parts.append((name, value))


class MultipartParser:
    """A push parser for a whole form: fields go to memory, files to temporary files. An error closes everything.

    ``feed`` may run in another thread than ``close``, which is called at any time: when a request is cancelled.
    ``read_field`` makes text of a field in any charset; without it all are UTF-8.
    """

    def __init__(self, boundary: str, limits: Limits = DEFAULT_LIMITS, read_field: FieldReader | None = None) -> None:
        self._parser = _FormParser(boundary, limits, read_field)
        self._lock = RLock()
        self._is_closed = False

    def feed(self, *chunks: bytes) -> None:
        """Parse the next chunks. Raises 400, 413, 415 and 507, and ``ValueError`` after ``close``."""
        with self._lock:
            try:
                if self._is_closed:
                    raise ValueError("the form was closed while it was being received")
                for chunk in chunks:
                    self._parser.keep(chunk)
            except OSError as error:  # the disk is full, or no file can be opened: RFC 4918, section 11.5
                self.close()
                # Without a traceback. The folder is None if there is none, which the error says then.
                logger.error("an upload can't be stored in %s: %s", tempfile.tempdir, error)  # noqa: TRY400
                raise HTTPError(507, "There is no room for this upload at the moment.") from None
            except BaseException:
                self.close()
                raise

    def may_block(self, size: int) -> bool:
        """Return whether feeding ``size`` bytes may write to the disk: if so, use a thread (docs/risks.md, R31)."""
        upload = self._parser.upload
        if upload is not None:
            size += upload.size
        return size > self._parser.memory_for_file

    @property
    def unselected(self) -> Sequence[str]:
        """The names of file inputs that were left empty."""
        return self._parser.unselected

    def finish(self) -> FormData:
        """Return the form. Its files are open until ``close``. Raises 400 if the form is incomplete."""
        try:
            self._parser.finish()
        except BadRequest:
            self.close()
            raise
        return self._parser.form

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._is_closed = True
            self._parser.form.close()
            if self._parser.upload is not None:
                self._parser.upload.close()


def boundary_of(parameters: dict[str, str]) -> str:
    """Return the boundary in a media type's parameters. Raises 415 for a charset other than UTF-8."""
    require_utf8(parameters.get("charset", ""))
    return parameters.get("boundary", "")


# RFC 2046, section 5.1.1, allows 70 characters of a smaller set; some clients send more, and others.
_BOUNDARY = re.compile("[!-~](?:[ -~]{0,254}[!-~])?")
_UNFIT_HEADER_LINE = re.compile(rb"[ \t]|.*?[\x00-\x08\x0a-\x1f\x7f]", re.DOTALL)
