"""Drives applications in process and times them. This module knows no framework.

A *world* speaks one protocol: it starts and stops applications as a server would, makes requests,
asks for one answer (to check it) and times a batch. Rules that keep the comparison fair:

- scopes and environs are made before the clock starts, a new one per request, equal for all
  contenders;
- the clock measures only the call of the application: no task, no socket, no server;
- every round runs every contender once, in a new random order, so that noise affects all of them;
- the best batch counts: noise only ever adds time. Medians are kept too, to show how noisy the run
  was;
- the cycle collector runs between batches and never inside one.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import random
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from benchmarks.cases import SOCKET, Answer, Case
from benchmarks.mailbox import mailbox

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
WsgiApp = Callable[[Any, Any], Iterable[bytes]]
Timings = dict[str, dict[str, list[float]]]

HEADERS = {
    "host": "127.0.0.1:8000",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "accept": "text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8",
    "accept-encoding": "gzip, deflate, br",
    "connection": "keep-alive",
}
ASGI_VERSIONS = {"version": "3.0", "spec_version": "2.3"}
PIECE = 64 * 1024  # bytes that uvicorn passes on at once
PATIENCE = 10.0  # seconds for one checked answer, a startup or a shutdown; each takes milliseconds


class Unavailable(Exception):
    """A contender needs more than packages, such as a server, and it is missing."""


def headers_of(case: Case) -> dict[str, str]:
    headers = {**HEADERS, "cookie": case.cookie} if case.cookie else HEADERS
    if case.headers:
        headers = {**headers, **dict(case.headers)}
    if not case.body:
        return headers
    return {**headers, "content-type": case.content_type, "content-length": str(len(case.body))}


def signed_in(world: Asks, app: Any, case: Case) -> Case:
    """Return the case with the cookies or the ETag that this application gives for it, if the case
    needs them.

    An application that needs one more header names it, with the value, in ``x-send-back``.
    """
    if case.revalidates:
        etag = world.ask(app, replace(case, status=200)).headers["etag"]
        return replace(case, headers=(*case.headers, ("if-none-match", etag)))
    if not case.sign_in:
        return case
    answer = world.ask(app, Case("sign-in", "", "GET", case.sign_in, b"", cookie=case.cookie))
    name, _, value = answer.headers.get("x-send-back", "").partition("=")
    if answer.status != 200:
        raise RuntimeError(f"{case.sign_in} gave status {answer.status}")
    if case.sign_in in ("/login", "/count") and not answer.cookies:
        raise RuntimeError(f"{case.sign_in} gave no cookie")
    pairs = [case.cookie, *(cookie.partition(";")[0] for cookie in answer.cookies)]
    headers = (*case.headers, (name, value)) if name else case.headers
    return replace(case, cookie="; ".join(filter(None, pairs)), headers=headers)


@lru_cache
def pieces_of(body: bytes) -> tuple[bytes, ...]:
    """Return a body in the pieces in which a server passes it on; one empty piece for no body."""
    return tuple(body[start : start + PIECE] for start in range(0, len(body), PIECE)) or (b"",)


class Asks(Protocol):
    """Whatever gets an application's answers."""

    def ask(self, app: Any, case: Case) -> Answer: ...


class World(Asks, Protocol):
    """One protocol, as a server speaks it.

    The applications have any type, but speak that protocol.
    """

    def start(self, app: Any) -> None: ...
    def prepare(self, app: Any, case: Case, count: int) -> list[Any]: ...
    def timed(self, app: Any, requests: list[Any], letters: int) -> float: ...
    def close(self) -> None: ...


# --- ASGI -----------------------------------------------------------------------------------------


