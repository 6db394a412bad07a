"""What is right gets no hint, though it looks like an idiom of another framework."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections import UserList
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest

from micropie import (
    App,
    EventStream,
    HTTPError,
    Query,
    Response,
    WebSocket,
    describe,
    event,
    get,
    hidden,
    template,
)
from tests.support.clients import MakeClient


class Db: ...


class Strange:
    """An object whose comparison has no truth, as those of NumPy have."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment]


@dataclasses.dataclass
class Unhashable:
    def __call__(self) -> str:
        return "called"


class Descriptor:
    def __get__(self, instance: object, owner: type) -> str:
        if instance is None:
            raise RuntimeError("only of objects")
        return "x"


class Sane(App):
    """What is right, though some of it looks like what other frameworks have."""

    text = Strange()
    host = Descriptor()
    expose = 5
    processes, threads, translations = 3, 8, staticmethod(str)
    errors = "json"
    pies = UserList(["plum"])  # noqa: RUF012

    def __init__(self, **settings: Any) -> None:
        super().__init__(errors=self.errors, **settings)  # type: ignore[arg-type]
        self.path, self.prefix, self.guards = "/var/lib/shop.db", "/mnt", ["a"]
        self.dependencies, self.middleware = {"a": 1}, ["b"]
        self.methods = ["GET"]
        self.site = Site()
        self.mount("/site", self.site, "asgi")
        self.get("/strange")(Unhashable())
        self.provides(Db)(Db)

    @get("/talks/<session>/<db>")
    def talk(self, session, db):  # type: ignore[no-untyped-def]
        return session + db

    def startup(self) -> str:
        return "a page"

    def index(shop) -> str:  # noqa: N805
        return type(shop).__name__

    async def ws_talk(self, ws: ForTypeCheckers) -> None: ...  # type: ignore[name-defined] # noqa: F821

    def who(self, who: str) -> str:
        return who

    who.__annotations__["who"] = Annotated[str, Unhashable(), Query()]
    who.__annotations__["return"] = Annotated[str, Unhashable()]

    @hidden
    def clock(self) -> int:
        return 5


class Site:
    def index(self) -> None: ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"site"})


def test_correct_code_causes_no_hints_in_production(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Sane()
    app.clock = lambda: 6  # type: ignore[method-assign]
    client = make_client(app)
    for path, text in {
        "/talks/a/b": "ab",
        "/startup": "a page",
        "/site": "site",
        "/strange": "called",
        "/who?who=a": "a",
        "/": "Sane",
    }.items():
        assert client.get(path).text == text
    assert caplog.text == ""


def test_inspections_in_development_break_no_request(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    client = make_client(Sane(debug=True))
    assert client.get("/startup?a=%ff").text == "a page"
    assert client.get("/startup?" + "&".join(map("a{}=1".format, range(2000)))).text == "a page"
    assert client.get("/startu%0Ap").status_code == 404
    assert "no route matches '/startu\\np': did you mean /startup?" in caplog.text
    assert "has no effect" not in caplog.text
    assert "but not an App" not in caplog.text
    assert "from the client" not in caplog.text


class Outer(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.inner = Sane()
        self.mount("/inner", self.inner, isolated=True)


def test_an_isolated_application_is_no_lost_page(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Outer(debug=True))
    caplog.clear()
    assert client.get("/inner/nothing").status_code == 404
    assert "is not a page" not in caplog.text


class Pies(App):
    def text(self) -> bytes:
        return b"plum"

    def typed(self) -> bytes:
        self.response.content_type = "image/png"
        return b"\x89PNG"

    def events(self) -> Response:
        return EventStream([{"data": 1, "left": 2}, {"event": "tick"}, event(1)])

    def found(self, pie: str = "") -> str:
        return pie

    def stated(self) -> tuple[int, str]:
        return 201, "plum"

    def declared(self) -> tuple[Literal[201], str] | tuple[Literal[202], bytes]:
        return 202, b"plum"

    def number(self) -> int:
        return 204

    def headed(self) -> bytes:
        self.response.headers["content-type"] = "image/png"
        return b"\x89PNG"

    def deep(self) -> str:
        return "[" * 1100

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)

        @self.error(418)
        def empty(error: HTTPError) -> None: ...

    def teapot(self) -> str:
        raise HTTPError(418)

    def list_(self) -> str:
        return "handles /list"

    async def ws_chat(self, ws: WebSocket) -> None: ...

    @describe(responses={202: "It is baked."})
    def described(self) -> str:
        return 202, "plum"  # type: ignore[return-value]


def test_intentional_code_causes_no_hints(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Pies(debug=True))
    for path in (
        "/text",
        "/typed",
        "/events",
        "/found?other=1&pie=x",
        "/stated",
        "/declared",
        "/described",
    ):
        assert client.get(path).status_code in (200, 201, 202)
    for path in ("/number", "/headed", "/deep", "/teapot", "/list_", "/ws_chat"):
        assert client.get(path).status_code in (200, 404, 418)
    assert caplog.text == ""


def test_templates_look_up_names_without_hints(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Page(App):
        def asks(self) -> str:
            return str(template(source="{% if nobody %}{% endif %}"))

        def shows(self) -> str:
            return str(template(source="<{{ nobody }}>"))

        def looks(self) -> str:
            return str(template(source="<{{ request.query.q }}{{ session.user }}>"))

    assert make_client(Page(debug=True)).get("/asks").text == ""
    assert make_client(Page(debug=True)).get("/looks").text == "<>"
    assert make_client(Page()).get("/shows").text == "<>"
    assert caplog.text == ""


class Views(App):
    path = "pies"
    state = None  # type: ignore[assignment]

    @functools.cache  # noqa: B019 - what is tested
    def constant(self, name: str = "plum") -> str:
        return name

    def lines(self, name: str = "") -> Iterator[str]:
        if not name:
            return
        yield name

    def fails(self, name: str = "plum") -> str:
        return name + 1  # type: ignore[no-any-return, operator]

    def braces(self) -> str:
        return "{plum}"

    @get("/hook")
    def before_request(self) -> str:
        return "decorated"

    @get("/")
    def get(self) -> str:  # type: ignore[override]
        return "decorated"

    def upload(self, kind: Foreign) -> str:
        return str(kind.value)


class Foreign:
    """Stands for a class of Django's that the application has a decoder for."""

    __module__ = "django.db.models"

    def __init__(self, value: str) -> None:
        self.value = value


def test_intentional_code_of_an_application_is_not_reported(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Views(decoders={Foreign: Foreign}))
    assert client.get("/").text == client.get("/hook").text == "decorated"
    for path in ("/upload/plum", "/constant", "/lines?name=plum"):
        assert client.get(path).text == "plum"
    for path in ("/nothing", "/_hidden", "/mount", "/"):
        client.post(path)
    text = make_client(Views(decoders={Foreign: Foreign}, debug=True)).get("/braces").text
    assert text == "{plum}"
    assert caplog.text == ""
    assert client.get("/fails").status_code == 500
    assert "annotation" not in caplog.text
