"""Who may go on, and who has to wait: the maker of chunks, and the thread that takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from micropie.execution.background import BackpressureWindow


@pytest.fixture(params=["asyncio", "trio"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Callable[[], None]], None]:
    def on_loop(function: Callable[[], None]) -> None:
        async def main() -> None:
            function()

        anyio.run(main, backend=request.param)

    return on_loop


def test_the_maker_is_two_chunks_ahead_and_woken_when_nothing_is_left(on_loop: Any) -> None:
    def check() -> None:
        ahead = BackpressureWindow()
        assert ahead.ask() is None
        first = ahead.made()
        assert first is not None  # whether a second is wanted is not known
        assert ahead.ask() is first
        assert ahead.made() is None
        assert ahead.made() is None
        parked = ahead.made()
        assert parked is not None
        assert ahead.ask() is None  # there are two left
        assert ahead.ask() is None
        assert ahead.ask() is parked
        assert ahead.ask() is None  # nobody waits

    on_loop(check)


def test_nobody_waits_for_who_has_left(on_loop: Any) -> None:
    def check() -> None:
        ahead = BackpressureWindow()
        ahead.ask()
        parked = ahead.made()
        assert ahead.leave() is parked
        assert ahead.leave() is None
        assert ahead.made() is None

    on_loop(check)
