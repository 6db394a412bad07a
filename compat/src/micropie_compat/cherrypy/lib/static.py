"""``cherrypy.lib.static``: ``serve_file`` and similar functions for handlers, and the tools
``staticdir`` and ``staticfile``.
"""

from __future__ import annotations

import codecs
import mimetypes
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping, Set
from functools import lru_cache
from io import BufferedRandom, BufferedReader, FileIO
from math import inf
from typing import Any
from urllib.parse import quote

from micropie import HTTPError as NativeError
from micropie_compat.cherrypy.errors import HTTPError, HTTPRedirect, NotFound
from micropie_compat.cherrypy.lib import (
    FilePart,
    ServedChunks,
    file_generator_limited,
    pieces_of,
)
from micropie_compat.cherrypy.lib.httputil import HTTPDate, Ranges, get_ranges, valid_status
from micropie_compat.cherrypy.serving import serving
from micropie_compat.core import FileRange, current, select, validators_of
from micropie_compat.results import LONGEST_NAME, SMALL, StrPath, in_ascii

# If a request has more ranges than this, or its ranges have more than ``_LONGEST_PARTS`` bytes, the
# whole file is sent. RFC 9110 allows that.
_MOST_RANGES = 16
_LONGEST_PARTS = 1024 * 1024  # bytes of all ranges together

_OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


# Media types that CherryPy changes, and those that ``mimetypes`` lacks in all or some versions of
# Python: the ones that most machines list.
_TYPES = """
.7z application/x-7z-compressed .apk application/vnd.android.package-archive
.atom application/atom+xml .avif image/avif .bz2 application/x-bzip2
.docx application/vnd.openxmlformats-officedocument.wordprocessingml.document .dwg image/x-dwg
.eot application/vnd.ms-fontobject .epub application/epub+zip .flac audio/flac
.geojson application/geo+json .glb model/gltf-binary .gltf model/gltf+json .gpx application/gpx+xml
.gz application/gzip .heic image/heic .ico image/x-icon .ics text/calendar
.jar application/java-archive .js text/javascript .jsonld application/ld+json .jxl image/jxl
.kml application/vnd.google-earth.kml+xml .kmz application/vnd.google-earth.kmz .log text/plain
.m4a audio/mp4 .m4v video/x-m4v .map application/json .md text/markdown .mid audio/midi
.midi audio/midi .mjs text/javascript .mkv video/x-matroska .mpd application/dash+xml
.odp application/vnd.oasis.opendocument.presentation
.ods application/vnd.oasis.opendocument.spreadsheet .odt application/vnd.oasis.opendocument.text
.oga audio/ogg .ogg audio/ogg .ogv video/ogg .opus audio/ogg .otf font/otf
.pptx application/vnd.openxmlformats-officedocument.presentationml.presentation
.rar application/vnd.rar .rss application/rss+xml .rtf application/rtf .tgz application/gzip
.toml application/toml .ttf font/ttf .vcf text/vcard .vtt text/vtt .weba audio/webm
.webmanifest application/manifest+json .webp image/webp .wmv video/x-ms-wmv .woff font/woff
.woff2 font/woff2 .xhtml application/xhtml+xml
.xlsx application/vnd.openxmlformats-officedocument.spreadsheetml.sheet .xz application/x-xz
.yaml application/yaml .yml application/yaml .zst application/zstd
"""


@lru_cache(maxsize=1)
def _types() -> tuple[Mapping[str, str], Set[tuple[str, str]]]:
    """Return the media types that files are sent with, by file extension, and those of Python and
    this machine, which aren't the program's. The machine's are ignored, so that a file has the same
    type on every machine.
    """
    machine, pairs = mimetypes.MimeTypes(), _TYPES.split()
    python = {**machine.types_map[True]}
    for file in filter(os.path.isfile, mimetypes.knownfiles):
        machine.read(file)
    machine.read_windows_registry()
    own = {**python, **dict(zip(pairs[::2], pairs[1::2], strict=True))}
    return own, {*python.items(), *machine.types_map[True].items()}


