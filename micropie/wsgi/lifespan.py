"""Start-up and shut-down under WSGI, which has no lifespan: once per worker process, before its first request."""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.util
from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any
from weakref import WeakSet

import anyio

from micropie.execution.background import wait_for_tasks
from micropie.execution.fork import notify_after_fork
from micropie.execution.portal import get_portal
from micropie.execution.shutdown import ShutdownSignal
from micropie.execution.steps import INLINE
from micropie.flow.lifecycle import Lifecycle, LifespanContext, Startable
from micropie.mounts.prefixes import ASGI
from micropie.routing.config import AppConfig
from micropie.routing.site import Site
from micropie.wsgi.steps import perform


class WSGIState:
    """An application's start and stop in this process. ``site`` is what the hot path looks at: None until started.

    A start that failed is tried again by the next request: a database that was late must not cost a restart.
    """

    def __init__(self) -> None:
        self.after_fork()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Begin anew: a forked child has started nothing yet."""
        self.site: Site | None = None
        self._started = False
        self._lock = Lock()
        self._stop: Callable[[], None] | None = None
        self._sites: WeakSet[Site] = WeakSet()  # whose pools end with it
        self._patience = 0.0  # seconds that ``after_response`` may go on when all else has ended
        self._shutdown: ShutdownSignal | None = None

    def start(self, app: Startable) -> Site:
        """Run the start-up, unless it has been. Raises what a start-up handler raised, or ``SetupError``."""
        with self._lock:
            site: Site = app.compiled(INLINE)  # the server's thread may block: a step would be a call and no more
            self._sites.add(site)
            self._patience = site.config.settings.background_timeout + 1
            if not self._started:
                lifecycle = app.lifecycle((ASGI,))
                if not lifecycle.is_empty:
                    begin = _start_on_loop if lifecycle.needs_loop else _start_here
                    self._stop = begin(lifecycle, site.config)
                    _at_exit(self.stop)
                self._started = True
            site.config.shutdown.begin()
            self._shutdown = site.config.shutdown
            self.site = site
            return site

    def stop(self) -> None:
        """Run the shut-down, once. Raises the first failure of a shut-down handler."""
        atexit.unregister(self.stop)
        with self._lock:
            stop, self._stop = self._stop, None
            shutdown, self._shutdown = self._shutdown, None
            self._started, self.site = False, None
        if shutdown is not None:
            shutdown.end()
        wait_for_tasks(self._patience)
        for site in self._sites:
            site.close()
        if stop is not None:
            stop()


def _at_exit(stop: Callable[[], None]) -> None:
    atexit.register(stop)
    if multiprocessing.parent_process() is not None:
        # A child of multiprocessing, as granian's workers are, ends without atexit. 100: before the pools it closes.
        multiprocessing.util.Finalize(None, stop, exitpriority=100)


def _start_here(lifecycle: Lifecycle, config: AppConfig) -> Callable[[], None]:
    world = LifespanContext(config)
    perform(lifecycle.start(), world)
    return lambda: perform(lifecycle.stop(), world)


def _start_on_loop(lifecycle: Lifecycle, config: AppConfig) -> Callable[[], None]:
    """Start, wait for the end and stop in one task: what opens a task group must close it in the same one."""
    portal = get_portal(config.settings.portal_backend)
    started: Future[anyio.Event] = Future()

    async def live() -> None:
        leave = anyio.Event()
        try:
            await _perform_awaiting(lifecycle.start())
        except BaseException as error:
            started.set_exception(error)
            return
        started.set_result(leave)
        await leave.wait()
        await _perform_awaiting(lifecycle.stop())

    life = portal.start_task_soon(live)
    leave = started.result()

    def stop() -> None:
        try:
            portal.start_task_soon(_set, leave)
        except RuntimeError:  # the loop has ended, and has cancelled what was started there
            return
        life.result()

    return stop


async def _set(event: anyio.Event) -> None:
    event.set()


async def _perform_awaiting(flow: Any) -> None:
    """A life cycle's flow on the loop: it asks for awaiting only."""
    resume, value = flow.send, None
    while True:
        try:
            _, function, arguments = resume(value)
        except StopIteration:
            return
        resume = flow.send
        try:
            value = await function(*arguments)
        except BaseException as error:
            resume, value = flow.throw, error
