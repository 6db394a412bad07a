"""``multipart/form-data`` (RFC 7578): bytes pushed in, parts or fields and files out.

The result doesn't depend on how the bytes are cut into chunks (docs/risks, R34): every limit is
checked in the order of the bytes, and a part's head is read once it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from threading import RLock
from typing import Final, NamedTuple, Self, TypeAlias, TypeVar

from micropie.errors import BadRequest, HTTPError, logger, too_many
from micropie.http.forms.data import DEFAULT_LIMITS, Budget, Limits, require_utf8, text_of
from micropie.http.forms.uploads import UploadFile
from micropie.http.media_types import content_type, disposition
from micropie.on_demand import pattern

FieldReader: TypeAlias = Callable[[dict[str, str], bytes], str]
"""Returns the text of a field, given its headers, names in lower case, and its bytes."""


class PartHead(NamedTuple):
    """The head of a part.

    ``raw_filename`` is None for a field; the names of the headers are lower-case.
    """

    name: str
    raw_filename: str | None
    headers: dict[str, str]


_MORE: Final = b""  # yielded by a parser that needs the next chunk

Event: TypeAlias = PartHead | bytes | None
"""A part begins with its head; its bytes follow, chunk by chunk; None is its end."""

_Result = TypeVar("_Result")
Parsing: TypeAlias = Generator[Event, bytes, _Result]


class PartParser:
    """A push parser that passes the parts on as their bytes arrive, and keeps nothing of them.

    Stricter than RFC 2046: a short preamble, no folded lines and no control characters in part
    headers. The bytes after the last boundary are ignored. A file input that was left empty is no
    part. ``any_charset``: a field may state another charset than UTF-8; otherwise that is a 415.
    ``needs_names``: whether a part without one, as those of ``multipart/mixed``, is a 400.
    """

    def __init__(
        self,
        boundary: str,
        limits: Limits = DEFAULT_LIMITS,
        any_charset: bool = False,
        needs_names: bool = True,
    ) -> None:
        if not _BOUNDARY.fullmatch(boundary):
            raise BadRequest("The Content-Type header of the multipart form has no valid boundary.")
        # The generator knows the form and not this object: a cycle would be left to the garbage
        # collector.
        form = _ArrivingForm(b"\r\n--" + boundary.encode(), limits, any_charset, needs_names)
        self.unselected = form.unselected
        """The names of file inputs that were left empty."""
        self._parsing = form.parse()
        next(self._parsing)
        self._is_complete = False
        self._failure: tuple[int, str] | None = None

    def events(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events of the next chunk, which is not empty.

        Take all of them before the next chunk. Raises 400, 413 and 415, and the same again at each
        later call.
        """
        if self._failure is not None:
            raise HTTPError(*self._failure)
        try:
            event = self._parsing.send(chunk)
            while event != _MORE:
                yield event
                event = next(self._parsing)
        except StopIteration:
            self._is_complete = True
        except HTTPError as error:
            # not the exception, which refers to this parser's frames
            self._failure = error.status, error.message
            raise

    def finish(self) -> None:
        """Declare the end of the body. Raises 400 if the form is incomplete."""
        if self._failure is not None:
            raise HTTPError(*self._failure)
        if not self._is_complete:
            raise BadRequest("The multipart form is cut off before its last boundary.")


_MOST_PREAMBLE = 4096  # bytes


