"""The host of a request without one is ``localhost``, whatever a server says about itself.

HTTP/1.0 has no Host, and proxies' health checks use HTTP/1.0. Servers pass a missing or an empty
header, and for their own address what they listen on: a host, the path of a UNIX socket, a part of
this path, a made-up name or nothing.
"""

from __future__ import annotations

from typing import Any

import pytest

from micropie import App, Redirect, WebSocket
from micropie.middleware import ProxyHeaders, TrustedHosts
from tests.asgi.calls import Call, get, http_scope, respond, run
from tests.wsgi.calls import Answer, begin, environ_for

SOCKET = "/run/blog/server.sock"
NO_HOST = {"missing": [], "empty": [b""]}
# What servers were seen to pass, and what a sloppy one may pass: the scope, and the same for an environ.
SERVERS = {
    "host": ("192.0.2.1", 8000),
    "IPv6": ("2001:db8::1", 8000),
    "list": ["192.0.2.1", 8000],
    "port as text": ("192.0.2.1", "8000"),
    "socket": (SOCKET, None),
    "socket with a port": (SOCKET, "0"),
    "list with a socket": [SOCKET, None],
    "characters of a socket": ("/", "r"),
    "socket and no port": (SOCKET,),
    "socket alone": SOCKET,
    "unix:": (f"unix:{SOCKET}", 0),
    "bytes": (SOCKET.encode(), None),
    "abstract socket": ("\0blog", None),
    "made up": ("waitress.invalid", SOCKET),
    "empty": ("", 0),
    "no name": (None, None),
    "nothing": None,
}


class Links(App):
    def index(self) -> Any:
        return [self.request.host, self.request.url, self.absolute_url_for("away")]

    def away(self) -> Any:
        return Redirect(self.absolute_url_for("index"))

    async def ws_socket(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(ws.request.url)


def told(environ: Any, start_response: Any) -> list[bytes]:
    """Respond with the URL that PEP 3333 recommends to make."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{int(environ['SERVER_PORT'])}"
    return [f"http://{host}/".encode()]


async def told_too(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the URL that other frameworks make."""
    host = dict(scope["headers"]).get(b"host") or f"{scope['server']}".encode()
    await respond(send, b"http://%s/" % host)


def environ_changes(server: Any, hosts: list[bytes]) -> dict[str, Any]:
    """Return what a WSGI server that listens there puts into an environ, as strings."""
    parts: list[Any] = [*server] if isinstance(server, tuple | list) else [server]
    name, port, *_ = *parts, None, None
    texts = ["" if part is None else str(part) for part in (name, port)]
    stated = {"HTTP_HOST": b",".join(hosts).decode() if any(hosts) else ""} if hosts else {}
    return {"SERVER_NAME": texts[0], "SERVER_PORT": texts[1], **stated}


def asked(
    protocol: str, app: App, path: str, server: object, hosts: list[bytes]
) -> tuple[int, str | None, str]:
    """Return the status, the Location and the body."""
    if protocol == "wsgi":
        environ = environ_for("GET", path, SERVER_PROTOCOL="HTTP/1.0")
        del environ["HTTP_HOST"]
        answer = Answer()
        answer.chunks = app({**environ, **environ_changes(server, hosts)}, answer.start_response)
        return answer.status, answer.headers.get("Location"), answer.read().decode()
    headers = [(b"host", host) for host in hosts]
    call = run(protocol, lambda: get(app, path, headers=headers, server=server, http_version="1.0"))
    return call.status, call.headers.get("location"), call.body.decode()


protocols = pytest.mark.parametrize("protocol", ["wsgi", "asyncio", "trio"])
every_header = pytest.mark.parametrize("hosts", NO_HOST.values(), ids=NO_HOST)


@every_header
@protocols
def test_links_of_a_request_without_a_host_use_localhost(protocol: str, hosts: list[bytes]) -> None:
    app, seen = Links(), {}
    for label, server in SERVERS.items():
        page = asked(protocol, app, "/?x=1", server, hosts)
        seen[label] = page, asked(protocol, app, "/away", server, hosts)[:2]
    links = '["localhost","http://localhost/?x=1","http://localhost/away"]'
    expected = (200, None, links), (303, "http://localhost/")
    assert seen == dict.fromkeys(SERVERS, expected)


@every_header
@protocols
@pytest.mark.parametrize("mounted", [told, told_too, Links], ids=lambda one: one.__name__)
def test_mounted_applications_get_localhost_without_a_host(
    protocol: str, mounted: Any, hosts: list[bytes]
) -> None:
    app, seen = App(), {}
    if mounted is Links:
        app.mount("/m", Links(), isolated=True)
    else:
        app.mount("/m", mounted)
    for label, server in SERVERS.items():
        seen[label] = asked(protocol, app, "/m/", server, hosts)[2].partition(",")[0]
    expected = '["localhost"' if mounted is Links else "http://localhost/"
    assert seen == dict.fromkeys(SERVERS, expected)


@pytest.mark.parametrize("host", ["localhost", "example.com"])
@protocols
def test_trusted_hosts_treats_a_missing_host_as_localhost(protocol: str, host: str) -> None:
    app = Links()
    app.middlewares.append(TrustedHosts(host))
    for server in SERVERS.values():
        for hosts in ([], [b""]):
            status = asked(protocol, app, "/", server, hosts)[0]
            assert status == (200 if host == "localhost" else 400)


@protocols
def test_an_application_with_the_host_localhost_gets_requests_without_one(protocol: str) -> None:
    class Local(App):
        def index(self) -> str:
            return "local"

    class Outer(App):
        local = Local(host="localhost")

        def index(self) -> str:
            return "others"

    app = Outer()
    for server in SERVERS.values():
        assert asked(protocol, app, "/", server, [])[2] == "local"
        assert asked(protocol, app, "/", server, [b""])[2] == "local"
        assert asked(protocol, app, "/", server, [b"example.com"])[2] == "others"


@protocols
def test_a_trusted_proxy_sets_the_host(protocol: str) -> None:
    app = Links()
    app.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"], host=True))
    with_host = asked_through_proxy(protocol, app, "shop.example")
    assert with_host == '["shop.example","http://shop.example/","http://shop.example/away"]'
    assert '"http://localhost/"' in asked_through_proxy(protocol, app, "")


def asked_through_proxy(protocol: str, app: App, host: str) -> str:
    """Return the body for a request without Host whose proxy says for which host it is."""
    given = [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "http")]
    given += [("x-forwarded-host", host)] if host else []
    if protocol == "wsgi":
        keys = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in given}
        return begin(app, **{**keys, "HTTP_HOST": ""}).read().decode()
    headers = [(name.encode(), value.encode()) for name, value in given]
    return run(protocol, lambda: get(app, headers=headers)).body.decode()


