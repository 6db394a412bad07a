"""``cherrypy.serving`` and the proxies ``request``, ``response``, ``session`` and ``thread_data``.

Tools read ``serving.request`` and ``serving.response``, and set ``serving.session``. These objects
belong to a request rather than to a thread: a request with a streamed response or an ``async def``
handler runs in several threads in turn. A lock may then be released in another thread, so use
``threading.Lock`` instead of ``RLock``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from operator import contains, delitem, getitem, setitem
from typing import Any, ClassVar

from micropie_compat.core import current


class Exchange:
    """A request and its response. Tools may add attributes, such as ``session``."""

    def __init__(self, request: Any, response: Any) -> None:
        self.request = request
        self.response = response

    def __getattr__(self, name: str) -> Any:
        """In a native handler, return the session, because the tool ``sessions`` sets the attribute
        ``session`` only for CherryPy handlers.

        Raises ``AttributeError`` for any other name.
        """
        native = current.get(None)
        if name != "session" or native is None or "_cherrypy" in vars(native):
            raise AttributeError(f"no tool has set cherrypy.serving.{name}")
        if native._exchange.config.tree[0].app.session_backend is None:
            raise AttributeError(
                "native handlers can use cherrypy.session only if they share a backend with "
                "CherryPy's handlers: set tools.sessions.backend and native.session_backend to "
                "the same object"
            )
        return native.session


class Outside(threading.local):
    """The objects that the proxies refer to outside of requests. Each thread has its own default
    objects, created when needed.
    """

    exchange: Exchange | None = None
    make: ClassVar[Callable[[], Exchange]]
    """A function that creates the default objects. It is set by ``messages.py``."""


_outside = Outside()


def current_exchange() -> Exchange:
    """Return the current request's ``Exchange``. Outside of requests, return one with default
    objects.
    """
    native = current.get(None)
    if native is not None:
        exchange: Exchange | None = native.__dict__.get("_cherrypy")
        if exchange is not None:
            return exchange
    if _outside.exchange is None:
        _outside.exchange = Outside.make()
    return _outside.exchange


class _Serving:
    """``cherrypy.serving``: the attributes of the current exchange."""

    __slots__ = ()

    @property
    def request(self) -> Any:
        """The current request."""
        # This repeats the code of ``current_exchange``, because a call would double the time, and
        # tools read this attribute several times in each request.
        try:
            return current.get().__dict__["_cherrypy"].request
        except LookupError:
            return current_exchange().request

    @property
    def response(self) -> Any:
        """The response to the current request."""
        try:
            return current.get().__dict__["_cherrypy"].response
        except LookupError:
            return current_exchange().response

    def __getattr__(self, name: str) -> Any:
        return getattr(current_exchange(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(current_exchange(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(current_exchange(), name)

    def load(self, request: object, response: object) -> None:
        """Set the current request and response."""
        exchange = current_exchange()
        exchange.request, exchange.response = request, response

    def clear(self) -> None:
        """Remove this thread's default request and response. New ones are created when they are
        needed. During a request, this has no effect.
        """
        _outside.exchange = None


def _target(proxy: Proxy) -> Any:
    """Return the object that a proxy refers to.

    Raises ``RuntimeError`` for the request or the response in a native handler, because the handler
    would get default objects and its changes to them would be lost.
    """
    name, native = proxy.__attrname__, current.get(None)
    exchange = None if native is None else native.__dict__.get("_cherrypy")
    if exchange is not None:
        return getattr(exchange, name)
    if name in ("request", "response"):
        refuse_in_native(name)
    return getattr(current_exchange(), name)


def refuse_in_native(name: str) -> None:
    """Raise ``RuntimeError`` for the request or the response in a native handler."""
    native = current.get(None)
    if native is not None and "_cherrypy" not in native.__dict__:
        raise RuntimeError(
            f"cherrypy.{name} is only for CherryPy's handlers and the functions that they call. "
            "Elsewhere in a request, use micropie.request (.method, .headers, .query) and "
            "micropie.request.response (.headers[...], .status, .set_cookie(...))"
        )


def _of_target(function: Any) -> Callable[..., Any]:
    """Return a method of ``Proxy`` that calls ``function`` with the object it refers to."""
    return lambda proxy, *arguments: function(_target(proxy), *arguments)


class Proxy:
    """A proxy for ``request``, ``response`` or ``session`` of the current exchange.

    In native handlers only ``session`` works. ``serving.request`` and ``serving.response`` are
    default objects there, because native handlers may call functions of this package that read
    them. Only the default request's ``remote`` raises an error, too.
    """

    __slots__ = ("__attrname__",)

    def __init__(self, name: str) -> None:
        object.__setattr__(self, "__attrname__", name)

    def __getattr__(self, name: str) -> Any:
        return getattr(_target(self), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(_target(self), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(_target(self), name)

    __getitem__, __setitem__, __delitem__ = map(_of_target, (getitem, setitem, delitem))
    __contains__, __iter__, __len__ = map(_of_target, (contains, iter, len))
    __bool__, __dir__ = _of_target(bool), _of_target(dir)


class ThreadData(threading.local):
    """``cherrypy.thread_data``: an object with separate attributes for each thread."""


serving = _Serving()
request = Proxy("request")
response = Proxy("response")
session = Proxy("session")
thread_data = ThreadData()
