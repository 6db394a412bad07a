"""The current request, for helpers, threads, generators and templates. The drivers set and reset it."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from micropie.execution.shutdown import ShutdownSignal, stream_shutdown

if TYPE_CHECKING:
    from micropie.http.request import Request

current: ContextVar[Request] = ContextVar("micropie.request")


def current_request() -> Request:
    """Return the request that this code answers. Raises ``LookupError`` where no request is being answered."""
    try:
        return current.get()
    except LookupError:
        raise LookupError("there is no current request: this code does not run inside a handler or a hook") from None


def current_shutdown() -> ShutdownSignal | None:
    """Return the signal that ends this code: of its event stream, or else of the application. None outside requests."""
    config = getattr(current.get(None), "config", None)
    return stream_shutdown.get(None) or (config.shutdown if config is not None else None)


class _CurrentRequest:
    """A proxy of the current request: ``from micropie import request``."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(current_request(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(current_request(), name, value)

    def __repr__(self) -> str:
        return f"<current {current.get(None)!r}>"


request = cast("Request", _CurrentRequest())