@every_header
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_websocket_without_a_host_gets_localhost(backend: str, hosts: list[bytes]) -> None:
    for server in SERVERS.values():
        call = Call({"type": "websocket.connect"})
        scope = http_scope(path="/socket", server=server)
        headers = [(b"host", host) for host in hosts]
        scope |= {"type": "websocket", "scheme": "ws", "headers": headers}
        run(backend, Links(), scope, call.receive, call.send)
        assert call.sent[1]["text"] == "http://localhost/socket"


@protocols
def test_two_hosts_of_which_one_is_empty_get_a_400(protocol: str) -> None:
    """Whoever reads the first and whoever reads the last must not differ."""
    # an environ has one Host, in which servers join them
    assert asked(protocol, Links(), "/", None, [b"", b"example.com"])[0] == 400


@pytest.mark.parametrize("protocol", ["asyncio", "trio"])
def test_a_mounted_environ_has_a_valid_server_name_and_port(protocol: str) -> None:
    seen = {}

    def of_server(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [])
        return [f"{environ['SERVER_NAME']} {environ['SERVER_PORT']}".encode()]

    app = App()
    app.mount("/m", of_server)
    for label, server in SERVERS.items():
        seen[label] = asked(protocol, app, "/m/", server, [])[2]
    hosts = {"host", "list", "port as text"}
    expected = {label: "192.0.2.1 8000" if label in hosts else "localhost 80" for label in SERVERS}
    assert seen == {**expected, "IPv6": "2001:db8::1 8000"}


def test_a_mounted_scope_has_a_server_address() -> None:
    seen = {}

    async def of_server(scope: Any, receive: Any, send: Any) -> None:
        name, port = scope["server"]
        await respond(send, f"{name} {port}".encode())

    app = App()
    app.mount("/m", of_server)
    for label, server in SERVERS.items():
        seen[label] = asked("wsgi", app, "/m/", server, [])[2]
    hosts = {"host", "list", "port as text"}
    expected = {label: "192.0.2.1 8000" if label in hosts else "localhost 0" for label in SERVERS}
    assert seen == {**expected, "IPv6": "2001:db8::1 8000"}
