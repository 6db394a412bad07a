"""Resources of the whole application: ``app.provides(Pool, once=True)``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

from micropie import App, EventStream, SetupError
from micropie.testing import LifespanFailed, TestClient
from tests.asgi.calls import Lifespan, get, run
from tests.support.clients import MakeClient


class Pool:
    """Notes what happens to it."""

    def __init__(self, steps: list[str], name: str = "pool") -> None:
        self.steps, self.name = steps, name

    def __enter__(self) -> Pool:
        self.steps.append(f"open {self.name}")
        return self

    def __exit__(self, *failure: object) -> None:
        self.steps.append(f"close {self.name}")

    async def __aenter__(self) -> Pool:
        await anyio.lowlevel.checkpoint()
        return self.__enter__()

    async def __aexit__(self, *failure: object) -> None:
        await anyio.lowlevel.checkpoint()
        self.__exit__()


class Other(Pool):
    pass


class Connection:
    pass


class SyncPool:
    def __init__(self, steps: list[str]) -> None:
        self.steps, self.name = steps, "pool"

    __enter__, __exit__ = Pool.__enter__, Pool.__exit__


class Root(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.steps: list[str] = []
        self.seen: list[object] = []

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.steps.append("lifespan")
        yield
        self.steps.append("end of lifespan")

    def index(self, pool: Pool) -> str:
        self.seen.append(pool)
        return pool.name

    async def on_loop(self, pool: Pool) -> str:
        async with self.request.resource(Pool) as same:
            assert same is pool
        return self.index(pool)

    def in_thread(self) -> str:
        with self.request.resource(Pool) as pool:
            return self.index(pool)

    async def events(self, pool: Pool) -> EventStream:
        return EventStream(self._events(pool))

    async def _events(self, pool: Pool) -> AsyncIterator[str]:
        yield pool.name


def plain(steps: list[str]) -> Any:
    return lambda: Pool(steps)


def generator(steps: list[str]) -> Any:
    def make() -> Iterator[Pool]:
        with Pool(steps) as pool:
            yield pool

    return make


def async_generator(steps: list[str]) -> Any:
    async def make() -> AsyncIterator[Pool]:
        async with Pool(steps) as pool:
            yield pool

    return make


def coroutine(steps: list[str]) -> Any:
    async def make() -> Pool:
        return Pool(steps)

    return make


def sync_manager(steps: list[str]) -> Any:
    return partial(SyncPool, steps)


@pytest.mark.parametrize("kind", [plain, generator, async_generator, coroutine, sync_manager])
def test_a_once_resource_is_opened_at_startup_and_closed_at_shutdown(
    make_client: MakeClient, kind: Callable[[list[str]], Any]
) -> None:
    app = Root()
    app.provides(Pool, once=True)(kind(app.steps))
    client = make_client(app)
    for path in ("/", "/on_loop", "/in_thread", "/"):
        assert client.get(path).text == "pool"
    assert "data: pool" in client.get("/events").text
    assert len({*map(id, app.seen)}) == 1
    assert app.steps == ["open pool", "lifespan"]
    client.close()
    assert app.steps == ["open pool", "lifespan", "end of lifespan", "close pool"]


def test_once_resources_close_in_reverse_order_and_are_shared_with_inner_applications(
    make_client: MakeClient,
) -> None:
    class Inner(App):
        def index(self, pool: Pool, other: Other) -> str:
            return f"{pool.name} {other.name}"

    app, inner = App(), Inner()
    app.inner = inner
    steps: list[str] = []
    app.provides(Pool, once=True)(lambda: Pool(steps))
    inner.provides(Other, once=True)(lambda: Other(steps, "other"))
    client = make_client(app)
    assert client.get("/inner").text == "pool other"
    client.close()
    assert steps == ["open pool", "open other", "close other", "close pool"]


def test_a_provider_for_each_request_may_use_a_once_resource(make_client: MakeClient) -> None:
    app = App()
    app.provides(Pool, once=True)(lambda: Pool([]))

    @app.provides(Connection)
    def connect(pool: Pool) -> Iterator[object]:
        yield pool.name

    @app.get("/")
    def index(connection: Connection) -> object:
        return connection

    assert make_client(app).get("/").text == "pool"


def test_a_failing_once_resource_closes_those_already_open(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Root()
    app.provides(Pool, once=True)(lambda: Pool(app.steps))

    class Broken:
        pass

    @app.provides(Broken, once=True)
    def broken() -> None:
        raise ConnectionError("no database")

    with pytest.raises(LifespanFailed, match="no database"), TestClient(app):
        pass
    assert app.steps == ["open pool", "close pool"]


def test_each_event_loop_has_its_own_once_resources(backend: str) -> None:
    app = Root()
    app.provides(Pool, once=True)(lambda: Pool(app.steps))

    async def serve() -> None:
        lifespan = Lifespan(app)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lifespan.run)
            await lifespan.say("startup")
            await get(app)
            await lifespan.say("shutdown")
        lifespan.close()

    with TestClient(app, protocol="wsgi") as client:
        client.get("/")
        run(backend, serve)
        client.get("/")
    first, other, again = app.seen
    assert first is again
    assert first is not other


def test_a_once_resource_needs_a_started_application(caplog: pytest.LogCaptureFixture) -> None:
    app = Root()
    app.provides(Pool, once=True)(lambda: Pool(app.steps))

    async def not_started() -> None:
        await app._micropie.once[Pool].give()

    with pytest.raises(RuntimeError, match="Pool is opened at startup"):
        run("asyncio", not_started)


def test_a_test_can_replace_a_once_resource(make_client: MakeClient) -> None:
    app = Root()
    app.provides(Pool, once=True)(lambda: Pool(app.steps))
    client = make_client(app)
    with client.override(Pool, Pool([], "fake")):
        assert client.get("/").text == "fake"
    assert client.get("/").text == "pool"


def test_a_resource_that_is_overridden_at_startup_is_never_opened(
    make_client: MakeClient,
) -> None:
    app, inner = Root(), App()
    app.provides(Pool, once=True)(lambda: Pool(app.steps))
    inner.provides(Other, once=True)(lambda: Other(app.steps, "other"))
    app.inner = inner
    overrides = TestClient(app)
    overrides.override(Pool, Pool([], "fake"))
    overrides.override(Other, Other([], "fake"))
    client = make_client(app)
    assert client.get("/").text == "fake"
    assert app.steps == ["lifespan"]
    client.close()
    overrides.close()
    assert make_client(app).get("/").text == "pool"


def test_a_once_provider_with_parameters_is_refused() -> None:
    app = App()
    with pytest.raises(SetupError, match=r"provides\(once=True\) takes a function without param"):
        app.provides(Pool, once=True)(lambda engine: Pool(engine))


def test_a_plain_value_needs_no_closing(make_client: MakeClient) -> None:
    class Shop(App):
        def index(self, connection: Connection) -> str:
            return type(connection).__name__

    app = Shop()
    app.provides(Connection, once=True)(Connection)
    assert make_client(app).get("/").text == "Connection"
