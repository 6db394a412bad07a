"""Hooks: before and after every handler, sync or async, in every world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from anyio.lowlevel import checkpoint

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Response,
    SetupError,
    WebSocketMiddleware,
    route,
    run_in,
    static_file,
)
from micropie._core.execution.steps.steps import CALL
from micropie._core.flow.websocket import run_after_websocket
from micropie.middleware.base import FlowMiddleware
from tests.support.clients import MakeClient
from tests.support.waiting import until

Hook = Callable[..., Any]


class Root(App):
    ran = 0

    def index(self) -> Any:
        self.ran += 1
        return "index"

    def made(self) -> Any:
        return 201, {"a": 1}, {"X-Own": "1"}

    def fails(self) -> Any:
        raise HTTPError(410, "gone")

    def crashes(self) -> Any:
        raise RuntimeError("secret")

    def moves(self) -> Any:
        raise Redirect("/there")

    def drafts(self) -> Any:
        self.response.status = 202
        self.response.headers["X-Draft"] = "1"
        return "x"

    async def streams(self) -> Any:
        return iter(["a", "b"])


def hooked(
    before: Hook | None = None,
    after: Hook | None = None,
    *,
    kind: str = "def",
    app: App | None = None,
) -> App:
    """An application with one middleware made of two functions, of a ``kind`` in ``KINDS``."""

    class Sync(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return before(request) if before else None

        def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            return after(request, status, body, headers) if after else None

    class Async(HttpMiddleware):
        async def before_request(self, request: Any) -> Any:
            return before(request) if before else None

        async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            return after(request, status, body, headers) if after else None

    class Waiting(HttpMiddleware):
        async def before_request(self, request: Any) -> Any:
            await checkpoint()
            return before(request) if before else None

        async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            await checkpoint()
            return after(request, status, body, headers) if after else None

    app = app or Root()
    app.middlewares.append(
        {"def": Sync, "async def": Async, "async def that waits": Waiting}[kind]()
    )
    return app


KINDS = ["def", "async def", "async def that waits"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of a hook."""
    chosen: str = request.param
    return chosen


def test_hooks_see_the_request_and_the_response(make_client: MakeClient, kind: str) -> None:
    seen: list[Any] = []
    app = hooked(
        lambda request: seen.append(request.path),
        lambda request, *rest: seen.append(rest),
        kind=kind,
    )
    answer = make_client(app).get("/made")
    assert (answer.status_code, answer.json(), answer.headers["x-own"]) == (201, {"a": 1}, "1")
    assert seen == ["/made", (201, {"a": 1}, [("X-Own", "1")])]


@pytest.mark.parametrize(
    ("early", "status", "body", "content_type"),
    [
        ({"status_code": 401, "body": "no"}, 401, "no", "text/html; charset=utf-8"),
        ({"status_code": 401}, 401, "", "text/html; charset=utf-8"),
        ({"body": "early"}, 200, "early", "text/html; charset=utf-8"),
        ({}, 200, "", "text/html; charset=utf-8"),
        ({"body": {"a": 1}}, 200, '{"a":1}', "application/json"),
        ({"body": b"x", "headers": {"Content-Type": "a/b"}}, 200, "x", "a/b"),
        ({"body": "x", "headers": [("content-type", "a/b")]}, 200, "x", "a/b"),
    ],
)
def test_before_request_may_respond_early(
    make_client: MakeClient, early: Any, status: int, body: str, content_type: str, kind: str
) -> None:
    app = hooked(lambda request: early, kind=kind)
    answer = make_client(app).get("/")
    seen = (answer.status_code, answer.text, answer.headers["content-type"])
    assert seen == (status, body, content_type)
    assert getattr(app, "ran") == 0  # noqa: B009


@pytest.mark.parametrize(
    ("changes", "status", "body", "headers"),
    [
        (None, 201, {"a": 1}, {"x-own": "1"}),
        ({}, 201, {"a": 1}, {"x-own": "1"}),
        ({"status_code": 202}, 202, {"a": 1}, {"x-own": "1"}),
        ({"body": [1]}, 201, [1], {"x-own": "1"}),
        ({"headers": {"X-New": "2"}}, 201, {"a": 1}, {"x-new": "2"}),
        ({"headers": [("X-New", "2")], "body": 5, "status_code": 500}, 500, 5, {"x-new": "2"}),
    ],
)
def test_after_request_may_change_the_response(
    make_client: MakeClient,
    changes: Any,
    status: int,
    body: Any,
    headers: dict[str, str],
    kind: str,
) -> None:
    answer = make_client(hooked(after=lambda *_: changes, kind=kind)).get("/made")
    assert (answer.status_code, answer.json()) == (status, body)
    found = {name: value for name, value in answer.headers.items() if name in ("x-own", "x-new")}
    assert found == headers


