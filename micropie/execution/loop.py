"""What both drivers do on an event loop: give a call up in time; take an async source from its first chunk to its end;
wake tasks from other threads.

Like the drivers on anyio alone; ``asgi`` is on the loop, ``wsgi`` sends there what is async.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Generic, TypeVar

from anyio import CancelScope, Event, current_time, get_cancelled_exc_class, move_on_after
from anyio.lowlevel import RunVar, checkpoint_if_cancelled, current_token

from micropie.errors import ClientDisconnect
from micropie.execution.context import current
from micropie.execution.placement import LOOP, PROCESS, THREAD
from micropie.execution.steps import AWAIT, Limited, TookTooLong

# Seconds that a stream may take to clean up after its client has gone.
CLEAN_UP_WITHIN = 10.0

# Seconds that a mounted application may take to end by itself after it was told that nobody wants its answer any more.
LEAVE_WITHIN = 2.0

# Chunks that may have been made elsewhere when one is asked for: that and two ahead.
AHEAD = 3

T = TypeVar("T")


class PerLoop(Generic[T]):
    """What each event loop has one of, made by ``make()`` when it is first asked for there."""

    def __init__(self, name: str, make: Callable[[], T]) -> None:
        self._values: RunVar[T] = RunVar(name)
        self._make = make

    def get(self) -> T:
        """That of the loop that this runs on."""
        try:
            return self._values.get()
        except LookupError:
            value = self._make()
            self._values.set(value)
            return value


def where() -> str:
    """Where this code runs: ``"loop"`` on an event loop, ``"thread"`` where it may block, ``"process"`` in the pool.

    Under WSGI a ``def`` handler runs in the server's thread, which is ``"thread"``, an ``@inline`` one as well.
    """
    request = current.get(None)
    if request is not None and request.is_pooled:
        return PROCESS
    return LOOP if is_on_loop() else THREAD


async def perform_limited(
    kind: Limited, function: Callable[..., Any], arguments: Sequence[Any], in_thread: Callable[..., Awaitable[Any]]
) -> Any:
    """Perform a ``Limited`` step; ``in_thread(function, *arguments)`` calls what may block and can be abandoned."""
    with move_on_after(kind.seconds):
        if kind.kind is AWAIT:
            return await function(*arguments)
        return await in_thread(function, *arguments)
    raise TookTooLong


class Source:
    """An async source that one task advances and closes, inside of one cancel scope: ``enter``, ``finish``.

    A generator may keep a scope or a task group of its own open across ``yield``. Such a scope nests in those that its
    task has entered by then, so none may be entered around a later chunk or around ``aclose``. There is this one
    instead, entered before the first chunk and left after the last, and told what to do meanwhile.
    """

    __slots__ = ("_scope", "chunks")

    def __init__(self, chunks: Any) -> None:
        self.chunks = chunks

    def enter(self) -> None:
        """Before the first chunk, in the task that will do all the rest."""
        self._scope = CancelScope()
        self._scope.__enter__()

    def give_up(self) -> None:
        """Have it end, as nobody wants more of it: called while its task waits.

        If it waits in the source, that is cancelled. In between two chunks it is not, so that the source's clean-up
        may wait; the task has to look at what is going on and ``finish``.
        """
        if getattr(self.chunks, "ag_running", True):
            self._scope.cancel()
        else:
            self._scope.deadline = current_time() + CLEAN_UP_WITHIN

    async def finish(self, failure: BaseException | None, is_open: bool) -> BaseException | None:
        """At the end: close what ``is_open``, and leave. ``failure`` is what it ended by.

        Returns what is to be raised: that, or what the clean-up raised, or ``ClientDisconnect`` if it was given up.
        """
        # What was cancelled while it waited can't wait for anything else in there; a generator has had its turn.
        inside = hasattr(self.chunks, "athrow") or not self._scope.cancel_called
        if is_open and inside:
            self._scope.shield = True
            self._scope.deadline = current_time() + CLEAN_UP_WITHIN
            failure = await self._closed(failure)
        if self._leave(failure):
            failure = ClientDisconnect("the client left")
        if isinstance(failure, TimeoutError):  # of its own, if we are not being cancelled
            await checkpoint_if_cancelled()
        if is_open and not inside:
            with move_on_after(CLEAN_UP_WITHIN, shield=True):
                failure = await self._closed(failure)
        return failure

    async def _closed(self, failure: BaseException | None) -> BaseException | None:
        try:
            if isinstance(failure, get_cancelled_exc_class()) and hasattr(self.chunks, "athrow"):
                # It may come from a scope or a time-out of the generator's own, and only that can end it.
                with suppress(StopAsyncIteration):
                    await self.chunks.athrow(failure)
                failure = TimeoutError("a chunk could not be sent in the time that the stream gave itself")
            aclose = getattr(self.chunks, "aclose", None)
            if aclose is not None:
                await aclose()
        except BaseExceptionGroup as group:  # a task group's way to pass on what ended it
            failure = group.split((GeneratorExit, get_cancelled_exc_class()))[1] or failure
        except BaseException as error:
            failure = error
        return failure

    def _leave(self, failure: BaseException | None) -> bool:
        """True if ``failure`` is the cancellation by ``give_up``, which is over now."""
        if failure is None:
            self._scope.__exit__(None, None, None)  # trio's says True even so
            return False
        return bool(self._scope.__exit__(type(failure), failure, failure.__traceback__))


def is_on_loop() -> bool:
    """Whether this code runs on an event loop, where nothing may block."""
    try:
        current_token()
    except RuntimeError:  # anyio's NoEventLoopError, which it calls AsyncLibraryNotFoundError before 4.12
        return False
    return True


def caller() -> Callable[[Callable[[], object]], object]:
    """What has this event loop call a function soon: from any thread, and from a signal's handler.

    The loop's own way, whichever it is: it does not wait and takes no lock, where anyio's makes a task of it and takes
    four times as long. It raises ``RuntimeError`` if the loop has ended.
    """
    loop = _native_loop()
    call_soon: Callable[[Callable[[], object]], object]
    call_soon = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon  # asyncio's, trio's
    return call_soon


def _native_loop() -> Any:
    token = current_token()
    return getattr(token, "native_token", token)  # anyio 4.11 and later wrap it


class Bell:
    """One task waits for it, again and again; others of its loop ring it. Nobody hears it who does not wait.

    That is an ``Event`` for each wait; or a future where the loop has them, asyncio's, which takes half the time.
    """

    __slots__ = ("_create_future", "_rung")

    def __init__(self) -> None:
        self._create_future: Callable[[], Any] | None = getattr(_native_loop(), "create_future", None)
        self._rung: Any = None  # of the last wait

    def wait(self) -> Awaitable[object]:
        """What is to be awaited, at once, until the next ring."""
        if self._create_future is None:
            self._rung = event = Event()
            return event.wait()
        self._rung = future = self._create_future()
        return future  # type: ignore[no-any-return]

    def ring(self) -> None:
        """Wake who waits, if somebody does."""
        if self._rung is None:
            return
        if self._create_future is None:
            self._rung.set()
        elif not self._rung.done():  # rung already, or its task is being cancelled
            self._rung.set_result(None)


class Waker:
    """Sets events of one event loop from any thread; ``WAKERS`` has this loop's.

    However many are set at a time, the loop is told once: that costs a system call.
    """

    def __init__(self) -> None:
        self._call_soon = caller()
        self._events: deque[Event] = deque()
        self._is_told = False

    def wake(self, event: Event) -> None:
        """Set ``event``, soon. Nothing happens if its loop has ended."""
        self._events.append(event)
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):
                self._call_soon(self._set_all)

    def _set_all(self) -> None:
        self._is_told = False  # first: what comes meanwhile has it called again
        while self._events:
            self._events.popleft().set()


WAKERS = PerLoop("micropie.waker", Waker)
