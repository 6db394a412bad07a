"""What is under a ``WebSocket``: its handler run, messages received and sent, whoever went noticed.

Servers differ in how they tell that a client has gone: ``receive`` gives ``websocket.disconnect``, ``send`` raises
``OSError``, ``RuntimeError`` or something of the server's own, or does nothing at all. Here it is one exception.
"""

from __future__ import annotations

import logging
import types
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from inspect import iscoroutine
from typing import Any, NoReturn, cast

from anyio import CancelScope, Event, create_task_group, current_time, get_cancelled_exc_class, move_on_after
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from micropie.asgi.coroutines import brings_cancellation, resume, within
from micropie.asgi.websocket.read_ahead import ReadAhead
from micropie.execution.loop import CLEAN_UP_WITHIN
from micropie.execution.steps import TookTooLong
from micropie.http.types import Message, Receive, Send
from micropie.http.websocket import (
    CLOSE,
    CLOSED,
    GOING_AWAY,
    GONE,
    LEAVE,
    LOST,
    OPEN,
    POLICY,
    RECEIVE,
    SEND,
    TOO_BIG,
    WRONG_KIND,
    MessageError,
    Progress,
    check_code,
    farewell_of,
    fitted_reason,
    is_too_big,
)

logger = logging.getLogger("micropie")

# Messages sent between two looks at the client: where a server's ``send`` never waits and never fails, nothing else
# would run, and nobody would see it go.
BETWEEN_LOOKS = 64

# What a ``send`` that did not have to wait comes to.
SENT = object()

# Seconds to tell a client that takes nothing any more why it is cut off.
LAST_WORD_WITHIN = 1.0


