from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from benchmarks.apps.techempower import data

templates = Jinja2Templates(directory=data.TEMPLATES)


async def plaintext(request: Request) -> Response:
    return PlainTextResponse("Hello, World!")


async def json(request: Request) -> Response:
    return JSONResponse({"message": "Hello, World!"})


async def db(request: Request) -> Response:
    return JSONResponse((await data.aworlds(1))[0])


async def queries(request: Request) -> Response:
    return JSONResponse(await data.aworlds(data.count_of(request.query_params.get("n"))))


async def fortunes(request: Request) -> Response:
    context = {"fortunes": await data.afortunes()}
    return templates.TemplateResponse(request, "fortunes.html", context)


async def updates(request: Request) -> Response:
    return JSONResponse(await data.aupdated(data.count_of(request.query_params.get("n"))))


def make_asgi() -> Any:
    return Starlette(
        routes=[
            Route(f"/{one.__name__}", one)
            for one in (plaintext, json, db, queries, fortunes, updates)
        ]
    )
