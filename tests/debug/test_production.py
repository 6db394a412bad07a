"""In production nothing of ``micropie.debug`` is imported, and no hint is logged."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.commands import ended

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]

# Each request is one that the advisor reviews in development.
SITE = """
import logging, sys
from micropie import App, HTTPError, Redirect, WebSocket, get, post, requires, static_file
from micropie.testing import TestClient, WebSocketClosed

class Db: ...

class Base(App):
    @get("/lost")
    def lost(self): return "lost"

class Root(Base):
    guards = ["admin"]
    def lost(self): return "no route"
    def index(self): return "Hello"
    def nothing(self): pass
    def number(self): return 404
    def fails(self): return self.request.body.decode()
    def missing(self): raise HTTPError(404)
    def away(self): raise Redirect("login")
    def file(self): return static_file("nowhere.txt", root=".")
    def visit(self): self.request.session["a"] = 1; return "visited"
    def typed(self, page: int): return page
    def provided(self, db: Db): return "provided"
    @requires(lambda request: "yes")
    def checked(self): return "checked"
    async def ws_chat(self, ws: WebSocket):
        await ws.accept()
        return "lost"

app = Root(session_cookie_secure=False{settings})
app.provides(Db)(lambda: None)
app.mount("/mounted", lambda environ, start_response: [], "wsgi")
app.get("/mounted/hidden")(lambda: "")
app.error(418)(lambda: None)
with TestClient(app, protocol={protocol!r}, raise_app_exceptions=False) as client:
    for path in ("", "nothing", "number", "fails", "missing", "away", "file", "visit", "typed",
                 "typed?page=x", "provided", "checked", "no/such/page"):
        client.get("/" + path, follow_redirects=False)
    if {protocol!r} == "asgi":
        try:
            with client.websocket("/chat") as socket:
                socket.receive_text()
        except WebSocketClosed:
            pass
print(*(name for name in sys.modules if name.startswith("micropie.debug")))
"""


def run(protocol: str, settings: str = "") -> tuple[str, str]:
    """Return the modules of ``micropie.debug`` that a process imports, and what it logs."""
    code = SITE.format(protocol=protocol, settings=settings)
    done = ended(sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


HINTS = ["It is a method: call it first", "has no effect here", "but has no route decorator"]


@pytest.mark.parametrize("protocol", ["asgi", "wsgi"])
def test_production_imports_no_module_of_debug(protocol: str) -> None:
    imported, logged = run(protocol)
    assert imported == ""
    assert "failed in fails" in logged  # with its traceback
    assert [hint for hint in HINTS if hint in logged] == []


@pytest.mark.parametrize("protocol", ["asgi", "wsgi"])
def test_development_logs_the_hints(protocol: str) -> None:
    imported, logged = run(protocol, ", debug=True")
    assert "micropie.debug.advisor" in imported.split()
    assert [hint for hint in HINTS if hint not in logged] == []
