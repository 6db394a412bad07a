"""Call a function of an application outside of a server, as its handlers are called: started, with
resources open.

The application runs as under WSGI: ``def`` in this thread, ``async def`` on the process's event
loop, where its lifespan is, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from urllib.parse import urlencode

from micropie import App, Request
from micropie.discovery import RouteMark
from micropie.execution import current
from micropie.extensions import Flow
from micropie.flow import call_handler, close_resources
from micropie.routing import Config, Route, Site
from micropie.wsgi import WSGIExchange, perform


@contextmanager
def started(app: App) -> Iterator[Site]:
    """Start the application, and stop it at the end."""
    tree = app._micropie
    try:
        yield tree.wsgi.start(tree)
    finally:
        app.wsgi_shutdown()


def route_for(function: Callable[..., object], name: str, config: Config) -> Route:
    """Return a route that no path leads to.

    Raises ``SetupError`` for parameters that nothing can fill.
    """
    here = config.changed({"run_in": "thread"})  # no handler, so not in the pool
    return Route(function, name, here, RouteMark(), "")


def request_for(route: Route, query: Sequence[tuple[str, str]] = ()) -> Request:
    """Return a request of nobody's, which has the values of ``query``."""
    exchange = WSGIExchange(
        {
            "REQUEST_METHOD": "GET",
            "PATH_INFO": "/",
            # a terminal's words may be any bytes
            "QUERY_STRING": urlencode(query, errors="surrogateescape"),
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": BytesIO(),
        }
    )
    exchange.route, exchange.config = route, route.config
    return Request(exchange)


def call(route: Route, request: Request, segments: Sequence[str] = ()) -> Any:
    """Return what the route's function returns, its resources closed.

    Raises what it raises, or what they do.
    """
    exchange = request._exchange
    token = current.set(request)
    try:
        return perform(_called(request, route, segments), exchange)
    except BaseException:
        exchange.answer.break_off()
        perform(exchange.clean_up(exchange.cleanup_steps()), exchange)
        raise
    finally:
        exchange.close()
        current.reset(token)


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
