"""micropie: `Root` with async handlers, `SyncRoot` with the same ones as `def`.

Both classes are applications for both protocols. The report measures `Root` under ASGI and, through
the portal, under WSGI, and `SyncRoot` under WSGI.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from benchmarks.cases import CHUNK, CHUNK_COUNT
from benchmarks.harness import AsgiApp, WsgiApp
from micropie import App, UploadFile


class Root(App):
    async def plain(self) -> str:
        return "Hello, World!"

    async def json(self) -> dict[str, str]:
        return {"message": "Hello, World!"}

    async def greet(self, name: str) -> str:
        return f"Hello {name}"

    async def query(self, name: str) -> str:
        return f"Hello {name}"

    async def form(self, name: str, city: str) -> str:
        return f"{name} from {city}"

    async def submit(self, name: Any, age: Any) -> dict[str, Any]:
        return {"name": name, "age": age}

    async def upload(self, name: str, city: str, file: UploadFile) -> str:
        return f"{name} from {city} sent {len(file.read())} bytes"

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(CHUNK_COUNT):
            yield CHUNK


class SyncRoot(App):
    def plain(self) -> str:
        return "Hello, World!"

    def json(self) -> dict[str, str]:
        return {"message": "Hello, World!"}

    def greet(self, name: str) -> str:
        return f"Hello {name}"

    def query(self, name: str) -> str:
        return f"Hello {name}"

    def form(self, name: str, city: str) -> str:
        return f"{name} from {city}"

    def submit(self, name: Any, age: Any) -> dict[str, Any]:
        return {"name": name, "age": age}

    def upload(self, name: str, city: str, file: UploadFile) -> str:
        return f"{name} from {city} sent {len(file.read())} bytes"

    def stream(self) -> Iterator[bytes]:
        for _ in range(CHUNK_COUNT):
            yield CHUNK


def make_asgi() -> AsgiApp:
    return Root()


def make_wsgi() -> WsgiApp:
    return SyncRoot()


def make_async_wsgi() -> WsgiApp:
    return Root()
