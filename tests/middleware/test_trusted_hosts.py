"""TrustedHosts: which hosts are answered."""

from __future__ import annotations

from typing import Any

import pytest

from micropie import App, SetupError
from micropie.middleware import ProxyHeaders, TrustedHosts
from tests.support.clients import MakeClient


class Root(App):
    def index(self) -> Any:
        return self.request.host


def answering(*hosts: str) -> Root:
    app = Root()
    app.middlewares.append(TrustedHosts(*hosts))
    return app


HOSTS = (
    "example.com", "*.Example.com.", "*.org", "xn--bcher-kva.example", "192.0.2.1",
    "[2001:DB8::0:1]", "::1", "a_b",
)  # fmt: skip

KNOWN = [
    "example.com", "EXAMPLE.com", "example.com.", "example.com:80", "example.com.:8080",
    "www.example.com", "WWW.example.com.", "a.b.example.com:1", "a.org", "xn--bcher-kva.example",
    "192.0.2.1", "192.0.2.1:8000", "[2001:db8::1]", "[2001:0DB8:0:0:0:0:0:1]:443", "[::1]", "a_b",
]  # fmt: skip
STRANGE = [
    "evil.com", "example.com.evil.com", "evilexample.com", "example.comx", "example", "com",
    "example.com..", "org", "www.xn--bcher-kva.example", "192.0.2.10", "192.0.2", "x.192.0.2.1",
    "[2001:db8::2]", "[::]", "1", "",
]  # fmt: skip
MALFORMED = [
    "example.com/x", "a@example.com", "example.com:x", "[::1", "[example.com]",
    "example.com evil.com", "*.org", "example.com#",
]  # fmt: skip


@pytest.mark.parametrize("host", KNOWN)
def test_known_hosts_are_accepted(make_client: MakeClient, host: str) -> None:
    answer = make_client(answering(*HOSTS)).get("/", headers={"Host": host})
    assert (answer.status_code, answer.text) == (200, host.lower())


@pytest.mark.parametrize("host", STRANGE)
@pytest.mark.parametrize("path", ["/", "/nowhere"])
def test_R14_other_hosts_get_a_400(make_client: MakeClient, host: str, path: str) -> None:
    client = make_client(answering(*HOSTS), validate=False)
    answer = client.get(path, headers={"Host": host})
    assert (answer.status_code, answer.text) == (400, "This server does not serve that host.")


@pytest.mark.parametrize("host", MALFORMED)
def test_R14_malformed_hosts_get_a_400(make_client: MakeClient, host: str) -> None:
    answer = make_client(answering(*HOSTS), validate=False).get("/", headers={"Host": host})
    seen = (answer.status_code, answer.text)
    assert seen == (400, "The Host header must be one name or address, with or without a port.")


def test_without_a_wildcard_subdomains_are_refused(make_client: MakeClient) -> None:
    client = make_client(answering("example.com"))
    assert client.get("/", headers={"Host": "example.com"}).status_code == 200
    assert client.get("/", headers={"Host": "www.example.com"}).status_code == 400


def test_a_subdomain_wildcard_does_not_include_the_domain_itself(make_client: MakeClient) -> None:
    client = make_client(answering("*.example.com"))
    assert client.get("/", headers={"Host": "www.example.com"}).status_code == 200
    for host in ("example.com", ".example.com", "*.example.com"):
        assert client.get("/", headers={"Host": host}).status_code == 400, host


def test_a_host_from_a_proxy_is_checked_as_well(make_client: MakeClient) -> None:
    app = answering("example.com")
    app.middlewares.insert(0, ProxyHeaders(trusted=["127.0.0.1"], host=True))
    client = make_client(app)
    assert client.get("/", headers={"X-Forwarded-Host": "example.com"}).text == "example.com"
    for host in ("evil.com", "example.com, evil.com"):
        answer = client.get("/", headers={"Host": "example.com", "X-Forwarded-Host": host})
        assert answer.status_code == 400


def test_an_inner_application_may_have_its_own_hosts(make_client: MakeClient) -> None:
    app = Root()
    app.admin = answering("admin.example.com")
    client = make_client(app)
    assert client.get("/", headers={"Host": "x.example"}).status_code == 200
    assert client.get("/admin", headers={"Host": "x.example"}).status_code == 400
    assert client.get("/admin", headers={"Host": "admin.example.com"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "*",
        "*.",
        ".example.com",
        "a.*.com",
        "*example.com",
        "*.*.com",
        "example.com:80",
        "https://example.com",
        "example.com/",
        r".*\.example\.com",
        "bücher.example",
        "a..b",
        "[::1]:80",
        "::1::",
        "*.::1",
        5,
        None,
        ["example.com"],
    ],
)
def test_invalid_hosts_are_refused(host: Any) -> None:
    with pytest.raises(SetupError, match="without a scheme, port or path") as caught:
        TrustedHosts("example.com", host)
    assert repr(host) in str(caught.value)


def test_trusted_hosts_needs_hosts() -> None:
    with pytest.raises(SetupError, match="needs the hosts"):
        TrustedHosts()
