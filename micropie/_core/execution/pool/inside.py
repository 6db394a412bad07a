"""What runs in a process of the pool: it makes the calls that arrive, until its parent ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from micropie._core.execution.loop import Action
from micropie._core.execution.placement import AnyFunction, this_process
from micropie._core.execution.pool.connection import Connection, packed
from micropie._core.execution.pool.remote import (
    CALL,
    CallCancelled,
    RetireProcess,
    Streamed,
    packed_result,
)
from micropie._core.execution.process_pool import Progress

# Kinds of messages; see ``processes.py`` and ``remote.py``.
STREAM, CHUNK, PROGRESS = b"S", b"C", b"P"  # to the parent
TAKEN, STOP = b"t", b"s"  # to a process

AHEAD = 16  # how many chunks a process may produce ahead of the reader

# The signals that a process of the pool ignores, because they are for the server. When the server
# shuts down, it closes the connection, which ends the process. Windows, which has no SIGHUP, needs
# this module for ``progress``.
IGNORED = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))


class Calls:
    """The calls that this process makes. ``index``: the number of this process in the pool."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # for a function that checks in several threads
        self._is_stopped, self._allowed = False, AHEAD
        # whether a call is being made, and whether its caller follows its progress
        self._is_busy = self._reports = False
        self.index = 0
        self.retire_on: tuple[type[BaseException], ...] = (SystemExit, RetireProcess)

    def make(self) -> None:
        """Make each call that arrives, until the connection is closed."""
        with suppress(OSError):
            while True:
                # in a copy of the context, because the next call must not see this one's request
                answer = copy_context().run(packed_result, packed, self.retire_on, self._answer)
                with self._lock:  # a thread that the function has left may still check or report
                    self._is_busy = self._reports = False
                self._connection.send(answer)  # fails if the connection is closed

    def check(self) -> None:
        """Raise ``CallCancelled`` if the parent has stopped the call."""
        self._listen()
        if self._is_stopped:
            raise CallCancelled

    def report(self, step: Progress) -> None:
        """Send a step of the call to the parent."""
        self.check()
        with self._lock:
            if self._reports:
                self._connection.send(packed((PROGRESS, step)))

    def leave(self) -> None:
        """From now on, neither receive nor send: this is a forked child of the pool's process. If
        it kept the connection open, the server would not notice the end of that process.
        """
        self._connection.close()
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._is_busy = self._reports = self._is_stopped = False

    def _answer(self) -> object:
        """Return the result of the next call. If the result is a stream, send its chunks and return
        None. At most ``AHEAD`` of them may be waiting for the parent to take them.
        """
        kind, call = self._connection.receive()
        while kind != CALL:  # it is for a call that has ended meanwhile
            kind, call = self._connection.receive()
        *call, self._reports = call
        self._is_busy, self._is_stopped, self._allowed = True, False, AHEAD
        with suppress(CallCancelled):
            return self._result(*call)
        return None

    def _result(self, function: AnyFunction, arguments: Sequence[object]) -> object:
        result, wrap = function(*arguments), None
        if isinstance(result, Streamed):
            wrap, result = result
        if not isinstance(result, Iterator):
            return result
        self._connection.send(packed((STREAM, wrap)))
        for chunk in result:
            self._connection.send(packed((CHUNK, chunk)))
            self._allowed -= 1
            self._listen()
            if self._is_stopped:
                getattr(result, "close", int)()
                return None
        return None

    def _listen(self) -> None:
        """Receive what the parent has sent. Wait if the reader is too far behind."""
        with self._lock:
            while (
                self._is_busy
                and not self._is_stopped
                and (not self._allowed or self._connection.poll())
            ):
                kind, taken = self._connection.receive()
                self._is_stopped = kind == STOP
                self._allowed += taken


# The calls of this process, if it belongs to a pool.
_calls: list[Calls] = []


