"""The body of a request (``cherrypy.request.body``), and the parts of a multipart form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Any
from urllib.parse import unquote_to_bytes
from weakref import proxy

from micropie import HTTPError as NativeError
from micropie_compat.cherrypy.errors import HTTPError
from micropie_compat.cherrypy.lazily import Value, lazy
from micropie_compat.cherrypy.lib.httputil import HeaderElement, HeaderMap, add_parameter
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Parameters
from micropie_compat.core import Limits, MultipartParser, codec_of
from micropie_compat.overrides import Overridable
from micropie_compat.results import CHUNK, AnyFunction

# The maximum size in bytes of all fields of a multipart form together, which are stored in memory.
_MOST_TEXT = 16 * 1024 * 1024
# The maximum number of fields of a urlencoded form. A multipart form may have 1000.
_MOST_FIELDS = 100_000
_MOST_HEADERS = 8  # the maximum number of headers of one part of a multipart form
_LIMITS = Limits(max_data_size=_MOST_TEXT, max_form_field_size=_MOST_TEXT)


class BodyReader:
    """A file from which at most ``limit`` bytes can be read; reading more raises ``HTTPError``
    413.
    """

    def __init__(self, file: IO[bytes], limit: int | None) -> None:
        self.file = file
        self.limit = limit
        self.bytes_read = 0

    def _count(self, piece: bytes) -> bytes:
        self.bytes_read += len(piece)
        if self.limit and self.bytes_read > self.limit:
            raise HTTPError(413)
        return piece

    def read(self, size: int | None = None, fp_out: IO[bytes] | None = None) -> bytes | None:
        """Return ``size`` bytes, by default all remaining bytes. If ``fp_out`` is given, write them
        to it and return None.
        """
        # A short body is in memory as a whole.
        if size is None and fp_out is None and type(self.file) is BytesIO:
            return self._count(self.file.read())
        pieces = []
        left = sys.maxsize if size is None else size
        while left > 0:
            piece = self._count(self.file.read(min(left, CHUNK)))
            if not piece:
                break
            left -= len(piece)
            if fp_out is None:
                pieces.append(piece)
            else:
                fp_out.write(piece)
        return b"".join(pieces) if fp_out is None else None

    def readline(self, size: int | None = None) -> bytes:
        """Return the next line, or its first ``size`` bytes."""
        return self._count(self.file.readline(-1 if size is None else size))

    def readlines(self, sizehint: int | None = None) -> list[bytes]:
        """Return the lines. With ``sizehint``, stop once they have this many bytes."""
        lines: list[bytes] = []
        size = 0
        while (sizehint is None or size < sizehint) and (line := self.readline()):
            lines.append(line)
            size += len(line)
        return lines

    def finish(self) -> None:
        """Do nothing. In CherryPy this reads the rest of the body; here the server does that."""


class Entity:
    """The body of a request or of one part of a form, which can be read like a file.

    ``processors``: functions that parse this body, by media type ("text/plain") or by the part of
    it before the slash ("text").
    """

    charsets: Sequence[str] = ("utf-8",)
    charset: str | None = None
    default_content_type = "application/x-www-form-urlencoded"
    filename: str | None = None
    file: Any = None
    name: str | None = None
    value: str | bytes | None = None
    part_class: type[Part] | None = None
    processors: dict[str, Callable[[Any], object]]

    def __init__(
        self,
        fp: Any,
        headers: HeaderMap,
        params: Parameters | None = None,
        parts: list[Part] | None = None,
    ) -> None:
        self.fp = fp
        self.headers = headers
        self.params: Parameters = {} if params is None else params
        self.parts: list[Part] = [] if parts is None else parts
        self.processors = dict(self.processors)

    @lazy
    def content_type(self) -> HeaderElement:
        """The Content-Type: ``value`` is the media type, ``params`` has its parameters."""
        elements = self.headers.elements("Content-Type")
        return elements[0] if elements else HeaderElement(self.default_content_type)

    @lazy
    def attempt_charsets(self) -> list[str]:
        """The charsets to try when decoding: the one in the Content-Type, then the class attribute
        ``charsets``, and at last ISO-8859-1 for a request's text.
        """
        kind = self.content_type
        is_text = isinstance(self, RequestBody) and kind.value.startswith("text/")
        last = "ISO-8859-1" if is_text else None
        return list(filter(None, dict.fromkeys((kind.params.get("charset"), *self.charsets, last))))

    @lazy
    def length(self) -> int | None:
        """The value of the Content-Length header. None if the header is missing or isn't a
        number, or if the body is sent in chunks.
        """
        length = self.headers.get("Content-Length", "")
        is_chunked = "chunked" in self.headers.get("Transfer-Encoding", "")
        return None if is_chunked or not length.isdecimal() else int(length)

    # -- as a file ---------------------------------------------------------------------------------

    @property
    def reader(self) -> Any:
        """The file to read from."""
        return self.fp

    def read(self, size: int | None = None, fp_out: IO[bytes] | None = None) -> Any:
        """Return ``size`` bytes of the body. With ``fp_out``, write them to this file instead.

        Raises ``HTTPError`` 413 if more than the maximum size of a request's body have been read.
        """
        return self.reader.read(size, fp_out)

    def readline(self, size: int | None = None) -> Any:
        """Return the next line of the body."""
        return self.reader.readline(size)

    def readlines(self, sizehint: int | None = None) -> Any:
        """Return the lines of the body."""
        return self.reader.readlines(sizehint)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        line: bytes = self.readline()
        if not line:
            raise StopIteration
        return line

    next = __next__

    def make_file(self) -> IO[bytes]:
        """Return a new temporary file, into which ``read_into_file`` writes the body."""
        return TemporaryFile()

    def read_into_file(self, fp_out: IO[bytes] | None = None) -> IO[bytes]:
        """Write the body to a file, by default one from ``make_file``, and return the file."""
        target = self.make_file() if fp_out is None else fp_out
        self.read(fp_out=target)
        return target

    # -- parsing and decoding ----------------------------------------------------------------------

    def fullvalue(self) -> Any:
        """Return the value as a string, read from ``file`` if there is one."""
        if self.file is not None:
            self.file.seek(0)
            value = self.file.read()
            self.file.seek(0)
        else:
            value = self.value
        return self.decode_entity(value) if isinstance(value, bytes) else value

    def decode_entity(self, value: bytes) -> str:
        """Return bytes decoded as a string.

        Raises ``HTTPError`` 400 if they can't be decoded with any of ``attempt_charsets``.
        """
        return self.micropie_decoded(value.decode)

    def micropie_decoded(self, decode: Callable[[str], Value]) -> Value:
        """Call ``decode`` with Python's name of each of ``attempt_charsets`` until it can decode.

        Raises ``HTTPError`` 400 if it never can.
        """
        for charset in self.attempt_charsets:
            try:
                decoded = decode(codec_of(charset))
            except (UnicodeDecodeError, LookupError):
                continue
            self.charset = charset
            return decoded
        raise HTTPError(
            400,
            "The request entity could not be decoded. The following charsets were attempted: "
            f"{self.attempt_charsets!r}",
        )

    def process(self) -> None:
        """Parse the body with the function for its media type, or with ``default_proc``."""
        kind = self.content_type.value.lower()
        processor = self.processors.get(kind) or self.processors.get(kind.partition("/")[0])
        if processor is None:
            self.default_proc()
        else:
            processor(self)

    def default_proc(self) -> None:
        """Leave the body unread, for the handler."""


class Part(Entity, metaclass=Overridable):
    """A field or an uploaded file of a form.

    If the part is a file, it has a ``filename``, and its content is in ``file``.
    """

    uncalled = "from_fp", "read_headers", "read_lines_to_boundary"

    charsets = ("us-ascii", "utf-8")
    default_content_type = "text/plain"
    maxrambytes = 1000

    def __init__(self, fp: Any, headers: HeaderMap, boundary: bytes = b"") -> None:
        super().__init__(fp, headers)
        self.boundary = boundary

    @property
    def reader(self) -> BodyReader:
        """The part's content as a file."""
        return BodyReader(self.fp, None)

    def default_proc(self) -> None:
        """Read the content: of a file into ``file``, of a field as ``value``."""
        if self.filename is None:
            self.value = self.read()
        else:
            self.file = self.read_into_file()

    def read_into_file(self, fp_out: IO[bytes] | None = None) -> IO[bytes]:
        """Write the content to a file, by default one from ``make_file``, and return the file at
        its beginning.
        """
        target = super().read_into_file(fp_out)
        target.seek(0)
        return target

    def micropie_received(self, name: str | None, filename: str | None, size: int) -> Part:
        """Set the part's name and its content, which ``fp`` has. Return the part."""
        self.name, self.filename = name, filename
        if _steps_of(type(self)) != _STEPS:  # of the program
            self.process()
        elif filename is None:
            self.value = self.fp.read()
        else:
            self.file, self.length = self.fp, size
        return self


