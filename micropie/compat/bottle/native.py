"""The ``App`` inside of a ``Bottle``: it carries the old routes, and new ones beside them.

Servers call it, so lifespan, threads, streams and WebSockets are micropie's. Its ``Site`` looks for a native route
first, then asks the application's router.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Generator
from dataclasses import replace
from inspect import isawaitable
from typing import Any

from micropie.app import App
from micropie.compat.bottle.exchange import Application, Exchange, Found, path_of, run
from micropie.compat.bottle.responses import HTTPError
from micropie.compat.bottle.routing import Route
from micropie.errors import HTTPError as NativeError
from micropie.errors import SetupError
from micropie.execution.steps import AWAIT, HANDLER, RouteKind
from micropie.http.request import Request
from micropie.http.response import Response
from micropie.routing.config import AppConfig
from micropie.routing.route import Route as NativeRoute
from micropie.routing.site import Handover, Site

_NO_VALUES: dict[str, object] = {}


class Carrier(App):
    """``Bottle.native``."""

    _micropie_is_framework = True

    def __init__(self, bottle: Application) -> None:
        super().__init__(expose="explicit")
        self._bottle = bottle
        self._carrying: dict[RouteKind, _CarryingSite] = {}

    def compiled(self, blocking: RouteKind = HANDLER) -> Site:
        """Return the site with both kinds of routes."""
        inner = super().compiled(blocking)
        site = self._carrying.get(blocking)
        if site is None or site.inner is not inner:
            self._carrying[blocking] = site = _CarryingSite(self._bottle, inner, blocking)
        return site

    def _definition(self, ancestors: tuple[App, ...]) -> Any:
        if ancestors:
            raise SetupError(
                "an application that moves in is mounted as it stands: app.mount(prefix, old), without .native"
            )
        return super()._definition(ancestors)


class _CarryingSite(Site):
    """``inner`` has the native routes, mounts and WebSockets."""

    __slots__ = ("_any", "_app", "_blocking", "_finds_native", "_routes", "inner")

    def __init__(self, app: Application, inner: Site, blocking: RouteKind) -> None:
        super().__init__(inner.config, inner.router, inner.sockets)
        self.exact, self.below, self.has_mounts = inner.exact, inner.below, inner.has_mounts
        self.inner = inner
        self._app = app
        self._blocking = blocking
        self._finds_native = inner.has_mounts or not inner.router.is_empty
        self._any = _CarriedRoute(app, None, inner.config, blocking)
        self._routes: dict[Route, _CarriedRoute] = {}

    def find(self, request: Request) -> tuple[NativeRoute, Any, Any] | Handover:
        """Return the native route or mount of a request, or else the application's."""
        path = path_of(request)
        if self._finds_native:
            try:
                return self.inner.find(request)
            except NativeError:
                request.path = path
        if self._app.hooks["before_request"]:  # they may change the path
            return self._any, (request, None), _NO_VALUES
        try:
            found = self._app.router.find(request.method.upper(), path)
        except HTTPError as error:
            return self._any, (request, error), _NO_VALUES
        target, arguments = found
        request.path_params = [*arguments.values()]
        carried = self._routes.get(target)
        if carried is None:
            self._routes[target] = carried = _CarriedRoute(self._app, target, self.config, self._blocking)
        return carried, (request, found), _NO_VALUES

    def config_of(self, request: Request) -> AppConfig:
        """See ``Site``."""
        return self.inner.config_of(request)

    def socket_routes(self, request: Request) -> Site | Handover:
        """See ``Site``."""
        return self.inner.socket_routes(request)


class _CarriedRoute(NativeRoute):
    """A route of the application; ``target`` is None for what is not known before the hooks have run."""

    def __init__(self, app: Application, target: Route | None, config: AppConfig, blocking: RouteKind) -> None:
        self.name = (
            "bottle" if target is None else str(target.name or getattr(target.callback, "__name__", target.rule))
        )
        self.methods = () if target is None else (target.method,)
        self.has_warned, self.reads_body, self.plain_args = False, True, 2
        is_async = target is not None and target.is_async
        # The body of an ``async def`` is received whole, before it runs: reading it there would block the loop.
        self.config = config if is_async else _without_limit(config)
        self.step_kind = AWAIT if is_async else blocking
        self.limited_step_kind = AWAIT if is_async else HANDLER

        def answer(request: Request, found: Found) -> Response | Awaitable[Response]:
            flow = run(Exchange(app, request), found)
            try:
                waiting = flow.send(None)
            except StopIteration as end:
                response: Response = end.value
                return response
            return _finish(flow, waiting)

        async def answer_async(request: Request, found: Found) -> Response:
            if request.method not in ("GET", "HEAD"):
                await request.body()
            response = answer(request, found)
            return await response if isawaitable(response) else response

        self.call: Callable[..., Any] = answer_async if is_async else answer


def _without_limit(config: AppConfig) -> AppConfig:
    return replace(config, settings=replace(config.settings, max_body_size=sys.maxsize))


async def _finish(flow: Generator[Awaitable[Any], Any, Response], waiting: Awaitable[Any]) -> Response:
    """Await what an ``async def`` handler made, and return the answer."""
    resume: Callable[[Any], Awaitable[Any]] = flow.send
    value: Any = None
    while True:
        try:
            resume, value = flow.send, await waiting
        except BaseException as error:
            resume, value = flow.throw, error
        try:
            waiting = resume(value)
        except StopIteration as end:
            response: Response = end.value
            return response
        finally:
            value = None  # an exception's traceback refers to this frame
