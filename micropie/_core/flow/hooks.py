"""Run middleware: in order before the handler, and in reverse order after it.

Middleware is an object with hooks (``flow/middleware.py``), or a generator function, ``def`` or
``async def``, that wraps the handler::

    def timed(request):
        begun = perf_counter()
        response = yield                          # the handler, and the middleware inside this one
        response.headers["Server-Timing"] = f"app;dur={(perf_counter() - begun) * 1000:.1f}"

    app.middlewares.append(timed)

``yield`` returns the ``Response`` of the handler, of a redirect, or of a hook that responded before
the handler could run. If the handler or an inner hook raised an exception, ``yield`` raises it, as
in ``contextlib.contextmanager``. So ``with engine.begin(): yield`` does not commit after a failure.
A value that you yield is a response. If you write ``yield 401, "no"`` before the handler, the
handler is not called. If you write ``yield "other"`` after the handler, it replaces the handler's
response. In a ``def``, ``return value`` has the same effect as ``yield value``. If the function has
``guards = True``, it also runs where it gets no response: for a WebSocket, at whose end it is
closed, and for an isolated mount, before which it is closed.

When a middleware first runs, ``HookPlan`` determines its ``_Hook``: the function that runs before
the handler, the function that runs after it, and how to call the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import iscoroutinefunction
from types import GeneratorType
from typing import Any, TypeAlias, cast

from micropie._core import execution, files, streams
from micropie._core.errors import (
    HTTPError,
    RaisedAnswer,
    Redirect,
    ResponseError,
    alone_in,
    raise_any,
)
from micropie._core.execution.steps import (
    HANDLER,
    INLINE,
    IO,
    RELEASE,
    Flow,
    Kind,
    RunningGenerator,
    awaited,
    call,
    kind_of,
)
from micropie._core.flow.errors import drop_traceback, respond_to
from micropie._core.flow.middleware import FlowMiddleware, HttpMiddleware, WebSocketMiddleware
from micropie._core.http import (
    BODIES,
    FileReference,
    Request,
    Response,
    as_response,
    receive_body,
    with_html,
)
from micropie._core.routing import Config, with_providers
from micropie._core.routing.discovery import Checking, Providers, check_middlewares, open_resources
from micropie._core.spellings import reads_fields, status_of

# The methods of these classes do nothing, so a method that a subclass doesn't override isn't
# called.
_BASES = FlowMiddleware, HttpMiddleware, WebSocketMiddleware

# A method of a middleware, or a function that takes the method's place. It may be a plain function,
# a coroutine function or a flow.
_Part: TypeAlias = Any

# The keys allowed in the dict that a hook returns.
_CHANGES = frozenset({"status", "status_code", "body", "headers"})


def no_method(*arguments: object) -> None:
    """Do nothing, in place of a method that a middleware doesn't define."""


@dataclass(slots=True)
class _Hook:
    """The two functions of a middleware, and how to call them.

    - ``needs_session``: whether ``before`` may read the session.
    - ``before``: called with the request, before the handler. Returns the response, or None to
      continue, or a flow whose result is one of these.
    - ``after``: called with the request and the response, after the handler. Returns another
      response, or None to keep the response, or a flow whose result is one of these.
    - ``kind``: the kind of step that calls ``before``.
    - ``after_kind``: the kind of step that calls ``after``. Used only if ``class_name`` is set.
    - ``class_name``: the name of the class if the functions are the methods ``before_request`` and
      ``after_request``, which take other arguments and return dicts. Otherwise "".
    - ``sees_failures``: whether ``after`` also gets the exception of the handler or of an inner
      hook.
    - ``may_hold``: whether ``before``, called in a thread, may open something that only ``after``
      closes.
    """

    needs_session: bool
    before: _Part
    after: _Part = no_method
    kind: Kind = INLINE
    after_kind: Kind = INLINE
    class_name: str = ""
    sees_failures: bool = False
    may_hold: bool = False


def part_of(middleware: object, name: str, otherwise: Kind) -> tuple[_Part, Kind]:
    """Return a method of a middleware, or ``no_method`` if the middleware doesn't define it, and
    the kind of step that calls the method.

    ``otherwise``: the kind of step that calls a method that may block.
    """
    method: _Part = getattr(middleware, name, None) or no_method
    function = getattr(method, "__func__", method)
    is_unused = any(function is getattr(base, name, None) for base in _BASES)
    return no_method if is_unused else method, kind_of(method, otherwise)


