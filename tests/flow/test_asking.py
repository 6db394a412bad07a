"""Resources of what is no handler: hooks, error handlers, functions after the response, checks of log-ins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from typing import Annotated, Any

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
    requires,
    run_in,
)
from micropie.middleware import BasicAuth, BearerAuth, FlowMiddleware
from micropie.testing import WebSocketRefused
from tests.asgi.calls import every_loop, run
from tests.asgi.calls import get as call
from tests.conftest import MakeClient
from tests.support.waiting import until

Log = list[Any]


class Database:
    """A resource that is closed. Each one that is opened has the next number."""

    def __init__(self, number: int) -> None:
        self.number = number


class Notes(list[str]):
    """A resource that is a value: a request has one until its end."""


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

    def gone(self, db: Database) -> None:
        raise HTTPError(410, "gone")

    def chunks(self, db: Database) -> Iterator[str]:
        self.log.append("chunk")
        yield f"{db.number}"

    def others(self) -> Iterator[str]:
        self.log.append("chunk")
        yield "other"


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


every_kind = pytest.mark.parametrize("make", [by_def, lambda log: run_in("loop")(by_def(log)), by_async_def])


def shop(make: Callable[[Log], Callable[..., Any]] = by_def) -> Shop:
    app = Shop()
    app.log = []
    app.provides(Database)(make(app.log))
    app.provides(Notes)(Notes)
    return app


# -- hooks -------------------------------------------------------------------------------------------------------------


def around(request: Request, db: Database) -> Iterator[None]:
    """A generator of both halves."""
    log = request.route.config.app.log  # type: ignore[union-attr]
    log.append(f"begins {db.number}")
    try:
        yield
    finally:
        log.append(f"ends {db.number}")


async def around_async(request: Request, db: Database) -> AsyncIterator[None]:
    for _ in around(request, db):
        # It must not be left after a resource that was opened before. Under WSGI each part runs in a task of its own.
        with anyio.CancelScope() if request.environ is None else nullcontext():
            yield


class Hooks(HttpMiddleware):
    def before_request(self, request: Request, db: Database) -> Any:
        self.log(request, f"before {db.number}")
        return {"status": 402, "body": "pay"} if "early" in request.query else None

    async def after_request(
        self, request: Request, status: int, response_body: Any, extra_headers: Any, *, db: Database
    ) -> Any:
        self.log(request, f"after {db.number} {status}")
        return {"body": stream(db)} if "stream" in request.query else None

    def log(self, request: Request, line: str) -> None:
        request.route.config.app.log.append(line)  # type: ignore[union-attr]


class Flows(FlowMiddleware):
    def before(self, request: Request, db: Database) -> None:
        Hooks.log(Hooks(), request, f"before {db.number}")

    def after(self, request: Request, response: Any, db: Database) -> None:
        Hooks.log(Hooks(), request, f"after {db.number} {response.status}")


class Around:
    """A generator function that is an object."""

    def __call__(self, request: Request, db: Database) -> Iterator[None]:
        yield from around(request, db)


def stream(db: Database) -> Iterator[str]:
    yield f"stream of {db.number}"


WRAPPED = ("begins 1", "ends 1")
CALLED = ("before 1", "after 1 200")


@every_kind
@pytest.mark.parametrize(
    ("hook", "lines"),
    [(around, WRAPPED), (around_async, WRAPPED), (Around(), WRAPPED), (Hooks(), CALLED), (Flows(), CALLED)],
)
def test_a_hook_shares_its_resources_with_all_that_is_inside(
    make_client: MakeClient, make: Any, hook: Any, lines: tuple[str, str]
) -> None:
    app = shop(make)
    app.middlewares.append(hook)
    client = make_client(app)
    first, last = lines
    for path, handler in (("/", "handler 1"), ("/plain", "handler"), ("/chunks", "chunk"), ("/others", "chunk")):
        app.log.clear()
        assert client.get(path).status_code == 200
        if path == "/chunks":  # the handler's stream has it, too
            assert app.log == ["opens 1", first, last, handler, "closes 1"]
        elif path == "/others":
            assert app.log == ["opens 1", first, last, "closes 1", handler]
        else:
            assert app.log == ["opens 1", first, handler, last, "closes 1"]


@every_kind
@pytest.mark.parametrize(("path", "error"), [("/fails", "KeyError"), ("/gone", "HTTPError")])
def test_a_failure_is_raised_at_the_yield_when_the_hook_has_ended(
    make_client: MakeClient, make: Any, path: str, error: str
) -> None:
    app = shop(make)
    app.middlewares += [Hooks(), around]
    make_client(app, raise_app_exceptions=False).get(path)
    status = 500 if error == "KeyError" else 410
    assert app.log == ["opens 1", "before 1", "begins 1", "ends 1", f"after 1 {status}", f"{error} 1"]


def test_a_failure_that_a_generator_has_answered_is_none(make_client: MakeClient) -> None:
    def answers(request: Request, db: Database) -> Iterator[Any]:
        try:
            yield
        except KeyError:
            yield 404, "mine"

    app = shop()
    app.middlewares.append(answers)
    assert make_client(app).get("/fails").status_code == 404
    assert app.log == ["opens 1", "closes 1"]


@pytest.mark.parametrize("hook", [around, Hooks()])
def test_a_failure_of_a_commit_after_a_hook_is_answered(make_client: MakeClient, hook: Any) -> None:
    app = shop()
    app.middlewares.append(hook)
    seen: Log = []

    class Outer(HttpMiddleware):
        def after_request(self, request: Any, status: int, response_body: Any, extra_headers: Any) -> None:
            seen.append(status)

    app.middlewares.insert(0, Outer())
    assert make_client(app, raise_app_exceptions=False).get("/?fail=closing").status_code == 500
    assert seen == [500]


def test_a_hook_whose_resources_can_not_be_opened_does_not_run(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop()
    app.middlewares += [Hooks(), around]
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/?fail=opening").status_code == 500
    assert app.log == []
    assert len(caplog.records) == 1
    assert client.get("/?fail=refusing").status_code == 401


def test_an_early_answer_has_the_resources_of_its_hook_and_opens_those_of_others(make_client: MakeClient) -> None:
    class Early(HttpMiddleware):
        def before_request(self, request: Request, notes: Notes, **_: Any) -> Any:
            notes.append("early")
            return {"body": iter(notes)} if "stream" in request.query else {"body": "early"}

    app = shop()
    app.middlewares += [Early(), Hooks(), around]
    client = make_client(app)
    assert client.get("/").text == "early"
    assert app.log == ["opens 1", "after 1 200", "closes 1"]
    app.log.clear()
    app.middlewares.reverse()
    assert client.get("/").text == "early"
    assert app.log == ["opens 1", "begins 1", "before 1", "after 1 200", "ends 1", "closes 1"]


def test_an_early_answer_that_is_a_stream_keeps_what_it_reads_from(make_client: MakeClient) -> None:
    def early(request: Request, db: Database) -> Iterator[Any]:
        yield read_from(db)

    def read_from(db: Database) -> Iterator[str]:
        app.log.append("chunk")
        yield f"{db.number}"

    app = shop()
    app.middlewares.append(early)
    assert make_client(app).get("/plain").text == "1"
    assert app.log == ["opens 1", "chunk", "closes 1"]


def test_a_stream_that_a_hook_answers_later_keeps_what_it_reads_from(make_client: MakeClient) -> None:
    app = shop()
    app.middlewares.append(Hooks())
    assert make_client(app).get("/plain?stream=1").text == "stream of 1"
    assert app.log == ["opens 1", "before 1", "handler", "after 1 200", "closes 1"]


def test_the_client_leaves(make_client: MakeClient) -> None:
    app = shop()
    app.middlewares.append(around)

    @app.get("/endless")
    def endless(db: Database) -> Iterator[str]:
        while True:
            yield "x" * 1000

    with make_client(app).stream("GET", "/endless") as answer:
        next(answer.iter_raw())
    assert app.log == ["opens 1", "begins 1", "ends 1", "GeneratorExit 1"]


@every_loop
def test_a_request_that_is_cancelled_closes_what_is_inside_first(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = shop(by_async_def)
    app.middlewares += [around_async, around_async]
    outside: list[anyio.CancelScope] = []

    @app.get("/waits")
    async def waits(db: Database) -> None:
        outside[0].cancel()
        await anyio.sleep_forever()

    async def main() -> None:
        with anyio.CancelScope() as scope:
            outside.append(scope)
            await call(app, "/waits")

    run(backend, main)
    assert app.log == ["opens 1", "begins 1", "begins 1", "ends 1", "ends 1", "GeneratorExit 1"]
    assert not caplog.records


class After(HttpMiddleware):
    def after_request(
        self, request: Request, status: int, response_body: Any, extra_headers: Any, db: Database
    ) -> None:
        extra_headers.append(("X-Number", str(db.number)))


def test_a_part_after_the_handler_shares_what_the_handler_has_asked_for(make_client: MakeClient) -> None:
    app = shop()
    app.middlewares.append(After())
    answer = make_client(app).get("/")
    assert (answer.json(), answer.headers["X-Number"]) == ([1], "1")
    assert app.log == ["opens 1", "handler 1", "closes 1"]


def test_hooks_of_an_application_have_its_own_providers_and_those_around_it(make_client: MakeClient) -> None:
    app: Any = shop()
    app.same, app.other = Shop(), shop()
    app.same.log, app.other.log = app.log, app.other.log
    for one in (app, app.same, app.other):
        one.middlewares.append(around)
    app.same.provides(Thing)(Thing)  # has nothing to do with the database
    client = make_client(app)
    assert client.get("/same").json() == [1]
    assert app.log == ["opens 1", "begins 1", "begins 1", "handler 1", "ends 1", "ends 1", "closes 1"]
    app.log.clear()
    assert client.get("/other").json() == [1]
    assert app.log == ["opens 1", "closes 1"]  # for the outer hook
    assert app.other.log == ["begins 1", "opens 1", "begins 1", "handler 1", "ends 1", "closes 1", "ends 1"]


class Thing:
    """What an inner application provides besides."""


def test_a_hook_that_is_appended_later_counts(make_client: MakeClient) -> None:
    app: Any = shop()
    app.inner = Shop()
    app.inner.log = app.log
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/inner/plain").text == "plain"
    app.inner.middlewares.append(around)
    assert client.get("/inner").json() == [1]
    app.inner.middlewares.append(asks_for_what_nobody_provides)
    assert client.get("/inner").status_code == 500


def asks_for_what_nobody_provides(request: Request, db: Unknown) -> Iterator[None]:
    yield


class Unknown:
    """Nobody provides it."""


def reads_body(text: Annotated[str, Form()]) -> str:
    return text


class Mistakes:
    """Hooks that can't be filled."""

    class Asks(HttpMiddleware):
        def before_request(self, request: Request, db: Unknown) -> None: ...

    class Reads(HttpMiddleware):
        def before_request(self, request: Request, text: Annotated[str, reads_body]) -> None: ...

    class Bare(HttpMiddleware):
        def before_request(self, request: Request, db) -> None: ...  # type: ignore[no-untyped-def]

    class Sockets(WebSocketMiddleware):
        def before_websocket(self, request: Request, db: Unknown) -> None: ...


