"""The commands that print something and end: routes, check, new, shell; and how an application is
named.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from select import select
from types import SimpleNamespace
from typing import Any

import pytest

import micropie.cli.main
from micropie import __version__, where
from micropie._core.routing import place_of
from micropie.cli.serving.options import Options
from micropie.cli.shell import _Console
from tests.cli.in_process import Run, running_in
from tests.support.commands import ROOT, ended, environment
from tests.support.commands import micropie as run_micropie
from tests.support.environment import WITHOUT_PLUGINS, unmeasured
from tests.support.waiting import PATIENCE


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    return running_in(tmp_path, monkeypatch, capsys)


SITE = """
from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from micropie import App, Query, UploadFile, get, run_in, post


class Blog(App):
    def index(self):
        return ""


def wsgi(environ, start_response):
    raise NotImplementedError


class Root(App):
    def __init__(self):
        super().__init__()
        self.blog = Blog()

    def greet(self, name: str = "World", *rest):
        return name

    def total(self, numbers: list[Annotated[int, "each"]], page: Annotated[int, Query("p")]):
        return sum(numbers)

    @get("/pies/<number:int>")
    async def pie(self, number: int) -> str:
        return str(number)

    @post
    def upload(self, file: UploadFile):
        return file.filename

    async def ws_chat(self, ws: OnlyChecked, room):
        await ws.accept()


if TYPE_CHECKING:
    from nowhere import OnlyChecked


@run_in("process")
def compute(n: int):
    return n


app = Root()
app.get("/compute/<n:int>")(compute)
app.mount("/old", wsgi)
app.static("/static", ".")
"""


EVERY = "GET,POST,PUT,PATCH,DELETE"


def test_routes_lists_all_routes(command: Run, tmp_path: Path) -> None:
    (tmp_path / "site1.py").write_text(SITE)
    status, output, _ = command("routes", "site1:app")
    lines = [line.split() for line in output.splitlines()]
    assert status == 0
    assert lines[0] == ["METHODS", "PATH", "HANDLER", "RUNS", "IN", "FILE"]
    assert [EVERY, "/blog", "blog.index()", "thread", "site1.py:10"] in lines
    assert [
        EVERY,
        "/greet",
        "greet(name:",
        "str",
        "=",
        "'World',",
        "*rest)",
        "thread",
        "site1.py:23",
    ] in lines
    assert [
        EVERY,
        "/total",
        "total(numbers:",
        "list[int],",
        "page:",
        "int)",
        "thread",
        "site1.py:26",
    ] in lines
    assert ["GET", "/pies/<number:int>", "pie(number:", "int)", "loop", "site1.py:29"] in lines
    assert ["POST", "/upload", "upload(file:", "UploadFile)", "thread", "site1.py:33"] in lines
    assert ["GET", "/compute/<n:int>", "compute(n:", "int)", "process", "site1.py:45"] in lines
    assert ["WS", "/chat", "ws_chat(ws:", "OnlyChecked,", "room)", "loop", "site1.py:37"] in lines
    assert ["*", "/old/...", "function", "wsgi"] in lines
    assert ["GET", "/static/<path:path>", "static(path:", "str)", "loop"] in lines


OF_OTHERS = """
from micropie import App


class Root(App):
    def rows(self):
        yield "plum"

    def migrated_routes(self):
        return [("GET", "/old", old), ("*", "/older", Old())]


def old(name="plum"): ...


class Old:
    def __call__(self): ...


app = Root()
"""


def test_routes_lists_generators_and_handlers_of_mounted_frameworks(
    command: Run, tmp_path: Path
) -> None:
    (tmp_path / "half.py").write_text(OF_OTHERS)
    _, output, _ = command("routes", "half:app")
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert f"{EVERY} /rows rows() thread half.py:6" in lines
    assert "GET /old old(name='plum') thread half.py:13" in lines
    assert "* /older Old() thread" in lines


PROVIDED = """
from micropie import App, Request


class Session:
    pass


class Paging:
    pass


class Root(App):
    def show(self, number: int, session: Session, *, paging: Paging | None = None):
        return ""


app = Root()
app.provides(Session)(Session)


@app.provides(Paging)
def pages(session: Session, page: int = 1):
    return Paging()
"""


def test_routes_lists_provided_parameters(command: Run, tmp_path: Path) -> None:
    (tmp_path / "site9.py").write_text(PROVIDED)
    _, output, _ = command("routes", "site9:app", "--json")
    (show,) = json.loads(output)
    paging = "pages(session: Session = Session(), page: int = 1)"
    found = show["parameters"]
    assert found == f"(number: int, session: Session = Session(), paging: Paging | None = {paging})"
    _, output, _ = command("routes", "site9:app")  # a line of a table is short
    assert "  show(number: int, session: Session, paging: Paging | None = None)  thread" in output


def test_routes_lists_the_types_of_a_partial_s_parameters(command: Run, tmp_path: Path) -> None:
    source = (
        "from __future__ import annotations\nfrom functools import partial\n"
        "from micropie import App\n\n\nclass Pie: pass\n\n\n"
        "def show(kind: str, number: int | None = None): ...\n\n\napp = App()\n"
        "app.get('/pies', name='pies')(partial(show, 'apple'))\n"
    )
    (tmp_path / "site10.py").write_text(source)
    status, output, _ = command("routes", "site10:app")
    assert status == 0
    assert "  pies(number: int | None = None)  thread" in output


def test_a_function_without_python_source_is_listed_without_a_line() -> None:
    assert place_of(len) == ""


def test_routes_can_print_json(command: Run, tmp_path: Path) -> None:
    (tmp_path / "site2.py").write_text(f"{SITE}\nprint('imported')\n")
    status, output, errors = command("routes", "site2:app", "--json")
    assert "imported\n" in errors
    (pie,) = [route for route in json.loads(output) if route["name"] == "pie"]
    assert json.loads(output)[-1]["path"] == "/old/..."
    assert status == 0
    assert pie == {
        "methods": "GET",
        "path": "/pies/<number:int>",
        "name": "pie",
        "parameters": "(number: int)",
        "runs_in": "loop",
        "place": "site2.py:29",
        "checks": "",
    }


BAD = """
from micropie import App, UploadFile, get, post
from micropie.sessions import InMemorySessionBackend


class Blog(App):
    def index(self):
        return ""


class Root(App):
    def __init__(self):
        super().__init__(InMemorySessionBackend(), debug=True, websocket_origins=["*"])
        self.blog = Blog()

    def blog(self):
        return ""

    def login(self, name: str):
        self.request.session["user"] = name

    @get("/logout")
    def logout(self):
        session, other = self.request.session, 5
        session = self.request.session
        session.clear()

    @get("/old/page")
    def page(self):
        return self.request.session.get("a")

    @post
    def fine(self, file: UploadFile):
        del self.request.session["a"]

    async def ws_echo(self, ws):
        pass


def wsgi(environ, start_response):
    raise NotImplementedError


@get("/lost")
def lost():
    return ""


app = Root()
app.mount("/old", wsgi)


class Page:
    def __call__(self):
        return ""


app.get("/called")(Page())
made = {}
exec("def page(): return ''", made)
app.get("/made")(made["page"])
"""


def test_check_finds_errors(command: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    status, output, _ = command("check", "bad:app")
    assert status == 1
    for finding in [
        "bad.py:19: login handles GET as well as POST, and changes the session, so a link on any page can cause this change: write @post above the handler",
        "bad.py:22: logout handles GET and calls session.clear(): write @post instead of @get",
        "bad.py:28: page is never reached: the mount at /old comes first",
        "bad.py:16: Root.blog is hidden by the attribute self.blog: rename one of them",
        "bad.py:44: lost belongs to no application: write @app.get or @app.route above a function",
        'Root: debug is on, but must be off in production. Read the setting from an environment variable, for example with debug=os.environ.get("DEBUG") == "1"',
        "Root: websocket_origins has '*', so any page can open WebSockets with its visitor's cookies: list the origins to allow",
        "Root has sessions and has no TrustedHosts, so the site accepts any Host header and uses this host in links",
    ]:
        assert finding in output.splitlines()
    assert "fine" not in output


def test_check_finds_nothing_in_a_good_application(command: Run, tmp_path: Path) -> None:
    (tmp_path / "good.py").write_text("from micropie import App\n\napp = App()\n")
    assert command("check", "good") == (0, "0 findings\n", "")


ONLY_IN_A_POST = """
from dataclasses import dataclass
from micropie import App, BindingErrors, get, route

