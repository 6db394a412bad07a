"""Sources that an annotation states: Header, Cookie, Query, Form, Body."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import annotated_types as at
import msgspec
import pydantic
import pytest

from micropie import (
    App,
    BindingErrors,
    Body,
    Cookie,
    Form,
    Header,
    Query,
    Request,
    SetupError,
    UploadFile,
    WebSocket,
    post,
    reads_body,
    route,
)
from micropie._core.binding.signatures.sources import Source
from tests.support.clients import MakeClient


@dataclass
class Most:
    most: int = 10


@dataclass
class Filter:
    kind: str
    most: int = 10


@dataclass
class Place:
    street: str


@dataclass
class Placed:
    place: Place


class Shop(App):
    def header(self, name: str, token: Annotated[str, Header("X-Token")]) -> Any:
        return [name, token]

    def short(
        self,
        *,
        x_number: Annotated[int, Header, at.Ge(1)] = 5,
        user_agent: Annotated[str | None, Header()],
    ) -> Any:
        return [x_number, user_agent]

    def around(
        self, token: Annotated[Annotated[str, Header("X-Token")] | None, at.MaxLen(3)] = None
    ) -> Any:
        return token

    def headers(self, x_pie: Annotated[list[int], Header()]) -> Any:
        return x_pie

    def cookie(
        self, theme: Annotated[str, Cookie()] = "light", n: Annotated[int, Cookie("number")] = 0
    ) -> Any:
        return [theme, n]

    def query(self, page: Annotated[int, Query("p")] = 1) -> Any:
        return page * [page]

    @post
    def both(self, a: Annotated[str, Query()], b: Annotated[str, Form()]) -> Any:
        return [a, b]

    def pies(self, wanted: Annotated[Filter, Query()]) -> Any:
        return [wanted.kind, wanted.most]

    def filtered(self, wanted: Annotated[Filter | None, Query()] = None) -> Any:
        return str(wanted and wanted.kind)

    def required(self, wanted: Annotated[Filter | None, Query()]) -> Any:
        return str(wanted and wanted.kind)

    def without(self, wanted: Annotated[Most | None, Query()]) -> Any:
        return str(wanted and wanted.most)

    def beside(self, *, wanted: Annotated[Placed | None, Query()], page: int = 1) -> Any:
        return [wanted and wanted.place.street, page]

    @post
    def filled(self, wanted: Annotated[Filter, Form()] = Filter("cake")) -> Any:  # noqa: B008
        return wanted.kind

    def told(self, errors: BindingErrors, token: Annotated[int, Header("X-Token")]) -> Any:
        return [[error.parameter, error.source, error.expected, error.given] for error in errors]

    @post
    def form(self, wanted: Annotated[Filter, Form()]) -> Any:
        return [wanted.kind, wanted.most]

    @post
    def body(self, order: Annotated[dict[str, int], Body()]) -> Any:
        return order

    @post
    def whole(self, wanted: Annotated[Filter, Body()]) -> Any:
        return [wanted.kind, wanted.most]

    async def ws_echo(self, ws: WebSocket, token: Annotated[str, Header("X-Token")]) -> None:
        await ws.accept()
        await ws.send_text(token)


def test_a_parameter_can_be_read_from_a_header(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert client.get("/header/Ann", headers={"X-Token": "a"}).json() == ["Ann", "a"]
    assert client.get("/header?name=Ann&token=b", headers={"X-Token": "a"}).json() == ["Ann", "a"]
    missing = client.get("/header/Ann?token=b")
    seen = (missing.status_code, missing.text)
    assert seen == (400, "Header 'X-Token' is missing; expected text.")
    assert client.get("/header/Ann/b", headers={"X-Token": "a"}).status_code == 404
    found = client.get("/short", headers={"X-Number": "7", "User-Agent": "test"}).json()
    assert found == [7, "test"]
    client.headers.pop("user-agent")
    assert client.get("/short").json() == [5, None]
    wrong = client.get("/short", headers={"X-Number": "0"})
    assert (wrong.status_code, wrong.text) == (
        400,
        "Header 'x-number' must be a whole number, at least 1.",
    )
    assert client.get("/headers", headers={"X-Pie": "1"}).json() == [1]
    problem = client.get("/header/Ann", headers={"Accept": "application/json"}).json()
    assert problem["errors"][0]["parameter"] == "token"


def test_a_parameter_can_be_read_from_a_cookie_but_not_from_the_query(
    make_client: MakeClient,
) -> None:
    client = make_client(Shop())
    assert client.get("/cookie?theme=dark").json() == ["light", 0]
    assert client.get("/cookie", headers={"Cookie": "theme=dark; number=3"}).json() == ["dark", 3]
    found = client.get("/cookie", headers={"Cookie": "number=x"}).text
    assert found == "Cookie 'number' must be a whole number."
    seen = (client.get("/query?p=2&page=3").json(), client.get("/query?page=3").json())
    assert seen == ([2, 2], [1])
    assert client.get("/query?p=2&p=3").json() == [2, 2]
    assert client.get("/query/3").status_code == 404
    assert client.post("/both?a=1&b=2", data={"a": "3", "b": "4"}).json() == ["1", "4"]
    assert client.post("/both?a=1&b=2").text == "Form 'b' is missing; expected text."


def test_a_structure_can_take_all_values_of_a_source(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert client.get("/pies?kind=apple&most=3").json() == ["apple", 3]
    assert client.get("/pies?kind=apple").json() == ["apple", 10]
    answer = client.get("/pies?most=x")
    assert (answer.status_code, answer.text.startswith("The query is invalid: ")) == (400, True)
    assert client.post("/form?kind=a", data={"kind": "b"}).json() == ["b", 10]
    assert client.post("/form?kind=a").status_code == 400
    assert client.post("/body", json={"a": 1}).json() == {"a": 1}
    assert client.post("/body", json={"a": "x"}, headers={"Accept": "text/plain"}).text.startswith(
        "The JSON body must be"
    )
    assert client.post("/body").status_code == 400
    assert client.post("/whole", json={"kind": "c"}).json() == ["c", 10]


def test_a_source_may_be_in_an_optional_type_inside_annotated(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert client.get("/around?token=abc").content == b""
    assert client.get("/around", headers={"X-Token": "abc"}).text == "abc"
    assert client.get("/around", headers={"X-Token": "abcd"}).status_code == 400


def test_a_structure_that_takes_a_source_may_have_a_default(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert client.get("/filtered").text == "None"
    assert client.get("/filtered?kind=apple").text == "apple"
    assert client.get("/filtered?most=5").status_code == 400
    answers = [client.get(path).text for path in ("/required", "/required?kind=pie", "/without")]
    assert answers == ["None", "pie", "10"]
    assert client.get("/required?most=5").status_code == 400
    assert client.get("/required?other=5").text == "None"
    beside = [client.get(f"/beside?{query}").json() for query in ("page=2", "place.street=Elm")]
    assert beside == [[None, 2], ["Elm", 1]]
    seen = (client.post("/filled").text, client.post("/filled", data={"kind": "pie"}).text)
    assert seen == ("cake", "pie")
    is_form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/filled", content=b"", headers=is_form).status_code == 400


class StrictStruct(msgspec.Struct, forbid_unknown_fields=True):
    a: int
    tags: list[str] = []


class OtherStruct(msgspec.Struct, forbid_unknown_fields=True):
    b: int = 0


class StrictModel(pydantic.BaseModel, extra="forbid"):
    a: int
    tags: list[str] = []


class OpenModel(pydantic.BaseModel, extra="allow"):
    a: int


@dataclass
class Opened:
    """A resource."""

    token: str


@pytest.mark.parametrize("kind", [StrictStruct, StrictModel, OpenModel])
def test_a_structure_does_not_get_the_names_of_other_parameters(
    make_client: MakeClient, kind: Any
) -> None:
    def search(
        wanted: Any, others: OtherStruct, opened: Opened, page: int = 1, ids: Any = ()
    ) -> Any:
        extra = getattr(wanted, "model_extra", None) or {}
        return [extra, wanted.a, others.b, page, ids, opened.token]

    def opened(token: str = "") -> Opened:
        return Opened(token)

    def fill(wanted: Any, photo: UploadFile, note: Any) -> Any:
        return [getattr(wanted, "model_extra", None) or {}, wanted.a, photo.filename, note]

    search.__annotations__ |= {
        "wanted": Annotated[kind, Query()],
        "others": Annotated[OtherStruct, Query()],
        "ids": Annotated[list[int], Query()],
        "opened": Opened,
    }
    fill.__annotations__ |= {"wanted": kind, "note": Annotated[str, Form()]}
    app = App()
    app.provides(Opened)(opened)
    app.get("/search")(search)
    app.post("/fill")(fill)
    client = make_client(app)
    values: Any = {"wanted": kind(a=1), "others": OtherStruct(2), "ids": [4], "token": "t"}
    assert client.get(app.url_for("search", **values)).json() == [{}, 1, 2, 1, [4], "t"]
    assert client.get("/search?a=1&b=2&ids[]=4&page=3").json() == [{}, 1, 2, 3, [4], ""]
    is_open = kind is OpenModel
    assert client.get("/search?a=1&more=2").status_code == 400  # OtherStruct refuses it
    answer = client.post("/fill", data={"a": "1", "note": "x"}, files={"photo": ("p", b"1")})
    assert answer.json() == [{}, 1, "p", "x"]
    data = {"a": "1", "note": "x", "more": "2"}
    answer = client.post("/fill", data=data, files={"photo": ("p", b"1")})
    assert answer.status_code == (200 if is_open else 400)
    assert not is_open or answer.json()[0] == {"more": "2"}


def test_R4_a_repeated_header_is_one_value_under_every_protocol(make_client: MakeClient) -> None:
    """The first may be the client's own, and the second what its proxy added."""
    client = make_client(Shop())
    twice = [("X-Token", "theirs"), ("X-Token", "ours")]
    name, token = client.get("/header/Ann", headers=twice).json()
    # WSGI servers join with and without a blank
    assert (name, token.replace(", ", ",")) == ("Ann", "theirs,ours")
    assert client.get("/short", headers=[("X-Number", "7"), ("X-Number", "8")]).status_code == 400