def _planned(middleware: object, providers: Providers, blocking: Kind) -> _Hook:
    """Return the ``_Hook`` of a middleware. ``blocking``: the kind of step for functions that may
    block.

    Raises ``SetupError`` for an object that is not a middleware. Startup has checked all middleware
    already, but the application may have added some since then.
    """
    check_middlewares(providers, [middleware])
    needs_session = getattr(middleware, "needs_session", True)
    if isinstance(middleware, Checking):
        return _Hook(needs_session, _check_of(middleware, providers, blocking))
    if hasattr(middleware, "before_request") or hasattr(middleware, "after_request"):
        return _dict_hook(middleware, needs_session, blocking)
    if hasattr(middleware, "before") or hasattr(middleware, "after"):
        before, _ = part_of(middleware, "before", INLINE)
        after, _ = part_of(middleware, "after", INLINE)
        return _Hook(needs_session, before, after)
    return _generator_hook(middleware, needs_session)


def _check_of(mark: Checking, providers: Providers, blocking: Kind) -> _Part:
    """Return the ``before`` function that runs a check of ``@requires``."""
    kind, filled = kind_of(mark.check, blocking), providers.of_check(mark.check)
    needed = providers.needed_for(one.key for one in filled.values())

    def before(request: Request) -> Flow[object]:
        """Return the response of the check, or None if the check returned True.

        Raises a 403 if the check returns False, and ``ResponseError`` if it returns None, because
        then the check probably lacks a ``return``.
        """
        check = mark.check
        if filled:
            resources = request._exchange.own_resources()
            yield from open_resources(request, resources, needed)
            check = partial(check, **{name: resources.values[one] for name, one in filled.items()})
        answer = yield from call(kind, check, request)
        if answer is None:
            raise ResponseError(
                f"the check {mark.name} returned None, which is neither yes nor no: return True "
                "to let the request in, or False to refuse it"
            )
        if answer is False:
            raise HTTPError(403)
        # Raise an error for an object of the application, such as a user. If it were sent as JSON,
        # the client could see the data that the check has loaded.
        if answer is not True and not (
            type(answer).__module__ == "builtins"
            or isinstance(answer, Response | RaisedAnswer)
            or hasattr(answer, "__html__")
        ):
            raise ResponseError(
                f"the check {mark.name} returned {type(answer).__name__}, which is not a "
                "response: write return True to let the request in"
            )
        if request._exchange.config.advisor is not None:
            request._exchange.config.advisor.review_check(mark, answer)
        return None if answer is True else answer

    return before


def _dict_hook(middleware: object, needs_session: bool, blocking: Kind) -> _Hook:
    """Return the ``_Hook`` of a middleware with ``before_request`` and ``after_request``."""
    before, before_kind = part_of(middleware, "before_request", blocking)
    releasing: Kind = INLINE if blocking is INLINE else RELEASE
    after, after_kind = part_of(middleware, "after_request", releasing)
    may_hold = before is not no_method and after is not no_method and after_kind is RELEASE
    name = type(middleware).__name__
    if reads_fields(middleware):
        before, before_kind = partial(_with_body, before_kind, before), INLINE
        after, after_kind = partial(_with_body, after_kind, after), INLINE
    return _Hook(needs_session, before, after, before_kind, after_kind, name, may_hold=may_hold)


def _with_body(kind: Kind, method: _Part, request: Request, *arguments: object) -> Flow[object]:
    """Receive the body, if it is unread, then call a method of a middleware."""
    exchange = request._exchange
    if exchange.body.data is None and exchange.method not in ("GET", "HEAD"):
        yield from receive_body(exchange, exchange.reads_body)
        if exchange.body.is_large:
            yield IO, exchange.body.parsed, (exchange,)
    return (yield from call(kind, method, request, *arguments))


def _changed(response: Response, changes: object, class_name: str) -> Flow[Response | None]:
    """Apply ``changes``, the dict that a hook returned, to ``response``. Return the response, or
    None if the hook returned None.

    Raises ``ResponseError`` for any other value, and for unknown keys.
    """
    changes = yield from changes if type(changes) is GeneratorType else awaited(changes)
    if changes is None:
        return None
    if not isinstance(changes, dict) or not changes.keys() <= _CHANGES:
        raise ResponseError(
            f"a hook of {class_name} returned {changes!r}: return None, or a dict with status, "
            "body or headers; to send another response, raise it, as in raise Redirect(...)"
        )
    status = status_of(changes, response.status, class_name)
    if "body" in changes:
        response.body = changes["body"]
    response.status = status
    if "headers" in changes:
        response.headers = changes["headers"]
    return response


