"""LoadShedding: who has waited long is refused where a queue stands, and nobody else is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from micropie import App, HTTPError, Request, WebSocket
from micropie._core.execution.placement import Threads
from micropie.middleware import LoadShedding
from micropie.testing import TestClient, WebSocketRefused
from tests.support.clients import MakeClient
from tests.support.clock import Clock

# An arrival, as proxies state it.
FORMS = ["t={:.3f}", "{:.3f}", "t={:.6f}", "t={milliseconds}", "{milliseconds}", "t={microseconds}"]


class Root(App):
    def index(self) -> str:
        return "hello"

    async def ws_talk(self, socket: WebSocket) -> None:
        await socket.accept()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    room = "micropie.middleware.limits"
    clock = Clock.instead_of(monkeypatch, f"{room}.monotonic", f"{room}.time")
    clock.now = 1_800_000_000.0
    return clock


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    app = Root()
    app.middlewares.append(LoadShedding())
    return make_client(app)


def ask(
    client: TestClient, clock: Clock, waited: float, form: str = FORMS[0], path: str = "/"
) -> int:
    """Return the status of a request that came so many seconds ago."""
    came = clock.now - waited
    start = form.format(came, milliseconds=int(came * 1e3), microseconds=int(came * 1e6))
    answer = client.get(path, headers={"X-Request-Start": start})
    if answer.status_code == 503:
        assert answer.headers["retry-after"] == "1"
        assert answer.text == "Too many requests are waiting. Please try again later."
    return answer.status_code


def let_queue_stand(
    client: TestClient, clock: Clock, form: str = FORMS[0], waited: float = 0.2
) -> None:
    for _ in range(60):
        assert ask(client, clock, waited, form) == 200
        clock.now += 0.02
    # waits have become longer by more than chance
    assert ask(client, clock, waited + 0.8, form) == 503


@pytest.mark.parametrize("form", FORMS)
def test_requests_that_waited_too_long_in_a_standing_queue_are_refused(
    client: TestClient, clock: Clock, form: str
) -> None:
    let_queue_stand(client, clock, form)
    assert ask(client, clock, 0.3, form) == 503
    assert ask(client, clock, 60, form) == 503
    assert ask(client, clock, 0.2, form) == 200
    assert ask(client, clock, 0.3, form) == 503
    # that some have not waited ends no queue: requests come in batches
    assert ask(client, clock, 0.05, form) == 200
    assert ask(client, clock, 0.3, form) == 503
    # but a while without one that has waited does
    clock.now += 0.6
    assert ask(client, clock, 0.3, form) == 200


def test_a_request_that_meets_the_same_object_twice_counts_once(
    make_client: MakeClient, clock: Clock
) -> None:
    app: Any = Root()
    app.inner = Root()
    app.middlewares.append(LoadShedding())
    app.inner.middlewares[:] = app.middlewares
    client = make_client(app)
    for _ in range(60):
        assert ask(client, clock, 0.2, path="/inner") == 200
        clock.now += 0.1
    # counted twice, 60 requests would make this difference too large for chance
    assert ask(client, clock, 2.0, path="/inner") == 200
    assert ask(client, clock, 3.0, path="/inner") == 503


def test_a_burst_after_a_pause_is_served(client: TestClient, clock: Clock) -> None:
    for _ in range(3):
        clock.now += 3600
        for waited in (0.0, 0.5, 5.0):
            assert ask(client, clock, waited) == 200
    # the server was blocked
    clock.now += 6
    assert [ask(client, clock, 5 - n / 100) for n in range(100)] == [200] * 100


@pytest.mark.parametrize(
    "start", ["", "t=", "now", "t=-5", "1e99", "t=1.2.3", "t=٣", "t=" + "9" * 400, "."]
)
def test_a_request_with_an_invalid_start_time_is_accepted(
    client: TestClient, clock: Clock, start: str
) -> None:
    headers = [(b"X-Request-Start", start.encode())] if start else []
    let_queue_stand(client, clock)
    assert ask(client, clock, 0.3) == 503
    assert client.get("/", headers=headers).status_code == 200
    # and changes nothing for others
    assert ask(client, clock, 0.3) == 503
    for _ in range(12):
        clock.now += 0.1
        client.get("/", headers=headers)
        assert ask(client, clock, 0.2) == 200


def test_clocks_that_differ_refuse_no_request_for_long(
    client: TestClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    statuses = []
    for _ in range(600):
        statuses.append(ask(client, clock, 3.0))
        assert client.get("/").status_code == 200  # without a proxy
        clock.now += 0.1
    # that waits don't get shorter is known after a while, and that they stay the same later
    first = statuses.index(503)
    assert 150 < first < 250
    assert statuses[first : first + 35].count(503) in range(20, 25)
    assert statuses[first + 35 :] == [200] * (565 - first)
    (line,) = caplog.messages
    assert line == (
        "LoadShedding: all requests seem to be 3.0 seconds old, so perhaps the clocks of the proxy and of "
        "this machine differ"
    )
    # who has waited longer than that is refused as before
    let_queue_stand(client, clock, waited=3.2)
    assert ask(client, clock, 3.4) == 503
    # a clock that is ahead
    assert ask(client, clock, -3600) == 200


class Queue:
    """One server that answers one request after the other, and its clock. ``differs``: how far it
    is ahead of the proxy's. What an answer and a refusal take is in seconds.
    """

    def __init__(self, differs: float, answer: float, refusal: float) -> None:
        self.differs, self.answer, self.refusal = differs, answer, refusal
        self.shedding = LoadShedding()
        self.clock = Clock()
        self.statuses: list[int] = []
        self.exchange = SimpleNamespace(config=SimpleNamespace(threads=Threads(1)))

    def serve(self, arrivals: Iterator[float], free_at: float) -> None:
        """Serve requests that come at these times, from another one on."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("micropie.middleware.limits.monotonic", self.clock)
            patch.setattr("micropie.middleware.limits.time", self.clock)
            for came in arrivals:
                free_at = max(free_at, came)
                self.clock.now = free_at + self.differs
                request = SimpleNamespace(
                    headers={"x-request-start": f"t={came:.6f}"}, _exchange=self.exchange
                )
                try:
                    self.shedding.before(cast("Request", request))
                except HTTPError as error:
                    self.statuses.append(error.status)
                    free_at += self.refusal
                    # the queue for threads would be longer by this one
                    assert self.exchange.config.threads.refusals.shed_at == self.clock.now
                else:
                    self.statuses.append(200)
                    free_at += self.answer


