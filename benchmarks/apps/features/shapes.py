"""micropie's handlers in every shape, for the three ways to run them: async, sync, sync on the
event loop itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from benchmarks.cases import SHAPE_CASES
from micropie import App, Response, run_in

HELLO = "Hello, World!"


class Async(App):
    async def text(self) -> str:
        return HELLO

    async def bytes(self) -> Any:
        return b"Hello, World!"

    async def tuple(self) -> Any:
        return 200, HELLO

    async def response_(self) -> Response:
        return Response(HELLO)

    async def dict(self) -> Any:
        return {"message": HELLO}

    async def list(self) -> Any:
        return [HELLO]

    async def yielded_text(self) -> AsyncIterator[str]:
        yield HELLO

    async def yielded_bytes(self) -> AsyncIterator[Any]:
        yield b"Hello, World!"


class Sync(App):
    def text(self) -> str:
        return HELLO

    def bytes(self) -> Any:
        return b"Hello, World!"

    def tuple(self) -> Any:
        return 200, HELLO

    def response_(self) -> Response:
        return Response(HELLO)

    def dict(self) -> Any:
        return {"message": HELLO}

    def list(self) -> Any:
        return [HELLO]

    def yielded_text(self) -> Iterator[str]:
        yield HELLO

    def yielded_bytes(self) -> Iterator[Any]:
        yield b"Hello, World!"


class Inline(App):
    @run_in("loop")
    def text(self) -> str:
        return HELLO

    @run_in("loop")
    def bytes(self) -> Any:
        return b"Hello, World!"

    @run_in("loop")
    def tuple(self) -> Any:
        return 200, HELLO

    @run_in("loop")
    def response_(self) -> Response:
        return Response(HELLO)

    @run_in("loop")
    def dict(self) -> Any:
        return {"message": HELLO}

    @run_in("loop")
    def list(self) -> Any:
        return [HELLO]


def make_inline() -> Mapping[str, App]:
    """Return an application for the shapes that can run on the loop.

    A sync generator always runs in a thread.
    """
    return dict.fromkeys(
        [case.name for case in SHAPE_CASES if not case.name.startswith("yielded")], Inline()
    )
