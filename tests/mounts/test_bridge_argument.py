"""``mount(..., bridge=...)``: somebody else's bridge, used where the server's protocol is not that
of the application.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import a2wsgi
import pytest
from asgiref.wsgi import WsgiToAsgi

from micropie import App, HttpMiddleware, SetupError, dual
from micropie.middleware import BasicAuth
from micropie.testing import TestClient

BRIDGES = {"wsgi": a2wsgi.WSGIMiddleware, "asgi": a2wsgi.ASGIMiddleware}


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]


class Asgi:
    """An application that tells its path, and keeps the types of the scopes that it gets."""

    def __init__(self) -> None:
        self.types: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.types.append(scope["type"])
        assert scope["type"] == "http"
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        path = scope["path"].removeprefix(scope["root_path"])
        await send({"type": "http.response.body", "body": f"{scope['root_path']} {path}".encode()})


class Made:
    """A bridge that keeps the applications it has made, and how often they were called."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.made: list[Any] = []
        self.calls: list[str] = []

    def __call__(self, application: Any) -> Any:
        bridged = BRIDGES[self.protocol](application)
        self.made.append(bridged)
        if self.protocol == "asgi":

            def call_wsgi(environ: Any, start_response: Any) -> Any:
                self.calls.append("http")
                return bridged(environ, start_response)

            return call_wsgi

        async def call_asgi(scope: Any, receive: Any, send: Any) -> None:
            self.calls.append(scope["type"])
            await bridged(scope, receive, send)

        return call_asgi


def application_of(protocol: str) -> Any:
    return wsgi if protocol == "wsgi" else Asgi()


def client_of(app: Any, server: str, **options: Any) -> TestClient:
    return TestClient(app, protocol=server, **options)  # type: ignore[arg-type]


@pytest.fixture(params=["wsgi", "asgi"])
def server(request: pytest.FixtureRequest) -> str:
    """The protocol of the server."""
    chosen: str = request.param
    return chosen


@pytest.fixture(params=["wsgi", "asgi"])
def protocol(request: pytest.FixtureRequest) -> str:
    """The protocol of the mounted application."""
    chosen: str = request.param
    return chosen


def test_a_bridge_is_created_once_and_only_under_the_other_protocol(
    protocol: str, server: str
) -> None:
    bridge, app = Made(protocol), App()
    app.mount("/m", application_of(protocol), bridge=bridge)
    app.mount("/same", wsgi)
    assert bridge.made == []
    for _ in range(2):
        with client_of(app, server) as client:
            assert client.get("/m/a").text == "/m /a"
            assert client.get("/same/a").text == "/same /a"
    assert len(bridge.made) == (protocol != server)
    calls = ["lifespan", "http"] if protocol == "wsgi" else ["http"]
    assert bridge.calls == ([] if protocol == server else calls * 2)


def test_concurrent_first_requests_create_one_bridge() -> None:
    begun, made = threading.Barrier(4), []

    def bridge(application: Any) -> Any:
        made.append(application)
        return a2wsgi.ASGIMiddleware(application)

    app = App()
    app.mount("/m", Asgi(), bridge=bridge)

    def ask(client: TestClient) -> str:
        begun.wait(30)
        return client.get("/m/a").text

    with client_of(app, "wsgi") as client, ThreadPoolExecutor(4) as pool:
        assert [*pool.map(ask, [client] * 4)] == ["/m /a"] * 4
    assert len(made) == 1


def test_a_bridged_mount_may_strip_its_prefix(protocol: str, server: str) -> None:
    app = App()
    app.mount("/m", application_of(protocol), strip=True, bridge=BRIDGES[protocol])
    with client_of(app, server) as client:
        assert client.get("/m/a").text == " /a"


def test_hooks_and_access_checks_surround_a_bridge(protocol: str, server: str) -> None:
    seen: list[int] = []

    class Looks(HttpMiddleware):
        def after_request(
            self, request: Any, status_code: int, response_body: Any, extra_headers: Any
        ) -> None:
            seen.append(status_code)
            extra_headers.append(("X-Looked", "yes"))

    app = App()
    app.middlewares += [Looks(), BasicAuth({"ada": "pie"})]
    app.mount("/m", application_of(protocol), bridge=BRIDGES[protocol])
    with client_of(app, server) as client:
        assert client.get("/m/a").status_code == 401
        answer = client.get("/m/a", auth=("ada", "pie"))
    assert (answer.text, answer.headers["x-looked"], seen) == ("/m /a", "yes", [401, 200])


def test_each_mount_has_its_own_bridge(protocol: str, server: str) -> None:
    bridge, app = Made(protocol), App()
    for name in "ab":
        app.mount(f"/{name}", application_of(protocol), bridge=bridge)
    app.inner = App()
    app.inner.mount("/c", application_of(protocol), bridge=bridge)  # type: ignore[attr-defined]
    with client_of(app, server) as client:
        paths = ["/a", "/b", "/inner/c"]
        assert [client.get(f"{path}/x").text for path in paths] == [f"{path} /x" for path in paths]
    assert len(bridge.made) == (0 if protocol == server else 3)


