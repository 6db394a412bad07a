"""``cherrypy.lib.locking``: the time that a session of an application's own class waits for its
lock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class LockTimeout(Exception):
    """A lock could not be had in time."""


class NeverExpires:
    """A timer without an end."""

    def expired(self) -> bool:
        """Return False."""
        return False


class Timer:
    """A timer that ends at ``expiration``, a time with its zone."""

    def __init__(self, expiration: datetime) -> None:
        self.expiration = expiration

    @classmethod
    def after(cls, elapsed: timedelta) -> Timer:
        """Return a timer that ends after ``elapsed``."""
        return cls(datetime.now(UTC) + elapsed)

    def expired(self) -> bool:
        """Return whether it has ended."""
        return datetime.now(UTC) >= self.expiration


class LockChecker:
    """Whether to go on waiting for a session's lock.

    ``timeout``: a timedelta or seconds; without one, for ever.
    """

    def __init__(self, session_id: str | None, timeout: timedelta | float | None) -> None:
        self.session_id = session_id
        limit = timedelta(seconds=timeout) if isinstance(timeout, int | float) else timeout
        self.timer = Timer.after(limit) if limit else NeverExpires()

    def expired(self) -> bool:
        """Return False as long as the time lasts. Raises ``LockTimeout`` after it."""
        if self.timer.expired():
            raise LockTimeout(f"Timeout acquiring lock for {self.session_id}")
        return False
