"""What an ASGI server's call is about: a request, the lifespan, a WebSocket."""

from __future__ import annotations

import logging

from anyio import Lock, create_task_group

from micropie.asgi.driver import serve_http
from micropie.asgi.lifespan import ASGIState, serve_lifespan
from micropie.asgi.request import WATCHERS, ASGIRequest, ASGIWebSocketRequest, watchers_of
from micropie.asgi.sending import encode_headers
from micropie.asgi.steps import perform
from micropie.asgi.websocket.driver import serve_websocket
from micropie.execution.loop import LoopLocal
from micropie.flow.lifecycle import LifespanContext, Startable
from micropie.http.response import start_failed
from micropie.http.types import Receive, Scope, Send
from micropie.http.websocket import FAILED
from micropie.mounts.asgi_in_asgi import hand_over
from micropie.mounts.prefixes import WSGI, mounted_path_of
from micropie.routing.site import Site, isolated_mount_of, mount_of

logger = logging.getLogger("micropie")

_starting = LoopLocal("micropie.starting", Lock)


async def serve(app: Startable, state: ASGIState, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope. Raises ``RuntimeError`` for a type that ASGI does not know."""
    kind = scope["type"]
    if kind == "http":
        await _start_and_serve(app, state, scope, receive, send)
    elif kind == "websocket":
        await _start_and_converse(app, state, scope, receive, send)
    elif kind == "lifespan":
        await serve_lifespan(app, state, scope, receive, send)
    else:
        raise RuntimeError(f"micropie serves http, websocket and lifespan, not a scope of type {kind!r}")


async def _start_and_serve(app: Startable, state: ASGIState, scope: Scope, receive: Receive, send: Send) -> None:
    """A request that may be the first of a server without lifespan, or after a change: start what has not started."""
    try:
        site = state.site or await _start(app, state)
    except Exception:
        logger.exception("start-up failed; the next request tries it again")
        status, content_type, length, pairs, body, _ = start_failed(scope["method"] == "HEAD")
        headers = encode_headers(content_type, length, pairs)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    else:
        if site.mounts is None:
            await serve_http(site, scope, receive, send)
        else:
            await _serve_with_mounts(site, scope, receive, send)


async def _serve_with_mounts(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """A request of an application with mounts: one of them may answer by itself, or need a task of its own."""
    if site.has_isolated_mounts:
        request = ASGIRequest(scope, receive)
        isolated = isolated_mount_of(site, request)
        if isolated is not None:
            mounted_path = mounted_path_of(request.root_path, isolated.prefix, request.raw_path)
            await hand_over(isolated.mount, mounted_path, scope, receive, send)
            return
    if watchers_of(scope) is not None:
        await serve_http(site, scope, receive, send)
        return
    failure: Exception | None = None  # a server without lifespan: the tasks are this request's
    async with create_task_group() as group:
        try:
            await serve_http(site, {**scope, "state": {**scope.get("state", {}), WATCHERS: group}}, receive, send)
        except Exception as error:
            failure = error
    try:
        if failure is not None:
            raise failure
    finally:
        del failure


async def _converse_with_mounts(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """A WebSocket of an application with mounts: an ASGI application has its own."""
    request = ASGIWebSocketRequest(scope)
    found = mount_of(site, request)
    if found is None or found[0].kind == WSGI:
        await serve_websocket(site, scope, receive, send)
    else:
        mount, prefix = found
        await hand_over(mount, mounted_path_of(request.root_path, prefix, request.raw_path), scope, receive, send)


async def _start_and_converse(app: Startable, state: ASGIState, scope: Scope, receive: Receive, send: Send) -> None:
    try:
        site = state.site or await _start(app, state)
    except Exception:
        logger.exception("start-up failed; the next request tries it again")
        await receive()
        await send({"type": "websocket.close", "code": FAILED, "reason": ""})
    else:
        if site.mounts is None:
            await serve_websocket(site, scope, receive, send)
        else:
            await _converse_with_mounts(site, scope, receive, send)


async def _start(app: Startable, state: ASGIState) -> Site:
    async with _starting.get():
        site: Site = app.compiled()
        if not state.started:
            # A server without lifespan tells no end either, so nothing is shut down then.
            await perform(app.lifecycle(()).start(), LifespanContext(site.config))
            state.started = True
        state.site = site
        return site
