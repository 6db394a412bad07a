"""Find the route of a method and a path in one tree, which is compiled once from the author's definitions.

Each ``Node`` of the tree stands for one segment of a path, each way from the root for the beginning of a path. A
method's name, an application's name and the literal text of an explicit route are the same kind of thing here: a key of
``literals``. Wildcards of explicit routes are ``branches``. The ``resource`` of a node answers a path that ends there;
a handler found by its name, ``default`` and ``index`` also take the segments that follow as arguments.

The most specific route wins, whatever the order of definition. The search goes down the tree and tries, at each node:

    1. the literal text,                    4. the segments as arguments of the handler that this node names,
    2. wildcards for one segment,           5. the application's ``default``, and its ``index`` if the path
    3. wildcards for several (``path``),       leads into no application inside of it.

It goes back and tries the next way where one fails. 2 and 3 are sorted by ``Segment.rank``, so in effect the first
segment in which two routes differ decides between them. A route that fits the path but not the method lets the search
go on, and its methods are named by the 405 at the end if nothing else answers. ``default`` and ``index`` do not answer
what another handler of theirs has refused in this way, or because it takes fewer arguments.

A look-up takes time in proportion to the path's length, whatever the path is: a ``path`` wildcard ends at a fixed place
(each pattern has one at most, so what follows it is counted from the path's end), so every node is reached in one way
only and is visited once at most. There a dictionary is asked, and each wildcard looks at one segment, or at the path
once. The number of routes counts only where many wildcards with different literal text or expressions stand side by
side: they are tried one after the other.

No attribute of an object is ever looked up by a name that a client sent.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeAlias

from micropie.errors import HTTPError, MethodNotAllowed, SetupError
from micropie.http import DOTS_AND_EMPTY
from micropie.routing.config import Config
from micropie.routing.patterns import Match, Pattern, match_text
from micropie.routing.routes import Route, RouteEntry
from micropie.routing.settings import METHODS

# A route chosen for the method, the arguments that the path gives in order, and those that it gives by name.
RouteMatch: TypeAlias = tuple[Route, Sequence[Any], Mapping[str, object]]

NO_VALUES: Mapping[str, object] = {}

_SURPLUS = ""  # among the methods that were refused: a handler by name takes fewer arguments than the path has


class Resource:
    """The handlers of one path: ``routes`` by method.

    A route that states its methods comes before the one that states none and answers those of the setting. GET's
    handler also answers HEAD. ``most_segments``: how many further segments of a path one of them takes as arguments.
    """

    def __init__(self) -> None:
        self._added: dict[str, Route] = {}  # by stated method, "" for the one that states none
        self.routes: dict[str, Route] = {}
        self.most_segments = 0

    def add(self, route: Route) -> None:
        """Add a route. Raises ``SetupError`` if two routes would answer the same requests."""
        methods = route.methods or ("",)
        taken = [method for method in methods if method in self._added]
        if taken:
            clash, other = f"{', '.join(taken)} {route.pattern}".lstrip(), self._added[taken[0]]
            raise SetupError(f"{clash} is answered by both {other} and {route}: give one of them another path")
        self._added |= dict.fromkeys(methods, route)
        stated = {**self._added}
        any_route = stated.pop("", None)
        others = dict.fromkeys(any_route.config.settings.methods, any_route) if any_route is not None else {}
        self.routes = {**others, **stated}
        if "GET" in self.routes and "HEAD" not in stated:
            self.routes["HEAD"] = self.routes["GET"]
        self.most_segments = max(self.most_segments, route.most_segments)

    def pick(self, method: str, refused: set[str], count: int = 0) -> Route | None:
        """Return the route for a method and ``count`` further segments, or add the methods that a 405 names to
        ``refused``.
        """
        route = self.routes.get(method)
        if route is not None and count <= route.most_segments:
            return route
        others = {other for other, one in self.routes.items() if count <= one.most_segments}
        refused |= {*others, "OPTIONS"} if others else {_SURPLUS}
        return None


class _Branch(NamedTuple):
    """The way to ``node`` by a segment with wildcards; ``tail`` is how many segments follow a ``path`` wildcard."""

    rank: tuple[int, ...]
    match: Match
    tail: int | None  # None for a single segment
    node: Node


class Node:
    """A place in the tree.

    ``config``: that of the application whose path ends here, None at any other place. ``resource`` answers the path
    that ends here. ``arguments`` is the handler that this place is named after, ``default`` and ``index`` are those of
    the application; they take the segments that follow. ``branches`` are sorted when the tree is complete.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config
        self.literals: dict[str, Node] = {}
        self.resource = Resource()
        self.arguments = Resource()
        self.default = Resource()
        self.index = Resource()
        self.branches: dict[Hashable, _Branch] = {}

    def child(self, text: str) -> Node:
        """Return the node that literal text leads to."""
        if text not in self.literals:
            self.literals[text] = Node()
        return self.literals[text]

    def descend(self, pattern: Pattern) -> Node:
        """Return the node that a pattern leads to."""
        node = self
        for following, segment in zip(reversed(range(len(pattern.segments))), pattern.segments, strict=True):
            if segment.text is not None:
                node = node.child(segment.text)
                continue
            tail = following if segment.is_path else None
            key = segment.key, tail
            if key not in node.branches:
                # A longer tail is more text to compare, so it comes first.
                rank = (0, *segment.rank) if tail is None else (1, *segment.rank, -tail)
                node.branches[key] = _Branch(rank, segment.match, tail, Node())
            node = node.branches[key].node
        return node


