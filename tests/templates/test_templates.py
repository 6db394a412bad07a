"""Templates: everything is escaped, the current request is in reach, and what is missing is
named.
"""

from __future__ import annotations

import gc
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx2 as httpx
import jinja2
import pytest
from markupsafe import Markup

from micropie import App, Server, SetupError, template
from micropie._core.execution import current
from micropie._core.http.csrf import is_csrf_token
from micropie._core.http.escaping import in_chunks
from micropie._core.streams import CHUNKS_AHEAD
from micropie._core.templates.rendering import CHUNK, FIRST_CHUNK
from micropie.middleware import csrf_token
from tests.support.clients import MakeClient
from tests.support.left_out import IS_FREE_THREADED
from tests.support.pairs import paired

WriteTemplates = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteTemplates:
    """`write({"page.html": "..."})`: a directory with these templates."""

    def write(files: dict[str, str], below: str = "templates") -> Path:
        for name, text in files.items():
            file = tmp_path / below / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path / below

    return write


WAYS = ["render", "render_async", "stream"]


class Pages(App):
    """Renders the template that is asked for, in each way, with `values`."""

    def __init__(
        self, directory: Path, values: dict[str, Any] | None = None, **settings: Any
    ) -> None:
        super().__init__(templates=directory, **settings)
        self.values = values or {}

    def render_page(self, name: str) -> Any:
        return App.render(self, name, **self.values)

    async def render_awaiting(self, name: str) -> Any:
        return await self._render_template(name, **self.values)

    def stream(self, name: str) -> Any:
        return App.render_stream(self, name, **self.values)

    async def stream_async(self, name: str) -> Any:
        return App.render_stream(self, name, **self.values)

    async def render_in_async(self, name: str) -> Any:
        return App.render(self, name, **self.values)


HANDLERS = ["render_page", "render_awaiting", "stream", "stream_async", "render_in_async"]


@pytest.fixture(params=HANDLERS)
def handler(request: pytest.FixtureRequest) -> str:
    """The name of each handler of ``Pages``."""
    chosen: str = request.param
    return chosen


def show(make_client: MakeClient, app: App, handler: str, name: str = "page.html") -> str:
    answer = make_client(app).get(f"/{handler}", params={"name": name})
    assert (answer.status_code, answer.headers["content-type"]) == (
        200,
        "text/html; charset=utf-8",
    ), answer.text
    return answer.text


# -- R77: escaping ---------------------------------------------------------------------------------

ESCAPED = "&lt;script&gt;&#34;&#39;&amp;"
UNSAFE = "<script>\"'&"


@pytest.mark.parametrize(
    "name", ["page.html", "page.txt", "page.html.j2", "page", "page.xml.txt", "below/page.md"]
)
def test_R77_templates_escape_all_values(
    make_client: MakeClient, write: WriteTemplates, handler: str, name: str
) -> None:
    app = Pages(write({name: "<p>{{ message }}</p>"}), {"message": UNSAFE})
    assert show(make_client, app, handler, name) == f"<p>{ESCAPED}</p>"


PARTS = {
    "base.txt": "{% block body %}{% endblock %}|{{ message }}",
    "child.txt": '{% extends "base.txt" %}{% block body %}{{ message }}{% endblock %}',
    "part.txt": "{{ message }}",
    "includes.txt": '{% include "part.txt" %}',
    "macros.txt": "{% macro show(value) %}<{{ value }}>{% endmacro %}",
    "imports.txt": '{% from "macros.txt" import show %}{{ show(message) }}',
    "caller.txt": "{% macro outer() %}{{ caller() }}{% endmacro %}{% call outer() %}{{ message }}{% endcall %}",
    "set.txt": "{% set kept %}{{ message }}{% endset %}{{ kept }}",
    "loop.txt": "{% for letter in [message] %}{{ letter }}{% endfor %}",
    "filter.txt": "{{ message|shout }}{{ [message, message]|join('<') }}",
    "globals.txt": "{{ motto }}{{ motto_of() }}",
}
WANTED = {
    "child.txt": f"{ESCAPED}|{ESCAPED}",
    "includes.txt": ESCAPED,
    "imports.txt": f"<{ESCAPED}>",
    "caller.txt": ESCAPED,
    "set.txt": ESCAPED,
    "loop.txt": ESCAPED,
    "filter.txt": f"{ESCAPED.upper().replace('&LT;', '&lt;').replace('&GT;', '&gt;').replace('&AMP;', '&amp;')}"
    f"{ESCAPED}&lt;{ESCAPED}",
    "globals.txt": ESCAPED * 2,
}


@pytest.mark.parametrize(("name", "handler"), paired(list(WANTED), HANDLERS))
def test_R77_every_part_of_a_template_escapes_values(
    make_client: MakeClient, write: WriteTemplates, handler: str, name: str
) -> None:
    settings = {
        "template_filters": {"shout": str.upper},
        "template_globals": {"motto": UNSAFE, "motto_of": lambda: UNSAFE},
    }
    app = Pages(write(PARTS), {"message": UNSAFE}, **settings)
    assert show(make_client, app, handler, name) == WANTED[name]


class Record(dict[str, object]):
    name = "of the class"


class Html(str):
    def __html__(self) -> str:
        return f"<i>{self}</i>"


class Level(IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    "source",
    [
        "{{ value }}",
        "a{{ value }}b{{ value|upper }}",
        "{% set text %}{{ value }}<br>{% endset %}{{ text }}{{ text|length }}",
        "{% macro item(one) %}<li>{{ one }}{% endmacro %}{{ item(value) }}{{ item(value) ~ '<' }}",
        "{% macro box() %}<p>{{ caller() }}{% endmacro %}{% call box() %}{{ value }}{% endcall %}",
        "{% filter title %}{{ value }}{% endfilter %}{{ value|safe }}{{ value|e|e }}",
        "{% autoescape false %}{{ value }}{% endautoescape %}{% autoescape value %}{{ value }}{% endautoescape %}",
        "{% for one in [value, value] %}{{ one }}{{ loop.index }}{% endfor %}",
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        "plain text",
        "",
        "<b>&\"'</b>",
        "é<",
        Markup("<b>"),
        Html("<x>"),
        1,
        -2.5,
        True,
        None,
        Level.LOW,
        ["<"],
        {"a": "<"},
    ],
    ids=repr,
)
def test_R77_a_value_is_rendered_as_by_jinja2(source: str, value: object) -> None:
    found = template(source="{# source #}\n" + source, value=value)
    assert found == _as_jinja2("\n" + source, value=value)


