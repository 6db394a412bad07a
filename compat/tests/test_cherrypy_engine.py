"""``cherrypy.engine``, ``cherrypy.server`` and ``quickstart``: alone, and under servers from
outside.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from micropie._core.errors import SetupError
from micropie_compat import cherrypy
from micropie_compat.cherrypy import program
from micropie_compat.cherrypy._cpserver import Server
from micropie_compat.cherrypy.process.plugins import SimplePlugin, ThreadManager
from micropie_compat.cherrypy.process.wspbus import Bus, states
from tests.servers.harness import serving
from tests.support.clients import MakeClient
from tests.support.commands import environment
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

cherrypy.config.update({"log.screen": False})


class Root:
    @cherrypy.expose
    def index(self) -> str:
        return "hello"


@pytest.fixture
def bus(own_threads: None) -> Iterator[Bus]:
    bus = Bus()
    yield bus
    bus.state = states.EXITING


@pytest.fixture
def server(bus: Bus) -> Iterator[Server]:
    """A server of a bus of its own, at a port that is free."""
    server = Server(bus)
    server.application = cherrypy.Application(Root(), "")
    server.socket_port = 0
    app = server.application
    yield server
    server.stop()
    app.wsgi_shutdown()


def get(server: Server, path: str = "/") -> str:
    with urlopen(f"http://127.0.0.1:{server.bound_addr[1]}{path}", timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
        return text


# -- cherrypy.server -------------------------------------------------------------------------------


@pytest.mark.processes
def test_a_server_starts_and_stops_with_its_bus(bus: Bus, server: Server) -> None:
    lines: list[str] = []
    bus.subscribe("log", lambda message, level: lines.append(message))
    server.subscribe()
    bus.start()
    assert server.running
    assert get(server) == "hello"
    server.start()
    server.wait()
    server.restart()
    assert get(server) == "hello"
    bus.exit()
    assert not server.running
    found = [line.partition(" http")[0] for line in lines if "http" in line]
    assert found == ["Serving on", "Already serving on", "HTTP Server", "Serving on", "HTTP Server"]
    server.unsubscribe()
    bus.start()
    assert not server.running
    bus.exit()


@pytest.mark.processes
@pytest.mark.parametrize("name", ["uvicorn", "waitress", "wsgiref"])
def test_each_server_of_a_program_has_a_body_limit_of_its_own(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # earlier requests to other programs, and starting below, set these
    for name_of_state in ("is_hosted", "serves_itself"):
        monkeypatch.setattr(cherrypy.engine, name_of_state, False)

    class Echo:
        @cherrypy.expose
        def index(self, **values: str) -> str:
            return ",".join(values)

    app = cherrypy.Application(Echo(), "")
    servers = [Server(cherrypy.engine) for _ in range(2)]
    found = []
    for server, limit in zip(servers, (10, 40), strict=True):
        server.application, server.instance, server.socket_port = app, name, 0
        server.max_request_body_size = limit
        server.subscribe()
        server.start()
    try:
        for server in servers:
            for size in (8, 38, 39):
                url = f"http://127.0.0.1:{server.bound_addr[1]}/"
                try:
                    with urlopen(url, b"a=" + b"x" * size, timeout=PATIENCE) as answer:
                        found.append(answer.status)
                except HTTPError as error:
                    found.append(error.code)
                    error.close()
    finally:
        for server in servers:
            server.unsubscribe()
            server.stop()
        app.wsgi_shutdown()
    assert found == [200, 413, 413, 200, 200, 413]


@pytest.mark.processes
@pytest.mark.parametrize("name", ["waitress", "wsgiref"])
def test_servers_are_found_by_name(server: Server, name: str) -> None:
    server.instance = name
    server.thread_pool = 3
    server.start()
    assert get(server) == "hello"
    assert server.httpserver is not None
    assert server.httpserver.name == name
    assert server.application.native._micropie.compiled().config.settings.threads == 3


@pytest.mark.processes
def test_a_handler_may_stop_its_server(bus: Bus, server: Server) -> None:
    class Stopping:
        @cherrypy.expose
        def index(self) -> str:
            bus.exit()
            return "stopped"

    server.application = cherrypy.Application(Stopping(), "")
    server.subscribe()
    bus.start()
    assert get(server) == "stopped"
    bus.block()
    assert bus.state is states.EXITING


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"socket_file": "/run/x"}, "uvicorn --uds"),
        ({"ssl_certificate_chain": "x"}, "append the chain"),
        ({"ssl_ciphers": "x"}, "--ssl-ciphers"),
        ({"ssl_context": object()}, "uvicorn, hypercorn"),
        ({"application": None}, "nothing to serve"),
    ],
)
def test_settings_that_would_have_no_effect_are_refused(
    server: Server, settings: dict[str, Any], words: str
) -> None:
    for name, value in settings.items():
        setattr(server, name, value)
    with pytest.raises(SetupError, match=words):
        server.start()


@pytest.mark.processes
def test_an_unavailable_address_raises_an_error(server: Server) -> None:
    server.start()
    other = Server(server.bus)
    other.application = server.application
    other.socket_port = server.bound_addr[1]
    with pytest.raises(OSError, match=r"cherrypy\.server: can't listen on 127\.0\.0\.1"):
        other.start()
    other.socket_port, other.ssl_private_key = 0, "/key.pem"
    with pytest.raises(OSError, match="both files: ssl_certificate and ssl_private_key"):
        other.start()
    other.ssl_certificate = "/none.pem"
    with pytest.raises(OSError, match=r"there is no certificate or key file '/none\.pem'"):
        other.start()
    assert not other.running
    other.stop()


def test_a_server_has_a_base_url_and_bind_address() -> None:
    server = Server(Bus())
    assert server.base() == server.description == "http://127.0.0.1:8080"
    assert server.bind_addr == server.bound_addr == ("127.0.0.1", 8080)
    server.bind_addr = "::1", 80
    assert server.base() == "http://[::1]"
    server.ssl_certificate = "x"
    assert server.base() == "https://[::1]:80"
    server.socket_host = None
    assert server.socket_host == "0.0.0.0"
    assert "0.0.0.0" not in server.base()
    with pytest.raises(ValueError, match=r"0\.0\.0\.0"):
        server.socket_host = ""


def test_waiting_for_a_failing_server_raises_its_error() -> None:
    server = Server(Bus())
    server.interrupt = LookupError()
    with pytest.raises(LookupError):
        server.wait()
    server.interrupt = None
    threading.Timer(0.01, lambda: setattr(server, "httpserver", object())).start()
    server.wait()
    assert server.running


@pytest.mark.processes
def test_an_object_other_than_a_tree_may_be_served(server: Server) -> None:
    def application(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"plain"]

    server.application, server.instance = application, "wsgiref"
    server.start()
    assert get(server) == "plain"


# -- configuration ---------------------------------------------------------------------------------


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what configuration has set."""
    before = (
        dict(cherrypy.config),
        dict(vars(cherrypy.server)),
        dict(cherrypy.engine.signals.handlers),
    )
    monkeypatch.setattr(program, "servers", {})
    yield
    dict.clear(cherrypy.config)
    dict.update(cherrypy.config, before[0])
    vars(cherrypy.server).clear()
    vars(cherrypy.server).update(before[1])
    cherrypy.engine.signals.handlers = before[2]
    cherrypy.engine.autoreload.subscribe()
    for server in program.servers.values():
        server.unsubscribe()


