"""``multipart/form-data`` (RFC 7578): a parser that is fed bytes and returns parts, or fields and
files.

The package ``multipart`` finds the parts and their headers. This module decides what a form may
contain: its limits, and the headers and names of its parts. The result doesn't depend on how the
bytes are cut into chunks (tests/project/risks, R34).
"""

from __future__ import annotations

import codecs
import errno
import os
from collections.abc import Callable, Container, Iterable, Iterator
from math import inf
from threading import RLock
from typing import NamedTuple, Self, TypeAlias

from multipart import MultipartError, MultipartSegment, PushMultipartParser

from micropie._core.errors import BadRequest, HTTPError, logger, too_many
from micropie._core.http.forms.data import (
    DEFAULT_LIMITS,
    UTF_8_OR_LESS,
    Budget,
    JsonText,
    Limits,
    outer_name,
    require_utf8,
    text_of,
)
from micropie._core.http.forms.uploads import UploadFile
from micropie._core.http.headers import (
    NameTable,
    codec_of,
    content_type,
    disposition,
    is_json,
)
from micropie._core.http.protocols import Pairs, Parameters
from micropie._core.on_demand import pattern

FieldReader: TypeAlias = Callable[[dict[str, str], bytes], str]
"""A function that returns the text of a field. Its arguments are the headers of the field, with
lower-case names, and its bytes.
"""


class PartHead(NamedTuple):
    """The head of a part.

    ``raw_filename`` is None for a field; the names of the headers are lower-case.
    """

    name: str
    raw_filename: str | None
    headers: dict[str, str]


PartEvent: TypeAlias = PartHead | bytes | None
"""An event: the head of a part, then its bytes, chunk by chunk, then None at its end."""

_MOST_PREAMBLE = 4096  # Bytes that may come before the first part.
_MOST_HEADERS = 8  # Headers of one part. Browsers send 2, RFC 7578 defines 3.
_MOST_HEADER = 4096  # Bytes, enough for a file name of 255 escaped characters.
_DASH = ord("-")
_MOST_PARTS = 64  # a piece with more parts is parsed in a thread: that may take a millisecond
_MALFORMED = (
    "The multipart form is malformed: a boundary is wrong, or a part's headers are invalid, too "
    "many or too long."
)


def _head_of(lines: Pairs) -> PartHead:
    """Return the head of a part. Raises 400 for a repeated header, or for a header that forms don't
    use.
    """
    headers = {name.lower(): value for name, value in lines}
    if len(headers) < len(lines):
        raise BadRequest("A part of the form has a header twice.")
    if headers.get("content-transfer-encoding", "binary").lower() not in (
        "7bit",
        "8bit",
        "binary",
    ):
        raise BadRequest(
            "A part of the form has a Content-Transfer-Encoding, which forms don't use."
        )
    return PartHead(*disposition(headers["content-disposition"]), headers)


def _is_json(headers: dict[str, str]) -> bool:
    return is_json(content_type(headers.get("content-type", ""))[0])


