from typing import Any

import falcon.asgi
from jinja2 import Environment, FileSystemLoader

from benchmarks.apps.techempower import data

template = Environment(loader=FileSystemLoader(data.TEMPLATES), autoescape=True).get_template(
    "fortunes.html"
)


class Plaintext:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type, resp.text = falcon.MEDIA_TEXT, "Hello, World!"


class Json:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = {"message": "Hello, World!"}


class Db:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = (await data.aworlds(1))[0]


class Queries:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = await data.aworlds(data.count_of(req.get_param("n")))


class Fortunes:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.content_type = falcon.MEDIA_HTML
        resp.text = template.render(fortunes=await data.afortunes())


class Updates:
    async def on_get(self, req: Any, resp: Any) -> None:
        resp.media = await data.aupdated(data.count_of(req.get_param("n")))


def make_asgi() -> Any:
    app: Any = falcon.asgi.App()
    for resource in (Plaintext, Json, Db, Queries, Fortunes, Updates):
        app.add_route(f"/{resource.__name__.lower()}", resource())
    return app
