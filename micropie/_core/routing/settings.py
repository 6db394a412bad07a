"""The settings of an ``App``: their names, defaults and checks.

``config.py`` makes objects from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, cast, dataclass_transform

from micropie._core.errors import Catalog, SetupError, check, is_count, is_duration, takes
from micropie._core.execution.placement import THREAD
from micropie._core.http import MessageSettings, websockets
from micropie._core.http.addresses import is_base_url, normal_hosts
from micropie._core.http.headers import PREFIXES, is_cookie_name
from micropie._core.http.json import BUILTINS
from micropie._core.http.protocols import Texts
from micropie._core.on_demand import by_name
from micropie._core.spellings import SESSION_TIMEOUT
from micropie._core.templates import DIRECTORY

if TYPE_CHECKING:
    from concurrent.futures import Executor

MEBIBYTE = 1024 * 1024

METHODS = (
    *("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    *("OPTIONS", "TRACE", "CONNECT", "QUERY"),
)


_EMPTY: Mapping[Any, Any] = {}

Value = TypeVar("Value")


class _Rule(NamedTuple):
    """A check of a setting's value, and a phrase that describes valid values."""

    is_right: Callable[[object], bool]
    expected: str


class _Setting(NamedTuple):
    default: object
    rule: _Rule


def _setting(default: Value, rule: _Rule) -> Value:
    """Declare a setting with its default and its rule. For type checkers, this returns the
    default.
    """
    return cast("Value", _Setting(default, rule))


def _one_of(*words: str) -> _Rule:
    *others, last = [f'"{word}"' for word in words]
    return _Rule(lambda value: value in words, f"{', '.join(others)} or {last}")


def _or_none(rule: _Rule) -> _Rule:
    return _Rule(lambda value: value is None or rule.is_right(value), f"{rule.expected}, or None")


def _list_of(is_item: Callable[[object], bool], expected: str, least: int = 0) -> _Rule:
    def is_right(value: object) -> bool:
        return (
            isinstance(value, list | tuple | set | frozenset)
            and len(value) >= least
            and all(map(is_item, value))
        )

    return _Rule(is_right, expected)


def _dict_of(
    is_key: Callable[[object], bool], is_value: Callable[[object], bool], expected: str
) -> _Rule:
    def is_right(value: object) -> bool:
        return isinstance(value, Mapping) and all(
            is_key(key) and is_value(one) for key, one in value.items()
        )

    return _Rule(is_right, expected)


def _is_path(value: object) -> bool:
    return isinstance(value, str | PathLike)


def _is_executor(value: object) -> bool:
    # not imported: few sites use one, and it imports logging and threading
    from concurrent.futures import Executor

    return isinstance(value, Executor)


