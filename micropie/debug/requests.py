"""Advice about a request in development, and its debug page.

The advice is about results that probably aren't intended, and about names in a request that match
no parameter.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from contextlib import suppress
from io import IOBase
from pathlib import PurePath
from typing import Any

from micropie import BindingError, HTTPError, Redirect, Request, Response
from micropie._core.binding import answer_parts, answers_of
from micropie._core.errors import annotations_of, has_yield, logger
from micropie._core.execution.placement import innermost
from micropie._core.flow import log_request_failure
from micropie._core.http import (
    CSRF_FIELD,
    Exchange,
    FileReference,
    Session,
    error_answer,
    states_status,
)
from micropie._core.routing import handlers_route, place_of, route_of
from micropie._core.routing.discovery import AnyFunction, Checking, Provider, type_name
from micropie.debug.access import may_see_debug_pages
from micropie.debug.page import error_page, not_found_page, warn_of_attribute
from micropie.debug.source import FunctionSource
from micropie.extensions import TypeInfo

_ERRORS = range(400, 600)
_LONGEST = 100  # how many characters of a name are logged
_MISSING = "; expected"  # a part of most sentences about a missing value


def _warn(sentence: str) -> None:
    logger.warning("%s", sentence)


def review_result(exchange: Exchange, result: object) -> None:
    """Log a result that is probably an error: None although the annotation doesn't allow it, or a
    value that seems to be a status, headers or a file.
    """
    route, set_up = handlers_route(exchange), exchange.answer.response
    if route is None:
        return
    warn_of_names(exchange)
    if set_up is None or set_up.status == 200:
        is_typed = set_up is not None and (
            set_up.content_type is not None
            or "Content-Type" in set_up.headers
            or "Content-Encoding" in set_up.headers
        )
        stated = getattr(route.description, "status", None) or 200
        if advice := _advice_for(route.function, result, stated, is_typed):
            _warn(f"{place_of(route.function)}: {route.name} {advice}")


def _advice_for(function: AnyFunction, result: object, stated: int, is_typed: bool) -> str:
    """Return the advice about a handler's result, or "".

    - ``stated``: the status that ``@describe`` declares.
    - ``is_typed``: whether the handler has set a content type for the response.
    """
    if result is None and stated == 200:
        return (
            ""
            if _says_none(function)
            else "returned nothing, so the response is empty: return a value, or annotate the "
            "handler with -> None if the response should be empty"
        )
    if type(result) is tuple:
        return _advice_for_tuple(function, result)
    if not is_typed and (advice := _advice_for_value(function, result)):
        return advice
    if stated == 200 or isinstance(result, Response | HTTPError | Redirect):
        return ""
    return (
        f"returned {type(result).__name__} without a status, so it is sent with 200, but "
        f'@describe declares {stated}: write "return {stated}, value"'
    )


def _advice_for_value(function: object, result: object) -> str:
    """Return the advice for a value that probably wasn't meant to be sent as it is (a status,
    binary data, JSON text or a file), or "".
    """
    is_status = type(result) is int and result in (201, 202, 204, *_ERRORS)
    if is_status and annotations_of(function).get("return") not in (int, "int"):
        write = f"raise HTTPError({result})" if result in _ERRORS else f"return {result}, None"
        return f"returned {result}, sent as a JSON number with status 200: write {write}"
    if type(result) is bytes and _read(bytes.decode, result) is None:
        return (
            "returned bytes that aren't text but are sent as text/html: write "
            'Response(..., content_type="image/png")'
        )
    if type(result) is str and isinstance(_read(json.loads, result), dict | list):
        return "returned JSON as a str, which is sent as text: return the dict or the list itself"
    if isinstance(result, PurePath | IOBase):
        return (
            f"returned {type(result).__name__}, which is not sent as a file: write "
            'static_file("pie.pdf", root="files"), or return the content'
        )
    return ""


def review_response(exchange: Exchange, response: Response) -> None:
    """Log a redirect status without a Location."""
    if response.status in (301, 302, 303, 307, 308) and "Location" not in response.headers:
        _warn(
            f"{exchange.label} sends {response.status} without a Location: write "
            f'Redirect("/pies", status={response.status})'
        )


def _read(read: Callable[[Any], object], value: object) -> object:
    """Return what ``read`` returns for a value, or None if the value can't be read."""
    try:
        return read(value)
    except (ValueError, RecursionError):
        return None


def _advice_for_tuple(function: AnyFunction, result: tuple[object, ...]) -> str:
    """Return advice about a status that the handler's annotation doesn't have, and about a tuple
    that another framework would turn into a response, and that micropie sends as a JSON list.
    Return "" for any other tuple.
    """
    first, *others = result or ("",)
    if states_status(result):
        # An annotation without statuses allows all statuses.
        declared = [answer_parts(one)[0] or result for one in answers_of(function)]
        if any(first in one for one in declared):
            return ""
        return f"returned status {first}, but its annotation has no Literal[{first}]: add it"
    if isinstance(first, str | bytes) and any(isinstance(one, dict | list) for one in others):
        return (
            "returned a body and headers, which are sent as a JSON list: put the status first, "
            "as in return 200, body, headers"
        )
    is_status = isinstance(first, int | str) and re.fullmatch("[2-5][0-9][0-9]", str(first))
    if is_status and len(others) == 1:
        return (
            f"returned ({first!r}, {others[0]!r}), which is sent as a JSON list with status 200: "
            f"if {first} should be the status, write Response({others[0]!r}, status={first})"
        )
    return ""


