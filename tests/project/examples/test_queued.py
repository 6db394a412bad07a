"""The recipe with taskiq of docs/how-to/jobs.md, with a Redis that is killed, and real workers.

No test waits for hours: a retry is sent as taskiq's scheduler sends it, when a clock that the test
sets has reached its time.
"""

from __future__ import annotations

import asyncio
import datetime
import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import redis
from taskiq.exceptions import SendTaskError

from micropie.testing import TestClient
from tests.support.guard import guard_of
from tests.support.ports import free_port
from tests.support.redis_server import redis_server
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]
QUEUED = ROOT / "examples" / "how_to" / "queued"
HOUR = 3600
MINUTE = datetime.timedelta(minutes=1)


class Clock(datetime.datetime):
    """The time of taskiq's scheduler, which stands still. It begins with each test."""

    stands_at: datetime.datetime

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return cls.stands_at


class Shop:
    """The recipe, with its Redis at ``url`` and its mail server in ``folder``."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._port, self._patch = folder, free_port(), monkeypatch
        self.url = f"redis://127.0.0.1:{self._port}/0"
        monkeypatch.setenv("REDIS_URL", self.url)
        monkeypatch.syspath_prepend(str(QUEUED))

    @contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        """Run Redis with what it has on its disk, and kill it at the end."""
        keeping = ("--appendonly", "yes", "--appendfsync", "always")  # as the page says
        with redis_server(self.folder, self._port, keeping), redis.Redis.from_url(self.url) as one:
            yield one
            os.kill(int(one.info("server")["process_id"]), signal.SIGKILL)

    def module(self, name: str) -> ModuleType:
        """Import a module of the recipe anew: its connections belong to one event loop."""
        for one in ("jobs", "shop"):
            # set first, so that the end of the test removes what is imported now
            self._patch.setitem(sys.modules, one, ModuleType(one))
            self._patch.delitem(sys.modules, one)
        return importlib.import_module(name)

    def order(self, email: str) -> int:
        with TestClient(self.module("shop").app) as client:
            return client.post("/order", data={"pie": "apple", "email": email}).status_code

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Run ``taskiq worker`` with one process, and kill both at the end."""
        command = [sys.executable, "-m", "taskiq", "worker", "jobs:broker"]
        own = {"PYTHONPATH": str(ROOT), "MAIL": str(self.folder)}
        with (self.folder / "worker.log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "tests.project.examples.mail_server", "--workers", "1"],
                cwd=QUEUED,
                env=os.environ | own,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        guard = guard_of(process)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            guard.kill()
            guard.communicate()

    def has(self, name: str) -> list[str]:
        file = self.folder / name
        return file.read_text().splitlines() if file.exists() else []

    async def send_retry(self, time: datetime.datetime) -> bool:
        """Send the retry that is waiting as the scheduler does at ``time``; return whether it is
        due by then.
        """
        Clock.stands_at = time
        jobs = self.module("jobs")
        await jobs.broker.startup()
        due = await jobs.later.get_schedules()
        for one in due:
            await jobs.scheduler.on_ready(jobs.later, one)
        await jobs.broker.shutdown()
        await jobs.later._connection_pool.disconnect()
        return bool(due)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    own = SimpleNamespace(datetime=Clock, timedelta=datetime.timedelta, timezone=datetime.timezone)
    monkeypatch.setattr("taskiq_redis.list_schedule_source.datetime", own)
    now = datetime.datetime.now(datetime.UTC)
    monkeypatch.setattr(Clock, "stands_at", now, raising=False)
    return Shop(tmp_path, monkeypatch)


def is_done(server: redis.Redis) -> bool:
    """Return whether the worker has done all that is in the queue, and acknowledged it."""
    queue = server.xinfo_groups("taskiq")[0]
    return bool(queue["lag"] == queue["pending"] == 0)


def planned(server: redis.Redis) -> datetime.datetime:
    """Return the minute in which the only retry that waits is due."""
    (key,) = server.scan_iter("schedule:time:*")
    return datetime.datetime.strptime(f"{key.decode()}+0000", "schedule:time:%Y-%m-%dT%H:%M%z")


def test_a_mail_survives_a_mail_server_outage_and_a_killed_broker(
    shop: Shop,
) -> None:
    began = datetime.datetime.now(datetime.UTC)
    with shop.redis():
        assert shop.order("ann@example.com") == 202
    (shop.folder / "down").touch()
    passed, tries = 0, 0
    with shop.worker():
        while passed < 5 * HOUR:
            with shop.redis() as server:  # killed after each eight tries
                for _ in range(8):
                    until(lambda: is_done(server))
                    tries += 1
                    passed += 60 * tries
                    due = planned(server)
                    assert due > began + (tries - 1) * MINUTE, tries  # it has no seconds
                    assert not asyncio.run(shop.send_retry(due - MINUTE)), tries
                    if passed >= 5 * HOUR:
                        (shop.folder / "down").unlink()
                    began = datetime.datetime.now(datetime.UTC)
                    assert asyncio.run(shop.send_retry(due)), tries
                until(lambda: is_done(server))
                left = [*server.scan_iter("schedule:time:*")]
    assert not left
    assert len(shop.has("begun")) == len(shop.has("sent")) == 1


def test_retry_delays_add_up_to_most_of_a_day(shop: Shop) -> None:
    jobs = shop.module("jobs")
    message = SimpleNamespace(labels={})
    delays = [jobs.retries.make_delay(message, one) for one in range(1, 48)]
    assert [int(one) for one in delays[:3]] == [60, 120, 180]
    assert 18 * HOUR < sum(delays) < 19 * HOUR


def test_without_a_broker_an_order_is_not_accepted(shop: Shop) -> None:
    with ExitStack() as running:
        running.enter_context(shop.redis())
        with TestClient(shop.module("shop").app) as client:
            running.close()
            with pytest.raises(SendTaskError):
                client.post("/order", data={"pie": "apple", "email": "ann@example.com"})


def test_a_task_that_comes_due_while_redis_restarts_is_queued(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with shop.redis():
        due = asyncio.run(scheduled(shop.module("jobs")))
    with ExitStack() as running:

        async def restart(seconds: float) -> None:
            running.enter_context(shop.redis())

        jobs = shop.module("jobs")
        monkeypatch.setattr(jobs, "sleep", restart)
        asyncio.run(queue(jobs, due))
        with redis.Redis.from_url(shop.url) as server:
            assert server.xlen("taskiq") == 1
            assert not [*server.scan_iter("schedule:data:*")]


async def scheduled(jobs: ModuleType) -> Any:
    now = Clock.stands_at
    await jobs.send_mail.schedule_by_time(jobs.later, now, "ann@example.com", "", "", "")
    (due,) = await jobs.later.get_schedules()
    await jobs.later._connection_pool.disconnect()
    return due


async def queue(jobs: ModuleType, due: Any) -> None:
    await jobs.scheduler.on_ready(jobs.later, due)
    await jobs.broker.shutdown()
    await jobs.later._connection_pool.disconnect()


def test_a_killed_worker_s_task_goes_to_another_worker(shop: Shop) -> None:
    with shop.redis() as server:
        (shop.folder / "hangs").touch()
        assert shop.order("ann@example.com") == 202
        with shop.worker():
            until(lambda: shop.has("begun"))
        (shop.folder / "hangs").unlink()
        found: Any = server.xpending_range("taskiq", "taskiq", "-", "+", 10)[0]
        idle = 600_001  # milliseconds: ``idle_timeout`` has passed
        owner, message = found["consumer"], found["message_id"]
        server.xclaim("taskiq", "taskiq", owner, 0, [message], idle=idle, justid=True)
        with shop.worker():
            assert shop.order("bob@example.com") == 202
            until(lambda: len(shop.has("sent")) == 2)
            until(lambda: server.xpending("taskiq", "taskiq")["pending"] == 0)
    assert sorted(one.split("@")[0] for one in shop.has("sent")) == ["ann", "bob"]
    assert shop.has("begun")[0] in shop.has("sent")  # with the same Message-ID
