"""Authentication by the Authorization header: HTTP Basic (RFC 7617) and bearer tokens (RFC 6750).

Under both protocols a repeated header arrives as one value with a comma in it, so it counts as malformed.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from micropie.errors import HTTPError
from micropie.errors import check as check_argument
from micropie.execution.steps import Flow, call, kind_of
from micropie.http.request import Request
from micropie.middleware.base import FlowMiddleware
from micropie.routing.decorators import inline

# Base64 with its padding and no other characters. ``b64decode`` accepts more.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

# RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")

# Characters that need no escape between quotes (RFC 9110, section 5.6.4). ASCII only: other bytes are ambiguous.
_REALM = re.compile(r"[ !#-\[\]-~]+")

# RFC 7617, section 2, forbids these in user names and passwords.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class BasicAuth(FlowMiddleware):
    """Admit users that ``check(user, password)`` accepts, or that a dict of names and passwords holds; else 401.

    ``check`` is ``def`` (in a worker thread under asgi, unless it is ``@inline``) or ``async def``. Its result
    becomes ``request.state.user``; True stands for the user's name, None and False refuse the user. Browsers show
    ``realm``. Use it with https only: each request carries the readable password.
    """

    def __init__(self, check: Callable[[str, str], Any] | Mapping[str, str], *, realm: str = "Please log in") -> None:
        if isinstance(check, Mapping):
            check = _PasswordTable(check)
        check_argument("BasicAuth(check)", callable(check), check, "a function check(user, password), or a dict")
        self._check = check
        self._kind = kind_of(check)
        self._challenge = f'Basic realm="{_checked(realm, "BasicAuth")}", charset="UTF-8"'

    def before(self, request: Request) -> Flow[None]:
        """Authenticate the user. Raises 401."""
        user, password = self._credentials(request.headers.get("authorization", ""))
        result = yield from call(self._kind, self._check, user, password)
        if not result:
            self._refuse("The user name or the password is wrong.")
        request.state.user = user if result is True else result

    def _credentials(self, header: str) -> tuple[str, str]:
        scheme, encoded = _parts(header)
        if scheme != "basic":
            self._refuse("Please log in.")
        try:
            text = b64decode(encoded).decode() if _BASE64.fullmatch(encoded) else ""
        except UnicodeDecodeError:
            text = ""
        user, colon, password = text.partition(":")
        if not colon or _CONTROLS.search(text):
            self._refuse("The Authorization header is malformed.")
        return user, password

    def _refuse(self, message: str) -> NoReturn:
        raise HTTPError(401, message, [("WWW-Authenticate", self._challenge)])


class _PasswordTable:
    """Fixed user names and passwords. An unknown name takes as long to refuse as a wrong password."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        for user, password in passwords.items():
            fine = all(isinstance(text, str) and not _CONTROLS.search(text) for text in (user, password))
            expected = "user names without a colon, and passwords, as text without control characters"
            check_argument("BasicAuth({...})", fine and ":" not in user and bool(password), user, expected)
        # Digests have one length, so that comparing them does not reveal the length of a password.
        self._digests = {user: _digest(password) for user, password in passwords.items()}
        self._unknown = secrets.token_bytes(32)

    @inline
    def __call__(self, user: str, password: str) -> bool:
        return secrets.compare_digest(_digest(password), self._digests.get(user, self._unknown))


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()


class BearerAuth(FlowMiddleware):
    """Admit requests whose token ``check(token)`` accepts (``Authorization: Bearer ...``); others get 401.

    ``check`` is ``def`` (in a worker thread under asgi, unless it is ``@inline``) or ``async def``. Its result
    becomes ``request.state.user``; None and False refuse the request. A malformed header gets 400 (RFC 6750,
    section 3.1). Tokens in the query or in a form are ignored, because they end up in logs. Compare known tokens
    with ``secrets.compare_digest``.
    """

    def __init__(self, check: Callable[[str], Any], *, realm: str = "Please log in") -> None:
        check_argument("BearerAuth(check)", callable(check), check, "a function check(token)")
        self._check = check
        self._kind = kind_of(check)
        self._challenge = f'Bearer realm="{_checked(realm, "BearerAuth")}"'

    def before(self, request: Request) -> Flow[None]:
        """Authenticate the request. Raises 401, and 400 for a malformed header."""
        scheme, token = _parts(request.headers.get("authorization", ""))
        if scheme != "bearer":  # without an error code: RFC 6750, section 3.1
            raise HTTPError(401, "A bearer token is required.", [("WWW-Authenticate", self._challenge)])
        if not _TOKEN.fullmatch(token):
            self._refuse(400, "invalid_request", "The Authorization header is malformed.")
        user = yield from call(self._kind, self._check, token)
        if not user:
            self._refuse(401, "invalid_token", "The token is unknown or has expired.")
        request.state.user = user

    def _refuse(self, status: int, error: str, message: str) -> NoReturn:
        raise HTTPError(status, message, [("WWW-Authenticate", f'{self._challenge}, error="{error}"')])


def _parts(header: str) -> tuple[str, str]:
    """Split the header into the scheme, in lower case, and the rest: RFC 9110, section 11.4."""
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), rest.strip(" ")


def _checked(realm: object, owner: str) -> str:
    fine = isinstance(realm, str) and _REALM.fullmatch(realm) is not None
    check_argument(f"{owner}(realm=...)", fine, realm, 'ASCII text without " and \\')
    return str(realm)
