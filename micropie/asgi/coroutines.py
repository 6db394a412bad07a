"""Step awaitables manually, so that a wait that never happens costs nothing.

**The problem.** Most bodies have arrived when they are read, most calls of ``send`` return at once,
and many streams never wait. What protects a wait costs more than the whole of such a request: a
cancel scope, a timer, a task that watches the client. An awaitable can't be asked whether it will
wait; it can only be started. So this module starts it by an ordinary call, and makes the protection
only if the awaitable suspends.

**How.** ``await x`` is a loop inside the interpreter. It takes the iterator ``x.__await__()``,
advances it, passes everything that it yields to the event loop, and passes back what the event loop
sends or throws, until ``StopIteration`` brings the result. Here the first step is a plain
``next(steps)``. If that raises ``StopIteration``, the value is there and the event loop was never
involved. Otherwise the iterator is suspended and has yielded ``waits_for``, which the event loop
must get: ``resume`` yields it, and then does what ``await`` would have done.

**The invariants.**

- ``waits_for`` reaches the event loop exactly once and unchanged, before anything else is awaited
  in that task.
- A suspended iterator is resumed with the answer to what it yielded last, and with nothing else. It
  can't be awaited again: ``await`` would begin by sending None, which is not that answer.
- All steps run in one task. Cancel scopes and context variables belong to it.
- Whatever the event loop throws goes into the awaitable, ``BaseException`` included, so that its
  ``finally`` runs.
- A time limit's cancel scope is entered and left around a single ``yield``. The awaitable may enter
  and leave scopes itself between two waits, and scopes must nest.
- After a time limit has cancelled one wait, there is no limit for those that follow, because the
  clean-up may have to wait.
- No frame keeps an exception after it has raised it, or the exception and its traceback would be a
  reference cycle.

**How event loops differ.** anyio's primitives are made from those of the loop, so what is yielded
depends on the loop.

- asyncio yields futures and resumes with None. It *throws* a cancellation into the task, at the
  ``yield``.
- trio yields its own traps and resumes with an ``outcome`` that the awaitable unwraps. It *sends* a
  cancellation, inside an outcome, so nothing is raised at the ``yield``: ``brings_cancellation``
  checks what was sent. Its ``nursery.start`` does not support a scope around its wait, so use time
  limits only for ``receive`` and ``send``.
- Servers have their own awaitables: granian's futures have ``__next__`` but neither ``send`` nor
  ``throw``.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Generator
from typing import TypeAlias, TypeVar

import anyio

Value = TypeVar("Value")

# ``awaitable.__await__()``. What it yields and gets back only concerns it and the event loop.
Steps: TypeAlias = Generator[object, object, Value]


@types.coroutine
def await_within(awaitable: Awaitable[Value], seconds: float | None) -> Steps[Value]:
    """Await ``awaitable``.

    Raises ``TimeoutError`` as ``resume`` does. No timer is made if ``awaitable`` ends
    without waiting.
    """
    steps = awaitable.__await__()
    try:
        waits_for = next(steps)
    except StopIteration as end:
        value: Value = end.value
        return value
    return (yield from resume(steps, waits_for, seconds))


@types.coroutine
def resume(steps: Steps[Value], waits_for: object, seconds: float | None = None) -> Steps[Value]:
    """Await the rest of an awaitable that was started by ``next(steps)`` and yielded ``waits_for``.

    Raises ``TimeoutError`` after ``seconds`` of waiting (None: no limit). The awaitable is then
    cancelled, once.
    """
    deadline = None if seconds is None else anyio.current_time() + seconds
    timeout: BaseException | None = None  # the cancellation that ended a wait at the deadline
    raised: BaseException | None
    try:
        while True:
            sent: object = None
            raised = None
            scope: anyio.CancelScope | None = None
            try:
                if deadline is None:
                    sent = yield waits_for
                else:
                    with anyio.CancelScope(deadline=deadline) as scope:
                        try:
                            sent = yield waits_for
                        except BaseException as error:
                            raised = error  # keep it here, as the scope may swallow it
                            raise
            except BaseException as error:
                raised = error
            if seconds is None and sent is None and raised is None:
                return (yield from steps)  # under asyncio, which needs no answer
            if scope is not None and (scope.cancelled_caught or brings_cancellation(sent, scope)):
                timeout, deadline = raised or getattr(sent, "error", None), None
            try:
                waits_for = advance(steps, sent, raised)
            except StopIteration as end:
                value: Value = end.value
                return value
            except BaseException as error:
                if error is not timeout:
                    raise
                raise TimeoutError from None
    finally:
        raised = timeout = None


def brings_cancellation(sent: object, scope: anyio.CancelScope) -> bool:
    """Return whether ``sent`` is a cancellation as trio sends it, and ``scope`` was cancelled."""
    return scope.cancel_called and isinstance(
        getattr(sent, "error", None), anyio.get_cancelled_exc_class()
    )


def advance(steps: Steps[object], sent: object, raised: BaseException | None) -> object:
    """Resume ``steps`` once and return what it waits for next, as ``await`` would do."""
    if raised is None:
        return next(steps) if sent is None else steps.send(sent)
    if not hasattr(steps, "throw"):
        raise raised
    return steps.throw(raised)
