"""The command ``micropie check --from cherrypy old``: what of an old application needs a hand."""

from __future__ import annotations

from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

from micropie_compat.bottle import templates as bottle_templates
from micropie_compat.missing import ADVICE
from tests.cli.in_process import Run, running_in


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    return running_in(tmp_path, monkeypatch, capsys)


OLD = """
import cherrypy as cp
import cherrypy.lib.cpstats
from cherrypy import tools
from cherrypy.lib.sessions import FileSession, MemcachedSession
from cherrypy.process.plugins import Daemonizer, Monitor
from . import local

config = {"/": {"tools.sessions.on": True, "tools.sessions.servers": ["localhost"], "server.ssl_module": "builtin"}}
config["global"] = {"server.ssl_ciphers": "HIGH", "engine.autoreload.on": False, "server.ssl_certificate": "cert.pem"}


class Root:
    @cp.expose
    def index(self):
        cp.engine.autoreload.unsubscribe()
        return cp.request.params and tools.nsgmls and (lambda: 5)().x


Daemonizer(cp.engine).subscribe()
cp.tree.mount(Root()).wsgiapp.pipeline.append(("proxy", object))
"""


def test_check_lists_the_lines_of_a_cherrypy_application_to_change(
    command: Run, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "site.py").write_text(OLD)
    (tmp_path / "old" / "python2.py").write_text("print 'hello'\n")
    (tmp_path / "old" / "site.conf").write_text(
        "[/]\ntools.sessions.on = True\ntools.cpstats.on: True\nserver.socket_file = None\n"
        "tools.sessions.storage_type = 'memcached'\n# storage_type = 'memcached'\n"
    )
    status, output, _ = command("check", "--from", "cherrypy", "old")
    assert status == 1
    assert output.splitlines() == [
        "old/python2.py:1: syntax: this Python version can't parse it: "
        "Missing parentheses in call to 'print'. Did you mean print(...)? (python2.py, line 1)",
        "old/site.py:3: cherrypy.lib.cpstats: use micropie.middleware.AccessLog, or the server's metrics",
        "old/site.py:5: cherrypy.lib.sessions.MemcachedSession: "
        "store sessions in Redis: write tools.sessions.backend = RedisSessionBackend(url)",
        "old/site.py:9: 'tools.sessions.servers': store sessions in Redis: write tools.sessions.backend = RedisSessionBackend(url)",
        "old/site.py:10: 'server.ssl_ciphers': use a server that supports them: uvicorn --ssl-ciphers",
        "old/site.py:17: cherrypy.tools.nsgmls: leave it out",
        "old/site.py:21: .wsgiapp: for WSGI middleware, write app = micropie.dual(YourMiddleware(cherrypy.tree)); "
        "append micropie middleware to cherrypy.tree.native.middlewares",
        "old/site.conf:3: 'tools.cpstats.on': use micropie.middleware.AccessLog, or the server's metrics",
        "old/site.conf:5: storage_type: "
        "store sessions in Redis: write tools.sessions.backend = RedisSessionBackend(url)",
        "9 findings",
    ]


def test_check_lists_the_lines_of_a_bottle_application_to_change(
    command: Run, tmp_path: Path
) -> None:
    source = "from bottle import *\nimport bottle\nimport gevent.monkey\n\nbottle.run(server=bottle.TornadoServer)\n"
    (tmp_path / "old.py").write_text(source)
    status, output, _ = command("check", "--from", "bottle", "old.py")
    assert status == 1
    assert [line.split(": ")[:2] for line in output.splitlines()[:-1]] == [
        ["note", "old.py:5"],
        ["old.py:3", "gevent.monkey"],
        ["old.py:5", "bottle.TornadoServer"],
    ]
    assert command("check", "--from", "bottle", "nowhere")[0] == 2


