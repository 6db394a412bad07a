"""Templates: everything is escaped, the current request is in reach, and what is missing is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micropie import App, Server, templates
from tests.conftest import MakeClient


@pytest.fixture
def directory(tmp_path: Path) -> str:
    for name in ("page.html", "page.txt", "page.html.j2", "page"):
        (tmp_path / name).write_text("<p>{{ message }}</p>")
    (tmp_path / "base.html").write_text("<b>{% block body %}{% endblock %}</b>")
    (tmp_path / "child.html").write_text('{% extends "base.html" %}{% block body %}é{% endblock %}')
    (tmp_path / "includes.html").write_text('{% include "missing.html" %}')
    (tmp_path / "broken.html").write_text("{% if %}")
    return str(tmp_path)


class Root(App):
    async def index(self, name: str) -> Any:
        return await self._render_template(name, message="<script>")

    def sync(self, name: str) -> Any:
        return self.render(name, message="<script>")


@pytest.mark.parametrize("name", ["page.html", "page.txt", "page.html.j2", "page"])
@pytest.mark.parametrize("path", ["/", "/sync"])
def test_R77_everything_is_escaped(make_client: MakeClient, directory: str, name: str, path: str) -> None:
    answer = make_client(Root(templates=directory)).get(path, params={"name": name})
    assert answer.text == "<p>&lt;script&gt;</p>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_inheritance(make_client: MakeClient, directory: str) -> None:
    assert make_client(Root(templates=directory)).get("/?name=child.html").content == "<b>é</b>".encode()


@pytest.mark.parametrize("name", ["none.html", "../secret", "/etc/passwd", "includes.html", "broken.html", ""])
def test_a_template_that_is_none_is_a_500(
    make_client: MakeClient, directory: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert make_client(Root(templates=directory)).get("/", params={"name": name}).status_code == 500
    assert len(caplog.records) == 1


def test_a_missing_template_is_named(directory: str) -> None:
    with pytest.raises(LookupError, match=r"no template 'none.html' in /"):
        App(templates=directory).render("none.html")
    with pytest.raises(LookupError, match=r"no template 'missing.html'"):
        App(templates=directory).render("includes.html")


def test_without_jinja2_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, directory: str) -> None:
    monkeypatch.setattr(templates, "jinja2", None)
    with pytest.raises(RuntimeError, match=r'pip install "micropie\[standard\]"'):
        App(templates=directory).render("page.html")


def test_the_default_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "only_here.html").write_text("{{ 1 + 1 }}")
    monkeypatch.chdir(tmp_path)
    assert App().render("only_here.html") == "2"


def test_an_inner_application_has_the_directory_of_the_outer_one(make_client: MakeClient, directory: str) -> None:
    app = Root(templates=directory)
    app.inner = Root()
    assert make_client(app).get("/inner?name=page.html").status_code == 200


def test_the_old_name(make_client: MakeClient, directory: str) -> None:
    class Old(Server):
        async def index(self) -> Any:
            return await self.render_template("page.html", message="old")

    assert make_client(Old(templates=directory)).get("/").text == "<p>old</p>"


def test_a_render_that_was_not_awaited_is_a_page_all_the_same(make_client: MakeClient, directory: str) -> None:
    class Root(App):
        def index(self) -> Any:
            return self._render_template("page.html", message="sync")

    assert make_client(Root(templates=directory)).get("/").text == "<p>sync</p>"


def test_templates_see_helpers_of_the_request(make_client: MakeClient, directory: str) -> None:
    class Root(App):
        def index(self) -> Any:
            return self.render("page.html", message=self.request)

    assert "&lt;Request GET" in make_client(Root(templates=directory)).get("/").text
