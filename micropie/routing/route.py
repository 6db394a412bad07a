"""One route: a handler, what its author said of it, how its arguments are bound and where it runs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from micropie.errors import SetupError
from micropie.execution.placement import LOOP, MARK, PROCESS, check_placement, innermost, name_of
from micropie.execution.steps import AWAIT, HANDLER, INLINE, POOL
from micropie.routing.binding import Plan
from micropie.routing.config import AppConfig
from micropie.routing.patterns import Pattern

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY"})


class RouteMark(NamedTuple):
    """What ``@route`` and its kin leave on a function. ``path`` None: by its name. ``run_in`` None: as it says."""

    path: str | None
    methods: tuple[str, ...]
    name: str | None
    run_in: str | None = None


def marks_of(function: Any, attribute: str = "__micropie_routes__") -> list[RouteMark]:
    """The marks of a function or of what it wraps."""
    marks: list[RouteMark] = getattr(function, attribute, [])
    return marks


def checked_methods(methods: Iterable[str]) -> tuple[str, ...]:
    """HTTP methods in upper case. Raises ``SetupError`` for text, nothing and unknown methods."""
    if isinstance(methods, str):
        raise SetupError(f'methods is a list: write methods=["{methods.upper()}"]')
    if not isinstance(methods, Iterable):
        raise SetupError(f'methods is a list of HTTP methods such as ["GET"], not {methods!r}')
    upper = tuple(method.upper() if isinstance(method, str) else method for method in methods)
    for method in upper:
        if method not in METHODS:
            raise SetupError(f"{method!r} is no HTTP method; there are: {', '.join(sorted(METHODS))}")
    if not upper:
        raise SetupError("methods is empty; leave it out to answer every method")
    return upper


class Route:
    """A handler as the flow needs it: ``call(*bind(...))``, run as ``step_kind`` says: AWAIT, HANDLER, POOL or INLINE.

    ``blocking`` is the way for a ``def`` handler: HANDLER, or INLINE where a step would be nothing but a call.
    ``placement`` is where the route wants it to run, None for where the function or the application says.
    ``reads_body``: no form and no JSON is received for it.

    Arguments that are ``texts`` segments of the path need no binding. ``takes_socket``: it answers WebSockets,
    and ``call`` takes the socket before its arguments.
    """

    __slots__ = (
        "bind",
        "call",
        "config",
        "is_fallback",
        "limited_step_kind",
        "methods",
        "most_segments",
        "name",
        "pattern",
        "plain_args",
        "plan",
        "reads_body",
        "step_kind",
    )

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        config: AppConfig,
        methods: tuple[str, ...] = (),
        pattern: Pattern | None = None,
        blocking: str = HANDLER,
        placement: str | None = None,
        takes_socket: bool = False,
    ) -> None:
        self.name = name
        self.is_fallback = pattern is None and name.rpartition(".")[2] == "default"
        self.config = _level_for(function, config)
        self.methods = methods
        self.pattern = pattern
        self.plan = _plan(function, name, takes_socket)
        self.call: Any = self.plan.call  # for POOL its name
        self.bind = self.plan.bind
        self.plain_args = self.plan.plain_args
        self.most_segments = self.plan.most_segments
        self.reads_body: bool = _mark(function, "__micropie_reads_body__", False)
        placement = placement or _mark(function, MARK, None)
        if placement is not None:
            check_placement(function, placement, name, self.reads_body)
        placement = placement or config.settings.run_in
        self.step_kind = _where_it_runs(function, blocking, placement)
        self.limited_step_kind = _where_it_runs(function, HANDLER, placement)
        if self.step_kind is POOL:
            check_placement(function, PROCESS, name, self.reads_body)
            self.call = name_of(function, name)
        if self.reads_body:
            self.plan.check_needs_no_body(name)
        if pattern is not None:
            self.plan.check_wildcards(pattern.names, pattern.text)

    def __repr__(self) -> str:
        return f"<Route {self.name}>"


def _plan(function: Callable[..., Any], name: str, takes_socket: bool) -> Plan:
    """The plan of a handler; a ``SetupError`` says which one it is about."""
    where = getattr(inspect.unwrap(function), "__qualname__", name)
    try:
        return _socket_plan(function) if takes_socket else Plan(function)
    except SetupError as error:
        hint = "if it is to be no handler, begin its name with _ or write @hidden above it"
        raise SetupError(f"{where}: {error}; {hint}") from None
    except ValueError:  # what inspect says of a method without a first parameter
        raise SetupError(f"{where} has no parameter self") from None


def _socket_plan(function: Callable[..., Any]) -> Plan:
    if not any(map(inspect.iscoroutinefunction, (function, inspect.unwrap(function)))):
        raise SetupError("a WebSocket handler waits for messages: write async def, without yield")
    plan = Plan(function, takes_socket=True)
    plan.check_no_body()
    return plan


def _where_it_runs(function: Callable[..., Any], blocking: str, placement: str) -> str:
    inner = innermost(function)
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(inner):
        return AWAIT
    if placement == PROCESS and not inspect.isasyncgenfunction(inner):
        return POOL
    # Calling a generator function runs nothing of it, so it needs no thread; its chunks get one.
    is_generator = inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)
    return INLINE if is_generator or placement == LOOP else blocking


def _mark(function: Any, name: str, default: Any) -> Any:
    """What a decorator left on a function, on what that wraps or what it is a partial of."""
    while not hasattr(function, name):
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return default
    return getattr(function, name)


def _level_for(function: Any, config: AppConfig) -> AppConfig:
    """``level``, but for the body's size if the handler states its own: so nobody has to ask for both."""
    size = _mark(function, "__micropie_max_body_size__", None)
    return config if size is None else replace(config, settings=replace(config.settings, max_body_size=size))
