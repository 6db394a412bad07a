"""Async streams that keep cancel scopes, task groups and time-outs open across `yield`, and
clean-up that waits.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from anyio.lowlevel import checkpoint

from micropie import App, HttpMiddleware, Request, Response, run_in
from micropie._core.execution.background import close_background_loops
from tests.asgi.calls import (
    Call,
    http_scope,
    piece,
    run,
    serve,
)
from tests.support.clients import MakeClient
from tests.support.virtual_time import run_in_virtual_time
from tests.wsgi.calls import begin


class Root(App):
    """`log` tells what of a stream ran."""

    def __init__(self, count: int = 5, **settings: Any) -> None:
        super().__init__(**settings)
        self.count = count
        self.log: list[str] = []

    async def group(self) -> AsyncIterator[str]:
        """What a task group's tasks make is sent as it comes."""
        into, out = anyio.create_memory_object_stream[str](1)

        async def produce() -> None:
            async with into:
                for number in range(self.count):
                    await into.send(str(number))

        try:
            async with out, anyio.create_task_group() as tasks:
                tasks.start_soon(produce)
                async for item in out:
                    yield item
        finally:
            self.log.append("ended")

    async def in_time(self) -> AsyncIterator[str]:
        try:
            with anyio.move_on_after(60):
                for number in range(self.count):
                    await checkpoint()
                    yield str(number)
        finally:
            self.log.append("ended")

    async def too_late(self) -> AsyncIterator[str]:
        """Says what it has within its time; the rest is cut off by itself, and not by us."""
        with anyio.CancelScope() as scope:
            yield "0"
            scope.deadline = anyio.current_time() + 0.05
            await anyio.sleep_forever()
        yield f"cut {scope.cancelled_caught}"
        self.log.append("ended")

    async def cleaned(self) -> AsyncIterator[str]:
        """Its clean-up has to wait, wherever it is cancelled."""
        try:
            for number in range(self.count):
                await checkpoint()
                yield str(number)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            self.log.append("ended")

    async def unshielded(self) -> AsyncIterator[str]:
        """Its clean-up has to wait, and says nothing of shields."""
        try:
            for number in range(self.count):
                yield str(number)
                await checkpoint()
        finally:
            await anyio.sleep(0.01)
            self.log.append("ended")

    async def slow(self) -> AsyncIterator[str]:
        """Has nothing to say for ever."""
        try:
            self.log.append("begun")
            await anyio.sleep_forever()
            yield "never"
        finally:
            self.log.append("ended")

    @run_in("loop")
    def iterator(self) -> Any:
        """No generator: what is cancelled in it can be cleaned up after that only."""
        return Waiting(self)

    def thread(self) -> Iterator[str]:
        try:
            for number in range(self.count):
                yield str(number)
        finally:
            self.log.append("ended")


class Waiting:
    """Gives one chunk, and none after it."""

    def __init__(self, app: Root) -> None:
        self._app = app
        self._given = False

    def __aiter__(self) -> Waiting:
        return self

    async def __anext__(self) -> str:
        if self._given:
            await anyio.sleep_forever()
        self._given = True
        return "0"

    async def aclose(self) -> None:
        await anyio.sleep(0.01)
        self._app.log.append("ended")


