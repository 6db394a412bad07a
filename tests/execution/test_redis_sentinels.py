"""Redis by its Sentinels: real primaries, replicas and Sentinels."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from urllib.parse import quote

import anyio
import pytest
import redis

from micropie import SetupError
from micropie._core.execution.placement import Threads
from micropie._core.execution.steps import redis_client
from micropie._core.execution.steps.redis_client import RedisClient
from micropie._core.execution.threads import Slots
from micropie.channels import RedisChannels
from micropie.channels import redis as of_channels
from micropie.middleware import RedisRates
from micropie.sessions import RedisSessionBackend
from tests.execution.test_redis_client import Visits
from tests.support.clients import MakeClient
from tests.support.forwarder import Forwarder
from tests.support.ports import free_port
from tests.support.redis_server import (
    hanging,
    impatient,
    missing_program,
    published,
    received,
    redis_server,
    sentinel_server,
)
from tests.support.waiting import PATIENCE, until

# Seconds within which the replica becomes the primary. A Sentinel whose machine was stopped for
# two seconds changes nothing for 30 s (its TILT mode), and may meet that twice.
FAIL_OVER_WITHIN = 3 * PATIENCE


def folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


class Watched:
    """A primary, its replica, and the Sentinel that watches them."""

    def __init__(self, primary: str, replica: str, sentinel: int) -> None:
        self.primary, self.replica, self.sentinel = primary, replica, sentinel
        self.url = f"redis+sentinel://127.0.0.1:{sentinel}/mymaster/0"

    def asked(self) -> dict[str, Any]:
        """What the Sentinel knows."""
        with redis.Redis(port=self.sentinel, decode_responses=True) as client:
            masters: Any = client.sentinel_masters()
            return dict(masters["mymaster"])

    def until_the_replica_is_the_primary(self) -> None:
        until(lambda: self.asked()["port"] == port_of(self.replica), FAIL_OVER_WITHIN)
        with redis.Redis.from_url(self.replica, decode_responses=True) as client:
            until(lambda: client.info("replication")["role"] == "master")


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with redis_server(folder(tmp_path, "primary")) as primary:
        options = ["--replicaof", "127.0.0.1", str(port_of(primary))]
        with redis.Redis.from_url(primary) as client:
            client.config_set("repl-diskless-sync-delay", 0)
        with (
            redis_server(folder(tmp_path, "replica"), 0, options) as replica,
            redis.Redis.from_url(replica) as follower,
        ):
            until(lambda: follower.info("replication")["master_link_status"] == "up")
            with sentinel_server(folder(tmp_path, "sentinel"), port_of(primary)) as sentinel:
                watched = Watched(primary, replica, sentinel)
                until(lambda: watched.asked()["num-slaves"] == 1)
                yield watched


@contextmanager
def told(watched: Watched) -> Iterator[None]:
    """An operator has the Sentinel change the primary, which goes on as a replica."""
    with redis.Redis(port=watched.sentinel) as client:

        def is_begun() -> bool:
            # refused until the Sentinel knows that the replica is good
            with suppress(redis.ResponseError):
                return bool(client.sentinel_failover("mymaster"))
            return False

        until(is_begun)
    watched.until_the_replica_is_the_primary()
    yield


@contextmanager
def killed(watched: Watched) -> Iterator[None]:
    with redis.Redis.from_url(watched.primary) as client:
        process = int(client.info("server")["process_id"])
    os.kill(process, signal.SIGKILL)
    with impatient(watched.sentinel):
        watched.until_the_replica_is_the_primary()
    yield


@contextmanager
def hung(watched: Watched) -> Iterator[None]:
    """The primary stands still, and its connections stay open."""
    with hanging(watched.primary):
        with impatient(watched.sentinel):
            watched.until_the_replica_is_the_primary()
        yield


FAILURES = pytest.mark.parametrize("fail_over", [told, killed, hung])


@FAILURES
def test_R57_sessions_follow_the_sentinel_s_primary(
    make_client: MakeClient,
    watched: Watched,
    fail_over: Callable[[Watched], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # an old primary takes, and forgets, what is written in the second that an answer stands for
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 0.0)
    client = make_client(Visits(session_backend=RedisSessionBackend(watched.url)))
    assert client.post("/count").text == "1"
    with redis.Redis.from_url(watched.replica) as replica:
        until(lambda: list(replica.scan_iter("session:*")))
    with fail_over(watched):
        answers: list[str] = []

        def is_counted() -> bool:
            answer = client.post("/count")
            assert answer.status_code in (200, 503)
            answers.append(answer.text)
            return answer.status_code == 200

        until(is_counted)
        assert answers[-1] == "2"
        assert client.post("/count").text == "3"


@FAILURES
def test_R57_rates_follow_the_sentinel_s_primary(
    watched: Watched, fail_over: Callable[[Watched], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 0.0)
    rates = RedisRates(watched.url)
    assert rates.hit("somebody", 2, 3600).allowed
    with redis.Redis.from_url(watched.replica) as replica:
        until(lambda: replica.exists("rate:somebody"))
    with fail_over(watched):
        allowed: list[bool] = []

        def is_asked() -> bool:
            with suppress(ConnectionError):
                allowed.append(rates.hit("somebody", 2, 3600).allowed)
            return bool(allowed)

        until(is_asked)
        assert allowed == [True]
        assert not rates.hit("somebody", 2, 3600).allowed
    rates.close()


@FAILURES
def test_R57_no_message_is_lost_after_a_failover(
    watched: Watched, fail_over: Callable[[Watched], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 0.0)
    monkeypatch.setattr(of_channels, "PAUSES", (0.01, 0.1))
    publisher, others = RedisChannels(watched.url), RedisChannels(watched.url)
    with others.subscribe("room") as messages:
        publisher.publish("room", "before")
        assert messages.get(timeout=30) == "before"
        with fail_over(watched), redis.Redis.from_url(watched.replica) as client:
            until(lambda: client.pubsub_numsub("channel:room")[0][1])
            assert messages.gaps == 1
            acknowledged = published(publisher)
            assert received(messages, acknowledged) == acknowledged
    publisher.close()
    others.close()


def test_a_listener_that_connects_during_a_failover_keeps_its_connection(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leads to the new primary already, whatever was the primary just before."""
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 0.0)
    subscribe, fail_overs = redis.client.PubSub.subscribe, [told]

    def connect(self: redis.client.PubSub, *names: str) -> None:
        while fail_overs:
            with fail_overs.pop()(watched):
                pass
        subscribe(self, *names)

    monkeypatch.setattr(redis.client.PubSub, "subscribe", connect)
    channels = RedisChannels(watched.url)
    with channels.subscribe("room") as messages:
        acknowledged = published(channels)
        assert received(messages, acknowledged) == acknowledged
        assert messages.gaps == 0
    channels.close()


