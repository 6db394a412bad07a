"""``install``: every import of a framework in a process gives its stand-in, and what holds the
original is named.

Most cases are a process of their own: what is imported once stays.
"""

from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import bottle as original_bottle
import cherrypy as original_cherrypy
import pytest

from micropie import App, request
from micropie.cli import run as run_command
from micropie.cli.main import main
from micropie.cli.serving import made
from micropie.cli.serving.unshared import in_memory
from micropie.sessions import InMemorySessionBackend
from micropie_compat import bottle, cherrypy, install, stand_in
from micropie_compat.originals import warn_of_originals
from tests.support.clients import MakeClient
from tests.support.commands import ended, environment, serving_command
from tests.support.ports import free_port

PLUGIN = """
import bottle
from bottle import request, response

class Counting:
    api = 2
    name = "counting"

    def apply(self, callback, route):
        def wrapper(*args, **values):
            response.set_header("X-Path", request.path)
            return callback(*args, **values)
        return wrapper
"""
SHOP = """
import bottle
import counting

app = bottle.Bottle()
app.install(counting.Counting())

@app.route("/pies")
def pies():
    return "pies"

if __name__ == "__main__":
    import sys
    print(bottle.__spec__.name, sys.argv, app.match({"REQUEST_METHOD": "GET", "PATH_INFO": "/pies"})[0].rule)
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with an application of Bottle's and a plugin of it."""
    (tmp_path / "counting.py").write_text(PLUGIN)
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return ended(sys.executable, *command, folder=folder, environ=environment())


@pytest.mark.processes
def test_a_plugin_imports_the_compatibility_module(shop: Path) -> None:
    (shop / "wsgi.py").write_text(
        'from micropie_compat import install\ninstall("bottle")\ninstall("bottle")\ninstall("bottle", "vendored.bottle")\n'
        "import bottle, counting, sys, vendored.bottle\nimport cherrypy\n"
        "assert counting.bottle is bottle is vendored.bottle is sys.modules['micropie_compat.bottle']\n"
        "assert bottle.__spec__.name == 'micropie_compat.bottle'\n"
        "assert cherrypy.__name__ == 'cherrypy'\n"
        "import bottle.ext.counting\nassert bottle.ext.counting is sys.modules['bottle_counting']\n"
        "assert bottle.ext.counting.bottle is bottle\n"
        "from shop import app\nfrom micropie.testing import TestClient\n"
        "with TestClient(app) as client:\n    print(client.get('/pies').headers['x-path'])\n"
    )
    (shop / "bottle_counting.py").write_text(PLUGIN)
    (shop / "vendored").mkdir()
    (shop / "vendored" / "__init__.py").touch()
    ended = run(shop, "wsgi.py")
    assert (ended.stdout, ended.stderr) == ("/pies\n", "")


@pytest.mark.processes
def test_a_program_may_have_an_older_copy_of_a_package_that_anyio_needs(tmp_path: Path) -> None:
    """As Tautulli has in its folder lib."""
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "typing_extensions.py").touch()
    (tmp_path / "site_of_old.py").write_text(
        "import sys\nsys.path.insert(0, 'lib')\nimport bottle, typing_extensions\n"
        "app = bottle.Bottle()\napp.get('/')(lambda: 'pies')\n"
        "from micropie.testing import TestClient\n"
        "with TestClient(app) as client:\n    print(client.get('/').text)\n"
    )
    ended = run(tmp_path, "-m", "micropie_compat", "bottle", "site_of_old.py")
    assert (ended.stdout, ended.stderr) == ("pies\n", "")


