"""Find the route for a method and a path in a tree, which is compiled once from the application's
handlers and routes.

Each ``Node`` of the tree represents the beginning of a path, and each step down represents one
segment. The names of handlers, the names of applications and the literal text of explicit routes
are all keys of ``literals``. Wildcards of explicit routes are ``branches``. The ``routes`` of a
node handle a path that ends there. A handler found by its name, ``default`` and ``index`` also take
further segments, as arguments.

The most specific route wins, whatever the order of definition. At each node, the search tries:

    1. the literal text,
    2. wildcards for one segment,
    3. wildcards for several segments (``path``),
    4. the segments as arguments of the handler that this node names,
    5. the application's ``default``, and its ``index`` if the path enters no inner application.

If one of these fails, the search goes back and tries the next. Steps 2 and 3 try the wildcards in
the order of ``Segment.rank``, so the first segment in which two routes differ decides between them.
If a route matches the path but not the method, the search goes on; if nothing else matches, the
response is a 405 that lists the methods of all such routes. ``default`` and ``index`` don't handle
a path that another handler of their application refused because of the method or the number of
arguments.

Finding a route takes time in proportion to the path's length, whatever the path is. A ``path``
wildcard can end at one segment only, because a pattern has at most one such wildcard, and the
segments after it are counted from the end of the path. So the search visits each node at most once.
At a node, it looks up one key in a dictionary. Each wildcard checks its segment once, and a
``path`` wildcard checks the rest of the path once.
The number of routes matters only if one node has many wildcards with different literal texts or
expressions, because these are tried one after the other.

No attribute of an object is ever looked up by a name that a client sent.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias, final

from micropie._core.errors import HTTPError, MethodNotAllowed, SetupError
from micropie._core.http.addresses import DOTS_AND_EMPTY
from micropie._core.http.settings import METHODS
from micropie._core.routing.config import Config
from micropie._core.routing.discovery import Match, Pattern, match_text
from micropie._core.routing.routes import Refusal, Route

if TYPE_CHECKING:
    from micropie._core.routing.listing import RouteEntry

# The result of a search: the route, the arguments from the path in order, and the arguments from
# the path by name.
RouteMatch: TypeAlias = tuple[Route, Sequence[Any], Mapping[str, object]]

NO_VALUES: Mapping[str, object] = {}

# The methods for which ``exact`` has no routes. ``respond`` notes them where it searches for one,
# because their responses differ from that to a GET.
SEARCHED = "HEAD", "OPTIONS"

# The search adds ``_SURPLUS`` to the set of refused methods if the path has more segments than a
# handler found by its name takes as arguments.
_SURPLUS = ""


@final
@dataclass(slots=True)
class _Branch:
    """An edge to ``node``, for a segment with wildcards.

    - ``rank``: branches with a lower rank are tried first.
    - ``match``: matches the segment.
    """

    rank: tuple[int, ...]
    match: Match
    node: Node


@final
@dataclass(slots=True)
class _PathBranch:
    """A ``_Branch`` for one or more segments, with a ``path`` wildcard.

    - ``tail``: how many segments of the pattern follow.
    """

    rank: tuple[int, ...]
    match: Match
    node: Node
    tail: int


# The ways on from a node, the most specific first: a way and the rest, or None if there is none.
_Way: TypeAlias = "_Branch | _PathBranch | Route"
_Ways: TypeAlias = "tuple[_Way, _Ways] | None"


class Node:
    """A node of the tree: the beginning of a path.

    - ``refusal``: the ``Refusal`` of the application whose path ends here, or None.
    - ``literals``: the child nodes for literal text, as a dict by that text.
    - ``branches``: the edges for segments with wildcards.
    - ``routes``: the routes for the path that ends here, as a dict by method. Until the tree is
      complete, a route without declared methods has the key "".

    Three routes take the rest of the path as arguments:

    - ``arguments``: the route of the handler that has the name of this node.
    - ``default``: the route of the handler ``default`` of the application that begins here.
    - ``index``: the route of the handler ``index`` of the application that begins here.

    ``ways`` contains these three routes and the branches, once the tree is complete.
    """

    def __init__(self, refusal: Refusal | None = None) -> None:
        self.refusal = refusal
        self.literals: dict[str, Node] = {}
        self.branches: dict[Hashable, _Branch | _PathBranch] = {}
        self.routes: dict[str, Route] = {}
        self.arguments: Route | None = None
        self.default: Route | None = None
        self.index: Route | None = None
        self.ways: _Ways = None

    def add(self, route: Route) -> None:
        """Add a route for the path that ends here.

        Raises ``SetupError`` if two routes would handle the same requests.
        """
        methods = route.methods or ("",)
        taken = [method for method in methods if method in self.routes]
        if taken:
            clash, other = f"{', '.join(taken)} {route.pattern}".lstrip(), self.routes[taken[0]]
            raise SetupError(
                f"both {other} and {route} handle {clash}: give one of them another path"
            )
        self.routes |= dict.fromkeys(methods, route)

    def complete(self) -> None:
        """Sort the routes and branches into ``ways``. Replace the key "" in ``routes`` with a key
        for each method that its route handles, unless another route of this node declares that
        method.

        The handler for GET also handles HEAD, unless another handler does.
        """
        # Branches of equal rank stay in the order of their definition.
        branches = sorted(self.branches.values(), key=lambda branch: branch.rank)
        takers = filter(None, (self.index, self.default, self.arguments))
        ways: list[_Way] = [*takers, *reversed(branches)]
        for way in ways:
            self.ways = way, self.ways
        others, states_head = self.routes.pop("", None), "HEAD" in self.routes
        if others is not None:
            self.routes = {**dict.fromkeys(others.handled, others), **self.routes}
        if "GET" in self.routes and not states_head:
            self.routes["HEAD"] = self.routes["GET"]

    def child(self, text: str) -> Node:
        """Return the child node for literal text. Create it if there is none."""
        return self.literals.setdefault(text, Node())

    def descend(self, pattern: Pattern) -> Node:
        """Return the node at the end of a pattern. Create the nodes that are missing."""
        node, following = self, len(pattern.segments)
        for segment in pattern.segments:
            following -= 1
            if segment.text is not None:
                node = node.child(segment.text)
                continue
            branch: _Branch | _PathBranch
            rank, match = (segment.is_path, *segment.rank), segment.match
            if segment.is_path:
                # The more segments follow, the more specific the wildcard is, so it comes first.
                branch = _PathBranch((*rank, -following), match, Node(), following)
            else:
                branch = _Branch(rank, match, Node())
            key = segment.key, segment.is_path and following
            node = node.branches.setdefault(key, branch).node
        return node

    def handles(
        self, route: Route, method: str, segments: Sequence[str], depth: int, refused: set[str]
    ) -> bool:
        """Return whether a route of this node handles the request, with ``segments[depth:]`` as its
        arguments. If the route doesn't handle the method, add its methods to ``refused``. If the
        route takes fewer arguments, add ``_SURPLUS``.
        """
        takes_all = len(segments) - depth <= route.most_segments
        if route is not self.arguments:
            child = self.literals.get(segments[depth]) if depth < len(segments) else None
            leads_inside = child is not None and child.refusal is not None
            if refused or not takes_all or (leads_inside and route is self.index):
                return False
        if takes_all and method in route.handled:
            return True
        refused.update(route.handled if takes_all else (_SURPLUS,))
        return False

    def takers(self) -> Mapping[str, Route]:
        """Return the routes that match any single segment after this node, as a dict by method.
        Return {} if a more specific route could match such a segment.

        Call this only when the tree is complete.
        """
        if self.literals or self.ways is None:
            return {}
        first = self.ways[0]
        if not isinstance(first, Route):
            takes_one = isinstance(first, _Branch) or first.tail == 0
            return first.node.routes if first.match is match_text and takes_one else {}
        return dict.fromkeys(first.handled, first) if first is self.arguments else {}


class ByMethod(dict[str, dict[str | None, Route]]):
    """Routes by method and path. For a method without routes, the value is an empty dict, because
    clients may send any method.
    """

    def __missing__(self, method: str) -> Mapping[str | None, Route]:
        return _NO_ROUTES


_NO_ROUTES: Mapping[str | None, Route] = {}


class Router:
    """The routes of a whole tree of applications, in a tree of nodes.

    ``exact`` and ``below`` are short cuts for ``find``: dicts of routes by method and path. The
    paths have no trailing slash, like ``request.path``.

    - ``exact``: the routes of paths without wildcards.
    - ``below``: the routes that take any single segment after the path as their argument.
    - ``has_routes``: whether there is any route.
    - ``has_nodes``: whether there is any route, or an application inside the root's.
    """

    def __init__(self, config: Config) -> None:
        self.refusal = Refusal(config)
        self.root = Node(self.refusal)
        self.has_routes = self.has_nodes = False
        # whether an application in the tree has another application mounted at its root
        self.has_fallbacks = False
        self.exact = ByMethod({method: {} for method in METHODS})
        self.below = ByMethod({method: {} for method in METHODS})

    def freeze(self, has_short_cuts: bool) -> Self:
        """Prepare the router for searching. Call this once, when the tree is complete.
        ``has_short_cuts``: whether to fill ``exact`` and ``below``.
        """
        nodes = self._nodes()
        for node in nodes:
            node.complete()
        self.has_routes = any(node.routes or node.default is not None for node in nodes)
        self.has_nodes = self.has_routes or len(nodes) > 1
        self.has_fallbacks = any(
            node.refusal is not None and node.refusal.config.fallback is not None for node in nodes
        )
        if has_short_cuts:
            self._add_short_cuts()
        return self

    def _nodes(self) -> Sequence[Node]:
        nodes = [self.root]
        for node in nodes:  # the list grows during the loop
            nodes += [*node.literals.values(), *(branch.node for branch in node.branches.values())]
        return nodes

    def _add_short_cuts(self) -> None:
        places = [("", self.root)]
        for path, node in places:  # the list grows during the loop
            for method, route in node.routes.items():
                if method not in SEARCHED:
                    self.exact[method][path or "/"] = route
            for method, route in node.takers().items():
                if route.most_segments or route.by_position:
                    self.below[method][path] = route
            for text, child in node.literals.items():
                if "/" not in text and "\0" not in text and text not in DOTS_AND_EMPTY:
                    places.append((f"{path}/{text}", child))

    def drop_short_cuts(self, patterns: Iterable[str]) -> None:
        """Remove the entries of ``below`` that would also match one of ``patterns``, the paths of
        WebSockets.
        """
        for routes in self.below.values() if (found := [*patterns]) else ():
            for path in [*routes]:
                if any(pattern.startswith(f"{path}/") for pattern in found):
                    del routes[path]

    def find(  # noqa: C901 - the ways of a node are tried in place: a call less for each
        self, method: str, segments: Sequence[str]
    ) -> RouteMatch:
        """Return the route for the decoded segments of a path. If there is none, this is the
        ``Refusal`` of the innermost application on the path, with a 404 or 405.
        """
        count, texts = len(segments), [*segments, ""]  # no segment of a pattern is empty
        refused: set[str] = set()
        # A stack of the alternatives that are still to be tried. Each item has ``ways`` of a node,
        # the node, the number of segments before it, and the values of the wildcards in these.
        left: list[tuple[_Ways, Node, int, tuple[object, ...]]] = []
        node, depth, refusal = self.root, 0, self.refusal
        values: tuple[object, ...] = ()
        while depth < count or method not in node.routes:
            refusal, ways = node.refusal or refusal, node.ways
            child = node.literals.get(texts[depth])
            if child is not None:
                if ways is not None:
                    left.append((ways, node, depth, values))
                node, depth = child, depth + 1
                continue
            if depth == count:
                refused.update(node.routes)
            while ways is not None or left:
                if ways is None:
                    ways, node, depth, values = left.pop()
                    assert ways is not None  # noqa: S101
                way, ways = ways
                if isinstance(way, _Branch):
                    end, text = depth + 1, texts[depth]
                elif isinstance(way, _PathBranch):
                    end = max(depth + 1, count - way.tail)
                    text = "/".join(segments[depth:end])
                elif node.handles(way, method, segments, depth, refused):
                    return way, segments[depth:], NO_VALUES
                else:
                    continue
                if (more := way.match(text)) is not None:
                    beyond = way.node
                    break
            else:
                refused.discard(_SURPLUS)
                error = MethodNotAllowed(refused | {"OPTIONS"}) if refused else HTTPError(404)
                return refusal, (error,), NO_VALUES
            if ways is not None:
                left.append((ways, node, depth, values))
            node, depth, values = beyond, end, values + more
        route = node.routes[method]
        if route.by_position:
            return route, [*values], NO_VALUES
        return route, (), dict(zip(route.wildcards, values, strict=True))

    def entries(self) -> list[RouteEntry]:
        """Return each route once, with the methods that it handles, sorted by path."""
        from micropie._core.routing.listing import RouteEntry  # imported only for listings

        entries: dict[int, RouteEntry] = {}
        for node in self._nodes():
            default = (
                {} if node.default is None else dict.fromkeys(node.default.handled, node.default)
            )
            for routes in (node.routes, default):
                for method, route in routes.items():
                    entry = entries.setdefault(id(route), RouteEntry(route, [], routes is default))
                    if method not in entry.methods:
                        # The route of an ``index`` may be in both dicts, with different methods. So
                        # it may already have an entry.
                        entry.methods.append(method)
        return sorted(entries.values(), key=lambda entry: (entry.route.pattern, entry.methods))
