"""The messages of chat rooms, stored in Redis streams."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

KEPT = 10_000  # about how many messages of a room are stored
REMEMBERED = 24 * 3600  # for how many seconds a message that is sent again is recognised
TIMEOUT = 5.0  # after how many seconds without a response Redis counts as unavailable

# KEYS: the keys of the room's stream and of this message's id. ARGV: the message's key and text,
# KEPT, REMEMBERED.
_STORE = """
local id = redis.call('GET', KEYS[2])
if not id then
    id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'key', ARGV[1], 'text', ARGV[2])
    redis.call('SET', KEYS[2], id, 'EX', ARGV[4])
end
return id
"""


class History:
    """The stored messages. All methods block, and raise ``ConnectionError`` if Redis is
    unavailable.
    """

    def __init__(self, url: str) -> None:
        # No retries: if ``store`` fails, the client sends the message again.
        self._redis: Any = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def store(self, room: str, key: str, text: str) -> str:
        """Store a message unless it was stored before. Return its id; later messages have greater
        ids.
        """
        keys = (f"room:{{{room}}}", f"said:{{{room}}}:{key}")
        try:
            return str(self._redis.eval(_STORE, 2, *keys, key, text, KEPT, REMEMBERED))
        except redis.RedisError as error:
            raise ConnectionError(f"the history is unavailable: {error}") from error

    def read(self, room: str, after: str) -> list[dict[str, str]]:
        """Return the messages after the one with the id ``after``, or all stored messages for
        "0".
        """
        try:
            found = self._redis.xrange(f"room:{{{room}}}", f"({after}", "+")
        except redis.RedisError as error:
            raise ConnectionError(f"the history is unavailable: {error}") from error
        return [{"id": number, **fields} for number, fields in found]
