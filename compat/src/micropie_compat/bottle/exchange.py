"""Handle one request to a ``Bottle``: run the hooks, the route's callback and the error handlers,
then convert the result to micropie's response.
"""

from __future__ import annotations

import logging
from codecs import iterencode
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, takewhile
from traceback import format_exc
from typing import Any, Protocol, TypeAlias, cast

from micropie import ClientDisconnect, Redirect, Request, Response
from micropie import HTTPError as NativeError
from micropie_compat.bottle.files import ServedFile
from micropie_compat.bottle.plugins import Encoder, as_json
from micropie_compat.bottle.responses import BaseResponse, HTTPError, HTTPResponse
from micropie_compat.bottle.routing import Arguments, Route, Router, RouteReset
from micropie_compat.bottle.state import EXCHANGE, MOUNTED, readable_environ
from micropie_compat.carrier import NO_VALUES, Answer, refused_method, status_of
from micropie_compat.core import (
    Config,
    EncodedAnswer,
    FileRange,
    ThreadStream,
    checked_headers,
    codec_of,
)
from micropie_compat.environs import Environ, WSGIApplication
from micropie_compat.originals import refuse_instance
from micropie_compat.results import (
    CHUNK,
    NO_CONTENT,
    SMALL,
    AnyFunction,
    Chunks,
    Values,
    close_if_closable,
)

logger = logging.getLogger("micropie")

# The route and its arguments, or the router's error; None until the hooks have run, since they may
# change the path, and if a filter of the program makes the arguments.
Found: TypeAlias = tuple[Route, Arguments] | HTTPError | None

# Exceptions that this module leaves to micropie's request flow.
_PASSED_ON = (NativeError, Redirect, ClientDisconnect)

# Responses are created without calling ``__init__``, which would take three times as long.
# ``__init__`` isn't needed, because the class attributes of ``BaseResponse`` are the defaults.
_BLANK = BaseResponse.__new__
# The beginning of the keys whose values may refer to the environ.
_NOT_SHARED = "bottle.request."
# Created once, because ``dict | HTTPResponse`` would create a new object at each call.
_MAY_HAVE_JSON = (dict, HTTPResponse)


Hooks: TypeAlias = dict[str, list[AnyFunction]]
"""An application's hooks, by the name of the event."""


class Application(Protocol):
    """The attributes and methods of a ``Bottle`` that an exchange uses."""

    hooks: Hooks
    router: Router
    routes: list[Route]
    _parts: list[Any]
    error_handler: dict[int, Callable[[HTTPError], object]]

    @property
    def catchall(self) -> bool:
        """Whether the client gets a 500 for an exception that a handler raises. If False, the
        server gets the exception.
        """

    def monitored(self) -> WSGIApplication | None:
        """Return a WSGI application that monitors have replaced, if any."""

    def default_error_handler(self, res: HTTPError) -> object:
        """Return the HTML page for an error that has no handler."""


class Exchange:
    """A request and its response. The environ and the response object are created when they are
    first used.

    micropie's ``Request`` refers to this object, which refers to micropie's exchange (``native``).
    This object doesn't refer to the ``Request``, because that would create a reference cycle.
    """

    __slots__ = ("_environ", "_response", "app", "arguments", "early", "native", "route")

    def __init__(
        self,
        app: Application,
        request: Request,
        route: Route | None = None,
        arguments: Values = NO_VALUES,
    ) -> None:
        self.app = app
        self.native = request._exchange
        self.route = route
        self.arguments = arguments
        self._environ: Environ | None = None
        self._response: BaseResponse | None = None
        self.early: dict[str, object] = {}
        """Values that were parsed without an environ, by key. They are copied to the environ when
        it is created.
        """
        carrier: Any = request  # ``vars(request)`` would create a dictionary
        carrier.bottle_exchange = self

    @property
    def response(self) -> BaseResponse:
        """The object on which handlers set status, headers and cookies through
        ``bottle.response``.
        """
        if self._response is None:
            self._response = response = _BLANK(BaseResponse)
            response._headers = {}
        return self._response

    @response.setter
    def response(self, response: BaseResponse) -> None:
        self._response = response

    @property
    def environ(self) -> Environ:
        """The request's WSGI environ, with the path decoded as UTF-8."""
        if self._environ is None:
            self._environ = environ = readable_environ(self.native)
            if self.early:
                environ.update(self.early)
            environ["bottle.app"] = self.app
            if self.route is not None:
                self._note_route(environ)
        return self._environ

    @environ.setter
    def environ(self, environ: Environ) -> None:
        self._environ = environ

    def share_environ(self) -> None:
        """Add the keys that the program has added to the environ to the server's, which WSGI
        middleware and access logs read.
        """
        made, native = self._environ, self.native
        # A handler may have replaced the environ by its own.
        if made is not None and native.environ is not None and EXCHANGE in made:
            for key in takewhile(EXCHANGE.__ne__, reversed(made)):
                if key not in native.outside and not key.startswith(_NOT_SHARED):
                    native.outside[key] = made[key]

    def find_route(self, request: Request) -> tuple[Route, Arguments]:
        """Run the ``before_request`` hooks, which may change the path, then find the route.

        Raises ``HTTPError`` if there is no route.
        """
        app, native = self.app, self.native
        for hook in app.hooks["before_request"][:]:
            hook()
        environ = self._environ
        # If no environ was created, no hook can have changed the path.
        try:
            found = (
                app.router.search(native.method, native.path, is_quick=False)
                if environ is None
                else app.router.match(environ)
            )
        except HTTPError as error:
            is_method = error.status_code == 405
            allowed = error.headers["Allow"].split(",") if is_method else ()
            raise refused_method(request, allowed) or error from None
        self.route, self.arguments = found
        if self._environ is not None:  # a filter may have created it
            self._note_route(self._environ)
        return found

    def _note_route(self, environ: Environ) -> None:
        environ["bottle.route"] = environ["route.handle"] = self.route
        environ["route.url_args"] = self.arguments


