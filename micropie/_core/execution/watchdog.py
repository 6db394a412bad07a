"""Log code that blocks an event loop and so delays everything else on the loop.

A blocked loop can't report that it is blocked. So a thread schedules a call on the loop again and
again, and reads the stack of the loop's thread if the call is late. The thread doesn't slow
requests down.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from contextlib import suppress
from itertools import dropwhile, takewhile
from threading import Event, Thread, get_ident
from time import monotonic, sleep
from traceback import walk_stack
from types import FrameType

from micropie._core.errors import is_framework, logger
from micropie._core.execution.fork import after_fork_in_child
from micropie._core.execution.loop import LoopLocal, start_shared, threadsafe_scheduler

# Seconds until the same code is logged again, and the period that ``loop_lag`` covers.
_MINUTE = 60.0

# The packages that call the application's code on event loops. In a stack, the application's frames
# are inside the frames of these packages.
_ON_LOOPS = ("micropie.asgi.", "micropie._core.execution.")

# While a loop's thread executes code of these packages, the loop is idle or only waits for the
# processor.
_IDLE = ("selectors", "asyncio.", "trio.")

# The packages of servers, which run the event loop and send responses.
_SERVERS = ("daphne.", "granian.", "gunicorn.", "hypercorn.", "uvicorn.", "uvloop.")

# The packages that the framework and servers call on event loops.
_LIBRARIES = sys.stdlib_module_names | {"anyio", "h11", "h2", "httptools", "websockets", "wsproto"}


class _Collections:
    """Measures how long the garbage collector has stopped this process."""

    def __init__(self) -> None:
        self._ended = 0.0  # seconds of all collections that have ended
        self._began: float | None = None

    def __call__(self, phase: str, _: object) -> None:
        """Called by ``gc`` at the start and at the end of each collection."""
        if phase == "start":
            self._began = monotonic()
        else:
            self._ended, self._began = self.seconds(), None

    def seconds(self) -> float:
        """Return the seconds of all collections, including the present one."""
        began = self._began
        return self._ended if began is None else self._ended + monotonic() - began


_COLLECTIONS = _Collections()


class _Watchdog:
    """Watches the event loop on which it was created, until the loop is closed."""

    def __init__(self) -> None:
        self._call_soon = threadsafe_scheduler()
        self._loop_thread = get_ident()
        self._thread: Thread | None = None
        # The functions that were logged, and the time after which each may be logged again.
        self._named: dict[str, float] = {}

    def start(self, seconds: float) -> None:
        """Start watching, unless this loop is watched already.

        A loop that is blocked for ``seconds`` or longer is always noticed.
        """
        if self._thread is None:
            if _COLLECTIONS not in gc.callbacks:
                gc.callbacks.append(_COLLECTIONS)
            self._thread = Thread(
                target=self._watch, args=(seconds / 4,), name="micropie watchdog", daemon=True
            )
            with suppress(RuntimeError):  # the platform may have no threads
                start_shared(self._thread)

    def _watch(self, pause: float) -> None:
        self.lags: deque[float] = deque([0.0], maxlen=round(_MINUTE / pause))
        _WATCHING.append(self)
        turned = Event()
        # The exceptions mean that the loop is closed, or that its thread has ended without closing
        # it.
        with suppress(RuntimeError, KeyError):
            while True:
                sleep(pause)
                turned.clear()
                began, collected = monotonic(), _COLLECTIONS.seconds()
                self._call_soon(turned.set)
                while not turned.wait(3 * pause):
                    self._report(monotonic() - began, _COLLECTIONS.seconds() - collected)
                    self._call_soon(turned.set)
                self.lags.append(monotonic() - began)
        _WATCHING.remove(self)

    def _report(self, seconds: float, collected: float) -> None:
        """Log the code that the loop is executing, or the garbage collector if it took more than
        half of the time. The same is logged at most once a minute.
        """
        frame = sys._current_frames()[self._loop_thread]
        if collected > seconds / 2:
            code, place = "", f"the garbage collector took {collected:.1f} of them"
            advice = "raise the first number of gc.set_threshold, for example to 50,000"
        elif _module_of(frame).startswith(_IDLE) or (described := _described(frame)) is None:
            return
        else:
            code, place = described
            advice = "use def instead of async def, or await an async function that does not block"
        now = monotonic()
        if now >= self._named.get(code, now):
            self._named[code] = now + _MINUTE
            words = f"the event loop has been blocked for %.1f seconds so far: %s; {advice}"
            logger.warning(words, seconds, place)


def _described(frame: FrameType) -> tuple[str, str] | None:
    """Return the name of the application's function that is running on the loop, and a description
    for the log: the function's name, file and line. If the function is calling another one, the
    description also contains the name, file and line of the innermost function.

    Return None if no function of the application is running, for example while the framework closes
    its pool or imports a module, or while the server reads a request.
    """
    outwards = [*walk_stack(frame)]
    below_us = [
        *dropwhile(lambda one: not _module_of(one[0]).startswith(_ON_LOOPS), reversed(outwards))
    ]
    # Other code is called by the loop, which in turn is called by the server.
    ends = _SERVERS if below_us else (*_IDLE, *_SERVERS)
    running = takewhile(lambda one: not _module_of(one[0]).startswith(ends), below_us or outwards)
    called = next(
        (
            one
            for one in running
            if not is_framework(module := _module_of(one[0]))
            and module.partition(".")[0] not in _LIBRARIES
        ),
        None,
    )
    if called is None:
        return None
    places = [
        f"{_name_of(frame)} ({frame.f_code.co_filename}:{line})"
        for frame, line in (called, outwards[0])
    ]
    return _name_of(called[0]), ", in ".join(dict.fromkeys(places))


def _module_of(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "?"))


def _name_of(frame: FrameType) -> str:
    return f"{_module_of(frame)}.{frame.f_code.co_qualname}"


_WATCHDOGS = LoopLocal(_Watchdog)
_WATCHING: list[_Watchdog] = []
after_fork_in_child(_WATCHING.clear)


def watch_loop(patience: float | None) -> None:
    """Start a thread that watches this event loop and logs code that blocks it for ``patience``
    seconds.

    If ``patience`` is None, no thread is started.
    """
    if patience is not None:
        _WATCHDOGS.get().start(patience)


def loop_lag() -> float:
    """Return the longest time, in seconds, that a call had to wait for a watched event loop of this
    process within the last minute.

    Return 0 if no loop is watched.
    """
    return max((max([*watchdog.lags]) for watchdog in [*_WATCHING]), default=0.0)
