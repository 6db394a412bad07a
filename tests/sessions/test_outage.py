"""A backend that hangs: real servers that were stopped, a file that is locked. All else goes on."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from micropie import App, Request, Response, request
from micropie._core.execution.placement import ServiceThreads
from micropie._core.execution.steps import outage
from micropie.middleware import CSRFMiddleware, FlowMiddleware, SecurityHeaders
from micropie.sessions import RedisSessionBackend, SQLiteSessionBackend, sqlite
from micropie.sessions import redis as rediscache
from tests.asgi.calls import Call, every_loop, get, run
from tests.support.clients import MakeClient
from tests.support.redis_server import hanging, redis_server
from tests.support.waiting import PATIENCE, until_async
from tests.wsgi import calls as wsgi

ID = "x" * 43
COOKIE = f"session_id={ID}"
OUT_OF_REACH = "The session store is unavailable. Please try again in a moment."


class Root(App):
    """`asked` has an entry for each time that the backend was asked for a session; `begun` is
    released by each.
    """

    def __init__(
        self, backend: Any, directory: Path, after_question: Callable[[], object] = lambda: None
    ) -> None:
        super().__init__(backend)
        self.asked: list[str] = []
        self.begun = threading.Semaphore(0)
        self._load, self._after_question, backend.load = backend.load, after_question, self._loads
        (directory / "style.css").write_text("style")
        self.static("/static", directory)

    def plain(self) -> str:
        return "plain"

    def look(self) -> Any:
        return dict(self.request.session)

    def count(self) -> str:
        session = self.request.session
        session["n"] = session.get("n", 0) + 1
        return str(session["n"])

    def _loads(self, session_id: str) -> Any:
        self.asked.append(session_id)
        self.begun.release()
        try:
            return self._load(session_id)
        finally:
            self._after_question()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock a file of sessions as a process does that was stopped while it writes."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of outages, which does not go on by itself."""
    now = [1000.0]
    monkeypatch.setattr(outage, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Any]]:
    """A Redis with a session, and its backend, which would wait for it for long."""
    monkeypatch.setattr(rediscache, "_TIMEOUT", PATIENCE)
    with redis_server(tmp_path) as url:
        backend = RedisSessionBackend(url)
        backend.save(ID, {"n": 1}, 60)
        yield url, backend
        backend.close()


