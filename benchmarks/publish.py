"""`python -m benchmarks.publish`: the processor time of one message to many subscribers, beside
Starlette.

Each subscriber is a task in an ASGI application, a WebSocket or a client of an event stream, whose
server is a `send` that counts. Starlette's applications have one `asyncio.Queue` for each
subscriber, which is the least that keeps a slow subscriber from delaying others. Both have their
subscribers on one event loop and publish in turns. The time is that of the process, from the call
of `publish` until the last subscriber's message has been sent.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from benchmarks.harness import AsgiApp, Lifespan, Message, make_socket_scope
from micropie import App, EventStream, WebSocket

GOAL = 1.2  # times Starlette's processor time
ROOM = "room"
MESSAGES: dict[str, Any] = {
    "text": "news of the day",
    "object": {"id": 7, "text": "news of the day", "tags": ["a", "b"]},
}
KINDS = ("WebSocket", "events")

Publish = Callable[[Any], Awaitable[object]]
Made = tuple[AsgiApp, Publish, Callable[[], int]]  # an application, and how many subscribers it has


def make_micropie() -> Made:
    class Room(App):
        async def ws_room(self, ws: WebSocket) -> None:
            await ws.accept()
            async with self.channels.subscribe(ROOM) as messages:
                async for message in messages:
                    await (ws.send_text if isinstance(message, str) else ws.send_json)(message)

        async def events(self) -> EventStream:
            return EventStream(self._events(), heartbeat=600)

        async def _events(self) -> AsyncIterator[object]:
            async with self.channels.subscribe(ROOM) as messages:
                async for message in messages:
                    yield message

    room = Room()
    return (
        room,
        lambda message: room.channels.publish(ROOM, message),
        lambda: room.channels.counts()[1],
    )


def make_starlette() -> Made:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route, WebSocketRoute
    from starlette.websockets import WebSocket as StarletteSocket

    queues: set[asyncio.Queue[Any]] = set()

    async def room(ws: StarletteSocket) -> None:
        await ws.accept()
        queue: asyncio.Queue[Any] = asyncio.Queue(100)
        queues.add(queue)
        try:
            while True:
                message = await queue.get()
                await (ws.send_text if isinstance(message, str) else ws.send_json)(message)
        finally:
            queues.discard(queue)

    async def chunks() -> AsyncIterator[str]:
        queue: asyncio.Queue[Any] = asyncio.Queue(100)
        queues.add(queue)
        try:
            while True:
                message = await queue.get()
                yield f"data: {message if isinstance(message, str) else json.dumps(message)}\n\n"
        finally:
            queues.discard(queue)

    async def events(request: Request) -> StreamingResponse:
        return StreamingResponse(chunks(), media_type="text/event-stream")

    async def publish(message: object) -> None:
        for queue in queues:
            queue.put_nowait(message)

    return (
        Starlette(routes=[WebSocketRoute("/room", room), Route("/events", events)]),
        publish,
        lambda: len(queues),
    )


CONTENDERS = {"micropie": make_micropie, "Starlette": make_starlette}


class Crowd:
    """The clients of one application, all of one kind."""

    def __init__(self, app: AsgiApp, publish: Publish, subscribers: Callable[[], int]) -> None:
        self.publish = publish
        self._subscribers = subscribers
        self.lifespan = Lifespan(app)
        self.last: Message = {}
        self._app = app
        self._missing = 0
        self._all_have_it = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def join(self, kind: str, size: int) -> None:
        await self.lifespan.startup()
        for _ in range(size):
            scope = make_socket_scope("/room", self.lifespan.state)
            if kind == "events":
                scope |= {
                    "type": "http",
                    "method": "GET",
                    "scheme": "http",
                    "path": "/events",
                    "raw_path": b"/events",
                }
            self._tasks.append(asyncio.create_task(self._client(scope)))
        while self._subscribers() < size:  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def _client(self, scope: Message) -> None:
        kind = "websocket.connect" if scope["type"] == "websocket" else "http.request"
        messages: list[Message] = [{"type": kind, "body": b"", "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

        await self._app(scope, receive, self._send)

    async def _send(self, message: Message) -> None:
        content = message.get("text") or message.get("body") or b":"
        if content[0] in (":", 58):  # no message, but a head, or a comment
            return
        self._missing -= 1
        self.last = message
        if self._missing == 0:
            self._all_have_it.set()

    async def tell(self, message: object) -> float:
        """Publish, and return the seconds of the processor until all have the message."""
        self._missing, self._all_have_it = len(self._tasks), asyncio.Event()
        began = time.process_time()
        await self.publish(message)
        await asyncio.wait_for(self._all_have_it.wait(), 60)
        for _ in range(5):  # until all wait again
            await asyncio.sleep(0)
        return time.process_time() - began

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.lifespan.shutdown()


def content_of(message: Message) -> object:
    """Return what a subscriber was sent."""
    text = (
        message["text"]
        if "text" in message
        else message["body"].decode().removeprefix("data: ").strip()
    )
    return json.loads(text) if text.startswith("{") else text


async def measure(kind: str, size: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return for each contender and message the seconds of each publish."""
    crowds = {name: Crowd(*make()) for name, make in CONTENDERS.items()}
    spent: dict[str, dict[str, list[float]]] = {
        name: {what: [] for what in MESSAGES} for name in crowds
    }
    for crowd in crowds.values():
        await crowd.join(kind, size)
    for number in range(rounds + 1):
        for what, message in MESSAGES.items():
            for name, crowd in crowds.items():
                gc.collect()
                gc.disable()
                try:
                    seconds = await crowd.tell(message)
                finally:
                    gc.enable()
                if content_of(crowd.last) != message:
                    raise SystemExit(f"{name} sent {crowd.last!r}")
                if number:  # the first is for warming up
                    spent[name][what].append(seconds)
    for crowd in crowds.values():
        await crowd.leave()
    return spent


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.publish", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=15, help="the median counts (%(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--check", action="store_true", help="exit with 1 unless the goal is met")
    options = parser.parse_args(arguments)
    missed = 0
    print(
        "| µs of the processor for each subscriber | micropie | Starlette | "
        "times |\n| --- | ---: | ---: | ---: |"
    )
    for kind in options.kinds:
        spent = asyncio.run(measure(kind, options.subscribers, options.rounds))
        for what in MESSAGES:
            each = {
                name: statistics.median(by[what]) / options.subscribers * 1e6
                for name, by in spent.items()
            }
            ratio = each["micropie"] / each["Starlette"]
            missed += ratio > GOAL
            print(
                f"| {kind}, {what} | {each['micropie']:.2f} | "
                f"{each['Starlette']:.2f} | {ratio:.2f} |"
            )
    print(
        f"\n- {'MISSED' if missed else 'met'}: at most {GOAL} times "
        "Starlette's processor time in each row"
    )
    return int(options.check and bool(missed))


if __name__ == "__main__":
    raise SystemExit(main())
