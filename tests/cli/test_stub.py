"""``micropie check --stub``: a module from which editors and type checkers know the names of
templates and routes.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

import micropie
from tests.cli.in_process import Run, running_in
from tests.support.commands import ROOT, ended
from tests.support.environment import unmeasured

SOURCE = """
from micropie import get

from names import App, Route, Template


class Blog(App["Site"]):
    @get("/<number:int>")
    def show(self, number: int) -> str:
        return self.url_for("show", number=1) + self.url_for("/blog.show", number=1)

    def up(self) -> str:
        return self.root.url_for("index") + self.root.blog.url_for("up")

    def lost(self) -> str:
        return self.root.url_for("indxe")  # wrong


class Site(App):
    blog = Blog()

    def index(self) -> str:
        page: Template = "pages/pie.html"
        return self.render(page, {"a": 1}, block="b", link=self.url_for("blog.show", number=1))

    async def rows(self) -> str:
        route: Route = "rows"
        return await self.render_async("layout.html") + self.absolute_url_for(route)

    def lost(self) -> str:
        return self.render("pages/pei.html")  # wrong

    def stream(self) -> object:
        return self.render_stream("lay.html")  # wrong

    def link(self, name: str) -> str:
        return self.absolute_url_for("/blog.shwo", number=1)  # wrong


app = Site()
"""


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    return running_in(tmp_path, monkeypatch, capsys)


@pytest.fixture
def site(command: Run, tmp_path: Path) -> Path:
    """A site whose modules import the stub, which the command has written twice: at first while the
    site still imports ``App`` from micropie.
    """
    for name in ("layout.html", "pages/pie.html"):
        (tmp_path / "templates" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "templates" / name).touch()
    source = SOURCE.replace(
        "from names import App, Route, Template\n", "from micropie import App\n"
    )
    (tmp_path / "site8.py").write_text(source.replace(": Template", "").replace(": Route", ""))
    assert command("check", "--stub", "names.py", "site8")[::2] == (1, "")
    first = (tmp_path / "names.py").read_text()
    (tmp_path / "site8.py").write_text(SOURCE)
    assert command("check", "--stub", "names.py", "site8")[::2] == (1, "")
    assert (tmp_path / "names.py").read_text() == first
    return tmp_path


def test_the_stub_has_the_names_of_templates_and_routes(site: Path) -> None:
    names: dict[str, Any] = {}
    exec((site / "names.py").read_text(), names)
    routes = ("index", "link", "lost", "rows", "show", "stream", "up")
    inner = ("blog.lost", "blog.show", "blog.up")
    whole = sorted((*inner, *(name for name in routes if name not in ("show", "up"))))
    assert names["App"] is micropie.App
    assert names["Template"].__args__ == ("layout.html", "pages/pie.html")
    expected = (*sorted((*routes, *inner)), *(f"/{name}" for name in whole))
    assert names["Route"].__args__ == expected


def test_an_application_without_names_gets_a_stub(command: Run, tmp_path: Path) -> None:
    (tmp_path / "site9.py").write_text("from micropie import App\n\napp = App()\n")
    assert command("check", "--stub", "names9.py", "site9") == (0, "0 findings\n", "")
    names: dict[str, Any] = {}
    exec((tmp_path / "names9.py").read_text(), names)
    assert (names["Template"], names["Route"]) == (str, str)


def test_a_stub_that_cannot_be_written_is_an_error(command: Run, tmp_path: Path) -> None:
    (tmp_path / "site9.py").write_text("from micropie import App\n\napp = App()\n")
    status, _, errors = command("check", "--stub", "lost/names.py", "site9")
    assert (status, errors[:39]) == (2, "micropie: the stub can't be written: [E")


# Each prints a line "file:line: ..." for an error.
CHECKERS = {
    "mypy": ["mypy", "--strict"],
    "pyright": ["pyright", "--pythonpath", sys.executable],
    "ty": ["ty", "check", "--output-format=concise", "--python", sys.prefix],
    "pyrefly": [
        *("pyrefly", "check", "--output-format=min-text", "--config=pyrefly.toml"),
        *("--site-package-path", sysconfig.get_path("purelib"), "--search-path", str(ROOT)),
    ],
}


@pytest.mark.processes
@pytest.mark.parametrize(
    "name",
    ["mypy", *(pytest.param(one, marks=pytest.mark.in_test_all) for one in (*CHECKERS,)[1:])],
)
def test_type_checkers_report_only_the_wrong_names(site: Path, name: str) -> None:
    (site / "pyrefly.toml").write_text('preset = "strict"')
    (site / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    executable, *options = CHECKERS[name]
    environ = unmeasured(MYPYPATH=str(ROOT), PYTHONPATH=str(ROOT))
    files = [] if name == "pyright" else ["site8.py", "names.py"]
    checker = Path(sys.executable).with_name(executable)
    done = ended(checker, *options, *files, folder=site, environ=environ)
    assert done.returncode == 1, done.stdout + done.stderr  # of errors, and not of a crash
    found = set(re.findall(r"(\w+\.py):(\d+)", done.stdout))
    lines = enumerate(SOURCE.splitlines(), 1)
    wrong = {("site8.py", str(number)) for number, line in lines if line.endswith("# wrong")}
    assert found == wrong, done.stdout
