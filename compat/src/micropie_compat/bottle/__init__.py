"""A drop-in replacement for the module ``bottle``: ``from micropie_compat import bottle``.

An application written for Bottle 0.13 runs on this package unchanged, under any WSGI or ASGI
server. docs/moving/bottle.md lists the intentional differences and explains how to migrate to
micropie's own API.

Open ``exchange.py`` to change how a request is handled, including errors and ``abort``,
``routing.py`` for rules, ``requests.py`` and ``responses.py`` for the objects ``request`` and
``response``, ``app.py`` for the class ``Bottle``. ``compat/tests/bottle_requests.py`` has the
requests that the tests send to this package and to the original, to compare the responses.
"""

from __future__ import annotations

import threading
from collections.abc import MutableMapping
from html import escape
from importlib.machinery import PathFinder
from typing import Any

from micropie_compat.bottle import ext
from micropie_compat.bottle import templates as _templates
from micropie_compat.bottle.app import (
    ERROR_PAGE_TEMPLATE,
    AppStack,
    Bottle,
    abort,
    auth_basic,
    default_app,
    delete,
    error,
    get,
    hook,
    install,
    makelist,
    mount,
    patch,
    post,
    put,
    redirect,
    route,
    uninstall,
    url,
)
from micropie_compat.bottle.config import ConfigDict
from micropie_compat.bottle.cookies import cookie_decode, cookie_encode, cookie_is_encoded
from micropie_compat.bottle.dicts import FormsDict, HeaderDict, MultiDict, WSGIHeaderDict
from micropie_compat.bottle.files import parse_range_header, static_file
from micropie_compat.bottle.forms import FileUpload, MultipartError
from micropie_compat.bottle.plugins import JSONPlugin, PluginError, TemplatePlugin
from micropie_compat.bottle.program import load_app, run
from micropie_compat.bottle.properties import DictProperty, HeaderProperty, lazy_attribute
from micropie_compat.bottle.requests import (
    BaseRequest,
    LocalRequest,
    Request,
    parse_auth,
    path_shift,
    request,
)
from micropie_compat.bottle.resources import ResourceManager
from micropie_compat.bottle.responses import (
    HTTP_CODES,
    STATUS_LINES,
    BaseResponse,
    HTTPError,
    HTTPResponse,
    LocalResponse,
    Response,
    http_date,
    parse_date,
    response,
)
from micropie_compat.bottle.routing import (
    Route,
    RouteBuildError,
    RouteError,
    Router,
    RouteReset,
    RouterUnknownModeError,
    RouteSyntaxError,
    yieldroutes,
)
from micropie_compat.bottle.server import (
    AutoServer,
    CherootServer,
    GunicornServer,
    ServerAdapter,
    WaitressServer,
    WSGIRefServer,
    debug,
    load,
    server_names,
)
from micropie_compat.bottle.state import BottleException
from micropie_compat.bottle.templates import (
    TEMPLATE_PATH,
    TEMPLATES,
    BaseTemplate,
    Jinja2Template,
    MakoTemplate,
    StplSyntaxError,
    TemplateError,
    jinja2_template,
    jinja2_view,
    mako_template,
    mako_view,
    template,
    view,
)
from micropie_compat.missing import tell
from micropie_compat.results import words

__all__ = [
    "DEBUG",
    "ERROR_PAGE_TEMPLATE",
    "HTTP_CODES",
    "NORUN",
    "TEMPLATES",
    "TEMPLATE_PATH",
    "AppStack",
    "AutoServer",
    "BaseRequest",
    "BaseResponse",
    "BaseTemplate",
    "Bottle",
    "BottleException",
    "CherootServer",
    "ConfigDict",
    "DictMixin",
    "DictProperty",
    "FileUpload",
    "FormsDict",
    "GunicornServer",
    "HTTPError",
    "HTTPResponse",
    "HeaderDict",
    "HeaderProperty",
    "JSONPlugin",
    "Jinja2Template",
    "LocalRequest",
    "LocalResponse",
    "MakoTemplate",
    "MultiDict",
    "MultipartError",
    "PluginError",
    "Request",
    "ResourceManager",
    "Response",
    "Route",
    "RouteBuildError",
    "RouteError",
    "RouteReset",
    "RouteSyntaxError",
    "Router",
    "RouterUnknownModeError",
    "ServerAdapter",
    "StplSyntaxError",
    "TemplateError",
    "TemplatePlugin",
    "WSGIHeaderDict",
    "WSGIRefServer",
    "WaitressServer",
    "abort",
    "app",
    "apps",
    "auth_basic",
    "basestring",
    "cookie_decode",
    "cookie_encode",
    "cookie_is_encoded",
    "debug",
    "default_app",
    "delete",
    "error",
    "ext",
    "get",
    "hook",
    "html_escape",
    "html_quote",
    "http_date",
    "install",
    "jinja2_template",
    "jinja2_view",
    "lazy_attribute",
    "load",
    "load_app",
    "local",
    "makelist",
    "mako_template",
    "mako_view",
    "mount",
    "parse_auth",
    "parse_date",
    "parse_range_header",
    "patch",
    "path_shift",
    "post",
    "put",
    "py3k",
    "redirect",
    "request",
    "response",
    "route",
    "run",
    "server_names",
    "static_file",
    "template",
    "tob",
    "tonat",
    "touni",
    "unicode",
    "uninstall",
    "url",
    "view",
    "yieldroutes",
]

