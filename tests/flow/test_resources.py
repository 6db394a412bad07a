"""Resources of a request, ``@app.provides``, in every world; ``def``, ``@run_in("loop")``,
``async def`` and context managers.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident
from typing import Annotated, Any, Generic, NewType, Optional, TypeVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from micropie import (
    App,
    BindingErrors,
    Body,
    EventStream,
    Form,
    Header,
    HTTPError,
    HttpMiddleware,
    Query,
    Redirect,
    Request,
    Response,
    SetupError,
    UploadFile,
    WebSocketRequest,
    get,
    post,
    reads_body,
    request,
    requires,
    run_in,
)
from micropie.middleware import Timeout
from micropie.testing import ClientError, TestClient, WebSocketRefused
from tests.asgi.calls import get as call
from tests.asgi.calls import run
from tests.support.clients import MakeClient
from tests.support.decorators import foreign
from tests.support.errors import said
from tests.support.waiting import until

T = TypeVar("T")


class Thing:
    """What is provided."""

    def __init__(self, name: str = "thing") -> None:
        self.name = name


class Shelf(Generic[T]):
    """A thing of a generic class."""

    def __init__(self, name: str = "") -> None:
        self.name = name


class Part:
    """What a thing needs."""


@dataclass
class User:
    name: str
    number: int
    page: int
    path: str


class Client:
    def __init__(self, base_url: str = "https://example.com") -> None:
        self.base_url = base_url

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: Any) -> None: ...


Token = NewType("Token", str)
Named = NewType("Named", str)


Log = list[Any]
Make = Callable[[Log], Callable[..., Any]]


def noted(log: Log, error: BaseException | None) -> None:
    log.append("closed" if error is None else f"raised {type(error).__name__}")


def by_def(log: Log) -> Callable[..., Any]:
    def thing() -> Iterator[Thing]:
        log.append("opened")
        try:
            yield Thing()
        except BaseException as error:
            noted(log, error)
            raise
        noted(log, None)

    return thing


def by_async_def(log: Log) -> Callable[..., Any]:
    async def thing() -> AsyncIterator[Thing]:
        await checkpoint()
        log.append("opened")
        try:
            yield Thing()
        except BaseException as error:
            noted(log, error)
            raise
        await checkpoint()
        noted(log, None)

    return thing


class Manager:
    """A context manager."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def __enter__(self) -> Thing:
        self.log.append("opened")
        return Thing()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        noted(self.log, error)


class AsyncManager:
    """An async context manager, which can only be made on an event loop."""

    def __init__(self, log: Log) -> None:
        anyio.get_current_task()
        self.log = log

    async def __aenter__(self) -> Thing:
        await checkpoint()
        self.log.append("opened")
        return Thing()

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        await checkpoint()
        noted(self.log, error)


class Later:
    """An async context manager that can be made anywhere, and be awaited as well: that is not for
    us.
    """

    def __init__(self, log: Log) -> None:
        self.log = log

    def __await__(self) -> Any:
        raise AssertionError("entered, not awaited")

    async def __aenter__(self) -> Thing:
        self.log.append("opened")
        return Thing()

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        noted(self.log, error)


def by_coroutine(log: Log) -> Callable[..., Any]:
    async def connect() -> Manager:
        await checkpoint()
        return Manager(log)

    return connect


KINDS: dict[str, Make] = {
    "def": by_def,
    "inline": lambda log: run_in("loop")(by_def(log)),
    "async def": by_async_def,
    "contextmanager": lambda log: contextmanager(by_def(log)),
    "asynccontextmanager": lambda log: asynccontextmanager(by_async_def(log)),
    "factory": lambda log: lambda: Manager(log),
    "partial": lambda log: functools.partial(Manager, log),
    "partial of an async class": lambda log: functools.partial(AsyncManager, log),
    "async factory": lambda log: lambda: Later(log),
    "coroutine": by_coroutine,
    "hidden coroutine": lambda log: foreign(by_coroutine(log)),
}
every_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@pytest.fixture(params=[by_def, by_async_def, KINDS["async factory"]], ids=["def", "async", "with"])
def make(request: pytest.FixtureRequest) -> Make:
    """What makes a provider of some kinds."""
    chosen: Make = request.param
    return chosen


class Shop(App):
    """Handlers of every kind. ``log`` has what happened in order."""

    log: Log

    def thread(self, thing: Thing) -> str:
        self.log.append("handler")
        return thing.name

    @run_in("loop")
    def quick(self, thing: Thing) -> str:
        self.log.append("handler")
        return thing.name

    async def loop(self, thing: Thing) -> str:
        self.log.append("handler")
        return thing.name

    def fails(self, thing: Thing) -> str:
        raise KeyError("secret")

    async def gone(self, thing: Thing) -> str:
        raise HTTPError(410, "gone")

    def gone_returned(self, thing: Thing) -> Any:
        return HTTPError(410, "gone")

    def elsewhere(self, thing: Thing) -> Any:
        raise Redirect("/there")

    def wrong(self, thing: Thing) -> Any:
        return "text", 404

    def chunks(self, thing: Thing) -> Iterator[str]:
        for number in range(3):
            self.log.append(number)
            yield f"{thing.name} "

    async def achunks(self, thing: Thing) -> AsyncIterator[str]:
        for number in range(3):
            await checkpoint()
            self.log.append(number)
            yield f"{thing.name} "

    def breaks(self, thing: Thing) -> Iterator[str]:
        yield "begun"
        raise KeyError("secret")

    async def abreaks(self, thing: Thing) -> AsyncIterator[str]:
        yield "begun"
        await checkpoint()
        raise KeyError("secret")

    def breaks_at_once(self, thing: Thing) -> Iterator[str]:
        if thing:
            raise HTTPError(409, "conflict")
        yield ""

    def endless(self, thing: Thing) -> Iterator[str]:
        while True:
            yield "x" * 1000

    async def aendless(self, thing: Thing) -> AsyncIterator[str]:
        while True:
            await checkpoint()
            yield "x" * 1000

    async def ws_echo(self, ws: Any, thing: Thing, times: int = 1) -> None:
        await ws.accept()
        await ws.send_text(thing.name * times)
        self.log.append(await ws.receive_text())

    async def ws_waits(self, ws: Any, thing: Thing) -> None:
        await ws.accept()
        await anyio.sleep_forever()

    async def ws_fails(self, ws: Any, thing: Thing) -> None:
        await ws.accept()
        raise KeyError("secret")


def shop(make: Make | None = None, **settings: Any) -> Shop:
    app = Shop(**settings)
    app.log = []
    if make is not None:
        app.provides(Thing)(make(app.log))
    return app


@every_kind
@pytest.mark.parametrize("path", ["/thread", "/quick", "/loop"])
def test_a_handler_gets_a_resource_that_is_closed_after_it(
    make_client: MakeClient, make: Make, path: str
) -> None:
    app = shop(make)
    client = make_client(app)
    for _ in range(2):
        app.log.clear()
        assert client.get(path).text == "thing"
        assert app.log == ["opened", "handler", "closed"]


@pytest.mark.parametrize(
    ("path", "end", "status"),
    [
        ("/fails", "raised KeyError", 500),
        ("/gone", "raised HTTPError", 410),
        ("/gone_returned", "raised HTTPError", 410),
        ("/breaks_at_once", "raised HTTPError", 409),
        ("/wrong", "raised ResponseError", 500),
        ("/elsewhere", "closed", 303),
    ],
)
def test_the_handler_s_exception_is_raised_at_the_provider_s_yield(
    make_client: MakeClient, make: Make, path: str, end: str, status: int
) -> None:
    app = shop(make)
    assert make_client(app, raise_app_exceptions=False).get(path).status_code == status
    assert app.log == ["opened", end]


