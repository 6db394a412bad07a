"""An async stream under WSGI: one task on the portal's loop makes its chunks, the server's thread takes them.

The task stays two chunks ahead of what the server has asked for, and then waits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TypeAlias

from anyio import get_cancelled_exc_class

from micropie.errors import ClientDisconnect
from micropie.execution.backpressure import BackpressureWindow
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.execution.portal import await_in_portal, get_portal
from micropie.execution.scoped import ScopedIterator
from micropie.execution.wake import threadsafe_scheduler
from micropie.http.early_head import EarlyHead
from micropie.http.streams import END, LATE, Stream, has_ended

# A chunk and None; the last one is END and the exception that ended the source, or None.
_Made: TypeAlias = tuple[object, BaseException | None]


def reader_of(stream: Stream, backend: str) -> StreamReader:
    """Return the ``StreamReader`` of an async stream; the first call makes it."""
    reader = stream.fetcher
    if not isinstance(reader, StreamReader):
        stream.fetcher = reader = StreamReader(stream.source, backend)
    return reader


def next_chunk(stream: Stream, backend: str, head: EarlyHead) -> object:
    """Return one chunk of an async stream; ``END`` at its end, ``LATE`` if ``head`` waits for it no longer."""
    return reader_of(stream, backend).next_in_time(head)


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

    One thread at a time may call ``next`` and ``close``; it need not be the same thread each time.
    """

    def __init__(self, chunks: AsyncIterator[object], backend: str) -> None:
        self._source = ScopedIterator(chunks)
        self._made: SimpleQueue[_Made] = SimpleQueue()
        self._window = BackpressureWindow()
        self._is_closing = False
        self._has_ended = False
        self._has_asked = False  # for a chunk that was late
        self._portal = get_portal(backend)
        self._task: Future[None] = self._portal.start_task_soon(self._run)
        # If the loop ends first, ``next`` must not wait for ever.
        put = self._made.put  # not self, or the future would be a cycle
        self._task.add_done_callback(lambda _: put((END, _loop_ended())))

    # -- in the server's thread ----------------------------------------------------------------------------------

    def next(self) -> object:
        """Return one chunk; ``END`` at the end and after ``close``. Raises what the source raises, which ends it."""
        if self._is_closing:
            return END
        self._ask()
        return self._take()

    def next_in_time(self, head: EarlyHead) -> object:
        """Return one chunk as ``next`` does, or ``LATE`` if ``head`` waits for it no longer."""
        self._ask()
        for pause in head.pauses():
            with suppress(Empty):
                return self._take(pause)
        self._has_asked = True
        return LATE

    def close(self) -> None:
        """Close the source, also while it waits, and wait for that. Raises what its clean-up raises."""
        self._is_closing = True
        with suppress(RuntimeError, CancelledError, TimeoutError):  # the loop has ended, and its tasks with it
            self._portal.start_task_soon(self._stop)
            self._task.result(CLEAN_UP_WITHIN + 1)
        with suppress(ClientDisconnect):  # raised because of ``_stop``
            while not self._has_ended and self._take() is not END:
                pass

    def _ask(self) -> None:
        if self._has_asked:
            self._has_asked = False
            return
        parked = self._window.ask()
        if parked is not None:
            with suppress(RuntimeError):  # the loop has ended; ``_take`` raises
                self._call_soon(parked.set)

    def _take(self, seconds: float | None = None) -> object:
        chunk, failure = self._made.get(timeout=seconds)
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
            async for chunk in self._source.chunks:
                self._made.put((chunk, None))
                parked = self._window.made()
                if parked is not None:
                    await parked.wait()
                if self._is_closing:
                    break
        except BaseException as error:
            failure = error
        failure = await self._source.finish(failure, not has_ended(self._source.chunks))
        is_cancelled = isinstance(failure, get_cancelled_exc_class())
        self._made.put((END, _loop_ended() if is_cancelled else failure))
        try:
            if is_cancelled and failure is not None:
                raise failure
        finally:
            del failure

    async def _stop(self) -> None:
        parked = self._window.leave()
        if parked is not None:
            parked.set()
        self._source.cancel()


def _loop_ended() -> Exception:
    return RuntimeError("the event loop was ended in mid-stream")
