"""RateLimit: which clients are counted, the answers, on one machine and on many."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from micropie import App, HTTPError, HttpMiddleware, SetupError, post
from micropie._core.execution.steps import outage
from micropie._core.execution.steps import redis_client as redisclient
from micropie._core.http.peer import Address
from micropie.middleware import (
    FlowMiddleware,
    MemoryRates,
    Quota,
    RateLimit,
    RateStore,
    RedisRates,
    redis_rate_store,
)
from micropie.sessions import SessionBackend
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.ports import free_port
from tests.support.processes import REDIS
from tests.support.redis_server import redis_server
from tests.support.steps import steps_of
from tests.support.waiting import PATIENCE
from tests.wsgi.calls import get


class Clock:
    """Time that passes when the test says so.

    It begins as Redis's would: 1.7e9 seconds are many digits.
    """

    now = 1_700_000_000.123456

    def __call__(self) -> float:
        return self.now


class Root(App):
    ran = 0

    def index(self) -> Any:
        self.ran += 1
        return "hello"

    def crashes(self) -> Any:
        raise RuntimeError("secret")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", REDIS])
def store(request: pytest.FixtureRequest, clock: Clock) -> Iterator[RateStore]:
    """Each of the stores, with the test's clock."""
    if request.param == "memory":
        yield MemoryRates(clock=clock)
        return
    rates = RedisRates(request.getfixturevalue("redis_url"), prefix=f"{uuid.uuid4()}:", clock=clock)
    yield rates
    rates.close()


def limited(limit: int, per: float = 60, app: App | None = None, **options: Any) -> Root:
    app = app or Root()
    app.middlewares.append(RateLimit(limit, per, **options))
    return app  # type: ignore[return-value]


