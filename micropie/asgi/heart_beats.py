"""Heart-beats of an event stream, sent while the request's task waits in the source for the next event.

That task can't stop waiting: it is inside of the source, whose scopes belong to it (``execution/scoped.py``). So
another task sends them; streams that are soon over have none. The two tasks never send at the same time.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from anyio import CancelScope, Event, sleep

from micropie.execution.scoped import ScopedIterator
from micropie.execution.wake import DEADLINES
from micropie.http.sse import HEART_BEAT
from micropie.http.types import Message

if TYPE_CHECKING:
    from micropie.asgi.request import ASGIRequest

logger = logging.getLogger("micropie")


class HeartBeats:
    """Sends a comment after each ``seconds`` of silence: ``run`` is the task. ``source`` is cancelled if that fails.

    Silence begins with ``resume`` and when ``send`` returns; ``pause`` and ``send`` end it. ``has_started``: whether
    the task was started.
    """

    __slots__ = (
        "_is_over",
        "_is_paused",
        "_request",
        "_scope",
        "_seconds",
        "_sent",
        "_silent_since",
        "_source",
        "_time",
        "has_started",
    )

    def __init__(self, seconds: float, request: ASGIRequest, source: ScopedIterator) -> None:
        self._seconds = seconds
        self._request = request
        self._source = source
        self._time = DEADLINES.get().time
        self._silent_since = self._time()
        self._is_paused = self._is_over = self.has_started = False
        self._sent: Event | None = None  # of the heart-beat that is being sent
        self._scope: CancelScope | None = None  # of the task, once it runs

    async def send(self, message: Message) -> None:
        """Send one of the stream's own messages."""
        send = self._request._send
        assert send is not None  # noqa: S101
        self._is_paused = True
        if self._sent is not None:
            await self._sent.wait()
        await send(message)
        self.resume()

    async def pause(self) -> None:
        """Send none until ``resume``. Return when none is being sent."""
        self._is_paused = True
        if self._sent is not None:
            await self._sent.wait()

    def resume(self) -> None:
        """Silence begins."""
        self._silent_since = self._time()
        self._is_paused = False

    def stop(self) -> None:
        """Send none any more."""
        self._is_over = True
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        """Send heart-beats until ``stop``."""
        self.has_started = True
        if self._is_over:
            return
        with CancelScope() as self._scope:
            while not self._is_over:
                pause = self._seconds if self._is_paused else self._silent_since + self._seconds - self._time()
                if pause > 0:
                    await sleep(pause)
                else:
                    await self._send_one()

    async def _send_one(self) -> None:
        send = self._request._send
        assert send is not None  # noqa: S101
        self._sent = sent = Event()
        try:
            await send({"type": "http.response.body", "body": HEART_BEAT, "more_body": True})
        except Exception as error:  # not raised: other requests' tasks run in the same task group
            logger.debug("%s: a heart-beat could not be sent: %r", self._request.label, error)
            self._is_over = True
            self._source.cancel()
        finally:
            self._sent, self._silent_since = None, self._time()
            sent.set()
