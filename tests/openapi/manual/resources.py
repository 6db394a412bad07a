"""What handlers need: classes, functions that need others, what is closed after the handler, checks
with parameters, a database, state of the application, applications inside.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from micropie import (
    App,
    Cookie,
    Header,
    HTTPError,
    Query,
    Request,
    delete,
    describe,
    get,
    patch,
    post,
    requires,
)
from micropie.openapi import Docs


@dataclass
class Commons:
    q: str | None
    skip: int
    limit: int


def commons(
    q: str | None = None, skip: int = 0, limit: Annotated[int, msgspec.Meta(le=100)] = 100
) -> Commons:
    return Commons(q, skip, limit)


def last_query(commons: Annotated[Commons, commons], last: Annotated[str, Cookie()] = "") -> str:
    return commons.q or last


class Dependencies(App):
    """Parameters that several handlers share, and functions that need others."""

    @get
    def items(self, commons: Annotated[Commons, commons]) -> Commons:
        return commons

    @get
    def users(self, commons: Annotated[Commons, commons]) -> list[int]:
        return [commons.skip, commons.limit]

    @get
    def searched(self, query: Annotated[str, last_query]) -> dict[str, str]:
        return {"query": query}


class Opened:
    def __init__(self) -> None:
        self.is_open = True


def opened() -> Iterator[Opened]:
    resource = Opened()
    try:
        yield resource
    except KeyError:
        raise HTTPError(409, "The owner is another.") from None
    finally:
        resource.is_open = False


class Yielded(App):
    """A resource that is closed after the handler, and sees its exception."""

    @get("/items/<key>")
    @describe(responses={409: "The owner is another."})
    def item(self, key: str, resource: Annotated[Opened, opened]) -> dict[str, bool]:
        return {"is_open": {"pie": resource.is_open}[key]}


@dataclass
class Token:
    text: str


def token(x_token: Annotated[str, Header()]) -> Token:
    return Token(x_token)


def with_token(request: Request, token: Annotated[Token, token]) -> bool:
    return token.text == "sesame"


@requires(with_token)
class Checked(App):
    """Checks for each path, whose parameters are those of the request."""

    @get
    def items(self) -> list[dict[str, str]]:
        return [{"item": "Portal Gun"}]


@dataclass
class NewHero:
    name: str
    age: Annotated[int, msgspec.Meta(ge=0, le=200)] | None = None
    secret_name: str = ""


@dataclass
class Hero:
    id: int
    name: str
    age: int | None


class HeroChanges(msgspec.Struct):
    name: str | msgspec.UnsetType = msgspec.UNSET
    age: int | msgspec.UnsetType | None = msgspec.UNSET


class Heroes(App):
    """A table: rows are made, listed, changed and removed."""

    def __init__(self) -> None:
        super().__init__()
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.row_factory = sqlite3.Row
        self._database.execute(
            "create table heroes (id integer primary key, name text, age integer, secret_name text)"
        )
        self.provides(sqlite3.Connection)(self._transaction)

    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._database:
            yield self._database

    def _row(self, db: sqlite3.Connection, number: int) -> sqlite3.Row:
        row: sqlite3.Row | None = db.execute(
            "select * from heroes where id = ?", [number]
        ).fetchone()
        if row is None:
            raise HTTPError(404, f"There is no hero {number}.")
        return row

    @post("/")
    def create(self, db: sqlite3.Connection, hero: NewHero) -> tuple[Literal[201], Hero]:
        values = [hero.name, hero.age, hero.secret_name]
        made = db.execute("insert into heroes (name, age, secret_name) values (?, ?, ?)", values)
        return 201, Hero(made.lastrowid or 0, hero.name, hero.age)

    @get("/")
    @describe(response_model=list[Hero])
    def all(
        self,
        db: sqlite3.Connection,
        offset: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0,
        limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100,
    ) -> object:
        rows = db.execute("select * from heroes limit ? offset ?", [limit, offset]).fetchall()
        return [dict(row) for row in rows]

    @get("/<number:int>")
    @describe(response_model=Hero)
    def show(self, db: sqlite3.Connection, number: int) -> object:
        return dict(self._row(db, number))

    @patch("/<number:int>")
    @describe(response_model=Hero)
    def change(self, db: sqlite3.Connection, number: int, changes: HeroChanges) -> object:
        self._row(db, number)
        for name, value in msgspec.structs.asdict(changes).items():
            if value is not msgspec.UNSET:
                db.execute(f"update heroes set {name} = ? where id = ?", [value, number])
        return dict(self._row(db, number))

    @delete("/<number:int>")
    @describe(status=204)
    def remove(self, db: sqlite3.Connection, number: int) -> tuple[int, None]:
        if number > 1:  # the tests go on with the first one
            self._row(db, number)
            db.execute("delete from heroes where id = ?", [number])
        return 204, None


class Stateful(App):
    """What is opened when the application starts."""

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        self.state.answers = {"everything": 42}
        yield
        self.state.answers.clear()

    @get
    def predict(self, x: Annotated[float, msgspec.Meta(le=1e9, ge=-1e9)]) -> dict[str, float]:
        return {"result": self.state.answers["everything"] * x}


class Counting(App):
    """An application inside, with a document of its own."""

    @get
    def count(self, up_to: Annotated[int, msgspec.Meta(ge=1, le=9)] = 3) -> list[int]:
        return [*range(up_to)]


class SubApplications(App):
    counting = Counting(docs=Docs(title="Counting", version="2.0"))

    @get
    def main(self) -> dict[str, str]:
        return {"message": "Hello from the main application"}


def locale(
    accept_language: Annotated[str, Header()] = "en", lang: Annotated[str, Query()] = ""
) -> str:
    return lang or accept_language


class Layers(App):
    """A parameter that each handler below has, in the class of the application."""

    @get
    def greeting(self, locale: Annotated[str, locale]) -> dict[str, str]:
        return {"locale": locale}
