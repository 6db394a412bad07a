"""Answers compressed with gzip for clients that say they can read it (RFC 9110, sections 8.4.1 and 12.5.3)."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from functools import lru_cache
from typing import cast
from weakref import ref

from micropie.errors import check, is_count
from micropie.execution.steps import BLOCK, Flow
from micropie.http.headers import MutableHeaders
from micropie.http.request import Request
from micropie.http.response import HTML, Response, add_vary, encode_body, merge_pending
from micropie.http.stream_transform import transform_stream
from micropie.http.streams import FileRange, Stream, stream_of
from micropie.middleware.base import FlowMiddleware

_GZIP = 16 + zlib.MAX_WBITS  # how zlib is told to write gzip's header and trailer

# Bytes that are compressed in line: half a millisecond. More would hold up the event loop.
_AT_ONCE = 32 * 1024

# Text, and formats that are not compressed in themselves.
TYPES = (
    "text/*",
    "*+json",
    "*+xml",
    "application/javascript",
    "application/json",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-ndjson",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
)

_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/([a-z0-9!#$&^_.+-]+|\*)|\*\+[a-z0-9!#$&^_.-]+")
_QUALITY = re.compile(r"[ \t]*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)[ \t]*")


class Compress(FlowMiddleware):
    """Sends answers with gzip to clients that accept it.

    ``minimum``: bytes from which on a body is worth it; streams of unknown length always are. ``level``: 1, quick, to
    9, small. ``types``: media types, ``"text/*"`` for all of a kind, ``"*+json"`` for all of a suffix;
    ``text/event-stream`` is never compressed, nor what has a Content-Encoding or ``Cache-Control: no-transform``, nor
    a part of a file (206). What could be compressed gets ``Vary: Accept-Encoding``; an ETag becomes a weak one.

    A stream is compressed chunk by chunk, and nothing of a chunk is held back; an async one on the event loop.
    A page that shows a secret beside what its visitor sent can be made to betray it by its length (BREACH): leave
    such pages out, by an inner application that has this middleware for the others, or by ``no-transform``.
    """

    def __init__(self, *, minimum: int = 500, level: int = 6, types: Iterable[str] = TYPES) -> None:
        check("Compress(minimum=...)", is_count(minimum, least=0), minimum, "a whole number of bytes, 0 or more")
        check("Compress(level=...)", is_count(level, least=1) and level <= 9, level, "a whole number from 1 to 9")
        fine = isinstance(types, Iterable) and not isinstance(types, str)
        check("Compress(types=...)", fine, types, 'a list of media types: ["text/*"]')
        self._types = frozenset(types)
        for name in self._types:
            fine = isinstance(name, str) and _TYPE.fullmatch(name) is not None
            check("Compress(types=...)", fine, name, 'media types such as "text/html", "text/*" and "*+json"')
        self._minimum = minimum
        self.level = level
        self._is_fit = lru_cache(maxsize=256)(self._fits)

    def after(self, request: Request, response: Response) -> Response | Flow[Response]:
        """Compress the answer, if it may and should be."""
        response = _with_draft(request, response)
        if not self.may_be(response, None):
            return response
        if response.status == 304:
            return _not_modified(request, response)
        stream = stream_of(response.body)
        if stream is not None:
            return (self._file if type(stream.source) is FileRange else self._stream)(request, response, stream)
        body, suggested = encode_body(response.body)
        if len(body) < self._minimum or not self.may_be(response, suggested):
            return response
        # Encoded once; and bytes would suggest another type than what they were made of.
        response.body, response.content_type = body, response.content_type or suggested
        add_vary(response.headers, "Accept-Encoding")
        if not _accepts_gzip(request):
            return response
        return self._in_thread(response, body) if len(body) > _AT_ONCE else self._whole(response, body)

    def may_be(self, response: Response, suggested: str | None) -> bool:
        """Whether nothing speaks against it. ``suggested`` is the type that counts if none is stated, None for any."""
        headers = response.headers
        if response.status in (204, 206) or "Content-Encoding" in headers:
            return False
        if any("no-transform" in value.lower() for value in headers.get_all("Cache-Control")):
            return False
        content_type = headers.get("Content-Type") or response.content_type or suggested
        return content_type is None or self._is_fit(content_type)

    def _whole(self, response: Response, body: bytes) -> Response:
        compressed = zlib.compress(body, self.level, _GZIP)
        if len(compressed) < len(body):
            response.body = compressed
            _describe(response.headers)
        return response

    def _in_thread(self, response: Response, body: bytes) -> Flow[Response]:
        compressed: Response = yield BLOCK, self._whole, (response, body)
        return compressed

    def _stream(self, request: Request, response: Response, stream: Stream) -> Response:
        if _announced(response) >= self._minimum:
            late = _Late(self, request, response)
            response.body = transform_stream(stream, late)
            request.before_head(late.describe)
        return response

    def _file(self, request: Request, response: Response, stream: Stream) -> Response:
        """A file on disk, which stays one for clients that don't accept gzip: servers send those best themselves."""
        if stream.source.length >= self._minimum and self.may_be(response, HTML):
            add_vary(response.headers, "Accept-Encoding")
            if _accepts_gzip(request):
                response.body = transform_stream(stream, _Gzip(self.level))
                _describe(response.headers)
        return response

    def _fits(self, content_type: str) -> bool:
        media_type = content_type.partition(";")[0].strip().lower()
        kind, _, name = media_type.partition("/")
        names = {media_type, f"{kind}/*"}
        if "+" in name:
            names.add(f"*+{name.rpartition('+')[2]}")
        return media_type != "text/event-stream" and not names.isdisjoint(self._types)


