"""``micropie run`` and ``app.run()``: real processes, each server."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest

from micropie import App, Request, WebSocket, flash, get, post, requires
from micropie.channels import RedisChannels
from micropie.cli.serving import reloading
from micropie.cli.serving.made import IS_SERVING
from micropie.cli.serving.options import Options, ServingError, Target
from micropie.cli.serving.servers import choose
from micropie.cli.serving.signals import failing_without_signal
from micropie.cli.target import files_of_project
from micropie.middleware import FlowMiddleware, MemoryRates, RateLimit, RedisRates
from micropie.sessions import SQLiteSessionBackend
from tests.support.certificates import make_certificate
from tests.support.commands import ended, micropie, serving_command
from tests.support.modules import forget_temporary_modules
from tests.support.ports import free_port
from tests.support.waiting import END_WITHIN, PATIENCE, until

APP = """
import os
from micropie import App, where

class Root(App):
    async def index(self):
        return f"{{where()}} {word}"

    async def worker(self):
        return os.getpid()

app = Root()
"""
SCRIPT = (
    APP
    + """
if __name__ == "__main__":
    app.run(port=PORT)
"""
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP.format(word="one"))
    return tmp_path


# The path that a proxy passes on for the prefix /pies, with the prefix or without it; "" for a
# server without a proxy.
SERVERS = [
    ([], "(uvicorn, ASGI on asyncio)", "/"),
    (["--workers", "2"], "(uvicorn, ASGI on asyncio, 2 workers)", ""),
    (["--server", "hypercorn"], "(hypercorn, ASGI on asyncio)", ""),
    (["--loop", "trio"], "(hypercorn, ASGI on trio)", ""),
    (["--server", "granian", "--host", "localhost"], "(granian, ASGI on asyncio)", ""),
    (["--server", "daphne"], "(daphne, ASGI on asyncio)", "/"),
    (["--wsgi"], "(gunicorn, WSGI)", "/pies/"),
    (["--wsgi", "--workers", "2"], "(gunicorn, WSGI, 2 workers)", ""),
    (["--wsgi", "--server", "granian"], "(granian, WSGI)", ""),
    (["--server", "waitress"], "(waitress, WSGI)", "/pies/"),
    (["--server", "wsgiref"], "(wsgiref, WSGI)\nThis server is for trying things out", "/"),
]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("options", "chosen", "path"), SERVERS, ids=[" ".join(options) for options, *_ in SERVERS]
)
def test_each_server_serves_and_ends_quietly(
    project: Path, options: list[str], chosen: str, path: str
) -> None:
    (project / "app.py").write_text(APP.format(word="{self.url_for('index')}"))
    prefix = "/pies" if path else ""
    behind = ["--root-path", prefix] if path else []
    with serving_command(
        project, "-m", "micropie", "run", "--port", str(free_port()), *options, *behind
    ) as server:
        server.prefix = prefix
        assert server.get(path or "/").endswith(f" {prefix}/")
        assert chosen in server.output
        if "--workers" in options:  # gunicorn's don't end by a signal that comes while they start
            workers = {server.get("/worker")}
            until(lambda: server.get("/worker") not in workers)
        server.end()
    assert "Traceback" not in server.output


LISTEN = """
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
print(f"http://127.0.0.1:{listening.getsockname()[1]}", file=sys.stderr, flush=True)
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
os.execv(sys.executable, [sys.executable, "-m", "micropie", "run", "--fd", "3", *sys.argv[1:]])
"""
ELSEWHERE = [
    [],
    ["--workers", "2"],
    ["--server", "hypercorn"],
    ["--loop", "trio"],
    ["--server", "daphne"],
    ["--wsgi"],
    ["--server", "waitress"],
]


@pytest.mark.processes
@pytest.mark.parametrize("options", [*ELSEWHERE, ["--reload"]], ids=" ".join)
def test_a_socket_opened_by_a_supervisor_is_used(project: Path, options: list[str]) -> None:
    with serving_command(project, "-c", LISTEN, *options) as server:
        assert server.get().endswith(" one")
        until(lambda: "app:app: fd://3  (" in server.output)
        server.end()
    assert "Traceback" not in server.output


@pytest.mark.processes
@pytest.mark.parametrize(
    "options",
    [*ELSEWHERE, ["--server", "granian"], ["--wsgi", "--server", "granian"]],
    ids=" ".join,
)
def test_run_listens_on_a_unix_socket(project: Path, options: list[str]) -> None:
    path = project / "shop.sock"
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(path))  # of a server that was killed
    with serving_command(project, "-m", "micropie", "run", "--uds", path.name, *options) as server:
        answers: list[str] = []

        def is_answered() -> bool:
            answers[:] = [over_unix_socket(path)]
            return bool(answers[0])

        until(is_answered)
        assert answers[0].endswith(" one")
        assert stat.S_IMODE(path.stat().st_mode) & 0o666 == 0o666
        until(lambda: "app:app: unix:shop.sock  (" in server.output)
        busy = micropie(project, "run", "--uds", path.name)
        server.end()
    assert "Traceback" not in server.output
    assert (busy.returncode, busy.stderr) == (
        2,
        "micropie: can't listen on shop.sock (Address already in use): choose another path\n",
    )


def over_unix_socket(path: Path) -> str:
    """Return the response to a GET, or "" if nobody listens yet."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE)
        try:
            client.connect(str(path))
        except OSError:
            return ""
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


