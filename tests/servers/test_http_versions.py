"""HTTP/2 and HTTP/3 over TLS: the answers of HTTP/1.1, and WebSockets by extended CONNECT (RFC 8441,
RFC 9220).

The clients are httpx, h2 and aioquic. Bytes of WebSockets are made by wsproto.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import httpx2 as httpx
import pytest
from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived as H2Data
from h2.events import RemoteSettingsChanged, ResponseReceived
from h2.settings import SettingCodes
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from tests.servers.harness import ANSWER_WITHIN, KINDS, Server, start
from tests.support.certificates import make_certificate

Value = TypeVar("Value")
Headers = list[tuple[str, str]]
# What a server adds of its own, or what only one of the versions has.
OF_THE_VERSION = {"alt-svc", "connection", "date", "server", "transfer-encoding"}


class Asked(NamedTuple):
    """A request of the tests."""

    method: str
    target: str
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


class Answered(NamedTuple):
    """What a client got, with sorted headers."""

    status: int
    headers: Headers
    body: bytes


FORM = [("content-type", "application/x-www-form-urlencoded")]
JSON = [("content-type", "application/json")]
HEAD = "head"  # aioquic's client misses the body that its Content-Length announces
REQUESTS = {
    "text": Asked("GET", "/greet/Al%C3%AFce?age=41"),
    "raw path": Asked("GET", "/files/a%2Fb/c"),
    HEAD: Asked("HEAD", "/json"),
    "JSON": Asked("POST", "/order", JSON, b'{"item":"pie","pieces":2}'),
    "form": Asked("POST", "/sign", FORM, b"name=Ann&message=Hi"),
    "no length": Asked("POST", "/measure", [], b"x" * 90_000),
    "not fitting": Asked("GET", "/total?numbers=one"),
    "nothing": Asked("GET", "/nothing"),
    "error": Asked("GET", "/crash"),
    "redirect": Asked("GET", "/old"),
    "cookies": Asked("GET", "/cookie", [("cookie", "a=b"), ("cookie", "flavour=oat")]),
    "hook": Asked("GET", "/closed"),
    "file": Asked("GET", "/download"),
    "stream": Asked("GET", "/countdown/100"),
    "generator": Asked("GET", "/lines"),
}


@pytest.fixture(scope="module")
def certificate() -> Iterator[Path]:
    """Make a certificate; the key is beside it."""
    with tempfile.TemporaryDirectory() as folder:
        yield make_certificate(Path(folder))[0]


QUIC = " --quic-bind 127.0.0.1:{port}"
CERTIFICATE = " --certfile {certificate} --keyfile {key}"
# What docs/deploy/tls.md adds to each server's command. hypercorn has HTTP/3 on the same port.
OPTIONS = {
    "hypercorn-asyncio": CERTIFICATE + QUIC,
    "hypercorn-trio": CERTIFICATE + QUIC,
    "anycorn-asyncio": CERTIFICATE,
    "anycorn-trio": CERTIFICATE,
    "h2corn": CERTIFICATE,
    "granian-asgi": " --ssl-certificate {certificate} --ssl-keyfile {key}",
    "granian-wsgi": " --ssl-certificate {certificate} --ssl-keyfile {key}",
    "gunicorn-asgi": CERTIFICATE + " --http-protocols h2,h1",
    "gunicorn-gthread": CERTIFICATE + " --http-protocols h2,h1",
}
HYPERCORN = ["hypercorn-asyncio", "hypercorn-trio"]
# They announce extended CONNECT.
WITH_WEBSOCKETS = [*HYPERCORN, "anycorn-asyncio", "anycorn-trio", "h2corn"]
# Over HTTP/2 alone, gunicorn's asgi worker passes paths on undecoded. Over HTTP/1.1 alone, its WSGI
# workers join two Cookie headers.
DIFFERENT = {"gunicorn-asgi": ["text", "raw path"], "gunicorn-gthread": ["cookies"]}


@pytest.fixture(scope="module", params=OPTIONS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of each server."""
    chosen: str = request.param
    return chosen


@pytest.fixture(scope="module")
def server(name: str, certificate: Path) -> Iterator[Server]:
    """Start a server with all versions on one port."""
    kind, key = KINDS[name], certificate.with_name("key.pem")
    options = OPTIONS[name].replace("{certificate}", str(certificate)).replace("{key}", str(key))
    with tempfile.TemporaryFile() as log:
        running = start(
            kind._replace(command=kind.command + options), "tests.servers.basics:app", log
        )
        try:
            yield running
        finally:
            running.end()
            assert not running.leftovers()


