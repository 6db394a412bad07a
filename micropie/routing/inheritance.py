"""Make each application's ``AppConfig``: its own settings, and everything that it inherits from the outer one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING

from micropie.errors import SetupError
from micropie.execution import ShutdownSignal, Threads, available_cpus
from micropie.http import HTML, TEXT
from micropie.mounts import Mount
from micropie.pool import ExecutorPool, Pool
from micropie.routing.checks import checks_of, with_checks
from micropie.routing.config import AppConfig, Chain, ErrorHandler, ErrorKey
from micropie.routing.settings import Settings
from micropie.sessions import SessionBackend, SessionStore
from micropie.templates import Directory, Templates

if TYPE_CHECKING:
    from micropie.channels import Channels
    from micropie.http import CookieSigner
    from micropie.routing.routes import RouteMark


@dataclass(slots=True)
class AppDefinition:
    """One ``App`` of a tree as its author wrote it, before it is compiled."""

    app: object
    framework: tuple[type, ...]
    """The classes whose methods are no handlers."""
    settings: dict[str, object]
    """Only those that the author has set."""
    session_backend: SessionBackend | None
    """None for the outer application's; never None for the outermost."""
    channels: Channels | None
    """None for the outer application's; never None for the outermost."""
    middlewares: list[object]
    error_handlers: dict[ErrorKey, ErrorHandler]
    functions: list[tuple[Callable[..., object], RouteMark]]
    """Plain functions with an explicit route."""
    ws_middlewares: list[object]
    socket_functions: list[tuple[Callable[..., object], RouteMark]]
    """Plain functions that answer WebSockets."""
    providers: dict[object, Callable[..., object]]
    """By the type that they provide."""
    template_names: dict[str, object]
    """Values by name that its templates see beside those that a handler gives them."""
    children: dict[str, AppDefinition]
    mounts: list[tuple[Mount, AppDefinition | None]]
    """The mounts, with a definition for an ``App`` that shares sessions and hooks with this one."""


def root_config(root: AppDefinition, shutdown: ShutdownSignal) -> AppConfig:
    """Return the config of a tree's outermost application. Raises ``SetupError`` for a wrong setting."""
    settings = Settings().overridden(root.settings)
    assert root.session_backend is not None and root.channels is not None  # noqa: S101, PT018
    pool, pool_threads = _pool(settings)
    config = AppConfig(
        settings=settings,
        threads=_threads(settings),
        pool=pool,
        pool_threads=pool_threads,
        text_type=_TEXT_TYPES[settings.text],
        limits=settings.limits(),
        signer=_signer(settings),
        sessions=_store(root.session_backend, settings, ""),
        middlewares=root.middlewares,
        ws_middlewares=root.ws_middlewares,
        error_handlers=[root.error_handlers],
        app=root.app,
        prefix="",
        templates=_templates(root, settings, ()),
        channels=root.channels,
        shutdown=shutdown,
        providers=root.providers,
        tree={},
    )
    return with_checks(config, checks_of(root.app))


_THREAD_SETTINGS = frozenset({"threads", "thread_queue"})
_POOL_SETTINGS = frozenset({"processes", "pool"})


def child_config(definition: AppDefinition, outer: AppConfig, prefix: str) -> AppConfig:
    """Return the config of an application inside ``outer``'s. Raises ``SetupError`` for a wrong setting."""
    settings = outer.settings.overridden(definition.settings)
    sessions = outer.sessions
    if definition.session_backend is not None:
        if settings.session_cookie.startswith("__Host-") and settings.session_cookie == outer.settings.session_cookie:
            raise SetupError(
                f"{type(definition.app).__name__} has a session backend of its own, whose cookie would replace that of "
                'the application around it: give it another name, such as session_cookie="__Host-inner"'
            )
        sessions = _store(definition.session_backend, settings, prefix)
    elif any(name.startswith("session_") for name in definition.settings):
        sessions = _store(outer.sessions.backend, settings, outer.sessions.prefix)
    shares_pool = _POOL_SETTINGS.isdisjoint(definition.settings)
    pool, pool_threads = (outer.pool, outer.pool_threads) if shares_pool else _pool(settings)
    config = replace(
        outer,
        settings=settings,
        threads=outer.threads if _THREAD_SETTINGS.isdisjoint(definition.settings) else _threads(settings),
        pool=pool,
        pool_threads=pool_threads,
        text_type=_TEXT_TYPES[settings.text],
        limits=settings.limits(),
        signer=_signer(settings) if "secret_key" in definition.settings else outer.signer,
        sessions=sessions,
        middlewares=Chain(outer.middlewares, definition.middlewares),
        ws_middlewares=Chain(outer.ws_middlewares, definition.ws_middlewares),
        error_handlers=[definition.error_handlers, *outer.error_handlers],
        app=definition.app,
        prefix=prefix,
        templates=_templates(definition, settings, outer.templates.directories),
        providers={**outer.providers, **definition.providers},
        channels=outer.channels if definition.channels is None else definition.channels,
    )
    return with_checks(config, checks_of(definition.app))


_TEXT_TYPES = {"html": HTML, "plain": TEXT}


def _threads(settings: Settings) -> Threads:
    return Threads(settings.threads, settings.thread_queue)


def _pool(settings: Settings) -> tuple[Pool | ExecutorPool, Threads]:
    if settings.pool is not None:
        return ExecutorPool(settings.pool), _threads(settings)
    pool = Pool(settings.processes or available_cpus())
    return pool, Threads(pool.size, settings.thread_queue)


def _signer(settings: Settings) -> CookieSigner | None:
    if settings.secret_key is None:
        return None
    signing = import_module("micropie.http.signing")  # itsdangerous may be missing
    signer: CookieSigner = signing.CookieSigner(settings.secret_key)
    return signer


def _store(backend: SessionBackend, settings: Settings, prefix: str) -> SessionStore:
    return SessionStore(
        backend,
        settings.session_timeout,
        id_factory=settings.session_id_factory,
        id_validator=settings.session_id_validator,
        cookie=settings.session_cookie,
        samesite=settings.session_cookie_samesite,
        secure=settings.session_cookie_secure,
        saves_on_error=settings.session_save_on_error,
        prefix=prefix,
    )


def _templates(definition: AppDefinition, settings: Settings, outer: Sequence[Directory]) -> Templates:
    names = {**definition.template_names, **settings.template_globals}
    own = [settings.templates] if isinstance(settings.templates, str | PathLike) else list(settings.templates)
    directories = [*own, *(directory for directory in outer if directory not in own)]
    filters, setup = settings.template_filters, settings.template_setup
    return Templates(directories, filters, names, reload=bool(settings.debug), setup=setup)
