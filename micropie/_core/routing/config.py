"""``Config``: the settings and objects of one ``App`` in a tree. It is created once, and every
request reads it.

Settings are plain values that the application sets (``settings.py``). A config also holds the
objects that are created from settings, such as thread limits, the session store and the templates.
An inner application that sets none of the settings for such an object shares the outer
application's object.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from copy import copy
from importlib import import_module
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from micropie._core.binding import OwnTypes, annotated
from micropie._core.errors import HTTPError, SetupError, name_of, parameters_of, signature_of
from micropie._core.execution import Action, ProcessPool
from micropie._core.execution.placement import AnyFunction, Threads
from micropie._core.execution.steps import CALL, INLINE, Kind, kind_of
from micropie._core.http import (
    HTML,
    JSON,
    TEXT,
    Exchange,
    MessageConfig,
    ProxyWatch,
    Request,
    State,
    current_request,
)
from micropie._core.http.addresses import normal_hosts, quoted_address, split_host, with_host
from micropie._core.http.forms import Limits
from micropie._core.http.json import dumps_with
from micropie._core.http.settings import Settings
from micropie._core.mounts import Mount
from micropie._core.routing.discovery import (
    Providers,
    RouteMark,
    check_middlewares,
    marks_above,
)
from micropie._core.routing.names import RouteNames
from micropie._core.sessions import InMemorySessionBackend, SessionBackend, SessionStore
from micropie._core.spellings import AppSpellings
from micropie._core.streams import ShutdownSignal
from micropie._core.templates import Directory, Templates

_NO_SETTINGS: Mapping[str, object] = {}

ErrorKey: TypeAlias = int | type
Middlewares: TypeAlias = "list[object] | Chain"


class ErrorHandler:
    """An application's error handler, ``def`` or ``async def``. Its parameters are the error and
    the request in either order, only one of them, or none. Raises ``SetupError`` for any other
    parameters.

    - ``otherwise``: the kind of step that calls a handler that may block.
    - ``kind``: the kind of step that calls this handler.
    - ``takes_error``: for each parameter, whether it is the error. Otherwise, it is the request.
    """

    def __init__(self, function: AnyFunction, providers: Providers, otherwise: Kind) -> None:
        self.function, self.kind = function, kind_of(function, otherwise)
        parameters = parameters_of(function)
        kinds = [one.kind for one in parameters]
        if kinds == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]:
            # A decorator has replaced the handler by a wrapper with ``*args`` and ``**kwargs``. Use
            # the parameters of the wrapped handler.
            parameters = [*signature_of(function).parameters.values()]
        with suppress(SetupError):  # a name that is imported for type checkers only
            parameters = annotated(function, parameters)
        self.takes_error = [
            one.name != "request" and one.annotation not in (Request, "Request")
            for one in parameters
        ]
        if not any(isinstance(one.annotation, str) for one in parameters):
            providers.refuse_resources(function, 0)
        if len({*self.takes_error}) < len(parameters) or any(
            one.kind in (one.KEYWORD_ONLY, one.VAR_KEYWORD) for one in parameters
        ):
            raise SetupError(
                f"the error handler {name_of(function)} can take only "
                "request and error: write def page(request, error), or leave one or both out"
            )


# The error handlers of one application, as a dict by status or exception class, and the
# application's default content type for text.
ErrorHandlers: TypeAlias = tuple[Mapping[ErrorKey, ErrorHandler], str]


def check_error_key(key: object) -> ErrorKey:
    """Return ``key`` if it is a status from 400 to 599 or an exception class; raise ``SetupError``
    otherwise.
    """
    if isinstance(key, int) and 400 <= key <= 599:
        return key
    if isinstance(key, type) and issubclass(key, Exception):
        return key
    hint = ": write a number or a class, without quotes" if isinstance(key, str) else ""
    raise SetupError(
        f"@app.error takes a status from 400 to 599 or an exception class, not {key!r}{hint}"
    )


class AppBase(AppSpellings):
    """The base class of ``App``, with the attributes that the core uses."""

    # If a class has this attribute in its own ``__dict__``, the methods of the class are not
    # handlers.
    _micropie_is_framework = True

    def __class_getitem__(cls, root: object) -> type[AppBase]:
        """Return the class itself for ``App[Desk]``, because only type checkers use ``Desk``."""
        return cls

    middlewares: list[Any]
    ws_middlewares: list[Any]
    state: State
    session_backend: SessionBackend | None
    lifespan: Any


class UpperLayers(Protocol):
    """The functions that the core needs from packages outside of it, such as ``micropie.debug``.
    ``App`` passes an object that has these functions, because the core must not import those
    packages.
    """

    def advisor_for(self, settings: Settings) -> Any:
        """Return the module ``micropie.debug.advisor`` if the application is in development, or
        else None.
        """

    def make_channels(self) -> object:
        """Return new channels that deliver messages within this process only."""

    def warn_of_missing_security(self, config: Config, /) -> None:
        """Log a warning that lists the security middleware missing from a tree's outermost
        application.
        """


class Registrations:
    """What has been set and registered on one ``App``: its settings, and everything that a call or
    a decorator has added.
    """

    stated_channels: object = None
    """The channels passed to ``App``, or None to use those of the outer application."""
    enter_in_pool: tuple[Action, ...] = ()
    """See ``MessageConfig.enter_in_pool``."""

    def __init__(
        self, app: AppBase, template_names: Mapping[str, object], upper: UpperLayers
    ) -> None:
        self.app = app
        self.upper = upper
        self.template_names = template_names
        """Values by name that are available in every template, besides those that the handler
        passes.
        """
        self.settings: dict[str, object] = {}
        """The settings that were passed to ``App``, without the defaults of all other settings."""
        self.security: object = None
        self.error_handlers: dict[ErrorKey, AnyFunction] = {}
        self.providers: dict[object, AnyFunction] = {}
        """The provider functions, as a dict by the type of their resource."""
        self.overrides: list[tuple[object, AnyFunction]] = []
        """The functions with which tests replace providers, anywhere in the tree, with the types of
        the resources. The last one for a type counts.
        """
        self.functions: list[tuple[AnyFunction, RouteMark]] = []
        """Plain functions with an explicit route."""
        self.mounts: list[Mount] = []
        self.commands: list[AnyFunction] = []
        """Plain functions that can be called from the command line."""
        self._own_sessions = InMemorySessionBackend()
        self._own_channels: list[object] = []

    @property
    def channels(self) -> Any:
        """The channels passed to ``App``. If none were passed, new ones, for an outermost
        application, that deliver messages within this process only.
        """
        if self.stated_channels is not None:
            return self.stated_channels
        if not self._own_channels:
            self._own_channels.append(self.upper.make_channels())
        return self._own_channels[0]  # two threads may each have added one; then both use the first

    @property
    def framework(self) -> tuple[type, ...]:
        """Those base classes of the ``App`` that belong to the framework. Their methods are not
        handlers.
        """
        return tuple(
            base for base in type(self.app).__mro__ if "_micropie_is_framework" in vars(base)
        )

    @property
    def hosts(self) -> Sequence[str]:
        """The hosts that this application has set itself. Those of the outer application are not
        included.
        """
        return normal_hosts(self.settings.get("host"))

    def session_backend(self) -> SessionBackend:
        """Return the session backend. The application must be the outermost one."""
        backend = self.app.session_backend
        # compare with None, because ``bool()`` of an empty backend may be False
        return self._own_sessions if backend is None else backend

    def inside(self, ancestors: tuple[AppBase, ...]) -> Mapping[str, Registrations]:
        """Return the applications that are attributes of this one, as a dict by name. Mounts are
        not included.

        ``ancestors``: the applications that contain this one, the outermost first.
        """
        raise NotImplementedError


class Config(MessageConfig):
    """The config of one ``App`` in a tree. The routes of the ``App`` refer to it.

    It doesn't change after setup, except that the flow sets ``hook_plan``. It begins as a copy of
    the outer application's config. A part in ``_PARTS`` is created anew if the application sets a
    setting on which the part depends.

    - ``registered``: the application's settings and registrations.
    - ``outer``: the config of the outer application, or None if this application is the outermost.
    - ``prefix``: the application's path in the tree, such as "/blog". For an application with its
      own host, the attribute is the host instead: "//blog.example.com".
    - ``names``: the beginning of the names of the application's routes, such as "blog.".

    Raises ``SetupError`` if the application's settings are invalid.
    """

    app: AppBase
    pool: ProcessPool
    own_types: OwnTypes
    dumps: Callable[[object], bytes]
    """The function that encodes a value as JSON, with the application's own encoders."""
    bodies: dict[type, tuple[Callable[..., bytes], str]]
    """For each of the most frequent types of bodies, the function that encodes the body, and the
    content type. Streams and files are not included.
    """
    ancestors: tuple[AppBase, ...] = ()
    """The applications that contain this one, the outermost first."""
    scopes: Mapping[str, str] = {}
    """For this application and for each one that contains it, its path and the beginning of its
    route names. Example: {"/blog": "blog.", "": ""}.
    """
    sessions: SessionStore
    templates: Templates
    providers: Providers
    channels_of: Registrations
    """The application whose channels are used: this application, or one that contains it."""
    middlewares: Middlewares
    """The middleware of the applications that contain this one, and of this one, beginning with the
    outermost application. This is a live view, so it includes middleware that is appended later.

    For the outermost application, it is a plain list, because every request checks whether there is
    middleware, and this check is faster for a list.
    """
    ws_middlewares: Middlewares
    """The WebSocket middleware of the same applications, also as a live view."""
    error_handlers: Sequence[ErrorHandlers] = ()
    """The error handlers of this application, followed by those of the applications that contain
    it.
    """
    fallback: Any
    """The route to the application mounted at the root of ``app``, or None. It handles requests for
    which ``app`` has no route.
    """
    hook_plan: Any
    """The hooks of ``middlewares`` and ``ws_middlewares``, compiled by ``flow/hooks.py`` when they
    are first needed. None until then.
    """

    overrides: Sequence[tuple[object, AnyFunction]]
    names: RouteNames
    """The routes of the whole tree by name."""
    tree: list[Config]
    """The configs of the whole tree, that of the outermost application first. An application that
    is in the tree twice has two configs.
    """

    def __init__(
        self,
        registered: Registrations,
        outer: Config | None,
        prefix: str,
        names: str,
        shutdown: ShutdownSignal,
        blocking: Kind,
    ) -> None:
        app, own = registered.app, registered.settings
        if registered.hosts:
            prefix = f"//{registered.hosts[0]}"
        if outer is None:
            self.overrides, self.names, self.tree = registered.overrides, RouteNames(), []
            self.enter_in_pool = registered.enter_in_pool
            self.proxy_watch = ProxyWatch() if registered.security is not False else ProxyWatch(0)
            self._take(Settings().overridden(own), None)
        else:
            vars(self).update(vars(outer))
            self.ancestors = *outer.ancestors, outer.app
            self._take(outer.settings.overridden(own), own)
        self.app, self.prefix, self.fallback, self.hook_plan = app, prefix, None, None
        self.advisor = registered.upper.advisor_for(self.settings)
        self.scope = names
        """The beginning of the names of this application's routes, such as "blog."; "" for the
        outermost application.
        """
        self.scopes = {prefix: names, **self.scopes}
        self.shutdown = shutdown
        """The signal that is given when the server begins to shut down. All applications of the
        tree have the same signal.
        """
        self.blocking = blocking
        """The kind of step that calls the tree's ``def`` handlers: HANDLER, or INLINE to call them
        in the server's thread.
        """
        self.sessions = _sessions(registered, self.settings, outer, split_host(prefix)[1])
        if outer is None or registered.stated_channels is not None:
            self.channels_of = registered
        self.templates = _templates(
            registered, self.settings, outer.templates.directories if outer else ()
        )
        functions = {
            **(outer.providers.functions if outer else {}),
            **registered.providers,
            **dict(self.overrides),
        }
        self.providers = Providers(functions, self.own_types)
        self.resource = self.providers.resource
        self.middlewares, self.ws_middlewares = app.middlewares, app.ws_middlewares
        if outer is not None:
            self.middlewares = Chain(outer.middlewares, app.middlewares, self.providers)
            self.ws_middlewares = Chain(outer.ws_middlewares, app.ws_middlewares, self.providers)
        if marks := marks_above(app):
            self.middlewares = self.followed_by(marks)
        # If the application sets its own format for errors, it inherits only the handlers for
        # specific exceptions. The other handlers, for a status, ``HTTPError`` and ``Exception``,
        # would send errors in the outer application's format.
        if "errors" in own:
            catch_all = {*_CATCH_ALL, *range(400, 600)}
            self.error_handlers = [
                ({key: one for key, one in handlers.items() if key not in catch_all}, text_type)
                for handlers, text_type in self.error_handlers
            ]
        otherwise: Kind = INLINE if blocking is INLINE else CALL
        handlers = {
            key: ErrorHandler(one, self.providers, otherwise)
            for key, one in registered.error_handlers.items()
        }
        if handlers:
            self.error_handlers = [(handlers, self.text_type), *self.error_handlers]
        self.changes_errors = bool(
            self.error_handlers or self.advisor or self.settings.translations
        )

    @property
    def channels(self) -> Any:
        """The channels in which the application publishes and to which it subscribes."""
        return self.channels_of.channels

    def _take(self, settings: Settings, stated: Collection[str] | None) -> None:
        """Use ``settings``, and create the parts in ``_PARTS`` that depend on them.

        ``stated``: the names of the settings that have changed. Only the parts that depend on one
        of these are created. If ``stated`` is None, all parts are created.
        """
        self.settings = settings
        for names, make in _PARTS:
            if stated is None or not names.isdisjoint(stated):
                vars(self).update(make(settings))

    def followed_by(self, marks: Sequence[object]) -> Chain:
        """Return this config's middleware, followed by ``marks``: access checks and middleware
        above an application or a handler.
        """
        check_middlewares(self.providers, marks)
        return Chain(self.middlewares, marks, self.providers)

    def is_inside(self, outer: Config) -> bool:
        """Return whether this application is on the same host as the application that ``outer``
        configures, and is either that application or inside it.
        """
        return (
            outer.prefix in self.scopes
            and split_host(self.prefix)[0] == split_host(outer.prefix)[0]
        )

    def changed(self, settings: Mapping[str, object] = _NO_SETTINGS, **parts: object) -> Config:
        """Return a copy of this config with other ``settings`` and ``parts``. Some routes need
        other values than the rest of their application.
        """
        config = copy(self)
        vars(config).update(parts, hook_plan=None)
        config._take(self.settings.overridden(settings), settings)
        return config

    def url_for(
        self,
        request: Request | None,
        name: str,
        segments: Sequence[object],
        values: dict[str, object],
        *,
        is_absolute: bool = False,
    ) -> str:
        """Return the path of a route (see ``RouteNames``), including the prefix of the mount that
        handles ``request``. With ``is_absolute``, return an absolute URL.

        An absolute URL begins with the setting ``base_url``, or else with the scheme and the host
        of the request. The URL of a WebSocket begins with "ws" instead of "http". If the route is
        on another host than the request, the URL is always absolute and has the route's host.
        Raises ``LookupError`` if an absolute URL is needed but its host is not known.
        """
        link, takes_socket = self.names.url_for(name, self.scopes, segments, values)
        there, path = split_host(link)
        here, _ = split_host((self if request is None else config_of(request._exchange)).prefix)
        root = "" if request is None else quoted_address(request.root_path)
        if there == here and not is_absolute:
            return root + path
        # If the application is on a wildcard host, such as "*.example.com", don't use ``base_url``,
        # because it contains only one host.
        base = None if "*" in there else self.settings.base_url
        states_host = there != "" and "*" not in there
        if base is None and request is not None and (states_host or there == here):
            base = f"{request.scheme}://{request.host}{root}"
        if base is None:
            advice = "App(host=...) without *" if "*" in there else "App(base_url=...)"
            raise LookupError(
                f"the URL of {name!r} needs a scheme and host, but they are unknown at this call: "
                f"write {advice}"
            )
        url = (with_host(base, there[2:]) if states_host else base).rstrip("/") + path
        return url.replace("http", "ws", 1) if takes_socket else url

    def static_url(self, request: Request | None, path: str, name: str) -> str:
        """Return the path of a file with its fingerprint; see ``App.static_url``."""
        fingerprint = self.names.fingerprint(name, self.scopes, path)
        return f"{self.url_for(request, name, (), {'path': path})}?v={fingerprint}"

    def error_handler_for(self, error: Exception) -> tuple[ErrorHandler | None, bool, str]:
        """Return three values: the application's handler for an error, or None; whether the error
        is expected; the default content type for text that the handler returns.

        The innermost application that has a handler for the error wins. Its handlers are searched
        in this order: those for the error's class, for its base classes, for its status, and last
        for ``HTTPError`` and ``Exception``. An error is expected if a handler is registered for its
        class, or for a base class other than ``HTTPError`` and ``Exception``.
        """
        kinds = type(error).__mro__
        status = error.status if isinstance(error, HTTPError) else 500
        for handlers, text_type in self.error_handlers:
            for kind in kinds:
                if kind in handlers and kind not in _CATCH_ALL:
                    return handlers[kind], True, text_type
            for key in (status, *_CATCH_ALL):
                if key in handlers and (key is status or key in kinds):
                    return handlers[key], False, text_type
        return None, False, self.text_type


