"""How the flow runs middleware: in order before the handler, in reverse order after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeGuard

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


def run_before(hooks: list[object], request: Request) -> Flow[Any]:
    """Run each hook's part before the handler until one answers; return that answer, or None.

    In ``hooks``, a generator function is replaced by the ``GeneratorMiddleware`` that it began.
    """
    for position, hook in enumerate(hooks):
        if isinstance(hook, FlowMiddleware):
            answer = hook.before(request)
            if type(answer) is GeneratorType:
                answer = yield from answer
        elif _is_function(hook):
            hooks[position] = generator = GeneratorMiddleware(hook, request)
            request._generators = [*request._generators, generator]
            answer = yield from generator.begin()
        else:
            changes = yield from _call(getattr(hook, "before_request", None), request)
            answer = None if changes is None else _changed(Response(""), changes, hook)
        if answer is not None:
            return answer
    return None


def run_after(hooks: Sequence[object], request: Request, response: Response) -> Flow[Response]:
    """Run each hook's part after the handler, the last hook first, and return the response as they change it.

    An exception of a hook becomes a response, which the hooks before it see: each is called once. A generator function
    that did not run before the handler, because an earlier hook answered, does not run here.
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


def _after(hook: object, request: Request, response: Response) -> Flow[Response]:
    if isinstance(hook, GeneratorMiddleware):
        answer = yield from hook.finish(response)
        return response if answer is None else as_response(answer)
    method = None if _is_function(hook) else getattr(hook, "after_request", None)
    changes = yield from _call(method, request, response.status, response.body, response.headers.pairs)
    return response if changes is None else _changed(response, changes, hook)


def _is_function(hook: object) -> TypeGuard[Callable[..., object]]:
    """Return whether this is a function, which must be a generator function, and not an object with hooks."""
    if isinstance(hook, HttpMiddleware):
        return False
    return callable(hook) and not hasattr(hook, "before_request") and not hasattr(hook, "after_request")


def _call(method: Callable[..., Any] | None, *arguments: Any) -> Flow[Any]:
    if method is None:  # an object with one of the two methods, not derived from HttpMiddleware
        return None
    kind = _kind_of(getattr(method, "__func__", method))
    if kind is None:
        return None
    return (yield from call(kind, method, *arguments))


@lru_cache(maxsize=1024)
def _kind_of(function: Callable[..., Any]) -> CallKind | None:
    """Return how to call a hook, or None for a method of the base class, which does nothing."""
    return None if function in _UNUSED else kind_of(function)


def _changed(response: Response, changes: object, middleware: object) -> Response:
    """Apply the dict that a hook returned. Raises ``ResponseError`` for anything else."""
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