def of_token(token: str, db: Unknown) -> str:
    return token


NOBODY = r"nothing provides its parameter 'db': write @app\.provides for its type"


@pytest.mark.parametrize(
    ("register", "sentence"),
    [
        (lambda app: app.middlewares.append(asks_for_what_nobody_provides), f"asks_for_what_nobody_provides: {NOBODY}"),
        (lambda app: app.middlewares.append(Mistakes.Asks()), rf"Asks\.before_request: {NOBODY}"),
        (
            lambda app: app.middlewares.append(Mistakes.Reads()),
            "reads_body takes a body, which is received after the h",
        ),
        (lambda app: app.middlewares.append(Mistakes.Bare()), r"write def before_request\(self, request\)"),
        (lambda app: app.middlewares.append(BearerAuth(of_token)), f"of_token: {NOBODY}"),
        (lambda app: app.ws_middlewares.append(Mistakes.Sockets()), rf"Sockets\.before_websocket: {NOBODY}"),
        (lambda app: BearerAuth(of_token)(app), f"of_token: {NOBODY}"),
        (lambda app: app.error(404)(of_token), rf"the error handler of_token: {NOBODY}"),
    ],
)
def test_a_parameter_that_nothing_fills_is_a_mistake(register: Callable[[App], object], sentence: str) -> None:
    app = App()
    register(app)
    with pytest.raises(SetupError, match=sentence):
        app._micropie.compiled()