class Exchange:
    """The server's half of one ASGI request.

    After the body `receive` waits until the response is complete, as it does while a client stays
    connected, and then returns `http.disconnect`. So a framework that watches for a disconnect pays
    for that, a framework that ends its watch by this message (Litestar's streams) can do so, and
    all others pay nothing.
    """

    __slots__ = ("messages", "pieces", "watcher")

    def __init__(self, body: bytes) -> None:
        self.pieces = [*reversed(pieces_of(body))]
        self.messages: list[Message] = []
        self.watcher: asyncio.Future[None] | None = None

    async def receive(self) -> Message:
        pieces = self.pieces
        if not pieces:
            return await self._disconnect()
        return {"type": "http.request", "body": pieces.pop(), "more_body": bool(pieces)}

    async def send(self, message: Message) -> None:
        self.messages.append(message)
        if self.watcher is not None and self._complete() and not self.watcher.done():
            self.watcher.set_result(None)

    async def _disconnect(self) -> Message:
        if not self._complete():
            self.watcher = asyncio.get_running_loop().create_future()
            await self.watcher
        return {"type": "http.disconnect"}

    def _complete(self) -> bool:
        last = self.messages[-1] if self.messages else {"type": ""}
        return last["type"] == "http.response.body" and not last.get("more_body")

    def answer(self) -> Answer:
        start, *parts = self.messages or [{"type": ""}]
        if start["type"] != "http.response.start" or not self._complete():
            raise RuntimeError(f"an unfinished response: {[m['type'] for m in self.messages]}")
        pairs = [(bytes(k).decode().lower(), bytes(v).decode()) for k, v in start["headers"]]
        cookies = tuple(value for name, value in pairs if name == "set-cookie")
        return Answer(
            start["status"], dict(pairs), tuple(bytes(m.get("body", b"")) for m in parts), cookies
        )


class YieldingExchange(Exchange):
    """An exchange whose `send` waits for one turn of the event loop."""

    __slots__ = ()

    async def send(self, message: Message) -> None:
        await super().send(message)
        await asyncio.sleep(0)


class SocketExchange(Exchange):
    """The server's half of a WebSocket: the client sends one text, and leaves when it has the
    answer.
    """

    __slots__ = ()

    def __init__(self, text: bytes) -> None:
        super().__init__(b"")
        self.pieces = [text, b""]

    async def receive(self) -> Message:
        if len(self.pieces) == 2:
            self.pieces.pop()
            return {"type": "websocket.connect"}
        if self.pieces:
            return {"type": "websocket.receive", "text": self.pieces.pop().decode()}
        await self._disconnect()
        return {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    def _complete(self) -> bool:
        return bool(self.messages) and self.messages[-1]["type"] in (
            "websocket.send",
            "websocket.close",
        )

    def answer(self) -> Answer:
        kinds = [message["type"] for message in self.messages]
        if kinds[:2] != ["websocket.accept", "websocket.send"]:
            raise RuntimeError(f"not accepted and answered: {kinds}")
        return Answer(101, {}, (self.messages[1]["text"].encode(),))


def make_exchange(case: Case) -> Exchange:
    if case.kind == SOCKET:
        return SocketExchange(case.want)
    return YieldingExchange(case.body) if case.send_yields else Exchange(case.body)


def make_socket_scope(path: str, state: dict[str, Any]) -> dict[str, Any]:
    """Return a WebSocket's scope as uvicorn makes it."""
    return {
        "type": "websocket",
        "asgi": ASGI_VERSIONS.copy(),
        "http_version": "1.1",
        "scheme": "ws",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50123),
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000"), (b"upgrade", b"websocket")],
        "subprotocols": [],
        "state": state.copy(),
        "extensions": {"websocket.http.response": {}},
    }


def make_scope(case: Case, state: dict[str, Any]) -> dict[str, Any]:
    """Return a scope as uvicorn makes it."""
    if case.kind == SOCKET:
        return make_socket_scope(case.path, state)
    return {
        "type": "http",
        "asgi": ASGI_VERSIONS.copy(),
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50123),
        "scheme": "http",
        "method": case.method,
        "root_path": "",
        "path": case.path,
        "raw_path": case.path.encode(),
        "query_string": case.query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in headers_of(case).items()],
        "state": state.copy(),
    }


