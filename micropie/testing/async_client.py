"""The test client for async tests: the application runs in the test's own event loop, asyncio or trio.

The client is httpx's asynchronous one. A ``TestClient`` answers its requests, called in worker threads: so it has the
same behaviour, and no twin of its code. What the test and the application share, such as a connection that belongs to
a loop, is used in one loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, ParamSpec, Self, TypeVar, cast

import anyio
import anyio.abc
import httpx
from anyio import CapacityLimiter, from_thread, to_thread
from httpx_sse import ServerSentEvent, aconnect_sse

from micropie.testing.asgi import AppLoop, ASGITransport, Message
from micropie.testing.client import TestClient
from micropie.testing.errors import ClientError
from micropie.testing.websocket import WebSocketSession

Result = TypeVar("Result")
P = ParamSpec("P")

_END: Final = object()


class AsyncTestClient(httpx.AsyncClient):
    """``TestClient`` for async tests, with the same options and methods, which are awaited::

        async with AsyncTestClient(app) as client:
            assert (await client.get("/")).status_code == 200
            async with client.websocket("/chat") as ws:
                await ws.send_text("hello")

    It is an ``httpx.AsyncClient``. The application runs in the loop of the test, so there is no ``backend``. It has to
    be entered; that runs the application's start-up. ``client.client`` is the ``TestClient``, which has the same
    cookies and headers.
    """

    __test__ = False  # or pytest would collect it, because of its name

    def __init__(self, app: Callable[..., object], **options: Any) -> None:
        self.client = client = TestClient(app, **options)
        self._app_loop: AppLoop | None = None
        self._threads = CapacityLimiter(100)
        super().__init__(
            transport=_Threads(self),
            base_url=client.base_url,
            headers=client.headers,
            follow_redirects=client.follow_redirects,
            timeout=None,
            trust_env=False,
        )

    @property
    def cookies(self) -> httpx.Cookies:
        """The client's cookies."""
        return self.client.cookies

    @cookies.setter
    def cookies(self, cookies: Any) -> None:
        self.client.cookies = cookies

    @property
    def headers(self) -> httpx.Headers:
        """The headers of every request."""
        return self.client.headers

    @headers.setter
    def headers(self, headers: Any) -> None:
        self.client.headers = headers

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._app_loop = loop = AppLoop()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(loop.run)
        if isinstance(self.client.app_transport, ASGITransport):
            self.client.app_transport.use_loop(loop)
        try:
            await self.call(self.client.__enter__)
        except BaseException:
            await self._leave(loop)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        assert self._app_loop is not None  # noqa: S101
        try:
            with anyio.CancelScope(shield=True):
                await self.call(self.client.__exit__, kind, error, traceback)
        finally:
            await self._leave(self._app_loop)

    async def _leave(self, loop: AppLoop) -> None:
        loop.stop()
        self._tasks.cancel_scope.shield = True
        await self._tasks.__aexit__(None, None, None)  # without the test's own error: the group would wrap it
        await super().__aexit__()

    async def call(self, function: Callable[P, Result], *arguments: P.args, **options: P.kwargs) -> Result:
        """Call a function of the ``TestClient`` in a worker thread."""
        if self._app_loop is None:
            raise ClientError(
                "the application runs in the test's loop: write async with AsyncTestClient(app) as client"
            )
        call = partial(function, *arguments, **options)
        return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)

    def build_request(self, method: str, url: httpx.URL | str, *, content: Any = None, **options: Any) -> httpx.Request:
        """Make a request, whose content may be iterated in either way."""
        if isinstance(content, Iterable) and not isinstance(content, str | bytes):
            content = self.each(iter(content))
        return super().build_request(method, url, content=content, **options)

    @asynccontextmanager
    async def sse(self, url: str, method: str = "GET", **options: Any) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        """Follow a stream of server-sent events: ``async for event in events``. See ``TestClient.sse``."""
        async with aconnect_sse(self, method, url, **options) as source:
            source.response.raise_for_status()
            yield source.aiter_sse()

    @asynccontextmanager
    async def websocket(self, url: str, **options: Any) -> AsyncIterator[AsyncWebSocketSession]:
        """Connect a WebSocket; the options are those of ``TestClient.websocket``."""
        async with self._entered(self.client.websocket(url, **options)) as session:
            yield AsyncWebSocketSession(session, self)

    @asynccontextmanager
    async def session_transaction(self) -> AsyncIterator[dict[str, Any]]:
        """Read and change the client's session. See ``TestClient.session_transaction``."""
        async with self._entered(self.client.session_transaction()) as session:
            yield session

    async def login(self, **values: object) -> None:
        """Set keys of the session. See ``TestClient.login``."""
        await self.call(self.client.login, **values)

    async def logout(self) -> None:
        """Empty the session, and send no name and password any more."""
        await self.call(self.client.logout)

    def login_basic(self, name: str, password: str) -> None:
        """Send name and password with every request and WebSocket. Nothing waits, so this is not awaited."""
        self.client.login_basic(name, password)

    def override(self, key: object, fake: object) -> AbstractContextManager[object]:
        """Have ``fake`` provide ``key``. Nothing waits, so this is not awaited. See ``TestClient.override``."""
        return self.client.override(key, fake)

    @asynccontextmanager
    async def _entered(self, manager: AbstractContextManager[Result]) -> AsyncIterator[Result]:
        """Enter and leave a context manager of the ``TestClient``."""
        value = await self.call(manager.__enter__)
        try:
            yield value
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self.call(manager.__exit__, type(error), error, error.__traceback__)
            raise
        await self.call(manager.__exit__, None, None, None)

    async def each(self, items: Iterator[Result]) -> AsyncIterator[Result]:
        item: Any
        while (item := await self.call(next, items, _END)) is not _END:
            yield item


