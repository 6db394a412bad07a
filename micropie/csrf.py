"""The token against cross-site request forgery: a client's secret, which a page's forms send back.

A page of another site can make a browser send a form with its cookies, but it can't read the token. This module makes
and compares tokens; a middleware decides which requests need one.

A client with a session has its token there. One without, who only looks at a form, gets it in a cookie of its own:
nothing is stored for visitors, who would crowd out the sessions of users. That cookie is not signed. An attacker could
get a signed one as any visitor does; what matters is that no other host can plant it, and over https its name begins
with ``__Host-``, with which browsers let no other host set it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final

from micropie.errors import ResponseError
from micropie.http import format_cookie, parse_cookies

if TYPE_CHECKING:
    from micropie.http import Request

# The token's key in the session, the name of the form's field, and that of the cookie.
FIELD: Final = "csrf_token"

_TOKEN = re.compile("[A-Za-z0-9_-]{43}")


def csrf_token(request: Request) -> str:
    """Return the client's token. The first call makes it (256 bits) and stores it in the session or in a cookie.

    Raises ``ResponseError`` if there is none yet and the answer's head has been sent: it could not be stored.
    """
    exchange = request._exchange
    token = _find_token(request)
    if token is not None:
        return token
    token = secrets.token_urlsafe(32)
    session = request.session
    try:
        if session or session.id is not None:
            session[FIELD] = token
        else:
            request.response.headers.add("Set-Cookie", _cookie(request, token))
            exchange.csrf_token = token
    except ResponseError:
        if not exchange.is_head_sent:
            raise
        raise ResponseError(
            "a streamed page asks for the CSRF token after its first chunk, and this client has none yet: "
            "call csrf_token(request), from micropie.csrf, in the handler"
        ) from None
    return token


def is_csrf_token(request: Request, token: object) -> bool:
    """Return whether ``token`` is the client's, compared in constant time. False if the client has none."""
    expected = _find_token(request)
    if expected is None or not isinstance(token, str):
        return False
    # As bytes: compare_digest accepts only ASCII text, and a client may send any.
    return hmac.compare_digest(expected.encode(), token.encode(errors="surrogatepass"))


def deleting_cookie(request: Request) -> str | None:
    """Return the Set-Cookie value that ends a visitor's token, or None if the client has none in a cookie."""
    return None if _token_in_cookie(request) is None else _cookie(request, "")


def _find_token(request: Request) -> str | None:
    session = request.session
    token = session.get(FIELD)
    if isinstance(token, str) and token:
        return token
    # At a log-in a visitor's token ends.
    return request._exchange.csrf_token or (None if session.renewed else _token_in_cookie(request))


def _token_in_cookie(request: Request) -> str | None:
    token = parse_cookies(request._exchange.cookie_header()).get(_cookie_name(request))
    return token if token is not None and _TOKEN.fullmatch(token) else None


def _cookie_name(request: Request) -> str:
    return f"__Host-{FIELD}" if request._exchange.config.sessions.is_secure(request.scheme) else FIELD


def _cookie(request: Request, token: str) -> str:
    name = _cookie_name(request)
    return format_cookie(
        name, token, max_age=None if token else 0, path="/", secure=name.startswith("__Host-"), httponly=True
    )