def left(answer: Any) -> tuple[str, ...]:
    return tuple(answer.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset"))


# -- the answers -----------------------------------------------------------------------------------


def test_requests_above_the_limit_get_a_429(
    make_client: MakeClient, store: RateStore, clock: Clock
) -> None:
    app = limited(3, 60, store=store)
    client = make_client(app)
    answers = [left(client.get("/")) for _ in range(3)]
    assert answers == [("3", "2", "20"), ("3", "1", "40"), ("3", "0", "60")]
    clock.now += 5
    refused = client.get("/")
    seen = (refused.status_code, refused.text)
    assert seen == (429, "Too many requests. Please try again in 15 seconds.")
    assert (refused.headers["retry-after"], left(refused), app.ran) == ("15", ("3", "0", "55"), 3)
    clock.now += 14.5
    assert client.get("/").text == "Too many requests. Please try again in 1 second."
    clock.now += 0.5
    assert left(client.get("/")) == ("3", "0", "60")
    assert client.get("/").status_code == 429
    clock.now += 60
    assert [client.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_every_response_has_the_remaining_quota(make_client: MakeClient, store: RateStore) -> None:
    client = make_client(limited(10, store=store))
    answers = [client.get(path) for path in ("/nowhere", "/crashes")]
    assert [(answer.status_code, left(answer)[1]) for answer in answers] == [(404, "9"), (500, "8")]


def test_an_error_handler_may_handle_the_429(make_client: MakeClient, clock: Clock) -> None:
    app = limited(1, store=MemoryRates(clock=clock))

    @app.error(429)
    def slow_down(error: HTTPError) -> Any:
        return f"sorry: {error.message}"

    client = make_client(app)
    client.get("/")
    answer = client.get("/")
    seen = (answer.status_code, answer.text[:6], answer.headers["retry-after"])
    assert seen == (429, "sorry:", "60")


@pytest.mark.parametrize(
    ("limit", "per"), [(1, 0.5), (7, 60), (100, 1), (3, 1), (1_000_000, 1), (1000, 86400)]
)
def test_the_limit_is_never_exceeded_and_always_reached(
    store: RateStore, clock: Clock, limit: int, per: float
) -> None:
    rng = random.Random(limit)
    allowed: list[float] = []
    for _ in range(200):
        clock.now += rng.choice([0, 0, 0.001, per / limit, per / 3, per])
        quota = store.hit("key", limit, per)
        if quota.allowed:
            allowed.append(clock.now)
        else:  # exactly then, and not before
            assert 0 < quota.retry_after <= per / limit + 1e-5
            assert quota.remaining == 0
            clock.now += quota.retry_after + 2e-6
            assert store.hit("key", limit, per).allowed
            allowed.append(clock.now)
        assert 0 <= quota.remaining < limit
        assert 0 <= quota.full_after <= per + 1e-5
    for index, begin in enumerate(allowed):
        for count, end in enumerate(allowed[index:], 1):
            assert count <= limit + (end - begin) * limit / per + 0.01


def test_a_sliding_limit_has_no_window_edge(store: RateStore, clock: Clock) -> None:
    clock.now = 60 * 1_000_000 - 0.001  # the end of a minute
    assert sum(store.hit("key", 10, 60).allowed for _ in range(20)) == 10
    clock.now += 0.002
    assert sum(store.hit("key", 10, 60).allowed for _ in range(20)) == 0
    clock.now += 6
    assert sum(store.hit("key", 10, 60).allowed for _ in range(20)) == 1


def test_a_refused_request_does_not_count(store: RateStore, clock: Clock) -> None:
    store.hit("key", 1, 60)
    for _ in range(50):
        clock.now += 1
        assert not store.hit("key", 1, 60).allowed
    clock.now += 10
    assert store.hit("key", 1, 60) == Quota(True, 1, 0, 60.0, 0.0)


def test_of_several_limits_the_tightest_is_announced(
    make_client: MakeClient, store: RateStore
) -> None:
    app = limited(100, store=store)
    limited(2, 10, app=app, store=store)
    app.inner = limited(5, app=Root(), store=store)
    client = make_client(app)
    assert left(client.get("/inner")) == ("2", "1", "5")
    assert left(client.get("/")) == ("2", "0", "10")
    assert [client.get(path).status_code for path in ("/", "/inner")] == [429, 429]


def test_an_inner_application_may_have_its_own_rate_limit(make_client: MakeClient) -> None:
    app = Root()
    app.inner = limited(1, app=Root())
    client = make_client(app)
    statuses = [client.get(path).status_code for path in ("/inner", "/inner", "/", "/")]
    assert statuses == [200, 429, 200, 200]
    assert "ratelimit-limit" not in client.get("/").headers


def test_responses_of_outer_middleware_are_not_counted(make_client: MakeClient) -> None:
    class Refuses(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return {"status_code": 403, "body": "no"}

    app = limited(1)
    app.middlewares.insert(0, Refuses())
    answer = make_client(app).get("/")
    assert (answer.status_code, "ratelimit-limit" in answer.headers) == (403, False)


def test_a_limit_that_a_request_meets_twice_counts_it_once(make_client: MakeClient) -> None:
    limit = RateLimit(2)

    class Inner(App):
        @limit
        def index(self) -> str:
            return "inner"

    app: Any = App()
    app.inner = Inner()
    app.middlewares.append(limit)
    app.inner.middlewares.append(limit)
    client = make_client(app)
    assert [client.get("/inner").status_code for _ in range(3)] == [200, 200, 429]


# -- counted clients -------------------------------------------------------------------------------


class Named(HttpMiddleware):
    """Sets the client's address from a header, as `ProxyHeaders` does."""

    def before_request(self, request: Any) -> Any:
        request.client = Address(request.headers["x-from"], 1)


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::2", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:DB8::1", "2001:db8:0:0:0::2", True),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        # of 6to4 (RFC 3056): one IPv4 address holds 65,536 networks
        ("2002:c000:0201::1", "2002:c000:0201:ffff::1", True),
        ("2002:c000:0201::1", "192.0.2.1", True),
        ("2002:c000:0201::1", "2002:c000:0202::1", False),
        # of NAT64 (RFC 6052): one network holds all IPv4 addresses
        ("64:ff9b::192.0.2.1", "192.0.2.1", True),
        ("64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", False),
        ("64:ff9b:0:0:1::1", "64:ff9b:0:0:1::2", True),
        # of Teredo (RFC 4380), inverted: one network holds all clients of a server
        ("2001:0:4136:e378::3fff:fdfe", "192.0.2.1", True),
        ("2001:0:4136:e378::3fff:fdfe", "2001:0:c000:201::3fff:fdfe", True),
        ("2001:0:4136:e378::3fff:fdfe", "2001:0:4136:e378::3fff:fdfd", False),
        ("testclient", "testclient", True),
        ("testclient", "other", False),
    ],
)
def test_a_client_is_identified_by_its_address(
    make_client: MakeClient, one: str, other: str, together: bool
) -> None:
    app = Root()
    app.middlewares.append(Named())
    client = make_client(limited(1, app=app))
    statuses = [
        client.get("/", headers={"X-From": address}).status_code for address in (one, other)
    ]
    assert statuses == [200, 429 if together else 200]