class _Gzip:
    """A compressor that gives at once what it was fed, so that a reader never waits for more than was written."""

    def __init__(self, level: int) -> None:
        self._compressor = zlib.compressobj(level, zlib.DEFLATED, _GZIP)

    def feed(self, chunk: bytes) -> bytes:
        return self._compressor.compress(chunk) + self._compressor.flush(zlib.Z_SYNC_FLUSH) if chunk else b""

    def finish(self) -> bytes:
        return self._compressor.flush()


class _Late:
    """A compressor that its first chunk switches on: what a generator says of its answer, it has said by then."""

    def __init__(self, settings: Compress, request: Request, response: Response) -> None:
        self._settings = settings
        self._request = ref(request)  # which refers to this
        self._response = response
        self._could_be: bool | None = None  # not known yet
        self._gzip: _Gzip | None = None

    def feed(self, chunk: bytes) -> bytes:
        if self._could_be is None and chunk:
            self._decide()
        return chunk if self._gzip is None else self._gzip.feed(chunk)

    def finish(self) -> bytes:
        return b"" if self._gzip is None else self._gzip.finish()

    def describe(self, response: Response) -> None:
        """Change the headers of the answer, which has its first chunk."""
        if self._could_be:
            add_vary(response.headers, "Accept-Encoding")
        if self._gzip is not None:
            _describe(response.headers)

    def _decide(self) -> None:
        request, response = cast(Request, self._request()), self._response
        if request.pending_response is not None:
            response = merge_pending(response, request.pending_response, keeps_status=True)
        self._could_be = self._settings.may_be(response, HTML)
        if self._could_be and _accepts_gzip(request):
            self._gzip = _Gzip(self._settings.level)


def _with_draft(request: Request, response: Response) -> Response:
    """The answer as it would be sent now: with what hooks and a generator set on ``self.response``."""
    if request.pending_response is None:
        return response
    draft, request.pending_response = request.pending_response, None
    return merge_pending(response, draft, keeps_status=True)


def _announced(response: Response) -> float:
    """The length of a stream that tells it, as those of files do."""
    length = response.headers.get("Content-Length") or ""
    return int(length) if length.isascii() and length.isdigit() else math.inf


def _describe(headers: MutableHeaders) -> None:
    """The headers of what is now compressed."""
    headers["Content-Encoding"] = "gzip"
    for name in ("Content-Length", "Accept-Ranges"):  # they were about other bytes
        if name in headers:
            del headers[name]
    _weaken_etag(headers)


def _weaken_etag(headers: MutableHeaders) -> None:
    """Two encodings of one resource are not the same bytes: RFC 9110, section 8.8.1."""
    etag = headers.get("ETag")
    if etag is not None and etag.startswith('"'):
        headers["ETag"] = f"W/{etag}"


def _not_modified(request: Request, response: Response) -> Response:
    """A 304 has the headers that the 200 would have had (RFC 9110, section 15.4.5), or caches can't match them."""
    add_vary(response.headers, "Accept-Encoding")
    if _accepts_gzip(request):
        _weaken_etag(response.headers)
    return response


def _accepts_gzip(request: Request) -> bool:
    return _prefers_gzip(request.headers.get("accept-encoding", ""))


@lru_cache(maxsize=64)  # browsers send one of a few
def _prefers_gzip(header: str) -> bool:
    """Whether gzip is acceptable, and no less welcome than the bytes as they are. What is malformed is not heard."""
    weights: dict[str, float] = {}
    for element in header.lower().split(","):
        coding, semicolon, parameter = element.partition(";")
        quality = _QUALITY.fullmatch(parameter)
        if quality is not None or not semicolon:
            weights[coding.strip(" \t")] = float(quality[1]) if quality is not None else 1.0
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)
