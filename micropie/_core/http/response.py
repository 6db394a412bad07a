"""Responses: the results of handlers, and the one place that decides whether a status, a header and
a body may be sent.

    the handler's result -> Response (any body) -> hooks may change it -> Answer (checked, encoded) -> driver

Every header of an author's passes ``checked_headers``. A result of a usual type, with nothing set on
the response, needs no check: ``respond`` makes its answer with ``NO_OTHER_HEADERS``, so a header for
all answers belongs there as well. A value that can't be sent raises ``ResponseError`` before the first byte leaves; it is neither
dropped nor sent.
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Set,
)
from datetime import datetime
from functools import lru_cache
from numbers import Number
from typing import Any, Final, NamedTuple, Protocol, Self, TypeAlias, Unpack
from urllib.parse import quote, urlsplit

from micropie._core.errors import (
    ERRORS,
    PHRASES,
    HeadersLike,
    HTTPError,
    Redirect,
    ResponseError,
    logger,
    pairs_of,
)
from micropie._core.http.escaping import html_body, is_html_type
from micropie._core.http.headers import (
    CookieAttributes,
    CookieScope,
    KnownHead,
    MutableHeaders,
    NameTable,
    cached_if_short,
    codec_of,
    format_cookie,
)
from micropie._core.http.json import dumps
from micropie._core.http.protocols import ChunkedBody, HeaderPairs
from micropie._core.on_demand import pattern

HTML: Final = "text/html; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
_USUAL_TYPES = frozenset({HTML, TEXT, JSON})

# With this header browsers trust an answer's Content-Type, so they never run JSON, an upload or an
# error's text as a page.
NOSNIFF: Final = ("x-content-type-options", "nosniff")
NO_OTHER_HEADERS: Final = KnownHead((NOSNIFF,))

# A name is a token (RFC 9110, section 5.6.2), a value has visible latin-1, spaces and tabs (section
# 5.5).
TOKEN: Final = pattern(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = pattern(r"[\t\x20-\x7e\x80-\xff]*")

# They describe the connection, which belongs to the server (RFC 9110, section 7.6.1; PEP 3333
# forbids them).
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# Headers that ``checked_headers`` does not just pass on.
_SPECIAL = _HOP_BY_HOP | {"content-type", "content-length", "location", NOSNIFF[0]}

# The characters that a URL may contain (RFC 3986, section 2), and "%", so that escapes are not
# escaped again.
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"
_URL = pattern(rf"[{re.escape(_URL_SAFE)}\w.-]*", re.ASCII)


class Response:
    """A response.

    ``body`` is anything a handler may return: text, bytes, None, a value for JSON, an iterator, a
    file.

    ``status``: 200 to 599. ``headers``: a dict or (name, value) pairs. ``content_type``: by default
    ``text/html; charset=utf-8`` for text and bytes, ``application/json`` for JSON; ``""`` sends no
    such header. A charset in it is the one that text is encoded in; a ``text/`` type without one
    gets that of UTF-8 for text. The text of a stream is always sent in UTF-8.
    """

    __slots__ = ("body", "content_type", "pairs", "status")

    def __init__(
        self,
        body: Any = None,
        status: int = 200,
        headers: HeadersLike = (),
        content_type: str | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.pairs: HeaderPairs = []
        if headers:
            self.pairs += headers if type(headers) is list else pairs_of(headers)
        self.content_type = content_type

    @property
    def headers(self) -> MutableHeaders:
        """The headers. Assign a dict or (name, value) pairs to replace them all."""
        headers = MutableHeaders()
        headers.pairs = self.pairs
        return headers

    @headers.setter
    def headers(self, headers: HeadersLike) -> None:
        self.pairs = pairs_of(headers) if headers else []

    def set_cookie(self, name: str, value: str, **attributes: Unpack[CookieAttributes]) -> None:
        """Set a cookie.

        ``value`` is text; percent-encode what a cookie can't hold (``urllib.parse.quote``).

        ``max_age``: seconds until it expires, or a timedelta. ``expires``: a datetime instead, in
        UTC if it is naive. Without either the browser forgets it when it is closed. ``path``: it is
        sent for what is below, "/" by default. ``domain``: it is sent to that domain and its
        subdomains; None, the default, to the host that sets it only. ``samesite``: whether requests
        of other sites carry it: "Lax" (default) if they open a page, "Strict" never, "None" always;
        None lets the browser decide. False by default: ``secure``, it is sent over https only;
        ``httponly``, scripts can't read it; ``partitioned``, in a frame there is one for each site
        around the frame.

        Raises ``ValueError`` for a name, value or attribute that RFC 6265 does not allow, and for a
        cookie that browsers would drop silently: one of more than 4096 bytes; one without
        ``secure`` that has ``samesite="None"``, ``partitioned`` or a name that begins with
        ``__Secure-`` or ``__Host-``; one named ``__Host-...`` that has a ``domain`` or another
        ``path`` than "/".
        """
        self.pairs.append(("Set-Cookie", format_cookie(name, value, **attributes)))

    def delete_cookie(self, name: str, **attributes: Unpack[CookieScope]) -> None:
        """Delete a cookie from the client; give the ``path``, ``domain`` and ``partitioned`` with
        which it was set.

        ``__Host-...``, ``__Secure-...`` and ``partitioned`` need ``secure=True`` here, too.
        """
        self.set_cookie(name, "", max_age=0, expires=datetime(1970, 1, 1), **attributes)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class GivenStatus(int):
    """The status of a mounted application's answer: any from 200 to 999, with a reason if the
    application gives one.

    ``reason`` is visible latin-1, spaces and tabs (RFC 9112, section 4). Raises ``ResponseError``
    for any other text, which might be a second header, and for 1xx: what follows it would be taken
    for another answer.
    """

    reason: str

    def __new__(cls, number: int | str, reason: str = "") -> Self:
        status = super().__new__(cls, number)
        if not 200 <= status <= 999:
            raise ResponseError(
                f"a response's status must be a whole number from 200 to 999, not {int(status)}"
            )
        if not _VALUE.fullmatch(reason):
            raise ResponseError(
                "the reason of a status can't have line ends or control "
                f"characters: {reason[:100]!r}"
            )
        status.reason = reason
        return status


class FileOptions(NamedTuple):
    """How a file is found and sent: the options of ``static_file``."""

    root: str
    max_age: int | None
    cached: bool
    follow_symlinks: bool
    saved_as: str | None
    """The name under which a browser saves it: "" for its own, None if it is to be shown."""


class FileReference:
    """A body that is a file not opened yet: ``static_file`` returns it in a response,
    ``files/static.py`` opens it.

    Neither a tuple nor a dataclass: one that is not opened must be an error, not the JSON of a
    path. ``fingerprint``: that the URL states, of the version that its page was made for.
    """

    __slots__ = ("fingerprint", "options", "path")

    def __init__(self, path: str, options: FileOptions, fingerprint: str | None = None) -> None:
        self.path = path
        self.options = options
        self.fingerprint = fingerprint


# All that a driver sends, checked: status, Content-Type, Content-Length (None: no such header), all
# other headers (names in lower case), the body, the stream if it is one. A bare tuple, made and
# unpacked once per request: a class costs ten times as much, a tenth of a request.
Answer: TypeAlias = tuple[
    int, str | None, int | None, Sequence[tuple[str, str]], bytes, ChunkedBody | None
]


class EncodedAnswer(
    tuple[int, "str | None", "int | None", Sequence[tuple[str, str]], bytes, "ChunkedBody | None"]
):
    """An ``Answer`` that a handler's wrapper has made, of parts that need no check.

    Not for authors.
    """

    __slots__ = ()


def as_response(result: object, response: Response | None = None) -> Response:
    """Pour a handler's result into ``response``, what was set on ``self.response``, or a new one,
    and return that.

    A mere body becomes its body. Another answer replaces the status, the type and the headers that
    it states; Set-Cookie and Vary are kept from both. A template string, and any object with
    ``__html__``, is HTML. Raises an ``HTTPError`` or ``Redirect`` that was returned, and
    ``ResponseError`` for a body before its status.
    """
    response = Response() if response is None else response
    body: Any = result
    if result is response:  # ``return self.response``
        body = response.body
    elif isinstance(result, Response):
        body = result.body
        # A file's 200 states nothing: it may be an error's page.
        status = (
            response.status
            if type(body) is FileReference and result.status == 200
            else result.status
        )
        _pour(response, status, result.pairs, result.content_type)
    elif type(result) is EncodedAnswer:
        status, content_type, _, pairs, body, _ = result
        _pour(response, status, pairs, content_type)
    elif isinstance(result, tuple) and 2 <= len(result) <= 3:
        body = _pour_tuple(response, result)
    elif isinstance(result, ERRORS):
        raise result
    response.body = body
    kind: type = type(body)
    return with_html(response) if is_html_type(kind) else response


def with_html(response: Response) -> Response:
    """Return a response, with its text and type if the body is HTML by itself: a template string,
    for example.
    """
    kind: type = type(response.body)
    if is_html_type(kind):
        response.body = html_body(response.body)
        if response.content_type is None:
            response.content_type = HTML
    return response


def _pour(
    response: Response, status: int, pairs: Sequence[tuple[str, str]], content_type: str | None
) -> None:
    """Replace what an answer states."""
    response.status = status
    if response.pairs and pairs:
        stated = {name.lower() for name, _ in pairs} - _KEPT_FROM_BOTH
        response.pairs[:] = [pair for pair in response.pairs if pair[0].lower() not in stated]
    response.pairs += pairs
    if content_type is not None:
        response.content_type = content_type


def _pour_tuple(response: Response, result: tuple[Any, ...]) -> object:
    """Pour (status, body) or (status, body, headers), and return the body: all of it, if that is a
    value for JSON.
    """
    for part in result[:2]:
        if isinstance(part, _WITH_STATUS):
            kind = type(part).__name__
            raise ResponseError(
                f"a handler returned {result!r:.200}: a {kind} has its status, headers and "
                "body in itself: write "
                f"{kind}(..., status=...), and return it alone"
            )
    if states_status(result):
        headers = result[2] if len(result) == 3 and result[2] is not None else ()
        if isinstance(headers, str) or not isinstance(headers, Iterable):
            raise ResponseError(f"headers must be a dict or (name, value) pairs, not {headers!r}")
        _pour(response, int(result[0]), pairs_of(headers), None)
        return result[1]
    if _is_status(result[1]) and not isinstance(result[0], Number):
        raise ResponseError(
            f"a handler returned {result!r:.200}: a status comes first, return "
            "status, body; for JSON return a list"
        )
    return result


# The types of most results. They are a body, and neither HTML by itself nor a stream.
BODIES = frozenset({str, bytes, dict, list, type(None)})

_STATUSES = range(200, 600)  # that can be sent
WITHOUT_CONTENT = frozenset({204, 304})  # RFC 9110, sections 15.3.5 and 15.4.5

_WITH_STATUS = (Response, *ERRORS)
_BUFFERS = (bytes, bytearray, memoryview)

# How results of a class are sent: the first row that matches. "response" is one by itself, and
# nothing is known of the class in the last row.
_SENT_AS: Sequence[tuple[str, Callable[[type], bool]]] = (
    ("response", lambda kind: issubclass(kind, (Response, FileReference, EncodedAnswer, *ERRORS))),
    ("html", is_html_type),
    ("text", lambda kind: issubclass(kind, (str, *_BUFFERS))),
    ("awaited", lambda kind: issubclass(kind, Awaitable)),
    ("stream", lambda kind: issubclass(kind, (Iterator, AsyncIterable))),
    ("stream", lambda kind: callable(getattr(kind, "read", None))),
    ("json", lambda kind: issubclass(kind, (Mapping, Sequence, Set))),
    ("", lambda kind: kind is object or bool(getattr(kind, "__abstractmethods__", None))),
)


def sent_as(kind: type) -> str:
    """Return how results of a class are sent: as "json", "text", "html", a "stream" or a
    "response"; "awaited" for one whose result is, and "" for a class that doesn't say it.
    """
    return next((how for how, matches in _SENT_AS if matches(kind)), "json")


def states_status(result: tuple[object, ...]) -> bool:
    """Return whether this is (status, body) or (status, body, headers).

    Two numbers, or three, are a value for JSON.
    """
    return (
        2 <= len(result) <= 3
        and _is_status(result[0])
        and not (isinstance(result[1], int) and isinstance(result[-1], int))
    )


def _is_status(value: object) -> bool:
    return isinstance(value, int) and 100 <= value <= 999


_KEPT_FROM_BOTH = frozenset({"set-cookie", "vary"})


def encode(
    response: Response, stream: ChunkedBody | None, head_only: bool, text_type: str = HTML
) -> Answer:
    """Check and encode a response.

    Raises ``ResponseError`` or ``CodecError`` for what can't be sent.

    ``stream`` is the body if it comes in chunks. ``head_only`` is true for HEAD, which gets the
    head of GET's answer (RFC 9110, section 9.3.2) and no body. ``text_type`` is the content type of
    what is not JSON and states none.
    """
    status, given, is_given = response.status, response.pairs, False
    if status.__class__ is not int or status not in _STATUSES:
        status = _checked_status(status)
        is_given = status.__class__ is GivenStatus
    # else nothing may describe it (RFC 9110, section 8.6)
    has_content = status not in WITHOUT_CONTENT
    # a mounted application states its own headers
    is_described = has_content and response.content_type != ""
    pairs: Sequence[tuple[str, str]] = NO_OTHER_HEADERS if is_described else ()
    content_type = length = None
    if given:
        pairs, content_type, length = checked_headers(given, is_given, pairs)
    if content_type is None and response.content_type:
        stated = response.content_type
        content_type = stated if stated in _USUAL_TYPES else check_value("content-type", stated)
    body, is_json = b"", False
    if type(response.body) is str and (content_type is None or content_type in _USUAL_TYPES):
        body = response.body.encode()
    elif stream is None:
        body, is_json, content_type = encode_body(response.body, content_type)
    else:
        content_type = _in_utf_8(content_type) if content_type and stream.is_text else content_type
    if not has_content:
        return status, None, None, pairs, b"", stream
    if is_described and not content_type:
        content_type = JSON if is_json else text_type
    if stream is None:
        length = len(body)
    elif stream.length is not None:
        length = stream.length
    return status, content_type, length, pairs, b"" if head_only else body, stream


def _checked_status(status: object) -> int:
    """Return a status that can be sent, a mounted application's as it is."""
    if type(status) is GivenStatus:
        return status
    # 1xx belongs to the server; 101 would turn the connection into another protocol.
    if isinstance(status, bool) or not (isinstance(status, int) and 200 <= status <= 599):
        raise ResponseError(
            f"a response's status must be a whole number from 200 to 599, not {status!r}"
        )
    return int(status)