def test_clients_without_an_address_count_as_one(make_client: MakeClient) -> None:
    client = make_client(limited(1), client=None)
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


def test_a_function_may_return_the_key(make_client: MakeClient, store: RateStore) -> None:
    client = make_client(limited(1, store=store, key=lambda request: request.query("user")))
    users = ["a", "b", "a", "x" * 5000, "x" * 5000, "x" * 4999 + "y", "\u2028"]
    statuses = [client.get("/", params={"user": user}).status_code for user in users]
    assert statuses == [200, 200, 429, 200, 429, 200, 200]


class Recording(RateStore):
    """Allows all, and notes what it was asked."""

    blocking = False

    def __init__(self) -> None:
        self.keys: list[str] = []

    def hit(self, key: str, limit: int, per: float) -> Quota:
        self.keys.append(key)
        return Quota(True, limit, limit, 0.0, 0.0)


def keys_of(limit: RateLimit, store: Recording, users: list[str], path: str = "/") -> list[str]:
    """Return the keys under which ``limit`` counts these users, each at its ``path``."""
    before = len(store.keys)

    class Limited(App):
        def index(self) -> str:
            return ""

        def login(self) -> str:
            return ""

    if path == "/login":
        Limited.login = limit(Limited.login)  # type: ignore[method-assign]
    app = Limited()
    app.middlewares = [] if path == "/login" else [limit]
    client = TestClient(app)
    for user in users:
        assert client.get(path, params={"user": user}).status_code == 200
    return store.keys[before:]


def by_user(limit: int, per: float, store: RateStore) -> RateLimit:
    return RateLimit(limit, per, store=store, key=lambda request: request.query("user"))


@pytest.mark.parametrize("seed", range(5))
def test_two_clients_never_share_a_counter(seed: int) -> None:
    chance, store = random.Random(seed), Recording()
    pieces = ["a", ":", "::", "/", "60.0", "1/60.0::", "x" * 128, "é", "5"]
    target = f"{__name__}.keys_of.<locals>.Limited.login:"
    users = {"".join(chance.choices([*pieces, target], k=chance.randint(1, 4))) for _ in range(30)}
    # the number of a long name can't be named by a short one
    long = [user for user in users if len(user) > 128]
    digests = [hashlib.sha256(user.encode()).hexdigest() for user in long]
    written = [user[:128] + digest for user, digest in zip(long, digests, strict=True)]
    everybody = list(dict.fromkeys([*users, *digests, *written]))
    keys = [
        *keys_of(by_user(1, 60, store), store, everybody),
        *keys_of(by_user(1, 60.0000001, store), store, everybody),
        *keys_of(by_user(11, 60, store), store, everybody),
        *keys_of(by_user(1, 60, store), store, everybody, "/login"),
    ]
    assert len(set(keys)) == len(keys) == 4 * len(everybody)
    assert max(map(len, keys)) < 500


def test_the_same_limit_in_another_worker_uses_the_same_counter() -> None:
    store = Recording()
    first, second = (keys_of(by_user(5, per, store), store, ["a"]) for per in (60, 60.0))
    assert first == second


def by_name(request: Any) -> str:
    return str(request.query("name"))


@pytest.mark.parametrize("is_of_app", [True, False])
def test_a_user_named_like_an_address_does_not_share_its_counter(
    make_client: MakeClient, store: RateStore, is_of_app: bool
) -> None:
    own = None if is_of_app else store

    class Site(App):
        @RateLimit(2, key=by_name, store=own)
        @RateLimit(2, store=own)
        def login(self, name: str = "") -> str:
            return name

    app = Site(rates=store if is_of_app else None)
    attacker = make_client(app, client=("192.0.2.6", 1))
    victim = make_client(app, client=("192.0.2.9", 1))
    attempts = [attacker.get("/login?name=192.0.2.9").status_code for _ in range(3)]
    assert attempts == [200, 200, 429]
    assert victim.get("/login?name=me").status_code == 200


