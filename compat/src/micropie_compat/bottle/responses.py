"""``response``, ``HTTPResponse`` and ``HTTPError``: the status, headers, cookies and body of a
response.
"""

from __future__ import annotations

import calendar
import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from email.utils import formatdate, mktime_tz, parsedate_tz
from http.client import responses
from http.cookies import CookieError, SimpleCookie
from time import struct_time
from typing import Any, ClassVar, TypeVar

from micropie import HTTPError as NativeError
from micropie import Redirect
from micropie_compat.bottle.cookies import Digest, cookie_encode
from micropie_compat.bottle.dicts import HeaderDict, header_name, header_value
from micropie_compat.bottle.properties import HeaderProperty
from micropie_compat.bottle.state import BottleException, current_exchange, is_native, outside
from micropie_compat.results import close_if_closable, words

HTTP_CODES: dict[int, str] = {**responses, 418: "I'm a teapot"}
STATUS_LINES: dict[int, str] = {code: f"{code} {reason}" for code, reason in HTTP_CODES.items()}
"""Bottle's ``_HTTP_STATUS_LINES``, in which programs set their own."""

HTML = "text/html; charset=UTF-8"

# The maximum size in bytes of a cookie's name and value together. Browsers store up to 4096 bytes,
# including the attributes.
_LONGEST_COOKIE = 3800

Copied = TypeVar("Copied", bound="BaseResponse")


def http_date(value: str | float | date | struct_time | tuple[int, ...]) -> str:
    """Return a time as a string in the format of HTTP headers.

    ``value``: seconds since 1970, a datetime (UTC if naive), a date, a time tuple, or a string,
    which is returned unchanged.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        value = value.utctimetuple()
    elif isinstance(value, date):
        value = value.timetuple()
    return formatdate(
        value if isinstance(value, int | float) else calendar.timegm(value), usegmt=True
    )


def parse_date(text: str) -> int | None:
    """Return a header's date as seconds since 1970, or None if it is malformed."""
    parsed = parsedate_tz(text)
    try:
        return None if parsed is None else mktime_tz((*parsed[:9], parsed[9] or 0))
    except (ValueError, OverflowError):
        return None


