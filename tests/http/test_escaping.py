"""Text in HTML: what ``escape`` changes, and what it leaves alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import markupsafe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import App, HTTPError, Response, escape, html, template
from tests.support.clients import MakeClient
from tests.support.templatelib import Interpolation, t


@given(st.text())
def test_escape_returns_the_same_text_as_markupsafe(text: str) -> None:
    assert escape(text) == str(markupsafe.escape(text))


@pytest.mark.parametrize(
    ("value", "text"), [(None, "None"), (5, "5"), ("", ""), ([1, "<"], "[1, &#39;&lt;&#39;]")]
)
def test_escape_accepts_any_value(value: object, text: str) -> None:
    assert escape(value) == text


def test_text_that_is_already_html_is_not_escaped_again() -> None:
    assert escape(markupsafe.Markup("<b>")) == "<b>"
    assert escape(escape("<b>")) == "&lt;b&gt;"
    assert template(source="{{ name }}", name=escape("<b>")) == "&lt;b&gt;"


def test_only_a_class_can_declare_its_values_as_html() -> None:
    class Record(dict[str, str]):
        def __getattr__(self, name: str) -> str:
            return self[name]

    assert escape(Record({"__html__": "<b>"})) == "{&#39;__html__&#39;: &#39;&lt;b&gt;&#39;}"
    assert escape(markupsafe.Markup).startswith("&lt;class")


def test_joining_escaped_text_does_not_escape_the_other_text() -> None:
    joined = "<p>" + escape("<b>") + "</p>"
    assert joined == "<p>&lt;b&gt;</p>" == f"<p>{escape('<b>')}</p>"
    assert type(joined) is str


def test_escaped_text_can_be_returned_by_a_handler(make_client: MakeClient) -> None:
    class Root(App):
        def index(self, name: str) -> str:
            return escape(name)

        def json(self, name: str) -> object:
            return {"name": escape(name)}

    client = make_client(Root())
    answer = client.get("/", params={"name": "<b>"})
    seen = (answer.text, answer.headers["content-type"])
    assert seen == ("&lt;b&gt;", "text/html; charset=utf-8")
    assert json.loads(client.get("/json", params={"name": "<b>"}).content) == {"name": "&lt;b&gt;"}


# -- html and template strings ---------------------------------------------------------------------


class Element:
    def __init__(self, inner: str = "bold") -> None:
        self.inner = inner

    def __html__(self) -> str:
        return f"<b>{self.inner}</b>"


class Named:
    name = "<n>"


async def load() -> None: ...


VALUES: list[tuple[Any, str]] = [
    ("<b>", "&lt;b&gt;"),
    ("\" '&", "&#34; &#39;&amp;"),
    (5, "5"),
    (None, "None"),
    (Element(), "<b>bold</b>"),
    (markupsafe.Markup("<i>"), "<i>"),
    (escape("<"), "&lt;"),
    (["<", Element(), ("&", [1])], "&lt;<b>bold</b>&amp;1"),
    ((one for one in "<>"), "&lt;&gt;"),
    ({"<": 1}, "{&#39;&lt;&#39;: 1}"),
    (html("<p>{}</p>", "<"), "<p>&lt;</p>"),
    (t("<p>{}</p>", "<"), "<p>&lt;</p>"),
    ([t("<p>{}</p>", one) for one in "<>"], "<p>&lt;</p><p>&gt;</p>"),
]


@pytest.mark.parametrize(("value", "text"), VALUES, ids=range(len(VALUES)))
def test_html_escapes_every_value(value: Any, text: str) -> None:
    value = [*value] if isinstance(value, Iterator) else value
    assert html("<a title='{}'>{{}}</a>", value) == f"<a title='{text}'>{{}}</a>"
    assert html(t("<a title='{}'>{}", value, 1)) == f"<a title='{text}'>1"
    assert html("{value}", value=iter([value])) == text


def test_conversions_and_formats_are_applied_and_then_escaped() -> None:
    assert (
        html("{!r} {!s} {!a}", "<", Element, "é")
        == "&#39;&lt;&#39; " + escape(str(Element)) + " &#39;\\xe9&#39;"
    )
    assert html("{:>4}|{:.2f}|{:{}}", "<", 1.234, "x", "^3") == "   &lt;|1.23| x "
    assert html("{0.name} {0.name!r:>6}", Named()) == "&lt;n&gt;  &#39;&lt;n&gt;&#39;"
    pieces = [
        Interpolation("<", conversion="r"),
        Interpolation(escape("<"), conversion="s"),
        Interpolation("é", conversion="a", format_spec=">8"),
        Interpolation(1.234, format_spec=".2f"),
        Interpolation(Element(), conversion="s", format_spec=""),
    ]
    assert html(t("{}|{}|{}|{}", *pieces[:4])) == "&#39;&lt;&#39;|&amp;lt;|  &#39;\\xe9&#39;|1.23"
    assert html(t("{}", pieces[4])).startswith("&lt;")


def test_the_result_of_html_counts_as_html() -> None:
    made = html(t("<p>{}", 1))
    assert isinstance(made, str)
    assert escape(made) == made == html("<p>{}", 1)
    assert template(source="{{ part }}", part=made) == "<p>1"
    assert html(Element("x")) == "<b>x</b>"


def test_html_without_values_raises_an_error_with_a_hint() -> None:
    with pytest.raises(
        TypeError, match=re.escape('write html("<p>{}</p>", name), not an f-string')
    ):
        html("<p>Ann</p>")


@pytest.mark.parametrize(
    "make", [lambda value: html("{}", value), lambda value: html(t("{}", [value]))]
)
def test_a_coroutine_passed_to_html_reports_a_missing_await(make: Any) -> None:
    coroutine = load()
    with pytest.raises(TypeError, match="got a coroutine: write await"):
        make(coroutine)
    coroutine.close()


@pytest.mark.processes
def test_importing_micropie_does_not_import_template_strings() -> None:
    code = "import sys, micropie; micropie.html('{}', 1); assert 'string.templatelib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


class Shelf:
    """A resource whose rows can be read while it is open."""

    is_open = False

    def rows(self) -> Iterator[str]:
        for row in "<>":
            assert self.is_open
            yield row


class Row:
    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def __str__(self) -> str:
        return f"open: {self.shelf.is_open}"


class Pages(App):
    def template(self, name: str) -> Any:
        return t("<p>{}</p>", name)

    async def element(self) -> Any:
        return Element()

    def markup(self) -> Any:
        return markupsafe.Markup("<i>")

    def pattern(self, name: str) -> str:
        return html("<p>{}</p>", name)

    def created(self) -> Any:
        return 201, t("<p>{}</p>", "<"), {"X-Pie": "1"}

    def stated(self) -> Response:
        return Response(t("{}", "<"), 202, content_type="image/svg+xml")

    def drawing(self) -> Any:
        self.response.content_type = "image/svg+xml"
        return t("<svg>{}</svg>", self.request.query.get("many", "") * 100_000)

    def lazy(self) -> Any:
        return t("<ul>{}</ul>", (t("<li>{}</li>", one) for one in "<>"))

    def large(self) -> Any:
        return t("{}{}", ["<" * 50_000, "x" * 50_000], [t("{}", "y" * 1000)])

    def full(self) -> Any:
        return t("{}", "x" * 70_000)

    def empty(self) -> Any:
        return t("")

    def row(self, shelf: Shelf) -> Any:
        return t("{}", Row(shelf))

    def created_row(self, shelf: Shelf) -> Any:
        return 201, t("{}", Row(shelf))

    def rows(self, shelf: Shelf) -> Any:
        return t("{}", shelf.rows())

    def stream(self) -> Any:
        yield t("<p>{}</p>", "<")
        yield Element()

    def fails(self) -> None:
        raise HTTPError(410)

    def broken(self) -> Any:
        return t("{}", Broken())


class Broken:
    def __str__(self) -> str:
        raise ValueError("no text")


class Hook:
    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
        return {"body": t("<p>{}</p>", "<")} if request.path == "/markup" else None


def pages(**settings: Any) -> Pages:
    app = Pages(**settings)

    @app.provides(Shelf)
    def shelf() -> Iterator[Shelf]:
        opened = Shelf()
        opened.is_open = True
        yield opened
        opened.is_open = False

    @app.error(410)
    def gone() -> Any:
        return t("<p>{}</p>", "gone & lost")

    return app


PAGES: list[tuple[str, int, str, str]] = [
    ("/template/<b>", 200, "<p>&lt;b&gt;</p>", "text/html; charset=utf-8"),
    ("/element", 200, "<b>bold</b>", "text/html; charset=utf-8"),
    ("/markup", 200, "<i>", "text/html; charset=utf-8"),
    ("/pattern/<b>", 200, "<p>&lt;b&gt;</p>", "text/html; charset=utf-8"),
    ("/created", 201, "<p>&lt;</p>", "text/html; charset=utf-8"),
    ("/stated", 202, "&lt;", "image/svg+xml"),
    ("/drawing", 200, "<svg></svg>", "image/svg+xml"),
    ("/drawing?many=x", 200, f"<svg>{'x' * 100_000}</svg>", "image/svg+xml"),
    ("/lazy", 200, "<ul><li>&lt;</li><li>&gt;</li></ul>", "text/html; charset=utf-8"),
    ("/large", 200, "&lt;" * 50_000 + "x" * 50_000 + "y" * 1000, "text/html; charset=utf-8"),
    ("/full", 200, "x" * 70_000, "text/html; charset=utf-8"),
    ("/empty", 200, "", "text/html; charset=utf-8"),
    ("/row", 200, "open: True", "text/html; charset=utf-8"),
    ("/created_row", 201, "open: True", "text/html; charset=utf-8"),
    ("/rows", 200, "&lt;&gt;", "text/html; charset=utf-8"),
    ("/stream", 200, "<p>&lt;</p><b>bold</b>", "text/plain; charset=utf-8"),
    ("/fails", 410, "<p>gone &amp; lost</p>", "text/html; charset=utf-8"),
    ("/broken", 500, "500 Internal Server Error", "text/plain; charset=utf-8"),
]


@pytest.mark.parametrize(("path", "status", "text", "content_type"), PAGES)
def test_an_object_with_an_html_method_can_be_a_response(
    make_client: MakeClient, path: str, status: int, text: str, content_type: str
) -> None:
    answer = make_client(pages(text="plain", errors="text")).get(path)
    seen = (answer.status_code, answer.text, answer.headers["content-type"])
    assert seen == (status, text, content_type)
    is_streamed = path in ("/drawing?many=x", "/lazy", "/large", "/rows", "/stream")
    assert ("content-length" not in answer.headers) == is_streamed


def test_a_hook_may_respond_with_a_template_string(make_client: MakeClient) -> None:
    app = pages()
    app.middlewares.append(Hook())  # type: ignore[arg-type]
    assert make_client(app).get("/markup").text == "<p>&lt;</p>"
