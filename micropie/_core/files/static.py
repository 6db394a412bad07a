"""Files as responses: ``static_file`` for handlers, and ``open_file``, with which the flow opens
the file of such a response.

A handler returns a response with a ``FileReference``, which only has the file's path. No file is
open yet, so none can leak. The flow turns the reference into a response in one IO step, which finds
the file, compares it with the client's copy, opens and reads it. A small file becomes bytes, a
larger file a ``FileRange``, which the request always closes at its end. For hooks and
``@app.error``, a missing file is a 404 like any other.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from io import FileIO
from math import inf
from pathlib import Path
from typing import Any, TypeAlias

from micropie._core.errors import (
    FLAG,
    TEXT,
    HeadersLike,
    HTTPError,
    ResponseError,
    SetupError,
    check_each,
    is_count,
)
from micropie._core.execution.placement import AnyFunction
from micropie._core.execution.steps import IO, Flow
from micropie._core.files.content_types import UNKNOWN, attachment, content_type_of
from micropie._core.files.fingerprints import (
    IDENTIFIED,
    KNOWN,
    LARGEST_REQUESTED,
    Fingerprint,
    digest_of,
    fingerprint,
    fingerprint_for_url,
    identified,
    with_digest,
)
from micropie._core.files.lookup import (
    Facts,
    Key,
    ResolvedFile,
    codings_for,
    find,
    is_still,
    open_resolved,
    resolved_root,
)
from micropie._core.files.recent import (
    CONTENTS,
    LARGEST,
    LARGEST_LOOK,
    LONGEST_PATH,
    OVERHEAD,
    RECENT,
)
from micropie._core.http import (
    NOSNIFF,
    EncodedAnswer,
    FileOptions,
    FileReference,
    Request,
    Response,
    current_request,
    encode,
)
from micropie._core.http.addresses import DOTS_AND_EMPTY
from micropie._core.http.headers import (
    CONDITIONS,
    HeaderNames,
    KnownHead,
    Selection,
    add_missing,
    add_vary,
    http_date,
    select,
)
from micropie._core.on_demand import pattern
from micropie._core.routing.decorators import run_in
from micropie._core.routing.discovery import FINGERPRINT
from micropie._core.streams import PART_CHUNK, FileRange

SMALL = PART_CHUNK  # bytes; a smaller file is read in the call that opens it
_YEAR = 365 * 24 * 3600  # seconds

# How often to look up a file that keeps changing before it can be read. A log may change several
# times in a millisecond.
ATTEMPTS = 20

# A file, the part of it to send, and its bytes or the open file.
Opened: TypeAlias = tuple[ResolvedFile, Selection, bytes, FileRange | None]


def static_file(
    path: str | os.PathLike[str],
    root: str | os.PathLike[str],
    download: bool | str | None = None,
    content_type: str | None = None,
    max_age: int | None = None,
    cached: bool = False,
    follow_symlinks: bool = False,
    headers: HeadersLike = (),
) -> Response:
    """Return the file ``path`` under the directory ``root`` as a response: ``return
    static_file(name, root="reports")``.

    - ``path``: the file's path under ``root``. The path may come from a client. If it points out of
      ``root``, is hidden (begins with a dot) or isn't a readable regular file, the client gets a
      404.
    - ``root``: a directory. Its name must not come from a client. Each process resolves the
      directory only once.
    - ``download``: True makes browsers save the file under its own name, and a str is the name to
      save it under.
    - ``content_type``: by default the type for the name's extension.
    - ``max_age``: seconds for which a client may use its copy without a request. By default, the
      response has ``no-cache``, so that clients request the file each time, and get a 304 if it has
      not changed.
    - ``cached``: keep the file in memory if it has at most 1 MiB, and check the disk at most once a
      second.
    - ``follow_symlinks``: also serve files outside of ``root`` to which symbolic links point.
    - ``headers``: further headers; they override those that this function would set.

    The file is opened after the handler has returned. To delete a temporary file, pass the function
    that deletes it to ``request.after_response``.

    Raises ``ValueError`` unless ``max_age`` is a whole number of seconds, 0 or more.
    """
    if max_age is not None and not is_count(max_age, least=0):
        raise ValueError(f"max_age must be a whole number of seconds, 0 or more, not {max_age!r}")
    saved_as = "" if download is True else download or None
    options = FileOptions(os.fspath(root), max_age, cached, follow_symlinks, saved_as)
    return Response(FileReference(os.fspath(path), options), 200, headers, content_type)


_OPTIONS = {
    "content_type": TEXT,
    "download": (str | bool, "True, False or a name"),
    "headers": (list | tuple | Mapping, "a dict or pairs"),
    **dict.fromkeys(("cached", "follow_symlinks"), FLAG),
}


def directory_route(
    prefix: str, directory: str | os.PathLike[str], **options: Any
) -> tuple[str, AnyFunction]:
    """Return the path and the handler that serve a directory under ``prefix``.

    ``options`` are those of ``static_file``. Raises ``SetupError`` for an invalid prefix, directory
    or option.
    """
    # The prefix must not be "/", because then every unknown path would be looked up on disk.
    is_path = isinstance(prefix, str) and prefix.startswith("/") and "<" not in prefix
    if not is_path or not DOTS_AND_EMPTY.isdisjoint(prefix[1:].removesuffix("/").split("/")):
        raise SetupError(f'App.static serves files under a path such as "/static", not {prefix!r}')
    if not isinstance(directory, str | os.PathLike) or not Path(directory).is_dir():
        raise SetupError(
            f"there is no directory {directory!r} to serve files from; the working directory is "
            f"{Path.cwd()}"
        )
    for name, kinds in _OPTIONS.items():
        check_each("App.static", *kinds, **{name: options[name]})
    root = resolved_root(str(Path(directory).absolute()))
    try:
        usual = static_file("", root, **options)
        encode(Response("", 200, usual.pairs, usual.content_type), None, head_only=True)
    except (TypeError, ValueError, ResponseError) as error:
        raise SetupError(f"App.static: {error}") from None
    file_options: FileOptions = usual.body.options
    states_more = bool(usual.pairs or usual.content_type is not None)

    @run_in("loop")
    def serve(path: str) -> FileReference | Response:
        exchange = current_request()._exchange
        literal = exchange.literal_path  # None if the path has escapes
        # Refuse a trailing slash, because here it means a directory. Other routes ignore it. Refuse
        # an escaped slash, which no file's name contains, because "/private%2Ffile" must not bypass
        # a proxy that protects "/private/".
        if literal is None:
            raw_path = exchange.raw_path().lower()
            is_refused = raw_path.endswith(b"/") or b"%2f" in raw_path
        else:
            is_refused = literal.endswith("/")
        if is_refused:
            raise HTTPError(404)
        query = exchange.query_string
        fingerprint = query[2:] if query.startswith("v=") else None
        found = FileReference(path, file_options, fingerprint)
        return Response(found, 200, usual.pairs, usual.content_type) if states_more else found

    # Files need no session, so they are also sent while a session backend is unavailable.
    vars(serve)["__micropie_needs_session__"] = False
    vars(serve)[FINGERPRINT] = lambda path: fingerprint_for_url(
        (root, path, file_options.follow_symlinks)
    )
    return f"{prefix.rstrip('/')}/<path:path>", serve


_ASKED = HeaderNames("accept-encoding", "authorization", *CONDITIONS)


def open_file(request: Request, response: Response) -> Flow[tuple[EncodedAnswer, FileRange | None]]:
    """Open the file of a ``FileReference``, which is the body of ``response``. Return the encoded
    response for the file, and the open file if it is too large to be read at once.

    Raises ``HTTPError``: 404 if there is no such file, and 412 or 416 in the same cases as
    ``select``.

    The file is opened in a thread, unless it is in memory or was checked within the last second
    (``recent.py``).
    """
    exchange, reference = request._exchange, response.body
    path, options = reference.path, reference.options
    asked = exchange.named_headers(_ASKED)
    codings = codings_for(asked.get("accept-encoding", ""))
    key = options.root, path, codings, options.follow_symlinks
    own = None
    if reference.fingerprint is not None:
        place = options.root, path, options.follow_symlinks
        own = KNOWN.fresh(place) or (yield IO, fingerprint, (place, LARGEST_REQUESTED))
    opened: Opened | None = None
    if options.cached:
        kept = CONTENTS.fresh(key)
        if kept is not None:
            opened = _opened(request, response, asked, *kept)
    elif RECENT.may_look(key):
        opened = _open_on_loop(request, response, asked, key)
    if opened is None:
        opened = yield IO, _find_and_open, (request, response, asked, key)
    resolved, (status, start, stop), data, part = opened
    # Without this header, browsers use their copy without a request for 10% of the file's age
    # (RFC 9111, section 4.2.2).
    cache_control = _NO_CACHE
    if options.max_age is not None or reference.fingerprint:
        is_private = "authorization" in asked or bool(exchange.answer.depends_on)
        cache_control = _lasting(reference, own, resolved.version, is_private)
    if status == 304:
        reference.size = resolved.size
        known = _head(resolved, resolved.modified, cache_control)
        return EncodedAnswer((status, None, None, known, b"", None)), None
    # A file that is sent as an error page gets no validators.
    modified = resolved.modified if response.status == 200 else None
    name = None if options.saved_as is None else options.saved_as or path.rpartition("/")[2]
    head: tuple[tuple[str, str], ...] = _head(resolved, modified, cache_control, True, name)
    if status == 206:
        head = *head, ("content-range", f"bytes {start}-{stop - 1}/{resolved.size}")
    kind = content_type_of(path)
    if kind is UNKNOWN and exchange.config.settings.file_types:
        kind = _listed_type(request, path)
    return EncodedAnswer((status, kind, stop - start, head, data, None)), part


def _listed_type(request: Request, path: str) -> str:
    """Return the type that ``App(file_types=...)`` lists for a file's extension."""
    file_types = request._exchange.config.settings.file_types
    return file_types.get(Path(path).suffix.lower(), UNKNOWN)


