"""The steps that a flow can yield to its driver.

A flow is a generator. It yields a step, which is a plain tuple ``(kind, function, arguments)``, and
gets the step's result back. An exception or a cancellation of the step is raised at the ``yield``.
These are the steps:

=============  ========================================================  ===========================================
step           what the flow gets                                        what the driver does
=============  ========================================================  ===========================================
AWAIT          the result of ``function(*arguments)``, which is          awaits it (asgi), or waits while the
               awaitable                                                 background loop awaits it (wsgi)
ON_LOOP        the result of ``function(*arguments)``, which doesn't     calls it on the event loop (asgi), or in its own
               block but may need the event loop                         thread (wsgi)
``Call(...)``  the result of ``function(*arguments)``, which may block   calls it in one of the kind's threads
                                                                         (asgi), or in its own thread (wsgi)
RECEIVE        ``(piece, more)``: bytes of the body, and whether more    awaits ``receive()`` (asgi), or reads from
               may follow                                                ``wsgi.input`` (wsgi)
CHUNK          the next chunk of a stream, which is the argument         advances the stream, always in one task
CLOSE          nothing; it closes the stream, which is the argument      closes the stream, in the same task
ANSWER         nothing; it is the last step of a request's flow, and     ends the flow, and sends the response
               has the response in place of the arguments
=============  ========================================================  ===========================================

``call_within`` adds a time limit to an AWAIT or ``Call`` step. These are the usual ``Call``
objects:

- CALL: a call in the application's threads.
- HANDLER: the same, for the first call of a request. It may be refused if too many requests wait.
- RELEASE: the same, for a call that releases something that other threads may be waiting for.
- IO: a call in separate threads, for files.

A flow yields only calls that may have to wait. INLINE is not a step: the flow itself calls the
function, because the function doesn't block. A flow that never waits costs little more than a
function call.

The return value of a flow is its result. Only the flow of a whole request yields its result
instead, as the last step. Python passes a return value in a StopIteration, which takes as long as
everything else in the generator.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, Generic, Literal, NamedTuple, Never, TypeAlias, TypeVar

from micropie._core.execution.cancellation import cancelled_after
from micropie._core.execution.loop import Action, AsyncFunction
from micropie._core.execution.placement import (
    IO_THREADS,
    LOOP,
    MARK,
    AnyFunction,
    Threads,
)

AWAIT: Final = "await"
CHUNK: Final = "chunk"
CLOSE: Final = "close"
RECEIVE: Final = "receive"
ANSWER: Final = "answer"
ON_LOOP: Final = "loop"
INLINE: Final = "inline"  # not a step: the flow calls the function itself

# Seconds that a request waits for its ``def`` code after the server has cancelled the request.
# After the wait, the request closes its resources, even if the code still uses them. A longer wait
# would keep the server from shutting down.
LEAVE_AFTER = 5.0


class Call(NamedTuple):
    """A kind of step: a call of a function that may block.

    Under WSGI, only ``seconds`` and the ``threads`` of a service have an effect.
    """

    threads: Threads | None = None
    """Limits the threads in which the function is called. None means the threads of the application
    that handles the request.
    """
    is_queued: bool = False
    """Whether the call is refused with a 503 if ``threads.queue`` calls are already waiting. Once
    the request has used a thread of the application, its calls in the application's threads are
    never refused.
    """
    leave_after: float | None = LEAVE_AFTER
    """Seconds that a cancelled request waits for the call; None means until the call ends."""
    seconds: float | None = None
    """The time limit in seconds. When it is over, ``TookTooLong`` is raised, but the function goes
    on in its thread, because a thread can't be ended.
    """
    releases: bool = False
    """Whether the call releases something that other threads may be waiting for. Such a call must
    not wait for one of these threads.
    """


CALL = Call()
HANDLER = Call(is_queued=True)
RELEASE = Call(releases=True)
IO = Call(IO_THREADS, leave_after=None)

# How a flow calls a function of the application: "await" yields an AWAIT step, which awaits the
# function's result; a ``Call`` yields a step of that kind; "inline" calls the function directly,
# without a step, in whatever thread the flow is.
Kind: TypeAlias = Literal["await", "loop", "inline"] | Call


# The kinds of steps that call a function which isn't awaited.
CallKind: TypeAlias = Literal["loop"] | Call


# The types of steps. The optional argument of a RECEIVE step is the number of bytes to read at
# once, if more than usual. A stream is declared as ``object``, because its class is defined in a
# layer above this package. The kind of a route's step is known only at runtime, so no function has
# the right type for it: type checkers accept only a route's ``call``, which is ``Any``.
Step: TypeAlias = (
    tuple[Literal["await"], AsyncFunction, Sequence[object]]
    | tuple[CallKind, AnyFunction, Sequence[object]]
    | tuple[Kind, Never, Sequence[object]]
    | tuple[Literal["chunk", "close"], Action, tuple[object]]
    | tuple[Literal["receive"], Action, tuple[()] | tuple[int]]
    | tuple[Literal["answer"], Action, Any]
)

# The type of a step of any kind. The drivers use it, because they unpack steps.
AnyStep: TypeAlias = tuple[object, Callable[..., Any], Any]

# A flow's ``send`` or ``throw``, which returns the flow's next step.
Resume: TypeAlias = Callable[[Any], AnyStep]

Result = TypeVar("Result")
Flow: TypeAlias = Generator[Step, Any, Result]


def kind_of(function: AnyFunction, otherwise: Kind = CALL) -> Kind:
    """Return the kind of step with which to call a function of the application: AWAIT for an
    ``async def``, ON_LOOP for ``@run_in("loop")``, or ``otherwise``.

    ``otherwise`` is for any other ``def``, which may block. Under ASGI, such a ``def`` runs in a
    worker thread.
    """
    if iscoroutinefunction(function):
        return AWAIT
    is_for_loop = otherwise is not INLINE and getattr(function, MARK, None) == LOOP
    return ON_LOOP if is_for_loop else otherwise


# The types of most results. ``isawaitable`` is slower.
_NEVER_AWAITED: frozenset[type] = frozenset({str, bytes, dict, list, tuple, bool})


def call(kind: Kind, function: Callable[..., Any], *arguments: object) -> Flow[Any]:
    """Call a function of the application and return its result. ``kind``: the result of
    ``kind_of(function)``.

    A decorated ``async def`` may return an awaitable, which is awaited. An exception of the
    function is raised here.
    """
    if kind == INLINE:
        result = function(*arguments)
    elif kind == AWAIT:
        result = yield AWAIT, function, arguments
    else:
        result = yield kind, function, arguments
    # Check for None first, because most hooks return it.
    if result is None or type(result) in _NEVER_AWAITED:
        return result
    return (yield from awaited(result))


def call_within(seconds: float, kind: Kind, function: AnyFunction, *arguments: object) -> Flow[Any]:
    """Call a function as ``call`` does, but wait at most ``seconds`` for it.

    Raises ``TookTooLong`` if it takes longer.

    ``kind``: the result of ``kind_of(function)``. A time limit has no effect on an INLINE or
    ON_LOOP call, because nothing runs beside it.
    """
    if kind == INLINE:
        result = function(*arguments)
    elif kind == AWAIT:
        result = yield AWAIT, cancelled_after, (seconds, function, arguments)
    elif kind == ON_LOOP:
        result = yield kind, function, arguments
    else:
        result = yield kind._replace(seconds=seconds), function, arguments
    if isawaitable(result):
        result = yield AWAIT, cancelled_after, (seconds, itself, (result,))
    return result


def awaited(result: object) -> Flow[object]:
    """Return ``result``, the result of a function of the application. A decorated ``async def`` may
    return an awaitable, which is awaited first.
    """
    if isawaitable(result):
        result = yield AWAIT, itself, (result,)
    return result


def result_of(flow: Flow[Result]) -> Result:
    """Return the result of a flow that never yields a step and so needs no driver."""
    try:
        step = flow.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError(f"this flow must not yield any step, but yielded {step!r}")


def itself(value: Result) -> Result:
    """Return the argument. A flow that already has an awaitable yields an AWAIT step with
    ``itself`` as the step's function.
    """
    return value


def no_function() -> None:
    """Do nothing. This is the function of steps that need no function.

    All steps have the same form, because drivers can unpack them faster that way.
    """


RECEIVE_STEP: Final[Step] = (RECEIVE, no_function, ())


class Completed(Generic[Result]):
    """An awaitable that returns ``value`` at once, on any event loop.

    It is true if ``value`` is true.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Result) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Result]:
        return self._value
        yield  # makes this function a generator

    def __bool__(self) -> bool:
        return bool(self._value)
