"""Sessions opened and saved for a request: the flow's side of a session backend."""

from __future__ import annotations

import inspect
import secrets
from typing import Any

from micropie.cookies import format_cookie
from micropie.sessions.backend import SessionBackend
from micropie.sessions.session import Session
from micropie.steps import AWAIT, BLOCK, Flow, call

COOKIE = "session_id"


class SessionStore:
    """A backend with its settings. ``opens_ahead``: it may have to wait, so the flow opens before the handler."""

    def __init__(self, backend: SessionBackend, timeout: int) -> None:
        self._backend = backend
        self._timeout = timeout
        self.opens_ahead = backend.blocking or inspect.iscoroutinefunction(backend.load)

    def open_now(self, session_id: str | None) -> Session:
        """The session of a backend that never waits; a new one if there is no id or it is not known."""
        data = self._backend.load(session_id) if session_id and not self.opens_ahead else None
        return Session(session_id, data) if data else Session()

    def open(self, session_id: str) -> Flow[Session]:
        """The session of any backend."""
        data = yield from self._ask(self._backend.load, session_id)
        # An id that was not issued here is never adopted: whoever planted it would know the session's id.
        return Session(session_id, data) if data else Session()

    def close(self, session: Session, secure: bool) -> Flow[str]:
        """Save a session that has changed; the Set-Cookie value to send."""
        if session.id is None:
            session.id = secrets.token_urlsafe(32)
        yield from self._ask(self._backend.save, session.id, dict(session), self._timeout)
        if not session:
            return format_cookie(COOKIE, "", max_age=0, secure=secure, httponly=True)
        return format_cookie(COOKIE, session.id, max_age=self._timeout, secure=secure, httponly=True)

    def _ask(self, method: Any, *arguments: Any) -> Flow[Any]:
        if inspect.iscoroutinefunction(method):
            return (yield from call(AWAIT, method, *arguments))
        if self._backend.blocking:
            return (yield from call(BLOCK, method, *arguments))
        return method(*arguments)
