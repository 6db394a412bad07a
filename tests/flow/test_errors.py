"""Errors: the author's handlers for them, the log, and the details that clients never see."""

from __future__ import annotations

import asyncio
import copy
import functools
import logging
import pickle
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NoReturn
from unittest.mock import Mock

import httpx2 as httpx
import pytest

from micropie import (
    App,
    BadRequest,
    ClientDisconnect,
    HTTPError,
    HttpMiddleware,
    MethodNotAllowed,
    Redirect,
    Request,
    Response,
    SetupError,
    WebSocket,
    get,
)
from micropie._core.errors import RaisedAnswer, Sentence
from micropie._core.http.escaping import Escaped
from micropie.middleware import CORSMiddleware
from micropie.testing import ClientError, TestClient, WebSocketClosed, WebSocketRefused
from tests.support.clients import MakeClient
from tests.support.debugging import COOKIES, DEVELOPER

TEXT = "text/plain; charset=utf-8"
SECRET = "hunter2 /etc/passwd"


class Oops(Exception):
    pass


class SmallOops(Oops):
    pass


class Failing(App):
    """``/sync/oops`` and ``/asynchronous/oops`` raise ``ERRORS["oops"]``."""

    def sync(self, name: str) -> Any:
        error = ERRORS[name]()
        raise error

    async def asynchronous(self, name: str) -> Any:
        error = ERRORS[name]()
        raise error

    @get
    def only_get(self) -> str:
        return "got"


ERRORS: dict[str, Any] = {
    "404": lambda: HTTPError(404, "no such thing"),
    "410": lambda: HTTPError(410),
    "400": lambda: BadRequest("bad thing"),
    "500": lambda: HTTPError(500, "on purpose"),
    "503": lambda: HTTPError(503, "later", [("Retry-After", "5")]),
    "oops": lambda: Oops(SECRET),
    "small": lambda: SmallOops(SECRET),
    "value": lambda: ValueError(SECRET),
    "key": lambda: KeyError(SECRET),
    "stop": lambda: StopIteration("x"),
    "stop async": lambda: StopAsyncIteration("x"),
    "type": lambda: TypeError(SECRET),
    "lookup": lambda: LookupError(SECRET),
    "os": lambda: OSError(SECRET),
    "group": lambda: ExceptionGroup(SECRET, [Oops("a"), ValueError("b")]),
    "group of one": lambda: ExceptionGroup(SECRET, [Oops("a")]),
    "groups of one": lambda: ExceptionGroup(SECRET, [ExceptionGroup(SECRET, [Oops("a")])]),
    "group and a cancellation": lambda: BaseExceptionGroup(
        SECRET, [Oops("a"), asyncio.CancelledError()]
    ),
    "group of a 404": lambda: ExceptionGroup(SECRET, [HTTPError(404, "no such thing")]),
    "group of a redirect": lambda: ExceptionGroup(SECRET, [Redirect("/ok")]),
    "timeout": lambda: TimeoutError(SECRET),
}
CRASHES = [name for name in ERRORS if not name.isdigit() and "group of a " not in name]
both_kinds = pytest.mark.parametrize("kind", ["sync", "asynchronous"])


