"""The flow's side of middleware: called in order, what they answer read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from micropie.errors import ResponseError
from micropie.execution.steps import CallKind, Flow, call, kind_of
from micropie.flow.errors import respond_to
from micropie.flow.generator_middleware import GeneratorMiddleware
from micropie.http.headers import MutableHeaders
from micropie.http.response import Response, as_response
from micropie.middleware.base import FlowMiddleware, HttpMiddleware

if TYPE_CHECKING:
    from micropie.http.request import Request

_KEYS = frozenset({"status_code", "body", "headers"})
_UNUSED = (HttpMiddleware.before_request, HttpMiddleware.after_request)


def run_before(hooks: list[Any], request: Request) -> Flow[Any]:
    """Run each one's part before the handler until one answers. Replaces generator functions by what they began."""
    for position, hook in enumerate(hooks):
        if isinstance(hook, FlowMiddleware):
            answer = hook.before(request)
            if type(answer) is GeneratorType:
                answer = yield from answer
        elif _is_function(hook):
            hooks[position] = wrapping = GeneratorMiddleware(hook, request)
            request._generators = [*request._generators, wrapping]
            answer = yield from wrapping.begin()
        else:
            changes = yield from _call(getattr(hook, "before_request", None), request)
            answer = None if changes is None else _changed(Response(""), changes, hook)
        if answer is not None:
            return answer
    return None


def run_after(hooks: Sequence[object], request: Request, response: Response) -> Flow[Response]:
    """Run each one's part after the handler, the last one first, and apply what they change.

    An exception of one is answered by ``respond_to``, and the others see that answer: each is called once. A
    generator function that did not get to run before, because of an early answer, has nothing to do after.
    """
    for hook in reversed(hooks):
        try:
            if isinstance(hook, FlowMiddleware):
                answer: Any = hook.after(request, response)
                if type(answer) is GeneratorType:
                    answer = yield from answer
                response = response if answer is None else answer
            else:
                response = yield from _after(hook, request, response)
            continue
        except Exception as error:
            failure = error
        response = yield from respond_to(request, failure)
        del failure
    return response


def _after(hook: Any, request: Request, response: Response) -> Flow[Response]:
    if isinstance(hook, GeneratorMiddleware):
        answer = yield from hook.finish(response)
        return response if answer is None else as_response(answer)
    method = None if _is_function(hook) else getattr(hook, "after_request", None)
    changes = yield from _call(method, request, response.status, response.body, response.headers.pairs)
    return response if changes is None else _changed(response, changes, hook)


def _is_function(hook: object) -> bool:
    """Whether this is a generator function (or wrongly another) and not an object with hooks."""
    if isinstance(hook, HttpMiddleware):
        return False
    return callable(hook) and not hasattr(hook, "before_request") and not hasattr(hook, "after_request")


def _call(method: Callable[..., Any] | None, *arguments: Any) -> Flow[Any]:
    if method is None:  # an object that is no HttpMiddleware and has only one of the two
        return None
    kind = _kind_of(getattr(method, "__func__", method))
    if kind is None:
        return None
    return (yield from call(kind, method, *arguments))


@lru_cache(maxsize=1024)
def _kind_of(function: Callable[..., Any]) -> CallKind | None:
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
