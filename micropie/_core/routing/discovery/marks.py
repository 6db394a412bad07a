"""Find the handlers among an application's attributes, with the marks that decorators have stored
on them.
"""

from __future__ import annotations

import functools
import site
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple, TypeVar

from micropie._core.errors import SetupError
from micropie._core.execution.placement import AnyFunction, innermost, layers
from micropie._core.routing.discovery.patterns import Pattern

MARKS = "__micropie_routes__"
# The attribute that contains the list of access checks and middleware above a handler or an
# application.
REQUIRES = "__micropie_requires__"
# An attribute of a handler that serves files. Its value is a function that takes a file's path and
# returns the file's fingerprint.
FINGERPRINT = "__micropie_fingerprint__"

Function = TypeVar("Function", bound=AnyFunction)
Marked = TypeVar("Marked")

SOCKET_PREFIX = "ws_"  # a method whose name begins with it is a WebSocket handler


def marks_of(function: object) -> list[RouteMark]:
    """Return the marks that route decorators have stored on a function, or on a descriptor such as
    a ``staticmethod``.

    A wrapper made with ``functools.wraps`` has the marks of the function that it wraps.
    """
    marks: list[RouteMark] = getattr(function, MARKS, None) or getattr(
        getattr(function, "__func__", None), MARKS, []
    )
    return marks


# By the place of each marked function: the attributes of its marks, with the function's code.
_MARKED: dict[object, dict[str, object]] = {}


def _place_of(code: Any) -> object:
    """Return the file, the name and the last line of a function (a decorator may change the first),
    or None for lambdas and for code that was typed in, which may share their place.
    """
    if not isinstance(code, CodeType) or "<" in (code.co_filename[:1], code.co_name[:1]):
        return None
    line = max((number or 0 for *_, number in code.co_lines()), default=code.co_firstlineno)
    return code.co_filename, code.co_qualname, line


def has_lost_mark(function: AnyFunction) -> bool:
    """Return whether a decorator has replaced a function with a mark by another one, which was
    compiled anew from its source and has no mark, as typeguard does. Only the place shows this.
    """
    code = getattr(innermost(function), "__code__", None)
    return any(
        known != code and not any(hasattr(layer, mark) for layer in layers(function))
        for mark, known in _MARKED.get(_place_of(code), {}).items()
    )


def leave_mark(target: Marked, attribute: str, mark: object) -> Marked:
    """Store a decorator's mark as an attribute of its target, and return the target.

    Raises ``SetupError`` if the target can't have the mark.
    """
    code = getattr(target, "__code__", None)
    if place := _place_of(code):
        _MARKED.setdefault(place, {})[attribute] = code
    with suppress(AttributeError, TypeError):
        if attribute == REQUIRES or not hasattr(target, "_micropie_is_framework"):
            setattr(target, attribute, mark)
            return target
    raise SetupError(
        f"{target!r} can't be decorated: use decorators on functions. Only middleware and "
        "@requires can also decorate an application or its class"
    )


class RouteMark(NamedTuple):
    """The mark that a route decorator, such as ``@route``, ``@get`` or ``@websocket``, stores on a
    function.

    - ``path``: the pattern, or None if the function's name is the path.
    - ``methods``: the HTTP methods, or () to use those of the setting ``methods``.
    - ``name``: the name for ``url_for``, or None to use the function's name.
    - ``takes_socket``: whether the route is for WebSockets.
    - ``hooks``: the hooks to run instead of the application's hooks, or None to run the
      application's hooks.
    """

    path: Pattern | None = None
    methods: tuple[str, ...] = ()
    name: str | None = None
    takes_socket: bool = False
    hooks: Sequence[object] | None = None

    def decorate(self, function: Function) -> Function:
        """Add this mark to the marks of a function, and return the function."""
        # Don't append to the existing list: if this function wraps another one, both share the
        # list.
        return leave_mark(function, MARKS, [*marks_of(function), self])


class Handler(NamedTuple):
    """A handler: its public name, the bound function, and its route marks. A handler without a
    decorator has one mark without a path, so its name is the path.
    """

    name: str
    function: AnyFunction
    marks: list[RouteMark]

    @property
    def wildcards(self) -> set[str]:
        """The names of the wildcards in the handler's paths."""
        return {name for mark in self.marks if mark.path for name in mark.path.names}


