"""The task that makes the chunks of an async stream, and the server's thread that takes them."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from anyio import CancelScope, sleep
from anyio.lowlevel import checkpoint

from micropie._core.execution import await_in_background
from micropie._core.streams import (
    BYTES_AHEAD,
    CHUNKS_AHEAD,
    JOINED,
    EventsFromThread,
    LoopStream,
    as_bytes,
)
from micropie._core.streams.source import HEART_BEAT, EventRules, ShutdownSignal
from micropie.wsgi.streaming import EventReader, StreamReader, TaskReader, reader_of
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


async def leaves_a_scope_open() -> AsyncIterator[str]:
    """As a generator does that enters a client into an ``AsyncExitStack`` of its provider."""
    CancelScope().__enter__()
    yield "x"


def test_a_scope_that_a_generator_leaves_open_fails_its_stream(backend: str) -> None:
    stream = LoopStream(leaves_a_scope_open())
    reader = TaskReader(stream, backend)
    assert reader._next() == b"x"
    with pytest.raises(RuntimeError, match="ancel scope"):
        reader.take()
    assert not stream.is_open


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


EVENTS = EventRules(None, ShutdownSignal())


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
        assert reader._next() == b"x" * size
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


class Notes:
    """Notes the chunks that it transforms."""

    def __init__(self) -> None:
        self.fed: list[bytes] = []

    def feed(self, chunk: bytes) -> bytes:
        self.fed.append(chunk)
        return chunk.upper()

    def finish(self) -> bytes:
        return b"end"


@pytest.mark.parametrize("fails", [False, True])
def test_chunks_that_are_ready_are_transformed_as_one(fails: bool) -> None:
    may_go_on, notes, made = threading.Event(), Notes(), threading.Event()

    async def source() -> AsyncIterator[str]:
        yield "a"
        yield "b"
        while not may_go_on.is_set():
            await checkpoint()
        for chunk in "cde":
            yield chunk
        made.set()
        if fails:
            raise ValueError("after the last chunk")

    stream = LoopStream(source())
    stream.transform(notes)
    reader = TaskReader(stream, "asyncio")
    chunks = reader.chunks()
    taken = [reader.take(), next(chunks)]
    may_go_on.set()
    until(made.is_set)
    taken.append(next(chunks))
    if fails:
        with pytest.raises(ValueError, match="after the last chunk"):
            next(chunks)
    else:
        taken += chunks
    assert taken == [b"A", b"B", b"CDE", *[b"end"][fails:]]
    assert notes.fed == [b"a", b"b", b"cde"]


def test_other_tasks_run_during_a_stream_that_never_waits_and_is_taken_at_once() -> None:
    others: list[int] = []
    readers: list[StreamReader] = []

    def is_asked_for(number: int) -> bool:
        return any(reader._requested > number for reader in readers)

    async def made() -> AsyncIterator[bytes]:
        asyncio.get_running_loop().call_soon(others.append, 0)
        for number in range(100_000):
            until(partial(is_asked_for, number))
            yield b"x"
            if others:
                return
        raise AssertionError("no other task has run")

    stream = LoopStream(made())
    stream.first = b""
    readers.append(TaskReader(stream, "asyncio"))
    assert set(b"".join(readers[0].chunks())) == set(b"x")


def exchange() -> Any:
    """Return as much of a request's exchange as a reader needs."""
    settings = SimpleNamespace(portal_backend="asyncio")
    return SimpleNamespace(lane=None, config=SimpleNamespace(settings=settings))


def events(source: Any, shutdown: ShutdownSignal, encode: Any = as_bytes) -> EventReader:
    """Return what makes the events of a stream whose response has started."""
    stream = LoopStream(EventsFromThread(source), events=EventRules(None, shutdown))
    stream.encode = encode
    stream.first = HEART_BEAT
    reader = reader_of(stream, exchange())
    assert isinstance(reader, EventReader)
    return reader


class Fails:
    """A source that fails, also when it is closed. ``interrupt`` ends its wait, as the pool's."""

    def __init__(self, *events: bytes, waits: bool = False) -> None:
        self._events = iter(events)
        self._is_interrupted = threading.Event()
        self.is_waiting = False
        if waits:
            self.interrupt_next = self._is_interrupted.set

    def __iter__(self) -> Fails:
        return self

    def __next__(self) -> bytes:
        for made in self._events:
            return made
        if hasattr(self, "interrupt_next"):
            self.is_waiting = True
            assert self._is_interrupted.wait(30)
        raise ValueError("of the source")

    def close(self) -> None:
        if not self.is_waiting:
            raise LookupError("of close")


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["last", "failure", "unread failure", "shutdown", "left"])
def test_a_reader_of_events_is_freed_without_the_cycle_collector(end: str) -> None:
    shutdown = ShutdownSignal()
    source = iter(()) if end == "last" else Fails(b"a", waits=end in ("left", "shutdown"))
    reader = events(source, shutdown)
    if end == "last":
        assert list(reader.chunks()) == []
    elif end == "failure":
        chunks = reader.chunks()
        assert next(chunks) == b"a"
        with pytest.raises(ValueError, match="of the source"):
            next(chunks)
    elif end == "unread failure":
        untaken = reader._failures
        until(lambda: untaken)
        with pytest.raises(ValueError, match="of the source"):
            reader.close()
    else:
        until(lambda: isinstance(source, Fails) and source.is_waiting)
        if end == "shutdown":
            shutdown.end()
            assert list(reader.chunks()) == [b"a"]
        else:
            reader.close()
    freed = weakref.ref(reader)
    del reader
    until(lambda: freed() is None)  # the thread lets go of it a moment later


def test_an_event_that_is_made_during_a_shutdown_does_not_break_the_stream() -> None:
    shutdown = ShutdownSignal()

    def encode(item: bytes) -> bytes:
        if item == b"b":
            shutdown.end()
        return item

    reader = events(iter((b"a", b"b", b"c")), shutdown, encode)
    until(lambda: reader._count == 2)
    assert list(reader.chunks()) == [b"a"]


class Upper:
    """A transform that has something to send at the end."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.upper()

    def finish(self) -> bytes:
        return b"the end"


def test_a_transform_of_events_has_the_last_word() -> None:
    stream = LoopStream(EventsFromThread(iter([b"a", b"b"])), events=EVENTS)
    stream.first = b""
    stream.transform(Upper())
    reader = reader_of(stream, exchange())
    assert isinstance(reader, EventReader)
    assert b"".join(reader.chunks()) == b"ABthe end"
