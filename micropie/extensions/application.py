"""An application as an extension sees it: its parts, its routes and its load, and a route beside
its own.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence
from traceback import format_exception
from typing import NamedTuple

from micropie._core.errors import as_authors_see
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
    """The load of this process, as far as it is known to micropie. All are numbers of now."""

    threads_busy: int | None
    """Worker threads of this event loop that run a ``def`` handler. None where no event loop runs:
    in a thread of the same process it is not known, and WSGI has the server's threads alone."""
    threads_waiting: int | None
    """Handlers that wait for such a thread; None where no event loop runs."""
    threads_limit: int | None
    """The setting ``threads``; None where no event loop runs."""
    processes_busy: int
    """Processes of the pool that run a handler."""
    processes_limit: int
    """The setting ``processes``."""
    channels: int
    """Channels with a subscriber in this process."""
    subscribers: int
    """Subscriptions in this process; one of several channels counts once."""
    loop_lag: float
    """The longest wait for a turn of the event loop within the last minute, in seconds; 0 where
    ``loop_watchdog`` watches none."""


class Inspector:
    """Tells of an application what an extension may want to know, without changing it.

        inspector = Inspector(app)
        for one in inspector.routes():
            print(one.methods, one.route.pattern, one.route.name)

    It looks at the whole tree that ``app`` is in; with ``inside`` only at ``app`` and at the
    applications inside it on the same host. Isolated mounts have trees of their own.

    Each method looks anew. It raises ``SetupError`` as the first request does, and with ``inside``
    ``LookupError`` for an application in several places, outside of requests.
    """

    def __init__(self, app: AppBase, *, inside: bool = False) -> None:
        self._tree = app._micropie
        self._inside = inside

    def applications(self) -> list[Application]:
        """Return the applications, the outermost first; with ``inside`` the first is ``app``. One
        that is in the tree twice is there twice.
        """
        configs: Sequence[Config] = self._tree.configs()
        if self._inside:
            own: Config = self._tree.config()
            configs = [own, *(one for one in configs if one is not own and one.is_inside(own))]
        return [describe_application(one) for one in configs]

    def routes(self, *, websockets: bool = False) -> list[RouteEntry]:
        """Return the routes, or with ``websockets`` those of WebSockets, each once with its
        methods.
        """
        site: Site = self._tree.root()._micropie.site
        entries = site.entries(takes_socket=websockets)
        if self._inside:
            own: Config = self._tree.config()
            entries = [one for one in entries if one.route.config.is_inside(own)]
        return entries

    def statistics(self) -> Statistics:
        """Return the load of this process, of all applications in the tree together.

            if (Inspector(app).statistics().threads_waiting or 0) > 20:
                raise HTTPError(503)

        Under ASGI call it on the event loop whose threads are meant, not in a ``def`` handler.
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
        """Return whether the decorator of a route is above a function, such as ``@get``, be it in
        an application or not.
        """
        return bool(marks_of(function))

    @classmethod
    def lost_functions(cls, app: AppBase, module: str) -> list[Callable[..., object]]:
        """Return the functions of a module with the route of a method, to which nothing leads."""
        inspector = cls(app)
        entries = [*inspector.routes(), *inspector.routes(websockets=True)]
        registered = [one.route.function for one in entries]
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
    def traceback_of(error: BaseException) -> str:
        """Return the traceback of ``error`` as text, as the log has it: from the author's first
        line on, or all of it if there is no such line.
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
    """Answer ``path`` by ``function`` with ``hooks`` alone: no other hook of the application is in
    its way, no access log, rate limit, list of hosts or log-in. For other methods the path may have
    routes of the application, so their answer, and the 405 if there are none, is the
    application's, with its hooks.

        add_route(app, "/version", version, hooks=[])

    A hook may answer instead of the function. ``name`` is for ``url_for`` and lists of routes,
    by default the function's. Raises ``SetupError`` for a wrong path.
    """
    mark = make_mark(path, methods, name)._replace(hooks=hooks)
    app._micropie.registering(mark)(function)
