"""An application as a user writes it.

``make types`` has mypy read it, ``test_checkers.py`` pyright, and nothing runs it.

A line that ends with ``# wrong`` must be an error for both, and no other line may be shop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NewType, assert_type

from micropie import (
    App,
    HTTPError,
    Page,
    Query,
    Request,
    Response,
    Session,
    WebSocket,
    describe,
    get,
    hidden,
    post,
    requires,
    route,
    run_in,
    websocket,
)
from micropie.middleware import (
    CORSMiddleware,
    CSRFMiddleware,
    HttpMiddleware,
    RateLimit,
    SecurityDefaults,
)
from micropie.sessions import Session as StoredSession
from micropie.sessions import SQLiteSessionBackend


def signed_in(request: Any) -> bool:
    return "user" in request.session


class Root(App):
    def index(self, name: str = "World") -> str:
        return f"Hello, {name}!"

    def get_(self, number: int) -> dict[str, int]:
        return {"number": number}

    def delete_(self, number: int) -> tuple[int, str]:
        return 204, ""

    @get("/pies/<number:int>")
    async def pie(self, number: int) -> Response:
        if number < 0:
            raise HTTPError(404, "There is no such pie.")
        return Response("pie", status=201)

    @post("/pies")
    @requires(signed_in)
    def bake(self, filling: str) -> Any:
        session: StoredSession = self.request.session
        session["filling"] = filling
        return self._redirect("/")

    @route("/stream")
    def stream(self) -> Iterator[str]:
        yield "a"

    @hidden
    def helper(self, number: int) -> str | None:
        assert_type(self.request.query("a"), str | None)
        assert_type(self.request.query("a", "b"), str)
        assert_type(self.request.query("a", number), str | int)
        text: str = self.request.query("a")  # type: ignore[assignment]  # wrong
        self.response.set_cookie("a", 5)  # type: ignore[arg-type]  # wrong
        self.request.quary("a")  # type: ignore[attr-defined]  # wrong
        return text


class Shop(App):
    def __init__(self, pies: list[str]) -> None:
        super().__init__(errors="json")
        self.pies = pies

    def pies_(self, page: int = 1) -> list[str]:
        shown = Page.of(self.pies, page)
        assert_type(shown, Page[str])
        return [*shown]


shop = Shop(["apple", "cherry"])
Shop(5)  # type: ignore[arg-type]  # wrong


@shop.get("/below")
def below(number: int) -> str:
    return str(number)


assert_type(below(5), str)


def mail(to: str, subject: str = "") -> None: ...


def members(request: Request, me: Page[int]) -> bool:
    return request.path == "/"


def returns_nothing(request: Request) -> None: ...


def afterwards(request: Request) -> None:
    request.after_response(mail, "ann")
    request.after_response(mail, "ann", "hello")
    request.after_response(print, request.path)
    request.after_response(mail)  # type: ignore[arg-type]  # wrong
    request.after_response(mail, 5)  # type: ignore[arg-type]  # wrong


requires(members, lambda request: request.path == "/")
requires(returns_nothing)  # type: ignore[arg-type]  # wrong
below("5")  # type: ignore[arg-type]  # wrong
shop.get(5)  # type: ignore[arg-type]  # wrong
shop.error("404")  # type: ignore[arg-type]  # wrong


app = Root(
    debug=True,
    threads=4,
    session_backend=SQLiteSessionBackend("sessions.db"),
    security=SecurityDefaults("example.com"),
)
App(debgu=True)  # type: ignore[call-arg]  # wrong
App(threads="4")  # type: ignore[arg-type]  # wrong
App(session_backend="sessions.db")  # type: ignore[arg-type]  # wrong
App(errors="jason")  # type: ignore[arg-type]  # wrong
App(run_in="proces", text="plain")  # type: ignore[arg-type]  # wrong
App(expose="explicit", text="plain", errors="json", session_cookie_samesite="Strict")
app.run(loop="curio")  # type: ignore[arg-type]  # wrong


app.mount("/handlers", shop)
app.mount(5, shop)  # type: ignore[arg-type]  # wrong
app.static("/files", 5)  # type: ignore[arg-type]  # wrong


@app.get("/plain")
def plain() -> str:
    return "plain"


@app.get(5)  # type: ignore[arg-type]  # wrong
def number() -> str:
    return "number"


@app.error(404)
def missing(error: HTTPError) -> str:
    return str(error)


@app.error("404")  # type: ignore[arg-type]  # wrong
def also_missing(error: HTTPError) -> str:
    return str(error)


class Timed(HttpMiddleware):
    needs_session = False


def timed(request: Request) -> Iterator[None]:
    yield


async def timed_async(request: Request) -> AsyncIterator[object]:
    yield "x"


class Hooked(App):
    middlewares = [CSRFMiddleware(), Timed(), timed, timed_async]

    @websocket
    async def chat(self, ws: WebSocket) -> None: ...

    @websocket("/rooms")
    async def rooms(self, ws: WebSocket) -> None: ...

    @run_in("process")
    def compute(self, number: int) -> int:
        return number


class Mistaken(App):
    middlewares = [CSRFMiddleware]  # type: ignore[list-item]  # wrong

    @websocket  # type: ignore[type-var]  # wrong
    def chat(self, ws: WebSocket) -> None: ...

    @run_in("threads")  # type: ignore[arg-type]  # wrong
    def compute(self, number: int) -> int:
        return number


Token = NewType("Token", str)
hooked = Hooked(methods=["GET", "HEAD", "POST"], websocket_origins=("https://example.com",))
hooked.middlewares.append(timed)
hooked.middlewares.append(CSRFMiddleware)  # type: ignore[arg-type]  # wrong
hooked.middlewares.append(CORSMiddleware(origins=["*"], methods={"GET"}))
CORSMiddleware(origins="*")  # type: ignore[arg-type]  # wrong
CORSMiddleware(origins=["*"], methods="GET")  # type: ignore[arg-type]  # wrong
hooked.route("/x", methods=("GET", "POST"))
hooked.route("/x", "GET")  # type: ignore[arg-type]  # wrong
hooked.mount("/y", hooked, "app")
hooked.mount("/x", 5)  # type: ignore[arg-type]  # wrong
hooked.mount("/x", Hooked)  # type: ignore[arg-type]  # wrong
hooked.mount("/z", hooked, "uwsgi")  # type: ignore[arg-type]  # wrong
hooked.health("/health", {"db": bool})
hooked.health("/healthz", {"db": 5})  # type: ignore[dict-item]  # wrong
hooked.provides(StoredSession)
hooked.provides(Token)
hooked.provides(Annotated[StoredSession, "main"])
hooked.provides(StoredSession | None)


@hooked.provides("StoredSession")  # type: ignore[misc, untyped-decorator]  # wrong
@hooked.provides(dict[str, StoredSession] | None)
def session() -> dict[str, StoredSession]:
    return {}


@dataclass
class Pie:
    name: str


class Shelf(App):
    @post
    def add(self, name: str, *, pie: Session[Pie]) -> Pie:
        assert_type(pie, Pie)
        pie.name = name
        pie.name = 5  # type: ignore[assignment]  # wrong
        pie.nome = name  # type: ignore[attr-defined]  # wrong
        return pie

    async def ws_shelf(self, ws: WebSocket, pie: Session[Pie]) -> None:
        await ws.accept()
        assert_type(pie.name, str)


def uses(*values: object) -> None: ...


async def read(request: Request) -> Any:
    """JSON is used as ``Any`` is, as an author knows his documents; only ``await`` is wrong."""
    sent = request.json()
    if sent is None or not sent:
        raise HTTPError(400, "There is nothing.")
    named: dict[str, int] = sent
    listed: list[Pie] = sent
    one: Pie = sent
    text: str | None = sent
    uses(named, listed, one, text, Pie(**sent), Pie(*sent), [Pie(**one) for one in sent["pies"]])
    uses({**sent, "y": 4}, [*sent], sorted(sent), max(sent), dict(sent), list(sent), {"a": sent})
    uses(sent + 1, 1 + sent, -sent, sent / 2, sent < 3, sent | {"a": 4}, int(sent), sent[0])
    uses("x" in sent, len(sent), sent == 1, f"{sent}", sent.x.y, sent["x"]["y"][0], sent["x"] + 1)
    for key, value in sent.items():
        uses(key.upper(), value["x"])
    sent["x"] += 1
    sent.append(4)
    first, second = sent
    return first or second or sent


async def read_kinds(request: Request) -> Any:
    sent = request.json()
    if isinstance(sent, str):
        return sent.upper()
    if isinstance(sent, (int, float)):
        return sent + 1
    if not isinstance(sent, list):
        return sent["x"]
    return "a list"


async def read_by_pattern(request: Request) -> Any:
    sent = request.json()
    match sent:
        case {"x": int(number)}:
            uses(number)
        case str():
            uses("text")
        case _:
            pass
    return request.json("pies", [])[0]


async def awaits(request: Request) -> None:
    first = await request.json()  # type: ignore[operator]  # wrong
    second: dict[str, str] = await request.json()  # type: ignore[operator]  # wrong
    uses(await request.json("pies"))  # type: ignore[operator]  # wrong
    del first, second


App(methods="GET")  # type: ignore[arg-type]  # wrong
App(websocket_origins="*")  # type: ignore[arg-type]  # wrong
route("/x", method="POST")  # type: ignore[arg-type]  # wrong
hooked.route("/x", method="POST")  # type: ignore[arg-type]  # wrong
hooked.run(debug=True)  # type: ignore[arg-type]  # wrong
Query(gt=0)  # type: ignore[arg-type]  # wrong
Query(1)  # type: ignore[arg-type]  # wrong
CORSMiddleware(allow_origins=["*"])  # type: ignore[arg-type]  # wrong
RateLimit("5/minute")  # type: ignore[arg-type]  # wrong
requires(5)  # type: ignore[arg-type]  # wrong
describe(status="201")  # type: ignore[arg-type]  # wrong
SecurityDefaults()  # type: ignore[call-arg]  # wrong
SecurityDefaults(*["a.example", "b.example"])


class Desk(App):
    def __init__(self) -> None:
        super().__init__()
        self.tickets = Tickets()
        self.names: list[str] = []

    @hidden
    def announce(self, text: str) -> int:
        return len(text)


class Tickets(App["Desk"]):
    def index(self) -> str:
        assert_type(self.root, Desk)
        self.root.announce(5)  # type: ignore[arg-type]  # wrong
        return self.root.names[self.root.announce("a ticket")]


class Plain(App):
    def index(self) -> object:
        return self.root.url_for("index")


def serve(app: App) -> App:
    return app


serve(Desk().tickets).mount("/desk", Desk())
serve(App[Desk]())
Tickets().root.nothing()  # type: ignore[attr-defined]  # wrong
