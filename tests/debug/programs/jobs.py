"""Background jobs: a queue, a worker that lives as long as the application, progress, retries."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from micropie import App, EventStream, HTTPError, command, event, get, post


@dataclass
class Job:
    kind: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
    tries: int = 0
    percent: int = 0


class Jobs(App):
    def __init__(self) -> None:
        super().__init__(methods=["GET", "HEAD", "POST"])
        self.jobs: dict[str, Job] = {}
        self.dry = False

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        send, receive = anyio.create_memory_object_stream[Job](100)
        self.state.queue = send
        async with send, receive, anyio.create_task_group() as tasks:
            tasks.start_soon(self._work, receive)
            yield
            tasks.cancel_scope.cancel()

    async def _work(self, queue: MemoryObjectReceiveStream[Job]) -> None:
        async for job in queue:
            job.state, job.tries = "running", job.tries + 1
            try:
                await self._run(job)
                job.state = "done"
            except OSError:
                job.state = "failed" if job.tries > 3 else "waiting"
            await self.channels.publish(job.id, {"state": job.state, "percent": job.percent})

    async def _run(self, job: Job) -> None:
        for percent in range(0, 101, 20):
            await anyio.sleep(0.1)
            job.percent = percent

    @post
    async def start(self, kind: Literal["mail", "report"] = "mail") -> tuple[int, dict[str, str]]:
        job = Job(kind)
        self.jobs[job.id] = job
        await self.state.queue.send(job)
        return 202, {"id": job.id, "status": self.url_for("status", job.id)}

    @get
    async def status(self, id: str) -> Job:
        return self._job(id)

    @get
    async def progress(self, id: str) -> EventStream:
        job = self._job(id)
        return EventStream(self._changes(job))

    async def _changes(self, job: Job) -> AsyncIterator[object]:
        async with self.channels.subscribe(job.id) as changes:
            yield event({"state": job.state, "percent": job.percent})
            async for change in changes:
                yield event(change)
                if change["state"] in ("done", "failed"):
                    return

    @post
    async def retry(self, id: str) -> tuple[int, None]:
        job = self._job(id)
        if job.state != "failed":
            raise HTTPError(409, f"The job is {job.state}.")
        job.tries = 0
        await self.state.queue.send(job)
        return 202, None

    def _job(self, id: str) -> Job:
        if id not in self.jobs:
            raise HTTPError(404)
        return self.jobs[id]

    @command
    def purge(self, days: int = 7) -> str:
        return f"purged what is older than {days} days"


app = Jobs()
