"""An old application on its way: below /mounted it runs on its own framework, below /moved on the module in its place.

Moving is the change of one import. New handlers and WebSockets then stand beside the old ones.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import bottle as original

from micropie import App, WebSocket
from micropie.compat import bottle as in_its_place


def wiki(bottle: ModuleType) -> Any:
    """Make the old application. Its author has written ``import bottle``."""
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


class Site(App):
    def index(self) -> str:
        return "The wiki is at /mounted/pie and at /moved/pie."


moved = wiki(in_its_place)


@moved.native.get("/length/<name>")  # type: ignore[untyped-decorator]
async def length(name: str) -> dict[str, int]:
    """A new handler of the moved application."""
    return {"length": len(name)}


@moved.websocket("/echo")  # type: ignore[untyped-decorator]
async def echo(ws: WebSocket) -> None:
    await ws.accept()
    while True:  # until the client leaves
        await ws.send_text(await ws.receive_text())


app = Site()
app.mount("/mounted", wiki(original))
app.mount("/moved", moved)
