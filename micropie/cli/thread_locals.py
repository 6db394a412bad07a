"""Find what an application keeps in a ``threading.local``, such as the session of SQLAlchemy's
``scoped_session``, although its requests don't keep their thread.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from inspect import isasyncgenfunction, iscoroutinefunction, isroutine, unwrap
from threading import local
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
    has_def = any(not _is_async(part) for part in parts)
    between = next(_waits(application, parts, entries), None) if has_def else None
    if between is None:
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
                    "thread between the def parts of a request: open it in a provider instead"
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


def _is_of_thread(value: object) -> bool:
    """Return whether an object is a ``threading.local`` or keeps its data in one."""
    packages = {one.__module__.partition(".")[0] for one in type(value).__mro__}
    if "sqlalchemy" in packages:  # a ``scoped_session`` without a ``scopefunc`` of its own
        value = getattr(getattr(value, "registry", None), "registry", None)
    elif "peewee" in packages:  # a ``Database``
        value = getattr(value, "_state", None)
    return isinstance(value, local)