@dataclass
class Name:
    name: str

class Root(App):
    def login(self, name=""):
        if self.request.method == "POST":
            self.request.session["name"] = name
    @route("/form", methods=["GET", "POST"])
    def form(self, errors: BindingErrors, name: Name | None = None):
        if name is not None and not errors:
            self.request.session["name"] = name.name
    @get
    def odd(self, name: Name | None = None):
        self.request.session["name"] = name

app = Root(session_timeout=60)
"""


def test_check_accepts_a_form_that_changes_the_session(command: Run, tmp_path: Path) -> None:
    (tmp_path / "only_in_a_post.py").write_text(ONLY_IN_A_POST)
    status, output, _ = command("check", "only_in_a_post")
    found = [line for line in output.splitlines() if "changes the session" in line]
    assert status == 1
    assert found == [
        "only_in_a_post.py:17: odd handles GET and changes the session: write @post instead of @get"
    ]


SHARED = """
from micropie import App, HttpMiddleware, hidden


class Finds(HttpMiddleware):
    def before_request(self, request):
        self.user = request.session.get("user")


def passes(request):
    yield


class Root(App):
    middlewares = [Finds(), passes]

    def __init__(self, **settings):
        super().__init__(**settings)
        self.count, self.pies = 0, None

    def index(self):
        self.count += 1
        self.pies = self.pies or []
        self.request.state.name = self.request.query.get("a")
        return ""

    def sent(self, name):
        self.name = one = name

    def query(self):
        self.kept = self.request.query["a"]

    def log_in(self):
        found = self.request.session.get("user")
        user = found
        self.user = user
        return self.index()

    def send(self):
        return ""

    def sends(self):
        self._private(self.send(), self.help(), len(""))

    def _private(self, *parts):
        return self.sends()

    @hidden
    def help(self):
        return ""


app = Root(methods=["GET", "HEAD", "POST"])
app.get("/function")(lambda name: name)
"""


def test_check_reports_data_shared_by_clients(command: Run, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text(SHARED)
    found = command("check", "shared:app")[1]
    notes = [line for line in found.splitlines() if "all clients" in line]
    assert notes == [
        f"note: shared.py:{line}: self.{attribute} stores what one client sent, but all clients share "
        f"this self: write request.state.{attribute}"
        for line, attribute in ((28, "name"), (31, "kept"), (36, "user"), (7, "user"))
    ]
    assert [line for line in found.splitlines() if "name it" in line] == [
        "note: shared.py:39: send is a page, but another page calls it or passes it on: "
        "rename it to _send if clients must not reach it"
    ]


BY_NAME = """
from micropie import App, delete, route

class Root(App):
    def index(self): return ""
    def _private(self): return ""
    @route("/other")
    def other(self): return ""
    @delete
    def gone(self): return ""

app = Root()
partly = Root(methods=["GET", "PUT"])
closed = Root(methods=["GET", "HEAD", "POST"])
for name in "abcd":
    app.route(f"/{name}")(lambda: "")
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("app", "handlers without a decorator (index, "),
        ("app", " and 1 more) also accept DELETE, PATCH and PUT: "),
        ("partly", "handlers without a decorator (index, other) also accept PUT: "),
        ("partly", 'write Root(methods=["GET", "HEAD", "POST"]) to reject them with 405\n'),
        ("closed", ""),
    ],
)
def test_routes_and_check_report_data_changing_handlers_without_a_decorator(
    command: Run, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "named.py").write_text(BY_NAME)
    _, routes, _ = command("routes", f"named:{name}")
    status, checked, _ = command("check", f"named:{name}")
    assert status == 0  # a note is no finding
    assert checked.endswith("0 findings\n")
    assert words in routes
    assert words in checked
    assert ("also accept" in routes, "also accept" in checked) == (words != "", words != "")


def test_check_reports_handlers_that_replace_methods_of_app(command: Run, tmp_path: Path) -> None:
    source = """
from micropie import App, get
class Root(App):
    @get
    def render(self, a): return a
    @get
    def error(self): return "error"
    @get
    def url_for(self, name): return super().url_for(name)
    @get
    def index(self): return self.url_for("error") + self._page()
    def _page(self): return self.render("index.html", b=1)

app = Root()
exec("def health(self): return self.health()")
Root.health = health
"""
    (tmp_path / "replaces.py").write_text(source)
    notes = command("check", "replaces")[1].splitlines()
    assert [note for note in notes if "replaces App" in note] == [
        "note: replaces.py:4: Root.render replaces App.render, but _page calls self.render(...): rename the handler render"
    ]


def test_check_reports_a_class_used_as_an_application(command: Run, tmp_path: Path) -> None:
    source = """
from micropie import App

class Shop(App): pass
class Root(App):
    shop = Shop
    class Inner(App): pass
    inner = Inner()

app = Root()
"""
    (tmp_path / "class1.py").write_text(source)
    found = "Root.shop is a class, so it has no routes: write shop = Shop()\n1 finding\n"
    assert command("check", "class1") == (1, found, "")


PATHS = """
from micropie import App, HttpMiddleware, get, post
from micropie.middleware import RateLimit

class OldPages(HttpMiddleware):
    def before_request(self, request):
        if request.path in ("/old", "/search"):
            return {"status": 410}

class Root(App):
    @post
    def log_in(self, password: str): return ""
    @get
    def search(self): return ""
    @get("/old")
    def old(self, name: str = ""): return ""

app = Root()
exempt = lambda request: request.path != "/log_in"
app.middlewares += [OldPages(), RateLimit(10, per=60, exempt=exempt)]
"""


def test_check_reports_a_hook_s_path_whose_handler_also_handles_subpaths(
    command: Run, tmp_path: Path
) -> None:
    (tmp_path / "paths.py").write_text(PATHS)
    assert command("check", "paths") == (
        0,
        "note: paths.py:19: comparing request.path with '/log_in' misses /log_in/..., "
        "which log_in also handles: compare request.route.name instead\n0 findings\n",
        "",
    )


IN_MEMORY = """
from dataclasses import dataclass
from micropie import App, config, get

@dataclass
class Settings:
    database: str = ""
    hosts: str = ""

settings = config.read(Settings, prefix="PIES_")

class Root(App):
    @get
    def index(self): return self.request.session.get("name")

app = Root()
"""
SESSIONS = (
    "starts {} workers, and each keeps its own sessions in memory: to share them, write "
    'App(session_backend=SQLiteSessionBackend("sessions.db"))\n1 finding\n'
)