def _open_on_loop(
    request: Request, response: Response, asked: Mapping[str, str], key: Key
) -> Opened | None:
    """Find and open a file on the event loop. Return None if its bytes have to be read in a
    thread.
    """
    begun, version = time.monotonic(), None
    try:
        resolved = IDENTIFIED.get(find(*key))
        if resolved is None:
            return None
        if resolved.size <= LARGEST_LOOK and RECENT.latest(key) == resolved:
            version = resolved
        return _opened(request, response, asked, resolved, may_read=version is not None)
    finally:
        RECENT.record_look(key, version, begun)


def _find_and_open(
    request: Request, response: Response, asked: Mapping[str, str], key: Key
) -> Opened:
    """Find, open and read the file. Everything that may block is done here, in one call in a
    thread.
    """
    root, path, _, follow_symlinks = key
    is_cached = response.body.options.cached
    is_noted = not is_cached and len(path) <= LONGEST_PATH
    if is_noted:
        RECENT.put(key, None, time.monotonic())
    for attempt in range(ATTEMPTS):
        checked_at = time.monotonic()
        found, data = find(*key), None
        resolved = IDENTIFIED.get(found)
        is_kept = is_cached and found.size <= LARGEST
        kept = CONTENTS.latest(key) if is_kept else None
        if kept is not None and kept[0] == resolved:
            data = kept[1]
        elif is_kept or (resolved is None and found.size <= SMALL):
            begun = time.time_ns()
            data = _read(open_resolved(root, found, follow_symlinks), found, 0, found.size)
            if data is None:
                continue
            resolved = resolved or with_digest(found, digest_of(data), begun)
        if resolved is None:
            # A file that is written all the time, such as a log, changes while it is read.
            largest = 0 if attempt else LARGEST_REQUESTED
            resolved = identified(root, found, follow_symlinks, largest)
        if is_kept and data is not None:
            CONTENTS.put(key, (resolved, data), checked_at, len(data) + OVERHEAD)
        opened = _opened(request, response, asked, resolved, data)
        if opened is not None:
            if is_noted and opened[3] is None and opened[1].status != 304:
                RECENT.put(key, resolved, time.monotonic())
            return opened
    raise ResponseError(f"{path!r} can't be sent, because it keeps changing while it is read")


