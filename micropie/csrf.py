"""The token against cross-site request forgery: a secret of the session, which a page's forms send back.

A page of another site can make a browser send a form with the session's cookie, but can't read the token. What asks
for it, and when, is a middleware's business; here is only what the token is.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final

from micropie.errors import ResponseError

if TYPE_CHECKING:
    from micropie.http.request import Request

# The token's key in the session, and the name of the form's field.
FIELD: Final = "csrf_token"


def csrf_token(request: Request) -> str:
    """The token of the client's session, made (256 bits) and stored when it is asked for the first time.

    Raises ``ResponseError`` if it would have to be stored after the answer's head has been sent.
    """
    session = request.session
    token = session.get(FIELD)
    if isinstance(token, str) and token:
        return token
    token = secrets.token_urlsafe(32)
    try:
        session[FIELD] = token
    except ResponseError:
        raise ResponseError(
            "a streamed page asks for the CSRF token after its first chunk, and this session has none yet: "
            "call csrf_token(request), from micropie.csrf, in the handler"
        ) from None
    return token


def is_csrf_token(request: Request, token: object) -> bool:
    """Whether ``token`` is the session's, compared in constant time. False if the session has none; makes none."""
    expected = request.session.get(FIELD)
    if not isinstance(expected, str) or not expected or not isinstance(token, str):
        return False
    # As bytes: compare_digest takes no text beyond ASCII, and a client may send any.
    return hmac.compare_digest(expected.encode(), token.encode(errors="surrogatepass"))
