"""Open and save a request's session: the flow's side of a session backend."""

from __future__ import annotations

import inspect
import logging
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn
from urllib.parse import quote

from micropie.errors import HTTPError
from micropie.execution.steps import AWAIT, IO, Flow, call
from micropie.http.cookies import find_cookie, format_cookie
from micropie.sessions.backend import SessionBackend
from micropie.sessions.session import Changes, Session, copied

logger = logging.getLogger("micropie")

COOKIE = "session_id"

# The most characters of an id that a backend is asked for. Those made here have 43.
_LONGEST_ID = 256


class SessionStore:
    """A backend with its settings.

    ``opens_ahead``: the backend may wait, so the flow opens the session before the handler. ``timeout`` is in seconds.
    ``prefix`` is the path of the application that has this backend: browsers send the cookie only below it. ``secure``:
    whether the cookie is Secure; None for: if the request's scheme is https.
    """

    def __init__(
        self,
        backend: SessionBackend,
        timeout: int,
        *,
        id_factory: Callable[[], str] | None = None,
        id_validator: Callable[[str], bool] | None = None,
        secure: bool | None = None,
        prefix: str = "",
    ) -> None:
        self.backend = backend
        self.prefix = prefix
        self._timeout = timeout
        self._make_id = id_factory or partial(secrets.token_urlsafe, 32)
        self.in_cookie = getattr(backend, "in_cookie", False)
        self._secure = secure
        self._blocking = getattr(backend, "blocking", True)
        self._merge = _own(backend, "merge")
        shared = _own(backend, "load_shared")
        self._load_shared: Callable[[str], dict[str, object]] = shared or self._load_copy
        # None if any text may be looked up: such a backend uses it neither as a file's name nor as a key that another
        # program may have.
        self._is_id = id_validator or (None if self.in_cookie or shared else _is_id)
        self.opens_ahead = self._blocking or inspect.iscoroutinefunction(backend.load)

    def find_id(self, cookie_header: str) -> str | None:
        """Return the session id in a Cookie header, or None."""
        return find_cookie(cookie_header, COOKIE)

    def open_now(self, session_id: str | None) -> Session:
        """Return the session of a backend that never waits; a new one if there is no id or it is unknown."""
        is_id = self._is_id
        if not session_id or self.opens_ahead or (is_id is not None and not is_id(session_id)):
            return Session()
        try:
            data = self._load_shared(session_id)
            return Session(session_id, data) if data else Session()
        except OSError as error:
            self._log(error)
        _unavailable()

    def _load_copy(self, session_id: str) -> dict[str, object]:
        # A copy: an author's backend may return a dict that it changes later, at another request's save.
        data: dict[str, object] = copied(self.backend.load(session_id) or {})
        return data

    def open(self, session_id: str) -> Flow[Session]:
        """Return the session of any backend; a new one if the id is unknown."""
        if self._is_id is not None and not self._is_id(session_id):
            return Session()
        data = yield from self._ask(self.backend.load, session_id)
        # An id that was not issued here is never adopted: an attacker who planted it would know the session's id.
        return Session(session_id, copied(data)) if data else Session()

    def close(self, session: Session, scheme: str, root_path: str) -> Flow[str | None]:
        """Save a session that has changed. Return the Set-Cookie value to send, or None."""
        value: str | None = ""
        if not self.in_cookie:
            value = yield from self._save(session)
        elif session:
            value = yield from self._ask(self.backend.save, "", dict(session), self._timeout)
        return None if value is None else self.cookie(value, scheme, root_path)

    def cookie(self, value: str, scheme: str, root_path: str) -> str:
        """Return the Set-Cookie value that gives a browser this session's id, or with "" deletes its cookie."""
        return format_cookie(
            COOKIE,
            value,
            max_age=self._timeout if value else 0,
            path=quote(root_path + self.prefix) if root_path or self.prefix else "/",
            secure=scheme == "https" if self._secure is None else self._secure,
            httponly=True,
        )

    def _save(self, session: Session) -> Flow[str | None]:
        """Return the id for the cookie, "" if the session was deleted, None if the browser's cookie must stay."""
        if session.id is None:
            session.id = self._make_id()
            yield from self._ask(self.backend.save, session.id, dict(session), self._timeout)
            return session.id
        changes = session.changes()
        changes.new_id = self._make_id() if session.regenerated else None
        if self._merge is not None:
            data = yield from self._ask(self._merge, session.id, changes, self._timeout)
        else:
            data = yield from self._load_and_save(session.id, changes)
        if changes.emptied:
            return ""
        if not data:
            # Another request ended the session meanwhile, by a log-out or with a new id. It stays ended, and the
            # browser has the other request's cookie.
            logger.info("a session was ended during a request: the request's changes to it are discarded")
            return None
        session.id = changes.new_id or session.id
        return session.id

    def _load_and_save(self, session_id: str, changes: Changes) -> Flow[dict[str, object]]:
        """Merge changes in a backend without ``merge``. Only a change that is stored at the same moment is lost."""
        stored = {} if changes.emptied else (yield from self._ask(self.backend.load, session_id))
        data = changes.apply(stored) if stored else {}
        if data:
            yield from self._ask(self.backend.save, changes.new_id or session_id, data, self._timeout)
        if changes.new_id or not data:
            yield from self._ask(self.backend.save, session_id, {}, self._timeout)
        return data

    def _ask(self, method: Callable[..., object], *arguments: object) -> Flow[Any]:
        """Call a backend's method. Raises 503 if the backend can't reach its data."""
        try:
            if inspect.iscoroutinefunction(method):
                return (yield from call(AWAIT, method, *arguments))
            if self._blocking:
                return (yield from call(IO, method, *arguments))
            return method(*arguments)
        except OSError as error:
            self._log(error)
        _unavailable()

    def _log(self, error: OSError) -> None:
        logger.error("the session backend %s is out of reach", type(self.backend).__name__, exc_info=error)


def _unavailable() -> NoReturn:
    raise HTTPError(503, "Sessions are out of reach at the moment. Please try again.")


def _is_id(value: str) -> bool:
    return len(value) <= _LONGEST_ID and value.isascii() and value.isprintable()


_METHODS = frozenset({"load", "save", "merge", "load_shared"})


def _own(backend: object, name: str) -> Callable[..., Any] | None:
    """Return a backend's ``merge`` or ``load_shared`` if it belongs to its ``load`` and ``save``, else None.

    A class that overrides one of the four and inherits the others expects that its own methods are called.
    """
    nearest = next((vars(cls).keys() for cls in type(backend).__mro__ if not _METHODS.isdisjoint(vars(cls))), ())
    return getattr(backend, name) if name in nearest else None
