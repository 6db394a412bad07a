"""From a method and a path to a route: tables compiled once from what the author defined, then only looked up.

Nothing is ever looked up on an object by a name that a client sent. In order: mounts, explicit routes (those
without wildcards first, then in order of definition), the names of methods, ``default``, ``index``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

from micropie.errors import HTTPError, MethodNotAllowed, SetupError
from micropie.http.paths import DOTS_AND_EMPTY
from micropie.routing.config import AppConfig
from micropie.routing.patterns import ESCAPED_SLASH, Pattern
from micropie.routing.route import METHODS, Route


class Resource:
    """What one path has: handlers by method, or one for every method (``any``)."""

    __slots__ = ("any", "by_method")

    def __init__(self, any_method: Route | None = None) -> None:
        self.any = any_method
        self.by_method: dict[str, Route] = {}

    def add(self, route: Route, path: str) -> None:
        """Add an explicit route. Raises ``SetupError`` where two routes would answer the same."""
        taken = [method for method in route.methods if method in self.by_method]
        if taken or (not route.methods and self.any is not None):
            other = self.by_method[taken[0]] if taken else self.any
            what = f"{', '.join(taken)} {path}" if taken else path
            raise SetupError(f"{what} is answered by both {other} and {route}: give one of them another path")
        if not route.methods:
            self.any = route
        for method in route.methods:
            self.by_method[method] = route

    def choose(self, method: str) -> Route:
        """The handler for ``method``; raises 405 with what is allowed."""
        route = self.route_for(method)
        if route is None:
            raise MethodNotAllowed(self.allowed)
        return route

    def route_for(self, method: str) -> Route | None:
        """The handler for ``method``, if there is one."""
        route = self.by_method.get(method, self.any)
        return self.by_method.get("GET") if route is None and method == "HEAD" else route

    @property
    def allowed(self) -> set[str]:
        """The methods of a resource that states them."""
        head = {"HEAD"} if "GET" in self.by_method else set()
        return {*self.by_method, *head, "OPTIONS"}


# Where a path led: the resource, the segments and the wildcards' values that become arguments.
Match: TypeAlias = tuple[Resource, Sequence[str], dict[str, Any]]

_NO_VALUES: dict[str, Any] = {}


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
        """A handler by its name, two of which mean more."""
        if name == "default":
            self.default = resource
        else:
            self.names[name] = resource
        if name == "index":
            self.index = resource

    def find(self, segments: Sequence[str]) -> Match | None:
        """Walk down the applications, then: a name, the deepest ``default``, the deepest ``index``."""
        first = segments[0] if segments else None
        if first in self.children:
            return self._find_below(segments)
        if first in self.names:
            return self.names[first], segments[1:], _NO_VALUES
        return self._find_other([self], segments)

    def _find_below(self, segments: Sequence[str]) -> Match | None:
        trail = [self]
        for segment in segments:
            child = trail[-1].children.get(segment)
            if child is None:
                break
            trail.append(child)
        rest = segments[len(trail) - 1 :]
        if rest and rest[0] in trail[-1].names:
            return trail[-1].names[rest[0]], rest[1:], _NO_VALUES
        return self._find_other(trail, segments)

    @staticmethod
    def _find_other(trail: list[HandlerTree], segments: Sequence[str]) -> Match | None:
        """What no name took; ``trail`` is the applications on the way, the outermost first."""
        node, rest = trail[-1], segments[len(trail) - 1 :]
        if not rest and node.index is not None:
            return node.index, (), _NO_VALUES
        for depth in reversed(range(len(trail))):
            fallback = trail[depth].default
            if fallback is not None:
                return fallback, segments[depth:], _NO_VALUES
        if node.index is not None and resource_route(node.index).plan.takes_path:
            return node.index, rest, _NO_VALUES
        return None

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Resource]]:
        """Every path that needs no arguments, with its resource."""
        if self.index is not None:
            yield prefix or "/", self.index
        for name, resource in self.names.items():
            yield f"{prefix}/{name}", resource
        for name, child in self.children.items():
            yield from child.walk(f"{prefix}/{name}")


class Router:
    """The frozen tables of a whole tree of applications."""

    def __init__(self, root: HandlerTree, explicit: Sequence[Route]) -> None:
        self._root = root
        self._static: dict[str, Resource] = {}
        self._patterns: dict[str, tuple[Pattern, Resource]] = {}  # by shape, in order of definition
        for route in explicit:
            self._add(route)
        self._by_first_segment = self._sorted_patterns()
        self._plain_names = self._names_without_rivals()
        self.exact = self._exact_table()
        self.below = self._below_table()
        self.routes = self._named_routes(explicit)

    def find(self, method: str, segments: Sequence[str]) -> tuple[Route, Sequence[str], dict[str, Any]]:
        """Where decoded segments lead; raises 404 and 405."""
        resource = self._plain_names.get(segments[0]) if segments else None
        if resource is not None:
            rest, values = segments[1:], _NO_VALUES
            route = resource.choose(method) if resource.by_method else resource.any
            if route is None or len(rest) > route.most_segments:
                raise HTTPError(404)
            return route, rest, values
        allowed: set[str] = set()
        for resource, rest, values in self._candidates(segments):
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

    def _candidates(self, segments: Sequence[str]) -> Iterator[Match]:
        """What a path may mean, best first; the next counts if the one before does not answer the method."""
        if self._static or self._patterns:
            yield from self._find_explicit(segments)
        found = self._root.find(segments)
        if found is not None:
            yield found

    def config_of(self, segments: Sequence[str]) -> AppConfig:
        """The level of the deepest application that a path leads into."""
        node = self._root
        for segment in segments:
            if segment not in node.children:
                break
            node = node.children[segment]
        return node.config

    def url_for(self, name: str, segments: Sequence[Any], values: dict[str, Any]) -> str:
        """The path of a route by its name. Raises ``LookupError`` and ``ValueError`` with a sentence."""
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

    def _add(self, route: Route) -> None:
        pattern = route.pattern
        assert pattern is not None  # noqa: S101
        if pattern.literal is not None:
            self._static.setdefault(pattern.literal, Resource()).add(route, pattern.text)
        else:
            self._patterns.setdefault(pattern.shape, (pattern, Resource()))[1].add(route, pattern.text)

    def _sorted_patterns(self) -> dict[str | None, list[tuple[Pattern, Resource]]]:
        """The patterns that may match, by a path's first segment; under None those for every other one."""
        firsts = {pattern.first_segment for pattern, _ in self._patterns.values()} | {None}
        return {
            first: [entry for entry in self._patterns.values() if entry[0].first_segment in (first, None)]
            for first in firsts
        }

    def _find_explicit(self, segments: Sequence[str]) -> Iterator[Match]:
        path = "/" + "/".join(segment.replace("/", ESCAPED_SLASH) for segment in segments)
        if path in self._static:
            yield self._static[path], (), _NO_VALUES
        candidates = self._by_first_segment.get(segments[0] if segments else None)
        for pattern, resource in candidates if candidates is not None else self._by_first_segment[None]:
            values = pattern.match(path)
            if values is not None:
                yield resource, (), values

    def _names_without_rivals(self) -> dict[str, Resource]:
        """The outermost names that no explicit route and no inner application could take from their methods."""
        firsts = {path.split("/")[1] for path in self._static} | self._by_first_segment.keys()
        if self._by_first_segment.get(None):
            return {}
        taken = firsts | self._root.children.keys()
        return {name: resource for name, resource in self._root.names.items() if name not in taken}

    def _exact_table(self) -> dict[str, dict[str | None, Route]]:
        """By method, whole paths that need no walk: one look-up finds what ``find`` would, end slash or not."""
        table: dict[str, dict[str | None, Route]] = {method: {} for method in METHODS}
        for path in [*(path for path, _ in self._root.walk()), *self._static]:
            segments = [segment for segment in path.split("/") if segment]
            for method, routes in table.items():
                with suppress(HTTPError):
                    route, rest, values = self.find(method, segments)
                    if not rest and not values:
                        routes[path] = routes[path.rstrip("/") + "/"] = route
        return table

    def _below_table(self) -> dict[str, dict[str, Route]]:
        """By method, the paths of names that one segment may follow: one look-up finds what ``find`` would."""
        table: dict[str, dict[str, Route]] = {method: {} for method in METHODS}
        for name, resource in self._plain_names.items():
            for method, routes in table.items():
                route = resource.route_for(method)
                if route is not None and route.most_segments:
                    routes[f"/{name}"] = route
        return table

    def _named_routes(self, explicit: Sequence[Route]) -> dict[str, tuple[str, Pattern | None]]:
        routes: dict[str, tuple[str, Pattern | None]] = {}
        for path, resource in self._root.walk():
            routes.setdefault(resource_route(resource).name, (path, None))
        for route in explicit:
            assert route.pattern is not None  # noqa: S101
            routes.setdefault(route.name, (route.pattern.text, route.pattern))
        return routes


def resource_route(resource: Resource) -> Route:
    """The handler of a resource that was found by name: it has one, for every method or for some."""
    return resource.any or next(iter(resource.by_method.values()))