@pytest.mark.processes
def test_an_unusable_address_is_reported(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as silent:
        for options, sentence in (
            (["--uds", "app.py"], "app.py (Address already in use): choose another path"),
            (["--uds", "no/a.sock"], "no/a.sock (No such file or directory): choose another path"),
            (["--fd", "999"], "the descriptor 999 (Bad file descriptor): pass a listening socket"),
            (["--fd", "0"], "the descriptor 0 ("),
            (["--fd", str(silent.fileno())], f"the descriptor {silent.fileno()} (it is not a lis"),
        ):
            assert run_main(project, monkeypatch, ["run", "app", *options]) == 2
            assert capsys.readouterr().err.startswith(f"micropie: can't listen on {sentence}")


@pytest.mark.processes
def test_variables_of_hosting_platforms_are_used(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    with serving_command(
        project, "-m", "micropie", "run", PORT=str(port), WEB_CONCURRENCY="2"
    ) as server:
        assert server.get().endswith(" one")
        server.end()
    assert server.url == f"http://127.0.0.1:{port}"
    assert server.output.startswith(
        f"micropie: --port {port} from PORT, --workers 2 from WEB_CONCURRENCY\napp:app: http"
    )
    assert ", 2 workers)" in server.output
    monkeypatch.setenv("PORT", "http")
    monkeypatch.setenv("WEB_CONCURRENCY", "0")
    for options, sentence in (
        ([], "PORT must be a number, not 'http': it sets --port"),
        (
            ["--port", "99999", "--workers", "1"],
            "a port must be a number from 0 to 65535, not 99999",
        ),
        (
            ["--uds", "no/a.sock"],
            "--workers 0 from WEB_CONCURRENCY\nmicropie: workers must be 1 or",
        ),
        (["--uds", "no/a.sock", "--reload"], "can't listen on no/a.sock"),
        (["--fd", "999", "--workers", "1"], "can't listen on the descriptor 999"),
    ):
        assert run_main(project, monkeypatch, ["run", "app", *options]) == 2
        assert capsys.readouterr().err.startswith(f"micropie: {sentence}")


# whose own process imports it; that looks for a name
@pytest.mark.processes
@pytest.mark.parametrize("server", ["hypercorn", "daphne"])
def test_an_application_made_by_a_factory_is_served(project: Path, server: str) -> None:
    source = APP.format(word="made").replace(
        "app = Root()", "class made:\n    def app(): return Root()"
    )
    (project / "app.py").write_text(source)
    command = ["run", "app:made.app", "--server", server, "--port", str(free_port())]
    with serving_command(project, "-m", "micropie", *command) as running:
        assert running.get().endswith(" made")
        running.end()
    assert running.output.startswith("app:made.app: http://")


FAILING = """
from micropie import App

app = App()

@app.startup_handlers.append
def connect():
    raise RuntimeError("no database")
"""


@pytest.mark.processes
@pytest.mark.parametrize("options", [["--workers", "2"], ["--server", "hypercorn"]])
def test_a_failed_startup_exits_with_an_error_code(project: Path, options: list[str]) -> None:
    (project / "app.py").write_text(FAILING)
    command = ["-m", "micropie", "run", "--port", str(free_port()), *options]
    with serving_command(project, *command) as running:
        assert running.process.wait(END_WITHIN) == 1  # uvicorn may wait 20 s for an answer
    assert "no database" in running.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, None])
