"""An async stream under WSGI: one task on the background loop makes its chunks, the server's thread takes them.

The task stays two chunks ahead of what the server has asked for, and then waits until none is left. The server's thread
waits for each chunk. When that takes too long, it sends a heart-beat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from math import inf
from queue import Empty, SimpleQueue
from typing import Final, cast

import anyio

from micropie.errors import ClientDisconnect
from micropie.execution import AHEAD, CLEAN_UP_WITHIN, await_in_background, background_loop, no_function
from micropie.streams import END, HEART_BEAT, LoopSource, Stream, ThreadSource

_SHUT_DOWN: Final = object()  # in the place of a chunk: the server has been told to end


def chunks_of(stream: Stream, backend: str) -> Iterable[bytes]:
    """Return an iterable over the chunks that follow the first one."""
    source = stream.source
    if isinstance(source, ThreadSource):
        return source
    return cast("Iterable[bytes]", iter(reader_of(stream, backend).next, END))


def close_stream(stream: Stream, backend: str) -> None:
    """Close a stream that has not come to its end."""
    source = stream.source
    if isinstance(stream.fetcher, StreamReader):
        stream.fetcher.close()
    elif isinstance(source, ThreadSource):
        source.close()
    else:
        await_in_background(backend, source.close, ())


def reader_of(stream: Stream, backend: str) -> StreamReader:
    """Return the ``StreamReader`` of an async stream; the first call makes it."""
    reader = stream.fetcher
    if not isinstance(reader, StreamReader):
        stream.fetcher = reader = StreamReader(cast("LoopSource", stream.source), backend)
    return reader


class StreamReader:
    """Advances an async source, from its first chunk to its end, and closes it.

    One thread at a time may call ``next`` and ``close``; it need not be the same thread each time.
    """

    def __init__(self, source: LoopSource, backend: str) -> None:
        self._source = source
        self._made: SimpleQueue[object] = SimpleQueue()  # chunks; the last one is END
        self._failures: list[BaseException] = []  # what ended the source
        self._asked: float = 0  # chunks; the thread counts these, the task those that it has made
        self._count = 0
        self._parked: anyio.Event | None = None  # what the task waits for while it is far enough ahead
        self._is_closing = False
        self._is_leaving = False  # the task: what it closes must not be cancelled
        self._has_ended = False
        self._loop = background_loop(backend)
        self._loop.spawn(partial(self._end, _loop_ended()), self._run)

    # -- in the server's thread ----------------------------------------------------------------------------------

    def next(self) -> object:
        """Return one chunk, or a heart-beat; ``END`` at the end and after ``close``. Raises what ends the source."""
        if self._is_closing:
            return END
        self._ask()
        try:
            return self._take(self._source.heartbeat)
        except Empty:
            self._asked -= 1
            return HEART_BEAT

    def close(self) -> None:
        """Close the source, also while it waits, and wait for that. Raises what its clean-up raises."""
        self._is_closing = True
        with suppress(RuntimeError):  # the loop has ended, and its tasks with it
            self._loop.spawn(bool, self._stop)
        with suppress(Empty, ClientDisconnect):  # which is raised because of ``_stop``
            while not self._has_ended:
                self._take(CLEAN_UP_WITHIN + 1)

    def _ask(self) -> None:
        self._asked += 1
        parked = self._parked
        if parked is not None and self._count < self._asked:
            with suppress(RuntimeError):  # the loop has ended; ``_take`` raises
                self._loop.call_soon(parked.set)

    def _take(self, seconds: float | None = None) -> object:
        chunk = self._made.get(timeout=seconds)
        if chunk is _SHUT_DOWN:
            return END
        self._has_ended = chunk is END
        if self._has_ended and self._failures:
            raise self._failures.pop()
        return chunk

    # -- in the task, on the loop ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        events = self._source.events
        forget: Callable[[], object] = no_function
        if events is not None:
            forget = events.shutdown.add(partial(self._made.put, _SHUT_DOWN))
        self._source.enter()
        failure: BaseException | None = None
        try:
            async for chunk in self._source:
                self._made.put(chunk)
                self._count += 1
                if self._is_ahead:
                    self._parked = anyio.Event()
                    while self._is_ahead:  # the thread may have asked before there was an event to see
                        await self._parked.wait()
                    self._parked = None
                if self._is_closing:
                    break
        except BaseException as error:
            failure = error
        forget()
        self._is_leaving = True
        failure = await self._source.leave(failure, not self._source.has_ended)
        self._end(_loop_ended() if isinstance(failure, anyio.get_cancelled_exc_class()) else failure)
        del failure

    @property
    def _is_ahead(self) -> bool:
        """Whether there are chunks enough. Before a second is asked for, none may be wanted: see HEAD."""
        return self._count >= (self._asked + AHEAD - 1 if self._asked > 1 else 1)

    def _end(self, failure: BaseException | None) -> None:
        if failure is not None:
            self._failures.append(failure)
        self._made.put(END)

    async def _stop(self) -> None:
        self._asked = inf
        if self._parked is not None:
            self._parked.set()
        if not self._is_leaving:
            self._source.cancel()


def _loop_ended() -> Exception:
    return RuntimeError("the event loop was ended in mid-stream")
