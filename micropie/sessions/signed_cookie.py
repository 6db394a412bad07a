"""Sessions in the cookie itself, signed by itsdangerous."""

from __future__ import annotations

import time

from micropie._core.errors import ResponseError
from micropie._core.http import SessionData
from micropie._core.http.headers import MAX_COOKIE, Secret, Signer
from micropie._core.sessions import SessionBackend, serializer

# How many of a cookie's 4096 bytes are reserved for its name and its attributes, such as a mount's
# path.
_FOR_ATTRIBUTES = 256


class SignedCookieSessionBackend(SessionBackend):
    """Sessions in the client's cookie, without storage on the server. A session may have about 3800
    bytes. Its values must be JSON, and the client can read them.

    ``secret``: a key of at least 32 bytes, or a list of keys. The first key signs, and all keys are
    accepted. To change the key, put a new one in front, and remove the old one when
    ``session_timeout`` has passed.

    The data exists only in the client's cookie. So changes by concurrent requests are not merged,
    and a copied cookie is valid until it expires, even after a log-out. If that matters, use
    another backend.
    """

    blocking = False
    in_cookie = True

    def __init__(self, secret: Secret) -> None:
        self._signer = Signer(secret, "micropie.session", "SignedCookieSessionBackend", serializer)

    def load(self, session_id: str) -> SessionData:
        """Return the data in a cookie's value, or ``{}`` if the value is forged, malformed or
        expired.
        """
        try:
            expires, data = self._signer.load(session_id)
        except ValueError:
            return {}
        return serializer.Stored(data) if expires > time.time() else {}

    def save(self, session_id: str, data: SessionData, timeout: int) -> str:
        """Return the cookie's value.

        Raises ``ResponseError`` if it is too long for browsers to store.
        """
        value = self._signer.dump([int(time.time()) + timeout, data])
        if len(value) > MAX_COOKIE - _FOR_ATTRIBUTES:
            raise ResponseError(
                f"the session takes {len(value)} bytes as a signed cookie, but browsers drop "
                f"cookies over {MAX_COOKIE} bytes, attributes included: store less, or use another "
                "session backend"
            )
        return value
