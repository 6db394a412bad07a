"""The basics in one application, which ``test_servers.py`` asks under every server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from html import escape
from io import BytesIO
from typing import Any, Literal

from pydantic import BaseModel

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Request,
    Response,
    UploadFile,
    WebSocket,
    get,
    hidden,
    post,
    request,
    route,
    run_in,
)
from micropie.middleware import SecurityDefaults


class Order(BaseModel):
    """A body, JSON or a form: its fields are converted and checked before the handler runs."""

    item: str
    pieces: int = 1
    colour: Literal["red", "green"] = "green"


class Blog(App):
    """An inner application: it answers below the attribute's name, /blog/..."""

    posts = ("Hello", "Second thoughts")

    def index(self) -> str:  # /blog
        links = [
            f'<li><a href="{app.url_for("blog.show", number=number)}">{escape(title)}</a>'
            for number, title in enumerate(self.posts)
        ]
        return f"<ul>{''.join(links)}</ul>"

    @get("/posts/<number:int>")
    def show(self, number: int) -> str:  # /blog/posts/0
        if not 0 <= number < len(self.posts):
            raise HTTPError(404, "There is no such post.")
        return f"<h1>{escape(self.posts[number])}</h1>"

    def default(self, *segments: str) -> str:  # /blog/whatever/else
        return f"The blog has nothing at {escape('/'.join(segments))}."


