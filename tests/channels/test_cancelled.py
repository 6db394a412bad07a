"""A subscription of redis-py's own that a time limit or a leaving client cancels: at each of its
steps, the release included.
"""

from __future__ import annotations

import anyio
import pytest
import redis.asyncio

from tests.asgi.calls import run

pytestmark = pytest.mark.processes


def test_a_redis_pool_survives_cancelled_subscriptions(redis_url: str) -> None:
    """The extra ``redis`` requires the first release of which that is true."""

    async def subscribe() -> bool:
        pool = redis.asyncio.ConnectionPool.from_url(redis_url, max_connections=1)
        async with redis.asyncio.Redis.from_pool(pool) as client:
            for _ in range(3):
                with anyio.CancelScope() as scope:
                    async with client.pubsub() as subscription:
                        await subscription.subscribe("cancelled")
                        async for _message in subscription.listen():
                            scope.cancel()
                assert scope.cancelled_caught
            return bool(await client.ping())

    assert run("asyncio", subscribe)