def test_errors_report_missing_and_wrong_headers(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert client.get("/told").json() == [["token", "", "a whole number", None]]
    found = client.get("/told", headers={"X-Token": "x"}).json()
    assert found == [["token", "header", "a whole number", "x"]]


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_websocket_can_read_headers_and_cookies(connect: MakeClient, world: str) -> None:
    with connect(Shop(), world).websocket("/echo", headers={"X-Token": "a"}) as ws:
        assert ws.receive_text() == "a"


def test_openapi_declares_the_source_of_each_parameter() -> None:
    paths = Shop().openapi()["paths"]
    places = {
        path: [
            (one["name"], one["in"], one["required"])
            for one in (paths[path].get("get") or paths[path]["post"])["parameters"]
        ]
        for path in ("/header/{name}", "/short", "/cookie", "/query", "/both", "/pies")
    }
    assert places == {
        "/header/{name}": [("name", "path", True), ("X-Token", "header", True)],
        "/short": [("x-number", "header", False), ("user-agent", "header", False)],
        "/cookie": [("theme", "cookie", False), ("number", "cookie", False)],
        "/query": [("p", "query", False)],
        "/both": [("a", "query", True)],
        "/pies": [("kind", "query", True), ("most", "query", False)],
    }


def odd(token: Annotated[complex, Header()]) -> None: ...
def odd_names(**names: complex) -> None: ...
def early(token: Annotated[str, Header()], name: str) -> None: ...
def between(token: Annotated[str, Header()], name: str, page: Annotated[int, Query()]) -> None: ...
def early_request(request: Request, name: str) -> None: ...
def early_whole(wanted: Annotated[Filter, Query()], name: str) -> None: ...
@reads_body
def read(wanted: Annotated[Filter, Form()]) -> None: ...
def two(token: Annotated[str, Header(), Query()]) -> None: ...
def two_inside(token: Annotated[Annotated[str, Header()] | None, Query()]) -> None: ...
def inside(tokens: list[Annotated[str, Header("X-Token")]]) -> None: ...
def one_of_two(token: Annotated[str, Header("X-Token")] | int) -> None: ...
def whole(wanted: Annotated[Filter, Header()]) -> None: ...
def many(wanted: Annotated[list[Filter], Query()]) -> None: ...
def in_brackets(tokens: [int]) -> None: ...  # type: ignore[misc,valid-type]
def in_braces(tokens: {int}) -> None: ...  # type: ignore[valid-type]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (odd, "parameter 'token': it is annotated with <class 'complex'>"),
        (odd_names, "parameter 'names': it is annotated with <class 'complex'>"),
        (
            read,
            "'wanted' takes the fields of a Filter, but @reads_body leaves the body to the handler",
        ),
        (two, r"declares two sources, Header\(None\) and Query\(None\)"),
        (two_inside, r"declares two sources, Header\(None\) and Query\(None\)"),
        (inside, r"'tokens': Header\('X-Token'\) has no effect inside its annotation: write it"),
        (one_of_two, r"'token': Header\('X-Token'\) has no effect inside its annotation"),
        (
            whole,
            r"'wanted': a class that has fields needs Query\(\), Form\(\) or Body\(\)",
        ),
        (many, r"a list or dict of its objects needs Body\(\)"),
        (in_brackets, r"'tokens': it is annotated with \[<class 'int'>\], which is no type"),
        (in_braces, r"'tokens': it is annotated with {<class 'int'>}, which is no type"),
    ],
)
def test_an_annotation_that_cannot_be_bound_fails_at_setup(function: Any, reason: str) -> None:
    app = App()
    app.get("/")(function)
    with pytest.raises(SetupError, match=reason):
        app._micropie.compiled()


