"""One application on Bottle and one on CherryPy, each made with the framework itself or with what
stands in for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from benchmarks.cases import CHUNK, CHUNK_COUNT, HOOK


def make_bottle() -> Any:
    return _on_bottle(import_module("bottle"))


def make_moved_bottle() -> Any:
    return _on_bottle(import_module("micropie_compat.bottle"))


def make_cherrypy() -> Any:
    return _on_cherrypy(import_module("cherrypy"))


def make_moved_cherrypy() -> Any:
    # The original, which is in the same process, has a handler there that writes nothing: with it,
    # each request's line would be made for nobody.
    logging.getLogger("cherrypy.access").handlers.clear()
    return _on_cherrypy(import_module("micropie_compat.cherrypy"))


def make_bottle_a2wsgi() -> Any:
    return import_module("a2wsgi").WSGIMiddleware(make_bottle())


def make_cherrypy_a2wsgi() -> Any:
    return import_module("a2wsgi").WSGIMiddleware(make_cherrypy())


def make_hooked_bottle() -> Any:
    return _hooked_bottle(import_module("bottle"))


def make_moved_hooked_bottle() -> Any:
    return _hooked_bottle(import_module("micropie_compat.bottle"))


def make_hooked_cherrypy() -> Any:
    return _hooked_cherrypy(import_module("cherrypy"))


def make_moved_hooked_cherrypy() -> Any:
    logging.getLogger("cherrypy.access").handlers.clear()  # see above
    return _hooked_cherrypy(import_module("micropie_compat.cherrypy"))


def _hooked_bottle(bottle: Any) -> Any:
    app = _on_bottle(bottle)

    @app.hook("before_request")
    def before() -> None:
        bottle.request.environ["begun"] = True

    @app.hook("after_request")
    def after() -> None:
        bottle.response.set_header("X-Hook", HOOK[1])

    return app


def _hooked_cherrypy(cherrypy: Any) -> Any:
    def before() -> None:
        cherrypy.request.begun = True

    def after() -> None:
        cherrypy.response.headers["X-Hook"] = HOOK[1]

    cherrypy.tools.begin = cherrypy.Tool("before_handler", before)
    cherrypy.tools.end = cherrypy.Tool("before_finalize", after)
    return _on_cherrypy(cherrypy, {"/": {"tools.begin.on": True, "tools.end.on": True}})


def _on_bottle(bottle: Any) -> Any:
    app = bottle.Bottle()
    request, response = bottle.request, bottle.response

    @app.get("/plain")
    def plain() -> str:
        return "Hello, World!"

    @app.get("/json")
    def json() -> dict[str, str]:
        return {"message": "Hello, World!"}

    @app.get("/greet/<name>")
    def greet(name: str) -> str:
        return f"Hello {name}"

    @app.get("/query")
    def query() -> str:
        return f"Hello {request.query.name}"

    @app.post("/form")
    def form() -> str:
        return f"{request.forms.name} from {request.forms.city}"

    @app.post("/submit")
    def submit() -> dict[str, Any]:
        person = request.json
        return {"name": person["name"], "age": person["age"]}

    @app.get("/stream")
    def stream() -> Iterator[bytes]:
        response.content_type = "text/plain"
        for _ in range(CHUNK_COUNT):
            yield CHUNK

    return app


def _on_cherrypy(cherrypy: Any, config: dict[str, dict[str, object]] | None = None) -> Any:
    class Root:
        @cherrypy.expose
        def plain(self) -> str:
            return "Hello, World!"

        @cherrypy.expose
        @cherrypy.tools.json_out()
        def json(self) -> dict[str, str]:
            return {"message": "Hello, World!"}

        @cherrypy.expose
        def greet(self, name: str) -> str:
            return f"Hello {name}"

        @cherrypy.expose
        def query(self, name: str) -> str:
            return f"Hello {name}"

        @cherrypy.expose
        def form(self, name: str, city: str) -> str:
            return f"{name} from {city}"

        @cherrypy.expose
        @cherrypy.tools.json_in()
        @cherrypy.tools.json_out()
        def submit(self) -> dict[str, Any]:
            person = cherrypy.request.json
            return {"name": person["name"], "age": person["age"]}

        @cherrypy.expose
        @cherrypy.config(**{"response.stream": True})
        def stream(self) -> Iterator[bytes]:
            for _ in range(CHUNK_COUNT):
                yield CHUNK

    cherrypy.config.update({"environment": "embedded", "log.screen": False})
    return cherrypy.Application(Root(), "", config)
