"""Socket.IO in an application: python-socketio handles paths under /socket.io, micropie all others.

It needs a server that runs on asyncio, such as uvicorn, hypercorn or granian, and ``pip install
python-socketio``.
"""

from __future__ import annotations

from typing import Any

import socketio

from micropie import App, post

sio: Any = socketio.AsyncServer(async_mode="asgi")


class Site(App):
    def index(self) -> str:
        return "Connect a Socket.IO client to this address."

    @post
    async def announce(self, text: str) -> str:
        await sio.emit("news", text)  # to all clients
        return "announced"


@sio.event  # type: ignore[untyped-decorator]
async def say(sid: str, text: str) -> str:
    """Pass a client's message on to the other clients, and confirm it to the sender."""
    await sio.emit("said", str(text), skip_sid=sid)
    return "passed on"


app = socketio.ASGIApp(sio, Site())
