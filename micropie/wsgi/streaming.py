"""Read async streams under WSGI: a task on the background loop produces the chunks, and the
server's thread takes them.

The task runs ahead of the server by ``CHUNKS_AHEAD`` chunks or ``BYTES_AHEAD`` bytes, or by two
events, because events must not be old when they are sent. Then it waits until these are taken. The
server's thread waits for a chunk, and joins it with those that are ready after it, because
switching between the task and the thread takes many times as long as making a chunk. If an event
stream is silent for too long, the thread sends a heartbeat.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import anyio

from micropie._core import execution
from micropie._core.errors import ClientDisconnect
from micropie._core.execution import AHEAD, CLEAN_UP_WITHIN, await_in_background, background_loop
from micropie._core.streams import (
    CHUNKS_AHEAD,
    END,
    HEART_BEAT,
    JOINED,
    LEFT,
    LoopStream,
    ThreadStream,
    as_bytes,
)

BYTES_AHEAD = 64 * 1024  # two or three frames of a video


def close_stream(stream: LoopStream | ThreadStream, backend: str) -> None:
    """Close a stream that has not ended. Raises any exception that its clean-up raises."""
    try:
        if isinstance(stream, ThreadStream):
            stream.close_items()
        elif stream.driver is not None:
            stream.driver.close()
        else:
            await_in_background(backend, stream.close_items, ())
    finally:
        stream.is_open = False


class StreamReader:
    """Takes the chunks of an async stream, from the first to the last, and closes the stream.

    Only one thread at a time may call ``take`` and ``close``, but it need not be the same thread
    each time.
    """

    def __init__(self, stream: LoopStream, backend: str) -> None:
        self._loop = background_loop(backend)  # do this first, because it may raise an exception
        stream.driver = self
        self._stream = stream
        # The chunks that the task has produced, and END at the end.
        self._made: SimpleQueue[Any] = SimpleQueue()
        self._failures: list[BaseException] = []  # the exception that ended the stream, if any
        self._requested = 0  # the number of chunks that the server has requested
        self._count = 0  # the number of chunks that the task has produced
        self._ahead = CHUNKS_AHEAD if stream.events is None else AHEAD
        # How many bytes the task has produced, and how many of them the server has taken.
        self._size = self._taken = 0
        # How many chunks the task may produce. Before the second chunk is requested, none is
        # produced in advance, because a HEAD request takes only the first one.
        self._wanted = 1
        # The event for which the task waits when it has produced enough chunks; None otherwise.
        self._parked: anyio.Event | None = None
        self._is_closing = False
        self._loop.spawn(self._lose, self._run)

    # -- in the server's thread --------------------------------------------------------------------

    def take(self, seconds: float | None = None) -> Any:
        """Return the next chunk, or ``END`` at the end.

        Raises the exception that ended the stream, or ``Empty`` if no chunk comes within
        ``seconds``.
        """
        self._requested += 1
        if self._requested > 1:
            self._wanted = self._requested + self._ahead - 1
        parked = self._parked
        if parked is not None and self._count < self._requested:
            with suppress(RuntimeError):  # the loop has ended, so the queue delivers END
                self._loop.call_soon(parked.set)
        try:
            chunk = self._made.get(timeout=seconds)
        except Empty:
            self._requested -= 1
            raise
        if chunk is END:
            self._stream.driver = None  # avoid a reference cycle with the stream
            if self._failures:
                raise self._failures.pop()
        else:
            self._taken += len(chunk)
        return chunk

    def chunks(self) -> Iterator[bytes]:
        """Yield the remaining chunks, and heartbeats in between, until ``close``."""
        heartbeat = self._stream.heartbeat
        while not self._is_closing:
            try:
                chunk = self.take(heartbeat)
            except Empty:
                chunk = HEART_BEAT
            if chunk is END:
                return
            while len(chunk) < JOINED and self._requested < self._count:
                chunk += self.take()
            yield chunk

    def close(self) -> None:
        """Close the stream, even while it waits for a chunk, and wait until it has ended.

        Raises any exception that the stream's clean-up raises.
        """
        self._is_closing = True
        with suppress(RuntimeError):  # the loop and its tasks have ended
            self._loop.spawn(lambda: None, self._stop)
        with suppress(Empty, ClientDisconnect):  # ``_stop`` makes the stream raise ClientDisconnect
            while self._stream.driver is not None:
                self.take(CLEAN_UP_WITHIN + 1)

    # -- in the task, on the loop ------------------------------------------------------------------

    async def _run(self) -> None:
        stream = self._stream
        failure: BaseException | None = None
        stream.enter()
        stream.end_at_shutdown()
        try:
            await self._make()
        except BaseException as error:
            failure = error
        failure = await stream.leave(failure)
        cancellation = anyio.get_cancelled_exc_class()
        if isinstance(failure, cancellation) and execution.failure_of(failure) is None:
            self._lose()
        else:
            self._end(failure)
        del failure

    async def _make(self) -> None:
        """Produce the chunks. Wait whenever enough of them have been produced."""
        stream, encode, events = self._stream, self._stream.encode, self._stream.events
        stream.is_advancing = True
        async for item in stream.items:
            if events is not None and events.shutdown.is_over:
                break
            if is_text := item.__class__ is str:
                stream.is_text = True
            chunk = item.encode() if is_text and encode is as_bytes else encode(item)
            if not chunk and not stream.may_begin_empty:
                continue
            self._size += len(chunk)
            self._made.put(chunk)
            self._count += 1
            if self._is_ahead():
                self._parked = anyio.Event()
                # Check again, because the thread may have requested more before the event was
                # created.
                while self._is_ahead() and not self._is_closing:
                    await self._parked.wait()
                self._parked = None
            if self._is_closing:
                return
        rest = stream.finish() if stream.transforms else b""
        if rest:
            self._made.put(rest)

    def _is_ahead(self) -> bool:
        """Return whether enough chunks, or enough bytes, have been produced."""
        return self._count >= self._wanted or self._size - self._taken >= BYTES_AHEAD

    def _end(self, failure: BaseException | None) -> None:
        if failure is not None:
            self._failures.append(failure)
        self._made.put(END)

    def _lose(self) -> None:
        self._end(RuntimeError("the event loop stopped during a stream"))

    async def _stop(self) -> None:
        if self._parked is not None:
            self._parked.set()
        self._stream.end(LEFT)
