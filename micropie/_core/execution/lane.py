"""``Lane``: the context in which the ``def`` parts of one request run, in whatever thread.

In a worker thread, each call would run in its own copy of the task's context. But a token of a
context variable is valid only in the context in which it was created, so a middleware with a
``yield`` couldn't reset a variable in its second half, as ``with`` blocks of many libraries do. So
all these calls run in one ``Context``.

The task itself runs in another context, because asyncio can't resume a task whose context a thread
has entered. So variables are passed on both ways: before a call, those that the task has set or
reset, and after it, those that the call has set or reset.

Under WSGI, it is the other way round: the ``def`` parts run in the request's own context, and the
async parts share the context of an ``AsyncLane``, and its task on the background loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, Token, copy_context
from functools import partial
from math import inf
from typing import Any, Protocol, TypeAlias

import anyio

from micropie._core.execution.loop import (
    TASKS,
    Action,
    AsyncAction,
    AsyncFunction,
    LoopTasks,
    SingleWaiterEvent,
    TaskWaiter,
)
from micropie._core.execution.placement import AnyFunction
from micropie._core.on_demand import module

# imported on first use, because only failures need it
containment: Any = module("micropie._core.execution.containment")

# -- the outcome of a call -------------------------------------------------------------------------

# A call's outcome is passed from one thread or loop to another, where ``released`` returns the
# value or raises the error.
#
# The outcome is not set as a future's exception, because the future, the frames that wait for it
# and the exception's traceback would refer to each other: each failed request would leave a
# reference cycle. It is not passed as a plain result either. StopIteration can't be raised through
# a future. And a decorated ``async def`` returns a coroutine, which trio refuses to return from a
# thread.
#
# The outcome includes the context variables that the call set. Code in another thread runs in a
# copy of the context, but a handler must see the variables that a hook has set, even if the two run
# in different threads.

# A list of three items: the value, the error or None, and (variable, value) pairs of the context
# variables that the call set.
Outcome: TypeAlias = list[Any]

UNSET = object()

CANCELLED = "async code was cancelled: its event loop may have ended"


class Interrupted(CancelledError):
    """Raised in the thread that waits for an async part which was cancelled. ``__cause__`` is the
    cancellation.
    """

    def __init__(self, cancellation: BaseException) -> None:
        super().__init__()
        self.__cause__ = cancellation


Tokens: TypeAlias = dict[ContextVar[Any], Token[Any]]


def variables_set(before: Context) -> list[tuple[ContextVar[Any], object]]:
    """Return (variable, value) pairs of the context variables whose current values differ from
    those in ``before``.
    """
    found = []
    for item in copy_context().items():
        if before.get(item[0], UNSET) is not item[1]:
            found.append(item)  # noqa: PERF401 - a comprehension would add a call to each request
    return found


def released(outcome: Outcome) -> Any:
    """Set an outcome's context variables in the current context, then return its value or raise its
    error.

    ``outcome`` is emptied to avoid a reference cycle: the frame that created it may still refer to
    it, and the error's traceback refers to that frame.
    """
    value, error, variables = outcome
    outcome.clear()
    for variable, setting in variables:
        variable.set(setting)
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # avoid a reference cycle between the exception and this frame


async def awaited_outcome_of(
    function: AsyncFunction,
    arguments: Sequence[object],
    notify: Callable[[Outcome], object] | None = None,
) -> Outcome:
    """Await the function on behalf of another thread, and return its outcome. Never raises an
    exception. If ``notify`` is given, also call it with the outcome.
    """
    before = copy_context()
    outcome: Outcome
    try:
        outcome = [await function(*arguments), None, variables_set(before)]
    except anyio.get_cancelled_exc_class() as error:
        is_real = containment.is_being_cancelled()
        outcome = [None, Interrupted(error) if is_real else containment.unrequested(error), []]
    except BaseException as error:
        # Also catch a SystemExit, because it would end the tasks of all requests.
        outcome = [None, error, variables_set(before)]
    if notify is not None:
        notify(outcome)
    return outcome


# -- calls that nobody waits for any more ----------------------------------------------------------


class LeftCall(Protocol):
    """A call that goes on in its thread although nobody waits for it any more.

    A thread can't be ended. So if a request's time limit is over, or the request is cancelled, a
    function that it has called in a thread may go on. It still uses what the request has opened for
    it, such as a connection of a pool. If the request closed this now, another request would get a
    connection on which the function may write, and commit what it writes. So the request waits with
    that until the call has ended; see ``Exchange.close_resources``.
    """

    @property
    def has_ended(self) -> bool: ...

    def when_ended(self, action: Action) -> None:
        """Call ``action``, which must not raise, in the call's thread when the call ends, or right
        now if it has ended.
        """


async def until_ended(when_ended: Callable[[Action], object]) -> None:
    """Wait for the end of calls. ``when_ended``: the method of a ``LeftCall``, or
    ``Exchange.when_unused``.
    """
    waiter = TaskWaiter()
    when_ended(waiter.wake)
    await waiter.wait()


# -- the lane --------------------------------------------------------------------------------------


class Lane:
    """The context of the ``def`` parts of ``owner``, a request's exchange.

    ``is_busy``: whether a call is running in it. Another call has to run in a context of its own.
    """

    __slots__ = ("_context", "_inside", "is_busy", "owner")

    def __init__(self, owner: object) -> None:
        self.owner, self.is_busy = owner, False
        self._context: Context | None = None
        self._inside: Tokens = {}  # of the variables that were passed on to this context

    def enter(self) -> bool:
        """Return whether a call may run here now. If so, the lane is busy until its end."""
        is_free = not self.is_busy
        self.is_busy = True
        return is_free

    def run(self, function: AnyFunction, arguments: Sequence[object]) -> Outcome:
        """Call the function in a worker thread, whose context is a copy of the task's. Return the
        outcome, which ``leave`` needs.
        """
        _LANE.set(None)  # a reference from this context would be a cycle
        given = copy_context()
        context = self.entered(given)
        try:
            return [context.run(function, *arguments), None, _changes(given, context)]
        except BaseException as error:
            return [None, error, _changes(given, context)]
        finally:
            self.is_busy = False

    def entered(self, given: Context) -> Context:
        """Return the context, with the variables as they are in ``given``."""
        context = self._context
        if context is None:
            # not ``given``, in which no variable could be unset later
            context = self._context = Context()
            self._inside = {one: context.run(one.set, value) for one, value in given.items()}
            return context
        for variable, value in given.items():
            known = context.get(variable, UNSET)
            if known is not value:
                token = context.run(variable.set, value)
                if known is UNSET:
                    self._inside[variable] = token
        for variable in {*context}.difference(given):
            if variable in self._inside:
                context.run(variable.reset, self._inside.pop(variable))
            else:  # only the call that has set it can reset it
                given.run(variable.set, context[variable])  # it is no change of this call
        return context

    def leave(self, outcome: Outcome, tokens: Tokens) -> None:
        """Set and reset the task's variables as the call has done. Call this in the task.

        ``tokens``: those of the variables that were set here before. The lane can't keep them: the
        task's context refers to the lane, and tokens refer to their context.
        """
        for variable, value in outcome[2]:
            if value is not UNSET:
                token = variable.set(value)
                if token.old_value is Token.MISSING:
                    tokens[variable] = token
            elif variable in tokens:
                variable.reset(tokens.pop(variable))
        outcome[2] = ()


class AsyncLane(Lane):
    """The context of async parts that a thread or another task awaits in turn.

    It keeps the tokens itself, because the context of what awaits them doesn't refer to it.

    One task awaits all of them, because libraries keep sessions and transactions by
    ``asyncio.current_task()``, and a cancel scope must be exited in the task that entered it.

    ``owner``: its method ``open_generators`` returns those to close when the event loop ends.
    ``cancel``: a function that cancels the task, to call on its event loop.

    ``interruption``: the cancellation that the task got between two parts, from a scope that a
    generator has open around its ``yield``; otherwise None.
    ``is_over``: whether the task takes no more parts, for example because its loop has ended.
    """

    owner: Any
    cancel: Action

    __slots__ = (
        "_event",
        "_is_asked",
        "_is_lost",
        "_part",
        "_scope",
        "_tasks",
        "cancel",
        "interruption",
        "is_over",
        "tokens",
    )

    def __init__(self, owner: Any = None) -> None:
        # without ``super``, which takes longer
        self.owner, self.is_busy, self._context = owner, False, None
        self._inside: Tokens = {}
        self.tokens: Tokens = {}
        self.interruption: BaseException | None = None
        self.is_over = self._is_lost = False
        self._tasks: LoopTasks | None = None  # None until the task begins
        self._part: AsyncAction | None = None
        self._is_asked = False

    def ask(self, part: AsyncAction | None) -> bool:
        """Let the task await ``part()``, which must not raise, or end if it is None. Return False
        if there is no task yet; see ``perform``.

        Call this on the task's event loop, after ``entered``.
        """
        if self._tasks is None:
            return False
        self._part, self._is_asked = part, True
        self._event.ring()
        return True

    async def awaits(self, function: AsyncFunction, arguments: Sequence[object]) -> Any:
        """Return ``await function(*arguments)``, awaited in the lane's task on behalf of the
        current task, on the same event loop.
        """
        tasks, outcomes = TASKS.get(), list[Outcome]()
        if self.is_over:
            return await function(*arguments)
        done = SingleWaiterEvent(tasks)

        def notify(outcome: Outcome) -> None:
            outcomes.append(outcome)
            done.ring()

        part = partial(awaited_outcome_of, function, arguments, notify)
        context = self.entered(copy_context())
        if not self.ask(part):
            tasks.start_soon(self.perform, tasks, part, context=context)
        await done.wait()
        self.leave(outcomes[0])
        return released(outcomes.pop())

    async def perform(self, tasks: LoopTasks, part: AsyncAction | None) -> None:
        """Await ``part()`` and those that follow. This is the task, which runs in the lane's
        context on the event loop of ``tasks``.
        """
        self._tasks, self._event = tasks, SingleWaiterEvent(tasks)
        with tasks.new_scope() as self._scope:
            while part is not None:
                await part()
                part = None  # it refers to what it was called with
                part = await self._next(tasks)
            if self._is_lost:
                self.interruption = None
                for running in self.owner.open_generators():
                    if running.is_async:
                        await running.cancel(GeneratorExit())

    def end(self) -> None:
        """End the task after its current part. Any thread may call this."""
        self.is_over = True
        self.interruption = None  # avoid a reference cycle with the traceback's frames
        if self._tasks is not None:
            self._tasks.call(partial(self.ask, None))

    def lose(self) -> None:
        """End the task now, because its event loop ends: cancel the current part, and close the
        generators that are open. Call this on the loop.
        """
        self.is_over = self._is_lost = True
        if self.ask(None):
            self._scope.cancel()

    async def end_with_loop(self) -> None:
        """Wait until this call is cancelled, as all tasks are when their event loop ends. Then end
        the lane's task, which doesn't end because it is cancelled.
        """
        try:
            await anyio.sleep_forever()
        finally:
            self.lose()

    async def _next(self, tasks: LoopTasks) -> AsyncAction | None:
        """Wait for the next part. Return None at the end.

        If a scope that a generator has open is cancelled meanwhile, go on waiting, because nothing
        can interrupt the ``def`` part that a thread is performing. The thread finds the
        cancellation in ``interruption``. If it hasn't taken it from there, the next part gets it,
        at its first wait.
        """
        try:
            while not self._is_asked:
                await self._event.wait()
        except anyio.get_cancelled_exc_class() as error:
            self.interruption = error
            with tasks.new_scope(shield=True):
                while not self._is_asked:
                    # ``Task.cancel`` ignores the shield
                    with suppress(anyio.get_cancelled_exc_class()):
                        await self._event.wait()
        part, self._part, self._is_asked = self._part, None, False
        # a scope of anyio or trio cancels each wait anyway
        if self.interruption is not None and anyio.current_effective_deadline() > -inf:
            self.interruption = None
            task = tasks.current_task()
            task.uncancel()
            task.cancel()
        return part

    def leave(self, outcome: Outcome, tokens: Tokens | None = None) -> None:
        """Set and reset the variables where the parts are awaited. ``tokens`` isn't used."""
        context = self._context or ()
        for variable in [one for one in self.tokens if one not in context]:
            variable.reset(self.tokens.pop(variable))
        Lane.leave(self, outcome, self.tokens)


