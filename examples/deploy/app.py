"""A site behind nginx, which sends the clients' addresses in headers; see ``nginx.conf``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio

from micropie import App, EventStream, WebSocket, post, reads_body, template
from micropie.middleware import SecurityDefaults

HOST = os.environ.get("SITE_HOST", "example.com")
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>A site</title><link rel="stylesheet" href="{{ url_for("static", path="site.css") }}">
<main>
<h1>A site behind nginx</h1><p>You come from {{ request.client[0] }} by {{ request.scheme }}.
</main>
"""


class Site(App):
    def __init__(self) -> None:
        super().__init__(
            max_body_size=20 * 1024**2,  # as client_max_body_size in nginx.conf
            # Only this proxy may set the client's address and the scheme with its headers.
            security=SecurityDefaults(HOST, proxies=["127.0.0.1"], csp="default-src 'self'"),
        )
        self.static("/static", Path(__file__).parent / "static", max_age=3600)

    def index(self) -> str:
        return template(source=PAGE)

    def me(self) -> dict[str, Any]:
        return {"client": self.request.client, "url": self.request.url}

    @post
    @reads_body
    def upload(self) -> dict[str, int]:
        return {"bytes": sum(len(chunk) for chunk in self.request.chunks())}

    async def events(self) -> EventStream:
        return EventStream(self._ticks())

    async def _ticks(self) -> AsyncIterator[str]:
        while True:
            yield "tick"
            await anyio.sleep(1)

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        while True:  # receive_text() ends this with an exception when the client disconnects
            await ws.send_text(await ws.receive_text())


app = Site()
