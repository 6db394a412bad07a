"""A request that is cancelled while its handler computes elsewhere: it ends at once, and what it
took is free again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from micropie import run_in
from micropie.asgi.exchange import ASGIExchange
from tests.asgi.calls import Call, get, http_scope, piece, run
from tests.support.pooled import Pooled
from tests.support.waiting import until

BEGINNING = ["/begins", "/stream_begins/0", "/stream_begins/1"]


async def cancelled(app: Any, path: str, file: Path) -> Call:
    """A request that is cancelled when its handler has come as far as to make a file."""
    call = Call(piece(b""))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(app, http_scope("GET", f"{path}?file={file}"), call.receive, call.send)
        await anyio.to_thread.run_sync(until, file.exists)
        tasks.cancel_scope.cancel()
    return call


@pytest.mark.processes
@pytest.mark.parametrize("path", BEGINNING)
def test_R69_a_cancelled_request_ends_its_process(backend: str, tmp_path: Path, path: str) -> None:
    app = Pooled(processes=1)

    async def main() -> None:
        first = await get(app, "/process")
        call = await cancelled(app, path, tmp_path / "begun")
        assert not call.is_complete
        second = await get(app, "/process")
        assert second.status == 200
        assert second.body != first.body

    run(backend, main)
    app._micropie.compiled().close()


@pytest.mark.processes
@pytest.mark.parametrize("after", [0, 1])
def test_R61_a_client_that_disconnects_does_not_wait_long_for_a_chunk(
    backend: str, tmp_path: Path, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie._core.streams.source.CLEAN_UP_WITHIN", 0.1)
    app = Pooled(processes=1)
    file = tmp_path / "begun"

    async def main() -> None:
        call = Call(piece(b""))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(
                app,
                http_scope("GET", f"/stream_begins/{after}?file={file}"),
                call.receive,
                call.send,
            )
            await anyio.to_thread.run_sync(until, file.exists)
            call.leave()
        assert after == 0 or not call.is_complete  # else it is an error's answer, to nobody
        assert (await get(app, "/process")).status == 200

    run(backend, main)
    app._micropie.compiled().close()


@pytest.mark.processes
def test_R67_more_handlers_than_may_wait_for_a_process_get_503_immediately(
    backend: str, tmp_path: Path
) -> None:
    app = Pooled(processes=1, thread_queue=1)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, app, f"/begins?file={tmp_path / 'begun'}")
            await anyio.to_thread.run_sync(until, (tmp_path / "begun").exists)
            tasks.start_soon(get, app, "/process")
            await anyio.wait_all_tasks_blocked()
            refused = await get(app, "/process")
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert (await get(app, "/here")).status == 200  # in a thread of this process
            tasks.cancel_scope.cancel()

    run(backend, main)
    app._micropie.compiled().close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.mark.parametrize("path", ["/says", "/says_and_yields"])
def test_R69_a_cancelled_request_leaves_an_executor_alone(
    backend: str, tmp_path: Path, threads: ThreadPoolExecutor, path: str
) -> None:
    app = Leisurely(pool=threads)

    async def main() -> None:
        call = await cancelled(app, path, tmp_path / "begun")
        assert not call.is_complete
        (tmp_path / "begun").unlink()  # which lets it go on
        assert (await get(app, "/process")).status == 200

    run(backend, main)


class Leisurely(Pooled):
    """Its handlers say by a file that they have begun, and go on when it has gone."""

    @run_in("process")
    def says(self, file: str) -> str:
        wait_for(file)
        return "said"

    @run_in("process")
    def says_and_yields(self, file: str) -> Iterator[str]:
        wait_for(file)
        yield "a"
        yield "b"


def wait_for(file: str) -> None:
    Path(file).touch()
    while Path(file).exists():
        time.sleep(0.01)


def test_a_message_received_by_the_companion_task_reaches_the_reader(backend: str) -> None:
    async def main() -> list[Any]:
        arrives, asked = anyio.Event(), anyio.Event()
        messages = iter([piece(b"first", more=True), piece(b"last"), {"type": "http.disconnect"}])
        read = []

        async def receive() -> Any:
            asked.set()
            await arrives.wait()
            return next(messages)

        async def read_one() -> None:
            read.append(await exchange.receive_message())

        async def send(message: object) -> None: ...

        exchange = ASGIExchange(http_scope("POST", "/"), receive, send)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(exchange.disconnected)
            await asked.wait()  # the companion is in the server's ``receive``
            tasks.start_soon(read_one)
            await anyio.wait_all_tasks_blocked()
            arrives.set()
            # the companion has the next message before it is asked for
            await anyio.wait_all_tasks_blocked()
            await read_one()
        return [message["body"] for message in read]

    assert run(backend, main) == [b"first", b"last"]
