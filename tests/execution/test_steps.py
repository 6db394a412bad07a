"""Flows without a driver; ``asgi/`` and ``wsgi/`` have their own tests."""

from __future__ import annotations

import pytest

from micropie._core.execution.steps.steps import CALL, Flow, result_of


def test_the_result_of_a_flow_that_does_not_wait() -> None:
    def flow() -> Flow[str]:
        return "pie"
        yield CALL, str, ()

    assert result_of(flow()) == "pie"


def test_a_flow_that_must_not_wait_and_does() -> None:
    def flow() -> Flow[None]:
        yield CALL, str, ()

    with pytest.raises(RuntimeError, match="this flow must not yield any step"):
        result_of(flow())
