"""``batched``: calls from several requests that run together in the process pool.

A call waits on its event loop until its batch begins: ``within`` seconds after the batch's first
call, or when ``size`` calls have come, but not before a process is free. Each row is pickled on its
own, and so is each result. So a row or a result that can't be pickled fails only its own call.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextvars import Context
from functools import partial
from inspect import isfunction
from math import inf
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import anyio

from micropie._core.errors import check
from micropie._core.execution.loop import TASKS, Action, LoopFuture, LoopLocal, current_exchange
from micropie._core.execution.placement import (
    PROCESS,
    NamedFunction,
    check_placement,
    pooled_name,
)
from micropie._core.execution.pool.remote import (
    FAILED,
    open_message,
    packed_result,
    pickled_error,
    unpickled,
)
from micropie._core.execution.process_pool import ProcessPool

_dumps = partial(pickle.dumps, protocol=5)  # faster for arrays than the default protocol

Row = TypeVar("Row")
Result = TypeVar("Result")


def batched(
    function: Callable[[list[Row]], Iterable[Result | Exception]], *, size: int, within: float
) -> Callable[[Row], Coroutine[Any, Any, Result]]:
    """Return an async function of one row that calls ``function`` in the process pool, with the
    rows of several requests at once.

        predict = batched(predict_many, size=32, within=0.005)

        label = await predict(row)             # in async def
        label = run_async(predict, row)        # in def

    ``function`` takes a list of rows and returns one result for each, in the same order. An
    exception among the results is raised in the call that passed this row. An exception that
    ``function`` raises is raised in all calls. Like a function for ``app.pool.run``, it must be a
    ``def`` at the top level of a module.

    - ``size``: how many rows run together at most.
    - ``within``: for how many seconds a row waits for others.

    The calls of one event loop, for one application, run together. If a call is cancelled, its row
    is left out, or its result is ignored if the batch has begun. Raises ``HTTPError`` 503 if a
    batch takes longer than ``pool_timeout``, and ``LookupError`` outside of a request.
    """
    is_size, is_time = isinstance(size, int), isinstance(within, int | float)
    check("batched(size=...)", is_size and size > 0, size, "a whole number, at least 1")
    check("batched(within=...)", is_time and 0 <= within < inf, within, "seconds, at least 0")
    check("batched(...)", isfunction(function), function, "a function that is defined with def")
    label = function.__qualname__
    check_placement(function, PROCESS, label)
    return _Batched(_BatchFunction(pooled_name(function, label)), size, within)


# -- in the server's process -----------------------------------------------------------------------


class _Batched:
    """What ``batched`` returns."""

    def __init__(self, function: _BatchFunction, size: int, within: float) -> None:
        self._function, self._size, self._within = function, size, within
        # the newest batch for each pool
        self._batches = LoopLocal[WeakKeyDictionary[ProcessPool, _Batch]](WeakKeyDictionary)

    async def __call__(self, row: object) -> Any:
        exchange = current_exchange()
        if exchange is None:
            raise LookupError(f"there is no current request whose pool could run {self._function}")
        try:
            pickled = _dumps(row)
        except Exception as error:
            raise pickle.PicklingError(
                f"{self._function} runs in the process pool, but a row of type "
                f"{type(row).__name__} can't be pickled: {error}"
            ) from None
        pool, batches, tasks = exchange.config.pool, self._batches.get(), TASKS.get()
        call, batch = _BatchedCall(pickled, tasks.new_future()), batches.get(pool)
        if batch is None or batch.has_begun or len(batch.calls) == self._size:
            batches[pool] = batch = _Batch()
            run = batch.run, pool, self._function, self._within
            # in an empty context, because a batch belongs to no request
            batch.cancel = tasks.start_soon(*run, context=Context())
        batch.calls.append(call)
        if len(batch.calls) == self._size:
            batch.is_full.set()
        try:
            await call.end
        except BaseException:  # this call was cancelled
            batch.leave(call)
            raise
        return open_message(unpickled(call.message))


class _BatchedCall:
    """A call that waits for its batch. ``row`` and ``message``, its outcome, are pickled."""

    message = b""

    def __init__(self, row: bytes, end: LoopFuture) -> None:
        self.row, self.end = row, end


class _Batch:
    """Calls that run together. When the batch has begun, no call can join or leave it."""

    cancel: Action

    def __init__(self) -> None:
        self.calls: list[_BatchedCall] = []
        self.is_full, self.has_begun = anyio.Event(), False

    async def run(self, pool: ProcessPool, function: _BatchFunction, within: float) -> None:
        """Wait for calls and for a process, then run the calls and end them."""
        try:
            with anyio.move_on_after(within):
                await self.is_full.wait()
            messages = await pool.run_when_free(function, self._begin)
        except BaseException as error:
            messages = [_dumps((FAILED, pickled_error(error)))] * len(self.calls)
            if not isinstance(error, Exception):
                raise
        finally:
            self.has_begun = True
            for call, message in zip(self.calls, messages, strict=True):
                call.message = message
                if not call.end.done():
                    call.end.set_result(None)
            self.calls.clear()

    def _begin(self) -> Sequence[object]:
        self.has_begun = True
        return ([call.row for call in self.calls],)

    def leave(self, call: _BatchedCall) -> None:
        """Leave out the row of a call that was cancelled, unless the batch has begun."""
        if not self.has_begun:
            self.calls.remove(call)
            if not self.calls:
                self.has_begun = True
                self.cancel()


# -- in the process --------------------------------------------------------------------------------


class _BatchFunction(NamedFunction):
    """The function, pickled as its name. It takes pickled rows and returns pickled messages."""

    def __call__(self, pickled: Sequence[bytes]) -> list[bytes]:  # type: ignore[override]
        rows, failed = list[object](), dict[int, bytes]()
        for number, row in enumerate(pickled):
            try:
                rows.append(unpickled(row))
            except Exception as error:
                failed[number] = _dumps((FAILED, pickled_error(error)))
        found = super().__call__(rows) if rows else rows
        results = [*found] if isinstance(found, Iterable) else []
        if len(results) != len(rows):
            raise TypeError(
                f"{self} must return a list with one result for each row, but got {len(rows)} "
                f"rows and returned {len(results)} results"
            )
        messages = iter([packed_result(_dumps, (), _given, result) for result in results])
        return [failed.get(number) or next(messages) for number in range(len(pickled))]


def _given(result: object) -> object:
    """Return a result. If it is an exception, raise it."""
    if isinstance(result, BaseException):
        raise result
    return result
