"""How a request fills a handler's parameters, and what it can never fill."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import math
import sys
import typing
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, make_dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from numbers import Number
from pathlib import Path
from types import GenericAlias
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NotRequired,
    Optional,
    Protocol,
    TypedDict,
    TypeVar,
)

import httpx2 as httpx
import msgspec
import pydantic
import pytest
import typing_extensions
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micropie import (
    App,
    BindingErrors,
    Body,
    Cookie,
    Form,
    Header,
    Message,
    Query,
    Request,
    SetupError,
    UploadFile,
    get,
    post,
    reads_body,
    route,
)
from micropie._core.binding.annotations import remembered
from micropie._core.binding.fields import kinds_in, layers_of, written_kinds
from micropie._core.binding.structures.invalid import problems_of
from micropie._core.binding.structures.makers import maker_for
from micropie._core.binding.values import finder, limits, unions
from micropie._core.binding.values.limits import has_long_matches
from micropie.testing import TestClient
from tests.binding.conftest import taking
from tests.support.clients import MakeClient
from tests.support.errors import said

ROOT = Path(__file__).parent.parent.parent


def app_of(handler: Any, path: str | None = None) -> App:
    """An application whose one handler is ``/page``, or answers an explicit ``path``."""
    app = App()
    if path is None:
        app.page = route()(handler)
    else:
        app.route(path)(handler)
    return app


def answer(response: httpx.Response) -> Any:
    """The JSON of a 200; else what it says, so that a failing test shows it."""
    return response.json() if response.status_code == 200 else (response.status_code, response.text)


def show(*args: Any, **kwargs: Any) -> Any:
    return [list(args), kwargs]


# -- where values come from ------------------------------------------------------------------------


class Root(App):
    def greet(self, name: str = "World", age: str = "?") -> Any:
        return [name, age]

    def bare(self, a, b="default"):  # type: ignore[no-untyped-def]
        return [a, b]

    def rest(self, first: str, *others: str) -> Any:
        return [first, list(others)]

    def numbers(self, *numbers: int) -> Any:
        return sum(numbers)

    def named(self, a: str = "", **others: Any) -> Any:
        return [a, others]

    def everything(
        self, a: str, /, b: str = "", *rest: str, c: int, d: str = "d", **others: Any
    ) -> Any:
        return [a, b, list(rest), c, d, others]

    async def only(self, *, a: str, b: int = 0) -> Any:
        return [a, b]

    def nothing(self) -> str:
        return "nothing"

    def integers(self, **numbers: int) -> Any:
        return numbers


@pytest.fixture
def app() -> App:
    return Root()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/greet", ["World", "?"]),
        ("/greet/Alice", ["Alice", "?"]),
        ("/greet/Alice/3", ["Alice", "3"]),
        ("/greet/Alice?age=3", ["Alice", "3"]),
        ("/greet?age=3", ["World", "3"]),
        ("/greet?age=3&name=Bob", ["Bob", "3"]),
        ("/greet/Alice?name=Bob", ["Alice", "?"]),
        ("/greet?name=", ["", "?"]),
        ("/greet?name=a&name=b", ["a", "?"]),
        ("/greet?NAME=x", ["World", "?"]),
        ("/greet?surplus=1&other=2", ["World", "?"]),
        ("/greet?name=%C3%A9+%26", ["é &", "?"]),
        ("/bare/1", ["1", "default"]),
        ("/bare?a=1&b=2", ["1", "2"]),
        ("/bare?b=2&a=1", ["1", "2"]),
        ("/rest/a", ["a", []]),
        ("/rest/a/b/c", ["a", ["b", "c"]]),
        ("/rest?first=a&others=b", ["a", []]),
        ("/numbers", 0),
        ("/numbers/1/2/3", 6),
        ("/named?a=1&b=2&c=3&c=4", ["1", {"b": "2", "c": ["3", "4"]}]),
        ("/named/x?a=1", ["x", {}]),
        ("/named?others=1", ["", {"others": "1"}]),
        ("/everything/A/B/C/D?c=5&x=y&d=e", ["A", "B", ["C", "D"], 5, "e", {"x": "y"}]),
        ("/everything?a=A&c=5", ["A", "", [], 5, "d", {}]),
        ("/only?a=x&b=2", ["x", 2]),
        ("/integers?x=1&y=2&y=3", {"x": 1, "y": [2, 3]}),
        ("/nothing?name=x", "nothing"),
    ],
)
def test_path_and_query_fill_parameters(client: TestClient, target: str, expected: object) -> None:
    response = client.get(target)
    seen = (response.status_code, response.text if isinstance(expected, str) else response.json())
    assert seen == (200, expected)


@pytest.mark.parametrize(
    "target",
    ["/greet/a/b/c", "/nothing/x", "/only/x", "/only/x?a=1", "/named/a/b", "/greet/a/b/c?name=x"],
)
def test_a_surplus_path_segment_gets_a_404(client: TestClient, target: str) -> None:
    assert client.get(target).status_code == 404


@pytest.mark.parametrize(
    ("target", "name", "expected"),
    [
        ("/bare", "a", "a value"),
        ("/bare?b=1", "a", "a value"),
        ("/rest", "first", "text"),
        ("/only", "a", "text"),
        ("/only?a=x&b=y", "b", "a whole number"),
        ("/numbers/1/x/3", "numbers", "a whole number"),
        ("/everything?a=1", "c", "a whole number"),
        ("/integers?x=1&y=z", "y", "a whole number"),
    ],
)
def test_a_400_names_the_parameter_and_the_expected_type(
    client: TestClient, target: str, name: str, expected: str
) -> None:
    response = client.get(target)
    assert response.status_code == 400
    assert f"'{name}'" in response.text
    assert expected in response.text
    assert response.text.count("\n") == 0


def test_form_fields_fill_parameters(client: TestClient) -> None:
    form = {"name": "Bob", "age": "3", "surplus": "x"}
    assert client.post("/greet", data=form).json() == ["Bob", "3"]
    parts = {"name": (None, "Bob"), "age": (None, "3")}
    assert client.post("/greet", files=parts).json() == ["Bob", "3"]
    assert client.post("/greet/Alice", data=form).json() == ["Alice", "3"]
    others = {"b": ["1", "2"], "c": "3"}
    assert client.post("/named", data=others).json() == ["", others]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "QUERY"])
def test_json_keys_fill_parameters_and_keep_their_types(
    make_client: MakeClient, method: str
) -> None:
    app = Root(methods=["POST", "PUT", "PATCH", "DELETE", "QUERY"])
    client = make_client(app, validate=False)  # wsgiref.validate warns of QUERY
    document = {"a": {"x": [1, None, True, 1.5]}, "b": None, "surplus": 1}
    assert client.request(method, "/bare", json=document).json() == [document["a"], None]
    others = {"x": [1, 2], "y": [], "z": {}}
    assert client.request(method, "/named", json=others).json() == ["", others]


def test_a_single_parameter_is_filled_like_several(make_client: MakeClient) -> None:
    client = make_client(app_of(lambda text: [text]))
    assert client.get("/page?text=abc").json() == ["abc"]
    assert client.post("/page", data={"text": "abc"}).json() == ["abc"]
    assert client.post("/page", json={"text": ["abc", 1]}).json() == [["abc", 1]]
    assert client.post("/page", json={"other": "abc"}).status_code == 400


def test_a_json_body_that_is_not_an_object_fills_no_parameter(client: TestClient) -> None:
    for document in ([1], "name", 5, None, True, [{"name": "x"}]):
        assert client.post("/greet", json=document).json() == ["World", "?"]


def test_the_query_takes_precedence_over_the_body(client: TestClient) -> None:
    for kind in ("data", "json"):
        sent: Any = {kind: {"name": "body", "age": "3"}}
        assert client.post("/greet?name=query", **sent).json() == ["query", "3"]
    both = client.post("/bare?a=query&b=query", json={"a": "json", "b": "json"})
    assert both.json() == ["query", "query"]
    assert client.post("/named?b=query", data={"b": ["1", "2"]}).json() == ["", {"b": "query"}]


def test_a_body_of_another_media_type_fills_no_parameter(client: TestClient) -> None:
    response = client.post(
        "/greet", content=b'{"name": "x"}', headers={"content-type": "text/plain"}
    )
    assert response.json() == ["World", "?"]


def test_the_author_s_default_is_passed_unchanged(make_client: MakeClient) -> None:
    default = object()

    def handler(x: Any = default, y: int = None) -> Any:  # type: ignore[assignment]  # noqa: RUF013
        return [x is default, y]

    assert make_client(app_of(handler)).get("/page").json() == [True, None]


def test_lists_take_every_value_of_their_name(make_client: MakeClient) -> None:
    def handler(ids: list[int], tags: list[str] = ["none"]) -> Any:  # noqa: B006 - what is tested
        return [ids, tags]

    client = make_client(app_of(handler))
    assert client.get("/page?ids=1&ids=2&tags=a").json() == [[1, 2], ["a"]]
    assert client.post("/page", data={"ids": ["3"], "tags": ["b", "c"]}).json() == [[3], ["b", "c"]]
    assert client.post("/page", json={"ids": [4, "5"]}).json() == [[4, 5], ["none"]]
    assert [client.get(f"/page{query}").status_code for query in ("", "?ids=1&ids=x")] == [400, 400]


def test_a_path_segment_may_be_the_only_value_of_a_list(make_client: MakeClient) -> None:
    class Lists(App):
        def ids(self, ids: list[int]) -> Any:
            return ids

        @get("/tagged/<tags>")
        def tagged(self, tags: list[str]) -> Any:
            return tags

        @get("/typed/<ids:int>")
        def typed(self, ids: list[int]) -> Any:
            return ids

    client = make_client(Lists())
    answers = [client.get(path).json() for path in ("/ids/5", "/tagged/a", "/typed/7")]
    assert answers == [[5], ["a"], [7]]


def test_wildcards_fill_the_parameters_of_the_same_names(make_client: MakeClient) -> None:
    def handler(b: int, a: str = "", *, c: float = 0, d: str = "d") -> Any:
        return [a, b, c, d]

    client = make_client(app_of(handler, "/x/<c:float>/<a>/<b>"))
    assert client.get("/x/1.5/y/7?d=e").json() == ["y", 7, 1.5, "e"]
    assert client.get("/x/1.5/y/7?a=query&b=1&c=2").json() == ["y", 7, 1.5, "d"]
    assert client.get("/x/1.5/y/z").text == "Parameter 'b' must be a whole number."


# -- what a client must not fill -------------------------------------------------------------------


class Accounts(App):
    def login(self) -> str:
        self.request.session["user_id"] = "alice"
        return "in"

    def whoami(self) -> Any:
        return self.request.session.get("user_id")

    def profile(self, user_id: str = "nobody") -> str:
        return user_id

    def everything(self, **values: Any) -> Any:
        return values


def test_R78_a_query_never_reaches_the_session_nor_the_session_a_parameter(
    make_client: MakeClient,
) -> None:
    client = make_client(Accounts())
    assert client.get("/whoami?user_id=mallory").text in ("", "null")
    client.get("/login")
    assert client.get("/whoami?user_id=mallory&session=x&_id=y").text == "alice"
    assert client.post("/whoami", data={"user_id": "mallory"}).text == "alice"
    document = {"user_id": "mallory", "session": {"user_id": "mallory"}}
    assert client.post("/whoami", json=document).text == "alice"
    assert client.get("/profile").text == "nobody"
    assert client.get("/everything").json() == {}
    assert client.get("/whoami").text == "alice"


@pytest.mark.parametrize(
    "name", ["self", "request", "session", "__class__", "app", "args", "kwargs", "values"]
)
def test_R78_query_names_with_a_meaning_in_python_are_plain_values(
    make_client: MakeClient, name: str
) -> None:
    response = make_client(Accounts()).get("/everything", params={name: "x", "other": "y"})
    assert response.status_code < 500
    assert response.status_code == 400 or response.json()["other"] == "y"


def test_R78_a_positional_only_name_in_the_query_is_a_plain_value(make_client: MakeClient) -> None:
    def handler(a: str, /, **others: Any) -> Any:
        return [a, others]

    assert make_client(app_of(handler)).get("/page/x?a=1").status_code == 200


@pytest.mark.parametrize("target", ["/page?role=admin", "/page/x?role=admin", "/page"])
def test_R78_a_client_cannot_override_arguments_fixed_by_partialmethod(
    make_client: MakeClient, target: str
) -> None:
    class Pages(App):
        def _page(self, name: str = "", role: str = "") -> str:
            return role

        page = functools.partialmethod(_page, role="guest")

    assert make_client(Pages()).get(target).text == "guest"


def test_R78_self_in_the_query_is_never_passed_to_a_decorated_method(
    make_client: MakeClient,
) -> None:
    def decorated(function: Any) -> Any:
        @functools.wraps(function)
        def inner(self: Any, **others: Any) -> Any:
            return function(self, **others)

        return inner

    class Pages(App):
        @decorated
        def page(self, **others: Any) -> Any:
            return others

    assert make_client(Pages()).get("/page?self=1&name=x").json() == {"name": "x"}


def test_a_partialmethod_may_fix_positional_parameters(make_client: MakeClient) -> None:
    class Pages(App):
        def _page(self, kind: str, name: str = "?") -> str:
            return f"{kind} {name}"

        page = functools.partialmethod(_page, "post")

    client = make_client(Pages())
    answers = [client.get(target).text for target in ("/page", "/page/x", "/page?kind=y&name=z")]
    assert answers == ["post ?", "post x", "post z"]


# -- errors of the handler -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [TypeError("missing 1 required positional argument"), ValueError("x"), KeyError("x")]
)
def test_an_error_inside_a_handler_gets_a_500_and_is_logged_once(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def handler(x: int = 0) -> None:
        raise error

    response = make_client(app_of(handler)).get("/page?x=1")
    assert (response.status_code, response.text) == (500, "500 Internal Server Error")
    records = [record for record in caplog.records if record.exc_info]
    answers = [(record.name, record.exc_info and record.exc_info[1]) for record in records]
    assert answers == [("micropie", error)]
    assert "GET '/page' failed" in records[0].getMessage()


# -- files -----------------------------------------------------------------------------------------


def described(upload: Any) -> Any:
    return None if upload is None else upload.filename


@pytest.mark.parametrize("annotation", [UploadFile, Optional[UploadFile], UploadFile | None, Any])
def test_a_file_fills_the_parameter_of_its_name(make_client: MakeClient, annotation: Any) -> None:
    def handler(avatar, title=""):  # type: ignore[no-untyped-def]
        return [described(avatar), title]

    handler.__annotations__["avatar"] = annotation
    response = make_client(app_of(handler)).post(
        "/page", files={"avatar": ("a.png", b"x")}, data={"title": "t"}
    )
    assert response.json() == ["a.png", "t"]


def test_a_bare_typing_list_is_a_list_of_text(make_client: MakeClient) -> None:
    def handler(names: typing.List) -> Any:  # type: ignore[type-arg] # noqa: UP006 - what is tested
        return names

    client = make_client(app_of(handler))
    assert client.get("/page?names=a&names=1").json() == ["a", "1"]
    assert client.post("/page", json={"names": ["a", 1]}).json() == ["a", 1]


@pytest.mark.parametrize("annotation", [list[UploadFile], Optional[list[UploadFile]]])
def test_a_list_of_files_takes_every_file_of_the_name(
    make_client: MakeClient, annotation: Any
) -> None:
    files = [("item", (name, b"x")) for name in ("a.png", "b.png")]
    client = make_client(taking(annotation, lambda photos: [photo.filename for photo in photos]))
    assert client.post("/page", files=files).json() == ["a.png", "b.png"]
    assert client.post("/page", files=files[:1]).json() == ["a.png"]


@pytest.mark.parametrize("debug", [True, False])
def test_in_development_the_log_has_the_message_for_programmers(
    make_client: MakeClient, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(debug=debug)

    @app.post("/upload")
    def upload(avatar: UploadFile | None = None) -> None: ...

    @app.post("/bake")
    def bake(name: str, note: str | None) -> None: ...

    client = make_client(app)
    for form in ({"data": {"nmae": "plum"}}, {"json": {"nmae": "plum"}}):
        caplog.clear()
        assert client.post("/upload", data={"avatar": "a.png"}).status_code == 400
        assert client.post("/bake", **form).status_code == 400  # type: ignore[arg-type]
        assert [line for line in caplog.messages if line.startswith("POST")] == [
            "POST '/upload': Parameter 'avatar' is missing; only the file name arrived: the form "
            'needs enctype="multipart/form-data".',
            "POST '/bake': Parameter 'name' is missing; expected text. Parameter 'note' is "
            "missing; expected text. The body contains ['nmae']. To make it optional, write note: "
            "... = None.",
        ][: 2 * debug]


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({}, "expected a file."),
        ({"json": {"item": "text"}}, "expected a file."),
        ({"params": {"item": "x"}}, "expected a file."),
        (
            {"data": {"item": "a.png"}},  # as a browser sends it from a form of the other type
            'only the file name arrived: the form needs enctype="multipart/form-data".',
        ),
    ],
)
def test_a_file_parameter_only_accepts_uploads(
    make_client: MakeClient, sent: dict[str, Any], sentence: str
) -> None:
    client = make_client(taking(UploadFile, described))
    response = client.post("/page", **sent)
    assert response.status_code == 400
    assert said(response) == f"Parameter 'item' is missing; {sentence}"
    assert client.post("/page/text").status_code == 404


def test_an_optional_file_is_none_without_an_upload(make_client: MakeClient) -> None:
    def handler(avatar: UploadFile | None, defaulted: UploadFile | None = None) -> Any:
        return [described(avatar), described(defaulted)]

    assert make_client(app_of(handler)).post("/page").json() == [None, None]


def test_kwargs_get_several_files_of_a_name_as_a_list(make_client: MakeClient) -> None:
    def handler(one: Any, **values: Any) -> Any:
        several = [file.filename for file in values.pop("several")]
        return [described(one), several, values]

    files = [(name, (f"{name}.txt", b"x")) for name in ("one", "several", "several")]
    response = make_client(app_of(handler)).post("/page", files=files, data={"t": "1"})
    assert answer(response) == ["one.txt", ["several.txt", "several.txt"], {"t": "1"}]


def test_kwargs_do_not_get_the_token_of_a_form(make_client: MakeClient) -> None:
    def handler(**points: int) -> Any:
        return points

    def named(csrf_token: str, **points: int) -> Any:
        return [csrf_token, points]

    sent = {"csrf_token": "x", "apple": "3"}
    assert answer(make_client(app_of(handler)).post("/page", data=sent)) == {"apple": 3}
    assert answer(make_client(app_of(named)).post("/page", data=sent)) == ["x", {"apple": 3}]


@dataclass
class Parcel:
    pie: str


@dataclass
class Delivery:
    name: str
    rows: list[Parcel]


def test_kwargs_get_only_what_fills_no_other_parameter(make_client: MakeClient) -> None:
    def listed(
        tags: list[str],
        page: Annotated[int, Query("p")] = 1,
        token: Annotated[str, Header("X-Token")] = "",
        **others: str,
    ) -> Any:
        return [tags, page, others]

    def delivery(delivery: Delivery, **pieces: int) -> Any:
        return [delivery.name, len(delivery.rows), pieces]

    client = make_client(app_of(listed))
    for query in ("tags=a&tags=b&p=2&X-Token=c", "tags[]=a&tags[]=b&p=2&X-Token=c"):
        assert answer(client.get(f"/page?{query}")) == [["a", "b"], 2, {"X-Token": "c"}]
    sent = {"tags[0]": "a", "p[0]": "3", "other[]": "d"}
    others = {"p[0]": "3", "other[]": "d"}
    assert answer(client.post("/page", data=sent)) == [["a"], 1, others]

    client = make_client(app_of(delivery))
    form = {"name": "Ann", "rows[0].pie": "plum", "rows[2].pie": "apple", "boxes": "3"}
    assert answer(client.post("/page", data=form)) == ["Ann", 2, {"boxes": 3}]
    document = {"name": "Ann", "rows": [{"pie": "plum"}], "boxes": 3}
    assert answer(client.post("/page", json=document)) == ["Ann", 1, {"boxes": 3}]


def test_kwargs_get_a_token_that_is_of_no_form(make_client: MakeClient) -> None:
    def handler(**fields: str) -> Any:
        return fields

    sent, client = {"csrf_token": "x", "apple": "3"}, make_client(app_of(handler))
    assert answer(client.get("/page", params=sent)) == sent
    assert answer(client.post("/page", json=sent)) == sent


@pytest.mark.parametrize(("annotation", "expected"), [(int, "a whole number"), (str, "text")])
def test_a_file_never_fills_a_parameter_of_another_type(
    make_client: MakeClient, annotation: Any, expected: str
) -> None:
    response = make_client(taking(annotation)).post("/page", files={"item": ("a.txt", b"1")})
    assert (response.status_code, response.text) == (400, f"Parameter 'item' must be {expected}.")


# -- structures ------------------------------------------------------------------------------------


@dataclass
class ADataclass:
    name: str
    age: int = 0
    tags: list[str] = field(default_factory=list)
    born: date | None = None
    done: bool = False


class ATypedDict(TypedDict):
    name: str
    age: NotRequired[int]
    tags: NotRequired[list[str]]
    born: NotRequired[date | None]
    done: NotRequired[bool]


class AStruct(msgspec.Struct):
    name: str
    age: int = 0
    tags: list[str] = []
    born: date | None = None
    done: bool = False


class AModel(pydantic.BaseModel):
    name: str
    age: int = 0
    tags: list[str] = []
    born: date | None = None
    done: bool = False


@dataclass
class Checked:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("the number must not be negative")


@dataclass
class Outer:
    inner: ADataclass
    many: list[ADataclass]


STRUCTURES = [ADataclass, ATypedDict, AStruct, AModel]


class Oven:
    """What msgspec makes of no JSON."""


@dataclass
class WithOven:
    oven: Oven


@dataclass
class AroundOven:
    name: str
    inner: WithOven
    again: list[AroundOven] = field(default_factory=list)


class OvenStruct(msgspec.Struct):
    oven: Oven


class OvenDict(TypedDict):
    oven: Oven


class Heats(Protocol):
    def heat(self) -> None: ...


@dataclass
class WithProtocol:
    oven: Heats


@pytest.mark.parametrize("kind", [WithOven, OvenStruct, OvenDict, list[WithOven]])
def test_a_structure_that_no_body_can_fill_is_refused_at_startup(kind: Any) -> None:
    with pytest.raises(SetupError, match=r"the Oven of \w+.oven: write App\(decoders={Oven: func"):
        structure_app(kind).openapi()


@pytest.mark.parametrize("hint", [deque[int], Iterable[int], OrderedDict[str, int]])
def test_a_collection_that_msgspec_does_not_read_is_refused_at_startup(hint: Any) -> None:
    name = rf"{hint.__module__}.{hint.__name__}\[.*int\] of Ovens.sizes"
    with pytest.raises(SetupError, match=rf"the {name}: annotate it with a list, a set or a dict"):
        structure_app(make_dataclass("Ovens", [("sizes", hint)])).openapi()


def test_a_required_field_of_a_protocol_is_refused_at_startup() -> None:
    with pytest.raises(SetupError, match=r"no text becomes the Heats of WithProtocol.oven"):
        structure_app(WithProtocol).openapi()


def test_a_part_that_no_body_can_fill_gets_the_library_s_error(make_client: MakeClient) -> None:
    problem = make_client(structure_app(AroundOven)).post(
        "/page", json={"name": "x", "inner": {"oven": 1}}
    )
    assert problem.status_code == 400
    assert "Expected `Oven`" in problem.json()["detail"]


@dataclass
class OptionalOven:
    number: Number
    oven: Oven | None
    spare: Oven = field(default_factory=Oven)
    ovens: list[Oven] = field(default_factory=list)
    more: AroundOven | None = None
    again: OptionalOven | None = None


def test_a_structure_may_have_fields_that_bodies_omit(make_client: MakeClient) -> None:
    client = make_client(
        taking(
            OptionalOven,
            lambda item: [item.number, item.oven, item.ovens, type(item.spare).__name__],
        )
    )
    assert client.post("/page", json={"number": 5, "oven": None}).json() == [5, None, [], "Oven"]


def attribute(value: Any, name: str) -> Any:
    return value[name] if isinstance(value, dict) else getattr(value, name)


def structure_app(kind: Any) -> App:
    names = ("name", "age", "tags", "born", "done")
    return taking(
        kind, lambda item: [type(item).__name__, *(attribute(item, name) for name in names)]
    )


def name_of(kind: type) -> str:
    return "dict" if kind is ATypedDict else kind.__name__


FULL = {"name": "Bob", "age": 3, "tags": ["a", "b"], "born": "2020-01-31", "done": True}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_json_body_becomes_a_structure(make_client: MakeClient, kind: type) -> None:
    response = make_client(structure_app(kind)).post("/page", json={**FULL, "surplus": 1})
    assert answer(response) == [name_of(kind), "Bob", 3, ["a", "b"], "2020-01-31", True]


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_whole_json_number_may_have_a_decimal_point(make_client: MakeClient, kind: type) -> None:
    client = make_client(structure_app(kind))
    sent = {**FULL, "age": 3.0, "surplus": [{"x": 1.0}]}
    made = answer(client.post("/page", json=sent))
    assert made == [name_of(kind), "Bob", 3, ["a", "b"], "2020-01-31", True]
    assert client.post("/page", json={**FULL, "age": 3.5}).status_code == 400
    assert client.post("/page", json={**FULL, "age": 3.0, "done": 2.5}).status_code == 400


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_json_text_is_not_accepted_as_a_number(make_client: MakeClient, kind: type) -> None:
    client = make_client(structure_app(kind))
    sent = {**FULL, "age": "3"}
    for response in (client.post("/page", json=sent), client.post("/page", data=sent)):
        made = answer(response)
        assert made == [name_of(kind), "Bob", 3, ["a", "b"], "2020-01-31", True]
    assert client.post("/page", json={**FULL, "age": "three"}).status_code == 400


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize("how", ["data", "files"])
@pytest.mark.parametrize(
    ("tags", "born", "done", "expected"),
    [
        (["a", "b"], "2020-01-31", "true", [["a", "b"], "2020-01-31", True]),
        ("a", "2020-01-31", "true", [["a"], "2020-01-31", True]),
        (["a", "b"], "", "on", [["a", "b"], None, True]),
    ],
    ids=["all", "a list of one", "an empty field and a ticked box"],
)
def test_a_form_becomes_a_structure_as_browsers_send_it(
    make_client: MakeClient,
    kind: type,
    how: str,
    tags: str | list[str],
    born: str,
    done: str,
    expected: list[Any],
) -> None:
    fields = {"name": "Bob", "age": "3", "tags": tags, "born": born, "done": done}
    pairs = [
        (n, (None, v)) for n, vs in fields.items() for v in ([vs] if isinstance(vs, str) else vs)
    ]
    sent: dict[str, Any] = {"data": fields} if how == "data" else {"files": pairs}
    response = make_client(structure_app(kind)).post("/page", **sent)
    assert answer(response) == [name_of(kind), "Bob", 3, *expected]


@pytest.mark.parametrize("kind", STRUCTURES)
@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({}, ["missing"]),
        ({"json": None}, []),
        ({"params": FULL}, ["missing"]),
        ({"json": {}}, ["name"]),
        ({"json": []}, []),
        ({"json": "text"}, []),
        ({"json": {"name": 5}}, ["name"]),
        ({"json": {"name": "x", "age": "old"}}, ["age"]),
        ({"json": {"name": "x", "tags": [1]}}, ["tags"]),
        ({"json": {"name": "x", "born": "soon"}}, ["born"]),
        ({"data": {"age": "3"}}, ["name"]),
        ({"data": {"name": "x", "age": "old"}}, ["age"]),
    ],
)
def test_an_invalid_body_gets_a_400_with_the_location(
    make_client: MakeClient, kind: type, sent: dict[str, Any], words: list[str]
) -> None:
    response = make_client(structure_app(kind)).post("/page", **sent)
    assert response.status_code == 400, response.text
    assert [word for word in ("'item'", *words) if word not in response.text] == []
    assert "\n" not in response.text
    assert ": :" not in response.text


class Strict(pydantic.BaseModel, strict=True):
    day: date
    many: tuple[int, ...] = ()
    name: str = ""


def test_a_strict_pydantic_model_stays_strict_with_json(make_client: MakeClient) -> None:
    handled: list[Any] = []

    def page(item: Strict) -> str:
        handled.append(item)
        return "taken"

    page.__annotations__["item"] = Strict
    client = make_client(app_of(page))
    assert client.post("/page", json={"day": "2026-01-31", "many": [1]}).status_code == 200
    assert client.post("/page", data={"day": "2026-01-31"}).status_code == 200
    assert handled == [Strict(day=date(2026, 1, 31), many=(1,)), Strict(day=date(2026, 1, 31))]
    wrong = client.post("/page", json={"day": "2026-01-31", "many": ["1"], "name": 5})
    assert wrong.json()["detail"] == (
        "Parameter 'item' is invalid: many.0: Input should be a valid integer. "
        "Parameter 'item' is invalid: name: Input should be a valid string."
    )


def test_invalid_unicode_in_json_is_refused_with_a_clear_reason() -> None:
    with pytest.raises(pydantic.ValidationError) as caught:
        maker_for(Strict).make({"day": 5, "name": "\ud800"}, is_json=True)
    assert [one["loc"] for one in caught.value.errors()] == [("day",)]


def test_an_error_does_not_repeat_the_client_s_input(make_client: MakeClient) -> None:
    for kind in STRUCTURES:
        response = make_client(structure_app(kind)).post(
            "/page", json={"name": "x", "age": "<script>"}
        )
        assert "<script>" not in response.text


def test_a_structure_s_own_check_gets_a_400_with_its_message(make_client: MakeClient) -> None:
    client = make_client(taking(Checked, lambda item: item.number))
    assert client.post("/page", json={"number": 5}).json() == 5
    response = client.post("/page", json={"number": -5})
    assert response.status_code == 400
    assert "the number must not be negative" in response.text


def test_structures_can_be_nested(make_client: MakeClient) -> None:
    client = make_client(
        taking(Outer, lambda item: [item.inner.name, [one.name for one in item.many]])
    )
    document = {"inner": {"name": "a"}, "many": [{"name": "b"}, {"name": "c"}]}
    assert client.post("/page", json=document).json() == ["a", ["b", "c"]]
    assert "many" in client.post("/page", json={**document, "many": [{"name": 5}]}).text


def test_a_structure_can_be_combined_with_other_parameters(make_client: MakeClient) -> None:
    def handler(number: int, item: ADataclass, dry: bool = False) -> Any:
        return [number, item.name, dry]

    client = make_client(app_of(handler, "/page/<number:int>"))
    assert client.put("/page/5?dry=1", json=FULL).json() == [5, "Bob", True]


@dataclass
class Shelf:
    """It has two names of pydantic's, but is none of its models."""

    model_fields: ClassVar[list[str]] = ["rows"]
    rows: int = 1


