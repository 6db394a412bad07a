"""micropie with each of its session backends.

Their resources are made here and end with the process.
"""

from __future__ import annotations

import atexit
import contextlib
import tempfile
from functools import cache
from pathlib import Path

from benchmarks.harness import AsgiApp, WsgiApp
from benchmarks.redis_server import redis_server
from micropie import App
from micropie.sessions import (
    InMemorySessionBackend,
    RedisSessionBackend,
    SessionBackend,
    SignedCookieSessionBackend,
    SQLiteSessionBackend,
)


class Root(App):
    async def plain(self) -> str:
        return "Hello, World!"

    async def login(self) -> str:
        self.request.session["user"] = "Alice"
        return "Welcome"

    async def session(self) -> str:
        user: str = self.request.session["user"]
        return user

    async def count(self) -> str:
        session = self.request.session
        session["count"] = count = session.get("count", 0) + 1
        return str(count)


class SyncRoot(App):
    def plain(self) -> str:
        return "Hello, World!"

    def login(self) -> str:
        self.request.session["user"] = "Alice"
        return "Welcome"

    def session(self) -> str:
        user: str = self.request.session["user"]
        return user

    def count(self) -> str:
        session = self.request.session
        session["count"] = count = session.get("count", 0) + 1
        return str(count)


@cache
def _directory() -> Path:
    directory = tempfile.TemporaryDirectory()
    atexit.register(directory.cleanup)
    return Path(directory.name)


@cache
def _redis_url() -> str:
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(redis_server(_directory()))


def _sqlite(name: str) -> SessionBackend:
    backend = SQLiteSessionBackend(_directory() / name)
    atexit.register(backend.close)
    return backend


def _redis() -> SessionBackend:
    import redis  # so that a missing package is said to be missing

    assert redis
    backend = RedisSessionBackend(_redis_url())
    atexit.register(backend.close)
    return backend


def make_memory_asgi() -> AsgiApp:
    return Root(InMemorySessionBackend())


def make_cookie_asgi() -> AsgiApp:
    return Root(SignedCookieSessionBackend("a secret of 32 bytes, or a bit more"))


def make_sqlite_asgi() -> AsgiApp:
    return Root(_sqlite("asgi.db"))


def make_redis_asgi() -> AsgiApp:
    return Root(_redis())


def make_memory_wsgi() -> WsgiApp:
    return SyncRoot(InMemorySessionBackend())


def make_cookie_wsgi() -> WsgiApp:
    return SyncRoot(SignedCookieSessionBackend("a secret of 32 bytes, or a bit more"))


def make_sqlite_wsgi() -> WsgiApp:
    return SyncRoot(_sqlite("wsgi.db"))


def make_redis_wsgi() -> WsgiApp:
    return SyncRoot(_redis())
