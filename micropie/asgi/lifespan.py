"""The lifespan protocol: https://asgi.readthedocs.io/en/latest/specs/lifespan.html"""

from __future__ import annotations

import logging
from contextlib import suppress

import anyio

from micropie.asgi.request import WATCHERS
from micropie.asgi.signals import hearing_signals
from micropie.asgi.steps import perform
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.flow.lifecycle import Application, Lifecycle, LifespanContext
from micropie.http.types import Receive, Scope, Send
from micropie.mounts.prefixes import APP, ASGI
from micropie.routing.site import Site

logger = logging.getLogger("micropie")


class ASGIState:
    """An application under ASGI. ``site`` is for the hot path: None until started, and after a change."""

    __slots__ = ("site", "started")

    def __init__(self) -> None:
        self.site: Site | None = None
        self.started = False


async def serve_lifespan(app: Application, state: ASGIState, scope: Scope, receive: Receive, send: Send) -> None:
    """Start, tell the server, wait for its shutdown message and stop, all in this task: cancel scopes need that."""
    await receive()
    try:
        site = app.compiled()
        lifecycle = app.lifecycle((ASGI, APP))
    except Exception as error:
        await _send_failed("startup", error, send)
        return
    context = LifespanContext(site.config)
    try:
        await perform(lifecycle.start(), context)
    except Exception as error:
        await _send_failed("startup", error, send)
        return
    except BaseException:
        await _stop_cancelled(lifecycle, context)
        raise
    state.site, state.started = site, True
    shutdown = site.config.shutdown
    shutdown.begin()
    try:
        with hearing_signals(shutdown.end):
            await _live(scope, receive, send)
    except BaseException:  # a server that cancels instead of sending lifespan.shutdown
        await _stop_cancelled(lifecycle, context)
        raise
    finally:
        shutdown.end()
        state.site, state.started = None, False
        site.close()
    try:
        await perform(lifecycle.stop(), context)
    except Exception as error:
        await _send_failed("shutdown", error, send)
    else:
        await send({"type": "lifespan.shutdown.complete"})


async def _live(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell the server of the start and wait for its shutdown message. Requests have the task group meanwhile."""
    async with anyio.create_task_group() as watchers:
        if "state" in scope:
            scope["state"][WATCHERS] = watchers
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watchers.cancel_scope.cancel()


async def _stop_cancelled(lifecycle: Lifecycle, context: LifespanContext) -> None:
    """Stop although this task is cancelled; exceptions have been logged."""
    with anyio.move_on_after(CLEAN_UP_WITHIN, shield=True), suppress(Exception):
        await perform(lifecycle.stop(), context)


async def _send_failed(stage: str, error: Exception, send: Send) -> None:
    logger.error("%s failed", stage, exc_info=error)
    await send({"type": f"lifespan.{stage}.failed", "message": f"{type(error).__name__}: {error}"})
