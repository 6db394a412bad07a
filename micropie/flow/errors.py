"""The response to an exception: the author's error handler, a plain sentence or the debug page.

A client learns no more than the status, one sentence and the request's id. The traceback goes to
the log, and to a client on this machine if ``debug`` is on.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Callable
from typing import Any

from micropie import files
from micropie.errors import (
    ClientDisconnect,
    HTTPError,
    MethodNotAllowed,
    RaisedAnswer,
    Redirect,
    logger,
)
from micropie.http import (
    BindingError,
    Exchange,
    FileReference,
    MultiDict,
    Request,
    Response,
    error_answer,
    error_response,
    redirect_response,
)
from micropie.on_demand import by_name, module
from micropie.routing import ErrorHandler, config_of, handlers_route, place_of
from micropie.steps import Flow, Outage, call
from micropie.streams import is_stream, stream_of

# Few sites that serve strangers have ``debug=True``.
debug: Any = module("micropie.debug")


def respond_to(request: Request, failure: Exception) -> Flow[Response]:
    """Return the response of the author's error handler for ``failure``, or else the plain one.

    The answer to an ``HTTPError`` or a ``Redirect`` has the headers that were set on
    ``self.response``, except those that describe another body. An exception on the way there is
    answered with a plain response; nothing is raised.
    """
    exchange, answer = request._exchange, request._exchange.answer
    try:
        response, handler, expected = None, None, False
        if type(failure) is OSError:
            failure = _by_its_number(request, failure)
        if isinstance(failure, Redirect):
            try:
                response = redirect_response(failure, request)
            except HTTPError as error:  # it leads to another site, or the Host is malformed
                failure = error.with_traceback(None)  # which refers to this frame
        elif exchange.method == "OPTIONS" and isinstance(failure, MethodNotAllowed):
            # the answer names the methods
            response = Response(None, 204, failure.headers)
        elif isinstance(failure, ClientDisconnect):
            response = error_response(400, "The request's body ended too early.")
        if response is None and exchange.config.error_handlers:
            handler, expected, text_type = config_of(exchange).error_handler_for(failure)
        if answer.response is not None:
            answer.keep_headers(isinstance(failure, RaisedAnswer))
        if handler is not None:
            response = yield from _author_response(request, failure, handler, expected, text_type)
        else:
            response = response or _default_response(request, failure)
            response = response if answer.response is None else answer.pour(response)
    except Exception as error:  # an HTTPError is from opening the author's page for this error
        response = plain_response(request, error)
    return response


def plain_response(request: Request, failure: Exception) -> Response:
    """Return the response that asks nothing of the application: to an ``HTTPError`` its own, to any
    other exception, which is logged, a 500.
    """
    if type(failure) is OSError:
        failure = _by_its_number(request, failure)
    if not isinstance(failure, HTTPError):
        log_failure(request, failure)
        advice = f". Request id: {request.id}" if request.id else ""
        failure = HTTPError(500, f"500 Internal Server Error{advice}")
    return error_answer(request, failure)


def _by_its_number(request: Request, failure: OSError) -> OSError:
    """Return a 503 for a failure because the process or the machine has no descriptors left, which
    is over soon; any other as it is.
    """
    if failure.errno in (errno.EMFILE, errno.ENFILE):
        failure = Outage.Unavailable("Please try again later.", str(failure))
        request._exchange.log_failure(f"{request._exchange.label} failed", failure)
    return failure


def log_failure(request: Request, failure: Exception) -> None:
    """Log an exception with its traceback, and the handler's name."""
    exchange = request._exchange
    place = f" in {request.route.name}" if request.route is not None else ""
    is_key = type(failure) is KeyError
    hint = _hint_of_name(failure) if is_key else _hint(exchange, failure)
    if hint:
        failure.add_note(hint)
    exchange.log_failure(f"{exchange.label} failed{place}", failure)


