"""What an application's source shows is told in development, and by ``check``."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from micropie import App
from micropie.debug import application_errors, source_notes
from micropie.debug.source import FunctionSource
from micropie.extensions import Inspector

HEAD = """import asyncio, functools, micropie, sqlite3, subprocess, time, urllib.request
from asyncio import create_task, get_running_loop
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from datetime import datetime
from secrets import token_urlsafe
from typing import Annotated, overload
from micropie import *
HEAD = "<title>Pies</title>"
from micropie.middleware import HttpMiddleware
def members(request): return True
@contextmanager
def opened(): yield "db"
async def mail(): ...
def noted(): ...
noted.__module__ = "requests_log"
class Base(App):
    @requires(members)
    def guarded(self): return "base"
    @property
    def size(self): return 1
class Db: ...
class Session: ...
class Sessions:
    def begin(self) -> "AbstractContextManager[Session]": ...
sessions = Sessions()
missing = object()
def drained(function): return functools.wraps(function)(lambda self: list(function(self)))
class Strange:
    def __getattribute__(self, name): raise RuntimeError("not bound")
    def __call__(self, *arguments): ...
strange = Strange()
class Called:
    def __init__(self, function): ...
    def __call__(self): ...
    def __get__(self, instance, owner): return self
"""
LINES = HEAD.count("\n")
Notes = Callable[[str], list[str]]


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notes]:
    """What is noted about a module, whose application is made by ``Root()``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "shop", raising=False)  # of another test

    def of(text: str) -> list[str]:
        (tmp_path / "shop.py").write_text(f"{HEAD}{text}\n")
        importlib.invalidate_caches()
        shop = importlib.import_module("shop")
        tree = Inspector(shop.Root()).applications()
        return [
            note
            for one in tree
            for note in (*application_errors(one), *source_notes(one))
            if "is defined twice" not in note
        ]

    yield of
    del sys.modules["shop"]


