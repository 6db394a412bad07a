"""Hints below an error in development, and warnings about results that are probably unintended."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from micropie import (
    App,
    HTTPError,
    Redirect,
    Request,
    Response,
    UploadFile,
    post,
    requires,
    static_file,
)
from tests.support.clients import MakeClient


class Pies:
    """What a provider opens."""


class Uploads(App):
    @post
    def saved(self, pie: UploadFile) -> str:
        return str(pie.save("pie.png"))  # type: ignore[attr-defined]

    @post
    async def awaited(self, pie: UploadFile) -> bytes:
        return await pie.read()  # type: ignore[misc, no-any-return]

    @post
    def named(self, pie: UploadFile) -> str:
        return str(pie.save_to("no-such-directory/pie.png"))


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/saved", 'Write upload.save_to("uploads") with the name of a directory.'),
        (
            "/awaited",
            "Remove await: only async functions can be awaited, not a def of your own, request.json() or the methods of uploads.",
        ),
        ("/named", "save_to needs an existing directory, not no-such-directory/pie.png"),
    ],
)
def test_idioms_of_other_frameworks_for_uploads_are_explained(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, words: str
) -> None:
    answer = make_client(Uploads(debug=True)).post(path, files={"pie": ("pie.png", b"plum")})
    assert answer.status_code == 500
    assert words in "".join(logging.Formatter().format(one) for one in caplog.records)


class Box:
    def __getitem__(self, name: str) -> str:
        raise KeyError(name)


class Response2(App):
    def other(self) -> Any:
        return httpx.Response(200).data  # type: ignore[attr-defined]

    def header(self) -> Any:
        return self.response.headers["X-Pie"]

    def kept(self) -> Any:
        return self.state["pie"]

    def box(self) -> Any:
        return Box()["pie"]

    def long(self) -> Any:
        raise TypeError("x" * 300 + "keyword argument 'status_code'")

    def again(self) -> Any:
        raise KNOWN

    def number(self, page: str = "1") -> Any:
        return page + 1  # type: ignore[operator]


KNOWN = AttributeError("'Session' object has no attribute 'user'")


def test_a_hint_appears_once_and_only_for_micropie_s_objects(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Response2(debug=True))
    for path in ("/other", "/header", "/kept", "/box", "/long", "/number", *["/again"] * 3):
        assert client.get(path).status_code == 500
    logged = "".join(logging.Formatter().format(one) for one in caplog.records)
    assert "Write return" not in logged
    assert "The client sent" not in logged
    assert "It takes (" not in logged
    assert "Without an annotation" not in logged
    found = KNOWN.__notes__
    assert found == [
        'A session is a dict: use session["name"]. App(session_timeout=...) sets how long it lasts.'
    ]


class Answers(App):
    def status(self) -> Any:
        return 201, {"id": 1}

    def point(self) -> Any:
        return 3, 4

    def three(self) -> Any:
        return 201, 202, 203

    def price(self) -> Any:
        return Decimal(404), 1

    def none(self) -> Any:
        return ()


def test_pairs_that_are_not_responses_are_sent_as_lists(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Answers(debug=True))
    assert client.get("/status").status_code == 201
    assert client.get("/point").json() == [3, 4]
    assert client.get("/three").json() == [201, 202, 203]
    assert client.get("/none").json() == []
    assert client.get("/price").status_code == 200
    assert caplog.text == ""


class Db: ...


class UsesDb(App):
    def index(self, db: Db) -> str:
        return type(db).__name__


def test_a_provider_that_yields_twice_is_reported(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = UsesDb()

    @app.provides(Db)
    def opened() -> Iterator[Db]:
        yield Db()
        yield Db()

    assert make_client(app).get("/").status_code == 500
    assert "opened yielded twice: it must yield only once" in caplog.text


@pytest.mark.parametrize("debug", [True, False])
def test_a_provider_without_return_is_reported_in_development(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    app = UsesDb(debug=debug)

    @app.provides(Db)
    def opened():  # type: ignore[no-untyped-def]
        Db()

    assert make_client(app).get("/").text == "NoneType"
    assert ("opened, which provides Db, returned None: return a value" in caplog.text) is debug


def test_a_provider_annotated_with_none_may_return_nothing(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = UsesDb(debug=True), UsesDb(debug=True)

    @first.provides(Db)
    def found() -> Db | None:
        return None

    @second.provides(Db)
    def around() -> Iterator[None]:
        yield

    assert make_client(first).get("/").text == "NoneType"
    assert make_client(second).get("/").text == "NoneType"
    assert caplog.text == ""


def club_whose_check_returns(answer: object, debug: bool = False) -> App:
    """Return an application with a page for members."""

    def members(request: Request) -> Any:
        return answer

    class Club(App):
        @requires(members)
        def index(self) -> str:
            return "inside"

    return Club(debug=debug)


@dataclasses.dataclass
class User:
    name: str


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (User("eve"), 500),
        ("come in later", 200),
        (Response("no", 401), 401),
        (type("Page", (), {"__html__": lambda self: "<p>no"})(), 200),
    ],
)
def test_a_check_that_returns_data_does_not_send_it(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, answer: object, status: int
) -> None:
    response = make_client(club_whose_check_returns(answer)).get("/")
    assert response.status_code == status
    assert "eve" not in response.text
    assert ("members returned User, which is not a response" in caplog.text) is (status == 500)


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    ("answer", "kind"),
    [("eve", "str"), (5, "int"), ({"name": "eve"}, "dict"), (True, ""), ((200, "page"), "")],
)
def test_a_check_that_returns_a_plain_value_is_reported_in_development(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    answer: object,
    kind: str,
    debug: bool,
) -> None:
    assert make_client(club_whose_check_returns(answer, debug)).get("/").status_code == 200
    advice = f"returned {kind}, which is sent as the response: return True to let the"
    assert (advice in caplog.text) == (debug and kind != "")
    assert ("which is sent as the response" in caplog.text) == (debug and kind != "")


@pytest.mark.parametrize("debug", [True, False])
def test_session_keys_that_are_not_text_are_reported_in_development(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, debug: bool
) -> None:
    class Cart(App):
        @post
        def index(self) -> str:
            self.request.session["cart"] = {1: 2, "more": [{None: 3}, "x"]}
            return ""

        @post
        def flat(self) -> str:
            self.request.session["cart"] = {"1": 2}
            return ""

    client = make_client(Cart(debug=debug))
    assert client.post("/flat").text == client.post("/").text == ""
    logged = [one.getMessage() for one in caplog.records if "the session has" in one.getMessage()]
    told = [one.partition(",")[0] for one in logged]
    assert told == (["the session has the key 1", "the session has the key None"] if debug else [])


def test_a_missing_openapi_document_is_explained_in_the_log(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Takes(App):
        @post
        def index(self, body: dict[str, int]) -> str:
            return "x"

    assert make_client(Takes(debug=True)).post("/", json={"a": 1}).status_code == 400
    assert "to take the whole body, write Annotated[dict, Body()]" in caplog.text


def test_only_a_file_that_does_not_exist_is_called_missing_in_the_log(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    (tmp_path / "pie.txt").write_text("plum")
    caplog.set_level(logging.INFO)

    class Stock(App):
        def index(self, name: str, pies: Pies) -> Response:
            return static_file(name, tmp_path)

    app = Stock(debug=True)

    conflicts = [HTTPError(409)]

    @app.provides(Pies)
    def pies() -> Iterator[Pies]:
        yield Pies()
        if conflicts:
            raise conflicts.pop()

    client = make_client(app)
    assert client.get("/?name=pie.txt").status_code == 409
    assert client.get("/?name=pie.txt", headers={"Range": "bytes=9-"}).status_code == 416
    assert "there is no file" not in caplog.text
    assert client.get("/?name=no.txt").status_code == 404
    assert "there is no file 'no.txt'" in caplog.text


def test_a_file_sent_for_another_parameter_is_explained_in_the_log(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Takes(App):
        @post
        def index(self, picture: bytes, note: bytes) -> str:
            return "x"

    client = make_client(Takes(debug=True))
    files = {"picture": ("me.png", b"...")}
    assert client.post("/", data={"note": "!"}, files=files).status_code == 400
    assert "picture came as a file: write picture: UploadFile." in caplog.text
    assert "note came as a file" not in caplog.text


def test_a_redirect_without_a_location_fails_as_in_production(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    failures = []
    for debug in (False, True):
        app = App(debug=debug)
        app.get("/")(lambda: Redirect(None))  # type: ignore[arg-type]
        caplog.clear()
        assert make_client(app, raise_app_exceptions=False).get("/").status_code == 500
        failures += [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [repr(failure) for failure in failures] == [
        "TypeError('Redirect takes a str, not None: write str(...) for a URL')"
    ] * 2
