"""An executor of the author's in the pool's place: any of ``concurrent.futures``' kind, Dask's among them.

Jobs return bytes that are made here, so every executor brings the same values and the same errors back, and what a
job raises is the executor's own: it has lost the job.

A generator can't leave the process that runs it, and a job ends when it returns. So a stream comes in batches where
another job can be sent to the same process: on Dask, by the worker's address, and where the executor's threads are of
this process. Elsewhere it comes whole, within limits.

    job -> parent    (RESULT, value) | (FAILED, error, traceback) | (BATCH, place, key, chunks, ending), pickled

``ending`` is None if more may follow, else what it ended by, packed: (END,) or FAILED.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from contextvars import Context, copy_context
from threading import Event, Lock
from time import monotonic
from typing import Any, Final, NoReturn
from uuid import uuid4

from micropie.remotecall import END, FAILED, GRACE, Handle, PoolError, opened, packed_failure, packed_result
from micropie.steps import TookTooLong

BATCH: Final = "batch"

# A batch is full with the first of these: what is worth a job, and what a client would not wait for. The first is one
# chunk, each other at most twice as long as the one before, and one that took too long is followed by one of one
# chunk: as few as possible wait for a slow one behind them, for the time is looked at when a chunk is there.
BATCH_CHUNKS = 100
BATCH_BYTES = 256 * 1024
BATCH_SECONDS = 0.1

# The most that a stream may have which comes whole: it is in memory, here and there.
WHOLE_BYTES = 64 * 1024 * 1024

CHUNK_BYTES = 64  # what a chunk takes beside its content, about

# Seconds that a generator is kept for who has its last batch: a server may have gone without a word.
KEPT = 600.0

DASK: Final = "dask"


# -- in this process ---------------------------------------------------------------------------------------------------


class ExecutorPool:
    """What calls by an executor. What takes too long there can't be ended; nobody waits for it any more."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._is_dask = _is_dask(executor)

    def call(self, seconds: float, function: Callable[..., Any], *arguments: Any, handle: Handle | None = None) -> Any:
        """See ``Pool``; who gives it up by ``handle`` leaves it to itself."""
        handle = handle or Handle()
        home = DASK if self._is_dask else _home()
        job = self.job("", _begin, pickle.dumps((function, arguments)), home, seconds)
        handle.hold(lambda: job.leave(self._end_left))
        try:
            kind, *values = job.outcome(seconds)
        except TookTooLong:
            job.leave(self._end_left)
            raise
        if kind != BATCH:
            return opened(kind, values)
        batches = Batches(self, seconds, *values)
        handle.hold(batches.drop)
        return batches

    def job(self, place: str, function: Callable[..., bytes], *arguments: Any) -> _Job:
        """Have ``function`` called by the executor, in the process at ``place`` if there is one to be named."""
        options: dict[str, Any] = {}
        if self._is_dask:
            options["pure"] = False  # or two equal requests would share one answer
        if place:
            options |= {"workers": [place], "allow_other_workers": False}
        return _Job(self._executor.submit(function, *arguments, **options))

    def close(self) -> None:
        """The executor is its author's to close."""

    def _end_left(self, future: Future[bytes]) -> None:
        """What nobody waited for has come after all: if it is a stream, end it."""
        with suppress(PoolError, RuntimeError):  # it was cancelled; the executor has been shut down
            kind, *values = _outcome(future)
            if kind == BATCH:
                place, key, _, ending = values
                if ending is None:
                    self.job(place, _end, key)


class _Job:
    """What the executor was asked to do. One thread waits for it, another may have it wait no longer.

    The future is let go of as soon as it can be: what Dask did for somebody who has its future still, it does again
    when the worker that did it is lost.
    """

    def __init__(self, future: Future[bytes]) -> None:
        self._future: Future[bytes] | None = future
        self._is_over = is_over = Event()
        future.add_done_callback(lambda _: is_over.set())  # without self, or they would be a cycle

    def outcome(self, seconds: float) -> Any:
        """What it says. Raises ``TookTooLong``; ``PoolError`` if the executor has lost it, or it was left."""
        if not self._is_over.wait(seconds):
            raise TookTooLong
        future, self._future = self._future, None
        if future is None or not future.done():
            raise PoolError("nobody waits for it any more")
        return _outcome(future)

    def leave(self, left: Callable[[Future[bytes]], object] | None = None) -> None:
        """Wait no longer. What runs can't be stopped; ``left`` is called with what it says in the end."""
        future, self._future = self._future, None
        if future is not None:
            future.cancel()
            if left is not None:
                future.add_done_callback(left)
        self._is_over.set()


