"""A request of a migrated program may end wherever it waits, and its code may raise anywhere:
whatever was opened is closed, as in an application of micropie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import pytest

from micropie_compat import bottle, cherrypy
from tests.asgi.calls import every_loop
from tests.execution.requests_that_open import FORM, LARGE_UPLOAD, OPEN, POINTS, UPLOAD, opened
from tests.execution.test_every_callback import (
    FAILURES,
    ask_asgi,
    ask_wsgi,
    raise_everywhere,
)
from tests.execution.test_every_suspension import end_everywhere


def chunks() -> Iterator[bytes]:
    with opened("chunks"):
        yield b"a"
        yield b"b"


def with_bottle() -> Any:
    app = bottle.Bottle()

    def begin() -> None:
        POINTS.go()
        OPEN.append("hook")

    def end() -> None:
        OPEN.remove("hook")
        POINTS.go()

    def plugin(callback: Callable[..., Any]) -> Callable[..., Any]:
        def around(*arguments: Any, **options: Any) -> Any:
            with opened("plugin"):
                return callback(*arguments, **options)

        return around

    def text() -> str:
        with opened("handler"):
            return "text"

    def upload() -> str:
        return f"{len(bottle.request.files.file.file.read())}"

    app.add_hook("before_request", begin)
    app.add_hook("after_request", end)
    app.install(plugin)
    app.route("/text", callback=text)
    app.route("/chunks", callback=chunks)
    app.post("/form", callback=lambda: bottle.request.forms.name)
    app.post("/upload", callback=upload)
    app.route("/raw", "POST", lambda: f"{len(bottle.request.body.read())}")
    return app


def with_cherrypy() -> Any:
    def begin() -> None:
        POINTS.go()
        OPEN.append("tool")

    def end() -> None:
        if "tool" in OPEN:  # it is called even if the request has ended before it began
            OPEN.remove("tool")
            POINTS.go()

    hooks = cherrypy.config(**{"hooks.before_handler": begin, "hooks.on_end_request": end})

    class Root:
        @cherrypy.expose
        def text(self) -> str:
            with opened("handler"):
                return "text"

        @cherrypy.expose
        @cherrypy.config(**{"response.stream": True})
        def chunks(self) -> Iterator[bytes]:
            return chunks()

        @cherrypy.expose
        def form(self, name: str) -> str:
            return name

        @cherrypy.expose
        def upload(self, file: Any) -> str:
            return f"{len(file.file.read())}"

        @cherrypy.expose
        def raw(self, **fields: str) -> str:
            with opened("handler"):
                return f"{len(fields)}"

        @cherrypy.expose
        def session(self) -> str:
            cherrypy.session["name"] = "Ann"
            with opened("handler"):
                return "stored"

    for handler in (Root.text, Root.chunks, Root.form, Root.upload, Root.raw, Root.session):
        hooks(handler)
    return cherrypy.Application(Root(), "", {"/": {"tools.sessions.on": True}})


REQUESTS = [
    (make, path, body)
    for make in (with_bottle, with_cherrypy)
    for path, body in (
        ("/text", b""),
        ("/chunks", b""),
        ("/form", FORM),
        ("/upload", UPLOAD),
        ("/upload", LARGE_UPLOAD),
        ("/raw", FORM),
    )
] + [(with_cherrypy, "/session", b"")]


every_request = pytest.mark.parametrize(
    ("make", "path", "body"),
    REQUESTS,
    ids=[f"{make.__name__}{path}-{len(body)}" for make, path, body in REQUESTS],
)


@pytest.mark.parametrize("way", ["cancel", "leave", "fail"])
@every_request
@every_loop
def test_whatever_a_request_has_opened_is_closed(
    backend: str,
    make: Callable[[], Any],
    path: str,
    body: bytes,
    way: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    anyio.run(end_everywhere, backend, make(), path, body, way, caplog, backend=backend)


@pytest.mark.parametrize("kind", FAILURES)
@every_request
@every_loop
def test_whatever_a_program_raises_costs_one_request(
    backend: str,
    make: Callable[[], Any],
    path: str,
    body: bytes,
    kind: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ask = partial(ask_asgi, make(), path, body)
    anyio.run(raise_everywhere, ask, 200, kind, caplog, backend=backend)


@pytest.mark.parametrize("kind", FAILURES)
@every_request
def test_whatever_it_raises_under_wsgi_costs_one_request(
    make: Callable[[], Any], path: str, body: bytes, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    # in a thread, which has no event loop, like a server's
    in_thread = partial(anyio.to_thread.run_sync, ask_wsgi, make(), path, body)
    anyio.run(raise_everywhere, in_thread, 200, kind, caplog)


def test_an_exit_skips_no_hook_that_releases_a_lock() -> None:
    def leave() -> None:
        raise SystemExit

    seen: list[str] = []
    hooks = cherrypy._cprequest.HookMap(["on_end_request"])
    hooks.attach("on_end_request", leave, priority=1)
    hooks.attach("on_end_request", lambda: seen.append("other"))
    hooks.attach("on_end_request", lambda: seen.append("release"), failsafe=True)
    with pytest.raises(SystemExit):
        hooks.run("on_end_request")
    assert seen == ["release"]
