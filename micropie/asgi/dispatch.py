"""An ASGI server's calls, handed to the driver for their type: a request, a WebSocket or the lifespan."""

from __future__ import annotations

from anyio import Lock, create_task_group

from micropie.asgi.driver import serve_http
from micropie.asgi.headers import encode_headers
from micropie.asgi.lifespan import ASGIState, serve_lifespan
from micropie.asgi.steps import perform
from micropie.asgi.streaming import WATCHERS, Watchers, watchers_of
from micropie.asgi.websocket import serve_websocket
from micropie.execution import LoopLocal
from micropie.flow import Application, LifespanContext, log_failure
from micropie.http import FAILED, Receive, Scope, Send, start_failed
from micropie.routing import Site

_starting = LoopLocal(Lock)


async def serve(app: Application, state: ASGIState, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope; start the application first if no lifespan has, and after a change.

    Raises ``RuntimeError`` for a type that ASGI does not know.
    """
    kind = scope["type"]
    if kind == "lifespan":
        await serve_lifespan(app, state, scope, receive, send)
        return
    if kind not in ("http", "websocket"):
        raise RuntimeError(f"micropie serves http, websocket and lifespan, not a scope of type {kind!r}")
    try:
        site = state.site or await _start(app, state)
    except Exception as error:
        log_failure("start-up failed; the next request tries it again", error)
        await _refuse(scope, receive, send)
        return
    if kind == "websocket":
        await serve_websocket(site, scope, receive, send)
    elif site.has_mounts and watchers_of(scope) is None:
        await _serve_with_watchers(site, scope, receive, send)
    else:
        await serve_http(site, scope, receive, send)


async def _start(app: Application, state: ASGIState) -> Site:
    """Compile the application, start it if it has not started, and return its site."""
    async with _starting.get():
        site = app.compiled()
        if not state.started:
            # Nothing is shut down at the end: a server without lifespan does not announce it.
            await perform(app.lifecycle(()).start(), LifespanContext(site.config))
            state.started = True
        state.site = site
        return site


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer while the application can't start."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": FAILED, "reason": ""})
        return
    status, content_type, length, pairs, body, _ = start_failed(scope["method"] == "HEAD")
    headers = encode_headers(content_type, length, pairs)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _serve_with_watchers(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request under a server without lifespan, in a task group for the tasks of mounted ASGI applications."""
    failure: Exception | None = None
    async with create_task_group() as group:
        try:
            state = {**scope.get("state", {}), WATCHERS: Watchers(group)}
            await serve_http(site, {**scope, "state": state}, receive, send)
        except Exception as error:  # raised below: the group would wrap it
            failure = error
    try:
        if failure is not None:
            raise failure
    finally:
        del failure
