"""What a protocol may show differently: streams that fail, are left, or nobody reads, and large
bodies.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator

import anyio

from micropie import App, EventStream, max_body_size

ENDED = "the application of both protocols has ended"


class Protocols(App):
    """``/`` returns the number of streams that were closed."""

    def __init__(self) -> None:
        super().__init__(max_body_size=64 * 1024 * 1024)
        self.closed = 0

    def index(self) -> str:
        return str(self.closed)

    def headers(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.request.headers.items() if name[0] == "x"]

    def page(self) -> str:
        return "a page"

    def lines(self) -> Iterator[str]:
        yield "one\n"
        yield "two\n"

    def failing(self) -> Iterator[str]:
        yield "one\n"
        raise RuntimeError("of the second line")

    async def failing_async(self) -> AsyncIterator[str]:
        yield "one\n"
        raise RuntimeError("of the second line")

    async def failing_events(self) -> EventStream:
        return EventStream(self._failing_events())

    async def _failing_events(self) -> AsyncIterator[str]:
        yield "one"
        raise RuntimeError("of the second event")

    async def endless(self) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 4096
                await anyio.sleep(0.01)
        finally:
            self.closed += 1

    async def measure(self) -> str:
        return str(sum([len(chunk) async for chunk in self.request.stream()]))

    def refuse(self) -> tuple[int, str]:
        return 403, "no"

    @max_body_size(1000)
    def small(self) -> str:
        return str(len(self.request.read()))


def report() -> None:
    sys.stderr.write(f"{ENDED}\n")


app = Protocols()
app.shutdown_handlers.append(report)
