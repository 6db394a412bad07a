"""Run the lifespan of mounted ASGI applications, as a server does.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html: if an application raises an exception
before it has sent a message, it does not support the lifespan, and is served without it. If it
sends ``lifespan.startup.failed``, the whole startup fails.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from anyio import Event, create_task_group, move_on_after

from micropie._core.errors import SetupError, logger
from micropie._core.execution import Action
from micropie._core.http import State
from micropie._core.http.protocols import ServerMessage
from micropie._core.mounts.prefixes import Mount

_ANSWERS = frozenset(
    f"lifespan.{phase}.{end}" for phase in ("startup", "shutdown") for end in ("complete", "failed")
)


class MountedLife:
    """The startup and shutdown of a mounted application; see ``lifecycle.Component``. Both happen
    during a single call of the application.

    - ``mounts``: the places where the application is mounted.
    - ``seconds``: the time that the application may take to start, and again to stop; None for no
      limit.
    """

    def __init__(self, mounts: Sequence[Mount], seconds: float | None) -> None:
        self.startup_handlers: list[Action] = []
        self.shutdown_handlers: list[Action] = []
        self.state = State()
        self._mounts = mounts
        self._seconds = seconds
        self._failure = ""
        self._is_refused = False
        self._messages: list[ServerMessage] = [{"type": "lifespan.startup"}]

    @asynccontextmanager
    async def open_lifespan(self) -> AsyncIterator[None]:
        """Return a context manager that starts the application, and stops it on exit.

        Entering or exiting it raises ``RuntimeError`` if the application fails, or doesn't report
        in time that it has started or stopped.
        """
        self._started, self._stop, self._stopped = Event(), Event(), Event()
        async with create_task_group() as group:
            group.start_soon(self._run)
            if await self._has_reported("started", self._started) and not self._is_refused:
                yield
                self._stop.set()
                await self._has_reported("stopped", self._stopped)
            group.cancel_scope.cancel()
        self._share({})
        if self._failure:
            raise RuntimeError(f"{self._mounts[0]}: {self._failure}")

    def _share(self, state: dict[str, object]) -> None:
        for mount in self._mounts:
            mount.state = state

    async def _run(self) -> None:
        """Call the application with a lifespan scope."""
        state: dict[str, object] = {}
        self._share(state)
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": state,
        }
        try:
            await self._mounts[0].target(scope, self._receive, self._send)
        except SetupError as error:
            # A bridge may raise this error, for example. Let the startup fail, because each request
            # would raise the error, too.
            self._failure, self._is_refused = str(error), True
        except Exception as error:
            if self._started.is_set() and not self._failure:
                self._failure = f"its lifespan failed with {error!r}"
            logger.debug("%s: lifespan: %r", self._mounts[0], error)
        finally:
            self._started.set()
            self._stopped.set()

    async def _has_reported(self, what: str, event: Event) -> bool:
        """Wait until the application reports that it has started or stopped.

        Return False if it doesn't report in time.
        """
        with move_on_after(self._seconds):
            await event.wait()
        if not event.is_set():
            self._failure = (
                f"its lifespan did not report within {self._seconds:g} s that it has {what} (the "
                "limit is App(mount_timeout=...))"
            )
        return event.is_set()

    async def _receive(self) -> ServerMessage:
        if not self._messages:
            await self._stop.wait()
            self._messages.append({"type": "lifespan.shutdown"})
        return self._messages.pop()

    async def _send(self, message: ServerMessage) -> None:
        kind = message["type"]
        if kind not in _ANSWERS:
            raise RuntimeError(f"{kind!r} is not a lifespan message")
        event = self._started if kind.startswith("lifespan.startup.") else self._stopped
        if kind.endswith(".failed"):
            self._failure = message.get("message") or f"{kind} without a message"
            self._is_refused = event is self._started
        event.set()
