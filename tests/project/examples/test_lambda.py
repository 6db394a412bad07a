"""AWS Lambda by Mangum, as docs/deploy/platforms.md has it: the event of a function URL, and its
answer.
"""

from __future__ import annotations

import asyncio
from typing import Any

from mangum import Mangum

from micropie import App


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


def test_an_event_is_answered() -> None:
    context: Any = None
    with asyncio.Runner() as runner:
        runner.get_loop()  # Mangum wants a current loop, as Lambda's Python has one
        handler = Mangum(Root())
        hello = handler(event("/", "name=Ann"), context)
        picture = handler(event("/picture"), context)
    assert (hello["statusCode"], hello["body"]) == (200, "Hello Ann, by https")
    assert (picture["body"], picture["isBase64Encoded"]) == ("/w==", True)
    assert picture["cookies"] == ["a=1; Path=/; SameSite=Lax"]
