"""The lifespan of mounted ASGI applications, under every protocol."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from micropie import App
from micropie.testing import TestClient
from tests.asgi.calls import respond
from tests.support.clients import MakeClient


class Inner:
    """An ASGI application with a lifespan that does as it is told."""

    def __init__(self, start: str = "complete", stop: str = "complete") -> None:
        self.start, self.stop = start, stop
        self.log: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.live(scope, receive, send)
        else:
            await respond(send, repr(scope["state"]).encode())

    async def live(self, scope: Any, receive: Any, send: Any) -> None:
        if self.start == "unsupported":
            raise ValueError(scope["type"])
        self.log.append((await receive())["type"])
        if self.start == "silent":
            await anyio.sleep_forever()
        if self.start == "slow":
            await anyio.sleep(0.05)
        if self.start == "failed":
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        scope["state"]["pool"] = "open"
        await send({"type": "lifespan.startup.complete"})
        if self.start == "dies":
            raise ValueError("died")
        self.log.append((await receive())["type"])
        if self.stop == "silent":
            await anyio.sleep_forever()
        await send({"type": f"lifespan.shutdown.{self.stop}"})


def site(*inner: Any, **settings: Any) -> App:
    root = App(**settings)
    for number, target in enumerate(inner):
        root.mount(f"/m{number}", target)
    return root


def client_of(app: App, world: str, **options: Any) -> TestClient:
    if world == "wsgi":
        return TestClient(app, protocol="wsgi", **options)
    return TestClient(app, backend=world, **options)


@pytest.mark.parametrize("start", ["complete", "slow"])
def test_R73_a_mounted_application_starts_before_the_first_request_and_stops_after_the_last(
    world: str, start: str
) -> None:
    first, second = Inner(start), Inner()
    with client_of(site(first, second), world) as client:
        assert client.get("/m0").text == "{'pool': 'open'}"
        assert first.log == second.log == ["lifespan.startup"]
    assert first.log == second.log == ["lifespan.startup", "lifespan.shutdown"]


def test_R73_outer_startup_runs_before_and_outer_shutdown_after_the_mounted_one(world: str) -> None:
    inner = Inner()
    root = site(inner)
    root.startup_handlers.append(lambda: inner.log.append("up"))
    root.shutdown_handlers.append(lambda: inner.log.append("down"))
    with client_of(root, world) as client:
        assert client.get("/m0").status_code == 200
    assert inner.log == ["up", "lifespan.startup", "lifespan.shutdown", "down"]


def test_R73_each_mounted_application_has_its_own_lifespan_state(world: str) -> None:
    with client_of(site(Inner(), Inner("unsupported")), world) as client:
        assert client.get("/m0").text == "{'pool': 'open'}"
        assert client.get("/m1").text == "{}"


@pytest.mark.parametrize("is_method", [False, True])
def test_R73_an_application_mounted_twice_starts_once(world: str, is_method: bool) -> None:
    inner, alone = Inner(), App()
    alone.startup_handlers.append(lambda: inner.log.append("alone"))
    alone.get("/")(lambda: "alone")
    root = site(*(inner.__call__ if is_method else inner for _ in range(2)))
    for prefix in ("/a", "/b"):
        root.mount(prefix, alone, isolated=True)
    with client_of(root, world) as client:
        pages = [client.get(path).text for path in ("/m0", "/m1", "/a", "/b")]
        assert pages == ["{'pool': 'open'}"] * 2 + ["alone"] * 2
        assert sorted(inner.log) == ["alone", "lifespan.startup"]
    assert sorted(inner.log) == ["alone", "lifespan.shutdown", "lifespan.startup"]


def test_R73_an_application_without_lifespan_support_is_served(world: str) -> None:
    inner = Inner("unsupported")
    with client_of(site(inner), world) as client:
        assert client.get("/m0").status_code == 200
    assert inner.log == []


def test_R73_a_failing_start_prevents_the_whole_startup(world: str) -> None:
    good, bad = Inner(), Inner("failed")
    app = site(good, bad)
    with pytest.raises(Exception, match="/m1: no database"), client_of(app, world) as client:
        client.get("/")  # starts it under WSGI
    assert good.log[:2] == ["lifespan.startup", "lifespan.shutdown"]


def test_R73_an_application_that_never_reports_its_startup_does_not_block_it(world: str) -> None:
    good, silent = Inner(), Inner("silent")
    app = site(good, silent, mount_timeout=2)  # the good one has to be in time on a busy machine
    told = "/m1: its lifespan did not report within 2 s that it has started"
    with pytest.raises(Exception, match=told), client_of(app, world) as client:
        client.get("/")
    assert good.log[:2] == ["lifespan.startup", "lifespan.shutdown"]


def test_R73_an_application_that_never_reports_its_shutdown_does_not_block_it(world: str) -> None:
    silent = Inner(stop="silent")
    with (
        pytest.raises(Exception, match=r"shutdown|has stopped"),
        client_of(site(silent, mount_timeout=2), world) as client,
    ):
        assert client.get("/m0").status_code == 200
    assert silent.log == ["lifespan.startup", "lifespan.shutdown"]


def test_R73_a_startup_may_take_forever_if_configured(world: str) -> None:
    with client_of(site(Inner("slow"), mount_timeout=None), world) as client:
        assert client.get("/m0").status_code == 200


@pytest.mark.parametrize(
    ("inner", "words"), [(Inner(stop="failed"), "shutdown"), (Inner("dies"), "died")]
)
def test_a_failing_shutdown_is_reported(world: str, inner: Inner, words: str) -> None:
    with pytest.raises(Exception, match=words), client_of(site(inner), world) as client:
        client.get("/m0")


def test_an_invalid_lifespan_message_is_refused(make_client: MakeClient) -> None:
    async def confused(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"fine")

    assert make_client(site(confused)).get("/m0").text == "fine"


def test_a_server_without_lifespan_gets_no_report(backend: str) -> None:
    from tests.asgi.calls import get, run

    inner = Inner()

    def wsgi(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [b"wsgi"]

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        raise ValueError("in mid-stream")

    app = site(inner, wsgi, failing)
    assert run(backend, get, app, "/m0").body == b"{}"
    assert run(backend, get, app, "/m1").body == b"wsgi"
    with pytest.raises(ValueError, match="in mid-stream"):
        run(backend, get, app, "/m2")
    assert inner.log == []
