"""Flows without a driver; ``asgi/`` and ``wsgi/`` have their own tests."""

from __future__ import annotations

import pytest

from micropie._core.execution.steps.steps import CALL, Flow, result_of


def test_result_of_returns_the_result_of_a_flow_without_steps() -> None:
    def flow() -> Flow[str]:
        return "pie"
        yield CALL, str, ()

    assert result_of(flow()) == "pie"


def test_result_of_refuses_a_flow_that_yields_a_step() -> None:
    def flow() -> Flow[None]:
        yield CALL, str, ()

    with pytest.raises(RuntimeError, match="this flow must not yield any step"):
        result_of(flow())