def rest(token: Annotated[str, Header()], name: str, *others: str) -> None: ...


@pytest.mark.parametrize(
    ("function", "first"),
    [
        (early, "token"),
        (between, "token"),
        (early_request, "request"),
        (early_whole, "wanted"),
        (rest, "token"),
    ],
)
@pytest.mark.parametrize("place", ["page", "index"])
def test_parameters_that_the_path_may_fill_come_first(
    function: Any, first: str, place: str
) -> None:
    reason = f"'{first}' can't get its value from the path, but comes before 'name', which can"
    app = App()
    setattr(app, place, route()(function))
    if place == "index" and function is not rest:  # only *args get segments
        app._micropie.compiled()
        return
    with pytest.raises(SetupError, match=reason):
        app._micropie.compiled()


def test_the_parameters_of_an_explicit_route_may_have_any_order(make_client: MakeClient) -> None:
    app = App()

    @app.get("/pies/<number:int>/<rest:path>")
    def pie(
        request: Request,
        rest: str,
        token: Annotated[str, Header("X-Token")],
        number: int,
        page: int = 1,
    ) -> list[Any]:
        return [request.method, rest, token, number, page]

    @app.get("/found")
    def found(wanted: Annotated[Filter, Query()], page: int) -> list[Any]:
        return [wanted.kind, page]

    @app.get("/")
    def index(request: Request, page: int = 1) -> list[Any]:
        return [request.path, page]

    client = make_client(app, headers={"X-Token": "a"})
    assert client.get("/pies/3/x/y?page=2").json() == ["GET", "x/y", "a", 3, 2]
    assert client.get("/found?kind=apple&page=4").json() == ["apple", 4]
    assert client.get("/found/4?kind=apple").status_code == 404
    assert client.get("/?page=2").json() == ["/", 2]
    assert app.url_for("pie", number=3, rest="x/y", page=2) == "/pies/3/x/y?page=2"