def _generator_hook(function: Any, needs_session: bool) -> _Hook:
    """Return the ``_Hook`` of a middleware that is a generator function."""
    kind = kind_of(function, HANDLER)
    owner = object()  # ``after`` finds its generator by this object

    def before(request: Request) -> Flow[object]:
        running = RunningGenerator(function(request), kind, owner)
        request._exchange.begin_generator(running)
        answer = yield from running.resume(None)
        # The function has returned before its ``yield``, perhaps to refuse the request. So raise an
        # error instead of calling the handler.
        if answer is None and running.has_ended:
            name = getattr(function, "__name__", repr(function))
            raise ResponseError(
                f"{name} in middlewares ended without a yield: write yield where the handler "
                "should run; to refuse the request, yield a response, such as (403, 'No.')"
            )
        return answer

    def after(
        request: Request, response: Response | None, failure: Exception | None
    ) -> Flow[Response | None]:
        """Run the generator to its end, and return the response. Raises ``failure`` if the
        generator doesn't catch it.

        If the generator never began, because an earlier hook sent the response, return None, or
        raise ``failure``. If the request was cancelled, the generator has ended already. Return the
        response that it yielded during the cancellation, if there is one.
        """
        generators = request._exchange.generators
        running = next((one for one in generators if one.owner is owner), None)
        if running is None or running.has_ended:
            answer = None if running is None else running.answer
            if answer is None:
                raise_any(failure)
                return None
        else:
            answer = yield from running.finish(response, failure)
        if answer is not None:
            answer = yield from awaited(answer)
            return as_response(answer)
        if response is None:
            assert failure is not None  # noqa: S101
            response = yield from respond_to(request, failure)
        return response

    return _Hook(needs_session, before, after, sees_failures=True)


class HookPlan:
    """The hooks around the handlers of a configuration. The plan is valid until the configuration's
    list of middlewares changes.

    - ``ids``: the ``id()`` of each middleware. The plan keeps the middlewares alive, so no new
      object can get the same id.
    - ``before``: the hooks that run before the handler.
    - ``after``: the hooks that run after the handler, the last one first.
    - ``needs_session``: whether any hook may read the session before the handler.
    - ``may_hold``: whether any hook, called in a thread, may open something that it closes later.
    - ``has_async``: whether any hook, but a generator, is ``async def``.
    - ``guards``: the plan of the hooks that also run for WebSocket handshakes and isolated mounts.
      For these, the hooks can refuse the request, but not change the response.
    """

    def __init__(self, middlewares: Sequence[tuple[object, Providers]], blocking: Kind) -> None:
        self.middlewares, self.ids = middlewares, [id(one) for one, _ in middlewares]
        hooks = [_planned(*one, blocking) for one in middlewares]
        self.before = [hook for hook in hooks if hook.before is not no_method]
        self.after = [hook for hook in reversed(hooks) if hook.after is not no_method]
        self.needs_session = any(hook.needs_session for hook in hooks)
        self.may_hold = any(hook.may_hold for hook in hooks)
        names = "check", "before", "before_request", "after", "after_request"
        methods = (getattr(one, name, None) for one, _ in middlewares for name in names)
        self.has_async = any(map(iscoroutinefunction, methods))
        guards = [one for one in middlewares if getattr(one[0], "guards", False)]
        is_same = len(guards) == len(middlewares)
        self.guards: HookPlan = self if is_same else HookPlan(guards, blocking)


def planned_hooks(config: Config) -> HookPlan:
    """Return the plan for the middleware of a configuration.

    The list of middlewares may change at any time, so it is compared with the plan in every
    request.
    """
    plan: HookPlan | None = config.hook_plan
    if plan is None or plan.ids != [*map(id, config.middlewares)]:
        middlewares = with_providers(config.middlewares, config.tree[0].providers)
        config.hook_plan = plan = HookPlan(middlewares, config.blocking)
    return plan


# -- before the handler ----------------------------------------------------------------------------


