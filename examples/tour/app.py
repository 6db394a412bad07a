"""A tour of micropie: a page that shows the source of each feature beside its live response.

Any server can serve it: ``micropie run examples.tour.app:app``, or ``hypercorn -k trio``,
``granian``, ``gunicorn``... The page shows the docstring of a handler as the title and the text of
its feature; see ``page.py``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import anyio
from msgspec import Meta

from examples.tour.page import Feature, Form, Try, facts, shown
from micropie import (
    App,
    BindingErrors,
    EventStream,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Request,
    WebSocket,
    describe,
    escape,
    event,
    get,
    max_body_size,
    post,
    reads_body,
    run_in,
    static_file,
    template,
    where,
)
from micropie.middleware import SecurityDefaults

HERE = Path(__file__).parent
SITE = HERE.parent.parent / "build" / "site"  # what `make docs` builds


@dataclass
class Order:
    pie: Literal["apple", "plum"]
    pieces: Annotated[int, Meta(ge=1, le=12)] = 1


Limit = Annotated[int, Meta(ge=2, le=50_000)]
Name = Annotated[str, Meta(min_length=1, max_length=40)]
Guests = Annotated[int, Meta(ge=1, le=12)]


@dataclass
class Oven:
    degrees: int = 20


def hot_oven() -> Iterator[Oven]:
    """Resources

    Connections, transactions and files must be closed after use. If a parameter has the resource's
    type, a provider opens one for the request, and closes it after the handler. If the handler
    raises an exception, it is raised again at the provider's `yield`.
    """
    oven = Oven(degrees=200)
    try:
        yield oven
    finally:
        oven.degrees = 20


def is_prime(number: int) -> bool:
    return all(number % divisor for divisor in range(2, int(number**0.5) + 1))


class Blog(App):
    """An application inside

    An attribute that is an `App` serves the URLs under the attribute's name: here `tour.blog`.
    `default` handles all paths that no other handler matches.
    """

    posts = ("Hello", "Second thoughts")

    @shown
    def index(self) -> list[str]:
        numbers = range(len(self.posts))
        return [self.url_for("entry", number=n) for n in numbers]

    @get("/posts/<number:int>")
    @shown
    def entry(self, number: int) -> dict[str, str]:
        if not 0 <= number < len(self.posts):
            raise HTTPError(404, "There is no such post.")
        return {"title": self.posts[number]}

    @shown
    def default(self, *segments: str) -> tuple[int, str]:
        return 404, f"Nothing is at {escape('/'.join(segments))}."


class Tour(App):
    """A tour of micropie."""

    def __init__(self) -> None:
        super().__init__(
            docs=True,
            templates=HERE,
            security=SecurityDefaults(
                "localhost", "127.0.0.1", "::1", csp="default-src 'self'; img-src 'self' data:"
            ),
        )
        self.blog = Blog()
        self.provides(Oven)(hot_oven)
        self.static("/assets", HERE / "assets")
        self.middlewares.append(Closed())

    @describe(include_in_schema=False)
    async def index(self) -> Any:
        return self.render(
            "page.html", features=FEATURES, facts=facts(self.request), has_manual=SITE.exists()
        )

    @shown
    async def greet(
        self,
        name: str = "World",
        age: int | None = None,
    ) -> str:
        """Names are URLs

        A public method handles the path of its name. Its parameters are filled from the path and
        the query, and checked against their annotations. Text is sent as HTML, so escape values
        that come from a client.
        """
        hello = f"Hello, {escape(name)}"
        return f"{hello}!" if age is None else f"{hello}, {age}!"

    @post
    @shown
    def order(self, order: Order) -> dict[str, Any]:
        """JSON, validated

        A dataclass describes a body, which may be JSON or a form. Invalid input gets a 400 that
        says what was expected. The [OpenAPI document](/docs) comes from the same annotations.
        """
        return {"order": order, "price": order.pieces * 3}

    @get("/users/<number:int>")
    @shown
    def user(self, number: int) -> dict[str, Any]:
        """Explicit routes

        Use `@get` and similar decorators for paths that a method's name can't express. The most
        specific route wins, whatever the order of definition. `url_for` returns a handler's path.
        """
        here = self.url_for("user", number=number)
        return {"user": number, "path": here}

    @shown
    async def on_loop(self) -> str:
        """Where code runs

        An `async def` runs on the event loop. A `def` may block, so it runs in a thread. With
        `@run_in("loop")`, a short `def` runs on the loop, and with `@run_in("process")`, a long
        computation runs in another process. All of this works under WSGI, too.
        """
        return f"on the {where()}"

    @shown
    def in_thread(self) -> str:
        return f"in a {where()}, which may block"

    @run_in("loop")
    @shown
    def quick(self) -> str:
        return f"at once, in the {where()}"

    @get
    @run_in("process")
    @shown
    def primes(self, limit: Limit = 20_000) -> dict[str, Any]:
        primes = [n for n in range(2, limit) if is_prime(n)]
        return {"ran in a": where(), "primes": len(primes)}

    @shown
    def json(self) -> dict[str, Any]:
        """Responses

        Text is sent as HTML, dicts and lists as JSON. A tuple adds a status and headers. You can
        return or raise `Redirect` and `HTTPError` anywhere.
        """
        return {"text": "é", "list": [1, 2.5, True, None]}

    @shown
    def teapot(self) -> tuple[int, str, dict[str, str]]:
        return 418, "short and stout", {"X-Spout": "1"}

    @shown
    def old(self) -> Redirect:
        return Redirect(self.url_for("greet", "you"))

    @shown
    def divide(self, dividend: int, divisor: int) -> str:
        """Errors

        Write `@app.error` above the handler for an exception. An unhandled exception is logged with
        its traceback, and the client gets a plain 500. For errors, a browser gets a page, and a
        program gets a problem document (RFC 9457).
        """
        return str(dividend // divisor)

    @shown
    def crash(self) -> NoReturn:
        raise RuntimeError("only the log has this")

    @post
    @shown
    def book(
        self,
        errors: BindingErrors,
        name: Name,
        guests: Guests,
    ) -> tuple[int, dict[str, str]]:
        """Forms with errors

        If a handler has a parameter for the errors, it is called even if the form is invalid. It
        can show the form again, with a sentence for each field.
        """
        if errors:
            return 422, {one.parameter: str(one) for one in errors}
        return 200, {"booked": f"a table for {guests}", "for": name}

    @shown
    def card(self, name: str = "<b>Ann</b>") -> str:
        """Templates

        Jinja2 templates come from text or from files. Values are escaped, so markup that a client
        sends is shown as text.
        """
        return template(source="<h3>{{ name }}</h3>\n", name=name)

    @shown
    def bake(self, oven: Oven, pie: str = "apple") -> dict[str, Any]:
        return {"pie": pie, "degrees": oven.degrees}

    @post
    @shown
    async def like(self) -> str:
        """Sessions

        A session is a dict that is stored for each client: in memory, SQLite, Redis or a signed
        cookie. Simultaneous changes are merged.
        """
        session = self.request.session
        session["likes"] = session.get("likes", 0) + 1
        return f"Your likes: {session['likes']}"

    async def countdown(self, start: int = 5) -> AsyncIterator[str]:
        """Streams

        The chunks of a generator, `async` or not, are sent one by one. The response starts after
        the first chunk, so an earlier error still gets an error page. If the client disconnects,
        the generator is closed.
        """
        for number in range(min(start, 9), 0, -1):
            yield f"{number} from the {where()}\n"
            await anyio.sleep(0.3)
        yield "lift-off\n"

    async def clock(self) -> EventStream:
        """Server-sent events

        A stream of events stays open, with heartbeats. If the connection is lost, the browser
        connects again and sends the id of the last event that it received.
        """
        last = self.request.last_event_id or ""
        number = int(last) if last.isdecimal() else 0
        return EventStream(self._ticks(number))

    async def _ticks(self, number: int) -> AsyncIterator[object]:
        while True:
            number += 1
            tick = {"tick": number, "on the": where()}
            yield event(tick, id=number)
            await anyio.sleep(1)

    async def ws_room(self, ws: WebSocket) -> None:
        """WebSockets and channels

        A channel sends each message to all subscribers: WebSockets and event streams, with Redis
        also those of other workers. Open this page in two tabs.
        """
        await ws.accept()
        await ws.forward(self.channels.subscribe("room"))
        while True:  # ConnectionClosed ends this when the client disconnects
            message = {"said": await ws.receive_text(), "on the": where()}
            await self.channels.publish("room", message)

    @post
    @max_body_size(1024**3)
    @reads_body
    @shown
    async def upload(self) -> list[dict[str, Any]]:
        """Uploads with progress

        The handler gets the parts of a form as they arrive. They are never stored, so the process
        needs little memory for files of any size.
        """
        files = []
        async for part in self.request.parts():
            size, digest = 0, sha256()
            async for chunk in part:
                size += len(chunk)
                digest.update(chunk)
            short = digest.hexdigest()[:16]
            files.append({"bytes": size, "sha256": short})
        return files


class Closed(HttpMiddleware):
    """Middleware

    Hooks run before and after every handler of the whole site or of a part of it. This page uses
    `SecurityDefaults`, which checks hosts and forms and sends security headers.
    """

    def before_request(self, request: Request) -> Any:
        if request.path == "/closed":
            return {
                "status": 503,
                "body": "At lunch.",
                "headers": [("Retry-After", "3600")],
            }
        return None

    def after_request(
        self,
        request: Request,
        status: int,
        body: Any,
        headers: Any,
    ) -> None:
        headers.append(("X-Tour", "micropie"))


def old_shop(environ: Any, start_response: Any) -> list[bytes]:
    """Other applications

    You can mount any WSGI or ASGI application under a prefix, with both kinds of server: Flask,
    Django, CherryPy, Bottle, FastAPI. So an old site continues to run while you write a new one.
    """
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"WSGI, below {environ['SCRIPT_NAME']}\n".encode()]


async def new_shop(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        headers = [(b"content-type", b"text/plain")]
        start = {"type": "http.response.start", "status": 200}
        await send({**start, "headers": headers})
        text = f"ASGI, below {scope['root_path']}\n".encode()
        await send({"type": "http.response.body", "body": text})


class Manual(App):
    """The documentation's site.

    Its pages contain scripts, and its playground runs WebAssembly, so its policy allows both.
    """

    def __init__(self) -> None:
        scripts = "'self' 'unsafe-inline' 'wasm-unsafe-eval'"
        csp = (
            "default-src 'self'; img-src 'self' data:; style-src 'self' "
            f"'unsafe-inline'; script-src {scripts}"
        )
        super().__init__(security=SecurityDefaults("localhost", "127.0.0.1", "::1", csp=csp))

    def index(self) -> Redirect:
        return Redirect(self.url_for("page", path="index.html"))

    @get("/<path:path>")
    def page(self, path: str) -> Any:
        return static_file(path, root=SITE)


app = Tour()
if SITE.exists():
    app.mount("/manual", Manual())
app.mount("/shop/old", old_shop)
app.mount("/shop/new", new_shop, kind="asgi")


@app.error(ZeroDivisionError)
def no_division() -> tuple[int, str]:
    return 400, "Nobody can divide by zero."


GOOD = '{"pie": "apple", "pieces": 2}'
WRONG = '{"pie": "mud", "pieces": 2}'

FEATURES = [
    Feature(
        [Tour.greet],
        [Try("/greet"), Try("/greet/Ann"), Try("/greet/Ann?age=41"), Try("/greet?age=old")],
    ),
    Feature([Order, Tour.order], [Try("/order", "POST", GOOD), Try("/order", "POST", WRONG)]),
    Feature([Tour.user], [Try("/users/7"), Try("/users/x")]),
    Feature([Blog], [Try("/blog"), Try("/blog/posts/1"), Try("/blog/some/where")]),
    Feature(
        [Tour.on_loop, Tour.in_thread, Tour.quick, Tour.primes],
        [Try("/on_loop"), Try("/in_thread"), Try("/quick"), Try("/primes")],
    ),
    Feature([Tour.json, Tour.teapot, Tour.old], [Try("/json"), Try("/teapot"), Try("/old")]),
    Feature(
        [Tour.divide, no_division, Tour.crash],
        [Try("/divide/7/2"), Try("/divide/1/0"), Try("/crash")],
    ),
    Feature([Tour.book], form=Form("/book", {"name": "", "guests": "99"})),
    Feature([Tour.card], [Try("/card"), Try("/card?name=<script>")]),
    Feature([hot_oven, Tour.bake], [Try("/bake"), Try("/bake?pie=plum")]),
    Feature([Tour.like], [Try("/like", "POST")]),
    Feature([Tour.countdown], [Try("/countdown")]),
    Feature([Tour.clock, Tour._ticks], events="/clock"),
    Feature([Tour.ws_room], socket="/room"),
    Feature([Tour.upload], upload="/upload"),
    Feature([Closed], [Try("/closed"), Try("/greet")]),
    Feature([old_shop, new_shop], [Try("/shop/old/pie"), Try("/shop/new/pie")]),
]
