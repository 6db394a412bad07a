"""Clients that count: what they have sent, what was answered, and what they find afterwards.

A user logs in once and counts visits over two connections. A talker says messages over a WebSocket
until each is acknowledged, and reads those of all others. A poster says messages by requests. A
listener reads all of them as events. They come back by themselves, as browsers do.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2 as httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.servers.cluster.machines import HOST

HEADERS = {"Host": HOST, "Sec-Fetch-Site": "same-origin"}
ANSWERED, REFUSED, LOST, FAILED, STRANGER = "answered", "refused", "lost", "failed", "stranger"
ROOM = "hall"
PATIENCE = 60.0  # seconds until a client gives up: then something hangs
CONNECTIONS = 2  # of each user
COMES_BACK = 0.2  # seconds until a client tries again


class Outcome(NamedTuple):
    """A request of a user or a poster.

    ``kind``: ANSWERED; REFUSED, by 503; FAILED, by another error; LOST, without an answer of the
    application; STRANGER: answered as to somebody without a session.
    """

    began: float
    ended: float
    kind: str
    detail: str


class User:
    """Logs in, and counts visits."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self.name = f"user{number}"
        self.outcomes: list[Outcome] = []
        self.visits_sent = 0
        self.visits_answered = 0
        self.in_flight = 0
        self._client = new_client(load.url)

    async def run(self) -> None:
        """Work until the load stops."""
        while await self._ask("POST", "/login", {"name": self.name}) != ANSWERED:
            await asyncio.sleep(COMES_BACK)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONNECTIONS):
                tasks.create_task(self._visit())

    async def _visit(self) -> None:
        while not self._load.is_over:
            self.visits_sent += 1
            kind = await self._ask("POST", "/visit")
            self.visits_answered += kind == ANSWERED
            await self._ask("GET", "/me")
            await asyncio.sleep(random.uniform(0, 0.05) if kind == ANSWERED else COMES_BACK)

    async def _ask(self, method: str, path: str, form: dict[str, str] | None = None) -> str:
        began = now()
        self.in_flight += 1
        try:
            answer = await self._client.request(method, path, data=form)
        except httpx.HTTPError as error:
            kind, detail = LOST, type(error).__name__
        else:
            kind, detail = kind_of(answer), f"{answer.status_code} {answer.text[:80]}"
            if kind == ANSWERED and answer.json().get("user", self.name) != self.name:
                kind = STRANGER
        finally:
            self.in_flight -= 1
        self.outcomes.append(Outcome(began, now(), kind, detail))
        return kind

    @property
    def cookie(self) -> str:
        """Its session's cookie, as a header has it."""
        return "; ".join(f"{name}={value}" for name, value in self._client.cookies.items())

    async def counted(self) -> int:
        """Return the visits that the application has counted."""
        return int((await ask_until_answered(self._client, "/me"))["visits"])

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()


class Poster(User):
    """Says messages by requests, and says each again until it is answered."""

    def __init__(self, load: Load, number: int) -> None:
        super().__init__(load, number)
        self.acknowledged: set[str] = set()

    async def run(self) -> None:
        """Say messages until the load stops."""
        key = str(uuid4())
        while not self._load.is_over:
            if (
                await self._ask("POST", "/say", {"room": ROOM, "key": key, "text": "hello"})
                == ANSWERED
            ):
                self.acknowledged.add(key)
                key = str(uuid4())
                await asyncio.sleep(random.uniform(0.02, 0.1))
            else:
                await asyncio.sleep(COMES_BACK)


class Follower:
    """Reads the room; ``seen`` counts how often it got each message."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.seen: Counter[str] = Counter()
        self.last = "0"
        self.gaps = 0
        self.ends: Counter[str] = Counter()
        """How its connections have ended."""

    def take(self, message: dict[str, Any]) -> None:
        """Note a message, or a gap."""
        if "id" in message:
            self.last = message["id"]
            self.seen[message["key"]] += 1
        else:
            self.gaps += 1


class Talker(Follower):
    """Says messages over a WebSocket, and says each again until it is acknowledged."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self.acknowledged: set[str] = set()
        self.refused = 0
        self.overdue = 0
        """How often there was no response to a message within ten seconds."""
        self._waiting = ""  # the key of the message that is not acknowledged yet
        self._heard = asyncio.Event()

    async def run(self) -> None:
        """Talk until the load stops."""
        address = urlsplit(self.load.url)
        while not self.load.is_over:
            # The address of the balancer, under the name of the application.
            uri = f"ws://{HOST}/chat/{ROOM}?after={self.last}"
            try:
                async with connect(
                    uri, host=address.hostname, port=80, proxy=None, close_timeout=1
                ) as socket:
                    await self._talk(socket)
            except ConnectionClosed as error:
                self.ends[str(error.rcvd.code) if error.rcvd else "lost"] += 1
            except (OSError, InvalidHandshake, TimeoutError):
                await asyncio.sleep(COMES_BACK)

    async def _talk(self, socket: ClientConnection) -> None:
        reading = asyncio.create_task(self._read(socket))
        try:
            while not self.load.is_over and not reading.done():
                self._waiting = self._waiting or str(uuid4())
                self._heard.clear()
                await socket.send(json.dumps({"key": self._waiting, "text": "hello"}))
                try:
                    async with asyncio.timeout(10):
                        await self._heard.wait()
                except TimeoutError:
                    self.overdue += 1
                await asyncio.sleep(COMES_BACK if self._waiting else random.uniform(0.02, 0.1))
            while self.load.is_listening and not reading.done():
                await asyncio.sleep(0.02)
            if reading.done():
                await reading
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, ConnectionClosed):
                await reading

    async def _read(self, socket: ClientConnection) -> None:
        try:
            while True:
                message = json.loads(await socket.recv())
                if "acknowledged" in message:
                    self.acknowledged.add(message["acknowledged"])
                    if message["acknowledged"] == self._waiting:
                        self._waiting = ""
                    self._heard.set()
                elif "refused" in message:
                    self.refused += 1
                    self._heard.set()
                else:
                    self.take(message)
        finally:
            self._heard.set()  # that it is over


