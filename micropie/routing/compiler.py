"""Compile a tree of applications into its ``Site``: at the first request, and again when the author changes the tree.

There are two routers, one for HTTP and one for WebSockets; an application that is mounted gets two of its own. Each
application adds its handlers and explicit routes at its own node of each. Every mistake of the author is found here and
raised as a ``SetupError`` that says what to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from micropie.errors import SetupError, logger
from micropie.execution import HANDLER, RouteKind, Threads, layers
from micropie.http import quoted_address
from micropie.mounts import Mount
from micropie.routing.checks import check_middlewares
from micropie.routing.config import Config
from micropie.routing.discovery import (
    FINGERPRINT,
    MARKS,
    REQUIRES,
    SOCKET_PREFIX,
    Handler,
    RouteMark,
    find_handlers,
    is_hidden,
    is_method,
    marks_of,
    wrapped_by,
)
from micropie.routing.inheritance import AppDefinition, Registrations, make_config
from micropie.routing.patterns import Pattern
from micropie.routing.router import Node, Router, with_route
from micropie.routing.routes import Route
from micropie.routing.site import Hosts, HostSite, Mounted, MountRoute, Site
from micropie.streams import ShutdownSignal

_THREADS = 4  # of a route with hooks of its own, as an endpoint for health: one for each check of a backend that hangs


def build_site(root: AppDefinition, shutdown: ShutdownSignal, blocking: RouteKind = HANDLER) -> Site:
    """Return the ``Site`` of a tree of applications. Raises ``SetupError`` for one that can't be served.

    ``shutdown`` ends the tree's event streams. ``blocking`` is the kind of step for ``def`` handlers: HANDLER, or
    INLINE where the flow's thread may block.
    """
    config = make_config(root, None, _address(root, ""), "", shutdown)
    compiler = _compiled(root, config, blocking, [])
    site = others = Site(config, *compiler.routers, compiler.mounted)
    if root.hosts:
        compiler.hosts += [(host, site) for host in root.hosts]
        others = Site(config, Router(config), Router(config))
    return HostSite(compiler.hosts, others) if compiler.hosts else site


def _address(definition: AppDefinition, prefix: str) -> str:
    """Return the prefix of an application: its host if it has one of its own, else ``prefix``."""
    return f"//{definition.hosts[0]}" if definition.hosts else prefix


def _compiled(definition: AppDefinition, config: Config, blocking: RouteKind, hosts: Hosts) -> _Compiler:
    """Return the compiler that has filled two routers with the tree of applications that begins with ``definition``."""
    routers = Router(config), Router(config)
    compiler = _Compiler(routers, blocking, config, (routers[0].root, routers[1].root), hosts)
    compiler.compile(definition)
    for router in routers:
        router.freeze()
    return compiler


@dataclass(slots=True)
class _Compiler:
    """Compiles one application into the two routers of its tree."""

    routers: tuple[Router, Router]
    """Those for HTTP and for WebSockets: ``routers[mark.takes_socket]``."""
    blocking: RouteKind
    config: Config
    nodes: tuple[Node, Node]
    """The application's node in each router."""
    hosts: Hosts
    """The applications with a host of their own, in the whole tree."""
    mounted: list[Mounted] = field(default_factory=list)
    """The mounts in the tree, or below the host, that the routers are for."""
    stated_names: dict[str, str] = field(default_factory=dict)
    """The paths of the tree's routes by the names that authors gave them."""

    def compile(self, definition: AppDefinition) -> None:
        """Add the routes of an application and of those inside it. Raises ``SetupError`` for the author's mistakes."""
        config = self.config
        config.providers.check()
        check_middlewares(config.providers, definition.middlewares, definition.ws_middlewares)
        config.tree.append(config)
        explicit = config.settings.expose == "explicit"
        package = type(definition.app).__module__.partition(".")[0]
        handlers = find_handlers(definition.app, definition.framework, explicit)
        is_lost = _lost_marks(handlers, definition.registered)
        _refuse_lost_attributes(definition, is_lost)
        _refuse_lost_functions(definition.registered, is_lost)
        for handler in handlers:
            self._add_handler(*handler)
            *_, inner = layers(handler.function)
            origin = getattr(inner, "__module__", package)
            if config.settings.debug and origin.partition(".")[0] != package:
                logger.info("%s/%s is a URL: its function is from %s", config.prefix, handler.name, origin)
        for function, mark in definition.registered.functions:
            self._add_explicit(function, mark, getattr(function, "__name__", type(function).__name__))
        for name, child in definition.children.items():
            self._add_child(name, child)
        for mount, shared in definition.mounts:
            self._add_mount(mount, shared)

    def _add_handler(self, name: str, function: Callable[..., object], marks: Sequence[RouteMark]) -> None:
        """Add a handler's explicit routes, and the one by its name if it has a mark without a path."""
        by_name = [mark for mark in marks if mark.path is None]
        for mark in marks:
            if mark.path is not None:
                self._add_explicit(function, mark, name)
        if by_name:
            methods = tuple(method for mark in by_name for method in mark.methods)
            self._add_name(name, function, by_name[0]._replace(methods=methods))

    def _add_name(self, name: str, function: Callable[..., object], mark: RouteMark) -> None:
        """Add a route that is found by its handler's name: a segment, or ``index`` and ``default``."""
        node, segment = self.nodes[mark.takes_socket], name
        if mark.takes_socket:
            name, segment = mark.name or name, name.removeprefix(SOCKET_PREFIX)
        prefix = self.config.prefix
        path = f"{prefix}/{segment}" if segment not in ("index", "default") else prefix or "/"
        name = self.config.scope + name
        route = Route(function, name, self.config, mark, path, self.blocking)
        if segment == "default":
            node.default = with_route(node.default, route.as_fallback())
            return
        if segment == "index":
            node.add(route)
            if route.most_segments:
                node.index = with_route(node.index, route.as_fallback())
        named = node.child(segment)
        named.add(route)
        named.arguments = with_route(named.arguments, route)
        self.config.names.add(name, quoted_address(path.rstrip("/")), takes_socket=mark.takes_socket)

    def _add_explicit(self, function: Callable[..., object], mark: RouteMark, name: str) -> None:
        pattern = mark.path or Pattern(f"/{name}")
        mark = mark._replace(path=pattern)
        config = self.config
        route_name, path = config.scope + (mark.name or name), config.prefix + pattern.text
        if mark.name is not None and self.stated_names.setdefault(route_name, path) != path:
            paths = f"{self.stated_names[route_name]} and {path}"
            raise SetupError(f"two routes state the name {mark.name!r}: {paths}; give one of them another name=...")
        config.names.add(route_name, quoted_address(config.prefix), pattern, takes_socket=mark.takes_socket)
        if hasattr(function, FINGERPRINT):
            config.names.fingerprints[route_name] = getattr(function, FINGERPRINT)
        if mark.hooks is not None:  # with threads of its own: it must answer while all others are busy
            config = replace(config, middlewares=[*mark.hooks], threads=Threads(_THREADS))
        route = Route(function, route_name, config, mark, path, self.blocking)
        self.nodes[mark.takes_socket].descend(pattern).add(route)

    def _add_child(self, name: str, definition: AppDefinition) -> None:
        outer = self.config
        prefix = _address(definition, f"{outer.prefix}/{name}")
        config = make_config(definition, outer, prefix, f"{outer.scope}{name}.", outer.shutdown)
        if definition.hosts:
            inner = _compiled(definition, config, self.blocking, self.hosts)
            site = Site(config, *inner.routers, inner.mounted)
            self.hosts += [(host, site) for host in definition.hosts]
            return
        nodes = self.nodes[0].child(name), self.nodes[1].child(name)
        for node in nodes:
            node.config = config
        replace(self, config=config, nodes=nodes).compile(definition)

    def _add_mount(self, mount: Mount, shared: AppDefinition | None) -> None:
        outer, prefix = self.config, self.config.prefix + mount.prefix
        if shared is not None:
            names = f"{outer.scope}{mount.prefix[1:].replace('/', '.')}."  # of routes: "api.v1." below "/api/v1"
            config = make_config(shared, outer, prefix, names, outer.shutdown)
            inner = _compiled(shared, config, self.blocking, self.hosts)
            self.mounted += [Site(config, *inner.routers), *inner.mounted]
        elif mount.prefix:
            self.mounted.append(MountRoute(mount, prefix, outer))
        else:
            outer.fallback = MountRoute(mount, prefix, outer)


