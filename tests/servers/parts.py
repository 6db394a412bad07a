"""A site of several applications that link to each other, with all that an outer application gives
an inner one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from micropie import (
    App,
    HttpMiddleware,
    Redirect,
    Request,
    WebSocket,
    get,
    post,
    requires,
    websocket,
)
from tests.servers.paths import HOST, Paths


class Db:
    name = "db"


class Token(HttpMiddleware):
    """Has a scheme for documents, and lets everybody in."""

    security_scheme = {"type": "http", "scheme": "bearer"}  # noqa: RUF012


class Shop(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.told: list[str] = []

    @get
    def index(self, db: Db) -> str:
        return self.render("shop.html", db=db)

    @get
    def show(self, pie: str, db: Db) -> str:
        return f"{pie} of {db.name}, {self.url_for('/office.desk')}"

    @post
    def buy(self, db: Db) -> Redirect:
        self.request.after_response(self._tell)
        return Redirect(self.url_for("show", db.name))

    def _tell(self) -> None:
        self.told.append(f"{self.url_for('show', 'pie')} {self.url_for('home')}")

    @get
    def tells(self) -> list[str]:
        return self.told

    @websocket
    async def ws_news(self, ws: WebSocket, db: Db) -> None:
        await ws.accept()
        await ws.send_text(f"{db.name} {self.url_for('ws_news')} {self.url_for('home')}")

    def helper(self) -> str:
        return "is no URL: the site exposes explicit ones"

    @get
    def broken(self) -> str:
        return self.url_for("helper")


class Office(App):
    @get
    def desk(self, db: Db) -> str:
        return f"{self.request.session['user']} {self.url_for('desk')} {db.name}"


class Site(App):
    def __init__(self) -> None:
        super().__init__(
            templates=Path(__file__).parent / "parts_templates",
            errors="json",
            expose="explicit",
            security=False,
        )
        self.shop, self.office = Shop(docs=True), requires(self._signed_in)(Office())
        self.paths = Paths()
        self.mount("/api/v1", Shop(docs=True))
        self.mount("/old", old)
        self.middlewares += [self._home, Token()]
        self.provides(Db)(Db)

    def _signed_in(self, request: Request) -> Redirect | bool:
        return "user" in request.session or Redirect(self.office.url_for("home"))

    def _home(self, request: Request) -> Iterator[None]:
        yield
        if request.host != HOST:  # whose links to the others would need a base_url
            request.response.headers["X-Home"] = self.shop.url_for("/home")

    @get
    def home(self) -> str:
        return self.shop.url_for("show", "pie")

    @post
    def sign_in(self, user: str) -> Redirect:
        self.request.session["user"] = user
        return Redirect(self.url_for("office.desk"))


def old(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode("latin-1")]


app = Site()