@pytest.mark.processes
def test_submodules_are_replaced_or_suggest_a_replacement(tmp_path: Path) -> None:
    (tmp_path / "site_of_old.py").write_text(
        'from micropie_compat import install\ninstall("cherrypy")\n'
        "from cherrypy.lib.static import serve_file\nprint(serve_file.__module__)\nimport cherrypy.lib.cpstats\n"
    )
    ended = run(tmp_path, "site_of_old.py")
    assert ended.stdout == "micropie_compat.cherrypy.lib.static\n"
    found = ended.stderr
    assert (
        "cherrypy.lib.cpstats has no counterpart in micropie_compat: use micropie.middleware.AccessLog"
        in found
    )


def test_a_failing_import_inside_a_compatibility_module_is_raised_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    install("pixie_web", "old_pixie_web")
    monkeypatch.delitem(sys.modules, "micropie_compat.pixie_web", raising=False)
    monkeypatch.setitem(sys.modules, "inspect", None)
    with pytest.raises(ModuleNotFoundError, match="import of inspect halted"):
        importlib.import_module("old_pixie_web")


@pytest.mark.processes
@pytest.mark.parametrize("command", [("-m", "shop", "a"), ("shop.py", "a")], ids=" ".join)
def test_a_program_runs_without_a_changed_line(shop: Path, command: tuple[str, ...]) -> None:
    ended = run(shop, "-m", "micropie_compat", "bottle", *command)
    assert ended.stdout.startswith("micropie_compat.bottle [")
    assert ended.stdout.endswith("'a'] /pies\n")


@pytest.mark.processes
def test_a_program_in_a_file_imports_the_modules_beside_it(shop: Path) -> None:
    folder = shop / "elsewhere"
    folder.mkdir()
    (folder / "counting.py").write_text("1 / 0")  # not the module beside the program
    ended = run(folder, "-m", "micropie_compat", "bottle", "../shop.py")
    assert (ended.stdout.endswith("['../shop.py'] /pies\n"), ended.stderr) == (True, "")


@pytest.mark.processes
@pytest.mark.parametrize(
    "command", [(), ("bottle",), ("flask", "-m", "shop"), ("bottle", "-m")], ids=" ".join
)
def test_a_program_name_is_required(shop: Path, command: tuple[str, ...]) -> None:
    ended = run(shop, "-m", "micropie_compat", *command)
    assert (ended.returncode, "usage: python -m micropie_compat" in ended.stderr) == (1, True)


@pytest.mark.processes
@pytest.mark.parametrize(
    "options", [["--workers", "2"], ["--server", "hypercorn"], ["--wsgi"]], ids=" ".join
)
def test_micropie_run_installs_the_module_in_each_process(shop: Path, options: list[str]) -> None:
    command = ["run", "shop:app", "--port", str(free_port()), "--stand-in", "bottle", *options]
    with serving_command(shop, "-m", "micropie", *command) as running:
        assert running.get("/pies") == "pies"


