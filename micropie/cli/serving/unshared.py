"""Find the data of an application that worker processes don't share, because each keeps it in
memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from inspect import unwrap
from types import CodeType

from micropie import App
from micropie.channels import Channels
from micropie.extensions import Application, Inspector, RouteEntry
from micropie.sessions import InMemorySessionBackend


def in_memory(app: App) -> dict[str, str]:
    """Return the kinds of data that an application and the applications inside it keep in memory
    and seem to use. The value for each kind is advice on how to share it between workers.
    """
    inspector = Inspector(app)
    inside = inspector.applications()
    found: dict[str, str] = {}
    for one in inside:
        found |= getattr(one.app, "kept_in_memory", tuple)()  # data of migrated applications
        for mount in one.mounts:
            # A migrated application has its ``App`` in the attribute ``native``.
            inner = getattr(mount.target, "native", mount.target)
            if isinstance(inner, App) and all(inner is not other.app for other in inside):
                found |= in_memory(inner)
    entries = inspector.all_routes()
    # Compute this once per application, not once per route.
    in_methods = {one.app: _names_in_methods(type(one.app)) for one in inside}
    for entry in entries:
        part = entry.application
        names = in_methods[part.app].union(_names_of(entry, part))
        uses_session = not names.isdisjoint(("session", "flash"))
        if uses_session and isinstance(part.session_backend, InMemorySessionBackend):
            advice = 'write App(session_backend=SQLiteSessionBackend("sessions.db"))'
            found.setdefault("sessions", advice)
        if type(part.channels) is Channels and "channels" in names:
            found.setdefault("channels", 'write App(channels=RedisChannels("redis://..."))')
    # The application in a route's entry also has the hooks from the handler's decorators.
    parts: list[Application] = [*inside, *(entry.application for entry in entries)]
    for hook in (hook for one in parts for hook in one.middlewares):
        found |= getattr(hook, "kept_in_memory", lambda _: ())(app)
    return found


def _names_of(entry: RouteEntry, part: Application) -> Iterator[str]:
    """Yield the names of attributes and variables that a route's code uses. The route's code is the
    code of its handler, of its providers and hooks, and of functions that are stored on a hook.
    """
    yield from _names_in(entry.route.function)
    for signature in entry.signature.needed():
        yield from _names_in(signature.function)
    for hook in part.middlewares:
        yield from _names_in(hook)
        yield from _names_in_methods(type(hook))
        for value in getattr(hook, "__dict__", {}).values():
            yield from _names_in(value)


def _names_in_methods(kind: type) -> set[str]:
    classes = [one for one in kind.__mro__ if one.__module__.partition(".")[0] != "micropie"]
    values = [value for one in classes for value in vars(one).values()]
    # A property's code is in its getter.
    functions = [getattr(value, "fget", None) or value for value in values]
    return {name for one in functions for name in _names_in(one)}


def _names_in(function: object) -> Iterator[str]:
    codes = [getattr(unwrap(function) if callable(function) else None, "__code__", None)]
    for code in codes:  # the loop appends nested code to this list
        if isinstance(code, CodeType):
            codes += code.co_consts
            yield from (*code.co_names, *code.co_varnames)
