"""``micropie check`` names what an application keeps in its threads if its requests change them, and
what it keeps in its tasks if a request has several of them under WSGI.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from threading import local
from types import FunctionType, ModuleType
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import scoped_session, sessionmaker

from micropie import App, HttpMiddleware, Request, get, post
from micropie.cli.check import _notes
from micropie.middleware import Compress, Timeout
from tests.support.modules import made_module


def unit(_: Request) -> Iterator[None]:
    yield


async def log_in(_: Request) -> AsyncIterator[None]:
    yield


class Unit(HttpMiddleware):
    def after_request(self, *_: Any) -> None: ...


class Root(App):
    def index(self) -> str:
        return "page"


class Shop(Root):
    @post
    def order(self, name: str) -> str:
        return name


class Page(Root):
    @get
    async def page(self) -> str:
        return "page"


class Plain(Root):
    @get
    def page(self) -> str:
        return "page"


class Limited(Root):
    @get
    @Timeout(5)
    def page(self) -> str:
        return "page"


class PeeweeDatabase:
    """What keeps its connection as ``peewee.Database`` does."""

    __module__ = "peewee"

    def __init__(self) -> None:
        self._state = local()


def keeping(module: str, **attributes: object) -> object:
    """Return an object of a class in this module, with these attributes."""
    made = type("Database", (), {"__module__": module})()
    vars(made).update(attributes)
    return made


class Lazy:
    """A proxy, like Django's, that loads its object when anything is asked for."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(name)


def own() -> str:
    return "one for each visitor"


class Both(Page):
    """An application with an async handler that gets a resource."""

    @get
    async def show(self, session: AsyncSession) -> str:
        return str(session)


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = made_module("shop")
    monkeypatch.setitem(sys.modules, "shop", made)
    for cls in (Root, Shop, Page, Plain, Limited, Both):
        monkeypatch.setattr(cls, "__module__", "shop")
    return made


@pytest.mark.parametrize(
    ("app", "hooks", "between"),
    [
        (Root, [unit, log_in], "the hook log_in, which is async,"),
        (Root, [Unit(), Timeout(5)], "Timeout"),
        (Shop, [unit], "the body of order"),
        (Page, [unit], "the handler page, which is async,"),
        (Limited, [unit], "Timeout"),
    ],
)
def test_a_thread_local_that_a_request_may_lose_is_reported(
    module: ModuleType, app: Callable[[], App], hooks: list[Any], between: str
) -> None:
    vars(module).update(
        unused=local, data=local(), orm=scoped_session(sessionmaker()), db=PeeweeDatabase(),
        by_visitor=scoped_session(sessionmaker(), scopefunc=own),
    )  # fmt: skip
    made = app()
    made.middlewares += hooks
    end = (
        f"keeps its data in the thread, but {between} may change the thread between the def parts "
        "of a request: open it in a provider of def handlers"
    )
    assert [*_notes(made)] == [f"shop.data {end}", f"shop.orm {end}", f"shop.db {end}"]


def test_a_thread_local_of_the_application_object_is_reported(module: ModuleType) -> None:
    made = Page()
    made.middlewares.append(unit)
    made.orm = scoped_session(sessionmaker())
    (note,) = _notes(made)
    assert note.startswith("Page.orm keeps its data in the thread, but the handler page")


def test_a_generated_handler_without_a_module_is_passed_over(module: ModuleType) -> None:
    for name in ("made-up", None):
        made = Page()
        handler = FunctionType((lambda: "x").__code__, {"__name__": name})
        made.get("/generated")(handler)
        made.middlewares.append(unit)
        vars(module)["data"] = local()
        (note,) = _notes(made)
        assert note.startswith("shop.data keeps its data in the thread")


@pytest.mark.parametrize("make", [Root, Plain])
@pytest.mark.parametrize("hooks", [[], [unit], [unit, Compress()], [log_in, Timeout(5)]])
def test_a_thread_local_that_a_request_keeps_is_not_reported(
    module: ModuleType, hooks: list[Any], make: type[App]
) -> None:
    vars(module)["data"] = local()
    app = make()
    app.middlewares += hooks
    assert [*_notes(app)] == []


def test_libraries_that_keep_their_connection_in_the_thread_are_reported(
    module: ModuleType,
) -> None:
    connections = keeping("django.utils.connection", _connections=keeping("asgiref.local"))
    vars(module).update(
        transaction=ModuleType("django.db.transaction"), unused=module,
        connections=connections,
        connection=keeping("django.utils.connection", _connections=connections),
        pony=keeping("pony.orm.core", _dblocal=local()),
        table=keeping("dataset.database", local=local()),
        other=keeping("dataset.database"), lazy=Lazy(),
    )  # fmt: skip
    app = Page()
    app.middlewares.append(unit)
    assert [note.partition(" ")[0] for note in _notes(app)] == [
        *("shop.transaction", "shop.connections", "shop.connection", "shop.pony", "shop.table")
    ]