class PartParser:
    """A push parser that yields the parts while their bytes arrive, and stores nothing.

    It is stricter than RFC 2046: the text before the first boundary must be short, and part headers
    must not have folded lines or control characters. Bytes after the last boundary are ignored. A
    file input left empty counts as no part. ``any_charset``: accept fields in any charset, and
    fields that contain parts.
    """

    read_head = staticmethod(_head_of)

    # The bytes before the first boundary; None once that boundary was found.
    _opening: bytes | None = b""
    _files = 0
    _failure: tuple[int, str] | None = None

    # These attributes describe the part that is arriving.
    _head: PartHead
    _is_part: bool  # False while the part may be a file input left empty.
    _start: bytes  # The part's first bytes, until it is clear whether they are the boundary.
    _size: int
    _name_size: int
    _room: float  # the maximum size in bytes of the name or the value; infinite for a file

    def __init__(
        self, boundary: str, limits: Limits = DEFAULT_LIMITS, any_charset: bool = False
    ) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise BadRequest("The Content-Type header of the multipart form has no valid boundary.")
        self._parser = PushMultipartParser(
            boundary,
            # ``multipart`` counts a header line without its CRLF. If a chunk ends between CR and
            # LF, ``multipart`` counts the CR as well, so allow one byte more.
            max_header_size=_MOST_HEADER + 1,
            max_header_count=_MOST_HEADERS,
            header_charset=_HEADER_LINES,
            strict=True,
        )
        self.boundary = b"--" + boundary.encode()
        self._limits = limits
        self._any_charset = any_charset
        self._budget = Budget(limits)
        self.unselected: list[str] = []
        """The names of file inputs that were left empty."""

    def events(self, chunk: bytes) -> Iterator[PartEvent]:
        """Yield the events of the next chunk, which must not be empty.

        Consume all of them before you pass the next chunk. Raises 400 for a malformed form, 413
        above a limit, and 415 for a field in an unknown charset. After an error, each later call
        raises the same error.
        """
        try:
            for event in self._found_in(chunk):
                if event.__class__ is bytes:
                    self._count(event)
                    if not self._is_part:
                        self._is_part = True
                        yield self._head
                    yield event
                elif event is not None:
                    self._begin(event)
                    if self._is_part:
                        yield self._head
                elif self._is_part:
                    self._budget.spend(0 if self._room is inf else self._name_size + self._size)
                    yield None
                else:
                    self.unselected.append(self._head.name)
        except MultipartError:
            # ``multipart`` refuses bytes after the last boundary if they come in a later chunk.
            # Such bytes are allowed here, so this exception is an error only if the form is
            # incomplete.
            if not self._is_complete():
                self._failure = 400, _MALFORMED
                raise BadRequest(_MALFORMED) from None
        except HTTPError as error:
            # Store no exception, because it would refer to this parser's frames.
            self._failure = error.status, error.message
            raise

    def finish(self, may_be_empty: bool = False) -> None:
        """Signal the end of the body. Raises 400 if the form is incomplete.

        ``may_be_empty``: accept an empty body as a form without parts, because some clients write
        no boundary for such a form.
        """
        if self._failure is not None:
            raise HTTPError(*self._failure)
        if not self._is_complete() and not (may_be_empty and self._opening == b""):
            raise BadRequest("The multipart form ends before its last boundary.")

    def _found_in(self, chunk: bytes) -> Iterable[MultipartSegment | bytes | None]:
        """Return the events that the package ``multipart`` finds in the next chunk.

        By RFC 2046, text before the first boundary is skipped. The package skips the text only if
        the boundary is in the same chunk, so this method skips it instead. Raises 400 if the text
        is long, and raises an earlier error again.
        """
        if self._failure is not None:
            raise HTTPError(*self._failure)
        if self._opening is None:
            return () if self._parser.closed else self._parser.parse(chunk)
        chunk = self._opening + chunk
        at = chunk.find(self.boundary, 0, _MOST_PREAMBLE)
        if at < 0 and len(chunk) >= _MOST_PREAMBLE:
            raise BadRequest("The multipart form does not begin with its boundary.")
        self._opening = chunk if at < 0 else None
        return () if at < 0 else self._parser.parse(chunk[max(at - 2, 0) :])

    def _is_complete(self) -> bool:
        """Close the parser of the package ``multipart``, and return whether it has found the last
        boundary.
        """
        try:
            self._parser.close()
        except MultipartError as error:
            error.__traceback__ = None  # avoid a reference cycle of the exception and its frames
            return False
        finally:
            self._parser.error = None  # the parser's copy of the error refers to the same frames
        return True

    def _begin(self, segment: MultipartSegment) -> None:
        """Check the head of a part, and count the part.

        Raises 400 for an invalid head, 413 above a limit, and 415 for a field in an unknown
        charset.
        """
        lines = segment.headerlist
        # Most fields have one header, Content-Disposition.
        self._head = head = _SHORT_HEADS[lines[0][1]] if len(lines) == 1 else self.read_head(lines)
        name, filename, headers = head
        if filename is not None:
            self._room = inf
            self._files += 1
            if self._files > self._limits.max_files:
                raise too_many(self._limits.max_files, "A form may have {most} files at most.")
        else:
            if "content-type" in headers and not self._any_charset:
                _check_field(headers)
            self._room = self._budget.begin()
            self._name_size = len(name.encode())
            if self._name_size > self._room or "content-length" in headers:
                # If the field is longer than its Content-Length, ``multipart`` raises an error,
                # which becomes a 400.
                length = int(headers.get("content-length", 0))
                self._budget.measure(max(self._name_size, length))
        self._start, self._size = b"", 0
        self._is_part = filename != ""

    def _count(self, data: bytes) -> None:
        """Count the next bytes of a part.

        Raises 413 if a field is too long, on its own or together with earlier fields. Raises 400
        for a part that begins with the boundary. By RFC 2046, section 5.1.1, such a part is empty,
        but the package ``multipart`` would read it as text that contains the next part.
        """
        begun = self._size
        self._size = size = begun + len(data)
        is_boundary = False
        if begun == len(self._start) if begun else data[0] == _DASH:
            self._start += data[: len(self.boundary) - begun]
            is_boundary = self._start == self.boundary
            size = len(self.boundary) if is_boundary else size
        if size > self._room:
            self._budget.measure(size)
        if is_boundary:
            raise BadRequest(_MALFORMED)


