"""Tracing: one span for each request and WebSocket, its parent, its attributes, and where it is
current.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio.to_thread
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from micropie import App, HTTPError, SetupError, WebSocket, get, run_in
from micropie.middleware import Tracing, tracing
from tests.support.clients import MakeClient
from tests.support.waiting import until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


def current() -> str:
    """Return the ids of the span that is current here."""
    found = trace.get_current_span().get_span_context()
    return f"{found.trace_id:032x}-{found.span_id:016x}"


class Inner(App):
    def index(self) -> str:
        return current()

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("apart")


class Root(App):
    def index(self) -> str:
        return current()

    @run_in("loop")
    def inlined(self) -> str:
        return current()

    async def on_the_loop(self) -> str:
        return await anyio.to_thread.run_sync(current)

    @get("/users/<number:int>")
    async def user(self, number: int) -> str:
        return str(number)

    def lines(self) -> Iterator[str]:
        for _ in range(3):
            yield f"{current()}\n"

    async def async_lines(self) -> AsyncIterator[str]:
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
            yield f"{current()}\n"

    @run_in("process")
    def computes(self) -> str:
        return current()

    def teapot(self) -> Any:
        raise HTTPError(418)

    def unavailable(self) -> Any:
        raise HTTPError(503)

    def broken(self) -> Any:
        raise LookupError("secret")

    def late(self) -> str:
        self.request.after_response(self.broken)
        return "sent"

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(current())
        await ws.receive_text()

    async def ws_refuses(self, ws: WebSocket) -> None:
        raise HTTPError(401)

    async def ws_broken(self, ws: WebSocket) -> None:
        await ws.accept()
        raise LookupError("secret")


Spans = InMemorySpanExporter


@pytest.fixture
def spans() -> Spans:
    return InMemorySpanExporter()


def traced(spans: Spans, app: App | None = None, **options: Any) -> App:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    app = app or Root()
    app.middlewares.append(Tracing(provider, **options))
    return app


def ids_of(span: ReadableSpan) -> str:
    found = span.get_span_context()
    assert found is not None
    return f"{found.trace_id:032x}-{found.span_id:016x}"


def only(spans: Spans) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    spans.clear()
    return span


def test_a_request_that_meets_the_same_object_twice_has_one_span(
    make_client: MakeClient, spans: Spans
) -> None:
    app: Any = traced(spans)
    app.inner = Inner()
    app.inner.middlewares[:] = app.middlewares
    assert make_client(app).get("/inner").status_code == 200
    assert only(spans).name == "GET /inner"


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/inlined", "/on_the_loop", "/lines", "/async_lines"),
        pytest.param("/computes", marks=pytest.mark.processes),
    ],
)
def test_the_span_is_current_wherever_the_handler_runs(
    make_client: MakeClient, spans: Spans, path: str
) -> None:
    client = make_client(traced(spans))
    seen = set(client.get(path, headers=TRACEPARENT).text.split())
    span = only(spans)
    assert seen == {ids_of(span)}
    assert span.parent is not None
    assert (f"{span.parent.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert span.kind is SpanKind.SERVER
    client.get(path)
    assert only(spans).parent is None  # the last request's context has ended with it
    assert current() == f"{0:032x}-{0:016x}"


def test_spans_have_names_and_attributes(make_client: MakeClient, spans: Spans) -> None:
    app = Root()
    app.mount("/shared", Inner())
    client = make_client(traced(spans, app), validate=False)
    client.get(
        "/users/7?token=secret", headers={"Host": "pies.example:8000", "User-Agent": "probe"}
    )
    span = only(spans)
    assert span.name == "GET /users/<number:int>"
    found = dict(span.attributes or {})
    assert found.pop("client.address") is not None
    assert found == {
        "http.request.method": "GET",
        "http.route": "/users/<number:int>",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/users/7",
        "server.address": "pies.example",
        "server.port": 8000,
        "user_agent.original": "probe",
    }
    client.request("BREW", "/nowhere", headers={"Host": "pies.example"})
    span = only(spans)
    found = dict(span.attributes or {})
    seen = (span.name, found["http.request.method"], found["http.request.method_original"])
    assert seen == ("HTTP", "_OTHER", "BREW")
    assert (found["server.address"], found["http.response.status_code"]) == ("pies.example", 404)
    assert found.keys().isdisjoint({"http.route", "server.port", "url.query"})
    client.get("/shared")
    assert only(spans).name == "GET /shared"


def test_missing_values_are_omitted_from_a_span(make_client: MakeClient, spans: Spans) -> None:
    client = make_client(traced(spans, query=True), client=None)
    client.headers.pop("user-agent", None)
    client.get("/users/7?a=1", headers={"Host": "two hosts"})
    found = dict(only(spans).attributes or {})
    assert found["url.query"] == "a=1"
    assert "server.address" not in found
    client.get("/users/7")
    assert "url.query" not in dict(only(spans).attributes or {})


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/teapot", 418, StatusCode.UNSET),
        ("/unavailable", 503, StatusCode.ERROR),
        ("/broken", 500, StatusCode.ERROR),
    ],
)
def test_failures_are_recorded_in_the_span(
    make_client: MakeClient, spans: Spans, path: str, status: int, code: StatusCode
) -> None:
    reported: list[BaseException] = []
    app = traced(spans, Root(on_error=reported.append))
    client = make_client(app, raise_app_exceptions=False)
    client.get(path)
    span = only(spans)
    seen = (dict(span.attributes or {})["http.response.status_code"], span.status.status_code)
    assert seen == (status, code)
    assert [event.name for event in span.events] == (["exception"] if path == "/broken" else [])
    assert [type(error) for error in reported] == ([LookupError] if path == "/broken" else [])
    kinds = {"/broken": "builtins.LookupError", "/unavailable": "503"}
    assert dict(span.attributes or {}).get("error.type") == kinds.get(path)


def test_a_failure_after_the_response_leaves_the_ended_span_alone(
    make_client: MakeClient, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    reported: list[BaseException] = []
    app = traced(spans, Root(on_error=reported.append))
    assert make_client(app, raise_app_exceptions=False).get("/late").text == "sent"
    until(lambda: len(reported) == 1)
    assert {record.name for record in caplog.records} == {"micropie"}  # no OpenTelemetry's warning
    span = only(spans)
    assert (span.status.status_code, list(span.events)) == (StatusCode.UNSET, [])


def test_an_isolated_application_with_an_access_check_has_a_span_without_a_status(
    make_client: MakeClient, spans: Spans
) -> None:
    app = Root()
    app.mount("/apart", Inner(), isolated=True)
    client = make_client(traced(spans, app))
    seen = client.get("/apart").text
    span = only(spans)
    assert seen == ids_of(span)
    assert "http.response.status_code" not in dict(span.attributes or {})


def test_health_endpoints_have_no_span(make_client: MakeClient, spans: Spans) -> None:
    app = traced(spans)
    app.health("/healthz")
    assert make_client(app).get("/healthz").status_code == 200
    assert spans.get_finished_spans() == ()


def test_websockets_have_a_span(connect: MakeClient, spans: Spans, backend: str) -> None:
    app = Root()
    app.mount("/apart", Inner(), isolated=True)
    client = connect(traced(spans, app), backend, raise_app_exceptions=False)
    with client.websocket("/echo", headers=TRACEPARENT) as ws:
        seen = ws.receive_text()
        assert spans.get_finished_spans() == ()  # it lasts as long as the WebSocket
    span = only(spans)
    assert (span.name, ids_of(span)) == ("WEBSOCKET /echo", seen)
    assert seen.startswith(TRACE)
    found = dict(span.attributes or {})
    assert (found["url.scheme"], found["http.response.status_code"]) == ("ws", 101)
    with pytest.raises(Exception), client.websocket("/refuses"):  # noqa: B017, PT011
        pass
    assert "http.response.status_code" not in dict(only(spans).attributes or {})
    with client.websocket("/broken") as ws, pytest.raises(Exception):  # noqa: B017, PT011
        ws.receive_text()
    span = only(spans)
    assert [event.name for event in span.events] == ["exception"]
    with client.websocket("/apart/echo") as ws:
        assert ws.receive_text() == "apart"
    assert spans.get_finished_spans() == ()


def test_without_an_sdk_the_trace_context_is_passed_on(make_client: MakeClient) -> None:
    app = Root()
    app.middlewares.append(Tracing())
    assert make_client(app).get("/", headers=TRACEPARENT).text == f"{TRACE}-{PARENT}"


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (
            ("mine",),
            {},
            "Tracing(tracer_provider=...) takes a TracerProvider of OpenTelemetry, not 'mine'",
        ),
        ((), {"query": 1}, "Tracing(query=...) takes True or False, not 1"),
    ],
)
def test_wrong_arguments_are_refused(
    arguments: tuple[Any], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(SetupError) as refused:
        Tracing(*arguments, **options)
    assert str(refused.value) == sentence


def test_without_opentelemetry_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracing, "trace", None)
    with pytest.raises(SetupError, match=r"micropie-dual\[otel\]"):
        Tracing()
