"""Channels: one message to many, across threads, event loops, workers and machines.

A subscriber has a mailbox of bounded size. A publisher fills it under a lock without waiting; the
subscriber waits. A mailbox wakes a thread by ``threading.Event`` and a task by its loop's
``ThreadsafeWaker``, which tells the loop once for however many tasks it wakes. With Redis, two
threads own a connection each. When the connection is lost, every mailbox learns of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.channels.hub import Channels, Subscription
from micropie.channels.mailbox import ChannelsUnreachable, MessagesLost
from micropie.on_demand import names_on_demand

if TYPE_CHECKING:
    from micropie.channels.redis import RedisChannels

__all__ = ["Channels", "ChannelsUnreachable", "MessagesLost", "RedisChannels", "Subscription"]

# An optional dependency may be missing, or take longer to import than all of micropie.
__getattr__ = names_on_demand(__name__, {"redis": "RedisChannels"})
