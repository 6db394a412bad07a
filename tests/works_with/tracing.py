"""Servers below ``opentelemetry-instrument``, which send their spans to an OpenTelemetry collector.

The collector is Rotel, whose wheel has it as a program. The official one is in no package registry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.support.ports import free_port
from tests.works_with.listed import World, works
from tests.works_with.running import running, serving

QUICKLY = {
    "OTEL_BSP_SCHEDULE_DELAY": "100",  # milliseconds
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
}


@contextmanager
def collecting() -> Iterator[tuple[IO[str], Mapping[str, str]]]:
    """Run a collector. Yield the spans that it prints, and its address for each protocol."""
    import rotel

    ports = {"grpc": free_port(), "http/protobuf": free_port()}
    program = Path(rotel.__file__).with_name("rotel-agent")
    program.chmod(0o755)  # pip unpacks it as a file of data
    grpc, http = (f"127.0.0.1:{port}" for port in ports.values())
    with running(
        *(str(program), "start", "--exporter", "blackhole", "--batch-timeout", "10ms"),
        *("--debug-log", "traces", "--debug-log-verbosity", "detailed"),
        *("--otlp-grpc-endpoint", grpc, "--otlp-http-endpoint", http),
    ) as printed:
        assert "Starting Rotel" in printed.readline()
        yield printed, {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}


def spans_of(world: World, protocol: str) -> None:
    bound = ("--bind", "127.0.0.1:{port}") if world == "wsgi" else ("--port", "{port}")
    server = ("gunicorn" if world == "wsgi" else "uvicorn", "tests.works_with.shop:app", *bound)
    with collecting() as (printed, addresses):
        to = {
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_ENDPOINT": addresses[protocol],
        }
        with serving("opentelemetry-instrument", *server, path="/pies/3", **to, **QUICKLY):
            names = [line.partition(":")[2].strip() for line in head(printed)]
    assert names == ["GET /pies/<number:int>", "SPAN_KIND_SERVER"]


def head(printed: IO[str]) -> Iterator[str]:
    """Yield the lines with the name and the kind of the first span."""
    for line in printed:
        if line.startswith(("    Name ", "    Kind ")):
            yield line
        if line.startswith("    Kind "):
            return


@works("opentelemetry-distro", "asyncio", "wsgi", what="uvicorn, gunicorn, Rotel")
def opentelemetry(world: World) -> None:
    spans_of(world, "http/protobuf")


@works("opentelemetry-exporter-otlp-proto-grpc", "asyncio", "wsgi", what="the same by gRPC")
def opentelemetry_by_grpc(world: World) -> None:
    spans_of(world, "grpc")