@pytest.mark.usefixtures("settings")
def test_servers_are_configured_by_the_global_configuration() -> None:
    cherrypy.config.update(
        {
            "server.socket_host": "0.0.0.0",
            "server.socket_port": 1234,
            "server.second.socket_port": 1235,
            "server.third.on": False,
        }
    )
    assert cherrypy.server.bind_addr == ("0.0.0.0", 1234)
    second, third = program.servers["second"], program.servers["third"]
    assert second.socket_port == 1235
    listeners = cherrypy.engine.listeners["start"]
    assert second.start in listeners
    assert third.start not in listeners
    cherrypy.config.update({"server.third.on": True})
    assert third.start in listeners


@pytest.mark.usefixtures("settings")
def test_the_engine_is_configured_by_the_global_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = cherrypy.engine
    listeners = engine.listeners["start"]
    for name in ("engine.autoreload.on", "engine.autoreload_on"):
        cherrypy.config.update({name: False})
        assert engine.autoreload.start not in listeners
        cherrypy.config.update({name: True})
        assert engine.autoreload.start in listeners
    monkeypatch.setattr(engine.autoreload, "frequency", 1)
    cherrypy.config.update({"engine.autoreload.frequency": 9, "engine.timeout_monitor.on": False})
    assert engine.autoreload.frequency == 9
    cherrypy.config.update({"engine.own": 3})
    assert engine.own == 3
    cherrypy.config.update({"engine.SIGHUP": engine.exit, "engine.SIGTERM": None})
    assert engine.exit in engine.listeners["SIGHUP"]
    engine.unsubscribe("SIGHUP", engine.exit)
    assert "SIGTERM" not in engine.signals.handlers
    cherrypy.config.update({"engine.SIGTERM": None, "checker.on": True})
    assert cherrypy.checker.on


