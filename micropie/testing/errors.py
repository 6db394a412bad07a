"""The exceptions of the test client itself.

Every other exception that a test sees comes from the application.

ClientError                 the base class of the exceptions raised in tests
    AppTimeout              the application took longer than ``app_timeout``
    ProtocolViolation       the application broke ASGI or WSGI (raised in the application, at its own line)
    LifespanFailed          startup or shutdown failed; ``__cause__`` is the application's exception
    WebSocketRefused        the application did not accept the WebSocket's handshake
    WebSocketClosed         the application closed the WebSocket
ClientDisconnected          raised only in the application, if it reads or writes after the client has disconnected
"""  # noqa: E501

from __future__ import annotations


class ClientError(Exception):
    """The base class of the exceptions that the client raises in a test."""


class AppTimeout(ClientError, TimeoutError):
    """Raised if the application took longer than the client's ``app_timeout``."""


class ProtocolViolation(ClientError, RuntimeError):
    """Raised if the application sends a message that its protocol doesn't allow at this point, or
    ends without a response.
    """


class LifespanFailed(ClientError):
    """Raised if the application's startup or shutdown failed."""


class WebSocketRefused(ClientError):
    """Raised if the application did not accept a WebSocket's handshake.

    - ``status``, ``headers``, ``body``: the denial response or, without one, the plain 403 that
      servers send.
    - ``code``, ``reason``: from the message ``websocket.close``.
    """

    def __init__(
        self,
        status: int = 403,
        *,
        code: int = 1000,
        reason: str = "",
        headers: list[tuple[bytes, bytes]] | None = None,
    ) -> None:
        super().__init__(
            f"the WebSocket was refused with status {status} (close code {code}, reason {reason!r})"
        )
        self.status = status
        self.code = code
        self.reason = reason
        self.headers = headers or []
        self.body = b""

    def __str__(self) -> str:
        if not self.body:
            return super().__str__()
        text = self.body.decode(errors="replace")[:200]
        return f"the WebSocket was refused with status {self.status}: {text}"


class WebSocketClosed(ClientError):
    """Raised if the application has closed the WebSocket. The exception has the ``code`` and the
    ``reason``.

    The code is 1011 if the application raised an exception, 1006 if it ended without closing the
    WebSocket.
    """

    def __init__(self, code: int = 1000, reason: str = "") -> None:
        super().__init__(f"the WebSocket was closed with code {code}, reason {reason!r}")
        self.code = code
        self.reason = reason


class ClientDisconnected(OSError):
    """Raised in the application if the client has disconnected.

    It is an OSError because ASGI 2.4 requires that, and because under WSGI a socket would raise
    one.
    """


def is_only_disconnect(error: BaseException) -> bool:
    """Return whether ``error`` is a ``ClientDisconnected`` or an exception group that contains only
    those.
    """
    return BaseExceptionGroup("", [error]).split(ClientDisconnected)[1] is None
