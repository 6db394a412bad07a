"""The settings of an ``App``: names, defaults and checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from math import inf
from os import PathLike
from typing import Any

from micropie.errors import SetupError, check, is_count, is_duration
from micropie.execution.placement import THREAD, checked_placement
from micropie.http.websocket import is_origin
from micropie.templates import DIRECTORY

MEBIBYTE = 1024 * 1024

_TRIO_MISSING = 'an event loop that is installed: pip install "micropie[trio]"'


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of an ``App``; every one is a keyword of its constructor.

    An application inside another (``root.blog = Blog(max_body_size=...)``) inherits what it does not set.
    """

    max_body_size: int = 16 * MEBIBYTE
    """The most bytes of a request's body; a longer one gets 413. Django stops at 2.5 MiB, Flask nowhere."""
    body_timeout: float | None = 30.0
    """Seconds without a byte of a body that was announced, then 408 (asgi; under wsgi the server's socket rules)."""
    max_form_field_size: int = MEBIBYTE
    """The most bytes of one form field that is not a file; a longer one gets 413."""
    max_form_fields: int = 1000
    """The most fields of a query or a form; more get 413 (a million fields cost seconds)."""
    max_form_files: int = 100
    """The most files of one form; more get 413."""
    threads: int = 40
    """How many ``def`` handlers run at once in worker threads (asgi). 40 is anyio's default."""
    thread_queue: int = 1000
    """How many ``def`` handlers may wait for a thread while all are busy; others get 503 (asgi)."""
    processes: int | None = None
    """How many processes a server's worker has for handlers that run in one; None: as many as it may use processors."""
    pool: Executor | None = None
    """A ``concurrent.futures.Executor`` for such handlers, in the place of these processes."""
    pool_timeout: float = 30.0
    """Seconds that a handler in a process may take, or each chunk of a stream; then 503, and the process is ended."""
    background_timeout: float = 30.0
    """Seconds after its answer in which the functions of a request's ``after_response`` must have ended."""
    run_in: str = THREAD
    """Where ``def`` handlers run that don't say so themselves: "thread", "loop" if none ever blocks, or "process"."""
    debug: bool = False
    """Answer an unhandled exception with its traceback, to clients on this machine only; reread changed templates."""
    session_timeout: int = 8 * 3600
    """Seconds that a session lives after its last save."""
    session_id_factory: Callable[[], str] | None = None
    """Makes the id of a new session; None for 256 bits from ``secrets``."""
    session_id_validator: Callable[[str], bool] | None = None
    """Says whether a cookie's value may be a session's id, before a backend is asked for it."""
    session_cookie_secure: bool | None = None
    """Whether the session's cookie is for https alone; None: as the request that sets it."""
    websocket_max_size: int = MEBIBYTE
    """The most bytes of one WebSocket message; a longer one closes with 1009. uvicorn stops at 16 MiB."""
    websocket_timeout: float | None = None
    """Seconds without a message from a WebSocket's client, then it is closed with 1001; pings don't count."""
    websocket_send_timeout: float | None = 30.0
    """Seconds that a WebSocket's client may take to make room for a message, then it is closed with 1008."""
    websocket_grace: float | None = 10.0
    """Seconds that a WebSocket handler may go on after its client has gone, then it is cancelled."""
    websocket_origins: Sequence[str] = ()
    """Origins beside its own whose pages may open WebSockets: ``["https://example.com"]``, ``["*"]`` for any."""
    portal_backend: str = "asyncio"
    """The event loop that ``async def`` handlers get under wsgi: "asyncio" or "trio"."""
    mount_timeout: float | None = 60.0
    """Seconds that a mounted ASGI application may take to begin its answer, and between two chunks (wsgi); then 504.

    So long may it also take to start and to stop, by the outermost application's setting.
    """
    templates: str | PathLike[str] = DIRECTORY
    """The directory of the templates, relative to the working directory."""
    template_filters: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    """Filters for templates by name, beside Jinja2's own: ``{{ price|money }}``; added to an outer application's."""
    template_globals: Mapping[str, Any] = field(default_factory=dict)
    """What every template sees under these names, macros too; added to an outer application's."""

    def __post_init__(self) -> None:
        for name in (
            "max_body_size",
            "max_form_field_size",
            "max_form_fields",
            "max_form_files",
            "thread_queue",
            "websocket_max_size",
        ):
            _check(name, is_count(getattr(self, name), least=0), getattr(self, name), "a whole number, 0 or more")
        for name in ("threads", "session_timeout"):
            _check(name, is_count(getattr(self, name), least=1), getattr(self, name), "a whole number, 1 or more")
        for name in _DURATIONS:
            _check(name, _is_limit(getattr(self, name)), getattr(self, name), "seconds above 0, or None")
        origins = self.websocket_origins
        fine = isinstance(origins, list | tuple | set | frozenset) and all(map(is_origin, origins))
        _check("websocket_origins", fine, origins, 'a list of origins: ["https://example.com"], or ["*"] for any')
        for name in ("background_timeout", "pool_timeout"):
            limit = getattr(self, name)
            _check(name, is_duration(limit), limit, "seconds above 0")
        _check("pool", self.pool is None or isinstance(self.pool, Executor), self.pool, "an Executor, or None")
        processes = self.processes
        _check("processes", processes is None or is_count(processes, least=1), processes, "1 or more, or None")
        checked_placement(self.run_in, "App(run_in=...)")
        for name in ("session_id_factory", "session_id_validator"):
            value = getattr(self, name)
            _check(name, value is None or callable(value), value, "a function, or None")
        secure = self.session_cookie_secure
        _check("session_cookie_secure", secure is None or isinstance(secure, bool), secure, "True, False or None")
        _check("debug", isinstance(self.debug, bool), self.debug, "True or False")
        _check("portal_backend", self.portal_backend in ("asyncio", "trio"), self.portal_backend, '"asyncio" or "trio"')
        _check("portal_backend", find_spec(self.portal_backend) is not None, self.portal_backend, _TRIO_MISSING)
        _check("templates", isinstance(self.templates, str | PathLike), self.templates, "the path of a directory")
        filters, names = self.template_filters, self.template_globals
        functions = _is_named(filters) and all(map(callable, filters.values()))
        _check("template_filters", functions, filters, 'a dict of functions by name, {"money": money}')
        _check("template_globals", _is_named(names), names, 'a dict of values by name, {"site_name": "Pies"}')

    def overridden(self, changes: dict[str, Any]) -> Settings:
        """These settings with ``changes``. Raises ``SetupError`` for an unknown name or a wrong value."""
        known = [field.name for field in fields(self)]
        for name in changes:
            if name not in known:
                raise SetupError(
                    f"App has no setting {name!r}; it has: {', '.join(known)}, session_backend, lifespan, channels"
                )
        if not changes:
            return self
        # Those of an outer application stay, as what it includes and imports needs them here as well.
        merged = {name: {**getattr(self, name), **changes[name]} for name in _ADDED if _is_named(changes.get(name))}
        return replace(self, **(changes | merged))


_DURATIONS = ("body_timeout", "mount_timeout", "websocket_timeout", "websocket_send_timeout", "websocket_grace")
_ADDED = ("template_filters", "template_globals")


def _is_named(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) and name.isidentifier() for name in value)


def _is_limit(value: object) -> bool:
    return value is None or value == inf or is_duration(value)


def _check(name: str, fine: bool, value: object, expected: str) -> None:
    check(f"App({name}=...)", fine, value, expected)
