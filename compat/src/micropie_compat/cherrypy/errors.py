"""Exceptions that end a handler (redirects and errors), and the pages for errors."""

from __future__ import annotations

import contextlib
import re
import sys
import traceback as tracebacks
from collections.abc import Callable, Iterator
from html import escape, unescape
from pathlib import Path
from sys import exc_info as _exc_info  # noqa: F401 - CherryPy's name
from types import TracebackType
from typing import Any, NoReturn

from micropie import HTTPError as NativeError
from micropie import Redirect
from micropie_compat.addresses import join
from micropie_compat.carrier import may_see_tracebacks
from micropie_compat.cherrypy.lib import pieces_of
from micropie_compat.cherrypy.lib.httputil import valid_status
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.urls import place, url
from micropie_compat.core import RaisedAnswer
from micropie_compat.results import in_bytes, in_utf8, words

__version__ = "18.10.0"


class CherryPyException(Exception):
    """The base class of this package's exceptions."""


class TimeoutError(CherryPyException):  # noqa: A001 - CherryPy's name
    """Never raised, but programs may catch it: CherryPy raised it if a response took too long. Use
    the timeout in ``micropie.middleware`` instead.
    """


class InternalRedirect(CherryPyException):
    """Raised to run the handler for another path of the application. The client doesn't see a
    redirect. The path may be relative to the current page.
    """

    def __init__(self, path: str, query_string: str = "") -> None:
        request = serving.request
        self.query_string = query_string
        if "?" in path:
            path, self.query_string = path.split("?", 1)
        self.path = path = join(request.path_info, path)
        self.request = request
        super().__init__(path, self.query_string)


_MOVED = {
    300: "This resource can be found at ",
    301: "This resource has permanently moved to ",
    302: "This resource resides temporarily at ",
    303: "This resource can be found at ",
    307: "This resource has moved temporarily to ",
    308: "This resource has been moved to ",
}


class _ForeignAnswer(CherryPyException, RaisedAnswer):
    is_foreign = True

    def __call__(self) -> NoReturn:
        raise self


class HTTPRedirect(_ForeignAnswer):
    """Redirect the client to a URL, or to one of several. Relative URLs are resolved against the
    current page.

    ``status``: from 300 to 399, by default 303, or 302 for HTTP/1.0. Raises ``ValueError`` for any
    other status.
    """

    encoding = "utf-8"

    def __init__(
        self, urls: str | list[str], status: int | str | None = None, encoding: str | None = None
    ) -> None:
        page = url()
        given = [urls] if isinstance(urls, str | bytes) else urls
        texts = [
            each.decode(encoding or self.encoding) if isinstance(each, bytes) else str(each)
            for each in given
        ]
        self.urls = [join(page, text) for text in texts]
        code = self.default_status if status is None else int(status)
        if not 300 <= code <= 399:
            raise ValueError("status must be between 300 and 399.")
        self.status = code
        super().__init__(self.urls, code)

    @property
    def default_status(self) -> int:
        """The status if none is given. A program may set another one as an attribute of the
        class.
        """
        return 303 if serving.request.protocol >= (1, 1) else 302

    def set_response(self) -> None:
        """Make the current response a redirect. Headers and cookies that were set on it before
        remain.
        """
        response = serving.response
        response.status = status = self.status
        response.body = None
        response.headers.pop("Content-Length", None)
        if status in _MOVED or status == 305:
            response.headers["Location"] = self.urls[0]
        if status in _MOVED:
            response.headers["Content-Type"] = "text/html;charset=utf-8"
            response.body = "<br />\n".join(
                f'{_MOVED[status]}<a href="{each}">{each}</a>.' for each in map(escape, self.urls)
            ).encode()
        elif status == 304:
            # The client has the content already, so headers that describe it must not be sent.
            for name in words(
                "Allow Content-Encoding Content-Language Content-Location "
                "Content-MD5 Content-Range Content-Type Expires Location"
            ):
                response.headers.pop(name, None)
        elif status != 305:
            raise ValueError(f"The {status} status code is unknown.")

    def as_native(self, in_socket: bool = False) -> Redirect:
        """Return micropie's redirect to the same URL, for a native handler."""
        redirect = Redirect(self.urls[0], allow_external=True, allow_http=True)
        redirect.status = self.status
        return redirect


_OF_CONTENT = frozenset(
    words(
        "Accept-Ranges Age Etag Location Retry-After Vary Content-Encoding "
        "Content-Length Expires Content-Location Content-Md5 Last-Modified"
    )
)


def clean_headers(status: int) -> None:
    """Remove headers of the current response that describe its content, because an error page
    replaces the content.
    """
    headers = serving.response.headers
    for name in _OF_CONTENT & headers.keys():
        del headers[name]
    if status != 416:
        headers.pop("Content-Range", None)


