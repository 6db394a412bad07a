"""Handle the calls of an ASGI server, and take a request from its scope to its last message."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

from micropie._core.errors import logger
from micropie._core.execution import current
from micropie._core.execution.steps import ANSWER, AWAIT, CHUNK, RECEIVE
from micropie._core.flow import (
    end_resources,
    log_lifecycle_failure,
    respond,
)
from micropie._core.http import Request, start_failed, websockets
from micropie._core.http.protocols import Receive, Scope, Send, ServerMessage
from micropie._core.routing import Handover, Site
from micropie._core.tree import Tree
from micropie.asgi.exchange import ASGIExchange
from micropie.asgi.state import ASGIState
from micropie.asgi.steps import (
    call_mounted,
    close_request,
    failure_of_step,
    perform,
    perform_cleanup,
)
from micropie.asgi.streaming import StreamSender, encode_headers, head_message, send_streamed


async def serve(app: Tree, state: ASGIState, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one scope. If the application hasn't been started by the lifespan, or has changed since
    then, start it first.

    Raises ``RuntimeError`` for a scope of an unknown type.
    """
    kind = scope["type"]
    if kind == "lifespan":
        from micropie.asgi.lifespan import serve_lifespan

        await serve_lifespan(app, state, scope, receive, send)
        return
    if kind not in ("http", "websocket"):
        raise RuntimeError(
            f"micropie serves http, websocket and lifespan, not a scope of type {kind!r}"
        )
    try:
        site = state.site or await _start(app, state)
    except Exception as error:
        log_lifecycle_failure("startup failed, and the next request tries it again", error, scope)
        await _refuse(scope, receive, send)
        return
    if kind == "websocket":
        from micropie.asgi.websocket import serve_websocket

        await serve_websocket(site, scope, receive, send)
    else:
        await serve_http(site, scope, receive, send)


async def _start(app: Tree, state: ASGIState) -> Site:
    """Compile the application, start it unless it has started, and return its site."""
    # A lock is only needed if startup may wait. Creating a lock imports more of anyio than a
    # request needs.
    lock: AbstractAsyncContextManager[None] = (
        state.starting.get() if app.waits_at_start else nullcontext()
    )
    async with lock:
        site = app.compiled()
        if not state.started:
            # The server doesn't support the lifespan protocol, so it announces neither startup nor
            # shutdown. Start the application now, perhaps again after a lifespan has ended.
            site.config.shutdown.begin()
            lifecycle = app.lifecycle()
            if not lifecycle.is_empty:
                from micropie.asgi.lifespan import start_alone

                await start_alone(lifecycle, site, state)
            state.started = True
        app.publish(site, state)
        return site


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Refuse a request or WebSocket, because the application could not start."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": websockets.FAILED, "reason": ""})
        return
    answer = start_failed(scope["method"] == "HEAD")
    await send(head_message(answer))
    await send({"type": "http.response.body", "body": answer[4]})


async def serve_http(site: Site, scope: Scope, receive: Receive, send: Send) -> None:
    """Handle one request.

    Raises only what the flow doesn't handle: a cancellation, or the error that aborted a stream.
    """
    exchange = ASGIExchange(scope, receive, send)
    request = Request(exchange)
    token = current.set(request)
    flow: Any = respond(site, request)
    result: Any
    try:
        kind, function, arguments = next(flow)
        while kind is not ANSWER:
            try:
                if kind is AWAIT:
                    result = await function(*arguments)
                elif kind is RECEIVE:
                    result = await exchange.receive_piece()
                elif kind is CHUNK:
                    stream = arguments[0]
                    result = await StreamSender(stream, exchange).advance(stream.first_chunk())
                # Most requests have only the steps above, so they don't need the coroutine
                # ``perform``.
                else:
                    break
            except Exception as error:
                result = error
            except BaseException as error:
                result = await failure_of_step(exchange, error)
            else:
                kind, function, arguments = flow.send(result)
                continue
            kind, function, arguments = flow.throw(result)
        if kind is not ANSWER:
            arguments = await perform(flow, exchange, (kind, function, arguments))
        next(flow, None)  # end the flow; this is faster than ``close``
        if exchange.answer.is_broken_off:  # the client has disconnected: discard the response
            await perform_cleanup(exchange, exchange.cleanup_steps())
            return
        status, content_type, length, pairs, body, stream = arguments
        if stream is not None:
            if stream.__class__ is not Handover:
                await send_streamed(head_message(arguments), stream, exchange, send)
                return
            # The mounted application must not see this application's current request.
            current.reset(token)
            try:
                await _hand_over(stream, exchange, receive, send)
            finally:
                token = current.set(request)
            return
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": status,
                    "headers": encode_headers(content_type, length, pairs),
                }
            )
            await send({"type": "http.response.body", "body": body})
        except OSError:  # the client has disconnected (ASGI 2.4)
            exchange.answer.break_off()
            logger.debug("%s: the client disconnected before the response", exchange.label)
    except BaseException as error:
        flow.close()
        await _clean_up(exchange, error)
        raise
    finally:
        # avoid a reference cycle with this frame
        result = None
        try:
            if exchange.ends is not None:
                await close_request(exchange)
        finally:
            current.reset(token)


async def _hand_over(
    handover: Handover, exchange: ASGIExchange, receive: Receive, send: Send
) -> None:
    """Call the mounted application that sends the response to a request."""
    depends_on = exchange.answer.depends_on
    if depends_on:  # a hook has read a header that identifies the client
        send = partial(_send_private, send, handover, depends_on)
    scope = handover.scope_in(exchange.scope_below())
    await call_mounted(handover.mount.target, scope, receive, send)


async def _send_private(
    send: Send, handover: Handover, depends_on: Sequence[str], message: ServerMessage
) -> None:
    """Send a message of a mounted application. If the message starts the response, change its
    headers; see ``Handover.private``.
    """
    if message["type"] == "http.response.start":
        named = message.get("headers", ())
        pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in named]
        private = handover.private(pairs, depends_on)
        message = {**message, "headers": encode_headers(None, None, private)}
    await send(message)


async def _clean_up(exchange: ASGIExchange, error: BaseException) -> None:
    """Close everything that a request has open, after ``error`` has aborted the request.

    If ``error`` was caused by a failed stream, raise the exception of the stream instead of
    ``error``.
    """
    failure = error
    exchange.answer.break_off()
    if exchange.answer.stream is not None and not isinstance(error, Exception):
        failure = await failure_of_step(exchange, error)
        if isinstance(failure, Exception):
            exchange.break_off(failure)
    try:
        if exchange.resources and isinstance(failure, Exception):  # a stream has failed
            await perform(end_resources(exchange, failure), exchange)
        await perform_cleanup(exchange, exchange.cleanup_steps())
        if failure is not error:
            raise failure from failure.__cause__
    finally:
        del failure, error  # avoid a reference cycle with this frame