def test_redis_and_sentinels_can_have_different_passwords(tmp_path: Path) -> None:
    secret, other = "a/b#c?d@e%f:g,h i", "x/y@z"
    with (
        redis_server(folder(tmp_path, "primary")) as primary,
        redis.Redis.from_url(primary) as admin,
        sentinel_server(
            folder(tmp_path, "sentinel"), port_of(primary), [f'requirepass "{other}"']
        ) as sentinel,
    ):
        admin.acl_setuser(
            "me", enabled=True, passwords=[f"+{secret}"], categories=["+@all"], keys="*"
        )
        admin.acl_setuser("default", enabled=False)
        place = f"127.0.0.1:{sentinel}/mymaster/1"
        user = f"me:{quote(secret, safe='')}"
        good = RedisClient(
            "a test",
            f"redis+sentinel://{user}@{place}?sentinel_password={quote(other, safe='')}",
            5,
        )
        with good.reached() as client:
            assert client.client_info()["db"] == 1
            assert client.acl_whoami() == "me"
        good.close()
        for url in (
            f"redis+sentinel://{user}@{place}",
            f"redis+sentinel://{user}@{place}?sentinel_password=wrong-one",
            f"redis+sentinel://me:wrong-one@{place}?sentinel_password={quote(other, safe='')}",
        ):
            bad = RedisClient("a test", url, 5)
            with pytest.raises(ConnectionError) as caught:
                bad.ping()
            said = "".join(traceback.format_exception(caught.value))
            assert "wrong-one" not in said
            assert secret not in said
            assert other not in said
            bad.close()


