"""An author's executor instead of the pool: any of ``concurrent.futures``' kind, Dask's among them.

Jobs return bytes that are made here, so every executor brings back the same values and the same errors. An exception of
a job itself is therefore the executor's own: it has lost the job. The other half is ``executor_streams.py``.
"""

from __future__ import annotations

import pickle
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextlib import suppress
from threading import Event
from typing import Any, TypeAlias, cast

from micropie.execution.executor_streams import (
    BATCH,
    DASK,
    ENDED,
    BatchMessage,
    close,
    next_batch,
    start,
    this_process,
)
from micropie.execution.remote import (
    FAILED,
    GRACE,
    CancelToken,
    FailedMessage,
    PoolError,
    RemoteChunks,
    ResultMessage,
    open_message,
)
from micropie.execution.steps import TookTooLong

JobMessage: TypeAlias = ResultMessage | FailedMessage | BatchMessage


class ExecutorPool:
    """Calls functions by an executor. A call there can't be ended: after a time-out it is left to itself."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        # A Dask client's executor: its author has imported the module.
        distributed = sys.modules.get("distributed.cfexecutor")
        self._is_dask = distributed is not None and isinstance(executor, distributed.ClientExecutor)

    def call(
        self, seconds: float, function: Callable[..., Any], *arguments: object, token: CancelToken | None = None
    ) -> Any:
        """Like ``Pool.call``, but cancelling only stops waiting: the job itself can't be killed."""
        token = token or CancelToken()
        home = DASK if self._is_dask else this_process()
        job = self.job("", start, pickle.dumps((function, arguments)), home, seconds)
        token.attach(lambda: job.leave(self._close_late))
        try:
            message = job.outcome(seconds)
        except TookTooLong:
            job.leave(self._close_late)
            raise
        if message[0] != BATCH:
            return open_message(message)
        batches = Batches(self, seconds, message)
        token.attach(batches.drop)
        return batches

    def job(self, address: str, function: Callable[..., bytes], *arguments: object) -> _Job:
        """Submit a call of ``function``, in the process at ``address`` unless that is ""."""
        options: dict[str, object] = {}
        if self._is_dask:
            options["pure"] = False  # or two equal requests would share one answer
        if address:
            options |= {"workers": [address], "allow_other_workers": False}
        return _Job(self._executor.submit(function, *arguments, **options))

    def close(self) -> None:
        """Do nothing: the executor is its author's to close."""

    def _close_late(self, future: Future[bytes]) -> None:
        """Close the stream that a job has begun after it was left."""
        with suppress(PoolError, RuntimeError):  # it was cancelled; the executor has been shut down
            message = _outcome(future)
            if message[0] == BATCH:
                _, address, key, _, end = message
                if end is None:
                    self.job(address, close, key)


class _Job:
    """A job of the executor. One thread waits for its outcome; another may end that wait.

    The future is dropped as soon as possible: if a Dask worker is lost, Dask does a job of it again while its future is
    referred to.
    """

    def __init__(self, future: Future[bytes]) -> None:
        self._future: Future[bytes] | None = future
        self._is_over = is_over = Event()
        future.add_done_callback(lambda _: is_over.set())  # without self, or they would be a cycle

    def outcome(self, seconds: float) -> JobMessage:
        """Return its message. Raises ``TookTooLong``; ``PoolError`` if the executor has lost it, or it was left."""
        if not self._is_over.wait(seconds):
            raise TookTooLong
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


def _outcome(future: Future[bytes]) -> JobMessage:
    try:
        data = future.result(0)
    except Exception as error:
        raise PoolError(f"the executor lost it: {str(error) or type(error).__name__}") from None
    return cast(JobMessage, pickle.loads(data))  # noqa: S301 - from our own job


class Batches(RemoteChunks):
    """The chunks of a stream. One batch more than the caller has taken is asked for."""

    def __init__(self, pool: ExecutorPool, seconds: float, first: BatchMessage) -> None:
        super().__init__()
        self._pool = pool
        self._seconds = seconds
        _, self._address, self._key, chunks, self._end = first
        self._chunks = deque(chunks)
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
                open_message(cast("ResultMessage | FailedMessage", job.outcome(GRACE)))

    def _take_batch(self) -> None:
        if self._end is not None:
            end, self._end = self._end, ENDED
            if end[0] == FAILED:
                open_message(end)
            raise StopIteration
        try:
            _, _, _, chunks, self._end = cast(BatchMessage, self._ask().outcome(self._seconds))
        except BaseException as error:
            if isinstance(error, TookTooLong) or self._token.is_cancelled:
                self._close_there()
            self._end = ENDED  # a job to close a stream that the executor has lost would wait for ever
            raise
        self._token.detach()
        self._job = None
        self._chunks.extend(chunks)

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
