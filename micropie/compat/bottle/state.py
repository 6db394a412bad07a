"""What the modules of this package share: the exchange that is going on, and whether debugging is on."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from micropie.execution import current
from micropie.http import Environ


class BottleException(Exception):
    """The base class of this package's exceptions."""


class Switches:
    """``debug(True)`` sets ``debug``; ``norun`` makes ``run`` return at once."""

    debug = False
    norun = False


# For ``request.bind(environ)`` and ``response.bind()``, which tests of handlers call without an application.
bound_request: ContextVar[Environ] = ContextVar("micropie.compat.bottle.request")
bound_response: ContextVar[Any] = ContextVar("micropie.compat.bottle.response")


def current_exchange() -> Any:
    """Return the ``Exchange`` that this code is part of, None outside of handlers."""
    native = current.get(None)
    if native is None:
        return None
    exchange = native.__dict__.get("_bottle")
    if exchange is None:
        begin = getattr(native.route, "begin_exchange", None)
        exchange = None if begin is None else begin(native)
    return exchange