def test_dual_accepts_a_bridge(protocol: str, server: str) -> None:
    bridge = Made(protocol)
    app = dual(application_of(protocol), bridge=bridge)
    with client_of(app, server) as client:
        assert client.get("/a").text == " /a"
    assert len(bridge.made) == (protocol != server)


def test_the_lifespan_uses_the_server_s_protocol() -> None:
    """The application inside of a bridge to WSGI runs on a loop of the bridge: a lifespan of ours
    would open its connections on another.
    """
    application, app = Asgi(), App()
    app.mount("/m", application, bridge=a2wsgi.ASGIMiddleware)
    with client_of(app, "wsgi") as client:
        client.get("/m")
    assert application.types == ["http"]
    with client_of(app, "asgi") as client:
        client.get("/m")
    assert application.types == ["http", "lifespan", "http"]


def test_a_bridge_without_lifespan_is_served() -> None:
    app = App()
    app.mount("/m", wsgi, bridge=WsgiToAsgi)
    with client_of(app, "asgi") as client:
        assert client.get("/m/a").text == "/m /a"


def test_a_bridged_websocket_handshake_is_refused() -> None:
    app = App()
    app.mount("/m", Asgi(), bridge=a2wsgi.ASGIMiddleware)
    with client_of(app, "wsgi") as client:
        headers = {"Connection": "upgrade", "Upgrade": "WebSocket"}
        assert client.get("/m", headers=headers).status_code == 426


def test_a_forked_child_creates_its_own_bridge() -> None:
    bridge, app = Made("asgi"), App()
    app.mount("/m", Asgi(), bridge=bridge)
    mount = app._micropie.mounts[0].bridged
    with client_of(app, "wsgi") as client:
        client.get("/m")
    assert mount is not None
    mount.target.__self__.after_fork()
    with client_of(app, "wsgi") as client:
        client.get("/m")
    assert len(bridge.made) == 2


async def coroutine(application: Any) -> Any: ...


@pytest.mark.parametrize(
    "bridge",
    ["a2wsgi", a2wsgi, True, a2wsgi.WSGIMiddleware(wsgi), lambda: None, coroutine],
    ids=["text", "module", "bool", "made", "none", "coroutine"],
)
def test_an_invalid_bridge_is_refused_immediately(protocol: str, bridge: Any) -> None:
    name = {"wsgi": "WSGIMiddleware", "asgi": "ASGIMiddleware"}[protocol]
    with pytest.raises(SetupError, match=f"write bridge=a2wsgi.{name} without parentheses"):
        App().mount("/m", application_of(protocol), bridge=bridge)


def test_a_bridge_without_a_signature_raises_an_error() -> None:
    app = App()
    app.mount("/m", wsgi, bridge=type)  # ``type`` tells no parameters
    told = "write bridge=a2wsgi.WSGIMiddleware"
    with pytest.raises(Exception, match=told), client_of(app, "asgi"):
        pass


def test_mounting_an_app_needs_no_bridge() -> None:
    with pytest.raises(SetupError, match="because it is both an ASGI and a WSGI application"):
        App().mount("/m", App(), bridge=a2wsgi.WSGIMiddleware)


WRONG = [lambda application: application, lambda application: 3]


@pytest.mark.parametrize("bridge", WRONG)
def test_a_bridge_that_returns_something_else_stops_the_startup(bridge: Any) -> None:
    app = App()
    app.mount("/m", wsgi, bridge=bridge)
    sentence = "/m: bridge=.* must convert the WSGI application to ASGI, but returned .*: write"
    with pytest.raises(Exception, match=sentence), client_of(app, "asgi"):
        pass


@pytest.mark.parametrize("bridge", WRONG)
def test_under_wsgi_a_failing_bridge_fails_each_request(bridge: Any, caplog: Any) -> None:
    app = App()
    app.mount("/m", Asgi(), bridge=bridge)
    with client_of(app, "wsgi", raise_app_exceptions=False) as client:
        assert [client.get("/m").status_code for _ in range(2)] == [500, 500]
    assert "must convert the ASGI application to WSGI" in caplog.text
    assert ": write bridge=a2wsgi.ASGIMiddleware" in caplog.text


def test_a_bridge_whose_result_cannot_be_recognised_is_accepted() -> None:
    def bridge(application: Any) -> Any:
        bridged = a2wsgi.WSGIMiddleware(application)
        return lambda *arguments: bridged(*arguments)

    app = App()
    app.mount("/m", wsgi, bridge=bridge)
    with client_of(app, "asgi") as client:
        assert client.get("/m/a").text == "/m /a"


def test_commands_create_no_bridge(tmp_path: Any, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "bridged.py").write_text(
        "from micropie import App\n"
        "def old(environ, start_response): ...\n"
        "def bridge(application): raise SystemExit('made')\n"
        "app = App()\n"
        "app.mount('/m', old, bridge=bridge)\n"
    )
    from micropie.cli.main import main

    monkeypatch.chdir(tmp_path)
    assert main(["routes", "bridged:app"]) == 0
    assert "/m/..." in capsys.readouterr().out
    assert main(["check", "bridged:app"]) == 0
    assert "made" not in capsys.readouterr().out
