"""Blanks around the values of headers are spaces and tabs, as RFC 9110, section 5.6.3, has them:
what a proxy does not take for a blank is none here.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from micropie import App
from micropie._core.http.headers.conditional import http_date
from micropie.middleware import ProxyHeaders
from tests.support.clients import MakeClient

BLANKS = [b" ", b"\t"]
OTHERS = [b"\xa0", b"\x85", b"\x0b", b"\x0c", b"\x1f"]  # which ``str.strip`` takes away, too


class Root(App):
    def index(self) -> str:
        return f"{self.request.scheme} {self.request.client}"

    def form(self, name: str = "none") -> str:
        return name

    def accepts(self) -> str:
        return str(self.request.accepts("json", "html"))


@pytest.fixture
def app(tmp_path: Path) -> App:
    app = Root()
    app.static("/files", tmp_path)
    app.middlewares.append(ProxyHeaders(trusted=["127.0.0.1"]))
    path = tmp_path / "a.txt"
    path.write_text("content")
    os.utime(path, (1_000_000_000, 1_000_000_000))
    return app


FORM = b"application/x-www-form-urlencoded"
DATE = http_date(1_000_000_000).encode()
# What a request asks with a header: the method, the path, the header's name and value, and how its
# answer shows that the value was understood.
ASKED = {
    "Content-Type": ("POST", "/form", b"content-type", FORM, "alice"),
    "a boundary": ("POST", "/form", b"content-type", b"multipart/form-data; boundary=B", "alice"),
    "If-None-Match": ("GET", "/files/a.txt", b"if-none-match", b"*", "304"),
    "If-Modified-Since": ("GET", "/files/a.txt", b"if-modified-since", DATE, "304"),
    "Range": ("GET", "/files/a.txt", b"range", b"bytes=0-2", "206"),
    "X-Forwarded-Proto": ("GET", "/", b"x-forwarded-proto", b"https", "200 https"),
    "X-Forwarded-For": ("GET", "/", b"x-forwarded-for", b"192.0.2.7", "192.0.2.7"),
    "Accept": ("GET", "/accepts", b"accept", b"text/html", "html"),
}


def is_understood(
    make_client: MakeClient, app: App, asked: str, before: bytes, after: bytes
) -> bool:
    method, path, name, value, shown = ASKED[asked]
    headers = [(name, before + value + after)]
    if asked == "X-Forwarded-Proto":  # a proxy's word counts with the client that it names
        headers.append((b"x-forwarded-for", b"192.0.2.7"))
    content = b""
    if method == "POST":
        content = (
            b"name=alice"
            if value == FORM
            else b'--B\r\nContent-Disposition: form-data; name="name"\r\n\r\nalice\r\n--B--\r\n'
        )
    answer = make_client(app).request(method, path, headers=headers, content=content)
    return shown in f"{answer.status_code} {answer.text}"


@pytest.mark.parametrize("asked", ASKED)
def test_R29_only_spaces_and_tabs_are_stripped_from_header_values(
    make_client: MakeClient, app: App, asked: str
) -> None:
    assert all(is_understood(make_client, app, asked, one, one) for one in BLANKS)
    for other in OTHERS:
        assert not is_understood(make_client, app, asked, b"", other), other
        if asked != "a boundary":
            assert not is_understood(make_client, app, asked, other, b""), other