class Measured(pydantic.BaseModel):
    """A client does not choose what is no field of it."""

    seen: ClassVar[dict[int, int]] = {}
    _share: Fraction = Fraction(1, 2)
    rows: int = 1


@pytest.mark.parametrize("kind", [Shelf, Measured])
def test_the_fields_of_a_structure_decide_its_source(make_client: MakeClient, kind: Any) -> None:
    client = make_client(taking(kind, lambda item: item.rows))
    assert client.post("/page", json={"rows": 5, "others": [*range(1001)]}).text == "5"


def test_a_structure_is_not_filled_from_a_path_segment(make_client: MakeClient) -> None:
    assert make_client(structure_app(ADataclass)).post("/page/x", json=FULL).status_code == 404


@pytest.mark.parametrize(
    "kind", [Optional[ADataclass], AModel | None, AStruct | None, Annotated[AStruct | None, "text"]]
)
def test_an_optional_structure_is_none_without_a_body(make_client: MakeClient, kind: Any) -> None:
    client = make_client(taking(kind, lambda item: item and item.name))
    assert client.post("/page").text in ("", "null")
    assert client.post("/page", json=FULL).text == "Bob"


def test_a_structure_parameter_gets_its_default_without_a_body(make_client: MakeClient) -> None:
    default = ADataclass("default")

    def handler(item: ADataclass = default) -> str:
        return item.name

    client = make_client(app_of(handler))
    assert [client.post("/page").text, client.get("/page").text] == ["default", "default"]
    assert client.post("/page", json=FULL).text == "Bob"


