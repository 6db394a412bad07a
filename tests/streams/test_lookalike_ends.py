"""Exceptions that would look like the end of an iterator, or like a wait that has taken too long: a
response that they break off must not look complete.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from queue import Empty
from typing import Any

import httpx2 as httpx
import pytest

from micropie import App, EventStream, HttpMiddleware, Request, event, run_async
from tests.support.clients import MakeClient


class Wrong:
    """A value that ``App(encoders=...)`` can't convert."""


@dataclass
class Row:
    value: Any


class Markup:
    def __init__(self, ending: type[Exception]) -> None:
        self._ending = ending

    def __html__(self) -> str:
        raise self._ending


class Silent:
    """An async iterator that has no item."""

    def __aiter__(self) -> Silent:
        return self

    async def __anext__(self) -> str:
        raise StopAsyncIteration


class Later:
    """An iterator whose second item raises an exception."""

    def __init__(self, ending: type[Exception]) -> None:
        self._ending = ending
        self._count = 0

    def __iter__(self) -> Later:
        return self

    def __next__(self) -> str:
        self._count += 1
        if self._count == 2:
            raise self._ending
        return "x"


class Root(App):
    def __init__(self, ending: type[Exception]) -> None:
        super().__init__(encoders={Wrong: self._convert})
        self.ending = ending
        self.mount("/wsgi", self._as_wsgi)
        self.mount("/asgi", self._as_asgi)

    def first(self) -> Iterator[Any]:
        raise self.ending
        yield "x"

    def later(self) -> Iterator[Any]:
        yield "x"
        raise self.ending

    async def asynchronous(self) -> AsyncIterator[Any]:
        yield "x"
        raise self.ending

    def awaited(self) -> Iterator[Any]:
        yield "x"
        yield run_async(Silent().__anext__)

    def rows(self) -> Iterator[Row]:
        yield Row(1)
        yield Row(Wrong())

    async def async_rows(self) -> AsyncIterator[Row]:
        yield Row(1)
        yield Row(Wrong())

    def html(self) -> Iterator[Any]:
        yield "x"
        yield Markup(self.ending)

    async def async_html(self) -> AsyncIterator[Any]:
        yield "x"
        yield Markup(self.ending)

    def events(self) -> EventStream:
        return EventStream(self.later())

    def event_data(self) -> EventStream:
        return EventStream(event({"value": value}) for value in (1, Wrong()))

    async def async_events(self) -> EventStream:
        return EventStream(self.asynchronous())

    def _convert(self, value: Wrong) -> str:
        raise self.ending

    def _as_wsgi(self, environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield b"x"
        raise self.ending

    async def _as_asgi(self, scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise self.ending


PATHS = [name for name, value in vars(Root).items() if callable(value) and name[0] != "_"]


@pytest.mark.parametrize("ending", [StopIteration, StopAsyncIteration, Empty])
@pytest.mark.parametrize("path", [*PATHS, "wsgi/", "asgi/"])
def test_a_stream_that_raises_the_end_of_an_iterator_is_aborted(
    make_client: MakeClient, path: str, ending: type[Exception]
) -> None:
    client = make_client(Root(ending), raise_app_exceptions=False)
    if path == "first":
        assert client.get(f"/{path}").status_code == 500
        return
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"/{path}")


def test_an_iterator_may_end_only_by_its_own_kind_of_exception(make_client: MakeClient) -> None:
    class Iterators(App):
        def ends(self) -> Any:
            return Later(StopIteration)

        def fails(self) -> Any:
            return Later(StopAsyncIteration)

    client = make_client(Iterators(), raise_app_exceptions=False)
    assert client.get("/ends").text == "x"
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/fails")


def test_async_code_may_raise_what_a_thread_catches_that_waits_for_it(
    make_client: MakeClient,
) -> None:
    class Waits(App):
        def index(self) -> str:
            try:
                return run_async(self._raise)
            except Empty:
                return "empty"

        async def _raise(self) -> str:
            raise Empty

    assert make_client(Waits()).get("/").text == "empty"


def test_middleware_that_reads_a_stream_gets_no_early_end(make_client: MakeClient) -> None:
    class Upper(HttpMiddleware):
        def after_request(
            self, request: Request, status: int, response_body: Any, extra_headers: Any
        ) -> Any:
            return {"body": upper(response_body)}

    def upper(body: Any) -> Any:
        async def chunks() -> AsyncIterator[bytes]:
            async for chunk in body:
                yield chunk.upper()

        return chunks() if hasattr(body, "__aiter__") else (chunk.upper() for chunk in body)

    for path, ending in (("rows", StopIteration), ("async_rows", StopAsyncIteration)):
        app = Root(ending)
        app.middlewares.append(Upper())
        client = make_client(app, raise_app_exceptions=False)
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(f"/{path}")