# -- error handlers ----------------------------------------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("path", ["/fails", "/gone", "/nowhere"])
def test_an_error_handler_gets_resources_that_are_open(make_client: MakeClient, make: Any, path: str) -> None:
    app = shop(make)

    @app.error(410)
    @app.error(404)
    @app.error(KeyError)
    async def page(request: Request, error: Exception, db: Database, *, notes: Notes) -> str:
        app.log.append(f"page {db.number}")
        return f"{request.path} {type(error).__name__}"

    answer = make_client(app).get(path)
    assert answer.text == f"{path} {'KeyError' if path == '/fails' else 'HTTPError'}"
    handler = [] if path == "/nowhere" else ["opens 1", "KeyError 1" if path == "/fails" else "HTTPError 1"]
    number = 1 if path == "/nowhere" else 2
    assert app.log == [*handler, f"opens {number}", f"page {number}", f"closes {number}"]


def test_an_error_handler_shares_those_of_hooks_and_the_values_of_the_request(make_client: MakeClient) -> None:
    app = shop()
    app.middlewares.append(Hooks())

    @app.get("/noted")
    def noted(notes: Notes, db: Database) -> None:
        notes.append("by the handler")
        raise LookupError

    @app.error(LookupError)
    def page(notes: Notes, db: Database) -> Any:
        return [*notes, db.number]

    assert make_client(app).get("/noted").json() == ["by the handler", 1]
    assert app.log == ["opens 1", "before 1", "after 1 500", "LookupError 1"]


