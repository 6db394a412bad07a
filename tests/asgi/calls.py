"""An ASGI server that a test controls: which messages ``receive`` returns and when, and how
``send`` behaves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import pytest
from anyio.lowlevel import checkpoint

from tests.support.waiting import PATIENCE

Message = dict[str, Any]
Value = TypeVar("Value")

every_loop = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def run(
    backend: str, function: Callable[..., Awaitable[Value]], *args: Any, within: float = PATIENCE
) -> Value:
    """Run ``function`` on a new event loop. Raises ``TimeoutError`` if it hangs."""

    async def bounded() -> Value:
        with anyio.fail_after(within):
            return await function(*args)

    return anyio.run(bounded, backend=backend)


def http_scope(method: str = "GET", path: str = "/", /, **changes: Any) -> Message:
    """A scope as uvicorn makes one."""
    target, _, query = path.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": target,
        "raw_path": target.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        **changes,
    }


def piece(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


DISCONNECT: Message = {"type": "http.disconnect"}


class Call:
    """One request: ``receive`` returns ``incoming``, then waits for ``leave``; ``sent`` has the
    application's messages.
    """

    def __init__(self, *incoming: Message) -> None:
        self.incoming = list(incoming)
        self.sent: list[Message] = []
        self.received = 0
        self._gone = anyio.Event()

    def leave(self) -> None:
        """Disconnect the client: from now on ``receive`` returns the disconnect."""
        self._gone.set()

    async def receive(self) -> Message:
        self.received += 1
        if self.incoming:
            return self.incoming.pop(0)
        await self._gone.wait()
        return DISCONNECT

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in self.sent[0]["headers"]
        }

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    @property
    def is_complete(self) -> bool:
        return len(self.sent) > 1 and not self.sent[-1].get("more_body", False)


class Lifespan:
    """The server's side of a lifespan: `say` gives what the application answered, `raised` what it
    raised after a failure.
    """

    def __init__(self, app: Any, state: dict[str, Any] | None = None) -> None:
        self.scope: Message = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
        }
        if state is not None:
            self.scope["state"] = state
        self._app = app
        self._to_app = anyio.create_memory_object_stream[Message](2)
        self._from_app = anyio.create_memory_object_stream[Message](2)
        self._failed = False
        self.raised: Exception | None = None

    async def run(self) -> None:
        try:
            await self._app(self.scope, self._to_app[1].receive, self._send)
        except Exception as error:
            if not self._failed:
                raise
            self.raised = error

    async def _send(self, message: Message) -> None:
        self._failed = message["type"].endswith(".failed")
        await self._from_app[0].send(message)

    async def say(self, phase: str) -> Message:
        await self._to_app[0].send({"type": f"lifespan.{phase}"})
        return await self._from_app[1].receive()

    def close(self) -> None:
        for stream in (*self._to_app, *self._from_app):
            stream.close()


async def get(
    app: Any, path: str = "/", method: str = "GET", /, *incoming: Message, **changes: Any
) -> Call:
    """One request, answered; the application is called as a server would call it."""
    call = Call(*(incoming or (piece(b""),)))
    await app(http_scope(method, path, **changes), call.receive, call.send)
    return call


def posted(backend: str, app: Any, path: str, /, *incoming: Message, **changes: Any) -> Call:
    """The answer to one POST, on a new event loop."""
    return run(backend, lambda: get(app, path, "POST", *incoming, **changes))


async def serve(
    app: Any, call: Call, path: str, with_lifespan: bool, cancels: anyio.CancelScope | None = None
) -> None:
    """Answer one request; the server runs the lifespan, or it does not, and may cancel the request
    by ``cancels``.

    ``path`` may name another method than GET: ``"HEAD /"``.
    """
    cancels = cancels or anyio.CancelScope()
    method, _, path = path.rpartition(" ")
    scope = http_scope(method or "GET", path)
    if not with_lifespan:
        with cancels:
            await app(scope, call.receive, call.send)
        return
    lifespan = Lifespan(app, {})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lifespan.run)
        await lifespan.say("startup")
        try:
            with cancels:
                await app(
                    {**scope, "state": dict(lifespan.scope["state"])}, call.receive, call.send
                )
        finally:
            await lifespan.say("shutdown")
    lifespan.close()


async def ended_by_shutdown(app: Any, path: str, messages: int = 2) -> Call:
    """A stream that the server's word ``lifespan.shutdown`` ends, when so many messages have been
    sent.
    """
    lifespan, call = Lifespan(app, {}), Call(piece(b""))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lifespan.run)
        await lifespan.say("startup")
        tasks.start_soon(app, http_scope("GET", path), call.receive, call.send)
        while len(call.sent) < messages:
            await checkpoint()
        await lifespan.say("shutdown")
        while not call.is_complete:
            await checkpoint()
    lifespan.close()
    return call


# The head of a response in plain text.
START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain")],
}


async def respond(send: Any, body: bytes, content_type: bytes = b"text/plain") -> None:
    """Send a whole response, as an application of ASGI does."""
    await send({**START, "headers": [(b"content-type", content_type)]})
    await send({"type": "http.response.body", "body": body})
