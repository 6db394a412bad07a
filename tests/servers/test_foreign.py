"""Applications of other frameworks answer below a mount as they do alone.

Alone: a WSGI application on gunicorn, an ASGI application on hypercorn, below the same prefix, so
that what it makes of that is the same. Status, headers and bodies have to be the same bytes, with
these exceptions:

- Date and Server, which are the server's; and what describes the connection and the framing of a
  body on it: where an application states no Content-Length, an answer of one piece gets one from
  micropie, and is framed in chunks alone.
- The order of headers that have different names, and of the methods in Allow, which means nothing
  (RFC 9110, section 5.3).
- A 204 has no Content-Type here, as there is no content to describe; Flask sends one.
- What is drawn at random or made of the time: values of the cookies in ``DRAWN``, dates of expiry,
  Django's tokens. That they work is shown by what comes next in the conversation.
"""

from __future__ import annotations

import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cache
from operator import itemgetter
from typing import NamedTuple

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.servers.foreign import conversations
from tests.servers.foreign.conversations import Ask, Conversation, Say
from tests.servers.harness import (
    ANSWER_WITHIN,
    KINDS,
    Answer,
    Kind,
    Server,
    ServerOf,
    end_all,
    parsed,
    start,
)

UNDER = "tests.servers.foreign.under_micropie:app"
SERVERS = ["uvicorn", "hypercorn-trio", "gunicorn-sync", "gunicorn-gthread"]
# of the latter the loop in the background, see FOREIGN_PORTAL
ON_TRIO = ["hypercorn-trio", "gunicorn-gthread"]


class Foreign(NamedTuple):
    """An application: its prefix, how it runs alone, and the requests to it."""

    prefix: str
    alone: str
    conversations: dict[str, Conversation]
    sockets: dict[str, Say] | None = None  # none has WSGI


WSGI_ALONE = "tests.servers.foreign.without_micropie:app"
FOREIGN = {
    "cherrypy": Foreign("/cherrypy", WSGI_ALONE, conversations.CHERRYPY),
    "bottle": Foreign("/bottle", WSGI_ALONE, conversations.BOTTLE),
    "flask": Foreign("/flask", WSGI_ALONE, conversations.FLASK),
    "django": Foreign("/django", WSGI_ALONE, conversations.DJANGO),
    "django-asgi": Foreign(
        "/django-asgi", "tests.servers.foreign.djangos:asgi", conversations.DJANGO, {}
    ),
    "starlette": Foreign(
        "/deep/starlette",
        "tests.servers.foreign.stars:app",
        conversations.STARLETTE,
        conversations.STARLETTE_SOCKETS,
    ),
    "fastapi": Foreign(
        "/fastapi",
        "tests.servers.foreign.fast:app",
        conversations.FASTAPI,
        conversations.FASTAPI_SOCKETS,
    ),
}

# Django's ASGI application is made for asyncio, alone as well.
UNDER_MICROPIE = [
    (server, name, topic)
    for server in SERVERS
    for name, foreign in FOREIGN.items()
    for topic in foreign.conversations
    if not (name == "django-asgi" and server in ON_TRIO)
]


@pytest.fixture(scope="session")
def servers() -> Iterator[ServerOf]:
    """Return ``servers(name)``: a server's name gives it with all mounts, an application's name
    that one alone.

    Each starts when it is first asked for: to import all these frameworks takes seconds.
    """
    running: dict[str, Server] = {}
    with ExitStack() as stack:

        def server_of(name: str) -> Server:
            app = FOREIGN[name].alone if name in FOREIGN else UNDER
            key = app if name in FOREIGN else name
            if key not in running:
                kind = kind_alone(FOREIGN[name]) if name in FOREIGN else KINDS[name]
                log = stack.enter_context(tempfile.TemporaryFile())
                portal = "trio" if name in ON_TRIO else "asyncio"
                running[key] = start(kind, app, log, environ={"FOREIGN_PORTAL": portal})
            return running[key]

        yield server_of
        end_all(list(running.values()))
        assert [name for name in SERVERS if name in running and running[name].leftovers()] == []


def kind_alone(foreign: Foreign) -> Kind:
    if foreign.sockets is None:
        return KINDS["gunicorn-gthread"]
    kind = KINDS["hypercorn-asyncio"]
    return kind._replace(command=f"{kind.command} --root-path {foreign.prefix}")