def encode_body(body: object, content_type: str | None) -> tuple[bytes, bool, str | None]:
    """Return a body as bytes, whether it is a value that was encoded as JSON, and the content type,
    with a charset for text.

    Text is encoded in the charset that ``content_type`` states, else in UTF-8, as JSON always is
    (RFC 8259, section 8.1). None gives an empty body, or ``null`` if ``content_type`` is that of
    JSON. Raises ``ResponseError`` for a charset that is unknown, or that lacks some of the text's
    characters.
    """
    if type(body) is bytes:
        return body, False, content_type
    if isinstance(body, str):
        charset = None if content_type is None else _charset_of(content_type)
        if charset is None:
            return body.encode(), False, content_type and _with_charset(content_type)
        try:
            return body.encode(codec_of(charset)), False, content_type
        except (LookupError, UnicodeEncodeError) as error:
            problem = str(error)
        raise ResponseError(f"text can't be sent as {content_type!r}: {problem}")
    if isinstance(body, _BUFFERS):
        return bytes(body), False, content_type
    if body is None and content_type != JSON:
        return b"", False, content_type
    return dumps(body), True, content_type


_STATED = pattern(r';[ \t]*charset[ \t]*=("[^"]*"|[^;]*)', re.IGNORECASE)
_CHARSET = pattern(r';[ \t]*charset="?([^\s";]+)', re.IGNORECASE)


