"""The transport side of a WebSocket: ``Connection`` runs the handler, sends and receives messages, detects disconnects.

**The problem.** A handler may wait for hours, and for anything: its client's next message, a channel, a timer, another
task. Its client may leave meanwhile. Servers say so in different ways: ``receive`` gives ``websocket.disconnect``;
``send`` raises ``OSError``, ``RuntimeError`` or an exception of the server's own, or does nothing at all. Only
``receive`` can be relied on, so some task has to be calling it. A second task for each socket would do that, but it
costs memory, which counts for sockets that are idle, and one more turn of the event loop for each message.

**Reading only when it is needed.** The handler's coroutine is stepped by hand (``_observe``; see
``asgi/coroutines.py``), so that every time it suspends we know what it waits for (``_call``):

- for the server's ``receive``, through us: it will see the disconnect itself. There is one task, and nothing stands
  between the handler and the server. This is the idle socket, and the usual echo or command loop.
- for the server's ``send``, or its turn to send: the server returns, or ``websocket_send_timeout`` ends the wait.
- for anything else: from then on a task reads messages ahead (``ReadAhead``) and sees the disconnect. When the
  handler has taken many messages in a row without another wait, that task ends and leaves ``receive`` to the handler.

Tasks that the handler starts can't be observed like this, so a message for one of them is always read ahead.

**Leaving.** The handler learns of a disconnect from its next call, which raises ``ConnectionClosed``. It may be in the
middle of work for the last message, or wait for something that never comes; so it has ``websocket_grace`` seconds to
make a call and is cancelled then. Two cancel scopes are around it. ``_leave_scope``, the outer one, cancels it.
``_cleanup_scope``, the inner one, is turned into a shield with a deadline as soon as that cancellation arrives, so
that the handler's ``finally`` may wait, as after asyncio's ``Task.cancel``, but not for ever. A cancellation that
arrives may also be that of a scope in the handler, such as the one in which trio sleeps, while a shield in the handler
keeps the other one away (``_begin_cleanup``).

**Closing.** A WebSocket is ended by the client, by ``close`` in the handler or another task, by a limit that was
exceeded, by the handler's end, or with the server (``go_away``). All of them call ``_end``, and only the first one
counts. If that was not the client, it sends the close frame. If sending it was cancelled, ``finish``, which runs after
every handler, sends it.

**The invariants.**

- The server's ``receive`` is never called twice at a time, nor is ``send``. Senders queue up, first come first served.
- At most one task of the author's receives.
- After ``GONE`` messages that were read ahead may still be received; after ``CLOSED`` none.
- Errors of the server never reach the handler: they become ``ConnectionClosed``.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, NoReturn, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint

from micropie import websockets
from micropie.asgi.coroutines import Steps, advance, brings_cancellation, resume, within
from micropie.asgi.exchange import ASGIWebSocketExchange
from micropie.asgi.streaming import encode_headers, head_message
from micropie.errors import logger
from micropie.execution import CLEAN_UP_WITHIN, TASKS, LoopTasks, SingleWaiterEvent
from micropie.flow import CloseInfo
from micropie.http import HeaderPairs, Message, Receive, Send
from micropie.routing import config_of

# Messages sent until the client is looked at: where a server's ``send`` never waits and never fails, nothing else on
# the event loop would run, and a disconnect would go unnoticed.
SENDS_UNTIL_CHECK = 64

SENT = object()  # the result of a ``send`` that did not have to wait

# Seconds for the close frame where nobody may be held up: by a client that reads nothing, or when the server ends.
LAST_FRAME_WITHIN = 1.0

DENIAL = "websocket.http.response"  # ASGI, "WebSocket Denial Response"


# Messages that are read ahead and may wait for the handler. With this many, reading pauses and the client has to wait.
MAX_MESSAGES = 32

# Messages that the handler takes in a row, without another wait, until reading ahead ends. To begin again costs as much
# as reading a dozen messages ahead, so it must not end too early.
RELEASE_AFTER = 16

Value = TypeVar("Value")

CALL: Final = "call"  # beside ``RECEIVE``: a call that waits for anything but the server's ``receive``


@dataclass(slots=True, eq=False)
class Connection:
    """One WebSocket, between the server's ``receive`` and ``send`` and the handler's calls."""

    _exchange: ASGIWebSocketExchange
    _receive: Receive
    _send: Send
    progress: websockets.Progress = field(default_factory=websockets.Progress)
    _send_timeout: float | None = None
    _timeout: float | None = None
    _max_size: int = 0
    _tasks: LoopTasks = field(default_factory=TASKS.get)
    _leave_scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _cleanup_scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    _read_ahead: ReadAhead | None = None
    _handler_runs: bool = False  # or it waits
    # RECEIVE while a call that the handler's own code began waits in the server's ``receive``, CALL while it waits for
    # anything else: a message that is read ahead, its turn to send, the server's ``send``. Usually the handler waits
    # for that call. It may run meanwhile, or wait for something else, if an eager task of asyncio's made the call: the
    # first step of such a task runs in that of the handler.
    _call: str | None = None
    _close_sent: bool = False
    _turn: anyio.Semaphore = field(default_factory=lambda: anyio.Semaphore(1))  # to send; first come, first served
    _sent_unchecked: int = 0

    # -- the handler -------------------------------------------------------------------------------------------------

    async def run(self, websocket: object, handler: Callable[..., Awaitable[object]], /, *arguments: object) -> None:
        """Run ``handler(websocket, *arguments)``."""
        settings = config_of(self._exchange).settings
        self._max_size = settings.websocket_max_size
        self._send_timeout = settings.websocket_send_timeout
        timeout = self._timeout = settings.websocket_timeout
        if timeout is not None:
            receive = self._receive
            self._receive = lambda: within(receive(), timeout)
        shutdown = config_of(self._exchange).shutdown
        shutdown.add(self._server_ends)
        try:
            with self._leave_scope, self._cleanup_scope:
                await cast("Awaitable[None]", self._observe(handler(websocket, *arguments).__await__()))
        finally:
            shutdown.leave(self._server_ends)
            if self._read_ahead is not None:
                self._read_ahead.scope.cancel()
        if self._leave_scope.cancelled_caught:
            logger.debug("%s: the handler was cancelled, as its client had left", self._exchange.label)

    @types.coroutine
    def _observe(self, steps: Steps[object]) -> Steps[None]:
        """Await the handler, and look out for the client when it waits for something else than this connection."""
        sent: object = None
        raised: BaseException | None = None
        while True:
            self._handler_runs = True
            try:
                waits_for = advance(steps, sent, raised)
            except StopIteration:
                return
            finally:
                raised = None
                self._handler_runs = False
            if self._call is None:
                self._watch()
            sent = None
            try:
                sent = yield waits_for
            except BaseException as error:
                raised = error
            if (
                self.progress.code is not None
                and not self._cleanup_scope.shield
                and self._leave_scope.cancel_called
                and (
                    isinstance(raised, anyio.get_cancelled_exc_class()) or brings_cancellation(sent, self._leave_scope)
                )
            ):
                self._begin_cleanup()

    def _begin_cleanup(self) -> None:
        """Shield the handler's clean-up for some seconds, if the cancellation that arrived is that of ``_leave_scope``.

        A cancellation does not tell its scope. But that of ``_leave_scope`` is the only one that a shield at
        ``_cleanup_scope`` keeps away: a cancelled scope within the shield still counts, and a shield of the handler's
        own has let none through.
        """
        if anyio.current_effective_deadline() == -inf:
            self._cleanup_scope.shield = True
            if anyio.current_effective_deadline() == -inf:
                self._cleanup_scope.shield = False
            else:
                self._cleanup_scope.deadline = anyio.current_time() + CLEAN_UP_WITHIN

    async def _in_call(self, action: str, awaitable: Awaitable[Value]) -> Value:
        """Await what a call has to wait for. ``action``: RECEIVE in the server's ``receive``, or CALL."""
        if not self._may_call:
            return await awaitable
        self._call = action
        try:
            return await awaitable
        finally:
            self._call = None
            if not self._handler_runs:
                self._watch()

    @property
    def _may_call(self) -> bool:
        """Whether the handler's own code runs, and no other task of the author's: not even an eager one."""
        return self._handler_runs and self._call is None

    def _watch(self) -> None:
        """Read ahead from now on, unless a call of the handler's receives: it will see the disconnect itself."""
        if self._read_ahead is not None:
            self._read_ahead.go_on()
        elif self._call is not websockets.RECEIVE and self.progress.state is websockets.OPEN:
            self._read_ahead = ReadAhead(self._receive_ahead, self._max_size)
            self._tasks.start_soon(self._read_ahead.run)

    # -- the end -----------------------------------------------------------------------------------------------------

    def _end(self, action: str, code: int, reason: str) -> bool:
        """End by ``action`` and wake who receives. Return False if it has ended already."""
        is_first = self.progress.end(action, code, reason)
        if is_first and self._read_ahead is not None:
            self._read_ahead.end()
        return is_first

    def _disconnected(self, code: int, reason: str) -> None:
        """Note that the client has left. The handler's next call raises; it has some seconds to make one."""
        if self._end(websockets.LEAVE, code, reason):
            self._start_grace()

    def _lost(self, error: Exception) -> None:
        logger.debug("%s: the server raised %r", self._exchange.label, error)
        self._disconnected(websockets.LOST, "")

    def _server_ends(self) -> None:
        """Close with 1001, as the server is told to end. The handler's next call raises; it has a grace to make one."""
        if self.progress.state is websockets.OPEN:
            self._end(websockets.CLOSE, websockets.GOING_AWAY, "")
            self._start_grace()
            self._tasks.start_soon(self._send_close_in_turn)

    async def go_away(self) -> None:
        """Close with 1001 what is still open when the server has cancelled the handler."""
        if self.progress.state is websockets.OPEN:
            self._end(websockets.CLOSE, websockets.GOING_AWAY, "")
            await self._send_close(LAST_FRAME_WITHIN)

    def _start_grace(self) -> None:
        grace = config_of(self._exchange).settings.websocket_grace
        if grace is not None:
            self._leave_scope.deadline = anyio.current_time() + grace

    # -- messages in -------------------------------------------------------------------------------------------------

    async def receive(self, method: str, key: str) -> Any:
        """Return the content of the next message.

        ``method`` is the one that was called; ``key``, "text" or "bytes", is where the content is looked for first.
        """
        if self._may_call and self._read_ahead is None:
            self.progress.allow(websockets.RECEIVE, method)
            try:
                message = await self._in_call(websockets.RECEIVE, self._receive())
            except Exception as error:
                await self._receive_failed(error)
                raise self.progress.closed() from None
        else:
            message = await self._receive_from_ahead(method)
        self._sent_unchecked = 0
        content = message.get(key)
        if content is None or len(content) * 4 > self._max_size:  # UTF-8 has at most four bytes a character
            if message["type"] != "websocket.receive":
                self._disconnected(*websockets.disconnect_info(message))
                raise self.progress.closed()
            content = await self._examine(message, method)
        return content

    async def _examine(self, message: Message, method: str) -> str | bytes:
        """Return the content of a message that is of another kind, or perhaps too big."""
        content: str | bytes | None = message.get("text")
        if content is None:
            content = message.get("bytes") or b""
            if method == "receive_text":
                await self.reject(websockets.WRONG_KIND, "text was expected")
        elif method == "receive_bytes":
            await self.reject(websockets.WRONG_KIND, "bytes were expected")
        if websockets.is_too_big(content, self._max_size):
            await self.close(websockets.TOO_BIG, f"a message may have {self._max_size} bytes")
            raise self.progress.closed()
        return content

    async def reject(self, code: int, reason: str) -> NoReturn:
        """Close because of a message that is not what was asked for, and raise ``MessageError``."""
        await self.close(code, reason)
        raise websockets.MessageError(code, reason)

    async def _receive_failed(self, error: Exception) -> None:
        """Note why no message came."""
        if self._timeout is not None and isinstance(error, TimeoutError):
            await self.close(websockets.GOING_AWAY, f"no message for {self._timeout:g} seconds")
        else:
            self._lost(error)

    async def _receive_ahead(self) -> Message | None:
        """Receive for the task that reads ahead. None after the last message, when it is known how this ended."""
        try:
            message = await self._receive()
        except Exception as error:
            await self._receive_failed(error)
        else:
            if message["type"] == "websocket.receive":
                return message
            self._disconnected(*websockets.disconnect_info(message))
        self._start_grace()  # here too for what was closed by this side: the handler may not know
        return None

    async def _receive_from_ahead(self, method: str) -> Message:
        """Return the next message where messages are read ahead, or to a task that is not the handler's own."""
        ahead = self._read_ahead
        if self._call is websockets.RECEIVE or (ahead is not None and ahead.is_awaited):
            raise RuntimeError(f"{method}() while another task receives: one task may receive, any may send")
        if ahead is None or not ahead.messages or self.progress.state is not websockets.GONE:
            self.progress.allow(websockets.RECEIVE, method)
        if not self._may_call:
            self._watch()
            ahead = self._read_ahead
        assert ahead is not None  # noqa: S101 - the state is OPEN, or it was read ahead before the end
        message = await self._in_call(CALL, ahead.next())
        if message is None:
            raise self.progress.closed()
        if ahead.release():
            self._read_ahead = None
        return message

    # -- messages out ------------------------------------------------------------------------------------------------

    def accept(self, subprotocol: str | None, headers: HeaderPairs) -> Coroutine[object, object, None]:
        """Accept the handshake."""
        self.progress.step(websockets.ACCEPT)
        encoded = encode_headers(None, None, headers) if headers else []
        return self.send("accept", {"type": "websocket.accept", "subprotocol": subprotocol, "headers": encoded})

    async def send(self, method: str, message: Message) -> None:
        """Send a message, after those that other tasks are sending. ``method`` is the one that was called."""
        self.progress.allow(websockets.SEND, method)
        await self._take_turn()
        try:
            self.progress.allow(websockets.SEND, method)  # it may have been closed meanwhile
            await self._send_in_turn(message)
        finally:
            self._turn.release()
        self._sent_unchecked += 1
        if self._sent_unchecked > SENDS_UNTIL_CHECK:
            self._sent_unchecked = 0
            self._watch()
            await checkpoint()

    async def _send_in_turn(self, message: Message) -> None:
        """Send a message. Raises ``ConnectionClosed`` if the server fails, or if the client does not read in time."""
        waits_for, seconds = SENT, self._send_timeout
        try:
            # Started by hand: a send that does not have to wait needs no timer.
            steps = self._send(message).__await__()
            waits_for = next(steps, SENT)
            if waits_for is not SENT:
                await self._in_call(CALL, resume(steps, waits_for, seconds))
        except Exception as error:
            if waits_for is SENT or seconds is None or not isinstance(error, TimeoutError):
                self._lost(error)
            elif self._end(websockets.CLOSE, websockets.POLICY, f"no room for a message within {seconds:g} seconds"):
                logger.info("%s is closed: %s; see websocket_send_timeout", self._exchange.label, self.progress.reason)
                await self._send_close(LAST_FRAME_WITHIN)
            raise self.progress.closed() from None

    async def close(self, code: int, reason: str) -> None:
        """Close unless that has been done, or the client has left. See ``WebSocket.close``."""
        websockets.check_code(code)
        if self._end(websockets.CLOSE, code, websockets.truncate_reason(reason)):
            await self._send_close_in_turn()

    async def finish(self, close_info: CloseInfo) -> None:
        """Close what is still open when the handler has ended, and send a close frame that was cancelled.

        Many servers can't send the answer to a handshake that was not accepted. They answer with a plain 403.
        """
        code, reason, answer = close_info
        can_deny = DENIAL in (self._exchange.scope.get("extensions") or ())
        if answer is not None and can_deny and self.progress.state is websockets.CONNECTING:
            self._end(websockets.CLOSE, code, reason)
            await self._send_last(head_message(answer, f"{DENIAL}.start"), self._send_timeout)
            await self._send_last({"type": f"{DENIAL}.body", "body": answer[4]}, self._send_timeout)
            return
        await self.close(code, reason)
        if self.progress.state is websockets.CLOSED:
            await self._send_close_in_turn()

    async def _send_close_in_turn(self) -> None:
        """Send the close frame, unless it has been sent, after the messages that tasks are sending."""
        await self._take_turn()
        try:
            if not self._close_sent:
                await self._send_close(self._send_timeout)
        finally:
            self._turn.release()

    async def _send_close(self, seconds: float | None) -> None:
        """Send the close frame. Reading ahead ends before that: granian would wait for the client's next message."""
        progress = self.progress
        if self._read_ahead is not None:
            self._read_ahead.scope.cancel()
            self._start_grace()  # nobody receives the disconnect now
        await self._send_last({"type": "websocket.close", "code": progress.code, "reason": progress.reason}, seconds)

    async def _send_last(self, message: Message, seconds: float | None) -> None:
        """Send a message that ends the WebSocket. It is over whether that succeeds or not."""
        try:
            await within(self._send(message), seconds)
        except Exception as error:
            logger.debug("%s: the server raised %r", self._exchange.label, error)
        self._close_sent = True

    # -- turns -------------------------------------------------------------------------------------------------------

    async def _take_turn(self) -> None:
        """Wait until those who came before have sent. The WebSocket may be closed by then."""
        try:
            self._turn.acquire_nowait()
        except anyio.WouldBlock:
            await self._in_call(CALL, self._turn.acquire())