class BaseResponse:
    """The status, headers, cookies and body of a response. ``response[name]`` reads and sets
    headers.
    """

    default_status = 200
    default_content_type = HTML

    # The headers that are removed from a response with each of these statuses (RFC 9110, sections
    # 15.3.5 and 15.4.5).
    bad_headers: ClassVar[dict[int, frozenset[str]]] = {
        204: frozenset({"Content-Type", "Content-Length"}),
        304: frozenset(
            words(
                "Allow Content-Encoding Content-Language Content-Length Content-Md5 "
                "Content-Range Content-Type Last-Modified"
            )
        ),
    }

    body: Any = ""
    _headers: dict[str, list[str]]
    _cookies: SimpleCookie | None = None
    _status_code: int = 200
    _status_line: str = "200 OK"

    def __init__(
        self,
        body: object = "",
        status: int | str | None = None,
        headers: dict[str, Any] | Iterable[tuple[str, object]] | None = None,
        **more_headers: object,
    ) -> None:
        self._headers = {}
        self.body = body
        self.status = status or self.default_status
        pairs = headers.items() if isinstance(headers, dict) else headers or ()
        for name, value in [*pairs, *more_headers.items()]:
            self.add_header(name, value)

    def copy(self, cls: type[Copied] | None = None) -> Copied:
        """Return a response of the class ``cls`` (by default ``BaseResponse``) with the same
        status, headers and cookies.
        """
        copied: Any = (cls or BaseResponse)()
        copied._status_code, copied._status_line = self._status_code, self._status_line
        copied._headers = {name: list(values) for name, values in self._headers.items()}
        if self._cookies:
            copied._cookies = cookies = SimpleCookie()
            for name, morsel in self._cookies.items():
                cookies[name] = morsel.value
                cookies[name].update(morsel)
        result: Copied = copied
        return result

    def __iter__(self) -> Iterator[Any]:
        return iter(self.body)

    def close(self) -> None:
        """Call the body's ``close`` method, if it has one."""
        close_if_closable(self.body)

    @property
    def status_line(self) -> str:
        """The status with its reason: ``"404 Not Found"``."""
        return self._status_line

    @property
    def status_code(self) -> int:
        """The status as a number."""
        return self._status_code

    @property
    def status(self) -> str:
        """The same as ``status_line``; may be set to a number, or to a string with a reason: ``"404
        Brain not found"``.
        """
        return self._status_line

    @status.setter
    def status(self, status: int | str) -> None:
        if isinstance(status, int):
            code, line = int(status), STATUS_LINES.get(status) or f"{int(status)} Unknown"
        else:
            line = header_value(status).strip()
            number, _, reason = line.partition(" ")
            if not reason:
                raise ValueError(
                    f"a status line needs a reason, such as '404 Not Found', not {status!r}"
                )
            code = int(number)
        if not 100 <= code <= 999:
            raise ValueError(f"a status must be a number from 100 to 999, not {code}")
        self._status_code, self._status_line = code, line

    @property
    def headers(self) -> HeaderDict:
        """The headers as a dictionary. Changing it changes the response."""
        view = HeaderDict.__new__(HeaderDict)
        view.dict = self._headers
        return view

    def __contains__(self, name: str) -> bool:
        return name in self.headers

    def __getitem__(self, name: str) -> str:
        return str(self.headers[name])

    def __setitem__(self, name: str, value: object) -> None:
        self._headers[header_name(name)] = [header_value(value)]

    def __delitem__(self, name: str) -> None:
        del self.headers[name]

    def get_header(self, name: str, default: object = None) -> Any:
        """Return a header's value, or ``default``. If there are several values, return the last."""
        return self.headers.get(name, default)

    def set_header(self, name: str, value: object) -> None:
        """Set a header, replacing all headers of the same name."""
        self[name] = value

    def add_header(self, name: str, value: object) -> None:
        """Add a header without removing others of the same name."""
        self._headers.setdefault(header_name(name), []).append(header_value(value))

    def iter_headers(self) -> list[tuple[str, str]]:
        """Return ``headerlist``. Exists because programs call it."""
        return self.headerlist

    @property
    def headerlist(self) -> list[tuple[str, str]]:
        """The headers to send as (name, value), including Set-Cookie. Values are encoded as UTF-8
        and decoded as latin-1, as WSGI requires.
        """
        headers = self._headers
        pairs = [
            (name, value if value.isascii() else _latin1(value))
            for name, values in headers.items()
            for value in values
        ]
        if "Content-Type" not in headers:
            pairs.append(("Content-Type", self.default_content_type))
        unfit = self.bad_headers.get(self._status_code)
        if unfit is not None:
            pairs = [pair for pair in pairs if pair[0] not in unfit]
        if self._cookies:
            pairs += [
                ("Set-Cookie", _latin1(header_value(m.OutputString())))
                for m in self._cookies.values()
            ]
        return pairs

    content_type = HeaderProperty("Content-Type")
    content_length = HeaderProperty("Content-Length", reader=int, default=-1)
    expires = HeaderProperty(
        "Expires",
        reader=lambda text: datetime.fromtimestamp(parse_date(text) or 0, UTC),
        writer=http_date,
    )

    @property
    def charset(self) -> str:
        """The charset in the Content-Type header, by default UTF-8. Strings in a body are encoded
        in this charset.
        """
        values = self._headers.get("Content-Type")
        if values is None or "charset=" not in values[-1]:
            return "UTF-8"
        return values[-1].partition("charset=")[2].partition(";")[0].strip()

    def set_cookie(
        self,
        name: str,
        value: object,
        secret: str | bytes | None = None,
        digestmod: Digest = hashlib.sha256,
        **options: object,
    ) -> None:
        """Set a cookie. With ``secret`` it is signed, and its value may also be a number, a date, a
        list, a dictionary or another plain value.

        ``options``:
        - ``max_age``: seconds or a timedelta
        - ``expires``: see ``http_date``
        - ``samesite``: "lax", "strict" or "none"
        - ``path``, ``domain``, ``secure``, ``httponly``

        Raises ``TypeError`` if the value isn't a string and no secret is given, ``ValueError`` if
        the cookie is too long, ``CookieError`` for invalid characters or options.
        """
        if secret:
            value = cookie_encode([name, value], secret, digestmod).decode()
        elif not isinstance(value, str):
            raise TypeError(
                f"the value of cookie {name!r} must be a str unless secret=... is given"
            )
        if len(name) + len(value) > _LONGEST_COOKIE:
            raise ValueError(
                f"the cookie {name!r} is too long: its name and value may have "
                f"{_LONGEST_COOKIE} characters in all"
            )
        if self._cookies is None:
            self._cookies = SimpleCookie()
        self._cookies[name] = value
        morsel = self._cookies[name]
        for option, setting in options.items():
            key = option.lower().replace("_", "").replace("-", "")
            if key not in ("secure", "httponly") or setting:
                morsel["max-age" if key == "maxage" else key] = _cookie_attribute(key, setting)

    def delete_cookie(self, key: str, **kwargs: Any) -> None:
        """Delete a cookie. Pass the ``path`` and ``domain`` with which it was set."""
        self.set_cookie(key, "", **{**kwargs, "max_age": -1, "expires": 0})

    def __repr__(self) -> str:
        return "".join(f"{name}: {value}\n" for name, value in self.headerlist)


