"""No framework: an application for each protocol that is written for these cases only.

Every other number in the report is a multiple of this one's. It does only what every application
must do: it dispatches on the path, states its headers and computes the length of its bodies. It has
no error handling, no methods and no checks of its input.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from benchmarks.apps.fast_json import dumps, loads
from benchmarks.cases import BOUNDARY, CHUNK, CHUNK_COUNT
from benchmarks.harness import AsgiApp, Receive, Send, WsgiApp


class _Parts:
    """A multipart form by the package `multipart`, kept in memory."""

    def __init__(self) -> None:
        from multipart import MultipartSegment, PushMultipartParser

        self._segment = MultipartSegment
        self._parser = PushMultipartParser(BOUNDARY)
        self._contents: dict[str, list[bytes]] = {}
        self._current: list[bytes] = []

    def feed(self, data: bytes) -> None:
        for event in self._parser.parse(data):
            if isinstance(event, self._segment):
                self._current = self._contents[event.name] = []
            elif event:
                self._current.append(event)

    def sentence(self) -> bytes:
        name, city, file = (b"".join(self._contents[key]) for key in ("name", "city", "file"))
        return b"%b from %b sent %d bytes" % (name, city, len(file))


# --- ASGI -----------------------------------------------------------------------------------------

Scope = dict[str, Any]
BYTES_TEXT = (b"content-type", b"text/plain; charset=utf-8")
BYTES_JSON = (b"content-type", b"application/json")


async def _reply(send: Send, content_type: tuple[bytes, bytes], body: bytes) -> None:
    headers = [content_type, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    message = await receive()
    parts: list[bytes] = [message["body"]]
    while message["more_body"]:
        message = await receive()
        parts.append(message["body"])
    return b"".join(parts)


async def _plain(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, BYTES_TEXT, b"Hello, World!")


async def _json(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, BYTES_JSON, dumps({"message": "Hello, World!"}))


async def _greet(scope: Scope, receive: Receive, send: Send) -> None:
    name = scope["path"].removeprefix("/greet/")
    await _reply(send, BYTES_TEXT, f"Hello {name}".encode())


async def _query(scope: Scope, receive: Receive, send: Send) -> None:
    query = dict(parse_qsl(scope["query_string"].decode()))
    await _reply(send, BYTES_TEXT, f"Hello {query['name']}".encode())


async def _form(scope: Scope, receive: Receive, send: Send) -> None:
    form = dict(parse_qsl((await _body(receive)).decode()))
    await _reply(send, BYTES_TEXT, f"{form['name']} from {form['city']}".encode())


async def _submit(scope: Scope, receive: Receive, send: Send) -> None:
    person = loads(await _body(receive))
    await _reply(send, BYTES_JSON, dumps({"name": person["name"], "age": person["age"]}))


async def _upload(scope: Scope, receive: Receive, send: Send) -> None:
    parts = _Parts()
    more = True
    while more:
        message = await receive()
        parts.feed(message["body"])
        more = message["more_body"]
    await _reply(send, BYTES_TEXT, parts.sentence())


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


async def _stream(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [BYTES_TEXT]})
    async for chunk in _chunks():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(receive: Receive, send: Send) -> None:
    for event in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{event}.complete"})


ASGI_ROUTES = {
    "/plain": _plain,
    "/json": _json,
    "/query": _query,
    "/form": _form,
    "/submit": _submit,
    "/upload": _upload,
    "/stream": _stream,
}


async def _asgi(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        return await _lifespan(receive, send)
    path = scope["path"]
    handler = ASGI_ROUTES.get(path)
    if handler is None:
        assert path.startswith("/greet/")
        handler = _greet
    await handler(scope, receive, send)


def make_asgi() -> AsgiApp:
    return _asgi


# --- WSGI -----------------------------------------------------------------------------------------

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
TEXT = ("Content-Type", "text/plain; charset=utf-8")
JSON = ("Content-Type", "application/json")


def _wsgi_reply(
    start_response: StartResponse, content_type: tuple[str, str], body: bytes
) -> list[bytes]:
    start_response("200 OK", [content_type, ("Content-Length", str(len(body)))])
    return [body]


def _wsgi_body(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return body


def _wsgi_plain(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _wsgi_reply(start_response, TEXT, b"Hello, World!")


def _wsgi_json(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _wsgi_reply(start_response, JSON, dumps({"message": "Hello, World!"}))


def _wsgi_greet(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    # PATH_INFO is bytes read as latin-1
    name = environ["PATH_INFO"].removeprefix("/greet/").encode("latin-1").decode()
    return _wsgi_reply(start_response, TEXT, f"Hello {name}".encode())


def _wsgi_query(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    return _wsgi_reply(start_response, TEXT, f"Hello {query['name']}".encode())


def _wsgi_form(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    form = dict(parse_qsl(_wsgi_body(environ).decode()))
    return _wsgi_reply(start_response, TEXT, f"{form['name']} from {form['city']}".encode())


def _wsgi_submit(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    person = loads(_wsgi_body(environ))
    return _wsgi_reply(start_response, JSON, dumps({"name": person["name"], "age": person["age"]}))


def _wsgi_upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    parts = _Parts()
    parts.feed(_wsgi_body(environ))
    return _wsgi_reply(start_response, TEXT, parts.sentence())


def _wsgi_chunks() -> Iterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


def _wsgi_stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [TEXT])
    return _wsgi_chunks()


WSGI_ROUTES = {
    "/plain": _wsgi_plain,
    "/json": _wsgi_json,
    "/query": _wsgi_query,
    "/form": _wsgi_form,
    "/submit": _wsgi_submit,
    "/upload": _wsgi_upload,
    "/stream": _wsgi_stream,
}


def _wsgi(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    handler = WSGI_ROUTES.get(path)
    if handler is None:
        assert path.startswith("/greet/")
        handler = _wsgi_greet
    return handler(environ, start_response)


def make_wsgi() -> WsgiApp:
    return _wsgi
