"""What an ASGI server's call is about: a request, the lifespan, a WebSocket."""

from __future__ import annotations

import logging

from anyio import Lock
from anyio.lowlevel import RunVar

from micropie.asgi.conversing import serve_websocket
from micropie.asgi.driver import serve_http
from micropie.asgi.lifespan import Running, serve_lifespan
from micropie.asgi.performing import perform
from micropie.asgi.sending import encode_headers
from micropie.lifecycle import NoRequest, Startable
from micropie.response import start_failed
from micropie.site import Site
from micropie.types import Receive, Scope, Send
from micropie.websocket import FAILED

logger = logging.getLogger("micropie")

_starting: RunVar[Lock] = RunVar("micropie.starting")


async def serve(app: Startable, running: Running, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope. Raises ``RuntimeError`` for a type that ASGI does not know."""
    kind = scope["type"]
    if kind == "http":
        await _start_and_serve(app, running, scope, receive, send)
    elif kind == "websocket":
        await _start_and_converse(app, running, scope, receive, send)
    elif kind == "lifespan":
        await serve_lifespan(app, running, scope, receive, send)
    else:
        raise RuntimeError(f"micropie serves http, websocket and lifespan, not a scope of type {kind!r}")


async def _start_and_serve(app: Startable, running: Running, scope: Scope, receive: Receive, send: Send) -> None:
    """The first request of a server without lifespan, or after a change: start what has not started."""
    try:
        site = await _start(app, running)
    except Exception:
        logger.exception("start-up failed; the next request tries it again")
        status, content_type, length, pairs, body, _ = start_failed(scope["method"] == "HEAD")
        headers = encode_headers(content_type, length, pairs)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        await serve_http(site, scope, receive, send)


async def _start_and_converse(app: Startable, running: Running, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        site = running.site or await _start(app, running)
    except Exception:
        logger.exception("start-up failed; the next request tries it again")
        await receive()
        await send({"type": "websocket.close", "code": FAILED, "reason": ""})
    else:
        await serve_websocket(site, scope, receive, send)


async def _start(app: Startable, running: Running) -> Site:
    try:
        lock = _starting.get()
    except LookupError:
        lock = Lock()
        _starting.set(lock)
    async with lock:
        site: Site = app.compiled()
        if not running.started:
            # A server without lifespan tells no end either, so nothing is shut down then.
            await perform(app.lifecycle().start(), NoRequest(site.level))
            running.started = True
        running.site = site
        return site
