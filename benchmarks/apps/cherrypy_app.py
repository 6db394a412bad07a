"""CherryPy: exposed methods, its JSON tools with the faster functions, without logging."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import cherrypy

from benchmarks.apps.fast_json import dumps, loads
from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import WsgiApp


def _json_out(*args: Any, **kwargs: Any) -> bytes:
    return dumps(cherrypy.serving.request._json_inner_handler(*args, **kwargs))


def _json_in(entity: Any) -> None:
    cherrypy.serving.request.json = loads(entity.read())


class Root:
    @cherrypy.expose
    def plain(self) -> str:
        return "Hello, World!"

    @cherrypy.expose
    @cherrypy.tools.json_out(handler=_json_out)
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
    @cherrypy.tools.json_in(processor=_json_in)
    @cherrypy.tools.json_out(handler=_json_out)
    def submit(self) -> dict[str, Any]:
        person = cherrypy.request.json
        return {"name": person["name"], "age": person["age"]}

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def stream(self) -> Iterator[bytes]:
        for _ in range(CHUNK_COUNT):
            yield CHUNK


def make_wsgi() -> WsgiApp:
    cherrypy.config.update({"environment": "embedded", "log.screen": False})
    return cherrypy.Application(Root(), "")
