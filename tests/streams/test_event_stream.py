"""Server-sent events: their text, and streams that show that they live, lose nothing and end when
they should.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from itertools import product
from typing import Any, NewType

import anyio
import httpx2 as httpx
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given
from hypothesis import strategies as st

from micropie import App, EventStream, HTTPError, HttpMiddleware, event
from micropie._core.execution.background import close_background_loops
from micropie._core.execution.placement import Threads
from micropie._core.http.json import CodecError
from micropie._core.routing.config import config_of
from micropie._core.streams import LoopStream, threaded
from micropie._core.streams.events import Event
from micropie._core.streams.source import END
from micropie.wsgi.state import end_streams
from tests.asgi.calls import (
    Call,
    Lifespan,
    ended_by_shutdown,
    http_scope,
    piece,
    run,
)
from tests.support.clients import MakeClient
from tests.support.event_source import Received, parsed
from tests.support.virtual_time import run_in_virtual_time
from tests.support.waiting import PATIENCE, until, until_async
from tests.wsgi.calls import begin

Db = NewType("Db", str)

COMMENT = b": \n\n"
KEPT: ContextVar[str] = ContextVar("kept", default="")


# -- the text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (event("hello"), b"data: hello\n\n"),
        (event(""), b"data: \n\n"),
        (event("a\nb\rc\r\nd\n"), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (event("a\u2028b\x85c\x0bd"), "data: a\u2028b\x85c\x0bd\n\n".encode()),
        (event({"a": "x\ny"}), b'data: {"a":"x\\ny"}\n\n'),
        (event([1, None]), b"data: [1,null]\n\n"),
        (event(5), b"data: 5\n\n"),
        (event("x", event="joined", id="7"), b"event: joined\nid: 7\ndata: x\n\n"),
        (event("x", id=7, retry=1500), b"id: 7\nretry: 1500\ndata: x\n\n"),
        (event("x", event="", id=""), b"event: \nid: \ndata: x\n\n"),
        (event(None, retry=0), b"retry: 0\n\n"),
        (event(None, id=7), b"id: 7\n\n"),
        (event(None, event="finished"), b"event: finished\ndata: \n\n"),
        (event(None, event=""), b"event: \ndata: \n\n"),
        (event(None), b""),
    ],
)
def test_events_are_encoded_as_text(made: Event, text: bytes) -> None:
    assert made == text


@pytest.mark.parametrize("bad", ["1\n2", "1\r2", "1\r\ndata: x", "1\0", "\n"])
def test_R65_R1_an_event_s_name_or_id_cannot_contain_a_line_end(bad: str) -> None:
    with pytest.raises(ValueError, match="id has a line end or NUL"):
        event("x", id=bad)
    with pytest.raises(ValueError, match="event has a line end or NUL"):
        event("x", event=bad)


@given(st.text(st.sampled_from("ab: \r\n\tdataeventid\0é\u2028"), max_size=40))
def test_R65_R1_data_stays_within_one_event(text: str) -> None:
    """Whatever it says; a line's end is a line feed to the client, as the format can't tell them
    apart.
    """
    sent = text.replace("\r\n", "\n").replace("\r", "\n")
    found = parsed(event(text, event="e", id="1") + event("next"))
    assert found == [Received(sent, "e", "1"), Received("next", "message", "1")]


@pytest.mark.parametrize("data", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bytes_are_refused_as_data(data: Any) -> None:
    with pytest.raises(TypeError, match="not bytes"):
        event(data)


@pytest.mark.parametrize("retry", [-1, 1.5, True, "5"])
def test_a_retry_time_must_be_a_number_of_milliseconds(retry: Any) -> None:
    with pytest.raises(ValueError, match="milliseconds"):
        event("x", retry=retry)


@pytest.mark.parametrize("options", [{"event": 5}, {"id": 1.5}, {"id": True}, {"id": b"1"}])
def test_a_name_and_an_id_must_be_text(options: Any) -> None:
    with pytest.raises(TypeError, match="must be text, not"):
        event("x", **options)


def test_data_without_json_raises_an_error() -> None:
    with pytest.raises(CodecError):
        event(object())


# -- streams ---------------------------------------------------------------------------------------


class Root(App):
    """Each handler sends `script`; a number is a time to be silent, and a `threading.Event` is
    waited for. `log` tells what became of the source.
    """

    def __init__(self, *script: Any, **settings: Any) -> None:
        super().__init__()
        self.script = script
        self.settings = settings
        self.log: list[str] = []
        self.made = 0

    def asynchronous(self) -> Any:
        return EventStream(self._asynchronous(), **self.settings)

    async def async_handler(self) -> Any:
        return EventStream(Iterating(self), **self.settings)

    def sync(self) -> Any:
        return EventStream(self._sync(), **self.settings)

    async def _asynchronous(self) -> AsyncIterator[Any]:
        try:
            for item in self.script:
                if isinstance(item, int | float):
                    await anyio.sleep(item)
                elif isinstance(item, threading.Event):
                    await until_async(item.is_set)
                else:
                    self.made += 1
                    yield _or_raised(item)
        finally:
            self.log.append("closed")

    def _sync(self) -> Iterator[Any]:
        try:
            for item in self.script:
                if isinstance(item, int | float):
                    time.sleep(item)
                elif isinstance(item, threading.Event):
                    assert item.wait(PATIENCE)
                else:
                    self.made += 1
                    yield _or_raised(item)
        finally:
            self.log.append("closed")


class Iterating:
    """An async iterator that is no generator."""

    def __init__(self, app: Root) -> None:
        self._events = app._asynchronous()

    def __aiter__(self) -> Iterating:
        return self

    async def __anext__(self) -> Any:
        return await self._events.__anext__()

    async def aclose(self) -> None:
        await self._events.aclose()  # type: ignore[attr-defined]


def _or_raised(item: Any) -> Any:
    if isinstance(item, Exception):
        raise item
    return item


def first_event(answer: httpx.Response) -> Iterator[bytes]:
    """Return an answer's chunks when the first event has come, which follows the comment that is
    sent with the head.

    The client disconnects when they are deleted, and so if the test doesn't keep them.
    """
    chunks = answer.iter_raw()
    while next(chunks) == COMMENT:
        pass
    return chunks


def streaming(make: Callable[[], EventStream]) -> App:
    """An application that answers ``/`` with the stream that is made."""
    app = App()
    app.get("/")(make)
    return app


KINDS = ["asynchronous", "async_handler", "sync"]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of a source of events."""
    chosen: str = request.param
    return chosen


