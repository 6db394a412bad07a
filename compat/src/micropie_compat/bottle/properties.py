"""Descriptors for attributes that read a header or a dictionary's key, or are computed once per
class.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from micropie_compat.bottle.dicts import header_value


class HeaderProperty:
    """An attribute that reads and sets a header of its owner, which has the methods of a response
    for this.
    """

    def __init__(
        self,
        name: str,
        reader: Callable[[Any], object] | None = None,
        writer: Callable[[Any], object] = header_value,
        default: object = "",
    ) -> None:
        self._name = name
        self._reader = reader
        self._writer = writer
        self._default = default

    def __get__(self, owner: Any, kind: object) -> Any:
        if owner is None:
            return self
        value = owner.get_header(self._name, self._default)
        return value if self._reader is None else self._reader(value)

    def __set__(self, owner: Any, value: object) -> None:
        owner.set_header(self._name, self._writer(value))

    def __delete__(self, owner: Any) -> None:
        del owner.headers[self._name]


class DictProperty:
    """A decorator that turns a method into an attribute whose value is computed once. The value is
    stored in the object's dictionary ``attr`` under ``key``, by default the method's name.
    """

    def __init__(self, attr: str, key: str | None = None, read_only: bool = False) -> None:
        self.attr = attr
        self.key = key
        self.read_only = read_only

    def __call__(self, func: Callable[[Any], object]) -> DictProperty:
        update_wrapper(self, func, updated=[])
        self.getter = func
        self.key = self.key or func.__name__
        return self

    def __get__(self, owner: object, kind: object) -> Any:
        if owner is None:
            return self
        values = getattr(owner, self.attr)
        if self.key not in values:
            values[self.key] = self.getter(owner)
        return values[self.key]

    def __set__(self, owner: object, value: object) -> None:
        self._writable(owner)[self.key] = value

    def __delete__(self, owner: object) -> None:
        del self._writable(owner)[self.key]

    def _writable(self, owner: object) -> Any:
        if self.read_only:
            raise AttributeError("Read-Only property.")
        return getattr(owner, self.attr)


class lazy_attribute:  # noqa: N801 - Bottle's name
    """A decorator that turns a method into a class attribute whose value is computed once. The
    method is called with the class when the attribute is first read.
    """

    def __init__(self, func: Callable[[Any], object]) -> None:
        self.getter = func

    def __get__(self, owner: object, kind: type) -> Any:
        value = self.getter(kind)
        setattr(kind, self.getter.__name__, value)
        return value
