"""BlackSheep, with the JSON functions given as its documentation shows.

The handlers take the request and read what they need from it. Parameters bound by name and type
(`FromForm` and the like) are the other documented way, and cost 1 to 3 microseconds more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from blacksheep import Application, Request, Response, Router, StreamedContent, json, text
from blacksheep.settings.json import json_settings

from benchmarks.apps.fast_json import dumps, loads
from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import AsgiApp


async def plain(request: Request) -> Response:
    return text("Hello, World!")


async def message(request: Request) -> Response:
    return json({"message": "Hello, World!"})


async def greet(request: Request) -> Response:
    return text(f"Hello {request.route_values['name']}")


async def query(request: Request) -> Response:
    return text(f"Hello {request.query['name'][0]}")


async def form(request: Request) -> Response:
    fields: Any = await request.form()
    return text(f"{fields['name']} from {fields['city']}")


async def submit(request: Request) -> Response:
    person: Any = await request.json()
    return json({"name": person["name"], "age": person["age"]})


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


async def stream(request: Request) -> Response:
    return Response(200, content=StreamedContent(b"text/plain", chunks))


def make_asgi() -> AsgiApp:
    json_settings.use(loads=loads, dumps=lambda value: dumps(value).decode())
    app: Any = Application(router=Router())  # the default one is shared by the process
    app.router.add_get("/plain", plain)
    app.router.add_get("/json", message)
    app.router.add_get("/greet/{name}", greet)
    app.router.add_get("/query", query)
    app.router.add_post("/form", form)
    app.router.add_post("/submit", submit)
    app.router.add_get("/stream", stream)
    return app