def test_events_are_sent_with_their_headers(make_client: MakeClient, kind: str) -> None:
    app = Root(
        "text", {"n": 1}, event("x", event="joined", id=3), event(None), headers={"X-Own": "1"}
    )
    answer = make_client(app).get(f"/{kind}")
    found = answer.content
    assert found == COMMENT + b'data: text\n\ndata: {"n":1}\n\nevent: joined\nid: 3\ndata: x\n\n'
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["x-own"] == "1"
    assert "content-length" not in answer.headers
    assert app.log == ["closed"]


class Ready(Root):
    """Its source never waits, as one that sends what has been missed."""

    async def index(self) -> Any:
        return EventStream(self._ready(), **self.settings)

    async def _ready(self) -> AsyncIterator[Any]:
        try:
            for item in self.script:
                self.made += 1
                if item == "shutdown":
                    config_of(self.request._exchange).shutdown.end()
                yield _or_raised(item)
        finally:
            self.log.append("closed")


def test_a_source_that_never_waits_is_streamed(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ready("text", event(None), {"n": 1})
    assert make_client(app).get("/").content == COMMENT + b'data: text\n\ndata: {"n":1}\n\n'
    assert app.log == ["closed"]
    app = Ready("a", "b")
    assert (make_client(app).head("/").content, app.made) == (b"", 0)
    app = Ready(*["a"] * 1000)
    with make_client(app).stream("GET", "/") as answer:
        first_event(answer)
    until(lambda: app.log)
    assert app.log == ["closed"]
    app = Ready("a", RuntimeError("broken"))
    with pytest.raises(httpx.RemoteProtocolError):
        make_client(app, raise_app_exceptions=False).get("/")
    assert (app.log, len(caplog.records)) == (["closed"], 1)


def test_R65_a_source_that_never_waits_ends_at_shutdown(
    make_client: MakeClient,
) -> None:
    for before in ([], ["a"]):
        app = Ready(*before, "shutdown", *["b"] * 1000)
        found = make_client(app).get("/").content
        assert found == COMMENT + b"".join(b"data: a\n\n" for _ in before)
        assert (app.made, app.log) == (len(before) + 1, ["closed"])


def test_headers_set_by_the_author_are_used(make_client: MakeClient) -> None:
    app = Root("x", headers={"Cache-Control": "no-store"})
    assert make_client(app).get("/sync").headers.get_list("cache-control") == ["no-store"]


def test_any_iterable_can_be_a_source(make_client: MakeClient) -> None:
    client = make_client(streaming(lambda: EventStream(["a", "b"])))
    assert client.get("/").content == COMMENT + b"data: a\n\ndata: b\n\n"


@pytest.mark.parametrize("source", [5, "text", b"bytes", {"a": 1}, Root._sync])
def test_an_invalid_source_is_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="takes a generator or another iterable"):
        EventStream(source)


@pytest.mark.parametrize("heartbeat", [0, -1, True, float("inf"), float("nan")])
def test_a_heartbeat_must_be_a_number_of_seconds(heartbeat: Any) -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        EventStream([], heartbeat=heartbeat)


def test_an_empty_source_sends_no_event(make_client: MakeClient, kind: str) -> None:
    app = Root()
    answer = make_client(app).get(f"/{kind}")
    assert (answer.status_code, answer.content, app.log) == (200, COMMENT, ["closed"])


