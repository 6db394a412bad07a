"""What a request does after its answer, started when the server closes that and waited for when the process ends."""

from __future__ import annotations

import os
from concurrent.futures import Future, wait

from micropie.background import run_tasks
from micropie.request import Request
from micropie.wsgi.portal import get_portal

_running: set[Future[None]] = set()
os.register_at_fork(after_in_child=_running.clear)  # they run in the parent


def start_tasks(request: Request) -> None:
    """Have the process's event loop run them, in the context of the request; waits for nothing."""
    portal = get_portal(request.level.settings.portal_backend)
    task = request.context.run(portal.start_task_soon, run_tasks, request)
    _running.add(task)
    task.add_done_callback(_running.discard)


def wait_for_tasks(seconds: float) -> None:
    """Wait until all have ended: what they use is about to be shut down."""
    wait([*_running], timeout=seconds)
