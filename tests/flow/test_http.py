"""The life of a request: where handlers run, whose request they see, and what is left when it is
over.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial, wraps
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from anyio import to_thread

import micropie._core.execution
from micropie import (
    App,
    EventStream,
    HTTPError,
    HttpMiddleware,
    Redirect,
    Request,
    route,
    run_async,
    run_in,
)
from micropie._core.execution import background_loop
from micropie._core.execution.steps import no_function
from micropie._core.streams import CHUNKS_PER_CHECK
from micropie.middleware import AccessLog, Compress, RateLimit, RequestId, Timeout
from tests.asgi.calls import START, Call, get, http_scope, piece, run
from tests.support.clients import MakeClient
from tests.support.threads import started_threads
from tests.support.waiting import PATIENCE, until, until_async
from tests.wsgi.calls import get as wsgi_get


class Where(App):
    """Handlers that say which thread they run in."""

    def sync(self) -> Any:
        return threading.get_ident()

    async def asynchronous(self) -> Any:
        return threading.get_ident()

    @run_in("loop")
    def inlined(self) -> Any:
        return threading.get_ident()

    def generator(self) -> Iterator[str]:
        yield str(threading.get_ident())

    async def async_generator(self) -> AsyncIterator[str]:
        yield str(threading.get_ident())


# -- where handlers run ----------------------------------------------------------------------------


def test_under_asgi_def_runs_in_a_worker_thread_and_async_def_on_the_loop(
    backend: str,
) -> None:
    async def idents() -> dict[str, bool]:
        here = threading.get_ident()
        paths = ("sync", "asynchronous", "inlined", "generator", "async_generator")
        return {path: int((await get(Where(), f"/{path}")).body) == here for path in paths}

    here = run(backend, idents)
    assert {path for path in here if here[path]} == {"asynchronous", "inlined", "async_generator"}


def test_under_wsgi_def_runs_in_the_server_s_thread_and_async_def_on_the_loop() -> None:
    app, here = Where(), threading.get_ident()
    paths = ("sync", "asynchronous", "inlined", "generator", "async_generator")
    idents = {path: int(wsgi_get(app, f"/{path}")[1]) for path in paths}
    assert {path for path in paths if idents[path] == here} == {"sync", "inlined", "generator"}
    assert idents["asynchronous"] == idents["async_generator"]


def test_under_wsgi_a_def_handler_starts_no_event_loop() -> None:
    app = Where()
    with started_threads() as started:
        for path in ("sync", "inlined", "generator"):
            wsgi_get(app, f"/{path}")
    assert started == []


def test_the_threads_setting_limits_the_threads(backend: str) -> None:
    busy, most, lock = 0, 0, threading.Lock()
    enough = threading.Event()

    class Root(App):
        def index(self) -> None:
            nonlocal busy, most
            with lock:
                busy += 1
                most = max(most, busy)
                if busy == 3:
                    enough.set()
            enough.wait(PATIENCE)
            with lock:
                busy -= 1

    async def many() -> None:
        app = Root(threads=3)
        async with anyio.create_task_group() as tasks:
            for _ in range(9):
                tasks.start_soon(get, app)

    run(backend, many)
    assert most == 3


def test_R67_busy_handlers_delay_neither_async_handlers_nor_other_threads(backend: str) -> None:
    leave, entered = threading.Event(), threading.Semaphore(0)

    class Root(App):
        def index(self) -> None:
            entered.release()
            leave.wait(2 * PATIENCE)

        async def health(self) -> Any:  # type: ignore[override]
            return await to_thread.run_sync(lambda: "fine")

    async def main() -> bytes:  # type: ignore[return]
        app = Root(threads=40)
        async with anyio.create_task_group() as tasks:
            try:
                for _ in range(45):
                    tasks.start_soon(get, app)
                for _ in range(40):
                    await to_thread.run_sync(entered.acquire)
                with anyio.fail_after(PATIENCE):
                    return (await get(app, "/health")).body
            finally:
                leave.set()

    assert run(backend, main) == b"fine"


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def disguised(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(self: Any) -> Any:
        return function(self)

    return wrapper


class Decorated(App):
    @decorated
    async def wrapped(self) -> Any:
        return "awaited"

    @disguised
    async def undeclared(self) -> Any:
        return "awaited"

    @decorated
    def sync(self) -> Any:
        return "called"

    @disguised
    async def stream(self) -> Any:
        return iter(["a", "b"])

    def coroutine(self) -> Any:
        return self._later()

    async def _later(self) -> Any:
        return 201, "later"


def test_decorated_handlers_are_awaited(make_client: MakeClient) -> None:
    client = make_client(Decorated())
    paths = ("wrapped", "undeclared", "sync", "stream", "coroutine")
    answers = [client.get(f"/{path}").text for path in paths]
    assert answers == ["awaited", "awaited", "called", "ab", "later"]
    assert client.get("/coroutine").status_code == 201


def test_handlers_may_be_methods_functions_and_partials(make_client: MakeClient) -> None:
    class Handlers(App):
        @staticmethod
        async def static() -> str:  # type: ignore[override]
            return "static"

        @classmethod
        async def of_class(cls) -> str:
            return cls.__name__

    async def given(prefix: str, name: str = "x") -> str:
        return prefix + name

    app = Handlers()
    app.assigned = route()(lambda name="x": f"assigned {name}")
    app.partial = route()(partial(given, "p"))
    client = make_client(app)
    paths = ("/static", "/of_class", "/assigned/y", "/partial/z")
    assert [client.get(path).text for path in paths] == ["static", "Handlers", "assigned y", "pz"]


@pytest.mark.parametrize("error", [StopIteration("x"), StopAsyncIteration("x")])
@pytest.mark.parametrize("kind", ["sync", "asynchronous", "inlined"])
def test_a_handler_s_stop_iteration_gets_a_500(
    make_client: MakeClient, kind: str, error: Exception
) -> None:
    class Root(App):
        def sync(self) -> Any:
            raise error

        async def asynchronous(self) -> Any:
            raise error

        @run_in("loop")
        def inlined(self) -> Any:
            raise error

    assert make_client(Root()).get(f"/{kind}").status_code == 500


# -- R68: whose request it is ----------------------------------------------------------------------


def _id_here() -> str:
    return str(micropie.request.query("id"))


class Interleaved(App):
    """Each handler lets others run between two looks at its request."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[bool] = []

    async def asynchronous(self) -> Any:
        first = _id_here()
        await anyio.lowlevel.checkpoint()
        return first + _id_here() + self.request.state.mark

    def sync(self) -> Any:
        return _id_here() + _id_here() + self.request.state.mark

    async def async_generator(self) -> AsyncIterator[str]:
        yield _id_here()
        await anyio.lowlevel.checkpoint()
        yield _id_here()
        yield self.request.state.mark

    def generator(self) -> Iterator[str]:
        yield _id_here()
        yield _id_here()
        yield self.request.state.mark

    async def in_thread(self) -> Any:
        return await to_thread.run_sync(lambda: _id_here() * 2) + self.request.state.mark

    async def in_task(self) -> Any:
        seen: list[str] = []

        async def look() -> None:
            await anyio.lowlevel.checkpoint()
            seen.append(_id_here())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            tasks.start_soon(look)
        return "".join(seen) + self.request.state.mark

    def background(self) -> Any:
        number = _id_here()
        self.request.after_response(self._note, number)
        return number * 2 + self.request.state.mark

    async def _note(self, number: str) -> None:
        await anyio.lowlevel.checkpoint()
        self.noted.append(number == _id_here())


