"""Litestar: declared parameters, msgspec structs for bodies (its own serialisation), no OpenAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from litestar import Litestar, MediaType, get, post
from litestar.enums import RequestEncodingType
from litestar.params import Body
from litestar.response import Stream
from msgspec import Struct

from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import AsgiApp


class Person(Struct):
    name: str
    age: int


class Visitor(Struct):
    name: str
    city: str


@get("/plain", media_type=MediaType.TEXT)
async def plain() -> str:
    return "Hello, World!"


@get("/json")
async def json() -> dict[str, str]:
    return {"message": "Hello, World!"}


@get("/greet/{name:str}", media_type=MediaType.TEXT)
async def greet(name: str) -> str:
    return f"Hello {name}"


@get("/query", media_type=MediaType.TEXT)
async def query(name: str) -> str:
    return f"Hello {name}"


@post("/form", media_type=MediaType.TEXT, status_code=200)
async def form(data: Annotated[Visitor, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> str:
    return f"{data.name} from {data.city}"


@post("/submit", status_code=200)
async def submit(data: Person) -> Person:
    return data


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


@get("/stream")
async def stream() -> Stream:
    return Stream(chunks(), media_type=MediaType.TEXT)


def make_asgi() -> AsgiApp:
    handlers = [plain, json, greet, query, form, submit, stream]
    return Litestar(handlers, openapi_config=None, logging_config=None)
