"""A request, free of any protocol. Nothing is parsed before somebody asks for it.

The drivers derive from ``Request`` and fill in what only they know: the hooks at the class's end. All else is
written here, once, so that every value is the same under both protocols.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextvars import Context, copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar
from urllib.parse import quote

from micropie.errors import BadRequest, HTTPError, ResponseError
from micropie.execution.steps import Flow, Step
from micropie.http.body import UNREAD, Body
from micropie.http.cookies import parse_cookies
from micropie.http.forms import MULTIPART, PartParser, UploadFile, boundary_of, is_json, parse_query
from micropie.http.forms import content_type as parse_content_type
from micropie.http.forms.parts import ArrivingParts, Parts, PartSource, ReceivedParts
from micropie.http.headers import Headers
from micropie.http.paths import DOTS_AND_EMPTY, decoded_segment
from micropie.http.response import PendingResponse, Response
from micropie.http.streams import PENDING, Stream
from micropie.http.types import Environ, Parameters, Scope

if TYPE_CHECKING:
    from micropie.middleware.rate_store import Quota
    from micropie.routing.config import AppConfig
    from micropie.routing.route import Route
    from micropie.sessions import Session

Value = TypeVar("Value")

_NO_UPLOADS: dict[str, list[UploadFile]] = {}

# RFC 3986, section 3.2.2, less what no browser sends: a name or IPv4 address, or an IPv6 address in brackets.
_HOST = re.compile(r"(?P<name>[A-Za-z0-9._~\-]+|\[(?P<v6>[0-9A-Fa-f:.]+)\])(?::(?P<port>[0-9]{1,5}))?")

SHORT_BODY = 64 * 1024  # bytes, which servers hand on in one piece

# What a path may show unescaped: RFC 3986, section 3.3.
_PATH_SAFE = "/:@!$&'()*+,;=~"

NULL: Final = object()  # a JSON body that is null: None says that there was none


class Address(NamedTuple):
    """One end of the connection: a host's name or address, and a port."""

    host: str
    port: int


