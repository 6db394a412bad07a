"""``ProcessPool``, the value of ``app.pool``: runs functions in other processes.

The processes themselves are in the package ``pool``, which only sites that use them import.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from inspect import iscoroutinefunction
from threading import Lock
from typing import Any, Generic, TypeVar, TypeVarTuple

import anyio

from micropie._core.errors import HTTPError, SetupError, logger
from micropie._core.execution.call_steps import CallSteps, in_this_thread
from micropie._core.execution.fork import available_cpus
from micropie._core.execution.lane import LeftCall
from micropie._core.execution.loop import TASKS, Action, TaskWaiter, current_exchange
from micropie._core.execution.placement import AnyFunction, Rank, Threads, importable
from micropie._core.execution.threads import TookTooLong, slots_of

Result = TypeVar("Result")
Arguments = TypeVarTuple("Arguments")


class PoolError(Exception):
    """Raised if a call could not be made in the pool, or if its outcome could not be returned.

    The exception's message contains the reason.
    """


@dataclass(frozen=True, slots=True)
class Progress:
    """A step of a call in the pool, which ``progress`` has reported."""

    done: float
    total: float | None = None
    note: str = ""


class CancelToken:
    """Lets one thread cancel a blocking call that another thread is in.

    - ``report`` is called with each step of the call's progress, and must not raise or block.
    - ``is_on_loop``: whether an event loop performs the steps of the call.
    """

    is_on_loop = False

    def __init__(self, report: Callable[[Progress], object] | None = None) -> None:
        self.report = report
        self._lock = Lock()
        self._stop: Action | None = None
        self.is_cancelled = False

    def attach(self, stop: Action) -> None:
        """Register ``stop``, which is called when the call is cancelled, or right now if it has
        been cancelled already.

        ``stop`` replaces the function that was registered earlier.
        """
        with self._lock:
            self._stop = stop
            if self.is_cancelled:
                stop()

    def check(self) -> None:
        """Raise ``PoolError`` if the call has been cancelled."""
        if self.is_cancelled:
            raise PoolError("the call has been cancelled")

    def detach(self) -> bool:
        """Remove the registered function, because there is nothing left to stop.

        Return whether the call has been cancelled.
        """
        with self._lock:
            self._stop = None
            return self.is_cancelled

    def cancel(self) -> None:
        """Cancel the call. Any thread may call this method, which doesn't block."""
        with self._lock:
            self.is_cancelled = True
            if self._stop is not None:
                self._stop()


