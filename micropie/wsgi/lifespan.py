"""Start and stop an application under WSGI, which has no lifespan protocol."""

from __future__ import annotations

import anyio

from micropie._core.execution import Action, background_loop, is_being_cancelled
from micropie._core.execution.steps import Flow
from micropie._core.flow import (
    LIFESPAN_ENDED,
    Lifecycle,
    LifespanContext,
    log_lifecycle_failure,
)
from micropie._core.on_demand import Value
from micropie._core.routing import Config
from micropie.wsgi.steps import perform, perform_in_task


def start_here(lifecycle: Lifecycle, config: Config) -> Action:
    """Start the application in this thread. Return a function that stops it."""
    context = LifespanContext(config)
    perform(lifecycle.start(config.shutdown), context)
    return lambda: perform(lifecycle.stop(), context)


def start_on_loop(lifecycle: Lifecycle, config: Config) -> Action:
    """Start the application on the background loop. Return a function that stops it.

    A single task starts the application, waits, and stops it, because a task group must be exited
    in the task that entered it.
    """
    portal = background_loop(config.settings.portal_backend).portal

    async def live(*, task_status: anyio.abc.TaskStatus[anyio.Event]) -> None:
        await _perform_awaiting(lifecycle.start(config.shutdown))
        leave = anyio.Event()
        task_status.started(leave)
        try:
            await leave.wait()
        except BaseException:  # the loop ends, or a scope around the yield of a lifespan is over
            failure = await _perform_awaiting(lifecycle.stop_cancelled())
            if is_being_cancelled():
                raise
            log_lifecycle_failure(LIFESPAN_ENDED, failure, {})
            raise failure from None
        await _perform_awaiting(lifecycle.stop())

    life, leave = portal.start_task(live)

    def stop() -> None:
        try:
            portal.start_task_soon(leave.set)
        except RuntimeError:  # the loop has ended, which cancelled the task
            return
        life.result()

    return stop


async def _perform_awaiting(flow: Flow[Value]) -> Value:
    """Run the flow of a startup or shutdown in this task, and its calls, which may block, in
    threads.
    """
    return await perform_in_task(
        flow, lambda kind, function, arguments: anyio.to_thread.run_sync(function, *arguments)
    )