def test_after_request_may_change_extra_headers_in_place(
    make_client: MakeClient, kind: str
) -> None:
    app = hooked(
        after=lambda request, status, body, headers: headers.append(("X-In-Place", "1")), kind=kind
    )
    client = make_client(app)
    for path in ("/", "/made", "/fails", "/crashes", "/nowhere", "/streams", "/moves"):
        for _ in range(2):
            assert client.get(path).headers.get_list("x-in-place") == ["1"], path


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/fails", 410),
        ("/crashes", 500),
        ("/nowhere", 404),
        ("/%ff", 400),
        ("/moves", 303),
        ("/index/x", 404),
    ],
)
def test_both_hooks_see_malformed_requests(
    make_client: MakeClient, path: str, status: int, kind: str
) -> None:
    seen: list[Any] = []
    app = hooked(
        lambda request: seen.append("before"),
        lambda request, status, *_: seen.append(status),
        kind=kind,
    )
    answer = make_client(app, validate=False).get("/", extensions={"target": path.encode()})
    assert answer.status_code == status
    assert seen == ["before", status]


def test_after_request_sees_early_responses(make_client: MakeClient, kind: str) -> None:
    seen: list[Any] = []
    early = {"status_code": 401, "body": "no"}
    app = hooked(
        lambda request: early,
        lambda request, status, body, headers: seen.append((status, body)),
        kind=kind,
    )
    make_client(app).get("/")
    assert seen == [(401, "no")]


def test_after_request_may_replace_an_error(make_client: MakeClient) -> None:
    app = hooked(
        after=lambda request, status, *_: (
            {"status_code": 200, "body": "fine"} if status == 500 else None
        )
    )
    answer = make_client(app).get("/crashes")
    assert (answer.status_code, answer.text) == (200, "fine")


def test_later_hooks_do_not_run_after_one_has_responded(make_client: MakeClient) -> None:
    app, seen = Root(), []
    hooked(lambda request: {"body": "first"}, app=app)
    hooked(lambda request: seen.append("second"), app=app)
    assert make_client(app).get("/").text == "first"
    assert seen == []


def test_outer_hooks_see_requests_to_inner_applications(
    make_client: MakeClient,
) -> None:
    app, inner, seen = Root(), Root(), []
    app.inner = inner
    hooked(lambda request: seen.append("outer"), app=app)
    hooked(lambda request: seen.append("inner"), app=inner)
    client = make_client(app)
    client.get("/inner")
    client.get("/")
    assert seen == ["outer", "inner", "outer"]


def test_a_hook_appended_later_is_used(make_client: MakeClient) -> None:
    app = Root()
    client = make_client(app)
    assert client.get("/").text == "index"
    hooked(lambda request: {"body": "late"}, app=app)
    assert client.get("/").text == "late"
    app.middlewares = []
    assert client.get("/").text == "index"


def test_a_hook_appended_later_to_an_inner_application_is_used(make_client: MakeClient) -> None:
    app, inner = Root(), Root()
    app.inner = inner
    client = make_client(app)
    assert client.get("/inner").text == "index"
    hooked(lambda request: {"body": "late"}, app=inner)
    assert (client.get("/inner").text, client.get("/").text) == ("late", "index")


