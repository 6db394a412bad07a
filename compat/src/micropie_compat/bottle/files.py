"""``static_file``: send a file of a directory with its media type, modification time and entity
tag. Range requests are supported.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from io import FileIO
from math import inf
from typing import Any

from micropie_compat.bottle.requests import received_header, request
from micropie_compat.bottle.responses import HTTPError, HTTPResponse, http_date, parse_date
from micropie_compat.core import validators_of
from micropie_compat.results import LONGEST_NAME, StrPath, Values


class ServedFile(FileIO):
    """An open file from which the ``length`` bytes up to the position ``end`` can be read."""

    length = 0
    end = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at most ``size`` bytes, by default all remaining bytes."""
        left = max(self.end - self.tell(), 0)
        return super().read(left if size is None or size < 0 else min(size, left)) or b""

    readall = read


def static_file(
    filename: str,
    root: StrPath,
    mimetype: bool | str = True,
    download: bool | str = False,
    charset: str = "UTF-8",
    etag: str | bool | None = None,
    headers: Values | None = None,
) -> HTTPResponse:
    """Return a response with the file ``filename`` in the directory ``root``: ``return
    static_file(name, root="static")``.

    The status is 403 if the file is outside ``root`` or can't be read, 404 if it doesn't exist, and
    304 or 206 if the request is conditional or has a Range header.

    ``mimetype``: the media type; by default that of the name's extension.
    ``download``: True or a file name makes browsers save the file.
    ``charset``: added to the media type of text files.
    ``etag``: the entity tag; False means none.
    ``headers``: additional headers.
    """
    base = os.path.join(os.path.abspath(root), "")
    path = os.path.normpath(base + filename.strip("/\\"))
    if not path.startswith(base):
        return HTTPError(403, "Access denied.")
    if not os.path.isfile(path):
        return HTTPError(404, "File does not exist.")
    if not os.access(path, os.R_OK):
        return HTTPError(403, "You do not have permission to access this file.")
    try:
        body = ServedFile(path, "rb")
    except FileNotFoundError:  # removed in the meantime
        return HTTPError(404, "File does not exist.")
    with ExitStack() as opened:
        opened.enter_context(body)
        # The validators are those of the open file, because another one may have replaced it.
        facts = os.fstat(body.fileno())
        file = validators_of(facts, path)
        sent: dict[str, Any] = dict(headers or {})
        if file.date < inf:
            sent["Last-Modified"] = _http_date(file.modified)
        saved_as = download[:LONGEST_NAME] if isinstance(download, str) else os.path.basename(path)
        media_type: bool | str | None = mimetype
        if media_type is True:
            media_type, coding = mimetypes.guess_type(saved_as)
            # A compressed file gets the media type of its compression. With a Content-Encoding
            # instead, browsers would decompress it.
            if coding is not None:
                media_type = "application/gzip" if coding == "gzip" else f"application/x-{coding}"
        if media_type:
            is_text = media_type.startswith("text/") or media_type == "application/javascript"
            needs_charset = charset and is_text and "charset=" not in media_type
            sent["Content-Type"] = (
                f"{media_type}; charset={charset}" if needs_charset else media_type
            )
        if download:
            sent["Content-Disposition"] = 'attachment; filename="{}"'.format(
                saved_as.replace('"', "")
            )
        if etag is None or etag is True:
            etag = file.etag
        if etag:
            sent["ETag"] = etag if etag.startswith(('"', 'W/"')) else f'"{etag}"'
        if _is_known(sent.get("ETag"), file.date):
            return HTTPResponse(status=304, **sent)
        sent["Accept-Ranges"] = "bytes"
        start, end, status = 0, facts.st_size, None
        asked = received_header("range")
        if asked and file.allows_range(received_header("if-range") or None, sent.get("ETag", "")):
            start, end = next(parse_range_header(asked, facts.st_size), (0, 0))
            if end == 0:
                return HTTPError(416, "Requested Range Not Satisfiable")
            status = 206
            sent["Content-Range"] = f"bytes {start}-{end - 1}/{facts.st_size}"
        sent["Content-Length"] = str(end - start)
        if request.method == "HEAD":
            return HTTPResponse("", status, **sent)
        if start:
            body.seek(start)
        body.length, body.end = end - start, end
        opened.pop_all()
        return HTTPResponse(body, status, **sent)


_http_date = lru_cache(256)(http_date)


def _is_known(etag: str | None, modified: float) -> bool:
    """Return whether the client already has this version of the file, according to If-None-Match if
    it was sent, otherwise If-Modified-Since.
    """
    tags = received_header("if-none-match")
    if tags and etag:
        known = {tag.strip().removeprefix("W/").strip('"') for tag in tags.split(",")}
        return "*" in known or etag.removeprefix("W/").strip('"') in known
    since = parse_date(received_header("if-modified-since").partition(";")[0].strip())
    return since is not None and since >= modified


def parse_range_header(header: str | None, maxlen: int = 0) -> Iterator[tuple[int, int]]:
    """Yield (first byte, last byte + 1) for each range of a Range header that a file of ``maxlen``
    bytes can satisfy.
    """
    unit, _, ranges = (header or "").partition("=")
    for text in ranges.split(",") if unit == "bytes" else ():
        first, dash, last = (part.strip() for part in text.partition("-"))
        try:
            if not first:
                start, end = max(0, maxlen - int(last)), maxlen
            else:
                start, end = int(first), min(int(last) + 1, maxlen) if last else maxlen
        except ValueError:
            continue
        if dash and 0 <= start < end <= maxlen:
            yield start, end
