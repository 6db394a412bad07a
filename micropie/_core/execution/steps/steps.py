"""The steps that a flow can yield to its driver.

A flow is a generator. It yields a step, a bare tuple ``(kind, function, arguments)``, and gets the
step's result back; an exception or a cancellation of the step is raised at the ``yield``. These
are the steps:

=============  ========================================================  ===========================================
step           what the flow gets                                        what the driver does
=============  ========================================================  ===========================================
AWAIT          the result of ``function(*arguments)``, which is          awaits it (asgi), or waits while the
               awaitable                                                 background loop awaits it (wsgi)
``Call(...)``  the result of ``function(*arguments)``, which may block   calls it in one of the kind's threads
                                                                         (asgi), or in its own thread (wsgi)
RECEIVE        ``(piece, more)``: bytes of the body, and whether more    awaits ``receive()`` (asgi), or reads from
               may follow                                                ``wsgi.input`` (wsgi)
CHUNK          the next chunk of a stream, which is the argument         advances the stream, always in one task
CLOSE          nothing; it closes the stream, which is the argument      closes the stream, in the same task
ANSWER         nothing; it is the last step of a request's flow, and     ends the flow, and sends the response
               has the response in place of the arguments
=============  ========================================================  ===========================================

``call_within`` adds a time limit to the first two steps. The usual kinds of a ``Call`` are: CALL,
in the application's threads; HANDLER, in the same threads, for the first call of a request, which
may be refused if too many requests wait; RELEASE, in the same threads, for calls that release
something; and IO, in separate threads for files. INLINE is not a step: the flow calls the function
itself, because it does not block.

The value that a flow returns is its result. Only the flow of a whole request yields its result, as
the last step, because a generator's return value is passed in a StopIteration, which costs as much
as the rest of the generator. Apart from that, a flow yields only what may have to wait, and calls
everything else itself. A flow that never waits costs little more than a call.
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from micropie._core.execution import Action, within
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
INLINE: Final = "inline"  # means that the flow calls the function itself

# Seconds that a request waits for its ``def`` code after the server has cancelled the request,
# because the resources of that code are closed next. Waiting longer would keep the server from
# shutting down.
LEAVE_AFTER = 5.0


class Call(NamedTuple):
    """The kind of a step that calls a function which may block.

    Under WSGI, only ``seconds``, and ``threads`` for a service, have an effect.
    """

    threads: Threads | None = None
    """The threads in which the function is called; None for those of the application that handles
    the request.
    """
    is_queued: bool = False
    """Whether the call is refused with a 503 if ``threads.queue`` calls are waiting already. This
    applies only until the request has used a thread of the application.
    """
    leave_after: float | None = LEAVE_AFTER
    """Seconds that a cancelled request waits for the call; None to wait until it ends."""
    seconds: float | None = None
    """The time limit in seconds, after which ``TookTooLong`` is raised. The function goes on in its
    thread, because a thread can't be ended.
    """
    releases: bool = False
    """Whether the call releases something that other threads may wait for. Such a call must not
    wait for one of these threads.
    """


CALL: Final = Call()
HANDLER: Final = Call(is_queued=True)
RELEASE: Final = Call(releases=True)
IO: Final = Call(IO_THREADS, leave_after=None)

# How an author's function is called: by a step of this kind, or inline, without a step.
Kind: TypeAlias = Literal["await", "inline"] | Call


class RouteFunction(Protocol):
    """The type of a route's ``call``.

    A plain function doesn't have this type. So type checkers accept a step whose kind is not known,
    ``(route.step_kind, route.call, ...)``, only for a route.
    """

    belongs_to_route: None

    def __call__(self, *arguments: Any) -> Any:
        """Call the handler."""


# The optional argument is the number of bytes to read at once, if that is more than usual.
ReceiveStep: TypeAlias = tuple[Literal["receive"], Action, tuple[()] | tuple[int]]

# The types of steps. Streams are declared as ``object``, because their class is defined above this
# package.
Step: TypeAlias = (
    tuple[Literal["await"], Callable[..., Awaitable[Any]], Sequence[object]]
    | tuple[Call, Callable[..., Any], Sequence[object]]
    | tuple[Kind, RouteFunction, Sequence[object]]
    | tuple[Literal["chunk", "close"], Action, tuple[object]]
    | ReceiveStep
    | tuple[Literal["answer"], Action, Any]
)

# The type of any step, for drivers, which unpack it.
AnyStep: TypeAlias = tuple[Any, Callable[..., Any], Any]

Result = TypeVar("Result")
Flow: TypeAlias = Generator[Step, Any, Result]


def kind_of(function: AnyFunction, otherwise: Kind = CALL) -> Kind:
    """Return the kind of step that calls an author's function: AWAIT, INLINE for
    ``@run_in("loop")``, or ``otherwise``.

    ``otherwise`` is for any other ``def``, which may block. Under ASGI, it runs in a worker thread.
    """
    if iscoroutinefunction(function):
        return AWAIT
    return INLINE if getattr(function, MARK, None) == LOOP else otherwise


def call(kind: Kind, function: Callable[..., Any], *arguments: object) -> Flow[Any]:
    """Call an author's function and return its result. ``kind``: the result of
    ``kind_of(function)``.

    If a decorated ``async def`` returns an awaitable, it is awaited. An exception of the function
    is raised here.
    """
    if kind == INLINE:
        result = function(*arguments)
    elif kind == AWAIT:
        result = yield AWAIT, function, arguments
    else:
        result = yield kind, function, arguments
    return (yield from awaited(result)) if result is not None else None  # most hooks return None


def call_within(seconds: float, kind: Kind, function: AnyFunction, *arguments: object) -> Flow[Any]:
    """Call a function as ``call`` does, but stop waiting for it after ``seconds``.

    Raises ``TookTooLong`` in that case.

    ``kind``: the result of ``kind_of(function)``. INLINE can't have a time limit, because the
    flow's own thread runs the function.
    """
    if kind == INLINE:
        result = function(*arguments)
    elif kind == AWAIT:
        result = yield AWAIT, within, (seconds, function, arguments)
    else:
        result = yield kind._replace(seconds=seconds), function, arguments
    return (yield AWAIT, within, (seconds, itself, (result,))) if isawaitable(result) else result


def awaited(result: object) -> Flow[object]:
    """Return the result of an author's function. If it is awaitable, because the function is a
    decorated ``async def``, await it first.
    """
    if isawaitable(result):
        result = yield AWAIT, itself, (result,)
    return result


def result_of(flow: Flow[Result]) -> Result:
    """Return the result of a flow that yields no step, so that it needs no driver."""
    try:
        step = flow.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError(f"this flow may not wait, but yielded {step!r}")


def itself(awaitable: Awaitable[Result]) -> Awaitable[Result]:
    """Return the argument. This is the function of an AWAIT step for an object that is already
    awaitable.
    """
    return awaitable


def no_function() -> None:
    """Do nothing: the function of steps that need no function.

    Such steps have a function because all steps have the same form, which drivers can unpack
    quickly.
    """


RECEIVE_STEP: Final[ReceiveStep] = (RECEIVE, no_function, ())


class Completed(Generic[Result]):
    """An awaitable that returns ``value`` at once, on any event loop.

    It is true or false like ``value``.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Result) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Result]:
        return self._value
        yield  # makes this function a generator

    def __bool__(self) -> bool:
        return bool(self._value)
