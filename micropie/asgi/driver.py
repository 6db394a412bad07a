"""One request under ASGI, from its scope to its last message."""

from __future__ import annotations

import logging

from micropie.asgi.performing import clean_up, close_request, perform_one
from micropie.asgi.request import ASGIRequest
from micropie.asgi.sending import CONTENT_TYPES, LENGTHS, encode_headers, send_streamed
from micropie.context import current
from micropie.flow import respond
from micropie.site import Site
from micropie.steps import AWAIT, RECEIVE
from micropie.types import Receive, Scope, Send

logger = logging.getLogger("micropie")


async def serve_http(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. Raises what the flow does not answer: cancellation, a stream that broke in the middle.

    The flow is driven here as in ``performing.perform``, without the call: two coroutines less a request.
    """
    request = ASGIRequest(scope, receive)
    token = current.set(request)
    flow = respond(site, request)
    resume, result = flow.send, None
    try:
        while True:
            try:
                kind, function, arguments = resume(result)
            except StopIteration as end:
                result = None  # an exception's traceback refers to this frame: without this it would be a cycle
                status, content_type, length, pairs, body, stream = end.value
                break
            resume = flow.send
            try:
                if kind is AWAIT:
                    result = await function(*arguments)
                elif kind is RECEIVE:
                    result = request.receive_at_once() or await request.receive_waiting()
                else:
                    result = await perform_one(kind, function, arguments, request)
            except BaseException as error:
                resume, result = flow.throw, error
        if pairs or content_type is None:
            headers = encode_headers(content_type, length, pairs)
        elif length is None:
            headers = [CONTENT_TYPES[content_type]]
        else:
            headers = [CONTENT_TYPES[content_type], LENGTHS[length]]
        start = {"type": "http.response.start", "status": status, "headers": headers}
        if stream is not None:
            await send_streamed(start, stream, request, send)
            return
        try:
            await send(start)
            await send({"type": "http.response.body", "body": body})
        except OSError:  # the client has gone: there is nobody to tell (ASGI 2.4)
            request.broken_off = True
            logger.debug("%s: the client left before its answer", request.label)
    except BaseException:
        result = None
        request.broken_off = True
        flow.close()
        for step in request.unfinished():
            await clean_up(step, request)
        raise
    finally:
        current.reset(token)
        if request.closers is not None:
            await close_request(request)
