"""Files as answers: what ``static_file`` returns, and the flow's one place that opens it.

A handler returns a ``FileBody``, which is a name and nothing more: nothing is looked at, nothing can leak. The flow
turns it into an answer by one IO step, which does it all: find, compare with what the client has, open, read. What is
small comes back as bytes; what is not, as a ``FilePart``, which the request closes when it is over, whatever happens.
Hooks and ``@app.error`` see a missing file like any other 404.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from micropie.errors import HTTPError, ResponseError, SetupError, is_count
from micropie.execution.context import current_request
from micropie.execution.steps import IO, Flow
from micropie.files.cache import CACHE, LARGEST, Key
from micropie.files.content_types import attachment, content_type_of
from micropie.files.lookup import ResolvedFile, codings_for, find, is_still, open_found, resolved_root
from micropie.http.conditional import Selection, http_date, select
from micropie.http.paths import DOTS_AND_EMPTY
from micropie.http.response import FileReference, Response, add_vary
from micropie.http.streams import PART_CHUNK, FileRange
from micropie.http.types import HeadersLike
from micropie.routing.decorators import inline

if TYPE_CHECKING:
    from micropie.http.request import Request

SMALL = PART_CHUNK  # bytes; what one read gives is sent as it is, at the cost of one hop to a thread
LOOKS = 5  # how often a file is looked at anew that has changed until it was open


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
    """The file ``path`` below the directory ``root`` as an answer: ``return static_file(name, root="reports")``.

    ``path`` may come from a client: what leads out of ``root``, is hidden (begins with a dot) or is no regular file
    that can be read is answered by 404. ``root`` may not; it is resolved once in the life of a process.

    ``download``: True has browsers save it under its own name, text under that name. ``content_type``: default by the
    name's ending. ``max_age``: seconds for which it may be used without asking again; default ``no-cache``, which is
    to ask each time, and costs a 304. ``cached``: keep it in memory if it is small, and look at the disk once a second
    at most. ``follow_symlinks``: also where links lead out of ``root``. ``headers``: sent along, they count for more
    than those of the file. Raises ``ValueError`` for a ``max_age`` that is no whole number of seconds.
    """
    if max_age is not None and not is_count(max_age, least=0):
        raise ValueError(f"max_age is a whole number of seconds, not {max_age!r}")
    name = os.fspath(path)
    response = Response(
        FileReference(os.fspath(root), name, max_age, cached, follow_symlinks), 200, headers, content_type
    )
    if download:
        saved_as = download if isinstance(download, str) else name.rpartition("/")[2]
        response.headers.setdefault("Content-Disposition", attachment(saved_as))
    return response


def directory_route(prefix: str, directory: str | os.PathLike[str], **options: Any) -> tuple[str, Callable[..., Any]]:
    """The path and the handler that serve a directory below ``prefix``, for ``App.static``. Raises ``SetupError``."""
    if not _is_prefix(prefix):
        raise SetupError(f'files are served below a path such as "/static", not {prefix!r}')
    if not Path(directory).is_dir():
        raise SetupError(f"there is no directory {os.fspath(directory)!r} to serve files from")
    root = resolved_root(str(Path(directory).absolute()))
    try:
        static_file("", root, **options)
    except ValueError as error:
        raise SetupError(str(error)) from None

    @inline
    def serve(path: str) -> Response:
        if current_request().path.endswith("/"):  # which is as good as none elsewhere, but names a directory here
            raise HTTPError(404)
        return static_file(path, root, **options)

    # Not <path:path>: an escaped slash, NUL to a pattern, is part of no file's name, and "/private%2Ffile" must not
    # get past a proxy that guards "/private/".
    return f"{prefix.rstrip('/')}/<path:re:[^\\0]+>", serve


def _is_prefix(prefix: object) -> bool:
    # "/" itself would take every path from the handlers: explicit routes come before names.
    if not isinstance(prefix, str) or not prefix.startswith("/") or "<" in prefix:
        return False
    return DOTS_AND_EMPTY.isdisjoint(prefix[1:].removesuffix("/").split("/"))


def open_file(request: Request, response: Response) -> Flow[Response]:
    """The answer that a response with a ``FileBody`` stands for. Raises ``HTTPError`` 404, 412 and 416."""
    wanted: FileReference = response.body
    endings = codings_for(request.headers.get("accept-encoding", ""))
    if wanted.cached:
        kept = CACHE.fresh(_key(wanted, endings))
        if kept is not None:
            return _from_memory(request, response, kept.found, kept.data)
    opened: Response = yield IO, _look_and_open, (request, response, endings)
    return opened


def _key(wanted: FileReference, endings: tuple[str, ...]) -> Key:
    return wanted.root, wanted.path, endings, wanted.follow_symlinks


def _look_and_open(request: Request, response: Response, endings: tuple[str, ...]) -> Response:
    """All that blocks, in one call."""
    wanted: FileReference = response.body
    for _ in range(LOOKS):
        looked_at = time.monotonic()
        found = find(wanted.root, wanted.path, endings, wanted.follow_symlinks)
        if not wanted.cached or found.size > LARGEST:
            answer = _from_disk(request, response, found, wanted)
        else:
            answer = _through_memory(request, response, found, wanted, endings, looked_at)
        if answer is not None:
            return answer
    raise ResponseError(f"{wanted.path!r} is changed all the time: it can't be sent")


def _from_disk(request: Request, response: Response, found: ResolvedFile, wanted: FileReference) -> Response | None:
    """The answer, read from the file; None if somebody has changed it meanwhile."""
    selection = _selection(request, response, found)
    if selection.status == 304:
        return _not_modified(request, response, found)
    length = selection.stop - selection.start
    if request.method == "HEAD":
        return _described(request, response, found, selection, FileRange(None, found.path, found.size, 0, length))
    file = open_found(found, wanted.follow_symlinks)
    request.on_close(file.close)
    if not is_still(found, file):
        return None
    part = FileRange(file, found.path, found.size, selection.start, length)
    part.read_ahead()
    if length > SMALL:
        return _described(request, response, found, selection, part)
    data = b"".join(part)
    file.close()
    return _described(request, response, found, selection, data)


def _through_memory(
    request: Request,
    response: Response,
    found: ResolvedFile,
    wanted: FileReference,
    endings: tuple[str, ...],
    looked_at: float,
) -> Response | None:
    """The answer, from what is kept if that is still true; None if somebody has changed the file meanwhile."""
    key = _key(wanted, endings)
    data = CACHE.unchanged(key, found)
    if data is None:
        with open_found(found, wanted.follow_symlinks) as file:
            if not is_still(found, file):
                return None
            data = file.readall()
        if len(data) != found.size:
            return None
    CACHE.keep(key, found, data, looked_at)
    return _from_memory(request, response, found, data)


def _from_memory(request: Request, response: Response, found: ResolvedFile, data: bytes) -> Response:
    selection = _selection(request, response, found)
    if selection.status == 304:
        return _not_modified(request, response, found)
    return _described(request, response, found, selection, data[selection.start : selection.stop])


# -- the head ----------------------------------------------------------------------------------------------------------


def _selection(request: Request, response: Response, found: ResolvedFile) -> Selection:
    """What is sent. Conditions and ranges are for a GET that would be answered by 200 (RFC 9110, section 13.2.1)."""
    if response.status != 200 or request.method not in ("GET", "HEAD"):
        return Selection(response.status, 0, found.size)
    etag = response.headers.get("ETag") or found.etag  # an author may know a better one
    return select(request.headers, request.method, etag, found.modified, found.size)


def _described(
    request: Request, response: Response, found: ResolvedFile, selection: Selection, body: bytes | FileRange
) -> Response:
    """The head, around a body. What the author has set counts for more, but for what describes the bytes."""
    wanted: FileReference = response.body
    headers = response.headers
    _validate(request, response, found)
    if found.coding:
        headers["Content-Encoding"] = found.coding
    if selection.status == 206:
        headers["Content-Range"] = f"bytes {selection.start}-{selection.stop - 1}/{found.size}"
    response.content_type = response.content_type or content_type_of(wanted.path)
    response.status = selection.status
    response.body = body
    return response


def _validate(request: Request, response: Response, found: ResolvedFile) -> None:
    """What lets a client and caches keep the file, and ask whether it has changed."""
    if found.varies:
        add_vary(response.headers, "Accept-Encoding")
    defaults = [
        ("Cache-Control", _cache_control(request, response.body.max_age)),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if response.status == 200:  # not for the page of an error
        defaults += ("ETag", found.etag), ("Last-Modified", http_date(found.modified)), ("Accept-Ranges", "bytes")
    # Not by ``setdefault``, which looks through all of them each time: that was a tenth of the whole answer.
    pairs = response.headers.pairs
    stated = {name.lower() for name, _ in pairs}
    pairs += [pair for pair in defaults if pair[0].lower() not in stated]


def _cache_control(request: Request, max_age: int | None) -> str:
    """``no-cache`` lets everybody keep it and makes them ask whether it has changed, so a new version is seen at once.

    Without any Cache-Control browsers take a tenth of a file's age for its life (RFC 9111, section 4.2.2).
    """
    if max_age is None:
        return "no-cache"
    session = request._loaded_session
    is_personal = "authorization" in request.headers or (session is not None and session.accessed)
    return f"{'private' if is_personal else 'public'}, max-age={max_age}"


def _not_modified(request: Request, response: Response, found: ResolvedFile) -> Response:
    """304: what a 200 would say, less what describes a body (RFC 9110, section 15.4.5)."""
    _validate(request, response, found)
    kept = [pair for pair in response.headers.pairs if not pair[0].lower().startswith("content-")]
    response.headers.pairs, response.body, response.status = kept, None, 304
    return response
