"""How long inputs at their limits keep the event loop from other requests, in milliseconds.

Each input is as large as the default settings and the usual limits of servers allow: 64 KiB for a
request's head and for a body that a handler asks for, 8 KiB for a body that is bound on the event
loop, 2 KiB for one with decimals, and more for one that has a thread. Each figure is the least of
some rounds:

- *loop*: the longest time of the event loop's own thread between two waits of a request, as time of
  the processor.
- *locked*: the longest time in which the event loop did not run at all, also because a thread has
  the interpreter's lock.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import tempfile
import time
import types
from collections.abc import Coroutine, Generator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import micropie
from micropie import App, UploadFile, get
from micropie.middleware import BasicAuth, ProxyHeaders

KIB, ROUNDS = 1024, 15
SIZE = 64 * KIB  # of a head, and of a body that a handler asks for on the event loop
VALUES = 10_000  # of a JSON document
BOUND = 8 * KIB  # of a body for parameters that is bound there
FIELDS = 1000  # the most that a form or a query may have
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=X"


class Input(NamedTuple):
    """A request, or a WebSocket with one message."""

    path: str
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""
    body: str = ""
    media_type: str = ""
    message: str | None = None
    app: int = 0


@dataclasses.dataclass
class Line:
    name: str
    count: int


class Site(App):
    async def headers(self) -> str:
        return str(len(dict(self.request.headers)))

    async def cookies(self) -> str:
        return str(len(self.request.cookies))

    async def visit(self) -> str:
        return str(self.request.session.get("a"))

    async def accepted(self) -> str:
        return str(self.request.accepts("text/html", "application/json"))

    async def named(self) -> str:
        return str(len(self.request.query))

    async def form(self) -> str:
        return str(len(self.request.form))

    async def document(self) -> str:
        return str(type(self.request.json()))

    async def lines(self, lines: list[Line]) -> str:
        return str(len(lines))

    async def mixed(self, values: list[int | str]) -> str:
        return str(len(values))

    async def prices(self, values: list[Decimal]) -> str:
        return str(len(values))

    async def taken(self, a: str) -> str:
        return str(len(a))

    async def upload(self, photo: UploadFile | None = None) -> str:
        return str(photo)

    @get("/shop/<a>/<b:path>")
    async def shop(self, a: str, b: str) -> str:
        return a

    async def ws_text(self, ws: micropie.WebSocket) -> None:
        await ws.accept()
        await ws.receive_text()

    async def ws_json(self, ws: micropie.WebSocket) -> None:
        await ws.accept()
        await ws.receive_json()


def filled(text: str, size: int = SIZE) -> str:
    """Return ``text``, repeated, with at most ``size`` characters."""
    return text * (size // len(text))


def parts(number: int, size: int) -> str:
    """Return a multipart form of so many fields, each of ``size`` characters."""
    head = 'Content-Disposition: form-data; name="n"'
    return f"--X\r\n{head}\r\n\r\n{'v' * size}\r\n" * number + "--X--\r\n"


def document(size: int) -> str:
    """Return JSON of about ``size`` bytes: rows as a table has them."""
    row = json.dumps({"id": 123456, "name": "a name", "price": 12.5, "tags": ["a", "b"]})
    return "[" + ",".join([row] * (size // len(row))) + "]"


def inputs() -> dict[str, Input]:
    """Return the inputs by what they are."""
    line = '{"name":"a","count":1},'
    rows = "[" + filled(line, BOUND - 2)[:-1] + "]"
    fields = "&".join(f"name{number}={'v' * 55}" for number in range(FIELDS))
    escaped = "&".join(f"name{number}={'%41' * 18}" for number in range(FIELDS))
    return {
        "1,000 headers, all read": Input(
            "/headers", tuple((f"x-header-{number}", "v" * 50) for number in range(990))
        ),
        "cookies, all read": Input("/cookies", (("cookie", filled("a=b; ")),)),
        "cookies, a session looked for": Input("/visit", (("cookie", filled("a=b; ")),)),
        "Accept": Input("/accepted", (("accept", filled("a/b;q=0.5,")),)),
        "Accept of an error": Input("/nowhere", (("accept", filled("a/b;q=0.5,")),)),
        "Accept-Encoding of a file": Input(
            "/static/a.txt", (("accept-encoding", filled("a;q=0.5,")),)
        ),
        "If-None-Match of a file": Input("/static/a.txt", (("if-none-match", filled('"a",')),)),
        "Range of a file": Input("/static/a.txt", (("range", "bytes=" + filled("0-1,")),)),
        "X-Forwarded-For behind a proxy": Input(
            "/named", (("x-forwarded-for", filled("10.0.0.1, ")),), app=1
        ),
        "Authorization": Input("/named", (("authorization", "Basic " + filled("YTpi")),), app=1),
        "path, no route": Input("/" + filled("a/") + "a"),
        "path, escaped": Input("/shop/" + filled("%C3%A9/") + "a"),
        "path of a file": Input("/static/" + filled("a/") + "a"),
        "query of 1,000 fields": Input("/named", query=fields[:SIZE]),
        "query of 1,000 fields, escaped": Input("/named", query=escaped[:SIZE]),
        "query of one value, escaped": Input("/named", query="a=" + filled("%D0%B0")),
        "form of 1,000 fields": Input("/form", body=fields[:SIZE], media_type=FORM),
        "form of 1,000 fields, escaped": Input("/form", body=escaped[:SIZE], media_type=FORM),
        "form of one value, escaped": Input("/form", body="a=" + filled("%D0%B0"), media_type=FORM),
        "JSON, rows": Input("/document", body=document(SIZE - 200), media_type=JSON),
        "JSON, empty lists": Input(
            "/document", body="[" + filled("[],", VALUES // 2 * 3 - 6) + "0]", media_type=JSON
        ),
        "JSON, one text of escapes": Input(
            "/document", body='"' + filled("\\u00e9", SIZE - 2) + '"', media_type=JSON
        ),
        "JSON for a list of dataclasses": Input("/lines", body=rows, media_type=JSON),
        "JSON for a list of unions": Input(
            "/mixed", body=f'{{"values":[{filled("1,", BOUND - 16)}1]}}', media_type=JSON
        ),
        "JSON for a list of decimals": Input(
            "/prices", body=f'{{"values":[{filled("1.5,", BOUND // 4 - 16)}1]}}', media_type=JSON
        ),
        "JSON that is malformed": Input("/document", body=filled("["), media_type=JSON),
        "multipart, 1,000 short fields": Input(
            "/upload", body=parts(FIELDS, 1), media_type=MULTIPART
        ),
        "multipart, one long field": Input("/upload", body=parts(1, SIZE), media_type=MULTIPART),
        "multipart, long heads": Input(
            "/upload", body=parts(15, 1).replace('"n"', f'"{"n" * 4000}"'), media_type=MULTIPART
        ),
        "WebSocket, a text of 1 MiB": Input("/text", message="\xe9" * (512 * KIB)),
        "WebSocket, 64 KiB of JSON": Input("/json", message=document(SIZE - 200)),
        "in a thread: WebSocket, 10,000 values": Input("/json", message=document(80 * KIB)),
        "in a thread: 10,000 values of JSON": Input(
            "/lines", body=f"[{filled(line, VALUES // 3 * len(line) - 1)[:-1]}]", media_type=JSON
        ),
        "in a thread: 2.4 MB of a form": Input(
            "/taken", body="a=" + "%D0%B0" * 400_000, media_type=FORM
        ),
        "request.json(), 10,000 values": Input(
            "/document", body=document(80 * KIB), media_type=JSON
        ),
        "in a thread: upload of 15 MB": Input(
            "/upload",
            body=parts(1, 15000000).replace('"n"', '"photo"; filename="a"'),
            media_type=MULTIPART,
        ),
    }


class Turns:
    """Awaits a coroutine, and measures the longest time that it keeps the loop's thread."""

    longest = 0

    @types.coroutine
    def wait(self, coroutine: Coroutine[Any, Any, object]) -> Generator[Any, Any, None]:
        while True:
            began = time.thread_time_ns()
            try:
                waits_for = coroutine.send(None)
            except StopIteration:
                return
            finally:
                self.longest = max(self.longest, time.thread_time_ns() - began)
            yield waits_for


