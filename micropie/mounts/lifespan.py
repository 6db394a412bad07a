"""The lifespan of mounted ASGI applications, as a server runs it.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html: an application that raises before it has answered does not
support the lifespan, and is served without it. One that sends ``lifespan.startup.failed`` stops the whole start-up.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from anyio import Event, create_task_group, move_on_after

from micropie.errors import logger
from micropie.http import Message, State
from micropie.mounts.prefixes import Mount

_START_ANSWERS = frozenset({"lifespan.startup.complete", "lifespan.startup.failed"})
_STOP_ANSWERS = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})


class MountedLife:
    """The start and stop of a mounted application (``lifecycle.Component``).

    ``seconds`` is the time for each of its two answers, that it has started and that it has stopped; None: no limit.
    """

    def __init__(self, mount: Mount, seconds: float | None) -> None:
        self.startup_handlers: list[Callable[[], object]] = []
        self.shutdown_handlers: list[Callable[[], object]] = []
        self.state = State()
        self._mount = mount
        self._seconds = seconds

    @asynccontextmanager
    async def open_lifespan(self) -> AsyncIterator[None]:
        """Start the application, and stop it at the end. Raises ``RuntimeError`` if it fails or does not answer."""
        lifespan = _Lifespan(self._mount)
        async with create_task_group() as group:
            group.start_soon(lifespan.run)
            if await lifespan.wait_for(lifespan.started, self._seconds) and not lifespan.is_refused:
                yield
                lifespan.stop.set()
                await lifespan.wait_for(lifespan.stopped, self._seconds)
            group.cancel_scope.cancel()
        self._mount.state = {}
        if lifespan.failed is not None:
            raise RuntimeError(f"{self._mount}: {lifespan.failed}")


class _Lifespan:
    """One lifespan call of an application, with its ``receive`` and ``send``."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self.started, self.stop, self.stopped = Event(), Event(), Event()
        self.failed: str | None = None
        self.is_refused = False
        self._is_asked_to_start = False

    async def run(self) -> None:
        """Call the application."""
        state: dict[str, Any] = {}
        self._mount.state = state
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        try:
            await self._mount.target(scope, self._receive, self._send)
        except Exception as error:
            if self.started.is_set() and self.failed is None:
                self.failed = f"its lifespan ended with {error!r}"
            logger.debug("%s: lifespan: %r", self._mount, error)
        finally:
            self.started.set()
            self.stopped.set()

    async def wait_for(self, event: Event, seconds: float | None) -> bool:
        """Wait for ``started`` or ``stopped``. Return False, and set ``failed``, if it does not come in time."""
        with move_on_after(seconds):
            await event.wait()
        if event.is_set():
            return True
        what = "started" if event is self.started else "stopped"
        self.failed = f"its lifespan did not say within {seconds:g} seconds that it has {what} (mount_timeout)"
        return False

    async def _receive(self) -> Message:
        if not self._is_asked_to_start:
            self._is_asked_to_start = True
            return {"type": "lifespan.startup"}
        await self.stop.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind not in _START_ANSWERS | _STOP_ANSWERS:
            raise RuntimeError(f"{kind!r} is not a message of a lifespan")
        if kind.endswith(".failed"):
            self.failed = message.get("message") or f"{kind} without a message"
            self.is_refused = kind in _START_ANSWERS
        (self.started if kind in _START_ANSWERS else self.stopped).set()
