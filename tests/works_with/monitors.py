"""Monitors, with two visitors at once (``visitors.py``). What a report lacks is the monitor's own
limit, which docs/how-to/logging.md has in words.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from micropie import App, HttpMiddleware, Request
from tests.works_with.listed import World, works
from tests.works_with.visitors import Monitor, check

AT_ONCE = "two visitors"
OVER = "error tag user"  # the span of the request is over by then


@works("sentry-sdk", what=AT_ONCE)
def sentry_visitors(world: World) -> None:
    import sentry_sdk
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
    from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
    from sentry_sdk.transport import Transport

    kept: list[str] = []

    class Kept(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            kept.extend(json.dumps(item.payload.json) for item in envelope.items)

    sentry_sdk.init(
        "https://key@sentry.example/1",
        transport=Kept,
        traces_sample_rate=1.0,
        include_local_variables=False,  # a frame has the URL as well
    )

    def mark(number: str) -> None:
        sentry_sdk.set_user({"id": f"user-{number}"})
        sentry_sdk.set_tag("visitor", f"tag-{number}")

    def wrap(app: App, world: World) -> Any:
        kind = SentryWsgiMiddleware if world == "wsgi" else SentryAsgiMiddleware
        return kind(app)

    def reports() -> list[str]:
        sentry_sdk.flush()
        return kept

    def span(name: str) -> Any:
        return sentry_sdk.start_span(op="visit", name=name)

    monitor = Monitor(wrap, mark, span, sentry_sdk.capture_exception, reports)
    # The transaction of a WSGI response is over before its first chunk.
    of_wsgi = dict.fromkeys(["stream", "async_stream", "events"] if world == "wsgi" else [], "span")
    check(monitor, world, after="span", async_after="span", **of_wsgi)


@works("ddtrace", what=AT_ONCE)
def ddtrace_visitors(world: World) -> None:
    os.environ |= {
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "DD_REMOTE_CONFIGURATION_ENABLED": "false",
    }
    import ddtrace.auto  # noqa: F401 - as ddtrace-run does
    from ddtrace.contrib.asgi import TraceMiddleware
    from ddtrace.contrib.wsgi import DDWSGIMiddleware
    from ddtrace.trace import TraceFilter, tracer

    kept: dict[int, list[object]] = defaultdict(list)

    class Keep(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            for span in trace:
                kept[span.trace_id] += [span.name, span.get_tags()]

    tracer.configure(trace_processors=[Keep()])

    def mark(number: str) -> None:
        span = tracer.current_root_span()
        if span is not None:
            span.set_tags({"usr.id": f"user-{number}", "visitor": f"tag-{number}"})

    def report(error: Exception) -> None:
        span = tracer.current_span()
        if span is not None:
            span.set_exc_info(type(error), error, error.__traceback__)

    def wrap(app: App, world: World) -> Any:
        return DDWSGIMiddleware(app) if world == "wsgi" else TraceMiddleware(app)

    monitor = Monitor(wrap, mark, tracer.trace, report, lambda: [*map(str, kept.values())])
    check(monitor, world, after=OVER, async_after=OVER, socket=OVER)


@works("newrelic", "asyncio", "wsgi", what=AT_ONCE)
def newrelic_visitors(world: World) -> None:
    os.environ |= {"NEW_RELIC_DEVELOPER_MODE": "true", "NEW_RELIC_LICENSE_KEY": "0" * 40}
    import newrelic.agent
    from newrelic.core.agent import Agent

    kept: list[str] = []

    def names_of(node: Any) -> list[object]:
        return [getattr(node, "name", ""), *map(names_of, node.children)]

    def keep(self: Any, name: str, data: Any) -> None:
        attributes = data.user_attributes, data.agent_attributes
        kept.append(f"{data.request_uri} {attributes} {names_of(data.root)} {data.errors}")

    Agent.record_transaction = keep
    newrelic.agent.initialize()
    newrelic.agent.register_application(timeout=10)

    def mark(number: str) -> None:
        newrelic.agent.set_user_id(f"user-{number}")
        newrelic.agent.add_custom_attribute("visitor", f"tag-{number}")

    def report(error: Exception) -> None:
        newrelic.agent.notice_error((type(error), error, error.__traceback__))

    def wrap(app: App, world: World) -> Any:
        if world == "wsgi":
            return newrelic.agent.WSGIApplicationWrapper(app)
        return newrelic.agent.ASGIApplicationWrapper(app)

    monitor = Monitor(wrap, mark, newrelic.agent.FunctionTrace, report, lambda: kept)
    # It knows a request in one task, or under WSGI in one thread, and no WebSockets.
    elsewhere = (
        ["run_async", "async_def", "async_stream", "events"]
        if world == "wsgi"
        else ["run_async", "def", "stream"]
    )
    lacks = dict.fromkeys(elsewhere, "user tag span")
    over = dict.fromkeys(["after", "async_after"], "user tag span error")
    check(monitor, world, **lacks, **over, socket="url user tag span error")


@works("elastic-apm", what=AT_ONCE)
def elastic_visitors(world: World) -> None:
    import elasticapm
    from elasticapm.contrib.asgi import ASGITracingMiddleware

    kept: dict[str, list[object]] = defaultdict(list)

    class Client(elasticapm.Client):
        def queue(self, event_type: str, data: Any, flush: bool = False) -> None:
            kept[data.get("trace_id") or data.get("id", "")] += [data]

    client = Client(
        service_name="pies",
        cloud_provider="none",
        central_config="false",
        collect_local_variables="off",  # a frame has the URL as well
    )

    class Transactions(HttpMiddleware):  # as docs/how-to/logging.md has it
        def before_request(self, request: Request) -> None:
            client.begin_transaction("request")
            elasticapm.set_context({"url": {"full": str(request.url)}}, "request")
            request.on_close(lambda: client.end_transaction(request.path))

    def mark(number: str) -> None:
        elasticapm.set_user_context(user_id=f"user-{number}")
        elasticapm.label(visitor=f"tag-{number}")

    def report(error: Exception) -> None:
        client.capture_exception((type(error), error, error.__traceback__))

    def wrap(app: App, world: World) -> Any:
        if world == "wsgi":
            app.middlewares.append(Transactions())
            return app
        return ASGITracingMiddleware(app)

    monitor = Monitor(
        wrap, mark, elasticapm.capture_span, report, lambda: [*map(str, kept.values())]
    )
    check(monitor, world, socket="url user tag span")


def by_opentelemetry(wrap: Callable[[App, World], Any], world: World) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

    def mark(number: str) -> None:
        trace.get_current_span().set_attributes(
            {"enduser.id": f"user-{number}", "visitor": f"tag-{number}"}
        )

    def report(error: Exception) -> None:
        trace.get_current_span().record_exception(error)

    def reports() -> list[str]:
        traces: dict[int, str] = defaultdict(str)
        for span in exporter.get_finished_spans():
            traces[span.context.trace_id] += span.to_json()
        return [*traces.values()]

    span = trace.get_tracer("shop").start_as_current_span
    check(Monitor(wrap, mark, span, report, reports), world, after=OVER, async_after=OVER)


@works("opentelemetry-sdk", what="Tracing")
def opentelemetry_visitors(world: World) -> None:
    from micropie.middleware import Tracing

    def wrap(app: App, world: World) -> App:
        app.middlewares.append(Tracing())
        return app

    by_opentelemetry(wrap, world)


@works("opentelemetry-instrumentation-asgi", "asyncio", "trio", what=AT_ONCE)
def opentelemetry_asgi_visitors(world: World) -> None:
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    by_opentelemetry(lambda app, world: OpenTelemetryMiddleware(app), world)


@works("opentelemetry-instrumentation-wsgi", "wsgi", what=AT_ONCE)
def opentelemetry_wsgi_visitors(world: World) -> None:
    from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware

    by_opentelemetry(lambda app, world: OpenTelemetryMiddleware(app), world)
