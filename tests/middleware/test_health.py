"""App.health: what counts, what does not, and that nothing is in its way."""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from micropie import App, HttpMiddleware, SetupError, WebSocket, run_in
from micropie.channels import RedisChannels
from micropie.middleware import (
    AccessLog,
    BasicAuth,
    RateLimit,
    RateStore,
    RedisRates,
    TrustedHosts,
    health,
)
from micropie.sessions import (
    InMemorySessionBackend,
    RedisSessionBackend,
    SessionBackend,
    SQLiteSessionBackend,
)
from tests.support.clients import MakeClient
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until


class Root(App):
    def index(self) -> str:
        return "hello"


async def fine() -> None:
    pass


def ping() -> Iterator[None]:
    yield


def failing() -> None:
    raise LookupError("postgres://admin:secret@db is unknown")


def healthy(app: App | None = None, timeout: float = PATIENCE, **options: Any) -> App:
    app = app or Root()
    app.health("/healthz", timeout=timeout, **options)
    return app


def ask(make_client: MakeClient, app: App, path: str = "/healthz") -> tuple[int, Any]:
    answer = make_client(app).get(path)
    assert answer.headers["cache-control"] == "no-store"
    return answer.status_code, answer.json()


def test_without_backends_and_checks_the_process_is_ready(make_client: MakeClient) -> None:
    app = healthy()
    client = make_client(app)
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert client.head("/healthz").status_code == 200
    assert client.post("/healthz").status_code == 405
    assert client.get("/").text == "hello"
    assert app.openapi()["paths"].keys() == {"/"}


class Lazy:
    """A check that is no coroutine function, but returns what must be awaited."""

    def __init__(self, result: object) -> None:
        self.result = result

    async def _answer(self) -> object:
        return self.result

    def __call__(self) -> object:
        return self._answer()


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (fine, "ok"),
        (failing, "failed"),
        (run_in("loop")(lambda: True), "ok"),
        (run_in("loop")(failing), "failed"),
        (lambda: False, "failed"),
        (lambda: 0, "ok"),  # only False is a failure: a check may return what its backend said
        (Lazy(True), "ok"),
        (Lazy(False), "failed"),
    ],
)
def test_an_author_s_checks_count_and_reveal_no_details(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    function: Callable[[], object],
    result: str,
) -> None:
    status, document = ask(make_client, healthy(checks={"first": fine, "database": function}))
    assert status == (200 if result == "ok" else 503)
    assert document == {
        "status": "ok" if result == "ok" else "unavailable",
        "checks": {"first": "ok", "database": result},
    }
    found = len([one for one in caplog.messages if "health: database fails" in one])
    assert found == (result == "failed")


