"""``tools.sessions``: the original and ours, each way to store them, locks."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as dt_time
from decimal import Decimal
from enum import IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import cherrypy as original
import pytest

from micropie import App, HttpMiddleware, Request, SetupError
from micropie import request as native_request
from micropie._core import execution
from micropie._core.http.request import current_request
from micropie.middleware import CSRFMiddleware, csrf_token
from micropie.sessions import (
    InMemorySessionBackend,
    SignedCookieSessionBackend,
    SQLiteSessionBackend,
)
from micropie.testing import TestClient
from micropie_compat import cherrypy as ours
from micropie_compat.cherrypy.lib import sessions
from micropie_compat.cherrypy.locks import MOST_WAITING, LockTable
from tests.support.clients import MakeClient
from tests.support.commands import environment
from tests.support.waiting import PATIENCE, until

Serve = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin each test with classes that are not set up, and leave no clean-up running."""
    modules = [original.lib.sessions, sessions]
    monkeypatch.setattr(sessions.FileSession, "folders", set())
    for module in modules:
        for name in ("RamSession", "FileSession"):
            cls = getattr(module, name)
            monkeypatch.setattr(cls, "clean_thread", None)
            for attribute in ("storage_path", "_prepared", "timeout"):
                if attribute in vars(cls):
                    monkeypatch.delattr(cls, attribute)
    if hasattr(original, "session"):
        del original.session
    yield
    for module in modules:
        for name in ("RamSession", "FileSession", "BackendSession"):
            monitor = getattr(getattr(module, name, None), "clean_thread", None)
            if monitor is not None:
                monitor.unsubscribe()
                monitor.stop()


def build(cherrypy: Any, **options: Any) -> Any:
    """Return a root with the tool on."""

    class Root:
        _cp_config = {
            "tools.sessions.on": True,
            **{f"tools.sessions.{name}": value for name, value in options.items()},
        }

        @cherrypy.expose
        def index(self) -> str:
            return json.dumps(dict(cherrypy.session.items()), sort_keys=True, default=str)

        @cherrypy.expose
        def put(self, key: str, value: str, native: str = "") -> str:
            cherrypy.session[key] = value
            return str(cherrypy.session.id)

        @cherrypy.expose
        def fail(self) -> str:
            cherrypy.session["failed"] = "yes"
            raise LookupError

        @cherrypy.expose
        def renew(self) -> str:
            cherrypy.session.load()
            cherrypy.session.regenerate()
            return str(cherrypy.session.id)

        @cherrypy.expose
        def renew_and_put(self, key: str, value: str) -> str:
            cherrypy.session.regenerate()
            cherrypy.session[key] = value
            return str(cherrypy.session.id)

        @cherrypy.expose
        def clear(self) -> str:
            cherrypy.session.clear()
            return "cleared"

        @cherrypy.expose
        def renew_by_tool(self) -> str:
            cherrypy.tools.sessions.regenerate()
            return str(cherrypy.session.id)

        @cherrypy.expose
        def delete(self) -> str:
            cherrypy.session.delete()
            cherrypy.lib.sessions.expire()
            return "deleted"

        @cherrypy.expose
        def flags(self) -> str:
            session = cherrypy.session
            return f"{session.missing} {session.regenerated} {session.originalid} {session.locked}"

        @cherrypy.expose
        def streamed(self) -> Any:
            cherrypy.session["before"] = "1"

            def pieces() -> Any:
                yield "a"
                cherrypy.session["during"] = "2"
                yield "b"

            return pieces()

        streamed._cp_config = {"response.stream": True}

        @cherrypy.expose
        def streamed_only(self) -> Any:
            yield "a"

        streamed_only._cp_config = {"response.stream": True}

        @cherrypy.expose
        def generated(self) -> Any:
            yield "a"
            cherrypy.session["during"] = "2"
            yield "b"

        @cherrypy.expose
        def plain(self) -> str:
            return "untouched"

    return Root()


def connected(cherrypy: Any, side: str, connect: MakeClient, **options: Any) -> TestClient:
    app = cherrypy.Application(build(cherrypy, **options), "")
    if side == "original":
        return connect(app, "wsgi", validate=False)
    return connect(app, side)


@pytest.fixture(params=["ram", "file"])
def client(
    request: pytest.FixtureRequest, side: str, cherrypy: Any, connect: MakeClient, tmp_path: Path
) -> TestClient:
    """A client of each kind of storage that both have."""
    if request.param == "ram":
        return connected(cherrypy, side, connect)
    cls = cherrypy.lib.sessions.FileSession
    return connected(
        cherrypy, side, connect, storage_class=cls, storage_path=str(tmp_path / "sessions")
    )


@pytest.fixture
def sessions_folder(tmp_path: Path) -> Path:
    (tmp_path / "sessions").mkdir()
    return tmp_path / "sessions"


@pytest.fixture(autouse=True)
def folder_is_there(sessions_folder: Path) -> None:
    """The original does not make it."""


def test_session_values_last_across_requests(client: TestClient) -> None:
    first = client.get("/put?key=a&value=1").text
    assert client.get("/put?key=b&value=2").text == first
    assert json.loads(client.get("/").text) == {"a": "1", "b": "2"}
    assert client.get("/fail").status_code == 500
    client.get("/put?key=c&value=3")
    assert json.loads(client.get("/").text).keys() >= {"a", "b", "c"}


def test_an_unused_session_is_not_stored(client: TestClient) -> None:
    client.get("/plain")
    first = client.cookies["session_id"]
    client.get("/plain")
    assert client.cookies["session_id"] != first


def test_an_id_chosen_by_a_client_is_not_adopted(client: TestClient) -> None:
    response = client.get("/flags", headers={"Cookie": f"session_id={'a' * 40}"})
    assert response.text == f"True False {'a' * 40} True"
    assert "a" * 40 not in response.headers["Set-Cookie"]


def test_a_regenerated_session_keeps_its_values(client: TestClient) -> None:
    first = client.get("/put?key=a&value=1").text
    second = client.get("/renew").text
    assert first != second == client.cookies["session_id"]
    assert json.loads(client.get("/").text) == {"a": "1"}
    third = client.get("/renew_by_tool").text
    assert third != second
    client.cookies.clear()
    client.cookies.set("session_id", first)
    assert client.get("/").text == "{}"


def test_a_deleted_session_is_empty_in_the_next_request(client: TestClient) -> None:
    first = client.get("/put?key=a&value=1").text
    response = client.get("/delete")
    assert "Max-Age" not in response.headers["Set-Cookie"]
    client.cookies.clear()
    client.cookies.set("session_id", first)
    assert client.get("/").text == "{}"


def test_streams_and_generators_may_use_the_session(client: TestClient) -> None:
    assert client.get("/streamed").text == "ab"
    assert json.loads(client.get("/").text) == {"before": "1", "during": "2"}
    assert client.get("/generated").text == "ab"
    assert json.loads(client.get("/").text)["during"] == "2"
    assert client.get("/streamed_only").text == "a"


@pytest.mark.parametrize("locking", ["implicit", "early", "explicit", None, False])
def test_a_session_can_be_locked_in_several_ways(
    side: str, cherrypy: Any, connect: MakeClient, locking: Any
) -> None:
    client = connected(cherrypy, side, connect, locking=locking)
    assert client.get("/flags").text == f"False False None {locking in ('implicit', 'early')}"
    first = client.get("/put?key=a&value=1").text
    assert client.get("/renew").text != first
    assert client.get("/").text == '{"a": "1"}'


def test_session_cookies_have_attributes(side: str, cherrypy: Any, connect: MakeClient) -> None:
    client = connected(
        cherrypy,
        side,
        connect,
        name="own",
        path="/x",
        domain="example.org",
        secure=True,
        httponly=True,
        timeout=2,
    )
    cookie = client.get("/").headers["Set-Cookie"]
    parts = {part.partition("=")[0].lower(): part.partition("=")[2] for part in cookie.split("; ")}
    assert (parts["path"], parts["domain"], parts["max-age"]) == ("/x", "example.org", "120")
    assert {"own", "secure", "httponly", "expires"} <= parts.keys()
    client = connected(cherrypy, side, connect, persistent=False, path_header="X-Path")
    cookie = client.get("/", headers={"X-Path": "/y"}).headers["Set-Cookie"]
    assert "Path=/y" in cookie
    assert "expires" not in cookie.lower()
    cookie = client.get("/renew_by_tool", headers={"X-Path": "/y"}).headers["Set-Cookie"]
    assert "Path=/y" in cookie


