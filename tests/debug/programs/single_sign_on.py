"""Single sign-on: pages of a log-in at a provider, its callback, and who is logged in."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Annotated, Any, Protocol
from urllib.parse import urlencode

import httpx

from micropie import App, HTTPError, Redirect, Request, get, post, requires, template
from micropie.middleware import SecurityDefaults
from micropie.sessions import SignedCookieSessionBackend

PROVIDER = "https://id.example.com"
CLIENT = "shop"


class Fetch(Protocol):
    def __call__(self, code: str, verifier: str) -> dict[str, Any]: ...


def fetch_claims(code: str, verifier: str) -> dict[str, Any]:
    form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
    answer = httpx.post(f"{PROVIDER}/token", data={**form, "client_id": CLIENT}, timeout=10)
    claims: dict[str, Any] = answer.raise_for_status().json()["claims"]
    return claims


def logged_in(request: Request) -> bool | Redirect:
    return "user" in request.session or Redirect(request.url_for("/sso.login", back=request.path))


def user_of(request: Request) -> str:
    return str(request.session["user"]["name"])


class SignOn(App):
    def __init__(self, fetch: Fetch = fetch_claims) -> None:
        super().__init__()
        self._fetch = fetch

    @get
    def login(self, back: str = "/") -> Redirect:
        state, verifier = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
        self.request.session["login"] = {"state": state, "verifier": verifier, "back": back}
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        query = urlencode(
            {
                "client_id": CLIENT,
                "response_type": "code",
                "state": state,
                "code_challenge": challenge.decode().rstrip("="),
                "redirect_uri": self.absolute_url_for("callback"),
            }
        )
        return Redirect(f"{PROVIDER}/authorize?{query}", allow_external=True)

    @get
    def callback(self, state: str, code: str = "", error: str = "") -> Redirect:
        begun = self.request.session.pop("login", None)
        if begun is None or not secrets.compare_digest(begun["state"].encode(), state.encode()):
            raise HTTPError(400, "Please log in again.")
        if error:
            raise HTTPError(403, "The log-in was refused.")
        claims = self._fetch(code, begun["verifier"])
        self.request.session.regenerate()
        self.request.session["user"] = {"name": claims["name"], "mail": claims["email"]}
        return Redirect(begun["back"])

    @post
    def logout(self) -> Redirect:
        self.request.session.clear()
        return Redirect("/")


class Site(App):
    def __init__(self) -> None:
        super().__init__(
            SignedCookieSessionBackend(secrets.token_bytes(32)),
            security=SecurityDefaults("shop.example"),
            base_url="https://shop.example",
        )
        self.sso = SignOn()

    @get
    def index(self) -> str:
        return template(source="<a href='{{ url_for('sso.login') }}'>Log in</a>")

    @get
    @requires(logged_in)
    def account(self, user: Annotated[str, user_of]) -> str:
        return template(source="Hello {{ user }}", user=user)


app = Site()