class Mark(HttpMiddleware):
    """What a hook sets is seen by the handler, and the other way round."""

    def __init__(self, app: App) -> None:
        self.app = app
        # appended to by several threads, where adding to a number would lose some
        self.seen: list[bool] = []

    async def before_request(self, request: Any) -> None:
        await anyio.lowlevel.checkpoint()
        request.state.mark = f"/{_id_here()}"

    def after_request(self, request: Any, *_: Any) -> None:
        is_own = request is micropie._core.execution.current.get()
        self.seen.append(is_own and self.app.request.state.mark == f"/{_id_here()}")


PATHS = [
    "asynchronous", "sync", "async_generator", "generator", "in_thread", "in_task", "background",
]  # fmt: skip


def test_R68_interleaved_requests_see_their_own_data(backend: str) -> None:
    app = Interleaved()
    mark = Mark(app)
    app.middlewares.append(mark)
    wrong: list[Any] = []

    async def one(number: int) -> None:
        call = await get(app, f"/{PATHS[number % len(PATHS)]}?id={number}")
        if call.body.decode() != f"{number}{number}/{number}":
            wrong.append((number, call.body))
        with pytest.raises(LookupError):
            micropie.request.path  # noqa: B018

    async def many() -> None:
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(one, number)

    run(backend, many)
    assert (wrong, mark.seen) == ([], 200 * [True])
    assert app.noted == 200 // len(PATHS) * [True]