def test_the_response_starts_before_the_first_event(make_client: MakeClient, kind: str) -> None:
    go_on = threading.Event()
    with make_client(Root(go_on, "x", heartbeat=None)).stream("GET", f"/{kind}") as answer:
        assert answer.status_code == 200
        chunks = answer.iter_raw()
        assert next(chunks) == COMMENT
        go_on.set()
        assert list(chunks) == [b"data: x\n\n"]


def test_R65_a_silent_source_sends_heartbeats_and_loses_nothing(
    make_client: MakeClient, kind: str
) -> None:
    beats = [threading.Event() for _ in range(5)]
    script = [item for number, beat in enumerate(beats) for item in (f"{number}", beat)]
    content = b""
    with make_client(Root(*script, heartbeat=0.01)).stream("GET", f"/{kind}") as answer:
        for chunk in answer.iter_raw():
            content += chunk
            if content.endswith(COMMENT):  # so each number is followed by a heart-beat
                for beat in beats[: content.count(b"data")]:
                    beat.set()
    assert [found.data for found in parsed(content)] == list("01234")
    assert content.count(COMMENT) >= 5


def test_no_heartbeat_is_sent_while_there_are_events(make_client: MakeClient) -> None:
    answer = make_client(Root("a", 0.01, "b", 0.01, "c")).get("/asynchronous")
    assert answer.content.count(COMMENT) == 1  # with the head


