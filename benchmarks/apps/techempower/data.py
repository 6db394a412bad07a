"""The queries of TechEmpower's shapes, on SQLite or PostgreSQL: ``DATABASE`` is a path or a URL.

SQLite is called directly, also on the event loop, as a query takes some microseconds. PostgreSQL
has a pool of connections: the functions with an ``a`` await it, under ASGI.
"""

from __future__ import annotations

import atexit
import os
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

DATABASE = os.environ.get("TECHEMPOWER_DATABASE", "")
IS_POSTGRES = DATABASE.startswith("postgresql:")
TEMPLATES = Path(__file__).parent / "templates"
CONNECTIONS = 16
ROWS = 10_000
ADDED = 0, "Additional fortune added at request time."
MESSAGES = [
    "fortune: No such file or directory",
    "A computer scientist is someone who fixes things that aren't broken.",
    "Any program that runs right is obsolete.",
    '<script>alert("This should not be displayed in a browser alert box.");</script>',
    "フレームワークのベンチマーク",
]
World = dict[str, int]

_HOLE = "%s" if IS_POSTGRES else "?"
_WORLD = f"SELECT random FROM world WHERE id = {_HOLE}"
_FORTUNES = "SELECT id, message FROM fortune"
_UPDATE = f"UPDATE world SET random = {_HOLE} WHERE id = {_HOLE}"


def count_of(text: str | None) -> int:
    """Return the number of a query's value, 1 to 500; 1 for anything else."""
    return min(500, max(1, int(text))) if text is not None and text.isdecimal() else 1


def ids(count: int) -> list[int]:
    return [random.randint(1, ROWS) for _ in range(count)]


def _changed(worlds: list[World]) -> list[tuple[int, int]]:
    """Choose other numbers. Return them in the order of their rows, which prevents deadlocks."""
    for world in worlds:
        world["randomNumber"] = random.randint(1, ROWS)
    return sorted(((one["randomNumber"], one["id"]) for one in worlds), key=lambda row: row[1])


def _page_rows(rows: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted([*rows, ADDED], key=lambda row: row[1])


def create(connection: Any, hole: str) -> None:
    """Make the tables, with their rows."""
    connection.execute("CREATE TABLE world (id INTEGER PRIMARY KEY, random INTEGER)")
    connection.execute("CREATE TABLE fortune (id INTEGER PRIMARY KEY, message TEXT)")
    cursor = connection.cursor()
    numbers = [(number, number) for number in range(1, ROWS + 1)]
    cursor.executemany(f"INSERT INTO world VALUES ({hole}, {hole})", numbers)
    fortunes = [*enumerate(MESSAGES * 3, 1)][:12]
    cursor.executemany(f"INSERT INTO fortune VALUES ({hole}, {hole})", fortunes)
    connection.commit()


# -- SQLite, and PostgreSQL from threads -----------------------------------------------------------

_local = threading.local()


@contextmanager
def _sqlite() -> Iterator[Any]:
    if not hasattr(_local, "connection"):
        _local.connection = sqlite3.connect(DATABASE, isolation_level=None, timeout=30)
        _local.connection.execute("PRAGMA synchronous = OFF")
    yield _local.connection


@cache
def _pool() -> Any:
    from psycopg_pool import ConnectionPool

    pool = ConnectionPool(DATABASE, min_size=4, max_size=CONNECTIONS)
    atexit.register(pool.close)
    return pool


_connection: Callable[[], AbstractContextManager[Any]] = (
    (lambda: _pool().connection()) if IS_POSTGRES else _sqlite
)


def worlds(count: int) -> list[World]:
    with _connection() as one:
        return [
            {"id": number, "randomNumber": one.execute(_WORLD, (number,)).fetchone()[0]}
            for number in ids(count)
        ]


def fortunes() -> list[tuple[int, str]]:
    with _connection() as one:
        return _page_rows(one.execute(_FORTUNES).fetchall())


def updated(count: int) -> list[World]:
    found = worlds(count)
    with _connection() as one:
        one.cursor().executemany(_UPDATE, _changed(found))
    return found


# -- PostgreSQL from an event loop -----------------------------------------------------------------


@cache
def _async_pool() -> Any:
    from psycopg_pool import AsyncConnectionPool

    return AsyncConnectionPool(DATABASE, min_size=4, max_size=CONNECTIONS, open=False)


@asynccontextmanager
async def _async_connection() -> AsyncIterator[Any]:
    pool = _async_pool()
    if pool.closed:
        await pool.open()
    async with pool.connection() as connection:
        yield connection


async def aworlds(count: int) -> list[World]:
    if not IS_POSTGRES:
        return worlds(count)
    found = []
    async with _async_connection() as one:
        for number in ids(count):
            row = await (await one.execute(_WORLD, (number,))).fetchone()
            found.append({"id": number, "randomNumber": row[0]})
    return found


async def afortunes() -> list[tuple[int, str]]:
    if not IS_POSTGRES:
        return fortunes()
    async with _async_connection() as one:
        return _page_rows(await (await one.execute(_FORTUNES)).fetchall())


async def aupdated(count: int) -> list[World]:
    if not IS_POSTGRES:
        return updated(count)
    found = await aworlds(count)
    async with _async_connection() as one:
        await one.cursor().executemany(_UPDATE, _changed(found))
    return found