def test_an_outer_and_an_inner_limit_count_a_request_once_each(
    make_client: MakeClient, store: RateStore
) -> None:
    app: Any = limited(3, app=Root(rates=store))
    app.inner = limited(3, app=Root())
    app.inner.inner = limited(3, app=Root())
    client = make_client(app)
    statuses = [client.get("/inner/inner").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]


def make_places() -> tuple[Any, Callable[..., RateLimit]]:
    """Return an application with equal limits in all places, and a function that makes one more."""

    def another(key: Any = by_name) -> RateLimit:
        return RateLimit(3, key=key)

    class Page(App):
        middlewares = [another()]  # noqa: RUF012

        @another()
        @another()
        def index(self) -> str:
            return ""

        def other(self) -> str:
            return ""

    @another()
    class Decorated(App):
        def index(self) -> str:
            return ""

    @another()
    def inner(request: Any) -> Any:
        return ""

    app: Any = App(rates=Recording())
    app.middlewares += [another(), another(), another(lambda request: by_name(request))]
    app.page, app.decorated = Page(), Decorated()
    app.below = another()(App())
    app.below.get("/")(lambda: "")
    app.mount("/mounted", another()(App()))
    app.hosted = another()(App(host="other.example"))
    app.hosted.get("/")(lambda: "")
    for path in ("/one", "/two"):
        app.get(path)(another()(lambda: ""))
    return app, another


PLACES = ("/page", "/page/other", "/decorated", "/below", "/mounted", "/one", "/two", "//other")


def keys_by_place(app: App) -> dict[str, list[str]]:
    """Return the keys that a request to each place counts."""
    rates: Any = app._micropie.settings["rates"]
    found = {}
    for path in PLACES:
        host = {"Host": "other.example"} if path == "//other" else {}
        rates.keys.clear()
        TestClient(app).get("/" if host else path, params={"name": "x"}, headers=host)
        found[path] = list(rates.keys)
    return found


def test_each_limit_has_its_own_keys_that_are_the_same_in_all_workers() -> None:
    app, another = make_places()
    keys = keys_by_place(app)
    # three limits of the outermost application, and those of each place
    counts = [len(found) - 3 for found in keys.values()]
    assert dict(zip(PLACES, counts, strict=True)) == {**dict.fromkeys(PLACES, 1), "/page": 3}
    every = {key for found in keys.values() for key in found}
    assert len(every) == 3 + 3 + (len(PLACES) - 2)

    assert keys_by_place(make_places()[0]) == keys  # in another worker

    # after a restart: this key stands here as a word
    fixed, rates = App(rates=Recording()), Recording()
    fixed.middlewares.append(RateLimit(1, store=rates))
    TestClient(fixed).get("/")
    assert rates.keys == ["1/60.0:7290565710ecd83d:127.0.0.1"]

    # one that comes later takes no key of those before it
    app.middlewares.insert(0, another())
    later = keys_by_place(app)
    assert {path: found[1:] for path, found in later.items()} == keys
    assert later["/one"][0] not in every


def test_limits_called_by_another_middleware_have_their_own_keys() -> None:
    class Both(FlowMiddleware):
        def __init__(self) -> None:
            self._limits = [RateLimit(3), RateLimit(3)]

        def before(self, request: Any) -> Any:
            for limit in self._limits:
                yield from limit.before(request)

    app = App(rates=Recording())
    app.middlewares.append(Both())
    keys = keys_by_place(app)["/one"]
    assert len({*keys}) == 2


def test_the_first_requests_of_many_limited_handlers_take_linear_time() -> None:
    def ask_each(size: int) -> int:
        app = Root()
        for number in range(size):
            app.get(f"/{number}")(RateLimit(5)(lambda: "hello"))
        get(app, "/")
        return steps_of(lambda: [get(app, f"/{number}") for number in range(size)])

    assert ask_each(80) <= 5 * ask_each(20)


def test_a_number_can_be_a_key(make_client: MakeClient) -> None:
    client = make_client(limited(1, key=lambda request: 5))
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]


def test_a_function_that_returns_no_key_raises_an_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert make_client(limited(1, key=lambda request: None)).get("/").status_code == 500
    assert "returned None" in caplog.text


async def wait(request: Any) -> Any:
    """Not a key function, because it would have to be awaited."""


def stream(request: Any) -> Iterator[bool]:
    """Not a key function, because each call would return another generator, which is true."""
    yield False


