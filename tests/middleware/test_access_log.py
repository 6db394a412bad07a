"""AccessLog: one line for each finished request, which clients can't forge."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2 as httpx
import pytest

from micropie import App, HTTPError, HttpMiddleware, ResponseError, SetupError
from micropie.middleware import AccessLog, RequestId
from tests.asgi.calls import Call, http_scope, piece, run
from tests.asgi.calls import get as asgi_get
from tests.support.clients import MakeClient
from tests.support.virtual_time import run_in_virtual_time
from tests.wsgi.calls import begin

Lines = Callable[[], list[str]]
Objects = Callable[[], list[dict[str, Any]]]


class Root(App):
    def index(self) -> Any:
        return "hello"

    def greet(self, name: str) -> Any:
        return {"hello": name}

    def empty(self) -> Any:
        return 204, None

    def fails(self) -> Any:
        raise HTTPError(410, "gone")

    def crashes(self) -> Any:
        raise RuntimeError("secret")

    def streams(self) -> Iterator[str]:
        yield "a"
        yield "b"

    async def streams_too(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"

    def measured(self) -> Any:
        return 200, iter(["ab", "cd"]), {"Content-Length": "4"}

    def breaks(self) -> Iterator[str]:
        yield "a"
        raise RuntimeError("secret")

    async def waits(self) -> Any:
        await anyio.sleep_forever()

    def exits(self) -> Any:
        raise KeyboardInterrupt

    async def body(self) -> Any:
        return await self.request.body()


def logged(app: App | None = None, **options: Any) -> App:
    app = app or Root()
    app.middlewares.insert(0, AccessLog(**options))
    return app


@pytest.fixture
def records(caplog: pytest.LogCaptureFixture) -> Callable[[], list[logging.LogRecord]]:
    """Return the records of the access log so far."""
    caplog.set_level(logging.INFO, logger="micropie.access")
    return lambda: [record for record in caplog.records if record.name == "micropie.access"]


@pytest.fixture
def lines(records: Callable[[], list[logging.LogRecord]]) -> Lines:
    """Return their text without the values that differ each time."""
    variable = re.compile(r"time=\S+Z |duration_ms=[\d.]+ ?")
    return lambda: [variable.sub("", record.getMessage()).strip() for record in records()]


@pytest.fixture
def objects(records: Callable[[], list[logging.LogRecord]]) -> Objects:
    return lambda: [json.loads(record.getMessage()) for record in records()]


@pytest.mark.parametrize(
    ("method", "path", "line"),
    [
        ("GET", "/", "method=GET path=/ status=200 bytes=5 route=index"),
        ("HEAD", "/", "method=HEAD path=/ status=200 bytes=0 route=index"),
        (
            "GET",
            "/greet/you?password=secret",
            "method=GET path=/greet/you status=200 bytes=15 route=greet",
        ),
        ("GET", "/empty", "method=GET path=/empty status=204 bytes=0 route=empty"),
        ("GET", "/nowhere", "method=GET path=/nowhere status=404 bytes=13"),
        ("GET", "/fails", "method=GET path=/fails status=410 bytes=4 route=fails"),
        ("GET", "/crashes", "method=GET path=/crashes status=500 bytes=25 route=crashes"),
        ("GET", "/streams", "method=GET path=/streams status=200 route=streams"),
        ("GET", "/streams_too", "method=GET path=/streams_too status=200 route=streams_too"),
        ("HEAD", "/streams", "method=HEAD path=/streams status=200 bytes=0 route=streams"),
        ("GET", "/measured", "method=GET path=/measured status=200 bytes=4 route=measured"),
    ],
)
def test_an_access_log_line_can_be_text(
    make_client: MakeClient, lines: Lines, method: str, path: str, line: str
) -> None:
    make_client(logged()).request(method, path)
    assert lines() == [f"client=127.0.0.1 {line}"]


def test_an_access_log_line_can_be_json(make_client: MakeClient, objects: Objects) -> None:
    app = logged(format="json", query=True)
    app.middlewares.append(RequestId())
    answer = make_client(app).get("/greet/you?a=1")
    (values,) = objects()
    assert 0 < values.pop("duration_ms") < 10_000
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", values.pop("time"))
    assert values == {
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/greet/you?a=1",
        "status": 200,
        "bytes": 15,
        "request_id": answer.headers["x-request-id"],
        "route": "greet",
        "broken_off": False,
    }


def test_the_log_record_has_the_values_as_attributes(
    make_client: MakeClient, records: Callable[[], list[logging.LogRecord]]
) -> None:
    make_client(logged()).get("/greet/you?secret")
    (record,) = records()
    values = vars(record)
    assert record.levelno == logging.INFO
    names = ("client", "method", "path", "status", "bytes", "route", "broken_off")
    found = [values[name] for name in names]
    assert found == ["127.0.0.1", "GET", "/greet/you", 200, 15, "greet", False]
    seen = (values["request_id"], values["duration_ms"] > 0, values["time"][-1])
    assert seen == (None, True, "Z")


def test_a_record_factory_may_set_the_same_attributes(
    make_client: MakeClient,
    records: Callable[[], list[logging.LogRecord]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factory = logging.getLogRecordFactory()

    def made(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = factory(*arguments, **options)
        vars(record).update(request_id="factory", client="factory")
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", made)
    make_client(logged()).get("/")
    (record,) = records()
    assert (vars(record)["request_id"], vars(record)["client"]) == ("factory", "127.0.0.1")
    assert record.getMessage().startswith("time=")
    assert record.filename == "access_log.py"


@pytest.mark.parametrize("form", ["text", "json"])
def test_R76_a_client_cannot_forge_a_log_line(
    make_client: MakeClient, records: Callable[[], list[logging.LogRecord]], form: str
) -> None:
    client = make_client(logged(format=form, query=True), validate=False)
    for target in (
        b"/a%0Astatus=200%20x",
        b"/%0D%22%5C",
        b"/%E2%80%A8%C2%85%7F%00",
        b"/%ff",
        b"/?a%20=\"b'",
        b"/\xe9",
    ):
        client.get("/", extensions={"target": target})
    messages = [record.getMessage() for record in records()]
    assert len(messages) == 6
    assert all(message.isascii() and message.isprintable() for message in messages)
    # A format may name the record's own attributes.
    formatted = [
        logging.Formatter("%(method)s %(path)s %(client)s").format(record) for record in records()
    ]
    assert all(line.isprintable() for line in formatted)
    assert formatted[0] == r"GET /a\u000astatus=200 x 127.0.0.1"
    if form == "text":
        assert r' path="/a\nstatus=200 x" status=404' in messages[0]


def test_the_query_is_logged_on_request(make_client: MakeClient, lines: Lines) -> None:
    client = make_client(logged(query=True))
    client.get("/?a=1")
    client.get("/")
    assert [line.split()[2] for line in lines()] == ['path="/?a=1"', "path=/"]


def test_a_client_without_an_address_is_omitted_from_the_line(
    make_client: MakeClient, lines: Lines
) -> None:
    make_client(logged(), client=None).get("/")
    assert lines() == ["method=GET path=/ status=200 bytes=5 route=index"]


def test_the_line_is_written_after_the_last_byte(make_client: MakeClient, lines: Lines) -> None:
    client = make_client(logged())
    with client.stream("GET", "/streams") as answer:
        chunks = answer.iter_bytes(1)
        assert (next(chunks), lines()) == (b"a", [])
        assert list(chunks) == [b"b"]
    assert len(lines()) == 1


def test_under_asgi_the_line_is_written_after_the_last_message(backend: str, lines: Lines) -> None:
    seen = []

    async def request() -> None:
        call = Call(piece(b""))

        async def send(message: Any) -> None:
            seen.append((message["type"], len(lines())))

        await logged()(http_scope(), call.receive, send)

    run(backend, request)
    assert seen == [("http.response.start", 0), ("http.response.body", 0)]
    assert len(lines()) == 1


def test_under_wsgi_the_line_is_written_when_the_server_closes_the_body(lines: Lines) -> None:
    answer = begin(logged())
    assert (list(answer.chunks), len(answer.chunks), lines()) == ([b"hello"], 1, [])
    assert not isinstance(answer.chunks, list)  # which granian would not close
    answer.close()
    assert len(lines()) == 1


def test_a_disconnection_from_a_stream_is_logged(make_client: MakeClient, lines: Lines) -> None:
    client = make_client(logged())
    for path in ("/streams", "/streams_too"):
        with client.stream("GET", path) as answer:
            next(answer.iter_raw(1))
    assert lines() == [
        "client=127.0.0.1 method=GET path=/streams status=200 route=streams broken_off=true",
        "client=127.0.0.1 method=GET path=/streams_too status=200 route=streams_too broken_off=true",
    ]


def test_a_disconnection_from_a_file_sent_by_the_server_is_logged(
    backend: str, lines: Lines, tmp_path: Path
) -> None:
    (tmp_path / "large.bin").write_bytes(b"x" * 1_000_000)
    app = logged()
    app.static("/static", tmp_path)

    async def request(leaves: bool) -> None:
        call = Call(piece(b""))

        async def send(message: Any) -> None:
            if leaves:
                raise OSError("gone")

        scope = http_scope("GET", "/static/large.bin", extensions={"http.response.pathsend": {}})
        await app(scope, call.receive, send)

    run(backend, request, False)
    run(backend, request, True)
    head = "client=127.0.0.1 method=GET path=/static/large.bin status=200 "
    rests = [line.removeprefix(head) for line in lines()]
    assert rests == ["bytes=1000000 route=static", "route=static broken_off=true"]


def test_a_truncated_file_sent_by_the_server_is_logged(lines: Lines, tmp_path: Path) -> None:
    file = tmp_path / "large.bin"
    file.write_bytes(b"x" * 1_000_000)
    app = logged()
    app.static("/static", tmp_path)
    for shorter in (False, True):
        answer = begin(
            app, "GET", "/static/large.bin", **{"wsgi.file_wrapper": lambda lent, size: lent}
        )
        if shorter:
            file.write_bytes(b"")
            with pytest.raises(ResponseError):
                answer.chunks.read(10)
        else:
            assert len(answer.chunks.read()) == 1_000_000
        answer.close()
    assert ["broken_off" in line for line in lines()] == [False, True]


def test_an_aborted_stream_is_logged(make_client: MakeClient, lines: Lines) -> None:
    client = make_client(logged(), raise_app_exceptions=False)
    with pytest.raises(Exception, match="ended before its response"):
        client.get("/breaks")
    assert lines() == [
        "client=127.0.0.1 method=GET path=/breaks status=200 route=breaks broken_off=true"
    ]


def test_a_disconnection_before_the_response_is_logged_as_499(
    make_client: MakeClient, lines: Lines
) -> None:
    client = make_client(logged(), validate=False, raise_app_exceptions=False)
    with suppress(httpx.RemoteProtocolError):  # nothing is sent under ASGI
        client.post("/body", content=iter([b"a"]), headers={"Content-Length": "5"})
    assert lines() == [
        "client=127.0.0.1 method=POST path=/body status=499 route=body broken_off=true"
    ]


def test_a_client_that_does_not_receive_its_response_is_logged(backend: str, lines: Lines) -> None:
    async def request() -> None:
        call = Call(piece(b""))

        async def send(message: Any) -> None:
            raise OSError("gone")

        await logged()(http_scope(), call.receive, send)

    run(backend, request)
    assert lines() == ["client=127.0.0.1 method=GET path=/ status=200 route=index broken_off=true"]


def test_a_request_cancelled_by_the_server_is_logged_as_499(backend: str, lines: Lines) -> None:
    async def request() -> None:
        with anyio.move_on_after(0.05):
            await asgi_get(logged(), "/waits")

    run_in_virtual_time(backend, request)
    assert lines() == [
        "client=127.0.0.1 method=GET path=/waits status=499 route=waits broken_off=true"
    ]


def test_a_worker_that_ends_during_a_request_logs_it(lines: Lines) -> None:
    with pytest.raises(KeyboardInterrupt):
        begin(logged(), "GET", "/exits")
    assert lines() == [
        "client=127.0.0.1 method=GET path=/exits status=499 route=exits broken_off=true"
    ]


def test_responses_of_outer_middleware_are_logged(make_client: MakeClient, lines: Lines) -> None:
    class Refuses(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return {"status_code": 403, "body": "no"}

    app = logged()
    app.middlewares.insert(0, Refuses())
    make_client(app).get("/")
    assert lines() == ["client=127.0.0.1 method=GET path=/ status=403 bytes=2 route=index"]


def test_two_access_logs_write_one_line_each(
    make_client: MakeClient, records: Callable[[], list[logging.LogRecord]]
) -> None:
    make_client(logged(logged(), format="json")).get("/")
    messages = [record.getMessage() for record in records()]
    assert sorted(message[:5] for message in messages) == ["time=", '{"tim']


def test_an_access_log_that_a_request_meets_twice_writes_one_line(
    make_client: MakeClient, lines: Lines
) -> None:
    app: Any = logged(Root())
    app.inner = Root()
    app.inner.middlewares[:] = app.middlewares
    make_client(app).get("/inner/greet/you")
    assert len(lines()) == 1


def test_access_logs_that_are_equal_write_a_line_each(
    make_client: MakeClient, lines: Lines
) -> None:
    class Equal(AccessLog):  # noqa: PLW1641 - an object without a hash
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

    app = Root()
    app.middlewares += [Equal(), Equal()]
    make_client(app).get("/greet/you")
    assert len(lines()) == 2


def test_an_inner_application_may_have_its_own_access_log(
    make_client: MakeClient, lines: Lines
) -> None:
    app = Root()
    app.inner = logged(Root())
    client = make_client(app)
    client.get("/")
    client.get("/inner/greet/you")
    assert lines() == [
        "client=127.0.0.1 method=GET path=/inner/greet/you status=200 bytes=15 route=inner.greet"
    ]


def test_the_access_log_can_use_another_logger(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    own = logging.getLogger("tests.access")
    caplog.set_level(logging.INFO, logger="tests.access")
    app = logged(logged(logger=own), logger="tests.access")
    make_client(app).get("/")
    assert [record.name for record in caplog.records] == ["tests.access", "tests.access"]


def test_a_disabled_logger_costs_nothing(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="micropie.access")
    assert make_client(logged()).get("/").status_code == 200
    assert caplog.records == []


@pytest.mark.parametrize(
    "options", [{"format": "xml"}, {"format": None}, {"query": "yes"}, {"logger": 5}]
)
def test_invalid_settings_are_refused(options: Any) -> None:
    with pytest.raises(SetupError, match=r"AccessLog\((format|query|logger)=\.\.\.\) takes"):
        AccessLog(**options)
