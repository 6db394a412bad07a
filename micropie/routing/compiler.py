"""A tree of applications, compiled into its ``Site``.

That is done at the first request, and anew when the author changes the tree afterwards. Whatever is wrong with it is a
``SetupError`` here, with a sentence that says what to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from micropie.errors import SetupError
from micropie.execution.shutdown import ShutdownSignal
from micropie.execution.steps import HANDLER
from micropie.mounts.prefixes import Mount, dotted
from micropie.routing.config import AppConfig
from micropie.routing.discovery import SOCKET_PREFIX, find_handlers
from micropie.routing.inheritance import AppDefinition, child_config, root_config
from micropie.routing.patterns import Pattern
from micropie.routing.route import Route, RouteMark, marks_of
from micropie.routing.router import HandlerTree, Resource, Router
from micropie.routing.site import IsolatedMount, Mounted, MountedApp, MountingSite, MountRoute, Site


def build_site(root: AppDefinition, shutdown: ShutdownSignal, blocking: str = HANDLER) -> Site:
    """Compile a tree of applications. Raises ``SetupError`` for what can't be served.

    ``ending`` is what its streams of events are ended by. ``blocking`` is how ``def`` handlers run: by a step
    (HANDLER), or INLINE where the flow's thread may block.
    """
    builder = _Builder(blocking)
    config = root_config(root, shutdown)
    node, socket_node = builder.add(root, config, "", "")
    router, sockets = Router(node, builder.explicit), Router(socket_node, builder.explicit_sockets)
    if builder.mounted:
        return MountingSite(config, router, sockets, builder.mounted)
    return Site(config, router, sockets)


def _check_middlewares(definition: AppDefinition) -> None:
    for middleware in [*definition.middlewares, *definition.ws_middlewares]:
        if isinstance(middleware, type):
            raise SetupError(f"middlewares holds objects, not classes: append({middleware.__name__}())")
    for middleware in definition.ws_middlewares:
        if not any(callable(getattr(middleware, name, None)) for name in _SOCKET_HOOKS):
            raise SetupError(
                f"{middleware!r} is no WebSocket middleware: append an object with before_websocket or after_websocket"
            )
    for middleware in definition.middlewares:
        if not _is_middleware(middleware):
            raise SetupError(
                f"{middleware!r} is no middleware: append an object with before_request or after_request, or a "
                "generator function, def or async def, with one yield in it"
            )


_SOCKET_HOOKS = ("before_websocket", "after_websocket")
_HOOKS = ("before_request", "after_request", "before", "after")


def _is_middleware(value: Any) -> bool:
    if any(callable(getattr(value, name, None)) for name in _HOOKS):
        return True
    functions = [inspect.unwrap(value), vars(type(value)).get("__call__")] if callable(value) else []
    return any(inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) for function in functions)


class _Builder:
    """Collects explicit routes while it makes two ``Node`` of each application, one of them for WebSockets."""

    def __init__(self, blocking: str, base: str = "") -> None:
        self._blocking = blocking
        self._base = base  # where the outermost application of these tables is mounted
        self.explicit: list[Route] = []
        self.explicit_sockets: list[Route] = []
        self.mounted: list[tuple[str, Mounted]] = []
        self._stated: dict[str, str] = {}

    def add(
        self, definition: AppDefinition, config: AppConfig, prefix: str, outer_names: str
    ) -> tuple[HandlerTree, HandlerTree]:
        _check_middlewares(definition)
        node, sockets = HandlerTree(config), HandlerTree(config)
        config.tree.setdefault(id(definition.app), config)
        for name, function in find_handlers(definition.app, definition.framework).items():
            self._add_handler(node, name, function, marks_of(function), config, prefix, outer_names)
        for function, mark in definition.functions:
            self._add_explicit(function, mark, _name_of(function), config, prefix, outer_names)
        self._add_sockets(sockets, definition, config, prefix, outer_names)
        for name, child in definition.children.items():
            node.names.pop(name, None)
            sockets.names.pop(name, None)
            below = f"{prefix}/{name}"
            inner = child_config(child, config, self._base + below)
            nodes = self.add(child, inner, below, f"{outer_names}{name}.")
            node.children[name], sockets.children[name] = nodes
        for mount, shared in definition.mounts:
            self._add_mount(mount, shared, config, self._base + prefix + mount.prefix, outer_names)
        return node, sockets

    def _add_sockets(
        self, node: HandlerTree, definition: AppDefinition, config: AppConfig, prefix: str, outer_names: str
    ) -> None:
        for name, function in find_handlers(definition.app, definition.framework, sockets=True).items():
            if marks_of(function):
                raise SetupError(f"{name} answers WebSockets: write @websocket above it, and not @route, @get, @post")
            marks = marks_of(function, "__micropie_sockets__")
            for mark in marks or [RouteMark(None, (), None)]:
                self._add_socket(node, function, mark, name, config, prefix, outer_names)
        for function, mark in definition.socket_functions:
            self._add_socket(node, function, mark, _name_of(function), config, prefix, outer_names)

    def _add_socket(
        self,
        node: HandlerTree,
        function: Callable[..., Any],
        mark: RouteMark,
        name: str,
        config: AppConfig,
        prefix: str,
        outer_names: str,
    ) -> None:
        route_name = outer_names + (mark.name or name)
        if mark.path is not None:
            pattern = Pattern(prefix + mark.path)
            self._state_name(route_name, mark, pattern.text)
            self.explicit_sockets.append(Route(function, route_name, config, pattern=pattern, takes_socket=True))
        else:
            resource = Resource(Route(function, route_name, config, takes_socket=True))
            node.add(name.removeprefix(SOCKET_PREFIX), resource)

    def _add_mount(
        self, mount: Mount, shared: AppDefinition | None, config: AppConfig, prefix: str, outer_names: str
    ) -> None:
        if shared is None:
            self.mounted.append(
                (prefix, IsolatedMount(mount, prefix) if mount.isolated else MountRoute(mount, prefix, config))
            )
            return
        inner = child_config(shared, config, prefix)
        builder = _Builder(self._blocking, prefix)
        node, socket_node = builder.add(shared, inner, "", outer_names + dotted(mount.prefix))
        router, sockets = Router(node, builder.explicit), Router(socket_node, builder.explicit_sockets)
        self.mounted.append((prefix, MountedApp(prefix, inner, router, sockets)))
        self.mounted += builder.mounted

    def _add_handler(
        self,
        node: HandlerTree,
        name: str,
        function: Callable[..., Any],
        marks: Sequence[RouteMark],
        config: AppConfig,
        prefix: str,
        outer_names: str,
    ) -> None:
        by_name = [mark for mark in marks if mark.path is None]
        for mark in marks:
            if mark.path is not None:
                self._add_explicit(function, mark, name, config, prefix, outer_names)
        if by_name or not marks:
            methods = tuple(method for mark in by_name for method in mark.methods)
            placement = next((mark.run_in for mark in by_name if mark.run_in), None)
            resource = _resource(Route(function, outer_names + name, config, methods, None, self._blocking, placement))
            node.add(name, resource)

    def _add_explicit(
        self, function: Callable[..., Any], mark: RouteMark, name: str, config: AppConfig, prefix: str, outer_names: str
    ) -> None:
        pattern = Pattern(prefix + (mark.path or f"/{name}"))
        route_name = outer_names + (mark.name or name)
        self._state_name(route_name, mark, pattern.text)
        self.explicit.append(Route(function, route_name, config, mark.methods, pattern, self._blocking, mark.run_in))

    def _state_name(self, route_name: str, mark: RouteMark, path: str) -> None:
        if mark.name is not None and self._stated.setdefault(route_name, path) != path:
            raise SetupError(f"two routes state the name {mark.name!r}: {self._stated[route_name]} and {path}")


def _name_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _resource(route: Route) -> Resource:
    if not route.methods:
        return Resource(route)
    resource = Resource()
    resource.add(route, route.name)
    return resource
