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
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from time import monotonic
from typing import Any, Final
from weakref import finalize

from micropie.execution.fork import notify_after_fork
from micropie.execution.remote import (
    END,
    FAILED,
    GRACE,
    CancelToken,
    PoolError,
    RemoteChunks,
    opened,
    packed_failure,
    packed_result,
)
from micropie.execution.steps import TookTooLong

STREAM: Final = "stream"
CHUNK: Final = "chunk"

MORE: Final = b"more"
STOP: Final = b"stop"

CAN_PASS_PIPES = os.name == "posix"  # subprocess passes no descriptors on Windows

AHEAD = 4  # chunks that a process makes before somebody takes the first of them


# -- in this process ---------------------------------------------------------------------------------------------------


class Pool:
    """At most ``size`` processes. Owns nothing before the first call."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._forget()
        notify_after_fork(self)

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

    def call(
        self, seconds: float, function: Callable[..., Any], *arguments: Any, token: CancelToken | None = None
    ) -> Any:
        """``function(*arguments)`` in a process; a generator's chunks as they are made. Blocks.

        Raises what it raises, ``TookTooLong`` after ``seconds`` without a result or a chunk, and ``PoolError``. Who
        gives it up by ``handle`` ends the process.
        """
        if _is_in_pool:  # or each process would start another one, without end
            raise PoolError(
                "a process of a pool can't have one of its own; if a module calls a handler when it is imported, "
                'write if __name__ == "__main__": above that'
            )
        token = token or CancelToken()
        job = pickle.dumps((function, arguments))
        deadline = monotonic() + seconds
        if not self._free.acquire(timeout=seconds):
            raise TookTooLong
        try:
            worker = self._asked(job, token)
        except BaseException:
            self._free.release()
            raise
        kind, *values = self._received(worker, deadline)
        if kind == STREAM:
            chunks = Chunks(self, worker, seconds)
            token.attach(chunks.drop)
            return chunks
        self._return(worker, token)
        return opened(kind, values)

    def close(self) -> None:
        """End all processes, and with them what they are doing. The next call starts others."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = self._workers.difference(idle)
        for worker in busy:
            worker.kill()  # who waits for it hears of that, and drops it
        for worker in idle:
            self._drop(worker, GRACE)

    def _asked(self, job: bytes, token: CancelToken) -> _Worker:
        """A process that has been given the job: one that ended while nobody looked costs nobody anything."""
        if token.is_cancelled:  # while it waited for a process
            raise PoolError("nobody waits for it any more")
        while (worker := self._idle_one()) is not None:
            with suppress(OSError):
                worker.connection.send_bytes(job)
                token.attach(worker.kill)
                return worker
            self._drop(worker)
        worker = _Worker()
        with self._lock:
            self._workers.add(worker)
        token.attach(worker.kill)
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
            self._discard(worker)
            raise

    def _return(self, worker: _Worker, token: CancelToken) -> None:
        """A process that was taken has done its work."""
        if token.detach():  # and was killed when it had said its last word
            self._discard(worker)
            return
        with self._lock:
            self._idle.append(worker)  # if it was killed meanwhile, who takes it will see
        self._free.release()

    def _discard(self, worker: _Worker) -> None:
        """End a process that was taken."""
        self._drop(worker)
        self._free.release()

    def _drop(self, worker: _Worker, grace: float = 0.0) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.end(grace)


class Chunks(RemoteChunks):
    """What a generator in a process makes. The process is taken until it has ended or been closed.

    To interrupt the waiting for its next chunk ends it, and so does a close that it does not do in time.
    """

    def __init__(self, pool: Pool, worker: _Worker, seconds: float) -> None:
        super().__init__()
        self._pool = pool
        self._worker: _Worker | None = worker
        self._seconds = seconds
        self._token.attach(worker.kill)

    def _next(self) -> Any:
        worker = self._worker
        if worker is None:
            raise StopIteration
        kind, *values = self._received(worker, self._seconds)
        if kind == CHUNK:
            with suppress(OSError):  # it has ended, which the next one will find
                worker.connection.send_bytes(MORE)
            return values[0]
        self._leave(worker)
        if kind == FAILED:
            opened(kind, values)
        raise StopIteration

    def _close(self) -> None:
        worker = self._worker
        if worker is None:
            return
        with suppress(OSError):
            worker.connection.send_bytes(STOP)
        kind, *values = CHUNK, None
        with suppress(TookTooLong, PoolError):
            while kind == CHUNK:
                kind, *values = self._received(worker, GRACE)
            self._leave(worker)
        if kind == FAILED:
            opened(kind, values)

    def _leave(self, worker: _Worker) -> None:
        self._worker = None
        self._pool._return(worker, self._token)

    def _received(self, worker: _Worker, seconds: float) -> Any:
        try:
            return self._pool._received(worker, monotonic() + seconds)
        except BaseException:
            self._worker = None
            raise


class _Worker:
    """One process and this end of its pipe."""

    def __init__(self) -> None:
        if not CAN_PASS_PIPES:
            raise PoolError(
                "micropie starts no processes on Windows: write App(pool=concurrent.futures.ProcessPoolExecutor())"
            )
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


# -- in a process of the pool ------------------------------------------------------------------------------------------

_is_in_pool = False

# It finds the modules that this process finds.
_MAIN = "import sys; sys.path[:] = {path!r}; from micropie.execution.pool import main; main({descriptor})"


def main(descriptor: int) -> None:
    """A process's life: call what is asked for, until the parent has gone."""
    global _is_in_pool  # noqa: PLW0603 - of the process
    _is_in_pool = True
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
            connection.send_bytes(packed_result(result))
            return
    except BaseException as error:
        connection.send_bytes(packed_failure(error))
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
        return packed_failure(error)
