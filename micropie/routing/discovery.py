"""Find the handlers among an application's attributes."""

from __future__ import annotations

import functools
import site
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any, TypeAlias

from micropie.errors import SetupError

Handlers: TypeAlias = dict[str, Callable[..., object]]

SOCKET_PREFIX = "ws_"  # begins the names of WebSocket handlers


def find_handlers(instance: object, framework: tuple[type, ...], explicit: bool = False) -> tuple[Handlers, Handlers]:
    """Return the handlers of an application by name, as bound functions: those for HTTP, and those for WebSockets.

    Handlers are the public methods that the author wrote in the bodies of classes, and the functions below a route's
    decorator, also where they are attributes of the instance; with ``explicit`` only the latter. ``framework`` classes,
    the standard library and other people's packages make none without a decorator. No function answers both protocols.
    Raises ``SetupError`` if two have the same public name.
    """
    http: Handlers = {}
    sockets: Handlers = {}
    for name, function in _candidates(instance, framework, explicit).items():
        if function is None or name.startswith("_") or name == "lifespan" or _is_hidden(function):
            continue
        is_socket = name.startswith(SOCKET_PREFIX) or hasattr(function, "__micropie_sockets__")
        (sockets if is_socket else http)[name] = function
    return _by_public_name(http), _by_public_name(sockets)


def _candidates(
    instance: object, framework: tuple[type, ...], explicit: bool
) -> dict[str, Callable[..., object] | None]:
    """Return the functions that may be handlers; None hides a function of this name in a base class.

    Classes' attributes are read from their dictionaries, so no property's getter runs.
    """
    found: dict[str, Callable[..., object] | None] = {}
    for cls in reversed(type(instance).__mro__):
        if cls in framework:
            continue
        is_authors = not explicit and not _is_others(cls, type(instance))
        for name, value in vars(cls).items():
            if not is_method(value):
                found[name] = None
            elif (is_authors and _is_written_in(cls, value)) or _is_marked(value):
                found[name] = _bound(value, instance)
    for name, value in vars(instance).items():
        found[name] = value if is_function(value) and _is_marked(value) else None
    return found


def _by_public_name(handlers: Handlers) -> Handlers:
    for name in handlers:
        if public_name(name) != name and public_name(name) in handlers:
            raise SetupError(f"{name} and {public_name(name)} have the same public name: rename one of them")
    return {public_name(name): function for name, function in handlers.items()}


def public_name(name: str) -> str:
    """Return an attribute's name in URLs: ``import_`` is ``import``.

    An underscore at the end keeps a name from being a keyword, or from hiding another one such as ``get`` (PEP 8).
    """
    return name.removesuffix("_")


_STDLIB = sysconfig.get_path("stdlib")
_PACKAGES = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()})


def _is_others(cls: type, application: type) -> bool:
    """Return whether a class is the standard library's, or an installed package's that the application is not from.

    ``class Root(App, Thread)`` must not answer /start and /join: its author did not define them.
    """
    package = cls.__module__.partition(".")[0]
    file: str | None = getattr(sys.modules.get(cls.__module__), "__file__", None)
    is_stdlib = package in sys.stdlib_module_names and cls.__module__ != "__main__"
    if is_stdlib and (file is None or file.startswith(_STDLIB)):  # an author's module may be named "turtle"
        return True
    return package != application.__module__.partition(".")[0] and (file or "").startswith(_PACKAGES)


def _is_written_in(cls: type, value: object) -> bool:
    """Return whether a function, or one that it wraps, is from the module of the class.

    A decorator of another module may return a function of its own, without ``functools.wraps``. ``os.path.exists`` that
    is assigned in a class's body is no method.
    """
    return any(getattr(function, "__module__", None) == cls.__module__ for function in wrapped_by(value))


def _is_marked(value: object) -> bool:
    """Return whether a route's decorator is above the function, below any other decorators."""
    return any(hasattr(value, mark) for mark in ("__micropie_routes__", "__micropie_sockets__"))


def _is_hidden(value: object) -> bool:
    """Return whether ``@hidden`` is among the decorators, also below one that does not copy its mark."""
    return any(getattr(function, "__micropie_hidden__", False) for function in wrapped_by(value))


def wrapped_by(value: object) -> Iterator[object]:
    """Yield a function and those that it wraps: by ``__wrapped__``, as a partial's, or as a variable of a closure."""
    layers: list[Any] = [value]
    for layer in layers:  # the list grows in the loop
        yield layer
        inner = [getattr(layer, name, None) for name in ("__wrapped__", "__func__", "func")]
        for cell in getattr(layer, "__closure__", None) or ():
            with suppress(ValueError):  # a variable that has no value yet
                inner.append(cell.cell_contents)
        layers += [one for one in inner if is_method(one) and not any(one is known for known in layers)]


def is_function(value: object) -> bool:
    """Return whether an attribute that is set on an application becomes a handler."""
    return isinstance(value, FunctionType | MethodType | functools.partial | _CachedFunction)


_CachedFunction = type(functools.cache(len))


def is_method(value: object) -> bool:
    """Return whether an attribute of a class becomes a handler: no class, no property, no callable object."""
    descriptors = (staticmethod, classmethod, functools.partialmethod, functools.singledispatchmethod)
    return is_function(value) or isinstance(value, descriptors)


def _bound(value: Any, instance: object) -> Any:
    """Bind a function of a class as ``instance.name`` does, and keep the marks that decorators left on it.

    A decorator above ``@staticmethod`` and such marks the descriptor. Python binds the function inside, without marks.
    """
    if isinstance(value, functools.partial) and sys.version_info < (3, 14):
        bound: Any = value  # which 3.13 does not bind either, but warns of
    else:
        bound = value.__get__(instance, type(instance))
    if isinstance(value, functools.singledispatchmethod):
        bound.__wrapped__ = value.func.__get__(instance, type(instance))  # the signature without ``self``
    marks = {name: mark for name, mark in vars(value).items() if name.startswith("__micropie_")}
    if marks and not is_function(value):
        bound = functools.partial(bound)
        vars(bound).update(marks)
    return bound
