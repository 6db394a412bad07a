"""Functions that are called when something ends: once, whenever they were added."""

from __future__ import annotations

from collections.abc import Callable

from micropie.execution.shutdown import Ending


def test_what_was_added_is_called_once_at_the_end() -> None:
    ending, calls = Ending(), list[str]()
    ending.add(lambda: calls.append("a"))
    forget = ending.add(lambda: calls.append("b"))
    forget()
    forget()
    ending.end()
    ending.end()
    assert calls == ["a"]


def test_what_comes_after_the_end_is_called_at_once() -> None:
    ending, calls = Ending(), list[str]()
    ending.end()
    ending.add(lambda: calls.append("late"))
    assert calls == ["late"]
    ending.begin()
    ending.add(lambda: calls.append("again"))
    assert calls == ["late"]


def test_a_function_may_take_others_away() -> None:
    ending, calls = Ending(), list[str]()
    forgets: list[Callable[[], object]] = []
    ending.add(lambda: forgets[0]())
    forgets.append(ending.add(lambda: calls.append("other")))
    ending.end()
    assert calls == []
