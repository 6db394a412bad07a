"""What a flow may ask its driver for, and nothing else.

A flow is a generator. It yields a step, a bare tuple ``(kind, function, arguments)``, and is sent the result; what
the step raised is thrown into it. These are the kinds:

=========  ==============================================================  =====================================
kind       the flow wants                                                  the driver does
=========  ==============================================================  =====================================
AWAIT      ``function(*arguments)`` is awaitable: its result               awaits it (asgi) or has the portal's
                                                                           loop await it (wsgi)
BLOCK      ``function(*arguments)`` may block: its result                  a worker thread (asgi), a call (wsgi)
HANDLER    the same for a handler, of which only so many may wait for a    the same
           thread: 503 for others
POOL       the handler of that name called in a process                    a thread waits for it, until the request
                                                                           is cancelled (asgi); a call (wsgi)
IO         the same for files and session backends: it blocks for a        a worker thread that handlers can't
           moment only                                                     occupy (asgi), a call (wsgi)
CHUNK      of the stream that is the argument, which may have to wait      the same task that gets all of them
           and be given up meanwhile: its next chunk
CLOSE      the stream that is the argument closed                         where its chunks are made
MOUNT      the answer of the application that is mounted at the route    in a task or thread of its own (asgi), in
           that is the first argument, to the request that is the         the server's thread or on the loop (wsgi)
           second, which leads to the place that is the third
RECEIVE    ``(piece, more)``: bytes of the body, whether more may follow   ``receive()`` (asgi), a read (wsgi)
=========  ==============================================================  =====================================

What a flow returns is its result: for a request, the ``Answer`` to send. A step costs about 0.2 µs, so a
flow yields only what may have to wait, and calls the rest itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from inspect import isawaitable, iscoroutinefunction
from typing import Any, Final, TypeAlias, TypeVar

from micropie.execution.placement import LOOP, MARK

AWAIT: Final = "await"
BLOCK: Final = "block"
HANDLER: Final = "handler"
POOL: Final = "pool"
IO: Final = "io"
CHUNK: Final = "chunk"
CLOSE: Final = "close"
RECEIVE: Final = "receive"
MOUNT: Final = "mount"


@dataclass(frozen=True, slots=True)
class Limited:
    """The kind of an AWAIT, HANDLER or MOUNT step that is given up after so many ``seconds``: ``TookTooLong``.

    A function that is given up in a thread runs on there, and nobody waits for it: threads can't be ended.
    """

    kind: str
    seconds: float


class TookTooLong(Exception):
    """What a ``Limited`` step raises; no ``TimeoutError``, which a handler may raise itself."""


INLINE: Final = "inline"  # no step at all: what ``kind_of`` says of a function that the flow itself calls

Step: TypeAlias = tuple[str | Limited, Callable[..., Any], Sequence[Any]]

Result = TypeVar("Result")
Flow: TypeAlias = Generator[Step, Any, Result]


def kind_of(function: Callable[..., Any], otherwise: str = BLOCK) -> str:
    """How a function of the author's is called: AWAIT, INLINE with ``@inline`` above it, or ``otherwise``."""
    if iscoroutinefunction(function):
        return AWAIT
    return INLINE if getattr(function, MARK, None) == LOOP else otherwise


def call(kind: str, function: Callable[..., Any], *arguments: Any) -> Flow[Any]:
    """Call a function of the author's; what it returns is awaited if need be (a decorated ``async def``)."""
    result = function(*arguments) if kind is INLINE else (yield kind, function, arguments)
    if result is not None and isawaitable(result):  # most hooks say nothing, and to ask takes as long as a step
        result = yield (AWAIT, itself, (result,))
    return result


def itself(value: Any) -> Any:
    """What AWAIT calls to wait for an awaitable that is there already."""
    return value


def no_function() -> None:
    """For kinds without one; the tuple keeps one shape so that a driver unpacks it blindly."""


RECEIVE_STEP: Final[Step] = (RECEIVE, no_function, ())
