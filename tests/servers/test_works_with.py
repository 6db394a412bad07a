"""An application wrapped in python-socketio, ServeStatic and Starlette's middleware, and clients
made by others.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx
import pytest
import socketio
from websockets.sync.client import connect

from tests.servers.harness import ANSWER_WITHIN, KINDS, Server, end_all, start

Serve = Callable[[str, str], Server]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("files")
    (directory / "page.css").write_text("body { color: red }")
    return directory


@pytest.fixture(scope="module")
def serve(files: Path) -> Iterator[Serve]:
    """Return ``serve("uvicorn", "with_socketio")``: that server, with that application of
    ``wrapped.py``.
    """
    running: dict[tuple[str, str], Server] = {}
    logs = ExitStack()

    def get(server: str, wrapped: str) -> Server:
        if (server, wrapped) not in running:
            log = logs.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - it is the context
            app = f"tests.servers.wrapped:{wrapped}"
            running[server, wrapped] = start(
                KINDS[server], app, log, environ={"WRAPPED_FILES": str(files)}
            )
        return running[server, wrapped]

    with logs:
        yield get
        # hypercorn may write a traceback when it stops
        outputs = [server.output() for server in running.values()]
        end_all(list(running.values()))
        assert [output for output in outputs if "Traceback" in output] == []


def url(server: Server, path: str = "/") -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def client_of(server: Server) -> httpx.Client:
    return httpx.Client(base_url=url(server), timeout=ANSWER_WITHIN)


def check_inside(server: Server, mount: str = "") -> None:
    """Pages, forms, streams as they come, events until the client leaves, WebSockets."""
    with client_of(server) as client:
        assert client.get(f"{mount}/").text == "inside " * 1000
        assert client.get(f"{mount}/starts").text == "1"
        assert client.get(f"{mount}/nowhere").status_code == 404
        assert client.post(f"{mount}/form", data={"name": "Ann"}).text == "Hello, Ann!"
        check_stream(client, mount)
        check_events(client, mount)
    check_websocket(server, mount)


def check_stream(client: httpx.Client, mount: str) -> None:
    with client.stream("GET", f"{mount}/stream") as answer:
        chunks = answer.iter_text()
        assert next(chunks) == "first "  # not held back until the end
        assert client.get(f"{mount}/go").text == "gone"
        assert "".join(chunks) == "on"


def check_events(client: httpx.Client, mount: str) -> None:
    before = int(client.get(f"{mount}/closed").text)
    with client.sse(f"{mount}/events") as source:
        events = iter(source)
        assert [next(events).json() for _ in range(3)] == [{"n": 1}, {"n": 2}, {"n": 3}]
    deadline = time.monotonic() + ANSWER_WITHIN
    while int(client.get(f"{mount}/closed").text) == before:
        assert time.monotonic() < deadline, "the stream goes on without its client"


def check_websocket(server: Server, mount: str) -> None:
    address = url(server, f"{mount}/echo?name=Ann").replace("http", "ws", 1)
    with connect(address, proxy=None, open_timeout=ANSWER_WITHIN) as ws:
        for text in ("hello", "pie!"):
            ws.send(text)
            assert ws.recv(ANSWER_WITHIN) == f"Ann: {text}"


# -- python-socketio -------------------------------------------------------------------------------

TRANSPORTS = [["websocket"], ["polling"], ["polling", "websocket"]]


# Its asgi mode knows no loop but asyncio's. Each way on one server: what is around it is the same
# on the other.
@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
@pytest.mark.parametrize(
    ("name", "wrapped", "path", "mount"),
    [
        ("uvicorn", "with_socketio", "socket.io", ""),
        ("hypercorn-asyncio", "mounted_beside", "live/socket.io", "/site"),
    ],
)
def test_socketio_clients_can_connect(
    name: str, transports: list[str], wrapped: str, path: str, mount: str, serve: Serve
) -> None:
    server = serve(name, wrapped)
    with client_of(server) as http, socketio.SimpleClient() as client:
        client.connect(
            url(server), transports=transports, socketio_path=path, wait_timeout=ANSWER_WITHIN
        )
        assert client.call("say", "pie", timeout=ANSWER_WITHIN) == "heard pie"
        assert client.receive(timeout=30) == ["said", {"text": "pie"}]
        assert http.get(f"{mount}/emit", params={"text": "news!"}).text == "emitted"
        assert client.receive(timeout=30) == ["news", "news!"]
        with http.stream("GET", f"{mount}/stream") as answer:
            chunks = answer.iter_text()
            assert next(chunks) == "first "
            client.emit("say", "cake")
            assert "".join(chunks) == "cake"


@pytest.mark.parametrize(
    ("name", "wrapped", "mount"),
    [("uvicorn", "with_socketio", ""), ("hypercorn-asyncio", "mounted_beside", "/site")],
)
def test_other_paths_than_socketio_s_reach_the_application(
    name: str, wrapped: str, mount: str, serve: Serve
) -> None:
    check_inside(serve(name, wrapped), mount)


# -- ServeStatic -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wrapped"),
    [("hypercorn-asyncio", "with_files_asgi"), ("gunicorn-gthread", "with_files_wsgi")],
)
def test_servestatic_serves_files(name: str, wrapped: str, serve: Serve) -> None:
    server = serve(name, wrapped)
    with client_of(server) as client:
        file = client.get("/static/page.css")
        assert (file.text, file.headers["content-type"]) == (
            "body { color: red }",
            'text/css; charset="utf-8"',
        )
        assert client.get("/static/other.css").status_code == 404
        assert client.get("/visits").text == "1"
        assert client.get("/visits").text == "2"
        if KINDS[name].protocol == "wsgi":
            check_stream(client, "")
            assert client.post("/form", data={"name": "Ann"}).text == "Hello, Ann!"
    if KINDS[name].protocol == "asgi":
        check_inside(server)


# -- Starlette's middleware ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["uvicorn", "hypercorn-trio"])
def test_starlette_s_middleware_works(name: str, serve: Serve) -> None:
    server = serve(name, "with_middleware")
    with client_of(server) as client:
        for number in (1, 2):
            page = client.get("/visits")  # its own session, and theirs
            assert (page.text, page.headers["X-Count"]) == (str(number), str(number))
        assert client.get("/").headers["Content-Encoding"] == "gzip"
        assert set(client.cookies) == {"session_id", "theirs"}
    check_inside(server)
