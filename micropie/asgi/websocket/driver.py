"""One WebSocket under ASGI, from its scope to its last message."""

from __future__ import annotations

from functools import partial

from anyio import move_on_after

from micropie.asgi.request import ASGIWebSocketRequest
from micropie.asgi.steps import close_request, perform, perform_cleanup
from micropie.asgi.websocket.connection import DENIAL, Connection
from micropie.asgi.websocket.websocket import WebSocket
from micropie.execution.context import current
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.execution.steps import Flow
from micropie.flow.websocket import CloseInfo, ask_guards, cleanup, fail, finish, start
from micropie.http.types import Receive, Scope, Send
from micropie.http.websocket import GONE
from micropie.mounts.asgi_in_asgi import hand_over
from micropie.routing.site import Handover, Site


async def serve_websocket(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one WebSocket. Raises only what the flow does not handle, such as a cancellation."""
    request = ASGIWebSocketRequest(scope)
    routes = site.socket_routes(request)
    if isinstance(routes, Handover):
        await _serve_mounted(routes, request, receive, send)
        return
    message = await receive()
    if message["type"] != "websocket.connect":  # the client has left already
        return
    connection = Connection(request, receive, send)
    run_handler = partial(connection.run, WebSocket(request, connection))
    token = current.set(request)
    try:
        try:
            ending: CloseInfo | Flow[CloseInfo]
            try:
                step = start(routes, request, run_handler)
                if isinstance(step, tuple):
                    _, function, arguments = step
                    await function(*arguments)  # for hours: without a flow around it
                    ending = finish(request)
                else:
                    ending = step
            except Exception as error:
                ending = fail(request, error)
            close_info = ending if isinstance(ending, CloseInfo) else await perform(ending, request)
        except BaseException:
            try:
                await perform_cleanup(request)
            finally:
                with move_on_after(CLEAN_UP_WITHIN, shield=True):
                    await perform(cleanup(request), request)
                    await connection.go_away()
            raise
        if connection.progress.state is not GONE:
            await _finish(connection, request, close_info)
    finally:
        current.reset(token)
        if request._closers is not None:
            await close_request(request)


async def _serve_mounted(handover: Handover, request: ASGIWebSocketRequest, receive: Receive, send: Send) -> None:
    """Let a mounted application serve a WebSocket, unless a hook refuses the handshake."""
    token = current.set(request)
    try:
        refusal = await perform(ask_guards(request, handover.config), request)
    finally:
        current.reset(token)
        await close_request(request)
    if refusal is None:
        await hand_over(handover.mount, handover.path, request.scope_below(), receive, send)
    elif (await receive())["type"] == "websocket.connect":
        await _finish(Connection(request, receive, send), request, refusal)


async def _finish(connection: Connection, request: ASGIWebSocketRequest, close_info: CloseInfo) -> None:
    can_deny = DENIAL in (request.scope.get("extensions") or ())
    await connection.finish(close_info.code, close_info.reason, close_info.answer if can_deny else None)
