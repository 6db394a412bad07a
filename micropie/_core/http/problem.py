"""The default responses to errors: a sentence as plain text, an HTML page for browsers, or a
problem document for API clients (RFC 9457).
"""

from __future__ import annotations

from functools import lru_cache

from micropie._core.errors import (
    PHRASES,
    SENTENCES,
    HeadersLike,
    HTTPError,
    MethodNotAllowed,
    pairs_of,
    translate,
)
from micropie._core.http.binding_errors import BindingError
from micropie._core.http.escaping import escape
from micropie._core.http.headers import KnownHead, NameTable, cached_if_short, choose_type
from micropie._core.http.request import Request
from micropie._core.http.response import HTML, TEXT, Answer, Response, encode

PROBLEM = "application/problem+json"

_VARY = "vary", "Accept"

# The attributes of each ``ParameterError`` that a problem document contains. The document's
# schema is in ``openapi/schemas.py``.
_OF_ERROR = ("parameter", "source", "expected", "path", "field")

# Cached, because most sentences are sent again and again. Not for text that is HTML already, which
# equals other text of the same characters.
_ESCAPED: NameTable[str, str] = NameTable(escape, 256)


def error_answer(request: Request, error: HTTPError, kind: str = "") -> Response:
    """Return the default response to an error for which the application has no error handler, in a
    format that the client accepts.

    With ``App(errors="json")``, the format is always a problem document; with ``"text"``, it is
    always a sentence. Otherwise a client that accepts or sent JSON gets the document, a browser
    gets a page, and any other client gets the sentence. ``kind`` overrides the setting.
    ``encoded_error`` is a short cut for many errors.
    """
    message, headers = error.message, error.headers
    if not isinstance(message, str) or (
        headers and any(name.lower() == "content-type" for name, _ in pairs_of(headers))
    ):
        # the application's own error document: a dict or list, or text of another type
        return Response(message, error.status, headers)
    settings = request._exchange.config.settings
    kind = kind or settings.errors
    if kind == "auto":
        kind = _wanted_format(request)
        headers = [*headers, _VARY]  # the format depends on Accept
    title = PHRASES.get(error.status, "Error")
    if settings.translations is not None:
        is_default = message == f"{error.status} {title}"
        title = translated(request, title)
        message = f"{error.status} {title}" if is_default else translated(request, message)
    return _described(error, title, message, headers, kind)


def encoded_error(request: Request, error: HTTPError) -> Answer:
    """Return ``error_answer``, encoded, for an error that ``is_usual`` and isn't translated. This
    short cut caches the responses.
    """
    exchange, headers = request._exchange, error.headers
    if headers and error.__class__ is not MethodNotAllowed:  # set after the error's creation
        headers = [(name, value) for name, value in pairs_of(headers)]
    kind: str = exchange.config.settings.errors
    varies = kind == "auto"
    if varies:
        kind = _wanted_format(request)
    return _encoded(error.status, error.message, (*headers,), kind, varies)


@lru_cache(maxsize=128, typed=True)  # text that is HTML already equals other text
def _encoded(
    status: int,
    message: str,
    headers: tuple[tuple[str, str], ...],
    kind: str,
    varies: bool,
) -> Answer:
    error, title = HTTPError(status, message), PHRASES.get(status, "Error")
    if varies:
        headers += (_VARY,)
    response = _described(error, title, message, headers, kind)
    sent, content_type, length, pairs, body, stream = encode(response, None, False)
    return sent, content_type, length, KnownHead(pairs), body, stream


def _described(
    error: HTTPError, title: str, message: str, headers: HeadersLike, kind: str
) -> Response:
    """Return the response to an error in the format ``kind``."""
    if kind == "html":
        return Response(_page(error, title, message), error.status, headers, HTML)
    if kind == "json":
        return Response(_problem(error, title, message), error.status, headers, PROBLEM)
    return Response(message, error.status, headers, TEXT)


def translated(request: Request, sentence: str) -> str:
    """Return a sentence translated for this request by ``App(translations=...)``. If the
    translation raises an exception, return the sentence unchanged.
    """
    catalog_of = request._exchange.config.settings.translations
    if catalog_of is None:
        return sentence
    try:
        return translate(catalog_of(request), sentence)
    except Exception as failure:  # the response to an error must not fail
        request._exchange.log_failure("the function of App(translations=...) failed", failure)
        return sentence


def _wanted_format(request: Request) -> str:
    """Return the format of an error that the client accepts: "html", "json" or "text"."""
    accept = request._exchange.header("accept") or "*/*"
    if accept != "*/*":
        return _wanted_of(accept)
    try:
        return "json" if request.method not in ("GET", "HEAD") and request.is_json else "text"
    except HTTPError:  # a malformed Content-Length or Content-Type
        return "text"


# Cached, because browsers send few different Accept headers, and parsing a header takes longer than
# making the rest of the response.
@cached_if_short(128)
def _wanted_of(accept: str) -> str:
    best = choose_type(accept, ("text", "html", "problem", "json"))
    if best == "text" and "application/json" in accept.lower():
        best = choose_type(accept, ("json", "text"))  # axios and Angular name both, and read JSON
    return "json" if best == "problem" else best or "text"


def _page(error: HTTPError, title: str, message: str) -> str:
    title = f"{error.status} {title}"
    if isinstance(error, BindingError):  # one line for each field of the form
        message = "<br>\n".join(escape(f"{one.field}: {one}") for one in error.errors)
    elif message == title:
        message = ""
    else:
        message = _ESCAPED[message] if type(message) in SENTENCES else escape(message)
    title = _ESCAPED[title]
    # no styles, because a strict Content-Security-Policy would block them
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<meta name="color-scheme" content="light dark">
<main>
<h1>{title}</h1>
<p>{message}</p>
</main>
</html>
"""


def _problem(error: HTTPError, title: str, message: str) -> dict[str, object]:
    document: dict[str, object] = {  # RFC 9457, section 3.1
        "type": "about:blank",
        "title": title,
        "status": error.status,
        # The default message of an error begins with its status. Remove it, because the document
        # has a separate member for the status.
        "detail": message.removeprefix(f"{error.status} "),
    }
    if isinstance(error, BindingError):
        document["errors"] = [
            {name: getattr(one, name) for name in _OF_ERROR} | {"detail": str(one)}
            for one in error.errors
        ]
    return document
