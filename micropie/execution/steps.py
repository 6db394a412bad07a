"""The steps that a flow may ask its driver for.

A flow is a generator. It yields a step, a bare tuple ``(kind, function, arguments)``, and is sent the step's result;
an exception of the step is thrown into it. These are the kinds:

=========  ============================================================  =======================================
kind       what the flow asks for                                        what the driver does
=========  ============================================================  =======================================
AWAIT      the result of ``function(*arguments)``, which is awaitable    awaits it (asgi), or lets the background
                                                                         loop await it (wsgi)
BLOCK      the result of ``function(*arguments)``, which may block       a worker thread (asgi), a call (wsgi)
HANDLER    the same for a handler; only so many may wait for a thread,   the same
           503 for the others
POOL       the result of the handler of that name, called in a process   a thread waits for it until the request is
                                                                         cancelled (asgi); a call (wsgi)
IO         the same as BLOCK for files, which block for a moment only    a worker thread that handlers can't occupy
                                                                         (asgi), a call (wsgi)
CHUNK      the next chunk of a stream, the argument; it may have to      one task gets all chunks of a stream
           wait, and be cancelled meanwhile
CLOSE      nothing; the stream that is the argument is closed            where its chunks are made
MOUNT      the response of the application mounted at a route, the       in its own task or thread (asgi), in the
           first argument, to a request, the second; the third is the    server's thread or on the loop (wsgi)
           request's path below the mount
RECEIVE    ``(piece, more)``: bytes of the body, and whether more may    ``receive()`` (asgi), a read (wsgi)
           follow
ANSWER     nothing; the answer to the request, in the place of the       ends the flow, and sends the answer
           arguments. This is the last step of a request's flow
=========  ============================================================  =======================================

A kind may also be ``ServiceThreads``: the function asks a service that may hang, and waits in one of these threads.

The value that a flow returns is its result. A request's flow yields it instead, because a value that a generator
returns arrives as an exception, which costs as much as the rest of the generator. Apart from that a flow yields only
what may have to wait, and calls everything else itself: a flow that never waits costs little more than a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from inspect import CO_COROUTINE, isawaitable, iscoroutinefunction
from types import CodeType
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

from micropie.execution.placement import LOOP, MARK, ServiceThreads

AWAIT: Final = "await"
BLOCK: Final = "block"
HANDLER: Final = "handler"
POOL: Final = "pool"
IO: Final = "io"
CHUNK: Final = "chunk"
CLOSE: Final = "close"
RECEIVE: Final = "receive"
MOUNT: Final = "mount"
ANSWER: Final = "answer"
INLINE: Final = "inline"  # not a step: the flow calls the function itself

CallKind: TypeAlias = Literal["await", "block", "io", "inline"] | ServiceThreads
RouteKind: TypeAlias = Literal["await", "block", "handler", "pool", "mount", "inline"]
StepKind: TypeAlias = (
    Literal["await", "block", "handler", "pool", "io", "chunk", "close", "receive", "mount", "answer"] | ServiceThreads
)


class Limited(NamedTuple):
    """The kind of a step with a time limit in seconds; ``TookTooLong`` is raised after it.

    Threads can't be ended: a function that runs in a thread goes on there, and its result is dropped.
    """

    kind: RouteKind
    seconds: float


class TookTooLong(Exception):
    """The time limit of a ``Limited`` step is over. Not ``TimeoutError``, which a handler may raise itself."""


class RouteFunction(Protocol):
    """The ``call`` of a route. No plain function has this type, so only a route's kind can stand beside it."""

    belongs_to_route: None

    def __call__(self, *arguments: Any) -> Any:
        """Call the handler. Never called in a POOL step, which has the handler's name in this place."""


# The shapes of a step. Streams, routes and requests are known above this package only, so they are objects here.
AwaitStep: TypeAlias = tuple[Literal["await"], Callable[..., Awaitable[Any]], Sequence[Any]]
CallStep: TypeAlias = tuple[Literal["block", "io"] | ServiceThreads, Callable[..., Any], Sequence[Any]]
RouteStep: TypeAlias = tuple[RouteKind | Limited, RouteFunction, Sequence[Any]]
LimitedStep: TypeAlias = tuple[Limited, Callable[..., Any], Sequence[Any]]
ChunkStep: TypeAlias = tuple[Literal["chunk"], Callable[[], None], tuple[object]]
CloseStep: TypeAlias = tuple[Literal["close"], Callable[[], None], tuple[object]]
MountStep: TypeAlias = tuple[Literal["mount"], Callable[[], None], tuple[object, object, tuple[str, bytes]]]
# With the bytes that are wanted in one piece, if those are more than usual.
ReceiveStep: TypeAlias = tuple[Literal["receive"], Callable[[], None], tuple[()] | tuple[int]]
AnswerStep: TypeAlias = tuple[Literal["answer"], Callable[[], None], Any]

Step: TypeAlias = (
    AwaitStep | CallStep | RouteStep | LimitedStep | ChunkStep | CloseStep | MountStep | ReceiveStep | AnswerStep
)

# A step as a driver takes it apart.
AnyStep: TypeAlias = tuple[RouteKind | StepKind | Limited, Callable[..., Any], Sequence[Any]]

Result = TypeVar("Result")
Flow: TypeAlias = Generator[Step, Any, Result]


def kind_of(function: Callable[..., object], otherwise: CallKind = BLOCK) -> CallKind:
    """Return how to ``call`` a function of the author's: AWAIT, INLINE with ``@run_in("loop")``, or ``otherwise``.

    Any other ``def`` may block, so ``otherwise`` is a worker thread under asgi.
    """
    code = getattr(function, "__code__", None)  # of nearly all: a tenth of the time of what follows
    if (type(code) is CodeType and code.co_flags & CO_COROUTINE) or iscoroutinefunction(function):
        return AWAIT
    return INLINE if getattr(function, MARK, None) == LOOP else otherwise


def call(kind: CallKind, function: Callable[..., Any], *arguments: Any) -> Flow[Any]:
    """Call a function of the author's, and return its result; ``kind`` is that of ``kind_of(function)``.

    What a decorated ``async def`` returns is awaited. An exception of the function is raised here.
    """
    if kind == INLINE:
        result = function(*arguments)
    elif kind == AWAIT:
        result = yield AWAIT, function, arguments
    else:
        result = yield kind, function, arguments
    return (yield from awaited(result)) if result is not None else None  # as most hooks return


def awaited(result: Any) -> Flow[Any]:
    """Return what a function of the author's has returned; a decorated ``async def`` returns what is to be awaited."""
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
    raise RuntimeError(f"this flow may not wait, and wants {step!r}")


def itself(awaitable: Awaitable[Result]) -> Awaitable[Result]:
    """Return the argument: the function of an AWAIT step for an awaitable that exists already."""
    return awaitable


def no_function() -> None:
    """The function of steps that need none. All steps have the same shape, so that drivers unpack them at once."""


RECEIVE_STEP: Final[ReceiveStep] = (RECEIVE, no_function, ())


class Completed(Generic[Result]):
    """An awaitable that gives ``value`` at once, on any event loop. It is as false as the value, for who uses that."""

    __slots__ = ("_value",)

    def __init__(self, value: Result) -> None:
        self._value = value

    def __await__(self) -> Generator[None, None, Result]:
        return self._value
        yield  # makes this function a generator

    def __bool__(self) -> bool:
        return bool(self._value)
