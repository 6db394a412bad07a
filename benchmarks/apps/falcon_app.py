"""Falcon, both of its application classes, with the JSON functions given as its documentation
shows.

The current wheels are compiled where Falcon's authors found a benefit (the URI, stream and ASGI
helpers in `falcon.cyutil`). Since release 4.1 the rest is pure Python by design.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import falcon
import falcon.asgi
import falcon.media

from benchmarks.apps.fast_json import dumps, loads
from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import AsgiApp, WsgiApp


class AsyncPlain:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "Hello, World!"


class AsyncJson:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = {"message": "Hello, World!"}


class AsyncGreet:
    async def on_get(self, req: Any, resp: Any, name: str) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"Hello {name}"


class AsyncQuery:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"Hello {req.get_param('name', required=True)}"


class AsyncForm:
    async def on_post(self, req: Any, resp: Any) -> None:
        form = await req.get_media()
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"{form['name']} from {form['city']}"


class AsyncSubmit:
    async def on_post(self, req: Any, resp: Any) -> None:
        person = await req.get_media()
        resp.media = {"name": person["name"], "age": person["age"]}


class AsyncUpload:
    async def on_post(self, req: Any, resp: Any) -> None:
        texts, size = {}, 0
        async for part in await req.get_media():
            if part.filename:
                size = len(await part.stream.read())
            else:
                texts[part.name] = await part.text
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"{texts['name']} from {texts['city']} sent {size} bytes"


async def async_chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


class AsyncStream:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = async_chunks()


class Plain:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = "Hello, World!"


class Json:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.media = {"message": "Hello, World!"}


class Greet:
    def on_get(self, req: Any, resp: Any, name: str) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"Hello {name}"


class Query:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"Hello {req.get_param('name', required=True)}"


class Form:
    def on_post(self, req: Any, resp: Any) -> None:
        form = req.get_media()
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"{form['name']} from {form['city']}"


class Submit:
    def on_post(self, req: Any, resp: Any) -> None:
        person = req.get_media()
        resp.media = {"name": person["name"], "age": person["age"]}


class Upload:
    def on_post(self, req: Any, resp: Any) -> None:
        texts, size = {}, 0
        for part in req.get_media():
            if part.filename:
                size = len(part.stream.read())
            else:
                texts[part.name] = part.text
        resp.content_type = falcon.MEDIA_TEXT
        resp.text = f"{texts['name']} from {texts['city']} sent {size} bytes"


def chunks() -> Iterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


class Stream:
    def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_TEXT
        resp.stream = chunks()


def _with_fast_json(app: Any) -> Any:
    handler = falcon.media.JSONHandler(dumps=dumps, loads=loads)
    for options in (app.req_options, app.resp_options):
        options.media_handlers[falcon.MEDIA_JSON] = handler
    return app


def make_asgi() -> AsgiApp:
    app = _with_fast_json(falcon.asgi.App())
    app.add_route("/plain", AsyncPlain())
    app.add_route("/json", AsyncJson())
    app.add_route("/greet/{name}", AsyncGreet())
    app.add_route("/query", AsyncQuery())
    app.add_route("/form", AsyncForm())
    app.add_route("/submit", AsyncSubmit())
    app.add_route("/upload", AsyncUpload())
    app.add_route("/stream", AsyncStream())
    return app


def make_wsgi() -> WsgiApp:
    app = _with_fast_json(falcon.App())
    app.add_route("/plain", Plain())
    app.add_route("/json", Json())
    app.add_route("/greet/{name}", Greet())
    app.add_route("/query", Query())
    app.add_route("/form", Form())
    app.add_route("/submit", Submit())
    app.add_route("/upload", Upload())
    app.add_route("/stream", Stream())
    return app
