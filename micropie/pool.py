"""Processes that work for this one: each is asked for one call at a time, over a pipe of its own.

Not ``concurrent.futures``: there one process that is killed breaks the whole pool, none can be ended for taking too
long, and nothing comes back before all of it is there. Here a call that takes too long costs its process and nobody
else's. The processes are started when they are first needed, never by a fork alone: threads, locks and connections do
not survive one. What a pool owns is forgotten in a forked child.

    parent -> process    what to call, pickled; of a stream then ``MORE`` for each chunk taken, or ``STOP``
    process -> parent    (RESULT, value) | (FAILED, error, traceback) | (STREAM,) (CHUNK, chunk)... (END,) or FAILED

When the parent goes, however it does, the pipe ends and with it the process.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, wait
from contextlib import suppress
from contextvars import copy_context
from multiprocessing.connection import Connection, Pipe
from time import monotonic
from typing import Any, Final
from weakref import WeakSet, finalize

from micropie.steps import TookTooLong

RESULT: Final = "result"
FAILED: Final = "failed"
STREAM: Final = "stream"
CHUNK: Final = "chunk"
END: Final = "end"

MORE: Final = b"more"
STOP: Final = b"stop"

AHEAD = 4  # chunks that a process makes before somebody takes the first of them
GRACE = 5.0  # seconds that a stream may take to close when nobody wants more of it


class PoolError(Exception):
    """A call that could not be made in the pool, or whose outcome could not be brought back. The sentence says why."""


class RemoteTraceback(Exception):
    """The cause of an exception that came out of another process: its traceback there, as text."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


# -- in this process ---------------------------------------------------------------------------------------------------


class Pool:
    """At most ``size`` processes. Owns nothing before the first call."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._forget()
        _pools.add(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.Semaphore(self.size)
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._end = finalize(self, _end_all, self._workers)

    def after_fork(self) -> None:
        """In a forked child: what there was is the parent's."""
        self._end.detach()
        for worker in self._workers:
            worker.abandon()
        self._forget()

    def call(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(*arguments)`` in a process; a generator's chunks as they are made. Blocks.

        Raises what it raises, ``TookTooLong`` after ``seconds`` without a result or a chunk, and ``PoolError``.
        """
        job = pickle.dumps((function, arguments))
        deadline = monotonic() + seconds
        if not self._free.acquire(timeout=seconds):
            raise TookTooLong
        try:
            worker = self._asked(job)
        except BaseException:
            self._free.release()
            raise
        kind, *values = self._received(worker, deadline)
        if kind == STREAM:
            return Chunks(self, worker, seconds)
        self._give_back(worker)
        return _opened(kind, values)

    def close(self) -> None:
        """End all processes, and with them what they are doing. The next call starts others."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = self._workers.difference(idle)
        for worker in busy:
            worker.kill()  # who waits for it hears of that, and drops it
        for worker in idle:
            self._drop(worker, GRACE)

    def _asked(self, job: bytes) -> _Worker:
        """A process that has been given the job: one that ended while nobody looked costs nobody anything."""
        while (worker := self._idle_one()) is not None:
            with suppress(OSError):
                worker.connection.send_bytes(job)
                return worker
            self._drop(worker)
        worker = _Worker()
        with self._lock:
            self._workers.add(worker)
        with suppress(OSError):  # one that ends at once is found to have ended
            worker.connection.send_bytes(job)
        return worker

    def _idle_one(self) -> _Worker | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _received(self, worker: _Worker, deadline: float) -> Any:
        """The next message; a process that does not send one in time, or can't any more, is ended."""
        try:
            return worker.receive(deadline)
        except BaseException:
            self._drop(worker)
            self._free.release()
            raise

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)  # if it was killed meanwhile, who takes it will see
        self._free.release()

    def _drop(self, worker: _Worker, grace: float = 0.0) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.end(grace)


class ExecutorPool:
    """An executor of the author's in the pool's place.

    It is asked for whole results: a generator's chunks come at once. What takes too long can't be ended there; nobody
    waits for it any more.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def call(self, seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        """See ``Pool``."""
        future = self._executor.submit(_apart, function, arguments)
        wait([future], seconds)
        if not future.done():
            future.cancel()
            raise TookTooLong
        try:
            kind, value = future.result()
        except (BrokenExecutor, CancelledError) as error:
            raise PoolError(f"the executor gave it up: {error or type(error).__name__}") from None
        return iter(value) if kind == STREAM else value

    def close(self) -> None:
        """The executor is its author's to close."""