class Wraps(HttpMiddleware):
    """A hook that sends the chunks of a stream itself, in a scope of its own."""

    def __init__(self, log: list[str], name: str) -> None:
        self._log, self._name = log, name

    async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
        return {"body": self._wrapped(body)} if hasattr(body, "__aiter__") else None

    async def _wrapped(self, body: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            with anyio.CancelScope():
                async for chunk in body:
                    yield chunk
        finally:
            self._log.append(self._name)


def root(wraps: list[str], count: int = 5) -> Root:
    app = Root(count)
    app.middlewares.extend(Wraps(app.log, name) for name in wraps)
    return app


SCOPED = ["group", "in_time", "cleaned"]
# the hooks around a stream, the outermost first
wrapped_or_not = pytest.mark.parametrize(
    "wraps", [[], ["outer", "inner"]], ids=["bare", "wrapped twice"]
)


def ended(path: str, wraps: list[str]) -> list[str]:
    """The log of a stream that has ended: its generator first, then those around it."""
    return ["ended", *(wraps[::-1] if path != "thread" else [])]


@pytest.mark.parametrize("path", [*SCOPED, "too_late"])
def test_a_scope_may_stay_open_across_chunks_and_end_the_stream(
    make_client: MakeClient, path: str
) -> None:
    app = Root()
    text = make_client(app).get(f"/{path}").text
    assert text == ("0cut True" if path == "too_late" else "01234")
    assert app.log == ["ended"]


@wrapped_or_not
@pytest.mark.parametrize("path", [*SCOPED, "thread"])
def test_R59_a_disconnection_between_two_chunks_runs_the_cleanup(
    make_client: MakeClient, path: str, wraps: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    app = root(wraps, 10_000)
    with make_client(app).stream("GET", f"/{path}") as answer:
        next(answer.iter_raw())
    assert app.log == ended(path, wraps)
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


@wrapped_or_not
@pytest.mark.parametrize("path", [*SCOPED, "thread"])
def test_R8_head_leaves_no_stream_open(
    make_client: MakeClient, path: str, wraps: list[str]
) -> None:
    app = root(wraps)
    assert make_client(app).head(f"/{path}").content == b""
    assert app.log == ended(path, wraps)


@pytest.mark.parametrize("path", SCOPED)
def test_a_stream_that_fails_after_the_first_chunk_leaves_nothing_open(
    make_client: MakeClient, path: str
) -> None:
    class Wrong(HttpMiddleware):
        def after_request(self, request: Any, status: int, body: Any, headers: list[Any]) -> Any:
            return {"status_code": 99}

    app = Root()
    app.middlewares.append(Wrong())
    assert make_client(app).get(f"/{path}").status_code == 500
    assert app.log == ["ended"]


def test_R59_a_disconnection_before_the_first_chunk_ends_the_stream(
    backend: str, with_lifespan: bool
) -> None:
    app = Root()

    async def main() -> Call:
        call = Call(piece(b""))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve, app, call, "/slow", with_lifespan)
            await anyio.wait_all_tasks_blocked()
            call.leave()
        return call

    call = run(backend, main)
    assert app.log == ["begun", "ended"]
    assert [message["type"] for message in call.sent if message.get("status") == 200] == []


@wrapped_or_not
@pytest.mark.parametrize("path", ["group", "in_time", "cleaned", "unshielded", "thread"])
def test_a_server_that_cancels_while_a_chunk_is_sent_has_the_stream_cleaned_up(
    backend: str, with_lifespan: bool, path: str, wraps: list[str]
) -> None:
    app = root(wraps)

    class Blocks(Call):
        def __init__(self) -> None:
            super().__init__(piece(b""))
            self.cancels = anyio.CancelScope()

        async def send(self, message: Any) -> None:
            await super().send(message)
            if len(self.sent) == 3:
                self.cancels.cancel()
                await anyio.sleep_forever()

    async def main() -> Call:
        call = Blocks()
        await serve(app, call, f"/{path}", with_lifespan, call.cancels)
        return call

    assert not run(backend, main).is_complete
    assert app.log == ended(path, wraps)


@wrapped_or_not
def test_a_source_that_waits_is_cancelled_and_closed_when_the_client_disconnects(
    backend: str, wraps: list[str]
) -> None:
    app = root(wraps)

    async def main() -> None:
        call = Call(piece(b""))

        async def send(message: Any) -> None:
            await call.send(message)
            if message.get("body") == b"0":
                call.leave()

        await app(http_scope("GET", "/iterator"), call.receive, send)

    run(backend, main)
    # an iterator that is not a generator is closed after the generators that were cancelled
    assert sorted(app.log) == sorted(ended("iterator", wraps))


@wrapped_or_not
def test_a_stream_s_own_timeout_while_a_chunk_is_sent_aborts_it(
    backend: str, wraps: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    class Quick(App):
        async def index(self) -> AsyncIterator[str]:
            with anyio.move_on_after(0.05):
                await checkpoint()
                yield "0"
                yield "1"
            yield "2"

    app = Quick()
    app.middlewares.extend(Wraps([], name) for name in wraps)

    class Slow(Call):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if message.get("body") == b"1":
                await anyio.sleep_forever()

    async def main() -> None:
        call = Slow(piece(b""))
        with pytest.raises(TimeoutError, match="within the time limit of its stream"):
            await app(http_scope(), call.receive, call.send)
        assert not call.is_complete

    run_in_virtual_time(backend, main)
    assert "failed after the response had started: the response was aborted" in caplog.text


def test_a_header_set_too_late_raises_an_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Late(App):
        def late(self) -> Iterator[str]:
            self.response.headers["X-Early"] = "1"
            yield "a"
            self.response.headers["X-Late"] = "1"
            yield "b"

        async def async_late(self) -> AsyncIterator[str]:
            await checkpoint()
            self.response.headers["X-Early"] = "1"
            yield "a"
            self.response.set_cookie("late", "1")
            yield "b"

    client = make_client(Late())
    for path in ("/late", "/async_late"):
        with pytest.raises((httpx.RemoteProtocolError, Exception), match="before the first chunk"):
            client.get(path)
    assert (
        sum(
            "set status, headers and cookies before the first chunk" in str(r.exc_info)
            for r in caplog.records
        )
        == 2
    )


def test_under_wsgi_a_waiting_source_is_cancelled_by_close() -> None:
    app = Root()
    answer = begin(app, "GET", "/iterator")
    assert next(iter(answer.chunks)) == b"0"
    answer.close()
    answer.close()
    assert app.log == ["ended"]


def test_a_loop_that_ends_during_a_stream_aborts_it_under_wsgi(backend: str) -> None:
    app = Root(10_000, portal_backend=backend)
    answer = begin(app, "GET", "/cleaned")
    chunks = iter(answer.chunks)
    assert next(chunks) == b"0"
    close_background_loops()
    with pytest.raises(RuntimeError, match="the event loop stopped during a stream"):
        list(chunks)
    answer.close()
    assert app.log == ["ended"]


class Closed:
    """An iterator that isn't a generator, and notes its end. It doesn't close what it reads."""

    def __init__(self, items: Any, log: list[str], name: str) -> None:
        self._items, self._log, self._name = items, log, name

    def __iter__(self) -> Closed:
        return self

    def __next__(self) -> str:
        return str(next(self._items))

    def close(self) -> None:
        self._log.append(self._name)


class AsyncClosed(Closed):
    def __aiter__(self) -> AsyncClosed:
        return self

    async def __anext__(self) -> bytes:
        chunk: bytes = await anext(self._items)
        return chunk

    async def aclose(self) -> None:
        self.close()


def generator(items: Any, log: list[str], name: str) -> Iterator[Any]:
    try:
        for item in items:  # ``yield from`` would close them
            yield str(item)
    finally:
        log.append(name)


async def async_generator(items: Any, log: list[str], name: str) -> AsyncIterator[Any]:
    try:
        async for item in items:
            yield item
    finally:
        log.append(name)


@pytest.mark.parametrize("has_ended", [True, False], ids=["read to the end", "left"])
@pytest.mark.parametrize(
    ("path", "inner", "outer"),
    [
        ("/iterator", generator, Closed),
        ("/iterator", Closed, Closed),
        ("/asynchronous", AsyncClosed, AsyncClosed),
        ("/asynchronous", async_generator, AsyncClosed),
    ],
)
def test_R8_each_stream_that_a_hook_has_wrapped_is_closed_from_the_inside_out(
    make_client: MakeClient, path: str, inner: Any, outer: Any, has_ended: bool
) -> None:
    log: list[str] = []

    class Root(App):
        def iterator(self) -> Closed:
            return Closed(iter("abc" * (1 if has_ended else 100_000)), log, "handler")

        async def asynchronous(self) -> AsyncIterator[str]:
            try:
                for letter in "abc" * (1 if has_ended else 100_000):
                    yield letter
            finally:
                log.append("handler")

    def wraps(make: Any, name: str) -> Any:
        def hook(request: Request) -> Generator[None, Response, None]:
            response = yield
            response.body = make(response.body, log, name)

        return hook

    app = Root()
    app.middlewares += [wraps(outer, "outer"), wraps(inner, "inner")]
    with make_client(app).stream("GET", path) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        if has_ended:
            assert b"".join(chunks).endswith(b"c")
    # a generator that is read to its end has ended before
    in_order = ["inner", "handler"] if has_ended and inner is generator else ["handler", "inner"]
    assert log == [*in_order, "outer"]