HELPERS = """
def _load(self):
    self.pie = self.request.query["pie"]
def __repr__(self):
    self.pie = self.request
    return ""
_kind = {"request": 1}
"""
IN_CLASS = {
    "def guarded(self): ...": (
        "Root.guarded overrides Base.guarded without its access check: write @requires above it as well, unless everybody may call "
        "it"
    ),
    'def a(self):\n    if self:\n        Redirect("/b")\n    return "c"': (
        "shop.py:{4}: Redirect(...) is created but not sent: write return Redirect(...)"
    ),
    'def a(self):\n    HTTPError(404)\n    return "c"': (
        "shop.py:{3}: HTTPError(...) is created but not sent: write raise HTTPError(...)"
    ),
    'def a(self):\n    enum = micropie.HTTPError(404)\n    micropie.HTTPError(404)\n    return "c"': (
        "shop.py:{4}: micropie.HTTPError(...) is created but not sent: write raise "
        "micropie.HTTPError(...)"
    ),
    'def a(self):\n    Response("b")\n    return "c"': (
        "shop.py:{3}: Response(...) is created but not sent: write return Response(...)"
    ),
    "async def _b(self): ...\nasync def a(self):\n    self._b()": (
        "shop.py:{4}: self._b(...) never runs: write await in front of it"
    ),
    "async def a(self):\n    mail()": (
        "shop.py:{3}: mail(...) never runs: write await in front of it"
    ),
    "async def a(self):\n    self.request.body()": (
        "shop.py:{3}: self.request.body(...) never runs: write await in front of it"
    ),
    "async def a(self):\n    asyncio.sleep(5)": (
        "shop.py:{3}: asyncio.sleep(...) never runs: write await in front of it"
    ),
    "async def ws_a(self, ws):\n    ws.send_text('b')": (
        "shop.py:{3}: ws.send_text(...) never runs: write await in front of it"
    ),
    "def a(self, name):\n    self.name = name": (
        "shop.py:{3}: self.name stores what one client sent, but all clients share this self: "
        "write request.state.name"
    ),
    'def a(self, name: str):\n    return open(f"pies/{name}").read()': (
        "shop.py:{3}: name becomes a part of a path, so a client can name any file: write "
        'static_file(name, root="files")'
    ),
    "def a(self, name):\n    return Path('pies') / name": (
        "shop.py:{3}: name becomes a part of a path, so a client can name any file: write "
        'static_file(name, root="files")'
    ),
    "def a(self, name):\n    return Path('pies') / f'{name}.txt'": (
        "shop.py:{3}: name becomes a part of a path, so a client can name any file: write "
        'static_file(name, root="files")'
    ),
    "def a(self):\n    yield f'data: {len(self.name)}'\n    yield 'data: 2'": (
        "shop.py:{3}: Root.a sends events as text/html, which EventSource refuses: write yield "
        "event(data) in a method _events, and return EventStream(self._events()) here"
    ),
    "def a(self):\n    yield f''\n    yield 'data: 2'": (
        "shop.py:{4}: Root.a sends events as text/html, which EventSource refuses: write yield "
        "event(data) in a method _events, and return EventStream(self._events()) here"
    ),
    "def a(self):\n    yield event({'n': 1})": (
        "shop.py:{3}: Root.a sends events as text/html, which EventSource refuses: write yield "
        "event(data) in a method _events, and return EventStream(self._events()) here"
    ),
    "def a(self):\n    global missing\n    missing += 1\n    missing -= 1": (
        "shop.py:{4}: missing is changed by several threads at once, and each process has its own: "
        "store it in a database, or use a lock in one process"
    ),
    "@post\ndef a(self, name: str, wrong: BindingErrors): ...": (
        "shop.py:{2}: Root.a does not check wrong, so it treats invalid values as valid: "
        "return the form's page again if wrong isn't empty"
    ),
    'def a(name):\n    return name + "b"': "Root.a: its first parameter is 'name' instead of self: write def a(self, name)",
    "pies: 'Base'\nold: Base = Base()\ncount: int\nnames: list[str]": (
        "Root.pies has no value, so nothing handles /pies: write pies = Base()"
    ),
    "async def startup(self): ...": (
        "Root.startup is served as a page, not run as a hook: write this method's code in a method named lifespan"
    ),
    'def a(self, name):\n    return template(source=f"<b>{name}</b>")': (
        "shop.py:{3}: a value inserted into the source of a template runs as code: pass it separately, as in "
        'template(source="... {{{{ name }}}}", name=name)'
    ),
    'def a(self, name: str):\n    return f"<b>{name}</b>"': (
        "shop.py:{3}: name is sent as HTML without escaping, so a client can send scripts: write "
        'html("...{{}}", name) or escape(name)'
    ),
    'def a(self):\n    yield f"<b>{self.request.path}</b>"': (
        "shop.py:{3}: self.request.path is sent as HTML without escaping, so a client can send scripts: write "
        'html("...{{}}", self.request.path) or escape(self.request.path)'
    ),
    **{
        f"def a(self, name: {kind}, number: int = 5):\n    {line}": (
            "shop.py:{3}: name is sent as HTML without escaping, so a client can send scripts: write "
            'html("...{{}}", name) or escape(name)'
        )
        for kind, line in (
            ("str | None", 'return "<b>" + name + "</b>"'),
            ("Annotated[str, 5]", 'return 200, "<b>%s</b>" % name'),
            ("str", 'return "<b>%s</b>%s" % (number, name)'),
            ("str", 'return Response("<b>{0}</b>".format(name))'),
            ("str", 'return "<b>{a}</b>".format(a=name)'),
            ("str", "page = f'<b>{name}{HEAD}</b>'; return page"),
        )
    },
    'def a(self, name):\n    return template(source=HEAD + "<b>%s</b>" % name)': (
        "shop.py:{3}: a value inserted into the source of a template runs as code: pass it separately, as in "
        'template(source="... {{{{ name }}}}", name=name)'
    ),
    "@Called\ndef a(self): ...\nb = staticmethod(str)\nc = str": (
        "Root.a has no URL, because its decorator returns no function, but a Called: rename it, and "
        "call it in a def a"
    ),
    "class _Api(App): ...\napi = _Api": (
        "Root.api is a class, so it has no routes: write api = _Api()"
    ),
    "@post\ndef a(self):\n    self.request.after_response(self.b, 3)\ndef b(self, number: int): ...": (
        "shop.py:{5}: b is a page, but another page calls it or passes it on: rename it to _b "
        "if clients must not reach it"
    ),
    HELPERS: (
        "shop.py:{4}: self.pie stores what one client sent, but all clients share this self: write "
        "request.state.pie"
    ),
    "def _load(self, request):\n    self.pie = request": (
        "shop.py:{3}: self.pie stores what one client sent, but all clients share this self: write "
        "request.state.pie"
    ),
    "def a(self, name, page=1): ...": (
        "shop.py:{2}: Root.a takes page as a str, because it has a default but no annotation: write "
        "page: int = 1"
    ),
    "def a(self, is_open=False): ...": (
        "shop.py:{2}: Root.a takes is_open as a str, because it has a default but no annotation: write "
        "is_open: bool = False"
    ),
    "def a(self):\n    return self.b()\ndef b(self): ...": (
        "shop.py:{4}: b is a page, but another page calls it or passes it on: rename it "
        "to _b if clients must not reach it"
    ),
    '@run_in("process")\ndef b(self): ...\ndef a(self):\n    return self.b()': (
        "shop.py:{2}: b is a page, but another page calls it or passes it on: rename it "
        "to _b if clients must not reach it"
    ),
    'def a(self, kind="b"):\n    if kind:\n        return {"b": 1}\n    yield 5': (
        "shop.py:{4}: Root.a is a generator, so what it returns is not sent: write yield, or move the "
        "lines with yield into a method _rows, and write return self._rows()"
    ),
    **{
        f"def a(self, name, seen{stated}):\n    {line}\n    return seen": (
            f"shop.py:{{2}}: Root.a changes the default of seen, which all clients share: write seen = {kind}(seen) first"
        )
        for stated, line, kind in (
            ("=[]", "seen.append(name)", "list"),
            (": list[str] = []", "seen[0] = name", "list"),
            ("={}", "del seen[name]", "dict"),
            (": set[str] = set()", "seen.add(name)", "set"),
        )
    },
    "def a(self, db=Db()): ...": (
        "shop.py:{2}: Root.a takes db from the query, so ?db=x replaces the default: write @app.provides(Db) above a function "
        "that returns it, and db: Db"
    ),
    **{
        f"def a(self, size: int = 5, at{stated}): ...": (
            "shop.py:{2}: Root.a has a default for at that is made at import, and never again: write at=None, and "
            f"{made} in the function"
        )
        for made in ("datetime.now()", "time.time()", "token_urlsafe(16)")
        for stated in (f"={made}", f": object = {made}")
    },
    **{
        f"def a(self):\n    self.{name} = 5": (
            f"shop.py:{{3}}: self.{name} = ... replaces what the application has: write self.request.state.name = ... for one "
            "request, or self.state.name = ... for all"
        )
        for name in ("state", "middlewares", "channels")
    },
    "def __init__(self):\n    super().__init__()\n    self.a = lambda: 5": (
        "shop.py:{4}: nothing handles /a, because only the object has this function: write def a(self) in the class, or rename "
        "it to _a"
    ),
    **{
        f"async def a(self):\n    loop = get_running_loop()\n    {called}(mail())": (
            f"shop.py:{{4}}: {called}(...) may never end, because nothing refers to the task: write "
            "self.request.after_response(function, ...), or store the task"
        )
        for called in (
            *("asyncio.create_task", "asyncio.ensure_future", "create_task", "loop.create_task"),
            "get_running_loop().create_task",
        )
    },
    "@asynccontextmanager\nasync def lifespan(self):\n    create_task(mail())\n    yield": (
        "shop.py:{4}: create_task(...) may never end, because nothing refers to the task: write "
        "self.request.after_response(function, ...), or store the task"
    ),
    "def a(self, name):\n    global last\n    last = name": (
        "shop.py:{4}: last stores what one client sent, but all clients share this variable: write request.state.last"
    ),
    **{
        f"def a(self, name):\n    self._db.execute({statement})": (
            "shop.py:{3}: name becomes a part of the SQL, so a client can read and change any row: write "
            'execute("... = ?", [name])'
        )
        for statement in (
            "f\"select * from pies where name = '{name}'\"",
            '"SELECT *\\n FROM " + name',
            '"delete from %s" % name',
            '"update pies set price = {}".format(name)',
        )
    },
    **{
        f"async def a(self):\n    {called}(5)\n    await mail()": (
            f"shop.py:{{3}}: Root.a blocks the event loop with {full}: write def instead of async def, or use the asynchronous "
            "counterpart"
        )
        for called, full in (
            ("time.sleep", "time.sleep"),
            ("urllib.request.urlopen", "urllib.request.urlopen"),
            ("subprocess.run", "subprocess.run"),
            ("sqlite3.connect", "_sqlite3.connect"),
        )
    },
}
PROVIDES = """
def __init__(self):
    super().__init__()
    self.provides(Session)(sessions.begin)
    self.provides(Db)(opened)
    self.provides(Base)(self._base)
def _base(self): return self
"""
HOLDS = {
    "@post\ndef a(self, session: Session):\n    self.channels.publish('a', 1)": (
        "shop.py:{9}: Root.a publishes before session is committed: write "
        "self.request.after_response(self.channels.publish, ...)"
    ),
    "async def a(self, db: Db):\n    return EventStream(self.channels.subscribe('a'))": (
        "shop.py:{9}: Root.a holds db until the client disconnects: open it where "
        "it is needed, with self.request.resource(Db)"
    ),
    "async def ws_a(self, ws, db: 'Db'):\n    await ws.accept()": (
        "shop.py:{9}: Root.ws_a holds db until the client disconnects: open it where "
        "it is needed, with self.request.resource(Db)"
    ),
}
HOLDS_NOTHING = [
    "@post\ndef a(self, session: Session):\n"
    "    self.request.after_response(self.channels.publish, 'a', 1)",
    "@post\ndef a(self, session: Session):\n    session.commit()\n    self.channels.publish('a', 1)",
    "@post\ndef a(self, base: Base):\n    self.channels.publish('a', 1)",
    "async def a(self, base: Base):\n    return EventStream(self.channels.subscribe('a'))",
    "async def ws_a(self, ws, base: Base):\n    await ws.accept()",
    "def a(self, db: Db):\n    return db.publish('a')",
]
TWICE = {
    "def a(self): ...\n\ndef a(self, name): ...": (2, 4),
    '@get("/log-in")\ndef a(self): ...\n@post("/log-in")\ndef a(self, name): ...': (3, 5),
}
RIGHT = [
    "@property\ndef a(self): ...\n@a.setter\ndef a(self, value): ...\nb = 1\ndef c(self): ...",
    "@overload\ndef _a(self, one): ...\n@overload\ndef _a(self, one, two): ...\ndef _b(self): ...",
    "@requires(members)\ndef guarded(self): ...",
    "def a(self, n: int = 3):\n    return self.a(n - 1) if n else ''",
    "@hidden\ndef guarded(self): ...",
    "guarded = None\nsize = 5",
    'def a(self):\n    print("b")\n    self.request.cookies.get("b")\n    raise HTTPError(404)',
    "async def _b(self): ...\nasync def a(self):\n    await self._b()\n    print()\n    return self._c(mail())\n"
    "def _c(self, one): ...",
    "def a(self):\n    mail()",  # which Python itself tells
    "async def ws_a(self, ws):\n    await ws.accept()\n    ws.closed\n    self.size",
    "def a(self, name):\n    self.request.state.name = name\n    self.count = 1\n    a = b = name",
    "@staticmethod\ndef a(name):\n    a.name = name",
    "class Kind:\n    def __call__(self, errors): ...\na = staticmethod(Kind())",
    "def a(self, name):\n    self.key = lambda name: 5",
    "def a(self, name):\n    self.names[name] = name\n    self.request.state.pie = name\n"
    "    pie = self.size\n    self.pie = pie",
    "@post\ndef a(self, name: str, wrong: BindingErrors):\n    return wrong.given",
    "def index(self): ...\ndef a(self):\n    return self.index()",
    "def a(self):\n    return self.b()\n@get\ndef b(self): ...",
    "def a(self, name):\n    return open(name) if name in self.names else None",
    "def a(self, name):\n    return 5 / 2, self.path / 'pies', open(self.name), open(f'{self}')",
    "def a(self):\n    yield\n    yield 'a'\n    yield f'{self}'\n    yield b'data: 5'",
    "def a(self):\n    self.response.content_type = 'text/event-stream'\n    yield 'data: 5'",
    "def a(self):\n    self.response.headers['Content-Type'] = 'text/event-stream'\n    yield event(5)",
    "async def a(self):\n    global missing\n    missing += 1",
    "def a(self):\n    global missing\n    with lock:\n        missing += 1\n    here = 1\n    here += 1",
    "def a(self, name):\n    count, last = 0, ''\n    def add():\n        nonlocal count, last\n"
    "        count += 1\n        last = name\n    add()",
    "a = staticmethod(len)",
    "def a(shop):\n    return shop.size",
    "def a(*arguments):\n    return arguments",
    "@classmethod\ndef a(kind):\n    return 5",
    '@get("/a/<page:int>")\ndef a(self, page=1):\n    return page',
    "def a(self, name):\n    self.names = [one for one in self.names if one != name]",
    "def __init__(self):\n    super().__init__()\n    self.provides(Db)(Db)\n"
    "def a(self, db: Db):\n    self.first = db.first",
    "def _a(self, name):\n    session = self.size()\n    self.name = name\n    self.open = session.open",
    "@post\ndef a(self, name: str, wrong: BindingErrors):\n    return str(locals())",
    "import functools\n@functools.singledispatchmethod\ndef _a(self, one): ...\n"
    "@_a.register(int)\ndef _(self, one): ...\n@_a.register\ndef _(self, one: str): ...",
    'async def a(self):\n    strange("a")\n    self.never()',
    "class Search:\n    def index(self, document): ...\nsearch = Search()\nblog = App()",
    'def a(self, page=1, size: int = 5, kind="b", part=None):\n    return int(page) + float(page)',
    "@post\ndef a(self):\n    yield\n    yield 5\n    yield self.request.form",
    "@reads_body\n@post\ndef a(self):\n    return self.request.parts()",
    'def a(self, number: int, name):\n    return f"<b>{number} {len(name)} {escape(name)}</b>"',
    'def a(self, name):\n    name = escape(name)\n    return f"<b>{name}</b>"',
    'def a(self, name):\n    return f"hello {name}", f"<{name}>", "a" + name',
    "def a(self):\n    yield 1\n    return",
    'def a(self, name):\n    print(f"Shop <shop@example.com> to {name}", "<b> %s", name)',
    'def a(self):\n    return template(source=HEAD + f"<b>{HEAD}</b>")',
    "class Inner(App): ...\ninner = Inner()\n_api = App",
    "def a(self):\n    yield 5\n    return None",
    "def a(self):\n    def size(): return 5\n    yield size()",
    "def a(self):\n    return [(yield)]\na = drained(a)",
    "def a(self, tags: list[str] = []):\n    return tags + [tags.index('b'), tags[0]]",
    "def a(self, seen=[]):\n    seen = list(seen)\n    seen.append(5)",
    "def a(self, seen=None, name=''):\n    return (seen or []).append(name.strip())",
    "def _a(self, name, seen=[]):\n    seen.append(name)",
    "def a(self, name=missing):\n    return 5 if name is missing else name",
    "def a(self, at: datetime | None = None, name='now()'):\n    return at or datetime.now()",
    "def a(self):\n    self.state.name = 5\n    self.states = 5\n    state = 5",
    "def _a(self):\n    self.channels = self.state = 5",
    "def __init__(self):\n    super().__init__()\n    self.now = lambda: 5\n    self._a = lambda: 5\n"
    "    self.mail = mail\n    self.b = get(lambda: 5)\n\n"
    "def a(self):\n    return self.now()",
    "async def a(self):\n    self.task = asyncio.create_task(mail())\n    self.tasks.create_task(mail())\n"
    "    async with asyncio.TaskGroup() as group:\n        group.create_task(mail())",
    "def a(self, name):\n    global last\n    last = 5\n    other = name",
    "def a(self, name, order):\n    if order not in ('a', 'b'):\n        raise HTTPError(400)\n"
    "    self._db.execute(f'select * from pies order by {order}', [name])\n    return f'Select from {name}'",
    "async def a(self):\n    def size():\n        time.sleep(5)\n    size(), lambda: time.sleep(5)\n"
    "    raise sqlite3.OperationalError(time.time())",
    "def a(self):\n    time.sleep(5)",
    "async def a(self):\n    noted()",
    'def a(self, name):\n    return template(source="<b>{{ name }}</b>", name=name)',
]
BLOCKING = {
    "async def a(self, db: orm.Session): ...": ["sqlalchemy.orm.session.Session"],
    "async def a(self, db: Annotated[sqlite3.Connection, 5]): ...": ["sqlite3.Connection"],
    "def a(self, db: orm.Session): ...": [],
    "async def a(self, db: AsyncSession): ...": [],
}