@pytest.mark.parametrize(
    ("place", "text", "workers"),
    [
        ("WEB_CONCURRENCY", "4", "4"),
        ("WEB_CONCURRENCY", "1", ""),
        ("MICROPIE_WORKERS", "12", "12"),
        ("GUNICORN_CMD_ARGS", "--threads=8 --workers=3", "3"),
        ("GUNICORN_CMD_ARGS", "-w3", "3"),
        ("gunicorn.conf.py", "bind = ':80'\nworkers = 2\n", "2"),
        ("gunicorn.conf.py", "workers = multiprocessing.cpu_count() * 2 + 1\n", "several"),
        ("gunicorn.conf.py", "workers = 1\nthreads = 40\n", ""),
        ("Procfile", "web: uvicorn app:app --http h11 --workers 4\n", "4"),
        ("Dockerfile", 'FROM a\nRUN fold -w 80 b\nCMD ["granian", "app:app", "-w", "4"]\n', "4"),
        ("compose.yaml", "environment:\n  WEB_CONCURRENCY: 4\n", "4"),
        ("shop.service", "ExecStart=gunicorn app:app -w 1\n", ""),
        ("shop.service", "ExecStart=gunicorn app:app \\\n  --workers 4\n", "4"),
        ("Dockerfile", 'ENTRYPOINT ["gunicorn"]\nCMD ["app:app", "-w", "4"]\n', "4"),
        ("Dockerfile", "RUN pip install gunicorn \\\n && fold -w 80 b\n", ""),
        ("compose.yaml", "command:\n  - gunicorn\n  - app:app\n  - --workers\n  - 4\n", "4"),
        ("compose.yaml", "command: >\n  gunicorn app:app\n  -w 4\n", "4"),
        ("Procfile", "# web: gunicorn -w 4 app:app\nweb: gunicorn app:app\n", ""),
    ],
)
def test_check_reports_data_that_workers_do_not_share(
    command: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    text: str,
    workers: str,
) -> None:
    (tmp_path / "memory.py").write_text(IN_MEMORY)
    if place.isupper():
        monkeypatch.setenv(place, text)
    else:
        (tmp_path / place).write_text(text)
    found = f"{place} {SESSIONS.format(workers)}" if workers else "0 findings\n"
    assert command("check", "memory") == (int(workers != ""), found, "")


GENERATED = """
from micropie import App, get
made = {"App": App, "get": get, "__name__": "made_up"}
exec("class Root(App):\\n    @get\\n    def index(self): return 'x'", made)
app = made["Root"]()
"""


def test_check_passes_over_a_class_without_a_module(command: Run, tmp_path: Path) -> None:
    (tmp_path / "generated1.py").write_text(GENERATED)
    assert command("check", "generated1") == (0, "0 findings\n", "")


COMMAND = "add --http h11"
WORKER = "use the worker class UvicornH11Worker"
PROGRAM = 'pass http="h11"'


@pytest.mark.parametrize(
    ("place", "text", "advice"),
    [
        ("Procfile", "web: uvicorn --host 0.0.0.0 shop.site:app\n", COMMAND),
        ("Procfile", "web: uvicorn --host 0.0.0.0 shop.site:app --http=h11\n", ""),
        ("Procfile", "web: uvicorn --http h11 a:app\nold: uvicorn a:app\n", COMMAND),
        ("Dockerfile", 'RUN pip install uvicorn h11\nCMD ["uvicorn", "app:app"]\n', COMMAND),
        ("Dockerfile", 'RUN pip install uvicorn\nCMD ["gunicorn", "app:app"]\n', ""),
        ("Dockerfile", "RUN pip install uvicorn && chown app:app .\n", ""),
        ("Dockerfile", "RUN pip install uvicorn -i https://a:b@x:8/\n# uvicorn app:app\n", ""),
        ("Dockerfile", 'CMD ["uvicorn", \\\n  "app:app"]  # no --http h11\n', COMMAND),
        ("Dockerfile", 'CMD ["uvicorn", "app:app", \\\n  "--http", "h11"]\n', ""),
        ("Dockerfile", 'ENV UVICORN_HTTP=h11\nCMD ["uvicorn", "app:app"]\n', ""),
        ("Dockerfile", 'CMD ["sh", "-c", "exec uvicorn app:app --port $PORT"]\n', COMMAND),
        ("Dockerfile", 'ENTRYPOINT ["uvicorn"]\nCMD ["app:app", "--port", "80"]\n', COMMAND),
        ("Dockerfile", 'ENTRYPOINT ["uvicorn", "--http", "h11"]\nCMD ["app:app"]\n', ""),
        ("compose.yaml", "image: x/uvicorn-gunicorn:python3.13\n", ""),
        ("compose.yaml", "command:\n  - uvicorn\n  - app:app\nports:\n", COMMAND),
        ("compose.yaml", "command:\n  - uvicorn\n  - app:app\n  - --http\n  - h11\n", ""),
        ("compose.yaml", "command: >\n  uvicorn app:app\n  --http h11\n", ""),
        ("compose.yaml", 'command: [\n  "uvicorn",\n  "app:app"\n]\n', COMMAND),
        ("shop.service", "ExecStart=gunicorn -k uvicorn_worker.UvicornWorker app:app\n", WORKER),
        ("shop.service", "ExecStart=gunicorn -k uvicorn_worker.UvicornH11Worker a:a\n", ""),
        ("gunicorn.conf.py", "worker_class = 'uvicorn.workers.UvicornWorker'\n", WORKER),
        ("main.py", "uvicorn.run('app:app', port=8000)\n", PROGRAM),
        ("main.py", "uvicorn.Server(uvicorn.Config(app)).run()\n", PROGRAM),
        ("main.py", "uvicorn.Server(uvicorn.Config(app, http='h11')).run()\n", ""),
        ("main.py", "uvicorn.run(make_app(), http='h11')\n", ""),
        ("main.py", "'Start me with uvicorn main:app.'\n", ""),
    ],
)
@pytest.mark.parametrize("is_installed", [True, False])
def test_check_reports_a_server_that_reads_trailers_as_headers(
    command: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    place: str,
    text: str,
    advice: str,
    is_installed: bool,
) -> None:
    (tmp_path / "memory.py").write_text("from micropie import App\napp = App()\n")
    (tmp_path / place).write_text(text)
    (tmp_path / ".#memory.py").symlink_to("user@host")  # as Emacs does for an open file
    monkeypatch.setattr("micropie.cli.check.find_spec", lambda name: name if is_installed else None)
    _, printed, _ = command("check", "memory")
    notes = [line for line in printed.splitlines() if "httptools" in line]
    expected = (
        f"note: {place} starts uvicorn with httptools. Unless the proxy is nginx, a client can set "
        f"X-Forwarded-For in a trailer: {advice}"
    )
    assert notes == ([expected] if advice and is_installed else [])


