"""The token against cross-site request forgery: a secret in the session, which a page's forms send back.

A page of another site can make a browser send a form with the session's cookie, but it can't read the token. This
module makes and compares tokens; a middleware decides which requests need one.
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
    """Return the token of the client's session. The first call makes it (256 bits) and stores it in the session.

    Raises ``ResponseError`` if there is none yet and the answer's head has been sent: it could not be stored.
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
    """Return whether ``token`` is the session's, compared in constant time. False if the session has none."""
    expected = request.session.get(FIELD)
    if not isinstance(expected, str) or not expected or not isinstance(token, str):
        return False
    # As bytes: compare_digest accepts only ASCII text, and a client may send any.
    return hmac.compare_digest(expected.encode(), token.encode(errors="surrogatepass"))