class Lifespan:
    """Run an application's lifespan as a server with `--lifespan auto` does."""

    def __init__(self, app: AsgiApp) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.outbox: asyncio.Queue[Message] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        self.task = asyncio.create_task(self._run())
        await self._exchange("lifespan.startup")

    async def shutdown(self) -> None:
        await self._exchange("lifespan.shutdown")

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": ASGI_VERSIONS.copy(), "state": self.state}
        await self.app(scope, self.inbox.get, self.outbox.put)

    async def _exchange(self, kind: str) -> None:
        assert self.task is not None
        if self.task.done():  # ended at startup: it has no lifespan
            return
        self.inbox.put_nowait({"type": kind})
        reply = asyncio.ensure_future(self.outbox.get())
        await asyncio.wait(
            (reply, self.task), timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED
        )
        if reply.done() and reply.result()["type"] != f"{kind}.complete":
            raise RuntimeError(f"{kind}: {reply.result()}")
        if not reply.done():
            reply.cancel()
            if not self.task.done():
                raise TimeoutError(f"{kind}: no answer")
            # it may refuse lifespan by raising; read, so that asyncio logs nothing
            self.task.exception()


class AsgiWorld:
    """Calls applications inside one running event loop, one request after the other.

    Without ``lifespan`` it is a server that has none: no startup, and no state in the scope.
    """

    def __init__(self, loop: str = "asyncio", *, lifespan: bool = True) -> None:
        self._runner = asyncio.Runner(loop_factory=_loop_factory(loop))
        self._has_lifespan = lifespan
        self._lifespans: dict[int, Lifespan] = {}

    def start(self, app: AsgiApp) -> None:
        if self._has_lifespan and id(app) not in self._lifespans:
            lifespan = self._lifespans[id(app)] = Lifespan(app)
            self._runner.run(lifespan.startup())

    def close(self) -> None:
        for lifespan in self._lifespans.values():
            self._runner.run(lifespan.shutdown())
        self._runner.close()

    def ask(self, app: AsgiApp, case: Case) -> Answer:
        exchange = make_exchange(case)
        (scope,) = self._scopes(app, case, 1)

        async def call() -> None:
            await asyncio.wait_for(app(scope, exchange.receive, exchange.send), PATIENCE)

        self._runner.run(call())
        return exchange.answer()

    def prepare(self, app: AsgiApp, case: Case, count: int) -> list[Any]:
        exchanges = [make_exchange(case) for _ in range(count)]
        scopes = self._scopes(app, case, count)
        return [
            (scope, each.receive, each.send) for scope, each in zip(scopes, exchanges, strict=True)
        ]

    def timed(self, app: AsgiApp, requests: list[Any], letters: int) -> float:
        return self._runner.run(_timed_asgi(app, requests, letters))

    def _scopes(self, app: AsgiApp, case: Case, count: int) -> list[dict[str, Any]]:
        if self._has_lifespan:
            return [make_scope(case, self._lifespans[id(app)].state) for _ in range(count)]
        scopes = [make_scope(case, {}) for _ in range(count)]
        for scope in scopes:
            del scope["state"]
        return scopes


async def _timed_asgi(app: AsgiApp, requests: list[Any], letters: int) -> float:
    expected = mailbox.sent + letters
    # The loop of a server always has a timer, uvicorn's tick for example. Without one, a framework
    # that sets one would pay for the loop's look at it, 0.1 µs a turn, and the others would not.
    timer = asyncio.get_running_loop().call_later(PATIENCE, int)
    start = time.perf_counter()
    for scope, receive, send in requests:
        await app(scope, receive, send)
    while mailbox.sent < expected:
        if time.perf_counter() - start > PATIENCE:
            raise TimeoutError(f"{expected - mailbox.sent} letters were not sent")
        await asyncio.sleep(0)
    spent = time.perf_counter() - start
    timer.cancel()
    return spent


