"""One request's messages for two readers: the handler, which may read the body while it streams its answer, and the
watcher, which waits for ``http.disconnect``. The server's ``receive`` must never be called twice at a time.
"""

from __future__ import annotations

from anyio import Event, Lock

from micropie.http.types import Message, Receive


class SharedReceive:
    """Takes over ``receive``. The watcher is at most one piece of the body ahead, so the client still has to wait.

    ``in_flight`` is an event that is set when a pending call of ``receive`` returns; None if there is no such call.
    """

    def __init__(self, receive: Receive, in_flight: Event | None) -> None:
        self._receive = receive
        self._in_flight = in_flight
        self._lock = Lock()
        self._messages: list[Message] = []
        self._taken = Event()

    async def next(self) -> Message:
        """Return the next message. For the reader of the body."""
        if not self._messages:
            async with self._lock:
                if not self._messages:
                    return await self._receive()
        self._taken.set()
        return self._messages.pop(0)

    async def disconnected(self) -> None:
        """Return when the client has left. Messages that come before that are left for the reader."""
        if self._in_flight is not None:
            await self._in_flight.wait()
        while True:
            async with self._lock:
                message = await self._receive()
                self._messages.append(message)
                self._taken = taken = Event()
            if message["type"] == "http.disconnect":
                return
            if message.get("more_body", False):
                await taken.wait()