class State:
    """A bag of attributes: ``request.state.user = ...``, ``app.state.pool = ...``. Also ``state["user"]``."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.__dict__.update(values or {})

    if TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            """Any name will do: for type checkers."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"state has no {name!r}")

    def __getitem__(self, name: str) -> Any:
        return self.__dict__[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__

    def __repr__(self) -> str:
        return f"State({self.__dict__!r})"


class Request:
    """What the client sent, as ``self.request`` shows it in a handler.

    ``method``: as it came, upper-case by the specification. ``path``: decoded, without the mount's prefix.
    ``path_params``: what of the path became parameters, in order. Own attributes may be set on it.
    """

    # What every request touches is a slot, twice as fast as an attribute with a default on the class; what is
    # worked out at the first question has such a default and costs nothing until then.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_answer_stream",
        "_closers",
        "_document",
        "_form_fields",
        "_known_framing",
        "_literal_path",
        "_loaded_session",
        "_parsed_query",
        "_pending_response",
        "_received",
        "config",
        "method",
        "path",
        "path_params",
        "route",
    )

    method: str
    path: str
    config: AppConfig
    _literal_path: str | None  # ``path``, if it came without escapes: the router's short cut
    path_params: Sequence[Any]
    route: Route | None
    _pending_response: PendingResponse | None
    _loaded_session: Session | None
    _closers: list[Callable[[], object]] | None  # called when the request is over, whatever happens
    _form_fields: Parameters | None  # of a form that was received
    _document: Any  # of a JSON body that was received, ``NULL`` for null
    _answer_stream: Stream | None  # for the driver to close if nothing else does
    _known_framing: tuple[str, dict[str, str], int | None] | None
    _parsed_query: Parameters | None  # ``query_params``, once somebody asked
    _received: Body | bytes | None  # None until somebody asks for the body, bytes if the flow found it in one piece

    _put_back: tuple[bytes, bool] | None = None  # a piece of the body, to be received again
    _is_pooled = False  # whether this is a copy that a process of the pool reads
    _is_on_loop = False
    """Whether the flow runs on an event loop."""
    environ: Environ | None = None
    id: str = ""
    """This request's name in logs and on pages of errors; "" without the middleware ``RequestId``."""
    status: int | None = None
    """The answer's status, once it is settled; kept where there is middleware, for what it does ``on_close``. None if
    there was nobody to answer any more."""
    length: int | None = None
    """The bytes of the answer's body, kept as ``status`` is; None for a stream that does not say."""
    broken_off: bool = False
    """Whether the answer did not get to its end, as far as the server tells: the client left, a stream failed, the
    server gave up. True ``on_close`` at the latest."""
    quota: Quota | None = None
    """What ``RateLimit`` found; of several, what leaves the least."""
    _tasks: Sequence[tuple[Callable[..., Any], Sequence[Any]]] = ()  # ``after_response``
    _context: Context  # of the last call of ``after_response``
    _releases: Sequence[Callable[[], object]] = ()  # ``_release_after``
    _is_answered: bool = False
    """Whether the answer is over and what runs now is ``after_response``."""
    _time_limit: float | None = None
    """Seconds that the handler may take; set by middleware."""
    _subapp: Any = None  # a hook sets them to hand the request over to another application
    _subapp_path: str | None = None
    _generators: Sequence[Any] = ()  # middleware that is a generator, begun
    _before_head: Sequence[Callable[[Response], object]] = ()  # ``before_head``
    _headers: Headers | None = None
    _cookies: dict[str, str] | None = None
    _state: State | None = None
    _scheme: str | None = None
    _client: Address | None = None
    _host: str | None = None
    uploads: dict[str, list[UploadFile]] = _NO_UPLOADS
    _received_parts: Sequence[tuple[str, str | UploadFile]] = ()  # of a multipart form, in order

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path
        self.path_params = ()
        self.route = self._pending_response = self._loaded_session = self._closers = self._literal_path = None
        self._known_framing = self._parsed_query = self._received = self._form_fields = self._document = (
            self._answer_stream
        ) = None

    # -- the head -----------------------------------------------------------------------------------------------

    @property
    def headers(self) -> Headers:
        """The headers: case-insensitive, duplicates kept (``headers.get_all``), values as latin-1 text."""
        if self._headers is None:
            self._headers = Headers(self._header_pairs())
        return self._headers

    @property
    def cookies(self) -> dict[str, str]:
        """name -> value. Of two cookies with one name the first counts (RFC 6265, section 5.4)."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers.get("cookie", ""))
        return self._cookies

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that a client of an ``EventStream`` had when it lost the connection, else None."""
        value = self.headers.get("Last-Event-ID")
        # The one header that is UTF-8: HTML, section 9.2.3.
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    @property
    def content_type(self) -> str:
        """The body's media type in lower case, without parameters; "" if none is named."""
        return self._framing()[0]

    @property
    def content_type_parameters(self) -> dict[str, str]:
        """The parameters of the body's media type, such as ``charset`` and ``boundary``."""
        return dict(self._framing()[1])

    @property
    def content_length(self) -> int | None:
        """The announced length of the body in bytes, None if none is. Raises 400 if it is no number."""
        return self._framing()[2]

    def _framing(self) -> tuple[str, dict[str, str], int | None]:
        """The body's media type, its parameters, the announced length. Raises 400 for a malformed length."""
        framing = self._known_framing
        if framing is None:
            named, length = self._body_headers()
            # ASCII digits alone: ``int`` would take "+5" and "1_0". 18 of them are 888 petabytes.
            if length is not None and not (length.isdigit() and len(length) <= 18):
                raise BadRequest("The Content-Length header must be one whole number.")
            media_type, parameters = _media_type(named)
            self._known_framing = framing = media_type, parameters, None if length is None else int(length)
        return framing

    @property
    def query_string(self) -> str:
        """What follows the ``?``, as it came: undecoded, latin-1 text."""
        query = self._raw_query()
        return query if isinstance(query, str) else query.decode("latin-1")

    @property
    def query_params(self) -> Parameters:
        """name -> values of the query, in order. Raises 400 for a malformed query."""
        query = self._parsed_query
        if query is None:
            raw = self._raw_query()
            self._parsed_query = query = parse_query(raw, self.config.limits) if raw else {}
        return query

    def query(self, name: str, default: Any = None) -> Any:
        """The first value of ``name`` in the query, or ``default``."""
        values = self.query_params.get(name)
        return values[0] if values else default

    # -- where it came from ---------------------------------------------------------------------------------------

    # The server knows its own peer only. Middleware that trusts it as a proxy sets what that says of the client.

    @property
    def scheme(self) -> str:
        """``http`` or ``https``, as the server says."""
        return self._scheme or self._server_scheme()

    @scheme.setter
    def scheme(self, scheme: str) -> None:
        self._scheme = scheme

    @property
    def client(self) -> Address | None:
        """The peer, None where the server does not know it (a UNIX socket)."""
        return self._client or self._server_client()

    @client.setter
    def client(self, client: Address) -> None:
        self._client = client

    @property
    def host(self) -> str:
        """``name`` or ``name:port`` as the client asked for it, in lower case. Raises 400 for a malformed Host."""
        if self._host is not None:
            return self._host
        hosts = set(self.headers.get_all("host"))
        if not hosts:
            return self._server_name()
        host = hosts.pop()
        if hosts or not _is_host(host):
            raise BadRequest("The Host header must be one name or address, with or without a port.")
        return host.lower()

    @host.setter
    def host(self, host: str) -> None:
        if not _is_host(host):
            raise ValueError(f"{host!r} is no host")
        self._host = host.lower()

    @property
    def url(self) -> str:
        """The absolute URL of this request, built from its checked parts, the query included."""
        path = quote(f"{self.root_path}/{self.path.removeprefix('/')}", safe=_PATH_SAFE)
        query = self.query_string
        return f"{self.scheme}://{self.host}{path}" + (f"?{query}" if query else "")

    @property
    def state(self) -> State:
        """Attributes of this request alone, seeded with what the server's lifespan left in its state."""
        if self._state is None:
            self._state = State(self._server_state())
        return self._state

    # -- the body ------------------------------------------------------------------------------------------------

    @property
    def body_params(self) -> Parameters:
        """name -> values of the form, or of a JSON body's top level (an array there gives its elements)."""
        document = self._document
        if not isinstance(document, dict):
            return self._form_fields or {}
        return {name: value if isinstance(value, list) else [value] for name, value in document.items()}

    def form(self, name: str, default: Any = None) -> Any:
        """The first value of ``name`` in the form (or of the JSON body's top level), or ``default``."""
        values = self.body_params.get(name)
        return values[0] if values else default

    def json(self, name: str | None = None, default: Any = None) -> Any:
        """The JSON body, or ``name`` of its top level, or ``default`` if there is no such name.

        ``json()`` of a request that brought no JSON raises 415.
        """
        document = self._document
        if name is not None:
            return document.get(name, default) if isinstance(document, dict) else default
        if document is None:
            if self.route is not None and self.route.reads_body:
                raise RuntimeError("@reads_body leaves the body to the handler: no JSON was received for it")
            raise HTTPError(415, "This resource wants a JSON body: Content-Type: application/json.")
        return self.get_json

    @property
    def get_json(self) -> Any:
        """The JSON body, None if there is none."""
        return None if self._document is NULL else self._document

    @property
    def is_json(self) -> bool:
        """Whether the body calls itself JSON: ``application/json`` or ``application/*+json``."""
        return is_json(self.content_type)

    @property
    def files(self) -> dict[str, UploadFile]:
        """The uploaded files: name -> the first of that name (``uploads`` has them all)."""
        return {name: files[0] for name, files in self.uploads.items()}

    @property
    def _incoming(self) -> Body:
        """The body on its way in. Raises 400 or 413 for a Content-Length that is none or too large."""
        received = self._received
        if isinstance(received, Body):
            return received
        self._received = body = Body(self.config.settings.max_body_size, self._framing()[2])
        if received is not None:
            body.keep(received)
        return body

    def body(self) -> Awaitable[bytes]:
        """``await request.body()``: the whole body, received now if it was not before. Raises 413 past the limit."""
        return self._perform_async(self._incoming.whole())

    def stream(self) -> AsyncIterator[bytes]:
        """``async for chunk in request.stream()``: the body as it arrives, once."""
        self._incoming.start_stream()
        return self._iterate_async(self._incoming.next_piece)

    def read(self) -> bytes:
        """``body()`` for a ``def`` handler."""
        return self._perform(self._incoming.whole())

    def chunks(self) -> Iterator[bytes]:
        """``stream()`` for a ``def`` handler."""
        self._incoming.start_stream()
        while piece := self._perform(self._incoming.next_piece()):
            yield piece

    def parts(self) -> Parts:
        """A multipart form part by part: ``async for part in request.parts()``, in a ``def`` handler a plain ``for``.

        As it arrives, once, if the handler has ``@reads_body`` above it; else as it was received before. Raises 415
        for a body that is no multipart form, and 400, 408 and 413 as it is read.
        """
        media_type, parameters, _ = self._framing()
        if media_type != MULTIPART:
            raise HTTPError(415, "This resource wants a multipart form: Content-Type: multipart/form-data.")
        source: PartSource = ReceivedParts(self._received_parts)
        if self._form_fields is None:
            source = ArrivingParts(self._incoming, PartParser(boundary_of(parameters), self.config.limits))
        return Parts(source, self._perform, self._perform_async)

    # -- the answer ----------------------------------------------------------------------------------------------

    @property
    def response(self) -> PendingResponse:
        """Status, headers and cookies to send with whatever the handler returns.

        Raises ``ResponseError`` in a stream that has given its first chunk: they have been sent then.
        """
        if self._pending_response is None:
            if self._is_head_sent:
                raise ResponseError("the head has been sent: set status, headers and cookies before the first chunk")
            self._pending_response = PendingResponse()
        return self._pending_response

    @property
    def _is_head_sent(self) -> bool:
        stream = self._answer_stream
        return self._is_answered or (stream is not None and stream.first is not PENDING)

    @property
    def session(self) -> Session:
        """The client's session, a dict that knows whether it changed."""
        session = self._loaded_session
        if session is None:
            self._loaded_session = session = self.config.sessions.open_now(
                self.config.sessions.find_id(self._cookie_header())
            )
            self._session_opened(session)
        session.accessed = True
        return session

    @session.setter
    def session(self, values: dict[str, Any]) -> None:
        session, values = self.session, dict(values)
        session.clear()
        session.update(values)

    def _session_opened(self, session: Session) -> None:
        """What can't be sent any more can't be changed."""
        if self._is_head_sent:
            session.seal()

    def after_response(self, function: Callable[..., Any], /, *arguments: Any) -> None:
        """Call ``function(*arguments)`` when the answer has been sent, or when the client has left before that.

        ``async def`` runs on the event loop, ``def`` in a thread; several run in the order of these calls, whatever
        the answer is. The request, its session and its uploads can still be read there, not changed. What fails is
        logged, and what has not ended ``background_timeout`` seconds after the answer is given up.
        """
        if not callable(function):
            raise TypeError(f"after_response takes a function and its arguments, not {function!r}")
        self._tasks = [*self._tasks, (function, arguments)]
        self._context = copy_context()
        self._closers = self._closers or []  # the drivers look at that alone

    # -- for the flow ------------------------------------------------------------------------------------------------

    @property
    def raw_path(self) -> bytes:
        """The path below ``root_path`` as it came, still escaped."""
        return self._literal_path.encode() if self._literal_path is not None else self._raw_path()

    def _segments(self) -> list[str]:
        """The path's decoded segments below the mount; none for the root. Raises 400 and 404."""
        path = self._literal_path
        if path is None or path[0] != "/" or "//" in path or "/." in path or "\0" in path:
            return self._decoded_segments()
        segments = path.split("/")
        del segments[0]
        if not segments[-1]:  # an end slash, or the root itself
            del segments[-1]
        return segments

    def _decoded_segments(self) -> list[str]:
        raw = self._raw_path()
        if not raw.startswith(b"/"):
            raise BadRequest("The request's target must be a path that begins with '/'.")
        segments = [decoded_segment(segment) for segment in raw[1:].split(b"/")]
        if not segments[-1]:
            del segments[-1]
        if not DOTS_AND_EMPTY.isdisjoint(segments):
            raise HTTPError(404)
        return segments

    @property
    def _has_short_body(self) -> bool:
        """Whether to wait for a first piece before anybody asks for it, as that may save a way between threads.

        The client sends it anyway, unless it waits to be told "100 Continue". Raises 400 for a malformed length.
        """
        return 0 < (self.content_length or 0) <= SHORT_BODY and "expect" not in self.headers

    def _body_so_far(self) -> bytes | None:
        """What was received of the body and kept: all of it, or nothing (of a stream). None if nobody has read it."""
        received = self._received
        if isinstance(received, Body):
            return None if received.state is UNREAD else received.data
        return received

    def before_head(self, change: Callable[[Response], object]) -> None:
        """For middleware: have ``change`` called with an answer that is a stream when its first chunk is there.

        By then a generator has said what it has to say on ``request.response``, and nothing has been sent. To change
        headers and nothing else. Not called for what takes the stream's place: an error, a hook's answer.
        """
        self._before_head = [*self._before_head, change]

    def on_close(self, close: Callable[[], object]) -> None:
        """Have ``close`` called when the request is over, whatever happens."""
        self._closers = [*(self._closers or ()), close]

    def _release_after(self, release: Callable[[], object]) -> None:
        """``on_close`` for what functions ``after_response`` still need."""
        self._releases = [*self._releases, release]
        self._closers = self._closers or []  # the drivers look at that alone

    def _cleanup_steps(self) -> Iterator[Step]:
        """What cleans up after a request that was broken off: its stream's end, its middleware's."""
        for part in (self._answer_stream, *reversed(self._generators)):
            step = part.close_step() if part is not None else None
            if step is not None:
                yield step

    def close(self) -> None:
        """The answer is over: release what the request holds (uploaded files), unless somebody needs it still."""
        closers, self._closers = self._closers, None
        for close in closers or ():
            close()
        if self._tasks:
            self._is_answered = True
            if self._loaded_session is not None:
                self._loaded_session.seal()
        else:
            self._release()

    def _release(self) -> None:
        """Release what it holds."""
        _releases, self._releases = self._releases, ()
        for release in _releases:
            release()

    @property
    def label(self) -> str:
        """What log lines call it: ``GET '/path'``, with its id if it has one.

        repr of the path: a line end in it must not begin a line of its own in the log.
        """
        return f"{self.method} {self.path!r} [{self.id}]" if self.id else f"{self.method} {self.path!r}"

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path!r}>"

    # -- what only a driver knows --------------------------------------------------------------------------------

    root_path: str
    """The decoded path that this application is mounted at, "" for none; without an end slash."""

    @property
    def scope(self) -> Scope:
        """The ASGI scope; under wsgi one made from the environ."""
        raise NotImplementedError

    def _server_scheme(self) -> str:
        raise NotImplementedError

    def _server_client(self) -> Address | None:
        raise NotImplementedError

    def _server_state(self) -> dict[str, Any]:
        """What the lifespan left in the server's state; a new dict."""
        return {}

    def _header_pairs(self) -> Iterable[tuple[str, str]]:
        raise NotImplementedError

    def _cookie_header(self) -> str:
        """The Cookie header as ``headers`` has it, "" if there is none; to parse all headers would take 2 µs."""
        raise NotImplementedError

    def _body_headers(self) -> tuple[bytes | str, bytes | None]:
        """Content-Type, empty for none, and Content-Length, None for none, without parsing all headers."""
        raise NotImplementedError

    def _raw_query(self) -> bytes | str:
        """The query as it came; text is latin-1."""
        raise NotImplementedError

    def _raw_path(self) -> bytes:
        """The path below the mount as it came, still escaped; begins with ``/`` unless it is malformed."""
        raise NotImplementedError

    def _server_name(self) -> str:
        raise NotImplementedError

    def receive_nowait(self) -> tuple[bytes, bool] | None:
        """The next piece of the body and whether more may follow; None if that has not arrived.

        A RECEIVE step gives it then. Raises ``ClientDisconnect`` and 408.
        """
        raise NotImplementedError

    def _perform(self, flow: Flow[Value]) -> Value:
        raise NotImplementedError

    def _perform_async(self, flow: Flow[Value]) -> Awaitable[Value]:
        raise NotImplementedError

    def _iterate_async(self, next_piece: Callable[[], Flow[bytes]]) -> AsyncIterator[bytes]:
        raise NotImplementedError


