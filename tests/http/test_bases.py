"""The scheme and the host with which links begin: one check, wherever a request states them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from micropie import App
from micropie._core.errors import BadRequest
from micropie._core.http.addresses import PAGE_SCHEMES, checked_base, is_host
from micropie.middleware import ProxyHeaders
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.selection import WORLDS

Headers = list[tuple[bytes, bytes]]


class Root(App):
    def index(self) -> str:
        return self.request.url + "x"


def native(**options: Any) -> App:
    app = Root()
    app.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"], host=True, **options))
    return app


def hosts() -> App:
    app = native()
    app.other = Root(host="other.example")
    return app


def x_forwarded(scheme: str, host: str) -> Headers:
    return [
        (b"X-Forwarded-Proto", scheme.encode("latin-1")),
        (b"X-Forwarded-Host", host.encode("latin-1")),
    ]


def forwarded(scheme: str, host: str) -> Headers:
    return [(b"Forwarded", f'for=192.0.2.7;proto="{scheme}";host="{host}"'.encode("latin-1"))]


# Who reads a scheme and a host, and the headers that state them.
Readers = dict[str, tuple[Callable[[], Any], Callable[[str, str], Headers]]]
READERS: Readers = {
    "ProxyHeaders": (native, x_forwarded),
    "ProxyHeaders, Forwarded": (lambda: native(forwarded=True), forwarded),
    "a site with hosts": (hosts, x_forwarded),
}
WELL_FORMED = [
    ("https", "shop.example", "https://shop.example/x"),
    ("HTTPS", "shop.example:8443", "https://shop.example:8443/x"),
    ("http", "[::1]:80", "http://[::1]:80/x"),
    ("wss", "shop.example", "https://shop.example/x"),
    ("ws", "192.0.2.1", "http://192.0.2.1/x"),
]
MALFORMED = [
    *(
        (
            scheme,
            "shop.example",
            "The server or a proxy gave this request a scheme other than http and https.",
        )
        for scheme in ("javascript", "on", "https:", "https/evil.example/?", "https\xa0", "wss:")
    ),
    *(
        ("https", host, "The request's host must be one name or address, with or without a port.")
        for host in ("<script>", "a/b", "u@shop.example", "shop.example:99999", "[::g]", "a b")
    ),
]


@pytest.mark.parametrize("to", WORLDS)
@pytest.mark.parametrize("reader", READERS)
def test_R14_R15_a_scheme_and_host_from_headers_are_well_formed_or_get_a_400(
    connect: MakeClient, reader: str, to: str
) -> None:
    make_app, headers = READERS[reader]
    check_bases(connect(make_app(), to), headers)


def check_bases(client: TestClient, headers: Callable[[str, str], Headers]) -> None:
    """Check the responses to requests with well-formed and malformed schemes and hosts."""
    for scheme, host, link in WELL_FORMED:
        answer = client.get("/", headers=headers(scheme, host))
        assert (answer.status_code, answer.text) == (200, link)
    for scheme, host, sentence in MALFORMED:
        answer = client.get("/", headers=headers(scheme, host))
        assert (answer.status_code, sentence in answer.text) == (400, True), (scheme, host)


SCHEMES = st.sampled_from([*PAGE_SCHEMES, "Https", "", "javascript", "https:", "h"]) | st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters='",;\x7f'), max_size=8
)
HOSTS = st.text("aZ0.:-_~[]/@?#%<>' \xe9\xa0", max_size=9) | st.sampled_from(
    ["shop.example:80", "[2001:db8::1]:5", "a:65535", "a:65536", "[::", "//a", "a://b", "\xb9"]
)
LINK = re.compile(r"https?://([A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/x")


@pytest.mark.parametrize("reader", READERS)
def test_R14_R15_a_scheme_or_host_from_a_header_never_becomes_another_part_of_a_link(
    connect: MakeClient, reader: str
) -> None:
    make_app, headers = READERS[reader]
    check_links(connect(make_app(), "wsgi", validate=False), headers)


def check_links(client: TestClient, headers: Callable[[str, str], Headers]) -> None:
    """Check that a scheme and a host in a link are themselves, whatever the headers contain."""

    @given(scheme=SCHEMES, host=HOSTS)
    def ask(scheme: str, host: str) -> None:
        answer = client.get("/", headers=headers(scheme, host))
        assert answer.status_code == 400 or LINK.fullmatch(answer.text)

    ask()


@given(scheme=SCHEMES, host=HOSTS)
def test_R14_a_base_url_is_two_checked_parts(scheme: str, host: str) -> None:
    stated = scheme.strip(" \t").lower()
    if stated in ("", *PAGE_SCHEMES) and (not host or is_host(host)):
        page_scheme = {"ws": "http", "wss": "https"}.get(stated, stated)
        assert checked_base(scheme, host) == (page_scheme, host)
    else:
        with pytest.raises(BadRequest):
            checked_base(scheme, host)
