"""The public interface for extensions, in addition to the classes for applications.

micropie's own optional packages use only these names. docs/extensions.md promises that they stay
compatible. To work with a single request, extensions use the methods of ``Request``.

Open ``application.py`` to change how an extension inspects an application: its parts, its routes
and its load. Other files:

- ``request.py``: how the developer's own requests are recognised
- ``outside.py``: how an application's functions are called without a server
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from micropie._core.binding import TypeInfo
from micropie._core.errors import Sentence
from micropie._core.execution import TaskWaiter, is_on_loop, notify_after_fork
from micropie._core.execution.steps import Outage
from micropie._core.http.json import dumps, loads
from micropie._core.on_demand import names_on_demand
from micropie._core.routing import Application, RouteEntry
from micropie._core.streams import current_shutdown
from micropie.extensions.application import Inspector, add_route
from micropie.extensions.request import is_on_this_machine

if TYPE_CHECKING:
    from micropie._core.execution.steps import RedisClient
    from micropie.extensions.outside import Outside
    from micropie.wsgi import run_gunicorn
else:
    # Imported on first use: redis-py may not be installed, and takes longer to import than all of
    # micropie. The WSGI driver is not needed under ASGI.
    __getattr__, __dir__ = names_on_demand(
        __name__,
        {
            "._core.execution.steps.redis_client": "RedisClient",
            "outside": "Outside",
            ".wsgi.gunicorn": "run_gunicorn",
        },
    )

__all__ = [
    "Application",
    "Inspector",
    "Outage",
    "Outside",
    "RedisClient",
    "RouteEntry",
    "Sentence",
    "TaskWaiter",
    "TypeInfo",
    "add_route",
    "current_shutdown",
    "dumps",
    "is_on_loop",
    "is_on_this_machine",
    "loads",
    "notify_after_fork",
    "run_gunicorn",
]
