"""What authors write above their functions: routes, where a handler runs, what is no handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from micropie.errors import SetupError
from micropie.patterns import Pattern
from micropie.routing import RouteMark, checked_methods
from micropie.settings import is_count

Function = TypeVar("Function", bound=Callable[..., Any])


def make_mark(path: str | None, methods: Iterable[str] | None, name: str | None, decorator: str = "route") -> RouteMark:
    """A checked ``RouteMark``. Raises ``SetupError`` for a path that can't be read and an unknown method."""
    if path is not None:
        if not isinstance(path, str):
            raise SetupError(f'a route begins with its path: write @{decorator}("/path"), not {path!r}')
        Pattern(path)
    return RouteMark(path, () if methods is None else checked_methods(methods), name)


def route(
    path: str | None = None, methods: Iterable[str] | None = None, *, name: str | None = None
) -> Callable[[Function], Function]:
    """Answer ``path`` with the method below: ``@route("/users/<id:int>", methods=["GET"])``.

    Wildcards: ``<name>``, ``<name:int>``, ``<name:float>``, ``<name:path>``, ``<name:re:[a-z]+>``; they fill the
    parameters of their names. Without ``path`` the method keeps its own name's path; without ``methods`` it
    answers every method. ``name`` is for ``url_for``. Raises ``SetupError``.
    """
    return _marker(make_mark(path, methods, name))


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
    def __call__(self, path: str | None = None, *, name: str | None = None) -> Callable[[Function], Function]: ...
    def __call__(self, path: Any = None, *, name: str | None = None) -> Any:
        if callable(path):
            return _marker(make_mark(None, [self._method], None))(path)
        return _marker(make_mark(path, [self._method], name))


get = _MethodDecorator("GET")
post = _MethodDecorator("POST")
put = _MethodDecorator("PUT")
patch = _MethodDecorator("PATCH")
delete = _MethodDecorator("DELETE")


def inline(function: Function) -> Function:
    """Call this ``def`` handler or hook on the event loop, not in a thread: it is quick and never blocks."""
    function.__micropie_inline__ = True  # type: ignore[attr-defined]
    return function


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