def end(
    exchange: Exchange, out: object, failure: BaseException | None, dumps: Encoder | None
) -> Answer:
    """Run the ``after_request`` hooks, and return the response for a handler's result or exception.

    ``dumps``: the route's JSON encoder.

    If the handler has raised ``RouteReset``, it is called once more, with its plugins applied
    again.

    Exceptions that micropie's request flow handles are raised again. If ``catchall`` is off, all
    other exceptions are raised again, too. So they are in an application that another ``Bottle``
    calls as WSGI, whose ``@error(500)`` handles them.
    """
    app = exchange.app
    try:
        try:
            if isinstance(failure, RouteReset):
                route: Any = exchange.route
                route.reset()
                out, dumps = route.call(**exchange.arguments), route.json_dumps
            elif failure is not None:
                raise failure
            if dumps is not None and isinstance(out, _MAY_HAVE_JSON):
                out = as_json(out, dumps, exchange.response)
        except HTTPResponse as answer:
            out = answer if dumps is None else as_json(answer, dumps, exchange.response)
        finally:
            if isinstance(out, HTTPResponse):
                out.apply(exchange.response)
            try:
                for hook in app.hooks["after_request"][:]:
                    hook()
            except HTTPResponse as answer:
                out = answer
                out.apply(exchange.response)
    except _PASSED_ON:
        raise
    except Exception as error:
        is_mounted = MOUNTED in (exchange.native.environ or ())
        if not app.catchall or is_mounted or isinstance(error, MemoryError):
            exchange.native.passes_failure_on = True
            exchange.share_environ()
            raise
        out = _failed(exchange, "Internal Server Error", error)
    finally:
        failure = None  # avoids a reference cycle between the traceback and this frame
    try:
        return to_response(exchange, out)
    finally:
        del out
        exchange.share_environ()


def _failed(exchange: Exchange, text: str, error: Exception) -> HTTPError:
    logger.error("%s failed", exchange.native.label, exc_info=error)
    return HTTPError(500, text, error, format_exc())


def to_response(exchange: Exchange, out: object) -> Answer:
    """Return micropie's response for a handler's result and the status, headers and cookies set on
    ``response``.

    Raises ``RecursionError`` if error handlers return each other's errors.
    """
    for _ in range(100):  # an error's handler may return an error, a response another response
        if not out and not hasattr(out, "__aiter__"):
            return _native(exchange, b"")
        if isinstance(out, str):
            return text_answer(exchange, out)
        if isinstance(out, bytes):
            return _native(exchange, out)
        if isinstance(out, _LISTS) and isinstance(out[0], _TEXTS):
            out = type(out[0])().join(out)
        elif isinstance(out, HTTPResponse):
            out.apply(exchange.response)
            if isinstance(out, HTTPError):
                app = exchange.app
                out = app.error_handler.get(out.status_code, app.default_error_handler)(out)
            else:
                out = out.body
        elif isinstance(out, ServedFile):
            return _native(exchange, _file_body(exchange, out))
        elif hasattr(out, "read"):
            return _native(exchange, _file_object(exchange, out))
        elif hasattr(out, "__aiter__"):
            return _native(exchange, out)
        else:
            peeked = _peeked(exchange, out)
            if isinstance(peeked, ThreadStream):
                return _native(exchange, peeked)
            close_if_closable(out)  # nothing else of it is sent
            out = peeked
    raise RecursionError("an error handler must return text or a response, not an error again")