def test_a_failing_sentinel_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next question goes to the one that has answered."""
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 0.0)
    with (
        redis_server(folder(tmp_path, "primary")) as primary,
        sentinel_server(folder(tmp_path, "sentinel"), port_of(primary)) as sentinel,
        Forwarder(port_of(primary)) as no_sentinel,
    ):
        nobody = free_port()
        client = RedisClient(
            "a test",
            f"redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{no_sentinel.port},"
            f"127.0.0.1:{sentinel}/mymaster",
            5,
        )
        for _ in range(3):
            client.ping()
            client.close()
            assert no_sentinel.connections == 1


def test_redis_is_used_while_no_sentinel_responds(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 0.0)
    monkeypatch.setattr(redis_client, "_SENTINEL_PATIENCE", 0.1)
    client = RedisClient("a test", watched.url, 5)

    def is_reached() -> bool:
        with suppress(ConnectionError):  # the Sentinel may need longer on a busy machine
            client.ping()
            return True
        return False

    until(is_reached)
    place = client.place()
    assert place == ("127.0.0.1", port_of(watched.primary))
    with hanging(f"redis://127.0.0.1:{watched.sentinel}"):
        for _ in range(2):
            client.ping()
            assert client.place() == place
            client.close()  # the next ping needs a new connection
    client.close()


def test_the_sentinels_answer_replaces_the_known_primary(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 0.0)
    monkeypatch.setattr(redis_client, "_AFTER_NO_ANSWER", 0.0)
    sentinels = redis_client._Sentinels(
        redis_client._Primary("shop", [("one", 1)], {}, {}), {"socket_timeout": 1.0}
    )
    known, silence = ("10.0.0.1", 6379), redis_client._Silence("silent")
    answers: list[Any] = [silence, known, silence, silence, "it is down", silence, known]
    monkeypatch.setattr(sentinels, "_ask", lambda name: answers.pop(0))
    found: list[object] = []
    while answers:
        try:
            found.append(sentinels.discover_master("shop"))
        except redis.ConnectionError as error:
            found.append(str(error))
    assert found == ["silent", known, known, known, "it is down", "silent", known]


def test_sentinels_with_unresolvable_names_are_asked_once_for_all_waiters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends = Event()
    asked: list[object] = []

    def looked_up(*arguments: Any) -> Any:
        asked.append(arguments[0])
        ends.wait(PATIENCE)
        raise OSError

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(redis_client, "_SENTINEL_PATIENCE", 0.05)
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 3600.0)
    monkeypatch.setattr(redis_client, "_AFTER_NO_ANSWER", 3600.0)
    names = ["one.example", "two.example", "three.example"]
    client = RedisClient("a test", f"redis+sentinel://{','.join(names)}/mymaster", 5)

    def failure(_: int) -> str:
        with pytest.raises(ConnectionError) as caught:
            client.ping()
        return str(caught.value)

    with ThreadPoolExecutor(4) as threads:
        said = {*threads.map(failure, range(4))}
    reasons = [f"{name}:26379: no DNS server has responded for {name!r}" for name in names]
    expected = f"no Sentinel gave a usable address for the primary 'mymaster': {'; '.join(reasons)}"
    assert said == {f"the Redis of a test is unavailable: {expected}"}
    assert asked == names
    ends.set()


def test_several_silent_sentinels_share_one_time_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []

    def silent(host: str, patience: float) -> None:
        waits.append(patience)
        raise redis.TimeoutError

    monkeypatch.setattr(redis_client, "_look_up", silent)
    client = RedisClient("a test", "redis+sentinel://one,two,three/mymaster", 1.0)
    with pytest.raises(ConnectionError):
        client.ping()
    assert sum(waits) == pytest.approx(1.0)


def test_a_primary_with_an_unresolvable_name_is_unavailable_with_a_reason(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = redis_client._look_up

    def looked_up(host: str, patience: float | None) -> None:
        if host == "127.0.0.1":  # as the Sentinel says where the primary is
            raise redis.TimeoutError(f"no DNS server has responded for {host!r}")
        look_up(host, patience)

    monkeypatch.setattr(redis_client, "_look_up", looked_up)
    client = RedisClient("a test", watched.url.replace("127.0.0.1", "localhost"), PATIENCE)
    with pytest.raises(
        ConnectionError,
        match="is unavailable: no DNS server has responded for ",
    ):
        client.ping()


def test_the_known_primary_is_used_while_one_thread_asks_the_sentinels(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, is_asking = Event(), Event()
    look_up = socket.getaddrinfo

    def looked_up(*arguments: Any) -> Any:
        if arguments[0] == "localhost":  # where the Sentinel is
            is_asking.set()
            answers.wait(PATIENCE)
        return look_up(*arguments)

    monkeypatch.setattr(redis_client, "_SENTINEL_PATIENCE", PATIENCE)
    monkeypatch.setattr(redis_client, "_BETWEEN_QUESTIONS", 0.0)
    client = RedisClient("a test", watched.url.replace("127.0.0.1", "localhost"), PATIENCE)
    client.ping()
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    with ThreadPoolExecutor(1) as threads:
        asking = threads.submit(client.place)
        assert is_asking.wait(PATIENCE)
        client.ping()
        client.close()
        client.ping()  # over a new connection
        assert not asking.done()
        answers.set()
        assert asking.result(PATIENCE) == ("127.0.0.1", port_of(watched.primary))
    client.close()


def test_the_error_quotes_the_sentinels(tmp_path: Path) -> None:
    with (
        redis_server(folder(tmp_path, "primary")) as primary,
        sentinel_server(folder(tmp_path, "sentinel"), port_of(primary)) as sentinel,
    ):
        url = f"redis+sentinel://127.0.0.1:{sentinel}"
        with pytest.raises(
            ConnectionError,
            match=f"no Sentinel gave a usable address for the primary 'other name': 127.0.0.1:{sentinel} does not",
        ):
            RedisClient("a test", f"{url}/other%20name", 5).ping()
        client = RedisClient("a test", f"{url}/mymaster", 5)
        with hanging(primary), impatient(sentinel):

            def is_down() -> bool:
                client.close()
                with pytest.raises(ConnectionError) as caught:
                    client.ping()
                return "reports that the primary is down" in str(caught.value)

            until(is_down)


async def answer(client: RedisClient) -> object:
    """Return the response to a command that an event loop sends."""
    return await Slots(Threads(1)).perform(client.ask(monotonic() + PATIENCE, "PING"), None)


def test_sentinels_and_redis_can_be_reached_by_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_client, "_SENTINEL_PATIENCE", PATIENCE)
    openssl = shutil.which("openssl") or missing_program("openssl")
    subprocess.run(
        shlex.split(
            f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch "
            "-subj /CN=redis -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout key.pem -out cert.pem"
        ),
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    lines = [
        f"tls-cert-file {tmp_path}/cert.pem",
        f"tls-key-file {tmp_path}/key.pem",
        f"tls-ca-cert-file {tmp_path}/cert.pem",
        "tls-auth-clients no",
        "tls-replication yes",
    ]
    port, sentinel = free_port(), free_port()
    options = f"--tls-port {port} --{' --'.join(lines)}".split()
    with (
        redis_server(folder(tmp_path, "primary"), 0, options),
        sentinel_server(folder(tmp_path, "sentinel"), port, [*lines, f"tls-port {sentinel}"]),
    ):
        for url in (
            f"rediss+sentinel://127.0.0.1:{sentinel}/mymaster",
            f"rediss://127.0.0.1:{port}/0",
            f"rediss://localhost:{port}/0",
            f"valkeys+sentinel://127.0.0.1:{sentinel}/mymaster",
            f"valkeys://localhost:{port}/0",
        ):
            client = RedisClient("a test", f"{url}?ssl_ca_certs={tmp_path}/cert.pem", PATIENCE)
            client.ping()
            assert anyio.run(answer, client) == "PONG"
            client.close()
            with pytest.raises(ConnectionError, match="certificate verify failed"):
                RedisClient("a test", url, PATIENCE).ping()


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://host",
        "redis+sentinel://host:26379/",
        "redis+sentinel:///mymaster",
        "redis+sentinel://host,/mymaster",
        "redis+sentinel://host,:26379/mymaster",
        "redis+sentinel://host:hun/mymaster",
        "redis+sentinel://host:99999/mymaster",
        "redis+sentinel://host/mymaster/hun",
        "redis+sentinel://host/mymaster/0/1",
        "redis+sentinel://host/mymaster?db=hun",
        "http+sentinel://host/mymaster",
        "unix+sentinel://host/mymaster",
        "redis+cluster://:hunter2@host/0",
        "redis://hun..ter2:6379/0",  # no resolver takes these names
        f"redis://{'hun' * 22}:6379/0",
        "redis+sentinel://host,hun..ter2/mymaster",
        *(
            f"{scheme}://{user}:{password}@host:1/mymaster/0"
            for scheme in ("redis", "rediss", "redis+sentinel", "rediss+sentinel")
            for user in ("", "me")
            for password in ("hun/ter2", "hun#ter2", "hun?ter2", "12/hun", "12#hun", "12?hun")
        ),
    ],
)
def test_a_malformed_url_fails_at_setup(url: str) -> None:
    with pytest.raises(
        SetupError, match=r"^a test takes a URL such as redis://localhost"
    ) as caught:
        RedisClient("a test", url, 5)
    assert "hun" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://:6379/0",
        "redis://host?password=a@b",
        "redis://host/0?db=1&username=a@b",
        "unix:///run/red@is.sock",
        "redis+sentinel://host/mymaster",
        "redis+sentinel://[::1]:1,[::1],host/mymaster/",
        "redis+sentinel://host/mymaster?sentinel_password=a@b",
    ],
)
def test_a_valid_sentinel_url_is_accepted(url: str) -> None:
    RedisClient("a test", url, 5).close()
