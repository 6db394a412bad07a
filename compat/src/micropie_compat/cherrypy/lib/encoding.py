"""The functions that implement the tools ``encode``, ``decode`` and ``gzip``."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from itertools import repeat
from typing import Any

from micropie_compat.cherrypy.errors import HTTPError
from micropie_compat.cherrypy.lib import (
    EncodedChunks,
    FilePart,
    listed,
    pieces_of,
    set_vary_header,
)
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Strings
from micropie_compat.core import FileRange
from micropie_compat.overrides import Overridable
from micropie_compat.results import AnyFunction, Chunks, then

UTF8 = "utf-8"


def decode(encoding: Strings | None = None, default_encoding: Strings = UTF8) -> None:
    """Decode forms from ``encoding``. If ``encoding`` isn't given, decode each form from the
    charset that the form declares, or otherwise from ``default_encoding``.
    """
    body = serving.request.body
    if encoding is not None:
        body.attempt_charsets = listed(encoding)
    elif default_encoding:
        body.attempt_charsets = [*body.attempt_charsets, *listed(default_encoding)]


class ResponseEncoder(metaclass=Overridable):
    """The tool ``encode``: encode strings that a handler returns, and add the charset to the
    Content-Type.

    ``encoding``: the encoding, by default UTF-8.
    ``text_only``: whether to encode only bodies of the types ``text/*``.
    ``add_charset``: whether to add the charset to the Content-Type.
    """

    uncalled = "find_acceptable_charset", "encode_string", "encode_stream"

    default_encoding = UTF8
    encoding: str | None = None
    errors = "strict"
    text_only = True
    add_charset = True
    failmsg = "Response body could not be encoded with %r."

    def __init__(self, **kwargs: object) -> None:
        for name, value in kwargs.items():
            setattr(self, name, value)
        request = serving.request
        self.oldhandler: AnyFunction | None = request.handler
        if request.handler is not None:
            request.handler = self

    def __call__(self, *args: object, **kwargs: object) -> object:
        assert self.oldhandler is not None  # noqa: S101 - called only in place of a handler
        return self.encode(self.oldhandler(*args, **kwargs))

    def encode(self, body: object) -> object:
        """Return a handler's result with all strings encoded, and set the charset in the
        Content-Type.
        """
        return then(body, self._encoded)

    def _encoded(self, body: object) -> object:
        response = serving.response
        headers = response.headers
        media_type, _, parameters = str(headers.get("Content-Type") or "").partition(";")
        if not media_type or (
            self.text_only and not media_type.strip().lower().startswith("text/")
        ):
            return body
        encoding = self.encoding or self.default_encoding
        if self.add_charset:
            others = [
                each
                for each in parameters.split(";")
                if each.strip() and "charset=" not in each.lower()
            ]
            headers["Content-Type"] = ";".join(
                [media_type.strip(), *others, f"charset={encoding.lower()}"]
            )
        # A handler may have set the number of characters instead of bytes, and a hook may change
        # the body.
        if not response.stream:
            headers.pop("Content-Length", None)
        # A hook may close the handler's own file before it would be sent.
        is_kept = response.stream or not serving.request.hooks.get("on_end_resource")
        if isinstance(body, FileRange) or (isinstance(body, FilePart) and is_kept):
            return body
        if isinstance(body, str):
            return self._bytes(body, encoding)
        if body is None or isinstance(body, bytes | dict):
            return body
        pieces: Any = pieces_of(body) if hasattr(body, "read") else body
        return EncodedChunks.of(pieces, map(self._bytes, pieces, repeat(encoding)))

    def _bytes(self, piece: object, encoding: str) -> object:
        if not isinstance(piece, str):
            return piece
        try:
            return piece.encode(encoding, self.errors)
        except (LookupError, UnicodeError):
            raise HTTPError(
                500 if self.encoding is None else 406, self.failmsg % encoding
            ) from None


def gzip(
    compress_level: int = 5,
    mime_types: Sequence[str] = ("text/html", "text/plain"),
    debug: bool = False,
) -> None:
    """Compress the response if the client accepts gzip and the response's type is one of
    ``mime_types``, which may have wildcards: ``text/*``, ``application/*+xml``.
    """
    request, response = serving.request, serving.response
    set_vary_header(response, "Accept-Encoding")
    # A response from the cache is sent as it was cached, compressed or not.
    if not response.body or getattr(request, "cached", False):
        return
    accepted = request.headers.elements("Accept-Encoding")
    if not accepted:
        return
    for coding in accepted:
        weight = coding.qvalue
        if coding.value == "identity" and weight:
            return
        if coding.value in ("gzip", "x-gzip"):
            media_type = str(response.headers.get("Content-Type", "")).partition(";")[0].strip()
            if weight and any(fnmatchcase(media_type, kind) for kind in mime_types):
                response.headers["Content-Encoding"] = "gzip"
                response.body = compress(response.body, compress_level)
                response.headers.pop("Content-Length", None)
            return
    HTTPError(406, "identity, gzip").set_response()


def compress(body: Iterable[bytes], compress_level: int) -> Iterator[bytes]:
    """Return an iterator over a body's pieces compressed in gzip format."""
    return Chunks.of(body, _compressed(body, compress_level))


def _compressed(body: Iterable[bytes], compress_level: int) -> Iterator[bytes]:
    compressor = zlib.compressobj(compress_level, wbits=31)
    for piece in body:
        made = compressor.compress(piece)
        if made:
            yield made
    yield compressor.flush()


def decompress(body: bytes) -> bytes:
    """Return the decompressed bytes of a body in gzip format."""
    return zlib.decompress(body, wbits=31)