def test_a_list_of_structures_is_read_from_a_json_array(make_client: MakeClient) -> None:
    client = make_client(taking(list[ADataclass], lambda items: [item.name for item in items]))
    assert client.post("/page", json=[{"name": "a"}, {"name": "b"}]).json() == ["a", "b"]
    assert client.post("/page", json=[]).json() == []
    assert client.post("/page", json=[{"name": 5}]).status_code == 400
    assert client.post("/page", json={"name": "a"}).status_code == 400


@dataclass
class Impossible:
    value: ADataclass | Checked  # msgspec can't tell two dataclasses apart


@dataclass
class Unreadable:
    value: NoSuchName  # type: ignore[name-defined]  # noqa: F821


class Mixed(enum.Enum):
    ONE = 1
    HALF = 0.5


@dataclass
class Unlisted:
    value: Mixed  # msgspec takes only str or int


@dataclass
class Unmatched:
    value: Annotated[str, msgspec.Meta(pattern="(")]


@dataclass
class Around:
    inner: Unlisted


@pytest.mark.parametrize("source", [None, Query(), Form(), Body()])
@pytest.mark.parametrize("kind", [Impossible, Unreadable, Unlisted, Unmatched, Around])
def test_a_structure_that_can_never_be_created_fails_at_setup(kind: Any, source: Any) -> None:
    for hint in (kind, kind | None):
        annotation = Annotated[hint, source] if source else hint
        with pytest.raises(SetupError, match=r"'item': it is a .*, but no object of this type can"):
            structure_app(annotation)._micropie.compiled()