def _encoding(settings: Settings) -> Mapping[str, object]:
    dumps, text_type = dumps_with(settings.encoders), HTML if settings.text == "html" else TEXT
    as_text: Sequence[tuple[type, Callable[[Any], bytes]]] = ((str, str.encode), (bytes, bytes))
    bodies = {kind: (encode, text_type) for kind, encode in as_text}
    return {
        "dumps": dumps,
        "text_type": text_type,
        "bodies": {**bodies, dict: (dumps, JSON), list: (dumps, JSON)},
    }


# The parts of a config that are created from settings. Each item contains the names of some
# settings, and a function that creates parts from them and returns the parts by name.
_PARTS: Sequence[tuple[Set[str], Callable[[Settings], Mapping[str, object]]]] = (
    (
        {"threads", "thread_queue", "thread_wait"},
        lambda one: {
            "threads": Threads(one.threads, one.thread_queue, one.threads, one.thread_wait)
        },
    ),
    ({*ProcessPool.settings}, lambda one: {"pool": ProcessPool(one)}),
    (
        {"secret_key"},
        lambda one: {
            # Without a key, don't import itsdangerous.
            "signer": None
            if one.secret_key is None
            else import_module("micropie._core.http.headers.signing").AppSigner(one.secret_key)
        },
    ),
    ({"encoders", "text"}, _encoding),
    ({"encoders", "decoders"}, lambda one: {"own_types": OwnTypes(one.encoders, one.decoders)}),
    (
        {
            "max_body_size",
            "max_data_size",
            "max_json_values",
            "max_form_field_size",
            "max_form_fields",
            "max_form_files",
        },
        lambda one: {
            "limits": Limits(
                max_form_field_size=one.max_form_field_size,
                max_fields=one.max_form_fields,
                max_files=one.max_form_files,
                max_data_size=min(one.max_data_size, one.max_body_size),
                max_json_values=one.max_json_values,
            )
        },
    ),
)


