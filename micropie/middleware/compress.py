"""Compression of responses, for clients that accept it (RFC 9110, sections 8.4.1 and 12.5.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import cast
from weakref import ref

from micropie._core.errors import SetupError, check, is_count, refuse_text
from micropie._core.execution.steps import CALL, Flow, call
from micropie._core.http import JSON, Request, Response, as_response, encode_body, joined
from micropie._core.http.headers import MutableHeaders, accepted_codings, add_vary
from micropie._core.streams import Stream, stream_of
from micropie.middleware.base import FlowMiddleware
from micropie.middleware.codings import CODINGS, PACKAGES, Compressor, maker_of

# A body of at most this many bytes is compressed on the event loop, in half a millisecond or less.
# A larger body is compressed in a thread.
_INLINE_LIMIT = 32 * 1024

# The media types that are compressed by default: text, and binary formats that contain no
# compressed data.
TYPES = (
    "text/*",
    "*+json",
    "*+xml",
    "application/javascript",
    "application/json",
    "application/jsonl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-ndjson",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
)

# Headers that describe the uncompressed bytes. A client would refuse compressed bytes whose digest
# differs (RFC 9530, section 2; RFC 3230; RFC 1864).
_OF_UNCOMPRESSED = frozenset(
    {
        *("content-encoding", "content-length", "accept-ranges"),
        *("content-digest", "repr-digest", "digest", "content-md5"),
    }
)

_TAG = re.compile(r'(?:W/)?"[^"]*"')
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]+/([a-z0-9!#$&^_.+-]+|\*)|\*\+[a-z0-9!#$&^_.-]+")


class Compress(FlowMiddleware):
    """Compress responses for clients that accept it.

    - ``minimum``: the size in bytes from which a body is compressed. Streams of unknown length are
      always compressed.
    - ``level``: 1 (fast) to 9 (small).
    - ``types``: media types. ``"text/*"`` matches all text types, and ``"*+json"`` matches all
      types that end with ``+json``.
    - ``codings``: any of ``"zstd"``, ``"br"`` (brotli) and ``"gzip"``, in order of preference. A
      client gets the one that it prefers, or the first one if it has no preference. The default is
      every coding that is installed: zstd comes with Python 3.14 or the package ``backports.zstd``,
      brotli with the package ``brotli``.

    Event streams, partial content (206), and responses with a Content-Encoding or ``Cache-Control:
    no-transform`` are never compressed. Every response whose type and size allow compression gets
    ``Vary: Accept-Encoding``, whether it is compressed or not. A 206 and a 304 get it as well,
    because the 200 for the same URL has it. The ETag of a compressed response becomes weak.

    No chunk of a stream waits for a later one to be compressed. The chunks of a ``def`` stream
    under ASGI, and of an async stream under WSGI, are compressed as one if they are ready; all
    others one by one. Those of an async stream under ASGI are compressed on the event loop.

    If a page contains both a secret and text from the request, the compressed length can reveal the
    secret (BREACH). Exclude such pages: send ``no-transform`` with them, or use this middleware
    only in an inner application for the other pages.
    """

    def __init__(
        self,
        *,
        minimum: int = 500,
        level: int = 6,
        types: Iterable[str] = TYPES,
        codings: Sequence[str] | None = None,
    ) -> None:
        check(
            "Compress(minimum=...)",
            is_count(minimum, least=0),
            minimum,
            "a whole number of bytes, 0 or more",
        )
        check(
            "Compress(level=...)",
            is_count(level, least=1) and level <= 9,
            level,
            "a whole number from 1 to 9",
        )
        refuse_text("types", types)
        names = tuple(types)
        for name in names:
            fine = isinstance(name, str) and _TYPE.fullmatch(name) is not None
            expected = 'media types such as "text/html", "text/*" and "*+json"'
            check("Compress(types=...)", fine, name, expected)
        self._types = frozenset(names)
        self._minimum = minimum
        # the functions that create compressors, by coding
        self.compressors = _compressors_of(codings, level)

    def after(self, request: Request, response: Response) -> Response | Flow[Response]:
        """Compress the response if its headers, type and length allow it."""
        exchange = request._exchange
        if response.status in (206, 304):
            self._match_whole(request, response)
            return response
        if not self.may_compress(response, None):
            return response
        stream = stream_of(response.body)
        if stream is not None:
            return self._stream(request, response, stream)
        in_headers = response.headers.get("Content-Type")
        body, is_json, stated = encode_body(response.body, in_headers or response.content_type)
        suggested = JSON if is_json else exchange.config.text_type
        if len(body) < self._minimum or not self._suits_type(response, suggested):
            return response
        response.body = body
        if response.content_type != "":  # that of a mounted application
            # Set the type now, because bytes have another default type than the original value.
            response.content_type = suggested if stated is None else stated
            if in_headers:
                response.headers["Content-Type"] = response.content_type
        add_vary(response.pairs, "Accept-Encoding")
        coding = self.coding_for(request)
        if coding is None:
            return response
        if len(body) > _INLINE_LIMIT:
            return call(CALL, self._whole, response, body, coding)
        return self._whole(response, body, coding)

    def coding_for(self, request: Request) -> str | None:
        """Return the coding that a client prefers, or None if it accepts none."""
        accepted = request.headers.get("accept-encoding", "")
        return next(iter(accepted_codings(accepted, self.compressors)), None)

    def may_compress(self, response: Response, suggested: str | None) -> bool:
        """Return whether the response's headers and media type allow compression.

        ``suggested``: the media type of a response that sets none; None if it isn't known yet.
        """
        return response.status not in (204, 206) and self._suits(response, suggested)

    def _suits(self, response: Response, suggested: str | None) -> bool:
        headers = response.headers
        if "Content-Encoding" in headers:
            return False
        if any("no-transform" in value.lower() for value in headers.get_all("Cache-Control")):
            return False
        return self._suits_type(response, suggested)

    def _suits_type(self, response: Response, suggested: str | None) -> bool:
        content_type = response.headers.get("Content-Type") or response.content_type or suggested
        if content_type is None or content_type.startswith("multipart/byteranges"):
            return True
        media_type = content_type.partition(";")[0].strip().lower()
        kind, _, name = media_type.partition("/")
        names = {media_type, f"{kind}/*"}
        if "+" in name:
            names.add(f"*+{name.rpartition('+')[2]}")
        return media_type != "text/event-stream" and not names.isdisjoint(self._types)

    def _match_whole(self, request: Request, response: Response) -> None:
        """Set the headers that the 200 for the same URL has on a 206 or a 304, because caches
        combine them (RFC 9110, sections 15.3.7 and 15.4.5).
        """
        name = "Content-Length" if response.status == 304 else "Content-Range"
        stated = response.headers.get(name, "").rpartition("/")[2]
        is_known = stated.isascii() and stated.isdigit()
        if not self._suits(response, None) or (is_known and int(stated) < self._minimum):
            return
        add_vary(response.pairs, "Accept-Encoding")
        if response.status == 304 and self.coding_for(request):
            known = _TAG.findall(request.headers.get("if-none-match", ""))
            # If the size isn't known, the client's tag shows whether its copy was compressed.
            if is_known or response.headers.get("ETag") not in known:
                _weaken_etag(response.headers)

    def _whole(self, response: Response, body: bytes, coding: str) -> Response:
        compressor = self.compressors[coding]()
        compressed = compressor.add(body) + compressor.finish()
        if len(compressed) < len(body):
            response.body = compressed
            _describe(response, coding)
        return response

    def _stream(self, request: Request, response: Response, stream: Stream) -> Response:
        length = stream.length
        if length is None:  # a mounted application may have set Content-Length
            stated = response.headers.get("Content-Length") or ""
            length = int(stated) if stated.isascii() and stated.isdigit() else self._minimum
        if length >= self._minimum:
            inner = [one for one in stream.transforms if isinstance(one, _Compressed)]
            compressor = _Compressed(self, request, response, inner)
            # For clients that don't accept compression, leave the file as it is, because a server
            # sends a file more efficiently than a stream.
            if stream.file is None or compressor.decide(response):
                stream.transform(compressor)
                response.body = stream
            request._exchange.call_before_head(compressor.describe)
        return response


class _Compressed:
    """Compresses the chunks of a stream.

    It decides at the first chunk whether to compress, because a generator may set headers until
    then. Each chunk, or those that are ready as one, is flushed, so that clients get it without
    waiting for the next one.
    """

    def __init__(
        self,
        settings: Compress,
        request: Request,
        response: Response,
        inner: Sequence[_Compressed],
    ) -> None:
        self._settings = settings
        self._inner = inner  # those of inner applications, which have decided before
        self._request = ref(request)  # a weak reference, because the request refers to this object
        self._response = response
        self._may_compress: bool | None = None  # None before the first chunk
        self._coding: str | None = None  # set if the stream is compressed
        self._compressor: Compressor | None = None

    def feed(self, chunk: bytes) -> bytes:
        compressor = self.decide(self._response) if chunk else None
        return chunk if compressor is None else compressor.add(chunk) + compressor.flush()

    def finish(self) -> bytes:
        return b"" if self._compressor is None else self._compressor.finish()

    def decide(self, response: Response) -> Compressor | None:
        """Return the compressor, or None if the stream isn't compressed. The first call decides."""
        if self._may_compress is None:
            request = cast(Request, self._request())
            if request._exchange.answer.response is not None:
                # The generator may have set another response.
                response = joined(response, as_response(request._exchange.answer.response))
            self._may_compress = self._settings.may_compress(
                response, request._exchange.config.text_type
            ) and not any(one._coding for one in self._inner)
            self._coding = self._settings.coding_for(request) if self._may_compress else None
            if self._coding is not None:
                self._compressor = self._settings.compressors[self._coding]()
        return self._compressor

    def describe(self, response: Response) -> None:
        """Set the headers of the response, once the first chunk has been generated."""
        # If HEAD left out the chunks of a file or a mounted application, none was fed. Without its
        # length, that body may be too short to be compressed.
        is_unknown = self._may_compress is None and "Content-Length" not in response.headers
        if cast(Request, self._request()).method == "HEAD":
            self.decide(response)
        if self._may_compress:
            add_vary(response.pairs, "Accept-Encoding")
        if self._coding is not None and not is_unknown:
            _describe(response, self._coding)


