"""Metrics for Prometheus (``App.metrics``). Only this module uses prometheus_client.

``Metrics``, the outermost hook, counts requests. ``MetricsEndpoint``, the only hook of the
endpoint's route, sends the metrics. No label contains text from a client: a route's label is its
pattern, and the label of a non-standard method is "OTHER".

With the environment variable ``PROMETHEUS_MULTIPROC_DIR``, prometheus_client keeps the metrics of
all worker processes in files, so any worker can send all of them. The gauges (threads, pool,
channels) are then updated during requests rather than when Prometheus scrapes them, because a
worker can't read the values of another worker.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from hmac import compare_digest
from math import inf
from pathlib import Path
from time import monotonic, perf_counter
from weakref import WeakKeyDictionary

from micropie import App, HTTPError, Request, Response, SetupError, WebSocketRequest
from micropie.extensions import Inspector, add_route
from micropie.middleware.access_log import NO_ANSWER
from micropie.middleware.base import (
    STANDARD_METHODS,
    Call,
    Flow,
    FlowMiddleware,
    Threads,
    call,
    call_at_start,
    credentials_in,
)

try:
    import prometheus_client
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, values
    from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
except ImportError:  # pragma: no cover - the tests set it to None
    prometheus_client = None  # type: ignore[assignment]

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"

# The buckets' upper bounds in seconds: the defaults of Prometheus's Go client, and two smaller
# bounds, because many responses take less than 5 ms.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# The gauges for the usage of threads, pool and channels, in the order of ``Inspector.statistics``.
USAGES = {
    "micropie_threads_busy": "Worker threads running def functions for requests (ASGI only).",
    "micropie_threads_waiting": "Handlers waiting for a worker thread (ASGI only).",
    "micropie_threads_limit": "The value of the setting 'threads' (ASGI only).",
    "micropie_pool_busy": "Processes of the pool that are running a handler.",
    "micropie_pool_limit": "The value of the setting 'processes'.",
    "micropie_channels": "Channels with a subscriber in this process.",
    "micropie_channel_subscribers": "Subscribers in this process.",
}

# Matches a version in an Accept header that is not a short number. Such a version is removed,
# because prometheus_client would try to parse any text.
_ODD_VERSION = re.compile(r"version=(?![0-9]{1,3}(?:\.[0-9]{1,3}){0,2}\s*(?:[,;]|$))[^,;]*")


class Instruments:
    """The metrics in one registry, shared by all applications in this process."""

    def __init__(self, registry: CollectorRegistry, buckets: Sequence[float]) -> None:
        self.buckets = [*buckets]
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry, multiprocess_mode="livesum")
        self.requests = counter(
            "http_requests",
            "Finished requests, including those without a response (499).",
            ["method", "route", "status"],
        )
        self.seconds = Histogram(
            "http_request_duration_seconds",
            "Time until the response started.",
            ["method", "route"],
            registry=registry,
            buckets=buckets,
        )
        self.in_flight = gauge(
            "http_requests_in_flight", "Requests being handled, streams included."
        )
        self.sockets = counter(
            "websocket_connections",
            "Finished WebSockets, whether accepted or refused.",
            ["route", "accepted"],
        )
        self.open_sockets = gauge(
            "websocket_connections_open", "Open WebSockets, including those in their handshake."
        )
        self.loop_lag = gauge(
            "micropie_loop_lag_seconds",
            "The longest time that the event loop was blocked in the last minute.",
            multiprocess_mode="livemax",
        )
        self.usages = [gauge(name, text) for name, text in USAGES.items()]

    def read(self, app: App) -> None:
        """Update the gauges of the loop, threads, processes and channels."""
        *numbers, lag = Inspector(app).statistics()
        for usage, number in zip(self.usages, numbers, strict=True):
            usage.set(number or 0)  # None under WSGI, where handlers run in the server's threads
        self.loop_lag.set(lag)


# Shared by the applications of a process, because a registry rejects a second metric of the same
# name.
_instruments: WeakKeyDictionary[CollectorRegistry, Instruments] = WeakKeyDictionary()


class Metrics(FlowMiddleware):
    """Count and time requests and WebSockets."""

    guards = True  # to see WebSocket handshakes

    def __init__(self, app: App, instruments: Instruments) -> None:
        self._app = app
        self._all = instruments
        self._next_read = 0.0
        # The attribute of a request that stores its start time. All hooks with these instruments
        # use the same name, so that they count a request only once.
        self._began = f"_measured_by_{id(instruments)}"

    def before(self, request: Request) -> None:
        """Record the start time."""
        if self._began in vars(request):
            return
        vars(request)[self._began] = perf_counter()
        if isinstance(request, WebSocketRequest):
            if request.route is not None:  # a mounted application counts its own requests
                self._all.open_sockets.inc()
                request.on_close(partial(self._end_socket, request, request.route.pattern))
            return
        self._all.in_flight.inc()
        request.on_close(partial(self._end, request))
        if DIRECTORY in os.environ and monotonic() > self._next_read:
            self._next_read = monotonic() + 1
            self._all.read(self._app)

    def after(self, request: Request, response: Response) -> None:
        """Record the time until the response starts. The time until its end would say little,
        because a stream of events may last for days.
        """
        call_at_start(request, response, partial(self._observe, request))

    def _observe(self, request: Request, _: Response | None = None) -> None:
        # None if an outer hook sent the response, or if the time was recorded before
        began = vars(request).get(self._began)
        if began is not None:
            vars(request)[self._began] = None
            self._all.seconds.labels(*_labels_of(request)).observe(perf_counter() - began)

    def _end(self, request: Request) -> None:
        self._all.in_flight.dec()
        # A request without a status was for a mounted application, which counts its own requests.
        if request.status is None and not request.broken_off:
            return
        status = NO_ANSWER
        if request.status is not None:
            status = request.status
            self._observe(request)  # unless an outer hook replaced a stream, it is recorded
        self._all.requests.labels(*_labels_of(request), status).inc()

    def _end_socket(self, request: WebSocketRequest, route: str) -> None:
        self._all.open_sockets.dec()
        accepted = "true" if request.status == 101 else "false"
        self._all.sockets.labels(route, accepted).inc()


def _labels_of(request: Request) -> tuple[str, str]:
    """Return the labels for the method and the route.

    The label of a non-standard method is "OTHER". The label of a path without a handler is
    "unmatched".
    """
    method = request.method if request.method in STANDARD_METHODS else "OTHER"
    return method, "unmatched" if request.route is None else request.route.pattern


class MetricsEndpoint(FlowMiddleware):
    """Send all metrics of the registry. If ``token`` is set, clients must send it as a bearer
    token.
    """

    def __init__(
        self, app: App, instruments: Instruments, registry: CollectorRegistry, token: str | None
    ) -> None:
        self._app = app
        self._all = instruments
        self._registry = registry
        # Use separate threads, so that the metrics can be read while handlers occupy all other
        # threads.
        self._reading = Call(Threads(2), leave_after=None)
        self._token = None if token is None else token.encode()

    def before(self, request: Request) -> Flow[Response]:
        """Send the metrics in the format that the client prefers."""
        if self._token is not None:
            scheme, token = credentials_in(request)
            if scheme != "bearer" or not compare_digest(token.encode(), self._token):
                raise HTTPError(
                    401, "A bearer token is required.", [("WWW-Authenticate", "Bearer")]
                )
        self._all.read(self._app)
        accept = _ODD_VERSION.sub("", request.headers.get("accept", ""))
        make, content_type = prometheus_client.exposition.choose_encoder(accept)
        body = yield from call(self._reading, lambda: make(self._of_all_processes()))
        return Response(body, 200, [("Cache-Control", "no-store")], content_type)

    def _of_all_processes(self) -> CollectorRegistry:
        """Return the registry. If the worker processes share a directory, return a new registry
        with the metrics of all processes.

        The gauges of processes that have exited are removed.
        """
        directory = os.environ.get(DIRECTORY)
        if directory is None:
            return self._registry
        for path in Path(directory).glob("gauge_live*_*.db"):
            process = int(re.sub(r".*_|\.db", "", path.name))
            if os.name == "posix" and not _is_alive(process):
                with suppress(FileNotFoundError):  # another worker has just removed the file
                    mark_process_dead(process)  # type: ignore[no-untyped-call]
        registry = CollectorRegistry()
        registry.register(_Files(directory))
        return registry


class _Files:
    """Collects the metrics from the files of all processes."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics. Skip empty files: a process has just created them."""
        files = []
        for path in self._directory.glob("*.db"):
            with suppress(FileNotFoundError):  # another worker has removed the file
                if path.stat().st_size:
                    files.append(str(path))
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call]
        return merged


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # signal 0 only checks whether the process exists
    except OSError as error:
        return isinstance(error, PermissionError)  # the process exists but belongs to another user
    return True


