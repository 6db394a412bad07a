"""Reject decorators that have no effect. Such an error would otherwise go unnoticed: a route is
never registered, or an access check protects nothing.

A decorator for a route or an access check stores a mark on its function. If no handler of the
compiled application has that mark, ``SetupError`` is raised with a message that says what to write.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeAlias

from micropie._core.errors import SetupError
from micropie._core.routing.config import Registrations
from micropie._core.routing.discovery import (
    MARKS,
    REQUIRES,
    Handler,
    attributes_of,
    is_bare,
    is_hidden,
    is_method,
    marks_of,
    own_attributes,
    wrapped_by,
)

_NO_EFFECT = "the decorator of a route or an access check has no effect"
_IsMisplaced: TypeAlias = Callable[[object], bool]


def reject_misplaced_decorators(registered: Registrations, handlers: Sequence[Handler]) -> None:
    """Raise ``SetupError`` for a route decorator or an access check that is not above a handler of
    this application. Also raise it for a method that is registered as a plain function.
    """
    is_misplaced = _misplaced(handlers, registered)
    _reject_misplaced_attributes(registered.app, registered.framework, is_misplaced)
    for function in filter(inspect.isfunction, (function for function, _ in registered.functions)):
        if function.__code__.co_varnames[:1] == ("self",):
            advice = (
                "is a method: write micropie.get above it, not app.get"
                if "." in function.__qualname__.rpartition("<locals>.")[2]
                else "is not a method: leave out the parameter self"
            )
            raise SetupError(f"{function.__qualname__} {advice}")
        above = getattr(sys.modules.get(function.__module__), function.__name__, function)
        if above is not function and any(one is function for one in wrapped_by(above)):
            raise SetupError(
                f"the route of {function.__qualname__} skips the decorator above its route "
                "decorator: move the route decorator, such as @app.get, above all others"
            )
    no_routes = chain(
        registered.commands, registered.providers.values(), registered.error_handlers.values()
    )
    for function in filter(inspect.isfunction, no_routes):
        if is_misplaced(function):
            raise SetupError(
                f"{function.__qualname__}: {_NO_EFFECT} above a command, a provider or an "
                "error handler; write it above a handler"
            )


def _reject_misplaced_attributes(
    app: object, framework: tuple[type, ...], is_misplaced: _IsMisplaced
) -> None:
    """Check the attributes of the application's instance and of its classes. Raise ``SetupError``
    for a route decorator or an access check that has no effect.

    Methods that a subclass overrides, or that are set to None on the instance, are accepted,
    because they have been removed intentionally.
    """
    own = vars(app)
    classes = [cls for cls in reversed(type(app).__mro__) if cls not in framework]
    attributes = attributes_of(classes)
    for name, (cls, value) in attributes.items():
        if is_bare(value):
            continue
        instead = own.get(name, value)
        if instead is not value and (instead is None or marks_of(instead)):
            continue  # The instance replaces the method intentionally, with a handler or None.
        # The decorator may be above ``value`` itself, or above a function inside it, for example
        # inside a property.
        inside = *wrapped_by(value), *filter(inspect.isfunction, own_attributes(value).values())
        if any(is_misplaced(one) and _is_in_body_of(cls, one) for one in inside):
            advice = (
                _advice(name, value)
                if instead is value
                else f"give the attribute self.{name} another name"
            )
            raise SetupError(f"{cls.__name__}.{name}: {_NO_EFFECT}; {advice}")
    for name, value in own.items():
        if is_misplaced(value) and not inspect.ismethod(value):
            raise SetupError(
                f"self.{name} of {type(app).__name__}: {_NO_EFFECT}; {_advice(name, value)}"
            )
    everything = {name: value for name, (_, value) in attributes.items()} | own
    kinds = {type(value): name for name, value in everything.items() if not name.startswith("_")}
    for kind, name in kinds.items():
        has_routes = any(
            not is_bare(one) and MARKS in own_attributes(one) and is_method(one)
            for one in vars(kind).values()
        )
        if has_routes and not issubclass(kind, framework):
            raise SetupError(
                f"{name} is not an App, so its routes are never registered: write class "
                f"{kind.__name__}(App)"
            )


def _misplaced(found: Sequence[Handler], registered: Registrations) -> _IsMisplaced:
    """Return a function that takes an object. It returns True if the object has the mark of a route
    or an access check, but is none of the handlers ``found``.

    Requests to such a route would get a 404, and such a check would protect nothing.
    """
    handlers = [
        *(handler.function for handler in found),
        *(function for function, _ in registered.functions),
    ]
    routes = {id(mark) for handler in found for mark in handler.marks}
    guards = {
        id(own_attributes(layer).get(REQUIRES))
        for handler in handlers
        for layer in wrapped_by(handler)
    }

    def is_misplaced(value: object) -> bool:
        marks = own_attributes(value)
        is_idle = REQUIRES in marks and id(marks[REQUIRES]) not in guards
        # A callable object may be a mounted application. An access check above it has an effect.
        if is_idle and (is_method(value) or not callable(value)):
            return True
        return any(id(mark) not in routes for mark in marks.get(MARKS, ()))

    return is_misplaced


def _is_in_body_of(cls: type, value: object) -> bool:
    """Return whether a function was written in the body of the class. Return True for an object
    without a name.
    """
    name = getattr(value, "__qualname__", None)
    return name is None or (value.__module__, name.rpartition(".")[0]) == (
        cls.__module__,
        cls.__qualname__,
    )


def _advice(name: str, value: object) -> str:
    if name.startswith("_"):
        return "give it a name without _ at the beginning"
    if is_hidden(value):
        return "remove its @hidden or @command"
    if not is_method(value):
        return f"a {type(value).__name__} is not a function"
    return "write @get, @post or @route above all its other decorators"
