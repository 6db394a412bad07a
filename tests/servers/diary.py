"""An application that writes a line for each event, with its process and thread, to the file that
``DIARY`` names.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from micropie import App


def note(event: str) -> None:
    # One write of one short line to a file that is open for appending: those of several processes
    # don't mix.
    with Path(os.environ["DIARY"]).open("a") as diary:
        diary.write(f"{os.getpid()} {event}\n")


class Diary(App):
    def __init__(self) -> None:
        super().__init__()
        self.startup_handlers += [self._started, self._started_async]
        self.shutdown_handlers += [self._stopped, self._stopped_async]
        self.lifespan = self._lifespan

    def _started(self) -> None:
        note("startup")

    def _stopped(self) -> None:
        note("shutdown")

    async def _started_async(self) -> None:
        note("async_startup")

    async def _stopped_async(self) -> None:
        note("async_shutdown")

    @asynccontextmanager
    async def _lifespan(self) -> AsyncIterator[None]:
        note("enter")
        yield
        note("leave")

    def index(self) -> str:
        note("request")
        return str(os.getpid())

    async def later(self) -> str:
        note("request")
        return str(os.getpid())


class Broken(App):
    def __init__(self) -> None:
        super().__init__()
        self.startup_handlers += [lambda: note("startup"), self._fail]
        self.shutdown_handlers.append(lambda: note("shutdown"))

    async def _fail(self) -> None:
        note("failing")
        raise ConnectionError("the database is not there")

    def index(self) -> str:
        note("request")
        return "never"


note("import")
app = Diary()
broken_app = Broken()
