"""What development tells of a request: results that seem to be meant for something else, and names
that a client sends and no parameter has. Production does not import it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from io import IOBase
from pathlib import PurePath
from typing import Annotated, get_origin

from micropie.errors import HTTPError, Redirect, logger
from micropie.http import Exchange, Response, states_status
from micropie.routing import Route, handlers_route, place_of

_ERRORS = range(400, 600)
_SUCCESSES = range(200, 300)
_SENDING_ON = (301, 302, 303, 307, 308)
_OFTEN_EMPTY = (201, 202, 204)
_STATUSES = range(200, 600)
_LONGEST = 100  # characters of a name
_WITH_STATUS = (Response, HTTPError, Redirect)


def warn_of_result(exchange: Exchange, result: object) -> None:
    """Log that a handler has returned nothing without saying so, or what seems to be meant for a
    status, headers or a file.
    """
    route, set_up = handlers_route(exchange), exchange.answer.response
    if route is None:
        return
    warn_of_names(exchange)
    if set_up is not None and set_up.status != 200:
        return
    stated = getattr(route.description, "status", None)
    says_none = "None" in str(getattr(route.function, "__annotations__", {}).get("return", ""))
    if result is None and stated in (None, 200):
        words = (
            "returned nothing, so the answer is empty: write return, or -> None if that is meant"
        )
        advice = "" if says_none else words
    elif type(result) is tuple:
        is_status = states_status(result)
        advice = _advice_for_status(route, result[0]) if is_status else _advice_for(result)
    else:
        is_typed = set_up is not None and (
            set_up.content_type is not None
            or any(name in set_up.headers for name in ("Content-Type", "Content-Encoding"))
        )
        advice = "" if _is_stated(route, result) or is_typed else _advice_for_value(result)
        if not advice and stated not in (None, 200) and not isinstance(result, _WITH_STATUS):
            advice = (
                f"returned {type(result).__name__} without a status, so it is sent with 200, and "
                f"@describe(status={stated}) states another one: write return {stated}, ..."
            )
    if advice:
        logger.warning("%s: %s %s", place_of(route.function), route.name, advice)


def _is_stated(route: Route, result: object) -> bool:
    """Return whether the annotation says that a handler returns a number."""
    stated = getattr(route.function, "__annotations__", {}).get("return")
    return type(result) is int and stated in (int, "int")


def _advice_for_value(result: object) -> str:
    """Return the advice for a number, a text or bytes that seem to be something else, "" for any
    other value.
    """
    if type(result) is int and result in (*_ERRORS, *_OFTEN_EMPTY):
        write = f"raise HTTPError({result})" if result in _ERRORS else f"return {result}, None"
        return f"returned {result}, the JSON of a number, with status 200: write {write}"
    if type(result) is bytes and not _is_text(result):
        return (
            "returned bytes that are no text, and are sent as text/html: write "
            'Response(..., content_type="image/png")'
        )
    if type(result) is str and _is_a_document(result):
        return "returned a text in JSON, which is sent as text: return the dict or the list itself"
    if isinstance(result, PurePath | IOBase):
        return (
            f"returned {type(result).__name__}, which is sent as text: write "
            'static_file("pie.pdf", root="files")'
        )
    return ""


def warn_of_response(exchange: Exchange, response: Response) -> None:
    """Log a status that sends clients on without a word where to."""
    if response.status in _SENDING_ON and "Location" not in response.headers:
        logger.warning(
            '%s answers %d without a Location: write Redirect("/pies", status=%d)',
            exchange.label,
            response.status,
            response.status,
        )


def _advice_for_status(route: Route, status: int) -> str:
    """Return the advice for a status that the document does not have, "" for any other."""
    annotation = str(getattr(route.function, "__annotations__", {}).get("return", "Any"))
    stated = getattr(route.description, "status", None)
    others = getattr(route.description, "responses", None) or ()
    if status == 200 or status not in _SUCCESSES or stated is not None or status in others:
        return ""
    if any(word in annotation for word in ("uple", "Any", "object", "Response")):
        return ""
    return f"returned {status}, and its document says 200: write @describe(status={status})"


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_a_document(text: str) -> bool:
    """Return whether a text is a JSON object or array."""
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _advice_for(result: tuple[object, ...]) -> str:
    """Return the advice for a tuple that is sent as a JSON list, though its order is known from
    other frameworks; "" for any other one.
    """
    first, *others = result or ("",)
    if isinstance(first, str | bytes) and any(isinstance(one, dict | list) for one in others):
        return (
            "returned a body and headers, which is the JSON of a list: write the status first, "
            "return 200, body, headers"
        )
    if type(first) is int and first in _STATUSES and len(others) == 1:
        return (
            f"returned ({first}, {others[0]}), the JSON of a list, with status 200: write "
            f"Response({others[0]}, status={first}) if {first} is the status"
        )
    return ""


def warn_of_names(exchange: Exchange) -> None:
    """Log the names in a form or a query that differ from a parameter's by their signs only."""
    route = handlers_route(exchange)
    parameters = () if route is None else route.plan.parameters
    known = {one.name for one in parameters}
    plain = [one.name for one in parameters if get_origin(one.annotation) is not Annotated]
    alike = {_letters(name): name for name in plain}
    sent: dict[str, object] = {}
    with suppress(HTTPError):  # a malformed query that nothing reads is no error
        sent |= exchange.query
    for name in {**sent, **(exchange.body.form or {})}.keys() - known:
        parameter = alike.get(_letters(name)) if len(name) < _LONGEST else None
        if parameter is not None:
            logger.warning(
                "%s has %r, and the parameter is %r: write %s: Annotated[..., Form(%r)] or Query",
                exchange.label,
                name,
                parameter,
                parameter,
                name,
            )


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).lower()


def hint_of_default(exchange: Exchange, name: str, given: object) -> str:
    """Return the advice for a missing value of a parameter that may be None, "" for others."""
    function = None if exchange.route is None else exchange.route.function
    annotation = str(getattr(function, "__annotations__", {}).get(name, ""))
    is_missing = given is None and ("None" in annotation or "Optional" in annotation)
    return f"It may be missing if you write {name}: ... = None." if is_missing else ""
