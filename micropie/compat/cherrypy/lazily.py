"""Attributes that are made when they are first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Value = TypeVar("Value")


class Lazy:
    """A method whose result becomes the attribute.

    Setting the attribute before needs no call of it at all.
    """

    def __init__(self, function: Callable[[Any], object]) -> None:
        self._function = function
        self._name = function.__name__
        self.__doc__ = function.__doc__

    def __get__(self, instance: object, owner: type) -> object:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._function(instance)
        return value


# So that type checkers see the value and not the descriptor.
def lazy(function: Callable[[Any], Value]) -> Value:
    """Make an attribute of a method, see ``Lazy``."""
    return cast("Value", Lazy(function))