def test_a_server_that_ends_without_a_signal_has_failed(number: int | None) -> None:
    numbers: list[int] = []

    def serve() -> None:
        with failing_without_signal():
            signal.raise_signal(number or signal.SIGUSR1)

    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = [signal.signal(one, lambda given, _: numbers.append(given)) for one in handled]
    try:
        with nullcontext() if number else pytest.raises(SystemExit, match="1"):
            serve()
    finally:
        for one, handler in zip(handled, before, strict=True):
            signal.signal(one, handler)
    assert numbers == [number or signal.SIGUSR1]


def test_the_error_of_a_server_is_raised_without_a_signal() -> None:
    with pytest.raises(OSError, match="in use"), failing_without_signal():
        raise OSError("in use")


@pytest.mark.processes
def test_settings_come_from_the_environment_and_a_file(project: Path) -> None:
    (project / ".env").write_text(
        f"MICROPIE_PORT={free_port()}\nMICROPIE_SERVER=waitress\nMICROPIE_APP=app:app\n"
    )
    with serving_command(project, "-m", "micropie", "run", MICROPIE_SERVER="wsgiref") as server:
        assert server.get().endswith(" one")
        assert "(wsgiref, WSGI)" in server.output  # what is set already comes first
        server.end()


def put_in_place(file: Path, text: str) -> None:
    """Change a file at once: while it is empty, it may be imported on a busy machine."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.replace(file)


@pytest.mark.processes
def test_reload_restarts_when_a_file_has_changed(project: Path) -> None:
    (project / "app.py").write_text(APP.format(word="one").replace("Root()", "Root(debug=True)"))
    (project / ".env").write_text("PIE=apple\n")
    (project / "notes.txt").touch()  # isn't watched
    command = ["-m", "micropie", "run", "--reload", "--port", "0"]
    with serving_command(project, *command, MICROPIE_DEBUG_KEY="") as server:
        assert server.get().endswith(" one")
        put_in_place(project / "app.py", "broken(")
        until(lambda: "can't be imported" in server.output)
        (project / ".env").write_text("PIE=plum and pear\n")
        two = APP.format(word="two, {os.environ['PIE']}").replace("Root()", "Root(debug=True)")
        put_in_place(project / "app.py", two)
        until(lambda: server.output.count("app:app: http") == 2)
        assert server.get().endswith(" two, plum and pear")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    assert "app.py has changed: restarting" in server.output
    before, after = re.findall(
        r"To see debug pages, open (http://localhost:\d+/_debug/\S+)", server.output
    )
    assert before == after


@pytest.mark.processes
def test_reload_waits_for_a_change_if_the_first_import_fails(project: Path) -> None:
    (project / "app.py").write_text("broken(")
    command = ["-m", "micropie", "run", "--reload", "--port", str(free_port())]
    with serving_command(project, *command) as server:
        until(lambda: "can't be imported" in server.output)
        put_in_place(project / "app.py", APP.format(word="one"))
        assert server.get().endswith(" one")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 0
    assert server.output.count("can't be imported") == 1


def test_a_folder_that_can_t_be_entered_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "app.py").touch()
    folder = tmp_path
    while (room := 4090 - len(str(folder))) > 1:  # a longer path is an error, for root too
        folder /= "a" * min(room, 200)
    folder.mkdir(parents=True)
    with pytest.raises(OSError, match="too long"):
        (folder / "a-long-name").stat()
    assert [*reloading._times(tmp_path)] == [str(tmp_path / "app.py")]
    assert [*files_of_project(tmp_path)] == [tmp_path / "app.py"]
    with pytest.raises(ServingError, match="can't be read"):
        Options(ssl_certfile=f"{folder}/a-long-name", ssl_keyfile="key.pem")


TRAILERS = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"1\r\na\r\n0\r\nX-Note: oat\r\n\r\n"
)
# What trusts the proxy: an application's middleware, or the handler.
TRUSTED = """
from micropie import App
from micropie.middleware import ProxyHeaders

class Root(App):
    middlewares = [{trusting}]

    def index(self):
        return f"{{self.request.client.host}} {{self.request.{shown}}}"

app = Root()

