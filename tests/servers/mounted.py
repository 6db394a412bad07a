"""Applications of other frameworks, mounted, and beside that each by itself: what `test_mounts.py` serves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import bottle
import cherrypy
import flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from micropie import App

pies = bottle.Bottle()


@pies.route("/form", method="POST")
def form() -> str:
    upload = bottle.request.files.get("file")
    return f"{bottle.request.forms.get('name')} {len(upload.file.read())}"


@pies.route("/cookie")
def cookie() -> str:
    bottle.response.set_cookie("a", "1", secret="pie")
    bottle.response.set_cookie("b", "2")
    return str(bottle.request.get_cookie("a", secret="pie"))


@pies.route("/stream")
def stream() -> Iterator[str]:
    bottle.response.content_type = "text/plain"
    yield from ("one ", "two ", "three")


flasks = flask.Flask("flasks")


@flasks.route("/echo", methods=["POST"])
def echo() -> Any:
    return flask.Response(iter([flask.request.get_data()]), mimetype="text/plain")


@flasks.route("/go")
def go() -> Any:
    return flask.redirect("away")


@flasks.route("/stream")
def chunks() -> Any:
    return flask.Response((f"{number} " for number in range(5)), mimetype="text/plain")


class Cherry:
    @cherrypy.expose
    def index(self, name: str = "nobody") -> str:
        return f"hello {name}"

    @cherrypy.expose
    def count(self) -> str:
        cherrypy.session["n"] = cherrypy.session.get("n", 0) + 1
        return str(cherrypy.session["n"])

    @cherrypy.expose
    def stream(self) -> Iterator[str]:
        yield from ("a", "b", "c")

    stream._cp_config = {"response.stream": True}  # noqa: RUF012  # type: ignore[attr-defined]


cherrypy.config.update({"environment": "embedded", "log.screen": False, "engine.autoreload.on": False})
cherrypy.tree.mount(Cherry(), "/cherry", {"/": {"tools.sessions.on": True}})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, Any]]:
    yield {"pool": "open"}


async def told(request: Request) -> JSONResponse:
    return JSONResponse([request.state.pool, (await request.body()).decode()])


async def streamed(request: Request) -> StreamingResponse:
    async def numbers() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)

    return StreamingResponse(numbers(), media_type="text/plain")


stars = Starlette(routes=[Route("/told", told, methods=["POST"]), Route("/stream", streamed)], lifespan=lifespan)

app = App()
app.mount("/bottle", pies)
app.mount("/flask", flasks)
app.mount("/cherry", cherrypy.tree)
app.mount("/deep/star", stars)
