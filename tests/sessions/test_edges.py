"""Sessions where a small mistake would change little: ids of an author's own, backends that never
wait, deletions.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from micropie import App, InMemorySessionBackend, SetupError, post
from micropie.sessions import RedisSessionBackend, Session, SQLiteSessionBackend
from tests.sessions.test_store import Own, OwnAsync, Quick
from tests.support.clients import MakeClient


class QuickButAsync(OwnAsync):
    """Says that it never waits, and is awaited all the same."""

    blocking = False


class Root(App):
    @post
    def keep(self, value: str) -> str:
        self.request.session["value"] = value
        return "stored"

    def value(self) -> Any:
        return self.request.session.get("value")


def test_custom_session_ids_may_have_any_form(make_client: MakeClient) -> None:
    numbers = iter(range(10))
    backend = Own()
    client = make_client(Root(backend, session_id_factory=lambda: f"user:{next(numbers)}"))
    client.post("/keep", data={"value": "1"})
    assert client.get("/value").text == "1"
    assert [*backend.data] == ["user:0"]


def test_an_async_backend_is_read_in_advance(make_client: MakeClient) -> None:
    client = make_client(Root(QuickButAsync()))
    client.post("/keep", data={"value": "1"})
    assert client.get("/value").text == "1"


@pytest.mark.parametrize("kind", ["own", "quick", "async", "sqlite", "memory"])
def test_R42_data_stored_under_an_unknown_id_gets_a_new_id(
    make_client: MakeClient, tmp_path: Path, kind: str
) -> None:
    """Not only is the id not adopted: what the request stores is there for the next one."""
    backends: dict[str, Any] = {
        "own": Own(),
        "quick": Quick(),
        "async": QuickButAsync(),
        "sqlite": SQLiteSessionBackend(tmp_path / "s.db"),
        "memory": InMemorySessionBackend(),
    }
    client = make_client(Root(backends[kind]))
    planted = "p" * 43
    answer = client.post("/keep", data={"value": "1"}, headers={"Cookie": f"session_id={planted}"})
    given = answer.cookies["session_id"]
    assert given != planted
    assert client.get("/value", headers={"Cookie": f"session_id={given}"}).text == "1"
    assert client.get("/value", headers={"Cookie": f"session_id={planted}"}).text == ""


def test_sqlite_deletes_a_session_saved_empty(tmp_path: Path) -> None:
    backend = SQLiteSessionBackend(tmp_path / "s.db")
    backend.save("a", {"x": 1}, 60)
    backend.save("b", {"x": 2}, 60)
    backend.save("a", {}, 60)
    assert (backend.load("a"), backend.load("b")) == ({}, {"x": 2})
    backend.close()


@pytest.mark.parametrize("path", ["", ":memory:", Path(":memory:"), None, 5])
def test_sqlite_needs_a_file_that_all_threads_can_open(path: Any) -> None:
    with pytest.raises(SetupError, match=r"SQLiteSessionBackend\(path\) takes the path of a file"):
        SQLiteSessionBackend(path)


UNREADABLE: list[Any] = ["{", "[1]", "5", b"\xff\xfe\xfa", b"\x80\x04.", "[" * 5000 + "]" * 5000]


@pytest.mark.parametrize("text", UNREADABLE)
def test_sqlite_keeps_unreadable_sessions(
    make_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | bytes
) -> None:
    """The visitor gets a new session, under an id that nobody else knows."""
    backend = SQLiteSessionBackend(tmp_path / "s.db")
    old_id = "o" * 43
    with closing(sqlite3.connect(tmp_path / "s.db")) as database, database:
        backend.save(old_id, {"value": "1"}, 60)
        database.execute("UPDATE sessions SET data = CAST(? AS TEXT)", (text,))
    client = make_client(Root(backend))
    cookie = {"Cookie": f"session_id={old_id}"}
    assert client.get("/value", headers=cookie).text == ""
    assert [one.message[:34] for one in caplog.records] == ["a stored session can't be read: th"]
    assert client.post("/keep", data={"value": "2"}, headers=cookie).cookies["session_id"] != old_id
    changes = Session(old_id, {"value": "1"}).changes()
    assert backend.merge(old_id, changes, 60) == {}
    with closing(sqlite3.connect(tmp_path / "s.db")) as database:
        kept = database.execute("SELECT CAST(data AS BLOB) FROM sessions WHERE id = ?", (old_id,))
        assert kept.fetchone() == (text.encode() if isinstance(text, str) else text,)
    backend.close()


@pytest.mark.processes
@pytest.mark.parametrize("text", UNREADABLE)
def test_redis_keeps_unreadable_sessions(redis_url: str, text: str | bytes) -> None:
    backend = RedisSessionBackend(redis_url, prefix=f"{text!r}:")
    with Redis.from_url(redis_url) as client:
        client.set(f"{text!r}:old", text)
        assert backend.load("old") == {}
        assert backend.merge("old", Session("old", {"value": "1"}).changes(), 60) == {}
        assert client.get(f"{text!r}:old") == (text.encode() if isinstance(text, str) else text)
    backend.close()


def test_memory_drops_an_expired_session_when_it_is_requested() -> None:
    backend = InMemorySessionBackend()
    backend.save("a", {"x": 1}, 60)
    backend._sessions["a"] = 0.0, {"x": 1}
    assert backend.load("a") == {}
    assert not backend._sessions


@pytest.mark.parametrize("value", ["text", "\ud800", None, True, 1, [1], {"a": "b"}])
def test_the_memory_backend_stores_a_copy(value: object) -> None:
    backend, data = InMemorySessionBackend(), {"key": value}
    backend.save("id", data, 60)
    data["other"] = "later"
    assert backend.load_shared("id") == {"key": value}


def test_the_memory_backend_returns_what_json_returns() -> None:
    backend = InMemorySessionBackend()
    backend.save("id", {1: "one", "pair": (1, 2)}, 60)  # type: ignore[dict-item]
    assert backend.load_shared("id") == {"1": "one", "pair": [1, 2]}