class Bounded(msgspec.Struct):
    count: Annotated[int | None, msgspec.Meta(ge=2)] = None


def test_a_constraint_of_an_optional_type_fails_at_setup_and_says_what_to_write() -> None:
    with pytest.raises(SetupError, match=r"write Annotated\[X, Meta\(\.\.\.\)\] \| None, not"):
        structure_app(Bounded)._micropie.compiled()


def test_without_msgspec_a_dataclass_fails_at_setup_and_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "msgspec", None)
    with pytest.raises(SetupError, match=r"'item': it is a ADataclass.*micropie-dual\[standard\]"):
        structure_app(ADataclass)._micropie.compiled()


def test_without_msgspec_a_pydantic_model_still_works(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = structure_app(AModel)
    monkeypatch.setitem(sys.modules, "msgspec", None)
    app._micropie.compiled()
    monkeypatch.undo()
    assert make_client(app).post("/page", json=FULL).json()[1] == "Bob"


# -- signatures ------------------------------------------------------------------------------------


def annotated(annotation: str, where: str = "x") -> App:
    def handler(x: Any = None) -> Any:
        return repr(x)

    handler.__annotations__ = {where: annotation}
    return app_of(handler)


@pytest.mark.parametrize(
    "annotation",
    [
        "NoSuchName",
        "date.nothing",
        "list[int",
        "no such",
        "int +",
        "",
        "Annotated[str, msgspec.Meta(pattern='(')]",
    ],
)
def test_an_unreadable_annotation_fails_at_setup(annotation: str) -> None:
    name = r"annotated\.<locals>\.handler"
    with pytest.raises(
        SetupError, match=rf"an annotation of {name} can't be evaluated: .*; correct the annotation"
    ):
        annotated(annotation)._micropie.compiled()


def test_a_decorated_handler_has_the_annotations_of_the_inner_function(
    make_client: MakeClient,
) -> None:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    def handler(x: int, *, y: float = 0) -> Any:
        return [x, y]

    assert make_client(app_of(decorate(decorate(handler)))).get("/page/5?y=1.5").json() == [5, 1.5]


def test_a_decorator_that_hides_the_signature_gets_all_values(make_client: MakeClient) -> None:
    found = make_client(app_of(show)).get("/page/a/b?c=d&e=f&e=g").json()
    assert found == [["a", "b"], {"c": "d", "e": ["f", "g"]}]


@pytest.mark.parametrize("mark", [get("/<x>"), post("/a/<x:int>"), route("/<x:path>/end")])
def test_a_wildcard_without_a_parameter_fails_at_setup(mark: Any) -> None:
    app: Any = App()
    app.page = mark(lambda y=0: None)
    with pytest.raises(SetupError, match="no parameter 'x'"):
        app._micropie.compiled()


def test_path_params_has_the_path_s_parameters(make_client: MakeClient) -> None:
    class Paths(App):
        def named(self, a: str, *rest: str) -> Any:
            return list(self.request.path_params)

        @get("/wild/<a:int>/<b>")
        def wild(self, a: int, b: str) -> Any:
            return list(self.request.path_params)

        def default(self, *segments: str) -> Any:
            return list(self.request.path_params)

    client = make_client(Paths())
    assert client.get("/named/x/y").json() == ["x", "y"]
    assert client.get("/named?a=x").json() == []
    assert client.get("/unknown/y").json() == ["unknown", "y"]
    assert client.get("/wild/5/y").json() in ([5, "y"], ["5", "y"])


# -- fuzz ------------------------------------------------------------------------------------------


class Target(App):
    """Something of everything: whatever comes in must be answered, and never by an
    unexpected 500.
    """

    def index(self, *segments: str, n: int = 0, **rest: Any) -> Any:
        return ascii([segments, n, rest])

    def typed(
        self,
        a: int,
        b: float = 0,
        c: date | None = None,
        *,
        d: list[int] = [],  # noqa: B006
        e: bool = False,
    ) -> Any:
        return [a, b, c, d, e]

    def whole(self, item: ADataclass) -> Any:
        return item

    def model(self, item: AModel) -> Any:
        return item.model_dump(mode="json")

    def file(self, upload: UploadFile, **rest: Any) -> Any:
        return [upload.filename, len(rest)]

    @get("/wild/<a:int>/<b:path>")
    def wild(self, a: int, b: str) -> Any:
        return [a, b]


paths = st.lists(
    st.sampled_from([*b"typed whole model file wild 5 a%2Fb .. . %ff %00".split(), b""])
    | st.binary(max_size=6).map(lambda raw: raw.translate(None, b"?# \r\n\0")),
    max_size=4,
).map(lambda segments: b"/" + b"/".join(segments))
words = st.sampled_from(
    ["a", "b", "c", "d", "e", "n", "name", "age", "tags", "item", "upload", "self", "é", "", "a[]"]
)
values = st.text(max_size=5) | st.sampled_from(
    ["5", "1e999", "nan", "true", "2026-01-31", "9" * 50, "\ud800"]
)
queries = st.lists(st.tuples(words, values), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs).encode(
        "utf-8", "surrogatepass"
    )
) | st.binary(max_size=20).map(lambda raw: raw.translate(None, b"# \r\n\0"))
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=6,
).map(lambda value: msgspec.json.encode(value) if value == value else b"NaN")
bodies = st.one_of(
    st.tuples(st.just("application/json"), jsons | st.binary(max_size=20)),
    st.tuples(st.just("application/x-www-form-urlencoded"), queries),
    st.tuples(
        st.sampled_from(["multipart/form-data; boundary=x", "multipart/form-data"]),
        st.binary(max_size=40),
    ),
    st.tuples(
        st.just("multipart/form-data; boundary=x"),
        st.tuples(words, st.binary(max_size=5)).map(
            lambda part: (
                b'--x\r\nContent-Disposition: form-data; name="%s"; filename="f"\r\n\r\n%s\r\n--x--\r\n'
                % (part[0].encode(), part[1])
            )
        ),
    ),
    st.tuples(
        st.sampled_from(["", "text/plain", "application/json; charset=x", "\xff"]),
        st.binary(max_size=10),
    ),
)


@pytest.mark.parametrize("world", ["wsgi", "asyncio", "trio"])
def test_R78_no_input_to_typed_parameters_causes_a_500(
    connect: MakeClient, world: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(Target(), world)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"]), paths, queries, bodies
    )
    def check(method: str, path: bytes, query: bytes, body: tuple[str, bytes]) -> None:
        content_type, content = body
        response = client.request(
            method,
            "/",
            content=content,
            headers={b"content-type": content_type.encode("latin-1")} if content_type else None,
            extensions={"target": path + b"?" + query},
        )
        records, caplog.records[:] = caplog.records[:], []
        assert (response.status_code < 500, records) == (True, [])

    check()


# -- bodies that bring nothing ---------------------------------------------------------------------


class Taking(App):
    def name(self, name: str) -> Any:
        return name

    def structure(self, item: ADataclass) -> Any:
        return item.name

    def file(self, picture: UploadFile) -> Any:
        return picture.size

    def maybe(self, name: str = "?") -> Any:
        return name

    @reads_body
    def own(self, name: str) -> Any:
        return name


