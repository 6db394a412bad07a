import os
from typing import Any

# its setting for the ending of templates, read at its import
os.environ.setdefault("APP_JINJA_EXTENSION", ".html")

from blacksheep import Application, Response, json, text
from blacksheep.server.rendering.jinja2 import JinjaRenderer
from blacksheep.server.responses import view
from blacksheep.settings.html import html_settings
from jinja2 import FileSystemLoader

from benchmarks.apps.techempower import data

app = Application()
html_settings.use(JinjaRenderer(loader=FileSystemLoader(data.TEMPLATES)))


@app.router.get("/plaintext")
async def plaintext() -> Response:
    return text("Hello, World!")


@app.router.get("/json")
async def message() -> Response:
    return json({"message": "Hello, World!"})


@app.router.get("/db")
async def db() -> Response:
    return json((await data.aworlds(1))[0])


@app.router.get("/queries")
async def queries(n: str = "") -> Response:
    return json(await data.aworlds(data.count_of(n)))


@app.router.get("/fortunes")
async def fortunes() -> Response:
    return view("fortunes", {"fortunes": await data.afortunes()})


@app.router.get("/updates")
async def updates(n: str = "") -> Response:
    return json(await data.aupdated(data.count_of(n)))


def make_asgi() -> Any:
    return app
