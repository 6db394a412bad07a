"""``RouteNames``: the paths of all routes of a tree by name, for ``url_for``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote, urlencode

from micropie._core.binding import BoundParameter, Plan, is_unset
from micropie._core.http.addresses import DOTS_AND_EMPTY, leads_up, quoted_address, split_host
from micropie._core.http.json import link_text
from micropie._core.routing.discovery import Pattern


class RouteNames:
    """The routes of a tree of applications by name.

    Each route is stored with its escaped path from the root of the tree: "" for the root itself, or
    "//example.com/path" for a route on another host. An explicit route is stored with the path of
    its application, and separately with the pattern that follows this path.

    ``fingerprints`` contains, for each route that serves files, a function that takes a file's path
    and returns the file's fingerprint.
    """

    def __init__(self) -> None:
        self._routes: dict[
            str, tuple[tuple[bool, bool], str, Pattern | None, Plan, Mapping[str, BoundParameter]]
        ] = {}
        self.fingerprints: dict[str, Callable[[str], str]] = {}

    def add(
        self,
        name: str,
        path: str,
        pattern: Pattern | None = None,
        *,
        takes_socket: bool,
        plan: Plan,
        bounds: Mapping[str, BoundParameter],
    ) -> None:
        """Add a route. If several routes have the same name, only one of them is used. A route for
        HTTP takes precedence over one for WebSockets. Among routes for the same protocol, a route
        found by its handler's name takes precedence over an explicit route. Among equals, the
        earlier route takes precedence.

        ``plan``: the plan of the route's handler. ``bounds``: its parameters, and those of its
        providers.
        """
        rank = (takes_socket, pattern is not None)
        if name not in self._routes or rank < self._routes[name][0]:
            self._routes[name] = rank, path, pattern, plan, bounds

    def url_for(
        self,
        name: str,
        scopes: Mapping[str, str],
        segments: Sequence[object],
        values: dict[str, object],
    ) -> tuple[str, bool]:
        """Return the path of a route, and whether the route is for WebSockets.

        - ``name``: the route's name, which is looked up in each of the ``scopes``, one after the
          other. A name that begins with a slash is looked up from the root of the tree.
        - ``scopes``: the applications in which to look for the name; see ``Config.scopes``.
        - ``segments``: more segments at the end of the path.
        - ``values``: the values of the wildcards, and of the query; see ``query_of``. ``UNSET`` and
          sentinels are left out.

        Raises ``LookupError`` for an unknown name, and ``ValueError`` for values that the route
        would not match.
        """
        prefix, full_name = self._found(name, scopes)
        (takes_socket, _), path, pattern, plan, bounds = self._routes[full_name]
        values = {name: one for name, one in values.items() if not is_unset(one)}
        given = dict(zip(plan.names_in_path, segments, strict=False)) | values
        if pattern is not None:
            missing = [wildcard for wildcard in pattern.names if wildcard not in values]
            if missing or segments:
                hint = "; write static_url(...) instead" if full_name in self.fingerprints else ""
                raise ValueError(
                    f"url_for({name!r}) takes "
                    f"{', '.join(f'{n}=...' for n in pattern.names) or 'no path segments'}{hint}"
                )
            path += pattern.fill(values, plan.own)
        elif len(segments) > plan.most_segments:
            raise ValueError(
                f"url_for({name!r}) takes at most {plan.most_segments} path segments, not "
                f"{len(segments)}"
            )
        for segment in segments:
            text = link_text(plan.own.linked(segment))
            if text in DOTS_AND_EMPTY or "\0" in text or leads_up(text):
                raise ValueError(
                    f"url_for({name!r}): {segment!r} can't be a path segment; refused are '', "
                    "'.', and text with a NUL or with '..' as a part (as in 'a/../b')"
                )
            path += "/" + quote(text, safe="")
        # The path of an application's root ends with a slash.
        if not segments and (path == quoted_address(prefix) or not split_host(path)[1]):
            path += "/"
        for key in given.keys() & bounds.keys():
            bounds[key].check_linked(given[key], plan.own)
        if not values:
            return path, takes_socket
        from micropie._core.binding import query_of  # imported only for links with a query

        try:
            query = urlencode([*query_of(bounds, plan.own, values)])
        except ValueError as error:
            raise ValueError(f"url_for({name!r}): {error}") from None
        return f"{path}?{query}" if query else path, takes_socket

    def fingerprint(self, name: str, scopes: Mapping[str, str], path: str) -> str:
        """Return the fingerprint of the file at ``path``. ``name``: the name of the route that
        serves the file.

        Raises ``LookupError`` if that route doesn't exist or serves no files.
        """
        found = self.fingerprints.get(self._found(name, scopes)[1])
        if found is None:
            raise LookupError(
                f"static_url(..., name={name!r}) matches no app.static(prefix, directory, "
                f"name={name!r})"
            )
        return found(path)

    def _found(self, name: str, scopes: Mapping[str, str]) -> tuple[str, str]:
        """Return the first path in ``scopes`` whose application has a route of this name, and the
        route's full name.
        """
        if not isinstance(name, str):
            function = getattr(name, "__name__", "name")
            raise TypeError(f"url_for takes the name of a route: write url_for({function!r})")
        if name.startswith("/"):
            name, scopes = name[1:], {"": ""}
        for prefix, names in scopes.items():
            if names + name in self._routes:
                return prefix, names + name
        own = next(iter(scopes.values()))
        known = sorted(one.removeprefix(own) for one in self._routes if one.startswith(own))
        listed = ", ".join(one for one in known if not one.startswith("_"))
        hint = '; write app.static("/static", "static")' if name == "static" else ""
        raise LookupError(f"there is no route named {name!r}, but there are: {listed}{hint}")
