"""The README's first application, with a form, a stream, a WebSocket and a line at its shutdown.

The page is the README's own block, so the servers run what a reader copies.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from micropie import WebSocket, post

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.search(r"^```python\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
assert BLOCK is not None, "the README begins with a block of Python"

module: dict[str, Any] = {"__name__": "hello"}
exec(compile(BLOCK[1], str(README), "exec"), module)

Root: Any = module["Root"]
ENDED = "the smoke test's application has ended"


class Smoke(Root):  # type: ignore[misc]  # a class of the README, which mypy doesn't read
    @post
    def order(self, pie: str, count: int = 1) -> str:
        return f"{count} {pie}"

    def slices(self, count: int) -> Iterator[str]:
        for number in range(count):
            yield f"slice {number}\n"

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(f"echo {message!r}")


def report() -> None:
    sys.stderr.write(f"{ENDED}\n")


app = Smoke()
app.shutdown_handlers.append(report)
