"""An executor of the author's in the pool's place: any of ``concurrent.futures``' kind, Dask's among them.

Jobs return bytes that are made here, so every executor brings the same values and the same errors back, and what a
job raises is the executor's own: it has lost the job. Streams: ``batches.py``.
"""

from __future__ import annotations

import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import suppress
from threading import Event
from typing import Any, NoReturn

from micropie.execution.executor_streams import BATCH, DASK, ENDED, close, next_batch, start, this_process
from micropie.execution.remote import FAILED, GRACE, CancelToken, PoolError, RemoteChunks, opened
from micropie.execution.steps import TookTooLong


class ExecutorPool:
    """What calls by an executor. What takes too long there can't be ended; nobody waits for it any more."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._is_dask = _is_dask(executor)

    def call(
        self, seconds: float, function: Callable[..., Any], *arguments: Any, token: CancelToken | None = None
    ) -> Any:
        """See ``Pool``; who gives it up by ``handle`` leaves it to itself."""
        token = token or CancelToken()
        home = DASK if self._is_dask else this_process()
        job = self.job("", start, pickle.dumps((function, arguments)), home, seconds)
        token.attach(lambda: job.leave(self._end_left))
        try:
            kind, *values = job.outcome(seconds)
        except TookTooLong:
            job.leave(self._end_left)
            raise
        if kind != BATCH:
            return opened(kind, values)
        batches = Batches(self, seconds, *values)
        token.attach(batches.drop)
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
                    self.job(place, close, key)


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


class Batches(RemoteChunks):
    """A stream's chunks, one batch ahead of who takes them."""

    def __init__(
        self, pool: ExecutorPool, seconds: float, place: str, key: str, chunks: Iterable[Any], ending: bytes | None
    ) -> None:
        super().__init__()
        self._pool = pool
        self._seconds = seconds
        self._place = place
        self._key = key
        self._chunks = deque(chunks)
        self._ending = ending
        self._job: _Job | None = None
        self._is_first = True

    def _next(self) -> Any:
        while not self._chunks:
            self._take_batch()
        if not self._is_first and self._ending is None:  # HEAD takes the first, and no more
            self._asked()
        self._is_first = False
        return self._chunks.popleft()

    def _close(self) -> None:
        self._chunks.clear()
        if self._ending is not None:
            return
        job = self._close_there()
        if not self._token.is_cancelled:
            with suppress(TookTooLong, PoolError):
                kind, *values = job.outcome(GRACE)
                opened(kind, values)

    def _take_batch(self) -> None:
        if self._ending is not None:
            self._end(self._ending)
        try:
            _, _, _, chunks, self._ending = self._asked().outcome(self._seconds)
        except BaseException as error:
            if isinstance(error, TookTooLong) or self._token.is_cancelled:
                self._close_there()
            self._ending = ENDED  # what the executor has lost can't be closed: such a job would wait for ever
            raise
        self._token.detach()
        self._job = None
        self._chunks.extend(chunks)

    def _asked(self) -> _Job:
        if self._job is None:
            self._job = self._pool.job(self._place, next_batch, self._place, self._key)
            self._token.attach(self._job.leave)
        return self._job

    def _close_there(self) -> _Job:
        """Have the generator closed, when it has come to its next ``yield``."""
        if self._job is not None:
            self._job.leave()
        self._ending = ENDED
        return self._pool.job(self._place, close, self._key)

    def _end(self, ending: bytes) -> NoReturn:
        self._ending = ENDED
        kind, *values = pickle.loads(ending)  # noqa: S301 - from our own job
        if kind == FAILED:
            opened(kind, values)
        raise StopIteration


def _is_dask(executor: Executor) -> bool:
    """Whether it is the executor of a Dask client, which the author has imported then."""
    module: Any = sys.modules.get("distributed.cfexecutor")
    return module is not None and isinstance(executor, module.ClientExecutor)
