"""gevent, whose greenlets take the place of threads: `def` code works, async code is refused."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest

from micropie import App, EventStream
from micropie._core.execution import background
from tests.support.clients import MakeClient
from tests.support.waiting import until

PATCHED = SimpleNamespace(is_module_patched=lambda name: name == "threading")
UNPATCHED = SimpleNamespace(is_module_patched=lambda name: False)


@pytest.fixture(params=["patch_all", "uWSGI's loop"])
def gevent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after ``gevent.monkey.patch_all()``, or under ``uwsgi --gevent``, which patches nothing, in
    a process without a loop.
    """
    if request.param == "patch_all":
        monkeypatch.setitem(sys.modules, "gevent.monkey", PATCHED)
    else:
        monkeypatch.setitem(sys.modules, "gevent.monkey", UNPATCHED)
        monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(loop=b"gevent"))
    monkeypatch.setattr(background._loops, "_running", {})


class Root(App):
    seen: list[Any]

    def index(self) -> str:
        return "index"

    def chunks(self) -> Any:
        yield "chunk"

    async def waits(self) -> str:
        raise AssertionError("it does not begin")

    async def achunks(self) -> AsyncIterator[str]:
        yield "chunk"

    def events(self) -> Any:
        return EventStream(iter(["event"]))

    def later(self) -> str:
        for function in (self._fails, self._waits, self._ends):
            self.request.after_response(function)
        return "later"

    def _fails(self) -> None:
        raise KeyError("first")

    async def _waits(self) -> None:
        raise AssertionError("it does not begin")

    def _ends(self) -> None:
        self.seen.append(self.request.path)


@pytest.mark.usefixtures("gevent")
def test_a_def_handler_works_under_greenlets(connect: MakeClient) -> None:
    client = connect(Root(), "wsgi")
    assert [client.get("/").text, client.get("/chunks").text] == ["index", "chunk"]


@pytest.mark.usefixtures("gevent")
@pytest.mark.parametrize("path", ["waits", "achunks", "events"])
def test_async_code_under_greenlets_raises_a_clear_error(
    connect: MakeClient, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert connect(Root(), "wsgi").get(f"/{path}").status_code == 500
    assert "start gunicorn with -k gthread" in caplog.text


def test_uwsgi_with_threads_runs_async_code(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gevent.monkey", UNPATCHED)
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(loop=None))
    client = connect(Root(), "wsgi")
    answers = [client.get("/achunks").text, client.get("/events").text]
    assert answers == ["chunk", ": \n\ndata: event\n\n"]


@pytest.mark.usefixtures("gevent")
def test_after_response_functions_need_no_loop_under_greenlets(
    connect: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Root()
    app.seen = []
    assert connect(app, "wsgi").get("/later").text == "later"
    until(lambda: app.seen == ["/later"])
    assert "_fails, after the response, failed" in caplog.text
    assert "_waits, after the response, failed" in caplog.text
    assert "-k gthread" in caplog.text
