"""``ThreadRun``: a worker thread goes on with a flow, so that the ``def`` parts of a request run in
one thread.

A flow needs its event loop only for some of its steps. Between two ``def`` parts, it is plain
synchronous code, as under WSGI. So the thread that has called a part doesn't return to the loop. It
resumes the flow itself, and calls the next part, until the flow yields another kind of step. Then
the parts share what libraries keep for each thread, and several parts take one change of threads.

At any time, either the thread or the task may resume the flow. The task may have to take it back
while the thread calls a part, because the request was cancelled. That is possible: during the call,
the flow is suspended at its ``yield``. From then on, the thread does no more than end its call.
"""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import Any

from micropie._core.execution.placement import AnyFunction
from micropie._core.execution.steps import ANSWER, AnyStep, Call, Flow, Resume, no_function
from micropie._core.http import Exchange


class ThreadRun:
    """The steps that one thread performs of ``flow``, which has yielded a call of ``function``."""

    __slots__ = ("_arguments", "_exchange", "_flow", "_function", "_is_stopped", "_lock")

    def __init__(
        self,
        flow: Flow[object],
        exchange: Exchange,
        function: AnyFunction,
        arguments: Sequence[object],
    ) -> None:
        self._flow, self._exchange = flow, exchange
        self._function, self._arguments = function, arguments
        self._lock = Lock()  # the thread holds it while it resumes the flow
        self._is_stopped = False

    def perform(self) -> AnyStep:
        """Call the function, then go on with the flow. Call this in the thread.

        Return the flow's first step that this thread can't perform. If the flow ends, return an
        ANSWER step with its value.

        Raises what the flow raises, and those exceptions of a part that are not an ``Exception``,
        which the task has to raise in the flow.
        """
        flow, function, arguments = self._flow, self._function, self._arguments
        resume: Resume = flow.send
        result: Any = None
        try:
            while True:
                try:
                    result = function(*arguments)
                    resume = flow.send
                except Exception as error:  # raised below, so that it is no ``__context__``
                    resume, result = flow.throw, error
                with self._lock:
                    if self._is_stopped:
                        return ANSWER, no_function, None  # nobody waits for it
                    self._exchange.note_begin()
                    try:
                        kind, function, arguments = step = resume(result)
                    except StopIteration as end:
                        return ANSWER, no_function, end.value
                # The thread can perform a call in the application's threads without a time limit.
                if (
                    not isinstance(kind, Call)
                    or kind.threads is not None
                    or kind.seconds is not None
                ):
                    return step
        finally:
            result = None  # avoid a reference cycle with this frame

    def stop(self) -> None:
        """Give the flow back to the task. If the thread is resuming it just now, wait until it has
        yielded.
        """
        with self._lock:
            self._is_stopped = True
