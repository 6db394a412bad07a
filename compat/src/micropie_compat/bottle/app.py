"""``Bottle``, an application with its routes, hooks, plugins and error handlers, and ``AppStack``,
the stack of default applications.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial, wraps
from inspect import iscoroutinefunction
from operator import is_
from types import MethodType
from typing import Any, NoReturn, TypeVar, cast

from micropie import App, SetupError
from micropie_compat.addresses import join
from micropie_compat.bottle.config import ConfigDict
from micropie_compat.bottle.exchange import Hooks
from micropie_compat.bottle.monitors import STEP
from micropie_compat.bottle.mounting import wsgi_mount
from micropie_compat.bottle.native import BottleSite, answer_raised
from micropie_compat.bottle.plugins import JSONPlugin, TemplatePlugin
from micropie_compat.bottle.requests import request
from micropie_compat.bottle.resources import ResourceManager
from micropie_compat.bottle.responses import HTTPError, HTTPResponse, response
from micropie_compat.bottle.routing import (
    Arguments,
    Route,
    RouteBuildError,
    Router,
    yieldroutes,
)
from micropie_compat.bottle.server import load
from micropie_compat.bottle.state import face, is_native
from micropie_compat.bottle.templates import Decorator, template
from micropie_compat.carrier import Carried, Function, may_see_tracebacks
from micropie_compat.core import kind_of_target
from micropie_compat.environs import Environ, WSGIApplication
from micropie_compat.originals import refuse_instance
from micropie_compat.results import AnyFunction, close_if_closable
from micropie_compat.stand_in import refuse_original

Plugin = TypeVar("Plugin")
Result = TypeVar("Result")

_HOOKS = ("before_request", "after_request", "app_reset", "config")


ERROR_PAGE_TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Error: {{e.status}}</title></head>
<body>
<h1>Error: {{e.status}}</h1>
<pre>{{e.body or ''}}</pre>
"""
"""The page for an error that has no handler, as a SimpleTemplate template. A program may replace
it.
"""


def _route_for(verb: str) -> Callable[..., Any]:
    """Return a method of ``Bottle`` that registers a handler for an HTTP method."""

    def register(self: Bottle, path: object = None, method: object = verb, **options: Any) -> Any:
        return self.route(path, method, **options)

    register.__name__ = verb.lower()
    register.__doc__ = f"Register a handler for {verb}, see ``route``."
    return register


