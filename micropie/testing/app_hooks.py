"""What the client asks of an ``App`` beside requests. Any other application lacks it, which is said in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from micropie.testing.errors import ClientError


class Override:
    """A provider of the application that is overridden, until ``with`` is left or the client is closed."""

    def __init__(self, undo: Callable[[], object], until: ExitStack) -> None:
        self._stack = until.enter_context(ExitStack())
        self._stack.callback(undo)

    def __enter__(self) -> None:
        """Nothing is left to do: it is overridden already."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()


def hook_of(app: object, name: str) -> Callable[..., Any]:
    """Return a method of the application. Raises ``ClientError`` if it has none, because it is no ``App``."""
    method: Callable[..., Any] | None = getattr(app, f"_micropie_{name}", None)
    if method is None:
        raise ClientError(f"this takes a micropie.App, with nothing around it: the client was given {app!r}")
    return method