class _ArrivingForm:
    """A form whose bytes arrive: those that are not parsed yet, ``data`` from ``at`` on, and the
    count of its parts.
    """

    def __init__(
        self, delimiter: bytes, limits: Limits, any_charset: bool, needs_names: bool
    ) -> None:
        self._delimiter = delimiter
        self._limits = limits
        self._any_charset = any_charset
        self._needs_names = needs_names
        self._data, self._at = b"\r\n", 0  # it may be missing before the first boundary
        self._budget = Budget(limits)
        self._files = 0
        self.unselected: list[str] = []

    def parse(self) -> Parsing[None]:
        """Yield the events, and ``_MORE`` to be sent the next chunk; return after the last
        boundary.
        """
        yield from self._pass_opening()
        head, is_part = None, False  # of the part before a boundary
        while True:
            while len(self._data) < self._at + 2:
                yield from self._more()
            # the line end of a part that follows, or that of the form
            mark = self._data[self._at : self._at + 2]
            if mark not in (b"\r\n", b"--"):
                raise BadRequest("The multipart form is malformed: other bytes follow a boundary.")
            if is_part:
                yield None
            elif head is not None:
                self.unselected.append(head.name)
            if mark == b"--":
                return
            head = yield from self._read_head()
            is_part = yield from self._pass_content(head)

    def _more(self) -> Parsing[None]:
        """Wait for the next chunk, and forget the bytes before ``at``."""
        self._data, self._at = self._data[self._at :], 0
        self._data += yield _MORE

    def _pass_opening(self) -> Parsing[None]:
        """Pass a short text before the first boundary, which RFC 2046 allows, and that boundary."""
        while (at := self._data.find(self._delimiter)) < 0 and len(self._data) < _MOST_PREAMBLE:
            yield from self._more()
        if not 0 <= at < _MOST_PREAMBLE:
            raise BadRequest("The multipart form does not begin with its boundary.")
        self._at = at + len(self._delimiter)

    def _read_head(self) -> Parsing[PartHead]:
        """Return the head of a part, whose lines are checked once it is complete; until then its
        length is limited.

        Raises 400, 413 past a limit, and 415 for the charset of a field, whose bytes are to be
        text.
        """
        limits = self._limits
        most_headers, most_bytes = limits.max_part_headers, limits.max_part_header_size
        end = self._data.find(b"\r\n\r\n", self._at)
        if end < 0:
            end = yield from self._rest_of_head((most_headers + 2) * (most_bytes + 2))
        lines = self._data[self._at + 2 : end].split(b"\r\n")
        self._at = end + 2  # the line end may be that of a boundary: then the part is empty
        if len(lines) > most_headers or len(max(lines, key=len)) > most_bytes:
            raise BadRequest(_TOO_LONG_HEAD)
        headers = _headers_of(lines)
        name, filename = disposition(headers.get("content-disposition", ""), self._needs_names)
        if headers.get("content-transfer-encoding", "binary").lower() not in (
            "7bit",
            "8bit",
            "binary",
        ):
            raise BadRequest(
                "A part of the form has a Content-Transfer-Encoding, which forms don't use."
            )
        if filename is not None:
            self._files += 1
            if self._files > limits.max_files:
                raise too_many(limits.max_files, "A form may have {most} files at most.")
        else:
            media_type = headers.get("content-type")
            if media_type and not self._any_charset:
                require_utf8(content_type(media_type)[1].get("charset", ""))
            self._budget.begin()
            self._budget.measure(len(name.encode()))
        return PartHead(name, filename, headers)

    def _rest_of_head(self, most: int) -> Parsing[int]:
        """Wait for the end of a head, whose bytes are looked at once, however few come at a time.

        Return its index.
        """
        head, looked_at = bytearray(self._data[self._at :]), 0
        while (end := head.find(b"\r\n\r\n", looked_at)) < 0:
            if len(head) > most:
                raise BadRequest(_TOO_LONG_HEAD)
            looked_at = max(len(head) - 3, 0)
            head += yield _MORE
        self._data, self._at = bytes(head), 0
        return end

    def _pass_content(self, head: PartHead) -> Parsing[bool]:
        """Yield a part's head and its bytes, and pass the boundary.

        Return whether it is a part: see ``unselected``.

        Raises 413 for a field that is too long, by itself or with those before.
        """
        is_part, size, line_end = head.raw_filename != "", 0, 2
        if is_part:
            yield head
        while True:
            at, boundary = self._at, self._data.find(self._delimiter, self._at)
            end = _end_of_known(self._data, at, self._delimiter) if boundary < 0 else boundary
            if end > at:
                at, line_end = at + line_end, 0
            if end > at:
                size += end - at
                if head.raw_filename is None:
                    self._budget.measure(size)
                if not is_part:
                    yield head
                    is_part = True
                yield self._data[at:end]
            if boundary >= 0:
                break
            self._at = end
            yield from self._more()
        self._at = boundary + len(self._delimiter)
        if head.raw_filename is None:
            self._budget.spend(len(head.name.encode()) + size)
        return is_part


def _end_of_known(data: bytes, at: int, delimiter: bytes) -> int:
    """Return the index up to which ``data``, which has no delimiter, can't be the beginning of
    one.
    """
    # a delimiter has one CR, its first byte
    start = data.rfind(b"\r", max(at, len(data) - len(delimiter) + 1))
    return len(data) if start < 0 or not delimiter.startswith(data[start:]) else start