@pytest.mark.parametrize("bad", [RuntimeError("broken"), b"bytes", HTTPError(404)])
@pytest.mark.parametrize("before", [["a"], []])
def test_R60_a_failing_source_aborts_the_response(
    make_client: MakeClient,
    kind: str,
    before: list[str],
    bad: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Also one that fails at once: the response has started."""
    app = Root(*before, bad)
    client = make_client(app, raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/{kind}")
    assert (app.log, len(caplog.records)) == (["closed"], 1)


def test_R76_the_server_gets_a_source_s_error_unchanged(make_client: MakeClient, kind: str) -> None:
    broken = ExceptionGroup("two", [ValueError(1), KeyError(2)])
    with pytest.raises(ExceptionGroup) as caught:
        make_client(Root("a", broken)).get(f"/{kind}")
    assert caught.value is broken


@pytest.mark.parametrize("script", [["a"] * 1000, ["a", 0.3] * 1000, [0.3, "a"] * 1000])
def test_R59_R61_the_source_is_closed_once_when_the_client_disconnects(
    make_client: MakeClient, kind: str, script: list[Any]
) -> None:
    app = Root(*script, heartbeat=0.05)
    with make_client(app).stream("GET", f"/{kind}") as answer:
        first_event(answer)
    until(lambda: app.log)  # what a thread does is closed when it is through
    assert app.log == ["closed"]


@pytest.mark.parametrize("is_sync", [True, False])
def test_R8_R59_head_closes_the_source(make_client: MakeClient, is_sync: bool) -> None:
    """It needs no event, so the source is not begun."""
    log = []

    class Source:
        def __next__(self) -> str:
            log.append("begun")
            return "a"

        def close(self) -> None:
            log.append("closed")

        async def __anext__(self) -> str:
            return next(self)

        async def aclose(self) -> None:
            self.close()

    class Sync(Source):
        def __iter__(self) -> Sync:
            return self

    class Async(Source):
        def __aiter__(self) -> Async:
            return self

    class Head(App):
        async def index(self) -> EventStream:
            return EventStream(Sync() if is_sync else Async())

    answer = make_client(Head()).head("/")
    assert (answer.status_code, answer.content) == (200, b"")
    until(lambda: log)
    assert log == ["closed"]


@pytest.mark.parametrize(("size", "ahead"), [(1, 16), (40_000, 2)])
def test_R64_the_source_is_at_most_a_few_events_ahead(
    make_client: MakeClient, kind: str, size: int, ahead: int
) -> None:
    app = Root(*80 * ["a" * size])
    with make_client(app).stream("GET", f"/{kind}") as answer:
        received = 0
        for chunk in answer.iter_raw():
            received += chunk.count(b"\n\n")
            # Under WSGI the driver's own hand-over is two ahead, and this one's is one more.
            assert app.made <= received + ahead + 3
    assert app.made >= 80


def test_the_source_runs_in_the_request_s_context(make_client: MakeClient) -> None:
    class Telling(App):
        def sync(self) -> Any:
            return EventStream(self.request.query("a") for _ in range(2))

        async def asynchronous(self) -> Any:
            async def tell() -> AsyncIterator[str]:
                await checkpoint()
                yield self.request.query("a", "")
                yield self.request.last_event_id or "none"

            return EventStream(tell())

    client = make_client(Telling())
    assert client.get("/sync?a=1").text == ": \n\n" + "data: 1\n\n" * 2
    assert client.get("/asynchronous?a=1").text == ": \n\ndata: 1\n\ndata: none\n\n"
    answer = client.get("/asynchronous?a=1", headers=[(b"Last-Event-ID", "é7".encode())])
    assert answer.text == ": \n\ndata: 1\n\ndata: é7\n\n"


def test_R59_a_source_that_was_never_started_is_closed(make_client: MakeClient) -> None:
    class Failing(HttpMiddleware):
        async def before_request(self, request: Any) -> None: ...

        async def after_request(self, request: Any, *_: Any) -> None:
            raise RuntimeError("no")

    class Closable:
        closed = 0

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> Any:
            raise AssertionError("begun")

        async def aclose(self) -> None:
            Closable.closed += 1

    class Never(App):
        def bare(self) -> Any:
            return EventStream(eventless())

        def index(self) -> Any:
            return EventStream(Closable())

    class eventless:  # noqa: N801 - it has nothing to close
        __aiter__: Any = None
        __anext__: Any = None

    app = Never()
    app.middlewares.append(Failing())
    client = make_client(app)
    assert (client.get("/").status_code, Closable.closed) == (500, 1)
    assert client.get("/bare").status_code == 500


def test_a_source_with_a_context_manager_is_entered_and_left(make_client: MakeClient) -> None:
    log = []

    class Subscribed:
        async def __aenter__(self) -> Subscribed:
            log.append("entered")
            return self

        async def __aexit__(self, *_: object) -> None:
            log.append("left")

        def __aiter__(self) -> Subscribed:
            return self

        async def __anext__(self) -> str:
            if len(log) > 1:
                await anyio.sleep_forever()
            log.append("asked")
            return "x"

    app = streaming(lambda: EventStream(Subscribed(), heartbeat=0.05))
    with make_client(app).stream("GET", "/") as answer:
        first_event(answer)
    assert log == ["entered", "asked", "left"]


def test_the_end_of_a_subscription_ends_the_stream(make_client: MakeClient) -> None:
    class Two:
        async def __aenter__(self) -> Two:
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

        async def __aiter__(self) -> AsyncIterator[str]:
            yield "a"
            yield "b"

    client = make_client(streaming(lambda: EventStream(Two())))
    assert client.get("/").content == COMMENT + b"data: a\n\ndata: b\n\n"


def even(number: int) -> Any:
    return event(number, id=number) if number % 2 == 0 else None


@pytest.mark.parametrize("kind", ["iterator", "async", "subscription"])
def test_items_are_mapped_and_filtered(make_client: MakeClient, kind: str) -> None:
    async def numbers() -> AsyncIterator[object]:
        for one in (1, 2, event("as it is"), 3, 4):
            yield one

    class Numbers:
        async def __aenter__(self) -> Any:
            return numbers()

        async def __aexit__(self, *_: object) -> None:
            pass

    def mapped() -> EventStream:
        source: Any = {
            "iterator": iter([1, 2, event("as it is"), 3, 4]),
            "async": numbers(),
            "subscription": Numbers(),
        }[kind]
        return EventStream(source, map=even)

    content = make_client(streaming(mapped)).get("/").content
    expected = b"id: 2\ndata: 2\n\ndata: as it is\n\nid: 4\ndata: 4\n\n"
    assert content.removeprefix(COMMENT) == expected


def test_mapping_a_subscription_misses_no_message(make_client: MakeClient) -> None:
    class Room(App):
        async def index(self) -> Any:
            return EventStream(self.channels.subscribe("room"), map=even, heartbeat=0.05)

    app = Room()
    with make_client(app).stream("GET", "/") as answer:
        for number in range(1, 5):  # the head has come, and nothing of the source
            app.channels.publish("room", number)
        lines = (line for line in answer.iter_lines() if line.startswith("data"))
        assert [next(lines), next(lines)] == ["data: 2", "data: 4"]


def test_a_failing_map_function_ends_the_stream(make_client: MakeClient) -> None:
    app = streaming(lambda: EventStream(iter([0]), map=lambda number: 1 / number))
    with pytest.raises(httpx.RemoteProtocolError):
        make_client(app, raise_app_exceptions=False).get("/")


async def waits(item: object) -> None: ...


@pytest.mark.parametrize("wrong", [5, "text", waits])
def test_a_map_function_must_not_be_async(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"map=...\) takes a def function \(no async def\)"):
        EventStream(iter([]), map=wrong)


def test_R59_a_thread_that_the_source_waits_for_ends_when_the_client_disconnects(
    make_client: MakeClient,
) -> None:
    asked, ended = threading.Event(), threading.Event()

    class Waiting(App):
        async def index(self) -> Any:
            return EventStream(self._events(), heartbeat=0.05)

        async def _events(self) -> AsyncIterator[str]:
            with self.channels.subscribe("room") as messages:
                yield "a"
                await anyio.to_thread.run_sync(self._wait, messages)

        def _wait(self, messages: Any) -> None:
            asked.set()
            messages.get()
            ended.set()

    with make_client(Waiting()).stream("GET", "/") as answer:
        chunks = first_event(answer)
        assert asked.wait(PATIENCE)
        del chunks
    assert ended.wait(PATIENCE)


def test_a_late_thread_finds_the_source_closed(backend: str) -> None:
    log = []

    class Events:
        def __next__(self) -> str:
            log.append("asked")
            return "a"

        def close(self) -> None:
            log.append("closed")

    async def check() -> None:
        source = threaded.EventsFromThread(Events())  # type: ignore[arg-type]
        await source.aclose()
        with pytest.raises(StopAsyncIteration):
            await source.__anext__()

    run(backend, check)
    assert log == ["closed"]


@pytest.mark.parametrize("leaves", ["", "between events", "during an event"])
def test_a_sync_source_keeps_its_context_variables(
    make_client: MakeClient, leaves: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked, goes_on, seen = threading.Event(), threading.Event(), list[object]()

    class Root(App):
        def index(self) -> EventStream:
            KEPT.set("the handler's")
            return EventStream(self._events(), heartbeat=0.05)

        def _events(self) -> Iterator[str]:
            yield KEPT.get()
            token = KEPT.set("the source's")
            try:
                yield KEPT.get()
                asked.set()
                assert goes_on.wait(PATIENCE)
                yield KEPT.get()
            finally:
                KEPT.reset(token)
                seen.append(KEPT.get())

    client = make_client(Root())
    if leaves != "during an event":
        goes_on.set()
    with client.stream("GET", "/") as answer:
        chunks = answer.iter_text()
        read = ""
        while "data: the source's" not in read:
            read += next(chunks)
        assert "data: the handler's" in read
        if not leaves:
            assert (read + "".join(chunks)).count("data: the source's") == 2
        elif leaves == "during an event":
            assert asked.wait(PATIENCE)
    goes_on.set()
    until(lambda: seen)
    assert seen == ["the handler's"]
    assert caplog.messages == []


@pytest.mark.parametrize("asks", [0, 1, 2])
def test_a_finished_sync_source_needs_no_thread_to_be_closed(
    backend: str, asks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Any] = []

    async def in_thread(threads: object, function: Any, *_: object, **options: object) -> Any:
        calls.append(function)
        return function()

    monkeypatch.setattr(threaded, "in_thread", in_thread)
    events = iter(["a"])
    made = (event for event in events)
    source = threaded.EventsFromThread(made)

    async def main() -> None:
        for _ in range(asks):
            await anext(source, None)
        await source.aclose()

    run(backend, main)
    assert calls[asks:] == ([] if asks == 2 else [source.close])
    assert next(made, None) is None


@pytest.mark.parametrize("is_late", [True, False])
def test_a_sync_source_s_failing_close_is_logged_or_raised(
    make_client: MakeClient, is_late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on, is_asked = threading.Event(), threading.Event()

    def stubborn() -> Iterator[str]:
        try:
            yield "a"
            is_asked.set()
            goes_on.wait(0.2 if not is_late else 10)
            while True:
                yield "b"
        finally:
            raise RuntimeError("close failed")

    app = streaming(lambda: EventStream(stubborn(), heartbeat=0.05))
    # which logs it: the source may fail just when the server closes it
    told: list[RuntimeError] = []
    try:
        with make_client(app).stream("GET", "/") as answer:
            chunks = first_event(answer)
            assert is_asked.wait(30)
            if not is_late:
                while next(chunks) == COMMENT:
                    pass
    except RuntimeError as error:
        told.append(error)
    goes_on.set()
    until(lambda: "close failed" in f"{told}{caplog.text}")


class Failing(App):
    """Its source fails by itself, some turns of the loop after its first event."""

    def __init__(self, failure: type[Exception], turns: int) -> None:
        super().__init__()
        self.failure, self.turns, self.has_failed = failure, turns, False

    async def index(self) -> Any:
        return EventStream(self._events())

    async def _events(self) -> AsyncIterator[str]:
        yield "a"
        for _ in range(self.turns):
            await checkpoint()
        self.has_failed = True
        # a new one: one that is raised again and again has an ever longer traceback
        raise self.failure("x")


class Leaving(Call):
    """A client that leaves some turns after the first event; `way` is how the application learns of
    it.
    """

    def __init__(self, way: str, turns: int) -> None:
        super().__init__(piece(b""))
        self.way, self.turns = way, turns
        self.has_left = False
        self.has_event = anyio.Event()
        self.scope = anyio.CancelScope()
        self.told: list[Exception] = []

    async def send(self, message: Any) -> None:
        if self.has_left and self.way == "raises":
            raise ConnectionResetError
        await super().send(message)
        if message.get("body", COMMENT) != COMMENT:
            self.has_event.set()
        await checkpoint()

    async def is_served(self, app: App, scope: Any) -> None:
        with self.scope:
            try:
                await app(scope, self.receive, self.send)
            except Exception as error:
                self.told.append(error)

    async def leaves(self) -> None:
        await self.has_event.wait()
        for _ in range(self.turns):
            await checkpoint()
        self.has_left = True
        if self.way == "is cancelled":
            self.scope.cancel()
        else:
            self.leave()


@pytest.mark.parametrize("way", ["raises", "ignores", "is cancelled"])
@pytest.mark.parametrize("failure", [ValueError, TimeoutError])
def test_R60_a_source_that_fails_during_a_disconnection_is_logged_or_raised(
    backend: str,
    with_lifespan: bool,
    way: str,
    failure: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        for source_turns, client_turns in product(range(5), range(5)):
            app, call = Failing(failure, source_turns), Leaving(way, client_turns)
            lifespan, scope = Lifespan(app, {}), http_scope()
            async with anyio.create_task_group() as tasks:
                if with_lifespan:
                    tasks.start_soon(lifespan.run)
                    await lifespan.say("startup")
                    scope["state"] = dict(lifespan.scope["state"])
                async with anyio.create_task_group() as request:
                    request.start_soon(call.is_served, app, scope)
                    await call.leaves()
                if with_lifespan:
                    await lifespan.say("shutdown")
            lifespan.close()
            assert app.has_failed <= bool(call.told or caplog.records), (source_turns, client_turns)
            caplog.clear()

    run(backend, main)


@pytest.mark.parametrize("fails_first", [True, False])
def test_a_sync_source_that_fails_after_a_disconnection_is_logged(
    make_client: MakeClient, fails_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    goes_on, is_asked = threading.Event(), threading.Event()

    def fails() -> Iterator[str]:
        yield "a"
        is_asked.set()
        assert goes_on.wait(PATIENCE)
        raise ValueError("by itself")

    class Root(App):
        def index(self) -> Any:
            return EventStream(fails(), heartbeat=0.05)

    told: list[ValueError] = []
    try:
        with make_client(Root()).stream("GET", "/") as answer:
            chunks = first_event(answer)
            assert is_asked.wait(PATIENCE)
            if fails_first:
                goes_on.set()
    except ValueError as error:
        told.append(error)
    goes_on.set()
    until(lambda: told or caplog.text)
    del chunks
    assert "by itself" in f"{told}{caplog.text}"


def test_a_sync_source_s_failure_for_a_cancelled_task_is_reported_at_close(
    backend: str,
) -> None:
    def fails() -> Iterator[str]:
        raise ValueError("by itself")
        yield

    async def main() -> None:
        source = threaded.EventsFromThread(fails())
        assert source.next() is END  # in a thread whose task has gone
        with pytest.raises(ValueError, match="by itself"):
            await source.aclose()

    run(backend, main)


@pytest.mark.parametrize("is_wrapped", [True, False])
def test_a_cleanup_that_fails_when_cancelled_is_logged(
    backend: str, is_wrapped: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(App):
        async def index(self) -> Any:
            stream = EventStream(self._events())
            return _wrapped(stream.body) if is_wrapped else stream

        async def _events(self) -> AsyncIterator[str]:
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                raise RuntimeError("close failed")

    async def check() -> bool:
        call = Call(piece(b""))
        with anyio.move_on_after(0.1) as scope, suppress(RuntimeError):
            await Root()(http_scope(), call.receive, call.send)
        return scope.cancelled_caught

    # A task that is being cancelled raises what its stream raises, as with any stream.
    assert not run_in_virtual_time(backend, check)
    (record,) = caplog.records
    assert (
        record.getMessage()
        == "GET '/' failed after the response had started: the response was aborted"
    )


async def _wrapped(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk


def test_R67_silent_sync_sources_occupy_no_handler_threads(make_client: MakeClient) -> None:
    class Busy(Root):
        def hello(self) -> str:
            return "hello"

    app = Busy("a", 0.5, "b")
    app._micropie.settings["threads"] = 1
    client = make_client(app)
    with client.stream("GET", "/sync") as one, client.stream("GET", "/sync") as two:
        kept = first_event(one), first_event(two)
        assert client.get("/hello").text == "hello"
        del kept


def test_more_sync_sources_than_threads_take_turns(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_background_loops()  # whose loop has its threads already
    monkeypatch.setattr(threaded, "SYNC_SOURCES", Threads(1))
    go_on = threading.Event()
    app = Root("a", go_on, "b", heartbeat=0.05)
    client = make_client(app)
    with client.stream("GET", "/sync") as one:
        chunks = one.iter_raw()
        received = b""
        while not received.endswith(b"data: a\n\n" + COMMENT):  # its thread waits from then on
            received += next(chunks)
        with client.stream("GET", "/sync") as two:
            assert next(two.iter_raw()) == COMMENT
            threading.Timer(0.1, go_on.set).start()
        # It was left before a thread was free, and has been closed in one.
        # among heart-beats, also after it
        assert [found.data for found in parsed(b"".join(chunks))] == ["b"]
    until(lambda: app.log)
    close_background_loops()


def test_a_chunk_of_an_ordinary_stream_may_be_an_event(make_client: MakeClient) -> None:
    class Own(App):
        async def index(self) -> AsyncIterator[Any]:
            yield event("a")
            yield event("b")

    assert make_client(Own()).get("/").content == b"data: a\n\ndata: b\n\n"


# -- the end ---------------------------------------------------------------------------------------


def test_R65_a_stream_ends_at_shutdown(backend: str, kind: str) -> None:
    go_on = threading.Event()
    app = Root("a", go_on, "b")

    call = run(backend, ended_by_shutdown, app, f"/{kind}", 3)
    assert call.body == COMMENT + b"data: a\n\n"
    go_on.set()  # a thread can't be interrupted
    until(lambda: app.log)
    assert app.log == ["closed"]


def test_R65_what_a_shutdown_interrupts_is_not_committed(make_client: MakeClient) -> None:
    has_begun, ends, app = threading.Event(), list[str](), App()

    @app.provides(Db)
    async def db() -> AsyncIterator[Db]:
        try:
            yield Db("open")
            ends.append("committed")
        except GeneratorExit:
            ends.append("rolled back")
            raise

    @app.get("/")
    async def index(_: Db) -> EventStream:
        async def events() -> AsyncIterator[str]:
            yield "a"
            has_begun.set()
            await anyio.sleep_forever()

        return EventStream(events())

    with make_client(app).stream("GET", "/") as answer:
        chunks = first_event(answer)
        assert has_begun.wait(PATIENCE)
        end_streams()  # under WSGI
        app._micropie.compiled().config.shutdown.end()
        assert not [*chunks]
    until(lambda: ends)
    assert ends == ["rolled back"]


def test_R65_a_stream_started_after_shutdown_ends_immediately(backend: str) -> None:
    is_silent = threading.Event()
    app = Root(is_silent, "a", *[5] * 100)

    async def check() -> list[Call]:
        lifespan = Lifespan(app, {})
        calls = [Call(piece(b"")) for _ in range(3)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lifespan.run)
            await lifespan.say("startup")
            app._micropie.compiled().config.shutdown.end()
            await app(http_scope("GET", "/asynchronous"), calls[0].receive, calls[0].send)
            await app(http_scope("HEAD", "/asynchronous"), calls[2].receive, calls[2].send)
            await lifespan.say("shutdown")
        lifespan.close()
        again = Lifespan(app, {})  # and one that is started anew goes on
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(again.run)
            await again.say("startup")
            tasks.start_soon(
                app, http_scope("GET", "/asynchronous"), calls[1].receive, calls[1].send
            )
            while len(calls[1].sent) < 3:
                if calls[1].body:
                    is_silent.set()
                await checkpoint()
            await again.say("shutdown")
        again.close()
        return calls

    ended, begun, head = run(backend, check)
    answers = [(call.is_complete, call.body) for call in (ended, head)]
    assert answers == [(True, COMMENT), (True, b"")]
    assert (begun.is_complete, begun.body) == (True, COMMENT + b"data: a\n\n")


def test_R65_a_stream_whose_client_receives_nothing_ends_at_shutdown(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some seconds after that: its source waits for nothing, so it is closed and not cancelled."""
    monkeypatch.setattr(LoopStream.end, "__defaults__", (0.1,))
    app = Root("a", "b")

    class Stuck(Call):
        async def send(self, message: Any) -> None:
            await super().send(message)
            if b"data" in message.get("body", b""):
                await anyio.sleep_forever()

    async def main() -> None:
        call = Stuck(piece(b""))
        async with anyio.create_task_group() as requests:
            requests.start_soon(app, http_scope("GET", "/asynchronous"), call.receive, call.send)
            await until_async(lambda: b"data" in call.body)
            app._micropie.compiled().config.shutdown.end()

    run(backend, main)
    assert app.log == ["closed"]


def test_R62_a_cancelled_request_closes_the_source(backend: str, kind: str) -> None:
    """While it waits for an event, and while it waits for the client to take one."""
    go_on = threading.Event()
    app = Root("a", "b", go_on, "c")

    async def cancelled_after(count: int) -> int:
        call = Call(piece(b""))

        async def send(message: Any) -> None:
            call.sent.append(message)
            if len(call.sent) == min(count, 4):
                scope.deadline = anyio.current_time() + 0.05
            if len(call.sent) == count:
                await anyio.sleep_forever()

        with anyio.CancelScope() as scope:
            await app(http_scope("GET", f"/{kind}"), call.receive, send)
        assert scope.cancelled_caught
        return len(call.sent)

    for count in (3, 4, 5):  # after the head and its comment
        assert run(backend, cancelled_after, count) == min(count, 4)
        go_on.set()  # a thread can't be interrupted
        until(lambda: app.log)
        assert app.log == ["closed"]
        app.log.clear()
        go_on.clear()


def test_R62_an_ending_loop_closes_the_source_of_an_open_stream(backend: str) -> None:
    app = Root("a", 60.0)

    async def begun() -> Any:
        chunks = EventStream(app._asynchronous()).body
        assert await anext(chunks) == b"data: a\n\n"
        return chunks

    run(backend, begun)
    assert app.log == ["closed"]


def test_R65_a_stream_ends_with_the_process_under_wsgi(kind: str) -> None:
    go_on = threading.Event()
    app = Root("a", go_on, "b")
    answer = begin(app, "GET", f"/{kind}")
    chunks = iter(answer.chunks)
    assert [next(chunks), next(chunks)] == [COMMENT, b"data: a\n\n"]
    threading.Timer(0.05, app.wsgi_shutdown).start()
    assert list(chunks) == []
    answer.close()
    go_on.set()  # a thread can't be interrupted
    until(lambda: app.log)
    assert app.log == ["closed"]


def test_a_stream_started_before_a_route_change_ends_too() -> None:
    app = Root("a", *[0.2] * 100)
    answer = begin(app, "GET", "/asynchronous")
    chunks = iter(answer.chunks)
    assert [next(chunks), next(chunks)] == [COMMENT, b"data: a\n\n"]
    app.late = App()
    assert begin(app, "GET", "/nowhere").read()
    threading.Timer(0.05, app.wsgi_shutdown).start()
    assert list(chunks) == []
    answer.close()


class Wrapping(HttpMiddleware):
    """Counts the chunks of each stream on their way."""

    def __init__(self, content_type: str | None = None) -> None:
        self.content_type = content_type
        self.count = 0

    def after_request(self, request: Any, status: int, body: Any, headers: Any) -> Any:
        kept = [pair for pair in headers if self.content_type is None or pair[0] != "Content-Type"]
        own = [] if self.content_type is None else [("Content-Type", self.content_type)]
        return {"body": self._counted(body), "headers": [*kept, *own]}

    async def _counted(self, body: Any) -> AsyncIterator[Any]:
        async for chunk in body:
            self.count += bool(chunk)
            yield chunk


def test_a_hook_may_wrap_events_and_heartbeats_continue(make_client: MakeClient) -> None:
    go_on = threading.Event()
    app, wrapping = Root("a", go_on, "b", heartbeat=0.01), Wrapping()
    app.middlewares.append(wrapping)
    content = b""
    with make_client(app).stream("GET", "/asynchronous") as answer:
        for chunk in answer.iter_raw():
            content += chunk
            if content.endswith(COMMENT):
                go_on.set()
    assert [found.data for found in parsed(content)] == ["a", "b"]
    assert wrapping.count == 2


class Closed:
    """Events without end, sync and async."""

    def __init__(self) -> None:
        self.closed = 0

    def __iter__(self) -> Closed:
        return self

    def __next__(self) -> str:
        return "old"

    def close(self) -> None:
        self.closed += 1


class AsyncClosed:
    def __init__(self) -> None:
        self.closed = 0

    def __aiter__(self) -> AsyncClosed:
        return self

    async def __anext__(self) -> str:
        return "old"

    async def aclose(self) -> None:
        self.closed += 1


@pytest.mark.parametrize("made", [Closed, AsyncClosed])
@pytest.mark.parametrize("leaves", [False, True])
def test_events_that_a_middleware_replaces_by_others_are_closed(
    make_client: MakeClient, made: Callable[[], Any], leaves: bool
) -> None:
    old = made()

    class Root(App):
        def index(self) -> EventStream:
            return EventStream(old)

    def replace(request: Any) -> Iterator[Any]:
        yield
        yield EventStream(iter("ab" if not leaves else 1000 * "a"))

    app = Root()
    app.middlewares.append(replace)
    with make_client(app).stream("GET", "/") as reply:
        chunks = reply.iter_raw()
        read = next(chunks) + next(chunks)
        if not leaves:
            assert (read + b"".join(chunks)).endswith(b"data: a\n\ndata: b\n\n")
    until(lambda: old.closed == 1)


def test_a_stream_of_another_type_that_replaces_events_has_no_heartbeats(
    make_client: MakeClient,
) -> None:
    app = Root("a", 0.2, "b", heartbeat=0.01)
    app.middlewares.append(Wrapping("text/plain"))
    answer = make_client(app).get("/asynchronous")
    assert answer.content == b"data: a\n\ndata: b\n\n"


def test_R65_events_wrapped_by_a_hook_end_at_shutdown(backend: str) -> None:
    app = Root("a", threading.Event(), "b")
    app.middlewares.append(Wrapping())
    assert run(backend, ended_by_shutdown, app, "/asynchronous", 3).body == COMMENT + b"data: a\n\n"


def test_an_event_stream_that_is_returned_again_is_empty(make_client: MakeClient) -> None:
    class Shared(App):
        events = EventStream(iter("ab"))

        def index(self) -> EventStream:
            return self.events

    client = make_client(Shared())
    assert [client.get("/").text for _ in range(2)] == [": \n\ndata: a\n\ndata: b\n\n", ": \n\n"]
