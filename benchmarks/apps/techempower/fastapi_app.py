from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, PlainTextResponse
from fastapi.templating import Jinja2Templates

from benchmarks.apps.techempower import data

app = FastAPI()
templates = Jinja2Templates(directory=data.TEMPLATES)


@app.get("/plaintext", response_class=PlainTextResponse)
async def plaintext() -> str:
    return "Hello, World!"


@app.get("/json")
async def json() -> dict[str, str]:
    return {"message": "Hello, World!"}


@app.get("/db")
async def db() -> dict[str, int]:
    return (await data.aworlds(1))[0]


@app.get("/queries")
async def queries(n: str = "") -> list[dict[str, int]]:
    return await data.aworlds(data.count_of(n))


@app.get("/fortunes", response_class=HTMLResponse)
async def fortunes(request: Request) -> Any:
    context = {"fortunes": await data.afortunes()}
    return templates.TemplateResponse(request, "fortunes.html", context)


@app.get("/updates")
async def updates(n: str = "") -> list[dict[str, int]]:
    return await data.aupdated(data.count_of(n))


def make_asgi() -> Any:
    return app
