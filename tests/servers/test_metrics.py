"""Prometheus asks a server with several workers: whichever answers, answers for all, and the dead
are not forgotten.
"""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.servers.cluster.network import accepts, children_of
from tests.servers.harness import HEALTH_CHECK, KINDS, START_WITHIN, Server, start
from tests.support.waiting import until


def scrape(server: Server) -> dict[tuple[str, str], float]:
    """Return all samples, by their names and routes."""
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {
        (one.name, one.labels.get("route", "")): one.value
        for family in families
        for one in family.samples
    }


def workers_of(server: Server) -> set[int]:
    return {child for child in children_of(server.process.pid) if accepts(child)}


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn-gthread"])
def test_any_worker_reports_the_metrics_of_all(name: str, tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as log:
        environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
        server = start(KINDS[name], "tests.servers.metrics:app", log, workers=2, environ=environ)
        try:
            until(lambda: len(workers_of(server)) == 2, START_WITHIN)
            asked: list[bytes] = []
            while len(set(asked)) < 2:
                asked.append(server.request("GET", "/").body)
            for _ in range(3):
                server.request("GET", "/sell/2")
            wanted = {
                ("http_requests_total", "/"): len(asked),
                ("http_requests_total", "/sell"): 3,
                ("pies_sold_total", ""): 6,
                ("http_requests_in_flight", ""): 0,
            }
            # a request is counted when it is over
            until(lambda: scrape(server).items() >= wanted.items())
            for _ in range(4):
                assert scrape(server).items() >= wanted.items()
            old = workers_of(server)
            os.kill(min(old), signal.SIGKILL)
            until(
                lambda: len(workers_of(server)) == 2 and workers_of(server) != old,
                HEALTH_CHECK + START_WITHIN,
            )
            assert scrape(server).items() >= wanted.items()
        finally:
            server.end()
