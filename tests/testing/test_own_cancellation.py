"""An application that cancels its own task fails its own request, and the client's loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from micropie import App
from micropie.testing import ProtocolViolation, TestClient


class Site(App):
    async def index(self) -> str:
        return "still there"

    async def raises(self) -> None:
        raise asyncio.CancelledError

    async def waits(self) -> None:
        cancel_this_task()
        await asyncio.sleep(0)

    async def returns(self) -> str:
        cancel_this_task()
        return "returned"

    async def stream(self) -> AsyncIterator[str]:
        yield "begun"
        cancel_this_task()
        await asyncio.sleep(0)


def cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()


@pytest.mark.parametrize("path", ["raises", "waits", "returns", "stream"])
def test_the_loop_survives_a_task_that_cancels_itself(path: str) -> None:
    with TestClient(Site()) as client:
        with pytest.raises((asyncio.CancelledError, ProtocolViolation, Exception)):
            client.get(f"/{path}")
        assert client.get("/").text == "still there"


@pytest.mark.parametrize(("path", "status"), [("raises", 500), ("waits", 500), ("returns", 200)])
def test_a_task_that_cancels_itself_is_handled_as_by_a_server(path: str, status: int) -> None:
    with TestClient(Site(), raise_app_exceptions=False) as client:
        assert client.get(f"/{path}").status_code == status
        assert client.get("/").text == "still there"
