"""AWS Lambda by Mangum, as docs/deploy/platforms.md has it: events of function URLs, API Gateway and
load balancers, and the answers to them.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import unquote

import pytest
from mangum import Mangum

from micropie import App, Redirect, post


class Root(App):
    def index(self, name: str = "World") -> str:
        return f"Hello {name}, by {self.request.scheme}"

    def picture(self) -> bytes:
        self.response.set_cookie("a", "1")
        return b"\xff"


def event(path: str, query: str = "") -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "x.lambda-url.eu-west-1.on.aws", "x-forwarded-proto": "https"},
        "requestContext": {
            "http": {"method": "GET", "path": path, "sourceIp": "192.0.2.1"},
            "stage": "$default",
        },
        "body": None,
        "isBase64Encoded": False,
    }


def test_a_lambda_event_gets_a_response() -> None:
    context: Any = None
    with asyncio.Runner() as runner:
        runner.get_loop()  # Mangum wants a current loop, as Lambda's Python has one
        handler = Mangum(Root())
        hello = handler(event("/", "name=Ann"), context)
        picture = handler(event("/picture"), context)
    assert (hello["statusCode"], hello["body"]) == (200, "Hello Ann, by https")
    assert (picture["body"], picture["isBase64Encoded"]) == ("/w==", True)
    assert picture["cookies"] == ["a=1; Path=/; SameSite=Lax"]


class Promises(App):
    """What servers promise, for each kind of event."""

    started = 0

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        Promises.started += 1
        yield

    def where(self, *segments: str) -> list[str]:
        client = self.request.client
        assert client is not None
        return [self.request.scheme, client.host, *segments]

    @post
    def sign(self, name: str) -> tuple[int, str]:
        return 201, name

    def old(self) -> Redirect:
        return Redirect("/where")

    def cookies(self) -> dict[str, str]:
        return dict(self.request.cookies)

    def slices(self) -> Iterator[str]:
        yield "one\n"
        yield "two\n"

    def failing(self) -> Iterator[str]:
        yield "one\n"
        raise RuntimeError("of the second line")


Event = dict[str, Any]


def of_function_url(method: str, path: str, headers: dict[str, str], body: str | None) -> Event:
    made = event(unquote(path))
    cookies = headers.pop("cookie", "")
    made["headers"] |= headers
    made["cookies"] = cookies.split("; ")
    made["requestContext"]["http"]["method"] = method
    return made | {"body": body, "isBase64Encoded": body is not None}


def of_gateway(method: str, path: str, headers: dict[str, str], body: str | None) -> Event:
    given = {"Host": "shop.example", "X-Forwarded-Proto": "https", **headers}
    return {
        "resource": "/{proxy+}",
        "path": unquote(path),
        "httpMethod": method,
        "headers": given,
        "multiValueHeaders": {name: [value] for name, value in given.items()},
        "multiValueQueryStringParameters": {},
        "requestContext": {"identity": {"sourceIp": "192.0.2.1"}, "httpMethod": method},
        "body": body,
        "isBase64Encoded": body is not None,
    }


def of_balancer(method: str, path: str, headers: dict[str, str], body: str | None) -> Event:
    given = {"host": "shop.example", "x-forwarded-proto": "https", "x-forwarded-for": "192.0.2.1"}
    return {
        "requestContext": {"elb": {"targetGroupArn": "arn"}},
        "httpMethod": method,
        "path": path,
        "queryStringParameters": {},
        "headers": given | headers,
        "body": body or "",
        "isBase64Encoded": body is not None,
    }


@pytest.mark.parametrize("make", [of_function_url, of_gateway, of_balancer])
def test_mangum_keeps_what_servers_promise(make: Callable[..., Event]) -> None:
    context: Any = None
    form = "application/x-www-form-urlencoded"
    with asyncio.Runner() as runner:
        runner.get_loop()
        handler, before = Mangum(Promises()), Promises.started

        def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            text = None if body is None else base64.b64encode(body).decode()
            answer = handler(make(method, path, names, text), context)
            return answer["statusCode"], answer["body"]

        # it decodes the path, so an escaped slash separates segments
        assert ask("GET", "/where/caf%C3%A9/x%2Fy") == (
            200,
            '["https","192.0.2.1","café","x","y"]',
        )
        assert ask("POST", "/sign", b"name=cr%C3%A8me", content_type=form) == (
            201,
            "crème",
        )
        assert ask("POST", "/sign", b'{"name":"pie"}', content_type="application/json")[0] == 201
        assert ask("GET", "/cookies", cookie="a=1; b=2") == (200, '{"a":"1","b":"2"}')
        assert ask("GET", "/slices") == (200, "one\ntwo\n")
        assert ask("HEAD", "/where") == (200, "")
        assert ask("GET", "/old")[0] == 303
        assert ask("GET", "/nowhere")[0] == 404
        assert ask("DELETE", "/sign")[0] == 405
        assert ask("GET", "/failing")[0] == 500
        # around each request
        assert Promises.started - before == 10
