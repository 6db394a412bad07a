"""Small applications for both protocols, for tests that expect the same of the client under
each.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from tests.support.asgi_validator import Message, Receive, Send

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
Headers = list[tuple[bytes, bytes]]


async def read_body(receive: Receive) -> list[bytes]:
    chunks = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            chunks.append(b"<disconnect>")
            break
        chunks.append(message["body"])
        more = message["more_body"]
    return chunks


async def respond(
    send: Send, body: bytes = b"", status: int = 200, headers: Headers | None = None
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers or []})
    await send({"type": "http.response.body", "body": body})


class Plain:
    """Answers both protocols with a fixed answer, or raises; `seen` is the last scope or
    environ.
    """

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Headers | None = None,
        error: BaseException | None = None,
        late_error: BaseException | None = None,
    ) -> None:
        self.body = body
        self.status = status
        self.headers = headers or []
        self.error = error
        self.late_error = late_error
        self.seen: dict[str, Any] = {}

    async def asgi(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        self.seen = dict(scope)
        if self.error is not None:
            raise self.error
        await respond(send, self.body, self.status, self.headers)
        if self.late_error is not None:
            raise self.late_error

    def wsgi(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        self.seen = environ
        if self.error is not None:
            raise self.error
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers
        ]
        start_response(f"{self.status} Whatever", headers)
        yield self.body
        if self.late_error is not None:
            raise self.late_error


class Echo:
    """Answers with the request as JSON: text as latin-1, the body as a list of its chunks."""

    async def asgi(self, scope: Message, receive: Receive, send: Send) -> None:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1")
            text = value.decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        seen = {
            "method": scope["method"],
            "path": scope["path"].encode().decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "headers": headers,
            "body": [chunk.decode("latin-1") for chunk in await read_body(receive)],
            "from": scope["client"] and list(scope["client"]),
            "to": [scope["scheme"], *scope["server"]],
        }
        await respond(send, json.dumps(seen).encode())

    def wsgi(self, environ: Environ, start_response: StartResponse) -> list[bytes]:
        headers = {
            key.removeprefix("HTTP_").replace("_", "-").lower(): value
            for key, value in environ.items()
            if key.startswith("HTTP_") or key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        }
        client = environ.get("REMOTE_ADDR") and [
            environ["REMOTE_ADDR"],
            int(environ["REMOTE_PORT"]),
        ]
        seen = {
            "method": environ["REQUEST_METHOD"],
            "path": environ["SCRIPT_NAME"] + environ["PATH_INFO"],
            "query": environ["QUERY_STRING"],
            "headers": headers,
            "body": [environ["wsgi.input"].read(-1).decode("latin-1")],
            "from": client,
            "to": [environ["wsgi.url_scheme"], environ["SERVER_NAME"], int(environ["SERVER_PORT"])],
        }
        start_response("200 OK", [("content-type", "application/json")])
        return [json.dumps(seen).encode()]


class Stream:
    """Sends `chunks`; `made` says how many it had begun to send, `end` how it ended."""

    def __init__(
        self,
        chunks: Iterable[bytes],
        *,
        headers: Headers | None = None,
        error: Exception | None = None,
    ) -> None:
        self.chunks = chunks
        self.headers = headers or []
        self.error = error
        self.made = 0
        self.end = ""

    async def asgi(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.headers})
            for chunk in self.chunks:
                self.made += 1
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if self.error is not None:
                raise self.error
            await send({"type": "http.response.body"})
            self.end = "complete"
        except OSError:
            self.end = (await receive())["type"]
            with suppress(OSError):
                await send({"type": "http.response.body"})
            raise

    def wsgi(self, environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [(name.decode(), value.decode()) for name, value in self.headers])
        return self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        try:
            for chunk in self.chunks:
                self.made += 1
                yield chunk
            if self.error is not None:
                raise self.error
            self.end = "complete"
        except GeneratorExit:
            self.end = "http.disconnect"
            raise
