"""Shops of many tenants, each at a subdomain and with a database of its own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import NewType

from micropie import App, HTTPError, HttpMiddleware, Request, get, post, template
from micropie.middleware import SecurityDefaults, TrustedHosts

Tenant = NewType("Tenant", str)
TENANTS = frozenset({"ann", "bo"})


@dataclass(frozen=True)
class Settings:
    domain: str = "shops.example"
    hosts: list[str] = field(default_factory=lambda: ["shops.example", "*.shops.example"])


class Branded(HttpMiddleware):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.default = "Shops"

    def before_request(self, request: Request) -> None:
        name = request.host.partition(".")[0]
        request.state.brand = name.title() if name in TENANTS else self.default

    def after_request(
        self,
        request: Request,
        status: int,
        response_body: object,
        extra_headers: list[tuple[str, str]],
    ) -> None:
        extra_headers.append(("X-Brand", request.state.brand))


def tenant(request: Request) -> Tenant:
    name = request.host.partition(".")[0]
    if name not in TENANTS:
        raise HTTPError(404, "There is no such shop.")
    return Tenant(name)


class Shop(App):
    @get
    def index(self, tenant: Tenant, db: sqlite3.Connection, q: str = "") -> str:
        pies = db.execute("select name from pies where name like ?", [f"%{q}%"]).fetchall()
        return template(source="{{ brand }}: {{ pies|join(', ') }}", brand=tenant, pies=pies)

    @post
    def order(self, pie: str, db: sqlite3.Connection, count: int = 1) -> dict[str, object]:
        db.execute("insert into orders values (?, ?)", [pie, count])
        return {"pie": pie, "count": count}


class Portal(App):
    def __init__(self, settings: Settings) -> None:
        super().__init__(
            base_url=f"https://{settings.domain}", security=SecurityDefaults(*settings.hosts)
        )
        self.settings = settings
        self.middlewares.append(Branded(settings))
        self.shops = Shop(host=f"*.{settings.domain}")

    @get
    def index(self) -> dict[str, list[str]]:
        return {"shops": [f"https://{one}.{self.settings.domain}/" for one in sorted(TENANTS)]}


def make_app(settings: Settings | None = None) -> App:
    app = Portal(settings or Settings())
    app.provides(Tenant)(tenant)
    app.provides(sqlite3.Connection)(connection)
    return app


def connection(tenant: Tenant) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"{tenant}.db", check_same_thread=False)) as db:
        yield db
        db.commit()


app = make_app()
__all__ = ["TrustedHosts", "app", "make_app"]
