"""Awaiting without a price for what does not have to wait.

Most bodies have arrived when they are asked for, and many streams never wait. A cancel scope costs 2.6 µs, with a
timer 5 µs, and a task that watches for the client's leaving 50 µs, more than the whole of such a request; so timers
and watchers come into being with the first wait.
"""

from __future__ import annotations

import math
import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

from anyio import CancelScope, current_time, get_cancelled_exc_class

Value = TypeVar("Value")


@types.coroutine
def when_it_waits(awaitable: Awaitable[Value], notify: Callable[[], object]) -> Generator[Any, Any, Value]:
    """Await ``awaitable``; call ``notify``, which must not wait, before it waits for the first time."""
    steps = awaitable.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as end:
        value: Value = end.value
        return value
    notify()
    return (yield from go_on_awaiting(steps, waits_for))


@types.coroutine
def go_on_awaiting(steps: Generator[Any, Any, Value], waits_for: Any) -> Generator[Any, Any, Value]:
    """Await what was begun by hand, ``steps.send(None)``, and then had to wait for ``waits_for``."""
    while True:
        sent, raised = None, None
        try:
            sent = yield waits_for
        except BaseException as error:
            raised = error
        try:
            waits_for = go_on(steps, sent, raised)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            raised = None


@types.coroutine
def resume(steps: Generator[Any, Any, Value], waits_for: Any, seconds: float | None) -> Generator[Any, Any, Value]:
    """Go on with an awaitable that was begun by hand, ``next(steps)``, and then had to wait for ``waits_for``.

    Raises ``TimeoutError`` when it has waited for ``seconds`` (None: never); it is told by a cancellation, once.
    The cancel scope is around each wait alone and left before the awaitable goes on, so that it nests with the
    scopes that this enters and leaves. For ``receive`` and ``send`` only: trio's ``nursery.start`` does not bear it
    inside.
    """
    deadline = math.inf if seconds is None else current_time() + seconds
    cancellation: BaseException | None = None
    while True:
        sent: Any = None
        raised: BaseException | None = None
        try:
            with CancelScope(deadline=deadline) as scope:
                try:
                    sent = yield waits_for
                except BaseException as error:
                    raised = error
                    raise
        except BaseException:  # noqa: S110 - kept in ``raised``, and raised in the awaitable below
            pass
        if scope.cancelled_caught or brings_cancellation(sent, scope):
            cancellation, deadline = raised or sent.error, math.inf
        try:
            waits_for = go_on(steps, sent, raised)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        except BaseException as error:
            if error is not cancellation:
                raise
            raise TimeoutError from None
        finally:
            raised = None


def brings_cancellation(sent: Any, scope: CancelScope) -> bool:
    """Whether ``scope`` cancels what is resumed with ``sent``.

    trio's way: a cancellation is not raised where we wait but sent, as an outcome that the awaitable unwraps.
    """
    return scope.cancel_called and isinstance(getattr(sent, "error", None), get_cancelled_exc_class())


def go_on(steps: Any, sent: Any, raised: BaseException | None) -> Any:
    """One step further, as ``await`` does it: what is awaited need not be a generator, and granian's futures have
    ``__next__`` alone."""
    if raised is None:
        return next(steps) if sent is None else steps.send(sent)
    if not hasattr(steps, "throw"):
        raise raised
    return steps.throw(raised)


async def within(awaitable: Awaitable[Value], seconds: float) -> Value:
    """Await ``awaitable``; ``TimeoutError`` when it has waited for ``seconds``. See ``resume`` for what it is for."""
    steps: Any = awaitable.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as end:
        value: Value = end.value
        return value
    return await resume(steps, waits_for, seconds)
