"""The lifespan protocol: https://asgi.readthedocs.io/en/latest/specs/lifespan.html

A server sends ``lifespan.shutdown`` after the last response is complete, so an endless response
would keep the server running: uvicorn has no time limit by default, gunicorn waits for 30 seconds.
No ASGI message announces that a server has begun to shut down. So this module handles the server's
shutdown signal first (``handling_signals``), and then calls the server's own signal handler.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from contextvars import Context
from functools import partial
from math import inf
from threading import current_thread, main_thread
from types import FrameType

import anyio

from micropie._core.execution import (
    CLEAN_UP_WITHIN,
    TASKS,
    Action,
    LoopTasks,
    in_thread,
    is_being_cancelled,
    watch_loop,
)
from micropie._core.execution.cancellation import CANCEL_GRACE
from micropie._core.execution.placement import IO_THREADS
from micropie._core.execution.steps import CALL
from micropie._core.flow import (
    LIFESPAN_ENDED,
    UNDER_ASGI,
    Lifecycle,
    LifespanContext,
    log_lifecycle_failure,
)
from micropie._core.http.protocols import Receive, Scope, Send
from micropie._core.routing import Site
from micropie._core.tree import Tree
from micropie.asgi.state import ASGIState
from micropie.asgi.steps import BACKGROUND, LEFT, perform


async def serve_lifespan(
    app: Tree, state: ASGIState, scope: Scope, receive: Receive, send: Send
) -> None:
    """Start the application, report this to the server, wait for the server's shutdown message and
    stop the application. All of this happens in one task, because cancel scopes that startup enters
    must be exited in the same task.

    An exception is reported to the server and then raised. Test clients show the raised exception;
    servers ignore it.
    """
    with ExitStack() as scopes:
        await receive()
        try:
            site = app.compiled()
            lifecycle, context = app.lifecycle(UNDER_ASGI), LifespanContext(site.config)
            shutdown = site.config.shutdown
            shutdown.begin()
            # ``around`` becomes a shield if the server cancels the lifespan. It is entered first,
            # because it must contain the scopes that are entered by startup and exited by shutdown.
            around = scopes.enter_context(anyio.CancelScope()) if lifecycle.needs_loop else None
            try:
                await perform(lifecycle.start(shutdown), context)
            except BaseException as error:
                if isinstance(error, Exception):
                    raise
                raise await _stop_cancelled(lifecycle, context, around, error) or error from None
        except Exception as error:
            log_lifecycle_failure("startup failed", error, scope)
            await _send_failed("startup", error, send)
            raise
        watch_loop(site.config.settings.loop_patience)
        app.publish(site, state)
        state.started = True
        state.lifespans += 1

        # Run this in a task, because anyio can't detect the loop in the callback of a signal.
        async def end_streams() -> None:
            shutdown.end()

        background, seconds = LoopTasks(), site.config.settings.background_timeout
        if "state" in scope:
            scope["state"][BACKGROUND] = background
        try:
            with handling_signals(partial(TASKS.get().start_soon, end_streams)):
                stop = partial(_stop_cancelled, lifecycle, context, around)
                failure = await _until_shutdown(receive, send, background, seconds, stop)
        finally:
            state.lifespans -= 1
            if not state.lifespans:  # otherwise another test client still uses the application
                shutdown.end()
                await _forget_start(site, state)
        try:
            if failure is not None:
                raise failure
            await perform(lifecycle.stop(), context)
        except Exception as error:  # it has been logged
            await _send_failed("shutdown", error, send)
            raise
        await send({"type": "lifespan.shutdown.complete"})


async def _until_shutdown(
    receive: Receive,
    send: Send,
    background: LoopTasks,
    seconds: float,
    stop: Callable[[BaseException], Awaitable[Exception | None]],
) -> Exception | None:
    """Report that the application has started, and wait for the server's shutdown message. If the
    lifespan is cancelled before, call ``stop``.

    Return the exception of the lifespan if a scope around its ``yield`` was cancelled. Requests are
    still handled then, so their streams must end when the server shuts down.
    """
    try:
        try:
            await send({"type": "lifespan.startup.complete"})
            await receive()
        finally:
            # Wait for functions passed to ``after_response``, and for what mounted applications do
            # after their responses. A cancellation by the server doesn't end this wait. The
            # functions have their own time limit, and mounted applications get the same one here.
            with anyio.move_on_after(seconds + 2 * CANCEL_GRACE, shield=True):
                await background.join()
            with anyio.move_on_after(CALL.leave_after, shield=True):
                await LEFT.get().join()
    except BaseException as error:
        failure = await stop(error)
        if failure is None:  # the server has cancelled the lifespan without lifespan.shutdown
            raise
    else:
        return None
    await receive()
    return failure


async def _forget_start(site: Site, state: ASGIState) -> None:
    """Let the next request start the application again, and end the processes of its pools."""
    state.site, state.started = None, False
    if site.has_processes:  # wait for their end in a thread, also after a cancellation
        with anyio.CancelScope(shield=True):
            await in_thread(IO_THREADS, site.close)


async def _stop_cancelled(
    lifecycle: Lifecycle,
    context: LifespanContext,
    around: anyio.CancelScope | None,
    error: BaseException,
) -> Exception | None:
    """Stop the application although ``error`` cancels this task. Suppress exceptions, because they
    have been logged.

    If the task isn't cancelled any more after that, the cancellation came from a scope around the
    ``yield`` of a lifespan, such as a task group. Then return the exception of the lifespan.
    """
    if around is not None:
        around.shield, around.deadline = True, anyio.current_time() + CLEAN_UP_WITHIN
    failure = await perform(lifecycle.stop_cancelled(), context)
    if around is not None:
        around.shield, around.deadline = False, inf
    if is_being_cancelled() or not isinstance(error, anyio.get_cancelled_exc_class()):
        return None
    log_lifecycle_failure(LIFESPAN_ENDED, failure, {})
    return failure


async def start_alone(lifecycle: Lifecycle, site: Site, state: ASGIState) -> None:
    """Start an application under a server that doesn't support the lifespan protocol. If its event
    loop ends, as in a test, the application is stopped, and a request on another loop starts it
    again.

    This is done in a task of its own, because cancel scopes that startup enters must be exited in
    the same task, and outlive this request. It has an empty context; see ``start_shared``.
    """
    has_begun, failures = anyio.Event(), list[BaseException]()

    async def live() -> None:
        context, failure = LifespanContext(site.config), None
        with anyio.CancelScope() as around:
            try:
                await perform(lifecycle.start(site.config.shutdown), context)
                has_begun.set()
                await anyio.sleep_forever()
            except BaseException as error:
                if not isinstance(error, Exception):
                    failure = await _stop_cancelled(lifecycle, context, around, error)
                if not has_begun.is_set():
                    failures.append(failure or error)
                elif not state.lifespans and failure is None:
                    await _forget_start(site, state)
        has_begun.set()

    cancel = TASKS.get().start_soon(live, context=Context())
    try:
        await has_begun.wait()
    except BaseException:
        cancel()
        raise
    if failures:
        raise failures.pop()


async def _send_failed(stage: str, error: Exception, send: Send) -> None:
    await send({"type": f"lifespan.{stage}.failed", "message": f"{type(error).__name__}: {error}"})


# -- the server's shutdown signal ------------------------------------------------------------------

SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handling_signals(notify: Action) -> Iterator[None]:
    """Return a context manager. Within its block, a shutdown signal that the server handles also
    makes this event loop call ``notify``.

    Only the main thread can set signal handlers, so in other threads this does nothing. It also
    does nothing if a signal has no Python handler. Such a signal ends the process or is ignored, as
    before.
    """
    call_soon = TASKS.get().call_soon
    server_handlers: dict[signal.Signals, Callable[[int, FrameType | None], object]] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        # Do nothing but schedule a call on the loop: the signal may have interrupted the main
        # thread anywhere, even while it holds a lock.
        with suppress(RuntimeError):  # the loop has ended
            call_soon(notify)
        server_handlers[signal.Signals(number)](number, frame)

    for number in SHUTDOWN_SIGNALS if current_thread() is main_thread() else ():
        server_handler = signal.getsignal(number)
        if callable(server_handler):
            # Store the server's handler before replacing it, because the signal may arrive at once.
            server_handlers[number] = server_handler
            _set_handler(number, handle)
    try:
        yield
    finally:
        for number, server_handler in server_handlers.items():
            if signal.getsignal(number) is handle:
                # Restore the server's handler, unless other code has replaced ``handle``.
                _set_handler(number, server_handler)


def _set_handler(number: int, handler: Callable[[int, FrameType | None], object]) -> None:
    """Set a signal's handler, without letting the signal interrupt system calls.

    ``signal()`` alone would let the signal interrupt them. asyncio sets its handlers in the same
    way.
    """
    signal.signal(number, handler)
    # Windows has no ``siginterrupt``, because signals don't interrupt system calls there.
    if hasattr(signal, "siginterrupt"):
        signal.siginterrupt(number, False)