class ProcessPool:
    """The processes of an application, or its executor: ``App(pool=executor)``.

        thumbnail = await self.pool.run(scaled, image, 200)         # in async def
        thumbnail = run_async(self.pool.run, scaled, image, 200)    # in def

    Handlers with ``@run_in("process")`` run here, too.
    """

    # An application that sets one of these has a pool of its own.
    settings = (
        *("processes", "pool", "pool_startup", "pool_start", "pool_kill"),
        *("pool_max_calls", "pool_max_memory", "pool_retire_on"),
    )

    in_this_thread = staticmethod(in_this_thread)
    token = CancelToken

    def __init__(self, settings: Any) -> None:
        # ``settings``: the ``Settings`` of the application, which are declared in a layer above
        self._settings = settings
        self.is_eager: bool = settings.pool_start == "eager" and settings.pool is None
        self._size = settings.processes or available_cpus()
        self._startup = [importable(function) for function in settings.pool_startup]
        self._made: list[Any] = []
        # How many calls are made at a time. Those of an executor each wait in a thread.
        waiting = self._size if settings.pool is None else settings.threads
        self.threads = Threads(waiting, settings.thread_queue, wait=settings.thread_wait)

    async def run(
        self,
        function: Callable[[*Arguments], Result],
        /,
        *arguments: *Arguments,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Result:
        """Call ``function(*arguments)`` in a process and return its result.

        ``function`` is a function at the top level of a module, or a method of an application,
        whose ``self`` is as in a handler with ``@run_in("process")``. The arguments and the result
        are pickled. For keyword arguments, pass a ``functools.partial``. If the code that awaits
        this is cancelled, so is the call. ``on_progress``, a ``def``, is called on the event loop
        with what the function has reported by ``progress``; see ``start``.

        Raises what the function raises, ``HTTPError`` 503 after ``pool_timeout``, and
        ``SetupError`` for a function that another process can't import.
        """
        if on_progress is None:
            result: Result = await self.run_when_free(importable(function), lambda: arguments)
            return result
        if iscoroutinefunction(on_progress):
            raise SetupError(
                "pool.run(on_progress=...) takes a def, not an async def: to await something for "
                "each step, follow the call with async with pool.start(...)"
            )
        async with self.start(function, *arguments) as call:
            async for step in call:
                on_progress(step)
            return await call

    @asynccontextmanager
    async def start(
        self, function: Callable[[*Arguments], Result], /, *arguments: *Arguments
    ) -> AsyncIterator[PoolCall[Result]]:
        """Do the same as ``run``, and follow the call:

            async with self.pool.start(scaled, image, 200) as call:
                async for step in call:  # step.done, step.total, step.note
                    ...
                thumbnail = await call

        If you leave the block before the call has ended, it is cancelled. If it has failed and was
        not awaited, its exception is logged. While your code is busy, only the newest step is kept,
        so a slow reader never delays the function.
        """
        call, named = PoolCall[Result](), importable(function)
        cancel = TASKS.get().start_soon(call.run, self.run_when_free, named, lambda: arguments)
        try:
            yield call
        finally:
            cancel()
            if call.error is not None and not call.is_awaited:
                logger.error("a call of %s in the pool has failed", named, exc_info=call.error)
            call.error = None  # avoid a reference cycle with the error's frames

    async def run_when_free(
        self,
        function: AnyFunction,
        arguments: Callable[[], Sequence[object]],
        report: Callable[[Progress], object] | None = None,
    ) -> Any:
        """Do the same as ``run`` with the arguments that ``arguments()`` returns. It is called when
        a process is free. ``report`` is called with each step, in some thread.
        """
        token = CancelToken(report)
        return await self.run_steps(self._result_steps(token, function, arguments), token)

    async def run_steps(
        self,
        steps: CallSteps[Result],
        token: CancelToken,
        rank: Rank = Rank.WAITING,
        on_left: Callable[[LeftCall], object] | None = None,
    ) -> Result:
        """Perform the steps of a call when a process is free, and return its result.

        If this is cancelled, the call is, too; ``on_left``: see ``Slots.call``.
        """
        token.is_on_loop = True
        try:
            slots = slots_of(self.threads)
            return await slots.perform(steps, 0.0, rank, on_left, token.cancel)
        except BaseException:
            if not token.is_cancelled:  # otherwise, a thread may be performing the steps
                steps.close()
            raise

    def _result_steps(
        self, token: CancelToken, function: AnyFunction, arguments: Callable[[], Sequence[object]]
    ) -> CallSteps[Any]:
        exchange = current_exchange()
        settings = self._settings if exchange is None else exchange.config.settings
        result = yield from self.steps(settings.pool_timeout, function, arguments(), token)
        if isinstance(result, Iterator):
            getattr(result, "drop", int)()
            raise TypeError(
                "pool.run returns one result, not an iterator such as a generator or an open file: "
                'return a list, or write @run_in("process") above a handler that yields'
            )
        return result

    def steps(
        self, seconds: float, function: AnyFunction, arguments: Sequence[object], token: CancelToken
    ) -> CallSteps[Any]:
        """Do the same as ``run`` in steps, and return an iterator for a generator. Cancelling
        ``token`` cancels the call.
        """
        try:
            return (yield from self.made.steps(seconds, function, arguments, token))
        except TookTooLong as error:
            sentence = str(error)
        label = getattr(current_exchange(), "label", "pool.run")
        logger.error("%s: %s: %s", label, function, sentence)
        raise HTTPError(503, "The response took too long. Please try again later.")

    @property
    def is_made(self) -> bool:
        """Whether the processes, or the executor, have been created."""
        return bool(self._made)

    @property
    def made(self) -> Any:
        """The processes, or the executor. They are created when a function is first called."""
        if not self._made:
            package, settings = import_module("micropie._core.execution.pool"), self._settings
            self._made.append(
                package.Pool(self._size, settings, self._startup)
                if settings.pool is None
                else package.ExecutorPool(settings.pool)
            )
        return self._made[0]  # two threads may each have added a pool; then both use the first

    def start_all(self) -> None:
        """Start all processes. Raises an exception if one can't start."""
        self.made.start()

    def ping(self) -> None:
        """Raise an exception if the last process that was started could not run its start
        functions.
        """
        for pool in self._made[:1]:
            if getattr(pool, "failure", None) is not None:
                raise RuntimeError(str(pool.failure))

    def usage(self) -> tuple[int, int]:
        """Return the number of processes that are running a function, and the maximum number of
        processes. Return (0, 0) for an executor, because executors don't report these numbers.
        """
        if self._settings.pool is not None:
            return 0, 0
        return sum(pool.busy for pool in self._made[:1]), self._size

    def close(self) -> None:
        """End the processes."""
        for pool in self._made[:1]:
            pool.close()


class PoolCall(Generic[Result]):
    """A call in the pool: an async iterator over its steps, and an awaitable of its result. One
    task may iterate, while others await the result.
    """

    error: Exception | None = None
    is_awaited = False
    _result: Result

    def __init__(self) -> None:
        self._steps = deque[Progress](maxlen=1)
        self._change, self._end = TaskWaiter(), anyio.Event()

    async def run(self, function: Callable[..., Awaitable[Result]], *arguments: object) -> None:
        """Make the call."""
        try:
            self._result = await function(*arguments, self._report)
        except Exception as error:
            self.error = error
        except BaseException:
            # Don't store the cancellation: its traceback refers to this frame, which would be a
            # reference cycle.
            self.error = CancelledError("the call has been cancelled")
            raise
        finally:
            self._end.set()
            self._change.wake()

    def _report(self, step: Progress) -> None:
        # called in a thread
        self._steps.append(step)
        self._change.wake()

    def __aiter__(self) -> AsyncIterator[Progress]:
        return self

    async def __anext__(self) -> Progress:
        while not self._steps:
            if self._end.is_set():
                raise StopAsyncIteration
            await self._change.wait()
        return self._steps.popleft()

    def __await__(self) -> Generator[object, object, Result]:
        return self._ended().__await__()

    async def _ended(self) -> Result:
        self.is_awaited = True
        await self._end.wait()
        if self.error is not None:
            raise self.error
        return self._result
