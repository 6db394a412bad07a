"""What authors write above their functions: routes, where a handler runs, what is no handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from micropie.errors import SetupError, is_count
from micropie.execution.placement import LOOP, MARK, PROCESS, THREAD, checked_placement
from micropie.routing.patterns import Pattern
from micropie.routing.route import RouteMark, checked_methods

Function = TypeVar("Function", bound=Callable[..., Any])


def make_mark(
    path: str | None,
    methods: Iterable[str] | None,
    name: str | None,
    decorator: str = "route",
    run_in: str | None = None,
) -> RouteMark:
    """A checked ``RouteMark``. Raises ``SetupError`` for a path that can't be read, an unknown method or place."""
    if path is not None:
        if not isinstance(path, str):
            raise SetupError(f'a route begins with its path: write @{decorator}("/path"), not {path!r}')
        Pattern(path)
    if run_in is not None:
        checked_placement(run_in, "run_in")
    return RouteMark(path, () if methods is None else checked_methods(methods), name, run_in)


def route(
    path: str | None = None,
    methods: Iterable[str] | None = None,
    *,
    name: str | None = None,
    run_in: str | None = None,
) -> Callable[[Function], Function]:
    """Answer ``path`` with the method below: ``@route("/users/<id:int>", methods=["GET"])``.

    Wildcards: ``<name>``, ``<name:int>``, ``<name:float>``, ``<name:path>``, ``<name:re:[a-z]+>``; they fill the
    parameters of their names. Without ``path`` the method keeps its own name's path; without ``methods`` it
    answers every method. ``name`` is for ``url_for``. ``run_in``: "loop", "thread" or "process". Raises ``SetupError``.
    """
    return _marker(make_mark(path, methods, name, run_in=run_in))


def _marker(mark: RouteMark, attribute: str = "__micropie_routes__") -> Callable[[Function], Function]:
    def add_mark(function: Function) -> Function:
        # A new list each time: a subclass's override must not change what its parent's method says.
        setattr(function, attribute, [*getattr(function, attribute, []), mark])
        return function

    return add_mark


@overload
def websocket(path: Function) -> Function: ...
@overload
def websocket(path: str | None = None, *, name: str | None = None) -> Callable[[Function], Function]: ...
def websocket(path: Any = None, *, name: str | None = None) -> Any:
    """Answer WebSockets at ``path`` with the method below: ``@websocket("/rooms/<room>")``.

    The method is an ``async def`` that takes the socket first, then parameters as any handler does. Without ``path``
    it answers the path of its name. A method whose name begins with ``ws_`` needs none of this: ``ws_chat`` answers
    ``/chat``. ``name`` is for ``url_for``. Raises ``SetupError``.
    """
    if callable(path):
        return _marker(make_mark(None, None, None), "__micropie_sockets__")(path)
    return _marker(make_mark(path, None, name, "websocket"), "__micropie_sockets__")


class _MethodDecorator:
    """``@get``, ``@get()`` and ``@get("/path", name=...)``."""

    def __init__(self, method: str) -> None:
        self._method = method
        self.__doc__ = f"Answer {method} only: as a bare decorator by the function's name, or with an explicit path."

    @overload
    def __call__(self, path: Function) -> Function: ...
    @overload
    def __call__(
        self, path: str | None = None, *, name: str | None = None, run_in: str | None = None
    ) -> Callable[[Function], Function]: ...
    def __call__(self, path: Any = None, *, name: str | None = None, run_in: str | None = None) -> Any:
        if callable(path):
            return _marker(make_mark(None, [self._method], None))(path)
        return _marker(make_mark(path, [self._method], name, run_in=run_in))


get = _MethodDecorator("GET")
post = _MethodDecorator("POST")
put = _MethodDecorator("PUT")
patch = _MethodDecorator("PATCH")
delete = _MethodDecorator("DELETE")


def run_in(placement: str) -> Callable[[Function], Function]:
    """Where the handler below runs, whatever the application's ``run_in`` says: ``@run_in("thread")``.

    ``"loop"``: on the event loop, or in the server's own thread under WSGI, for a ``def`` that never blocks.
    ``"thread"``: where it may block, the default for ``def``. ``"process"``: in a process of a pool, for what computes
    for long. What can't be is a ``SetupError``: ``async def`` runs on the event loop only.
    """
    checked_placement(placement, "run_in")

    def mark(function: Function) -> Function:
        setattr(function, MARK, placement)
        return function

    return mark


def inline(function: Function) -> Function:
    """Call this ``def`` handler or hook on the event loop, not in a thread: it is quick and never blocks."""
    return run_in(LOOP)(function)


def threaded(function: Function) -> Function:
    """Call this ``def`` handler in a thread, also in an ``App(run_in=...)`` that says otherwise."""
    return run_in(THREAD)(function)


def pooled(function: Function) -> Function:
    """Call this ``def`` handler in a process of the pool: it computes for long, and must not hold up others.

    Its arguments and what it returns or yields cross by ``pickle``; the handler itself by its name. ``self`` is a bare
    object of its class there, and ``self.request`` a copy that can only be read.
    """
    return run_in(PROCESS)(function)


def hidden(function: Function) -> Function:
    """This public method is no handler: its name is no URL."""
    function.__micropie_hidden__ = True  # type: ignore[attr-defined]
    return function


def reads_body(function: Function) -> Function:
    """This handler receives the body itself, as it arrives: ``request.parts()``, ``stream()`` or ``body()``.

    No form or JSON is received for it, so its parameters come from the path and the query alone. Raises
    ``SetupError`` when the application is first used if one is annotated as a file or as what a whole body becomes.
    """
    function.__micropie_reads_body__ = True  # type: ignore[attr-defined]
    return function


def max_body_size(size: int) -> Callable[[Function], Function]:
    """The most bytes of a body for the handler below, whatever the application's ``max_body_size`` is.

    ``@max_body_size(2 * 1024**3)``; a longer body gets 413. Raises ``SetupError`` for what is no number of bytes.
    """
    if not is_count(size, least=0):
        raise SetupError(f"max_body_size takes a whole number of bytes, 0 or more: not {size!r}")

    def limit(function: Function) -> Function:
        function.__micropie_max_body_size__ = size  # type: ignore[attr-defined]
        return function

    return limit
