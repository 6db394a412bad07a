"""What is particular to channels through Redis: connections that are lost, servers that are away,
other processes.
"""

from __future__ import annotations

import gc
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import anyio
import pytest
import redis
from anyio.lowlevel import checkpoint

from micropie import App, SetupError
from micropie._core.execution.steps import outage
from micropie._core.execution.steps import redis_client as redisclient
from micropie._core.execution.steps.redis_client import RedisClient
from micropie.channels import ChannelsUnreachable, MessagesLost, RedisChannels, Subscription, hub
from micropie.channels import redis as redischannels
from micropie.channels.hub import PAUSE
from micropie.channels.mailbox import Future
from tests.asgi.calls import run
from tests.support.clients import MakeClient
from tests.support.forwarder import Forwarder
from tests.support.ports import free_port
from tests.support.redis_server import hanging, redis_server
from tests.support.steps import steps_of
from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parent.parent.parent


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


def connections(client: Any) -> set[str]:
    """The ids of the server's connections: those that other tests have left may end meanwhile."""
    return {one["id"] for one in client.client_list()}


@pytest.fixture
def nowhere() -> str:
    """The URL of a server that is not there."""
    return f"redis://127.0.0.1:{free_port()}/0"


def test_threads_start_on_first_use(redis_url: str, threads: Callable[[], list[str]]) -> None:
    channels = RedisChannels(redis_url)
    assert threads() == []
    channels.publish("room", 1)
    assert threads() == ["micropie-channels-publisher"]
    with channels.subscribe("room"), channels.subscribe("other"):
        assert threads() == ["micropie-channels-listener", "micropie-channels-publisher"]
    channels.close()
    assert threads() == []
    channels.close()


def test_a_thread_started_by_close_ends_with_it(
    redis_url: str, threads: Callable[[], list[str]]
) -> None:
    channels = RedisChannels(redis_url)
    with channels.subscribe("room"):
        # and the publisher, if the listener was quick to connect
        assert "micropie-channels-listener" in threads()
        # whose word to the listener is the first message that is published, most often
        channels.close()
        assert threads() == []


def test_a_process_has_two_connections(redis_url: str) -> None:
    channels = RedisChannels(redis_url, prefix="two:")
    client = redis.Redis.from_url(redis_url)
    before = connections(client)
    with channels.subscribe(*map(str, range(50))) as messages, channels.subscribe("0"):
        for number in range(50):
            channels.publish(str(number), number)
        assert [messages.get() for _ in range(50)] == list(range(50))
        assert len(connections(client) - before) == 2
    channels.close()
    until(lambda: connections(client) <= before)
    client.close()


def test_redis_is_unsubscribed_from_unused_channels(redis_url: str) -> None:
    channels = RedisChannels(redis_url, prefix="unwanted:")
    client = redis.Redis.from_url(redis_url)
    for _ in range(20):
        with channels.subscribe("a", "b") as messages, channels.subscribe("b"):
            channels.publish("a", 1)
            assert messages.get() == 1
        # at once: it may be told to go and to come in one go
        with channels.subscribe("b") as messages:
            channels.publish("b", 2)
            assert messages.get() == 2
    until(lambda: client.pubsub_channels("unwanted:?") == [])
    channels.close()
    client.close()


def test_an_acl_may_allow_only_the_prefix(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        allowed = "&shop:*", "+@connection", "+publish", "+subscribe", "+unsubscribe"
        client.execute_command("ACL", "SETUSER", "shop", "on", ">sesame", *allowed)
        channels = RedisChannels(redis_url.replace("//", "//shop:sesame@"), prefix="shop:")
        with channels.subscribe("room") as messages:
            channels.publish("room", 1)
            assert messages.get() == 1
        channels.close()
        client.execute_command("ACL", "DELUSER", "shop")


@pytest.mark.parametrize("url", ["", "localhost", "http://localhost", None, 5])
def test_an_invalid_url_is_refused_immediately(url: Any) -> None:
    with pytest.raises(SetupError, match="RedisChannels takes a URL"):
        RedisChannels(url)


def test_the_missing_redis_client_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redisclient, "redis", None)
    with pytest.raises(SetupError, match=r"micropie-dual\[redis\]"):
        RedisChannels("redis://localhost")


# -- a server that is away -------------------------------------------------------------------------