def _cookie_attribute(key: str, setting: Any) -> object:
    if key == "expires":
        return http_date(setting)
    if key == "maxage" and isinstance(setting, timedelta):
        return int(setting.total_seconds())
    if key == "samesite":
        rule = (setting or "none").lower()
        if rule not in ("lax", "strict", "none"):
            raise CookieError(f"samesite must be 'lax', 'strict' or 'none', not {setting!r}")
        return rule
    return setting


def _latin1(value: str) -> str:
    return value.encode().decode("latin-1")


class _OfCurrent:
    """An attribute that reads and sets the same attribute of the current request's response."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, owner: object, kind: object) -> Any:
        return getattr(_current(), self._name)

    def __set__(self, owner: object, value: object) -> None:
        setattr(_current(), self._name, value)


class LocalResponse(BaseResponse):
    """``bottle.response``: a proxy for the current request's response."""

    def __init__(self) -> None:
        self.bind()

    def bind(self, *args: Any, **more: Any) -> None:
        """Replace the current response with a new one. This also works outside of requests, for
        example in a test that calls a handler.
        """
        exchange = current_exchange()
        if exchange is None:
            outside.response = BaseResponse(*args, **more)
        else:
            exchange.response = BaseResponse(*args, **more)

    @property
    def default_content_type(self) -> str:
        """The Content-Type of all responses that set none. As in Bottle, setting it affects later
        requests, too.
        """
        return BaseResponse.default_content_type

    @default_content_type.setter
    def default_content_type(self, content_type: str) -> None:
        BaseResponse.default_content_type = content_type

    body: Any = _OfCurrent("body")
    _headers: Any = _OfCurrent("_headers")
    _cookies: Any = _OfCurrent("_cookies")
    _status_code: Any = _OfCurrent("_status_code")
    _status_line: Any = _OfCurrent("_status_line")


def _current() -> Any:
    exchange = current_exchange()
    if exchange is not None:
        return exchange._response or exchange.response
    if is_native():
        raise RuntimeError(
            "bottle.response is only for Bottle's handlers. In a native handler, and in "
            "functions that it calls, use micropie.request.response (.headers[...], .status, "
            ".set_cookie(...))"
        )
    try:
        return outside.response
    except AttributeError:
        raise RuntimeError(
            "Request context not initialized: use bottle.response in handlers, hooks and plugins"
        ) from None


Response = BaseResponse
response = LocalResponse()


class HTTPResponse(BaseResponse, BottleException):
    """A response that a handler returns or raises.

    It replaces everything set on ``response``, and no error handler is called for it.
    """

    is_foreign = True

    def apply(self, other: BaseResponse) -> None:
        """Set the status, headers, cookies and body of ``other`` to those of this response."""
        other._status_code, other._status_line = self._status_code, self._status_line
        other._headers, other._cookies, other.body = self._headers, self._cookies, self.body

    def as_native(self, in_socket: bool = False) -> Exception:
        """Return this exception, for Bottle's ``@error`` handlers. If it rejects a WebSocket,
        return micropie's error with the same status.
        """
        if not in_socket:
            return self
        status, location = self.status_code, self.get_header("Location")
        if location is not None and 300 <= status <= 399:
            redirect = Redirect(location, allow_external=True, allow_http=True)
            redirect.status = status
            return redirect
        text = self.body if isinstance(self.body, str) else ""
        kept = [pair for pair in self.headerlist if not pair[0].startswith("Content-")]
        return NativeError(status if 400 <= status <= 599 else 403, text, kept)


class HTTPError(HTTPResponse):
    """A response for which the ``@error`` handler of its status is called. The default status is
    500.
    """

    default_status = 500

    def __init__(
        self,
        status: int | str | None = None,
        body: object = None,
        exception: object = None,
        traceback: str | None = None,
        **more_headers: Any,
    ) -> None:
        self.exception = exception
        self.traceback = traceback
        super().__init__(body, status, **more_headers)
