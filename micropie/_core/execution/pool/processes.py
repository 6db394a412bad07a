"""A pool of processes that call functions for this process. Each process gets calls through a
socket, one at a time.

The pool of ``concurrent.futures`` doesn't suffice. If one process is killed, the whole pool breaks.
A process that takes too long can't be ended. And no chunk of a stream is returned before the last
one has been produced. Here, a call that takes too long ends only its own process.

Processes are started when they are first needed, or all at startup, never by a bare fork, because
threads, locks and connections don't survive a fork. A forked child drops its parent's processes.

These messages are sent for a call:

    parent -> process    CALL: the function, its arguments, and whether to report progress
    process -> parent    (PROGRESS, step) for each step that it reports
    process -> parent    if the result is a stream: (STREAM, None), or its ``Streamed.wrap``, then
                         (CHUNK, chunk) for each chunk
    parent -> process    (TAKEN, number of chunks that the parent has taken), or (STOP, 0)
    process -> parent    at the end: RESULT, FAILED or RETIRES (``remote.py``)

A process first calls ``begin``, which runs the functions of ``pool_startup``. Before it calls
a function of another module for the first time, it gets a message to find the function, and imports
this module. Starting and importing have a separate time limit. If they counted toward the
limit of the call, a slow import would end every process before its first result.

A call that nobody waits for any more is stopped: ``check_cancelled`` raises in it, and a generator
is closed. If it goes on after a grace, its process is ended. But that throws away what
``pool_startup`` has loaded, so a process with start functions goes on until the call's time limit.

A process ignores the signals that a service manager or a terminal sends to all processes of a
server. The process goes on until its server, which may still be finishing requests, closes the
connection. When the server itself ends for any reason, a pipe is closed, which ends the process at
once.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, cast
from weakref import finalize

from micropie._core.errors import logger
from micropie._core.execution import TookTooLong, notify_after_fork
from micropie._core.execution.call_steps import CallSteps, Wait, in_this_thread
from micropie._core.execution.loop import Action
from micropie._core.execution.placement import AnyFunction, main_name, module_of, this_process
from micropie._core.execution.pool.connection import Connection, Packed, packed, packed_small
from micropie._core.execution.pool.inside import (
    CHUNK,
    IGNORED,
    PROGRESS,
    STOP,
    STREAM,
    TAKEN,
    begin,
)
from micropie._core.execution.pool.remote import (
    CALL,
    FAILED,
    RESULT,
    RETIRES,
    PoolMessage,
    open_message,
    packed_call,
    pickled_error,
)
from micropie._core.execution.process_pool import CancelToken, PoolError

# Seconds that a process may take to end when it is no longer needed, and that a stream may take to
# close.
GRACE = 5.0

# Seconds for which a call may go on after it was stopped, unless ``cancel_grace`` is set. Shorter
# than for other code, because the next caller waits for the process.
STOP_WITHIN = 0.5

# Seconds that a process may take to start and to import a function's module.
START_WITHIN = 300.0

# Kinds of messages: those that end a call, and a chunk or a step that can't be unpickled.
ENDS, BROKEN = (RESULT, FAILED, RETIRES), b""

# On Windows, subprocess can't pass descriptors. A frozen program isn't an interpreter.
CAN_START = os.name == "posix" and not hasattr(sys, "frozen")


# -- in this process -------------------------------------------------------------------------------


class Chunks(Iterator[object]):
    """An iterator over the chunks of a generator that runs in a process of the pool. The process
    stays in use until the generator has ended or is closed.

    ``interrupt_next`` ends the wait of a thread for the next chunk, and stops the generator. Any
    thread may call ``interrupt_next`` at any time.
    """

    def __init__(self, pool: Pool, worker: _Worker, seconds: float) -> None:
        self._lock = threading.Lock()
        self._token = CancelToken()
        self._token.attach(worker.connection.wake)
        self.interrupt_next = self._token.cancel
        self._pool = pool
        self._worker: _Worker | None = worker
        self._seconds, self._taken = seconds, 0

    @property
    def has_ready(self) -> bool:
        """Whether the next chunk has arrived."""
        worker = self._worker
        return worker is not None and worker.connection.has_more

    def __next__(self) -> object:
        with self._lock:
            worker = self._worker
            if worker is None:
                raise StopIteration
            self._worker = None
            message = in_this_thread(self._pool._receive(worker, self._seconds, self._token))
            if message[0] != CHUNK:
                if self._token.detach():
                    worker.connection.forget_wakes()
                self._pool._give_back(worker, message[0])
                open_message(message)
                raise StopIteration
            if self._token.is_cancelled:
                self._token.detach()
                self._stop_later(worker)
                self._token.check()
            self._worker = worker
            self._taken += 1
            if not worker.connection.has_more:
                with suppress(OSError):  # if the process has ended, receiving fails
                    worker.connection.send(packed((TAKEN, self._taken)))
                self._taken = 0
            return message[1]

    def close(self) -> None:
        """Close the generator in its process, once it has produced its current chunk.

        Raises what the generator raises when it is closed. If closing takes longer than ``GRACE``
        seconds, end the process instead.
        """
        with self._lock:
            worker, self._worker = self._worker, None
            if worker is not None:
                self._token.detach()
                open_message(self._pool._stop(worker, self._patience(GRACE)))

    def drop(self) -> None:
        """Begin to close a stream, while no thread is waiting for its next chunk."""
        with self._lock:
            worker, self._worker = self._worker, None
            if worker is not None:
                self._token.detach()
                self._stop_later(worker)

    def _stop_later(self, worker: _Worker) -> None:
        self._pool._in_background(self._pool._stop, worker, self._patience(self._pool.grace))

    def _patience(self, seconds: float) -> float:
        return max(seconds, self._seconds) if self._pool.keeps else seconds


class Pool:
    """A pool of at most ``size`` processes. The first process is started by the first call.

    - ``settings``: the ``Settings`` of the application, which are declared in a layer above.
    - ``startup``: the functions of ``pool_startup``, in a form that can be pickled.
    """

    failure: Exception | None = None
    """Why the last process could not start. None if it could."""

    def __init__(self, size: int, settings: Any, startup: Sequence[Action] = ()) -> None:
        self.size, self._settings, self._startup = size, settings, startup
        self.grace: float = settings.cancel_grace or STOP_WITHIN
        self._is_eager = settings.pool_start == "eager"
        # Whether a stopped call may go on until its time limit.
        self.keeps = bool(startup) and not settings.pool_kill
        self._forget()
        notify_after_fork(self)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._free = threading.Semaphore(self.size)
        self._idle: list[_Worker] = []
        self._workers: set[_Worker] = set()
        self._end = finalize(self, _end_all, self._workers)
        self._lost = 0  # processes that were ended with a stopped call, and not replaced yet
        self._one_start, self._one_process = threading.Lock(), threading.Lock()
        self._is_closed = False

    def after_fork(self) -> None:
        """Drop the processes, because in a forked child they belong to the parent."""
        self._end.detach()
        for worker in self._workers:
            worker.abandon()
        self._forget()

    def steps(
        self,
        seconds: float,
        function: AnyFunction,
        arguments: Sequence[object],
        token: CancelToken,
    ) -> CallSteps[Any]:
        """Call ``function(*arguments)`` in a process and return its result. If the function is a
        generator, return an iterator over its chunks; for a ``Streamed``, what it makes of that.
        What may block is yielded as a step.

        Raises what the function raises, ``TookTooLong`` if there is no result or no next chunk
        after ``seconds``, and ``PoolError`` if the call can't be made. The time that a process
        takes to start and to import the function's module doesn't count. Cancelling ``token`` stops
        the call, but not the start of a process.
        """
        if this_process.is_of_pool:  # otherwise, each process would start a pool of its own
            raise PoolError(
                "a process in the pool can't start another pool; if your module calls a "
                "handler when it is imported, move that call into a block that begins with "
                "if __name__ == '__main__':"
            )
        call = function, arguments, token.report is not None
        small = packed_call(packed_small if token.is_on_loop else packed, *call)
        job = small or (yield partial(packed_call, packed, *call))
        module = module_of(function)
        self._is_closed = False
        if not self._free.acquire(blocking=False):
            yield partial(self._wait_for_free, seconds)
        worker = yield from self._take(token)
        ask = partial(self._ask, worker, job, seconds)
        try:
            if module not in worker.found:
                yield partial(self._find, worker, module, function, token)
            if small is None:
                yield ask
            else:
                ask()
        except GeneratorExit:  # a thread was to do the step, but nobody waits any more
            self._give_back(worker)
            raise
        worker.number_of_calls += 1
        token.attach(worker.connection.wake)
        until = monotonic() + seconds
        message = yield from self._receive(worker, seconds, token)
        if message[0] == STREAM:
            chunks = Chunks(self, worker, seconds)
            token.attach(chunks.drop)
            return chunks if message[1] is None else message[1](chunks)
        if token.detach():
            if message[0] == CHUNK:  # the call goes on
                self._stop(worker, until - monotonic() if self.keeps else self.grace)
                token.check()
            worker.connection.forget_wakes()
        self._give_back(worker, message[0])
        if message[0] != RESULT:
            yield partial(open_message, message)  # unpickles an error, and raises it
        return message[1]

    def _wait_for_free(self, seconds: float) -> None:
        # If a process is still starting, wait longer, because then the wait isn't due to slow
        # handlers.
        have_started = self._have_started()
        while not self._free.acquire(timeout=seconds):
            had_started, have_started = have_started, self._have_started()
            if had_started and have_started:
                raise TookTooLong(
                    f"the call waited longer than {seconds:g} s for a free process in the pool"
                )

    def start(self) -> None:
        """Start all processes that don't run yet, and wait until each has run the start functions.
        Raises ``PoolError`` if one fails.
        """
        self._is_closed = False
        taken, workers = 0, list[_Worker]()
        try:
            while len(self._workers) < self.size and self._free.acquire(blocking=False):
                taken += 1
                workers.append(self._new_worker())
            while workers:
                self._begin(workers[0])
                self._idle.append(workers.pop(0))
        finally:
            for worker in workers:
                self._drop(worker)
            for _ in range(taken):
                self._free.release()

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
            self._is_closed = True
            idle, self._idle = self._idle, []
            busy = self._workers.difference(idle)
        for worker in busy:
            # The thread that waits for the result notices this and drops the process.
            worker.process.kill()
        for worker in idle:  # all of them end at the same time
            worker.connection.close()
        until = monotonic() + GRACE
        for worker in idle:
            self._drop(worker, max(0.0, until - monotonic()))

    def _take(self, token: CancelToken) -> CallSteps[_Worker]:
        """Return an idle process, or start one.

        Idle processes that have ended are dropped.
        """
        try:
            token.check()
            while True:
                with self._lock:
                    worker = self._idle.pop() if self._idle else None
                    is_replacement = worker is None and self._lost > 0
                    self._lost -= is_replacement
                if worker is None:
                    started: _Worker = yield partial(self._started, token, is_replacement)
                    return started
                if worker.process.poll() is None:
                    return worker
                self._drop(worker)
        except BaseException:
            self._free.release()
            raise

    def _started(self, token: CancelToken, is_replacement: bool) -> _Worker:
        # Replace lost processes one after the other. So visitors who leave many calls can't keep
        # the machine busy with starts.
        with self._one_start if is_replacement else nullcontext():
            token.check()
            worker = self._new_worker()
            try:
                self._begin(worker)
            except BaseException:
                self._drop(worker)
                raise
            return worker

    def _new_worker(self) -> _Worker:
        """Start a process and let it call ``begin``, without waiting for that."""
        with self._one_process:  # not ``_lock``, for which event loops would wait
            with self._lock:
                indexes = {worker.index for worker in self._workers}
            index = next(index for index in range(self.size) if index not in indexes)
            worker = _Worker(index)
            with self._lock:
                is_closed = self._is_closed
                if not is_closed:
                    self._workers.add(worker)
        if is_closed:
            worker.end()
            raise PoolError("the pool has been closed")
        given = index, self._settings.pool_retire_on, self._startup
        with suppress(OSError):  # if the process has ended, ``_begin`` reports that
            worker.connection.send(packed((CALL, (begin, given, False))))
        return worker

    def _begin(self, worker: _Worker) -> None:
        """Wait until a process has called ``begin``."""
        try:
            message = in_this_thread(worker.receive(START_WITHIN))
            if message is None:
                raise TookTooLong(
                    f"the call did not start within {START_WITHIN:g} s: its process was terminated"
                )
            open_message(message)
        except Exception as error:
            self.failure = error
            if isinstance(error, PoolError | TookTooLong):
                raise
            raise PoolError(
                f"pool_startup failed in a process of the pool: {type(error).__name__}: {error}"
            ) from error
        self.failure = None

    def _find(
        self, worker: _Worker, module: str | None, function: AnyFunction, token: CancelToken
    ) -> None:
        """Let a process import the module of ``function``.

        If the call is cancelled meanwhile, don't end the process, because the next call would have
        to start another one.
        """
        self._ask(worker, packed((CALL, (callable, (function,), False))), START_WITHIN)
        message = in_this_thread(self._receive(worker, START_WITHIN, CancelToken()))
        if message[0] != RESULT or token.is_cancelled:
            self._give_back(worker, message[0])
            token.check()
            open_message(message)
        worker.found.add(module)

    @staticmethod
    def _ask(worker: _Worker, job: Packed, seconds: float) -> None:
        worker.connection.limit(seconds)
        with suppress(OSError):  # if the process has ended or is stopped, ``receive`` reports that
            worker.connection.send(job)

    def _receive(
        self, worker: _Worker, seconds: float, token: CancelToken
    ) -> CallSteps[PoolMessage]:
        """Pass steps on to ``token.report``. Return the next other message of a process, or a CHUNK
        as soon as ``token`` is cancelled.

        If the process sends no message in time, stop its call and raise ``TookTooLong``. Likewise,
        raise ``PoolError`` if a chunk or a step can't be unpickled. If the process has ended, drop
        it and raise the error.
        """
        until = monotonic() + seconds
        try:
            message = yield from worker.receive(seconds, token.is_on_loop)
            while token.report and message is not None and message[0] == PROGRESS:
                token.report(message[1])
                message = yield from worker.receive(until - monotonic(), token.is_on_loop)
        except GeneratorExit:  # a thread was to receive a message, but nobody waits any more
            token.detach()
            self._in_background(self._stop, worker, seconds if self.keeps else self.grace)
            raise
        except BaseException:
            self._give_back(worker, CHUNK)
            raise
        if message is not None and message[0] != BROKEN:
            return message
        if token.is_cancelled:
            return CHUNK, None
        # Don't let the caller wait until the call has stopped.
        token.detach()
        patience = max(self.grace, until - monotonic()) if worker.found else 0.0
        self._in_background(self._stop, worker, patience)
        if message is not None:
            open_message((FAILED, message[1]))
        what = "returned or yielded nothing for" if worker.found else "did not start within"
        raise TookTooLong(f"the call {what} {seconds:g} s: its process was terminated")

    def _stop(self, worker: _Worker, seconds: float) -> PoolMessage:
        """Stop the call of a process. If it hasn't ended after ``seconds``, end the process. Return
        the process's last message.
        """
        worker.connection.forget_wakes()
        message: PoolMessage | None = CHUNK, None
        until = monotonic() + seconds
        with suppress(OSError, TookTooLong, PoolError):
            worker.connection.send(packed((STOP, 0)))
            while message is not None and message[0] not in ENDS:
                message = in_this_thread(worker.receive(max(0.0, until - monotonic())))
        message = message or (CHUNK, None)
        if message[0] not in ENDS:
            with self._lock:
                self._lost += 1
        self._give_back(worker, message[0])
        return message

    def _give_back(self, worker: _Worker, kind: bytes = RESULT) -> None:
        """Return a process to the idle processes after a message of this kind. If the call hasn't
        ended, end the process. If the process must not get another call, replace it.
        """
        if kind in (RESULT, FAILED) and not worker.is_worn(self._settings):
            with self._lock:
                # If the process has been killed, the next call will notice that.
                self._idle.append(worker)
            self._free.release()
        elif kind in ENDS:
            self._in_background(self._replace, worker, GRACE)
        else:
            self._drop(worker)
            self._in_background(self._replace) if self._is_eager else self._free.release()

    def _replace(self, *ended: Any) -> None:
        """End a process and, in an eager pool, start another one in its place. ``ended``: the
        arguments for ``_drop``, unless the process has ended.
        """
        if ended:
            self._drop(*ended)
        try:
            if self._is_eager and not self._is_closed:
                worker = self._started(CancelToken(), is_replacement=True)
                with self._lock:
                    self._idle.append(worker)
        except Exception as error:
            logger.error("a process of the pool can't be replaced: %s", error)
        finally:
            self._free.release()

    def _in_background(self, function: AnyFunction, *arguments: Any) -> None:
        """Let a thread call ``_stop`` or ``_replace``. If the system starts no more threads, only
        end the process.
        """
        try:
            threading.Thread(
                target=function, args=arguments, name="micropie pool", daemon=True
            ).start()
        except RuntimeError:
            if arguments:
                self._drop(arguments[0])
            self._free.release()

    def _drop(self, worker: _Worker, grace: float = 0.0) -> None:
        worker.end(grace)
        with self._lock:
            self._workers.discard(worker)


class _Worker:
    """A process of the pool, and this process's end of the socket to it."""

    number_of_calls = 0

    def __init__(self, index: int) -> None:
        if not CAN_START:
            raise PoolError(
                "micropie's own process pool doesn't work on Windows and in frozen programs: write "
                "App(pool=concurrent.futures.ProcessPoolExecutor())"
            )
        import signal
        import subprocess

        self.index = index
        # The modules that the process has imported to find functions.
        self.found: set[str | None] = set()
        ours, theirs = socket.socketpair()
        self.connection = Connection(ours)
        their_life, life = os.pipe()
        self._life: int | None = life
        passed = theirs.fileno(), their_life
        # Block signals while the process starts, because it can't ignore them yet. The process
        # inherits this thread's signal mask.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
        try:
            self.process = subprocess.Popen(  # noqa: S603
                [
                    *interpreter(),
                    "-c",
                    _MAIN.format(path=[*map(str, sys.path)], given=(*passed, main_name())),
                ],
                pass_fds=passed,
                stdin=subprocess.DEVNULL,
            )
        except BaseException:
            self._close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            theirs.close()
            os.close(their_life)

    def receive(self, seconds: float, is_on_loop: bool = False) -> CallSteps[PoolMessage | None]:
        """Return the process's next message, or None if no message comes within ``seconds``, or
        before the connection is woken.

        Raises ``PoolError`` if the process has ended. A message whose value can't be unpickled is
        replaced with a FAILED or, if the call goes on, with a BROKEN.
        """
        connection = self.connection
        if seconds < 0 or connection.is_stuck:
            return None
        if not connection.has_more:
            has_come: bool = yield Wait(connection.poll, connection.descriptor, seconds)
            if not has_come:
                return None
        try:
            if not is_on_loop:
                return connection.receive()
            return connection.receive_small() or cast("PoolMessage", (yield connection.receive))
        except Exception as error:
            if connection.kind:
                return FAILED if connection.kind in ENDS else BROKEN, pickled_error(error)
            if isinstance(error, BlockingIOError):
                return None
            self.process.kill()
            code = self.process.wait()
            from signal import Signals

            how = f"killed by {Signals(-code).name}" if code < 0 else f"with status {code}"
            raise PoolError(f"the process exited before the call was done, {how}") from None

    def is_worn(self, settings: Any) -> bool:
        """Return whether the process has made enough calls, or uses too much memory."""
        if self.number_of_calls >= (settings.pool_max_calls or inf):
            return True
        if settings.pool_max_memory is None:
            return False
        try:  # Linux only
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return False
        most: int = settings.pool_max_memory << 20
        return pages * os.sysconf("SC_PAGE_SIZE") > most

    def end(self, grace: float = 0.0) -> None:
        """End the process, unless it was ended: close its connection, wait up to ``grace`` seconds
        for it to end, then kill it.
        """
        if self._life is None:
            return
        self.connection.close()
        import subprocess

        with suppress(subprocess.TimeoutExpired):
            self.process.wait(grace)
        self.process.kill()
        self.process.wait()
        self._close()

    def abandon(self) -> None:
        """Forget the process. A forked child calls this, because only the process's parent can wait
        for the process.

        Setting ``returncode`` keeps ``subprocess`` from waiting for the process and from warning
        about it.
        """
        self.process.returncode = 0
        self._close()

    def _close(self) -> None:
        self.connection.close()
        life, self._life = self._life, None
        if life is not None:
            os.close(life)


def _end_all(workers: set[_Worker]) -> None:
    for worker in [*workers]:  # a call that ends now drops its own
        worker.end()


def interpreter() -> Sequence[str]:
    """Return this interpreter with those of its options that change how code runs. Those from
    environment variables are inherited anyway.

    Under servers that embed Python, such as uWSGI, ``sys.executable`` is the server.
    """
    executable = Path(sys.executable or "")
    python = Path(sys.prefix, "bin", "python{}.{}".format(*sys.version_info))
    if "py" not in executable.name and python.exists():
        executable = python
    flags = sys.flags
    given = {
        f"-{'O' * flags.optimize}": flags.optimize,
        "-B": flags.dont_write_bytecode,
        "-Xutf8": flags.utf8_mode,
        "-Xdev": flags.dev_mode,
    }
    options = [option for option, is_given in given.items() if is_given]
    return [str(executable), *options, *(f"-W{one}" for one in sys.warnoptions)]


# Give the new process this process's ``sys.path``, so that it finds the same modules.
_MAIN = (
    "import sys; sys.path[:] = {path!r}; from micropie._core.execution.pool.inside "
    "import run_process; run_process(*{given!r})"
)