JSON_TYPE, TEXT_TYPE = {"Content-Type": "application/json"}, {"Content-Type": "text/plain"}
NO_TYPE = "the request has no Content-Type header, such as application/json."
OTHER_TYPE = "the request's Content-Type is neither JSON nor a form."


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("/name", "name", "text"),
        ("/structure", "item", "a JSON object or a form"),
        ("/file", "picture", "a file"),
    ],
)
def test_a_missing_parameter_s_error_says_what_is_wrong_with_the_body(
    make_client: MakeClient, path: str, name: str, expected: str
) -> None:
    client, missing = make_client(Taking()), f"Parameter {name!r} is missing"
    in_pieces = {"content": iter([b"<", b"x/>"]), "headers": TEXT_TYPE}
    nothing_given = f"; expected {expected}."
    of_form = None if path == "/structure" else nothing_given
    for method, options, status, reason in (
        ("POST", {"content": b'{"name": "x"}'}, 415, f": {NO_TYPE}"),
        ("POST", {"content": b"<x/>", "headers": TEXT_TYPE}, 415, f": {OTHER_TYPE}"),
        ("POST", {"content": b"<x/>", "headers": {"content-type": ";;;"}}, 415, f": {OTHER_TYPE}"),
        ("DELETE", in_pieces, 415, f": {OTHER_TYPE}"),
        ("POST", {"content": b"", "headers": JSON_TYPE}, 400, ": the JSON body is empty."),
        ("POST", {"content": b"", "headers": TEXT_TYPE}, 400, nothing_given),
        ("POST", {}, 400, nothing_given),
        ("POST", {"data": {"other": "x"}}, 400, of_form),
        ("GET", {"headers": JSON_TYPE}, 400, nothing_given),
    ):
        response = client.request(method, path, **options)
        assert response.status_code == status, (method, options, said(response))
        assert reason is None or said(response) == missing + reason, (method, options)


class Stating(App):
    @post
    def of_form(self, name: Annotated[str, Form()]) -> Any:
        return name

    @post
    def of_body(self, names: Annotated[list[str], Body()]) -> Any:
        return names

    @post
    def of_header(self, name: Annotated[str, Header()]) -> Any:
        return name


@pytest.mark.parametrize(
    ("path", "label", "status"),
    [("/of_form", "Form 'name'", 415), ("/of_body", "The JSON body", 415), ("/of_header", "", 400)],
)
def test_a_body_parameter_is_missing_in_a_body_of_another_type(
    make_client: MakeClient, path: str, label: str, status: int
) -> None:
    response = make_client(Stating()).post(path, content=b"<x/>", headers=TEXT_TYPE)
    assert response.status_code == status
    assert status == 400 or said(response) == f"{label} is missing: {OTHER_TYPE}"


@pytest.mark.parametrize("hint", [bytes, list[str], dict[str, ADataclass], dict[str, int]])
def test_a_form_is_no_json_body(make_client: MakeClient, hint: Any) -> None:
    client = make_client(taking(Annotated[hint, Body()], repr))
    sentence = "The JSON body is missing: the request's Content-Type is that of a form."
    for sent in ({"data": {"item": "a"}}, {"files": {"item": ("a.bin", b"a")}}):
        response = client.post("/page", **sent)
        assert (response.status_code, said(response)) == (415, sentence)


def test_bytes_as_a_json_body_are_base64(make_client: MakeClient) -> None:
    client = make_client(taking(Annotated[bytes, Body()], len))
    for sent in ("!", 5, {"item": "YWI="}):
        response = client.post("/page", json=sent, headers={"Accept": "text/plain"})
        assert (response.status_code, response.text) == (400, "The JSON body must be base64.")
    assert client.post("/page", json="YWI=").json() == 2


def test_json_that_is_not_an_object_has_no_parameters(make_client: MakeClient) -> None:
    client = make_client(Taking())
    for document in ([], [{"name": "x"}], "name", 5, False):
        response = client.post("/name", json=document)
        assert response.status_code == 400
        assert said(response) == "Parameter 'name' is missing: the JSON body is not an object."
    response = client.post("/name", content=b"null", headers=JSON_TYPE)
    assert said(response).endswith("is not an object.")


def test_a_parameter_with_a_default_needs_no_body(make_client: MakeClient) -> None:
    client = make_client(Taking())
    for options in (
        {"content": b"{}"},
        {"content": b"", "headers": JSON_TYPE},
        {"content": b"x", "headers": TEXT_TYPE},
    ):
        assert client.post("/maybe", **options).text == "?"


def test_a_handler_that_reads_its_body_gets_parameters_from_the_query_alone(
    make_client: MakeClient,
) -> None:
    response = make_client(Taking()).post("/own", content=b"{}")
    assert response.status_code == 400
    assert response.text == "Parameter 'name' is missing; expected text."


@pytest.mark.parametrize(
    ("path", "status"), [("/asked", 200), ("/given/x", 200), ("/given", 400), ("/others", 400)]
)
def test_a_body_that_no_parameter_needs_is_not_parsed(
    make_client: MakeClient, path: str, status: int
) -> None:
    class Root(App):
        @post
        def asked(
            self, token: Annotated[str, Header()] = "", number: Annotated[int, Query()] = 1
        ) -> str:
            return "?"

        @post
        def given(self, name: str) -> str:
            return "?"

        @post
        def others(self, **values: str) -> str:
            return "?"

    answer = make_client(Root()).post(path, content=b"{", headers=JSON_TYPE)
    assert answer.status_code == status


# -- a whole body ----------------------------------------------------------------------------------


@pytest.mark.parametrize("second", [ADataclass, ATypedDict, list[AStruct], Optional[AModel]])
def test_two_parameters_cannot_both_take_the_whole_body(second: Any) -> None:
    def handler(one: ADataclass, file: UploadFile, *, two: Any) -> None: ...

    handler.__annotations__["two"] = second
    with pytest.raises(
        SetupError, match=r"'one' and 'two' would both take the whole body: write one class"
    ):
        app_of(handler)._micropie.compiled()


class Documents(App):
    def one(self, d: dict[str, int]) -> Any:
        return d

    def several(self, d: list[dict[str, Any]]) -> Any:
        return d

    def custom(self, d: Annotated[dict[str, Any], Message(invalid="Send an object.")]) -> Any:
        return d


IN_A_BODY = "Please send a JSON body with a JSON object."
ANY_OBJECT = "Please enter a JSON object."


@pytest.mark.parametrize(
    ("path", "sent", "words"),
    [
        ("one", {"params": {"d": '{"a": 1}'}}, IN_A_BODY),
        ("one", {"data": {"d": '{"a": 1}'}}, IN_A_BODY),
        ("one", {"params": {"d": ""}}, "Please fill in this field."),
        ("one", {"json": {"d": '{"a": 1}'}}, ANY_OBJECT),
        ("one", {"json": {"d": [1]}}, ANY_OBJECT),
        ("one", {"files": {"d": (None, b"[1]", "application/json")}}, ANY_OBJECT),
        (
            "several",
            {"params": {"d": ['{"a": 1}', "{}"]}},
            "Please send a JSON body with a list, each a JSON object.",
        ),
        ("custom", {"params": {"d": '{"a": 1}'}}, "Send an object."),
    ],
)
def test_a_json_object_as_text_gets_a_message_that_asks_for_a_body(
    make_client: MakeClient, path: str, sent: dict[str, Any], words: str
) -> None:
    method = "GET" if "params" in sent else "POST"
    answer = make_client(Documents()).request(
        method, f"/{path}", **sent, headers={"Accept": "text/html"}
    )
    assert answer.status_code == 400
    assert f"d: {words}" in answer.text


def test_several_dicts_are_fields_of_one_document(make_client: MakeClient) -> None:
    def handler(a: dict[str, int], b: dict[str, str]) -> Any:
        return [a, b]

    client = make_client(app_of(handler))
    document = {"a": {"x": 1}, "b": {"y": "z"}}
    assert answer(client.post("/page", json=document)) == [*document.values()]
    response = client.post("/page", json={"a": {"x": 1}})
    assert response.status_code == 400
    assert said(response) == (
        "Parameter 'b' is missing; expected a JSON object; to take the whole body, write "
        "Annotated[dict, Body()]."
    )


@dataclass
class Account:
    price: Decimal = Decimal(0)
    weight: float = 0.0
    ids: set[int] = field(default_factory=set)
    names: dict[int, str] = field(default_factory=dict)


@dataclass
class Scale:
    weight: float


@dataclass
class Order:
    account: Account
    lines: list[Account] = field(default_factory=list)


class AccountStruct(msgspec.Struct, frozen=True):
    price: Decimal = Decimal(0)
    ids: frozenset[int] = frozenset()


class OrderStruct(msgspec.Struct):
    account: AccountStruct
    more: dict[str, Any] = {}


class AccountModel(pydantic.BaseModel):
    price: Annotated[Decimal, "any"] = Decimal(0)
    weight: float = 0.0
    ids: set[int] = set()
    prices: list[dict[str, tuple[Decimal, ...]]] = []


class OrderModel(pydantic.BaseModel):
    account: AccountModel
    next: Optional[OrderModel] = None


class OrderDict(TypedDict):
    account: Account


ORDERS: list[Any] = [Order, OrderStruct, OrderModel, OrderDict]


@pytest.mark.parametrize("kind", ORDERS)
def test_R28_numbers_and_sets_in_structures_are_bounded(make_client: MakeClient, kind: Any) -> None:
    client = make_client(taking(kind))
    for price in ("1e300000", "-1e309", "1e-309", "NaN", "Infinity", "9" * 310):
        response = client.post("/page", json={"account": {"price": price}})
        assert response.status_code == 400, price
        assert "Parameter 'item' is invalid: " in response.text, price
    assert client.post("/page", json={"account": {"price": "1e308"}}).text == "made"
    colliding = [number * (2**61 - 1) for number in range(1001)]
    response = client.post("/page", json={"account": {"ids": colliding}})
    assert response.status_code == 400
    assert said(response) == (
        "Parameter 'item' is invalid: Expected at most 1000 values in an array or object - at "
        "`$.account.ids`."
    )
    small = [number for number in colliding if number < 2**63]
    assert client.post("/page", json={"account": {"ids": small}}).text == "made"


@pytest.mark.parametrize("kind", [Account, AccountStruct, AccountModel])
def test_R28_sets_in_each_structure_of_a_list_are_bounded(
    make_client: MakeClient, kind: Any
) -> None:
    client = make_client(taking(list[kind], len))
    assert client.post("/page", json=[{"ids": [1, 2]}] * 1001).text == "1001"
    assert client.post("/page", json=[{"ids": []}, {"ids": [*range(1001)]}]).status_code == 400
    assert client.post("/page", json={"ids": []}).status_code == 400


