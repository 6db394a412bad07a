"""``run``: servers by name, options, the reloader, and applications by the name of their module."""

from __future__ import annotations

import signal
import subprocess
import sys
import types
from pathlib import Path
from queue import SimpleQueue
from socket import create_connection
from threading import Thread
from typing import Any
from unittest.mock import Mock
from urllib.request import urlopen
from wsgiref.simple_server import WSGIServer, make_server

import pytest

from micropie.wsgi import gunicorn
from micropie_compat import bottle
from micropie_compat.bottle import server
from tests.support.commands import ended
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE


class Recorder(bottle.ServerAdapter):
    """Records what it is to serve."""

    served: Any = None

    def run(self, handler: Any) -> None:
        type(self).served = handler, self


def test_run_uses_a_custom_server_adapter(capsys: pytest.CaptureFixture[str]) -> None:
    app = bottle.Bottle()
    bottle.run(
        app,
        server=Recorder,
        host="h",
        port=81,
        option=1,
        config={"a": 1},
        plugins=[lambda f: f],
        debug=False,
    )
    handler, adapter = Recorder.served
    assert (handler, adapter.host, adapter.port, adapter.options) == (app, "h", 81, {"option": 1})
    assert (app.config["a"], len(app.plugins)) == (1, 3)
    assert "Serving on http://h:81/ with Recorder(option=1)" in capsys.readouterr().err
    app.run(server=Recorder("x"), quiet=True)
    assert (Recorder.served[1].host, capsys.readouterr().err) == ("x", "")
    # as Bottle's, which calls ``run``
    app.run(server=Recorder, quiet=True, debug=False, config={"b": 2})
    assert (Recorder.served[1].options, app.config["b"]) == ({}, 2)


def test_the_default_application_is_served() -> None:
    with bottle.Bottle() as app:
        bottle.run(server=Recorder, quiet=True)
    assert Recorder.served[0] is app


def test_an_adapter_is_found_by_its_module_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("adapters_of_bottle")
    vars(module)["Recorder"] = Recorder
    monkeypatch.setitem(sys.modules, "adapters_of_bottle", module)
    app = bottle.Bottle()
    bottle.run(app, server="adapters_of_bottle:Recorder", quiet=True)
    assert Recorder.served[0] is app


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"server": "paste"}, "one of wsgiref.*not 'paste'"),
        ({"server": 3}, "ServerAdapter"),
        ({"app": 3}, "takes an application"),
    ],
)
def test_run_refuses_invalid_applications_and_servers(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bottle.run(**{"app": bottle.Bottle(), **options})


def test_under_norun_run_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bottle, "NORUN", True)
    app = bottle.Bottle()
    bottle.run(app, plugins=[lambda f: f], config={"a": 1})
    assert (len(app.plugins), "a" in app.config) == (2, False)


def test_plugins_of_run_may_be_named_by_their_module() -> None:
    app = bottle.Bottle()
    bottle.run(app, server=Recorder, quiet=True, plugins=["functools:partial(print, 1)"])
    assert app.plugins[-1].args == (1,)  # type: ignore[attr-defined]


