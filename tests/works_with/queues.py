"""Queues: each is given a job by a handler, and a worker in another process does it.

The job adds a line to the file that it is given.
"""

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from micropie import App, run_async
from tests.support.waiting import until
from tests.works_with.listed import World, client_of, works
from tests.works_with.running import a_redis, running

PYTHON = sys.executable


@contextmanager
def working(*worker: str) -> Iterator[Path]:
    """Run a Redis and a worker, and yield the file that jobs write to."""
    with a_redis() as url, tempfile.TemporaryDirectory() as folder:
        os.environ["REDIS_URL"] = url  # before jobs are imported
        with running(PYTHON, *worker):
            yield Path(folder, "done")


def queued(world: World, done: Path, queue: Callable[[str], Any], app: App | None = None) -> None:
    """Let a handler queue a job, and wait until it is done."""
    app = app or App()
    app.post("/")(lambda path: (202, str(queue(path))))
    with client_of(app, world) as client:
        assert client.post("/", data={"path": str(done)}).status_code == 202
        until(lambda: done.exists() and done.read_text() == "done\n")


@works("celery")
def celery(world: World) -> None:
    with working(
        "-m", "celery", "-A", "tests.works_with.celery_jobs", "worker", "-P", "solo"
    ) as done:
        from tests.works_with.celery_jobs import write

        queued(world, done, write.delay)


@works("celery", what="the application's resources")
def celery_resources(world: World) -> None:
    with working(
        "-m", "celery", "-A", "tests.works_with.celery_jobs", "worker", "-P", "solo"
    ) as done:
        from tests.works_with.celery_jobs import write_by_resource

        queued(world, done, write_by_resource.delay)


@works("rq")
def rq(world: World) -> None:
    with a_redis() as url, tempfile.TemporaryDirectory() as folder:
        from redis import Redis
        from rq import Queue

        with running(PYTHON, "-m", "rq.cli", "worker", "--url", url), Redis.from_url(url) as redis:
            queue = Queue(connection=redis)
            queued(
                world,
                Path(folder, "done"),
                lambda path: queue.enqueue("tests.works_with.jobs.write", path),
            )


@works("arq", "asyncio", "wsgi")
def arq(world: World) -> None:
    with working("-m", "arq", "tests.works_with.arq_jobs.Settings") as done:
        from arq import create_pool

        from tests.works_with.arq_jobs import Settings

        class Site(App):
            @asynccontextmanager
            async def lifespan(self) -> AsyncIterator[None]:
                self.queue = await create_pool(Settings.redis_settings)
                yield
                await self.queue.aclose()

        app = Site()
        queued(world, done, lambda path: run_async(app.queue.enqueue_job, "write", path), app)


@works("dramatiq")
def dramatiq(world: World) -> None:
    with working("-m", "dramatiq", "tests.works_with.dramatiq_jobs", "-p", "1", "-t", "1") as done:
        from tests.works_with.dramatiq_jobs import write

        queued(world, done, write.send)


@works("huey")
def huey(world: World) -> None:
    with working("-m", "huey.bin.huey_consumer", "tests.works_with.huey_jobs.huey") as done:
        from tests.works_with.huey_jobs import write

        queued(world, done, write)


@works("taskiq", "asyncio", "wsgi")
def taskiq(world: World) -> None:
    with working(
        "-m", "taskiq", "worker", "tests.works_with.taskiq_jobs:broker", "--workers", "1"
    ) as done:
        from tests.works_with.taskiq_jobs import broker, write

        class Site(App):
            @asynccontextmanager
            async def lifespan(self) -> AsyncIterator[None]:
                await broker.startup()
                yield
                await broker.shutdown()

        queued(world, done, lambda path: run_async(write.kiq, path), Site())


@works("apscheduler")
def apscheduler(world: World) -> None:
    from apscheduler.schedulers.background import BackgroundScheduler

    from tests.works_with.jobs import write

    scheduler = BackgroundScheduler()

    class Site(App):
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            scheduler.start()
            yield
            scheduler.shutdown()

    with tempfile.TemporaryDirectory() as folder:
        queued(
            world, Path(folder, "done"), lambda path: scheduler.add_job(write, args=[path]), Site()
        )