@pytest.mark.parametrize(
    ("raised", "status", "text", "header"),
    [
        (HTTPError(401, "who?", [("WWW-Authenticate", "Basic")]), 401, "who?", "www-authenticate"),
        (Redirect("/login", headers={"X-Own": "Basic"}), 303, "", "x-own"),
    ],
)
def test_hooks_may_raise_responses(
    make_client: MakeClient, kind: str, raised: Exception, status: int, text: str, header: str
) -> None:
    def refuse(request: Any) -> Any:
        raise raised

    answer = make_client(hooked(refuse, kind=kind)).get("/", follow_redirects=False)
    assert (answer.status_code, answer.text, answer.headers[header]) == (status, text, "Basic")
    assert answer.headers.get("location") == ("/login" if status == 303 else None)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hook_that_crashes_gets_a_500_and_one_log_line(
    make_client: MakeClient, when: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    def crash(*_: Any) -> Any:
        raise RuntimeError("secret")

    answer = make_client(hooked(**{when: crash}, kind=kind)).get("/")  # type: ignore[arg-type]
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    assert len(caplog.records) == 1


def test_each_hook_is_called_once_even_if_one_raises(make_client: MakeClient, kind: str) -> None:
    app, seen = Root(), []

    def refuse(*_: Any) -> Any:
        seen.append("refuses")
        raise HTTPError(409, "conflict")

    hooked(after=refuse, app=app, kind=kind)
    hooked(after=lambda request, status, *_: seen.append(status), app=app, kind=kind)
    answer = make_client(app).get("/")
    assert (answer.status_code, answer.text) == (409, "conflict")
    assert seen == [200, "refuses"]


@pytest.mark.parametrize(
    "changes", ["text", 5, (200, "x"), {"state": 200}, {"body": "", "x": 1}, Response("x"), []]
)
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_invalid_result_of_a_hook_gets_a_500_with_a_reason(
    make_client: MakeClient, changes: Any, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = hooked(**{when: lambda *_: changes})  # type: ignore[arg-type]
    assert make_client(app).get("/").status_code == 500
    assert "return None, or a dict with status, body or headers" in caplog.text


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    "changes", [{"status": 202}, {"status_code": 202}, {"status": 202, "status_code": 202}]
)
def test_a_hook_may_return_status_or_status_code(
    make_client: MakeClient, changes: Any, when: str
) -> None:
    app = hooked(**{when: lambda *_: changes})  # type: ignore[arg-type]
    assert make_client(app).get("/").status_code == 202


def test_contradictory_statuses_get_500_with_a_reason(make_client: MakeClient, caplog: Any) -> None:
    app = hooked(after=lambda *_: {"status": 200, "status_code": 202})
    assert make_client(app).get("/").status_code == 500
    assert (
        "status and status_code mean the same, but have different values; write only status"
        in caplog.text
    )


@pytest.mark.parametrize("status", [99, 600, "200", None])
def test_an_invalid_status_gets_a_500(make_client: MakeClient, status: Any) -> None:
    assert make_client(hooked(lambda request: {"status_code": status})).get("/").status_code == 500


def test_a_hook_may_store_data_on_the_request(make_client: MakeClient) -> None:
    class Reading(App):
        def index(self) -> Any:
            return [self.request.state.user, self.request.user]  # type: ignore[attr-defined]

    def log_in(request: Any) -> None:
        request.state.user = "me"
        request.user = "me too"

    assert make_client(hooked(log_in, app=Reading())).get("/").json() == ["me", "me too"]


def test_a_hook_sees_the_current_request(make_client: MakeClient) -> None:
    app = Root()
    hooked(lambda request: {"body": app.request.path}, app=app)
    assert make_client(app).get("/here").text == "/here"


def test_after_request_sees_headers_set_on_the_response(make_client: MakeClient) -> None:
    seen: list[Any] = []
    app = hooked(after=lambda request, status, body, headers: seen.append((status, dict(headers))))
    make_client(app).get("/drafts")
    assert seen == [(202, {"X-Draft": "1"})]


def test_after_request_overrides_headers_set_on_the_response(make_client: MakeClient) -> None:
    app = hooked(after=lambda *_: {"status_code": 200, "headers": {"X-New": "1"}})
    answer = make_client(app).get("/drafts")
    seen = (answer.status_code, answer.headers.get("x-draft"), answer.headers["x-new"])
    assert seen == (200, None, "1")


def test_hooks_may_set_cookies_on_the_response(make_client: MakeClient) -> None:
    app = Root()
    hooked(
        lambda request: request.response.set_cookie("a", "1"),
        lambda request, *_: request.response.set_cookie("b", "2"),
        app=app,
    )
    client = make_client(app)
    for path in ("/", "/nowhere"):
        answer = client.get(path)
        found = {cookie.split(";")[0] for cookie in answer.headers.get_list("set-cookie")}
        assert found == {"a=1", "b=2"}


def test_hooks_see_streams_and_files_unchanged(make_client: MakeClient) -> None:
    def upper(request: Any, status: int, body: Any, headers: Any) -> Any:
        return {"body": (chunk.upper() for chunk in body)}

    assert make_client(hooked(after=upper)).get("/streams").text == "AB"


def test_an_early_response_may_stream(make_client: MakeClient) -> None:
    assert make_client(hooked(lambda request: {"body": iter(["a", "b"])})).get("/").text == "ab"


def test_a_hook_may_have_one_method_only(make_client: MakeClient) -> None:
    class Before(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return None

    class After(HttpMiddleware):
        async def after_request(self, *_: Any) -> Any:
            return {"body": "after"}

    app = Root()
    app.middlewares += [Before(), After(), HttpMiddleware(), WebSocketMiddleware()]  # type: ignore[list-item]
    app.middlewares.pop()
    assert make_client(app).get("/").text == "after"


def test_the_base_classes_have_no_effect() -> None:
    nothing: Any = None
    assert HttpMiddleware().before_request(nothing) is None
    assert HttpMiddleware().after_request(nothing, 200, "", []) is None
    assert WebSocketMiddleware().before_websocket(nothing) is None
    assert WebSocketMiddleware().after_websocket(nothing) is None


@pytest.mark.parametrize("on_loop", [False, True])
def test_a_decorated_async_hook_is_awaited(make_client: MakeClient, on_loop: bool) -> None:
    async def before(request: Any) -> Any:
        return {"body": "awaited"} if request.path == "/" else None

    async def after(request: Any, body: Any) -> Any:
        return {"body": f"{body} twice"} if request.path == "/" else None

    class Decorated(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return before(request)

        def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            return after(request, body)

    class Inline(HttpMiddleware):
        @run_in("loop")
        def before_request(self, request: Any) -> Any:
            return before(request)

        @run_in("loop")
        def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            return after(request, body)

    app = Root()
    app.middlewares.append(Inline() if on_loop else Decorated())
    client = make_client(app)
    assert client.get("/").text == "awaited twice"
    assert client.get("/made").json() == make_client(Root()).get("/made").json()


def test_a_hook_runs_before_the_body_is_received(make_client: MakeClient, kind: str) -> None:
    app = hooked(lambda request: {"status_code": 401, "body": "no"}, kind=kind)
    answer = make_client(app).post("/", content=b"{", headers={"Content-Type": "application/json"})
    assert answer.status_code == 401


def test_after_request_sees_a_malformed_body(make_client: MakeClient, kind: str) -> None:
    seen: list[int] = []
    app = hooked(after=lambda request, status, *_: seen.append(status), kind=kind)
    app.named = route()(lambda name: name)
    answer = make_client(app).post(
        "/named", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert (answer.status_code, seen) == (400, [400])


def test_after_request_sees_head_like_get(make_client: MakeClient) -> None:
    seen: list[Any] = []
    app = hooked(after=lambda request, status, body, headers: seen.append((request.method, body)))
    assert make_client(app).head("/").headers["content-length"] == "5"
    assert seen == [("HEAD", "index")]


@pytest.mark.parametrize("kind", ["json", "data", "files"])
def test_a_hook_may_read_the_body_before_the_handler_does(
    make_client: MakeClient, kind: str
) -> None:
    class Reads(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            request.state.raw = await request.body()

    class Echo(App):
        async def index(self, a: Any = None) -> Any:
            return [a, await self.request.body() == self.request.state.raw, len(self.request.files)]

    app = Echo()
    app.middlewares.append(Reads())
    sent: dict[str, Any] = {"json": {"json": {"a": "5"}}, "data": {"data": {"a": "5"}}}
    sent["files"] = {"data": {"a": "5"}, "files": {"f": b"x"}}
    assert make_client(app).post("/", **sent[kind]).json() == ["5", True, int(kind == "files")]


def test_a_class_in_middlewares_raises_a_setup_error() -> None:
    app = Root()
    app.middlewares.append(HttpMiddleware)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match=r"write HttpMiddleware\(\)$"):
        app._micropie.compiled()


def test_an_object_with_one_hook_method_is_enough(make_client: MakeClient) -> None:
    class Before:
        def before_request(self, request: Any) -> Any:
            return {"body": "early"}

    class After:
        async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
            return {"body": f"{body} and late"}

    app = Root()
    app.middlewares += [After(), Before()]  # type: ignore[list-item]
    assert make_client(app).get("/").text == "early and late"


class ByTheHead(FlowMiddleware):
    """Says in a header what the answer's head was by then, of streams."""

    def after(self, request: Any, response: Any) -> None:
        if isinstance(response.body, Iterator | AsyncIterator):
            request._exchange.call_before_head(
                lambda answer: answer.headers.add("X-Head", answer.headers.get("X-Own") or "none")
            )


class Chunks(App):
    def sync(self) -> Iterator[str]:
        self.response.headers["X-Own"] = "own"
        yield "a"

    async def asynchronous(self) -> AsyncIterator[str]:
        self.response.headers["X-Own"] = "own"
        yield "a"

    def fails(self) -> Iterator[str]:
        raise HTTPError(409)
        yield

    def whole(self) -> Any:
        return "a"


def test_by_the_head_can_set_headers_of_a_stream_last(make_client: MakeClient) -> None:
    app = Chunks()
    app.middlewares.append(ByTheHead())
    client = make_client(app)
    heads = {
        path: client.get(path).headers.get_list("x-head")
        for path in ("/sync", "/asynchronous", "/fails", "/whole")
    }
    assert heads == {"/sync": ["own"], "/asynchronous": ["own"], "/fails": [], "/whole": []}


def test_by_the_head_does_not_apply_to_a_body_that_replaces_the_stream(
    make_client: MakeClient,
) -> None:
    app = hooked(after=lambda *_: {"body": "other"}, app=Chunks())
    app.middlewares.append(ByTheHead())
    answer = make_client(app).get("/sync")
    assert (answer.text, "x-head" in answer.headers) == ("other", False)


def test_by_the_head_does_not_apply_to_a_streamed_error_page(make_client: MakeClient) -> None:
    app = Chunks()
    app.middlewares.append(ByTheHead())

    def page() -> Any:
        return iter(["sorry"])

    app.error(409)(page)
    answer = make_client(app).get("/fails")
    assert (answer.text, answer.headers.get_list("x-head")) == ("sorry", ["none"])


@pytest.mark.parametrize("are_equal", [False, True])
def test_middleware_may_be_added_and_removed(make_client: MakeClient, are_equal: bool) -> None:
    """What is planned for a middleware is neither mixed up with that of others nor kept for
    ever.
    """
    app = Root()
    client = make_client(app)

    class Numbered(HttpMiddleware):
        def __init__(self, number: int) -> None:
            self.number = number

        def before_request(self, request: Any) -> Any:
            return {"body": str(self.number)}

    class Equal(Numbered):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        def __hash__(self) -> int:
            return 0

    for number in range(30):
        app.middlewares[:] = [Equal(number) if are_equal else Numbered(number)]
        assert client.get("/").text == str(number)
    app.middlewares.clear()
    assert client.get("/").text == "index"


@pytest.mark.parametrize("order", [*permutations(KINDS)], ids=str)
@pytest.mark.parametrize("raises", [*KINDS, None])
def test_hooks_of_all_kinds_can_be_combined(
    make_client: MakeClient, order: tuple[str, ...], raises: str | None
) -> None:
    seen: list[Any] = []

    def after(kind: str) -> Hook:
        def note(request: Any, status: int, body: Any, headers: Any) -> Any:
            seen.append((kind, status))
            if kind == raises:
                raise HTTPError(418)

        return note

    app = Root()
    for kind in order:
        hooked(lambda request, kind=kind: seen.append(kind), after(kind), app=app, kind=kind)
    status = 418 if raises else 200
    assert make_client(app).get("/").status_code == status
    inner = order[order.index(raises) :] if raises else order
    assert seen == [*order, *((kind, 200 if kind in inner else status) for kind in reversed(order))]


def test_a_hook_may_be_any_callable(make_client: MakeClient) -> None:
    """What an ``async def`` does is read from its code only if it is called itself."""
    seen = []

    async def note(what: str, request: Any, *_: Any) -> None:
        await checkpoint()
        seen.append(what)

    class Partial:
        before_request = staticmethod(partial(note, "before"))
        after_request = staticmethod(partial(note, "after"))

    app = Root()
    app.middlewares.append(Partial())  # type: ignore[arg-type]
    assert make_client(app).get("/").text == "index"
    assert seen == ["before", "after"]


def test_flow_middleware_may_fail_in_its_steps(make_client: MakeClient) -> None:
    """The hooks before it see its failure, also where it is a plain method that returns a flow."""
    seen = []

    class Outer(FlowMiddleware):
        def after(self, request: Any, response: Any) -> None:
            seen.append(response.status)

    class Failing(FlowMiddleware):
        def after(self, request: Any, response: Any) -> Any:
            return self._fail()

        def _fail(self) -> Any:
            yield CALL, str, ()
            raise HTTPError(418)

    app = Root()
    app.middlewares += [Outer(), Failing()]
    assert make_client(app).get("/").status_code == 418
    assert seen == [418]


def test_a_hook_may_return_one_response_for_several_requests(make_client: MakeClient) -> None:
    """What outer hooks add to it isn't sent to the clients that come later."""
    busy = Response("Please come back later.", 503, {"Retry-After": "5"})

    class Outer(FlowMiddleware):
        def after(self, request: Any, response: Any) -> None:
            response.set_cookie("client", request.query.get("client"))

    class Closing(FlowMiddleware):
        def after(self, request: Any, response: Any) -> Response:
            return busy

    app = Root()
    app.middlewares += [Outer(), Closing()]
    client = make_client(app)
    for name in ("ann", "bob"):
        response = client.get("/", params={"client": name})
        assert response.status_code == 503
        assert [one.partition(";")[0] for one in response.headers.get_list("set-cookie")] == [
            f"client={name}"
        ]


def test_a_stream_is_closed_if_a_hook_fails_and_an_error_handler_responds(
    make_client: MakeClient,
) -> None:
    closed = []

    class Source:
        def __iter__(self) -> Any:
            return self

        def __next__(self) -> str:
            return "never sent"

        def close(self) -> None:
            closed.append(True)

    class Fails(HttpMiddleware):
        def after_request(self, *_: Any) -> None:
            raise LookupError

    app = App()
    app.get("/")(lambda: Source())
    app.middlewares.append(Fails())
    app.error(LookupError)(lambda error: "sorry")
    answer = make_client(app).get("/")
    assert (answer.status_code, answer.text, closed) == (500, "sorry", [True])


def test_on_close_knows_the_final_error_page_s_status(
    make_client: MakeClient,
) -> None:
    seen: list[Any] = []

    class Root(App):
        def index(self) -> None:
            request = self.request
            request.on_close(lambda: seen.append(request.status))
            raise LookupError

    app = Root()
    app.error(LookupError)(lambda error: (410, "gone", {"X-Bad": "a\nb"}))
    answer = make_client(app).get("/")
    assert (answer.status_code, seen) == (500, [500])


@pytest.mark.parametrize("name", ["on_close", "after_response"])
def test_a_function_of_the_handler_knows_the_final_status_and_length(
    make_client: MakeClient, name: str
) -> None:
    seen: list[Any] = []

    class Root(App):
        def index(self) -> str:
            request = self.request
            getattr(request, name)(lambda: seen.append((request.status, request.length)))
            return "Hello"

    make_client(Root()).get("/")
    until(lambda: seen)
    assert seen == [(200, 5)]


COLOUR: ContextVar[str] = ContextVar("colour", default="none")


@pytest.mark.parametrize("path", ["/text", "/chunks", "/later", "/fails", "/file", "/mounted"])
def test_functions_for_on_close_see_the_request_and_its_context(
    make_client: MakeClient, tmp_path: Path, path: str
) -> None:
    (tmp_path / "large.bin").write_bytes(bytes(300_000))
    seen: list[Any] = []

    class Root(App):
        def text(self) -> str:
            return "sent"

        def chunks(self) -> Iterator[str]:
            yield "sent"

        async def later(self) -> AsyncIterator[str]:
            yield "sent"

        def fails(self) -> None:
            raise HTTPError(409)

        def file(self) -> Response:
            return static_file("large.bin", tmp_path)

    def mounted(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"sent"]

    class Closing(HttpMiddleware):
        guards = True

        def before_request(self, request: Any) -> None:
            COLOUR.set("red")
            request.on_close(lambda: seen.append((app.request.path, COLOUR.get())))

    app = Root()
    app.mount("/mounted", mounted)
    app.middlewares.append(Closing())
    assert make_client(app).get(path).status_code == (409 if path == "/fails" else 200)
    until(lambda: seen)
    assert seen == [(path, "red")]


def test_a_failing_after_websocket_does_not_prevent_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ran: list[str] = []

    class Hook(WebSocketMiddleware):
        def after_websocket(self, request: Any) -> None:
            ran.append("after")

    begun: list[object] = [Hook(), Hook()]
    request: Any = None
    flow = run_after_websocket(begun, request)
    next(flow)
    _, function, arguments = flow.throw(OSError("no thread"))
    assert (len(begun), [record.exc_info is None for record in caplog.records]) == (1, [False])
    function(*arguments)
    assert next(flow, None) is None
    assert (ran, begun) == (["after"], [])
