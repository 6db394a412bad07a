"""Channels in one process: the subscribers of each channel, the delivery of messages, and the
subscriptions that handlers use.

Each subscriber has a mailbox and decodes its own copy of a message from JSON. So a subscriber can't
change another subscriber's message, and a message has the same form whether it comes from this
process or another one. Immutable values (text, numbers, true, false and null) are decoded once. Any
thread may publish, and publishing never waits for a subscriber. But whoever publishes many messages
gives the subscribers some time while their queues grow.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from math import inf
from time import monotonic, sleep
from typing import Any, Self

import anyio

from micropie.channels.mailbox import (
    END,
    Future,
    Mailbox,
    Published,
    WhenFull,
    refuse_on_loop,
)
from micropie.extensions import (
    TaskWaiter,
    TypeInfo,
    current_shutdown,
    dumps,
    is_on_loop,
    notify_after_fork,
)

# How many messages a task takes between two checkpoints. Without checkpoints, no other task would
# run while messages keep arriving.
BETWEEN_CHECKPOINTS = 16

# How often a task that publishes lets other tasks run while the queue of a subscriber grows and the
# subscriber takes nothing. ``forward`` begins to send to its 30th WebSocket after about 90 turns if
# the server's ``send`` waits. 200 turns in vain take 2 ms.
TURNS = 200

# How many messages the subscriber takes meanwhile, at most, which is the default size of a queue.
# A longer queue would delay all who publish until a busy subscriber has emptied it.
MOST_TAKEN = 100

# How often a task pauses after those turns, and for how many seconds, because granian's ``send``
# waits for another thread. A thread that publishes pauses from the start. Otherwise, it would keep
# the interpreter's lock for 5 ms, in which it can fill a queue although nobody is slow.
PAUSES, PAUSE = 10, 0.001


class _Published:
    """The result of ``publish``, which need not be awaited, because the message has been delivered
    already. ``growing``: a mailbox whose queue grows, or None. Meanwhile, all tasks that publish
    get the same object, and ``await`` lets the subscribers' tasks run, because many tasks may
    publish at the same time.
    """

    def __init__(self, growing: Mailbox | None) -> None:
        self.growing = growing
        if growing is not None:
            self._enough = max(growing.step, len(growing.messages) - MOST_TAKEN)

    def waits(self, most: int) -> Iterator[int]:
        """Iterate over the waits until the queue is shorter again, or nothing was taken from it
        during ``most`` waits in a row. Yield how many are left if nothing is taken.
        """
        fewest, left = inf, most
        while self.growing is not None and left:
            yield left
            growing = self.growing
            if growing is None or len(growing.messages) < self._enough:
                break
            waiting = len(growing.messages)
            left = most if waiting < fewest else left - 1
            fewest = min(fewest, waiting)
        self.growing = None

    def __await__(self) -> Generator[Any, Any, None]:
        if self.growing is not None:
            yield from self._wait().__await__()

    async def _wait(self) -> None:
        # shielded, because code that cleans up after a cancellation may publish
        with anyio.CancelScope(shield=True):
            for left in self.waits(TURNS + PAUSES):
                if left > PAUSES:
                    await anyio.lowlevel.cancel_shielded_checkpoint()
                else:
                    await anyio.sleep(PAUSE)


PUBLISHED = _Published(None)


class Channels:
    """Send one message to many subscribers within this process: across its threads and event loops,
    under ASGI and WSGI.

    ``RedisChannels`` does the same for several processes and machines.
    """

    def __init__(self) -> None:
        self.after_fork()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Start without subscribers, because after a fork the subscribers in memory belong to the
        parent.
        """
        # The lock is reentrant, because a signal handler may publish. It is held while mailboxes
        # are filled, so that all subscribers get messages in the same order. No code blocks while
        # it holds the lock.
        self._lock = threading.RLock()
        self._mailboxes: dict[str, dict[Mailbox, Subscription]] = {}
        self._published = PUBLISHED  # the last result of ``publish``

    def publish(self, channel: str, message: object) -> Awaitable[None]:
        """Send ``message``, any JSON value, to all subscribers of ``channel``.

        Write ``await channels.publish(...)`` in an ``async def``, ``channels.publish(...)`` in a
        ``def``. The message is sent at once; to send it after the commit of a database session, use
        ``request.after_response(channels.publish, ...)``. Raises ``CodecError`` if the message
        can't be encoded as JSON.
        """
        self.deliver(checked_name(channel), dumps(message))
        return self.give_time()

    def give_time(self) -> Awaitable[None]:
        """Give the subscribers some time if the queue of one has grown. A thread waits here, a task
        when it awaits the result.
        """
        published = self._published
        if published.growing is not None and not is_on_loop():
            for _ in published.waits(PAUSES):
                sleep(PAUSE)
        return published

    def subscribe(
        self,
        *channels: str,
        size: int = 100,
        when_full: WhenFull = "drop_oldest",
        label: str = "",
    ) -> Subscription:
        """Return a ``Subscription`` to the messages of ``channels`` from now on.

        - ``size``: how many messages may wait for this subscriber.
        - ``when_full``: what happens when more than ``size`` messages would wait.
          ``"drop_oldest"`` drops the oldest message, and ``dropped`` counts it. ``"close"`` ends
          the subscription: its loop gets the waiting messages, then raises ``MessagesLost``.
        - ``label``: a string that identifies the subscription in lists, such as the user's name.

        Raises ``ValueError`` for a ``size`` below 1, an invalid ``when_full``, and if no channel is
        given.
        """
        if not channels:
            raise ValueError("subscribe needs the name of at least one channel")
        if type(size) is not int or size < 1:
            raise ValueError(f"size must be 1 or more messages, not {size!r}")
        if when_full not in TypeInfo(WhenFull).arguments:
            raise ValueError(f'when_full must be "drop_oldest" or "close", not {when_full!r}')
        names = tuple(dict.fromkeys(map(checked_name, channels)))
        return Subscription(self, names, size, when_full, label)

    def close(self) -> None:
        """End every subscription in this process."""
        with self._lock:
            for joined in self._mailboxes.values():
                for mailbox in joined:
                    mailbox.end()

    def subscriptions(self) -> dict[str, list[Subscription]]:
        """Return the open subscriptions in this process by channel, the oldest first.

        for one in channels.subscriptions().get("room", []):
            one.close()
        """
        with self._lock:
            found = {
                name: [one for mailbox, one in joined.items() if not mailbox.has_ended]
                for name, joined in self._mailboxes.items()
            }
        return {name: joined for name, joined in found.items() if joined}

    def counts(self) -> tuple[int, int]:
        """Return how many channels have subscribers in this process, and how many subscribers there
        are.
        """
        found = self.subscriptions()
        return len(found), len({one for joined in found.values() for one in joined})

    # -- for subscriptions -------------------------------------------------------------------------

    def join(self, mailbox: Mailbox, subscription: Subscription) -> Future | None:
        """Start delivering messages to ``mailbox``, which belongs to ``subscription``.

        Return a future that is done when the subscription is active, or None if it is active
        already.
        """
        with self._lock:
            for name in subscription.channels:
                self._mailboxes.setdefault(name, {})[mailbox] = subscription
        return None

    def leave(self, mailbox: Mailbox, names: Sequence[str]) -> None:
        """Stop delivering messages to ``mailbox``."""
        with self._lock:
            for name in names:
                joined = self._mailboxes.get(name, {})
                joined.pop(mailbox, None)
                if not joined:
                    self._mailboxes.pop(name, None)

    def deliver(self, name: str, document: bytes | str) -> bool:
        """Deliver a message to all mailboxes of a channel. Return whether the queue of one is
        growing.
        """
        message, growing = Published(name, document), None
        with self._lock:
            for mailbox in list(self._mailboxes.get(name, ())):
                if mailbox.put(message):
                    growing = mailbox
        if growing is not None:
            self._published = _Published(growing)
        return growing is not None


