"""``Outage`` remembers that a service is unavailable, such as a database on the network or a file
that other processes lock.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from threading import Lock
from time import monotonic
from traceback import format_exception

from micropie._core.errors import HTTPError, logger
from micropie._core.execution.steps.steps import INLINE, Flow, Result, call, result_of

# Seconds between two log records for an outage that goes on.
_REPORT_EVERY = 60.0
# For this number of seconds after an outage has ended, a new outage isn't logged, because it may
# concern only a single connection.
_REPORT_AGAIN = 5.0


# Errors of this process or machine, such as too many open files. The next call may succeed.
_LOCAL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def is_local(error: BaseException | None) -> bool:
    """Return whether ``error``, or an exception that led to it, is no failure of a service."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _LOCAL:
            return True
        error = error.__cause__ or error.__context__
    return False


class ConnectionLost(ConnectionError):
    """Raised if a connection was lost, but the service responds over a new one. Such a loss is not
    an outage.
    """


class Outage:
    """Remembers that a service is unavailable.

    During an outage, one call at a time tries the service, and all others fail at once. So a
    service that hangs blocks only one thread.

    After a failed call, the next try has to wait four times as long as that call took, but at most
    ``retry_after`` seconds. So the next try comes soon if the connection broke quickly. The outage
    is logged when it begins and when it ends. The messages begin with ``subject``, and
    ``consequence`` follows "is unavailable".

        outage = Outage("the rates' server", ", nothing is counted")

        def count(key):
            return outage.call(lambda: server.increment(key))  # in an outage, fails at once

    Only an ``OSError`` such as ``ConnectionError`` or ``TimeoutError`` begins an outage, so convert
    a library's own exceptions to one of these. A ``ConnectionLost`` doesn't begin an outage, nor
    does a process that has too many open files.
    ``is_on``: whether the last call failed. The class is thread-safe.

    ``raise Outage.Unavailable(message, reason, retry_after=5)`` responds with 503 and the header
    Retry-After:

    - ``message``: the sentence for the client.
    - ``reason``: the sentence for the log; ``str()`` returns it.
    - ``retry_after``: whole seconds.
    """

    class Unavailable(ConnectionError, HTTPError):
        """Raised if a service that the response needs is unavailable."""

        def __init__(self, message: str, reason: str, retry_after: int = 5) -> None:
            HTTPError.__init__(self, 503, message, [("Retry-After", str(retry_after))])
            self.reason = reason

        def __str__(self) -> str:
            return self.reason

        __reduce__ = HTTPError.__reduce__

    retry_after = 5.0
    """The maximum number of seconds between two calls that try an unavailable service."""

    def __init__(self, subject: str, consequence: str = "") -> None:
        self._subject = subject
        self._consequence = consequence
        self._lock = Lock()
        self._trial = Lock()  # held by the call that checks whether the service is available again
        self.is_on = self._is_reported = False
        self._next_try = self._next_report = 0.0

    def lasts(self) -> bool:
        """Return whether a call would fail at once, because the service is unavailable and the next
        try isn't due yet.
        """
        return self.is_on and (monotonic() < self._next_try or self._trial.locked())

    def watch(self, flow: Flow[Result]) -> Flow[Result]:
        """Run ``flow``, which calls the service, and return its result.

        Raises ``OSError`` if the service is unavailable.
        """
        is_trial = self.is_on
        if self.lasts() or (is_trial and not self._trial.acquire(blocking=False)):
            raise ConnectionError(f"{self._subject} is unavailable")
        began = monotonic()
        try:
            answer = yield from flow
        except OSError as error:
            if not isinstance(error, ConnectionLost):
                self.note(error, monotonic() - began)
            raise
        finally:
            if is_trial:
                self._trial.release()
        if self.is_on:
            self.end()
        return answer

    def call(self, function: Callable[[], Result]) -> Result:
        """Call ``function``, which calls the service and may block, and return its result. Call
        this method only in a thread that may block.

        Raises ``OSError`` if the service is unavailable.
        """
        answer: Result = result_of(self.watch(call(INLINE, function)))
        return answer

    def note(self, error: OSError, seconds: float) -> None:
        """Record that a call failed with ``error`` after ``seconds``. Log the error, unless one was
        logged recently.
        """
        with self._lock:
            now = monotonic()
            begins = not is_local(error)
            if begins:
                self.is_on, self._next_try = True, now + min(4 * seconds, self.retry_after)
            if now < self._next_report:
                return
            self._is_reported |= begins
            self._next_report = now + (_REPORT_EVERY if begins else _REPORT_AGAIN)
        # Log the error as a string. A stored record with the traceback would keep alive the frames
        # of everything that waits for the response.
        reason = f"{type(error).__name__}: {error}"
        if logger.isEnabledFor(logging.DEBUG):
            reason = "\n".join([reason, *format_exception(error)])
        logger.error("%s is unavailable%s: %s", self._subject, self._consequence, reason)

    def end(self) -> None:
        """Record that the service responds again. Log the end of the outage if its beginning was
        logged.
        """
        with self._lock:
            self.is_on = False
            if not self._is_reported:
                return
            self._is_reported, self._next_report = False, monotonic() + _REPORT_AGAIN
        logger.warning("%s is available again", self._subject)
