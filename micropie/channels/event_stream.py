"""``EventStream``: a response of server-sent events that goes on for as long as its source, with heart-beats.

The body is an async iterator of chunks. Under ASGI the driver takes the source's own events instead (``_Items``), as
the chunks of any other stream, and sends the heart-beats itself (``asgi/heart_beats.py``).

All others iterate over the body: the driver for WSGI, a hook that wraps the body. For them a separate task advances
the source from beginning to end, and makes a few events ahead of the task that takes them. So the wait for an event can
end early, for a heart-beat, and nothing is cancelled in the source. It costs twice as much. It is the way of sync
sources as well, which run in a thread, and of HEAD. A generator without any ``await`` is never silent, so it needs no
task.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from threading import Lock
from types import AsyncGeneratorType
from typing import Any, cast

from anyio import CancelScope, get_cancelled_exc_class

from micropie.errors import ClientDisconnect, is_duration
from micropie.execution.context import current_shutdown
from micropie.execution.placement import Threads
from micropie.execution.scoped import ScopedIterator
from micropie.execution.shutdown import ShutdownSignal, stream_shutdown
from micropie.execution.steps import no_function
from micropie.execution.threads import in_thread
from micropie.execution.wake import TASKS, WAKERS, PatientEvent, SingleWaiterEvent, ThreadsafeWaker
from micropie.http.response import Response
from micropie.http.sse import CONTENT_TYPE, HEART_BEAT, encode_item, stream_headers
from micropie.http.streams import END, has_ended, may_wait
from micropie.http.types import HeadersLike

logger = logging.getLogger("micropie")

# Seconds that the head waits for the first event, so that a source that fails at once is answered by an error page.
# Long enough for a query, and too short to be noticed on a connection that stays open.
HEAD_WITHIN = 0.1

# The number of sync sources at a time: each occupies a thread while it is silent. These are not the handlers' threads,
# of which none might be left.
SYNC_SOURCES = Threads(500)

# What is made ahead, at most: each change between the two tasks costs as much as several events.
EVENTS_AHEAD = 16
BYTES_AHEAD = 65536


class EventStream(Response):
    """Server-sent events, to be returned from a handler: ``EventStream(self.ticks())``.

    ``source``: a generator or iterator, ``async`` or not, or a subscription to channels. Each event is text, a value
    that becomes JSON, or a result of ``event(data, event=, id=, retry=)``. ``heartbeat``: after so many seconds of
    silence a comment is sent, which keeps proxies from closing the connection and shows whether the client is still
    there; None for never. ``headers`` are sent beside those that keep proxies from holding events back.

    The stream ends with its source, when the client leaves, and when the server is told to end. Raises ``TypeError``
    for a source that can't be iterated, ``ValueError`` for a ``heartbeat`` that is not above 0.
    """

    __slots__ = ()

    def __init__(
        self,
        source: AsyncIterable[object] | Iterable[object],
        heartbeat: float | None = 15.0,
        headers: HeadersLike = (),
    ) -> None:
        is_sync = not hasattr(source, "__aiter__")
        if is_sync and (not hasattr(source, "__iter__") or isinstance(source, str | bytes | dict)):
            raise TypeError(f"EventStream takes a generator or an iterator of events, not {source!r}")
        if heartbeat is not None and not is_duration(heartbeat):
            raise ValueError(f"heartbeat is a number of seconds above 0, or None, not {heartbeat!r}")
        if is_sync:
            source = _FromThread(iter(cast("Iterable[object]", source)))
        chunks = _Chunks(cast("AsyncIterable[object]", source), heartbeat)
        super().__init__(chunks, 200, headers, CONTENT_TYPE)
        stream_headers(self.headers)


class _Chunks(AsyncIterator[bytes]):
    """The body: like the async generator that it wraps, but it closes the source even if it was never begun.

    As of a generator, ``ag_code``, ``ag_frame``, ``ag_running`` and ``athrow`` are read by ``ScopedIterator`` and
    ``http.streams``.
    """

    begins_in_time = True

    def __init__(self, source: Any, heartbeat: float | None) -> None:
        self._source = source
        self._heartbeat = heartbeat
        self._has_begun = False
        self._may_wait = may_wait(source)
        chunks = _chunks(source, heartbeat) if self._may_wait else _ready_chunks(source)
        self._chunks = cast("AsyncGeneratorType[bytes, None]", chunks)

    @property
    def items(self) -> _Items | None:
        """What a driver on an event loop advances instead of this; None for a sync source."""
        return None if isinstance(self._source, _FromThread) else _Items(self._source, self._heartbeat)

    @property
    def ag_code(self) -> object:
        return None if self._may_wait else self._source.ag_code

    @property
    def ag_frame(self) -> object:
        return self._chunks.ag_frame

    @property
    def ag_running(self) -> bool:
        return self._chunks.ag_running

    def __anext__(self) -> Awaitable[bytes]:
        self._has_begun = True
        return self._chunks.__anext__()

    def athrow(self, error: BaseException) -> Awaitable[bytes]:
        return self._chunks.athrow(error)

    async def aclose(self) -> None:
        await self._chunks.aclose()
        if not self._has_begun and hasattr(self._source, "aclose"):
            await self._source.aclose()


class _Items:
    """The events for a driver that advances their source itself; see ``streams.Items``."""

    __slots__ = ("_shutdown", "heartbeat", "source")

    def __init__(self, source: Any, heartbeat: float | None) -> None:
        self.source = _entered(source) if hasattr(source, "__aenter__") else source.__aiter__()
        self.heartbeat = heartbeat
        self._shutdown = current_shutdown()

    @property
    def head_within(self) -> float:
        return HEAD_WITHIN

    def encode(self, item: object) -> bytes:
        if self._shutdown is not None and self._shutdown.is_over:
            raise StopAsyncIteration
        return encode_item(item)

    def at_shutdown(self, function: Callable[[], object]) -> Callable[[], object]:
        """Call ``function`` on this event loop when the server is told to end. Return what prevents that."""
        return no_function if self._shutdown is None else self._shutdown.add(partial(WAKERS.get().call, function))


async def _entered(subscription: Any) -> AsyncIterator[object]:
    async with subscription as messages:
        async for message in messages:
            yield message


async def _ready_chunks(source: Any) -> AsyncIterator[bytes]:
    """The chunks of a generator that never waits, for all who ask the response's body for them."""
    items = _Items(source, None)
    try:
        async for item in source:
            chunk = items.encode(item)
            if chunk:
                yield chunk
    except StopAsyncIteration:
        pass
    finally:
        await source.aclose()


