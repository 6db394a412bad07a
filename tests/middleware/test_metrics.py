"""App.metrics: what is counted, under which labels, who may read it, and several processes."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, values

from micropie import (
    App,
    ClientDisconnect,
    EventStream,
    HTTPError,
    Request,
    SetupError,
    WebSocket,
    get,
    run_in,
)
from micropie.middleware import metrics as metrics_module
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.commands import ended
from tests.support.environment import import_path
from tests.support.waiting import PATIENCE


class Inner(App):
    def index(self) -> str:
        return "inner"


class Root(App):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.leave, self.inside = threading.Event(), threading.Event()

    def index(self) -> str:
        return "hello"

    def greet(self, name: str) -> str:
        return f"hello {name}"

    @get("/users/<number:int>")
    async def user(self, number: int) -> str:
        return str(number)

    def teapot(self) -> Any:
        raise HTTPError(418)

    def broken(self) -> Any:
        raise RuntimeError("secret")

    def left(self) -> Any:
        raise ClientDisconnect

    def blocks(self) -> str:
        self.inside.set()
        self.leave.wait(PATIENCE)
        return "done"

    def lines(self) -> Iterator[str]:
        self.leave.wait(0.2)
        yield "one"
        yield "two"

    async def events(self) -> EventStream:
        return EventStream(self._events(), heartbeat=0.1)

    async def _events(self) -> AsyncIterator[str]:
        async with self.channels.subscribe("news", "sport") as messages:
            yield "begun"
            async for message in messages:
                yield message

    @run_in("process")
    def computes(self) -> str:
        return "computed"

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(str(message))

    async def ws_refuses(self, ws: WebSocket) -> None:
        raise HTTPError(401)


def measured(app: App | None = None, **options: Any) -> App:
    app = app or Root()
    app.metrics("/metrics", registry=CollectorRegistry(), **options)
    return app


def read(client: TestClient) -> dict[str, float]:
    """Return all numbers: ``name{labels}`` -> value."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def requests_of(numbers: dict[str, float]) -> dict[tuple[str, ...], float]:
    found: dict[tuple[str, ...], float] = {}
    for name, value in numbers.items():
        if name.startswith("http_requests_total"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', name))
            found[labels["method"], labels["route"], labels["status"]] = value
    return found


def test_requests_are_counted_by_method_pattern_and_status(make_client: MakeClient) -> None:
    client = make_client(measured(), raise_app_exceptions=False, validate=False)
    for path in (
        "/",
        "/greet/Alice",
        "/greet/Bob",
        "/users/1",
        "/users/2",
        "/teapot",
        "/broken",
        "/lines",
        "/no/where",
    ):
        client.get(path)
    client.head("/")
    client.request("BREW", "/")
    client.request("SHAKE", "/")
    numbers = read(client)
    assert requests_of(numbers) == {
        ("GET", "/", "200"): 1,
        ("HEAD", "/", "200"): 1,
        ("GET", "/greet", "200"): 2,
        ("GET", "/users/<number:int>", "200"): 2,
        ("GET", "/teapot", "418"): 1,
        ("GET", "/broken", "500"): 1,
        ("GET", "/lines", "200"): 1,
        ("GET", "unmatched", "404"): 1,
        ("OTHER", "unmatched", "405"): 2,
    }
    assert numbers['http_request_duration_seconds_count{method="GET",route="/greet"}'] == 2
    assert 0 < numbers['http_request_duration_seconds_sum{method="GET",route="/greet"}'] < PATIENCE
    assert numbers["http_requests_in_flight"] == 0  # nor is the endpoint itself counted


def test_the_histogram_s_buckets_can_be_configured(make_client: MakeClient) -> None:
    client = make_client(measured(buckets=(0.5, 60)))
    client.get("/")
    bounds = [re.search('le="([^"]+)"', name) for name in read(client) if "_bucket" in name]
    assert [found[1] for found in bounds if found] == ["0.5", "60.0", "+Inf"]


def test_a_registry_has_the_same_buckets_for_all_applications() -> None:
    registry = CollectorRegistry()
    for path, buckets in (("/a", (0.5, 60)), ("/b", [0.5, 60.0]), ("/c", None)):
        App().metrics(path, registry=registry, buckets=buckets)
    with pytest.raises(SetupError, match=r"has given this registry the buckets \[0\.5, 60\]"):
        App().metrics("/d", registry=registry, buckets=(0.5, 30))


def test_a_request_is_measured_once(make_client: MakeClient) -> None:
    class Inner(App):
        def fails(self) -> Iterator[str]:  # its error page passes the hooks like another response
            raise HTTPError(409)
            yield ""

    registry = CollectorRegistry()
    app: Any = App()
    app.inner = Inner()
    app.metrics("/metrics", registry=registry)
    app.metrics("/internal", registry=registry, token="sesame")
    app.inner.metrics("/own", registry=registry)
    client = make_client(app)
    assert client.get("/inner/fails").status_code == 409
    numbers = read(client)
    assert requests_of(numbers) == {("GET", "/inner/fails", "409"): 1}
    assert numbers['http_request_duration_seconds_count{method="GET",route="/inner/fails"}'] == 1
    assert numbers["http_requests_in_flight"] == 0


def test_a_stream_is_measured_until_its_first_chunk(make_client: MakeClient) -> None:
    client = make_client(measured())
    assert client.get("/lines").text == "onetwo"
    assert read(client)['http_request_duration_seconds_sum{method="GET",route="/lines"}'] >= 0.2


def test_a_stream_that_an_outer_hook_replaces_is_measured_once(make_client: MakeClient) -> None:
    def replaces(_: Request) -> Iterator[object]:
        yield None
        yield "other"

    app: Any = App()
    app.inner = measured()
    app.middlewares.append(replaces)
    client = make_client(app)
    assert client.get("/inner/lines").text == "other"
    answer = client.get("/inner/metrics").text
    assert 'duration_seconds_count{method="GET",route="/inner/lines"} 1.0' in answer


def test_a_disconnected_client_has_status_499_and_no_duration(make_client: MakeClient) -> None:
    client = make_client(measured(), raise_app_exceptions=False)
    with suppress(Exception):  # no answer is sent, which the test client reports under ASGI
        client.get("/left")
    numbers = read(client)
    assert requests_of(numbers) == {("GET", "/left", "499"): 1}


def test_requests_in_flight_and_threads_are_measured(make_client: MakeClient, world: str) -> None:
    app: Any = measured(Root(threads=3))
    client = make_client(app)
    answers: list[str] = []
    thread = threading.Thread(target=lambda: answers.append(client.get("/blocks").text))
    thread.start()
    try:
        assert app.inside.wait(PATIENCE)
        numbers = read(client)
    finally:
        app.leave.set()
        thread.join()
    assert answers == ["done"]
    assert numbers["http_requests_in_flight"] == 1
    names = ("micropie_threads_busy", "micropie_threads_waiting", "micropie_threads_limit")
    assert [numbers[name] for name in names] == ([0, 0, 0] if world == "wsgi" else [1, 0, 3])
    assert read(client)["http_requests_in_flight"] == 0


def test_the_event_loop_s_lag_is_that_of_the_last_minute(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("micropie.extensions.application.loop_lag", lambda: 0.25)
    assert read(make_client(measured()))["micropie_loop_lag_seconds"] == 0.25


def test_subscribers_are_counted_once_each(make_client: MakeClient) -> None:
    client = make_client(measured())
    with client.stream("GET", "/events") as answer:
        lines = answer.iter_lines()  # a discarded iterator closes the response
        assert "data: begun" in lines
        numbers = read(client)
        answers = [numbers[name] for name in ("micropie_channels", "micropie_channel_subscribers")]
        assert answers == [2, 1]
        assert numbers["http_requests_in_flight"] == 1
        # The time is that of the head: a stream of events may last for days.
        assert numbers['http_request_duration_seconds_count{method="GET",route="/events"}'] == 1


@pytest.mark.processes
def test_the_pool_is_measured(make_client: MakeClient) -> None:
    client = make_client(measured(Root(processes=2)))
    assert client.get("/computes").text == "computed"
    numbers = read(client)
    assert [numbers[name] for name in ("micropie_pool_busy", "micropie_pool_limit")] == [0, 2]


def test_websockets_are_counted(connect: MakeClient, backend: str) -> None:
    app: Any = Root()
    mounted = Root()
    app.mount("/apart", mounted, isolated=True)
    client = connect(measured(app), backend)
    with client.websocket("/echo") as ws, client.websocket("/apart/echo") as other:
        for socket in (ws, other):
            socket.send_text("hi")
            assert socket.receive_text() == "hi"
        assert read(client)["websocket_connections_open"] == 1
    with pytest.raises(Exception), client.websocket("/refuses"):  # noqa: B017, PT011
        pass
    numbers = read(client)
    assert numbers["websocket_connections_open"] == 0
    assert numbers['websocket_connections_total{accepted="true",route="/echo"}'] == 1
    assert numbers['websocket_connections_total{accepted="false",route="/refuses"}'] == 1


def test_requests_to_an_isolated_application_are_not_counted(make_client: MakeClient) -> None:
    app = Root()
    app.mount("/apart", Inner(), isolated=True)
    app.mount("/shared", Inner())
    client = make_client(measured(app))
    assert [client.get(path).text for path in ("/apart", "/shared")] == ["inner", "inner"]
    numbers = read(client)
    assert requests_of(numbers) == {("GET", "/shared", "200"): 1}
    assert numbers["http_requests_in_flight"] == 0


def test_an_inner_application_only_counts_requests_that_reach_it(make_client: MakeClient) -> None:
    app: Any = Root()
    app.inner = Inner()

    class Closed:
        def before_request(self, request: Any) -> Any:
            return {"status": 503} if request.query("closed") else None

    app.middlewares.append(Closed())
    app.inner.metrics("/metrics", registry=CollectorRegistry())
    client = make_client(app)
    statuses = [client.get(path).status_code for path in ("/", "/inner", "/inner?closed=1")]
    assert statuses == [200, 200, 503]
    text = client.get("/inner/metrics").text
    assert 'http_requests_total{method="GET",route="/inner",status="200"} 1.0' in text
    assert 'status="503"' not in text


# -- the endpoint ----------------------------------------------------------------------------------


def test_the_metrics_page_can_require_a_token(make_client: MakeClient) -> None:
    client = make_client(measured(token="s3cret"))
    for wrong in ("", "Bearer wrong", "s3cret", "Basic s3cret", " s3cret", "Bearer"):
        headers = {"Authorization": wrong} if wrong else {}
        refused = client.get("/metrics", headers=headers)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    for right in ("Bearer s3cret", "bearer s3cret", "BEARER  s3cret "):
        answer = client.get("/metrics", headers={"Authorization": right})
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")


def test_custom_metrics_are_included_and_the_format_is_negotiated(
    make_client: MakeClient,
) -> None:
    registry = CollectorRegistry()
    orders = Counter("orders", "Pies that were ordered.", registry=registry)
    app = Root()
    app.metrics(registry=registry)
    orders.inc(3)
    client = make_client(app)
    assert client.get("/metrics").headers["content-type"].startswith("text/plain; version=0.0.4")
    answer = client.get(
        "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}
    )
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "orders_total 3.0" in answer.text
    assert answer.text.endswith("# EOF\n")
    assert app.openapi()["paths"].keys().isdisjoint({"/metrics"})


PLAIN, OPEN = "text/plain; version=0.0.4", "application/openmetrics-text; version=1.0.0"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (f"application/openmetrics-text; version={'9' * 5000}", OPEN),
        (f"application/openmetrics-text; version=1.{'9' * 5000}", OPEN),
        ("application/openmetrics-text; version=1000.0", OPEN),
        ("application/openmetrics-text; version=x; escaping=underscores", OPEN),
        ("application/openmetrics-text;version=1.0.0.0", OPEN),
        ("application/openmetrics-text;version=1_0", OPEN),
        ("application/openmetrics-text;version=1.0 0", OPEN),
        ("application/openmetrics-text; version=0.0.1", PLAIN),
        ("application/openmetrics-text; version=1.0.0 ;q=0.5", OPEN),
        (
            "application/openmetrics-text; version=x, application/openmetrics-text; version=1.0.0",
            OPEN,
        ),
        (
            "application/openmetrics-text; version=100.0, */*",
            "application/openmetrics-text; version=100.0",
        ),
        (f"text/plain; version={'9' * 5000}", PLAIN),
        ("text/plain;version=x", PLAIN),
        ("text/plain;version=1.0.0,*/*;q=0.1", "text/plain; version=1.0.0"),
    ],
)
def test_R28_an_invalid_format_version_is_ignored(
    make_client: MakeClient, accept: str, content_type: str
) -> None:
    answer = make_client(measured()).get("/metrics", headers={"Accept": accept})
    seen = (answer.status_code, answer.headers["content-type"].startswith(content_type))
    assert seen == (200, True)
    assert "# TYPE http_requests" in answer.text
    assert len(answer.headers["content-type"]) < 100


