"""What a request costs, in calls of functions: a number that is the same on every machine and under any load.

Times of a busy machine differ by a factor of two; the calls of one warm request do not differ at all. Each call takes
0.1 to 0.2 us, in every column and in every version measured so far. So a column that grows is seen here by the change
that makes it grow, and not behind a server some weeks later. Lower a number when it has become less.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from micropie import App, HTTPError, HttpMiddleware, Redirect, get
from tests.asgi.calls import Call, http_scope, piece

BROWSER = [
    (b"host", b"testserver"),
    (b"user-agent", b"Mozilla/5.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-language", b"en-US,en;q=0.5"),
]
FORM = b"username=bob&email=bob%40example.org&age=42"
JSON = b'{"username":"bob","age":42}'


class Site(App):
    async def plain(self) -> str:
        return "Hello"

    async def greet(self, name: str) -> str:
        return name

    async def submit(self, username: str) -> str:
        return username

    @get("/users/<id:int>/posts/<slug>")
    async def post(self, id: int, slug: str) -> str:
        return f"{id}{slug}"

    async def visit(self) -> str:
        return str(self.request.session.get("n", 0))

    async def login(self) -> str:
        self.request.session["n"] = 1
        return "in"

    async def cookie(self) -> str:
        self.response.set_cookie("a", "b")
        return self.request.cookies.get("q", "none")

    async def redir(self) -> Redirect:
        return Redirect("/plain")

    async def boom(self) -> None:
        raise HTTPError(400, "bad")

    async def stream(self) -> AsyncIterator[str]:
        for number in range(10):
            yield str(number)


class Marks(HttpMiddleware):
    async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("x-m", "1"))


# By column: the request, and the calls that it may take, of Python and of C together.
COLUMNS: dict[str, tuple[str, str, bytes, bytes, int]] = {
    "plain": ("GET", "/plain", b"", b"", 54),
    "path": ("GET", "/greet/Alice", b"", b"", 62),
    "query": ("GET", "/greet?name=Alice", b"", b"", 72),
    "form": ("POST", "/submit", b"application/x-www-form-urlencoded", FORM, 148),
    "json": ("POST", "/submit", b"application/json", JSON, 123),
    "explicit": ("GET", "/users/7/posts/abc", b"", b"", 89),
    "hooks": ("GET", "/hooked", b"", b"", 125),
    "session": ("GET", "/visit", b"", b"", 152),
    "cookie": ("GET", "/cookie", b"", b"", 114),
    "redirect": ("GET", "/redir", b"", b"", 106),
    "400": ("GET", "/boom", b"", b"", 125),
    "404": ("GET", "/no/such/path", b"", b"", 110),
    "304": ("GET", "/static/a.css", b"", b"", 233),
    "10 chunks": ("GET", "/stream", b"", b"", 228),
}


class Hooked(App):
    async def hooked(self) -> str:
        return "hooked"


@pytest.mark.parametrize("column", COLUMNS)
def test_a_request_takes_no_more_calls_than_it_did(column: str, tmp_path: Path) -> None:
    method, path, kind, body, most = COLUMNS[column]
    (tmp_path / "a.css").write_bytes(b"x" * 1000)
    app: App = Hooked() if column == "hooks" else Site()
    app.middlewares.extend([Marks(), Marks()] if column == "hooks" else [])
    app.static("/static", str(tmp_path))

    async def ask(path: str, extra: list[tuple[bytes, bytes]]) -> list[dict[str, Any]]:
        headers = [
            *BROWSER,
            *extra,
            *([(b"content-type", kind), (b"content-length", b"%d" % len(body))] if kind else []),
        ]
        call = Call(piece(body))
        await app(http_scope(method, path, headers=headers), call.receive, call.send)
        return call.sent

    async def calls() -> int:
        extra, counted = [], [0]
        if column == "session":
            head = dict((await ask("/login", []))[0]["headers"])
            extra = [(b"cookie", head[b"set-cookie"].split(b";")[0])]
        if column == "304":
            extra = [(b"if-none-match", dict((await ask(path, []))[0]["headers"])[b"etag"])]

        def count(frame: FrameType, event: str, _: object) -> None:
            counted[0] += event in ("call", "c_call")

        for _ in range(5):
            await ask(path, extra)
        sys.setprofile(count)
        try:
            await ask(path, extra)
            once = counted[0]
            await ask(path, extra)
        finally:
            sys.setprofile(None)
        return counted[0] - once

    found = asyncio.run(calls())
    assert found <= most, f"{column} takes {found} calls, and took {most}"
