"""How the flow runs middleware: in order before the handler, in reverse order after it.

Middleware is an object with hooks (``middleware/base.py``), or a generator function, ``def`` or ``async def``, that
wraps the handler:

    def timed(request):
        begun = perf_counter()
        response = yield                          # the handler, and the middleware inside this one
        response.headers["Server-Timing"] = f"app;dur={(perf_counter() - begun) * 1000:.1f}"

    app.middlewares.append(timed)

``yield`` gives the ``Response`` of the handler, of a redirect, or of a hook that answered before the handler. It raises
the exception of the handler or of a hook inside, as in ``contextlib.contextmanager``, so ``with engine.begin(): yield``
does not commit after a failure. A yielded value is an answer: ``yield 401, "no"`` before the handler answers in its
place, ``yield "other"`` after it replaces its answer. In a ``def``, ``return`` does the same.

Most hooks never wait: methods of ``FlowMiddleware``, ``def`` under WSGI, and an ``async def`` without any ``await``.
Around a handler that has only such hooks no flow is made (``run_before_now``, ``run_after_now``).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import lru_cache
from inspect import isawaitable
from operator import is_
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from micropie.errors import Redirect, ResponseError
from micropie.execution.steps import AWAIT, BLOCK, INLINE, CallKind, Flow, by_hand, call, itself, kind_of
from micropie.flow.errors import respond_to
from micropie.flow.generators import RunningGenerator
from micropie.http.headers import MutableHeaders
from micropie.http.response import Response, as_response
from micropie.http.streams import never_waits
from micropie.http.websocket import POLICY, check_code
from micropie.middleware.base import FlowMiddleware, HttpMiddleware, WebSocketMiddleware
from micropie.routing.guards import Guard
from micropie.sessions import UnopenedSession

if TYPE_CHECKING:
    from micropie.http.request import Request
    from micropie.routing.config import AppConfig

logger = logging.getLogger("micropie")

# The methods of the base classes, which do nothing.
_UNUSED = (
    *(FlowMiddleware.before, FlowMiddleware.after),
    *(HttpMiddleware.before_request, HttpMiddleware.after_request),
    *(WebSocketMiddleware.before_websocket, WebSocketMiddleware.after_websocket),
)

# How a part runs that is not called as the author's functions are: a method of ``FlowMiddleware``, a generator, an
# ``async def`` without any ``await``, which never waits.
_FLOW: Final = "flow"
_GENERATOR: Final = "generator"
_BY_HAND: Final = "by hand"

HookKind: TypeAlias = CallKind | Literal["flow", "generator", "by hand"]


class PlannedHook:
    """A middleware, and how its two parts run, on an event loop or not. To find that out takes 2 µs."""

    __slots__ = ("after", "after_kind", "before", "before_kind", "middleware", "needs_session")

    def __init__(self, middleware: Any, on_loop: bool) -> None:
        self.middleware = middleware
        self.needs_session: bool = getattr(middleware, "needs_session", True)
        self.before: Any = middleware
        self.after: Any = None
        self.before_kind: HookKind | None = _GENERATOR
        """How ``before`` runs; None if there is no such part."""
        self.after_kind: HookKind | None = _GENERATOR
        is_object = isinstance(middleware, HttpMiddleware) or not callable(middleware)
        if is_object or hasattr(middleware, "before_request") or hasattr(middleware, "after_request"):
            is_flow = isinstance(middleware, (FlowMiddleware, Guard))
            self.before = getattr(middleware, "before" if is_flow else "before_request", None)
            self.after = getattr(middleware, "after" if is_flow else "after_request", None)
            self.before_kind, self.after_kind = (
                _FLOW if is_flow and kind else kind
                for kind in (_kind_here(method, on_loop) for method in (self.before, self.after))
            )


class HookPlan:
    """What runs around the handlers of a configuration, for as long as ``middlewares`` are its members.

    ``before`` and ``after`` (the last hook first) leave out the hooks without such a part. ``begins_now`` and
    ``ends_now``: no part of ``before``, or of ``after``, has to wait, unless what it returns says so. Such parts are
    called without a flow, which takes 2 µs less. ``guards``: the plan of those hooks that also guard what has no
    response to change, handshakes of WebSockets and isolated mounts.
    """

    __slots__ = ("after", "before", "guards", "is_simple", "middlewares")

    def __init__(self, middlewares: list[object], on_loop: bool) -> None:
        self.middlewares = middlewares
        self.is_simple = all(type(middleware).__eq__ is object.__eq__ for middleware in middlewares)
        hooks = [PlannedHook(middleware, on_loop) for middleware in middlewares]
        self.before = [hook for hook in hooks if hook.before_kind is not None]
        self.after = [hook for hook in reversed(hooks) if hook.after_kind is not None]
        guards = [middleware for middleware in middlewares if getattr(middleware, "guards", False)]
        self.guards: HookPlan = self if len(guards) == len(middlewares) else HookPlan(guards, on_loop)


def planned_hooks(config: AppConfig, on_loop: bool) -> HookPlan:
    """Return how the middleware of a configuration runs. Its list may change at any time, so each request asks."""
    plan: HookPlan | None = config.hook_plans.get(on_loop)
    middlewares = config.middlewares
    if type(middlewares) is not list:
        middlewares = [*middlewares]
    if plan is None or plan.middlewares != middlewares or not (plan.is_simple or _are_same(plan, middlewares)):
        config.hook_plans[on_loop] = plan = HookPlan([*middlewares], on_loop)
    return plan


def _are_same(plan: HookPlan, middlewares: Iterable[object]) -> bool:
    """Return whether these are the plan's middleware, and not others that their ``__eq__`` calls equal."""
    return all(map(is_, plan.middlewares, middlewares))


