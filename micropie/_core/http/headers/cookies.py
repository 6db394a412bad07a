"""Read the Cookie header and write Set-Cookie values (RFC 6265).

Reading never raises an error. Writing raises an error for a cookie that browsers would not accept.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NoReturn, TypedDict

from micropie._core.on_demand import pattern

# By RFC 6265, section 4.1.1, a name is a token, and a value has no control characters, white space,
# `"`, `,`, `;` or `\`.
_NAME = pattern(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = pattern(r"[\x21\x23-\x2B\x2D-\x3A\x3C-\x5B\x5D-\x7E]*")
_ATTRIBUTE = pattern(r"[\x20-\x3A\x3C-\x7E]*")

# Browsers store cookies whose name, value and attributes have up to 4096 bytes (RFC 6265, section
# 6.1), and drop longer ones.
MAX_COOKIE = 4096

_MOST_COOKIES = 1000  # browsers store 180 per domain; parsing more would block the event loop

# The blanks that may surround a name (RFC 6265, section 5.2). ``strip()`` would also remove a
# no-break space. That is unsafe: only the host itself can set a cookie ``__Host-id``, but browsers
# accept "\xa0__Host-id" from any host of the domain.
_BLANKS = " \t"

# Browsers accept a cookie whose name has one of these prefixes only if it is Secure. ``__Host-``
# also needs Path=/ and no Domain, so that no other host, for example a subdomain, can set the
# cookie (RFC 6265bis, section 4.1.3).
PREFIXES = ("__Host-", "__Secure-")


class CookieScope(TypedDict, total=False):
    """The attributes with which a cookie is set and deleted; see ``format_cookie``."""

    path: str | None
    domain: str | None
    secure: bool
    httponly: bool
    samesite: str | None
    partitioned: bool


class CookieAttributes(CookieScope, total=False):
    """All attributes of a cookie."""

    max_age: int | timedelta | None
    expires: datetime | None


class SentCookies(dict[str, str]):
    """The cookies that a client sent. Changing a cookie here would have no effect, so it raises
    ``TypeError``.
    """

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError(
            "request.cookies is read-only, because the client sent it: write "
            "response.set_cookie(name, value) or response.delete_cookie(name)"
        )

    __setitem__ = __delitem__ = __ior__ = setdefault = update = _refuse
    clear = pop = popitem = _refuse

    def __reduce__(self) -> tuple[type[dict[str, str]], tuple[dict[str, str]]]:
        return dict, (dict(self),)  # a copy or an unpickled object is a plain dict


# In a quoted value, an octal number or a character after a backslash.
_ESCAPE = pattern(r"\\(?:([0-3][0-7][0-7])|(.))")


def parse_cookies(header: str, encoding: str = "utf-8") -> dict[str, str]:
    """Parse a Cookie header, decoded as latin-1, into name -> value.

    The first value of a name wins. A piece without a name is ignored, and so are cookies beyond
    ``_MOST_COOKIES``. Scripts store text as UTF-8 (``document.cookie``), so names and values are
    decoded as UTF-8. If they are not valid UTF-8, they stay latin-1. In quotes, ``\\054`` is a
    comma, as Python's ``http.cookies`` writes it for other frameworks. ``encoding`` is that of
    these escapes: ``http.cookies`` writes "latin-1", and Werkzeug UTF-8.

    This never raises an error, because browsers also send cookies that other hosts have set, and a
    broken cookie must not lock a user out.
    """
    cookies: dict[str, str] = {}
    is_usual = header.isascii() and '"' not in header
    for piece in header.split(";", _MOST_COOKIES)[:_MOST_COOKIES]:
        name, equals, value = piece.partition("=")
        name, value = name.strip(_BLANKS), value.strip(_BLANKS)
        if not is_usual:
            name, value = _decoded(name), _unquoted(_decoded(value), encoding)
        if equals and name and name not in cookies:
            cookies[name] = value
    return cookies


def _unquoted(value: str, encoding: str) -> str:
    """Return the value of a cookie without its quotes and escapes."""
    if value[:1] == '"' and value[-1:] == '"' and len(value) > 1:
        value = value[1:-1]
        if "\\" in value:
            # an octal number or a character stands behind the backslash
            value = _ESCAPE.sub(lambda at: chr(int(at[1], 8)) if at[1] else at[2], value)
            value = _decoded(value, encoding)
    return value


def _decoded(text: str, encoding: str = "utf-8") -> str:
    try:
        return text.encode("latin-1").decode(encoding)
    except UnicodeError:
        return text


def is_cookie_name(name: object) -> bool:
    """Return whether ``name`` can be the name of a cookie."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def without_prefix(name: str) -> str:
    """Return a cookie's name without the prefix ``__Host-`` or ``__Secure-``. A name without a
    prefix is returned as the same object.
    """
    for prefix in PREFIXES:
        name = name.removeprefix(prefix)
    return name


