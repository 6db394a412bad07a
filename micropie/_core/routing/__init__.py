"""Compile a tree of applications to a ``Site``, and find the route of each request in it.

Open ``router.py`` to change which route wins, ``site.py`` for mounts and hosts, ``names.py`` for
the paths that ``url_for`` makes. Open ``decorators.py`` to add a decorator: it leaves a mark on the
function, which ``routes.py`` reads. Open ``misplaced_decorators.py`` to reject one in a wrong
place, and ``listing.py`` to change the list of routes. A new HTTP method goes into ``METHODS`` of
``settings.py`` and ``middleware/cors.py``, and into ``decorators.py``, ``app.py`` and
``openapi/document.py``.

A new setting is a field of ``Settings`` in ``settings.py``, with its rule and docstring, and a row
of ``docs/settings.md``. If an object is made from it, it is also an attribute of ``Config`` and a
row of ``_PARTS`` in ``config.py``; ``_encoding`` there is a small example. If the flow or a driver
reads it, declare it in ``MessageConfig`` of ``http/exchange.py``, too.

``compiler.py`` makes a ``Route`` for each handler that ``discovery`` finds. Names of handlers,
explicit routes and inner applications share one tree of segments; WebSockets have another. Matching
takes time in proportion to the length of the path, because a path can reach each node in one way
only. Two tables are short cuts through the tree: one for whole paths, and one for paths whose last
segment is an argument. ``site.py`` checks mounts first, then calls the router.
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
    HandlerPool,
    Registrations,
    UpperLayers,
    check_error_key,
    config_of,
    with_providers,
)
from micropie._core.routing.router import NO_VALUES, Refusal, RouteMatch
from micropie._core.routing.routes import Route, checked_methods, place_of, route_of
from micropie._core.routing.settings import SETTINGS, Settings
from micropie._core.routing.site import (
    Handover,
    MountRoute,
    OutsideRoute,
    SearchResult,
    Site,
    delegate_route,
    handlers_route,
)

if TYPE_CHECKING:
    from micropie._core.routing.listing import Application, RouteEntry, describe_application

# fmt: off
__all__ = [
    "NO_VALUES", "SETTINGS", "AppBase", "Application", "Config", "ErrorHandler", "ErrorKey",
    "HandlerPool", "Handover", "MountRoute", "OutsideRoute", "Refusal", "Registrations", "Route",
    "RouteEntry", "RouteMatch", "SearchResult", "Settings", "Site", "UpperLayers", "build_site",
    "check_error_key", "checked_methods", "config_of", "delegate_route", "describe_application",
    "handlers_route", "place_of", "route_of", "with_providers",
]
# fmt: on

# These modules are imported on first use. Many sites don't need them, and importing them takes
# longer than importing all others.
__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "listing": "Application RouteEntry describe_application",
    },
)
