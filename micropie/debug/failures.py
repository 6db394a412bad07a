"""Hints for exceptions that come from common errors. A hint is logged after the traceback."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from difflib import get_close_matches

from micropie._core.errors import annotations_of, is_framework, signature_of
from micropie._core.http import Exchange
from micropie._core.on_demand import by_name
from micropie._core.routing import handlers_route
from micropie._core.routing.discovery import AnyFunction

# The functions that raise KeyError for a name that the client didn't send.
_LOOK_UPS = ("MultiDict.__getitem__", "Headers.__getitem__")
_OURS = ("HTTPError", "Request", "Response", "Session", "UploadFile", "WebSocket")


def hint_for(exchange: Exchange, failure: BaseException) -> str:
    """Return the hint for an exception of a request's handler, or ""."""
    kind, function = type(failure), getattr(exchange.route, "function", None)
    if kind is KeyError:
        return _of_name(failure)
    if any(_FOREIGN.match(f"{one.__module__}.{one.__name__}") for one in kind.__mro__):
        return 'Raise an exception of micropie: HTTPError(404, "No pie.") or Redirect("/pies").'
    hints = _HINTS.get(kind.__name__)
    if hints is None:
        # Don't call ``str()`` for a custom exception, because the call may raise another exception.
        return ""
    # Limit the message's length, because it may contain text from a client and matching takes
    # quadratic time.
    text = str(failure)[:300]
    owner = type(getattr(failure, "obj", None))
    if owner.__name__ in _OURS and not is_framework(owner.__module__):
        return ""  # skip a class of the same name in another library
    found = (advice for expression, advice in hints.items() if re.search(expression, text))
    if advice := next(found, "") or _of_none(function, text):
        return advice
    if kind is TypeError:
        return _of_text(function, text) or _of_call(failure, text)
    return _of_process(exchange, text) or _of_attribute(failure)


def _of_name(failure: BaseException) -> str:
    """Return the hint for a KeyError, if its key is a name that is missing in the query, the form
    or the headers. Otherwise return "".
    """
    *_, (frame, _) = traceback.walk_tb(failure.__traceback__)
    if is_framework(frame.f_globals.get("__name__")) and frame.f_code.co_qualname in _LOOK_UPS:
        return f"The client sent no {failure}: use .get({failure}), or declare it as a parameter."
    return ""


def _of_none(function: AnyFunction | None, text: str) -> str:
    """Return the hint for a parameter whose default is None although its annotation isn't."""
    if function is not None and "'NoneType'" in text:
        for name, one in signature_of(function).parameters.items():
            stated = str(one.annotation)
            if one.default is None and one.annotation is not one.empty and "None" not in stated:
                return f"If the client sends no {name}, it is None: test it, or change the default."
    return ""


def _of_text(function: AnyFunction | None, text: str) -> str:
    """Return the hint for a parameter that has no annotation but is used as a number."""
    code = getattr(function, "__code__", None)
    if code and re.search(r"str.*\bint\b|\bint\b.*str", text):
        for name in code.co_varnames[1 : code.co_argcount]:
            if name not in annotations_of(function):
                return f"Without an annotation, {name} is text: write {name}: int, for example."
    return ""


def _of_call(failure: BaseException, text: str) -> str:
    """Return the hint for a micropie function that was called with wrong arguments. The hint shows
    the function's signature.
    """
    found = re.match(r"(?:(\w+)\.)?(\w+)\(\) (?:got|missing|takes)", text)
    if found is None:
        return ""
    owner, name = found.groups()
    *_, (frame, _) = traceback.walk_tb(failure.__traceback__)
    first = owner or name
    called = frame.f_globals.get(first) or getattr(sys.modules["micropie"], first, None)
    if owner is not None and name != "__init__":
        called = getattr(called, name, None)
    if called is None or not is_framework(called.__module__):
        return ""
    parameters = signature_of(called).parameters.values()
    shown = [one.replace(annotation=one.empty) for one in parameters if one.name != "self"]
    return f"It takes {inspect.Signature(shown)}."


def _of_process(exchange: Exchange, text: str) -> str:
    """Return the hint for an attribute that is missing in a process of the pool, because it is set
    in ``__init__``, which isn't called there.
    """
    route = handlers_route(exchange)
    for name in vars(route.config.app) if route is not None and route.is_pooled else ():
        if f"no attribute {name!r}" in text:
            return (
                "In a process of the pool, self has no attributes that __init__ sets: store "
                f"{name} in the class or the module."
            )
    return ""


def _of_attribute(failure: BaseException) -> str:
    """Return the hint for an attribute that a micropie object lacks. The hint lists the object's
    public names.
    """
    owner, name = getattr(failure, "obj", None), getattr(failure, "name", None) or ""
    names = [one for one in dir(owner) if one[:1] != "_"]
    if not (names and is_framework(type(owner).__module__)):
        return ""
    near = get_close_matches(name, names, n=3)
    return f"Did you mean {' or '.join(near)}?" if near else f"It has {', '.join(names)}."


# Exception classes that other frameworks turn into responses.
_FOREIGN = re.compile(
    r"(starlette|werkzeug|bottle|cherrypy|django)\b.*\.(HTTP\w+|Http404|PermissionDenied)$"
)

