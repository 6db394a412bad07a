"""Middleware written as a generator function, in every world, `def`, `@run_in("loop")` and
`async def` alike.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from traceback import format_exception
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from micropie import App, HTTPError, HttpMiddleware, Redirect, Request, Response, SetupError, run_in
from micropie._core.execution.steps.steps import CALL, Flow
from micropie.middleware.base import FlowMiddleware
from tests.asgi.calls import Call, http_scope
from tests.support.clients import MakeClient
from tests.wsgi.calls import environ_for

Around = Callable[[Request], Any]


class Inner(App):
    def index(self) -> str:
        return "inner"


class Root(App):
    ran = 0
    inner: Inner

    def index(self) -> str:
        self.ran += 1
        return "index"

    def crashes(self) -> Any:
        raise RuntimeError("secret")

    def gone(self) -> Any:
        raise HTTPError(410, "gone")

    async def streams(self) -> Any:
        return iter(["a", "b"])


def as_async(around: Around) -> Callable[[Request], AsyncIterator[Any]]:
    """The same middleware as an `async def`, whose `return` has no value."""

    async def wrapped(request: Request) -> AsyncIterator[Any]:
        await checkpoint()
        # a free-threaded Python may free it later
        with closing(around(request)) as generator:
            resume, value = generator.send, None
            while True:
                try:
                    answer = resume(value)
                except StopIteration as end:
                    if end.value is not None:
                        yield end.value
                    return
                try:
                    value = yield answer
                    resume = generator.send
                except Exception as error:
                    resume, value = generator.throw, error

    return wrapped


KINDS: dict[str, Callable[[Around], Any]] = {
    "def": lambda around: around,
    "inline": lambda around: run_in("loop")(functools.partial(around)),
    "async def": as_async,
}


@pytest.fixture(params=KINDS.values(), ids=[*KINDS])
def kind(request: pytest.FixtureRequest) -> Any:
    """What makes a hook of each kind of a generator of the tests."""
    return request.param


def wrapped(*arounds: Any) -> Root:
    app = Root()
    app.middlewares.extend(arounds)
    return app


@pytest.mark.parametrize("path", ["/", "/streams"])
def test_a_generator_middleware_sees_request_and_response(
    make_client: MakeClient, kind: Any, path: str
) -> None:
    seen: list[Any] = []

    def around(request: Request) -> Any:
        seen.append(request.path)
        response = yield
        seen.append(response.status)
        response.headers["X-Around"] = "1"

    answer = make_client(wrapped(kind(around))).get(path)
    assert (answer.status_code, answer.headers["x-around"]) == (200, "1")
    assert seen == [path, 200]


def test_the_first_middleware_is_the_outermost(make_client: MakeClient, kind: Any) -> None:
    seen: list[str] = []

    def named(name: str) -> Around:
        def around(request: Request) -> Any:
            seen.append(f"{name} before")
            yield
            seen.append(f"{name} after")

        return around

    class Hooks(HttpMiddleware):
        def before_request(self, request: Request) -> None:
            seen.append("hooks before")

        def after_request(self, request: Request, *rest: Any) -> None:
            seen.append("hooks after")

    make_client(wrapped(kind(named("a")), Hooks(), kind(named("b")))).get("/")
    assert seen == ["a before", "hooks before", "b before", "b after", "hooks after", "a after"]


@pytest.mark.parametrize("way", ["yield", "return"])
@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        ((401, "no"), 401, "no"),
        ("early", 200, "early"),
        ({"a": 1}, 200, '{"a":1}'),
        (Response("x", 202), 202, "x"),
    ],
)
def test_an_early_response_passes_through_the_outer_middleware(
    make_client: MakeClient, kind: Any, way: str, answer: Any, status: int, body: str
) -> None:
    seen: list[Any] = []

    def outer(request: Request) -> Any:
        response = yield
        seen.append(response.status)

    def guard(request: Request) -> Any:
        if way == "return":
            return answer
        seen.append((yield answer).status)
        return None

    def inner(request: Request) -> Any:
        seen.append("never")
        yield

    app = wrapped(kind(outer), kind(guard), kind(inner))
    got = make_client(app).get("/")
    assert (got.status_code, got.text) == (status, body)
    assert seen == ([status] if way == "return" else [status, status])
    assert app.ran == 0


@pytest.mark.parametrize("way", ["yield", "return"])
def test_a_response_after_the_handler_replaces_its_response(
    make_client: MakeClient, kind: Any, way: str
) -> None:
    ended: list[bool] = []

    def around(request: Request) -> Any:
        try:
            yield
            if way == "return":
                return 201, "other"
            yield 201, "other"
            raise AssertionError("nobody goes on after a second answer")
        finally:
            ended.append(True)

    answer = make_client(wrapped(kind(around))).get("/")
    assert (answer.status_code, answer.text, ended) == (201, "other", [True])


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("failure", "status"),
    [(HTTPError(403, "no"), 403), (Redirect("/there"), 303), (RuntimeError("secret"), 500)],
)
def test_an_exception_of_a_generator_middleware_is_handled_like_a_handler_s(
    make_client: MakeClient, kind: Any, when: str, failure: Exception, status: int
) -> None:
    seen: list[Any] = []

    def outer(request: Request) -> Any:
        try:
            seen.append((yield).status)
        except Exception as error:
            seen.append(error)
            raise

    def around(request: Request) -> Any:
        if when == "after":
            yield
        raise failure
        yield

    answer = make_client(wrapped(kind(outer), kind(around))).get("/")
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert seen == [303 if status == 303 else failure]


@pytest.mark.parametrize("answer", [HTTPError(403, "no"), Redirect("/there")])
def test_an_error_may_be_yielded(make_client: MakeClient, kind: Any, answer: Any) -> None:
    def late(request: Request) -> Any:
        yield
        yield answer

    def early(request: Request) -> Any:
        yield answer

    for around in (late, early):
        assert make_client(wrapped(kind(around))).get("/").status_code == getattr(answer, "status")  # noqa: B009


class Transaction:
    """What a database gives to ``with``."""

    def __init__(self, ends: list[str]) -> None:
        self.ends = ends

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self.ends.append("commit" if kind is None else f"rollback {kind.__name__}")


def failing_hook(when: str) -> HttpMiddleware:
    def fail(*_: Any) -> Any:
        raise ValueError("hook")

    hook: HttpMiddleware = type("Failing", (HttpMiddleware,), {when: fail})()
    return hook


@pytest.mark.parametrize(
    ("path", "inner", "status", "end"),
    [
        ("/", [], 200, "commit"),
        ("/moved", [], 303, "commit"),
        ("/gone", [], 410, "rollback HTTPError"),
        ("/nowhere", [], 404, "rollback HTTPError"),
        ("/crashes", [], 500, "rollback RuntimeError"),
        ("/no-response", [], 500, "rollback ResponseError"),
        ("/", [failing_hook("before_request")], 500, "rollback ValueError"),
        ("/", [failing_hook("after_request")], 500, "rollback ValueError"),
        ("/gone", [failing_hook("after_request")], 500, "rollback ValueError"),
        ("/gone", [FlowMiddleware(), HttpMiddleware()], 410, "rollback HTTPError"),
    ],
)
def test_a_transaction_is_rolled_back_after_a_failure(
    make_client: MakeClient, kind: Any, path: str, inner: list[Any], status: int, end: str
) -> None:
    ends: list[str] = []

    def transaction(request: Request) -> Any:
        with Transaction(ends):
            yield

    app = wrapped(kind(transaction), *inner, kind(transaction))
    app.get("/moved")(lambda: (_ for _ in ()).throw(Redirect("/")))
    app.get("/no-response")(lambda: ("body", 200))
    assert make_client(app).get(path).status_code == status
    begun = 1 if inner and "before_request" in vars(type(inner[0])) else 2
    assert ends[-1] == end
    assert len(ends) == begun


def catching(way: str) -> Around:
    def around(request: Request) -> Any:
        try:
            yield
        except RuntimeError as error:
            if way == "return":
                return 409, "taken"
            if way == "yield":
                yield 409, "taken"
            if way == "raises":
                raise KeyError("other") from error
            if way == "redirects":
                raise Redirect("/") from None
            if way == "passes":
                raise

    return around


@pytest.mark.parametrize("way", ["yield", "return", "ends", "raises", "redirects", "passes"])
def test_a_generator_middleware_may_catch_or_replace_an_exception(
    make_client: MakeClient, kind: Any, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    handled: list[Exception] = []
    statuses: list[int] = []

    def outer(request: Request) -> Any:
        try:
            seen.append((yield).status)
        except Exception as error:
            seen.append(type(error))
            raise

    class Status(HttpMiddleware):
        def after_request(self, request: Request, status: int, *rest: Any) -> None:
            statuses.append(status)

    app = wrapped(Status(), kind(outer), kind(catching(way)))

    @app.error(Exception)
    def page(error: Exception) -> str:
        handled.append(error)
        return "page"

    answer = make_client(app).get("/crashes")
    status, outer_saw, page_for = {
        "yield": (409, 409, []),
        "return": (409, 409, []),
        "ends": (500, 500, [RuntimeError]),
        "raises": (500, KeyError, [KeyError]),
        "redirects": (303, 303, []),
        "passes": (500, RuntimeError, [RuntimeError]),
    }[way]
    assert (answer.status_code, seen, statuses) == (status, [outer_saw], [status])
    assert [type(error) for error in handled] == page_for
    # Nothing of the framework's own adds a context.
    answers = [type(error.__context__) for error in handled]
    assert answers == ([RuntimeError] if way == "raises" else [type(None)] * len(handled))
    assert len([record for record in caplog.records if record.exc_info]) <= len(page_for)


def test_a_failure_between_hooks_is_handled_and_logged_once(
    make_client: MakeClient, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []

    def around(request: Request) -> Any:
        try:
            yield
        except RuntimeError as error:
            seen.append(str(error))
            raise

    class Marks(HttpMiddleware):
        def after_request(self, request: Request, status: int, body: Any, headers: Any) -> Any:
            seen.append(status)
            return {"status": status + 1}

    answer = make_client(wrapped(kind(around), Marks(), kind(around), Marks(), kind(around))).get(
        "/crashes"
    )
    assert answer.status_code == 502
    assert seen == ["secret", 500, "secret", 501, "secret"]
    records = [record for record in caplog.records if record.exc_info]
    assert len(records) == 1
    traceback = "".join(format_exception(records[0].exc_info[1]))  # type: ignore[index]
    assert "in crashes" in traceback
    assert "in around" not in traceback


def test_a_failing_error_handler_gets_the_plain_500(make_client: MakeClient, kind: Any) -> None:
    seen: list[Any] = []

    def around(request: Request) -> Any:
        try:
            yield
        except Exception as error:
            seen.append(type(error))
            raise

    class Status(HttpMiddleware):
        def after_request(self, request: Request, status: int, *rest: Any) -> None:
            seen.append(status)

    app = wrapped(kind(around), Status())

    @app.error(RuntimeError)
    def page() -> Any:
        raise KeyError("page")

    answer = make_client(app).get("/crashes")
    assert (answer.status_code, "500 Internal Server Error" in answer.text) == (500, True)
    assert seen == [500, RuntimeError]


@pytest.mark.parametrize("catches", [True, False])
def test_the_handler_s_headers_only_stay_with_its_own_error(
    make_client: MakeClient, kind: Any, catches: bool
) -> None:
    def around(request: Request) -> Any:
        try:
            yield
        except HTTPError:
            if not catches:
                raise
            yield "caught"

    class Marked(App):
        def index(self) -> Any:
            self.response.headers["X-Own"] = "1"
            raise HTTPError(409)

    app = Marked()
    app.middlewares.append(kind(around))
    answer = make_client(app).get("/")
    seen = (answer.status_code, answer.headers.get("x-own"))
    assert seen == ((200, None) if catches else (409, "1"))


def test_an_inner_application_has_its_own_middleware(make_client: MakeClient, kind: Any) -> None:
    def around(request: Request) -> Any:
        (yield).headers["X-Inner"] = "1"

    app = Root()
    app.inner = Inner()
    app.inner.middlewares.append(kind(around))
    client = make_client(app)
    assert client.get("/inner").headers["x-inner"] == "1"
    assert "x-inner" not in client.get("/").headers


@pytest.mark.parametrize("decorate", [lambda function: function, run_in("loop")])
def test_a_def_middleware_may_return_an_awaitable(
    make_client: MakeClient, decorate: Callable[[Any], Any]
) -> None:
    async def text(of: str) -> str:
        await checkpoint()
        return of

    @decorate
    def around(request: Request) -> Generator[Any, Any, Any]:
        if request.path == "/crashes":
            yield text("before")
        yield
        return text("after")

    app = Root()
    app.middlewares.append(around)
    client = make_client(app)
    assert (client.get("/crashes").text, client.get("/").text) == ("before", "after")


@pytest.mark.parametrize("wrong", [print, lambda request: None, object(), 5, "x"])
def test_an_object_that_is_not_middleware_is_refused_at_setup(wrong: Any) -> None:
    with pytest.raises(SetupError, match="is not middleware: append an object with before_request"):
        wrapped(wrong)._micropie.compiled()


def takes_nothing() -> Iterator[None]:
    yield


def takes_too_much(request: Request, thing: complex) -> Iterator[None]:
    yield


class Called:
    def __call__(self) -> Iterator[None]:
        yield


@pytest.mark.parametrize(
    ("around", "name"),
    [
        (takes_nothing, "^takes_nothing"),
        (takes_too_much, "^takes_too_much"),
        (Called(), "Called object at .*"),
    ],
)
def test_a_generator_with_other_parameters_is_refused_at_setup(around: Any, name: str) -> None:
    with pytest.raises(
        SetupError, match=f"{name} in middlewares must take one argument, the request"
    ):
        wrapped(around)._micropie.compiled()


async def takes_request(request: Request) -> AsyncIterator[None]:
    yield


@pytest.mark.parametrize(
    "around", [contextmanager(takes_nothing), asynccontextmanager(takes_request)]
)
def test_a_context_manager_is_refused_at_setup(around: Any) -> None:
    name = around.__name__
    sentence = f"^{name} in middlewares must be a generator: remove @contextmanager$"
    with pytest.raises(SetupError, match=sentence):
        wrapped(around)._micropie.compiled()


@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_a_generator_that_ends_before_its_yield_refuses_the_request(
    make_client: MakeClient, caplog: Any, kind: Any, path: str
) -> None:
    def around(request: Request) -> Any:
        if not request.query("key"):
            return
        yield

    client = make_client(wrapped(kind(around)))
    assert client.get(f"{path}?key=1").status_code == (200 if path == "/" else 404)
    assert client.get(path).status_code == 500
    sentence = "in middlewares ended without a yield: write yield where the handler should run"
    assert sentence in caplog.text


def test_an_object_with_a_generator_call_is_middleware(make_client: MakeClient) -> None:
    class Around:
        def __call__(self, request: Request) -> Any:
            (yield).headers["X-Object"] = "1"

    assert make_client(wrapped(Around())).get("/").headers["x-object"] == "1"


def test_an_invalid_middleware_appended_later_gets_a_500_with_a_reason(
    make_client: MakeClient, caplog: Any
) -> None:
    app = Root()
    client = make_client(app)
    client.get("/")

    def no_generator(request: Request) -> None:
        """Forgot to yield."""

    app.middlewares.append(no_generator)  # type: ignore[arg-type]
    assert client.get("/").status_code == 500
    assert "no_generator" in caplog.text
    assert "is not middleware: append an object with" in caplog.text


def test_flow_middleware_has_methods_or_generators_of_steps(make_client: MakeClient) -> None:
    """What comes with micropie is plain methods, or generators that yield steps; both may
    answer.
    """

    class Plain(FlowMiddleware):
        def before(self, request: Request) -> Any:
            return (401, "plain") if request.query("plain") else None

        def after(self, request: Request, response: Response) -> Response | None:
            response.headers.add("X-Plain", "1")
            return Response("replaced") if request.query("replace") else None

    class Stepping(FlowMiddleware):
        def before(self, request: Request) -> Flow[Any]:
            return (yield CALL, request.query, ("early",))

        def after(self, request: Request, response: Response) -> Flow[Response | None]:
            late = yield CALL, request.query, ("late",)
            return Response(late) if late else None

    client = make_client(wrapped(Plain(), Stepping(), FlowMiddleware()))
    assert client.get("/").text == "index"
    assert client.get("/").headers["x-plain"] == "1"
    assert (client.get("/?plain=1").status_code, client.get("/?plain=1").text) == (401, "plain")
    assert client.get("/?early=x").text == "x"
    assert client.get("/?late=x").text == "x"
    assert client.get("/?replace=1").text == "replaced"


def test_a_cancelled_request_ends_its_generators(kind: Any, backend: str) -> None:
    ended: list[str] = []

    def around(request: Request) -> Any:
        try:
            yield
        finally:
            ended.append("around")

    begun = anyio.Event()

    class Waits(App):
        async def index(self) -> str:
            begun.set()
            await anyio.sleep_forever()
            raise AssertionError

    app = Waits()
    app.middlewares.append(kind(around))

    async def main() -> None:
        call = Call()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(app, http_scope(), call.receive, call.send)
            await begun.wait()
            tasks.cancel_scope.cancel()
        assert (ended, call.received, call.sent) == (["around"], 0, [])

    anyio.run(main, backend=backend)


def test_a_handler_aborted_under_wsgi_ends_its_generators() -> None:
    ended: list[str] = []

    def around(request: Request) -> Any:
        try:
            yield
        finally:
            ended.append("around")

    class Exits(App):
        def index(self) -> str:
            raise KeyboardInterrupt

    app = Exits()
    app.middlewares.extend([around, as_async(around)])
    with pytest.raises(KeyboardInterrupt):
        app(environ_for("GET", "/"), lambda *_: None)
    assert ended == ["around", "around"]
