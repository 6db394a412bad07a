"""What extensions need beside the classes that authors have: the face of the heart for those who
add to it.

The batteries that come with micropie import these names and no others. ``application.py`` has an
application as an extension sees it from outside: its parts and its load. ``listing.py`` has its
routes, ``request.py`` what is done for one request, and ``outside.py`` calls its functions without
a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.binding import is_structure, stated_source
from micropie.errors import Sentence, ServiceUnavailable, as_authors_see, check, is_duration
from micropie.execution import TaskWaiter, is_on_loop, notify_after_fork
from micropie.extensions.application import Statistics, add_route, applications, statistics
from micropie.extensions.listing import converter_of, has_route, routes
from micropie.extensions.request import carry_into_process, is_on_this_machine, report_failures
from micropie.http import problem_members, wanted_form
from micropie.json import dumps, loads
from micropie.on_demand import names_on_demand
from micropie.routing import Application, RouteEntry, Signature, lost_routes, place_of
from micropie.steps import Completed, Flow, Outage
from micropie.streams import current_shutdown

if TYPE_CHECKING:
    from micropie.extensions.outside import Outside
    from micropie.steps import RedisClient
    from micropie.wsgi import run_gunicorn
else:
    # redis-py may be missing, and takes longer to import than all of micropie; the driver of WSGI
    # is not needed under ASGI.
    __getattr__, __dir__ = names_on_demand(
        __name__,
        {
            ".steps.redis_client": "RedisClient",
            "outside": "Outside",
            ".wsgi.gunicorn": "run_gunicorn",
        },
    )

# fmt: off
__all__ = [
    "Application", "Completed", "Flow", "Outage", "Outside", "RedisClient", "RouteEntry",
    "Sentence", "ServiceUnavailable", "Signature", "Statistics", "TaskWaiter", "add_route",
    "applications", "as_authors_see", "carry_into_process", "check", "converter_of",
    "current_shutdown", "dumps", "has_route", "is_duration", "is_on_loop", "is_on_this_machine",
    "is_structure", "loads", "lost_routes", "notify_after_fork", "place_of", "problem_members",
    "report_failures", "routes", "run_gunicorn", "stated_source", "statistics", "wanted_form",
]
# fmt: on
