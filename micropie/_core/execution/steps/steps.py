"""The steps that a flow can yield to its driver.

A flow is a generator. It yields a step, a bare tuple ``(kind, function, arguments)``, and gets the
step's result back; an exception or a cancellation of the step is raised at the ``yield``. There are
five steps:

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

``call_within`` adds a time limit to the first two. The usual kinds of a ``Call`` are: CALL, in the
application's threads; HANDLER, in the same threads for calls with which a new request may begin, so
that they count in the queue; RELEASE, in the same threads for calls that release something; and IO,
in the threads for files, which handlers can't take. INLINE is not a step: the flow calls the
function itself, because it does not block.

The value that a flow returns is its result. The flow of a whole request yields its result instead,
because a value that a generator returns arrives as an exception, which costs as much as the rest of
the generator. Apart from that, a flow yields only what may have to wait, and calls everything else
itself. A flow that never waits costs little more than a call.
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

# Seconds that a request which the server cancels waits for its ``def`` code, because what that code
# uses is closed next. Waiting longer would keep the server from shutting down.
LEAVE_AFTER = 5.0


class Call(NamedTuple):
    """The kind of a step that calls a function which may block.

    Under WSGI, only the time limit and the threads of a service have an effect.
    """

    threads: Threads | None = None
    """The threads in which it is called; None for those of the application that handles the
    request.
    """
    is_queued: bool = False
    """Whether the call is refused with 503 if ``threads.queue`` calls wait already. It isn't if its
    request has had a thread of the application before. Other calls always wait.
    """
    leave_after: float | None = LEAVE_AFTER
    """Seconds that a cancelled request waits for the call; None for as long as it takes."""
    seconds: float | None = None
    """The time limit in seconds, after which ``TookTooLong`` is raised. A thread can't be ended, so
    the function goes on there.
    """
    releases: bool = False
    """Whether the call releases something for which other threads may wait, so that it must not
    wait for any of them.
    """


CALL: Final = Call()
HANDLER: Final = Call(is_queued=True)
RELEASE: Final = Call(releases=True)
IO: Final = Call(IO_THREADS, leave_after=None)

Kind: TypeAlias = Literal["await", "inline"] | Call  # how an author's function is called


class RouteFunction(Protocol):
    """The type of a route's ``call``.

    No plain function has this type. So type checkers accept a step of unknown kind,
    ``(route.step_kind, route.call, ...)``, only for a route.
    """

    belongs_to_route: None

    def __call__(self, *arguments: Any) -> Any:
        """Call the handler."""


# Its argument is how many bytes to read at once, if that is more than usual.
ReceiveStep: TypeAlias = tuple[Literal["receive"], Action, tuple[()] | tuple[int]]

# The forms of a step. Streams are only known above this package, so they are objects here.
Step: TypeAlias = (
    tuple[Literal["await"], Callable[..., Awaitable[Any]], Sequence[object]]
    | tuple[Call, Callable[..., Any], Sequence[object]]
    | tuple[Kind, RouteFunction, Sequence[object]]
    | tuple[Literal["chunk", "close"], Action, tuple[object]]
    | ReceiveStep
    | tuple[Literal["answer"], Action, Any]
)

# A step as a driver unpacks it.
AnyStep: TypeAlias = tuple[Any, Callable[..., Any], Any]

Result = TypeVar("Result")
Flow: TypeAlias = Generator[Step, Any, Result]


def kind_of(function: AnyFunction, otherwise: Kind = CALL) -> Kind:
    """Return how to ``call`` an author's function: AWAIT, INLINE with ``@run_in("loop")``, or
    ``otherwise``.

    Any other ``def`` may block, so ``otherwise`` is a worker thread under ASGI.
    """
    if iscoroutinefunction(function):
        return AWAIT
    return INLINE if getattr(function, MARK, None) == LOOP else otherwise


def call(kind: Kind, function: Callable[..., Any], *arguments: object) -> Flow[Any]:
    """Call an author's function and return its result; ``kind`` is what ``kind_of(function)``
    returns.

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

    ``kind`` is what ``kind_of(function)`` returns. INLINE can't have a time limit, because the
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
    """Return the result of an author's function. If it is awaitable, as that of a decorated ``async
    def``, await it first.
    """
    if isawaitable(result):
        result = yield AWAIT, itself, (result,)
    return result


def result_of(flow: Flow[Result]) -> Result:
    """Return the result of a flow that yields nothing. No driver is needed."""
    try:
        step = flow.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise RuntimeError(f"this flow may not wait, but yielded {step!r}")


def itself(awaitable: Awaitable[Result]) -> Awaitable[Result]:
    """Return the argument. This is the function of an AWAIT step for something that is awaitable
    already.
    """
    return awaitable


def no_function() -> None:
    """The function of steps that need none.

    All steps have the same form, so that drivers can unpack them at once.
    """


RECEIVE_STEP: Final[ReceiveStep] = (RECEIVE, no_function, ())


class Completed(Generic[Result]):
    """An awaitable that returns ``value`` at once, on any event loop.

    Its truth value is that of ``value``.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Result) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Result]:
        return self._value
        yield  # makes this function a generator

    def __bool__(self) -> bool:
        return bool(self._value)
