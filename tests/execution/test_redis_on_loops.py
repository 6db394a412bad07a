"""Commands to Redis on an event loop: a thread is needed only to connect, and after an error."""

from __future__ import annotations

import gc
import select
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import wraps
from queue import SimpleQueue
from time import monotonic
from typing import Any

import anyio
import pytest
import redis

from micropie import App, Request
from micropie._core.execution import threads as workers
from micropie._core.execution.call_steps import in_this_thread
from micropie._core.execution.placement import Threads
from micropie._core.execution.steps import redis_client
from micropie._core.execution.steps.redis_client import RedisClient
from micropie._core.execution.threads import Slots, slots_of
from micropie.sessions import RedisSessionBackend, SessionBackend
from tests.support.accepting import Accepting
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE, until, until_async

LOOPS: dict[str, dict[str, Any]] = {
    "asyncio": {"backend": "asyncio"},
    "trio": {"backend": "trio"},
    "uvloop": {"backend": "asyncio", "backend_options": {"use_uvloop": True}},
}

THREADS = Threads(1)


class Server(Accepting):
    """Accepts connections. A test sends the responses: ``commands`` has the socket and the bytes of
    each command, and no bytes when a connection has ended.
    """

    def __init__(self) -> None:
        self.commands = SimpleQueue[tuple[socket.socket, bytes]]()
        super().__init__()
        self.client = RedisClient("Test", f"redis://127.0.0.1:{self.port}", 5)

    def close(self) -> None:
        self.client.close()
        super().close()

    def serve(self, client: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                self.commands.put((client, data))
        self.commands.put((client, b""))

    async def next(self) -> tuple[socket.socket, bytes]:
        await until_async(lambda: not self.commands.empty())
        return self.commands.get()

    async def respond(self, response: bytes) -> tuple[socket.socket, bytes]:
        client, command = await self.next()
        assert command
        client.sendall(response)
        return client, command

    async def ask(self, *command: str, seconds: float = PATIENCE) -> Any:
        steps = self.client.ask(monotonic() + seconds, *command)
        return await slots_of(THREADS).perform(steps, None)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(redis_client, "_PROBE_PATIENCE", 0.05)
    server = Server()
    yield server
    server.close()


def run(loop: str, function: Callable[..., Awaitable[None]], *arguments: object) -> None:
    if loop == "uvloop":
        pytest.importorskip("uvloop")

    async def bounded() -> None:
        with anyio.fail_after(PATIENCE):
            await function(*arguments)
        assert slots_of(THREADS).usage() == (0, 0, 1)

    anyio.run(bounded, **LOOPS[loop])


async def connected(server: Server) -> socket.socket:
    """Open a connection, and return the server's end."""
    found = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.ask, "PING")
        found.append((await server.respond(b"+PONG\r\n"))[0])
    return found[0]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The results of all attempts to read a response."""
    results, once = list[object](), redis_client._read

    def noted(connection: Any, seconds: float) -> object:
        result = once(connection, seconds)
        results.append(result)
        return result

    monkeypatch.setattr(redis_client, "_read", noted)
    return results


@pytest.mark.parametrize("loop", LOOPS)
def test_a_response_in_pieces_is_read_without_a_thread(
    loop: str, server: Server, read: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        first = await connected(server)
        monkeypatch.setattr(Slots, "call", None)
        read.clear()
        texts = list[str]()

        async def ask() -> None:
            texts.append(await server.ask("GET", "key"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            client, command = await server.next()
            assert (client, command) == (first, b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n")
            for number, piece in enumerate([b"$6\r", b"\nabc", b"def\r"], 1):
                client.sendall(piece)
                await until_async(lambda number=number: len(read) >= number)  # type: ignore[misc]
                assert texts == []
            client.sendall(b"\n")
        assert texts == ["abcdef"]
        assert len(read) == 4

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_response_that_does_not_come_in_time_closes_the_connection(
    loop: str, server: Server
) -> None:
    async def main() -> None:
        first = await connected(server)
        with pytest.raises(
            ConnectionError, match="Redis of Test is unavailable: the response takes too long"
        ):
            await server.ask("GET", "key", seconds=0.05)
        seen = [await server.next(), await server.next()]
        assert (first, b"") in [*seen, await server.next(), await server.next()]

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_cancelled_command_closes_the_connection(loop: str, server: Server) -> None:
    """Otherwise, the next command would get its response."""

    async def main() -> None:
        first = await connected(server)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.ask, "GET", "one")
            client, _ = await server.next()
            assert client is first
            tasks.cancel_scope.cancel()
        with suppress(OSError):
            first.sendall(b"$3\r\none\r\n")
        assert await server.next() == (first, b"")
        texts = list[str]()

        async def ask() -> None:
            texts.append(await server.ask("GET", "two"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            second, _ = await server.respond(b"$3\r\ntwo\r\n")
        assert (texts, second is first) == (["two"], False)

    run(loop, main)


@pytest.mark.parametrize(
    ("response", "reason"),
    [(b"-OOM full\r\n", "full"), (b"-READONLY a replica\r\n", "a replica"), (b"", "closed")],
)
def test_an_error_on_a_loop_is_a_connection_error(
    server: Server, response: bytes, reason: str
) -> None:
    async def main() -> None:
        first = await connected(server)

        async def ask() -> None:
            with pytest.raises(ConnectionError, match=f"the Redis of Test.*{reason}"):
                await server.ask("SET", "key", "text")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await server.respond(response)
            if not response:
                first.shutdown(socket.SHUT_RDWR)

    run("asyncio", main)


def test_a_script_that_the_server_has_forgotten_is_sent_over_the_same_connection(
    server: Server,
) -> None:
    async def main() -> None:
        first = await connected(server)
        results = list[int]()

        async def ask() -> None:
            steps = server.client.run_steps(monotonic() + PATIENCE, "return 7", ["key"], "more")
            results.append(await slots_of(THREADS).perform(steps, None))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            client, command = await server.respond(b"-NOSCRIPT no\r\n")
            assert (client, b"EVALSHA" in command) == (first, True)
            client, command = await server.respond(b":7\r\n")
            assert (client, b"return 7" in command) == (first, True)
        assert results == [7]

    run("asyncio", main)


def test_a_command_that_the_system_cannot_take_at_once_is_sent_from_a_thread(
    redis_url: str,
) -> None:
    client, text = RedisClient("Test", redis_url, PATIENCE), "x" * 50_000_000

    async def main() -> None:
        for command in (["PING"], ["SET", "large", text], ["STRLEN", "large"], ["DEL", "large"]):
            steps = client.ask(monotonic() + PATIENCE, *command)
            results.append(await slots_of(THREADS).perform(steps, None))

    results = list[object]()
    run("asyncio", main)
    assert results == ["PONG", "OK", len(text), 1]
    client.close()


def test_a_loop_that_cannot_wait_for_a_socket_leaves_it_to_a_thread(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, read: list[object]
) -> None:
    monkeypatch.setattr(workers, "_CAN_WAIT", False)
    monkeypatch.setattr(workers, "step_after", None)  # with which the loop goes on
    client = RedisClient("Test", redis_url, PATIENCE)

    async def main() -> None:
        for _ in range(2):
            steps = client.ask(monotonic() + PATIENCE, "PING")
            assert await slots_of(THREADS).perform(steps, None) == "PONG"

    run("asyncio", main)
    assert read == ["PONG", "PONG"]
    client.close()


class Visits(App):
    async def count(self, request: Request) -> str:
        number = request.session.get("n", 0) + 1
        request.session["n"] = number
        return str(number)


def test_a_session_is_loaded_and_changed_without_a_thread(
    make_client: MakeClient, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(Visits(RedisSessionBackend(redis_url, prefix="on-loops:")))
    assert [client.post("/count").text for _ in range(2)] == ["1", "2"]
    monkeypatch.setattr(Slots, "call", None)
    assert [client.post("/count").text for _ in range(2)] == ["3", "4"]


def test_a_subclass_may_override_a_method_of_the_backend(
    make_client: MakeClient, redis_url: str
) -> None:
    class Noting(RedisSessionBackend):
        def load(self, session_id: str) -> Any:
            loaded.append(super().load(session_id))
            return loaded[-1]

    loaded = list[dict[str, object]]()
    client = make_client(Visits(Noting(redis_url, prefix="on-loops:")))
    assert [client.post("/count").text for _ in range(2)] == ["1", "2"]
    assert {"n": 1} in loaded


def noted(method: Any, calls: list[str]) -> Any:
    @wraps(method)  # copies the attributes
    def call(*arguments: Any) -> Any:
        calls.append(method.__name__)
        return method(*arguments)

    return call


METHODS = "load", "save", "merge"


def decorated_in_a_class(url: str, calls: list[str]) -> SessionBackend:
    body = {name: noted(getattr(RedisSessionBackend, name), calls) for name in METHODS}
    made: SessionBackend = type("Timed", (RedisSessionBackend,), body)(url, prefix="on-loops:")
    return made


def decorated_in_an_object(url: str, calls: list[str]) -> SessionBackend:
    backend = RedisSessionBackend(url, prefix="on-loops:")
    for name in METHODS:
        setattr(backend, name, noted(getattr(backend, name), calls))
    return backend


@pytest.mark.parametrize("decorated", [decorated_in_a_class, decorated_in_an_object])
def test_a_decorated_method_of_the_backend_is_called(
    make_client: MakeClient,
    redis_url: str,
    decorated: Callable[[str, list[str]], SessionBackend],
) -> None:
    calls = list[str]()
    client = make_client(Visits(decorated(redis_url, calls)))
    assert [client.post("/count").text for _ in range(2)] == ["1", "2"]
    assert calls == ["save", "load", "merge"]


def test_a_backend_may_have_the_methods_of_another_one(
    make_client: MakeClient, redis_url: str
) -> None:
    class Borrowing(SessionBackend):
        def __init__(self, lender: SessionBackend) -> None:
            self.load, self.save = lender.load, lender.save  # type: ignore[method-assign]

    lender = RedisSessionBackend(redis_url, prefix="on-loops:")
    client = make_client(Visits(Borrowing(lender)))
    assert [client.post("/count").text for _ in range(2)] == ["1", "2"]


def test_a_limit_of_the_thread_is_one_of_a_command(server: Server) -> None:
    outcome = list[object]()

    def ask() -> None:
        with RedisClient.within(0.05), pytest.raises(ConnectionError, match="Timeout reading"):
            outcome.append(in_this_thread(server.client.ask(monotonic() + PATIENCE, "PING")))

    ask()
    assert outcome == []
    until(lambda: not server.commands.empty())


def test_a_failed_command_leaves_no_reference_cycle(server: Server) -> None:
    async def fail() -> None:
        async def ask() -> None:
            with pytest.raises(ConnectionError):
                await server.ask("SET", "key", "text")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            client, _ = await server.respond(b"-OOM full\r\n")
        assert await server.next() == (client, b"")

    async def main() -> None:
        await fail()
        await connected(server)
        gc.collect()
        gc.disable()
        try:
            await fail()
            errors = [one for one in gc.get_objects() if isinstance(one, redis.ResponseError)]
        finally:
            gc.enable()
        assert errors == []

    run("asyncio", main)


@pytest.mark.parametrize("loop", LOOPS)
def test_closing_the_client_leaves_a_command_that_is_under_way(loop: str, server: Server) -> None:
    """If another socket got its descriptor, the loop would wait for the wrong one."""

    async def main() -> None:
        first = await connected(server)
        texts = list[str]()

        async def ask() -> None:
            texts.append(await server.ask("GET", "key"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            client, _ = await server.next()
            assert client is first
            server.client.close()
            client.sendall(b"$3\r\none\r\n")
        assert texts == ["one"]
        server.client.close()
        assert await server.next() == (first, b"")

    run(loop, main)


def test_a_connection_that_was_left_open_serves_other_calls(redis_url: str) -> None:
    client = RedisClient("Test", f"{redis_url}?max_connections=1", PATIENCE)
    assert in_this_thread(client.ask(monotonic() + PATIENCE, "PING")) == "PONG"
    own = in_this_thread(client.ask(monotonic() + PATIENCE, "CLIENT", "ID"))
    client.ping()
    with client.reached() as server:
        assert server.client_id() == own
    assert in_this_thread(client.ask(monotonic() + PATIENCE, "CLIENT", "ID")) == own
    client.close()


def test_a_connection_that_is_closed_or_has_other_data_is_replaced(server: Server) -> None:
    async def main() -> None:
        first = await connected(server)
        first.shutdown(socket.SHUT_RDWR)
        assert await server.next() == (first, b"")
        second = await connected(server)
        assert second is not first
        assert await connected(server) is second
        second.sendall(b"+LATE\r\n")  # the response to no command
        (idle,) = server.client._idle()
        assert select.select([idle.limited_socket], [], [], PATIENCE)[0]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.ask, "PING")
            seen = dict([await server.next(), await server.next()])  # two threads note them
            assert seen.pop(second) == b""
            next(iter(seen)).sendall(b"+PONG\r\n")

    run("asyncio", main)


class Traced:
    """A method that a library such as wrapt has wrapped: no function."""

    def __init__(self, method: Any, seen: list[object]) -> None:
        self._method, self._seen = method, seen

    def __get__(self, client: object, _: object) -> Any:
        return self if client is None else lambda *command: self._call(client, *command)

    def _call(self, client: object, *command: object) -> object:
        self._seen.append(command[0])
        return self._method(client, *command)


def traced(method: Any, seen: list[object]) -> Any:
    @wraps(method)
    def call(client: object, *command: object) -> object:
        seen.append(command[0])
        return method(client, *command)

    return call


@pytest.mark.parametrize("wrap", [Traced, traced])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_library_that_traces_commands_sees_those_of_sessions(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, loop: str, wrap: Any
) -> None:
    backend, seen = RedisSessionBackend(redis_url), list[object]()
    load, save = (getattr(backend, name).__wrapped__ for name in ("load", "save"))

    async def use(_: object = None) -> None:
        perform = slots_of(THREADS).perform
        await perform(save(backend, "traced", {"n": 1}, 60), None)
        assert await perform(load(backend, "traced"), None) == {"n": 1}
        await perform(save(backend, "traced", {}, 60), None)

    run(loop, use)
    monkeypatch.setattr(redis.Redis, "execute_command", wrap(redis.Redis.execute_command, seen))
    run(loop, use)
    assert seen == ["SET", "GET", "DEL"]
    backend._redis.close()
