"""ProxyHeaders: which peers are trusted, and how far."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from micropie import App, SetupError
from micropie._core.http.peer import ProxyWatch
from micropie.middleware import ProxyHeaders, SecurityDefaults
from micropie.sessions import InMemorySessionBackend
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.debugging import DEVELOPER

PEER = "10.0.0.1"
NETWORK = ["10.0.0.0/8"]


class Root(App):
    def index(self) -> Any:
        request = self.request
        return [request.client, request.scheme, request.host, request.url]

    def store(self) -> Any:
        self.request.session["a"] = 1
        return ""


def behind(*, trusted: Any = NETWORK, **options: Any) -> Root:
    app = Root()
    app.middlewares.append(ProxyHeaders(trusted=trusted, **options))
    return app


Connect = Any


@pytest.fixture
def ask(make_client: MakeClient) -> Connect:
    """`ask(headers, peer=..., **options)`: client, scheme and host as the handler sees them."""

    def ask(headers: Any, peer: str | None = PEER, validate: bool = True, **options: Any) -> Any:
        client = make_client(
            behind(**options), client=(peer, 4321) if peer else None, validate=validate
        )
        answer = client.get("/", headers=headers)
        assert answer.status_code == 200
        address, scheme, host, url = answer.json()
        assert url == f"{scheme}://{host}/"
        return address, scheme, host

    return ask


NOTHING = ([PEER, 4321], "http", "testserver")
SPOOFED = {
    "X-Forwarded-For": "1.2.3.4",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "evil.example",
    "Forwarded": "for=5.6.7.8;proto=https;host=worse.example",
}


# -- trusted peers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("forwarded", [True, False])
@pytest.mark.parametrize("hops", [1, None])
@pytest.mark.parametrize(
    "peer", ["11.0.0.1", "127.0.0.1", "::1", "2001:db8::a00:1", "testclient", None]
)
def test_R15_proxy_headers_from_an_untrusted_address_have_no_effect(
    ask: Connect, peer: str | None, forwarded: bool, hops: Any
) -> None:
    expected = ([peer, 4321] if peer else None, "http", "testserver")
    assert ask(SPOOFED, peer, forwarded=forwarded, hops=hops, host=True) == expected


def test_R15_without_the_middleware_no_proxy_is_trusted(make_client: MakeClient) -> None:
    answer = make_client(Root(), client=("127.0.0.1", 1)).get("/", headers=SPOOFED)
    assert answer.json()[:3] == [["127.0.0.1", 1], "http", "testserver"]


def test_R5_a_header_name_with_an_underscore_is_another_header(ask: Connect) -> None:
    headers = {name.replace("-", "_"): value for name, value in SPOOFED.items() if "-" in name}
    assert ask(headers, host=True) == NOTHING


@pytest.mark.parametrize(
    ("trusted", "peer"),
    [
        (["10.0.0.1"], "10.0.0.1"),
        (["192.0.2.0/24", "10.0.0.0/8"], "10.255.0.1"),
        (["10.0.0.1"], "::ffff:10.0.0.1"),
        (["::ffff:10.0.0.1"], "::ffff:10.0.0.1"),
        (["::ffff:10.0.0.0/104"], "10.255.0.1"),
        (["::1"], "0:0:0:0:0:0:0:1"),
        (["2001:db8::/32"], "2001:db8:1::2"),
        (["fe80::/10"], "fe80::1%eth0"),
        (["unix"], None),
        (["unix", "10.0.0.1"], "10.0.0.1"),
        (("unix",), "localhost"),
    ],
)
def test_proxy_headers_from_a_trusted_address_are_used(
    ask: Connect, trusted: Any, peer: str | None
) -> None:
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
    assert ask(headers, peer, trusted=trusted) == (["1.2.3.4", 0], "https", "testserver")


def test_values_that_a_trusted_proxy_does_not_send_are_unchanged(ask: Connect) -> None:
    assert ask({}) == NOTHING
    assert ask({"X-Forwarded-For": "1.2.3.4"}) == (["1.2.3.4", 0], "http", "testserver")
    assert ask({"X-Forwarded-Proto": "HTTPS"}) == ([PEER, 4321], "https", "testserver")


# -- how far: X-Forwarded-For ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
        ("9.9.9.9,1.2.3.4,10.0.0.2", "1.2.3.4"),
        ("9.9.9.9, 1.2.3.4,\t10.0.0.2 , 10.0.0.3", "1.2.3.4"),
        ("10.0.0.9, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("garbage, 1.2.3.4", "1.2.3.4"),
        (", , 1.2.3.4", "1.2.3.4"),
        ("1.2.3.4:5678", ("1.2.3.4", 5678)),
        ("[2001:DB8::1]:65535", ("2001:db8::1", 65535)),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8:0:0::1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("1.2.3.4, ::ffff:10.0.0.2", "1.2.3.4"),
        ("1.2.3.4, 10.0.0.2:80", "1.2.3.4"),
        # Malformed values change nothing.
        ("1.2.3.4, garbage", None),
        ("1.2.3.4, garbage, 10.0.0.2", None),
        ("1.2.3.4,", None),
        (",", None),
    ],
)
def test_R15_the_client_is_the_first_untrusted_address_from_the_right(
    ask: Connect, value: str, client: Any
) -> None:
    expected = (
        [PEER, 4321] if client is None else [client, 0] if isinstance(client, str) else list(client)
    )
    assert ask({"X-Forwarded-For": value})[0] == expected


@pytest.mark.parametrize(
    ("hops", "value", "client"),
    [
        (1, "9.9.9.9, 1.2.3.4", "1.2.3.4"),
        (1, "9.9.9.9, 10.0.0.7", "10.0.0.7"),
        (2, "9.9.9.9, 1.2.3.4, 5.6.7.8", "1.2.3.4"),
        (2, "9.9.9.9, 1.2.3.4, unknown", "1.2.3.4"),
        (2, "1.2.3.4, 5.6.7.8", "1.2.3.4"),
        (2, "1.2.3.4", None),
        (2, "garbage, 1.2.3.4", None),
        (3, "1.2.3.4, 5.6.7.8", None),
        (1, "", None),
        (32, ", ".join(["1.2.3.4"] + ["5.6.7.8"] * 31), "1.2.3.4"),
        (32, ", ".join(["9.9.9.9", "1.2.3.4"] + ["5.6.7.8"] * 31), "1.2.3.4"),
    ],
)
def test_R15_a_fixed_number_of_proxies_is_counted_from_the_right(
    ask: Connect, hops: int, value: str, client: Any
) -> None:
    found = ask(
        {"X-Forwarded-For": value}, "203.0.113.7", trusted=["0.0.0.0/0", "::/0"], hops=hops
    )[0]
    assert found == ([client, 0] if client else ["203.0.113.7", 4321])


def test_repeated_headers_form_one_list(ask: Connect) -> None:
    headers = [
        ("X-Forwarded-For", "9.9.9.9"),
        ("X-Forwarded-For", "1.2.3.4"),
        ("X-Forwarded-For", "10.0.0.2"),
    ]
    assert ask(headers)[0] == ["1.2.3.4", 0]


def test_an_endless_list_is_not_read_completely(ask: Connect) -> None:
    found = ask({"X-Forwarded-For": "1.2.3.4, " + "10.0.0.2, " * 3000 + "10.0.0.3"})[0]
    assert found == [PEER, 4321]
    assert ask({"X-Forwarded-For": "1.2.3.4" + ", 10.0.0.2" * 31})[0] == ["1.2.3.4", 0]


# -- scheme and host -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "scheme"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("http", "http"),
        ("http, https", "https"),
        ("https, http", "http"),
        ("https,", "http"),
        ("javascript, https", "https"),  # what an outer hop states is not read
        ("wss", "https"),  # of a WebSocket
        ("WS", "http"),
        ("", "http"),
    ],
)
@pytest.mark.parametrize("hops", [None, 1, 2])
def test_the_scheme_comes_from_the_nearest_proxy(
    ask: Connect, value: str, scheme: str, hops: Any
) -> None:
    found = ask({"X-Forwarded-Proto": value, "X-Forwarded-For": "1.2.3.4, 10.0.0.2"}, hops=hops)[1]
    assert found == scheme


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("Example.com", "example.com"),
        ("example.com:8443", "example.com:8443"),
        ("[::1]:80", "[::1]:80"),
        ("", "testserver"),
    ],
)
def test_R14_the_host_is_only_used_if_configured(ask: Connect, value: str, host: str) -> None:
    assert ask({"X-Forwarded-Host": value}, host=True)[2] == host
    assert ask({"X-Forwarded-Host": value})[2] == "testserver"
    assert ask({"Forwarded": f'host="{value}"'}, host=True, forwarded=True)[2] == host
    assert ask({"Forwarded": f'host="{value}"'}, forwarded=True)[2] == "testserver"


SCHEME_SENTENCE = "The server or a proxy gave this request a scheme other than http and https."
HOST_SENTENCE = "The request's host must be one name or address, with or without a port."
MALFORMED_SCHEMES = ["on", "javascript", "https:", "https://evil.example/?", "htt ps", "https\xa0"]
MALFORMED_HOSTS = [
    "a/b", "u@example.com", "example.com:99999", "[::g]", "a b", '"><script>', "\xe9",
]  # fmt: skip


@pytest.mark.parametrize("peer", [PEER, "203.0.113.7"])
@pytest.mark.parametrize("forwarded", [False, True])
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        *(("proto", value, SCHEME_SENTENCE) for value in MALFORMED_SCHEMES),
        *(("host", value, HOST_SENTENCE) for value in MALFORMED_HOSTS),
    ],
)
def test_R14_R15_a_malformed_scheme_or_host_from_a_trusted_proxy_gets_a_400(
    make_client: MakeClient, name: str, value: str, sentence: str, forwarded: bool, peer: str
) -> None:
    value = value.replace('"', "") if forwarded else value
    header = f'for=1.2.3.4;{name}="{value}"' if forwarded else value
    headers = [
        ((b"Forwarded" if forwarded else b"X-Forwarded-" + name.encode()), header.encode("latin-1"))
    ]
    for takes_host in (True, False):
        client = make_client(behind(forwarded=forwarded, host=takes_host), client=(peer, 4321))
        answer = client.get("/", headers=headers)
        is_read = peer == PEER and (takes_host or name == "proto")
        if is_read:
            assert (answer.status_code, answer.text) == (400, sentence)
        else:
            assert answer.json()[1:3] == ["http", "testserver"]


def test_of_several_hosts_the_nearest_proxy_s_is_used(ask: Connect) -> None:
    assert ask({"X-Forwarded-Host": "evil.example, example.com"}, host=True)[2] == "example.com"


# -- Forwarded -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=1.2.3.4", (["1.2.3.4", 0], "http", "testserver")),
        ("For=1.2.3.4;Proto=HTTPS;Host=Example.com", (["1.2.3.4", 0], "https", "example.com")),
        ('for="[2001:db8::1]:4711";by=10.0.0.1', (["2001:db8::1", 4711], "http", "testserver")),
        ('for="1.2.3.4:80" ; proto="https"', (["1.2.3.4", 80], "https", "testserver")),
        # A proxy may hide the port.
        ('for="1.2.3.4:_port.1-a"', (["1.2.3.4", 0], "http", "testserver")),
        ('for="[2001:db8::1]:_p", for="10.0.0.2:_p"', (["2001:db8::1", 0], "http", "testserver")),
        ('for="1.2.3.4:_"', NOTHING),
        ("for=9.9.9.9, for=1.2.3.4", (["1.2.3.4", 0], "http", "testserver")),
        # The right neighbour names the proxy of each element: the outermost trusted one counts.
        (
            "for=1.2.3.4;proto=https;host=a.example, for=10.0.0.2;proto=http;host=b",
            (["1.2.3.4", 0], "https", "a.example"),
        ),
        ("for=1.2.3.4, for=10.0.0.2;proto=https", (["1.2.3.4", 0], "https", "testserver")),
        (
            "for=9.9.9.9;proto=https;host=evil, for=1.2.3.4;proto=http",
            (["1.2.3.4", 0], "http", "testserver"),
        ),
        ("for=10.0.0.3, for=10.0.0.2", (["10.0.0.3", 0], "http", "testserver")),
        # A proxy that hides the client may still state the scheme.
        ("for=unknown;proto=https", ([PEER, 4321], "https", "testserver")),
        ("for=_hidden;proto=https", ([PEER, 4321], "https", "testserver")),
        ("proto=https", ([PEER, 4321], "https", "testserver")),
        ("for=9.9.9.9;proto=https;host=evil, for=unknown", NOTHING),
        # What proxies that are not trusted state is not read.
        (
            "for=9.9.9.9;proto=javascript;host=a/b, for=1.2.3.4;proto=wss",
            (["1.2.3.4", 0], "https", "testserver"),
        ),
        # An empty value states nothing.
        (
            'for=1.2.3.4;proto="";host=, for=10.0.0.2;proto=https;host=b',
            (["1.2.3.4", 0], "https", "b"),
        ),
        # A quote that the client disconnected open hides nothing.
        ('for="9.9.9.9, for=1.2.3.4;proto=https', (["1.2.3.4", 0], "https", "testserver")),
        ('for=9.9.9.9;x=", for=1.2.3.4', (["1.2.3.4", 0], "http", "testserver")),
    ],
)
def test_the_forwarded_header_is_parsed(ask: Connect, value: str, expected: Any) -> None:
    assert ask({"Forwarded": value}, host=True, forwarded=True) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (
            "for=9.9.9.9;proto=https, for=1.2.3.4;host=a.example, for=5.6.7.8;host=b",
            (["1.2.3.4", 0], "http", "a.example"),
        ),
        ("for=1.2.3.4;proto=https, for=x", (["1.2.3.4", 0], "https", "testserver")),
        ("for=1.2.3.4;proto=https", ([PEER, 4321], "https", "testserver")),
    ],
)
def test_the_forwarded_header_works_with_a_number_of_proxies(
    ask: Connect, value: str, expected: Any
) -> None:
    assert ask({"Forwarded": value}, host=True, forwarded=True, hops=2) == expected


@pytest.mark.parametrize("hops", [None, 2])
@pytest.mark.parametrize(
    "value",
    [
        "for=1.2.3.4;proto=https;host=a.example, for=10.0.0.2;proto=javascript",
        "for=1.2.3.4;proto=https;host=a.example, for=10.0.0.2;host=a/b",
        "for=1.2.3.4;host=a/b, for=10.0.0.2;host=b.example",
        "for=unknown;proto=on, for=10.0.0.2",
    ],
)
def test_R14_R15_a_malformed_value_from_any_trusted_proxy_gets_a_400(
    make_client: MakeClient, value: str, hops: Any
) -> None:
    client = make_client(behind(host=True, forwarded=True, hops=hops), client=(PEER, 4321))
    assert client.get("/", headers={"Forwarded": value}).status_code == 400


def test_only_one_of_both_header_families_is_read(ask: Connect) -> None:
    spoofed = dict(SPOOFED)
    forwarded = spoofed.pop("Forwarded")
    assert ask({"Forwarded": forwarded}, host=True) == NOTHING
    assert ask(spoofed, host=True, forwarded=True) == NOTHING


MALFORMED = [
    "for", "for=", "=", ";", ",", ";;;", ",,,", "for==1.2.3.4", "for=;proto=https;", "=1.2.3.4",
    "for 1.2.3.4", 'for="', 'for="[', 'for="[]"', 'for="[::1"', "for=[::1]]", 'for="\\"',
    "for='1.2.3.4'", 'for="1.2.3.4\\"', "for=1.2.3", "for=1.2.3.4.5", "for=256.1.1.1",
    "for=01.2.3.4", "for=1.2.3.4/8", "for=1.2.3.4:", "for=1.2.3.4:x", "for=1.2.3.4:99999",
    "for=1.2.3.4:123456", "for=1.2.3.4:-1", "for=[::1]:", "for=[::1]:99999", "for=[1.2.3.4]",
    "for=[::g]", "for=::1::", "for=:::", "for=::ffff:999.1.1.1", "for=[fe80::1%25eth0]",
    "for=fe80::1%eth0", "for=unknown", "for=_", "for=_hidden:_port", "for=localhost", "for=\xe9",
    "for=\xb2.1.1.1", "for=1.2.3.4 5.6.7.8", "for=" + "1" * 5000, "for=" + "[" * 1000, '"' * 5000,
    "," * 5000, ";" * 5000, "=" * 5000, "for=" + ":" * 5000, "proto=https;for", "\t", " ",
    "x" * 5000, "by=1.2.3.4", "for=0x7f.1", "for=2130706433", "for=127.1",
]  # fmt: skip


def test_there_are_fifty_malformed_test_addresses() -> None:
    assert len(set(MALFORMED)) >= 50


@pytest.mark.parametrize("hops", [None, 1])
def test_R15_malformed_addresses_change_nothing_and_never_raise(
    make_client: MakeClient, hops: Any
) -> None:
    forwarded = make_client(behind(host=True, forwarded=True, hops=hops), client=(PEER, 4321))
    listed = make_client(behind(host=True, hops=hops), client=(PEER, 4321))
    for text in MALFORMED:
        value = text.encode("latin-1")
        answer = forwarded.get("/", headers=[(b"Forwarded", value)])
        assert (answer.status_code, answer.json()[0]) == (200, [PEER, 4321]), text
        answer = listed.get("/", headers=[(b"X-Forwarded-For", value.removeprefix(b"for="))])
        assert (answer.status_code, answer.json()[:3]) == (200, [*NOTHING]), text


# -- the effects of it -----------------------------------------------------------------------------


def test_the_session_cookie_is_secure_if_the_client_used_https(
    make_client: MakeClient,
) -> None:
    client = make_client(behind(), client=(PEER, 1))
    for scheme, secure in (("https", True), ("http", False)):
        cookie = client.get("/store", headers={"X-Forwarded-Proto": scheme}).headers["set-cookie"]
        assert ("Secure" in cookie) is secure
        client.cookies.clear()


def test_debug_pages_are_not_shown_to_clients_of_a_proxy_on_this_machine(
    make_client: MakeClient,
) -> None:
    class Broken(App):
        def index(self) -> Any:
            raise RuntimeError("secret")

    app = Broken(debug=True)
    app.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"]))
    client = make_client(app, **DEVELOPER)
    assert "secret" in client.get("/").text
    assert "secret" not in client.get("/", headers={"X-Forwarded-For": "1.2.3.4"}).text


def test_proxy_headers_affect_inner_middleware_only(make_client: MakeClient) -> None:
    seen = []

    def looking(request: Any) -> Any:
        seen.append(request.client.host)
        yield

    app = Root()
    app.middlewares += [looking, ProxyHeaders(trusted=NETWORK), looking]
    make_client(app, client=(PEER, 1)).get("/", headers={"X-Forwarded-For": "1.2.3.4"})
    assert seen == [PEER, "1.2.3.4"]


def test_an_inner_application_may_have_its_own_proxy_headers(make_client: MakeClient) -> None:
    app = Root()
    app.inner = behind()
    client = make_client(app, client=(PEER, 1))
    headers = {"X-Forwarded-For": "1.2.3.4"}
    assert client.get("/inner", headers=headers).json()[0] == ["1.2.3.4", 0]
    assert client.get("/", headers=headers).json()[0] == [PEER, 1]


def test_R17_proxy_values_do_not_leak_into_the_next_request(make_client: MakeClient) -> None:
    client: TestClient = make_client(behind(host=True), client=(PEER, 1))
    plain = client.get("/").json()
    spoofed = client.get("/", headers=SPOOFED).json()
    assert spoofed == [["1.2.3.4", 0], "https", "evil.example", "https://evil.example/"]
    assert client.get("/").json() == plain


# -- mistakes of the author ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trusted": []}, "needs the addresses"),
        ({"trusted": "127.0.0.1"}, r'write trusted=\["127.0.0.1"\]'),
        ({"trusted": ["*"]}, r"not '\*'"),
        ({"trusted": ["proxy.example"]}, "not 'proxy.example'"),
        ({"trusted": ["10.0.0.1/8"]}, "has host bits set"),
        ({"trusted": ["10.0.0.0/33"]}, "10.0.0.0/8"),
        ({"trusted": [5]}, "it is not a string"),
        ({"trusted": ["0.0.0.0/0"]}, "hops=1"),
        ({"trusted": ["10.0.0.0/8", "::/0"]}, "hops=1"),
        ({"trusted": ["::ffff:0:0/96"]}, "hops=1"),
        ({"trusted": NETWORK, "hops": 0}, "1 to 32, not 0"),
        ({"trusted": NETWORK, "hops": 33}, "1 to 32, not 33"),
        ({"trusted": NETWORK, "hops": True}, "1 to 32, not True"),
    ],
)
def test_invalid_arguments_are_refused(options: Any, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        ProxyHeaders(**options)
    with pytest.raises(SetupError, match=r'trusted must be a list: write trusted=\["10.0.0.1"\]'):
        ProxyHeaders("10.0.0.1")


def test_trusted_proxies_must_be_listed() -> None:
    with pytest.raises(TypeError, match="trusted"):
        ProxyHeaders()  # type: ignore[call-arg]


# -- a proxy that nobody named ---------------------------------------------------------------------


class Visits(Root):
    def client(self) -> Any:
        return str(self.request.client)

    def scheme(self) -> Any:
        return self.request.scheme

    def hello(self) -> Any:
        return "hello"


Warnings = Callable[[], list[str]]


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Warnings:
    """`warnings()`: those that were logged since the last call."""
    caplog.set_level(logging.WARNING, "micropie.security")

    def warnings() -> list[str]:
        found = [one.getMessage() for one in caplog.records if one.name == "micropie.security"]
        caplog.clear()
        return found

    return warnings


@pytest.mark.parametrize("path", ["/client", "/scheme", "/store"])
@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ({"X-Forwarded-For": "1.2.3.4"}, "X-Forwarded-For"),
        ({"Forwarded": "for=1.2.3.4;proto=https"}, "Forwarded"),
        ({"X-Forwarded-Proto": " HTTPS"}, "X-Forwarded-Proto"),
    ],
)
def test_an_unlisted_proxy_causes_one_warning(
    make_client: MakeClient,
    warnings: Warnings,
    path: str,
    headers: dict[str, str],
    named: str,
) -> None:
    client = make_client(Visits(), client=(PEER, 4321))
    client.get(path)
    client.get(path, headers={"X-Forwarded-For": PEER, "X-Forwarded-Proto": "http"})
    assert warnings() == []
    for _ in range(2):
        client.cookies.clear()
        client.get(path, headers=headers)
    (warning,) = warnings()
    assert warning.startswith(
        f"requests from {PEER} have {named.lower()} headers, but this address is not a trusted"
    )
    assert f'proxies=["{PEER}"]' in warning


def test_the_warning_describes_an_unlisted_proxy_on_a_unix_socket(
    make_client: MakeClient, warnings: Warnings
) -> None:
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https"}
    make_client(Visits(), client=None).get("/client", headers=headers)
    (warning,) = warnings()
    assert "have x-forwarded-for and x-forwarded-proto" in warning
    assert 'ProxyHeaders(trusted=["unix"])' in warning


def test_a_proxy_with_another_address_than_the_listed_one_causes_a_warning(
    make_client: MakeClient, warnings: Warnings
) -> None:
    client = make_client(behind(), client=("11.0.0.1", 4321))
    client.get("/", headers={"X-Forwarded-For": "1.2.3.4"})
    assert 'trusted=["11.0.0.1"]' in warnings()[0]


@pytest.mark.parametrize("peer", [PEER, None])
@pytest.mark.parametrize("client", ["1.2.3.4", "unknown"])
def test_a_listed_proxy_causes_no_warning(
    make_client: MakeClient, warnings: Warnings, peer: str | None, client: str
) -> None:
    app = behind(trusted=[*NETWORK, "unix"])
    connected = make_client(app, client=(peer, 4321) if peer else None)
    connected.get("/", headers={"X-Forwarded-For": client})
    connected.get("/", headers={"X-Forwarded-Proto": "https"})
    assert warnings() == []


def test_a_listed_proxy_with_a_malformed_scheme_causes_no_warning(
    make_client: MakeClient, warnings: Warnings
) -> None:
    app = Root(InMemorySessionBackend(), security=SecurityDefaults("testserver", proxies=NETWORK))
    headers = {"X-Forwarded-Proto": "ftp", "X-Forwarded-For": "1.2.3.4"}
    answer = make_client(app, client=(PEER, 4321)).get("/", headers=headers)
    assert (answer.status_code, answer.text) == (400, SCHEME_SENTENCE)
    assert warnings() == []


def test_proxy_headers_read_by_the_server_cause_no_warning(
    make_client: MakeClient, warnings: Warnings
) -> None:
    headers = {"X-Forwarded-For": "1.2.3.4, 10.0.0.9", "X-Forwarded-Proto": "https"}
    client = make_client(Visits(), client=("1.2.3.4", 0), base_url="https://testserver")
    for path in ("/client", "/scheme", "/store"):
        assert client.get(path, headers=headers).status_code == 200
    assert warnings() == []


def test_unlisted_proxies_are_only_searched_for_in_the_first_requests(
    make_client: MakeClient, warnings: Warnings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ProxyWatch.__init__, "__defaults__", (2,))
    client = make_client(Visits(), client=(PEER, 4321))
    for headers in ({}, {}, {"X-Forwarded-For": "1.2.3.4"}):
        client.get("/client", headers=headers)
    assert warnings() == []


def test_a_site_with_security_turned_off_has_no_proxy_warning(
    make_client: MakeClient, warnings: Warnings
) -> None:
    client = make_client(Visits(security=False), client=(PEER, 4321))
    client.get("/client", headers={"X-Forwarded-For": "1.2.3.4"})
    assert warnings() == []


async def told_host(scope: Any, receive: Any, send: Any) -> None:
    told = b" ".join(value for name, value in scope["headers"] if name == b"host")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told.decode()})
        await send({"type": "websocket.close"})
    else:
        assert scope["type"] == "http"
        headers = [(b"content-length", b"%d" % len(told)), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})


def test_mounted_applications_get_the_host_from_the_proxy(make_client: MakeClient) -> None:
    app = behind(host=True)
    app.mount("/mounted", told_host)
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "shop.example"}
    for peer, host in ((PEER, "shop.example"), ("192.0.2.1", "testserver")):
        client = make_client(app, client=(peer, 4321))
        assert client.get("/mounted/", headers=headers).text == host


def test_websockets_of_mounted_applications_get_the_host_from_the_proxy(
    connect: MakeClient, backend: str
) -> None:
    app = behind(host=True)
    app.mount("/mounted", told_host)
    client = connect(app, backend, client=(PEER, 4321))
    headers = {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "shop.example"}
    with client.websocket("/mounted/", headers=headers) as ws:
        assert ws.receive_text() == "shop.example"
