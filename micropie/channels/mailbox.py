"""Mailboxes: the queues of messages for subscribers. A thread or a task can wait for the next
message.

A full queue drops a message or ends the subscription, so a slow subscriber does not delay others.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Generator
from concurrent import futures
from contextlib import suppress
from math import inf
from threading import RLock
from typing import Final, Literal, TypeAlias

from micropie.extensions import Outage, TaskWaiter, dumps, is_on_loop, loads

logger = logging.getLogger("micropie")


class ChannelsUnreachable(Outage.Unavailable):
    """Raised if Redis is unavailable.

    If a handler doesn't catch it, the client gets a 503, and the exception isn't logged again.

    ``reason``: a sentence for the log, returned by ``str()``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("The message broker is unavailable. Please try again in a moment.", reason)


def refuse_on_loop() -> None:
    """Raise ``RuntimeError`` if this thread runs an event loop, which must not be blocked."""
    if is_on_loop():
        raise RuntimeError(
            '"with", "for" and get() would block the event loop: write "async with" and "async for"'
        )


class Future(futures.Future[str]):
    """The outcome of work in another thread. Its result is the reason why the work failed, or "".

    Wait for it with ``await`` or ``block``. If nobody waits for a future that fails, the failure is
    logged when the object is freed.

    - ``failure_label``: the beginning of the messages about a failure, before the reason.
    - ``then``: called by a task after the work, which awaits its result.
    - ``ends``: the time by ``monotonic`` at which the listener gives up.
    """

    ends = inf
    then: Callable[[], Awaitable[None]] | None = None

    def __init__(self, failure_label: str) -> None:
        super().__init__()
        self._failure_label = failure_label
        self._is_retrieved = False

    def settle(self, failure: str = "") -> None:
        """Mark the work as done, or as failed with a reason. Further calls do nothing."""
        with suppress(futures.InvalidStateError):
            self.set_result(failure)

    def block(self) -> None:
        """Block this thread until the work is done. Raises ``ChannelsUnreachable`` if it failed."""
        refuse_on_loop()
        self._check()

    def __await__(self) -> Generator[object, object, None]:
        waiter = TaskWaiter()
        self.add_done_callback(lambda _: waiter.wake())
        yield from waiter.wait().__await__()
        self._check()
        if self.then is not None:
            yield from self.then().__await__()

    def failure(self) -> str:
        """Return the reason why the work failed, or "". Blocks until it is done."""
        self._is_retrieved = True
        return self.result()

    def __del__(self) -> None:
        if not self._is_retrieved and self.done() and self.result():
            logger.error("%s: %s", self._failure_label, self.result())

    def _check(self) -> None:
        if failure := self.failure():
            raise ChannelsUnreachable(f"{self._failure_label}: {failure}")


# -- a subscriber's messages -----------------------------------------------------------------------


WhenFull: TypeAlias = Literal["drop_oldest", "close"]


class Published:
    """A message to ``channel``, as JSON.

    Each subscriber gets its own copy of the value, unless the value is immutable.
    """

    __slots__ = ("_document", "_shared", "_text", "channel")

    def __init__(self, channel: str, document: bytes | str) -> None:
        self.channel = channel
        self._document = document
        self._shared: list[object] = []
        self._text: str | None = None

    def value(self) -> object:
        """Return the message's value, decoded from JSON."""
        if self._shared:
            return self._shared[0]
        value = loads(self._document)
        if value is None or isinstance(value, str | int | float):
            self._shared.append(value)
        return value

    def text(self) -> str:
        """Return a string as it is, and any other value as JSON. All subscribers get one object."""
        if self._text is None:
            value = self.value()
            self._text = value if isinstance(value, str) else dumps(value).decode()
        return self._text


END = Published("", "")  # returned by ``Mailbox.take`` after the last message


# How many messages a queue may grow by before their publisher gives the subscriber some time, and
# into how many parts a long queue is divided for this.
GROWTH, STEPS = 16, 8

