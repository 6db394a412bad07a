"""The task that makes the chunks of an async stream, and the server's thread that takes them."""

from __future__ import annotations

from anyio.lowlevel import checkpoint

from micropie.streams import LoopSource
from micropie.wsgi.streaming import StreamReader
from tests.support.waiting import until


class Items:
    """It makes its third item when the server's thread closes the stream. Closing it takes some turns of the loop."""

    reader: StreamReader

    def __init__(self) -> None:
        self.made = 0
        self.is_closed = False

    def __aiter__(self) -> Items:
        return self

    async def __anext__(self) -> str:
        self.made += 1
        if self.made == 3:
            until(lambda: self.reader._is_closing)
        return "x"

    async def aclose(self) -> None:
        for _ in range(20):
            await checkpoint()
        self.is_closed = True


def test_a_source_that_is_being_closed_is_not_cancelled() -> None:
    items = Items()
    items.reader = reader = StreamReader(LoopSource(items), "asyncio")
    assert [reader.next(), reader.next()] == [b"x", b"x"]
    until(lambda: items.made == 3)
    reader.close()
    assert items.is_closed
