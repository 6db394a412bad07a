"""The ``def`` parts of a request share one context: what the first half of a part sets, its second
half can reset, as ``with`` blocks of libraries do.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial, wraps
from typing import Any, NewType

import anyio
import flask
import httpx2 as httpx
import pytest

from micropie import App, Request
from micropie._core.execution.lane import Lane, lane_of
from micropie._core.execution.threads import _Work
from micropie.middleware import HttpMiddleware, Timeout
from tests.asgi.calls import get, run
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until

name: ContextVar[str] = ContextVar("name", default="unset")
mark: ContextVar[str] = ContextVar("mark")


@contextmanager
def bound(value: str) -> Iterator[None]:
    token = name.set(value)
    try:
        yield
    finally:
        name.reset(token)


class Db(str):
    __slots__ = ()


Outer = NewType("Outer", str)


class Root(App):
    waited = threading.Event()

    def plain(self) -> str:
        return name.get()

    async def awaited(self) -> str:
        return name.get()

    def provided(self, db: Db) -> str:
        return f"{db} {name.get()}"

    async def provided_later(self, db: Db) -> str:
        return f"{db} {name.get()}"

    def streamed(self, db: Db) -> Iterator[str]:
        yield f"{db} "
        yield name.get()

    def failing(self, db: Db) -> str:
        raise LookupError(db)

    def never(self) -> str:
        self.waited.wait(PATIENCE)
        return name.get()


def around(request: Request) -> Iterator[None]:
    with bound(f"around {request.path}"):
        yield


def with_app_context(_: Request) -> Iterator[None]:
    with OTHER.app_context():
        yield


OTHER = flask.Flask("other")


class Pair:
    def before_request(self, request: Request) -> None:
        request.state.token = name.set("pair")

    def after_request(
        self, request: Request, status: int, response_body: Any, extra_headers: Any
    ) -> None:
        name.reset(request.state.token)


def provided() -> Iterator[Db]:
    with bound("db"):
        yield Db("provided")


def made() -> Root:
    app = Root()
    app.provides(Db)(provided)
    return app


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/plain", "around /plain"),
        ("/awaited", "around /awaited"),
        ("/provided", "provided db"),
        ("/provided_later", "provided db"),
        ("/streamed", "provided unset"),  # a middleware's second half runs at the first chunk
        ("/failing", "LookupError in unset"),
    ],
)
def test_a_generator_s_second_half_can_reset_variables_of_the_first(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, text: str
) -> None:
    app, seen = made(), []
    app.middlewares += [around, with_app_context]

    async def outermost(request: Request) -> Any:
        try:
            yield
        finally:
            seen.append(name.get())

    def failed(error: LookupError) -> tuple[int, str]:
        return 200, f"{type(error).__name__} in {name.get()}"

    app.middlewares.insert(0, outermost)
    app.error(LookupError)(failed)
    client = make_client(app)
    assert client.get(path).text == text
    with ThreadPoolExecutor(30) as pool:
        answers = [*pool.map(lambda _: client.get(path), range(30))]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, text)}
    assert {*seen} == {"unset"}  # what is reset in a thread is reset in the task
    assert caplog.records == []


def test_before_and_after_hooks_share_context_variables(make_client: MakeClient) -> None:
    app = made()
    app.middlewares.append(Pair())  # type: ignore[arg-type]
    client = make_client(app)
    for path in ("/plain", "/awaited"):
        assert client.get(path).text == "pair"


def test_a_variable_reset_by_the_task_is_reset_in_the_threads(
    connect: MakeClient, backend: str
) -> None:
    app, seen = made(), []

    async def binds(request: Request) -> Any:
        with bound("task"):
            yield

    def looks(request: Request) -> Iterator[None]:
        yield
        seen.append(name.get())

    app.middlewares += [looks, binds, around]
    assert connect(app, backend).get("/plain").text == "around /plain"
    assert seen == ["unset"]


@pytest.mark.parametrize("sets", [False, True])
def test_a_variable_that_was_set_before_the_first_call_is_reset_for_those_that_follow(
    connect: MakeClient, backend: str, sets: bool
) -> None:
    seen: list[str] = []

    async def outer(request: Request) -> AsyncIterator[None]:
        yield
        seen.append(name.get())

    async def inner(request: Request) -> AsyncIterator[None]:
        with bound("inner"):
            yield

    class Looks(HttpMiddleware):
        def after_request(self, request: Request, *_: Any) -> None:
            seen.append(name.get())
            if sets:
                mark.reset(request.state.token)

    class Sets(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            request.state.token = mark.set("set")

    app = made()
    app.middlewares += [outer, Looks(), inner]
    if sets:
        app.middlewares += [Sets()]
    assert connect(app, backend).get("/plain").text == "inner"
    assert seen == ["unset", "unset"]


@pytest.mark.parametrize("sets", [False, True])
def test_under_wsgi_a_variable_that_was_set_before_the_first_wait_is_reset_for_those_that_follow(
    connect: MakeClient, sets: bool
) -> None:
    seen: list[str] = []

    def inner(request: Request) -> Iterator[None]:
        with bound("inner"):
            yield

    class Looks(HttpMiddleware):
        async def after_request(self, request: Request, *_: Any) -> None:
            seen.append(name.get())
            if sets:
                mark.reset(request.state.token)

    class Sets(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            request.state.token = mark.set("set")

    app = made()
    app.middlewares += [Looks(), inner]
    if sets:
        app.middlewares += [Sets()]
    assert connect(app, "wsgi").get("/awaited").text == "inner"
    assert seen == ["unset"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_variable_reset_after_a_stream_is_reset_for_the_ends_that_follow(
    make_client: MakeClient, fails: bool
) -> None:
    seen: list[str] = []

    class Streaming(App):
        def numbers(self, db: Db) -> Iterator[str]:
            yield name.get()
            if fails:
                raise LookupError

    app = Streaming()

    @app.provides(Outer)
    async def outer() -> AsyncIterator[Outer]:
        try:
            yield Outer("outer")
        finally:
            seen.append(name.get())

    @app.provides(Db)
    def inner(outer: Outer) -> Iterator[Db]:
        with bound("inner"):
            yield Db()

    with suppress(httpx.RemoteProtocolError):
        assert make_client(app, raise_app_exceptions=False).get("/numbers").text == "inner"
    assert seen == ["unset"]


class Blocks(App):
    ended: list[str]

    async def one(self) -> str:
        async with self.request.resource(Db) as db:
            inside = name.get()
        return f"{db} {inside} {name.get()}"

    async def nested(self) -> str:
        async with self.request.resource(Db):
            name.set("handler")
            async with self.request.resource(Db):
                inside = name.get()
            return f"{inside} {name.get()}"

    async def together(self) -> list[str]:
        both, seen = anyio.Event(), list[str]()

        async def one() -> None:
            async with self.request.resource(Db):
                seen.append(name.get())
                if len(seen) == 2:
                    both.set()
                await both.wait()
            seen.append(name.get())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            tasks.start_soon(one)
        return seen

    async def beside(self, db: Db) -> str:
        return await self.one()

    async def cancelled(self) -> str:
        with anyio.CancelScope() as scope:
            async with self.request.resource(Db):
                scope.cancel()
                await anyio.sleep_forever()
        return name.get()

    async def handed_on(self) -> str:
        block = self.request.resource(Db)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(block.__aenter__)
        inside = name.get()
        await block.__aexit__(None, None, None)
        return f"{inside} {name.get()}"

    async def later(self) -> str:
        self.request.after_response(self._look)
        return name.get()

    async def _look(self) -> None:
        self.ended.append(await self.one())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/one", "provided db OUTSIDE"),
        ("/nested", "db handler"),
        ("/together", '["db","db","OUTSIDE","OUTSIDE"]'),
        ("/beside", "provided db db"),
        ("/cancelled", "OUTSIDE"),
        ("/handed_on", "OUTSIDE OUTSIDE"),
        ("/later", "OUTSIDE"),
    ],
)
@pytest.mark.parametrize("outside", ["unset", "around"])
def test_blocks_of_async_code_share_context_variables_with_their_providers(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    path: str,
    text: str,
    outside: str,
) -> None:
    app = Blocks()
    app.ended = []
    app.provides(Db)(provided)
    if outside == "around":
        app.middlewares.append(around)
        outside = f"around {path}"
    client = make_client(app)
    assert client.get(path).text == text.replace("OUTSIDE", outside)
    client.close()
    assert app.ended == [f"provided db {outside}"] * (path == "/later")
    assert caplog.records == []


def test_an_abandoned_handler_leaves_the_shared_context_to_others(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = made()
    app.middlewares += [around, Timeout(0.01)]
    Root.waited.clear()
    try:
        assert make_client(app).get("/never").status_code == 503
    finally:
        Root.waited.set()
    assert [record.getMessage() for record in caplog.records] == [
        "GET '/never': never did not finish within 0.01 s: the client gets 503"
    ]


def test_a_cancelled_request_resets_variables_in_generators(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    def outer(request: Request) -> Iterator[None]:
        with bound("outer"):
            yield
        ended.append("never")

    def inner(request: Request) -> Iterator[None]:
        try:
            with bound("inner"):
                yield
        finally:
            ended.append(name.get())

    async def main() -> None:
        begun = anyio.Event()

        async def hang() -> None:
            begun.set()
            await anyio.sleep_forever()

        app = App()
        app.get("/")(hang)
        app.middlewares += [outer, inner]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, app, "/")
            await begun.wait()
            tasks.cancel_scope.cancel()

    run(backend, main)
    assert ended == ["outer"]
    assert caplog.records == []


def test_a_context_in_use_is_not_entered() -> None:
    lane = Lane(None)
    assert [lane.enter(), lane.enter()] == [True, False]
    lane.run(str, ())
    assert lane.enter()


def test_a_withdrawn_call_leaves_the_shared_context() -> None:
    lane = Lane(None)
    work = _Work(str, (), lane)
    assert lane.is_busy
    assert work.withdraw()
    assert not lane.is_busy
    assert work.run() == []


def passed_through(lane: Lane, function: Callable[[], object], tokens: dict[Any, Any]) -> None:
    """Call a function in the lane as a task does."""
    outcome = copy_context().run(lane.run, function, ())
    lane.leave(outcome, tokens)


def in_own_context(test: Callable[[], None]) -> Callable[[], None]:
    """Leave the test's variables to no other test."""
    return wraps(test)(lambda: copy_context().run(test))


