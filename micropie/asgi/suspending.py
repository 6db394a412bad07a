"""Knowing whether an awaitable has to wait, without a task: what is ready at once needs no timer and no watcher.

Most bodies have arrived when they are asked for, and most streams never wait. A cancel scope with a timer costs
5 µs and a task group with one task 50 µs, which is more than the whole of such a request.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

Value = TypeVar("Value")


@types.coroutine
def when_it_waits(awaitable: Awaitable[Value], notify: Callable[[], object]) -> Generator[Any, Any, Value]:
    """Await ``awaitable``; call ``notify`` when it has to wait for the first time, before it waits.

    ``notify`` must not wait itself. Everything that goes to the event loop and comes back from it, exceptions
    included, passes through unchanged, so that it works on any loop.
    """
    steps = awaitable.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as end:
        value: Value = end.value
        return value
    notify()
    while True:
        try:
            sent = yield waits_for
        except BaseException as error:
            raised = error
        else:
            raised = None
        try:
            waits_for = steps.send(sent) if raised is None else steps.throw(raised)
        except StopIteration as end:
            return end.value
        finally:
            raised = None
