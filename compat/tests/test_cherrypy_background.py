"""A server in a thread, beside the program that started it."""

from __future__ import annotations

import socket
import ssl
import threading
from urllib.request import Request, urlopen

import pytest

from micropie import App, request
from micropie_compat.cherrypy import background
from micropie_compat.cherrypy.background import BackgroundServer, Options
from tests.support.certificates import make_certificate
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

NAMES = ["uvicorn", "waitress", "wsgiref"]


class Root(App):
    entered = threading.Event()
    go_on = threading.Event()

    def index(self) -> str:
        return f"{threading.current_thread() is threading.main_thread()} {self.request.root_path}"

    def visits(self) -> str:
        return str(self.request.session.update_atomic("visits", lambda n: (n or 0) + 1))

    def slow(self) -> str:
        self.entered.set()
        assert self.go_on.wait(PATIENCE)
        return "slow"


def get(server: BackgroundServer, path: str = "/") -> str:
    with urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=PATIENCE) as answer:
        text: str = answer.read().decode()
        return text


@pytest.mark.processes
@pytest.mark.parametrize("name", NAMES)
def test_a_server_starts_and_stops(name: str) -> None:
    before = {*threading.enumerate()}
    app = Root()
    port = free_port()  # which stays free while nobody listens
    server = BackgroundServer(app, Options(port=port, server=name, stop_within=PATIENCE))
    assert (server.name, server.port, get(server)) == (name, port, "False ")
    server.stop()
    with pytest.raises(OSError, match="refused"):
        get(server)
    again = BackgroundServer(app, Options(port=port, server=name))
    assert get(again) == "False "
    again.stop()
    app.wsgi_shutdown()
    # an idle thread of the event loop may stay for a while
    until(lambda: len({*threading.enumerate()} - before) <= 1)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["uvicorn", "waitress"])
def test_a_trailer_is_not_read_as_a_header(name: str) -> None:
    app = App()
    app.post("/who")(lambda: str(request.headers.get("x-note")))
    server = BackgroundServer(app, Options(server=name))
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as client:
        client.sendall(
            b"POST /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked"
            b"\r\n\r\n1\r\na\r\n0\r\nX-Note: oat\r\n\r\n"
        )
        assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"None")
    server.stop()


@pytest.mark.processes
@pytest.mark.parametrize("name", NAMES)
def test_an_application_gets_the_headers_of_proxies(name: str) -> None:
    """``tools.proxy`` reads them, and nothing else does."""
    app = App()
    app.get("/who")(lambda: f"{request.client} {request.headers.get('x-forwarded-for')}")
    server = BackgroundServer(app, Options(server=name))
    asked = Request(f"http://127.0.0.1:{server.port}/who", headers={"X-Forwarded-For": "192.0.2.1"})
    with urlopen(asked, timeout=PATIENCE) as answer:
        said = answer.read()
    server.stop()
    assert said.startswith(b"Address(host='127.0.0.1', ")
    assert said.endswith(b" 192.0.2.1")


@pytest.mark.processes
def test_an_open_request_is_finished_before_the_server_stops() -> None:
    Root.entered.clear()
    Root.go_on.clear()
    server = BackgroundServer(Root(), Options(stop_within=PATIENCE))
    assert server.name == "uvicorn"
    answers: list[str] = []
    client = threading.Thread(target=lambda: answers.append(get(server, "/slow")))
    client.start()
    assert Root.entered.wait(PATIENCE)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    Root.go_on.set()
    stopping.join(PATIENCE)
    client.join(PATIENCE)
    assert answers == ["slow"]


@pytest.mark.processes
@pytest.mark.parametrize("name", NAMES)
def test_a_port_in_use_raises_an_error(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            OSError, match=rf"can't listen on 127.0.0.1:{port} \(Address already in use\)"
        ):
            BackgroundServer(Root(), Options(port=port, server=name))