async def _chunks(source: AsyncIterable[object], heartbeat: float | None) -> AsyncIterator[bytes]:
    feed = _Feed(source)
    TASKS.get().start_soon(feed.run)
    patience: float | None = HEAD_WITHIN
    shutdown = current_shutdown()
    forget = no_function if shutdown is None else shutdown.add(partial(feed.end, WAKERS.get()))
    try:
        try:
            while (chunk := await feed.take(patience)) is not END:
                yield chunk or HEART_BEAT
                patience = heartbeat
        except GeneratorExit:  # an error of the source goes first
            pass
        finally:
            forget()
            await feed.stop()
    except BaseException:  # a cancellation: no other error may replace it
        if feed.failure is not None:
            _log_late(feed.failure)
        raise
    try:
        if feed.failure is not None:
            raise feed.failure
    finally:
        feed.failure = None  # its traceback refers to this generator


class _Feed:
    """The task that advances the source, ``run``. The task that sends the events takes them one by one, ``take``."""

    def __init__(self, source: AsyncIterable[object]) -> None:
        self._source = source
        self._iterator = ScopedIterator(cast("AsyncIterator[object]", source))
        self._shutdown = ShutdownSignal()
        self._chunks: deque[Any] = deque()  # what waits to be taken; ``END`` after the last event
        self._size = 0  # bytes of them
        self._filled = PatientEvent()
        self._emptied = SingleWaiterEvent()
        self._is_running = False
        self._has_ended = False
        self._is_over = False  # no further event is wanted
        self.failure: BaseException | None = None  # the error that ended the source

    # -- for the task that sends -----------------------------------------------------------------------------------

    def end(self, waker: ThreadsafeWaker) -> None:
        """Let ``take`` return ``END``. Called when the server is told to end, in any thread."""
        self._is_over = True
        waker.call(self._filled.ring)

    async def take(self, seconds: float | None) -> Any:
        """Return the next event, None if none comes within ``seconds``, ``END`` after the last one."""
        if not self._chunks and not self._is_over:
            self._size = 0
            self._emptied.ring()
            await self._filled.wait_within(seconds)
        if self._is_over:
            return END
        return self._chunks.popleft() if self._chunks else None

    async def stop(self) -> None:
        """End ``run``, and wait until it has ended."""
        self._is_over = True
        self._filled.stop()
        self._shutdown.end()
        self._emptied.ring()
        if self._is_running:
            self._iterator.cancel()
        if not self._has_ended:
            with CancelScope(shield=True):
                while not self._has_ended:
                    await self._filled.wait()

    # -- the task itself -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Advance the source to its end and close it; in a separate task."""
        stream_shutdown.set(self._shutdown)
        self._iterator.enter()
        self._is_running = True
        failure: BaseException | None = None
        try:
            if not self._is_over:
                await self._pass_on()
        except BaseException as error:
            failure = error
        self._is_running = False
        failure = await self._iterator.finish(failure, not has_ended(self._source))
        self._has_ended = True
        self._chunks.append(END)
        self._filled.ring()
        try:
            if isinstance(failure, get_cancelled_exc_class()):
                raise failure
            # After ``stop`` a ClientDisconnect is no failure: ``ScopedIterator.cancel`` ends the source by it.
            if not (self._is_over and isinstance(failure, ClientDisconnect)):
                self.failure = failure
        finally:
            del failure

    async def _pass_on(self) -> None:
        async with AsyncExitStack() as stack:
            source = self._source
            if hasattr(source, "__aenter__"):  # a subscription
                subscription = cast("AbstractAsyncContextManager[AsyncIterable[object]]", source)
                source = await stack.enter_async_context(subscription)
            async for item in source:
                chunk = encode_item(item)
                if chunk:
                    self._chunks.append(chunk)
                    self._size += len(chunk)
                    self._filled.ring()
                    if len(self._chunks) == EVENTS_AHEAD or self._size >= BYTES_AHEAD:
                        await self._emptied.wait()
                if self._is_over:
                    return


