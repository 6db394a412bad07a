"""Starlette, with the orjson response class of its documentation."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from benchmarks.apps.fast_json import dumps
from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import AsgiApp


class FastJSONResponse(JSONResponse):
    def render(self, content: Any) -> bytes:
        return dumps(content)


async def plain(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


async def json(request: Request) -> Response:
    return FastJSONResponse({"message": "Hello, World!"})


async def greet(request: Request) -> Response:
    return PlainTextResponse(f"Hello {request.path_params['name']}")


async def query(request: Request) -> Response:
    return PlainTextResponse(f"Hello {request.query_params['name']}")


async def form(request: Request) -> Response:
    async with request.form() as fields:
        return PlainTextResponse(f"{fields['name']} from {fields['city']}")


async def submit(request: Request) -> Response:
    person = await request.json()
    return FastJSONResponse({"name": person["name"], "age": person["age"]})


async def upload(request: Request) -> Response:
    async with request.form() as form:
        upload: Any = form["file"]
        data = await upload.read()
        return PlainTextResponse(f"{form['name']} from {form['city']} sent {len(data)} bytes")


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


async def stream(request: Request) -> Response:
    return StreamingResponse(chunks(), media_type="text/plain")


def make_asgi() -> AsgiApp:
    return Starlette(
        routes=[
            Route("/plain", plain),
            Route("/json", json),
            Route("/greet/{name}", greet),
            Route("/query", query),
            Route("/form", form, methods=["POST"]),
            Route("/submit", submit, methods=["POST"]),
            Route("/upload", upload, methods=["POST"]),
            Route("/stream", stream),
        ]
    )


async def login(request: Request) -> Response:
    request.session["user"] = "Alice"
    return PlainTextResponse("Welcome")


async def session(request: Request) -> Response:
    return PlainTextResponse(request.session["user"])


async def count(request: Request) -> Response:
    request.session["count"] = number = request.session.get("count", 0) + 1
    return PlainTextResponse(str(number))


def make_asgi_with_sessions() -> AsgiApp:
    """Make the application with sessions, which are stored in the signed cookie and not on the
    server.
    """
    from starlette.middleware.sessions import SessionMiddleware  # needs itsdangerous

    return Starlette(
        routes=[
            Route("/plain", plain),
            Route("/login", login),
            Route("/session", session),
            Route("/count", count),
        ],
        middleware=[Middleware(SessionMiddleware, secret_key="a secret")],
    )
