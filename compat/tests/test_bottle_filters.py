"""Filters of a program: a function that converts a wildcard's text may do whatever a handler may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sniffio

Filter = tuple[str, Callable[[str], object], None]


def shop(bottle: Any) -> Any:
    """Return an application whose filter looks up a customer."""
    app = bottle.Bottle()

    def find(name: str) -> object:
        try:
            sniffio.current_async_library()
        except sniffio.AsyncLibraryNotFoundError:
            pass
        else:
            raise AssertionError("a look-up in a database would block the event loop")
        if name == "nobody":
            bottle.abort(404, "no such customer")
        if name == "moved":
            bottle.redirect("/customers/ann")
        return {"ann": bottle.request.query.greeting or "Ann"}[name]

    def customer(_: str | None) -> Filter:
        return "[a-z]+", find, None

    app.router.add_filter("customer", customer)
    app.route("/customers/<who:customer>", callback=lambda who: f"<{who}>")
    app.hook("after_request")(lambda: bottle.response.set_header("X-After", "1"))
    app.error(404)(lambda error: f"404: {error.body}")
    app.error(500)(lambda error: f"500: {error.exception!r}")
    return app


def test_a_filter_runs_where_the_handler_runs(bottle: Any, clients: Any) -> None:
    for client in clients(shop(bottle)):
        answer = client.get("/customers/ann")
        assert (answer.text, answer.headers["X-After"]) == ("<Ann>", "1")
        assert client.get("/customers/ann?greeting=Hello").text == "<Hello>"
        answer = client.get("/customers/nobody")
        assert (answer.status_code, answer.text) == (404, "404: no such customer")
        assert client.get("/customers/1").text == "404: Not found: '/customers/1'"
        answer = client.get("/customers/moved", follow_redirects=False)
        assert (answer.status_code, answer.headers["X-After"]) == (303, "1")
        assert answer.headers["Location"].endswith("/customers/ann")
        answer = client.get("/customers/unknown")
        assert (answer.status_code, answer.text) == (500, "500: KeyError('unknown')")
