"""micropie: URLs are the names of methods; one ``App`` is a WSGI and an ASGI application at
once.
"""

from pathlib import Path as _Path
from typing import TYPE_CHECKING as _TYPE_CHECKING

from micropie.app import App, Server, dual
from micropie.binding import Body, Cookie, Form, Header, Message, Query
from micropie.decorators import (
    command,
    delete,
    describe,
    get,
    hidden,
    max_body_size,
    max_data_size,
    patch,
    post,
    put,
    reads_body,
    requires,
    route,
    run_in,
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
from micropie.errors import refuse_namesake as _refuse_namesake
from micropie.escaping import escape, html
from micropie.execution import run_async, where
from micropie.flow import HttpMiddleware, WebSocketMiddleware
from micropie.forms import UploadFile
from micropie.headers import Headers, MutableHeaders
from micropie.http import (
    BindingError,
    BindingErrors,
    Request,
    Response,
    flash,
    get_flashed_messages,
)
from micropie.http import bound_request as request
from micropie.on_demand import names_on_demand as _names_on_demand
from micropie.sessions import InMemorySessionBackend, SessionBackend
from micropie.templates import template
from micropie.websockets import WebSocketRequest

if _TYPE_CHECKING:
    from micropie.asgi import WebSocket
    from micropie.files import static_file
    from micropie.http import Page
    from micropie.streams import EventStream, event

__getattr__, __dir__ = _names_on_demand(
    __name__,
    {"asgi": "WebSocket", "files": "static_file", "http": "Page", "streams": "EventStream event"},
    elsewhere={
        "App": "FastAPI Flask Litestar Bottle Starlette",
        "class Pies(App), and pies = Pies() in the outer one": "APIRouter Blueprint Controller",
        "raise HTTPError(404)": "HTTPException HTTPResponse abort Http404",
        'Redirect("/pies"), to return or to raise': "redirect RedirectResponse HTTPRedirect",
        'return {"name": "apple"}, which is sent as JSON': "jsonify JSONResponse",
        "Response(body, status=201)": "HttpResponse make_response",
        'template("pie.html", pie=pie)': "render_template render Jinja2Templates view",
        'static_file("pie.pdf", root="files")': "send_file send_from_directory FileResponse",
        "a parameter db: Db, and @app.provides(Db) above what opens it": "Depends Provide",
        'a parameter pie: UploadFile, or number: int for "/pies/<number:int>"': "File Path",
        "request.after_response(function)": "BackgroundTasks BackgroundTask",
        "self.request.session, and self.response": "session response",
        'self.url_for("show", 5)': "url_for",
        "app.run(), with app = Root()": "run quickstart",
        "nothing above public methods, which are URLs": "expose",
        "except ConnectionClosed": "WebSocketDisconnect",
        "from micropie.middleware import ...": "CORSMiddleware CSRFMiddleware RateLimit",
        "from micropie.testing import TestClient": "TestClient",
    },
)

_refuse_namesake(_Path(__file__).parent.parent)

__version__ = "1.0.0rc1"

# fmt: off
__all__ = [
    "App", "BadRequest", "BindingError", "BindingErrors", "Body", "ClientDisconnect",
    "ConnectionClosed", "Cookie", "EventStream", "Form", "HTTPError", "Header", "Headers",
    "HttpMiddleware", "InMemorySessionBackend", "Message", "MethodNotAllowed", "MutableHeaders",
    "Page", "Query", "Redirect", "Request", "Response", "ResponseError", "Server", "SessionBackend",
    "SetupError", "UploadFile", "WebSocket", "WebSocketMiddleware", "WebSocketRequest",
    "__version__", "command", "delete", "describe", "dual", "escape", "event", "flash", "get",
    "get_flashed_messages", "hidden", "html", "max_body_size", "max_data_size", "patch", "post",
    "put", "reads_body", "request", "requires", "route", "run_async", "run_in", "static_file",
    "template", "websocket", "where",
]
# fmt: on