@pytest.mark.parametrize("path", ["/chunks", "/achunks"])
def test_a_stream_keeps_its_resource_open_until_its_end(
    make_client: MakeClient, make: Make, path: str
) -> None:
    app = shop(make)
    assert make_client(app).get(path).text == "thing thing thing "
    assert app.log == ["opened", 0, 1, 2, "closed"]


@pytest.mark.parametrize("path", ["/breaks", "/abreaks"])
def test_a_stream_s_exception_is_raised_at_the_provider_s_yield(
    make_client: MakeClient, make: Make, path: str
) -> None:
    app = shop(make)
    with pytest.raises(KeyError):
        make_client(app).get(path)
    assert app.log == ["opened", "raised KeyError"]


@pytest.mark.parametrize("path", ["/endless", "/aendless"])
def test_a_disconnection_from_a_stream_raises_generator_exit_in_the_provider(
    make_client: MakeClient, make: Make, path: str
) -> None:
    app = shop(make)
    with make_client(app).stream("GET", path) as answer:
        next(answer.iter_raw())
    assert app.log == ["opened", "raised GeneratorExit"]


def test_head_of_a_stream_closes_its_resource(make_client: MakeClient, make: Make) -> None:
    app = shop(make)
    assert make_client(app).head("/chunks").status_code == 200
    assert app.log[0] == "opened"
    assert len(app.log) == 3  # its first chunk, and its end


def test_a_websocket_has_its_resource_while_its_handler_runs(
    connect: MakeClient, make: Make, backend: str
) -> None:
    app = shop(make)
    with connect(app, backend).websocket("/echo?times=2") as ws:
        assert ws.receive_text() == "thingthing"
        assert app.log == ["opened"]
        ws.send_text("bye")
    assert app.log == ["opened", "bye", "closed"]


def test_a_websocket_s_disconnection_ends_its_provider_normally(
    connect: MakeClient, make: Make, backend: str
) -> None:
    app = shop(make)
    with connect(app, backend).websocket("/echo") as ws:
        ws.receive_text()
    assert app.log == ["opened", "closed"]


def test_a_websocket_s_cancellation_is_raised_at_the_provider_s_yield(
    connect: MakeClient, make: Make, backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop(make, websocket_grace=0.01)
    with connect(app, backend).websocket("/waits"):
        pass
    assert app.log == ["opened", "raised ClientDisconnect"]
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_websocket_s_exception_is_raised_at_the_provider_s_yield(
    connect: MakeClient, make: Make, backend: str
) -> None:
    app = shop(make)
    with connect(app, backend, raise_app_exceptions=False).websocket("/fails"):
        pass
    assert app.log == ["opened", "raised KeyError"]


def test_a_decorator_may_hide_that_a_handler_is_async(make_client: MakeClient) -> None:
    app = shop(by_def)

    async def hidden(thing: Thing) -> str:
        app.log.append("handler")
        return thing.name

    function: Any = foreign(hidden)
    function.__signature__ = signature(hidden)
    function.__annotations__ = {"thing": Thing}
    app.get("/")(function)
    assert make_client(app).get("/").text == "thing"
    assert app.log == ["opened", "handler", "closed"]


# -- what a provider raises ------------------------------------------------------------------------


def raising(provider: str) -> Callable[..., Any]:
    def opening() -> Iterator[Thing]:
        raise HTTPError(503, "no database")
        yield Thing()

    def closing() -> Iterator[Thing]:
        yield Thing()
        raise HTTPError(409, "the commit failed")

    def translating() -> Iterator[Thing]:
        try:
            yield Thing()
        except KeyError:
            raise HTTPError(404, "no such pie") from None

    def swallowing() -> Iterator[Thing]:
        with suppress(KeyError):
            yield Thing()

    def twice() -> Iterator[Thing]:
        yield Thing("first")
        yield Thing("second")

    found: Callable[..., Any] = locals()[provider]
    return found


@pytest.mark.parametrize("path", ["page", "streamed"])
@pytest.mark.parametrize("fails", [False, True])
def test_after_response_functions_do_not_run_after_a_failed_commit(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, fails: bool
) -> None:
    stored, mailed = list[str](), list[str]()

    class Shop(App):
        def page(self, thing: Thing) -> str:
            self.request.after_response(mailed.append, "ordered")
            return "ordered"

        def streamed(self, thing: Thing) -> Iterator[str]:
            self.request.after_response(mailed.append, "ordered")
            yield "ordered"

    app = Shop()

    @app.provides(Thing)
    def transaction() -> Iterator[Thing]:
        yield Thing()
        if fails:
            raise OSError("the commit failed")
        stored.append("ordered")

    answer = make_client(app).get(f"/{path}")
    assert answer.status_code == (500 if fails and path == "page" else 200)
    until(lambda: mailed == stored)
    assert ("after_response were not called; number of functions: 1" in caplog.text) is fails


@pytest.mark.parametrize("kind", ["def", "inline", "async def"])
@pytest.mark.parametrize(
    ("provider", "path", "expected"),
    [
        ("opening", "/loop", (503, "no database")),
        ("closing", "/thread", (409, "the commit failed")),
        ("closing", "/elsewhere", (409, "the commit failed")),
        ("closing", "/fails", (500, "500 Internal Server Error")),
        ("translating", "/fails", (404, "no such pie")),
        ("swallowing", "/fails", (500, "500 Internal Server Error")),
        ("twice", "/loop", (500, "500 Internal Server Error")),
    ],
)
def test_an_exception_of_a_provider_gets_a_response(
    make_client: MakeClient, provider: str, path: str, expected: tuple[int, str], kind: str
) -> None:
    app = shop()
    decorate: Any = {"def": lambda function: function, "inline": run_in("loop")}
    app.provides(Thing)(decorate.get(kind, as_async_def)(raising(provider)))
    answer = make_client(app, raise_app_exceptions=False).get(path)
    assert (answer.status_code, said(answer)) == expected


def as_async_def(function: Callable[..., Any]) -> Callable[..., Any]:
    async def provider() -> AsyncIterator[Thing]:
        with contextmanager(function)() as thing:
            yield thing

    async def twice() -> AsyncIterator[Thing]:
        for thing in function():
            yield thing

    return twice if function.__name__ == "twice" else provider


def test_hooks_see_a_provider_s_failure_once(make_client: MakeClient) -> None:
    app = shop()
    app.provides(Thing)(raising("closing"))
    seen: list[Any] = []

    class Hooks(HttpMiddleware):
        def after_request(
            self, request: Request, status: int, body: object, headers: object
        ) -> None:
            seen.append(status)

    def around(request: Request) -> Iterator[None]:
        try:
            yield
        except HTTPError as error:
            seen.append(error.message)
            raise

    app.middlewares += [Hooks(), around]
    assert make_client(app).get("/thread").status_code == 409
    assert seen == ["the commit failed", 409]


def test_an_error_handler_may_handle_a_provider_s_failure(make_client: MakeClient) -> None:
    app = shop()

    @app.provides(Thing)
    def thing() -> Iterator[Thing]:
        yield Thing()
        raise LookupError

    @app.error(LookupError)
    def lost(error: LookupError) -> str:
        return "lost"

    answer = make_client(app, raise_app_exceptions=False).get("/thread")
    assert (answer.status_code, answer.text) == (500, "lost")


@pytest.mark.parametrize("is_async", [True, False])
def test_a_provider_that_does_not_yield_raises_a_clear_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, is_async: bool
) -> None:
    def thing() -> Iterator[Thing]:
        return
        yield

    async def async_thing() -> AsyncIterator[Thing]:
        return
        yield

    app = shop()
    app.provides(Thing)(async_thing if is_async else thing)
    assert make_client(app, raise_app_exceptions=False).get("/thread").status_code == 500
    assert "thing, which provides Thing, ended without yielding it" in caplog.text


