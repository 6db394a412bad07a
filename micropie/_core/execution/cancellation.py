"""``GracefulScope``: how the code of a request is cancelled when its time limit is over, when its
client has disconnected, and when the server shuts down.

anyio and trio cancel by *level*: in a cancelled scope, every wait is cancelled. asyncio cancels by
*edge*: only the current wait is. Under asyncio, libraries rely on this. For example, a database's
driver catches the cancellation, asks the server to end the query and awaits the reply. Cancelled by
level, it leaves the query running and loses the connection. But a handler that catches a single
cancellation might never end. So under asyncio, there are two stages:

1. ``Task.cancel`` cancels the code once, so its clean-up may wait.
2. After the *grace*, a cancel scope cancels it by level.

Code that waits in a shield of anyio must not be cancelled. This includes code that waits for
``anyio.to_thread.run_sync``. ``Task.cancel`` ignores shields, so the cancellation is *withheld*: it
is tried again whenever what the code waits for is done, because the next shield may begin at once,
and every ``RETRY_EVERY`` seconds. Code that ends before that was never cancelled.

The children of an anyio task group are cancelled by level, because the group cancels its own scope.
Under trio, every cancellation is by level.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from itertools import islice
from math import inf
from types import TracebackType
from typing import Any, Self

import anyio

from micropie._core.errors import RaisedAnswer
from micropie._core.execution.loop import (
    TASKS,
    LoopTasks,
    current_exchange,
    running_loop,
    set_deadline,
)
from micropie._core.execution.threads import Result, TookTooLong

# Seconds of grace while a client waits for the response, unless ``cancel_grace`` is set.
CANCEL_GRACE = 1.0

# Seconds between two attempts to cancel code in a shield.
RETRY_EVERY = 0.01

# How often to try at once when a wait is done. Between two shields, code may wait for one turn of
# the event loop only, as in the checkpoint at the beginning of ``anyio.to_thread.run_sync``.
RETRY_TURNS = 5

# The attributes for what coroutines, generators and async generators wait for, and the modules of
# built-in iterators.
_INNER = ("cr_await", "gi_yieldfrom", "ag_await")
_BUILT_IN = ("builtins", "_asyncio")
_LOOK_AT = 500  # objects; nobody knows what refers to what

# Seconds from now between which a deadline is set for a moment. It must not be over before that.
_SHORTEST, _LONGEST = 0.001, 3600.0


class GracefulScope:
    """A cancel scope that cancels its task once, and by level only when a grace is over.

    ``tasks``: the ``LoopTasks`` of the current event loop.

    Like any cancel scope, it is entered and exited in one task. The other methods may also be
    called in another task of the same event loop. ``grace``: seconds between the two stages, unless
    the application has set ``cancel_grace``. With 0, there is only the second stage.
    """

    _is_called = False
    _is_sent = False  # whether the task was cancelled once
    _has_caught = False
    _known = 0  # the task's number of cancellations before this one
    _timer: Any = None
    _future: Any = None  # what the task waited for when the cancellation was withheld
    _turns = 0  # how often to try again at once

    def __init__(self, tasks: LoopTasks) -> None:
        self._scope = tasks.new_scope()
        self._task = tasks.current_task()  # asyncio's task; None under trio, and after the end

    def __enter__(self) -> Self:
        self._scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if self._timer is not None:
            self._stop_timer()
        task, self._task = self._task, None
        if not self._is_sent:
            return self._scope.__exit__(kind, error, traceback)
        try:
            is_caught = self._scope.__exit__(kind, error, traceback)
        finally:
            is_foreign = task.uncancel() > self._known  # somebody else cancels the task, too
        if is_foreign:
            return False
        if isinstance(error, anyio.get_cancelled_exc_class()):
            self._has_caught = is_caught = True
        return is_caught

    @property
    def cancel_called(self) -> bool:
        """Whether the code was cancelled, even if the cancellation is withheld."""
        return self._is_called or self._scope.cancel_called

    @property
    def cancelled_caught(self) -> bool:
        """Whether the ``with`` block ended with this scope's cancellation."""
        return self._has_caught or self._scope.cancelled_caught

    def cancel_after(self, seconds: float, grace: float) -> None:
        """Call ``cancel`` after ``seconds``. This replaces the time of an earlier call."""
        if self._task is None:
            self._scope.deadline = anyio.current_time() + seconds
        elif not self._is_called:
            self._stop_timer()
            # resolve the grace here, because the timer has an empty context; see ``set_deadline``
            grace = grace and _set_grace(grace)
            call_later = running_loop().call_later
            self._timer = call_later(seconds, self.cancel, grace, context=Context())

    def cancel(self, grace: float) -> None:
        """Cancel the code once and, if it still runs when the grace is over, by level."""
        if self._is_called:
            return
        self._is_called = True
        self._stop_timer()
        if self._task is None or not grace:
            self._scope.cancel()
        else:
            self._send(_set_grace(grace))

    def protect(self, seconds: float) -> None:
        """Protect the code from cancellations of the scopes around this one. After ``seconds``,
        cancel it by level. Call this in the scope's own task.
        """
        self._stop_timer()
        self._scope.shield = True
        set_deadline(self._scope, anyio.current_time() + seconds)

    def _send(self, grace: float) -> None:
        """Cancel the task once. If it is in a shield or is being cancelled already, try again
        later. But code that has caught a cancellation without ``uncancel`` counts as being
        cancelled for ever, so the grace begins at once.
        """
        task, loop = self._task, running_loop()
        self._known = task.cancelling()
        if self._known and self._scope.deadline == inf:
            set_deadline(self._scope, loop.time() + grace)
        if self._known or self._is_shielded(loop):
            self._try_again(loop, grace)
            return
        self._timer, self._is_sent = None, True
        task.cancel()
        set_deadline(self._scope, loop.time() + grace)

    def _try_again(self, loop: Any, grace: float) -> None:
        if self._turns:
            self._turns -= 1
            self._timer = loop.call_soon(self._send, grace)
            return
        self._timer = loop.call_later(RETRY_EVERY, self._send, grace)
        future = awaited_future(self._task.get_coro(), loop)
        if future is not None and future is not self._future:
            self._future = future

            def done(_: object) -> None:
                if self._timer is not None:  # still withheld
                    self._stop_timer()
                    self._turns = RETRY_TURNS
                    self._send(grace)

            future.add_done_callback(done)

    def _is_shielded(self, loop: Any) -> bool:
        """Return whether the task waits in a shield that is inside this scope.

        Only the current task can ask anyio for a deadline. So make this task the current one for
        the question, as code that runs a task itself does; see
        https://docs.python.org/3/library/asyncio-extending.html#task-lifetime-support. A shield
        hides the deadline of this scope, even one before all other deadlines.
        """
        asyncio, scope = sys.modules["asyncio"], self._scope
        running = asyncio.current_task()
        if running is self._task:
            return True  # it doesn't wait
        if running is not None:
            asyncio._leave_task(loop, running)
        asyncio._enter_task(loop, self._task)
        limit, scope.deadline = scope.deadline, inf
        try:
            left = anyio.current_effective_deadline() - loop.time()
            if left < _SHORTEST:
                return True  # a scope inside this one is about to end, so ask again after that
            set_deadline(scope, loop.time() + min(left, _LONGEST) / 2)
            return anyio.current_effective_deadline() > scope.deadline
        finally:
            set_deadline(scope, limit)
            asyncio._leave_task(loop, self._task)
            if running is not None:
                asyncio._enter_task(loop, running)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def awaited_future(steps: object, loop: object) -> Any:
    """Return a future of asyncio's ``loop`` that a suspended coroutine waits for, or None if none
    is found.

    Coroutines and generators show what they wait for, unless they advance it manually. Then, and
    for built-in iterators such as that of an async generator's ``__anext__``, ask the garbage
    collector. It may find another future as well, so take this one as a hint.
    """
    future, found = sys.modules["asyncio"].Future, list[Any]([steps])
    for one in islice(found, _LOOK_AT):  # the list grows during the loop
        kind = type(one)  # only its attributes are asked for, because an object may be a proxy
        if issubclass(kind, future) and one.get_loop() is loop:
            return one
        names = [name for name in _INNER if hasattr(kind, name)]
        inner = [getattr(one, name) for name in names]
        if any(inner):
            found += inner
        elif hasattr(kind, "send") and kind.__module__ in _BUILT_IN:
            found += gc.get_referents(one)
    return None


def _set_grace(otherwise: float) -> float:
    """Return the current request's ``cancel_grace`` or, if it isn't set, ``otherwise``."""
    exchange = current_exchange()
    setting = None if exchange is None else exchange.config.settings.cancel_grace
    return otherwise if setting is None else setting


async def cancelled_after(
    seconds: float,
    function: Callable[..., Awaitable[Result]],
    arguments: Sequence[object],
    grace: float = CANCEL_GRACE,
) -> Result:
    """Return ``await function(*arguments)``, but cancel it after ``seconds``; see
    ``GracefulScope``.

    Raises ``TookTooLong`` if it was cancelled. If its clean-up failed, the exception of the
    clean-up is the ``__cause__``. But a ``RaisedAnswer`` is raised as it is.
    """
    failure: Exception | None = None
    scope = GracefulScope(TASKS.get())
    try:
        with scope:
            scope.cancel_after(seconds, grace)
            return await function(*arguments)
    except RaisedAnswer:
        raise
    except Exception as error:
        if not scope.cancel_called:
            raise
        failure = error
    try:
        raise TookTooLong from failure
    finally:
        del failure  # avoid a reference cycle between the exception and this frame
