"""Compile a tree of applications to a ``Site``, and find the route of each request in it.

Open ``router.py`` to change which route wins. The other files:

- ``site.py``: mounts and hosts
- ``names.py``: the paths that ``url_for`` returns
- ``decorators.py``: the decorators. A decorator stores its arguments as an attribute of the
  function, called a mark, and ``routes.py`` reads the mark.
- ``misplaced_decorators.py``: decorators in a wrong place, which are rejected
- ``listing.py``: the list of routes

A new HTTP method goes into ``METHODS`` of ``http/settings.py`` and ``middleware/cors.py``, and into
``decorators.py``, ``app.py`` and ``openapi/document.py``.

``compiler.py`` creates a ``Route`` for each handler that ``discovery`` finds. The names of
handlers, explicit routes and inner applications are in one tree of path segments. WebSockets have a
separate tree. A path can reach each node of the tree in one way only, so matching takes time in
proportion to the length of the path. Two tables are short cuts through the tree: one for whole
paths, and one for paths whose last segment is an argument. ``site.py`` checks mounts first, and
then calls the router.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.on_demand import names_on_demand
from micropie._core.routing.compiler import build_site
from micropie._core.routing.config import (
    AppBase,
    Config,
    ErrorHandler,
    ErrorKey,
    Registrations,
    UpperLayers,
    check_error_key,
    config_of,
    with_providers,
)
from micropie._core.routing.router import NO_VALUES, SEARCHED, RouteMatch
from micropie._core.routing.routes import Route, checked_methods, place_of, route_of
from micropie._core.routing.site import (
    Handover,
    MountRoute,
    OutsideRoute,
    Site,
    delegate_route,
    handlers_route,
)

if TYPE_CHECKING:
    from micropie._core.routing.listing import Application, RouteEntry, describe_application

# This module is imported on first use, because many applications don't need it.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "listing": "Application RouteEntry describe_application",
    },
)