class BlockLane(AsyncLane):
    """The lane of the ``def`` parts that a block of async code opens and closes, such as ``async
    with request.resource(...)``. Tasks of one request may be in several blocks at a time.
    """

    __slots__ = ()

    def leave(self, outcome: Outcome, tokens: Tokens | None = None) -> None:
        with suppress(ValueError):  # another task leaves the block than the one that has entered it
            super().leave(outcome)
        outcome[2] = ()

    @contextmanager
    def used(self) -> Iterator[None]:
        """During this ``with`` block, the owner's ``def`` parts run in this lane."""
        before = _LANE.get()
        _LANE.set(self)
        try:
            yield
        finally:
            _LANE.set(before)


def _changes(given: Context, context: Context) -> list[tuple[ContextVar[Any], object]]:
    """Return (variable, value) pairs of the variables whose values in ``context`` differ from those
    in ``given``. The value is ``UNSET`` for a variable that has none any more.
    """
    changes = [one for one in context.items() if given.get(one[0], UNSET) is not one[1]]
    for variable in {*given}.difference(context):
        changes.append((variable, UNSET))  # noqa: PERF401 - this saves a call
    return changes


_LANE: ContextVar[Lane | None] = ContextVar("micropie_lane", default=None)


def lane_of(owner: object) -> Lane:
    """Return the lane of a request's exchange in the current task."""
    lane = _LANE.get()
    if lane is None or lane.owner is not owner:
        lane = Lane(owner)
        _LANE.set(lane)
    return lane


def block_lane_of(owner: object) -> Lane | None:
    """Return the lane of the block that the current task opens or closes for a request, if any."""
    lane = _LANE.get()
    return None if lane is None or lane.owner is not owner else lane


def forget_lane() -> None:
    """Let go of the lane, which refers to the request: the task may go on after it."""
    _LANE.set(None)


class Held(list[Any]):
    """What a task keeps from one call in a thread to the next: the ``Slots`` of a slot, and the
    tokens that ``Lane.leave`` needs.
    """

    tokens: Tokens | None = None

    def end(self, *, is_over: bool) -> None:
        """Give the slot back and, if the request is over, let go of the lane."""
        if self:
            self.pop().give()
        if is_over and self.tokens is not None:
            forget_lane()
