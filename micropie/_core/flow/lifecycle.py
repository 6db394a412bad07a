"""Startup and shutdown of an application, written once for ASGI and WSGI.

Startup enters an application's ``lifespan`` context manager and runs its startup handlers, then
does the same for the applications inside it. If any of these fails, everything that has started is
stopped again and the exception is raised. Shutdown goes in reverse order, inner applications first:
it runs the shutdown handlers of each application and exits its ``lifespan``. If any of these raises
an exception, the exception is logged and the others still run. The first exception is raised at the
end.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from threading import Timer
from typing import Any, Protocol, TypeAlias, TypeVar

from micropie._core.errors import (
    SetupError,
    as_authors_see,
    check_manager,
    is_generator,
    logger,
    name_of,
    takes,
)
from micropie._core.execution.steps import AWAIT, CALL, INLINE, Flow, call, kind_of
from micropie._core.http import Exchange, State
from micropie._core.http.protocols import ON_FAILURE
from micropie._core.mounts import ASGI, WSGI
from micropie._core.routing import Config
from micropie._core.streams import ShutdownSignal, startup_shutdown

# Most servers wait for startup and shutdown silently and without a limit. So micropie logs the
# function that has been running for this number of seconds.
_LONG = 10.0

# The protocol of a server. It determines which mounts are started together with an application.
UNDER_ASGI = ASGI
UNDER_WSGI = WSGI

# The log message if a task of a lifespan fails before shutdown. Requests are still handled.
LIFESPAN_ENDED = "the lifespan ended before shutdown"

Result = TypeVar("Result")
LifecycleFunction: TypeAlias = Callable[[], object]
Lifespan: TypeAlias = AbstractAsyncContextManager[object]


def log_lifecycle_failure(sentence: str, error: Exception, server: Mapping[str, Any]) -> None:
    """Log why startup or shutdown failed. ``server`` is the scope or the environ. If ``server``
    contains a function that a test client stored for such errors, call this function with
    ``error``.

    A ``SetupError`` is logged without its traceback, which would show only the framework's frames.
    """
    if ON_FAILURE in server:
        server[ON_FAILURE](error)
    if isinstance(error, SetupError):
        logger.error("%s: %s", sentence, error)
    else:
        logger.error("%s", sentence, exc_info=as_authors_see(error))


class Component(Protocol):
    """The interface by which an ``App`` or a mounted application is started and stopped."""

    startup_handlers: list[LifecycleFunction]
    shutdown_handlers: list[LifecycleFunction]
    state: State
    """If ``lifespan`` yields a dict, startup stores the dict's values here."""

    def open_lifespan(self) -> Lifespan | None:
        """Return a new context manager, or None if the application has no ``lifespan``."""