def test_check_reads_plugins_too(command: Run, tmp_path: Path) -> None:
    for name, source in {
        "shop.py": "import bottle_counting, bottle_old, bottle_pies.hidden, math, of_nobody, unrelated\n",
        "bottle_counting.py": "import bottle_inner\nfrom bottle import DEBUG, depr\n"
        "import bottle\nif not bottle.counter:\n    bottle.counter = 1\n",
        "bottle_inner/__init__.py": "",
        "bottle_inner/plugin.py": "from bottle import request\n",
        "bottle_old.py": "import bottle\nprint 'hello'\n",
        "unrelated.py": "import json\n",
        "bottle_pies/__init__.py": "import bottlenecks\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    status, output, _ = command("check", "--from", "bottle", "shop.py")
    found = [line.removeprefix(f"{tmp_path}/") for line in output.splitlines()]
    assert (status, [line.split(": ")[:2] for line in found]) == (
        1,
        [
            ["bottle_counting.py:2", "imports the original bottle"],
            ["bottle_counting.py:2", "bottle.depr"],
            ["bottle_inner/plugin.py:1", "imports the original bottle"],
            ["3 findings"],
        ],
    )
    assert 'install("bottle"). Or start the program with micropie run --stand-in bottle' in found[0]
    for lines in (
        "import micropie_compat\nmicropie_compat.install('bottle')",
        "import micropie_compat as compat\ncompat.install('bottle')",
        "from micropie_compat import install\ninstall('bottle')",
    ):
        (tmp_path / "shop.py").write_text(f"{lines}\nimport bottle_counting\n")
        _, output, _ = command("check", "--from", "bottle", "shop.py")
        assert [line.split(": ")[1:2] for line in output.splitlines()] == [["bottle.depr"], []]


@pytest.mark.parametrize(
    ("line", "is_installed"),
    [
        ('from micropie_compat import install as i; i("cherrypy")', True),
        ('from micropie_compat import install; install(framework="cherrypy")', True),
        ('import micropie_compat; micropie_compat.install("cherrypy")', True),
        ('from micropie_compat import stand_in; stand_in.install("cherrypy")', True),
        ('from micropie_compat import install; install("bottle")', False),
        ('from micropie_compat import install; install("cherrypy", "shop.cherrypy")', False),
        ('from micropie_compat import is_installed; is_installed("cherrypy")', False),
        ('from shop import install; install("cherrypy")', False),
    ],
)
def test_check_knows_each_spelling_of_install(
    command: Run, tmp_path: Path, line: str, is_installed: bool
) -> None:
    (tmp_path / "site.py").write_text(f"{line}\nimport cherrypy.lib.static\n")
    status, output, _ = command("check", "--from", "cherrypy", "site.py")
    assert (status, len(output.splitlines())) == ((0, 1) if is_installed else (1, 2))


def test_a_program_s_own_files_are_not_taken_for_plugins(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("import bottle\n")
    (tmp_path / "test_shop.py").write_text("import shop\n")
    monkeypatch.syspath_prepend(str(tmp_path))  # where "." of the command is found again
    assert command("check", "--from", "bottle", ".")[:2] == (0, "0 findings\n")


def test_check_lists_forgotten_imports(command: Run, tmp_path: Path) -> None:
    for name, source in {
        "shop.py": "from micropie_compat import bottle\nimport bottle.ext\n",
        "pages.py": "import os\n\ndef page():\n    from bottle import template, view as v\n",
        "tart.py": "import micropie_compat.bottle as bottle\nfrom bottle.ext import sqlite\n",
        "none.py": "import bottlenecks, bottle as b\n",
    }.items():
        (tmp_path / name).write_text(source)
    _, output, _ = command("check", "--from", "bottle", str(tmp_path))
    told = [line.removeprefix(f"{tmp_path}/") for line in output.splitlines()]
    words = 'imports the original bottle: write "from micropie_compat'
    assert [line for line in told if words in line] == [
        f'none.py:1: {words} import bottle as b"',
        f'pages.py:4: {words}.bottle import template, view as v"',
        f'tart.py:2: {words}.bottle.ext import sqlite"',
    ]
    found = [line[:25] for line in told if 'install("bottle")' in line]
    assert found == ["shop.py:2: bottle.ext: pu"]
    (tmp_path / "install.py").write_text('from micropie_compat import install\ninstall("bottle")\n')
    assert words not in command("check", "--from", "bottle", str(tmp_path))[1]


def test_check_does_not_report_an_import_of_a_submodule(
    command: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import cherrypy.lib.static\nfrom micropie_compat.cherrypy import none\nfrom cherrypy.lib import static, nothing\n"
    (tmp_path / "old.py").write_text(
        source + "static.serve_file, static.gone, cherrypy.lib.static.gone.further\n"
    )
    _, output, _ = command("check", "--from", "cherrypy", "old.py")
    assert [line.split(": ")[:3] for line in output.splitlines()[:-1]] == [
        ["old.py:1", "cherrypy.lib.static", output.splitlines()[0].split(": ")[2]],
        ["old.py:2", "cherrypy.none", "the compatibility module has no none"],
        ["old.py:3", "cherrypy.lib.nothing", "the compatibility module has no nothing"],
        ["old.py:4", "cherrypy.lib.static.gone", "the compatibility module has no gone"],
        [
            "old.py:3",
            "imports the original cherrypy",
            'write "from micropie_compat.cherrypy.lib import static, nothing"',
        ],
    ]
    assert 'install("cherrypy")' in output.splitlines()[0]
    bottle_templates.engine.cache_clear()
    monkeypatch.setattr(PathFinder, "find_spec", lambda name, *path: None)
    source = "from bottle import view\nimport bottle\nbottle.SimpleTemplate, bottle.request.pies\n"
    (tmp_path / "old.py").write_text(source)
    _, output, _ = command("check", "--from", "bottle", "old.py")
    assert [line.partition("need")[0] for line in output.splitlines()[:-1]] == [
        "old.py:1: bottle.view: Bottle's own template language ",
        "old.py:3: bottle.SimpleTemplate: Bottle's own template language ",
    ]


def test_check_reports_overrides_that_are_refused(command: Run, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import cherrypy\nfrom cherrypy import Application as App\n\n"
        "class Mine(cherrypy._cprequest.Request):\n    user = ''\n    def run(self): ...\n"
        "    def process_query_string(self): ...\n\n"
        "class Other(App):\n    def get_serving(self): ...\n\n"
        "class Third(cherrypy.none.Request):\n    def run(self): ...\n"
        "class Encoder(cherrypy.lib.encoding.ResponseEncoder):\n    def encode_string(self): ...\n"
        "class Last(Other):\n    def release_serving(self): ...\n"
        "cherrypy._cprequest.Request.run = App.merge = Mine.user = print\n"
    )
    (tmp_path / "pies.py").write_text(
        "from bottle import Router\n\nclass Mine(Router):\n    def match(self, environ): ...\n"
    )
    _, output, _ = command("check", "--from", "bottle", "pies.py")
    assert "pies.py:4: Mine.match: would never be called" in output
    status, output, _ = command("check", "--from", "cherrypy", "shop.py")
    found = [line.split(": ")[:3] for line in output.splitlines()[:-1]]
    advice = "would never be called"
    assert status == 1
    assert [line[:2] for line in found if line[2].startswith(advice)] == [
        ["shop.py:6", "Mine.run"],
        ["shop.py:10", "Other.get_serving"],
        ["shop.py:15", "Encoder.encode_string"],
        ["shop.py:17", "Last.release_serving"],
        ["shop.py:18", "cherrypy._cprequest.Request.run"],
    ]


def test_check_reads_a_pixie_web_program(command: Run, tmp_path: Path) -> None:
    (tmp_path / "board.py").write_text(
        "from pixie_web import route, run, Request, SimpleTemplate, unknown\nimport pixie_web\n"
        "pixie_web.server, pixie_web.nothing\n"
    )
    status, output, _ = command("check", "--from", "pixie_web", "board.py")
    assert status == 1
    assert [line.split(": ")[:3] for line in output.splitlines()[:-1]] == [
        ["board.py:1", "pixie_web.unknown", "the compatibility module has no unknown"],
        ["board.py:3", "pixie_web.nothing", "the compatibility module has no nothing"],
    ]
    (tmp_path / "board.py").write_text("from micropie_compat.pixie_web import *\nroute, run\n")
    assert command("check", "--from", "pixie_web", "board.py")[0] == 0


STORES = """
import cherrypy, collections, enum
from cherrypy import session as visitor
from models import User, User as Account, find

class Cart: ...

@cherrypy.expose
def log_in(name):
    user = User(name)
    cherrypy.session["user"] = user
    cherrypy.session["name"] = user.name
    cherrypy.session["id"] = User(name).id
    visitor.setdefault("cart", Cart())
    data = cherrypy.session
    data["users"] = [user, 1]
    data["others"] = {"first": find(name), "second": Cart()}
    data["cart"] = [{"id": 5}]
    other["cart"] = Cart()
    data.update({"cart": Cart()})
    data.update(place=Place(1, 2), name="Ann")
    data.update(name="Ann")

Place = collections.namedtuple("Place", "x y")

class Role(enum.Enum):
    ADMIN = 1

def set_role():
    role = Role.ADMIN
    data = cherrypy.session
    data["role"] = Role.ADMIN
    data["role"] = role
    data["value"] = Role.ADMIN.value
    data["address"] = ipaddress.ip_address("127.0.0.1")
    data["place"] = Path("pies")
"""


@pytest.mark.parametrize(
    ("code", "config", "is_found"),
    [
        ("'tools.sessions.storage_type': 'file'", "", True),
        ("'tools.sessions.storage_class': cherrypy.lib.sessions.FileSession", "", True),
        ("'tools.sessions.backend': backend", "", True),
        ("", 'tools.sessions.storage_type = "file"', True),
        ("'tools.sessions.storage_type': 'ram'", "", False),
        ("", "", False),
        ("'tools.sessions.storage_type': 'file', 'tools.sessions.serializer': pickle", "", False),
    ],
)
def test_check_reports_objects_stored_in_sessions(
    command: Run, tmp_path: Path, code: str, config: str, is_found: bool
) -> None:
    (tmp_path / "shop.py").write_text(f"{STORES}config = {{{code}}}\n")
    (tmp_path / "models.py").write_text("class User:\n    pass\n")
    (tmp_path / "shop.conf").write_text(f"[/]\ntools.sessions.on = True\n{config}\n")
    status, output, _ = command("check", "--from", "cherrypy", ".")
    lines = [line.split(": ", 2) for line in output.splitlines()[:-1]]
    assert status == is_found
    assert [line[0] for line in lines] == [
        f"shop.py:{n}" for n in (11, 14, 16, 17, 20, 21, 32, 33, 35, 36)
    ] * is_found
    assert all("only sessions in memory store objects" in line[2] for line in lines)


# Stand-ins that only say what to write; and a value that is None as long as no server of CherryPy's
# runs.
STATED_BUT_MISSING = {
    "cherrypy.Application.get_serving",
    "cherrypy.Application.release_serving",
    "cherrypy.Application.wsgiapp",
    "cherrypy.server.httpserver",
}


@pytest.mark.parametrize(
    "name", [name for name in ADVICE if name.startswith(("bottle.", "cherrypy."))]
)
def test_check_does_not_report_names_that_exist(name: str) -> None:
    module, *path = name.split(".")
    found: object = import_module(f"micropie_compat.{module}")
    try:
        for part in path:
            found = getattr(found, part)
    except (AttributeError, ImportError):  # the latter says what to write
        return
    assert name in STATED_BUT_MISSING
