"""Channels in one process: the subscribers of each channel, and the delivery of messages to them.

Each subscriber has a mailbox and decodes its own copy of a message from JSON. So a subscriber can't change the message
of another one, and messages are the same within a process and between processes. Any thread may publish; nothing here
waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from threading import RLock
from typing import get_args

from micropie.channels.mailbox import Mailbox, WhenFull
from micropie.channels.subscription import Subscription
from micropie.channels.waiting import Future
from micropie.errors import is_count
from micropie.execution.fork import notify_after_fork
from micropie.execution.outcomes import Completed
from micropie.http.json import dumps


class Channels:
    """One message to many, within this process: across its threads and event loops, ASGI's and WSGI's.

    ``RedisChannels`` is the same for several processes and machines.
    """

    def __init__(self) -> None:
        self.after_fork()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Begin without subscribers: those that a forked child knows of are its parent's."""
        # Reentrant, as a signal's handler may publish. Held while mailboxes are filled, so that all subscribers see
        # messages in one order; nothing waits meanwhile.
        self._lock = RLock()
        self._mailboxes: dict[str, dict[Mailbox, None]] = {}

    def publish(self, channel: str, message: object) -> Awaitable[None]:
        """Send ``message``, any JSON value, to all subscribers of ``channel``.

        ``await channels.publish(...)`` in an ``async def``, ``channels.publish(...)`` in a ``def``. Raises
        ``CodecError`` if JSON can't represent the message.
        """
        self.deliver(checked_name(channel), dumps(message))
        return Completed(None)

    def subscribe(self, *channels: str, size: int = 100, when_full: WhenFull = "drop_oldest") -> Subscription:
        """Return a ``Subscription`` to the messages of ``channels`` from now on.

        ``size``: how many messages may wait for this subscriber. One more drops the oldest, which ``dropped`` counts.
        With ``when_full="close"`` it ends the subscription instead: ``MessagesLost`` is raised after those that wait.
        """
        if not channels:
            raise ValueError("subscribe takes the names of channels")
        if not is_count(size, least=1):
            raise ValueError(f"size is how many messages may wait, 1 or more, not {size!r}")
        if when_full not in get_args(WhenFull):
            raise ValueError(f'when_full is "drop_oldest" or "close", not {when_full!r}')
        return Subscription(self, [checked_name(name) for name in dict.fromkeys(channels)], size, when_full)

    def close(self) -> None:
        """End every subscription in this process."""
        with self._lock:
            mailboxes = {mailbox for joined in self._mailboxes.values() for mailbox in joined}
        for mailbox in mailboxes:
            mailbox.end()

    # -- for subscriptions ---------------------------------------------------------------------------------------------

    def join(self, mailbox: Mailbox, names: Sequence[str]) -> Future | None:
        """Put messages into ``mailbox`` from now on. Return a future to wait for before they come, or None."""
        with self._lock:
            for name in names:
                self._mailboxes.setdefault(name, {})[mailbox] = None
        return None

    def leave(self, mailbox: Mailbox, names: Sequence[str]) -> None:
        """Put no further messages into ``mailbox``."""
        with self._lock:
            for name in names:
                joined = self._mailboxes.get(name, {})
                joined.pop(mailbox, None)
                if not joined:
                    self._mailboxes.pop(name, None)

    def deliver(self, name: str, message: bytes | str) -> None:
        """Put a message into the mailboxes of a channel."""
        with self._lock:
            for mailbox in list(self._mailboxes.get(name, ())):
                mailbox.put((name, message))


def checked_name(name: str) -> str:
    """Return ``name``, a channel's. Raises ``ValueError`` for anything but text, and for ""."""
    if not isinstance(name, str) or not name:
        raise ValueError(f"a channel's name is text, not {name!r}")
    return name
