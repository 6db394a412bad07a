"""An author's generators, ``def`` or ``async def``, advanced by steps: middleware with ``yield``, and providers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Generator
from itertools import count
from types import AsyncGeneratorType
from typing import Any

from micropie.execution.steps import AWAIT, CALL, INLINE, Flow, Kind, Step

_NUMBERS = count()


class RunningGenerator:
    """One generator, for one request. ``kind`` is how a plain one runs; an async one is awaited.

    ``owner``: the hook that has begun it, or its provider. ``number``: higher than that of each one made before it.
    """

    __slots__ = ("_generator", "_kind", "number", "owner")

    def __init__(self, generator: Any, kind: Kind, owner: Any = None) -> None:
        self.owner = owner
        self.number = next(_NUMBERS)
        self._generator = generator
        self._kind: Kind = AWAIT if isinstance(generator, AsyncGeneratorType) else kind

    @property
    def is_async(self) -> bool:
        """Whether it may have a scope of its own open."""
        return self._kind is AWAIT

    @property
    def has_ended(self) -> bool:
        """Whether it has run to its end."""
        frame = self._generator.ag_frame if self._kind is AWAIT else self._generator.gi_frame
        return frame is None

    def go_on(self, value: object, failure: Exception | None = None) -> Flow[object]:
        """Run to the next ``yield``, or to the end. Return the value that is yielded or returned, or None.

        The ``yield`` where it waits gives ``value``, or raises ``failure``.
        """
        # ``_resume`` and ``_athrow`` empty the list: a driver's frame keeps its last step, and the failure's traceback
        # refers to that frame.
        failures = [] if failure is None else [failure]
        if self._kind is AWAIT:
            try:
                if failures:
                    return (yield (AWAIT, _athrow, (self._generator, failures)))
                return (yield (AWAIT, self._generator.asend, (value,)))
            except StopAsyncIteration:
                return None
        if self._kind is INLINE:
            return _resume(self._generator, value, failures)
        return (yield (CALL, _resume, (self._generator, value, failures)))

    def finish(self, value: object, failure: Exception | None) -> Flow[object]:
        """Run from the first ``yield`` to the end. Return the first value that is yielded or returned, or None."""
        result = yield from self.go_on(value, failure)
        step = self.close_step()
        if step is not None:
            yield step
        return result

    def close_step(self) -> Step | None:
        """Return the step that closes the generator, or None if it has run to its end."""
        if self.has_ended:
            return None
        if self._kind is AWAIT:
            return AWAIT, self._generator.aclose, ()
        return CALL, self._generator.close, ()


def _resume(generator: Generator[object, object, object], value: object, failures: list[Exception]) -> object:
    try:
        return generator.throw(failures.pop()) if failures else generator.send(value)
    except StopIteration as end:  # it can't be raised through a thread
        return end.value


def _athrow(generator: AsyncGenerator[object, object], failures: list[Exception]) -> Awaitable[object]:
    return generator.athrow(failures.pop())