class Boxed:
    """An own type, made of an object."""


class Packed:
    """An own type, made of a list."""


def box(given: dict[str, int]) -> Boxed: ...  # type: ignore[empty-body]
def pack(given: list[int]) -> Packed: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    "kind",
    [
        dict,
        dict[str, str],
        dict[str, str] | None,
        list[dict[str, str]],
        dict[str, int] | list[dict[str, int]],
        Boxed,
        Packed,
    ],
)
@pytest.mark.parametrize("source", [Query(), Form("b"), Header(), Cookie()])
def test_a_type_without_a_text_converter_cannot_come_from_text_sources(
    kind: Any, source: Source
) -> None:
    def handler(a: Any = None) -> None: ...

    handler.__annotations__["a"] = Annotated[kind, source]
    app = App(decoders={Boxed: box, Packed: pack})
    app.get("/")(handler)
    with pytest.raises(
        SetupError,
        match=f"parameter 'a': the {source.place} contains only text, which can't be converted to .*: annotate the parameter",
    ):
        app._micropie.compiled()


def test_a_header_may_have_one_of_several_types(make_client: MakeClient) -> None:
    class Site(App):
        def either(self, n: Annotated[dict[str, int] | int, Query()]) -> Any:
            return [n]

        def few(self, n: Annotated[list[int | None], Query()]) -> Any:
            return n

    client = make_client(Site())
    assert (client.get("/either?n=5").json(), client.get("/few?n=5&n=").json()) == ([5], [5, None])


