"""``Bottle.native``: the ``micropie.App`` that runs a Bottle application's handlers and native
handlers.

Servers call this ``App``, so lifespan, threads, streams and WebSockets are micropie's. The ``Site``
of the ``App`` tries the native routes first, then Bottle's router.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from inspect import isawaitable
from io import BytesIO
from types import GeneratorType, NoneType
from typing import Any, cast

from micropie import Request, SetupError
from micropie.middleware import kind_of
from micropie_compat.bottle.exchange import (
    Application,
    Exchange,
    Found,
    end,
    text_answer,
    to_response,
)
from micropie_compat.bottle.monitors import run_monitored
from micropie_compat.bottle.plugins import Encoder
from micropie_compat.bottle.requests import request as current_request
from micropie_compat.bottle.responses import BaseResponse, HTTPError, HTTPResponse
from micropie_compat.bottle.routing import Route, Router
from micropie_compat.bottle.state import decoded
from micropie_compat.carrier import NO_VALUES, Answer, Carried, CarryingSite, refused_method
from micropie_compat.core import Config, EncodedAnswer, MountRoute, OutsideRoute, RouteMatch, Site
from micropie_compat.environs import path_of
from micropie_compat.originals import watch
from micropie_compat.overrides import refuse
from micropie_compat.results import close_if_closable

# Types of results that are not awaitable; nearly all results have one of them.
_USUAL = frozenset({str, bytes, dict, list, NoneType, GeneratorType, HTTPResponse, HTTPError})


_MATCH = Router.match


class BottleSite(CarryingSite):
    """Finds a native route, or otherwise a route of the Bottle application."""

    def __init__(self, app: Application, inner: Site) -> None:
        super().__init__(app, inner)
        watch("bottle")
        self._app = app
        self._before = app.hooks["before_request"]
        self._search = app.router.search
        if getattr(app.router.match, "__func__", None) is not _MATCH:
            refuse(type(app.router), "match")
        with_routes = (one.app for one in app.routes if isinstance(one.app, Carried))
        owners: list[Any] = [*app._parts, *with_routes]
        if any(one is not app and not one.native._micropie.is_blank for one in owners):
            raise SetupError(
                "what you have set on .native of a mounted or merged Bottle has no effect: set it "
                "on .native of the application that is served, where paths begin at the site's root"
            )
        self._monitored = app.monitored()
        self._any = _BottleRoute(app, None, (), inner.config, self._monitored)
        self._routes: dict[Route, _BottleRoute] = {}

    def find(self, request: Request, takes_socket: bool = False) -> RouteMatch:
        """Return the native route or mount for a request, or otherwise the Bottle application's
        route.
        """
        exchange = request._exchange
        if self.own_call is not None:
            self.refuse_uncalled(request)
        path = exchange.literal_path
        if path is None:
            # Hooks read ``request.path``, so set it to the path that the router matches.
            request.path = path = decoded(path_of(request))
        native = self.find_native(request, path) if self.finds_native else None
        if native is not None:
            return native
        # Bottle's routes and hooks expect the method in capitals.
        exchange.method = method = exchange.method.upper()
        if self._before:  # hooks may change the path, so the route is found after them
            return self._any, (request, None), NO_VALUES
        try:
            found = self._search(method, path)
        except HTTPError as error:
            if refused_method(request) is not None:
                return self._any, (request, None), NO_VALUES
            return self._any, (request, error.with_traceback(None)), NO_VALUES
        target, arguments = found
        if arguments is None and target.is_async:
            return self._any, (request, None), NO_VALUES
        if arguments:
            exchange.path_params = [*arguments.values()]
        carried = self._routes.get(target)
        if carried is None:
            self._routes[target] = carried = _BottleRoute(
                self._app, target, [*(arguments or ())], self.config, self._monitored
            )
        # The handler's thread calls filters of the program.
        return carried, (request, None if arguments is None else found), NO_VALUES

    def find_mounted(self, request: Request) -> MountRoute | None:
        """See ``CarryingSite.find_mounted``."""
        with suppress(HTTPError):
            route = self._search("GET", decoded(path_of(request)))[0]
            target = route.get_config("mountpoint.target")
            if isinstance(target, Carried):
                return MountRoute.to(target, route.rule.partition("/<")[0], self.config)
        return None


class _BottleRoute(OutsideRoute):
    """A route of the Bottle application, with the names of its wildcards.

    ``target``: the Bottle ``Route``, or None if no route matches or if hooks must run before the
        search.
    ``monitored``: see ``Bottle.monitored``.
    """

    __slots__ = ("_after", "_app", "_limited", "_monitored", "_names", "_target")

    def __init__(
        self,
        app: Application,
        target: Route | None,
        names: Sequence[str],
        config: Config,
        monitored: Callable[..., Any] | None,
    ) -> None:
        if target is not None and target.is_async:
            super().__init__(config, self._answer_async, 2, kind_of(self._answer_async))
            self.config = config  # restores the body's size limit, which the base class removed
        else:
            super().__init__(config, self._answer_monitored if monitored else self._answer, 2)
        self._app = app
        self._monitored = monitored
        self._after = app.hooks["after_request"]
        self._target = target
        self._names = names
        self._limited = config
        if target is not None:
            self.name = str(target.name or getattr(target.callback, "__name__", target.rule))
            self.pattern, self.methods = target.rule, (target.method,)

    def _answer(self, request: Request, found: Found) -> Answer | Awaitable[Answer]:
        out: object = None
        dumps: Encoder | None = None
        failure: BaseException | None = None
        try:
            if found is None:
                found = self.begin_exchange(request).find_route(request)
            if isinstance(found, HTTPError):
                out = found
            else:
                route, arguments = found
                call, dumps = route._call or route.call, route.json_dumps
                out = call(**arguments)
                if out and not self._after and request.method != "HEAD":
                    # A shortcut for most requests: no hook follows, and the result is text or JSON.
                    exchange = _shared(request)
                    if exchange is not None and exchange._response is not None:
                        if type(out) is str:
                            return text_answer(exchange, out)
                    elif type(out) is str:
                        body = out.encode()
                        default = BaseResponse.default_content_type
                        return EncodedAnswer((200, default, len(body), (), body, None))
                    elif type(out) is dict and dumps is not None:
                        body = dumps(out).encode()
                        return EncodedAnswer((200, "application/json", len(body), (), body, None))
        except BaseException as error:
            failure = error
        exchange = self.begin_exchange(request)
        if type(out) not in _USUAL and isawaitable(out):
            return _finish(request, self._limited, exchange, out, dumps)
        try:
            return end(exchange, out, failure, dumps)
        finally:
            del failure  # avoids a reference cycle between the traceback and this frame

    def _answer_monitored(self, request: Request, found: Found) -> Answer | Awaitable[Answer]:
        assert self._monitored is not None  # noqa: S101
        function = partial(self._answer, request, found)
        exchange = self.begin_exchange(request)
        return cast("Answer", run_monitored(self._monitored, exchange, function))

    async def _answer_async(self, request: Request, found: Found) -> Answer:
        await _receive(request, self._limited)
        answer = self._answer(request, found)
        return await answer if isawaitable(answer) else answer

    def begin_exchange(self, request: Request) -> Exchange:
        """Return the ``Exchange`` that ``bottle.request`` and ``bottle.response`` use, and
        create it at the first call.
        """
        exchange: Exchange | None = getattr(request, "bottle_exchange", None)
        if exchange is None:
            names = self._names
            arguments = dict(zip(names, request.path_params, strict=True)) if names else NO_VALUES
            exchange = Exchange(self._app, request, self._target, arguments)
        return exchange


def _shared(request: Request) -> Exchange | None:
    """Return the exchange of a request, if it has one, after ``share_environ``."""
    exchange: Exchange | None = getattr(request, "bottle_exchange", None)
    if exchange is not None:
        exchange.share_environ()
    return exchange


async def _receive(request: Request, limited: Config) -> None:
    """Receive the whole body unless a hook has read it, so that a handler on the event loop needn't
    block while reading it.
    """
    request._exchange.config = limited
    exchange = getattr(request, "bottle_exchange", None)
    environ = {} if exchange is None or exchange._environ is None else exchange._environ
    if (
        request._exchange.body.data is None
        and request.method not in ("GET", "HEAD")
        and "bottle.request.body" not in environ
    ):
        environ["wsgi.input"] = BytesIO(await request.body())


async def _finish(
    request: Request, limited: Config, exchange: Exchange, out: object, dumps: Encoder | None
) -> Answer:
    """Await the result of an ``async def`` handler, and return the response."""
    failure: BaseException | None = None
    try:
        await _receive(request, limited)
    except BaseException as error:
        # Close the coroutine, because Python warns if it is neither awaited nor closed.
        close_if_closable(out)
        out, failure = None, error
    while isawaitable(out):
        try:
            out = await out
        except BaseException as error:
            out, failure = None, error
    try:
        return end(exchange, out, failure, dumps)
    finally:
        del failure  # avoids a reference cycle between the traceback and this frame


def answer_raised(app: Application, request: Request, error: HTTPResponse) -> Answer:
    """Return the response of Bottle's error handlers for ``abort`` or ``redirect`` called in a
    native handler.
    """
    # Create micropie's response: without it, ``_native`` wouldn't return a ``Response`` for a
    # stream.
    request._exchange.response()
    exchange = getattr(request, "bottle_exchange", None)
    if exchange is None:
        environ = current_request.environ
        exchange = Exchange(app, request)
        exchange.environ = environ
    return to_response(exchange, error)