def _type_of(path: str) -> str:
    """Return a file's media type: the one that the program has passed to ``mimetypes.add_type``, or
    that of Python or micropie.
    """
    own, known = _types()
    suffix = os.path.splitext(path)[1].lower()
    declared = mimetypes.types_map.get(suffix)
    if declared is not None and (suffix, declared) not in known:
        return declared
    return own.get(suffix, "application/octet-stream")


def serve_file(
    path: StrPath,
    content_type: str | None = None,
    disposition: str | None = None,
    name: str | None = None,
    debug: bool = False,
) -> bytes | FileRange:
    """Set the response's status and headers for a file, and return the body.

    ``content_type``: the media type, by default that of the file's extension.
    ``disposition``: "attachment" or "inline".
    ``name``: the file name in Content-Disposition, by default that of ``path``.

    Raises ``ValueError`` if ``path`` is relative, ``NotFound`` if the file doesn't exist.
    """
    path = os.fspath(path)
    if not os.path.isabs(path):
        raise ValueError(f"'{path}' is not an absolute path.")
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except (OSError, ValueError):
        raise NotFound from None
    facts = os.fstat(descriptor)
    if not stat.S_ISREG(facts.st_mode):
        os.close(descriptor)  # ``FileIO`` refuses a directory, and leaves it open
        raise NotFound
    file = FileIO(descriptor)
    try:
        if content_type is None:
            content_type = _type_of(path)
        serving.response.headers["Content-Type"] = content_type
        _set_disposition(disposition, name, os.path.basename(path))
        may_be_part = _set_validators(facts, path)
        ranges = _ranges(facts.st_size) if may_be_part else None
        return _send_file(file, path, facts.st_size, ranges)
    except BaseException:
        file.close()
        raise


def serve_download(path: StrPath, name: str | None = None) -> bytes | FileRange:
    """Send a file that browsers save instead of showing it."""
    return serve_file(path, "application/x-download", "attachment", name)


def serve_fileobj(
    fileobj: Any,
    content_type: str | None = None,
    disposition: str | None = None,
    name: str | None = None,
    debug: bool = False,
) -> object:
    """Send an open file, or another object with ``read``, with headers like those of
    ``serve_file``.

    The object is closed after its last chunk.
    """
    headers = serving.response.headers
    body: Any = pieces_of(fileobj)
    if content_type is not None:
        headers["Content-Type"] = content_type
    _set_disposition(disposition, name, None)
    try:
        facts = os.fstat(fileobj.fileno())
    except (AttributeError, OSError):  # the object isn't a file on disk
        facts = None
    if facts is None or not stat.S_ISREG(facts.st_mode):
        if hasattr(fileobj, "seek"):
            _accept_ranges()
        serving.response.body = body = ServedChunks.of(body, body)
        return body
    path = getattr(fileobj, "name", None)  # for a temporary file, this may be a number
    may_be_part = _set_validators(facts, path if isinstance(path, str) else "")
    size, chunks = facts.st_size, body
    is_compressed = type(fileobj).__module__ in _COMPRESSED  # its ranges aren't those on disk
    ranges = _ranges(size) if may_be_part and not is_compressed else None
    _accept_ranges()
    if ranges is not None and len(ranges) == 1:
        start, stop = ranges[0]
        _set_partial(start, stop, size)
        fileobj.seek(start)
        chunks = file_generator_limited(fileobj, stop - start)
    is_text = hasattr(fileobj, "encoding") or isinstance(fileobj, codecs.StreamReader)
    if is_compressed or is_text:
        headers.pop("Content-Length", None)  # it isn't known before the object is read
    elif chunks is body:
        position = fileobj.tell() if hasattr(fileobj, "tell") else 0
        headers["Content-Length"] = max(size - position, 0)
    is_plain = isinstance(fileobj, BufferedReader | BufferedRandom | FileIO)
    serving.response.body = body = (FilePart if is_plain else ServedChunks).of(body, chunks)
    if is_plain and "Content-Length" in headers:
        body.length = headers["Content-Length"]
    return body


