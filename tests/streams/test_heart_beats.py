"""Heart-beats of event streams under ASGI, which another task sends than the stream's own
chunks.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from micropie import App, EventStream
from tests.asgi.calls import Call, http_scope, piece, run
from tests.support.waiting import until_async

COMMENT = b": \n\n"


class SlowClient(Call):
    """`send` takes some turns of the event loop, and refuses to be called meanwhile.

    `beat` is set when one is begun.

    The first comment is sent with the head, and is no heart-beat.
    """

    def __init__(self, failure: Exception | None = None) -> None:
        super().__init__(piece(b""))
        self.failure = failure
        self.is_sending = False
        self.beat = anyio.Event()

    async def send(self, message: Any) -> None:
        assert not self.is_sending
        self.is_sending = True
        if message.get("body") == COMMENT and len(self.sent) > 1:
            self.beat.set()
            self.beat = anyio.Event()
            if self.failure is not None:
                raise self.failure
        for _ in range(5):
            await checkpoint()
        self.is_sending = False
        await super().send(message)


class Silent(App):
    """Events that come, and an end that comes, while a heart-beat is being sent."""

    def __init__(self, client: SlowClient) -> None:
        super().__init__()
        self.client = client
        self.is_closed = False

    async def index(self) -> EventStream:
        return EventStream(self._events(), heartbeat=0.01)

    async def _events(self) -> AsyncIterator[str]:
        try:
            for text in "abc":
                yield text
                await self.client.beat.wait()
        finally:
            self.is_closed = True


class Endless(Silent):
    async def _events(self) -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            self.is_closed = True


def test_heartbeats_and_events_are_never_sent_at_the_same_time(backend: str) -> None:
    async def served() -> Call:
        client = SlowClient()
        await Silent(client)(http_scope(), client.receive, client.send)
        return client

    client = run(backend, served)
    assert client.is_complete
    assert client.body.replace(COMMENT, b"") == b"data: a\n\ndata: b\n\ndata: c\n\n"
    assert client.body.count(COMMENT) >= 4


class Late(SlowClient):
    """`send` takes the head only after the server was asked whether the client has left."""

    async def send(self, message: Any) -> None:
        if not self.sent:
            await until_async(lambda: self.received)
        await super().send(message)


def test_heartbeats_are_sent_to_a_client_that_takes_long_for_the_head(backend: str) -> None:
    async def served() -> Call:
        client = Late()
        await Silent(client)(http_scope(), client.receive, client.send)
        return client

    assert run(backend, served).body.count(COMMENT) >= 4


@pytest.mark.parametrize("failure", [ConnectionResetError(), RuntimeError("closed")])
def test_a_heartbeat_that_cannot_be_sent_ends_the_stream(backend: str, failure: Exception) -> None:
    async def served() -> bool:
        client = SlowClient(failure)
        app = Endless(client)
        await app(http_scope(), client.receive, client.send)
        return app.is_closed

    assert run(backend, served)


class Thoughtful(Call):
    """It takes longer for an event than the pause between heart-beats, none of which may be sent
    meanwhile.
    """

    async def send(self, message: Any) -> None:
        if b"data" in message.get("body", b""):
            await anyio.sleep(0.1)
        await super().send(message)


def test_a_client_that_receives_an_event_slowly_gets_no_heartbeat_meanwhile(backend: str) -> None:
    class Two(App):
        async def index(self) -> EventStream:
            return EventStream(self._events(), heartbeat=0.01)

        async def _events(self) -> AsyncIterator[str]:
            yield "a"
            yield "b"

    call = Thoughtful(piece(b""))
    run(backend, Two(), http_scope(), call.receive, call.send)
    assert call.body == COMMENT + b"data: a\n\ndata: b\n\n"