SomeSet = TypeVar("SomeSet", bound=set[int])


class Bound(pydantic.BaseModel, Generic[SomeSet]):
    ids: SomeSet


Numbers = typing_extensions.TypeAliasType("Numbers", set[int])
DefaultSet = typing_extensions.TypeVar("DefaultSet", default=Numbers)


class Default(pydantic.BaseModel, Generic[DefaultSet]):
    ids: DefaultSet


IdSet = typing.NewType("IdSet", Numbers)


class Renamed(pydantic.BaseModel):
    ids: IdSet


class Early(pydantic.BaseModel):
    inner: Late | None = None
    ids: list[int] = []


class Late(pydantic.BaseModel):
    ids: set[int] = set()


class Row(typing.NamedTuple):
    ids: set[int]
    price: Decimal = Decimal(0)


class WithRow(msgspec.Struct):
    ids: Row


class Rows(pydantic.BaseModel):
    ids: Row


class Other(typing_extensions.TypedDict):
    more: set[int]


class WithOther(pydantic.BaseModel):
    ids: Other


class Extras(pydantic.BaseModel, extra="allow"):
    __pydantic_extra__: dict[str, set[int]]


class DictExtras(typing_extensions.TypedDict, extra_items=set[int]):  # type: ignore[call-arg]
    number: int


class WithExtras(pydantic.BaseModel):
    ids: DictExtras


@pytest.mark.parametrize(
    "kind",
    [
        Bound,
        Default,
        Early,
        Renamed,
        Extras,
        WithRow,
        Rows,
        WithOther,
        WithExtras,
        dict[str, Early],
    ],
)
def test_R28_sets_in_unusual_annotations_are_bounded(kind: Any) -> None:
    many: Any = [*range(1001)]
    inner = {WithRow: [many], Rows: [many], WithOther: {"more": many}}
    document = {"ids": inner.get(kind, {"number": 1, "more": many} if kind is WithExtras else many)}
    with pytest.raises(ValueError, match="at most 1000 values"):
        maker_for(kind).make(document, is_json=True)


@pytest.mark.parametrize("kind", [WithRow, Rows])
def test_R28_numbers_in_a_named_tuple_are_bounded(kind: Any) -> None:
    with pytest.raises(ValueError, match="Expected a number from"):
        maker_for(kind).make({"ids": [[], "1e300000"]}, is_json=True)


class Unlimited(pydantic.BaseModel):
    limit: float = math.inf


class UnlimitedStruct(msgspec.Struct):
    limit: Decimal = Decimal("Infinity")


