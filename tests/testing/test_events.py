"""The test clients dispatch the events of a stream as a browser does (HTML, section 9.2.6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx2 as httpx
import pytest

from micropie import App, EventStream, HTTPError, Response, event
from micropie.testing import AppTimeout, AsyncTestClient
from tests.support.clients import MakeClient
from tests.support.event_source import parsed

STREAMS = {
    "no data": "event: a\n\ndata: x\n\n",
    "an empty line of data": "event: a\ndata:\n\n",
    "data without a colon": "data\n\ndata\ndata\n\n",
    "an id alone": "id: 7\n\ndata: x\n\nid\ndata: y\n\n",
    "an id with NUL": "id: 7\ndata: x\n\nid: a\0b\ndata: y\n\n",
    "lines": "data: a\r\ndata: b\rdata: c\n\r\n",
    "blanks": "data:  a \ndata:b\n\n",
    "comments": ": data: a\n\n:\ndata: b\n:c\n\n",
    "other fields": "x: 1\ndata: a\nDATA: b\n\n",
    "unfinished": "data: a\n\ndata: b\n",
    "unfinished line": "data: a\n\ndata: b",
    "nothing": "",
    "a name for one event": "event: a\ndata: 1\n\ndata: 2\n\nevent: b\n\ndata: 3\n\n",
    "unicode lines": "data: a\u2028b\x85c\x0b\n\n",
    "ends with CR": "data: a\r\r",
    "micropie's": bytes(event(None, event="finished") + event("x", id=1, retry=5)).decode(),
}


@pytest.fixture(autouse=True)
def _no_new_threads() -> None:
    """``make_client`` keeps its loops for the next test."""


class Site(App):
    async def stream(self, name: str, size: int) -> Any:
        text = STREAMS[name].encode()

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(text), size):
                yield text[at : at + size]

        return Response(pieces(), content_type="text/event-stream")

    async def finished(self) -> EventStream:
        async def made() -> AsyncIterator[object]:
            yield event("x")
            yield event(None, event="finished")

        return EventStream(made())

    async def retries(self) -> Any:
        text = "retry: 5\ndata: a\n\nretry: x\ndata: b\n\nretry: -1\ndata: c\n\n"
        return Response(text, content_type="text/event-stream")

    async def silent(self) -> EventStream:
        async def made() -> AsyncIterator[object]:
            yield "x"
            await anyio.sleep_forever()

        return EventStream(made(), heartbeat=0.02)

    async def refused(self) -> str:
        raise HTTPError(403, "Not for you.")

    async def page(self) -> str:
        return "data: x\n\n"


@pytest.mark.parametrize("size", [1, 2, 1000])
@pytest.mark.parametrize("name", [name for name in STREAMS if name != "ends with CR"])
def test_events_are_read_as_by_a_browser(make_client: MakeClient, name: str, size: int) -> None:
    with make_client(Site()).sse("/stream", params={"name": name, "size": size}) as events:
        seen = [(one.data, one.event, one.id) for one in events]
    assert seen == [*map(tuple, parsed(STREAMS[name].encode()))]


def test_an_incomplete_line_is_waited_for(make_client: MakeClient) -> None:
    params = {"name": "ends with CR", "size": 1}
    with make_client(Site()).sse("/stream", params=params) as events:
        assert [*events] == []


def test_an_event_with_only_a_name_arrives(make_client: MakeClient) -> None:
    with make_client(Site()).sse("/finished") as events:
        assert [(one.event, one.data) for one in events] == [("message", "x"), ("finished", "")]


def test_an_invalid_retry_is_ignored(make_client: MakeClient) -> None:
    with make_client(Site()).sse("/retries") as events:
        assert [one.retry for one in events] == [5, None, None]


def test_a_response_of_another_media_type_is_refused(make_client: MakeClient) -> None:
    with (
        make_client(Site()).sse("/page") as events,
        pytest.raises(httpx.SSEError, match="'text/html', not text/event-stream"),
    ):
        next(events)


def test_the_async_client_reads_events(backend: str) -> None:
    async def main() -> list[tuple[str, str]]:
        async with (
            AsyncTestClient(Site()) as client,
            client.sse("/stream", params={"name": "a name for one event", "size": 1}) as events,
        ):
            return [(one.event, one.data) async for one in events]

    assert anyio.run(main, backend=backend) == [("a", "1"), ("message", "2"), ("message", "3")]


def test_heartbeats_do_not_prolong_the_wait_for_an_event(make_client: MakeClient) -> None:
    with make_client(Site(), app_timeout=1).sse("/silent") as events:
        assert next(events).data == "x"
        with pytest.raises(AppTimeout, match=r"GET /silent: .* no event within 1 s, only heart"):
            next(events)


def test_an_error_response_has_its_body(make_client: MakeClient) -> None:
    with pytest.raises(httpx.HTTPStatusError) as raised, make_client(Site()).sse("/refused"):
        pass
    assert raised.value.response.text == "Not for you."


def test_the_async_client_waits_for_events_and_reads_errors(backend: str) -> None:
    async def main() -> None:
        async with AsyncTestClient(Site(), app_timeout=1) as client:
            async with client.sse("/silent") as events:
                assert (await anext(events)).data == "x"
                with pytest.raises(AppTimeout, match="no event within"):
                    await anext(events)
            with pytest.raises(httpx.HTTPStatusError) as raised:
                async with client.sse("/refused"):
                    pass
            assert raised.value.response.text == "Not for you."

    anyio.run(main, backend=backend)