def test_session_cookies_are_httponly(world: str, connect: MakeClient) -> None:
    cookie = connected(ours, world, connect).get("/").headers["Set-Cookie"]
    assert "HttpOnly; " in cookie
    assert "SameSite=Lax" in cookie
    cookie = (
        connected(ours, world, connect, httponly=False, samesite=None)
        .get("/")
        .headers["Set-Cookie"]
    )
    assert "HttpOnly" not in cookie
    assert "SameSite" not in cookie


def test_a_session_has_the_other_methods_of_a_dict(world: str, connect: MakeClient) -> None:
    class Root:
        _cp_config = {"tools.sessions.on": True}

        @ours.expose
        def index(self) -> str:
            session: Any = ours.session
            session.update({"a": 1, "b": 2})
            assert session.setdefault("c", 3) == 3
            assert session.pop("c") == 3
            assert session.pop("c", 4) == 4
            assert session.pop("c") is False  # also in the original
            del session["b"]
            assert "a" in session
            assert list(session) == list(session.keys()) == ["a"]
            assert list(session.values()) == [1]
            assert session.get("b", 5) == 5
            session.clear()
            return str(len(session.keys()))

    assert connect(ours.Application(Root(), ""), world).get("/").text == "0"


def test_a_request_has_one_session(world: str, connect: MakeClient) -> None:
    class Root:
        _cp_config = {"tools.sessions.on": True}

        @ours.expose
        def index(self) -> str:
            before = ours.session.id
            sessions.init()
            sessions.save()
            sessions.save()
            return str(before == ours.session.id)

    assert connect(ours.Application(Root(), ""), world).get("/").text == "True"


@pytest.mark.parametrize(
    "options",
    [
        {"storage_type": "memcached"},
        {"locking": "never"},
        {"storage_type": "file"},
        {"storage_type": "FILE"},
    ],
)
def test_invalid_session_settings_are_refused(
    world: str, connect: MakeClient, options: dict[str, str]
) -> None:
    assert connected(ours, world, connect, **options).get("/").status_code == 500


def test_storage_types_are_found_by_name(
    world: str, connect: MakeClient, sessions_folder: Path
) -> None:
    client = connected(ours, world, connect, storage_type="file", storage_path=str(sessions_folder))
    client.get("/put?key=a&value=1")
    assert len(list(sessions_folder.iterdir())) == 1
    assert client.get("/").text == '{"a": "1"}'


def test_a_custom_session_class_is_used(side: str, cherrypy: Any, connect: MakeClient) -> None:
    stored: dict[str, Any] = {}

    class Own(cherrypy.lib.sessions.Session):
        clean_freq = 0

        def _exists(self) -> bool:
            return self.id in stored

        def _load(self) -> Any:
            return stored.get(self.id)

        def _save(self, expiration_time: Any) -> None:
            stored[self.id] = self._data, expiration_time

        def _delete(self) -> None:
            stored.pop(self.id, None)

        def acquire_lock(self) -> None:
            self.locked = True

        def release_lock(self) -> None:
            self.locked = False

    client = connected(cherrypy, side, connect, storage_class=Own, clean_freq=0)
    client.get("/put?key=a&value=1")
    assert client.get("/").text == '{"a": "1"}'
    stored[client.cookies["session_id"]] = ({"a": "1"}, datetime(2000, 1, 1))
    assert client.get("/").text == "{}"


def test_a_session_class_is_set_up_with_its_own_options(
    side: str, cherrypy: Any, connect: MakeClient
) -> None:
    places = []

    class Own(cherrypy.lib.sessions.RamSession):
        # as CherryPy's classes have them
        cache: dict[str, Any] = {}
        locks: dict[str, Any] = {}
        # a name of the program's
        store: dict[str, Any] = {}

        @classmethod
        def setup(cls, place: str) -> None:
            places.append(place)

    client = connected(cherrypy, side, connect, storage_class=Own, timeout=5, place="here")
    client.get("/put?key=a&value=1")
    assert client.get("/").text == '{"a": "1"}'
    assert (places, list(Own.cache)) == (["here"], [client.cookies["session_id"]])
    assert client.cookies["session_id"] not in cherrypy.lib.sessions.RamSession.cache


@pytest.mark.parametrize("kind", ["ram", "file"])
def test_a_session_is_saved_if_a_clean_up_has_deleted_the_expired_one(
    side: str, cherrypy: Any, connect: MakeClient, tmp_path: Path, kind: str
) -> None:
    """A visitor comes back and logs in while the clean-up runs."""

    class Root:
        _cp_config = {
            "tools.sessions.on": True,
            "tools.sessions.locking": "explicit",
            "tools.sessions.storage_class": {
                "ram": cherrypy.lib.sessions.RamSession,
                "file": cherrypy.lib.sessions.FileSession,
            }[kind],
            "tools.sessions.storage_path": str(tmp_path / "kept"),
        }

        @cherrypy.expose
        def index(self, user: str = "") -> str:
            session = cherrypy.session
            session.acquire_lock()
            found = session.get("user")
            if user:
                session.release_lock()
                session.clean_up()
                session.acquire_lock()
                session["user"] = user
            return str(found)

        @cherrypy.expose
        def leave(self) -> str:
            cherrypy.session.acquire_lock()
            cherrypy.session["user"] = "ann"
            cherrypy.session.timeout = -1
            return "long ago"

    (tmp_path / "kept").mkdir()
    app = cherrypy.Application(Root(), "")
    client = connect(app, "wsgi" if side == "original" else side, validate=side != "original")
    client.get("/leave")
    if (side, kind) != ("original", "ram"):  # its clean-up also drops the lock
        assert [client.get(path).text for path in ("/?user=bob", "/")] == ["None", "bob"]


@pytest.mark.parametrize("kind", ["ram", "file"])
def test_a_clean_up_keeps_what_a_request_has_locked(sessions_folder: Path, kind: str) -> None:
    def loaded(session_id: str | None = None) -> sessions.Session:
        if kind == "ram":
            return sessions.RamSession(session_id)
        return sessions.FileSession(session_id, storage_path=str(sessions_folder))

    expired = loaded()
    expired.timeout = -1
    expired["a"] = 1
    expired.save()
    held = loaded(expired.id)
    held.acquire_lock()
    loaded().clean_up()
    assert held._exists()
    held.release_lock()
    loaded().clean_up()
    assert not held._exists()
    assert len(type(held).locks) == 0
    assert list(sessions_folder.iterdir()) == []