def test_two_applications_share_a_registry(make_client: MakeClient) -> None:
    registry = CollectorRegistry()
    apps = [Root(), Root()]
    for app in apps:
        app.metrics("/metrics", registry=registry)
    clients = [make_client(app) for app in apps]
    for client in clients:
        client.get("/")
    assert requests_of(read(clients[0])) == {("GET", "/", "200"): 2}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"token": ""}, "App.metrics(token=...) takes None or a non-empty string, not ''"),
        (
            {"registry": "default"},
            "App.metrics(registry=...) takes a CollectorRegistry, not 'default'",
        ),
        *(
            (
                {"registry": CollectorRegistry(), "buckets": buckets},
                "takes a list of increasing numbers of seconds, not",
            )
            for buckets in ((), (3, 1), (1, 1), (0, 1), "fast", (1, "2"))
        ),
    ],
)
def test_wrong_arguments_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SetupError) as refused:
        Root().metrics(**options)
    assert sentence in str(refused.value)


def test_without_prometheus_client_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_module, "prometheus_client", None)
    with pytest.raises(SetupError, match=r"micropie-dual\[metrics\]"):
        Root().metrics()


# -- several processes -----------------------------------------------------------------------------

SEVERAL = """
    import os, sys
    from micropie import App
    from micropie.testing import TestClient

    class Root(App):
        async def index(self):
            return "hello"

    app = Root()
    app.metrics("/metrics")

    def ask(times, **way):
        with TestClient(app, **way) as client:
            for _ in range(times):
                assert client.get("/").text == "hello"
            return client.get("/metrics").text

    child = os.fork()
    if child == 0:
        ask(2, protocol="wsgi")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert any(name.endswith(f"_{child}.db") for name in os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
    print(ask(3, protocol="wsgi"))
    left = [name for name in os.listdir(os.environ["PROMETHEUS_MULTIPROC_DIR"]) if name.startswith("gauge")]
    assert left and not any(name.endswith(f"_{child}.db") for name in left), left
    # as while another worker begins
    open(os.path.join(os.environ["PROMETHEUS_MULTIPROC_DIR"], "counter_1.db"), "w").close()
    print(ask(1, backend="asyncio"))
"""


