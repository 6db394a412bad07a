"""Servers and event loops that the project's own tests don't run."""

from concurrent.futures import ThreadPoolExecutor

import httpx2
from websockets.sync.client import connect

from tests.works_with.listed import World, works
from tests.works_with.running import serving

SITE = "tests.smoke.readme_app:app"


def serves(*command: str, sockets: bool = True) -> None:
    """Run a server. Read some streams at once, send a form, use a WebSocket, and wait until the
    server has ended.
    """
    with (
        serving(*command, path="/slices/1") as url,
        httpx2.Client() as client,
        ThreadPoolExecutor(8) as threads,
    ):
        found = threads.map(lambda number: client.get(f"{url}/slices/{number}"), range(1, 16))
        assert [one.text.count("slice") for one in found] == [*range(1, 16)]
        order = {"pie": "plum", "count": "2"}
        assert client.post(f"{url}/order", data=order).text == "2 plum"
        if sockets:
            with connect(f"{url.replace('http', 'ws')}/echo", proxy=None) as ws:
                ws.send("pie")
                assert ws.recv() == "echo 'pie'"


@works("gevent", "wsgi", what="gunicorn -k gevent")
def gevent(world: World) -> None:
    serves("gunicorn", SITE, "-k", "gevent", "--bind", "127.0.0.1:{port}", sockets=False)


@works("uvloop", "asyncio", what="uvicorn --loop uvloop")
def uvloop(world: World) -> None:
    serves("uvicorn", SITE, "--loop", "uvloop", "--port", "{port}")


@works("zttp", "asyncio", what="uvicorn --http zttp")
def zttp(world: World) -> None:
    serves("uvicorn", SITE, "--http", "zttp", "--port", "{port}")