# -- decorators that make no handler -----------------------------------------------------------------------------------

_NO_EFFECT = "the decorator of a route or a guard has no effect"
_IsLost: TypeAlias = Callable[[object], bool]


def _refuse_lost_attributes(definition: AppDefinition, is_lost: _IsLost) -> None:
    """Raise ``SetupError`` for a route or a guard that is lost in the body of a class or in an object.

    A method that a subclass replaces, or that is None in the object, is taken away on purpose.
    """
    app, framework = definition.app, definition.framework
    own = vars(app)
    classes = [cls for cls in reversed(type(app).__mro__) if cls not in framework]
    attributes = {name: (cls, value) for cls in classes for name, value in vars(cls).items()}
    for name, (cls, value) in attributes.items():
        instead = own.get(name, value)
        is_replaced = instead is not value and (instead is None or marks_of(instead))
        if not is_replaced and any(is_lost(one) and _is_written_in(cls, one) for one in _inside(value)):
            advice = _advice(name, value) if instead is value else f"give the attribute self.{name} another name"
            raise SetupError(f"{cls.__name__}.{name}: {_NO_EFFECT}; {advice}")
    for name, value in own.items():
        if is_lost(value) and not inspect.ismethod(value):
            raise SetupError(f"self.{name} of {type(app).__name__}: {_NO_EFFECT}; {_advice(name, value)}")
    for name, value in ({name: value for name, (_, value) in attributes.items()} | own).items():
        kind = type(value)
        has_routes = any(MARKS in _left_on(one) for one in vars(kind).values() if is_method(one))
        if has_routes and not isinstance(value, framework) and not name.startswith("_"):
            raise SetupError(f"{name} is no App, and its routes answer nothing: write class {kind.__name__}(App)")