def _sessions(
    registered: Registrations, settings: Settings, outer: Config | None, prefix: str
) -> SessionStore:
    backend = registered.session_backend() if outer is None else registered.app.session_backend
    if outer is not None and backend is None:
        if not any("session_" in name for name in registered.settings):
            return outer.sessions
        backend, prefix = outer.sessions.backend, outer.sessions.prefix
    elif (
        outer is not None
        and not registered.hosts
        and settings.session_cookie == outer.settings.session_cookie
        and (settings.session_cookie or "").startswith("__Host-")
    ):
        raise SetupError(
            f"{type(registered.app).__name__} has its own session backend, but its cookie has "
            "the same name as the outer application's: give this cookie another name, such as "
            'session_cookie="__Host-inner"'
        )
    assert backend is not None  # noqa: S101
    return SessionStore(backend, settings, prefix)


def _templates(
    registered: Registrations, settings: Settings, outer: Sequence[Directory]
) -> Templates:
    names = {**registered.template_names, **settings.template_globals}
    own, stated = settings.template_directories, registered.settings.get("templates")
    directories = [*own, *(directory for directory in outer if directory not in own)]
    if isinstance(stated, str | PathLike) and not any(
        str(one).startswith("package:") or Path(one).is_dir() for one in directories
    ):
        raise SetupError(
            f"there is no directory {str(stated)!r} for templates; the working directory is "
            f"{Path.cwd()}. If startup creates it, write templates=[{str(stated)!r}]"
        )
    translations = settings.translations
    return Templates(
        directories,
        settings.template_filters,
        names,
        reload=bool(settings.debug),
        setup=settings.template_setup,
        catalog=None if translations is None else lambda: translations(current_request()),
    )


