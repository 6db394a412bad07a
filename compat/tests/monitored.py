"""A program with a monitor, which prints what the monitor reports:
``monitored.py bottle|cherrypy original|ours MONITOR``.

It serves by WSGI, and on micropie also by ASGI. A monitor that has no instrumentation of the
framework is middleware around the application.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

from micropie import dual
from micropie.testing import TestClient

os.environ |= {
    "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
    "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    "ELASTIC_APM_CENTRAL_CONFIG": "false",
    "NEW_RELIC_DEVELOPER_MODE": "true",
    "NEW_RELIC_LICENSE_KEY": "0" * 40,
}
REQUESTS = [
    ("GET", "/page/1?q=2"),
    ("POST", "/page/2"),
    ("GET", "/crash/3?q=1"),
    ("POST", "/crash/4"),
    ("GET", "/abort"),
    ("GET", "/none"),
    ("GET", "/stream"),
]
Wrap = Callable[[Any, str], Any]  # its arguments are the application and the protocol

kept: list[Any] = []


def sentry(framework: str, side: str) -> Wrap:
    import sentry_sdk
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
    from sentry_sdk.transport import Transport

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            for item in envelope.items:
                if item.type in ("event", "transaction"):
                    event = item.payload.json
                    asked = event["request"]
                    names = ("url", "method", "query_string", "data")
                    raised = [one["value"] for one in event.get("exception", {}).get("values", [])]
                    status = event["contexts"]["trace"].get("status")
                    name = event["transaction"] if framework == "bottle" else ""
                    data = [asked.get(each) or None for each in names]
                    kept.append([item.type, name, *data, raised, status])

    sentry_sdk.init(
        "https://key@sentry.example/1", transport=Kept, traces_sample_rate=1.0, release="1"
    )
    if framework == "bottle":
        return lambda app, protocol: app
    around = {"wsgi": SentryWsgiMiddleware, "asgi": SentryAsgiMiddleware}
    return lambda app, protocol: around[protocol](app)


def ddtrace(framework: str, side: str) -> Wrap:
    import ddtrace
    from ddtrace.trace import TraceFilter, tracer

    class Keep(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            for span in trace:
                tags = {
                    name: value
                    for name, value in span.get_tags().items()
                    if name.startswith(("http", "error.message"))
                }
                kept.append([span.name, span.resource, span.error, span.parent_id, tags])

    tracer.configure(trace_processors=[Keep()])
    if framework == "bottle":
        ddtrace.patch(bottle=True)
    else:
        import cherrypy
        from ddtrace.contrib.cherrypy import TraceMiddleware

        trace: Any = TraceMiddleware
        trace(cherrypy, service="shop")
    return lambda app, protocol: app


def newrelic(framework: str, side: str) -> Wrap:
    import newrelic.agent
    from newrelic.core.agent import Agent

    def keep(self: Any, name: str, data: Any) -> None:
        attributes = {
            one.name: one.value.decode() if isinstance(one.value, bytes) else str(one.value)
            for one in data.agent_attributes
            if "request" in one.name or "status" in one.name.lower()
        }
        raised = [error.message for error in data.errors]
        kept.append([data.path, data.request_uri, attributes, raised])

    Agent.record_transaction = keep
    newrelic.agent.initialize()
    newrelic.agent.register_application(timeout=10)

    def wrap(app: Any, protocol: str) -> Any:
        is_around = framework == "cherrypy" and protocol == "asgi"
        return newrelic.agent.ASGIApplicationWrapper(app) if is_around else app

    return wrap


def opentelemetry(framework: str, side: str) -> Wrap:
    from opentelemetry import trace
    from opentelemetry.instrumentation import asgi, wsgi
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

    class Keep(SpanExporter):
        def export(self, spans: Any) -> Any:
            for span in spans:
                if span.kind is trace.SpanKind.SERVER:
                    names = ("http.method", "http.status_code", "http.target")
                    method, status, target = map(span.attributes.get, names)
                    kept.append([method, status, target.partition("?")[0]])

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Keep()))
    trace.set_tracer_provider(provider)
    around = {"wsgi": wsgi, "asgi": asgi}
    return lambda app, protocol: around[protocol].OpenTelemetryMiddleware(app)


def elastic(framework: str, side: str) -> Wrap:
    import elasticapm
    from elasticapm.contrib.asgi import ASGITracingMiddleware

    class Client(elasticapm.Client):
        def queue(self, event_type: str, data: Any, flush: bool = False) -> None:
            if event_type == "transaction":
                asked = data["context"]["request"]
                kept.append([asked["method"], asked["url"]["full"], data["result"]])

    Client(service_name="pies", cloud_provider="none")
    return lambda app, protocol: ASGITracingMiddleware(app)


def bottle_app() -> Any:
    import bottle

    app = bottle.Bottle()
    app.route("/page/<n>", ["GET", "POST"], lambda n: f"page {n} {bottle.request.forms.get('a')}")
    app.route("/abort", "GET", lambda: bottle.abort(403, "no"))
    app.route("/stream", "GET", lambda: iter(["a", "b"]))

    @app.route("/crash/<n>", method=["GET", "POST"])
    def crash(n: str) -> None:
        raise ValueError(n)

    return app


def cherrypy_app() -> Any:
    import cherrypy

    class Root:
        @cherrypy.expose
        def page(self, n: str, **values: str) -> str:
            return f"page {n} {values.get('a')}"

        @cherrypy.expose
        def crash(self, n: str, **values: str) -> None:
            raise ValueError(n)

        @cherrypy.expose
        def abort(self) -> None:
            raise cherrypy.HTTPError(403, "no")

        @cherrypy.expose
        def stream(self) -> Any:
            yield from ("a", "b")

    has_tracer = hasattr(cherrypy.tools, "tracer")
    cherrypy.tree.mount(Root(), "", {"/": {"tools.tracer.on": True}} if has_tracer else {})
    cherrypy.log.screen = False
    return cherrypy.tree


def main() -> None:
    framework, side, monitor = sys.argv[1:]
    if side == "ours":
        from micropie_compat import install

        install(framework)
    wrap = globals()[monitor](framework, side)
    made = globals()[f"{framework}_app"]()
    # Elastic's middleware for WSGI reports no requests.
    protocols = ["wsgi", "asgi"] if monitor != "elastic" else ["asgi"]
    results = []
    for protocol in protocols[: 1 if side == "original" else None]:
        kept.clear()
        bodies = []
        app = wrap(dual(made) if side == "original" else made, protocol)
        options: Any = {"protocol": "wsgi"} if protocol == "wsgi" else {}
        with TestClient(app, **options) as client:
            for method, path in REQUESTS:
                answer = client.request(method, path, data={"a": "b"} if method == "POST" else None)
                body = answer.text if answer.status_code == 200 else ""
                bodies.append([answer.status_code, body])
        if monitor == "sentry":
            import sentry_sdk

            sentry_sdk.flush()
        results.append([bodies, sorted(kept, key=str)])
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
