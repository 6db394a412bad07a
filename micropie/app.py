"""``App``, the base class of applications. Servers call an application by ASGI or WSGI."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from importlib import import_module
from os import PathLike
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    Never,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    overload,
)

from micropie import asgi, wsgi
from micropie._core import execution, files, mounts
from micropie._core.errors import (
    FLAG,
    HeadersLike,
    SetupError,
    check,
    check_each,
    refuse_others,
    takes,
)
from micropie._core.execution import ProcessPool, current
from micropie._core.flow import Hook, WebSocketMiddleware, lifespan_opener
from micropie._core.http import Request, Response, State, current_request
from micropie._core.http.protocols import Receive, Scope, Send, Texts
from micropie._core.http.settings import Settings
from micropie._core.mounts import APP, Mount, checked_prefix, kind_of_target
from micropie._core.on_demand import by_name
from micropie._core.routing import AppBase, Config, ErrorKey, check_error_key
from micropie._core.routing.decorators import SocketFunction, command, make_mark, refuse_in_route
from micropie._core.routing.discovery import (
    REQUIRES,
    Function,
    check_key,
    check_provider,
    is_function,
    is_method,
    marks_of,
    own_attributes,
    type_name,
)
from micropie._core.sessions import SessionBackend
from micropie._core.spellings import ServerSpellings
from micropie._core.templates import NO_VALUES, stream
from micropie._core.tree import Tree

if TYPE_CHECKING:
    from dataclasses import dataclass

    from micropie.channels import Channels
    from micropie.openapi import Docs

    class Decorator(Protocol):
        """The decorator that ``app.get("/pies")`` returns."""

        def __call__(self, function: Function, /) -> Function:
            """Register ``function``, and return it unchanged."""

    class SetOfHooks(Protocol):
        """The interface of ``micropie.middleware.SecurityDefaults``: default settings, and hooks
        that run before the application's own.
        """

        @property
        def settings(self) -> Mapping[str, object]: ...
        @property
        def middlewares(self) -> Sequence[Hook]: ...

    @dataclass(frozen=True)
    class _Keywords(Settings):
        """The keyword arguments of ``App``, for type checkers: those below, and one for each
        setting.
        """

        session_backend: SessionBackend | None = None
        lifespan: Callable[..., object] | None = None
        channels: Channels | None = None
        security: SetOfHooks | bool | None = None
        docs: bool | str | Docs = False

    import typing_extensions

    Outermost_co = typing_extensions.TypeVar(
        "Outermost_co", bound="App[Any]", default="App[Any]", covariant=True
    )

    class Base(AppBase, Generic[Outermost_co]):
        """``AppBase`` with a type parameter for the class of ``self.root``."""
else:
    Outermost_co, Base = Any, AppBase

Self = TypeVar("Self", bound="App")
# An application must be an object. A class isn't accepted, because calling a class creates an
# object and doesn't handle a request.
Mountable: TypeAlias = (
    "App | Callable[[Any, Any], Iterable[bytes]] | Callable[[Any, Any, Any], Awaitable[object]]"
)
Arguments = ParamSpec("Arguments")


def _typed_as(
    model: Callable[[], Callable[Arguments, object]],
) -> Callable[[Callable[..., None]], Callable[Concatenate[App, Arguments], None]]:
    """Declare, for type checkers, that a method takes the arguments of ``model``."""
    return lambda method: method


class _UpperLayers:
    """Functions through which the core and ``App`` call higher layers. A layer is imported when it
    is first used.
    """

    @staticmethod
    def advisor_for(settings: Settings) -> Any:
        """Return the module ``micropie.debug.advisor``, which adds hints to errors, or None in
        production.
        """
        if settings.debug or _CHILD_PORT in os.environ:
            return import_module("micropie.debug.advisor")
        return None

    @staticmethod
    def make_channels() -> object:
        return import_module("micropie.channels").Channels()

    @staticmethod
    def checked_channels(channels: object) -> object:
        """Return ``channels`` if it is a ``Channels`` object. Raises ``SetupError`` otherwise."""
        if not isinstance(channels, import_module("micropie.channels").Channels):
            raise SetupError(
                f"channels takes an object such as RedisChannels(url), not {channels!r}"
            )
        return channels

    @staticmethod
    def document_of(app: App, kind: str, title: str | None, version: str | None) -> dict[str, Any]:
        """Return the document of ``App.openapi`` or ``App.asyncapi``, which ``kind`` names."""
        app._micropie.find_roots()
        pages = import_module("micropie.openapi.pages")
        document: dict[str, Any] = pages.copy_of(app, app._micropie.docs, kind, title, version)
        return document

    @staticmethod
    def warn_of_missing_security(config: Config) -> None:
        import_module("micropie.middleware.security_defaults").warn_of_missing_security(config)


# ``micropie run --reload`` sets this variable in the processes that it starts.
_CHILD_PORT = "MICROPIE_CHILD_PORT"

_UPPER_LAYERS = _UpperLayers()
_NO_CHECKS: Mapping[str, Callable[[], object]] = {}


# The attributes of every application that its compiled site reads.
_WATCHED = frozenset({"middlewares", "ws_middlewares", "session_backend", "channels", REQUIRES})


class _Root:
    """``self.root``: the outermost application that contains this one.

    A subclass of ``App`` may define its own attribute ``root`` instead.
    """

    def __get__(self, app: App[Outermost_co], owner: object) -> Outermost_co:
        return cast("Outermost_co", app._micropie.root())


class App(Base[Outermost_co]):
    """A web application. Its public methods are its URLs.

        class Root(App):
            async def greet(self, name="World"):    # /greet, /greet/Alice, /greet?name=Alice
                return html("Hello, {}!", name)     # the name is escaped

        app = Root()

    ``app`` is an ASGI 3 and a PEP 3333 WSGI application at once: pass it to any server. The
    keyword arguments are the settings (``micropie._core.http.settings.Settings``), as in
    ``App(max_body_size=1024, debug=True)``, and these:

    - ``session_backend``: stores the sessions; by default in this process's memory.
    - ``channels``: the value of ``self.channels``; by default, messages stay in this process.
    - ``security``: a site's security middleware, such as ``SecurityDefaults("example.com")`` from
      ``micropie.middleware``. With False, startup logs no warning about missing middleware.
    - ``docs``: True serves ``/openapi.json`` and, at ``/docs``, a page on which to try out the API.
      A str is another path for the page, and ``micropie.openapi.Docs`` has more options.
    - ``lifespan``: a function that takes the application and returns an async context manager,
      which is entered before the first request.

    An invalid value raises ``SetupError``.

    An attribute that is an ``App`` is a subtree: ``root.blog = Blog()`` handles ``/blog/...``.
    ``class Blog(App["Root"])`` tells type checkers the class of ``self.root``.
    """

    middlewares: list[Hook]
    """Hooks around every handler: ``HttpMiddleware`` objects or generator functions. The first one
    is the outermost."""
    ws_middlewares: list[WebSocketMiddleware]
    """Hooks around every WebSocket handler: ``WebSocketMiddleware`` objects. The first one is the
    outermost."""
    state: State
    """Holds objects that handlers share, such as a pool that ``lifespan`` opened.

    An attribute that is missing here is looked up in the state of the application that contains
    this one.
    """
    root = _Root()
    session_backend: SessionBackend | None
    """The backend that stores sessions; None to use that of the application that contains this one,
    or else this process's memory.
    """
    lifespan: Any = None
    """Override this with a method decorated with ``@asynccontextmanager``. The code before its
    ``yield`` runs before the first request, the code after it at shutdown.
    """

    _micropie: Tree
    _micropie_is_framework = True
    # The attributes that the compiled site reads. After one of them is assigned, the application is
    # compiled again.
    _micropie_class_names = _WATCHED
    _micropie_tree: type[Tree] = Tree

    def __new__(cls: type[Self], *args: Any, **kwargs: Any) -> Self:
        if (
            args
            and isinstance(args[0], dict)
            and not args[0].keys().isdisjoint({"asgi", "wsgi.version"})
        ):
            raise TypeError(
                f"the server got the class {cls.__name__} instead of an application: write app = "
                f"{cls.__name__}() and pass app to the server"
            )
        # Set here instead of in __init__, so that a subclass that doesn't call super().__init__()
        # works too.
        app = super().__new__(cls)

        async def __call__(scope: Scope, receive: Receive, send: Send) -> None:
            await app(scope, receive, send)

        vars(app).update(
            # Servers recognise ASGI by the coroutine function ``app.__call__``, which is this
            # attribute. The interpreter calls the class's ``__call__`` instead, which handles both
            # protocols.
            __call__=__call__,
            # Copies of lists defined in the class, as in ``class Root(App): middlewares =
            # [Guard()]``.
            **{name: list(getattr(cls, name, ())) for name in _LISTS},
            state=State(),
            session_backend=getattr(cls, "session_backend", None),
            _micropie=cls._micropie_tree(
                app,
                {link.__name__: partial(link, app) for link in _LINKS},
                _UPPER_LAYERS,
                asgi.ASGIState(),
                wsgi.WSGIState(),
            ),
        )
        # A subclass may define ``channels = RedisChannels(url)``.
        channels = inspect.getattr_static(cls, "channels")
        if not isinstance(channels, property):
            app._micropie.stated_channels = _UPPER_LAYERS.checked_channels(channels)
        return app

    @_typed_as(lambda: _Keywords)
    def __init__(
        self,
        session_backend: SessionBackend | None = None,
        lifespan: Callable[..., object] | None = None,
        channels: Channels | None = None,
        security: SetOfHooks | bool | None = None,
        docs: bool | str | Docs = False,
        **settings: object,
    ) -> None:
        if security is not None and security is not False:
            if security is True or not hasattr(security, "settings"):
                raise SetupError(
                    f'security takes SecurityDefaults("example.com"), not {security!r}; '
                    "security=False turns off the startup warnings about security"
                )
            settings = {**security.settings, **settings}
            self.middlewares[:0] = security.middlewares
        Settings().overridden(settings)
        if session_backend is not None:
            self.session_backend = session_backend
        if channels is not None:
            self.channels = channels
        self._micropie.settings = settings
        if settings.get("debug"):
            import_module("micropie.debug").add_key_page(self)
        self._micropie.security = security
        self._micropie.lifespan = lifespan_opener(lifespan, self) if lifespan is not None else None
        if docs is not False:
            openapi = import_module("micropie.openapi.pages")
            self._micropie.docs = openapi.add_document(self, docs)

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        attributes = [item for base in cls.__mro__ for item in vars(base).items()]
        names = {name for name, value in attributes if is_method(value) or _is_routed(value)}
        cls._micropie_class_names = _WATCHED | names
        for name in _RESERVED if "_micropie_is_framework" not in vars(cls) else ():
            value = inspect.getattr_static(cls, name, _MISSING)
            # A method ``run`` with ``@hidden`` is not a handler, but overrides ``App.run``.
            is_override = name == "run" and getattr(value, "__micropie_hidden__", False)
            if value is inspect.getattr_static(App, name, _MISSING) or is_override:
                continue
            if not is_function(value) or name == "pool":
                _check_attribute(cls, name, value)
            if callable(value) and not (name == "channels" and isinstance(value, type)):
                raise SetupError(
                    f"{cls.__name__}.{name} can't be a handler, because App has an attribute of "
                    f'that name: rename the method; @route("/{name}") above it keeps its path'
                )

    # -- what servers call -------------------------------------------------------------------------

    def __call__(self, scope: Any, receive: Any, send: Any = None) -> Any:
        """Handle a request by ASGI, ``app(scope, receive, send)``, or by WSGI, ``app(environ,
        start_response)``.
        """
        tree = self._micropie
        if send is None:
            site = tree.wsgi.site
            if site is not None:
                context = copy_context()
                return context.run(wsgi.serve_http, site, scope, receive, context)
            return wsgi.start_and_serve(tree, tree.wsgi, scope, receive)
        site = tree.asgi.site
        if site is not None:
            if scope["type"] == "http":
                return asgi.serve_http(site, scope, receive, send)
            if scope["type"] == "websocket":
                return asgi.serve_websocket(site, scope, receive, send)
        return asgi.serve(tree, tree.asgi, scope, receive, send)

    def run(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        uds: str | None = None,
        fd: int | None = None,
        server: str | None = None,
        loop: Literal["asyncio", "trio", "uvloop"] | None = None,
        workers: int = 1,
        wsgi: bool = False,
        root_path: str = "",
        ssl_certfile: str | None = None,
        ssl_keyfile: str | None = None,
        reload: bool = False,
        **others: Never,
    ) -> None:
        """Serve this application with the best installed server, until the process is stopped::

            if __name__ == "__main__":
                app.run(reload=True)

        The keywords are the options of ``micropie run``:

        - ``host``, ``port``: the address to listen on; with port 0, any free port.
        - ``uds``: the path of a UNIX socket to listen on instead.
        - ``fd``: the descriptor of a socket that is already listening.
        - ``server``: the name of a server, such as ``"hypercorn"``. None means the best installed
          one.
        - ``loop``: the event loop of an ASGI server.
        - ``workers``: the number of processes.
        - ``wsgi``: use WSGI instead of ASGI.
        - ``root_path``: the prefix under which a proxy serves the application.
        - ``ssl_certfile``, ``ssl_keyfile``: PEM files, for https.
        - ``reload``: restart when a file has changed.

        Does nothing if the module was imported by a server. If the application can't be served,
        because a port is in use or a server is missing, the process exits with a message.
        """
        refuse_others(
            "app.run",
            others,
            {
                "App(debug=True)": "debug",
                "App(threads=...)": "threaded threads",
                "reload=True": "use_reloader reloader",
                "logging.basicConfig(level=...)": "log_level",
            },
        )
        options = {
            "host": host,
            "port": port,
            "uds": uds,
            "fd": fd,
            "server": server,
            "loop": loop,
            "workers": workers,
            "wsgi": wsgi,
            "root_path": root_path,
            "ssl_certfile": ssl_certfile,
            "ssl_keyfile": ssl_keyfile,
        }
        import_module("micropie.cli.serving.run").run_app(self, options, reload)

    def wsgi_shutdown(self) -> None:
        """Run the shutdown under WSGI now, instead of when the process exits.

        Call this in a server's exit hook or in tests.
        """
        self._micropie.shut_down_wsgi()

    def __setattr__(self, name: str, value: object) -> None:
        old = vars(self).get(name)
        if name in _WATCHED:
            _check_attribute(type(self), name, value)
        super().__setattr__(name, value)
        # Compile the application again only for values that may be routes. Handlers may set other
        # attributes in each request, which must be fast.
        if name in self._micropie_class_names or _is_routed(value) or _is_routed(old):
            self._micropie.changed()

    if not TYPE_CHECKING:  # pragma: no branch - type checkers must report unknown names

        def __getattr__(self, name: str) -> Any:
            """Raise an error for a missing name. If other frameworks have the name, the error's
            message suggests what to write.
            """
            if name in _ELSEWHERE and not hasattr(type(self), name):
                raise AttributeError(
                    f"{type(self).__name__} has no {name}: write {_ELSEWHERE[name]}"
                )
            # Raises the usual AttributeError, or the one that a property has raised.
            return object.__getattribute__(self, name)

    def __delattr__(self, name: str) -> None:
        old = vars(self).get(name)
        super().__delattr__(name)
        if name in self._micropie_class_names or _is_routed(old):
            self._micropie.changed()

    # -- for handlers and set-up -------------------------------------------------------------------

    @property
    def request(self) -> Request:
        """The current request. Raises ``LookupError`` outside handlers and hooks."""
        return current.get(None) or current_request()

    @property
    def response(self) -> Response:
        """The object on which to set the status, headers and cookies, which are sent with any
        result of the handler.
        """
        return self.request.response

    @property
    def channels(self) -> Channels:
        """The channels, which send messages to many subscribers: ``publish`` and ``subscribe``. See
        ``micropie.channels.Channels``.

        Messages reach subscribers in this process or, with ``App(channels=RedisChannels(url))``, in
        all processes. An application inside another one uses the channels of the outer one.
        """
        return cast("Channels", self._micropie.current_channels())

    @channels.setter
    def channels(self, channels: Channels) -> None:
        self._micropie.stated_channels = _UPPER_LAYERS.checked_channels(channels)

    @property
    def pool(self) -> ProcessPool:
        """The process pool: ``await self.pool.run(function, *arguments)`` calls a function in
        another process. See ``ProcessPool``.
        """
        pool: ProcessPool = self._micropie.config().pool
        return pool

    @pool.setter
    def pool(self, value: object) -> None:
        _check_attribute(type(self), "pool", value)

    def route(
        self,
        path: str,
        methods: Texts | None = None,
        *,
        name: str | None = None,
        **others: Never,
    ) -> Callable[[Function], Function]:
        """Handle ``path`` with the decorated function. See ``micropie.route`` for wildcards and
        ``methods``.

        ``name``: the name for ``url_for``, by default the function's name.
        """
        refuse_in_route(others)
        return self._micropie.registering(make_mark(path, methods, name))

    def websocket(
        self, path: str, *, name: str | None = None
    ) -> Callable[[SocketFunction], SocketFunction]:
        """Handle WebSockets at ``path`` with the decorated ``async def``, whose first parameter is
        the socket.
        """
        return self._micropie.registering(
            make_mark(path, ["GET"], name, "app.websocket", takes_socket=True)
        )

    def get(self, /, path: str, *, name: str | None = None, **others: Never) -> Decorator:
        """Handle GET and HEAD requests for ``path`` with the decorated function:
        ``@app.get("/hello/<name>")``.
        """
        return _route(self, "GET", path, name, others)

    def post(self, /, path: str, *, name: str | None = None, **others: Never) -> Decorator:
        """Handle POST requests for ``path`` with the decorated function."""
        return _route(self, "POST", path, name, others)

    def put(self, /, path: str, *, name: str | None = None, **others: Never) -> Decorator:
        """Handle PUT requests for ``path`` with the decorated function."""
        return _route(self, "PUT", path, name, others)

    def patch(self, /, path: str, *, name: str | None = None, **others: Never) -> Decorator:
        """Handle PATCH requests for ``path`` with the decorated function."""
        return _route(self, "PATCH", path, name, others)

    def delete(self, /, path: str, *, name: str | None = None, **others: Never) -> Decorator:
        """Handle DELETE requests for ``path`` with the decorated function."""
        return _route(self, "DELETE", path, name, others)

    def static(
        self,
        prefix: str,
        directory: str | PathLike[str],
        *,
        name: str = "static",
        download: bool = False,
        content_type: str | None = None,
        max_age: int | None = None,
        cached: bool = False,
        follow_symlinks: bool = False,
        headers: HeadersLike = (),
    ) -> None:
        """Serve the files of ``directory`` under ``prefix``:
        ``app.static("/static", "assets", max_age=3600)``.

        ``static_url("css/site.css")`` returns the path of a file. If you serve a second directory,
        give it another ``name``. ``static_file`` explains the other options, and which files are
        not served. A relative ``directory`` is relative to the current working directory. Raises
        ``SetupError`` if there is no such directory, and for an invalid prefix.
        """
        path, serve = files.directory_route(
            prefix,
            directory,
            download=download,
            content_type=content_type,
            max_age=max_age,
            cached=cached,
            follow_symlinks=follow_symlinks,
            headers=headers,
        )
        App.route(self, path, ["GET"], name=name)(serve)

    def health(
        self,
        path: str = "/healthz",
        checks: Mapping[str, Callable[[], object]] = _NO_CHECKS,
        *,
        timeout: float = 2.0,
        live: bool = False,
    ) -> None:
        """Add a health endpoint for readiness probes. It responds with 200 while this process can
        serve requests, otherwise with 503.

        The process can serve requests when its startup is done, the server is not shutting down,
        and all checks succeed. A check fails if it raises an exception or returns False. If a
        session backend, channels or middleware have a method ``ping``, this method is a check, too.

        - ``checks``: more checks; maps names to functions, ``def`` or ``async def``.
        - ``timeout``: seconds for all checks together.
        - ``live``: True makes this an endpoint for liveness probes, for which only ``checks``
          count.

        The application's hooks don't run for this path. Raises ``SetupError`` for an invalid
        argument.
        """
        health = import_module("micropie.middleware.health")
        health.add_health(self, path, checks, timeout=timeout, live=live)

    def metrics(
        self,
        path: str = "/metrics",
        *,
        token: str | None = None,
        registry: object = None,
        buckets: Sequence[float] | None = None,
    ) -> None:
        """Count and time the requests of this application, and serve the metrics for Prometheus at
        ``path``.

        The hook that counts requests becomes the first item of ``middlewares``. The application's
        hooks don't run for ``path``.

        - ``token``: a bearer token that clients must send; None means that they need none.
        - ``registry``: the registry of the metrics; by default, prometheus_client's own.
        - ``buckets``: the upper bounds of the histogram's buckets, in seconds; by default, they
          begin with 0.001.

        Raises ``SetupError`` for an invalid argument, and if prometheus_client is missing.
        """
        # Imported here, because importing prometheus_client takes as long as importing micropie.
        metrics = import_module("micropie.middleware.metrics")
        metrics.add_metrics(self, path, token=token, registry=registry, buckets=buckets)

    def mount(
        self,
        prefix: str,
        target: Mountable,
        kind: Literal["app", "asgi", "wsgi"] | None = None,
        isolated: bool = False,
        strip: bool = False,
        bridge: Callable[..., object] | None = None,
    ) -> None:
        """Let another application handle all paths under ``prefix``: ``app.mount("/shop",
        Shop())``.

        - ``target``: an ``App``, an ASGI or a WSGI application. An ``App`` shares this
          application's sessions, hooks and settings, as an ``App`` in an attribute does.
        - ``kind``: ``"app"``, ``"asgi"`` or ``"wsgi"``. By default, the protocol is
          detected from the signature of ``target``. Set ``kind`` if the signature doesn't show it.
        - ``isolated``: whether an ``App`` keeps its own sessions, hooks and settings.
        - ``strip``: whether an ASGI or WSGI application sees paths without the prefix. Set this for
          an application that ignores ``root_path``.
        - ``bridge``: a function that converts the application to the other protocol, such as
          ``a2wsgi.WSGIMiddleware``. Under servers of that protocol, it replaces micropie's own
          conversion.

        Mounts are tried before all routes, the longest prefix first. An application mounted at "/"
        handles the paths that no route matches. Raises ``SetupError`` for an object that can't be
        mounted.
        """
        text = checked_prefix(prefix)
        check_each("mount", *FLAG, isolated=isolated, strip=strip)
        if any(mount.prefix == text for mount in self._micropie.mounts):
            raise SetupError(
                f"two applications are mounted at {text or '/'}: give one of them another prefix"
            )
        if isinstance(target, App) and kind in (None, APP):
            found = APP
            if "host" in target._micropie.settings:
                name = type(target).__name__
                raise SetupError(
                    f"{name} has its own host: instead of mounting it, assign it to an attribute, "
                    f"as in app.{name.lower()} = {name}(...)"
                )
            if strip:
                raise SetupError(
                    "strip=True is only for an ASGI or WSGI application: leave it out for an App"
                )
            if bridge is not None:
                raise SetupError(
                    "leave out bridge=: an App needs none, because it is both an ASGI and a "
                    "WSGI application"
                )
            if not text:
                raise SetupError(
                    "an App can't be mounted at the root: let the server run it directly, or mount "
                    "it at a path such as /shop"
                )
        else:
            found = kind_of_target(target, kind)
            if isolated:
                raise SetupError(
                    "isolated=True is only for an App: leave it out for an ASGI or WSGI application"
                )
        if target is self:
            raise SetupError(f"{type(self).__name__} is mounted at {text} inside of itself")
        mount = Mount(text, target, found, isolated, strip)
        if bridge is not None:
            mount.bridged = mounts.bridged_mount(mount, bridge)
        self._micropie.mounts.append(mount)
        self._micropie.changed()

    def error(self, key: ErrorKey) -> Decorator:
        """Handle errors of a status (``@app.error(404)``) or an exception class with the decorated
        function.

        The function takes the exception, or nothing, or the request and the exception: ``def
        missing(request, error)``. Its response has the error's status unless it sets another one.

        It replaces an earlier function for the same errors, for example a base class's. Raises
        ``SetupError`` if both are decorated beside each other, with different names.
        """
        checked = check_error_key(key)

        def register(function: Function) -> Function:
            if not callable(function) or isinstance(function, type | App):
                raise SetupError(f"@app.error must be above a function, not {function!r}")
            handlers = self._micropie.error_handlers
            where, name = _place(function)
            earlier_where, earlier = _place(handlers.get(checked, function))
            # its module doesn't have a function yet that is being decorated
            module = sys.modules.get(getattr(function, "__module__", ""))
            is_passed = inspect.ismethod(function) or getattr(module, name, None) is function
            if earlier_where == where and name not in (earlier, "") and not is_passed:
                shown = getattr(key, "__name__", key)
                raise SetupError(
                    f"@app.error({shown}) is above {earlier} and {name}: remove one, because the "
                    "second would replace the first"
                )
            handlers[checked] = function
            self._micropie.changed()
            return function

        return register

    def command(self, function: Function, /) -> Function:
        """Make the decorated function a command: ``micropie -a shop:app init-db`` calls ``def
        init_db``.

        ``micropie.command``, the decorator for methods, explains the parameters.
        """
        self._micropie.commands.append(command(function))
        return function

    # A key may be a class, an ``Annotated`` or a union, which only ``object`` covers. The overload
    # for a str makes type checkers reject ``@app.provides("name")``.
    @overload
    def provides(self, key: str, *, once: bool = ...) -> None: ...  # type: ignore[overload-overlap]
    @overload
    def provides(self, key: object, *, once: bool = ...) -> Callable[[Function], Function]: ...
    def provides(self, key: object, *, once: bool = False) -> Callable[[Function], Function] | None:
        """Register the decorated function as the provider of the type ``key``. It opens a resource
        for each request whose handler has a parameter of that type::

            @app.provides(Session)
            def session():
                with Session(engine) as session:
                    yield session

        The function, ``def`` or ``async def``, either yields the resource once, or returns a
        context manager that opens it, or returns the resource itself. The resource is closed when
        the handler has returned, or at the end of its stream. If the handler raises an exception,
        the ``yield`` raises it, too. Access checks, other providers and commands may also have a
        parameter of the type. All other code opens the resource with ``request.resource``. Inner
        applications can use the providers of outer ones.

        ``once``: open the resource when the application starts, for all requests, and close it at
        shutdown. This is done on each event loop that serves the application. Such a function must
        have no parameters, because there is no request that could fill them.

        Raises ``SetupError`` for a second provider of one type in one application.
        """
        check_key(key)
        check_each("provides", *FLAG, once=once)

        def register(function: Function) -> Function:
            check_provider(function)
            if key in self._micropie.providers:
                raise SetupError(
                    f"{type_name(key)} already has a provider: a type can have only one, so "
                    "remove one"
                )
            check("provides(...)", callable(function), function, "a function or another callable")
            if once:
                check(
                    "provides(once=True)",
                    takes(function, 0),
                    function,
                    "a function without parameters",
                )
                resource = self._micropie.once[key] = execution.Once(function, type_name(key))
                self._micropie.providers[key] = resource.give
            else:
                self._micropie.providers[key] = function
            self._micropie.changed()
            return function

        return register

    def openapi(self, title: str | None = None, version: str | None = None) -> dict[str, Any]:
        """Return an OpenAPI document for this application's handlers, built from their names,
        annotations, docstrings and ``@describe``. ``title`` and ``version`` default to those of
        ``App(docs=Docs(...))``, or to the class's name and "1.0.0". Raises ``SetupError`` if the
        application can't be built.
        """
        return _UPPER_LAYERS.document_of(self, "openapi", title, version)

    def asyncapi(self, title: str | None = None, version: str | None = None) -> dict[str, Any]:
        """Return an AsyncAPI 3 document for this application's WebSockets and event streams. The
        parameters are those of ``openapi``. The types of the messages come from annotations such as
        ``ws: WebSocket[Received, Sent]``.
        """
        return _UPPER_LAYERS.document_of(self, "asyncapi", title, version)

    def url_for(self, name: str, /, *segments: object, **values: object) -> str:
        """Return the path of the handler ``name`` (``"greet"``, ``"blog.show"``), including the
        current request's ``root_path``.

        A name that this application doesn't have is looked up in the applications that contain it,
        the nearest first. ``"/greet"`` is a handler of the outermost application. ``segments`` are
        appended to the path, ``values`` fill wildcards, and the other values become the query:
        ``url_for("greet", "Alice", age=3)`` is ``/greet/Alice?age=3``. Raises ``LookupError`` for
        an unknown name and, outside a request, if the application is mounted in several places.
        Raises ``ValueError`` for a value that the route would not match.
        """
        return self._micropie.config().url_for(current.get(None), name, segments, values)

    def absolute_url_for(self, name: str, /, *segments: object, **values: object) -> str:
        """Return the absolute URL of the handler ``name``, for emails, feeds and other sites. See
        ``url_for``.

        The URL begins with the value of ``App(base_url="https://example.com")`` or, without that
        setting, with the scheme and the host of the current request. Raises ``LookupError`` if
        there is neither. The URL of a WebSocket begins with ``ws://`` or ``wss://``.
        """
        return self._micropie.config().url_for(
            current.get(None), name, segments, values, is_absolute=True
        )

    def static_url(self, path: str, *, name: str = "static") -> str:
        """Return the path of a file that ``static`` serves, with a fingerprint of its bytes.

        ``static_url("site.css")`` is ``/static/site.css?v=9f86d081884c7d65``. The fingerprint
        changes when the file does, so browsers can cache the file for a year. ``name``: the name
        passed to ``static``. Raises ``LookupError`` for an unknown file or name.
        """
        return self._micropie.config().static_url(current.get(None), path, name)

    def render(
        self,
        name: str,
        values: Mapping[str, object] = NO_VALUES,
        /,
        *,
        block: str | None = None,
        **context: object,
    ) -> str:
        """Render the template ``name`` from the directory ``templates`` with ``values`` and
        ``context``, all escaped.

        ``block``: render only the block of that name, for example for HTMX. The template itself
        must define the block; a block in a template that it extends isn't found. Names that the
        template imports or sets outside the block are not available in the block. Templates can
        also use ``request``, ``session``, ``csrf_token``, ``csrf_input``, ``url_for``,
        ``absolute_url_for``, ``static_url``, ``get_flashed_messages`` and the
        ``template_globals``. Raises ``LookupError`` for an unknown template or block.
        """
        return self._micropie.config().templates.render(name, {**values, **context}, block)

    def render_async(
        self,
        name: str,
        values: Mapping[str, object] = NO_VALUES,
        /,
        *,
        block: str | None = None,
        **context: object,
    ) -> Awaitable[str]:
        """Render like ``render``, with values and functions that may be async: ``await
        self.render_async("index.html", ...)``.
        """
        return self._micropie.config().templates.render_async(name, {**values, **context}, block)

    def render_stream(
        self,
        name: str,
        values: Mapping[str, object] = NO_VALUES,
        /,
        *,
        block: str | None = None,
        **context: object,
    ) -> Iterator[str]:
        """Render like ``render``, but return a stream for the handler to return, which is rendered
        while it is sent.
        """
        return stream(self._micropie.config().templates, name, {**values, **context}, block)


# micropie's equivalents of names that applications have in other frameworks.
_ELSEWHERE = by_name(
    {
        'app.mount("/prefix", other)': "include_router register_blueprint merge",
        "app.middlewares.append(hook)": (
            "middleware add_middleware before_request after_request teardown_request install"
        ),
        "App(lifespan=...)": "on_event add_event_handler on_startup on_shutdown before_serving",
        "@app.error(404) above a function": "exception_handler add_exception_handler errorhandler",
        '@app.route("/path", ["GET"]) above a function': "add_url_rule add_api_route add_route",
        "settings as keywords, App(debug=True)": "config",
        "TestClient(app), from micropie.testing": "test_client",
        "client.override(Db, fake), with client = TestClient(app)": "dependency_overrides",
        "app = dual(Middleware(app))": "wsgi_app asgi_app",
        'self.render("page.html", name="value")': "render_template",
        'return Redirect("/pies"), or raise it': "redirect",
        "raise HTTPError(404)": "abort",
        "App(template_filters={...})": "template_filter",
        "@app.command above a function": "cli",
    }
)

_LINKS = (App.url_for, App.absolute_url_for, App.static_url)  # methods that templates can call too
_LISTS = ("middlewares", "ws_middlewares", "startup_handlers", "shutdown_handlers")
_MISSING = object()


def _check_attribute(owner: type, name: str, value: object) -> None:
    """Raise ``SetupError`` for an invalid value of an attribute of an application or its class."""
    if name in _LISTS and not isinstance(value, list | tuple):
        raise SetupError(f"{owner.__name__}.{name} must be a list: write {name} = [...]")
    if name == "pool":
        raise SetupError(
            f"{owner.__name__}.pool is the process pool: give this attribute another name, or "
            "write a handler for /pool as def pool_(self)"
        )
    is_backend = hasattr(value, "load") and hasattr(value, "save") and not isinstance(value, type)
    if name == "session_backend" and not (is_backend or isinstance(value, property | None)):
        raise SetupError(
            'session_backend takes an object such as SQLiteSessionBackend("sessions.db"), not '
            f"{value!r}. If you passed a name, as in App(__name__), write App()"
        )


def _place(function: object) -> tuple[str, str]:
    """Return the module, function or class in which a function is defined, and its name there."""
    full = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
    where, _, name = full.rpartition(".")
    return where, name


def _route(
    app: App, method: str, path: str, name: str | None, others: Mapping[str, object]
) -> Decorator:
    """Return the decorator of ``app.get(path)``, for example, for the ``method`` GET."""
    refuse_in_route(others)
    return app._micropie.registering(make_mark(path, [method], name, f"app.{method.lower()}"))


def _is_routed(value: object) -> bool:
    """Return whether a value is an inner application, or a function with a route or a check."""
    return isinstance(value, AppBase) or (
        is_function(value) and (bool(marks_of(value)) or REQUIRES in own_attributes(value))
    )


# Attributes that handlers, hooks and the framework itself read from an application, so no method
# may have these names.
_RESERVED = frozenset(
    {
        *_LISTS, "request", "response", "state", "session_backend", "channels", "pool",
        "wsgi_shutdown", "run",
    }
)  # fmt: skip


def dual(
    application: Mountable,
    kind: Literal["asgi", "wsgi"] | None = None,
    bridge: Callable[..., object] | None = None,
) -> App:
    """Return an ``App`` that wraps a WSGI or ASGI application, so that servers of both protocols
    can run it::

        app = dual(SessionMiddleware(flask_app))

    This is short for ``app = App()`` and ``app.mount("/", application, kind, bridge=bridge)``. The
    result has ``run()``, a lifespan and middleware, and its own routes take precedence over those
    of ``application``. Raises ``SetupError`` if ``application`` is not an application.
    """
    app = App()
    app.mount("/", application, kind, bridge=bridge)
    return app


class Server(ServerSpellings, App):
    """An ``App`` with the shortcuts of the framework MicroPie: ``self.session`` for
    ``self.request.session``, and so on.
    """

    _micropie_is_framework = True