def add_metrics(
    app: App,
    path: str,
    *,
    token: str | None,
    registry: CollectorRegistry | None,
    buckets: Sequence[float] | None,
) -> None:
    """Add the endpoint and the hook that counts requests; see ``App.metrics``. Raises
    ``SetupError`` for an invalid argument, and if prometheus_client isn't installed.
    """
    if prometheus_client is None:
        raise SetupError(
            'App.metrics needs prometheus_client: pip install "micropie-dual[metrics]"'
        )
    if token == "" or not isinstance(token, str | None):
        raise SetupError(f"App.metrics(token=...) takes None or a non-empty string, not {token!r}")
    registry = prometheus_client.REGISTRY if registry is None else registry
    is_default = buckets is None
    buckets = BUCKETS if buckets is None else buckets
    if not isinstance(registry, CollectorRegistry):
        raise SetupError(f"App.metrics(registry=...) takes a CollectorRegistry, not {registry!r}")
    # the elements of bytes are numbers, too
    is_list = isinstance(buckets, Sequence) and not isinstance(buckets, bytes | bytearray)
    are_times = is_list and all(type(one) in (int, float) and 0 < one < inf for one in buckets)
    if not (buckets and are_times and list(buckets) == sorted(set(buckets))):
        raise SetupError(
            "App.metrics(buckets=...) takes a list of increasing numbers of seconds, not "
            f"{buckets!r}"
        )
    instruments = _instruments.get(registry)
    if instruments is None:
        _check_directory()
        _instruments[registry] = instruments = Instruments(registry, buckets)
    elif not is_default and instruments.buckets != [*buckets]:
        raise SetupError(
            f"App.metrics(buckets=...) can't take {buckets!r}, because another call has given this "
            f"registry the buckets {instruments.buckets}: take these, or another registry"
        )
    endpoint = MetricsEndpoint(app, instruments, registry, token)
    add_route(app, path, metrics_endpoint, hooks=[endpoint])
    app.middlewares.insert(0, Metrics(app, instruments))


def _check_directory() -> None:
    """Raise ``SetupError`` if prometheus_client can't use the directory for the metrics of several
    processes.
    """
    directory = os.environ.get(DIRECTORY)
    if directory is None:
        return
    if not (Path(directory).is_dir() and os.access(directory, os.W_OK)):
        raise SetupError(
            f"{DIRECTORY} is {directory!r}: create this directory before the server starts, and "
            "give the server permission to write to it"
        )
    if values.ValueClass is values.MutexValue:
        raise SetupError(
            f"{DIRECTORY} must be set before prometheus_client is imported: set it in the "
            "environment of the command that starts the server"
        )


def metrics_endpoint() -> None:
    """The route's handler. It is never called, because the hook sends the response."""
