"""Find the route for a method and a path in a tree, which is compiled once from what the author
defined.

Each ``Node`` of the tree represents the beginning of a path, and each step down represents one
segment. The names of handlers, the names of applications and the literal text of explicit routes
are all keys of ``literals``. Wildcards of explicit routes are ``branches``. The ``routes`` of a
node handle a path that ends there. A handler found by its name, ``default`` and ``index`` also take
further segments, as arguments.

The most specific route wins, whatever the order of definition. At each node, the search tries:

    1. the literal text,                    4. the segments as arguments of the handler that this node names,
    2. wildcards for one segment,           5. the application's ``default``, and its ``index`` if the path
    3. wildcards for several (``path``),       enters no inner application.

If one of these fails, the search goes back and tries the next. 2 and 3 are sorted by
``Segment.rank``, so in effect the first segment in which two routes differ decides between them. If
a route matches the path but not the method, the search goes on; if nothing else matches, the
response is a 405 that lists the methods of all such routes. ``default`` and ``index`` don't handle
a path that another handler of their application refused because of the method or the number of
arguments.

Finding a route takes time in proportion to the path's length, whatever the path is. A ``path``
wildcard ends at a fixed place, because a pattern has at most one and what follows it is counted
from the end. So the search visits each node at most once. At a node, it looks up one dictionary,
and each wildcard checks one segment, or the whole path once. The number of routes matters only if
many wildcards with different literal texts or expressions are at the same place, because they are
tried one after the other.

No attribute of an object is ever looked up by a name that a client sent.
"""  # noqa: E501

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeAlias, final

from micropie._core.errors import HTTPError, MethodNotAllowed, SetupError
from micropie._core.http.addresses import DOTS_AND_EMPTY
from micropie._core.routing.config import Config
from micropie._core.routing.discovery import Match, Pattern, match_text
from micropie._core.routing.routes import Route
from micropie._core.routing.settings import METHODS

if TYPE_CHECKING:
    from micropie._core.routing.listing import RouteEntry

# The result of a search: the route, the arguments from the path in order, and the arguments from
# the path by name.
RouteMatch: TypeAlias = tuple[Route, Sequence[Any], Mapping[str, object]]

NO_VALUES: Mapping[str, object] = {}

# An entry in the set of refused methods. It means that a handler found by its name takes fewer
# arguments than the path has.
_SURPLUS = ""


@final
class Refusal(NamedTuple):
    """The result of a search that finds no route: the error to respond with, and the config of the
    innermost application on the path.
    """

    error: HTTPError
    config: Config


_ONE_SEGMENT = sys.maxsize  # the ``tail`` of wildcards that match one segment


@final
class _Branch(NamedTuple):
    """A step to ``node`` by a segment with wildcards.

    ``tail``: how many segments of the pattern follow the ``path`` wildcard, or ``_ONE_SEGMENT`` if
    the segment has no such wildcard.
    """

    rank: tuple[int, ...]
    match: Match
    tail: int
    node: Node


