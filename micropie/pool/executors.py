"""An author's executor instead of the pool: any of ``concurrent.futures``' kind, Dask's among them.

Jobs return bytes that are made here, so every executor brings back the same values and the same errors. An exception of
a job itself is therefore the executor's own: it has lost the job.

A generator can't leave the process that runs it, and a job ends when it returns. So a stream comes in batches where
another job can be sent to the same process: on Dask, by the worker's address, and where the executor's threads are of
this process. Elsewhere it comes whole, within limits.

Each job is ``packed_result(start)``, ``next_batch`` or ``close`` in its place.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import Context, copy_context
from threading import Event, Lock
from time import monotonic
from typing import Any, Final, NamedTuple
from uuid import uuid4

from micropie.execution import TookTooLong
from micropie.pool.remote import (
    GRACE,
    RESULT,
    CancelToken,
    Message,
    PoolError,
    RemoteChunks,
    failed_message,
    open_message,
    packed_result,
)

# A batch is full with the first of these: enough to be worth a job, and not more than a client would wait for. The
# first is one chunk, each other at most twice as long as the one before, and one that took too long is followed by one
# of one chunk. So few chunks wait for a slow one behind them: the time is looked at when a chunk is there.
BATCH_CHUNKS = 100
BATCH_BYTES = 256 * 1024
BATCH_SECONDS = 0.1

# The largest stream that may come whole: it is in memory, here and there.
WHOLE_BYTES = 64 * 1024 * 1024

CHUNK_BYTES = 64  # the memory that a chunk takes beside its content, about

# Seconds. Discard a generator that is not asked for its next batch within them: the server may have died.
DISCARD_AFTER = 600.0

DASK: Final = "dask"

ENDED: Final[Message] = (RESULT, None)
_TOKEN = uuid4().hex


def this_process() -> str:
    """Return text that differs in every other process: a forked child has the same token, and a process on another
    machine may have the same number."""
    return f"{os.getpid()} {_TOKEN}"


class Batch(NamedTuple):
    """Chunks of a stream, pickled. A job for ``address`` gets the next ones; ``end`` is None if more may follow."""

    address: str
    key: str
    chunks: bytes
    end: Message | None


# -- in the server's process -------------------------------------------------------------------------------------------


class ExecutorPool:
    """Calls functions by an executor. A call there can't be ended: after a time-out it is left to itself."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # A Dask client's executor: its author has imported the module.
        distributed = sys.modules.get("distributed.cfexecutor")
        self._is_dask = distributed is not None and isinstance(executor, distributed.ClientExecutor)

    def call(
        self, seconds: float, function: Callable[..., object], *arguments: object, token: CancelToken | None = None
    ) -> Any:
        """Like ``Pool.call``, but cancelling only stops waiting: the job itself can't be killed."""
        token = token or CancelToken()
        home = DASK if self._is_dask else this_process()
        job = self.job("", start, pickle.dumps((function, arguments)), home, seconds)
        token.attach(lambda: job.leave(self._close_late))
        try:
            result = open_message(job.outcome(seconds))
        except TookTooLong:
            job.leave(self._close_late)
            raise
        if not isinstance(result, Batch):
            return result
        batches = Batches(self, seconds, result)
        token.attach(batches.drop)
        return batches

    def job(self, address: str, function: Callable[..., object], *arguments: object) -> _Job:
        """Submit a call of ``function``, in the process at ``address`` unless that is ""."""
        options: dict[str, object] = {}
        if self._is_dask:
            options["pure"] = False  # or two equal requests would share one answer
        if address:
            options |= {"workers": [address], "allow_other_workers": False}
        return _Job(self._executor.submit(packed_result, function, *arguments, **options))

    def close(self) -> None:
        """Do nothing: the executor is its author's to close."""

    def _close_late(self, future: Future[bytes]) -> None:
        """Close the stream that a job has begun after it was left."""
        with suppress(Exception):  # it was cancelled, or has failed; the executor has been shut down
            batch = open_message(_outcome(future))
            if isinstance(batch, Batch) and batch.end is None:
                self.job(batch.address, close, batch.key)


class _Job:
    """A job of the executor. One thread waits for its outcome; another may end that wait.

    The future is dropped as soon as possible: if a Dask worker is lost, Dask does a job of it again while its future is
    referred to.
    """

    def __init__(self, future: Future[bytes]) -> None:
        self._future: Future[bytes] | None = future
        self._is_over = is_over = Event()
        future.add_done_callback(lambda _: is_over.set())  # without self, or they would be a cycle

    def outcome(self, seconds: float) -> Message:
        """Return its message. Raises ``TookTooLong``; ``PoolError`` if the executor has lost it, or it was left.

        Who opens the message has no future any more, or an error's traceback would refer to it.
        """
        if not self._is_over.wait(seconds):
            raise TookTooLong(f"took longer than {seconds:g} seconds and is left to itself")
        future, self._future = self._future, None
        if future is None or not future.done():
            raise PoolError("its caller has been cancelled")
        return _outcome(future)

    def leave(self, then: Callable[[Future[bytes]], object] | None = None) -> None:
        """End the wait. A job that runs can't be stopped; ``then`` is called with its future in the end."""
        future, self._future = self._future, None
        if future is not None:
            future.cancel()
            if then is not None:
                future.add_done_callback(then)
        self._is_over.set()


def _outcome(future: Future[bytes]) -> Message:
    try:
        data = future.result(0)
    except Exception as error:
        raise PoolError(f"the executor lost it: {str(error) or type(error).__name__}") from None
    message: Message = pickle.loads(data)  # noqa: S301 - from our own job
    return message


