"""One request under ASGI, from its scope to its last message."""

from __future__ import annotations

from micropie.asgi.performing import perform
from micropie.asgi.request import ASGIRequest
from micropie.asgi.sending import send_answer
from micropie.context import current
from micropie.flow import respond
from micropie.site import Site
from micropie.types import Receive, Scope, Send


async def serve_http(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. Raises what the flow does not answer: cancellation, the interpreter's end."""
    request = ASGIRequest(scope, receive, site.level)
    token = current.set(request)
    flow = respond(site, request)
    try:
        answer = await perform(flow, site.level, request.receive_piece)
        await send_answer(answer, request, receive, send)
    finally:
        flow.close()
        if request._closers:
            request.close()
        current.reset(token)