@pytest.mark.parametrize("decorate", [lambda provider: provider, run_in("loop")])
def test_a_stream_s_resource_that_cannot_be_closed_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, decorate: Callable[[Any], Any]
) -> None:
    app = shop()
    app.provides(Thing)(decorate(raising("closing")))
    client = make_client(app)
    assert client.get("/chunks").text == "thing thing thing "
    assert "GET '/chunks': closing a resource of this request failed" in caplog.text
    caplog.clear()
    app.provides(Part)(lambda: Part())

    def stubborn() -> Iterator[Thing]:
        try:
            yield Thing()
        finally:
            raise OSError("disk full")

    with client.override(Thing, stubborn), client.stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    assert "GET '/endless': closing a resource of this request failed" in caplog.text
    assert "disk full" in caplog.text


class Stop(BaseException):
    """As a worker's end, or a greenlet's, is raised in a handler."""


class Guest:
    """What needs a thing."""


def three_resources(log: list[str], make: Make) -> App:
    """Return an application with a resource that can't be closed between two others."""

    class Shop(App):
        def stops(self, outer: Part, thing: Thing, inner: Guest) -> None:
            raise Stop

        async def waits(self, outer: Part, thing: Thing, inner: Guest) -> None:
            log.append("waits")
            await anyio.sleep_forever()

        def endless(self, outer: Part, thing: Thing, inner: Guest) -> Iterator[str]:
            while True:
                yield "piece"

    app = Shop()

    @app.provides(Part)
    async def outer() -> AsyncIterator[Part]:
        try:
            yield Part()
        finally:
            log.append("outer closed")

    @app.provides(Guest)
    def inner(thing: Thing) -> Iterator[Guest]:
        try:
            yield Guest()
        finally:
            log.append("inner closed")

    app.provides(Thing)(make(log))
    return app


def fails_in_a_thread(log: list[str]) -> Callable[..., Any]:
    def thing(part: Part) -> Iterator[Thing]:
        try:
            yield Thing()
        finally:
            log.append("fails")
            raise OSError("disk full")

    return thing


def ends_on_the_loop(
    end: Callable[[], Awaitable[None]],
) -> Callable[[list[str]], Callable[..., Any]]:
    def make(log: list[str]) -> Callable[..., Any]:
        async def thing(part: Part) -> AsyncIterator[Thing]:
            try:
                yield Thing()
            finally:
                log.append("fails")
                await end()

        return thing

    return make


async def raise_error() -> None:
    raise OSError("disk full")


fails_on_the_loop = ends_on_the_loop(raise_error)
is_cancelled_itself = ends_on_the_loop(anyio.sleep_forever)

some_failures = pytest.mark.parametrize("make", [fails_in_a_thread, fails_on_the_loop])


