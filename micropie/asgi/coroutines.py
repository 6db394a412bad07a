"""Advance awaitables manually, so that timers and cancel scopes are created only if an awaitable
has to wait.

**The problem.** Most bodies have arrived when they are read, most calls of ``send`` return at once,
and many streams never wait. The objects that limit a wait (a cancel scope, a timer, a task that
watches the client) take more time than the rest of such a request. The only way to find out whether
an awaitable will wait is to start it. So this module starts it by an ordinary call, and creates
these objects only if the awaitable suspends.

**The solution.** ``await x`` is a loop inside the interpreter. It takes the iterator
``x.__await__()``, advances it, passes everything that it yields to the event loop, and passes back
what the event loop sends or throws, until ``StopIteration`` delivers the result. Here, a plain
``next(steps)`` advances the iterator for the first time. If that raises ``StopIteration``, the
exception contains the result, and the event loop was never involved. Otherwise, the iterator is
suspended and has yielded ``waits_for``, which must be passed to the event loop: ``resume`` yields
it, and then does what ``await`` would have done.

**The invariants.**

- ``waits_for`` reaches the event loop exactly once and unchanged, before anything else is awaited
  in that task.
- After an iterator has yielded a value, it is resumed only with the event loop's reply to that
  value, which is sent or thrown. The iterator can't be awaited again, because ``await`` would begin
  by sending None.
- The iterator is advanced in one task only, because cancel scopes and context variables belong to a
  task.
- Every exception that the event loop throws, even a ``BaseException``, is thrown into the
  awaitable, so that its ``finally`` runs.
- The timer or cancel scope of a time limit exists during a single ``yield``, because scopes must
  nest, and the awaitable may enter and exit scopes itself between two waits.
- After a time limit has cancelled one wait, the waits that follow have no limit, because the
  awaitable's clean-up may have to wait.
- No frame keeps an exception after raising it. The exception refers to its traceback, and the
  traceback to the frame, so keeping it would create a reference cycle.

**How event loops differ.** anyio's primitives are built on those of the loop, so an awaitable
yields different values on each loop.

- asyncio yields futures and resumes with None. It *throws* a cancellation into the task, at the
  ``yield``. A cancel scope would take longer than the rest of the wait, so a timer cancels the
  future, as ``Task.cancel`` does, but without a request to cancel the task. So a request that came
  at the same time is one from outside. The exception's argument, the sum of the deadline and the
  number of requests, shows whether the timer alone has caused it. Some awaitables yield None, to be
  resumed in the next turn of the loop, so the deadline is checked then.
- trio yields its own traps and resumes with an ``outcome`` that the awaitable unwraps. It *sends* a
  cancellation, inside an outcome, so nothing is raised at the ``yield``: ``brings_cancellation``
  checks what was sent. Its ``nursery.start`` does not support a scope around its wait, and some
  servers' ``send`` calls it, so use time limits under trio only for ``receive``.
- Some servers have their own awaitables: granian's futures have ``__next__`` but neither ``send``
  nor ``throw``.
"""

from __future__ import annotations

import types
from collections.abc import Awaitable, Generator
from contextvars import Context
from typing import Any, TypeAlias

import anyio

from micropie._core.execution import TASKS, LoopTasks
from micropie._core.execution.cancellation import GracefulScope
from micropie._core.on_demand import Value

# The iterator ``awaitable.__await__()``. Only the awaitable and the event loop know the meaning of
# the values that it yields and receives.
Steps: TypeAlias = Generator[object, object, Value]


@types.coroutine
def await_within(awaitable: Awaitable[Value], seconds: float | None) -> Steps[Value]:
    """Await ``awaitable``.

    Raises ``TimeoutError`` after ``seconds`` of waiting (None: no limit). If ``awaitable`` ends
    without waiting, no timer is created.
    """
    steps = awaitable.__await__()
    try:
        return (yield from resume(steps, next(steps), seconds))
    except StopIteration as end:
        value: Value = end.value
        return value


@types.coroutine
def resume(steps: Steps[Value], waits_for: object, seconds: float | None = None) -> Steps[Value]:
    """Await the rest of an awaitable that was started by ``next(steps)`` and has yielded
    ``waits_for``.

    After ``seconds`` of waiting (None: no limit), cancel the awaitable once and raise
    ``TimeoutError``.
    """
    deadline = None if seconds is None else (tasks := TASKS.get()).time() + seconds
    timeout: BaseException | None = None  # the cancellation that the deadline has caused
    raised: BaseException | None
    try:
        while True:
            sent: object = None
            raised = None
            try:
                if deadline is None or (waits_for is None and tasks.time() < deadline):
                    sent = yield waits_for
                elif tasks.is_trio:
                    with tasks.new_scope() as scope:
                        scope.deadline = deadline
                        sent = yield waits_for
                else:
                    yield from _cancelled_at(deadline, waits_for, tasks)
            except BaseException as error:
                raised = error
            if seconds is None and sent is None and raised is None:
                return (yield from steps)  # enough on asyncio, which only sends None
            if deadline is not None and (
                brings_cancellation(sent, scope)
                if tasks.is_trio
                else was_cancelled_at(deadline, raised, tasks)
            ):
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
        sent = raised = timeout = None


def _cancelled_at(deadline: float, waits_for: Any, tasks: LoopTasks) -> Steps[None]:
    """Pass ``waits_for`` to asyncio, and cancel it at the deadline. In place of None, wait for a
    future that is cancelled in the next turn.
    """
    waits_for = waits_for or next(tasks.new_future().__await__())
    timer = waits_for.get_loop().call_at(
        deadline,
        waits_for.cancel,
        deadline + tasks.current_task().cancelling(),
        context=Context(),
    )
    try:
        yield waits_for
    finally:
        timer.cancel()


def was_cancelled_at(deadline: float, raised: BaseException | None, tasks: LoopTasks) -> bool:
    """Return whether ``_cancelled_at`` alone has caused an exception."""
    requests = tasks.current_task().cancelling()
    return raised is not None and raised.args == (deadline + requests,)


def brings_cancellation(sent: object, scope: anyio.CancelScope | GracefulScope) -> bool:
    """Return whether ``scope`` was cancelled and ``sent`` is a cancellation in trio's form."""
    return scope.cancel_called and isinstance(
        getattr(sent, "error", None), anyio.get_cancelled_exc_class()
    )


def advance(steps: Steps[object], sent: object, raised: BaseException | None) -> object:
    """Advance ``steps`` once, as ``await`` does. Return the object that ``steps`` waits for
    next.
    """
    if raised is None and sent is None:
        return next(steps)
    try:
        if raised is None:
            return steps.send(sent)
        if not hasattr(steps, "throw"):
            raise raised
        return steps.throw(raised)
    finally:
        del sent, raised  # avoid a reference cycle between the exception and this frame
