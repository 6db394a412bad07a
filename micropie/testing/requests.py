"""Requests without a client: ``make_request``, and the application that reads and changes a
session.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from string import punctuation
from typing import Any
from urllib.parse import quote, unquote

from micropie import App, Request, request, run_in
from micropie._core.execution.steps import result_of
from micropie._core.http import receive_body
from micropie._core.http.protocols import ServerMessage
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
    """Return a request with a new session. It has the settings of ``app``, or the default settings.

    - ``method``, ``path``: as in the request line, so the path may end with a query.
    - ``query``: the query string without the "?", if it isn't in the path.
    - ``headers``: a dict or (name, value) pairs.
    - ``body``: the bytes of the body, which is parsed according to the Content-Type.
    """

    async def receive() -> ServerMessage:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: ServerMessage) -> None: ...

    raw_path, _, in_path = path.partition("?")
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    scope = {
        "type": "http",
        "method": method,
        "path": unquote(raw_path, "utf-8", "replace"),
        "raw_path": quote(raw_path, safe="/%:@!$&'()*+,;=").encode(),
        "query_string": quote(query or in_path, safe=punctuation).encode(),
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in pairs
        ],
    }
    exchange = ASGIExchange(scope, receive, send)
    exchange.config = (app or App())._micropie.config()
    if body:
        exchange.body.keep(body)
        # parse a form or JSON body, as for handlers
        result_of(receive_body(exchange, reads_body=False))
    return Request(exchange)


def session_app(tree: Any, visit: Callable[[Any], object]) -> App:
    """Return an application without hooks that stores its sessions where ``tree`` does, and calls
    ``visit`` with the client's session.
    """
    settings = {
        name: value
        for name, value in tree.settings.items()
        if "session_" in name or name == "portal_backend"
    }
    app = App(tree.session_backend(), security=False, **settings)

    @app.post("/")
    @run_in("loop")
    def hand_over() -> None:
        visit(request.session)

    return app