def test_R68_interleaved_requests_see_their_own_data_under_wsgi() -> None:
    app = Interleaved()
    app.middlewares.append(Mark(app))

    def one(number: int) -> str:
        body = wsgi_get(app, f"/{PATHS[number % len(PATHS)]}?id={number}")[1].decode()
        with pytest.raises(LookupError, match="Pass what it needs as an argument"):
            micropie.request.path  # noqa: B018
        return body

    with ThreadPoolExecutor(10) as threads:
        found = list(threads.map(one, range(200)))
        assert found == [f"{number}{number}/{number}" for number in range(200)]
    app.wsgi_shutdown()  # waits for what runs after the answers
    assert app.noted == 200 // len(PATHS) * [True]


@pytest.mark.parametrize("path", ["/crash", "/nowhere", "/%ff"])
def test_R68_there_is_no_current_request_after_an_error(backend: str, path: str) -> None:
    class Root(App):
        async def crash(self) -> Any:
            raise RuntimeError

    async def main() -> None:
        await get(Root(), path)
        with pytest.raises(LookupError):
            micropie.request.path  # noqa: B018

    run(backend, main)
    wsgi_get(Root(), path)
    with pytest.raises(LookupError):
        micropie.request.path  # noqa: B018


# -- nothing is left -------------------------------------------------------------------------------


class Ends(App):
    """Every way a request can end."""

    kept: list[weakref.ref[Any]]

    def _keep(self) -> None:
        self.kept.append(weakref.ref(micropie._core.execution.current.get()))

    def sync(self) -> Any:
        self._keep()
        return "x"

    async def asynchronous(self) -> Any:
        self._keep()
        return {"a": 1}

    def sync_error(self) -> Any:
        self._keep()
        raise HTTPError(404)

    async def http_error(self) -> Any:
        self._keep()
        raise HTTPError(404)

    def crash(self) -> Any:
        self._keep()
        raise RuntimeError

    async def async_crash(self) -> Any:
        self._keep()
        raise RuntimeError

    def redirect(self) -> Any:
        self._keep()
        raise Redirect("/")

    def stream(self) -> Iterator[str]:
        self._keep()
        yield "a"
        yield "b"

    async def async_stream(self) -> AsyncIterator[str]:
        self._keep()
        yield "a"
        yield "b"

    async def body(self) -> Any:
        self._keep()
        return await self.request.body()

    def session(self) -> Any:
        self._keep()
        self.request.session["a"] = 1
        self.response.set_cookie("a", "1")
        return self.request.url

    async def unsendable(self) -> Any:
        self._keep()
        return object()

    async def missing(self, a: int) -> Any:
        raise AssertionError


ENDS = [
    "sync", "asynchronous", "sync_error", "http_error", "crash", "async_crash", "redirect",
    "stream", "async_stream", "body", "session", "unsendable",
]  # fmt: skip


NO_HOOKS: list[Any] = []
ONE_HOOK = [type("Hook", (HttpMiddleware,), {"after_request": lambda *_: None})()]
# Seconds. asyncio keeps a cancelled timer with its context until those before it are over, and
# ``run`` has one of 30.
LONG = 1000
BUILT_IN = [RequestId(), AccessLog(), RateLimit(1_000_000), Compress(minimum=0), Timeout(LONG)]


def _around(request: Any) -> Iterator[None]:
    try:
        yield
    finally:
        pass


async def _async_around(request: Any) -> AsyncIterator[None]:
    try:
        yield
    except HTTPError as error:
        raise KeyError from error


