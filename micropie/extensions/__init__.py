"""What extensions need beside the classes that authors have: the face of the heart for those who
add to it.

Most batteries that come with micropie import these names and no others. ``application.py`` has an
application as an extension sees it from outside: its parts and its load. ``routes.py`` has its
routes, ``request.py`` what is done for one request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie.errors import Sentence, ServiceUnavailable, as_authors_see, check, is_duration
from micropie.execution import TaskWaiter, is_on_loop, notify_after_fork
from micropie.extensions.application import (
    Application,
    Statistics,
    add_route,
    applications,
    statistics,
)
from micropie.extensions.request import carry_into_process, is_on_this_machine, report_failures
from micropie.extensions.routes import converter_of, routes
from micropie.http import problem_members, wanted_form
from micropie.json import dumps, loads
from micropie.on_demand import names_on_demand
from micropie.routing import RouteEntry
from micropie.steps import Completed, Flow, Outage
from micropie.streams import current_shutdown
from micropie.wsgi import run_gunicorn

if TYPE_CHECKING:
    from micropie.steps import RedisClient
else:
    # redis-py may be missing, and takes longer to import than all of micropie.
    __getattr__ = names_on_demand("micropie.steps", {"redis_client": "RedisClient"})

# fmt: off
__all__ = [
    "Application", "Completed", "Flow", "Outage", "RedisClient", "RouteEntry", "Sentence",
    "ServiceUnavailable", "Statistics", "TaskWaiter", "add_route", "applications", "as_authors_see",
    "carry_into_process", "check", "converter_of", "current_shutdown", "dumps", "is_duration",
    "is_on_loop", "is_on_this_machine", "loads", "notify_after_fork", "problem_members",
    "report_failures", "routes", "run_gunicorn", "statistics", "wanted_form",
]
# fmt: on