class Listener(Follower):
    """Follows the room by server-sent events."""

    async def run(self) -> None:
        """Listen until the load stops listening."""
        async with new_client(self.load.url) as client:
            while self.load.is_listening:
                headers = {"Last-Event-ID": self.last}
                try:
                    async with client.stream("GET", f"/live/{ROOM}", headers=headers) as answer:
                        async for line in answer.aiter_lines():
                            if line.startswith("data: "):
                                self.take(json.loads(line.removeprefix("data: ")))
                    self.ends[
                        "end of stream" if answer.status_code == 200 else str(answer.status_code)
                    ] += 1
                except httpx.HTTPError:
                    self.ends["lost"] += 1
                await asyncio.sleep(COMES_BACK)


class Load:
    """All clients. ``async with Load(url, ...) as load``: they work until ``finish``."""

    def __init__(
        self, url: str, users: int = 6, posters: int = 1, talkers: int = 2, listeners: int = 3
    ) -> None:
        self.url = url
        self.is_over = False
        self.is_listening = True
        self.users = [User(self, number) for number in range(users)]
        self.posters = [Poster(self, number) for number in range(posters)]
        self.talkers = [Talker(self) for _ in range(talkers)]
        self.listeners = [Listener(self) for _ in range(listeners)]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        clients: list[User | Talker | Listener] = [*self.askers(), *self.talkers, *self.listeners]
        self._tasks = [asyncio.create_task(one.run()) for one in clients]
        await self.go_on(5)
        await self._until(lambda: all(one.seen for one in self.listeners), "no events")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_over, self.is_listening = True, False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for asker in self.askers():
            await asker.close()

    def askers(self) -> list[User]:
        """Return the clients that ask by requests."""
        return [*self.users, *self.posters]

    def speakers(self) -> list[Talker | Poster]:
        """Return the clients that say messages."""
        return [*self.talkers, *self.posters]

    async def go_on(self, answers: int) -> None:
        """Wait until each user has got so many more answers, and each talker and poster so many
        acknowledgements.
        """

        def counts() -> list[int]:
            return [
                *(one.visits_answered for one in self.users),
                *(len(one.acknowledged) for one in self.speakers()),
            ]

        goal = [count + answers for count in counts()]
        await self._until(
            lambda: all(has >= wanted for has, wanted in zip(counts(), goal, strict=True)),
            "no answers",
        )

    async def finish(self) -> None:
        """Stop saying and asking, and wait until all followers have what was acknowledged, or give
        up.
        """
        self.is_over = True
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self._tasks[: len(self.askers())])
        said = self.said()
        followers: list[Follower] = [*self.talkers, *self.listeners]
        with suppress(TimeoutError):
            await self._until(
                lambda: all(said <= one.seen.keys() for one in followers), "messages are missing"
            )
        self.is_listening = False

    def said(self) -> set[str]:
        """Return the keys of all messages that were acknowledged."""
        return {key for one in self.speakers() for key in one.acknowledged}

    def in_flight(self) -> int:
        """Return how many requests wait for their answers."""
        return sum(asker.in_flight for asker in self.askers())

    def outcomes(self) -> list[Outcome]:
        """Return all requests, in the order in which they ended."""
        return sorted(
            (one for asker in self.askers() for one in asker.outcomes),
            key=lambda outcome: outcome.ended,
        )

    async def _until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = now() + PATIENCE
        while not condition():
            for task in self._tasks:
                if task.done() and not task.cancelled() and (error := task.exception()):
                    raise error
            if now() > deadline:
                raise TimeoutError(f"{what} for {PATIENCE:g} seconds")
            await asyncio.sleep(0.02)


def new_client(url: str) -> httpx.AsyncClient:
    """Return a client with a cookie jar of its own."""
    return httpx.AsyncClient(
        base_url=url, headers=HEADERS, timeout=PATIENCE / 2, trust_env=False, verify=False
    )


def kind_of(answer: httpx.Response) -> str:
    """Return the kind of an answer; see ``Outcome``."""
    if answer.status_code == 200:
        return ANSWERED
    if answer.status_code == 403 and "log in" in answer.text:
        return STRANGER
    # 502 and 504 are the balancer's: the server has not answered.
    return {503: REFUSED, 502: LOST, 504: LOST}.get(answer.status_code, FAILED)


async def ask_until_answered(client: httpx.AsyncClient, path: str) -> Any:
    """Return the JSON of a path, asked for until it is answered by 200."""
    return (await until(lambda: client.get(path), lambda answer: answer.status_code == 200)).json()


async def until(
    ask: Callable[[], Awaitable[httpx.Response]], is_fine: Callable[[httpx.Response], bool]
) -> httpx.Response:
    """Ask until the answer is fine. Raises ``TimeoutError``."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(httpx.HTTPError):
                if is_fine(answer := await ask()):
                    return answer
            await asyncio.sleep(COMES_BACK)


def now() -> float:
    """Return the time of the event loop's clock."""
    return asyncio.get_running_loop().time()
