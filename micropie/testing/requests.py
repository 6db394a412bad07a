"""``make_request``: a request for a hook, or a function that takes one, which is called without a server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from micropie import App, Request
from micropie.asgi import ASGIExchange


def make_request(
    method: str = "GET",
    path: str = "/",
    *,
    query: str = "",
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    app: App | None = None,
) -> Request:
    """Return a request with a new session, and with the settings of ``app``, else with the defaults.

    ``query``: as in a URL, without the "?".
    """

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    pairs = headers.items() if isinstance(headers, Mapping) else headers
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode("latin-1"),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
    }
    exchange = ASGIExchange(scope, receive)
    exchange.config = (app or _default_app()).compiled().config
    return Request(exchange)


@cache
def _default_app() -> App:
    return App()