@pytest.mark.usefixtures("settings")
def test_the_tree_is_configured_by_the_global_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cherrypy.tree, "apps", {})
    app = cherrypy.Application(Root(), "/one")

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        return []

    cherrypy.config.update({"tree.one": app})
    cherrypy.config.update({"tree.more": {"/two": wsgi}})
    assert cherrypy.tree.apps == {"/one": app, "/two": wsgi}


# -- requests and threads --------------------------------------------------------------------------


def test_request_events_are_published_on_the_bus(connect: MakeClient, world: str) -> None:
    seen: list[str] = []
    engine = cherrypy.engine

    def note(channel: str) -> Any:
        return lambda *_: seen.append(channel)

    listeners = {
        channel: note(channel) for channel in ("start_thread", "before_request", "after_request")
    }
    for channel, listener in listeners.items():
        engine.subscribe(channel, listener)
    engine.thread_manager.threads.clear()
    try:
        client = connect(cherrypy.Application(Root(), ""), world)
        assert client.get("/").text == "hello"
        until(lambda: "after_request" in seen)
        client.close()
    finally:
        for channel, listener in listeners.items():
            engine.unsubscribe(channel, listener)
        engine.watches_requests = False
    assert seen[:3] == ["start_thread", "before_request", "after_request"]


def test_a_listener_of_after_request_reads_the_response(
    connect: MakeClient, world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, int]] = []

    class Note(SimplePlugin):
        def after_request(self) -> None:
            headers = cherrypy.response.headers
            seen.append((cherrypy.response.status, headers["Content-Length"]))

    monkeypatch.setattr(cherrypy.engine, "watches_requests", False)
    plugin = Note(cherrypy.engine)
    plugin.subscribe()
    try:
        client = connect(cherrypy.Application(Root(), ""), world)
        assert client.get("/").text == "hello"
        until(lambda: seen)
    finally:
        plugin.unsubscribe()
    assert seen == [("200 OK", 5)]


