#!/usr/bin/env bash
# Expected: a cancelled `await connection.execute(...)` raises CancelledError at once. The query may
# go on in aiosqlite's thread, as it does when aiosqlite is used alone.
# Seen: with SQLAlchemy around aiosqlite the await returns only when SQLite has computed the last row.
# It matters because asyncio.timeout(0.3) around such a query limits nothing: the request takes as
# long as the query, and then fails with TimeoutError.
# The query here calls a function of Python for each row, so the number of calls, not a clock, shows
# how far it is. It is cancelled after a thousand rows of 200,000.
# SQLAlchemy 2.1.9 with aiosqlite 0.22.1;
# https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#module-sqlalchemy.dialects.sqlite.aiosqlite
set -eu

folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check 'sqlalchemy[asyncio]==2.1.9' 'aiosqlite==0.22.1'
python --version
pip freeze

cat >program.py <<'EOF'
import asyncio
import sys

import aiosqlite
import sqlalchemy
from sqlalchemy.ext.asyncio import create_async_engine

ROWS = 200_000
QUERY = f"""
    WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {ROWS})
    SELECT sum(tick(x)) FROM n
"""


class Ticks:
    """Counts the rows, and sets an event after the first thousand."""

    def __init__(self):
        self.count = 0
        self.started = asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def __call__(self, x):
        self.count += 1
        if self.count == 1000:
            self.loop.call_soon_threadsafe(self.started.set)
        return x


async def rows_when_cancelled(query, ticks):
    task = asyncio.create_task(query)
    await ticks.started.wait()
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        return ticks.count
    sys.exit("The query wasn't cancelled.")


async def alone():
    ticks = Ticks()
    async with aiosqlite.connect(":memory:") as connection:
        await connection.create_function("tick", 1, ticks)

        async def query():
            await connection.execute_fetchall(QUERY)

        return await rows_when_cancelled(query(), ticks)


async def with_sqlalchemy():
    ticks = Ticks()
    engine = create_async_engine("sqlite+aiosqlite://")

    async def query():
        async with engine.connect() as connection:
            raw = await connection.get_raw_connection()
            await raw.driver_connection.create_function("tick", 1, ticks)
            await connection.execute(sqlalchemy.text(QUERY))

    try:
        return await rows_when_cancelled(query(), ticks)
    finally:
        await engine.dispose()


async def main():
    plain, wrapped = await alone(), await with_sqlalchemy()
    print(f"aiosqlite alone: CancelledError after {plain:,} of {ROWS:,} rows")
    print(f"with SQLAlchemy: CancelledError after {wrapped:,} of {ROWS:,} rows")
    if not plain < ROWS == wrapped:
        sys.exit("The behaviour has changed.")


asyncio.run(main())
EOF
python program.py
