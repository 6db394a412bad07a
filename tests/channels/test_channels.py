"""One message to many: in memory and through Redis, from threads and tasks to threads and tasks."""

from __future__ import annotations

import gc
import math
import os
import pickle
import random
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from micropie import (
    App,
    EventStream,
    SetupError,
    WebSocket,
    WebSocketMiddleware,
    event,
    run_in,
)
from micropie._core.execution.loop import TASKS, threadsafe_scheduler
from micropie._core.http.json import CodecError, dumps
from micropie.channels import Channels, MessagesLost, RedisChannels, Subscription
from micropie.channels import hub as hub_module
from micropie.channels import mailbox as mailbox_module
from micropie.channels.mailbox import Mailbox, Published
from micropie.testing import TestClient, WebSocketClosed
from tests.asgi.calls import ended_by_shutdown, run
from tests.support.clients import MakeClient
from tests.support.event_source import parsed
from tests.support.waiting import PATIENCE, until, until_async
from tests.wsgi.calls import begin

VALUES: list[Any] = [None, True, 5, 2**70, 1.5, "é\n", [], {"a": [{"b": None}]}]


def in_thread(function: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


# -- messages --------------------------------------------------------------------------------------


def test_messages_arrive_in_order_in_a_thread(channels: Channels) -> None:
    with channels.subscribe("room") as messages:
        for value in VALUES:
            channels.publish("room", value)
        assert [messages.get() for _ in VALUES] == VALUES
        channels.publish("other", 1)
        channels.publish("room", 2)
        assert (next(messages), messages.channel) == (2, "room")
        assert messages.get(timeout=0.01, default="none") == "none"
        assert messages.get(timeout=0) is None


def test_messages_arrive_in_order_in_a_task(backend: str, channels: Channels) -> None:
    async def check() -> None:
        async with channels.subscribe("room") as messages:
            for value in VALUES:
                await channels.publish("room", value)
            received = []
            async for message in messages:
                received.append(message)
                if len(received) == len(VALUES):
                    break
            assert received == VALUES
            with anyio.move_on_after(0.02) as scope:
                await messages.__anext__()
            assert scope.cancelled_caught
            assert messages._mailbox._waiting == []
            await channels.publish("room", "after")
            assert await messages.__anext__() == "after"  # a time-out loses nothing

    run(backend, check)


def test_publishing_without_subscribers_is_not_an_error(channels: Channels) -> None:
    channels.publish("room", "into the void")
    with channels.subscribe("room") as messages:
        assert messages.get(timeout=0.05) is None


def test_one_subscription_can_have_several_channels(channels: Channels) -> None:
    with channels.subscribe("a", "b", "a") as messages:
        for name in "abca":
            channels.publish(name, f"to {name}")
        got = [(messages.get(), messages.channel) for _ in range(3)]
        assert got == [("to a", "a"), ("to b", "b"), ("to a", "a")]
        assert messages.get(timeout=0.02) is None


def test_every_subscriber_gets_its_own_copy(channels: Channels) -> None:
    sent = {"list": [1]}
    with channels.subscribe("room") as one, channels.subscribe("room") as two:
        channels.publish("room", sent)
        sent["list"].append(2)
        got = one.get()
        got["list"].append(3)
        assert two.get() == {"list": [1]}


@pytest.mark.parametrize("value", [object(), float("nan"), 1j])
def test_publishing_a_value_without_json_raises_an_error(channels: Channels, value: Any) -> None:
    with pytest.raises(CodecError):
        channels.publish("room", value)


def test_R57_every_value_that_can_be_published_can_be_received(channels: Channels) -> None:
    """A client's document is put into another one: a reader must not be narrower than the writer,
    or one message would end the stream of everybody who listens.
    """
    with channels.subscribe("room") as messages:
        for depth in (1, 99, 100, 101, 200, 253, 254, 255, 1000):
            document: Any = 1
            for _ in range(depth):
                document = [document]
            try:
                channels.publish("room", {"body": document})
            except CodecError:
                assert depth > 253
            else:
                assert messages.get() == {"body": document}
        channels.publish("room", "fine")
        assert messages.get() == "fine"


@pytest.mark.parametrize("name", ["", None, 5, b"room", ["room", "hall"]])
def test_a_channel_s_name_must_be_text(channels: Channels, name: Any) -> None:
    with pytest.raises(ValueError, match="name must be a str that is not empty"):
        channels.publish(name, 1)
    with pytest.raises(ValueError, match="name must be a str that is not empty"):
        channels.subscribe("room", name)


@pytest.mark.parametrize("name", ["a\ud800", "\udcff"])
def test_a_channel_s_name_must_be_utf_8(channels: Channels, name: str) -> None:
    with channels.subscribe("room", when_full="close") as messages:
        with pytest.raises(ValueError, match="surrogates not allowed"):
            channels.publish(name, 1)
        with pytest.raises(ValueError, match="surrogates not allowed"):
            channels.subscribe("room", name)
        # the listener's connection is still open
        channels.publish("room", 1)
        assert (messages.get(), messages.gaps) == (1, 0)


def test_invalid_arguments_of_subscribe_are_refused() -> None:
    channels = Channels()
    with pytest.raises(ValueError, match="needs the name of at least one"):
        channels.subscribe()
    for size in (0, -1, True, 1.5, None):
        with pytest.raises(ValueError, match="size must be"):
            channels.subscribe("room", size=size)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="when_full must be"):
        channels.subscribe("room", when_full="wait")  # type: ignore[arg-type]


