"""An application outside of a server: its functions are called as its handlers are.

It runs as under WSGI: ``def`` in this thread, ``async def`` on the process's event loop, where its
lifespan is, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from io import BytesIO
from typing import Any, Self
from urllib.parse import urlencode

from micropie._core.execution import current
from micropie._core.execution.steps import INLINE, Flow, no_function
from micropie._core.flow import call_handler, close_resources
from micropie._core.http import Request
from micropie._core.routing import AppBase, Config, Route, RouteEntry
from micropie._core.routing.decorators import COMMAND
from micropie._core.routing.discovery import RouteMark, attributes_of, public_name
from micropie.wsgi import WSGIExchange, perform


class Outside:
    """An application outside of a server, for a worker of a queue or a shell. Within ``with`` it is
    started: its lifespan is entered at the beginning and left at the end, and ``request``, a
    request of nobody's, is the current one.

        with Outside(app) as outside:
            for name, function, entry in outside.commands():
                print(name, outside.call(entry()))

    Raises ``SetupError`` as the first request does, and at the beginning what a startup handler
    raises.
    """

    def __init__(self, app: AppBase) -> None:
        self._tree = tree = app._micropie
        site = next(iter(tree.sites.values()), None) or tree.compiled(INLINE)
        self._config: Config = site.config
        self.request = _request(_entry(no_function, "", site.config), ())

    def __enter__(self) -> Self:
        try:
            self._tree.wsgi.start(self._tree)
        except BaseException:
            self._tree.shut_down_wsgi()
            raise
        self._token = current.set(self.request)
        return self

    def __exit__(self, *failure: object) -> None:
        current.reset(self._token)
        self._tree.shut_down_wsgi()

    def commands(self) -> list[tuple[str, Callable[..., object], Callable[[], RouteEntry]]]:
        """Return the commands of the application and of those inside it: the name, such as
        "init-db" or "blog.init-db", the function, and a function that returns what ``call`` takes.
        That raises ``SetupError`` for a parameter that nothing can fill. Two may have one name.
        """
        return [
            (name, function, partial(_entry, function, name, config))
            for config in self._config.tree
            for function in (*_marked(config.app), *config.app._micropie.commands)
            for name in [config.scope + public_name(function.__name__).replace("_", "-")]
        ]

    def call(
        self,
        entry: RouteEntry,
        query: Sequence[tuple[str, str]] = (),
        segments: Sequence[str] = (),
    ) -> Any:
        """Return what the function of a command returns, its resources closed. ``query`` has the
        values of its parameters and of those of its providers by name, and ``segments`` those of
        the first ones by position, as texts.

        Raises what the function raises, ``BindingError`` for invalid values, and what its
        providers raise.
        """
        request = _request(entry, query)
        exchange = request._exchange
        token = current.set(request)
        try:
            return perform(_called(request, entry.route, segments), exchange)
        except BaseException:
            exchange.answer.break_off()
            perform(exchange.clean_up(exchange.cleanup_steps()), exchange)
            raise
        finally:
            exchange.close()
            current.reset(token)


def _marked(app: AppBase) -> list[Any]:
    """Return the methods below ``@command``, in the order of their definition."""
    found = attributes_of(reversed(type(app).__mro__))
    return [getattr(app, name) for name, (_, value) in found.items() if hasattr(value, COMMAND)]


def _entry(function: Callable[..., object], name: str, config: Config) -> RouteEntry:
    here = config.changed({"run_in": "thread"})  # no handler, so not in the pool
    return RouteEntry(Route(function, name, here, RouteMark(), ""), [], is_default=False)


def _request(entry: RouteEntry, query: Sequence[tuple[str, str]]) -> Request:
    exchange = WSGIExchange(
        {
            "REQUEST_METHOD": "GET",
            # a terminal's words may be any bytes
            "QUERY_STRING": urlencode(query, errors="surrogateescape"),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
        }
    )
    exchange.route, exchange.config = entry.route, entry.route.config
    return Request(exchange)


def _called(request: Request, route: Route, segments: Sequence[str]) -> Flow[Any]:
    arguments = route.bind(request, segments, {})
    result: Any = None
    failure: Exception | None = None
    try:
        result = yield from call_handler(request, route, arguments)
    except Exception as error:
        failure = error
    try:
        yield from close_resources(request._exchange, failure)
    finally:
        failure = None
    return result
