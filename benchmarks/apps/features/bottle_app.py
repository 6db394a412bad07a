"""Bottle. It has no sessions, no check against forged forms and no access log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bottle import (
    TEMPLATE_PATH,
    Bottle,
    abort,
    jinja2_view,
    redirect,
    request,
    response,
    static_file,
)

from benchmarks.apps.bottle_app import plain, upload
from benchmarks.apps.features.resources import TABLE_ROWS, TEMPLATES, static_directory
from benchmarks.cases import CHUNK_COUNT, TEXT_CHUNK
from benchmarks.harness import WsgiApp


def article(number: int, slug: str) -> str:
    return f"{number} {slug}"


def cookie() -> str:
    response.set_cookie("seen", "1")
    theme: str = request.get_cookie("theme")
    return theme


def bad() -> str:
    abort(400)
    return ""


def moved() -> None:
    redirect("/plain", 303)


@jinja2_view("rows.html")
def rows() -> dict[str, Any]:
    return {"rows": TABLE_ROWS}


def body() -> str:
    return str(len(request.body.read()))


def stream() -> Iterator[str]:
    response.content_type = "text/plain; charset=utf-8"
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK


def serve(path: str) -> Any:
    return static_file(path, root=static_directory())


def before() -> None:
    request.begun = True


def after() -> None:
    response.set_header("X-Hook", "after")


def make_wsgi() -> dict[str, WsgiApp]:
    TEMPLATE_PATH[:] = [str(TEMPLATES)]

    def make() -> Any:
        app: Any = Bottle()

        @app.get("/link")
        def link() -> str:
            url: str = app.get_url("article", number=7, slug="hello-world")
            return url

        app.get("/plain")(plain)
        app.get("/hooked")(plain)
        app.get("/users/<number:int>/posts/<slug>", name="article")(article)
        app.get("/cookie")(cookie)
        app.get("/bad")(bad)
        app.get("/moved")(moved)
        app.get("/rows")(rows)
        app.post("/upload")(upload)
        app.post("/body")(body)
        app.get("/stream_sync")(stream)
        app.get("/static/<path:path>")(serve)
        return app

    hooked = make()
    hooked.hook("before_request")(before)
    hooked.hook("after_request")(after)
    inner: Any = Bottle()
    inner.get("/hello")(plain)
    mounting = make()
    mounting.mount("/inner/", inner)
    cases = ["route", "cookie", "not-found", "bad-request", "redirect", "url-for", "template", "file", "not-modified",  # noqa: E501
             "small-upload", "body", "stream-sync"]  # fmt: skip
    return dict.fromkeys(cases, make()) | {"hooks": hooked, "mount": mounting}