@pytest.mark.processes
def test_R67_only_one_request_waits_for_a_hanging_redis(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    # of which a Redis that is well needs little on a busy machine
    monkeypatch.setattr(rediscache, "_TIMEOUT", 1.0)

    def five_seconds_later() -> None:
        clock[0] += 5

    with redis_server(tmp_path) as url:
        backend = RedisSessionBackend(url)
        backend.save(ID, {"n": 1}, 60)
        app = Root(backend, tmp_path, five_seconds_later)
        app.error(404)(lambda: f"nothing for {app.request.session.get('n')}")
        client = make_client(app)
        with hanging(url):
            for _ in range(5):
                answer = client.get("/look", headers={"Cookie": COOKIE})
                assert (answer.status_code, answer.text) == (503, OUT_OF_REACH)
                assert answer.headers["retry-after"] == "5"
            assert client.get("/plain").text == "plain"
            assert client.get("/static/style.css", headers={"Cookie": COOKIE}).text == "style"
            for missing in ("/static/none.css", "/nowhere"):
                answer = client.get(missing, headers={"Cookie": COOKIE})
                assert (answer.status_code, answer.text) == (404, "nothing for None")
            assert app.asked == [ID]
            clock[0] += 5
            assert client.get("/look", headers={"Cookie": COOKIE}).status_code == 503
            assert app.asked == [ID] * 2
        # not asked so soon
        assert client.get("/look", headers={"Cookie": COOKIE}).status_code == 503
        clock[0] += 5
        assert client.get("/look", headers={"Cookie": COOKIE}).json() == {"n": 1}
        assert client.get("/static/none.css", headers={"Cookie": COOKIE}).text == "nothing for 1"
        assert client.get("/count", headers={"Cookie": COOKIE}).text == "2"
        backend.close()


def test_R67_a_locked_sqlite_file_can_be_read(
    make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY", 0.0)
    backend = SQLiteSessionBackend(tmp_path / "sessions.db")
    backend.save(ID, {"n": 1}, 60)
    client = make_client(Root(backend, tmp_path))
    with locked(tmp_path / "sessions.db"):
        for _ in range(3):
            assert client.get("/count", headers={"Cookie": COOKIE}).status_code == 503
            assert client.get("/look", headers={"Cookie": COOKIE}).json() == {"n": 1}
            assert client.get("/plain").text == "plain"
    assert client.get("/count", headers={"Cookie": COOKIE}).text == "2"
    backend.close()


class Looks(FlowMiddleware):
    """Middleware whose part after the handler looks at the session."""

    needs_session = True

    def after(self, request: Request, response: Response) -> None:
        response.headers["X-Count"] = str(request.session.get("n"))


def test_a_file_response_reads_no_session_unless_a_hook_or_error_page_does(
    make_client: MakeClient, tmp_path: Path
) -> None:
    backend = SQLiteSessionBackend(tmp_path / "sessions.db")
    backend.save(ID, {"n": 1}, 60)
    app = Root(backend, tmp_path)
    app.middlewares += [CSRFMiddleware(), SecurityHeaders()]
    app.error(404)(lambda error: f"no file {request.session['n']}")
    headers = {"Cookie": COOKIE}
    client = make_client(app)
    answer = client.get("/static/style.css", headers=headers)
    assert (answer.text, "vary" in answer.headers) == ("style", False)
    assert not app.asked
    missing = client.get("/static/nothing.css", headers=headers)
    seen = (missing.status_code, missing.text, missing.headers["vary"])
    assert seen == (404, "no file 1", "Cookie")
    assert app.asked == [ID]
    app.middlewares.append(Looks())
    assert client.get("/static/style.css", headers=headers).headers["x-count"] == "1"
    assert app.asked == [ID] * 2
    backend.close()


@pytest.mark.processes
@every_loop
def test_R67_other_requests_are_served_while_forty_wait_for_redis(
    backend: str, tmp_path: Path, patient: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServiceThreads, "patience", 0.0)
    url, sessions = patient
    app: Any = Root(sessions, tmp_path)
    answers: list[Call] = []

    async def look() -> None:
        call = await get(
            app, "/look", headers=[(b"host", b"testserver"), (b"cookie", COOKIE.encode())]
        )
        answers.append(call)

    async def main() -> None:
        await get(app, "/plain")  # so that all find the application started
        with hanging(url) as go_on:
            async with anyio.create_task_group() as tasks:
                for _ in range(50):
                    tasks.start_soon(look)
                await until_async(lambda: len(answers) == 10)
                assert [(call.status, call.headers["retry-after"]) for call in answers] == [
                    (503, "5")
                ] * 10
                assert (await get(app, "/static/style.css")).body == b"style"
                assert (await get(app, "/plain")).body == b"plain"
                answers.clear()
                go_on()
            assert [(call.status, call.body) for call in answers] == [(200, b'{"n":1}')] * 40

    run(backend, main)


@pytest.mark.processes
def test_R67_half_of_a_wsgi_server_s_threads_may_wait_for_redis(
    tmp_path: Path, patient: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ServiceThreads, "patience", PATIENCE)
    url, sessions = patient
    app = Root(sessions, tmp_path)
    all_here = threading.Barrier(8)

    def look() -> tuple[int, bytes]:
        return wsgi.get(app, "/look", HTTP_COOKIE=COOKIE)

    def look_together(_: int) -> int:
        all_here.wait(PATIENCE)
        return look()[0]

    with ThreadPoolExecutor(8) as server:
        # so that all its threads have been here
        assert list(server.map(look_together, range(8))) == [200] * 8
        for _ in range(8):
            assert app.begun.acquire(timeout=PATIENCE)
        monkeypatch.setattr(ServiceThreads, "patience", 0.0)
        with hanging(url) as go_on:
            waiting: list[Future[tuple[int, bytes]]] = [server.submit(look) for _ in range(4)]
            for _ in range(4):
                assert app.begun.acquire(timeout=PATIENCE)
            others = [server.submit(look) for _ in range(50)]
            assert {future.result(PATIENCE)[0] for future in others} == {503}
            found = server.submit(wsgi.get, app, "/static/style.css").result(PATIENCE)
            assert found == (200, b"style")
            go_on()
            assert [future.result(PATIENCE) for future in waiting] == [(200, b'{"n":1}')] * 4