@pytest.mark.parametrize(("body", "names"), BLOCKING.items(), ids=[*BLOCKING])
def test_check_reports_a_client_that_blocks_the_event_loop(
    notes: Notes, body: str, names: list[str]
) -> None:
    found = notes(
        "import sqlite3\nfrom sqlalchemy import orm\nfrom sqlalchemy.ext.asyncio import AsyncSession\n"
        f"class Root(App):\n    {body}\n    def __init__(self):\n        super().__init__()\n"
        "        for kind in (orm.Session, AsyncSession, sqlite3.Connection):\n"
        "            self.provides(kind)(mail)"
    )
    assert found == [
        f"shop.py:{LINES + 5}: Root.a blocks the event loop with {name}: write def instead of async def, or use the "
        "asynchronous counterpart"
        for name in names
    ]


@pytest.mark.parametrize(("body", "words"), IN_CLASS.items(), ids=[*IN_CLASS])
def test_check_reports_an_error_in_a_class(notes: Notes, body: str, words: str) -> None:
    lines = [str(LINES + number) for number in range(len(body))]
    found = notes(f"class Root(Base):\n{indent(body, '    ')}")
    assert found == [words.format(*lines)]


@pytest.mark.parametrize(("body", "words"), HOLDS.items(), ids=[*HOLDS])
def test_check_reports_a_resource_that_is_held_open(notes: Notes, body: str, words: str) -> None:
    lines = [str(LINES + number) for number in range(len(body))]
    found = notes(f"class Root(App):\n{indent(PROVIDES + body, '    ')}")
    assert found == [words.format(*lines)]


