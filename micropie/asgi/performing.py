"""The steps of a flow, performed on the event loop and in worker threads."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from micropie.asgi.threads import in_thread
from micropie.level import Level
from micropie.steps import AWAIT, BLOCK, Flow, Step

Value = TypeVar("Value")


async def perform(flow: Flow[Value], level: Level, receive_piece: Callable[[], Awaitable[bytes]]) -> Value:
    """Perform a flow's steps until it returns.

    What a step raises is thrown into the flow outside of ``except``, or it would become the ``__context__`` of
    whatever the flow raises later.
    """
    resume: Callable[[Any], Step] = flow.send
    value: Any = None
    try:
        while True:
            try:
                kind, function, args, kwargs = resume(value)
            except StopIteration as end:
                result: Value = end.value
                return result
            resume = flow.send
            try:
                if kind is AWAIT:
                    value = await function(*args, **kwargs)
                elif kind is BLOCK:
                    value = await in_thread(level, partial(function, *args, **kwargs))
                else:
                    value = await receive_piece()
            except BaseException as error:
                resume, value = flow.throw, error
    finally:
        value = None  # an exception's traceback refers to this frame: without this it would be a cycle
