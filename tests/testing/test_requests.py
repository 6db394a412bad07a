"""``make_request``: a request for a test that calls a hook without an application."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from micropie import App, HTTPError, HttpMiddleware, Request
from micropie.testing import make_request


class Hook(HttpMiddleware):
    async def before_request(self, request: Request) -> Any:
        request.session["seen"] = request.query("page", "1")
        return None if request.headers.get("x-token") == "sesame" else {"status": 401}


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_hook_can_be_called_with_a_request(world: str) -> None:
    async def test() -> None:
        request = make_request("POST", "/p\u00e4th", headers={"X-Token": "sesame"})
        assert isinstance(request, Request)
        assert await Hook().before_request(request) is None
        assert (request.method, request.path) == ("POST", "/p\u00e4th")
        assert request.session == {"seen": "1"}
        assert (request.cookies, dict(request.files), request.body_params) == ({}, {}, {})
        assert await request.body() == b""
        request.session = {"user": "alice"}
        assert request.session == {"user": "alice"}
        assert await Hook().before_request(make_request(query="page=2")) == {"status": 401}

    anyio.run(test, backend=world)


@pytest.mark.parametrize(
    ("path", "url", "read"),
    [
        ("/a%20b", "/a%20b", "/a b"),
        ("/p\u00e4th/p%C3%A4th", "/p%C3%A4th/p%C3%A4th", "/p\u00e4th/p\u00e4th"),
        ("/a%2Fb:c@d", "/a%2Fb:c@d", "/a/b:c@d"),
        ("/%FF", "/%FF", "/\ufffd"),
        ("/a?b=c?d", "/a?b=c?d", "/a"),
    ],
)
def test_the_path_of_a_request_is_read_as_in_its_first_line(path: str, url: str, read: str) -> None:
    request = make_request(path=path)
    assert (request.path, request.url) == (read, f"http://localhost{url}")
    assert request.query.get("b") == ("c?d" if "?" in path else None)


def test_the_query_of_a_request_may_have_any_characters() -> None:
    for request in (
        make_request(path="/?q=\u00e9 \u0161&a+b=%2B"),
        make_request(query="q=\u00e9 \u0161&a+b=%2B"),
    ):
        assert (request.query("q"), request.query("a b")) == ("\u00e9 \u0161", "+")
        assert request.url == "http://localhost/?q=%C3%A9%20%C5%A1&a+b=%2B"


def test_a_request_for_a_hook_can_have_a_body_and_headers() -> None:
    async def test() -> None:
        request = make_request("POST", headers=[("X-A", "1"), ("X-A", "2")], body=b"text")
        assert (request.headers["x-a"], request.headers.get_all("X-A")) == ("1, 2", ["1", "2"])
        assert await request.body() == b"text"

    anyio.run(test)


def test_a_request_for_a_hook_has_an_application_s_settings() -> None:
    async def read(app: App | None) -> bytes:
        return await make_request("POST", body=b"text", app=app).body()

    assert anyio.run(read, None) == b"text"
    with pytest.raises(HTTPError, match="3 bytes"):
        anyio.run(read, App(max_body_size=3))


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/x-www-form-urlencoded", b"a=1&a=2", (["1", "2"], None)),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n',
            (["1"], None),
        ),
        ("application/json", b'{"a": "1"}', (["1"], {"a": "1"})),
    ],
)
def test_a_request_s_body_is_a_form_or_json_by_its_type(
    content_type: str, body: bytes, expected: tuple[object, object]
) -> None:
    request = make_request("POST", headers={"Content-Type": content_type}, body=body)
    assert request.form.getlist("a") == expected[0]
    if expected[1] is not None:
        assert request.json() == expected[1]