@pytest.mark.parametrize(
    "row", [{"name": "<a>", "items": 1, "__len__": 2}, {}, Record(name="item"), Html("x")], ids=repr
)
def test_attributes_and_items_are_found_as_by_jinja2(row: object) -> None:
    source = "\n{{ row.name }}{{ row.items is callable }}{{ row['items'] }}{{ row.__len__ is callable }}{{ row.nothing }}"
    assert template(source=source, row=row) == _as_jinja2(source, row=row)


def _as_jinja2(source: str, **values: object) -> str:
    return jinja2.Environment(autoescape=True).from_string(source).render(values)


@dataclass
class Baked:
    baked: date
    weight: Decimal


def test_R77_tojson_writes_what_a_handler_may_return(make_client: MakeClient) -> None:
    class Odd:
        pass

    app = App(encoders={Odd: lambda odd: "</script>"})
    shown = {"pies": [Baked(date(2026, 1, 31), Decimal("1.50"))], "odd": Odd(), "b": 1, "a": True}
    app.get("/")(lambda: template(source="{{ shown|tojson }}", shown=shown))
    app.get("/wrong")(lambda: template(source="{{ wrong|tojson }}", wrong=object()))
    client = make_client(app, raise_app_exceptions=False)
    assert client.get("/").text == (
        '{"a": true, "b": 1, "odd": "\\u003c/script\\u003e", '
        '"pies": [{"baked": "2026-01-31", "weight": "1.50"}]}'
    )
    assert client.get("/wrong").status_code == 500


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({date(2026, 1, 2): 3}, '{"2026-01-02": 3}'),
        ({"b": 1, 2: "a"}, '{"2": "a", "b": 1}'),
        ({None: 1, "a": [{1.5: date(2026, 1, 2)}]}, '{"a": [{"1.5": "2026-01-02"}], "null": 1}'),
    ],
)
def test_R77_tojson_writes_keys_as_a_handler_s_result_has_them(shown: Any, expected: str) -> None:
    assert template(source="{{ shown|tojson }}", shown=shown) == expected


def test_R77_a_template_from_source_escapes_values(make_client: MakeClient) -> None:
    class Root(App):
        def index(self) -> str:
            return template(source="<b>{{ name }}</b>", name=UNSAFE)

    assert make_client(Root()).get("/").text == f"<b>{ESCAPED}</b>"


