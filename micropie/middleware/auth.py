"""Who is asking, by the Authorization header: HTTP Basic (RFC 7617) and bearer tokens (RFC 6750).

A header that came twice is one value with a comma in it, under both protocols, and so it is malformed.
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

# With its padding, and nothing else in it: ``b64decode`` bears more.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

# RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")

# What may stand between quotes as it is (RFC 9110, section 5.6.4), in ASCII: other bytes have no agreed meaning.
_REALM = re.compile(r"[ !#-\[\]-~]+")

# RFC 7617, section 2: neither in user names nor in passwords.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")


class BasicAuth(FlowMiddleware):
    """Lets in whom ``check(user, password)`` knows, or a dict of user names and passwords; others get 401.

    ``check`` is ``def`` (in a worker thread under asgi, unless it is ``@inline``) or ``async def``. What it returns
    is ``request.state.user``, the user's name if that is True; None and False let nobody in. ``realm`` is what the
    browser shows. The password comes with every request, readable: for https only.
    """

    def __init__(self, check: Callable[[str, str], Any] | Mapping[str, str], *, realm: str = "Please log in") -> None:
        if isinstance(check, Mapping):
            check = _Known(check)
        check_argument("BasicAuth(check)", callable(check), check, "a function check(user, password), or a dict")
        self._check = check
        self._kind = kind_of(check)
        self._challenge = f'Basic realm="{_checked(realm, "BasicAuth")}", charset="UTF-8"'

    def before(self, request: Request) -> Flow[None]:
        """Ask who it is. Raises 401."""
        user, password = self._credentials(request.headers.get("authorization", ""))
        found = yield from call(self._kind, self._check, user, password)
        if not found:
            self._refuse("The user name or the password is wrong.")
        request.state.user = user if found is True else found

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


class _Known:
    """User names and passwords that are written down. Unknown ones take as long as those that are wrong."""

    def __init__(self, passwords: Mapping[str, str]) -> None:
        for user, password in passwords.items():
            fine = all(isinstance(text, str) and not _CONTROLS.search(text) for text in (user, password))
            expected = "user names without a colon, and passwords, as text without control characters"
            check_argument("BasicAuth({...})", fine and ":" not in user and bool(password), user, expected)
        # Digests are of one length, so that comparing them does not tell how long a password is.
        self._digests = {user: _digest(password) for user, password in passwords.items()}
        self._nobody = secrets.token_bytes(32)

    @inline
    def __call__(self, user: str, password: str) -> bool:
        return secrets.compare_digest(_digest(password), self._digests.get(user, self._nobody))


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()


class BearerAuth(FlowMiddleware):
    """Lets in who brings a token that ``check(token)`` knows: ``Authorization: Bearer ...``; others get 401.

    ``check`` is ``def`` (in a worker thread under asgi, unless it is ``@inline``) or ``async def``. What it returns
    is ``request.state.user``; None and False let nobody in. A malformed header is 400, as RFC 6750, section 3.1, has
    it. Tokens in the query or a form are not looked for: they end up in logs. Compare those you know with
    ``secrets.compare_digest``.
    """

    def __init__(self, check: Callable[[str], Any], *, realm: str = "Please log in") -> None:
        check_argument("BearerAuth(check)", callable(check), check, "a function check(token)")
        self._check = check
        self._kind = kind_of(check)
        self._challenge = f'Bearer realm="{_checked(realm, "BearerAuth")}"'

    def before(self, request: Request) -> Flow[None]:
        """Ask who it is. Raises 401, and 400 for a malformed header."""
        scheme, token = _parts(request.headers.get("authorization", ""))
        if scheme != "bearer":  # no error code then: RFC 6750, section 3.1
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
    """The scheme in lower case, and what follows it: RFC 9110, section 11.4."""
    scheme, _, rest = header.partition(" ")
    return scheme.lower(), rest.strip(" ")


def _checked(realm: object, owner: str) -> str:
    fine = isinstance(realm, str) and _REALM.fullmatch(realm) is not None
    check_argument(f"{owner}(realm=...)", fine, realm, 'ASCII text without " and \\')
    return str(realm)
