"""``run_async``: the same answer under every server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie import App, HTTPError, HttpMiddleware, inline, reads_body, run_async, where
from tests.conftest import MakeClient
from tests.support.waiting import PATIENCE

mark: ContextVar[str] = ContextVar("mark", default="unset")


class Asks(HttpMiddleware):
    def before_request(self, request: Any) -> None:
        request.state.before = run_async(place, "before")


async def place(mark_with: str) -> str:
    await anyio.lowlevel.checkpoint()
    mark.set(mark_with)
    return where()


class Root(App):
    ended: threading.Event
    failure: BaseException

    def index(self) -> str:
        return f"{run_async(place, 'there')} {mark.get()} {where()} {self.request.state.before}"

    def chunks(self) -> Iterator[str]:
        for _ in range(3):
            yield run_async(self._path)

    async def _path(self) -> str:
        await anyio.lowlevel.checkpoint()
        return self.request.path

    def fails(self) -> str:
        return run_async(self._fail)

    async def _fail(self) -> str:
        raise HTTPError(418, "I refuse.")

    @reads_body
    def reads(self) -> Any:
        return run_async(self.request.body)

    def later(self) -> str:
        self.ended = threading.Event()
        self.request.after_response(self._note)
        return "now"

    def _note(self) -> None:
        self.request.state.path = run_async(self._path)
        self.ended.set()

    async def awaits(self) -> str:
        return run_async(self._path)

    @inline
    def quick(self) -> str:
        return run_async(self._path)

    def in_another(self) -> str:
        def ask() -> None:
            try:
                run_async(self._path)
            except LookupError as error:
                self.failure = error

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
        return str(self.failure)


@pytest.fixture
def root() -> Root:
    app = Root()
    app.middlewares.append(Asks())
    return app


def test_it_runs_on_a_loop_and_what_it_sets_is_visible(make_client: MakeClient, root: Root) -> None:
    assert make_client(root).get("/").text == "loop there thread loop"


def test_in_a_generator_and_after_the_response(make_client: MakeClient, root: Root) -> None:
    client = make_client(root)
    assert client.get("/chunks").text == "/chunks" * 3
    assert client.get("/later").text == "now"
    assert root.ended.wait(PATIENCE)


def test_the_body_is_received(make_client: MakeClient, root: Root) -> None:
    assert make_client(root).post("/reads", content=b"a body").text == "a body"


def test_what_it_raises_is_raised(make_client: MakeClient, root: Root) -> None:
    answer = make_client(root).get("/fails")
    assert (answer.status_code, "I refuse." in answer.text) == (418, True)


def test_on_the_loop_it_says_to_await(
    make_client: MakeClient, root: Root, world: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(root)
    assert client.get("/awaits").status_code == 500
    assert "write await instead of run_async for <bound method Root._path" in caplog.text
    assert client.get("/quick").status_code == (200 if world == "wsgi" else 500)


def test_another_thread_answers_no_request(make_client: MakeClient, root: Root) -> None:
    assert make_client(root).get("/in_another").text.startswith("there is no current request")