def test_a_failing_check_and_its_recovery_are_logged_once_each(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    states: list[object] = [None, False, False, None, None]
    client = make_client(healthy(checks={"database": lambda: states.pop(0)}))
    assert [client.get("/healthz").status_code for _ in range(5)] == [200, 503, 503, 200, 200]
    assert [one for one in caplog.messages if one.startswith("health")] == [
        "health: database fails: the check returned False",
        "health: database has recovered",
    ]


def test_hanging_checks_are_abandoned_and_others_still_run(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    leave = threading.Event()

    async def hangs() -> None:
        await anyio.sleep_forever()

    checks = {
        "async": hangs,
        "sync": lambda: leave.wait(PATIENCE),
        "inline": run_in("loop")(lambda: None),
    }
    try:
        status, document = ask(make_client, healthy(checks=checks, timeout=0.3))
    finally:
        leave.set()
    assert status == 503
    assert document["checks"] == {"async": "failed", "sync": "failed", "inline": "ok"}
    assert "health: async fails: no response within 0." in caplog.text


def test_a_permanently_hanging_check_occupies_few_threads(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MOST_HANGING", 2)
    leave = threading.Event()
    calls: list[None] = []

    def hangs() -> None:
        calls.append(None)
        leave.wait(PATIENCE)

    client = make_client(healthy(checks={"database": hangs}, timeout=0.5))
    try:
        # the time may end before a thread has begun to call it
        until(lambda: client.get("/healthz").status_code == 503 and len(calls) == 2)
        for _ in range(2):
            assert client.get("/healthz").status_code == 503
        assert len(calls) == 2
    finally:
        leave.set()
    until(lambda: client.get("/healthz").status_code == 200)
    assert [one for one in caplog.messages if one.startswith("health")] == [
        "health: database fails: no response within 0.5 s",
        "health: database has recovered",
    ]


@pytest.mark.processes
def test_a_liveness_probe_only_runs_the_author_s_checks(make_client: MakeClient) -> None:
    app = Root(session_backend=RedisSessionBackend(f"redis://127.0.0.1:{free_port()}/0"))
    app.health("/livez", live=True)
    app.health("/alive", {"threads": failing}, live=True)
    app.health("/readyz")
    for signal in app._micropie.shutdowns.values():
        signal.end()
    assert ask(make_client, app, "/livez") == (200, {"status": "ok"})
    found = ask(make_client, app, "/alive")
    assert found == (503, {"status": "unavailable", "checks": {"threads": "failed"}})
    assert ask(make_client, app, "/readyz")[0] == 503


def test_during_shutdown_the_process_is_alive_but_not_ready(make_client: MakeClient) -> None:
    app = healthy()
    app.health("/livez", live=True)
    client = make_client(app)
    assert client.get("/healthz").status_code == 200
    for signal in app._micropie.shutdowns.values():
        signal.end()
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (503, {"status": "shutting down"})
    assert client.get("/livez").status_code == 200


# -- backends --------------------------------------------------------------------------------------


def backends(url: str) -> App:
    app = Root(session_backend=RedisSessionBackend(url), channels=RedisChannels(url))
    app.middlewares += [
        RateLimit(1000, store=RedisRates(url), when_unreachable="refuse"),
        RateLimit(2000, store=RedisRates(url), when_unreachable="refuse"),
        # lets requests through without its store, so it does not count
        RateLimit(3000, store=RedisRates(url)),
        RateLimit(4000),
    ]
    inner: Any = Root(
        session_backend=RedisSessionBackend(url, prefix="inner:"), session_cookie="inner"
    )
    app.inner = inner
    return app


NAMES = ("sessions", "channels", "RateLimit", "RateLimit 2", "sessions 2")


def test_backends_of_all_applications_are_checked(make_client: MakeClient, redis_url: str) -> None:
    app = healthy(backends(redis_url))
    assert ask(make_client, app) == (200, {"status": "ok", "checks": dict.fromkeys(NAMES, "ok")})
    app.channels.close()


@pytest.mark.processes
def test_unavailable_backends_make_the_process_unready_for_every_client(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = healthy(backends(f"redis://127.0.0.1:{free_port()}/0"))
    client = make_client(app)
    answer = client.get("/healthz", headers={"Cookie": f"session_id={'a' * 43}"})
    assert answer.json() == {"status": "unavailable", "checks": dict.fromkeys(NAMES, "failed")}
    assert "is unavailable" in caplog.text


def test_sqlite_is_checked(make_client: MakeClient, tmp_path: Path) -> None:
    assert (
        ask(
            make_client, healthy(Root(session_backend=SQLiteSessionBackend(tmp_path / "sessions")))
        )[0]
        == 200
    )
    broken = Root(session_backend=SQLiteSessionBackend(tmp_path / "nowhere" / "sessions"))
    found = ask(make_client, healthy(broken))
    assert found == (503, {"status": "unavailable", "checks": {"sessions": "failed"}})


class Backend(SessionBackend):
    """A backend of an author's: with an async ``ping``."""

    blocking = False

    def load(self, session_id: str) -> dict[str, object]:
        return {}

    async def ping(self) -> None:
        raise ConnectionError("gone")


class Hook(HttpMiddleware):
    def ping(self) -> bool:
        return True


def test_a_custom_backend_or_middleware_may_have_a_ping(make_client: MakeClient) -> None:
    app = Root(session_backend=Backend())
    app.middlewares.append(Hook())
    assert ask(make_client, healthy(app))[1]["checks"] == {"sessions": "failed", "Hook": "ok"}


def test_backends_and_middleware_that_come_later_are_checked_too(make_client: MakeClient) -> None:
    checks: dict[str, Any] = {}
    app = healthy(Root(session_backend=Backend()), checks=checks)
    client = make_client(app)
    assert client.get("/healthz").json()["checks"] == {"sessions": "failed"}
    app.session_backend = InMemorySessionBackend()
    app.middlewares.append(Hook())
    checks["later"] = lambda: True
    assert client.get("/healthz").json()["checks"] == {"Hook": "ok", "later": "ok"}


def test_a_check_does_not_replace_a_ping_of_the_same_name(make_client: MakeClient) -> None:
    app = healthy(Root(session_backend=Backend()), checks={"sessions": lambda: True})
    assert ask(make_client, app)[1]["checks"] == {"sessions 2": "failed", "sessions": "ok"}


class Down(RateStore):
    blocking = False

    def ping(self) -> None:
        raise ConnectionError("gone")


def test_middleware_above_handlers_is_checked(make_client: MakeClient) -> None:
    shared = RateLimit(5, store=Down(), when_unreachable="refuse")

    class Inner(App):
        @RateLimit(5, when_unreachable="refuse")
        def log_in(self) -> str:
            raise NotImplementedError

        @shared
        def register(self) -> str:
            raise NotImplementedError

    class Outer(App):
        @shared
        @RateLimit(6, store=Down())  # lets requests through without its store
        def index(self) -> str:
            raise NotImplementedError

        @RateLimit(5, store=Down(), when_unreachable="refuse")
        async def ws_chat(self, ws: WebSocket) -> None:
            raise NotImplementedError

    app: Any = Outer(rates=Down())
    app.inner = Inner()
    client = make_client(healthy(app))
    for _ in range(2):
        checks = client.get("/healthz").json()["checks"]
        assert checks == dict.fromkeys(["rates", "RateLimit", "RateLimit 2"], "failed")


# -- what is not in its way ------------------------------------------------------------------------


class Maintenance(HttpMiddleware):
    def before_request(self, request: Any) -> Any:
        return {"status": 503, "body": "We are back at noon."}


def test_hooks_do_not_run_for_health_probes(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Root()
    app.middlewares += [
        AccessLog(),
        TrustedHosts("example.com"),
        RateLimit(1),
        BasicAuth({"bob": "secret"}),
        Maintenance(),
    ]
    inner = Root()
    app.inner = inner
    inner.health("/healthz")
    app.health()
    client = make_client(app)
    with caplog.at_level(logging.INFO, "micropie"):
        for path in ("/healthz", "/inner/healthz", "/healthz"):
            assert client.get(path, headers={"Host": "10.0.0.7:8000"}).status_code == 200
        assert [one for one in caplog.records if one.name == "micropie.access"] == []
        assert client.get("/", headers={"Host": "10.0.0.7:8000"}).status_code == 400
        assert len([one for one in caplog.records if one.name == "micropie.access"]) == 1


def test_a_handler_may_be_named_health(make_client: MakeClient) -> None:
    class Older(Root):
        async def health(self) -> str:  # type: ignore[override]
            return "my own"

    app = Older()
    App.health(app, "/livez", live=True)
    client = make_client(app)
    assert (client.get("/health").text, client.get("/livez").status_code) == ("my own", 200)


def test_health_probes_are_served_while_all_threads_are_busy(make_client: MakeClient) -> None:
    leave, inside = threading.Event(), threading.Event()

    class Busy(Root):
        def wait(self) -> str:
            inside.set()
            leave.wait(PATIENCE)
            return "done"

    client = make_client(healthy(Busy(threads=1, thread_queue=0), checks={"sync": lambda: None}))
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(client.get("/wait").text))
    thread.start()
    try:
        assert inside.wait(PATIENCE)
        assert client.get("/healthz").status_code == 200
    finally:
        leave.set()
        thread.join()
    assert answers == ["done"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"checks": [fine]},
            "App.health(checks=...) takes a dict of functions without parameters",
        ),
        (
            {"checks": {"database": "SELECT 1"}},
            "App.health(checks=...) takes a dict of functions without parameters",
        ),
        *(
            ({"checks": {"database": one}}, "App.health(checks=...) takes a dict of functions")
            for one in (ping, contextmanager(ping), lambda name: None)
        ),
        ({"timeout": 0}, "App.health(timeout=...) takes seconds above 0, not 0"),
        ({"live": "yes"}, "App.health(live=...) takes True or False, not 'yes'"),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SetupError) as refused:
        Root().health(**options)
    assert sentence in str(refused.value)


def test_a_check_may_be_a_function_without_a_signature(
    make_client: MakeClient,
) -> None:
    with pytest.raises(ValueError, match="no signature"):
        inspect.signature(dict)
    status, document = ask(make_client, healthy(checks={"nothing": dict}))
    assert (status, document["checks"]) == (200, {"nothing": "ok"})