if __name__ == "__main__":
    app.run(port=PORT)
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("command", "trusting"),
    [
        (["-m", "micropie", "run", "--port", "PORT"], 'ProxyHeaders(trusted=["127.0.0.1"])'),
        (["-m", "micropie", "run", "--port", "PORT", "--workers", "2"], ""),
        (["app.py"], ""),
    ],
)
def test_R15_a_trailer_is_not_read_as_a_header(
    tmp_path: Path, command: list[str], trusting: str
) -> None:
    port = free_port()
    script = TRUSTED.format(trusting=trusting, shown="headers.get('x-note')")
    script = script.replace("PORT", str(port))
    (tmp_path / "app.py").write_text(script)
    command = [word.replace("PORT", str(port)) for word in command]
    with serving_command(tmp_path, *command) as server:
        assert server.get() == "127.0.0.1 None"
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(TRAILERS)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.endswith(b"127.0.0.1 None")
        server.end()
    assert "(uvicorn, ASGI" in server.output


FORGED = {"X-Forwarded-For": "192.0.2.1, 192.0.2.2", "X-Forwarded-Proto": "https"}


@pytest.mark.processes
@pytest.mark.parametrize("options", [[], ["--workers", "2"], ["--server", "waitress"]])
@pytest.mark.parametrize(
    ("trusting", "client"),
    [
        ("", "127.0.0.1 http"),
        ('ProxyHeaders(trusted=["127.0.0.1"])', "192.0.2.2 https"),
        ('ProxyHeaders(trusted=["127.0.0.1"], forwarded=True)', "127.0.0.1 http"),
    ],
)
def test_R15_no_server_applies_proxy_headers_itself(
    tmp_path: Path, options: list[str], trusting: str, client: str
) -> None:
    (tmp_path / "app.py").write_text(TRUSTED.format(trusting=trusting, shown="scheme"))
    port = str(free_port())
    command = ["-m", "micropie", "run", "--port", port, *options]
    # with this variable, uvicorn would believe each client
    with serving_command(tmp_path, *command, FORWARDED_ALLOW_IPS="*") as server:
        server.get()
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/", headers=FORGED)
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            assert answer.read().decode() == client
        server.end()


LOOKING_UP = """
import asyncio, sys
from contextlib import asynccontextmanager
from micropie import App
class Root(App):
    @asynccontextmanager
    async def lifespan(self):
        yield
        print(await asyncio.to_thread(str, "left a thread"), file=sys.stderr, flush=True)
        raise LookupError
    def index(self):
        return "x"
app = Root()
"""


@pytest.mark.processes
@pytest.mark.parametrize("server", ["gunicorn", "waitress", "wsgiref"])
def test_a_shutdown_under_wsgi_can_use_asyncio_s_threads(tmp_path: Path, server: str) -> None:
    (tmp_path / "app.py").write_text(LOOKING_UP)
    command = ["-m", "micropie", "run", "--port", str(free_port()), "--server", server]
    with serving_command(tmp_path, *command) as running:
        assert running.get() == "x"
        assert running.end() == 0
    assert "left a thread" in running.output
    assert running.output.count("Traceback") == 1  # of the failure, as it is logged


@pytest.mark.processes
def test_reload_prints_development_hints(project: Path) -> None:
    text = APP.format(word="one").replace(
        "class Root(App):", "class Root(App):\n    guards = ['a']"
    )
    (project / "app.py").write_text(text)
    advice = "Root.guards has no effect here"
    for options, count in (["--reload"], 1), ([], 0):
        command = ["-m", "micropie", "run", "--port", "0", *options]
        with serving_command(project, *command) as server:
            assert server.get().endswith(" one")
            server.end()
        assert server.output.count(advice) == count


@pytest.mark.processes
def test_run_serves_https(project: Path) -> None:
    (project / "app.py").write_text(APP.format(word="one {self.request.scheme}"))
    make_certificate(project)
    options = ["--ssl-certfile", "cert.pem", "--ssl-keyfile", "key.pem", "--port", str(free_port())]
    for name in ("uvicorn", "wsgiref"):
        with serving_command(
            project, "-m", "micropie", "run", "--server", name, *options
        ) as server:
            assert server.url.startswith("https://")
            url = server.url

            def answer(url: str = url) -> str:
                done = ended("curl", "-ksm", str(PATIENCE), url)
                return done.stdout

            until(lambda: answer().endswith(" one https"))
            # A client that does not begin its handshake keeps nobody else from being served.
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
                assert answer().endswith(" one https")
            server.end()


@pytest.mark.processes
@pytest.mark.parametrize(
    "options", ["", ", reload=True", ', server="waitress"', ", workers=2", ', server="hypercorn"']
)
def test_a_script_can_serve_itself(tmp_path: Path, options: str) -> None:
    script = SCRIPT.format(word="script").replace("port=PORT", f"port={free_port()}{options}")
    (tmp_path / "shop1.py").write_text(script)
    with serving_command(tmp_path, "shop1.py") as server:
        assert server.get().endswith(" script")
        assert server.output.startswith("shop1:app: http://127.0.0.1:")
        server.end()
    assert "Traceback" not in server.output


