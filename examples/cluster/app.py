"""One application for several machines: log-in, counters, uploads, a chat with history, a live
page, a computation.

Each machine runs the same file. The settings come from environment variables:

    REDIS_URL=redis://10.0.0.2:6379/0 MACHINE=a uvicorn --http h11 --no-proxy-headers --workers 2 examples.cluster.app:app
    REDIS_URL=redis://10.0.0.2:6379/0 MACHINE=b gunicorn -k gthread --threads 64 --workers 2 --forwarder-headers none examples.cluster.app:app

With ``SCHEDULER=tcp://10.0.0.2:8786``, a Dask cluster runs the computation, otherwise a pool of
processes on the same machine. ``scripts/machines`` runs all of this on one machine, and makes parts
of it fail.
"""  # noqa: E501

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import anyio
from anyio.to_thread import run_sync

from examples.cluster.computing import Computing
from examples.cluster.history import History
from micropie import App, EventStream, HTTPError, Response, UploadFile, WebSocket, event, get, post
from micropie.channels import MessagesLost, RedisChannels
from micropie.middleware import RateLimit, RedisRates, SecurityDefaults
from micropie.sessions import RedisSessionBackend

REDIS_URL = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
MACHINE = os.environ.get("MACHINE", "this machine")
SCHEDULER = os.environ.get("SCHEDULER", "")
HOSTS = os.environ.get("HOSTS", "localhost 127.0.0.1 ::1").split()
PROXIES = os.environ.get("PROXIES", "").split()

POLICY = "default-src 'self'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
LONGEST = 2000  # the maximum number of characters in a chat message


class Cluster(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._history = History(REDIS_URL)

    def index(self) -> Any:
        return self.render("page.html")

    @get
    def who(self) -> dict[str, Any]:
        """Return the name of the process that handles the request, and its time."""
        return {"machine": MACHINE, "process": os.getpid(), "time": time.time()}

    @RateLimit(1_000_000, per=60, store=RedisRates(REDIS_URL))
    def limited(self) -> dict[str, Any]:
        """Return the same as ``who``, with a rate limit that all machines count together."""
        return self.who()

    # -- a session: the same on each machine -------------------------------------------------------

    @post
    def login(self, name: str) -> dict[str, Any]:
        session = self.request.session
        session.regenerate()
        session["user"] = name
        return {"user": name}

    def me(self) -> dict[str, Any]:
        session = self.request.session
        return {"user": session.get("user"), "visits": session.get("visits", 0), "machine": MACHINE}

    @post
    def visit(self) -> dict[str, Any]:
        """Count a visit. No count is lost when several machines count at the same time."""
        session = self.request.session
        if "user" not in session:
            raise HTTPError(403, "Please log in.")
        session.update_atomic("visits", lambda count: (count or 0) + 1)
        return {"user": session["user"], "machine": MACHINE}

    # -- uploads -----------------------------------------------------------------------------------

    @post
    def upload(self, file: UploadFile) -> dict[str, Any]:
        digest = hashlib.sha256()
        for piece in file:
            digest.update(piece)
        return {"size": file.size, "sha256": digest.hexdigest()}

    # -- a chat with history -----------------------------------------------------------------------

    @post
    async def say(self, room: str, key: str, text: str) -> dict[str, str]:
        """Store a message and publish it to all machines.

        The client chooses ``key``. If it sends a message again with the same key, the message is
        stored only once.
        """
        return {"key": key, "id": await self._say(room, key, text)}

    async def history(self, room: str, after: str = "0") -> list[dict[str, str]]:
        return await run_sync(self._history.read, room, after)

    async def live(self, room: str, after: str = "0") -> EventStream:
        """Stream a room's messages. A browser that reconnects continues after the last event that
        it has received.
        """
        after = self.request.last_event_id or after
        return EventStream(self._events(room, after), heartbeat=5.0)

    async def ws_chat(self, ws: WebSocket, room: str, after: str = "0") -> None:
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._tell, ws, room, after)
            while True:  # ConnectionClosed ends this when the client disconnects
                match await ws.receive_json():
                    case {"key": str(key), "text": str(text)}:
                        tasks.start_soon(self._say_and_acknowledge, ws, room, key, text)
                    case _:
                        await ws.close(1008, 'Send {"key": ..., "text": ...}.')

    async def _say_and_acknowledge(self, ws: WebSocket, room: str, key: str, text: str) -> None:
        try:
            answer = {"acknowledged": key, "id": await self._say(room, key, text)}
        except ConnectionError:
            # Redis is unavailable. The client sends the message again later, with the same key.
            answer = {"refused": key}
        await ws.send_json(answer)

    async def _say(self, room: str, key: str, text: str) -> str:
        """Store the message, then publish it.

        A client that gets no response sends the message again, so this may run twice for a message.
        """
        stored = await run_sync(self._history.store, room, key, text[:LONGEST])
        await self.channels.publish(room, stored)
        return stored

    async def _tell(self, ws: WebSocket, room: str, after: str) -> None:
        async for message in self._follow(room, after):
            await ws.send_json(message)
        await ws.close(1001, "The server ends.")

    async def _events(self, room: str, after: str) -> AsyncIterator[object]:
        async for message in self._follow(room, after):
            if "id" in message:
                yield event(message, id=message["id"])
            else:
                yield event(message, event="gap")

    async def _follow(self, room: str, after: str) -> AsyncIterator[dict[str, Any]]:
        """Yield the room's messages after ``after``, the stored ones first, until the server shuts
        down.

        A message on the channel only means that there is something to read. The subscription begins
        before the history is read, so no message is missed. If messages on the channel are lost, a
        new subscription begins, and the history is read again.
        """
        while True:
            try:
                async with self.channels.subscribe(room, when_full="close") as news:
                    while True:
                        for message in await run_sync(self._history.read, room, after):
                            after = message["id"]
                            yield message
                        if await anext(news, None) is None:
                            return
            except (MessagesLost, ConnectionError) as error:
                yield {"gap": str(error)}
                await anyio.sleep(0.5)


def dask_executor() -> Executor | None:
    """Return the executor of the Dask cluster, if there is one."""
    if not SCHEDULER:
        return None
    from distributed import Client  # noqa: PLC0415 - an optional dependency, which takes a second to import

    client: Any = Client(SCHEDULER)  # type: ignore[no-untyped-call]
    executor: Executor = client.get_executor()
    return executor


app = Cluster(
    session_backend=RedisSessionBackend(REDIS_URL),
    channels=RedisChannels(REDIS_URL),
    templates=Path(__file__).parent,
    security=SecurityDefaults(*HOSTS, proxies=PROXIES, csp=POLICY),
)
# For the load balancer. Redis isn't checked, because all machines use it: during an outage of
# Redis, the load balancer would stop using all of them.
app.health("/livez", live=True)
app.compute = Computing(pool=dask_executor(), pool_timeout=30)


@app.error(ConnectionError)
def out_of_reach() -> Response:
    """Respond with 503 if Redis is unavailable, as micropie does for its own sessions and
    channels.
    """
    return Response(
        "The chat is unavailable. Please try again in a moment.", 503, [("Retry-After", "1")]
    )
