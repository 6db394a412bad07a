"""``App(on_error=...)``: exceptions reach an error reporter, once each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.integrations.asgi import SentryAsgiMiddleware
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware
from sentry_sdk.transport import Transport

from micropie import App, HTTPError, WebSocket, request
from micropie.testing import WebSocketClosed
from tests.support.clients import MakeClient
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


class Failing(App):
    def crash(self) -> str:
        raise ValueError("crash")

    async def crash_async(self) -> str:
        raise ValueError("crash_async")

    def stream(self) -> Iterator[str]:
        yield "a"
        raise ValueError("stream")

    async def stream_async(self) -> AsyncIterator[str]:
        yield "a"
        raise ValueError("stream_async")

    def later(self) -> str:
        self.request.after_response(self._later)
        return "answered"

    def _later(self) -> None:
        raise ValueError("later")

    def unknown(self) -> str:
        raise HTTPError(404)

    def answered(self) -> str:
        raise KeyError("answered")

    async def ws_socket(self, ws: WebSocket) -> None:
        await ws.accept()
        raise ValueError("socket")


@pytest.mark.parametrize("path", ["crash", "crash_async", "stream", "stream_async", "later"])
def test_an_exception_is_reported_once_while_its_request_is_current(
    make_client: MakeClient, path: str
) -> None:
    reported: list[tuple[type[BaseException], str, str]] = []

    def report(error: BaseException) -> None:
        reported.append((type(error), str(error), request.path))

    client = make_client(Failing(on_error=report), raise_app_exceptions=False)
    if path.startswith("stream"):
        with pytest.raises(Exception):  # noqa: B017, PT011 - what a client's library makes of an answer that breaks off
            client.get(f"/{path}")
    else:
        client.get(f"/{path}")
    until(lambda: reported)
    assert reported == [(ValueError, path, f"/{path}")]


def test_intended_error_responses_are_not_reported(make_client: MakeClient) -> None:
    reported: list[BaseException] = []
    app = Failing(on_error=reported.append)
    app.error(KeyError)(lambda: "expected")
    client = make_client(app)
    assert (client.get("/unknown").status_code, client.get("/answered").status_code) == (404, 500)
    assert reported == []


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_websocket_s_failure_is_reported(connect: MakeClient, world: str) -> None:
    reported: list[BaseException] = []
    client = connect(Failing(on_error=reported.append), world, raise_app_exceptions=False)
    with client.websocket("/socket") as socket, pytest.raises(WebSocketClosed):
        socket.receive()
    assert [str(error) for error in reported] == ["socket"]


def test_a_failing_reporter_does_not_change_the_response(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(error: BaseException) -> None:
        raise OSError("no network")

    assert make_client(Failing(on_error=broken)).get("/crash").text == "500 Internal Server Error"
    assert "a function passed to on_error or on_failure failed" in caplog.text


class Kept(Transport):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        event = envelope.get_event()
        if event is not None:
            self.events.append(event)


@pytest.mark.parametrize("path", ["/crash", "/crash_async", "/stream", "/stream_async"])
def test_sentry_gets_the_exception_with_its_request(
    make_client: MakeClient, world: str, path: str
) -> None:
    """By ``on_error``, the log, and Sentry's own middleware, which adds the request and reports
    streams: once, with the function of the documentation.
    """
    page = (ROOT / "docs" / "how-to" / "logging.md").read_text()
    documented: dict[str, Any] = {}
    exec(page[page.index("def once") : page.index("sentry_sdk.init")], documented)
    transport = Kept()
    # Sentry's default integrations change httpx and threading for every test that follows in this
    # process.
    integrations = [LoggingIntegration()]
    sentry_sdk.init(
        "https://key@sentry.example/1",
        transport=transport,
        release="1",  # without one, it asks git
        before_send=documented["once"],
        integrations=integrations,
        default_integrations=False,
        # that of httpx would add headers to the requests of all later tests
        auto_enabling_integrations=False,
    )
    try:
        app: Any = Failing(on_error=sentry_sdk.capture_exception)
        wrap = SentryWsgiMiddleware if world == "wsgi" else SentryAsgiMiddleware
        client = make_client(wrap(app), validate=False, raise_app_exceptions=False)
        with pytest.raises(Exception) if "stream" in path else nullcontext():  # noqa: PT011 - as above
            assert client.get(path).status_code == 500
        sentry_sdk.flush()
    finally:
        sentry_sdk.get_global_scope().set_client(None)
    (event,) = transport.events
    assert event["exception"]["values"][-1]["value"] == path[1:]
    assert event["request"]["url"].endswith(path)