class WebSocketRequest(Request):
    """The handshake of a WebSocket: a ``GET`` without a body. ``scheme`` is that of its page, http or https."""

    __slots__ = ()

    hooks_begun: list[Any]
    """Middleware whose ``before_websocket`` was called, and whose ``after_websocket`` was not yet."""
    is_accepted: bool

    @property
    def response(self) -> NoReturn:
        """Nothing: raises ``ResponseError``."""
        raise ResponseError("a WebSocket has no response: give headers to ws.accept(headers=...)")

    def _session_opened(self, session: Session) -> None:
        super()._session_opened(session)
        if self.is_accepted:
            session.keep_cookie(self.config.sessions.in_cookie)

    def origin(self) -> str | None:
        """The Origin header, without parsing all headers for a connection that may then be idle for hours."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<WebSocketRequest {self.path!r}>"


@lru_cache(maxsize=256)  # a browser sends one of three, a script mostly one; boundaries come and go
def _media_type(value: bytes | str) -> tuple[str, dict[str, str]]:
    return parse_content_type(value if isinstance(value, str) else value.decode("latin-1"))


def _is_host(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None or int(found["port"] or 0) > 65535:
        return False
    if found["v6"] is None:
        return True
    try:
        ipaddress.IPv6Address(found["v6"])
    except ValueError:
        return False
    return True