def warn_of_names(exchange: Exchange) -> None:
    """Log each name in a form or a query that differs from a parameter's name only in punctuation
    or case, or that came several times although its parameter takes one text.
    """
    route = handlers_route(exchange)
    parameters = () if route is None else route.plan.parameters
    alike = {
        _letters(one.name): one.name
        for one in parameters
        if TypeInfo(one.annotation).source is None
    }
    sent = {*(exchange.body.form or ())}
    with suppress(HTTPError):  # ignore a malformed query that the handler doesn't read
        sent.update(exchange.query)
        for one in parameters:
            values = exchange.query.get(one.name, [])
            if one.annotation in (inspect.Parameter.empty, str) and len({*values}) > 1:
                _warn(
                    f"{exchange.label} got {len(values)} values for {one.name}, and takes the "
                    f"first: write {one.name}: list[str]"
                )
    for name in sent - {one.name for one in parameters}:
        if len(name) < _LONGEST and (parameter := alike.get(_letters(name))):
            _warn(
                f"{exchange.label} got {name!r}, but the parameter is {parameter!r}: write "
                f'"{parameter}: Annotated[..., Form({name!r})]", or Query instead of Form for a '
                "query string"
            )


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def _says_none(function: object) -> bool:
    return "None" in str(annotations_of(function).get("return", ""))


def review_session(request: Request, session: Session) -> None:
    """Log, once for each route, that a GET or HEAD request has set a key of the session.

    The CSRF token is ignored, because pages with forms create it. Removed keys are ignored too,
    such as a message that was shown.
    """
    if request.route is None:
        return
    route, changes = route_of(request._exchange), session.changes()
    if route.has_warned or not (changes.updates or changes.values.keys() - {CSRF_FIELD}):
        return
    route.has_warned = True
    source = FunctionSource.of(route.function)
    if source is None or not source.logs_in_elsewhere():
        _warn(
            f"{route.name} changed the session on {request.method}, which a link on any page can "
            "trigger: use @post for the handler"
        )


def review_provided(provider: Provider) -> None:
    """Log that a provider has returned None although its annotation doesn't allow it. Most likely a
    ``return`` is missing.
    """
    inner = innermost(provider.plan.function)
    if not _says_none(inner):
        verb, kind = ("yield", "Iterator[None]") if has_yield(inner) else ("return", "None")
        _warn(
            f"{provider.name}, which provides {type_name(provider.key)}, {verb}ed None: {verb} a "
            f"value, or annotate the function with -> {kind}"
        )


def review_check(mark: Checking, answer: object) -> None:
    """Log that an access check has returned a value, which is sent as the response. Most likely
    True was intended.
    """
    if type(answer) in (str, bytes, int, float, list, dict):
        _warn(
            f"the check {mark.name} returned {type(answer).__name__}, which is sent as the "
            "response: return True to let the request in, False to refuse it, or a tuple "
            "(200, body) to send a page"
        )


def review_redirect(exchange: Exchange, redirect: Redirect) -> None:
    """Log that a redirect's location is a bare name, which is relative to the current page."""
    if isinstance(redirect.location, str) and redirect.location.isidentifier():
        _warn(
            f"{exchange.label} redirects to {redirect.location!r}, which is relative to the "
            f"current page: write url_for(...), or '/{redirect.location}'"
        )


def review_error_handler(function: AnyFunction) -> None:
    """Log that an error handler has returned None although its annotation doesn't allow it."""
    if not _says_none(function):
        _warn(
            f"{place_of(function)}: the error handler returned nothing, so the response is empty: "
            "return a value"
        )


def review_missing_file(reference: FileReference) -> None:
    """Log the path of a file that does not exist."""
    logger.info("there is no file %r in %r", reference.path, reference.options.root)


def review_websocket_result(exchange: Exchange, result: object) -> None:
    """Log that a WebSocket handler has returned a value."""
    _warn(
        f"{exchange.label}: the handler returned {type(result).__name__}, which is discarded: send "
        "it with await ws.send_json(...)"
    )


def debug_page(request: Request, failure: Exception) -> Response | None:
    """Return the debug page for an exception, or None if the client gets the plain response. Log
    advice that explains the exception.
    """
    exchange = request._exchange
    # Under ``micropie run --reload`` without ``debug``, no URL opens the debug pages.
    has_pages = exchange.config.settings.debug
    if not isinstance(failure, HTTPError):
        if not (has_pages and may_see_debug_pages(request)):
            return None
        log_request_failure(request, failure)
        return error_page(request, failure, error_answer(request, HTTPError(500), "auto"))
    if failure.status == 404 and exchange.list_routes is not None:
        warn_of_attribute(request)
        if has_pages and may_see_debug_pages(request):
            plain, entries = error_answer(request, failure, "auto"), exchange.list_routes()
            return not_found_page(request, failure, plain, entries)
    if isinstance(failure, BindingError):
        _warn_of_invalid_values(exchange, failure)
    return None


def _warn_of_invalid_values(exchange: Exchange, failure: BindingError) -> None:
    sentences = [error.sentence for error in failure.errors]
    body = exchange.body.form or exchange.body.document
    if isinstance(body, dict) and _MISSING in " ".join(sentences):
        sentences.append(f"The body contains {str([*body])[:300]}.")
    annotations = annotations_of(getattr(exchange.route, "function", None))
    for one in failure.errors:
        if one.source == "file" and one.given is None:
            sentences.append(f"{one.parameter} came as a file: write {one.parameter}: UploadFile.")
        stated = annotations.get(one.parameter, "")
        if _MISSING in one.sentence and re.search("None|Optional", str(stated)):
            sentences.append(f"To make it optional, write {one.parameter}: ... = None.")
    _warn(f"{exchange.label}: {' '.join(sentences)}")
    warn_of_names(exchange)