@pytest.mark.parametrize("kind", ["ram", "file"])
def test_a_clean_up_keeps_what_a_request_has_just_saved(
    sessions_folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request saves it after the clean-up has seen that it is expired."""
    options: dict[str, Any] = {} if kind == "ram" else {"storage_path": str(sessions_folder)}
    cls = sessions.RamSession if kind == "ram" else sessions.FileSession
    expired = cls(**options)
    expired.timeout = -1
    expired["a"] = 1
    expired.save()
    lock = sessions._locked_file

    def save() -> None:
        saved = cls(expired.id, **options)
        saved["a"] = 2
        saved.save()

    class Table(LockTable):
        def acquire(self, *arguments: Any) -> bool:
            save()
            return super().acquire(*arguments)

    def save_and_lock(*arguments: Any) -> Any:
        save()
        return lock(*arguments)

    monkeypatch.setattr(sessions.RamSession, "locks", Table())
    monkeypatch.setattr(sessions, "_locked_file", save_and_lock)
    cls(**options).clean_up()
    assert cls(expired.id, **options)["a"] == 2


def test_values_in_memory_may_refer_to_each_other(
    side: str, cherrypy: Any, connect: MakeClient
) -> None:
    class Shy:
        def __repr__(self) -> str:
            raise NotImplementedError

    class Root:
        _cp_config = {"tools.sessions.on": True}

        @cherrypy.expose
        def index(self) -> str:
            parent: dict[str, Any] = {"name": "menu"}
            parent["children"] = [{"name": "pies", "parent": parent}]
            cherrypy.session["menu"], cherrypy.session["shy"] = parent, Shy()
            return "kept"

        @cherrypy.expose
        def look(self) -> str:
            (child,) = cherrypy.session["menu"]["children"]
            return f"{child['parent']['name']} {type(cherrypy.session['shy']).__name__}"

        @cherrypy.expose
        def streamed(self) -> Any:
            cherrypy.session["shy"] = Shy()

            def pieces() -> Any:
                yield "streamed"
                cherrypy.session["shy"] = "no more"

            return pieces()

        streamed._cp_config = {"response.stream": True}

    app = cherrypy.Application(Root(), "")
    client = connect(app, "wsgi" if side == "original" else side, validate=side != "original")
    assert (client.get("/").text, client.get("/look").text) == ("kept", "menu Shy")
    assert (client.get("/streamed").text, client.get("/look").text) == ("streamed", "menu str")


def test_a_default_may_be_given_by_name(side: str, cherrypy: Any, connect: MakeClient) -> None:
    class Root:
        _cp_config = {"tools.sessions.on": True}

        @cherrypy.expose
        def index(self) -> str:
            session = cherrypy.session
            given = session.pop("a", default=1), session.get("a", default=2), session.pop("a")
            last = session.setdefault("a", default=3), session.pop("a"), session.setdefault("a")
            return repr((*given, session.get("a"), *last))

    app = cherrypy.Application(Root(), "")
    client = connect(app, "wsgi" if side == "original" else side, validate=side != "original")
    assert client.get("/").text == "(1, 2, False, None, 3, 3, None)"


def test_a_cookie_without_a_timeout_ends_with_the_browser(
    side: str, cherrypy: Any, connect: MakeClient
) -> None:
    client = connected(cherrypy, side, connect, timeout=0)
    cookie = client.get("/plain").headers["Set-Cookie"].lower()
    assert "max-age" not in cookie
    assert "expires" not in cookie


# -- locks -----------------------------------------------------------------------------------------


def test_requests_of_one_session_run_one_after_another(world: str, connect: MakeClient) -> None:
    entered, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    class Root:
        _cp_config = {"tools.sessions.on": True}

        @ours.expose
        def index(self) -> str:
            ours.session["a"] = 1
            return "x"

        @ours.expose
        def slow(self) -> str:
            ours.session["a"] += 1
            entered.set()
            assert go_on.wait(PATIENCE)
            order.append("slow")
            return "x"

        @ours.expose
        def fast(self) -> str:
            order.append("fast")
            return str(ours.session["a"])

    client = connect(ours.Application(Root(), ""), world)
    client.get("/")
    first = threading.Thread(target=client.get, args=("/slow",))
    first.start()
    assert entered.wait(PATIENCE)
    answers: list[str] = []
    second = threading.Thread(target=lambda: answers.append(client.get("/fast").text))
    second.start()
    until(lambda: any(one.users == 2 for one in sessions.RamSession.locks._locks.values()))
    go_on.set()
    first.join(PATIENCE)
    second.join(PATIENCE)
    assert (order, answers) == (["slow", "fast"], ["2"])
    assert len(sessions.RamSession.locks) == 0


def test_R44_only_a_few_requests_wait_for_a_slow_request_of_their_session() -> None:
    """Under WSGI each holds a thread that all visitors share."""
    table = LockTable()
    assert table.acquire("a", -1)
    with waiting_for(table, MOST_WAITING):
        for seconds in (PATIENCE, -1):
            assert not table.acquire("a", seconds, 0)
        assert not table.acquire("a", 0, None)
        assert table.acquire("b", -1, 0)
        table.release("b")
    assert len(table) == 0


def test_many_requests_wait_for_quick_requests_of_their_session() -> None:
    table = LockTable()
    assert table.acquire("a", -1)
    with waiting_for(table, 100, PATIENCE):
        pass
    assert len(table) == 0


@contextmanager
def waiting_for(
    table: LockTable, number: int, queue_seconds: float | None = None
) -> Iterator[None]:
    """Have so many threads wait for the session "a" in the block; then all get it."""
    locked: list[bool] = []

    def ask() -> None:
        locked.append(table.acquire("a", -1, queue_seconds))
        table.release("a")

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for thread in threads:
        thread.start()
    until(lambda: table._locks["a"].users == number + 1)
    yield
    table.release("a")
    for thread in threads:
        thread.join(PATIENCE)
    assert locked == [True] * number


class Page:
    """A page that takes long, what it loads, and what another visitor asks for."""

    _cp_config = {"tools.sessions.on": True}

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    @ours.expose
    def index(self) -> str:
        ours.session["pictures"] = 0
        return "x"

    @ours.expose
    def report(self) -> str:
        self.entered.set()
        assert self.go_on.wait(PATIENCE)
        return "report"

    @ours.expose
    def picture(self) -> str:
        ours.session["pictures"] += 1
        return "picture"

    @ours.expose
    def other(self) -> str:
        return "other"

    other._cp_config = {"tools.sessions.on": False}  # type: ignore[attr-defined]


def test_a_page_with_many_requests_loses_none_and_delays_nobody(
    world: str, connect: MakeClient
) -> None:
    """HTTP/2 sends all of a page's requests at once; under ASGI they lend their threads."""
    root = Page()
    app = ours.Application(root, "")
    app.native.configure(threads=2)
    client = connect(app, world)
    client.get("/")
    given: list[int] = []
    paths = ["/report", *["/picture"] * 30]
    threads = [
        threading.Thread(target=lambda path=path: given.append(client.get(path).status_code))
        for path in paths
    ]
    threads[0].start()
    assert root.entered.wait(PATIENCE)
    for thread in threads[1:]:
        thread.start()
    until(lambda: [one.users for one in sessions.RamSession.locks._locks.values()] == [31])
    assert connect(app, world).get("/other").text == "other"
    root.go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert given == [200] * 31
    assert sessions.RamSession.cache[client.cookies["session_id"]][0] == {"pictures": 30}
    assert len(sessions.RamSession.locks) == 0


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_R44_only_a_limited_number_of_threads_is_lent(
    world: str, connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connected(ours, world, connect)
    held = client.get("/put?key=a&value=1").text
    monkeypatch.setattr(execution.threads, "MOST_READERS", 0)
    assert sessions.RamSession.locks.acquire(held, -1)
    answer = client.get("/")
    sessions.RamSession.locks.release(held)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_a_session_can_be_locked_in_the_program_s_thread(world: str, connect: MakeClient) -> None:
    class Root:
        _cp_config = {"tools.sessions.on": True, "tools.sessions.locking": "explicit"}

        @ours.expose
        def index(self) -> str:
            ours.session["a"] = 1
            return str(ours.session.id)

        @ours.expose
        def lock(self) -> str:
            ours.session.lock_timeout = 0.01
            found: list[str] = []

            def ask() -> None:
                with pytest.raises(ours.HTTPError) as caught:
                    ours.session.acquire_lock()
                found.append(str(caught.value.code))

            thread = threading.Thread(target=copy_context().run, args=(ask,))
            thread.start()
            thread.join(PATIENCE)
            return found[0]

    client = connect(ours.Application(Root(), ""), world)
    held = client.get("/").text
    assert sessions.RamSession.locks.acquire(held, -1)
    assert client.get("/lock").text == "503"
    sessions.RamSession.locks.release(held)


def test_a_request_of_a_busy_session_gets_retry_after(world: str, connect: MakeClient) -> None:
    client = connected(ours, world, connect, lock_timeout=0.01)
    held = client.get("/put?key=a&value=1").text
    assert sessions.RamSession.locks.acquire(held, -1)
    answer = client.get("/")
    sessions.RamSession.locks.release(held)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


class Leaving:
    """A log-in, a log-out, and a page that changes the session with each piece."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()

    @ours.expose
    def log_in(self) -> str:
        ours.session["user"] = "alice"
        return "in"

    @ours.expose
    def log_out(self, first: str = "") -> str:
        if first:
            ours.session["user"] += "!"
        ours.session.delete()
        return "out"

    @ours.expose
    def who(self) -> str:
        return str(ours.session.get("user"))

    @ours.expose
    def pieces(self) -> Any:
        ours.response.stream = True
        ours.session["begun"] = True

        def made() -> Iterator[str]:
            yield "a"
            self.entered.set()
            assert self.go_on.wait(PATIENCE)
            ours.session["ended"] = True
            yield "b"

        return made()

    @ours.expose
    def late(self) -> str:
        """Find the session, and load it when it has been ended."""
        self.entered.set()
        assert self.go_on.wait(PATIENCE)
        ours.session["late"] = True
        return "late"


class NoMerge(InMemorySessionBackend):
    merge = None  # type: ignore[assignment]


def kept_in(storage: str, folder: Path) -> dict[str, Any]:
    if storage == "file":
        return {"storage_type": "file", "storage_path": str(folder)}
    backends = {"backend": InMemorySessionBackend, "no_merge": NoMerge}
    return {"backend": backends[storage]()} if storage in backends else {}


@pytest.mark.parametrize("other", ["pieces", "late"])
@pytest.mark.parametrize("first", ["", "1"])
@pytest.mark.parametrize("storage", ["ram", "file", "backend", "no_merge"])
def test_R43_a_logout_is_final(
    world: str, connect: MakeClient, sessions_folder: Path, storage: str, first: str, other: str
) -> None:
    """Nothing that began before it brings the session back: no stream's end, no slow request."""
    root = Leaving()
    options = kept_in(storage, sessions_folder)
    config = {f"tools.sessions.{name}": value for name, value in options.items()}
    config |= {"tools.sessions.on": True, "tools.sessions.locking": "explicit"}
    client = connect(ours.Application(root, "", {"/": config}), world)
    client.get("/log_in")
    cookie = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}
    client.cookies.clear()
    assert client.get("/who", headers=cookie).text == "alice"
    slow = threading.Thread(target=client.get, args=(f"/{other}",), kwargs={"headers": cookie})
    slow.start()
    assert root.entered.wait(PATIENCE)
    assert client.get("/log_out", params={"first": first}, headers=cookie).text == "out"
    root.go_on.set()
    slow.join(PATIENCE)
    client.cookies.clear()
    assert client.get("/who", headers=cookie).text == "None"


def test_waiting_for_a_lock_has_a_time_limit(
    world: str, connect: MakeClient, sessions_folder: Path
) -> None:
    for options in (
        {"lock_timeout": 0.01},
        {"lock_timeout": timedelta(milliseconds=10)},
        {"storage_type": "file", "storage_path": str(sessions_folder), "lock_timeout": 0.01},
    ):
        client = connected(ours, world, connect, **options)
        held = client.get("/put?key=a&value=1").text
        table = (sessions.FileSession if "storage_path" in options else sessions.RamSession).locks
        assert table.acquire(held, -1)
        assert client.get("/").status_code == 503
        table.release(held)
        assert client.get("/").text == '{"a": "1"}'
        assert len(table) == 0


def test_a_lock_without_a_time_limit_waits(
    world: str, connect: MakeClient, sessions_folder: Path
) -> None:
    for options in ({}, {"storage_type": "file", "storage_path": str(sessions_folder)}):
        client = connected(ours, world, connect, lock_timeout=None, **options)
        client.get("/put?key=a&value=1")
        assert client.get("/").text == '{"a": "1"}'


def test_a_handler_may_lock_and_unlock_the_session(world: str, connect: MakeClient) -> None:
    class Root:
        _cp_config = {"tools.sessions.on": True, "tools.sessions.locking": "explicit"}

        @ours.expose
        def index(self, leave: str = "") -> str:
            session: Any = ours.session
            session.acquire_lock()
            session["a"] = 1
            if leave:
                raise LookupError
            session.release_lock()
            return str(session.locked)

    client = connect(ours.Application(Root(), ""), world)
    assert client.get("/").text == "False"
    assert client.get("/?leave=1").status_code == 500
    client.close()
    until(lambda: len(sessions.RamSession.locks) == 0)


def test_a_failing_unlock_does_not_fail_the_request(world: str, connect: MakeClient) -> None:
    class Broken(sessions.RamSession):
        def release_lock(self) -> None:
            super().release_lock()
            self.locked = True
            raise OSError

    class Root:
        _cp_config = {
            "tools.sessions.on": True,
            "tools.sessions.storage_class": Broken,
            "tools.sessions.locking": "explicit",
        }

        @ours.expose
        def index(self) -> str:
            ours.session.acquire_lock()
            raise KeyError

    assert connect(ours.Application(Root(), ""), world).get("/").status_code == 500
    until(lambda: len(sessions.RamSession.locks) == 0)


LOCKER = """
import sys
from micropie_compat.cherrypy.lib.sessions import FileSession
session = FileSession(sys.argv[1], storage_path=sys.argv[2])
session.acquire_lock()
print("locked", flush=True)
sys.stdin.readline()
session["b"] = 2
session.save()
"""


@pytest.mark.processes
def test_session_files_are_locked_for_other_processes(sessions_folder: Path) -> None:
    session = sessions.FileSession(storage_path=str(sessions_folder), lock_timeout=0.01)
    session["a"] = 1
    session.acquire_lock()
    session.save()
    assert session.id is not None
    command = [sys.executable, "-c", LOCKER, session.id, str(sessions_folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ours.HTTPError):
            session.acquire_lock()
        assert not session.locked
        process.communicate("go on\n", timeout=PATIENCE)
    session.acquire_lock()
    session.load()
    assert session._data == {"a": 1, "b": 2}
    session.release_lock()
    assert [path.name for path in sessions_folder.iterdir()] == [f"session-{session.id}"]


def test_a_deleted_lock_file_is_created_again(
    sessions_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = sessions.FileSession(storage_path=str(sessions_folder))
    real, calls = os.path.samestat, []

    def other_once(first: Any, second: Any) -> bool:
        calls.append(1)
        return len(calls) > 1 and real(first, second)

    monkeypatch.setattr(os.path, "samestat", other_once)
    session.acquire_lock()
    assert len(calls) == 2
    session.release_lock()


def test_sessions_work_without_file_locks(
    sessions_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    session = sessions.FileSession(storage_path=str(sessions_folder))
    session.acquire_lock()
    session.release_lock()
    assert list(sessions_folder.iterdir()) == []


# -- storage ---------------------------------------------------------------------------------------


def test_sessions_expire(sessions_folder: Path) -> None:
    made: list[sessions.Session] = [
        sessions.RamSession(timeout=-1, clean_freq=0),
        sessions.FileSession(timeout=-1, clean_freq=0, storage_path=str(sessions_folder)),
    ]
    for session in made:
        before = len(session)  # type: ignore[arg-type]
        for timeout in (-1, 1):
            session.timeout = timeout
            session["a"] = 1
            session.save()
        session.id = "expired"
        session.timeout = -1
        session.save()
        assert len(session) == before + 2  # type: ignore[arg-type]
        again = type(session)("expired", clean_freq=0, **options_of(session))
        assert again.get("a") is None
        session.clean_up()
        assert len(session) == before + 1  # type: ignore[arg-type]
        assert type(session)("expired", clean_freq=0, **options_of(session)).missing


def options_of(session: Any) -> dict[str, Any]:
    return (
        {"storage_path": session.storage_path} if isinstance(session, sessions.FileSession) else {}
    )


def test_the_cleanup_skips_files_that_are_not_sessions(
    sessions_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (sessions_folder / "session-broken").write_text("{")
    (sessions_folder / "session-x.lock").write_text("")
    (sessions_folder / "session-folder").mkdir()
    session = sessions.FileSession(storage_path=str(sessions_folder))
    session.clean_up()
    assert len(list(sessions_folder.iterdir())) == 3
    assert caplog.text == ""  # it runs every few minutes


LONG_AGO = datetime(2000, 1, 1)
UNREADABLE = {
    "an object": pickle.dumps(({"user": object}, LONG_AGO), pickle.HIGHEST_PROTOCOL),
    "an attribute of a class": pickle.dumps(({"user": LONG_AGO.isoformat}, LONG_AGO)),
    "cut off": b'[{"cart": ',
    "no bytes": b"",
    "another format": b'["cart", 0]',
    "a list": pickle.dumps((["cart"], LONG_AGO)),
    "no expiry time": b'[{"cart": 1}, "never"]',
}


@pytest.mark.parametrize("path", ["/", "/put?key=a&value=1", "/renew", "/renew_by_tool", "/delete"])
@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_corrupt_session_file_is_kept(
    world: str,
    connect: MakeClient,
    sessions_folder: Path,
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    path: str,
) -> None:
    """The visitor gets a new session, under an id that nobody else knows."""
    file = sessions_folder / "session-old"
    file.write_bytes(content)
    client = connected(
        ours,
        world,
        connect,
        storage_class=sessions.FileSession,
        storage_path=str(sessions_folder),
    )
    assert client.get(path, headers={"Cookie": "session_id=old"}).status_code == 200
    (line,) = [one for one in caplog.records if "can't be read" in one.message]
    assert str(file) in line.message
    if path != "/delete":
        assert client.cookies["session_id"] != "old"
        client.get("/put?key=b&value=2")
        assert '"b": "2"' in client.get("/").text
    session = sessions.FileSession(storage_path=str(sessions_folder))
    session.clean_up()
    assert file.read_bytes() == content


@pytest.mark.parametrize("method", ["load", "regenerate", "delete"])
def test_a_session_file_without_read_permission_is_kept(
    sessions_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
) -> None:
    file = sessions_folder / "session-old"
    file.write_bytes(pickle.dumps(({"a": 1}, 0)))
    monkeypatch.setattr(Path, "read_bytes", refused(PermissionError))
    session = sessions.FileSession("old", storage_path=str(sessions_folder), clean_freq=0)
    getattr(session, method)()
    session.clean_up()
    assert file.exists()
    assert len(caplog.records) == 1
    assert (session.id == "old") is (method == "delete")


def test_a_logout_that_fails_is_reported(
    sessions_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file could be read again a moment later, and the visitor would be logged in."""
    (sessions_folder / "session-old").write_bytes(pickle.dumps(({"a": 1}, 0)))
    session = sessions.FileSession("old", storage_path=str(sessions_folder))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", refused(OSError))
        with pytest.raises(OSError, match="refused"):
            session.delete()
    session.delete()
    assert list(sessions_folder.iterdir()) == []


def refused(kind: type[OSError]) -> Callable[[Path], bytes]:
    def read_bytes(path: Path) -> bytes:
        raise kind("refused")

    return read_bytes


def test_the_cleanup_runs_in_the_background(world: str, connect: MakeClient) -> None:
    client = connected(ours, world, connect, clean_freq=0.00001)
    client.get("/put?key=a&value=1")
    sessions.RamSession.cache["old"] = {}, datetime(2000, 1, 1)
    until(lambda: "old" not in sessions.RamSession.cache)


class Pie:
    """A class of a program."""

    def __repr__(self) -> str:
        return "Pie()"


class Place(NamedTuple):
    x: int


class Size(IntEnum):
    SMALL = 1


# Values that every class stores: those of a cart, a log-in, a flash message ...
PLAIN: list[Any] = [
    {5: 2},
    {"cart": {None: 1, True: 2, 1.5: 3, (1, 2): [4]}},
    (1, (2, [3])),
    date(2026, 1, 1),
    datetime(2026, 1, 1, 12, 30, 1, 5),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 7, 1, tzinfo=timezone(timedelta(hours=2))),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    dt_time(8, 30),
    timedelta(days=-1, microseconds=1),
    Decimal("1.50"),
    UUID(int=5),
    {"a"},
    {1, 2},
    frozenset({(1, 2)}),
    set(),
    b"\x00\xff",
    float("inf"),
    10**50,
    "é\U0001f967\ud800",
    [None, True, {"a": [{"b": ()}]}],
    {"!python": ["set", [1]]},
    {"!python": 1, "other": 2},
]
OTHERS: list[Any] = [
    1j,
    bytearray(b"bytearray"),
    range(1, 9, 2),
    slice(None, 5),
    time.gmtime(0),
    OrderedDict(b=1, a=2),
    defaultdict(list, {1: [2]}),
    deque([1], maxlen=3),
    Counter("aab"),
]
NOT_PLAIN = [Pie(), Pie, Place(1), Size.SMALL, print, {"a": [Pie()]}]


def keeping(cherrypy: Any, value: object, key: object = "value", **options: Any) -> Any:
    """Return a root that stores a value, and shows what it reads, in JSON."""

    class Root:
        _cp_config = {
            "tools.sessions.on": True,
            **{f"tools.sessions.{name}": option for name, option in options.items()},
        }

        @cherrypy.expose
        def put(self) -> str:
            cherrypy.session[key] = value
            return "stored"

        @cherrypy.expose
        def get(self) -> str:
            return f"{type(cherrypy.session.get(key))} {shown(cherrypy.session.get(key))}"

        @cherrypy.expose
        def drop(self) -> str:
            del cherrypy.session[key]
            return repr(list(cherrypy.session.keys()))

    return Root()


def shown(value: object) -> str:
    return ascii(sorted(map(ascii, value)) if isinstance(value, set | frozenset) else value)


@pytest.fixture(params=["memory", "file", "InMemorySessionBackend", "SQLite", "Plain"])
def storing(
    request: pytest.FixtureRequest, sessions_folder: Path, tmp_path: Path
) -> Iterator[dict[str, Any]]:
    """The options for each way to store sessions."""
    sqlite = SQLiteSessionBackend(tmp_path / "sessions.db")
    options: dict[str, dict[str, Any]] = {
        "memory": {},
        "file": {"storage_type": "file", "storage_path": str(sessions_folder)},
        "InMemorySessionBackend": {"backend": InMemorySessionBackend()},
        "SQLite": {"backend": sqlite},
        "Plain": {"backend": Plain()},
    }
    yield options[request.param]
    sqlite.close()


@pytest.mark.parametrize("value", [*PLAIN, *OTHERS], ids=repr)
def test_plain_values_survive_serialisation(
    connect: MakeClient, storing: dict[str, Any], value: Any
) -> None:
    client = connect(ours.Application(keeping(ours, value, **storing), ""), "wsgi")
    assert client.get("/put").text == "stored"
    for _ in range(2):
        assert client.get("/get").text == f"{type(value)} {shown(value)}"


@pytest.mark.parametrize("key", [5, None, (1, "a"), date(2026, 1, 1), "!python", "!python5", ""])
def test_plain_keys_survive_serialisation(
    connect: MakeClient, storing: dict[str, Any], key: Any
) -> None:
    client = connect(ours.Application(keeping(ours, (1,), key, **storing), ""), "wsgi")
    client.get("/put")
    client.get("/put")
    assert client.get("/get").text == "<class 'tuple'> (1,)"
    assert client.get("/drop").text == "[]"
    assert client.get("/get").text == "<class 'NoneType'> None"


def test_numeric_keys_survive_serialisation(connect: MakeClient, storing: dict[str, Any]) -> None:
    class Root:
        _cp_config = {f"tools.sessions.{name}": one for name, one in storing.items()}

        @ours.expose
        def add(self, n: str) -> str:
            cart = ours.session.setdefault("cart", {})
            cart[int(n)] = cart.get(int(n), 0) + 1
            return repr(cart)

    Root._cp_config["tools.sessions.on"] = True
    client = connect(ours.Application(Root(), ""), "wsgi")
    assert [client.get(f"/add?n={n}").text for n in (5, 5, 7)] == [
        "{5: 1}",
        "{5: 2}",
        "{5: 2, 7: 1}",
    ]


@pytest.mark.parametrize("value", NOT_PLAIN, ids=repr)
def test_storing_an_object_raises_where_it_is_stored(
    connect: MakeClient,
    storing: dict[str, Any],
    value: Any,
    sessions_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It would be another value, or none, in the next request. Memory keeps the object itself."""
    client = connect(ours.Application(keeping(ours, value, **storing), ""), "wsgi")
    is_kept = not storing
    assert client.get("/put").status_code == (200 if is_kept else 500)
    assert list(sessions_folder.iterdir()) == []
    assert client.get("/get").text.startswith(str(type(value))) is is_kept
    assert ("is not a plain value: store numbers, text" in caplog.text) is not is_kept
    assert len(sessions.FileSession.locks) == 0


def test_a_custom_serializer_stores_any_value(connect: MakeClient, sessions_folder: Path) -> None:
    options = {"storage_type": "file", "storage_path": str(sessions_folder)}
    root = keeping(ours, Pie(), serializer=pickle, **options)
    client = connect(ours.Application(root, ""), "wsgi")
    assert client.get("/put").text == "stored"
    assert client.get("/get").text.endswith("Pie()")
    root = keeping(ours, {"a": 1}, serializer=json, **options)
    client = connect(ours.Application(root, ""), "wsgi")
    assert client.get("/put").text == "stored"
    assert client.get("/get").text == "<class 'dict'> {'a': 1}"


@pytest.mark.parametrize("value", [*PLAIN, *OTHERS], ids=repr)
@pytest.mark.parametrize("first", [original, ours], ids=["to micropie", "and back"])
def test_each_framework_reads_the_other_s_session_files(
    connect: MakeClient, sessions_folder: Path, first: Any, value: Any
) -> None:
    """A visitor stays logged in when the site migrates, and when it goes back."""
    second = original if first is ours else ours
    options = {
        "storage_class": first.lib.sessions.FileSession,
        "storage_path": str(sessions_folder),
        "name": "visitor",
    }
    before = connect(first.Application(keeping(first, value, **options), ""), "wsgi")
    before.get("/put")
    options["storage_class"] = second.lib.sessions.FileSession
    after = connect(second.Application(keeping(second, value, **options), ""), "wsgi")
    cookie = {"Cookie": f"visitor={before.cookies['visitor']}"}
    response = after.get("/get", headers=cookie)
    assert response.text == f"{type(value)} {shown(value)}"
    assert after.cookies["visitor"] == before.cookies["visitor"]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_session_files_of_each_pickle_protocol_are_read(
    sessions_folder: Path, protocol: int
) -> None:
    data = {str(number): value for number, value in enumerate(PLAIN) if type(value) is not UUID}
    content = pickle.dumps((data, datetime(2100, 1, 1)), protocol)
    (sessions_folder / "session-old").write_bytes(content)
    session = sessions.FileSession("old", storage_path=str(sessions_folder), clean_freq=0)
    assert dict(session.items()) == data


def test_an_expired_session_file_of_cherrypy_is_ignored(sessions_folder: Path) -> None:
    content = pickle.dumps(({"a": 1}, LONG_AGO), pickle.HIGHEST_PROTOCOL)
    (sessions_folder / "session-old").write_bytes(content)
    session = sessions.FileSession("old", storage_path=str(sessions_folder), clean_freq=0)
    assert session.get("a") is None
    session.clean_up()
    assert list(sessions_folder.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        {"!python": ["set", 1]},
        {"!python": "x"},
        {"!python": b64encode(pickle.dumps(Pie)).decode()},
        {"!python": b64encode(pickle.dumps({5: 2}, 2)).decode()},  # not as it is written here
        {"!python": b64encode(pickle.dumps(Fraction(1, 2), 4)).decode()},
        {"!pythonx": 1},
    ],
    ids=str,
)
def test_a_client_s_json_never_becomes_a_stored_object(connect: MakeClient, content: Any) -> None:
    """A native handler may store a body's JSON as it is."""
    backend = InMemorySessionBackend()
    app: Any = ours.Application(keeping(ours, None, backend=backend), "")
    app.native.configure(session_backend=backend)

    @app.native.post("/native")
    def native() -> None:
        current_request().session["value"] = current_request().json()
        current_request().session[f"!python{content.get('!python')}"] = 1

    client = connect(app, "wsgi")
    client.post("/native", json=content)
    assert client.get("/get").text == f"<class 'dict'> {shown(content)}"


@pytest.mark.parametrize("session_id", ["../../etc/passwd", "a/b", "", "x" * 200, "\x00", "a b"])
def test_ids_that_cannot_be_file_names_are_replaced(session_id: str, sessions_folder: Path) -> None:
    session = sessions.FileSession(session_id, storage_path=str(sessions_folder))
    assert session.missing
    assert session.id != session_id


def test_no_file_is_left_if_a_session_can_not_be_saved(
    sessions_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*names: str) -> None:
        raise OSError(28, "No space left on device")

    session = sessions.FileSession(storage_path=str(sessions_folder))
    session["a"] = 1
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space"):
            session.save()
    assert list(sessions_folder.iterdir()) == []
    session.save()
    assert [path.name for path in sessions_folder.iterdir()] == [f"session-{session.id}"]


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        *[("ram", made) for made in ("0af3.77c1", "7+/w==", "user:7", "{7}", "f" * 200)],
        *[("file", made) for made in ("0af3.77c1", "user:7", "{7}", "f" * 200)],
    ],
)
def test_a_program_may_generate_other_ids(
    side: str, cherrypy: Any, connect: MakeClient, tmp_path: Path, kind: str, made: str
) -> None:
    (tmp_path / "kept").mkdir()
    base = {
        "ram": cherrypy.lib.sessions.RamSession,
        "file": cherrypy.lib.sessions.FileSession,
    }[kind]

    class Own(base):  # type: ignore[misc, valid-type]
        cache: dict[str, Any] = {}

        def generate_id(self) -> str:
            return made

    client = connected(
        cherrypy, side, connect, storage_class=Own, storage_path=str(tmp_path / "kept")
    )
    assert client.get("/put?key=a&value=1").text == made
    assert client.get("/").text == '{"a": "1"}'


@pytest.mark.parametrize(
    "sent", ["..", ".x", "a/../b", "a\\b", "x.lock", "a b", "a\x00", "é", "", "x" * 241]
)
def test_a_program_s_own_ids_can_not_be_paths(sent: str, sessions_folder: Path) -> None:
    class Own(sessions.FileSession):
        def generate_id(self) -> str:
            return "own"

        def _exists(self) -> bool:
            return self.id != "own"

    assert not Own("x.y", storage_path=str(sessions_folder)).missing
    assert Own(sent, storage_path=str(sessions_folder)).missing


def test_a_session_id_is_created_once(sessions_folder: Path) -> None:
    class Twice(sessions.FileSession):
        ids = iter(["taken", "taken", "free"])

        def generate_id(self) -> str:
            return next(self.ids)

    first = Twice(storage_path=str(sessions_folder))
    first["a"] = 1
    first.save()
    assert (first.id, Twice(storage_path=str(sessions_folder)).id) == ("taken", "free")


# -- backends of micropie --------------------------------------------------------------------------


def test_a_backend_is_set_up_once(
    world: str, connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.BackendSession, "_prepared", (), raising=False)
    backend = InMemorySessionBackend()
    app = ours.Application(build(ours, backend=backend), "")
    app.native.configure(session_backend=backend)
    client = connect(app, world)
    for _ in range(3):
        client.get("/put?key=a&value=1")
    assert len(sessions.BackendSession._prepared) == 1


@pytest.fixture(params=["memory", "sqlite", "plain"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A backend with and one without ``merge``."""
    if request.param == "sqlite":
        made: Any = SQLiteSessionBackend(tmp_path / "sessions.db")
        yield made
        made.close()
    elif request.param == "memory":
        yield InMemorySessionBackend()
    else:
        yield Plain()


class Plain:
    """A backend of one's own."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}

    def load(self, session_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.stored.get(session_id, {})
        return found

    def save(self, session_id: str, data: dict[str, Any], timeout: int) -> None:
        self.stored[session_id] = data


def test_sessions_can_be_stored_in_a_micropie_backend(
    world: str, connect: MakeClient, backend: Any
) -> None:
    client = connected(ours, world, connect, backend=backend)
    first = client.get("/put?key=a&value=1").text
    assert client.get("/put?key=b&value=2").text == first
    assert client.get("/").text == '{"a": "1", "b": "2"}'
    second = client.get("/renew").text
    assert client.get("/").text == '{"a": "1", "b": "2"}'
    assert not backend.load(first)
    client.get("/delete")
    assert not backend.load(second)


def test_a_session_ended_by_another_request_stays_ended(world: str, connect: MakeClient) -> None:
    backend = InMemorySessionBackend()

    class Root:
        _cp_config = {"tools.sessions.on": True, "tools.sessions.backend": backend}

        @ours.expose
        def index(self, end: str = "") -> str:
            ours.session["a"] = ours.session.get("a", 0) + 1
            if end:
                backend.save(ours.session.id, {}, 0)
            return str(ours.session["a"])

    client = connect(ours.Application(Root(), ""), world)
    found = [client.get("/").text, client.get("/?end=1").text, client.get("/").text]
    assert found == ["1", "2", "1"]


@pytest.mark.parametrize(
    ("scheme", "settings", "cookie"),
    [
        ("http", {}, "session_id"),
        ("https", {}, "__Host-session_id"),
        ("https", {"session_cookie": "depot_id"}, "depot_id"),
    ],
)
def test_native_handlers_share_the_session(
    world: str, connect: MakeClient, scheme: str, settings: Any, cookie: str
) -> None:
    backend = InMemorySessionBackend()
    app: Any = ours.Application(build(ours, backend=backend), "")
    app.native.configure(session_backend=backend, **settings)

    @app.native.get("/native")
    def native() -> dict[str, Any]:
        current_request().session["native"] = 1
        return dict(ours.session.items())  # in functions that both halves call

    client = connect(app, world, base_url=f"{scheme}://testserver")
    client.get("/put?key=a&value=1")
    assert client.get("/native").json() == {"a": "1", "native": 1}
    assert json.loads(client.get("/").text) == {"a": "1", "native": 1}
    assert [*client.cookies] == [cookie]


class Visits(HttpMiddleware):
    """A hook that writes the session of each visitor, before the page or after it."""

    def __init__(self, after: bool = False) -> None:
        self.after = after

    def _count(self, request: Request) -> None:
        request.session["visits"] = request.session.get("visits", 0) + 1

    def before_request(self, request: Request) -> None:
        if not self.after:
            self._count(request)

    def after_request(self, request: Request, *answer: object) -> None:
        if self.after:
            self._count(request)


def shared(backend: Any, *hooks: HttpMiddleware, **settings: Any) -> Any:
    """Return an application both halves of which have one session."""
    app: Any = ours.Application(build(ours, backend=backend), None)
    app.native.configure(session_backend=backend, **settings)
    app.native.middlewares += hooks

    @app.native.get("/native")
    def native() -> dict[str, Any]:
        return dict(ours.session.items())

    @app.native.post("/cart")
    def cart(pie: str) -> None:
        current_request().session["cart"] = pie

    @app.native.get("/form")
    def form() -> str:
        return csrf_token(current_request())

    return app


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("first", ["", "/native", "/"])
@pytest.mark.parametrize("path", ["/put?key=user&value=Ann", "/renew_and_put?key=user&value=Ann"])
def test_a_native_hook_and_a_page_write_to_one_session(
    world: str, connect: MakeClient, backend: Any, first: str, path: str, after: bool
) -> None:
    client = connect(shared(backend, Visits(after)), world)
    if first:
        client.get(first)
    cookies = client.get(path).headers.get_list("Set-Cookie")
    assert len({cookie.partition(";")[0] for cookie in cookies}) == 1
    count = 1 + bool(first)
    assert client.get("/native").json() == {"user": "Ann", "visits": count + (not after)}
    assert json.loads(client.get("/").text) == {"user": "Ann", "visits": count + 2 - after}
    assert client.get("/plain").text == "untouched"
    assert client.get("/native").json()["visits"] == count + 4 - after


def test_a_session_used_only_by_a_hook_sets_one_cookie(
    world: str, connect: MakeClient, backend: Any
) -> None:
    client = connect(shared(backend, Visits()), world)
    assert len(client.get("/plain").headers.get_list("Set-Cookie")) == 1
    assert client.get("/native").json() == {"visits": 2}


def test_an_atomic_update_counts_once(world: str, connect: MakeClient) -> None:
    backend = InMemorySessionBackend()

    class Root:
        _cp_config = {"tools.sessions.on": True, "tools.sessions.backend": backend}

        @ours.expose
        def index(self) -> str:
            others = backend.load(str(ours.serving.session.id))
            backend.save(
                ours.serving.session.id, {**others, "n": others.get("n", 0) + 10, "other": 1}, 60
            )
            return str(ours.session.get("n"))

    class Count(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            request.session.update_atomic("n", lambda n: (n or 0) + 1)

    app: Any = ours.Application(Root(), "")
    app.native.configure(session_backend=backend)
    app.native.middlewares.append(Count())
    app.native.get("/native")(lambda: dict(ours.session.items()))
    client = connect(app, world)
    assert client.get("/native").json() == {"n": 1}
    assert client.get("/").text == "12"
    assert client.get("/native").json() == {"n": 13, "other": 1}


class Native(HttpMiddleware):
    """A hook that ends the session, or gives it another id."""

    def before_request(self, request: Request) -> None:
        method = request.query("native")
        if method:
            getattr(request.session, method)()


@pytest.mark.parametrize(
    ("method", "left"), [("clear", {"b": "2"}), ("regenerate", {"a": "1", "b": "2"})]
)
def test_a_native_hook_may_regenerate_the_session_id(
    world: str, connect: MakeClient, backend: Any, method: str, left: dict[str, str]
) -> None:
    client = connect(shared(backend, Native()), world)
    first = client.get("/put?key=a&value=1").text
    client.get(f"/put?key=b&value=2&native={method}")
    assert client.cookies["session_id"] != first
    assert not backend.load(first)
    assert client.get("/native").json() == left
    client.get("/clear")
    assert not backend.load(client.cookies["session_id"])
    assert client.get("/native").json() == {}


def test_a_new_session_id_invalidates_a_visitor_s_token(
    world: str, connect: MakeClient, backend: Any
) -> None:
    client = connect(shared(backend), world)
    client.get("/form")
    assert "csrf_token" in client.cookies
    client.get("/renew_and_put?key=user&value=Ann")
    assert [*client.cookies] == ["session_id"]


def test_a_stream_may_use_a_shared_session(world: str, connect: MakeClient, backend: Any) -> None:
    client = connect(shared(backend, Visits()), world)
    assert client.get("/streamed").text == "ab"
    assert client.get("/native").json() == {"before": "1", "during": "2", "visits": 2}
    assert client.get("/generated").text == "ab"


@pytest.mark.parametrize("prefix", ["", "/shop"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_one_cookie_is_used_below_a_prefix(
    world: str, connect: MakeClient, scheme: str, prefix: str
) -> None:
    app = App()
    app.mount(
        "/old",
        shared(InMemorySessionBackend(), session_timeout=300, session_cookie_samesite="Strict"),
    )
    client = connect(app, world, base_url=f"{scheme}://testserver", root_path=prefix)
    native = client.post("/old/cart", data={"pie": "plum"}).headers["Set-Cookie"]
    old = client.get("/old/put?key=user&value=Ann").headers["Set-Cookie"]
    assert {*old.split("; ")} == {*native.split("; ")}
    assert f"Path={prefix}/old;" in old
    assert client.get("/old/native").json() == {"cart": "plum", "user": "Ann"}
    assert json.loads(client.get("/old/").text) == {"cart": "plum", "user": "Ann"}
    new = client.get("/old/renew_by_tool").headers["Set-Cookie"]
    assert {*new.split("; ")} - {*new.split("; ")[:1]} == {*native.split("; ")[1:]}
    assert len(client.cookies.jar) == 1


def test_the_author_s_session_ids_are_used(world: str, connect: MakeClient, backend: Any) -> None:
    ids = iter(f"shop:{number}" for number in range(9))
    settings = {
        "session_id_factory": lambda: next(ids),
        "session_id_validator": lambda text: text.startswith("shop:"),
    }
    client = connect(shared(backend, **settings), world)
    first = client.get("/put?key=a&value=1").text
    assert first.startswith("shop:")
    assert client.get("/native").json() == {"a": "1"}
    assert client.get("/put?key=b&value=2").text == first


@pytest.mark.parametrize(
    ("option", "value", "advice", "settings"),
    [
        ("timeout", 5, "write native.configure(session_timeout=300)", {"session_timeout": 300}),
        ("timeout", 60, "write native.configure(session_timeout=3600)", {"session_timeout": 3600}),
        (
            "max_session_size",
            9000,
            "write native.configure(max_session_size=9000)",
            {"max_session_size": 9000},
        ),
        (
            "secure",
            True,
            "write native.configure(session_cookie_secure=True)",
            {"session_cookie_secure": True},
        ),
        (
            "samesite",
            "Strict",
            "write native.configure(session_cookie_samesite='Strict')",
            {"session_cookie_samesite": "Strict"},
        ),
        ("httponly", False, "leave it out", None),
        ("persistent", False, "leave it out", None),
        ("backend", InMemorySessionBackend(), "must be the same object", None),
    ],
)
@pytest.mark.parametrize("place", ["section", "path", "global", "root", "tree"])
def test_a_session_option_that_only_affects_migrated_pages_is_refused(
    connect: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    option: str,
    value: Any,
    advice: str,
    settings: Any,
) -> None:
    backend = InMemorySessionBackend()

    def built(**settings: Any) -> Any:
        root = build(ours, backend=backend)
        config = {f"tools.sessions.{option}": value}
        if place == "global":
            for name, each in {**root._cp_config, **config}.items():
                monkeypatch.setitem(ours.config, name, each)
            root._cp_config = {}
        elif place == "root":
            root._cp_config.update(config)
        sections = {"section": {"/": config}, "path": {"/put": config}, "tree": {"/": config}}.get(
            place, {}
        )
        app: Any = ours.Application(root, "", sections)
        if place == "tree":
            tree = ours.Tree()
            tree.mount(app)
            tree.graft(lambda environ, start_response: [], "/other")
            app = tree
        app.native.configure(session_backend=backend, **settings)
        return app

    with pytest.raises(Exception, match=re.escape(advice)):
        connect(built(), "asyncio")
    if settings is not None:
        assert connect(built(**settings), "asyncio").get("/put?key=a&value=1").status_code == 200


def test_a_handler_s_session_option_that_only_affects_migrated_pages_is_refused(
    world: str, connect: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    backend = InMemorySessionBackend()

    class Root:
        @ours.expose
        @ours.tools.sessions(backend=backend, timeout=5)
        def index(self) -> str:
            return "x"

    app: Any = ours.Application(Root(), "")
    app.native.configure(session_backend=backend)
    assert connect(app, world).get("/").status_code == 500
    assert "write native.configure(session_timeout=300)" in caplog.text


def test_a_session_with_its_own_cookie_may_have_other_options(
    world: str, connect: MakeClient
) -> None:
    for options in (
        {"name": "own"},
        {"path": "/x"},
        {"domain": "example.org"},
        {"path_header": "X-Path"},
    ):
        backend = InMemorySessionBackend()
        app: Any = ours.Application(build(ours, backend=backend, timeout=5, **options), "")
        app.native.configure(session_backend=backend)
        assert "Max-Age=300" in connect(app, world).get("/").headers["Set-Cookie"]


def test_native_handlers_do_not_see_a_session_that_is_not_shared(connect: MakeClient) -> None:
    app: Any = ours.Application(build(ours), "")
    app.native.get("/session")(lambda: ours.session["a"])
    app.native.get("/tool")(
        lambda: str(hasattr(ours.serving, "session") or hasattr(ours.serving, "other"))
    )
    app.native.error(AttributeError)(lambda error: (500, str(error)))
    client = connect(app, "wsgi")
    assert "set tools.sessions.backend and native.session_backend" in client.get("/session").text
    assert client.get("/tool").text == "False"


@pytest.mark.parametrize("options", [{}, {"backend": InMemorySessionBackend()}, {"name": "own"}])
@pytest.mark.parametrize("hook", [None, CSRFMiddleware])
def test_native_sessions_can_be_separate(
    world: str, connect: MakeClient, options: dict[str, Any], hook: Any
) -> None:
    """What a native handler reads would be empty, and what it writes would end the other session."""
    app: Any = ours.Application(build(ours, **options), "")
    tree = ours.Tree()
    tree.mount(app)
    tree.graft(app, "/grafted")
    served = tree if options else app
    served.native.get("/read")(lambda: str(dict(native_request.session)))
    served.native.get("/write")(lambda: native_request.session.update(a=1))
    served.native.error(SetupError)(lambda error: (500, str(error)))
    served.native.middlewares += [hook()] if hook else []
    is_own = "name" in options
    client = connect(served, world)
    assert client.get("/read").text == "{}"
    assert client.get("/write").status_code == (200 if is_own else 500)
    assert client.get("/").status_code == 200
    read = client.get("/read").text
    if is_own or hook:
        assert read == ("{'a': 1}" if is_own else "{}")
    else:
        assert "native.configure(session_backend=sessions)" in read


def test_an_unavailable_session_backend_gets_a_503(
    world: str, connect: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Plain):
        def load(self, session_id: str) -> dict[str, Any]:
            raise ConnectionError("no route")

    client = connected(ours, world, connect, backend=Broken())
    assert client.get("/").status_code == 503
    assert "no route" in caplog.text


def test_a_session_backend_may_be_async(world: str, connect: MakeClient) -> None:
    class Waiting(Plain):
        async def load(self, session_id: str) -> dict[str, Any]:  # type: ignore[override]
            return {}

    assert connected(ours, world, connect, backend=Waiting()).get("/").status_code == 500


def test_a_backend_that_stores_nothing_itself_works(
    world: str, connect: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = connected(ours, world, connect, backend=SignedCookieSessionBackend("x" * 32))
    assert client.get("/").status_code == 500
    assert "tools.sessions.backend must store sessions on the server" in caplog.text


def test_without_the_sessions_tool_there_is_no_session(world: str, connect: MakeClient) -> None:
    class Root:
        @ours.expose
        def index(self) -> str:
            sessions.save()
            sessions.close()
            return str(hasattr(ours.serving, "session"))

    assert connect(ours.Application(Root(), ""), world).get("/").text == "False"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({}, "tools.sessions.on = True"),
        ({"storage_type": "ram"}, "tools.sessions.storage_type = 'ram'"),
        ({"storage_type": "file", "storage_path": "x"}, "tools.sessions.storage_type = 'file'"),
        ({"storage_class": sessions.FileSession}, "tools.sessions.storage_class = <class"),
        ({"storage_path": "x"}, "tools.sessions.storage_path = 'x'"),
    ],
)
@pytest.mark.parametrize("place", ["root", "handler"])
def test_two_sessions_under_one_cookie_are_refused(
    world: str,
    connect: MakeClient,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    line: str,
    place: str,
) -> None:
    """A visitor would have two sessions under one cookie, and each half would end the other's."""
    words = re.escape(line) + ".* set tools.sessions.backend to the same backend"

    class Root:
        @ours.expose
        @ours.tools.sessions(**(options if place == "handler" else {"name": "own"}))
        def index(self) -> str:
            return "x"

    config = {"tools.sessions.on": True}
    config |= {f"tools.sessions.{name}": value for name, value in options.items()}
    app: Any = ours.Application(Root(), "", {"/": config} if place == "root" else {})
    app.native.configure(session_backend=InMemorySessionBackend())
    if place == "root":
        with pytest.raises(Exception, match=words):
            connect(app, "asyncio")
    else:
        assert connect(app, world).get("/").status_code == 500
        assert re.search(words, caplog.text)


def test_sessions_with_another_cookie_name_work_beside_native_ones(
    world: str, connect: MakeClient
) -> None:
    app: Any = ours.Application(build(ours, name="own"), "")
    app.native.configure(session_backend=InMemorySessionBackend())

    @app.native.get("/native")
    def native() -> str:
        native_request.session["b"] = 2
        return "written"

    client = connect(app, world)
    client.get("/put?key=a&value=1")
    client.get("/native")
    assert sorted(client.cookies) == ["own", "session_id"]