@cached_if_short(256)  # types are few and the same in every answer
def _charset_of(content_type: str) -> str | None:
    """Return the charset that a content type states; None for none, and for UTF-8."""
    charset = _CHARSET.search(content_type)
    return None if charset is None or charset[1].lower() in ("utf-8", "utf8") else charset[1]


@cached_if_short(256)
def _with_charset(content_type: str) -> str:
    """Return the content type of text, with the charset if it is a ``text/`` type without one:
    browsers would take it for windows-1252.
    """
    is_text = content_type[:5].lower() == "text/" and _STATED.search(content_type) is None
    return f"{content_type}; charset=utf-8" if is_text else content_type


def _in_utf_8(content_type: str) -> str:
    """Return the content type of text that is sent in UTF-8, whatever charset it states."""
    is_other = _charset_of(content_type) is not None
    return _with_charset(_STATED.sub("", content_type) if is_other else content_type)


def checked_headers(
    pairs: Iterable[tuple[str, str]], is_given: bool = False, others: Sequence[tuple[str, str]] = ()
) -> tuple[HeaderPairs, str | None, int | None]:
    """Check headers.

    Return them with names in lower case; apart from them Content-Type and Content-Length, or None.

    Headers of the connection are left out, with one warning in the log for each name. ``is_given``:
    they are a mounted application's, whose Location stays as it is. ``others``: headers to send as
    well, ``NO_OTHER_HEADERS`` or none; one that is stated takes its place.

    Raises ``ResponseError`` for a name or value that is not text, is not latin-1 or has control
    characters, and for two Content-Lengths that differ.
    """
    headers: HeaderPairs = [*others]
    content_type, length, stated_length = None, None, None
    try:
        for name, value in pairs:
            key = _KEYS[name]
            text = value.strip(" \t") if value.__class__ is str else ""
            if key not in _SPECIAL and text and text.isascii() and text.isprintable():
                headers.append((key, text))  # as most are: nothing else to check
                continue
            text = check_value(key, value, is_given)
            if key not in _SPECIAL or key == "location":
                headers.append((key, text))
            elif key == NOSNIFF[0]:
                headers = [*(one for one in headers if one is not NOSNIFF), (key, text)]
            elif key == "content-type":
                content_type = text
            elif key == "content-length":
                if stated_length not in (None, text):  # a client may read either one (section 8.6)
                    raise ResponseError(
                        f"a response has one Content-Length, not {stated_length!r} and {text!r}"
                    )
                stated_length = text
                length = int(text) if text.isascii() and text.isdigit() else None
            else:
                warn_once(name)
    except (TypeError, ValueError):
        raise ResponseError(
            f"headers must be a dict or (name, value) pairs, not {pairs!r}"
        ) from None
    return headers, content_type, length


