"""micropie, a web framework in which the names of methods are URLs, and an ``App`` is both a WSGI
and an ASGI application.

Open ``app.py`` to change the public methods of an application, and ``_core/http/settings.py`` to
add a setting. A new public name goes into ``__all__`` here or in the package where it belongs, into
``PROMISED`` in ``tests/project/test_public_names.py``, and onto a page of docs/reference.
"""

from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

from micropie._core.binding import Body, Cookie, Form, Header, Message, Query, Session
from micropie._core.errors import (
    BadRequest,
    ClientDisconnect,
    ConnectionClosed,
    HTTPError,
    MethodNotAllowed,
    Redirect,
    ResponseError,
    SetupError,
)
from micropie._core.errors import refuse_namesake as _refuse_namesake
from micropie._core.execution import run_async, where
from micropie._core.flow import HttpMiddleware, WebSocketMiddleware
from micropie._core.http import (
    BindingError,
    BindingErrors,
    Request,
    Response,
    flash,
    get_flashed_messages,
)
from micropie._core.http import bound_request as request
from micropie._core.http.escaping import escape, html
from micropie._core.http.forms import UploadFile
from micropie._core.http.headers import Headers, MutableHeaders
from micropie._core.http.websockets import WebSocketRequest
from micropie._core.on_demand import names_on_demand as _names_on_demand
from micropie._core.routing.decorators import (
    command,
    delete,
    describe,
    get,
    hidden,
    max_body_size,
    max_data_size,
    max_json_values,
    patch,
    post,
    put,
    reads_body,
    requires,
    route,
    run_in,
    websocket,
)
from micropie._core.sessions import InMemorySessionBackend, SessionBackend
from micropie._core.spellings import SESSION_TIMEOUT, MultipartFileError
from micropie._core.templates import template
from micropie.app import App, Server, dual

if _TYPE_CHECKING:
    from micropie._core.execution.pool import (
        Progress,
        RetireProcess,
        batched,
        check_cancelled,
        pool_index,
        progress,
    )
    from micropie._core.files import static_file
    from micropie._core.http import Page
    from micropie._core.streams import EventStream, event
    from micropie.asgi import WebSocket


def _explain(name: str) -> str:
    """Return what to write instead of a name that other frameworks have, or "" for any other
    name.
    """
    if name.startswith("__"):  # Python and its tools look up such names
        return ""
    from importlib import import_module

    return str(import_module("micropie.debug.missing_names").explain(name))


__getattr__, __dir__ = _names_on_demand(
    __name__,
    {
        "asgi": "WebSocket",
        "_core.execution.pool": (
            "Progress RetireProcess batched check_cancelled pool_index progress"
        ),
        "_core.files": "static_file",
        "_core.http": "Page",
        "_core.streams": "EventStream event",
    },
    explain=_explain,
)

# Set ``__module__`` so that tracebacks and logs show the name that applications import. Don't do
# this for a class with annotations: ``typing`` would look up the names in its annotations in the
# wrong module.
for _error in (
    BadRequest,
    BindingError,
    ClientDisconnect,
    ConnectionClosed,
    HTTPError,
    MethodNotAllowed,
    MultipartFileError,
    Redirect,
    ResponseError,
    SetupError,
):
    _error.__module__ = __name__

_refuse_namesake(_Path(__file__).parent.parent)

__version__ = "1.0.0rc1"

__all__ = [
    "SESSION_TIMEOUT",
    "App",
    "BadRequest",
    "BindingError",
    "BindingErrors",
    "Body",
    "ClientDisconnect",
    "ConnectionClosed",
    "Cookie",
    "EventStream",
    "Form",
    "HTTPError",
    "Header",
    "Headers",
    "HttpMiddleware",
    "InMemorySessionBackend",
    "Message",
    "MethodNotAllowed",
    "MultipartFileError",
    "MutableHeaders",
    "Page",
    "Progress",
    "Query",
    "Redirect",
    "Request",
    "Response",
    "ResponseError",
    "RetireProcess",
    "Server",
    "Session",
    "SessionBackend",
    "SetupError",
    "UploadFile",
    "WebSocket",
    "WebSocketMiddleware",
    "WebSocketRequest",
    "__version__",
    "batched",
    "check_cancelled",
    "command",
    "delete",
    "describe",
    "dual",
    "escape",
    "event",
    "flash",
    "get",
    "get_flashed_messages",
    "hidden",
    "html",
    "max_body_size",
    "max_data_size",
    "max_json_values",
    "patch",
    "pool_index",
    "post",
    "progress",
    "put",
    "reads_body",
    "request",
    "requires",
    "route",
    "run_async",
    "run_in",
    "static_file",
    "template",
    "websocket",
    "where",
]
