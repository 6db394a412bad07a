"""Accounts: sign up, log in, a page for members only, log out.

Passwords are stored as scrypt hashes. The session gets a new id at each log-in. The number of
log-ins is limited, so that nobody can try many passwords.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Annotated, Literal

from msgspec import Meta

from micropie import App, Redirect, Request, flash, get, post, request, requires, template
from micropie.middleware import RateLimit, SecurityDefaults
from micropie.sessions import InMemorySessionBackend

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Members</title>
<main>
{% for message in get_flashed_messages() %}<p role="status">{{ message }}</p>{% endfor %}
{% if session.user %}
<h1>Hello, {{ session.user }}</h1>
<form method="post" action="{{ url_for("log_out") }}">{{ csrf_input }}<button>Log out</button></form>
{% else %}
<h1>Members</h1>
{% for action in ("log_in", "sign_up") %}
<form method="post" action="{{ url_for(action) }}">
{{ csrf_input }}
<label>Name <input name="name" autocomplete="username" required></label>
<label>Password <input name="password" type="password" required minlength="8"></label>
<button>{{ "Log in" if action == "log_in" else "Sign up" }}</button>
</form>
{% endfor %}
{% endif %}
</main>
"""  # noqa: E501

Name = Annotated[str, Meta(min_length=1, max_length=80)]
Password = Annotated[str, Meta(min_length=8, max_length=200)]


def hashed(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


# Sign-ups and log-ins of a client are counted together.
ten_a_minute = RateLimit(10, per=60)


def member(request: Request) -> Redirect | Literal[True]:
    """Admit members, and redirect others to the log-in."""
    return "user" in request.session or Redirect(request.root_path + "/")


class Members(App):
    def __init__(self) -> None:
        super().__init__(
            session_backend=InMemorySessionBackend(),  # SQLiteSessionBackend for several workers
            security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp="default-src 'self'"),
        )
        self._salt = secrets.token_bytes(16)  # for names without an account
        # The salt and the hash by name. In a real application, this is a table.
        self._users: dict[str, tuple[bytes, bytes]] = {}

    def index(self) -> str:
        return template(source=PAGE)

    @get
    @requires(member)
    def secret(self) -> str:
        return template(source="The pie is in the oven, {{ session.user }}.")

    @ten_a_minute
    @post
    def sign_up(self, name: Name, password: Password) -> Redirect:
        salt = secrets.token_bytes(16)
        if self._users.setdefault(name, (salt, hashed(password, salt)))[0] is not salt:
            flash("That name is taken.")
            return Redirect(self.url_for("index"))
        return self._enter(name)

    @ten_a_minute
    @post
    def log_in(self, name: Name, password: Password) -> Redirect:
        salt, right = self._users.get(name, (self._salt, b""))
        # For an unknown name this takes as long, so the time doesn't reveal which names exist.
        if not hmac.compare_digest(hashed(password, salt), right):
            flash("Name or password is wrong.")
            return Redirect(self.url_for("index"))
        return self._enter(name)

    @post
    def log_out(self) -> Redirect:
        self.request.session.clear()
        return Redirect(self.url_for("index"))

    def _enter(self, name: str) -> Redirect:
        # If an attacker has set the session's cookie in this browser, its id is useless now.
        request.session.regenerate()
        request.session["user"] = name
        flash(f"Welcome, {name}!")
        return Redirect(self.url_for("index"))


app = Members()