class Connection:
    """One WebSocket between ``receive`` and ``send`` of a server and the handler's calls."""

    __slots__ = (
        "_ahead",
        "_grace",
        "_hearing",
        "_hears",
        "_in_handler",
        "_leaving",
        "_max_size",
        "_receive",
        "_saying",
        "_send",
        "_send_timeout",
        "_small",
        "_tasks",
        "_tidying",
        "_timeout",
        "_told",
        "_turns",
        "_unheard",
        "_waits_here",
        "path",
        "progress",
    )

    def __init__(self, path: str, receive: Receive, send: Send) -> None:
        self.path = path
        self.progress = Progress()
        self._receive = receive
        self._send = send
        self._send_timeout: float | None = None
        self._timeout: float | None = None
        self._ahead: ReadAhead | None = None
        self._in_handler = False  # whether the handler's own task is running
        self._waits_here = False  # whether it waits in a call of ours, other than for ``receive`` itself
        self._hears = False  # whether it has called ``receive`` itself
        self._hearing = False  # whether some task waits for what is read ahead
        self._saying = False
        self._told = False  # whether the close frame was given to the server
        self._turns: deque[Event] | None = None  # of tasks that wait until they may send
        self._unheard = 0

    # -- the handler -------------------------------------------------------------------------------------------------

    async def run_within(
        self, settings: Any, tasks: TaskGroup | None, handler: Callable[..., Any], *arguments: Any
    ) -> None:
        """Run a handler with this socket. ``tasks``: of the worker, None if there are none.

        Two scopes: ``_leaving`` cancels a handler that goes on after its client has gone, and ``_tidying`` shields
        what it does about that. So its ``finally`` may wait, as after asyncio's ``Task.cancel``, but not for ever.
        """
        self._max_size = settings.websocket_max_size
        self._small = self._max_size // 4  # so many characters can't be too many bytes
        self._timeout = settings.websocket_timeout
        if self._timeout is not None:
            self._receive = partial(_received_within, self._receive, self._timeout)
        self._send_timeout = settings.websocket_send_timeout
        self._grace = settings.websocket_grace
        own = None
        if tasks is None:  # a server without lifespan
            own = tasks = create_task_group()
            await own.__aenter__()
        self._tasks = tasks
        try:
            with CancelScope() as self._leaving, CancelScope() as self._tidying:
                await cast("Awaitable[None]", self._steps_of(handler(self, *arguments)))
        finally:
            if self._ahead is not None:
                self._ahead.stop()
            if own is not None:
                await own.__aexit__(None, None, None)
        if self._leaving.cancelled_caught:
            logger.debug("WebSocket %r: the handler went on after its client had gone, and was cancelled", self.path)

    @types.coroutine
    def _steps_of(self, awaitable: Awaitable[object]) -> Generator[Any, Any, None]:
        """Await, and see what it waits for: if that is nothing of ours, somebody has to look out for the client."""
        steps: Any = awaitable if iscoroutine(awaitable) else _coroutine_of(awaitable)
        sent: Any = None
        raised: BaseException | None = None
        while True:
            self._in_handler = True
            try:
                waits_for = steps.send(sent) if raised is None else steps.throw(raised)
            except StopIteration:
                return
            finally:
                self._in_handler = False
                raised = None
            if not (self._hears or self._waits_here):
                self._watch()
            sent = None
            try:
                sent = yield waits_for
            except BaseException as error:
                raised = error
            if self.progress.state is GONE and not self._tidying.shield and self._is_cancelled(sent, raised):
                self._tidying.deadline = current_time() + CLEAN_UP_WITHIN
                self._tidying.shield = True

    def _is_cancelled(self, sent: Any, raised: BaseException | None) -> bool:
        if not self._leaving.cancel_called:
            return False
        return isinstance(raised, get_cancelled_exc_class()) or brings_cancellation(sent, self._leaving)

    def _watch(self) -> None:
        """Read ahead from here on, unless the handler receives at this moment: then it will see by itself."""
        if self._ahead is not None:
            self._ahead.look_out()
        elif not self._hears and self.progress.state is OPEN:
            self._ahead = ReadAhead(self._hear_ahead, self._max_size)
            self._tasks.start_soon(self._ahead.run)

    def _left(self, code: int, reason: str) -> None:
        """The client has gone: the handler hears it from its next call, and has some seconds to make one."""
        if self.progress.end(LEAVE, code, reason):
            if self._grace is not None:
                self._leaving.deadline = current_time() + self._grace
            if self._ahead is not None:
                self._ahead.end()

    # -- messages in -------------------------------------------------------------------------------------------------

    async def hear(self, what: str, kind: str) -> Any:
        """The content of the next message. ``what``: the method that asks; ``kind``: what it expects, text or bytes."""
        if self._ahead is not None or self._hears or not self._in_handler or RECEIVE not in self.progress.possible:
            message = await self._hear_shared(what)
        else:
            self._hears = True
            try:
                message = await self._receive()
            except Exception as error:
                await self._not_heard(error)
                raise self.progress.closed() from None
            finally:
                self._hears = False
            self._unheard = 0
        content = message.get(kind)
        if content is None or len(content) > self._small:
            content = await self._examined(message, what)
        return content

    async def _examined(self, message: Message, what: str) -> str | bytes:
        """The content of a message that is not at first sight what was asked for."""
        if message["type"] != "websocket.receive":
            self._left(*farewell_of(message))
            raise self.progress.closed()
        content: str | bytes | None = message.get("text")
        if content is None:
            content = message.get("bytes") or b""
            if what == "receive_text":
                await self.reject(WRONG_KIND, "text was expected")
        elif what == "receive_bytes":
            await self.reject(WRONG_KIND, "bytes were expected")
        if is_too_big(content, self._max_size):
            await self.close(TOO_BIG, f"a message may have {self._max_size} bytes")
            raise self.progress.closed()
        return content

    async def reject(self, code: int, reason: str) -> NoReturn:
        """Close because of a message that is of another kind."""
        await self.close(code, reason)
        raise MessageError(code, reason)

    async def _not_heard(self, error: Exception) -> None:
        """Note why no message came."""
        if self._timeout is not None and isinstance(error, TimeoutError):
            await self.close(GOING_AWAY, f"no message for {self._timeout:g} seconds")
        else:
            self._lost(error)

    async def _hear_ahead(self) -> Message | None:
        """One message for the task that reads ahead, None if there won't be another: then it is known why."""
        try:
            message = await self._receive()
        except Exception as error:
            await self._not_heard(error)
        else:
            if message["type"] == "websocket.receive":
                return message
            self._left(*farewell_of(message))
        if self._grace is not None:  # also where it was closed: the handler does not know
            self._leaving.deadline = current_time() + self._grace
        return None

    async def _hear_shared(self, what: str) -> Message:
        """The next message where they are read ahead, or for a task that is not the handler's own."""
        if self._hearing or self._hears:
            raise RuntimeError(f"{what}() while another task receives: one task may receive, any may send")
        if self._ahead is None or not self._ahead.has_some or self.progress.state is not GONE:
            self.progress.allow(RECEIVE, what)
        mine = self._in_handler
        if not mine:
            self._watch()
        ahead = self._ahead
        assert ahead is not None  # noqa: S101 - it is OPEN, or it has ended and was there
        self._hearing = True
        self._waits_here = mine
        try:
            message = await ahead.next()
        finally:
            self._hearing = self._waits_here = False
        if message is None:
            raise self.progress.closed()
        self._unheard = 0
        if ahead.let_go():
            self._ahead = None
        return message

    # -- messages out ------------------------------------------------------------------------------------------------

    async def say(self, what: str, message: Message) -> None:
        """Send a message, after those that other tasks are sending. ``what`` is the name of the method that asks."""
        if SEND not in self.progress.possible:
            raise self.progress.refusal(what)
        if self._saying:
            await self._take_turn(what)
        self._saying = True
        try:
            # Begun by hand: a send that does not have to wait needs no timer.
            steps = self._send(message).__await__()
            waits_for = next(steps, SENT)
            if waits_for is not SENT:
                await self._rest_of(steps, waits_for)
        except Exception as error:
            await self._not_sent(error)
            raise self.progress.closed() from None
        finally:
            if self._turns:
                self._pass_turn()
            else:
                self._saying = False
        self._unheard += 1
        if self._unheard > BETWEEN_LOOKS:
            self._unheard = 0
            self._watch()
            await checkpoint()

    async def _rest_of(self, steps: Any, waits_for: Any) -> None:
        """Wait for a send that was begun; ``TookTooLong`` if the client makes no room for it."""
        mine = self._in_handler
        self._waits_here = mine or self._waits_here
        try:
            await resume(steps, waits_for, self._send_timeout)
        except TimeoutError:
            if self._send_timeout is None:
                raise
            raise TookTooLong from None
        finally:
            if mine:
                self._waits_here = False

    async def _not_sent(self, error: Exception) -> None:
        """Note why a message did not get across."""
        if not isinstance(error, TookTooLong):
            self._lost(error)
            return
        if self.progress.end(CLOSE, POLICY, f"no room for a message within {self._send_timeout:g} seconds"):
            if self._ahead is not None:
                self._ahead.end()
            await self._tell(LAST_WORD_WITHIN)

    def _lost(self, error: Exception) -> None:
        logger.debug("WebSocket %r: the server says %r", self.path, error)
        self._left(LOST, "")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close with a code (1000 to 1014 or 3000 to 4999) and a reason, cut to the 123 bytes that a frame holds.

        Once is enough: where it is closed already, or the client has gone, nothing happens. Before ``accept`` it
        refuses, with status 403. Raises ``ValueError`` for a code that RFC 6455, section 7.4 does not let anybody send.
        """
        check_code(code)
        reason = fitted_reason(reason)
        if self.progress.end(CLOSE, code, reason):
            if self._ahead is not None:
                self._ahead.end()
            if self._saying:
                await self._take_turn(None)
            self._saying = True
            try:
                await self._tell(self._send_timeout)
            finally:
                self._pass_turn()

    async def finish(self, code: int, reason: str) -> None:
        """At the handler's end: close what is open, and send the close frame that a cancelled ``close`` did not."""
        await self.close(code, reason)
        if self.progress.state is CLOSED and not self._told:
            await self._tell(self._send_timeout)

    async def _tell(self, seconds: float | None) -> None:
        progress = self.progress
        message = {"type": "websocket.close", "code": progress.code, "reason": progress.reason}
        await self._put_last(message, seconds)

    async def _put_last(self, message: Message, seconds: float | None) -> None:
        """Send what comes last; whether it gets across matters to nobody any more."""
        try:
            with move_on_after(seconds):
                await self._send(message)
        except Exception as error:
            logger.debug("WebSocket %r: the server says %r", self.path, error)
        self._told = True

    # -- turns -------------------------------------------------------------------------------------------------------

    async def _take_turn(self, what: str | None) -> None:
        """Wait until those that are sending have sent; first come, first served. It may be over by then."""
        if self._turns is None:
            self._turns = deque()
        turn = Event()
        self._turns.append(turn)
        try:
            await turn.wait()
            if what is not None:
                self.progress.allow(SEND, what)
        except BaseException:
            if turn.is_set():
                self._pass_turn()
            else:
                self._turns.remove(turn)
            raise

    def _pass_turn(self) -> None:
        if self._turns:
            self._turns.popleft().set()
        else:
            self._saying = False


def _received_within(receive: Receive, seconds: float) -> Awaitable[Message]:
    return within(receive(), seconds)


async def _coroutine_of(awaitable: Awaitable[object]) -> None:
    await awaitable
