"""One WebSocket under ASGI, from its scope to its last message."""

from __future__ import annotations

from anyio import move_on_after

from micropie.asgi.request import ASGIWebSocketRequest
from micropie.asgi.steps import close_request, perform
from micropie.asgi.websocket.websocket import WebSocket
from micropie.execution.context import current
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.flow.websocket import cleanup, handle_websocket
from micropie.http.types import Receive, Scope, Send
from micropie.mounts.asgi_in_asgi import hand_over
from micropie.routing.site import Handover, Site


async def serve_websocket(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket. Raises what the flow does not answer: cancellation."""
    request = ASGIWebSocketRequest(scope)
    routes = site.socket_routes(request)
    if isinstance(routes, Handover):
        await hand_over(routes.mount, routes.path, scope, receive, send)
        return
    message = await receive()
    if message["type"] != "websocket.connect":  # it has gone already
        return
    websocket = WebSocket(request, receive, send)
    token = current.set(request)
    try:
        try:
            close_info = await perform(handle_websocket(routes, request, websocket.run), request)
        except BaseException:
            with move_on_after(CLEAN_UP_WITHIN, shield=True):
                await perform(cleanup(request), request)
            raise
        await websocket.refuse(*close_info)
    finally:
        current.reset(token)
        await close_request(request)
