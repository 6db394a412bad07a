"""What one visitor's request leaves in context variables, of which no other request may see any:
monitors keep there whom a report names.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context, ContextVar
from threading import Barrier, Thread
from typing import Any

import anyio
import pytest
import sentry_sdk
import sniffio
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from sentry_sdk.transport import Transport

from micropie import App, HttpMiddleware, run_async
from micropie._core.execution import run_in_context, watchdog
from micropie._core.execution.background import close_background_loops
from micropie._core.execution.loop import start_shared
from micropie._core.http.settings import Settings
from micropie.channels.redis import RedisChannels, _Listener, _Publisher
from micropie.middleware import Timeout
from tests.asgi.calls import get, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until
from tests.wsgi.calls import Answer, environ_for

scope: ContextVar[dict[str, str]] = ContextVar("scope")

# Seconds after which a loop counts as blocked. That starts a watchdog, the first thread of a loop.
WATCHED = 5 * PATIENCE


PATHS = [
    "plain", "timed", "asynchronous", "awaited", "chunks", "async_chunks", "later", "provided", "hooked",
]  # fmt: skip


class Visitor(str):
    """The name of a visitor, provided."""


class Shop(App):
    """Each path reports its visitor when the request of another visitor has come as well."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.provides(Visitor)(self._visitor)
        self.barrier = Barrier(2)
        self.later_seen: list[str] = []

    def who(self) -> str:
        return scope.get()["user"]

    async def who_on_loop(self) -> str:
        await anyio.to_thread.run_sync(self.barrier.wait, PATIENCE)
        return self.who()

    def plain(self) -> str:
        self.barrier.wait(PATIENCE)
        return self.who()

    @Timeout(PATIENCE)
    def timed(self) -> str:
        self.barrier.wait(PATIENCE)
        return self.who()

    async def asynchronous(self) -> str:
        return await self.who_on_loop()

    def awaited(self) -> str:
        return run_async(self.who_on_loop)

    def chunks(self) -> Iterator[str]:
        yield ""
        self.barrier.wait(PATIENCE)
        yield self.who()

    async def async_chunks(self) -> AsyncIterator[str]:
        yield ""
        yield await self.who_on_loop()

    def later(self) -> str:
        self.request.after_response(self._later)
        self.barrier.wait(PATIENCE)
        return self.who()

    async def _later(self) -> None:
        self.later_seen.append(await self.who_on_loop())

    async def _visitor(self) -> AsyncIterator[Visitor]:
        yield Visitor(await self.who_on_loop())

    def provided(self, visitor: Visitor) -> str:
        return visitor

    async def hooked(self) -> str:
        return str(self.request.state.visitor)


class Hook(HttpMiddleware):
    async def before_request(self, request: Any) -> None:
        if request.path == "/hooked":
            request.state.visitor = await request.app.who_on_loop()


class Around:
    """Sets ``scope`` for each request, as a monitor's middleware does."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.wsgi_shutdown = getattr(app, "wsgi_shutdown", None)

    def __call__(self, server: dict[str, Any], *others: Any) -> Any:
        if "QUERY_STRING" in server:
            name = server["QUERY_STRING"].removeprefix("name=")
        elif server["type"] == "http":
            name = server["query_string"].decode().removeprefix("name=")
        else:
            return self.app(server, *others)
        scope.set({"user": name})
        return self.app(server, *others)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """New background loops, each of which starts a watchdog."""
    close_background_loops()
    monkeypatch.setattr(Settings, "loop_patience", WATCHED)
    yield
    close_background_loops()


@pytest.fixture
def lazy_scopes(watched: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a context its ``scope`` when a thread or a loop is started in it."""
    original = Thread.start

    def start(self: Thread) -> None:
        if scope.get(None) is None:
            scope.set({"user": "nobody"})
        original(self)

    def watch_loop(_: float | None) -> None:
        scope.set({"user": "the first task of a background loop"})

    monkeypatch.setattr(Thread, "start", start)
    monkeypatch.setattr(watchdog, "watch_loop", watch_loop)