@pytest.mark.parametrize(
    "function",
    [lambda error: type(error).__name__, lambda request, error: f"{type(error).__name__}{request.path[:0]}"],
)
def test_an_error_handler_takes_the_error_and_the_request_in_any_order(make_client: MakeClient, function: Any) -> None:
    app = App()
    app.error(404)(function)
    assert make_client(app).get("/").text == "HTTPError"
    app.error(404)(lambda error, request: f"{error.status} {request.path}")
    assert make_client(app).get("/").text == "404 /"
    app.error(404)(lambda request: request.path)
    assert make_client(app).get("/").text == "/"


def test_an_error_handler_may_stream_from_its_resources(make_client: MakeClient) -> None:
    app = shop()

    @app.error(404)
    def page(error: HTTPError, db: Database) -> Iterator[str]:
        app.log.append("chunk")
        yield f"{db.number}"

    assert make_client(app).get("/nowhere").text == "1"
    assert app.log == ["opens 1", "chunk", "closes 1"]


@pytest.mark.parametrize(
    ("path", "fail", "status", "logged"),
    [
        ("/fails", "opening", 500, ["secret", "no database"]),
        ("/nowhere", "opening", 500, ["no database"]),
        ("/fails", "refusing", 500, ["secret"]),
        ("/nowhere", "refusing", 404, []),
    ],
)
def test_an_error_handler_whose_resources_fail(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, fail: str, status: int, logged: list[str]
) -> None:
    app = App()

    @app.get("/fails")
    def fails() -> None:
        raise KeyError("secret")

    app.provides(Database)(by_def([]))

    @app.error(404)
    @app.error(KeyError)
    @app.error(OSError)
    def page(error: Exception, notes: Notes, db: Database) -> str:
        raise AssertionError

    app.provides(Notes)(Notes)
    answer = make_client(app, raise_app_exceptions=False).get(f"{path}?fail={fail}")
    assert answer.status_code == status
    assert [text for text in ("secret", "no database") if text in caplog.text] == logged
    assert len(caplog.records) == len(logged)


def test_an_error_handler_whose_commit_fails(make_client: MakeClient, caplog: pytest.LogCaptureFixture) -> None:
    app = shop()

    @app.error(404)
    def page(error: Exception, db: Database) -> str:
        if "raise" in error.args:
            raise LookupError
        return ""

    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/nowhere?fail=closing").status_code == 500
    assert "the commit failed" in caplog.text


def test_an_error_handler_that_fails_rolls_back(make_client: MakeClient) -> None:
    app = shop()

    @app.error(404)
    def page(error: Exception, db: Database) -> str:
        raise Redirect("/") if app.log.count("opens 2") else LookupError

    client = make_client(app, raise_app_exceptions=False, follow_redirects=False)
    assert client.get("/nowhere").status_code == 500
    assert client.get("/nowhere").status_code == 303
    assert app.log == ["opens 1", "LookupError 1", "opens 2", "closes 2"]