def find_handlers(instance: object, framework: tuple[type, ...], explicit: bool) -> list[Handler]:
    """Return the handlers of an application, for HTTP and for WebSockets.

    Handlers are the public methods that are written in the bodies of the application's classes, and
    all functions with a route decorator, even if they are attributes of the instance. Methods of
    the standard library and of installed packages always need a decorator. A function handles HTTP
    or WebSockets, never both.

    - ``framework``: base classes whose methods are never handlers.
    - ``explicit``: whether only functions with a decorator are handlers.

    Raises ``SetupError`` if two handlers have the same public name, or if a handler has marks for
    both protocols.
    """
    found: list[Handler] = []
    attributes: dict[tuple[str, bool], str] = {}
    for attribute, function in _candidates(instance, framework, explicit):
        if attribute.startswith("_") or attribute == "lifespan" or is_hidden(function):
            continue
        name, marks = public_name(attribute), marks_of(function)
        takes_socket = name.startswith(SOCKET_PREFIX) or any(mark.takes_socket for mark in marks)
        if takes_socket and not all(mark.takes_socket for mark in marks):
            raise SetupError(
                f"{name} handles WebSockets: write @websocket above it, not an HTTP decorator"
            )
        if attributes.setdefault((name, takes_socket), attribute) != attribute:
            raise SetupError(f"{name}_ and {name} have the same public name: rename one of them")
        of_name = RouteMark(methods=("GET",), takes_socket=True) if takes_socket else RouteMark()
        found.append(Handler(name, function, marks or [of_name]))
    return found


def _candidates(
    instance: object, framework: tuple[type, ...], explicit: bool
) -> Iterator[tuple[str, AnyFunction]]:
    """Yield the functions that may be handlers, with their names.

    The attributes of a class are read from its ``__dict__``, so that no getter of a property runs.
    As usual in Python, an attribute of a class hides attributes with the same name in its bases,
    even if it is not a handler.
    """
    own = {**vars(instance)}
    for name, (cls, value) in attributes_of(reversed(type(instance).__mro__)).items():
        method = own.get(name, value)
        is_same = is_method(value) and _function_in(method) is _function_in(value)
        if cls in framework or not is_same:
            continue
        is_authors = not explicit and not _is_of_other_package(cls, type(instance))
        if marks_of(method) or (is_authors and _is_written_in(cls, value)):
            own.pop(name, None)
            yield name, _bound(name, value, instance)
    for name, value in own.items():
        if is_function(value) and marks_of(value):
            yield name, value


def _function_in(method: Any) -> object:
    """Return the function inside a method and its decorators. An attribute of the instance with the
    same function is a wrapper of the method, for example ``self.page = cache(self.page)``.
    """
    inner = innermost(method) if is_method(method) else method
    return getattr(inner, "__func__", inner)


def attributes_of(classes: Iterable[type]) -> dict[str, tuple[type, object]]:
    """Return the attributes of classes, as a dict of (class, value) by name. If several classes
    have the same attribute, use that of the last class.
    """
    return {name: (cls, value) for cls in classes for name, value in vars(cls).items()}


def public_name(name: str) -> str:
    """Return the name of an attribute as it appears in URLs: ``import_`` becomes ``import``.

    A trailing underscore is for names that are keywords or would hide another name, such as ``get``
    (PEP 8).
    """
    return name.removesuffix("_")


@functools.cache
def _installed() -> tuple[str, tuple[str, ...]]:
    """Return the directories of the standard library and of installed packages."""
    from sysconfig import get_path

    return get_path("stdlib"), tuple(
        {get_path("purelib"), get_path("platlib"), *site.getsitepackages()}
    )


def _is_of_other_package(cls: type, application: type) -> bool:
    """Return whether a class belongs to the standard library, or to an installed package other than
    the application's.

    For example, ``class Root(App, Thread)`` must not handle /start and /join, because these methods
    belong to ``Thread``.
    """
    package = cls.__module__.partition(".")[0]
    file: str | None = getattr(sys.modules.get(cls.__module__), "__file__", None)
    is_stdlib = package in sys.stdlib_module_names
    # Check the file as well, because a module of the application may have the name of a standard
    # module, such as "turtle".
    if is_stdlib and (file is None or file.startswith(_installed()[0])):
        return True
    return package != application.__module__.partition(".")[0] and (file or "").startswith(
        _installed()[1]
    )


