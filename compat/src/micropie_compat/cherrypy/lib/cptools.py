"""The functions that implement the smaller tools."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterable, Iterator
from datetime import timedelta
from html import escape
from typing import Any, get_type_hints

from micropie import BadRequest
from micropie_compat.addresses import first_value, leads_away
from micropie_compat.cherrypy.errors import HTTPError, HTTPRedirect, InternalRedirect
from micropie_compat.cherrypy.lib import is_iterator, listed
from micropie_compat.cherrypy.lib.httputil import HeaderMap, HTTPDate, valid_status
from micropie_compat.cherrypy.log import log
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Strings
from micropie_compat.cherrypy.urls import url as make_url
from micropie_compat.core import checked_base
from micropie_compat.results import Chunks

_SUCCESS = range(200, 300)
_LONG_AGO = 1169942400  # 28 January 2007, which CherryPy sends as Expires to prevent caching


# -- conditions ------------------------------------------------------------------------------------


def validate_etags(autotags: bool = False, debug: bool = False) -> None:
    """The tool ``etags``: compare the response's ETag with the request's If-Match and
    If-None-Match. Raises ``HTTPRedirect`` 304 or ``HTTPError`` 412.

    ``autotags``: whether to compute an ETag from the body if a response with status 200 has none.
    """
    response = serving.response
    if getattr(response, "ETag", None) is not None:  # the ETag was validated already
        return
    request, (status, _, _) = serving.request, valid_status(response.status)
    etag = response.headers.get("ETag")
    if not etag and autotags and status == 200:
        etag = f'"{hashlib.md5(response.collapse_body(), usedforsecurity=False).hexdigest()}"'
        response.headers["ETag"] = etag
    response.ETag = etag
    if status not in _SUCCESS:
        return
    wanted = [str(element) for element in request.headers.elements("If-Match")]
    if wanted and wanted != ["*"] and etag not in wanted:
        raise HTTPError(412, f"If-Match failed: ETag {etag!r} did not match {wanted!r}")
    known = [str(element) for element in request.headers.elements("If-None-Match")]
    # A proxy that compresses the response makes the ETag weak: the ETag then begins with "W/".
    if known == ["*"] or etag in known or (etag and f"W/{etag}" in known):
        if request.method in ("GET", "HEAD"):
            raise HTTPRedirect([], 304)
        raise HTTPError(412, f"If-None-Match failed: ETag {etag!r} matched {known!r}")


def validate_since() -> None:
    """Compare the response's Last-Modified with the request's If-Modified-Since and
    If-Unmodified-Since.

    Raises ``HTTPRedirect`` 304 or ``HTTPError`` 412.
    """
    request, response = serving.request, serving.response
    modified = response.headers.get("Last-Modified")
    if not modified:
        return
    status, _, _ = valid_status(response.status)
    expected = request.headers.get("If-Unmodified-Since")
    if expected and expected != modified and (status in _SUCCESS or status == 412):
        raise HTTPError(412)
    if request.headers.get("If-Modified-Since") == modified and (
        status in _SUCCESS or status == 304
    ):
        if request.method in ("GET", "HEAD"):
            raise HTTPRedirect([], 304)
        raise HTTPError(412)


def expires(secs: float | timedelta = 0, force: bool = False, debug: bool = False) -> None:
    """The tool ``expires``: set headers that allow caches to store the response for ``secs``
    seconds, or that forbid storing it if ``secs`` is 0.

    ``force``: whether to set the headers on every response, replacing headers that it already has.
        By default they are set only if the response has ETag, Last-Modified, Age or Expires.
    """
    response = serving.response
    headers = response.headers
    if not force and not any(
        name in headers for name in ("ETag", "Last-Modified", "Age", "Expires")
    ):
        return
    set_header = headers.__setitem__ if force else headers.setdefault
    seconds = secs.total_seconds() if isinstance(secs, timedelta) else secs
    if seconds == 0:
        set_header("Pragma", "no-cache")
        if serving.request.protocol >= (1, 1):
            set_header("Cache-Control", "no-cache, must-revalidate")
    set_header("Expires", HTTPDate(response.time + seconds if seconds else _LONG_AGO))


# -- conditions for a request --------------------------------------------------------------------


def allow(methods: Strings | None = None, debug: bool = False) -> None:
    """The tool ``allow``: send a 405 unless the request's method is one of ``methods``, by
    default GET and HEAD.
    """
    allowed = [each.upper() for each in listed(methods)] or ["GET", "HEAD"]
    if "GET" in allowed and "HEAD" not in allowed:
        allowed.append("HEAD")
    serving.response.headers["Allow"] = ", ".join(allowed)
    if serving.request.method not in allowed:
        raise HTTPError(405)


def accept(media: Strings | None = None, debug: bool = False) -> str | None:
    """The tool ``accept``: return the media type among ``media`` that the client prefers.

    Raises 406 if the client accepts none of them.
    """
    offered = listed(media)
    if not offered:
        return None
    request = serving.request
    ranges = request.headers.elements("Accept")
    if not ranges:
        return offered[0]
    for element in ranges:
        if element.qvalue <= 0:
            continue
        for kind in offered:
            wanted = element.value
            if wanted in ("*/*", kind) or (wanted.endswith("/*") and kind.startswith(wanted[:-1])):
                return kind
    raise HTTPError(
        406,
        f"Your client sent this Accept header: {request.headers['Accept']}. But this resource only "
        "emits these media types: "
        f"{', '.join(offered)}.",
    )


def referer(
    pattern: str,
    accept: bool = True,
    accept_missing: bool = False,
    error: int = 403,
    message: str = "Forbidden Referer header.",
    debug: bool = False,
) -> None:
    """The tool ``referer``: reject requests whose Referer doesn't match ``pattern``. With
    ``accept=False``, reject those whose Referer matches. The client gets the status ``error``.
    """
    stated = serving.request.headers.get("Referer")
    allowed = accept_missing if stated is None else bool(re.match(pattern, stated)) is bool(accept)
    if not allowed:
        raise HTTPError(error, message)


def convert_params(
    exception: type[Exception] | tuple[type[Exception], ...] = ValueError, error: int = 400
) -> None:
    """The tool ``params``: convert the request's parameters according to the handler's annotations,
    such as ``count: int``.

    If a conversion raises ``exception``, the client gets the status ``error``.
    """
    request = serving.request
    function = getattr(request.handler, "callable", None)
    if function is None:
        return
    types = get_type_hints(function)
    with HTTPError.handle(exception, error):
        for name in types.keys() & request.params.keys():
            request.params[name] = types[name](request.params[name])


# -- the request and the response ------------------------------------------------------------------


def proxy(
    base: str | None = None,
    local: str = "X-Forwarded-Host",
    remote: str = "X-Forwarded-For",
    scheme: str = "X-Forwarded-Proto",
    debug: bool = False,
) -> None:
    """The tool ``proxy``: take scheme, host and the client's address from headers that a proxy
    sets. A client that connects to the server without the proxy can forge these headers.

    ``base``: scheme and host if the proxy doesn't send them.
    ``local``, ``remote``, ``scheme``: the names of the headers; "" ignores a header.

    If a header has several schemes or hosts, the first one is used. If X-Forwarded-For has several
    addresses, the last one is used, because the proxy itself added it.

    Raises ``HTTPError`` 400 for a malformed host and for schemes other than http and https, because
    programs put scheme and host in links.
    """
    request = serving.request
    stated = first_value(request.headers.get(scheme)) if scheme else ""
    if stated == "on" and "ssl" in scheme.lower():
        stated = "https"
    host = first_value(request.headers.get(local)) if local else ""
    if not host and not base:
        host = first_value(request.headers.get("Host"))
    if "://" in host:
        stated, _, host = host.partition("://")
    with HTTPError.handle(BadRequest, 400):
        stated, host = checked_base(stated, host)
    base = host or base or request.base
    stated = stated or request.base.partition("://")[0]
    request.base = base if "://" in base else f"{stated}://{base}"
    if remote and request.headers.get(remote):
        request.remote.ip = request.headers[remote].rpartition(",")[2].strip()
        request.remote.name = ""  # the server has set it to the name of the proxy


def ignore_headers(headers: str | Iterable[str] = ("Range",), debug: bool = False) -> None:
    """The tool ``ignore_headers``: remove headers from the request."""
    for name in listed(headers):
        serving.request.headers.pop(name, None)


def response_headers(headers: Iterable[tuple[str, str]] | None = None, debug: bool = False) -> None:
    """The tool ``response_headers``: set headers of the response."""
    for name, value in headers or ():
        serving.response.headers[name] = value


response_headers.failsafe = True  # type: ignore[attr-defined]


def flatten(debug: bool = False) -> None:
    """The tool ``flatten``: if the body yields generators, yield their chunks instead."""

    def flattened(body: Iterable[object]) -> Iterator[object]:
        for piece in body:
            if is_iterator(piece):
                yield from flattened(piece)
            else:
                yield piece

    response = serving.response
    response.body = Chunks.of(response.body, flattened(response.body))


class _WatchedHeaders(HeaderMap):
    """A dict of headers that records in ``seen`` which headers were read."""

    __slots__ = ("seen",)

    def __init__(self, headers: HeaderMap) -> None:
        self.seen: set[str] = set()
        super().__init__(headers)

    def transform_key(self, key: object) -> str:  # type: ignore[override]
        """Return the form in which the dict stores a key, and record the key as read."""
        name = HeaderMap.transform_key(key)
        self.seen.add(name)
        return name

    def __iter__(self) -> Iterator[str]:
        self.seen.update(super().__iter__())
        return super().__iter__()

    def copy(self) -> Any:
        """Return a copy. The copy doesn't record which headers are read, so record all headers as
        read now.
        """
        self.seen.add(ALL)
        return HeaderMap(self)

    def items(self) -> Any:
        """Return the names with their values, and record all headers as read."""
        self.seen.add(ALL)
        return super().items()

    def values(self, key: str | None = None) -> Any:
        """Return the values of one header, or of all, and record these headers as read."""
        if key is None:
            self.seen.add(ALL)
        return super().values(key)


ALL = "*"


def watched_headers() -> _WatchedHeaders:
    """Replace the request's headers with a ``_WatchedHeaders`` object that has the same values, and
    return this object.
    """
    request = serving.request
    if not isinstance(request.headers, _WatchedHeaders):
        request.headers = _WatchedHeaders(request.headers)
        request.headers.seen.clear()
    headers: _WatchedHeaders = request.headers
    return headers


def autovary(ignore: Iterable[str] | None = None, debug: bool = False) -> None:
    """The tool ``autovary``: extend the response's Vary by the request headers that were read."""
    request = serving.request
    ignored = {"Content-Disposition", "Content-Length", "Content-Type", ALL, *(ignore or ())}
    watched = watched_headers()

    def set_vary() -> None:
        headers = serving.response.headers
        names = {element.value for element in headers.elements("Vary")} | (watched.seen - ignored)
        if names:
            headers["Vary"] = ", ".join(sorted(names))

    request.hooks.attach("before_finalize", set_vary, priority=95)