@in_own_context
def test_variables_are_copied_between_task_and_shared_context() -> None:
    lane, tokens = Lane(None), dict[Any, Any]()
    seen: list[str] = []

    def look() -> None:
        seen.append(name.get())

    passed_through(lane, look, tokens)
    token = name.set("task")
    passed_through(lane, look, tokens)
    name.reset(token)
    passed_through(lane, look, tokens)
    assert seen == ["unset", "task", "unset"]
    passed_through(lane, partial(name.set, "lane"), tokens)
    passed_through(lane, look, tokens)
    assert name.get() == seen[-1] == "lane"
    assert [*tokens] == [name]
    name.set("again")
    passed_through(lane, look, {})
    assert seen[-1] == "again"
    name.reset(tokens.pop(name))
    passed_through(lane, look, tokens)
    assert seen[-1] == "again"  # who has set it has the only token that could reset it


@in_own_context
def test_a_variable_whose_token_was_not_passed_on_cannot_be_reset() -> None:
    lane = Lane(None)
    held: list[Any] = []
    passed_through(lane, lambda: held.append(name.set("lane")), {})
    passed_through(lane, lambda: name.reset(held[0]), {})  # without the token of the first call
    assert name.get() == "lane"


def test_each_owner_has_its_own_shared_context() -> None:
    one, other = object(), object()
    lane = lane_of(one)
    assert lane_of(one) is lane
    assert lane_of(other) is not lane


@pytest.mark.usefixtures("no_collector")
def test_a_request_is_freed_with_its_shared_context(make_client: MakeClient) -> None:
    requests: list[weakref.ref[Request]] = []

    def holds(request: Request) -> Iterator[None]:
        held: ContextVar[Request] = ContextVar("held")
        held.set(request)
        requests.append(weakref.ref(request))
        yield

    app = made()
    app.middlewares += [holds, around]
    client = make_client(app)
    for path in ("/plain", "/provided", "/streamed"):
        client.get(path)
    client.get("/plain")  # the last request may still be the current one of a task
    assert not gc.isenabled()
    # a thread may still be letting go of the last chunk
    until(lambda: [one() for one in requests[:-1]] == [None, None, None])