def _steps_of(kind: type[Part]) -> tuple[AnyFunction, ...]:
    return kind.process, kind.default_proc, kind.read_into_file, kind.make_file


_STEPS = _steps_of(Part)


class RequestBody(Entity):
    """The body of a request. ``maxbytes``: the maximum size in bytes; for a longer body the client
    gets a 413.
    """

    bufsize = 8 * 1024
    default_content_type = ""
    maxbytes: int | None = None

    def __init__(self, request: Any) -> None:
        self._request = proxy(request)  # a weak reference, because the request refers to its body
        self.params = {}
        self.parts = []
        self.processors = dict(self.processors)
        self.request_params = request.params

    @lazy
    def fp(self) -> Any:
        """The body as a file without the limit ``maxbytes``, which ``reader`` adds."""
        return self._request.rfile

    @lazy
    def headers(self) -> Any:
        """The headers of the request."""
        return self._request.headers

    @lazy
    def content_type(self) -> HeaderElement:
        """The Content-Type: ``value`` is the media type, ``params`` has its parameters."""
        kind, parameters, _ = self._request.native.framing
        return HeaderElement(kind or self.default_content_type, parameters)

    @property
    def reader(self) -> BodyReader:
        """The body as a file. Reading more than ``maxbytes`` raises ``HTTPError`` 413."""
        if not isinstance(self.fp, BodyReader):
            self.fp = BodyReader(self.fp, self.maxbytes)
        return self.fp

    def process(self) -> None:
        """Parse the body, and add its parameters to those of the request.

        Raises ``HTTPError`` 411 if the request declares neither a length nor chunks.
        """
        native = self._request.native
        if native.framing[2] is None and "transfer-encoding" not in native.headers:
            raise HTTPError(411)
        self.fp = self.reader
        super().process()
        params = self.request_params
        if not params:
            params.update(self.params)
            return
        for name, value in self.params.items():
            for each in value if isinstance(value, list) else [value]:
                add_parameter(params, name, each)


