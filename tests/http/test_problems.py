"""The default answers to errors: sentences, pages, problem documents; and all that did not fit a
handler.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from gettext import NullTranslations
from typing import Annotated, Any

import pydantic
import pytest
from msgspec import Meta

from micropie import (
    App,
    BindingError,
    BindingErrors,
    Form,
    HTTPError,
    Message,
    Page,
    SetupError,
    UploadFile,
    WebSocket,
    html,
    post,
    reads_body,
    template,
)
from micropie._core.http.binding_errors import ParameterError
from tests.support.clients import MakeClient

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
PROBLEM = "application/problem+json"


@dataclass
class Line:
    name: str
    price: int


class Order(pydantic.BaseModel):
    lines: list[int]
    note: str


class Shop(App):
    def pie(self, number: int, size: int = 1) -> str:
        raise HTTPError(404, f"There is no <pie> {number}.", {"X-Pie": "apple"})

    def own(self) -> Any:
        raise HTTPError(404, {"pie": 5})

    def crash(self) -> str:
        raise ValueError("secret")

    def several(self, a: int, b: float, *rest: int, c: bool, **others: int) -> str:
        return f"{a} {b} {rest} {c} {others}"

    @post
    def line(self, line: Line, n: int) -> str:
        return line.name

    @post
    def order(self, order: Order) -> str:
        return order.note

    @post
    def photo(self, photo: UploadFile, n: int) -> str:
        return photo.filename

    def form(self, errors: BindingErrors, age: int = 18, *, name: str, more: BindingErrors) -> Any:
        return template(
            source="{% for e in errors %}{{ e.given }}|{{ e }}\n{% endfor %}", errors=errors
        ) + str(
            [
                age,
                name,
                bool(errors),
                "age" in errors,
                errors["age"] is None,
                errors is more,
                len(errors),
            ]
        )


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("text/plain", "text/plain"),
        ("image/png", "text/plain"),
        (BROWSER, "text/html"),
        ("application/json", PROBLEM),
        ("application/problem+json", PROBLEM),
        ("application/json, text/html;q=0.5", PROBLEM),
    ],
)
def test_a_client_gets_errors_in_its_preferred_format(
    make_client: MakeClient, accept: str | None, kind: str
) -> None:
    client = make_client(Shop())
    headers = {} if accept is None else {"Accept": accept}
    if accept is None:
        client.headers.pop("accept")
    answer = client.get("/pie/5", headers=headers)
    assert (answer.status_code, answer.headers["Content-Type"].partition(";")[0]) == (404, kind)
    assert answer.headers["X-Pie"] == "apple"
    assert answer.headers["Vary"] == "Accept"  # the sentence, too, was chosen
    if kind == PROBLEM:
        problem = {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "There is no <pie> 5.",
        }
        assert answer.json() == problem
    elif kind == "text/html":
        assert "<h1>404 Not Found</h1>\n<p>There is no &lt;pie&gt; 5.</p>" in answer.text
    else:
        assert answer.text == "There is no <pie> 5."


@pytest.mark.parametrize(
    ("path", "status"), [("/nowhere", 404), ("/pie/x", 400), ("/line", 405), ("/crash", 500)]
)
def test_every_error_can_be_a_problem_document(
    make_client: MakeClient, path: str, status: int
) -> None:
    answer = make_client(Shop()).get(path, headers={"Accept": "application/json"})
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM)
    assert answer.json()["status"] == status
    assert not answer.json()["detail"].startswith(str(status))  # it has a member of its own
    assert "secret" not in answer.text


def test_a_client_that_sent_json_gets_a_problem_document(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert client.post("/line", json={"n": 1}).headers["Content-Type"] == PROBLEM
    assert client.post("/line", data={"n": 1}).headers["Content-Type"].startswith("text/plain")
    assert client.post("/line", json={"n": 1}, headers={"Accept": "text/plain"}).text.startswith(
        "name: Please"
    )


@pytest.mark.parametrize(
    ("setting", "kind"), [("json", PROBLEM), ("text", "text/plain; charset=utf-8")]
)
def test_the_errors_setting_fixes_the_format_for_all_clients(
    make_client: MakeClient, setting: Any, kind: str
) -> None:
    client = make_client(Shop(errors=setting))
    for accept in (BROWSER, "application/json", "*/*"):
        answer = client.get("/nowhere", headers={"Accept": accept})
        assert (answer.headers["Content-Type"], "Vary" in answer.headers) == (kind, False)


def test_an_author_s_error_document_is_sent_unchanged(make_client: MakeClient) -> None:
    answer = make_client(Shop()).get("/own", headers={"Accept": BROWSER})
    assert (answer.json(), answer.headers["Content-Type"]) == ({"pie": 5}, "application/json")


@pytest.mark.parametrize("accept", [BROWSER, "application/json", "*/*"])
def test_the_content_type_of_an_error_belongs_to_its_message(
    make_client: MakeClient, accept: str
) -> None:
    class Shop(App):
        def index(self) -> None:
            raise HTTPError(400, "<wrong/>", {"Content-Type": "application/xml", "X-A": "1"})

    app = Shop()
    answer = make_client(app).get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.text) == (400, "<wrong/>")
    assert answer.headers["Content-Type"] == "application/xml"

    @app.error(400)
    def page() -> str:
        return "<p>No."

    answer = make_client(app).get("/", headers={"Accept": accept})
    assert (answer.status_code, answer.text, answer.headers["X-A"]) == (400, "<p>No.", "1")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize("name", ["Content-Range", "Content-Location", "ETag", "Retry-After"])
def test_an_error_keeps_its_headers_when_an_error_handler_makes_its_body(
    make_client: MakeClient, name: str
) -> None:
    class Shop(App):
        def index(self) -> None:
            raise HTTPError(416, "No.", {name: "bytes */5", "Content-Type": "text/plain"})

    app = Shop()

    @app.error(416)
    def document() -> dict[str, int]:
        return {"status": 416}

    answer = make_client(app).get("/")
    assert (answer.json(), answer.headers[name]) == ({"status": 416}, "bytes */5")
    assert answer.headers["Content-Type"] == "application/json"


def test_an_exception_or_bytes_as_the_message_are_sent_as_text(make_client: MakeClient) -> None:
    class Shop(App):
        def failed(self) -> None:
            try:
                int("two")
            except ValueError as error:
                raise HTTPError(400, error) from None

        def empty(self) -> None:
            raise HTTPError(409, KeyError())

        def raw(self) -> None:
            raise HTTPError(400, b"<b>\xff")

    client = make_client(Shop())
    sentence = "invalid literal for int() with base 10: 'two'"
    sent = {"failed": (400, sentence), "empty": (409, "409 Conflict"), "raw": (400, "<b>\ufffd")}
    for path, expected in sent.items():
        answer = client.get(f"/{path}")
        assert (answer.status_code, answer.text) == expected
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        document = client.get(f"/{path}", headers={"Accept": "application/json"}).json()
        assert document["detail"] == expected[1].removeprefix("409 ")
    assert pickle.loads(pickle.dumps(HTTPError(400, ValueError("no")))).message == "no"


def test_client_text_in_an_error_message_is_escaped_at_any_length(make_client: MakeClient) -> None:
    class Long(App):
        def index(self, text: str) -> None:
            raise HTTPError(404, f"There is no {text}.")

    client = make_client(Long())
    for length in (10, 100, 480, 500, 5000):
        page = client.post("/", data={"text": "<" * length}, headers={"Accept": "text/html"}).text
        assert f"There is no {'&lt;' * length}." in page


def test_a_cached_error_varies_by_the_kind_of_request(make_client: MakeClient) -> None:
    client = make_client(Shop())
    for _ in range(2):
        kinds = [
            client.request(method, "/nowhere", headers={"Accept": accept})
            for method in ("GET", "HEAD")
            for accept in (BROWSER, "application/json", "text/plain", "*/*")
        ]
        assert [answer.headers["Content-Type"].partition(";")[0] for answer in kinds] == [
            *("text/html", PROBLEM, "text/plain", "text/plain"),
            *("text/html", PROBLEM, "text/plain", "text/plain"),
        ]
        assert [answer.headers["Vary"] for answer in kinds] == ["Accept"] * 8
        assert [bool(answer.text) for answer in kinds] == [True] * 4 + [False] * 4
        lengths = [answer.headers["Content-Length"] for answer in kinds]
        assert lengths[:4] == lengths[4:]


def test_a_message_in_html_is_not_taken_for_the_same_text(make_client: MakeClient) -> None:
    class Both(App):
        def marked(self) -> None:
            raise HTTPError(404, html("<b>{}</b>", "pie"))

        def plain(self) -> None:
            raise HTTPError(404, "<b>pie</b>")

    client = make_client(Both())
    for path, sent in [("/marked", "<b>pie</b>"), ("/plain", "&lt;b&gt;pie&lt;/b&gt;")] * 2:
        assert sent in client.get(path, headers={"Accept": BROWSER}).text


def test_an_error_may_have_an_empty_message(make_client: MakeClient) -> None:
    class Silent(App):
        def index(self) -> None:
            error = HTTPError(404)
            error.message = ""
            raise error

    assert make_client(Silent()).get("/", headers={"Accept": "text/plain"}).text == ""


def test_unreadable_headers_get_an_error_message(make_client: MakeClient) -> None:
    client = make_client(Shop(), validate=False)
    many = [(f"X-{number}", "a") for number in range(1100)]
    assert client.get("/nowhere", headers=many).headers["Content-Type"].startswith("text/plain")
    answer = client.post(
        "/nowhere", headers={"Content-Length": "x", "Content-Type": "application/json"}
    )
    seen = (answer.status_code, answer.headers["Content-Type"])
    assert seen == (404, "text/plain; charset=utf-8")


# -- invalid values ---------------------------------------------------------------------------------


def errors_of(client: Any, method: str, path: str, **options: Any) -> list[tuple[Any, ...]]:
    answer = client.request(method, path, headers={"Accept": "application/json"}, **options)
    assert answer.status_code == 400, answer.text
    return [(one["parameter"], one["source"], one["path"]) for one in answer.json()["errors"]]


def test_every_invalid_parameter_is_listed(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert errors_of(client, "GET", "/several/x/y/z?c=maybe&d=w&e=1") == [
        ("a", "path", []),
        ("b", "path", []),
        ("rest", "path", []),
        ("c", "query", []),
        ("d", "query", []),
    ]
    found = errors_of(client, "GET", "/several?a=x")
    assert found == [("a", "query", []), ("b", "", []), ("c", "", [])]
    seen = errors_of(client, "POST", "/several", data={"a": "x", "b": "1", "c": "1"})
    assert seen == [("a", "form", [])]
    assert errors_of(client, "POST", "/several", json={"a": "x", "b": 1, "c": True}) == [
        ("a", "json", [])
    ]
    assert errors_of(client, "POST", "/several/1/2", files={"c": b"x"}) == [("c", "file", [])]
    assert errors_of(client, "POST", "/photo", data={"n": "x"}) == [
        ("photo", "", []),
        ("n", "form", []),
    ]
    sentence = client.get("/several?a=x&b=1").text
    assert sentence == "a: Please enter a whole number. c: Please fill in this field."


def test_an_error_s_location_in_a_document_is_listed(make_client: MakeClient) -> None:
    client = make_client(Shop())
    seen = errors_of(client, "POST", "/line?n=1", json={"name": "a", "price": "x"})
    assert seen == [("line", "json", ["price"])]
    found = errors_of(client, "POST", "/order", json={"lines": [1, "x", "y"]})
    assert found == [
        ("order", "json", ["lines", 1]),
        ("order", "json", ["lines", 2]),
        ("order", "json", ["note"]),
    ]
    assert errors_of(client, "POST", "/line?n=1", data={"name": "a", "price": "x"}) == [
        ("line", "form", ["price"])
    ]


def test_binding_errors_contain_the_submitted_values() -> None:
    errors = BindingErrors(
        [ParameterError("age", "form", "x", "a whole number", sentence="Wrong.")], {"age": "x"}
    )
    errors.extend([ParameterError("age", "form", "y", "a number")])
    errors.add("name", "This name is taken.")
    assert (errors.given, str(errors["age"]), len(errors)) == ({"age": "x"}, "Wrong.", 3)
    assert (str(errors["name"]), BindingErrors().given) == ("This name is taken.", {})
    assert str(BindingError([*errors])) == "age: Wrong. age:  name: This name is taken."


@pytest.mark.parametrize("number", ["x", "1"])
def test_a_form_shown_again_has_all_submitted_values(make_client: MakeClient, number: str) -> None:
    class Root(App):
        @post
        def order(
            self, errors: BindingErrors, number: int, name: str, extra: Annotated[list[str], Form()]
        ) -> Any:
            errors.add("name", f"There is no {name}.")
            return errors.given

    sent = {"number": number, "name": "Ann", "extra": ["salt", "oil"]}
    answer = make_client(Root()).post("/order?number=0&size=5", data=sent)
    assert answer.json() == {**sent, "size": "5"}


def test_a_handler_may_take_binding_errors(make_client: MakeClient) -> None:
    client = make_client(Shop())
    assert client.get("/form?age=%3Cb%3E").text == (
        "&lt;b&gt;|Please enter a whole number.\nNone|Please fill in this field.\n[18, None, True, True, False, True, 2]"
    )
    assert client.get("/form?age=5&name=Ann").text == "[5, 'Ann', False, False, True, True, 0]"
    assert client.get("/form/x").status_code == 404


def test_a_client_cannot_send_binding_errors(make_client: MakeClient) -> None:
    class Root(App):
        @post
        @reads_body
        def upload(self, errors: BindingErrors, n: int = 1) -> Any:
            return [len(errors), n]

        async def ws_chat(self, ws: WebSocket, errors: BindingErrors) -> None: ...

    app = Root()
    assert make_client(app).post("/upload?n=x").json() == [1, 1]
    parameters = app.openapi()["paths"]["/upload"]["post"]["parameters"]
    assert [parameter["name"] for parameter in parameters] == ["n"]


def test_an_error_handler_gets_binding_errors(make_client: MakeClient) -> None:
    app = Shop()
    seen: list[BindingError] = []

    @app.error(BindingError)
    def wrong(error: BindingError) -> str:
        seen.append(error)
        return "handled"

    answer = make_client(app).get("/several?a=x", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.text) == (400, "handled")
    assert (seen[0].errors[0].given, seen[0].errors[0].expected) == ("x", "a whole number")


# -- other words, and other languages --------------------------------------------------------------


class German:
    """A catalogue as gettext's are."""

    def gettext(self, message: str) -> str:
        known = {
            "Not Found": "Nicht gefunden",
            "Please enter a whole number.": "Bitte geben Sie eine ganze Zahl ein.",
            "Adults only.": "Nur für Erwachsene.",
            "This resource supports {methods} only.": "Hier geht nur {methods}.",
            "There is no page {number}.": "{nummer} gibt es nicht.",
            "Hello": "Hallo",
        }
        return known.get(message, message)

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        known = {
            "Please use at least {count} character.": "Bitte mindestens {count} Zeichen.",
            "%(count)s pie": "%(count)s Kuchen",
        }
        return known.get(msgid1, msgid1 if n == 1 else msgid2)


