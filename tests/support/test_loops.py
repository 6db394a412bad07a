"""A client's loop is its own, and is used again if nothing is left in it."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from tests.support.loops import Loops


@pytest.fixture
def loops() -> Iterator[Loops]:
    loops = Loops()
    yield loops
    loops.stop()


def test_an_event_loop_is_reused_by_one_test_at_a_time(loops: Loops, backend: str) -> None:
    with loops.borrowed(backend) as one, loops.borrowed(backend) as other:
        assert one is not other
    with loops.borrowed(backend) as again, loops.borrowed(backend) as too:
        assert {again, too} == {one, other}


def test_a_loop_with_a_leftover_task_is_ended(loops: Loops, backend: str) -> None:
    with loops.borrowed(backend) as loop:
        loop.post(lambda: loop.tasks.start_soon(anyio.sleep_forever))
    with loops.borrowed(backend) as another:
        assert another is not loop


def test_loops_of_two_backends_are_stored_separately(loops: Loops) -> None:
    with loops.borrowed("asyncio") as one:
        pass
    with loops.borrowed("trio") as other:
        assert other is not one