def _apart(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[str, Any]:
    """Called by the executor; in a context of its own, as its thread goes on to other things."""
    return copy_context().run(_whole, function, arguments)


def _whole(function: Callable[..., Any], arguments: Sequence[Any]) -> tuple[str, Any]:
    result = function(*arguments)
    return (STREAM, [*result]) if isinstance(result, Iterator) else (RESULT, result)


class Chunks(Iterator[Any]):
    """What a generator in a process makes. The process is taken until it has ended or been closed."""

    def __init__(self, pool: Pool, worker: _Worker, seconds: float) -> None:
        self._pool = pool
        self._worker: _Worker | None = worker
        self._seconds = seconds

    def __next__(self) -> Any:
        worker = self._worker
        if worker is None:
            raise StopIteration
        kind, *values = self._received(worker, self._seconds)
        if kind == CHUNK:
            with suppress(OSError):  # it has ended, which the next one will find
                worker.connection.send_bytes(MORE)
            return values[0]
        self._worker = None
        self._pool._give_back(worker)
        if kind == FAILED:
            _opened(kind, values)
        raise StopIteration

    def close(self) -> None:
        """Have the generator closed where it is; a process that does not do so in time is ended."""
        worker = self._worker
        if worker is None:
            return
        with suppress(OSError):
            worker.connection.send_bytes(STOP)
        kind, *values = CHUNK, None
        with suppress(TookTooLong, PoolError):
            while kind == CHUNK:
                kind, *values = self._received(worker, GRACE)
            self._worker = None
            self._pool._give_back(worker)
        if kind == FAILED:
            _opened(kind, values)

    def _received(self, worker: _Worker, seconds: float) -> Any:
        try:
            return self._pool._received(worker, monotonic() + seconds)
        except BaseException:
            self._worker = None
            raise


def _opened(kind: str, values: Sequence[Any]) -> Any:
    if kind == RESULT:
        return values[0]
    error, text = values
    error.__cause__ = RemoteTraceback(text)
    try:
        raise error
    finally:
        del error, values  # its traceback refers to this frame


class _Worker:
    """One process and this end of its pipe."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        try:
            code = _MAIN.format(path=[*map(str, sys.path)], descriptor=theirs.fileno())
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-c", code], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()

    def receive(self, deadline: float) -> Any:
        """Its next message. Raises ``TookTooLong``; ``PoolError`` if it has ended."""
        if not self.connection.poll(max(0.0, deadline - monotonic())):
            raise TookTooLong
        try:
            data = self.connection.recv_bytes()
        except (EOFError, OSError):
            self._process.kill()
            raise PoolError(f"its process ended in the middle of it, {_how(self._process.wait())}") from None
        return pickle.loads(data)  # noqa: S301 - from our own process

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._process.kill()

    def end(self, grace: float = 0.0) -> None:
        """End it, within ``grace`` seconds in its own way, which is when its pipe ends."""
        self.connection.close()
        if grace:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self._process.kill()
        self._process.wait()

    def abandon(self) -> None:
        """It is another process's; have nobody wait for it or warn of it here."""
        self._process.returncode = 0
        self.connection.close()


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"


def _end_all(workers: set[_Worker]) -> None:
    for worker in workers:
        worker.end()


_pools: WeakSet[Pool] = WeakSet()


def _forget_all() -> None:
    for pool in _pools:
        pool.after_fork()


os.register_at_fork(after_in_child=_forget_all)


# -- in a process of the pool ------------------------------------------------------------------------------------------

# It finds the modules that this process finds.
_MAIN = "import sys; sys.path[:] = {path!r}; from micropie.pool import main; main({descriptor})"


def main(descriptor: int) -> None:
    """A process's life: call what is asked for, until the parent has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the pipe
    work(Connection(descriptor))


def work(connection: Connection) -> None:
    """Call what is asked for, until the pipe ends."""
    with suppress(EOFError, OSError):
        while True:
            job = connection.recv_bytes()
            if job not in (MORE, STOP):  # which came when the stream had ended
                _answer(connection, job)


def _answer(connection: Connection, job: bytes) -> None:
    try:
        function, arguments = pickle.loads(job)  # noqa: S301 - from our own process
        result = function(*arguments)
        if not isinstance(result, Iterator):
            connection.send_bytes(_packed_result(result))
            return
    except BaseException as error:
        connection.send_bytes(_packed_failure(error))
        return
    connection.send_bytes(pickle.dumps((STREAM,)))
    connection.send_bytes(_streamed(connection, result))


def _streamed(connection: Connection, chunks: Iterator[Any]) -> bytes:
    """Send the chunks, a few ahead of who takes them; returns the last message."""
    allowed = AHEAD
    try:
        for chunk in chunks:
            connection.send_bytes(pickle.dumps((CHUNK, chunk)))
            allowed -= 1
            while not allowed or connection.poll():
                if connection.recv_bytes() == STOP:
                    getattr(chunks, "close", int)()
                    return pickle.dumps((END,))
                allowed += 1
        return pickle.dumps((END,))
    except BaseException as error:
        return _packed_failure(error)


def _packed_result(result: Any) -> bytes:
    try:
        return pickle.dumps((RESULT, result))
    except Exception as error:
        raise PoolError(f"its result, of type {type(result).__name__}, can't be pickled: {error}") from None


def _packed_failure(error: BaseException) -> bytes:
    text = "".join(traceback.format_exception(error))
    if not isinstance(error, Exception):  # a SystemExit would end the server
        error = PoolError(f"it raised {type(error).__name__}: {error}")
    try:
        packed = pickle.dumps((FAILED, error, text))
        pickle.loads(packed)  # noqa: S301 - an exception whose arguments are not its constructor's fails here
    except Exception as reason:
        said = f"it raised {type(error).__name__}: {error}, which can't be pickled: {reason}"
        return pickle.dumps((FAILED, PoolError(said), text))
    return packed