class _Threads(httpx.AsyncBaseTransport):
    """Has the transport of the ``TestClient`` answer a request, in worker threads."""

    def __init__(self, client: AsyncTestClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not isinstance(request.stream, httpx.SyncByteStream):
            request.stream = _Content(request.stream)
        response = await self._client.call(self._client.client.app_transport.handle_request, request)
        response.stream = _Body(cast(httpx.SyncByteStream, response.stream), self._client)
        return response


class _Content(httpx.SyncByteStream):
    """A request's content, for the worker thread: an asynchronous iterator of the test."""

    def __init__(self, chunks: httpx.AsyncByteStream) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._chunks)
        while (chunk := from_thread.run(anext, chunks, None)) is not None:
            yield chunk


class _Body(httpx.AsyncByteStream):
    """An answer's body, for the test: it is read in worker threads."""

    def __init__(self, body: httpx.SyncByteStream, client: AsyncTestClient) -> None:
        self._body = body
        self._client = client

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._client.each(iter(self._body))

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._client.call(self._body.close)


class AsyncWebSocketSession:
    """The client's end of a WebSocket, as ``WebSocketSession`` with methods that are awaited."""

    def __init__(self, session: WebSocketSession, client: AsyncTestClient) -> None:
        self._session = session
        self._call = client.call
        self.accepted_subprotocol = session.accepted_subprotocol
        self.headers = session.headers

    async def send(self, message: Message) -> None:
        """Send a raw ``websocket.receive`` message."""
        self._session.send(message)

    async def send_text(self, text: str) -> None:
        self._session.send_text(text)

    async def send_bytes(self, data: bytes) -> None:
        self._session.send_bytes(data)

    async def send_json(self, value: object, *, binary: bool = False) -> None:
        self._session.send_json(value, binary=binary)

    async def receive(self, timeout: float | None = None) -> Message:  # noqa: ASYNC109 - that of WebSocketSession
        """Return the application's next ``websocket.send`` message."""
        return await self._call(self._session.receive, timeout)

    async def receive_text(self, timeout: float | None = None) -> str:  # noqa: ASYNC109
        return await self._call(self._session.receive_text, timeout)

    async def receive_bytes(self, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._call(self._session.receive_bytes, timeout)

    async def receive_json(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """Return the decoded JSON of a text or a binary message."""
        return await self._call(self._session.receive_json, timeout)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame."""
        self._session.close(code, reason)
