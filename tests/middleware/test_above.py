"""Middleware above a handler, an ``App`` class or an ``App``: ``@RateLimit(5, per=60)``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from micropie import (
    App,
    HttpMiddleware,
    Request,
    SetupError,
    WebSocket,
    get,
    hidden,
    post,
    requires,
)
from micropie.middleware import (
    BasicAuth,
    BearerAuth,
    Compress,
    CORSMiddleware,
    FlowMiddleware,
    MemoryRates,
    RateLimit,
    Timeout,
)
from micropie.middleware.rate_limit import Quota, RateStore
from micropie.testing import TestClient, WebSocketRefused
from tests.support.clients import MakeClient


class Note(HttpMiddleware):
    """Adds its name to a header, before and after the handler; ``refuses`` it in between."""

    def __init__(self, name: str, refuses: bool = False) -> None:
        self.name, self.refuses = name, refuses

    async def before_request(self, request: Any) -> Any:
        request.state.notes = [*getattr(request.state, "notes", ()), self.name]
        return {"status": 403, "body": "refused"} if self.refuses else None

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("X-After", self.name))


def noting_check(request: Any) -> bool:
    request.state.notes = [*getattr(request.state, "notes", ()), "check"]
    return True


together = RateLimit(2, per=3600)


class Root(App):
    def index(self) -> str:
        return "free"

    @RateLimit(1, per=3600)
    def once(self) -> str:
        return "once"

    @RateLimit(1, per=3600)
    @post
    async def once_too(self, word: str = "") -> str:
        return word

    @together
    def one(self) -> str:
        return "one"

    @get("/explicit/<number:int>")
    @together
    def two(self, number: int) -> str:
        return f"two {number}"

    @Note("outer")
    @requires(noting_check)
    @Note("inner")
    def noted(self) -> Any:
        return self.request.state.notes

    @Note("outer")
    @Note("inner", refuses=True)
    def refused(self) -> None:
        raise AssertionError("the handler ran")

    @Compress(minimum=1)
    def small(self) -> str:
        return "small " * 10

    @BasicAuth(lambda name, password: password == "sesame")
    def secret(self) -> str:
        return "secret"

    @RateLimit(1, per=3600)
    async def ws_chat(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("hello")


def statuses(client: TestClient, *paths: str) -> list[int]:
    return [client.get(path).status_code for path in paths]


def root() -> Root:
    return Root(rates=MemoryRates(clock=lambda: 1000.0))  # the clock stands


def test_a_limit_above_a_handler_only_applies_to_it(make_client: MakeClient) -> None:
    client = make_client(root())
    assert statuses(client, "/once", "/once", "/", "/", "/once/") == [200, 429, 200, 200, 429]
    found = [client.post("/once_too", data={"word": "a"}).status_code for _ in range(2)]
    assert found == [200, 429]
    answer = client.get("/once")
    assert (answer.headers["retry-after"], answer.headers["ratelimit-limit"]) == ("3600", "1")
    assert "ratelimit-limit" not in client.get("/").headers


def test_one_limit_object_above_several_handlers_counts_them_together(
    make_client: MakeClient,
) -> None:
    found = statuses(make_client(root()), "/one", "/explicit/1", "/one", "/explicit/2")
    assert found == [200, 200, 429, 429]


def test_limits_that_share_a_store_count_separately(make_client: MakeClient) -> None:
    class Store(RateStore):
        blocking = False
        keys: list[str] = []  # noqa: RUF012

        def hit(self, key: str, limit: int, per: float) -> Quota:
            self.keys.append(key)
            return Quota(True, limit, 1, 0, 0)

    store = Store()
    app: Any = App()

    @app.get("/a")  # type: ignore[untyped-decorator]
    @RateLimit(5, per=60, store=store)
    def first() -> str:
        return ""

    def second() -> str:
        return ""

    RateLimit(5, per=60, store=store)(app.get("/b")(second))
    app.inner = RateLimit(5, per=60, store=store)(App())
    app.middlewares.append(RateLimit(5, per=60, store=store))
    client = make_client(app)
    assert statuses(client, "/a", "/b", "/inner") == [200, 200, 404]
    assert len({*store.keys}) == 4  # the application's own, thrice, and one for each of those below
    assert len(store.keys) == 6


def test_hooks_above_a_handler_run_in_their_order(make_client: MakeClient) -> None:
    app = root()
    app.middlewares.append(Note("application"))
    answer = make_client(app).get("/noted")
    assert answer.json() == ["application", "outer", "check", "inner"]
    assert answer.headers.get_list("x-after") == ["inner", "outer", "application"]


def test_an_early_response_passes_through_the_outer_hooks(make_client: MakeClient) -> None:
    answer = make_client(root()).get("/refused")
    assert (answer.status_code, answer.text) == (403, "refused")
    assert answer.headers.get_list("x-after") == ["inner", "outer"]


def test_built_in_middleware_can_decorate_handlers(make_client: MakeClient) -> None:
    app = root()
    client = make_client(app)
    found = client.get("/small", headers={"Accept-Encoding": "gzip"}).headers["content-encoding"]
    assert found == "gzip"
    assert "content-encoding" not in client.get("/", headers={"Accept-Encoding": "gzip"}).headers
    assert client.get("/secret").status_code == 401
    assert client.get("/secret", auth=("ann", "sesame")).text == "secret"
    paths = app.openapi()["paths"]
    assert ("security" in paths["/secret"]["get"], "security" in paths["/"]["get"]) == (True, False)


def test_a_time_limit_can_decorate_a_handler(make_client: MakeClient) -> None:
    class Slow(App):
        @Timeout(0.01)
        async def slow(self) -> str:
            from anyio import sleep_forever

            await sleep_forever()
            return ""

    assert make_client(Slow()).get("/slow").status_code == 503


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_middleware_above_a_handler_also_limits_handshakes(make_client: MakeClient) -> None:
    client = make_client(root())
    with client.websocket("/chat") as ws:
        assert ws.receive_text() == "hello"
    with pytest.raises(WebSocketRefused) as refused, client.websocket("/chat"):
        raise AssertionError("let in")
    assert refused.value.status in (403, 429)  # 403 from a server that can't send the answer


@pytest.mark.parametrize("above", ["class", "object", "base"])
def test_middleware_can_decorate_an_application(make_client: MakeClient, above: str) -> None:
    """As with ``@requires``: every path below counts, those without a handler and inner
    applications as well.
    """
    limit = RateLimit(3, per=3600)

    class Base(App):
        def page(self) -> str:
            return "page"

    class Inner(limit(Base) if above == "base" else Base):  # type: ignore[misc]
        pass

    outer: Any = App()
    outer.get("/")(lambda: "free")
    outer.inner = (limit(Inner) if above == "class" else Inner)()
    outer.inner.deep = App()
    outer.inner.deep.get("/page")(lambda: "")
    if above == "object":
        assert limit(outer.inner) is outer.inner
    client = make_client(outer)
    assert statuses(client, "/inner/page", "/inner/nowhere", "/", "/") == [200, 404, 200, 200]
    assert statuses(client, "/inner/deep/page", "/inner/page", "/inner/nowhere") == [200, 429, 429]


def test_middleware_above_an_application_handles_preflights(make_client: MakeClient) -> None:
    @CORSMiddleware(origins=["https://a.test"])
    class Api(App):
        def page(self) -> str:
            return ""

    outer: Any = App()
    outer.api = Api()
    headers = {"Origin": "https://a.test", "Access-Control-Request-Method": "GET"}
    answer = make_client(outer).options("/api/page", headers=headers)
    assert answer.headers["access-control-allow-origin"] == "https://a.test"


def test_middleware_can_decorate_another_framework_s_application(make_client: MakeClient) -> None:
    @RateLimit(1, per=3600)
    def other(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"other"]

    app = App()
    app.mount("/other", other)
    assert statuses(make_client(app), "/other/x", "/other") == [200, 429]


def test_an_overriding_handler_has_its_own_decorators(make_client: MakeClient) -> None:
    class Freed(Root):
        def once(self) -> str:
            return "freed"

    root()
    found = statuses(make_client(Freed(expose="public")), "/once", "/once", "/one", "/one", "/one")
    assert found == [200] * 4 + [429]


def test_a_decorator_that_copies_attributes_keeps_the_middleware(make_client: MakeClient) -> None:
    def wrapped(function: Callable[..., str]) -> Callable[..., str]:
        return functools.wraps(function)(lambda *args: function(*args))

    app = App(expose="explicit")
    app.get("/")(wrapped(RateLimit(1, per=3600)(lambda: "in")))
    assert statuses(make_client(app), "/", "/") == [200, 429]


@dataclass
class Admitting(FlowMiddleware):
    """A dataclass has no hash, and equals another one with the same values."""

    admits: bool

    def before(self, request: Request) -> object:
        return None if self.admits else (403, "no")


@dataclass
class Check:
    admits: bool

    def __call__(self, request: Request) -> bool:
        return self.admits


@pytest.mark.parametrize(
    "above", [Admitting, lambda admits: requires(Check(admits))], ids=["middleware", "check"]
)
def test_a_middleware_and_a_check_may_be_dataclasses(make_client: MakeClient, above: Any) -> None:
    app = App(expose="explicit")
    for path, admits in (("/open", True), ("/shut", False)):
        app.get(path)(above(admits)(lambda: "in"))
    assert statuses(make_client(app), "/open", "/shut") == [200, 403]


# -- mistakes --------------------------------------------------------------------------------------


def refusal(app: App) -> str:
    with pytest.raises(SetupError) as refused:
        app._micropie.compiled()
    return str(refused.value)


def test_a_decorator_that_hides_a_middleware_is_refused() -> None:
    def hiding(function: Callable[..., str]) -> Callable[..., str]:
        return lambda *args: function(*args)

    class Hiding(App):
        @hiding
        @RateLimit(1)
        def page(self) -> str:
            return ""

    assert "@RateLimit has no effect on" in refusal(Hiding())
    assert "write @RateLimit above all others" in refusal(Hiding())


def test_a_middleware_without_a_websocket_hook_is_refused_above_a_websocket() -> None:
    class Sockets(App):
        @Compress()
        async def ws_chat(self, ws: WebSocket) -> None: ...

    assert refusal(Sockets()).endswith("Sockets.ws_chat, which handles WebSockets")
    assert refusal(Sockets()).startswith("@Compress has no effect above")


@pytest.mark.parametrize("above", ["handler", "class"])
def test_a_middleware_with_other_parameters_is_refused(above: str) -> None:
    class Wrong(FlowMiddleware):
        def before(self) -> None:  # type: ignore[override]
            """Takes no request."""

    class Pages(App):
        @hidden
        def helper(self) -> None: ...

    app: App = Pages()
    if above == "handler":
        app.get("/")(Wrong()(lambda: ""))
    else:
        app = Wrong()(Pages)()
    sentence = "Wrong.before has the wrong parameters: write def before(self, request)"
    assert sentence in refusal(app)


def test_a_middleware_class_without_parentheses_is_not_a_decorator() -> None:
    def page(self: App, token: str = "") -> None: ...

    with pytest.raises(SetupError, match=r"RateLimit\(limit\) takes a whole number"):
        RateLimit(page)  # type: ignore[arg-type]
    for middleware in (BasicAuth, BearerAuth):
        with pytest.raises(
            SetupError, match=r"Auth\(check\) takes a function check\(.*\. For a method"
        ):
            middleware(page)  # type: ignore[arg-type]
    with pytest.raises(
        SetupError, match=r"a route decorator must be above a function, not .*BearerAuth"
    ):
        App().get("/page")(BearerAuth(lambda token: None))


@pytest.mark.parametrize(
    "target", ["/page", property(lambda self: ""), root().index], ids=["text", "property", "bound"]
)
def test_an_object_that_cannot_be_decorated_is_refused(target: Any) -> None:
    for above in (RateLimit(1), Compress(), requires(lambda request: True)):
        with pytest.raises(SetupError, match="can't be decorated: use decorators on functions"):
            above(target)


def test_a_generator_s_own_call_is_not_replaced(make_client: MakeClient) -> None:
    """A class of an author's may have a ``__call__`` that is a generator: it is middleware by
    that.
    """

    class Timed:
        def __call__(self, request: Any) -> Iterator[None]:
            response: Any = yield
            response.headers["X-Timed"] = "1"

    app = root()
    app.middlewares.append(Timed())
    assert make_client(app).get("/").headers["x-timed"] == "1"
