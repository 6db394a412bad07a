"""An application for gunicorn's gevent worker: `def` code of all kinds, and async code."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from micropie import App, EventStream, Request, run_async, template
from micropie.sessions import InMemorySessionBackend

TOGETHER = 8


class Connection:
    """What a provider gives."""


class Site(App):
    session_backend = InMemorySessionBackend()

    def __init__(self) -> None:
        super().__init__(security=False)
        self.middlewares.append(self._around)
        self.provides(Connection)(self._connection)
        self._barrier = threading.Barrier(TOGETHER)
        self._after: list[str] = []

    def _around(self, request: Request) -> Iterator[None]:
        yield
        self.response.headers["X-Around"] = request.path

    def _connection(self) -> Iterator[Connection]:
        self._after.append("opened")
        yield Connection()
        self._after.append("closed")

    def index(self) -> str:
        return "index"

    def together(self) -> str:
        return str(self._barrier.wait(60) < TOGETHER)

    def provided(self, connection: Connection) -> str:
        return type(connection).__name__

    def chunks(self, connection: Connection) -> Iterator[str]:
        for number in range(3):
            yield f"{number} "

    def visits(self) -> Any:
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        return template(source="{{ n }}", n=self.request.session["n"])

    def later(self) -> str:
        self.request.after_response(self._later)
        return "later"

    def _later(self) -> None:
        self.request.after_response(self._after.append, "after")

    def seen(self) -> Any:
        return self._after

    async def waits(self) -> str:
        return "waits"

    async def achunks(self) -> AsyncIterator[str]:
        yield "chunk"

    def calls(self) -> str:
        return run_async(self.waits)

    def events(self) -> Any:
        return EventStream(iter(["event"]))

    def subscribes(self) -> str:
        with self.channels.subscribe("room") as messages:
            self.channels.publish("room", "message")
            return str(messages.get(timeout=0.01, default="nothing"))


app = Site()
