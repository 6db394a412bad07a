"""Mount an application through a bridge from another package, which converts between the protocols:
``mount(..., bridge=a2wsgi.WSGIMiddleware)``.

The bridge wraps the mounted application in an application of the other protocol. It may start
threads or an event loop, which would not survive a fork. So the bridge is called only at the first
request, in the process that handles it.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from threading import Lock
from typing import Any

from micropie._core.errors import SetupError, signature_of, websockets_need_asgi
from micropie._core.execution import notify_after_fork
from micropie._core.execution.placement import AnyFunction
from micropie._core.http.protocols import Environ, Receive, Scope, Send
from micropie._core.mounts.prefixes import ASGI, WSGI, Mount, kind_of_target

_EXAMPLES = {WSGI: "a2wsgi.WSGIMiddleware", ASGI: "a2wsgi.ASGIMiddleware"}


def bridged_mount(mount: Mount, bridge: AnyFunction) -> Mount:
    """Return a mount for the application that ``bridge`` makes from the application of ``mount``.
    The new application has the other protocol.

    Raises ``SetupError`` if ``bridge`` can't be called with one application.
    """
    takes_one = callable(bridge) and not inspect.iscoroutinefunction(bridge)
    if takes_one:
        # A function written in C may have no signature.
        with suppress(ValueError):
            try:
                signature_of(bridge).bind(mount.target)
            except TypeError:
                takes_one = False
    if not takes_one:
        raise SetupError(
            "bridge takes a class, or a function whose only argument is the application: write "
            f"bridge={_EXAMPLES[mount.kind]} without parentheses, not {bridge!r}"
        )
    bridged = _Bridged(mount, bridge)
    target, kind = (bridged.asgi, ASGI) if mount.kind == WSGI else (bridged.wsgi, WSGI)
    return Mount(mount.prefix, target, kind, isolated=False, strip=mount.strip)


class _Bridged:
    """The application that a bridge makes. It is made once in each process."""

    def __init__(self, mount: Mount, bridge: AnyFunction) -> None:
        self._mount, self._bridge = mount, bridge
        self.after_fork()
        notify_after_fork(self)

    def after_fork(self) -> None:
        """Drop the bridge's application, because the threads that it has started don't exist in a
        forked child.
        """
        self._application: AnyFunction | None = None
        self._lock = Lock()

    def asgi(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Call the bridge's ASGI application."""
        called: Awaitable[None] = self._made(ASGI)(scope, receive, send)
        return called

    def wsgi(self, environ: Environ, start_response: AnyFunction) -> Iterable[bytes]:
        """Call the bridge's WSGI application.

        Raises a 426 for a WebSocket handshake, because the application would mistake it for an
        ordinary GET.
        """
        if "websocket" in environ.get("HTTP_UPGRADE", "").lower():
            raise websockets_need_asgi()
        chunks: Iterable[bytes] = self._made(WSGI)(environ, start_response)
        return chunks

    def _made(self, kind: str) -> Callable[..., Any]:
        """Return the bridge's application. Raises ``SetupError`` if its protocol isn't ``kind``."""
        with self._lock:  # under WSGI, several threads may be the first to call this
            if self._application is None:
                application: Any = self._bridge(self._mount.target)
                # If the protocol of a callable can't be detected, assume the one that is needed.
                found = kind if callable(application) and not isinstance(application, type) else ""
                with suppress(SetupError):
                    found = kind_of_target(application, None)
                if found != kind:
                    raise SetupError(
                        f"bridge={self._bridge!r} must convert the {self._mount.kind.upper()} "
                        f"application to {kind.upper()}, but returned {application!r}: write "
                        f"bridge={_EXAMPLES[self._mount.kind]}, for example"
                    )
                self._application = application
            return self._application
