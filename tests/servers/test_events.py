"""Streams of events under real servers: at once, alive, left, and ended with the server."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator

import httpx
import pytest
from httpx_sse import EventSource, connect_sse

from tests.servers.harness import ANSWER_WITHIN, KINDS, STOP_WITHIN, Server, start
from tests.support.waiting import until

# gunicorn's sync worker and one of granian's WSGI threads have one client at a time.
SERVERS = ["uvicorn", "hypercorn-asyncio", "hypercorn-trio", "granian-asgi", "gunicorn-asgi", "gunicorn-gthread"]
# On SIGTERM they wait for the streams: the application hears the signal itself, or the server cancels after its grace.
ENDS_AT_ONCE = ["uvicorn", "granian-asgi", "gunicorn-asgi", "gunicorn-gthread-told"]
# With our configuration, gunicorn's threads are told as well.
TOLD = KINDS["gunicorn-gthread"]._replace(
    command=f"{KINDS['gunicorn-gthread'].command} -c python:micropie.wsgi.gunicorn"
)
# It awaits asyncio's ``Server.wait_closed()`` before its grace. From CPython 3.12.1 on, that waits for connections.
WAITS_FOR_CLIENTS = ["hypercorn-asyncio"] if sys.version_info >= (3, 12, 1) else []

Start = Callable[[str], Server]


@pytest.fixture
def serve() -> Iterator[Start]:
    """Return ``serve(name)``, which starts a server that the test may stop."""
    servers = []

    def serve(name: str) -> Server:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as its server
        servers.append(start(KINDS.get(name, TOLD), "tests.servers.events:app", log))
        return servers[-1]

    yield serve
    for server in servers:
        server.end()
        server.log.close()


def url(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}/{path}"


def lines_of(server: Server, path: str) -> Generator[str, None, None]:
    with httpx.stream("GET", url(server, path), timeout=ANSWER_WITHIN) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield "head"
        yield from answer.iter_lines()


@pytest.mark.parametrize("name", SERVERS)
def test_R65_events_heart_beats_and_clients_that_leave(name: str, serve: Start) -> None:
    server = serve(name)
    with httpx.Client(timeout=ANSWER_WITHIN) as client:
        with connect_sse(client, "GET", url(server, "ticks"), headers={"Last-Event-ID": "7"}) as source:
            assert isinstance(source, EventSource)
            # The client makes an event without data of a heart-beat that follows an id.
            events = (one for one in source.iter_sse() if one.data)
            first, second = next(events), next(events)
        assert (first.event, first.id, first.data) == ("tick", "8", '{"n":8}')
        assert json.loads(second.data) == {"n": 9}
        with connect_sse(client, "GET", url(server, "sync")) as source:
            assert next(source.iter_sse()).data == "a\nb"
    silent = lines_of(server, "silent")
    assert [next(silent) for _ in range(5)] == ["head", ": ", "", ": ", ""]
    silent.close()
    until(lambda: httpx.get(url(server, ""), timeout=ANSWER_WITHIN).text == "3")  # each was closed, once


@pytest.mark.parametrize("name", [*SERVERS, "gunicorn-gthread-told"])
def test_R65_R62_sigterm_ends_a_server_with_open_streams(name: str, serve: Start) -> None:
    server = serve(name)
    # The servers that don't end at once take as long with open streams as without.
    streams = [lines_of(server, path) for path in ("ticks", "silent", "sync")[: 3 if name in ENDS_AT_ONCE else 1]]
    for lines in streams:
        assert next(lines) == "head"
        next(lines)
    server.process.send_signal(signal.SIGTERM)
    if name in ENDS_AT_ONCE:
        for lines in streams:
            assert len(list(lines)) < 200  # the body ends as it should: no error
    elif name in WAITS_FOR_CLIENTS:
        streams[0].close()
    server.process.wait(STOP_WITHIN)
    for lines in streams:
        lines.close()
