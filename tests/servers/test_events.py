"""Streams of events under real servers: at once, alive, left, and ended with the server."""

from __future__ import annotations

import json
import signal
import sys
import tempfile
from collections.abc import Generator

import httpx2 as httpx
import pytest

from tests.servers.harness import ANSWER_WITHIN, BOTH_VERSIONS, KINDS, STOP_WITHIN, Server, start
from tests.support.waiting import until

# Options after those of ``KINDS``; the last one of two counts. gunicorn's sync worker and one of
# granian's WSGI threads have one client at a time.
SERVERS = {
    "uvicorn": "",
    "hypercorn-asyncio": "--graceful-timeout 1",
    "hypercorn-trio": "--graceful-timeout 1",
    "anycorn-asyncio": "--graceful-timeout 1",
    "anycorn-trio": "--graceful-timeout 1",
    "granian-asgi": "",
    "h2corn": "",
    "gunicorn-asgi": "",
    "gunicorn-gthread": "--graceful-timeout 1",
    # with our configuration, its threads are told as well
    "gunicorn-gthread-told": "-c python:micropie.wsgi.gunicorn",
    "hypercorn-asyncio-h2": "--graceful-timeout 1",
    "anycorn-asyncio-h2": "--graceful-timeout 1",
    "anycorn-trio-h2": "--graceful-timeout 1",
    "granian-asgi-h2": "",
    "h2corn-h2": "",
    "gunicorn-asgi-h2": "",
}
# On SIGTERM they wait for the streams: the application hears the signal itself. The others end when
# their grace is over.
ENDS_AT_ONCE = [
    *("uvicorn", "granian-asgi", "h2corn", "gunicorn-asgi", "gunicorn-gthread-told"),
    *("granian-asgi-h2", "h2corn-h2", "gunicorn-asgi-h2"),
]
# It awaits asyncio's ``Server.wait_closed()`` before its grace. From CPython 3.12.1 on, that waits
# for connections.
WAITS_FOR_CLIENTS = ["hypercorn-asyncio"] if sys.version_info >= (3, 12, 1) else []


def url(server: Server, path: str) -> str:
    return f"http://127.0.0.1:{server.port}/{path}"


def client_of(server: Server) -> httpx.Client:
    is_http2 = server.kind.is_http2
    return httpx.Client(http1=not is_http2, http2=is_http2, timeout=ANSWER_WITHIN)


def lines_of(server: Server, path: str) -> Generator[str, None, None]:
    with client_of(server) as client, client.stream("GET", url(server, path)) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        yield "head"
        yield from answer.iter_lines()


@pytest.mark.parametrize("name", SERVERS)
def test_R65_R62_events_heartbeats_disconnections_and_sigterm_work_with_open_streams(
    name: str,
) -> None:
    kind = BOTH_VERSIONS[name.removesuffix("-told")]
    with tempfile.TemporaryFile() as log:
        server = start(
            kind._replace(command=f"{kind.command} {SERVERS[name]}"),
            "tests.servers.events:app",
            log,
        )
        try:
            events_come_and_clients_leave(server)
            streams_end_with_the_server(server, name)
        finally:
            server.end()


def events_come_and_clients_leave(server: Server) -> None:
    with client_of(server) as client:
        with client.sse(url(server, "ticks"), headers={"Last-Event-ID": "7"}) as source:
            # The client makes an event without data of a heart-beat that follows an id.
            events = (one for one in source if one.data)
            first, second = next(events), next(events)
        assert (first.event, first.id, first.data) == ("tick", "8", '{"n":8}')
        assert json.loads(second.data) == {"n": 9}
        with client.sse(url(server, "sync")) as source:
            assert next(iter(source)).data == "a\nb"
    silent = lines_of(server, "silent")
    assert [next(silent) for _ in range(5)] == ["head", ": ", "", ": ", ""]
    silent.close()
    # each was closed, once
    until(lambda: server.request("GET", "/").body == b"3")


def streams_end_with_the_server(server: Server, name: str) -> None:
    # The servers that don't end at once take as long with open streams as without.
    paths = ("ticks", "silent", "sync")[: 3 if name in ENDS_AT_ONCE else 1]
    if server.kind.is_http2:
        with server.over_http2() as client:
            opened = [client.begin("GET", f"/{path}") for path in paths]
            while not all(client.received(stream).body for stream in opened):
                client.listen()
            server.process.send_signal(signal.SIGTERM)
            if name in ENDS_AT_ONCE:
                assert {client.response(stream).end for stream in opened} == {"complete"}
        server.process.wait(STOP_WITHIN)
        return
    streams = [lines_of(server, path) for path in paths]
    for lines in streams:
        assert next(lines) == "head"
        next(lines)
    server.process.send_signal(signal.SIGTERM)
    if name in ENDS_AT_ONCE:
        for lines in streams:
            assert [*lines][-1] == ""  # the body ends as it should: no error
    elif name in WAITS_FOR_CLIENTS:
        streams[0].close()
    server.process.wait(STOP_WITHIN)
    for lines in streams:
        lines.close()


def test_R62_streams_end_with_a_worker_that_reached_its_request_limit() -> None:
    """gunicorn ends such a worker without a signal."""
    kind = KINDS["gunicorn-gthread"]
    with tempfile.TemporaryFile() as log:
        options = "-c python:micropie.wsgi.gunicorn --max-requests 20"
        server = start(
            kind._replace(command=f"{kind.command} {options}"), "tests.servers.events:app", log
        )
        try:
            lines = lines_of(server, "silent")
            assert next(lines) == "head"
            for _ in range(20):
                httpx.get(url(server, ""), timeout=ANSWER_WITHIN)
            assert set(lines) == {": ", ""}  # to its end
        finally:
            server.end()
