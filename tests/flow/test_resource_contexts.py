"""Resources outside of parameters: ``with request.resource(Database)`` in ``def`` code,
``async with`` in ``async def``.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Annotated, Any, Generic, TypeVar, cast

import anyio
import pytest

from micropie import (
    App,
    EventStream,
    Form,
    Header,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Request,
    SetupError,
    WebSocketMiddleware,
    request,
    requires,
    run_in,
)
from micropie.middleware import BasicAuth, BearerAuth, FlowMiddleware
from micropie.testing import WebSocketRefused, make_request
from tests.asgi.calls import get as call
from tests.asgi.calls import run
from tests.support.clients import MakeClient
from tests.support.waiting import until

T = TypeVar("T")

Log = list[Any]


class Database:
    """A resource that is closed. Each one that is opened has the next number."""

    def __init__(self, number: int) -> None:
        self.number = number


class Shop(App):
    """``log`` has what happened, in order."""

    log: Log

    def index(self, db: Database) -> Any:
        self.log.append(f"handler {db.number}")
        return [db.number]

    def plain(self) -> Any:
        self.log.append("handler")
        return "plain"

    def fails(self, db: Database) -> None:
        raise KeyError("secret")


def by_def(log: Log) -> Callable[..., Any]:
    def database(fail: str = "") -> Iterator[Database]:
        if fail in ("opening", "refusing"):
            raise OSError("no database") if fail == "opening" else HTTPError(401, "who?")
        number = sum(line.startswith("opens") for line in log) + 1
        log.append(f"opens {number}")
        try:
            yield Database(number)
        except BaseException as error:
            log.append(f"{type(error).__name__} {number}")
            raise
        log.append(f"closes {number}")
        if fail == "closing":
            raise OSError("the commit failed")

    return database


def by_async_def(log: Log) -> Callable[..., Any]:
    made = by_def(log)

    async def database(fail: str = "") -> AsyncIterator[Database]:
        generator = made(fail)
        database = next(generator)
        try:
            yield database
        except Exception as error:
            generator.throw(error)
            raise
        except BaseException:
            generator.close()
            raise
        next(generator, None)

    return database


every_kind = pytest.mark.parametrize(
    "make", [by_def, lambda log: run_in("loop")(by_def(log)), by_async_def]
)


def shop(make: Callable[[Log], Callable[..., Any]] = by_def, **settings: Any) -> Shop:
    app = Shop(**settings)
    app.log = []
    app.provides(Database)(make(app.log))
    return app


# -- where -----------------------------------------------------------------------------------------


class Hooks(HttpMiddleware):
    """A hook of each kind."""

    def __init__(self, log: Log) -> None:
        self.log = log

    def before_request(self, request: Request) -> None:
        with request.resource(Database) as db:
            self.log.append(f"before {db.number}")

    async def after_request(
        self, request: Request, status: int, response_body: Any, extra_headers: Any
    ) -> None:
        async with request.resource(Database) as db:
            self.log.append(f"after {db.number} {status}")


@every_kind
def test_a_hook_may_open_a_resource(make_client: MakeClient, make: Any) -> None:
    app = shop(make)
    app.middlewares.append(Hooks(app.log))
    assert make_client(app).get("/").json() == [2]
    assert app.log == [
        *("opens 1", "before 1", "closes 1"),
        *("opens 2", "handler 2", "closes 2"),
        *("opens 3", "after 3 200", "closes 3"),
    ]


def around(request: Request) -> Iterator[None]:
    with request.resource(Database) as db:
        request.state.number = db.number
        yield


async def around_async(request: Request) -> AsyncIterator[None]:
    async with request.resource(Database) as db:
        request.state.number = db.number
        yield


@pytest.mark.parametrize("make", [by_def, by_async_def])
@pytest.mark.parametrize("hook", [around, around_async])
def test_a_generator_middleware_may_hold_a_resource_around_the_handler(
    make_client: MakeClient, make: Any, hook: Any
) -> None:
    app = shop(make)
    app.middlewares.append(hook)

    @app.get("/state")
    def state(request: Request) -> Any:
        app.log.append("handler")
        return request.state.number

    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/state").json() == 1
    assert app.log == ["opens 1", "handler", "closes 1"]
    app.log.clear()
    assert client.get("/fails").status_code == 500
    assert app.log == ["opens 1", "opens 2", "KeyError 2", "KeyError 1"]


@every_kind
def test_a_handler_may_open_a_resource_in_its_code(make_client: MakeClient, make: Any) -> None:
    app = shop(make)

    @app.get("/def")
    def by_with(request: Request) -> Any:
        with request.resource(Database) as first, request.resource(Database) as second:
            return [first.number, second.number]

    @app.get("/async")
    async def by_async_with() -> Any:
        async with request.resource(Database) as first, request.resource(Database) as second:
            return [first.number, second.number]

    client = make_client(app)
    for path in ("/def", "/async"):
        app.log.clear()
        assert client.get(path).json() == [1, 2]
        assert app.log == ["opens 1", "opens 2", "closes 2", "closes 1"]


@every_kind
def test_an_error_handler_may_open_a_resource(make_client: MakeClient, make: Any) -> None:
    app = shop(make)

    @app.error(KeyError)
    def page(request: Request, error: KeyError) -> Any:
        with request.resource(Database) as db:
            return f"{type(error).__name__} {db.number}"

    @app.error(404)
    async def missing(request: Request) -> Any:
        async with request.resource(Database) as db:
            return f"{request.path} {db.number}"

    client = make_client(app)
    assert client.get("/fails").text == "KeyError 2"
    assert app.log == ["opens 1", "KeyError 1", "opens 2", "closes 2"]
    app.log.clear()
    assert client.get("/nowhere").text == "/nowhere 1"
    assert app.log == ["opens 1", "closes 1"]


def later(log: Log, word: str) -> None:
    with request.resource(Database) as db:
        log.append(f"{word} {db.number}")
        if word == "fails":
            raise KeyError("secret")
        if word == "ends":
            raise SystemExit


async def later_async(log: Log, word: str) -> None:
    async with request.resource(Database) as db:
        log.append(f"{word} {db.number}")
        if word == "waits":
            await anyio.sleep_forever()


def with_tasks(app: Shop, *tasks: tuple[Callable[..., object], str]) -> Shop:
    @app.get("/tasks")
    def answered(request: Request) -> str:
        for function, word in tasks:
            request.after_response(function, app.log, word)
        request.after_response(app.log.append, "end")
        return "answered"

    return app


@every_kind
def test_after_response_functions_may_open_a_resource(make_client: MakeClient, make: Any) -> None:
    app = with_tasks(shop(make), (later, "x"), (later_async, "y"))
    assert make_client(app).get("/tasks").text == "answered"
    until(lambda: "end" in app.log)
    assert app.log == ["opens 1", "x 1", "closes 1", "opens 2", "y 2", "closes 2", "end"]


@pytest.mark.parametrize(("word", "raised"), [("fails", "KeyError"), ("ends", "GeneratorExit")])
@pytest.mark.parametrize("make", [by_def, by_async_def])
def test_a_failing_after_response_function_rolls_back(
    make_client: MakeClient, make: Any, word: str, raised: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = with_tasks(shop(make), (later, word))
    make_client(app).get("/tasks")
    until(lambda: "end" in app.log)
    assert app.log == ["opens 1", f"{word} 1", f"{raised} 1", "end"]
    assert "later, after the response, failed" in caplog.text


@pytest.mark.parametrize("make", [by_def, by_async_def])
def test_an_abandoned_function_keeps_no_resource_open(make_client: MakeClient, make: Any) -> None:
    app = with_tasks(shop(make, background_timeout=0.3), (later_async, "waits"))
    make_client(app).get("/tasks")
    until(lambda: app.log[-1:] == ["GeneratorExit 1"])


def user_of(token: str) -> str | None:
    with request.resource(Database) as db:
        return f"{token} of {db.number}" if token != "wrong" else None


async def user_named(name: str, password: str) -> str | None:
    async with request.resource(Database) as db:
        return f"{name} of {db.number}" if password == "sesame" else None


@pytest.mark.parametrize(
    ("auth", "header", "wrong"),
    [
        (BearerAuth(user_of), "Bearer ann", "Bearer wrong"),
        (BasicAuth(user_named), "Basic YW5uOnNlc2FtZQ==", "Basic YW5uOnN3b3Jk"),
    ],
)
def test_a_login_check_may_open_a_resource(
    make_client: MakeClient, auth: Any, header: str, wrong: str
) -> None:
    app = auth(shop())

    @app.get("/me")  # type: ignore[untyped-decorator]
    def me(request: Request) -> Any:
        return request.state.user

    client = make_client(app)
    assert client.get("/me", headers={"Authorization": header}).text == "ann of 1"
    assert client.get("/me", headers={"Authorization": wrong}).status_code == 401
    assert app.log == ["opens 1", "closes 1", "opens 2", "closes 2"]


class Sockets(WebSocketMiddleware):
    def __init__(self, log: Log) -> None:
        self.log = log

    def before_websocket(self, request: Request) -> Any:
        with request.resource(Database) as db:
            self.log.append(f"before {db.number}")
        return {"code": 4000} if "refuse" in request.query else None

    async def after_websocket(self, request: Request) -> None:
        async with request.resource(Database) as db:
            self.log.append(f"after {db.number}")


@pytest.mark.parametrize("make", [by_def, by_async_def])
def test_hooks_and_handlers_of_websockets_may_open_a_resource(
    connect: MakeClient, make: Any, backend: str
) -> None:
    class Talk(Shop):
        async def ws_each(self, ws: Any) -> None:
            await ws.accept()
            while await ws.receive_text() != "bye":
                async with self.request.resource(Database) as db:
                    await ws.send_text(f"{db.number}")

    app = Talk()
    app.log = []
    app.provides(Database)(make(app.log))
    app.ws_middlewares.append(Sockets(app.log))
    client = connect(app, backend)
    with client.websocket("/each") as ws:
        for number in ("2", "3"):
            ws.send_text("x")
            assert ws.receive_text() == number
        ws.send_text("bye")
    until(lambda: app.log[-1] == "closes 4")
    assert app.log[:3] == ["opens 1", "before 1", "closes 1"]
    assert app.log[3:-3] == ["opens 2", "closes 2", "opens 3", "closes 3"]
    app.log.clear()
    with pytest.raises(WebSocketRefused), client.websocket("/each?refuse=1"):
        pass
    assert app.log == ["opens 1", "before 1", "closes 1", "opens 2", "after 2", "closes 2"]


def test_a_request_outside_a_server_may_open_a_resource(backend: str) -> None:
    app = shop(by_async_def)
    for_tests = make_request(app=app)
    with for_tests.resource(Database) as db:
        assert db.number == 1

    async def main() -> None:
        async with for_tests.resource(Database) as db:
            assert db.number == 2

    run(backend, main)
    assert app.log == ["opens 1", "closes 1", "opens 2", "closes 2"]


# -- what is opened --------------------------------------------------------------------------------


class Part:
    """What a database needs."""


class Shelf(Generic[T]):
    """A thing of a generic class."""

    def __init__(self, name: str) -> None:
        self.name = name


def by_header(name: Annotated[str, Header("X-Name")]) -> str:
    return name


def reads_form(text: Annotated[str, Form()]) -> str:
    return text


class Keys(App):
    def generic(self) -> Any:
        with self.request.resource(Shelf[int]) as one, self.request.resource(Shelf[str]) as other:
            return [one.name, other.name]

    def function(self) -> Any:
        with self.request.resource(by_header) as name:
            return name

    def unknown(self, name: str) -> Any:
        with self.request.resource({"type": Part, "alias": Shelf[int]}[name]):
            return "opened"

    def body(self) -> Any:
        with self.request.resource(reads_form):
            return "opened"

    def blocks(self) -> Any:
        with self.request.resource(Database):
            return "opened"

    @run_in("process")
    def elsewhere(self) -> Any:
        with self.request.resource(Database):
            return "opened"


def test_a_resource_is_found_by_its_type_or_function(make_client: MakeClient) -> None:
    app = Keys()
    app.provides(Shelf)(lambda: Shelf("any"))
    app.provides(Shelf[int])(lambda: Shelf("numbers"))
    client = make_client(app)
    assert client.get("/generic").json() == ["numbers", "any"]
    assert client.get("/function", headers={"X-Name": "ann"}).text == "ann"
    assert client.get("/function").status_code == 400  # as the client's mistake
    with client.override(by_header, lambda: "fake"), client.override(Shelf[int], Shelf("fakes")):
        assert client.get("/function").text == "fake"
        assert client.get("/generic").json() == ["fakes", "any"]


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        (
            "/unknown/type",
            "LookupError: nothing provides Part: write @app.provides(...) with this type above "
            "a function that returns it",
        ),
        (
            "/unknown/alias",
            "LookupError: nothing provides tests.flow.test_resource_contexts.Shelf[int]",
        ),
        (
            "/body",
            "SetupError: reads_form reads the body, but has to run before the body is "
            "received: read the body in the handler",
        ),
        pytest.param(
            "/elsewhere",
            "RuntimeError: a handler in the process pool has no self.url_for, self.render, "
            "self.channels, self.pool or request.resource: run it in a thread",
            marks=pytest.mark.processes,
        ),
    ],
)
def test_an_unavailable_resource_raises_a_clear_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, sentence: str
) -> None:
    assert make_client(Keys(processes=1), raise_app_exceptions=False).get(path).status_code == 500
    assert sentence in caplog.text


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_sync_with_raises_an_error_on_the_event_loop(
    connect: MakeClient, caplog: pytest.LogCaptureFixture, world: str
) -> None:
    app = shop()
    app.provides(Part)(lambda: Part())

    @app.get("/loop")
    async def loop(request: Request) -> None:
        with request.resource(Database):
            raise AssertionError

    client = connect(app, world, raise_app_exceptions=False)
    assert client.get("/loop").status_code == 500
    assert ('this code runs on the event loop: write "async with" in an async def') in caplog.text
    with client.override(Database, Database(7)):  # which need not wait
        app.get("/at_once")(at_once)
        assert client.get("/at_once").json() == 7


async def at_once(request: Request) -> Any:
    with request.resource(Database) as db:
        return db.number


class Failure(Exception):
    """Has room for weak references, which no built-in exception has."""


def nested(log: Log, fail: str) -> App:
    """An application with a database that needs a part, and fails where ``fail`` says."""
    app = App()

    @app.provides(Part)
    def part() -> Iterator[Part]:
        log.append("opens part")
        try:
            yield Part()
        except BaseException as error:
            log.append(type(error).__name__)
            raise
        log.append("closes part")

    @app.provides(Database)
    async def database(part: Part) -> AsyncIterator[Database]:
        raise_if(fail == "opening", Failure, "no database")
        try:
            yield Database(1)
        except KeyError:
            log.append("caught")
        raise_if(fail == "closing", Failure, "the commit failed")

    @app.get("/def")
    def by_with(request: Request) -> Any:
        with request.resource(Database) as db:
            raise_if(fail == "caught", KeyError, "secret")
            raise_if(fail == "redirect", Redirect, "/there")
            return db.number

    @app.get("/async")
    async def by_async_with(request: Request) -> Any:
        async with request.resource(Database) as db:
            raise_if(fail == "caught", KeyError, "secret")
            raise_if(fail == "redirect", Redirect, "/there")
            return db.number

    return app


def raise_if(condition: bool, kind: type[Exception], text: str) -> None:
    if condition:
        raise kind(text)


@pytest.mark.parametrize("path", ["/def", "/async"])
@pytest.mark.parametrize(
    ("fail", "status", "log", "said"),
    [
        ("", 200, ["opens part", "closes part"], ""),
        ("opening", 500, ["opens part", "Failure"], "no database"),
        ("closing", 500, ["opens part", "Failure"], "the commit failed"),
        ("caught", 500, ["opens part", "caught", "KeyError"], "secret"),
        ("redirect", 303, ["opens part", "closes part"], ""),
    ],
)
def test_dependencies_of_a_resource_open_before_and_close_after_it(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    path: str,
    fail: str,
    status: int,
    log: Log,
    said: str,
) -> None:
    seen: Log = []
    client = make_client(nested(seen, fail), raise_app_exceptions=False, follow_redirects=False)
    assert client.get(path).status_code == status
    assert seen == log
    assert said in caplog.text


def test_an_inner_application_has_its_own_providers(make_client: MakeClient) -> None:
    app: Any = shop()
    app.inner = shop()
    app.middlewares.append(around)
    client = make_client(app)
    assert client.get("/inner/plain").text == "plain"
    assert (app.log, app.inner.log) == ([], ["opens 1", "handler", "closes 1"])
    assert client.get("/plain").text == "plain"
    assert app.log == ["opens 1", "handler", "closes 1"]


# -- the end ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [by_def, by_async_def])
def test_a_cancelled_request_closes_its_resource(
    backend: str, make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop(make)
    outside: list[anyio.CancelScope] = []

    @app.get("/waits")
    async def waits(request: Request) -> None:
        async with request.resource(Database), request.resource(Database):
            outside[0].cancel()
            await anyio.sleep_forever()

    async def main() -> None:
        with anyio.CancelScope() as scope:
            outside.append(scope)
            await call(app, "/waits")

    run(backend, main)
    assert app.log == ["opens 1", "opens 2", "GeneratorExit 2", "GeneratorExit 1"]
    assert not caplog.records


def test_a_request_cancelled_while_a_resource_opens_or_closes_leaves_none_open(
    backend: str,
) -> None:
    log: Log = []
    app = App()
    outside: list[anyio.CancelScope] = []

    @app.provides(Part)
    def part() -> Iterator[Part]:
        log.append("opens part")
        try:
            yield Part()
        finally:
            log.append("closes part")

    @app.provides(Database)
    async def database(part: Part) -> AsyncIterator[Database]:
        outside[-1].cancel()
        await anyio.sleep_forever()
        yield Database(1)

    @app.get("/opens")
    async def opens(request: Request) -> None:
        async with request.resource(Database):
            raise AssertionError

    @app.get("/closes")
    async def closes(request: Request) -> str:
        async with request.resource(Part):
            outside[-1].cancel()
        return "x"

    async def main(path: str) -> None:
        with anyio.CancelScope() as scope:
            outside.append(scope)
            await call(app, path)

    for path in ("/opens", "/closes"):
        log.clear()
        run(backend, main, path)
        assert log == ["opens part", "closes part"]


def test_a_disconnection_from_a_stream_closes_its_resource(make_client: MakeClient) -> None:
    app = shop()

    @app.get("/def")
    def endless(request: Request) -> Iterator[str]:
        with request.resource(Database):
            while True:
                yield "x" * 1000

    @app.get("/async")
    async def endless_async(request: Request) -> AsyncIterator[str]:
        async with request.resource(Database):
            while True:
                yield "x" * 1000
                await anyio.lowlevel.checkpoint()

    client = make_client(app)
    for path in ("/def", "/async"):
        app.log.clear()
        with client.stream("GET", path) as answer:
            next(answer.iter_raw())
        until(lambda: app.log == ["opens 1", "GeneratorExit 1"])


def test_a_resource_that_cannot_be_closed_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    @app.provides(Database)
    def database() -> Iterator[Database]:
        try:
            yield Database(1)
        finally:
            raise OSError("disk full")

    @app.get("/endless")
    def endless(request: Request) -> Iterator[str]:
        with request.resource(Database):
            while True:
                yield "x" * 1000

    with make_client(app).stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    until(lambda: "closing a resource of this request failed" in caplog.text)
    assert "disk full" in caplog.text


@pytest.mark.parametrize("fail", ["opening", "closing", ""])
def test_a_failing_resource_leaves_no_reference_cycle(fail: str) -> None:
    """Request and error are freed when nobody refers to them, without the collector of cycles."""
    asked = make_request(app=nested([], fail))
    seen: list[weakref.ref[Any]] = [weakref.ref(asked)]
    gc.collect()
    gc.disable()
    try:
        try:
            with asked.resource(Database):
                raise Failure
        except Exception as error:
            seen.append(weakref.ref(error))
        del asked
        until(lambda: [one() for one in seen] == [None, None])  # the loop's thread may still let go
    finally:
        gc.enable()


# -- who may ask by an annotation ------------------------------------------------------------------


class Unknown:
    """Nobody provides it."""


def asks(request: Request, db: Database) -> Iterator[None]:
    yield


async def asks_async(request: Request, db: Database | None = None) -> AsyncIterator[None]:
    yield


def wants_more(request: Request, thing: Unknown) -> Iterator[None]:
    yield


def page(error: Exception, db: Database) -> str:
    return ""


def of_token(token: str, db: Database) -> str:
    return token


class Mistakes:
    class Asks(HttpMiddleware):
        def before_request(self, request: Request, db: Database) -> None: ...  # type: ignore[override]

    class Awaits(HttpMiddleware):
        async def after_request(  # type: ignore[override]
            self,
            request: Request,
            status: int,
            response_body: Any,
            extra_headers: Any,
            *,
            db: Database,
        ) -> None: ...

    class Bare(HttpMiddleware):
        def before_request(self, request: Request, db) -> None: ...  # type: ignore[no-untyped-def,override]

    class Flows(FlowMiddleware):
        def before(self, request: Request, db: Database) -> None: ...  # type: ignore[override]

    class Sockets(WebSocketMiddleware):
        def before_websocket(self, request: Request, db: Database) -> None: ...  # type: ignore[override]


ONLY = (
    r" can't get a resource as a parameter \(handlers, checks, commands and providers can\): write"
)
WITH = rf"{ONLY} \"with request\.resource\(Database\) as db:\" inside the function"


@pytest.mark.parametrize(
    ("register", "sentence"),
    [
        (lambda app: app.middlewares.append(asks), f"^asks{WITH}"),
        (
            lambda app: app.middlewares.append(asks_async),
            rf"asks_async{ONLY} \"async with request\.resource",
        ),
        (
            lambda app: app.middlewares.append(wants_more),
            "wants_more in middlewares must take one argument, the request",
        ),
        (lambda app: app.middlewares.append(Mistakes.Asks()), rf"Asks\.before_request{WITH}"),
        (
            lambda app: app.middlewares.append(Mistakes.Awaits()),
            rf"Awaits\.after_request{ONLY} \"async with",
        ),
        (
            lambda app: app.middlewares.append(Mistakes.Bare()),
            r"write def before_request\(self, request\)",
        ),
        (lambda app: app.middlewares.append(Mistakes.Flows()), rf"Flows\.before{WITH}"),
        (
            lambda app: app.ws_middlewares.append(Mistakes.Sockets()),
            rf"Sockets\.before_websocket{WITH}",
        ),
        (lambda app: app.error(404)(page), f"^page{WITH}"),
        (
            lambda app: BearerAuth(cast("Any", of_token)),
            r"check\(token\) without yield, not .*with request\.resource",
        ),
    ],
)
def test_a_hook_that_still_takes_a_resource_as_a_parameter_is_refused(
    register: Callable[[App], object], sentence: str
) -> None:
    app = shop()

    def compiled() -> None:
        register(app)
        app._micropie.compiled()

    with pytest.raises(SetupError, match=sentence):
        compiled()


def test_a_hook_that_is_appended_later_is_checked(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop()
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/plain").status_code == 200
    app.middlewares.append(asks)
    assert client.get("/plain").status_code == 500
    assert "asks can't get a resource as a parameter" in caplog.text


def test_an_after_response_function_with_missing_arguments_fails_where_it_is_registered(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop()

    @app.get("/later")
    def wrong(request: Request) -> None:
        request.after_response(of_token, "token")  # type: ignore[arg-type]

    @app.get("/later_too")
    def wrong_too(request: Request) -> None:
        request.after_response(Database)  # type: ignore[arg-type]

    client = make_client(app, raise_app_exceptions=False)
    assert [client.get(path).status_code for path in ("/later", "/later_too")] == [500, 500]
    assert 'with request.resource(Database) as db:" inside the function' in caplog.text
    assert (
        "given arguments, of which there are 0: write after_response(function, *arguments)"
        in caplog.text
    )


# -- checks, which ask by parameters ---------------------------------------------------------------


def is_known(request: Request, db: Database) -> bool:
    return db.number > 0


@pytest.mark.parametrize("make", [by_def, by_async_def])
def test_a_websocket_does_not_hold_resources_used_by_checks_alone(
    connect: MakeClient, make: Any, backend: str
) -> None:
    class Talk(Shop):
        async def ws_plain(self, ws: Any) -> None:
            await ws.accept()
            await ws.send_text("hello")
            await ws.receive_text()

        async def ws_asks(self, ws: Any, db: Database) -> None:
            await ws.accept()
            self.log.append(f"socket {db.number}")

    app = requires(is_known)(Talk())
    app.log = []
    app.provides(Database)(make(app.log))
    client = connect(app, backend)
    with client.websocket("/plain") as ws:
        ws.receive_text()
        assert app.log == ["opens 1", "closes 1"]
        ws.send_text("bye")
    app.log.clear()
    with client.websocket("/asks"):
        pass
    until(lambda: app.log == ["opens 1", "socket 1", "closes 1"])


@pytest.mark.parametrize("make", [by_def, by_async_def])
def test_a_check_that_responds_closes_its_resources_unless_it_streams(
    make_client: MakeClient, make: Any
) -> None:
    def answers(request: Request, db: Database) -> Any:
        return read_from(db) if "stream" in request.query else "no"

    def read_from(db: Database) -> Iterator[str]:
        app.log.append("chunk")
        yield f"{db.number}"

    app = requires(answers)(shop(make))
    client = make_client(app)
    assert client.get("/plain").text == "no"
    assert app.log == ["opens 1", "closes 1"]
    app.log.clear()
    assert client.get("/plain?stream=1").text == "1"
    assert app.log == ["opens 1", "chunk", "closes 1"]


class Live(Shop):
    @requires(is_known)
    def plain(self) -> Any:
        return EventStream(self._events())

    @requires(is_known)
    def shared(self, db: Database) -> Any:
        return EventStream(self._events())

    def _events(self) -> Iterator[str]:
        self.log.append("event")
        yield "x"


@every_kind
def test_a_stream_keeps_only_its_handler_s_resources_open(
    make_client: MakeClient, make: Any
) -> None:
    app = Live()
    app.log = []
    app.provides(Database)(make(app.log))
    client = make_client(app)
    client.get("/plain")
    assert app.log == ["opens 1", "closes 1", "event"]
    app.log.clear()
    client.get("/shared")
    assert app.log == ["opens 1", "event", "closes 1"]


@pytest.mark.parametrize(
    ("inner", "log"),
    [
        (by_def, ["opens 1", "opens 2", "closes 1", "event", "closes 2"]),
        (by_async_def, ["opens 1", "opens 2", "event", "closes 2", "closes 1"]),
    ],
)
def test_an_async_resource_closes_after_those_opened_inside_it(
    make_client: MakeClient, inner: Any, log: Log
) -> None:
    """It may have a scope of anyio open, which can't be left before the other's."""
    app = Live()
    app.log = []
    make_outer = by_async_def if inner is by_async_def else by_def
    app.provides(Database)(make_outer(app.log))
    other = inner(app.log)

    def both(second: Any) -> Any:
        return EventStream(app._events())

    both.__annotations__["second"] = Annotated[Database, other]
    app.get("/both")(requires(is_known)(both))
    make_client(app).get("/both")
    assert app.log == log