class Bottle(Carried):
    """An application that can be called both as WSGI and as ASGI, so that any server can run it."""

    tpl: object = None
    uncalled = ("_cast", "trigger_hook")
    _inner = STEP

    def __init__(self, catchall: bool = True, autojson: bool = True) -> None:
        super().__init__("bottle", partial(BottleSite, self))
        self.hooks: Hooks = {name: [] for name in _HOOKS}
        self.config = ConfigDict()
        self.resources = ResourceManager()
        self.config.meta_set("catchall", "filter", bool)
        self.config["catchall"] = catchall
        self.config._listeners.append(partial(self.trigger_hook, "config"))
        self.routes: list[Route] = []
        self.router = Router()
        self.error_handler: dict[int, Callable[[HTTPError], object]] = {}
        self.plugins: list[object] = []
        self._parts: list[Bottle] = []  # all that are mounted or merged, at any depth
        self.native._micropie.own_error_handler = partial(answer_raised, self)
        self.native.error(HTTPResponse)(self.native._micropie.own_error_handler)
        self.native._micropie.migrated_routes = lambda: [
            (one.method, one.rule, one.callback) for one in self.routes
        ]
        self.install(JSONPlugin())
        self.install(TemplatePlugin())

    def __setattr__(self, name: str, value: object) -> None:
        if name in vars(self):
            raise AttributeError(f"Attribute {name} already defined. Plugin conflict?")
        super().__setattr__(name, value)

    def __call__(self, scope: Any, receive: Any, send: object = None) -> Any:
        """Handle a request, see ``Carried``. Monitors call this method with ``STEP``."""
        if send is None and STEP in scope:
            return self.wsgi(scope, receive)
        return super().__call__(scope, receive, send)

    def wsgi(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        """Handle a request as a WSGI application."""
        answer: Iterable[bytes] = (
            environ[STEP].start(self._handle(environ), start_response)
            if STEP in environ
            else super().__call__(environ, start_response)
        )
        return answer

    def _handle(self, environ: Environ) -> Any:
        return environ[STEP].run()

    def monitored(self) -> WSGIApplication | None:
        """Return a WSGI application that calls the methods which a monitor has replaced. Return
        None if no method was replaced.
        """
        # An instance may have functions of its own.
        methods = self.wsgi, self._handle
        functions = (one.__func__ if type(one) is MethodType else one for one in methods)
        now = Bottle.__call__, *functions
        # A monitor's wrapper may be equal to the function that it wraps, and have its attributes.
        return None if all(map(is_, now, _ORIGINALS)) else partial(Bottle.__call__, self)

    @property
    def catchall(self) -> bool:
        """Whether this application sends a 500 for an exception that a handler raises.

        If False, the exception is passed to the ``native.error`` handlers, or to the server if none
        handles it.
        """
        return bool(self.config["catchall"])

    @catchall.setter
    def catchall(self, value: bool) -> None:
        self.config["catchall"] = value

    # -- routes ------------------------------------------------------------------------------------

    def route(
        self,
        path: object = None,
        method: object = "GET",
        callback: object = None,
        name: str | None = None,
        apply: object = None,
        skip: object = None,
        **config: object,
    ) -> Any:
        """Make the decorated function a handler of one rule or several.

        ``app.route(rule, callback=function)`` does the same.

        ``method``: one method or a list.
        ``apply``: plugins or decorators for this route only.
        ``skip``: the plugins not to apply to this route, given by object, class or name; True means
            all.
        ``config``: values for ``route.config``, where plugins read them.
        """
        if callable(path):
            path, callback = None, path

        def register(function: Any) -> Any:
            function = load(function) if isinstance(function, str) else function
            for rule in makelist(path) or yieldroutes(function):
                for verb in makelist(method):
                    plugins, skipped = makelist(apply), makelist(skip)
                    self.add_route(
                        Route(self, rule, verb.upper(), function, name, plugins, skipped, **config)
                    )
            return function

        return register(callback) if callback else register

    get, post, put = _route_for("GET"), _route_for("POST"), _route_for("PUT")
    delete, patch = _route_for("DELETE"), _route_for("PATCH")

    def add_route(self, route: Route) -> None:
        """Add an existing ``Route`` object. Its attribute ``app`` isn't changed."""
        refuse_instance("bottle", route)
        self.routes.append(route)
        self.router.add(route.rule, route.method, route, name=route.name)

    def match(self, environ: Environ) -> tuple[Route, Arguments]:
        """Return the route that matches an environ's method and path, and the values of its
        wildcards.

        Raises ``HTTPError`` with status 400, 404 or 405.
        """
        return self.router.match(environ)

    def get_url(self, routename: str, **kargs: object) -> str:
        """Return the path of a rule or of a named route, preceded by the current request's
        ``script_name``. The names of native routes are accepted too.
        """
        try:
            path = self.router.build(routename, **kargs)
        except RouteBuildError:
            with suppress(LookupError):
                # A template may link to a route that has been moved to ``native``.
                return self.native.url_for(routename, **kargs)
            raise
        above = request.environ.get("SCRIPT_NAME", "").strip("/") + "/"
        return str(join(join("/", above), path.lstrip("/")))

    def mount(self, prefix: str, app: object, **options: object) -> None:
        """Mount another application, which then handles all paths under ``prefix``.

        - A ``Bottle``, if the prefix ends with a slash: its routes are added to this application,
          whose hooks and error handlers then apply to them.
        - A ``micropie.App`` or an ASGI application: it is mounted on ``native``. No hooks of this
          application run for it.
        - Any other application: it is called as WSGI, after the ``before_request`` hooks.

        Raises ``ValueError`` for a prefix that does not begin with a slash.
        """
        if not prefix.startswith("/"):
            raise ValueError("Prefix must start with '/'")
        if isinstance(app, Bottle):
            if prefix.endswith("/") and not options and "_mount.app" not in app.config:
                self._parts.extend((app, *app._parts))
                app.config.update({"_mount.prefix": prefix, "_mount.app": self})
                for route in app.routes:
                    route.rule = prefix + route.rule.lstrip("/")
                    self.add_route(route)
                return
        elif isinstance(app, App) or (not options and kind_of_target(app, None) == "asgi"):
            self.native.mount(prefix, cast("Any", app))
            return
        wsgi_mount(self.route, prefix, app, options)

    def merge(self, routes: Bottle | Iterable[Route]) -> None:
        """Add the routes of another application, or a list of routes."""
        refuse_instance("bottle", routes)
        if isinstance(routes, Bottle):
            self._parts.extend((routes, *routes._parts))
            routes = routes.routes
        for route in [*routes]:
            self.add_route(route)

    # -- plugins, hooks, errors --------------------------------------------------------------------

    def install(self, plugin: Plugin) -> Plugin:
        """Apply a plugin to every route. A plugin is a decorator, or an object with
        ``apply(callback, route)``.
        """
        refuse_instance("bottle", plugin)
        refuse_original("bottle", plugin)
        if hasattr(plugin, "setup"):
            plugin.setup(self)
        if not callable(plugin) and not hasattr(plugin, "apply"):
            raise TypeError(
                "a plugin must be a decorator or have a method apply(callback, route), not "
                f"{plugin!r}"
            )
        self.plugins.append(plugin)
        self.reset()
        return plugin

    def uninstall(self, plugin: object) -> list[object]:
        """Remove the plugins given by object, class or name; True removes all. Return the removed
        plugins.
        """
        removed = [
            one
            for one in reversed(self.plugins)
            if plugin is True
            or plugin is one
            or plugin is type(one)
            or getattr(one, "name", True) == plugin
        ]
        for one in removed:
            self.plugins.remove(one)
            close_if_closable(one)
        if removed:
            self.reset()
        return removed

    def reset(self, route: Route | int | None = None) -> None:
        """Apply the plugins again at the next request: to all routes, or to one route, given as an
        object or by its index.
        """
        chosen = (
            self.routes
            if route is None
            else [route if isinstance(route, Route) else self.routes[route]]
        )
        for one in chosen:
            one.reset()
        self.trigger_hook("app_reset")

    def close(self) -> None:
        """Call the ``close`` method of each plugin that has one."""
        for plugin in self.plugins:
            close_if_closable(plugin)

    def add_hook(self, name: str, func: AnyFunction) -> None:
        """Call ``func`` whenever the event ``name`` happens: ``before_request``, ``after_request``
        (the hook added last runs first), ``app_reset`` or ``config``.
        """
        if name not in self.hooks:
            raise KeyError(f"there is no hook {name!r}: use one of {', '.join(_HOOKS)}")
        _refuse_async(func, f"the hook {name!r}")
        if name == "after_request":
            self.hooks[name].insert(0, func)
        else:
            self.hooks[name].append(func)

    def remove_hook(self, name: str, func: AnyFunction) -> bool:
        """Remove a hook. Return False if it wasn't registered."""
        if func not in self.hooks.get(name, ()):
            return False
        self.hooks[name].remove(func)
        return True

    def trigger_hook(self, name: str, /, *args: object, **kwargs: object) -> list[object]:
        """Call the hooks of this name, and return the list of their results."""
        return [hook(*args, **kwargs) for hook in self.hooks[name][:]]

    def hook(self, name: str) -> Callable[[Function], Function]:
        """Register the decorated function as a hook, see ``add_hook``."""

        def register(function: Function) -> Function:
            self.add_hook(name, function)
            return function

        return register

    def error(self, code: int = 500, callback: object = None) -> Any:
        """Register the decorated function as the error handler for this status. It is called with
        the ``HTTPError``.
        """

        def register(function: Any) -> Any:
            loaded = load(function) if isinstance(function, str) else function
            _refuse_async(loaded, f"the error handler for {code}")
            self.error_handler[int(code)] = loaded
            return function

        return register(callback) if callback else register

    def default_error_handler(self, res: HTTPError) -> str:
        """Return the HTML page for an error that has no handler.

        With ``debug`` on, clients on the same machine also see the exception.
        """
        if face().ERROR_PAGE_TEMPLATE is not ERROR_PAGE_TEMPLATE:
            return template(face().ERROR_PAGE_TEMPLATE, e=res)
        texts = {"{{e.status}}": res.status_line, "{{e.body or ''}}": str(res.body or "")}
        page = re.sub(
            r"\{\{.*?\}\}", lambda found: html.escape(texts[found[0]]), ERROR_PAGE_TEMPLATE
        )
        if face().DEBUG and res.exception and may_see_tracebacks():
            shown = repr(res.exception), res.traceback or ""
            page += "".join(f"<pre>{html.escape(text)}</pre>\n" for text in shown)
        return f"{page}</body>\n</html>\n"

    # -- as a program ------------------------------------------------------------------------------

    def run(self, **options: Any) -> None:
        """Serve this application; the options are those of ``bottle.run``."""
        face().run(self, **options)

    def __enter__(self) -> Bottle:
        default_app.push(self)
        return self

    def __exit__(self, *error: object) -> None:
        default_app.pop()


_ORIGINALS = Bottle.__call__, Bottle.wsgi, Bottle._handle


def _refuse_async(function: Any, place: str) -> None:
    """Raise ``SetupError`` for an ``async def`` function that nothing would await: an access check
    would let everybody in.
    """
    if iscoroutinefunction(function):
        raise SetupError(f"{place} is async def: write def, because Bottle doesn't await it")


def makelist(data: object) -> list[Any]:
    """Return ``data`` as a list: a collection's items, ``[]`` for None or another false value,
    otherwise a list with ``data`` as its only item.
    """
    if isinstance(data, tuple | list | set | dict):
        return list(data)
    return [data] if data else []


class AppStack(list[Bottle]):
    """The stack of default applications. Calling it returns the one on top."""

    def __call__(self) -> Bottle:
        return self.default

    @property
    def default(self) -> Bottle:
        """The application to which module-level decorators such as ``@route`` add routes. It is
        created if the stack is empty.
        """
        return self[-1] if self else self.push()

    def push(self, value: object = None) -> Bottle:
        """Push ``value`` as the default application, or a new ``Bottle`` if ``value`` isn't one."""
        application = value if isinstance(value, Bottle) else Bottle()
        self.append(application)
        return application

    new_app = push


default_app = AppStack()


def _of_default(method: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that calls the same method on the default application."""

    @wraps(method)
    def call(*args: object, **values: object) -> Result:
        result: Result = getattr(default_app(), method.__name__)(*args, **values)
        return result

    return call


route, get, post = _of_default(Bottle.route), _of_default(Bottle.get), _of_default(Bottle.post)
put, delete, patch = _of_default(Bottle.put), _of_default(Bottle.delete), _of_default(Bottle.patch)
error, mount, hook = _of_default(Bottle.error), _of_default(Bottle.mount), _of_default(Bottle.hook)
install, uninstall, url = (
    _of_default(Bottle.install),
    _of_default(Bottle.uninstall),
    _of_default(Bottle.get_url),
)


def abort(code: int = 500, text: object = "Unknown Error.") -> NoReturn:
    """End the request with an error page by raising ``HTTPError``."""
    raise HTTPError(code, text)


def redirect(url: str, code: int | None = None) -> NoReturn:
    """End the request with a redirect to ``url``, which may be relative to the request's URL.

    Headers and cookies that were set on ``response`` are sent with it.

    ``code``: the status, by default 303, or 302 for an HTTP/1.0 client.
    """
    answer = HTTPResponse() if is_native() else response.copy(HTTPResponse)
    answer.status = code or (303 if request.get("SERVER_PROTOCOL") != "HTTP/1.0" else 302)
    answer.body = ""
    answer.set_header("Location", join(request.url, url))
    try:
        raise answer
    finally:
        del answer  # avoids a reference cycle between the traceback and this frame


def auth_basic(
    check: Callable[[str, str], bool], realm: str = "private", text: str = "Access denied"
) -> Decorator:
    """Require Basic authentication: call the decorated function only if ``check(user, password)``
    is true, otherwise send a 401.
    """
    _refuse_async(check, "the check of auth_basic")

    def decorator(function: AnyFunction) -> AnyFunction:
        @wraps(function)
        def wrapper(*args: object, **values: object) -> object:
            user, password = request.auth or (None, None)
            if user is None or not check(user, password or ""):
                return HTTPError(401, text, **{"WWW-Authenticate": f'Basic realm="{realm}"'})
            return function(*args, **values)

        return wrapper

    return decorator
