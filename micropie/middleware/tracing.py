"""Spans for OpenTelemetry. Only this module uses OpenTelemetry's API, an optional dependency.

``opentelemetry-instrument uvicorn shop:app`` creates spans without a change to the program: it
finds ``MicropieInstrumentor`` through the entry point ``opentelemetry_instrumentor``.

``Tracing`` stores the span's context in a context variable, so the span is current wherever
handlers run: on the event loop, in threads, and in later chunks of a stream. A process of the pool
receives the context as headers, as another service would.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial, wraps
from importlib import import_module
from typing import Any
from weakref import WeakSet

from micropie import App, HTTPError, Request, SetupError, WebSocketRequest
from micropie.middleware.base import STANDARD_METHODS, FlowMiddleware, sees_first

try:
    from opentelemetry import context, propagate, trace
    from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, TracerProvider
except ImportError:  # pragma: no cover - the tests set it to None
    trace = None  # type: ignore[assignment]
try:
    _Base: Any = import_module("opentelemetry.instrumentation.instrumentor").BaseInstrumentor
except ImportError:  # pragma: no cover - installed with the command opentelemetry-instrument
    _Base = object


class Tracing(FlowMiddleware):
    """Create a span for each request and each WebSocket, from its start to its last byte.

    Put it first.

    OpenTelemetry's global propagators read the span's parent from the request's headers
    (``traceparent``). The span is the current one in handlers, hooks, threads and streams. In
    processes of the pool, new spans become its children. Names and attributes follow the semantic
    conventions for HTTP servers. Exceptions that become a 500 or abort a response are recorded.

    - ``tracer_provider``: the provider to use; None means the global one.
    - ``query``: whether to record the query string, which may contain secrets.

    Raises ``SetupError`` if OpenTelemetry's API isn't installed.
    """

    guards = True  # to see WebSocket handshakes

    def __init__(
        self, tracer_provider: TracerProvider | None = None, *, query: bool = False
    ) -> None:
        if trace is None:
            raise SetupError('Tracing needs OpenTelemetry: pip install "micropie-dual[otel]"')
        if not isinstance(tracer_provider, TracerProvider | None):
            raise SetupError(
                "Tracing(tracer_provider=...) takes a TracerProvider of OpenTelemetry, "
                f"not {tracer_provider!r}"
            )
        if not isinstance(query, bool):
            raise SetupError(f"Tracing(query=...) takes True or False, not {query!r}")
        self._tracer: Tracer = trace.get_tracer("micropie", tracer_provider=tracer_provider)
        self._query = query

    def before(self, request: Request) -> None:
        """Start the span and make it the current one."""
        is_socket, route = isinstance(request, WebSocketRequest), request.route
        if is_socket and route is None:  # a mounted application handles this handshake
            return
        if not sees_first(self, request):
            return
        previous = context.get_current()
        parent = propagate.extract(request.headers, previous)
        name = (
            "WEBSOCKET"
            if is_socket
            else request.method
            if request.method in STANDARD_METHODS
            else "HTTP"
        )
        span = self._tracer.start_span(
            name if route is None else f"{name} {route.pattern}",
            parent,
            SpanKind.SERVER,
            _attributes(request, is_socket, self._query),
        )
        inner = trace.set_span_in_context(span, parent)
        context.attach(inner)
        if route is not None and route.is_pooled:
            carrier: dict[str, str] = {}
            propagate.inject(carrier, inner)
            request.carry_into_process(partial(enter, carrier))
        errors: list[str] = []
        request.on_failure(partial(_record, span, errors))
        request.on_close(partial(_end, request, span, errors, previous))


def enter(carrier: Mapping[str, str]) -> None:
    """In a process of the pool, make the context in ``carrier`` the current one."""
    context.attach(propagate.extract(carrier))


def _attributes(request: Request, is_socket: bool, with_query: bool) -> dict[str, Any]:
    """Return the attributes that are known at the start, which samplers may use."""
    method, client, scheme = request.method, request.client, request.scheme
    is_known = method in STANDARD_METHODS
    attributes: dict[str, object] = {
        "http.request.method": method if is_known else "_OTHER",
        "http.request.method_original": None if is_known else method,
        "http.route": None if request.route is None else request.route.pattern,
        "url.scheme": scheme.replace("http", "ws") if is_socket else scheme,
        "url.path": request.root_path + request.path,
        "url.query": (with_query and request.query_string) or None,
        "client.address": None if client is None else client.host,
        "user_agent.original": request.headers.get("user-agent"),
    }
    with suppress(HTTPError):  # the Host header may be malformed
        host, _, port = request.host.rpartition(":")
        if not (host and port.isdigit()):
            host, port = request.host, ""
        attributes |= {"server.address": host, "server.port": int(port) if port else None}
    return {name: value for name, value in attributes.items() if value is not None}


def _record(span: Span, errors: list[str], failure: BaseException) -> None:
    # does nothing if an ``after_response`` function has failed after the span's end
    if span.is_recording():
        span.record_exception(failure)
        errors.append(f"{type(failure).__module__}.{type(failure).__qualname__}")


def _end(request: Request, span: Span, errors: list[str], previous: context.Context) -> None:
    """End the span. ``errors``: the types of the exceptions that were recorded."""
    status = request.status
    if status is not None:
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            errors.insert(0, str(status))
    if errors:
        span.set_attribute("error.type", errors[-1])
        span.set_status(StatusCode.ERROR)
    span.end()
    # Don't call ``detach``, which logs an error if another thread has called ``attach``. Under WSGI
    # nothing needs to be restored, because each request runs in its own copy of the context.
    if request.environ is None:
        context.attach(previous)


# -- opentelemetry-instrument ----------------------------------------------------------------------

_patched: Any = App


class MicropieInstrumentor(_Base):  # type: ignore[misc]
    """Puts ``Tracing`` before the middleware of each application that a server calls, unless the
    application has a ``Tracing`` already.

    ``instrument(tracer_provider=None)`` takes effect at the next call of an application. After
    ``uninstrument()``, no further applications are changed. Applications that have ``Tracing`` keep
    it.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the requirement for the instrumented package, which is micropie."""
        return ("micropie-dual >= 1.0.0rc1",)

    def _instrument(self, **options: Any) -> None:
        called: WeakSet[App] = WeakSet()
        serve = self._serve = _patched.__call__

        @wraps(serve)
        def traced(app: App, scope: object, receive: object, send: object = None) -> object:
            if app not in called:
                called.add(app)
                if not any(isinstance(hook, Tracing) for hook in app.middlewares):
                    app.middlewares.insert(0, Tracing(options.get("tracer_provider")))
            return serve(app, scope, receive, send)

        _patched.__call__ = traced

    def _uninstrument(self, **options: object) -> None:
        _patched.__call__ = self._serve
