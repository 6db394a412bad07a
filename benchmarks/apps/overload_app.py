"""What ``benchmarks.overload`` serves: requests that need the processor and wait, as for a
database.
"""

from __future__ import annotations

import time

import anyio

from micropie import App
from micropie.middleware import LoadShedding

BUSY = 0.005  # seconds of processor
WAITS = 0.02


def compute() -> None:
    """Need the processor, however many threads want it."""
    until = time.thread_time() + BUSY
    while time.thread_time() < until:
        pass


class Async(App):
    async def work(self) -> str:
        compute()
        await anyio.sleep(WAITS)
        return "done"


class Def(App):
    def work(self) -> str:
        compute()
        time.sleep(WAITS)
        return "done"


plain_async, shedding_async, plain_def, shedding_def = Async(), Async(), Def(), Def()
for app in (shedding_async, shedding_def):
    app.middlewares.append(LoadShedding())
