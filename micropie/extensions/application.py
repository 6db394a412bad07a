"""Inspect an application from an extension: its parts, its routes and its load. Add a route to
it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from traceback import format_exception
from typing import NamedTuple

from micropie._core.binding import hints_for
from micropie._core.errors import SetupError, as_authors_see, signature_of
from micropie._core.execution import is_on_loop, loop_lag, slots_of
from micropie._core.routing import (
    AppBase,
    Application,
    Config,
    RouteEntry,
    Site,
    describe_application,
    place_of,
)
from micropie._core.routing.decorators import make_mark
from micropie._core.routing.discovery import marks_of


class Statistics(NamedTuple):
    """The current load of this process, as far as micropie knows it."""

    threads_busy: int | None
    """How many worker threads of this event loop are running a ``def`` handler. None if this isn't
    called on an event loop: other threads don't know a loop's numbers, and WSGI only uses the
    server's threads.
    """
    threads_waiting: int | None
    """How many calls are waiting for a worker thread. None if this isn't called on an event loop.
    """
    threads_limit: int | None
    """The setting ``threads``. None if this isn't called on an event loop."""
    processes_busy: int
    """How many processes of the pool are running a handler."""
    processes_limit: int
    """The setting ``processes``."""
    channels: int
    """How many channels have a subscriber in this process."""
    subscribers: int
    """How many subscriptions are open in this process. A subscription to several channels counts
    once.
    """
    loop_lag: float
    """The longest delay of the event loop within the last minute, in seconds; 0 if
    ``loop_watchdog`` watches no loop.
    """


class Inspector:
    """Reports facts about an application to extensions, without changing it.

        inspector = Inspector(app)
        for one in inspector.routes():
            print(one.methods, one.route.pattern, one.route.name)

    The inspector covers the whole tree that contains ``app``; with ``inside``, only ``app`` and the
    applications inside it on the same host. Isolated mounts have their own trees.

    Each method reads the current state, and raises the same ``SetupError`` as the first request.
    With ``inside``, each method raises ``LookupError`` outside of requests if the application is
    mounted in several places.
    """

    def __init__(self, app: AppBase, *, inside: bool = False) -> None:
        self._tree = app._micropie
        self._inside = inside

    def applications(self) -> list[Application]:
        """Return the applications, the outermost first; with ``inside``, the first one is ``app``.
        An application that is in the tree twice is listed twice.
        """
        configs: Sequence[Config] = self._tree.configs()
        if self._inside:
            own: Config = self._tree.config()
            configs = [own, *(one for one in configs if one is not own and one.is_inside(own))]
        return [describe_application(one) for one in configs]

    def routes(self, *, websockets: bool = False) -> list[RouteEntry]:
        """Return the routes for HTTP, or for WebSockets if ``websockets`` is true. Each route is
        listed once, with all its methods.
        """
        site: Site = self._tree.root()._micropie.site
        entries = site.entries(takes_socket=websockets)
        if self._inside:
            own: Config = self._tree.config()
            entries = [one for one in entries if one.route.config.is_inside(own)]
        return entries

    def all_routes(self) -> list[RouteEntry]:
        """Return the routes for HTTP, followed by those for WebSockets."""
        return [*self.routes(), *self.routes(websockets=True)]

    def statistics(self) -> Statistics:
        """Return the load of this process, summed over all applications in the tree.

            if (Inspector(app).statistics().threads_waiting or 0) > 20:
                raise HTTPError(503)

        Under ASGI, call this on the event loop, not in a ``def`` handler, because it reports the
        threads of the current loop.
        """
        configs: Sequence[Config] = self._tree.configs()
        threads = [
            slots_of(one).usage() for one in {one.threads for one in configs} if is_on_loop()
        ]
        pools = [one.usage() for one in {one.pool for one in configs}]
        channels = [one.counts() for one in {one.channels for one in configs}]
        busy, waiting, limit = map(sum, zip(*threads, strict=True)) if threads else [None] * 3
        in_processes, processes = map(sum, zip(*pools, strict=True))
        names, subscribers = map(sum, zip(*channels, strict=True))
        return Statistics(
            busy, waiting, limit, in_processes, processes, names, subscribers, loop_lag()
        )

    @staticmethod
    def has_route(function: object) -> bool:
        """Return whether a function has a route decorator such as ``@get``. The function need not
        belong to an application.
        """
        return bool(marks_of(function))

    @classmethod
    def lost_functions(cls, app: AppBase, module: str) -> list[Callable[..., object]]:
        """Return the functions of a module that have a decorator for methods, such as ``@get``.
        They have no route, because they aren't methods of an application.
        """
        registered = [one.route.function for one in cls(app).all_routes()]
        named = getattr(sys.modules.get(module), "__dict__", {})
        return [
            function
            for function in filter(inspect.isfunction, [*named.values()])
            if function.__module__ == module
            and cls.has_route(function)
            and inspect.unwrap(function) not in registered
        ]

    place_of = staticmethod(place_of)

    @staticmethod
    def signature_of(function: Callable[..., object]) -> inspect.Signature:
        """Return the signature of a function, with annotations evaluated to types, except those
        that only type checkers can evaluate.
        """
        found = signature_of(function)
        hints = {"return": found.return_annotation}
        for name in (*found.parameters, "return"):
            with suppress(SetupError):
                hints |= hints_for(function, (name,))
        parameters = [
            one.replace(annotation=hints.get(one.name, one.annotation))
            for one in found.parameters.values()
        ]
        return found.replace(parameters=parameters, return_annotation=hints["return"])

    @staticmethod
    def traceback_of(error: BaseException) -> str:
        """Return the traceback of ``error`` as it is logged: from the first line of the
        application's own code, or the whole traceback if there is no such line.
        """
        return "".join(format_exception(*as_authors_see(error)))


def add_route(
    app: AppBase,
    path: str,
    function: Callable[..., object],
    *,
    hooks: Sequence[object],
    methods: Sequence[str] = ("GET",),
    name: str | None = None,
) -> None:
    """Handle ``path`` with ``function`` and only these ``hooks``. The application's own hooks, such
    as the access log, rate limits, trusted hosts and log-in, don't run. The application may have
    routes with the same path for other methods. The application's hooks run as usual for these
    routes. They also run for a method without a route, which gets a 405.

        add_route(app, "/version", version, hooks=[])

    If a hook returns a response, the function isn't called. ``name``: the name for ``url_for`` and
    listings, by default the function's name. Raises ``SetupError`` for an invalid path.
    """
    mark = make_mark(path, methods, name)._replace(hooks=hooks)
    app._micropie.registering(mark)(function)
