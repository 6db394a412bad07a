"""The calls of functions and the bytecode instructions that a request takes, for every kind of
request: each kind has a ceiling.

Times of a busy machine differ by a factor of two; the calls and instructions of one warm request do
not differ at all. Calls show what C code is asked for, instructions the work in between. So a
request that becomes slower is seen here by the change that makes it slower, and not behind a server
some weeks later.

The rule: a change that needs more raises the number in its own diff, and says why. A change that
needs less lowers it. ``python -m tests.project.test_costs`` prints the tables as they are now, to be put instead
of ``CALLS`` and ``INSTRUCTIONS``. ``python -m benchmarks.opcodes`` shows where the
instructions go.

They are counted in a process of their own, where no other test has left a thread, a cache or a
profiler.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, NamedTuple

import pydantic
import pytest

import micropie
from benchmarks import opcodes
from benchmarks.opcodes import Instructions
from micropie import App, EventStream, HTTPError, HttpMiddleware, Redirect, UploadFile, get, post
from micropie._core import flow, http, routing
from micropie._core.files import recent
from tests.asgi.calls import Lifespan, http_scope, piece
from tests.support.commands import ROOT
from tests.support.environment import unmeasured
from tests.support.waiting import PATIENCE
from tests.wsgi.calls import Answer, environ_for

pytestmark = pytest.mark.processes

# By kind of request: the calls of Python and of C together that it may take under ASGI and under
# WSGI. A value that is computed once is stored by a call of ``setattr``: to store it in the object's
# ``__dict__`` takes a call less but more time, because Python has to make that dict. Under WSGI, this
# package starts the task of each ``await``. anyio's task groups would take several times as many
# instructions for it, which are not counted here.
CALLS: dict[str, tuple[int, int]] = {
    "plain": (22, 52),
    "plain def": (56, 21),
    "json": (23, 53),
    "path": (27, 57),
    "query": (41, 71),
    "explicit": (42, 72),
    "form": (83, 118),  # an escaped value takes one call more, and a tenth of the time
    "numbers": (2593, 2620),
    "link": (184, 164),
    "json body": (58, 93),
    "dataclass": (60, 90),
    "null": (32, 62),
    "dataclasses out": (112, 136),
    "models out": (59, 83),
    "models in": (84, 113),
    "dataclasses refused": (499, 501),
    "models refused": (194, 196),  # a constraint that pydantic checks has our sentence
    "upload": (239, 199),  # under ASGI the calls of the package that finds the parts count, too
    "session write": (105, 129),
    "session read": (55, 83),
    # an answer for which a cookie was read is private, and varies by it
    "cookies": (74, 95),
    "template": (209, 61),
    "static": (86, 95),
    "304": (79, 90),
    "404": (43, 46),
    "405": (52, 55),  # an error asks whether its sentence is HTML already
    "400": (48, 78),
    "redirect": (42, 72),
    "after response": (66, 129),
    # under WSGI, one task awaits all async parts of a request with async hooks, and has to be told
    # the end; it takes a quarter less time than a task for each part, and more if it has to wait
    "hooks": (61, 275),
    "error handler": (138, 206),
    # the look-up of a class by its event loop takes three calls on the loop of WSGI
    # and the scope that cancels a stream at the end of the loop, which asyncio would do only once, two
    "10 chunks": (98, 169),
    "10 chunks def": (347, 74),
    "3 chunks awaited": (186, 128),
    "3 events": (250, 215),
    "mounted Flask": (236, 451),
    "mounted ASGI": (183, 285),
    "WebSocket echo": (216, 0),  # with the task that reads, which is two turns of the event loop
}

# The same for instructions, rounded up to tens.
INSTRUCTIONS: dict[str, tuple[int, int]] = {
    "plain": (400, 740),
    "plain def": (910, 330),
    "json": (430, 770),
    "path": (500, 830),
    "query": (660, 1000),
    "explicit": (860, 1190),
    "form": (1300, 1580),
    "numbers": (33250, 33470),
    "link": (2170, 2070),
    "json body": (1060, 1340),
    "dataclass": (1110, 1360),
    "null": (510, 830),
    "dataclasses out": (2030, 2310),
    "models out": (1070, 1360),
    "models in": (1620, 1850),
    # an invalid object or array may be a part of a union
    "dataclasses refused": (8440, 8270),
    "models refused": (3100, 2920),
    "upload": (3980, 2860),
    "session write": (1690, 1910),  # a session knows the objects that parameters have for it
    "session read": (950, 1200),
    "cookies": (1250, 1480),
    "template": (1750, 830),
    "static": (1400, 1360),
    "304": (1310, 1270),
    "404": (930, 750),
    "405": (1110, 1010),
    "400": (930, 1230),  # its page is written in one place, with a call less
    "after response": (920, 1630),
    "redirect": (760, 1100),  # a location that is no str is refused where it is raised
    "hooks": (1160, 3880),
    "error handler": (2250, 3070),
    # under WSGI, they are joined before they are transformed; with a busy machine, the thread that
    # waits for them takes up to 35 instructions more
    "10 chunks": (2060, 3080),
    "10 chunks def": (4940, 1120),
    "3 chunks awaited": (2900, 1940),
    "3 events": (4200, 3080),
    "mounted Flask": (3130, 5210),
    "mounted ASGI": (2490, 3220),
    # the handler runs between two flows, so that an open WebSocket takes 1 KiB less
    "WebSocket echo": (2950, 0),
}

MOUNTED = ("mounted Flask", "mounted ASGI")
# These wait several times, and on a busy machine a timer may end meanwhile: seldom where calls are
# counted, and often where instructions are, which takes fifty times as long.
WAITING = {
    "after response",
    "hooks",
    "error handler",
    "10 chunks def",
    "3 chunks awaited",
    "3 events",
    *MOUNTED,
    "WebSocket echo",
}
MARGINS = {"calls": 1.25, "instructions": 1.6}

# What the numbers hold for. Other interpreters and libraries make other calls of their own.
INTERPRETER = ("cpython", (3, 11))
LIBRARIES = {
    "anyio": "4.16",
    "flask": "3.1",
    "jinja2": "3.1",
    "msgspec": "0.23",
    "orjson": "3.13",
    "pydantic": "2.14",
    "werkzeug": "3.1",
}


def is_comparable() -> bool:
    """Return whether the numbers hold for this interpreter and these libraries."""
    interpreter = sys.implementation.name, sys.version_info[:2]
    return interpreter == INTERPRETER and all(
        version(name).startswith(f"{of}.") for name, of in LIBRARIES.items()
    )


PROTOCOLS = ("asgi", "wsgi")
CONNECT = {"type": "websocket.connect"}
PACKAGE = str(Path(micropie.__file__).parent)
TESTS = str(ROOT / "tests")  # whose calls don't count
# Of the requests of each kind, the first don't count, of the others the least does.
WARM, TIMES, TIMES_TRACED = 5, 45, 5

BROWSER = {
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-encoding": "gzip, deflate, br",
    "accept-language": "en-US,en;q=0.5",
    "cache-control": "max-age=0",
    "upgrade-insecure-requests": "1",
}
UPLOAD = (
    b'--X\r\nContent-Disposition: form-data; name="title"\r\n\r\nhi\r\n'
    b'--X\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
    + b"z" * 3000
    + b"\r\n--X--\r\n"
)
FORM = {"content-type": "application/x-www-form-urlencoded"}
JSON = {"content-type": "application/json"}


@dataclasses.dataclass
class Order:
    name: str
    count: int
    tags: list[str]


@dataclasses.dataclass
class Part:
    name: str
    price: float
    order: Order
    note: str | None = None


@dataclasses.dataclass
class Stock:
    parts: list[Part]


class PartModel(pydantic.BaseModel):
    name: str
    price: float
    note: str | None = None


class StockModel(pydantic.BaseModel):
    parts: list[PartModel]


Numbers = dataclasses.make_dataclass("Numbers", [(f"number{n}", int) for n in range(100)])


STOCK = Stock([Part("a", 1.5, Order("b", 2, ["x"])) for _ in range(100)])
WRONG = dataclasses.asdict(Stock(STOCK.parts[:20]))
WRONG["parts"][3]["price"] = "x"
STOCK_MODEL = StockModel(parts=[PartModel(name="a", price=1.5) for _ in range(100)])


class Site(App):
    async def plain(self) -> str:
        return "Hello"

    def plain_def(self) -> str:
        return "Hello"

    async def data(self) -> dict[str, str]:
        return {"message": "Hello"}

    async def null(self) -> dict[str, object]:
        return {"message": None, "numbers": [1.5] * 100}

    async def stock(self) -> Stock:
        return STOCK

    async def stock_model(self) -> StockModel:
        return STOCK_MODEL

    @post
    async def take(self, stock: StockModel) -> str:
        return stock.parts[0].name

    @post
    async def sum(self, numbers: Numbers) -> str:  # type: ignore[valid-type]
        return str(numbers.number99)  # type: ignore[attr-defined]

    async def link(self) -> str:
        return self.url_for("posted", id=7, slug="abc", page=2)

    @post
    async def keep(self, stock: Stock) -> str:
        return stock.parts[0].name

    async def greet(self, name: str) -> str:
        return f"hello {name}"

    @get("/users/<id:int>/posts/<slug>")
    async def posted(self, id: int, slug: str) -> str:
        return f"{id}{slug}"

    async def submit(self, username: str) -> str:
        return username

    async def order(self, order: Order) -> dict[str, int]:
        return {"n": order.count}

    async def upload(self, title: str, photo: UploadFile) -> str:
        return f"{title} {photo.size}"

    async def visit(self) -> str:
        session = self.request.session
        if "n" not in session:
            session["n"] = 0
        return str(session["n"])

    async def change(self) -> str:
        session = self.request.session
        session["n"] = session.get("n", 0) + 1
        return "changed"

    async def cookie(self) -> str:
        self.response.set_cookie("a", "b")
        return self.request.cookies.get("q", "none")

    async def page(self) -> str:
        return self.render("page.html", items=[f"item {number}" for number in range(20)])

    async def mail(self) -> str:
        self.request.after_response(self.send, "bob")
        return "sent"

    @staticmethod
    async def send(name: str) -> None:
        pass

    async def moved(self) -> Redirect:
        return Redirect("/plain")

    async def bad(self) -> None:
        raise HTTPError(400, "bad")

    async def fail(self) -> None:
        raise LookupError("no")

    async def ready(self) -> AsyncIterator[str]:
        for number in range(10):
            yield f"{number}\n"

    def made(self) -> Iterator[str]:
        for number in range(10):
            yield f"{number}\n"

    async def awaited(self) -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            yield f"{number}\n"

    async def ticks(self) -> EventStream:
        return EventStream(self._events())

    async def _events(self) -> AsyncIterator[str]:
        for number in range(3):
            await asyncio.sleep(0)
            yield str(number)

    async def ws_echo(self, ws: micropie.WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(str(message))


class Marks(HttpMiddleware):
    async def before_request(self, request: micropie.Request) -> None:
        pass

    async def after_request(
        self, request: micropie.Request, status: int, body: Any, headers: Any
    ) -> None:
        headers.append(("x-mark", "1"))


async def respond_at_once(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-mark", b"1")]})
    await send({"type": "http.response.body", "body": b"Hello"})


class Way(NamedTuple):
    """A kind of request, and the application that it asks."""

    app: App
    target: str
    method: str = "GET"
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    status: int = 200
    # a header of the answer, and that of the next request which sends it back
    keeps: tuple[str, str] = ("", "")

    def sent(self, kept: str) -> dict[str, str]:
        """Return the headers of a request; ``kept`` is what the one before it was given."""
        length = {"content-length": str(len(self.body))} if self.body else {}
        return {**BROWSER, **self.headers, **length, **({self.keeps[1]: kept} if kept else {})}

    def kept(self, headers: Iterable[tuple[str, str]]) -> str:
        """Return what the next request sends back."""
        return {name.lower(): value.partition(";")[0] for name, value in headers}.get(
            self.keeps[0], ""
        )


def ways(folder: Path) -> dict[str, Way]:
    """Return the kinds of requests.

    The files that the applications need are written to ``folder``.
    """
    from flask import Flask

    (folder / "static").mkdir()
    (folder / "static/a.css").write_bytes(b"x" * 10240)
    (folder / "templates").mkdir()
    (folder / "templates/page.html").write_text(
        "<ul>{% for i in items %}<li>{{ i }}</li>{% endfor %}</ul>"
    )
    site, hooked, failing, mounted = (
        Site(templates=str(folder / "templates"), loop_watchdog=False) for _ in range(4)
    )
    site.static("/static", str(folder / "static"))
    hooked.middlewares.extend([Marks(), Marks()])
    failing.middlewares.append(Marks())
    failing.error(LookupError)(lambda error: "sorry")
    flask = Flask("flask")
    flask.get("/")(lambda: "flask")
    mounted.mount("/flask", flask)
    mounted.mount("/asgi", respond_at_once)
    return {
        "plain": Way(site, "/plain"),
        "plain def": Way(site, "/plain_def"),
        "json": Way(site, "/data"),
        "path": Way(site, "/greet/Bob"),
        "query": Way(site, "/greet?name=Bob"),
        "explicit": Way(site, "/users/7/posts/abc"),
        "form": Way(site, "/submit", "POST", FORM, b"username=bob&email=bob%40example.org&age=42"),
        "numbers": Way(
            site, "/sum", "POST", FORM, b"&".join(b"number%d=%d" % (n, n) for n in range(100))
        ),
        "link": Way(site, "/link"),
        "json body": Way(site, "/submit", "POST", JSON, b'{"username":"bob","age":42}'),
        "dataclass": Way(site, "/order", "POST", JSON, b'{"name":"a","count":2,"tags":["x"]}'),
        "null": Way(site, "/null"),
        # a hundred objects in one answer or body take as much as one
        "dataclasses out": Way(site, "/stock"),
        "models out": Way(site, "/stock_model"),
        "models in": Way(site, "/take", "POST", JSON, STOCK_MODEL.model_dump_json().encode()),
        # so do those of a body in which one is wrong
        "dataclasses refused": Way(site, "/keep", "POST", JSON, json.dumps(WRONG).encode(), 400),
        "models refused": Way(site, "/take", "POST", JSON, json.dumps(WRONG).encode(), 400),
        "upload": Way(
            site, "/upload", "POST", {"content-type": "multipart/form-data; boundary=X"}, UPLOAD
        ),
        "session write": Way(site, "/change", keeps=("set-cookie", "cookie")),
        "session read": Way(site, "/visit", keeps=("set-cookie", "cookie")),
        "cookies": Way(site, "/cookie", headers={"cookie": "q=1; z=2"}),
        "template": Way(site, "/page"),
        "static": Way(site, "/static/a.css"),
        "304": Way(site, "/static/a.css", status=304, keeps=("etag", "if-none-match")),
        "404": Way(site, "/no/such/path", status=404),
        "405": Way(site, "/users/7/posts/abc", "DELETE", status=405),
        "400": Way(site, "/bad", status=400),
        "redirect": Way(site, "/moved", status=303),
        "after response": Way(site, "/mail"),
        "hooks": Way(hooked, "/plain"),
        "error handler": Way(failing, "/fail", status=500),
        "10 chunks": Way(site, "/ready"),
        "10 chunks def": Way(site, "/made"),
        "3 chunks awaited": Way(site, "/awaited"),
        "3 events": Way(site, "/ticks"),
        "mounted Flask": Way(mounted, "/flask/"),
        "mounted ASGI": Way(mounted, "/asgi/"),
        "WebSocket echo": Way(site, "/echo", status=101),
    }


class ShortCut(NamedTuple):
    """A short cut that rule 1 of ARCHITECTURE.md allows.

    ``kind``: a request that takes it. ``calls``, ``instructions``: what it saves that request under
    ASGI. With ``instead`` as the attribute ``name`` of ``owner``, all requests take the long way.
    """

    kind: str
    calls: int
    instructions: int
    owner: object
    name: str
    instead: object


SHORT_CUTS = {
    "Router.exact": ShortCut(
        "plain", 10, 230, routing.site.Site, "_reached", lambda *_: routing.router.ByMethod()
    ),
    "Router.below": ShortCut("path", 14, 320, routing.router.Node, "takers", lambda _: {}),
    "known_private": ShortCut("session read", 8, 110, flow.http, "KnownHead", object),
    "_failed without _finish": ShortCut("400", 8, 150, flow.http, "ERRORS", ()),
    "respond without _finish": ShortCut(
        "session read", 3, 140, http.AnswerState, "has_response", True
    ),
    "encoded_error": ShortCut(
        "404",
        18,
        290,
        flow.http,
        "encoded_error",
        lambda *given: http.encode(http.error_answer(*given), None, False),
    ),
}
# A short cut that saves less isn't worth the second way.
LEAST_SAVED = 100


class Calls:
    """Counts the calls of all threads that begin after it, but for those that the code of tests
    makes.
    """

    def __init__(self) -> None:
        # thread, and whether micropie's code calls; while it counts
        self._calls: list[tuple[int, bool]] | None = None
        self._made: list[tuple[int, bool]] = []
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if (
            self._calls is not None
            and event in ("call", "c_call")
            and not frame.f_code.co_filename.startswith(TESTS)
        ):
            caller = frame.f_back if event == "call" else frame
            is_own = caller is not None and caller.f_code.co_filename.startswith(PACKAGE)
            self._calls.append((threading.get_ident(), is_own))

    def begin(self) -> None:
        self._calls = []

    def end(self) -> None:
        self._made, self._calls = self._calls or [], None

    def of_threads(self) -> tuple[int, int]:
        """Return how many threads made calls, and the calls; of several threads those alone that
        micropie's code makes.

        How often threads that wait for each other look at a lock is a matter of luck.
        """
        calls = self._made
        threads = len({thread for thread, _ in calls})
        return threads, sum(is_own or threads == 1 for _, is_own in calls)


class Counts:
    """The counts of some requests of one kind."""

    def __init__(self, calls: Calls, instructions: Instructions) -> None:
        self._calls, self._instructions = calls, instructions
        self._found: list[list[tuple[int, int]]] = [[], []]

    def of_each_request(self) -> Iterator[Calls | Instructions]:
        """Yield the counter for each request."""
        for _ in range(TIMES):
            yield self._calls
            self._found[0].append(self._calls.of_threads())
        for _ in range(TIMES_TRACED):
            yield self._instructions
            threads, count = self._instructions.of_threads()
            own = count if threads == 1 else self._instructions.of_files(PACKAGE)
            self._found[1].append((threads, own))

    def least(self) -> list[int]:
        """Return the least calls and instructions: another thread may have woken meanwhile."""
        return [min(counts)[1] for counts in (self._found[0][WARM:], self._found[1])]


async def under_asgi(folder: Path, kind: str = "") -> dict[str, list[int]]:
    counters = Calls(), Instructions((TESTS, opcodes.__file__))
    tasks = dict[App, tuple[asyncio.Task[None], dict[str, Any]]]()
    found: dict[str, list[int]] = {}
    for name, way in ways(folder).items():
        if kind not in ("", name):
            continue
        if way.app not in tasks:
            lifespan = Lifespan(way.app, {})
            tasks[way.app] = asyncio.create_task(lifespan.run()), lifespan.scope["state"]
            await lifespan.say("startup")
        kept, counts = "", Counts(*counters)
        for counter in counts.of_each_request():
            scope = http_scope(way.method, way.target, state=dict(tasks[way.app][1]))
            scope["headers"] += [
                (key.encode(), value.encode()) for key, value in way.sent(kept).items()
            ]
            incoming = [piece(way.body)]
            if way.status == 101:
                scope |= {"type": "websocket", "scheme": "ws", "subprotocols": [], "extensions": {}}
                incoming = [
                    CONNECT,
                    {"type": "websocket.receive", "text": "hi"},
                    {"type": "websocket.disconnect"},
                ]
            server = Server(incoming)
            counter.begin()
            await way.app(scope, server.receive, server.send)
            counter.end()
            headers = [
                (key.decode(), value.decode()) for key, value in server.sent[0].get("headers", ())
            ]
            kept = way.kept(headers)
        assert server.sent[0].get("status", 101) == way.status, name
        found[name] = counts.least()
    return found


class Server:
    """An ASGI server that calls nothing."""

    def __init__(self, incoming: list[dict[str, Any]]) -> None:
        self._incoming = incoming
        self._echoed = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self._incoming and self._incoming[0]["type"] == "websocket.disconnect":
            await self._echoed.wait()
        return (
            self._incoming.pop(0)
            if self._incoming
            else await asyncio.get_running_loop().create_future()
        )

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] == "websocket.send":
            self._echoed.set()


def under_wsgi(folder: Path) -> dict[str, list[int]]:
    counters = Calls(), Instructions((TESTS, opcodes.__file__))
    found: dict[str, list[int]] = {}
    for name, way in ways(folder).items():
        kept, counts = "", Counts(*counters)
        if way.status == 101:  # WSGI has no WebSockets
            found[name] = [0, 0]
            continue
        for counter in counts.of_each_request():
            environ = environ_for(way.method, way.target, way.body)
            for key, value in way.sent(kept).items():
                key = key.upper().replace("-", "_")
                environ[key if key.startswith("CONTENT_") else f"HTTP_{key}"] = value
            answer = Answer()
            counter.begin()
            answer.chunks = way.app(environ, answer.start_response)
            answer.read()
            counter.end()
            kept = way.kept(answer.headers.items())
        assert answer.status == way.status, name
        found[name] = counts.least()
    return found


def counted(*arguments: str) -> dict[str, list[int]]:
    """Return the calls and instructions that each kind of request takes, the least of some.

    ``arguments``: those of ``main``.
    """
    command = [sys.executable, "-m", "tests.project.test_costs", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=unmeasured(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, list[int]] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(
    not is_comparable(), reason="another interpreter or library makes calls of its own"
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_kind_of_request_exceeds_its_calls_or_instructions(protocol: str) -> None:
    found = counted(protocol)
    assert found.keys() == CALLS.keys() == INSTRUCTIONS.keys()
    more = []
    for name, counts in found.items():
        for what, ceilings, count in zip(MARGINS, TABLES, counts, strict=True):
            most = ceilings[name][PROTOCOLS.index(protocol)]
            if count > most * (MARGINS[what] if name in WAITING else 1):
                more.append(f"{name}: {count} {what}, not {most}")
    assert more == [], (
        "save the work at set-up (rule 7 of ARCHITECTURE.md), or raise the number and say why"
    )


@pytest.mark.skipif(
    not is_comparable(), reason="another interpreter or library makes calls of its own"
)
@pytest.mark.parametrize("short_cut", SHORT_CUTS)
def test_each_short_cut_saves_what_its_entry_claims(short_cut: str) -> None:
    cut = SHORT_CUTS[short_cut]
    (used,), (blocked,) = (counted("asgi", cut.kind, *name).values() for name in ([], [short_cut]))
    saved = [more - less for more, less in zip(blocked, used, strict=True)]
    needed = cut.calls, max(cut.instructions, LEAST_SAVED)
    assert all(count >= least for count, least in zip(saved, needed, strict=True)), (
        f"it saves {saved} calls and instructions: write these into SHORT_CUTS, "
        f"or delete the short cut if it saves less than {LEAST_SAVED}"
    )


TABLES = (CALLS, INSTRUCTIONS)


def main(protocol: str | None = None, kind: str = "", short_cut: str = "") -> None:
    """Print what is counted under a protocol, as JSON; without one, the tables of both.

    - ``kind``: the only kind of request to count under ASGI.
    - ``short_cut``: the short cut not to take, from ``SHORT_CUTS``.
    """
    if protocol is not None:
        if short_cut:
            setattr(*SHORT_CUTS[short_cut][3:])
        with tempfile.TemporaryDirectory() as folder:
            gc.disable()  # finalizers would count
            # a busy machine must not look like a slow disk
            recent.SLOW = recent.FRESH_FOR = PATIENCE
            found = (
                under_wsgi(Path(folder))
                if protocol == "wsgi"
                else asyncio.run(under_asgi(Path(folder), kind))
            )
        print(json.dumps(found))
        return
    both = [counted(protocol) for protocol in PROTOCOLS]
    for number, (title, rounded) in enumerate((("CALLS", 1), ("INSTRUCTIONS", 10))):
        print(f"{title}: dict[str, tuple[int, int]] = {{")
        for name in both[0]:
            counts = (-(-found[name][number] // rounded) * rounded for found in both)
            print(f'    "{name}": ({", ".join(map(str, counts))}),')
        print("}")


if __name__ == "__main__":
    main(*sys.argv[1:])
