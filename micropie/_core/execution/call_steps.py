"""The steps of a call that may block, such as a command to Redis or a call in the process pool.

They are a generator, which yields what may block. So one function serves a thread, which performs
all steps, and an event loop, which performs those that only wait for a socket: to change threads
and back takes longer than most of these calls.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, ParamSpec, TypeAlias, TypeVar

Result = TypeVar("Result")
Step = TypeVar("Step")
Parameters = ParamSpec("Parameters")

# The generator yields functions without parameters, and gets the result of each, or its exception.
CallSteps: TypeAlias = Generator[Callable[[], object], Any, Result]


@dataclass(slots=True)
class Wait:
    """A step that waits for bytes from a socket, at most ``seconds``.

    - ``poll(seconds)`` waits in a thread, and returns the step's result. On an event loop, it is
      called with 0 when bytes have come or the time is over, and must not wait.
    - ``descriptor``: that of the socket.
    """

    poll: Callable[[float], object]
    descriptor: int
    seconds: float

    def __call__(self) -> object:
        return self.poll(self.seconds)


def step_after(
    steps: Generator[Step, object, object],
    step: object,
    perform: Callable[[Any], object] = operator.call,
) -> Step:
    """Perform ``step`` by ``perform(step)``, and return the next step of the generator.

    Raises ``StopIteration`` with the generator's result if there is no next step.
    """
    resume: Callable[..., Step] = steps.send
    result: object = None
    try:
        try:
            result = perform(step)
        except BaseException as error:
            resume, result = steps.throw, error
        return resume(result)
    finally:
        result = None  # avoid a reference cycle with this frame


def in_this_thread(
    steps: Generator[Step, object, Result],
    step: Step | None = None,
    perform: Callable[[Any], object] = operator.call,
) -> Result:
    """Perform the steps of a generator in this thread, and return its result.

    - ``step``: the step that was yielded last, if the generator has begun.
    - ``perform``: performs a step. By default, the steps are those of a call, which are functions.
    """
    try:
        step = step or steps.send(None)
        while True:
            step = step_after(steps, step, perform)
    except StopIteration as end:
        value: Result = end.value
        return value


STEPS: Final = "__micropie_steps__"  # the attribute that ``stepwise`` sets on a function


def stepwise(
    function: Callable[Parameters, CallSteps[Result]],
) -> Callable[Parameters, Result]:
    """Return a function that performs the steps of ``function`` in the current thread. ``function``
    itself is the value of its attribute ``STEPS``.
    """

    @wraps(function)
    def performed(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Result:
        return in_this_thread(function(*arguments, **keywords))

    setattr(performed, STEPS, function)
    return performed
