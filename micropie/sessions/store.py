"""Open and save a request's session: the flow's side of a session backend."""

from __future__ import annotations

import inspect
import logging
import re
import secrets
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NoReturn
from urllib.parse import quote

from micropie.errors import HTTPError
from micropie.execution import AWAIT, IO, Flow, call
from micropie.http import MAX_COOKIE, Changes, Exchange, Session, copied, format_cookie, parse_cookies, without_prefix
from micropie.sessions.backend import SessionBackend

logger = logging.getLogger("micropie")

# Seconds until a backend that is still out of reach is in the log again: each request of that time fails by it.
_REPORT_EVERY = 60.0
# The same after it has answered in between, as one does whose connections fail now and then.
_REPORT_AGAIN = 5.0
_RETRY_AFTER = [("Retry-After", "5")]  # seconds, as for messages that are out of reach

# The ids that are made here: 256 bits. Those of an author's factory are at most 256 printable ASCII characters.
_OWN_ID = re.compile("[A-Za-z0-9_-]{43}")
_ANY_ID = re.compile("[ -~]{1,256}")
_IN_COOKIE = re.compile(f"[ -~]{{1,{MAX_COOKIE}}}")


class SessionStore:
    """A backend with its settings.

    ``opens_ahead``: the backend may wait, so the flow opens the session before the handler. ``timeout`` is in seconds.
    ``prefix`` is the path of the application that has this backend: browsers send the cookie only below it. ``cookie``
    is its name, ``samesite`` its attribute of that name. ``secure``: whether it is Secure; None for: if the request's
    scheme is https. ``saves_on_error``: whether a session is also saved with an answer of status 500 to 599.
    """

    def __init__(
        self,
        backend: SessionBackend,
        timeout: int,
        *,
        id_factory: Callable[[], str] | None = None,
        id_validator: Callable[[str], bool] | None = None,
        cookie: str = "session_id",
        samesite: str = "Lax",
        secure: bool | None = None,
        saves_on_error: bool = False,
        prefix: str = "",
    ) -> None:
        self.backend = backend
        self.prefix = prefix
        self.saves_on_error = saves_on_error
        self._cookie, self._plain_cookie = cookie, without_prefix(cookie)
        self._samesite = samesite
        self._timeout = timeout
        self._make_id = id_factory or partial(secrets.token_urlsafe, 32)
        self._next_report = 0.0
        self._failing = ""  # the method that fails, as the log says
        self.in_cookie = getattr(backend, "in_cookie", False)
        self._secure = secure
        self._blocking = getattr(backend, "blocking", True)
        self._merge = _own(backend, "merge")
        shared = _own(backend, "load_shared")
        # Else it is copied: an author's backend may return a dict that it changes later, at another request's save.
        self._shares_data = shared is not None
        self._load: Callable[[str], Any] = shared or backend.load
        # No backend is asked for an id that can't be one, as that of a file or of another program's key.
        made_here = _OWN_ID if id_factory is None else _ANY_ID
        self._is_id = id_validator or (_IN_COOKIE if self.in_cookie else made_here).fullmatch
        self.opens_ahead = self._blocking or inspect.iscoroutinefunction(backend.load)

    def find_id(self, exchange: Exchange) -> str | None:
        """Return the session id in a request's cookie, or None."""
        name = self._cookie
        if name is not self._plain_cookie and not self.is_secure(exchange.scheme):
            name = self._plain_cookie
        return parse_cookies(exchange.cookie_header()).get(name)

    def is_secure(self, scheme: str) -> bool:
        """Return whether cookies are Secure in answers to requests of ``scheme``."""
        return scheme == "https" if self._secure is None else self._secure

    def reserve(self, session: Session, exchange: Exchange, root_path: str) -> str:
        """Choose the id of a session that may be stored later, and return the cookie that gives it to the client."""
        session.reserved_id = self._make_id()
        return self.cookie(session.reserved_id, exchange.scheme, root_path)

    def open(self, session_id: str | None) -> Flow[Session]:
        """Return the session of an id; a new one if there is no id or it is unknown. Yields only if ``opens_ahead``."""
        if not session_id or not self._is_id(session_id):
            return Session()
        data = yield from self._ask(self._load, session_id)
        # An id that was not issued here is never adopted: an attacker who planted it would know the session's id.
        if not data:
            return Session()
        return Session(session_id, data if self._shares_data else copied(dict(data)))

    def close(self, session: Session, scheme: str, root_path: str) -> Flow[str | None]:
        """Save a session that has changed. Return the Set-Cookie value to send, or None."""
        value: str | None = ""
        if not self.in_cookie:
            value = yield from self._save(session)
        elif session:
            value = yield from self._ask(self.backend.save, "", dict(session), self._timeout)
        return None if value is None else self.cookie(value, scheme, root_path)

    def cookie(self, value: str, scheme: str, root_path: str) -> str:
        """Return the Set-Cookie value that gives a browser this session's id, or with "" deletes its cookie.

        Browsers take a name with a prefix only from Secure cookies, so over plain http it has none; and one with
        ``__Host-`` only with the path "/" (RFC 6265bis, section 4.1.3).
        """
        secure = self.is_secure(scheme)
        name = self._cookie if secure else self._plain_cookie
        is_for_host = name.startswith("__Host-")
        return format_cookie(
            name,
            value,
            max_age=self._timeout if value else 0,
            path="/" if is_for_host or not (root_path or self.prefix) else quote(root_path + self.prefix),
            secure=secure,
            httponly=True,
            samesite=self._samesite,
        )

    def _save(self, session: Session) -> Flow[str | None]:
        """Return the id for the cookie, "" if the session was deleted, None if the browser's cookie must stay."""
        if session.id is None:
            session.id = session.reserved_id or self._make_id()
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
            if _is_async(getattr(method, "__func__", method)):
                result = yield from call(AWAIT, method, *arguments)
            elif self._blocking:
                result = yield from call(IO, method, *arguments)
            else:
                result = method(*arguments)
        except OSError as error:
            self._log(error, getattr(method, "__name__", ""))
            _unavailable()
        if self._failing and self._failing == getattr(method, "__name__", ""):  # others may work all the time
            self._failing = ""
            self._next_report = time.monotonic() + _REPORT_AGAIN
            logger.warning("the session backend %s answers again", type(self.backend).__name__)
        return result

    def _log(self, error: OSError, method: str = "") -> None:
        now = time.monotonic()
        if now < self._next_report:
            return
        self._next_report = now + _REPORT_EVERY
        self._failing = method
        name, kind = type(self.backend).__name__, type(error).__name__
        logger.error("the session backend %s is out of reach: %s: %s", name, kind, error, exc_info=error)


_is_async = lru_cache(maxsize=64)(inspect.iscoroutinefunction)  # of a backend's few functions; it is slow


def _unavailable() -> NoReturn:
    raise HTTPError(503, "Sessions are out of reach at the moment. Please try again.", _RETRY_AFTER)


_METHODS = frozenset({"load", "save", "merge", "load_shared"})


def _own(backend: object, name: str) -> Callable[..., Any] | None:
    """Return a backend's ``merge`` or ``load_shared`` if it belongs to its ``load`` and ``save``, else None.

    A class that overrides one of the four and inherits the others expects that its own methods are called.
    """
    nearest = next((vars(cls).keys() for cls in type(backend).__mro__ if not _METHODS.isdisjoint(vars(cls))), ())
    return getattr(backend, name) if name in nearest else None
