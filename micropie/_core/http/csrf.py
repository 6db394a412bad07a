"""CSRF tokens, which protect against cross-site request forgery. A token is derived from a secret
that each client has, and the forms of a page send the token back.

A page of another site can make a browser send a form with its cookies, but it can't read the token.
This module makes and compares tokens; ``CSRFMiddleware`` decides which requests need one.

If a client has a session, the secret is stored there. A visitor without a session who only views a
form gets the secret in a separate cookie. So the server stores nothing for such visitors. Sessions
of such visitors could fill the store and push out the sessions of users. The cookie is not signed:
a signature wouldn't protect it, because an attacker can get a signed cookie by visiting the site.
Instead, over https its name begins with ``__Host-``: browsers accept such a cookie only from the
host itself, so no other host can set it.

Each page has a different token: a random salt, followed by the salt's HMAC with the secret as key.
If the token were always the same, it could be guessed character by character from the length of
compressed pages that contain text from the visitor (BREACH). The secret itself is accepted as a
token as well.
"""

from __future__ import annotations

from micropie._core.errors import ResponseError
from micropie._core.http import CSRF_FIELD, Request
from micropie._core.http.headers import format_cookie
from micropie._core.on_demand import pattern

_SECRET = pattern("[A-Za-z0-9_-]{43}")
_SALT_LENGTH = 22  # characters of base64, for 16 bytes


def csrf_token(request: Request) -> str:
    """Return the CSRF token for the page that responds to ``request``.

    Every page gets a different token, and all tokens of a client are accepted.

    The first call for a client creates its secret (256 bits) and stores it in the session or in a
    cookie. Raises ``ResponseError`` if the first call for a page comes after the response has
    started. By then it is too late to store the secret, and to send the headers that keep the page
    out of shared caches.
    """
    import secrets  # imported here, because few requests need it and the import is slow

    exchange = request._exchange
    answer = exchange.answer
    if answer.csrf_salt is None and exchange.is_head_sent:
        raise ResponseError(
            "the CSRF token was first used after the response had started, too late to store its "
            "secret: call csrf_token(request), from micropie.middleware, before the first chunk"
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
    """Return whether ``token`` is one of the client's tokens. Return False if the client has none.

    The comparison takes constant time.
    """
    secret = _find_secret(request)
    if secret is None or not isinstance(token, str):
        return False
    from hmac import compare_digest

    # Compare bytes, because compare_digest refuses non-ASCII strings, and a client may send any
    # string.
    key, sent = secret.encode(), token.encode(errors="surrogatepass")
    return any(
        compare_digest(accepted, sent) for accepted in (key, _masked(key, sent[:_SALT_LENGTH]))
    )


def deleting_cookie(request: Request) -> str | None:
    """Return the Set-Cookie value that deletes the cookie with a visitor's secret, or None if the
    client has no such cookie.
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
    # After a log-in, the secret in the visitor's cookie is no longer valid.
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
