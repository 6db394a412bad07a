"""Run generators of the application step by step: middleware with ``yield``, and providers. They
may be ``def`` or ``async def``.

A request has a stack with the resources that its providers opened. Each ``with`` block for a
resource in a handler has a separate stack. The resources of a stack are closed in reverse order. An
exception of the handler is raised at the ``yield`` of each provider, as in
``contextlib.contextmanager``. Even if a provider catches the exception, it is raised again
afterwards, unless a provider raises another one.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
)
from contextlib import ExitStack, suppress
from contextvars import Context
from functools import partial
from inspect import GEN_CREATED, getgeneratorstate
from itertools import count
from types import AsyncGeneratorType, SimpleNamespace
from typing import Any, Generic, Protocol, cast

import anyio

from micropie._core import execution
from micropie._core.errors import ResponseError, alone_in, failure_in, raise_any
from micropie._core.execution import (
    CLEAN_UP_WITHIN,
    TASKS,
    DelayedCalls,
    LoopLocal,
    await_in_def,
    is_on_loop,
)
from micropie._core.execution.call_steps import in_this_thread
from micropie._core.execution.lane import BlockLane
from micropie._core.execution.steps.steps import (
    AWAIT,
    ON_LOOP,
    RELEASE,
    AnyStep,
    Call,
    CallKind,
    Flow,
    Kind,
    Step,
)
from micropie._core.on_demand import Value

_NUMBERS = count()


class RunningGenerator:
    """A generator that runs during a request. It may be async.

    - ``kind``: the kind of step that runs a ``def`` generator: ON_LOOP, or a ``Call`` for its first
      part.
    - ``owner``: the provider that the generator belongs to, or an object that stands for a hook.
    - ``number``: a number that is higher for each new generator.
    - ``answer``: the value that the generator yielded when a cancellation was raised in it, or
      None.
    """

    answer: object = None

    def __init__(self, generator: Any, kind: Kind, owner: Any = None) -> None:
        self.owner = owner
        self.number = next(_NUMBERS)
        self._generator = generator
        self._kind = cast("CallKind", kind)  # not used if the generator is async
        self._next_kind: CallKind = RELEASE if isinstance(kind, Call) else ON_LOOP
        # An async generator may have entered a cancel scope, so it must be closed before the
        # generators that were opened earlier.
        self.is_async = isinstance(generator, AsyncGeneratorType)

    @property
    def is_of_task(self) -> bool:
        """Whether only the request's task can end the generator, because it has entered scopes or
        set context variables there.
        """
        return self.is_async or self._next_kind is ON_LOOP

    @property
    def has_ended(self) -> bool:
        """Whether the generator has run to its end."""
        frame = self._generator.ag_frame if self.is_async else self._generator.gi_frame
        return frame is None

    def resume(self, value: object, failure: Exception | None = None) -> Flow[object]:
        """Run the generator to its next ``yield``, or to its end.

        Return the value that it yields or returns, or None.

        The ``yield`` at which the generator is suspended returns ``value``, or raises ``failure``.
        """
        # Pass the failure in a list, which the step empties. This avoids a reference cycle: a
        # driver's frame keeps its last step, and the failure's traceback refers to that frame.
        arguments = self._generator, value, [] if failure is None else [failure]
        if self.is_async:
            try:
                return (yield (AWAIT, resume_async, arguments))
            except StopAsyncIteration:
                return None
        kind = self._kind
        self._kind = self._next_kind
        try:
            return (yield (kind, _resume, arguments))
        except BaseException:
            # If the generator hasn't started, its call was refused, or cancelled before it began.
            if getgeneratorstate(self._generator) == GEN_CREATED:
                self._generator.close()
            raise

    def finish(self, value: object, failure: Exception | None) -> Flow[object]:
        """Resume a generator that is at its first ``yield``, and run it to its end.

        Return the next value that the generator yields or returns, or None.
        """
        result = yield from self.resume(value, failure)
        yield from self.close()
        return result

    async def cancel(self, cancellation: BaseException) -> tuple[BaseException | None, bool]:
        """Raise a cancellation at the ``yield`` of an async generator, then end the generator.

        Return the exception that the generator raises, or None, and whether the task is still being
        cancelled. If it isn't, the cancellation came from a scope in the generator, and the
        exception is an ``Exception``: the generator's, or else a ``TimeoutError``. If the generator
        yields a value, the value becomes ``answer``.
        """
        raised = None
        try:
            self.answer = await self._generator.athrow(cancellation)
            await self._generator.aclose()
        except StopAsyncIteration:
            pass
        except BaseException as error:
            raised = error
        try:
            goes_on = execution.is_being_cancelled()
            if not goes_on and not isinstance(raised, Exception):
                raised = TimeoutError(
                    "a time limit around a generator's yield, such as asyncio.timeout(), has "
                    "cancelled this request"
                )
            return raised, goes_on
        finally:
            del cancellation, raised  # avoid reference cycles between exceptions and this frame

    def leave_scope(self) -> Flow[None]:
        """Let a provider's generator exit its scope; see ``shielded_at_its_end``."""
        if self.is_async:
            yield AWAIT, resume_async, (self._generator, LEAVE_SCOPE, [])

    def close(self) -> Flow[None]:
        """Close the generator, unless it has run to its end."""
        if self.has_ended:
            return
        if self.is_async:
            yield AWAIT, _closed, (self._generator,)
        else:
            yield self._next_kind, self._generator.close, ()


