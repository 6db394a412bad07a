"""The token against cross-site request forgery: a client's secret, which a page's forms send back.

A page of another site can make a browser send a form with its cookies, but it can't read the token.
This module makes and compares tokens; a middleware decides which requests need one.

A client with a session has its secret there. One without, who only looks at a form, gets it in a
cookie of its own: nothing is stored for visitors, who would crowd out the sessions of users. That
cookie is not signed. An attacker could get a signed one as any visitor does. But no other host can
plant the cookie over https: its name begins with ``__Host-`` there, and browsers let no other host
set such a cookie.

A page has the secret in another form each time: a random salt, and the salt's HMAC under the
secret. A token that stays the same could be guessed character by character, by the length of
compressed pages that show a visitor's text (BREACH). The secret itself is accepted as well.
"""

from __future__ import annotations

from typing import Final

from micropie._core.errors import ResponseError
from micropie._core.http import CSRF_FIELD, Request
from micropie._core.http.headers import format_cookie
from micropie._core.on_demand import pattern

_SECRET = pattern("[A-Za-z0-9_-]{43}")
_SALT_LENGTH: Final = 22  # characters, of 16 bytes


def csrf_token(request: Request) -> str:
    """Return the token of the page that ``request`` gets.

    Every page has another one, and all of a client's are accepted.

    The first call for a client makes its secret (256 bits) and stores it in the session or in a
    cookie. Raises ``ResponseError`` if the first call for a page comes after the response has
    started: a new secret could not be stored, and the head has not kept the page out of shared
    caches.
    """
    import secrets  # with what it imports it takes longer than the rest of a small application

    exchange = request._exchange
    answer = exchange.answer
    if answer.csrf_salt is None and exchange.is_head_sent:
        raise ResponseError(
            "a streamed page uses the CSRF token after its first chunk: "
            "call csrf_token(request), from micropie.middleware, in the handler"
        )
    secret = _find_secret(request)
    if secret is None:
        secret = secrets.token_urlsafe(32)
        session = request.session
        if session or session.id is not None:
            session[CSRF_FIELD] = secret
        else:
            request.response.headers.add("Set-Cookie", _cookie(request, secret))
            answer.make_csrf_token(secret, None)
    salt = answer.csrf_salt or secrets.token_urlsafe(16)
    answer.make_csrf_token(None, salt)
    return _masked(secret.encode(), salt.encode()).decode()


def is_csrf_token(request: Request, token: object) -> bool:
    """Return whether ``token`` is one of the client's, compared in constant time.

    False if the client has none.
    """
    secret = _find_secret(request)
    if secret is None or not isinstance(token, str):
        return False
    from hmac import compare_digest

    # As bytes: compare_digest accepts only ASCII text, and a client may send any.
    key, sent = secret.encode(), token.encode(errors="surrogatepass")
    return any(
        compare_digest(accepted, sent) for accepted in (key, _masked(key, sent[:_SALT_LENGTH]))
    )


def deleting_cookie(request: Request) -> str | None:
    """Return the Set-Cookie value that ends a visitor's token, or None if the client has none in a
    cookie.
    """
    return None if _secret_in_cookie(request) is None else _cookie(request, "")


def _masked(secret: bytes, salt: bytes) -> bytes:
    from hmac import digest

    return salt + digest(secret, salt, "sha256").hex().encode()


def _find_secret(request: Request) -> str | None:
    session = request.session
    secret = session.get(CSRF_FIELD)
    if isinstance(secret, str) and secret:
        return secret
    # At a log-in a visitor's token ends.
    return request._exchange.answer.csrf_secret or (
        None if session.renewed else _secret_in_cookie(request)
    )


def _secret_in_cookie(request: Request) -> str | None:
    secret = request._exchange.cookies.get(_cookie_name(request))
    return secret if secret is not None and _SECRET.fullmatch(secret) else None


def _cookie_name(request: Request) -> str:
    return (
        f"__Host-{CSRF_FIELD}"
        if request._exchange.config.sessions.is_secure(request.scheme)
        else CSRF_FIELD
    )


def _cookie(request: Request, secret: str) -> str:
    name = _cookie_name(request)
    partitioned = request._exchange.config.settings.session_cookie_partitioned
    return format_cookie(
        name,
        secret,
        max_age=None if secret else 0,
        path="/",
        secure=name.startswith("__Host-"),
        httponly=True,
        samesite="None" if partitioned else "Lax",
        partitioned=partitioned,
    )
