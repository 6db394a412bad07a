"""``Request`` and ``Response``: the objects that handlers and tools read and set.

Most of their attributes are computed when they are first read.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from http.cookies import CookieError, Morsel, SimpleCookie
from io import BytesIO
from math import inf
from typing import IO, Any, ClassVar

from micropie import Request as NativeRequest
from micropie_compat.cherrypy.body import RequestBody
from micropie_compat.cherrypy.config import config as global_config
from micropie_compat.cherrypy.dispatch import Dispatcher
from micropie_compat.cherrypy.errors import HTTPError, InternalRedirect
from micropie_compat.cherrypy.hooks import Hook, HookMap, hookpoints, of_all_requests  # noqa: F401 - re-exported by _cprequest
from micropie_compat.cherrypy.lazily import lazy
from micropie_compat.cherrypy.lib import EncodedChunks, ServedChunks, pieces_of
from micropie_compat.cherrypy.lib.httputil import (
    HeaderMap,
    Host,
    HTTPDate,
    decode_TEXT,
    parse_query_string,
    valid_status,
)
from micropie_compat.cherrypy.log import log
from micropie_compat.cherrypy.plans import NO_PLAN, Plan
from micropie_compat.cherrypy.serving import Exchange, Outside, refuse_in_native, serving
from micropie_compat.cherrypy.types import Namespace, Parameters, Section
from micropie_compat.core import Exchange as NativeExchange
from micropie_compat.core import FileRange
from micropie_compat.environs import Environ, body_of, own_environ, protocol_of, read_cookies
from micropie_compat.overrides import Overridable
from micropie_compat.results import Chunks, close_if_closable, in_utf8, merged, words


class _DefaultRemote:
    """The client's address in a request that no client has sent. In a native handler, reading it
    raises ``RuntimeError``, because 127.0.0.1 would be taken for the address of the client.
    """

    def __init__(self, address: Host) -> None:
        self._address = address

    def __get__(self, request: object, owner: type) -> Host:
        refuse_in_native("request")
        return self._address


class Request(metaclass=Overridable):
    """``cherrypy.request``. Applications may set further attributes."""

    uncalled = words("run respond _do_respond process_headers get_resource handle_error close")

    prev: Request | None = None
    """The request before an ``InternalRedirect``, or None."""
    native: Any = None
    """micropie's exchange for this request. micropie's ``Request`` isn't stored here, because it
    refers to this object and the two would form a reference cycle.
    """
    app: Any = None
    local = Host("127.0.0.1", 80)
    remote: Any = _DefaultRemote(Host("127.0.0.1", 1111))
    scheme = "http"
    server_protocol = "HTTP/1.1"
    protocol = (1, 1)
    base = ""
    request_line = ""
    method = "GET"
    query_string = ""
    query_string_encoding = "utf8"
    header_list: Any = ()
    rfile: Any = None
    process_request_body = True
    methods_with_bodies = ("POST", "PUT", "PATCH")
    has_body = False
    dispatch: Any = Dispatcher()
    script_name = ""
    path_info = "/"
    login: object = None
    handler: Any = None
    is_index: bool | None = None
    show_tracebacks = True
    show_mismatched_params = True
    throws: tuple[type[BaseException], ...] = (KeyboardInterrupt, SystemExit, InternalRedirect)
    throw_errors = False
    closed = False
    stage: str | None = None
    unique_id: Any = None
    body: Any = None
    wsgi_environ: Environ | None = None
    multithread = True
    multiprocess = True
    namespaces: ClassVar[dict[str, Namespace]] = {}
    """The function for each namespace of the configuration. For example, with
    ``Request.namespaces["db"] = function``, the key ``db.x = 1`` calls ``function("x", 1)``.
    """

    micropie_configs: Sequence[Section] = ()
    micropie_plan: Plan = NO_PLAN

    def __init__(self, *connection: object) -> None:
        """``connection``: both addresses, the scheme and the protocol. A subclass may use them."""

    @lazy
    def config(self) -> Section:
        """The merged configuration: for the path, for the handler, and for the objects that contain
        the handler.
        """
        return merged(*self.micropie_configs)

    @lazy
    def headers(self) -> HeaderMap:
        """The request's headers by name, as strings."""
        return HeaderMap()

    def micropie_header(self, name: str) -> str | None:
        """Return the value of one header, or None. ``ServedRequest`` reads it without creating
        ``headers``.
        """
        value: str | None = self.headers.get(name)
        return value

    @lazy
    def params(self) -> Parameters:
        """The parameters from the query, a form, and the path."""
        return {}

    args: Sequence[object] = ()
    """The segments of the path that the handler gets as arguments."""

    @lazy
    def kwargs(self) -> Parameters:
        """Keyword arguments for the handler in addition to ``params``."""
        return {}

    @lazy
    def cookie(self) -> SimpleCookie:
        """The cookies that the client has sent."""
        return self.micropie_cookies

    @lazy
    def micropie_cookies(self) -> SimpleCookie:
        return SimpleCookie()

    @lazy
    def hooks(self) -> HookMap:
        """This request's hooks. Changes don't affect other requests."""
        return self.micropie_plan.hooks.copy()

    @property
    def micropie_hooks(self) -> HookMap:
        """This request's hooks, without copying those of the plan."""
        hooks: HookMap | None = self.__dict__.get("hooks")
        return hooks or self.micropie_plan.hooks

    @lazy
    def toolmaps(self) -> dict[str, dict[str, Section]]:
        """The options of the tools that are switched on, by toolbox and name."""
        return {
            namespace: {name: {**options} for name, options in tools.items()}
            for namespace, tools in self.micropie_plan.toolmaps.items()
        }

    @lazy
    def error_page(self) -> dict[int | str, object]:
        """The configured error pages, by status."""
        return {**self.micropie_plan.error_page}

    @lazy
    def error_response(self) -> Any:
        """The function that sets the response for an unexpected exception."""
        return HTTPError(500).set_response

    def process_query_string(self) -> None:
        """Add the query's parameters to ``params``.

        Raises ``HTTPError`` 404 if they can't be decoded.
        """
        try:
            parameters = parse_query_string(self.query_string, encoding=self.query_string_encoding)
        except UnicodeDecodeError:
            raise HTTPError(
                404,
                "The given query string could not be processed. Query strings for this "
                "resource must be encoded with "
                f"{self.query_string_encoding!r}.",
            ) from None
        self.params.update(parameters)

    def close(self) -> None:
        """Run the hooks of the point ``on_end_request``, unless that was done already."""
        if not self.closed:
            self.closed = True
            self.stage = "on_end_request"
            try:
                self.hooks.run("on_end_request")
            except Exception:
                log(traceback=True, severity=40)
            self.stage = "close"