def text_answer(exchange: Exchange, text: str) -> Answer:
    """Return the response for a string that a handler has returned."""
    response = exchange._response
    charset = "UTF-8" if response is None else response.charset
    return _native(
        exchange, text.encode() if charset == "UTF-8" else text.encode(codec_of(charset))
    )


# Created once, like ``_MAY_HAVE_JSON``.
_LISTS, _TEXTS = (tuple, list), (bytes, str)


def _native(exchange: Exchange, body: object) -> Answer:
    response, native = exchange._response, exchange.native
    # A program may have set the default for all responses.
    status, default, pairs = 200, BaseResponse.default_content_type, None
    if response is not None:
        line, pairs = response._status_line, response.headerlist
        status = 200 if line == "200 OK" else status_of(line)
    if type(body) is FileRange:
        body = ThreadStream(body)
    if (
        native.method != "HEAD"
        and status not in NO_CONTENT
        and (type(body) is bytes or type(body) is ThreadStream)
    ):
        # A ``Response`` isn't needed for bytes, which are encoded already, nor for a stream that no
        # session or middleware processes.
        headers, content_type, length = (
            ((), default, None) if pairs is None else checked_headers(pairs, is_given=True)
        )
        if isinstance(body, bytes):
            return EncodedAnswer((status, content_type, len(body), headers, body, None))
        made, config = native.answer, cast("Config", native.config)
        if made.session is None and made.response is None and not config.middlewares:
            if body.file is None or not native.sends_files:
                body.first = next(body.items)  # doesn't block: the first chunk was fetched already
            else:
                body.leave_to_server()
            made.begin(body)
            length = length if body.length is None else body.length
            return EncodedAnswer((status, content_type, length, headers, b"", body))
    if (
        not body
        and native.method == "HEAD"
        and response is not None
        and "Content-Length" in response
    ):
        # send the Content-Length that the response to GET would have
        body = FileRange(None, "", 0, 0, response.content_length)
    return Response(body, status, [("Content-Type", default)] if pairs is None else pairs, "")


def _file_body(exchange: Exchange, file: ServedFile) -> bytes | FileRange:
    """Return the body for a file: the bytes of a short file, or a ``FileRange`` of a longer one.

    The file is closed at once if it is short, otherwise when the request ends. Raises
    ``ResponseError`` if the file has become shorter, because its ETag belongs to all its bytes.
    """
    start = file.tell()
    part = FileRange(file, str(file.name), start + file.length, start, file.length)
    native = exchange.native
    if file.length <= SMALL[native.sends_files]:
        with file:
            return b"".join(part)
    native.on_close(file.close)
    part.read_ahead(native.sends_files)
    return part


def _file_object(exchange: Exchange, file: Any) -> object:
    """Return the body for a file-like object. If the object returns strings, they are encoded in
    the response's charset.

    The original Bottle can't send files opened in text mode.
    """
    response = exchange._response
    if response is None or response.charset == "UTF-8":
        return file
    pieces = iter(partial(file.read, CHUNK), None)
    return Chunks.of(file, _encoded(exchange, next(pieces), takewhile(bool, pieces)))


def _encoded(exchange: Exchange, first: bytes | str, rest: Iterator[Any]) -> Iterator[bytes]:
    """Return an iterator over chunks. Strings are encoded in the response's charset, by one encoder
    because UTF-16 has a byte order mark at the beginning only.
    """
    chunks = chain((first,), rest)
    if isinstance(first, bytes):
        return chunks
    return iterencode(chunks, codec_of(exchange.response.charset))


def _peeked(exchange: Exchange, out: Any) -> object:
    """Fetch an iterable's first chunk. Return a stream of all chunks, "" if there are none, or the
    ``HTTPResponse`` that the iterable raised.
    """
    try:
        refuse_instance("bottle", out)
        rest = iter(out)
        first = next(rest)
        while not first:
            first = next(rest)
        refuse_instance("bottle", first)
    except StopIteration:
        return ""
    except HTTPResponse as answer:
        return answer
    except _PASSED_ON:
        raise
    except Exception as error:
        if not exchange.app.catchall:
            exchange.native.passes_failure_on = True
            raise
        return _failed(exchange, "Unhandled exception", error)
    if isinstance(first, HTTPResponse):
        return first
    if not isinstance(first, _TEXTS):
        return HTTPError(500, f"Unsupported response type: {type(first)}")
    return ThreadStream(_encoded(exchange, first, rest), owner=out)