def run_before(hooks: Iterable[_Hook], request: Request) -> Flow[object]:
    """Call ``before`` of each hook, until one returns a response. Return that response, or None.

    If loading the session may block, the session is loaded just before the first hook that needs
    it. So the session backend isn't called for a request that an earlier hook refuses.
    """
    exchange = request._exchange
    is_unopened = exchange.config.sessions.opens_ahead and exchange.header("cookie")
    if is_unopened:
        exchange.answer.leave_session_unopened()
    for hook in hooks:
        if is_unopened and hook.needs_session:
            yield from exchange.open_session()
        kind, before = hook.kind, hook.before
        answer = before(request) if kind == INLINE else (yield kind, before, (request,))
        if answer is None:
            continue
        if hook.class_name:
            answer = yield from _changed(Response(""), answer, hook.class_name)
        elif type(answer) is GeneratorType:
            answer = yield from answer
        if answer is not None:
            return answer
    return None


# -- after the handler -----------------------------------------------------------------------------


def run_after(
    hooks: Iterable[_Hook], request: Request, response: Response | None, failure: Exception | None
) -> Flow[Response]:
    """Call ``after`` of each hook, the last hook first. Return the response with the changes that
    the hooks have made.

    ``response`` is the handler's response, or None if the handler raised ``failure``. Hooks that
    are generator functions get the exception. Before the first hook that is not a generator
    function, the exception is turned into a response. A ``Redirect`` counts as a response, not as a
    failure. If a hook raises an exception, the remaining hooks get that exception instead. Each
    hook is called once.
    """
    raised = traceback = None
    answer = request._exchange.answer
    try:
        for hook in hooks:
            if failure is not None:
                traceback = failure.__traceback__
                response, failure = yield from _seen_by(hook, request, response, failure)
            try:
                if hook.sees_failures:
                    changed = yield from hook.after(request, response, failure)
                    failure = None
                elif hook.class_name:
                    assert response is not None  # noqa: S101
                    kind, after = hook.after_kind, hook.after
                    given = request, response.status, response.body, response.pairs
                    changed = after(*given) if kind == INLINE else (yield kind, after, given)
                    if changed is None:
                        continue
                    changed = yield from _changed(response, changed, hook.class_name)
                else:
                    changed = hook.after(request, response)
                    if type(changed) is GeneratorType:
                        changed = yield from changed
                if changed is not None and changed is not response:
                    # Copy it, because a hook may return the same object for several requests.
                    response = as_response(changed)
                    answer.replace(response)
                assert response is not None  # noqa: S101
                if response.body.__class__ not in BODIES:  # an outer hook may wrap a stream
                    yield from replaced_stream(request, response)
                continue
            except BaseException as error:
                raised = execution.contained(error)
            if raised is failure:
                # The hook only passed the exception on, so remove its frames from the traceback.
                raised.__traceback__ = traceback
                raised = None
            else:
                response, failure = None, alone_in(raised)
                answer.replace(None)
        if response is None:
            assert failure is not None  # noqa: S101
            response = yield from respond_to(request, failure)
            drop_traceback(raised)
        return response
    finally:
        # Avoid a reference cycle between the traceback and this frame.
        del failure, raised, traceback


def replaced_stream(request: Request, response: Response) -> Flow[streams.AnyStream | None]:
    """Return the stream of a response whose body was replaced by a hook, or None if the new body
    isn't a stream. Close the old stream, unless the new one may read from it. Open a file, because
    the outer hooks need its status, headers and bytes.
    """
    exchange = request._exchange
    made = exchange.answer.stream
    if made is None and type(response.body) in BODIES:  # true for most bodies
        return None
    if type(response.body) is FileReference:
        files.describe(request, response, *(yield from files.open_file(request, response)))
    replaced = None if made is None else cast("streams.AnyStream", made)
    if replaced is not None and replaced.items is response.body:
        return replaced
    stream = streams.stream_of(with_html(response).body)
    exchange.answer.begin(stream or replaced)
    if stream is not None and stream.file is None:
        stream.replace(replaced)
        streams.follow_events(stream, replaced, response)
    elif replaced is not None:
        yield from replaced.close()
    return stream


def _seen_by(
    hook: _Hook, request: Request, response: Response | None, failure: Exception
) -> Flow[tuple[Response | None, Exception | None]]:
    """Return the response and the failure to pass to a hook after ``failure`` was raised."""
    is_answer = isinstance(failure, Redirect)
    if response is None and (is_answer or not hook.sees_failures):
        response = yield from respond_to(request, failure)
        request._exchange.answer.replace(response)
    return response, None if is_answer else failure
