"""Filters of a program: a function that converts a wildcard's text may do whatever a handler may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sniffio

from micropie import HttpMiddleware, Request
from micropie_compat import bottle as ours
from tests.support.clients import MakeClient

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
        assert bottle.request.environ["PATH_INFO"] == f"/customers/{name}"
        return {"ann": bottle.request.query.greeting or "Ann"}[name]

    def customer(_: str | None) -> Filter:
        return "[a-z]+", find, None

    app.router.add_filter("customer", customer)

    def show(who: str) -> str:
        request = bottle.request
        assert (request.url_args, request.route.rule) == ({"who": who}, "/customers/<who:customer>")
        return f"<{who}>"

    app.route("/customers/<who:customer>", callback=show)
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


def test_a_route_with_a_filter_has_its_name_and_its_pattern(make_client: MakeClient) -> None:
    app = ours.Bottle()
    seen: list[object] = []

    class Routes(HttpMiddleware):
        def after_request(self, request: Request, *_: object) -> None:
            route = request.route
            seen.append(route and (route.name, route.pattern))

    app.native.middlewares.append(Routes())
    app.router.add_filter("upper", lambda _: ("[a-z]+", str.upper, None))
    app.route("/<name:upper>", callback=lambda name: name, name="upper")

    @app.get("/later/<name:upper>")
    async def later(name: str) -> str:
        return name

    client = make_client(app)
    assert [client.get(path).text for path in ("/ann", "/later/ann")] == ["ANN", "ANN"]
    assert seen[0] == ("upper", "/<name:upper>")
