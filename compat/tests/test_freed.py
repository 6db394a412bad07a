"""A request of a moved application is freed when its answer is over, without the cycle
collector.
"""

from __future__ import annotations

import io
import weakref
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from micropie_compat import bottle, cherrypy

FORMER: dict[str, str] = {}


class Environ(dict[str, Any]):
    """An environ that can be referred to weakly: whatever is left of a request refers to it."""


def bottle_app() -> Any:
    app = bottle.Bottle()
    app.route("/text", callback=lambda: "text")
    app.route(
        "/seen",
        callback=lambda: {
            "path": bottle.request.path,
            "type": bottle.request.environ["QUERY_STRING"],
        },
    )
    app.post("/form", callback=lambda: bottle.request.forms.name)
    app.post("/body", callback=lambda: bottle.request.json)
    app.route("/refused", callback=lambda: bottle.abort(403))
    app.route("/redirect", callback=lambda: bottle.redirect("/text"))
    app.route("/fails", callback=lambda: FORMER["name"])
    app.route("/stream", callback=lambda: iter([b"a", b"", b"b"]))
    app.route("/texts", callback=lambda: (text for text in "ab"))
    app.native.post("/native")(lambda: bottle.request.forms.name)
    app.native.get("/native-refused")(lambda: bottle.abort(403))
    app.native.get("/native-redirect")(lambda: bottle.redirect("/text"))
    app.route("/breaks", callback=lambda: (b"a" * (1 // number) for number in (1, 0)))
    return app


def cherrypy_app() -> Any:
    class Root:
        @cherrypy.expose
        def text(self) -> str:
            return "text"

        @cherrypy.expose
        def seen(self, n: str = "") -> str:
            return str(cherrypy.request.wsgi_environ["QUERY_STRING"] + cherrypy.request.base)

        @cherrypy.expose
        def form(self, name: str) -> str:
            return name

        @cherrypy.expose
        @cherrypy.tools.json_in()
        @cherrypy.tools.json_out()
        def body(self) -> Any:
            return cherrypy.request.json

        @cherrypy.expose
        @cherrypy.config(**{"response.stream": True})
        def stream(self) -> Iterator[bytes]:
            yield b"a"

        @cherrypy.expose
        def texts(self) -> Iterator[str]:
            yield "a"

    return cherrypy.Application(Root(), "")


PATHS = ["text", "seen?n=1", "stream", "texts", "form", "body"]
FAILING = ["refused", "redirect", "fails", "missing", "native-refused", "native-redirect"]
BODIES = {
    "form": (b"name=a", "application/x-www-form-urlencoded"),
    "body": (b"{}", "application/json"),
    "native": (b"name=a", "application/x-www-form-urlencoded"),
}


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("hooked", [False, True], ids=["", "hooked"])
def test_requests_to_a_bottle_application_are_freed(hooked: bool) -> None:
    app = bottle_app()
    if hooked:
        app.add_hook("before_request", lambda: bottle.request.environ.update(begun=True))
        app.add_hook("after_request", lambda: bottle.response.set_header("X-Hook", "after"))
    assert kept_after(app, [*PATHS, "breaks", "native", *FAILING]) == []


@pytest.mark.usefixtures("no_collector")
def test_requests_to_a_cherrypy_application_are_freed() -> None:
    assert kept_after(cherrypy_app(), PATHS) == []


def kept_after(app: Any, paths: list[str]) -> list[str]:
    """Ask for each path, and return those after which the environ is still there."""
    kept = []
    for path in paths:
        name, _, query = path.partition("?")
        environ = Environ(
            {
                "PATH_INFO": f"/{name}",
                "SCRIPT_NAME": "",
                "QUERY_STRING": query,
                "HTTP_HOST": "localhost",
            }
        )
        environ |= {
            "REQUEST_METHOD": "GET",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
        }
        data, kind = BODIES.get(path, (b"", ""))
        if data:
            environ |= {
                "REQUEST_METHOD": "POST",
                "CONTENT_TYPE": kind,
                "CONTENT_LENGTH": str(len(data)),
            }
        environ["wsgi.input"] = io.BytesIO(data)
        left = weakref.ref(environ)
        statuses: list[str] = []
        with suppress(ZeroDivisionError):
            answer = app(environ, lambda status, *_, statuses=statuses: statuses.append(status))
            list(answer)
        getattr(answer, "close", bool)()
        del answer, environ
        assert (statuses[0] == "200 OK") is (path not in FAILING)
        if left() is not None:
            kept.append(path)
    return kept
