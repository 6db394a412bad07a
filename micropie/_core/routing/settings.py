"""The settings of an ``App``: their names, defaults and checks.

``config.py`` makes objects of them.
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
    """A check of a setting's value, and the words of the values that are right."""

    is_right: Callable[[object], bool]
    expected: str


class _Setting(NamedTuple):
    default: object
    rule: _Rule


def _setting(default: Value, rule: _Rule) -> Value:
    """State a setting's default and rule. To type checkers it is the default."""
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
    # few sites have one, and it brings logging and threading
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
_KEY = _Rule(lambda value: True, "a key")  # ``AppSigner`` checks it
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
    """Tell type checkers that a class takes its attributes as keywords, as a dataclass does.

    To make a dataclass of so many fields takes a tenth of the time in which micropie is imported.
    """
    return cls


@_keywords
class Settings(MessageSettings):
    """The settings of an ``App``; every one is a keyword of its constructor:
    ``App(max_body_size=1024)``.

    An application inside another (``root.blog = Blog(max_body_size=...)``) inherits those that it
    does not set. A wrong value raises ``SetupError``.
    """

    max_body_size: int = _setting(16 * MEBIBYTE, _COUNT)
    """The most bytes of a request's body, 16 MiB by default; longer ones get 413 (Django: 2.5 MiB,
    Flask: no limit)."""
    max_data_size: int = _setting(5 * MEBIBYTE // 2, _COUNT)
    """The most bytes of JSON, of an urlencoded form, or of all fields of a multipart form that are
    no files, 2.5 MiB by default; more get 413 (Django: the same). ``max_body_size`` holds as
    well."""
    body_timeout: float | None = _setting(30.0, _TIMEOUT)
    """Seconds to wait for the next byte of a body, 30 by default, None for no limit; then 408 (asgi
    only: under wsgi the server's own time-out holds)."""
    body_total_timeout: float | None = _setting(60.0, _TIMEOUT)
    """Seconds to wait for a body in all, 60 by default, None for no limit; then 408 (asgi only).
    Each 1000 bytes that arrive give a second back, so it ends trickles and not uploads (Apache: 20
    seconds, 500 bytes)."""
    max_form_field_size: int = _setting(MEBIBYTE, _COUNT)
    """The most bytes of one form field that is not a file, 1 MiB by default; a longer one
    gets 413."""
    max_form_fields: int = _setting(1000, _COUNT)
    """The most fields of a query or a form, 1000 by default; more get 413 (a million fields cost
    seconds)."""
    max_form_files: int = _setting(100, _COUNT)
    """The most files of one form, 100 by default; more get 413."""
    threads: int = _setting(40, _AT_LEAST_1)
    """How many ``def`` handlers run at once in worker threads, 40 by default as in anyio (asgi);
    others wait."""
    thread_queue: int = _setting(1000, _COUNT)
    """How many ``def`` handlers may wait for a thread, 1000 by default (asgi); more get 503."""
    processes: int | None = _setting(None, _or_none(_AT_LEAST_1))
    """How many processes a server's worker has for handlers with ``run_in="process"``; None, the
    default, for one per processor that it may use."""
    pool: Executor | None = _setting(None, _EXECUTOR)
    """A ``concurrent.futures.Executor`` that runs such handlers instead of processes; None, the
    default, for none."""
    pool_timeout: float = _setting(30.0, _SECONDS)
    """Seconds that a handler with ``run_in="process"``, or one chunk of its stream, may take, 30 by
    default; then 503, and the process is ended."""
    background_timeout: float = _setting(30.0, _SECONDS)
    """Seconds after its answer that a request's ``after_response`` functions may take, 30 by
    default; then they are cancelled, and an error is logged."""
    methods: Texts = _setting(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), _METHODS)
    """The methods that a handler answers which states none; the default are these six. Others
    get 405."""
    expose: Literal["public", "explicit"] = _setting("public", _one_of("public", "explicit"))
    """The functions that are URLs: "public" (default), public methods of the author's classes;
    "explicit", only those below a decorator such as ``@route()``, ``@get`` or ``@websocket``."""
    run_in: Literal["thread", "loop", "process"] = _setting(
        THREAD, _one_of("loop", "thread", "process")
    )
    """Where ``def`` handlers run without ``@run_in``: "thread" (default), "loop" if none ever
    blocks, or "process"."""
    errors: Literal["auto", "json", "text"] = _setting("auto", _one_of("auto", "json", "text"))
    """How errors are answered that no handler of yours is for: "auto" (default) as a page for
    browsers, as a problem document (RFC 9457) for clients that ask for JSON or sent it, as a
    sentence for others; "json" or "text" for all."""
    text: Literal["html", "plain"] = _setting("html", _one_of("html", "plain"))
    """The type of text, bytes and streams that state none: "html" (default) or "plain", which no
    browser runs."""
    host: str | Sequence[str] | None = _setting(None, _or_none(_HOSTS))
    """The host on which the application answers, and no other one: ``"api.example.com"``;
    ``"*.example.com"`` for all subdomains; or a list, of which links have the first. As an
    attribute of another application it begins at ``/`` there. None, the default, for every host on
    which no other application answers."""
    base_url: str | None = _setting(None, _BASE_URL)
    """The beginning of the URLs that ``absolute_url_for`` makes, with the prefix that a proxy adds,
    if there is one: ``"https://example.com"``. None, the default, for the scheme and the host of
    the current request."""
    secret_key: str | bytes | Sequence[str | bytes] | None = _setting(None, _KEY)
    """Signs the cookies of ``request.set_signed_cookie`` and the links of ``request.sign``: 32
    bytes or more, or a list of which the first one signs and all are accepted; None, the default,
    for none. Needs ``micropie-dual[itsdangerous]``."""
    rates: object = _setting(None, _RATES)
    """Where each ``RateLimit`` without a store counts: ``RedisRates(url)``. The outermost
    application's counts for all. None, the default, for each limit's own memory."""
    translations: Callable[[Any], Catalog] | None = _setting(None, _FUNCTION)
    """Returns the catalogue, of ``gettext`` or Babel, for a request: the framework's sentences are
    looked up there, the words of each ``Message``, and the texts of templates (``{% trans %}``).
    None, the default, for English."""
    on_error: Callable[[BaseException], object] | None = _setting(None, _FUNCTION)
    """Called with each exception that is answered with 500, breaks an answer off or ends a command,
    beside the log: the ``capture_exception`` of an error reporter. It must not wait long. None, the
    default, for none."""
    debug: bool | Literal["force"] = _setting(False, _DEBUG)
    """Whether clients on this machine get a page with the traceback of an unhandled exception, or
    with the routes near an unknown path, and changed templates are read again; False by default.
    "force": also with several workers."""
    loop_watchdog: bool = _setting(True, _BOOL)
    """Whether a thread watches the event loop, and the log names code that blocks it for a second,
    or with ``debug`` for a tenth of one; True by default."""
    file_types: Mapping[str, str] = _setting(_EMPTY, _FILE_TYPES)
    """Content types of files by extension, beside those that micropie knows: {".x": "text/x-own"}.
    Merged with those of outer applications."""
    session_timeout: int = _setting(SESSION_TIMEOUT, _WHOLE_SECONDS)
    """Seconds from a session's last save until it expires, 8 hours by default."""
    max_session_size: int = _setting(64 * 1024, _COUNT)
    """The most bytes of a session, counted as JSON when it is saved, 64 KiB by default; a larger
    one is not saved, and the answer is 500."""
    session_id_factory: Callable[[], str] | None = _setting(None, _SUPPLIER)
    """Returns the id of a new session; None, the default, for 256 bits from ``secrets``."""
    session_id_validator: Callable[[str], bool] | None = _setting(None, _FUNCTION)
    """Returns whether a cookie's value may be a session's id, before the backend is asked for it;
    None, the default, for a check of its characters and length where the backend needs one."""
    session_cookie: str | None = _setting(None, _or_none(_COOKIE))
    """The name of the session's cookie. With ``__Host-`` in front no other host can set it; over
    plain http the prefix is left out. None, the default, for ``__Host-session_id``, or
    ``__Secure-session_id`` for an application below a path."""
    session_cookie_samesite: Literal["Lax", "Strict", "None"] = _setting(
        "Lax", _one_of("Lax", "Strict", "None")
    )
    """Whether other sites' requests carry the session's cookie: "Lax" (default) if they open a
    page, "Strict" never, "None" always, which needs ``session_cookie_secure=True``."""
    session_cookie_secure: bool | None = _setting(None, _or_none(_BOOL))
    """Whether the session's cookie is sent over https only; None, the default, if it is set over
    https."""
    session_cookie_partitioned: bool = _setting(False, _BOOL)
    """Whether the cookies of the session and of the CSRF token have ``Partitioned``, for a page in
    a frame of other sites; False by default. It needs ``session_cookie_samesite="None"``."""
    session_save_on_error: bool = _setting(False, _BOOL)
    """Whether a session is saved with an answer of status 500 to 599, too; False by default."""
    websocket_max_size: int = _setting(MEBIBYTE, _COUNT)
    """The most bytes of one WebSocket message, 1 MiB by default (uvicorn: 16 MiB); a longer one
    closes with 1009."""
    websocket_timeout: float | None = _setting(None, _TIMEOUT)
    """Seconds to wait for a message of a WebSocket's client, pings not counted, None by default for
    no limit; then it is closed with 1001."""
    websocket_send_timeout: float | None = _setting(30.0, _TIMEOUT)
    """Seconds to wait until a WebSocket's client takes a message, 30 by default, None for no limit;
    then it is closed with 1008."""
    websocket_grace: float | None = _setting(10.0, _TIMEOUT)
    """Seconds that a WebSocket handler may go on after its client has gone, 10 by default, None for
    no limit; then it is cancelled."""
    websocket_origins: Texts = _setting((), _ORIGINS)
    """Other origins whose pages may open WebSockets, none by default: ``["https://example.com"]``,
    ``["*"]`` for all; others get 403."""
    websocket_origins_for_mounts: bool = _setting(False, _BOOL)
    """Whether ``websocket_origins`` hold for the WebSockets of mounted ASGI applications, too;
    False by default, True with ``SecurityDefaults``."""
    portal_backend: str = _setting("asyncio", _one_of("asyncio", "trio"))
    """The event loop that runs ``async def`` handlers under wsgi: "asyncio" (default) or "trio"."""
    mount_timeout: float | None = _setting(60.0, _TIMEOUT)
    """Seconds that a mounted ASGI application may take to begin its answer and between two chunks
    under wsgi, 60 by default, None for no limit; then 504. The outermost application's also limits
    its start and its stop."""
    templates: str | PathLike[str] | Sequence[str | PathLike[str]] = _setting(
        DIRECTORY, _DIRECTORIES
    )
    """The directory of the templates, "templates" by default, relative to the working directory; or
    several, of which the first one that has a template counts. ``"package:shop"`` is the directory
    ``templates`` of that package."""
    template_setup: Callable[[Any], object] | None = _setting(None, _FUNCTION)
    """Called with each Jinja2 environment that is made, to change it: extensions, ``undefined``,
    translations. There may be two, one of them for ``await``. None, the default, for none."""
    template_filters: Mapping[str, Callable[..., object]] = _setting(_EMPTY, _FILTERS)
    """Filters for templates by name, beside Jinja2's own: ``{{ price|money }}``; added to the outer
    application's."""
    template_globals: Mapping[str, object] = _setting(_EMPTY, _NAMES)
    """Values by name that every template and macro sees; added to the outer application's."""
    encoders: Mapping[type, Callable[[Any], object]] = _setting(_EMPTY, _BY_CLASS)
    """How values of a class, and of those derived from it, are written as JSON: ``{Money: str}``,
    ``{Enum: name_of}``; added to the outer application's."""
    decoders: Mapping[type, Callable[[Any], object]] = _setting(_EMPTY, _BY_CLASS)
    """How parameters of a class are made of a text, or of what the function's own parameter is
    annotated with: ``{Money: Money.parse}``; added to the outer application's. A ``ValueError`` in
    it is answered with 400."""

    def __init__(self, **values: object) -> None:
        for name, value in values.items():
            rule = SETTINGS[name].rule
            check(f"App({name}=...)", rule.is_right(value), value, rule.expected)
        vars(self).update(_DEFAULTS, **values)
        self._check_together()

    def _check_together(self) -> None:
        """Raise ``SetupError`` for values that are wrong beside each other, or on this machine."""
        if self.portal_backend != "asyncio":
            from importlib.util import find_spec  # hardly a site needs it

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
        """Return these settings with ``changes``.

        Raises ``SetupError`` for an unknown name or a wrong value.
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
        # An outer application's filters and globals stay: a template may include one that needs
        # them.
        merged = {}
        for name in ("template_filters", "template_globals", "encoders", "decoders", "file_types"):
            change = changes.get(name)
            if isinstance(change, Mapping):
                merged[name] = {**getattr(self, name), **change}
        return Settings(**{**vars(self), **changes, **merged})

    @property
    def loop_patience(self) -> float | None:
        """Seconds for which code may block an event loop until the log names it; None without a
        watchdog.
        """
        return (0.1 if self.debug else 1.0) if self.loop_watchdog else None


# Where micropie has what other frameworks' applications take by these names.
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
