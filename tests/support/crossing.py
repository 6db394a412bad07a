"""An application whose handlers in the pool take and return what is more than one value."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from micropie import (
    App,
    EventStream,
    HTTPError,
    Response,
    UploadFile,
    check_cancelled,
    event,
    post,
    reads_body,
    run_in,
)


class Crossing(App):
    @run_in("process")
    def csv(self, count: int) -> Response:
        rows = (f"{number}\n" for number in range(count))
        return Response(rows, 201, {"X-Colour": "red"}, "text/csv")

    @run_in("process")
    def accepted(self, fails: bool = False) -> Any:
        return 202, self._words(fails), {"X-Colour": "green"}

    def _words(self, fails: bool) -> Iterator[str]:
        if fails:
            raise HTTPError(404, "no words")
        yield "one "
        yield "two"

    @run_in("process")
    def unknown_status(self) -> Any:
        return 999, iter("abc")

    @run_in("process")
    def ticks(self, count: int) -> EventStream:
        return EventStream(self._ticks(count), headers={"X-Colour": "blue"})

    def _ticks(self, count: int) -> Iterator[Any]:
        for number in range(count):
            yield event({"number": number}, event="tick")
        yield "done"

    @run_in("process")
    def mapped(self) -> EventStream:
        return EventStream([1, 2, 3], map=lambda number: None if number == 2 else number * 10)

    @run_in("process")
    def silent(self, begun: str) -> EventStream:
        return EventStream(self._silent(begun))

    def _silent(self, begun: str) -> Iterator[str]:
        try:
            yield "first"
            Path(begun).touch()
            while True:
                time.sleep(0.01)
                check_cancelled()
        finally:
            Path(begun + ".closed").touch()

    @run_in("process")
    def async_events(self) -> EventStream:
        async def numbers() -> AsyncIterator[int]:
            yield 1

        return EventStream(numbers())

    @post
    @run_in("process")
    def upload(self, thing: UploadFile) -> Any:
        data = thing.read()
        return [thing.filename, thing.content_type, thing.size, len(data), data[-5:].decode()]

    @post
    @run_in("process")
    def all_files(self, thing: UploadFile) -> Any:
        found = {name: file.size for name, file in self.request.files.items()}
        return [found, self.request.files["thing"] is thing]

    @post
    @run_in("process")
    @reads_body
    def raw(self) -> Any:
        body = self.request.read()
        return [type(body).__name__, len(body), body[-5:].decode()]