def test_an_outer_error_handler_has_the_providers_of_its_own_application(make_client: MakeClient) -> None:
    app: Any = shop()
    app.inner = shop()

    @app.error(410)  # type: ignore[untyped-decorator]
    def page(error: HTTPError, db: Database) -> str:
        return f"{db.number}"

    client = make_client(app)
    assert client.get("/inner/gone").text == "1"
    assert app.log == ["opens 1", "closes 1"]
    assert app.inner.log == ["opens 1", "HTTPError 1"]


# -- after the response ------------------------------------------------------------------------------------------------


def later(word: str, db: Database, times: int = 1, *, notes: Notes) -> None:
    notes.append(f"{word * times} {db.number}")
    if word == "fails":
        raise KeyError("secret")


async def later_async(word: str, db: Database) -> None:
    await anyio.lowlevel.checkpoint()
    if word == "waits":
        await anyio.sleep_forever()


class Later(Shop):
    kept: Notes

    def write(self, db: Database, notes: Notes, word: str) -> str:
        self.kept = notes
        self.log.append(f"handler {db.number}")
        self.request.after_response(later, word)
        self.request.after_response(later_async, word)
        self.request.after_response(self._end)
        self.request.after_response(self.log.append, "end")
        return "written"

    def _end(self, db: Database) -> None:
        self.log.append(f"method {db.number}")

    def wrong(self) -> None:
        self.request.after_response(later)

    def defaults(self) -> str:
        self.request.after_response(unreadable, self)
        self.request.after_response(unreadable, self)
        return ""


def unreadable(app: Later, other: Missing = None) -> None:  # type: ignore[name-defined]  # noqa: F821
    app.log.append("unreadable")


def later_shop(make: Any = by_def, **settings: Any) -> Later:
    app = Later(**settings)
    app.log = []
    app.provides(Database)(make(app.log))
    app.provides(Notes)(Notes)
    return app


@every_kind
def test_functions_after_the_response_get_resources_of_their_own(make_client: MakeClient, make: Any) -> None:
    app = later_shop(make)
    assert make_client(app).get("/write?word=x").text == "written"
    until(lambda: "end" in app.log)
    opened = [[f"opens {number}", f"closes {number}"] for number in (2, 3)]
    assert app.log == ["opens 1", "handler 1", "closes 1", *opened[0], *opened[1], "opens 4", "method 4", *app.log[-2:]]
    assert app.log[-2:] == ["closes 4", "end"]
    assert app.kept == ["x 2"]  # what is not closed is the request's


