"""``Outbox``: put a job into a table in the same transaction as the data that it belongs to, and
run it later.

To take a job, a worker sets its due time to the end of a lease and commits. When the job is done,
the worker deletes it. If the worker dies, the lease ends, and another worker takes the job. So each
job runs at least once, and in only one worker at a time.
"""

from __future__ import annotations

import inspect
import json
import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

from micropie import App, SetupError, run_async

from . import statements

Job = TypeVar("Job", bound=Callable[..., object])

logger = logging.getLogger("micropie_outbox")


class GiveUp(Exception):
    """Raised by a job that must not be tried again."""


class _Taken(NamedTuple):
    """A row of the table for which this worker has a lease."""

    id: str
    job: str
    arguments: str
    tries: int


class Outbox:
    """Jobs in the table ``micropie_outbox`` of a database.

    - ``connect``: a function that returns a context manager for a connection, which commits at the
      end. Examples are ``sessionmaker(engine).begin``, and a function with ``@contextmanager`` that
      yields a connection of sqlite3 or psycopg.
    - ``tries``: how often a job is tried. If the last try fails, too, an error is logged, and the
      job stays in the table but never runs again.
    - ``first_delay``, ``longest_delay``: a job that fails is tried again after ``first_delay``
      seconds, then after twice as many, and so on, up to ``longest_delay``. With the defaults, the
      tries take two and a half days.
    - ``lease``: after how many seconds a job counts as abandoned. It must be longer than any job.
    - ``clock``: a function that returns the seconds since 1970.

    Raises ``SetupError`` for invalid values.
    """

    def __init__(
        self,
        connect: Callable[[], AbstractContextManager[Any]],
        *,
        first_delay: float = 60,
        longest_delay: float = 3600,
        tries: int = 64,
        lease: float = 600,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if not callable(connect):
            raise SetupError(
                "Outbox takes a function that makes a connection, such as "
                f"sessionmaker(engine).begin, not {connect!r}"
            )
        if not 0 < first_delay <= longest_delay or tries < 1 or lease <= 0:
            raise SetupError("Outbox takes seconds above 0, and one try or more")
        self._connect = connect
        self._first_delay, self._longest_delay = first_delay, longest_delay
        self._tries, self._lease, self._clock = tries, lease, clock
        self._jobs: dict[str, Callable[..., object]] = {}

    def job(self, function: Job) -> Job:
        """Register the decorated function, ``def`` or ``async def``, as a job under its name.

        Its arguments must be JSON values.
        """
        name = function.__name__
        if name in self._jobs:
            raise SetupError(f"two jobs have the name {name}: rename one of them")
        self._jobs[name] = function
        return function

    def create_table(self) -> None:
        """Create the table unless it exists."""
        with self._connect() as connection:
            for statement in (
                statements.LOCK,
                statements.CREATE_TABLE,
                statements.CREATE_INDEX,
            ):
                statements.run(connection, statement)

    def put(
        self, connection: Any, job: Callable[..., object], *args: object, **arguments: object
    ) -> str:
        """Put a job into the table, in the transaction of ``connection``, and return its id.

        With an ``AsyncSession``, write ``await session.run_sync(outbox.put, send_mail, ...)``.
        Raises ``LookupError`` for a function that is not a job, and ``TypeError`` for arguments
        that don't match it or aren't JSON values.
        """
        if self._jobs.get(job.__name__) is not job:
            raise LookupError(f"{job.__name__} is no job: write @outbox.job above it")
        given = inspect.signature(job).bind(*args, **arguments).arguments
        key = str(uuid4())
        statements.run(
            connection,
            statements.PUT,
            id=key,
            job=job.__name__,
            arguments=json.dumps(given),
            due=self._clock(),
        )
        return key

    def drain(self) -> int:
        """Run all jobs that are due. Return how many of them succeeded.

        Call ``request.after_response(outbox.drain)`` to run jobs right after the response. The
        command ``drain-outbox`` runs those that remain.
        """
        done = 0
        while (taken := self._take()) is not None:
            done += self._run(taken)
        return done

    def add_to(self, app: App) -> None:
        """Give an application the command ``drain-outbox``, and create the table when it starts."""

        def drain_outbox(forever: bool = False, pause: float = 5.0) -> str:
            """Run the jobs that are due; forever: wait for others, looking every pause seconds."""
            done = self.drain()
            while forever:
                time.sleep(pause)
                self.drain()
            return f"{done} done"

        app.startup_handlers.append(self.create_table)
        app.command(drain_outbox)

    def _take(self) -> _Taken | None:
        now = self._clock()
        with self._connect() as connection:
            cursor = statements.run(connection, statements.TAKE, now=now, until=now + self._lease)
            row = cursor.fetchone()
        return None if row is None else _Taken(*row)

    def _run(self, taken: _Taken) -> bool:
        """Run a job, and return whether it succeeded.

        ``SystemExit`` and ``KeyboardInterrupt`` are raised again. The job runs again when its lease
        has ended.
        """
        try:
            if taken.job not in self._jobs:  # a job of another version of the program
                raise LookupError(f"there is no job {taken.job}")
            function, arguments = self._jobs[taken.job], json.loads(taken.arguments)
            if inspect.iscoroutinefunction(function):
                run_async(lambda: function(**arguments))
            else:
                function(**arguments)
        except Exception as error:
            self._postpone(taken, error)
            return False
        with self._connect() as connection:
            statements.run(connection, statements.DELETE, id=taken.id, tries=taken.tries)
        return True

    def _postpone(self, taken: _Taken, error: Exception) -> None:
        due: float | None = None
        if isinstance(error, GiveUp) or taken.tries >= self._tries:
            logger.error("%s %s is given up", taken.job, taken.id, exc_info=error)
        else:
            # Limit the exponent, because 2 to the power of many tries is too large for a float.
            delay = self._first_delay * 2 ** min(taken.tries - 1, 60)
            delay = min(delay, self._longest_delay) * random.uniform(0.8, 1)  # noqa: S311
            due = self._clock() + delay
            logger.warning("%s %s failed, again in %d s: %r", taken.job, taken.id, delay, error)
        with self._connect() as connection:
            statements.run(
                connection,
                statements.POSTPONE,
                id=taken.id,
                tries=taken.tries,
                due=due,
                # PostgreSQL stores no NUL, and databases of some encodings only ASCII
                error=ascii(error).replace("\0", "\\0"),
            )
