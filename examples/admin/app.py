"""A news ticker with an admin page behind a log-in. The admin page is the extension
``micropie_admin``, the package in this folder.

ADMIN_PASSWORD is the password. If it isn't set, nobody can log in.
"""

from __future__ import annotations

import hmac
import os

from examples.admin.micropie_admin import Admin
from micropie import App, EventStream, HTTPError, Redirect, Request, WebSocket, get, post, template
from micropie.middleware import RateLimit, SecurityDefaults
from micropie.sessions import InMemorySessionBackend

PASSWORD = os.environ.get("ADMIN_PASSWORD", "")

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>News</title>
<main>
<h1>News</h1>
<p><a href="{{ url_for("news") }}">Listen</a>, <a href="{{ url_for("admin.index") }}">admin page</a></p>
<form method="post" action="{{ url_for("log_in") }}">{{ csrf_input }}
<label>Password <input name="password" type="password" autocomplete="current-password" required></label>
<button>Log in</button>
</form>
</main>
"""  # noqa: E501


def is_admin(request: Request) -> Redirect | bool:
    """Admit users who are logged in, and redirect others to the log-in."""
    return "is_admin" in request.session or Redirect(request.root_path + "/")


class News(App):
    def __init__(self) -> None:
        super().__init__(
            InMemorySessionBackend(),  # SQLiteSessionBackend for several workers
            security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp="default-src 'self'"),
        )
        self.mount("/admin", Admin(is_admin))

    def index(self) -> str:
        return template(source=PAGE)

    @post
    # Decorate the handler instead of limiting a path: /log_in/sesame also fills the parameter.
    @RateLimit(10, per=60)
    def log_in(self, password: str) -> Redirect:
        if not PASSWORD or not hmac.compare_digest(password.encode(), PASSWORD.encode()):
            raise HTTPError(403, "This is not the password.")
        self.request.session.regenerate()
        self.request.session["is_admin"] = True
        return Redirect(self.url_for("admin.index"))

    @get
    async def news(self, name: str = "") -> EventStream:
        return EventStream(self.channels.subscribe("news", label=name or "a reader"))

    async def ws_news(self, ws: WebSocket, name: str = "") -> None:
        async with self.channels.subscribe("news", label=name or "a program") as messages:
            await ws.accept()
            async for message in messages:
                await ws.send_json(message)


app = News()
