"""No object of a request is in a reference cycle, which would keep it until the garbage collector
runs: after every kind of request, the collector finds nothing of micropie's and nothing of the
request's.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from pydantic import Json

from micropie import (
    App,
    EventStream,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Response,
    UploadFile,
    WebSocket,
    static_file,
)
from micropie._core.execution import current
from micropie.channels import Channels
from micropie.middleware import AccessLog, Compress, RateLimit, RequestId, Timeout
from micropie.sessions import SQLiteSessionBackend
from tests.asgi.calls import START, Call, Message, http_scope, piece, run
from tests.support.clients import MakeClient
from tests.support.multipart_forms import PAIRS, form, section
from tests.wsgi.calls import begin

LONG = 1000  # seconds; a timer that is over would free what a cancelled one keeps
LARGE = b"x" * 3_000_000
FORM = form(section('name="file"; filename="f"', LARGE))


class Service: ...


class AsyncService: ...


class Items:
    """An iterator that keeps the request, which keeps the stream."""

    def __init__(self) -> None:
        self._request, self._items = current.get(), iter("ab")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._items)

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        for item in self._items:
            return item
        raise StopAsyncIteration


class AsyncItems(Items):
    __iter__ = None  # type: ignore[assignment]
    __next__ = None  # type: ignore[assignment]


class Site(App):
    """What a handler may return, and how it may end."""

    def __init__(self, directory: Path) -> None:
        store = SQLiteSessionBackend(directory / "sessions.db")
        super().__init__(store, send_timeout=LONG, background_timeout=LONG, body_timeout=LONG)
        self.directory, self.channels = directory, Channels()
        (directory / "small").write_bytes(b"x")
        (directory / "large").write_bytes(LARGE)

    def text(self) -> Any:
        return "x"

    async def json(self) -> Any:
        return {"a": self.request.query("a", "")}

    def stream(self) -> Iterator[str]:
        yield current.get().path
        yield "b" * 600

    async def async_stream(self) -> AsyncIterator[str]:
        yield current.get().path
        await anyio.lowlevel.checkpoint()
        yield "b" * 600

    async def group(self) -> AsyncIterator[str]:
        async with anyio.create_task_group():
            yield "a"
            yield "b"

    def items(self) -> Any:
        return Items()

    async def async_items(self) -> Any:
        return AsyncItems()

    def responds(self) -> Any:
        return Response(Items(), 201, {"X-A": "b"})

    def many(self) -> Iterator[str]:
        for _ in range(200):
            yield "a" * 1000

    def events(self) -> Any:
        request = current.get()
        return EventStream(iter("ab"), map=lambda item: request.path + item)

    async def async_events(self) -> Any:
        request = current.get()
        return EventStream(AsyncItems(), map=lambda item: request.path + item)

    def published(self) -> Any:
        subscribed: Any = Subscribed(self.channels)
        return EventStream(subscribed)

    def fails_first(self) -> Iterator[str]:
        raise LookupError
        yield ""

    async def async_fails_first(self) -> AsyncIterator[str]:
        raise LookupError
        yield ""

    def fails_later(self) -> Iterator[str]:
        yield "a"
        raise LookupError

    async def async_fails_later(self) -> AsyncIterator[str]:
        yield "a"
        raise LookupError

    def events_fail(self) -> Any:
        return EventStream(self.fails_later())

    def small(self) -> Any:
        return static_file("small", root=self.directory)

    async def large(self) -> Any:
        return static_file("large", root=self.directory)

    def opened(self) -> Any:
        return BytesIO(LARGE)

    def upload(self, file: UploadFile) -> Any:
        return str(file.size)

    async def async_upload(self, file: UploadFile) -> Any:
        return str(file.size)

    def missing(self) -> Any:
        raise HTTPError(404)

    async def crash(self) -> Any:
        raise LookupError

    def redirect(self) -> Any:
        raise Redirect("/")

    def invalid(self, number: int) -> Any:
        raise AssertionError

    def invalid_json(self, numbers: Json[list[int]]) -> Any:
        raise AssertionError

    @Timeout(0.01)
    async def slow(self) -> Any:
        await anyio.Event().wait()

    def session(self) -> Any:
        self.request.session["a"] = 1
        self.response.set_cookie("a", "1")
        return "x"

    def follows(self) -> Any:
        request = current.get()
        request.after_response(lambda: request.path)
        request.on_close(lambda: request.path)
        return "x"

    async def async_follows(self) -> AsyncIterator[str]:
        request = current.get()

        async def follow() -> str:
            return str(request.path)

        request.after_response(follow)
        yield "x"

    def provided(self, service: Service) -> Iterator[str]:
        yield "x"

    async def async_provided(self, service: AsyncService) -> Any:
        return "x"

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(str(message))


class Subscribed:
    """A subscription that ends after a message."""

    def __init__(self, channels: Channels) -> None:
        self._channels, self._subscription = channels, channels.subscribe("a")

    async def __aenter__(self) -> AsyncIterator[object]:
        messages = await self._subscription.__aenter__()
        self._channels.publish("a", "1")

        async def first() -> AsyncIterator[object]:
            yield await anext(messages)

        return first()

    async def __aexit__(self, *raised: Any) -> None:
        await self._subscription.__aexit__(*raised)


def provide() -> Iterator[Service]:
    yield Service()


async def provide_async() -> AsyncIterator[AsyncService]:
    yield AsyncService()


class Inner(App):
    async def index(self) -> AsyncIterator[str]:
        yield "inner"


async def mounted(scope: Any, receive: Any, send: Any) -> None:
    await send(START)
    for _ in range(3):
        await anyio.lowlevel.checkpoint()
        await send({"type": "http.response.body", "body": b"x" * 600, "more_body": True})
    if scope["path"].endswith("/fails"):
        raise LookupError
    await send({"type": "http.response.body", "body": b""})


def mounted_wsgi(environ: Any, start_response: Any) -> Iterator[bytes]:
    write = start_response("200 OK", [("Content-Type", "text/plain")])
    write(environ["wsgi.input"].read() or b"x" * 600)
    yield b"a"
    if environ["PATH_INFO"].endswith("/fails"):
        raise LookupError


class Hook(HttpMiddleware):
    def before_request(self, request: Any) -> None: ...

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
        headers.append(("X-A", "b"))


class AsyncHook(HttpMiddleware):
    async def before_request(self, request: Any) -> None: ...

    async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
        headers.append(("X-A", "b"))


class Wraps(HttpMiddleware):
    """Replaces a stream with one that reads from it."""

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
        if hasattr(body, "__aiter__"):
            return {"body": self._async(body)}
        return {"body": self._wrap(body)} if hasattr(body, "__next__") else None

    def _wrap(self, body: Any) -> Iterator[bytes]:
        for chunk in body:
            yield chunk.upper()

    async def _async(self, body: Any) -> AsyncIterator[bytes]:
        async for chunk in body:
            yield chunk.upper()


def places(directory: Path) -> Any:
    """Return middleware that responds with a file in place of everything else."""

    def place(request: Any) -> Any:
        with suppress(Exception):
            yield
        return static_file("small", root=directory)

    return place


def around(request: Any) -> Iterator[None]:
    yield


async def around_async(request: Any) -> AsyncIterator[None]:
    yield


MIDDLEWARE: dict[str, Callable[[Path], list[Any]]] = {
    "": lambda _: [],
    "hooks": lambda _: [Hook(), AsyncHook()],
    "generators": lambda _: [around, around_async],
    "built-in": lambda _: [
        RequestId(),
        AccessLog(),
        RateLimit(1_000_000),
        Compress(),
        Timeout(LONG),
    ],
    "wraps": lambda _: [Wraps(), Compress()],
    "places": lambda directory: [places(directory), Wraps()],
}

PATHS = [
    "text", "json?a=b", "stream", "async_stream", "group", "items", "async_items", "responds",
    "many", "events", "async_events", "published", "fails_first", "async_fails_first",
    "fails_later", "async_fails_later", "events_fail", "small", "large", "opened", "upload",
    "async_upload", "missing", "crash", "redirect", "invalid",
    "invalid_json?numbers=%5B%22x%22%5D", "slow", "session", "follows",
    "async_follows", "provided", "async_provided", "nowhere/at/all", "%00", "inner", "isolated",
    "mounted", "mounted/fails", "mounted_wsgi", "mounted_wsgi/fails", "HEAD stream",
    "HEAD async_items", "HEAD events", "HEAD large", "HEAD mounted", "HEAD mounted_wsgi",
]  # fmt: skip


def site(directory: Path, middleware: str) -> Site:
    app = Site(directory)
    app.provides(Service)(provide)
    app.provides(AsyncService)(provide_async)
    app.inner = Inner()
    app.mount("/isolated", Inner(), isolated=True)
    app.mount("/mounted", mounted)
    app.mount("/mounted_wsgi", mounted_wsgi)
    app.middlewares += MIDDLEWARE[middleware](directory)
    return app


class Leaves(Call):
    """The client disconnects at the second message: the server reports it by ``receive``."""

    async def send(self, message: Message) -> None:
        await super().send(message)
        if len(self.sent) > 1:
            self.leave()


class Breaks(Call):
    """The same, reported by ``send``."""

    async def send(self, message: Message) -> None:
        await super().send(message)
        if len(self.sent) > 1:
            raise OSError


async def ask(app: Any, path: str, make_call: type[Call]) -> None:
    method, _, path = path.rpartition(" ")
    is_upload = path.endswith("upload")
    headers = [(b"host", b"testserver"), (b"accept-encoding", b"gzip"), *PAIRS * is_upload]
    call = make_call(piece(FORM if is_upload else b""))
    scope = http_scope(method or ("POST" if is_upload else "GET"), f"/{path}", headers=headers)
    with suppress(LookupError):
        await app(scope, call.receive, call.send)
    for _ in range(20):  # for the tasks that go on after the response
        await anyio.lowlevel.checkpoint()


def ask_wsgi(app: Any, path: str, *, leaves: bool) -> None:
    method, _, path = path.rpartition(" ")
    changes: Any = {"HTTP_ACCEPT_ENCODING": "gzip"}
    body = FORM if path.endswith("upload") else b""
    if body:
        method, changes["CONTENT_TYPE"] = "POST", PAIRS[0][1].decode()
    with suppress(LookupError):
        answer = begin(app, method or "GET", f"/{path}", body, **changes)
        if leaves:
            try:
                next(iter(answer.chunks), None)
            finally:
                answer.close()
        else:
            answer.read()


def garbage() -> Counter[str]:
    """Return the types of what the collector finds, of micropie and of the requests."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    types = [f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage]
    gc.garbage.clear()
    gc.collect()  # free it, so that it isn't found again
    return Counter(name for name in types if name.startswith(("micropie", "tests")))


