"""Authentication by the Authorization header: HTTP Basic (RFC 7617) and bearer tokens (RFC 6750).

Under WSGI and ASGI, a repeated header arrives as one value with a comma in it, so it counts as
malformed.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import secrets
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import NoReturn

from micropie._core.errors import (
    TEXT,
    HTTPError,
    ResponseError,
    SetupError,
    check_each,
    has_not_run,
    is_generator,
    signature_of,
    takes,
)
from micropie._core.errors import check as check_argument
from micropie._core.execution.steps import HANDLER, Flow, call, kind_of
from micropie._core.http import Request
from micropie._core.routing.decorators import run_in
from micropie.middleware.base import FlowMiddleware, credentials_in

# Base64 with its padding and no other characters. ``b64decode`` accepts more.
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")

# The syntax of a bearer token: RFC 6750, section 2.1.
_TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")

# Characters that need no escape between quotes (RFC 9110, section 5.6.4). ASCII only, because the
# encoding of other characters is ambiguous.
_REALM = re.compile(r"[ !#-\[\]-~]+")

# The syntax of a scheme's name: a token as in RFC 9110, section 11.1.
_SCHEME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# The syntax of a scope's name: RFC 6749, section 3.3.
_SCOPE = re.compile(r"[!#-\[\]-~]+")

# RFC 7617, section 2: a user name without a colon, then a colon, then a password. The name and the
# password have no control characters.
_USER_AND_PASSWORD = re.compile(r"([^\x00-\x1f\x7f:]*):([^\x00-\x1f\x7f]*)")


class _AuthMiddleware(FlowMiddleware):
    # Preflights are rejected, because they never have credentials (Fetch Standard, "CORS protocol
    # and credentials").
    guards = refuses_preflights = True
    needs_session = True  # because ``check`` may read the session
    security_scheme: Mapping[str, object]
    """The security scheme for ``App.openapi``. Custom middleware and access checks may have this
    attribute too.
    """
    scopes: Sequence[str] = ()
    """The scopes that a token must have. ``App.openapi`` uses them too."""

    def __init__(
        self, check: Callable[..., object], count: int, expected: str, realm: str, challenge: str
    ) -> None:
        owner = type(self).__name__
        # true if ``Class.method`` was passed instead of ``instance.method``
        is_method = inspect.isfunction(check) and "self" in signature_of(check).parameters
        if is_method or is_generator(check) or not takes(check, count):
            raise SetupError(
                f"{owner}(check) takes {expected}, not {check!r}. For a method, pass "
                "users.check, where users is an object, not a class. If the check needs a "
                'resource, open it in the function: "with request.resource(Database) as database:"'
            )
        fine = isinstance(realm, str) and _REALM.fullmatch(realm) is not None
        check_argument(f"{owner}(realm=...)", fine, realm, 'ASCII text without " and \\')
        self._check = check
        self._kind = kind_of(check, HANDLER)
        self._challenge = challenge

    def _checked(self, *values: str) -> Flow[object]:
        """Call the check, and return its result.

        Raises ``ResponseError`` if the result counts as true only because the check has a yield.
        """
        result = yield from call(self._kind, self._check, *values)
        if has_not_run(result):
            raise ResponseError(
                f"the check of {type(self).__name__} returned a {type(result).__name__}, so it "
                "has checked nothing: write it without yield"
            )
        return result

    def _refuse(self, message: str, status: int = 401, error: str = "") -> NoReturn:
        challenge = self._challenge
        if self.scopes:
            challenge += f', scope="{" ".join(self.scopes)}"'
        if error:
            challenge += f', error="{error}"'
        raise HTTPError(status, message, [("WWW-Authenticate", challenge)])


class BasicAuth(_AuthMiddleware):
    """Admit users whom ``check(user, password)`` accepts, or who are in a dict of names and
    passwords. Everybody else gets a 401.

    - ``check``: a ``def`` or an ``async def`` function, or the dict. Under ASGI, a ``def`` runs in
      a worker thread unless it has ``@run_in("loop")``. The function's result becomes
      ``request.state.user``. If the result is True, the user's name is stored there. None, False
      and everything else that counts as false, such as an empty list, reject the user.
    - ``realm``: the name that browsers show when they ask for the password.

    Use this with https only, because each request contains the password as plain text.
    """

    security_scheme: Mapping[str, object] = MappingProxyType({"type": "http", "scheme": "basic"})

    def __init__(
        self,
        check: Callable[[str, str], object] | Mapping[str, str],
        *,
        realm: str = "Please log in",
    ) -> None:
        function = _password_check(check) if isinstance(check, Mapping) else check
        challenge = f'Basic realm="{realm}", charset="UTF-8"'
        super().__init__(
            function,
            2,
            "a function check(user, password) without yield, or a dict",
            realm,
            challenge,
        )

    def before(self, request: Request) -> Flow[None]:
        """Authenticate the user, once for each request and ``check``. Raises 401."""
        if request._exchange.user_checked_by is self._check:
            return
        scheme, encoded = credentials_in(request)
        if scheme != "basic":
            self._refuse("Please log in.")
        try:
            text = b64decode(encoded).decode() if _BASE64.fullmatch(encoded) else ""
        except UnicodeDecodeError:
            text = ""
        found = _USER_AND_PASSWORD.fullmatch(text)
        if found is None:
            self._refuse("The Authorization header is malformed.")
        result = yield from self._checked(*found.groups())
        if not result:
            self._refuse("The user name or the password is wrong.")
        request.state.user = found[1] if result is True else result
        request._exchange.set_user_checker(self._check)


def _password_check(passwords: Mapping[str, str]) -> Callable[[str, str], bool]:
    """Return a check of fixed passwords.

    Rejecting an unknown name takes as long as rejecting a wrong password, so the time doesn't
    reveal which names exist.
    """
    for user, password in passwords.items():
        found = _USER_AND_PASSWORD.fullmatch(f"{user}:{password}")
        # Reject a name or a password that can't be sent in a header, such as a name with a colon.
        fine = found is not None and found.groups() == (user, password) and password != ""
        expected = (
            'user names without ":" or control characters, and non-empty passwords without control '
            "characters"
        )
        check_argument("BasicAuth({...})", fine, user, expected)
    # All digests have the same length, so the time of a comparison doesn't reveal a password's
    # length.
    digests = {user: _digest(password) for user, password in passwords.items()}
    unknown = secrets.token_bytes(32)

    @run_in("loop")
    def check(user: str, password: str) -> bool:
        return secrets.compare_digest(_digest(password), digests.get(user, unknown))

    return check


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode()).digest()


class BearerAuth(_AuthMiddleware):
    """Admit requests whose token ``check(token)`` accepts (``Authorization: Bearer ...``). Others
    get a 401.

    - ``check``: a ``def`` or an ``async def`` function. Under ASGI, a ``def`` runs in a worker
      thread unless it has ``@run_in("loop")``. The function's result becomes
      ``request.state.user``; a false result, such as None, rejects the request. Compare known
      tokens with ``secrets.compare_digest``.
    - ``realm``: a name for the site, sent with each 401.
    - ``token_url``: the URL where clients get a token for a name and a password. The OpenAPI
      document then describes OAuth2's password flow (RFC 6749, section 4.3), and Swagger UI asks
      for name and password. A URL without a scheme is relative to the document's server URL.
    - ``scopes``: a dict that maps each scope's name to a sentence that describes what the scope
      allows. The OpenAPI document contains this sentence.
    - ``scheme``: the word to use instead of Bearer, as in ``Authorization: Token ...``.

    A malformed header gets a 400 (RFC 6750, section 3.1). Tokens in the query or in a form are
    ignored, because they end up in logs.
    """

    security_scheme: Mapping[str, object] = MappingProxyType({"type": "http", "scheme": "bearer"})

    def __init__(
        self,
        check: Callable[[str], object],
        *,
        realm: str = "Please log in",
        token_url: str | None = None,
        scopes: Mapping[str, str] = MappingProxyType({}),
        scheme: str = "Bearer",
    ) -> None:
        super().__init__(
            check, 1, "a function check(token) without yield", realm, f'{scheme} realm="{realm}"'
        )
        fine = isinstance(scheme, str) and _SCHEME.fullmatch(scheme) is not None
        check_argument("BearerAuth(scheme=...)", fine, scheme, 'a word such as "Token"')
        self._scheme, self._missing = scheme.lower(), "A bearer token is required."
        if self._scheme != "bearer":
            self._missing = "A token is required."
            if token_url is not None:
                raise SetupError(
                    "BearerAuth(token_url=...) uses OAuth2, whose scheme is always Bearer: leave "
                    "out scheme="
                )
            # OpenAPI's type "http" is only for registered schemes.
            self.security_scheme = MappingProxyType(
                {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": f'"{scheme}", a space and the token',
                }
            )
        check_each("BearerAuth", *TEXT, token_url=token_url)
        are_fine = isinstance(scopes, Mapping) and all(
            isinstance(one, str) and _SCOPE.fullmatch(one) and isinstance(scopes[one], str)
            for one in scopes
        )
        check_argument(
            "BearerAuth(scopes=...)", are_fine, scopes, 'a dict such as {"pies:write": "Bake pies"}'
        )
        self._known_scopes = scopes
        if token_url is not None:
            flow = {"tokenUrl": token_url, "scopes": dict(scopes)}
            self.security_scheme = MappingProxyType({"type": "oauth2", "flows": {"password": flow}})

    def with_scopes(self, *names: str) -> BearerAuth:
        """Return an access check that requires a token with all these scopes. A token that lacks
        one gets a 403::

            auth = BearerAuth(user_of, scopes={"pies:write": "Bake pies"})

            @auth.with_scopes("pies:write")
            def bake(self): ...

        The scopes come from the user that ``check`` returned: from the attribute ``scopes``, or the
        key ``scope`` of a dict, as in the claims of a JWT (RFC 9068). They are a list of names, or
        a string of names separated by spaces. If another access check has called the same ``check``
        for this request, ``check`` isn't called again. Raises ``SetupError`` for a scope that
        ``BearerAuth(scopes=...)`` does not have.
        """
        unknown = [name for name in names if name not in self._known_scopes]
        if unknown or not names:
            known = ", ".join(self._known_scopes) or "none: write BearerAuth(..., scopes={...})"
            raise SetupError(
                f"with_scopes takes one or more scopes of this BearerAuth, not {unknown}; the "
                f"scopes of this BearerAuth are {known}"
            )
        guard = copy(self)
        guard.scopes = [*self.scopes, *names]
        return guard

    def before(self, request: Request) -> Flow[None]:
        """Authenticate the request.

        Raises 401; 403 for a token without the scopes; and 400 for a malformed header.
        """
        if request._exchange.user_checked_by is not self._check:
            scheme, token = credentials_in(request)
            # If the token is missing, the challenge has no error code: RFC 6750, section 3.1.
            if scheme != self._scheme:
                self._refuse(self._missing)
            if not _TOKEN.fullmatch(token):
                self._refuse("The Authorization header is malformed.", 400, "invalid_request")
            user = yield from self._checked(token)
            if not user:
                self._refuse("The token is unknown or has expired.", error="invalid_token")
            request.state.user = user
            request._exchange.set_user_checker(self._check)
        if self.scopes and not _scopes_of(request.state.user).issuperset(self.scopes):
            needed = " ".join(self.scopes)
            self._refuse(f"The token's scope must include {needed}.", 403, "insufficient_scope")


def _scopes_of(user: object) -> frozenset[str]:
    """Return the scopes of a user. Raises ``ResponseError`` if the user has neither the attribute
    ``scopes`` nor the key ``scope``.
    """
    given = user.get("scope", "") if isinstance(user, Mapping) else getattr(user, "scopes", None)
    if given is None:
        raise ResponseError(
            f"with_scopes finds no scopes in the {type(user).__name__} that the check of "
            "BearerAuth returned: return an object with the attribute scopes, or the claims of "
            "a token as a dict"
        )
    return frozenset(given.split() if isinstance(given, str) else given)
