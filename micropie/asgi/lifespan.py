"""The lifespan protocol: https://asgi.readthedocs.io/en/latest/specs/lifespan.html"""

from __future__ import annotations

import logging

import anyio

from micropie.asgi.performing import perform
from micropie.asgi.sending import WATCHERS
from micropie.level import Level
from micropie.lifecycle import Startable
from micropie.site import Site
from micropie.types import Receive, Scope, Send

logger = logging.getLogger("micropie")


class Running:
    """An application under ASGI. ``site`` is what the hot path looks at: None until started, and after a change."""

    __slots__ = ("site", "started")

    def __init__(self) -> None:
        self.site: Site | None = None
        self.started = False


async def serve_lifespan(app: Startable, running: Running, scope: Scope, receive: Receive, send: Send) -> None:
    """Start, tell the server, wait for its word, stop. All in this one task, as cancel scopes need it."""
    await receive()
    try:
        site = app.compiled()
        lifecycle = app.lifecycle()
        await perform(lifecycle.start(), NoRequest(site.level))
    except Exception as error:
        await _failed("startup", error, send)
        return
    running.site, running.started = site, True
    async with anyio.create_task_group() as watchers:
        if "state" in scope:
            scope["state"][WATCHERS] = watchers
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watchers.cancel_scope.cancel()
    running.site, running.started = None, False
    try:
        await perform(lifecycle.stop(), NoRequest(site.level))
    except Exception as error:
        await _failed("shutdown", error, send)
    else:
        await send({"type": "lifespan.shutdown.complete"})


async def _failed(stage: str, error: Exception, send: Send) -> None:
    logger.error("%s failed", stage, exc_info=error)
    await send({"type": f"lifespan.{stage}.failed", "message": f"{type(error).__name__}: {error}"})


class NoRequest:
    """What performs the steps of start-up and shut-down."""

    def __init__(self, level: Level) -> None:
        self.level = level

    async def receive_piece(self) -> tuple[bytes, bool]:
        """There is no body."""
        return b"", False
