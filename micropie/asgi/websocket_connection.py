"""The connection of a WebSocket. ``Connection`` runs the handler, sends and receives messages, and
detects disconnects.

**One reader.** A handler may wait for hours, for example for its client's next message, a channel,
a timer or another task. Its client may disconnect meanwhile. Servers report a disconnect in
different ways: ``receive`` returns ``websocket.disconnect``; ``send`` raises ``OSError``,
``RuntimeError`` or the server's own exception, or does nothing at all. Only ``receive`` is
reliable. So from ``accept`` to the end, a task calls ``receive`` (``_read``) and fills a queue,
from which the handler takes its messages. The queue is bounded: if a handler takes no messages, its
client has to wait. The messages for a ``WebSocket[Never, Sent]`` are discarded instead.

**Disconnects.** The handler's next call after a disconnect raises ``ConnectionClosed``. Until then,
the handler may work on the last message, or wait for something that never comes. So it is cancelled
unless it makes a call within ``websocket_grace`` seconds.

Two cancel scopes surround the handler. The outer one, ``_leave_scope``, cancels the handler: under
asyncio once, so its ``finally`` may wait (``execution/cancellation.py``). Under trio, the inner
one, ``_cleanup_scope``, becomes a shield with a deadline when the cancellation arrives in the
handler. To detect the cancellation, the handler's coroutine is advanced manually (``_run_handler``;
see ``asgi/coroutines.py``). A cancellation may also come from a scope inside the handler, such as
the one in which trio sleeps. ``_begin_cleanup`` distinguishes the two.

**Closing.** A WebSocket ends when the client, the handler or another task closes it, when a limit
is exceeded, when the handler has ended, or when the server shuts down (``go_away``). In each case,
``end`` is called, and only the first call counts. Unless the client has ended the WebSocket, the
code that calls ``end`` sends the close frame. If sending it was cancelled, ``finish`` sends the
close frame, because it runs after every handler.

**The invariants.**

- The server's ``receive`` is not called again before it has returned, and neither is ``send``.
  Senders wait in a queue, first come, first served.
- At most one task of the application receives at a time.
- In the state ``GONE``, messages that arrived earlier can still be received. In ``CLOSING``, no
  messages can be received.
- Errors of the server never reach the handler, because they become ``ConnectionClosed``.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any, Never, NoReturn

import anyio
from anyio.lowlevel import checkpoint

from micropie._core.errors import ClientDisconnect, ConnectionClosed, alone_in, logger
from micropie._core.execution import CLEAN_UP_WITHIN, TASKS, Action, LoopFuture
from micropie._core.execution.cancellation import GracefulScope
from micropie._core.flow import CloseInfo
from micropie._core.http.protocols import HeaderPairs, Receive, ServerMessage
from micropie._core.http.websockets import (
    ACCEPT,
    CLOSE,
    CLOSING,
    CONNECTING,
    FINISH,
    GOING_AWAY,
    LEAVE,
    LOST,
    NO_CODE,
    NORMAL,
    OPEN,
    POLICY,
    RECEIVING,
    SENDING,
    TOO_BIG,
    TRY_AGAIN,
    WRONG_KIND,
    MessageError,
    Progress,
    check_code,
    is_too_big,
    truncate_reason,
)
from micropie._core.routing import route_of
from micropie.asgi.coroutines import Steps, advance, await_within, brings_cancellation, resume
from micropie.asgi.exchange import ASGIWebSocketExchange
from micropie.asgi.forwarding import Forward, Subscribed
from micropie.asgi.steps import failure_of_step
from micropie.asgi.streaming import encode_headers, head_message

# After this many messages, let other tasks run, so that a disconnect is noticed. Otherwise, a
# handler that only sends would block the event loop if the server's ``send`` never waits and never
# fails.
SENDS_UNTIL_CHECK = 64

# How many turns of the loop a failed ``send`` leaves the reading task to receive the client's close
# code. Under uvicorn, both are woken in the same turn.
TURNS_TO_LEAVE = 5

# The ``method`` that an iteration passes to ``receive``. When the WebSocket has ended, an iteration
# stops instead of raising ``ConnectionClosed``.
ITERATION = "async for"

SENT = object()  # the result of a ``send`` that didn't have to wait

# Seconds in which the close frame must be sent if the client reads nothing or the server is
# shutting down.
LAST_FRAME_WITHIN = 1.0

DENIAL = "websocket.http.response"  # the ASGI extension "WebSocket Denial Response"

# How many messages may wait for the handler. When there are that many, reading pauses, and the
# client has to wait.
MAX_MESSAGES = 32


async def _in_time(awaitable: Awaitable[None], seconds: float | None) -> None:
    """Await the server's ``send`` under trio. The time limit is a scope around the whole call,
    because the call may use ``nursery.start``, which doesn't support a scope around its wait alone.
    """
    trio = sys.modules["trio"]
    deadline = inf if seconds is None else trio.current_time() + seconds
    with trio.CancelScope(deadline=deadline) as scope:  # half the time of anyio's
        await awaitable
    if scope.cancelled_caught:
        raise TimeoutError


class Connection(Progress):
    """The connection of one WebSocket. It connects the handler's calls with the server's
    ``receive`` and ``send``.
    """

    _size = 0  # total size of the messages that the handler hasn't received yet
    _sent_unchecked = 0
    _stop_reading: Action | None = None  # stops the reading task; None if it isn't running
    _waits_for: object = None  # the object that the handler's task is awaiting
    _is_grace_due = False  # whether to begin the grace period when the handler waits again
    # Whether a call has already raised ``ConnectionClosed``. If the handler ignores the exception
    # and goes on, each further call lets other tasks run, because the handler would otherwise block
    # the event loop.
    _has_raised_closed = False
    # Completed when a message arrives; None unless a task of the application waits for one.
    _arrival: LoopFuture | None = None
    # Completed when a message is taken; None unless the reading task waits for this.
    _room: LoopFuture | None = None
    # The semaphore by which senders take turns. It is created when a ``send`` has to wait for the
    # first time.
    _turn: anyio.Semaphore | None = None
    # See ``forward``; None after the handler has ended.
    _forwards: tuple[Forward, ...] | None = ()
    _leave_scope: GracefulScope
    _cleanup_scope: anyio.CancelScope

    def __init__(self, exchange: ASGIWebSocketExchange, receive: Receive) -> None:
        self._exchange = exchange
        self._settings = exchange.config.settings
        self._receive = receive
        self._tasks = tasks = TASKS.get()
        self._is_trio = tasks.is_trio
        # The messages that the handler hasn't received yet, each with its size. A deque would take
        # 700 bytes more.
        self._messages: list[tuple[ServerMessage, int]] = []

    # -- the handler -------------------------------------------------------------------------------

    async def run(self, handler: Callable[..., Awaitable[object]], /, *arguments: object) -> object:
        """Run ``handler(*arguments)`` until it ends, and return its result. Raises
        ``ClientDisconnect`` if it is cancelled after a disconnect.
        """
        result: object = None
        self._settings = self._exchange.config.settings  # those of the handler's application
        self._leave_scope = GracefulScope(self._tasks)
        shutdown = self._exchange.config.shutdown
        shutdown.add(self._close_from_outside)
        try:
            with self._leave_scope:
                running = self._run_handler(handler(*arguments).__await__())
                if self._is_trio:
                    self._cleanup_scope = self._tasks.new_scope()
                    with self._cleanup_scope:
                        result = await running
                else:
                    result = await running
        except Exception as error:
            if self.state is OPEN and isinstance(alone_in(error), ConnectionClosed):
                raise RuntimeError(
                    "a call on another WebSocket raised ConnectionClosed: catch it, or this "
                    "WebSocket ends with the other one"
                ) from error
            raise
        except BaseException as error:  # the cause may be a provider's cancel scope
            failure = await failure_of_step(self._exchange, error)
            try:
                raise failure
            finally:
                del failure  # avoid a reference cycle with this frame
        finally:
            shutdown.leave(self._close_from_outside)
            for forward in self._forwards or ():
                forward.stop()
            self._forwards = None  # avoid a reference cycle
            if self._stop_reading is not None:
                self._stop_reading()
        if self._leave_scope.cancelled_caught:  # its resources must not commit what it has begun
            raise ClientDisconnect("the handler was cancelled when its client disconnected")
        return result

    @types.coroutine
    def _run_handler(self, steps: Steps[object]) -> Steps[object]:
        """Await the handler.

        If the handler waits again after its client has disconnected, begin its grace period. Under
        trio, if the handler is cancelled after that period, shield its clean-up.
        """
        sent: object = None
        raised: BaseException | None = None
        while True:
            try:
                try:
                    self._waits_for = advance(steps, sent, raised)
                finally:
                    sent = raised = None
            except StopIteration as end:
                result: object = end.value
                return result
            if self._is_grace_due:
                self._start_grace()
            try:
                sent = yield self._waits_for
            except BaseException as error:
                raised = error
            if (
                self.code is not None
                and sent is not None
                and not self._cleanup_scope.shield
                and brings_cancellation(sent, self._leave_scope)
            ):
                self._begin_cleanup()

    def _begin_cleanup(self) -> None:
        """Shield the handler's clean-up for ``CLEAN_UP_WITHIN`` seconds, if the cancellation that
        has arrived comes from ``_leave_scope``.

        A cancellation doesn't show which scope it comes from. A shield at ``_cleanup_scope`` blocks
        a cancellation of ``_leave_scope``, which is outside the shield. It doesn't block the
        cancellation of a scope inside the handler. So set the shield, and check whether a
        cancellation is still in effect. If so, it comes from the handler, so remove the shield.
        """
        self._cleanup_scope.shield = True
        if anyio.current_effective_deadline() == -inf:
            self._cleanup_scope.shield = False
        else:
            self._cleanup_scope.deadline = anyio.current_time() + CLEAN_UP_WITHIN

    # -- the end -----------------------------------------------------------------------------------

    def end(self, action: str, code: int, reason: str) -> bool:
        """End the WebSocket by ``action`` (CLOSE or LEAVE) and wake the task that waits for a
        message. Return False if the WebSocket had already ended.
        """
        if not super().end(action, code, reason):
            return False
        if action is LEAVE:
            self._start_grace()
        else:
            self._messages.clear()
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
        return True

    def _lost(self, error: Exception) -> None:
        logger.debug("%s: the server raised %r", self._exchange.label, error)
        self.end(LEAVE, LOST, "")

    async def _not_sent(self, error: Exception) -> None:
        """Record that the server can't send. The reading task may know the close code."""
        for _ in range(TURNS_TO_LEAVE):
            if self.state is OPEN and self._stop_reading is not None:
                await checkpoint()
        self._lost(error)

    def _close_from_outside(self, reason: str = "", code: int = GOING_AWAY) -> None:
        """Close the WebSocket from outside the handler's task, for example when the server shuts
        down.

        The handler's next call raises ``ConnectionClosed``.
        """
        if self.state is OPEN:
            self.end(CLOSE, code, reason)
            self._start_grace()
            self._tasks.start_soon(self._send_close_in_turn)

    async def go_away(self) -> None:
        """After the server has cancelled the handler, close the WebSocket with 1001 if it is still
        open.
        """
        if self.state is OPEN:
            self.end(CLOSE, GOING_AWAY, "")
            with anyio.move_on_after(LAST_FRAME_WITHIN):
                await self._send_close_in_turn()  # a forwarded message may still be sent

    def _start_grace(self) -> None:
        """Begin the grace period. Within it, the handler must make its next call, which raises
        ``ConnectionClosed``.

        A handler that is waiting for a message is woken now. Its grace period begins only if it
        waits again, because most handlers end at once.
        """
        self._is_grace_due = self._arrival is not None and self._waits_for is self._arrival
        if not self._is_grace_due and self._settings.websocket_grace is not None:
            self._leave_scope.cancel_after(self._settings.websocket_grace, CLEAN_UP_WITHIN)

    # -- messages in -------------------------------------------------------------------------------

    async def _read(self) -> None:
        """Receive messages until the WebSocket ends. This runs in a separate task."""
        receive, messages = self._receive, self._messages
        max_size, timeout = self._settings.websocket_max_size, self._settings.websocket_timeout
        try:
            while True:
                message = await (receive() if timeout is None else await_within(receive(), timeout))
                if message["type"] != "websocket.receive":
                    # Servers may leave out the code or the reason, or send None.
                    code, reason = message.get("code") or NO_CODE, message.get("reason") or ""
                    if not self.end(LEAVE, code, reason):
                        # This side has already closed the WebSocket, but the handler may still be
                        # running.
                        self._start_grace()
                    return
                if self.state is CLOSING:
                    continue
                size = len(message.get("text") or message.get("bytes") or "")
                messages.append((message, size))
                self._size += size
                arrival = self._arrival
                if arrival is not None and not arrival.done():
                    arrival.set_result(None)
                while len(messages) >= MAX_MESSAGES or self._size > max_size:
                    declared = route_of(self._exchange).plan.messages
                    if declared is not None and declared.received is Never:
                        messages.clear()  # nobody takes them, and a disconnect must be noticed
                        self._size = 0
                        continue
                    self._room = self._tasks.new_future()
                    await self._room
        except Exception as error:
            if timeout is None or not isinstance(error, TimeoutError):
                self._lost(error)
            else:
                self._close_from_outside(f"the client sent no message for {timeout:g} s")
        finally:
            self._stop_reading = None

    async def receive(self, method: str, key: str) -> Any:
        """Return the content of the next message.

        - ``method``: the name of the method that the handler called.
        - ``key``: the key of the expected content in the message, "text" or "bytes".
        """
        if self._arrival is not None:
            raise RuntimeError(
                f"{method}() was called while another task is receiving: only one task may "
                "receive at a time"
            )
        while not self._messages:
            if self.state not in RECEIVING:
                await self._refuse(method)
            self._arrival = arrival = self._tasks.new_future()
            try:
                await arrival
            finally:
                self._arrival = None
        message, size = self._messages.pop(0)
        self._size -= size
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._sent_unchecked = 0
        content = message.get(key)
        # ``size`` may be a number of characters, and a character has at most four bytes in UTF-8.
        if content is None or size * 4 > self._settings.websocket_max_size:
            content = await self._examine(message, method)
        return content

    async def _refuse(self, method: str) -> NoReturn:
        """Raise the error for a call that isn't allowed in the current state."""
        if self.code is None:
            raise self.refusal(method)
        if self._has_raised_closed:
            await checkpoint()
        self._has_raised_closed = True
        raise StopAsyncIteration if method is ITERATION else self.refusal(method)

    async def _examine(self, message: ServerMessage, method: str) -> str | bytes:
        """Check a message whose content may have the wrong type or be too big. Return the
        content.
        """
        content: str | bytes | None = message.get("text")
        if content is None:
            content = message.get("bytes") or b""
            if method == "receive_text":
                await self.reject(WRONG_KIND, "a text message was expected")
        elif method == "receive_bytes":
            await self.reject(WRONG_KIND, "a binary message was expected")
        max_size = self._settings.websocket_max_size
        if is_too_big(content, max_size):
            await self.close(TOO_BIG, f"a message may have {max_size} bytes at most")
            raise StopAsyncIteration if method is ITERATION else self.closed()
        return content

    async def reject(self, code: int, reason: str) -> NoReturn:
        """Close the WebSocket because of an unexpected message, and raise ``MessageError``."""
        await self.close(code, reason)
        raise MessageError(code, reason)

    # -- messages out ------------------------------------------------------------------------------

    async def accept(self, subprotocol: str | None, headers: HeaderPairs) -> None:
        """Accept the handshake, and start reading."""
        try:
            await self._accept(subprotocol, headers)
        finally:  # even after a cancellation, because the handler may go on
            if self.state is OPEN:
                if self._exchange.config.shutdown.is_over:  # it has ended during the handshake
                    self._close_from_outside()
                else:
                    self._stop_reading = self._tasks.start_soon(self._read)

    def _accept(
        self, subprotocol: str | None, headers: HeaderPairs
    ) -> Coroutine[object, object, None]:
        self.step(ACCEPT, "accept")
        return self.send(
            "accept",
            {
                "type": "websocket.accept",
                "subprotocol": subprotocol,
                "headers": encode_headers(None, None, headers) if headers else [],
            },
        )

    async def send(self, method: str, message: ServerMessage) -> None:
        """Send a message. Messages that other tasks are sending go first.

        ``method``: the name of the method that the handler called.
        """
        if self.state not in SENDING:
            await self._refuse(method)
        turn, held = self._turn, None
        try:
            if turn is not None and not turn.value:
                await turn.acquire()
                held = turn
                # Another task may have closed the WebSocket meanwhile.
                if self.state not in SENDING:
                    raise self.refusal(method)
            # Advance ``send`` manually: if it doesn't have to wait, it needs neither a turn nor a
            # timer. Some servers raise in the call itself.
            try:
                sending = self._exchange.send(message)
                if self._is_trio:
                    sending = _in_time(sending, self._settings.websocket_send_timeout)
                steps = sending.__await__()
                waits_for = next(steps, SENT)
            except Exception as error:
                await self._not_sent(error)
                raise self.closed() from None
            if waits_for is not SENT:
                if held is None:
                    self._turn = held = turn or anyio.Semaphore(1, fast_acquire=True)
                    held.acquire_nowait()
                await self._send_in_time(steps, waits_for)
        finally:
            if held is not None:
                held.release()
        self._sent_unchecked += 1
        if self._sent_unchecked > SENDS_UNTIL_CHECK:
            self._sent_unchecked = 0
            await checkpoint()

    async def _send_in_time(self, steps: Steps[None], waits_for: object) -> None:
        """Send the rest of a message.

        Raises ``ConnectionClosed`` if sending fails or takes too long.
        """
        seconds = self._settings.websocket_send_timeout
        try:
            await resume(steps, waits_for, None if self._is_trio else seconds)
        except Exception as error:
            if seconds is None or not isinstance(error, TimeoutError):
                await self._not_sent(error)
            elif self.end(
                CLOSE,
                POLICY,
                f"the client did not accept a message within {seconds:g} s",
            ):
                logger.info(
                    "%s is closed: %s (App(websocket_send_timeout=...) sets this limit)",
                    self._exchange.label,
                    self.reason,
                )
                await self._send_close(LAST_FRAME_WITHIN)
            raise self.closed() from None

    async def forward(self, subscription: Subscribed) -> None:
        """See ``WebSocket.forward``."""
        if not hasattr(subscription, "take_text"):
            raise TypeError(
                "forward() takes a subscription, such as self.channels.subscribe(...), not "
                f"{subscription!r}"
            )
        if self.state is not OPEN:
            await self._refuse("forward")
        if not subscription.has_begun:
            await subscription.__aenter__()
        if self._forwards is None:  # another task called this, and the handler has ended meanwhile
            return subscription.__exit__(None, None, None)
        self._forwards = (*self._forwards, Forward(subscription, self._send_texts))

    async def _send_texts(self, subscription: Subscribed) -> None:
        """Send the messages of a subscription that are waiting."""
        try:
            while self.state is OPEN and (text := subscription.take_text()) is not None:
                await self.send("forward", {"type": "websocket.send", "text": text})
        except ConnectionClosed:
            pass
        except StopAsyncIteration:
            self._close_from_outside(code=NORMAL)
        except Exception as error:  # messages were lost
            logger.info("%s is closed: %s", self._exchange.label, error)
            self._close_from_outside(str(error), TRY_AGAIN)

    async def close(self, code: int, reason: str | None) -> None:
        """Close the WebSocket, unless it is already closed or the client has disconnected. See
        ``WebSocket.close``.
        """
        check_code(code)
        if self.end(CLOSE, code, truncate_reason(reason or "")):
            await self._send_close_in_turn()

    async def finish(self, close_info: CloseInfo) -> None:
        """Close the WebSocket after its handler has ended, unless the client has ended it. If
        sending the close frame was cancelled earlier, send it now.

        If the handshake was not accepted, many servers can't send the application's response, and
        send a plain 403 instead. At shutdown, accept it under these servers and close the WebSocket
        with 1001, because clients don't try again after a 403.
        """
        code, reason, answer = close_info
        extensions = self._exchange.scope.get("extensions") or ()
        can_deny = self.state is CONNECTING and DENIAL in extensions
        if answer is not None and code == GOING_AWAY and not can_deny:
            with suppress(ConnectionClosed):
                await self._accept(None, [])
        self.end(CLOSE, code, truncate_reason(reason))
        if answer is not None and can_deny:
            await self._send_last(
                self._settings.websocket_send_timeout,
                head_message(answer, f"{DENIAL}.start"),
                {"type": f"{DENIAL}.body", "body": answer[4]},
            )
        else:
            await self._send_close_in_turn()

    async def _send_close_in_turn(self) -> None:
        """Send the close frame, unless it was sent already. Messages that other tasks are sending
        go first.
        """
        self._turn = self._turn or anyio.Semaphore(1, fast_acquire=True)
        async with self._turn:
            if self.may(FINISH):
                await self._send_close(self._settings.websocket_send_timeout)

    async def _send_close(self, seconds: float | None) -> None:
        """Send the close frame.

        Stop reading first, because otherwise granian would wait for the client's next message. So
        no disconnect will be noticed: begin the grace period afterwards, but not before the frame
        is sent, because the handler may be what sends it.
        """
        stop_reading = self._stop_reading
        if stop_reading is not None:
            stop_reading()
        try:
            await self._send_last(
                seconds, {"type": "websocket.close", "code": self.code, "reason": self.reason}
            )
        finally:
            if stop_reading is not None:
                self._start_grace()

    async def _send_last(self, seconds: float | None, *messages: ServerMessage) -> None:
        """Send the messages that end the WebSocket. Even if this fails, the WebSocket counts as
        ended.
        """
        limited = _in_time if self._is_trio else await_within
        try:
            for message in messages:
                await limited(self._exchange.send(message), seconds)
        except Exception as error:
            logger.debug("%s: the server raised %r", self._exchange.label, error)
        self.step(FINISH, "close")