def test_check_reports_variables_that_no_setting_reads(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie.config._read", {})
    (tmp_path / "memory.py").write_text(IN_MEMORY)
    for name in ("PIES_DATABSE", "PIES_HOST", "PIES_HOSTS", "PIES_IMAGE", "OTHER_HOSTS"):
        monkeypatch.setenv(name, "a")
    assert command("check", "memory") == (
        1,
        "note: PIES_HOST is set, but no setting reads it\n"
        "note: PIES_IMAGE is set, but no setting reads it\n"
        "PIES_DATABSE is set, but no setting reads it: write PIES_DATABASE\n1 finding\n",
        "",
    )


def test_check_reports_an_application_with_two_names(command: Run, tmp_path: Path) -> None:
    source = """
from micropie import App

class Shop(App): pass
class Root(App):
    shop = Shop()
    store = shop
    _own = shop
    other = Shop()

app = Root()
app.shop.outer = app.shop.above = app
"""
    (tmp_path / "names2.py").write_text(source)
    found = (
        "Root.store is the same object as shop, so only /shop routes to it: "
        "create another object, store = Shop()\n1 finding\n"
    )
    assert command("check", "names2") == (1, found, "")


def test_check_reports_setup_errors(command: Run, tmp_path: Path) -> None:
    source = "from micropie import App, get\n\napp = App()\n\n@app.get('/<a>/<b>')\ndef pie(a): return a\n"
    (tmp_path / "wrong.py").write_text(source)
    status, output, _ = command("check", "wrong:app")
    assert status == 1
    assert output.startswith("set-up: ")
    more = " (there may be more errors: correct this one, then check again)"
    assert output.endswith(f"has no parameter 'b'{more}\n1 finding\n")


def test_check_reports_missing_packages(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site3.py").write_text(BAD)
    (tmp_path / "templates").mkdir()
    missing = {"websockets", "wsproto", "jinja2"}
    monkeypatch.setattr(
        "micropie.cli.check.find_spec", lambda name: None if name in missing else find_spec(name)
    )
    output = command("check", "site3:app")[1]
    assert (
        'WebSockets need a library that uvicorn does not install: pip install "micropie-dual[standard]"'
        in output
    )
    assert 'templates need Jinja2: pip install "micropie-dual[standard]"' in output


LOST_NAMES = """
from micropie import App, get, hidden

class Base(App):
    def old(self): return self.render("pei.html")
    async def rows(self): return await self.render_async(self.url_for("missing"))

class Shop(Base):
    @get("/<number:int>")
    def pie(self, number): return self.url_for("index", 1), self.url_for("shelf")
    def index(self): return self.render("pie.html"), self.render("package.html")

class Own(App):
    @hidden
    def render(self, name, **values): return super().render(f"{name}.html", **values)
    def index(self): return self.render("pie"), self.url_for("Own")
    @hidden
    def url_for(self, name): return f"/{name}"

class Root(App):
    shop = Shop()
    own = Own()
    def index(self): return self.url_for("shop.pie"), self.render(self.name), self.name.url_for("x")

app = Root(templates=["templates", "package:lost_package"])
"""
LOST_TEMPLATE = """{% extends "layuot.html" %}{# {% include "old.html" %}
#}{%- include 'pei.html' %} {% include "perhaps.html" ignore missing %}
{{ url_for('shop.pie', number=1) }} {{ url_for("pie", number=1) }} {{ other.url_for("x") }}
{{ url_for("shop.shelf") }} {{ url_for(name) }}
"""


def test_check_reports_missing_templates_and_routes(command: Run, tmp_path: Path) -> None:
    (tmp_path / "lost_names.py").write_text(LOST_NAMES)
    for folder, name, text in [
        ("templates", "pie.html", LOST_TEMPLATE),
        ("templates", "layout.html", ""),
        ("lost_package/templates", "package.html", ""),
    ]:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    (tmp_path / "lost_package" / "__init__.py").touch()
    status, output, _ = command("check", "lost_names")
    code = [line for line in output.splitlines() if line.startswith("lost_names.py")]
    assert status == 1
    assert code[:1] + [line.partition(", but")[0] for line in code[1:]] == [
        "lost_names.py:10: there is no route named 'shelf', but there are: index, old, pie, rows",
        "lost_names.py:5: there is no template 'pei.html': write 'pie.html'",
        "lost_names.py:6: there is no route named 'missing'",
    ]
    notes = [line for line in output.splitlines() if "templates/" in line]
    assert [line.partition(", but")[0] for line in notes] == [
        "note: templates/pie.html:1: there is no template 'layuot.html': write 'layout.html'",
        "note: templates/pie.html:2: there is no template 'pei.html': write 'pie.html'",
        "note: templates/pie.html:4: there is no route named 'shop.shelf'",
    ]


LOST_SETTINGS = """
from micropie import App

class Shop(App):
    def __init__(self, name, **settings): self.name = name
class Blog(App):
    def __init__(self, **settings): super().__init__(**settings)
class Root(App):
    def __init__(self): super().__init__()
    shop = Shop("a", debug=True)
    blog = Blog(debug=True)
    archive = App()

app = Root()
for name in ("a", "b"):
    @app.get(f"/{name}")
    def page(): return name

def add(name):
    @app.get(f"/pies/{name}")
    def pie(): return name

add("c")
add("d")
@app.get("/e")
@app.get("/f")
def both(): ...
"""


def test_check_notes_lost_settings_and_functions_made_in_a_loop(
    command: Run, tmp_path: Path
) -> None:
    (tmp_path / "lost_settings.py").write_text(LOST_SETTINGS)
    notes = [
        line for line in command("check", "lost_settings")[1].splitlines() if "e: lost" in line
    ]
    assert notes == [
        "note: lost_settings.py:5: Shop.__init__ drops the settings that it takes: write "
        "super().__init__(**settings)",
        "note: lost_settings.py:16: /a and /b share the variables of page, which have their last "
        "values: define it in a function that takes the variables",
    ]


SEARCHES = """
from micropie import App, get

class Blog(App):
    def index(self, sort: "str | None" = None): ...

class Wiki(App):
    def index(self, page="home", q=""): ...

class Years(App):
    def index(self, term: int = 1): ...

class Decorated(App):
    @get
    def index(self, q=""): ...

class Closed(App):
    def index(self, *, q=""): ...

class Shop(App):
    blog, wiki, years, decorated, closed = Blog(), Wiki(), Years(), Decorated(), Closed()

    def index(self, q=""): ...

    def search(self, q=""): ...

app = Shop(methods=["GET"])
"""


def test_check_notes_an_index_that_reads_its_query_from_the_path(
    command: Run, tmp_path: Path
) -> None:
    (tmp_path / "searches.py").write_text(SEARCHES)
    note = 'note: searches.py:{}: {} also handles {}, with {}="anything": write *, before {} to'
    assert command("check", "searches")[1].splitlines() == [
        f"{note.format(*one)} read it from the query only"
        for one in (
            (23, "index", "/anything", "q", "q"),
            (5, "blog.index", "/blog/anything", "sort", "sort"),
        )
    ] + ["0 findings"]


def test_check_reads_each_folder_of_templates_once(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inner applications inherit the folders. The first folder with a name has the template."""
    (tmp_path / "lost_names3.py").write_text(
        "from micropie import App\n\nclass Root(App):\n    shop = App()\n    blog = App()\n\n"
        "app = Root(templates=['own', 'others'])\n"
    )
    for folder, text in (("own", '{% include "own.html" %}'), ("others", '{% include "x.html" %}')):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "page.html").write_text(text)
    listed: list[str] = []
    rglob = Path.rglob

    def noted(path: Path, pattern: str) -> Iterator[Path]:
        listed.append(path.name)
        yield from rglob(path, pattern)

    monkeypatch.setattr(Path, "rglob", noted)
    assert command("check", "lost_names3") == (
        0,
        "note: own/page.html:1: there is no template 'own.html'\n0 findings\n",
        "",
    )
    assert sorted(listed) == ["others", "own"]


def test_check_notes_blocks_that_are_never_shown(command: Run, tmp_path: Path) -> None:
    (tmp_path / "lost_blocks.py").write_text("from micropie import App\n\napp = App()\n")
    (tmp_path / "templates").mkdir()
    for name, text in {
        "base": "{% block title %}{% endblock %}{%- block main %}{% endblock -%}",
        "page": "{% extends 'base.html' %}\n{% block main %}{% block rows %}{% endblock %}{% endblock %}",
        "pies": "{% extends 'page.html' %}{% block title %}a{% endblock %}\n{% block content %}"
        "{% endblock %}{% block rows %}{% endblock %}",
        "free": "{% extends layout %}{% block anything %}{% endblock %}",
        "deep": "{% extends 'free.html' %}{% block other %}{% endblock %}",
        "either": "{% extends 'base.html' if a else 'b' %}{% block other %}{% endblock %}",
        "one": "{% extends 'two.html' %}{% block other %}{% endblock %}",
        "two": "{% extends 'three.html' -%}{% block c %}{% endblock %}",
        "three": "{% extends 'two.html' %}{% block d %}{% endblock %}",
        "part": "{% block anything %}{% endblock %}",
    }.items():
        (tmp_path / "templates" / f"{name}.html").write_text(text)
    assert command("check", "lost_blocks") == (
        0,
        "note: templates/pies.html:2: block content is never shown, because base.html has no block of "
        "this name, but: main, rows, title\n0 findings\n",
        "",
    )


@pytest.mark.parametrize("name", ["no_package", "keyword", ""])
def test_check_reports_templates_in_a_missing_package(
    command: Run, tmp_path: Path, name: str
) -> None:
    source = LOST_NAMES.replace("package:lost_package", f"package:{name}")
    (tmp_path / f"lost_package_of_{name}.py").write_text(source)
    status, output, _ = command("check", f"lost_package_of_{name}")
    assert status == 1
    assert f"templates='package:{name}' is not a package that can be imported: " in output


def test_check_takes_templates_from_elsewhere(command: Run, tmp_path: Path) -> None:
    source = LOST_NAMES.replace("app = Root(", "app = Root(template_setup=print, ")
    (tmp_path / "lost_names2.py").write_text(source.replace("lost_package", "json"))
    assert "template" not in command("check", "lost_names2")[1]


@pytest.mark.processes
@pytest.mark.parametrize("kind", ["", "--api", "--package"])
def test_a_new_project_runs_and_passes_its_test(command: Run, tmp_path: Path, kind: str) -> None:
    status, output, _ = command("new", "pies", *kind.split())
    assert (status, "micropie run --reload" in output) == (0, True)
    tested = ended(
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *WITHOUT_PLUGINS,
        folder=tmp_path / "pies",
        environ=unmeasured(PYTHONPATH=str(ROOT)),
    )
    assert tested.returncode == 0, tested.stdout
    checked = run_micropie(tmp_path / "pies", "check")
    assert (checked.returncode, checked.stdout) == (
        0,
        "note: debug is on because of .env: don't copy this file to a server\n0 findings\n",
    )
    assert run_micropie(tmp_path / "pies", "check", environ={"DEBUG": "0"}).stdout == "0 findings\n"
    assert "any.whl[standard,test]" in (tmp_path / "pies" / "README.md").read_text()
    files = [file for file in (tmp_path / "pies").rglob("*.*") if file.suffix != ".pyc"]
    pages = [file.read_text() for file in files if file.suffix == ".html"]
    closed = ["".join(re.findall("</(?:main|body|html)>", page)) for page in pages]
    assert set(closed) <= {"", "</main></html>"}
    left = re.compile(r"\b(NAME|MODULE|PARTS|FILES|VERSION|INSTALL|START)\b")
    assert [file for file in files if file.is_file() and left.search(file.read_text())] == []
    assert "micropie.__path__" in (tmp_path / "pies" / "AGENTS.md").read_text()
    assert ("pip install" in output, "swagger-ui" in output) == (True, kind == "--api")
    installed = (tmp_path / "pies" / "README.md").read_text()
    assert f"micropie_dual-{__version__}-py3-none-any.whl" in installed
    assert installed.index("pip wheel ") < installed.index("pip install ")
    assert ("swagger-ui" in installed, "8000/docs" in installed) == (kind == "--api",) * 2
    assert command("new", "pies")[2] == "micropie: pies already exists and is not empty\n"
    for name in ("a b", "class", "café", "_pies", "pies-", "9pies", ""):
        assert "can't be the name of a project" in command("new", name)[2]
    assert command("new", "NAMED-VERSION", *kind.split())[0] == 0
    written = (tmp_path / "NAMED-VERSION" / "README.md").read_text()
    assert written.startswith("# NAMED-VERSION\n")
    for name in ("micropie", "MicroPie-Dual"):
        assert "is the name of the framework" in command("new", name)[2]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("kind", "module", "name"), [("", "app", "pies"), ("--package", "pies.app", "big_companies")]
)
def test_a_new_resource_passes_its_tests(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str, name: str
) -> None:
    """As soon as the two lines that are printed have been written."""
    assert command("new", "pies", *kind.split())[0] == 0
    monkeypatch.chdir(tmp_path / "pies")
    status, output, _ = command("new", "resource", name)
    assert status == 0
    imported, attribute = (line.strip() for line in output.splitlines() if line.startswith("    "))
    file = Path(f"{module.replace('.', '/')}.py")
    assert f"write into {file}:" in output
    text = file.read_text().replace("import os\n", f"import os\n{imported}\n")
    text = text.replace("import Path\n", f"import Path\n{imported}\n")
    file.write_text(text.replace("    def index", f"    {attribute}\n\n    def index"))
    options = ["-q", "-p", "no:cacheprovider", *WITHOUT_PLUGINS]
    environ = unmeasured(PYTHONPATH=str(ROOT))
    tested = ended(sys.executable, "-m", "pytest", *options, folder=Path(), environ=environ)
    assert tested.returncode == 0, tested.stdout
    checked = run_micropie(Path(), "check", environ={"DEBUG": "0"})
    assert checked.stdout == "0 findings\n"
    routes = run_micropie(Path(), "routes").stdout
    assert f"/{name}/api/<number:int>" in routes
    assert "already exists" in command("new", "resource", name)[2]


def test_a_resource_is_refused_where_it_can_t_be_added(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "run this command in the folder" in command("new", "resource", "pies")[2]
    assert command("new", "pies", "--api")[0] == 0
    monkeypatch.chdir(tmp_path / "pies")
    assert "run this command in the folder" in command("new", "resource", "pies")[2]
    for name in ("Pies", "my-pies", "../pies", "class"):
        assert "can't be the name of a resource" in command("new", "resource", name)[2]
    assert "is the name of a Python module" in command("new", "resource", "types")[2]
    for name in ("channels", "state", "root", "index"):
        assert f"has another attribute {name!r}" in command("new", "resource", name)[2]
    assert "`micropie new resource pies`" in command("new", "shop", "pies")[2]
    (tmp_path / "pies" / "templates").mkdir()
    (tmp_path / "pies" / "templates" / "layout.html").touch()
    (tmp_path / "pies" / "templates" / "tarts").touch()
    error = "micropie: tarts can't be created: File exists: templates/tarts\n"
    assert command("new", "resource", "tarts")[2] == error
    for name in ("stock", "press", "s"):
        assert command("new", "resource", name)[0] == 0
        assert f"class {name.capitalize()}Item(" in Path(f"{name}.py").read_text()
    for name in ("micropie", "msgspec"):
        assert "is the name of an installed module" in command("new", "resource", name)[2]
    for name in ("apps", "apis", "redirects"):
        assert "would have a name that the module imports" in command("new", "resource", name)[2]
    for name in ("values", "order"):
        assert f"{name!r} can't be the name of a table" in command("new", "resource", name)[2]


@pytest.mark.parametrize(
    ("line", "status"),
    [("SHOP_DEBUG=1", 0), ("DEBUG=0", 1), ("DEBUG=off", 1), ("DEBUG", 1), ("DEBUGGER=1", 1)],
)
def test_debug_set_in_this_machine_s_file_is_only_a_note(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, status: int
) -> None:
    monkeypatch.setenv(line.partition("=")[0], "")
    monkeypatch.delenv(line.partition("=")[0])  # so that the end of the test does it again
    (tmp_path / "shop.py").write_text("from micropie import App\n\napp = App(debug=True)\n")
    (tmp_path / ".env").write_text(line)
    found, output, _ = command("check", "shop")
    assert found == status
    assert output.startswith("App: debug is on" if status else "note: debug is on because of .env")


def test_a_row_of_routes_fits_a_line_of_the_terminal(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters = ", ".join(f"parameter_{number}: int" for number in range(9))
    (tmp_path / "shop.py").write_text(
        f"from micropie import App\n\napp = App()\n\n"
        f"@app.get('/pies')\ndef pies({parameters}): ...\n"
    )
    widths = {}
    for columns in ("10", "90", "400"):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        output = command("routes", "shop")[1]
        rows = output.splitlines()[:2]
        assert rows[0].split() == ["METHODS", "PATH", "HANDLER", "RUNS", "IN", "FILE"]
        assert "pies(parameter_0:" in rows[1]
        assert rows[1].endswith("...  thread   shop.py:5")
        widths[columns] = len(rows[1])
    assert widths == {"10": 56, "90": 90, "400": 116}
    monkeypatch.setenv("COLUMNS", "90")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    assert len(command("routes", "shop")[1].splitlines()[1]) == 116  # to a file


def test_a_project_can_be_created_in_the_current_folder(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pies").mkdir()
    monkeypatch.chdir(tmp_path / "pies")
    assert command("new", ".")[0] == 0
    assert (tmp_path / "pies" / "README.md").read_text().startswith("# pies\n")
    assert command("new", ".")[2] == "micropie: . already exists and is not empty\n"


def test_a_new_project_is_refused_where_it_cannot_be_created(command: Run, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "link").symlink_to("nowhere/else")
    for name in ("kept", "kept/inside", "link"):
        status, _, said = command("new", name)
        assert (status, said.count("\n")) == (2, 1)
        assert said.startswith(f"micropie: {name} can't be created: ")
    assert (tmp_path / "kept").read_text() == "kept"


@pytest.mark.parametrize("name", ["calendar", "sys", "jinja2"])
def test_a_package_may_not_hide_another_module(command: Run, tmp_path: Path, name: str) -> None:
    sentence = f"micropie: {name!r} is the name of another module: choose another name\n"
    assert command("new", "--package", name) == (2, "", sentence)
    assert not (tmp_path / name).exists()
    assert command("new", name)[0] == 0  # its module is named app
    (tmp_path / "shop16").mkdir()
    assert command("new", "--package", "shop16")[0] == 0


@pytest.mark.processes
def test_the_shell_runs_code_with_the_application(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from micropie import App\nfrom micropie.middleware import SecurityDefaults\n\n"
        "app = App(security=SecurityDefaults('localhost'))\n\n@app.get('/')\ndef pie(): return 'pie'\n"
    )
    code = "import sys; sys.argv = ['micropie', 'shell']; import micropie.__main__; sys.exit(micropie.__main__.main())"
    done = ended(
        sys.executable,
        "-c",
        code,
        folder=tmp_path,
        environ=environment(),
        input="print(client.get('/').text, app)",
    )
    assert done.returncode == 0
    assert "app:app. Use app, request, resource(Type), await, client" in done.stderr
    assert "pie <app.App" in done.stdout or "pie <micropie" in done.stdout


@pytest.mark.processes
def test_the_shell_has_a_history(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("from micropie import App\n\napp = App()\n")
    ours, theirs = os.openpty()
    code = "import sys; sys.modules['IPython'] = None; from micropie.cli.main import main; main(['shell'])"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment(TERM="dumb"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        typed, seen = ["5 * 8 + 2\n", "\x1b[A\n", "exit()\n"], ""
        with suppress(OSError):  # the terminal's other end is closed
            while select([ours], [], [], PATIENCE)[0]:
                seen += os.read(ours, 1024).decode()
                if typed and seen.endswith(">>> "):
                    os.write(ours, typed.pop(0).encode())
        os.close(ours)
    assert (seen.count("\n42\r"), process.returncode) == (2, 0)


@pytest.mark.parametrize("ipython", [True, False])
@pytest.mark.parametrize("httpx", [True, False])
def test_the_shell_has_the_application_and_a_client(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ipython: bool, httpx: bool
) -> None:
    (tmp_path / "app4.py").write_text("from micropie import App\n\napp = App()\n")
    seen: list[set[str]] = []
    found = {"IPython": ipython, "httpx2": False, "httpx": httpx}
    monkeypatch.setattr("micropie.cli.shell.find_spec", lambda name: found[name] or None)

    def start_ipython(argv: list[str], user_ns: dict[str, object], config: Any) -> None:
        async def pie() -> str:
            return where()

        seen.append({*user_ns})
        assert config.InteractiveShell.loop_runner(pie()) == "loop"
        assert "app4:app. Use app, request" in config.TerminalInteractiveShell.banner1

    class Config(defaultdict[str, Any]):
        def __getattr__(self, name: str) -> Any:
            return self.setdefault(name, SimpleNamespace())

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(start_ipython=start_ipython))
    monkeypatch.setitem(sys.modules, "traitlets.config", SimpleNamespace(Config=Config))
    monkeypatch.setattr(
        _Console, "interact", lambda self, banner, exitmsg: seen.append({*self.locals})
    )
    assert command("shell", "app4:app")[0] == 0
    names = {"app", "request", "resource"}
    assert seen == [names | {"client"} if httpx else names]


SHELL = """
from contextlib import asynccontextmanager

import anyio

from micropie import App


class Db:
    async def pies(self):
        await anyio.sleep(0)
        return ["apple"]


class Root(App):
    @asynccontextmanager
    async def lifespan(self):
        yield {"pool": 5}
        print("stopped")

    def index(self):
        return "pie"


def make_app():
    app = Root(portal_backend="trio")

    @app.provides(Db)
    async def db():
        yield Db()
        await anyio.sleep(0)
        print("closed")

    @app.provides(Root)
    def broken():
        yield app
        raise OSError("the shell is at its end")

    return app
"""


@pytest.mark.parametrize(
    ("lines", "output", "error"),
    [
        (["app.state.pool, app.url_for('index'), request.path"], "(5, '/', '/')\nstopped\n", ""),
        (["db = resource(Db)", "await db.pies()", "x = 3"], "['apple']\nclosed\nstopped\n", ""),
        (["await nothing()", "5"], "5\nstopped\n", "NameError: name 'nothing' is not defined"),
        (
            ["resource(dict)", "6"],
            "6\nstopped\n",
            "LookupError: nothing provides dict: write @app.provides",
        ),
    ],
    ids=["app", "resource", "error", "unknown"],
)
def test_the_shell_awaits_on_the_application_s_loop(
    command: Run, typed: list[str], lines: list[str], output: str, error: str
) -> None:
    typed += lines
    status, printed, errors = command("shell", "app12")
    assert (status, printed.replace("\n\n", "\n").lstrip()) == (0, output)
    assert error in errors


@pytest.mark.parametrize(
    ("lines", "raised"),
    [
        (["async def leave(): raise SystemExit(4)", "", "await leave()"], SystemExit),
        (["_ = resource(type(app))"], OSError),
    ],
)
def test_the_shell_stops_the_application_at_its_end(
    command: Run,
    typed: list[str],
    lines: list[str],
    raised: type[BaseException],
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed += lines
    with pytest.raises(raised):
        command("shell", "app12")
    assert "stopped\n" in capsys.readouterr().out


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that are typed into Python's own console."""
    (tmp_path / "app12.py").write_text(SHELL)
    monkeypatch.setattr("micropie.cli.shell.find_spec", lambda name: None)
    lines = ["from app12 import Db"]

    def read(prompt: str = "") -> str:
        if lines:
            return lines.pop(0)
        raise EOFError

    monkeypatch.setattr("builtins.input", read)
    return lines


NAMES = [
    ("app5", "from micropie import App\nthing = App()", ""),
    ("app5.py", "from micropie import App\napplication = App()", ""),
    ("app5:shop.app", "from micropie import App\nclass shop: app = App()", ""),
    ("app5:ap", "from micropie import App\napp = App()", "app5 has no 'ap'; do you mean 'app'?"),
    ("app6", "", "there is no module 'app6' in {folder}; do you mean 'app5'?"),
    (".", "", "there is no module '.' in {folder}"),
    ("nothing.py", "", "there is no file 'nothing.py'"),
    (
        "app5",
        "from micropie import App\na = App()\nb = App()",
        "app5 has several applications: choose one, such as app5:a",
    ),
    (
        "app5",
        "from micropie import App\nclass Root(App): pass",
        "app5 has no application: write app = Root() in the module",
    ),
    (
        "app5",
        "from micropie import App",
        "app5 has no application: write app = App() in the module",
    ),
    ("app5", "x = 1", "app5 has no application: write app = App() in the module"),
    (
        "app5:app",
        "from micropie import App\nclass Root(App): pass",
        "app5 has no 'app': write app = Root() in the module",
    ),
    (
        "app5:Root",
        "from micropie import App\nclass Root(App): pass",
        "app5:Root is a class: write app = Root()\n",
    ),
    (
        "app5:app",
        "from micropie import App\nclass R(App): pass\napp = R",
        "app5:app is a class: write app = R()\n",
    ),
    (
        "app5:Root",
        "from micropie import App\nclass Root(App): pass\nshop = Root()",
        "app5:Root is a class: do you mean app5:shop?",
    ),
    (
        "app5",
        "import os\nos.environ['PIES_9']",
        "app5 can't be imported:\n  File \"{folder}/app5.py\", line 2, in <module>\n    os.environ['PIES_9']\n",
    ),
    (
        "app5",
        "import os, sys\nsys.tracebacklimit = 0\nos.environ['PIES_9']",
        "app5 can't be imported:\nKeyError: 'PIES_9'\n",
    ),
    ("app5", "from micropie import App\ndef make_app(): return App()", ""),
    ("app5", "from micropie import App\ndef create_app(name='x', *more): return App()", ""),
    ("app5:make", "from micropie import App\ndef make(): return App()", ""),
    ("app5:make()", "from micropie import App\ndef make(): return App()", ""),
    (
        "app5:make",
        "import functools, micropie\n@functools.cache\ndef make(): return micropie.App()",
        "",
    ),
    (
        "app5:Shop.make",
        "from micropie import App\nclass Shop(App):\n @classmethod\n def make(cls): return cls()",
        "",
    ),
    ("app5", "import pathlib as app, micropie\nroot = '/'\nshop = micropie.App()", ""),
    (
        "app5:make_ap",
        "from micropie import App\ndef make_app(): return App()",
        "app5 has no 'make_ap'; do you mean",
    ),
    (
        "app5:make",
        "def make(config): pass",
        "app5:make is not an App but function: <function make at ",
    ),
    ("app5:make", "def make(): return 5", "the result of app5:make is not an App but int: 5\n"),
    (
        "app5:make",
        "async def make(): pass",
        "app5:make is not a function (def) that returns an application",
    ),
    (
        "app5:make",
        "def make(): raise OSError('no pies')",
        'app5:make can\'t create its application:\n  File "{folder}/app5.py", line 1, in make\n',
    ),
    ("app5:x", "x = 'text'", "app5:x is not an App but str: 'text'"),
    ("app5", "def x(:", 'app5 can\'t be imported:\n  File "{folder}/app5.py", line 1\n    def x(:'),
    ("app5", "import sys\ndel sys.modules[__name__]", "app5 can't be imported:\n"),
    (
        "app5",
        "from micropie import SetupError\nraise SetupError('no pies')",
        'no pies\n  File "{folder}/app5.py", line 2, in <module>',
    ),
    (
        "app5",
        "import json\njson.loads('x')",
        'app5 can\'t be imported:\n  File "{folder}/app5.py", line 2, in <module>',
    ),
]


@pytest.mark.parametrize(("name", "source", "sentence"), NAMES)
def test_an_application_is_found_by_its_name(
    command: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    source: str,
    sentence: str,
) -> None:
    monkeypatch.setattr(sys, "tracebacklimit", None, raising=False)
    (tmp_path / "app5.py").write_text(source)
    status, _, error = command("check", name)
    assert (status, error == "") == ((2, False) if sentence else (0, True))
    assert error.startswith(("micropie: " + sentence.format(folder=tmp_path)) if sentence else "")
    advice = (
        "The variable PIES_9 isn't set: set it in the environment, or in a .env file in "
        "the current folder.\n"
    )
    assert error.endswith(advice) == ("PIES_9" in source)


def test_a_factory_can_be_named(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from micropie import App\nclass Root(App): pass\ndef needs(config): return App()\napp = App()\n"
    (tmp_path / "app13.py").write_text(source)
    assert command("check", "--factory", "app13:Root")[:2] == (0, "0 findings\n")
    assert command("--factory", "check", "app13:Root")[:2] == (0, "0 findings\n")
    assert command("check", "app13:app", "--factory")[:2] == (0, "0 findings\n")
    found = command("check", "app13:needs")[2]
    assert (
        "if this function creates the application, give its parameter 'config' a default" in found
    )
    monkeypatch.setenv("MICROPIE_FACTORY", "1")
    assert command("check", "app13:Root")[:2] == (0, "0 findings\n")
    sentence = "micropie: app13:needs has the parameter 'config', but a factory is called without arguments: give the parameter a default\n"
    assert command("check", "app13:needs")[2] == sentence
    (tmp_path / "app14.py").write_text("x = 5\n")
    assert (
        "app14:x is not a function (def) that returns an application"
        in command("check", "app14:x")[2]
    )


def test_a_file_named_micropie_is_refused(command: Run, tmp_path: Path) -> None:
    (tmp_path / "micropie.py").write_text("from micropie import App\napp = App()\n")
    for target in ("micropie.py", "micropie:app", "micropie"):
        status, _, said = command("check", target)
        sentence = "a file of an application can't be named micropie: rename it"
        assert (status, said) == (2, f"micropie: {sentence}\n")


@pytest.mark.parametrize("name", ["sys", "json", "pytest"])
def test_a_file_with_the_name_of_another_module_is_refused(
    command: Run, tmp_path: Path, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text("from micropie import App\napp = App()\n")
    sentence = f"{name}.py can't be imported, because {name} is another module: rename it"
    assert command("check", f"{name}.py") == (2, "", f"micropie: {sentence}\n")
    if name != "pytest":  # its name may mean the installed module
        assert command("check", f"{name}:app") == (2, "", f"micropie: {sentence}\n")


def test_an_application_can_be_in_a_module_of_a_package(command: Run, tmp_path: Path) -> None:
    (tmp_path / "shop10").mkdir()
    (tmp_path / "shop10" / "__init__.py").touch()
    (tmp_path / "shop10" / "pies.py").write_text("from micropie import App\nPies = App")
    (tmp_path / "shop10" / "app.py").write_text("from shop10.pies import Pies\napp = Pies()")
    assert command("check", "shop10/app.py") == (0, "0 findings\n", "")
    assert command("check", "shop10.app") == (0, "0 findings\n", "")
    assert command("check", "shop10.ap")[2].endswith("do you mean 'shop10.app'?\n")
    assert command("check", "shop11.app")[2].endswith("do you mean 'shop10.app'?\n")
    for name in ("shop10", "shop10:app"):
        assert command("check", name)[2].endswith(": do you mean shop10.app?\n")
    for name in ("./shop10", "./shop10/"):
        sentence = f"there is no file {name!r}; do you mean 'shop10/app.py'?"
        assert command("check", name) == (2, "", f"micropie: {sentence}\n")
    assert command("check", "./") == (2, "", "micropie: there is no file './'\n")


def test_a_package_may_import_its_factory_from_a_module_named_app(
    command: Run, tmp_path: Path
) -> None:
    (tmp_path / "shop15").mkdir()
    (tmp_path / "shop15" / "__init__.py").write_text("from .app import make_app\n")
    (tmp_path / "shop15" / "app.py").write_text(
        "from micropie import App\ndef make_app(): return App()\n"
    )
    assert command("check", "shop15") == (0, "0 findings\n", "")


def test_a_module_in_src_is_suggested(command: Run, tmp_path: Path) -> None:
    (tmp_path / "src" / "shop16").mkdir(parents=True)
    (tmp_path / "src" / "shop16" / "__init__.py").touch()
    (tmp_path / "src" / "shop16" / "app.py").write_text("from micropie import App\napp = App()\n")
    for name, file in {"shop16": "__init__.py", "shop16.app:app": "app.py"}.items():
        assert command("check", name)[2].endswith(f"; do you mean 'src/shop16/{file}'?\n")
    assert command("check", "src/shop16/app.py") == (0, "0 findings\n", "")


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("import pies_9", "ModuleNotFoundError: No module named 'pies_9'"),
        ("import shop12.pies_9", "ModuleNotFoundError: No module named 'shop12.pies_9'"),
        ("from json import pies_9", "ImportError: cannot import name 'pies_9' from 'json' ("),
        ("raise ValueError('no pies')", "ValueError: no pies"),
        ("def x(:", "    def x(:"),
    ],
)
def test_the_failure_of_a_package_is_shown(
    command: Run, tmp_path: Path, source: str, line: str
) -> None:
    (tmp_path / "shop12").mkdir()
    (tmp_path / "shop12" / "__init__.py").write_text(source)
    (tmp_path / "shop12" / "app.py").write_text("from micropie import App\napp = App()")
    for target in ("shop12.app", "shop12/app.py", "shop12.nowhere:app"):
        status, _, error = command("check", target)
        name = target.replace("/", ".").removesuffix(".py").partition(":")[0]
        place = f'{name} can\'t be imported:\n  File "{tmp_path}/shop12/__init__.py", line 1'
        assert status == 2
        assert error.startswith(f"micropie: {place}")
        assert f"\n{line}" in error


@pytest.mark.parametrize("name", [":app", ".app5", "app5.", "app5..app", "app5.app", "json.app5"])
def test_a_name_of_no_module_is_reported(command: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "app5.py").write_text("from micropie import App\napp = App()\n")
    sentence = f"micropie: there is no module {name.partition(':')[0]!r} in {tmp_path}"
    assert command("check", name)[2].startswith(sentence)


def test_a_link_to_a_file_is_followed(command: Run, tmp_path: Path) -> None:
    (tmp_path / "shop18").mkdir()
    (tmp_path / "shop18" / "__init__.py").touch()
    (tmp_path / "shop18" / "site18.py").write_text("from micropie import App\napp = App()\n")
    (tmp_path / "link18.py").symlink_to("shop18/site18.py")
    assert command("check", "link18.py") == (0, "0 findings\n", "")


WRONG = """
from micropie import App


class Root(App):
    def __init__(self):
        super().__init__(debgu=True)


app = Root()
"""


def test_a_setup_error_is_shown_with_the_author_s_lines_alone(command: Run, tmp_path: Path) -> None:
    (tmp_path / "app8.py").write_text(WRONG)
    status, _, error = command("routes", "app8")
    assert status == 2
    assert [line for line in error.splitlines() if "^" not in line] == [
        "micropie: App has no setting 'debgu'; do you mean debug?",
        f'  File "{tmp_path}/app8.py", line 10, in <module>',
        "    app = Root()",
        f'  File "{tmp_path}/app8.py", line 7, in __init__',
        "    super().__init__(debgu=True)",
    ]


def test_an_unknown_setting_without_a_similar_name_lists_all_settings(
    command: Run, tmp_path: Path
) -> None:
    (tmp_path / "app9.py").write_text(WRONG.replace("debgu", "xyzzy"))
    found = command("routes", "app9")[2]
    assert "App has no setting 'xyzzy'; it has: max_body_size, max_data_size, " in found


@pytest.mark.parametrize("content", [b"A=\xff", b"A=a\0b", b"A\0=b"])
def test_an_invalid_dotenv_file_is_reported(command: Run, tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    code, _, errors = command("routes")
    assert (code, errors.count("\n")) == (2, 1)
    assert errors.startswith("micropie: .env can't be read: ")


def test_an_empty_variable_counts_as_unset(
    command: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: list[Options] = []
    monkeypatch.setattr(
        "micropie.cli.run.serve", lambda target, options, reload: served.append(options)
    )
    for option in (*(field.name for field in fields(Options)), "app", "stand_in", "factory"):
        monkeypatch.setenv(f"MICROPIE_{option.upper()}", "")
    (tmp_path / "app.py").write_text("from micropie import App\napp = App()\n")
    assert command("run")[0] == 0
    assert served == [Options()]


def test_a_variable_that_is_not_a_number_is_reported(
    command: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MICROPIE_PORT", "http")
    with pytest.raises(SystemExit, match="2"):
        command("run")
    assert (
        "argument --port: 'http' is not a number: correct the option, or its environment variable"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["run", "--prot", "80"],
            "micropie run: error: unrecognized arguments: --prot; do you mean --port?",
        ),
        (
            ["routes", "app", "other", "--xyzzy"],
            "micropie routes: error: unrecognized arguments: other --xyzzy",
        ),
    ],
)
def test_an_unknown_option_shows_its_command_s_usage(
    command: Run, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        command(*arguments)
    error = capsys.readouterr().err
    assert error.startswith(f"usage: micropie {arguments[0]} ")
    assert error.endswith(f"{sentence}\n")


def test_a_variable_that_is_not_a_boolean_is_reported(
    command: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROPIE_WSGI", "uwsgi")
    assert command("run") == (2, "", "micropie: MICROPIE_WSGI must be 1 or 0, not 'uwsgi'\n")
    monkeypatch.setenv("MICROPIE_WSGI", "Off")
    told = f"micropie: there is no module 'nowhere' in {Path.cwd()}\n"
    assert command("run", "nowhere") == (2, "", told)


def test_a_misspelt_variable_is_reported(command: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MICROPIE_WORKER", "4")
    monkeypatch.setenv("MICROPIE_SALT", "of the application")
    monkeypatch.setenv("MICROPIE_CHILD_PORT", "8000")
    assert command("run", "nowhere")[2].splitlines() == [
        "micropie: MICROPIE_WORKER is not read; do you mean MICROPIE_WORKERS?",
        f"micropie: there is no module 'nowhere' in {Path.cwd()}",
    ]


def test_a_dotenv_file_needs_its_package(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".env").write_text("MICROPIE_APP=app7\n")
    (tmp_path / "app7.py").write_text("from micropie import App\n\napp = App()\n")
    monkeypatch.setenv("MICROPIE_APP", "")
    monkeypatch.delenv("MICROPIE_APP")
    monkeypatch.setitem(sys.modules, "dotenv", None)
    command("check")
    assert caplog.messages == [
        ".env is ignored, because python-dotenv is not installed: pip install python-dotenv"
    ]
    monkeypatch.delitem(sys.modules, "dotenv")
    assert command("check") == (0, "0 findings\n", "")


@pytest.mark.parametrize("arguments", [["routes", "app8"], ["--version"]])
def test_closing_the_output_early_is_not_an_error(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    (tmp_path / "app8.py").write_text("from micropie import App\n\napp = App()\n")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output:  # the end of Python closes it like this block
        monkeypatch.setattr("sys.stdout", output)
        assert micropie.cli.main.main(arguments) == 1


@pytest.mark.processes
def test_importing_micropie_does_not_import_the_command_line() -> None:
    code = "import micropie, sys; print([name for name in sys.modules if name.startswith(('micropie.cli', 'micropie.cli.serving'))])"
    done = ended(sys.executable, "-c", code, environ=environment(), check=True)
    assert done.stdout == "[]\n"


def test_routes_show_the_access_checks(command: Run, tmp_path: Path) -> None:
    (tmp_path / "site3.py").write_text(
        """from micropie import App, requires
from micropie.middleware import BasicAuth, Compress
def members(request): return True
class Root(App):
    @requires(members)
    def one(self): ...
    @BasicAuth({"ann": "secret"})
    def two(self): ...
    def three(self): ...
app = Root()
app.middlewares.append(Compress())
"""
    )
    _, output, _ = command("routes", "site3:app", "--json")
    checks = {one["name"]: one["checks"] for one in json.loads(output)}
    assert checks == {"one": "members", "two": "BasicAuth", "three": ""}
    _, table, _ = command("routes", "site3:app")
    assert table.splitlines()[0].split()[-2:] == ["FILE", "CHECKS"]
    assert [line.split()[-1] for line in table.splitlines() if " one(" in line] == ["members"]
