"""Find the route of a method and a path in one tree, which is compiled once from the author's
definitions.

Each ``Node`` of the tree stands for one segment of a path, each way from the root for the beginning
of a path. A method's name, an application's name and the literal text of an explicit route are the
same kind of thing here: a key of ``literals``. Wildcards of explicit routes are ``branches``. The
``routes`` of a node answer a path that ends there; a handler found by its name, ``default`` and
``index`` also take the segments that follow as arguments.

The most specific route wins, whatever the order of definition. The search goes down the tree and
tries, at each node:

    1. the literal text,                    4. the segments as arguments of the handler that this node names,
    2. wildcards for one segment,           5. the application's ``default``, and its ``index`` if the path
    3. wildcards for several (``path``),       leads into no application inside of it.

It goes back and tries the next way where one fails. 2 and 3 are sorted by ``Segment.rank``, so in
effect the first segment in which two routes differ decides between them. A route that fits the path
but not the method lets the search go on, and its methods are named by the 405 at the end if nothing
else answers. ``default`` and ``index`` do not handle what another of their handlers has refused in
this way, or because it takes fewer arguments.

A look-up takes time in proportion to the path's length, whatever the path is: a ``path`` wildcard
ends at a fixed place (each pattern has one at most, so what follows it is counted from the path's
end), so every node is reached in one way only and is visited once at most. There a dictionary is
asked, and each wildcard looks at one segment, or at the path once. The number of routes counts only
where many wildcards with different literal text or expressions stand side by side: they are tried
one after the other.

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

# A route chosen for the method, the arguments that the path gives in order, and those that it gives
# by name.
RouteMatch: TypeAlias = tuple[Route, Sequence[Any], Mapping[str, object]]

NO_VALUES: Mapping[str, object] = {}

# among the methods that were refused: a handler by name takes fewer arguments than the path has
_SURPLUS = ""


@final
class Refusal(NamedTuple):
    """The result of a search that finds no route: the error to answer, and the config of the
    deepest application that the path leads into.
    """

    error: HTTPError
    config: Config


_ONE_SEGMENT = sys.maxsize  # of wildcards that match no more


@final
class _Branch(NamedTuple):
    """The way to ``node`` by a segment with wildcards.

    ``tail``: how many segments of the pattern follow the one with a ``path`` wildcard;
    ``_ONE_SEGMENT`` where the segment has none.
    """

    rank: tuple[int, ...]
    match: Match
    tail: int
    node: Node


class Node:
    """A place in the tree.

    ``config``: that of the application whose path ends here, None at any other place. ``routes``
    answer the path that ends here, by method; until the tree is complete by stated method, "" for
    the route that states none. ``arguments`` is the route of the handler that this place is named
    after, ``default`` and ``index`` are those of the application; they take the segments that
    follow. ``ways``: these and the branches when the tree is complete, the last to try first.
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

        Raises ``SetupError`` if two would answer the same requests.
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
        """Sort the ways on, and state the methods of the route that states none: what the others
        leave of its own.

        GET's handler also answers HEAD.
        """
        # of two alike the first comes first
        branches = sorted(self.branches.values(), key=lambda branch: branch.rank)
        takers = filter(None, (self.index, self.default, self.arguments))
        self.ways = (*takers, *reversed(branches))
        others, states_head = self.routes.pop("", None), "HEAD" in self.routes
        if others is not None:
            self.routes = {**dict.fromkeys(others.answers, others), **self.routes}
        if "GET" in self.routes and not states_head:
            self.routes["HEAD"] = self.routes["GET"]

    def child(self, text: str) -> Node:
        """Return the node that literal text leads to."""
        return self.literals.setdefault(text, Node())

    def descend(self, pattern: Pattern) -> Node:
        """Return the node that a pattern leads to."""
        node, following = self, len(pattern.segments)
        for segment in pattern.segments:
            following -= 1
            if segment.text is not None:
                node = node.child(segment.text)
                continue
            tail = following if segment.is_path else _ONE_SEGMENT
            # A longer tail is more text to compare, so it comes first.
            rank = (segment.is_path, *segment.rank, -tail)
            branch = _Branch(rank, segment.match, tail, Node())
            node = node.branches.setdefault((segment.key, tail), branch).node
        return node

    def answers(
        self, route: Route, method: str, segments: Sequence[str], depth: int, refused: set[str]
    ) -> bool:
        """Return whether a route of this place takes ``segments[depth:]`` as arguments, or add its
        methods to ``refused``.
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
        """Return the routes, by method, that take one more segment of any text if nothing more
        specific can be there.

        For a place in a tree that is complete.
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


class Router:
    """The tree of a whole tree of applications.

    ``exact`` and ``below`` are short cuts of ``find``: by method, whole paths without wildcards,
    and paths whose handlers take one more segment, of any text, as their argument. Both are for
    paths without a slash at the end, as ``request.path`` has none when hooks see it.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.root = Node(config)
        self.has_routes = False
        # whether an application is mounted at the root of one in the tree
        self.has_fallbacks = False
        self.exact: dict[str, dict[str, Route]] = {method: {} for method in METHODS}
        self.below: dict[str, dict[str, Route]] = {method: {} for method in METHODS}

    def freeze(self, has_short_cuts: bool) -> Self:
        """Prepare for the search, when the tree is complete."""
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
        for node in nodes:  # the list grows in the loop
            nodes += [*node.literals.values(), *(branch.node for branch in node.branches.values())]
        return nodes

    def _add_short_cuts(self) -> None:
        places = [("", self.root)]
        for path, node in places:  # the list grows in the loop
            for method, route in node.routes.items():
                self.exact[method][path or "/"] = route
            for method, route in node.takers().items():
                if route.most_segments or route.by_position:
                    self.below[method][path] = route
            for text, child in node.literals.items():
                if "/" not in text and "\0" not in text and text not in DOTS_AND_EMPTY:
                    places.append((f"{path}/{text}", child))

    def drop_short_cuts(self, patterns: Iterable[str]) -> None:
        """Drop those of ``below`` that may take a segment of the ``patterns`` of WebSockets."""
        for routes in self.below.values() if (found := [*patterns]) else ():
            for path in [*routes]:
                if any(pattern.startswith(f"{path}/") for pattern in found):
                    del routes[path]

    def find(self, method: str, segments: Sequence[str]) -> RouteMatch | Refusal:
        """Return the route for decoded segments, or the refusal by a 404 or a 405."""
        count, config = len(segments), self.config
        refused: set[str] = set()
        # The ways left to try, the next one last: from a node, which one, the segments before it,
        # their wildcards' values.
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
        """Return every route once, with the methods that it answers, in the order of its path."""
        from micropie._core.routing.listing import RouteEntry  # not before routes are listed

        entries: dict[int, RouteEntry] = {}
        for node in self._nodes():
            default = (
                {} if node.default is None else dict.fromkeys(node.default.answers, node.default)
            )
            for routes in (node.routes, default):
                for method, route in routes.items():
                    entry = entries.setdefault(id(route), RouteEntry(route, [], routes is default))
                    if method not in entry.methods:  # ``index`` answers at two places
                        entry.methods.append(method)
        return sorted(entries.values(), key=lambda entry: (entry.route.pattern, entry.methods))