def _describe(response: Response, coding: str) -> None:
    """Set the headers of a compressed response."""
    pairs = response.pairs
    pairs[:] = [pair for pair in pairs if pair[0].lower() not in _OF_UNCOMPRESSED]
    pairs.append(("Content-Encoding", coding))
    _weaken_etag(response.headers)


def _weaken_etag(headers: MutableHeaders) -> None:
    """Make the ETag weak, because two encodings of one resource have different bytes (RFC 9110,
    section 8.8.1).
    """
    etag = headers.get("ETag", "")
    if etag.startswith('"'):
        headers["ETag"] = f"W/{etag}"


def _compressors_of(
    codings: Sequence[str] | None, level: int
) -> Mapping[str, Callable[[], Compressor]]:
    """Return the functions that create compressors for ``codings``, by coding. None means all
    codings that are installed. Raises ``SetupError`` for a coding that is unknown or not installed.
    """
    fine = codings is None or (
        isinstance(codings, list | tuple)
        and len(codings) > 0
        and all(one in CODINGS for one in codings)
    )
    check("Compress(codings=...)", fine, codings, 'a list of "zstd", "br" and "gzip"')
    found: dict[str, Callable[[], Compressor]] = {}
    for coding in CODINGS if codings is None else codings:
        make = maker_of(coding)
        if make is not None:
            found[coding] = partial(make, level)
        elif codings is not None:
            raise SetupError(
                f"Compress(codings=...): {coding} is not installed: pip install {PACKAGES[coding]}"
            )
    return found
