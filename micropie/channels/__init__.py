"""Channels: one message to many, across threads, event loops, workers and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.channels.hub import Channels, Subscription
from micropie.channels.mailbox import MessagesLost
from micropie.channels.waiting import ChannelsUnreachable
from micropie.lazily import lazily

if TYPE_CHECKING:
    from micropie.channels.redis import RedisChannels

__all__ = ["Channels", "ChannelsUnreachable", "MessagesLost", "RedisChannels", "Subscription"]

# An optional dependency may be missing, or take longer to import than all of micropie.
__getattr__ = lazily(__name__, {"RedisChannels": "redis"})