@lru_cache(maxsize=64)  # each answer of an application may have it
def warn_once(name: str) -> None:
    logger.warning("header %r is set by the server: ignored", name)


def _key_of(name: object) -> str:
    """Return the name of a header in lower case. Raises ``ResponseError`` for what can be none."""
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise ResponseError(f"{name!r} can't be the name of a header")
    return name.lower()


_KEYS = NameTable(_key_of)


def check_value(name: str, value: object, is_given: bool = False) -> str:
    """Return ``value`` if header ``name`` may have it, without spaces around it.

    A Location is turned from an IRI into a URI, unless given.
    """
    if not isinstance(value, str):
        raise ResponseError(
            f"header {name!r} must be text, not {type(value).__name__}: {value!r}; write str(...)"
        )
    # which are none of it (RFC 9110, section 5.5): servers refuse the whole answer
    value = value.strip(" \t")
    if name == "location" and not is_given:
        if _URL.fullmatch(value):
            return value
        if any(character < " " or character == "\x7f" for character in value):
            raise ResponseError(f"header {name!r} has a control character: {value!r}")
        return quote(value, safe=_URL_SAFE)
    if not _VALUE.fullmatch(value):
        raise ResponseError(
            f"header {name!r} has a control character or one that is not latin-1: {value!r}"
        )
    return value