# -- redirects -------------------------------------------------------------------------------------


def redirect(url: str = "", internal: bool = True, debug: bool = False) -> None:
    """The tool ``redirect``: run the handler for ``url`` if ``internal`` is true, otherwise
    redirect the client to ``url``.
    """
    if internal:
        raise InternalRedirect(url)
    raise HTTPRedirect(url)


def trailing_slash(
    missing: bool = True, extra: bool = False, status: int | None = None, debug: bool = False
) -> None:
    """The tool ``trailing_slash``: redirect to a URL with the correct ending.

    ``missing``: whether to add a missing slash to the URL of an index page.
    ``extra``: whether to remove an extra slash from the URL of any other page.
    ``status``: the redirect's status, by default 301.
    """
    request = serving.request
    path = request.path_info
    if request.is_index is True and missing and not path.endswith("/"):
        path += "/"
    elif request.is_index is False and extra and path.endswith("/") and path != "/":
        path = path[:-1]
    else:
        return
    raise HTTPRedirect(make_url(path, request.query_string), status or 301)


# -- logs ------------------------------------------------------------------------------------------


def log_traceback(severity: int = logging.ERROR, debug: bool = False) -> None:
    """The tool ``log_tracebacks``: log the exception that is being handled."""
    log("", "HTTP", severity, True)


