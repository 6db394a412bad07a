"""Batches in processes. ``tests/execution/test_batches.py`` has the tests that need none."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
import pytest

from tests.asgi.calls import Call, every_loop, http_scope, piece, run
from tests.asgi.calls import get as asgi_get
from tests.support.batching import Batching, ask
from tests.support.clients import MakeClient
from tests.support.waiting import until_async

pytestmark = pytest.mark.processes


def test_a_batch_runs_in_a_process(make_client: MakeClient) -> None:
    client = make_client(Batching(processes=1))
    first = client.get("/pid")
    assert first.json() != os.getpid()
    assert ask(client, "/pid", "/pid", "/pid") == [(200, first.text)] * 3


@every_loop
def test_a_client_that_disconnects_from_a_batch_ends_no_process(
    backend: str, tmp_path: Path
) -> None:
    app, begun = Batching(processes=1, cancel_grace=0.01), tmp_path / "begun"

    async def main() -> None:
        process = (await asgi_get(app, "/pid")).body
        call = Call(piece(b""))
        async with anyio.create_task_group() as tasks:
            scope = http_scope("GET", f"/pid?file={begun}")
            tasks.start_soon(app, scope, call.receive, call.send)
            await until_async(begun.exists)
            call.leave()
        begun.with_suffix(".go").touch()
        assert (await asgi_get(app, "/pid")).body == process
        app.pool.close()

    run(backend, main)


def test_only_the_batch_s_time_limit_ends_its_process(
    make_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Batching(processes=1, pool_timeout=0.3))
    process = client.get("/pid").text
    answers = ask(client, *[f"/pid?file={tmp_path / 'begun'}"] * 2)
    assert [status for status, _ in answers] == [503, 503]
    said = "pool.run: tests.support.batching.pids: the call returned or yielded nothing for 0.3 s"
    assert said in caplog.text
    assert client.get("/pid").text != process