GENERATORS = [_async_around, _around, run_in("loop")(partial(_around)), _async_around]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "hooks",
    [NO_HOOKS, ONE_HOOK, BUILT_IN, GENERATORS],
    ids=["", "hooked", "built-in", "generators"],
)
@pytest.mark.parametrize("path", ENDS)
def test_a_request_is_freed_without_the_cycle_collector(
    backend: str, path: str, hooks: list[Any]
) -> None:
    app = Ends(send_timeout=LONG, background_timeout=LONG, body_timeout=LONG)
    app.kept = []
    app.middlewares += hooks

    async def main() -> None:
        call = await get(
            app, f"/{path}", "POST", piece(b"x"), headers=[(b"accept-encoding", b"gzip")]
        )
        assert call.is_complete
        del call
        # A worker thread lets go of its call a moment after the task goes on.
        await until_async(lambda: [kept() for kept in app.kept] == [None])

    run(backend, main)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    "hooks", [NO_HOOKS, BUILT_IN, GENERATORS], ids=["", "built-in", "generators"]
)
@pytest.mark.parametrize("path", [path for path in ENDS if path != "async_stream"])
def test_a_request_is_freed_without_the_cycle_collector_under_wsgi(
    path: str, hooks: list[Any]
) -> None:
    app = Ends()
    app.kept = []
    app.middlewares += hooks
    wsgi_get(app, f"/{path}", "POST", b"x", HTTP_ACCEPT_ENCODING="gzip")
    wsgi_get(app, "/missing")  # the portal's loop lets go of its last call with its next one
    # and a worker thread of it a moment after its result
    until(lambda: [kept() for kept in app.kept] == [None])


class Broken(Ends):
    """Ways to end after the response has started, and a response that something follows."""

    def stream(self) -> Iterator[str]:
        self._keep()
        yield "a"
        raise LookupError

    async def async_stream(self) -> AsyncIterator[str]:
        self._keep()
        yield "a"
        raise LookupError

    def events(self) -> Any:
        self._keep()
        return EventStream(self._events())

    def _events(self) -> Iterator[str]:
        yield "a"
        raise LookupError

    def many_events(self) -> Any:
        """More than are sent before somebody watches the client."""
        self._keep()
        return EventStream(self._many())

    async def _many(self) -> AsyncIterator[str]:
        for number in range(CHUNKS_PER_CHECK + 1):
            yield str(number)
        raise LookupError

    def follows(self) -> str:
        self._keep()
        self.request.after_response(self.request.state.__dict__.clear)
        return "x"

    def later(self) -> str:
        self._keep()
        self.request.after_response(lookup_fails)
        return "x"


def lookup_fails() -> None:
    raise LookupError


class Keeps(HttpMiddleware):
    """Keeps the request of a mounted application."""

    def __init__(self, kept: list[weakref.ref[Any]]) -> None:
        self.kept = kept

    def before_request(self, request: Any) -> None:
        if request.path.startswith("/mounted"):
            self.kept.append(weakref.ref(micropie._core.execution.current.get()))


def broken_app() -> Broken:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise LookupError

    def mounted_wsgi(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"a"
        raise LookupError

    app = Broken(background_timeout=LONG, send_timeout=LONG)
    app.kept = []
    app.mount("/mounted", mounted)
    app.mount("/mounted_wsgi", mounted_wsgi)
    app.middlewares.append(Keeps(app.kept))
    return app


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", [
    "stream", "async_stream", "events", "many_events", "follows", "later", "mounted",
    "mounted_wsgi",
])  # fmt: skip
def test_an_aborted_request_is_freed_without_the_cycle_collector(
    world: str, path: str, method: str
) -> None:
    app = broken_app()

    async def main() -> None:
        with suppress(LookupError):
            await get(app, f"/{path}", method)
        await until_async(lambda: [kept() for kept in app.kept] == [None])

    if world == "wsgi":
        with suppress(LookupError):
            wsgi_get(app, f"/{path}", method)
        with suppress(LookupError):
            # the portal's loop lets go of its last call with its next one
            wsgi_get(app, "/missing")
        until(lambda: [kept() for kept in app.kept] == [None])
    else:
        run(world, main)


class Watched(Ends):
    """Streams that end after their client is watched, and heartbeats and limits have a timer."""

    call: Call

    async def stream(self) -> AsyncIterator[str]:  # type: ignore[override]
        self._keep()
        yield "a"
        while not self.call.received:
            await anyio.lowlevel.checkpoint()  # a sleep would have a timer of its own

    async def events(self) -> EventStream:
        return EventStream(self.stream(), heartbeat=1000, send_timeout=1000)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("path", ["stream", "events"])
def test_a_stream_s_timers_keep_no_request(backend: str, path: str) -> None:
    """asyncio keeps a cancelled timer until it would have been due."""

    async def main() -> None:
        app = Watched(send_timeout=1000)
        app.kept, app.call = [], Call()
        await app(http_scope("GET", f"/{path}"), app.call.receive, app.call.send)
        assert app.call.is_complete
        await until_async(lambda: [kept() for kept in app.kept] == [None])

    run(backend, main)


