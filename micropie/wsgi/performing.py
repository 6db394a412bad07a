"""The steps of a flow, performed in the server's thread; what is async goes to the process's event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from micropie.level import Level
from micropie.steps import AWAIT, BLOCK, Flow, Step
from micropie.wsgi.portal import await_in_portal

Value = TypeVar("Value")


def perform(flow: Flow[Value], level: Level, receive_piece: Callable[[], tuple[bytes, bool]]) -> Value:
    """Perform a flow's steps until it returns. See ``asgi/performing.py`` for why errors are thrown where they are."""
    resume: Callable[[Any], Step] = flow.send
    value: Any = None
    try:
        while True:
            try:
                kind, function, arguments = resume(value)
            except StopIteration as end:
                result: Value = end.value
                return result
            resume = flow.send
            try:
                if kind is BLOCK:
                    value = function(*arguments)
                elif kind is AWAIT:
                    value = await_in_portal(level.settings.portal_backend, function, arguments)
                else:
                    value = receive_piece()
            except BaseException as error:
                resume, value = flow.throw, error
    finally:
        value = None
