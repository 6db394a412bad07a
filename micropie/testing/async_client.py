"""The test client for async tests. The application runs on the test's own event loop, asyncio or
trio.

The client is httpx2's asynchronous client. It passes its requests to a ``TestClient``, which it
calls in worker threads. So both clients behave the same, and share their code. The test and the
application run on the same loop, so they can share an object that belongs to a loop, such as a
database connection.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterator,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, cast

import anyio
from anyio import CapacityLimiter, from_thread, to_thread

from micropie.testing.asgi import ASGITransport, current_loop
from micropie.testing.client import SocketOptions, TestClient
from micropie.testing.errors import ClientError
from micropie.testing.library import Events, event_headers, httpx
from micropie.testing.websocket import WebSocketSession

if TYPE_CHECKING:
    from micropie.testing.client import CookieTypes
    from micropie.testing.library import HeaderTypes

T = TypeVar("T")
P = ParamSpec("P")

_END = object()


class Portal(httpx.AsyncBaseTransport):
    """Calls the methods of the ``TestClient`` in worker threads, from the test's loop.

    It is also a transport of httpx2 that passes requests to the transport of the ``TestClient``.
    Entering and leaving the portal enters and leaves the ``TestClient``.
    """

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self._stack = AsyncExitStack()
        self._threads: CapacityLimiter | None = None  # created on entry

    async def call(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        """Call a function in a worker thread. If the test is cancelled, wait for the thread, which
        stops waiting for the application: it must not take a message that the test needs later.
        """
        if self._threads is None:
            sentence = (
                "the client isn't open, so the application has no event loop: use the client "
                "inside async with AsyncTestClient(app) as client"
            )
            raise ClientError(sentence)
        call = partial(function, *arguments, **options)
        return await to_thread.run_sync(call, limiter=self._threads)

    async def complete(self, function: Callable[..., T], *arguments: object) -> T:
        """Call a function, even if the test is cancelled."""
        with anyio.CancelScope(shield=True):
            value = await self.call(function, *arguments)
        return value  # noqa: RET504 - mypy assumes that the scope may swallow exceptions

    async def each(self, items: Iterator[T]) -> AsyncIterator[T]:
        """Iterate over an iterator by calling it in worker threads."""
        item: Any
        while (item := await self.call(next, items, _END)) is not _END:
            yield item

    @asynccontextmanager
    async def entered(self, manager: AbstractContextManager[T]) -> AsyncIterator[T]:
        """An async context manager that enters and leaves ``manager`` in worker threads."""
        async with AsyncExitStack() as stack:
            value = await self.call(manager.__enter__)
            stack.push_async_exit(partial(self.complete, manager.__exit__))
            yield value

    async def __aenter__(self) -> Self:
        self._threads = CapacityLimiter(100)
        async with AsyncExitStack() as stack:
            transport = self._client.app_transport
            if isinstance(transport, ASGITransport):
                transport.use_loop(await stack.enter_async_context(current_loop()))
            await stack.enter_async_context(self.entered(self._client))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._stack.__aexit__(*error)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if isinstance(request.stream, _Body):
            request.stream = request.stream.body
        elif not isinstance(request.stream, httpx.SyncByteStream):
            request.stream = cast(httpx.SyncByteStream, _content(aiter(request.stream)))
        response = await self.call(self._client.app_transport.handle_request, request)
        response.stream = _Body(cast(httpx.SyncByteStream, response.stream), self)
        return response


def _content(chunks: AsyncIterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks of a request's content in a worker thread. The async iterator ``chunks``,
    which the test passed as the content, runs on the test's event loop.
    """
    while (chunk := from_thread.run(anext, chunks, None)) is not None:
        yield chunk


class _Body(httpx.AsyncByteStream):
    """The async body of a response, which reads the synchronous one in worker threads."""

    def __init__(self, body: httpx.SyncByteStream, portal: Portal) -> None:
        self.body = body
        self._portal = portal

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._portal.each(iter(self.body))

    async def aclose(self) -> None:
        await self._portal.complete(self.body.close)


