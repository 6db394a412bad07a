"""Channels: one message to many, across threads, event loops, workers and machines.

Open ``hub.py`` to change publishing and subscribing in one process, ``mailbox.py`` for how messages
wait for their subscriber, and ``redis.py`` for channels across processes.

A subscriber has a mailbox of bounded size. A publisher fills it under a lock without waiting; the
subscriber waits. A mailbox wakes a thread by ``threading.Event`` and a task by its loop's
``ThreadsafeWaker``, which notifies the loop once for however many tasks it wakes. With Redis, two
threads own a connection each. When the connection is lost, every mailbox is notified.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from micropie.channels.hub import Channels, Subscription
from micropie.channels.mailbox import ChannelsUnreachable, MessagesLost

if TYPE_CHECKING:
    from micropie.channels.redis import RedisChannels

__all__ = ["Channels", "ChannelsUnreachable", "MessagesLost", "RedisChannels", "Subscription"]


# redis-py may be missing, and takes longer to import than all of micropie.
def __getattr__(name: str) -> Any:
    if name != "RedisChannels":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("micropie.channels.redis").RedisChannels
