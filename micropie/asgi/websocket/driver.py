"""One WebSocket under ASGI, from its scope to its last message."""

from __future__ import annotations

from functools import partial

from anyio import move_on_after

from micropie.asgi.request import ASGIWebSocketRequest
from micropie.asgi.steps import close_request, perform
from micropie.asgi.websocket.connection import DENIAL, Connection
from micropie.asgi.websocket.websocket import WebSocket
from micropie.execution.context import current
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.flow.websocket import cleanup, handle_websocket
from micropie.http.types import Receive, Scope, Send
from micropie.mounts.asgi_in_asgi import hand_over
from micropie.routing.site import Handover, Site


async def serve_websocket(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket. Raises only what the flow does not handle, such as a cancellation."""
    request = ASGIWebSocketRequest(scope)
    routes = site.socket_routes(request)
    if isinstance(routes, Handover):
        await hand_over(routes.mount, routes.path, scope, receive, send)
        return
    message = await receive()
    if message["type"] != "websocket.connect":  # the client has left already
        return
    connection = Connection(request, receive, send)
    run_handler = partial(connection.run, WebSocket(request, connection))
    token = current.set(request)
    try:
        try:
            code, reason, answer = await perform(handle_websocket(routes, request, run_handler), request)
        except BaseException:
            with move_on_after(CLEAN_UP_WITHIN, shield=True):
                await perform(cleanup(request), request)
            raise
        can_deny = DENIAL in (scope.get("extensions") or ())
        await connection.finish(code, reason, answer if can_deny else None)
    finally:
        current.reset(token)
        await close_request(request)
