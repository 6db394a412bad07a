"""``how_to/long_job``: jobs in processes, with their progress, cancelled and tried again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from examples.how_to.long_job.app import ENDS, Reports
from micropie.testing import TestClient
from tests.support import long_jobs
from tests.support.clients import MakeClient
from tests.support.waiting import until

pytestmark = pytest.mark.processes

Start = Callable[..., "Started"]


class Started:
    """A job, and a client that sees it."""

    def __init__(self, client: TestClient, pages: int) -> None:
        self.client = client
        answer = client.post("/start", data={"pages": str(pages)})
        assert answer.status_code == 303
        self.key = answer.headers["location"].rpartition("/")[2]

    def status(self) -> list[Any]:
        return [*self.client.get(f"/status/{self.key}").json().values()]

    def ended(self) -> list[Any]:
        until(lambda: self.status()[0] in ENDS)
        return self.status()

    def post(self, action: str) -> int:
        return self.client.post(f"/{action}/{self.key}").status_code


@pytest.fixture
def start(make_client: MakeClient, tmp_path: Path) -> Start:
    def start(work: Callable[..., Any] | None = None, pages: int = 4) -> Started:
        make: Any = Reports
        works = {} if work is None else {"write": partial(work, tmp_path)}
        app = make(**works, processes=1)
        app.delays = (0, 0)
        return Started(make_client(app), pages)

    return start


def test_a_page_shows_a_job_s_progress_and_state(start: Start) -> None:
    job = start()
    page = job.client.get(f"/show/{job.key}").text
    address = page.partition('EventSource("')[2].partition('"')[0]
    events = job.client.get(address).text
    assert events.endswith('data: {"state":"done","percent":100}\n\nevent: end\ndata: \n\n')
    assert job.status() == ["done", 100, "4 pages"]
    assert job.post("retry") == 409
    assert job.client.get("/status/guessed").status_code == 404


def test_a_temporary_failure_is_tried_again(start: Start, tmp_path: Path) -> None:
    assert start(long_jobs.unavailable_at_first).ended() == ["done", 100, "4 pages"]
    assert long_jobs.attempts(tmp_path) == 3


@pytest.mark.parametrize(("work", "attempts"), [("unavailable", 3), ("wrong", 1)])
def test_a_job_that_failed_can_be_started_again(
    start: Start, tmp_path: Path, work: str, attempts: int
) -> None:
    job = start(getattr(long_jobs, work))
    assert job.ended() == ["failed", 0, None]
    assert long_jobs.attempts(tmp_path) == attempts
    assert job.post("retry") == 303
    until(lambda: long_jobs.attempts(tmp_path) == 2 * attempts)
    assert job.ended() == ["failed", 0, None]


def test_a_job_can_be_cancelled_and_started_again(start: Start) -> None:
    job = start(long_jobs.endless_at_first)
    until(lambda: job.status() == ["running", 50, None])
    assert job.post("retry") == 409
    assert job.post("cancel") == 303
    assert job.ended() == ["cancelled", 50, None]
    assert job.post("retry") == 303
    until(lambda: job.status()[2] == "done at last")
    assert job.ended()[0] == "done"
