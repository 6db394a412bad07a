"""Streams whose chunks pass through something on their way, in every world: nothing of the source
is lost or kept.
"""

from __future__ import annotations

import io
import threading
from collections.abc import AsyncIterator, Awaitable, Generator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from micropie import App, HttpMiddleware
from micropie._core.streams.source import stream_of
from micropie.middleware.base import FlowMiddleware
from tests.asgi.calls import Call, http_scope, piece, run
from tests.support.clients import MakeClient


class Shouting:
    """Upper case, a count of the bytes at the end; `held` is what must not be, but may."""

    def __init__(self) -> None:
        self.count = 0

    def feed(self, chunk: bytes) -> bytes:
        self.count += len(chunk)
        return chunk.upper()

    def finish(self) -> bytes:
        return b"%d" % self.count


class Shout(FlowMiddleware):
    """Every stream passes through `Shouting`."""

    def after(self, request: Any, response: Any) -> Any:
        stream = stream_of(response.body)
        if stream is None:
            return response
        stream.transform(Shouting())
        response.body = stream
        return response


class Once:
    """Awaitable, made of a plain iterator: it has `__next__` alone, as granian's futures do."""

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self._steps = steps

    def __await__(self) -> Any:
        return self

    def __iter__(self) -> Once:
        return self

    def __next__(self) -> Any:
        return next(self._steps)


class Bare:
    """An async iterator with nothing but `__anext__`: no generator, no `aclose`."""

    def __init__(self, *chunks: Any) -> None:
        self._chunks = list(chunks)
        self.asked = 0

    def __aiter__(self) -> Bare:
        return self

    def __anext__(self) -> Awaitable[Any]:
        self.asked += 1

        def steps() -> Generator[Any, Any, Any]:
            if not self._chunks:
                raise StopAsyncIteration
            return self._chunks.pop(0)
            yield

        return Once(steps())


class BareSync:
    def __init__(self, *chunks: Any) -> None:
        self._chunks = list(chunks)

    def __iter__(self) -> BareSync:
        return self

    def __next__(self) -> Any:
        if not self._chunks:
            raise StopIteration
        return self._chunks.pop(0)


