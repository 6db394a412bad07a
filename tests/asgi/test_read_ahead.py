"""Messages read ahead: when reading pauses, goes on and ends. What it is for is told by ``tests/websockets``."""

from __future__ import annotations

import anyio
from anyio import wait_all_tasks_blocked

from micropie.asgi.websocket_connection import MAX_MESSAGES, RELEASE_AFTER, ReadAhead
from tests.asgi.calls import Message, every_loop, run


class Server:
    """Gives messages without end, at once."""

    def __init__(self) -> None:
        self.received = 0

    async def receive(self) -> Message:
        self.received += 1
        return {"type": "websocket.receive", "text": str(self.received)}


async def taken(ahead: ReadAhead, count: int) -> list[str]:
    messages = [await ahead.next() for _ in range(count)]
    await wait_all_tasks_blocked()
    return [message["text"] for message in messages if message is not None]


@every_loop
def test_it_pauses_for_a_handler_that_takes_message_after_message_and_is_let_go(backend: str) -> None:
    async def main() -> None:
        server = Server()
        ahead = ReadAhead(server.receive, 1000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ahead.run)
            await taken(ahead, RELEASE_AFTER - 1)
            assert server.received == MAX_MESSAGES + RELEASE_AFTER - 1
            await taken(ahead, 1)
            assert server.received == MAX_MESSAGES + RELEASE_AFTER - 1
            ahead.go_on()  # the handler waits for something else, with messages kept
            await wait_all_tasks_blocked()
            assert server.received == MAX_MESSAGES + RELEASE_AFTER
            assert len(await taken(ahead, MAX_MESSAGES - 1)) == MAX_MESSAGES - 1
            assert not ahead.release()
            assert await ahead.next() == {"type": "websocket.receive", "text": str(MAX_MESSAGES + RELEASE_AFTER)}
            assert ahead.release()  # or the task group would wait for ever
        assert server.received == MAX_MESSAGES + RELEASE_AFTER

    run(backend, main)


@every_loop
def test_it_is_not_let_go_while_it_receives(backend: str) -> None:
    async def main() -> None:
        server = Server()

        async def receive() -> Message:
            if server.received > RELEASE_AFTER:
                await anyio.sleep_forever()
            return await server.receive()

        ahead = ReadAhead(receive, 1000)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ahead.run)
            await wait_all_tasks_blocked()
            await taken(ahead, RELEASE_AFTER + 1)
            assert not ahead.release()
            ahead.scope.cancel()
            assert await ahead.next() is None

    run(backend, main)
