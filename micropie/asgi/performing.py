"""The steps of a flow, performed on the event loop and in worker threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from anyio import move_on_after

from micropie.asgi.threads import IO_THREADS, in_thread
from micropie.level import Level
from micropie.steps import AWAIT, BLOCK, IO, Flow, Limited, Step, TookTooLong

Value = TypeVar("Value")


class World(Protocol):
    """What steps need to be performed: a request, or what stands for one at start-up."""

    level: Level

    async def receive_piece(self) -> tuple[bytes, bool]:
        """The next piece of the body and whether more may follow."""


async def perform(flow: Flow[Value], world: World) -> Value:
    """Perform a flow's steps until it returns.

    What a step raises is thrown into the flow outside of ``except``, or it would become the ``__context__`` of
    whatever the flow raises later.
    """
    resume: Callable[[Any], Step] = flow.send
    result: Any = None
    try:
        while True:
            try:
                kind, function, arguments = resume(result)
            except StopIteration as end:
                value: Value = end.value
                return value
            resume = flow.send
            try:
                result = await perform_one(kind, function, arguments, world)
            except BaseException as error:
                resume, result = flow.throw, error
    finally:
        result = None  # an exception's traceback refers to this frame: without this it would be a cycle


async def perform_one(kind: str | Limited, function: Callable[..., Any], arguments: Sequence[Any], world: World) -> Any:
    """Perform one step."""
    if kind is AWAIT:
        return await function(*arguments)
    if kind is BLOCK:
        return await in_thread(world.level.threads, function, *arguments)
    if kind is IO:
        return await in_thread(IO_THREADS, function, *arguments)
    if isinstance(kind, Limited):
        return await _limited(kind, function, arguments, world)
    return await world.receive_piece()


async def _limited(kind: Limited, function: Callable[..., Any], arguments: Sequence[Any], world: World) -> Any:
    with move_on_after(kind.seconds):
        if kind.kind is AWAIT:
            return await function(*arguments)
        return await in_thread(world.level.threads, function, *arguments, abandon_on_cancel=True)
    raise TookTooLong