@some_failures
def test_a_resource_that_cannot_be_closed_does_not_keep_others_open(
    make_client: MakeClient, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[str] = []
    client = make_client(three_resources(log, make), validate=False)
    with suppress(Stop, BaseExceptionGroup):
        client.get("/stops")
    assert log == ["inner closed", "fails", "outer closed"]
    assert "GET '/stops': closing a resource of this request failed" in caplog.text
    log.clear()
    with client.stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    assert log == ["inner closed", "fails", "outer closed"]


@pytest.mark.parametrize("make", [fails_in_a_thread, fails_on_the_loop, is_cancelled_itself])
def test_a_cancelled_request_closes_all_resources_and_stays_cancelled(
    backend: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "micropie.asgi.steps.CLEAN_UP_WITHIN", 2.0
    )  # for the one that would wait for ever, and enough for a thread
    log: list[str] = []
    app = three_resources(log, make)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(call, app, "/waits")
            while "waits" not in log:
                await checkpoint()
            group.cancel_scope.cancel()
        assert group.cancel_scope.cancel_called  # no other exception came out of it

    run(backend, main)
    assert log == ["waits", "inner closed", "fails", "outer closed"]


class Waiting:
    """A resource whose clean-up waits, in an application that is cancelled from outside
    meanwhile.
    """

    outside: anyio.CancelScope

    def __init__(self) -> None:
        self.log: list[str] = []

    async def generator(self) -> AsyncIterator[Thing]:
        with anyio.fail_after(60):  # a scope that it leaves in its clean-up
            try:
                yield Thing()
            finally:
                self.log.append("begins")
                self.outside.cancel()
                await self.wait()
                self.log.append("closed")

    @asynccontextmanager
    async def manager(self) -> AsyncIterator[Thing]:
        try:
            yield Thing()
        finally:
            self.log.append("begins")
            self.outside.cancel()
            await self.wait()
            self.log.append("closed")

    async def wait(self) -> None:
        for _ in range(5):
            await checkpoint()


@pytest.mark.parametrize("kind", ["generator", "manager"])
@pytest.mark.parametrize("path", ["/returns", "/fails", "/streams", "/waits"])
def test_R62_a_running_cleanup_is_not_cancelled_from_outside(
    backend: str, path: str, kind: str
) -> None:
    waiting = Waiting()

    class Shop(App):
        async def returns(self, thing: Thing) -> str:
            return "x"

        async def fails(self, thing: Thing) -> str:
            raise HTTPError(403)

        async def streams(self, thing: Thing) -> AsyncIterator[str]:
            yield "x"

        async def waits(self, thing: Thing) -> None:
            waiting.outside.cancel()
            await anyio.sleep_forever()

    app = Shop()
    app.provides(Thing)(getattr(waiting, kind))

    async def main() -> bool:
        with anyio.CancelScope() as waiting.outside:
            await call(app, path)
        return waiting.outside.cancelled_caught

    is_cancelled = run(backend, main)
    assert waiting.log == ["begins", "closed"]
    assert is_cancelled or path != "/waits"  # the others may be over by then


def test_R62_a_cleanup_that_takes_too_long_is_cancelled(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie.asgi.steps.CLEAN_UP_WITHIN", 0.05)
    waiting = Waiting()
    monkeypatch.setattr(waiting, "wait", anyio.sleep_forever)
    app = App()
    app.provides(Thing)(waiting.generator)

    @app.get("/")
    async def index(thing: Thing) -> str:
        return "x"

    async def main() -> bool:
        with anyio.CancelScope() as waiting.outside:
            await call(app, "/")
        return waiting.outside.cancelled_caught

    assert run(backend, main)
    assert waiting.log == ["begins"]


def test_R62_a_cleanup_that_is_not_cancelled_may_take_longer(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie.asgi.steps.CLEAN_UP_WITHIN", 0.0)
    log: list[str] = []
    app = App()

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        yield Thing()
        await anyio.sleep(0.05)
        log.append("closed")

    @app.get("/")
    async def index(thing: Thing) -> str:
        return "x"

    run(backend, call, app, "/")
    assert log == ["closed"]


def test_R62_a_cleanup_that_waits_for_a_thread_is_made_up_for(backend: str) -> None:
    """A ``def`` provider needs a thread for its end.

    If the request is cancelled before there is one, it is closed.
    """
    log: list[str] = []
    outside: list[anyio.CancelScope] = []

    class Shop(App):
        async def index(self, thing: Thing) -> str:
            outside[0].cancel()
            return "x"

    app = Shop()

    @app.provides(Thing)
    def thing() -> Iterator[Thing]:
        try:
            yield Thing()
        finally:
            log.append("closed")

    async def main() -> None:
        with anyio.CancelScope() as scope:
            outside.append(scope)
            await call(app, "/")

    run(backend, main)
    assert log == ["closed"]


# -- which streams keep it open --------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/response", "/pair", "/file", "/events", "/own"])
def test_any_body_in_chunks_keeps_the_resource_open(
    make_client: MakeClient, tmp_path: Any, path: str
) -> None:
    app = shop(by_def)
    (tmp_path / "text").write_text("lines")

    def numbers() -> Iterator[str]:
        app.log.append("chunk")
        yield "1"

    class Own:
        def __init__(self) -> None:
            self.left = ["1"]

        def __aiter__(self) -> Own:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            app.log.append("chunk")
            return self.left.pop()

    class File:
        def read(self, size: int) -> bytes:
            app.log.append("chunk")
            return b"" if len(app.log) > 2 else b"1"

    answers: dict[str, Callable[[], Any]] = {
        "/response": lambda: Response(numbers()),
        "/pair": lambda: (201, numbers()),
        "/file": lambda: Response(File()),
        "/events": lambda: EventStream(numbers()),
        "/own": lambda: Response(Own()),
    }

    @app.get(path)
    def handler(thing: Thing) -> Any:
        return answers[path]()

    assert make_client(app).get(path).text in ("1", ": \n\ndata: 1\n\n")
    assert app.log[:2] == ["opened", "chunk"]
    assert app.log[-1] == "closed"


def test_a_static_file_never_keeps_a_resource_open(make_client: MakeClient, tmp_path: Any) -> None:
    from micropie import static_file

    app = shop(by_def)
    (tmp_path / "text").write_text("lines")

    class Hooks(HttpMiddleware):
        def after_request(self, *_: Any) -> None:
            app.log.append("after")

    @app.get("/text")
    def text(thing: Thing) -> Any:
        return static_file("text", root=tmp_path)

    app.middlewares.append(Hooks())
    assert make_client(app).get("/text").text == "lines"
    assert app.log == ["opened", "closed", "after"]


@pytest.mark.parametrize(
    ("condition", "status", "logged"),
    [
        ({"If-None-Match": "*"}, 304, "closed"),
        ({"If-Match": '"another"'}, 412, "closed"),
        ({"Range": "bytes=99-"}, 416, "closed"),
        ({}, 404, "raised HTTPError"),
    ],
)
def test_a_condition_that_a_file_does_not_meet_is_no_failure_of_the_handler(
    make_client: MakeClient,
    tmp_path: Any,
    make: Make,
    condition: dict[str, str],
    status: int,
    logged: str,
) -> None:
    """FastAPI and Starlette make the 412 and the 416 when the handler has ended, too."""
    from micropie import static_file

    app = shop(make)
    (tmp_path / "text").write_text("lines")

    @app.get("/text")
    def text(thing: Thing) -> Any:
        return static_file("text" if condition else "missing", root=tmp_path)

    response = make_client(app).get("/text", headers=condition)
    assert (response.status_code, app.log) == (status, ["opened", logged])
    assert ("content-range" in response.headers) == (status == 416)


@pytest.mark.parametrize("size", [5, 300_000])
def test_a_provider_may_remove_the_directory_of_a_static_file(
    make_client: MakeClient, size: int
) -> None:
    from micropie import static_file

    app = App()

    @app.provides(Thing)
    def thing() -> Iterator[str]:
        with TemporaryDirectory() as directory:
            yield directory

    @app.get("/text")
    def text(thing: Thing) -> Any:
        (Path(str(thing)) / "text").write_text("x" * size)
        return static_file("text", root=str(thing))

    assert make_client(app).get("/text").text == "x" * size


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=99-"}], ids=["200", "416"])
def test_a_failure_to_close_is_sent_without_the_headers_of_a_static_file(
    make_client: MakeClient, tmp_path: Any, headers: dict[str, str]
) -> None:
    from micropie import static_file

    app = App()
    (tmp_path / "text").write_text("lines")

    @app.provides(Thing)
    def thing() -> Iterator[Thing]:
        yield Thing()
        raise HTTPError(409, "Somebody else was faster.")

    @app.get("/text")
    def text(thing: Thing) -> Any:
        cached = {"Cache-Control": "public, max-age=60"}
        return static_file("text", root=tmp_path, headers=cached)

    response = make_client(app).get("/text", headers=headers)
    assert (response.status_code, response.text) == (409, "Somebody else was faster.")
    assert {"cache-control", "etag", "last-modified"}.isdisjoint(response.headers)


def test_replacing_a_stream_in_a_hook_closes_its_resource(make_client: MakeClient) -> None:
    app = shop(by_def)

    class Hooks(HttpMiddleware):
        def after_request(self, *_: Any) -> Any:
            return {"body": "instead"}

    app.middlewares.append(Hooks())
    assert make_client(app).get("/chunks").text == "instead"
    assert app.log == ["opened", "closed"]


# -- what providers need ---------------------------------------------------------------------------


def test_providers_may_depend_on_each_other_and_each_opens_once(make_client: MakeClient) -> None:
    app = App()
    log: Log = []

    @app.provides(Part)
    def part() -> Iterator[Part]:
        log.append("open part")
        yield Part()
        log.append("close part")

    @app.provides(Thing)
    async def thing(part: Part, *, again: Part) -> AsyncIterator[Thing]:
        log.append("open thing")
        yield Thing(f"same part: {part is again}")
        log.append("close thing")

    @app.get("/<name>")
    def show(
        first: Part, name: str, thing: Thing, *rest: str, second: Part | None, **others: str
    ) -> str:
        return f"{name}: {thing.name} {first is second} {others}"

    @app.get("/other")
    def other(part: Annotated[Part, "whatever"]) -> str:
        return type(part).__name__

    client = make_client(app)
    assert client.get("/pie?x=1&thing=2&first=3").text == "pie: same part: True True {'x': '1'}"
    assert log == ["open part", "open thing", "close thing", "close part"]
    log.clear()
    assert client.get("/other").text == "Part"
    assert log == ["open part", "close part"]  # what is not asked for is not opened


def test_providers_may_have_parameters_from_the_request(make_client: MakeClient) -> None:
    app = App()

    @app.provides(User)
    def user(  # type: ignore[no-untyped-def]
        asked: Request,
        token: Annotated[str, Header("X-Token")],
        user_id: int,
        page: int = 1,
        limit=10,
        *args: str,
    ) -> User:
        return User(token, user_id, page * limit + len(args), asked.path)

    @app.get("/users/<user_id:int>/pies")
    def pies(user: User) -> Any:
        return [user.name, user.number, user.page, user.path]

    @app.get("/<user_id>/<size>")
    def sized(user_id: int, user: User, size: str) -> Any:
        return [user_id, user.number, size]

    client = make_client(app)
    headers = {"X-Token": "alice"}
    answer = client.get("/users/7/pies?page=2&limit=99", headers=headers)
    assert answer.json() == ["alice", 7, 20, "/users/7/pies"]
    assert client.get("/7/big", headers=headers).json() == [7, 7, "big"]
    wrong = client.get("/users/7/pies?page=x", headers=headers)
    assert (wrong.status_code, said(wrong)) == (400, "page: Please enter a whole number.")
    assert client.get("/users/7/pies").status_code == 400


def test_a_handler_found_by_name_shares_its_segments_with_providers(
    make_client: MakeClient,
) -> None:
    class Root(App):
        def show(self, thing: Thing, number: int, *, word: str = "") -> str:
            return f"{thing.name} {number} {word}"

    app = Root()

    @app.provides(Thing)
    def thing(number: int, size: str = "small") -> Thing:
        return Thing(f"{size} thing {number}")

    client = make_client(app)
    assert client.get("/show/7").text == "small thing 7 7 "
    assert client.get("/show/7?size=big&word=x").text == "big thing 7 7 x"
    assert client.get("/show?number=8").text == "small thing 8 8 "


def test_a_provider_gets_only_values_that_it_declares(make_client: MakeClient) -> None:
    class Root(App):
        def show(self, thing: Thing, *rest: str, **others: str) -> Any:
            return [thing.name, rest, others]

    app = Root()

    @app.provides(Thing)
    def thing(*segments: str, size: str = "small", **options: str) -> Thing:
        return Thing(f"{segments} {size} {options}")

    client = make_client(app)
    sent = {"size": "big", "is_admin": "1"}
    assert client.get("/show/a/b", params=sent).json() == ["() big {}", ["a", "b"], sent]


def test_a_provider_may_take_a_body(make_client: MakeClient) -> None:
    app = App()

    @app.provides(Thing)
    def thing(name: Annotated[str, Form()]) -> Thing:
        return Thing(name)

    @app.provides(Named)
    def named(body: Annotated[dict[str, str], Body()]) -> Named:
        return Named(body["name"])

    @app.post("/things")
    def add(thing: Thing) -> str:
        return thing.name

    @app.post("/things/<number:int>")
    def change(number: int, named: Named) -> str:
        return f"{number} {named}"

    client = make_client(app)
    assert client.post("/things", data={"name": "form"}).text == "form"
    assert client.post("/things/1", json={"name": "json"}).text == "1 json"
    large = "x" * 100_000
    assert client.post("/things/1", json={"name": large}).text == f"1 {large}"


def test_a_body_field_fills_no_provider_parameter_by_name(
    make_client: MakeClient,
) -> None:
    app = App()

    @app.provides(Thing)
    def thing(name: str = "own") -> Thing:
        return Thing(name)

    @app.provides(Part)
    def part(size: int) -> Part:
        return Part()

    @app.post("/things")
    def add(thing: Thing, name: str) -> Any:
        return [thing.name, name]

    @app.post("/parts")
    def parts(part: Part) -> None: ...

    client = make_client(app)
    assert client.post("/things", data={"name": "form"}).json() == ["own", "form"]
    assert client.post("/things", json={"name": "json"}).json() == ["own", "json"]
    assert client.post("/things?name=query").json() == ["query", "query"]
    missing = client.post("/parts", data={"size": "1"})
    assert (missing.status_code, said(missing)) == (400, "size: Please fill in this field.")
    operations = app.openapi()["paths"]
    assert [one["name"] for one in operations["/parts"]["post"]["parameters"]] == ["size"]
    assert "requestBody" not in operations["/parts"]["post"]


def test_an_invalid_request_opens_no_resource(make_client: MakeClient) -> None:
    app = shop(by_def)

    @app.provides(Part)
    def part(thing: Thing, page: int) -> Part:
        return Part()

    @app.get("/page")
    def page(thing: Thing, part: Part) -> str:
        return ""

    client = make_client(app)
    assert client.get("/page?page=x").status_code == 400
    assert client.get("/nothing").status_code == 404
    assert app.log == []


def test_a_handler_may_take_the_request(make_client: MakeClient) -> None:
    class Root(App):
        def show(self, number: int, request: Request) -> str:
            return f"{number} {request.path}"

        async def ws_show(self, ws: Any, asked: WebSocketRequest) -> None:
            await ws.accept()
            await ws.send_text(asked.path)

    client = make_client(Root())
    assert client.get("/show/7").text == "7 /show/7"


def test_providing_classes_and_other_callables_get_no_arguments(make_client: MakeClient) -> None:
    """Their parameters are not meant for clients: `?base_url=` would choose whom a client library
    talks with.
    """

    app = App()
    app.provides(Client)(Client)
    app.provides(Thing)(functools.partial(Thing, "made"))
    app.provides(Part)(type("Maker", (), {"__call__": lambda self, **options: Part()})())

    @app.get("/")
    def index(client: Client, thing: Thing, part: Part) -> Any:
        return [client.base_url, thing.name, type(part).__name__]

    answer = make_client(app).get("/?base_url=http://169.254.169.254&name=evil")
    assert answer.json() == ["https://example.com", "made", "Part"]


def test_a_newtype_can_be_provided(make_client: MakeClient) -> None:
    app = App()
    app.provides(Token)(lambda: Token("secret"))

    @app.get("/")
    def index(token: Token, text: str = "") -> str:
        return f"{token} {text}"

    assert make_client(app).get("/?token=x&text=y").text == "secret y"


def current_thing(name: str = "current") -> Thing:
    return Thing(name)


async def other_thing(first: Annotated[Thing, current_thing]) -> AsyncIterator[Thing]:
    yield Thing(f"after {first.name}")


class Greeter:
    def __init__(self, word: str) -> None:
        self.word = word

    def greeting(self) -> str:
        return self.word


BY_METHOD = Greeter("hello").greeting


def test_an_annotation_may_name_its_provider(make_client: MakeClient) -> None:
    class Root(App):
        def pair(
            self, one: Annotated[Thing, current_thing], /, two: Annotated[Thing | None, other_thing]
        ) -> Any:
            return [one.name, two and two.name]

        def text(
            self, *, text: Annotated[str, BY_METHOD], more: Annotated[int, "no function"] = 1
        ) -> Any:
            return [text, more]

    client = make_client(Root())
    assert client.get("/pair").json() == ["current", "after current"]
    assert client.get("/pair?name=mine").json() == ["mine", "after mine"]
    assert client.get("/text?text=x&more=2").json() == ["hello", 2]
    with client.override(current_thing, Thing("fake")):
        assert client.get("/pair").json() == ["fake", "after fake"]
    assert client.get("/pair").json() == ["current", "after current"]


@dataclass
class Visitor:
    """A class that a client could fill, if nothing provided it."""

    name: str
    is_admin: bool = False


def current_visitor() -> Visitor:
    return Visitor("real")


@functools.lru_cache
def cached_visitor() -> Visitor:
    return Visitor("real")


PARTIAL_VISITOR = functools.partial(Visitor, "real")
CurrentVisitor = Annotated[Visitor, current_visitor]


@pytest.mark.parametrize(
    ("annotation", "key"),
    [
        (CurrentVisitor | None, current_visitor),
        (Optional[CurrentVisitor], current_visitor),
        (Annotated[CurrentVisitor | None, "documentation"], current_visitor),
        (Annotated[Annotated[CurrentVisitor, "a"] | None, "b"] | None, current_visitor),
        (Annotated[Visitor, cached_visitor], cached_visitor),
        (Annotated[Visitor | None, PARTIAL_VISITOR], PARTIAL_VISITOR),
    ],
)
def test_a_client_never_fills_a_parameter_that_names_its_provider(
    make_client: MakeClient, annotation: Any, key: Any
) -> None:
    def is_real(request: Request, visitor: Any) -> bool:
        return bool(visitor.name == "real")

    def described(visitor: Any) -> str:
        return f"{visitor.name} {visitor.is_admin}"

    is_real.__annotations__["visitor"] = described.__annotations__["visitor"] = annotation
    app = App()
    app.post("/described")(described)
    app.post("/checked")(requires(is_real)(lambda: "checked"))

    @app.post("/inside")
    def inside(request: Request) -> str:
        with request.resource(key) as visitor:
            return described(visitor)

    @app.post("/provided")
    def provided(text: Any) -> str:
        return str(text)

    provided.__annotations__["text"] = Annotated[str, described]
    client = make_client(app)
    forged = {"name": "forged", "is_admin": True, "visitor": {"name": "forged"}}
    for path in ("/described", "/inside", "/provided"):
        for query in ("", "?visitor=forged&name=forged&is_admin=1"):
            assert client.post(path + query, json=forged).text == "real False"
    assert client.post("/checked?name=forged", json=forged).text == "checked"
    with client.override(key, Visitor("fake")):
        assert client.post("/described", json=forged).text == "fake False"
        assert client.post("/checked", json=forged).status_code == 403


@pytest.mark.parametrize(
    "annotation", [list[CurrentVisitor], CurrentVisitor | int, dict[str, CurrentVisitor | None]]
)
def test_a_provider_inside_of_an_annotation_is_refused(annotation: Any) -> None:
    def handler(visitor: Any) -> str:
        return "never"

    handler.__annotations__["visitor"] = annotation
    app = App()
    app.post("/")(handler)
    with pytest.raises(SetupError, match="'visitor': current_visitor has no effect inside its"):
        app._micropie.compiled()


@pytest.mark.parametrize(
    ("annotation", "is_refused"),
    [
        (Visitor | Part, True),
        (Annotated[Visitor | int | None, "documentation"], True),
        (Annotated[Visitor | int, Body()], False),
        (Annotated[Visitor | int, current_visitor], False),
        (list[Visitor] | int, True),
        (list[Visitor], True),
        (dict[str, Visitor] | None, True),
        (Annotated[list[Visitor], "documentation"], True),
        (Annotated[list[Visitor], Body()], False),
    ],
)
def test_a_union_or_collection_with_a_provided_type_is_refused(
    annotation: Any, is_refused: bool
) -> None:
    def handler(visitor: Any) -> str:
        return "never"

    handler.__annotations__["visitor"] = annotation
    app = App()
    app.post("/")(handler)
    app.provides(Visitor)(current_visitor)
    if is_refused:
        with pytest.raises(SetupError, match="'visitor': Visitor has a provider, but the client"):
            app._micropie.compiled()
    else:
        app._micropie.compiled()


class NeedsName:
    def __init__(self, name: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "required"),
    [
        (functools.partial(lambda a, b: Thing(), 1), "b"),
        (NeedsName, "name"),
        (functools.lru_cache(lambda number: Thing()), ""),
        (functools.partial(lambda *a, b=1, **c: Thing()), ""),
        (dict, ""),
    ],
)
def test_a_provider_that_is_called_without_arguments_requires_none(
    function: Any, required: str
) -> None:
    app = App()
    app.provides(Thing)(function)

    @app.get("/")
    def index(thing: Thing) -> str:
        return "never"

    if required:
        message = (
            f"provides Thing, is called without arguments, but is missing a .*'{required}': write"
        )
        with pytest.raises(SetupError, match=message):
            app._micropie.compiled()
    else:
        app._micropie.compiled()


def test_other_callables_in_an_annotation_provide_nothing(make_client: MakeClient) -> None:
    class Length:
        def __call__(self, value: str) -> bool:
            return bool(value)

    app = App()

    @app.get("/")
    def index(text: Any, more: Any) -> str:
        return text + more  # type: ignore[no-any-return]

    index.__annotations__["text"] = Annotated[str, Length(), Length, str.strip, len]
    index.__annotations__["more"] = Annotated[str, Length(), Query()]
    assert make_client(app).get("/?text=a&more=b").text == "ab"


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[str, current_visitor, Query()],
        Annotated[str, Header("X-User"), current_visitor],
        Annotated[Annotated[str, current_visitor] | None, Query()],
    ],
)
def test_a_provider_beside_a_source_is_refused(annotation: Any) -> None:
    def handler(visitor: Any) -> str:
        return "never"

    handler.__annotations__["visitor"] = annotation
    app = App()
    app.get("/")(handler)
    message = r"'visitor': the annotation declares .* and the provider current_visitor: remove one"
    with pytest.raises(SetupError, match=message):
        app._micropie.compiled()


