"""The test client for async tests: the application runs in the test's own event loop, asyncio or trio.

The client is the ``TestClient``, called in worker threads: so it has the same behaviour, and no twin of its code. What
the test and the application share, such as a connection that belongs to a loop, is used in one loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, ParamSpec, Self, TypedDict, TypeVar, Unpack

import anyio
import anyio.abc
import httpx
from anyio import CapacityLimiter, to_thread
from httpx_sse import ServerSentEvent

from micropie.testing.app_call import Message
from micropie.testing.app_hooks import Override
from micropie.testing.asgi import ASGITransport
from micropie.testing.client import TestClient
from micropie.testing.errors import ClientError
from micropie.testing.loop import AppLoop
from micropie.testing.websocket import WebSocketSession

if TYPE_CHECKING:
    from httpx._types import (
        AuthTypes,
        CookieTypes,
        HeaderTypes,
        QueryParamTypes,
        RequestContent,
        RequestData,
        RequestExtensions,
        RequestFiles,
        TimeoutTypes,
    )
Result = TypeVar("Result")
P = ParamSpec("P")

_END: Final = object()


class RequestOptions(TypedDict, total=False):
    """What httpx takes with a request."""

    content: RequestContent | None
    data: RequestData | None
    files: RequestFiles | None
    json: object
    params: QueryParamTypes | None
    headers: HeaderTypes | None
    cookies: CookieTypes | None
    auth: AuthTypes | None
    follow_redirects: bool
    timeout: TimeoutTypes
    extensions: RequestExtensions | None


class AsyncTestClient:
    """``TestClient`` for async tests, with the same options and methods, which are awaited::

        async with AsyncTestClient(app) as client:
            assert (await client.get("/")).status_code == 200
            async with client.websocket("/chat") as ws:
                await ws.send_text("hello")

    The application runs in the loop of the test, so there is no ``backend``. It has to be entered; that runs the
    application's start-up. ``client.client`` is the ``TestClient``, for cookies and headers.
    """

    __test__ = False  # or pytest would collect it, because of its name

    def __init__(self, app: Callable[..., object], **options: Any) -> None:
        self.client = TestClient(app, **options)
        self._threads = CapacityLimiter(100)
        self._loop: AppLoop | None = None

    async def __aenter__(self) -> Self:
        self._loop = loop = AppLoop()
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        with anyio.CancelScope(shield=True):  # takes a turn of the loop; who is cancelled has something to leave then
            await self._tasks.start(loop.run)
        transport = self.client._app_transport
        if isinstance(transport, ASGITransport):
            transport.use_loop(loop)
        try:
            await self._call(self.client.__enter__)
        except BaseException:
            await self._leave(loop)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._loop is not None  # noqa: S101
        try:
            with anyio.CancelScope(shield=True):
                await self._call(self.client.__exit__, kind, error, traceback)
        finally:
            await self._leave(self._loop)

    async def _leave(self, loop: AppLoop) -> None:
        loop.stop()
        self._tasks.cancel_scope.shield = True
        await self._tasks.__aexit__(None, None, None)  # without the test's own error: the group would wrap it

    async def _call(self, function: Callable[P, Result], *arguments: P.args, **options: P.kwargs) -> Result:
        if self._loop is None:
            raise ClientError(
                "the application runs in the test's loop: write async with AsyncTestClient(app) as client"
            )
        call = partial(function, *arguments, **options)
        return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._threads)

    async def request(self, method: str, url: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        """Send a request and return its answer, whose body has been read; ``options`` are those of httpx."""
        return await self._call(self.client.request, method, url, **options)

    async def get(self, url: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        return await self.request("GET", url, **options)

    async def head(self, url: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        return await self.request("HEAD", url, **options)

    async def options(self, url: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        return await self.request("OPTIONS", url, **options)

    async def post(self, url: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        return await self.request("POST", url, **options)

    async def put(self, url: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        return await self.request("PUT", url, **options)

    async def patch(self, url: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        return await self.request("PATCH", url, **options)

    async def delete(self, url: str, **options: Unpack[RequestOptions]) -> httpx.Response:
        return await self.request("DELETE", url, **options)

    @asynccontextmanager
    async def stream(self, method: str, url: str, **options: Unpack[RequestOptions]) -> AsyncIterator[AsyncResponse]:
        """Send a request; the body is read as it comes: ``async for line in answer.aiter_lines()``."""
        async with self._entered(self.client.stream(method, url, **options)) as answer:
            yield AsyncResponse(answer, self)

    @asynccontextmanager
    async def sse(
        self, url: str, method: str = "GET", **options: Unpack[RequestOptions]
    ) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        """Follow a stream of server-sent events: ``async for event in events``. See ``TestClient.sse``."""
        async with self._entered(self.client.sse(url, method, **options)) as events:
            yield self._each(events)

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
        await self._call(self.client.login, **values)

    async def logout(self) -> None:
        """Empty the session, and send no name and password any more."""
        await self._call(self.client.logout)

    def login_basic(self, name: str, password: str) -> None:
        """Send name and password with every request and WebSocket. Nothing waits, so this is not awaited."""
        self.client.login_basic(name, password)

    def override(self, key: object, fake: object) -> Override:
        """Have ``fake`` provide ``key``. Nothing waits, so this is not awaited. See ``TestClient.override``."""
        return self.client.override(key, fake)

    @property
    def cookies(self) -> httpx.Cookies:
        """The client's cookies."""
        return self.client.cookies

    @property
    def headers(self) -> httpx.Headers:
        """The headers of every request."""
        return self.client.headers

    @asynccontextmanager
    async def _entered(self, manager: AbstractContextManager[Result]) -> AsyncIterator[Result]:
        """Enter and leave a context manager of the ``TestClient``."""
        value = await self._call(manager.__enter__)
        try:
            yield value
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._call(manager.__exit__, type(error), error, error.__traceback__)
            raise
        await self._call(manager.__exit__, None, None, None)

    async def _each(self, items: Iterator[Result]) -> AsyncIterator[Result]:
        item: Any
        while (item := await self._call(next, items, _END)) is not _END:
            yield item


class AsyncResponse:
    """An answer whose body has not been read: httpx's response, with its methods for async code."""

    def __init__(self, response: httpx.Response, client: AsyncTestClient) -> None:
        self._response = response
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    async def aread(self) -> bytes:
        """Return the whole body."""
        return await self._client._call(self._response.read)

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """Yield the body as it is sent."""
        return self._client._each(self._response.iter_raw())

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body, decompressed."""
        return self._client._each(self._response.iter_bytes())

    def aiter_text(self) -> AsyncIterator[str]:
        """Yield the body as text."""
        return self._client._each(self._response.iter_text())

    def aiter_lines(self) -> AsyncIterator[str]:
        """Yield the lines of the body."""
        return self._client._each(self._response.iter_lines())


class AsyncWebSocketSession:
    """The client's end of a WebSocket, as ``WebSocketSession`` with methods that are awaited."""

    def __init__(self, session: WebSocketSession, client: AsyncTestClient) -> None:
        self._session = session
        self._call = client._call

    @property
    def accepted_subprotocol(self) -> str | None:
        """The subprotocol that the application chose."""
        return self._session.accepted_subprotocol

    @property
    def headers(self) -> httpx.Headers:
        """The headers of the handshake's answer."""
        return self._session.headers

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
