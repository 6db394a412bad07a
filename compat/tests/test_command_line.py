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
def test_the_command_line_accepts_a_migrated_application(
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


HALF_BOTTLE = """
from micropie_compat import bottle

app = bottle.Bottle()

@app.get("/pies/<number:int>")
def pie(number): ...

@app.post("/order")
async def order(): ...

@app.native.get("/new")
def new(): ...
"""
HALF_CHERRYPY = """
from micropie import App
from micropie_compat import cherrypy

class Part:
    exposed = True
    def GET(self, number=None): ...
    def PUT(self): ...
    def helper(self): ...

class Pies:
    def __init__(self):
        self.part, self.text, self.back = Part(), "text", self

    @property
    def broken(self):
        raise RuntimeError("read")

    @cherrypy.expose
    def index(self): ...

    @cherrypy.expose
    def default(self, *args): ...

    @cherrypy.expose
    async def order(self, name): ...

    @cherrypy.expose
    class Inner: ...

    def helper(self): ...

app = APP
native = getattr(app, "native", app)

@native.get("/new")
def new(): ...
"""
HALF = {
    "bottle": (
        HALF_BOTTLE,
        [
            "GET      /new                new()        thread   half_moved.py:12",
            "GET      /pies/<number:int>  pie(number)  thread   half_moved.py:6",
            "POST     /order              order()      loop     half_moved.py:9",
        ],
    ),
    "cherrypy": (
        HALF_CHERRYPY.replace("APP", 'cherrypy.Application(Pies(), "/shop")'),
        [
            "GET      /new         new()              thread   half_moved.py:36",
            "*        /shop/...    default(*args)     thread   half_moved.py:22",
            "*        /shop/       index()            thread   half_moved.py:19",
            "*        /shop/order  order(name)        loop     half_moved.py:25",
            "GET      /shop/part   GET(number=None)   thread   half_moved.py:7",
            "PUT      /shop/part   PUT()              thread   half_moved.py:8",
        ],
    ),
}
HALF["tree"] = (
    HALF_CHERRYPY.replace(
        "APP", 'cherrypy._cptree.Tree()\napp.mount(Pies(), "/shop")\napp.graft(App(), "/other")'
    ),
    [one.replace(":36", ":38") for one in HALF["cherrypy"][1]],
)


@pytest.mark.parametrize(("program", "rows"), HALF.values(), ids=[*HALF])
def test_routes_lists_the_handlers_of_a_half_migrated_application(
    program: str,
    rows: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "half_moved.py").write_text(program)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "half_moved", raising=False)
    assert main(["routes", "half_moved:app"]) == 0
    _, *printed = capsys.readouterr().out.splitlines()
    assert [one.split() for one in printed] == [one.split() for one in rows]
    monkeypatch.delitem(sys.modules, "half_moved")


def test_the_command_line_refuses_other_objects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_shop.py").write_text("app = 1")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError, match="no_shop:app is not an App but int: 1"):
        find_target("no_shop:app")
    monkeypatch.delitem(sys.modules, "no_shop")


def test_a_program_s_traceback_omits_the_modules_that_run_it(
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


def test_an_import_error_s_traceback_omits_the_importing_modules(
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


def test_an_author_error_s_traceback_omits_the_modules_that_detect_it(
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