def test_a_provider_s_context_variables_reach_the_handler(make_client: MakeClient) -> None:
    variable: ContextVar[str] = ContextVar("variable")
    app = App()

    @app.provides(Thing)
    def thing() -> Iterator[Thing]:
        token = variable.set(request.path)
        yield Thing()
        assert variable.get() == "/x"
        del token

    @app.get("/x")
    async def x(thing: Thing) -> str:
        return variable.get()

    assert make_client(app).get("/x").text == "/x"


def test_def_providers_run_in_threads_under_asgi(connect: MakeClient) -> None:
    app = App()
    seen: dict[str, int] = {}

    @app.provides(Thing)
    def thing() -> Iterator[Thing]:
        seen["def"] = get_ident()
        yield Thing()

    @app.provides(Part)
    @run_in("loop")
    def part() -> Iterator[Part]:
        seen["inline"] = get_ident()
        yield Part()

    @app.get("/")
    async def index(thing: Thing, part: Part) -> str:
        seen["loop"] = get_ident()
        return ""

    connect(app, "asyncio").get("/")
    assert seen["inline"] == seen["loop"] != seen["def"]


def test_a_task_group_can_stay_open_across_the_yield(connect: MakeClient, backend: str) -> None:
    app = App()
    log: Log = []

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep_forever)
            yield Thing("in a group")
            tasks.cancel_scope.cancel()
        log.append("left")

    async def around(request: Request) -> AsyncIterator[None]:
        with anyio.fail_after(60):
            yield

    app.middlewares.append(around)

    @app.get("/")
    async def index(thing: Thing) -> str:
        return thing.name

    @app.get("/chunks")
    async def chunks(thing: Thing) -> AsyncIterator[str]:
        with anyio.fail_after(60):
            await checkpoint()
            yield thing.name
            yield "!"

    client = connect(app, backend)
    assert client.get("/").text == "in a group"
    app.middlewares.clear()
    assert client.get("/chunks").text == "in a group!"
    assert log == ["left", "left"]


