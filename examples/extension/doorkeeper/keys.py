"""The middleware that requires an API key, and stores the client's name on the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias

from micropie import HTTPError, Request, Response
from micropie.middleware import FlowMiddleware, call, kind_of

Find: TypeAlias = Callable[[str], str | None] | Callable[[str], Awaitable[str | None]]


class ApiKeys(FlowMiddleware):
    """Admit requests and WebSockets with a known key in ``X-API-Key``. Others get a 401.

    ``find``: a function, ``def`` or ``async def``, that takes the key and returns the client's
    name, or None for an unknown key. It may query a database.
    """

    guards = True

    def __init__(self, find: Find) -> None:
        self._find = find
        self._kind = kind_of(find)

    def before(self, request: Request) -> Generator[Any, Any, None]:
        """Find the key's client. Raises 401 for an unknown key."""
        key = request.headers.get("X-API-Key")
        client = None
        if key:
            client = yield from call(self._kind, self._find, key)
        if client is None:
            raise HTTPError(
                401, "A key is missing, or is not known.", {"WWW-Authenticate": "X-API-Key"}
            )
        request.state.doorkeeper_client = client

    def after(self, request: Request, response: Response) -> None:
        """Keep shared caches from storing the response, which is for one client only."""
        response.headers.setdefault("Cache-Control", "private")


def client_of(request: Request) -> str:
    """Return the name of the client that sent this request. ``ApiKeys`` must have admitted it."""
    name: str = request.state.doorkeeper_client
    return name