@pytest.mark.processes
@pytest.mark.parametrize(("is_quiet", "host"), [(True, "127.0.0.1"), (False, "::1")])
def test_run_serves_with_wsgiref(
    is_quiet: bool, host: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running: SimpleQueue[WSGIServer] = SimpleQueue()

    def making(*args: Any, **options: Any) -> WSGIServer:
        made: WSGIServer = make_server(*args, **options)
        running.put(made)
        return made

    monkeypatch.setattr(server, "make_server", making)
    app = bottle.Bottle()
    app.route("/", callback=lambda: "served")
    # an option for another server, which is ignored
    adapter = bottle.WSGIRefServer(host, 0, workers=2)
    adapter.quiet = is_quiet
    serving = Thread(target=adapter.run, args=(app,))
    serving.start()
    port = running.get(timeout=PATIENCE).server_port
    with urlopen(f"http://[{host}]:{port}/".replace("[127.0.0.1]", host), None, PATIENCE) as answer:
        assert answer.read() == b"served"
    with create_connection((host, port), PATIENCE) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n")
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.0 400 ")
    adapter.srv.shutdown()
    serving.join(PATIENCE)
    assert ("GET / " in capfd.readouterr().err) is not is_quiet


@pytest.mark.processes
@pytest.mark.parametrize("name", ["wsgiref", "cheroot"])
def test_a_header_name_with_an_underscore_differs_from_one_with_a_dash(
    name: str, tmp_path: Path
) -> None:
    """By a name with "_", which an environ uses for "-"."""
    (tmp_path / "shop.py").write_text(UNDERSCORES.format(name=name, port=free_port()))
    ended_by = subprocess.run(
        [sys.executable, "shop.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "answer: 1 None" in ended_by.stdout, ended_by.stderr


UNDERSCORES = """
import os, threading, time
from http.client import HTTPConnection
from micropie_compat import bottle

@bottle.get("/")
def index():
    get = bottle.request.get_header
    return f"{{get('X-Note')}} {{get('X-Other')}}"

def ask():
    headers = {{"X-Note": "1", "X_Note": "2", "X_Other": "3"}}
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", {port})
            connection.request("GET", "/", headers=headers)
            print("answer:", connection.getresponse().read().decode(), flush=True)
            os._exit(0)
        except ConnectionRefusedError:
            time.sleep(0.01)

threading.Thread(target=ask).start()
bottle.run(server="{name}", port={port}, quiet=True)
"""


def module_with(**names: Any) -> types.ModuleType:
    module = types.ModuleType("fake")
    vars(module).update(names)
    return module


def test_servers_get_their_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls: list[Any] = []

    class Base:
        def __init__(self) -> None:
            self.cfg = self
            self.values: dict[str, Any] = {}
            self.load_config()

        def set(self, name: str, value: Any) -> None:
            self.values[name] = value

        def load_config(self) -> None: ...

        def load(self) -> Any: ...

        def run(self) -> None:
            calls.append((self.load(), self.values))

    def record(handler: Any, **options: Any) -> None:
        calls.append((handler, options))

    fakes = {
        "waitress": module_with(serve=record),
        "uvicorn": module_with(run=record),
        "gunicorn.app.base": module_with(BaseApplication=Base),
    }
    for module in (server, gunicorn):
        monkeypatch.setattr(module, "import_module", fakes.__getitem__)
    app = bottle.Bottle()
    for name in ("waitress", "uvicorn", "gunicorn"):
        bottle.run(app, server=name, port=1, quiet=True, own=2)

    def middleware(environ: Any, start_response: Any) -> Any:
        return app(environ, start_response)

    bottle.run(app, server="gunicorn", host="unix:/run/shop.sock")
    assert calls.pop()[1]["bind"] == "unix:/run/shop.sock"
    assert "Serving on unix:/run/shop.sock with" in capsys.readouterr().err
    bottle.run(middleware, server="uvicorn", quiet=True)
    served, _ = calls.pop()
    # around which uvicorn finds ASGI
    assert [mount.target for mount in served._micropie.mounts] == [middleware]
    assert calls == [
        (app, {"host": "127.0.0.1", "port": 1, "_quiet": True, "own": 2}),
        (
            app,
            {
                "host": "127.0.0.1",
                "port": 1,
                "log_level": "warning",
                "http": "h11",
                "proxy_headers": False,  # REMOTE_ADDR is the connection's
                "own": 2,
            },
        ),
        (
            app,
            {
                "post_worker_init": gunicorn.post_worker_init,  # streams end with their worker
                "worker_exit": gunicorn.worker_exit,  # and so does the application
                "bind": "127.0.0.1:1",
                "own": 2,
            },
        ),
    ]


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [({"waitress"}, "waitress"), ({"uvicorn", "waitress"}, "uvicorn"), (set(), "wsgiref")],
)
def test_the_auto_server_chooses_an_installed_one(
    installed: set[str], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: name in installed or None)
    monkeypatch.setitem(server.server_names, chosen, Recorder)
    app = bottle.Bottle()
    bottle.run(app, server="auto", quiet=True)
    assert Recorder.served[0] is app


def test_ctrl_c_ends_the_server() -> None:
    class Interrupted(bottle.ServerAdapter):
        def run(self, handler: Any) -> None:
            raise KeyboardInterrupt

    bottle.run(bottle.Bottle(), server=Interrupted, quiet=True)
    with pytest.raises(NotImplementedError):
        bottle.ServerAdapter().run(lambda: None)


def test_an_application_is_found_by_its_module_s_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "program_of_bottle.py").write_text(
        "from micropie_compat import bottle\nbottle.route('/default')(str)\nmine = bottle.Bottle()\nbottle.run()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    made = bottle.load_app("program_of_bottle")
    assert [route.rule for route in made.routes] == ["/default"]
    assert bottle.load_app("program_of_bottle:mine") is sys.modules["program_of_bottle"].mine
    bottle.run("program_of_bottle:mine", server=Recorder, quiet=True)
    assert Recorder.served[0] is sys.modules["program_of_bottle"].mine
    assert made not in bottle.default_app


@pytest.mark.processes
def test_the_reloader_restarts_when_a_file_has_changed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys, pathlib\n"
        "from micropie_compat import bottle\n"
        "from micropie_compat.bottle import server\n"
        "server._GRACE = 60\n"  # seconds in which it has to end, on a busy machine as well
        "class Server(bottle.ServerAdapter):\n"
        "    def run(self, handler):\n"
        "        print('serving', flush=True)\n"
        "        runs = pathlib.Path('runs')\n"
        "        if runs.exists():\n"
        "            sys.exit(7)\n"
        "        runs.touch()\n"
        "        import helper\n"
        "        import os, time\n"
        "        for second in range(1000):\n"  # until it has been looked at twice
        "            os.utime('helper.py', (second, second))\n"
        "            time.sleep(0.1)\n"
        "import atexit\n"
        "atexit.register(print, 'closed', flush=True)\n"
        "sys.path.insert(0, '.')\n"
        "import helper\n"
        "bottle.run(bottle.Bottle(), server=Server, quiet=True, reloader=True, interval=0.05)\n"
    )
    (tmp_path / "helper.py").write_text("")
    done = ended(sys.executable, "program.py", folder=tmp_path)
    assert (done.stdout, done.returncode) == (
        # The process that restarts the program ends last.
        "serving\nclosed\n" * 2 + "closed\n",
        7,
    ), done.stderr


def test_the_reloader_checks_files_until_one_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([{"a.py": 1.0}, {"a.py": 1.0, "new.py": 5.0}, {"a.py": 1.0}, {"a.py": 2.0}])
    ends: SimpleQueue[object] = SimpleQueue()
    monkeypatch.setattr(server, "_modified", lambda: next(looks))
    monkeypatch.setattr(server, "_GRACE", 0)
    monkeypatch.setattr(server, "raise_signal", ends.put)
    monkeypatch.setattr("os._exit", ends.put)

    def serve() -> None:
        with server.watched(0.001):
            assert ends.get(timeout=PATIENCE) == signal.SIGINT
            # a server that doesn't end is killed
            assert ends.get(timeout=PATIENCE) == 3

    with pytest.raises(SystemExit, match="3"):
        serve()
    assert list(looks) == []


def test_the_reloader_waits_for_its_program_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Program:
        def __init__(self, command: list[str], **options: Any) -> None:
            assert command == [sys.executable, "-m", "shop"]
            self.outcomes: list[Any] = [KeyboardInterrupt(), 5]

        def wait(self) -> None:
            outcome = self.outcomes.pop(0)
            if isinstance(outcome, KeyboardInterrupt):
                raise outcome
            self.returncode = outcome

        def __enter__(self) -> Program:
            return self

        def __exit__(self, *error: object) -> None:
            self.wait()

    monkeypatch.setattr(subprocess, "Popen", Program)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "shop"])
    assert server.run_again() == 5


def test_a_file_may_vanish_while_the_reloader_checks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Mock(Path, **{"exists.return_value": True, "stat.side_effect": FileNotFoundError})
    monkeypatch.setattr(server, "Path", lambda path: gone)
    assert server._modified() == {}
