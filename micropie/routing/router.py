"""Find the route of a method and a path in tables that are compiled once from the author's definitions.

No attribute of an object is ever looked up by a name that a client sent. The order of precedence: mounts, explicit
routes (first those without wildcards, then in order of definition), names of methods, ``default``, ``index``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from micropie.errors import HTTPError, MethodNotAllowed, SetupError
from micropie.http.urls import DOTS_AND_EMPTY
from micropie.routing.config import AppConfig
from micropie.routing.patterns import ESCAPED_SLASH, Pattern
from micropie.routing.route import METHODS, Route


class Resource:
    """The handlers of one path: by method, and ``any`` for every other method."""

    __slots__ = ("any", "by_method")

    def __init__(self, any_method: Route | None = None) -> None:
        self.any = any_method
        self.by_method: dict[str, Route] = {}

    def add(self, route: Route, path: str) -> None:
        """Add a route. Raises ``SetupError`` if two routes would answer the same requests."""
        taken = [method for method in route.methods if method in self.by_method]
        if taken or (not route.methods and self.any is not None):
            other = self.by_method[taken[0]] if taken else self.any
            clash = f"{', '.join(taken)} {path}" if taken else path
            raise SetupError(f"{clash} is answered by both {other} and {route}: give one of them another path")
        if not route.methods:
            self.any = route
        for method in route.methods:
            self.by_method[method] = route

    def route_for(self, method: str) -> Route | None:
        """Return the handler for ``method``, or None. GET's handler also answers HEAD."""
        route = self.by_method.get(method, self.any)
        return self.by_method.get("GET") if route is None and method == "HEAD" else route

    @property
    def allowed(self) -> set[str]:
        """The methods that a 405 names: those of the handlers, HEAD beside GET, and OPTIONS."""
        head = {"HEAD"} if "GET" in self.by_method else set()
        return {*self.by_method, *head, "OPTIONS"}


# A resource whose path matches, with the path's segments and the wildcards' values that become arguments.
Match: TypeAlias = tuple[Resource, Sequence[str], Mapping[str, object]]

# A route chosen for the method, with the arguments that the path gives and the wildcards' values.
RouteMatch: TypeAlias = tuple[Route, Sequence[Any], Mapping[str, object]]

NO_VALUES: Mapping[str, object] = {}


class HandlerTree:
    """One ``App`` of a tree: its handlers by name and the applications inside it."""

    __slots__ = ("children", "config", "default", "index", "names")

    def __init__(self, config: AppConfig) -> None:
        self.config = config
        self.names: dict[str, Resource] = {}
        self.children: dict[str, HandlerTree] = {}
        self.index: Resource | None = None
        self.default: Resource | None = None

    def add(self, name: str, resource: Resource) -> None:
        """Add a handler by its name; ``index`` and ``default`` have a meaning besides."""
        if name == "default":
            self.default = resource
        else:
            self.names[name] = resource
        if name == "index":
            self.index = resource

    def find(self, segments: Sequence[str]) -> Match | None:
        """Return the match of a path, or None.

        In the deepest application that the path leads into, a name is tried, or ``index`` if no segment is left. Then
        follow the deepest ``default`` of those on the way, and that ``index`` if it takes the segments as arguments.
        """
        first = segments[0] if segments else None
        if first in self.names:  # the short cut of most paths: no inner application has this name
            return self.names[first], segments[1:], NO_VALUES
        trail = self.trail(segments)
        inner, rest = trail[-1], segments[len(trail) - 1 :]
        if rest and rest[0] in inner.names:
            return inner.names[rest[0]], rest[1:], NO_VALUES
        if not rest and inner.index is not None:
            return inner.index, (), NO_VALUES
        for depth in reversed(range(len(trail))):
            default = trail[depth].default
            if default is not None:
                return default, segments[depth:], NO_VALUES
        if inner.index is not None and _first_route(inner.index).plan.takes_path:
            return inner.index, rest, NO_VALUES
        return None

    def trail(self, segments: Sequence[str]) -> list[HandlerTree]:
        """Return this application and those inside it that a path leads into, the outermost first."""
        trail = [self]
        for segment in segments:
            child = trail[-1].children.get(segment)
            if child is None:
                break
            trail.append(child)
        return trail

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Resource]]:
        """Yield the path of every ``index`` and of every handler found by name, with its resource."""
        if self.index is not None:
            yield prefix or "/", self.index
        for name, resource in self.names.items():
            yield f"{prefix}/{name}", resource
        for name, child in self.children.items():
            yield from child.walk(f"{prefix}/{name}")