class Batches(RemoteChunks):
    """The chunks of a stream. One batch more than the caller has taken is asked for."""

    def __init__(self, pool: ExecutorPool, seconds: float, first: Batch) -> None:
        super().__init__()
        self._pool = pool
        self._seconds = seconds
        self._address, self._key, chunks, self._end = first
        self._chunks: deque[object] = deque(pickle.loads(chunks))  # noqa: S301 - from our own job
        self._job: _Job | None = None
        self._is_first = True

    def _next(self) -> object:
        while not self._chunks:
            self._take_batch()
        if not self._is_first and self._end is None:  # HEAD takes the first chunk only
            self._ask()
        self._is_first = False
        return self._chunks.popleft()

    def _close(self) -> None:
        self._chunks.clear()
        if self._end is not None:
            return
        job = self._close_there()
        if not self._token.is_cancelled:
            with suppress(TookTooLong, PoolError):
                open_message(job.outcome(GRACE))

    def _take_batch(self) -> None:
        if self._end is not None:
            end, self._end = self._end, ENDED
            open_message(end)
            raise StopIteration
        try:
            _, _, chunks, self._end = open_message(self._ask().outcome(self._seconds))
        except BaseException as error:
            if isinstance(error, TookTooLong) or self._token.is_cancelled:
                self._close_there()
            self._end = ENDED  # a job to close a stream that the executor has lost would wait for ever
            raise
        self._token.detach()
        self._job = None
        self._chunks.extend(pickle.loads(chunks))  # noqa: S301 - from our own job

    def _ask(self) -> _Job:
        if self._job is None:
            self._job = self._pool.job(self._address, next_batch, self._address, self._key)
            self._token.attach(self._job.leave)
        return self._job

    def _close_there(self) -> _Job:
        """Submit a job that closes the generator when it has come to its next ``yield``."""
        if self._job is not None:
            self._job.leave()
        self._end = ENDED
        return self._pool.job(self._address, close, self._key)


# -- in the process that runs the job ----------------------------------------------------------------------------------


class _OpenStream:
    """A generator that waits for the job that asks for its next batch."""

    def __init__(self, chunks: Iterator[object], context: Context) -> None:
        self.chunks = chunks
        self.context = context
        self.lock = Lock()
        self.used = monotonic()
        self.most = 1  # chunks of its next batch


_open_streams: dict[str, _OpenStream] = {}


def start(job: bytes, home: str, seconds: float) -> object:
    """Call the function of ``job``. Return its result, or the first batch of a stream, or all of it."""
    context = copy_context()  # the executor's thread goes on to other things
    function, arguments = pickle.loads(job)  # noqa: S301 - from our own process
    result = context.run(function, *arguments)
    if not isinstance(result, Iterator):
        return result
    if home == DASK:
        address = str(sys.modules["distributed"].get_worker().address)  # Dask runs this job, so it is imported
    elif home == this_process():
        address = ""  # every job gets to this process
    else:
        return context.run(_whole, result, seconds)
    _discard_forgotten()
    key = uuid4().hex
    _open_streams[key] = _OpenStream(result, context)
    return next_batch(address, key)


def _whole(source: Iterator[object], seconds: float) -> Batch:
    """Return all of a stream, or nothing but its error."""
    chunks, end = _take(source, seconds, WHOLE_BYTES)
    if end is None:
        getattr(source, "close", int)()
        raise PoolError(
            f"a stream comes whole from this executor, within {WHOLE_BYTES >> 20} MiB and {seconds:g} seconds: "
            "this one is longer"
        )
    return _batch("", "", chunks if end == ENDED else [], end)


def next_batch(address: str, key: str) -> Batch:
    """Return the next batch."""
    stream = _open_streams.get(key)
    if stream is None:
        raise PoolError("its stream was not asked for in time")
    with stream.lock:
        chunks, end = stream.context.run(_make_batch, stream)
        stream.used = monotonic()
    if end is not None:
        _open_streams.pop(key, None)
    return _batch(address, key, chunks, end)


def _make_batch(stream: _OpenStream) -> tuple[list[object], Message | None]:
    began = monotonic()
    chunks, end = _take(stream.chunks, BATCH_SECONDS, BATCH_BYTES, stream.most)
    is_late = monotonic() - began > BATCH_SECONDS
    stream.most = 1 if is_late else min(2 * stream.most, BATCH_CHUNKS)
    return chunks, end


def _take(
    source: Iterator[object], seconds: float, most_bytes: int, most: int = sys.maxsize
) -> tuple[list[object], Message | None]:
    """Take chunks until one of the limits is reached. Return them and the end of the stream, None if it goes on."""
    deadline = monotonic() + seconds
    chunks: list[object] = []
    size = 0
    try:
        for chunk in source:
            chunks.append(chunk)
            size += CHUNK_BYTES + (len(chunk) if isinstance(chunk, str | bytes | bytearray) else 0)
            if len(chunks) >= most or size > most_bytes or monotonic() > deadline:
                return chunks, None
    except BaseException as error:
        return chunks, failed_message(error)
    return chunks, ENDED


def _batch(address: str, key: str, chunks: list[object], end: Message | None) -> Batch:
    try:
        return Batch(address, key, pickle.dumps(chunks), end)
    except Exception as error:
        packed_result(close, key)  # which raises nothing
        raise PoolError(f"a chunk of its stream can't be pickled: {error}") from None


def close(key: str) -> None:
    """Close a stream whose next batch is not wanted."""
    stream = _open_streams.pop(key, None)
    if stream is not None:
        with stream.lock:
            stream.context.run(getattr(stream.chunks, "close", int))


def _discard_forgotten() -> None:
    oldest = monotonic() - DISCARD_AFTER
    for key, stream in [*_open_streams.items()]:
        if stream.used < oldest and not stream.lock.locked():
            packed_result(close, key)  # which raises nothing
