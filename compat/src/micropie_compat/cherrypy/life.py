"""Handle a request in CherryPy's steps:

- The dispatcher finds the handler and its configuration. Tools and hooks are attached.
- The hooks of ``on_start_resource`` run, and the query is parsed.
- The hooks of ``before_request_body`` run, and the body is parsed.
- The hooks of ``before_handler`` run. The handler runs, unless a tool has set the response.
- The hooks of ``before_finalize`` run, and the status and the length are set. After an
  ``HTTPError`` or a redirect, the request continues here.
- The hooks of ``on_end_resource`` run in any case.
- After an unhandled exception, the hooks of ``before_error_response`` run, the error page is set,
  and the hooks of ``after_error_response`` run.
- The response is sent, and the hooks of ``on_end_request`` run.

``answer`` is a generator. For an ``async def`` handler it yields the handler's awaitable, and the
caller passes the awaited result to ``send``. For a ``def`` handler it never yields, so all steps
run in one thread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from inspect import isawaitable
from io import BytesIO
from typing import Any, TypeAlias

from micropie import ClientDisconnect, Redirect
from micropie import HTTPError as NativeError
from micropie import Request as NativeRequest
from micropie_compat.cherrypy.errors import (
    HTTPError,
    HTTPRedirect,
    InternalRedirect,
    bare_error,
    shown_traceback,
)
from micropie_compat.cherrypy.lib.encoding import ResponseEncoder
from micropie_compat.cherrypy.lib.httputil import urljoin
from micropie_compat.cherrypy.lib.jsontools import encoded, json_in
from micropie_compat.cherrypy.log import log
from micropie_compat.cherrypy.messages import Request, Response, served
from micropie_compat.cherrypy.plans import NO_PLAN, Plan
from micropie_compat.cherrypy.process.wspbus import bus
from micropie_compat.cherrypy.serving import Exchange
from micropie_compat.core import redirect_response
from micropie_compat.results import then

# Encodes like the tool ``encode`` with its default options.
encoded_plainly = ResponseEncoder.__new__(ResponseEncoder).encode

Life: TypeAlias = Generator[Awaitable[object], Any, Exchange]


@dataclass(slots=True)
class Begun:
    """The state of a request before ``answer`` runs: the handler's result or exception."""

    body: object = None
    failure: Exception | None = None
    is_called: bool = False
    """Whether steps 1 to 3 (see the module's docstring) have been run."""


def begin(native: NativeRequest, app: Any, path: str) -> tuple[Exchange, Begun]:
    """Find the handler for a request.

    If the request has no tools other than those that this function handles itself (see
    ``Plan.is_plain``), also call the handler.
    """
    request = served(app.request_class).begin(native._exchange, app, path)
    exchange = Exchange(request, app.response_class())
    native.__dict__["_cherrypy"] = exchange
    if bus.watches_requests:
        _publish_at_end(native)
        bus.publish("acquire_thread")
        bus.publish("before_request")
    begun = Begun()
    try:
        plan = _find(request)
        is_in_place = request.is_index is not True or request.path_info[-1:] == "/"
        if (
            plan.is_plain
            and is_in_place
            and request.handler is not None
            and "hooks" not in request.__dict__
        ):
            begun.is_called = True
            request.stage = "handler"
            request.__dict__.update(plan.request)
            if request.query_string:
                request.process_query_string()
            if request.method not in request.methods_with_bodies:
                request.process_request_body = False
            elif request.process_request_body:
                if plan.takes_json:
                    json_in()
                request.body.process()
            if plan.is_json:
                exchange.response.state_media_type("application/json")
                begun.body = then(request.handler(), encoded)
            else:
                begun.body = request.handler()
    except Exception as error:
        begun.failure = error
    return exchange, begun


def _publish_at_end(native: NativeRequest) -> None:
    """Publish ``after_request`` after the response. Listeners may read ``cherrypy.request``."""
    publish = partial(bus.publish, "after_request")
    if native.environ is None:
        native.after_response(publish)
    else:  # the server may close the response in another context
        native.on_close(partial(copy_context().run, publish))


def _find(request: Request) -> Plan:
    """Set a request's handler and configuration, and return the plan for this configuration (see
    ``plans.py``).
    """
    app = request.app
    dispatch = request.dispatch
    if app.config or app.is_asked:
        dispatch = app.find_config(request.path_info, "request.dispatch", dispatch)
    dispatch(request.path_info)
    own = request.__dict__
    plan: Plan = app.plans.plan_of([own["config"]] if "config" in own else request.micropie_configs)
    own["micropie_plan"] = plan
    # Add what the dispatcher has set, because it ran without a plan.
    hooks, pages = own.pop("hooks", None), own.pop("error_page", None)
    own.pop("toolmaps", None)
    if hooks:
        for point, attached in hooks.items():
            request.hooks[point][:0] = attached
    if pages:
        request.error_page = {**pages, **plan.error_page}
    return plan


