"""Messages of one request for two readers: a handler that reads the body while it streams its answer, and the
watcher that waits for ``http.disconnect``. ``receive`` itself must never be called twice at a time.
"""

from __future__ import annotations

from anyio import Event, Lock

from micropie.http.types import Message, Receive


class SharedReceive:
    """Takes over ``receive``. The watcher is one piece of the body ahead at most; it drains nothing.

    ``in_flight`` is set when a call of ``receive`` that has begun before has ended; None if there is none.
    """

    def __init__(self, receive: Receive, in_flight: Event | None) -> None:
        self._receive = receive
        self._in_flight = in_flight
        self._lock = Lock()
        self._kept: list[Message] = []
        self._taken = Event()

    async def next(self) -> Message:
        """The next message, for the reader of the body."""
        if not self._kept:
            async with self._lock:
                if not self._kept:
                    return await self._receive()
        self._taken.set()
        return self._kept.pop(0)

    async def disconnected(self) -> None:
        """Return when the client has left. Messages that come before that are kept for the reader."""
        if self._in_flight is not None:
            await self._in_flight.wait()
        while True:
            async with self._lock:
                message = await self._receive()
                self._kept.append(message)
                self._taken = taken = Event()
            if message["type"] == "http.disconnect":
                return
            if message.get("more_body", False):
                await taken.wait()