class Router:
    """The frozen tables of a whole tree of applications.

    ``exact`` and ``below`` are short cuts to what ``find`` returns: by method, whole paths without arguments, and paths
    whose handlers take one more segment as an argument. Both are for paths without a slash at the end, as
    ``request.path`` has none when hooks see it. ``routes`` are all routes by name, each with its path and its pattern,
    None for one that is found by the handler's name.
    """

    def __init__(self, root: HandlerTree, explicit: Sequence[Route]) -> None:
        self._root = root
        self._static: dict[str, Resource] = {}
        self._patterns: dict[str, tuple[Pattern, Resource]] = {}  # by shape, in order of definition
        self.routes: dict[str, tuple[str, Pattern | None]] = {}
        for path, resource in root.walk():
            self.routes.setdefault(_first_route(resource).name, (path, None))
        for route in explicit:
            pattern = route.pattern
            assert pattern is not None  # noqa: S101
            if pattern.literal is not None:
                self._static.setdefault(pattern.literal, Resource()).add(route, pattern.text)
            else:
                self._patterns.setdefault(pattern.shape, (pattern, Resource()))[1].add(route, pattern.text)
            self.routes.setdefault(route.name, (pattern.text, pattern))
        # The patterns that may match, by a path's first segment; under None those for all other first segments.
        firsts = {pattern.first_segment for pattern, _ in self._patterns.values()} | {None}
        self._by_first_segment = {
            first: [entry for entry in self._patterns.values() if entry[0].first_segment in (first, None)]
            for first in firsts
        }
        # The outermost names that no explicit route and no inner application can take from their handlers.
        taken = {path.split("/")[1] for path in self._static} | firsts | root.children.keys()
        has_rivals = bool(self._by_first_segment[None])
        self._plain_names = {
            name: resource for name, resource in root.names.items() if not has_rivals and name not in taken
        }
        self.exact = self._exact_table()
        self.below = self._below_table()

    def find(self, method: str, segments: Sequence[str]) -> RouteMatch:
        """Return the route for decoded segments. Raises 404 and 405."""
        resource = self._plain_names.get(segments[0]) if segments else None
        if resource is not None:
            rest = segments[1:]
            route = resource.route_for(method) if resource.by_method else resource.any
            if route is None:
                raise MethodNotAllowed(resource.allowed)
            if len(rest) > route.most_segments:
                raise HTTPError(404)
            return route, rest, NO_VALUES
        allowed: set[str] = set()
        for resource, rest, values in self._matches(segments):
            route = resource.route_for(method)
            if route is None:
                allowed |= resource.allowed
            elif len(rest) <= route.most_segments and not (allowed and route.is_fallback):
                if values and route.pattern is not None:
                    values = dict(zip(route.pattern.names, values.values(), strict=True))
                return route, rest, values
        if allowed:
            raise MethodNotAllowed(allowed)
        raise HTTPError(404)

    def _matches(self, segments: Sequence[str]) -> Iterator[Match]:
        """Yield the resources that a path matches, best first; a later one counts if those before lack the method."""
        if self._static or self._patterns:
            path = "/" + "/".join(segment.replace("/", ESCAPED_SLASH) for segment in segments)
            if path in self._static:
                yield self._static[path], (), NO_VALUES
            patterns = self._by_first_segment.get(segments[0] if segments else None)
            for pattern, resource in patterns if patterns is not None else self._by_first_segment[None]:
                values = pattern.match(path)
                if values is not None:
                    yield resource, (), values
        found = self._root.find(segments)
        if found is not None:
            yield found

    def config_of(self, segments: Sequence[str]) -> AppConfig:
        """Return the config of the deepest application that a path leads into."""
        return self._root.trail(segments)[-1].config

    def url_for(self, name: str, segments: Sequence[object], values: dict[str, object]) -> str:
        """Return the path of a route by its name. Raises ``LookupError`` for an unknown name, ``ValueError`` for values
        that the route would not match. Values that fill no wildcard become the query.
        """
        if name not in self.routes:
            raise LookupError(f"there is no route named {name!r}; there are: {', '.join(sorted(self.routes))}")
        path, pattern = self.routes[name]
        if pattern is not None:
            missing = [wildcard for wildcard in pattern.names if wildcard not in values]
            if missing or segments:
                raise ValueError(f"url_for({name!r}) takes {', '.join(f'{n}=...' for n in pattern.names) or 'nothing'}")
            path = pattern.fill(values)
        for segment in segments:
            text = str(segment)
            if text in DOTS_AND_EMPTY or ESCAPED_SLASH in text:
                raise ValueError(f"url_for({name!r}): {text!r} is no segment of a path")
            path = f"{path.rstrip('/')}/{quote(text, safe='')}"
        return path + (f"?{urlencode(values, doseq=True)}" if values else "")

    def _exact_table(self) -> dict[str, dict[str | None, Route]]:
        table: dict[str, dict[str | None, Route]] = {method: {} for method in METHODS}
        for path in [*(path for path, _ in self._root.walk()), *self._static]:
            segments = [segment for segment in path.split("/") if segment]
            for method, routes in table.items():
                with suppress(HTTPError):
                    route, rest, values = self.find(method, segments)
                    if not rest and not values:
                        routes[path] = route
        return table

    def _below_table(self) -> dict[str, dict[str, Route]]:
        table: dict[str, dict[str, Route]] = {method: {} for method in METHODS}
        for name, resource in self._plain_names.items():
            for method, routes in table.items():
                route = resource.route_for(method)
                if route is not None and route.most_segments:
                    routes[f"/{name}"] = route
        return table


def _first_route(resource: Resource) -> Route:
    """Return a route of a resource, which has at least one: for every method, or by method."""
    return resource.any or next(iter(resource.by_method.values()))