def _resume(
    generator: Generator[object, object, object], value: object, failures: list[Exception]
) -> object:
    try:
        return generator.throw(failures.pop()) if failures else generator.send(value)
    except StopIteration as end:  # in a generator such as the flow, it would become a RuntimeError
        return end.value


def resume_async(
    generator: AsyncGenerator[object, object], value: object, failures: list[BaseException]
) -> Awaitable[object]:
    return generator.athrow(failures.pop()) if failures else generator.asend(value)


async def _closed(generator: AsyncGenerator[object, object]) -> None:
    """Close an async generator. A task group around its ``yield`` raises the ``GeneratorExit`` in a
    group, which would end the server's thread or process.
    """
    try:
        await generator.aclose()
    except BaseExceptionGroup as group:
        rest = group.split(GeneratorExit)[1]
        try:
            if rest is not None:
                raise rest from None
        finally:
            del rest  # avoid a reference cycle between the exception and this frame


# -- resources -------------------------------------------------------------------------------------

_NOTHING = object()
# Sent to the generator that ``shielded_at_its_end`` returns, which then yields its value again.
LEAVE_SCOPE = object()
_LIFTED_SHIELDS = LoopLocal(lambda: DelayedCalls(CLEAN_UP_WITHIN))


async def shielded_at_its_end(generator: AsyncGenerator[Value]) -> AsyncGenerator[Value]:
    """Yield the value of a provider's async generator, and protect the generator's clean-up from
    cancellation.

    The protection ends after ``CLEAN_UP_WITHIN`` seconds. After that, the clean-up is cancelled if
    the request was cancelled. Otherwise it may take longer, for example for a slow commit.

    The protection is a cancel scope. It is entered before the generator begins, so the generator's
    own scopes, which its clean-up exits, are nested in it. If ``LEAVE_SCOPE`` is sent, it is exited
    until the clean-up, unless one of these is open. Under trio, it stays, because trio can't tell.
    """
    with ExitStack() as scopes:
        scope = scopes.enter_context(anyio.CancelScope())
        value, failure, has_left = await anext(generator, _NOTHING), None, False
        if value is _NOTHING:
            return
        try:
            if (yield cast("Value", value)) is LEAVE_SCOPE:
                if TASKS.get().current_task() is not None:
                    try:
                        scopes.close()
                        has_left = True
                    except RuntimeError:  # a scope of the generator is open
                        scopes.push(scope)
                yield cast("Value", value)
        except BaseException as error:
            failure = error
        if has_left:
            scope = scopes.enter_context(anyio.CancelScope())
        scope.shield = True
        prevent_lifting = _LIFTED_SHIELDS.get().add(partial(setattr, scope, "shield", False))
        try:
            with suppress(StopAsyncIteration):
                again = await (anext(generator) if failure is None else generator.athrow(failure))
                try:
                    # The provider has a second yield, for which the caller raises an error.
                    yield again
                finally:
                    await generator.aclose()
        finally:
            prevent_lifting()
            del failure


