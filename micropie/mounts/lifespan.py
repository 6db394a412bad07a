"""The lifespan of mounted ASGI applications, told to them as a server would tell it.

https://asgi.readthedocs.io/en/latest/specs/lifespan.html: an application that raises before it has answered does not
know the lifespan, and is served without; one that says ``startup.failed`` keeps everything from starting.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from anyio import Event, create_task_group, move_on_after

from micropie.http.types import Message
from micropie.mounts.prefixes import Mount

logger = logging.getLogger("micropie")


class MountedLife:
    """What of a mounted application starts and stops, see ``lifecycle.Part``.

    ``seconds`` is how long it may take to answer that it has started, and that it has stopped; None: for ever.
    """

    def __init__(self, mount: Mount, seconds: float | None) -> None:
        self.startup_handlers: list[Callable[[], Any]] = []
        self.shutdown_handlers: list[Callable[[], Any]] = []
        self.state: Any = {}
        self._mount = mount
        self._seconds = seconds

    def open_lifespan(self) -> Any:
        """Start it, wait, stop it. Raises ``RuntimeError`` if it says that it failed, or says nothing."""
        return _live(self._mount, self._seconds)


@asynccontextmanager
async def _live(mount: Mount, seconds: float | None) -> AsyncIterator[None]:
    talk = _Talk(mount)
    async with create_task_group() as group:
        group.start_soon(talk.run)
        if await talk.is_answered(talk.started, seconds) and not talk.is_refused:
            yield
            talk.leave.set()
            await talk.is_answered(talk.stopped, seconds)
        group.cancel_scope.cancel()
    mount.state = {}
    if talk.failed is not None:
        raise RuntimeError(f"{mount.prefix}: {talk.failed}")


class _Talk:
    """The messages of one lifespan."""

    def __init__(self, mount: Mount) -> None:
        self._mount = mount
        self.started, self.leave, self.stopped = Event(), Event(), Event()
        self.failed: str | None = None
        self.is_refused = False
        self._is_new = True

    async def run(self) -> None:
        state: dict[str, Any] = {}
        self._mount.state = state
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        try:
            await self._mount.target(scope, self._receive, self._send)
        except Exception as error:
            if self.started.is_set() and self.failed is None:
                self.failed = f"its lifespan ended with {error!r}"
            logger.debug("%s: lifespan: %r", self._mount.prefix, error)
        finally:
            self.started.set()
            self.stopped.set()

    async def is_answered(self, event: Event, seconds: float | None) -> bool:
        """Wait for ``event``; False, and a failure, if it does not come in time."""
        with move_on_after(seconds):
            await event.wait()
        if event.is_set():
            return True
        what = "started" if event is self.started else "stopped"
        self.failed = f"its lifespan did not say within {seconds:g} seconds that it has {what} (mount_timeout)"
        return False

    async def _receive(self) -> Message:
        if self._is_new:
            self._is_new = False
            return {"type": "lifespan.startup"}
        await self.leave.wait()
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind not in _ENDS_START | _ENDS_STOP:
            raise RuntimeError(f"{kind!r} is no message of a lifespan")
        if kind.endswith(".failed"):
            self.failed = message.get("message") or f"{kind} without a message"
            self.is_refused = kind in _ENDS_START
        (self.started if kind in _ENDS_START else self.stopped).set()


_ENDS_START = frozenset({"lifespan.startup.complete", "lifespan.startup.failed"})
_ENDS_STOP = frozenset({"lifespan.shutdown.complete", "lifespan.shutdown.failed"})
