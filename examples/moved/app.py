"""Two applications that are being migrated. Under /mounted they run on their own frameworks, under
/moved on the compatibility modules.

To migrate an application, change one import. Then add new handlers and WebSockets beside the
existing ones.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import bottle
import cherrypy

from micropie import App, WebSocket
from micropie_compat import bottle as bottle_in_its_place
from micropie_compat import cherrypy as cherrypy_in_its_place


def wiki(bottle: ModuleType) -> Any:
    """Return an application written with ``import bottle``."""
    app = bottle.Bottle()
    pages = {"pie": "A pie is baked."}

    @app.get("/<name>")  # type: ignore[untyped-decorator]
    def show(name: str) -> Any:
        if name not in pages:
            bottle.abort(404, "No such page.")
        return {"name": name, "text": pages[name]}

    @app.post("/<name>")  # type: ignore[untyped-decorator]
    def save(name: str) -> str:
        pages[name] = bottle.request.forms.text
        bottle.response.status = 201
        return "saved"

    return app


def shop(cherrypy: ModuleType, prefix: str) -> Any:
    """Return an application written with ``import cherrypy``."""

    class Shop:
        @cherrypy.expose  # type: ignore[untyped-decorator]
        def index(self) -> str:
            address: str = cherrypy.url("/price/plum", relative="server")
            return f"pies: {address}"

        @cherrypy.expose  # type: ignore[untyped-decorator]
        @cherrypy.tools.json_out()  # type: ignore[untyped-decorator]
        def price(self, pie: str, pieces: str = "1") -> Any:
            if pie != "plum":
                raise cherrypy.HTTPError(404, "No such pie.")
            return {"pie": pie, "price": 4 * int(pieces)}

    cherrypy.tree.mount(Shop(), prefix)
    return cherrypy.tree


class Site(App):
    def index(self) -> str:
        return (
            "The wiki is at /mounted/wiki/pie and /moved/wiki/pie, the shop "
            "at /mounted/shop and /moved/shop."
        )


moved = wiki(bottle_in_its_place)


@moved.native.get("/length/<name>")  # type: ignore[untyped-decorator]
async def length(name: str) -> dict[str, int]:
    """A new handler of the migrated application."""
    return {"length": len(name)}


@moved.websocket("/echo")  # type: ignore[untyped-decorator]
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    while True:  # receive_text() ends this with an exception when the client disconnects
        await ws.send_text(await ws.receive_text())


app = Site()
app.mount("/mounted/wiki", wiki(bottle))
app.mount("/moved/wiki", moved)
app.mount("/mounted/shop", shop(cherrypy, "/mounted/shop"))
app.mount("/moved/shop", shop(cherrypy_in_its_place, "/moved/shop"))
