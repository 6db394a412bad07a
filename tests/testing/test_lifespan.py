"""Startup and shutdown of an ASGI application, around the client's `with`."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from micropie.testing import AppTimeout, LifespanFailed, ProtocolViolation, TestClient
from tests.support.asgi_validator import Message, Receive, Send
from tests.testing.apps import respond

NO_ANSWER = {"type": "none"}


class App:
    """Answers the phases as told, and then perhaps raises."""

    def __init__(
        self, *answers: Message, error: Exception | None = None, once_more: bool = False
    ) -> None:
        self.answers = answers
        self.error = error
        self.once_more = once_more
        self.received: list[str] = []
        self.states: list[dict[str, Any]] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.states.append(scope["state"])
            await respond(send)
            return
        scope["state"]["shared"] = []
        scope["state"]["own"] = 1
        for answer in self.answers:
            self.received.append((await receive())["type"])
            await send(answer)
        if self.error is not None:
            raise self.error
        if self.once_more:
            await receive()
            await send(self.answers[-1])


STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


def test_startup_and_shutdown_run_around_the_block(backend: str) -> None:
    app = App(STARTED, STOPPED)
    with TestClient(app, backend=backend) as client:
        assert app.received == ["lifespan.startup"]
        client.get("/")
        client.get("/")
    assert app.received == ["lifespan.startup", "lifespan.shutdown"]
    first, second = app.states
    first["own"] = 2
    assert second["own"] == 1
    assert first["shared"] is second["shared"]


def test_a_client_that_is_closed_manually_is_shut_down_once(backend: str) -> None:
    app = App(STARTED, STOPPED)
    with TestClient(app, backend=backend) as client:
        client.close()
        assert app.received == ["lifespan.startup", "lifespan.shutdown"]
    assert app.received == ["lifespan.startup", "lifespan.shutdown"]


def test_an_application_may_continue_to_wait_after_its_shutdown(backend: str) -> None:
    with TestClient(App(STARTED, STOPPED, once_more=True), backend=backend):
        pass


def test_the_lifespan_can_be_left_out(backend: str) -> None:
    app = App(error=KeyError())
    with TestClient(app, backend=backend, lifespan=False) as client:
        client.get("/")
    assert app.states == [{}]


@pytest.mark.parametrize("error", [NotImplementedError("lifespan"), None])
def test_an_application_without_lifespan_works(backend: str, error: Exception | None) -> None:
    with TestClient(App(error=error), backend=backend) as client:
        assert client.get("/").status_code == 200


def test_an_application_that_returns_from_its_lifespan_has_none(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()

    with TestClient(app, backend=backend):
        pass


@pytest.mark.parametrize("error", [KeyError("cause"), None])
def test_a_failed_startup_is_raised_with_its_message_and_cause(
    backend: str, error: Exception | None
) -> None:
    app = App({"type": "lifespan.startup.failed", "message": "no database"}, error=error)
    with (
        pytest.raises(LifespanFailed, match="no database") as caught,
        TestClient(app, backend=backend),
    ):
        pass
    assert caught.value.__cause__ is error


def test_an_exception_during_startup_is_not_taken_for_a_missing_lifespan(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await receive()
        raise KeyError("broken")

    with (
        pytest.raises(LifespanFailed, match="raised an exception in its startup") as caught,
        TestClient(app, backend=backend),
    ):
        pass
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("app", "sentence"),
    [
        (App(STARTED, {"type": "lifespan.shutdown.failed", "message": "still busy"}), "still busy"),
        (App(STARTED, {"type": "lifespan.shutdown.failed"}), "^$"),
        (App(STARTED, error=KeyError("x")), "raised an exception in its shutdown: KeyError"),
        (App(STARTED, STOPPED, error=KeyError("x")), "raised an exception after its shutdown"),
        (App(STARTED), "without a response to lifespan.shutdown"),
    ],
)
def test_a_failed_shutdown_is_raised(backend: str, app: App, sentence: str) -> None:
    with pytest.raises(LifespanFailed, match=sentence), TestClient(app, backend=backend):
        pass


def test_an_invalid_lifespan_message_is_refused(backend: str) -> None:
    with (
        pytest.raises(ProtocolViolation, match="with 'none'"),
        TestClient(App(NO_ANSWER), backend=backend),
    ):
        pass


def test_a_startup_that_hangs_fails_the_test(backend: str) -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        await anyio.sleep_forever()

    with (
        pytest.raises(AppTimeout, match=r"did not answer lifespan\.startup within 0\.5 s"),
        TestClient(app, backend=backend, app_timeout=0.5),
    ):
        pass


def test_a_failed_shutdown_does_not_hide_why_the_test_failed(backend: str) -> None:
    app = App(STARTED, {"type": "lifespan.shutdown.failed", "message": "still busy"})
    with pytest.raises(ZeroDivisionError) as caught, TestClient(app, backend=backend):
        raise ZeroDivisionError
    assert any("still busy" in note for note in caught.value.__notes__)
