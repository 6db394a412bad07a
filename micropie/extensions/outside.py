"""Start an application without a server, and call functions as if they were its handlers.

The application runs as under WSGI: ``def`` functions in this thread, ``async def`` functions and
the lifespan on the background event loop.
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
    """A context manager that starts an application without a server, for a queue worker or a shell.
    The lifespan is entered at the beginning of the ``with`` block and left at the end. In the
    block, the current request is an empty request, which is also the attribute ``request``.

        with Outside(app) as outside:
            for name, function, entry in outside.commands():
                print(name, outside.call(entry()))

    Raises the same ``SetupError`` as the first request. Entering it also raises the exceptions of
    startup handlers.
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
        """Return the commands of the application and the applications inside it, each as a tuple:

        - the name, such as "init-db" or "blog.init-db", which another command may have as well,
        - the function,
        - a function that returns the ``entry`` for ``call``. It raises ``SetupError`` if a
          parameter of the command can't get a value.
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
        """Call the function of a command, close its resources and return its result.

        - ``entry``: the command, see ``commands``.
        - ``query``: (name, text) pairs, the values for the command's parameters and its providers'
          parameters.
        - ``segments``: the values of the first parameters as text, by position.

        Raises ``BindingError`` for invalid values, and the exceptions of the function and its
        providers.
        """
        request = _request(entry, query)
        exchange = request._exchange
        token = current.set(request)
        try:
            return perform(_called(request, entry.route, segments), exchange)
        except BaseException:
            exchange.answer.break_off()
            perform(exchange.clean_up(exchange.cleanup_steps()), exchange, contains_exit=True)
            raise
        finally:
            exchange.close()
            current.reset(token)


def _marked(app: AppBase) -> list[object]:
    """Return the methods with ``@command``, in the order of their definition."""
    found = attributes_of(reversed(type(app).__mro__))
    return [getattr(app, name) for name, (_, value) in found.items() if hasattr(value, COMMAND)]


def _entry(function: Callable[..., object], name: str, config: Config) -> RouteEntry:
    # Commands run in a thread, never in the pool.
    here = config.changed({"run_in": "thread"})
    route = Route(function, name, here, RouteMark(), "", takes_segments=True)
    return RouteEntry(route, [], is_default=False)


def _request(entry: RouteEntry, query: Sequence[tuple[str, str]]) -> Request:
    exchange = WSGIExchange(
        {
            "REQUEST_METHOD": "GET",
            # Arguments of a command line may contain any bytes.
            "QUERY_STRING": urlencode(query, errors="surrogateescape"),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
        }
    )
    exchange.route, exchange.config = entry.route, entry.route.config
    return Request(exchange)


def _called(request: Request, route: Route, segments: Sequence[str]) -> Flow[object]:
    arguments = route.bind(request, segments, {})
    result: object = None
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
