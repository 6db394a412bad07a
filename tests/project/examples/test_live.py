"""Events, chat rooms and Socket.IO: ``events``, ``chat``, ``socketio``."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator

import anyio
import httpx2 as httpx
import pytest
import socketio
from websockets.sync.client import connect

from examples.chat.app import Chat
from examples.tour.app import Tour
from micropie import App
from tests.project.examples.serving import Browse, browsing, serving_examples
from tests.servers.harness import ANSWER_WITHIN, KINDS, ServerOf, serving

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerOf]:
    with serving_examples("events chat", tmp_path_factory.mktemp("live")) as server_of:
        yield server_of


@pytest.fixture(params=["uvicorn", "waitress"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def browse(kind: str, server_of: ServerOf) -> Iterator[Browse]:
    with browsing(server_of(kind)) as browse:
        yield browse


def test_the_events_example_streams_progress(browse: Browse) -> None:
    client = browse("events")
    assert 'EventSource("/events/bake")' in client.get("").text
    answer = client.get("bake", headers={"Last-Event-ID": "4"})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    last = 'event: progress\nid: 5\ndata: {"percent":100,"step":"Cooling"}\n\n'
    assert answer.text.endswith(last + "event: done\ndata: \n\n")
    assert "Baking" not in answer.text


def test_the_chat_example_delivers_messages(browse: Browse, kind: str, server_of: ServerOf) -> None:
    client = browse("chat")
    assert "<h1>a &lt;room&gt;</h1>" in client.get("?room=a+<room>").text
    with client.stream("GET", "messages/kitchen") as answer:
        lines = answer.iter_lines()
        next(lines)  # a heart-beat: the answer has begun, so the subscription exists
        assert (
            client.post("say/hall", data={"name": "Ann", "text": "in another room"}).status_code
            == 204
        )
        assert client.post("say/kitchen", data={"name": "Ann", "text": "pie?"}).status_code == 204
        assert (
            next(line for line in lines if line.startswith("data"))
            == 'data: {"name":"Ann","text":"pie?"}'
        )
        if KINDS[kind].protocol == "asgi":
            url = f"ws://127.0.0.1:{server_of(kind).port}/chat/room/kitchen?name=Bob"
            with connect(url, proxy=None, open_timeout=ANSWER_WITHIN) as socket:
                socket.send("pie!")
                assert json.loads(socket.recv(ANSWER_WITHIN)) == {"name": "Bob", "text": "pie!"}
            assert (
                next(line for line in lines if line.startswith("data"))
                == 'data: {"name":"Bob","text":"pie!"}'
            )
    client.post(
        "say/kitchen", data={"name": "Ann", "text": "bye"}
    )  # by which a WSGI server sees that the stream's client has left
    assert client.post("say/kitchen", data={"name": "Ann", "text": ""}).status_code == 400


def test_the_socketio_example_delivers_messages() -> None:
    with serving("examples.socketio.app:app") as server_of:
        url = f"http://127.0.0.1:{server_of('uvicorn').port}"
        assert "Socket.IO" in httpx.get(url, timeout=ANSWER_WITHIN).text
        heard: queue.Queue[tuple[str, str]] = queue.Queue()
        ann, bob = socketio.Client(), socketio.Client()
        for client in (ann, bob):
            client.on("news", lambda text: heard.put(("news", text)))
        bob.on("said", lambda text: heard.put(("said", text)))
        try:
            ann.connect(url, transports=["websocket"], wait_timeout=ANSWER_WITHIN)
            bob.connect(url, transports=["websocket"], wait_timeout=ANSWER_WITHIN)
            assert ann.call("say", "pie!", timeout=ANSWER_WITHIN) == "passed on"
            assert heard.get(timeout=ANSWER_WITHIN) == ("said", "pie!")
            said = httpx.post(f"{url}/announce", data={"text": "pies"}, timeout=ANSWER_WITHIN)
            assert said.text == "announced"
            assert [heard.get(timeout=ANSWER_WITHIN) for _ in range(2)] == [("news", "pies")] * 2
        finally:
            ann.disconnect()
            bob.disconnect()


@pytest.mark.parametrize(("app", "path"), [(Chat(), "/room/pies"), (Tour(), "/room")])
def test_text_that_arrives_with_a_handshake_is_reported(app: App, path: str, backend: str) -> None:
    incoming = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "Pie!"}]
    told = anyio.Event()

    async def receive() -> dict[str, str]:
        if incoming:
            return incoming.pop(0)
        await told.wait()
        return {"type": "websocket.disconnect"}

    async def send(message: dict[str, str]) -> None:
        if "Pie!" in message.get("text", ""):
            told.set()

    async def connect_once() -> None:
        with anyio.fail_after(ANSWER_WITHIN):
            scope = {
                "type": "websocket",
                "asgi": {"version": "3.0"},
                "path": path,
                "query_string": b"",
                "headers": [],
            }
            await app(scope, receive, send)

    anyio.run(connect_once, backend=backend)
    assert told.is_set()
