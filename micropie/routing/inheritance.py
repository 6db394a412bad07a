"""What each application of a tree inherits from those around it, and what it has of its own: its ``Level``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from micropie.execution.executors import ExecutorPool
from micropie.execution.fork import available_cpus
from micropie.execution.placement import Threads
from micropie.execution.pool import Pool
from micropie.execution.shutdown import ShutdownSignal
from micropie.http.forms import Limits
from micropie.mounts.prefixes import Mount
from micropie.routing.config import AppConfig, ErrorHandler, ErrorKey
from micropie.routing.settings import Settings
from micropie.sessions import SessionBackend, SessionStore
from micropie.templates import Templates

if TYPE_CHECKING:
    from micropie.routing.route import RouteMark


@dataclass(slots=True)
class AppDefinition:
    """One ``App`` of a tree as its author wrote it: what is compiled."""

    app: object
    framework: tuple[type, ...]
    """The classes whose methods are no handlers."""
    settings: dict[str, Any]
    session_backend: SessionBackend | None
    """None: that of the application around this one; the outermost has one."""
    channels: Any
    """None: those of the application around this one; the outermost has some."""
    middlewares: list[Any]
    error_handlers: dict[ErrorKey, ErrorHandler]
    functions: list[tuple[Callable[..., Any], RouteMark]]
    """Plain functions with an explicit route."""
    ws_middlewares: list[Any]
    socket_functions: list[tuple[Callable[..., Any], RouteMark]]
    """Plain functions that answer WebSockets."""
    template_names: dict[str, Any]
    """What its templates see without being given it."""
    children: dict[str, AppDefinition]
    mounts: list[tuple[Mount, AppDefinition | None]]
    """What is mounted on it; with a branch, what shares sessions and hooks with it."""


def root_config(root: AppDefinition, shutdown: ShutdownSignal) -> AppConfig:
    settings = Settings().overridden(root.settings)
    assert root.session_backend is not None  # noqa: S101
    pool, pool_threads = _pool(settings)
    return AppConfig(
        settings=settings,
        threads=_threads(settings),
        pool=pool,
        pool_threads=pool_threads,
        limits=_limits(settings),
        sessions=_store(root.session_backend, settings, ""),
        middlewares=root.middlewares,
        ws_middlewares=root.ws_middlewares,
        error_handlers=root.error_handlers,
        app=root.app,
        prefix="",
        templates=_templates(root, settings),
        channels=root.channels,
        shutdown=shutdown,
        tree={},
    )


def child_config(definition: AppDefinition, outer: AppConfig, prefix: str) -> AppConfig:
    settings = outer.settings.overridden(definition.settings)
    shares_pool = _POOL_SETTINGS.isdisjoint(definition.settings)
    pool, pool_threads = (outer.pool, outer.pool_threads) if shares_pool else _pool(settings)
    return replace(
        outer,
        settings=settings,
        threads=outer.threads if _THREAD_SETTINGS.isdisjoint(definition.settings) else _threads(settings),
        pool=pool,
        pool_threads=pool_threads,
        limits=_limits(settings),
        sessions=_inner_store(definition, outer, settings, prefix),
        middlewares=_Chain(outer.middlewares, definition.middlewares),
        ws_middlewares=_Chain(outer.ws_middlewares, definition.ws_middlewares),
        error_handlers={**outer.error_handlers, **definition.error_handlers},
        app=definition.app,
        prefix=prefix,
        templates=_templates(definition, settings),
        channels=outer.channels if definition.channels is None else definition.channels,
    )


def _inner_store(definition: AppDefinition, outer: AppConfig, settings: Settings, prefix: str) -> SessionStore:
    if definition.session_backend is not None:
        return _store(definition.session_backend, settings, prefix)
    if any(name.startswith("session_") for name in definition.settings):
        return _store(outer.sessions.backend, settings, outer.sessions.prefix)
    return outer.sessions


_THREAD_SETTINGS = frozenset({"threads", "thread_queue"})


def _threads(settings: Settings) -> Threads:
    return Threads(settings.threads, settings.thread_queue)


_POOL_SETTINGS = frozenset({"processes", "pool"})


def _pool(settings: Settings) -> tuple[Pool | ExecutorPool, Threads]:
    if settings.pool is not None:
        return ExecutorPool(settings.pool), _threads(settings)
    pool = Pool(settings.processes or available_cpus())
    return pool, Threads(pool.size, settings.thread_queue)


def _store(backend: SessionBackend, settings: Settings, prefix: str) -> SessionStore:
    return SessionStore(
        backend,
        settings.session_timeout,
        id_factory=settings.session_id_factory,
        id_validator=settings.session_id_validator,
        secure=settings.session_cookie_secure,
        prefix=prefix,
    )


def _templates(definition: AppDefinition, settings: Settings) -> Templates:
    names = {**definition.template_names, **settings.template_globals}
    return Templates(settings.templates, settings.template_filters, names, reload=settings.debug)


class _Chain:
    """Two lists of middleware as one, each as it is at the moment."""

    def __init__(self, outer: Iterable[Any], inner: Iterable[Any]) -> None:
        self._parts = (outer, inner)

    def __iter__(self) -> Iterator[Any]:
        return (middleware for part in self._parts for middleware in part)

    def __bool__(self) -> bool:
        return any(self._parts)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_form_field_size=settings.max_form_field_size,
        max_fields=settings.max_form_fields,
        max_files=settings.max_form_files,
    )
