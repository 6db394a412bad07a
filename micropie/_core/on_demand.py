"""Create objects when they are first used: names of a package, modules, regular expressions and
attributes.

    __getattr__, __dir__ = names_on_demand(__name__, {"module": "Name other_name"})

Modules that a site doesn't need are not imported, because importing them takes longer than
importing all the modules that the site needs. ``from package import name`` imports the name's
module at once. To import the module later, write ``package.name``, which is a normal attribute from
the second use on.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, AnyStr, Generic, TypeVar, cast

Value = TypeVar("Value")


def by_name(listed: Mapping[str, str]) -> dict[str, str]:
    """Return ``{"a": "x", "b": "x"}`` for ``{"x": "a b"}``."""
    return {name: value for value, names in listed.items() for name in names.split()}


def names_on_demand(
    package: str, names: Mapping[str, str], explain: Callable[[str], str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the functions ``__getattr__`` and ``__dir__`` for a package. Interactive Python shells
    call ``__dir__`` for tab completion.

    - ``names``: maps each module of the package to the names that the module provides, separated by
      spaces. A module whose name begins with a dot is in the parent package.
    - ``explain``: a function that returns the message for an unknown name, or "". If there is a
      message, ``from package import name`` raises ``ImportError`` with it, and ``package.name``
      raises ``AttributeError``.
    """
    modules = by_name(names)
    if explain is not None:
        sys.meta_path.append(_Missing(package, explain))

    def get(name: str) -> Any:
        if name not in modules:
            message = "" if explain is None else explain(name)
            raise AttributeError(message or f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f".{modules[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: [*vars(sys.modules[package]).keys() | modules.keys()]


class _Missing:
    """Explains a missing name when it is imported.

    ``from package import name`` looks for a module of that name if there is no such attribute. This
    finder then raises the error, because Python would replace the message of an ``AttributeError``.
    """

    def __init__(self, package: str, explain: Callable[[str], str]) -> None:
        self._package, self._explain = package, explain

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise ``ImportError`` if ``explain`` returns a message for the module ``name``.

        Python calls this when no other finder has found the module.
        """
        package, _, own = name.rpartition(".")
        if package == self._package and (message := self._explain(own)):
            raise ImportError(message)


class _Later:
    """A proxy for an object that is created when one of its attributes is first used."""

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        self._make = make
        self._arguments = arguments

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._make(*self._arguments), name)
        setattr(self, name, found)
        return found


def pattern(expression: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return a regular expression, like ``re.compile``, that is compiled when it is first used."""
    return cast("re.Pattern[AnyStr]", _Later(re.compile, expression, flags))


def module(name: str) -> Any:
    """Return a module that is imported when one of its names is first used.

    Import the module under ``TYPE_CHECKING`` as well, for type checkers.
    """
    return _Later(import_module, name)


class computed(Generic[Value]):  # noqa: N801 - a decorator, as ``property`` is
    """A decorator that turns a method into an attribute. The attribute is computed when it is first
    read, and then stored.

    If several threads read the attribute for the first time at once, each may call the method, so
    the method must return equal values.

    The class replaces ``functools.cached_property``, which acquires a lock in Python 3.11. Most of
    the decorated methods take no longer than acquiring the lock would.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, owner: object, _: type) -> Value:
        value = self._compute(owner)
        setattr(owner, self._name, value)  # faster than ``owner.__dict__``, which creates the dict
        return value


def reserve(kind: type[object], names: str) -> None:
    """Reserve the attributes ``names`` in the objects of a class.

    CPython keeps attributes in an array if they have the names that the first objects of the class
    set. An object that sets another name gets a dict of its own. Creating this dict takes as long
    as reading six attributes.
    """
    first = kind.__new__(kind)
    for name in names.split():
        setattr(first, name, None)
