"""Stands in for the module ``bottle``: ``from micropie.compat import bottle``.

An application written for Bottle 0.13 runs on it as it is, under any WSGI or ASGI server. docs/moving/bottle.md has the
differences that are meant, and how to go on from here.
"""

from __future__ import annotations

import threading
from html import escape as html_escape
from typing import Any

from micropie.compat.bottle import templates as _templates
from micropie.compat.bottle.app import (
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
from micropie.compat.bottle.config import ConfigDict
from micropie.compat.bottle.dicts import FormsDict, HeaderDict, MultiDict, WSGIHeaderDict
from micropie.compat.bottle.files import parse_range_header, static_file
from micropie.compat.bottle.forms import FileUpload
from micropie.compat.bottle.plugins import JSONPlugin, PluginError, TemplatePlugin
from micropie.compat.bottle.program import load_app, run
from micropie.compat.bottle.requests import BaseRequest, LocalRequest, Request, parse_auth, path_shift, request
from micropie.compat.bottle.responses import (
    HTTP_CODES,
    BaseResponse,
    HTTPError,
    HTTPResponse,
    LocalResponse,
    Response,
    http_date,
    parse_date,
    response,
)
from micropie.compat.bottle.routing import (
    Route,
    RouteBuildError,
    RouteError,
    Router,
    RouteReset,
    RouteSyntaxError,
    yieldroutes,
)
from micropie.compat.bottle.server import ServerAdapter, debug, load, server_names
from micropie.compat.bottle.state import BottleException, Switches
from micropie.compat.bottle.templates import (
    TEMPLATE_PATH,
    TEMPLATES,
    BaseTemplate,
    Jinja2Template,
    MakoTemplate,
    TemplateError,
    jinja2_template,
    jinja2_view,
    mako_template,
    mako_view,
    template,
    view,
)

__all__ = [
    "HTTP_CODES",
    "TEMPLATES",
    "TEMPLATE_PATH",
    "AppStack",
    "BaseRequest",
    "BaseResponse",
    "BaseTemplate",
    "Bottle",
    "BottleException",
    "ConfigDict",
    "FileUpload",
    "FormsDict",
    "HTTPError",
    "HTTPResponse",
    "HeaderDict",
    "JSONPlugin",
    "Jinja2Template",
    "LocalRequest",
    "LocalResponse",
    "MakoTemplate",
    "MultiDict",
    "PluginError",
    "Request",
    "Response",
    "Route",
    "RouteBuildError",
    "RouteError",
    "RouteReset",
    "RouteSyntaxError",
    "Router",
    "ServerAdapter",
    "TemplateError",
    "TemplatePlugin",
    "WSGIHeaderDict",
    "abort",
    "app",
    "apps",
    "auth_basic",
    "debug",
    "default_app",
    "delete",
    "error",
    "get",
    "hook",
    "html_escape",
    "html_quote",
    "http_date",
    "install",
    "jinja2_template",
    "jinja2_view",
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
    "uninstall",
    "url",
    "view",
    "yieldroutes",
]

__version__ = "0.13.4"

app = apps = default_app
local = threading.local()

# What moved programs may ask for and is not here, with what to write.
_NOT_HERE = {
    "CheetahTemplate": "Cheetah is not offered: write jinja2_template",
    "cheetah_template": "Cheetah is not offered: write jinja2_template",
    "cheetah_view": "Cheetah is not offered: write jinja2_view",
    "ResourceManager": "write pathlib.Path(__file__).parent for an application's own files",
    "cookie_encode": "write response.set_cookie(name, value, secret=...)",
    "cookie_decode": "write request.get_cookie(name, secret=...)",
    "WSGIFileWrapper": "return the file object itself, or static_file(...)",
    "ext": "import the plugin's module by its own name: import bottle_sqlite, not bottle.ext.sqlite",
}


def __getattr__(name: str) -> Any:
    if name == "DEBUG":
        return Switches.debug
    if name == "NORUN":
        return Switches.norun
    if name == "SimpleTemplate":
        return _templates.simple_template()
    if name in _NOT_HERE:
        raise ImportError(f"micropie.compat.bottle has no {name}: {_NOT_HERE[name]}")
    raise AttributeError(f"micropie.compat.bottle has no {name}")


def tob(text: Any, enc: str = "utf8") -> bytes:
    """Return text as bytes, None as b""."""
    return text.encode(enc) if isinstance(text, str) else b"" if text is None else bytes(text)


def touni(data: object, enc: str = "utf8", err: str = "strict") -> str:
    """Return bytes as text, None as ""."""
    return data.decode(enc, err) if isinstance(data, bytes) else "" if data is None else str(data)


tonat = touni


def html_quote(text: str) -> str:
    """Return text as a quoted HTML attribute."""
    escaped = html_escape(text).replace("\n", "&#10;").replace("\r", "&#13;").replace("\t", "&#9;")
    return f'"{escaped}"'
