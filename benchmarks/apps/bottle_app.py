"""Bottle, with its JSON plugin given the faster functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bottle import Bottle, JSONPlugin, request, response

from benchmarks.apps.fast_json import dumps
from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import WsgiApp


def plain() -> str:
    return "Hello, World!"


def json() -> dict[str, str]:
    return {"message": "Hello, World!"}


def greet(name: str) -> str:
    return f"Hello {name}"


def query() -> str:
    return f"Hello {request.query['name']}"


def form() -> str:
    return f"{request.forms['name']} from {request.forms['city']}"


def submit() -> dict[str, Any]:
    person = request.json
    return {"name": person["name"], "age": person["age"]}


def upload() -> str:
    size = len(request.files["file"].file.read())
    return f"{request.forms['name']} from {request.forms['city']} sent {size} bytes"


def stream() -> Iterator[bytes]:
    response.content_type = "text/plain"
    for _ in range(CHUNK_COUNT):
        yield CHUNK


def make_wsgi() -> WsgiApp:
    app: Any = Bottle()
    app.uninstall("json")
    app.install(JSONPlugin(json_dumps=dumps))
    app.get("/plain")(plain)
    app.get("/json")(json)
    app.get("/greet/<name>")(greet)
    app.get("/query")(query)
    app.post("/form")(form)
    app.post("/submit")(submit)
    app.post("/upload")(upload)
    app.get("/stream")(stream)
    return app
