"""State shared by this package's modules: the current request's ``Exchange``, and names that
programs set on the package.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Final

from micropie_compat.core import Exchange, RaisedAnswer, current
from micropie_compat.environs import Environ, own_environ

MOUNTED: Final = "micropie.bottle.mounted"
"""A key of the environ with which a ``Bottle`` calls a WSGI application that is mounted on it."""

EXCHANGE: Final = "micropie.exchange"
"""The key of micropie's exchange. ``readable_environ`` adds it last, so a program's own keys come
after it.
"""


class BottleException(RaisedAnswer):
    """The base class of this package's exceptions."""


def face() -> Any:
    """Return the package ``bottle`` itself. Use it to read names that programs may set on it:
    ``bottle.TEMPLATE_PATH = ["pages"]``.
    """
    return sys.modules[__name__.rpartition(".")[0]]


class Outside(threading.local):
    """The environ and the response that ``request`` and ``response`` use outside of requests. Each
    thread has its own environ and response.

    Both are set in the thread that imports this package, because log filters and tests that call a
    handler use them. In other threads ``request.bind(environ)`` and ``response.bind()`` set them.
    """

    environ: Environ
    response: Any


outside = Outside()


def current_exchange() -> Any:
    """Return the current request's ``Exchange``, or None outside of a Bottle handler."""
    native = current.get(None)
    if native is None:
        return None
    exchange = getattr(native, "bottle_exchange", None)
    if exchange is None:
        begin = getattr(native.route, "begin_exchange", None)
        exchange = None if begin is None else begin(native)
    return exchange


def is_native() -> bool:
    """Return whether a native handler or a native hook is running."""
    return current.get(None) is not None and current_exchange() is None


def readable_environ(exchange: Exchange) -> Environ:
    """Return the WSGI environ of micropie's ``exchange``, with the path decoded."""
    environ = own_environ(exchange)
    environ["bottle.raw_path"] = path = environ.get("PATH_INFO", "")
    environ["PATH_INFO"] = path if path.isascii() else decoded(path)
    environ[EXCHANGE] = exchange
    return environ


def decoded(latin1: str) -> str:
    """Decode a path from UTF-8. Bytes that are not UTF-8 become U+FFFD. If they were dropped,
    ``/adm%FFin`` would match ``/admin``.

    ``latin1``: the path's bytes, decoded as latin-1.
    """
    return latin1 if latin1.isascii() else latin1.encode("latin-1").decode("utf-8", "replace")