def _refuse_lost_functions(registered: Registrations, is_lost: _IsLost) -> None:
    """Raise ``SetupError`` for a route or a guard of methods above a function that is registered as no handler, and for
    a method that is registered.
    """
    for function in filter(inspect.isfunction, (function for function, _ in registered.functions)):
        if function.__code__.co_varnames[:1] == ("self",):
            raise SetupError(f"{function.__qualname__} is a method: write micropie.get above it, and not app.get")
    others = (*registered.providers.values(), *registered.error_handlers.values())
    for function in filter(inspect.isfunction, (*registered.commands, *others)):
        if is_lost(function):
            raise SetupError(f"{function.__qualname__}: {_NO_EFFECT}; write @app.get or @app.route above a function")


def _lost_marks(found: Sequence[Handler], registered: Registrations) -> _IsLost:
    """Return a function of an object: whether a route or a guard is above it that is no handler's.

    Without a word a path would be 404, and a guard would guard nothing.
    """
    handlers = [*(handler.function for handler in found), *(function for function, _ in registered.functions)]
    routes = {id(mark) for handler in found for mark in handler.marks}
    guards = {id(_left_on(layer).get(REQUIRES)) for handler in handlers for layer in wrapped_by(handler)}

    def is_lost(value: object) -> bool:
        marks = _left_on(value)
        is_attribute = is_method(value) or not callable(value)  # and no application, which may be mounted
        is_idle = is_attribute and REQUIRES in marks and id(marks[REQUIRES]) not in guards
        return is_idle or any(id(mark) not in routes for mark in marks.get(MARKS, ()))

    return is_lost


def _left_on(value: object) -> dict[str, list[object]]:
    """Return the marks that decorators have left on an object itself."""
    marks: dict[str, list[object]] = getattr(value, "__dict__", {})
    return marks


def _inside(value: object) -> Iterator[object]:
    """Yield an attribute's value, and functions in it: that it wraps, of a property, that an object keeps."""
    yield from wrapped_by(value)
    yield from filter(inspect.isfunction, _left_on(value).values())


def _is_written_in(cls: type, value: object) -> bool:
    """Return whether a function is from the body of a class; True for an object that has no name."""
    name = getattr(value, "__qualname__", None)
    return name is None or (value.__module__, name.rpartition(".")[0]) == (cls.__module__, cls.__qualname__)


def _advice(name: str, value: object) -> str:
    if name.startswith("_"):
        return "give it a name without _ at the beginning"
    if is_hidden(value):
        return "leave @hidden or @command out"
    if not is_method(value):
        return f"a {type(value).__name__} is no function"
    return "write @get, @post or @route above all its other decorators"
