"""A pool of processes that call functions for this process. Each process gets calls through a
pipe, one at a time.

The pool of ``concurrent.futures`` doesn't suffice. If one process is killed, the whole pool breaks.
A process that takes too long can't be ended. And no chunk of a stream is returned before the last
one has been produced. Here, a call that takes too long ends only its own process.

Processes are started when they are first needed, never by a bare fork, because threads, locks and
connections don't survive a fork. A forked child drops its parent's processes.

These messages are sent for a call:

    parent -> process    the pickled call
    process -> parent    if the result is a stream: (STREAM, None), then (CHUNK, chunk) for each
                         chunk
    parent -> process    for each chunk that the parent has taken: ``MORE``, or ``STOP``
    process -> parent    at the end: RESULT or FAILED (``remote.py``)

Before a process calls a function for the first time, it gets a message to find the function, and
imports the function's module. Starting the interpreter and importing have a separate time limit. If
they counted toward the limit of the call, a slow import would end every process before its first
result.

A process ignores the signals that a service manager or a terminal sends to all processes of a
server. The process goes on until its server, which may still be finishing requests, closes the
pipe. When the server itself ends for any reason, a second pipe is closed, which ends the process at
once.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from weakref import finalize

from micropie._core.execution import TookTooLong, notify_after_fork
from micropie._core.execution.pool.remote import (
    FAILED,
    CancelToken,
    PoolError,
    PoolMessage,
    open_message,
    packed_result,
)

STREAM: Final = "stream"
CHUNK: Final = "chunk"

MORE: Final = b"more"
STOP: Final = b"stop"

# Seconds that a stream may take to close once its chunks are no longer needed.
GRACE = 5.0

# Seconds that a process may take to start and to import a function's module.
START_WITHIN = 300.0

CAN_PASS_PIPES = os.name == "posix"  # on Windows, subprocess can't pass descriptors

AHEAD = 4  # how many chunks a process may produce ahead of the reader

if TYPE_CHECKING:
    from multiprocessing.connection import Connection


# -- in this process -------------------------------------------------------------------------------


class Pool:
    """A pool of at most ``size`` processes. The first process is started by the first call."""

    token = CancelToken

    @property
    def stream(self) -> type[Chunks]:
        """The type of the object that ``call`` returns for a stream."""
        return Chunks

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
        """Drop the processes, because in a forked child they belong to the parent."""
        self._end.detach()
        for worker in self._workers:
            worker.abandon()
        self._forget()

    def call(
        self,
        seconds: float,
        function: Callable[..., object],
        *arguments: object,
        token: CancelToken | None = None,
    ) -> Any:
        """Call ``function(*arguments)`` in a process and return its result. If the function is a
        generator, return an iterator over its chunks. This method blocks.

        Raises what the function raises, ``TookTooLong`` if there is no result or no next chunk
        after ``seconds``, and ``PoolError`` if the call can't be made. The time that a process
        takes to import the function's module doesn't count. Cancelling ``token`` ends the process,
        but not while it is still importing.
        """
        if _is_in_pool:  # otherwise, each process would start a pool of its own
            raise PoolError(
                "a process in the pool can't start another pool; if your module calls a "
                "handler when it is imported, move that call into a block that begins with "
                "if __name__ == '__main__':"
            )
        token = token or CancelToken()
        search, job = pickle.dumps((callable, (function,))), pickle.dumps((function, arguments))
        # If a process is still starting, wait longer, because then the wait isn't due to slow
        # handlers.
        have_started = self._have_started()
        while not self._free.acquire(timeout=seconds):
            had_started, have_started = have_started, self._have_started()
            if had_started and have_started:
                raise TookTooLong(
                    f"the call waited longer than {seconds:g} s for a free process in the pool"
                )
        try:
            token.check()
            worker = self._take()
        except BaseException:
            self._free.release()
            raise
        if search not in worker.found:
            # If the call is cancelled while the process imports the function's module, don't end
            # the process, because the next call would have to start another one.
            message = self._ask(worker, search, START_WITHIN)
            if message[0] == FAILED or token.is_cancelled:
                self._give_back(worker)
                token.check()
                open_message(message)
            worker.found.add(search)
        token.attach(worker.process.kill)
        message = self._ask(worker, job, seconds)
        if message[0] == STREAM:
            chunks = Chunks(self, worker, seconds)
            token.attach(chunks.drop)
            return chunks
        # If a cancellation has killed the process after its last message, ``detach`` returns True.
        self._give_back(worker, is_over=token.detach())
        return open_message(message)

    def _have_started(self) -> bool:
        with self._lock:
            return all(worker.found for worker in self._workers)

    @property
    def busy(self) -> int:
        """The number of processes that are making a call."""
        with self._lock:
            return len(self._workers) - len(self._idle)

    def close(self) -> None:
        """End all processes, with the calls in them. The next call starts new ones."""
        with self._lock:
            idle, self._idle = self._idle, []
            busy = self._workers.difference(idle)
        for worker in busy:
            # The thread that waits for the result notices this and drops the process.
            worker.process.kill()
        for worker in idle:
            self._drop(worker, GRACE)

    def _take(self) -> _Worker:
        """Return an idle process, or start one.

        Idle processes that have ended are dropped.
        """
        while True:
            with self._lock:
                worker = self._idle.pop() if self._idle else None
            if worker is None:
                worker = _Worker()
                with self._lock:
                    self._workers.add(worker)
                return worker
            if worker.process.poll() is None:
                return worker
            self._drop(worker)

    def _ask(self, worker: _Worker, job: bytes, seconds: float) -> PoolMessage:
        with suppress(OSError):  # if the process has ended, ``receive`` reports that
            worker.connection.send_bytes(job)
        return self._receive(worker, seconds)

    def _receive(self, worker: _Worker, seconds: float) -> PoolMessage:
        """Return the next message of a process.

        If the process sends no message in time, or has ended, drop the process and raise the error.
        """
        try:
            return worker.receive(seconds)
        except BaseException:
            self._give_back(worker, is_over=True)
            raise

    def _give_back(self, worker: _Worker, *, is_over: bool = False) -> None:
        """Return a process to the idle processes. If ``is_over`` is set, end it instead."""
        if is_over:
            self._drop(worker)
        else:
            with self._lock:
                # If the process has been killed, the next call will notice that.
                self._idle.append(worker)
        self._free.release()

    def _drop(self, worker: _Worker, grace: float = 0.0) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.end(grace)


class Chunks(Iterator[object]):
    """An iterator over the chunks of a generator that runs in a process of the pool. The process
    stays in use until the generator has ended or is closed.

    ``interrupt_next`` kills the process, so a thread that is waiting for the next chunk stops
    waiting. Any thread may call ``interrupt_next`` at any time.
    """

    def __init__(self, pool: Pool, worker: _Worker, seconds: float) -> None:
        self._lock = threading.Lock()
        self._token = CancelToken()
        self._token.attach(worker.process.kill)
        self.interrupt_next = self._token.cancel
        self._pool = pool
        self._worker: _Worker | None = worker
        self._seconds = seconds

    def __next__(self) -> object:
        with self._lock:
            worker = self._worker
            if worker is None:
                raise StopIteration
            message = self._receive(worker, self._seconds)
            if message[0] == CHUNK:
                with suppress(OSError):  # if the process has ended, receiving the next chunk fails
                    worker.connection.send_bytes(MORE)
                return message[1]
            open_message(message)
            raise StopIteration

    def close(self) -> None:
        """Close the generator in its process, once it has produced its current chunk.

        Raises what the generator raises when it is closed. If closing takes longer than ``GRACE``
        seconds, end the process instead.
        """
        with self._lock:
            worker = self._worker
            if worker is None:
                return
            with suppress(OSError):
                worker.connection.send_bytes(STOP)
            message: PoolMessage = CHUNK, None
            with suppress(TookTooLong, PoolError):
                while message[0] == CHUNK:
                    message = self._receive(worker, GRACE)
            open_message(message)

    def drop(self) -> None:
        """Close a stream while no thread is waiting for its next chunk. Log nothing."""
        self.interrupt_next()
        with suppress(Exception):  # closing the generator may raise an exception
            self.close()

    def _receive(self, worker: _Worker, seconds: float) -> PoolMessage:
        """Return the process's next message. Any message except a chunk is the last one of this
        call, so after it, the pool may use the process for other calls.
        """
        self._worker = None
        message = self._pool._receive(worker, seconds)
        if message[0] == CHUNK:
            self._worker = worker
        else:
            self._pool._give_back(worker, is_over=self._token.detach())
        return message


class _Worker:
    """A process of the pool, and this process's end of the pipe to it."""

    def __init__(self) -> None:
        if not CAN_PASS_PIPES:
            raise PoolError(
                "micropie's own process pool doesn't work on Windows: write "
                "App(pool=concurrent.futures.ProcessPoolExecutor())"
            )
        import signal
        import subprocess
        from multiprocessing.connection import Pipe

        # The functions that the process has imported. A function is stored as the ``search``
        # message with which ``call`` has requested it.
        self.found: set[bytes] = set()
        self.connection, theirs = Pipe()
        their_life, self._life = Pipe(duplex=False)
        passed = theirs.fileno(), their_life.fileno()
        # Block signals while the process starts, because it can't ignore them yet. The process
        # inherits this thread's signal mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ignored())
        try:
            self.process = subprocess.Popen(  # noqa: S603
                [
                    sys.executable,
                    "-c",
                    _MAIN.format(path=[*map(str, sys.path)], descriptors=passed),
                ],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
            their_life.close()

    def receive(self, seconds: float) -> PoolMessage:
        """Return the process's next message.

        Raises ``TookTooLong`` if no message comes within ``seconds``, or ``PoolError`` if the
        process has ended.
        """
        if not self.connection.poll(seconds):
            what = "returned or yielded nothing for" if self.found else "did not start within"
            raise TookTooLong(f"the call {what} {seconds:g} s: its process was terminated")
        try:
            data = self.connection.recv_bytes()
        except (EOFError, OSError):
            self.process.kill()
            code = self.process.wait()
            from signal import Signals

            how = f"killed by {Signals(-code).name}" if code < 0 else f"with status {code}"
            raise PoolError(f"the process exited before the call was done, {how}") from None
        message: PoolMessage = pickle.loads(data)  # noqa: S301 - from our own process
        return message

    def end(self, grace: float = 0.0) -> None:
        """End the process. Close its pipe, wait up to ``grace`` seconds for it to end on its own,
        then kill it.
        """
        self.connection.close()
        import subprocess

        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self.process.kill()
        self.process.wait()
        self._life.close()

    def abandon(self) -> None:
        """Forget the process. A forked child calls this, because only the process's parent can wait
        for the process.

        Setting ``returncode`` keeps ``subprocess`` from waiting for the process and from warning
        about it.
        """
        self.process.returncode = 0
        self.connection.close()
        self._life.close()


def _end_all(workers: set[_Worker]) -> None:
    for worker in workers:
        worker.end()


# -- in a process of the pool ----------------------------------------------------------------------

_is_in_pool = False

# Give the new process this process's ``sys.path``, so that it finds the same modules.
_MAIN = (
    "import sys; sys.path[:] = {path!r}; from micropie._core.execution.pool.processes "
    "import run_process; run_process(*{descriptors})"
)


def _ignored() -> list[int]:
    """Return the signals that a process of the pool ignores. These signals are for the server. When
    the server shuts down, it closes the pipe, which ends the process.
    """
    import signal

    return [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def run_process(descriptor: int, life: int) -> None:
    """Run a process of the pool: make calls until the parent ends.

    - ``descriptor``: the file descriptor of the pipe for calls.
    - ``life``: the file descriptor of a pipe that is closed when the parent ends.
    """
    global _is_in_pool  # noqa: PLW0603 - one value for the whole process
    _is_in_pool = True
    import fcntl
    import signal

    for number in _ignored():
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ignored())
    from multiprocessing.connection import Connection

    # On Linux, have the kernel signal this process when the pipe is closed. The thread that waits
    # for that (``exit_at_end``) isn't enough, because it can't run while a function holds the GIL.
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.FASYNC)
    threading.Thread(target=exit_at_end, args=(life,), name="micropie exit", daemon=True).start()
    work(Connection(descriptor))


def exit_at_end(pipe: int) -> None:
    """Wait until the pipe is closed, then end this process."""
    os.read(pipe, 1)
    os._exit(1)


def work(connection: Connection) -> None:
    """Make each call that arrives, until the pipe is closed."""
    with suppress(EOFError, OSError):
        while True:
            job = connection.recv_bytes()
            if job not in (MORE, STOP):  # these may still arrive for a stream that has ended
                connection.send_bytes(packed_result(_answer, connection, job))


def _answer(connection: Connection, job: bytes) -> object:
    """Return the result of a call. If the result is a stream, send its chunks and return None.

    At most ``AHEAD`` of the sent chunks may be waiting for the parent to take them. The message
    ``STOP`` closes the stream.
    """
    function, arguments = pickle.loads(job)  # noqa: S301 - from our own process
    result = function(*arguments)
    if not isinstance(result, Iterator):
        return result
    connection.send_bytes(pickle.dumps((STREAM, None)))
    allowed = AHEAD
    for chunk in result:
        connection.send_bytes(pickle.dumps((CHUNK, chunk)))
        allowed -= 1
        while not allowed or connection.poll():
            if connection.recv_bytes() == STOP:
                getattr(result, "close", int)()
                return None
            allowed += 1
    return None
