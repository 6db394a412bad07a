"""``micropie run shop:app`` of an application that has moved in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from micropie.cli.target import CommandError, find_target
from micropie.testing import TestClient

BOTTLE = """
from micropie.compat import bottle

app = bottle.Bottle()
app.get("/")(lambda: "pies")
"""
CHERRYPY = """
from micropie.compat import cherrypy


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
