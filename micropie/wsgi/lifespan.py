"""Start-up and shut-down under WSGI, which has no lifespan: once per worker process, before its first request."""

from __future__ import annotations

import atexit
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock
from typing import Any
from weakref import WeakSet

import anyio

from micropie.execution import INLINE, AnyStep, Flow, ShutdownSignal, background_loop, notify_after_fork, wait_for_tasks
from micropie.flow import Application, Lifecycle, LifespanContext
from micropie.mounts import ASGI
from micropie.routing import Config, Site
from micropie.wsgi.steps import perform


class WSGIState:
    """An application's start and stop in this process. ``site`` is for the hot path: None until started.

    After a start that failed, the next request tries again: a database that was late must not cost a restart.
    """

    def __init__(self) -> None:
        self.after_fork()
        notify_after_fork(self)
        _states.add(self)

    def after_fork(self) -> None:
        """Begin anew: a forked child has started nothing yet."""
        self.site: Site | None = None
        self._started = False
        self._lock = Lock()
        self._stop: Callable[[], None] | None = None
        self._sites: WeakSet[Site] = WeakSet()  # their pools end with this application
        self._background_timeout = 0.0  # seconds that ``after_response`` may still take at the end
        self._shutdown: ShutdownSignal | None = None

    def start(self, app: Application) -> Site:
        """Start the application if it has not started. Raises ``SetupError`` and what a start-up handler raises."""
        with self._lock:
            site = app.compiled(INLINE)  # the server's thread may block, so handlers need no step
            self._sites.add(site)
            self._background_timeout = site.config.settings.background_timeout + 1
            if not self._started:
                lifecycle = app.lifecycle((ASGI,))
                if not lifecycle.is_empty:
                    start = _start_on_loop if lifecycle.needs_loop else _start_here
                    self._stop = start(lifecycle, site.config)
                    atexit.register(self._stop_at_exit)
                    import multiprocessing.util

                    if multiprocessing.parent_process() is not None:
                        # A child of multiprocessing, such as a worker of granian, exits without atexit. 100: before
                        # the pools that this closes.
                        multiprocessing.util.Finalize(None, self._stop_at_exit, exitpriority=100)
                self._started = True
            site.config.shutdown.begin()
            self._shutdown = site.config.shutdown
            self.site = site
            return site

    def end_streams(self) -> None:
        """End the open streams and subscriptions, and those that are still to come."""
        if self._shutdown is not None:
            self._shutdown.end()

    def stop(self) -> None:
        """Shut down, once. Raises the first exception of a shut-down handler."""
        atexit.unregister(self._stop_at_exit)
        with self._lock:
            stop, self._stop = self._stop, None
            shutdown, self._shutdown = self._shutdown, None
            self._started, self.site = False, None
        if shutdown is not None:
            shutdown.end()
        wait_for_tasks(self._background_timeout)
        for site in self._sites:
            site.close()
        if stop is not None:
            stop()

    def _stop_at_exit(self) -> None:
        with suppress(Exception):  # it has been logged
            self.stop()


_states: WeakSet[WSGIState] = WeakSet()


def end_streams() -> None:
    """End the streams and subscriptions of all applications in this process, whose server is told to end."""
    for state in list(_states):
        state.end_streams()


def _start_here(lifecycle: Lifecycle, config: Config) -> Callable[[], None]:
    """Start in this thread, and return the function that stops."""
    context = LifespanContext(config)
    perform(lifecycle.start(), context)
    return lambda: perform(lifecycle.stop(), context)


def _start_on_loop(lifecycle: Lifecycle, config: Config) -> Callable[[], None]:
    """Start on the background loop, and return the function that stops.

    One task starts, waits and stops: a task group must be closed by the task that opened it.
    """
    portal = background_loop(config.settings.portal_backend).portal
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
            portal.start_task_soon(leave.set)
        except RuntimeError:  # the loop has ended, and has cancelled what was started there
            return
        life.result()

    return stop


async def _perform_awaiting(flow: Flow[None]) -> None:
    """Perform a life cycle's flow in this task; all its steps are AWAIT."""
    resume: Callable[[Any], AnyStep] = flow.send
    result: object = None
    while True:
        try:
            _, function, arguments = resume(result)
        except StopIteration:
            return
        resume = flow.send
        try:
            result = await function(*arguments)
        except BaseException as error:
            resume, result = flow.throw, error