@pytest.mark.processes
@pytest.mark.parametrize("loop", ["asyncio", "trio"])
def test_an_application_without_a_name_is_served_in_this_process(tmp_path: Path, loop: str) -> None:
    script = APP.format(word="unnamed").replace(
        "app = Root()", f'Root().run(port={free_port()}, loop="{loop}")'
    )
    (tmp_path / "shop1.py").write_text(script)
    with serving_command(tmp_path, "shop1.py") as server:
        assert server.get().endswith(" unnamed")
        assert server.output.startswith("Root: http://127.0.0.1:")
        server.end()


@pytest.mark.processes
def test_a_module_run_with_python_m_has_its_full_name(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "site.py").write_text(
        SCRIPT.format(word="module").replace("port=PORT", f"port={free_port()}")
    )
    with serving_command(tmp_path, "-m", "shop.site") as server:
        assert server.get().endswith(" module")
        assert server.output.startswith("shop.site:app: ")
        server.end()


@pytest.mark.processes
def test_run_without_a_main_guard_does_nothing_in_the_serving_process(tmp_path: Path) -> None:
    script = APP.format(word="unguarded") + f'\napp.run(port={free_port()}, server="granian")\n'
    (tmp_path / "shop1.py").write_text(script)
    with serving_command(tmp_path, "shop1.py") as server:
        assert server.get().endswith(" unguarded")
        server.end()
    assert server.output.count("shop1:app: http") == 1


@pytest.mark.processes
def test_run_without_a_main_guard_does_nothing_in_a_command(tmp_path: Path) -> None:
    (tmp_path / "shop2.py").write_text(APP.format(word="commanded") + "\napp.run()\n")
    port = str(free_port())
    listed = micropie(tmp_path, "routes", "shop2")
    assert (listed.returncode, listed.stderr) == (0, "")
    with serving_command(tmp_path, "-m", "micropie", "run", "shop2", "--port", port) as server:
        assert server.get().endswith(" commanded")
        server.end()
    assert f"shop2:app: http://127.0.0.1:{port}" in server.output


def test_a_command_in_a_serving_process_serves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop3.py").write_text(APP.format(word="nested"))
    monkeypatch.setenv(IS_SERVING, "1")
    assert run_main(tmp_path, monkeypatch, ["run", "shop3"]) == 0
    assert os.environ[IS_SERVING] == "1"


@pytest.mark.processes
def test_run_refuses_unsupported_combinations(tmp_path: Path) -> None:
    script = APP.format(word="unnamed").replace(
        "app = Root()", 'Root().run(port=0, server="daphne")'
    )
    (tmp_path / "shop1.py").write_text(script)
    with serving_command(tmp_path, "shop1.py") as server:
        until(lambda: server.process.poll() is not None)
    assert server.process.returncode == 1
    assert (
        "micropie: daphne imports the application in its own processes, so the application must be a global variable"
        in server.output
    )


WRONG = [
    (["--server", "nope"], "there is no server 'nope'; there are: uvicorn, hypercorn, granian"),
    (
        ["--server", "uvicorn", "--loop", "trio"],
        "uvicorn can't serve with these options: it does not run on trio",
    ),
    (
        ["--server", "daphne", "--workers", "2"],
        "daphne can't serve with these options: it can run only one process",
    ),
    (
        ["--server", "uvicorn", "--wsgi"],
        "uvicorn can't serve with these options: it does not serve WSGI",
    ),
    (
        ["--wsgi", "--loop", "trio"],
        "no installed server supports all these options. To fix this: use fewer options",
    ),
    (["--uds", "a.sock", "--fd", "3"], "uds and fd can't be used together: choose one"),
    (
        ["--server", "granian", "--fd", "3"],
        "granian can't serve with these options: it can't take a socket that is",
    ),
    (
        ["--server", "wsgiref", "--uds", "a"],
        "wsgiref can't serve with these options: it can't listen on a UNIX socket",
    ),
    (["--port", "99999"], "a port must be a number from 0 to 65535, not 99999"),
    (["--workers", "0"], "workers must be 1 or more, not 0"),
    (["--workers", "2", "--reload"], "reload works only with one worker: set workers to 1"),
    (["--ssl-certfile", "a.pem"], "https needs both files"),
    (["--root-path", "shop"], "root_path must begin with a slash, not 'shop'"),
    (
        ["--ssl-certfile", "a.pem", "--ssl-keyfile", "b.pem"],
        "the certificate or key file 'a.pem' can't be read",
    ),
    (
        ["--host", "203.0.113.1"],
        "can't listen on 203.0.113.1:8000 (Cannot assign requested address): choose another host",
    ),
]


