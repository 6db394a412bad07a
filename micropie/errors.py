"""The exceptions of micropie, and nothing else.

    Exception
    ├── HTTPError               an answer with a status and one sentence
    │   ├── BadRequest          400
    │   └── MethodNotAllowed    405, knows what is allowed
    ├── Redirect                an answer that sends the client elsewhere
    ├── ClientDisconnect        the client has gone; there is nobody to answer
    ├── ConnectionClosed        a WebSocket is closed, whoever closed it
    ├── SetupError              a mistake of the author, found when the application is built
    └── ResponseError           an answer that can't be sent as it is: a bad header, a late change

``HTTPError`` and ``Redirect`` may be raised anywhere in a handler, a hook or a helper. What the framework
refuses itself (a malformed query, a missing parameter) is an ``HTTPError`` as well, so one ``@app.error(400)``
sees both.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from http import HTTPStatus

PHRASES: dict[int, str] = {status.value: status.phrase for status in HTTPStatus}


class HTTPError(Exception):
    """Answer with ``status`` (400 to 599) and ``message``, one sentence for the client.

    ``headers`` are (name, value) pairs to send along, for example ``[("Retry-After", "5")]``.
    Without a message the status's standard phrase is sent. Raises ``ValueError`` for any other status.
    """

    def __init__(self, status: int, message: str = "", headers: Iterable[tuple[str, str]] = ()) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HTTPError takes a status from 400 to 599, not {status!r}; return (status, body)")
        super().__init__(status, message)
        self.status = status
        self.message = message or f"{status} {PHRASES.get(status, 'Error')}"
        self.headers = list(headers)

    def __reduce__(self) -> tuple[object, ...]:
        # Those derived from it take other arguments; and it may come out of another process.
        return _restored, (type(self), self.args), vars(self)


def _restored(kind: type[HTTPError], arguments: tuple[object, ...]) -> HTTPError:
    error = kind.__new__(kind)
    error.args = arguments
    return error


class BadRequest(HTTPError):
    """The client sent something malformed: 400 and one sentence that says what."""

    def __init__(self, message: str) -> None:
        super().__init__(400, message)


class MethodNotAllowed(HTTPError):
    """405 with the ``Allow`` header that RFC 9110, section 15.5.6, asks for."""

    def __init__(self, allowed: Iterable[str]) -> None:
        allow = ", ".join(sorted(allowed))
        super().__init__(405, f"This resource answers {allow} only.", [("Allow", allow)])


class Redirect(Exception):
    """Send the client to ``location`` with ``status``: 301, 302, 303 (the default), 307 or 308.

    Raise it or return it. 303 is the status that turns a form's POST into a GET (RFC 9110, section 15.4.4).

    A location on another host is refused (the client gets a 500, the log the reason) unless
    ``allow_external=True``: what comes out of ``?next=`` must not lead to somebody else's log-in page.
    """

    def __init__(self, location: str, status: int = 303, *, allow_external: bool = False) -> None:
        if status not in (301, 302, 303, 307, 308):
            raise ValueError(f"Redirect takes status 301, 302, 303, 307 or 308, not {status!r}")
        super().__init__(location, status)
        self.location = location
        self.status = status
        self.allow_external = allow_external


class ClientDisconnect(Exception):
    """The client left before its request was complete or its answer was sent."""


class ConnectionClosed(Exception):
    """A WebSocket is closed: by the client, by a lost connection, by the application, by one of its limits.

    ``code`` and ``reason`` are those of the close frame (RFC 6455, section 7.4). 1005: it had no code; 1006: there
    was none, the connection was lost. A handler may let it pass: to its end that is as good as returning.
    """

    def __init__(self, code: int = 1006, reason: str = "", message: str = "") -> None:
        super().__init__(message or f"the WebSocket is closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class SetupError(Exception):
    """The application can't be built as it is written; the message says what to write instead."""


class ResponseError(Exception):
    """The handler's answer can't be sent; the client gets a plain 500, the log gets this sentence."""


def check(argument: str, fine: bool, value: object, expected: str) -> None:
    """Raises ``SetupError`` unless ``fine``: ``RateLimit(per=...) takes seconds above 0, not -1``."""
    if not fine:
        raise SetupError(f"{argument} takes {expected}, not {value!r}")


def is_count(value: object, least: int) -> bool:
    """Whether ``value`` is a whole number, ``least`` or more; True is none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_duration(value: object) -> bool:
    """Whether ``value`` is a number of seconds above 0 that has an end; True is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