class _FromThread(AsyncIterator[object]):
    """A sync iterator as an async one. ``aclose`` does not wait for a busy thread, which closes the iterator later."""

    def __init__(self, events: Iterator[object]) -> None:
        self._events = events
        self._close = getattr(events, "close", no_function)
        self._lock = Lock()
        self._is_busy = False
        self._is_closed = False
        self._failure: BaseException | None = None  # kept here, as a cancelled ``__anext__`` does not get it

    async def __anext__(self) -> object:
        item = await in_thread(SYNC_SOURCES, self._next, abandon_on_cancel=True)
        if item is END:
            self._raise_failure()
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        with self._lock:
            self._is_closed = True
            is_busy = self._is_busy
        if not is_busy:
            await in_thread(SYNC_SOURCES, self._close)
        self._raise_failure()

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            del failure

    def _next(self) -> object:
        with self._lock:
            if self._is_closed:  # before this thread began
                return END
            self._is_busy = True
        item, failure = END, None
        try:
            item = next(self._events, END)
        except BaseException as error:
            failure = error
        with self._lock:
            self._is_busy = False
            is_closed = self._is_closed
            if not is_closed:
                self._failure = failure
        if is_closed:  # no task waits for this thread
            if failure is not None:
                _log_late(failure)
            try:
                self._close()
            except Exception as error:
                _log_late(error)
        del failure
        return item


def _log_late(error: BaseException) -> None:
    logger.error("a source of events failed when its stream was over", exc_info=error)
