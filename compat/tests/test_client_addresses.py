"""The client's address and user come from the connection, whatever headers a client sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compat.tests.conftest import Serve
from micropie import App, HttpMiddleware
from micropie.middleware import ProxyHeaders
from micropie_compat import bottle as our_bottle
from micropie_compat import cherrypy as ours
from tests.support.clients import MakeClient

CLIENT = ("192.0.2.7", 50_000)
FORGED = dict.fromkeys(
    ("Remote-Addr", "Remote-Host", "Remote-Port", "Remote-User", "Logon-User"), "10.0.0.9"
)


def facts(cherrypy: Any) -> Any:
    """Return an application that answers with what a request knows of its client."""

    class Root:
        @cherrypy.expose
        def index(self) -> str:
            request = cherrypy.request
            headers, listed = request.headers, dict(request.header_list)
            found = [
                headers.get("Remote-Addr"),
                headers.get("remote-addr"),
                headers.get("Remote-Host"),
                {name.title(): value for name, value in listed.items()}.get("Remote-Addr"),
                request.remote.ip,
                request.remote.name,
                request.login,
            ]
            return repr(found)

    return cherrypy.Application(Root())


def knowing(app: Any, **known: str) -> Callable[..., Any]:
    """Return a WSGI application, whose server or middleware knows more of the client."""
    return lambda environ, start_response: app({**environ, **known}, start_response)


def test_cherrypy_s_remote_headers_identify_the_client(cherrypy: Any, serve: Serve) -> None:
    answer = serve(facts(cherrypy), client=CLIENT).get("/")
    assert answer.text == repr([CLIENT[0]] * 2 + [None] + [CLIENT[0]] * 2 + ["", None])


def test_a_client_cannot_choose_its_address(serve_ours: Serve) -> None:
    """With the original it depends on the server's order of the environ."""
    answer = serve_ours(facts(ours), client=CLIENT).get("/", headers=FORGED)
    assert answer.text == repr([CLIENT[0]] * 2 + [None] + [CLIENT[0]] * 2 + ["", None])


def test_a_server_may_not_know_the_client_s_address(serve_ours: Serve) -> None:
    answer = serve_ours(facts(ours), client=None).get("/", headers=FORGED)
    assert answer.text == repr(["", "", None, "", "", "", None])


@pytest.mark.parametrize("side", ["original", "wsgi"])  # ASGI has no such environ
@pytest.mark.parametrize("key", ["REMOTE_USER", "LOGON_USER"])
def test_a_wsgi_server_s_remote_host_and_user_are_used(
    cherrypy: Any, connect: MakeClient, key: str
) -> None:
    app = knowing(facts(cherrypy), REMOTE_HOST="pies.example", **{key: "ann"})
    answer = connect(app, "wsgi", validate=False, client=CLIENT).get("/")
    name = "pies.example"
    assert answer.text == repr([CLIENT[0]] * 2 + [name] + [CLIENT[0]] * 2 + [name, "ann"])


def test_a_server_on_a_unix_socket_has_default_addresses(connect: MakeClient) -> None:
    """waitress passes the path of the socket as the port. CherryPy answers with a 500."""

    class Root:
        @ours.expose
        def index(self) -> str:
            return f"{ours.request.local.ip} {ours.request.local.port}"

    app = ours.Application(Root())
    for port, expected in (("/run/app.sock", "80"), ("", "80"), ("8080", "8080")):
        known = knowing(app, SERVER_NAME="pies.example", SERVER_PORT=port)
        client = connect(known, "wsgi", validate=False)
        assert client.get("/").text == f"pies.example {expected}"


def test_a_listener_at_the_end_of_a_request_sees_the_client(cherrypy: Any, serve: Serve) -> None:
    seen: list[str] = []

    def note() -> None:
        seen.append(f"{cherrypy.request.remote.ip} {cherrypy.response.status}")

    cherrypy.engine.subscribe("after_request", note)
    client = serve(facts(cherrypy), client=CLIENT)
    client.get("/")
    client.close()
    cherrypy.engine.unsubscribe("after_request", note)
    assert seen == [f"{CLIENT[0]} 200 OK"]


def test_native_code_gets_no_default_address(make_client: MakeClient) -> None:
    seen: list[object] = []

    class Looks(HttpMiddleware):
        def before_request(self, request: Any) -> None:
            seen.append(ours.serving.request.remote.ip)

    app = facts(ours)
    app.native.get("/native")(lambda: ours.serving.request.remote.ip)
    client = make_client(app, client=CLIENT)
    assert client.get("/native").status_code == 500
    app.native.middlewares.append(Looks())
    assert client.get("/").status_code == 500
    assert seen == []
    assert ours.serving.request.remote.ip == "127.0.0.1", "outside of requests"


def test_a_tool_sets_the_user(cherrypy: Any, serve: Serve) -> None:
    def log_in() -> None:
        cherrypy.request.login = "bob"

    app = facts(cherrypy)
    app.merge({"/": {"hooks.before_handler": log_in}})
    assert serve(app).get("/").text.endswith("'bob']")