def test_a_time_limit_may_surround_the_handler(make_client: MakeClient) -> None:
    app = shop(by_async_def)
    app.middlewares.append(Timeout(0.05))

    @app.get("/slow")
    async def slow(thing: Thing) -> None:
        await anyio.sleep_forever()

    assert make_client(app).get("/slow").status_code == 503
    assert app.log == ["opened", "raised HTTPError"]
    app.log.clear()
    assert make_client(app).get("/loop").text == "thing"
    assert app.log == ["opened", "handler", "closed"]


# -- applications ----------------------------------------------------------------------------------


def test_inner_applications_inherit_providers_and_may_override_them(
    make_client: MakeClient,
) -> None:
    class Inner(App):
        def index(self, thing: Thing) -> str:
            return thing.name

    app, own = Inner(), Inner()
    app.inner, app.own, own.deep = Inner(), own, Inner()
    app.mount("/mounted", Inner())

    @app.provides(Part)
    def part() -> Part:
        return Part()

    @app.provides(Thing)
    def thing(part: Part) -> Thing:
        return Thing(type(part).__name__)

    class OtherPart(Part):
        pass

    own.provides(Part)(OtherPart)
    client = make_client(app)
    answers = [client.get(path).text for path in ("/", "/inner", "/mounted", "/own", "/own/deep")]
    assert answers == ["Part", "Part", "Part", "OtherPart", "OtherPart"]


def test_a_provider_registered_later_is_used(make_client: MakeClient) -> None:
    app = shop(by_def)
    client = make_client(app)
    assert client.get("/thread").text == "thing"

    @app.provides(Part)
    def part() -> Part:
        return Part()

    @app.get("/part")
    def show(part: Part) -> str:
        return type(part).__name__

    assert client.get("/part").text == "Part"


def test_a_bound_method_can_provide(make_client: MakeClient) -> None:
    class Root(App):
        def __init__(self) -> None:
            super().__init__()
            self.provides(Thing)(self._thing)

        def _thing(self, name: str = "method") -> Iterator[Thing]:
            yield Thing(name)

        def index(self, thing: Thing) -> str:
            return thing.name

    client = make_client(Root())
    assert client.get("/").text == "method"
    assert client.get("/?name=x").text == "x"


# -- overriding ------------------------------------------------------------------------------------


