"""Applications of one protocol served by the other, each below ``/m``: by micropie, by a2wsgi, and
by bare hops.

A bare hop does nothing else: the body is read before the call, the answer is collected and returned
whole, and nothing is streamed, cancelled or closed.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Awaitable, Callable, Iterable
from contextlib import ExitStack
from io import BytesIO
from typing import Any

from a2wsgi import ASGIMiddleware, WSGIMiddleware
from anyio import sleep_forever
from anyio.from_thread import start_blocking_portal
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.apps import bottle_app, handwritten, starlette_app
from benchmarks.harness import AsgiApp, Message, WsgiApp
from micropie import App, run_in

PREFIX = "/m"
Hop = Callable[..., Awaitable[Any]]
BlockingHop = Callable[..., Any]


def _wsgi() -> WsgiApp:
    return handwritten.make_wsgi()


async def _asgi(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await handwritten.make_asgi()(scope, receive, send)
    else:
        await handwritten.ASGI_ROUTES[scope["path"].removeprefix(scope["root_path"])](
            scope, receive, send
        )


def _mounted(target: Any) -> Any:
    app = App()
    app.mount(PREFIX, target)
    return app


# --- WSGI applications under ASGI -----------------------------------------------------------------


def _below(app: AsgiApp) -> AsgiApp:
    async def call(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": PREFIX}, receive, send)

    return call


def _environ(scope: Any, body: bytes) -> dict[str, Any]:
    environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": PREFIX,
        "PATH_INFO": scope["path"].removeprefix(PREFIX),
        "QUERY_STRING": scope["query_string"].decode(),
        "SERVER_NAME": scope["server"][0],
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.input": BytesIO(body),
        "wsgi.url_scheme": scope["scheme"],
    }
    for name, value in scope["headers"]:
        key = name.decode().upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = (
            value.decode()
        )
    return environ


def _collect_wsgi(app: WsgiApp, environ: dict[str, Any]) -> tuple[list[Any], list[bytes]]:
    head: list[Any] = []
    return head, list(
        app(environ, lambda status, pairs, exc_info=None: head.extend((status, pairs)))
    )


def _by_hop(app: WsgiApp, hop: Hop) -> AsgiApp:
    async def call(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await handwritten.make_asgi()(scope, receive, send)
            return
        pieces, more = [], True
        while more:
            message = await receive()
            pieces.append(message["body"])
            more = message["more_body"]
        (status, pairs), chunks = await hop(_collect_wsgi, app, _environ(scope, b"".join(pieces)))
        headers = [(name.encode().lower(), value.encode()) for name, value in pairs]
        await send({"type": "http.response.start", "status": int(status[:3]), "headers": headers})
        for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return call


async def _in_executor(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def make_bottle_a2wsgi() -> AsgiApp:
    return _below(WSGIMiddleware(bottle_app.make_wsgi()))


def make_bottle_micropie() -> AsgiApp:
    app: AsgiApp = _mounted(bottle_app.make_wsgi())
    return app


def make_bottle_threadpool() -> AsgiApp:
    return _by_hop(bottle_app.make_wsgi(), run_in_threadpool)


def make_bottle_executor() -> AsgiApp:
    return _by_hop(bottle_app.make_wsgi(), _in_executor)


def make_wsgi_a2wsgi() -> AsgiApp:
    return _below(WSGIMiddleware(_wsgi()))


def make_wsgi_micropie() -> AsgiApp:
    app: AsgiApp = _mounted(_wsgi())
    return app


def make_wsgi_threadpool() -> AsgiApp:
    return _by_hop(_wsgi(), run_in_threadpool)


def make_wsgi_executor() -> AsgiApp:
    return _by_hop(_wsgi(), _in_executor)


# --- ASGI applications under WSGI -----------------------------------------------------------------


def _moved(app: WsgiApp) -> WsgiApp:
    def call(environ: Any, start_response: Any) -> Iterable[bytes]:
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = (
            PREFIX,
            environ["PATH_INFO"].removeprefix(PREFIX),
        )
        return app(environ, start_response)

    return call


def _scope(environ: Any) -> dict[str, Any]:
    headers = [
        (key[5:].lower().replace("_", "-").encode(), value.encode())
        for key, value in environ.items()
        if key.startswith("HTTP_")
    ]
    for key, name in (("CONTENT_TYPE", b"content-type"), ("CONTENT_LENGTH", b"content-length")):
        if key in environ:
            headers.append((name, environ[key].encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ["wsgi.url_scheme"],
        "root_path": PREFIX,
        "path": environ["PATH_INFO"],
        "raw_path": environ["PATH_INFO"].encode(),
        "query_string": environ["QUERY_STRING"].encode(),
        "headers": headers,
        "client": (environ["REMOTE_ADDR"], int(environ["REMOTE_PORT"])),
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
    }


async def _collect_asgi(app: AsgiApp, scope: dict[str, Any], body: bytes) -> list[Message]:
    messages: list[Message] = []
    pieces = [body]

    async def receive() -> Message:
        if not pieces:
            await sleep_forever()
        return {"type": "http.request", "body": pieces.pop(), "more_body": False}

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    return messages


def _by_blocking_hop(app: AsgiApp, hop: BlockingHop) -> WsgiApp:
    def call(environ: Any, start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start, *parts = hop(_collect_asgi, app, _scope(environ), body)
        headers = [(name.decode(), value.decode()) for name, value in start["headers"]]
        start_response(f"{start['status']} OK", headers)
        return [part.get("body", b"") for part in parts]

    return call


_running = ExitStack()
atexit.register(_running.close)  # while its threads still run


def _portal() -> BlockingHop:
    hop: BlockingHop = _running.enter_context(start_blocking_portal()).call
    return hop


def _loop() -> BlockingHop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return lambda function, *arguments: asyncio.run_coroutine_threadsafe(
        function(*arguments), loop
    ).result()


def make_starlette_a2wsgi() -> WsgiApp:
    return _moved(ASGIMiddleware(starlette_app.make_asgi()))


def make_starlette_micropie() -> WsgiApp:
    app: WsgiApp = _mounted(starlette_app.make_asgi())
    return app


def make_starlette_portal() -> WsgiApp:
    return _by_blocking_hop(starlette_app.make_asgi(), _portal())


def make_starlette_loop() -> WsgiApp:
    return _by_blocking_hop(starlette_app.make_asgi(), _loop())


def make_asgi_a2wsgi() -> WsgiApp:
    return _moved(ASGIMiddleware(_asgi))


def make_asgi_micropie() -> WsgiApp:
    app: WsgiApp = _mounted(_asgi)
    return app


def make_asgi_portal() -> WsgiApp:
    return _by_blocking_hop(_asgi, _portal())


def make_asgi_loop() -> WsgiApp:
    return _by_blocking_hop(_asgi, _loop())


# --- handlers that run elsewhere ------------------------------------------------------------------


class Threaded(App):
    """Sync handlers, each in a worker thread under ASGI."""

    @run_in("thread")
    def m(self, what: str, name: str = "", city: str = "") -> str:
        return f"{name} from {city}" if what == "form" else "Hello, World!"


class Asynchronous(App):
    """Async handlers, each on the portal's loop under WSGI."""

    async def m(self, what: str, name: str = "", city: str = "") -> str:
        return f"{name} from {city}" if what == "form" else "Hello, World!"


def make_threaded() -> AsgiApp:
    return Threaded()


def make_asynchronous() -> WsgiApp:
    return Asynchronous()


def make_starlette_threaded() -> AsgiApp:
    def plain(request: Request) -> Response:
        return PlainTextResponse("Hello, World!")

    return Starlette(routes=[Route(f"{PREFIX}/plain", plain)])