def checked_name(name: str) -> str:
    """Return ``name`` if it is valid for a channel. Raises ``ValueError`` for "", for anything but
    text, and for text with a lone surrogate, which Redis can't express.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"a channel's name must be a str that is not empty, not {name!r}")
    name.encode()
    return name


class Subscription(Iterator[Any], AsyncIterator[Any]):
    """``async with channels.subscribe("room") as messages: async for message in messages: ...``

    In a ``def``, write the same without ``async``. A subscription begins and ends with the ``with``
    block. The loop over its messages also ends when the server shuts down. If the subscription is
    sent as an ``EventStream``, the loop ends when the client disconnects, too.

    - ``channel``: the channel of the last message, or None.
    - ``channels``: the names of its channels.
    - ``has_begun``: whether its ``with`` block was entered.
    - ``label``: the string passed to ``subscribe``.
    - ``dropped``: how many messages were dropped because too many were waiting, or because a
      message in Redis was not JSON.
    - ``gaps``: how often the connection to Redis was lost. Messages may have been lost each time.
    """

    def __init__(
        self, hub: Channels, names: tuple[str, ...], size: int, when_full: WhenFull, label: str
    ) -> None:
        self.channel: str | None = None
        self.channels = names
        self.label = label
        self._hub = hub
        self._mailbox = Mailbox(size, when_full)
        self.has_begun = False
        self._yields_text = False
        self._in_a_row = 0  # how many messages a task has taken in a row without waiting
        self._shutdown: Any = None  # the signal that ends the subscription
        self._waiter: TaskWaiter | None = None  # reused for a task's next wait

    @property
    def dropped(self) -> int:
        """The number of dropped messages."""
        return self._mailbox.dropped

    @property
    def gaps(self) -> int:
        """How often the connection to Redis was lost. Messages may have been lost each time."""
        return self._mailbox.gaps

    # -- beginning and end -------------------------------------------------------------------------

    def close(self) -> None:
        """End this subscription. The loop over its messages still gets the messages that are
        waiting, and then ends.

        Any thread and any task may call this. Further calls do nothing.
        """
        self._mailbox.end()

    def __enter__(self) -> Subscription:
        with self._begun() as joining:
            if joining is not None:
                joining.block()
        return self

    async def __aenter__(self) -> Subscription:
        with self._begun() as joining:
            if joining is not None:
                await joining
        return self

    def __exit__(self, *_: object) -> None:
        if self._shutdown is not None:
            self._shutdown.leave(self._mailbox.end)
        self._hub.leave(self._mailbox, self.channels)
        self._mailbox.end()

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    @contextmanager
    def _begun(self) -> Iterator[Future | None]:
        """Begin the subscription. Yield the future that the caller waits for, or None if there is
        nothing to wait for. If waiting fails, end the subscription.
        """
        if self.has_begun:
            raise RuntimeError("a subscription can be used only once: call subscribe() again")
        self.has_begun = True
        joining = self._hub.join(self._mailbox, self)
        self._shutdown = shutdown = current_shutdown()
        if shutdown is not None:
            shutdown.add(self._mailbox.end)
        try:
            yield joining
        except BaseException:
            self.__exit__()
            raise

    # -- messages ----------------------------------------------------------------------------------

    def __next__(self) -> Any:
        message = self.get(default=END)
        if message is END:
            raise StopIteration
        return message

    def get(self, timeout: float | None = None, default: object = None) -> Any:
        """Return the next message, or ``default`` if the subscription ends or ``timeout`` seconds
        pass.

        Use this in a ``def`` only.
        """
        self._check_begun()
        deadline = monotonic() + (threading.TIMEOUT_MAX if timeout is None else timeout)
        arrived = threading.Event()
        while (message := self._mailbox.take(arrived.set)) is None:
            try:
                refuse_on_loop()
                if not arrived.wait(deadline - monotonic()):
                    return default
            finally:
                self._mailbox.forget(arrived.set)
            arrived.clear()
        if message is END:
            return default
        self.channel = message.channel
        return message.value()

    async def __anext__(self) -> Any:
        self._check_begun()
        self._in_a_row += 1
        if self._in_a_row % BETWEEN_CHECKPOINTS == 0:
            # Let other tasks run before a message is taken: if this task is cancelled here, no
            # message is lost.
            await anyio.lowlevel.checkpoint()
        waiter, self._waiter = self._waiter or TaskWaiter(), None
        try:
            while (message := self._mailbox.take(waiter.wake)) is None:
                self._in_a_row = 0
                await waiter.wait()
        except BaseException:
            self._mailbox.forget(waiter.wake)
            raise
        finally:
            self._waiter = waiter
        if message is END:
            raise StopAsyncIteration
        self.channel = message.channel
        if self._yields_text:
            text = message.text()
            return text if text != "null" else message.value()
        return message.value()

    def texts(self) -> Self:
        """Return this subscription. From now on, its async loop yields strings as they are, None
        for null, and any other message as JSON. This text is made once for all subscribers.
        """
        self._yields_text = True
        return self

    def notify(self, call: Callable[[], object] | None) -> None:
        """From now on, call ``call`` at each message and at the end, in any thread. It must not
        block. None: call nothing.
        """
        self._mailbox.listener = call

    def take_text(self) -> str | None:
        """Return the next message as text: a string as it is, any other value as JSON. Return None
        if no message is waiting. Raises ``StopAsyncIteration`` after the last one.
        """
        mailbox = self._mailbox
        # Look first without the lock and without a call, because mostly no second message waits.
        message = mailbox.take(None) if mailbox.messages or mailbox.has_ended else None
        if message is None:
            return None
        if message is END:
            raise StopAsyncIteration
        self.channel = message.channel
        return message.text()

    def _check_begun(self) -> None:
        if not self.has_begun:
            raise RuntimeError(
                "use a subscription as a context manager: with channels.subscribe(...) or "
                "async with channels.subscribe(...)"
            )