class Resources(list[RunningGenerator]):
    """A stack of the generators to close, in the order in which they were opened.

    - ``values``: the open resources, by provider.
    - ``shield``: a function that protects the clean-up of an async provider's generator from
      cancellation.
    """

    def __init__(
        self,
        shield: Callable[[AsyncGenerator[object]], AsyncGenerator[object]] = shielded_at_its_end,
    ) -> None:
        super().__init__()
        self.values: dict[Any, object] = {}
        self.shield = shield

    def close(
        self, failure: Exception | None, kept: Iterable[object] = ()
    ) -> Flow[Exception | None]:
        """Close the generators in reverse order, except those of the providers in ``kept``.

        ``failure``, if given, is raised at the ``yield`` of each generator.

        An async generator also stays open if another one that was opened later stays open, because
        cancel scopes must be exited in reverse order.

        Return the exception for which the client gets an error response: one that a provider
        raised, or else ``failure``.
        """
        thrown = failure_in(failure)
        raised = traceback = None
        needed, is_scope_kept = {*kept}, False
        try:
            for generator in self[::-1]:
                owner = generator.owner
                if owner in needed or (generator.is_async and is_scope_kept):
                    needed |= {owner, *owner.needs}
                    is_scope_kept = is_scope_kept or generator.is_async
                    continue
                raised, traceback = None, thrown.__traceback__ if thrown is not None else None
                try:
                    if not generator.has_ended:  # it may have ended when it raised ``thrown``
                        yield from generator.resume(None, thrown)
                    if not generator.has_ended:
                        yield from generator.close()
                        raise ResponseError(f"{owner.name} yielded twice: it must yield only once")
                except Exception as error:
                    raised = error
                # Don't remove the generator earlier: if a cancellation interrupts the lines above,
                # it must still be closed later.
                self.forget(generator)
                if raised is None:
                    continue
                if raised is thrown:
                    # The provider only passed the exception on, so remove its frames from the
                    # traceback.
                    raised.__traceback__ = traceback
                else:
                    failure = thrown = alone_in(raised)
            return failure
        finally:
            # avoid a reference cycle between the exception and this frame
            del failure, thrown, raised, traceback

    def forget(self, generator: RunningGenerator) -> None:
        """Remove a generator that has ended, the resource of its provider, and the resources that
        depend on this resource. Do nothing if it was removed, because a cancellation has ended it.
        """
        if generator not in self:
            return
        self.remove(generator)
        for one in [*self.values]:
            if one is generator.owner or generator.owner in one.needs:
                del self.values[one]

    def close_steps(self) -> Iterator[Step]:
        """Yield the steps that close all generators in reverse order after an aborted request."""
        for generator in self[::-1]:
            yield from generator.close()


class Performer(Protocol):
    """The methods of a request that open and close its resources."""

    def perform_async(self, flow: Flow[Value], /) -> Awaitable[Value]:
        """Return an awaitable that runs a flow, for use in ``async def`` code."""

    def clean_up(self, steps: Iterable[Step], /) -> Flow[None]:
        """Yield ``steps`` after a request was aborted. Failures of the steps are logged."""

    def abandon(self, steps: Iterable[Step], /) -> Awaitable[None]:
        """After a cancellation, perform ``steps`` under a shield. Failures of steps are logged."""