# No messages. A deque takes 760 bytes, so an idle mailbox has none of its own.
_EMPTY: Final[deque[Published]] = deque()


class MessagesLost(Outage.Unavailable):
    """Raised if a subscription with ``when_full="close"`` has missed messages, or may have missed
    some.

    If a handler doesn't catch it, the client gets a 503. In a stream, one line is logged.

    ``reason``: a sentence for the log, returned by ``str()``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__("Messages were lost. Please try again in a moment.", reason)


class Mailbox:
    """The messages of one subscriber. Thread-safe.

    ``messages``: those that are waiting. Only the mailbox changes it.
    ``step``: how many messages it may grow by before its publisher waits.
    ``listener``: called at each message and at the end, in any thread. It must not block.
    """

    listener: Callable[[], object] | None = None

    def __init__(self, size: int, when_full: WhenFull) -> None:
        # The lock is reentrant, like that of ``Channels``. It is held while the functions in
        # ``_waiting`` are called.
        self._lock = RLock()
        self._waiting: list[Callable[[], object]] = []
        self.dropped = 0
        self.gaps = 0
        self._closes = when_full == "close"
        self._size = size
        self.step = max(GROWTH, size // STEPS)
        self.messages = _EMPTY
        self._lost = ""  # the reason why messages were lost; ``take`` raises it
        self.has_ended = False

    def put(self, message: Published) -> bool:
        """Add a message.

        If the queue is full, drop the oldest message or end the subscription, depending on
        ``when_full``. Return whether the queue has grown by another ``step`` messages.
        """
        with self._lock:
            messages, is_growing = self.messages, False
            is_full = len(messages) == self._size
            if is_full and not self.has_ended:
                self.dropped += 1
                if self._closes:
                    self.end(
                        f"the subscriber was too slow: the queue of {len(messages)} was full when "
                        "another message arrived"
                    )
            if not self.has_ended:
                if not messages:
                    self.messages = messages = deque(maxlen=self._size)
                messages.append(message)  # a bounded deque drops its oldest item
                is_growing = not (is_full or len(messages) % self.step)
            while self._waiting:
                self._waiting.pop()()
            if self.listener is not None:
                self.listener()
        return is_growing

    def skip(self) -> None:
        """Count a message as dropped, because it can't be decoded."""
        with self._lock:
            self.dropped += 1

    def gap(self, reason: str) -> None:
        """Record that messages may have been lost before they reached this process."""
        with self._lock:
            self.gaps += 1
            if self._closes:
                self.end(reason)

    def end(self, lost: str = "") -> None:
        """Accept no more messages. Waiting messages can still be taken.

        ``lost``: the reason why messages were lost, or "" if none were. Further calls do nothing.
        """
        with self._lock:
            if not self.has_ended:
                self.has_ended, self._lost = True, lost
            while self._waiting:
                self._waiting.pop()()
            if self.listener is not None:
                self.listener()

    def take(self, call: Callable[[], object] | None) -> Published | None:
        """Return the oldest message, None if there is none yet, or ``END`` if there will be no
        more.

        If messages were lost, raises ``MessagesLost`` once, after the last message before the loss.

        If the result is None, ``call`` is called once, by any thread, as soon as there is a message
        or the end. It must not block. With None, nothing is called.
        """
        with self._lock:
            if self.messages:
                message = self.messages.popleft()
                if not self.messages:
                    self.messages = _EMPTY
                return message
            if not self.has_ended:
                if call is not None and call not in self._waiting:
                    self._waiting.append(call)
                return None
            lost, self._lost = self._lost, ""
        if lost:
            raise MessagesLost(lost)
        return END

    def forget(self, call: Callable[[], object]) -> None:
        """Cancel the ``call`` that was passed to ``take``, unless it has been called already."""
        with self._lock:
            if call in self._waiting:
                self._waiting.remove(call)
