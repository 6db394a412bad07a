"""What authors write above their functions: what it does, and what is refused with a sentence."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any

import pytest

from micropie import (
    App,
    SetupError,
    WebSocket,
    delete,
    describe,
    get,
    hidden,
    max_body_size,
    max_data_size,
    patch,
    post,
    put,
    reads_body,
    route,
    run_in,
    websocket,
)
from micropie.cli.check import mistakes
from tests.support.clients import MakeClient

METHOD_DECORATORS = {"GET": get, "POST": post, "PUT": put, "PATCH": patch, "DELETE": delete}


@pytest.mark.parametrize(("method", "decorate"), METHOD_DECORATORS.items())
def test_each_decorator_only_handles_its_method(
    make_client: MakeClient, method: str, decorate: Any
) -> None:
    class Root(App):
        @decorate  # type: ignore[untyped-decorator]
        def bare(self) -> str:
            return "bare"

        @decorate()  # type: ignore[untyped-decorator]
        def empty(self) -> str:
            return "empty"

        @decorate("/explicit/<x>", name="other")  # type: ignore[untyped-decorator]
        def stated(self, x: str) -> str:
            return self.url_for("other", x=x)

    client = make_client(Root())
    paths = {"/bare": "bare", "/empty": "empty", "/explicit/1": "/explicit/1"}
    assert {path: client.request(method, path).text for path in paths} == paths
    others = METHOD_DECORATORS.keys() - {method}
    assert {client.request(other, path).status_code for other in others for path in paths} == {405}


def test_decorators_on_one_function_add_up(make_client: MakeClient) -> None:
    class Root(App):
        @get
        @post
        @put("/other")
        def page(self) -> str:
            return self.request.method

    client = make_client(Root())
    answers = [client.get("/page").text, client.post("/page").text, client.put("/other").text]
    assert answers == ["GET", "POST", "PUT"]
    assert client.put("/page").headers["allow"] == "GET, HEAD, OPTIONS, POST"


def test_two_methods_for_one_path_conflict_and_the_error_has_their_lines() -> None:
    names = {**globals()}
    exec(
        "class Twice(App):\n    @get('/pie')\n    def pie(self): ...\n    @get('/pie')\n    def cake(self): ...\n",
        names,
    )
    with pytest.raises(SetupError) as caught:
        names["Twice"]()._micropie.compiled()
    assert str(caught.value) == (
        "both <Route pie, <string>:2> and <Route cake, <string>:4> handle GET /pie: "
        "give one of them another path"
    )


class Bound:
    """What a ``Binding`` makes of a method. Like most wrappers, it has what its function has."""

    def __init__(self, function: Any, instance: object) -> None:
        functools.update_wrapper(self, function)
        self._method = MethodType(function, instance)

    def __call__(self, *arguments: Any) -> Any:
        return self._method(*arguments)


class Binding:
    """A decorator that binds methods in its own way, like cachetools.cachedmethod, which keeps what
    it has bound in the instance, and asgiref.sync_to_async, which doesn't.
    """

    def __init__(self, function: Any, *, keeps: bool = False) -> None:
        functools.update_wrapper(self, function)  # type: ignore[arg-type]
        self._function, self._keeps = function, keeps

    def __get__(self, instance: Any, owner: type) -> Any:
        bound = Bound(self._function, instance)
        if self._keeps:
            vars(instance)[self._function.__name__] = bound
        return bound


@pytest.mark.parametrize("decorate", [Binding, functools.partial(Binding, keeps=True)])
def test_a_decorator_may_bind_methods_in_its_own_way(
    make_client: MakeClient, decorate: Callable[..., Any]
) -> None:
    class Root(App):
        @decorate
        def plain(self, number: int) -> str:
            return f"plain {number}"

        @get("/above/<number>")
        @decorate
        def above(self, number: int) -> str:
            return f"above {number}"

        @decorate
        @get("/below/<number>")
        def below(self, number: int) -> str:
            return f"below {number}"

    app = Root()
    paths = ("plain", "above", "below")
    for _ in range(2):  # compiled twice
        client = make_client(app)
        assert [client.get(f"/{path}/5").text for path in paths] == [f"{one} 5" for one in paths]
        assert client.get("/plain/x").text == "number: Please enter a whole number."


@pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Python doesn't bind what is inside a classmethod any more"
)
def test_a_class_method_may_be_bound_in_another_way(make_client: MakeClient) -> None:
    class Root(App):
        @classmethod
        @Binding
        def of_class(cls, number: int) -> str:
            return f"{cls.__name__} {number}"

    assert make_client(Root()).get("/of_class/5").text == "Root 5"


@pytest.mark.parametrize("decorate", [lambda function: function, get])
def test_a_method_may_be_wrapped_in_the_instance(make_client: MakeClient, decorate: Any) -> None:
    class Root(App):
        def __init__(self) -> None:
            super().__init__()
            vars(self)["times"] = functools.cache(self.times)

        @decorate  # type: ignore[untyped-decorator]
        def times(self, number: int) -> int:
            return number * 2

    app = Root()
    assert make_client(app).get("/times/4").json() == 8
    assert not [one for one in mistakes(app) if "hidden" in str(one)]


def test_decorators_return_the_function_itself() -> None:
    def function() -> None: ...

    assert (
        get(function)
        is post("/x")(function)
        is route("/y")(function)
        is run_in("loop")(function)
        is hidden(function)
    )
    assert function.__name__ == "function"


def test_methods_may_be_in_lower_case_and_in_any_collection(
    make_client: MakeClient,
) -> None:
    class Root(App):
        @route("/list", methods=["get", "Post"])
        def as_list(self) -> str:
            return "list"

        @route("/set", methods={"QUERY"})
        def as_set(self) -> str:
            return "set"

        @route("/generator", methods=(method for method in ("PUT",)))  # type: ignore[arg-type]
        def as_generator(self) -> str:
            return "generator"

    client = make_client(Root(), validate=False)
    pairs = [("GET", "/list"), ("POST", "/list"), ("QUERY", "/set"), ("PUT", "/generator")]
    answers = [client.request(method, path).text for method, path in pairs]
    assert answers == ["list", "list", "set", "generator"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("users",), "write '/users'"),
        (("/<x",), "has an invalid wildcard"),
        (("/x", "GET"), r'methods=\["GET"\]'),
        (("/x", []), "leave it out"),
        (("/x", ["GRAB"]), "'GRAB' is not an HTTP method"),
        (("/x", ["GET", ""]), "not an HTTP method"),
        ((5,), r'@route\("/path"\)'),
        ((["/a", "/b"],), r'@route\("/path"\)'),
        ((lambda: None,), r'@route\("/path"\)'),
    ],
)
def test_a_misused_decorator_is_refused_at_once(arguments: tuple[Any, ...], sentence: str) -> None:
    with pytest.raises(SetupError, match=sentence):
        route(*arguments)
    with pytest.raises(SetupError, match=sentence):
        App().route(*arguments)


@pytest.mark.parametrize("decorate", [lambda function: function, get, get("/<key>")])
def test_a_handler_named_like_an_attribute_of_app_is_renamed_and_may_keep_its_path(
    decorate: Any,
) -> None:
    words = r'rename the method; @route\("/state"\) above it keeps its path$'
    with pytest.raises(SetupError, match=words):
        type("Files", (App,), {"state": decorate(lambda self, key: key)})


@pytest.mark.parametrize("decorate", [websocket, App().websocket])
def test_an_invalid_websocket_path_names_its_decorator(decorate: Any) -> None:
    with pytest.raises(SetupError, match=r'websocket\("/path"\)'):
        decorate(5)


@pytest.mark.parametrize("methods", [[5], [None], 5])
def test_methods_that_are_not_text_raise_a_clear_error(methods: Any) -> None:
    with pytest.raises(SetupError, match="method"):
        route("/x", methods)


def test_the_application_s_decorators_need_a_path() -> None:
    with pytest.raises(SetupError, match=r'"/path"'):
        App().get(lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("decorate", [*METHOD_DECORATORS.values(), route])
def test_decorators_have_docstrings(decorate: Any) -> None:
    assert len(decorate.__doc__) > 20


@pytest.mark.parametrize("name", ["get", "post", "put", "patch", "delete", "websocket"])
def test_a_decorator_without_a_path_is_named(name: str) -> None:
    decorate: Any = getattr(App(), name)
    with pytest.raises(SetupError, match=rf'write @app.{name}\("/path"\), not <function'):
        decorate(lambda: "page")


@pytest.mark.parametrize("decorate", [hidden, reads_body])
@pytest.mark.parametrize("arguments", [(), ("/path",)])
def test_a_decorator_without_arguments_needs_no_parentheses(decorate: Any, arguments: Any) -> None:
    with pytest.raises(
        SetupError, match=f"write @{decorate.__name__} above a function, without parentheses"
    ):
        decorate(*arguments)


@pytest.mark.parametrize(
    ("decorate", "limit"), [(max_body_size, 8), (max_data_size, 8), (max_body_size, 0)]
)
def test_a_decorator_may_limit_a_handler_s_body(
    make_client: MakeClient, decorate: Any, limit: int
) -> None:
    class Root(App):
        @decorate(limit)  # type: ignore[untyped-decorator]
        def limited(self, a: str = "") -> str:
            return a

        def free(self, a: str) -> str:
            return a

    client = make_client(Root())
    assert client.post("/limited", data={"a": "x" * limit}).status_code == 413
    found = client.post("/limited", data={"a": "x" * (limit - 2)} if limit else {}).status_code
    assert found == 200
    assert client.post("/free", data={"a": "x" * 50}).text == "x" * 50


def test_a_decorator_may_describe_a_handler() -> None:
    class Root(App):
        @describe(
            summary="A page.",
            description="More of it.",
            tags=["pages"],
            status=599,
            responses={200: "all right"},
            operation_id="one",
            deprecated=True,
        )
        def page(self) -> str:
            return "page"

        @describe(include_in_schema=False)
        def left_out(self) -> str:
            return "left out"

    document = Root().openapi()
    assert [*document["paths"]] == ["/page"]
    operation = document["paths"]["/page"]["get"]
    assert {*operation["responses"]} == {"200", "599", "default"}
    del operation["responses"]
    assert operation == {
        "operationId": "one",
        "summary": "A page.",
        "description": "More of it.",
        "tags": ["pages"],
        "deprecated": True,
    }


@pytest.mark.parametrize(
    "statuses",
    [{"status": 199}, {"status": 600}, {"responses": {True: "x", 200: "x"}}, {"status": "200"}],
)
def test_describe_refuses_an_invalid_status(statuses: Any) -> None:
    with pytest.raises(SetupError, match="describe takes statuses from 200 to 599, not"):
        describe(**statuses)


def test_a_websocket_handles_the_path_of_its_name_or_its_decorator(
    connect: MakeClient, backend: str
) -> None:
    class Root(App):
        @websocket
        async def plain(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.send_text(self.url_for("other", room=1))

        @websocket()
        async def empty(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.send_text("empty")

        @websocket("/rooms/<room:int>", name="other")
        async def stated(self, ws: WebSocket, room: int) -> None:
            await ws.accept()
            await ws.send_text(f"room {room}")

        @get
        def page(self) -> str:
            return "page"

    client = connect(Root(), backend)
    found = []
    for path in ("/plain", "/empty", "/rooms/7"):
        with client.websocket(path) as ws:
            found.append(ws.receive_text())
    assert found == ["/rooms/1", "empty", "room 7"]
    assert client.get("/plain").status_code in (404, 426)
