"""The tool ``auth_basic``: log-in by HTTP Basic authentication (RFC 7617)."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from collections.abc import Callable, Mapping
from unicodedata import normalize

from micropie_compat.cherrypy.errors import HTTPError
from micropie_compat.cherrypy.serving import serving

# Longer names and passwords aren't normalized (NFC), because that may take quadratic time.
_MOST_NORMALIZED = 1024


def checkpassword_dict(user_password_dict: Mapping[str, str]) -> Callable[[str, str, str], bool]:
    """Return a function for the option ``checkpassword`` that looks up passwords in a dict."""

    def check(realm: str, user: str, password: str) -> bool:
        known = user_password_dict.get(user)
        return bool(known) and hmac.compare_digest(str(known).encode(), password.encode())

    return check


def basic_auth(
    realm: str,
    checkpassword: Callable[[str, str, str], object],
    debug: bool = False,
    accept_charset: str = "utf-8",
) -> None:
    """Set ``request.login`` to the user's name. Without a valid log-in the client gets a 401; for a
    malformed header, a 400.

    ``checkpassword(realm, user, password)`` returns whether the password is right.
    ``accept_charset``: the encoding of name and password; ISO-8859-1 is tried after it.
    """
    if '"' in realm:
        raise ValueError("the realm of auth_basic can't contain a \"")
    request = serving.request
    scheme, _, encoded = (request.micropie_header("Authorization") or "").partition(" ")
    if scheme.lower() == "basic":
        try:
            given = b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise HTTPError(400, "Bad Request") from None
        user, colon, password = _decoded(given, accept_charset).partition(":")
        if not colon:
            raise HTTPError(400, "Bad Request")
        if checkpassword(realm, user, password):
            request.login = user
            return
    charset = accept_charset.upper()
    stated = "" if charset == "ISO-8859-1" else f', charset="{charset}"'
    serving.response.headers["WWW-Authenticate"] = f'Basic realm="{realm}"{stated}'
    raise HTTPError(401, "You are not authorized to access that resource")


def _decoded(given: bytes, charset: str) -> str:
    try:
        text = given.decode(charset)
    except UnicodeDecodeError:
        text = given.decode("ISO-8859-1")
    return normalize("NFC", text) if len(text) <= _MOST_NORMALIZED else text
