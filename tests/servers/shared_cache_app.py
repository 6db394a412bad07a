"""A site with four kinds of log-in, for ``test_shared_cache.py``: a signed cookie, a cookie of its
own, BasicAuth, and files behind each.

``SHARED_FILES`` in the environment names the folder of the files.
"""

from __future__ import annotations

import os

from micropie import App, HTTPError, HttpMiddleware, Request
from micropie.middleware import BasicAuth


class OwnCookie(HttpMiddleware):
    """A log-in of the application's own."""

    def before_request(self, request: Request) -> None:
        if not request.cookies.get("u"):
            raise HTTPError(401)


class Own(App):
    """Pages behind a cookie."""

    def account(self, *rest: str) -> str:
        return f"page of {self.request.cookies['u']}"


class Basic(App):
    """Pages behind BasicAuth."""

    def account(self, *rest: str) -> str:
        return f"page of {self.request.state.user}"


class Signed(App):
    """Pages with a signed cookie."""

    def log_in(self) -> str:
        self.request.set_signed_cookie("u", "alice")
        return "in"

    def account(self, *rest: str) -> str:
        return f"page of {self.request.signed_cookie('u')}"


class Root(App):
    """What everybody may see."""

    def everybody(self) -> str:
        return "everybody"


app = Root(secret_key="s" * 32)
app.own, app.basic, app.signed = Own(), Basic(), Signed()
app.own.middlewares.append(OwnCookie())  # type: ignore[attr-defined]
app.basic.middlewares.append(BasicAuth({"alice": "secret"}))  # type: ignore[attr-defined]
for guarded in (app.own, app.basic):  # type: ignore[attr-defined]
    guarded.static("/files", os.environ["SHARED_FILES"], max_age=3600)
