"""A chunked body under a WSGI server that doesn't say where it ends.

Servers do one of four things: they mark the end (``wsgi.input_terminated``), they decode the chunks
without marking it, they give nothing, or they give the chunks as they came. A handler must not take
such a body for an empty one.
"""

from __future__ import annotations

import http.client
import io
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from micropie import App, UploadFile
from micropie.middleware import CSRFMiddleware
from tests.asgi.calls import respond
from tests.wsgi.calls import get

CONTENT = b'{"name":"pie"}'
FORM = {"CONTENT_TYPE": "application/x-www-form-urlencoded"}
PARTS = {"CONTENT_TYPE": "multipart/form-data; boundary=B"}
JSON = {"CONTENT_TYPE": "application/json"}
CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}


@dataclass
class Order:
    name: str = "nothing"


async def storing(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that stores what it gets."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the body is not complete")
        body, more = body + message.get("body", b""), message.get("more_body", False)
    await respond(send, b"stored %d bytes" % len(body))


class Store(App):
    """Each handler reads the body in another way."""

    def read(self) -> str:
        return f"stored {len(self.request.read())} bytes"

    def chunks(self) -> str:
        return f"stored {sum(map(len, self.request.chunks()))} bytes"

    async def body(self) -> str:
        return f"stored {len(await self.request.body())} bytes"

    async def stream(self) -> str:
        return f"stored {sum([len(piece) async for piece in self.request.stream()])} bytes"

    def field(self, name: str = "nothing") -> str:
        return f"stored {name}"

    def order(self, order: Order) -> str:
        return f"stored {order.name}"

    def file(self, name: UploadFile | None = None) -> str:
        return f"stored {name}"

    def parts(self) -> str:
        return f"stored {[part.name for part in self.request.parts()]}"

    def ignoring(self) -> str:
        return "stored nothing, and read nothing"


WAYS = {
    "read": {},
    "chunks": {},
    "body": {},
    "stream": {},
    "field of a form": FORM,
    "field of JSON": JSON,
    "field of parts": PARTS,
    "order of JSON": JSON,
    "order of a form": FORM,
    "file": PARTS,
    "parts": PARTS,
    "mounted/": {},
}
# The second of the four behaviours to the fourth.
INPUTS = {"decoded": CONTENT, "empty": b"", "as it came": b"e\r\n" + CONTENT + b"\r\n0\r\n\r\n"}


def site() -> App:
    app = Store()
    app.mount("/mounted", storing)
    return app


@pytest.mark.parametrize("given", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("way", WAYS)
def test_a_body_without_a_known_end_gets_a_411(
    way: str, given: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/{way.partition(' ')[0]}"
    environ = {**WAYS[way], **CHUNKED, "wsgi.input": io.BytesIO(given)}
    with caplog.at_level(logging.WARNING, "micropie"):
        status, page = get(site(), path, "POST", **environ, SERVER_SOFTWARE="Pies/1")
    assert (status, b"stored" in page) == (411, False), page
    (record,) = caplog.records
    line = record.getMessage()
    assert line.startswith(f"POST {path!r} got a 411")
    for word in ("Pies/1", "wsgi.input_terminated", "proxy_request_buffering"):
        assert word in line


def test_a_hook_that_needs_a_field_gets_no_empty_form() -> None:
    app = Store(secret_key="k" * 32)
    app.middlewares.append(CSRFMiddleware())
    environ = {**FORM, **CHUNKED, "HTTP_COOKIE": "a=b", "HTTP_ORIGIN": "http://testserver"}
    assert get(app, "/field", "POST", **environ, **{"wsgi.input": io.BytesIO(b"name=x")})[0] == 411


def test_a_handler_that_reads_no_body_is_not_affected(caplog: pytest.LogCaptureFixture) -> None:
    for method in ("GET", "POST"):
        assert get(site(), "/ignoring", method, **CHUNKED)[0] == 200
    assert not caplog.records


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "known", [{"wsgi.input_terminated": True}, {"CONTENT_LENGTH": str(len(CONTENT))}]
)
def test_a_body_with_a_known_end_is_read(
    known: dict[str, Any], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    environ = {**WAYS[way], **CHUNKED, **known, "wsgi.input": io.BytesIO(CONTENT)}
    status, page = get(site(), f"/{way.partition(' ')[0]}", "POST", **environ)
    # the content is JSON, so forms are malformed or lack the field
    assert status == (400 if WAYS[way] is PARTS else 200), page
    read = (b"stored 14 bytes", b"stored pie", b"stored nothing")
    assert status == 400 or page in read
    assert not caplog.records


@pytest.mark.parametrize("encoding", ["gzip, chunked", "Chunked", "chunked, chunked", "identity"])
def test_a_body_with_any_transfer_encoding_gets_a_411(encoding: str) -> None:
    environ = {"HTTP_TRANSFER_ENCODING": encoding, "wsgi.input": io.BytesIO(CONTENT)}
    assert get(site(), "/read", "POST", **environ)[0] == 411


def test_a_body_that_is_not_announced_is_empty() -> None:
    environ = {"HTTP_TRANSFER_ENCODING": "", "wsgi.input": io.BytesIO(CONTENT)}
    assert get(Store(), "/read", "POST", **environ) == (200, b"stored 0 bytes")


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Write nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    """The port of a server of the standard library, which passes such requests on."""
    with make_server("127.0.0.1", 0, site(), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.processes
@pytest.mark.parametrize("path", ["/read", "/body", "/mounted/"])
def test_a_chunked_request_to_wsgiref_gets_a_411(port: int, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    try:
        connection.request("POST", path, iter([CONTENT]))
        response = connection.getresponse()
        assert (response.status, b"Content-Length" in response.read()) == (411, True)
    finally:
        connection.close()
