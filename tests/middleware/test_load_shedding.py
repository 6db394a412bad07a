"""LoadShedding: who has waited long is refused where a queue stands, and nobody else is."""

from __future__ import annotations

import pytest

from micropie import App, WebSocket
from micropie.middleware import LoadShedding
from micropie.testing import TestClient, WebSocketRefused
from tests.conftest import MakeClient
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


def ask(client: TestClient, clock: Clock, waited: float, form: str = FORMS[0]) -> int:
    """Return the status of a request that came so many seconds ago."""
    came = clock.now - waited
    start = form.format(came, milliseconds=int(came * 1e3), microseconds=int(came * 1e6))
    answer = client.get("/", headers={"X-Request-Start": start})
    if answer.status_code == 503:
        assert answer.headers["retry-after"] == "1"
        assert answer.text == "Too many requests are waiting. Please try again later."
    return answer.status_code


def let_queue_stand(client: TestClient, clock: Clock, form: str = FORMS[0]) -> None:
    for _ in range(6):
        assert ask(client, clock, 0.2, form) == 200
        clock.now += 0.2


@pytest.mark.parametrize("form", FORMS)
def test_who_has_waited_long_in_a_queue_that_stands_is_refused(
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


def test_a_burst_after_a_pause_is_answered(client: TestClient, clock: Clock) -> None:
    for _ in range(3):
        clock.now += 3600
        for waited in (0.0, 0.5, 5.0):
            assert ask(client, clock, waited) == 200
    # the server stood still meanwhile
    clock.now += 5
    assert [ask(client, clock, 5 - n / 100) for n in range(100)] == [200] * 100


@pytest.mark.parametrize(
    "start", ["", "t=", "now", "t=-5", "1e99", "t=1.2.3", "t=٣", "t=" + "9" * 400, "."]
)
def test_what_is_no_time_is_let_in(client: TestClient, clock: Clock, start: str) -> None:
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


def test_clocks_that_differ_refuse_nobody_for_long(
    client: TestClient, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    statuses = []
    for _ in range(600):
        statuses.append(ask(client, clock, 3.0))
        assert client.get("/").status_code == 200  # without a proxy
        clock.now += 0.1
    assert statuses[:10] == [200] * 10
    assert statuses[10:21].count(503) in (9, 10)
    assert statuses[21:] == [200] * 579
    (line,) = caplog.messages
    assert line == (
        "LoadShedding: all requests seem to be 3.0 seconds old: do the clocks of the proxy and of "
        "this machine agree?"
    )
    # who has waited longer than that is refused as before
    for _ in range(6):
        assert ask(client, clock, 3.2) == 200
        clock.now += 0.2
    assert ask(client, clock, 3.4) == 503
    # a clock that is ahead
    assert ask(client, clock, -3600) == 200


def test_handshakes_are_refused_too(clock: Clock) -> None:
    app = Root()
    app.middlewares.append(LoadShedding())
    with TestClient(app) as client:
        let_queue_stand(client, clock)
        with (
            pytest.raises(WebSocketRefused) as refusal,
            client.websocket("/talk", headers={"X-Request-Start": f"t={clock.now - 1:.3f}"}),
        ):
            pass
    assert refusal.value.reason == "Too many requests are waiting. Please try again later."
