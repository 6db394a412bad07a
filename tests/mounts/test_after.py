"""What comes before the first chunk of a mounted application's answer, and what comes after its
last.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from micropie import App
from micropie._core.execution import TASKS
from micropie._core.execution.loop import threadsafe_scheduler
from micropie._core.execution.steps import wait_for_tasks
from micropie._core.mounts import response
from tests.asgi.calls import (
    DISCONNECT,
    START,
    Call,
    get,
    piece,
    run,
)
from tests.asgi.calls import serve as serve_asgi
from tests.flow.test_lifecycle import connected
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until_async
from tests.wsgi.calls import begin


def below(target: Any, **settings: Any) -> App:
    app = App(**settings)
    app.mount("/m", target)
    return app


def body(chunk: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": chunk, "more_body": more}


def wait_until(condition: Any) -> None:
    """Wait for what another thread or task does."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


# -- after the last chunk --------------------------------------------------------------------------


@pytest.mark.parametrize("pause", [False, True])
@pytest.mark.parametrize("chunks", [1, 2])
def test_R74_a_failure_after_an_asgi_response_is_logged(
    make_client: MakeClient, chunks: int, pause: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Starlette runs its background tasks there."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        for number in range(chunks):
            await send(body(b"a", more=number < chunks - 1))
        if pause:
            await anyio.sleep(0.01)
        raise ValueError("in the background")

    reported: list[Exception] = []
    client = make_client(below(app, on_error=reported.append))
    assert client.get("/m").content == b"a" * chunks
    wait_until(lambda: reported)
    assert "/m: the mounted application failed after its response" in caplog.text
    assert "ValueError: in the background" in caplog.text
    assert str(*reported) == "in the background"


@pytest.mark.parametrize("error", [SystemExit(2), ExceptionGroup("", [ValueError()])])
def test_R74_an_exit_after_an_asgi_response_is_reported_as_an_exception(
    make_client: MakeClient, error: BaseException
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        await send(body(b"a"))
        raise error

    reported: list[Exception] = []
    assert make_client(below(app, on_error=reported.append)).get("/m").text == "a"
    wait_until(lambda: reported)
    assert [isinstance(one, RuntimeError | ValueError) for one in reported] == [True]


@pytest.mark.parametrize("chunks", [1, 2])
def test_R74_an_asgi_application_goes_on_after_its_response_to_head(
    make_client: MakeClient, chunks: int, caplog: pytest.LogCaptureFixture
) -> None:
    ended = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        for number in range(chunks):
            await send(body(b"a", more=number < chunks - 1))
        ended.set()

    answer = make_client(below(app)).head("/m")
    assert (answer.status_code, answer.content) == (200, b"")
    assert ended.wait(PATIENCE)
    assert caplog.records == []


@pytest.mark.parametrize("chunks", [1, 2])
def test_R74_shutdown_waits_for_what_follows_an_asgi_response(world: str, chunks: int) -> None:
    go_on, log = threading.Event(), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        for number in range(chunks):
            await send(body(b"a", more=number < chunks - 1))
        await until_async(go_on.is_set)
        log.append("mail sent")

    outer = below(app)
    outer.shutdown_handlers.append(lambda: log.append("shut down"))
    with connected(outer, world) as client:
        assert client.get("/m").content == b"a" * chunks
        threading.Timer(0.1, go_on.set).start()
    assert log == ["mail sent", "shut down"]


def test_R74_the_loop_s_end_is_logged_only_after_a_response(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    begun, ended = threading.Event(), list[str]()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("cleaned up")

    async def main() -> None:
        TASKS.get().start_soon(get, below(app), "/m")
        await until_async(begun.is_set)

    run(backend, main)  # at its end, the loop cancels its tasks
    assert ended
    assert not [one for one in caplog.messages if "followed its response" in one]


@pytest.mark.parametrize("chunks", [[b"a"], [b"a", b"b"]])
def test_R74_shutdown_waits_for_the_close_of_a_wsgi_response(
    world: str, chunks: list[bytes]
) -> None:
    """Flask's ``call_on_close``."""
    begun, go_on, log = threading.Event(), threading.Event(), list[str]()

    def close() -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        log.append("mail sent")

    def end_later() -> None:
        assert begun.wait(PATIENCE)
        time.sleep(0.1)
        go_on.set()

    outer = below(closing(Chunks, chunks, close))
    outer.shutdown_handlers.append(lambda: log.append("shut down"))
    with connected(outer, world) as client:
        threading.Thread(target=end_later).start()
        assert client.get("/m").content == b"".join(chunks)
    assert log == ["mail sent", "shut down"]


def test_R74_shutdown_does_not_wait_for_an_open_response_under_wsgi() -> None:
    """A thread of the server that is a daemon doesn't keep the process from exiting either."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send(body(b"a", more=True))
        await anyio.sleep_forever()

    answer, begun = begin(below(app), path="/m"), time.monotonic()
    assert next(iter(answer.chunks)) == b"a"
    wait_for_tasks(PATIENCE)
    assert time.monotonic() - begun < PATIENCE / 2
    answer.close()


def test_R74_shutdown_does_not_wait_for_a_wsgi_call_without_a_response(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has cancelled the request, but a thread can't be ended."""
    monkeypatch.setattr(response, "CLEAN_UP_WITHIN", 0.01)
    may_end, log = threading.Event(), list[str]()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        server.cancel()
        assert may_end.wait(PATIENCE)
        log.append("late")
        return []

    outer = below(app)
    outer.shutdown_handlers.append(lambda: log.append("shut down"))
    outer.shutdown_handlers.append(may_end.set)
    server = Cancelling()
    run(backend, server.serve, outer)
    assert log[0] == "shut down"


class Cancelling:
    """A server that cancels a request when ``cancel`` is called, in any thread."""

    async def serve(self, app: App) -> None:
        scope = anyio.CancelScope()
        self.cancel = partial(threadsafe_scheduler(), scope.cancel)
        await serve_asgi(app, Call(piece(b"")), "/m", True, scope)


@pytest.mark.parametrize("chunks", [[b"ab"], [b"a", b"b"]])
@pytest.mark.parametrize("fails", [False, True])
def test_R74_a_generator_runs_to_its_end_after_its_content_length(
    make_client: MakeClient, chunks: list[bytes], fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Flask's answers have a Content-Length and a ``close``: nobody waits for their end, and hooks
    see them whole.
    """
    ended = threading.Event()

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "2")])
        yield from chunks
        ended.set()
        if fails:
            raise ValueError("in the background")

    reported: list[Exception] = []
    answer = make_client(below(app, on_error=reported.append), validate=False).get("/m")
    assert (answer.status_code, answer.content) == (200, b"ab")
    assert ended.wait(PATIENCE)
    if fails:
        wait_until(lambda: reported)
        assert "ValueError: in the background" in caplog.text


class Pieces(list[bytes]):
    """An answer in one piece with a ``close``."""

    close: Any


class Chunks:
    """An answer in chunks with a ``close``."""

    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = iter(chunks)
        self.close: Any = None

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks


def closing(kind: Any, chunks: list[bytes], close: Any) -> Any:
    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain")])
        answer = kind(chunks)
        answer.close = close
        return answer

    return app


def failing() -> None:
    raise ValueError("while closing")


KINDS = pytest.mark.parametrize(
    ("kind", "chunks"), [(Pieces, [b"a"]), (Chunks, [b"a"]), (Chunks, [b"a", b"b"])]
)


@KINDS
def test_R74_a_failing_close_is_logged_and_the_response_is_whole(
    make_client: MakeClient, kind: Any, chunks: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[Exception] = []
    app = below(closing(kind, chunks, failing), on_error=reported.append)
    answer = make_client(app, validate=False).get("/m")
    assert (answer.status_code, answer.content) == (200, b"".join(chunks))
    wait_until(lambda: reported)
    assert "/m: close() of the mounted application's response failed" in caplog.text
    assert "ValueError: while closing" in caplog.text


@KINDS
def test_R74_a_slow_close_does_not_delay_the_response(
    backend: str, kind: Any, chunks: list[bytes]
) -> None:
    may_end, ended = threading.Event(), threading.Event()

    def close() -> None:
        assert may_end.wait(PATIENCE)
        ended.set()

    call = Call(piece(b""))
    run(backend, serve_asgi, below(closing(kind, chunks, close)), call, "/m", False)
    assert (call.body, call.is_complete, ended.is_set()) == (b"".join(chunks), True, False)
    may_end.set()
    assert ended.wait(PATIENCE)


@KINDS
def test_R74_a_wsgi_server_closes_the_body_that_it_has_sent(kind: Any, chunks: list[bytes]) -> None:
    closed: list[bool] = []
    answer = begin(below(closing(kind, chunks, lambda: closed.append(True))), path="/m")
    assert (b"".join(answer.chunks), closed) == (b"".join(chunks), [])
    answer.close()
    assert closed == [True]


def test_R74_a_thread_that_gets_system_exit_while_closing_serves_the_next_request(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    def close() -> None:
        raise SystemExit

    app = below(closing(Pieces, [b"a"], close), threads=1)

    async def twice() -> None:
        for _ in range(2):
            assert (await get(app, "/m")).body == b"a"

    run(backend, twice)
    wait_until(lambda: len(caplog.records) == 2)  # the second one may be logged after its response


# -- before the first chunk ------------------------------------------------------------------------


EMPTY = pytest.mark.parametrize("empty", [[], [body(b"", more=True)]])


def answering_late(empty: list[Any], has_head: threading.Event) -> Any:
    """Return an application whose first chunk waits until the client has the head."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        for message in (START, *empty):
            await send(message)
        await anyio.to_thread.run_sync(has_head.wait, PATIENCE)
        await send(body(b"a", more=True))
        await send(body(b"b"))

    return app


@EMPTY
def test_R74_the_head_of_an_asgi_response_is_sent_immediately(
    connect: MakeClient, backend: str, empty: list[Any]
) -> None:
    has_head = threading.Event()
    app = answering_late(empty, has_head)
    with connect(below(app), backend).stream("GET", "/m", timeout=PATIENCE) as answer:
        assert answer.headers["content-type"] == "text/plain"
        has_head.set()
        assert answer.read() == b"ab"


@EMPTY
def test_R74_a_wsgi_server_gets_the_head_with_an_empty_chunk(empty: list[Any]) -> None:
    """gunicorn sends the head with it; PEP 3333 lets a server wait for the first byte."""
    has_head = threading.Event()
    answer = begin(below(answering_late(empty, has_head)), path="/m")
    chunks = iter(answer.chunks)
    assert next(chunks) == b""
    has_head.set()
    assert b"".join(chunks) == b"ab"
    answer.close()


def test_a_response_in_one_piece_has_a_length(make_client: MakeClient) -> None:
    """Nothing is sent ahead if the chunk follows the head at once."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await receive()
        await send(START)
        await send(body(b"abc"))

    client = make_client(below(app))
    assert [client.get("/m").headers.get("content-length") for _ in range(20)] == ["3"] * 20


def test_R74_a_failure_between_head_and_first_chunk_aborts_the_response(
    make_client: MakeClient,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        await anyio.sleep(0.05)
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        make_client(below(app)).get("/m")


# -- a client that leaves --------------------------------------------------------------------------


def test_R74_nothing_is_sent_to_a_disconnected_client(backend: str, with_lifespan: bool) -> None:
    received: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            received.append((await receive())["type"])

    call = Call(DISCONNECT)
    run(backend, serve_asgi, below(app), call, "/m", with_lifespan)
    assert (received, call.sent) == (["http.disconnect"], [])


def test_R74_middleware_around_a_disconnected_client_is_closed(backend: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"

    seen: list[str] = []

    async def around(request: Any) -> Any:
        try:
            yield
        finally:
            seen.append("closed")

    root = below(app)
    root.middlewares.append(around)
    call = Call(DISCONNECT)
    run(backend, serve_asgi, root, call, "/m", False)
    assert (call.sent, seen) == ([], ["closed"])


# -- what the server can do ------------------------------------------------------------------------


def test_a_mounted_application_only_gets_supported_extensions(backend: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        await send(body(repr(sorted(scope["extensions"])).encode()))

    responses = ("pathsend", "trailers", "early_hint", "push", "zerocopysend", "debug")
    extensions = {
        "tls": {"server_cert": None},
        **{f"http.response.{name}": {} for name in responses},
    }
    assert run(backend, lambda: get(below(app), "/m", extensions=extensions)).body == b"['tls']"
    assert run(backend, lambda: get(below(app), "/m", extensions=None)).body == b"[]"


@pytest.mark.parametrize("isolated", [False, True])
def test_a_websocket_handshake_under_wsgi_gets_a_426(connect: MakeClient, isolated: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send(START)
        await send(body(b"page"))

    inner = App()

    @inner.websocket("/")
    async def socket(ws: Any) -> None:
        await ws.accept()

    root = App()
    if isolated:
        root.mount("/m", inner, isolated=True)
    else:
        root.mount("/m", app)
    client = connect(root, "wsgi", validate=False)
    answer = client.get(
        "/m",
        headers={"Connection": "Upgrade", "Upgrade": "WebSocket", "Sec-WebSocket-Version": "13"},
    )
    assert (answer.status_code, "WebSockets" in answer.text) == (426, True)
    if not isolated:
        posted = client.post("/m", headers={"Upgrade": "websocket"})
        assert client.get("/m").text == posted.text == "page"