@pytest.mark.parametrize("kind", [Unlimited, UnlimitedStruct])
def test_defaults_are_read_once_for_many_items(monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    """Each item has a default that no client may send."""
    maker, reads = maker_for(list[kind]), list[object]()

    def read(hint: object) -> Sequence[object]:
        reads.append(hint)
        return kinds_in(hint)

    monkeypatch.setattr(limits, "kinds_in", read)
    made: Any = maker.make([{}] * 100, is_json=True)
    assert [one.limit for one in made] == [made[0].limit] * 100
    assert len(reads) == 1


class And(pydantic.BaseModel):
    kind: Literal["and"]
    inner: list[And | Or] = []


class Or(pydantic.BaseModel):
    kind: Literal["or"]
    inner: list[And | Or] = []


class AndByKind(pydantic.BaseModel):
    kind: Literal["and"]
    inner: list[Annotated[AndByKind | OrByKind, pydantic.Field(discriminator="kind")]] = []
    other: AndByKind | OrByKind | None = pydantic.Field(None, discriminator="kind")


class OrByKind(pydantic.BaseModel):
    kind: Literal["or"]
    inner: list[AndByKind] = []


class Left(pydantic.BaseModel):
    left: Left | Right | list[Left] | None = None


class Right(pydantic.BaseModel):
    right: Left | Right | None = None


class Arrays(pydantic.BaseModel, frozen=True):
    inner: list[Arrays] | frozenset[Arrays]


class Named(pydantic.BaseModel):
    inner: Named | dict[str, Named] | None = None


class Black(pydantic.BaseModel):
    kind: Literal["cat"]
    colour: Literal["black"]
    friend: Pet | None = None


class White(pydantic.BaseModel):
    kind: Literal["cat"]
    colour: Literal["white"]
    friend: Pet | None = None


class Fish(pydantic.BaseModel):
    kind: Literal["fish"]
    friend: Annotated[Pet, "any"] | None = pydantic.Field(None, title="friend")
    other: Annotated[Black | Fish | None, "any"] = pydantic.Field(None, discriminator="kind")


Cats = Annotated[Black | White, pydantic.Field(discriminator="colour")]
Pet = Annotated[Cats | Fish, pydantic.Field(discriminator="kind")]


class Keeper(pydantic.BaseModel):
    kind: type[pydantic.BaseModel] | None = None  # has no fields
    friend: Pet | None = None


class Steps(pydantic.BaseModel):
    inner: list[Steps | Parts] = []


class Parts(pydantic.BaseModel):
    inner: dict[str, Steps | Parts] = {}


class Tree(pydantic.RootModel[int | list["Tree"] | dict[str, "Tree"]]): ...


class Trees(pydantic.BaseModel):
    inner: Tree | Trees | None = None


class Pair(typing.NamedTuple):
    inner: Twin


class Twin(pydantic.BaseModel):
    inner: Pair | list[Twin] | None = None


K = TypeVar("K")


class Either(pydantic.BaseModel, Generic[K]):
    key: K | None = None
    inner: Either[K] | Further[K] | None = None


class Further(pydantic.BaseModel, Generic[K]):
    other: K | None = None
    inner: Either[K] | Further[K] | None = None


class OfNumbers(Either[int]):
    count: int = 0


GENERIC = [Either, Either[int], list[Further[int]], OfNumbers]


@pytest.mark.parametrize("kind", [And, list[Or], And | Or, Arrays, Named, Twin, *GENERIC])
def test_R28_nested_unions_are_not_tried_exponentially(kind: Any) -> None:
    with pytest.raises(
        SetupError, match=r"takes twice as long for each level.*Field\(discriminator="
    ):
        taking(kind)._micropie.compiled()


@pytest.mark.parametrize(
    ("kind", "around"),
    [
        (AndByKind, lambda inner: {"kind": "and", "inner": [inner]}),
        (AndByKind, lambda inner: {"kind": "and", "other": inner}),
        (Left, lambda inner: {"left": inner}),
        (Keeper, lambda inner: {"friend": {"kind": "cat", "colour": "black", "friend": None}}),
        (Steps, lambda inner: {"inner": [inner]}),
        (Trees, lambda inner: {"inner": inner}),
    ],
)
def test_a_nested_union_with_clear_members_is_accepted(kind: Any, around: Any) -> None:
    document: dict[str, Any] = {"kind": "or"}
    for _ in range(60):
        document = around(document)
    assert type(maker_for(kind).make(document, is_json=True)) is kind


def test_unions_of_many_structures_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each structure contains all others. To walk through them for each field takes minutes."""
    reads = list[object]()

    def read(hint: object) -> Sequence[object]:
        reads.append(hint)
        return written_kinds(hint)

    monkeypatch.setattr(unions, "written_kinds", read)
    counts = []
    for many in (5, 20):
        ring: list[Any] = [make_dataclass(f"Ring{one}", [("inner", Any)]) for one in range(many)]
        for one, other in zip(ring, ring[1:] + ring, strict=False):
            one.__annotations__["inner"] = other | list[ring[0]] | None  # type: ignore[valid-type]
        reads.clear()
        unions.check_unions(kinds_in(ring[0]), "")
        counts.append(len(reads))
    assert counts[1] == 4 * counts[0]


class Hidden(pydantic.BaseModel):
    inner: list[Unknown] = []  # type: ignore[name-defined]  # noqa: F821


def test_a_model_of_an_unsupported_class_is_refused() -> None:
    with pytest.raises(SetupError, match="name 'Unknown' is not defined"):
        maker_for(Hidden)


Matched: Any = Annotated[str, msgspec.Meta(pattern=r"\Aa*\Z")]
SomeText = TypeVar("SomeText")


class Matching(msgspec.Struct, tag=True):
    text: Matched = ""
    other: str = ""
    choice: Matched | list[Matched] | None = None
    short: Annotated[str, msgspec.Meta(pattern="a", max_length=2000)] = "a"
    names: dict[Matched, Matched | int] | bool = False
    inner: Matching | None = None
    row: MatchingRow | None = None
    pair: MatchingPair | None = None
    anything: dict[str, Any] = {}
    generic: GenericRow[Matched] | None = None


class MatchingRow(msgspec.Struct, array_like=True, tag=True):
    number: int
    text: Matched = ""


class GenericRow(msgspec.Struct, Generic[SomeText], array_like=True):
    number: int
    text: SomeText


class MatchingPair(typing.NamedTuple):
    number: int
    text: Matched


LONG = "a" * 1001


@pytest.mark.parametrize(
    ("document", "is_fine"),
    [
        ({"text": "a", "other": LONG, "anything": {LONG: LONG}, "names": {"a": 1}}, True),
        ({"text": LONG}, False),
        ({"choice": LONG}, False),
        ({"choice": ["a", LONG]}, False),
        ({"short": "a" * 1001}, False),
        ({"names": {LONG: 1}}, False),
        ({"names": {"a": LONG}}, False),
        ({"inner": {"text": LONG}}, False),
        ({"row": ["MatchingRow", 1, LONG]}, False),
        ({"pair": [1, LONG]}, False),
        ({"generic": [1, LONG]}, False),
    ],
)
def test_R28_a_long_text_in_a_structure_is_not_matched_against_patterns(
    document: Any, is_fine: bool
) -> None:
    """Though it would match: an expression might backtrack."""
    maker = maker_for(list[Matching])
    if is_fine:
        assert maker.make([document], is_json=True)
        return
    with pytest.raises(ValueError, match="length <= 1000") as refused:
        maker.make([document], is_json=True)
    assert problems_of(refused.value, maker, [document], True)
    assert not has_long_matches(Annotated[str, msgspec.Meta(pattern="a", max_length=1000)])


Marked: Any = Annotated[str, [], msgspec.Meta(pattern="a", max_length=2000)]


class Leaf(msgspec.Struct, tag=True):
    ids: set[int] = set()
    names: list[Marked] = []
    nodes: list[Leaf | Branch] = []


class Branch(Leaf):
    pass


def test_R28_each_value_is_checked_once_despite_nested_unions() -> None:
    """Not once for each way in which the unions allow it: they double at each level."""
    maker = maker_for(Leaf | Branch)
    document: dict[str, Any] = {"type": "Leaf", "names": ["a"]}
    for _ in range(60):
        document = {"type": "Branch", "nodes": [document]}
    made = maker.make(document, is_json=True)
    assert maker.dump(document) == made
    document = {"type": "Leaf", "nodes": [document, {"type": "Branch", "names": ["a" * 1001]}]}
    with pytest.raises(ValueError, match="length <= 1000"):
        maker.make(document, is_json=True)


def test_R28_annotations_are_not_read_again_for_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body of a megabyte may contain 300,000 empty arrays instead of structures."""
    reads, counts = list[object](), []

    def read(hint: object) -> Any:
        reads.append(hint)
        return layers_of(hint)

    monkeypatch.setattr(finder, "layers_of", read)
    for many in (10, 1000):
        maker, wrong = maker_for(list[Matching]), {"inner": [[]] * many, "other": LONG}
        reads.clear()
        with pytest.raises(ValueError, match="got `array`"):
            maker.make([wrong, *[[]] * many], is_json=True)
        counts.append(len(reads))
    assert counts[0] >= counts[1]


class Parent(msgspec.Struct):
    price: Decimal
    children: list[Parent] = []
    parent: Parent | None = None

    def __post_init__(self) -> None:
        for one in self.children:
            one.parent = self


def test_numbers_of_a_recursive_structure_are_checked_once() -> None:
    made: Any = maker_for(Parent).make({"price": 1, "children": [{"price": 2}]}, is_json=True)
    assert made.children[0].parent is made
    with pytest.raises(ValueError, match="Expected a number from"):
        maker_for(Parent).make({"price": 1, "children": [{"price": "1e999"}]}, is_json=True)


def test_a_recursive_type_is_read_once() -> None:
    """In Python 3.12 and later, ``class Box[T: Box[T]]`` has such a bound."""
    new_type: Any = typing.NewType
    own = new_type("own", int)
    own.__supertype__ = around = GenericAlias(list, own)
    assert kinds_in(own) == (own, around)


def test_what_is_known_of_annotations_is_limited() -> None:
    asked: list[object] = []

    @remembered
    def ask(hint: object, number: int = 0) -> object:
        asked.append(hint)
        return hint, number

    hints = [Annotated[int, [number]] for number in range(1001)]
    for hint in hints:
        assert ask(hint) == ask(hint) == (hint, 0)
        assert ask(hint, 1) == (hint, 1)
    assert asked == [one for one in hints for _ in range(2)]
    ask(hints[0])
    assert asked[-1] == hints[0]


class AnyNumber(enum.IntFlag):
    ONE = 1


class OneNumber(enum.IntFlag, boundary=enum.STRICT):
    ONE = 1


@pytest.mark.parametrize(
    "make",
    [
        lambda hint: msgspec.defstruct("Rights", [("rights", hint)]),
        lambda hint: pydantic.create_model("Rights", rights=(hint, ...)),
    ],
)
def test_R28_a_client_cannot_create_members_of_a_flag(make: Any) -> None:
    """The class keeps each of them, and a set of an Enum has no limit."""
    with pytest.raises(SetupError, match=r"class AnyNumber\(\.\.\., boundary=STRICT\)"):
        maker_for(make(list[AnyNumber]))
    assert maker_for(make(list[OneNumber])).make({"rights": [1]}, is_json=True)


class Texts(pydantic.BaseModel):
    numbers: Annotated[list[pydantic.Json[list[int]]], "any"] = []
    anything: pydantic.Json[Any] = None


class TextOfSet(pydantic.BaseModel):
    ids: pydantic.Json[set[int]]


class TextOfDict(pydantic.BaseModel):
    names: list[pydantic.Json[dict[int, str]] | None] = []


class TextOfModel(pydantic.BaseModel):
    account: pydantic.Json[AccountModel]


@dataclass
class AroundText:
    inner: TextOfSet


@pytest.mark.parametrize("kind", [TextOfSet, TextOfDict, TextOfModel, AroundText])
def test_R28_a_type_of_json_text_cannot_contain_bounded_types(kind: Any) -> None:
    with pytest.raises(SetupError, match=r"pydantic's Json\[set.* write Json\[list"):
        taking(kind)._micropie.compiled()


def test_a_parameter_may_be_json_text(make_client: MakeClient) -> None:
    client = make_client(taking(Texts, lambda texts: texts))
    sent = {"numbers": ["[1, 2]"], "anything": '{"a": 1}'}
    assert answer(client.post("/page", json=sent)) == {"numbers": [[1, 2]], "anything": {"a": 1}}


class Deep(msgspec.Struct):
    number: int = 0
    inner: Deep | None = None
    anything: Any = None


class DeepModel(pydantic.BaseModel, strict=True):
    day: date | None = None
    inner: DeepModel | None = None
    anything: Any = None


@pytest.mark.parametrize("kind", [Deep, DeepModel])
def test_a_document_nested_beyond_recursion_raises_value_error(kind: Any) -> None:
    document: dict[str, Any] = {"number": 5.0, "day": "x"}
    for _ in range(2_000):
        document = {"inner": document}
    with pytest.raises(ValueError, match=r"fewer levels|[Rr]ecursion|Expected `int`"):
        maker_for(kind).make(document, is_json=True)


class Points(msgspec.Struct):
    points: set[Any]


def test_a_set_of_lists_gets_a_400(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = {"points": [[1, 2]]}
    assert make_client(taking(Points)).post("/page", json=sent).status_code == 400

    def convert(*_: object, **__: object) -> None:
        """Raise what releases before 0.23 raise."""
        raise TypeError("unhashable type: 'list'")

    monkeypatch.setattr(msgspec, "convert", convert)
    with pytest.raises(ValueError, match="Expected hashable values"):
        maker_for(Points).make(sent, is_json=True)


@pytest.mark.parametrize("kind", [Deep, DeepModel])
@pytest.mark.parametrize("levels", [90, 500, 1000, 1100])
def test_deeply_nested_json_is_accepted_or_gets_a_400(
    make_client: MakeClient, kind: Any, levels: int
) -> None:
    client = make_client(taking(kind))
    around, inside = "[" * levels, "]" * levels
    for text in (
        '{"inner":' * levels + "{}" + "}" * levels,
        f'{{"anything":{around}{inside}}}',
        f'{{"number":"x","day":"x","anything":{around}{inside}}}',
        f'{{"number":5.0,"day":"2026-01-31","anything":{around}{inside}}}',
    ):
        answer = client.post("/page", content=text, headers=JSON_TYPE)
        assert answer.status_code in ((400,) if levels > 1000 else (200, 400))


def test_numbers_of_pydantic_models_and_forms_are_finite(make_client: MakeClient) -> None:
    model, form, scale = (make_client(taking(kind)) for kind in (AccountModel, Account, Scale))
    for document in ({"weight": "nan"}, {"weight": "1e999"}, {"prices": [{"a": ["1", "1e5000"]}]}):
        assert model.post("/page", json=document).status_code == 400, document
    for fields in ({"weight": "nan"}, {"weight": "-inf"}, {"price": "1e300000"}, {"price": "nan"}):
        assert form.post("/page", data=fields).status_code == 400, fields
    for text in ("nan", "inf"):
        assert scale.post("/page", data={"weight": text}).status_code == 400
    assert scale.post("/page", data={"weight": "1.5"}).text == "made"
    assert model.post("/page", json={"weight": "1.5", "prices": [{"a": ["1"]}]}).text == "made"
    assert form.post("/page", data={"weight": "1.5", "price": "2"}).text == "made"


class PriceList(pydantic.RootModel[list[Decimal]]):
    """A list without a name."""


@pydantic.dataclasses.dataclass
class Crate:
    weight: float = pydantic.Field(alias="Weight", default=1.0)


class Depot(pydantic.BaseModel):
    price: Decimal = pydantic.Field(alias="Price", default=Decimal(1))
    prices: PriceList = PriceList([])
    parcel: Crate | None = None
    named: dict[str, dict[Decimal, float]] = {}
    sizes: set[float] = set()
    either: Decimal | list[Decimal] = Decimal(1)
    several: Crate | PriceList | None = None


A_DECIMAL = "Please enter a decimal number."
A_NUMBER = "Please enter a number."


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"Price": "1e999"}, ("Price", A_DECIMAL, "1e999")),
        ({"prices": ["1", "1e999"]}, ("prices[1]", A_DECIMAL, "1e999")),
        ({"parcel": {"Weight": "inf"}}, ("parcel.Weight", A_NUMBER, "inf")),
        ({"named": {"a.b": {"1": "inf"}}}, ("named.a.b.1", A_NUMBER, "inf")),
        ({"named": {"k" * 300: {"1": "nan"}}}, (f"named.{'k' * 200}....1", A_NUMBER, "nan")),
        ({"sizes": ["inf"]}, ("sizes", A_NUMBER, ["inf"])),
        ({"either": ["1e999"]}, ("either[0]", A_DECIMAL, "1e999")),
        ({"several": {"Weight": "nan"}}, ("several.Weight", A_NUMBER, "nan")),
        ({"several": ["1e999"]}, ("several[0]", "Please enter another value.", "1e999")),
    ],
)
def test_a_number_that_pydantic_accepts_is_refused_at_its_path(
    make_client: MakeClient, document: Any, expected: tuple[str, str, object]
) -> None:
    app = App()

    @app.post("/")
    def page(errors: BindingErrors, depot: Depot | None = None) -> list[Any]:
        return [(one.field, str(one), one.given) for one in errors]

    assert make_client(app).post("/", json=document).json() == [[*expected]]


class Limits(msgspec.Struct):
    low: float = -math.inf
    high: float = math.inf
    exact: Decimal = Decimal("1e400")


class OuterLimits(msgspec.Struct):
    inner: Limits = msgspec.field(default_factory=Limits)
    other: Decimal | None = None


@dataclasses.dataclass
class LimitsClass:
    low: float = -math.inf
    exact: Decimal = Decimal("-Infinity")


