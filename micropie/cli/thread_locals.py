"""Find what an application keeps in a ``threading.local``, such as the session of SQLAlchemy's
``scoped_session``, although its requests don't keep their thread.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, isroutine, unwrap
from threading import local
from types import ModuleType
from typing import Any

from micropie.extensions import Application, RouteEntry
from micropie.middleware import FlowMiddleware, Timeout

_WITH_BODY = {"POST", "PUT", "PATCH"}


def kept_in_threads(application: Application, entries: Sequence[RouteEntry]) -> Iterator[str]:
    """Yield a note for each object of the application or its modules that keeps its data in the
    thread, if something may be awaited between two ``def`` parts of a request.

    ``entries``: the routes of the application.
    """
    hooks = [one for one in application.middlewares if not isinstance(one, FlowMiddleware)]
    # the functions that run before and after the handler
    names = ("before_request", "after_request", "check")
    parts = [
        part
        for hook in hooks
        for part in (hook, *(getattr(hook, name, None) for name in names))
        if isroutine(part)
    ]
    between = next(_waits(application, parts, entries), None)
    if between is None or all(map(_is_async, parts)):
        return
    functions = [type(application.app), *(entry.route.function for entry in entries)]
    # a generated function may have a made-up module, or none
    owners = {
        one.__module__: sys.modules[one.__module__]
        for one in functions
        if one.__module__ in sys.modules
    }
    for owner, holder in [*owners.items(), (type(application.app).__name__, application.app)]:
        for name, value in [*vars(holder).items()]:
            if _is_of_thread(value):
                yield (
                    f"{owner}.{name} keeps its data in the thread, but {between} may change the "
                    "thread between the def parts of a request: open it in a provider of def "
                    "handlers"
                )


def _waits(
    application: Application, parts: Sequence[object], entries: Sequence[RouteEntry]
) -> Iterator[str]:
    """Yield a description of each thing that may end the run of a request in one thread."""
    for part in filter(_is_async, parts):
        yield f"the hook {getattr(part, '__qualname__', part)}, which is async,"
    of_routes = [one for entry in entries for one in entry.application.middlewares]
    if any(isinstance(one, Timeout) for one in (*application.middlewares, *of_routes)):
        yield "Timeout"
    for entry in entries:
        if _is_async(entry.route.function):
            yield f"the handler {entry.route.name}, which is async,"
        if not _WITH_BODY.isdisjoint(entry.methods):
            yield f"the body of {entry.route.name}"


def _is_async(function: Any) -> bool:
    inner = unwrap(function)
    return iscoroutinefunction(inner) or isasyncgenfunction(inner)


# Where objects keep their data, by the module of their class: the name of the attribute with a
# ``threading.local``, or with another object that is listed here.
_KEPT_IN = {
    "dataset.database": "local",
    "django.utils.connection": "_connections",
    "peewee": "_state",
    "pony.orm.core": "_dblocal",
    "sqlalchemy.orm.scoping": "registry",  # a ``scoped_session``
    "sqlalchemy.util._collections": "registry",  # its registry, unless it has a ``scopefunc``
}


def _is_of_thread(value: object) -> bool:
    """Return whether an object is a ``threading.local`` or keeps its data in one, or is Django's
    module for transactions. asgiref's ``Local`` counts as one, because it hides in each thread what
    another has set.
    """
    # without ``isinstance``, which would load a lazy object
    if issubclass(type(value), local):
        return True
    if type(value) is ModuleType:
        return value.__name__ == "django.db.transaction"
    modules = {one.__module__ for one in type(value).__mro__}
    kept = [getattr(value, _KEPT_IN[one], None) for one in modules.intersection(_KEPT_IN)]
    return "asgiref.local" in modules or any(map(_is_of_thread, kept))