_COMPRESSED = frozenset({"bz2", "gzip", "lzma"})  # the modules of classes


def _send_file(file: FileIO, path: str, size: int, ranges: Ranges | None) -> bytes | FileRange:
    """Set the status and headers for the ranges that the client requests, and return the body."""
    response = serving.response
    _accept_ranges()
    if ranges is not None and len(ranges) > 1:
        boundary = secrets.token_hex(16)
        content_type = response.headers["Content-Type"]
        response.status = 206
        response.headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
        response.headers.pop("Content-Length", None)
        response.body = body = b"".join(_parts(file, ranges, boundary, content_type, size))
        file.close()
        return body
    start, stop = (0, size) if ranges is None else ranges[0]
    if ranges is not None:
        _set_partial(start, stop, size)
    length = stop - start
    response.headers["Content-Length"] = length
    part = FileRange(file, path, size, start, length)
    native = current.get(None)
    if native is None or length <= SMALL[native._exchange.sends_files]:
        part.seek(0)
        response.body = body = b"".join(part)
        file.close()
        return body
    native.on_close(file.close)
    part.read_ahead(native._exchange.sends_files)
    response.body = part
    return part


_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")


def _set_validators(facts: os.stat_result, path: str) -> bool:
    """Set ETag and Last-Modified, and compare them with the request's conditions. Return whether
    ``If-Range`` allows sending a part of the file. Raises ``HTTPRedirect`` 304 or ``HTTPError``
    412.
    """
    request, response = serving.request, serving.response
    headers, file = response.headers, validators_of(facts, path)
    if file.date < inf:
        headers["Last-Modified"] = HTTPDate(file.modified)
    etag = headers.setdefault("ETag", file.etag)
    if valid_status(response.status)[0] == 200 and request.method in ("GET", "HEAD"):
        # Range isn't among the conditions, because ``_ranges`` handles it.
        found = [(name, request.micropie_header(name)) for name in _CONDITIONS]
        conditions = {name: value for name, value in found if value is not None}
        try:
            selection = select(conditions, request.method, etag, file.date, file.size)
        except NativeError:
            raise HTTPError(412) from None
        if selection.status == 304:
            raise HTTPRedirect([], 304)
    return file.allows_range(request.micropie_header("If-Range"), etag)


def _ranges(size: int) -> Ranges | None:
    """Return the ranges that the client requests, or None for the whole file. Raises 416 if all of
    them are outside the file.
    """
    request, headers = serving.request, serving.response.headers
    if request.protocol < (1, 1) or valid_status(serving.response.status)[0] != 200:
        return None
    ranges = get_ranges(request.micropie_header("Range"), size)
    if ranges is None:
        return None
    if not ranges:
        headers["Content-Range"] = f"bytes */{size}"
        raise HTTPError(416, "Invalid Range (first-byte-pos greater than Content-Length)")
    length = sum(stop - start for start, stop in ranges)
    is_too_much = len(ranges) > _MOST_RANGES or length > min(size, _LONGEST_PARTS)
    return None if len(ranges) > 1 and is_too_much else ranges


def _accept_ranges() -> None:
    if serving.request.protocol >= (1, 1):
        serving.response.headers["Accept-Ranges"] = "bytes"


def _set_partial(start: int, stop: int, size: int) -> None:
    response = serving.response
    response.status = "206 Partial Content"
    response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response.headers["Content-Length"] = stop - start


def _parts(
    file: FileIO, ranges: Ranges, boundary: str, content_type: str, size: int
) -> Iterator[bytes]:
    for start, stop in ranges:
        described = (
            f"Content-type: {content_type}\r\nContent-range: bytes {start}-{stop - 1}/{size}"
        )
        yield f"\r\n--{boundary}\r\n{described}\r\n\r\n".encode("latin-1", "replace")
        file.seek(start)
        yield from file_generator_limited(file, stop - start)
    yield f"\r\n--{boundary}--\r\n".encode()


