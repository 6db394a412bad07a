"""Sessions: what a cookie stands for, in memory or in a backend of the author's, sync or async."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    SessionBackend,
)
from micropie.sessions import Session
from tests.support.clients import MakeClient


class Sync(SessionBackend):
    """A backend of `def`s that may block; keeps what it was asked."""

    def __init__(self) -> None:
        self.data: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[Any, ...]] = []

    def load(self, session_id: str) -> Any:
        self.asked.append(("load", session_id))
        return dict(self.data.get(session_id, {}))

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.asked.append(("save", session_id, timeout))
        self.data[session_id] = dict(data)


class Async(Sync):
    async def load(self, session_id: str) -> Any:
        return super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:  # type: ignore[override]
        super().save(session_id, data, timeout)


class Quick(Sync):
    blocking = False


class Nothing(Sync):
    """Says None for what it does not know."""

    def load(self, session_id: str) -> Any:
        return super().load(session_id) or None


class Mixed(Sync):
    blocking = False

    async def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:  # type: ignore[override]
        super().save(session_id, data, timeout)


BACKENDS = [Sync, Async, Quick, Nothing, Mixed]


@pytest.fixture(params=[*BACKENDS, InMemorySessionBackend])
def backend(request: pytest.FixtureRequest) -> Any:
    """The class of each of the backends."""
    return request.param


class Root(App):
    def index(self) -> Any:
        self.request.session["visits"] = self.request.session.get("visits", 0) + 1
        return self.request.session["visits"]

    async def asynchronous(self) -> Any:
        return self.index()

    def look(self) -> Any:
        return self.request.session

    def untouched(self) -> str:
        return "x"

    def nested(self) -> Any:
        self.request.session.setdefault("cart", []).append(1)
        return self.request.session["cart"]

    def clear(self) -> None:
        self.request.session.clear()

    def replace(self) -> None:
        self.request.session = {"other": 1}

    def undo(self) -> None:
        self.request.session["a"] = 1
        del self.request.session["a"]

    def fails(self) -> None:
        self.request.session["error"] = 1
        raise HTTPError(400)

    def crashes(self) -> None:
        self.request.session["crash"] = 1
        raise RuntimeError

    def streams(self) -> Any:
        self.request.session["streamed"] = 1
        return iter(["a", "b"])

    def head(self) -> Any:
        self.request.session["x"] = 1


@pytest.mark.parametrize("path", ["/", "/asynchronous"])
def test_a_session_lasts_across_requests(make_client: MakeClient, backend: Any, path: str) -> None:
    client = make_client(Root(backend()))
    assert [client.get(path).json() for _ in range(3)] == [1, 2, 3]


def test_two_clients_have_two_sessions(make_client: MakeClient, backend: Any) -> None:
    app = Root(backend())
    first, second = make_client(app), make_client(app, lifespan=False)
    assert [first.get("/").json(), second.get("/").json(), first.get("/").json()] == [1, 1, 2]


def test_the_error_page_of_a_missing_path_has_the_session(
    make_client: MakeClient, backend: Any
) -> None:
    app = Root(backend())
    app.error(404)(lambda error: f"not here, {app.request.session.get('visits')}")
    client = make_client(app)
    assert client.get("/nowhere").text == "not here, None"
    client.get("/")
    assert client.get("/nowhere").text == "not here, 1"


@pytest.mark.parametrize("path", ["/untouched", "/look", "/undo", "/clear"])
def test_an_unchanged_session_sends_no_cookie(
    make_client: MakeClient, backend: Any, path: str
) -> None:
    assert "set-cookie" not in make_client(Root(backend())).get(path).headers


@pytest.mark.parametrize("backend", [Sync, Async])
def test_without_a_cookie_no_backend_is_asked(make_client: MakeClient, backend: Any) -> None:
    kept = backend()
    make_client(Root(kept)).get("/look")
    assert kept.asked == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_session_is_saved_once_before_the_response(make_client: MakeClient, backend: Any) -> None:
    kept = backend()
    client = make_client(Root(kept, session_timeout=60))
    with client.stream("GET", "/streams") as answer:
        session_id = answer.cookies["session_id"]
        assert kept.data == {session_id: {"streamed": 1}}
    client.get("/")
    opened, merged = ("load", session_id), [("load", session_id), ("save", session_id, 60)]
    assert kept.asked == [("save", session_id, 60), opened, *merged]
    kept.asked.clear()
    client.get("/clear")  # nothing is merged
    assert kept.asked == [opened, ("save", session_id, 60)]


def test_changes_inside_values_are_saved(make_client: MakeClient, backend: Any) -> None:
    client = make_client(Root(backend()))
    assert [client.get("/nested").json() for _ in range(3)] == [[1], [1, 1], [1, 1, 1]]


def test_a_cleared_session_is_deleted_in_cookie_and_backend(
    make_client: MakeClient, backend: Any
) -> None:
    client = make_client(Root(backend()))
    client.get("/")
    assert "session_id=; Max-Age=0" in client.get("/clear").headers["set-cookie"]
    assert client.get("/").json() == 1


def test_a_session_may_be_replaced(make_client: MakeClient, backend: Any) -> None:
    client = make_client(Root(backend()))
    client.get("/")
    client.get("/replace")
    assert client.get("/look").json() == {"other": 1}


@pytest.mark.parametrize("asked", [False, True])
def test_a_session_is_saved_with_4xx_errors_and_on_request_with_5xx(
    make_client: MakeClient, backend: Any, asked: bool
) -> None:
    client = make_client(Root(backend(), session_save_on_error=asked))
    answer = client.get("/crashes")
    assert (answer.status_code, "set-cookie" in answer.headers) == (500, asked)
    kept = {"crash": 1} if asked else {}
    assert client.get("/look").json() == kept
    assert client.get("/fails").status_code == 400
    assert client.get("/look").json() == {**kept, "error": 1}
    client.get("/crashes")
    assert client.get("/look").json() == {**kept, "error": 1}


def test_head_saves_as_get_does(make_client: MakeClient, backend: Any) -> None:
    client = make_client(Root(backend()))
    client.head("/head")
    assert client.get("/look").json() == {"x": 1}


def test_a_backend_without_methods_raises_an_error_that_lists_them() -> None:
    with pytest.raises(NotImplementedError, match="load"):
        SessionBackend().load("x")
    with pytest.raises(NotImplementedError, match="save"):
        SessionBackend().save("x", {}, 1)


@pytest.mark.parametrize("world", ["asyncio", "trio"])
@pytest.mark.parametrize("base", [SessionBackend, object])
def test_a_backend_runs_outside_the_loop_unless_it_declares_that_it_never_waits(
    connect: MakeClient, world: str, base: type
) -> None:
    threads: set[Any] = set()
    loops: list[Any] = []

    class Threads(base):  # type: ignore[misc]
        def load(self, session_id: str) -> Any:
            threads.add(threading.current_thread())
            return {"n": 1}

        def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
            threads.add(threading.current_thread())

    class Where(Root):
        async def where(self) -> Any:
            self.request.session["x"] = 1
            loops.append(threading.current_thread())

    backend = Threads()
    client = connect(Where(backend), world)
    cookie = {"Cookie": f"session_id={'x' * 43}"}
    assert client.get("/where", headers=cookie).status_code == 200
    assert len(threads) >= 1
    assert not threads.intersection(loops)
    backend.blocking = False
    threads.clear()
    assert connect(Where(backend), world).get("/where", headers=cookie).status_code == 200
    assert threads.issubset(loops)


# -- and hooks -------------------------------------------------------------------------------------


class LogIn(HttpMiddleware):
    """The commonest hook of all: nobody gets in without a session."""

    def before_request(self, request: Any) -> Any:
        if request.path != "/login" and "user" not in request.session:
            return {"status_code": 401, "body": "log in"}
        return None


class Guarded(App):
    def login(self) -> str:
        self.request.session["user"] = "me"
        return "in"

    def index(self) -> Any:
        return dict(self.request.session)


def test_a_hook_may_require_a_login(make_client: MakeClient, backend: Any) -> None:
    app = Guarded(backend())
    app.middlewares.append(LogIn())
    client = make_client(app)
    assert client.get("/").status_code == 401
    assert client.get("/login").status_code == 200
    assert (client.get("/").status_code, client.get("/").json()) == (200, {"user": "me"})
    assert client.get("/nowhere").status_code == 404


class Overloaded(HttpMiddleware):
    def after_request(self, *_: Any) -> Any:
        return {"status_code": 503}


def test_a_session_is_saved_after_hooks_that_may_turn_the_response_into_an_error(
    make_client: MakeClient, backend: Any
) -> None:
    app = Guarded(backend())
    app.middlewares.append(Overloaded())
    answer = make_client(app).get("/login")
    assert (answer.status_code, answer.headers.get("set-cookie")) == (503, None)


# -- in memory -------------------------------------------------------------------------------------


def test_the_memory_backend_stores_copies() -> None:
    backend = InMemorySessionBackend()
    data: dict[str, Any] = {"list": []}
    backend.save("a", data, 60)
    data["list"].append(1)
    backend.load("a")["list"].append(2)
    assert backend.load("a") == {"list": []}


def test_the_memory_backend_drops_expired_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    backend = InMemorySessionBackend()
    backend.save("a", {"x": 1}, 60)
    now[0] += 59
    assert backend.load("a") == {"x": 1}
    now[0] += 1
    assert backend.load("a") == {}
    assert backend.load("unknown") == {}


def test_the_memory_backend_keeps_the_most_recently_used_sessions() -> None:
    backend = InMemorySessionBackend(capacity=2)
    backend.save("a", {"x": 1}, 60)
    backend.save("b", {"x": 2}, 60)
    backend.load("a")
    backend.save("c", {"x": 3}, 60)
    assert [bool(backend.load(name)) for name in "abc"] == [True, False, True]


def test_a_session_knows_whether_it_has_changed() -> None:
    session = Session("id", {"a": [1]})
    assert (session.id, session.changed) == ("id", False)
    session["a"].append(2)
    assert session.changed
    session["a"].pop()
    assert not session.changed
    assert Session().id is None
