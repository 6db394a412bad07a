"""How the flow runs middleware: in order before the handler, in reverse order after it.

Middleware is an object with hooks (``middleware/base.py``), or a generator function, ``def`` or
``async def``, that wraps the handler:

    def timed(request):
        begun = perf_counter()
        response = yield                          # the handler, and the middleware inside this one
        response.headers["Server-Timing"] = f"app;dur={(perf_counter() - begun) * 1000:.1f}"

    app.middlewares.append(timed)

``yield`` gives the ``Response`` of the handler, of a redirect, or of a hook that answered before
the handler. It raises the exception of the handler or of a hook inside, as in
``contextlib.contextmanager``, so ``with engine.begin(): yield`` does not commit after a failure. A
yielded value is an answer: ``yield 401, "no"`` before the handler answers in its place,
``yield "other"`` after it replaces its answer. In a ``def``, ``return`` does the same.

Each kind of middleware has a class here, with a part before the handler and one after it. Which
kind it is, and how its functions are called, is found out once, when it first runs (``HookPlan``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeAlias

from micropie import websockets
from micropie.errors import HTTPError, Redirect, ResponseError, logger
from micropie.execution import AWAIT, INLINE, Flow, Kind, RunningGenerator, awaited, call, kind_of
from micropie.flow.errors import respond_to
from micropie.http import Response, as_response
from micropie.middleware import FlowMiddleware, HttpMiddleware, WebSocketMiddleware
from micropie.routing import Checking, check_middlewares, open_resources, placed
from micropie.spellings import status_of

if TYPE_CHECKING:
    from micropie.http import Request
    from micropie.routing import Config, Providers

# The methods of the base classes, which do nothing.
_UNUSED = (
    *(FlowMiddleware.before, FlowMiddleware.after),
    *(HttpMiddleware.before_request, HttpMiddleware.after_request),
    *(WebSocketMiddleware.before_websocket, WebSocketMiddleware.after_websocket),
)

# The outcome that a hook gets after the handler and leaves to the hook around it: the response,
# None if it was not made yet; and the exception that generator functions see, None if there is none
# or a generator function has caught it.
_Outcome: TypeAlias = tuple[Response | None, Exception | None]


# What a dict of a hook may have.
_CHANGES = frozenset({"status", "status_code", "body", "headers"})


class _Hook:
    """A middleware, as it was planned: each kind has a class.

    ``has_before``, ``has_after``: whether the part exists.

    ``before`` is called as ``kind`` says. Its result is an answer, or None to continue, or a flow
    of these. ``after`` returns a flow of the outcome for the next hook. ``sees_failures``: it takes
    an exception. Other hooks take the response to it.
    """

    needs_session = True
    has_before = has_after = True
    sees_failures = False
    kind: Kind = INLINE
    before: Callable[[Request], Any]
    after: Callable[[Request, Response | None, Exception | None], Flow[_Outcome]]


class _ClassHook(_Hook):
    """Middleware with ``before_request``, whose result are changes of an empty response, and
    ``after_request``.
    """

    def __init__(self, middleware: object) -> None:
        self._name = type(middleware).__name__
        self.before, self.kind, self.has_before = _part(middleware, "before_request")
        self._after, self._after_kind, self.has_after = _part(middleware, "after_request")

    def after(
        self, request: Request, response: Response | None, failure: Exception | None
    ) -> Flow[_Outcome]:
        assert response is not None  # noqa: S101
        arguments = request, response.status, response.body, response.pairs
        if self._after_kind == INLINE:
            changes = self._after(*arguments)
        elif self._after_kind == AWAIT:
            changes = yield AWAIT, self._after, arguments
        else:
            changes = yield self._after_kind, self._after, arguments
        if changes is not None:
            yield from self.changed(response, changes)
        return response, failure

    def changed(self, response: Response, changes: object) -> Flow[Response | None]:
        """Apply the dict that a method returned, and return the response; None if there is no dict.

        Raises ``ResponseError`` for anything else than such a dict.
        """
        changes = yield from awaited(changes)
        if changes is None:
            return None
        if not isinstance(changes, dict) or not changes.keys() <= _CHANGES:
            raise ResponseError(
                f"{self._name} returned {changes!r}: a hook returns None or a "
                "dict with status, body, headers"
            )
        status = status_of(changes, response.status, self._name)
        if "body" in changes:
            response.body = changes["body"]
        response.status = status
        if "headers" in changes:
            response.headers = changes["headers"]
        return response


class _FlowHook(_Hook):
    """Middleware with ``before`` and ``after``, as a ``FlowMiddleware`` has."""

    def __init__(self, middleware: object) -> None:
        self.before, _, self.has_before = _part(middleware, "before")
        self._after, _, self.has_after = _part(middleware, "after")

    def after(
        self, request: Request, response: Response | None, failure: Exception | None
    ) -> Flow[_Outcome]:
        changed = self._after(request, response)
        if type(changed) is GeneratorType:
            changed = yield from changed
        return response if changed is None else changed, failure


class _GeneratorHook(_Hook):
    """Middleware that is a generator function."""

    sees_failures = True

    def __init__(self, function: Any) -> None:
        self._function = function
        self._name = getattr(function, "__name__", repr(function))
        self._kind = kind_of(function)

    def before(self, request: Request) -> Flow[object]:
        exchange = request._exchange
        running = RunningGenerator(self._function(request), self._kind, self)
        exchange.begin_generator(running)
        answer = yield from running.go_on(None)
        if answer is None and running.has_ended:  # its author may have meant to refuse the request
            raise ResponseError(
                f"{self._name} in middlewares has ended without a yield: write yield where "
                "the handler is to run, or "
                "yield an answer, such as (403, 'No.'), to refuse the request"
            )
        return answer

    def after(
        self, request: Request, response: Response | None, failure: Exception | None
    ) -> Flow[_Outcome]:
        """Run the generator to its end. Raises ``failure`` if the generator lets it pass.

        A generator that has not begun, because an earlier hook answered, does not run, nor does one
        that has ended.
        """
        exchange = request._exchange
        running = next((one for one in exchange.generators if one.owner is self), None)
        if running is None or running.has_ended:
            return response, failure
        answer = yield from running.finish(response, failure)
        if answer is not None:
            answer = yield from awaited(answer)
            return as_response(answer), None
        if response is None:
            assert failure is not None  # noqa: S101
            response = yield from respond_to(request, failure)
        return response, None


class _CheckHook(_Hook):
    """A check of ``@requires``."""

    has_after = False

    def __init__(self, mark: Checking, providers: Providers) -> None:
        self._name, self._check, self._kind = mark.name, mark.check, kind_of(mark.check)
        self._asked = providers.asked_by_check(mark.check)
        self._needed = providers.needed_for(one.key for one in self._asked.values())

    def before(self, request: Request) -> Flow[object]:
        """Return the answer of the check, or None if it is True.

        Raises 403 for a check that returns False, ``ResponseError`` for one that returns nothing:
        its author may have forgotten to return what it found.
        """
        check = self._check
        if self._asked:
            resources = request._exchange.own_resources()
            yield from open_resources(request, resources, self._needed)
            check = partial(
                check, **{name: resources.values[one] for name, one in self._asked.items()}
            )
        answer = yield from call(self._kind, check, request)
        if answer is None:
            raise ResponseError(
                f"the check {self._name} returned None, which lets nobody in: at its end, write "
                "return True to let the request in, and return False to refuse it"
            )
        if answer is False:
            raise HTTPError(403)
        return None if answer is True else answer


def _planned(middleware: Any, providers: Providers) -> _Hook:
    """Return how a middleware runs.

    Raises ``SetupError`` for what is none: it may have been appended late.
    """
    check_middlewares(providers, [middleware])
    hook: _Hook
    if isinstance(middleware, Checking):
        hook = _CheckHook(middleware, providers)
    elif hasattr(middleware, "before_request") or hasattr(middleware, "after_request"):
        hook = _ClassHook(middleware)
    else:
        has_parts = hasattr(middleware, "before") or hasattr(middleware, "after")
        hook = _FlowHook(middleware) if has_parts else _GeneratorHook(middleware)
    hook.needs_session = getattr(middleware, "needs_session", True)
    return hook


def _nothing(*arguments: object) -> None:
    """The part of a hook that its author left out."""


def _part(middleware: object, name: str) -> tuple[Callable[..., Any], Kind, bool]:
    """Return a method of a middleware, how it is called, and whether it is the author's own and
    does something.
    """
    method: Callable[..., object] = getattr(middleware, name, None) or _nothing
    is_used = method is not _nothing and getattr(method, "__func__", method) not in _UNUSED
    return method, kind_of(method), is_used


class HookPlan:
    """The hooks around the handlers of a configuration, for as long as it has these middlewares.

    ``before`` and ``after`` (the last hook first) leave out the hooks without such a part.
    ``guards``: the plan of those hooks that also guard handshakes of WebSockets and isolated
    mounts, which have no response to change. ``of_sockets``: the hooks around WebSockets.
    """

    def __init__(
        self,
        middlewares: Sequence[tuple[Any, Providers]],
        ws_middlewares: Sequence[tuple[Any, Providers]] = (),
    ) -> None:
        self.middlewares = middlewares, ws_middlewares
        self.ids = [[id(one) for one, _ in several] for several in self.middlewares]
        self.of_sockets = [SocketHook(middleware) for middleware, _ in ws_middlewares]
        hooks = [_planned(*one) for one in middlewares]
        self.before = [hook for hook in hooks if hook.has_before]
        self.after = [hook for hook in reversed(hooks) if hook.has_after]
        self.needs_session = any(hook.needs_session for hook in hooks)
        guards = [one for one in middlewares if getattr(one[0], "guards", False)]
        self.guards: HookPlan = self if len(guards) == len(middlewares) else HookPlan(guards)


def planned_hooks(config: Config) -> HookPlan:
    """Return how the middleware of a configuration runs.

    Its list may change at any time, so each request asks.
    """
    plan: HookPlan | None = config.hook_plan
    if plan is None or plan.ids != [
        [*map(id, config.middlewares)],
        [*map(id, config.ws_middlewares)],
    ]:
        outermost = config.tree[0].providers
        plan = HookPlan(
            placed(config.middlewares, outermost), placed(config.ws_middlewares, outermost)
        )
        config.hook_plan = plan
    return plan


# -- before the handler ----------------------------------------------------------------------------


def run_before(hooks: Iterable[_Hook], request: Request) -> Flow[object]:
    """Run each hook's part before the handler until one answers; return that answer, or None.

    A session backend that may wait is asked before the first hook that needs the session, so a hook
    that refuses without it costs the backend nothing.
    """
    exchange = request._exchange
    store = exchange.config.sessions
    if store.opens_ahead and exchange.header("cookie"):
        exchange.answer.leave_session_unopened()
    for hook in hooks:
        if hook.needs_session and exchange.answer.session is not None:
            yield from exchange.open_session()
        kind, before = hook.kind, hook.before
        if kind == INLINE:
            answer = before(request)
        elif kind == AWAIT:
            answer = yield AWAIT, before, (request,)
        else:
            answer = yield kind, before, (request,)
        if isinstance(hook, _ClassHook) and answer is not None:
            answer = yield from hook.changed(Response(""), answer)
        elif type(answer) is GeneratorType:
            answer = yield from answer
        if answer is not None:
            return answer
    return None


# -- after the handler -----------------------------------------------------------------------------


def run_after(
    hooks: Iterable[_Hook], request: Request, response: Response | None, failure: Exception | None
) -> Flow[Response]:
    """Run each hook's part after the handler, the last hook first, and return the response as they
    change it.

    Take the handler's response or, if ``response`` is None, its exception as ``failure``. Generator
    functions get the exception; the response to it is made when the first hook needs it. A
    ``Redirect`` is an answer and no failure. An exception of a hook is the failure that the hooks
    before it see: each is called once.
    """
    raised = traceback = None
    answer = request._exchange.answer
    try:
        for hook in hooks:
            if failure is not None:
                traceback = failure.__traceback__
                is_answer = isinstance(failure, Redirect)
                if response is None and (is_answer or not hook.sees_failures):
                    response = yield from respond_to(request, failure)
                    answer.replace(response)
                failure = None if is_answer else failure
            try:
                response, failure = yield from hook.after(request, response, failure)
                if response is not answer.response:
                    answer.replace(response)
                continue
            except Exception as error:
                raised = error
            if raised is failure:
                # without the way through the hook, which tells nothing
                raised.__traceback__ = traceback
            else:
                response, failure = None, raised
                answer.replace(None)
        if response is None:
            assert failure is not None  # noqa: S101
            response = yield from respond_to(request, failure)
        return response
    finally:
        # the traceback refers to this frame: without this it would be a cycle
        del failure, raised, traceback


# -- WebSockets ------------------------------------------------------------------------------------


class SocketHook:
    """Middleware with ``before_websocket`` and ``after_websocket``."""

    def __init__(self, middleware: object) -> None:
        self._name = type(middleware).__name__
        self._before, self._before_kind, self._has_before = _part(middleware, "before_websocket")
        self._after, self._after_kind, self._has_after = _part(middleware, "after_websocket")

    def before(self, request: Request) -> Flow[tuple[int, str] | None]:
        """Return the code and the reason by which the hook refuses a handshake, or None."""
        refusal: object = (
            (yield from call(self._before_kind, self._before, request))
            if self._has_before
            else None
        )
        if refusal is None:
            return None
        if not isinstance(refusal, dict) or not refusal.keys() <= {"code", "reason"}:
            raise ResponseError(
                f"{self._name} returned {refusal!r}: before_websocket returns "
                "None or a dict with code, reason"
            )
        code, reason = refusal.get("code", websockets.POLICY), refusal.get("reason") or ""
        websockets.check_code(code)
        return code, str(reason)

    def after(self, request: Request) -> Flow[None]:
        """Run the part after the handler. Log an exception, so that the other hooks still run."""
        try:
            if self._has_after:
                yield from call(self._after_kind, self._after, request)
        except Exception:
            logger.exception("after_websocket of %s failed", self._name)


def run_before_websocket(config: Config, request: Request) -> Flow[tuple[int, str] | None]:
    """Run each ``before_websocket`` until one refuses. Return its code and reason, or None.

    Every hook that is called is added to ``hooks_begun``.
    """
    request._exchange.hooks_begun = begun = []
    for hook in planned_hooks(config).of_sockets:
        begun.append(hook)
        refusal = yield from hook.before(request)
        if refusal is not None:
            return refusal
    return None


def run_after_websocket(begun: list[SocketHook], request: Request) -> Flow[None]:
    """Run ``after_websocket`` of each hook in ``begun``, last first."""
    while begun:
        yield from begun.pop().after(request)