def _is_written_in(cls: type, value: object) -> bool:
    """Return whether a function, or a function that it wraps, was written in the module of the
    class.

    A decorator from another module may have replaced a method by a wrapper without
    ``functools.wraps``, so the wrapped functions are checked as well. A function such as
    ``os.path.exists`` that is assigned in the body of a class is not a handler.
    """
    return any(
        getattr(function, "__module__", None) == cls.__module__ for function in wrapped_by(value)
    )


def is_bare(value: object) -> bool:
    """Return whether a value is a function that no decorator has marked and that wraps no other
    function.
    """
    return type(value) is FunctionType and value.__closure__ is None and not value.__dict__


def is_hidden(value: object) -> bool:
    """Return whether one of a function's decorators is ``@hidden``. It is found even below a
    decorator that doesn't copy marks.
    """
    return any(getattr(function, "__micropie_hidden__", False) for function in wrapped_by(value))


def wrapped_by(value: object) -> Iterator[object]:
    """Yield a function and the functions that it wraps, which are found in ``__wrapped__``, in a
    partial and in closure variables.
    """
    layers = [value]
    for layer in layers:  # the list grows during the loop
        yield layer
        inner = [getattr(layer, name, None) for name in ("__wrapped__", "__func__", "func", "fget")]
        for cell in getattr(layer, "__closure__", None) or ():
            with suppress(ValueError):  # a closure variable without a value yet
                inner.append(cell.cell_contents)
        layers += [
            one for one in inner if is_method(one) and not any(one is known for known in layers)
        ]


def own_attributes(value: object) -> dict[str, Any]:
    """Return an object's ``__dict__``, in which decorators store marks, or {} if it has none."""
    attributes: dict[str, Any] = getattr(value, "__dict__", {})
    return attributes


def is_function(value: object) -> bool:
    """Return whether a value can be a handler if it is set on an application's instance."""
    if isinstance(value, _FUNCTIONS):
        return True
    # functools.cache and cachetools.cached return objects with ``__wrapped__``, which is a slot of
    # those of async_lru. Don't ask the object, because some return a value for every attribute.
    is_wrapper = "__wrapped__" in own_attributes(value) or hasattr(type(value), "__wrapped__")
    wrapped = is_wrapper and value.__wrapped__  # type: ignore[attr-defined]
    return isinstance(wrapped, FunctionType | MethodType) and not isinstance(value, _DESCRIPTORS)


def is_method(value: object) -> bool:
    """Return whether a value can be a handler if it is set on an application's class. Functions and
    descriptors such as a ``staticmethod`` can; classes, properties and callable objects can't.
    """
    return is_function(value) or isinstance(value, _DESCRIPTORS)


_FUNCTIONS = (FunctionType, MethodType, functools.partial)
_DESCRIPTORS = (staticmethod, classmethod, functools.partialmethod, functools.singledispatchmethod)


def _bound(name: str, value: Any, instance: object) -> Any:
    """Return the method ``value`` of a class, bound to the instance as Python binds it, with the
    marks that decorators stored on it and with its signature.

    A decorator above ``@staticmethod`` or another descriptor marks the descriptor. But the object
    that Python binds is another one, which has no marks. And ``inspect`` takes the signature from
    the ``__wrapped__`` of that object, which may be the function that isn't bound.
    """
    if isinstance(value, functools.partial) and sys.version_info < (3, 14):
        bound: Any = value  # Python before 3.14 doesn't bind a partial, and 3.13 warns of that
    else:
        bound = getattr(instance, name)
    marks = {
        mark: found
        for mark, found in (own_attributes(bound) | own_attributes(value)).items()
        if mark.startswith("__micropie_")
    }
    inner: Any = getattr(bound, "__wrapped__", None)
    # not a ``staticmethod`` or an object that Python doesn't bind
    is_bound = bound is not getattr(value, "__func__", value)
    is_lost = is_bound and isinstance(inner, FunctionType) and not isinstance(bound, MethodType)
    if is_lost or {mark: getattr(bound, mark, None) for mark in marks} != marks:
        bound = functools.partial(bound)
        vars(bound).update(marks)
    if is_lost:
        bound.__wrapped__ = inner.__get__(instance)
    return bound
