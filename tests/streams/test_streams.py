"""Streamed answers: the first chunk decides the head, an error aborts, and the source is closed
exactly once.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import httpx2 as httpx
import pytest

from micropie import App, HTTPError, HttpMiddleware, Redirect, Response, run_in
from micropie._core.streams import CHUNKS_AHEAD
from micropie.middleware import Compress
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE

KINDS = ["sync", "asynchronous", "iterator", "async_iterator", "async_handler"]


class Chunked:
    """An iterator with a `close`, which a generator's is not always."""

    def __init__(self, app: Streams) -> None:
        self._app = app
        self._chunks = app.sync()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    def close(self) -> None:
        self._chunks.close()  # type: ignore[attr-defined]


class AsyncChunked:
    def __init__(self, app: Streams) -> None:
        self._chunks = app.asynchronous()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return await self._chunks.__anext__()

    async def aclose(self) -> None:
        await self._chunks.aclose()  # type: ignore[attr-defined]


class Streams(App):
    """Streams `script`: chunks, and exceptions to be raised.

    `begun` and `ended` count its generators.
    """

    script: list[Any]

    def __init__(self, *script: Any) -> None:
        super().__init__()
        self.script = list(script)
        self.begun = self.ended = self.made = 0

    def sync(self) -> Iterator[Any]:
        self.begun += 1
        try:
            for chunk in self.script:
                self.made += 1
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            self.ended += 1

    async def asynchronous(self) -> AsyncIterator[Any]:
        self.begun += 1
        try:
            for chunk in self.script:
                self.made += 1
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            self.ended += 1

    def iterator(self) -> Any:
        return Chunked(self)

    def async_iterator(self) -> Any:
        return AsyncChunked(self)

    async def async_handler(self) -> Any:
        return 200, self.asynchronous(), {"X-Own": "1"}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of a stream."""
    chosen: str = request.param
    return chosen


def test_a_stream_has_no_length_and_is_closed_once(make_client: MakeClient, kind: str) -> None:
    app = Streams("a", b"", "", b"b", "é")
    answer = make_client(app).get(f"/{kind}")
    assert (answer.status_code, answer.text) == (200, "abé")
    assert "content-length" not in answer.headers
    assert (app.begun, app.ended) == (1, 1)


@pytest.mark.parametrize("compressed", [False, True])
def test_text_chunks_get_the_response_s_charset(
    make_client: MakeClient, kind: str, compressed: bool
) -> None:
    class Typed(Streams):
        def before(self, kind: str) -> Any:
            self.response.headers["Content-Type"] = "text/csv"
            return getattr(self, kind)()

        def stated(self, kind: str, content_type: str = "text/csv") -> Any:
            return Response(getattr(self, kind)(), content_type=content_type)

    kind = {"async_handler": "asynchronous"}.get(kind, kind)
    app = Typed("", "é", b"\xff")
    if compressed:
        app.middlewares.append(Compress(minimum=0))
    client = make_client(app)
    for path in f"/stated/{kind}", f"/before/{kind}":
        answer = client.get(path)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.content == b"\xc3\xa9\xff"
        assert client.head(path).headers["content-type"] == "text/csv; charset=utf-8"
    for content_type in "application/xml", "text/csv;charset=UTF-8":
        answer = client.get(f"/stated/{kind}", params={"content_type": content_type})
        assert answer.headers["content-type"] == content_type
    for content_type in 'text/csv ; charset="iso-8859-1";a=b', "text/csv;a=b; Charset=ascii":
        answer = client.get(f"/stated/{kind}", params={"content_type": content_type})
        assert answer.headers["content-type"].replace(" ", "") == "text/csv;a=b;charset=utf-8"
    app.script = [b"\xff", "é"]
    for content_type in "text/csv", "text/csv; charset=latin-1":
        answer = client.get(f"/stated/{kind}", params={"content_type": content_type})
        assert answer.headers["content-type"] == content_type
    assert app.begun == app.ended


def most_ahead(kind: str, world: str) -> int:
    """Return how many chunks may have been made that were not asked for."""
    if world == "wsgi":
        # the server has asked for one chunk more than its client has taken
        return CHUNKS_AHEAD if "async" in kind else 2
    return 2 if "async" in kind else 2 * CHUNKS_AHEAD


def test_chunks_are_sent_as_they_are_made(make_client: MakeClient, world: str, kind: str) -> None:
    app = Streams(*"abcde" * 100)
    with make_client(app).stream("GET", f"/{kind}") as answer:
        received = 0
        for chunk in answer.iter_raw():
            received += len(chunk)
            assert app.made <= received + most_ahead(kind, world)
    assert received == app.made == 500


def test_no_chunk_waits_for_a_later_one(make_client: MakeClient) -> None:
    arrived = threading.Semaphore(0)

    class Root(App):
        def sync(self) -> Iterator[str]:
            for number in range(5):
                yield str(number)
                assert arrived.acquire(timeout=PATIENCE)

    with make_client(Root()).stream("GET", "/sync") as answer:
        for chunk in answer.iter_raw():
            assert len(chunk) == 1
            arrived.release()


def test_R59_a_disconnection_closes_a_stream_once(
    make_client: MakeClient, world: str, kind: str
) -> None:
    app = Streams(*"abcde" * 100)
    client = make_client(app)
    with client.stream("GET", f"/{kind}") as answer:
        next(answer.iter_raw())
    assert (app.begun, app.ended) == (1, 1)
    assert app.made <= 2 + most_ahead(kind, world)
    assert client.get("/nowhere").status_code == 404


def test_R8_head_of_a_stream_sends_nothing_and_closes(make_client: MakeClient, kind: str) -> None:
    app = Streams(*"abc")
    answer = make_client(app).head(f"/{kind}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert app.begun == app.ended
    assert app.made <= 1


@pytest.mark.parametrize("status", [204, 304])
def test_R9_a_stream_for_a_status_without_a_body_is_closed(
    make_client: MakeClient, kind: str, status: int
) -> None:
    class Empty(Streams):
        def index(self) -> Any:
            return status, Chunked(self) if "a" not in kind else self.asynchronous()

    app = Empty(*"abc")
    assert make_client(app).get("/").content == b""
    assert app.begun == app.ended


def test_a_stream_that_fails_immediately_gets_a_500(
    make_client: MakeClient, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Streams("", RuntimeError("secret"))
    answer = make_client(app).get(f"/{kind}")
    assert (answer.status_code, answer.text) == (500, "500 Internal Server Error")
    assert len(caplog.records) == 1
    assert (app.begun, app.ended) == (1, 1)


def test_a_stream_may_begin_by_raising_an_http_error(make_client: MakeClient, kind: str) -> None:
    app = Streams(HTTPError(404, "nothing here"))
    answer = make_client(app).get(f"/{kind}")
    assert (answer.status_code, answer.text) == (404, "nothing here")


def test_a_stream_may_begin_by_raising_a_redirect(make_client: MakeClient, kind: str) -> None:
    assert make_client(Streams(Redirect("/there"))).get(f"/{kind}").headers["location"] == "/there"


@pytest.mark.parametrize("broken", [RuntimeError("broken"), HTTPError(404), Redirect("/there")])
def test_R60_a_stream_that_fails_later_is_aborted(
    make_client: MakeClient, kind: str, broken: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    app = Streams("a", "b", broken)
    client = make_client(app, raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/{kind}")
    assert (app.begun, app.ended) == (1, 1)
    assert [f"/{kind}" in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
def test_an_unavailable_service_in_a_stream_is_logged_in_one_line(
    make_client: MakeClient, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(level, "micropie")
    client = make_client(Streams("a", HTTPError(503, "No messages.")), raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/sync")
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    line = "GET '/sync' failed after the response had started: the response was aborted"
    assert record.getMessage() == (line if record.exc_info else f"{line}: No messages.")
    assert bool(record.exc_info) is (level == logging.DEBUG)


@pytest.mark.parametrize(
    "broken", [RuntimeError("broken"), ExceptionGroup("two", [ValueError(1), KeyError(2)])]
)
def test_R76_the_server_gets_a_stream_s_error_unchanged(
    make_client: MakeClient, kind: str, broken: Exception
) -> None:
    client = make_client(Streams("a", "b", broken))
    with pytest.raises(type(broken)) as caught:
        client.get(f"/{kind}")
    assert caught.value is broken


@pytest.mark.parametrize("chunk", [5, None, ["x"], object(), "\ud800"])
def test_an_invalid_first_chunk_gets_a_500(make_client: MakeClient, kind: str, chunk: Any) -> None:
    app = Streams(chunk)
    assert make_client(app).get(f"/{kind}").status_code == 500
    assert (app.begun, app.ended) == (1, 1)


@pytest.mark.parametrize("chunk", [5, None, "\ud800"])
def test_an_invalid_later_chunk_raises_an_error_and_is_logged(
    make_client: MakeClient, kind: str, chunk: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app = Streams("a", chunk)
    client = make_client(app, raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/{kind}")
    assert (app.begun, app.ended) == (1, 1)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("script", [[], [""], ["", b"", ""]])
def test_an_empty_stream_is_an_empty_body(
    make_client: MakeClient, kind: str, script: list[str]
) -> None:
    app = Streams(*script)
    answer = make_client(app).get(f"/{kind}")
    assert (answer.status_code, answer.content) == (200, b"")
    assert (app.begun, app.ended) == (1, 1)


class Bare:
    """An async iterator that has no `aclose`."""

    def __init__(self) -> None:
        self.left = 3

    def __aiter__(self) -> Bare:
        return self

    async def __anext__(self) -> str:
        self.left -= 1
        if self.left < 0:
            raise StopAsyncIteration
        return "x"


def test_an_async_iterator_without_aclose_can_be_streamed(make_client: MakeClient) -> None:
    app = App()
    app.get("/")(lambda: Bare())
    client = make_client(app)
    assert client.get("/").text == "xxx"
    assert client.head("/").text == ""


def test_a_failing_close_does_not_hide_the_stream_s_error(make_client: MakeClient) -> None:
    class Bad(Chunked):
        def close(self) -> None:
            raise RuntimeError("close failed")

    class Root(Streams):
        def index(self) -> Any:
            return Bad(self)

    client = make_client(Root("a", "b"))
    with pytest.raises(RuntimeError, match="close failed"):
        client.get("/")
    assert make_client(Root(ValueError("first"))).get("/").status_code == 500


def test_a_generator_runs_in_the_request_s_context(make_client: MakeClient) -> None:
    class Root(App):
        def sync(self) -> Iterator[str]:
            yield self.request.query("a", "")
            yield self.request.query("b", "")

        async def asynchronous(self) -> AsyncIterator[str]:
            yield self.request.query("a", "")
            yield self.request.query("b", "")

    client = make_client(Root())
    for path in ("/sync", "/asynchronous"):
        assert client.get(f"{path}?a=1&b=2").text == "12"


@pytest.mark.parametrize("status", [202, 404, 204])
def test_a_generator_sets_the_status_before_its_first_chunk(
    make_client: MakeClient, status: int
) -> None:
    class Root(App):
        def sync(self) -> Iterator[str]:
            self.response.status = status
            yield "a"

        async def asynchronous(self) -> AsyncIterator[str]:
            self.response.status = status
            yield "a"

        def stated(self) -> Any:
            return 201, self.sync()

    app = Root()
    for hooks in ([], [Compress(minimum=0)]):
        app.middlewares[:] = hooks
        client = make_client(app)
        for path in ("/sync", "/asynchronous"):
            answer = client.get(path)
            assert (answer.status_code, answer.text) == (status, "a" if status != 204 else "")
            assert client.head(path).status_code == status
            seen = ("content-encoding" in answer.headers, "vary" in answer.headers)
            assert seen == (bool(hooks) and status != 204,) * 2
        assert client.get("/stated").status_code == 201


def test_a_large_stream_of_small_chunks_is_sent(make_client: MakeClient) -> None:
    app = Streams(*["x"] * 300)
    client = make_client(app)
    for kind in KINDS:
        assert client.get(f"/{kind}").text == "x" * 300


def test_a_cleanup_that_fails_after_an_invalid_first_chunk_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(App):
        async def index(self) -> AsyncIterator[Any]:
            try:
                await anyio.lowlevel.checkpoint()
                yield 5
            finally:
                raise RuntimeError("close failed")

    assert make_client(Root()).get("/").status_code == 500
    assert "close failed" in caplog.text


class Endless:
    """An async iterator that is no generator, and has nothing to close."""

    def __aiter__(self) -> Endless:
        return self

    async def __anext__(self) -> bytes:
        return b"more"


class Replaces(HttpMiddleware):
    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
        return {"body": "other"}


def test_a_stream_without_close_may_be_replaced(make_client: MakeClient) -> None:
    app = App()
    app.get("/")(run_in("loop")(lambda: Endless()))
    app.middlewares.append(Replaces())
    assert make_client(app).get("/").text == "other"


class FailsAtTheHead(HttpMiddleware):
    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        def fail(response: Any) -> None:
            raise ValueError("no head")

        request._exchange.call_before_head(fail)


def test_a_cleanup_that_fails_after_a_failing_head_is_logged(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(App):
        async def index(self) -> Any:
            try:
                yield "a"
                yield "b"
            finally:
                raise LookupError("no clean-up")

    app = Root()
    app.middlewares.append(FailsAtTheHead())
    assert make_client(app).get("/").status_code == 500
    assert "no clean-up" in caplog.text