def _loop_factory(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop  # optional: chosen on the command line

    return uvloop.new_event_loop


# --- WSGI -----------------------------------------------------------------------------------------


class FileWrapper:
    """`wsgi.file_wrapper`, because gunicorn has one."""

    def __init__(self, file: Any, size: int = 8192) -> None:
        self.file, self.size = file, size
        if hasattr(file, "close"):
            self.close = file.close

    def __iter__(self) -> Iterable[bytes]:
        return iter(lambda: self.file.read(self.size), b"")


class Head:
    """The arguments of `start_response`."""

    __slots__ = ("headers", "status")

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Any:
        self.status, self.headers = status, headers
        return _no_write


def _no_write(data: bytes) -> None:
    raise NotImplementedError("no contender uses write()")


def make_environ(case: Case) -> dict[str, Any]:
    """Return an environ as gunicorn's sync worker makes it."""
    environ = {
        "wsgi.errors": sys.stderr,
        "wsgi.version": (1, 0),
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
        "wsgi.input_terminated": True,
        "wsgi.input": io.BytesIO(case.body),
        "wsgi.url_scheme": "http",
        "SERVER_SOFTWARE": "gunicorn/23.0.0",
        "REQUEST_METHOD": case.method,
        "QUERY_STRING": case.query,
        "RAW_URI": f"{case.path}?{case.query}" if case.query else case.path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "50123",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "PATH_INFO": case.path,
        "SCRIPT_NAME": "",
    }
    for name, value in headers_of(case).items():
        key = name.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ


class WsgiWorld:
    """Calls applications in the main thread, as a sync worker does."""

    def start(self, app: WsgiApp) -> None:
        """Do nothing: WSGI has no startup.

        The check triggers what an application does at its first request.
        """

    def close(self) -> None:
        pass

    def ask(self, app: WsgiApp, case: Case) -> Answer:
        head = Head()
        result = app(make_environ(case), head.start_response)
        with contextlib.ExitStack() as stack:
            stack.callback(getattr(result, "close", lambda: None))
            pieces = tuple(result)
        pairs = [(name.lower(), value) for name, value in head.headers]
        cookies = tuple(value for name, value in pairs if name == "set-cookie")
        return Answer(int(head.status.split(" ", 1)[0]), dict(pairs), pieces, cookies)

    def prepare(self, app: WsgiApp, case: Case, count: int) -> list[Any]:
        return [(make_environ(case), Head().start_response) for _ in range(count)]

    def timed(self, app: WsgiApp, requests: list[Any], letters: int) -> float:
        expected = mailbox.sent + letters
        start = time.perf_counter()
        for environ, start_response in requests:
            result = app(environ, start_response)
            try:
                for _ in result:
                    pass
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        if letters:
            mailbox.wait_for(expected, PATIENCE)
        return time.perf_counter() - start


# --- rounds ---------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A contender's application for one case, in the world where it runs."""

    name: str
    world: World
    app: Any
    case: Case


def measure(
    entries: Sequence[Entry],
    *,
    rounds: int,
    batch: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Timings:
    """Return microseconds per request, of every batch: contender -> case -> one number a round."""
    timings: Timings = {}
    by_case: dict[str, list[Entry]] = {}
    for entry in entries:
        timings.setdefault(entry.name, {})[entry.case.name] = []
        own = entry._replace(case=signed_in(entry.world, entry.app, entry.case))
        by_case.setdefault(entry.case.name, []).append(own)
    for number in range(rounds + 1):
        for order in by_case.values():
            random.shuffle(order)
            for entry in order:
                spent = _timed_batch(entry, entry.case.batch_size(batch))
                if number:  # round 0 warms up: caches, lazy imports, specialised bytecode
                    timings[entry.name][entry.case.name].append(spent)
        progress(number)
    return timings


def _timed_batch(entry: Entry, count: int) -> float:
    requests = entry.world.prepare(entry.app, entry.case, count)
    gc.collect()
    gc.disable()
    try:
        return (
            entry.world.timed(entry.app, requests, count if entry.case.sends_mail else 0)
            / count
            * 1e6
        )
    finally:
        gc.enable()