def test_a_test_overrides_a_provider(make_client: MakeClient) -> None:
    app = shop(by_def)
    app.inner = inner = shop(by_def)
    client = make_client(app)

    def fake() -> Iterator[Thing]:
        yield Thing("fake")

    with client.override(Thing, fake):
        assert client.get("/thread").text == "fake"
        assert client.get("/inner/loop").text == "fake"
        with client.override(Thing, Thing("a value")):
            assert client.get("/loop").text == "a value"
        with client.override(Thing, functools.partial(Thing, "made")):
            assert client.get("/loop").text == "made"
        assert client.get("/thread").text == "fake"
    assert client.get("/thread").text == "thing"
    assert app.log == ["handler"] * 4 + ["opened", "handler", "closed"]
    assert inner.log == ["handler"]


def test_an_override_ends_with_the_client() -> None:
    app = shop(by_def)
    with TestClient(app) as client:
        client.override(Thing, Thing("fake"))
        assert client.get("/loop").text == "fake"
    with TestClient(app) as client:
        assert client.get("/loop").text == "thing"


def test_overrides_of_several_clients_end_in_any_order() -> None:
    app = shop(by_def)
    first, second = TestClient(app), TestClient(app)
    first.override(Thing, Thing("first"))
    second.override(Thing, Thing("second"))
    first.close()
    assert second.get("/loop").text == "second"
    second.close()
    with TestClient(app) as client:
        assert client.get("/loop").text == "thing"


def test_only_provided_types_can_be_overridden(connect: MakeClient) -> None:
    client = connect(App(), "asyncio")
    with pytest.raises(SetupError, match="nothing provides Thing: there is nothing to override"):
        client.override(Thing, Thing())
    app = App()
    made = app.provides(Thing)(lambda: Thing("made"))
    with pytest.raises(SetupError, match=r"write override\(Thing, \.\.\.\)"):
        connect(app, "asyncio").override(made, Thing())

    async def other(scope: Any, receive: Any, send: Any) -> None: ...

    with pytest.raises(ClientError, match=r"needs a micropie\.App that isn't wrapped"):
        connect(other, "asyncio", validate=False, lifespan=False).override(Thing, Thing())


# -- mistakes --------------------------------------------------------------------------------------


def mistake(*providers: tuple[Any, Any]) -> App:
    app = App()
    for key, provider in providers:
        app.provides(key)(provider)
    return app


def needs(kind: Any) -> Callable[..., Any]:
    def provider(needed: Any) -> Any: ...

    provider.__annotations__["needed"] = kind
    return provider


def one_thing() -> Iterator[Thing]:
    yield Thing()


async def chunk_of_things() -> AsyncIterator[Thing]:
    yield Thing()


async def no_thing() -> Thing:
    return Thing()


MISTAKES: dict[str, tuple[Callable[[], App], str]] = {
    "two": (
        lambda: mistake((Thing, Thing), (Thing, Thing)),
        "Thing already has a provider: a type can have only one",
    ),
    "itself": (
        lambda: mistake((Thing, needs(Thing))),
        "Thing needs Thing: providers can't depend on one another in a circle",
    ),
    "a circle": (
        lambda: mistake((Thing, needs(Part)), (Part, needs(Manager)), (Manager, needs(Part))),
        "Part needs Manager needs Part: providers can't depend on one another in a circle",
    ),
    "an unknown parameter": (
        lambda: mistake((Thing, needs(Part))),
        r"needs.<locals>.provider, which provides Thing: parameter 'needed': it is annotated with .*@app.provides",
    ),
    "no annotation": (
        lambda: mistake((Thing, lambda part: Thing())),
        "which provides Thing: parameter 'part': it has no annotation: annotate it",
    ),
    "no type": (
        lambda: mistake(("thing", Thing)),
        "'thing' can't be provided, because it is neither a class nor a NewType",
    ),
    "one of several types": (
        lambda: mistake((Thing | Part, Thing)),
        r"Thing \| .*Part can't be provided, because it is neither a class nor a NewType",
    ),
    "an annotated type": (
        lambda: mistake((Annotated[Thing, "a thing"], Thing)),
        r"'a thing'\] can't be provided, because it is neither a class nor a NewType",
    ),
    "two of a generic class": (
        lambda: mistake((Shelf[int], Shelf), (Shelf[int], Shelf)),
        r"Shelf\[int\] already has a provider: a type can have only one",
    ),
    "a generic type of everybody's": (
        lambda: mistake((dict[str, int], dict)),
        r"provides\(dict\[str, int\]\) would take over every",
    ),
    "a type of everybody's": (
        lambda: mistake((str, str)),
        r'provides\(str\) would take over every.*NewType\("Token", str',
    ),
    "the request": (
        lambda: mistake((Request, Thing)),
        "Request can't be provided, because micropie creates one for each request",
    ),
    "a file": (lambda: mistake((UploadFile, Thing)), "UploadFile can't be provided"),
    "the errors": (lambda: mistake((BindingErrors, Thing)), "BindingErrors can't be provided"),
    "an async def below @contextmanager": (
        lambda: mistake((Thing, contextmanager(chunk_of_things))),  # type: ignore[arg-type]
        "chunk_of_things can't be entered: write @contextmanager above a def, or",
    ),
    "a def below @asynccontextmanager": (
        lambda: mistake((Thing, asynccontextmanager(one_thing))),  # type: ignore[arg-type]
        "one_thing can't be entered: write @contextmanager above a def, or",
    ),
    "no yield below @contextmanager": (
        lambda: mistake((Thing, contextmanager(no_thing))),  # type: ignore[arg-type]
        "no_thing can't be entered: write @contextmanager above a def, or",
    ),
    "a wrong decorator in an annotation": (
        lambda: mistake((Part, needs(Annotated[Thing, contextmanager(chunk_of_things)]))),  # type: ignore[arg-type]
        "chunk_of_things can't be entered: write @contextmanager above a def, or",
    ),
    "no function": (
        lambda: mistake((Thing, Thing())),
        r"provides\(...\) takes a function or another callable, not <",
    ),
}


def test_a_generic_class_can_be_requested_with_or_without_type_arguments(
    make_client: MakeClient,
) -> None:
    class Site(App):
        def names(
            self,
            plain: Shelf,  # type: ignore[type-arg]
            ints: Shelf[int],
            texts: Shelf[str] | None = None,
        ) -> list[str]:
            return [plain.name, ints.name, texts.name if texts else ""]

    Site.names.__annotations__ |= {"plain": Shelf, "ints": Shelf[int], "texts": Shelf[str] | None}
    app = Site()
    app.provides(Shelf)(lambda: Shelf("any"))
    app.provides(Shelf[int])(lambda: Shelf("ints"))
    client = make_client(app)
    assert client.get("/names").json() == ["any", "ints", "any"]
    with client.override(Shelf[int], Shelf("fake")):
        assert client.get("/names").json() == ["any", "fake", "any"]


def test_provided_type_arguments_of_a_generic_class_are_checked() -> None:
    def page(shelf: Any) -> None: ...

    page.__annotations__["shelf"] = Shelf[str]
    app = App()
    app.provides(Shelf[int])(Shelf)
    app.get("/")(page)
    with pytest.raises(SetupError, match="parameter 'shelf': it is annotated with"):
        app._micropie.compiled()


