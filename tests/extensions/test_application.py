"""``Inspector`` and ``add_route``: an application as an extension sees it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from inspect import Parameter
from typing import TYPE_CHECKING, Annotated, Any

import pytest

from micropie import App, HTTPError, Request, SetupError, describe, requires, route
from micropie.extensions import Inspector, TypeInfo, add_route
from micropie.middleware import FlowMiddleware
from tests.support.clients import MakeClient

if TYPE_CHECKING:
    ForTypeCheckers = Any


class Leaf(App):
    def index(self) -> str:
        return "leaf"


class Closed(FlowMiddleware):
    guards = True

    def before(self, request: Any) -> None:
        raise HTTPError(401)


class Answers(FlowMiddleware):
    def before(self, request: Any) -> object:
        return "the hook's"


class Names(FlowMiddleware):
    def after(self, request: Any, response: Any) -> None:
        response.headers["X-Hook"] = "own"


class Priced:
    def __call__(self, price: Annotated[int, "cents"], other: ForTypeCheckers = None) -> Leaf: ...  # type: ignore[empty-body]


def test_a_signature_has_types_unless_only_type_checkers_know_them() -> None:
    found = Inspector.signature_of(Priced())
    price, other = found.parameters.values()
    assert (price.annotation, found.return_annotation) == (Annotated[int, "cents"], Leaf)
    assert "ForTypeCheckers" in str(other.annotation)
    assert TypeInfo(price.annotation).plain is int


def test_each_application_of_the_tree_is_listed_with_its_path_and_its_hooks() -> None:
    outer, inner = Closed(), Names()
    leaf, mounted, isolated = Leaf(), Leaf(), Leaf()
    leaf.middlewares.append(inner)

    class Root(App):
        blog = leaf

    root = Root()
    root.middlewares.append(outer)
    root.mount("/shop", mounted)
    root.mount("/other", isolated, isolated=True)

    found = {one.path: one for one in Inspector(root).applications()}
    given = {prefix: one.app for prefix, one in found.items()}
    assert given == {"": root, "/blog": leaf, "/shop": mounted}
    assert Inspector(root).applications()[0].app is root
    assert [*found["/blog"].middlewares] == [outer, inner]
    assert [*found["/shop"].middlewares] == [outer]
    assert found["/shop"].session_backend is found[""].session_backend
    assert found["/shop"].channels is root.channels
    assert [one.app for one in Inspector(isolated).applications()] == [isolated]


def test_an_inspector_returns_names_errors_checks_and_settings() -> None:
    def members(request: Request) -> bool:
        return True

    outer = Closed()
    blog, other = requires(members)(Leaf(encoders={complex: str})), Leaf(host="blog.example.com")
    blog.error(404)(lambda: "none")

    root: Any = App(text="plain")
    root.blog = blog
    root.error(KeyError)(lambda: "no key")
    blog.provides(Names)(Names)
    root.provides(Answers)(Answers)
    root.middlewares.append(outer)
    root.archive = other

    outermost, found, hosted = Inspector(root).applications()
    assert (outermost.scope, outermost.host, outermost.path) == ("", "", "")
    assert (found.scope, found.settings.text) == ("blog.", "plain")
    assert [{*one} for one in found.error_handlers] == [{404}, {KeyError}]
    assert ([*found.middlewares], [*found.checks]) == ([outer, members], [members])
    assert found.types.encoder_of(complex) is str
    assert outermost.providers == {Answers: Answers}
    assert found.providers == {Answers: Answers, Names: Names}
    assert (hosted.host, hosted.path) == ("//blog.example.com", "//blog.example.com")
    assert [one.app for one in Inspector(blog, inside=True).applications()] == [blog]
    assert [one.app for one in Inspector(root, inside=True).applications()] == [root, blog]


def test_an_application_in_two_places_is_listed_twice() -> None:
    leaf = Leaf()

    root = Leaf()
    root.mount("/one", leaf)
    root.mount("/two", leaf)
    found = [(one.path, one.app) for one in Inspector(root).applications()]
    assert found[1:] == [("/one", leaf), ("/two", leaf)]


def test_outside_requests_no_thread_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    # other tests of this process may have left a loop that is watched
    monkeypatch.setattr("micropie._core.execution.watchdog._WATCHING", [])

    class Root(App):
        blog = Leaf()

    load = Inspector(Root(processes=3)).statistics()
    assert load._asdict() == {
        "threads_busy": None,
        "threads_waiting": None,
        "threads_limit": None,
        "processes_busy": 0,
        "processes_limit": 3,
        "channels": 0,
        "subscribers": 0,
        "loop_lag": 0.0,
    }


def test_thread_statistics_are_only_available_on_the_event_loop(make_client: MakeClient) -> None:
    class Root(App):
        async def free(self) -> list[int | None]:
            return [*Inspector(self).statistics()[:3]]

        def apart(self) -> list[int | None]:
            return [*Inspector(self).statistics()[:3]]

    client = make_client(Root(threads=7))
    assert client.get("/free").json() == [0, 0, 7]
    assert client.get("/apart").json() == [None] * 3  # no event loop runs in its thread


def test_an_executor_that_replaces_the_pool_has_statistics() -> None:
    with ThreadPoolExecutor(1) as executor:
        assert Inspector(Leaf(pool=executor)).statistics().processes_busy == 0


def test_a_route_added_by_an_extension_only_has_its_own_hooks(make_client: MakeClient) -> None:
    app = Leaf()
    app.middlewares.append(Closed())
    add_route(app, "/version", lambda: "1.2", hooks=[Names()], name="version")
    add_route(app, "/taken", lambda: "never", hooks=[Names(), Answers()])
    add_route(app, "/posted", lambda: "posted", hooks=[], methods=["POST"])
    client = make_client(app)

    assert client.get("/").status_code == 401
    answer = client.get("/version")
    assert (answer.status_code, answer.text, answer.headers["X-Hook"]) == (200, "1.2", "own")
    answer = client.get("/taken")
    assert (answer.status_code, answer.text, answer.headers["X-Hook"]) == (200, "the hook's", "own")
    assert client.post("/posted").text == "posted"
    assert client.get("/posted").status_code == 401  # no route has GET

    class Both(App):
        def posted(self) -> str:
            return "got"

    both = Both()
    both.middlewares.append(Names())
    add_route(both, "/posted", lambda: "posted", hooks=[], methods=["POST"])
    client = make_client(both)
    answers = [client.request(method, "/posted") for method in ("GET", "POST")]
    found = [(one.text, one.headers.get("X-Hook")) for one in answers]
    assert found == [("got", "own"), ("posted", None)]


def test_a_wrong_path_is_refused() -> None:
    with pytest.raises(SetupError):
        add_route(Leaf(), "version", lambda: "1.2", hooks=[])


def test_each_route_of_the_tree_is_listed_with_its_function() -> None:
    class Root(App):
        blog = Leaf()

        async def ws_echo(self, ws: Any) -> None: ...

    app = Root()
    [found] = Inspector(app).routes()
    assert (found.route.pattern, found.route.name) == ("/blog", "blog.index")
    assert found.route.function == app.blog.index
    assert Inspector(app.blog).routes() == [found]
    assert [one.route.pattern for one in Inspector(app).routes(websockets=True)] == ["/echo"]


def test_routes_inside_an_application_are_those_below_it() -> None:
    class Shelf(App):
        inner = Leaf()

        def index(self) -> str:
            return "shelf"

    class Root(App):
        shelf = Shelf()

        def index(self) -> str:
            return "root"

    app = Root()
    assert len(Inspector(app).routes()) == 3
    found = Inspector(app.shelf, inside=True).routes()
    assert [one.route.name for one in found] == ["shelf.index", "shelf.inner.index"]
    assert [one.application.app for one in found] == [app.shelf, app.shelf.inner]
    app.mount("/again", app.shelf)
    with pytest.raises(LookupError, match="several places"):
        Inspector(app.shelf, inside=True).routes()


class Database: ...


class User: ...


def test_a_route_entry_describes_parameters_and_result() -> None:
    def database(*, region: str = "eu") -> Database:
        return Database()

    def user(base: Database, *, token: str) -> User:
        return User()

    class Root(App):
        @route("/pies/<number:int>")
        @describe(summary="Show one")
        def show(self, number: int, owner: User) -> list[int]:
            return [number]

        def index(self):  # type: ignore[no-untyped-def]
            return "index"

    app = Root()
    app.provides(Database)(database)
    app.provides(User)(user)
    index, found = Inspector(app).routes()
    assert (index.results, index.route.description) == ((Parameter.empty,), None)
    assert index.signature.providers == {}
    assert found.route.wildcards == {"number": "int"}
    assert (found.route.description or describe()).summary == "Show one"
    assert found.results == (list[int],)
    taken = found.signature
    assert taken.name == "show"
    assert [(one.name, one.annotation) for one in taken.parameters] == [("number", int)]
    assert taken.function == app.show
    owner = taken.providers["owner"]
    assert owner.name.rpartition(".")[2] == "user"
    assert [one.name for one in owner.parameters] == ["token"]
    base = owner.providers["base"]
    assert [one.name for one in base.parameters] == ["region"]
    assert [*taken.needed()] == [base, owner]


def test_a_request_knows_the_application_that_handles_it(make_client: MakeClient) -> None:
    class Inner(App):
        def index(self) -> bool:
            return self.request.app is self

    class Root(App):
        inner = Inner()

        def index(self) -> bool:
            return self.request.app is self

    client = make_client(Root())
    assert [client.get(path).json() for path in ("/", "/inner")] == [True, True]
