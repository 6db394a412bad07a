"""The middleware that requires a key, and stores the name of the key's client on the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeAlias

from micropie import HTTPError, Request, Response
from micropie.middleware import FlowMiddleware, call, kind_of

Find: TypeAlias = Callable[[str], str | None] | Callable[[str], Awaitable[str | None]]


class ApiKeys(FlowMiddleware):
    """Admit clients that send a known key in ``X-API-Key``, also to WebSockets. Others get 401.

    ``find``: a function of the key that returns the client's name, or None; it is ``def`` or
    ``async def``, and may query a database.
    """

    guards = True

    def __init__(self, find: Find) -> None:
        self._find = find
        self._kind = kind_of(find)

    def before(self, request: Request) -> Generator[Any, Any, None]:
        """Look the key up."""
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
        """Keep the response, which is for one client, out of shared caches."""
        response.headers.setdefault("Cache-Control", "private")


def client_of(request: Request) -> str:
    """Return the name of the client that sent this request, which has passed ``ApiKeys``."""
    name: str = request.state.doorkeeper_client
    return name
