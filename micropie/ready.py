"""A value that may be awaited although it is there already: ``await`` for those who are used to writing it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Ready(Generic[Value]):
    """``await Ready(value)`` is ``value``, at once, on any event loop."""

    __slots__ = ("_value",)

    def __init__(self, value: Value) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Value]:
        return self._value
        yield  # which makes this a generator
