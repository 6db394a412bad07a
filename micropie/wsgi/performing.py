"""The steps of a flow, performed in the server's thread; what is async goes to the process's event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from anyio import move_on_after, to_thread

from micropie.level import Level
from micropie.outcomes import outcome_of, released
from micropie.steps import AWAIT, BLOCK, IO, Flow, Limited, Step, TookTooLong
from micropie.wsgi.portal import await_in_portal

Value = TypeVar("Value")


class World(Protocol):
    """What steps need to be performed: a request, or what stands for one at start-up."""

    level: Level

    def receive_piece(self) -> tuple[bytes, bool]:
        """The next piece of the body and whether more may follow."""


def perform(flow: Flow[Value], world: World) -> Value:
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
                result = function(*arguments) if kind is BLOCK else perform_one(kind, function, arguments, world)
            except BaseException as error:
                resume, result = flow.throw, error
    finally:
        result = None  # an exception's traceback refers to this frame: without this it would be a cycle


def perform_one(kind: str | Limited, function: Callable[..., Any], arguments: Sequence[Any], world: World) -> Any:
    """Perform one step."""
    if kind is AWAIT:
        return await_in_portal(world.level.settings.portal_backend, function, arguments)
    if kind is IO or kind is BLOCK:
        return function(*arguments)
    if isinstance(kind, Limited):
        return await_in_portal(world.level.settings.portal_backend, _limited, (kind, function, arguments))
    return world.receive_piece()


async def _limited(kind: Limited, function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    # A ``def`` in a thread of the loop's: the server's own thread could not be left.
    with move_on_after(kind.seconds):
        if kind.kind is AWAIT:
            return await function(*arguments)
        return released(await to_thread.run_sync(outcome_of, function, arguments, abandon_on_cancel=True))
    raise TookTooLong