# -- before the handler ------------------------------------------------------------------------------------------------


def run_before(hooks: Iterable[PlannedHook], request: Request, first: Flow[object] | None = None) -> Flow[object]:
    """Run each hook's part before the handler until one answers; return that answer, or None. ``first`` goes first.

    A session backend that may wait is asked before the first hook that needs the session, so a hook that refuses
    without it costs the backend nothing.
    """
    answer = None if first is None else (yield from first)
    if answer is not None:
        return answer
    store = request.config.sessions
    session_id = store.find_id(request) if store.opens_ahead else None
    if session_id:
        request._loaded_session = UnopenedSession(session_id)
    for hook in hooks:
        kind = hook.before_kind
        if session_id and hook.needs_session:
            yield from open_session(request)
        if kind is _GENERATOR:
            generator = GeneratorMiddleware(hook, request)
            request._generators = [*request._generators, generator]
            answer = yield from generator.go_on(None)
        else:
            if kind is AWAIT:
                given = yield AWAIT, hook.before, (request,)
            elif kind is BLOCK:
                given = yield BLOCK, hook.before, (request,)
            else:
                given = hook.before(request)
                if kind is _BY_HAND:
                    given = by_hand(given)
            answer = None if given is None else (yield from _answer_of(hook, given))
        if answer is not None:
            return answer
    return None


def _answer_of(hook: PlannedHook, given: Any) -> Flow[object]:
    """Return the answer in what a hook's part has given, or None to continue."""
    if hook.before_kind is _FLOW:
        return (yield from given) if type(given) is GeneratorType else given
    if isawaitable(given):  # of a decorated ``async def``
        given = yield AWAIT, itself, (given,)
    return None if given is None else _changed(Response(""), given, hook.middleware)


def open_session(request: Request) -> Flow[None]:
    """Ask the session backend for the session that ``run_before`` has left unopened, if it has."""
    session = request._loaded_session
    if isinstance(session, UnopenedSession) and session.id is not None:
        request._loaded_session = yield from request.config.sessions.open(session.id)


# -- after the handler -------------------------------------------------------------------------------------------------


def run_after(
    hooks: Iterable[PlannedHook],
    request: Request,
    response: Response | None,
    failure: Exception | None,
    first: Flow[Response] | None = None,
) -> Flow[Response]:
    """Run each hook's part after the handler, the last hook first, and return the response as they change it.

    Take the handler's response or, if ``response`` is None, its exception as ``failure``, or what ``first`` gives.
    Generator functions get the exception; the response to it is made when the first hook needs it. A ``Redirect`` is an
    answer and no failure. An exception of a hook is the failure that the hooks before it see: each is called once. A
    generator function that did not run before the handler, because an earlier hook answered, does not run here.
    """
    begun = [*request._generators]
    raised = traceback = None
    try:
        if first is not None:
            try:
                response = yield from first
            except Exception as error:
                failure = error
        for hook in hooks:
            if failure is not None:
                traceback = failure.__traceback__
                if isinstance(failure, Redirect):
                    response, failure = (yield from respond_to(request, failure)), None
            try:
                kind = hook.after_kind
                if kind is _GENERATOR:
                    generator = begun.pop() if begun and begun[-1].hook is hook else None
                    if generator is not None and not generator.has_ended:
                        response, failure = (yield from _finish_generator(generator, request, response, failure)), None
                    continue
                if response is None:
                    assert failure is not None  # noqa: S101
                    response = yield from respond_to(request, failure)
                if kind is _FLOW:
                    given = hook.after(request, response)
                else:
                    arguments = request, response.status, response.body, response.headers.pairs
                    if kind is AWAIT:
                        given = yield AWAIT, hook.after, arguments
                    elif kind is BLOCK:
                        given = yield BLOCK, hook.after, arguments
                    else:
                        given = hook.after(*arguments)
                        if kind is _BY_HAND:
                            given = by_hand(given)
                if given is not None:
                    changing = _response_of(hook, response, given)
                    response = changing if isinstance(changing, Response) else (yield from changing)
                continue
            except Exception as error:
                raised = error
            if raised is failure:
                raised.__traceback__ = traceback  # without the way through the hook, which tells nothing
            else:
                response, failure = None, raised
        if response is None:
            assert failure is not None  # noqa: S101
            response = yield from respond_to(request, failure)
        return response
    finally:
        del failure, raised, traceback  # the traceback refers to this frame: without this it would be a cycle


