"""``Tree``, the internal part of an ``App``: its registrations, the applications that contain it,
and its compiled sites.

``app._micropie`` is the tree of ``app`` and everything inside it. Drivers call it to compile the
site, and to start and stop these applications. ``app.py`` has the public methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import isroutine
from itertools import pairwise
from threading import RLock
from types import MethodType
from typing import Any, Protocol
from weakref import WeakSet

from micropie._core import execution, mounts
from micropie._core.errors import SetupError, logger
from micropie._core.execution import Action, current, notify_after_fork
from micropie._core.execution.steps import HANDLER, Kind
from micropie._core.flow import Lifecycle, Lifespan, lifespan_opener
from micropie._core.http import State
from micropie._core.mounts import APP, ASGI, Mount
from micropie._core.routing import (
    AppBase,
    Config,
    Registrations,
    Site,
    UpperLayers,
    build_site,
    config_of,
)
from micropie._core.routing.discovery import (
    Function,
    RouteMark,
    is_provider,
    provider_of,
    public_name,
    type_name,
)
from micropie._core.spellings import attribute_of
from micropie._core.streams import ShutdownSignal
from micropie._core.templates import names_of


class _Compiling:
    """The lock that a thread holds while it compiles a tree or drops the tree's compiled sites.
    There is one lock for all trees, because trees may contain each other.

    The lock is reentrant, because the thread that holds it may call code of the application, and
    this code may register something.
    """

    def __init__(self) -> None:
        self.after_fork()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Make a new lock, because a thread of the parent process may have held the old one."""
        self.lock = RLock()


_compiling = _Compiling()


_trees: WeakSet[Tree] = WeakSet()


class DriverState(Protocol):
    """What the core requires of the object in which a driver (``WSGIState``, ``ASGIState``) stores
    an application's state.
    """

    site: Site | None
    """The compiled site, which handles requests. It is None before the application has started.
    After a change of the routes or settings, it is None until the application is compiled again.
    """


