"""A back office: roles, an audit log around everything, CSV, pages of two inner applications."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from micropie import (
    App,
    HTTPError,
    Redirect,
    Request,
    Response,
    flash,
    get,
    hidden,
    post,
    requires,
    template,
)
from micropie.middleware import RateLimit, SecurityDefaults
from micropie.sessions import RedisSessionBackend

audit = logging.getLogger("audit")


@dataclass
class Staff:
    name: str
    roles: frozenset[str]


STAFF = {"ann": Staff("ann", frozenset({"admin", "orders"})), "bo": Staff("bo", frozenset())}


def staff(request: Request) -> Staff:
    found = STAFF.get(request.session.get("name", ""))
    if found is None:
        raise Redirect(request.url_for("/login"))
    return found


Current = Annotated[Staff, staff]


def role(name: str) -> Callable[[Request, Current], bool]:
    def check(request: Request, user: Current) -> bool:
        return name in user.roles

    return check


def audited(request: Request) -> Generator[None, Response, None]:
    response = yield
    if request.method not in ("GET", "HEAD"):
        audit.info("%s %s %s", request.method, request.path, response.status)


class Table(App):
    """Shared by the pages below: a list, and the same as CSV."""

    columns: tuple[str, ...] = ()

    @hidden
    def rows(self) -> Iterator[tuple[object, ...]]:
        raise NotImplementedError

    @get
    def index(self, user: Current) -> str:
        source = "{{ user.name }}{% for row in rows %}<p>{{ row|join(' ') }}</p>{% endfor %}"
        return template(source=source, user=user, rows=self.rows())

    @get
    def export(self) -> Iterator[str]:
        self.response.content_type = "text/csv"
        for row in self.rows():
            line = io.StringIO()
            csv.writer(line).writerow(row)
            yield line.getvalue()


@requires(role("orders"))
class Orders(Table):
    columns = ("number", "total")

    @hidden
    def rows(self) -> Iterator[tuple[object, ...]]:
        yield from ((number, number * 10) for number in range(3))


@requires(role("admin"))
class People(Table):
    columns = ("name",)

    @hidden
    def rows(self) -> Iterator[tuple[object, ...]]:
        yield from ((name,) for name in STAFF)

    @post
    def promote(self, name: str, user: Current) -> Redirect:
        if name not in STAFF:
            raise HTTPError(404, f"Nobody is called {name}.")
        STAFF[name] = Staff(name, STAFF[name].roles | {"orders"})
        flash(f"{name} may see orders, says {user.name}.")
        return Redirect(self.url_for("index"))


class Office(App):
    middlewares = [audited]

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.orders = Orders()
        self.people = People()

    @get
    def index(self, user: Current) -> str:
        return template(source="Hello {{ name }}", name=user.name)

    @get
    def login(self) -> str:
        return self.render("login.html")

    @RateLimit(5, per=60)
    @post("/login")
    def log_in(self, name: str, password: str) -> Redirect:
        if name not in STAFF or password != "sesame":
            raise HTTPError(403, "Name or password is wrong.")
        self.request.session.regenerate()
        self.request.session["name"] = name
        return Redirect(self.url_for("index"))

    @post
    def logout(self) -> Redirect:
        self.request.session.clear()
        return Redirect(self.url_for("login"))


app = Office(
    session_backend=RedisSessionBackend("redis://localhost:6379/0"),
    security=SecurityDefaults("office.example"),
)
