"""ConcurrencyLimit: what is more than the limit is refused at once, and each end lets another
request in.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

import anyio
import pytest

from micropie import App, ClientDisconnect, EventStream, HTTPError, SetupError
from micropie.middleware import ConcurrencyLimit
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE

FULL = "Too many requests at once. Please try again later."


class Root(App):
    def __init__(self, limit: int, **options: Any) -> None:
        super().__init__()
        self.middlewares.append(ConcurrencyLimit(limit, **options))
        self.leave, self.inside = threading.Event(), threading.Semaphore(0)

    async def index(self) -> str:
        return "hello"

    def blocks(self) -> str:
        self.inside.release()
        self.leave.wait(PATIENCE)
        return "done"

    async def waits(self) -> str:
        self.inside.release()
        while not self.leave.is_set():  # noqa: ASYNC110 - another thread sets it
            await anyio.sleep(0.01)
        return "done"

    def works(self) -> Iterator[str]:
        yield self.blocks()

    async def works_too(self) -> AsyncIterator[str]:
        yield await self.waits()

    def refuses(self) -> Any:
        raise HTTPError(400)

    def crashes(self) -> Any:
        raise RuntimeError("secret")

    def left(self) -> Any:
        raise ClientDisconnect

    async def events(self) -> EventStream:
        return EventStream(self._events(), heartbeat=0.1)

    async def _events(self) -> AsyncIterator[str]:
        yield "begun"
        await anyio.sleep_forever()


def in_the_background(client: TestClient, path: str, times: int) -> Callable[[], list[str]]:
    """Send requests in threads. Return a function that waits for their answers."""
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.get(path).text)) for _ in range(times)
    ]
    for thread in threads:
        thread.start()

    def wait() -> list[str]:
        for thread in threads:
            thread.join()
        return answers

    return wait


@pytest.mark.parametrize("path", ["/blocks", "/waits", "/works", "/works_too"])
def test_requests_above_the_limit_get_a_503_immediately(make_client: MakeClient, path: str) -> None:
    app = Root(2, retry_after=3)
    app.health("/healthz")
    client = make_client(app)
    wait = in_the_background(client, path, 2)
    try:
        for _ in range(2):
            assert app.inside.acquire(timeout=PATIENCE)
        for _ in range(3):
            refused = client.get("/")
            seen = (refused.status_code, refused.text, refused.headers["retry-after"])
            assert seen == (503, FULL, "3")
        assert client.get("/healthz").status_code == 200
    finally:
        app.leave.set()
    assert wait() == ["done", "done"]
    assert client.get("/").text == "hello"


def test_every_way_a_request_ends_lets_the_next_one_in(make_client: MakeClient) -> None:
    client = make_client(Root(1), raise_app_exceptions=False)
    for path in ("/", "/refuses", "/crashes", "/nowhere", "/left", "/left"):
        # no answer is sent to a client that has left, which the test client reports
        with suppress(Exception):
            client.get(path)
        assert client.get("/").status_code == 200


def test_an_open_stream_does_not_count_against_the_limit(make_client: MakeClient) -> None:
    client = make_client(Root(1))
    with client.stream("GET", "/events") as answer:
        assert "data: begun" in answer.iter_lines()
        assert client.get("/").text == "hello"


def test_an_inner_application_may_have_a_smaller_limit(make_client: MakeClient) -> None:
    app: Any = Root(3)
    app.inner = Root(1)
    client = make_client(app)
    wait = in_the_background(client, "/inner/blocks", 1)
    try:
        assert app.inner.inside.acquire(timeout=PATIENCE)
        statuses = [client.get(path).status_code for path in ("/inner", "/", "/inner", "/", "/")]
        assert statuses == [503, 200, 503, 200, 200]
    finally:
        app.inner.leave.set()
    assert wait() == ["done"]


def test_a_limit_that_a_request_meets_twice_counts_it_once(make_client: MakeClient) -> None:
    app: Any = Root(1)
    app.inner = Root(1)
    app.inner.middlewares[:] = app.middlewares
    client = make_client(app)
    assert [client.get("/inner").status_code for _ in range(3)] == [200] * 3


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        ((0,), {}, "ConcurrencyLimit(limit) takes a whole number, 1 or more, not 0"),
        (
            (1,),
            {"retry_after": 0.5},
            "ConcurrencyLimit(retry_after=...) takes whole seconds, 1 or more, not 0.5",
        ),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: tuple[int], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SetupError) as refused:
        ConcurrencyLimit(*arguments, **options)
    assert str(refused.value) == sentence
