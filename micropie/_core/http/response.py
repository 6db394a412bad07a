"""Convert handlers' results to responses. Only this module decides whether a status, a header or a
body may be sent.

    the handler's result -> Response (any body) -> hooks may change it -> Answer (checked, encoded) -> driver

``checked_headers`` checks every header that an application sets. If the handler set nothing on the
response and returns a value of a common type, such as str, ``respond`` skips these checks, and
sends only the headers of the constant ``NO_OTHER_HEADERS``. To add a header to all responses with
content, add it to this constant. A value that can't be sent raises ``ResponseError`` before the
response starts. It is never dropped silently.
"""  # noqa: E501

from __future__ import annotations

import re
from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from numbers import Number
from typing import Any, NamedTuple, NoReturn, Protocol, Self, TypeAlias, Unpack
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
    takes,
)
from micropie._core.execution import current_exchange
from micropie._core.http.addresses import normal_origin
from micropie._core.http.escaping import html_body, is_html_type
from micropie._core.http.headers import (
    CookieAttributes,
    CookieScope,
    KnownHead,
    MutableHeaders,
    NameTable,
    add_vary,
    cached_if_short,
    codec_of,
    format_cookie,
)
from micropie._core.http.json import dumps
from micropie._core.http.protocols import ChunkedBody, HeaderPairs, Pairs
from micropie._core.on_demand import pattern

HTML = "text/html; charset=utf-8"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
_USUAL_TYPES = frozenset({HTML, TEXT, JSON})

# With this header, browsers trust the Content-Type. So they never run JSON, an upload or an error's
# text as HTML.
NOSNIFF = ("x-content-type-options", "nosniff")
NO_OTHER_HEADERS = KnownHead((NOSNIFF,))