class Later:
    """Has to be awaited, but is no coroutine."""

    def __await__(self) -> Any:
        raise NotImplementedError


@pytest.mark.parametrize("argument", ["key", "exempt"])
@pytest.mark.parametrize(
    ("function", "words"),
    [
        (wait, "can't be async"),
        (lambda request: Later(), "can't be async"),
        (stream, "write it without yield"),
        (contextmanager(stream), "write it without yield"),
    ],
)
def test_a_function_whose_result_is_deferred_raises_an_error(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    argument: str,
    function: Callable[[object], object],
    words: str,
) -> None:
    options: dict[str, Any] = {argument: lambda request: function(request)}
    assert make_client(limited(1, **options)).get("/").status_code == 500
    assert f"the {argument} function of RateLimit returned a " in caplog.text
    assert words in caplog.text


def test_requests_can_be_exempt(make_client: MakeClient) -> None:
    client = make_client(limited(1, exempt=lambda request: request.path == "/health"))
    answers = [client.get(path) for path in ("/health", "/", "/health", "/")]
    assert [answer.status_code for answer in answers] == [404, 200, 404, 429]
    assert ["ratelimit-limit" in answer.headers for answer in answers] == [False, True, False, True]


# -- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("reads", [True, False])
def test_a_key_function_that_reads_no_session_loads_none(
    make_client: MakeClient, reads: bool
) -> None:
    loaded: list[str] = []

    class Backend(SessionBackend):
        def load(self, session_id: str) -> dict[str, Any]:
            loaded.append(session_id)
            return {}

    limit = RateLimit(9, key=lambda request: request.headers.get("x-api-key", ""))
    if not reads:
        limit.needs_session = False
    app = App(Backend())
    app.middlewares.append(limit)
    app.static("/files", Path(__file__).parent)
    client = make_client(app)
    cookie = {"Cookie": f"session_id={'a' * 43}"}
    assert client.get(f"/files/{Path(__file__).name}", headers=cookie).status_code == 200
    assert len(loaded) == reads


def test_the_memory_of_rates_is_bounded(clock: Clock) -> None:
    rates = MemoryRates(capacity=10, clock=clock)
    for number in range(100):
        clock.now += 0.001
        rates.hit(str(number), 1, 60)
    assert len(rates._until) == 10
    assert not rates.hit("99", 1, 60).allowed
    assert rates.hit("1", 1, 60).allowed


def test_expired_clients_are_dropped_from_memory(clock: Clock) -> None:
    rates = MemoryRates(clock=clock)
    for number in range(100):
        rates.hit(str(number), 1, 60)
    clock.now += 61
    for number in range(50):  # each new one removes two old ones
        rates.hit(f"late {number}", 1, 60)
    assert list(rates._until) == [f"late {number}" for number in range(50)]


def test_rates_in_memory_are_thread_safe() -> None:
    rates = MemoryRates(clock=lambda: 0.0)
    allowed: list[bool] = []

    def hit(_: int) -> None:
        for _ in range(200):
            allowed.append(rates.hit("key", 500, 60).allowed)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hit, range(8)))
    assert (len(allowed), sum(allowed)) == (1600, 500)


# -- Redis -----------------------------------------------------------------------------------------


def take_many(url: str, prefix: str, count: int, results: Any) -> None:
    rates = RedisRates(url, prefix=prefix)
    results.put(sum(rates.hit("key", 100, 3600).allowed for _ in range(count)))
    rates.close()