def test_a_resource_of_the_outer_application_counts(notes: Notes) -> None:
    body = """
class Inner(App):
    async def a(self, db: Db, name):
        self.name = db.name
        return EventStream(self.channels.subscribe("a"))
class Root(App):
    inner = Inner()
    def __init__(self):
        super().__init__()
        self.provides(Db)(opened)
"""
    (found,) = notes(body)
    assert "Inner.a holds db until the client disconnects" in found


@pytest.mark.parametrize("body", HOLDS_NOTHING)
def test_a_resource_that_is_not_held_open_is_not_reported(notes: Notes, body: str) -> None:
    assert notes(f"class Root(App):\n{indent(PROVIDES + body, '    ')}") == []


@pytest.mark.parametrize(("body", "lines"), TWICE.items(), ids=[*TWICE])
def test_check_reports_a_method_replaced_by_another(
    notes: Notes, body: str, lines: tuple[int, int]
) -> None:
    assert notes(f"class Root(Base):\n{indent(body, '    ')}") == []
    first, last = (LINES + line for line in lines)
    (root,) = Inspector(sys.modules["shop"].Root()).applications()
    assert application_errors(root) == [
        f"Root.a is defined twice, in lines {first} and {last}, and the last one replaces the "
        "first: give one of them another name"
    ]