class Root(App):
    """`closed` is written to by everything that is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.middlewares.append(Shout())
        self.closed: list[str] = []
        self.ended = threading.Event()

    def sync(self, fails: bool = False) -> Iterator[Any]:
        try:
            yield "a"
            yield b"b"
            yield ""
            if fails:
                raise RuntimeError("secret")
            yield memoryview(b"c")
        finally:
            self.closed.append("sync")

    async def asynchronous(self, fails: bool = False) -> AsyncIterator[Any]:
        try:
            yield "a"
            await anyio.sleep(0.001)
            yield b"b"
            yield ""
            if fails:
                raise RuntimeError("secret")
            yield bytearray(b"c")
        finally:
            self.closed.append("async")
            await anyio.lowlevel.checkpoint()

    def empty(self) -> Iterator[str]:
        yield from ()

    async def empty_too(self) -> AsyncIterator[str]:
        for chunk in list[str]():
            yield chunk

    def fails_at_once(self) -> Iterator[str]:
        raise RuntimeError("secret")
        yield

    async def fails_at_once_too(self) -> AsyncIterator[str]:
        raise RuntimeError("secret")
        yield

    def wrong(self) -> Iterator[Any]:
        try:
            yield 5
        finally:
            self.closed.append("wrong")

    async def wrong_too(self) -> AsyncIterator[Any]:
        try:
            yield 5
        finally:
            self.closed.append("wrong")

    async def scoped(self) -> AsyncIterator[str]:
        """What is open across its chunks is entered and left in one task."""
        try:
            with anyio.move_on_after(60):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anyio.lowlevel.checkpoint)
                    for chunk in "abc":
                        yield chunk
        finally:
            self.closed.append("scoped")

    def bare(self) -> Any:
        return BareSync("a", "b", "c")

    async def bare_too(self) -> Any:
        return Bare("a", "b", "c")

    def file(self) -> Any:
        return io.BytesIO(b"abc")

    async def forever(self) -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            self.closed.append("forever")
            self.ended.set()


@pytest.mark.parametrize("path", ["sync", "asynchronous", "scoped", "bare", "bare_too", "file"])
def test_chunks_are_transformed_and_the_remainder_is_sent_at_the_end(
    make_client: MakeClient, path: str
) -> None:
    app = Root()
    client = make_client(app)
    for _ in range(2):
        assert client.get(f"/{path}").text == "ABC3"
    assert len(app.closed) in (0, 2)


def test_a_def_stream_of_a_wsgi_server_s_thread_is_transformed(connect: MakeClient) -> None:
    client = connect(Root(), "wsgi")
    assert [client.get(path).text for path in ("/sync", "/empty", "/empty_too")] == [
        "ABC3",
        "0",
        "0",
    ]


@pytest.mark.parametrize("path", ["empty", "empty_too"])
def test_a_stream_without_chunks_can_be_transformed(make_client: MakeClient, path: str) -> None:
    assert make_client(Root()).get(f"/{path}").text == "0"


def test_two_transformations_can_be_nested(make_client: MakeClient) -> None:
    for path in ("sync", "asynchronous"):
        app = Root()
        app.middlewares.append(Shout())
        assert make_client(app).get(f"/{path}").text == "ABC34"
        assert len(app.closed) == 1


@pytest.mark.parametrize("path", ["sync", "asynchronous"])
def test_R60_a_failure_during_a_transformed_stream_aborts_it(
    make_client: MakeClient, path: str
) -> None:
    app = Root()
    client = make_client(app, raise_app_exceptions=False)
    with client.stream("GET", f"/{path}?fails=1") as answer:
        chunks = answer.iter_raw()
        received = next(chunks) + next(chunks)
        with pytest.raises(Exception, match="ended before its response"):
            next(chunks)
    assert received == b"AB"
    assert len(app.closed) == 1


@pytest.mark.parametrize("path", ["fails_at_once", "fails_at_once_too", "wrong", "wrong_too"])
def test_a_failure_before_the_first_transformed_chunk_gets_a_500(
    make_client: MakeClient, path: str
) -> None:
    app = Root()
    answer = make_client(app).get(f"/{path}")
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    assert app.closed == (["wrong"] if "wrong" in path else [])


@pytest.mark.parametrize("path", ["sync", "asynchronous", "scoped"])
def test_R59_a_disconnection_closes_a_transformed_stream_once(
    make_client: MakeClient, path: str
) -> None:
    app = Root()
    with make_client(app).stream("GET", f"/{path}") as answer:
        next(answer.iter_raw(1))
    assert len(app.closed) == 1


@pytest.mark.parametrize("path", ["sync", "asynchronous"])
def test_R8_a_head_request_closes_a_transformed_stream_unread(
    make_client: MakeClient, path: str
) -> None:
    app = Root()
    assert make_client(app).head(f"/{path}").content == b""
    assert len(app.closed) == 1


@pytest.mark.parametrize("leaves", [True, False], ids=["client leaves", "server cancels"])
def test_R62_a_waiting_source_of_a_transformed_stream_is_cancelled(
    backend: str, leaves: bool
) -> None:
    app = Root()

    async def request() -> None:
        call = Call(piece(b""))
        with anyio.CancelScope() as scope:

            async def send(message: Any) -> None:
                if message.get("body"):
                    call.leave() if leaves else scope.cancel()

            await app(http_scope("GET", "/forever"), call.receive, send)

    run(backend, request)
    assert app.closed == ["forever"]


def test_a_source_without_close_can_be_transformed(make_client: MakeClient) -> None:
    client = make_client(Root())
    for path in ("/bare", "/bare_too"):
        assert client.head(path).status_code == 200


def test_an_ended_source_is_not_read_again(backend: str) -> None:
    source = Bare("a")

    async def iterate() -> list[bytes]:
        stream = stream_of(source)
        assert stream is not None
        stream.transform(Shouting())
        body = stream
        assert isinstance(body, AsyncIterator)
        chunks = [chunk async for chunk in body]
        with pytest.raises(StopAsyncIteration):
            await body.__anext__()
        return chunks

    assert run(backend, iterate) == [b"A", b"1"]
    assert source.asked == 2


def test_an_ended_sync_source_is_not_read_again() -> None:
    class Sleepy(BareSync):
        def __next__(self) -> Any:
            chunk = super().__next__()
            if chunk is None:
                raise StopIteration
            return chunk

    source = Sleepy("a", None, "b")
    stream = stream_of(source)
    assert stream is not None
    stream.transform(Shouting())
    body = stream
    assert isinstance(body, Iterator)
    assert [list(body), list(body)] == [[b"A", b"1"], []]
    assert next(source) == "b"


def test_an_outer_hook_may_replace_a_transformed_stream(make_client: MakeClient) -> None:
    class Replaces(HttpMiddleware):
        def after_request(self, *_: Any) -> Any:
            return {"body": "other"}

    class Closed(BareSync):
        def close(self) -> None:
            app.closed.append("close")

    class Closing(Root):
        def closed_once(self) -> Any:
            return Closed("a")

    app = Closing()
    app.middlewares.insert(0, Replaces())
    client = make_client(app)
    answers = [client.get(path).text for path in ("/sync", "/asynchronous", "/closed_once")]
    assert answers == ["other"] * 3
    assert app.closed == ["close"]


def test_a_hook_may_read_on_after_the_end_of_a_stream(make_client: MakeClient) -> None:
    """Whoever asks an iterator again after its end gets no more items."""

    class Reading(HttpMiddleware):
        def after_request(self, _: Any, __: int, body: Any, ___: Any) -> Any:
            is_async = isinstance(body, AsyncIterator)
            return {"body": self.read_async(body) if is_async else self.read(body)}

        def read(self, body: Iterator[bytes]) -> Iterator[bytes]:
            for _ in range(2):
                yield from body
                yield b"."
            assert next(body, None) is None

        async def read_async(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            for _ in range(2):
                async for chunk in body:
                    yield chunk
                yield b"."
            assert await anext(body, None) is None

    class Read(Root):
        def __init__(self) -> None:
            super().__init__()
            self.middlewares.insert(0, Reading())

    client = make_client(Read())
    for path in ("/sync", "/asynchronous"):
        assert client.get(path).text.endswith("..")
    assert client.get("/empty").text == client.get("/empty_too").text == "0.."


def test_a_hook_that_reads_a_whole_stream_leaves_nothing(make_client: MakeClient) -> None:
    class Reading(HttpMiddleware):
        async def after_request(self, _: Any, __: int, body: Any, ___: Any) -> None:
            if isinstance(body, AsyncIterator):
                read.extend([chunk async for chunk in body])
            else:
                read.extend(body)

    class Site(Root):
        def iterator(self) -> Any:
            return map(str, range(3))

    app, read = Site(), list[bytes]()
    app.middlewares.insert(0, Reading())
    client = make_client(app)
    for path in ("/sync", "/asynchronous", "/iterator"):
        answer = client.get(path)
        assert (answer.status_code, answer.content) == (200, b"")
    assert len(b"".join(read)) > 2