def arrivals(seconds: float, rate: float, seed: int) -> Iterator[float]:
    chance = random.Random(seed)
    came = began = 1_800_000_000.0
    while came < began + seconds:
        came += chance.expovariate(rate)
        yield came


ANSWER = 0.1  # seconds


@settings(max_examples=20)
@given(
    load=st.floats(0.2, 6),
    refusals=st.floats(2.5, 50),
    stood=st.floats(0, 10),
    seed=st.integers(0, 999),
)
def test_a_queue_is_not_mistaken_for_differing_clocks(
    load: float, refusals: float, stood: float, seed: int
) -> None:
    """However long it has stood before. While one request comes, so many can be refused."""
    rate = load / ANSWER
    queue = Queue(0.0, ANSWER, min(ANSWER / 4, 1 / (refusals * rate)))
    queue.serve(arrivals(45, rate, seed), 1_800_000_000 + stood)
    assert queue.shedding._clocks_differ_by == 0
    # the last ones are answered if they have not waited
    assert 200 in queue.statuses[-int(5 * rate) :]


@settings(max_examples=20)
@given(differs=st.floats(0.3, 3600), rate=st.floats(0.5, 20), seed=st.integers(0, 999))
@example(differs=120.0, rate=0.5, seed=403)  # half as many requests as usual
def test_differing_clocks_are_not_mistaken_for_a_queue(
    differs: float, rate: float, seed: int
) -> None:
    queue = Queue(differs, ANSWER / 10, ANSWER / 100)
    times = [*arrivals(60, rate, seed)]
    queue.serve(iter(times), 1_800_000_000)
    # some two seconds long; of 2,500 random cases the worst has half of this
    assert queue.statuses.count(503) <= 8 * rate + 12
    # of few requests in front of one it is no difference of clocks, and no queue
    if differs * rate >= 60:
        assert queue.shedding._clocks_differ_by == pytest.approx(differs, abs=0.02)
        later = zip(times, queue.statuses, strict=True)
        assert 503 not in [status for came, status in later if came > 1_800_000_030]


def test_handshakes_are_refused_under_overload_too(clock: Clock) -> None:
    app = Root()
    app.middlewares.append(LoadShedding())
    with TestClient(app) as client:
        let_queue_stand(client, clock)
        with (
            pytest.raises(WebSocketRefused) as refusal,
            client.websocket("/talk", headers={"X-Request-Start": f"t={clock.now - 1:.3f}"}),
        ):
            pass
    assert refusal.value.status == 503
    assert refusal.value.body == b"Too many requests are waiting. Please try again later."