def seconds_of(duration: float | timedelta) -> float:
    """Return a duration in seconds, in which it may be given already."""
    return duration.total_seconds() if isinstance(duration, timedelta) else duration


def format_cookie(
    name: str,
    value: str,
    *,
    max_age: int | timedelta | None = None,
    expires: datetime | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = False,
    samesite: str | None = "Lax",
    partitioned: bool = False,
) -> str:
    """Return the value of a Set-Cookie header. ``Response.set_cookie`` explains the attributes and
    the errors.
    """
    if not isinstance(value, str):
        raise ValueError(
            f"the value of cookie {name!r} must be a str, not {value!r}: write str(...) for a "
            "number, urllib.parse.quote(json.dumps(...)) for a list or dict"
        )
    if not _VALUE.fullmatch(value):
        raise ValueError(
            f"the value of cookie {name!r} has a character that cookies can't contain: "
            "percent-encode it"
        )
    cookie = f"{name}={value}"
    if max_age is not None:
        seconds = max_age if max_age.__class__ is int else seconds_of(max_age)
        if type(seconds) is not int and type(seconds) is not float:
            raise ValueError(f"max_age must be a number of seconds or a timedelta, not {max_age!r}")
        # Less than a second is rounded up, because browsers delete a cookie with 0.
        cookie += f"; Max-Age={int(seconds) or int(seconds > 0)}"
    if expires is not None:
        if not isinstance(expires, datetime):
            raise ValueError(
                f"expires must be a datetime, not {expires!r}: for seconds, write max_age"
            )
        # Don't use strftime, because the names of days and months must not depend on the locale.
        aware = expires if expires.tzinfo else expires.replace(tzinfo=UTC)
        from email.utils import format_datetime

        cookie += f"; Expires={format_datetime(aware.astimezone(UTC), usegmt=True)}"
    cookie += _attributes_of(name, path, domain, secure, httponly, samesite, partitioned)
    if len(cookie) > MAX_COOKIE:
        raise ValueError(
            f"cookie {name!r} has {len(cookie)} bytes, but browsers drop cookies over {MAX_COOKIE}"
        )
    return cookie


@lru_cache(maxsize=16)  # an application sets few different cookies, each with many values
def _attributes_of(
    name: str,
    path: str | None,
    domain: str | None,
    secure: bool,
    httponly: bool,
    samesite: str | None,
    partitioned: bool,
) -> str:
    """Return a cookie's attributes as header text, except Max-Age and Expires.

    Raises ``ValueError`` for an attribute that a header can't contain, and for a name that browsers
    would not accept with these attributes.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"a cookie can't be named {name!r}: use letters, digits and !#$%&'*+-.^_`|~"
        )
    rule = None if samesite is None else samesite.capitalize()
    if rule not in ("Lax", "Strict", "None", None):
        raise ValueError(
            f"samesite of cookie {name!r} must be 'Lax', 'Strict', 'None' or None, not {samesite!r}"
        )
    for reason, needs_secure in (
        ("its name", name.startswith(PREFIXES)),
        ("partitioned=True", partitioned),
        ("SameSite=None", rule == "None"),
    ):
        if needs_secure and not secure:
            raise ValueError(
                f"cookie {name!r} needs secure=True because of {reason}: otherwise, browsers "
                "refuse it"
            )
    if name.startswith("__Host-") and (path != "/" or domain is not None):
        raise ValueError(
            f"cookie {name!r} must have path='/' and no domain: otherwise, browsers refuse it, "
            "because its name begins with __Host-"
        )
    attributes = ""
    for attribute, text in (("Domain", domain), ("Path", path)):
        if text is not None:
            if not _ATTRIBUTE.fullmatch(text):
                raise ValueError(
                    f"{attribute} of cookie {name!r} has a character that headers can't "
                    f"contain: {text!r}"
                )
            attributes += f"; {attribute}={text}"
    for attribute, is_set in (
        ("Secure", secure),
        ("HttpOnly", httponly),
        ("Partitioned", partitioned),
        (f"SameSite={rule}", rule),
    ):
        attributes += f"; {attribute}" if is_set else ""
    return attributes
