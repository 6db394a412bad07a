"""A page with a form, and Socket.IO beside it."""

from typing import Any

import socketio
from markupsafe import Markup

from micropie import App, post

FORM = '<form method="post" action="/bake"><input name="pie"><button>Bake</button></form>'


class Talk(App):
    def index(self) -> Any:
        return Markup(FORM)

    @post
    def bake(self, pie: str) -> str:
        return f"baked {pie}"


sio = socketio.AsyncServer(async_mode="asgi")


@sio.event
async def say(sid: str, data: str) -> None:
    await sio.emit("heard", data, to=sid)


app = socketio.ASGIApp(sio, Talk())