def test_a_whole_body_has_no_name() -> None:
    with pytest.raises(
        SetupError,
        match=r"Body\('order'\).*write Body\(\), and annotate the parameter with a class that has a field 'order'",
    ):
        Body("order")  # type: ignore[arg-type]


def test_parameters_that_no_path_fills_may_follow_a_source(make_client: MakeClient) -> None:
    class Site(App):
        @post
        def pies(
            self,
            page: Annotated[int, Query()],
            wanted: Annotated[Filter, Body()],
            errors: BindingErrors,
        ) -> Any:
            return [page, wanted.kind, len(errors)]

        @post
        def photo(self, page: Annotated[int, Query()], photo: UploadFile) -> Any:
            return [page, photo.filename]

    client = make_client(Site())
    assert client.post("/pies?page=2", json={"kind": "a"}).json() == [2, "a", 0]
    assert client.post("/photo?page=2", files={"photo": ("a", b"1")}).json() == [2, "a"]
    assert client.post("/pies/2", json={"kind": "a"}).status_code == 404


def test_form_can_name_the_input_of_a_file(make_client: MakeClient) -> None:
    class Site(App):
        @post
        def one(self, photo: Annotated[UploadFile, Form("photo-1")]) -> Any:
            return photo.filename

        @post
        def several(
            self,
            photos: Annotated[list[UploadFile], Form("photo-1")],
            cover: Annotated[UploadFile | None, Form()] = None,
        ) -> Any:
            return [len(photos), cover is None]

    app, sent = Site(), [("photo-1", ("a", b"1")), ("photo-1", ("b", b"2"))]
    client = make_client(app)
    assert client.post("/one", files=sent).text == "a"
    assert client.post("/several", files=sent).json() == [2, True]
    refused = client.post("/one", files={"photo": ("a", b"1")})
    assert refused.text == "Parameter 'photo-1' is missing; expected a file."
    body = app.openapi()["paths"]["/one"]["post"]["requestBody"]
    assert [*body["content"]["multipart/form-data"]["schema"]["properties"]] == ["photo-1"]


