"""A Bottle and a CherryPy program with the changed import line, and an ``App`` that mounts both."""

from __future__ import annotations

from typing import Any

from micropie import App
from micropie_compat import bottle, cherrypy

wiki = bottle.Bottle()


@wiki.get("/pages/<name>")
def page(name: str) -> Any:
    if name != "pie":
        bottle.abort(404, "No such page.")
    return {"name": name, "from": bottle.request.query.of or "nobody"}


@wiki.post("/pages/<name>")
def save(name: str) -> str:
    bottle.response.status = 201
    return f"{name}: {bottle.request.forms.text}"


class Shop:
    @cherrypy.expose
    def index(self) -> str:
        return f"<a href='{cherrypy.url('/price')}'>prices</a>"

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def price(self, pie: str, pieces: str = "1") -> Any:
        if pie != "plum":
            raise cherrypy.HTTPError(404, "No such pie.")
        return {"pie": pie, "price": 4 * int(pieces)}


shop = cherrypy.Application(Shop(), "")


class Site(App):
    def index(self) -> str:
        return "native"


app = Site()
app.mount("/wiki", wiki)
app.mount("/shop", cherrypy.Application(Shop(), "/shop"))
