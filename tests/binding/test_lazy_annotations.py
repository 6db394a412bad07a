"""Annotations with names that are imported for type checkers only: in modules whose annotations are
strings, and in modules where Python 3.14 and newer evaluate them when they are read. Both are
treated alike.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from micropie import App, SetupError
from micropie.testing import TestClient
from tests.cli.in_process import running_in
from tests.support.clients import MakeClient
from tests.support.modules import forget_temporary_modules

SITE = """
from typing import TYPE_CHECKING

from micropie import App, HTTPError, Request, get, requires, run_in
from micropie.middleware import BasicAuth

if TYPE_CHECKING:
    from nowhere import Missing, Other


class Opened:
    pass


def is_member(request: Missing, opened: Opened) -> Other:
    return True


def is_user(name: Missing, password: Other) -> Other:
    return True


class Hooks:
    def before_request(self, request: Missing) -> Other:
        request.state.seen = "seen"


class Legacy:
    def __call__(self, environ: Missing, start_response: Other) -> list[Missing]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"legacy"]


def bridge(application: Missing) -> Other:
    async def served(scope: Missing, receive: Missing, send: Other) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"bridged"})

    return served


async def opening(app: Missing) -> Other:
    yield


def show(text: Missing) -> Other:
    raise NotImplementedError


class Root(App):
    attribute: Missing

    @requires(is_member)
    def index(self, number: int) -> str:
        return f"{number} {self.request.state.seen}"

    def fails(self):
        raise HTTPError(409)

    def later(self):
        self.request.after_response(show, 1, 2)

    @get
    @BasicAuth(is_user)
    def secret(self) -> str:
        return "secret"

    async def ws_chat(self, ws: Missing) -> Other:
        await ws.accept()
        await ws.send_text("hello")

    def _helper(self, one: Missing) -> Other:
        raise NotImplementedError


def make(**settings: Missing) -> Other:
    app = Root(lifespan=opening, **settings)
    app.middlewares.append(Hooks())
    app.provides(Opened)(opened)
    app.error(409)(conflict)
    app.mount("/legacy", Legacy())
    app.mount("/bridged", Legacy(), bridge=bridge)
    return app


def opened() -> Missing:
    return Opened()


def conflict(asked: Request) -> Other:
    return f"conflict at {asked.path}"


app = make()
"""

REFUSED = """
from typing import TYPE_CHECKING, Annotated

from micropie import App, Query, WebSocket

if TYPE_CHECKING:
    from nowhere import Missing


class Parameter(App):
    def index(self, one: Missing):
        raise NotImplementedError


class Inside(App):
    def index(self, one: list[Missing], two: Annotated[Missing, Query()] | None = None):
        raise NotImplementedError


class Result(App):
    def index(self) -> list[Missing]:
        raise NotImplementedError


class Messages(App):
    async def ws_chat(self, ws: WebSocket[Missing]):
        raise NotImplementedError
"""


@pytest.fixture(
    params=[
        "strings",
        pytest.param(
            "lazy",
            marks=pytest.mark.skipif(
                sys.version_info < (3, 14), reason="Python evaluates annotations at once"
            ),
        ),
    ]
)
def start(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The first line of a module, and the place for it."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield "from __future__ import annotations\n" if request.param == "strings" else "\n"
    forget_temporary_modules()


def module_of(text: str, name: str) -> ModuleType:
    Path(f"{name}.py").write_text(text)
    return import_module(name)


@pytest.mark.parametrize("debug", [False, True])
def test_names_for_type_checkers_are_allowed_where_nothing_is_converted(
    make_client: MakeClient, world: str, start: str, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    client: TestClient = make_client(module_of(start + SITE, "lazy_site").make(debug=debug))
    assert client.get("/?number=3").text == "3 seen"
    assert client.get("/fails").text == "conflict at /fails"
    assert client.get("/secret", auth=("Ann", "pie")).text == "secret"
    assert client.get("/legacy").text == "legacy"
    assert client.get("/bridged").text == ("legacy" if world == "wsgi" else "bridged")
    with suppress(SetupError):  # the debug page shows it
        client.get("/later")
    assert re.search(r"show\(text: .*Missing.*\) -> .*Other.* can't be called with", caplog.text)
    if world != "wsgi":
        with client.websocket("/chat") as ws:
            assert ws.receive_text() == "hello"


@pytest.mark.parametrize("name", ["Parameter", "Inside", "Result", "Messages"])
def test_other_names_for_type_checkers_are_refused_with_the_reason(start: str, name: str) -> None:
    app: App = getattr(module_of(start + REFUSED, "lazy_refused"), name)()
    with pytest.raises(SetupError, match="can't be evaluated: name 'Missing' is not defined"):
        app.url_for("index")


def test_commands_read_such_modules(
    start: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "lazy_listed.py").write_text(start + SITE)
    command = running_in(tmp_path, monkeypatch, capsys)
    status, output, _ = command("routes", "lazy_listed:app")
    assert status == 0
    assert "index(number: int)" in output
    assert command("check", "lazy_listed:app")[0] == 0
    (tmp_path / "lazy_made.py").write_text(start + SITE.replace("app = make()", ""))
    assert command("check", "lazy_made:make")[0] == 0
