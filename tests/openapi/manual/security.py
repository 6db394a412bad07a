"""Who may ask: tokens with scopes, keys in a header, the query and a cookie, roles, sessions, rates."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypedDict

from micropie import (
    App,
    Form,
    HTTPError,
    Redirect,
    Request,
    describe,
    get,
    post,
    requires,
)
from micropie.middleware import BearerAuth, CSRFMiddleware, RateLimit

PASSWORDS = {"ann": "apple pie", "bob": "plum pie"}


@dataclass
class Member:
    name: str
    scopes: list[str] = field(default_factory=list)


class Issued(TypedDict):
    access_token: str
    token_type: Literal["bearer"]


class NotIssued(TypedDict):
    error: str


def token_of(name: str, scopes: list[str]) -> str:
    """A token for the tests: real ones are signed."""
    return base64.urlsafe_b64encode(json.dumps([name, *scopes]).encode()).decode()


def member_of(token: str) -> Member | None:
    try:
        name, *scopes = json.loads(base64.urlsafe_b64decode(token))
    except ValueError:
        return None
    return Member(name, scopes)


auth = BearerAuth(
    member_of, token_url="token", scopes={"me": "See oneself", "items": "See one's items"}
)


def current_member(request: Request) -> Member:
    found: Member = request.state.user
    return found


class Tokens(App):
    """The password flow of OAuth2, and handlers that ask for scopes."""

    @post
    @describe(responses={200: Issued, 400: NotIssued})
    def token(
        self,
        username: Annotated[str, Form()],
        password: Annotated[str, Form()],
        scope: Annotated[str, Form()] = "",
    ) -> tuple[int, object]:
        if PASSWORDS.get(username) != password:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": token_of(username, scope.split()), "token_type": "bearer"}

    @auth
    @get
    def status(self) -> dict[str, str]:
        return {"status": "ok"}

    @auth.with_scopes("me")
    @get
    def me(self, member: Annotated[Member, current_member]) -> Member:
        return member

    @auth.with_scopes("me", "items")
    @get("/me/items")
    def items(self, member: Annotated[Member, current_member]) -> list[dict[str, str]]:
        return [{"owner": member.name}]


class Key:
    """A check for a key at one of the three places."""

    def __init__(self, place: Literal["header", "query", "cookie"], name: str) -> None:
        self.security_scheme = {"type": "apiKey", "in": place, "name": name}

    def __call__(self, request: Request) -> bool:
        given = {"header": request.headers, "query": request.query, "cookie": request.cookies}[
            self.security_scheme["in"]
        ].get(self.security_scheme["name"])
        if given is None:
            raise HTTPError(401, headers={"WWW-Authenticate": "Key"})
        return given == "sesame"


class Keys(App):
    """Keys of an API in a header, the query and a cookie."""

    @requires(Key("header", "X-Key"))
    @get
    def header(self) -> dict[str, str]:
        return {"key": "header"}

    @requires(Key("query", "key"))
    @get
    def query(self) -> dict[str, str]:
        return {"key": "query"}

    @requires(Key("cookie", "key"))
    @get
    def cookie(self) -> dict[str, str]:
        return {"key": "cookie"}


def writer(request: Request) -> bool:
    return request.headers.get("x-role") in ("writer", "editor")


def editor(request: Request) -> bool:
    return request.headers.get("x-role") == "editor"


@requires(writer)
class Guards(App):
    """A guard of the application, and a further one of a handler."""

    def index(self) -> list[str]:
        return ["draft"]

    @requires(editor)
    @post
    def publish(self, title: str) -> tuple[Literal[201], dict[str, str]]:
        return 201, {"title": title}


def logged_in(request: Request) -> Redirect | Literal[True]:
    return "name" in request.session or Redirect("/manual/sessions/door")


class Sessions(App):
    """A log-in by a form, a session, and pages for those who are logged in."""

    def __init__(self) -> None:
        super().__init__()
        self.middlewares.append(CSRFMiddleware())

    @get
    def door(self) -> dict[str, str]:
        return {"please": "log in"}

    @post
    def enter(self, name: Annotated[str, Form()], password: Annotated[str, Form()]) -> Redirect:
        if PASSWORDS.get(name) != password:
            raise HTTPError(403, "The name or the password is wrong.")
        self.request.session.regenerate()
        self.request.session["name"] = name
        return Redirect(self.url_for("me"))

    @requires(logged_in)
    @get
    def me(self) -> dict[str, str]:
        return {"name": self.request.session["name"]}

    @requires(logged_in)
    @post
    @describe(status=204)
    def quit(self) -> tuple[int, None]:
        self.request.session.clear()
        return 204, None


class Rates(App):
    """At most so many requests of a client."""

    @RateLimit(3, per=3600)
    @get
    def rare(self) -> dict[str, str]:
        return {"what": "rare"}