class Places(App):
    @post
    def number(self, n: int, *, errors: BindingErrors) -> Any:
        return _places(errors)

    @post
    def stated(
        self, n: Annotated[int, Form()], ns: Annotated[list[int], Form()], *, errors: BindingErrors
    ) -> Any:
        return _places(errors)

    @post
    def few(self, ns: Annotated[list[int], at.MinLen(2)], *, errors: BindingErrors) -> Any:
        return _places(errors)

    @post
    def body(self, wanted: Filter, *, errors: BindingErrors) -> Any:
        return _places(errors)

    @post
    def form(self, wanted: Annotated[Filter, Form()], *, errors: BindingErrors) -> Any:
        return _places(errors)

    @post
    def query(self, wanted: Annotated[Filter, Query()], *, errors: BindingErrors) -> Any:
        return _places(errors)


def _places(errors: BindingErrors) -> list[tuple[str, str, str]]:
    return [(one.parameter, one.source, one.field) for one in errors]


@pytest.mark.parametrize(
    ("path", "sent", "places"),
    [
        ("/number/x", {}, [["n", "path", "n"]]),
        ("/number?n=x", {}, [["n", "query", "n"]]),
        ("/number", {"data": {"n": "x"}}, [["n", "form", "n"]]),
        ("/number", {"json": {"n": "x"}}, [["n", "json", "n"]]),
        ("/number", {"files": {"n": b"x"}}, [["n", "file", "n"]]),
        ("/number", {}, [["n", "", "n"]]),
        (
            "/stated",
            {"data": {"n": "x", "ns": ["1", "x"]}},
            [["n", "form", "n"], ["ns", "form", "ns"]],
        ),
        ("/few?ns=1", {}, [["ns", "query", "ns"]]),
        ("/few", {"data": {"ns": "1"}}, [["ns", "form", "ns"]]),
        ("/few", {"data": {"other": "1"}}, [["ns", "form", "ns"]]),
        ("/body", {"json": {"kind": 1}}, [["wanted", "json", "kind"]]),
        ("/body", {"data": {"kind": "a", "most": "x"}}, [["wanted", "form", "most"]]),
        ("/form", {"data": {"kind": "a", "most": "x"}}, [["wanted", "form", "most"]]),
        ("/query?kind=a&most=x", {}, [["wanted", "query", "most"]]),
    ],
)
def test_an_error_reports_the_source_of_its_value(
    make_client: MakeClient, path: str, sent: dict[str, Any], places: list[list[str]]
) -> None:
    assert make_client(Places()).post(path, **sent).json() == places


@dataclass(frozen=True)
class Item:
    name: str = ""


class Whole(App):
    @post
    def anything(self, item: Annotated[Any, Body()]) -> Any:
        return {"item": item}

    @post
    def number(self, item: Annotated[int, Body()]) -> Any:
        return {"item": item}

    @post
    def maybe(self, item: Annotated[int | None, Body()] = 5) -> Any:
        return {"item": item}

    @post
    def exact(self, item: Annotated[Decimal | None, Body()] = Decimal(5)) -> Any:
        return {"item": item}

    @post
    def structure(self, item: Item | None = Item()) -> Any:
        return {"item": item}

    @post
    def five(self, item: Annotated[int, Body()] = 5) -> Any:
        return {"item": item}

    @post
    def one(self, item: Item = Item()) -> Any:
        return {"item": item}


@pytest.mark.parametrize("path", ["/maybe", "/exact", "/structure", "/five", "/one"])
def test_null_is_a_value_that_no_default_replaces(make_client: MakeClient, path: str) -> None:
    client, headers = make_client(Whole(errors="json")), {"content-type": "application/json"}
    response = client.post(path, content=b"null", headers=headers)
    is_valid = path not in ("/five", "/one")
    assert response.status_code == (200 if is_valid else 400)
    assert not is_valid or response.json() == {"item": None}
    assert client.post(path, content=b"", headers=headers).json()["item"] in (5, "5", {"name": ""})


def test_null_is_a_whole_body(make_client: MakeClient) -> None:
    client = make_client(Whole(errors="json"))
    headers = {"content-type": "application/json"}
    assert client.post("/anything", content=b"null", headers=headers).json() == {"item": None}
    for path, content in (("/anything", b""), ("/number", b"null")):
        assert client.post(path, content=content, headers=headers).status_code == 400