def test_install_lists_modules_that_have_imported_the_original(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plugin_module("old_import", monkeypatch, bottle=original_bottle)
    with pytest.raises(
        RuntimeError, match=r"the original bottle is imported already, by .*install\(\"bottle\"\)"
    ):
        install("bottle")
    with pytest.raises(RuntimeError, match=r"the original json\.decoder is imported already"):
        install("bottle", "json.decoder")
    with pytest.raises(
        ValueError, match="compatibility modules for bottle, cherrypy, pixie_web, not for 'flask'"
    ):
        install("flask")


def test_install_does_not_list_modules_of_python(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """CherryPy puts a function of its own into pydoc."""
    plugin_module("old_tool", monkeypatch, cherrypy=original_cherrypy)
    warn_of_originals.__wrapped__("cherrypy")
    assert "old_tool" in caplog.text
    assert "pydoc" not in caplog.text


def plugin_module(name: str, monkeypatch: pytest.MonkeyPatch, **names: object) -> ModuleType:
    """Return a module that is imported, with a plugin in it."""
    module = ModuleType(name)
    exec(
        "class Plugin:\n    def apply(self, callback, route): return callback\ndef tool(): pass",
        vars(module),
    )
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, name, module)
    return module


@pytest.mark.parametrize(
    "held",
    [original_bottle, original_bottle.request, original_bottle.Bottle, original_bottle.abort],
    ids=["module", "object", "class", "function"],
)
def test_a_plugin_of_the_original_is_refused(monkeypatch: pytest.MonkeyPatch, held: Any) -> None:
    module = plugin_module("old_plugin", monkeypatch, held=held)
    with pytest.raises(
        RuntimeError,
        match=r"old_plugin imports the original bottle, .* import install; install\(\"bottle\"\)",
    ):
        bottle.Bottle().install(module.Plugin())
    vars(module)["both"] = bottle  # it knows what it does
    bottle.Bottle().install(module.Plugin())


def test_a_plugin_independent_of_both_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    bottle.Bottle().install(plugin_module("own_plugin", monkeypatch).Plugin())
    monkeypatch.delitem(sys.modules, "bottle")
    bottle.Bottle().install(plugin_module("own_plugin", monkeypatch, held=original_bottle).Plugin())


def test_tools_and_handlers_of_the_original_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = plugin_module("old_tools", monkeypatch, cherrypy=original_cherrypy)
    with pytest.raises(RuntimeError, match="old_tools imports the original cherrypy"):
        cherrypy.Tool("before_handler", module.tool)
    with pytest.raises(RuntimeError, match="old_tools imports the original cherrypy"):
        cherrypy.tree.mount(module.Plugin(), "/x")


def test_modules_that_hold_the_original_are_logged(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plugin_module("old_integration", monkeypatch, bottle=original_bottle)
    warn_of_originals.cache_clear()
    app = bottle.Bottle()
    app.route("/", callback=lambda: "x")
    with caplog.at_level(logging.WARNING, "micropie"):
        assert make_client(app).get("/").text == "x"
    assert "old_integration" in caplog.text
    assert "imports the original bottle, but micropie handles the requests" in caplog.text
    caplog.clear()
    assert make_client(bottle.Bottle()).get("/").status_code == 404
    assert caplog.text == "", "it was named already"
    warn_of_originals.cache_clear()
    monkeypatch.setitem(sys.modules, "bottle", bottle)  # as after ``install``
    assert make_client(bottle.Bottle()).get("/").status_code == 404
    assert caplog.text == ""


def test_a_class_that_sets_its_own_module_attribute_is_accepted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Odd:
        __module__ = property(lambda self: "x")

    bottle.Bottle().install(plugin_module("odd_plugin", monkeypatch, odd=Odd()).Plugin())


def test_a_proxy_object_is_not_inspected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Lazy:
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            raise RuntimeError("it is made now")

    bottle.Bottle().install(plugin_module("lazy_plugin", monkeypatch, lazy=Lazy()).Plugin())


def test_the_program_s_name_for_servers_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A plain attribute, and what a factory makes if it is one."""
    (tmp_path / "named_shop.py").write_text(
        "from micropie_compat import bottle\nsite = bottle.Bottle()\nsite.run(port=1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv(made.IS_SERVING, "1")
    monkeypatch.setenv(made.STAND_IN, "bottle")
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    monkeypatch.delitem(sys.modules, "bottle")
    monkeypatch.setattr(made, "app", None, raising=False)
    for name in ("named_shop:site", str(tmp_path / "named_shop.py")):
        monkeypatch.setenv(made.STAND_IN_FOR, name)
        assert isinstance(vars(importlib.reload(made))["app"], App)
    monkeypatch.setenv(made.FACTORY, "micropie_compat.bottle:Bottle")
    assert type(vars(importlib.reload(made))["app"]) is bottle.Bottle


# Programs, and the host and port that they have for their own server.
PROGRAMS = {
    "bottle, run": (
        "route('/')(lambda: 'pies')\nbottle.run(host='::1', port=80)\n0/0",
        ("::1", 80),
    ),
    "bottle, guarded": ("get('/')(lambda: 'pies')\nif __name__ == 'x': 0/0", (None, None)),
    "bottle, of its own": (
        "pies = bottle.Bottle()\npies.get('/')(lambda: 'pies')\n"
        "if __name__ == '__main__': pies.run(host='localhost')",
        ("localhost", 8080),
    ),
    "bottle, imported": (
        "app = bottle.Bottle()\napp.get('/')(lambda: 'pies')\napp.run(port=90)",
        ("127.0.0.1", 90),
    ),
    "bottle, with an application": (
        "app = bottle.Bottle()\napp.get('/')(lambda: 'pies')\nif __name__ == '__main__': 0/0",
        (None, None),
    ),
    "bottle, middleware": (
        "route('/')(lambda: 'pies')\ndef inner(environ, start_response): return bottle.default_app()(environ, start_response)\n"
        "bottle.run(app=inner)",
        ("127.0.0.1", 8080),
    ),
    "cherrypy, quickstart": (
        "cherrypy.config.update({'server.socket_port': 70})\n"
        "if __name__ == '__main__': cherrypy.quickstart(Pies())",
        ("127.0.0.1", 70),
    ),
    "cherrypy, a tree": ("cherrypy.tree.mount(Pies())", (None, None)),
    "cherrypy, the engine": (
        "application = cherrypy.tree.mount(Pies())\ncherrypy.engine.start()\ncherrypy.engine.block()",
        ("127.0.0.1", 8080),
    ),
    "bottle, nothing": ("", "neither has an application nor starts a server"),
    "cherrypy, nothing": ("", "neither has an application nor starts a server"),
    "bottle, broken": ("0/0", "can't be run"),
    "bottle, no Python": ("(", "can't be run"),
    "cherrypy, arguments": (
        "import sys\ncherrypy.quickstart(Pies(), '/', sys.argv[1])",
        "can't be run; with arguments, write python -m micropie_compat cherrypy ",
    ),
}
BEGINS = {
    "bottle": "from bottle import app as made\nfrom micropie_compat import bottle\n"
    "from micropie_compat.bottle import *\n",
    "cherrypy": "from micropie_compat import cherrypy\nclass Pies:\n"
    "    @cherrypy.expose\n    def index(self): return 'pies'\n",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_micropie_run_serves_a_program_that_starts_a_server(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    connect: MakeClient,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served: list[Any] = []
    monkeypatch.setattr(run_command, "serve", lambda *arguments, reload: served.append(arguments))
    monkeypatch.setattr(made, "install_stand_in", bool)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(cherrypy.tree, "apps", {})
    monkeypatch.setattr(cherrypy.server, "socket_port", 8080)
    for variable in (made.STAND_IN, made.STAND_IN_FOR):
        monkeypatch.setenv(variable, "")
    framework, source, expected = name.partition(",")[0], *PROGRAMS[name]
    (tmp_path / "starting.py").write_text(BEGINS[framework] + source)
    monkeypatch.delitem(sys.modules, "starting", raising=False)
    bottle.app.push()
    try:
        command = ["run", str(tmp_path / "starting.py"), "--stand-in", framework]
        if isinstance(expected, str):
            assert main(command) == 2
            assert expected in capsys.readouterr().err
            return
        for more, place in (([], expected), (["--port", "1", "--host", "h"], ("h", 1))):
            sys.modules.pop("starting", None)
            assert main([*command, *more]) == 0
            target, options = served.pop()
            assert (options.host, options.port) == (place[0] or "127.0.0.1", place[1] or 8000)
        assert main([*command, "--uds", "socket"]) == 0
        assert served.pop()[1].port == 8000
        assert connect(target.app, "asyncio").get("/").text == "pies"
    finally:
        bottle.app.pop()


def test_only_an_engine_with_its_server_ends_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[Any] = []
    monkeypatch.setattr(
        "micropie_compat.cherrypy.program.end_if_read", lambda *at: ended.append(at)
    )
    for start in (set(), {cherrypy.server.start}):
        monkeypatch.setitem(cherrypy.engine.listeners, "start", start)
        cherrypy.engine.before_start()
    assert ended == [(cherrypy.tree, *cherrypy.server.bind_addr)]


def test_micropie_run_gives_servers_a_name_that_installs_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: list[Any] = []
    (tmp_path / "served_shop.py").write_text(
        "from micropie_compat import bottle\napp = bottle.Bottle()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(run_command, "serve", lambda target, options, reload: served.append(target))
    monkeypatch.setattr(made, "install_stand_in", served.append)
    for name in (made.STAND_IN, made.STAND_IN_FOR):
        monkeypatch.setenv(name, "")
    assert main(["run", "served_shop:app", "--stand-in", "bottle"]) == 0
    assert served[0] == "bottle"
    assert served[1].name == "served_shop:app"
    assert served[1].named("uvicorn") == "micropie.cli.serving.made:app"
    assert os.environ[made.STAND_IN] == "bottle"
    assert os.environ[made.STAND_IN_FOR] == "served_shop:app"


@pytest.mark.parametrize(
    ("options", "is_warned"),
    [
        ({}, True),
        ({"storage_type": "file"}, False),
        ({"storage_class": cherrypy.lib.sessions.RamSession, "name": "own"}, True),
        ({"backend": InMemorySessionBackend()}, True),
        (None, False),
    ],
)
def test_cherrypy_s_sessions_in_memory_are_reported(
    options: dict[str, Any] | None, is_warned: bool
) -> None:
    config = {f"tools.sessions.{name}": value for name, value in (options or {}).items()}
    config["tools.sessions.on"] = options is not None
    old = cherrypy.Application(object(), "", {"/": config})
    around = App()
    around.mount("/shop", old)
    for app in (old.native, around):
        assert [*in_memory(app)] == ["sessions"] * is_warned


@pytest.mark.parametrize("words", ["", "bottle", "flask -m shop", "bottle -m"])
def test_importing_the_program_does_not_run_it(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["__main__.py", *words.split()])
    program = importlib.import_module("micropie_compat.__main__")
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == (
        "usage: python -m micropie_compat {bottle,cherrypy,pixie_web} (-m MODULE | FILE) "
        "[ARGUMENT ...]"
    )


@pytest.mark.parametrize("framework", ["bottle", "cherrypy"])
def test_a_function_of_native_and_migrated_code_sets_headers(
    framework: str, make_client: MakeClient
) -> None:
    def marked(text: str) -> str:
        response = request.response
        response.headers["Cache-Control"] = "no-cache"
        response.set_cookie("seen", "1")
        return text

    app: Any
    if framework == "bottle":
        app = bottle.Bottle()
        app.get("/old")(lambda: marked("old"))
    else:
        root = type("Root", (), {"old": cherrypy.expose(lambda self: marked("old"))})()
        app = cherrypy.Application(root)
    app.native.get("/new")(lambda: marked("new"))
    client = make_client(app)
    for half in ("old", "new"):
        answer = client.get(f"/{half}")
        assert answer.text == half
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.cookies["seen"] == "1"


def test_two_threads_may_import_a_framework_s_modules_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each module keeps its own name and spec, whichever the other thread imports meanwhile."""
    finder = stand_in._StandIn("bottle", "bottle")
    begun: list[tuple[Any, Any, Any]] = []
    for name in ("bottle", "bottle.routing"):
        spec: Any = finder.find_spec(name)
        module: Any = finder.create_module(spec)
        begun.append((module, name, module.__spec__))
        for attribute in ("__name__", "__spec__"):
            monkeypatch.setattr(module, attribute, getattr(module, attribute))
        module.__spec__ = spec
    for module, name, spec in begun:
        finder.exec_module(module)
        assert (module.__name__, module.__spec__) == (name, spec)