def run_process(descriptor: int, life: int, main: str | None) -> None:
    """Run a process of the pool: make calls until the parent ends.

    - ``descriptor``: the file descriptor of the socket for calls.
    - ``life``: the file descriptor of a pipe that is closed when the parent ends.
    - ``main``: the name by which this process imports its parent's module ``__main__``.
    """
    this_process.is_of_pool = True
    import fcntl

    sys.modules["__main__"] = Script(main)
    for number in descriptor, life:
        os.set_inheritable(number, False)  # not for programs that a function starts
    # Not by ``SIG_IGN``, because programs that a function starts would inherit that, and
    # ``terminate`` would not end them.
    before = {one: signal.signal(one, ignore_signal) for one in IGNORED}
    for one in IGNORED:
        signal.siginterrupt(one, False)
    block = partial(signal.pthread_sigmask, signal.SIG_BLOCK, IGNORED)
    unblock = partial(signal.pthread_sigmask, signal.SIG_UNBLOCK, IGNORED)
    # A signal for a child must not come before the child has the handlers for it.
    leave = partial(leave_pool, before, unblock)
    os.register_at_fork(before=block, after_in_parent=unblock, after_in_child=leave)
    unblock()
    # On Linux, have the kernel signal this process when the pipe is closed. The thread that waits
    # for that (``exit_at_end``) isn't enough, because it can't run while a function holds the GIL.
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(life, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.FASYNC)
    threading.Thread(target=exit_at_end, args=(life,), name="micropie exit", daemon=True).start()
    _calls.append(Calls(Connection(socket.socket(fileno=descriptor))))
    _calls[0].make()


def ignore_signal(*_: object) -> None:
    """Do nothing."""


def leave_pool(handlers: Mapping[signal.Signals, Any], unblock: Action) -> None:
    """Make a child that a function has forked a process like any other: the pool's messages are for
    its parent, and signals end it. ``handlers``: the signals' handlers before the pool's.
    """
    _calls[0].leave()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    unblock()


class Script(ModuleType):
    """The module ``__main__`` in a process of the pool. Arguments refer to a script's classes as
    those of ``__main__``, so it has the names of the parent's ``__main__``, which is imported for
    the first of them. ``main``: the name by which it is imported, or None if it can't be.
    """

    def __init__(self, main: str | None) -> None:
        super().__init__("__main__")
        self._main = main

    def __getattr__(self, name: str) -> Any:
        if self._main is None or name.startswith("__"):  # not "__file__" and such, for tools
            raise AttributeError(name)
        return getattr(import_module(self._main), name)


def exit_at_end(pipe: int) -> None:
    """Wait until the pipe is closed, then end this process."""
    os.read(pipe, 1)
    os._exit(1)


def begin(
    index: int,
    retire_on: Sequence[type[BaseException]],
    startup: Sequence[Action],
) -> None:
    """Prepare this process for its first call."""
    _calls[0].index = index
    _calls[0].retire_on += (*retire_on,)
    for function in startup:
        function()


def pool_index() -> int:
    """Return the number of this process among those of its pool, which are counted from 0. A
    process that replaces another one gets the same number.

        device = f"cuda:{pool_index() % 2}"

    Outside the pool, and in an executor, this returns 0.
    """
    return _calls[0].index if _calls else 0


def check_cancelled() -> None:
    """Raise an exception if nobody waits for this function any more. Call this now and then in a
    function that the pool runs. It can be called anywhere; outside the pool, it does nothing.
    """
    if _calls:
        _calls[0].check()


def progress(done: float, total: float | None = None, note: str = "") -> None:
    """Report to whoever called this function, by ``app.pool.start`` or ``app.pool.run(...,
    on_progress=...)``, that ``done`` of ``total`` units are done, with a ``note``. Like
    ``check_cancelled``, raise an exception if nobody waits any more.

        for number, page in enumerate(pages, 1):
            scan(page)
            progress(number, len(pages), page.title)

    It can be called anywhere; outside the pool, and in an executor, it does nothing.
    """
    if _calls:
        _calls[0].report(Progress(done, total, note))