def _response_of(hook: PlannedHook, response: Response, given: Any) -> Response | Flow[Response]:
    """Return the response as a hook has changed it, or a flow that returns it."""
    if hook.after_kind is _FLOW:
        return _returned(response, given) if type(given) is GeneratorType else given
    return _awaited(hook, response, given) if isawaitable(given) else _changed(response, given, hook.middleware)


def _returned(response: Response, changing: Flow[Response | None]) -> Flow[Response]:
    changed = yield from changing
    return response if changed is None else changed


def _awaited(hook: PlannedHook, response: Response, changing: Awaitable[object]) -> Flow[Response]:
    changes = yield AWAIT, itself, (changing,)
    return response if changes is None else _changed(response, changes, hook.middleware)


def _finish_generator(
    hook: GeneratorMiddleware, request: Request, response: Response | None, failure: Exception | None
) -> Flow[Response]:
    """Run a generator to its end and return the response after it. Raises ``failure`` if the generator lets it pass."""
    answer = yield from hook.finish(response, failure)
    if answer is not None:
        if isawaitable(answer):
            answer = yield AWAIT, itself, (answer,)
        if response is None:  # what the handler set on ``self.response`` was for its own answer
            request._pending_response = None
        return as_response(answer)
    if response is None:
        assert failure is not None  # noqa: S101
        response = yield from respond_to(request, failure)
    return response


def _kind_here(method: Callable[..., object] | None, on_loop: bool) -> HookKind | None:
    """Return how to call a method of a hook for HTTP in this world; None as ``_kind_of_method`` does."""
    kind = _kind_of_method(method)
    if kind is BLOCK and not on_loop:  # under WSGI the thread of this call would perform the step
        return INLINE
    return _BY_HAND if kind is AWAIT and on_loop and never_waits(method) else kind


def _kind_of_method(method: Callable[..., object] | None) -> CallKind | None:
    """Return how to call a hook's method. None if there is no method, or the base class's, which does nothing."""
    return None if method is None else _kind_of(getattr(method, "__func__", method))


@lru_cache(maxsize=1024)
def _kind_of(function: Callable[..., object]) -> CallKind | None:
    return None if function in _UNUSED else kind_of(function)


_CHANGES = frozenset({"status", "status_code", "body", "headers"})


def _changed(response: Response, changes: object, middleware: object) -> Response:
    """Apply the dict that a hook returned, and return ``response``. Raises ``ResponseError`` for anything else.

    ``status_code`` is another name of ``status``.
    """
    if not isinstance(changes, dict) or not changes.keys() <= _CHANGES:
        raise ResponseError(
            f"{type(middleware).__name__} returned {changes!r}: a hook returns None or a dict with "
            "status, body, headers"
        )
    status: Any = changes.get("status", changes.get("status_code", response.status))
    if changes.get("status_code", status) != status:
        raise ResponseError(
            f"{type(middleware).__name__} returned {changes!r}: status and status_code are two names of one value; "
            "write status"
        )
    if "body" in changes:
        response.body = changes["body"]
    response.status = status
    if "headers" in changes:
        response.headers = MutableHeaders(changes["headers"])
    return response


# -- generator functions ----------------------------------------------------------------------------------------------


class GeneratorMiddleware(RunningGenerator):
    """One call of a generator function, for one request: its ``yield`` gives the response."""

    __slots__ = ("hook",)

    def __init__(self, hook: PlannedHook, request: Request) -> None:
        self.hook = hook
        function = hook.before
        generator = function(request)
        if not isinstance(generator, GeneratorType | AsyncGeneratorType):
            name = getattr(function, "__name__", repr(function))
            raise ResponseError(
                f"{name} in middlewares is no middleware: an object with before_request or after_request, or a "
                "generator function, def or async def, with one yield in it"
            )
        super().__init__(generator, kind_of(function))


# -- WebSockets --------------------------------------------------------------------------------------------------------


def run_before_websocket(hooks: list[object], begun: list[object], request: Request) -> Flow[tuple[int, str] | None]:
    """Run each ``before_websocket`` until one refuses. Return its code and reason, or None.

    Every hook that is called is added to ``begun``.
    """
    for hook in hooks:
        begun.append(hook)
        method = getattr(hook, "before_websocket", None)
        kind = _kind_of_method(method)
        refusal: object = None if method is None or kind is None else (yield from call(kind, method, request))
        if refusal is not None:
            if not isinstance(refusal, dict) or not refusal.keys() <= {"code", "reason"}:
                raise ResponseError(
                    f"{type(hook).__name__} returned {refusal!r}: "
                    "before_websocket returns None or a dict with code, reason"
                )
            code, reason = refusal.get("code", POLICY), refusal.get("reason") or ""
            check_code(code)
            return code, str(reason)
    return None


def run_after_websocket(begun: list[object], request: Request) -> Flow[None]:
    """Run ``after_websocket`` of each hook in ``begun``, last first. An error is logged, and the others still run."""
    while begun:
        hook = begun.pop()
        try:
            method = getattr(hook, "after_websocket", None)
            kind = _kind_of_method(method)
            if method is not None and kind is not None:
                yield from call(kind, method, request)
        except Exception:
            logger.exception("after_websocket of %s failed", type(hook).__name__)
