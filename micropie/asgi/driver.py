"""One request under ASGI, from its scope to its last message."""

from __future__ import annotations

import logging

from micropie.asgi.exchange import ASGIExchange
from micropie.asgi.headers import CONTENT_TYPES, ENCODED_NOSNIFF, LENGTHS, encode_headers
from micropie.asgi.steps import close_request, perform, perform_cleanup
from micropie.asgi.streaming import send_streamed
from micropie.execution import AWAIT, AnyStep, current
from micropie.flow import end_resources, respond
from micropie.http import NO_OTHER_HEADERS, Receive, Request, Scope, Send
from micropie.mounts import hand_over
from micropie.routing import Handover, Site

logger = logging.getLogger("micropie")


async def serve_http(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request. Raises what the flow does not answer: cancellation, a stream that broke in the middle."""
    exchange = ASGIExchange(scope, receive)
    request = Request(exchange)
    token = current.set(request)
    flow = respond(site, request)
    failure: BaseException | None = None
    try:
        exchange.send = send
        try:
            step: AnyStep = flow.send(None)
            kind, function, arguments = step
            if kind is AWAIT:  # most requests have no other step: without a coroutine around it
                try:
                    result = await function(*arguments)
                except BaseException as error:
                    failure = error
                step = flow.send(result) if failure is None else flow.throw(failure)
        except StopIteration as end:
            answer = end.value
        else:
            answer = await perform(flow, exchange, step)
        if type(answer) is Handover:
            current.reset(token)  # the mounted application must not see a request that is not its own
            try:
                await hand_over(answer.mount, answer.path, exchange.scope_below(), receive, send)
            finally:
                token = current.set(request)
            return
        if exchange.broken_off:  # the client has left, so nobody gets the answer
            await perform_cleanup(exchange)
            return
        status, content_type, length, pairs, body, stream = answer
        if pairs is not NO_OTHER_HEADERS or content_type is None:
            headers = encode_headers(content_type, length, pairs)
        elif length is None:
            headers = [ENCODED_NOSNIFF, CONTENT_TYPES[content_type]]
        else:
            headers = [ENCODED_NOSNIFF, CONTENT_TYPES[content_type], LENGTHS[length]]
        head = {"type": "http.response.start", "status": status, "headers": headers}
        if stream is not None:
            await send_streamed(head, stream, exchange, send)
            return
        try:
            await send(head)
            await send({"type": "http.response.body", "body": body})
        except OSError:  # the client has gone (ASGI 2.4)
            exchange.broken_off = True
            logger.debug("%s: the client left before its answer", exchange.label)
    except BaseException as error:
        exchange.broken_off = True
        flow.close()
        if exchange.resources and isinstance(error, Exception):  # of a stream
            await perform(end_resources(exchange, error), exchange)
        await perform_cleanup(exchange)
        raise
    finally:
        failure = None  # an exception's traceback refers to this frame: without this it would be a cycle
        current.reset(token)
        if exchange.closers is not None:
            await close_request(request, exchange)
