"""The flow's side of middleware: hooks called in order, their dicts read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from micropie.errors import ResponseError
from micropie.headers import MutableHeaders
from micropie.middleware.base import HttpMiddleware
from micropie.response import Response
from micropie.steps import Flow, call, kind_of

if TYPE_CHECKING:
    from micropie.request import Request

_KEYS = frozenset({"status_code", "body", "headers"})
_UNUSED = (HttpMiddleware.before_request, HttpMiddleware.after_request)


def run_before(middlewares: Sequence[HttpMiddleware], request: Request) -> Flow[Response | None]:
    """Call ``before_request`` of each until one answers."""
    for middleware in middlewares:
        changes = yield from _call(getattr(middleware, "before_request", None), request)
        if changes is not None:
            return _changed(Response(""), changes, middleware)
    return None


def run_after(
    middlewares: Sequence[HttpMiddleware],
    request: Request,
    response: Response,
    respond_to: Callable[[Request, Exception], Flow[Response]],
) -> Flow[Response]:
    """Call ``after_request`` of each, the last one first, and apply what they change.

    An exception of one is answered by ``respond_to``, and the others see that answer: each is called once.
    """
    for middleware in reversed(middlewares):
        try:
            changes = yield from _call(
                getattr(middleware, "after_request", None),
                request,
                response.status,
                response.body,
                response.headers.pairs,
            )
            if changes is not None:
                response = _changed(response, changes, middleware)
            continue
        except Exception as error:
            failure = error
        response = yield from respond_to(request, failure)
        del failure
    return response


def _call(method: Callable[..., Any] | None, *arguments: Any) -> Flow[Any]:
    if method is None:  # an object that is no HttpMiddleware and has only one of the two
        return None
    kind = _kind_of(getattr(method, "__func__", method))
    if kind is None:
        return None
    return (yield from call(kind, method, *arguments))


@lru_cache(maxsize=1024)
def _kind_of(function: Callable[..., Any]) -> str | None:
    """The step that calls a hook, None for one that the author did not write."""
    if function in _UNUSED:
        return None
    return kind_of(function)


def _changed(response: Response, changes: Any, middleware: object) -> Response:
    if not isinstance(changes, dict) or not changes.keys() <= _KEYS:
        raise ResponseError(
            f"{type(middleware).__name__} returned {changes!r}: a hook returns None or a dict with "
            "status_code, body, headers"
        )
    if "body" in changes:
        response.body = changes["body"]
    response.status = changes.get("status_code", response.status)
    if "headers" in changes:
        response.headers = MutableHeaders(changes["headers"])
    return response
