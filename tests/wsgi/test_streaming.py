"""The task that makes the chunks of an async stream, and the server's thread that takes them."""

from __future__ import annotations

from anyio import sleep
from anyio.lowlevel import checkpoint

from micropie._core.execution import await_in_background
from micropie._core.streams import LoopStream
from micropie.wsgi.streaming import StreamReader
from tests.support.waiting import until


class Items:
    """It makes its third item when the server's thread closes the stream.

    Closing it takes some turns of the loop.
    """

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
    items.reader = reader = StreamReader(LoopStream(items), "asyncio")
    assert [reader.take(), reader.take()] == [b"x", b"x"]
    until(lambda: items.made == 3)
    reader.close()
    assert items.is_closed


class Counted:
    """Chunks without end. It never waits."""

    def __init__(self) -> None:
        self.made = 0

    def __aiter__(self) -> Counted:
        return self

    async def __anext__(self) -> str:
        self.made += 1
        return "x"


def test_the_stream_s_task_is_at_most_two_chunks_ahead_and_starts_on_demand() -> None:
    items = Counted()
    reader = StreamReader(LoopStream(items), "asyncio")
    ahead = []
    for asked in range(1, 10):
        assert reader.take() == b"x"
        await_in_background("asyncio", sleep, (0.01,))  # for as much as the task may make
        ahead.append(items.made - asked)
    chunks = reader.chunks()
    assert next(chunks) == b"x"
    reader.close()
    assert list(chunks) == []
    assert ahead == [0, 2, 1, 0, 2, 1, 0, 2, 1]
    assert items.made <= 13