def test_a_subscription_starts_once_in_a_with_block(channels: Channels) -> None:
    messages = channels.subscribe("room")
    with pytest.raises(RuntimeError, match="use a subscription as a context manager"):
        next(messages)
    with messages, pytest.raises(RuntimeError, match="used only once"), messages:
        pass
    assert list(messages) == []


def test_a_task_that_would_block_its_loop_gets_an_error(backend: str, channels: Channels) -> None:
    async def check() -> None:
        async with channels.subscribe("room") as messages:
            with pytest.raises(RuntimeError, match="async for"):
                next(messages)
            with pytest.raises(RuntimeError, match="async for"):
                messages.get()
            await channels.publish("room", 1)
            assert await messages.__anext__() == 1

    run(backend, check)


# -- slow subscribers ------------------------------------------------------------------------------


def test_R57_the_oldest_messages_are_dropped_and_counted(channels: Channels) -> None:
    with channels.subscribe("room", size=3) as slow, channels.subscribe("room") as fast:
        for number in range(10):
            channels.publish("room", number)
        assert [fast.get() for _ in range(10)] == list(range(10))
        until(lambda: slow.dropped == 7)
        assert [slow.get() for _ in range(3)] == [7, 8, 9]
        assert (slow.get(timeout=0.01), slow.dropped, fast.dropped) == (None, 7, 0)