async def tick(gaps: list[int]) -> None:
    """Note the longest time between two turns of the event loop."""
    before = time.perf_counter_ns()
    while True:
        await asyncio.sleep(0)
        now = time.perf_counter_ns()
        gaps[0] = max(gaps[0], now - before)
        before = now


async def measured(app: App, given: Input, state: dict[str, Any]) -> tuple[int, float, float]:
    """Return the status, and the two figures of one request in milliseconds."""
    body = given.body.encode()
    headers = [("host", "localhost"), *given.headers]
    if given.media_type:
        headers += [("content-type", given.media_type), ("content-length", str(len(body)))]
    raw = given.path.encode()
    scope = {
        "type": "http" if given.message is None else "websocket",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http" if given.message is None else "ws",
        "method": "POST" if body else "GET",
        "path": raw.replace(b"%C3%A9", b"e").decode(),
        "raw_path": raw,
        "query_string": given.query.encode(),
        "root_path": "",
        "state": state,
        "headers": [(name.encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 5000),
        "server": ("localhost", 80),
        "subprotocols": [],
    }
    pieces = [body[at : at + SIZE] for at in range(0, len(body) or 1, SIZE)]
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": number + 1 < len(pieces)}
        for number, piece in enumerate(pieces)
    ]
    if given.message is not None:
        text = {"type": "websocket.receive", "text": given.message}
        messages = [{"type": "websocket.connect"}, text]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return messages.pop(0) if messages else await asyncio.get_running_loop().create_future()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    turns, gaps = Turns(), [0]
    ticking = asyncio.create_task(tick(gaps))
    await asyncio.sleep(0)
    await turns.wait(app(scope, receive, send))
    await asyncio.sleep(0)
    ticking.cancel()
    return sent[0].get("status", 101), turns.longest / 1e6, gaps[0] / 1e6


async def measure(rounds: int = ROUNDS) -> dict[str, tuple[int, float, float]]:
    """Return for each input the status and the two figures."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.txt").write_text("a file")  # noqa: ASYNC240 - nothing else runs
        apps = [Site(loop_watchdog=False), Site(loop_watchdog=False)]
        apps[0].static("/static", folder)
        apps[1].middlewares += [
            ProxyHeaders(trusted=["10.0.0.0/8", "127.0.0.1"]),
            BasicAuth(lambda name, password: True),
        ]
        found = {}
        for name, given in inputs().items():
            runs = [await measured(apps[given.app], given, {}) for _ in range(rounds)]
            statuses, held, locked = zip(*runs, strict=True)
            found[name] = statuses[0], min(held[rounds // 3 :]), min(locked[rounds // 3 :])
    return found


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print("| input | status | loop | locked |\n| --- | ---: | ---: | ---: |")
    for name, (status, held, locked) in asyncio.run(measure(rounds)).items():
        print(f"| {name} | {status} | {held:.2f} | {locked:.1f} |")


if __name__ == "__main__":
    main()
