"""Send the messages of subscriptions to WebSockets, for ``WebSocket.forward``.

A task that waits for each WebSocket's next message would need memory while nothing happens, and
waking it takes as much time as sending. So there is one ``Forwarder`` for each event loop. A
subscription with a new message calls ``Forward.wake``, and a single task then sends to all these
WebSockets, one after the other.

If a ``send`` has to wait, for example because the client reads slowly, the task stays with this
WebSocket, and another task sends to the others. So no client waits for another one. Until the
``send`` returns, messages wait in the subscription, which limits their number.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Protocol

from anyio.lowlevel import checkpoint

from micropie._core.execution import TASKS, Action, LoopLocal
from micropie.asgi.coroutines import Steps, resume

# To how many WebSockets a task sends before it lets other tasks run.
SENDS_PER_CHECK = 64


class Subscribed(Protocol):
    """The part of a channel's ``Subscription`` that ``forward`` uses."""

    has_begun: bool

    async def __aenter__(self) -> object: ...
    def __exit__(self, *error: object) -> None: ...
    def notify(self, call: Action | None, /) -> None:
        """Call ``call``, in any thread, at each message and at the end."""

    def take_text(self) -> str | None:
        """Return the next message, or None if there is none. Raises ``StopAsyncIteration`` at the
        end, and another exception if messages were lost.
        """


class Forward:
    """A subscription whose messages are sent to a WebSocket.

    - ``send(subscription)``: sends the messages that are waiting.
    - ``cancels``: the functions that cancel the task that waits for ``send``; None if no task does.
    """

    __slots__ = ("_forwarder", "cancels", "send", "subscription")

    def __init__(
        self, subscription: Subscribed, send: Callable[[Subscribed], Awaitable[None]]
    ) -> None:
        self._forwarder: Forwarder | None = _FORWARDERS.get()
        self.subscription = subscription
        self.cancels: Sequence[Action] | None = None
        self.send = send
        subscription.notify(self.wake)
        self.wake()

    def wake(self) -> None:
        """Have the messages sent that are waiting. Any thread may call this."""
        forwarder = self._forwarder
        if forwarder is not None:
            forwarder.ready.append(self)
            if not forwarder.is_starting:
                forwarder.begin()

    def stop(self) -> None:
        """Send no more messages, and end the subscription."""
        self._forwarder = None
        for cancel in self.cancels or ():
            cancel()
        self.subscription.notify(None)  # avoid a reference cycle
        self.subscription.__exit__(None, None, None)


class Forwarder:
    """Sends to the WebSockets of one event loop.

    - ``ready``: the forwards that have messages. Any thread may append to it.
    - ``is_starting``: whether a task will soon be started, which sends their messages.
    """

    def __init__(self) -> None:
        self._tasks = TASKS.get()
        self.ready: deque[Forward] = deque()
        self.is_starting = False

    def begin(self) -> None:
        """Start the task. Any thread may call this."""
        self.is_starting = True
        self._tasks.call(self._start)

    def _start(self) -> None:
        # Reset it first, so that forwards that are appended from now on start another task.
        self.is_starting = False
        cancels: list[Action] = []
        cancels.append(self._tasks.start_soon(self._run, cancels, context=Context()))

    @types.coroutine
    def _run(self, cancels: Sequence[Action]) -> Steps[None]:
        ready, left = self.ready, SENDS_PER_CHECK
        while ready:
            forward = ready.popleft()
            if forward.cancels is not None:
                continue  # another task is sending, and sends this message too
            steps = forward.send(forward.subscription).__await__()
            try:
                waits_for = next(steps)
            except StopIteration:
                left -= 1
                if not left:
                    left = SENDS_PER_CHECK
                    yield from checkpoint().__await__()
                continue
            if ready:
                self.begin()
            forward.cancels = cancels
            try:
                yield from resume(steps, waits_for)
            finally:
                forward.cancels = None
            return


_FORWARDERS = LoopLocal(Forwarder)