class LazyUUID4:
    """A random UUID, created when it is first read."""

    @lazy
    def uuid4(self) -> uuid.UUID:
        """The UUID."""
        return uuid.uuid4()

    def __str__(self) -> str:
        return str(self.uuid4)


_LINE_ENDS = re.compile(r"[\r\n]")
# Cookies with one of these names are dropped, because ``http.cookies`` would treat them as
# attributes of the preceding cookie. Another host of the same domain could set such cookies.
_ATTRIBUTES = frozenset(Morsel())
# Cookies with one of these characters in the name are dropped, because ``http.cookies`` stops
# reading at them. PHP sets such cookies, as in "cart[pie]".
_ENDING = re.compile(r"""[^!-~]|["\[\]\\]""")


class ServedRequest(Request):
    """A request that a client has sent."""

    micropie_limit_of: ClassVar[Callable[[Any], int]]
    """A function that returns the ``max_request_body_size`` in bytes of the server that has
    received a request; 0 means no limit. It is set by ``program.py``.
    """

    @classmethod
    def begin(cls, native: NativeExchange, app: Any, path: str) -> Any:
        """Return the request that ``native`` is for CherryPy's handlers."""
        self = cls.__new__(cls)
        self.native = native
        self.app = app
        self.method = native.method
        self.script_name = script_name = app.script_name
        self.path_info = path[len(script_name) :]
        if cls.__init__ is not Request.__init__:
            cls.__init__(self, self.local, self.remote, self.scheme, self.server_protocol)
        return self

    @lazy
    def wsgi_environ(self) -> Environ:
        """A WSGI environ for the request, under ASGI as well."""
        return self.micropie_environ()

    @lazy
    def multiprocess(self) -> bool:
        """Whether other processes of the server may run the application, too."""
        return bool(self.micropie_environ()["wsgi.multiprocess"])

    def micropie_environ(self) -> Environ:
        """Return a new ``wsgi_environ``, without recording that the program has read it: then
        ``tools.caching`` would not store the response.
        """
        environ = own_environ(self.native)
        for key, path in (("SCRIPT_NAME", self.script_name), ("PATH_INFO", self.path_info)):
            environ[key] = path.encode().decode("latin-1")
        return environ

    @lazy
    def headers(self) -> HeaderMap:
        """The request's headers by name; values of the same name are joined by commas.

        Encoded words (RFC 2047) are decoded. As in CherryPy, Remote-Addr and Remote-Host contain
        the client's address and host name. If the client sends headers with these names, they are
        dropped.
        """
        headers = HeaderMap()
        for name, value in self.native.headers.items():
            headers[name] = decode_TEXT(value) if "=?" in value else value
        if "=?" in self.native.headers.get("Host", ""):
            headers["Host"] = _LINE_ENDS.sub("", headers["Host"])  # the host is used in URLs
        client = self.native.client
        headers["Remote-Addr"] = "" if client is None else client.host
        headers.pop("Remote-Host", None)
        if self._remote_host:
            headers["Remote-Host"] = self._remote_host
        return headers

    @property
    def _remote_host(self) -> str:
        """The client's host name, or "" if the server didn't look it up."""
        native = self.native
        # If ``ProxyHeaders`` has set the client, REMOTE_HOST is the name of the proxy and not of
        # the client.
        if native.environ is None or native.peer.client is not None:
            return ""
        return str(native.environ.get("REMOTE_HOST", ""))

    def micropie_header(self, name: str) -> str | None:
        if "headers" not in self.__dict__:
            value = self.native.headers.get(name)
            if value is None or "=?" not in value:
                return value
        stated: str | None = self.headers.get(name)
        return stated

    @lazy
    def header_list(self) -> list[tuple[str, str]]:
        """The headers as (name, value) pairs."""
        return list(self.headers.items())

    # The request's cookies. Tools read the cookies here instead of from ``cookie``, because
    # ``tools.caching`` doesn't store a response if ``cookie`` has been read. Raises ``HTTPError``
    # 400 for a cookie name that isn't allowed.
    @lazy
    def micropie_cookies(self) -> SimpleCookie:
        cookies, header = SimpleCookie(), self.native.header("cookie") or ""
        # Read ``self.headers`` instead if a tool may have changed the header, or if the header has
        # encoded words.
        if "headers" in self.__dict__ or "=?" in header:
            header = dict.get(self.headers, "Cookie", "")
        try:
            cookies.load(
                {
                    name: value
                    for name, value in read_cookies(header).items()
                    if name.lower() not in _ATTRIBUTES and not _ENDING.search(name)
                }
            )
        except CookieError as error:
            raise HTTPError(400, f"Illegal cookie name {str(error).split(chr(32))[-1]}") from None
        return cookies

    @lazy
    def query_string(self) -> str:
        """The query without its question mark, still escaped."""
        return str(self.native.query_string)

    @lazy
    def request_line(self) -> str:
        """The first line of the request: method, path with query, and protocol."""
        query = f"?{self.query_string}" if self.query_string else ""
        return f"{self.method} {self.script_name}{self.path_info}{query} {self.server_protocol}"

    @lazy
    def scheme(self) -> str:
        """ "http" or "https"."""
        return str(self.native.scheme)

    @lazy
    def server_protocol(self) -> str:
        """The protocol with its version, such as "HTTP/1.1"."""
        return protocol_of(self.native)

    @lazy
    def protocol(self) -> tuple[int, int]:
        """The protocol's version as (major, minor)."""
        major, _, minor = self.server_protocol.partition("/")[2].partition(".")
        return int(major), int(minor or 0)

    @lazy
    def base(self) -> str:
        """Scheme and host, without a slash at the end: "https://pies.example".

        Raises 400 for a malformed Host header, because programs put the host in links.
        """
        return f"{self.scheme}://{NativeRequest(self.native).host}"

    @lazy
    def remote(self) -> Host:
        """The client's network address."""
        client = self.native.client
        address, port = ("", -1) if client is None else (client.host, client.port)
        return Host(address, port, self._remote_host)

    @lazy
    def login(self) -> object:
        """The user authenticated by the server, WSGI middleware or a tool, or None."""
        environ = self.native.environ or {}
        return environ.get("LOGON_USER") or environ.get("REMOTE_USER") or None

    @lazy
    def local(self) -> Host:
        """The server's network address."""
        environ = self.native.environ
        if environ is not None:
            name, port = environ.get("SERVER_NAME", ""), environ.get("SERVER_PORT")
        else:
            name, port = self.native.scope.get("server") or ("localhost", None)
        stated = str(port or 80)  # waitress passes the path of a UNIX socket
        return Host(str(name), int(stated) if stated.isdecimal() else 80)

    @lazy
    def rfile(self) -> IO[bytes]:
        """The body as a file. Raises ``HTTPError`` 413 if it is longer than the server allows."""
        received, most = self.native.body.so_far, type(self).micropie_limit_of(self) or inf

        def check(size: int) -> None:
            if size > most:
                raise HTTPError(413)

        check((self.native.framing[2] or 0) if received is None else len(received))
        return body_of(self.native, check) if received is None else BytesIO(received)

    @lazy
    def body(self) -> RequestBody:
        """The body: its parameters and uploaded files, or its bytes."""
        self.has_body = True
        return RequestBody(self)

    @lazy
    def unique_id(self) -> LazyUUID4:
        """A unique id for this request, for logs."""
        return LazyUUID4()


