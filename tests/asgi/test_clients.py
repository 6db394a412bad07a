"""Other projects' clients for tests drive an application as a server does: Starlette's and
asgi-lifespan's.
"""

from __future__ import annotations

import warnings
from typing import Any

import anyio
import httpx2 as httpx
import pytest
from asgi_lifespan import LifespanManager

from micropie import App
from tests.asgi.calls import run
from tests.support.waiting import PATIENCE

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the httpx that it finds
    from starlette.testclient import TestClient


class Root(App):
    def index(self) -> str:
        return "hello"

    async def chunks(self) -> Any:
        for chunk in ("a", "b"):
            await anyio.sleep(0.01)
            yield chunk


async def mounted(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"mounted"})


def fail() -> None:
    raise ConnectionError("no database")


def whole_site() -> Root:
    app = Root()
    app.mount("/m", mounted)
    return app


ANSWERS = {"/": "hello", "/chunks": "ab", "/m": "mounted"}


def test_starlette_s_test_client_works(backend: Any) -> None:
    client = TestClient(whole_site(), backend=backend)
    assert {path: client.get(path).text for path in ANSWERS} == ANSWERS
    with client:
        assert {path: client.get(path).text for path in ANSWERS} == ANSWERS
    # its state is that of the ended lifespan
    assert {path: client.get(path).text for path in ANSWERS} == ANSWERS


@pytest.mark.parametrize("handlers", ["startup_handlers", "shutdown_handlers"])
def test_R71_starlette_s_client_raises_the_startup_error(backend: Any, handlers: str) -> None:
    app = Root()
    getattr(app, handlers).append(fail)
    reached = []
    with pytest.raises(ConnectionError, match="no database"), TestClient(app, backend=backend):
        reached.append(True)
    assert bool(reached) == (handlers == "shutdown_handlers")


def test_asgi_lifespan_works() -> None:
    """On asyncio alone: httpx's transport leaves generators behind on trio."""

    async def talk() -> list[dict[str, str]]:
        seen = []
        async with LifespanManager(whole_site(), PATIENCE, PATIENCE) as manager:
            transport = httpx.ASGITransport(app=manager.app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://testserver"
            ) as client:
                seen.append({path: (await client.get(path)).text for path in ANSWERS})
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            seen.append({path: (await client.get(path)).text for path in ANSWERS})
        return seen

    assert run("asyncio", talk) == [ANSWERS, ANSWERS]


def test_R71_asgi_lifespan_raises_the_startup_error() -> None:
    app = Root()
    app.startup_handlers.append(fail)

    async def start() -> None:
        async with LifespanManager(app, PATIENCE, PATIENCE):
            raise AssertionError

    with pytest.raises(ConnectionError, match="no database"):
        run("asyncio", start)
