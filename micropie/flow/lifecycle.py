"""Start-up and shut-down of an application, once for both protocols: a flow each.

Order: an application's ``lifespan`` context manager is entered and its start-up handlers run, then those of the
applications inside it. If one fails, what had started is undone and the failure raised. Shut-down is the reverse: inner
applications first, of each the shut-down handlers and then its ``lifespan``; a failure is logged, does not keep the
others from running, and is raised at the end.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from micropie.errors import SetupError
from micropie.execution.steps import AWAIT, Flow, RouteKind
from micropie.routing.site import Site

logger = logging.getLogger("micropie")


class Part(Protocol):
    """What of one ``App`` starts and stops."""

    startup_handlers: list[Callable[[], Any]]
    shutdown_handlers: list[Callable[[], Any]]
    state: Any

    def open_lifespan(self) -> Any:
        """A new context manager, None if the author wrote none."""


class Lifecycle:
    """One start and one stop of a tree of applications."""

    def __init__(self, apps: Sequence[Part]) -> None:
        self._apps = apps
        self._lifespans = [(app, app.open_lifespan()) for app in apps]
        self._started: list[Part] = []
        self._undo: list[Callable[[], Iterable[Flow[None]]]] = []  # in the order of the start

    @property
    def is_empty(self) -> bool:
        """Whether nothing is to be started or stopped."""
        return not (self._has_lifespan or self._handlers)

    @property
    def needs_loop(self) -> bool:
        """Whether anything of it is async."""
        return self._has_lifespan or any(map(inspect.iscoroutinefunction, self._handlers))

    @property
    def _has_lifespan(self) -> bool:
        return any(manager is not None for _, manager in self._lifespans)

    @property
    def _handlers(self) -> list[Callable[[], Any]]:
        return [handler for app in self._apps for handler in (*app.startup_handlers, *app.shutdown_handlers)]

    def start(self) -> Flow[None]:
        """Start everything, or undo what had started and raise."""
        try:
            for app, manager in self._lifespans:
                yield from self._start_one(app, manager)
        except Exception as error:
            failure = error
        else:
            return
        try:
            yield from self._stop_all()
            raise failure
        finally:
            del failure

    def stop(self) -> Flow[None]:
        """Stop everything; raises the first failure when all has been tried."""
        failures = yield from self._stop_all()
        if failures:
            raise failures[0]

    def _start_one(self, app: Part, manager: Any) -> Flow[None]:
        if manager is not None:
            state = yield (AWAIT, manager.__aenter__, ())
            self._undo.append(lambda: [_leave(manager)])
            if isinstance(state, dict):
                for name, value in state.items():
                    app.state[name] = value
        for handler in app.startup_handlers:
            yield from _call(handler)
            self._mark_started(app)
        self._mark_started(app)

    def _mark_started(self, app: Part) -> None:
        if app not in self._started:
            self._started.append(app)
            self._undo.append(lambda: map(_call, app.shutdown_handlers))

    def _stop_all(self) -> Flow[list[Exception]]:
        failures: list[Exception] = []
        for undo in reversed(self._undo):
            for flow in undo():
                yield from _tried(flow, failures)
        self._started, self._undo = [], []
        return failures


class Startable(Protocol):
    """A whole application, as the drivers start it."""

    def compiled(self, blocking: RouteKind = ..., /) -> Site: ...
    def lifecycle(self, kinds: Sequence[str] = ..., /) -> Lifecycle: ...


class LifespanContext:
    """What a driver performs the steps of start-up and shut-down with, where it has a request otherwise."""

    receive_piece: Any = None  # there is no body
    receive_nowait = receive_waiting = receive_piece

    def __init__(self, config: Any) -> None:
        self.config = config


def _call(handler: Callable[[], Any]) -> Flow[None]:
    if inspect.iscoroutinefunction(handler):
        yield (AWAIT, handler, ())
        return
    result = handler()
    if inspect.isawaitable(result):
        yield (AWAIT, lambda: result, ())


def _leave(manager: Any) -> Flow[None]:
    yield (AWAIT, manager.__aexit__, (None, None, None))


def _tried(flow: Flow[None], failures: list[Exception]) -> Flow[None]:
    try:
        yield from flow
    except Exception as error:
        logger.exception("shut-down failed")
        failures.append(error)


def lifespan_opener(lifespan: Any, *arguments: Any) -> Callable[[], Any]:
    """A function that makes the context manager. Takes an async generator function or what makes a manager.

    Raises ``SetupError`` for anything else.
    """
    if inspect.isasyncgenfunction(lifespan):
        lifespan = asynccontextmanager(lifespan)
    if not callable(lifespan):
        raise SetupError("lifespan takes an async context manager: a function with @asynccontextmanager")

    def open_lifespan() -> Any:
        manager = lifespan(*arguments)
        if not hasattr(manager, "__aenter__"):
            raise SetupError("lifespan must make an async context manager: write @asynccontextmanager above it")
        return manager

    return open_lifespan
