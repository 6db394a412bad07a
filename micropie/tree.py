"""``Tree``: the part of an ``App`` that is not for authors: its registrations, the applications around it, its sites.

``app._micropie`` is the tree below ``app``. Drivers take it for the application: it compiles the site, and starts and
stops what is in it. ``app.py`` has the methods that authors call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from micropie import mounts
from micropie.asgi import ASGIState
from micropie.channels import Channels
from micropie.errors import SetupError
from micropie.execution import HANDLER, RouteKind, ShutdownSignal, current
from micropie.flow import Lifecycle, Lifespan, lifespan_opener
from micropie.habits import AppHabits
from micropie.http import State
from micropie.middleware.security_defaults import warn_of_missing_security
from micropie.mounts import APP, ASGI
from micropie.routing import (
    AppDefinition,
    Config,
    Function,
    Registrations,
    RouteMark,
    Settings,
    Site,
    build_site,
    config_of,
    in_place_of,
    name_of,
    public_name,
)
from micropie.sessions import InMemorySessionBackend, SessionBackend
from micropie.templates import names_of
from micropie.wsgi import WSGIState


class Node(AppHabits):
    """The part of an ``App`` that its tree reads."""

    _micropie_is_framework = True  # looked up in each class by itself: methods of such a class are no handlers
    _micropie: Tree

    middlewares: list[Any]
    ws_middlewares: list[Any]
    state: State
    session_backend: SessionBackend | None
    lifespan: Any


class Tree(Registrations):
    """One application with all that is inside it."""

    def __init__(self, app: Node, url_for: Callable[..., str], channels: Channels | None) -> None:
        super().__init__()
        self._app = app
        self._url_for = url_for
        self.asgi, self.wsgi = ASGIState(), WSGIState()
        self.channels = channels
        self.own_channels = Channels()
        self._own_sessions = InMemorySessionBackend()
        self.lifespan: Callable[[], Lifespan] | None = None
        self.security: object = None
        self.sites: dict[str, Site] = {}
        self.shutdowns: dict[str, ShutdownSignal] = {}
        self._overrides: dict[object, Callable[..., object]] = {}
        self._parents: dict[int, Node] = {}

    # -- the site, for drivers -----------------------------------------------------------------------------------------

    def compiled(self, blocking: RouteKind = HANDLER) -> Site:
        """Return the compiled site, built when it is first needed. Raises ``SetupError``.

        ``blocking`` is how it runs ``def`` handlers, see ``build_site``.
        """
        if blocking not in self.sites:
            # Not made anew with the site: streams that were opened before a change end with the others.
            shutdown = self.shutdowns.setdefault(blocking, ShutdownSignal())
            self.sites[blocking] = build_site(self.definition(()), shutdown, blocking)
        return self.sites[blocking]

    def definition(self, ancestors: tuple[Node, ...]) -> AppDefinition:
        """Return the definition of this application and of those inside it, which ``build_site`` compiles.

        ``ancestors`` are the applications around it, the outermost first. Raises ``SetupError`` for an application that
        is mounted inside itself.
        """
        app = self._app
        path = (*ancestors, app)
        for mount in self.mounts:
            if any(mount.target is around for around in path):
                raise SetupError(f"{type(mount.target).__name__} is mounted at {mount.prefix} inside of itself")
        for parent in ancestors[-1:]:
            self._parents[id(parent)] = parent
            app.state._outer = parent.state
        return AppDefinition(
            app=app,
            framework=tuple(base for base in type(app).__mro__ if "_micropie_is_framework" in vars(base)),
            registered=self,
            session_backend=app.session_backend if ancestors else self.session_backend(),
            channels=self.own_channels if self.channels is None and not ancestors else self.channels,
            middlewares=app.middlewares,
            ws_middlewares=app.ws_middlewares,
            providers=self.providers | path[0]._micropie._overrides,
            template_names=names_of(self._url_for),
            children={
                public_name(name): child._micropie.definition(path) for name, child in self._children(ancestors).items()
            },
            mounts=[
                (mount, mount.target._micropie.definition(path) if mount.kind == APP and not mount.isolated else None)
                for mount in self.mounts
            ],
        )

    def session_backend(self) -> SessionBackend:
        """Return the backend of this application's sessions where no other application is around it."""
        backend = self._app.session_backend
        return self._own_sessions if backend is None else backend  # "is None": one with a length may be empty

    def changed(self) -> None:
        """Drop the compiled sites of this application and of those around it."""
        self.sites.clear()
        self.asgi.site = self.wsgi.site = None
        parents = list(self._parents.values())
        self._parents.clear()
        for parent in parents:
            parent._micropie.changed()

    def config(self) -> Config:
        """Return this application's configuration in the tree that answers the current request, or else alone."""
        request = current.get(None)
        if request is not None:
            config = config_of(request._exchange)
            found = config if config.app is self._app else config.tree.get(id(self._app))
            if found is not None:
                return found
        return self.compiled().config

    # -- the applications around it, and those inside it ---------------------------------------------------------------

    def outwards(self) -> list[Node]:
        """Return this application and those around it, the outermost last."""
        apps = [self._app]
        while outer := apps[-1]._micropie._parents:
            apps.append(next(iter(outer.values())))
        return apps

    def walk(self, ancestors: tuple[Node, ...] = ()) -> Iterator[Node]:
        """Yield this application, then those inside it, without isolated mounts."""
        yield self._app
        inner = [mount.target for mount in self.mounts if mount.kind == APP and not mount.isolated]
        for child in (*self._children(ancestors).values(), *inner):
            yield from child._micropie.walk((*ancestors, self._app))

    def _children(self, ancestors: tuple[Node, ...]) -> dict[str, Node]:
        """Return the applications that are public attributes, each by the first name that refers to it.

        Those around this one (``self.parent = root``) and their attributes are left out: an application has one place.
        """
        known = {id(app) for app in (self._app, *ancestors)}
        known |= {id(value) for ancestor in ancestors for value in _attributes(ancestor).values()}
        children = {}
        for name, value in _attributes(self._app).items():
            if isinstance(value, Node) and not name.startswith("_") and id(value) not in known:
                known.add(id(value))
                children[name] = value
        return children

    # -- start and stop ------------------------------------------------------------------------------------------------

    def lifecycle(self, kinds: Sequence[str] = ()) -> Lifecycle:
        """Return the life cycle of this application, of those inside it and of mounts of these ``kinds``.

        ``"app"`` means isolated mounts. Called once at each start: logs what is missing for the security of a site.
        """
        apps = list({id(app): app for app in self.walk()}.values())
        compiled = next(iter(self.sites.values()), None)  # under WSGI it is the only one
        config = (compiled or self.compiled()).config
        keeps_sessions = any(app.session_backend is not None for app in apps)
        if keeps_sessions and self.security is not False and not config.settings.debug:
            warn_of_missing_security(config)
        mounted = [mount for app in apps for mount in app._micropie.mounts if mount.kind in kinds]
        seconds = Settings().overridden(self.settings).mount_timeout
        lives = [mounts.MountedLife(mount, seconds) for mount in mounted if mount.kind == ASGI or mount.isolated]
        return Lifecycle([*(app._micropie for app in apps), *lives])

    def open_lifespan(self) -> Lifespan | None:
        """Return a new context manager of this application's lifespan, or None."""
        if self.lifespan is not None:
            return self.lifespan()
        return lifespan_opener(self._app.lifespan)() if self._app.lifespan is not None else None

    @property
    def startup_handlers(self) -> list[Callable[[], object]]:
        """The functions that are called before the first request."""
        return self._app.startup_handlers

    @property
    def shutdown_handlers(self) -> list[Callable[[], object]]:
        """The functions that are called after the last request."""
        return self._app.shutdown_handlers

    @property
    def state(self) -> State:
        """The application's state."""
        return self._app.state

    def shut_down_wsgi(self) -> None:
        """Shut down now under WSGI, isolated mounts first."""
        for app in self.walk():
            for mount in app._micropie.mounts:
                if mount.isolated:
                    mount.target.wsgi_shutdown()
        self.wsgi.stop()

    # -- registrations -------------------------------------------------------------------------------------------------

    def registering(
        self, functions: list[tuple[Callable[..., object], RouteMark]], mark: RouteMark
    ) -> Callable[[Function], Function]:
        """Return a decorator that adds a function to ``functions`` with ``mark``."""

        def register(function: Function) -> Function:
            if not callable(function):
                raise SetupError(f"a route stands above a function, not {function!r}")
            functions.append((function, mark))
            self.changed()
            return function

        return register

    def override(self, key: object, fake: object) -> Callable[[], None]:
        """Put ``fake`` in the place of what provides ``key``, in the whole tree. Return the function that undoes it."""
        if not any(key in app._micropie.providers for app in self.walk()):
            raise SetupError(f"nothing provides {name_of(key)}: there is nothing to override")
        before = self._overrides.get(key)
        self._overrides[key] = in_place_of(key, fake)
        self.changed()
        return partial(self._undo_override, key, before)

    def _undo_override(self, key: object, before: Callable[..., object] | None) -> None:
        if before is None:
            del self._overrides[key]
        else:
            self._overrides[key] = before
        self.changed()


def _attributes(app: Node) -> dict[str, object]:
    """Return the attributes of an object and of its classes; those that come later hide names of those before."""
    owners = (*reversed(type(app).__mro__), app)
    return {name: value for owner in owners for name, value in vars(owner).items()}
