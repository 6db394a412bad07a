"""The validator finds each breach of the protocol, says which, and leaves correct applications
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support.asgi_validator import ASGIApp, Message, ProtocolError, Receive, Send, validated

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
LAST: Message = {"type": "http.response.body", "body": b""}
MORE: Message = {"type": "http.response.body", "body": b"x", "more_body": True}
REQUEST: Message = {"type": "http.request", "body": b"", "more_body": False}
CONNECT: Message = {"type": "websocket.connect"}
ACCEPT: Message = {"type": "websocket.accept"}
CLOSE: Message = {"type": "websocket.close"}
GONE: Message = {"type": "websocket.disconnect", "code": 1005}
DENIAL: Message = {"type": "websocket.http.response.start", "status": 401, "headers": []}
DENIAL_BODY: Message = {"type": "websocket.http.response.body", "body": b"no"}
STARTUP: Message = {"type": "lifespan.startup"}
STARTED: Message = {"type": "lifespan.startup.complete"}
SHUTDOWN: Message = {"type": "lifespan.shutdown"}
STOPPED: Message = {"type": "lifespan.shutdown.complete"}

CONNECTION: Message = {
    "asgi": {"version": "3.0"},
    "http_version": "1.1",
    "scheme": "http",
    "path": "/",
    "raw_path": b"/",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"x")],
    "client": None,
    "server": ("x", 80),
}
SCOPES: dict[str, Message] = {
    "http": {"type": "http", "method": "GET", **CONNECTION},
    "websocket": {"type": "websocket", "subprotocols": ["a"], **CONNECTION, "scheme": "ws"},
    "lifespan": {"type": "lifespan", "asgi": {"version": "3.0"}},
}
RECEIVE = object()  # in a script of messages to send: receive one instead
Script = Sequence[Any]


def scripted(script: Script) -> ASGIApp:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for step in script:
            if step is RECEIVE:
                await receive()
            else:
                await send(step)

    return app


def run(app: ASGIApp, kind: str = "http", incoming: Script = (), **scope: Any) -> list[Message]:
    """Call the validated application with a server that sends ``incoming``; return the messages
    that the server got.
    """
    sent: list[Message] = []
    messages = iter(incoming)

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        sent.append(message)

    anyio.run(validated(app), {**SCOPES[kind], **scope}, receive, send)
    return sent


async def nothing(*_: object) -> Any:
    """A `receive` or `send` that is not called."""


def start(**changes: Any) -> Message:
    return {**START, **changes}


def with_headers(*headers: Any) -> Message:
    return start(headers=list(headers))


LENGTH_1 = (b"content-length", b"1")


@pytest.mark.parametrize(
    ("kind", "incoming", "script"),
    [
        ("http", [], [START, LAST]),
        ("http", [], [start(headers=iter([(b"x", b"y")])), MORE, MORE, LAST]),
        ("http", [], [with_headers(LENGTH_1), MORE, LAST]),
        ("http", [], [start(status=304, headers=[LENGTH_1]), LAST]),
        ("http", [{**REQUEST, "more_body": True}, REQUEST], [RECEIVE, RECEIVE, START, LAST]),
        ("http", [REQUEST, {"type": "http.disconnect"}], [RECEIVE, RECEIVE]),
        ("websocket", [CONNECT], [RECEIVE, CLOSE]),
        (
            "websocket",
            [CONNECT, GONE],
            [RECEIVE, {**ACCEPT, "subprotocol": "a", "headers": []}, RECEIVE],
        ),
        (
            "websocket",
            [CONNECT, {"type": "websocket.receive", "text": "x"}, GONE],
            [
                RECEIVE,
                ACCEPT,
                RECEIVE,
                {"type": "websocket.send", "bytes": b""},
                {**CLOSE, "code": 4000},
                RECEIVE,
            ],
        ),
        ("lifespan", [], []),
        ("lifespan", [STARTUP, SHUTDOWN], [RECEIVE, STARTED, RECEIVE, STOPPED]),
        ("lifespan", [STARTUP], [RECEIVE, {"type": "lifespan.startup.failed", "message": "no"}]),
    ],
)
def test_the_validator_accepts_a_correct_application(
    kind: str, incoming: Script, script: Script
) -> None:
    sent = run(scripted(script), kind, incoming)
    assert [message["type"] for message in sent] == [
        step["type"] for step in script if step is not RECEIVE
    ]


def test_the_validator_passes_headers_of_an_iterator_to_the_server() -> None:
    sent = run(scripted([start(headers=iter([(b"x", b"y")])), LAST]))
    assert sent[0]["headers"] == [(b"x", b"y")]


def test_the_validator_lets_head_announce_a_body_that_is_not_sent() -> None:
    assert run(scripted([with_headers(LENGTH_1), LAST]), method="HEAD")


def test_the_validator_allows_denial_responses_where_offered() -> None:
    run(
        scripted([RECEIVE, DENIAL, DENIAL_BODY]),
        "websocket",
        [CONNECT],
        extensions={"websocket.http.response": {}},
    )


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ([LAST], "sent 'http.response.body, last' while the response is without a head"),
        ([START, START], "sent 'http.response.start' while the response is before its body"),
        ([START, MORE, START], "sent 'http.response.start' while the response is in its body"),
        ([START, LAST, LAST], "sent 'http.response.body, last' while the response is complete"),
        ([START, LAST, MORE], "sent 'http.response.body' while the response is complete"),
        ([], "ended while the response is without a head"),
        ([START, MORE], "ended while the response is in its body"),
        (["text"], "no message"),
        ([{"status": 200}], "no message"),
        ([{"type": "http.response.stop"}], "unknown type 'http.response.stop'"),
        ([start(colour="red")], "unknown keys: colour"),
        ([{"type": "http.response.start"}], "lacks status"),
        ([start(status="200")], "a status of the type str"),
        ([start(status=True)], "a status of the type bool"),
        ([start(status=99)], "not within 100-599"),
        ([start(status=600)], "not within 100-599"),
        ([start(headers=1)], "a headers of the type int"),
        ([with_headers((b"x",))], "not a pair"),
        ([with_headers(b"xy")], "not a pair"),
        ([with_headers(("x", b"y"))], "header name"),
        ([with_headers((b"X", b"y"))], "header name"),
        ([with_headers((b"", b"y"))], "header name"),
        ([with_headers((b"x\r", b"y"))], "header name"),
        ([with_headers((b"x", "y"))], "header value"),
        ([with_headers((b"x", b"a\r\nb: c"))], "header value"),
        ([with_headers((b"x", b"\0"))], "header value"),
        ([with_headers((b"transfer-encoding", b"chunked"))], "transfer-encoding"),
        ([with_headers(LENGTH_1, LENGTH_1)], "not one number"),
        ([with_headers((b"content-length", b"one"))], "not one number"),
        ([with_headers(LENGTH_1), LAST], "sent 0 bytes of a body with content-length 1"),
        ([with_headers(LENGTH_1), MORE, MORE], "sent 2 bytes of a body with content-length 1"),
        ([start(status=204, headers=[LENGTH_1])], "content-length with the status 204"),
        ([start(status=204), MORE], "body with the status 204"),
        ([start(status=304), MORE], "body with the status 304"),
        ([start(status=100), MORE], "body with the status 100"),
        ([START, {**LAST, "body": "text"}], "a body of the type str"),
        ([START, {**LAST, "body": bytearray()}], "a body of the type bytearray"),
        ([START, {**LAST, "more_body": 0}], "a more_body of the type int"),
        ([ACCEPT], "sent 'websocket.accept' while the response"),
    ],
)
def test_the_validator_reports_errors_in_a_response(script: Script, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=f"the application.*{sentence}"):
        run(scripted(script))


# This file, sent by the server: its path as a whole, or parts of it.
HERE = Path(__file__).resolve()
SIZE = HERE.stat().st_size
PATH: Message = {"type": "http.response.pathsend", "path": str(HERE)}
PART: Message = {"type": "http.response.zerocopysend", "offset": 2, "count": 3}
OFFERED: Message = {"http.response.pathsend": {}, "http.response.zerocopysend": {}}
LENGTH = (b"content-length", b"%d" % SIZE)


@pytest.mark.parametrize(
    "script",
    [
        [with_headers(LENGTH), PATH],
        [START, PART],
        [start(headers=[(b"content-length", b"7")]), PART, {**PART, "more_body": True}, MORE, LAST],
        [with_headers(LENGTH), {"type": PART["type"], "offset": 0}],
    ],
)
def test_the_validator_allows_pathsend_where_offered(script: Script) -> None:
    with HERE.open("rb") as file:
        messages = [
            {"file": file, **step} if step["type"] == PART["type"] else step for step in script[:-1]
        ]
        messages = [
            {**step, "more_body": True} if step["type"] == PART["type"] else step
            for step in messages
        ]
        last = {"file": file, **script[-1]} if script[-1]["type"] == PART["type"] else script[-1]
        assert len(run(scripted([*messages, last]), extensions=OFFERED)) == len(script)


@pytest.mark.parametrize(
    ("script", "offered", "sentence"),
    [
        ([START, PATH], {}, "'http.response.pathsend', which the server does not offer"),
        (
            [START, PART],
            {"http.response.pathsend": {}},
            "'http.response.zerocopysend', which the server does not offer",
        ),
        ([PATH], OFFERED, "'http.response.pathsend' while the response is without a head"),
        (
            [START, MORE, PATH],
            OFFERED,
            "'http.response.pathsend' while the response is in its body",
        ),
        ([START, PATH, LAST], OFFERED, "'http.response.body, last' while the response is complete"),
        ([START, {**PATH, "path": "a.txt"}], OFFERED, "not absolute"),
        ([with_headers(LENGTH_1), PATH], OFFERED, "bytes of a body with content-length 1"),
        ([START, {"type": PATH["type"]}], OFFERED, "lacks path"),
        ([START, {**PART, "file": 3}], OFFERED, "a file of the type int"),
        (
            [START, {**PART, "offset": SIZE - 1}],
            OFFERED,
            "sent 3 bytes from .* of which there are 1",
        ),
        ([START, {**PART, "offset": -1}], OFFERED, "bytes from -1 on"),
        (
            [with_headers((b"content-length", b"4")), PART],
            OFFERED,
            "sent 3 bytes of a body with content-length 4",
        ),
    ],
)
def test_the_validator_reports_errors_with_pathsend(
    script: Script, offered: Message, sentence: str
) -> None:
    with HERE.open("rb") as file:
        messages = [
            {"file": file, **step} if step["type"] == PART["type"] else step for step in script
        ]
        with pytest.raises(ProtocolError, match=sentence):
            run(scripted(messages), extensions=offered)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ([ACCEPT], "while the WebSocket is new"),
        ([RECEIVE], "ended while the WebSocket is connecting"),
        ([RECEIVE, ACCEPT], "ended while the WebSocket is open"),
        ([RECEIVE, ACCEPT, ACCEPT], "while the WebSocket is open"),
        ([RECEIVE, {"type": "websocket.send", "text": ""}], "while the WebSocket is connecting"),
        ([RECEIVE, CLOSE, CLOSE], "while the WebSocket is closed"),
        ([RECEIVE, ACCEPT, RECEIVE, CLOSE], "while the WebSocket is gone"),
        ([RECEIVE, ACCEPT, {"type": "websocket.send"}], "text or bytes"),
        ([RECEIVE, ACCEPT, {"type": "websocket.send", "text": "", "bytes": b""}], "text or bytes"),
        ([RECEIVE, ACCEPT, {"type": "websocket.send", "text": b""}], "a text of the type bytes"),
        ([RECEIVE, {**ACCEPT, "subprotocol": "b"}], "subprotocol 'b', which nobody offered"),
        (
            [RECEIVE, {**ACCEPT, "headers": [(b"sec-websocket-protocol", b"a")]}],
            "sec-websocket-protocol",
        ),
        ([RECEIVE, {**CLOSE, "code": 999}], "the code 999"),
        ([RECEIVE, {**CLOSE, "code": 1006}], "the code 1006"),
        ([RECEIVE, {**CLOSE, "reason": "é" * 62}], "more than 123 bytes"),
        ([RECEIVE, DENIAL], "which the server does not offer"),
    ],
)
def test_the_validator_reports_errors_in_a_websocket(script: Script, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        run(scripted(script), "websocket", [CONNECT, GONE])


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ([STARTED], "while the lifespan is new"),
        ([RECEIVE], "ended while the lifespan is starting"),
        ([RECEIVE, STARTED], "ended while the lifespan is started"),
        ([RECEIVE, STARTED, STARTED], "while the lifespan is started"),
        ([RECEIVE, STARTED, RECEIVE], "ended while the lifespan is stopping"),
        (
            [RECEIVE, {"type": "lifespan.startup.failed", "message": b""}],
            "a message of the type bytes",
        ),
    ],
)
def test_the_validator_reports_errors_in_a_lifespan(script: Script, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        run(scripted(script), "lifespan", [STARTUP, SHUTDOWN])


@pytest.mark.parametrize(
    ("kind", "incoming", "sentence"),
    [
        ("http", [CONNECT], "the server sent 'websocket.connect' while the request is receiving"),
        (
            "http",
            [REQUEST, REQUEST],
            "the server sent 'http.request, last' while the request is received",
        ),
        ("http", [{"type": "http.request", "body": "x"}], "a body of the type str"),
        ("websocket", [GONE], "while the WebSocket is new"),
        ("websocket", [CONNECT, {"type": "websocket.disconnect"}], "lacks code"),
        ("lifespan", [SHUTDOWN], "while the lifespan is new"),
    ],
)
def test_the_validator_reports_errors_of_the_server(
    kind: str, incoming: Script, sentence: str
) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        run(scripted([RECEIVE] * len(incoming)), kind, incoming)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"type": "udp"}, "unknown type 'udp'"),
        ({"path": b"/"}, "a path of the type bytes"),
        ({"raw_path": b"/?x"}, "a query in its raw_path"),
        ({"headers": [(b"Host", b"x")]}, "header name"),
    ],
)
def test_the_validator_reports_errors_in_the_scope(change: Message, sentence: str) -> None:
    with pytest.raises(ProtocolError, match=sentence):
        run(scripted([START, LAST]), **change)


def test_the_validator_reports_a_missing_key_of_the_scope() -> None:
    scope = {key: value for key, value in SCOPES["http"].items() if key != "path"}
    with pytest.raises(ProtocolError, match="lacks path"):
        anyio.run(validated(scripted([])), scope, nothing, nothing)


def test_the_validator_raises_errors_again_that_the_application_swallowed() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        try:
            await send(LAST)
        except AssertionError:
            await send(START)
            await send(LAST)

    with pytest.raises(ProtocolError, match="without a head"):
        run(app)


def test_a_violation_is_raised_before_the_exception_it_caused() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        try:
            await send(LAST)
        except AssertionError:
            raise ValueError from None

    with pytest.raises(ProtocolError, match="without a head"):
        run(app)


def test_an_exception_of_the_application_passes_through_the_validator() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await send(START)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run(app)


def test_the_validator_refuses_a_return_value() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> Any:
        await send(START)
        await send(LAST)
        return 1

    with pytest.raises(ProtocolError, match="returned 1 instead of None"):
        run(app)


def test_a_response_may_stay_incomplete_when_the_client_has_disconnected() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        try:
            await send(START)
        except OSError:
            return

    async def send(message: Message) -> None:
        raise BrokenPipeError

    anyio.run(validated(app), SCOPES["http"], nothing, send)


def test_sending_after_the_end_is_refused() -> None:
    kept: list[Callable[[Message], Any]] = []

    async def app(scope: Message, receive: Receive, send: Send) -> None:
        kept.append(send)
        await send(START)
        await send(LAST)

    run(app)
    with pytest.raises(ProtocolError, match="after it had ended"):
        anyio.run(kept[0], LAST)
