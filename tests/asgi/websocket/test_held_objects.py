"""What an idle WebSocket holds. Thousands may be open, so each object and each task counts."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from functools import partial
from pathlib import Path
from types import CoroutineType, GeneratorType, MethodType

import pytest

import micropie
from micropie import App, WebSocket
from tests.asgi.calls import run
from tests.asgi.websocket.test_forwarding import Room, connected, turns

PACKAGE = str(Path(micropie.__file__).parent)


class Looping(App):
    """A second task of each handler takes the messages."""

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._forward(ws))
            async for text in ws:
                await self.channels.publish("room", text)

    async def _forward(self, ws: WebSocket) -> None:
        async with self.channels.subscribe("room") as messages:
            async for message in messages:
                await ws.send_text(message)


# An object more takes memory in each WebSocket: create it when it is needed, or drop what isn't
# needed after the handshake, before you add a name here.
HELD = {
    # The server's task runs the handler in these coroutines.
    "serve_websocket": 1,
    "Connection.run": 1,
    "Connection._run_handler": 1,
    "Connection.receive": 1,
    # Another task reads messages in these.
    "_Running.run": 1,
    "Connection._read": 1,
    "_Running": 1,
    "ASGIWebSocketExchange": 1,
    "AnswerState": 1,
    "ReceivedBody": 1,
    "WebSocketRequest": 1,
    "WebSocket": 1,
    "Connection": 1,
    "GracefulScope": 1,
    "Subscription": 1,
    "Mailbox": 1,
    # One cancels the task that reads, one is called in that task, one exits the scope around the
    # handler, and two are called at shutdown.
    "method": 5,
}
HELD_BY: dict[type[App], tuple[int, dict[str, int]]] = {
    # A message calls the two further methods.
    Room: (2, {**HELD, "Forward": 1, "method": 7}),
    # A message calls one further method, and the other one ends the subscription.
    Looping: (3, {**HELD, "Subscription.__anext__": 1, "TaskWaiter": 1, "method": 7}),
}


def name_of(item: object) -> str:
    """Return the name of one of the package's objects, or "" for any other object."""
    kind: type[object] = type(item)
    if isinstance(item, CoroutineType | GeneratorType):
        code = item.cr_code if isinstance(item, CoroutineType) else item.gi_code
        return item.__qualname__ if code.co_filename.startswith(PACKAGE) else ""
    if isinstance(item, MethodType):
        kind = type(item.__self__)
    elif kind is partial:
        return "partial"
    is_ours = str(kind.__module__).startswith("micropie.")
    return "" if not is_ours else "method" if isinstance(item, MethodType) else kind.__name__


@pytest.mark.parametrize("kind", HELD_BY)
def test_an_idle_websocket_holds_few_objects_and_tasks(kind: type[App]) -> None:
    app, number = kind(), 10

    async def found(number: int) -> tuple[int, Counter[str]]:
        async with connected(app, number):
            await turns()
            gc.collect()
            return len(asyncio.all_tasks()), Counter(map(name_of, gc.get_objects()))

    async def check() -> None:
        tasks, objects = await found(1)
        tasks_now, objects_now = await found(1 + number)
        objects_now.subtract(objects)
        held = {
            name: count / number
            for name, count in objects_now.items()
            if name and abs(count) > number / 2
        }
        assert ((tasks_now - tasks) / number, held) == HELD_BY[kind]

    run("asyncio", check)