@pytest.mark.parametrize(("make", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_a_misused_provider_raises_a_setup_error(make: Callable[[], App], sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        make()._micropie.compiled()


@run_in("process")
def in_a_process(thing: Thing) -> str:
    return thing.name


def from_a_body(upload: UploadFile) -> Thing:
    return Thing()


def test_a_handler_in_a_process_cannot_use_a_provider() -> None:
    app = mistake((Thing, Thing))
    app.get("/pooled")(in_a_process)
    with pytest.raises(
        SetupError, match="runs in the process pool, but Thing is opened in the server's"
    ):
        app._micropie.compiled()


def test_a_provider_that_takes_the_body_is_not_allowed_everywhere() -> None:
    app = mistake((Thing, from_a_body))

    @app.websocket("/ws")
    async def socket(ws: Any, thing: Thing) -> None: ...

    with pytest.raises(
        SetupError, match="its parameter 'upload' is filled from a body, and a WebSocket has none"
    ):
        app._micropie.compiled()

    class Root(App):
        @post
        @reads_body
        def add(self, thing: Thing) -> None: ...

    root = Root()
    root.provides(Thing)(from_a_body)
    sentence = "'upload' takes a file, but @reads_body leaves the body to the handler"
    with pytest.raises(SetupError, match=sentence):
        root._micropie.compiled()


def test_the_error_for_an_unprovided_type_suggests_a_provider() -> None:
    with pytest.raises(
        SetupError,
        match=r"parameter 'thing': it is annotated with .*write @app.provides\(\.\.\.\)",
    ):
        shop()._micropie.compiled()


def test_a_wildcard_must_fill_a_parameter_of_the_handler_or_a_provider() -> None:
    app = mistake((Thing, Thing))

    @app.get("/<number:int>")
    def show(thing: Thing) -> None: ...

    with pytest.raises(SetupError, match=r"has <number>, but .*show has no parameter 'number'"):
        app._micropie.compiled()


def test_a_provider_may_refuse_a_websocket(connect: MakeClient, backend: str) -> None:
    app = shop()

    @app.provides(Thing)
    async def thing(token: Annotated[str, Query()]) -> AsyncIterator[Thing]:
        if token != "sesame":
            raise HTTPError(403, "no")
        yield Thing()

    client = connect(app, backend, denial_response=True)
    with pytest.raises(WebSocketRefused) as refused, client.websocket("/echo?token=x"):
        pass
    assert refused.value.status == 403
    with client.websocket("/echo?token=sesame") as ws:
        assert ws.receive_text() == "thing"


# -- checks ----------------------------------------------------------------------------------------


class Ledger:
    """The sessions of a database that were opened, and how each was closed."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def opened(self, name: str) -> Iterator[Sessions]:
        self.log.append(f"opens {name}")
        try:
            yield Sessions(len(self.log))
        except BaseException as error:
            self.log.append(f"{name}: {type(error).__name__}")
            raise
        self.log.append(f"closes {name}")


class Sessions:
    def __init__(self, number: int) -> None:
        self.number = number


def wanted_post(number: int) -> str:
    if number > 2:
        raise HTTPError(404)
    return ("apple", "cherry")[number - 1]


def user_of(sessions: Sessions, name: Annotated[str, Header("X-Name")] = "nobody") -> Thing:
    return Thing(f"{name} of {sessions.number}")


def is_known(request: Request, user: Annotated[Thing, user_of]) -> Any:
    if user.name.startswith("broken"):
        raise OSError("no database")
    return user.name.startswith("ann") or (not user.name.startswith("visitor") and (402, "pay"))


async def owns(
    request: Request, /, *, post: Annotated[str, wanted_post], sessions: Sessions
) -> bool:
    return post == "apple" and sessions.number > 0


class Guarded(App):
    @requires(owns)
    @get("/posts/<number:int>")
    def post(  # type: ignore[override]
        self, sessions: Sessions, user: Annotated[Thing, user_of], post: Annotated[str, wanted_post]
    ) -> Any:
        return [sessions.number, user.name, post]

    def plain(self) -> Any:
        return "plain"

    def stream(self, sessions: Sessions) -> Iterator[str]:
        yield f"stream of {sessions.number}"

    async def ws_talk(self, ws: Any, sessions: Sessions) -> None:
        await ws.accept()
        await ws.send_text(f"session {sessions.number}")


def guarded() -> tuple[Any, Ledger]:
    ledger = Ledger()
    app: Any = requires(is_known)(Guarded())
    app.provides(Sessions)(lambda: ledger.opened("outer"))
    app.same = Guarded()
    app.other = Guarded()
    app.other.provides(Sessions)(lambda: ledger.opened("inner"))
    return app, ledger


class Plain(App):
    def plain(self) -> str:
        return "plain"


def wsgi_page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"mounted"]


def test_checks_share_the_handler_s_resources(make_client: MakeClient) -> None:
    app, ledger = guarded()
    app.mount("/old", Plain(), isolated=True)
    app.mount("/around", wsgi_page)
    client = make_client(app)
    client.headers["X-Name"] = "ann"
    for path, text in {
        "/posts/1": '[1,"ann of 1","apple"]',
        "/same/posts/1": '[1,"ann of 1","apple"]',
        "/plain": "plain",
        "/stream": "stream of 1",
        "/old/plain": "plain",
        "/around": "mounted",
    }.items():
        ledger.log.clear()
        assert (client.get(path).text, ledger.log) == (text, ["opens outer", "closes outer"])
    # An application with a provider of its own has its own resource beside that of the outer check.
    ledger.log.clear()
    assert client.get("/other/posts/1").json() == [2, "ann of 2", "apple"]
    assert ledger.log == ["opens outer", "opens inner", "closes inner", "closes outer"]


@pytest.mark.parametrize(
    ("name", "path", "status", "end"),
    [
        ("visitor", "/plain", 403, "outer: HTTPError"),
        ("broken", "/plain", 500, "outer: OSError"),
        ("bob", "/plain", 402, "closes outer"),
        ("ann", "/posts/2", 403, "outer: HTTPError"),
        ("ann", "/posts/3", 404, "outer: HTTPError"),
        ("ann", "/nowhere", 404, "outer: HTTPError"),
        ("visitor", "/old/plain", 403, "outer: HTTPError"),
    ],
)
def test_a_check_that_refuses_closes_its_resources(
    make_client: MakeClient, name: str, path: str, status: int, end: str
) -> None:
    app, ledger = guarded()
    app.mount("/old", Plain(), isolated=True)
    client = make_client(app, raise_app_exceptions=False)
    assert client.get(path, headers={"X-Name": name}).status_code == status
    assert ledger.log == ["opens outer", end]


def test_a_websocket_s_checks_share_its_resources(connect: MakeClient, backend: str) -> None:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.close"})

    app, ledger = guarded()
    app.mount("/old", mounted, kind="asgi")
    client = connect(app, backend)
    with client.websocket("/talk", headers={"X-Name": "ann"}) as ws:
        assert ws.receive_text() == "session 1"
    assert ledger.log == ["opens outer", "closes outer"]
    for path, name in (("/talk", "visitor"), ("/old", "visitor"), ("/old", "ann")):
        ledger.log.clear()
        with pytest.raises(WebSocketRefused), client.websocket(path, headers={"X-Name": name}):
            pass
        answers = [line.partition(":")[0] for line in ledger.log]
        assert answers in (["opens outer", "outer"], ["opens outer", "closes outer"])


def reads(request: Request, form: UploadFile) -> bool:
    return True


def needs_body(request: Request, thing: Thing) -> bool:
    return True


def test_a_check_with_a_parameter_that_cannot_be_filled_raises_a_setup_error() -> None:
    with pytest.raises(
        SetupError,
        match=r"the check reads: nothing provides its parameter 'form': write @app\.provides",
    ):
        requires(reads)(App())._micropie.compiled()
    app = requires(needs_body)(App())
    app.provides(Thing)(reads_file)
    with pytest.raises(
        SetupError,
        match="the check needs_body: reads_file reads the body, but has to run before",
    ):
        app._micropie.compiled()


def reads_file(form: UploadFile) -> Thing:
    return Thing(form.filename)


@pytest.mark.parametrize("manager", [contextmanager, asynccontextmanager])
def test_a_context_manager_that_is_already_called_is_refused_as_a_provider(manager: Any) -> None:
    def opened() -> Any:
        yield "db"

    with pytest.raises(SetupError, match="pass the function without calling it"):
        App().provides(ContextVar)(manager(opened)())
    assert [*opened()] == ["db"]
