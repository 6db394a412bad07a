"""Find the handlers among an application's attributes."""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

SOCKET_PREFIX = "ws_"  # begins the names of WebSocket handlers


def find_handlers(
    instance: object, framework: tuple[type, ...], sockets: bool = False
) -> dict[str, Callable[..., object]]:
    """Return the handlers of an application by name, as bound functions: those for HTTP, or those for WebSockets.

    Handlers are public functions of the author's classes and of the instance itself, never those that ``framework``
    classes or the standard library define. Classes' attributes are read from their dictionaries, so no property's
    getter runs. No function answers both protocols.
    """
    defined: dict[str, object] = {}
    for cls in reversed(type(instance).__mro__):
        if cls not in framework and not _is_stdlib(cls):
            defined.update((name, value) for name, value in vars(cls).items() if not name.startswith("_"))
    found = {name: _bound(value, instance) for name, value in defined.items() if is_method(value)}
    found.update((name, value if is_function(value) else None) for name, value in vars(instance).items())
    found.pop("lifespan", None)
    return {
        name: function
        for name, function in found.items()
        if function is not None
        and not name.startswith("_")
        and not getattr(function, "__micropie_hidden__", False)
        and (name.startswith(SOCKET_PREFIX) or hasattr(function, "__micropie_sockets__")) is sockets
    }


_STDLIB = sysconfig.get_path("stdlib")


def _is_stdlib(cls: type) -> bool:
    # ``class Root(App, Thread)`` must not answer /start and /join: its author did not define them.
    if cls.__module__.partition(".")[0] not in sys.stdlib_module_names or cls.__module__ == "__main__":
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)  # an author's module may be named "turtle"
    return file is None or file.startswith(_STDLIB)


def is_function(value: object) -> bool:
    """Return whether an attribute that is set on an application becomes a handler."""
    return isinstance(value, FunctionType | MethodType | functools.partial | functools._lru_cache_wrapper)


def is_method(value: object) -> bool:
    """Return whether an attribute of a class becomes a handler: no class, no property, no callable object."""
    descriptors = (staticmethod, classmethod, functools.partialmethod, functools.singledispatchmethod)
    return is_function(value) or isinstance(value, descriptors)


def _bound(value: Any, instance: object) -> Any:
    """Bind a function of a class as ``instance.name`` does, and keep the marks that decorators left on it.

    A decorator above ``@staticmethod`` and such marks the descriptor. Python binds the function inside, without marks.
    """
    bound = value.__get__(instance, type(instance)) if hasattr(value, "__get__") else value
    if isinstance(value, functools.singledispatchmethod):
        bound.__wrapped__ = value.func.__get__(instance, type(instance))  # the signature without ``self``
    marks = {name: mark for name, mark in vars(value).items() if name.startswith("__micropie_")}
    if marks and not is_function(value):
        bound = functools.partial(bound)
        vars(bound).update(marks)
    return bound