def test_R70_machines_share_counters_by_the_clock_of_redis(redis_url: str) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    prefix = f"{uuid.uuid4()}:"
    processes = [
        context.Process(target=take_many, args=(redis_url, prefix, 80, results)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    counts = [results.get(timeout=PATIENCE) for _ in processes]
    for process in processes:
        process.join()
    assert sum(counts) == 100


def test_two_applications_share_one_redis_counter(make_client: MakeClient, redis_url: str) -> None:
    prefix = f"{uuid.uuid4()}:"
    stores = [RedisRates(redis_url, prefix=prefix) for _ in range(2)]
    clients = [make_client(limited(3, 3600, store=store)) for store in stores]
    assert [clients[turn % 2].get("/").status_code for turn in range(4)] == [200, 200, 200, 429]
    for store in stores:
        store.close()


@pytest.mark.processes
def test_a_request_takes_one_redis_command_and_an_exempt_one_none(
    make_client: MakeClient, tmp_path: Path
) -> None:
    with redis_server(tmp_path) as url, redis.Redis.from_url(url, decode_responses=True) as admin:
        rates = RedisRates(url)

        class Counted(App):
            def index(self) -> str:
                return "hello"

            def counted(self) -> str:
                return "counted"

            @RateLimit(2, store=rates)
            def login(self) -> str:
                return "who are you?"

        def commands() -> dict[str, int]:
            """Return those since the last time that came from clients, not from scripts."""
            stats = admin.info("commandstats")
            admin.config_resetstat()
            names = ("evalsha", "eval", "script|load", "time", "get", "set")
            return {
                name: stats[f"cmdstat_{name}"]["calls"]
                for name in names
                if f"cmdstat_{name}" in stats
            }

        app = limited(
            2, store=rates, app=Counted(), exempt=lambda request: request.path != "/counted"
        )
        client = make_client(app)
        commands()
        assert client.get("/counted").status_code == 200
        assert commands() == {"evalsha": 1, "eval": 1, "time": 1, "get": 1, "set": 1}
        assert [client.get("/counted").status_code for _ in range(2)] == [200, 429]
        assert commands() == {"evalsha": 2, "time": 2, "get": 2, "set": 1}
        assert client.get("/").status_code == 200
        assert client.get("/nowhere").status_code == 404
        assert commands() == {}
        assert client.get("/login").status_code == 200
        assert commands()["evalsha"] == 1
        admin.script_flush()
        assert client.get("/counted").status_code == 429
        assert commands() == {"evalsha": 1, "eval": 1, "time": 1, "get": 1}
        rates.close()


@pytest.mark.parametrize("value", ["pies", "", "nan", "inf", "-1", "5", ["a"], {"a": "b"}])
def test_a_value_of_another_program_is_replaced(redis_url: str, value: Any) -> None:
    prefix = f"{uuid.uuid4()}:"
    rates = RedisRates(redis_url, prefix=prefix)
    with redis.Redis.from_url(redis_url) as client:
        if isinstance(value, dict):
            client.hset(f"{prefix}a", mapping=value)
        elif isinstance(value, list):
            client.rpush(f"{prefix}a", *value)
        else:
            client.set(f"{prefix}a", value)
        assert [rates.hit("a", 2, 60).allowed for _ in range(3)] == [True, True, False]
        assert client.pttl(f"{prefix}a") > 0
    rates.close()


def test_a_value_that_redis_does_not_let_read_is_an_error(redis_url: str) -> None:
    name = f"u{uuid.uuid4().hex}"
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", name, "on", ">pie", "~*", "+@all", "-get")
        try:
            rates = RedisRates(redis_url.replace("//", f"//{name}:pie@", 1))
            with pytest.raises(ConnectionError, match="the script can't run"):
                rates.hit("a", 2, 60)
            rates.close()
        finally:
            client.execute_command("ACL", "DELUSER", name)


def test_redis_drops_a_client_when_its_time_is_over(redis_url: str) -> None:
    rates = RedisRates(redis_url, prefix="forget:")
    rates.hit("key", 2, 10_000)
    with rates._redis.reached() as client:
        assert 4_970_000 < client.pttl("forget:key") <= 5_000_000
    rates.close()


def test_a_clock_that_is_set_back_locks_nobody_out(redis_url: str, clock: Clock) -> None:
    """As after a fail-over to a machine whose clock is behind."""
    rates = RedisRates(redis_url, prefix=f"{uuid.uuid4()}:", clock=clock)
    assert [rates.hit("key", 2, 60).allowed for _ in range(3)] == [True, True, False]
    clock.now -= 3600
    assert [rates.hit("key", 2, 60).allowed for _ in range(3)] == [True, True, False]
    clock.now += 3600
    assert rates.hit("key", 2, 60).allowed
    rates.close()


def test_R70_a_forked_child_opens_its_own_redis_connection(redis_url: str) -> None:
    rates = RedisRates(redis_url, prefix=f"{uuid.uuid4()}:")
    assert rates.hit("key", 2, 3600).remaining == 1
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(rates.hit("key", 2, 3600).remaining).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert (os.read(reader, 10), rates.hit("key", 2, 3600).allowed) == (b"0", False)
    os.close(reader)
    os.close(writer)
    rates.close()


@pytest.fixture
def nowhere() -> str:
    """Return the URL of a Redis that does not exist."""
    return f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture
def outages(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING, logger="micropie")
    return lambda: [
        record.getMessage()[:50] for record in caplog.records if record.name == "micropie"
    ]


OUT = "RateLimit: the rate store is unavailable, so requests are not counted"[:50]
BACK = "RateLimit: the rate store is available again"


@pytest.mark.processes
def test_without_redis_requests_are_allowed(
    make_client: MakeClient, nowhere: str, outages: Callable[[], list[str]]
) -> None:
    client = make_client(limited(1, store=RedisRates(nowhere)))
    answers = [client.get("/") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert not any("ratelimit-limit" in answer.headers for answer in answers)
    assert outages() == [OUT]


@pytest.mark.processes
def test_without_redis_requests_are_refused_if_configured(
    make_client: MakeClient, nowhere: str, outages: Callable[[], list[str]]
) -> None:
    app = limited(1, store=RedisRates(nowhere), when_unreachable="refuse")
    client = make_client(app)
    for _ in range(3):
        answer = client.get("/")
        assert (answer.status_code, answer.text) == (503, "Please try again later.")
        assert answer.headers["retry-after"] == "5"
    assert (app.ran, outages()) == (0, [OUT])


@pytest.mark.processes
def test_counting_resumes_when_redis_recovers(
    make_client: MakeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    outages: Callable[[], list[str]],
) -> None:
    now = time.monotonic()
    monkeypatch.setattr(outage, "monotonic", lambda: now)
    with redis_server(tmp_path) as url:
        rates = RedisRates(url)
        client = make_client(limited(2, 3600, store=rates))
        assert client.get("/").status_code == 200
    # each tries, one is logged
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 200]
    with redis_server(tmp_path, int(url.rpartition(":")[2].partition("/")[0])):
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]
    assert outages() == [OUT, BACK]
    now += 6
    client.get("/")
    assert outages() == [OUT, BACK, OUT]
    rates.close()


@pytest.mark.processes
def test_only_one_request_waits_for_a_redis_that_does_not_respond(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_rate_store, "_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        rates = RedisRates(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        client = make_client(limited(1, store=rates))
        assert [client.get("/").status_code for _ in range(3)] == [200, 200, 200]
        server.setblocking(False)
        for _ in range(2):  # only one of them came here, and asked for a sign of life after it
            server.accept()[0].close()
        with pytest.raises(BlockingIOError):
            server.accept()
        rates.close()


def test_an_invalid_reply_of_redis_is_an_outage(
    make_client: MakeClient,
    redis_url: str,
    outages: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = RedisRates(redis_url, prefix=f"{uuid.uuid4()}:")
    client = make_client(limited(1, store=rates, key=lambda request: "key"))
    assert [client.get("/").status_code for _ in range(2)] == [200, 429]
    monkeypatch.setattr(redis_rate_store, "_HIT", "return redis.call('RPUSH', KEYS[1], 'x')")
    assert client.get("/").status_code == 200
    assert outages() == [OUT]
    rates.close()


def test_redis_calls_run_in_their_own_threads(connect: MakeClient, redis_url: str) -> None:
    rates = RedisRates(redis_url, prefix=f"{uuid.uuid4()}:")
    names: list[str] = []

    class Seen(RateStore):
        def hit(self, key: str, limit: int, per: float) -> Quota:
            names.append(threading.current_thread().name)
            return rates.hit(key, limit, per)

    client = connect(limited(1, store=Seen()), "asyncio")
    client.get("/")
    assert names[0] != threading.current_thread().name
    assert "worker" in names[0].lower()
    rates.close()


def test_a_custom_store_may_be_async(make_client: MakeClient) -> None:
    class Own(RateStore):
        async def hit(self, key: str, limit: int, per: float) -> Quota:
            return Quota(not key.endswith(":127.0.0.1"), limit, 0, 1.5, 2.5)

    answer = make_client(limited(1, store=Own())).get("/")
    seen = (answer.status_code, answer.headers["retry-after"], left(answer))
    assert seen == (429, "3", ("1", "0", "2"))


def test_the_base_class_names_the_missing_method() -> None:
    with pytest.raises(NotImplementedError, match=r"hit\(key, limit, per\)"):
        RateStore().hit("key", 1, 60)


# -- set-up ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((0,), {}),
        ((-1,), {}),
        ((1.5,), {}),
        ((True,), {}),
        (("5/minute",), {}),
        ((5, 0), {}),
        ((5, "60"), {}),
        ((5, float("inf")), {}),
        ((5, 10.0**9), {}),
        ((2, 1e-6), {}),
        ((5,), {"key": "ip"}),
        ((5,), {"key": wait}),
        ((5,), {"key": stream}),
        ((5,), {"key": contextmanager(stream)}),
        ((5,), {"exempt": partial(stream)}),
        ((5,), {"exempt": ["/health"]}),
        ((5,), {"exempt": wait}),
        ((5,), {"store": MemoryRates}),
        ((5,), {"store": "redis://localhost"}),
        ((5,), {"when_unreachable": "deny"}),
    ],
)
def test_invalid_settings_are_refused(arguments: Any, options: Any) -> None:
    with pytest.raises(SetupError, match=r"RateLimit\([a-z_]+(=\.\.\.)?\) takes"):
        RateLimit(*arguments, **options)


@pytest.mark.parametrize("options", [{"capacity": 0}, {"capacity": "many"}, {"clock": 5}])
def test_invalid_settings_of_memory_rates_are_refused(options: Any) -> None:
    with pytest.raises(SetupError, match=r"MemoryRates\("):
        MemoryRates(**options)


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost", None])
def test_an_invalid_url_is_refused(url: Any) -> None:
    with pytest.raises(
        SetupError, match=r"RedisRates takes a URL such as redis://localhost:6379/0"
    ):
        RedisRates(url)


@pytest.mark.parametrize("options", [{"prefix": 5}, {"clock": 5}])
def test_invalid_settings_of_redis_rates_are_refused(options: Any) -> None:
    with pytest.raises(SetupError, match=r"RedisRates\("):
        RedisRates("redis://localhost", **options)


def test_without_redis_py_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redisclient, "redis", None)
    with pytest.raises(
        SetupError, match=r"RedisRates needs redis: pip install \"micropie-dual\[redis\]\""
    ):
        RedisRates("redis://localhost")