@pytest.mark.parametrize("body", RIGHT)
def test_intentional_code_is_not_reported(notes: Notes, body: str) -> None:
    assert notes(f"class Root(Base):\n{indent(body, '    ')}") == []
    assert application_errors(Inspector(sys.modules["shop"].Root()).applications()[0]) == []


def test_an_access_check_on_a_class_covers_its_overrides(notes: Notes) -> None:
    assert notes("@requires(members)\nclass Root(Base):\n    def guarded(self): ...") == []


HOOK = """
class Hook(HttpMiddleware):
    def before_request(self, request):
        HTTPError(401)
        self.user = request.session["user"]
def plain(request): yield
def closed(request):
    if request.path == "/closed":
        return 503, "closed"
    yield
class Root(App):
    middlewares = [Hook(), plain, closed, RateLimit(5, per=60)]
"""
SHARED = """
def remembers(request):
    app.pie = request.query["pie"]
    yield
def finds(request):
    app.who = request.session["user"]
    return True
@requires(finds)
class Root(App):
    middlewares = [remembers]
    @requires(finds)
    def both(self, name):
        self.count, self.name = 1, name
        other.name = name
app = Root()
@app.get("/function")
def function(name, self=None):
    app.name = name
other = Db()
"""


def test_annotations_for_type_checkers_alone_hide_nothing(notes: Notes) -> None:
    found = notes(
        """
def plain(request: "Unknown"):
    request.state.name = f"<b>{request.path}</b>"
    yield
async def slow(request: "Unknown"):
    time.sleep(5)
    yield
class Root(App):
    middlewares = [plain, slow]
    def shown(self): return ""
    def a(self): return self.shown()"""
    )
    words = ["request.path is sent as HTML", "blocks the event loop", "shown is a page"]
    assert sorted(word for one in found for word in words if word in one) == sorted(words)