@both_kinds
@pytest.mark.parametrize("name", CRASHES)
def test_R76_a_crash_is_logged_once_and_gets_a_response_without_details(
    make_client: MakeClient, kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = make_client(Failing()).get(f"/{kind}/{name}")
    seen = (answer.status_code, answer.text, answer.headers["content-type"])
    assert seen == (500, "500 Internal Server Error", TEXT)
    assert "hunter2" not in str(answer.headers)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"GET '/{kind}/{name}' failed in {kind}"
    assert record.exc_info is not None


@both_kinds
def test_intended_errors_have_a_message_and_are_not_logged(
    make_client: MakeClient, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Failing())
    seen = {name: client.get(f"/{kind}/{name}") for name in ("404", "410", "400", "500", "503")}
    assert {name: answer.text for name, answer in seen.items()} == {
        "404": "no such thing",
        "410": "410 Gone",
        "400": "bad thing",
        "500": "on purpose",
        "503": "later",
    }
    assert all(str(answer.status_code) == name for name, answer in seen.items())
    assert seen["503"].headers["retry-after"] == "5"
    assert {answer.headers["content-type"] for answer in seen.values()} == {TEXT}
    assert not caplog.records


def test_the_framework_s_own_errors_have_a_message(make_client: MakeClient) -> None:
    client = make_client(Failing())
    seen = (client.get("/nowhere").status_code, client.get("/nowhere").text)
    assert seen == (404, "404 Not Found")
    refused = client.post("/only_get")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    options = client.options("/only_get")
    found = (options.status_code, options.headers["allow"], options.content)
    assert found == (204, "GET, HEAD, OPTIONS", b"")
    assert client.head("/nowhere").content == b""


class Expected(App):
    def page(self) -> Any:
        raise HTTPError(404)

    def sentence(self) -> Any:
        raise HTTPError(HTTPStatus.CONFLICT, "Somebody <else> has changed it.")

    def document(self) -> Any:
        raise HTTPError(422, {"size": "too small"})

    def later(self) -> Any:
        raise HTTPError(503, "later", {"Retry-After": "5", "vary": "Cookie"})

    def unsendable(self) -> Any:
        raise HTTPError(400, "no", {"X-Name": "a\nb"})

    def undecodable(self) -> Any:
        raise HTTPError(400, "\ud800")

    def moved(self) -> Any:
        return Redirect("/page", 307, headers={"X-Pie": "apple"})

    def away(self) -> Any:
        raise Redirect("https://example.org/")

    @get
    def only_get(self) -> str:
        return "got"


@pytest.mark.parametrize(
    "accept", ["*/*", "text/html,*/*;q=0.8", "application/json", "application/problem+json"]
)
@pytest.mark.parametrize("handles", [(), (418, ValueError)], ids=["", "handlers of other errors"])
def test_a_default_error_response_is_the_same_with_and_without_the_short_cut(
    make_client: MakeClient, accept: str, handles: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    asked = [
        *((method, f"/{name}") for name in vars(Expected) for method in ("GET", "HEAD")),
        ("POST", "/only_get"),
        ("OPTIONS", "/only_get"),
        ("GET", "/a/..%2Fb"),
    ]
    seen, noted = [], []

    def sees_all(request: Request) -> Iterator[None]:
        answer = request._exchange.answer
        request._exchange.on_close(lambda: noted.append(answer.status))
        yield

    for middlewares in ((), (sees_all,)):
        app = Expected()
        app.middlewares.extend(middlewares)
        for error in handles:
            app.error(error)(lambda: "handled")
        client = make_client(app, validate=False)
        caplog.clear()
        answers = [client.request(*one, headers={"accept": accept}) for one in asked]
        parts = [(one.status_code, sorted(one.headers.items()), one.content) for one in answers]
        seen.append((parts, [record.getMessage() for record in caplog.records]))
    assert seen[0] == seen[1]
    assert noted == [status for status, _, _ in seen[0][0]]


def test_R76_a_line_end_in_the_path_cannot_start_a_log_line(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    make_client(Failing(), validate=False).get(
        "/", extensions={"target": b"/sync/oops%0AERROR%20forged%1b"}
    )
    make_client(Failing(), validate=False).get(
        "/", extensions={"target": b"/sync/%0AERROR%20forged"}
    )
    assert caplog.records
    for record in caplog.records:
        assert "\n" not in record.getMessage()
        assert "\x1b" not in record.getMessage()


def test_markup_in_an_error_message_is_plain_text(make_client: MakeClient) -> None:
    class Root(App):
        def index(self, name: str) -> Any:
            raise HTTPError(400, f"no {name}")

    answer = make_client(Root()).get("/", params={"name": "<script>"})
    assert (answer.headers["content-type"], answer.text) == (TEXT, "no <script>")


# -- @app.error ------------------------------------------------------------------------------------


def test_a_status_can_have_an_error_handler(make_client: MakeClient) -> None:
    app = Failing()

    @app.error(404)
    def missing(error: Any) -> Any:
        return f"<h1>{error.message}</h1>"

    client = make_client(app)
    for path in ("/sync/404", "/asynchronous/404"):
        answer = client.get(path)
        assert (answer.status_code, answer.text) == (404, "<h1>no such thing</h1>")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
    seen = (client.get("/nowhere").status_code, client.get("/nowhere").text)
    assert seen == (404, "<h1>404 Not Found</h1>")
    assert client.get("/sync/410").text == "410 Gone"


def unknown(error: "NoName") -> "NoName":  # type: ignore[name-defined]  # noqa: F821, UP037
    return error.message


def unknown_after_request(request: "Request", error: "NoName") -> Any:  # type: ignore[name-defined]  # noqa: F821, UP037
    return request.method + error.message


@pytest.mark.parametrize(
    ("handler", "text"),
    [(unknown, "404 Not Found"), (unknown_after_request, "GET404 Not Found")],
)
def test_an_error_handler_may_have_annotations_for_type_checkers_only(
    make_client: MakeClient, handler: Any, text: str
) -> None:
    app = App()
    app.error(404)(handler)
    assert make_client(app).get("/nowhere").text == text


@pytest.mark.parametrize("name", ["oops", "small"])
def test_R76_an_exception_class_can_have_an_error_handler(
    make_client: MakeClient, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, seen = Failing(), []

    @app.error(Oops)
    async def oops(error: Oops) -> Any:
        seen.append((type(error), error.__context__, error.__cause__))
        return {"error": "oops"}

    client = make_client(app)
    for kind in ("sync", "asynchronous"):
        answer = client.get(f"/{kind}/{name}")
        assert (answer.status_code, answer.json()) == (500, {"error": "oops"})
    assert seen == [(type(ERRORS[name]()), None, None)] * 2
    assert not caplog.records  # it was expected: its author named it


@both_kinds
@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("group of one", (400, "opened")),
        ("groups of one", (400, "opened")),
        ("group and a cancellation", (400, "opened")),
        ("group of a 404", (404, "no such thing")),
        ("group of a redirect", (303, "")),
    ],
)
def test_R76_a_group_of_one_exception_counts_as_that_exception(
    make_client: MakeClient, kind: str, name: str, answer: tuple[int, str]
) -> None:
    app, seen = Failing(), []

    @app.error(Oops)
    def oops(error: Any) -> Any:
        seen.append(type(error))
        return 400, "opened"

    got = make_client(app).get(f"/{kind}/{name}", follow_redirects=False)
    assert (got.status_code, got.text) == answer
    assert seen == [Oops] * (answer[0] == 400)


class Thing:
    pass


@pytest.mark.parametrize("where", ["provider", "after"])
def test_R76_a_group_of_one_raised_by_a_hook_or_provider_counts_as_its_exception(
    make_client: MakeClient, where: str
) -> None:
    app, seen = App(), list[Exception]()
    missing = HTTPError(404, "no such thing")

    async def around(request: Any) -> AsyncIterator[Any]:
        try:
            yield
        except Exception as error:
            seen.append(error)
            raise

    async def grouped(request: Any) -> AsyncIterator[Any]:
        yield
        raise ExceptionGroup("", [missing])

    @app.provides(Thing)
    async def thing() -> AsyncIterator[Thing]:
        try:
            yield Thing()
        except Exception as error:
            seen.append(error)
            raise ExceptionGroup("", [error]) from None

    @app.get("/things")
    async def things(thing: Thing) -> str:
        if where != "after":
            raise ExceptionGroup("", [missing])
        return "things"

    app.middlewares.extend([around, grouped] if where == "after" else [around])
    got = make_client(app).get("/things")
    assert (got.status_code, got.text) == (404, "no such thing")
    assert seen == [missing] * (1 if where == "after" else 2)


def test_R76_a_group_of_one_foreign_response_counts_as_that_response(
    make_client: MakeClient,
) -> None:
    class Foreign(RaisedAnswer):
        is_foreign = True

        def as_native(self, in_socket: bool = False) -> Exception:
            return HTTPError(410, "gone")

    app = App()

    @app.get("/")
    async def index() -> None:
        raise ExceptionGroup("", [Foreign()])

    got = make_client(app).get("/")
    assert (got.status_code, got.text) == (410, "gone")


def test_R76_a_disconnection_in_a_group_is_not_a_failure(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()

    @app.get("/")
    async def index() -> None:
        raise ExceptionGroup("", [ClientDisconnect("gone")])

    with suppress(httpx.HTTPError, ClientError):
        make_client(app, raise_app_exceptions=False).get("/")
    assert not caplog.records


@both_kinds
def test_R76_a_group_of_several_exceptions_gets_a_500_and_logs_all(
    make_client: MakeClient, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Failing()
    app.error(Oops)(lambda error: (400, "opened"))
    assert make_client(app).get(f"/{kind}/group").text == "500 Internal Server Error"
    assert "Oops: a" in caplog.text
    assert "ValueError: b" in caplog.text


@both_kinds
def test_R76_a_handler_for_exception_groups_gets_the_whole_group(
    make_client: MakeClient, kind: str
) -> None:
    app, seen = Failing(), []

    @app.error(ExceptionGroup)
    def group(error: Any) -> Any:
        seen.append(error)
        return 400, "group"

    @app.error(Oops)
    def oops(error: Any) -> Any:
        return 400, "opened"

    assert make_client(app).get(f"/{kind}/group").text == "group"
    assert type(seen[0].exceptions[0]) is Oops
    assert seen[0].__context__ is None


def test_R76_a_handler_for_a_custom_exception_group_gets_it(make_client: MakeClient) -> None:
    class Invalid(ExceptionGroup[Exception]): ...  # as those of cattrs

    app = App()
    app.error(Invalid)(lambda error: (422, f"{len(error.exceptions)} invalid"))

    @app.get("/")
    def index() -> None:
        raise ExceptionGroup("", [Invalid("", [Oops("a")])])

    got = make_client(app).get("/")
    assert (got.status_code, got.text) == (422, "1 invalid")


def test_R76_an_error_handler_gets_the_very_exception_object(make_client: MakeClient) -> None:
    app, original, seen = Failing(), Oops("it"), []
    ERRORS["very"] = lambda: original

    @app.error(Oops)
    def oops(error: Any) -> Any:
        seen.append(error)

    client = make_client(app)
    client.get("/sync/very")
    client.get("/asynchronous/very")
    assert all(error is original for error in seen)
    assert original.__context__ is None


def test_the_handler_of_the_nearest_class_is_called(make_client: MakeClient) -> None:
    app = Failing()
    app.error(Exception)(lambda error: "any")
    app.error(Oops)(lambda error: "oops")
    app.error(LookupError)(lambda error: "lookup")
    client = make_client(app)
    names = {"small": "oops", "oops": "oops", "key": "lookup", "value": "any", "group": "any"}
    assert {name: client.get(f"/sync/{name}").text for name in names} == names


def test_a_status_handler_takes_precedence_over_one_for_all_exceptions(
    make_client: MakeClient,
) -> None:
    app = Failing()
    app.error(Exception)(lambda error: "any")
    app.error(404)(lambda error: "missing")
    client = make_client(app)
    assert (client.get("/sync/404").text, client.get("/nowhere").text) == ("missing", "missing")


def test_an_error_handler_may_handle_all_http_errors(make_client: MakeClient) -> None:
    app = Failing()
    app.error(HTTPError)(lambda error: {"status": error.status, "message": error.message})
    answer = make_client(app).get("/sync/410")
    assert (answer.status_code, answer.json()) == (410, {"status": 410, "message": "410 Gone"})


@pytest.mark.parametrize("key", [500, Exception])
def test_handlers_of_500_or_all_exceptions_get_crashes_which_are_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, key: Any
) -> None:
    app = Failing()
    app.error(key)(lambda error: f"sorry: {type(error).__name__}")
    answer = make_client(app).get("/sync/value")
    assert (answer.status_code, answer.text, len(caplog.records)) == (500, "sorry: ValueError", 1)


@pytest.mark.parametrize(
    ("result", "status", "text"),
    [
        ("x", 404, "x"),
        ((200, "found"), 200, "found"),
        ((410, "gone"), 410, "gone"),
        (Response("x"), 200, "x"),
        (Response("x", 418), 418, "x"),
        ({"a": 1}, 404, '{"a":1}'),
        (None, 404, ""),
    ],
)
def test_an_error_handler_may_set_a_status(
    make_client: MakeClient, result: Any, status: int, text: str
) -> None:
    app = Failing()
    app.error(404)(lambda error: result)
    answer = make_client(app).get("/nowhere")
    assert (answer.status_code, answer.text) == (status, text)


@pytest.mark.parametrize("how", ["return", "raise"])
def test_an_error_handler_may_redirect(make_client: MakeClient, how: str) -> None:
    app = Failing()

    @app.error(404)
    def login(error: Any) -> Any:
        if how == "raise":
            raise Redirect("/login")
        return Redirect("/login")

    answer = make_client(app).get("/nowhere")
    assert (answer.status_code, answer.headers.get("location")) == (303, "/login")


@pytest.mark.parametrize("how", ["return", "raise"])
def test_an_error_handler_may_raise_another_error(make_client: MakeClient, how: str) -> None:
    app = Failing()

    @app.error(Oops)
    def oops(error: Any) -> Any:
        if how == "raise":
            raise HTTPError(409, "conflict") from error
        return HTTPError(409, "conflict")

    answer = make_client(app).get("/sync/oops")
    assert (answer.status_code, answer.text) == (409, "conflict")


async def in_chunks(error: Any) -> AsyncIterator[str]:
    yield "a"
    yield "b"


async def in_a_while(error: Any) -> str:
    return "ab"


@pytest.mark.parametrize(
    "handler",
    [lambda error: iter(["a", "b"]), in_chunks, lambda error: in_a_while(error)],
    ids=["an iterator", "an async generator", "an awaitable of a decorated function"],
)
def test_an_error_handler_may_stream_or_await(make_client: MakeClient, handler: Any) -> None:
    app = Failing()
    app.error(404)(handler)
    answer = make_client(app).get("/nowhere")
    assert (answer.status_code, answer.text) == (404, "ab")


def test_an_error_handler_can_use_request_and_response(make_client: MakeClient) -> None:
    app = Failing()

    @app.error(404)
    def missing(error: Any) -> Any:
        app.response.headers["X-Path"] = app.request.path
        return "missing"

    assert make_client(app).get("/nowhere").headers["x-path"] == "/nowhere"


def broken(error: Any) -> Any:
    raise ValueError(SECRET)


@pytest.mark.parametrize(
    "handler", [broken, lambda error: (404, "x", {"X-A": "a\r\nb"})], ids=["crashes", "unsendable"]
)
def test_an_error_handler_that_fails_gets_a_plain_500_and_a_log_line(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, handler: Any
) -> None:
    app = Failing()
    app.error(404)(handler)
    answer = make_client(app).get("/nowhere")
    seen = (answer.status_code, answer.text, len(caplog.records))
    assert seen == (500, "500 Internal Server Error", 1)


def test_an_error_handler_added_later_is_used(make_client: MakeClient) -> None:
    app = Failing()
    client = make_client(app)
    assert client.get("/nowhere").text == "404 Not Found"
    app.error(404)(lambda: "late")
    assert client.get("/nowhere").text == "late"


@pytest.mark.parametrize(("key", "named"), [(404, "404"), (KeyError, "KeyError")])
def test_a_second_handler_of_one_error_beside_the_first_is_refused(key: Any, named: str) -> None:
    app = App()

    @app.error(key)
    def first() -> str:
        return "first"

    app.error(key)(first)
    with pytest.raises(SetupError, match=rf"@app.error\({named}\) is above first and second: "):

        @app.error(key)
        def second() -> str:
            return "second"

    assert app._micropie.error_handlers[key] is first


def test_a_handler_replaces_one_from_elsewhere(make_client: MakeClient) -> None:
    """A subclass may have its own, a program another one than its extension's, and a test or a cell
    of a notebook, which runs again, the latest one.
    """

    class Base(App):
        def __init__(self) -> None:
            super().__init__()
            self.error(404)(self.missing)

        def missing(self) -> str:
            return "base"

    class Site(Base):
        def __init__(self) -> None:
            super().__init__()
            self.error(404)(self.absent)

        def absent(self) -> str:
            return "site"

    def answer() -> str:
        return make_client(app).get("/nowhere").text

    app = Site()
    assert answer() == "site"

    def replace(text: str) -> None:
        @app.error(404)
        def missing() -> str:
            return text

        assert answer() == text

    replace("once")
    replace("again")
    for made in (functools.partial(str, "a"), functools.partial(str, "b"), Mock()):
        app.error(404)(made)
        assert app._micropie.error_handlers[404] is made
    pages = Pages()
    # passed, for example, from a module that has the pages of several sites
    for passed in (plain_page, pretty_page, pages.plain, pages.pretty, pages):
        app.error(404)(passed)
        assert app._micropie.error_handlers[404] == passed


def plain_page() -> None: ...


def pretty_page() -> None: ...


class Pages:
    def __call__(self) -> None: ...

    def plain(self) -> None: ...

    def pretty(self) -> None: ...


@pytest.mark.parametrize(
    "key",
    [
        *(99, 200, 302, 399, 600, True, "404", 404.0, None, [404]),
        *(BaseException, int, KeyboardInterrupt, Oops("")),
    ],
)
def test_an_invalid_key_of_an_error_handler_is_refused(key: Any) -> None:
    with pytest.raises(SetupError, match="a status from 400 to 599 or an exception class"):
        App().error(key)


@pytest.mark.parametrize("key", [400, 599, Exception, Oops, ExceptionGroup])
def test_statuses_and_exception_classes_are_keys_of_error_handlers(key: Any) -> None:
    app = App()
    app.error(key)(lambda: "answered")
    app._micropie.compiled()


def test_an_error_handler_s_parameters_are_found_below_a_decorator(
    make_client: MakeClient,
) -> None:
    def shouting(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*arguments: Any, **values: Any) -> str:
            return str(function(*arguments, **values)).upper()

        return wrapper

    app = App(text="plain")
    app.error(404)(shouting(lambda error: f"{error.status} is missing"))
    app.error(405)(shouting(lambda request, error: f"{request.method}: {error.status}"))
    app.get("/page")(lambda: "page")
    client = make_client(app)
    assert client.get("/none").text == "404 IS MISSING"
    assert client.post("/page").text == "POST: 405"


Asked = Request  # as in "from micropie import Request as Asked"


def test_an_error_handler_s_request_has_any_name_of_its_class(make_client: MakeClient) -> None:
    def alone(sent: Any) -> str:
        return f"{sent.method} {sent.path}"

    def second(problem: Any, sent: Any) -> str:
        return f"{sent.path}: {problem.status}"

    def undefined(problem: Any) -> str:
        return f"{problem.status}"

    alone.__annotations__["sent"] = second.__annotations__["sent"] = "Asked"
    undefined.__annotations__["problem"] = "OnlyForTypeCheckers"

    @functools.wraps(undefined)
    def hidden(*arguments: Any, **values: Any) -> str:
        return undefined(*arguments, **values)

    app = App(text="plain")
    app.error(404)(alone)
    app.error(405)(second)
    app.error(409)(hidden)

    @app.get("/page")
    def page() -> NoReturn:
        raise HTTPError(409)

    client = make_client(app)
    assert client.get("/none").text == "GET /none"
    assert client.post("/page").text == "/page: 405"
    assert client.get("/page").text == "409"


@pytest.mark.parametrize(
    "function",
    [
        lambda error, other: "",
        lambda error, extra=1: "",
        lambda *rest, request: "",
        lambda *rest, **values: "",
    ],
)
def test_an_error_handler_with_invalid_parameters_is_refused(function: Any) -> None:
    app = App()
    app.error(404)(function)
    with pytest.raises(SetupError, match=r"the error handler .*: write def page\(request, error\)"):
        app._micropie.compiled()


def test_http_errors_form_a_class_hierarchy() -> None:
    error = MethodNotAllowed(["POST", "GET"])
    assert (error.status, error.headers) == (405, [("Allow", "GET, POST")])
    assert isinstance(BadRequest("x"), HTTPError)
    assert str(BadRequest()) == "400 Bad Request"  # ``raise BadRequest``
    assert HTTPError(418, "tea").args == (418, "tea")
    answers = [str(HTTPError(418, "tea")), str(HTTPError(404)), str(HTTPError(409, {"a": 1}))]
    assert answers == [*("tea", "404 Not Found", "{'a': 1}")]
    found = HTTPError(503, headers={"Retry-After": "5"}).headers
    assert found == HTTPError(503, "", [("Retry-After", "5")]).headers


def test_an_error_is_sent_with_what_was_changed_after_its_creation(make_client: MakeClient) -> None:
    app, changes = App(), dict[str, Any]()

    @app.get("/")
    def index() -> Any:
        error = HTTPError(404)
        vars(error).update(changes)
        raise error

    client = make_client(app)
    html = {"accept": "text/html"}
    assert "<p></p>" in client.get("/", headers=html).text
    changes["message"] = {"reason": "moved"}
    assert client.get("/", headers=html).json() == {"reason": "moved"}
    changes["message"] = "<b>"
    assert "&lt;b&gt;" in client.get("/", headers=html).text
    changes["message"] = Escaped("<b>")
    assert "<p><b></p>" in client.get("/", headers=html).text
    changes["status"], changes["headers"] = HTTPStatus.GONE, [("X-A", "1")]
    answer = client.get("/")
    assert (answer.status_code, answer.text) == (410, "<b>")
    assert (answer.headers["x-a"], answer.headers["vary"]) == ("1", "Accept")
    assert client.head("/").headers["content-length"] == "3"


@pytest.mark.parametrize(
    ("errors", "headers"),
    [("auto", [["X-A", "1"]]), ("text", [["X-A", "1"]]), ("text", {"X-A": "1"})],
    ids=repr,
)
def test_headers_set_on_an_error_may_have_any_form(
    make_client: MakeClient, errors: Any, headers: Any
) -> None:
    app = App(errors=errors)

    @app.get("/<status:int>")
    def fail(status: int) -> Any:
        error = HTTPError(status, "Not today." if status == 403 else "")
        error.headers = headers
        raise error

    client = make_client(app)
    for status in (403, 404):
        answer = client.get(f"/{status}")
        assert (answer.status_code, answer.headers["x-a"]) == (status, "1")


def test_an_error_in_a_stated_format_does_not_depend_on_accept(make_client: MakeClient) -> None:
    answer = make_client(App(errors="text")).get("/nothing", headers={"accept": "text/html"})
    assert (answer.status_code, answer.text) == (404, "404 Not Found")
    assert "vary" not in answer.headers


# -- contexts --------------------------------------------------------------------------------------


def test_R76_an_exception_keeps_its_own_context(make_client: MakeClient) -> None:
    app, seen = App(), []

    @app.get("/")
    def index() -> Any:
        try:
            raise KeyError("inner")
        except KeyError:
            raise Oops("outer")  # noqa: B904

    @app.error(Oops)
    def oops(error: Any) -> Any:
        seen.append(repr(error.__context__))

    make_client(app).get("/")
    assert seen == ["KeyError('inner')"]


def test_R76_an_error_in_an_error_handler_has_no_false_context(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Failing()

    @app.error(Oops)
    def oops(error: Any) -> Any:
        raise ValueError("the handler's")

    make_client(app).get("/sync/oops")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert record.exc_info[1].__context__ is None


# -- debug -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8000", "LocalHost", "127.0.0.1:80", "[::1]", "[::1]:8000"]
)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_debug_shows_the_traceback_on_this_machine(
    make_client: MakeClient, address: str, host: str
) -> None:
    answer = make_client(Failing(debug=True), client=(address, 1), cookies=COOKIES).get(
        "/sync/oops", headers={"Host": host}
    )
    assert (answer.status_code, answer.headers["content-type"]) == (500, TEXT)
    assert "Traceback" in answer.text
    assert SECRET in answer.text


@pytest.mark.parametrize(
    "client",
    [
        ("10.0.0.1", 1),
        ("::2", 1),
        ("::ffff:10.0.0.1", 1),
        ("localhost.evil.com", 1),
        ("", 1),
        None,
    ],
)
def test_R76_debug_shows_nothing_to_remote_clients(make_client: MakeClient, client: Any) -> None:
    answer = make_client(Failing(debug=True), client=client, **DEVELOPER).get("/sync/oops")
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")


def test_R76_a_forwarded_local_address_does_not_count_as_this_machine(
    make_client: MakeClient,
) -> None:
    headers = {"X-Forwarded-For": "127.0.0.1"}
    client = make_client(Failing(debug=True), client=("10.0.0.1", 1), **DEVELOPER)
    assert "Traceback" not in client.get("/sync/oops", headers=headers).text


@pytest.mark.parametrize("header", [
    "Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Proto",
    "x-forwarded-anything",
])  # fmt: skip
def test_R76_debug_shows_nothing_through_a_proxy_on_this_machine(
    make_client: MakeClient, header: str
) -> None:
    client = make_client(Failing(debug=True), **DEVELOPER)
    assert "Traceback" in client.get("/sync/oops").text
    assert "Traceback" not in client.get("/sync/oops", headers={header: "127.0.0.1"}).text


@pytest.mark.parametrize("host", [
    "evil.example", "evil.example:8000", "localhost.evil.example", "xlocalhost",
    "127.0.0.1.evil.example", "::1",
])  # fmt: skip
def test_R76_debug_shows_nothing_after_dns_rebinding(make_client: MakeClient, host: str) -> None:
    answer = make_client(Failing(debug=True)).get("/sync/oops", headers={"Host": host})
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("origin", "is_shown"),
    [
        ("https://evil.example", False),
        ("null", False),
        ("http://localhost.evil.example", False),
        ("http://localhost:3000", True),
        ("http://127.0.0.1:8000", True),
    ],
)
def test_R76_debug_shows_nothing_to_scripts_of_other_sites(
    make_client: MakeClient, origin: str, is_shown: bool
) -> None:
    """With CORS for all origins a browser lets them read what it gets from the developer's
    machine.
    """
    app = Failing(debug=True)
    app.middlewares.append(CORSMiddleware(origins=["*"]))
    answer = make_client(app, **DEVELOPER).get("/sync/oops", headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert ("Traceback" in answer.text) is is_shown


def test_debug_does_not_replace_the_author_s_error_page(make_client: MakeClient) -> None:
    app = Failing(debug=True)
    app.error(500)(lambda: "sorry")
    assert make_client(app).get("/sync/oops").text == "sorry"


def test_a_message_can_be_copied_with_its_translation_data() -> None:
    for sentence in (
        Sentence("{count} pie", "{count} pies", count=2),
        Sentence("There is no {name}.", name="{x}"),
    ):
        for other in (pickle.loads(pickle.dumps(sentence)), copy.copy(sentence)):
            seen = (str(other), other.__getnewargs_ex__())
            assert seen == (str(sentence), sentence.__getnewargs_ex__())


def test_an_error_handler_may_return_self_response(make_client: MakeClient) -> None:
    app = Failing()

    @app.error(404)
    def missing(request: Any) -> Any:
        request.response.status = 410
        request.response.body = "sold"
        return request.response

    response = make_client(app).get("/sync/404")
    assert (response.status_code, response.text) == (410, "sold")


SHARED = [HTTPError(404, "No such pie."), HTTPError(403), Redirect("/log-in")]


@pytest.mark.parametrize("error", SHARED)
def test_an_error_that_is_raised_again_and_again_keeps_no_request(
    make_client: MakeClient, error: Any
) -> None:
    class Shop(App):
        def plain(self) -> NoReturn:
            raise error

        def after_a_header(self) -> NoReturn:
            self.response.headers["X-Pie"] = "apple"
            raise error

        def alone_in_a_group(self) -> NoReturn:
            raise ExceptionGroup("tasks", [error])

        def from_the_error_page(self) -> NoReturn:
            raise LookupError

    app = Shop()

    @app.error(LookupError)
    def page() -> NoReturn:
        raise error

    paths = ["/plain", "/after_a_header", "/alone_in_a_group"]
    for client, used in (
        (make_client(Shop()), paths),
        (make_client(app), [*paths, "/from_the_error_page"]),
        (make_client(Shop(debug=True)), paths),
    ):
        for path in used:
            assert client.get(path).status_code == error.status, path
            assert error.__traceback__ is None, path


@pytest.mark.parametrize("error", SHARED)
@pytest.mark.parametrize("is_generator", [True, False])
def test_an_error_that_a_hook_raises_again_and_again_keeps_no_request(
    make_client: MakeClient, error: Any, is_generator: bool
) -> None:
    class Raising(HttpMiddleware):
        def after_request(self, *_: Any) -> NoReturn:
            raise error

    def raising(request: Request) -> Iterator[None]:
        yield
        raise error

    app = App()
    app.get("/")(lambda: "pies")
    app.middlewares.append(raising if is_generator else Raising())
    assert make_client(app).get("/").status_code == error.status
    assert error.__traceback__ is None


@pytest.mark.parametrize("error", SHARED)
@pytest.mark.parametrize("is_accepted", [True, False])
def test_an_error_that_websockets_raise_again_and_again_keeps_no_request(
    error: Any, is_accepted: bool
) -> None:
    class Shop(App):
        async def ws_pies(self, ws: WebSocket) -> NoReturn:
            if is_accepted:
                await ws.accept()
            raise error

    with TestClient(Shop(), raise_app_exceptions=False) as client:
        with suppress(WebSocketClosed, WebSocketRefused), client.websocket("/pies") as socket:
            socket.receive_text()
        assert error.__traceback__ is None
