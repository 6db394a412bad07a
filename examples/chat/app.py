"""Chat rooms that use channels.

Clients send messages with POST. Pages receive them as events; programs can use a WebSocket.

Under a WSGI server it works without the WebSocket. If you start several workers, set
CHAT_REDIS=redis://localhost:6379/0.
"""

from __future__ import annotations

import os
from typing import Annotated

from msgspec import Meta

from micropie import App, EventStream, WebSocket, get, post, template
from micropie.channels import Channels, RedisChannels
from micropie.middleware import SecurityDefaults

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{{ room }}</title>
<main>
<h1>{{ room }}</h1>
<form><input name="name" aria-label="Name" value="Somebody" required>
<input name="text" aria-label="Message" autocomplete="off" required> <button>Say</button></form>
<ul></ul>
</main>
<script nonce="{{ request.state.csp_nonce }}">
  const form = document.querySelector("form"), list = document.querySelector("ul");
  new EventSource("{{ url_for("messages", room) }}").onmessage = ({ data }) => {
    const { name, text } = JSON.parse(data), item = document.createElement("li");
    item.textContent = `${name}: ${text}`;  // textContent, never innerHTML: what people write is text
    list.prepend(item);
  };
  form.onsubmit = (submit) => {
    submit.preventDefault();
    fetch("{{ url_for("say", room) }}", { method: "POST", body: new URLSearchParams(new FormData(form)) });
    form.elements.text.value = "";
  };
</script>
"""  # noqa: E501

Name = Annotated[str, Meta(min_length=1, max_length=40)]
Text = Annotated[str, Meta(min_length=1, max_length=2000)]


class Chat(App):
    def __init__(self) -> None:
        redis = os.environ.get("CHAT_REDIS")
        policy = "default-src 'self'; script-src 'nonce-{nonce}'"
        super().__init__(
            channels=RedisChannels(redis) if redis else Channels(),
            security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp=policy),
        )

    @get
    def index(self, room: Name = "kitchen") -> str:
        return template(source=PAGE, room=room)

    @post
    async def say(self, room: Name, name: Name, text: Text) -> tuple[int, None]:
        await self.channels.publish(f"room {room}", {"name": name, "text": text})
        return 204, None

    @get
    async def messages(self, room: Name) -> EventStream:
        return EventStream(self.channels.subscribe(f"room {room}"))

    async def ws_room(self, ws: WebSocket, room: Name, name: Name = "Somebody") -> None:
        await ws.accept()
        await ws.forward(self.channels.subscribe(f"room {room}"))
        while True:  # when the client disconnects, ConnectionClosed ends this loop
            text = await ws.receive_text()
            await self.channels.publish(f"room {room}", {"name": name, "text": text})


app = Chat()