@lru_cache
def served(kind: type[Request]) -> Any:
    """Return the class of the requests to an application whose ``request_class`` is ``kind``."""
    is_served = issubclass(kind, ServedRequest)
    return kind if is_served else type(kind.__name__, (kind, ServedRequest), {})


# Headers that a CherryPy response has from the beginning. Here the server adds them.
_OF_SERVER = frozenset({"Date", "Server"})


class _ResponseHeaders(HeaderMap):
    """The headers to send. Programs may remove ``_OF_SERVER``, which are missing here, and read
    the date.
    """

    __slots__ = ()

    def __missing__(self, key: str) -> str:
        if key != "Date":
            raise KeyError(key)
        return HTTPDate(serving.response.time)

    def get(self, key: object, default: object = None) -> Any:
        """Return the value of a header, or ``default``."""
        return self[key] if self.transform_key(key) == "Date" else super().get(key, default)

    def __delitem__(self, key: object) -> None:
        self.pop(key)

    def pop(self, key: object, *default: object) -> Any:
        """Remove a key and return its value."""
        is_of_server = not default and self.transform_key(key) in _OF_SERVER
        return super().pop(key, *((None,) if is_of_server else default))


class Response:
    """``cherrypy.response``: the status, headers, cookies and body to send."""

    status: int | str | None = None
    stream = False
    timeout = 300
    media_type = "text/html"
    """The Content-Type that ``headers`` has when it is created."""
    header_list: Any = ()
    _body: Any = ()
    _status_line: str | None = None
    """The status to send. Once ``finalize`` has set it, changes to ``status`` have no effect."""

    @property
    def output_status(self) -> bytes | None:
        """The status to send, or None before ``finalize``."""
        line = self._status_line
        return None if line is None else line.encode("latin-1", "replace")

    @output_status.setter
    def output_status(self, status: bytes) -> None:
        self._status_line = status.decode("latin-1")

    @lazy
    def headers(self) -> HeaderMap:
        """The headers to send. Set cookies by ``cookie`` instead."""
        # Skip ``__init__``: it isn't needed here, and it takes as long as the rest of this method.
        headers = _ResponseHeaders.__new__(_ResponseHeaders)
        dict.__setitem__(headers, "Content-Type", self.media_type)
        return headers

    def state_media_type(self, media_type: str) -> None:
        """Set the Content-Type, without creating ``headers`` if they don't exist yet."""
        self.media_type = media_type
        if "headers" in self.__dict__:
            dict.__setitem__(self.headers, "Content-Type", media_type)

    @lazy
    def cookie(self) -> SimpleCookie:
        """The cookies to set."""
        return SimpleCookie()

    @lazy
    def time(self) -> float:
        """The time when this attribute was first read, in seconds since 1970."""
        return time.time()

    @property
    def body(self) -> Any:
        """The body as an iterable of bytes.

        It may be set to bytes, None, a file, or an iterable of bytes.

        Raises ``ValueError`` for a string, which must be encoded first, for example by the tool
        ``encode``.
        """
        body = self._body
        if type(body) is bytes:
            self._body = body = [body] if body else []
        return body

    @body.setter
    def body(self, value: object) -> None:
        if type(value) is not bytes:
            if isinstance(value, str) or (
                isinstance(value, list) and any(isinstance(item, str) for item in value)
            ):
                raise ValueError(
                    "Page handlers MUST return bytes. Use tools.encode if you wish to return "
                    "unicode."
                )
            if value is None or (not value and isinstance(value, list | tuple)):
                value = b""
            elif isinstance(value, bytes):
                value = bytes(value)  # an instance of a subclass
            elif hasattr(value, "read") and type(value) is not FileRange:
                value = in_utf8(pieces_of(value))
            elif type(value) is ServedChunks:
                value = in_utf8(value)
            elif type(value) is EncodedChunks and not self.stream:
                value = value.fetched()
                # The handler may have set the number of characters instead of bytes.
                self.headers.pop("Content-Length", None)
        self._body = value

    def collapse_body(self) -> bytes:
        """Join the body's chunks, set the result as the body, and return it."""
        body = self._body
        if type(body) is not bytes:
            chunks = []
            try:
                for chunk in body:
                    if not isinstance(chunk, _BYTES):
                        raise TypeError(f"Chunk {chunk!r} is not bytes.")
                    chunks.append(chunk)
            finally:
                close_if_closable(body)
            self._body = body = b"".join(chunks)
        return body

    def finalize(self) -> None:
        """Check the status, and set the Content-Length of a body that isn't streamed.

        Raises ``HTTPError`` 500 if the status is invalid.
        """
        status = self.status
        if status is None or status == 200:
            code, line = 200, "200 OK"
        else:
            try:
                code, reason, _ = valid_status(status)
            except ValueError as error:
                raise HTTPError(500, str(error)) from error
            line = f"{code} {reason}"
        self.status = self._status_line = line
        headers = self.headers
        if self.stream:
            if dict.get(headers, "Content-Length") is None:
                dict.pop(headers, "Content-Length", None)
        elif code < 200 or code in (204, 205, 304):
            dict.pop(headers, "Content-Length", None)
            self.collapse_body()  # runs generators, which may have side effects
            self._body = b""
        elif dict.get(headers, "Content-Length") is None:
            body = self._body
            length = body.length if isinstance(body, FileRange | Chunks) else None
            if length is None:
                length = len(self.collapse_body())
            dict.__setitem__(headers, "Content-Length", length)
        self.header_list = list(headers.items())
        if "cookie" in self.__dict__:
            self.header_list += [
                ("Set-Cookie", morsel.OutputString()) for morsel in self.cookie.values()
            ]


_BYTES = (bytes, bytearray, memoryview)


def _outside() -> Exchange:
    request = Request()
    request.micropie_configs = [global_config]
    request.hooks = of_all_requests
    return Exchange(request, Response())


Outside.make = staticmethod(_outside)