_NOT_IN_A_NAME = re.compile(r'[\x00-\x1f\x7f"\\]')


def _set_disposition(disposition: str | None, name: str | None, own_name: str | None) -> None:
    """Set Content-Disposition. A name that isn't ASCII is sent twice, as ASCII and as UTF-8 (RFC
    6266).
    """
    if disposition is None:
        return
    shown = name or own_name
    header = disposition
    if shown is not None:
        shown = _NOT_IN_A_NAME.sub("_", shown[:LONGEST_NAME]).encode("utf-8", "replace").decode()
        # Replace characters once more, because the conversion to ASCII may produce quotes.
        plain = _NOT_IN_A_NAME.sub("_", in_ascii(shown))
        header += f'; filename="{plain}"'
        if plain != shown:
            header += f"; filename*=UTF-8''{quote(shown, safe='')}"
    serving.response.headers["Content-Disposition"] = header


# -- tools -----------------------------------------------------------------------------------------


def staticdir(
    section: str,
    dir: str,  # noqa: A002 - CherryPy's name
    root: str = "",
    match: str = "",
    content_types: Mapping[str, str] | None = None,
    index: str = "",
    debug: bool = False,
) -> bool:
    """The tool ``staticdir``: for GET and HEAD, send the requested file from a directory if it
    exists. Raises 403 for a path outside the directory.

    ``section``: the directory's URL path, set by the configuration.
    ``dir``: the directory, absolute or relative to ``root``.
    ``match``: a regular expression that URL paths must match.
    ``content_types``: media types by extension without the dot.
    ``index``: the file to send for a directory.
    """
    request = serving.request
    if request.method not in ("GET", "HEAD") or (match and not re.search(match, request.path_info)):
        return False
    folder = _absolute(dir, root, "Static dir requires an absolute dir (or root).")
    prefix = "" if section == "global" else section.rstrip("/\\")
    below = request.path_info[len(prefix) + 1 :].lstrip("/\\")
    path = os.path.join(folder, below)
    base, normal = os.path.normpath(folder), os.path.normpath(path)
    if normal != base and not normal.startswith(os.path.join(base, "")):
        raise HTTPError(403)
    # Resolve ".." before the path is used: the system would follow symbolic links first, and apply
    # ".." to their targets. Remove empty segments, so that a file has one path: for each path, it
    # is read for its ETag.
    if ".." in below or "//" in below:
        path = os.path.join(normal, "") if path.endswith("/") else normal
    if _attempt(path, content_types):
        return True
    if index and _attempt(os.path.join(path, index), content_types):
        request.is_index = path.endswith(("/", "\\"))
        return True
    return False


def staticfile(
    filename: str,
    root: str | None = None,
    match: str = "",
    content_types: Mapping[str, str] | None = None,
    debug: bool = False,
) -> bool:
    """The tool ``staticfile``: for GET and HEAD, send one file, if it exists.

    The options are those of ``staticdir``.
    """
    request = serving.request
    if request.method not in ("GET", "HEAD") or (match and not re.search(match, request.path_info)):
        return False
    path = _absolute(
        filename, root or "", f"Static tool requires an absolute filename (got '{filename}')."
    )
    return _attempt(path, content_types)


def _absolute(path: str, root: str, problem: str) -> str:
    path = os.path.expanduser(path)
    if os.path.isabs(path):
        return path
    if not root:
        raise ValueError(problem)
    return os.path.join(os.path.expanduser(root), path)


def _attempt(path: str, content_types: Mapping[str, str] | None) -> bool:
    kind = (content_types or {}).get(os.path.splitext(path)[1][1:])
    try:
        serve_file(path, kind)
    except NotFound:
        return False
    return True
