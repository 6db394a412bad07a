"""Functions that are called when something ends: once, whenever they were added."""

from __future__ import annotations

from collections.abc import Callable

from micropie._core.streams import ShutdownSignal


def test_a_shutdown_function_is_called_once() -> None:
    shutdown, calls = ShutdownSignal(), list[str]()
    shutdown.add(lambda: calls.append("a"))
    forget = shutdown.add(lambda: calls.append("b"))
    forget()
    forget()
    shutdown.end()
    shutdown.end()
    assert calls == ["a"]


def test_a_function_added_after_shutdown_is_called_immediately() -> None:
    shutdown, calls = ShutdownSignal(), list[str]()
    shutdown.end()
    shutdown.add(lambda: calls.append("late"))
    assert calls == ["late"]
    shutdown.begin()
    shutdown.add(lambda: calls.append("again"))
    assert calls == ["late"]


def test_a_shutdown_function_may_remove_others() -> None:
    shutdown, calls = ShutdownSignal(), list[str]()
    forgets: list[Callable[[], object]] = []
    shutdown.add(lambda: forgets[0]())
    forgets.append(shutdown.add(lambda: calls.append("other")))
    shutdown.end()
    assert calls == []
