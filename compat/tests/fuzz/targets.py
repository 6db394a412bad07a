"""All targets by name."""

from __future__ import annotations

from collections.abc import Callable

from compat.tests.fuzz import holes, moved

TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        moved.moved_request,
        moved.cherrypy_request,
        moved.cherrypy_headers,
        moved.cherrypy_logins,
        moved.bottle_request,
        moved.bottle_values,
        holes.moved_growth,
        holes.reasons,
        holes.bottle_rules,
        holes.cherrypy_dispatch,
        holes.joined_addresses,
    )
}