def _check_field(headers: dict[str, str]) -> None:
    """Raise 415 for a field in an unknown charset, and 400 for one that contains parts itself.
    RFC 7578, section 4.3, no longer allows such a field for several files.
    """
    codec_of_part(headers)
    if headers["content-type"].lower().startswith("multipart/"):
        raise BadRequest(
            "A field of the form contains parts itself. Send each file as a part of the form."
        )


def codec_of_part(headers: dict[str, str]) -> str:
    """Return the name of Python's codec for the text of a part. Text in ASCII is read as UTF-8.

    Raises 415 for an unknown charset, and 400 for a malformed Content-Type.
    """
    charset = content_type(headers.get("content-type", ""))[1].get("charset", "")
    if charset.lower() in UTF_8_OR_LESS:
        return "utf-8"
    try:
        return codec_of(charset)
    except LookupError:
        raise HTTPError(415, "A field of the form is in an unknown charset.") from None


# a site's forms have few different fields
_SHORT_HEADS: NameTable[str, PartHead] = NameTable(
    lambda disposition: _head_of([("content-disposition", disposition)]), most=256
)


class MultipartParser:
    """A push parser for a whole form: fields are stored in memory, files in temporary files.

    After an error, all files are closed.

    ``fields`` and ``files`` map each name to a list. ``parts`` contains the fields and the files in
    the order of the form, as pairs of a name and a value or file.

    If a request is cancelled, ``feed`` may still run in one thread while another thread calls
    ``close``. ``read_field`` converts a field to text; by default, the text is in the charset that
    its part declares, or in UTF-8.
    """

    _head: PartHead
    _upload: UploadFile | None = None  # The file that is being received.
    _memory_used = 0  # Bytes of all files so far.
    _is_closed = False

    def __init__(
        self,
        boundary: str,
        limits: Limits = DEFAULT_LIMITS,
        read_field: FieldReader | None = None,
    ) -> None:
        self._parser = PartParser(boundary, limits, read_field is not None)
        self._limits = limits
        self._read_field = read_field
        self.fields: Parameters = {}
        self.files: dict[str, list[UploadFile]] = {}
        self.parts: list[tuple[str, str | UploadFile]] = []
        self.unselected = self._parser.unselected
        """The names of file inputs that were left empty."""
        self._value = bytearray()  # The bytes of the field that is being received.
        # How many bytes of the next file may stay in memory. This limit shrinks with each file,
        # because 100 files of 1 MiB each would take too much memory.
        self._memory_for_file = min(limits.spool_size, limits.max_file_memory)
        self._lock = RLock()

    def take_json(self, names: Container[str]) -> None:
        """Read parts with these names, or for values inside those that end with "[", as fields if
        they contain JSON, even with a file name, which browsers send for a ``Blob``.
        """

        def read_head(lines: Pairs) -> PartHead:
            head = _head_of(lines)
            is_known = head.name in names or f"{outer_name(head.name)}[" in names
            is_field = head.raw_filename and is_known and _is_json(head.headers)
            return head._replace(raw_filename=None) if is_field else head

        self._parser.read_head = read_head

    def feed(self, *chunks: bytes) -> None:
        """Parse the next chunks.

        Raises the errors of ``PartParser.events``, 507 if the disk is full, ``ValueError`` after
        ``close``, and ``OSError`` if no file descriptor is left.
        """
        with self._lock:
            try:
                if self._is_closed:
                    raise ValueError("the form was closed before all of it was received")
                for chunk in filter(None, chunks):
                    for event in self._parser.events(chunk):
                        if event is None:
                            self._keep_part()
                        elif isinstance(event, bytes):
                            if self._upload is None:
                                self._value += event
                            else:
                                self._upload.write(event)
                        else:
                            self._head = event
                            _, raw_filename, headers = event
                            if raw_filename is not None:
                                limit = self._memory_for_file
                                self._upload = UploadFile(raw_filename, headers, limit)
            except OSError as error:
                self.close()
                raise _not_stored(error) from None
            except BaseException:
                self.close()
                raise

    def _keep_part(self) -> None:
        name, _, headers = self._head
        if self._upload is not None:
            upload, self._upload = self._upload, None
            if upload.size <= self._memory_for_file:
                self._memory_used += upload.size
                left = self._limits.max_file_memory - self._memory_used
                self._memory_for_file = min(self._limits.spool_size, left)
            self.files.setdefault(name, []).append(upload)
            self.parts.append((name, upload))
            # Do this after adding the file to the lists. If the disk is full, ``seek`` may raise an
            # error, and then ``close`` must find the file.
            upload.seek(0)
        else:
            data = bytes(self._value)
            self._value.clear()
            if self._read_field is not None:
                value = self._read_field(headers, data)
            elif "content-type" in headers:
                value = text_of(data, codec_of_part(headers))
                value = JsonText(value) if _is_json(headers) else value
            else:
                value = text_of(data)
            self.fields.setdefault(name, []).append(value)
            self.parts.append((name, value))

    def may_block(self, size: int, piece: bytes) -> bool:
        """Return whether the next pieces must be parsed in a thread, because they may be written to
        the disk (tests/project/risks, R31), or because they have many parts.

        ``size``: the size of all these pieces in bytes. ``piece``: the last of these pieces.
        """
        upload = self._upload
        if upload is not None:
            size += upload.size
        return size > self._memory_for_file or piece.count(self._parser.boundary) > _MOST_PARTS

    def finish(self, may_be_empty: bool = False) -> Self:
        """Return the whole form.

        Its files are open until ``close``. Raises 400 if the form is incomplete.
        """
        try:
            self._parser.finish(may_be_empty)
        except BadRequest:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close the files, which deletes them."""
        with self._lock:
            self._is_closed = True
            if self._upload is not None:
                self._upload.close()
            for uploads in self.files.values():
                for upload in uploads:
                    upload.close()


def _not_stored(error: OSError) -> Exception:
    """Return the exception for an upload that can't be stored. If the disk is full, it is a 507
    (RFC 4918, section 11.5), which is logged. If no file descriptor is left, it is an ``OSError``.
    """
    import tempfile

    code = error.errno
    if tempfile.tempdir is None:  # no folder is writable, or no descriptor is left: find out which
        try:
            os.close(os.open(os.devnull, os.O_RDONLY))
        except OSError as reason:
            code = reason.errno
    if code in (errno.EMFILE, errno.ENFILE):
        return OSError(code, os.strerror(code))
    # Log no traceback. If no folder is writable, ``tempdir`` is None, and the error's text contains
    # this reason.
    logger.error("an upload can't be stored in %s: %s", tempfile.tempdir, error)
    return HTTPError(507, "There is no space for this upload at the moment.")


def boundary_of(parameters: dict[str, str]) -> str:
    """Return the boundary in a media type's parameters.

    Raises 415 for a charset other than UTF-8.
    """
    require_utf8(parameters.get("charset", ""))
    return parameters.get("boundary", "")


# RFC 2046, section 5.1.1, allows 70 characters from a smaller set. Some clients send longer
# boundaries, or other characters.
_BOUNDARY = pattern("[!-~](?:[ -~]{0,254}[!-~])?")
_HEADER_LINE = pattern(r"[A-Za-z0-9_-]+:[^\x00-\x08\x0a-\x1f\x7f]*")
_HEADER_LINES = "micropie_part_header"


def _header_line(data: bytes) -> tuple[str, int]:
    """Decode one line of a part's headers. Raises ``UnicodeDecodeError``, which becomes a 400.

    The function is registered as a codec, which the package ``multipart`` calls. With an ordinary
    codec, the package would strip Unicode blanks from a header's name. Also, whether the package
    refuses a line feed without a carriage return would depend on how the bytes are cut into chunks.
    """
    text, size = codecs.utf_8_decode(data, "strict", True)
    if size > _MOST_HEADER or not _HEADER_LINE.fullmatch(text):
        raise UnicodeDecodeError(_HEADER_LINES, b"", 0, 0, "is no header")
    return text, size


_LINES = NameTable(_header_line)  # a site's forms have few different fields
_CODEC = codecs.CodecInfo(codecs.utf_8_encode, lambda data, _="": _LINES[bytes(data)])
codecs.register({_HEADER_LINES: _CODEC}.get)