@pytest.mark.usefixtures("no_collector")
def test_the_timers_of_a_slow_body_keep_no_request(backend: str) -> None:
    app = Ends(body_timeout=LONG)
    app.kept = []

    class Waits(Call):
        async def receive(self) -> Any:
            await anyio.lowlevel.checkpoint()
            return await super().receive()

    async def main() -> None:
        call = Waits(piece(b"x"))
        await app(http_scope("POST", "/body"), call.receive, call.send)
        assert call.is_complete
        await until_async(lambda: [kept() for kept in app.kept] == [None])

    run(backend, main)


@pytest.mark.usefixtures("no_collector")
def test_the_timers_of_a_disconnect_keep_no_request(backend: str) -> None:
    class Left(Ends):
        async def stream(self) -> AsyncIterator[str]:  # type: ignore[override]
            self._keep()
            yield "a"
            await anyio.Event().wait()  # a sleep would have a timer of its own

    async def main() -> None:
        app, call = Left(cancel_grace=LONG), Call(piece(b""))
        app.kept = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 2 * PATIENCE)  # its timer comes before the others
            tasks.start_soon(app, http_scope("GET", "/stream"), call.receive, call.send)
            await until_async(lambda: call.sent)
            call.leave()
            await until_async(lambda: [kept() for kept in app.kept] == [None])
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)


@pytest.mark.usefixtures("no_collector")
def test_the_timer_of_a_slow_mounted_application_keeps_no_request_under_wsgi() -> None:
    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        for message in START, {"type": "http.response.body", "body": b"a"}:
            await anyio.lowlevel.checkpoint()
            await send(message)

    app, earlier = Ends(mount_timeout=LONG), list[asyncio.TimerHandle]()
    app.kept = []
    app.mount("/mounted", mounted)
    app.middlewares.append(Keeps(app.kept))
    loop = background_loop("asyncio")
    loop.call_soon(
        lambda: earlier.append(asyncio.get_running_loop().call_later(PATIENCE, no_function))
    )
    assert wsgi_get(app, "/mounted")[-1] == b"a"
    wsgi_get(app, "/asynchronous")  # the loop lets go of its last call with its next one
    until(lambda: app.kept[0]() is None)
    loop.call_soon(earlier[0].cancel)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("hooks", [NO_HOOKS, [RequestId()]], ids=["", "hooked"])
@pytest.mark.parametrize("path", ["nowhere/at/all", "missing", "%00"])
def test_a_request_refused_before_its_handler_is_freed_without_the_cycle_collector(
    world: str, path: str, hooks: list[Any]
) -> None:
    app = Ends()
    app.middlewares += hooks
    gc.collect()  # from here on, as the collector is off, what is new is in its first generation
    if world == "wsgi":
        wsgi_get(app, f"/{path}", RAW_URI=f"/{path}")
    else:
        run(world, partial(get, app, f"/{path}"))
    assert not [thing for thing in gc.get_objects(generation=0) if issubclass(type(thing), Request)]


def test_threads_and_files_do_not_accumulate(backend: str) -> None:
    app = Ends()
    app.kept = []

    async def many() -> int:
        for _ in range(3):
            for path in ENDS:
                await get(app, f"/{path}", "POST", piece(b"x"))
        return len(os.listdir("/proc/self/fd"))

    before = threading.active_count()
    first, second = run(backend, many), run(backend, many)
    assert second <= first + 1
    until(lambda: threading.active_count() <= before + 2)  # another test's may begin, and end again


# -- cancellation ----------------------------------------------------------------------------------


class Cancels:
    """Counts the points where a request may have to wait, and cancels it at the one that it is
    told.
    """

    def __init__(self, at: int) -> None:
        self.at, self.count = at, 0
        self.scope = anyio.CancelScope()

    @property
    def is_next(self) -> bool:
        return self.count + 1 == self.at

    async def point(self) -> None:
        self.count += 1
        if self.count == self.at:
            self.scope.cancel()
        await anyio.lowlevel.checkpoint()

    def point_in_thread(self) -> None:
        run_async(self.point)