# -- clients ---------------------------------------------------------------------------------------


def trusting(certificate: Path, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate))
    context.set_alpn_protocols([*protocols])
    return context


def by_httpx(server: Server, certificate: Path, asked: Asked, version: str) -> Answered:
    """Ask by HTTP/1.1 or HTTP/2."""
    is_second = version == "HTTP/2"
    content = iter([asked.body]) if asked.target == "/measure" else asked.body or None
    with httpx.Client(
        verify=trusting(certificate), http2=is_second, http1=not is_second, trust_env=False
    ) as client:
        answer = client.request(
            asked.method,
            f"https://localhost:{server.port}{asked.target}",
            headers=[*asked.headers],
            content=content,
            timeout=ANSWER_WITHIN,
        )
    assert answer.http_version == version
    return answered(answer.status_code, answer.headers.multi_items(), answer.content)


def answered(status: int, headers: Sequence[tuple[str, str]], body: bytes) -> Answered:
    own = [(name.lower(), value) for name, value in headers]
    return Answered(status, sorted(pair for pair in own if pair[0] not in OF_THE_VERSION), body)


class H3Client(QuicConnectionProtocol):
    """A client of HTTP/3 that has one request at a time."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.http = H3Connection(self._quic)
        self.events: asyncio.Queue[HeadersReceived | DataReceived] = asyncio.Queue()

    def quic_event_received(self, event: QuicEvent) -> None:
        """Put aside what HTTP/3 makes of it."""
        for one in self.http.handle_event(event):
            if isinstance(one, HeadersReceived | DataReceived):
                self.events.put_nowait(one)

    def begin(self, headers: Headers, *, ends: bool) -> int:
        """Send the head of a request, and return its stream's number."""
        stream: int = self._quic.get_next_available_stream_id()
        self.http.send_headers(stream, encoded(headers), end_stream=ends)
        self.transmit()
        return stream

    def send(self, stream: int, data: bytes, *, ends: bool) -> None:
        """Send a part of a body."""
        self.http.send_data(stream, data, end_stream=ends)
        self.transmit()

    async def next(self) -> HeadersReceived | DataReceived:
        """Wait for what comes next."""
        return await asyncio.wait_for(self.events.get(), ANSWER_WITHIN)


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


def head_of(server: Server, method: str, target: str) -> Headers:
    return [
        (":method", method),
        (":scheme", "https"),
        (":authority", f"localhost:{server.port}"),
        (":path", target),
    ]


def by_http3(
    server: Server, certificate: Path, talk: Callable[[H3Client], Awaitable[Value]]
) -> Value:
    """Return what ``talk`` returns."""
    configuration = QuicConfiguration(alpn_protocols=H3_ALPN, server_name="localhost")
    configuration.load_verify_locations(str(certificate))

    async def main() -> Value:
        async with connect(
            "127.0.0.1",
            server.port,
            configuration=configuration,
            create_protocol=H3Client,
            wait_connected=True,
        ) as client:
            return await talk(cast("H3Client", client))

    return asyncio.run(main())


def ask_http3(server: Server, certificate: Path, asked: Asked) -> Answered:
    async def talk(client: H3Client) -> Answered:
        headers = [*head_of(server, asked.method, asked.target), *asked.headers]
        if asked.body and asked.target != "/measure":
            headers.append(("content-length", str(len(asked.body))))
        stream = client.begin(headers, ends=not asked.body)
        if asked.body:
            client.send(stream, asked.body, ends=True)
        head, body, has_ended = None, b"", False
        while not has_ended:
            event = await client.next()
            if isinstance(event, HeadersReceived):
                head = event.headers
            else:
                body += event.data
            has_ended = event.stream_ended
        assert head is not None
        pairs = [(name.decode(), value.decode()) for name, value in head]
        return answered(int(dict(pairs)[":status"]), pairs[1:], body)

    return by_http3(server, certificate, talk)


# -- requests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", REQUESTS)
def test_every_http_version_gets_the_same_response(
    server: Server, certificate: Path, name: str, title: str
) -> None:
    asked = REQUESTS[title]
    first = by_httpx(server, certificate, asked, "HTTP/1.1")
    second = by_httpx(server, certificate, asked, "HTTP/2")
    assert (second == first) == (title not in DIFFERENT.get(name, ()))
    if title != HEAD and name == "hypercorn-asyncio":
        assert ask_http3(server, certificate, asked) == first