def process_urlencoded(entity: Entity) -> None:
    """Parse a urlencoded form into ``entity.params``. Raises ``HTTPError`` 400 if it can't be
    decoded, 413 if it is too large.
    """
    data: bytes = entity.fp.read(_MOST_TEXT + 1)
    # The number of fields is limited too, because a parsed field takes a hundred times the memory
    # of its bytes.
    if len(data) > _MOST_TEXT or data.count(b"&") >= _MOST_FIELDS:
        raise HTTPError(413)
    if b"%" not in data and b"+" not in data and data.isascii():
        for text in data.decode().split("&"):
            if text:
                name, _, value = text.partition("=")
                add_parameter(entity.params, name, value)
        return
    pairs = [pair.partition(b"=") for pair in data.split(b"&") if pair]

    def decode(codec: str) -> list[tuple[str, str]]:
        return [(_unquoted(name, codec), _unquoted(value, codec)) for name, _, value in pairs]

    for name, value in entity.micropie_decoded(decode):
        add_parameter(entity.params, name, value)


def _unquoted(data: bytes, codec: str) -> str:
    data = data.replace(b"+", b" ")
    return (unquote_to_bytes(data) if b"%" in data else data).decode(codec)


def process_multipart(entity: Entity) -> None:
    """Parse a multipart body, such as a form with files, into ``entity.parts``.

    Raises ``HTTPError`` with status 400 or 413.
    """
    boundary = entity.content_type.params.get("boundary", "")
    kind = entity.part_class or Part
    if entity.content_type.value.lower() != "multipart/form-data":
        entity.parts.extend(_parts_of(entity.fp.read(_MOST_TEXT + 1), boundary, kind))
        return
    fields: list[tuple[dict[str, str], bytes]] = []

    def keep(headers: dict[str, str], data: bytes) -> str:
        fields.append((headers, data))
        return ""

    try:
        parser = MultipartParser(boundary, _LIMITS, keep)
        while chunk := entity.fp.read(CHUNK):
            parser.feed(chunk)
        form = parser.finish()
    except NativeError as error:
        refused = HTTPError(error.status, str(error))
    else:
        native = serving.request.native
        if native is not None:
            native.release_after(form.close)
        kept = iter(fields)
        for name, value in form.parts:
            if isinstance(value, str):
                headers, data = next(kept)
                part = kind(BytesIO(data), HeaderMap(headers), b"")
                part.micropie_received(name or None, None, len(data))
            else:
                part = kind(value.file, HeaderMap(value.headers), b"")
                part.micropie_received(name or None, value.raw_filename, value.size)
            entity.parts.append(part)
        for name in parser.unselected:
            part = kind(BytesIO(), HeaderMap(), b"")
            part.name, part.filename, part.file = name, "", part.fp
            entity.parts.append(part)
        return
    raise refused


