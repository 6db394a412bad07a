"""The current request with its type: ``from micropie import request``, and ``current_request()`` for the framework."""

from __future__ import annotations

from typing import Any, cast

from micropie.execution import current
from micropie.http.request import Request


def current_request() -> Request:
    """Return the request that this code answers. Raises ``LookupError`` where no request is being answered."""
    try:
        answered: Request = current.get()
    except LookupError:
        raise LookupError("there is no current request: this code does not run inside a handler or a hook") from None
    return answered


class _CurrentRequest:
    """A proxy of the current request."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(current_request(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(current_request(), name, value)

    def __repr__(self) -> str:
        return f"<current {current.get(None)!r}>"


bound_request = cast("Request", _CurrentRequest())