def _outcome(future: Future[bytes]) -> Any:
    try:
        data = future.result(0)
    except Exception as error:
        raise PoolError(f"the executor gave it up: {str(error) or type(error).__name__}") from None
    return pickle.loads(data)  # noqa: S301 - from our own job


class Batches(Iterator[Any]):
    """A stream's chunks, one batch ahead of who takes them. One thread at a time, as ``Chunks``."""

    def __init__(
        self, pool: ExecutorPool, seconds: float, place: str, key: str, chunks: Iterable[Any], ending: bytes | None
    ) -> None:
        self._pool = pool
        self._seconds = seconds
        self._place = place
        self._key = key
        self._chunks = deque(chunks)
        self._ending = ending
        self._job: _Job | None = None
        self._is_first = True
        self._lock = Lock()
        self._handle = Handle()
        self.interrupt_next = self._handle.give_up
        """Have nobody wait for the next batch. From any thread, at any time."""

    def drop(self) -> None:
        """Leave it: nobody has asked for a chunk, and nobody will."""
        self.interrupt_next()
        with suppress(Exception):  # an executor that has been shut down
            self.close()

    def __next__(self) -> Any:
        with self._lock:
            while not self._chunks:
                self._take_batch()
            if not self._is_first and self._ending is None:  # HEAD takes the first, and no more
                self._asked()
            self._is_first = False
            return self._chunks.popleft()

    def close(self) -> None:
        """Have the generator closed where it is. Raises what that raises, if it comes in time."""
        with self._lock:
            self._chunks.clear()
            if self._ending is not None:
                return
            job = self._close_there()
            if not self._handle.is_given_up:
                with suppress(TookTooLong, PoolError):
                    kind, *values = job.outcome(GRACE)
                    opened(kind, values)

    def _take_batch(self) -> None:
        if self._ending is not None:
            self._end(self._ending)
        try:
            _, _, _, chunks, self._ending = self._asked().outcome(self._seconds)
        except BaseException as error:
            if isinstance(error, TookTooLong) or self._handle.is_given_up:
                self._close_there()
            self._ending = _ENDED  # what the executor has lost can't be closed: such a job would wait for ever
            raise
        self._handle.let_go()
        self._job = None
        self._chunks.extend(chunks)

    def _asked(self) -> _Job:
        if self._job is None:
            self._job = self._pool.job(self._place, _go_on, self._place, self._key)
            self._handle.hold(self._job.leave)
        return self._job

    def _close_there(self) -> _Job:
        """Have the generator closed, when it has come to its next ``yield``."""
        if self._job is not None:
            self._job.leave()
        self._ending = _ENDED
        return self._pool.job(self._place, _end, self._key)

    def _end(self, ending: bytes) -> NoReturn:
        self._ending = _ENDED
        kind, *values = pickle.loads(ending)  # noqa: S301 - from our own job
        if kind == FAILED:
            opened(kind, values)
        raise StopIteration


def _is_dask(executor: Executor) -> bool:
    """Whether it is the executor of a Dask client, which the author has imported then."""
    module: Any = sys.modules.get("distributed.cfexecutor")
    return module is not None and isinstance(executor, module.ClientExecutor)


# -- in a job ----------------------------------------------------------------------------------------------------------

_ENDED = pickle.dumps((END,))
_TOKEN = uuid4().hex


def _home() -> str:
    """What no other process has for its own: a forked child has the same token, one on another machine perhaps the
    number."""
    return f"{os.getpid()} {_TOKEN}"


