"""What waits for a disconnect is bounded, whatever a server's ``receive`` does after the body.

The server counts the calls of ``receive`` and what is still stored of its messages, while an
application sends so many chunks that a task which receives in a loop would be seen.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie import App, event
from micropie.middleware import ends_with_client
from tests.asgi.calls import START, Call, every_loop, http_scope, piece, run

CHUNKS = 400
# The first message, one more, and one that a mounted application asks for itself.
MOST_CALLS = 4


class Told(dict[str, Any]):
    """A message that can be referred to weakly."""


class Server(Call):
    """A server that has sent the whole body."""

    ends = False
    """Whether the application is to take the client for one that has left."""

    def __init__(self) -> None:
        super().__init__(piece(b""))
        self.told = weakref.WeakSet[Any]()

    async def receive(self) -> Any:
        self.received += 1
        if self.incoming:
            return self.incoming.pop(0)
        message = await self.after()
        if isinstance(message, Told):
            self.told.add(Held(message))
        return message

    async def after(self) -> Any:
        raise NotImplementedError


class Held:
    """A weak reference needs an object that is no dict."""

    def __init__(self, message: Told) -> None:
        message["held"] = self


class Repeating(Server):
    """It returns the last message of the body at once, and never waits."""

    async def after(self) -> Any:
        return Told(type="http.request", body=b"", more_body=False)


class Slow(Server):
    """It lets other tasks run before it repeats the message."""

    async def after(self) -> Any:
        await anyio.lowlevel.checkpoint()
        return Told(type="http.request", body=b"", more_body=False)


class Bare(Server):
    """It leaves out what has a default."""

    async def after(self) -> Any:
        return Told(type="http.request")


class More(Server):
    """It says that more follows, and it is always nothing."""

    async def after(self) -> Any:
        return Told(type="http.request", body=b"", more_body=True)


class Blocking(Server):
    async def after(self) -> Any:
        await anyio.sleep_forever()


class Raising(Server):
    ends = True

    async def after(self) -> Any:
        raise RuntimeError("the server has received everything")


class Broken(Server):
    ends = True

    async def after(self) -> Any:
        raise ConnectionResetError


class Cancelled(Server):
    """It cancels what it waits for itself, in a scope of its own."""

    async def after(self) -> Any:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.sleep_forever()
        return Told(type="http.request", body=b"", more_body=False)


class CancellingItself(Server):
    """What it waits for was cancelled by somebody else, which asyncio raises to the caller."""

    async def after(self) -> Any:
        raise asyncio.CancelledError


class Leaving(Server):
    ends = True

    async def after(self) -> Any:
        return Told(type="http.disconnect")


SERVERS = [Repeating, Slow, Bare, More, Blocking, Raising, Broken, Cancelled, Leaving]


async def streaming(scope: Any, receive: Any, send: Any) -> None:
    """Stream, and wait for the disconnect beside it, as applications of other frameworks do."""

    async def wait() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        await receive()
        tasks.start_soon(wait)
        await send(START)
        for _ in range(CHUNKS):
            await anyio.lowlevel.checkpoint()
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        tasks.cancel_scope.cancel()


class Site(App):
    async def chunks(self) -> AsyncIterator[str]:
        for _ in range(CHUNKS):
            await anyio.lowlevel.checkpoint()
            yield "x"

    def lines(self) -> Iterator[str]:
        for _ in range(CHUNKS):
            yield "x"

    async def events(self) -> AsyncIterator[object]:
        for _ in range(CHUNKS):
            await anyio.lowlevel.checkpoint()
            yield event("x")

    @ends_with_client
    async def report(self) -> str:
        for _ in range(CHUNKS):
            await anyio.lowlevel.checkpoint()
        return "x" * CHUNKS


def site() -> App:
    app = Site()
    app.mount("/mounted", streaming)
    app.mount("/isolated", Site(), isolated=True)
    return app


PATHS = ["/chunks", "/lines", "/events", "/report", "/mounted/", "/isolated/chunks"]


@every_loop
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("server", SERVERS)
def test_calls_and_messages_per_request_are_bounded(
    backend: str, server: type[Server], path: str
) -> None:
    call = server()

    async def main() -> None:
        # the mounted application raises what its `receive` has raised
        with suppress(*([Exception] if path == "/mounted/" and server.ends else [])):
            await site()(http_scope("GET", path), call.receive, call.send)
        gc.collect()

    run(backend, main)
    assert call.received <= MOST_CALLS
    assert len(call.told) <= 1
    if not server.ends:
        assert call.status == 200
        assert call.is_complete
        assert call.body.count(b"x") == CHUNKS
    elif path != "/lines":  # a thread may make all of them before the client is known to have left
        assert not call.sent or call.body.count(b"x") < CHUNKS


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/mounted/"])
def test_a_cancelled_receive_does_not_end_the_response(path: str) -> None:
    call = CancellingItself()
    run("asyncio", site(), http_scope("GET", path), call.receive, call.send)
    assert call.received <= MOST_CALLS
    assert call.is_complete


@every_loop
@pytest.mark.parametrize("path", PATHS)
def test_a_failing_send_reveals_the_disconnection(backend: str, path: str) -> None:
    """A server that repeats its message can only report it so."""

    class Failing(Repeating):
        async def send(self, message: Any) -> None:
            if len(self.sent) > CHUNKS // 2:
                raise ConnectionResetError
            await super().send(message)

    call = Failing()
    run(backend, site(), http_scope("GET", path), call.receive, call.send)
    assert call.received <= MOST_CALLS
    assert len(call.sent) <= CHUNKS // 2 + 1