def both(client: Any, path: str) -> list[Any]:
    """Return the responses to two visitors who come at once."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda name: client.get(f"{path}?name={name}"), ["Ann", "Ben"]))


@pytest.mark.usefixtures("lazy_scopes")
def test_a_visitor_keeps_its_context(make_client: MakeClient) -> None:
    app = Shop()
    app.middlewares.append(Hook())
    client = make_client(Around(app), validate=False)
    for path in PATHS * 2:
        found = [response.text for response in both(client, f"/{path}")]
        assert (path, found) == (path, ["Ann", "Ben"])
    until(lambda: len(app.later_seen) == 4)
    assert sorted(app.later_seen) == ["Ann", "Ann", "Ben", "Ben"]


class Kept(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)


@pytest.fixture
def reports(watched: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The events that Sentry would send. Its integration of threads is undone at the end."""
    monkeypatch.setattr(Thread, "start", original := Thread.start)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", ThreadPoolExecutor.submit)
    transport = Kept()
    sentry_sdk.init(
        "https://key@sentry.example/1",
        transport=transport,
        release="1",  # without one, it asks git
        integrations=[ThreadingIntegration()],
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    if Thread.start is original:  # Sentry sets an integration up once
        ThreadingIntegration.setup_once()
    yield transport.events
    sentry_sdk.get_global_scope().set_client(None)


class Failing(Shop):
    def who(self) -> str:
        name = self.request.query("name")
        sentry_sdk.set_user({"id": name})
        raise ValueError(name)


def test_an_error_report_identifies_its_own_visitor(
    make_client: MakeClient, world: str, reports: list[Any]
) -> None:
    app: Any = Failing(on_error=sentry_sdk.capture_exception)
    wrap = SentryWsgiMiddleware if world == "wsgi" else SentryAsgiMiddleware
    client = make_client(wrap(app), validate=False, raise_app_exceptions=False)
    paths = ["plain", "asynchronous", "awaited", "async_chunks"]
    for path in paths * 2:
        assert [response.status_code for response in both(client, f"/{path}")] == [500, 500]
    sentry_sdk.flush()
    assert len(reports) == 4 * len(paths)
    for index, event in enumerate(reports):
        name = event["exception"]["values"][-1]["value"]
        assert event["user"] == {"id": name}
        assert event["request"]["query_string"] == f"name={name}"
        assert event["request"]["url"].endswith("/" + paths[index // 2 % len(paths)])


class Lasting(App):
    """Starts a task at startup, which goes on after the request that has caused the startup."""

    def __init__(self) -> None:
        super().__init__()
        self.startup_handlers.append(self._begin)
        self.seen: list[object] = []

    async def _begin(self) -> None:
        with anyio.move_on_after(0):  # a cancellation gets in as well
            await anyio.sleep_forever()
        self.seen.append(scope.get(None))

    def index(self) -> str:
        return scope.get()["user"]


def test_startup_does_not_belong_to_the_first_visitor(world: str) -> None:
    """Without a lifespan, the first request starts the application."""
    app = Lasting()
    token = scope.set({"user": "Ann"})
    try:
        if world == "wsgi":
            answer = Answer()
            answer.chunks = app(environ_for(), answer.start_response)
            assert answer.read() == b"Ann"
        else:
            assert run(world, get, app).body == b"Ann"
    finally:
        scope.reset(token)
        app.wsgi_shutdown()
    assert app.seen == [None]


THREADS: dict[str, Callable[[], object]] = {
    "publisher": lambda: _Publisher(None),  # type: ignore[arg-type]
    "listener": lambda: _Listener(RedisChannels("redis://127.0.0.1:1")),
    "any": lambda: start_shared(Thread()),
}


@pytest.mark.parametrize("name", THREADS)
def test_a_shared_thread_does_not_belong_to_a_visitor(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    check_a_shared_thread(monkeypatch, THREADS[name])


def check_a_shared_thread(
    monkeypatch: pytest.MonkeyPatch, start_thread: Callable[[], object]
) -> None:
    """Check that the thread which ``start_thread`` starts has no visitor's context."""
    seen: list[object] = []
    monkeypatch.setattr(Thread, "start", lambda _: seen.append(scope.get(None)))
    token = scope.set({"user": "Ann"})
    try:
        start_thread()
    finally:
        scope.reset(token)
    assert seen == [None]


@pytest.mark.parametrize("has_sniffio", [True, False])
def test_a_new_context_in_a_thread_gets_no_variable_of_the_thread(
    monkeypatch: pytest.MonkeyPatch, *, has_sniffio: bool
) -> None:
    if not has_sniffio:
        monkeypatch.delitem(sys.modules, "sniffio")
    own, seen = Context(), list[object]()
    token = scope.set({"user": "Ann"})
    try:
        run_in_context(own, lambda: seen.append(scope.get(None)))
    finally:
        scope.reset(token)
    assert seen == [None]
    assert [*own.values()] == [None]
    assert ([*own] == [sniffio.current_async_library_cvar]) is has_sniffio
