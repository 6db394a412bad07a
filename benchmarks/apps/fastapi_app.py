"""FastAPI: declared parameters, a pydantic model for the JSON body, text as a
`PlainTextResponse`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import FastAPI, Form
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel

from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import AsgiApp


class Person(BaseModel):
    name: str
    age: int


async def plain() -> Response:
    return PlainTextResponse("Hello, World!")


async def json() -> dict[str, str]:
    return {"message": "Hello, World!"}


async def greet(name: str) -> Response:
    return PlainTextResponse(f"Hello {name}")


async def query(name: str) -> Response:
    return PlainTextResponse(f"Hello {name}")


async def form(name: Annotated[str, Form()], city: Annotated[str, Form()]) -> Response:
    return PlainTextResponse(f"{name} from {city}")


async def submit(person: Person) -> Person:
    return person


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


async def stream() -> Response:
    return StreamingResponse(chunks(), media_type="text/plain")


def make_asgi() -> AsgiApp:
    # The three None leave out the documentation pages, as a deployment that cares for speed would.
    app: Any = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.get("/plain", response_class=PlainTextResponse)(plain)
    app.get("/json")(json)
    app.get("/greet/{name}", response_class=PlainTextResponse)(greet)
    app.get("/query", response_class=PlainTextResponse)(query)
    app.post("/form", response_class=PlainTextResponse)(form)
    app.post("/submit")(submit)
    app.get("/stream", response_class=StreamingResponse)(stream)
    return app
