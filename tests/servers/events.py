"""An application with streams of events, for the servers of ``test_events.py``."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator

import anyio

from micropie import App, EventStream, event


class Events(App):
    """``/`` returns the number of streams that were closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0

    def index(self) -> str:
        return str(self.closed)

    async def ticks(self) -> EventStream:
        return EventStream(self._ticks(int(self.request.last_event_id or 0)), heartbeat=0.2)

    async def _ticks(self, number: int) -> AsyncIterator[object]:
        try:
            while True:
                number += 1
                yield event({"n": number}, event="tick", id=number)
                await anyio.sleep(0.05)
        finally:
            self.closed += 1

    async def silent(self) -> EventStream:
        return EventStream(self._silent(), heartbeat=0.2)

    async def _silent(self) -> AsyncIterator[str]:
        try:
            await anyio.sleep_forever()
            yield "never"
        finally:
            self.closed += 1

    def sync(self) -> EventStream:
        return EventStream(self._sync(), heartbeat=0.2)

    def _sync(self) -> Iterator[str]:
        try:
            while True:
                yield "a\nb"
                time.sleep(0.5)
        finally:
            self.closed += 1


app = Events()
