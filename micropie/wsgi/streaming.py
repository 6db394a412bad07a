"""An async stream under WSGI: one task on the portal's loop makes its chunks, the server's thread takes them.

The task makes two chunks more than the server has asked for, and waits.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

from anyio import get_cancelled_exc_class

from micropie.errors import ClientDisconnect
from micropie.execution.backpressure import BackpressureWindow
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.execution.portal import await_in_portal, get_portal
from micropie.execution.scoped import ScopedIterator
from micropie.execution.wake import threadsafe_scheduler
from micropie.http.streams import END, Stream, has_ended


def reader_of(stream: Stream, backend: str) -> StreamReader:
    """What gets the chunks of an async stream; begun by the first who asks."""
    reader = stream.fetcher
    if not isinstance(reader, StreamReader):
        stream.fetcher = reader = StreamReader(stream.source, backend)
    return reader


def next_chunk(stream: Stream, backend: str) -> Any:
    """One chunk of a stream that may wait; ``END`` at its end."""
    return reader_of(stream, backend).next() if stream.is_async else next(stream.source, END)


def close_stream(stream: Stream, backend: str) -> None:
    """Close a stream that has not come to its end."""
    if isinstance(stream.fetcher, StreamReader):
        stream.fetcher.close()
    elif stream.closer is not None and stream.is_async:
        await_in_portal(backend, stream.closer, ())
    elif stream.closer is not None:
        stream.closer()


class StreamReader:
    """Advances an async source, from its first chunk to its end, and closes it.

    ``next`` and ``close`` are called by one thread at a time, which need not be the same each time.
    """

    def __init__(self, chunks: Any, backend: str) -> None:
        self._source = ScopedIterator(chunks)
        self._made: SimpleQueue[list[Any]] = SimpleQueue()  # [chunk, None], at last [END, what the source raised]
        self._window = BackpressureWindow()
        self._is_closing = False
        self._has_ended = False
        self._portal = get_portal(backend)
        self._task: Future[None] = self._portal.start_task_soon(self._run)
        # Whatever becomes of the loop, nobody may wait for ever.
        put = self._made.put  # without self, or the future would be a cycle
        self._task.add_done_callback(lambda _: put([END, _loop_ended()]))

    # -- in the server's thread ----------------------------------------------------------------------------------

    def next(self) -> Any:
        """One chunk, ``END`` at the end and after ``close``. Raises what the source raises; that is its end, too."""
        if self._is_closing:
            return END
        parked = self._window.ask()
        if parked is not None:
            with suppress(RuntimeError):  # a loop that has ended has said so to who takes the next chunk
                self._call_soon(parked.set)
        return self._take()

    def close(self) -> None:
        """End the source, wherever it is, and wait for that. Raises what its clean-up raises."""
        self._is_closing = True
        with suppress(RuntimeError, CancelledError, TimeoutError):  # a loop that has ended has ended its tasks
            self._portal.start_task_soon(self._stop)
            self._task.result(CLEAN_UP_WITHIN + 1)
        with suppress(ClientDisconnect):  # so it was told
            while not self._has_ended and self._take() is not END:
                pass

    def _take(self) -> Any:
        chunk, failure = item = self._made.get()
        item.clear()
        self._has_ended = chunk is END
        if failure is None:
            return chunk
        try:
            raise failure
        finally:
            del failure

    # -- in the task, on the loop ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        self._call_soon = threadsafe_scheduler()
        self._source.enter()
        failure: BaseException | None = None
        try:
            await self._make_all()
        except BaseException as error:
            failure = error
        failure = await self._source.finish(failure, not has_ended(self._source.chunks))
        is_cancelled = isinstance(failure, get_cancelled_exc_class())
        self._made.put([END, _loop_ended() if is_cancelled else failure])
        try:
            if is_cancelled and failure is not None:
                raise failure
        finally:
            del failure

    async def _make_all(self) -> None:
        async for chunk in self._source.chunks:
            self._made.put([chunk, None])
            parked = self._window.made()
            if parked is not None:
                await parked.wait()
            if self._is_closing:
                return

    async def _stop(self) -> None:
        parked = self._window.leave()
        if parked is not None:
            parked.set()
        self._source.cancel()


def _loop_ended() -> Exception:
    return RuntimeError("the event loop was ended in mid-stream")