class Cancelled(App):
    """A request with everything in it that may wait."""

    def __init__(self, cancels: Cancels) -> None:
        super().__init__(session_backend=Backend(cancels))
        self.cancels = cancels
        self.open = 0
        self.files: list[Any] = []

    async def asynchronous(self, upload: Any) -> Any:
        self.open += 1
        try:
            self.files.append(upload.file)
            self.request.session["x"] = 1
            await self.cancels.point()
            return self._chunks()
        finally:
            self.open -= 1

    async def _chunks(self) -> AsyncIterator[str]:
        self.open += 1
        try:
            for _ in range(3):
                await self.cancels.point()
                yield "x"
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            self.open -= 1

    def sync(self, upload: Any) -> Iterator[str]:
        self.files.append(upload.file)
        return self._sync_chunks()

    def _sync_chunks(self) -> Iterator[str]:
        self.open += 1
        try:
            for _ in range(3):
                self.cancels.point_in_thread()
                yield "x"
        finally:
            self.open -= 1

    async def fails(self, upload: Any) -> Any:
        self.files.append(upload.file)
        await self.cancels.point()
        raise ValueError


class Backend(micropie.SessionBackend):
    def __init__(self, cancels: Cancels) -> None:
        self.cancels = cancels

    async def load(self, session_id: str) -> Any:
        await self.cancels.point()
        return {"a": 1}

    async def save(self, *_: Any) -> None:
        await self.cancels.point()


class Waits(HttpMiddleware):
    def __init__(self, cancels: Cancels) -> None:
        self.cancels = cancels

    async def before_request(self, request: Any) -> None:
        await self.cancels.point()

    async def after_request(self, *_: Any) -> None:
        await self.cancels.point()


UPLOAD = b'--b\r\nContent-Disposition: form-data; name="upload"; filename="f"\r\n\r\nx\r\n--b--\r\n'
HEADERS = [(b"content-type", b"multipart/form-data; boundary=b"), (b"cookie", b"session_id=x")]


class Wire(Call):
    def __init__(self, cancels: Cancels) -> None:
        super().__init__(piece(UPLOAD[:20], more=True), piece(UPLOAD[20:]))
        self.cancels = cancels
        self.sent_after: list[Any] = []

    async def receive(self) -> Any:
        if self.incoming:
            await self.cancels.point()
        return await super().receive()

    async def send(self, message: Any) -> None:
        # Not what a thread, which makes chunks ahead, cancels while this waits: trio's checkpoint
        # may let that pass.
        is_cancelled = self.cancels.scope.cancel_called or self.cancels.is_next
        await self.cancels.point()
        if is_cancelled:  # and nevertheless it has gone on
            self.sent_after.append(message)
        await super().send(message)


async def cancelled_at(path: str, at: int) -> tuple[Cancelled, Wire, Cancels]:
    cancels = Cancels(at)
    app, wire = Cancelled(cancels), Wire(cancels)
    app.middlewares.append(Waits(cancels))
    app.error(ValueError)(lambda error: "handled")
    with cancels.scope:
        await app(http_scope("POST", path, headers=HEADERS), wire.receive, wire.send)
    with pytest.raises(LookupError):
        micropie.request.path  # noqa: B018
    return app, wire, cancels


@pytest.mark.parametrize("path", ["/asynchronous", "/sync", "/fails"])
def test_R62_a_request_cancelled_anywhere_cleans_up_and_sends_no_response(
    backend: str, path: str
) -> None:
    async def every_point() -> int:
        app, wire, cancels = await cancelled_at(path, 0)
        assert wire.is_complete
        for at in range(1, cancels.count + 1):
            app, wire, cancels = await cancelled_at(path, at)
            assert cancels.scope.cancelled_caught or wire.is_complete, at
            assert (wire.sent_after, app.open) == ([], 0), at
            assert all(file.closed for file in app.files), at
        return cancels.count

    assert run(backend, every_point) >= 7


def test_R62_a_handler_s_cleanup_may_await(backend: str) -> None:
    cleaned = []
    begun = anyio.Event()

    class Root(App):
        async def index(self) -> None:
            try:
                begun.set()
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.01)
                    cleaned.append(1)

    async def main() -> Call:
        call = Call(piece(b""))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(Root(), http_scope(), call.receive, call.send)
            await begun.wait()
            tasks.cancel_scope.cancel()
        return call

    assert run(backend, main).sent == []
    assert cleaned == [1]


def test_a_keyboard_interrupt_gets_no_response(backend: str) -> None:
    class Root(App):
        async def index(self) -> None:
            raise KeyboardInterrupt

    app = Root()
    app.error(Exception)(lambda error: "caught")
    with pytest.raises(KeyboardInterrupt):
        run(backend, get, app)


def test_a_keyboard_interrupt_gets_no_response_under_wsgi() -> None:
    class Root(App):
        def index(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        wsgi_get(Root())
    with pytest.raises(LookupError):
        micropie.request.path  # noqa: B018
