"""``MicropieInstrumentor``, and the command of OpenTelemetry that uses it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from micropie import App, get
from micropie.middleware import Tracing
from micropie.middleware.tracing import MicropieInstrumentor
from tests.support.clients import MakeClient
from tests.support.commands import serving_command
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until


class Inner(App):
    def index(self) -> str:
        return "inner"


class Root(App):
    @get("/pies/<number:int>")
    def pies(self, number: int) -> str:
        return str(number)

    def __init__(self) -> None:
        super().__init__()
        self.inner = Inner()


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    """Instrument all applications during a test."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrumentor = MicropieInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    yield exporter
    instrumentor.uninstrument()


def names_of(exporter: InMemorySpanExporter) -> list[str]:
    return [span.name for span in exporter.get_finished_spans()]


def test_each_request_has_one_span(make_client: MakeClient, exporter: InMemorySpanExporter) -> None:
    client = make_client(Root())
    for path in ("/pies/1", "/pies/2", "/inner", "/nowhere"):
        client.get(path)
    expected = ["GET /pies/<number:int>", "GET /pies/<number:int>", "GET /inner", "GET"]
    assert names_of(exporter) == expected


def test_an_application_with_its_own_tracing_is_left_alone(
    make_client: MakeClient, exporter: InMemorySpanExporter
) -> None:
    app = Root()
    app.middlewares = [Tracing(TracerProvider())]
    make_client(app).get("/pies/1")
    assert names_of(exporter) == []


def test_uninstrumented_applications_create_no_spans(make_client: MakeClient) -> None:
    instrumentor = MicropieInstrumentor()
    serve: Any = App.__call__
    instrumentor.instrument()
    assert App.__call__ is not serve
    instrumentor.uninstrument()
    assert App.__call__ is serve
    assert instrumentor.instrumentation_dependencies()


APP = """
from micropie import App, get

class Root(App):
    @get("/pies/<number:int>")
    def pies(self, number):
        return str(number)

app = Root()
"""


# Spans are printed on stdout, and tests read stderr.
INSTRUMENT = """
import os
from opentelemetry.instrumentation.auto_instrumentation import run

os.dup2(2, 1)
run()
"""
TO_CONSOLE = ["--traces_exporter=console", "--metrics_exporter=none", "--logs_exporter=none"]


@pytest.mark.processes
@pytest.mark.parametrize(("server", "place"), [("uvicorn", "--port={}"), ("gunicorn", "-b:{}")])
def test_the_opentelemetry_command_traces_an_unmodified_program(
    tmp_path: Path, server: str, place: str
) -> None:
    (tmp_path / "shop.py").write_text(APP)
    port = free_port()
    program = str(Path(sys.executable).with_name(server))
    command = [*TO_CONSOLE, program, "shop:app", place.format(port)]
    often = {"OTEL_BSP_SCHEDULE_DELAY": "100"}  # milliseconds, not seconds
    with serving_command(tmp_path, "-c", INSTRUMENT, *command, **often) as running:
        url = f"http://127.0.0.1:{port}/pies/3"

        def is_answered() -> bool:
            assert running.process.poll() is None, running.output
            answer = subprocess.run(["curl", "-sf", url], check=False, capture_output=True)
            return answer.stdout == b"3"

        until(is_answered)
        until(lambda: '"name": "GET /pies/<number:int>"' in running.output)
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(PATIENCE)