def test_the_access_log_shows_the_client_behind_a_proxy(
    cherrypy: Any, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    app = facts(cherrypy)
    app.merge({"/": {"tools.proxy.on": True}})
    with caplog.at_level("INFO"):
        serve(app, client=CLIENT).get("/", headers={"X-Forwarded-For": "198.51.100.1"})
    assert [line for line in caplog.messages if line.startswith("198.51.100.1 - - [")]


def test_the_access_log_does_not_show_the_proxy(
    connect: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    app = facts(ours)
    app.merge({"/": {"tools.proxy.on": True}})
    client = connect(knowing(app, REMOTE_HOST="localhost"), "wsgi", validate=False, client=CLIENT)
    with caplog.at_level("INFO"):
        client.get("/", headers={"X-Forwarded-For": "198.51.100.1"})
        client.get("/")
    lines = [line.partition(" - - [")[0] for line in caplog.messages if " - - [" in line]
    assert lines == ["198.51.100.1", "localhost"]


def proxied(app: Any) -> App:
    root = App()
    root.middlewares.append(ProxyHeaders(trusted=[CLIENT[0]]))
    root.mount("/", app)
    return root


FORWARDED = {"X-Forwarded-For": "198.51.100.1", **FORGED}


def test_middleware_that_trusts_a_proxy_sets_the_address(make_client: MakeClient) -> None:
    answer = make_client(proxied(facts(ours)), client=CLIENT).get("/", headers=FORWARDED)
    address = "198.51.100.1"
    assert answer.text == repr([address] * 2 + [None] + [address] * 2 + ["", None])


def test_a_proxy_s_host_name_is_not_taken_for_the_client_s(connect: MakeClient) -> None:
    app = knowing(proxied(facts(ours)), REMOTE_HOST="localhost")
    answer = connect(app, "wsgi", validate=False, client=CLIENT).get("/", headers=FORWARDED)
    address = "198.51.100.1"
    assert answer.text == repr([address] * 2 + [None] + [address] * 2 + ["", None])

    def environ_of_a_mount(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        facts = map(environ.get, ("REMOTE_ADDR", "REMOTE_PORT", "REMOTE_HOST"))
        return [" ".join(map(str, facts)).encode()]

    app = knowing(proxied(environ_of_a_mount), REMOTE_HOST="localhost")
    client = connect(app, "wsgi", validate=False, client=CLIENT)
    assert client.get("/", headers=FORWARDED).text == "198.51.100.1 0 None"
    assert client.get("/").text == "192.0.2.7 50000 localhost"


def bottle_facts(bottle: Any) -> Any:
    app = bottle.Bottle()

    @app.get("/")
    def index() -> str:
        request = bottle.request
        environ = {
            name: request.environ.get(name)
            for name in ("REMOTE_ADDR", "REMOTE_HOST", "REMOTE_USER", "LOGON_USER")
        }
        return repr([environ, request.get("REMOTE_ADDR"), request.remote_addr, request.auth])

    return app


BOTTLE = {"REMOTE_ADDR": CLIENT[0], "REMOTE_HOST": None, "REMOTE_USER": None, "LOGON_USER": None}


def test_bottle_s_environ_has_the_client_s_address(bottle: Any, connect: MakeClient) -> None:
    client = connect(bottle_facts(bottle), "wsgi", validate=False, client=CLIENT)
    assert client.get("/", headers=FORGED).text == repr([BOTTLE, CLIENT[0], CLIENT[0], None])


def test_bottle_s_client_cannot_choose_its_address(make_client: MakeClient) -> None:
    client = make_client(bottle_facts(our_bottle), client=CLIENT)
    for headers in (FORGED, FORWARDED):
        assert client.get("/", headers=headers).text == repr([BOTTLE, CLIENT[0], CLIENT[0], None])
    client = make_client(proxied(bottle_facts(our_bottle)), client=CLIENT)
    address = "198.51.100.1"
    expected = repr([{**BOTTLE, "REMOTE_ADDR": address}, address, address, None])
    assert client.get("/", headers=FORWARDED).text == expected


def test_a_proxy_s_name_is_not_taken_for_bottle_s_client(connect: MakeClient) -> None:
    app = our_bottle.Bottle()
    app.native.middlewares.append(ProxyHeaders(trusted=[CLIENT[0]]))

    @app.get("/")
    def index() -> str:
        request = our_bottle.request
        return f"{request.remote_addr} {request['REMOTE_PORT']} {request.get('REMOTE_HOST')}"

    client = connect(knowing(app, REMOTE_HOST="localhost"), "wsgi", validate=False, client=CLIENT)
    assert client.get("/", headers=FORWARDED).text == "198.51.100.1 0 None"
    assert client.get("/").text == "192.0.2.7 50000 localhost"