@pytest.mark.processes
def test_an_application_that_fails_to_start_raises_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Root()
    app.startup_handlers.append(lambda: 1 / 0)
    with pytest.raises(OSError, match="see the log"):
        BackgroundServer(app, Options(server="uvicorn"))


def has_ipv6() -> bool:
    """Return whether this machine has the IPv6 address of its loopback device."""
    try:
        with socket.socket(socket.AF_INET6) as server:
            server.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@pytest.mark.processes
@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_servers_that_are_not_installed_are_skipped(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "find_spec", lambda name: None)
    server = BackgroundServer(Root(), Options(host=host))
    server.stop()
    assert server.name == "wsgiref"
    with pytest.raises(
        OSError,
        match="waitress can't run in a thread of the program with these settings: use one of wsgiref",
    ):
        BackgroundServer(Root(), Options(server="waitress"))


@needs_ipv6
@pytest.mark.processes
def test_a_server_listens_on_an_ipv6_address() -> None:
    server = BackgroundServer(Root(), Options(host="::1"))
    with urlopen(f"http://[::1]:{server.port}/", timeout=PATIENCE) as answer:
        assert answer.status == 200
    server.stop()


@pytest.fixture(scope="module")
def certificate_and_key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    certificate, key = make_certificate(tmp_path_factory.mktemp("tls"))
    return str(certificate), str(key)


@pytest.fixture
def trusting(certificate_and_key: tuple[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certificate_and_key[0])
    context.check_hostname = False
    return context


@pytest.mark.processes
@pytest.mark.parametrize("name", ["uvicorn", "wsgiref"])
@pytest.mark.parametrize(("root_path", "prefix"), [("", "__Host-"), ("/x", "__Secure-")])
def test_R42_over_https_another_host_cannot_set_the_session_cookie(
    certificate_and_key: tuple[str, str],
    trusting: ssl.SSLContext,
    name: str,
    root_path: str,
    prefix: str,
) -> None:
    certificate, key = certificate_and_key
    app: App = Root()
    if root_path:
        outer = App()
        outer.mount(root_path, app, isolated=True)
        app = outer
    server = BackgroundServer(app, Options(server=name, certificate=certificate, key=key))
    address = f"https://127.0.0.1:{server.port}{root_path}/visits"

    def visit(cookie: str) -> tuple[str, str]:
        request = Request(address, headers={"Cookie": cookie})
        with urlopen(request, timeout=PATIENCE, context=trusting) as answer:
            return answer.read().decode(), answer.headers["Set-Cookie"]

    visits, set_cookie = visit("")
    cookie, _, attributes = set_cookie.partition("; ")
    assert cookie.startswith(f"{prefix}session_id=")
    assert attributes == f"Max-Age=28800; Path={root_path or '/'}; Secure; HttpOnly; SameSite=Lax"
    planted = f"session_id={visit('')[1].partition(';')[0].partition('=')[2]}"
    found = [visits, visit(cookie)[0], visit(f"{planted}; {cookie}")[0], visit(planted)[0]]
    assert found == ["1", "2", "3", "1"]
    server.stop()
    app.wsgi_shutdown()


@pytest.mark.processes
def test_the_background_server_serves_https(
    certificate_and_key: tuple[str, str], trusting: ssl.SSLContext
) -> None:
    certificate, key = certificate_and_key
    for name in ("uvicorn", "wsgiref"):
        options = Options(server=name, certificate=certificate, key=key)
        server = BackgroundServer(Root(), options)
        with urlopen(
            f"https://127.0.0.1:{server.port}/", timeout=PATIENCE, context=trusting
        ) as answer:
            assert answer.status == 200
        server.stop()
        with pytest.raises(OSError, match="the certificate or its key can't be used"):
            BackgroundServer(Root(), Options(server=name, certificate=certificate, key=certificate))
    with pytest.raises(OSError, match="waitress can't"):
        BackgroundServer(Root(), Options(server="waitress", certificate=certificate, key=key))
