"""The steps that a flow may ask its driver for.

A flow is a generator. It yields a step, a bare tuple ``(kind, function, arguments)``, and is sent
the step's result; an exception of the step is thrown into it, a cancellation too. There are five:

=============  ========================================================  ===========================================
step           what the flow asks for                                    what the driver does
=============  ========================================================  ===========================================
AWAIT          the result of ``function(*arguments)``, which is          awaits it (asgi), or lets the background
               awaitable                                                 loop await it (wsgi)
``Call(...)``  the result of ``function(*arguments)``, which may block   a thread of those that the kind names
                                                                         (asgi), a call (wsgi)
RECEIVE        ``(piece, more)``: bytes of the body, and whether more    ``receive()`` (asgi), a read (wsgi)
               may follow
CHUNK, CLOSE   the next chunk of the stream that is the argument, which  one task gets all chunks of a stream, and
               may have to wait; nothing, and the stream is closed       closes it
ANSWER         nothing; the answer to the request, instead of the   ends the flow, and sends the answer
               arguments. This is the last step of a request's flow
=============  ========================================================  ===========================================

``call_within`` gives the first two a time limit. These are the usual kinds of a ``Call``: CALL in
the application's threads, HANDLER in the same for what a new request may begin with, which has a
place in their queue, RELEASE in the same for what ends something, IO in the threads for files,
which handlers can't occupy. INLINE is none: the flow calls the function itself, which does not
block.

The value that a flow returns is its result. A request's flow yields it instead, because a value
that a generator returns arrives as an exception, which costs as much as the rest of the generator.
Apart from that a flow yields only what may have to wait, and calls everything else itself: a flow
that never waits costs little more than a call.
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
INLINE: Final = "inline"  # not a step: the flow calls the function itself

# Seconds that a request which the server cancels waits for its ``def`` code, which may use what is
# closed then. Longer than that, it would keep the server from ending.
LEAVE_AFTER = 5.0


class Call(NamedTuple):
    """The kind of a step whose function may block.

    Only asgi looks at more than the time limit and a service.
    """

    threads: Threads | None = None
    """The threads in which it is called; None for those of the application that answers."""
    is_queued: bool = False
    """Whether it is refused with 503 if ``threads.queue`` calls wait already, unless its request
    has had one of the application's threads before. Others always wait."""
    leave_after: float | None = LEAVE_AFTER
    """Seconds that a request which is cancelled waits for the call; None for as long as it
    takes."""
    seconds: float | None = None
    """The time limit; ``TookTooLong`` is raised after it. Threads can't be ended: the function goes
    on there."""
    releases: bool = False
    """Whether it gives back what other threads may wait for, so that it waits for none of them."""


CALL: Final = Call()
HANDLER: Final = Call(is_queued=True)
RELEASE: Final = Call(releases=True)
IO: Final = Call(IO_THREADS, leave_after=None)

Kind: TypeAlias = Literal["await", "inline"] | Call  # of a function of the author's


class RouteFunction(Protocol):
    """The ``call`` of a route.

    No plain function has this type. So a type checker accepts a step whose kind is not known,
    ``(route.step_kind, route.call, ...)``, of a route only.
    """

    belongs_to_route: None

    def __call__(self, *arguments: Any) -> Any:
        """Call the handler."""


# Its argument is the number of bytes that are wanted in one piece, if that is more than usual.
ReceiveStep: TypeAlias = tuple[Literal["receive"], Action, tuple[()] | tuple[int]]

# The shapes of a step. Streams are known above this package only, so they are objects here.
Step: TypeAlias = (
    tuple[Literal["await"], Callable[..., Awaitable[Any]], Sequence[object]]
    | tuple[Call, Callable[..., Any], Sequence[object]]
    | tuple[Kind, RouteFunction, Sequence[object]]
    | tuple[Literal["chunk", "close"], Action, tuple[object]]
    | ReceiveStep
    | tuple[Literal["answer"], Action, Any]
)

# A step as a driver takes it apart.
AnyStep: TypeAlias = tuple[Any, Callable[..., Any], Sequence[Any]]

Result = TypeVar("Result")
Flow: TypeAlias = Generator[Step, Any, Result]


def kind_of(function: AnyFunction, otherwise: Kind = CALL) -> Kind:
    """Return how to ``call`` a function of the author's: AWAIT, INLINE with ``@run_in("loop")``, or
    ``otherwise``.

    Any other ``def`` may block, so ``otherwise`` is a worker thread under asgi.
    """
    if iscoroutinefunction(function):
        return AWAIT
    return INLINE if getattr(function, MARK, None) == LOOP else otherwise


def call(kind: Kind, function: Callable[..., Any], *arguments: object) -> Flow[Any]:
    """Call a function of the author's, and return its result; ``kind`` is that of
    ``kind_of(function)``.

    What a decorated ``async def`` returns is awaited. An exception of the function is raised here.
    """
    if kind == INLINE:
        result = function(*arguments)
    elif kind == AWAIT:
        result = yield AWAIT, function, arguments
    else:
        result = yield kind, function, arguments
    return (yield from awaited(result)) if result is not None else None  # as most hooks return


def call_within(seconds: float, kind: Kind, function: AnyFunction, *arguments: object) -> Flow[Any]:
    """Call a function as ``call`` does, and give it up after so many seconds.

    Raises ``TookTooLong`` then.

    ``kind`` is that of ``kind_of(function)``. What is INLINE can't be given up, as the flow's own
    thread runs it.
    """
    if kind == INLINE:
        result = function(*arguments)
    elif kind == AWAIT:
        result = yield AWAIT, within, (seconds, function, arguments)
    else:
        result = yield kind._replace(seconds=seconds), function, arguments
    return (yield AWAIT, within, (seconds, itself, (result,))) if isawaitable(result) else result


def awaited(result: object) -> Flow[object]:
    """Return what a function of the author's has returned; a decorated ``async def`` returns what
    is to be awaited.
    """
    if isawaitable(result):
        result = yield AWAIT, itself, (result,)
    return result


def result_of(flow: Flow[Result]) -> Result:
    """Return the result of a flow that does not yield, without a driver."""
    try:
        step = flow.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError(f"this flow may not wait, but yielded {step!r}")


def itself(awaitable: Awaitable[Result]) -> Awaitable[Result]:
    """Return the argument: the function of an AWAIT step for an awaitable that exists already."""
    return awaitable


def no_function() -> None:
    """The function of steps that need none.

    All steps have the same shape, so that drivers unpack them at once.
    """


RECEIVE_STEP: Final[ReceiveStep] = (RECEIVE, no_function, ())


class Completed(Generic[Result]):
    """An awaitable that gives ``value`` at once, on any event loop.

    ``bool`` of it is ``bool`` of the value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Result) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Result]:
        return self._value
        yield  # makes this function a generator

    def __bool__(self) -> bool:
        return bool(self._value)