@pytest.mark.processes
def test_a_missing_server_raises_an_error_immediately(nowhere: str) -> None:
    channels = RedisChannels(nowhere)
    for _ in range(2):
        with pytest.raises(
            ConnectionError, match=r"'channel:room' was not published: .* is unavailable"
        ):
            channels.publish("room", 1)
        with pytest.raises(ConnectionError, match=r"can't subscribe to a, b: .* is unavailable"):
            channels.subscribe("b", "a").__enter__()
    assert channels._mailboxes == {}
    channels.close()


@pytest.mark.processes
def test_a_missing_server_raises_an_error_in_a_task(backend: str, nowhere: str) -> None:
    channels = RedisChannels(nowhere)

    async def check() -> None:
        with pytest.raises(ConnectionError, match="was not published"):
            await channels.publish("room", 1)
        with pytest.raises(ConnectionError, match="subscribe to room"):
            await channels.subscribe("room").__aenter__()
        assert channels._mailboxes == {}

    run(backend, check)
    channels.close()


@pytest.mark.processes
def test_only_one_message_waits_for_a_hanging_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(outage, "monotonic", lambda: now)
    monkeypatch.setattr(redischannels, "TIMEOUT", 0.1)
    with redis_server(tmp_path) as url:
        channels = RedisChannels(url)
        with hanging(url) as go_on:
            with pytest.raises(ChannelsUnreachable, match="is unavailable"):
                channels.publish("room", 1)
            monkeypatch.setattr(channels, "_client", RedisClient("RedisChannels", url, PATIENCE))
            assert channels._publisher is not None
            monkeypatch.setattr(channels._publisher, "_client", channels._client)
            trial = channels.send("channel:room", b"2", 10)
            until(channels._publisher._outage.lasts)
            for _ in range(3):
                with pytest.raises(
                    ChannelsUnreachable,
                    match=r"'channel:room' was not published: Redis is unavailable",
                ):
                    channels.publish("room", 3)
            go_on()
            trial.block()
        channels.publish("room", 4)
        channels.close()


@pytest.mark.processes
def test_a_server_that_does_not_respond_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redischannels, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        channels = RedisChannels(f"redis://127.0.0.1:{server.getsockname()[1]}/0")
        with pytest.raises(ConnectionError, match="is unavailable"):
            channels.publish("room", 1)
        with pytest.raises(ConnectionError, match="is unavailable"):
            channels.subscribe("room").__enter__()
        channels.close()