SCRAPES = """
    import os
    from concurrent.futures import ThreadPoolExecutor
    from micropie import App
    from micropie.testing import TestClient

    app = App()
    app.metrics("/metrics")
    for process in range(5_000_000, 5_003_000):  # Linux has none of so high a number
        name = f"gauge_livesum_{process}.db"
        open(os.path.join(os.environ["PROMETHEUS_MULTIPROC_DIR"], name), "w").close()
    with TestClient(app, protocol="wsgi") as client, ThreadPoolExecutor(4) as threads:
        for answer in threads.map(client.get, ["/metrics"] * 8):
            assert answer.status_code == 200, answer.text
"""


def run_script(tmp_path: Path, script: str) -> str:
    done = ended(
        sys.executable,
        "-W",
        "ignore",
        "-c",
        textwrap.dedent(script),
        environ={
            **os.environ,
            "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
            "PYTHONPATH": import_path(*sys.path),
        },
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.processes
def test_one_process_reports_all_and_omits_gauges_of_dead_processes(tmp_path: Path) -> None:
    output = run_script(tmp_path, SEVERAL)
    counts = re.findall(
        r'http_requests_total\{method="GET",route="/",status="200"\} ([\d.]+)', output
    )
    assert counts == ["5.0", "6.0"]
    limits = re.findall(r"micropie_threads_limit ([\d.]+)", output)
    assert limits[-1] == "40.0"


@pytest.mark.processes
def test_concurrent_reports_omit_the_same_processes(tmp_path: Path) -> None:
    run_script(tmp_path, SCRAPES)
    assert not list(tmp_path.glob("gauge_livesum_500????.db"))  # not its own number


@pytest.mark.parametrize(
    ("directory", "is_late", "sentence"),
    [
        (
            "missing",
            False,
            "before the server starts, and give the server permission to write to it",
        ),
        (
            "file",
            False,
            "create this directory before the server starts, and give the server permission",
        ),
        (
            "",
            True,
            "must be set before prometheus_client is imported: set it in the environment of the command",
        ),
    ],
)
def test_an_unusable_metrics_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directory: str, is_late: bool, sentence: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / directory))
    assert not is_late or values.ValueClass is values.MutexValue
    with pytest.raises(SetupError, match=sentence):
        Root().metrics(registry=CollectorRegistry())


def test_a_process_that_cannot_be_signalled_counts_as_alive() -> None:
    assert metrics_module._is_alive(1)
