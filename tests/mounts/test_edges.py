"""What mounted applications see of middleware's word, of the loop's end, of a fork; and servers
that tell little.
"""

from __future__ import annotations

import os
import signal
import threading
import tracemalloc
from functools import partial
from io import BufferedReader, BytesIO, TextIOWrapper
from itertools import repeat
from typing import Any

import anyio
import pytest

from micropie import App, HTTPError, HttpMiddleware
from micropie._core.errors import ClientDisconnect
from micropie._core.execution.background import close_background_loops
from micropie._core.mounts.prefixes import ASGI, Mount
from micropie._core.mounts.wsgi_call import RawBody
from micropie.asgi import lifespan
from micropie.testing import TestClient
from tests.asgi.calls import START, Call, get, http_scope, piece, respond, run
from tests.support.clients import MakeClient
from tests.support.waiting import until
from tests.wsgi.calls import get as ask


def told(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    keys = ("wsgi.url_scheme", "HTTP_HOST", "REMOTE_ADDR", "SERVER_PORT")
    return [" ".join(str(environ.get(key)) for key in keys).encode()]


async def told_too(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send(START)
    hosts = " ".join(value.decode() for name, value in scope["headers"] if name == b"host")
    told = f"{scope['scheme']} {hosts} {scope['client'][0]}"
    await send({"type": "http.response.body", "body": told.encode()})


class Says(HttpMiddleware):
    """Middleware that believes a proxy."""

    def before_request(self, request: Any) -> None:
        request.scheme = "https"
        request.host = "pies.example"
        request.client = type(request.client)("192.0.2.7", 1)


def site(*hooks: Any, **settings: Any) -> App:
    app = App(**settings)
    app.mount("/w", told)
    app.mount("/a", told_too)
    app.middlewares.extend(hooks)
    return app


def test_an_asgi_application_that_does_not_wait_needs_no_turn_of_the_event_loop() -> None:
    async def main() -> None:
        app = site()
        await get(app, "/a")  # starts the application
        call = Call(piece(b""))
        with pytest.raises(StopIteration):
            app(http_scope("GET", "/a"), call.receive, call.send).send(None)
        assert call.sent[1]["body"] == b"http testserver 127.0.0.1"

    run("asyncio", main)


def test_client_values_set_by_middleware_reach_mounted_applications(
    make_client: MakeClient,
) -> None:
    client = make_client(site(Says()))
    assert client.get("/w").text.startswith("https pies.example 192.0.2.7")
    assert client.get("/a").text == "https pies.example 192.0.2.7"


def test_a_hook_may_change_the_session_of_a_mounted_application(
    make_client: MakeClient, caplog: Any
) -> None:
    class Counts(HttpMiddleware):
        def before_request(self, request: Any) -> None:
            request.session["visits"] = request.session.get("visits", 0) + 1

    client = make_client(site(Counts(), debug=True))
    assert client.get("/w").status_code == client.get("/a").status_code == 200
    assert not [record for record in caplog.records if "@post" in record.message]


@pytest.mark.parametrize(("scheme", "port"), [("http", "80"), ("https", "443")])
def test_a_server_may_not_know_client_and_port(backend: str, scheme: str, port: str) -> None:
    async def ask() -> bytes:
        answer = await get(
            site(),
            "/w",
            "GET",
            piece(b""),
            client=None,
            server=("/run/socket", None),
            scheme=scheme,
        )
        return answer.body

    assert run(backend, ask).decode() == f"{scheme} testserver None {port}"


def test_a_hook_may_hand_over_to_an_asgi_application_without_lifespan(backend: str) -> None:
    class HandsOver(HttpMiddleware):
        def __init__(self, target: Any) -> None:
            self.target = target

        def before_request(self, request: Any) -> None:
            request._subapp = self.target

    for target in (told, told_too):
        app = App()
        app.middlewares.append(HandsOver(target))
        assert run(backend, get, app, "/x").status == 200


@pytest.mark.processes
@pytest.mark.parametrize("is_used", [False, True])
def test_R70_a_forked_child_and_its_parent_both_respond(backend: str, is_used: bool) -> None:
    app = site(portal_backend=backend)

    def bodies() -> bytes:
        return b" | ".join(ask(app, path)[1] for path in ("/a", "/w"))

    expected = bodies() if is_used else b"http testserver 127.0.0.1 | http testserver 127.0.0.1 80"
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            signal.alarm(40)
            os.write(write, bodies())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == expected
    os.waitpid(child, 0)
    assert bodies() == expected
    app.wsgi_shutdown()


def body_input(*pieces: bytes) -> tuple[BufferedReader, list[bytes]]:
    """A ``wsgi.input`` of these pieces, and those that have not been asked for."""
    left = list(pieces)
    return BufferedReader(RawBody(lambda: left.pop(0) if left else b"")), left


def test_wsgi_input_is_read_on_demand() -> None:
    body, left = body_input(b"ab", b"c\nd", b"e")
    assert (body.read(0), len(left)) == (b"", 3)
    assert (body.read(1), len(left)) == (b"a", 2)
    assert (body.readline(0), len(left)) == (b"", 2)
    assert (body.readline(), body.read(None), body.readline(None)) == (b"bc\n", b"de", b"")
    assert (body.read(), body.read(1), body.readline(), body.readlines()) == (b"", b"", b"", [])


def test_wsgi_input_is_an_io_stream() -> None:
    body, _ = body_input(b"a\xc3", b"\xa9\r\n", b"b")
    assert [*TextIOWrapper(body, "utf-8")] == ["aé\n", "b"]
    body, _ = body_input(b"abc", b"def")
    target = bytearray(5)
    assert (body.readinto(target), bytes(target), body.read1()) == (5, b"abcde", b"f")
    assert (body.readable(), body.writable(), body.seekable()) == (True, False, False)


@pytest.mark.parametrize("pieces", [1, 4096], ids=["whole", "in pieces"])
def test_reading_lines_takes_linear_time(pieces: int) -> None:
    """2 MiB of line ends: what copies the rest of the body for each line needs minutes for them."""
    size = 2 * 1024 * 1024
    asked = 0
    left = [b"\n" * (size // pieces)] * pieces

    def pull() -> bytes:
        nonlocal asked
        asked += 1
        return left.pop() if left else b""

    body = BufferedReader(RawBody(pull))
    assert sum(map(len, iter(body.readline, b""))) == size
    assert asked == pieces + 1
    left.extend([b"\n" * (size // pieces)] * pieces)
    assert sum(map(len, body)) == size


def test_a_long_line_in_many_pieces_takes_linear_time() -> None:
    pieces = repeat(b"x" * 64, 65536)
    assert len(BufferedReader(RawBody(lambda: next(pieces, b""))).readline()) == 64 * 65536


def test_a_body_in_tiny_pieces_is_stored_once() -> None:
    left = 100_000

    def pull() -> bytes:
        nonlocal left
        left -= 1
        return bytes(2) if left >= 0 else b""

    body = BufferedReader(RawBody(pull))
    tracemalloc.start()
    try:
        assert len(body.read()) == 200_000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_error_of_the_body_is_raised_at_each_read() -> None:
    def pull() -> bytes:
        raise ClientDisconnect("the client disconnected")

    body = BufferedReader(RawBody(pull))
    for read in (
        body.read,
        partial(body.read, 1),
        body.readline,
        body.readlines,
        partial(next, body),
    ):
        with pytest.raises(ClientDisconnect, match="the client disconnected"):
            read()


def test_a_mount_s_repr_describes_it() -> None:
    assert repr(Mount("/a", told_too, ASGI, isolated=False)) == "<Mount /a asgi>"


def test_an_application_waiting_for_a_disconnection_is_notified(
    make_client: MakeClient,
) -> None:
    heard: list[str] = []
    done = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await receive()

        async def listen() -> None:
            heard.append((await receive())["type"])
            done.set()

        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await send(START)
            await send({"type": "http.response.body", "body": b"a", "more_body": True})
            await anyio.sleep(0.01)
            await send({"type": "http.response.body", "body": b"b"})

    root = App()
    root.mount("/m", app)
    assert make_client(root).get("/m").content == b"ab"
    assert done.wait(30)
    assert heard == ["http.disconnect"]


def test_shutdown_ends_code_that_continues_too_long_after_its_response(
    world: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespan, "CANCEL_GRACE", 0.0)
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await respond(send, b"a")
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    root = App(background_timeout=0.01)
    root.mount("/m", app)
    options: Any = {"protocol": "wsgi"} if world == "wsgi" else {"backend": world}
    with TestClient(root, **options) as client:
        assert client.get("/m").content == b"a"
        assert not ended.is_set()
    close_background_loops()
    assert ended.wait(30)
    until(lambda: "/m: shutdown ended what followed its response" in caplog.messages)


def test_a_wsgi_server_may_not_know_the_client() -> None:
    app = site()
    assert ask(app, "/w", REMOTE_ADDR="")[1].endswith(b"  80")
    app.wsgi_shutdown()


@pytest.mark.parametrize(("count", "status"), [(1000, 200), (1001, 431)])
def test_a_mounted_wsgi_application_gets_at_most_1000_headers(
    backend: str, count: int, status: int
) -> None:
    def counted(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % sum(key.startswith("HTTP_X_") for key in environ)]

    app = App()
    app.mount("/w", counted)
    headers = [(b"x-%d" % number, b"1") for number in range(count)]
    call = run(backend, partial(get, headers=headers), app, "/w")
    assert (call.status, call.body == b"1000") == (status, status == 200)


def test_R5_the_cache_of_header_names_is_bounded(make_client: MakeClient) -> None:
    def counted(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"%d" % sum(key.startswith("HTTP_X_") for key in environ)]

    async def counted_too(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        count = sum(key.startswith(b"x-") for key, _ in scope["headers"])
        await send({"type": "http.response.body", "body": b"%d" % count})

    app = App()
    app.mount("/w", counted)
    app.mount("/a", counted_too)
    client = make_client(app)
    headers = {f"X-{number}": "1" for number in range(300)}
    assert client.get("/w", headers=headers).text == client.get("/a", headers=headers).text == "300"


@pytest.mark.parametrize("method", ["POST", "post"])
def test_R78_an_access_check_sees_the_method_that_a_mounted_application_reads(
    make_client: MakeClient, method: str
) -> None:
    """Most frameworks read it in capitals, and uvicorn with h11 and granian pass it on as it
    came.
    """

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["REQUEST_METHOD"].upper().encode()]

    class ReadOnly(HttpMiddleware):
        def before_request(self, request: Any) -> None:
            if request.method == "POST":
                raise HTTPError(403)

    app = App()
    app.mount("/w", wsgi)
    app.middlewares.append(ReadOnly())
    client = make_client(app, validate=False)
    request = client.build_request("POST", "/w")
    request.method = method  # httpx would send it in capitals
    assert client.send(request).status_code == 403


def test_a_truncated_body_is_a_disconnect_for_a_mounted_asgi_application() -> None:
    heard = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        heard.extend([(await receive())["type"] for _ in range(2)])

    app = App()
    app.mount("/inner", inner)
    body = BytesIO(b"x" * 10)
    status, _ = ask(app, "/inner/", "POST", CONTENT_LENGTH="100000", **{"wsgi.input": body})
    assert (status, heard) == (400, ["http.request", "http.disconnect"])