def _hint(exchange: Exchange, failure: Exception) -> str:
    """Return the advice that the sentence of an exception lacks for frequent mistakes, "" for any
    other failure.
    """
    hints = _HINTS.get(type(failure).__name__)
    if hints is None:
        return ""  # an author's own class may fail in str()
    text = str(failure)
    for expression, advice in hints.items():
        if re.search(expression, text):
            return advice
    route = handlers_route(exchange)
    function = None if route is None else route.function
    code = getattr(function, "__code__", None)
    if (
        code is not None
        and re.search(r"str.*\bint\b|\bint\b.*str", text)
        and type(failure) is TypeError
    ):
        for name in code.co_varnames[1 : code.co_argcount]:
            if name not in getattr(function, "__annotations__", ()):
                return (
                    f"Without an annotation {name} comes as text: write {name}: int, for example."
                )
    if type(failure) is AttributeError and route is not None and route.is_pooled:
        for name in vars(route.config.app):
            if f"no attribute {name!r}" in text:
                return (
                    "In a process, self has nothing that __init__ sets: keep "
                    f"{name} in the class or the module."
                )
    return ""


def _hint_of_name(failure: Exception) -> str:
    """Return the advice for a name that a query or a form lacks, "" for another key."""
    *_, (frame, _) = traceback.walk_tb(failure.__traceback__)
    if frame.f_code is not MultiDict.__getitem__.__code__:
        return ""
    return f"The client has sent no {failure}: write .get({failure}), or take it as a parameter."


# What the request has by other names elsewhere; templates have it as well.
_OF_REQUESTS = {
    f"Request(' object| object') has no attribute '{name}'": f"Write {own}."
    for name, own in by_name(
        {
            'request.query["name"]': "args GET",
            'request.form["name"]': "POST forms",
            "request.query or request.form": "params values",
            'request.files["name"]': "FILES",
            'request.cookies["name"]': "COOKIES",
            'request.headers["Name"]': "META environ",
            "request.read(), or await request.body()": "data",
            "request.client.host": "remote_addr",
            "request.state.user, if a hook has set it": "user",
        }
    ).items()
}

# What is written by habit from other frameworks: by the exception's class, expressions for its text
# with the advice.
_HINTS = {
    "TypeError": {
        "object method can't be": "A method is called first: await request.body().",
        "can't be (awaited|used in 'await')|MultiDict.__call__.. missing": (
            "request.json(), uploads, and form and files, which take no (), are there without "
            "waiting: leave await out."
        ),
        "keyword argument 'status_code'": (
            'The argument is called status: HTTPError(404, "No pie."), Response(body, status=404).'
        ),
        "keyword argument 'detail'": (
            'The sentence is the second argument: HTTPError(404, "No such pie.").'
        ),
        "keyword argument '(media_type|mimetype)'": (
            'The argument is called content_type: Response(body, content_type="text/csv").'
        ),
        "keyword argument 'content'": 'The body comes first: Response("text", status=201).',
        "Redirect.* keyword argument 'code'": (
            'The argument is called status: Redirect("/pies", status=302).'
        ),
        "cookie.* keyword argument 'secret'": (
            'Write request.set_signed_cookie("name", value), with App(secret_key=...).'
        ),
        "(render|template)(_async|_stream)?[(][)] takes .* positional": (
            'The request is not given: render("page.html", {"name": "value"}).'
        ),
        "'Response' object does not support item": "Write response.headers[...].",
        "'builtin_function_or_method' object is not iterable": (
            "A method is called first, in a template as well: d.items()."
        ),
        "Redirect.* keyword argument 'permanent'": 'Write Redirect("/pies", status=308).',
        "'(Headers|MultiDict)' object does not support item": (
            "It is what the client has sent: write response.headers[...] for the answer, and "
            "request.state.name = value for what other code reads."
        ),
        "'WebSocket' object is not iterable": "Write async for message in ws.",
        "'method' object is not subscriptable": (
            'A method is called first: request.json()["name"].'
        ),
    },
    "AttributeError": {
        "'(method|function)' object has no attribute '(decode|get|items|read|split|strip)'": (
            "It is a method: call it first, as in request.read() and request.json()."
        ),
        "(?<!'Response') object has no attribute '(session|cookies|form|files|query|headers)'$": (
            "The request has it: self.request.session, self.request.query and others."
        ),
        "'UploadFile' object has no attribute '(save|move|write_to)": (
            'Write upload.save_to("uploads"), a directory.'
        ),
        "'Session' object has no attribute": (
            'A session is a dict: session["name"]. App(session_timeout=...) ends it.'
        ),
        "'WebSocket' object has no attribute '(iter_|listen|read|receive|recv|send)": (
            "Write async for message in ws, await ws.receive_text(), await ws.send_text(...)."
        ),
        **{
            f"'Response' object has no attribute '{name}'": f"Write {own}."
            for name, own in by_name(
                {
                    "response.status = 201": "status_code",
                    'response.content_type = "text/csv"': "mimetype media_type",
                    "return and the body": "data text content json send write end",
                    'return Redirect("/pies")': "redirect",
                    'response.set_cookie("name", "value")': "cookies",
                }
            ).items()
        },
        **_OF_REQUESTS,
    },
    "RuntimeError": {  # of asyncio
        "no (running|current) event loop": (
            "A def handler runs in a thread: write async def, or run_async(function)."
        ),
        "cannot be called from a running event loop": "Write await in front of the call.",
    },
    "TemplateSyntaxError": {  # of Jinja2
        "unknown tag 'csrf_token'": "Write {{ csrf_input }} in the form.",
        "unknown tag 'url'": "Write {{ url_for('name', 5) }}.",
        "expected token 'end of print statement', got ':'": (
            "What a filter takes is in brackets: {{ name|filter('x') }}, {{ day.strftime('%Y') }}."
        ),
        "unknown tag '(static|load)'": "Write {{ static_url('site.css') }}, and no load.",
    },
    "UndefinedError": {
        **_OF_REQUESTS,
        "^'errors' is undefined$": (
            "A form's page takes errors: write the parameter errors: "
            "BindingErrors, and template(..., errors=errors)."
        ),
    },
}