def _parts_of(data: bytes, boundary: str, kind: type[Part]) -> Iterator[Part]:
    """Yield the parts of a multipart body that isn't a form, such as ``multipart/mixed``.

    ``data``: the whole body. It can't be parsed chunk by chunk, because ``MultipartParser``
        supports only ``multipart/form-data``.

    Raises ``HTTPError`` with status 400 or 413.
    """
    delimiter = b"\r\n--" + boundary.encode()
    if len(data) > _MOST_TEXT or data.count(delimiter) > _LIMITS.max_fields:
        raise HTTPError(413)
    for piece in (b"\r\n" + data).split(delimiter)[1:] if boundary else ():
        if piece.startswith(b"--"):
            return
        head, blank, value = piece.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        if lines[0] or not blank or len(lines) > _MOST_HEADERS + 1:
            break
        pairs = (line.partition(":") for line in lines[1:])
        part = kind(BytesIO(value), HeaderMap({name: text.strip() for name, _, text in pairs}), b"")
        stated = HeaderElement.from_str(part.headers.get("Content-Disposition", "")).params
        yield part.micropie_received(stated.get("name"), stated.get("filename"), len(value))
    raise HTTPError(400, "The multipart body is malformed: a boundary or a part is invalid.")


def process_multipart_form_data(entity: Entity) -> None:
    """Parse a multipart form into ``entity.params``: fields as strings, files as ``Part``."""
    _process_parts(entity)
    entity.parts = []


def _process_parts(entity: Entity) -> None:
    """Parse a multipart body into ``entity.params``; parts without a name are collected in a list
    under the key ``parts``.
    """
    process_multipart(entity)
    for part in entity.parts:
        add_parameter(
            entity.params, part.name or "parts", part.fullvalue() if part.filename is None else part
        )


Entity.processors = {
    "application/x-www-form-urlencoded": process_urlencoded,
    "multipart/form-data": process_multipart_form_data,
    "multipart": _process_parts,
}
