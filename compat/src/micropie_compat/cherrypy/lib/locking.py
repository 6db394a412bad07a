"""``cherrypy.lib.locking``: time limits for waiting for a lock. Session classes that applications
define may use them.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class LockTimeout(Exception):
    """Raised if a lock wasn't released in time."""


class NeverExpires:
    """A timer that never expires."""

    def expired(self) -> bool:
        """Return False."""
        return False


class Timer:
    """A timer that expires at ``expiration``, a datetime with a time zone."""

    def __init__(self, expiration: datetime) -> None:
        self.expiration = expiration

    @classmethod
    def after(cls, elapsed: timedelta) -> Timer:
        """Return a timer that expires after ``elapsed``."""
        return cls(datetime.now(UTC) + elapsed)

    def expired(self) -> bool:
        """Return whether the timer has expired."""
        return datetime.now(UTC) >= self.expiration


class LockChecker:
    """The time limit of a loop that waits for a session's lock.

    ``timeout``: a timedelta or seconds; None means no limit.
    """

    def __init__(self, session_id: str | None, timeout: timedelta | float | None) -> None:
        self.session_id = session_id
        limit = timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout
        self.timer = Timer.after(limit) if limit else NeverExpires()

    def expired(self) -> bool:
        """Return False until the timeout is over, then raise ``LockTimeout``."""
        if self.timer.expired():
            raise LockTimeout(f"Timeout acquiring lock for {self.session_id}")
        return False