class Basics(App):
    """Public methods are URLs: ``index`` is /, ``greet`` is /greet, /greet/Alice and
    /greet?name=Alice.
    """

    def __init__(self) -> None:
        super().__init__(
            max_body_size=100_000, security=SecurityDefaults("localhost", "127.0.0.1", "::1")
        )
        self.blog = Blog()
        self.middlewares.append(Signed())
        self.startup_handlers.append(self.opened)

    # -- the lifespan: before the first request of each process, and after its last ----------------

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[dict[str, Any]]:
        yield {"started": 0, "motto": "small is tasty"}  # becomes self.state.motto

    @hidden  # public, but not a URL
    async def opened(self) -> None:
        self.state.started += 1

    def status(self) -> dict[str, Any]:
        return {"started": self.state.started, "motto": self.state.motto}

    # -- binding: the path's segments, then names from the query, a form or JSON -------------------

    def index(self) -> str:
        return PAGE

    async def greet(self, name: str = "World", *, age: int | None = None) -> str:
        return f"Hello, {escape(name)}" + ("!" if age is None else f", {age + 1} next year!")

    def add(self, *numbers: float) -> str:  # /add/1/2.5
        return f"{sum(numbers):g}"

    def total(self, numbers: list[int]) -> dict[str, int]:  # /total?numbers=1&numbers=2
        return {"total": sum(numbers)}

    @post
    async def order(self, order: Order) -> dict[str, Any]:
        return {"ordered": order, "price": order.pieces * 3}

    @post
    def sign(self, name: str, message: str = "") -> str:
        return f"<b>{escape(name)}</b> wrote: {escape(message)}"

    @post
    def upload(self, file: UploadFile, note: str = "") -> dict[str, Any]:
        return {
            "name": file.filename,
            "type": file.content_type,
            "size": len(file.read()),
            "note": note,
        }

    # -- explicit routes, for paths that names can't express ---------------------------------------

    @get("/users/<number:int>", name="user")
    async def user(self, number: int) -> dict[str, Any]:
        return {"user": number, "url": self.url_for("user", number=number)}

    @post("/users/<number:int>")
    async def rename(self, number: int, name: str) -> tuple[int, dict[str, Any]]:
        return 201, {"user": number, "name": name}

    @route("/files/<path:path>")
    def files(self, path: str) -> str:
        return f"the path is {escape(path)}"

    # -- where handlers run ------------------------------------------------------------------------

    async def on_loop(self) -> str:
        return "async def: on the event loop; under WSGI on the process's own one"

    def in_thread(self) -> str:
        return "def: may block, so it runs in a worker thread; under WSGI in the server's"

    @run_in("loop")
    def quick(self) -> str:
        return "run_in loop: a def that never blocks, called on the event loop without a thread"

    # -- answers -----------------------------------------------------------------------------------

    def json(self) -> dict[str, Any]:
        return {"text": "é", "number": 1.5, "list": [1, True, None]}

    def nothing(self) -> tuple[int, None]:
        return 204, None

    def teapot(self) -> tuple[int, str, dict[str, str]]:
        return 418, "short and stout", {"X-Spout": "1"}

    def classic(self) -> str:
        self.response.status = 202
        self.response.headers["X-Classic"] = "set on self.response"
        self.response.content_type = "text/plain; charset=utf-8"
        return "accepted\n"

    def download(self) -> Response:
        named = {"Content-Disposition": 'attachment; filename="pie.txt"'}
        return Response(
            BytesIO(b"apples, sugar, flour\n" * 100), headers=named, content_type="text/plain"
        )

    async def countdown(self, start: int = 3) -> AsyncIterator[str]:
        # a client must not choose a stream without an end
        for number in range(min(start, 1000), 0, -1):
            yield f"{number}\n"
        yield "lift-off\n"

    def lines(self) -> Iterator[bytes]:
        for number in range(3):
            yield b"line %d\n" % number

    async def ws_talk(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(f"heard {message!r}")

    # -- errors and redirects ----------------------------------------------------------------------

    def old(self) -> Redirect:
        return self._redirect("/greet/you")

    def forbidden(self) -> None:
        raise HTTPError(403, "This is not for you.")

    def divide(self, dividend: int, divisor: int) -> str:
        # /divide/1/0: answered by the handler of ZeroDivisionError below
        return str(dividend // divisor)

    def crash(self) -> None:
        raise RuntimeError("the client does not see this; the log does")

    # -- cookies and the session -------------------------------------------------------------------

    @get
    def cookie(self) -> str:
        return f"You like {escape(self.request.cookies.get('flavour', 'no cookies'))}."

    # what changes something is a POST: a link on any page could make a browser send a GET
    @post("/cookie")
    def choose(self, flavour: str) -> str:
        self.response.set_cookie("flavour", flavour, max_age=3600)
        return "Thank you."

    @get
    def note(self) -> str:
        return f"You note {escape(self.request.headers.get('x-note', 'nothing'))}."

    def likes(self) -> str:
        return f"likes: {self.request.session.get('likes', 0)}"

    @post
    async def like(self) -> str:
        session = self.request.session
        session["likes"] = session.get("likes", 0) + 1
        return f"likes: {session['likes']}"

    # -- the request's body, as it comes -----------------------------------------------------------

    async def measure(self) -> dict[str, int]:
        return {"bytes": sum([len(chunk) async for chunk in self.request.stream()])}

    def echo(self) -> Response:
        return Response(self.request.read(), content_type="application/octet-stream")

    def anything(self) -> dict[str, Any]:
        document = self.request.json()
        return {"kind": type(document).__name__, "document": document}


class Signed(HttpMiddleware):
    """A hook sees every request before its handler and every answer after it, errors included."""

    def before_request(self, request: Request) -> dict[str, Any] | None:
        if request.path == "/closed":
            return {
                "status": 503,
                "body": "Closed for lunch.",
                "headers": [("Retry-After", "3600")],
            }
        return None

    def after_request(
        self,
        request: Request,
        status: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> None:
        extra_headers.append(("X-Tour", "micropie"))


app = Basics()


@app.get("/hello/<name>")
def hello(name: str) -> str:
    """Plain functions may be handlers too; ``micropie.request`` is the current request."""
    return f"Hello {escape(name)}, you asked for {escape(request.path)}."


@app.error(404)
def not_found(error: HTTPError) -> str:
    return f"<p>{escape(error.message)}: nothing is here. Back to <a href='/'>the tour</a>."


@app.error(ZeroDivisionError)
async def no_division() -> tuple[int, str]:
    return 400, "Nobody can divide by zero."


LINKS = {
    "Names": [
        "/greet",
        "/greet/Alice?age=41",
        "/add/1/2.5",
        "/total?numbers=1&numbers=2",
        "/total?numbers=one",
    ],
    "Explicit routes": ["/users/7", "/files/a/b.txt", "/hello/Bob"],
    "An application inside": ["/blog", "/blog/posts/1", "/blog/some/where"],
    "Where handlers run": ["/on_loop", "/in_thread", "/quick"],
    "Answers": ["/json", "/nothing", "/teapot", "/classic", "/download", "/countdown/5", "/lines"],
    "Errors and redirects": ["/old", "/forbidden", "/nowhere", "/divide/1/0", "/crash"],
    "Cookies, session": ["/cookie", "/likes"],
    "Hooks, lifespan": ["/closed", "/status"],
}

FORMS = """
<form action="/sign" method="post">
  <input name="name" value="Ann" aria-label="name"> <input name="message" value="Nice!" aria-label="message">
  <button>sign</button></form>
<form action="/order" method="post">
  <input name="item" value="pie" aria-label="item"> <input name="pieces" value="2" aria-label="pieces">
  <select name="colour" aria-label="colour"><option>green<option>red</select> <button>order</button></form>
<form action="/upload" method="post" enctype="multipart/form-data">
  <input type="file" name="file" aria-label="file"> <input name="note" aria-label="note"> <button>upload</button></form>
<form action="/cookie" method="post">
  <input name="flavour" value="oat" aria-label="flavour"> <button>choose</button></form>
<form action="/like" method="post"><button>like</button></form>
"""


def page() -> str:
    rows = ""
    for title, urls in LINKS.items():
        links = " ".join(f"<a href='{escape(url)}'>{escape(url)}</a>" for url in urls)
        rows += f"<dt>{title}<dd>{links}"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>micropie: the tour</title>
<style>
  body {{ font: 1rem/1.6 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
  dt {{ font-weight: 600; margin-top: .6rem }} dd {{ margin: 0 }} dd a {{ margin-right: .8rem }}
  form {{ margin: .4rem 0 }} code, a {{ font-family: ui-monospace, monospace; font-size: .9rem }}
</style>
<h1>micropie: the tour</h1>
<p>Each link is answered by a few lines of <code>tests/servers/basics.py</code>.
<dl>{rows}<dt>Forms, uploads, changes</dl>{FORMS}
"""


PAGE = page()