class HTTPError(_ForeignAnswer):
    """Send an error page: ``HTTPError(404)``, ``HTTPError(409, "the message")``, ``HTTPError("409
    Reason")``.

    Raises ``ValueError`` for a status from 100 to 399, and ``HTTPError`` 500 for a status that
    isn't a number from 100 to 599.
    """

    def __init__(self, status: int | str = 500, message: str | None = None) -> None:
        self.status = status
        try:
            self.code, self.reason, explanation = valid_status(status)
        except ValueError as error:
            raise self.__class__(500, str(error)) from error
        if not 400 <= self.code <= 599:
            raise ValueError("status must be between 400 and 599.")
        self._message = message or explanation
        super().__init__(status, message)

    def set_response(self) -> None:
        """Turn the current response into the page for this error."""
        response = serving.response
        clean_headers(self.code)
        response.status = self.status
        is_shown, traceback = may_see_tracebacks(), None
        if serving.request.show_tracebacks and (is_shown or callable(_page_for(self.code))):
            traceback = format_exc()
        if traceback and is_shown:
            # This page is for one client only, so neither ``tools.caching`` nor another cache may
            # store it.
            response.headers["Cache-Control"] = "no-store"
        response.body = self.get_error_page(self.status, traceback=traceback, message=self._message)

    def as_native(self, in_socket: bool = False) -> NativeError:
        """Return micropie's error with the same status and message, for a native handler."""
        return NativeError(self.code, self._message)

    def get_error_page(self, status: int | str, **kwargs: object) -> bytes | Iterator[bytes]:
        """Return the body of the error's page, see the function ``get_error_page``."""
        return get_error_page(status, **kwargs)

    @classmethod
    @contextlib.contextmanager
    def handle(
        cls,
        exception: type[Exception] | tuple[type[Exception], ...],
        status: int | str = 500,
        message: str = "",
    ) -> Iterator[None]:
        """Return a context manager that turns an exception raised in its block into this error. The
        message is the exception's text unless ``message`` is given.
        """
        try:
            yield
        except exception as error:
            raise cls(status, message or str(error)) from error


class NotFound(HTTPError):
    """The 404 error. ``path``: the path that was not found, by default the request's."""

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            here = place()
            path = "/" if here is None else here.script_name + here.path_info
        self.args = (path,)
        super().__init__(404, f"The path '{path}' was not found.")


# The name is CherryPy's, because applications read and set this template.
_HTTPErrorTemplate = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>%(status)s</title>
</head>
<body>
<h2>%(status)s</h2>
<p>%(message)s</p>
<pre id="traceback">%(traceback)s</pre>
</body>
</html>
"""


def get_error_page(status: int | str, **kwargs: object) -> bytes | Iterator[bytes]:
    """Return the body of the page for an error, and set the current response's Content-Type.

    ``error_page.NNN`` or ``error_page.default`` in the configuration can replace the built-in page:
    by a function, or by a file in which ``%(status)s``, ``%(message)s``, ``%(traceback)s`` and
    ``%(version)s`` are replaced with the escaped values. A function always gets the traceback, but
    the traceback is removed from the page for clients on other machines.
    """
    try:
        code, reason, explanation = valid_status(status)
    except ValueError as error:
        raise HTTPError(500, str(error)) from error
    values = {
        "status": f"{code} {reason}",
        "message": explanation,
        "traceback": "",
        "version": __version__,
    }
    values.update({name: str(value) for name, value in kwargs.items() if value is not None})
    values = {name: escape(value, quote=False) for name, value in values.items()}
    page = _page_for(code)
    is_secret = bool(values["traceback"]) and not may_see_tracebacks()
    headers = serving.response.headers
    template = _HTTPErrorTemplate
    if page:
        try:
            if callable(page):
                return _without_traceback(page, values) if is_secret else _made(page, values)
            template = Path(page).read_bytes().decode()  # ``read_text`` would change line ends
        except Exception as error:
            shown = escape(f"{type(error).__name__}: {error}")
            values["message"] += (
                f"<br />In addition, the custom error page failed:\n<br />{shown}\n"
            )
    headers["Content-Type"] = "text/html;charset=utf-8"
    if is_secret:
        values["traceback"] = ""
    return (template % values).encode()


def _page_for(code: int) -> Any:
    pages = serving.request.error_page
    return pages.get(code) or pages.get("default")


def _made(page: Callable[..., Any], values: dict[str, str]) -> Any:
    made = page(**values)
    if isinstance(made, str | bytes):
        return in_bytes(made)
    return in_utf8(pieces_of(made) if hasattr(made, "read") else made)


def _without_traceback(page: Callable[..., Any], values: dict[str, str]) -> bytes:
    """Call the error page function ``page`` with the traceback, which it may log or mail. Return
    the page with the traceback removed.

    If the page still contains the traceback in a changed or shortened form, call the function again
    without it.
    """
    traceback = values["traceback"].rstrip()
    made = _whole(page, values).replace(traceback.encode(), b"")
    signs = [*_FILE.findall(traceback), traceback.rpartition("\n")[2]]
    text = _bare(made.decode(errors="replace"))
    if any(_bare(sign) in text for sign in signs):
        made = _whole(page, {**values, "traceback": ""})
    return made


_FILE = re.compile('File "(.+)", line ')


def _whole(page: Callable[..., Any], values: dict[str, str]) -> bytes:
    made = _made(page, values)
    return made if isinstance(made, bytes) else b"".join(made)


def _bare(text: str) -> str:
    """Return text with JSON escapes and HTML escapes removed. HTML may have been escaped twice."""
    return unescape(unescape(text)).replace("\\", "")


def format_exc(
    exc: tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | None = None,
) -> str:
    """Return the current exception with its traceback as a string, or "" if there is none."""
    kind, error, trace = exc or sys.exc_info()
    return "" if error is None else "".join(tracebacks.format_exception(kind, error, trace))


def shown_traceback() -> str | None:
    """Return the current exception's traceback if ``request.show_tracebacks`` is on and the client
    is on this machine, otherwise None.

    The original CherryPy shows it to every client if ``request.show_tracebacks`` is on.
    """
    return format_exc() if serving.request.show_tracebacks and may_see_tracebacks() else None


def bare_error(
    extrabody: str | bytes | None = None,
) -> tuple[bytes, list[tuple[bytes, bytes]], list[bytes]]:
    """Return (status, headers, body) of a 500 response that doesn't depend on the request."""
    body = b"Unrecoverable error in the server."
    if extrabody:
        body += b"\n" + in_bytes(extrabody)
    head = [(b"Content-Type", b"text/plain"), (b"Content-Length", str(len(body)).encode())]
    return b"500 Internal Server Error", head, [body]
