"""``micropie check --from`` says of each idiom of public programs that it works, or what to write."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import bottle as original_bottle
import cherrypy as original_cherrypy
import pytest

from compat.tests.guides import BY_CHECK, IMPORTS, MISSING, SIDE_BY_SIDE
from compat.tests.idioms import NEEDS, WORKS
from micropie.cli.check import changes
from micropie_compat import bottle, cherrypy
from tests.support.clients import MakeClient

FRAMEWORKS = ["bottle", "cherrypy"]
GUIDES = Path(__file__).parent.parent.parent / "docs" / "moving"
ORIGINALS = {"bottle": original_bottle, "cherrypy": original_cherrypy}
OURS = {"bottle": bottle, "cherrypy": cherrypy}


def told(
    framework: str, folder: Path, sources: list[str], first: str = "import {}\n"
) -> dict[str, list[str]]:
    """Return what ``check`` says of each source, which imports the framework first."""
    given: dict[str, list[str]] = {}
    file = folder / "program.py"
    for source in sources:
        file.write_text(f"{first.format(framework)}{source}\n")
        given[source] = [one.advice for one in changes(framework, file)]
    return given


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_check_does_not_report_code_that_works(framework: str, tmp_path: Path) -> None:
    given = told(framework, tmp_path, WORKS[framework])
    given |= told(framework, tmp_path, IMPORTS[framework], "")
    assert {source: advice for source, advice in given.items() if advice} == {}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_check_reports_code_that_does_not_work(framework: str, tmp_path: Path) -> None:
    given = told(framework, tmp_path, [*NEEDS[framework]])
    silent = {
        source: advice
        for source, advice in given.items()
        if not any(NEEDS[framework][source] in one for one in advice)
    }
    assert silent == {}


def section(page: str, title: str) -> str:
    """Return what stands below a heading of a guide."""
    return (GUIDES / page).read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_guide_s_tables_match_what_check_reports(framework: str, tmp_path: Path) -> None:
    titles = {"bottle": "Bottle", "cherrypy": "CherryPy"}
    left = rf"^\| *+(?!{titles[framework]}(?: |\|)|missing(?: |\|)|---)"
    rows = section(f"{framework}.md", f"{titles[framework]} and micropie side by side")
    programs = SIDE_BY_SIDE[framework]
    assert len(re.findall(left, rows, re.MULTILINE)) == len(programs)
    given = told(framework, tmp_path, programs)
    assert {source: advice for source, advice in given.items() if advice} == {}
    page = {"bottle": "bottle.md", "cherrypy": "cherrypy-differences.md"}[framework]
    rows = section(page, "What is missing")
    lacking = MISSING[framework]
    assert len(re.findall(left, rows, re.MULTILINE)) == len(lacking)
    given = told(framework, tmp_path, [source for sources in lacking for source in sources])
    assert [source for source, advice in given.items() if not advice] == []


def test_check_finds_differences_from_micropie(tmp_path: Path) -> None:
    rows = section("micropie.md", "What `check` finds")
    assert re.findall(r"^- \*\*(.*?)\*\*", rows, re.MULTILINE) == [*BY_CHECK]
    for name, source in BY_CHECK.items():
        (tmp_path / "program.py").write_text(source)
        assert [*changes("micropie", tmp_path)], name


def test_check_recognises_applications_imported_from_other_modules(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import bottle\nsite = bottle.Bottle()\n")
    (tmp_path / "serve.py").write_text(
        "from bottle import run\nfrom shop import site\n\nif __name__ == '__main__':\n    run(site)\n"
    )
    (tmp_path / "wsgi.py").write_text(
        "import shop\ninner = shop.site\napplication = Logged(inner)\n"
    )
    (tmp_path / "asgi.py").write_text("from shop import site as app\nother_app = Logged(app)\n")
    found = [(one.file.stem, one.name, one.is_note) for one in changes("bottle", tmp_path)]
    assert found == [("asgi", "Logged(...)", False), ("wsgi", "Logged(...)", False)]


@pytest.mark.parametrize("framework", [*FRAMEWORKS, "pixie_web", "micropie"])
def test_check_reads_deeply_nested_expressions(framework: str, tmp_path: Path) -> None:
    letters = "text" + ".replace('ä', 'ae')" * 250
    sources = [
        f"text = '' \nother = {letters}",
        f"def spell(text): return print({letters})",
        f"def spell(text): return self._redirect({letters})",
        f"page = str({' + '.join(['text'] * 500)}, 'latin1')",
    ]
    given = told(framework, tmp_path, sources)
    assert given == {source: [] for source in sources}


def test_an_unreadable_file_adds_no_names(tmp_path: Path) -> None:
    (tmp_path / "old.py").write_text("print 'a'\ncherrypy.user = cherrypy.site.one = 1\n")
    (tmp_path / "new.py").write_text(
        "import cherrypy\ncherrypy.user.name, cherrypy.site, cherrypy.sites\n"
    )
    found = [one.name for one in changes("cherrypy", tmp_path)]
    assert found == ["syntax", "cherrypy.site", "cherrypy.sites"]


def test_check_suggests_dual_around_middleware(tmp_path: Path) -> None:
    source = "import micropie\napp = Logged(bottle.app())\n{}app = micropie.dual(app)"
    given = told(
        "bottle", tmp_path, [source.format(""), source.format("other_app = Logged(app)\n")]
    )
    assert [len(advice) for advice in given.values()] == [0, 1]


TEMPLATES = {
    "views/page.tpl": "<p>\n% from bottle import request\n",
    "views/block.stpl": "<%\nimport bottle\n%>\n",
    "page.mako": "<%! import os; import bottle %>\n",
    "page.html": "<p>we import bottle caps from bottle-makers</p>\n% import bottles\n",
}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_check_skips_a_copy_of_the_original(framework: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(f"import {framework}\n")
    source = Path(str(ORIGINALS[framework].__file__))
    if framework == "bottle":
        (tmp_path / "vendored").mkdir()
        (tmp_path / "vendored" / "bottle.py").write_bytes(source.read_bytes())
        (tmp_path / "bottle.py").write_text("from bottle import no_such_name\n")
    else:
        shutil.copytree(source.parent, tmp_path / "cherrypy", ignore=lambda *_: ["test"])
        (tmp_path / "own.py").write_text("from cherrypy import no_such_name\n")
    assert [one.name for one in changes(framework, tmp_path)] == [f"{framework}.no_such_name"]


def test_check_reads_templates_too(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from micropie_compat import bottle\n")
    for name, text in TEMPLATES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "folder.tpl").mkdir()
    found = [*changes("bottle", tmp_path)]
    given = [(one.file.name, one.line) for one in found]
    assert given == [("page.mako", 1), ("block.stpl", 2), ("page.tpl", 2)]
    assert {one.advice for one in found} == {
        "in the template, import the framework from micropie_compat"
    }
    program.write_text("from micropie_compat import install\ninstall('bottle')\n")
    assert [*changes("bottle", tmp_path)] == []


def failures(framework: str, module: Any, client_of: Any) -> dict[str, str]:
    """Run what works in a handler, each in a request of its own. Return the exceptions that are no
    answers.
    """
    found: dict[str, str] = {}
    answers = (
        (module.HTTPResponse,)
        if framework == "bottle"
        else (module.HTTPRedirect, module.HTTPError, module.InternalRedirect)
    )

    def run(number: str, **_: str) -> str:
        source = WORKS[framework][int(number)]
        try:
            with suppress(*answers):
                exec(source, {framework: module})
        except Exception as error:
            found[source] = repr(error)
        return "ran"

    app: Any
    if framework == "bottle":
        app = module.Bottle()
        app.route("/run/<number>", ["GET", "POST"], run)
    else:
        root = type("Root", (), {"run": module.expose(staticmethod(run))})()
        app = module.Application(root, "", {"/": {"tools.sessions.on": True}})
    client = client_of(app)
    for number in range(len(WORKS[framework])):
        client.get(f"/run/{number}?text=pie", headers={"Referer": "/page"})
    return found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_code_that_works_runs_on_the_original(framework: str, connect: MakeClient) -> None:
    module = ORIGINALS[framework]
    assert failures(framework, module, lambda app: connect(app, "wsgi", validate=False)) == {}


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_code_that_works_runs_on_the_compatibility_module(
    framework: str, make_client: MakeClient
) -> None:
    assert failures(framework, OURS[framework], make_client) == {}


@pytest.mark.parametrize(
    "folder",
    [
        ".venv/lib",
        "env/lib",
        "site-packages/plugin",
        "node_modules/package",
        ".tox/py",
        "build/lib",
    ],
)
def test_check_skips_third_party_files(folder: str, tmp_path: Path) -> None:
    own, others = tmp_path / "shop", tmp_path / folder
    for place in (own, others):
        place.mkdir(parents=True)
        (place / "program.py").write_text("import cherrypy\ncherrypy.server.quickstart()\n")
        (place / "page.tmpl").write_text("% import cherrypy\n")
        (place / "site.conf").write_text("wsgi.pipeline = 1\n")
    if folder.startswith("env"):
        (tmp_path / "env" / "pyvenv.cfg").touch()
    found = {one.file for one in changes("cherrypy", tmp_path)}
    assert {own / "program.py", own / "site.conf"} <= found
    assert {file for file in found if own not in file.parents} == set()
    if folder != "build/lib":  # what is named is read, whatever its name
        assert {one.file.parent for one in changes("cherrypy", others)} == {others}


@pytest.mark.parametrize("is_copied", [False, True])
def test_check_skips_the_other_framework(is_copied: bool, tmp_path: Path) -> None:
    """Bottle imports CherryPy, for its server."""
    copy = tmp_path / "bottle.py"
    if is_copied:
        copy.write_bytes(Path(ORIGINALS["bottle"].__file__).read_bytes())
    (tmp_path / "shop.py").write_text("import bottle, cherrypy\ncherrypy.server.quickstart()\n")
    assert {one.file.name for one in changes("cherrypy", tmp_path)} == {"shop.py"}
    copy.write_text("import cherrypy\ncherrypy.server.quickstart()\n")  # of another kind
    assert {one.file.name for one in changes("cherrypy", tmp_path)} == {"shop.py", "bottle.py"}


def test_check_reports_a_monitor_only_in_the_program(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("import cherrypy\nimport newrelic.agent\n")
    named = [one.file for one in changes("cherrypy", tmp_path) if "set_transaction" in one.advice]
    assert named == [tmp_path / "shop.py"]
