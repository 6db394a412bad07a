"""How long one message takes to reach 500 subscribers, and whether a blocked subscriber delays the
others.

    python -m benchmarks.channels            # in memory, and through a redis-server that it starts

Subscribers are tasks on one asyncio loop, as streams and WebSockets are. The time runs from the
call of `publish` until the last listening subscriber has the message. A blocked subscriber has read
nothing since it subscribed: its mailbox is full, so each new message drops an old one.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from benchmarks.redis_server import redis_server
from micropie.channels import Channels, RedisChannels


class Crowd:
    """Subscribers that count their messages."""

    def __init__(self, size: int) -> None:
        self.missing = 0
        self.all_have_it = asyncio.Event()
        self.to_join = size
        self.all_have_joined = asyncio.Event()

    async def listen(self, channels: Channels) -> None:
        async with channels.subscribe("room") as messages:
            self.to_join -= 1
            if not self.to_join:
                self.all_have_joined.set()
            async for _ in messages:
                self.missing -= 1
                if not self.missing:
                    self.all_have_it.set()


async def measure(channels: Channels, size: int, messages: int, *, blocked: bool) -> list[float]:
    """Return, for each of so many messages, the seconds until its last delivery."""
    crowd = Crowd(size)
    tasks = [asyncio.create_task(crowd.listen(channels)) for _ in range(size)]
    await crowd.all_have_joined.wait()
    seconds = []
    async with AsyncExitStack() as stack:
        if blocked:
            await stack.enter_async_context(channels.subscribe("room", size=1))
        for number in range(messages):
            crowd.missing, crowd.all_have_it = size, asyncio.Event()
            began = time.perf_counter()
            await channels.publish("room", {"number": number, "text": "x" * 100})
            await crowd.all_have_it.wait()
            seconds.append(time.perf_counter() - began)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seconds


def report(name: str, channels: Channels, size: int, messages: int) -> None:
    # Three rounds of each in turn, so that noise affects both.
    free: list[float] = []
    blocked: list[float] = []
    for _ in range(3):
        free += asyncio.run(measure(channels, size, messages, blocked=False))
        blocked += asyncio.run(measure(channels, size, messages, blocked=True))
    for label, seconds in (("all listen", free), ("one more, blocked", blocked)):
        worst = statistics.quantiles(seconds, n=20)[-1]
        print(
            f"{name:8} {size} subscribers, {label:18} last delivery after "
            f"{statistics.median(seconds) * 1000:6.2f} ms "
            f"(median of {len(seconds)}; 95th percentile {worst * 1000:.2f} ms)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=500)
    parser.add_argument("--messages", type=int, default=100)
    options = parser.parse_args()
    report("memory", Channels(), options.subscribers, options.messages)
    with tempfile.TemporaryDirectory() as directory, redis_server(Path(directory)) as url:
        channels = RedisChannels(url)
        report("redis", channels, options.subscribers, options.messages)
        channels.close()


if __name__ == "__main__":
    main()
