"""A site of several applications: a shop and an office that share sessions and state, and an
isolated API.
"""

from __future__ import annotations

from typing import Any

from micropie import App, HTTPError, Redirect, Request, get, post, requires, template
from micropie.middleware import BearerAuth, SecurityDefaults

LAYOUT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{{ title }}</title>
<nav><a href="{{ url_for("/index") }}">Home</a> <a href="{{ url_for("/shop.index") }}">Shop</a>
<a href="{{ url_for("/office.index") }}">Office</a></nav>
<main>
<h1>{{ title }}</h1>
"""

PIES = (
    LAYOUT
    + """
{% for pie, left in pies.items() %}
<form method="post" action="{{ url_for("buy", pie) }}">{{ csrf_input }}{{ pie }}: {{ left }} <button>buy</button></form>
{% endfor %}
<p>In your basket: {{ session.basket | default([]) | join(", ") }}
</main>
"""  # noqa: E501
)


class Shop(App):
    """/shop: shares ``self.state`` and the session with the site that contains it."""

    @get
    def index(self) -> str:
        return template(source=PIES, title="Shop", pies=self.state.pies)

    @post
    def buy(self, pie: str) -> Redirect:
        if not self.state.pies.get(pie):
            raise HTTPError(409, "That pie is sold out.")
        self.state.pies[pie] -= 1
        session = self.request.session
        session["basket"] = [*session.get("basket", []), pie]
        return Redirect(self.url_for("index"))


def staff(request: Request) -> bool:
    return request.query.get("key") == "sesame"  # a real application would check the session's user


@requires(staff)
class Office(App):
    """/office: only the staff may open its pages."""

    @get
    def index(self) -> str:
        return template(
            source=LAYOUT + "<p>Left: {{ left }}</main>",
            title="Office",
            left=sum(self.state.pies.values()),
        )


class Api(App):
    """/api: isolated, so it doesn't share the site's sessions. Programs send a token instead."""

    def __init__(self, site: App) -> None:
        super().__init__(errors="json", text="plain")
        self.middlewares.append(BearerAuth({"sesame": "program"}.get))
        self._site = site

    def pies(self) -> dict[str, int]:
        pies: dict[str, int] = self._site.state.pies
        return pies


class Site(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(security=SecurityDefaults("localhost", "127.0.0.1", "::1"), **settings)
        self.state.pies = {"apple": 3, "plum": 1}
        self.shop = Shop()
        self.office = Office()
        self.mount("/api", Api(self), isolated=True)

    @get
    def index(self) -> str:
        return template(source=LAYOUT + "</main>", title="Pies")


app = Site()
