import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

import jwt
from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

from micropie import App, Form, Response, describe, get, post
from micropie.middleware import BearerAuth, RateLimit

KEY = os.environ.get("TOKEN_KEY", "only for development, 32 bytes or more")
LIFETIME = timedelta(minutes=15)
SCOPES = {"pies:read": "See the pies", "pies:write": "Bake pies"}


@dataclass
class User:
    name: str
    scopes: frozenset[str]


@dataclass
class Token:
    access_token: str
    token_type: str
    expires_in: int
    scope: str


@dataclass
class TokenError:
    error: str


# -- passwords

hasher = PasswordHasher()
NOBODY = hasher.hash("the hash that is checked for a name that nobody has")
ACCOUNTS = {  # in your application, this is a table of the database
    "ann": (hasher.hash("apple pie"), {"pies:read", "pies:write"}),
    "bob": (hasher.hash("cherry pie"), {"pies:read"}),
}


def authenticated(name: str, password: str) -> User | None:
    password_hash, scopes = ACCOUNTS.get(name, (NOBODY, set()))
    try:
        hasher.verify(password_hash, password)
    except VerificationError:
        return None
    return User(name, frozenset(scopes))


# -- tokens


def token_for(user: User) -> str:
    claims = {
        "sub": user.name,
        "scope": " ".join(sorted(user.scopes)),
        "exp": datetime.now(UTC) + LIFETIME,
    }
    return jwt.encode(claims, KEY, "HS256")


def user_of(token: str) -> User | None:
    try:
        claims = jwt.decode(token, KEY, ["HS256"], options={"require": ["sub", "exp"]})
    except jwt.InvalidTokenError:
        return None
    return User(claims["sub"], frozenset(claims["scope"].split()))


auth = BearerAuth(user_of, token_url="token", scopes=SCOPES)


# -- the API


class Pies(App):
    def __init__(self, **settings):
        super().__init__(errors="json", docs=True, **settings)
        self._pies = ["apple"]

    @RateLimit(20, per=60)
    @post
    @describe(responses={200: Token, 400: TokenError})
    def token(
        self,
        grant_type: Annotated[str, Form()] = "",
        username: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        scope: Annotated[str, Form()] = "",
    ):
        """Return a token for a name and a password."""
        headers = {"Cache-Control": "no-store"}
        if grant_type != "password":
            return 400, TokenError("unsupported_grant_type"), headers
        user = authenticated(username, password)
        if user is None:
            return 400, TokenError("invalid_grant"), headers
        user.scopes &= frozenset(scope.split()) or user.scopes
        token = Token(
            token_for(user), "Bearer", int(LIFETIME.total_seconds()), " ".join(sorted(user.scopes))
        )
        return 200, token, headers

    @auth
    @get
    def me(self) -> str:
        """Return the name of the token's owner."""
        return self.request.state.user.name

    @auth.with_scopes("pies:read")
    @get("/pies")
    def pies(self) -> list[str]:
        """List the pies."""
        return self._pies

    @auth.with_scopes("pies:write")
    @post("/pies")
    @describe(status=201)
    def bake(self, name: str) -> str:
        """Bake a pie."""
        self._pies.append(name)
        return Response(name, status=201)


app = Pies(text="plain")
