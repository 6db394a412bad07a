"""What threads share stays whole when eight of them use it at once.

Each of these tests counts: nothing is lost, nothing is there twice, and all threads get one object
where there is to be one. An interpreter with a global lock seldom changes threads within so few
lines, so a free-threaded one finds most of what these tests can find
(``make test PYTHON=python3.13t``).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import Any, TypeVar

import pytest
from prometheus_client import CollectorRegistry

import micropie
from micropie import App, Request, post
from micropie._core.execution import LoopLocal, ProcessPool, await_in_background
from micropie._core.execution.background import close_background_loops
from micropie._core.files.recent import Recent
from micropie._core.http.headers.fields import NameTable, cached_if_short
from micropie._core.http.settings import Settings
from micropie._core.on_demand import computed
from micropie.channels import Channels
from micropie.extensions import Inspector, RedisClient
from micropie.middleware import MemoryRates
from micropie.sessions import InMemorySessionBackend, SQLiteSessionBackend
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE
from tests.wsgi.calls import begin, get

THREADS = 8
TIMES = 200

Result = TypeVar("Result")


def in_threads(function: Callable[[int], Result]) -> list[Result]:
    """Call ``function(0)``, ``function(1)`` and so on at the same time, each in a thread; return
    their results.
    """
    barrier = Barrier(THREADS)

    def called(number: int) -> Result:
        barrier.wait(PATIENCE)
        return function(number)

    with ThreadPoolExecutor(THREADS) as executor:
        return list(executor.map(called, range(THREADS)))


def is_one(make: Callable[[], object]) -> bool:
    """Return whether all threads are given the same object."""
    first, *others = in_threads(lambda _: make())
    return all(other is first for other in others)


# -- sites -----------------------------------------------------------------------------------------


class Root(App):
    def index(self) -> str:
        return "root"


class Outer(Root):
    def __init__(self) -> None:
        super().__init__()
        self.inner = Root()


def test_a_site_is_compiled_once_for_all_threads_that_need_it() -> None:
    for _ in range(20):
        assert is_one(Root()._micropie.compiled)


def test_routes_added_during_requests_are_found_afterwards() -> None:
    app = Outer()

    def add_and_ask(number: int) -> list[tuple[int, bytes]]:
        answers = []
        for turn in range(5):
            path = f"/added/{number}/{turn}"
            outer = (app, app.inner)[turn % 2]
            outer.get(path)(lambda path=path: path)
            answers.append(get(app, path if outer is app else f"/inner{path}"))
            answers.append(get(app, "/"))
        return answers

    expected = [
        [
            answer
            for turn in range(5)
            for answer in ((200, f"/added/{number}/{turn}".encode()), (200, b"root"))
        ]
        for number in range(THREADS)
    ]
    assert in_threads(add_and_ask) == expected


def test_a_route_added_by_a_startup_handler_is_found(make_client: MakeClient) -> None:
    app = Root()

    app.startup_handlers.append(lambda: app.get("/late")(lambda: "late"))
    client = make_client(app)
    assert [client.get(path).text for path in ("/", "/late", "/late")] == ["root", "late", "late"]


# -- sessions, rates and messages ------------------------------------------------------------------


class Counting(App):
    @post
    def count(self) -> str:
        return str(self.request.session.update_atomic("n", lambda n: (n or 0) + 1))

    def counted(self) -> str:
        return str(self.request.session["n"])


@pytest.mark.parametrize("is_file", [False, True])
def test_concurrent_session_counters_lose_no_update(tmp_path: Path, is_file: bool) -> None:
    backend = SQLiteSessionBackend(tmp_path / "sessions") if is_file else InMemorySessionBackend()
    app = Counting(session_backend=backend)
    first = begin(app, "POST", "/count")
    assert first.read() == b"1"
    cookie = first.headers["Set-Cookie"].partition(";")[0]

    def count(_: int) -> set[int]:
        return {get(app, "/count", "POST", HTTP_COOKIE=cookie)[0] for _ in range(TIMES // 4)}

    assert in_threads(count) == [{200}] * THREADS
    total = 1 + THREADS * (TIMES // 4)
    assert get(app, "/counted", HTTP_COOKIE=cookie) == (200, str(total).encode())
    if isinstance(backend, SQLiteSessionBackend):
        backend.close()


def test_sessions_in_memory_never_exceed_their_capacity() -> None:
    backend = InMemorySessionBackend(capacity=10)

    def save(number: int) -> None:
        for turn in range(TIMES):
            name = f"{number}-{turn % 20}"
            backend.save(name, {"n": turn}, 60)
            assert backend.load_shared(name) in ({}, {"n": turn})

    in_threads(save)
    names = [f"{number}-{turn}" for number in range(THREADS) for turn in range(20)]
    assert sum(bool(backend.load_shared(name)) for name in names) == 10


def test_a_rate_in_memory_never_allows_more_than_its_limit() -> None:
    rates = MemoryRates(clock=lambda: 1.0)

    def hit(_: int) -> int:
        return sum(rates.hit("client", 100, 60).allowed for _ in range(TIMES))

    assert sum(in_threads(hit)) == 100


def test_all_subscribers_get_each_message_once_and_in_the_same_order() -> None:
    channels = Channels()

    def publish_or_receive(number: int) -> list[Any]:
        if number % 2:
            for turn in range(TIMES):
                channels.publish("room", [number, turn])
            return []
        return [subscriptions[number // 2].get(PATIENCE) for _ in range(TIMES * THREADS // 2)]

    size = TIMES * THREADS
    subscriptions = [channels.subscribe("room", size=size) for _ in range(THREADS // 2)]
    for subscription in subscriptions:
        subscription.__enter__()
    received = [found for found in in_threads(publish_or_receive) if found]
    assert received == [received[0]] * (THREADS // 2)
    assert sorted(received[0]) == [[n, turn] for n in range(1, THREADS, 2) for turn in range(TIMES)]
    for number in range(1, THREADS, 2):
        turns = [turn for publisher, turn in received[0] if publisher == number]
        assert turns == [*range(TIMES)]
    assert [subscription.dropped for subscription in subscriptions] == [0] * (THREADS // 2)
    for subscription in subscriptions:
        subscription.__exit__()
    assert channels.counts() == (0, 0)


def test_subscribers_that_leave_free_their_memory() -> None:
    channels = Channels()

    def come_and_go(number: int) -> None:
        for turn in range(TIMES):
            with channels.subscribe("room", f"{turn % 3}") as messages:
                channels.publish("room", number)
                assert messages.get(PATIENCE) in range(THREADS)

    in_threads(come_and_go)
    assert channels.counts() == (0, 0)


def test_subscriptions_can_be_listed_while_they_change() -> None:
    app = Root()
    inspector = Inspector(app)

    def come_or_list(number: int) -> None:
        for turn in range(TIMES):
            if number % 2:
                found = app.channels.subscriptions()
                assert all(one.channels == (name,) for name in found for one in found[name])
                assert inspector.statistics().subscribers <= THREADS // 2
            else:
                with app.channels.subscribe(f"{turn % 3}"):
                    pass

    in_threads(come_or_list)
    assert inspector.statistics().subscribers == 0


def test_all_threads_share_one_redis_client() -> None:
    def reached() -> object:
        with client.reached() as found:  # which connects when it is asked something
            return found

    for _ in range(20):
        client = RedisClient("a test", "redis://127.0.0.1:1/0", 1)
        assert is_one(reached)


# -- files -----------------------------------------------------------------------------------------


def test_a_bounded_cache_keeps_its_capacity_and_its_keys() -> None:
    recent: Recent[int, int] = Recent(capacity=50)

    def put_and_look(number: int) -> None:
        for turn in range(TIMES * 5):
            name = (number * 7 + turn) % 90
            recent.put(name, -name, seen_at=1e12)
            assert recent.fresh((turn * 3) % 90) in (None, -((turn * 3) % 90))
            assert recent.latest(turn % 90) in (None, -(turn % 90))

    in_threads(put_and_look)
    kept = [name for name in range(90) if recent.fresh(name) is not None]
    assert len(kept) == 50


@pytest.mark.parametrize("cached", [False, True])
def test_files_are_sent_whole(tmp_path: Path, cached: bool) -> None:
    for number in range(THREADS):
        (tmp_path / f"{number}.txt").write_text(str(number) * 1000)

    class Files(App):
        def file(self, name: str) -> Any:
            return micropie.static_file(name, tmp_path, cached=cached)

    app = Files()

    def ask(number: int) -> set[bool]:
        return {
            get(app, f"/file/{one % THREADS}.txt") == (200, str(one % THREADS).encode() * 1000)
            for one in range(number, number + 40)
        }

    assert in_threads(ask) == [{True}] * THREADS


# -- metrics ---------------------------------------------------------------------------------------


def test_metrics_count_every_request() -> None:
    registry = CollectorRegistry()
    app = Root()
    app.metrics("/metrics", registry=registry)

    def ask(_: int) -> set[int]:
        return {get(app)[0] for _ in range(TIMES // 4)}

    assert in_threads(ask) == [{200}] * THREADS
    labels = {"method": "GET", "route": "/", "status": "200"}
    assert registry.get_sample_value("http_requests_total", labels) == THREADS * (TIMES // 4)
    assert registry.get_sample_value("http_requests_in_flight") == 0


# -- what is made when it is first asked for -------------------------------------------------------


def test_all_threads_get_the_same_pool_and_channels() -> None:
    for _ in range(20):
        pool = ProcessPool(Settings(processes=1))
        assert is_one(partial(getattr, pool, "made"))
        assert is_one(partial(getattr, Root(), "channels"))
        pool.close()


def test_all_threads_get_equal_values_of_a_computed_attribute() -> None:
    class Owner:
        @computed
        def squares(self) -> list[int]:
            return [number * number for number in range(100)]

        def read(self, _: int) -> list[int]:
            return self.squares

    for _ in range(20):
        owner = Owner()
        found = in_threads(partial(Owner.read, owner))
        assert found == [[number * number for number in range(100)]] * THREADS
        assert owner.squares is owner.squares


def test_bounded_tables_return_the_right_value_for_each_text() -> None:
    names, upper = NameTable(str.upper, most=50), cached_if_short(50)(str.upper)

    def look_up(number: int) -> bool:
        texts = [f"name-{(number * 11 + turn) % 90}" for turn in range(TIMES * 5)]
        return all(names[text] == upper(text) == text.upper() for text in texts)

    assert all(in_threads(look_up))
    assert len(names) < 50 + THREADS  # each thread may have found room for one more


def test_each_event_loop_has_its_own_value() -> None:
    local: LoopLocal[list[int]] = LoopLocal(list)

    async def fill(number: int) -> list[int]:
        for _ in range(TIMES):
            local.get().append(number)
            await asyncio.sleep(0)
        return local.get()

    found = in_threads(lambda number: Counter(asyncio.run(fill(number))))
    assert found == [Counter({number: TIMES}) for number in range(THREADS)]


def test_a_call_that_coincides_with_the_loop_s_end_is_reported() -> None:
    async def answer() -> str:
        return "answer"

    def call_or_close(number: int) -> Counter[str]:
        ends = Counter[str]()
        for _ in range(30):
            if number == 0:
                close_background_loops()
                continue
            try:
                ends[await_in_background("asyncio", answer, ())] += 1
            except (CancelledError, RuntimeError):
                ends["told"] += 1
        return ends

    total = sum(in_threads(call_or_close), Counter[str]())
    assert total["answer"] + total["told"] == 30 * (THREADS - 1)
    assert await_in_background("asyncio", answer, ()) == "answer"
    close_background_loops()


# -- one application -------------------------------------------------------------------------------


class Echo(App):
    def index(self, number: int, request: Request) -> dict[str, Any]:
        return {"number": number, "query": request.query_string, "cookie": request.cookies}


def test_no_request_gets_data_of_another() -> None:
    app = Echo()

    def ask(number: int) -> set[tuple[int, bytes]]:
        path, cookie = f"/?number={number}", f"c={number}"
        return {get(app, path, HTTP_COOKIE=cookie) for _ in range(TIMES // 4)}

    for number, answers in enumerate(in_threads(ask)):
        assert len(answers) == 1
        status, body = answers.pop()
        assert status == 200
        assert f'"number":{number}'.encode() in body.replace(b" ", b"")
        assert f'"c":"{number}"'.encode() in body.replace(b" ", b"")
