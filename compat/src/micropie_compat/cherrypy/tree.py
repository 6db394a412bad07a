"""``Application``, a tree of handlers, and ``Tree``, on which applications are mounted.

Both can be called as WSGI and as ASGI applications.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NoReturn

from micropie import SetupError
from micropie.sessions import SessionBackend
from micropie_compat.carrier import Handler
from micropie_compat.cherrypy.config import NamespaceSet, Source, merge
from micropie_compat.cherrypy.config import config as global_config
from micropie_compat.cherrypy.exposing import exposed_below
from micropie_compat.cherrypy.lib import sessions
from micropie_compat.cherrypy.lib.httputil import urljoin
from micropie_compat.cherrypy.log import LogManager
from micropie_compat.cherrypy.messages import Response, ServedRequest
from micropie_compat.cherrypy.native import CherryPySite, Servable
from micropie_compat.cherrypy.plans import Plans
from micropie_compat.cherrypy.process.wspbus import bus
from micropie_compat.cherrypy.serving import current_exchange
from micropie_compat.cherrypy.toolbox import Toolbox
from micropie_compat.cherrypy.tools import default_toolbox
from micropie_compat.cherrypy.types import Options, Sections
from micropie_compat.core import Config, current
from micropie_compat.missing import ADVICE
from micropie_compat.overrides import refuse
from micropie_compat.results import merged
from micropie_compat.stand_in import refuse_original

tools = default_toolbox()


class _Servable(Servable):
    """The base class of ``Application`` and ``Tree``. When a server starts or stops such an object,
    the bus is started or stopped too.
    """

    def __init__(self) -> None:
        super().__init__("cherrypy", partial(CherryPySite, self))
        self.native._micropie.unshared = self._unshared_sessions
        self.native._micropie.in_memory = self._in_memory
        self.native._micropie.migrated_routes = self.handlers
        self.native.startup_handlers.append(partial(bus.follow_start, self))
        self.native.shutdown_handlers.append(partial(bus.follow_stop, self))

    def handlers(self) -> Iterator[Handler]:
        """Yield the exposed handlers."""
        raise NotImplementedError

    def session_options(self) -> Iterator[Options]:
        """Yield the options of ``tools.sessions`` from each section that switches the tool on."""
        raise NotImplementedError

    def _in_memory(self) -> Iterator[tuple[str, str]]:
        if any(map(sessions.is_in_memory, self.session_options())):
            yield "sessions", 'write tools.sessions.backend = SQLiteSessionBackend("sessions.db")'

    def _unshared_sessions(self) -> SessionBackend | None:
        if all(map(sessions.has_own_cookie, self.session_options())):
            return None
        return sessions.UnsharedSessions(self.native)


def _lacking(name: str) -> Any:
    """Return an attribute of CherryPy's applications that this package lacks. Reading it raises
    ``AttributeError`` with advice on what to use instead.
    """

    def read(app: object) -> NoReturn:
        advice = ADVICE[f"cherrypy.Application.{name}"]
        raise AttributeError(f"the compatibility module has no Application.{name}: {advice}")

    return property(read)


class Application(_Servable):
    """An object whose attributes are handlers, mounted at ``script_name``, together with its
    configuration.

    If ``script_name`` is None, SCRIPT_NAME in the environ is used, which the server or a mount
    sets.
    """

    relative_urls = False
    request_class: Any = ServedRequest
    response_class: Any = Response
    namespaces = NamespaceSet()
    uncalled = ("get_serving", "release_serving", "wsgiapp")
    get_serving, release_serving, wsgiapp = map(_lacking, uncalled)
    toolboxes: ClassVar[dict[str, Toolbox]] = {"tools": tools}

    def __init__(
        self, root: object, script_name: str | None = "", config: Source | None = None
    ) -> None:
        super().__init__()
        refuse_original("cherrypy", root)
        self.root = root
        self.script_name = script_name
        self.log = LogManager(id(self))
        self.config: Sections = {}
        self.is_asked = type(self).find_config is not Application.find_config
        self.toolboxes: dict[str, Toolbox] = dict(type(self).toolboxes)  # type: ignore[misc]
        self.namespaces = self.namespaces.copy()
        self.namespaces["log"] = lambda name, value: setattr(self.log, name, value)
        self.namespaces["wsgi"] = _refuse_pipeline
        self.plans = Plans(self.toolboxes, self)
        self._directories: dict[str, dict[str, str]] = {}
        self._spelt: tuple[Sequence[str], Mapping[int, str], dict[str, list[str]]] = (), {}, {}
        if config:
            self.merge(config)

    def __repr__(self) -> str:
        return f"Application({self.root!r}, {self._script_name!r})"

    def __call__(self, scope: Any, receive: Any, send: object = None) -> Any:
        """Handle a request, see ``Carried``, or let the tree handle it that has called this."""
        return scope.pop(_OF_TREE, super().__call__)(scope, receive, send)

    @property
    def script_name(self) -> str:
        """The path at which the application is mounted, without a slash at its end."""
        if self._script_name is not None:
            return self._script_name
        native = current.get(None)
        return "" if native is None else native.root_path

    @script_name.setter
    def script_name(self, value: str | None) -> None:
        if value is not None:
            value = value.rstrip("/")
            value = value if value.startswith("/") or not value else f"/{value}"
        self._script_name = value

    def handlers(self) -> Iterator[Handler]:
        """See ``_Servable.handlers``."""
        return exposed_below(self.root, self._script_name or "")

    def merge(self, config: Source) -> None:
        """Add a configuration with a section for each path.

        ``config``: a dict, a file's path or an open file.
        """
        merge(self.config, config)
        self.namespaces(self.config.get("/", {}))

    def find_config(self, path: str, key: str, default: object = None) -> Any:
        """Return the value of ``key`` in the section for ``path`` or for the nearest parent path
        that has the key. Return ``default`` if none has it.
        """
        above = [
            name
            for name, section in self.config.items()
            if key in section and (name == "/" or _is_at(path, name))
        ]
        return self.config[max(above, key=len)][key] if above else default

    def find(self, path: str) -> Application:
        """Return this application, whatever the path."""
        return self

    def check(self, config: Config) -> None:
        """Check the application's own configuration, see ``_Servable.check``. The configuration of
        handlers and classes is checked when a request reaches them.

        Also raise ``SetupError`` if only this application of ``cherrypy.tree`` is served, without
        what is set on the tree.
        """
        is_alone = config.app is self.native and self in tree.apps.values()
        if is_alone and not tree.native._micropie.is_blank:
            raise SetupError(
                "what you have set on cherrypy.tree.native has no effect, because only one "
                "application of the tree is served. Serve cherrypy.tree, or set it on .native of "
                "this application"
            )
        for options in self.session_options():
            sessions.check_options(options, config)

    def session_options(self) -> Iterator[Options]:
        """See ``_Servable.session_options``."""
        own = getattr(self.root, "_cp_config", {})
        above = merged(global_config, own, self.config.get("/", {}))
        for section in ({}, *self.config.values()):
            options = {**above, **section}
            if options.get("tools.sessions.on"):
                start = "tools.sessions."
                yield {
                    key.removeprefix(start): value
                    for key, value in options.items()
                    if key.startswith(start)
                }

    def _directory_section(self, path: str) -> dict[str, str]:
        """Return ``{"tools.staticdir.section": path}``. Equal paths get the same dict object,
        because ``Plans`` caches plans by the identity of configurations.
        """
        section = self._directories.get(path)
        if section is None:
            if len(self._directories) > 256:
                self._directories.clear()
            self._directories[path] = section = {"tools.staticdir.section": path}
        return section

    def _spellings(self, translate: Mapping[int, str]) -> Mapping[str, Sequence[str]]:
        """Return the paths that have a section in the configuration, grouped by the string that
        ``translate`` turns them into.

        ``/my-page``, ``/my.page`` and ``/my_page`` have the same handler, so a section for one of
        them must apply to all. Otherwise a log-in required for ``/my-page`` could be bypassed with
        ``/my.page``.
        """
        paths = tuple(self.config)
        *made_of, spellings = self._spelt
        if made_of != [paths, translate]:
            spellings = {}
            for path in paths:
                names = [
                    name if name.isidentifier() else name.translate(translate)
                    for name in path.split("/")
                ]
                spellings.setdefault("/".join(names), []).append(path)
            self._spelt = paths, translate, spellings
        return spellings


_CALL = Application.__call__
_OF_TREE = "micropie.cherrypy.tree"
"""A key of the environ whose value handles the request for the tree that has called an
application.
"""


def _refuse_own_call(app: object) -> None:
    """Raise ``SetupError`` for an application of CherryPy whose class has its own ``__call__``."""
    if isinstance(app, Application) and type(app).__call__ is not Application.__call__:
        refuse(type(app), "__call__")


def _is_at(path: str, prefix: str) -> bool:
    return not prefix or path == prefix or path.startswith(f"{prefix}/")


def _refuse_pipeline(name: str, value: object) -> None:
    raise NotImplementedError(
        f"the compatibility module has no wsgi.{name}: {ADVICE['cherrypy.Application.wsgiapp']}"
    )


class Tree(_Servable):
    """A tree of applications, each mounted at a path. A request goes to the application with the
    longest matching path.
    """

    def __init__(self) -> None:
        super().__init__()
        self.apps: dict[str, Any] = {}

    def __call__(self, scope: Any, receive: Any, send: object = None) -> Any:
        """Handle a request, see ``Carried``. If a monitor has replaced ``Application.__call__``,
        call it around the request, under WSGI.
        """
        handle = super().__call__
        if send is None and Application.__call__ is not _CALL:
            app = self.find(scope.get("SCRIPT_NAME", "") + scope.get("PATH_INFO", ""))
            if isinstance(app, Application):
                scope[_OF_TREE] = handle
                return app(scope, receive)
        return handle(scope, receive, send)

    def mount(
        self, root: object, script_name: str | None = "", config: Source | None = None
    ) -> Application:
        """Mount an object with handlers, or an ``Application``, at a path.

        Return the ``Application``.
        """
        if script_name is None:
            raise TypeError(
                "The 'script_name' argument may not be None. To use the SCRIPT_NAME of each "
                "request, create Application(root, None) and pass it to a WSGI server instead "
                "of mounting it."
            )
        script_name = script_name.rstrip("/")
        if isinstance(root, Application):
            app = root
            if script_name not in ("", app.script_name):
                raise ValueError(
                    "mount() can't give an Application a different script name: leave out "
                    "script_name"
                )
            _refuse_own_call(root)
        else:
            app = Application(root, script_name)
        if config:
            app.merge(config)
        self.apps[app.script_name] = app
        return app

    def graft(self, wsgi_callable: object, script_name: str = "") -> None:
        """Mount an application of another kind: WSGI, ASGI or a ``micropie.App``."""
        _refuse_own_call(wsgi_callable)
        self.apps[script_name.rstrip("/")] = wsgi_callable

    def script_name(self, path: str | None = None) -> str | None:
        """Return the path at which the application for ``path`` is mounted, or None. ``path``: by
        default the current request's.
        """
        if path is None:
            request = current_exchange().request
            path = urljoin(request.script_name, request.path_info)
        return max((prefix for prefix in self.apps if _is_at(path, prefix)), key=len, default=None)

    def find(self, path: str) -> Any:
        """Return the application for a path, or None."""
        found = self.script_name(path)
        return None if found is None else self.apps[found]

    def check(self, config: Config) -> None:
        """Check each application's configuration, see ``_Servable.check``."""
        for app in self._own():
            if not app.native._micropie.is_blank:
                raise SetupError(
                    "what you have set on .native of the application at "
                    f"{app.script_name or '/'} has no effect, because the whole cherrypy.tree is "
                    "served. Set it on cherrypy.tree.native, where paths begin at the "
                    "site's root, or serve this application alone"
                )
            app.check(config)

    def handlers(self) -> Iterator[Handler]:
        """See ``_Servable.handlers``."""
        for app in self._own():
            yield from app.handlers()

    def session_options(self) -> Iterator[Options]:
        """See ``_Servable.session_options``."""
        for app in self._own():
            yield from app.session_options()

    def _own(self) -> list[Application]:
        return [app for app in self.apps.values() if isinstance(app, Application)]


tree = Tree()