class LimitsModel(pydantic.BaseModel):
    low: float = -math.inf
    exact: Decimal = Decimal("Infinity")


@pytest.mark.parametrize("kind", [Limits, OuterLimits, LimitsClass, LimitsModel])
def test_defaults_may_be_infinite_but_a_client_s_values_may_not(
    make_client: MakeClient, kind: Any
) -> None:
    given = make_client(taking(kind, repr))
    asked = make_client(taking(Annotated[kind, Query()], repr))
    expected = repr(kind())
    assert given.post("/page", json={}).text == expected
    assert given.post("/page", data={"unknown": "1"}).text == expected
    assert asked.get("/page").text == expected
    for text in "inf", "-inf", "nan", "1e400":
        assert asked.get("/page", params={"low": text, "other": text}).status_code == 400
        assert given.post("/page", data={"exact": text, "other": text}).status_code == 400


Ids = typing.NewType("Ids", set[int])


class Kind(enum.Enum):
    A = "a"


@pytest.mark.parametrize(
    ("kind", "is_bounded"),
    [
        (set[str], False),
        (set[Kind], False),
        (set[Literal[1]], True),
        (set, True),
        (frozenset[tuple[int, ...]], True),
        (dict[str, int], False),
        (dict, False),
        (dict[int, str], True),
        (list[int], False),
        (Optional[list[dict[Decimal, int]]], True),
        (Annotated[set[int], []], True),
        (list[Annotated[set[int], []]], True),
        (Ids, True),
        (Literal["a", "b"], False),
    ],
)
def test_only_hashes_that_a_client_can_choose_are_bounded(kind: Any, is_bounded: bool) -> None:
    made = dataclasses.make_dataclass(
        "Made", [("values", kind, None), ("rows", list[int], field(default_factory=list))]
    )
    make = functools.partial(maker_for(made).make, is_json=True)
    make({"rows": [0] * 1000})
    with (
        pytest.raises(ValueError, match="at most 1000") if is_bounded else contextlib.nullcontext()
    ):
        make({"rows": [0] * 1001})


class Part(pydantic.BaseModel, arbitrary_types_allowed=True):
    share: Fraction


def test_a_fraction_in_a_structure_fails_at_setup() -> None:
    with pytest.raises(SetupError, match=r"'item': it is a Part with a Fraction.*use a Decimal"):
        taking(Part)._micropie.compiled()


@dataclass
class Picture:
    photo: UploadFile


class Pictures(msgspec.Struct):
    photos: list[UploadFile]
    cover: Picture | None = None


class Framed(pydantic.BaseModel, arbitrary_types_allowed=True):
    photo: UploadFile | None = None


@pytest.mark.parametrize("kind", [Picture, Pictures, Framed])
def test_a_file_in_a_structure_fails_at_setup(kind: Any) -> None:
    with pytest.raises(
        SetupError, match=r"'item': .*contains an UploadFile.*add one, such as photo: UploadFile"
    ):
        structure_app(kind)._micropie.compiled()


@dataclasses.dataclass
class Member:
    name: str
    is_admin: bool = field(default=False, init=False)


Item = TypeVar("Item")


@dataclasses.dataclass
class Badge(Generic[Item]):
    value: Item
    is_admin: bool = field(default=False, init=False)


@dataclasses.dataclass
class Club:
    badges: list[Badge[int]]


class Crew(pydantic.BaseModel):
    leader: Member


@pytest.mark.parametrize("kind", [Member, list[Member], Annotated[Member, Form()], Club])
def test_R78_a_field_with_init_false_is_refused_at_setup(kind: Any) -> None:
    """msgspec fills it all the same: a client could make itself an administrator."""
    with pytest.raises(
        SetupError, match=r"must not set (Member|Badge)\.is_admin, which has init=False"
    ):
        taking(kind)._micropie.compiled()


def test_R78_pydantic_fills_no_field_outside_the_constructor(
    make_client: MakeClient,
) -> None:
    response = make_client(taking(Crew, lambda crew: crew.leader.is_admin)).post(
        "/page", json={"leader": {"name": "x", "is_admin": True}}
    )
    assert response.status_code == 400 or response.json() is False


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Icing(msgspec.Struct):
    colours: dict[str, list[Colour | None]] = {}
    kind: Literal["thin", "thick"] = "thin"


class Cake(msgspec.Struct):
    icings: list[Icing] = []
    shade: Colour = msgspec.field(name="renamed", default=Colour.RED)


@pytest.mark.parametrize(
    ("cake", "problem"),
    [
        ({"icings": [{"kind": "<odd>"}]}, "Expected one of thin, thick - at `$.icings[0].kind`"),
        (
            {"icings": [{"colours": {"a": ["<odd>"]}}]},
            "Expected one of red, blue - at `$.icings[0].colours.a[0]`",
        ),
        ({"renamed": "<odd>"}, "Expected one of red, blue - at `$.renamed`"),
        ({"icings": [{"kind": 5}]}, "Expected `str`, got `int` - at `$.icings[0].kind`"),
    ],
)
def test_the_error_for_an_unknown_enum_value_does_not_repeat_it(
    make_client: MakeClient, cake: object, problem: str
) -> None:
    answer = make_client(taking(Cake)).post("/page", json=cake)
    assert (answer.status_code, said(answer)) == (400, f"Parameter 'item' is invalid: {problem}.")


@pytest.mark.parametrize("kind", [list[AStruct], list[AModel]])
def test_the_error_for_a_wrong_list_element_has_its_index(
    make_client: MakeClient, kind: Any
) -> None:
    client = make_client(taking(kind, len))
    for sent, path in (
        ([{"name": "x"}, {"name": "y"}, {"name": 5}], [2, "name"]),
        ({"name": "x"}, []),
    ):
        response = client.post("/page", json=sent)
        assert response.status_code == 400
        assert [one["path"] for one in response.json()["errors"]] == [path]
    assert client.post("/page", json=[{"name": "x"}] * 2).text == "2"


@pytest.mark.parametrize(
    ("count", "problem"), [(100, "tags.0: Input should be"), (101, "101 values are invalid.")]
)
def test_R28_many_errors_in_one_body_are_only_counted(
    make_client: MakeClient, count: int, problem: str
) -> None:
    response = make_client(taking(AModel)).post("/page", json={"name": "x", "tags": [1] * count})
    assert response.status_code == 400
    assert said(response).startswith(f"Parameter 'item' is invalid: {problem}")
    found = response.json()["errors"][0]["expected"]
    assert found == ("text" if count == 100 else "101 values are invalid")


def test_R28_many_wrong_values_by_name_are_not_all_reported(make_client: MakeClient) -> None:
    def handler(**values: int) -> None: ...

    response = make_client(app_of(handler)).post(
        "/page", json={f"n{one}": "x" for one in range(500)}
    )
    assert len(response.json()["errors"]) == 100


# -- parameters that no request fills --------------------------------------------------------------


class Prices(App):
    def pay(self, number: int, _discount: int = 0) -> list[Any]:
        return [number, _discount]

    def named(self, number: int, *, _discount: int = 0, **others: Any) -> list[Any]:
        return [number, _discount, others]

    @get("/explicit/<number:int>")
    def explicit(self, number: int, _discount: int = 0) -> list[Any]:
        return [number, _discount]

    def rest(self, *_parts: str) -> list[Any]:
        return [*_parts]


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/pay/5", [5, 0]),
        ("/pay/5?_discount=99", [5, 0]),
        ("/pay?number=5&_discount=99", [5, 0]),
        ("/pay/5/99", 404),
        ("/named/5?_discount=99&more=1", [5, 0, {"more": "1"}]),
        ("/explicit/5?_discount=99", [5, 0]),
        ("/rest/a/b", ["a", "b"]),
    ],
)
def test_R78_no_query_fills_a_name_that_begins_with_an_underscore(
    make_client: MakeClient, target: str, answer: Any
) -> None:
    found = make_client(Prices()).get(target)
    assert (found.json() if found.status_code == 200 else found.status_code) == answer


@pytest.mark.parametrize(
    "sent", [{"json": {"number": 5, "_discount": 99}}, {"data": {"number": 5, "_discount": 99}}]
)
@pytest.mark.parametrize("path", ["/pay", "/named"])
def test_R78_no_body_fills_a_name_that_begins_with_an_underscore(
    make_client: MakeClient, path: str, sent: Any
) -> None:
    assert make_client(Prices()).post(path, **sent).json()[:2] == [5, 0]


@pytest.mark.parametrize(
    "handler",
    [
        lambda _name: "",
        lambda name, *, _other: "",
        lambda _name="", *rest: "",
        lambda _name="", other="": "",
        lambda name, _form=None, *rest, _other=1, **others: "",
    ],
)
def test_a_parameter_that_begins_with_an_underscore_needs_a_default_and_must_be_last(
    handler: Any,
) -> None:
    with pytest.raises(
        SetupError,
        match=r"requests can't fill its parameter '_\w+', because the name begins with _",
    ):
        app_of(handler)._micropie.compiled()


def test_a_wildcard_cannot_fill_a_name_that_begins_with_an_underscore() -> None:
    with pytest.raises(SetupError, match=r"has <_name>, but .*<lambda> has no parameter '_name'"):
        app_of(lambda _name="": "", "/page/<_name>")._micropie.compiled()


@pytest.mark.parametrize(
    "annotation",
    [
        Annotated[int, Query()],
        Annotated[int, Query("n")],
        Annotated[int, Header()],
        Annotated[int, Cookie()],
        Annotated[int, Body()],
        Request,
        BindingErrors,
        UploadFile,
        ADataclass,
        list[ADataclass],
        dict[str, int],
    ],
)
@pytest.mark.parametrize("path", ["/page/<number:int>", "/page/<other>/<number:int>"])
def test_a_wildcard_cannot_fill_a_parameter_with_another_source(annotation: Any, path: str) -> None:
    def page(number: Any, other: str = "") -> str:
        return str(number) + other

    page.__annotations__["number"] = annotation
    app = App()
    app.post(path)(page)
    with pytest.raises(SetupError, match=r"the path can't fill the parameter 'number' of .*page:"):
        app._micropie.compiled()


class Connection:
    """A resource."""


def test_a_provider_may_fill_a_name_that_begins_with_an_underscore(make_client: MakeClient) -> None:
    app = App()
    app.provides(Connection)(Connection)

    @app.get("/<number:int>")
    def page(number: int, _connection: Connection) -> str:
        return type(_connection).__name__

    assert make_client(app).get("/5").text == "Connection"
