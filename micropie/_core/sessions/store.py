"""``SessionStore``: loads and saves sessions for the flow, by calling the session backend."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache, partial
from typing import Any

from micropie._core.errors import HTTPError, logger
from micropie._core.execution.call_steps import STEPS, in_this_thread
from micropie._core.execution.placement import AnyFunction, ServiceThreads
from micropie._core.execution.steps import INLINE, Call, Flow, Kind, Outage, call, kind_of
from micropie._core.http import Exchange, Session, SessionData, check_size
from micropie._core.http.addresses import quoted_address
from micropie._core.http.headers import MAX_COOKIE, format_cookie, parse_cookies, without_prefix
from micropie._core.http.settings import Settings
from micropie._core.on_demand import module, pattern
from micropie._core.sessions.backend import SessionBackend
from micropie._core.sessions.serializer import Stored

# The ids that this module creates have 256 bits, in 43 characters. Ids from the setting
# ``session_id_factory`` may have up to 256 printable ASCII characters.
_OWN_ID = pattern("[A-Za-z0-9_-]{43}")
_ANY_ID = pattern("[ -~]{1,256}")
_IN_COOKIE = pattern(f"[ -~]{{1,{MAX_COOKIE}}}")


# Imported on first use, because this import takes 10% of a small site's startup time, and only
# sites with sessions need it.
secrets: Any = module("secrets")


class SessionStore:
    """Loads and saves the sessions of an application in its session backend.

    - ``prefix``: the path of the application that has this backend. Browsers send the cookie only
      for this path and paths under it.
    - ``opens_ahead``: whether the flow loads the session before it calls the handler, because the
      backend may wait.
    - ``cookie_name(scheme, root_path)`` returns the name of the cookie.
    - ``make_id()`` returns an id for a new session.
    - ``is_id(text)`` returns whether ``text`` may be an id.
    """

    def __init__(self, backend: SessionBackend, settings: Settings, prefix: str = "") -> None:
        self.backend = backend
        self.prefix = prefix
        self._settings = settings
        self._check_size = partial(
            check_size,
            most=settings.max_session_size,
            setting="App(max_session_size={})",
            is_debug=bool(settings.debug),
        )
        self.cookie_name = lru_cache(maxsize=16)(self._name_of_cookie)
        self._formatter = lru_cache(maxsize=16)(self._formatter_for)
        self._timeout = settings.session_timeout
        self._checks_left = 5  # how many more requests to check for an untrusted proxy
        self.make_id = settings.session_id_factory or (lambda: secrets.token_urlsafe(32))
        self.in_cookie = getattr(backend, "in_cookie", False)
        shared = _own(backend, "load_shared")
        # Without ``load_shared``, loaded data is copied, because a custom backend may return a dict
        # that it changes when another request saves the session.
        self._shares_data = shared is not None
        methods: dict[str, Any] = {
            "load": shared or backend.load,
            "save": backend.save,
            "merge": _own(backend, "merge"),
        }
        blocking = Call(ServiceThreads(), leave_after=None)
        otherwise: Kind = blocking if getattr(backend, "blocking", True) else INLINE
        subject = f"the session backend {type(backend).__name__}"
        # Not those of a wrapper that has copied the attributes, which must be called itself.
        self._steps = {
            name: partial(steps, method.__self__)
            for name, method in methods.items()
            if (steps := getattr(method, STEPS, None)) is not None and method.__wrapped__ is steps
        }
        # Outages are recorded for each method separately, because a backend that is full or locked
        # can still be read.
        self._methods: dict[str, tuple[AnyFunction, Kind, Outage]] = {
            name: (method, kind_of(method, otherwise), Outage(subject, f", so {name}() fails"))
            for name, method in methods.items()
            if method is not None
        }
        # Only valid ids are passed to the backend, because any other text might be the name of a
        # file or of another program's key.
        validator = settings.session_id_validator
        is_default = settings.session_id_factory is None and validator is None
        form = _IN_COOKIE if self.in_cookie else _OWN_ID if is_default else _ANY_ID
        self.is_id: Callable[[str], object] = (
            form.fullmatch
            if validator is None
            else lambda text: form.fullmatch(text) and validator(text)
        )
        self.opens_ahead = self._methods["load"][1] != INLINE

    def find_id(self, exchange: Exchange) -> str | None:
        """Return the session id in a request's cookie, or None."""
        header = exchange.header("cookie")
        if header is None:
            return None
        return parse_cookies(header).get(self.cookie_name(exchange.scheme, exchange.root_path))

    def saves_with(self, status: int) -> bool:
        """Return whether a changed session is saved with a response of this status."""
        return status // 100 != 5 or self._settings.session_save_on_error

    def is_secure(self, scheme: str) -> bool:
        """Return whether cookies are ``Secure`` in responses to requests over ``scheme``."""
        stated = self._settings.session_cookie_secure
        return scheme == "https" if stated is None else stated

    def reserve(self, session: Session, exchange: Exchange) -> str:
        """Choose the id for a session that may be stored later. Return the Set-Cookie value that
        sends the id to the client.
        """
        session.reserved_id = self.make_id()
        return self.cookie(session.reserved_id, exchange.scheme, exchange.root_path)

    def open_ahead(self, session_id: str) -> Flow[Session]:
        """Load the session ``session_id`` from a backend that may wait. Return a new session if the
        id is unknown.
        """
        is_id = self.is_id(session_id)
        return self._opened(session_id, (yield from self._ask("load", session_id)) if is_id else {})

    def open(self, exchange: Exchange) -> Session:
        """Return a request's session, or a new one if the client has none.

        If the backend may wait, always return a new one, because the flow has called ``open_ahead``
        for a client that has a session.
        """
        session_id = None if self.opens_ahead else self.find_id(exchange)
        if not session_id or not self.is_id(session_id):
            return Session()
        return self._opened(session_id, _call(*self._methods["load"], session_id))

    def _opened(self, session_id: str, data: SessionData) -> Session:
        # A new session never gets an unknown id from a cookie, because an attacker who planted the
        # cookie would know the session's id.
        if not data:
            return Session()
        if not self._shares_data and data.__class__ is not Stored:
            data = deepcopy(dict(data))
        return Session(session_id, data)

    def close(self, session: Session, exchange: Exchange) -> Flow[str | None]:
        """Save a session that has changed. Return the Set-Cookie value to send, or None."""
        value: str | None = ""
        if not self.in_cookie:
            value = yield from self._save(session)
        elif session:
            value = yield from self._store("", dict(session))
        if value is None:
            return None
        if self._checks_left:
            self._checks_left -= 1
            exchange.check_peer()
        return self.cookie(value, exchange.scheme, exchange.root_path)

    def cookie(self, value: str, scheme: str, root_path: str) -> str:
        """Return the Set-Cookie value that sends a session's id to the browser, or deletes the
        cookie if ``value`` is "".
        """
        format_value = self._formatter(scheme, root_path)
        return format_value(value) if value else format_value(value, max_age=0)

    def _formatter_for(self, scheme: str, root_path: str) -> Callable[..., str]:
        name = self.cookie_name(scheme, root_path)
        path = quoted_address(root_path + self.prefix) or "/"
        return partial(
            format_cookie,
            name,
            max_age=self._timeout,
            path="/" if name.startswith("__Host-") else path,
            domain=self._settings.session_cookie_domain,
            secure=self.is_secure(scheme),
            httponly=True,
            samesite=self._settings.session_cookie_samesite,
            partitioned=self._settings.session_cookie_partitioned,
        )

    def _name_of_cookie(self, scheme: str, root_path: str) -> str:
        """Return the cookie's name in responses to requests over ``scheme`` under ``root_path``,
        the URL prefix below which the server or a proxy serves the application.

        Browsers accept a name with a prefix such as ``__Secure-`` only for ``Secure`` cookies, so
        over plain http the name has no prefix. Browsers accept ``__Host-`` only with the path "/"
        (RFC 6265bis, section 4.1.3).
        """
        stated = self._settings.session_cookie
        if not self.is_secure(scheme):
            return without_prefix(stated or "session_id")
        is_shared = root_path or self.prefix or self._settings.session_cookie_domain
        return stated or ("__Secure-session_id" if is_shared else "__Host-session_id")

    def _save(self, session: Session) -> Flow[str | None]:
        """Save the session. Return the id for the cookie, "" if the session was deleted, or None if
        the browser keeps its cookie.
        """
        if session.id is None:
            new_id = session.reserved_id or self.make_id()
            yield from self._store(new_id, dict(session))
            session.id = new_id
            return new_id
        changes = session.changes()
        changes.check = self._check_size
        changes.new_id = self.make_id() if session.regenerated else None
        if "merge" in self._methods:
            data = yield from self._ask("merge", session.id, changes, self._timeout)
        else:  # a change by another request at the same moment may be lost
            is_over = changes.emptied and not (changes.values or changes.updates)
            stored = {} if is_over else deepcopy((yield from self._ask("load", session.id)))
            data = changes.apply(stored) if stored else {}
            if data:
                yield from self._ask("save", changes.new_id or session.id, data, self._timeout)
            if changes.new_id or not data:
                yield from self._ask("save", session.id, {}, self._timeout)
        if not data:
            if not session and (changes.was_applied or changes.emptied):
                return ""
            # Another request has ended the session, by a log-out or by giving it a new id. Don't
            # store it again. The browser has got its cookie with the response to the other request.
            logger.info(
                "a session was deleted during a request: the request's changes to it are discarded"
            )
            return None
        session.id = changes.new_id or session.id
        return session.id

    def _store(self, session_id: str, data: SessionData) -> Flow[Any]:
        """Call the backend's ``save`` with all data of a session, and return the result."""
        self._check_size(data)
        return self._ask("save", session_id, data, self._timeout)

    def _ask(self, name: str, *arguments: object) -> Flow[Any]:
        """Call a method of the backend by its name. Raises a 503 if the backend can't access its
        data.
        """
        method, kind, outage = self._methods[name]
        if kind == INLINE:
            return _call(method, kind, outage, *arguments)
        if name in self._steps:
            method, arguments = in_this_thread, (self._steps[name](*arguments),)
        try:
            return (yield from outage.watch(call(kind, method, *arguments)))
        except OSError:
            raise _out_of_reach() from None


def _call(method: AnyFunction, _: Kind, outage: Outage, *arguments: object) -> Any:
    """Call a backend's method that never waits. The method's result may still be awaitable
    (``Loaded``).
    """
    try:
        answer = method(*arguments)
    except OSError as error:
        outage.note(error, 0.0)
        raise _out_of_reach() from None
    if outage.is_on:
        outage.end()
    return answer


def _out_of_reach() -> HTTPError:
    message = "The session store is unavailable. Please try again in a moment."
    return HTTPError(503, message, [("Retry-After", f"{Outage.retry_after:.0f}")])


_METHODS = frozenset({"load", "save", "merge", "load_shared"})


def _own(backend: object, name: str) -> AnyFunction | None:
    """Return a backend's ``merge`` or ``load_shared``. Return None if the backend has no such
    method, or inherits it and overrides another method.

    A class may override one of the four methods and inherit the others. In this case, an inherited
    ``merge`` or ``load_shared`` is not used, because it would bypass the overridden method.
    """
    nearest = next(
        (vars(cls).keys() for cls in type(backend).__mro__ if not _METHODS.isdisjoint(vars(cls))),
        (),
    )
    return getattr(backend, name) if name in nearest else None
