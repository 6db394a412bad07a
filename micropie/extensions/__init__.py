"""What extensions need beside the classes that authors have: the face of the heart for those who
add to it.

Most batteries that come with micropie import these names and no others. ``application.py`` has an
application as an extension sees it from outside: its parts and its load. ``listing.py`` has its
routes, ``request.py`` what is done for one request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.binding import OwnTypes, is_structure, stated_source
from micropie.errors import Sentence, ServiceUnavailable, as_authors_see, check, is_duration
from micropie.execution import (
    Completed,
    Flow,
    Outage,
    TaskWaiter,
    is_on_loop,
    notify_after_fork,
)
from micropie.extensions.application import (
    Statistics,
    add_route,
    applications,
    statistics,
)
from micropie.extensions.listing import converter_of, routes
from micropie.extensions.request import carry_into_process, report_failures
from micropie.http import dumps, loads, problem_members, wanted_form
from micropie.on_demand import names_on_demand
from micropie.routing import Application, RouteEntry, Signature
from micropie.streams import current_shutdown

if TYPE_CHECKING:
    from micropie.execution import RedisClient
else:
    # redis-py may be missing, and takes longer to import than all of micropie.
    __getattr__ = names_on_demand("micropie.execution", {"redis_client": "RedisClient"})

# fmt: off
__all__ = [
    "Application", "Completed", "Flow", "Outage", "OwnTypes", "RedisClient", "RouteEntry",
    "Sentence", "ServiceUnavailable", "Signature", "Statistics", "TaskWaiter", "add_route",
    "applications", "as_authors_see", "carry_into_process", "check", "converter_of",
    "current_shutdown", "dumps", "is_duration", "is_on_loop", "is_structure", "loads",
    "notify_after_fork", "problem_members", "report_failures", "routes", "stated_source",
    "statistics", "wanted_form",
]
# fmt: on
