"""``micropie run shop:app`` of an application that has moved in."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from micropie.cli.main import main
from micropie.cli.serving import made
from micropie.cli.target import CommandError, find_target
from micropie.testing import TestClient

BOTTLE = """
from micropie_compat import bottle

app = bottle.Bottle()
app.get("/")(lambda: "pies")
"""
CHERRYPY = """
from micropie_compat import cherrypy


class Pies:
    @cherrypy.expose
    def index(self):
        return "pies"


app = cherrypy.Application(Pies(), "")
"""


@pytest.mark.parametrize("program", [BOTTLE, CHERRYPY], ids=["bottle", "cherrypy"])
def test_the_command_line_takes_a_moved_application(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moved_shop.py").write_text(program)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "moved_shop", raising=False)
    target = find_target("moved_shop:app")
    assert target.name == "moved_shop:app"  # what a server imports
    with TestClient(target.app) as client:
        assert client.get("/").text == "pies"
    monkeypatch.delitem(sys.modules, "moved_shop")


def test_the_command_line_takes_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_shop.py").write_text("app = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match="no_shop:app is not an App but int: 1"):
        find_target("no_shop:app")
    monkeypatch.delitem(sys.modules, "no_shop")


def test_a_program_that_fails_is_shown_without_the_modules_that_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "failing_shop.py"
    program.write_text("def price(pies):\n    return pies['mud']\n\nprice({})\n")
    monkeypatch.setattr(made, "install_stand_in", bool)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["run", "--stand-in", "bottle", str(program)]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"micropie: {program} can't be run:\n")
    assert printed.endswith("KeyError: 'mud'\n")
    assert re.findall(r'File "(.+)", line (\d+), in (.+)', printed) == [
        (str(program), "4", "<module>"),
        (str(program), "2", "price"),
    ]


def test_an_import_that_fails_is_shown_without_the_modules_that_begin_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "failing_import.py"
    program.write_text("pies = {}\npies['mud']\n")
    monkeypatch.setattr(made, "install_stand_in", bool)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--stand-in", "bottle", "failing_import:app"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f'micropie: failing_import can\'t be imported:\n  File "{program}"')
    assert printed.count("File ") == 1


def test_an_error_of_an_author_is_shown_without_the_modules_that_notice_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "wrong_pixie.py"
    program.write_text(
        "from micropie_compat.pixie_web import route\n\n@route('/')\nasync def index(env): ...\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    assert main(["routes", "wrong_pixie:app"]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("micropie: index: for async def functions, write RouteType.asnc")
    assert re.findall(r'File "(.+)", line', printed) == [str(program)]
