"""An application whose users log in at an OpenID provider. It uses the extension ``micropie_oidc``,
the package in this folder.
"""

from __future__ import annotations

import os

from examples.oidc.micropie_oidc import OpenIDConnect
from micropie import App, get, requires, template
from micropie.middleware import SecurityDefaults

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>Members</title>
<main>
{% if user %}
<h1>Hello, {{ user.name or user.sub }}</h1>
<p><a href="{{ url_for("secret") }}">The secret</a></p>
<form method="post" action="{{ url_for("login.log_out") }}">
{{ csrf_input }}<button>Log out</button></form>
{% else %}
<h1>Members</h1>
<p><a href="{{ url_for("login.log_in") }}">Log in</a></p>
{% endif %}
</main>
"""

login = OpenIDConnect(
    os.environ.get("OIDC_ISSUER") or "http://localhost:8080/realms/pies",
    os.environ.get("OIDC_CLIENT_ID") or "members",
    client_secret=os.environ.get("OIDC_CLIENT_SECRET") or None,
    redirect_uri=os.environ.get("OIDC_REDIRECT_URI") or "http://localhost:8000/login/callback",
    after_log_out=os.environ.get("OIDC_AFTER_LOG_OUT") or None,
)


class Members(App):
    def index(self) -> str:
        return template(source=PAGE, user=login.user_of(self.request))

    @get
    @requires(login.users)
    def secret(self) -> str:
        return "The pie is in the oven."


app = Members(security=SecurityDefaults("localhost", "127.0.0.1", "::1"))
login.install(app)
