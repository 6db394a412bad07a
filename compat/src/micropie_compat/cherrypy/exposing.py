"""Decorators for handlers: ``expose`` makes a function a handler, ``popargs`` turns a path's
segments into arguments.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any, overload

from micropie_compat.carrier import Function, Handler
from micropie_compat.cherrypy.lib import listed
from micropie_compat.cherrypy.serving import serving
from micropie_compat.cherrypy.types import Strings
from micropie_compat.cherrypy.urls import url  # noqa: F401 - re-exported by _helper
from micropie_compat.results import AnyFunction

_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
punctuation_to_underscores = str.maketrans(_PUNCTUATION, "_" * len(_PUNCTUATION))


@overload
def expose(func: Function, alias: Strings | None = None) -> Function: ...
@overload
def expose(
    func: Strings | None = None, alias: Strings | None = None
) -> Callable[[Function], Function]: ...
def expose(func: object = None, alias: Strings | None = None) -> object:
    """Make a function or a class a handler: ``@expose``, ``@expose()``,
    ``@expose("another_name")``.

    ``alias``: further names for the handler in the same class or module; ``.`` in a name becomes
    ``_``.
    """
    if isinstance(func, str | list | tuple):
        func, alias = None, func
    scope = sys._getframe(1).f_locals

    def mark(target: Any) -> object:
        target.exposed = True
        for name in listed(alias):
            scope[name.replace(".", "_")] = target
        return target

    return mark if func is None else mark(func)


def popargs(*args: str, handler: object = None) -> AnyFunction:
    """Pass the next segments of the path to handlers as parameters with these names. Use this to
    decorate a class, or as the value of ``_cp_dispatch``.

    ``handler``: the object that handles the rest of the path, or a function or class that is called
        with the parameters and returns this object.
    """

    def dispatch(owner: object, vpath: list[str] | None = None) -> object:
        if isinstance(owner, type):
            owner._cp_dispatch = dispatch  # type: ignore[attr-defined]
            return owner
        segments = [] if vpath is None else vpath
        taken = dict(zip(args, segments, strict=False))
        del segments[: len(taken)]
        if callable(handler):
            return handler(**taken)
        serving.request.params.update(taken)
        if handler is not None:
            return handler
        # Return the attribute for the next segment. ``owner`` itself would take further segments as
        # parameters again.
        return getattr(owner, segments.pop(0), None) if segments else owner

    return dispatch


def exposed_below(node: object, path: str, seen: tuple[object, ...] = ()) -> Iterator[Handler]:
    """Yield the handlers of an object, and of the objects of the same package that are its
    attributes.

    Handlers that only a custom dispatcher finds are not included. ``seen``: the objects around
    ``node``.
    """
    has_methods = getattr(node, "exposed", False)  # for ``MethodDispatcher``
    for name in dir(node):
        static = inspect.getattr_static(node, name, None)
        if name.startswith("_") or isinstance(static, property | type):
            continue
        value: Any = getattr(node, name, None)
        if inspect.isroutine(value):
            if has_methods and name.isupper():
                yield name, path or "/", value
            elif getattr(value, "exposed", False):
                ends = {"index": "/", "default": "/..."}
                yield "*", path + ends.get(name, f"/{name}"), value
        elif _package(value) == _package((*seen, node)[0]) and not any(
            value is one for one in (*seen, node)
        ):
            yield from exposed_below(value, f"{path}/{name}", (*seen, node))


def _package(value: object) -> str:
    return type(value).__module__.partition(".")[0]
