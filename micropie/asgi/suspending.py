"""Interrupting an awaitable while it waits, at no cost when it does not have to.

Most bodies have arrived when they are asked for, and most streams never wait. A cancel scope with a timer costs
5 µs and a task group with one task 50 µs, more than the whole of such a request; so both come into being with the
first wait.

The cancel scope is around each wait alone: it is left before the awaitable goes on, so that it nests properly with
whatever scopes the awaitable itself enters and leaves, on asyncio and on trio. What the event loop raised is then
raised in the awaitable, once: its clean-up may wait again, undisturbed for ``CLEAN_UP_WITHIN`` seconds.
"""

from __future__ import annotations

import math
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from anyio import CancelScope, current_time, get_cancelled_exc_class

Value = TypeVar("Value")

CLEAN_UP_WITHIN = 10.0


class Interrupted(Exception):
    """The awaitable was interrupted while it waited, and has ended because of that."""


class Interruption:
    """Interrupts an awaitable's wait: at ``deadline`` (the event loop's clock), or when ``interrupt`` is called."""

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        self._scope: CancelScope | None = None
        self._called = False

    def interrupt(self) -> None:
        """Interrupt the wait that goes on, or the next one."""
        self._called = True
        if self._scope is not None:
            self._scope.cancel()

    @property
    def called(self) -> bool:
        """Whether ``interrupt`` was called, and the awaitable does not know it yet."""
        return self._called

    def around_wait(self) -> CancelScope:
        """A new scope for one wait."""
        self._scope = scope = CancelScope(deadline=self.deadline)
        if self._called:
            scope.cancel()
        return scope

    def has_happened(self) -> None:
        """Leave the awaitable alone for a while."""
        self._called = False
        self.deadline = current_time() + CLEAN_UP_WITHIN


@types.coroutine
def interruptible(awaitable: Awaitable[Value], begin: Callable[[], Interruption]) -> Generator[Any, Any, Value]:
    """Await ``awaitable``. When it has to wait for the first time, ``begin`` says what may interrupt it.

    Raises ``Interrupted`` if it ended by that, and otherwise whatever it raised.
    """
    steps = awaitable.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as end:
        value: Value = end.value
        return value
    return (yield from resume(steps, waits_for, begin()))


@types.coroutine
def resume(steps: Generator[Any, Any, Value], waits_for: Any, interruption: Interruption) -> Generator[Any, Any, Value]:
    """Go on with an awaitable that was begun by hand, ``next(steps)``, and then had to wait for ``waits_for``."""
    thrown: BaseException | None = None
    while True:
        sent: Any = None
        raised: BaseException | None = None
        was_called = interruption.called
        try:
            with interruption.around_wait() as scope:
                try:
                    sent = yield waits_for
                except BaseException as error:
                    raised = error
                    raise
        except BaseException:  # noqa: S110 - kept in ``raised``, and raised in the awaitable below
            pass
        cancellation = raised if scope.cancelled_caught else _sent_cancellation(sent, scope)
        if cancellation is None and was_called:
            # A wait that can't be cancelled: trio's checkpoint, which looks at the scopes when it is over.
            cancellation = raised = Interrupted()
        if cancellation is not None:
            thrown = cancellation
            interruption.has_happened()
        try:
            waits_for = steps.send(sent) if raised is None else steps.throw(raised)
        except StopIteration as end:
            if thrown is not None:  # a task group inside took the cancellation for its own
                raise Interrupted from None
            return end.value  # type: ignore[no-any-return]
        except BaseException as error:
            if not _is_only(error, thrown):
                raise
            raise Interrupted from None
        finally:
            raised = None


def _sent_cancellation(sent: Any, scope: CancelScope) -> BaseException | None:
    """trio's way to cancel: not raised where we wait, but sent as an outcome whose error the awaitable will raise."""
    error = getattr(sent, "error", None)
    return error if scope.cancel_called and isinstance(error, get_cancelled_exc_class()) else None


def _is_only(error: BaseException, thrown: BaseException | None) -> bool:
    """Whether this is what was thrown in, as it was or in the groups of the task groups that it passed."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_only(inner, thrown) for inner in error.exceptions)
    return error is thrown
