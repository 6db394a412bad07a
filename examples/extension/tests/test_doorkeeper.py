"""The tests of the extension.

With the fixtures ``any_client`` and ``make_any_client``, each test runs under WSGI, asyncio and
trio.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from examples.extension.doorkeeper import (
    ApiKeys,
    FileRates,
    FileSessions,
    Find,
    Folder,
    client_of,
    install,
)
from micropie import App, SetupError, WebSocket, post
from micropie.sessions import Changes, SQLiteSessionBackend
from micropie.testing import TestClient, WebSocketRefused, make_request

KEYS = {"sesame": "ann", "plum": "bob"}
ANN, BOB = {"X-API-Key": "sesame"}, {"X-API-Key": "plum"}


async def slowly(key: str) -> str | None:
    await anyio.sleep(0.001)
    return KEYS.get(key)


class Shop(App):
    def index(self) -> str:
        return f"hello {client_of(self.request)}"

    @post
    def count(self) -> str:
        return str(self.request.session.update_atomic("count", lambda count: (count or 0) + 1))

    @post
    def renew(self) -> str:
        self.request.session.regenerate()
        return "renewed"

    @post
    def leave(self) -> str:
        self.request.session.clear()
        return "bye"

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(client_of(ws.request))


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "data")
    folder.open()
    return folder


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = Shop()
    install(app, tmp_path / "new" / "data", find=KEYS.get, limit=3, per=60)
    return app


def test_each_key_has_its_client_and_its_rate(any_client: TestClient) -> None:
    assert any_client.get("/").status_code == 401
    assert any_client.get("/", headers={"X-API-Key": "guessed"}).status_code == 401
    answers = [any_client.get("/", headers=ANN) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[0].headers["Cache-Control"] == "private"
    assert answers[0].text == "hello ann"
    assert any_client.get("/doorkeeper", headers=BOB).json() == {"client": "bob"}


@pytest.mark.parametrize("find", [KEYS.get, slowly])
def test_a_key_is_looked_up_by_def_and_async_def(
    make_any_client: Callable[..., TestClient], find: Find
) -> None:
    app = Shop()
    app.middlewares.append(ApiKeys(find))
    client = make_any_client(app)
    assert [client.get("/", headers=headers).status_code for headers in (ANN, {})] == [200, 401]


def test_sessions_are_kept_renewed_and_ended(
    make_any_client: Callable[..., TestClient], folder: Folder
) -> None:
    client = make_any_client(Shop(FileSessions(folder)))
    assert [client.post("/count").text for _ in range(2)] == ["1", "2"]
    old = {"Cookie": f"session_id={client.cookies['session_id']}"}
    client.post("/renew")
    assert client.post("/count").text == "3"
    client.post("/leave")
    assert client.post("/count").text == "1"
    client.cookies.clear()
    assert client.post("/count", headers=old).text == "1"


def test_a_websocket_is_guarded(app: App) -> None:
    with TestClient(app) as client:
        with pytest.raises(WebSocketRefused), client.websocket("/"):
            pass
        with client.websocket("/", headers=BOB) as ws:
            assert ws.receive_text() == "bob"


def test_a_session_and_a_rate_end_with_their_time(folder: Folder) -> None:
    sessions, rates = FileSessions(folder), FileRates(folder)
    sessions.save("id", {"user": "ann"}, 60)
    assert sessions.load("id") == {"user": "ann"}
    sessions.save("id", {"user": "ann"}, 0)
    assert sessions.load("id") == sessions.merge("id", Changes({"user": "bob"}), 60) == {}
    assert [rates.hit("ann", 1, 60).allowed for _ in range(2)] == [True, False]
    assert [rates.hit("bob", 1, 1e-9).allowed for _ in range(2)] == [True, True]


def test_the_start_deletes_what_is_over(folder: Folder, tmp_path: Path) -> None:
    with folder.locked():
        folder.write("over", [1], 0)
        folder.write("going on", [2], 60)
    folder.open()
    assert len(list((tmp_path / "data").glob("*.json"))) == 1
    assert (folder.read("over"), folder.read("going on")) == (None, [2])


def test_the_name_is_left_for_everything_behind_the_guard() -> None:
    request = make_request(headers=ANN)
    request.state.doorkeeper_client = "ann"
    assert client_of(request) == "ann"


def test_another_session_backend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="another session backend"):
        install(Shop(SQLiteSessionBackend(tmp_path / "sessions.db")), tmp_path, find=KEYS.get)
