"""The settings of an ``App``: their names, defaults and checks.

To add a setting, add a field to ``Settings``, with its rule and docstring, a row to
``docs/settings.md``, a test and a line of the changelog. If an object is created from the setting,
also add an attribute to ``Config`` and a row to ``_PARTS`` in ``routing/config.py``; see
``_encoding`` there for a small example. If the flow or a driver reads this attribute, also declare
it in ``MessageConfig`` of ``exchange.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from math import inf
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast, dataclass_transform

from micropie._core.errors import (
    Catalog,
    SetupError,
    check,
    is_count,
    is_def,
    is_duration,
    is_generator,
    takes,
)
from micropie._core.execution.placement import THREAD
from micropie._core.http.addresses import is_base_url, is_host, is_origin, normal_hosts
from micropie._core.http.headers import PREFIXES, is_cookie_name
from micropie._core.http.json import BUILTINS, MOST_VALUES
from micropie._core.http.protocols import Texts
from micropie._core.on_demand import Value, by_name, module
from micropie._core.spellings import SESSION_TIMEOUT

if TYPE_CHECKING:
    from concurrent.futures import Executor

MEBIBYTE = 1024 * 1024

DIRECTORY = "templates"  # relative to the working directory

# IANA's registry of methods, except PRI, and a few that are common without being in it. All others
# are taken for typing errors.
_REGISTRY = """
    GET HEAD POST PUT PATCH DELETE OPTIONS TRACE CONNECT QUERY
    ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK LOCK MERGE MKACTIVITY MKCALENDAR
    MKCOL MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH REBIND REPORT SEARCH UNBIND
    UNCHECKOUT UNLINK UNLOCK UPDATE UPDATEREDIRECTREF VERSION-CONTROL
    LIST NOTIFY PURGE SUBSCRIBE UNSUBSCRIBE
"""
METHODS = tuple(_REGISTRY.split())


_EMPTY: Mapping[Any, Any] = {}


class _Rule(NamedTuple):
    """A check of a setting's value, and a phrase that describes valid values."""

    is_right: Callable[[object], bool]
    expected: str


class _Setting(NamedTuple):
    default: object
    rule: _Rule