def with_marks(config: Config, marks: Sequence[object]) -> Config:
    """Return a copy of ``config`` whose last hooks are ``marks`` (access checks and middleware). If
    there are no marks, return ``config`` itself.
    """
    return config.changed(middlewares=config.followed_by(marks)) if marks else config


def config_of(exchange: Exchange) -> Config:
    """Return the config of the application that handles a request, with its full type.

    The type declared in ``http/exchange.py`` has only the attributes that lower packages use.
    """
    return exchange.config  # type: ignore[return-value]


_CATCH_ALL: tuple[type[Exception], ...] = (HTTPError, Exception)


class Chain:
    """Two lists of middleware, seen as one. It is a live view, so it includes middleware that is
    appended to the lists later.

    ``providers``: the providers of the application to which the list ``inner`` belongs.
    """

    def __init__(self, outer: Middlewares, inner: Sequence[object], providers: Providers) -> None:
        self.parts = (outer, inner)
        self.providers = providers

    def __iter__(self) -> Iterator[object]:
        return chain(*self.parts)

    def __bool__(self) -> bool:
        return any(self.parts)


def with_providers(
    middlewares: Middlewares, outermost: Providers
) -> list[tuple[object, Providers]]:
    """Return each middleware together with the providers of its application. ``outermost``: the
    providers of the outermost application.
    """
    if isinstance(middlewares, Chain):
        outer, inner = middlewares.parts
        return [*with_providers(outer, outermost), *((one, middlewares.providers) for one in inner)]
    return [(one, outermost) for one in middlewares]