def _opened(
    request: Request,
    response: Response,
    asked: Mapping[str, str],
    resolved: ResolvedFile,
    data: bytes | None = None,
    may_read: bool = True,
) -> Opened | None:
    """Return the part of a file that this request gets. If ``data`` contains the file's bytes, the
    part is taken from it. Otherwise, the file is opened, and read if it is short.

    Return None if the file has changed since its look-up, or if it has to be opened although
    ``may_read`` is False.
    """
    # Conditional headers such as If-None-Match apply only to a GET or HEAD with the status 200 (RFC
    # 9110, section 13.2.1).
    if (
        response.status == 200
        and request.method in ("GET", "HEAD")
        and not CONDITIONS.isdisjoint(asked)
    ):
        # An ETag that the application has set takes precedence.
        etag = response.headers.get("ETag", resolved.etag) if response.pairs else resolved.etag
        selection = select(asked, request.method, etag, resolved.date, resolved.size)
        if selection.status == 304:
            return resolved, selection, b"", None
    else:
        selection = Selection(response.status, 0, resolved.size)
    if data is not None:
        return resolved, selection, data[selection.start : selection.stop], None
    length = selection.stop - selection.start
    if request.method == "HEAD":
        return resolved, selection, b"", FileRange(None, resolved.path, resolved.size, 0, length)
    if not may_read:
        return None
    options: FileOptions = response.body.options
    descriptor = open_resolved(options.root, resolved, options.follow_symlinks)
    if length > SMALL:
        if not is_still(resolved, descriptor):
            os.close(descriptor)
            return None
        file = FileIO(descriptor)
        request.on_close(file.close)
        part = FileRange(file, resolved.path, resolved.size, selection.start, length)
        part.read_ahead(request._exchange.sends_files)
        return resolved, selection, b"", part
    data = _read(descriptor, resolved, selection.start, length)
    return None if data is None else (resolved, selection, data, None)


