"""The task that makes the chunks of an async stream, and the server's thread that takes them."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator

import pytest
from anyio import sleep
from anyio.lowlevel import checkpoint

from micropie._core.execution import await_in_background
from micropie._core.streams import CHUNKS_AHEAD, JOINED, LoopStream, as_bytes
from micropie._core.streams.source import EventRules, ShutdownSignal
from micropie.wsgi.streaming import BYTES_AHEAD, TaskReader
from tests.support.waiting import until


class Items:
    """It makes its third item when the server's thread closes the stream.

    Closing it takes some turns of the loop.
    """

    reader: TaskReader

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
    items.reader = reader = TaskReader(LoopStream(items), "asyncio")
    assert [reader.take(), reader.take()] == [b"x", b"x"]
    until(lambda: items.made == 3)
    reader.close()
    assert items.is_closed


class Counted:
    """Chunks without end, of ``size`` bytes. It never waits."""

    def __init__(self, size: int = 1) -> None:
        self.made = 0
        self.size = size

    def __aiter__(self) -> Counted:
        return self

    async def __anext__(self) -> str:
        self.made += 1
        return "x" * self.size


EVENTS = EventRules(as_bytes, None, ShutdownSignal())


@pytest.mark.parametrize(
    ("size", "events", "ahead"),
    [(1, None, CHUNKS_AHEAD), (BYTES_AHEAD // 2, None, 2), (BYTES_AHEAD, None, 1), (1, EVENTS, 3)],
)
def test_the_stream_s_task_starts_on_demand_and_makes_only_some_chunks_more(
    size: int, events: EventRules | None, ahead: int
) -> None:
    items = Counted(size)
    reader = TaskReader(LoopStream(items, events=events), "asyncio")
    made = []
    for _ in range(2 * ahead + 2):
        assert reader.take() == b"x" * size
        await_in_background("asyncio", sleep, (0.01,))  # for as much as the task may make
        made.append(items.made)
    chunks = reader.chunks()
    next(chunks)
    reader.close()
    assert list(chunks) == []
    # it makes them only when the server has taken all of them
    assert made == [1, *ahead * [1 + ahead], *ahead * [1 + 2 * ahead], 1 + 3 * ahead]


def test_chunks_that_are_ready_are_taken_as_one_until_they_are_large() -> None:
    may_go_on = threading.Event()
    large = b"x" * JOINED

    async def made() -> AsyncIterator[bytes]:
        yield b"0"
        yield b"1"
        while not may_go_on.is_set():
            await checkpoint()
        for chunk in (b"2", large, b"3", large):
            yield chunk
        raise ValueError("after the last chunk")

    reader = TaskReader(LoopStream(made()), "asyncio")
    chunks = reader.chunks()
    assert [reader.take(), next(chunks)] == [b"0", b"1"]
    may_go_on.set()
    until(lambda: reader._failures)
    assert [next(chunks), next(chunks)] == [b"2" + large, b"3" + large]
    with pytest.raises(ValueError, match="after the last chunk"):
        next(chunks)