@pytest.mark.parametrize(
    ("options", "sentence"), WRONG, ids=[" ".join(options) for options, _ in WRONG]
)
@pytest.mark.processes  # some of them are noticed when a port is bound
def test_an_impossible_option_is_reported_in_one_sentence(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    sentence: str,
) -> None:
    assert run_main(project, monkeypatch, ["run", "app", *options]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("micropie: " + sentence)
    assert "Traceback" not in printed


WRONG_APP = """
from micropie import App

app = App()
app.get("/<a>/<b>")(lambda a: a)
"""


@pytest.mark.processes
@pytest.mark.parametrize("options", [[], ["--wsgi"]])
def test_a_setup_error_is_reported_in_one_sentence(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    (tmp_path / "wrong.py").write_text(WRONG_APP)
    assert run_main(tmp_path, monkeypatch, ["run", "wrong", "--port", "0", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("micropie: ")
    assert line.endswith("has no parameter 'b'")


CALLED = """
from micropie import App

class Shop(App):
    {}

app = Shop()
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    ("method", "options", "arguments"),
    [
        ("def __call__(self, name): ...", [], "(scope, receive, send), as ASGI"),
        ("def __call__(self, environ, start_response): ...", [], "(scope, receive, send), as ASGI"),
        ("def __call__(self, name): ...", ["--wsgi"], "(environ, start_response), as WSGI"),
        (
            "async def __call__(self, scope, receive, send=None): ...",
            ["--wsgi"],
            "(environ, start_response), as WSGI",
        ),
    ],
)
def test_a_method_that_no_server_can_call_is_reported(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
    options: list[str],
    arguments: str,
) -> None:
    (tmp_path / "called.py").write_text(CALLED.format(method))
    assert run_main(tmp_path, monkeypatch, ["run", "called", "--port", "0", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"micropie: Shop.__call__ can't be called with {arguments} servers do: rename this method, "
        "or write def __call__(self, scope, receive, send=None), as in App"
    )


def test_an_unknown_stand_in_is_reported(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """argparse doesn't check values that come from the environment."""
    monkeypatch.setenv("MICROPIE_STAND_IN", "botle")
    assert run_main(project, monkeypatch, ["run", "app"]) == 2
    assert capsys.readouterr().err == (
        "micropie: --stand-in botle: there are compatibility modules for bottle, cherrypy, "
        "pixie_web, not for 'botle'\n"
    )


@pytest.mark.processes
def test_a_setup_error_ends_a_script_with_one_sentence() -> None:
    app = App()
    app.get("/<a>/<b>")(lambda a: a)
    with pytest.raises(SystemExit, match=r"^micropie: .* has no parameter 'b'$"):
        app.run(port=0)


def run_main(folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> int:
    """Run a command in this process."""
    from micropie.cli.main import main

    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    forget_temporary_modules()
    return main(arguments)


def test_the_arguments_of_app_run_are_checked_too(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="loop must be asyncio, trio or uvloop, not 'curio'"):
        Options(loop="curio")  # type: ignore[arg-type]
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).touch()
    certfile, keyfile = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    with pytest.raises(
        ServingError, match="waitress can't serve with these options: it does not support https"
    ):
        choose(Options(server="waitress", ssl_certfile=certfile, ssl_keyfile=keyfile))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("port", "8000", "a whole number, not '8000'"),
        ("port", None, "a whole number, not None"),
        ("workers", "2", "a whole number, not '2'"),
        ("fd", "3", "a whole number, not '3'"),
        ("host", None, "text, not None"),
        ("uds", Path("a.sock"), r"text, not PosixPath\('a.sock'\)"),
        ("root_path", None, "text, not None"),
    ],
)
def test_app_run_refuses_a_value_of_another_type(name: str, value: object, expected: str) -> None:
    with pytest.raises(SystemExit, match=f"micropie: {name} must be {expected}"):
        App().run(**{name: value})  # type: ignore[arg-type]


def test_a_child_reads_only_variables_of_the_file_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("PIE=apple\nTOPPING=cream\n")
    monkeypatch.setenv("PIE", "plum")
    with patch.dict(os.environ):
        run_main(tmp_path, monkeypatch, ["completion"])
        assert (os.environ["PIE"], os.environ["TOPPING"]) == ("plum", "cream")
    assert {"TOPPING"} == reloading.FROM_ENV_FILE


def test_a_file_may_vanish_while_files_are_checked(tmp_path: Path) -> None:
    kept = tmp_path / "app.py"
    kept.touch()
    (tmp_path / "gone.py").symlink_to("nowhere.py")  # listed, but its target doesn't exist
    assert [*reloading._times(tmp_path)] == [str(kept)]


@pytest.mark.processes
def test_a_child_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "END_WITHIN", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(100)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        reloading._end(child)
    assert child.returncode == -signal.SIGKILL


@pytest.mark.processes
def test_a_port_in_use_is_reported(project: Path) -> None:
    with serving_command(
        project, "-m", "micropie", "run", "--server", "wsgiref", "--port", str(free_port())
    ) as server:
        server.get()
        port = server.url.rpartition(":")[2].split()[0].rstrip("/")
        done = micropie(project, "run", "--port", port)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == f"micropie: can't listen on 127.0.0.1:{port} (Address already in use): choose another port\n"
    )


def test_a_server_that_is_not_installed_is_reported(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from micropie.cli.serving import servers

    monkeypatch.setattr(servers, "find_spec", lambda module: None)
    assert run_main(project, monkeypatch, ["run", "--server", "uvicorn"]) == 2
    assert "uvicorn is not installed: pip install uvicorn" in capsys.readouterr().err
    assert run_main(project, monkeypatch, ["run", "--loop", "trio"]) == 2
    found = capsys.readouterr().err
    assert (
        'no installed server supports all these options. To fix this: pip install "hypercorn[trio]"'
        in found
    )
    assert run_main(project, monkeypatch, ["run", "--loop", "uvloop"]) == 2
    assert "uvloop is not installed: pip install uvloop" in capsys.readouterr().err
    # A bare install serves all the same, and says what is missing.
    assert servers.choose(Options()).name == "wsgiref"


@pytest.mark.parametrize(
    ("options", "better"), [(Options(), "uvicorn"), (Options(wsgi=True), "gunicorn")]
)
def test_the_fallback_server_recommends_a_better_one(
    options: Options, better: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from micropie.cli.serving import run, servers

    monkeypatch.setattr(servers, "find_spec", lambda module: None)
    text = run._announcement(servers.choose(options), Target(object(), "a:b"), options)
    assert text.endswith(f"Install a better one: pip install {better}")


def test_run_uses_a_wsgi_server_if_no_other_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    from micropie.cli.serving import run, servers

    monkeypatch.setattr(
        servers, "find_spec", lambda module: module if module == "gunicorn" else None
    )
    options = Options()
    text = run._announcement(servers.choose(options), Target(object(), "a:b"), options)
    assert text.endswith(
        "No ASGI server is installed, so there are no WebSockets: pip install uvicorn"
    )


def test_the_trio_worker_warns_about_the_internet() -> None:
    from micropie.cli.serving import run

    warned = {}
    for loop in ("asyncio", "trio"):
        options = Options(server="hypercorn", loop=loop)
        text = run._announcement(choose(options), Target(object(), "a:b"), options)
        warned[loop] = "stops hypercorn on trio. Use asyncio if the server is reachable" in text
    assert warned == {"asyncio": False, "trio": True}


def members(request: Request) -> bool:
    return "user" in request.session


class Members(FlowMiddleware):
    def before(self, request: Request) -> None:
        request.session.get("user")


class User:
    """What a provider returns."""


class ByHandler(App):
    def login(self) -> str:
        self.request.session["user"] = "Ann"
        return "in"


class ByCheck(App):
    @requires(members)
    def index(self) -> str:
        return "pies"


class ByMiddleware(App):
    @Members()
    @get
    def index(self) -> str:
        return "pies"


class ByKey(App):
    @RateLimit(
        5, key=lambda request: request.session["user"], store=RedisRates("redis://localhost")
    )
    def index(self) -> str:
        return "pies"


class ByMethod(App):
    @property
    def _name(self) -> object:
        return self.request.session.get("name")

    def index(self) -> str:
        return str(self._name)


class ByProvider(App):
    def __init__(self) -> None:
        super().__init__()

        @self.provides(User)
        def user(request: Request) -> User:
            flash("Welcome")
            return User()

    def index(self, user: User) -> str:
        return "pies"


class ByChannels(App):
    async def ws_news(self, ws: WebSocket) -> None:
        await ws.accept()
        for _ in [self.channels]:
            pass


class LimitsAll(App):
    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self.middlewares.append(RateLimit(5))


class LimitsOne(App):
    @RateLimit(5, store=MemoryRates())
    @post
    def login(self) -> str:
        return "in"


@RateLimit(5)
class LimitsClass(App):
    @post
    def login(self) -> str:
        return "in"


ALL = ["sessions", "channels", "rate limits"]


def with_inside(isolated: bool, **settings: object) -> App:
    """Return an application that has others inside, which keep all kinds."""
    app = App(**settings)  # type: ignore[arg-type]
    for one in (ByHandler, ByChannels, LimitsOne):
        app.mount(f"/{one.__name__}", one(), isolated=isolated)
    return app


@pytest.mark.processes
@pytest.mark.parametrize(
    ("make", "workers", "kinds"),
    [
        (ByHandler, 1, []),
        (ByHandler, 2, ALL[:1]),
        (ByCheck, 2, ALL[:1]),
        (ByMiddleware, 2, ALL[:1]),
        (ByKey, 2, ALL[:1]),
        (ByMethod, 2, ALL[:1]),
        (ByProvider, 2, ALL[:1]),
        (ByChannels, 2, ALL[1:2]),
        (LimitsAll, 2, ALL[2:]),
        (LimitsOne, 2, ALL[2:]),
        (LimitsClass, 2, ALL[2:]),
        (lambda: with_inside(False), 2, ALL),
        (lambda: with_inside(True), 2, ALL),
        (lambda: LimitsAll(rates=MemoryRates()), 2, ALL[2:]),
        (lambda: LimitsAll(rates=RedisRates("redis://localhost")), 2, []),
        (
            lambda: with_inside(
                False,
                session_backend=SQLiteSessionBackend("sessions.db"),
                channels=RedisChannels("redis://localhost"),
            ),
            2,
            ALL[2:],
        ),
        (App, 2, []),
    ],
)
def test_with_several_workers_data_in_memory_is_reported(
    make: Callable[[], App],
    workers: int,
    kinds: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from micropie.cli.serving import run

    served: list[Options] = []
    server = SimpleNamespace(
        protocol="ASGI",
        name="any",
        loops=["asyncio"],
        package="any",
        start=lambda target, options: served.append(options),
    )
    monkeypatch.setattr(run, "choose", lambda options: server)
    run.serve(Target(make(), "app:app"), Options(workers=workers, port=0))
    assert [one.workers for one in served] == [workers]
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("micropie: each worker keeps its own ")
    ]
    found = [line.partition(" keeps its own ")[2].partition(" in memory")[0] for line in lines]
    assert found == kinds


@pytest.mark.processes  # it binds a port
@pytest.mark.parametrize(("stated", "used"), [("/shop/", "/shop"), ("/", ""), ("/a//", "/a")])
def test_a_root_path_may_end_with_a_slash(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stated: str, used: str
) -> None:
    from micropie.cli.serving import run, servers

    served: list[Options] = []
    (uvicorn,) = [server for server in servers.SERVERS if server.name == "uvicorn"]
    uvicorn = replace(uvicorn, start=lambda target, options: served.append(options))
    monkeypatch.setattr(run, "choose", lambda options: uvicorn)
    run.serve(Target(App(), "app:app"), Options(port=0, root_path=stated))
    assert [one.root_path for one in served] == [used]
    assert f":{served[0].port}{used}  (uvicorn" in capsys.readouterr().err


@pytest.mark.parametrize("knows", [True, False])
def test_uvicorn_s_workers_get_more_time_to_start_if_it_can_be_set(
    monkeypatch: pytest.MonkeyPatch, knows: bool
) -> None:
    """uvicorn 0.37 and newer can."""
    given: dict[str, object] = {}

    def new_run(app: object, *, timeout_worker_healthcheck: int = 5, **options: object) -> None:
        given.update(options, patience=timeout_worker_healthcheck)

    def old_run(app: object, *, workers: int, lifespan: str, **options: object) -> None:
        given.update(options)

    monkeypatch.setattr("uvicorn.run", new_run if knows else old_run)
    choose(Options(server="uvicorn")).start(Target(App(), "app:app"), Options())
    assert given.get("patience") == (20 if knows else None)
    assert "timeout_worker_healthcheck" not in given
