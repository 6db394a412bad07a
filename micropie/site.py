"""A tree of applications compiled into what flows and drivers are given: one frozen ``Site``.

Built at the first request, and anew when the author changes the tree afterwards. Whatever is wrong with it is a
``SetupError`` here, with a sentence that says what to write.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from micropie.error_handlers import ErrorHandler, ErrorKey
from micropie.errors import HTTPError, SetupError
from micropie.forms import Limits
from micropie.level import Level, Threads
from micropie.patterns import Pattern
from micropie.request import Request
from micropie.routing import Node, Resource, Route, RouteMark, Router, marks_of, public_handlers
from micropie.sessions import SessionBackend, SessionStore
from micropie.settings import Settings
from micropie.steps import BLOCK
from micropie.templates import Templates


@dataclass(slots=True)
class Branch:
    """One ``App`` of a tree as its author wrote it: what is compiled."""

    app: object
    framework: tuple[type, ...]
    """The classes whose methods are no handlers."""
    settings: dict[str, Any]
    session_backend: SessionBackend | None
    """None: that of the application around this one; the outermost has one."""
    middlewares: list[Any]
    error_handlers: dict[ErrorKey, ErrorHandler]
    functions: list[tuple[Callable[..., Any], RouteMark]]
    """Plain functions with an explicit route."""
    template_names: dict[str, Any]
    """What its templates see without being given it."""
    children: dict[str, Branch]


class Site:
    """A whole tree of applications, frozen. ``level`` is the outermost application's.

    ``exact[method][path]`` is the short cut for paths without arguments; ``find`` does the others.
    """

    __slots__ = ("exact", "find", "level", "router")

    def __init__(self, level: Level, router: Router) -> None:
        self.level = level
        self.router = router
        self.exact = router.exact
        self.find = router.find

    def level_of(self, request: Request) -> Level:
        """The level of a request that has no route: of the deepest application that its path leads into."""
        try:
            return self.router.level_of(request.segments())
        except HTTPError:  # a path that leads nowhere
            return self.level


def build_site(root: Branch, blocking: str = BLOCK) -> Site:
    """Compile a tree of applications. Raises ``SetupError`` for what can't be served.

    ``blocking`` is how ``def`` handlers run: by a step (BLOCK), or INLINE where the flow's thread may block.
    """
    builder = _Builder(blocking)
    level = _root_level(root)
    node = builder.add(root, level, "", "")
    return Site(level, Router(node, builder.explicit))


def _check_middlewares(branch: Branch) -> None:
    for middleware in branch.middlewares:
        if isinstance(middleware, type):
            raise SetupError(f"middlewares holds objects, not classes: append({middleware.__name__}())")
        if not _is_middleware(middleware):
            raise SetupError(
                f"{middleware!r} is no middleware: append an object with before_request or after_request, or a "
                "generator function, def or async def, with one yield in it"
            )


_HOOKS = ("before_request", "after_request", "before", "after")


def _is_middleware(value: Any) -> bool:
    if any(callable(getattr(value, name, None)) for name in _HOOKS):
        return True
    functions = [inspect.unwrap(value), vars(type(value)).get("__call__")] if callable(value) else []
    return any(inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) for function in functions)


def _root_level(root: Branch) -> Level:
    settings = Settings().overridden(root.settings)
    assert root.session_backend is not None  # noqa: S101
    store = _store(root.session_backend, settings, "")
    threads = Threads(settings.threads)
    return Level(
        settings,
        threads,
        _limits(settings),
        store,
        root.middlewares,
        root.error_handlers,
        root.app,
        "",
        _templates(root, settings),
        {},
    )


def _inner_level(branch: Branch, outer: Level, prefix: str) -> Level:
    settings = outer.settings.overridden(branch.settings)
    store = outer.sessions
    if branch.session_backend is not None:
        store = _store(branch.session_backend, settings, prefix)
    elif any(name.startswith("session_") for name in branch.settings):
        store = _store(store.backend, settings, store.prefix)
    handlers = {**outer.error_handlers, **branch.error_handlers}
    middlewares = _Chain(outer.middlewares, branch.middlewares)
    threads = Threads(settings.threads) if "threads" in branch.settings else outer.threads
    return Level(
        settings,
        threads,
        _limits(settings),
        store,
        middlewares,
        handlers,
        branch.app,
        prefix,
        _templates(branch, settings),
        outer.tree,
    )


def _store(backend: SessionBackend, settings: Settings, prefix: str) -> SessionStore:
    return SessionStore(
        backend,
        settings.session_timeout,
        id_factory=settings.session_id_factory,
        id_validator=settings.session_id_validator,
        secure=settings.session_cookie_secure,
        prefix=prefix,
    )


def _templates(branch: Branch, settings: Settings) -> Templates:
    names = {**branch.template_names, **settings.template_globals}
    return Templates(settings.templates, settings.template_filters, names, reload=settings.debug)


class _Chain:
    """Two lists of middleware as one, each as it is at the moment."""

    def __init__(self, outer: Iterable[Any], inner: Iterable[Any]) -> None:
        self._parts = (outer, inner)

    def __iter__(self) -> Iterator[Any]:
        return (middleware for part in self._parts for middleware in part)

    def __bool__(self) -> bool:
        return any(self._parts)


def _limits(settings: Settings) -> Limits:
    return Limits(
        max_form_field_size=settings.max_form_field_size,
        max_fields=settings.max_form_fields,
        max_files=settings.max_form_files,
    )


class _Builder:
    """Collects explicit routes while it makes a ``Node`` of each application."""

    def __init__(self, blocking: str) -> None:
        self._blocking = blocking
        self.explicit: list[Route] = []
        self._stated: dict[str, str] = {}

    def add(self, branch: Branch, level: Level, prefix: str, dotted: str) -> Node:
        _check_middlewares(branch)
        node = Node(level)
        level.tree.setdefault(id(branch.app), level)
        for name, function in public_handlers(branch.app, branch.framework).items():
            self._add_handler(node, name, function, marks_of(function), level, prefix, dotted)
        for function, mark in branch.functions:
            name = getattr(function, "__name__", type(function).__name__)
            self._add_explicit(function, mark, name, level, prefix, dotted)
        for name, child in branch.children.items():
            node.names.pop(name, None)
            below = f"{prefix}/{name}"
            node.children[name] = self.add(child, _inner_level(child, level, below), below, f"{dotted}{name}.")
        return node

    def _add_handler(
        self,
        node: Node,
        name: str,
        function: Callable[..., Any],
        marks: Sequence[RouteMark],
        level: Level,
        prefix: str,
        dotted: str,
    ) -> None:
        by_name = [mark for mark in marks if mark.path is None]
        for mark in marks:
            if mark.path is not None:
                self._add_explicit(function, mark, name, level, prefix, dotted)
        if by_name or not marks:
            methods = tuple(method for mark in by_name for method in mark.methods)
            resource = _resource(Route(function, dotted + name, level, methods, blocking=self._blocking))
            if name == "default":
                node.default = resource
            else:
                node.names[name] = resource
            if name == "index":
                node.index = resource

    def _add_explicit(
        self, function: Callable[..., Any], mark: RouteMark, name: str, level: Level, prefix: str, dotted: str
    ) -> None:
        pattern = Pattern(prefix + (mark.path or f"/{name}"))
        route_name = dotted + (mark.name or name)
        if mark.name is not None and self._stated.setdefault(route_name, pattern.text) != pattern.text:
            raise SetupError(f"two routes state the name {mark.name!r}: {self._stated[route_name]} and {pattern.text}")
        self.explicit.append(Route(function, route_name, level, mark.methods, pattern, self._blocking))


def _resource(route: Route) -> Resource:
    if not route.methods:
        return Resource(route)
    resource = Resource()
    resource.add(route, route.name)
    return resource