def _is_identifier(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()


def _is_new_class(kind: object) -> bool:
    return isinstance(kind, type) and kind not in BUILTINS


_COUNT = _Rule(lambda value: is_count(value, least=0), "a whole number, 0 or more")
_AT_LEAST_1 = _Rule(lambda value: is_count(value, least=1), "a whole number, 1 or more")
_WHOLE_SECONDS = _Rule(_AT_LEAST_1.is_right, "a whole number of seconds, 1 or more")
_SECONDS = _Rule(is_duration, "seconds above 0")
_TIMEOUT = _or_none(_Rule(lambda value: value == inf or is_duration(value), "seconds above 0"))
_BOOL = _Rule(lambda value: isinstance(value, bool), "True or False")
_DEBUG = _Rule(lambda value: isinstance(value, bool) or value == "force", 'True, False or "force"')
_SUPPLIER = _or_none(_Rule(lambda value: takes(value, 0), "a function without parameters"))
_FUNCTION = _or_none(_Rule(lambda value: takes(value, 1), "a function of one argument"))
_EXECUTOR = _or_none(_Rule(_is_executor, "an Executor"))
_KEY = _Rule(lambda value: True, "a key")  # accepts anything, because ``AppSigner`` checks keys
_RATES = _or_none(
    _Rule(lambda value: takes(getattr(value, "hit", None), 3), "MemoryRates() or RedisRates(url)")
)
_COOKIE = _Rule(is_cookie_name, 'the name of a cookie, such as "__Host-session_id"')
_METHODS = _list_of(METHODS.__contains__, 'a list of HTTP methods: ["GET", "POST"]', least=1)
_ORIGINS = _list_of(
    websockets.is_origin, 'a list of origins: ["https://example.com"], or ["*"] for any'
)
_DIRECTORIES = _Rule(
    lambda value: (
        _is_path(value)
        or (isinstance(value, list | tuple) and bool(value) and all(map(_is_path, value)))
    ),
    "the path of a directory, or a list of them",
)
_FILTERS = _dict_of(_is_identifier, callable, 'a dict of functions by name, {"money": money}')
_BASE_URL = _or_none(
    _Rule(is_base_url, 'the beginning of all URLs, without a query: "https://example.com"')
)
_HOSTS = _Rule(
    lambda value: bool(normal_hosts(value)),
    'a host without scheme and port, "*.example.com", or a list',
)
_BY_CLASS = _dict_of(
    _is_new_class,
    callable,
    "a dict of functions by class, {Money: str}, for classes that JSON has no values of",
)
_FILE_TYPES = _dict_of(
    lambda suffix: isinstance(suffix, str) and suffix[:1] == "." and suffix == suffix.lower(),
    lambda kind: isinstance(kind, str) and "/" in kind and kind.isascii() and kind.isprintable(),
    'a dict of types by extension, {".parquet": "application/vnd.apache.parquet"}',
)
_NAMES = _dict_of(
    _is_identifier, lambda value: True, 'a dict of values by name, {"site_name": "Pies"}'
)


@dataclass_transform(eq_default=False, kw_only_default=True, frozen_default=True)
def _keywords(cls: type[Value]) -> type[Value]:
    """Declare for type checkers that a class takes its attributes as keywords, like a dataclass.

    A real dataclass with so many fields would take a tenth of micropie's import time.
    """
    return cls


@_keywords
class Settings(MessageSettings):
    """The settings of an ``App``. Each is a keyword of its constructor:
    ``App(max_body_size=1024)``.

    An application inside another (``root.blog = Blog(max_body_size=...)``) inherits the settings
    that it does not set. An invalid value raises ``SetupError``.
    """

    max_body_size: int = _setting(16 * MEBIBYTE, _COUNT)
    """The most bytes of a request's body, 16 MiB by default; a longer body gets 413 (Django: 2.5
    MiB, Flask: no limit).
    """
    max_data_size: int = _setting(5 * MEBIBYTE // 2, _COUNT)
    """The most bytes of JSON, of an urlencoded form, or of all fields of a multipart form that are
    not files, 2.5 MiB by default; more get 413 (Django: the same). ``max_body_size`` applies as
    well.
    """
    body_timeout: float | None = _setting(30.0, _TIMEOUT)
    """Seconds to wait for the next byte of a body, 30 by default, None for no limit; then 408 (ASGI
    only: under WSGI the server's own timeout applies).
    """
    body_total_timeout: float | None = _setting(60.0, _TIMEOUT)
    """Seconds to wait for a whole body, 60 by default, None for no limit; then 408 (ASGI only).
    Each 1000 bytes that arrive extend it by a second, so it ends slow trickles but no uploads
    (Apache: 20 seconds, 500 bytes).
    """
    max_form_field_size: int = _setting(MEBIBYTE, _COUNT)
    """The most bytes of one form field that is not a file, 1 MiB by default; a longer one
    gets 413."""
    max_form_fields: int = _setting(1000, _COUNT)
    """The most fields of a query or a form, 1000 by default; more get 413 (a million fields take
    seconds to parse).
    """
    max_form_files: int = _setting(100, _COUNT)
    """The most files in one form, 100 by default; more get 413."""
    threads: int = _setting(40, _AT_LEAST_1)
    """How many ``def`` handlers run at once in worker threads, 40 by default as in anyio (ASGI
    only); others wait.
    """
    thread_queue: int = _setting(1000, _COUNT)
    """How many ``def`` handlers may wait for a thread, 1000 by default (ASGI only); further ones
    get 503.
    """
    processes: int | None = _setting(None, _or_none(_AT_LEAST_1))
    """How many processes each server worker has for handlers with ``run_in="process"``; None, the
    default, for one per processor that it may use.
    """
    pool: Executor | None = _setting(None, _EXECUTOR)
    """A ``concurrent.futures.Executor`` that runs handlers with ``run_in="process"``; None, the
    default, for the processes of micropie.
    """
    pool_timeout: float = _setting(30.0, _SECONDS)
    """Seconds that a handler with ``run_in="process"``, or one chunk of its stream, may take, 30 by
    default; then the client gets 503, and the process is ended.
    """
    background_timeout: float = _setting(30.0, _SECONDS)
    """Seconds after the response that a request's ``after_response`` functions may take, 30 by
    default; then they are cancelled, and an error is logged.
    """
    methods: Texts = _setting(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), _METHODS)
    """The methods of a handler that declares none, by default these six. Others get 405."""
    expose: Literal["public", "explicit"] = _setting("public", _one_of("public", "explicit"))
    """Which functions are URLs: "public" (default), the public methods of the author's classes;
    "explicit", only those with a decorator such as ``@route()``, ``@get`` or ``@websocket``.
    """
    run_in: Literal["thread", "loop", "process"] = _setting(
        THREAD, _one_of("loop", "thread", "process")
    )
    """Where ``def`` handlers without ``@run_in`` run: "thread" (default), "loop" if none of them
    blocks, or "process".
    """
    errors: Literal["auto", "json", "text"] = _setting("auto", _one_of("auto", "json", "text"))
    """The format of errors for which you have no handler: "auto" (default) for a page for browsers,
    a problem document (RFC 9457) for clients that accept or sent JSON, and a sentence for others;
    "json" or "text" for all.
    """
    text: Literal["html", "plain"] = _setting("html", _one_of("html", "plain"))
    """The type of text, bytes and streams that set none: "html" (default) or "plain", which
    browsers never run.
    """
    host: str | Sequence[str] | None = _setting(None, _or_none(_HOSTS))
    """The only host on which the application responds: ``"api.example.com"``; ``"*.example.com"``
    for all subdomains; or a list, whose first host is used for links. If the application is an
    attribute of another one, its paths begin at ``/`` on that host. None, the default, for every
    host that no other application has.
    """
    base_url: str | None = _setting(None, _BASE_URL)
    """The beginning of the URLs that ``absolute_url_for`` makes, including a prefix that a proxy
    adds: ``"https://example.com"``. None, the default, for the scheme and the host of the current
    request.
    """
    secret_key: str | bytes | Sequence[str | bytes] | None = _setting(None, _KEY)
    """The key that signs the cookies of ``request.set_signed_cookie`` and the links of
    ``request.sign``: 32 bytes or more, or a list; the first key signs, and all are accepted. None,
    the default, for no signing. Needs ``micropie-dual[itsdangerous]``.
    """
    rates: object = _setting(None, _RATES)
    """The store for every ``RateLimit`` that has none of its own: ``RedisRates(url)``. The
    outermost application's setting applies to all. None, the default, to count in this process's
    memory.
    """
    translations: Callable[[Any], Catalog] | None = _setting(None, _FUNCTION)
    """A function of the request that returns its catalogue, of ``gettext`` or Babel. The
    framework's sentences, the words of each ``Message`` and the texts of templates (``{% trans
    %}``) are looked up in it. None, the default, for English.
    """
    on_error: Callable[[BaseException], object] | None = _setting(None, _FUNCTION)
    """A function that is called with each exception that becomes a 500, breaks a response off or
    ends a command, such as ``capture_exception`` of an error reporter. The exception is logged as
    well. It must not block for long. None, the default, for none.
    """
    debug: bool | Literal["force"] = _setting(False, _DEBUG)
    """Whether clients on this machine see a page with the traceback of an unhandled exception, or
    with the routes near an unknown path, and whether changed templates are read again; False by
    default. "force" also allows it with several workers.
    """
    loop_watchdog: bool = _setting(True, _BOOL)
    """Whether a thread watches the event loop and logs code that blocks it for a second, or for a
    tenth of a second with ``debug``; True by default.
    """
    file_types: Mapping[str, str] = _setting(_EMPTY, _FILE_TYPES)
    """Content types of files by extension, in addition to those that micropie knows: {".x":
    "text/x-own"}. Merged with those of outer applications.
    """
    session_timeout: int = _setting(SESSION_TIMEOUT, _WHOLE_SECONDS)
    """Seconds from the last save of a session until it expires, 8 hours by default."""
    max_session_size: int = _setting(64 * 1024, _COUNT)
    """The most bytes of a session, measured as JSON when it is saved, 64 KiB by default; a larger
    session is not saved, and the client gets a 500.
    """
    session_id_factory: Callable[[], str] | None = _setting(None, _SUPPLIER)
    """A function that returns the id of a new session; None, the default, for 256 random bits from
    ``secrets``.
    """
    session_id_validator: Callable[[str], bool] | None = _setting(None, _FUNCTION)
    """A function that returns whether a cookie's value may be a session's id. Other values are
    never passed to the backend. None, the default, for a check of characters and length.
    """
    session_cookie: str | None = _setting(None, _or_none(_COOKIE))
    """The name of the session's cookie. With the prefix ``__Host-`` no other host can set it; over
    plain http the prefix is left out. None, the default, for ``__Host-session_id``, or
    ``__Secure-session_id`` for an application below a path.
    """
    session_cookie_samesite: Literal["Lax", "Strict", "None"] = _setting(
        "Lax", _one_of("Lax", "Strict", "None")
    )
    """Whether requests from other sites carry the session's cookie: "Lax" (default) if they open a
    page, "Strict" never, "None" always, which needs ``session_cookie_secure=True``.
    """
    session_cookie_secure: bool | None = _setting(None, _or_none(_BOOL))
    """Whether the session's cookie is sent over https only. None, the default, for a cookie that is
    sent over https only if it was set over https.
    """
    session_cookie_partitioned: bool = _setting(False, _BOOL)
    """Whether the cookies of the session and of the CSRF token are ``Partitioned``, for a page in a
    frame of another site; False by default. Needs ``session_cookie_samesite="None"``.
    """
    session_save_on_error: bool = _setting(False, _BOOL)
    """Whether a session is also saved with a response of status 500 to 599; False by default."""
    websocket_max_size: int = _setting(MEBIBYTE, _COUNT)
    """The most bytes of one WebSocket message, 1 MiB by default (uvicorn: 16 MiB); a longer message
    closes the WebSocket with 1009.
    """
    websocket_timeout: float | None = _setting(None, _TIMEOUT)
    """Seconds to wait for a message from a WebSocket's client, not counting pings; then it is
    closed with 1001. None, the default, for no limit.
    """
    websocket_send_timeout: float | None = _setting(30.0, _TIMEOUT)
    """Seconds to wait until a WebSocket's client takes a message, 30 by default, None for no limit;
    then it is closed with 1008."""
    websocket_grace: float | None = _setting(10.0, _TIMEOUT)
    """Seconds that a WebSocket handler may go on after its client has disconnected, 10 by default,
    None for no limit; then it is cancelled.
    """
    websocket_origins: Texts = _setting((), _ORIGINS)
    """Other origins whose pages may open WebSockets, none by default: ``["https://example.com"]``,
    or ``["*"]`` for all. Pages of any other origin get 403.
    """
    websocket_origins_for_mounts: bool = _setting(False, _BOOL)
    """Whether ``websocket_origins`` applies to the WebSockets of mounted ASGI applications, too;
    False by default, True with ``SecurityDefaults``.
    """
    portal_backend: str = _setting("asyncio", _one_of("asyncio", "trio"))
    """The event loop that runs ``async def`` handlers under WSGI: "asyncio" (default) or "trio"."""
    mount_timeout: float | None = _setting(60.0, _TIMEOUT)
    """Seconds under WSGI that a mounted ASGI application may take to start its response, or to send
    the next chunk, 60 by default, None for no limit; then 504. The outermost application's value
    also limits the startup and shutdown of mounted applications.
    """
    templates: str | PathLike[str] | Sequence[str | PathLike[str]] = _setting(
        DIRECTORY, _DIRECTORIES
    )
    """The directory of the templates, "templates" by default, relative to the working directory; or
    several, searched in order. ``"package:shop"`` is the directory ``templates`` of that package.
    """
    template_setup: Callable[[Any], object] | None = _setting(None, _FUNCTION)
    """A function that is called with each new Jinja2 environment, to change it: extensions,
    ``undefined``, translations. There may be two environments, one of them async. None, the
    default, for none.
    """
    template_filters: Mapping[str, Callable[..., object]] = _setting(_EMPTY, _FILTERS)
    """Filters for templates by name, in addition to Jinja2's: ``{{ price|money }}``. Merged with
    those of outer applications.
    """
    template_globals: Mapping[str, object] = _setting(_EMPTY, _NAMES)
    """Values by name that every template and macro sees. Merged with those of outer
    applications.
    """
    encoders: Mapping[type, Callable[[Any], object]] = _setting(_EMPTY, _BY_CLASS)
    """Functions that encode values of a class, and of its subclasses, as JSON: ``{Money: str}``,
    ``{Enum: name_of}``. Merged with those of outer applications.
    """
    decoders: Mapping[type, Callable[[Any], object]] = _setting(_EMPTY, _BY_CLASS)
    """Functions that make a parameter's value from a text, or from the type that the function's own
    parameter is annotated with: ``{Money: Money.parse}``. Merged with those of outer applications.
    If one raises ``ValueError``, the client gets a 400.
    """

    def __init__(self, **values: object) -> None:
        for name, value in values.items():
            rule = SETTINGS[name].rule
            check(f"App({name}=...)", rule.is_right(value), value, rule.expected)
        vars(self).update(_DEFAULTS, **values)
        self._check_together()

    def _check_together(self) -> None:
        """Raise ``SetupError`` for values that are invalid in combination, or on this machine."""
        if self.portal_backend != "asyncio":
            from importlib.util import find_spec  # few sites need it

            trio = 'an event loop that is installed: pip install "micropie-dual[trio]"'
            check(
                "App(portal_backend=...)",
                find_spec(self.portal_backend) is not None,
                self.portal_backend,
                trio,
            )
        if (self.session_cookie or "").startswith(PREFIXES) and self.session_cookie_secure is False:
            raise SetupError(
                f"App(session_cookie={self.session_cookie!r}) is for https: "
                "leave session_cookie_secure out"
            )
        if self.session_cookie_samesite == "None" and self.session_cookie_secure is not True:
            raise SetupError(
                'App(session_cookie_samesite="None") needs '
                "session_cookie_secure=True: browsers refuse it"
            )

        if self.session_cookie_partitioned and self.session_cookie_samesite != "None":
            raise SetupError(
                "App(session_cookie_partitioned=True) needs "
                'session_cookie_samesite="None": frames of other sites get no other cookie'
            )

    def overridden(self, changes: Mapping[str, object]) -> Settings:
        """Return a copy of these settings, changed by ``changes``: name -> value.

        Raises ``SetupError`` for an unknown name or an invalid value.
        """
        for name in changes:
            if name not in SETTINGS:
                names = [*SETTINGS, "session_backend", "lifespan", "channels", "security", "docs"]
                from difflib import get_close_matches

                near = get_close_matches(name, names, n=4)
                listed = (
                    f"do you mean {' or '.join(near)}?" if near else f"it has: {', '.join(names)}"
                )
                hint = f"write {_ELSEWHERE[name]}" if name in _ELSEWHERE else listed
                raise SetupError(f"App has no setting {name!r}; {hint}")
        if not changes:
            return self
        # Values of the outer application are kept. A shared template, for example, may need its
        # filters and globals.
        merged = {}
        for name in ("template_filters", "template_globals", "encoders", "decoders", "file_types"):
            change = changes.get(name)
            if isinstance(change, Mapping):
                merged[name] = {**getattr(self, name), **change}
        return Settings(**{**vars(self), **changes, **merged})

    @property
    def loop_patience(self) -> float | None:
        """Seconds for which code may block an event loop before the watchdog logs it; None without
        a watchdog.
        """
        return (0.1 if self.debug else 1.0) if self.loop_watchdog else None


# Arguments of applications in other frameworks, and the settings of micropie that correspond to
# them.
_ELSEWHERE = by_name(
    {
        "docs=Docs(title=...), of micropie.openapi": "title",
        "docs=Docs(version=...), of micropie.openapi": "version",
        "docs=Docs(description=...), of micropie.openapi": "description",
        "docs=Docs(servers=...), of micropie.openapi": "servers",
        'app.mount("/prefix", Shop())': "prefix root_path path",
        "app.middlewares.append(...)": "middleware middlewares",
        "@requires(check) above the class": "dependencies guards",
        "a method for each, or @app.get above it": "route_handlers routes",
        "lifespan=..., which has both ends": "on_startup on_shutdown",
        'security=SecurityDefaults("example.com")': "allowed_hosts hosts",
        "@app.error(404) above a function": "exception_handlers",
        "templates=...": "template_folder",
        'app.static("/static", "static")': "static_folder",
    }
)

SETTINGS: Mapping[str, _Setting] = {
    name: one for name, one in vars(Settings).items() if isinstance(one, _Setting)
}
_DEFAULTS = {name: one.default for name, one in SETTINGS.items()}
