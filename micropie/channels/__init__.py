"""Channels: send one message to many subscribers, across threads, event loops, workers and
machines.

Open ``hub.py`` to change publishing and subscribing in one process, ``mailbox.py`` for the queue of
each subscriber, and ``redis.py`` for channels across processes.

Each subscriber has a mailbox of limited size. A publisher puts messages into it under a lock
without waiting; only the subscriber waits. A mailbox wakes a waiting thread with a
``threading.Event``. It wakes a waiting task with the ``LoopTasks`` of the task's loop, which wakes
the loop once for any number of tasks. With Redis, there are two threads in each process, one
to publish and one to listen, each with its own connection. When the listener's connection is lost,
every mailbox records that messages may be missing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from micropie.channels.hub import Channels, Subscription
from micropie.channels.mailbox import ChannelsUnreachable, MessagesLost

if TYPE_CHECKING:
    from micropie.channels.redis import RedisChannels

__all__ = [
    "Channels",
    "ChannelsUnreachable",
    "MessagesLost",
    "RedisChannels",
    "Subscription",
]


# Import ``RedisChannels`` on first use, because redis-py may not be installed, and takes longer to
# import than all of micropie.
def __getattr__(name: str) -> Any:
    if name != "RedisChannels":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("micropie.channels.redis").RedisChannels
