"""The tool ``auth_digest``: log-in by HTTP Digest authentication (RFC 7616) with MD5."""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote
from urllib.request import parse_http_list, parse_keqv_list

from micropie_compat.cherrypy.errors import HTTPError
from micropie_compat.cherrypy.serving import serving
from micropie_compat.results import words

GetHA1: TypeAlias = Callable[[str, str], "str | None"]

_REQUIRED = words("username realm nonce uri response")

# Seconds for which a nonce is accepted. After that the client gets a new one.
_NONCE_LIFE = 600


def H(text: str) -> str:  # noqa: N802 - RFC 7616's name
    """Return the MD5 hash of a string, in hexadecimal digits."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def get_ha1_dict_plain(user_password_dict: Mapping[str, str]) -> GetHA1:
    """Return a function for the option ``get_ha1`` that hashes the passwords in a dict."""

    def get_ha1(realm: str, username: str) -> str | None:
        password = user_password_dict.get(username)
        return None if password is None else H(f"{username}:{realm}:{password}")

    return get_ha1


def get_ha1_dict(user_ha1_dict: Mapping[str, str]) -> GetHA1:
    """Return a function for the option ``get_ha1`` that looks up hashes in a dict. The dict has
    ``H("user:realm:password")`` for each user.
    """
    return lambda realm, username: user_ha1_dict.get(username)


def get_ha1_file_htdigest(filename: str) -> GetHA1:
    """Return a function for the option ``get_ha1`` that, at each call, reads a file written by
    Apache's ``htdigest``.
    """

    def get_ha1(realm: str, username: str) -> str | None:
        for line in Path(filename).read_text(encoding="utf-8").splitlines():
            user, _, rest = line.partition(":")
            stated, _, ha1 = rest.rpartition(":")
            if (user, stated) == (username, realm):
                return ha1
        return None

    return get_ha1


def synthesize_nonce(s: str, key: str, timestamp: int | None = None) -> str:
    """Return a nonce for the realm ``s``, signed with the secret ``key``."""
    moment = int(time.time()) if timestamp is None else timestamp
    return f"{moment}:{H(f'{moment}:{s}:{key}')}"


def www_authenticate(
    realm: str,
    key: str,
    algorithm: str = "MD5",
    nonce: str | None = None,
    qop: str = "auth",
    stale: bool = False,
    accept_charset: str = "UTF-8",
) -> str:
    """Return the value of a WWW-Authenticate header, which makes browsers ask the user for name and
    password.
    """
    nonce = nonce or synthesize_nonce(realm, key)
    header = f'Digest realm="{realm}", nonce="{nonce}", algorithm="{algorithm}", qop="{qop}"'
    if stale:
        header += ', stale="true"'
    if accept_charset.upper() != "ISO-8859-1":
        header += f', charset="{accept_charset.upper()}"'
    return header


class HttpDigestAuthorization:
    """The parameters of an Authorization header.

    Raises ``ValueError`` or ``IndexError`` if it is malformed.
    """

    def __init__(self, auth_header: str, http_method: str, accept_charset: str = "UTF-8") -> None:
        self.http_method = http_method
        text = auth_header.partition(" ")[2]
        with suppress(UnicodeError):
            text = text.encode("latin-1").decode(accept_charset)
        given = parse_keqv_list(parse_http_list(text))
        found = {name.lower(): value for name, value in given.items()}
        if any(not found.get(name) for name in _REQUIRED):
            raise ValueError("a required parameter is missing")
        self.username, self.realm, self.nonce = found["username"], found["realm"], found["nonce"]
        self.uri, self.response = found["uri"], found["response"]
        self.algorithm = found.get("algorithm", "MD5").upper()
        self.qop, self.cnonce, self.nc = found.get("qop"), found.get("cnonce"), found.get("nc")
        if self.algorithm not in ("MD5", "MD5-SESS"):
            raise ValueError(f"the algorithm {self.algorithm!r} is not supported")
        if self.qop not in (None, "auth"):
            raise ValueError(f"the qop {self.qop!r} is not supported")
        if (self.qop is not None) != bool(self.cnonce and self.nc):
            raise ValueError("cnonce and nc must be sent with qop, and can't be sent without it")

    def validate_nonce(self, s: str, key: str) -> bool:
        """Return whether the nonce in the header was made for the realm ``s`` with ``key``."""
        moment, _, _ = self.nonce.partition(":")
        if not moment.isascii() or not moment.isdigit() or len(moment) > 15:
            return False
        return hmac.compare_digest(
            synthesize_nonce(s, key, int(moment)).encode(), self.nonce.encode()
        )

    def is_nonce_stale(self, max_age_seconds: int = _NONCE_LIFE) -> bool:
        """Return whether the header's nonce is older than ``max_age_seconds``. The nonce must be
        valid.
        """
        return int(self.nonce.partition(":")[0]) + max_age_seconds <= int(time.time())

    def request_digest(self, ha1: str) -> str:
        """Return the value of the parameter ``response`` that a client with the correct password
        sends. ``ha1`` is the password's hash.
        """
        if self.algorithm == "MD5-SESS":
            ha1 = H(f"{ha1}:{self.nonce}:{self.cnonce}")
        ha2 = H(f"{self.http_method}:{self.uri}")
        middle = f"{self.nonce}:{self.nc}:{self.cnonce}:{self.qop}" if self.qop else self.nonce
        return H(f"{ha1}:{middle}:{ha2}")


def digest_auth(
    realm: str, get_ha1: GetHA1, key: str, debug: bool = False, accept_charset: str = "utf-8"
) -> None:
    """Set ``request.login`` to the user's name. Without a valid log-in the client gets a 401; for a
    malformed header, a 400.

    ``get_ha1(realm, username)`` returns the hash of a user's password, see ``get_ha1_dict``.
    ``key``: a secret with which the server signs its nonces.
    """
    request = serving.request
    header: str = request.headers.get("Authorization", "")
    is_stale = False
    if header.lower().startswith("digest "):
        try:
            auth = HttpDigestAuthorization(header, request.method, accept_charset)
        except (ValueError, IndexError):
            raise HTTPError(400, "The Authorization header could not be parsed.") from None
        # A log-in for one page must not give access to another (RFC 7616, section 3.4.6).
        path, _, query = auth.uri.partition("?")
        page = request.script_name + request.path_info, request.query_string
        if (
            auth.realm == realm
            and auth.validate_nonce(realm, key)
            and (unquote(path), query) == page
        ):
            ha1 = get_ha1(realm, auth.username)
            if ha1 is not None and hmac.compare_digest(
                auth.request_digest(ha1).encode(), auth.response.encode()
            ):
                if not auth.is_nonce_stale():
                    request.login = auth.username
                    return
                is_stale = True
    serving.response.headers["WWW-Authenticate"] = www_authenticate(
        realm, key, stale=is_stale, accept_charset=accept_charset
    )
    raise HTTPError(401, "You are not authorized to access that resource")
