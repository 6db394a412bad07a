"""Attributes that are computed when they are first read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

Value = TypeVar("Value")


class Lazy:
    """A descriptor that makes a method an attribute. When the attribute is first read, the method
    is called, and its result is stored as the attribute.

    If the attribute is set before that, the method is never called.
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


# The annotation tells type checkers that the attribute has the value's type. At run time, the
# attribute is a descriptor.
def lazy(function: Callable[[Any], Value]) -> Value:
    """Decorate a method to turn it into an attribute that is computed once, see ``Lazy``."""
    return cast("Value", Lazy(function))