class Tree(Registrations):
    """An application with everything inside it."""

    startup_handlers: list[Action] = attribute_of("app.startup_handlers")
    shutdown_handlers: list[Action] = attribute_of("app.shutdown_handlers")
    state: State = attribute_of("app.state")

    def __init__(
        self,
        app: AppBase,
        links: Mapping[str, Callable[..., str]],
        upper: UpperLayers,
        asgi: Any,
        wsgi: Any,
    ) -> None:
        super().__init__(app, names_of(links), upper)
        self.asgi, self.wsgi = asgi, wsgi
        """The state that each driver stores for this application; see ``DriverState``."""
        self.lifespan: Callable[[], Lifespan] | None = None
        self.once: dict[object, execution.Once] = {}
        """The resources that are opened when this application starts."""
        self.docs: object = None
        self.sites: dict[Kind, Site] = {}
        self.shutdowns: dict[Kind, ShutdownSignal] = {}
        # The applications that were inside this one when it was last compiled as the outermost
        # application.
        self._inside: list[AppBase] = []
        # The outermost applications whose trees contained this application when they were compiled.
        self._roots: dict[int, AppBase] = {}
        # The applications that have contained this one directly.
        self._parents = WeakSet[Tree]()
        _trees.add(self)

    # -- the site, for drivers ---------------------------------------------------------------------

    def compiled(self, blocking: Kind = HANDLER) -> Site:
        """Return the site, which is compiled when it is first needed. Raises ``SetupError`` if the
        application can't be built.

        ``blocking``: the kind of step that calls ``def`` handlers; see ``build_site``.
        """
        with _compiling.lock:
            site = self.sites.get(blocking)
            if site is None:
                # Use the same signal when the site is compiled again, so that it also ends streams
                # that were opened before.
                shutdown = self.shutdowns.setdefault(blocking, ShutdownSignal())
                site = self.sites[blocking] = self.around(build_site(self, shutdown, blocking))
                for app in self._inside:
                    app._micropie._roots.pop(id(self.app), None)
                self._inside = [app for app in self.walk() if app is not self.app]
                for app in self._inside:
                    app._micropie._roots[id(self.app)] = self.app
            return site

    def around(self, site: Site) -> Site:
        """Return the site that handles requests. Usually this is ``site``. If the application has
        handlers of another framework, return a site that contains ``site``.
        """
        return site

    def publish(self, site: Site, state: DriverState) -> None:
        """Store ``site`` in ``state`` for the next requests, unless a startup handler or another
        thread has changed the application since the site was compiled.
        """
        with _compiling.lock:
            if site in self.sites.values():
                state.site = site

    @property
    def site(self) -> Site:
        """A site that has been compiled already, or else a new one. Under WSGI, ``compiled()``
        without an argument would compile a second site.
        """
        return next(iter([*self.sites.values()]), None) or self.compiled()

    def inside(self, ancestors: tuple[AppBase, ...]) -> Mapping[str, Tree]:
        """Return the applications inside this one; see ``Registrations``.

        Raises ``SetupError`` for an application that is mounted inside itself.
        """
        path = (*ancestors, self.app)
        for mount in self.mounts:
            if any(mount.target is around for around in path):
                raise SetupError(
                    f"{type(mount.target).__name__} is mounted at {mount} inside of itself"
                )
        for parent in ancestors[-1:]:
            self._parents.add(parent._micropie)
            self.app.state._find = partial(self._outer_state, parent)
        return {
            public_name(name): child._micropie for name, child in self._children(ancestors).items()
        }

    def _outer_state(self, last: AppBase) -> State:
        """Return the state of the application that contains this one in the current request.

        ``last``: the application whose state to return outside of requests.
        """
        request = current.get(None)
        if request is not None and len(self._parents) > 1:
            config = config_of(request._exchange)
            for outer, inner in pairwise((*config.ancestors, config.app)):
                if inner is self.app:
                    return outer.state
        return last.state

    def changed(self) -> None:
        """Drop the compiled sites of this application and of the applications that contain it."""
        with _compiling.lock:
            for app in (self.app, *self._roots.values()):
                tree = app._micropie
                tree.sites.clear()
                tree.asgi.site = tree.wsgi.site = None

    def config(self) -> Config:
        """Return this application's configuration in the tree that contains it.

        If this application is mounted in several places, it has a configuration for each. During a
        request, return the one for the place that is nearest to the request's handler. Raises
        ``LookupError`` if several places are equally near.
        """
        places = self._places()
        if len(places) > 1:
            known = [f"{one.prefix} of {type(one.tree[0].app).__name__}" for one in places]
            raise LookupError(
                f"{type(self.app).__name__} is mounted in several places: {' and '.join(known)}. "
                "Outside a request, url_for can't know which one you mean. Call url_for of the "
                f'outermost application: url_for("{places[0].scope}NAME") is in {known[0]}'
            )
        return places[0]

    def configs(self) -> Sequence[Config]:
        """Return the configurations of the whole tree that contains this application, the outermost
        first. If several trees contain it, return those of only one tree.
        """
        return self._places()[0].tree

    def _places(self) -> list[Config]:
        request = current.get(None)
        if request is not None:
            config = config_of(request._exchange)
            if config.app is self.app:
                return [config]
            for prefix in config.scopes:
                near = [one for one in config.tree if one.app is self.app and prefix in one.scopes]
                if near:
                    return near
        trees = [root._micropie for root in [*self._roots.values()] if not root._micropie._roots]
        if not trees:
            return [self.site.config]
        places = [one for tree in trees for one in tree.site.config.tree if one.app is self.app]
        # The list is empty if this application was removed from the tree. By now the tree is no
        # longer in ``_roots``, so look again.
        return places or self._places()

    def root(self) -> AppBase:
        """Return the outermost application of the tree that this application is in."""
        return self.config().tree[0].app if self._roots else self.app

    def find_roots(self) -> None:
        """Compile the applications that contain this one, so that this one can use their resources
        and settings even before the first request. Raises ``SetupError`` if one of them can't be
        built.
        """
        if not self._roots:
            for tree in [*_trees]:
                if tree is not self and any(app is self.app for app in tree.walk()):
                    tree.compiled()

    def current_channels(self) -> object:
        """Return the channels of the current request or, outside of requests, those of this
        application or of one that contains it.
        """
        if self.stated_channels is None and (self._roots or current.get(None) is not None):
            return self.config().channels
        return self.channels

    # -- the applications inside it ----------------------------------------------------------------

    def walk(self, ancestors: tuple[AppBase, ...] = ()) -> Iterator[AppBase]:
        """Yield this application, then the applications inside it, except isolated mounts."""
        yield self.app
        path = (*ancestors, self.app)
        inner = [mount.target for mount in self.mounts if mount.kind == APP and not mount.isolated]
        for child in (*self._children(ancestors).values(), *inner):
            # ``inside`` refuses an application that contains itself.
            if all(child is not one for one in path):
                yield from child._micropie.walk(path)

    def _children(self, ancestors: tuple[AppBase, ...]) -> dict[str, AppBase]:
        """Return the applications in this one's public attributes: name -> application. If several
        attributes refer to an application, use the first name.

        Leave out the applications that contain this one, as in ``self.parent = root``. Also leave
        out applications that are attributes of such an application, because they belong to it.
        """
        known = {id(app) for app in (self.app, *ancestors)}
        known |= {id(value) for ancestor in ancestors for value in _attributes(ancestor).values()}
        children = {}
        for name, value in _attributes(self.app).items():
            if isinstance(value, AppBase) and not name.startswith("_") and id(value) not in known:
                known.add(id(value))
                children[name] = value
        return children

    # -- startup and shutdown ----------------------------------------------------------------------

    def lifecycle(self, protocol: str | None = None) -> Lifecycle:
        """Return the life cycle of this application, of the applications inside it, and of the
        mounts that start together with it under a server of ``protocol``. Such mounts are ASGI
        applications and, under ASGI, isolated ``App`` objects.

        Under WSGI, an isolated ``App`` starts itself. If ``protocol`` is None, no mounts are
        started. This is called once at each startup, so it also logs which security middleware is
        missing.
        """
        apps = list({id(app): app for app in self.walk()}.values())
        config = self.site.config
        keeps_sessions = any(app.session_backend is not None for app in apps)
        if keeps_sessions and self.security is not False and not config.settings.debug:
            self.upper.warn_of_missing_security(config)
        mounted = [one.under(protocol) for app in apps for one in app._micropie.mounts if protocol]
        # A target in several places is started once. A method is another object at each access.
        started: dict[object, list[Mount]] = {}
        for mount in mounted:
            if mount.kind == ASGI or (mount.isolated and protocol == ASGI):
                target = mount.target
                key = target if isinstance(target, MethodType) else id(target)
                started.setdefault(key, []).append(mount)
        lives = [
            mounts.MountedLife(places, config.settings.mount_timeout) for places in started.values()
        ]
        pools = {one.pool: None for one in config.tree if one.pool.is_eager}
        return Lifecycle(
            [*(app._micropie for app in apps), *lives], [pool.start_all for pool in pools]
        )

    @property
    def waits_at_start(self) -> bool:
        """Whether startup may have to wait, because this application, or an application inside it,
        has a lifespan, startup handlers, or resources or processes that are started then.
        """
        return any(
            app._micropie.once
            or app._micropie.lifespan
            or app.lifespan
            or app.startup_handlers
            or app._micropie.settings.get("pool_start") == "eager"
            for app in self.walk()
        )

    def open_lifespan(self) -> Lifespan | None:
        """Return a new context manager for this application's lifespan, or None."""
        of_class = self.app.lifespan
        own = self.lifespan or (of_class and lifespan_opener(of_class))
        manager = own() if own else None
        if not self.once:
            return manager
        overridden = dict(self.root()._micropie.overrides)
        return execution.Once.all_open(self.once, overridden, manager)

    def shut_down_wsgi(self) -> None:
        """Run the shutdown under WSGI now, first for isolated mounts."""
        for app in self.walk():
            for mount in app._micropie.mounts:
                if mount.isolated:
                    mount.target.wsgi_shutdown()
        self.wsgi.stop()

    # -- registrations -----------------------------------------------------------------------------

    def registering(self, mark: RouteMark) -> Callable[[Function], Function]:
        """Return a decorator that registers a function as the route that ``mark`` describes."""

        def register(function: Function) -> Function:
            # Middleware is refused, too. It can be recognised by its attribute ``guards``.
            is_other = isinstance(function, type | AppBase) or hasattr(function, "guards")
            if not callable(function) or is_other:
                raise SetupError(f"a route decorator must be above a function, not {function!r}")
            self.functions.append((function, mark))
            self.changed()
            return function

        return register

    def override(self, key: object, fake: object) -> Callable[[], None]:
        """Use ``fake`` in place of the provider of ``key``, in the whole tree.

        Return a function that ends this override. Overrides may end in any order.
        """
        is_function = isroutine(key) or is_provider(key)
        if not is_function and not any(key in app._micropie.providers for app in self.walk()):
            raise SetupError(f"nothing provides {type_name(key)}: there is nothing to override")
        for kind, function in (
            one for app in self.walk() for one in app._micropie.providers.items()
        ):
            if function is key:
                raise SetupError(
                    "override takes the type that is provided, not its provider: write "
                    f"override({type_name(kind)}, ...) instead of override({type_name(key)}, ...)"
                )
        if is_function and not self._is_dependency(key):
            name = type_name(key)
            logger.warning(
                "override(%s, ...) may do nothing: no handler or access check depends on %s",
                name,
                name,
            )
        override = key, provider_of(fake)
        self.overrides.append(override)
        self.changed()

        def end() -> None:
            self.overrides[:] = [one for one in self.overrides if one is not override]
            self.changed()

        return end

    def _is_dependency(self, provider: object) -> bool:
        """Return whether a parameter of a handler, an access check or a provider is annotated with
        the function ``provider``.
        """
        site: Site = self.root()._micropie.site
        return any(
            one.function is provider
            for entry in (*site.entries(), *site.entries(takes_socket=True))
            for one in (*entry.signature.needed(), *entry.asked_by_checks)
        )


def _attributes(app: AppBase) -> dict[str, object]:
    """Return the attributes of an object and of its classes: name -> value. As usual, an attribute
    of the object or of a subclass hides others of the same name.
    """
    owners = (*reversed(type(app).__mro__), app)
    return {name: value for owner in owners for name, value in vars(owner).items()}
