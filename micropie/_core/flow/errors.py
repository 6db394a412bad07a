"""Respond to exceptions: with the response of the application's error handler, with a plain
sentence, or with the debug page.

The client sees only the status, one sentence and the request's id. The traceback goes to the log.
With ``debug``, clients on this machine see it too.
"""

from __future__ import annotations

import errno

from micropie._core import execution, files
from micropie._core.errors import (
    ClientDisconnect,
    HTTPError,
    MethodNotAllowed,
    RaisedAnswer,
    Redirect,
    logger,
)
from micropie._core.execution.placement import AnyFunction
from micropie._core.execution.steps import Flow, Outage, call
from micropie._core.http import (
    FileReference,
    Request,
    Response,
    error_answer,
    error_response,
    redirect_response,
)
from micropie._core.routing import ErrorHandler, config_of
from micropie._core.streams import stream_of

_TEXTS = str, bytes


def respond_to(request: Request, failure: Exception) -> Flow[Response]:
    """Return the response to ``failure``: that of the application's error handler, or a plain one.

    If ``failure`` is an ``HTTPError`` or a ``Redirect``, the response has the headers that were set
    on ``self.response``. Headers that describe a body are left out, because that body isn't sent.
    The exception's own headers replace those with the same name. If the error handler itself fails,
    return the plain response. This function never raises an exception.
    """
    exchange = request._exchange
    answer = exchange.answer
    try:
        response, handler, expected = None, None, False
        failure = _as_unavailable(request, failure) if type(failure) is OSError else failure
        if isinstance(failure, Redirect):
            if exchange.config.advisor is not None:
                exchange.config.advisor.review_redirect(exchange, failure)
            try:
                response = redirect_response(failure, request)
            except HTTPError as error:
                # The redirect points to another site, or the Host header is malformed.
                failure = error.with_traceback(None)  # Avoid a reference cycle with this frame.
        elif exchange.method == "OPTIONS" and isinstance(failure, MethodNotAllowed):
            # An OPTIONS request asks which methods the path allows. The exception's Allow header
            # lists them.
            response = Response(None, 204, failure.headers)
        elif isinstance(failure, ClientDisconnect):
            response = error_response(400, "The request's body ended too early.")
        if response is None and exchange.config.error_handlers:
            handler, expected, text_type = config_of(exchange).error_handler_for(failure)
        if answer.response is not None:
            answer.keep_headers(isinstance(failure, RaisedAnswer))
        if handler is not None:
            response = yield from _custom_response(request, failure, handler, expected, text_type)
        else:
            response = response or _default_response(request, failure)
            response = response if answer.response is None else answer.set_result(response)
    # The error handler has failed, or a file that it returned can't be opened.
    except BaseException as error:
        response = plain_response(request, execution.contained(error))
    return response


def plain_response(request: Request, failure: Exception) -> Response:
    """Return micropie's own response to an exception. An ``HTTPError`` has its own status. Any
    other exception is logged and gets a 500. No code of the application runs.
    """
    if type(failure) is OSError:
        failure = _as_unavailable(request, failure)
    if not isinstance(failure, HTTPError):
        log_failure(request, failure)
        advice = f". Request id: {request.id}" if request.id else ""
        failure = HTTPError(500, f"500 Internal Server Error{advice}")
    return error_answer(request, failure)


def _as_unavailable(request: Request, failure: OSError) -> OSError:
    """Return a 503 in place of ``failure`` if the process or the machine has run out of file
    descriptors, because such a shortage usually ends soon. Otherwise, return ``failure`` unchanged.
    """
    if failure.errno in (errno.EMFILE, errno.ENFILE):
        failure = Outage.Unavailable("Please try again later.", str(failure))
        request._exchange.log_failure(f"{request._exchange.label} failed", failure)
    return failure


def drop_traceback(error: Exception | None) -> None:
    """Drop the traceback of an ``HTTPError`` or ``Redirect`` that became a response.

    An application may raise one object again and again. Each time, Python extends its traceback,
    which would keep all these requests in memory.
    """
    if isinstance(error, RaisedAnswer):
        error.__traceback__ = None


def log_failure(request: Request, failure: Exception) -> None:
    """Log an exception with its traceback and the name of the handler."""
    exchange = request._exchange
    place = f" in {request.route.name}" if request.route is not None else ""
    exchange.log_failure(f"{exchange.label} failed{place}", failure)


def _custom_response(
    request: Request, failure: Exception, handler: ErrorHandler, expected: bool, text_type: str
) -> Flow[Response]:
    """Return the response of the application's error handler. If the error handler raises an
    ``HTTPError`` or a ``Redirect``, return the default response to that exception. If it returns a
    file that doesn't exist, return the default response to ``failure``.
    """
    exchange = request._exchange
    answer = exchange.answer
    try:
        if not expected and not isinstance(failure, HTTPError):
            log_failure(request, failure)
        if isinstance(failure, HTTPError):
            # Keep the exception's headers, because some statuses need them: Allow,
            # WWW-Authenticate, Retry-After.
            answer.set_error(failure.status, failure.headers)
        else:
            (answer.response or answer.begin_response()).status = 500
        given = [failure if one else request for one in handler.takes_error]
        result = yield from call(handler.kind, _call_once, handler.function, given)
        if result is None and exchange.config.advisor is not None:
            exchange.config.advisor.review_error_handler(handler.function)
        response = answer.set_result(result)
    except (HTTPError, Redirect) as error:
        # The error handler may have raised ``failure`` again. The traceback of ``failure`` refers
        # to this frame, so keeping the variable would make a reference cycle.
        del failure
        response = (
            redirect_response(error, request)
            if isinstance(error, Redirect)
            else _default_response(request, error)
        )
        drop_traceback(error)
        return answer.set_result(response)
    if response.content_type is None and (
        isinstance(response.body, _TEXTS) or stream_of(response.body)
    ):
        response.content_type = text_type
    if response.body.__class__ is FileReference:
        try:
            file = yield from files.open_file(request, response)
        except HTTPError as error:
            if error.status != 404:
                raise
            # The client must not get this 404 for a failure.
            path, root = response.body.path, response.body.options.root
            logger.warning("%s: there is no error page %r in %r", exchange.label, path, root)
            answer.take_back(result)
            is_known = expected or isinstance(failure, HTTPError)
            return answer.set_result(
                _default_response(request, failure if is_known else HTTPError(500))
            )
        files.describe(request, response, *file)
    if answer.stream is None:
        # Register the stream now, so that it is closed if a hook replaces the response.
        answer.begin(stream_of(response.body))
    return response


def _call_once(function: AnyFunction, arguments: list[object]) -> object:
    """Call an error handler, and empty the list of its arguments, which contains the exception.

    This avoids a reference cycle: the driver keeps its last step, the step keeps the list, the list
    would keep the exception, and the exception's traceback refers to the driver's frame.
    """
    given = [*arguments]
    arguments.clear()
    return function(*given)


def _default_response(request: Request, failure: Exception) -> Response:
    config, page = request._exchange.config, None
    if config.advisor is not None:
        page = config.advisor.debug_page(request, failure)
    return page or plain_response(request, failure)
