"""Compile a tree of applications to a ``Site``, and find the route of each request in it.

``settings.py`` has an author's plain values, and ``config.py`` makes of them the objects that a
request uses. ``decorators.py`` leave marks on functions, ``discovery.py`` finds the handlers among
an application's attributes, and ``compiler.py`` makes a ``Route`` (``routes.py``) of each.
``lost_marks.py`` refuses decorators above anything else. ``patterns.py`` reads explicit paths.
``providers.py`` has the providers of resources, and ``checks.py`` the checks of ``@requires``.

``router.py`` searches. Names, explicit routes and inner applications are in one tree of segments,
and there is one more for WebSockets. No path takes more than linear time, because each node is
reached in one way only. Two tables are short cuts through the tree: whole paths, and paths with one
more segment as the argument. ``site.py`` looks for mounts first, then asks the router. ``names.py``
makes paths of the names of a whole site's routes, and ``listing.py`` tells what both have.
"""

from typing import TYPE_CHECKING

from micropie.on_demand import names_on_demand
from micropie.routing.checks import (
    NATIVE,
    Check,
    Checking,
    check_middlewares,
    mark_with,
    marks_above,
)
from micropie.routing.compiler import build_site
from micropie.routing.config import (
    AppBase,
    Config,
    ErrorHandler,
    ErrorKey,
    HandlerPool,
    Registrations,
    check_error_key,
    config_of,
    placed,
)
from micropie.routing.decorators import (
    COMMAND,
    command,
    delete,
    describe,
    get,
    hidden,
    make_mark,
    max_body_size,
    max_data_size,
    patch,
    post,
    put,
    reads_body,
    requires,
    route,
    run_in,
    websocket,
)
from micropie.routing.discovery import (
    FINGERPRINT,
    REQUIRES,
    Function,
    RouteMark,
    attributes_of,
    is_function,
    is_method,
    marks_of,
    public_name,
)
from micropie.routing.lost_marks import lost_routes
from micropie.routing.providers import (
    Provider,
    Providers,
    checked_key,
    checked_provider,
    in_place_of,
    name_of,
    open_resources,
)
from micropie.routing.router import NO_VALUES, Refusal, RouteMatch
from micropie.routing.routes import (
    Route,
    checked_methods,
    mentions,
    place_of,
    route_of,
)
from micropie.routing.settings import METHODS, Settings
from micropie.routing.site import (
    Handover,
    MountRoute,
    OutsideRoute,
    Site,
    delegate_route,
    handlers_route,
)

if TYPE_CHECKING:
    from micropie.routing.listing import Application, RouteEntry, Signature, seen
else:
    __getattr__ = names_on_demand(__name__, {"listing": "Application RouteEntry Signature seen"})

# fmt: off
__all__ = [
    "COMMAND", "FINGERPRINT", "METHODS", "NATIVE", "NO_VALUES", "REQUIRES", "AppBase",
    "Application", "Check", "Checking", "Config", "ErrorHandler", "ErrorKey", "Function",
    "HandlerPool", "Handover", "MountRoute", "OutsideRoute", "Provider", "Providers", "Refusal",
    "Registrations", "Route", "RouteEntry", "RouteMark", "RouteMatch", "Settings", "Signature",
    "Site", "attributes_of", "build_site", "check_error_key", "check_middlewares", "checked_key",
    "checked_methods", "checked_provider", "command", "config_of", "delegate_route", "delete",
    "describe", "get", "handlers_route", "hidden", "in_place_of", "is_function", "is_method",
    "lost_routes", "make_mark", "mark_with", "marks_above", "marks_of", "max_body_size",
    "max_data_size", "mentions", "name_of", "open_resources", "patch", "place_of", "placed", "post",
    "public_name", "put", "reads_body", "requires", "route", "route_of", "run_in", "seen",
    "websocket",
]
# fmt: on
