"""Make each application's ``Config``: its own settings, and everything that it inherits from the outer one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

from micropie import pool as pools
from micropie.binding import OwnTypes
from micropie.errors import SetupError
from micropie.execution import Threads, available_cpus
from micropie.http import current_request, normal_hosts, split_host
from micropie.mounts import Mount
from micropie.routing.checks import marks_above, with_marks
from micropie.routing.config import Chain, Config, ErrorHandler, ErrorKey, handlers_of_classes
from micropie.routing.names import RouteNames
from micropie.routing.providers import Providers
from micropie.routing.settings import Settings
from micropie.sessions import SessionBackend, SessionStore
from micropie.streams import ShutdownSignal
from micropie.templates import Directory, Templates

if TYPE_CHECKING:
    from micropie.channels import Channels
    from micropie.http import CookieSigner
    from micropie.routing.discovery import RouteMark


class Registrations:
    """The settings of one ``App``, and all that its author has registered with it by a call or a decorator."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        """Only those that the author has set."""
        self.error_handlers: dict[ErrorKey, Callable[..., object]] = {}
        self.providers: dict[object, Callable[..., object]] = {}
        """By the type that they provide."""
        self.functions: list[tuple[Callable[..., object], RouteMark]] = []
        """Plain functions with an explicit route."""
        self.mounts: list[Mount] = []
        self.commands: list[Callable[..., object]] = []
        """Those of the command line."""


@dataclass(slots=True, eq=False, repr=False)
class AppDefinition:
    """One ``App`` of a tree as its author wrote it, before it is compiled."""

    app: object
    framework: tuple[type, ...]
    """The classes whose methods are no handlers."""
    registered: Registrations
    session_backend: SessionBackend | None
    """None for the outer application's; never None for the outermost."""
    channels: Channels | None
    """None for the outer application's; never None for the outermost."""
    middlewares: list[object]
    ws_middlewares: list[object]
    providers: dict[object, Callable[..., object]]
    """Those that are registered, and a test's in the place of some."""
    template_names: dict[str, object]
    """Values by name that its templates see beside those that a handler gives them."""
    children: dict[str, AppDefinition]
    mounts: list[tuple[Mount, AppDefinition | None]]
    """The mounts, with a definition for an ``App`` that shares sessions and hooks with this one."""

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts of its own, without those of the application around it."""
        return normal_hosts(self.registered.settings.get("host"))


_THREAD_SETTINGS = frozenset({"threads", "thread_queue"})
_POOL_SETTINGS = frozenset({"processes", "pool"})


def make_config(
    definition: AppDefinition, outer: Config | None, prefix: str, names: str, shutdown: ShutdownSignal
) -> Config:
    """Return the config of an application inside ``outer``'s, or of the outermost. Raises ``SetupError``.

    Below ``prefix`` in the tree it is called ``names``, "/blog" and "blog." for example. On a host of its own the
    prefix is "//blog.example.com".
    """
    own = definition.registered.settings.keys()
    settings = (Settings() if outer is None else outer.settings).overridden(definition.registered.settings)
    if outer is None or own & _POOL_SETTINGS:
        pool, pool_threads = _pool(settings)
    else:
        pool, pool_threads = outer.pool, outer.pool_threads
    channels = definition.channels
    if channels is None:
        assert outer is not None  # noqa: S101
        channels = outer.channels
    functions = {**(outer.providers.functions if outer else {}), **definition.providers}
    config = Config(
        settings=settings,
        threads=_threads(settings) if outer is None or own & _THREAD_SETTINGS else outer.threads,
        pool=pool,
        pool_threads=pool_threads,
        signer=_signer(settings) if outer is None or "secret_key" in own else outer.signer,
        sessions=_sessions(definition, settings, outer, split_host(prefix)[1]),
        middlewares=definition.middlewares,
        ws_middlewares=definition.ws_middlewares,
        error_handlers=outer.error_handlers if outer else (),
        app=definition.app,
        prefix=prefix,
        scopes={prefix: names, **(outer.scopes if outer else {})},
        names=outer.names if outer else RouteNames(),
        templates=_templates(definition, settings, outer.templates.directories if outer else ()),
        channels=channels,
        shutdown=shutdown,
        providers=Providers(functions, OwnTypes(settings.encoders, settings.decoders)),
        tree=outer.tree if outer else [],
    )
    if "errors" in own:  # it has decided how its errors look
        config.error_handlers = handlers_of_classes(config.error_handlers)
    own_handlers = {
        key: ErrorHandler(function, config.providers) for key, function in definition.registered.error_handlers.items()
    }
    config.error_handlers = [(own_handlers, config.text_type), *config.error_handlers]
    if outer is not None:
        config.middlewares = Chain(outer.middlewares, definition.middlewares, config.providers)
        config.ws_middlewares = Chain(outer.ws_middlewares, definition.ws_middlewares, config.providers)
    return with_marks(config, marks_above(definition.app))


def _threads(settings: Settings) -> Threads:
    return Threads(settings.threads, settings.thread_queue)


def _pool(settings: Settings) -> tuple[pools.Pool | pools.ExecutorPool, Threads]:
    if settings.pool is not None:
        return pools.ExecutorPool(settings.pool), _threads(settings)
    pool = pools.Pool(settings.processes or available_cpus())
    return pool, Threads(pool.size, settings.thread_queue)


def _signer(settings: Settings) -> CookieSigner | None:
    if settings.secret_key is None:
        return None
    signing = import_module("micropie.http.signing")  # itsdangerous may be missing
    signer: CookieSigner = signing.CookieSigner(settings.secret_key)
    return signer


def _sessions(definition: AppDefinition, settings: Settings, outer: Config | None, prefix: str) -> SessionStore:
    backend = definition.session_backend
    if outer is not None and backend is None:
        if not any("session_" in name for name in definition.registered.settings):
            return outer.sessions
        backend, prefix = outer.sessions.backend, outer.sessions.prefix
    elif (
        outer is not None
        and not definition.hosts
        and settings.session_cookie == outer.settings.session_cookie
        and (settings.session_cookie or "").startswith("__Host-")
    ):
        raise SetupError(
            f"{type(definition.app).__name__} has a session backend of its own, whose cookie would replace that of "
            'the application around it: give it another name, such as session_cookie="__Host-inner"'
        )
    assert backend is not None  # noqa: S101
    return SessionStore(backend, settings, prefix)


def _templates(definition: AppDefinition, settings: Settings, outer: Sequence[Directory]) -> Templates:
    names = {**definition.template_names, **settings.template_globals}
    own = [settings.templates] if isinstance(settings.templates, str | PathLike) else list(settings.templates)
    directories = [*own, *(directory for directory in outer if directory not in own)]
    filters, setup, translations = settings.template_filters, settings.template_setup, settings.translations
    catalog = None if translations is None else lambda: translations(current_request())
    return Templates(directories, filters, names, reload=bool(settings.debug), setup=setup, catalog=catalog)
