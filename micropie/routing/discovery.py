"""What of an application's attributes its author meant to be handlers."""

from __future__ import annotations

import functools
import sys
import sysconfig
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from micropie.execution.placement import MARK

SOCKET_PREFIX = "ws_"  # what begins the names of WebSocket handlers


def find_handlers(
    instance: object, framework: tuple[type, ...], sockets: bool = False
) -> dict[str, Callable[..., Any]]:
    """The handlers that the author of ``instance``'s class defined: name -> bound function.

    Those of HTTP, or with ``sockets`` those of WebSockets: no function is both.

    Functions of the author's classes and of the instance itself, never what ``framework`` classes or the standard
    library define. Attributes are read from the classes' dictionaries, so no property's getter runs.
    """
    defined: dict[str, Any] = {}
    for cls in reversed(type(instance).__mro__):
        if cls not in framework and not _is_stdlib(cls):
            defined.update(vars(cls))
    handlers = {name: _bound(value, instance) for name, value in defined.items() if not name.startswith("_")}
    own = {name: value for name, value in vars(instance).items() if not name.startswith("_")}
    handlers.update({name: value if is_function(value) else None for name, value in own.items()})
    handlers.pop("lifespan", None)
    return {
        name: value
        for name, value in handlers.items()
        if value is not None and not _is_hidden(value) and _is_socket(name, value) is sockets
    }


def _is_stdlib(cls: type) -> bool:
    # ``class Root(App, Thread)`` must not answer /start and /join: its author did not define them.
    if cls.__module__.partition(".")[0] not in sys.stdlib_module_names or cls.__module__ == "__main__":
        return False
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)  # an author's module may be named "turtle"
    return file is None or file.startswith(_STDLIB)


_STDLIB = sysconfig.get_path("stdlib")


def _is_socket(name: str, function: Any) -> bool:
    return name.startswith(SOCKET_PREFIX) or hasattr(function, "__micropie_sockets__")


def is_function(value: object) -> bool:
    """Whether an attribute that is set on an application becomes a handler."""
    return isinstance(value, FunctionType | MethodType | functools.partial | functools._lru_cache_wrapper)


def is_method(value: object) -> bool:
    """Whether an attribute of a class becomes a handler."""
    descriptors = (staticmethod, classmethod, functools.partialmethod, functools.singledispatchmethod)
    return is_function(value) or isinstance(value, descriptors)


def _bound(value: Any, instance: object) -> Any:
    """A function of a class, bound; None for anything else (classes, properties, objects that can be called)."""
    if is_method(value):
        bound = value.__get__(instance, type(instance)) if hasattr(value, "__get__") else value
        if isinstance(value, functools.singledispatchmethod):
            bound.__wrapped__ = value.func.__get__(instance, type(instance))  # the signature without ``self``
        return _keep_marks(value, bound)
    return None


_MARKS = (
    "__micropie_routes__",
    "__micropie_sockets__",
    "__micropie_hidden__",
    MARK,
    "__micropie_reads_body__",
    "__micropie_max_body_size__",
)


def _keep_marks(value: Any, bound: Any) -> Any:
    """What decorators left on a staticmethod, partialmethod and the like, on what is called instead of it."""
    left = {name: getattr(value, name) for name in _MARKS if hasattr(value, name)}
    if left and not is_function(value):
        bound = functools.partial(bound)
        vars(bound).update(left)
    return bound


def _is_hidden(function: Any) -> bool:
    return getattr(function, "__micropie_hidden__", False)