def found_after(world: str, app: Any, make_calls: list[Any]) -> dict[str, Counter[str]]:
    """Ask for everything in a world, and return what the collector finds after it."""
    found = {}

    async def main() -> None:
        for path in PATHS:
            for make_call in make_calls:
                for _ in range(2):  # the loop, or a thread, lets go of its last call with its next
                    if world == "wsgi":
                        ask_wsgi(app, path, leaves=make_call is not Call)
                    else:
                        await ask(app, path, make_call)
                found[f"{path} {make_call.__name__}"] = garbage()

    if world == "wsgi":
        with suppress(StopIteration):
            main().send(None)
    else:
        run(world, main, within=2 * LONG)
    return {name: count for name, count in found.items() if count}


@pytest.fixture
def only_new_objects(no_collector: None) -> Iterator[None]:
    """Let the collector look at new objects only: those of all tests before take it a second."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("only_new_objects")
@pytest.mark.parametrize("middleware", MIDDLEWARE)
def test_no_object_of_a_request_is_in_a_reference_cycle(
    world: str, middleware: str, tmp_path: Path
) -> None:
    calls = [Call, Leaves, Breaks] if middleware in ("", "wraps") else [Call]
    app = site(tmp_path, middleware)
    gc.collect()
    assert found_after(world, app, calls) == {}


@pytest.mark.usefixtures("only_new_objects")
def test_no_object_of_a_websocket_is_in_a_reference_cycle(backend: str, tmp_path: Path) -> None:
    app = site(tmp_path, "generators")

    async def main() -> None:
        for _ in range(2):
            call = Call({"type": "websocket.connect"}, {"type": "websocket.receive", "text": "x"})
            call.leave()
            scope = {**http_scope("GET", "/echo"), "type": "websocket", "scheme": "ws"}
            with suppress(KeyError):
                await app(scope, call.receive, call.send)

    gc.collect()
    run(backend, main)
    assert garbage() == {}


def test_a_file_takes_the_place_of_any_stream(make_client: MakeClient, tmp_path: Path) -> None:
    client = make_client(site(tmp_path, "places"))
    for path in PATHS:
        if "stream" in path or "items" in path or "mounted" in path:
            method, _, path = path.rpartition(" ")
            answer = client.request(method or "GET", f"/{path}")
            assert (answer.status_code, answer.content) == (200, b"" if method else b"x")
