"""Sessions in the cookie itself, signed by itsdangerous, an optional dependency that only this module imports."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from micropie.errors import ResponseError, SetupError
from micropie.http.cookies import MAX_COOKIE
from micropie.sessions import serializer
from micropie.sessions.backend import SessionBackend

try:
    import itsdangerous
except ImportError:  # pragma: no cover - the tests set it to None
    itsdangerous = None  # type: ignore[assignment]

SHORTEST_SECRET = 32  # bytes: as many as HMAC-SHA256 gives, RFC 2104, section 3

# Bytes of a cookie's 4096 that are left for its name and its attributes, such as a mount's path.
_FOR_ATTRIBUTES = 256


class SignedCookieSessionBackend(SessionBackend):
    """Sessions in the client's cookie: no storage on the server, up to about 3800 bytes, readable by the client.

    ``secret`` is one key of 32 bytes or more, or a list of keys. The first one signs, all of them are accepted: to
    change keys, put a new one in front and remove the old one when ``session_timeout`` has passed. JSON only.

    Only the client has the data, so concurrent requests are not merged, and a copied cookie is valid until it expires,
    even after a log-out. Use another backend where that matters.
    """

    blocking = False
    in_cookie = True

    def __init__(self, secret: str | bytes | Sequence[str | bytes]) -> None:
        if itsdangerous is None:
            raise SetupError('SignedCookieSessionBackend needs itsdangerous: pip install "micropie-dual[itsdangerous]"')
        keys: list[Any] = [secret] if isinstance(secret, str | bytes) else list(secret)
        if not keys or not all(isinstance(key, str | bytes) for key in keys):
            raise SetupError("SignedCookieSessionBackend takes a secret (text or bytes) or a list of them")
        if any(len(key.encode() if isinstance(key, str) else key) < SHORTEST_SECRET for key in keys):
            raise SetupError(
                f"a secret has {SHORTEST_SECRET} bytes or more, which nobody can guess: make one with "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        self._serializer: Any = itsdangerous.URLSafeSerializer(
            keys[::-1],  # itsdangerous signs with the last one
            salt="micropie.session",
            serializer=serializer,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def load(self, session_id: str) -> dict[str, object]:
        """Return the data in a cookie's value, or ``{}`` if the value is forged, broken or expired."""
        try:
            expires, data = self._serializer.loads(session_id)
            # base64 has several spellings of the same bytes, and Python's decoder skips unknown characters.
            tail = session_id.rpartition(".")[2]
            is_ours = itsdangerous.encoding.base64_encode(itsdangerous.encoding.base64_decode(tail)).decode() == tail
        except (itsdangerous.BadData, ValueError):
            return {}
        return data if is_ours and expires > time.time() else {}

    def save(self, session_id: str, data: dict[str, object], timeout: int) -> str:
        """Return the cookie's value. Raises ``ResponseError`` if it is so long that browsers would drop it."""
        value = str(self._serializer.dumps([int(time.time()) + timeout, data]))
        if len(value) > MAX_COOKIE - _FOR_ATTRIBUTES:
            raise ResponseError(
                f"the session has {len(value)} bytes as a signed cookie, and browsers drop cookies over {MAX_COOKIE}: "
                "store less, or use another session backend"
            )
        return value
