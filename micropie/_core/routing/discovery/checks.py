"""``@requires`` and middleware that are written above a handler or an application, as decorators.
They run as hooks of that handler or application, after the hooks in ``middlewares``.

Here, such an access check or middleware is called a mark. A handler or an application has one list
of marks, beginning with that of the uppermost decorator.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from inspect import Parameter
from typing import Any, Concatenate, Protocol, TypeAlias

from micropie._core.binding import python_call_of
from micropie._core.errors import (
    Redirect,
    SetupError,
    has_yield,
    is_async,
    is_generator,
    makes_context_manager,
    name_of,
    parameters_of,
    signature_of,
    takes,
)
from micropie._core.execution.placement import AnyFunction, innermost, layers
from micropie._core.http import Request, Response
from micropie._core.routing.discovery.marks import (
    REQUIRES,
    has_lost_mark,
    is_bare,
    leave_mark,
    own_attributes,
    wrapped_by,
)
from micropie._core.routing.discovery.providers import Providers

_Allowed: TypeAlias = bool | str | Redirect | Response | Mapping[str, object] | tuple[object, ...]
# The result of a check: True accepts the request, False refuses it with a 403, and a response
# refuses it with that response.
_Result: TypeAlias = _Allowed | Awaitable[_Allowed]
Check: TypeAlias = Callable[[Request], _Result] | Callable[Concatenate[Request, ...], _Result]

# An application that was written for another framework, and runs in an ``App`` now, has this
# attribute. Its value is that ``App``. Marks for the application are added to the ``App``.
_NATIVE = "__micropie_native__"
HOLDS = "__micropie_holds__"  # the attribute in which ``requires`` stores its first check


class Mark(Protocol):
    """An access check or a middleware above a handler or an application.

    ``guards``: whether the mark decides which requests are accepted. If so, it also runs for
    WebSockets and for isolated mounts.
    """

    guards: bool


class Checking:
    """The mark that ``@requires(check)`` stores on a handler or an application. ``flow/hooks.py``
    runs it as a hook.
    """

    guards = needs_session = True

    def __init__(self, check: Check) -> None:
        self.check = check
        self.name = _name_of(check)


def refuse_unless_check(check: Check) -> None:
    """Raise ``SetupError`` for an object that is not a check. For example, the object is the
    handler if ``@requires`` is written without parentheses.
    """
    if not isinstance(check, type) and any(
        hasattr(check, name) for name in (*_HOOKS, *_FLOW_HOOKS)
    ):
        name = type(check).__name__
        raise SetupError(
            f"{name} is middleware, not a check: write @{name}(...) instead "
            f"of @requires({name}(...))"
        )
    is_method = inspect.isfunction(check) and [*signature_of(check).parameters][:1] == ["self"]
    if isinstance(check, type) or is_generator(check) or is_method or not _takes_request(check):
        raise SetupError(
            f"{_name_of(check)} is not a check: a check is a function that takes the request "
            "and has no yield. Write def members(request): ... and @requires(members)"
        )


def _takes_request(check: Check) -> bool:
    """Return whether a check can be called with the request, and with resources for its other
    required parameters. These parameters must have annotations.
    """
    function = python_call_of(check)
    if takes(check, 1) or not (inspect.isfunction(function) or inspect.ismethod(function)):
        return takes(check, 1)
    parameters = parameters_of(function)
    required = [one for one in parameters[1:] if one.default is one.empty]
    return (
        bool(required)
        and parameters[0].kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        and all(one.annotation is not one.empty for one in required)
    )


def mark_with(target: object, marks: Sequence[object]) -> None:
    """Add marks (access checks and middleware) to a handler, a class or an application. They are
    added above its existing marks. Raises ``SetupError`` for a target that can't have marks.
    """
    target = own_attributes(target).get(_NATIVE, target)
    leave_mark(target, REQUIRES, [*marks, *_own_marks(target)])


def marks_above(app: object) -> list[Mark]:
    """Return the access checks and middleware above an object, such as an application: first those
    above the bases of its class, then those above its class, then those above the object itself.
    """
    return _each_once(
        mark for owner in (*reversed(type(app).__mro__), app) for mark in _own_marks(owner)
    )


def marked_layer(function: AnyFunction) -> AnyFunction | None:
    """Return the outermost layer of a function (see ``layers``) that has access checks or
    middleware above it. Checks and middleware above an object or its class count for its methods as
    well. Return None if no layer has any.
    """
    for layer in layers(function):
        if marks_above(layer) or marks_above(getattr(layer, "__self__", None)):
            return layer
    return None


def marks_above_handler(function: AnyFunction, takes_socket: bool) -> list[Mark]:
    """Return the access checks and middleware above a handler.

    Raises ``SetupError`` if another decorator hides them. A decorator with ``functools.wraps``
    copies the marks to its wrapper. Without ``functools.wraps``, the handler is only a closure
    variable of the wrapper, so the marks would have no effect.

    A decorator that compiles a function anew drops them; see ``has_lost_mark``.

    Also raises ``SetupError`` if ``guards`` is False for middleware above a WebSocket handler,
    because such middleware never runs for WebSockets.
    """
    if has_lost_mark(function):
        raise SetupError(
            f"the decorator above {_name_of(function)}, or above its class, replaces the function "
            "and drops its route, access checks or other marks: write those above all others, or "
            "decorate no class"
        )
    if is_bare(getattr(function, "__func__", function)):
        return []
    for layer in layers(function):
        if hasattr(layer, HOLDS):
            name = _name_of(getattr(layer, HOLDS))
            raise SetupError(
                f"@requires without () treats {name} as the check: write @requires(check), "
                "with your check function"
            )
    # For a callable object, use the marks above its class and those above its ``__call__``.
    marks = [
        mark
        for layer in layers(function)
        for mark in (*marks_above(layer), *_own_marks(type(layer).__call__))
    ]
    if not marks:
        for inner in wrapped_by(function):
            for mark in _own_marks(inner)[:1]:
                name = "requires" if isinstance(mark, Checking) else type(mark).__name__
                raise SetupError(
                    f"@{name} has no effect on {_name_of(inner)}, because the decorator above "
                    f"it replaces the function: write @{name} above all others"
                )
    for mark in marks if takes_socket else ():
        if not mark.guards:
            raise SetupError(
                f"@{type(mark).__name__} has no effect above {_name_of(function)}, which handles "
                "WebSockets"
            )
    return _each_once(marks)


def _each_once(marks: Iterable[Mark]) -> list[Mark]:
    """Return each check and middleware once, at its first place."""
    found: dict[int, Mark] = {}  # by id, because their classes may define ``==``
    for mark in marks:
        found.setdefault(id(mark.check if isinstance(mark, Checking) else mark), mark)
    return [*found.values()]


def _own_marks(target: object) -> Sequence[Mark]:
    marks: Sequence[Mark] = own_attributes(target).get(REQUIRES, ())
    return marks


def _name_of(function: Any) -> str:
    return name_of(innermost(function))


# -- middleware ------------------------------------------------------------------------------------

# The methods of middleware classes that are called as hooks, and their parameters.
_SOCKET_HOOKS = {"before_websocket": "request", "after_websocket": "request"}
_HOOKS = {
    "before_request": "request",
    "after_request": "request, status, response_body, extra_headers",
}
_FLOW_HOOKS = {"before": "request", "after": "request, response"}


def check_middlewares(
    providers: Providers, middlewares: Sequence[object], of_sockets: Sequence[object] = ()
) -> None:
    """Raise ``SetupError`` for an object that is not middleware. Also raise it if a middleware's
    hook has a parameter annotated with a resource, because only access checks get resources.
    """
    for middleware in [*middlewares, *of_sockets]:
        if isinstance(middleware, type) and any(
            hasattr(middleware, one) for one in (*_HOOKS, *_FLOW_HOOKS, *_SOCKET_HOOKS)
        ):
            raise SetupError(
                f"middlewares takes objects, not classes: write {middleware.__name__}()"
            )
    for middleware in of_sockets:
        if not _has_hooks(middleware, _SOCKET_HOOKS, providers):
            raise SetupError(
                f"{middleware!r} is not WebSocket middleware: append an object with "
                "before_websocket or after_websocket"
            )
    for middleware in middlewares:
        if isinstance(middleware, Checking):
            try:
                providers.of_check(middleware.check)
            except SetupError as error:
                raise SetupError(f"the check {middleware.name}: {error}") from None
            continue
        has_hooks = [_has_hooks(middleware, hooks, providers) for hooks in (_HOOKS, _FLOW_HOOKS)]
        if not any(has_hooks) and not _is_generator_middleware(middleware, providers):
            if hasattr(middleware, "middlewares"):
                name = type(middleware).__name__
                raise SetupError(f"{name} is a setting: write App(security={name}(...))")
            raise SetupError(
                f"{middleware!r} is not middleware: append an object with before_request or "
                "after_request, or a generator function (def or async def) with one yield in it"
            )


def _is_generator_middleware(middleware: Any, providers: Providers) -> bool:
    """Return whether a middleware is a generator function.

    Raises ``SetupError`` for a generator function that takes anything but the request, or that is
    below ``@contextmanager``.
    """
    functions = (
        [inspect.unwrap(middleware), vars(type(middleware)).get("__call__")]
        if callable(middleware)
        else []
    )
    if not any(map(has_yield, functions)):
        return False
    name = getattr(middleware, "__name__", repr(middleware))
    if makes_context_manager(middleware):
        raise SetupError(f"{name} in middlewares must be a generator: remove @contextmanager")
    # For a callable object, check the signature of ``__call__``.
    function = middleware if inspect.isroutine(middleware) else middleware.__call__
    providers.refuse_resources(function, 1)
    if not takes(function, 1):
        raise SetupError(f"{name} in middlewares must take one argument, the request")
    return True


def _has_hooks(middleware: object, hooks: Mapping[str, str], providers: Providers) -> bool:
    """Return whether a middleware has one of ``hooks``, a dict of hook names with their parameters.

    Raises ``SetupError`` if a hook has other parameters, or if it is an ``async def`` or a
    generator function that would never run.
    """
    methods = {
        name: method for name in hooks if callable(method := getattr(middleware, name, None))
    }
    owner = type(middleware).__name__
    for name, method in methods.items():
        count = hooks[name].count(",") + 1
        providers.refuse_resources(method, count)
        if not takes(method, count):
            raise SetupError(
                f"{owner}.{name} has the wrong parameters: write def {name}(self, {hooks[name]})"
            )
        if hooks is _FLOW_HOOKS and is_async(method):
            raise SetupError(
                f"{owner}.{name} can't be async: either write async def {name}_request in an "
                f"HttpMiddleware, or write def {name} and replace each await by "
                '"yield from call(kind_of(function), function, ...)"'
            )
        if hooks is not _FLOW_HOOKS and has_yield(method):
            raise SetupError(
                f"{owner}.{name} must not have a yield: return None or a dict. HTTP middleware "
                "with a yield is a function of the request, not a class"
            )
    return bool(methods)
