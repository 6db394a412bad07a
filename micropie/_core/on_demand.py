"""What is made when it is first asked for: names of a package's face, modules, regular expressions,
and attributes.

    __getattr__, __dir__ = names_on_demand(__name__, {"module": "Name other_name"})

What a site does not use is not imported: it would take longer than the rest.
``from package import name`` imports the name's module at once, so what is to come later is written
``package.name``; from the second time on that is an attribute as any other.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, AnyStr, Generic, TypeVar, cast

Value = TypeVar("Value")


def by_name(listed: Mapping[str, str]) -> dict[str, str]:
    """Return ``{"a": "x", "b": "x"}`` of ``{"x": "a b"}``."""
    return {name: value for value, names in listed.items() for name in names.split()}


def names_on_demand(
    package: str, names: Mapping[str, str], explain: Callable[[str], str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` of a package, and its ``__dir__``, by which shells complete names.

    ``names``: by the module of the package, the names that it has; a dot before the module's name
    leads to the package around this one. ``explain``: returns the message for another name, or "".
    To import such a name is an ``ImportError`` with that, to read one an ``AttributeError``. It is
    not called for names with two underscores, which Python and its tools look up.
    """
    modules = by_name(names)
    if explain is not None:
        sys.meta_path.append(_Missing(package, explain))

    def get(name: str) -> Any:
        if name not in modules:
            message = ""
            if explain is not None and not name.startswith("__"):
                message = explain(name)
            raise AttributeError(message or f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f".{modules[name]}", package), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: [*vars(sys.modules[package]).keys() | modules.keys()]


class _Missing:
    """Explains a name that is missing where it is imported.

    ``from package import name`` looks for a module of that name after the attribute. Python has a
    sentence of its own for an ``AttributeError``.
    """

    def __init__(self, package: str, explain: Callable[[str], str]) -> None:
        self._package, self._explain = package, explain

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise ``ImportError`` with the message for a module that was found nowhere else."""
        package, _, own = name.rpartition(".")
        message = ""
        if package == self._package and not own.startswith("__"):
            message = self._explain(own)
        if message:
            raise ImportError(message)


class _Later:
    """An object that is made when one of its attributes is first asked for."""

    def __init__(self, make: Callable[..., object], *arguments: object) -> None:
        self._make = make
        self._arguments = arguments

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._make(*self._arguments), name)
        setattr(self, name, found)
        return found


def pattern(expression: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """Return what ``re.compile`` returns, but compile it when it is first used."""
    return cast("re.Pattern[AnyStr]", _Later(re.compile, expression, flags))


def module(name: str) -> Any:
    """Return a module that is imported when one of its names is first asked for.

    For type checkers import it, too.
    """
    return _Later(import_module, name)


class computed(Generic[Value]):  # noqa: N801 - a decorator, as ``property`` is
    """A method that is an attribute: it is called when that is first read, and from then on the
    result is there.

    Threads that read it first at the same time may each call the method: it returns equal values.

    ``functools.cached_property`` takes a lock before Python 3.12, which costs as much as most of
    these methods.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, owner: object, _: type) -> Value:
        value = self._compute(owner)
        owner.__dict__[self._name] = value
        return value
