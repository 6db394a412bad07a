"""Middleware written as a generator function, ``def`` or ``async def``, that wraps the handler:

    def timed(request):
        begun = perf_counter()
        response = yield                          # the handler, and the middleware inside this one
        response.headers["Server-Timing"] = f"app;dur={(perf_counter() - begun) * 1000:.1f}"

    app.middlewares.append(timed)

``yield`` gives the ``Response``, also of an error and of an earlier hook, so the code after it always runs. A yielded
value is an answer: ``yield 401, "no"`` before the handler answers in its place, ``yield "other"`` after it replaces its
answer. In a ``def``, ``return`` does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from micropie.errors import ResponseError
from micropie.execution.steps import AWAIT, BLOCK, CallKind, Flow, Step, call, kind_of
from micropie.http.response import Response
from micropie.http.streams import has_ended

if TYPE_CHECKING:
    from micropie.http.request import Request


class GeneratorMiddleware:
    """One call of such a function, for one request."""

    __slots__ = ("_generator", "_kind")

    def __init__(self, function: Callable[..., object], request: Request) -> None:
        self._generator: Any = function(request)  # a generator of either kind
        if isinstance(self._generator, AsyncGeneratorType):
            self._kind: CallKind = AWAIT
        elif isinstance(self._generator, GeneratorType):
            self._kind = kind_of(function)
        else:
            name = getattr(function, "__name__", repr(function))
            raise ResponseError(
                f"{name} in middlewares is no middleware: an object with before_request or after_request, or a "
                "generator function, def or async def, with one yield in it"
            )

    def begin(self) -> Flow[Any]:
        """Run to the first ``yield``. Return the yielded answer, or None to continue."""
        return self._go_on(None)

    def finish(self, response: Response) -> Flow[Any]:
        """Run from there to the end. Return the answer that replaces ``response``, or None."""
        if has_ended(self._generator):
            return None
        answer = yield from self._go_on(response)
        step = self.close_step()
        if step is not None:
            yield step
        return answer

    def _go_on(self, value: Response | None) -> Flow[Any]:
        if self._kind is AWAIT:
            try:
                return (yield (AWAIT, self._generator.asend, (value,)))
            except StopAsyncIteration:
                return None
        return (yield from call(self._kind, _send, self._generator, value))

    def close_step(self) -> Step | None:
        """Return the step that closes the generator, or None if it has run to its end."""
        if has_ended(self._generator):
            return None
        if self._kind is AWAIT:
            return AWAIT, self._generator.aclose, ()
        return BLOCK, self._generator.close, ()


def _send(generator: Generator[object, Response | None, object], value: Response | None) -> object:
    try:
        return generator.send(value)
    except StopIteration as end:  # it can't be raised through a thread
        return end.value
