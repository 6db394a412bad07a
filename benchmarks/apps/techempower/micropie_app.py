from typing import Any

from benchmarks.apps.techempower import data
from micropie import App, Response

TEXT = "text/plain"


class Root(App):
    async def plaintext(self) -> Any:
        return Response("Hello, World!", content_type=TEXT)

    async def json(self) -> Any:
        return {"message": "Hello, World!"}

    async def db(self) -> Any:
        return (await data.aworlds(1))[0]

    async def queries(self, n: str = "") -> Any:
        return await data.aworlds(data.count_of(n))

    async def fortunes(self) -> Any:
        return self.render("fortunes.html", fortunes=await data.afortunes())

    async def updates(self, n: str = "") -> Any:
        return await data.aupdated(data.count_of(n))


class SyncRoot(App):
    def plaintext(self) -> Any:
        return Response("Hello, World!", content_type=TEXT)

    def json(self) -> Any:
        return {"message": "Hello, World!"}

    def db(self) -> Any:
        return data.worlds(1)[0]

    def queries(self, n: str = "") -> Any:
        return data.worlds(data.count_of(n))

    def fortunes(self) -> Any:
        return self.render("fortunes.html", fortunes=data.fortunes())

    def updates(self, n: str = "") -> Any:
        return data.updated(data.count_of(n))


def make_asgi() -> Any:
    return Root(templates=data.TEMPLATES)


def make_wsgi() -> Any:
    return SyncRoot(templates=data.TEMPLATES)
