#!/usr/bin/env bash
# Expected: if a server rejects some of the spans of a request, by a 200 with partial_success, the
# exporter logs their number and the server's message. The OTLP specification says that clients
# should, and the collector and the exporters for Go do.
# Seen: Python's OTLP/HTTP exporter returns SUCCESS and logs nothing, because it doesn't read the
# body of a response with a 2xx status. It logs a 400.
# It matters because servers reject spans that are too old, too large or above a quota. These are
# missing from traces, and no log of the application says why.
# opentelemetry-exporter-otlp-proto-http 1.45.2;
# https://opentelemetry.io/docs/specs/otlp/#partial-success-1 and
# https://github.com/open-telemetry/opentelemetry-python/issues/4803
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
PATH="$folder/venv/bin:$PATH"
pip install --quiet --disable-pip-version-check \
    'opentelemetry-exporter-otlp-proto-http==1.45.2' 'opentelemetry-sdk==1.45.2'
python --version
pip freeze

cat >program.py <<'EOF'
import io
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

rejected = ExportTraceServiceResponse()
rejected.partial_success.rejected_spans = 1
rejected.partial_success.error_message = "the span is older than an hour"
spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
with provider.get_tracer("pies").start_as_current_span("bake"):
    pass
log = io.StringIO()
logging.basicConfig(stream=log, level=logging.INFO)


class Server(BaseHTTPRequestHandler):
    status = 200

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(rejected.SerializeToString())


server = HTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
exporter = OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces")
seen = []
for Server.status in (200, 400):
    log.seek(0)
    log.truncate()
    result = exporter.export(spans.get_finished_spans())
    print(f"{Server.status}, one span is rejected: {result.name}, log: {log.getvalue().strip()!r}")
    seen.append((result.name, bool(log.getvalue())))
server.shutdown()
if seen != [("SUCCESS", False), ("FAILURE", True)]:
    sys.exit("The behaviour has changed.")
EOF
python program.py