def test_check_reads_hooks_as_well(notes: Notes) -> None:
    found = notes(
        HOOK.replace("class Hook", "from micropie.middleware import RateLimit\nclass Hook")
    )
    assert found == [
        f"shop.py:{LINES + 5}: HTTPError(...) is created but not sent: write raise HTTPError(...)",
        f"shop.py:{LINES + 6}: self.user stores what one client sent, but all clients share this "
        "self: write request.state.user",
    ]


def test_check_reports_data_shared_by_clients_wherever_it_is_set(notes: Notes) -> None:
    notes(SHARED)
    tree = Inspector(sys.modules["shop"].app).applications()
    noted = source_notes(tree[0])
    assert [one.partition(" stores")[0] for one in noted if "stores what" in one] == [
        f"shop.py:{LINES + line}: {target}"
        for line, target in ((13, "self.name"), (18, "app.name"), (3, "app.pie"), (6, "app.who"))
    ]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("    with opened() as db:\n        return db", 5),
        ("    with opened() as db, opened():\n        db.begin()\n        return db", 6),
        ("    with opened() as db:\n        yield db", None),
        ("    with opened() as db:\n        if db: return\n        return Db(db)", None),
        ("    with opened():\n        return Db()", None),
    ],
)
def test_check_reports_a_provider_that_closes_its_return_value(
    notes: Notes, body: str, line: int | None
) -> None:
    found = notes(f"Root = App()\n@Root.provides(Db)\ndef db():\n{body}\nRoot = lambda it=Root: it")
    advice = "db is closed before the handler gets it: write yield db"
    assert found == ([] if line is None else [f"shop.py:{LINES + line}: {advice}"])