class ResourceContext(Generic[Value]):
    """A context manager that opens a resource. Use ``with`` in ``def`` code, and ``async with`` in
    ``async def`` code.

    ``opening``: a function that takes a stack (``Resources``) and returns a flow. The flow opens
    the resource on the stack, after the resources that it depends on.
    """

    _lane: BlockLane

    def __init__(self, request: Performer, opening: Callable[[Resources], Flow[Value]]) -> None:
        self._request = request
        self._opening = opening
        # In ``def`` code, each awaited step is a separate task, but an async generator must run in
        # one task.
        self._resources = Resources(_in_one_task)

    def __enter__(self) -> Value:
        return _perform_in_def(self._opened(), self._request)

    def __exit__(self, kind: object, failure: BaseException | None, traceback: object) -> None:
        if failure is None or isinstance(failure, Exception):
            flow = self._closed(failure)
        else:
            flow = self._request.clean_up(self._resources.close_steps())
        _perform_in_def(flow, self._request)

    async def __aenter__(self) -> Value:
        self._resources.shield = shielded_at_its_end
        self._lane = BlockLane(self._request)
        try:
            with self._lane.used():
                return await self._request.perform_async(self._opened())
        except BaseException:
            await self._close_rest()
            raise

    async def __aexit__(
        self, kind: object, failure: BaseException | None, traceback: object
    ) -> None:
        try:
            if failure is None or isinstance(failure, Exception):
                with self._lane.used():
                    await self._request.perform_async(self._closed(failure))
            elif isinstance(failure, anyio.get_cancelled_exc_class()):
                await self._unwind(failure)
        finally:
            del failure  # avoid a reference cycle between the exception and this frame
            await self._close_rest()

    async def _unwind(self, cancellation: BaseException) -> None:
        """Raise a cancellation at the ``yield`` of each async generator, as nested ``async with``
        blocks would do. If it came from a scope there, raise the exception that replaces it.
        """
        goes_on, raised = True, None
        try:
            while goes_on and self._resources and self._resources[-1].is_async:
                raised, goes_on = await self._resources[-1].cancel(cancellation)
                self._resources.pop()
            if not goes_on:
                raise_any(raised)
        finally:
            del cancellation, raised  # avoid reference cycles between exceptions and this frame

    async def _close_rest(self) -> None:
        """Close the resources that are still open after a cancellation."""
        if self._resources:
            with self._lane.used():
                await self._request.abandon(self._resources.close_steps())

    def _opened(self) -> Flow[Value]:
        try:
            return (yield from self._opening(self._resources))
        except Exception as error:
            failure = error
        try:
            yield from self._closed(failure)
            raise failure
        finally:
            del failure

    def _closed(self, failure: Exception | None) -> Flow[None]:
        """Close the resources. If a provider raises an exception other than ``failure``, raise that
        exception.
        """
        raised = yield from self._resources.close(failure)
        try:
            if raised is not failure:
                raise_any(raised)
        finally:
            # avoid a reference cycle between the exception and this frame
            del failure, raised


async def _in_one_task(generator: AsyncGenerator[Value]) -> AsyncGenerator[Value]:
    """Yield what ``generator`` yields, but run it in one task, even if this generator is resumed
    from several tasks.
    """
    running = RunningGenerator(generator, ON_LOOP)
    owner = SimpleNamespace(open_generators=lambda: [running])
    lane, failures = BlockLane(owner), list[BaseException]()
    release = TASKS.get().start_soon(lane.end_with_loop, context=Context())
    try:
        while not running.has_ended:  # it ends with the event loop
            if lane.interruption is not None:
                failures = failures or [lane.interruption]
                lane.interruption = None
            try:
                value = await lane.awaits(resume_async, (generator, None, failures))
            except StopAsyncIteration:
                return
            try:
                yield value
            except BaseException as error:
                failures.append(error)
    finally:
        lane.end()
        release()


def _perform_in_def(flow: Flow[Value], request: Performer) -> Value:
    """Run a flow in ``def`` code. Its async functions run on the event loop, and all others in this
    thread.

    Raises what the flow raises. On an event loop, where nothing may block, ``RuntimeError`` is
    raised in the flow at each step.
    """

    def perform(step: AnyStep) -> Any:
        kind, function, arguments = step
        if is_on_loop() and kind is not ON_LOOP:
            raise RuntimeError(
                'this code runs on the event loop: write "async with" in an async def'
            )
        if kind is AWAIT:
            return await_in_def(request, function, arguments)
        return function(*arguments)

    return in_this_thread(flow, perform=perform)