def _setting(default: Value, rule: _Rule) -> Value:
    """Declare a setting with its default and its rule. Type checkers treat the field as having the
    default's type.
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


# imported on first use, because few applications have an executor, and importing it takes long
futures: Any = module("concurrent.futures")


def _is_identifier(name: object) -> bool:
    return isinstance(name, str) and name.isidentifier()


_COUNT = _Rule(lambda value: is_count(value, least=0), "a whole number, 0 or more")
_AT_LEAST_1 = _Rule(lambda value: is_count(value, least=1), "a whole number, 1 or more")
_WHOLE_SECONDS = _Rule(_AT_LEAST_1.is_right, "a whole number of seconds, 1 or more")
_SECONDS = _Rule(is_duration, "seconds above 0")
_TIMEOUT = _or_none(_Rule(lambda value: value == inf or is_duration(value), "seconds above 0"))
_BOOL = _Rule(lambda value: isinstance(value, bool), "True or False")
_DEBUG = _Rule(lambda value: isinstance(value, bool) or value == "force", 'True, False or "force"')
_SUPPLIER = _or_none(
    _Rule(
        lambda value: is_def(value, 0),
        "a function without parameters that isn't async and has no yield",
    )
)
_FUNCTION = _or_none(
    _Rule(
        lambda value: is_def(value, 1),
        "a function of one argument that isn't async and has no yield",
    )
)
_EXECUTOR = _or_none(_Rule(lambda value: isinstance(value, futures.Executor), "an Executor"))
_KEY = _Rule(lambda value: True, "a key")  # accept anything here, because ``AppSigner`` checks keys
_RATES = _or_none(
    _Rule(lambda value: takes(getattr(value, "hit", None), 3), "MemoryRates() or RedisRates(url)")
)
_COOKIE = _Rule(is_cookie_name, 'the name of a cookie, such as "__Host-session_id"')
_METHODS = _list_of(METHODS.__contains__, 'a list of HTTP methods: ["GET", "POST"]', least=1)
_ORIGINS = _list_of(is_origin, 'a list of origins: ["https://example.com"], or ["*"] for any')
_STARTUP = _list_of(
    lambda value: takes(value, 0) and not is_generator(value),
    "a list of functions without parameters and without yield",
)
_ERRORS = _list_of(
    lambda value: isinstance(value, type) and issubclass(value, BaseException),
    "a list of exception classes",
)
_DIRECTORIES = _Rule(
    lambda value: (
        _is_path(value)
        or (isinstance(value, list | tuple) and bool(value) and all(map(_is_path, value)))
    ),
    "the path of a directory, or a list of paths",
)
_FILTERS = _dict_of(
    _is_identifier, callable, 'a dict from names to functions, such as {"money": money}'
)
_BASE_URL = _or_none(
    _Rule(is_base_url, 'the beginning of all URLs, such as "https://example.com", without a query')
)
_HOSTS = _Rule(
    lambda value: bool(normal_hosts(value)),
    'a host without scheme and port, such as "*.example.com", or a list of hosts',
)
_DOMAIN = _Rule(
    lambda value: isinstance(value, str) and is_host(value) and not {*"[:"} & {*value},
    'a domain without scheme and port, such as "example.com"',
)
_BY_CLASS = _dict_of(
    lambda kind: isinstance(kind, type) and kind not in BUILTINS,
    callable,
    "a dict from classes to functions, such as {Money: function}, for types that JSON lacks",
)
_FILE_TYPES = _dict_of(
    lambda suffix: isinstance(suffix, str) and suffix[:1] == "." and suffix == suffix.lower(),
    lambda kind: isinstance(kind, str) and "/" in kind and kind.isascii() and kind.isprintable(),
    'a dict from extensions to types, such as {".parquet": "application/vnd.apache.parquet"}',
)
_NAMES = _dict_of(
    _is_identifier, lambda value: True, 'a dict from names to values, such as {"site_name": "Pies"}'
)


@dataclass_transform(eq_default=False, kw_only_default=True, frozen_default=True)
def _keywords(cls: type[Value]) -> type[Value]:
    """Declare for type checkers that a class takes its attributes as keyword arguments, like a
    dataclass.

    Creating a real dataclass with so many fields would take about 10% of the time of importing
    micropie.
    """
    return cls


@_keywords
class Settings:
    """The settings of an ``App``. Each is a keyword argument: ``App(max_body_size=1024)``.

    An application inside another one (``root.blog = Blog(max_body_size=...)``) inherits the
    settings that it doesn't set. Raises ``SetupError`` for an invalid value.
    """

    max_body_size: int = _setting(16 * MEBIBYTE, _COUNT)
    """The maximum size of a request's body in bytes, 16 MiB by default. A client that sends more
    gets a 413. (Django: 2.5 MiB, Flask: no limit.)
    """
    max_data_size: int = _setting(5 * MEBIBYTE // 2, _COUNT)
    """The maximum size in bytes of JSON, of an urlencoded form, or of all fields of a multipart
    form except files, 2.5 MiB by default. A client that sends more gets a 413. (Django: the same.)
    ``max_body_size`` applies as well.
    """
    max_json_values: int = _setting(MOST_VALUES, _COUNT)
    """The maximum number of values in a JSON document, arrays and objects included, 10,000 by
    default. An empty array or object counts as two. A client that sends more gets a 413, before
    anything is decoded. While JSON is converted, other requests wait.
    """
    body_timeout: float | None = _setting(30.0, _TIMEOUT)
    """Seconds to wait for the next byte of a body, 30 by default. After that, the client gets a
    408. None means no limit. ASGI only: under WSGI, the server's own timeout applies.
    """
    body_total_timeout: float | None = _setting(60.0, _TIMEOUT)
    """Seconds to wait for a whole body, 60 by default. After that, the client gets a 408. None
    means no limit. Every 1000 bytes that arrive add a second, so that the limit ends very slow
    requests but not large uploads. (Apache: 20 seconds, and one more for every 500 bytes.) ASGI
    only.
    """
    max_form_field_size: int = _setting(MEBIBYTE, _COUNT)
    """The maximum size in bytes of one form field that is not a file, 1 MiB by default. A client
    that sends more gets a 413.
    """
    max_form_fields: int = _setting(1000, _COUNT)
    """The maximum number of fields in a query or a form, 1000 by default. A client that sends more
    gets a 413. A million fields would take seconds to parse.
    """
    max_form_files: int = _setting(100, _COUNT)
    """The maximum number of files in one form, 100 by default. A client that sends more gets a 413.
    """
    threads: int = _setting(40, _AT_LEAST_1)
    """How many ``def`` handlers may run in worker threads at the same time, 40 by default, as in
    anyio. Further handlers wait. ASGI only.
    """
    thread_queue: int = _setting(1000, _COUNT)
    """How many requests may wait for a thread for their ``def`` handler, 1000 by default. The
    clients of further requests get a 503. ASGI only.
    """
    thread_wait: float | None = _setting(5.0, _TIMEOUT)
    """Seconds that a request may wait for a thread, 5 by default. After that, the client gets a
    503, if at least 40 others wait. None means no limit. While more requests arrive than are
    handled, the limit is 0.25 seconds. ASGI only.
    """
    processes: int | None = _setting(None, _or_none(_AT_LEAST_1))
    """How many processes each server worker has for handlers with ``run_in="process"``. None, the
    default, means one for each processor that the worker may use.
    """
    pool: Executor | None = _setting(None, _EXECUTOR)
    """A ``concurrent.futures.Executor`` that runs handlers with ``run_in="process"``. None, the
    default, means micropie's own process pool.
    """
    pool_timeout: float = _setting(30.0, _SECONDS)
    """Seconds that a handler with ``run_in="process"``, or one chunk of its stream, may take, 30 by
    default. After that, the client gets a 503, and the process is ended.
    """
    pool_startup: Sequence[Callable[[], object]] = _setting((), _STARTUP)
    """Functions that each process of the pool calls when it starts, before its first call, for
    example to load a model. They don't count towards ``pool_timeout``. None by default.
    """
    pool_start: Literal["lazy", "eager"] = _setting("lazy", _one_of("lazy", "eager"))
    """When the processes of the pool start: "lazy" (default) with the first calls, or "eager" when
    the application starts.
    """
    pool_kill: bool = _setting(False, _BOOL)
    """Whether a process with ``pool_startup`` is ended if it doesn't stop a call for which nobody
    waits any more. False by default, because starting it again may take long. A process without
    ``pool_startup`` is always ended.
    """
    pool_max_calls: int | None = _setting(None, _or_none(_AT_LEAST_1))
    """After how many calls a process of the pool is replaced. None, the default, means never."""
    pool_max_memory: int | None = _setting(None, _or_none(_AT_LEAST_1))
    """How many MiB a process of the pool may use between two calls. If it uses more, it is
    replaced. None, the default, means no limit. Linux only.
    """
    pool_retire_on: Sequence[type[BaseException]] = _setting((), _ERRORS)
    """Exceptions after which a process of the pool is replaced, for example those of a GPU.
    ``SystemExit`` and ``RetireProcess`` are always such exceptions.
    """
    background_timeout: float = _setting(30.0, _SECONDS)
    """Seconds that a request's ``after_response`` functions may take after the response, 30 by
    default. After that, they are cancelled, and an error is logged. Shutdown waits for as long for
    what mounted applications do after their responses.
    """
    cancel_grace: float | None = _setting(None, _or_none(_SECONDS))
    """Seconds that ``async`` code may go on after it was cancelled, because of a time limit or
    because its client has disconnected. After that, each further wait in it is cancelled. None, the
    default, means 1 second while the client waits for the response, and 10 seconds after it has
    disconnected.
    """
    send_timeout: float | None = _setting(120.0, _or_none(_SECONDS))
    """Seconds that a client may take to receive one chunk of a stream, 120 by default. After that,
    the response is aborted. None means no limit. For an event stream, the limit is set by
    ``EventStream(send_timeout=...)``. It has no effect under WSGI, where the server sends.
    """
    methods: Texts = _setting(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"), _METHODS)
    """The methods of a handler that declares none, by default these six. A client that uses another
    method gets a 405.
    """
    expose: Literal["public", "explicit"] = _setting("public", _one_of("public", "explicit"))
    """Which functions are handlers. "public" (default): the public methods of the application's
    classes. "explicit": only functions with a decorator such as ``@route()``, ``@get`` or
    ``@websocket``.
    """
    run_in: Literal["thread", "loop", "process"] = _setting(
        THREAD, _one_of("loop", "thread", "process")
    )
    """Where ``def`` handlers without ``@run_in`` run: "thread" (default), "process", or "loop",
    which is only for handlers that never block.
    """
    errors: Literal["auto", "json", "text"] = _setting("auto", _one_of("auto", "json", "text"))
    """The format of errors for which you have no handler. "auto" (default): a page for browsers, a
    problem document (RFC 9457) for clients that accept or sent JSON, and a sentence for others.
    "json": a problem document for all clients. "text": a sentence for all clients.
    """
    text: Literal["html", "plain"] = _setting("html", _one_of("html", "plain"))
    """The default content type of str, bytes and streams: "html" (default), or "plain", in which
    browsers never run scripts.
    """
    host: str | Sequence[str] | None = _setting(None, _or_none(_HOSTS))
    """The only host on which the application responds: ``"api.example.com"``, or
    ``"*.example.com"`` for all subdomains. If it is a list, links use the first host. If the
    application is an attribute of another one, its paths begin at ``/`` on that host. None, the
    default, means every host that no other application has.
    """
    base_url: str | None = _setting(None, _BASE_URL)
    """The beginning of the URLs that ``absolute_url_for`` returns, including a prefix that a proxy
    adds: ``"https://example.com"``. None, the default, means the scheme and the host of the current
    request.
    """
    secret_key: str | bytes | Sequence[str | bytes] | None = _setting(None, _KEY)
    """The key that signs the cookies of ``request.set_signed_cookie`` and the links of
    ``request.sign``, at least 32 bytes long. If it is a list, the first key signs, and signatures
    with any of the keys are accepted. With None, the default, nothing can be signed. Needs
    ``micropie-dual[itsdangerous]``.
    """
    rates: object = _setting(None, _RATES)
    """The store for every ``RateLimit`` that has no store of its own: ``RedisRates(url)``. The
    outermost application's setting applies to all applications in the tree. With None, the default,
    requests are counted in this process's memory.
    """
    translations: Callable[[Any], Catalog] | None = _setting(None, _FUNCTION)
    """A function that takes the request and returns a catalogue of ``gettext`` or Babel. The
    framework's messages, those of each ``Message`` and those in templates (``{% trans %}``) are
    looked up in the catalogue. With None, the default, nothing is translated.
    """
    on_error: Callable[[BaseException], object] | None = _setting(None, _FUNCTION)
    """A function that is called with each exception that becomes a 500, aborts a response or ends a
    command: ``capture_exception`` of an error reporter, for example. The function must not block
    for long. The exception is logged as well. With None, the default, exceptions are only logged.
    """
    debug: bool | Literal["force"] = _setting(False, _DEBUG)
    """Whether changed templates are read again, and whether clients on this machine get debug
    pages: the traceback of an unhandled exception, and similar routes for an unknown path. False by
    default. "force": the same as True, even with several workers.
    """
    loop_watchdog: bool = _setting(True, _BOOL)
    """Whether a thread watches the event loop and logs code that blocks it for a second, or with
    ``debug`` for a tenth of a second. True by default.
    """
    file_types: Mapping[str, str] = _setting(_EMPTY, _FILE_TYPES)
    """Content types of files by extension, such as ``{".x": "text/x-own"}``, in addition to those
    that micropie knows. They are merged with those of outer applications.
    """
    session_timeout: int = _setting(SESSION_TIMEOUT, _WHOLE_SECONDS)
    """Seconds from the last save of a session until it expires, 8 hours by default."""
    max_session_size: int = _setting(64 * 1024, _COUNT)
    """The maximum size of a session in bytes, as JSON, 64 KiB by default. A larger session is not
    saved, and the client gets a 500.
    """
    session_id_factory: Callable[[], str] | None = _setting(None, _SUPPLIER)
    """A function that returns the id of a new session. None, the default, means 256 random bits
    from ``secrets``.
    """
    session_id_validator: Callable[[str], bool] | None = _setting(None, _FUNCTION)
    """A function that returns whether a cookie's value may be a session's id. Other values are
    never passed to the backend. With None, the default, only the characters and the length are
    checked.
    """
    session_cookie: str | None = _setting(None, _or_none(_COOKIE))
    """The name of the session's cookie. With the prefix ``__Host-``, no other host can set the
    cookie. Over plain http, the prefix is left out. None, the default, means ``__Host-session_id``,
    or ``__Secure-session_id`` for an application below a path.
    """
    session_cookie_domain: str | None = _setting(None, _or_none(_DOMAIN))
    """The domain whose hosts all get the session's cookie: ``"example.com"`` for
    ``shop.example.com`` as well. The default name of the cookie is then ``__Secure-session_id``.
    None, the default, means only the host that has set the cookie, which is safer.
    """
    session_cookie_samesite: Literal["Lax", "Strict", "None"] = _setting(
        "Lax", _one_of("Lax", "Strict", "None")
    )
    """Whether browsers send the session's cookie with requests that come from other sites. "Lax"
    (default): only if the request opens a page. "Strict": never. "None": always; this needs
    ``session_cookie_secure=True``.
    """
    session_cookie_secure: bool | None = _setting(None, _or_none(_BOOL))
    """Whether browsers send the session's cookie over https only. None, the default, means only if
    the cookie was set over https.
    """
    session_cookie_partitioned: bool = _setting(False, _BOOL)
    """Whether the cookies of the session and of the CSRF token are ``Partitioned``, for pages that
    are shown in a frame on another site. False by default. Needs
    ``session_cookie_samesite="None"``.
    """
    session_save_on_error: bool = _setting(False, _BOOL)
    """Whether a session is saved even if the response has a status from 500 to 599. False by
    default.
    """
    websocket_max_size: int = _setting(MEBIBYTE, _COUNT)
    """The maximum size of one WebSocket message in bytes, 1 MiB by default. After a longer message,
    the WebSocket is closed with 1009. (uvicorn: 16 MiB.)
    """
    websocket_timeout: float | None = _setting(None, _TIMEOUT)
    """Seconds to wait for a message, other than a ping, from a WebSocket's client. After that, the
    WebSocket is closed with 1001. None, the default, means no limit.
    """
    websocket_send_timeout: float | None = _setting(30.0, _TIMEOUT)
    """Seconds to wait until a WebSocket's client receives a message, 30 by default. After that, the
    WebSocket is closed with 1008. None means no limit.
    """
    websocket_grace: float | None = _setting(10.0, _TIMEOUT)
    """Seconds that a WebSocket handler may go on after its client has disconnected, 10 by default.
    After that, it is cancelled. None means no limit.
    """
    websocket_origins: Texts = _setting((), _ORIGINS)
    """The other origins whose pages may open WebSockets: ``["https://example.com"]``,
    ``["https://*.example.com"]`` for its subdomains, or ``["*"]`` for all. Empty by default. Pages
    of any other origin get a 403.
    """
    websocket_origins_for_mounts: bool = _setting(False, _BOOL)
    """Whether ``websocket_origins`` also applies to the WebSockets of mounted ASGI applications.
    False by default, True with ``SecurityDefaults``.
    """
    portal_backend: str = _setting("asyncio", _one_of("asyncio", "trio"))
    """The event loop that runs ``async def`` handlers under WSGI: "asyncio" (default) or "trio"."""
    mount_timeout: float | None = _setting(60.0, _TIMEOUT)
    """Under WSGI, the seconds that a mounted ASGI application may take to start its response, or to
    send the next chunk, 60 by default. After that, the client gets a 504. None means no limit. The
    outermost application's value also limits the startup and shutdown of mounted applications.
    """
    templates: str | PathLike[str] | Sequence[str | PathLike[str]] = _setting(
        DIRECTORY, _DIRECTORIES
    )
    """The directory of the templates, relative to the working directory, "templates" by default. Or
    a list of directories, which are searched in this order. ``"package:shop"`` is the directory
    ``templates`` in the package ``shop``.
    """
    template_setup: Callable[[Any], object] | None = _setting(None, _FUNCTION)
    """A function that is called with each new Jinja2 environment and may change it, for example to
    add extensions or set ``undefined``. There may be two environments, one of them async. With
    None, the default, the environments are not changed.
    """
    template_filters: Mapping[str, Callable[..., object]] = _setting(_EMPTY, _FILTERS)
    """Filters for templates by name, in addition to Jinja2's: ``{{ price|money }}``. They are
    merged with those of outer applications.
    """
    template_globals: Mapping[str, object] = _setting(_EMPTY, _NAMES)
    """Values by name that are available in every template and macro. They are merged with those of
    outer applications.
    """
    encoders: Mapping[type, Callable[[Any], object]] = _setting(_EMPTY, _BY_CLASS)
    """Functions that convert the values of a class, and of its subclasses, to values for JSON:
    ``{Money: str}``, ``{Enum: name_of}``. They are merged with those of outer applications.
    """
    decoders: Mapping[type, Callable[[Any], object]] = _setting(_EMPTY, _BY_CLASS)
    """Functions that convert a string to a parameter's type: ``{Money: Money.parse}``. If a
    function's own parameter is annotated with another type than str, it gets a value of that type.
    If a function raises ``ValueError``, the client gets a 400. The functions are merged with those
    of outer applications.
    """

    def __init__(self, **values: object) -> None:
        for name, value in values.items():
            rule = SETTINGS[name].rule
            check(f"App({name}=...)", rule.is_right(value), value, rule.expected)
        vars(self).update(_DEFAULTS, **values)
        self._check_together()

    def _check_together(self) -> None:
        """Raise ``SetupError`` for values that are invalid in combination, or that need a package
        that is not installed.
        """
        if self.portal_backend != "asyncio":
            # imported only on use, because few applications need it
            from importlib.util import find_spec

            trio = 'an event loop that is installed (pip install "micropie-dual[trio]")'
            check(
                "App(portal_backend=...)",
                find_spec(self.portal_backend) is not None,
                self.portal_backend,
                trio,
            )
        gevent: Any = sys.modules.get("gevent.threadpool")
        if gevent is not None and isinstance(self.pool, gevent.ThreadPoolExecutor):
            raise SetupError(
                "App(pool=...) can't use gevent's ThreadPoolExecutor, which refuses calls from "
                "other threads: pass a ThreadPoolExecutor of concurrent.futures"
            )
        if (self.session_cookie or "").startswith(PREFIXES) and self.session_cookie_secure is False:
            raise SetupError(
                f"App(session_cookie={self.session_cookie!r}) needs https, because of its prefix: "
                "leave out session_cookie_secure=False"
            )
        if self.session_cookie_domain and (self.session_cookie or "").startswith("__Host-"):
            raise SetupError(
                f"App(session_cookie={self.session_cookie!r}) can't have a session_cookie_domain, "
                'because browsers refuse it: begin the name with "__Secure-"'
            )
        if self.session_cookie_samesite == "None" and self.session_cookie_secure is not True:
            raise SetupError(
                'App(session_cookie_samesite="None") needs session_cookie_secure=True: without '
                "it, browsers refuse the cookie"
            )

        if self.session_cookie_partitioned and self.session_cookie_samesite != "None":
            raise SetupError(
                'App(session_cookie_partitioned=True) needs session_cookie_samesite="None" and '
                "session_cookie_secure=True: in a frame on another site's page, browsers send "
                "only cookies with both"
            )

    def overridden(self, changes: Mapping[str, object]) -> Settings:
        """Return a copy of these settings in which the values of ``changes``, a dict by name,
        replace the old ones.

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
        # For these settings, add the changes to the outer application's values. For example, a
        # template that both applications use may need the outer application's filters.
        merged = {}
        for name in ("template_filters", "template_globals", "encoders", "decoders", "file_types"):
            change = changes.get(name)
            if isinstance(change, Mapping):
                merged[name] = {**getattr(self, name), **change}
        return Settings(**{**vars(self), **changes, **merged})

    @property
    def template_directories(self) -> Sequence[str | PathLike[str]]:
        """The directories of ``templates``, which may be a single one."""
        one = self.templates
        return [one] if isinstance(one, str | PathLike) else one

    @property
    def loop_patience(self) -> float | None:
        """Seconds for which code may block the event loop before the watchdog logs it. None if
        there is no watchdog.
        """
        return (0.1 if self.debug else 1.0) if self.loop_watchdog else None


# Settings of other frameworks that ``App`` doesn't have, and what to write instead.
_ELSEWHERE = by_name(
    {
        "docs=Docs(title=...), from micropie.openapi": "title",
        "docs=Docs(version=...), from micropie.openapi": "version",
        "docs=Docs(description=...), from micropie.openapi": "description",
        "docs=Docs(servers=...), from micropie.openapi": "servers",
        'app.mount("/prefix", Shop())': "prefix root_path path",
        "app.middlewares.append(...)": "middleware middlewares",
        "@requires(check) above the class": "dependencies guards",
        "a method for each route, or @app.get above a function": "route_handlers routes",
        "lifespan=..., which runs code at startup and at shutdown": "on_startup on_shutdown",
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