class Lifecycle:
    """One startup and one shutdown of an application and the applications inside it.

    - ``is_empty``: whether there is nothing to run.
    - ``starts``: functions that are called last at startup, in a thread. They start process pools.
    - ``needs_loop``: whether any function to run is async, so that an event loop is needed.

    Raises ``SetupError`` for a startup or shutdown handler that can't be called without arguments,
    or is a generator function, whose code would never run.
    """

    def __init__(self, apps: Sequence[Component], starts: Iterable[LifecycleFunction] = ()) -> None:
        self._starts = [*starts]
        self._lifespans = [(app, app.open_lifespan()) for app in apps]
        has_lifespan = any(manager is not None for _, manager in self._lifespans)
        handlers = [
            handler for app in apps for handler in (*app.startup_handlers, *app.shutdown_handlers)
        ]
        for handler in handlers:
            if is_generator(handler) or not takes(handler, 0):
                raise SetupError(
                    f"{name_of(handler)} can't be a startup or shutdown handler: append a function "
                    "without parameters, and don't call it; with a yield, pass App(lifespan=...)"
                )
        self.is_empty = not (has_lifespan or handlers or self._starts)
        self.needs_loop = has_lifespan or any(map(inspect.iscoroutinefunction, handlers))
        # The flows that will stop the applications, in the order in which these were started.
        self._undo: list[Iterable[Flow[None]]] = []

    def start(self, shutdown: ShutdownSignal) -> Flow[None]:
        """Enter each application's ``lifespan`` and call its startup handlers. If one fails, stop
        everything that has started, then raise the exception.

        ``shutdown``: the signal that ends the subscriptions of the tasks that startup creates.
        """
        startup_shutdown.set(shutdown)  # never reset, because the context ends with the lifespan
        try:
            for app, manager in self._lifespans:
                if manager is not None:
                    state = yield from _named_if_long(
                        "startup", "lifespan", call(AWAIT, manager.__aenter__)
                    )
                    leave = call(AWAIT, manager.__aexit__, None, None, None)
                    self._undo.append([_named_if_long("shutdown", "lifespan", leave)])
                    if isinstance(state, dict):
                        for name, value in state.items():
                            app.state[name] = value
                # Shutdown calls all shutdown handlers if the first startup handler has succeeded,
                # or if there is no startup handler.
                for handler in app.startup_handlers[:1]:
                    yield from _call("startup", handler)
                self._undo.append(_call("shutdown", handler) for handler in app.shutdown_handlers)
                for handler in app.startup_handlers[1:]:
                    yield from _call("startup", handler)
            for function in self._starts:
                yield from _named_if_long("startup", "pool_startup", call(CALL, function))
        except Exception:
            yield from self._undo_all()
            raise

    def stop(self) -> Flow[None]:
        """Stop everything that was started, then raise the first exception, if there was one."""
        failure = yield from self._undo_all()
        if failure is not None:
            raise failure

    def stop_cancelled(self) -> Flow[Exception]:
        """Stop everything after a cancellation. Return the exception to log if it came from a
        cancel scope around the ``yield`` of a lifespan.
        """
        failure = yield from self._undo_all()
        if isinstance(failure, Exception):
            return failure
        return RuntimeError("a cancel scope around the yield of the lifespan was cancelled")

    def _undo_all(self) -> Flow[BaseException | None]:
        """Return the first exception, or a cancellation if that is all there was."""
        first: BaseException | None = None
        for flows in reversed(self._undo):
            for flow in flows:
                try:
                    yield from flow
                except Exception as error:
                    logger.exception("shutdown failed")
                    first = first if isinstance(first, Exception) else error
                except BaseException as error:
                    # Go on, because the scope that cancels this may be that of an outer lifespan.
                    first = first or error
        self._undo = []
        return first


class LifespanContext(Exchange):
    """Takes the place of a request's exchange while a driver performs the steps of startup and
    shutdown. Only its ``config`` is set.
    """

    def __init__(self, config: Config) -> None:
        self.config = config


def _call(stage: str, handler: LifecycleFunction) -> Flow[None]:
    return _named_if_long(stage, name_of(handler), call(kind_of(handler, INLINE), handler))


def _named_if_long(stage: str, name: str, flow: Flow[Result]) -> Flow[Result]:
    """Run ``flow``, and log ``name`` if the flow takes longer than ``_LONG`` seconds.

    A timer's thread writes the log, because ``flow`` may block the thread it runs in.
    """
    words = "%s: %s has been running for %g s"
    if stage == "startup":
        words += "; no request is handled until it returns: run endless work in a background task"
    timer = Timer(_LONG, logger.warning, (words, stage, name, _LONG))
    timer.daemon = True
    with suppress(RuntimeError):  # no thread can be started while the interpreter shuts down
        timer.start()
    try:
        return (yield from flow)
    finally:
        timer.cancel()
        if timer.is_alive():
            timer.join()


def lifespan_opener(lifespan: Callable[..., Any], *arguments: object) -> Callable[[], Lifespan]:
    """Return a function that creates the context manager ``lifespan(*arguments)``.

    ``lifespan``: an async generator function, or a function that returns an async context manager.
    Raises ``SetupError`` if it can't be called with ``arguments``. The returned function raises
    ``SetupError`` if ``lifespan`` doesn't return an async context manager.
    """
    if inspect.isasyncgenfunction(lifespan):
        lifespan = asynccontextmanager(lifespan)
    if not takes(lifespan, len(arguments)):
        raise SetupError(_TAKES)
    check_manager(lifespan)

    def open_lifespan() -> Lifespan:
        manager: Lifespan = lifespan(*arguments)
        if not hasattr(manager, "__aenter__"):
            raise SetupError(_TAKES)
        return manager

    return open_lifespan


_TAKES = (
    "lifespan takes a function of one argument that returns an async context manager. Write "
    "@asynccontextmanager above async def lifespan(app), with one yield in the function; in a "
    "class, write lifespan(self)"
)
