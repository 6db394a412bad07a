"""Run an async generator of the application in a single task, even if it is resumed from several
tasks.

Under WSGI, each awaited step is a separate task, but a cancel scope must be exited in the task that
entered it. So a generator with a time limit or a task group around its ``yield`` needs a task that
lasts as long as the generator.

Nothing can interrupt a handler under WSGI. If the generator's cancel scope is cancelled while the
handler runs, the generator gets the cancellation at once, but the request goes on until its handler
has ended.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextvars import copy_context
from functools import cache
from typing import Any

import anyio

from micropie._core.errors import logger
from micropie._core.execution import TASKS
from micropie._core.execution.lane import BlockLane, Outcome, released, variables_set
from micropie._core.on_demand import Value


async def in_one_task(generator: AsyncGenerator[Value]) -> AsyncGenerator[Value]:
    """Run ``generator`` in one task, and yield what it yields. Values that are sent and exceptions
    that are thrown are passed on to ``generator``.
    """
    task = _GeneratorTask(generator)
    value = failure = None
    while True:
        try:
            result = await task.resume(value, failure)
        except StopAsyncIteration:
            return
        finally:
            value = failure = None  # avoid a reference cycle between the exception and this frame
        try:
            value = yield result
        except BaseException as error:
            failure = error


class _GeneratorTask:
    """The task in which one generator runs. It belongs to the event loop on which ``resume`` is
    first called.
    """

    _given: tuple[object, BaseException | None] = None, None
    _outcome: Outcome | None = None
    _asked: anyio.Event | None = None
    _done: anyio.Event

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self._lane = BlockLane(None)

    async def resume(self, value: object, failure: BaseException | None) -> Any:
        """Resume the generator. Return its next value or raise its exception. The context variables
        that the generator has set or reset are then set or reset in the calling task as well.
        """
        if self._outcome is None:
            self._given, self._done = (value, failure), anyio.Event()
            context = self._lane.entered(copy_context())
            if self._asked is None:
                TASKS.get().start_soon(self._run, context=context)
            else:
                self._asked.set()
            del failure  # avoid a reference cycle between the exception and this frame
            await self._done.wait()
        outcome, self._outcome = self._outcome, None
        assert outcome is not None  # noqa: S101
        self._lane.leave(outcome)
        return released(outcome)

    async def _run(self) -> None:
        is_interrupted = False
        while True:
            self._outcome = await self._advanced()
            cancellation = anyio.get_cancelled_exc_class()  # the class of asyncio or of trio
            if is_interrupted and not isinstance(self._outcome[1], cancellation):
                _warn(self._generator.__qualname__)
            self._done.set()
            self._asked = anyio.Event()
            if self._generator.ag_frame is None:
                return
            try:
                await self._asked.wait()
            except BaseException as error:
                self._given, is_interrupted = (None, error), True

    async def _advanced(self) -> Outcome:
        (value, failure), self._given = self._given, (None, None)
        before = copy_context()
        generator = self._generator
        try:
            result = await (
                generator.asend(value) if failure is None else generator.athrow(failure)
            )
        except BaseException as error:
            return [None, error, variables_set(before)]
        finally:
            del failure
        return [result, None, variables_set(before)]


@cache
def _warn(name: str) -> None:
    """Log once that the generator's time limit can't interrupt a handler."""
    logger.warning(
        "%s has a time limit or a task group around its yield. Under WSGI, neither can "
        "interrupt the handler, so the client waits until the handler is done. Limit the handler's "
        "time with Timeout(seconds), or use an ASGI server",
        name,
    )
