"""Text in HTML: what ``escape`` changes, and what it leaves alone."""

from __future__ import annotations

import json

import markupsafe
import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import App, escape, template
from tests.conftest import MakeClient


@given(st.text())
def test_it_is_the_text_of_markupsafe(text: str) -> None:
    assert escape(text) == str(markupsafe.escape(text))


@pytest.mark.parametrize(("value", "text"), [(None, "None"), (5, "5"), ("", ""), ([1, "<"], "[1, &#39;&lt;&#39;]")])
def test_any_value_is_escaped_as_its_text(value: object, text: str) -> None:
    assert escape(value) == text


def test_what_is_html_already_is_not_escaped_again() -> None:
    assert escape(markupsafe.Markup("<b>")) == "<b>"
    assert escape(escape("<b>")) == "&lt;b&gt;"
    assert template(source="{{ name }}", name=escape("<b>")) == "&lt;b&gt;"


def test_what_it_is_joined_to_stays_as_it_is() -> None:
    joined = "<p>" + escape("<b>") + "</p>"
    assert joined == "<p>&lt;b&gt;</p>" == f"<p>{escape('<b>')}</p>"
    assert type(joined) is str


def test_it_is_an_answer(make_client: MakeClient) -> None:
    class Root(App):
        def index(self, name: str) -> str:
            return escape(name)

        def json(self, name: str) -> object:
            return {"name": escape(name)}

    client = make_client(Root())
    answer = client.get("/", params={"name": "<b>"})
    assert (answer.text, answer.headers["content-type"]) == ("&lt;b&gt;", "text/html; charset=utf-8")
    assert json.loads(client.get("/json", params={"name": "<b>"}).content) == {"name": "&lt;b&gt;"}