@pytest.fixture(scope="session")
def answer_alone(servers: ServerOf) -> Callable[[str, str], list[Answer]]:
    """Return ``answer_alone("flask", "forms")``: the answers of that conversation, which is held
    once.
    """

    @cache
    def answers(name: str, topic: str) -> list[Answer]:
        foreign = FOREIGN[name]
        return hold(servers(name), foreign.prefix, foreign.conversations[topic])

    return answers


MEANT_TO_FAIL = re.compile("boom|code=(500|999|x)|messageArg")


@pytest.mark.parametrize(("server", "name", "topic"), UNDER_MICROPIE)
def test_a_mounted_framework_responds_as_it_does_alone(
    server: str,
    name: str,
    topic: str,
    servers: ServerOf,
    answer_alone: Callable[[str, str], list[Answer]],
) -> None:
    foreign = FOREIGN[name]
    asked = foreign.conversations[topic]
    answers = hold(servers(server), foreign.prefix, asked)
    for ask, answer, alone in zip(asked, answers, answer_alone(name, topic), strict=True):
        # else it would prove nothing
        assert (alone.status == 500) == (MEANT_TO_FAIL.search(ask.path) is not None)
        assert comparable(ask, answer, alone) == comparable(ask, alone, alone), ask[:3]


def hold(server: Server, prefix: str, conversation: Conversation) -> list[Answer]:
    """Hold a conversation and return its answers."""
    jar: dict[str, str] = {}
    answers: list[Answer] = []
    for ask in conversation:
        answer = answered(server, prefix, ask, jar, answers[-1] if answers else None)
        for cookie in answer.all("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            jar[name] = value
        answers.append(answer)
    return answers


def answered(
    server: Server, prefix: str, ask: Ask, jar: dict[str, str], last: Answer | None
) -> Answer:
    headers, body = filled(ask, last)
    if jar:
        headers.setdefault("Cookie", "; ".join(f"{name}={value}" for name, value in jar.items()))
    deadline = time.monotonic() + ANSWER_WITHIN
    while True:
        answer = server.request(
            ask.method, prefix + ask.path, {"Host": "pies.example", **headers}, body
        )
        if ask.until in (None, answer.body):
            return answer
        assert time.monotonic() < deadline, (
            f"{prefix}{ask.path}: {answer.body!r} is not {ask.until!r}"
        )


def filled(ask: Ask, last: Answer | None) -> tuple[dict[str, str], bytes]:
    """Return headers and body, with the values of the previous answer filled in."""
    headers = dict(ask.headers)
    if last is None:
        return headers, ask.body
    for name, value in headers.items():
        if value.startswith("{"):
            headers[name] = last.header(value.strip("{}")) or ""
    token = TOKEN.search(last.body)
    return headers, ask.body.replace(b"{token}", token[1]) if token else ask.body


# -- what is compared ------------------------------------------------------------------------------

SERVERS_OWN = {"date", "server", "connection", "keep-alive", "transfer-encoding"}
DRAWN = {"session", "session_id", "sessionid", "csrftoken"}
TOKEN = re.compile(rb'name="csrfmiddlewaretoken" value="(\w{64})"')
EXPIRES = re.compile(r"(?i)expires=[^;]+")


def comparable(ask: Ask, answer: Answer, alone: Answer) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return the part of an answer that has to equal that of the application ``alone``."""
    left_out = set(SERVERS_OWN)
    if alone.header("Content-Length") is None and ask.method != "HEAD" and is_its_length(answer):
        left_out.add("content-length")
    if answer.status == 204:
        left_out.add("content-type")
    if TOKEN.search(answer.body):
        left_out.add("etag")
    headers = [(name.lower(), without_drawn(name, value)) for name, value in answer.headers]
    kept = sorted((pair for pair in headers if pair[0] not in left_out), key=itemgetter(0))
    return answer.status, kept, TOKEN.sub(b"drawn", answer.body)


def is_its_length(answer: Answer) -> bool:
    return answer.header("Content-Length") == str(len(answer.body))


def without_drawn(name: str, value: str) -> str:
    """Return a header's value; a cookie's without the parts that differ with each answer, and the
    methods of Allow, which are a set to Flask and Starlette, in one order.
    """
    if name.lower() == "allow":
        return ", ".join(sorted(value.split(", ")))
    if name.lower() != "set-cookie":
        return value
    cookie, _, attributes = value.partition(";")
    name = cookie.partition("=")[0]
    return (
        (f"{name}=drawn" if name in DRAWN else cookie)
        + ";"
        + EXPIRES.sub("expires=drawn", attributes)
    )


# -- both ways at once -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SERVERS, "flask"])  # alone as well
def test_flask_echoes_a_body_while_it_arrives(name: str, servers: ServerOf) -> None:
    # More than 64 KiB: a shorter body has arrived before its application begins. gunicorn reads
    # 1024 bytes at a time, and of a chunked body it waits for the beginning of the next chunk.
    head = b"POST /flask/echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 98304\r\n\r\n"
    with socket.create_connection(
        ("127.0.0.1", servers(name).port), timeout=ANSWER_WITHIN
    ) as connection:
        connection.sendall(head)
        received = b""
        for byte in (b"\x01", b"\x02", b"\x03"):
            connection.sendall(32_768 * byte)
            while received.count(byte) < 32_768:
                piece = connection.recv(65536)
                assert piece, received
                received += piece
        while piece := connection.recv(65536):
            received += piece
    answer = parsed(received, "POST")
    assert (answer.status, len(answer.body)) == (200, 98_304)


# -- locks -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SERVERS)
def test_a_mounted_cherrypy_session_lock_is_released(name: str, servers: ServerOf) -> None:
    """A lock belongs to a thread: call, chunks and close have to run in one, also when the client
    leaves.
    """
    server = servers(name)
    cookie = server.request("GET", "/cherrypy/more/count").all("Set-Cookie")[0].partition(";")[0]

    def visit(path: str) -> str:
        return (
            server.request("GET", f"/cherrypy/more/{path}", {"Cookie": cookie})
            .body.decode()
            .removeprefix("counted ")
        )

    with ThreadPoolExecutor(8) as clients:
        counts = list(clients.map(visit, 10 * ["count", "counted_stream"]))
    assert sorted(map(int, counts)) == list(range(2, 22))
    for number in (23, 25):
        with socket.create_connection(
            ("127.0.0.1", server.port), timeout=ANSWER_WITHIN
        ) as connection:
            connection.sendall(
                f"GET /cherrypy/more/endless HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n".encode()
            )
            received = b""
            while b"pie" not in received:
                received += connection.recv(65536)
        assert visit("count") == str(number)


# -- WebSockets ------------------------------------------------------------------------------------

WITH_SOCKETS = [
    (server, name, topic)
    for server in SERVERS
    if KINDS[server].protocol == "asgi"
    for name, foreign in FOREIGN.items()
    for topic in foreign.sockets or ()
]


@pytest.mark.parametrize(("server", "name", "topic"), WITH_SOCKETS)
def test_a_mounted_framework_s_websockets_behave_as_alone(
    server: str, name: str, topic: str, servers: ServerOf
) -> None:
    foreign = FOREIGN[name]
    say = (foreign.sockets or {})[topic]
    assert talk(servers(server), foreign.prefix, say) == talk(servers(name), foreign.prefix, say)


def talk(server: Server, prefix: str, say: Say) -> list[object]:
    """Return the handshake's status and headers, the messages and the close."""
    try:
        connection = connect(
            f"ws://pies.example{prefix}{say.path}",
            sock=socket.create_connection(("127.0.0.1", server.port)),
            open_timeout=ANSWER_WITHIN,
            close_timeout=ANSWER_WITHIN,
            subprotocols=[Subprotocol(name) for name in say.subprotocols] or None,
            proxy=None,
        )
    except InvalidStatus as refusal:
        return [refusal.response.status_code]
    heard: list[object] = [
        connection.subprotocol,
        connection.response and connection.response.headers.get("X-Pie"),
    ]
    with connection:
        try:
            for message in say.messages:
                connection.send(message)
            while True:
                heard.append(connection.recv(ANSWER_WITHIN))
        except ConnectionClosed as end:
            return [*heard, end.rcvd]