def test_check_reads_an_application_s_functions(notes: Notes) -> None:
    text = 'Root = App()\n@Root.get("/a")\nasync def a():\n    mail()\nRoot = lambda it=Root: it'
    assert notes(text) == [f"shop.py:{LINES + 4}: mail(...) never runs: write await in front of it"]


@pytest.mark.parametrize("debug", [True, False])
def test_findings_are_only_logged_in_development(
    notes: Notes, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    notes(
        "def Root():\n    return made\nclass Other(Base):\n    def guarded(self): ...\n"
        f"made = Other(debug={debug})"
    )
    logged = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    expected = ["Other.guarded overrides Base.guarded"] if debug else []
    assert [one.partition(" without")[0] for one in logged] == expected


def test_code_without_source_is_skipped() -> None:
    names: dict[str, Any] = {"App": App}
    exec("class Root(App):\n    def a(self, name): self.name = name", names)
    tree = Inspector(names["Root"]()).applications()
    assert [source_notes(one) for one in tree] == [[]]
    assert FunctionSource.of(len) is None
    assert FunctionSource.of(lambda: "") is None


def test_a_plain_text_page_may_have_any_text(notes: Notes) -> None:
    body = 'def a(self, name):\n    return f"<{name}>"'
    body += "\ndef __init__(self): super().__init__(text='plain')"
    assert notes(f"class Root(Base):\n{indent(body, '    ')}") == []
