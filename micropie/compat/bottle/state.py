"""What the modules of this package share: the exchange that is going on, and the package's own
names.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from micropie.compat.core import Exchange, RaisedAnswer, current
from micropie.compat.environs import Environ, own_environ


class BottleException(RaisedAnswer):
    """The base class of this package's exceptions."""


def face() -> Any:
    """Return the package itself, for the names that programs set on it:
    ``bottle.TEMPLATE_PATH = ["pages"]``.
    """
    return sys.modules[__name__.rpartition(".")[0]]


class Outside(threading.local):
    """What ``request`` and ``response`` stand for where no request is answered.

    The thread that imports this package has both, for tests of handlers and filters of logs. Others
    have them after ``request.bind(environ)`` and ``response.bind()``.
    """

    environ: Environ
    response: Any


outside = Outside()


def current_exchange() -> Any:
    """Return the ``Exchange`` that this code is part of, None outside of handlers."""
    native = current.get(None)
    if native is None:
        return None
    exchange = getattr(native, "bottle_exchange", None)
    if exchange is None:
        begin = getattr(native.route, "begin_exchange", None)
        exchange = None if begin is None else begin(native)
    return exchange


def is_native() -> bool:
    """Return whether this code is part of a native handler, or of a hook around one."""
    return current.get(None) is not None and current_exchange() is None


def readable_environ(exchange: Exchange) -> Environ:
    """Return an environ of a request, whose path is decoded. ``exchange`` is micropie's."""
    environ = own_environ(exchange)
    environ["bottle.raw_path"] = path = environ.get("PATH_INFO", "")
    environ["PATH_INFO"] = path if path.isascii() else decoded(path)
    environ["micropie.exchange"] = exchange
    return environ


def decoded(latin1: str) -> str:
    """Return a path in UTF-8 whose bytes are given as latin-1.

    Bytes that are not UTF-8 become U+FFFD, as in what hooks see. Without them ``/adm%FFin`` would
    lead to ``/admin``.
    """
    return latin1 if latin1.isascii() else latin1.encode("latin-1").decode("utf-8", "replace")
