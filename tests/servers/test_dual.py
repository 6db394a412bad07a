"""WSGI middleware of others around an application, on servers of both protocols."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.harness import ServerOf, serving


@pytest.fixture(scope="module")
def middlewares_on() -> Iterator[ServerOf]:
    with serving("tests.servers.middlewares:app") as server_of:
        yield server_of


@pytest.mark.parametrize(
    "name",
    ["uvicorn", pytest.param("hypercorn-trio", marks=pytest.mark.in_test_all), "gunicorn-gthread"],
)
def test_middleware_can_wrap_a_migrated_application(name: str, middlewares_on: ServerOf) -> None:
    server = middlewares_on(name)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    first = server.request("POST", "/visit", form, b"pie=apple")
    cookie = (first.header("Set-Cookie") or "").partition(";")[0]
    second = server.request("POST", "/visit", {**form, "Cookie": cookie}, "pie=crème".encode())
    assert (first.body, second.body.decode()) == (b"apple", "apple, crème")

    forwarded = {"For": "192.0.2.7", "Proto": "https", "Host": "shop.example", "Prefix": "/pies"}
    answer = server.request(
        "GET", "/url?a=b", {f"X-Forwarded-{name}": value for name, value in forwarded.items()}
    )
    assert answer.body == b"https://shop.example/pies/url?a=b for 192.0.2.7"

    crash = server.request("GET", "/boom")
    assert (crash.status, b"a pie for nobody" in crash.body, b"Werkzeug" in crash.body) == (
        500,
        True,
        True,
    )
    assert server.request("GET", "/reported").body == b'["ZeroDivisionError"]'
    assert server.request("GET", "/nowhere").status == 404