def test_R57_a_subscriber_that_is_too_slow_may_get_an_error(channels: Channels) -> None:
    with channels.subscribe("room", size=3, when_full="close") as slow:
        for number in range(10):
            channels.publish("room", number)
        until(lambda: slow.dropped)
        assert [slow.get() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(MessagesLost, match="the queue of 3 was full"):
            slow.get()
        assert (slow.get(default="ended"), slow.dropped) == ("ended", 1)


class Slow(App):
    """Its subscriber loses the second message."""

    async def _lost(self) -> AsyncIterator[str]:
        async with self.channels.subscribe("room", size=1, when_full="close") as messages:
            yield "begun"
            for number in range(2):
                self.channels.publish("room", number)
            async for message in messages:
                yield str(message)

    async def events(self) -> EventStream:
        return EventStream(self._lost())

    async def listed(self) -> list[str]:
        return [message async for message in self._lost()]

    async def ws_room(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in self._lost():
            await ws.send_text(message)


def test_R57_a_slow_client_leaves_no_traceback_in_the_log(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Slow())
    assert client.get("/listed").status_code == 503
    assert not caplog.records
    with pytest.raises(MessagesLost):
        client.get("/events")
    (record,) = caplog.records
    assert "aborted: the subscriber was too slow" in record.getMessage()
    assert record.exc_info is None


def test_R57_a_slow_websocket_leaves_no_traceback_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with TestClient(Slow()).websocket("/room") as ws:
        assert [ws.receive_text() for _ in range(2)] == ["begun", "0"]
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive_text()
    assert (closed.value.code, closed.value.reason[:18]) == (1011, "Messages were lost")
    assert not caplog.records


def test_the_error_for_lost_messages_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(MessagesLost("too slow")))
    assert (str(error), error.status, error.headers) == ("too slow", 503, [("Retry-After", "5")])


def test_R57_one_blocked_subscriber_delays_no_other(backend: str, channels: Channels) -> None:
    async def check() -> None:
        counts = [0] * 500
        blocked = channels.subscribe("room", size=2)

        async def count(index: int, task_status: Any) -> None:
            async with channels.subscribe("room") as messages:
                task_status.started()
                async for _ in messages:
                    counts[index] += 1

        async with blocked, anyio.create_task_group() as tasks:
            for index in range(len(counts)):
                await tasks.start(_with_status(count, index))
            for number in range(5):
                await channels.publish("room", number)
            while counts != [5] * len(counts):
                await checkpoint()
            tasks.cancel_scope.cancel()
        assert blocked.dropped == 3

    run(backend, check)


def _with_status(function: Any, *arguments: Any) -> Any:
    async def started(*, task_status: Any) -> None:
        await function(*arguments, task_status)

    return started


# -- threads, loops, processes ---------------------------------------------------------------------


def test_a_thread_publishes_to_tasks(backend: str, channels: Channels) -> None:
    async def check() -> None:
        received: list[Any] = []

        async def receive() -> None:
            async with channels.subscribe("room") as messages:
                received.append([await messages.__anext__() for _ in range(2)])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(receive)
            tasks.start_soon(receive)
            while len(channels._mailboxes.get("room", ())) < 2:
                await checkpoint()
            # which waits until Redis has heard of the two before it
            async with channels.subscribe("room"):
                await anyio.to_thread.run_sync(
                    lambda: [channels.publish("room", n) for n in range(2)]
                )
        assert received == [[0, 1], [0, 1]]

    run(backend, check)


def test_event_loops_and_threads_exchange_messages(channels: Channels) -> None:
    """asyncio, trio and a thread pass a number on, each in a thread of its own."""
    ready = threading.Barrier(3)
    heard: list[str] = []

    async def task(name: str, following: str) -> None:
        async with channels.subscribe(name) as messages:
            await anyio.to_thread.run_sync(ready.wait)
            async for number in messages:
                heard.append(f"{name} {number}")
                await channels.publish(following, number + 1)
                if number > 6:
                    return

    def thread() -> None:
        with channels.subscribe("thread") as messages:
            ready.wait()
            channels.publish("asyncio", 0)
            for number in messages:
                heard.append(f"thread {number}")
                channels.publish("asyncio", number + 1)
                if number > 6:
                    return

    threads = [
        in_thread(lambda: anyio.run(task, "asyncio", "trio", backend="asyncio")),
        in_thread(lambda: anyio.run(task, "trio", "thread", backend="trio")),
        in_thread(thread),
    ]
    for one in threads:
        one.join(30)
        assert not one.is_alive()
    assert heard == [
        f"{('asyncio', 'trio', 'thread')[number % 3]} {number}" for number in range(len(heard))
    ]
    assert len(heard) >= 9


def test_messages_of_many_threads_arrive_in_one_order(channels: Channels) -> None:
    with channels.subscribe("room", size=1000) as one, channels.subscribe("room", size=1000) as two:
        threads = [
            in_thread(lambda: [channels.publish("room", n) for n in range(50)]) for _ in range(4)
        ]
        received = [[messages.get(timeout=30) for _ in range(200)] for messages in (one, two)]
        for thread in threads:
            thread.join()
    assert received[0] == received[1]
    assert sorted(received[0]) == sorted([*range(50)] * 4)


def subscriptions() -> list[Subscription]:
    # Not `isinstance`: it asks an object for its `__class__`, which Django's lazy settings answer
    # with an error.
    return [one for one in gc.get_objects() if issubclass(type(one), Subscription)]


def test_R61_cancellation_at_any_moment_leaves_no_subscription(
    backend: str, channels: Channels
) -> None:
    rng = random.Random(1)
    of_others = set(map(id, subscriptions()))

    async def listen(seconds: float) -> None:
        with anyio.move_on_after(seconds):
            async with channels.subscribe("room", "other", size=5) as messages:
                async for message in messages:
                    # else each would bring forth more and more
                    if messages.channel == "room" and rng.random() < 0.1:
                        await channels.publish("other", message)

    async def check() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(200):
                tasks.start_soon(listen, rng.random() * 0.1)
            for number in range(50):
                await channels.publish("room", number)
                await anyio.sleep(0.001)
        assert channels._mailboxes == {}

    run(backend, check)
    gc.collect()
    assert not [one for one in subscriptions() if id(one) not in of_others]


def test_R61_a_subscribed_task_never_starves_others() -> None:
    channels = Channels()

    async def check() -> int:
        others = 0

        async def other() -> None:
            nonlocal others
            while True:
                await checkpoint()
                others += 1

        async with (
            channels.subscribe("room", size=1000) as messages,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(other)
            for _ in range(320):
                channels.publish("room", 1)
            for _ in range(320):
                await messages.__anext__()
            tasks.cancel_scope.cancel()
        return others

    assert run("asyncio", check) >= 19


def test_R57_a_task_that_publishes_many_messages_fills_no_queue(backend: str) -> None:
    channels = Channels()

    async def check() -> tuple[list[int], int]:
        async with channels.subscribe("room") as messages:
            found: list[int] = []

            async def publish() -> None:
                for number in range(1000):
                    await channels.publish("room", number)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(publish)
                while len(found) < 1000:
                    found.append(await messages.__anext__())
            return found, messages.dropped

    assert run(backend, check) == ([*range(1000)], 0)


def test_R57_all_tasks_that_publish_wait_while_a_queue_grows(backend: str) -> None:
    channels = Channels()

    async def check() -> list[list[int]]:
        published: list[int] = []
        found: list[list[int]] = []

        async def publish(number: int) -> None:
            await channels.publish("room", number)
            published.append(number)

        async def turns() -> None:
            for _ in range(10):
                await checkpoint()
            found.append(sorted(published))

        async with channels.subscribe("room") as messages, anyio.create_task_group() as tasks:
            for number in range(15):
                tasks.start_soon(publish, number)
            await turns()
            tasks.start_soon(publish, 15)
            tasks.start_soon(publish, 16)
            await turns()
            await anext(messages)
            await turns()
            await anext(messages)
            await turns()
        return found

    before = [*range(15)]
    assert run(backend, check) == [before, before, before, [*range(17)]]


def test_a_task_that_publishes_soon_stops_waiting_for_a_subscriber(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number of turns begins again whenever the subscriber has taken a message. After them, the
    task pauses, because the server's ``send`` may wait for another thread.
    """
    channels = Channels()
    turns: list[int] = []
    left_to_take: list[int] = []
    paused: list[tuple[float, bool]] = []
    monkeypatch.setattr(hub_module, "TURNS", 5)
    monkeypatch.setattr(hub_module, "PAUSES", 3)

    async def pause(seconds: float) -> None:
        paused.append((seconds, anyio.current_effective_deadline() == math.inf))
        await checkpoint()

    async def check() -> None:
        monkeypatch.setattr(anyio, "sleep", pause)
        async with channels.subscribe("room", size=1000) as messages:

            async def counted() -> None:
                turns[-1] += 1
                await checkpoint()
                if left_to_take and turns[-1] % 4 == 0:
                    left_to_take.pop()
                    await anext(messages)

            monkeypatch.setattr(anyio.lowlevel, "cancel_shielded_checkpoint", counted)
            for takes in (0, 3):
                left_to_take[:] = range(takes)
                turns.append(0)
                with anyio.fail_after(PATIENCE):
                    for _ in range(125):
                        await channels.publish("room", "")

    run(backend, check)
    assert turns == [6, 17]
    assert paused == [(hub_module.PAUSE, True)] * 6


def test_a_task_that_publishes_waits_for_a_part_of_a_long_queue_only(backend: str) -> None:
    """Even if the subscriber takes messages all the time."""
    channels = Channels()

    taken: list[int] = []

    async def check() -> int:
        async with channels.subscribe("room", size=1000) as messages:
            for number in range(500):
                channels.publish("room", number)  # as a thread does, which doesn't wait

            async def take() -> None:
                async for number in messages:
                    taken.append(number)
                    await checkpoint()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                await channels.publish("lobby", "")
                tasks.cancel_scope.cancel()
        return len(taken)

    assert hub_module.MOST_TAKEN < run(backend, check) < hub_module.MOST_TAKEN + 5


def test_R57_a_thread_that_publishes_many_messages_fills_no_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The subscriber takes its messages while the thread pauses."""
    channels = Channels()
    found: list[int] = []
    with channels.subscribe("room", size=20) as messages, channels.subscribe("room", size=1):

        def pause(seconds: float) -> None:
            while (message := messages.get(timeout=0)) is not None:
                found.append(message)

        monkeypatch.setattr(hub_module, "sleep", pause)
        for number in range(1000):
            channels.publish("room", number)
        pause(0)
        assert (found, messages.dropped) == ([*range(1000)], 0)


def test_a_thread_that_publishes_waits_until_the_queue_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    channels = Channels()
    paused: list[float] = []
    with channels.subscribe("room", size=50) as messages:

        def pause(seconds: float) -> None:
            paused.append(seconds)
            if len(paused) % 3 == 0:
                messages.get(timeout=0)

        monkeypatch.setattr(hub_module, "sleep", pause)
        monkeypatch.setattr(hub_module, "PAUSES", 3)
        for number in range(31):
            channels.deliver("room", dumps(number))
        channels.publish("room", 31)
        assert len(paused) == 3 * 17
        assert messages.get() == 17


@pytest.mark.parametrize(
    ("size", "times"), [(1, 0), (15, 0), (16, 1), (31, 1), (100, 6), (143, 8), (144, 8)]
)
def test_a_publisher_pauses_while_a_queue_grows_and_not_when_it_is_full(
    size: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = Channels()
    paused: list[float] = []
    monkeypatch.setattr(hub_module, "sleep", paused.append)
    with channels.subscribe("room", size=size):
        for number in range(500):
            channels.publish("room", number)
    assert paused == [hub_module.PAUSE] * times * (hub_module.PAUSES + 1)


def test_a_task_that_publishes_never_blocks_its_loop(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = Channels()
    paused: list[float] = []

    async def check() -> None:
        monkeypatch.setattr(hub_module, "sleep", paused.append)
        async with channels.subscribe("room"):
            for number in range(40):
                await channels.publish("room", number)

    run(backend, check)
    assert paused == []


def test_publishing_is_never_cancelled(backend: str) -> None:
    channels = Channels()

    async def check() -> list[int]:
        async with channels.subscribe("room") as messages:
            with anyio.CancelScope() as scope:
                scope.cancel()
                for number in range(40):
                    await channels.publish("room", number)
            return [await messages.__anext__() for _ in range(40)]

    assert run(backend, check) == [*range(40)]


def test_an_ended_event_loop_causes_no_error_elsewhere(backend: str) -> None:
    channels = Channels()
    kept: list[Any] = []

    async def leave_behind() -> None:
        own = TASKS.get()
        assert own is TASKS.get()
        kept.extend([own, threadsafe_scheduler(), anyio.Event()])

    run(backend, leave_behind)
    own, call_soon, event = kept
    with channels.subscribe("room") as messages:
        assert messages._mailbox.take(lambda: own.call(event.set)) is None
        channels.publish("room", 1)
        channels.publish("room", 2)
        assert messages.get() == 1
    with pytest.raises(RuntimeError):
        call_soon(lambda: None)


def test_tasks_that_share_a_subscription_each_take_messages(backend: str) -> None:
    channels = Channels()
    taken: list[int] = []

    async def take(messages: Subscription, times: int) -> None:
        for _ in range(times):
            taken.append(await anext(messages))

    async def main() -> None:
        async with channels.subscribe("room") as messages:
            for _ in range(2):  # the second time with what the first has left behind
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(take, messages, 2)
                    tasks.start_soon(take, messages, 2)
                    await anyio.wait_all_tasks_blocked()
                    for number in range(4):
                        await channels.publish("room", number)
                assert sorted(taken) == [0, 1, 2, 3]
                taken.clear()

    run(backend, main)


def test_a_cancelled_wait_loses_no_message(backend: str) -> None:
    channels = Channels()

    async def main() -> None:
        async with channels.subscribe("room") as messages:
            for number in range(3):
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await anext(messages)
                assert scope.cancelled_caught
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(anext, messages)
                    await anyio.wait_all_tasks_blocked()
                    tasks.cancel_scope.cancel()
                await channels.publish("room", number)
                assert await anext(messages) == number

    run(backend, main)


@pytest.mark.processes
def test_R70_a_forked_child_has_its_own_channels(channels: Channels) -> None:
    with channels.subscribe("room") as messages:
        channels.publish("room", "before")
        assert messages.get() == "before"
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            code = 1
            try:
                with channels.subscribe("child") as own:
                    channels.publish("child", "hello")
                    os.write(writing, str(own.get(timeout=30)).encode())
                channels.publish("room", "from the child")
                code = 0
            finally:
                os._exit(code)
        os.close(writing)
        assert os.read(reading, 100) == b"hello"
        os.close(reading)
        assert os.waitpid(child, 0)[1] == 0
        is_shared = type(channels) is not Channels
        found = messages.get(timeout=30 if is_shared else 0.2)
        assert found == ("from the child" if is_shared else None)
        channels.publish("room", "after")
        assert messages.get(timeout=30) == "after"


def test_close_ends_subscriptions_and_new_ones_may_start(channels: Channels) -> None:
    ended = []
    with channels.subscribe("room") as messages:
        channels.publish("room", "last")
        until(lambda: messages._mailbox.messages)
        thread = in_thread(lambda: ended.append(list(messages)))
        channels.close()
        thread.join(30)
    assert ended == [["last"]]
    with channels.subscribe("room") as again:
        channels.publish("room", "first")
        assert again.get(timeout=30) == "first"


def test_subscriptions_are_listed_by_channel_and_closed_individually(channels: Channels) -> None:
    assert channels.subscriptions() == {}
    with (
        channels.subscribe("room", "news", label="ann") as ann,
        channels.subscribe("room") as bob,
    ):
        assert channels.subscriptions() == {"room": [ann, bob], "news": [ann]}
        assert channels.counts() == (2, 2)
        assert [(one.channels, one.label) for one in (ann, bob)] == [
            (("room", "news"), "ann"),
            (("room",), ""),
        ]
        channels.publish("room", "last")
        assert bob.get(timeout=30) == "last"
        until(lambda: ann._mailbox.messages)
        for _ in range(2):
            ann.close()
        assert (channels.subscriptions(), channels.counts()) == ({"room": [bob]}, (1, 1))
        channels.publish("room", "for bob")
        assert (bob.get(timeout=30), list(ann)) == ("for bob", ["last"])
    assert channels.subscriptions() == {}


def test_a_subscription_that_is_closed_before_it_begins_has_no_messages(channels: Channels) -> None:
    messages = channels.subscribe("room")
    messages.close()
    with messages:
        channels.publish("room", "hello")
        assert list(messages) == []


def test_close_ends_a_task_s_subscription(backend: str, channels: Channels) -> None:
    async def check() -> list[Any]:
        async with channels.subscribe("room") as messages, anyio.create_task_group() as tasks:
            await channels.publish("room", "last")
            received = [await messages.__anext__()]
            tasks.start_soon(anyio.to_thread.run_sync, channels.close)
            received += [message async for message in messages]
        return received

    assert run(backend, check) == ["last"]


# -- in an application -----------------------------------------------------------------------------


class Chat(App):
    """A form posts, a stream hears: the same for `def` and `async def`."""

    async def say(self, text: str) -> str:
        await self.channels.publish("room", {"text": text})
        return "posted"

    def say_sync(self, text: str) -> str:
        self.channels.publish("room", {"text": text})
        return "posted"

    async def events(self) -> Any:
        return EventStream(self.channels.subscribe("room"), heartbeat=0.05)

    async def own_events(self) -> Any:
        return EventStream(self._own(), heartbeat=0.05)

    async def _own(self) -> AsyncIterator[Any]:
        async with self.channels.subscribe("room") as messages:
            async for message in messages:
                yield message

    def sync_events(self) -> Any:
        return EventStream(self._sync(), heartbeat=0.05)

    def _sync(self) -> Any:
        with self.channels.subscribe("room") as messages:
            yield from messages

    def poll(self) -> Any:
        with self.channels.subscribe("room") as messages:
            return messages.get(timeout=30, default={})

    async def poll_async(self) -> Any:
        async with self.channels.subscribe("room") as messages:
            with anyio.move_on_after(10):
                return await messages.__anext__()

    @run_in("loop")
    def listeners(self) -> str:
        return str(len(self.channels._mailboxes.get("room", ())))


STREAMS = ["events", "own_events", "sync_events"]


def has_subscriber(channels: Channels) -> bool:
    """Return whether a message that is published now reaches somebody in the room."""
    if not isinstance(channels, RedisChannels):
        return bool(channels._mailboxes)
    with channels._client.reached() as client:
        return bool(client.pubsub_numsub(f"{channels._prefix}room")[0][1])


@pytest.mark.parametrize("path", STREAMS)
@pytest.mark.parametrize("post", ["say", "say_sync"])
def test_a_posted_form_reaches_an_event_stream(
    make_client: MakeClient, channels: Channels, post: str, path: str
) -> None:
    app = Chat(channels=channels)
    client = make_client(app)
    with client.stream("GET", f"/{path}") as answer:
        chunks = answer.iter_raw()
        next(chunks)
        until(lambda: has_subscriber(channels))  # the first chunk may have been a heart-beat
        assert client.post(f"/{post}", data={"text": "hello\nworld"}).text == "posted"
        found = next(chunk for chunk in chunks if b"data" in chunk)
        assert found == b'data: {"text":"hello\\nworld"}\n\n'
    # R61: also that of the thread, which nothing wakes
    until(lambda: client.get("/listeners").text == "0")
    until(lambda: not any(shutdown._functions for shutdown in app._micropie.shutdowns.values()))


def test_a_message_is_encoded_once_for_all_streams(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[object] = []

    def counted(value: object) -> bytes:
        encoded.append(value)
        return dumps(value)

    monkeypatch.setattr(mailbox_module, "dumps", counted)
    channels = Channels()

    async def hear(stream: EventStream) -> list[bytes]:
        body: Any = stream.body
        return [await body.__anext__() for _ in range(1 + len(VALUES))]

    async def check() -> None:
        streams = [EventStream(channels.subscribe("room")) for _ in range(3)]
        heard: list[list[bytes]] = []
        async with anyio.create_task_group() as tasks:

            async def one(stream: EventStream) -> None:
                heard.append(await hear(stream))
                await stream.body.close_items()

            for stream in streams:
                tasks.start_soon(one, stream)
            await until_async(lambda: channels.counts() == (1, 3))
            for value in VALUES:
                await channels.publish("room", value)
        expected = [b"" if value is None else bytes(event(value)) for value in VALUES]
        assert heard == [[b": \n\n", *expected]] * 3

    run(backend, check)
    # null too, although an event stream sends nothing for it
    assert encoded == [value for value in VALUES if not isinstance(value, str)]


def test_a_subscription_yields_json_texts(backend: str, channels: Channels) -> None:
    async def check() -> None:
        async with channels.subscribe("room") as messages:
            for value in ["null", *VALUES]:
                await channels.publish("room", value)
            received = messages.texts()
            texts = [await anext(received) for _ in range(1 + len(VALUES))]
            messages.close()
            assert [text async for text in received] == []
        assert texts == [
            "null",
            *(
                value if value is None or isinstance(value, str) else dumps(value).decode()
                for value in VALUES
            ),
        ]
        assert messages.channel == "room"

    run(backend, check)


@pytest.mark.parametrize("path", ["poll", "poll_async"])
def test_a_long_poll_receives_the_next_message(
    make_client: MakeClient, channels: Channels, path: str
) -> None:
    app = Chat(channels=channels)
    client = make_client(app)
    answers = []
    thread = in_thread(lambda: answers.append(client.get(f"/{path}").json()))
    until(lambda: has_subscriber(channels))
    client.post("/say", data={"text": "now"})
    thread.join(30)
    assert answers == [{"text": "now"}]
    assert not any(shutdown._functions for shutdown in app._micropie.shutdowns.values())


@pytest.mark.parametrize("world", ["asyncio", "trio"])
@pytest.mark.parametrize("path", STREAMS)
def test_a_form_posted_under_wsgi_reaches_an_event_loop_of_the_same_process(
    connect: MakeClient, channels: Channels, world: str, path: str
) -> None:
    app = Chat(channels=channels)
    loop, wsgi = connect(app, world), connect(app, "wsgi")
    with loop.stream("GET", f"/{path}") as answer:
        chunks = answer.iter_raw()
        next(chunks)
        until(lambda: has_subscriber(channels))
        wsgi.post("/say_sync", data={"text": "across"})
        found = next(chunk for chunk in chunks if b"data" in chunk)
    assert parsed(found)[0].data == '{"text":"across"}'


class Room(Chat):
    async def ws_chat(self, ws: WebSocket) -> None:
        await ws.accept()
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._tell, ws)
            await ws.send_json("you are in")
            async for text in ws:
                await self.channels.publish("room", {"text": text})
            tasks.cancel_scope.cancel()

    async def _tell(self, ws: WebSocket, *, task_status: Any) -> None:
        async with self.channels.subscribe("room") as messages:
            task_status.started()
            async for message in messages:
                await ws.send_json(message)


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_websockets_get_messages_from_each_other_and_from_a_form_under_wsgi(
    connect: MakeClient, channels: Channels, world: str
) -> None:
    app = Room(channels=channels)
    client, wsgi = connect(app, world), connect(app, "wsgi")
    with client.websocket("/chat") as one, client.websocket("/chat") as two:
        assert [one.receive_json(), two.receive_json()] == ["you are in", "you are in"]
        one.send_text("hello")
        assert [one.receive_json(), two.receive_json()] == [{"text": "hello"}] * 2
        wsgi.post("/say_sync", data={"text": "from a form"})
        assert [one.receive_json(), two.receive_json()] == [{"text": "from a form"}] * 2
    until(lambda: channels._mailboxes == {})


@pytest.mark.parametrize("path", [*STREAMS, "poll", "poll_async"])
def test_a_handler_ends_when_its_subscription_is_closed(
    make_client: MakeClient, channels: Channels, path: str
) -> None:
    client = make_client(Chat(channels=channels))
    bodies = []
    thread = in_thread(lambda: bodies.append(client.get(f"/{path}").content))
    until(lambda: has_subscriber(channels))
    for one in channels.subscriptions()["room"]:
        one.close()
    thread.join(30)
    assert len(bodies) == 1
    until(lambda: client.get("/listeners").text == "0")


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_websocket_ends_when_its_subscription_is_closed(
    connect: MakeClient, channels: Channels, world: str
) -> None:
    class News(App):
        async def ws_index(self, ws: WebSocket) -> None:
            async with self.channels.subscribe("room") as messages:
                await ws.accept()
                async for message in messages:
                    await ws.send_json(message)

    client = connect(News(channels=channels), world)
    with client.websocket("/") as ws:
        channels.subscriptions()["room"][0].close()
        with pytest.raises(WebSocketClosed) as closed:
            ws.receive_json()
    assert closed.value.code == 1000


@pytest.mark.parametrize("path", STREAMS)
def test_R65_subscriptions_end_at_shutdown(backend: str, channels: Channels, path: str) -> None:
    app = Chat(channels=channels)

    assert run(backend, ended_by_shutdown, app, f"/{path}").is_complete
    until(lambda: channels._mailboxes == {})


def test_R65_a_waiting_handler_ends_with_the_process_under_wsgi(
    channels: Channels,
) -> None:
    app = Chat(channels=channels)
    begin(app, "GET", "/listeners").read()
    answers = []
    thread = in_thread(lambda: answers.append(begin(app, "GET", "/poll").read()))
    until(lambda: channels._mailboxes)
    app.wsgi_shutdown()
    thread.join(30)
    assert answers == [b"{}"]


def test_inner_applications_share_the_channels_unless_they_have_their_own(
    make_client: MakeClient,
) -> None:
    class Inner(App):
        def say(self) -> str:
            self.channels.publish("room", type(self).__name__)
            return str(self.channels is root.channels)

    class Own(Inner):
        channels = Channels()

    class Root(Inner): ...

    root = Root()
    root.inner, root.own, root.other = Inner(), Own(), Inner(channels=Channels())
    client = make_client(root)
    with root.channels.subscribe("room") as messages:
        paths = ["/say", "/inner/say", "/own/say", "/other/say"]
        assert [client.get(path).text for path in paths] == ["True", "True", "False", "False"]
        assert [messages.get(), messages.get(), messages.get(timeout=0)] == ["Root", "Inner", None]
    assert root.inner.channels is root.channels  # type: ignore[attr-defined]
    assert root.other.channels is not root.channels  # type: ignore[attr-defined]
    assert Inner().channels is not root.channels


def test_channels_may_be_assigned_later(make_client: MakeClient) -> None:
    app = Chat()
    client = make_client(app)
    assert client.get("/listeners").text == "0"
    first, app.channels = app.channels, Channels()
    assert app.channels is not first
    with app.channels.subscribe("room"):
        assert client.get("/listeners").text == "1"


@pytest.mark.parametrize("value", ["redis://localhost", Channels, object(), WebSocketMiddleware])
def test_an_invalid_channels_setting_is_refused(value: Any) -> None:
    with pytest.raises(SetupError, match="channels takes"):
        App(channels=value)


def test_no_handler_may_be_named_channels() -> None:
    with pytest.raises(SetupError, match="App has an attribute of that name"):

        class Root(App):
            def channels(self) -> None: ...  # type: ignore[override]


def test_a_waiting_callback_is_called_once_for_the_next_message() -> None:
    called: list[int] = []
    mailbox = Mailbox(2, "drop_oldest")
    message = Published("room", b"1")
    call = partial(called.append, 1)
    assert [mailbox.take(call), mailbox.take(call)] == [None, None]
    mailbox.put(message)
    mailbox.put(message)
    assert called == [1]
    assert mailbox.take(call) is message


@pytest.mark.parametrize("sent", ["text", 1.5, None, True, {"a": [1]}, [1]])
def test_each_subscriber_gets_its_own_mutable_value(sent: Any) -> None:
    channels = Channels()
    with channels.subscribe("room") as one, channels.subscribe("room") as other:
        channels.publish("room", sent)
        first, second = one.get(), other.get()
    assert first == second == sent
    assert (first is second) is not isinstance(sent, dict | list)