def _place(home: str) -> str | None:
    """What leads another job to this process: "" if each of them comes here, None if nothing does."""
    if home == DASK:
        distributed: Any = sys.modules["distributed"]  # which runs this job
        return str(distributed.get_worker().address)
    return "" if home == _home() else None


class _Kept:
    """A generator that waits for the job that goes on with it."""

    def __init__(self, chunks: Iterator[Any], context: Context) -> None:
        self.chunks = chunks
        self.context = context
        self.lock = Lock()
        self.used = monotonic()
        self.most = 1  # chunks of its next batch


_kept: dict[str, _Kept] = {}


def _begin(job: bytes, home: str, seconds: float) -> bytes:
    """Call; of a stream the first batch, or all of it."""
    context = copy_context()  # the executor's thread goes on to other things
    try:
        function, arguments = pickle.loads(job)  # noqa: S301 - from our own process
        result = context.run(function, *arguments)
        if not isinstance(result, Iterator):
            return packed_result(result)
        place = _place(home)
        if place is None:
            return _packed_batch("", "", context.run(_whole, result, seconds), _ENDED)
    except BaseException as error:
        return packed_failure(error)
    _drop_forgotten()
    key = uuid4().hex
    _kept[key] = _Kept(result, context)
    return _go_on(place, key)


def _go_on(place: str, key: str) -> bytes:
    """The next batch."""
    kept = _kept.get(key)
    if kept is None:
        return _packed_batch(place, key, [], packed_failure(PoolError("its stream was not asked for in time")))
    with kept.lock:
        chunks, ending = kept.context.run(_made, kept)
        kept.used = monotonic()
    if ending is not None:
        _kept.pop(key, None)
    return _packed_batch(place, key, chunks, ending)


def _made(kept: _Kept) -> tuple[list[Any], bytes | None]:
    """A batch of chunks, and what the generator ended by."""
    end = monotonic() + BATCH_SECONDS
    chunks: list[Any] = []
    size = 0
    try:
        for chunk in kept.chunks:
            chunks.append(chunk)
            size += _size(chunk)
            is_late = monotonic() > end
            if is_late or len(chunks) >= kept.most or size >= BATCH_BYTES:
                kept.most = 1 if is_late else min(2 * kept.most, BATCH_CHUNKS)
                return chunks, None
    except BaseException as error:
        return chunks, packed_failure(error)
    return chunks, _ENDED


def _whole(source: Iterator[Any], seconds: float) -> list[Any]:
    """All chunks. Raises ``PoolError`` if they are too many, or take longer than anybody waits for them."""
    end = monotonic() + seconds
    chunks: list[Any] = []
    size = 0
    for chunk in source:
        chunks.append(chunk)
        size += _size(chunk)
        if size > WHOLE_BYTES or monotonic() > end:
            getattr(source, "close", int)()
            raise PoolError(
                f"a stream comes whole from this executor, within {WHOLE_BYTES >> 20} MiB and {seconds:g} seconds: "
                "this one is longer"
            )
    return chunks


def _size(chunk: Any) -> int:
    return CHUNK_BYTES + (len(chunk) if isinstance(chunk, str | bytes | bytearray) else 0)


def _packed_batch(place: str, key: str, chunks: Sequence[Any], ending: bytes | None) -> bytes:
    try:
        return pickle.dumps((BATCH, place, key, chunks, ending))
    except Exception as error:
        _end(key)
        failure = PoolError(f"a chunk of its stream can't be pickled: {error}")
        return pickle.dumps((BATCH, place, key, [], packed_failure(failure)))


def _end(key: str) -> bytes:
    """Close a stream that nobody takes any more of."""
    kept = _kept.pop(key, None)
    if kept is not None:
        with kept.lock:
            try:
                kept.context.run(getattr(kept.chunks, "close", int))
            except BaseException as error:
                return packed_failure(error)
    return packed_result(None)


def _drop_forgotten() -> None:
    oldest = monotonic() - KEPT
    for key, kept in [*_kept.items()]:
        if kept.used < oldest and not kept.lock.locked():
            _end(key)
