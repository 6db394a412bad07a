"""``Outside``, ``run_gunicorn``, and what a list of routes and commands tells."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest

from micropie import App, BindingError, Request, SetupError, command, get, run_in
from micropie import request as current_request
from micropie.extensions import Inspector, Outside, run_gunicorn
from micropie.wsgi.gunicorn import post_worker_init, worker_exit


class Oven: ...


class Inner(App):
    @command
    async def clean_up_(self) -> str:
        return "clean"


class Kitchen(App):
    inner = Inner()

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.startup_handlers.append(lambda: self.events.append("started"))
        self.shutdown_handlers.append(lambda: self.events.append("stopped"))
        self.provides(Oven)(self._opened)

    def _opened(self, *, degrees: int = 180) -> Iterator[Oven]:
        self.events.append(f"open at {degrees}")
        yield Oven()
        self.events.append("closed")

    @command
    def bake(self, oven: Oven, kind: str, *more: str, count: int = 1) -> list[object]:
        assert current_request.app is self
        return [kind, *more, count]

    @command
    def fail(self, oven: Oven) -> None:
        raise KeyError("pie")


def test_commands_are_called_like_handlers() -> None:
    app = Kitchen()
    outside = Outside(app)
    entries = {name: entry for name, _, entry in outside.commands()}
    assert [*entries] == ["bake", "fail", "inner.clean-up"]
    assert app.events == []
    with outside:
        request = outside.request
        assert current_request.app is app
        values = [("count", "3"), ("degrees", "90")]
        assert outside.call(entries["bake"](), values, ["apple", "plum"]) == ["apple", "plum", 3]
        assert outside.call(entries["inner.clean-up"]()) == "clean"
        with pytest.raises(KeyError, match="pie"):
            outside.call(entries["fail"]())
        with pytest.raises(BindingError):
            outside.call(entries["bake"](), [("count", "x")], ["apple"])
        assert isinstance(request, Request)
    assert app.events == ["started", "open at 90", "closed", "open at 180", "stopped"]
    assert Inspector(app).routes() == []


def test_a_command_whose_parameters_cannot_be_filled_is_refused() -> None:
    app = App()

    @app.command
    def wrong(thing: type) -> None: ...

    [(name, function, entry)] = Outside(app).commands()
    assert (name, function) == ("wrong", wrong)
    with pytest.raises(SetupError, match="micropie can't convert text to that"):
        entry()


def test_a_traceback_begins_at_the_author_s_first_line() -> None:
    outside = Outside(Kitchen())
    entry = {name: entry for name, _, entry in outside.commands()}["fail"]()
    with outside, pytest.raises(KeyError) as caught:
        outside.call(entry)
    caught.value.__traceback__ = caught.value.__traceback__.tb_next  # type: ignore[union-attr]
    head, first, *_, last, end = Inspector.traceback_of(caught.value).split("\n")
    assert (head, last, end) == ("Traceback (most recent call last):", "KeyError: 'pie'", "")
    assert first.endswith(", in fail")


def test_a_failed_start_is_undone() -> None:
    app = Kitchen()
    app.startup_handlers.append(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError), Outside(app):
        raise AssertionError("it has not started")
    with pytest.raises(LookupError):
        _ = current_request.app


class Root(App):
    def blocks(self) -> str:
        return str(self.request.session)

    async def waits(self) -> str:
        return "waited"

    def streams(self) -> Iterator[str]:
        yield "streamed"

    async def streams_on_loop(self) -> AsyncIterator[str]:
        yield "streamed"

    @run_in("process")
    def works(self) -> str:
        return "worked"

    @run_in("process")
    def streams_from_pool(self) -> Iterator[str]:
        yield "streamed"


def test_a_route_entry_has_its_location_and_placement() -> None:
    app = Root()
    found = {one.route.name: one for one in Inspector(app).routes()}
    given = {name: one.runs_in for name, one in found.items()}
    assert given == {
        "blocks": "thread",
        "waits": "loop",
        "streams": "thread",
        "streams_on_loop": "loop",
        "works": "process",
        "streams_from_pool": "process",
    }
    assert found["blocks"].place == Inspector.place_of(Root.blocks)
    assert [name for name, one in found.items() if one.mentions("session")] == ["blocks"]


def test_lost_routes_are_reported() -> None:
    class Shelf(App):
        @get("/pies")
        def pies(self) -> str:
            return "pies"

    class Better(Shelf):
        def pies(self) -> str:
            return "better"

    assert [dict(one.lost_routes) for one in Inspector(Shelf()).applications()] == [{}]
    [found] = Inspector(Better()).applications()
    assert [*found.lost_routes] == ["pies"]
    has_route = Inspector.has_route
    assert (has_route(Shelf.pies), has_route(Better.pies), has_route(None)) == (True, False, False)


def test_open_streams_end_with_their_gunicorn_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    class Settings(dict[str, Any]):
        set = dict.__setitem__

    class BaseApplication:
        def __init__(self) -> None:
            self.cfg = Settings()
            self.load_config()

        def load_config(self) -> None:
            raise NotImplementedError

        def load(self) -> object:
            raise NotImplementedError

        def run(self) -> None:
            served.append((self.load(), {**self.cfg}))

    served: list[tuple[object, dict[str, Any]]] = []
    base = ModuleType("gunicorn.app.base")
    vars(base)["BaseApplication"] = BaseApplication
    monkeypatch.setitem(sys.modules, "gunicorn.app.base", base)
    app = App()
    run_gunicorn(app, {"workers": 2})
    hooks = {"post_worker_init": post_worker_init, "worker_exit": worker_exit}
    assert served == [(app, {**hooks, "workers": 2})]