def awaited(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """Return an async method that calls ``method``, a method of the synchronous class."""

    @wraps(method)
    async def call(
        self: AsyncTestClient | AsyncWebSocketSession, *arguments: P.args, **options: P.kwargs
    ) -> T:
        return await self._portal.call(method, self._sync, *arguments, **options)

    return call  # type: ignore[return-value]  # ``self`` has a narrower type


class AsyncWebSocketSession:
    """The client's end of a WebSocket: like ``WebSocketSession``, but its methods are awaited."""

    def __init__(self, session: WebSocketSession, portal: Portal) -> None:
        self._sync = session
        self._portal = portal
        self.accepted_subprotocol = session.accepted_subprotocol
        self.headers = session.headers

    send = awaited(WebSocketSession.send)
    send_text = awaited(WebSocketSession.send_text)
    send_bytes = awaited(WebSocketSession.send_bytes)
    send_json = awaited(WebSocketSession.send_json)
    receive = awaited(WebSocketSession.receive)
    receive_text = awaited(WebSocketSession.receive_text)
    receive_bytes = awaited(WebSocketSession.receive_bytes)
    receive_json = awaited(WebSocketSession.receive_json)
    close = awaited(WebSocketSession.close)


class AsyncTestClient(httpx.AsyncClient):
    """The ``TestClient`` for async tests. It has the same options and methods, but the methods are
    awaited::

        async with AsyncTestClient(app) as client:
            assert (await client.get("/")).status_code == 200
            async with client.websocket("/chat") as ws:
                await ws.send_text("hello")

    The client is an ``httpx2.AsyncClient``. The application runs on the test's loop, so there is no
    option ``backend``. Use the client with ``async with``, which runs the application's startup.
    ``client.client`` is the ``TestClient``, which has the same cookies and headers.
    """

    __test__ = False  # otherwise pytest would collect it because of its name

    def __init__(self, app: Callable[..., object], **options: Any) -> None:
        self.client = self._sync = client = TestClient(app, **options)
        self._portal = portal = Portal(client)
        self.call = portal.call
        super().__init__(
            transport=portal,
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
    def cookies(self, cookies: CookieTypes) -> None:
        self.client.cookies = cookies

    @property
    def headers(self) -> httpx.Headers:
        """The headers of every request."""
        return self.client.headers

    @headers.setter
    def headers(self, headers: HeaderTypes) -> None:
        self.client.headers = headers

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        """Build a request. Its content may be a sync or an async iterable."""
        request = super().build_request(method, url, **options)
        if not isinstance(request.stream, httpx.AsyncByteStream):
            request.stream = _Body(request.stream, self._portal)
        return request

    @asynccontextmanager
    async def sse(
        self,
        url: httpx.URL | str,
        method: str = "GET",
        headers: HeaderTypes | None = None,
        **options: Any,
    ) -> AsyncIterator[Events]:
        """Follow a stream of server-sent events: ``async for event in events``.

        See ``TestClient.sse``.
        """
        async with self.stream(method, url, headers=event_headers(headers), **options) as response:
            if response.is_error:
                await response.aread()  # for a test that looks at the body
            yield Events(response, self.client.app_transport.settings.app_timeout)

    @asynccontextmanager
    async def websocket(  # type: ignore[override]  # the signature of TestClient.websocket
        self, url: str, *, subprotocols: Sequence[str] = (), **options: Unpack[SocketOptions]
    ) -> AsyncIterator[AsyncWebSocketSession]:
        """Connect a WebSocket; the options are those of ``TestClient.websocket``."""
        async with self._portal.entered(
            self.client.websocket(url, subprotocols=subprotocols, **options)
        ) as session:
            yield AsyncWebSocketSession(session, self._portal)

    def session_transaction(self) -> AbstractAsyncContextManager[dict[str, Any]]:
        """Read and change the client's session. See ``TestClient.session_transaction``."""
        return self._portal.entered(self.client.session_transaction())

    login = awaited(TestClient.login)
    """Set keys of the session. See ``TestClient.login``."""

    post_form = awaited(TestClient.post_form)
    """Load a page, and send its form. See ``TestClient.post_form``."""

    logout = awaited(TestClient.logout)
    """Clear the session, and stop sending a name and a password."""

    def login_basic(self, name: str, password: str) -> None:
        """Send a name and a password with every request and WebSocket. This method isn't
        awaited.
        """
        self.client.login_basic(name, password)

    def override(self, key: object, fake: object) -> AbstractContextManager[object]:
        """Replace the provider of ``key`` with ``fake``; see ``TestClient.override``. This method
        isn't awaited.
        """
        return self.client.override(key, fake)