class Origin(Protocol):
    """The part of a request that says which scheme and host it is for."""

    scheme: str
    host: str


def redirect_response(redirect: Redirect, site: Origin) -> Response:
    """Return the response for a ``Redirect`` in the answer to a request for ``site``.

    Raises as ``_allowed`` does.
    """
    location = _allowed(redirect, site)
    return Response("", redirect.status, [*redirect.headers, ("Location", location)])


def encoded_redirect(
    redirect: Redirect, site: Origin, head_only: bool, text_type: str = HTML
) -> Answer:
    """Return what ``redirect_response`` does, checked and encoded: for a response that nothing else
    changes.
    """
    if redirect.headers or type(redirect.status) is not int:
        return encode(redirect_response(redirect, site), None, head_only, text_type)
    location = check_value("location", _allowed(redirect, site))
    return redirect.status, text_type, 0, (NOSNIFF, ("location", location)), b"", None


def _allowed(redirect: Redirect, site: Origin) -> str:
    """Return the location of a redirect.

    Raises 400 for a control character, and unless the redirect allows it for another host and for
    plain http from https: a client may have chosen the location. The log says what to write if it
    is the author's.
    """
    location, problem = redirect.location, ""
    # Most lead to a path, in which browsers drop nothing.
    if not _PATH.fullmatch(location):
        seen = as_browsers_read(location)
        if redirect.allow_external:
            pass
        elif _leads_away(location, seen, site):
            problem, option = "would leave this site", "allow_external"
        elif site.scheme == "https" and not redirect.allow_http and seen.startswith("http:"):
            problem, option = "would go from https to plain http", "allow_http"
        if not problem and _CONTROL.search(location):
            logger.warning("refused a redirect to %.500r, which has a control character", location)
            raise HTTPError(400, "This redirect has a control character.")
    if problem:
        advice = f"if that is intended, write Redirect(location, {option}=True)"
        logger.warning("refused a redirect to %.500r, which %s; %s", location, problem, advice)
        raise HTTPError(400, f"This redirect {problem}.")
    return location