class Site(App):
    def say(self) -> str:
        self.channels.publish("room", 1)
        return "said"

    async def say_too(self) -> str:
        await self.channels.publish("room", 1)
        return "said"

    async def listen(self) -> str:
        async with self.channels.subscribe("room"):
            return "heard"

    async def careful(self) -> str:
        try:
            await self.channels.publish("room", 1)
        except ConnectionError:
            return "later"
        return "said"


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every message is tried in an outage: none is refused because the one before took its time to
    fail.
    """
    monkeypatch.setattr(outage, "monotonic", lambda: 1000.0)


@pytest.mark.processes
@pytest.mark.usefixtures("no_pause")
def test_R57_an_outage_gets_clients_a_503_and_two_log_lines(
    make_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    channels = RedisChannels(f"redis://127.0.0.1:{port}/0")
    client = make_client(Site(channels=channels))
    for path in ("/say", "/say_too", "/listen") * 2:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.text == "The message broker is unavailable. Please try again in a moment."
    assert client.get("/careful").text == "later"
    with redis_server(tmp_path, port):
        answers = [client.get(path).text for path in ("/say", "/listen", "/careful")]
        assert answers == ["said", "heard", "said"]
        assert client.get("/say").status_code == 200
        channels.close()
    lines = [
        record.getMessage().partition(": C")[0].partition(": the")[0]
        for record in caplog.records
        if record.levelname != "INFO"
    ]
    assert sorted(lines) == [
        "RedisChannels can't subscribe",
        "RedisChannels: Redis is available again",
        "RedisChannels: Redis is unavailable, so messages are not published",
    ]


def test_the_error_for_an_unavailable_server_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(ChannelsUnreachable("no Redis")))
    assert (str(error), error.status, error.headers) == ("no Redis", 503, [("Retry-After", "5")])
    assert isinstance(error, ConnectionError)


@pytest.mark.processes
def test_a_failure_that_nobody_awaits_is_logged(
    nowhere: str, caplog: pytest.LogCaptureFixture
) -> None:
    channels = RedisChannels(nowhere)

    async def forget_to_await() -> None:
        channels.publish("room", 1)

    run("asyncio", forget_to_await)
    channels.close()
    gc.collect()
    assert "a message to 'channel:room' was not published" in caplog.text


def test_too_many_waiting_messages_raise_an_error(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redischannels, "MOST_WAITING", 0)
    channels = RedisChannels(redis_url)
    with pytest.raises(ConnectionError, match="0 messages are already waiting"):
        channels.publish("room", 1)
    with channels.subscribe("a"):  # needs none of them
        pass
    channels.close()


def test_messages_waiting_when_the_publisher_closes_are_sent(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = RedisChannels(redis_url)
    go_on = threading.Event()
    reached = channels._client.reached

    @contextmanager
    def reached_later() -> Iterator[Any]:
        go_on.wait(PATIENCE)
        with reached() as client:
            yield client

    monkeypatch.setattr(channels._client, "reached", reached_later)
    first = channels.send("channel:room", b"1")
    publisher = channels._publisher
    assert publisher is not None
    until(publisher._waiting.empty)
    second = channels.send("channel:room", b"2")
    publisher.close()
    go_on.set()
    first.block()
    second.block()
    channels.close()


def test_a_subscriber_waiting_for_an_unreachable_listener_gets_an_error(
    redis_url: str, nowhere: str
) -> None:
    channels = RedisChannels(redis_url)
    with channels.subscribe("a") as messages:
        channels.publish("a", 1)
        assert messages.get(timeout=30) == 1  # the listener has had all that woke it
        assert channels._publisher is not None
        there = channels._publisher._client
        channels._publisher._client = RedisClient("Elsewhere", nowhere, 1)
        with pytest.raises(ConnectionError, match="can't subscribe to b: the Redis of Elsewhere"):
            channels.subscribe("b").__enter__()
        channels._publisher._client = there
    channels.close()


def test_R57_many_subscribers_that_come_at_once_take_linear_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As after a restart of the worker: Redis confirms none before all have come."""
    monkeypatch.setattr(redischannels, "TIMEOUT", PATIENCE)
    monkeypatch.setattr(redischannels._Listener, "start", lambda self: None)
    sent = Future("not sent")
    sent.settle()
    monkeypatch.setattr(RedisChannels, "send", lambda *_: sent)

    def come_and_go(size: int) -> None:
        channels, connection = RedisChannels("redis://localhost"), MagicMock()
        listener = channels._listener = redischannels._Listener(channels)
        joined = []
        for number in range(size):
            one = channels.subscribe(str(number))
            joined.append((one, channels.join(one._mailbox, one)))
            listener._receive(connection, {"type": "message", "channel": listener._control})
        asked = [name for call in connection.subscribe.mock_calls for name in call.args]
        for name in asked:
            assert listener._patience() > 0
            listener._receive(connection, {"type": "subscribe", "channel": name})
        for one, future in joined:
            assert future is not None
            assert future.failure() == ""
            channels.leave(one._mailbox, one.channels)
            listener._receive(connection, {"type": "message", "channel": listener._control})
        assert (listener._requested, len(asked)) == (set(), size)

    once, four_times = (steps_of(come_and_go, size) for size in (100, 400))
    assert four_times <= 4 * once


def test_a_subscriber_that_leaves_before_its_confirmation_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redischannels._Listener, "start", lambda self: None)
    sent = Future("not sent")
    sent.settle()
    monkeypatch.setattr(RedisChannels, "send", lambda *_: sent)
    channels, connection = RedisChannels("redis://localhost"), MagicMock()
    listener = channels._listener = redischannels._Listener(channels)
    for name in ("before the connection", "before the request"):
        one = channels.subscribe(name)
        channels.join(one._mailbox, one)
        assert [*listener._joining] == [name]
        channels.leave(one._mailbox, one.channels)
        listener._receive(connection, {"type": "message", "channel": listener._control})
        assert (listener._joining, listener._requested) == ({}, set())
    connection.subscribe.assert_not_called()


def test_a_late_confirmation_is_ignored(redis_url: str) -> None:
    channels = RedisChannels(redis_url)
    with channels.subscribe("a") as messages:
        listener = channels._listener
        assert listener is not None
        listener._unconfirmed["b"] = 2
        listener._confirm("b")
        assert (listener._unconfirmed, listener._requested) == ({"b": 1}, {"a"})
        listener._confirm("b")
        assert (listener._unconfirmed, listener._requested) == ({}, {"a"})
        assert messages.get(timeout=0) is None
    channels.close()


