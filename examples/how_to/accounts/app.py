import os
from hashlib import sha256
from typing import Annotated

from argon2 import PasswordHasher
from msgspec import Meta

from micropie import App, HTTPError, Redirect, get, post, template
from micropie.middleware import RateLimit

PAGE = """<form method="post" action="{{ url_for(to) }}">{{ csrf_input }}
<input type="hidden" name="key" value="{{ key }}">
{% if to == "change" %}<input type="password" name="password" minlength="10">{% endif %}
<button>{{ word }}</button></form>"""

hasher = PasswordHasher()


class Accounts(App):
    def __init__(self, send_mail, **settings):  # send_mail: your function, which may use a queue
        super().__init__(**settings)
        self._send_mail = send_mail
        # in your application, this is a table of the database
        self._users = {7: {"email": "ann@example.com", "password": hasher.hash("apple pie")}}

    # -- a forgotten password

    @RateLimit(5, per=3600)
    @post
    def forgot(self, email: str):
        for number, user in self._users.items():
            if user["email"] == email:
                value = [number, digest(user["password"])]
                key = self.request.sign(value, "reset", expires=3600)
                link = self.absolute_url_for("reset", key=key)
                self.request.after_response(self._send_mail, email, link)
        return "If we know this address, we have sent a link."

    @get
    def reset(self, key: str):
        self._forgetful(key)
        return template(source=PAGE, to="change", key=key, word="Change")

    @post
    def change(self, key: str, password: Annotated[str, Meta(min_length=10)]):
        self._forgetful(key)["password"] = hasher.hash(password)
        return Redirect("/login")

    def _forgetful(self, key):
        number, password = self.request.unsign(key, "reset")  # raises 403 and 410
        user = self._users.get(number)
        if user is None or digest(user["password"]) != password:
            raise HTTPError(410, "This link has been used.")
        return user

    # -- a new address

    @RateLimit(5, per=3600)
    @post
    def move(self, email: str):
        number = 7  # the user who is logged in
        value = [number, self._users[number]["email"], email]
        key = self.request.sign(value, "move", expires=86400)
        link = self.absolute_url_for("confirm", key=key)
        self.request.after_response(self._send_mail, email, link)
        return "Please open the link that we have sent."

    @get
    def confirm(self, key: str):
        self._moving(key)
        return template(source=PAGE, to="confirmed", key=key, word="Confirm")

    @post
    def confirmed(self, key: str):
        user, email = self._moving(key)
        user["email"] = email
        return "Thank you."

    def _moving(self, key):
        number, old, new = self.request.unsign(key, "move")
        user = self._users.get(number)
        if user is None or user["email"] != old:
            raise HTTPError(410, "This link has been used.")
        if any(other["email"] == new for other in self._users.values()):
            raise HTTPError(409, "Another account has this address.")
        return user, new


def digest(password_hash):
    return sha256(password_hash.encode()).hexdigest()


app = Accounts(
    print,
    base_url="https://example.com",
    secret_key=os.environ.get("SECRET_KEY", "only for development: of 32 bytes or more").split(","),
)