@dataclass(slots=True, eq=False)
class ReadAhead:
    """Messages that are read ahead of the handler: a queue, filled by a task that runs ``run``.

    ``receive`` returns None after the last message. Above ``max_bytes`` of messages reading pauses. ``messages`` came
    before whatever ended the WebSocket. ``is_awaited``: whether a call waits for the next one. ``scope``: of ``run``.
    """

    _receive: Callable[[], Awaitable[Message | None]]
    _max_bytes: int
    messages: deque[tuple[Message, int]] = field(default_factory=deque)  # with their sizes
    _size: int = 0
    _ended: bool = False
    _released: bool = False
    _is_receiving: bool = False
    _in_a_row: int = 0
    is_awaited: bool = False
    _arrived: SingleWaiterEvent = field(default_factory=SingleWaiterEvent)
    _taken: SingleWaiterEvent = field(default_factory=SingleWaiterEvent)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    async def run(self) -> None:
        """Read until the end, or until ``release``. Runs in a separate task."""
        try:
            with self.scope:
                while not self._released:
                    self._is_receiving = True
                    message = await self._receive()
                    self._is_receiving = False
                    if message is None:
                        break
                    size = len(message.get("text") or message.get("bytes") or "")
                    self.messages.append((message, size))
                    self._size += size
                    self._arrived.ring()
                    while self._must_wait():
                        await self._taken.wait()
        finally:
            self.end()

    def _must_wait(self) -> bool:
        """Return whether to read no further until the handler has taken a message."""
        if self._in_a_row >= RELEASE_AFTER:  # it may call ``release`` when it has the last one
            return bool(self.messages)
        return len(self.messages) >= MAX_MESSAGES or self._size > self._max_bytes

    async def next(self) -> Message | None:
        """Return the next message; None after the last one."""
        while not self.messages:
            if self._ended:
                return None
            self.is_awaited = True
            try:
                await self._arrived.wait()
            finally:
                self.is_awaited = False
        message, size = self.messages.popleft()
        self._size -= size
        self._in_a_row += 1
        self._taken.ring()
        return message

    def go_on(self) -> None:
        """Go on reading ahead: the handler waits for something else, or another task receives."""
        if self._in_a_row >= RELEASE_AFTER:
            self._taken.ring()
        self._in_a_row = 0

    def release(self) -> bool:
        """Stop reading and leave ``receive`` to the handler, if it has waited for messages alone. Return whether so.

        To be called when ``next`` has returned a message: ``run`` waits for that if it does not receive.
        """
        self._released = self._in_a_row >= RELEASE_AFTER and not self.messages and not self._is_receiving
        return self._released

    def end(self) -> None:
        """Wake ``next``: no further message comes."""
        self._ended = True
        self._arrived.ring()