_TOO_LONG_HEAD = "A part of the form has too many or too long headers."


def _headers_of(lines: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of a part. Raises 400."""
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER_LINE.fullmatch(line)
        if match is None:
            raise BadRequest("The multipart form is malformed: a part has an unfit header.")
        name = match[1].decode().lower()
        if name in headers:
            raise BadRequest("A part of the form has a header twice.")
        headers[name] = text_of(match[2])
    return headers


class MultipartParser:
    """A push parser for a whole form: fields go to memory, files to temporary files.

    An error closes everything.

    ``fields`` and ``files`` are lists by name. ``parts`` has both in the order of the form, (name,
    value or file).

    ``feed`` may run in another thread than ``close``, which is called at any time: when a request
    is cancelled. ``read_field`` makes text of a field in any charset; without it all are UTF-8.
    ``needs_names``: see ``PartParser``.
    """

    def __init__(
        self,
        boundary: str,
        limits: Limits = DEFAULT_LIMITS,
        read_field: FieldReader | None = None,
        needs_names: bool = True,
    ) -> None:
        self._parser = PartParser(boundary, limits, read_field is not None, needs_names)
        self._limits = limits
        self._read_field = read_field
        self.fields: dict[str, list[str]] = {}
        self.files: dict[str, list[UploadFile]] = {}
        self.parts: list[tuple[str, str | UploadFile]] = []
        self.unselected = self._parser.unselected
        """The names of file inputs that were left empty."""
        self._head = PartHead("", None, {})
        self._value = bytearray()  # of the field that is being received
        self._upload: UploadFile | None = None  # that is being received
        self._memory_used = 0  # by the files so far
        # How much of the next file may stay in memory: 100 files of 1 MiB each would be too much.
        self._memory_for_file = min(limits.spool_size, limits.max_file_memory)
        self._lock = RLock()
        self._is_closed = False

    def feed(self, *chunks: bytes) -> None:
        """Parse the next chunks.

        Raises 400, 413, 415 and 507, and ``ValueError`` after ``close``.
        """
        with self._lock:
            try:
                if self._is_closed:
                    raise ValueError("the form was closed while it was being received")
                for chunk in filter(None, chunks):
                    for event in self._parser.events(chunk):
                        if event is None:
                            self._keep_part()
                        elif not isinstance(event, bytes):
                            self._head = event
                            if event.raw_filename is not None:
                                self._upload = UploadFile(
                                    event.raw_filename, event.headers, self._memory_for_file
                                )
                        elif self._upload is None:
                            self._value += event
                        else:
                            self._upload.write(event)
            except OSError as error:
                # the disk is full, or no file can be opened: RFC 4918, section 11.5
                self.close()
                # Without a traceback. The folder is None if there is none, which the error says
                # then.
                import tempfile

                logger.error("an upload can't be stored in %s: %s", tempfile.tempdir, error)
                raise HTTPError(507, "There is no room for this upload at the moment.") from None
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
            # last, because a full disk may show here: ``close`` then closes the file
            upload.seek(0)
        else:
            data = bytes(self._value)
            self._value.clear()
            value = text_of(data) if self._read_field is None else self._read_field(headers, data)
            self.fields.setdefault(name, []).append(value)
            self.parts.append((name, value))

    def may_block(self, size: int) -> bool:
        """Return whether feeding ``size`` bytes may write to the disk: if so, use a thread
        (docs/risks, R31).
        """
        upload = self._upload
        if upload is not None:
            size += upload.size
        return size > self._memory_for_file

    def finish(self) -> Self:
        """Return the whole form.

        Its files are open until ``close``. Raises 400 if the form is incomplete.
        """
        try:
            self._parser.finish()
        except BadRequest:
            self.close()
            raise
        return self

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            self._is_closed = True
            for _, part in [*self.parts, ("", self._upload)]:
                if isinstance(part, UploadFile):
                    part.close()


def boundary_of(parameters: dict[str, str]) -> str:
    """Return the boundary in a media type's parameters.

    Raises 415 for a charset other than UTF-8.
    """
    require_utf8(parameters.get("charset", ""))
    return parameters.get("boundary", "")


# RFC 2046, section 5.1.1, allows 70 characters of a smaller set; some clients send more, and
# others.
_BOUNDARY = pattern("[!-~](?:[ -~]{0,254}[!-~])?")
_HEADER_LINE = pattern(rb"([A-Za-z0-9_-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
