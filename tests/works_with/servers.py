"""Servers and event loops that the project's own tests don't run."""

from concurrent.futures import ThreadPoolExecutor

import httpx2
from websockets.sync.client import connect

from tests.works_with.listed import World, works
from tests.works_with.running import serving

SITE = "tests.smoke.readme_app:app"


def serves(*command: str, sockets: bool = True, http2: bool = False) -> None:
    """Run a server. Over each version of HTTP that it offers, read some streams at once and send a
    form. Use a WebSocket, and wait until the server has ended.
    """
    with serving(*command, path="/slices/1") as url:
        for is_second in {False, http2}:
            asks(url, is_second)
        if sockets:
            with connect(f"{url.replace('http', 'ws')}/echo", proxy=None) as ws:
                ws.send("pie")
                assert ws.recv() == "echo 'pie'"


def asks(url: str, is_second: bool) -> None:
    """Use the site over HTTP/1.1 or HTTP/2."""
    with (
        httpx2.Client(http1=not is_second, http2=is_second) as client,
        ThreadPoolExecutor(8) as threads,
    ):
        found = threads.map(lambda number: client.get(f"{url}/slices/{number}"), range(1, 16))
        assert [one.text.count("slice") for one in found] == [*range(1, 16)]
        order = {"pie": "plum", "count": "2"}
        assert client.post(f"{url}/order", data=order).text == "2 plum"


@works("gevent", "wsgi", what="gunicorn -k gevent")
def gevent(world: World) -> None:
    options = ("--http-protocols", "h2,h1", "--http2-cleartext", "both")
    command = ("gunicorn", SITE, "-k", "gevent", "--bind", "127.0.0.1:{port}", *options)
    serves(*command, sockets=False, http2=True)


@works("uvloop", "asyncio", what="uvicorn --loop uvloop")
def uvloop(world: World) -> None:
    serves("uvicorn", SITE, "--loop", "uvloop", "--port", "{port}")


# With --http2 as well, requests may get no response (docs/deploy/tls.md).
@works("zttp", "asyncio", what="uvicorn --http zttp, HTTP/1.1")
def zttp(world: World) -> None:
    serves("uvicorn", SITE, "--http", "zttp", "--port", "{port}")
