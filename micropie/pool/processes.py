"""Processes that make calls for this one: one call at a time each, over a pipe.

``concurrent.futures`` does not do: there one process that is killed breaks the whole pool, none can be ended for taking
too long, and no chunk of a stream comes back before the last. Here a call that takes too long costs its process, and no
other call. The processes are started when they are first needed, never by a fork alone: threads, locks and connections
do not survive one. A forked child forgets its parent's processes.

    parent -> process    a call, pickled; of a stream then ``MORE`` for each chunk taken, or ``STOP``
    process -> parent    (RESULT, value) | (FAILED, error and traceback) | (STREAM,) (CHUNK, chunk)... (END,) or FAILED

When the parent ends, in whatever way, the pipe ends and with it the process.
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
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast
from weakref import finalize

from micropie.execution import TookTooLong, notify_after_fork
from micropie.pool.remote import (
    END,
    FAILED,
    GRACE,
    CancelToken,
    EndMessage,
    FailedMessage,
    PoolError,
    RemoteChunks,
    ResultMessage,
    open_message,
    pack_failure,
    pack_result,
)

STREAM: Final = "stream"
CHUNK: Final = "chunk"

# The first message of a call, and those of a stream.
FirstMessage: TypeAlias = ResultMessage | FailedMessage | tuple[Literal["stream"]]
StreamMessage: TypeAlias = tuple[Literal["chunk"], object] | EndMessage | FailedMessage

MORE: Final = b"more"
STOP: Final = b"stop"

CAN_PASS_PIPES = os.name == "posix"  # subprocess passes no descriptors on Windows

AHEAD = 4  # chunks that a process makes before the first of them is taken
if TYPE_CHECKING:
    from multiprocessing.connection import Connection


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
        """Forget the processes: in a forked child they are the parent's."""
        self._end.detach()
        for worker in self._workers:
            worker.abandon()
        self._forget()

    def call(
        self, seconds: float, function: Callable[..., object], *arguments: object, token: CancelToken | None = None
    ) -> Any:
        """Return ``function(*arguments)``, called in a process; for a generator an iterator over its chunks. Blocks.

        Raises what the function raises, ``TookTooLong`` after ``seconds`` without a result or a chunk, and
        ``PoolError``. To cancel ``token`` ends the process.
        """
        if _is_in_pool:  # or each process would start another one, without end
            raise PoolError(
                "a process of a pool can't start a pool; if a module calls a handler when it is imported, "
                'write if __name__ == "__main__": above that'
            )
        token = token or CancelToken()
        job = pickle.dumps((function, arguments))
        deadline = monotonic() + seconds
        if not self._free.acquire(timeout=seconds):
            raise TookTooLong
        try:
            worker = self._send_job(job, token)
        except BaseException:
            self._free.release()
            raise
        message = cast(FirstMessage, self._receive(worker, deadline))
        if message[0] == STREAM:
            chunks = Chunks(self, worker, seconds)
            token.attach(chunks.drop)
            return chunks
        self._return(worker, token)
        return open_message(message)

    @property
    def busy(self) -> int:
        """The number of processes that make a call."""
        with self._lock:
            return len(self._workers) - len(self._idle)

    def close(self) -> None:
        """End all processes, and the calls in them. The next call starts others."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = self._workers.difference(idle)
        for worker in busy:
            worker.kill()  # the thread that waits for it finds out, and drops it
        for worker in idle:
            self._drop(worker, GRACE)

    def _send_job(self, job: bytes, token: CancelToken) -> _Worker:
        """Give the job to a process, and return that. Idle processes that have ended are dropped on the way."""
        if token.is_cancelled:  # while it waited for a process
            raise PoolError("its caller has been cancelled")
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                break
            with suppress(OSError):
                worker.connection.send_bytes(job)
                token.attach(worker.kill)
                return worker
            self._drop(worker)
        worker = _Worker()
        with self._lock:
            self._workers.add(worker)
        token.attach(worker.kill)
        with suppress(OSError):  # it has ended at once, which shows when its message is received
            worker.connection.send_bytes(job)
        return worker

    def _receive(self, worker: _Worker, deadline: float) -> object:
        """Return the next message. A process that does not send one in time, or has ended, is discarded."""
        try:
            return worker.receive(deadline)
        except BaseException:
            self._discard(worker)
            raise

    def _return(self, worker: _Worker, token: CancelToken) -> None:
        """Put back a process that has done its work."""
        if token.detach():  # it was killed after its last message
            self._discard(worker)
            return
        with self._lock:
            self._idle.append(worker)  # if it was killed meanwhile, the next call finds that out
        self._free.release()

    def _discard(self, worker: _Worker) -> None:
        """End a process that was in use."""
        self._drop(worker)
        self._free.release()

    def _drop(self, worker: _Worker, grace: float = 0.0) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.end(grace)


class Chunks(RemoteChunks):
    """The chunks of a generator in a process, which is in use until the generator has ended or been closed.

    To interrupt the wait for the next chunk ends the process, and so does a close that takes too long.
    """

    def __init__(self, pool: Pool, worker: _Worker, seconds: float) -> None:
        super().__init__()
        self._pool = pool
        self._worker: _Worker | None = worker
        self._seconds = seconds
        self._token.attach(worker.kill)

    def _next(self) -> object:
        worker = self._worker
        if worker is None:
            raise StopIteration
        message = self._receive(worker, self._seconds)
        if message[0] == CHUNK:
            with suppress(OSError):  # it has ended, which shows at the next chunk
                worker.connection.send_bytes(MORE)
            return message[1]
        self._leave(worker)
        if message[0] == FAILED:
            open_message(message)
        raise StopIteration

    def _close(self) -> None:
        worker = self._worker
        if worker is None:
            return
        with suppress(OSError):
            worker.connection.send_bytes(STOP)
        message: StreamMessage = CHUNK, None
        with suppress(TookTooLong, PoolError):
            while message[0] == CHUNK:
                message = self._receive(worker, GRACE)
            self._leave(worker)
        if message[0] == FAILED:
            open_message(message)

    def _leave(self, worker: _Worker) -> None:
        self._worker = None
        self._pool._return(worker, self._token)

    def _receive(self, worker: _Worker, seconds: float) -> StreamMessage:
        try:
            return cast(StreamMessage, self._pool._receive(worker, monotonic() + seconds))
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
        from multiprocessing.connection import Pipe

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

    def receive(self, deadline: float) -> object:
        """Return its next message. Raises ``TookTooLong``; ``PoolError`` if it has ended."""
        if not self.connection.poll(max(0.0, deadline - monotonic())):
            raise TookTooLong
        try:
            data = self.connection.recv_bytes()
        except (EOFError, OSError):
            self._process.kill()
            code = self._process.wait()
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
            raise PoolError(f"its process ended in the middle of it, {how}") from None
        return pickle.loads(data)  # noqa: S301 - from our own process

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._process.kill()

    def end(self, grace: float = 0.0) -> None:
        """End it. It has ``grace`` seconds to end by itself, because its pipe ends."""
        self.connection.close()
        if grace:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        self._process.kill()
        self._process.wait()

    def abandon(self) -> None:
        """Forget it: it is the child of another process. ``subprocess`` then neither waits for it nor warns."""
        self._process.returncode = 0
        self.connection.close()


def _end_all(workers: set[_Worker]) -> None:
    for worker in workers:
        worker.end()


# -- in a process of the pool ------------------------------------------------------------------------------------------

_is_in_pool = False

# The new process finds the modules that this one finds.
_MAIN = "import sys; sys.path[:] = {path!r}; from micropie.pool.processes import main; main({descriptor})"


def main(descriptor: int) -> None:
    """Run a process of the pool: answer calls until the parent ends."""
    global _is_in_pool  # noqa: PLW0603 - of the process
    _is_in_pool = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the pipe
    from multiprocessing.connection import Connection

    work(Connection(descriptor))


def work(connection: Connection) -> None:
    """Answer calls until the pipe ends."""
    with suppress(EOFError, OSError):
        while True:
            job = connection.recv_bytes()
            if job not in (MORE, STOP):  # these may come after a stream's end
                _answer(connection, job)


def _answer(connection: Connection, job: bytes) -> None:
    try:
        function, arguments = pickle.loads(job)  # noqa: S301 - from our own process
        result = function(*arguments)
        if isinstance(result, Iterator):
            connection.send_bytes(pickle.dumps((STREAM,)))
            _send_chunks(connection, result)
            last = pickle.dumps((END,))
        else:
            last = pack_result(result)
    except BaseException as error:
        last = pack_failure(error)
    connection.send_bytes(last)


def _send_chunks(connection: Connection, chunks: Iterator[object]) -> None:
    """Send the chunks, at most ``AHEAD`` before they are taken, until there are no others or ``STOP`` comes."""
    allowed = AHEAD
    for chunk in chunks:
        connection.send_bytes(pickle.dumps((CHUNK, chunk)))
        allowed -= 1
        while not allowed or connection.poll():
            if connection.recv_bytes() == STOP:
                getattr(chunks, "close", int)()
                return
            allowed += 1