def _read(descriptor: int, resolved: ResolvedFile, start: int, length: int) -> bytes | None:
    """Read a part of the open file, close the file and return the bytes. Return None if the file
    has changed since its look-up.

    This function uses system calls directly, because creating a file object takes as long as two
    system calls.
    """
    try:
        if not is_still(resolved, descriptor):
            return None
        if start:
            os.lseek(descriptor, start, os.SEEK_SET)
        data = os.read(descriptor, length)
        while len(data) < length and (more := os.read(descriptor, length - len(data))):
            data += more
    finally:
        os.close(descriptor)
    return data if len(data) == length else None


# -- headers -------------------------------------------------------------------------------------


def _lasting(
    reference: FileReference, own: Fingerprint | None, version: Facts, is_private: bool
) -> tuple[str, str]:
    """Return the Cache-Control header, which limits how long caches may use a file without a
    request.

    ``own``: the fingerprint of the file. A URL with this fingerprint always returns the same bytes,
    so its response is ``immutable`` (RFC 8246). There are two exceptions, which get ``no-cache``:

    - The URL has another fingerprint, because another version of the application made the URL.
      During a release, two versions run side by side.
    - The file has just changed, so ``own`` may belong to the old or to the new bytes.
    """
    if reference.fingerprint is None:
        lifetime = f"max-age={reference.options.max_age}"
    elif reference.fingerprint and own == (reference.fingerprint, version):
        lifetime = f"max-age={_YEAR}, immutable"
    else:
        return _NO_CACHE
    return "cache-control", f"{'private' if is_private else 'public'}, {lifetime}"


# Clients may store the file, but must check each time whether it has changed.
_NO_CACHE = "cache-control", "no-cache"


@lru_cache(maxsize=1024)
def _head(
    resolved: ResolvedFile,
    modified: float | None,
    cache_control: tuple[str, str],
    has_body: bool = False,
    name: str | None = None,
) -> KnownHead:
    """Return the headers for a version of a file.

    - ``modified``: the date for Last-Modified. If it is None, Last-Modified and the ETag are left
      out.
    - ``has_body``: whether to add the headers that describe a body.
    - ``name``: the name under which a browser saves the file.
    """
    headers = []
    if has_body:
        headers.append(NOSNIFF)
        if name is not None:
            headers.append(("content-disposition", attachment(name)))
        if resolved.coding:
            headers.append(("content-encoding", resolved.coding))
    headers.append(cache_control)
    if modified is not None:
        headers.append(("etag", resolved.etag))
        if modified != inf:
            headers.append(("last-modified", http_date(int(modified))))
        headers.append(("accept-ranges", "bytes"))
    if resolved.varies:
        headers.append(("vary", "Accept-Encoding"))
    return KnownHead(headers)


def describe(
    request: Request, response: Response, file: EncodedAnswer, part: FileRange | None
) -> None:
    """Put the response for a file, as returned by ``open_file``, into the handler's response.

    A header that the handler has set overrides the file's header of the same name, except
    Content-Encoding and Content-Range. A 304 has the headers of a 200, except those that describe a
    body (RFC 9110, section 15.4.5).
    """
    reference, pairs = response.body, response.pairs
    response.status, content_type, _, head, data, _ = file
    response.body = data if part is None else part
    if response.status == 304:
        # The type and the length aren't sent, but hooks such as ``Compress`` need them.
        content_type = content_type_of(reference.path)
        if content_type is UNKNOWN:
            content_type = _listed_type(request, reference.path)
        pairs[:] = [pair for pair in pairs if not _OF_A_BODY.match(pair[0])]
        pairs.append(("content-length", str(reference.size)))
    response.content_type = response.content_type or content_type
    for name, value in head:
        if name in _OF_BYTES:
            response.headers[name] = value
        elif name == "vary":
            add_vary(pairs, value)
        elif value.startswith("public"):  # Cache-Control
            request._exchange.answer.share((name, value))
    add_missing(pairs, [pair for pair in head if pair[0] not in _JOINED])


_OF_A_BODY = pattern("content-(?!location$|security-policy)", re.IGNORECASE)
_OF_BYTES = frozenset({"content-encoding", "content-range"})
# The headers that ``describe`` doesn't add at its end: it has already set some of them, and nosniff
# is added to every response with a content type.
_JOINED = _OF_BYTES | {"vary", NOSNIFF[0]}