def test_a_function_after_the_response_that_fails_rolls_back(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = later_shop()
    client = make_client(app)
    assert client.get("/write?word=fails").text == "written"
    until(lambda: "end" in app.log)
    assert app.log[3:5] == ["opens 2", "KeyError 2"]
    assert caplog.text.count("later, after the response, failed") == 1


def test_resources_after_the_response_that_fail_are_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = later_shop()

    @app.provides(Thing)
    def thing(kind: str = "closing") -> Iterator[Thing]:
        if kind == "opening":
            raise OSError("no database")
        yield Thing()
        app.log.append("closed")
        raise OSError("the commit failed")

    @app.get("/thing")
    def with_thing(request: Request) -> str:
        request.after_response(takes_thing)
        request.after_response(app.log.append, "end")
        return "answered"

    def takes_thing(thing: Thing) -> None:
        app.log.append("thing")

    client = make_client(app)
    assert client.get("/thing").text == "answered"
    until(lambda: "end" in app.log)
    assert app.log == ["thing", "closed", "end"]
    assert "what it has used could not be closed" in caplog.text
    app.log.clear()
    assert client.get("/thing?kind=opening").text == "answered"
    until(lambda: "end" in app.log)
    assert app.log == ["end"]
    assert "takes_thing, after the response, failed" in caplog.text


def test_a_function_that_wants_to_end_the_process_keeps_nothing_open(make_client: MakeClient) -> None:
    app = later_shop()

    def ends(db: Database) -> None:
        raise SystemExit

    @app.get("/ends")
    def handler(request: Request) -> str:
        request.after_response(ends)
        request.after_response(later_async, "x")
        request.after_response(app.log.append, "end")
        return ""

    make_client(app).get("/ends")
    until(lambda: "end" in app.log)
    assert app.log == ["opens 1", "GeneratorExit 1", "opens 2", "closes 2", "end"]


@every_kind
def test_a_function_that_is_given_up_keeps_nothing_open(make_client: MakeClient, make: Any) -> None:
    app = later_shop(make, background_timeout=0.3)
    assert make_client(app).get("/write?word=waits").text == "written"
    until(lambda: app.log[-1] == "GeneratorExit 3")


def test_a_function_that_lacks_an_argument_is_a_mistake_of_its_caller(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = later_shop()
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/wrong").status_code == 500
    assert "after_response(later, ...): nothing provides its parameter 'word'" in caplog.text
    assert client.get("/defaults").status_code == 200
    until(lambda: app.log == ["unreadable"] * 2)


# -- log-ins -----------------------------------------------------------------------------------------------------------


def user_of(token: str, db: Database) -> str | None:
    return f"{token} of {db.number}" if token != "wrong" else None


async def user_named(name: str, password: str, *, db: Database) -> str | None:
    return f"{name} of {db.number}" if password == "sesame" else None


@pytest.mark.parametrize(
    ("auth", "header", "wrong"),
    [
        (BearerAuth(user_of), "Bearer ann", "Bearer wrong"),
        (BasicAuth(user_named), "Basic YW5uOnNlc2FtZQ==", "Basic YW5uOnN3b3Jk"),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_the_check_of_a_log_in_shares_resources_with_the_handler(
    make_client: MakeClient, auth: Any, header: str, wrong: str, above: bool
) -> None:
    app = shop()

    @app.get("/me")
    def me(request: Request, db: Database) -> Any:
        return [request.state.user, db.number]

    if above:
        auth(app)
    else:
        app.middlewares.append(auth)
    client = make_client(app)
    assert client.get("/me", headers={"Authorization": header}).json() == ["ann of 1", 1]
    assert client.get("/me", headers={"Authorization": wrong}).status_code == 401
    assert app.log == ["opens 1", "closes 1", "opens 2", "HTTPError 2"]


# -- WebSockets, streams of events -------------------------------------------------------------------------------------


class Sockets(WebSocketMiddleware):
    def __init__(self, log: Log) -> None:
        self.log = log

    def before_websocket(self, request: Request, db: Database) -> Any:
        self.log.append(f"before {db.number}")
        return {"code": 4000} if "refuse" in request.query else None

    async def after_websocket(self, request: Request, *, db: Database) -> None:
        self.log.append(f"after {db.number}")


def is_known(request: Request, db: Database) -> bool:
    return db.number > 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("make", [by_def, by_async_def])
def test_a_websocket_has_no_resource_that_only_hooks_and_checks_have_asked_for(
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
    app.ws_middlewares.append(Sockets(app.log))
    client = connect(app, backend)
    with client.websocket("/plain") as ws:
        ws.receive_text()
        assert app.log == ["opens 1", "before 1", "closes 1"]
        ws.send_text("bye")
    until(lambda: app.log[-1] == "closes 2")
    assert app.log[3:] == ["opens 2", "after 2", "closes 2"]
    app.log.clear()
    with client.websocket("/asks"):
        pass
    until(lambda: app.log[-1] == "closes 2")
    assert app.log == ["opens 1", "before 1", "socket 1", "closes 1", "opens 2", "after 2", "closes 2"]
    app.log.clear()
    with pytest.raises(WebSocketRefused), client.websocket("/asks?refuse=1"):
        pass
    assert app.log == ["opens 1", "before 1", "closes 1", "opens 2", "after 2", "closes 2"]


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
def test_a_stream_keeps_open_what_its_handler_has_asked_for_and_no_more(make_client: MakeClient, make: Any) -> None:
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
def test_an_async_resource_is_not_closed_before_one_that_was_opened_inside_it(
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


def by_header(name: Annotated[str, Header("X-Name")]) -> str:
    return name


def test_a_hook_takes_what_a_provider_reads_of_the_request(make_client: MakeClient) -> None:
    def greets(request: Request, name: Annotated[str, by_header]) -> Iterator[Any]:
        yield f"hello {name}"

    app = App()
    app.middlewares.append(greets)
    client = make_client(app)
    assert client.get("/", headers={"X-Name": "ann"}).text == "hello ann"
    assert client.get("/").status_code == 400