def german_if_wanted(request: Any) -> Any:
    return German() if request.headers.get("Accept-Language") == "de" else NullTranslations()


class Inn(App):
    @post
    def sign(
        self,
        name: Annotated[str, Meta(min_length=2)],
        age: Annotated[int, Meta(ge=18), Message(ge="Adults only.")],
    ) -> str:
        return name

    def page(self, number: int) -> str:
        return f"{Page([], number, 10, 0)}"

    def pies(self, count: int) -> str:
        source = "{{ _('Hello') }}: {% trans count=count %}{{ count }} pie{% pluralize %}{{ count }} pies{% endtrans %}"
        return template(source=source, count=count)


def test_error_messages_come_from_a_catalogue(make_client: MakeClient) -> None:
    client = make_client(Inn(translations=german_if_wanted, text="plain"))
    german = {"Accept-Language": "de", "Accept": "application/json"}
    for headers, words in (
        (german, ["Bitte mindestens 2 Zeichen.", "Nur für Erwachsene."]),
        ({}, None),
    ):
        answer = client.post(
            "/sign", data={"name": "a", "age": "5"}, headers={"Accept": PROBLEM, **headers}
        )
        told = [one["detail"] for one in answer.json()["errors"]]
        assert told == (words or ["Please use at least 2 characters.", "Adults only."])
    answer = client.get("/nowhere", headers=german).json()
    assert (answer["title"], answer["detail"]) == ("Nicht gefunden", "Nicht gefunden")
    assert client.get("/nowhere", headers={"Accept-Language": "de"}).text == "404 Nicht gefunden"
    page = client.get("/nowhere", headers={"Accept-Language": "de", "Accept": "text/html"}).text
    assert "<h1>404 Nicht gefunden</h1>\n<p></p>" in page
    assert client.get("/sign", headers=german).json()["detail"] == "Hier geht nur OPTIONS, POST."
    assert client.get("/pies/1", headers=german).text == "Hallo: 1 Kuchen"
    assert client.get("/pies/2").text == "Hello: 2 pies"


def test_a_failing_catalogue_is_logged_and_the_message_stays(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Inn(translations=german_if_wanted))
    # The catalog has "{nummer}" in it.
    assert client.get("/page/5", headers={"Accept-Language": "de"}).text == "There is no page 5."
    assert "the function of App(translations=...) failed" in caplog.text


def test_inner_applications_share_the_catalogue(make_client: MakeClient) -> None:
    app = App(translations=german_if_wanted, text="plain")
    app.inner = Inn()
    client = make_client(app)
    assert client.get("/inner/pies/1", headers={"Accept-Language": "de"}).text == "Hallo: 1 Kuchen"
    with pytest.raises(SetupError, match="a function"):
        App(translations="de")  # type: ignore[arg-type]


def test_the_error_page_needs_no_inline_style(make_client: MakeClient) -> None:
    answer = make_client(App()).get("/nowhere", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert '<meta name="color-scheme" content="light dark">' in answer.text
    assert "<style" not in answer.text
    assert "style=" not in answer.text
