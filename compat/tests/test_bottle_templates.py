"""Templates: each test of SimpleTemplate and Jinja2 passes with the original as well, unless it
says otherwise.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest

from micropie_compat import bottle as ours
from micropie_compat.bottle import templates


@pytest.fixture
def lookup(tmp_path: Path) -> list[str]:
    (tmp_path / "page.tpl").write_text("simple {{x}}")
    (tmp_path / "page.html").write_text("html {{x}}")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.html").write_text("base {% block b %}{% endblock %}")
    (tmp_path / "child.html").write_text("{% extends 'sub/base' %}{% block b %}{{x}}{% endblock %}")
    return [str(tmp_path)]


def test_simpletemplate_renders_and_escapes(bottle: Any, lookup: list[str]) -> None:
    assert bottle.template("page", template_lookup=lookup, x="<1>") == "simple &lt;1&gt;"
    assert bottle.template("{{a}}{{!b}}", {"a": "<"}, b="<") == "&lt;<"
    assert bottle.SimpleTemplate("{{x}}").render(x=1) == "1"
    with pytest.raises(Exception, match="not found"):
        bottle.template("none", template_lookup=lookup)


def test_the_installed_engine_is_used_even_if_its_name_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    templates.engine.cache_clear()
    monkeypatch.setitem(sys.modules, "bottle", ours)
    assert ours.template("{{x}}", x="y") == "y"
    assert ours.SimpleTemplate.__name__ == "SimpleTemplate"


def test_without_the_engine_s_package_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    templates.engine.cache_clear()
    monkeypatch.setattr(PathFinder, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install bottle"):
        ours.template("{{x}} is new", x="y")


def test_jinja2_templates_are_rendered(bottle: Any, lookup: list[str]) -> None:
    assert bottle.jinja2_template("page.html", template_lookup=lookup, x="<1>") == "html <1>"
    assert bottle.jinja2_template("child", template_lookup=lookup, x="1") == "base 1"
    settings = {
        "autoescape": True,
        "filters": {"twice": lambda x: x * 2},
        "globals": {"g": "global"},
    }
    text = bottle.jinja2_template("{{ x|twice }} {{ g }}", x="<", template_settings=settings)
    assert text == "&lt;&lt; global"
    with pytest.raises(bottle.TemplateError, match="not found"):
        bottle.jinja2_template("none", template_lookup=lookup)
    with pytest.raises(Exception, match=r"(?i)not found|none"):
        bottle.jinja2_template("{% include 'none' %}", template_lookup=lookup)


@pytest.mark.parametrize("engine", ["SimpleTemplate", "Jinja2Template", "MakoTemplate"])
def test_all_template_engines_share_defaults_and_settings(
    bottle: Any, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual way to give each page the site's functions."""
    base, kind = bottle.BaseTemplate, getattr(bottle, engine)
    text = "${site}" if engine == "MakoTemplate" else "{{site}}"
    monkeypatch.setitem(base.defaults, "site", "<S>")
    bottle.TEMPLATES.clear()  # Bottle's know no engine
    assert (kind.defaults is base.defaults, kind.settings is base.settings) == (True, True)
    made = kind(text)
    assert isinstance(made, base)
    assert made.render(site=1) == "1"
    escaped = "&lt;S&gt;" if engine == "SimpleTemplate" else "<S>"
    assert bottle.template(text, template_adapter=kind) == made.render() == escaped

    class Own(kind):  # type: ignore[misc, valid-type]
        defaults: ClassVar = {"site": "own"}

        def prepare(self, **options: Any) -> None:
            super().prepare()
            self.options = options

    Own.global_config("a", 1)
    assert (Own.global_config("a"), base.settings) == (1, {})
    template = Own(text, b=2)
    assert (template.render(), template.options) == ("own", {"a": 1, "b": 2})
    assert template.settings == template.options


def test_template_settings_reach_templates(bottle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bottle.BaseTemplate.settings, "noescape", True)
    assert bottle.SimpleTemplate("{{a}}").render(a="<") == "<"
    assert bottle.template("{{a}}&", a="<") == "<&"
    template = bottle.SimpleTemplate("{{a}}{{!a}}", noescape=False)
    assert template.render(a="<") == "&lt;<"
    assert bottle.template(template, a="<", template_settings={"noescape": True}) == "<&lt;"


def test_a_subclass_of_a_template_can_prepare_its_environment(
    bottle: Any, lookup: list[str]
) -> None:
    class Own(bottle.Jinja2Template):
        def prepare(self, **options: Any) -> None:
            super().prepare(**options)
            self.env.filters["twice"] = lambda text: text * 2
            self.tpl = self.env.from_string("{{ x|twice }}")

    template = Own(name="page.html", lookup=lookup)
    assert template.render(x="a") == "aa"
    assert template.filename == f"{lookup[0]}/page.html"
    assert template.loader("sub/base")[0].startswith("base")
    file = StringIO("text")
    file.filename = "here.tpl"  # type: ignore[attr-defined]
    assert bottle.SimpleTemplate(file).filename == "here.tpl"


def test_a_template_may_be_a_symbolic_link(bottle: Any, lookup: list[str], tmp_path: Path) -> None:
    (tmp_path / "sub" / "linked.tpl").symlink_to(tmp_path / "page.tpl")
    assert bottle.template("linked", template_lookup=[f"{lookup[0]}/sub"], x=1) == "simple 1"


def test_a_view_renders_the_handler_s_dict(bottle: Any) -> None:
    view = bottle.jinja2_view("{{ a }} {{ b }}", b="default")
    assert view(lambda: {"a": 1})() == "1 default"
    assert view(lambda: None)() == " default"
    assert view(lambda: "as it is")() == "as it is"


def test_a_template_object_can_be_rendered(bottle: Any, lookup: list[str]) -> None:
    template = bottle.Jinja2Template(StringIO("{{ x }}{{ d }}"))
    template.defaults = {"d": "!"}
    assert template.render({"x": 1}) == "1!"
    assert bottle.template(template, x=2, template_adapter=bottle.Jinja2Template) == "2!"
    assert bottle.BaseTemplate.search("page", lookup).endswith("page.tpl")
    assert bottle.BaseTemplate.search("page.html", lookup).endswith("page.html")
    assert bottle.BaseTemplate.search("../page", [f"{lookup[0]}/sub"]) is None
    assert bottle.BaseTemplate.search("none", lookup) is None
    assert bottle.BaseTemplate.search("page\0", lookup) is None
    assert bottle.BaseTemplate.search("p" * 5000, lookup) is None


def test_a_template_is_cached_unless_debugging(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    arguments: dict[str, Any] = {"template_lookup": [str(tmp_path)]}
    lookup = arguments["template_lookup"]
    assert ours.jinja2_template("page", template_lookup=lookup) == "old"
    (tmp_path / "page.html").write_text("new")
    assert ours.jinja2_template("page", template_lookup=lookup) == "old"
    ours.debug(True)
    try:
        assert ours.jinja2_template("page", template_lookup=lookup) == "new"
    finally:
        ours.debug(False)


def test_mako_templates_are_rendered(lookup: list[str]) -> None:
    pytest.importorskip("mako")
    assert ours.mako_template("${x}!", x=1) == "1!"
    Path(lookup[0], "m.tpl").write_text("<%include file='n.html'/> ${x}")
    Path(lookup[0], "n.html").write_text("included")
    assert ours.mako_template("m", template_lookup=lookup, x=1) == "included 1"
    assert ours.mako_view("${a}")(lambda: {"a": 1})() == "1"
