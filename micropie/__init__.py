"""micropie: URLs are the names of methods; one ``App`` is a WSGI and an ASGI application at once."""

from micropie.app import App
from micropie.asgi.websocket import WebSocket
from micropie.context import request
from micropie.decorators import (
    delete,
    get,
    hidden,
    inline,
    max_body_size,
    patch,
    pooled,
    post,
    put,
    reads_body,
    route,
    run_in,
    threaded,
    websocket,
)
from micropie.errors import (
    BadRequest,
    ClientDisconnect,
    ConnectionClosed,
    HTTPError,
    MethodNotAllowed,
    Redirect,
    ResponseError,
    SetupError,
)
from micropie.eventstream import EventStream
from micropie.forms import UploadFile
from micropie.headers import Headers, MutableHeaders
from micropie.legacy import Server
from micropie.loops import where
from micropie.middleware import HttpMiddleware, WebSocketMiddleware
from micropie.rendering import template
from micropie.request import Request, WebSocketRequest
from micropie.response import Response
from micropie.sessions import InMemorySessionBackend, SessionBackend
from micropie.sse import event
from micropie.static import static_file

__version__ = "0.1.0"

__all__ = [
    "App",
    "BadRequest",
    "ClientDisconnect",
    "ConnectionClosed",
    "EventStream",
    "HTTPError",
    "Headers",
    "HttpMiddleware",
    "InMemorySessionBackend",
    "MethodNotAllowed",
    "MutableHeaders",
    "Redirect",
    "Request",
    "Response",
    "ResponseError",
    "Server",
    "SessionBackend",
    "SetupError",
    "UploadFile",
    "WebSocket",
    "WebSocketMiddleware",
    "WebSocketRequest",
    "__version__",
    "delete",
    "event",
    "get",
    "hidden",
    "inline",
    "max_body_size",
    "patch",
    "pooled",
    "post",
    "put",
    "reads_body",
    "request",
    "route",
    "run_in",
    "static_file",
    "template",
    "threaded",
    "websocket",
    "where",
]