class Node:
    """A place in the tree: the beginning of a path.

    ``config``: the config of the application whose path ends here, or None. ``routes``: the routes
    for the path that ends here, by method. Until the tree is complete, a route without declared
    methods has the key "". ``arguments`` is the route of the handler with the name of this node;
    ``default`` and ``index`` are the routes of those handlers of the application that begins here.
    These three take further segments as arguments. ``ways``: all these and the branches, once the
    tree is complete. They are tried from the last to the first.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = config
        self.literals: dict[str, Node] = {}
        self.branches: dict[Hashable, _Branch] = {}
        self.routes: dict[str, Route] = {}
        self.arguments: Route | None = None
        self.default: Route | None = None
        self.index: Route | None = None
        self.ways: Sequence[_Branch | Route] = ()

    def add(self, route: Route) -> None:
        """Add a route for the path that ends here.

        Raises ``SetupError`` if two routes would handle the same requests.
        """
        methods = route.methods or ("",)
        taken = [method for method in methods if method in self.routes]
        if taken:
            clash, other = f"{', '.join(taken)} {route.pattern}".lstrip(), self.routes[taken[0]]
            raise SetupError(
                f"{clash} is handled by both {other} and {route}: give one of them another path"
            )
        self.routes |= dict.fromkeys(methods, route)

    def complete(self) -> None:
        """Sort ``ways``. Register the route without declared methods for those of its methods that
        no other route here declares.

        The handler of GET also handles HEAD.
        """
        # Branches of equal rank stay in the order of their definition.
        branches = sorted(self.branches.values(), key=lambda branch: branch.rank)
        takers = filter(None, (self.index, self.default, self.arguments))
        self.ways = (*takers, *reversed(branches))
        others, states_head = self.routes.pop("", None), "HEAD" in self.routes
        if others is not None:
            self.routes = {**dict.fromkeys(others.answers, others), **self.routes}
        if "GET" in self.routes and not states_head:
            self.routes["HEAD"] = self.routes["GET"]

    def child(self, text: str) -> Node:
        """Return the child node for literal text; make it if there is none."""
        return self.literals.setdefault(text, Node())

    def descend(self, pattern: Pattern) -> Node:
        """Return the node at the end of a pattern; make the nodes that are missing."""
        node, following = self, len(pattern.segments)
        for segment in pattern.segments:
            following -= 1
            if segment.text is not None:
                node = node.child(segment.text)
                continue
            tail = following if segment.is_path else _ONE_SEGMENT
            # A longer tail is more specific, so it comes first.
            rank = (segment.is_path, *segment.rank, -tail)
            branch = _Branch(rank, segment.match, tail, Node())
            node = node.branches.setdefault((segment.key, tail), branch).node
        return node

    def answers(
        self, route: Route, method: str, segments: Sequence[str], depth: int, refused: set[str]
    ) -> bool:
        """Return whether a route of this node takes ``segments[depth:]`` as its arguments. If the
        route takes the path but not the method, add its methods to ``refused``.
        """
        takes_all = len(segments) - depth <= route.most_segments
        if route is not self.arguments:
            child = self.literals.get(segments[depth]) if depth < len(segments) else None
            leads_inside = child is not None and child.config is not None
            if refused or not takes_all or (leads_inside and route is self.index):
                return False
        if takes_all and method in route.answers:
            return True
        refused.update(route.answers if takes_all else (_SURPLUS,))
        return False

    def takers(self) -> Mapping[str, Route]:
        """Return the routes, by method, that take exactly one further segment of any text. Return
        {} if a more specific route might match.

        Call this only when the tree is complete.
        """
        if self.literals or not self.ways:
            return {}
        first = self.ways[-1]
        if isinstance(first, _Branch):
            return (
                first.node.routes
                if first.match is match_text and first.tail in (0, _ONE_SEGMENT)
                else {}
            )
        return dict.fromkeys(first.answers, first) if first is self.arguments else {}


class ByMethod(dict[str, dict[str | None, Route]]):
    """Routes by method and path. For a method without routes, which a client may send, it returns
    an empty dict.
    """

    def __missing__(self, method: str) -> Mapping[str | None, Route]:
        return _NO_ROUTES


_NO_ROUTES: Mapping[str | None, Route] = {}


class Router:
    """The nodes for a whole tree of applications.

    ``exact`` and ``below`` are short cuts for ``find``, by method: ``exact`` has whole paths
    without wildcards, and ``below`` has paths whose handlers take one more segment, of any text, as
    their argument. The paths in both have no trailing slash, like ``request.path``.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Node(config)
        self.has_routes = False
        # Whether any application in the tree has another application mounted at its root.
        self.has_fallbacks = False
        self.exact = ByMethod({method: {} for method in METHODS})
        self.below = ByMethod({method: {} for method in METHODS})

    def freeze(self, has_short_cuts: bool) -> Self:
        """Prepare for searching, when the tree is complete."""
        nodes = self._nodes()
        for node in nodes:
            node.complete()
        self.has_routes = any(node.routes or node.default is not None for node in nodes)
        self.has_fallbacks = any(
            node.config is not None and node.config.fallback is not None for node in nodes
        )
        if has_short_cuts:
            self._add_short_cuts()
        return self

    def _nodes(self) -> Sequence[Node]:
        nodes = [self.root]
        for node in nodes:  # the loop appends to the list
            nodes += [*node.literals.values(), *(branch.node for branch in node.branches.values())]
        return nodes

    def _add_short_cuts(self) -> None:
        places = [("", self.root)]
        for path, node in places:  # the loop appends to the list
            for method, route in node.routes.items():
                self.exact[method][path or "/"] = route
            for method, route in node.takers().items():
                if route.most_segments or route.by_position:
                    self.below[method][path] = route
            for text, child in node.literals.items():
                if "/" not in text and "\0" not in text and text not in DOTS_AND_EMPTY:
                    places.append((f"{path}/{text}", child))

    def drop_short_cuts(self, patterns: Iterable[str]) -> None:
        """Drop the entries of ``below`` that would also match one of the WebSocket ``patterns``."""
        for routes in self.below.values() if (found := [*patterns]) else ():
            for path in [*routes]:
                if any(pattern.startswith(f"{path}/") for pattern in found):
                    del routes[path]

    def find(self, method: str, segments: Sequence[str]) -> RouteMatch | Refusal:
        """Return the route for decoded segments, or a refusal with 404 or 405."""
        count, config = len(segments), self.config
        refused: set[str] = set()
        # A stack of the alternatives still to try: the node, one of its ``ways``, the number of
        # segments before it, and the values of their wildcards.
        left: list[tuple[Node, _Branch | Route, int, tuple[object, ...]]] = []
        node, depth = self.root, 0
        values: tuple[object, ...] = ()
        while depth < count or method not in node.routes:
            config = node.config or config
            for one in node.ways:
                left.append((node, one, depth, values))  # noqa: PERF401 - a comprehension is a call
            if depth == count:
                refused.update(node.routes)
            elif (child := node.literals.get(segments[depth])) is not None:
                node, depth = child, depth + 1
                continue
            while left:
                node, way, depth, values = left.pop()
                if type(way) is _Branch:
                    _, match, tail, following = way
                    end = depth + 1 if tail is _ONE_SEGMENT else max(depth + 1, count - tail)
                    text = "/".join(segments[depth:end])
                    if text and (more := match(text)) is not None:
                        node, depth, values = following, end, values + more
                        break
                elif node.answers(way, method, segments, depth, refused):
                    return way, segments[depth:], NO_VALUES
            else:
                refused.discard(_SURPLUS)
                error = MethodNotAllowed({*refused, "OPTIONS"}) if refused else HTTPError(404)
                return Refusal(error, config)
        route = node.routes[method]
        named = {} if route.by_position else dict(zip(route.wildcards, values, strict=True))
        return route, () if named else [*values], named

    def entries(self) -> list[RouteEntry]:
        """Return every route once, with the methods that it handles, sorted by path."""
        from micropie._core.routing.listing import RouteEntry  # imported only for listings

        entries: dict[int, RouteEntry] = {}
        for node in self._nodes():
            default = (
                {} if node.default is None else dict.fromkeys(node.default.answers, node.default)
            )
            for routes in (node.routes, default):
                for method, route in routes.items():
                    entry = entries.setdefault(id(route), RouteEntry(route, [], routes is default))
                    if method not in entry.methods:
                        # The route has an entry already: ``index`` handles two paths, with
                        # different methods.
                        entry.methods.append(method)
        return sorted(entries.values(), key=lambda entry: (entry.route.pattern, entry.methods))