def as_browsers_read(location: str) -> str:
    """Return an address as browsers read it, in lower case: "/\\evil.com" and "\\t//evil.com" mean
    "//evil.com".

    They drop tabs and line ends, trim blanks and read a backslash as a slash (WHATWG URL, section
    4.4).
    """
    return location.translate(_AS_READ).strip(_BLANKS).lower()


_PATH = pattern(r"/(?![/\\])[!-~]*+")
_CONTROL = pattern("[\0-\x1f\x7f]")
_SCHEME = pattern("[a-z][a-z0-9+.-]*+:")  # of any length
_LONGEST_SPLIT = 2000  # characters; a host has 253 at most


def _leads_away(location: str, seen: str, site: Origin) -> bool:
    if _SCHEME.match(seen) is None and not seen.startswith("//"):
        return False
    try:
        # The scheme and the host are at the beginning, so that is enough. ``urlsplit`` caches the
        # text that it is given, however long it is.
        parts = urlsplit(seen[:_LONGEST_SPLIT])
    except ValueError:
        return True
    # it would be sent escaped, "http://us%5C@evil.com", and that is another host
    if "\\" in location:
        return True
    return (
        parts.scheme not in ("", "http", "https") or not parts.netloc or parts.netloc != site.host
    )


_BLANKS = "".join(map(chr, range(0x21)))
_AS_READ = str.maketrans("\\", "/", "\t\r\n")


def error_response(status: int, message: object, headers: HeadersLike = ()) -> Response:
    """Return an error's default page: one sentence, as plain text so that no browser runs anything
    in it, or JSON.
    """
    return Response(message, status, headers, TEXT if isinstance(message, str) else None)


def start_failed(head_only: bool) -> Answer:
    """Return the answer to requests while the application can't start."""
    return encode(error_response(500, "500 Internal Server Error"), None, head_only)


def status_line(status: int) -> str:
    """Return ``"404 Not Found"`` for 404.

    PEP 3333 wants a reason, even for a status without one.
    """
    if isinstance(status, GivenStatus) and status.reason:
        return f"{status} {status.reason}"
    return f"{status} {PHRASES.get(status) or f'Status {status}'}"
