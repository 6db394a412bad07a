"""One trivial handler, called in another process: by micropie, and by the standard library alone.

The bare applications have no time limits and no request: they pass the function's name, and return
its result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from benchmarks.apps import handwritten
from benchmarks.cases import HELLO
from benchmarks.harness import AsgiApp, WsgiApp
from micropie import App, run_in


def work() -> str:
    return HELLO


class Site(App):
    @run_in("process")
    def plain(self) -> str:
        return work()


def make_micropie() -> Any:
    """It is both."""
    return Site(processes=1)


def _executor() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def _asgi(hand_over: Callable[[], Awaitable[str]]) -> AsgiApp:
    async def call(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await handwritten.make_asgi()(scope, receive, send)
            return
        body = (await hand_over()).encode()
        headers = [handwritten.BYTES_TEXT, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return call


def make_asgi_executor() -> AsgiApp:
    executor = _executor()
    return _asgi(lambda: asyncio.get_running_loop().run_in_executor(executor, work))


def make_wsgi_executor() -> WsgiApp:
    executor = _executor()

    def call(environ: Any, start_response: Any) -> Iterable[bytes]:
        body = executor.submit(work).result().encode()
        start_response(
            "200 OK",
            [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))],
        )
        return [body]

    return call
