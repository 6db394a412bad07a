"""Requests, answers, and how an application is asked in process: by WSGI, by ASGI on asyncio or on
trio.

The requests are bytes as they would come over the wire: no client library changes a path or adds a
header.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from http.cookies import SimpleCookie
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

import anyio

HOST = "127.0.0.1:8000"


class Answer(NamedTuple):
    """A response: the status code, headers with names in lower case, the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first value of a header, "" without it."""
        return next((value for key, value in self.headers if key == name), "")


Headers = Mapping[str, str]


class Ask(NamedTuple):
    """One request.

    ``headers`` may be a function of the answers that the conversation has had so far.
    """

    method: str
    target: str
    headers: Headers | Callable[[Sequence[Answer]], Headers] = MappingProxyType({})
    body: bytes = b""


class Conversation(NamedTuple):
    """Requests of one client, which keeps its cookies, to one application."""

    name: str
    app: str
    asks: tuple[Ask, ...]


class Request(NamedTuple):
    """A request as it is sent."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Client:
    """One conversation: remembers cookies and answers."""

    def __init__(self) -> None:
        self._cookies: dict[str, str] = {}
        self._answers: list[Answer] = []

    def request(self, ask: Ask) -> Request:
        """Return what is sent for ``ask`` now."""
        stated = ask.headers if isinstance(ask.headers, Mapping) else ask.headers(self._answers)
        headers = {"Host": HOST, **stated}
        if self._cookies and "Cookie" not in headers:
            headers["Cookie"] = "; ".join(
                f"{name}={value}" for name, value in self._cookies.items()
            )
        if (ask.body or ask.method in ("POST", "PUT", "PATCH")) and "Content-Length" not in headers:
            headers["Content-Length"] = str(len(ask.body))
        return Request(ask.method, ask.target, headers, ask.body)

    def heard(self, answer: Answer) -> None:
        """Take note of an answer and of its cookies."""
        self._answers.append(answer)
        for name, value in answer.headers:
            if name != "set-cookie":
                continue
            for key, morsel in SimpleCookie(value).items():
                if (
                    morsel["max-age"] == "0"
                    or morsel["expires"].startswith("Thu, 01 Jan 1970")
                    or not morsel.value
                ):
                    self._cookies.pop(key, None)
                else:
                    self._cookies[key] = value.partition(";")[0].partition("=")[2]


def ask_wsgi(app: Any, request: Request) -> Answer:
    """Ask a WSGI application as a server does."""
    path, _, query = request.target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": request.target,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "test",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50123",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    head: list[Any] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        head[:] = [status, headers]
        return written.append

    chunks = app(environ, start_response)
    try:
        written.extend(chunks)
    finally:
        if hasattr(chunks, "close"):
            chunks.close()
    status, headers = head
    body = b"" if request.method == "HEAD" else b"".join(written)
    return Answer(int(status.split()[0]), [(name.lower(), value) for name, value in headers], body)


async def ask_asgi(app: Any, request: Request) -> Answer:
    """Ask an ASGI application as a server does."""
    path, _, query = request.target.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [
            (k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in request.headers.items()
        ],
        "client": ("127.0.0.1", 50123),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }
    received = False
    complete = anyio.Event()
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        nonlocal received
        if received:
            await complete.wait()
            return {"type": "http.disconnect"}
        received = True
        return {"type": "http.request", "body": request.body, "more_body": False}

    async def send(message: Any) -> None:
        messages.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            complete.set()

    await app(scope, receive, send)
    start, *parts = messages
    headers = [
        (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
        for name, value in start["headers"]
    ]
    body = (
        b""
        if request.method == "HEAD"
        else b"".join(bytes(part.get("body", b"")) for part in parts)
    )
    return Answer(start["status"], headers, body)