def test_a_plugin_may_watch_threads_alone(
    connect: MakeClient, world: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``acquire_thread`` is published before each request, as in the original."""
    seen: list[str] = []

    class Watch(SimplePlugin):
        def acquire_thread(self) -> None:
            seen.append("acquired")

    bus = Bus()
    ThreadManager(bus).subscribe()
    assert not bus.watches_requests
    monkeypatch.setattr(cherrypy.engine, "watches_requests", False)
    plugin = Watch(cherrypy.engine)
    plugin.subscribe()
    try:
        client = connect(cherrypy.Application(Root(), ""), world)
        assert [client.get("/").text for _ in range(2)] == ["hello", "hello"]
    finally:
        plugin.unsubscribe()
    assert seen == ["acquired"] * 2


@pytest.fixture
def idle_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bus be as it is at first: WSGI applications of other tests that are not over hold
    it.
    """
    monkeypatch.setattr(cherrypy.engine, "is_hosted", False)
    monkeypatch.setattr(cherrypy.engine, "_followers", [])
    monkeypatch.setattr(cherrypy.engine, "state", cherrypy.engine.states.STOPPED)


@pytest.mark.usefixtures("idle_engine")
def test_the_engine_starts_with_the_application(connect: MakeClient, world: str) -> None:
    seen: list[str] = []

    class Plugin(SimplePlugin):
        def start(self) -> None:
            seen.append("start")

        def stop(self) -> None:
            seen.append("stop")

    plugin = Plugin(cherrypy.engine)
    plugin.subscribe()
    try:
        client, other = (connect(cherrypy.Application(Root(), ""), world) for _ in range(2))
        for _ in range(2):
            assert client.get("/").text == "hello"
        assert other.get("/").text == "hello"
        other.close()
        assert seen == ["start"]
        assert not cherrypy.server.running
        client.close()
    finally:
        plugin.unsubscribe()
    assert seen == ["start", "stop"]


# -- programs --------------------------------------------------------------------------------------

PROGRAM = """
import os, sys, threading, time
from micropie_compat import cherrypy

class Root:
    @cherrypy.expose
    def index(self):
        return "hello"

    @cherrypy.expose
    def started(self):  # the server answers some time before the bus has called all that start
        cherrypy.engine.wait(cherrypy.engine.states.STARTED)
        return "started"

    @cherrypy.expose
    def leave(self):
        cherrypy.engine.wait(cherrypy.engine.states.STARTED)
        cherrypy.engine.exit()
        return "leaving"

for channel in ("start", "stop", "exit"):
    cherrypy.engine.subscribe(channel, lambda channel=channel: print(f"<{channel}>", flush=True))
cherrypy.config.update({"server.socket_port": int(sys.argv[1]), "engine.autoreload.on": False})
"""
QUICKSTART = PROGRAM + "cherrypy.quickstart(Root(), '', {'global': {'log.screen': True}})\n"


def run(tmp_path: Path, script: str, port: int) -> subprocess.Popen[str]:
    (tmp_path / "program.py").write_text(script)
    command = [sys.executable, "program.py", str(port)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=environment(),
    )


def answer_of(process: subprocess.Popen[str], port: int, path: str = "/") -> str:
    """Return the answer as soon as the program serves."""
    answers: list[str] = []

    def asked() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
                answers.append(answer.read().decode())
        except HTTPError:
            raise
        except OSError:
            assert process.poll() is None, process.communicate()
        return bool(answers)

    until(asked)
    return answers[0]


@pytest.mark.processes
def test_quickstart_serves_until_it_is_stopped(tmp_path: Path) -> None:
    port = free_port()
    with run(tmp_path, QUICKSTART, port) as process:
        assert answer_of(process, port, "/started") == "started"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    found = [word for word in output.split() if word.startswith("<")]
    assert found == ["<start>", "<stop>", "<exit>"]
    assert "ENGINE Serving on http://127.0.0.1" in output


@pytest.mark.processes
def test_a_handler_may_end_the_program(tmp_path: Path) -> None:
    port = free_port()
    script = (
        PROGRAM
        + "cherrypy.tree.mount(Root())\ncherrypy.engine.start()\nprint('after')\ncherrypy.engine.block()\n"
    )
    with run(tmp_path, script, port) as process:
        assert answer_of(process, port, "/leave") == "leaving"
        output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0
    assert "after" in output
    assert "<exit>" in output


@pytest.mark.processes
def test_the_server_can_start_without_the_engine(tmp_path: Path) -> None:
    port = free_port()
    script = (
        PROGRAM
        + "cherrypy.tree.mount(Root())\ncherrypy.server.start()\ncherrypy.server.wait()\ninput()\n"
    )
    with run(tmp_path, script.replace("input()", "time.sleep(1e6)"), port) as process:
        assert answer_of(process, port) == "hello"
        process.kill()
        output, _ = process.communicate(timeout=PATIENCE)
    assert "<start>" not in output


HOSTED = """
import os, pathlib, sys
from micropie_compat import cherrypy

class Root:
    @cherrypy.expose
    def index(self):
        return str(cherrypy.engine.state)

def note(channel):
    with open(os.environ["NOTES"], "a") as file:
        file.write(f"{channel} {os.getpid()}\\n")

for channel in ("start", "stop", "exit"):
    cherrypy.engine.subscribe(channel, lambda channel=channel: note(channel))
cherrypy.tree.mount(Root())
app = cherrypy.tree
"""


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["uvicorn", "gunicorn-gthread"])
def test_an_external_server_runs_the_engine_s_plugins(tmp_path: Path, kind: str) -> None:
    (tmp_path / "hosted_cherrypy.py").write_text(HOSTED)
    notes = tmp_path / "notes"
    path = f"{tmp_path}:{environment()['PYTHONPATH']}"
    with serving(
        "hosted_cherrypy:app", environ={"NOTES": str(notes), "PYTHONPATH": path}
    ) as server_of:
        server = server_of(kind)
        for _ in range(2):
            assert server.request("GET", "/").body == b"states.STARTED"
    until(lambda: notes.read_text().count("\n") == 3)
    lines = [line.split() for line in notes.read_text().splitlines()]
    assert [channel for channel, _ in lines] == ["start", "stop", "exit"]
    assert len({pid for _, pid in lines}) == 1
