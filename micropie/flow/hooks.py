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
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from inspect import isawaitable
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeGuard

from micropie.errors import Redirect, ResponseError
from micropie.execution.steps import AWAIT, BLOCK, INLINE, CallKind, Flow, call, itself, kind_of
from micropie.flow.errors import respond_to
from micropie.flow.generators import RunningGenerator
from micropie.http.headers import MutableHeaders
from micropie.http.response import Response, as_response
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

# How a part runs that is not called as the author's functions are: a method of ``FlowMiddleware``, a generator.
_FLOW: Final = "flow"
_GENERATOR: Final = "generator"

HookKind: TypeAlias = CallKind | Literal["flow", "generator"]


class PlannedHook:
    """A middleware, and how its two parts run. To find that out takes 2 µs, so it is done once."""

    __slots__ = ("after", "after_kind", "before", "before_kind", "middleware", "needs_session")

    def __init__(self, middleware: Any) -> None:
        self.middleware = middleware
        self.needs_session: bool = getattr(middleware, "needs_session", True)
        self.before: Any = middleware
        self.after: Any = None
        self.before_kind: HookKind | None = _GENERATOR
        """How ``before`` runs; None if there is no such part."""
        self.after_kind: HookKind | None = None
        if not _is_function(middleware):
            is_flow = isinstance(middleware, (FlowMiddleware, Guard))
            self.before = getattr(middleware, "before" if is_flow else "before_request", None)
            self.after = getattr(middleware, "after" if is_flow else "after_request", None)
            kinds = [_kind_of_method(method) for method in (self.before, self.after)]
            self.before_kind, self.after_kind = [_FLOW if is_flow and kind else kind for kind in kinds]


# What ``run_before`` and ``run_after`` take: for a generator function that has begun, its generator.
Hook: TypeAlias = "PlannedHook | GeneratorMiddleware"

_MAX_PLANS = 256  # of one configuration, so that middleware which comes and goes does not add up


def planned_guards(config: AppConfig) -> list[Hook]:
    """Return the hooks that also guard what has no response to change: handshakes of WebSockets, isolated mounts."""
    hooks = planned_hooks(config)
    return [hook for hook in hooks if isinstance(hook, PlannedHook) and getattr(hook.middleware, "guards", False)]


def planned_hooks(config: AppConfig) -> list[Hook]:
    """Return the middleware of a configuration, planned; a new list for each request."""
    plans: dict[int, Hook] = config.hook_plans
    hooks = []
    for middleware in config.middlewares:
        hook = plans.get(id(middleware))  # by id: it need not be hashable, and the plan keeps it alive
        if hook is None:
            if len(plans) >= _MAX_PLANS:
                plans.clear()
            plans[id(middleware)] = hook = PlannedHook(middleware)
        hooks.append(hook)
    return hooks


def run_before(hooks: list[Hook], request: Request) -> Flow[object]:
    """Run each hook's part before the handler until one answers; return that answer, or None.

    A session backend that may wait is asked before the first hook that needs the session, so a hook that refuses
    without it costs the backend nothing. In ``hooks``, a generator function is replaced by the ``GeneratorMiddleware``
    that it began.
    """
    store = request.config.sessions
    session_id = store.find_id(request) if store.opens_ahead else None
    if session_id:
        request._loaded_session = UnopenedSession(session_id)
    for position, hook in enumerate(hooks):
        assert isinstance(hook, PlannedHook)  # noqa: S101
        kind = hook.before_kind
        if kind is None:
            continue
        if session_id and hook.needs_session:
            yield from open_session(request)
        if kind == _FLOW:
            answer = hook.before(request)
            if type(answer) is GeneratorType:
                answer = yield from answer
        elif kind == _GENERATOR:
            hooks[position] = generator = GeneratorMiddleware(hook.before, request)
            request._generators = [*request._generators, generator]
            answer = yield from generator.go_on(None)
        else:
            if kind is AWAIT:  # without the generator of ``call``
                changes = yield AWAIT, hook.before, (request,)
            elif kind is INLINE or not request._is_on_loop:  # under WSGI this thread would perform the step
                changes = hook.before(request)
            else:
                changes = yield BLOCK, hook.before, (request,)
            if changes is None:
                continue
            if isawaitable(changes):
                changes = yield AWAIT, itself, (changes,)
            answer = None if changes is None else _changed(Response(""), changes, hook.middleware)
        if answer is not None:
            return answer
    return None


def open_session(request: Request) -> Flow[None]:
    """Ask the session backend for the session that ``run_before`` has left unopened, if it has."""
    session = request._loaded_session
    if isinstance(session, UnopenedSession) and session.id is not None:
        request._loaded_session = yield from request.config.sessions.open(session.id)


def run_after(
    hooks: Sequence[Hook], request: Request, response: Response | None, failure: Exception | None
) -> Flow[Response]:
    """Run each hook's part after the handler, the last hook first, and return the response as they change it.

    Take the handler's response or, if ``response`` is None, its exception as ``failure``. Generator functions get the
    exception; the response to it is made when the first hook needs it. A ``Redirect`` is an answer and no failure. An
    exception of a hook is the failure that the hooks before it see: each is called once. A generator function that did
    not run before the handler, because an earlier hook answered, does not run here.
    """
    raised = traceback = None
    try:
        for hook in reversed(hooks):
            if failure is not None:
                traceback = failure.__traceback__
                if isinstance(failure, Redirect):
                    response, failure = (yield from respond_to(request, failure)), None
            try:
                kind = hook.after_kind
                if kind is None:
                    continue
                if isinstance(hook, GeneratorMiddleware):
                    if not hook.has_ended:
                        response, failure = (yield from _finish_generator(hook, request, response, failure)), None
                    continue
                if response is None:
                    assert failure is not None  # noqa: S101
                    response = yield from respond_to(request, failure)
                if kind == _FLOW:
                    answer = hook.after(request, response)
                    if type(answer) is GeneratorType:
                        answer = yield from answer
                    response = response if answer is None else answer
                else:
                    arguments = request, response.status, response.body, response.headers.pairs
                    if kind is AWAIT:
                        changes = yield AWAIT, hook.after, arguments
                    elif kind is INLINE or not request._is_on_loop:
                        changes = hook.after(*arguments)
                    else:
                        changes = yield BLOCK, hook.after, arguments
                    if changes is not None:
                        if isawaitable(changes):
                            changes = yield AWAIT, itself, (changes,)
                        response = response if changes is None else _changed(response, changes, hook.middleware)
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


def _is_function(hook: object) -> TypeGuard[Callable[..., object]]:
    """Return whether this is a function, which must be a generator function, and not an object with hooks."""
    if isinstance(hook, HttpMiddleware):
        return False
    return callable(hook) and not hasattr(hook, "before_request") and not hasattr(hook, "after_request")


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

    __slots__ = ()

    after_kind: Final = _GENERATOR

    def __init__(self, function: Callable[..., object], request: Request) -> None:
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