__version__ = "0.13.4"
# Bottle's values, because some programs display them
__author__, __license__ = "Marcel Hellkamp", "MIT"

_HTTP_STATUS_LINES = STATUS_LINES
app = apps = default_app
local = threading.local()

DEBUG = NORUN = False  # set by ``debug`` and ``load_app``
py3k = True
unicode = basestring = str
DictMixin = MutableMapping

# Standard library names that ``from bottle import *`` also imports, because the original module
# imports them.
_OF_PYTHON = {
    name: target or name
    for name, _, target in (
        one.partition("=")
        for one in words(
            """
            base64 calendar configparser email functools hashlib hmac itertools mimetypes os pickle
            re sys tempfile time warnings weakref
            BytesIO=io:BytesIO
            CookieError=http.cookies:CookieError
            FunctionType=types:FunctionType
            Morsel=http.cookies:Morsel
            NamedTemporaryFile=tempfile:NamedTemporaryFile
            SimpleCookie=http.cookies:SimpleCookie
            UTC=datetime:UTC
            UrlSplitResult=urllib.parse:SplitResult
            cached_property=functools:cached_property
            datedate=datetime:date
            datetime=datetime:datetime
            format_exc=traceback:format_exc
            httplib=http.client
            imap=builtins:map
            json_dumps=json:dumps
            json_lds=json:loads
            json_loads=json:loads
            new_module=types:ModuleType
            print_exc=traceback:print_exc
            thread=_thread
            timedelta=datetime:timedelta
            timezone=datetime:timezone
            update_wrapper=functools:update_wrapper
            urlencode=urllib.parse:urlencode
            urljoin=urllib.parse:urljoin
            urlquote=urllib.parse:quote
            urlunquote=urllib.parse:unquote
            """
        )
    )
}
# Names whose code is taken from the package ``bottle``, if that is installed: SimpleTemplate's, and
# helpers that a few programs use.
_OF_ENGINE = words(
    "SimpleTemplate StplParser WSGIFileWrapper "
    "_MultipartParser _closeiter _hkey _hval _lscmp _parse_http_header _parse_qsl _rangeiter "
    "_re_flatten"
)
_HAS_ENGINE = PathFinder.find_spec("bottle") is not None
__all__.extend([*_OF_PYTHON, "threading", *(_OF_ENGINE[:3] if _HAS_ENGINE else ())])


def __getattr__(name: str) -> Any:
    if name in _OF_ENGINE:
        return getattr(_templates.engine(), name)
    if name in _OF_PYTHON:
        return load(_OF_PYTHON[name])
    tell(__package__, name)


def tob(text: Any, enc: str = "utf8") -> bytes:
    """Return a string encoded as bytes; for None, return b""."""
    return text.encode(enc) if isinstance(text, str) else b"" if text is None else bytes(text)


def touni(data: object, enc: str = "utf8", err: str = "strict") -> str:
    """Return bytes decoded as a string. For None, return ""; for any other object, its ``str``."""
    return data.decode(enc, err) if isinstance(data, bytes) else "" if data is None else str(data)


tonat = touni


def html_escape(string: str) -> str:
    """Escape ``&``, ``<``, ``>`` and quotes in a string for HTML; "'" becomes ``&#039;``, as in
    Bottle.
    """
    return escape(string).replace("&#x27;", "&#039;")


def html_quote(text: str) -> str:
    """Return a string as an HTML attribute's value in quotes, with line ends and tabs escaped."""
    escaped = html_escape(text).replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
    return f'"{escaped}"'