def _author_response(
    request: Request, failure: Exception, handler: ErrorHandler, expected: bool, text_type: str
) -> Flow[Response]:
    """Return the response of the author's error handler or, if that raises an ``HTTPError`` or a
    ``Redirect``, the default response to it.
    """
    exchange, answer = request._exchange, request._exchange.answer
    try:
        if not expected and not isinstance(failure, HTTPError):
            log_failure(request, failure)
        # Allow, WWW-Authenticate, Retry-After: part of what the status means.
        status, headers = (
            (failure.status, failure.headers) if isinstance(failure, HTTPError) else (500, ())
        )
        answer.pour(Response(None, status, headers))
        given: list[object] = [request, failure][handler.given]
        result = yield from call(handler.kind, _call_once, handler.function, given)
        if result is None and exchange.config.settings.debug:
            logger.warning(
                "%s: the error handler returned nothing, so the answer is empty: write return",
                place_of(handler.function),
            )
        response = answer.pour(result)
    except (HTTPError, Redirect) as error:  # raised by the error handler
        # The handler may have raised ``failure`` itself, whose traceback refers to this frame: the
        # request would be a cycle.
        del failure
        return answer.pour(
            redirect_response(error, request)
            if isinstance(error, Redirect)
            else _default_response(request, error)
        )
    if response.content_type is None and (
        isinstance(response.body, str | bytes) or is_stream(response.body)
    ):
        response.content_type = text_type
    if type(response.body) is FileReference:
        yield from files.open_file(request, response)
    if answer.stream is None:
        answer.begin(stream_of(response.body))  # to be closed if a hook replaces it
    return response


def _call_once(function: Callable[..., object], arguments: list[object]) -> Any:
    """Call an error handler. A driver's frame keeps its last step, and the error's traceback refers
    to that frame: the step must not keep the error.
    """
    given = [*arguments]
    arguments.clear()
    return function(*given)


def _default_response(request: Request, failure: Exception) -> Response:
    exchange = request._exchange
    is_shown = exchange.config.settings.debug
    if isinstance(failure, HTTPError):
        if failure.status == 404 and exchange.list_routes is not None:
            debug.warn_of_attribute(request)
            if debug.may_see_debug_pages(request):
                plain, entries = error_answer(request, failure, "auto"), exchange.list_routes()
                page: Response = debug.not_found_page(request, failure, plain, entries)
                return page
        if is_shown and isinstance(failure, BindingError):
            sentences = [error.sentence for error in failure.errors]
            for one in failure.errors:
                if one.source == "file" and one.given is None:
                    name = one.parameter
                    sentences.append(f"{name} came as a file: write {name}: UploadFile.")
            logger.warning("%s: %s", exchange.label, " ".join(sentences))
        return error_answer(request, failure)
    if is_shown and debug.may_see_debug_pages(request):
        log_failure(request, failure)
        plain = error_answer(request, HTTPError(500), "auto")
        shown: Response = debug.error_page(request, failure, plain)
        return shown
    return plain_response(request, failure)