# Attributes that requests have in other frameworks, each with its hint. Templates may use them too.
_OF_REQUESTS = {
    f"Request(' object| object') has no attribute '{name}'": f"Write {own}."
    for name, own in by_name(
        {
            'request.query["name"]': "args GET",
            'request.form["name"]': "POST forms",
            'request.query["name"], or for a form request.form["name"]': "params values",
            'request.files["name"]': "FILES",
            'request.cookies["name"]': "COOKIES",
            'request.headers["Name"]': "META environ",
            "request.read(), or await request.body()": "data",
            "request.client.host (on a UNIX socket, request.client is None)": "remote_addr",
            "request.state.user, if a hook has set it": "user",
        }
    ).items()
}

# Hints for idioms of other frameworks, by the class of the exception that the idiom raises. Each
# key is a regular expression for the exception's message.
_HINTS = {
    "TypeError": {
        "method.* can't be": "Write the parentheses: await request.body(), not request.body.",
        "can't be (awaited|used in 'await')|MultiDict.__call__.. missing": (
            "Remove await: only async functions can be awaited, not a def of your own, "
            "request.json() or the methods of uploads. request.form and request.files are "
            "attributes: remove their () as well."
        ),
        "cookie.* keyword argument 'secret'": (
            'Write request.set_signed_cookie("name", value), with App(secret_key=...).'
        ),
        "(render|template)(_async|_stream)?[(][)] takes .* positional": (
            'Leave the request out: render("page.html", {"name": "value"}).'
        ),
        "'Response' object does not support item": "Write response.headers[...].",
        "'coroutine' object": "Write await in front of the call of the async function.",
        "'builtin_function_or_method' object is not iterable": (
            "Write the parentheses, in a template too: d.items(), not d.items."
        ),
        "Mapping.get.. got an unexpected keyword argument 'type'": (
            "To convert a value, declare a parameter: def pies(self, page: int = 1)."
        ),
        "'(Headers|MultiDict)' object does not support item": (
            "What the client sent can't be changed: to set a response header, write "
            "response.headers[...] = value; to pass a value on, write request.state.name = value."
        ),
        "'WebSocket' object is not iterable": "Use an async loop: async for message in ws.",
        "'async_generator' object is not iterable": "Write async for, in an async def.",
        "object with __aiter__ method, got generator": (
            "Iterate over a generator with for, not async for. To read the body in an async def, "
            "use request.stream() instead of request.chunks()."
        ),
        "'method' object is not subscriptable": 'Write the parentheses: request.json()["name"].',
    },
    "AttributeError": {
        "'(method|function)' object has no attribute '(decode|get|items|read|split|strip)'": (
            "It is a method: call it first, as in request.read() and request.json()."
        ),
        "(?<!'Response') object has no attribute '(session|cookies|form|files|query|headers)'$": (
            "It is an attribute of the request, such as self.request.session or self.request.query."
        ),
        "'coroutine' object": "Write await in front of the call of the async function.",
        "property '(request|response)' of": (
            "To pass a value on, set self.request.state.name; to send a response, return it."
        ),
        "'HTTPError' object has no attribute": (
            "An error handler takes the request as a parameter: def missing(request, error)."
        ),
        "'str' object has no attribute '(filename|save_to|content_type)'": (
            "Annotate the parameter with UploadFile, and give the form "
            'enctype="multipart/form-data".'
        ),
        "'UploadFile' object has no attribute '(save|move|write_to)": (
            'Write upload.save_to("uploads") with the name of a directory.'
        ),
        "'ResourceContext' object has no attribute": (
            "Open the resource in a with block: with request.resource(Db) as db (or async with)."
        ),
        "'Session' object has no attribute": (
            'A session is a dict: use session["name"]. App(session_timeout=...) sets how long '
            "it lasts."
        ),
        "'WebSocket' object has no attribute '(iter_|listen|read|receive|recv|send)": (
            "Use one of: async for message in ws; await ws.receive_text(); await ws.send_text(...)."
        ),
        **{
            f"'Response' object has no attribute '{name}'": f"Write {own}."
            for name, own in by_name(
                {
                    "response.status = 201": "status_code",
                    'response.content_type = "text/csv"': "mimetype media_type",
                    '"return body" in the handler': "data text content json send write end",
                    'return Redirect("/pies")': "redirect",
                    'response.set_cookie("name", "value")': "cookies",
                }
            ).items()
        },
        **_OF_REQUESTS,
    },
    "CodecError": {
        "of type (type|function|method) can't": (
            "Write the parentheses: return self.render(...), not self.render."
        ),
    },
    "ProgrammingError": {  # raised by sqlite3
        "SQLite objects created in a thread": (
            "Open the connection for each request, in a function below @app.provides(Connection)."
        ),
    },
    "RuntimeError": {  # raised by asyncio
        "no (running|current) event loop": (
            "No asyncio event loop runs here. A def handler runs in a thread: use async def, or "
            "run_async(function). On trio, use anyio instead of asyncio."
        ),
        "cannot be called from a running event loop": (
            "Write await f() instead of asyncio.run(f())."
        ),
    },
    "TemplateSyntaxError": {  # raised by Jinja2
        "unknown tag 'csrf_token'": "Write {{ csrf_input }} in the form.",
        "unknown tag 'url'": "Write {{ url_for('name', 5) }}.",
        "expected token 'end of print statement', got ':'": (
            "Put the arguments of a filter in parentheses: {{ name|filter('x') }}. "
            "To format a date, write {{ day.strftime('%Y') }}."
        ),
        "unknown tag '(static|load)'": "Write {{ static_url('site.css') }}, without {% load %}.",
    },
    "UndefinedError": {
        **_OF_REQUESTS,
        "^'errors' is undefined$": (
            'The template uses a variable named errors. Add the parameter "errors: BindingErrors" '
            "to the handler, and pass it on with template(..., errors=errors)."
        ),
    },
}