class Router:
    """The tree of a whole tree of applications.

    ``exact`` and ``below`` are short cuts of ``find``: by method, whole paths without wildcards, and paths
    whose handlers take one more segment, of any text, as their argument. Both are for paths without a slash at the end,
    as ``request.path`` has none when hooks see it.
    """

    def __init__(self, config: Config) -> None:
        self.root = Node(config)
        self.has_fallbacks = False  # whether an application is mounted at the root of one in the tree
        self.exact: dict[str, dict[str, Route]] = {method: {} for method in METHODS}
        self.below: dict[str, dict[str, Route]] = {method: {} for method in METHODS}

    def freeze(self) -> Self:
        """Prepare for the search, when the tree is complete: sort the ways from each node, fill the short cuts."""
        nodes: list[tuple[str | None, Node]] = [("", self.root)]  # with their paths, None where no short cut leads
        while nodes:
            path, node = nodes.pop()
            self.has_fallbacks = self.has_fallbacks or (node.config is not None and node.config.fallback is not None)
            node.branches = dict(sorted(node.branches.items(), key=lambda item: item[1].rank))
            nodes += [(None, branch.node) for branch in node.branches.values()]
            for text, child in node.literals.items():
                is_cut = path is None or "/" in text or "\0" in text or text in DOTS_AND_EMPTY
                nodes.append((None if is_cut else f"{path}/{text}", child))
            if path is not None:
                self._add_short_cuts(path, node)
        return self

    def _add_short_cuts(self, path: str, node: Node) -> None:
        taker: Resource | None = node.arguments  # of one more segment, if nothing more specific can be there
        if node.branches:
            first = next(iter(node.branches.values()))
            taker = first.node.resource if first.match is match_text and not first.tail else None
        for method in METHODS:
            route = node.resource.routes.get(method)
            if route is not None:
                self.exact[method][path or "/"] = route
            route = taker.routes.get(method) if taker is not None and not node.literals else None
            if route is not None and (route.most_segments or route.by_position):
                self.below[method][path] = route

    def find(self, method: str, segments: Sequence[str]) -> RouteMatch:
        """Return the route for decoded segments. Raises 404 and 405."""
        refused: set[str] = set()
        found = _walk(self.root, 0, (), segments, method, refused)
        if found is not None:
            return found
        refused.discard(_SURPLUS)
        raise MethodNotAllowed(refused) if refused else HTTPError(404)

    def entries(self) -> list[RouteEntry]:
        """Return every route once, with the methods that it answers, in the order of its path."""
        entries: dict[int, RouteEntry] = {}
        nodes = [self.root]
        while nodes:
            node = nodes.pop()
            nodes += [*node.literals.values(), *(branch.node for branch in node.branches.values())]
            for resource in (node.resource, node.default):
                for method, route in resource.routes.items():
                    entry = entries.setdefault(id(route), RouteEntry(route, [], resource is node.default))
                    if method not in entry.methods:  # ``index`` answers at two places
                        entry.methods.append(method)
        return sorted(entries.values(), key=lambda entry: (entry.route.pattern, entry.methods))

    def config_of(self, segments: Sequence[str]) -> Config:
        """Return the config of the deepest application that a path leads into."""
        node = self.root
        for segment in segments:
            child = node.literals.get(segment)
            if child is None or child.config is None:
                break
            node = child
        assert node.config is not None  # noqa: S101
        return node.config


def _walk(
    node: Node, depth: int, values: tuple[object, ...], segments: Sequence[str], method: str, refused: set[str]
) -> RouteMatch | None:
    """Return the best route from ``node`` on for ``segments[depth:]``, or None.

    ``values`` are those of the wildcards on the way to ``node``. The methods of routes that fit the path but not the
    method are added to ``refused``.
    """
    child = None
    found: RouteMatch | None = None
    if depth == len(segments):
        route = node.resource.pick(method, refused) if node.resource.routes else None
        if route is not None:
            named = {} if route.by_position else dict(zip(route.wildcards, values, strict=True))
            found = route, () if named else [*values], named or NO_VALUES
    else:
        child = node.literals.get(segments[depth])
        found = _walk(child, depth + 1, values, segments, method, refused) if child is not None else None
        if found is None and node.branches:
            found = _walk_branches(node, depth, values, segments, method, refused)
        if found is None and node.arguments.routes:
            route = node.arguments.pick(method, refused, len(segments) - depth)
            found = (route, segments[depth:], NO_VALUES) if route is not None else None
    if found is None and (node.default.routes or node.index.routes):
        found = _fall_back(node, child, depth, segments, method, refused)
    return found


def _walk_branches(
    node: Node, depth: int, values: tuple[object, ...], segments: Sequence[str], method: str, refused: set[str]
) -> RouteMatch | None:
    """Do the part of ``_walk`` for wildcards, if at least one segment is left."""
    for _, match, tail, branch in node.branches.values():
        end = depth + 1 if tail is None else len(segments) - tail
        if end > depth:
            more = match(segments[depth] if tail is None else "/".join(segments[depth:end]))
            if more is not None:
                found = _walk(branch, end, values + more, segments, method, refused)
                if found is not None:
                    return found
    return None


def _fall_back(
    node: Node, child: Node | None, depth: int, segments: Sequence[str], method: str, refused: set[str]
) -> RouteMatch | None:
    """Do the last part of ``_walk``: ``default`` and ``index``. ``child`` is where the next segment leads."""
    leads_inside = child is not None and child.config is not None
    for resource in (node.default,) if leads_inside else (node.default, node.index):
        if resource.routes and not refused and len(segments) - depth <= resource.most_segments:
            route = resource.pick(method, refused, len(segments) - depth)
            if route is not None:
                return route, segments[depth:], NO_VALUES
    return None