def test_a_form_page_without_errors_explains_where_they_come_from(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = App(debug=True)
    app.get("/")(lambda: template(source="{{ errors.title or '' }}"))
    assert make_client(app).get("/").status_code == 500
    text = caplog.text
    assert "pass it on with template(..., errors=errors)." in text


# -- blocks ----------------------------------------------------------------------------------------

BLOCKS = {
    "layout.html": """<title>{% block title %}{{ undefined_here.boom }}{% endblock %}</title>{% block body %}{% endblock %}
{% block menu %}{{ rows[0] }}{% endblock %}""",
    "middle.html": "{% extends layout %}{% block menu %}{{ super() }}, {% endblock %}",
    "page.html": """{% extends "middle.html" %}
{% block body %}<ul>{% block rows %}{% from "macros.html" import row %}{% for one in rows %}{{ row(one) }}{% endfor %}{% endblock %}</ul>
{% endblock %}{% block where %}{{ request.path }}{{ motto }}{{ csrf_token()|length > 9 }}{% endblock %}
{% block broken %}
{{ rows.boom.boom }}{% endblock %}{% block menu %}{{ super() }}{{ rows[1] }}{% endblock %}""",
    "macros.html": "{% macro row(one) %}<li>{{ one }}{% endmacro %}",
}
ROWS = f"<li>{ESCAPED}<li>2"


class Blocks(App):
    def sync(self, block: str) -> str:
        return self.render("page.html", block=block, rows=[UNSAFE, 2])

    async def awaiting(self, block: str) -> str:
        return await self.render_async("page.html", {"rows": [UNSAFE, 2]}, block=block)

    def streamed(self, block: str) -> Any:
        return self.render_stream("page.html", block=block, rows=[UNSAFE, 2])

    async def function(self, block: str) -> str:
        return template("page.html", block=block, rows=[UNSAFE, 2])

    def source(self, block: str) -> str:
        return template(source=BLOCKS["page.html"], block=block, rows=[UNSAFE, 2])


@pytest.mark.parametrize("handler", ["sync", "awaiting", "streamed", "function", "source"])
def test_one_block_of_a_page_can_be_rendered(
    make_client: MakeClient, write: WriteTemplates, handler: str
) -> None:
    """The layout around it, which would fail, is not rendered, except its block for ``super()``."""
    client = make_client(
        Blocks(templates=write(BLOCKS), template_globals={"motto": "!", "layout": "layout.html"})
    )
    assert client.get(f"/{handler}/rows").text == ROWS
    assert client.get(f"/{handler}/body").text.strip() == f"<ul>{ROWS}</ul>"
    assert client.get(f"/{handler}/where").text == f"/{handler}/where!True"
    assert client.get(f"/{handler}/menu").text == f"{ESCAPED}, 2"


@pytest.mark.parametrize("name", ["nothing", "title", ""])
@pytest.mark.parametrize("handler", ["sync", "awaiting", "streamed", "function", "source"])
def test_a_missing_block_raises_an_error(
    make_client: MakeClient,
    write: WriteTemplates,
    handler: str,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = make_client(Blocks(templates=write(BLOCKS)))
    assert client.get(f"/{handler}?block={name}").status_code == 500
    where = "the source" if handler == "source" else "page.html"
    assert (
        f"LookupError: {where} has no block {name!r} of its own; it has: body, rows, where, broken, menu"
        in caplog.text
    )


LAYOUTS = {
    "if": "{% extends 'base' if yes else 'other' %}",
    "two": "{% if yes %}{% extends 'base' %}{% else %}{% extends 'other' %}{% endif %}",
    "not given": "{% extends layout %}",
    "itself": "{% extends 'page.html' %}",
    "none": "",
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_block_without_a_known_layout_has_no_super(write: WriteTemplates, layout: str) -> None:
    page = LAYOUTS[layout] + "{% block a %}a{% endblock %}{% block b %}{{ super() }}{% endblock %}"
    app = App(templates=write({"page.html": page, "base": "{% block b %}{% endblock %}"}))
    assert app.render("page.html", block="a") == "a"
    with pytest.raises(jinja2.UndefinedError, match="there is no parent block called 'b'"):
        app.render("page.html", block="b")


def test_a_layout_may_be_a_template_object(write: WriteTemplates) -> None:
    app = App(
        templates=write(
            {"page.html": "{% extends layout %}{% block a %}{{ super() }}!{% endblock %}"}
        )
    )
    layout = jinja2.Environment().from_string("{% block a %}a{% endblock %}")
    assert app.render("page.html", block="a", layout=layout) == "a!"


def test_an_error_in_a_block_has_its_line(write: WriteTemplates) -> None:
    with pytest.raises(jinja2.UndefinedError) as failure:
        Blocks(templates=write(BLOCKS)).render("page.html", block="broken", rows=[])
    assert ("page.html", 5) in [
        (Path(entry.path).name, entry.lineno + 1) for entry in failure.traceback
    ]


# -- what templates see ----------------------------------------------------------------------------

SEEN = "{{ request.method }} {{ request.path }} {{ request.query('name') }} {{ url_for('stream', name='é') }}"


@pytest.mark.parametrize(
    "files",
    [
        {"page.html": SEEN},
        {"page.html": "{% include 'part.html' %}", "part.html": SEEN},
        {"page.html": "{% extends 'base.html' %}{% block b %}" + SEEN + "{% endblock %}", "base.html": "{% block b %}{% endblock %}"},
        {"page.html": "{% import 'macros.html' as m %}{{ m.show() }}", "macros.html": "{% macro show() %}" + SEEN + "{% endmacro %}"},
    ],
)  # fmt: skip
def test_R68_the_current_request_is_visible_in_templates(
    make_client: MakeClient, write: WriteTemplates, handler: str, files: dict[str, str]
) -> None:
    text = show(make_client, Pages(write(files)), handler)
    assert text == f"GET /{handler} page.html /stream?name=%C3%A9"


@pytest.mark.parametrize("handler", ["stream", "stream_async"])
def test_R68_each_chunk_of_a_streamed_template_sees_its_own_request(
    make_client: MakeClient, write: WriteTemplates, handler: str
) -> None:
    padding = "x" * CHUNK
    page = "{% for i in range(5) %}<{{ request.query('n') }}>" + padding + "{% endfor %}"
    client = make_client(Pages(write({"page.html": page})))

    def ask(number: int) -> list[str]:
        return re.findall(
            "<(.*?)>",
            client.get(f"/{handler}", params={"name": "page.html", "n": number}).text.replace(
                "&lt;", "<"
            ),
        )

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [[str(number)] * 5 for number in range(40)]
    assert current.get(None) is None


def test_an_author_s_values_take_precedence(make_client: MakeClient, write: WriteTemplates) -> None:
    names = [
        "request",
        "session",
        "csrf_token",
        "csrf_input",
        "url_for",
        "site",
        "name",
        "self",
        "context",
    ]
    page = "".join(f"{{{{ {name} }}}}" for name in names)
    directory = write({"page.html": page.replace("{{ self }}", "self")})

    class Root(App):
        def index(self) -> str:
            return self.render("page.html", **{name: name for name in names})

        async def later(self) -> str:
            return await self._render_template("page.html", **{name: name for name in names})

        def streamed(self) -> Any:
            return self.render_stream("page.html", **{name: name for name in names})

    client = make_client(Root(templates=directory, template_globals={"site": "hidden"}))
    answers = [client.get(path) for path in ("/", "/later", "/streamed")]
    assert {answer.text for answer in answers} == {"".join(names)}
    assert {answer.headers.get("set-cookie") for answer in answers} == {None}


SHOWN = {
    "{{ session.user }}": "<A>",
    "{{ session['user'] }}": "<A>",
    "{{ session.get('user', 'x') }}": "<A>",
    "{% if session %}yes{% endif %}": "yes",
    "{% if 'user' in session %}yes{% endif %}": "yes",
    "{% for key, value in session.items() %}{{ key }}={{ value }}{% endfor %}": "user=<A>",
    "{{ session|length }}": "1",
    "{{ session }}": "{'user': '<A>'}",
    "{{ session.missing }}": "",
    "{{ session.id is none }}": "False",
    "{{ session.views }}": "",
}


@pytest.mark.parametrize(("use", "handler"), paired(list(SHOWN), HANDLERS))
def test_the_session_is_loaded_when_a_template_uses_it(
    make_client: MakeClient, write: WriteTemplates, handler: str, use: str
) -> None:
    class Root(Pages):
        def login(self) -> str:
            self.request.session["user"] = "<A>"
            return ""

    client = make_client(Root(write({"page.html": use})))
    assert client.get(f"/{handler}?name=page.html").status_code == 200
    client.get("/login")
    answer = client.get(f"/{handler}?name=page.html")
    assert answer.text == SHOWN[use].replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")
    assert answer.headers["vary"] == "Cookie"


def test_a_key_of_the_session_may_be_named_like_one_of_its_attributes(
    make_client: MakeClient, write: WriteTemplates, handler: str
) -> None:
    class Root(Pages):
        def visit(self) -> None:
            self.request.session.update({"id": 7, "views": 3, "changed": "today"})

    page = "{{ session.id }} {{ session.views }} {{ session.changed }} {{ session.get('id') }}"
    client = make_client(Root(write({"page.html": page})))
    client.get("/visit")
    assert client.get(f"/{handler}?name=page.html").text == "7 3 today 7"


def test_a_template_that_does_not_use_the_session_does_not_load_it(
    make_client: MakeClient, write: WriteTemplates, handler: str
) -> None:
    page = "{% if false %}{{ session.user }}{{ csrf_token }}{{ csrf_input() }}{% endif %}{{ request.path }}"
    if "stream" in handler:  # a stream that mentions the token has it made ahead
        page = "{% if false %}{{ session.user }}{% endif %}{{ request.path }}"
    client = make_client(Pages(write({"page.html": page})))
    for _ in range(2):
        answer = client.get(f"/{handler}?name=page.html")
        assert answer.text == f"/{handler}"
        assert not {"vary", "set-cookie", "cache-control"} & set(answer.headers)


FIELD = '<input type="hidden" name="csrf_token" value="{}">'


def test_templates_can_render_the_csrf_token(
    make_client: MakeClient, write: WriteTemplates, handler: str
) -> None:
    page = (
        "{% from 'form.html' import form %}{{ csrf_token }}|{{ csrf_token() }}|{{ csrf_input }}|{{ csrf_input() }}"
        "|{{ form() }}|{{ 'a' ~ csrf_token }}|{{ csrf_token()|tojson }}"
    )
    files = {"page.html": page, "form.html": "{% macro form() %}{{ csrf_input }}{% endmacro %}"}

    class Root(Pages):
        def token(self) -> str:
            return csrf_token(self.request)

        def check(self, token: str) -> str:
            return str(is_csrf_token(self.request, token))

    client = make_client(Root(write(files)))
    client.get("/token")
    text = client.get(f"/{handler}?name=page.html").text
    token = text.partition("|")[0]
    assert client.get(f"/check?token={token}").text == "True"
    field = FIELD.format(token)
    assert text == f'{token}|{token}|{field}|{field}|{field}|a{token}|"{token}"'


def test_a_forged_token_in_a_session_is_not_rendered(
    make_client: MakeClient, write: WriteTemplates
) -> None:
    class Root(Pages):
        def plant(self) -> str:
            self.request.session["csrf_token"] = '"><script>'
            return ""

    client = make_client(Root(write({"page.html": "{{ csrf_token }} {{ csrf_input }}"})))
    client.get("/plant")
    text = client.get("/render_page?name=page.html").text
    token = text.partition(" ")[0]
    assert re.fullmatch("[A-Za-z0-9_-]{86}", token)
    assert text == f"{token} {FIELD.format(token)}"


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize(
    "files",
    [
        {"page.html": "{{ padding }}{{ csrf_input }}"},
        {"page.html": "{% include 'form.html' %}", "form.html": "{{ padding }}{{ csrf_token }}"},
        {"page.html": "{% include missing ignore missing %}{% include 'none' ignore missing %}{{ padding }}{% include 'form.html' %}", "form.html": "{% include 'page2.html' %}", "page2.html": "{{ csrf_token }}{% if 0 %}{% include 'form.html' %}{% include 'broken.html' %}{% endif %}", "broken.html": "{% if %}"},
    ],
)  # fmt: skip
def test_a_streamed_form_has_a_token_for_a_new_client(
    make_client: MakeClient, write: WriteTemplates, files: dict[str, str], debug: bool
) -> None:
    client = make_client(
        Pages(write(files), {"padding": "x" * CHUNK * 3, "missing": "none"}, debug=debug)
    )
    answers = [client.get("/stream?name=page.html") for _ in range(2)]
    assert "csrf_token" in answers[0].headers["set-cookie"]
    assert len(answers[0].text) == len(answers[1].text) >= CHUNK * 3 + 86
    assert [answer.headers["cache-control"] for answer in answers] == ["private"] * 2


def test_outside_requests_only_used_request_values_fail(write: WriteTemplates) -> None:
    app = Pages(write({"plain.html": "{{ 1 + 1 }}{{ url_for('stream') }}"}))
    assert app.render("plain.html") == "2/stream"
    for use in (
        "request.path",
        "session.user",
        "session['user']",
        "csrf_token",
        "csrf_token()",
        "csrf_input",
    ):
        write({"page.html": f"{{{{ {use} }}}}"})
        with pytest.raises(LookupError, match="there is no current request"):
            Pages(app_directory(app)).render("page.html")


def app_directory(app: App) -> Path:
    return Path(str(app._micropie.compiled().config.settings.templates))


def test_a_template_can_be_streamed_outside_requests(write: WriteTemplates) -> None:
    app = Pages(
        write({"page.html": "{% for i in range(3) %}{{ i }}{% endfor %}", "empty.html": ""})
    )
    assert list(app.render_stream("page.html")) == ["012"]
    assert list(app.render_stream("empty.html")) == []


# -- async values ----------------------------------------------------------------------------------


class Pie:
    async def price(self) -> str:
        await anyio.lowlevel.checkpoint()
        return "<3>"

    @property
    def later(self) -> Any:
        return self.price()


async def numbers() -> AsyncIterator[int]:
    for number in range(3):
        await anyio.lowlevel.checkpoint()
        yield number


async def shouted(text: str) -> str:
    await anyio.lowlevel.checkpoint()
    return text.upper()


ASYNC_USES = {
    "{{ pie.price() }}": "&lt;3&gt;",
    "{{ pie.later }}": "&lt;3&gt;",
    "{{ value }} {{ value }}": "&lt;3&gt; &lt;3&gt;",
    "{% if value == '<3>' %}yes{% endif %}": "yes",
    "{% for number in numbers() %}{{ number }}{{ loop.last }} {% endfor %}": "0False 1False 2True ",
    "{% for number in iterator %}{{ number }}{% else %}none{% endfor %}": "012",
    "{{ 'loud'|shouted }}": "LOUD",
    "{{ shouted('loud') }}": "LOUD",
    "{% macro m() %}{{ pie.price() }}{% endmacro %}{{ m() }}": "&lt;3&gt;",
    "{% include 'part.html' %}": "&lt;3&gt;",
    "{% from 'macros.html' import m %}{{ m(pie) }}": "&lt;3&gt;",
}


@pytest.mark.parametrize("page", ASYNC_USES)
def test_async_values_are_awaited_in_templates(
    make_client: MakeClient, write: WriteTemplates, page: str
) -> None:
    class Root(App):
        async def index(self) -> str:
            pie = Pie()
            return await self._render_template(
                "page.html", pie=pie, value=pie.price(), numbers=numbers, iterator=numbers()
            )

    macros = "{% macro m(pie) %}{{ pie.price() }}{% endmacro %}"
    directory = write({"page.html": page, "part.html": "{{ pie.price() }}", "macros.html": macros})
    app = Root(
        templates=directory,
        template_filters={"shouted": shouted},
        template_globals={"shouted": shouted},
    )
    assert make_client(app).get("/").text == ASYNC_USES[page]


def test_a_failing_async_value_gets_a_500(
    make_client: MakeClient, write: WriteTemplates, caplog: pytest.LogCaptureFixture
) -> None:
    async def fails() -> str:
        await anyio.lowlevel.checkpoint()
        raise RuntimeError("no pies")

    class Root(App):
        async def index(self) -> str:
            return await self._render_template("page.html", value=fails())

        async def called(self) -> str:
            return await self._render_template("page.html", value="", call=fails)

    client = make_client(Root(templates=write({"page.html": "{{ value }}{{ call() }}"})))
    answers = [client.get(path) for path in ("/", "/called")]
    found = [(answer.status_code, answer.text) for answer in answers]
    assert found == [(500, "500 Internal Server Error")] * 2
    given = [str(record.exc_info[1]) for record in caplog.records if record.exc_info]
    assert given == ["no pies"] * 2


def test_a_render_that_was_not_awaited_still_becomes_a_page(
    make_client: MakeClient, write: WriteTemplates
) -> None:
    class Root(App):
        def index(self) -> Any:
            return self._render_template("page.html", message="sync")

    text = make_client(Root(templates=write({"page.html": "<p>{{ message }}</p>"}))).get("/").text
    assert text == "<p>sync</p>"


def test_the_old_name_of_render_works(make_client: MakeClient, write: WriteTemplates) -> None:
    class Old(Server):
        async def index(self) -> Any:
            return await self.render_template("page.html", name="old")

    text = make_client(Old(templates=write({"page.html": "<p>{{ name }}</p>"}))).get("/").text
    assert text == "<p>old</p>"


# -- streams ---------------------------------------------------------------------------------------


def test_a_streamed_template_has_chunks_of_a_reasonable_size(
    make_client: MakeClient, write: WriteTemplates
) -> None:
    page = "{% for i in range(30000) %}{{ i % 10 }}{% endfor %}"
    client = make_client(Pages(write({"page.html": page})))
    with client.stream("GET", "/stream?name=page.html") as answer:
        assert "content-length" not in answer.headers
        chunks = [len(chunk) for chunk in answer.iter_raw()]
    assert (chunks[0], sum(chunks)) == (FIRST_CHUNK, 30000)
    assert {size % CHUNK for size in chunks[1:-1]} == {0}  # those that are ready are joined


def test_closing_a_stream_closes_the_template() -> None:
    pieces = ("x" * FIRST_CHUNK for _ in range(3))
    chunks: Any = in_chunks(pieces, FIRST_CHUNK)
    assert next(chunks) == "x" * FIRST_CHUNK
    chunks.close()
    assert next(pieces, None) is None


@pytest.mark.parametrize("handler", ["stream", "stream_async"])
def test_R60_an_error_before_the_first_chunk_gets_a_500_and_later_aborts(
    make_client: MakeClient, write: WriteTemplates, handler: str, caplog: pytest.LogCaptureFixture
) -> None:
    page = "{{ 'x' * before }}\n{{ 1 // 0 }}"
    directory = write({"page.html": page})
    answer = make_client(Pages(directory, {"before": FIRST_CHUNK - 2})).get(
        f"/{handler}?name=page.html"
    )
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    client = make_client(Pages(directory, {"before": FIRST_CHUNK}), raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/{handler}?name=page.html")
    assert caplog.text.count(f'{directory / "page.html"}", line 2') == 2


@pytest.mark.parametrize("handler", ["stream", "stream_async"])
def test_R59_a_disconnection_closes_a_streamed_template(
    make_client: MakeClient, write: WriteTemplates, handler: str
) -> None:
    made, closed = [], []

    def rows() -> Iterator[int]:
        try:
            for number in range(1000):
                made.append(number)
                yield number
        finally:
            closed.append(True)

    class Root(App):
        def stream(self) -> Any:
            return self.render_stream("page.html", rows=rows())

        async def stream_async(self) -> Any:
            return self.render_stream("page.html", rows=rows())

    page = "{% for row in rows %}" + "x" * CHUNK + "{% endfor %}"
    client = make_client(Root(templates=write({"page.html": page})))
    with client.stream("GET", f"/{handler}") as answer:
        next(answer.iter_raw())
    assert client.get("/nowhere").status_code == 404
    if IS_FREE_THREADED:  # nobody closes the rows, and they may be freed later
        gc.collect()
    assert closed == [True]
    assert len(made) < 4 * CHUNKS_AHEAD


# -- what goes wrong -------------------------------------------------------------------------------


MISSING = ["none.html", "../secret", "/etc/passwd", "", ".", "x" * 5000, "includes.html"]


@pytest.mark.parametrize(("name", "handler"), paired(MISSING, HANDLERS))
def test_a_missing_template_gets_a_500_and_the_log_lists_the_searched_folders(
    make_client: MakeClient,
    write: WriteTemplates,
    handler: str,
    name: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = write({"includes.html": "\n{% include 'gone.html' %}"})
    write({"secret": "secret"}, below=".")
    answer = make_client(Pages(directory)).get(f"/{handler}", params={"name": name})
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    missing = "gone.html" if name == "includes.html" else name
    error = caplog.records[0].exc_info[1] if caplog.records[0].exc_info else None
    assert isinstance(error, LookupError)
    reason = f"there is no template {missing!r} in {directory}"
    if name in ("", "../secret"):
        reason = (
            f"{name!r} is not a template name: write a path relative to {directory}, without '..', and never "
            "take the name from a client"
        )
    assert str(error) == reason
    assert len(caplog.records) == 1
    assert name != "includes.html" or f'{directory / name}", line 2' in caplog.text


BROKEN = {
    "{% if %}": "TemplateSyntaxError",
    "{{ x|nothing }}": "TemplateAssertionError",
    "{{ missing.attribute }}": "UndefinedError",
    "{{ 1 // 0 }}": "ZeroDivisionError",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_template_gets_a_500_and_the_log_has_its_line(
    make_client: MakeClient,
    write: WriteTemplates,
    handler: str,
    text: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = write({"page.html": "<p>\n\n" + text})
    answer = make_client(Pages(directory)).get(f"/{handler}?name=page.html")
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    assert f'{directory / "page.html"}", line 3' in caplog.text
    assert BROKEN[text] in caplog.text
    assert len(caplog.records) == 1


def test_a_template_that_is_not_utf_8_is_named(write: WriteTemplates) -> None:
    directory = write({"page.html": ""})
    (directory / "page.html").write_bytes(b"\xff")
    with pytest.raises(UnicodeDecodeError) as caught:
        Pages(directory).render("page.html")
    assert caught.value.__notes__ == [f"The template 'page.html' in {directory} must be UTF-8."]


def test_without_jinja2_the_extra_is_named(
    make_client: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    write: WriteTemplates,
    handler: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    directory = write({"page.html": ""})
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "micropie._core.templates.environment", raising=False)
    answer = make_client(Pages(directory)).get(f"/{handler}?name=page.html")
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    text = caplog.text
    assert 'RuntimeError: templates need Jinja2: pip install "micropie-dual[standard]"' in text


def test_an_import_error_inside_jinja2_is_not_reported_as_a_missing_jinja2(
    monkeypatch: pytest.MonkeyPatch, write: WriteTemplates
) -> None:
    for name in [
        name for name in sys.modules if name.partition(".")[0] in ("jinja2", "markupsafe")
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "micropie._core.templates.environment", raising=False)
    monkeypatch.setitem(sys.modules, "markupsafe", None)
    with pytest.raises(ModuleNotFoundError, match="markupsafe"):
        Pages(write({"page.html": ""})).render("page.html")


@pytest.mark.processes
def test_jinja2_is_imported_by_the_first_template() -> None:
    code = "import sys, micropie; assert 'jinja2' not in sys.modules; assert micropie.template(source='{{ 1 }}') == '1'"
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        check=True,
        cwd=Path(__file__).parent.parent.parent,
    )


# -- directories -----------------------------------------------------------------------------------


def test_templates_is_the_default_directory(
    monkeypatch: pytest.MonkeyPatch, write: WriteTemplates, tmp_path: Path
) -> None:
    write({"only_here.html": "{{ 1 + 1 }}"})
    monkeypatch.chdir(tmp_path)
    assert App().render("only_here.html") == "2"
    assert template("only_here.html") == "2"


def test_a_relative_directory_does_not_follow_a_changed_working_directory(
    monkeypatch: pytest.MonkeyPatch, write: WriteTemplates, tmp_path: Path
) -> None:
    write({"first.html": "1", "second.html": "2"})
    monkeypatch.chdir(tmp_path)
    app = App()
    assert app.render("first.html") == "1"
    monkeypatch.chdir("/")
    assert app.render("second.html") == "2"
    with pytest.raises(
        LookupError, match=re.escape(f"there is no template 'third.html' in {tmp_path}")
    ):
        app.render("third.html")


class Inner(App):
    def index(self, name: str = "page.html") -> Any:
        return self.render(name)

    async def later(self, name: str = "page.html") -> Any:
        return await self._render_template(name)

    def broken(self) -> None:
        raise ValueError

    def links(self) -> str:
        return template(source="{{ url_for('links') }}")

    def helped(self) -> str:
        return self.render("page.html")


@pytest.mark.parametrize("path", ["/inner", "/inner/later"])
def test_an_inner_application_uses_the_outer_template_directory(
    make_client: MakeClient, write: WriteTemplates, path: str
) -> None:
    app = Pages(write({"page.html": "outer {{ url_for('index') }}"}))
    app.inner = Inner(debug=True)
    client = make_client(app)
    assert client.get(path).text == "outer /inner/"


@pytest.mark.parametrize("path", ["/inner", "/inner/later"])
def test_an_inner_application_with_a_directory_searches_it_first(
    make_client: MakeClient, write: WriteTemplates, path: str
) -> None:
    app = Pages(write({"page.html": "outer", "outer.html": "outer"}))
    app.inner = Inner(templates=write({"page.html": "inner {{ url_for('links') }}"}, below="inner"))
    client = make_client(app)
    assert client.get(path).text == "inner /inner/links"
    assert client.get(path, params={"name": "outer.html"}).text == "outer"


def test_each_application_renders_its_own_templates(
    make_client: MakeClient, write: WriteTemplates
) -> None:
    inner = Inner(templates=write({"page.html": "inner {{ url_for('links') }}"}, below="inner"))
    other = Pages(write({"page.html": "other {{ url_for('stream') }}"}, below="other"))

    class Outer(App):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.inner = inner

        def helped(self) -> str:
            return self.inner.helped()

        def other(self) -> str:
            return other.render("page.html")

        def links(self) -> str:
            return self.inner.url_for("links")

    app = Outer(templates=write({"page.html": "outer {{ url_for('helped') }}"}))
    app.error(ValueError)(lambda: app.render("page.html"))
    client = make_client(app)
    assert client.get("/helped").text == "inner /inner/links"
    assert client.get("/inner/broken").text == "outer /helped"
    assert client.get("/other").text == "other /stream"
    assert client.get("/links").text == "/inner/links"


def test_a_template_of_an_application_in_two_places_links_to_the_current_one(
    make_client: MakeClient, write: WriteTemplates
) -> None:
    app = Pages(write({"page.html": "{{ url_for('links') }}"}))
    inner = Inner()
    app.mount("/one", inner)
    app.mount("/two", inner)
    client = make_client(app)
    texts = [client.get(f"/{place}").text for place in ("one", "two")]
    assert texts == ["/one/links", "/two/links"]


def test_links_in_templates_include_a_mount(make_client: MakeClient, write: WriteTemplates) -> None:
    app = Pages(write({"page.html": "{{ url_for('stream') }} {{ url_for('inner.links') }}"}))
    app.inner = Inner(templates=write({"page.html": "{{ url_for('links') }}"}, below="inner"))
    client = make_client(app, root_path="/mount")
    assert client.get("/render_page?name=page.html").text == "/mount/stream /mount/inner/links"
    assert client.get("/inner").text == "/mount/inner/links"


# -- kept, and noticed when it changes -------------------------------------------------------------


@pytest.mark.parametrize("debug", [True, False])
def test_a_changed_template_is_only_reloaded_with_debug(
    make_client: MakeClient, write: WriteTemplates, handler: str, debug: bool
) -> None:
    directory = write({"page.html": "{% include 'part.html' %}", "part.html": "old"})
    client = make_client(Pages(directory, debug=debug))
    assert client.get(f"/{handler}?name=page.html").text == "old"
    write({"part.html": "new"})
    later = (directory / "part.html").stat().st_mtime_ns + 10**9
    os.utime(directory / "part.html", ns=(later, later))
    assert client.get(f"/{handler}?name=page.html").text == ("new" if debug else "old")


def test_without_debug_template_files_are_not_checked_again(
    make_client: MakeClient, write: WriteTemplates
) -> None:
    page = "x" * CHUNK
    directory = write(
        {"page.html": page + "{% include 'part.html' %}", "part.html": "kept{{ csrf_token()[:0] }}"}
    )
    client = make_client(Pages(directory))
    texts = [client.get(f"/{handler}?name=page.html").text for handler in HANDLERS]
    shutil.rmtree(directory)
    client.cookies.clear()
    answers = [client.get(f"/{handler}?name=page.html") for handler in ("stream", *HANDLERS)]
    assert {*texts, *(answer.text for answer in answers)} == {page + "kept"}
    assert "set-cookie" in answers[0].headers


def test_threads_share_compiled_templates(write: WriteTemplates) -> None:
    files = {f"{number}.html": "{% include 'part.html' %}" + str(number) for number in range(20)}
    app = Pages(write({**files, "part.html": "{% for c in word %}{{ c }}{% endfor %}"}))
    begin = threading.Barrier(8)

    def render(word: str) -> list[str]:
        begin.wait()
        return [app.render(f"{number}.html", word=word) for number in range(20)] * 5

    with ThreadPoolExecutor(8) as pool:
        for word, texts in zip("abcdefgh", pool.map(render, "abcdefgh"), strict=True):
            assert texts == [f"{word}{number}" for number in range(20)] * 5


# -- filters and globals ---------------------------------------------------------------------------


def money(amount: float) -> str:
    return f"{amount:.2f} €"


def test_filters_and_globals_are_inherited_and_extended(
    make_client: MakeClient, write: WriteTemplates, handler: str
) -> None:
    page = "{{ 3|money }} {{ 3|twice }} {{ site }} {{ part }} {% from 'macro.html' import m %}{{ m() }}"
    directory = write(
        {"page.html": page, "macro.html": "{% macro m() %}{{ site }}{{ part }}{% endmacro %}"}
    )
    app: Any = Pages(
        directory,
        template_filters={"money": money, "twice": lambda value: value},
        template_globals={"site": "Pies", "part": "outer"},
    )
    app.inner = Pages(
        directory,
        template_filters={"twice": lambda value: value * 2},
        template_globals={"part": "inner"},
    )
    app.inner.inner = Pages(directory)
    client = make_client(app)
    shown = {
        path: client.get(f"{path}/{handler}?name=page.html").text
        for path in ("", "/inner", "/inner/inner")
    }
    assert shown == {
        "": "3.00 € 3 Pies outer Piesouter",
        "/inner": "3.00 € 6 Pies inner Piesinner",
        "/inner/inner": "3.00 € 6 Pies inner Piesinner",
    }


def test_globals_take_precedence_over_default_template_values(write: WriteTemplates) -> None:
    app = Pages(write({"page.html": "{{ request }}"}), template_globals={"request": "mine"})
    assert app.render("page.html") == "mine"


@pytest.mark.parametrize("name", ["template_filters", "template_globals"])
def test_the_author_s_dict_is_not_changed(name: str) -> None:
    values: Any = {"money": money}
    others: Any = {"other": money}
    app = App(**{name: values})
    app.inner = App(**{name: others})
    app._micropie.compiled()
    assert values == {"money": money}


# -- template() ------------------------------------------------------------------------------------


def test_template_takes_a_name_or_a_source(make_client: MakeClient, write: WriteTemplates) -> None:
    class Root(App):
        def index(self) -> str:
            return template("page.html", name="file")

        async def source(self) -> str:
            return template(source="Hello {{ name }} of {{ request.path }}", name="source")

        def block(self) -> str:
            return template(source="{% if 1 %}block{% endif %}")

        def lines(self) -> str:
            return template(source="two\nlines")

        def parts(self) -> str:
            return template(
                source="{% extends 'base.html' %}{% block b %}{{ name_or_source }}{% endblock %}",
                name_or_source="x",
            )

        def missing(self) -> str:
            return template("Hello")

    app = Root(
        templates=write(
            {"page.html": "Hello {{ name }}", "base.html": "<b>{% block b %}{% endblock %}</b>"}
        )
    )
    client = make_client(app)
    paths = ["/", "/source", "/block", "/lines", "/parts"]
    wanted = ["Hello file", "Hello source of /source", "block", "two\nlines", "<b>x</b>"]
    assert [client.get(path).text for path in paths] == wanted
    assert client.get("/missing").status_code == 500


def test_template_searches_the_current_application_s_directories(
    make_client: MakeClient, write: WriteTemplates
) -> None:
    class Root(App):
        def index(self) -> str:
            return template("page.html")

    app: Any = Root(templates=write({"page.html": "outer"}))
    app.inner = Root(templates=write({"page.html": "inner"}, below="inner"))
    client = make_client(app)
    assert [client.get(path).text for path in ("/", "/inner")] == ["outer", "inner"]


def test_template_works_outside_requests(
    monkeypatch: pytest.MonkeyPatch, write: WriteTemplates, tmp_path: Path
) -> None:
    for number in range(6):  # a directory each
        (tmp_path / str(number)).mkdir()
        monkeypatch.chdir(tmp_path / str(number))
        write({"page.html": "{{ name }} " + str(number)}, below=f"{number}/templates")
        assert template("page.html", name="<a>") == f"&lt;a&gt; {number}"
    with pytest.raises(LookupError, match="there is no template 'none' in /"):
        template("none")
    missing: Any = None
    for name in ("../page.html", "", missing):
        with pytest.raises(LookupError, match="never take the name from a client"):
            template(name)
    with pytest.raises(LookupError, match="there is no current request"):
        template(source="{{ request.path }}")
    with pytest.raises(LookupError, match=r"render the template with app.render\(...\)"):
        template(source="{{ url_for('index') }}")


@pytest.mark.parametrize("text", ["{{ 7 * 7 }}", "{% if 1 %}{% endif %}", "two\nlines"])
def test_a_template_source_passed_as_a_name_is_not_rendered(text: str) -> None:
    with pytest.raises(SetupError, match=r"write template\(source=...\)"):
        template(text)


def test_template_refuses_both_a_name_and_a_source() -> None:
    with pytest.raises(SetupError, match=r"write template\(source=...\)"):
        template("page.html", source="Hello")
    assert template(source="") == ""


def test_the_number_of_cached_compiled_sources_is_bounded(write: WriteTemplates) -> None:
    templates = Pages(write({"page.html": ""}))._micropie.compiled().config.templates
    for number in range(1000):
        found = templates.render("", {"n": number}, source="{{ n }} " + str(number % 500))
        assert found == f"{number} {number % 500}"
    compiled: Any = templates._sync.compiled
    info = compiled.cache_info()
    assert info.currsize == 256
    before = info.hits
    templates.render("", {"n": 1}, source="{{ n }} 499")
    assert compiled.cache_info().hits == before + 1


@pytest.mark.parametrize(
    "wrong", [5, None, ["money"], {"money": money, 5: money}, {"a-b": money}, {"": money}]
)
@pytest.mark.parametrize("name", ["template_filters", "template_globals"])
def test_invalid_filters_and_globals_fail_at_construction(name: str, wrong: Any) -> None:
    with pytest.raises(SetupError, match=name):
        App(**{name: wrong})


def test_a_filter_that_is_not_callable_fails_at_construction() -> None:
    with pytest.raises(
        SetupError, match=r"template_filters=...\) takes a dict from names to functions"
    ):
        App(template_filters={"money": "2.00"})  # type: ignore[dict-item]


# -- Jinja2's environment --------------------------------------------------------------------------


def test_jinja2_environments_are_accessible(write: WriteTemplates, make_client: MakeClient) -> None:
    def setup(environment: Any) -> None:
        environment.add_extension("jinja2.ext.do")
        environment.tests["round"] = lambda value: value == "pie"
        environment.undefined = jinja2.StrictUndefined

    source = "{% set found = [] %}{% do found.append(thing is round) %}{{ found }}"
    directory = write({"page.html": source, "strict.html": "{{ nothing }}"})
    client = make_client(Pages(directory, {"thing": "pie"}, template_setup=setup))
    assert client.get("/render_page/page.html").text == "[True]"
    assert client.get("/render_awaiting/page.html").text == "[True]"
    assert client.get("/render_page/strict.html").status_code == 500


def test_templates_can_come_from_several_directories_and_packages(
    write: WriteTemplates, make_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write({"page.html": "first {% include 'part.html' %}"}, "first")
    second = write({"page.html": "second", "part.html": "{% include 'shared.html' %}"}, "second")
    write({"shared.html": "from the package"}, "pies_of_a_package/templates")
    (tmp_path / "pies_of_a_package" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    app = Pages([first, str(second), "package:pies_of_a_package"])  # type: ignore[arg-type]
    assert make_client(app).get("/render_page/page.html").text == "first from the package"


def test_a_missing_directory_fails_at_startup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is the default, or one of several, such as those of an outer application."""

    def with_inner(**settings: Any) -> Any:
        outer: Any = App(**settings)
        outer.inner = App(templates="pages")
        return outer

    monkeypatch.chdir(tmp_path)
    for fine in (
        App(),
        App(templates=["pages", tmp_path]),
        App(templates="package:micropie"),
        with_inner(templates=tmp_path),
        with_inner(templates="package:micropie"),
    ):
        fine._micropie.compiled()
    for wrong in (App(templates="pages"), with_inner()):
        with pytest.raises(
            SetupError, match=f"no directory 'pages' .* is {re.escape(str(tmp_path))}"
        ):
            wrong._micropie.compiled()


def test_startup_may_create_the_only_directory_of_a_list(
    make_client: MakeClient, tmp_path: Path
) -> None:
    created = tmp_path / "created"

    class Root(App):
        def index(self) -> str:
            return self.render("page.html")

    @asynccontextmanager
    async def create(app: App) -> AsyncIterator[None]:
        created.mkdir()
        (created / "page.html").write_text("created")
        yield

    with pytest.raises(SetupError, match=re.escape(f"write templates=[{str(created)!r}]")):
        Root(templates=created)._micropie.compiled()
    client = make_client(Root(templates=[str(created)], lifespan=create))
    assert client.get("/").text == "created"


@pytest.mark.parametrize("wrong", [5, [], [5]])
def test_invalid_directories_fail_at_construction(wrong: Any) -> None:
    with pytest.raises(
        SetupError, match=r"templates=.*takes the path of a directory, or a list of paths"
    ):
        App(templates=wrong)