def answer(exchange: Exchange, begun: Begun) -> Life:
    """Run the steps that ``begin`` hasn't run.

    Return the exchange with the response to send. After internal redirects this is the exchange of
    the last request.
    """
    request: Request = exchange.request
    app = request.app
    visited: list[str] = []
    while True:
        try:
            if _place_of(request) in visited:
                raise RuntimeError(f"InternalRedirect leads to {visited} in circles")
            yield from _respond(request, exchange.response, begun)
            break
        except InternalRedirect as error:
            redirect = error
        except BaseException as error:
            is_raised = not isinstance(error, Exception) or request.throw_errors
            if is_raised or isinstance(error, ClientDisconnect | NativeError):
                request.close()  # because no response follows, at whose end it would be closed
                raise
            _give_up(request, exchange.response)
            break
        visited.append(_place_of(request))
        request.close()
        request = _redirected(request, app, redirect)
        vars(exchange).clear()  # also the session
        exchange.request, exchange.response = request, app.response_class()
        del redirect  # avoids a reference cycle between the traceback and this frame
        begun = Begun()
    log.access()
    return exchange


def _place_of(request: Request) -> str:
    path = request.script_name + request.path_info
    return f"{path}?{request.query_string}" if request.query_string else path


def _redirected(request: Request, app: Any, redirect: InternalRedirect) -> Request:
    """Return a new request for the page of an ``InternalRedirect``: a GET without a body."""
    following: Request = served(app.request_class).begin(
        request.native, app, urljoin(request.script_name, redirect.path)
    )
    following.method = "GET"
    following.query_string = redirect.query_string
    following.rfile = BytesIO()
    following.headers["Content-Length"] = "0"
    following.prev = request
    return following


def _respond(
    request: Any, response: Response, begun: Begun
) -> Generator[Awaitable[object], Any, None]:
    try:
        try:
            try:
                if begun.failure is not None:
                    raise begun.failure
                body = begun.body
                if not begun.is_called:
                    if request.micropie_plan is NO_PLAN:
                        _find(request)
                    request.micropie_plan.apply(request, response)
                    _run(request, "on_start_resource")
                    if request.query_string:
                        request.stage = "process_query_string"
                        request.process_query_string()
                    if (
                        request.process_request_body
                        and request.method not in request.methods_with_bodies
                    ):
                        request.process_request_body = False
                    _run(request, "before_request_body")
                    if request.process_request_body:
                        request.body.process()
                    _run(request, "before_handler")
                    request.stage = "handler"
                    if request.handler:
                        body = request.handler()
                if begun.is_called or request.handler:
                    while type(body) is not bytes and isawaitable(body):
                        body = yield body
                    response.body = encoded_plainly(body) if begun.is_called else body
                _run(request, "before_finalize")
                response.finalize()
            except (HTTPRedirect, HTTPError, Redirect) as error:
                (
                    _as_ours(error, request, response) if isinstance(error, Redirect) else error
                ).set_response()
                request.stage = "before_finalize (HTTPError)"
                request.micropie_hooks.run("before_finalize")
                response.finalize()
        finally:
            begun.failure = None  # avoids a reference cycle between the traceback and this frame
            _run(request, "on_end_resource")
    except (*request.throws, ClientDisconnect, NativeError):
        raise
    except Exception:
        if request.throw_errors:
            raise
        _handle_error(request, response)


def _as_ours(redirect: Redirect, request: Request, response: Response) -> HTTPRedirect:
    """Convert micropie's redirect to CherryPy's. A CherryPy handler may call a function that raises
    micropie's redirect, because native handlers call it too.

    Raises 400 for a location that micropie's redirect doesn't allow.
    """
    redirect_response(redirect, NativeRequest(request.native))
    for name, value in redirect.headers:
        response.headers[name] = value
    return HTTPRedirect(redirect.location, redirect.status)


def _run(request: Request, point: str) -> None:
    request.stage = point
    hooks = request.micropie_hooks
    if point in hooks:
        hooks.run(point)


def _handle_error(request: Request, response: Response) -> None:
    """Set the response for an unexpected exception."""
    if request.micropie_plan is NO_PLAN:  # the tool ``log_tracebacks`` isn't attached yet
        log(traceback=True, severity=40)
    try:
        request.hooks.run("before_error_response")
        if request.error_response:
            request.error_response()
        request.hooks.run("after_error_response")
        response.finalize()
    except HTTPRedirect as redirect:
        redirect.set_response()
        response.finalize()


def _give_up(request: Request, response: Response) -> None:
    """Log an error raised by the error handling itself, and set a response of one sentence."""
    log(traceback=True, severity=40)
    response.__dict__.pop("headers", None)
    response.headers["Content-Type"] = "text/plain"
    response.status, response.stream = 500, False
    response.body = bare_error(shown_traceback())[2]
    response.finalize()