def log_request_headers(debug: bool = False) -> None:
    """The tool ``log_headers``: log the request's headers, with "..." in place of credentials."""
    lines = [
        (
            f"  {name}: "
            f"{'...' if name in ('Authorization', 'Cookie', 'Proxy-Authorization') else value!r}"
        )
        for name, value in serving.request.headers.items()
    ]
    log("\n".join(["\nRequest Headers:", *lines]), "HTTP")


def log_hooks(debug: bool = False) -> None:
    """The tool ``log_hooks``: log the request's hooks."""
    lines = [f"\nRequest Hooks for {make_url()}:"]
    for point, hooks in serving.request.hooks.items():
        lines += [f"    {point}:", *(f"        {hook!r}" for hook in sorted(hooks))]
    log("\n".join(lines), "HTTP")


# -- log-in by a form ------------------------------------------------------------------------------


class SessionAuth:
    """The tool ``session_auth``: shows a log-in form until the visitor has logged in, and stores
    the user's name in the session.

    Override ``check_username_and_password(username, password)`` in a subclass, or pass it as an
    option.
    """

    session_key = "username"
    debug = False

    def check_username_and_password(self, username: str, password: str) -> str | None:
        """Return a message if the name or the password is wrong, None if they are right."""
        return "No password check is set"

    def anonymous(self) -> str | None:
        """Return a user name for visitors who haven't logged in, or None to show them the form."""
        return None

    def on_login(self, username: str) -> None:
        """Called after a log-in. Does nothing unless overridden."""

    def on_logout(self, username: str) -> None:
        """Called after a log-out. Does nothing unless overridden."""

    def on_check(self, username: str) -> None:
        """Called before each page for a user who has logged in. Does nothing unless overridden."""

    def login_screen(
        self,
        from_page: str | None = "..",
        username: str = "",
        error_msg: str = "",
        **kwargs: object,
    ) -> bytes:
        """Return the page with the log-in form."""
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Log '
            "in</title></head><body>\n"
            f'<p>{escape(error_msg)}</p>\n<form method="post" action="do_login">\n'
            f'<p><label>Name <input name="username" value="{escape(username)}"></label></p>\n'
            f'<p><label>Password <input type="password" name="password"></label></p>\n'
            f'<input type="hidden" name="from_page" value="{escape(from_page or "")}">\n'
            f"<p><button>Log in</button></p>\n</form>\n</body></html>\n"
        ).encode()

    def do_login(
        self, username: str, password: str, from_page: str = "..", **kwargs: object
    ) -> bool:
        """Check a name and a password, and redirect to ``from_page`` if they are right."""
        message = self.check_username_and_password(username, password)
        if message:
            return self._show_screen(from_page=from_page, username=username, error_msg=message)
        serving.session.regenerate()
        serving.session[self.session_key] = serving.request.login = username
        self.on_login(username)
        raise HTTPRedirect(_on_this_site(from_page))

    def do_logout(self, from_page: str = "..", **kwargs: object) -> bool:
        """Remove the user's name from the session, and redirect to ``from_page``."""
        username = serving.session.get(self.session_key)
        serving.session[self.session_key] = None
        if username:
            serving.request.login = None
            self.on_logout(username)
        raise HTTPRedirect(_on_this_site(from_page))

    def do_check(self) -> bool:
        """Show the form to a visitor who hasn't logged in. Return whether the response has been
        set.
        """
        request = serving.request
        username = serving.session.get(self.session_key)
        if not username:
            serving.session[self.session_key] = username = self.anonymous()
        if not username:
            return self._show_screen(from_page=make_url(qs=request.query_string))
        request.login = username
        self.on_check(username)
        return False

    def _show_screen(self, **params: Any) -> bool:
        serving.response.body = self.login_screen(**params)
        serving.response.headers.pop("Content-Length", None)
        return True

    def run(self) -> bool:
        """Log the user in, log the user out or require a log-in, depending on the request's path.
        Return whether the response has been set.
        """
        request = serving.request
        if request.path_info.endswith("login_screen"):
            return self._show_screen(**request.params)
        for end, answer in (("do_login", self.do_login), ("do_logout", self.do_logout)):
            if request.path_info.endswith(end):
                if request.method != "POST":
                    serving.response.headers["Allow"] = "POST"
                    raise HTTPError(405)
                return answer(**request.params)
        return self.do_check()


def _on_this_site(page: str) -> str:
    """Return ``page`` if it is a URL of this site, else "..", so that a log-in can't redirect to
    other sites.
    """
    return ".." if leads_away(page, serving.request.base) else page


def session_auth(**kwargs: object) -> bool:
    """Show the log-in form unless the session has a user's name. The options are the attributes of
    ``SessionAuth``.
    """
    checker = SessionAuth()
    for name, value in kwargs.items():
        setattr(checker, name, value)
    return checker.run()
