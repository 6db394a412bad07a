"""Servers and event loops that the project's own tests don't run."""

from concurrent.futures import ThreadPoolExecutor

import httpx2

from tests.works_with.listed import World, works
from tests.works_with.running import serving

SHOP = "tests.works_with.shop:app"


def serves(*command: str, http2: bool = False) -> None:
    """Run a server, and send it some requests at once."""
    with (
        serving(*command, path="/pies/1") as url,
        httpx2.Client(http1=not http2, http2=http2) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        found = threads.map(lambda number: client.get(f"{url}/pies/{number}"), range(16))
        assert [one.text for one in found] == [f"pie {number}" for number in range(16)]


@works("gevent", "wsgi", what="gunicorn -k gevent")
def gevent(world: World) -> None:
    serves("gunicorn", SHOP, "-k", "gevent", "--bind", "127.0.0.1:{port}")


@works("uvloop", "asyncio", what="uvicorn --loop uvloop")
def uvloop(world: World) -> None:
    serves("uvicorn", SHOP, "--loop", "uvloop", "--port", "{port}")


@works("rloop", "asyncio", what="uvicorn --loop rloop:new_event_loop")
def rloop(world: World) -> None:
    serves("uvicorn", SHOP, "--loop", "rloop:new_event_loop", "--port", "{port}")


@works("zttp", "asyncio", what="uvicorn --http zttp")
def zttp(world: World) -> None:
    serves("uvicorn", SHOP, "--http", "zttp", "--port", "{port}")


@works("zttp", "asyncio", what="HTTP/2")
def zttp_http2(world: World) -> None:
    serves("uvicorn", SHOP, "--http", "zttp", "--http2", "--port", "{port}", http2=True)


@works("anycorn", "asyncio", "trio")
def anycorn(world: World) -> None:
    serves("anycorn", SHOP, "-k", world, "--bind", "127.0.0.1:{port}")