def test_a_limit_above_a_handler_counts_per_application_and_client(
    make_client: MakeClient,
) -> None:
    class Root(App):
        @RateLimit(1)
        @post
        def login(self) -> str:
            return "in"

    app = Root()
    app.inner = Root()
    client = make_client(app)
    assert client.post("/inner/login").status_code == 200
    assert client.post("/login").status_code == 429  # another object, in the same application
    assert make_client(app).post("/login").status_code == 429
    assert make_client(app, client=("192.0.2.7", 1)).post("/login").status_code == 200
    assert make_client(Root()).post("/login").status_code == 200


def make_shop() -> Any:
    class Shop(App):
        @RateLimit(1, per=3600)
        def login(self) -> str:
            return "who are you?"

        @RateLimit(1, per=3600, store=MemoryRates())
        def own(self) -> str:
            return "its own store"

    return Shop


def test_a_limit_uses_the_store_of_its_application(make_client: MakeClient) -> None:
    Shop, rates = make_shop(), Recording()  # noqa: N806
    app = Shop(rates=rates)
    app.inner = Shop(rates=MemoryRates())
    client = make_client(app)
    for path in ("/login", "/inner/login", "/own"):
        client.get(path)
    assert rates.keys[0] == rates.keys[1]
    assert len(rates.keys) == 2
    # the objects of a class have one limit, and each application its own store
    other, none = make_client(Shop(rates=MemoryRates())), make_client(Shop())
    for client in (other, none):
        assert [client.get("/login").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("wrong", [MemoryRates, "redis://localhost"])
def test_an_invalid_rates_setting_raises_an_error_with_a_hint(wrong: Any) -> None:
    with pytest.raises(SetupError, match=r"App\(rates=...\) takes MemoryRates\(\) or RedisRates"):
        App(rates=wrong)


def test_health_checks_the_application_s_store_if_a_limit_needs_it() -> None:
    class Away(MemoryRates):
        def ping(self) -> None:
            raise ConnectionError("no store")

    for when, status in (("refuse", 503), ("allow", 200)):
        app = App(rates=Away())
        app.middlewares.append(RateLimit(100, when_unreachable=when))
        app.health("/ready")
        with TestClient(app) as client:
            assert client.get("/ready").status_code == status