# A header's name is a token (RFC 9110, section 5.6.2); its value has visible latin-1 characters,
# spaces and tabs (section 5.5).
TOKEN = pattern(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = pattern(r"[\t\x20-\x7e\x80-\xff]*")

# Methods of str, which raise TypeError for any other value.
_is_ascii, _is_printable, _strip = str.isascii, str.isprintable, str.strip

# These headers describe the connection, so only the server may set them (RFC 9110, section 7.6.1;
# PEP 3333 forbids applications to set them).
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

# Headers that ``checked_headers`` drops or handles separately.
_SPECIAL = _HOP_BY_HOP | {"content-type", "content-length", "location", NOSNIFF[0]}

# The characters that a URL may contain (RFC 3986, section 2), and "%", so that escapes are not
# escaped again.
_URL_SAFE = "!#$%&'()*+,/:;=?@[]~"
_URL_CHARACTERS = rf"[{re.escape(_URL_SAFE)}\w.-]"
_URL = pattern(f"{_URL_CHARACTERS}*", re.ASCII)


class Response:
    """A response: its body, status, headers and content type.

    - ``body``: anything that a handler may return: text, bytes, None, a value for JSON, an
      iterator, a file.
    - ``status``: 200 to 599.
    - ``headers``: a dict or (name, value) pairs.
    - ``content_type``: by default ``text/html; charset=utf-8`` for text and bytes, and
      ``application/json`` for JSON. With ``""``, no Content-Type is sent.

    Text is encoded in the charset of ``content_type``. If a ``text/`` type has no charset,
    ``charset=utf-8`` is added. The text of a stream is always sent in UTF-8.
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
        self.pairs: HeaderPairs = (
            ([*headers] if headers.__class__ is list else pairs_of(headers)) if headers else []
        )
        self.content_type = content_type

    @property
    def headers(self) -> MutableHeaders:
        """The headers. Assign a dict or (name, value) pairs to replace all headers."""
        headers = MutableHeaders.__new__(MutableHeaders)  # without a list of its own
        headers.pairs = self.pairs
        return headers

    @headers.setter
    def headers(self, headers: HeadersLike) -> None:
        self.pairs = pairs_of(headers) if headers else []

    def set_cookie(self, name: str, value: str, **attributes: Unpack[CookieAttributes]) -> None:
        """Set a cookie.

        - ``value``: text. Use ``urllib.parse.quote`` for characters that a cookie can't hold.
        - ``max_age``: seconds until the cookie expires, or a timedelta.
        - ``expires``: a datetime, to be used instead of ``max_age``. A naive datetime is in UTC.
          Without ``expires`` and ``max_age``, the browser deletes the cookie when the user closes
          the browser.
        - ``path``: the cookie is sent for this path and all paths under it, "/" by default.
        - ``domain``: the cookie is sent to this domain and its subdomains; with None, the default,
          only to the host that sets it.
        - ``samesite``: with which requests from other sites the browser sends the cookie. "Lax",
          the default, means requests that open a page; "Strict" means none; "None" means all. With
          None, the browser decides.
        - ``secure``: send the cookie over https only; False by default.
        - ``httponly``: hide the cookie from scripts; False by default.
        - ``partitioned``: if this site is shown in a frame, use a separate cookie for each
          top-level site; False by default.

        Raises ``ValueError`` for a name, value or attribute that RFC 6265 does not allow. Also
        raises it for cookies that browsers would drop silently:

        - a cookie of more than 4096 bytes
        - a cookie without ``secure`` that has ``samesite="None"`` or ``partitioned``, or whose name
          begins with ``__Secure-`` or ``__Host-``
        - a cookie named ``__Host-...`` with a ``domain``, or with a ``path`` other than "/"
        """
        self.pairs.append(("Set-Cookie", format_cookie(name, value, **attributes)))

    def delete_cookie(self, name: str, **attributes: Unpack[CookieScope]) -> None:
        """Delete a cookie from the client. Pass the ``path``, ``domain`` and ``partitioned`` with
        which it was set.

        If the cookie is ``partitioned``, or its name begins with ``__Host-`` or ``__Secure-``, pass
        ``secure=True`` as well.
        """
        self.set_cookie(name, "", max_age=0, expires=datetime(1970, 1, 1), **attributes)

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


class GivenStatus(int):
    """The status of a mounted application's response: from 200 to 999, with the reason phrase that
    the application sends, if any.

    ``reason`` has visible latin-1 characters, spaces and tabs (RFC 9112, section 4). Raises
    ``ResponseError`` for a reason with other characters, which might inject a header. Also raises
    it for a status 1xx, because clients expect another response after it.
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
    """The options of ``static_file``: how a file is found and sent."""

    root: str
    max_age: int | None
    cached: bool
    follow_symlinks: bool
    saved_as: str | None
    """The name under which a browser saves the file: "" for the file's own name; None if the
    browser shows the file instead.
    """


class FileReference:
    """A body that is a file, not opened yet. ``static_file`` returns it in a response, and
    ``files/static.py`` opens it.

    It is neither a tuple nor a dataclass. Otherwise, a reference that was never opened would be
    sent as JSON by mistake. ``fingerprint``: the fingerprint in the URL, which identifies the
    version of the file to which a page links.
    """

    __slots__ = ("fingerprint", "options", "path", "size")
    size: int
    """The file's size. It is set for a 304 only, for its hooks."""

    def __init__(self, path: str, options: FileOptions, fingerprint: str | None = None) -> None:
        self.path = path
        self.options = options
        self.fingerprint = fingerprint


# Everything that a driver sends, already checked: status, Content-Type, Content-Length (None if
# missing), all other headers with lower-case names, the body, and the stream or None. In place of
# the stream, there may be a ``Handover`` (``routing/site.py``). It is a plain tuple for speed:
# creating an instance of a class would take ten times as long, about 10% of the time of a whole
# request.
Answer: TypeAlias = tuple[int, str | None, int | None, Pairs, bytes, ChunkedBody | None]


class EncodedAnswer(Answer):
    """An ``Answer`` that is returned in place of a handler's result. Its status, headers and body
    need no check. Only the framework creates it, never an application.
    """

    __slots__ = ()


def as_response(result: object, response: Response | None = None) -> Response:
    """Put a handler's result into ``response``, or into a new response if ``response`` is None.
    Return the response.

    ``response``: the object that the handler got from ``self.response``, or None if it didn't use
    it.

    A result that is only a body replaces only the body. A result that is a response itself also
    replaces the status, and any content type and headers that it sets. Only Set-Cookie and Vary are
    combined. A template string, and any object with ``__html__``, is HTML. Raises an ``HTTPError``
    or ``Redirect`` that was returned, and ``ResponseError`` for a tuple with the body before the
    status.
    """
    response = Response() if response is None else response
    body = result
    if result is response:  # the handler did ``return self.response``
        body = response.body
    elif isinstance(result, Response):
        body = result.body
        # If a file has the default status 200, keep the status set on ``response``, because the
        # handler may send the file as an error page.
        status = (
            response.status
            if type(body) is FileReference and result.status == 200
            else result.status
        )
        _apply(response, status, result.pairs, result.content_type)
    elif type(result) is EncodedAnswer:
        status, content_type, _, pairs, body, _ = result
        _apply(response, status, pairs, content_type)
    elif isinstance(result, tuple) and 2 <= len(result) <= 3:
        body = _apply_tuple(response, result)
    elif isinstance(result, ERRORS):
        raise result
    response.body = body
    kind: type = type(body)
    return with_html(response) if is_html_type(kind) else response


def joined(response: Response, late: Response) -> Response:
    """Return a stream's response with what the stream's generator has set on ``late``.

    Headers and a content type of ``response`` take precedence, and so does a status other than 200,
    the default.
    """
    status = late.status if response.status == 200 else response.status
    result = as_response(response, late)
    result.status = status
    return result


def with_html(response: Response) -> Response:
    """Return ``response``. If its body is an HTML object, such as a template string, first convert
    the body to text and set the content type.
    """
    kind: type = type(response.body)
    if is_html_type(kind):
        response.body = html_body(response.body)
        if response.content_type is None:
            response.content_type = HTML
    return response


def _apply(response: Response, status: int, pairs: Pairs, content_type: str | None) -> None:
    """Put the status, the headers and the content type of a handler's result into a response.

    A header in ``pairs`` replaces the response's header of the same name, unless a response may
    have several headers of this name (``_KEPT_FROM_BOTH``). If ``content_type`` is None, the type
    is not changed.
    """
    response.status = status
    if response.pairs and pairs:
        stated = {name.lower() for name, _ in pairs} - _KEPT_FROM_BOTH
        response.pairs[:] = [pair for pair in response.pairs if pair[0].lower() not in stated]
        for name, value in pairs:
            if name.lower() == "vary":
                for field in value.split(","):
                    add_vary(response.pairs, field.strip())
            else:
                response.pairs.append((name, value))
    else:
        response.pairs += pairs
    if content_type is not None:
        response.content_type = content_type


def _apply_tuple(response: Response, result: tuple[Any, ...]) -> object:
    """Apply a tuple (status, body) or (status, body, headers) to the response, and return the body.
    Return any other tuple unchanged: it is itself a body, sent as JSON.
    """
    for part in result[:2]:
        if isinstance(part, _WITH_STATUS):
            kind = type(part).__name__
            raise ResponseError(
                f"a handler returned {result!r:.200}: set the status and the headers of the "
                f"{kind} itself, and return it alone"
            )
    if states_status(result):
        headers = result[2] if len(result) == 3 and result[2] is not None else ()
        if isinstance(headers, str) or not isinstance(headers, Iterable):
            raise ResponseError(f"headers must be a dict or (name, value) pairs, not {headers!r}")
        _apply(response, int(result[0]), pairs_of(headers), None)
        return result[1]
    if _is_status(result[1]) and not isinstance(result[0], Number):
        raise ResponseError(
            f"a handler returned {result!r:.200}: to set a status, put it first, as in "
            '"return 404, body"; to send a JSON list, return a list, not a tuple'
        )
    return result


# The types of most results. They are bodies that are neither HTML objects nor streams.
BODIES = frozenset({str, bytes, dict, list, type(None)})

_STATUSES = range(200, 600)  # The statuses that can be sent.
WITHOUT_CONTENT = frozenset({204, 304})  # RFC 9110, sections 15.3.5 and 15.4.5.

_WITH_STATUS = (Response, *ERRORS)
_BUFFERS = (bytes, bytearray, memoryview)


def reads_file(read: Callable[..., object], count: int) -> bool:
    """Return whether ``read``, the method of an object or a class, is that of a file: it takes a
    number of bytes, which is the last of ``count`` arguments. A structure may have another method
    of this name.
    """
    # skip the methods of files that are written in C, because reading their signature takes long
    return not hasattr(read, "__code__") or takes(read, count)


# How a handler's result is sent. The first row whose function returns True for the result's class
# decides. "response" means a complete response. The last row is for classes that don't determine
# how their instances are sent. Another way to send one also needs a branch in ``as_response`` or in
# ``_answer_of_any`` (``flow/http.py``), and in ``openapi/document.py``.
_SENT_AS: Sequence[tuple[str, Callable[[type], bool]]] = (
    ("response", lambda kind: issubclass(kind, (Response, FileReference, EncodedAnswer, *ERRORS))),
    ("html", is_html_type),
    ("text", lambda kind: issubclass(kind, (str, *_BUFFERS))),
    ("awaited", lambda kind: issubclass(kind, Awaitable)),
    ("stream", lambda kind: issubclass(kind, (Iterator, AsyncIterable))),
    (
        "stream",  # a file
        lambda kind: callable(read := getattr(kind, "read", None)) and reads_file(read, 2),
    ),
    ("json", lambda kind: issubclass(kind, Collection)),
    ("", lambda kind: kind is object or bool(getattr(kind, "__abstractmethods__", None))),
)


def sent_as(kind: type) -> str:
    """Return how results of a class are sent: as "json", "text", "html", a "stream" or a
    "response"; "awaited" if they are awaited first; "" if this depends on the
    result itself.
    """
    return next((how for how, matches in _SENT_AS if matches(kind)), "json")


def states_status(result: tuple[object, ...]) -> bool:
    """Return whether this tuple is (status, body) or (status, body, headers).

    A tuple of two or three numbers is neither: it is a body, sent as JSON.
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

    Raises ``ResponseError`` or ``CodecError`` for a response that can't be sent.

    - ``stream``: the body, if it is sent in chunks.
    - ``head_only``: True for HEAD, whose response has the headers of the response to GET but no
      body (RFC 9110, section 9.3.2).
    - ``text_type``: the content type of a body that is not JSON and has no content type set.
    """
    status, body, content_type = response.status, response.body, response.content_type
    if status.__class__ is not int or status not in _STATUSES:
        status = _checked_status(status)
    # A response without content must not have headers that describe content (RFC 9110, section
    # 8.6).
    has_content = status not in WITHOUT_CONTENT
    # The content type "" means that a mounted application sets its own headers.
    is_described = has_content and content_type != ""
    pairs: Pairs = NO_OTHER_HEADERS if is_described else ()
    announced = None
    if response.pairs:
        pairs, stated, announced = checked_headers(
            response.pairs, status.__class__ is GivenStatus, pairs
        )
        if stated is not None:
            content_type = stated
    if content_type and content_type not in _USUAL_TYPES:
        content_type = check_value("content-type", content_type)
    if stream is not None:
        body, length = b"", announced if stream.length is None else stream.length
        content_type = _in_utf_8(content_type) if content_type and stream.is_text else content_type
    else:
        if body.__class__ is str and (not content_type or content_type in _USUAL_TYPES):
            body = body.encode()
        else:
            body, is_json, content_type = encode_body(body, content_type or None)
            text_type = JSON if is_json else text_type
        length = len(body)
    if not has_content:
        return status, None, None, pairs, b"", stream
    if not content_type:
        content_type = text_type if is_described else None
    if head_only:
        # A handler for HEAD may announce the length of a body that it doesn't create.
        body, length = b"", length or announced or length
    return status, content_type, length, pairs, body, stream


def _checked_status(status: object) -> int:
    """Return ``status``, which is not changed if it comes from a mounted application. Raises
    ``ResponseError`` for a status that can't be sent.
    """
    if type(status) is GivenStatus:
        return status
    # 1xx statuses belong to the server; 101 would switch the connection to another protocol.
    if isinstance(status, bool) or not (isinstance(status, int) and 200 <= status <= 599):
        raise ResponseError(
            f"a response's status must be a whole number from 200 to 599, not {status!r}: write "
            "Response(body, status=404), for example"
        )
    return int(status)


def encode_body(body: object, content_type: str | None) -> tuple[bytes, bool, str | None]:
    """Return a body as bytes, whether it was encoded as JSON, and its content type, with a charset
    if it is text.

    Text is encoded in the charset of ``content_type``, or else in UTF-8. JSON is always UTF-8 (RFC
    8259, section 8.1). None gives an empty body, or ``null`` if ``content_type`` is JSON. Raises
    ``ResponseError`` for a charset that is unknown, or that lacks some of the text's characters.
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
        raise ResponseError(f"the text can't be encoded for {content_type!r}: {problem}")
    if isinstance(body, _BUFFERS):
        return bytes(body), False, content_type
    if body is None and content_type != JSON:
        return b"", False, content_type
    # the handler's annotation may have a faster encoder for bodies of a class
    bodies = getattr(getattr(current_exchange(), "config", None), "bodies", {})
    encode_json, _ = bodies.get(type(body), (dumps, JSON))
    return encode_json(body), True, content_type


_STATED = pattern(r';[ \t]*charset[ \t]*=("[^"]*"|[^;]*)', re.IGNORECASE)
_CHARSET = pattern(r';[ \t]*charset="?([^\s";]+)', re.IGNORECASE)


@cached_if_short(256)  # a site has few content types
def _charset_of(content_type: str) -> str | None:
    """Return the charset in a content type; None if there is none, or if it is UTF-8."""
    charset = _CHARSET.search(content_type)
    return None if charset is None or charset[1].lower() in ("utf-8", "utf8") else charset[1]


@cached_if_short(256)
def _with_charset(content_type: str) -> str:
    """Return a content type for text. Add ``charset=utf-8`` to a ``text/`` type without a charset,
    because browsers would assume windows-1252.
    """
    is_text = content_type[:5].lower() == "text/" and _STATED.search(content_type) is None
    return f"{content_type}; charset=utf-8" if is_text else content_type


def _in_utf_8(content_type: str) -> str:
    """Return a content type with ``charset=utf-8`` in place of any other charset, for text that is
    always sent in UTF-8.
    """
    is_other = _charset_of(content_type) is not None
    return _with_charset(_STATED.sub("", content_type) if is_other else content_type)


def checked_headers(
    pairs: Pairs, is_given: bool = False, others: Pairs = ()
) -> tuple[HeaderPairs, str | None, int | None]:
    """Check the headers of a response.

    Return the headers with lower-case names and, separately, the values of Content-Type and
    Content-Length, each None if missing.

    Headers that describe the connection are left out, with one warning in the log for each name.

    - ``is_given``: whether the headers come from a mounted application. If so, a Location stays
      unchanged.
    - ``others``: headers to add: either ``NO_OTHER_HEADERS`` or (). A header in ``pairs`` takes
      precedence over one of the same name in ``others``.

    Raises ``ResponseError`` for a name or value that is not text, is not latin-1 or has control
    characters, and for two different Content-Lengths.
    """
    headers: HeaderPairs = [*others]
    content_type, length, stated_length = None, None, None
    try:
        for name, value in pairs:
            key = _USUAL_KEYS[name]
            if key and _is_ascii(value) and _is_printable(value):
                headers.append((key, _strip(value)))  # most headers: nothing else to check
                continue
            key = _KEYS[name]
            text = check_value(key, value, is_given)
            if key == "location" or key not in _SPECIAL:
                headers.append((key, text))
            elif key == "content-type":
                content_type = text
            elif key == "content-length":
                if stated_length not in (None, text):
                    # Refuse two lengths, because clients may trust either (RFC 9110, section 8.6).
                    raise ResponseError(
                        f"the response sets Content-Length to {stated_length!r} and to {text!r}"
                    )
                stated_length = text
                length = int(text) if text.isascii() and text.isdigit() else None
            elif key == NOSNIFF[0]:
                headers = [*(one for one in headers if one is not NOSNIFF), (key, text)]
            else:
                warn_once(name)
    except (TypeError, ValueError):
        pass
    else:
        return headers, content_type, length
    _refuse(pairs)


def _refuse(pairs: Pairs) -> NoReturn:
    """Raise the error for headers of which one has a value that is no str, or is no pair."""
    with suppress(TypeError, ValueError):
        for name, value in pairs:
            check_value(_KEYS[name], value, True)
    raise ResponseError(f"headers must be a dict or (name, value) pairs, not {pairs!r}")


@lru_cache(maxsize=64)  # limited, because an application may use any number of names
def warn_once(name: str) -> None:
    logger.warning("header %r was ignored, because only the server may set it", name)


def _key_of(name: object) -> str:
    """Return the name of a header in lower case. Raises ``ResponseError`` if it is invalid."""
    if not isinstance(name, str) or not TOKEN.fullmatch(name):
        raise ResponseError(f"{name!r} can't be a header's name: use letters, digits and -")
    return name.lower()


_KEYS = NameTable(_key_of)
# The same, but "" for a name that ``checked_headers`` handles separately.
_USUAL_KEYS: NameTable[str, str] = NameTable(
    lambda name: "" if (key := _KEYS[name]) in _SPECIAL else key
)


def check_value(name: str, value: object, is_given: bool = False) -> str:
    """Return ``value`` without spaces around it, if it is valid for the header ``name``.

    A Location is converted from an IRI to a URI, unless a mounted application set it
    (``is_given``). Raises ``ResponseError`` if ``value`` is not valid.
    """
    if not isinstance(value, str):
        raise ResponseError(
            f"header {name!r} must be a str, not {value!r}: convert a number with str(...), "
            "join a list with ', '"
        )
    # Spaces around a value are not part of it (RFC 9110, section 5.5), and servers refuse a
    # response that has them.
    value = _strip(value, " \t")  # a plain str also for a subclass, which servers refuse
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
    """The scheme and the host of a request, with which a redirect is compared."""

    scheme: str
    host: str


def redirect_response(redirect: Redirect, site: Origin) -> Response:
    """Return the response for a ``Redirect`` that was raised during a request. ``site``: the
    scheme and the host of that request. Raises 400 for a location that ``_allowed`` refuses.
    """
    location = redirect.location
    if not _PATH.fullmatch(location):
        location = _allowed(redirect, site)
    return Response("", redirect.status, [*redirect.headers, ("Location", location)])


def _allowed(redirect: Redirect, site: Origin) -> str:
    """Return the location of a redirect. Call this only if the location isn't a plain path, because
    a plain path needs no check.

    Raises 400 for a control character and for an empty location. The location may come from the
    client. So this also raises 400 for another host, and for http instead of https, unless the
    redirect allows these. A warning in the log explains how to allow them.
    """
    location, option = redirect.location, ""
    # Browsers drop tabs and line ends, trim blanks and read a backslash as a slash (WHATWG URL,
    # section 4.4): "/\\evil.com" and "\\t//evil.com" mean "//evil.com".
    seen = location.translate(_AS_READ).strip(_BLANKS).lower()
    problem = "" if seen else "has no location"
    if redirect.allow_external:
        pass
    elif _leads_away(location, seen, site):
        problem, option = "would leave this site", "allow_external"
    elif site.scheme == "https" and not redirect.allow_http and seen.startswith("http:"):
        problem, option = "would go from https to plain http", "allow_http"
    if not problem and _CONTROL.search(location):
        problem = "has a control character"
    if not problem:
        return location
    advice = option and f"; to allow it, write Redirect(location, {option}=True)"
    logger.warning("refused a redirect to %.500r, which %s%s", location, problem, advice)
    raise HTTPError(400, f"This redirect {problem}.")


_PATH = pattern(rf"/(?![/\\]){_URL_CHARACTERS}*+", re.ASCII)
_CONTROL = pattern("[\0-\x1f\x7f]")
_SCHEME = pattern("[a-z][a-z0-9+.-]*+:")  # A URL's scheme, of any length.
_LONGEST_SPLIT = 2000  # Characters, enough for every host, which has 253 at most.


def _leads_away(location: str, seen: str, site: Origin) -> bool:
    if _SCHEME.match(seen) is None and not seen.startswith("//"):
        return False
    try:
        # Pass only the beginning, which has the scheme and the host, because ``urlsplit`` caches
        # its argument however long it is.
        parts = urlsplit(seen[:_LONGEST_SPLIT])
    except ValueError:
        return True
    # Refuse a backslash, because the location would be sent as "http://us%5C@evil.com", which has
    # another host.
    if "\\" in location:
        return True
    if parts.scheme not in ("", "http", "https"):
        return True
    if not parts.netloc or parts.netloc == site.host:
        return not parts.netloc
    # Some proxies add the scheme's default port to the Host header.
    there = normal_origin(f"{parts.scheme or site.scheme}://{parts.netloc}")
    here = normal_origin(f"{site.scheme}://{site.host}")
    return not there or there.partition(":")[2] != here.partition(":")[2]


_BLANKS = "".join(map(chr, range(0x21)))
_AS_READ = str.maketrans("\\", "/", "\t\r\n")


def error_response(status: int, message: object, headers: HeadersLike = ()) -> Response:
    """Return the response to an error. A ``message`` that is a str is sent as plain text, which
    browsers don't run as HTML. Any other message is sent as JSON.
    """
    return Response(message, status, headers, TEXT if isinstance(message, str) else None)


def start_failed(head_only: bool) -> Answer:
    """Return the response that requests get if the application could not start."""
    return encode(error_response(500, "500 Internal Server Error"), None, head_only)


def status_line(status: int) -> str:
    """Return the status line for a status: ``"404 Not Found"`` for 404.

    PEP 3333 requires a reason, so an unknown status gets one as well.
    """
    if isinstance(status, GivenStatus) and status.reason:
        return f"{status} {status.reason}"
    return f"{status} {PHRASES.get(status) or f'Status {status}'}"
