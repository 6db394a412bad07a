"""``WSGIState`` starts an application under WSGI, once in each worker process, before the first
request.
"""

from __future__ import annotations

import atexit
import sys
from contextlib import suppress
from contextvars import Context
from threading import Lock
from weakref import WeakSet

from micropie._core.execution import (
    Action,
    exit_delayed,
    notify_after_fork,
    watch_background_loops,
)
from micropie._core.execution.steps import INLINE, wait_for_tasks
from micropie._core.flow import UNDER_WSGI
from micropie._core.routing import Config, Site
from micropie._core.tree import Tree


class WSGIState:
    """Starts and stops an application in this process.

    ``site`` is the site that handles requests. It is None until the application has started. After
    a failed startup, the next request tries again. So no restart is needed if, for example, a
    database was not available yet.
    """

    def __init__(self) -> None:
        self.after_fork()
        notify_after_fork(self)
        _states.add(self)

    def after_fork(self) -> None:
        """Reset the state, because nothing has started in a forked child yet."""
        self.site: Site | None = None
        self._lock = Lock()
        self._stop: Action | None = None
        self._sites: WeakSet[Site] = WeakSet()  # the sites whose process pools ``stop`` closes
        self._config: Config | None = None  # None unless the application has started

    def start(self, app: Tree) -> Site:
        """Start the application, unless it has started. Return its site.

        Raises ``SetupError``, and any exception that a startup handler raises.
        """
        with self._lock:
            site = app.compiled(INLINE)  # INLINE, because handlers may block the server's thread
            self._sites.add(site)
            watch_background_loops(site.config.settings.loop_patience)
            site.config.shutdown.begin()
            if self._config is None:
                lifecycle = app.lifecycle(UNDER_WSGI)
                if not lifecycle.is_empty:
                    # Import this here, because most applications have nothing to start.
                    from micropie.wsgi.lifespan import start_here, start_on_loop

                    start = start_on_loop if lifecycle.needs_loop else start_here
                    # What startup starts outlives the first request, so use an empty context; see
                    # ``start_shared``.
                    self._stop = Context().run(start, lifecycle, site.config)
                    atexit.register(self._stop_at_exit)
                # A child process of multiprocessing, such as a worker of granian, doesn't call
                # atexit functions. The priority 100 makes this function run before the finalizers
                # that close process pools.
                parent = sys.modules.get("multiprocessing")
                if parent is not None and parent.parent_process() is not None:
                    parent.util.Finalize(None, self._stop_at_exit, exitpriority=100)
            self._config = site.config
            app.publish(site, self)
            return site

    def end_streams(self) -> None:
        """End the open streams and subscriptions. Those that are opened later end at once."""
        if self._config is not None:
            self._config.shutdown.end()

    def stop(self) -> None:
        """Shut the application down if it is running. Raises the first exception that a shutdown
        handler raised.
        """
        atexit.unregister(self._stop_at_exit)
        with self._lock:
            stop, self._stop = self._stop, None
            config, self._config = self._config, None
            self.site = None
        if config is not None:
            config.shutdown.end()
            # Before closing resources, wait for functions passed to ``after_response``, which may
            # use them.
            wait_for_tasks(config.settings.background_timeout + 1)
        for site in self._sites:
            site.close()
        if stop is not None:
            stop()

    def _stop_at_exit(self) -> None:
        with exit_delayed(), suppress(Exception):  # any failure has been logged
            self.stop()


_states: WeakSet[WSGIState] = WeakSet()


def end_streams() -> None:
    """End the streams and subscriptions of all applications in this process, because the server is
    shutting down.
    """
    for state in list(_states):
        state.end_streams()


def stop_applications() -> None:
    """Shut down all applications in this process. While Python exits, asyncio can't use its threads
    (``to_thread``, host names), and since 3.12 no thread can start, so don't wait for ``atexit``.
    """
    for state in list(_states):
        state._stop_at_exit()