def test_a_message_refused_by_redis_fails_alone(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.acl_setuser(
        "few", enabled=True, nopass=True, categories=["+@all"], channels=["mine:*", "micropie-*"]
    )
    channels = RedisChannels(redis_url.replace("redis://", "redis://few:x@"), prefix="")
    outcomes = []

    async def publish() -> None:
        for name in ("mine:1", "other", "mine:2"):
            try:
                await channels.publish(name, 1)
                outcomes.append("published")
            except ConnectionError as error:
                outcomes.append(str(error)[-40:])

    run("asyncio", publish)
    assert outcomes == ["published", outcomes[1], "published"]
    assert "channel" in outcomes[1]
    channels.close()
    client.acl_deluser("few")
    client.close()


# -- a connection that is lost ---------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.usefixtures("no_pause")
def test_R57_a_subscription_survives_the_server_s_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_server(tmp_path) as url:
        channels = RedisChannels(url)
        messages = channels.subscribe("room").__enter__()
        strict = channels.subscribe("room", when_full="close").__enter__()
        channels.publish("room", "before")
        assert (messages.get(), messages.gaps) == ("before", 0)
    until(lambda: messages.gaps)
    assert strict.get() == "before"
    with pytest.raises(MessagesLost, match="connection to Redis was lost"):
        strict.get()
    with pytest.raises(ConnectionError):
        channels.publish("room", "lost")
    with pytest.raises(ConnectionError):
        channels.subscribe("room").__enter__()
    with redis_server(tmp_path, port_of(url)):
        with redis.Redis.from_url(url) as client:
            until(lambda: client.pubsub_numsub("channel:room")[0][1])
        channels.publish("room", "after")
        assert (messages.get(timeout=30), messages.gaps, strict.gaps) == ("after", 1, 1)
        messages.__exit__()
        strict.__exit__()
        channels.close()
    assert caplog.text.count("lost its connection") == 1


def _has_gaps(messages: Subscription, count: int) -> bool:
    return messages.gaps == count


def test_a_broken_connection_is_opened_again(redis_url: str) -> None:
    channels = RedisChannels(redis_url, prefix="cut:")
    client = redis.Redis.from_url(redis_url)
    with channels.subscribe("room") as messages:
        for number in range(1, 4):
            client.client_kill_filter(_type="pubsub")
            until(partial(_has_gaps, messages, number))
            with channels.subscribe("other"):  # which waits until the listener is back
                until(lambda: client.pubsub_numsub("cut:room")[0][1])
                channels.publish("room", number)
                assert messages.get(timeout=30) == number
    channels.close()
    client.close()


@pytest.mark.processes
def test_a_silent_server_counts_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redischannels, "SILENCE", 0.3)
    monkeypatch.setattr(redischannels, "_BETWEEN_LOOKS", 0.1)
    with redis_server(tmp_path) as url:
        channels = RedisChannels(url)
        client: Any = redis.Redis.from_url(url)

        def questions() -> int:
            return int(client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

        with channels.subscribe("room") as messages:
            before = questions()
            until(lambda: questions() > before + 1)
            assert messages.gaps == 0  # it was asked twice, so it has answered
            monkeypatch.setattr(redischannels, "ANSWER_WITHIN", 0.3)
            with hanging(url):
                until(lambda: messages.gaps)
        client.close()
        channels.close()


def test_R57_a_dead_connection_is_replaced_once_another_one_works(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Long before micropie gives up a server that does not respond."""
    monkeypatch.setattr(redischannels, "SILENCE", 0.3)
    monkeypatch.setattr(redischannels, "ANSWER_WITHIN", 3600.0)
    with Forwarder(int(redis_url.rpartition(":")[2].partition("/")[0])) as forwarder:
        channels = RedisChannels(f"redis://127.0.0.1:{forwarder.port}/0", prefix="forgotten:")
        others = RedisChannels(redis_url, prefix="forgotten:")
        with channels.subscribe("room") as messages:
            forwarder.forget()
            until(lambda: messages.gaps)
            with channels.subscribe("room"):  # which waits until the listener is back
                others.publish("room", "text")
                assert messages.get(timeout=30) == "text"
        channels.close()
        others.close()
    assert "RedisChannels lost its connection" in caplog.text


def test_R57_an_unreadable_message_is_skipped(
    redis_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another program's mistake ends nobody's stream."""
    channels = RedisChannels(redis_url, prefix="odd:")
    client = redis.Redis.from_url(redis_url)
    broken = [b"\xff", b'"\xff"', b"", b"{", b"NaN", b"[" * 1100, b'"\\ud800"']
    with channels.subscribe("room") as messages, channels.subscribe("room") as others:
        for document in broken:
            client.publish("odd:room", document)
        channels.publish("room", "fine")
        for each in (messages, others):
            assert each.get(timeout=30) == "fine"
            assert (each.dropped, each.gaps) == (len(broken), 0)
    channels.close()
    client.close()
    lines = [line for line in caplog.messages if "can't be decoded" in line]
    assert 0 < len(lines) == len({*lines})
    assert all("channel 'room'" in line for line in lines)


def test_the_listener_pauses_once_for_all_queues_that_grow(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = RedisChannels(redis_url)
    paused: list[float] = []
    monkeypatch.setattr(time, "sleep", paused.append)
    with ExitStack() as subscriptions:
        for number in range(16):  # each queue has another length
            subscriptions.enter_context(channels.subscribe("room"))
            channels.receive("room", str(number))
        assert paused == [PAUSE]
        for number in range(16 * 3):
            channels.receive("room", str(number))
        assert paused == [PAUSE] * 4
    channels.close()


def test_R57_whoever_publishes_waits_while_a_queue_grows(
    backend: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = RedisChannels(redis_url)
    taken: list[object] = []

    async def check() -> None:
        async with channels.subscribe("room") as messages:

            async def turn() -> None:
                await checkpoint()
                taken.append(messages.take_text())

            with monkeypatch.context() as patched:
                patched.setattr(anyio.lowlevel, "cancel_shielded_checkpoint", turn)
                for number in range(18):
                    channels.deliver("room", str(number))
                await channels.publish("other", "")
            assert taken == ["0", "1", "2"]

    run(backend, check)
    with channels.subscribe("room") as messages:

        def pause(seconds: float) -> None:
            taken.append(messages.take_text())

        monkeypatch.setattr(hub, "sleep", pause)
        for number in range(17):
            channels.deliver("room", str(number))
        channels.publish("other", "")
        assert taken[3:] == ["0", "1"]
    channels.close()


@pytest.mark.processes
def test_without_subscribers_the_listener_does_not_reconnect(tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        channels = RedisChannels(url)
        with channels.subscribe("room"):
            pass
    until(lambda: channels._listener is not None and not channels._listener._is_connected)
    time.sleep(0.1)
    with redis_server(tmp_path, port_of(url)):
        client = redis.Redis.from_url(url)
        time.sleep(0.3)
        assert len(client.client_list()) == 1
        with channels.subscribe("room") as messages:
            channels.publish("room", 1)
            assert (messages.get(), messages.gaps) == (1, 0)
        channels.close()
        client.close()


# -- processes -------------------------------------------------------------------------------------

ECHO = """
import sys
import threading
from micropie.channels import RedisChannels
channels = RedisChannels(sys.argv[1], prefix="echo:")
with channels.subscribe("to") as messages:
    print("ready", flush=True)
    for message in messages:
        channels.publish("from", message + 1)
        if message > 8:
            break
channels.close()
"""


def test_two_processes_exchange_messages(redis_url: str) -> None:
    channels = RedisChannels(redis_url, prefix="echo:")
    child = subprocess.Popen(
        [sys.executable, "-c", ECHO, redis_url],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ},
    )
    assert child.stdout is not None
    with child.stdout, channels.subscribe("from") as messages:
        assert child.stdout.readline() == b"ready\n"
        for number in range(10):
            channels.publish("to", number)
            assert messages.get(timeout=30) == number + 1
        assert child.wait(30) == 0
    channels.close()


# -- outcomes --------------------------------------------------------------------------------------


def test_only_the_first_outcome_counts() -> None:
    outcome = Future("it")
    calls = []
    outcome.add_done_callback(lambda _: calls.append("done"))
    outcome.settle()
    outcome.settle("too late")
    outcome.block()
    assert (calls, outcome.failure()) == (["done"], "")