# -- WebSockets ------------------------------------------------------------------------------------


def opening(server: Server, target: str) -> Headers:
    """Return the head of an extended CONNECT."""
    return [
        *head_of(server, "CONNECT", target),
        (":protocol", "websocket"),
        ("sec-websocket-version", "13"),
    ]


class Talk:
    """The messages of one WebSocket, whose bytes a version of HTTP carries."""

    def __init__(self) -> None:
        self._frames = Connection(ConnectionType.CLIENT)
        self.heard: list[str] = []

    def said(self, text: str) -> bytes:
        """Return the bytes of a message."""
        return self._frames.send(TextMessage(text))

    def closing(self) -> bytes:
        """Return the bytes of the close."""
        return self._frames.send(CloseConnection(1000))

    def hear(self, data: bytes) -> None:
        """Take what has come."""
        self._frames.receive_data(data)
        for event in self._frames.events():
            if isinstance(event, TextMessage):
                self.heard.append(event.data)


@pytest.mark.parametrize("name", WITH_WEBSOCKETS, indirect=True)
def test_websockets_work_over_http2(server: Server, certificate: Path) -> None:
    context, talk = trusting(certificate, "h2"), Talk()
    client = H2Connection(H2Configuration())
    with (
        socket.create_connection(("127.0.0.1", server.port), ANSWER_WITHIN) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as connection,
    ):
        client.initiate_connection()
        connection.sendall(client.data_to_send())
        texts = ["first", "é"]
        stream, status = 0, b""
        while len(talk.heard) < 2:
            for event in client.receive_data(connection.recv(65536)):
                if isinstance(event, RemoteSettingsChanged) and not stream:
                    allowed = event.changed_settings[SettingCodes.ENABLE_CONNECT_PROTOCOL]
                    assert allowed.new_value == 1
                    stream = client.get_next_available_stream_id()
                    client.send_headers(stream, opening(server, "/talk"))
                elif isinstance(event, ResponseReceived):
                    status = dict(event.headers)[b":status"]
                    client.send_data(stream, talk.said(texts.pop(0)))
                elif isinstance(event, H2Data):
                    talk.hear(event.data)
                    if texts and talk.heard:
                        client.send_data(stream, talk.said(texts.pop(0)))
            connection.sendall(client.data_to_send())
        client.send_data(stream, talk.closing(), end_stream=True)
        connection.sendall(client.data_to_send())
    assert (status, talk.heard) == (b"200", ["heard 'first'", "heard 'é'"])


# on trio, one request that fails in its HTTP/3 ends the whole server
@pytest.mark.parametrize("name", ["hypercorn-asyncio"], indirect=True)
def test_websockets_work_over_http3(server: Server, certificate: Path) -> None:
    async def talk(client: H3Client) -> tuple[bytes, list[str]]:
        stream = client.begin(opening(server, "/talk"), ends=False)
        head = await client.next()
        assert isinstance(head, HeadersReceived)
        talk = Talk()
        for text in ("first", "é"):
            client.send(stream, talk.said(text), ends=False)
            while len(talk.heard) < (1 if text == "first" else 2):
                talk.hear(cast("DataReceived", await client.next()).data)
        # Without a close: hypercorn 0.18 fails at what comes for a stream that has ended, and
        # answers nobody by HTTP/3 any more.
        return dict(head.headers)[b":status"], talk.heard

    assert by_http3(server, certificate, talk) == (b"200", ["heard 'first'", "heard 'é'"])


# -- the host -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def granian() -> Iterator[Server]:
    with tempfile.TemporaryFile() as log:
        running = start(KINDS["granian-asgi"], "examples.login.app:app", log)
        try:
            yield running
        finally:
            running.end()


@pytest.mark.parametrize(("host", "status"), [("localhost", b"200"), ("other.example", b"400")])
@pytest.mark.parametrize("name", [":authority", "host"])
def test_trusted_hosts_checks_the_host_that_granian_passes_on(
    granian: Server, name: str, host: str, status: bytes
) -> None:
    client = H2Connection(H2Configuration())
    with socket.create_connection(("127.0.0.1", granian.port), ANSWER_WITHIN) as connection:
        client.initiate_connection()
        head = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (name, host)]
        client.send_headers(1, head, end_stream=True)
        connection.sendall(client.data_to_send())
        answers: list[bytes] = []
        while not answers:
            for event in client.receive_data(connection.recv(65536)):
                if isinstance(event, ResponseReceived):
                    answers.append(dict(event.headers)[b":status"])
    assert answers == [status]
