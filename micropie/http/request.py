"""A request, independent of the protocol. Nothing is parsed before it is asked for.

The class has three parts: names for authors (the head, the body, the response), names for micropie itself (an
underscore first: the flow, the drivers, mounts and middleware use them), and at its end the methods that only a
driver's subclass can fill in. All else is written here, once, so that every value is the same under both protocols.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextvars import Context, copy_context
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, TypeVar, Unpack, overload
from urllib.parse import quote, unquote_to_bytes

from micropie.errors import BadRequest, HTTPError, ResponseError, SetupError
from micropie.execution.steps import Flow, Step, result_of
from micropie.http.body import UNREAD, Body, FlowIterator
from micropie.http.conditional import TAG_SAFE, http_date, is_known
from micropie.http.cookies import CookieAttributes, parse_cookies
from micropie.http.forms.data import parse_query
from micropie.http.forms.multipart import MULTIPART, PartParser, boundary_of
from micropie.http.forms.parts import ArrivingParts, Parts, PartSource, ReceivedParts
from micropie.http.forms.uploads import UploadFile
from micropie.http.headers import LONGEST_KEPT, MAX_HEADERS, Headers
from micropie.http.media_types import content_type as parse_content_type
from micropie.http.media_types import is_json
from micropie.http.negotiation import choose_type
from micropie.http.response import PendingResponse, Response, add_vary
from micropie.http.state import State
from micropie.http.types import ChunkedBody, Environ, Parameters, Scope
from micropie.http.urls import DOTS_AND_EMPTY, PATH_SAFE, SEGMENT_SAFE, decoded_segment, escaped_path, is_host

if TYPE_CHECKING:
    from micropie.flow.generators import RunningGenerator
    from micropie.flow.hooks import GeneratorMiddleware, HookPlan
    from micropie.http.signing import CookieSigner
    from micropie.routing.config import AppConfig
    from micropie.routing.route import Route, RouteEntry
    from micropie.sessions import Session

logger = logging.getLogger("micropie")

Value = TypeVar("Value")
# What ``query`` gives if there is no such parameter.
Default = TypeVar("Default")

_NO_UPLOADS: dict[str, list[UploadFile]] = {}

_SHORT_BODY = 64 * 1024  # bytes; servers pass on so much in one piece

FORM: Final = "application/x-www-form-urlencoded"

EMPTY_JSON: Final = (400, "the JSON body is empty.")

NULL: Final = object()  # a JSON body that is null; None means that there was no JSON


class Address(NamedTuple):
    """One end of the connection: a host's name or address, and a port."""

    host: str
    port: int


class Request:
    """The client's request, which handlers see as ``self.request``. Authors may set attributes of their own on it.

    ``method``: as the client wrote it; the standard ones are upper-case. ``path``: decoded, without the mount's prefix,
    and without a slash at its end unless a mounted application answers: it is the path that was routed, so ``/a/`` is
    ``/a``. ``raw_path`` has the slash. ``path_params``: the values of the parameters in the path, in order. ``route``:
    the route, with its ``name`` and its ``pattern``; None if no handler answers the path.
    """

    # A slot is read twice as fast as an attribute whose default is on the class, so all state that most requests
    # read is in slots, which ``_set_defaults`` fills. Other state has its default on the class and costs nothing until
    # it is set.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_answer_stream",
        "_closers",
        "_document",
        "_form_fields",
        "_hooks",
        "_literal_path",
        "_loaded_session",
        "_parsed_framing",
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
    path_params: Sequence[Any]
    config: AppConfig
    route: Route | None

    id: str = ""
    """The request's name in logs and on error pages; "" without the middleware ``RequestId``."""
    environ: Environ | None = None
    """The WSGI environ; None under ASGI."""

    # For ``on_close``, where there is middleware:
    status: int | None = None
    """The status of the answer, once that is settled; None if the client left before."""
    length: int | None = None
    """The length of the answer's body in bytes; None for a stream that states none."""
    broken_off: bool = False
    """Whether the answer did not reach its end as far as the server tells: the client left, a stream failed, the
    server timed out. Settled when ``on_close`` functions run."""

    # The request's body, once it is received.
    uploads: dict[str, list[UploadFile]] = _NO_UPLOADS
    """The uploaded files: name -> all of that name."""
    _received: Body | bytes | None  # None until it is asked for, bytes if the flow found it in one piece
    _put_back: tuple[bytes, bool] | None = None  # a piece of the body, to be received again
    _form_fields: Parameters | None
    _document: Any  # the JSON body, ``NULL`` for null
    _parse: Callable[[Request, bytes], None] | None = None  # parses the form or JSON that was received, if not yet done
    _received_parts: Sequence[tuple[str, str | UploadFile]] = ()  # of a multipart form, in order

    # The answer.
    _pending_response: PendingResponse | None
    _loaded_session: Session | None
    _answer_stream: ChunkedBody | None  # for the driver to close if nothing else does
    _before_head: Sequence[Callable[[Response], object]] = ()
    _closers: list[Callable[[], object]] | None  # called when the request is over
    _releases: Sequence[Callable[[], object]] = ()  # called then, or after the tasks of ``after_response``
    _tasks: Sequence[tuple[Callable[..., object], Sequence[object]]] = ()  # ``after_response``
    _context: Context  # of the last call of ``after_response``
    _task: Callable[..., object] | None = None  # the function of ``after_response`` that runs
    _is_answered: bool = False  # whether the answer is over and ``after_response`` runs
    _generators: Sequence[GeneratorMiddleware] = ()  # generator middleware that has begun
    _resources: Sequence[RunningGenerator] = ()  # what providers have opened

    _csrf_token: str | None = None  # that was made for a client without a session

    _hooks: HookPlan | None  # what runs around the handler

    # Set by hooks and middleware.
    _subapp: object = None  # the application that gets the request instead
    _subapp_path: str | None = None
    _time_limit: float | None = None  # seconds for the handler
    _failure_reports: Sequence[Callable[[BaseException], object]] = ()  # called as ``on_error`` is
    _enter_in_pool: Callable[[], object] | None = None  # called in the pool's process before the handler; is pickled

    _list_routes: Callable[[], Sequence[RouteEntry]] | None = None  # set on a 404 with debug=True

    # Where the flow runs.
    _is_on_loop = False
    _is_pooled = False  # whether this is the copy of a request in a process of the pool

    # Parsed values, kept.
    _literal_path: str | None  # the decoded path as it came, if it came without escapes: the router's short cut
    _parsed_framing: tuple[str, dict[str, str], int | None] | None
    _parsed_query: Parameters | None
    _headers: Headers | None = None
    _cookies: dict[str, str] | None = None
    _state: State | None = None
    _scheme: str | None = None
    _client: Address | None = None
    _host: str | None = None  # set by middleware; None if the client's Host header counts

    def _set_defaults(self) -> None:
        """Set every slot but those that a driver fills in itself: ``method``, ``path`` and, with the route, ``config``.

        A method and no ``__init__``: CPython 3.11 takes 0.03 µs longer for ``Request.__init__(self)``, and 0.07 µs
        longer for ``super()``.
        """
        self.path_params = ()
        self.route = self._pending_response = self._loaded_session = self._closers = self._literal_path = None
        self._parsed_framing = self._parsed_query = self._received = self._form_fields = self._document = None
        self._answer_stream = self._hooks = None

    # -- the head -----------------------------------------------------------------------------------------------

    @property
    def headers(self) -> Headers:
        """The headers: names are case-insensitive, ``get_all`` gives duplicates, values are latin-1 text.

        Raises 431 if there are more than 1000.
        """
        headers = self._headers
        if headers is None:
            headers = self._open_headers()
            if len(headers.pairs) > MAX_HEADERS:
                raise HTTPError(431, "The request has too many headers.")
            self._headers = headers
        return headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies: name -> value. Of two with one name the first counts (RFC 6265, section 5.4)."""
        if self._cookies is None:
            self._cookies = parse_cookies(self._cookie_header())
        return self._cookies

    def signed_cookie(self, name: str, default: Any = None, max_age: float | None = None) -> Any:
        """Return the value that ``set_signed_cookie`` gave to the cookie ``name``, or ``default``.

        ``default`` also if it is forged, broken, or was set more than ``max_age`` seconds ago. The client can read the
        value, and may send an older one. Raises ``SetupError`` without ``App(secret_key=...)``.
        """
        signer = self._signer()
        value = self.cookies.get(name)
        return default if value is None else signer.load(name, value, default, max_age)

    def set_signed_cookie(self, name: str, value: object, **attributes: Unpack[CookieAttributes]) -> None:
        """Set a cookie that only this application can make: any value that JSON holds, read by ``signed_cookie``.

        The client can read it. ``attributes`` are those of ``response.set_cookie``; HttpOnly is set unless stated.
        Raises ``SetupError`` without ``App(secret_key=...)``, ``ValueError`` for a cookie of more than 4096 bytes.
        """
        attributes.setdefault("httponly", True)
        self.response.set_cookie(name, self._signer().dump(name, value), **attributes)

    def _signer(self) -> CookieSigner:
        if self.config.signer is None:
            raise SetupError("signed cookies need a key: write App(secret_key=os.environ['SECRET_KEY'])")
        return self.config.signer

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that an ``EventStream``'s client received before it reconnected, or None."""
        value = self.headers.get("Last-Event-ID")
        # The one header that is UTF-8: HTML, section 9.2.3.
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    @property
    def content_type(self) -> str:
        """The body's media type in lower case, without parameters; "" if there is none."""
        return self._framing()[0]

    @property
    def content_type_parameters(self) -> dict[str, str]:
        """The parameters of the body's media type, such as ``charset`` and ``boundary``."""
        return dict(self._framing()[1])

    @property
    def content_length(self) -> int | None:
        """The announced length of the body in bytes, or None. Raises 400 if it is not a number."""
        return self._framing()[2]

    @property
    def raw_path(self) -> bytes:
        """The path below ``root_path`` as the client sent it, still escaped; b"" if it is not below."""
        literal = self._literal_path
        return self._raw_path() if literal is None else escaped_path(literal.encode())

    @property
    def query_string(self) -> str:
        """The query without the ``?``, still escaped, as latin-1 text."""
        query = self._raw_query()
        return query if isinstance(query, str) else query.decode("latin-1")

    @property
    def query_params(self) -> Parameters:
        """The query's parameters: name -> values, in order. Raises 400 for a malformed query."""
        query = self._parsed_query
        if query is None:
            raw = self._raw_query()
            self._parsed_query = query = parse_query(raw, self.config.limits) if raw else {}
        return query

    @overload
    def query(self, name: str) -> str | None: ...

    @overload
    def query(self, name: str, default: Default) -> str | Default: ...

    def query(self, name: str, default: object = None) -> object:
        """Return the first value of ``name`` in the query, or ``default``."""
        values = self.query_params.get(name)
        return values[0] if values else default

    def accepts(self, *types: str) -> str | None:
        """Return the one of ``types`` that the client prefers, by its Accept header; None if it takes none of them.

        A type is ``"text/calendar"`` or a short name such as ``"html"`` or ``"json"``. The first one counts where the
        client has no preference. The answer gets ``Vary: Accept``, so that no cache mixes them up.
        """
        if not self._is_head_sent:
            add_vary(self.response.headers, "Accept")
        return choose_type(self.headers.get("accept"), types)

    def not_modified(self, etag: str | None = None, modified: datetime | None = None) -> bool:
        """Return whether the client has this version, and give the answer its validators; then return nothing::

            if self.request.not_modified(etag=str(pie.version)):
                return None  # a 304 without a body

        ``etag`` is any text that changes with the answer, ``modified`` when it last did; a naive one counts as UTC.
        Only GET and HEAD can be answered so. RFC 9110, section 13.
        """
        headers, tag, seconds = self.response.headers, "", inf
        if etag is not None:
            tag = headers["ETag"] = f'"{quote(etag, safe=TAG_SAFE)}"'
        if modified is not None:
            seconds = int((modified if modified.tzinfo else modified.replace(tzinfo=UTC)).timestamp())
            headers["Last-Modified"] = http_date(seconds)
        is_hit = self.method in ("GET", "HEAD") and is_known(self.headers, tag, seconds)
        if is_hit:
            self.response.status = 304
        return is_hit

    # -- where it came from ---------------------------------------------------------------------------------------

    # The server knows its peer only. Middleware sets these from the headers of a proxy that it trusts.

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self._scheme or self._server_scheme()

    @scheme.setter
    def scheme(self, scheme: str) -> None:
        self._scheme = scheme

    @property
    def client(self) -> Address | None:
        """The client's address, None if the server does not know it (a UNIX socket)."""
        return self._client or self._server_client()

    @client.setter
    def client(self, client: Address) -> None:
        self._client = client

    @property
    def host(self) -> str:
        """``name`` or ``name:port`` from the Host header, in lower case. Raises 400 if the header is malformed."""
        if self._host is not None:
            return self._host
        hosts = set(self.headers.get_all("host"))
        if not hosts:
            return self._server_name()
        host = hosts.pop()
        if hosts or not is_host(host):
            raise BadRequest("The Host header must be one name or address, with or without a port.")
        return host.lower()

    @host.setter
    def host(self, host: str) -> None:
        if not is_host(host):
            raise ValueError(f"{host!r} is not a host")
        self._host = host.lower()

    @property
    def url(self) -> str:
        """The absolute URL, built from checked parts, with the query."""
        query = self.query_string
        return f"{self.scheme}://{self.host}{self._url_path()}" + (f"?{query}" if query else "")

    @property
    def state(self) -> State:
        """Attributes of this request, beginning with those of the server's lifespan state."""
        state = self._state
        if state is None:
            self._state = state = State()
            values = self._server_state()
            if values:
                state.__dict__ = values
        return state

    # -- the body ------------------------------------------------------------------------------------------------

    @property
    def body_params(self) -> Parameters:
        """The form, or the JSON body's top level: name -> values. An array in JSON gives its elements."""
        document = self._parsed_document()
        if not isinstance(document, dict):
            return self._form_fields or {}
        return {name: value if isinstance(value, list) else [value] for name, value in document.items()}

    def form(self, name: str, default: Any = None) -> Any:
        """Return the first value of ``name`` in the form or the JSON body's top level, or ``default``."""
        values = self.body_params.get(name)
        return values[0] if values else default

    def json(self, name: str | None = None, default: Any = None) -> Any:
        """Return the JSON body, or the value of ``name`` in its top level, or ``default``.

        Raises 400 for malformed JSON; ``json()`` raises 400 for an empty body, and 415 for a body of another type.
        """
        document = self._parsed_document()
        if name is not None:
            return document.get(name, default) if isinstance(document, dict) else default
        if document is None:
            if self.route is not None and self.route.reads_body:
                raise RuntimeError("@reads_body leaves the body to the handler: no JSON was received for it")
            if self._unread_body() == EMPTY_JSON:
                if self._received is None and not self._is_pooled:
                    raise RuntimeError("no JSON is received before the hooks: write json.loads(await request.body())")
                raise BadRequest("The JSON body is empty.")
            raise HTTPError(415, "This resource wants a JSON body: Content-Type: application/json.")
        return None if document is NULL else document

    @property
    def get_json(self) -> Any:
        """The JSON body, or None: MicroPie's spelling of ``json()``, which raises 400 or 415 instead of None."""
        document = self._parsed_document()
        return None if document is NULL else document

    @property
    def is_json(self) -> bool:
        """Whether the content type is JSON: ``application/json`` or ``application/*+json``."""
        return is_json(self.content_type)

    @property
    def files(self) -> dict[str, UploadFile]:
        """The uploaded files: name -> the first of that name; ``uploads`` has them all."""
        return {name: files[0] for name, files in self.uploads.items()}

    def body(self) -> Awaitable[bytes]:
        """``await request.body()``: the whole body, received now unless it was before. Raises 413 past the limit."""
        return self._perform_async(self._incoming.whole())

    def stream(self) -> AsyncIterator[bytes]:
        """``async for chunk in request.stream()``: the body as it arrives, once."""
        self._incoming.start_stream()
        return FlowIterator(self._incoming.next_piece, self)

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

        With ``@reads_body`` above the handler, the parts come as they arrive, once; otherwise the form was received
        before. Raises 415 if the body is not a multipart form, and 400, 408 and 413 while it is read.
        """
        media_type, parameters, _ = self._framing()
        if media_type != MULTIPART:
            raise HTTPError(415, "This resource wants a multipart form: Content-Type: multipart/form-data.")
        source: PartSource = ReceivedParts(self._received_parts)
        if self._form_fields is None:
            source = ArrivingParts(self._incoming, PartParser(boundary_of(parameters), self.config.limits))
        return Parts(source, self)

    @property
    def _incoming(self) -> Body:
        """The body that is being received. Raises 400 for a malformed Content-Length, 413 for one that is too large."""
        received = self._received
        if isinstance(received, Body):
            return received
        self._received = body = Body(self.config.settings.max_body_size, self._framing()[2])
        if received is not None:
            body.keep(received)
        return body

    # -- the answer ----------------------------------------------------------------------------------------------

    @property
    def response(self) -> PendingResponse:
        """Status, headers and cookies to send with whatever the handler returns.

        Raises ``ResponseError`` once a stream has given its first chunk, because the head has been sent then.
        """
        if self._pending_response is None:
            if self._is_head_sent:
                raise ResponseError("the head has been sent: set status, headers and cookies before the first chunk")
            self._pending_response = PendingResponse()
        return self._pending_response

    @property
    def _is_head_sent(self) -> bool:
        stream = self._answer_stream
        return self._is_answered or (stream is not None and stream.has_begun)

    @property
    def session(self) -> Session:
        """The client's session, a dict that knows whether it changed."""
        session = self._loaded_session
        if session is None:
            store = self.config.sessions
            # A session for which a backend may have to wait was opened before, if the client has one.
            session_id = None if store.opens_ahead else store.find_id(self)
            self._loaded_session = session = result_of(store.open(session_id))
            self._session_opened(session)
        session.accessed = True
        return session

    @session.setter
    def session(self, values: dict[str, Any]) -> None:
        session, values = self.session, dict(values)
        session.clear()
        session.update(values)

    def _session_opened(self, session: Session) -> None:
        """Refuse changes to a session that can't be sent any longer."""
        if self._is_head_sent:
            session.seal()

    def after_response(self, function: Callable[..., object], /, *arguments: object) -> None:
        """Call ``function(*arguments)`` when the answer has been sent, or when the client has left before that.

        An ``async def`` runs on the event loop, a ``def`` in a thread; several run in order, whatever the answer is.
        They can read the request, its session and its uploads, but not change them. A failure is logged, and a
        function still running ``background_timeout`` seconds after the answer is cancelled.
        """
        if not callable(function):
            raise TypeError(f"after_response takes a function and its arguments, not {function!r}")
        self._tasks = [*self._tasks, (function, arguments)]
        self._context = copy_context()
        self._closers = self._closers or []  # the drivers look at no other attribute

    # -- for middleware -----------------------------------------------------------------------------------------------

    def before_head(self, change: Callable[[Response], object]) -> None:
        """Call ``change(response)`` when a streamed answer has its first chunk, before anything is sent.

        By then a generator has set all it can on ``request.response``. ``change`` may change headers only. It is not
        called if an error or a hook's answer takes the stream's place.
        """
        self._before_head = [*self._before_head, change]

    def on_close(self, close: Callable[[], object]) -> None:
        """Call ``close`` when the request is over, whatever happens."""
        self._closers = [*(self._closers or ()), close]

    @property
    def label(self) -> str:
        """The request's name in log lines: ``GET '/path'``, with its id if it has one.

        The path's repr, so that a line end in it does not begin a new line in the log.
        """
        return f"{self.method} {self.path!r} [{self.id}]" if self.id else f"{self.method} {self.path!r}"

    def log_failure(self, sentence: str, failure: BaseException) -> None:
        """Log an exception that the client does not see, and pass it to ``App(on_error=...)``."""
        logger.error("%s", sentence, exc_info=failure)
        for report in (*self._failure_reports, self.config.settings.on_error):
            if report is not None:
                try:
                    report(failure)
                except Exception:
                    logger.exception("on_error failed")

    def log_cleanup_failure(self, failure: Exception) -> None:
        """Log that something which the request has used could not be closed."""
        self.log_failure(f"{self.label}: what it has used could not be closed", failure)

    # -- for the flow, mounts and drivers -----------------------------------------------------------------------------

    def _framing(self) -> tuple[str, dict[str, str], int | None]:
        """Return the body's media type, its parameters and its length. Raises 400 for a malformed length."""
        framing = self._parsed_framing
        if framing is None:
            named, length = self._body_headers()
            # ASCII digits alone: ``int`` would take "+5" and "1_0". 18 of them are 888 petabytes.
            if length is not None and not (length.isdigit() and len(length) <= 18):
                raise BadRequest("The Content-Length header must be one whole number.")
            # ``cached_if_short`` in line: as a decorator it takes 400 instructions of a form's 71,300.
            media_type, parameters = (_media_type if len(named) <= LONGEST_KEPT else _media_type.__wrapped__)(named)
            self._parsed_framing = framing = media_type, parameters, None if length is None else int(length)
        return framing

    def _parsed_document(self) -> Any:
        """Return the JSON body, ``NULL`` for null, None if there is none. Parses what was received, a form as well."""
        if self._parse is not None:
            self._parse(self, self._body_so_far() or b"")
            self._parse = None
        return self._document

    def _url_path(self) -> str:
        """Return the path as a URL has it, with the mount's prefix.

        Each segment is escaped by itself: ``/%2Fevil.com`` has the ``path`` ``//evil.com``, a link to which leads away.
        """
        segments = map(unquote_to_bytes, self.raw_path.strip(b"/").split(b"/"))
        below = "/".join(quote(segment, safe=SEGMENT_SAFE) for segment in segments)
        return f"{quote(self.root_path, safe=PATH_SAFE)}/{below}"

    def _unread_body(self) -> tuple[int, str] | None:
        """Return the status and the words for a body that is neither JSON nor a form; None if there is none."""
        if self.method in ("GET", "HEAD") or (self.route is not None and self.route.reads_body):
            return None
        if self.is_json:
            return EMPTY_JSON if self._document is None else None
        has_body = self.content_length or (self.content_length is None and "transfer-encoding" in self.headers)
        if not has_body or self.content_type in (FORM, MULTIPART):
            return None
        if not self.content_type:
            return 415, "the body has no Content-Type, such as application/json."
        return 415, "the body's Content-Type is neither JSON nor a form."

    def _segments(self) -> list[str]:
        """Return the path's decoded segments below the mount, ``[]`` for the root. Raises 400 and 404.

        ``path`` becomes these segments joined by "/". So what hooks and logs see is the path that was routed, and
        ``/secret/`` is ``/secret`` for them, too.
        """
        path = self._literal_path
        if path is None or path[0] != "/" or "//" in path or "/." in path or "\0" in path:
            return self._decoded_segments()
        segments = path.split("/")
        del segments[0]
        if not segments[-1]:  # an end slash, or the root itself
            del segments[-1]
            self.path = path[:-1] or "/"
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
        self.path = "/" + "/".join(segments)
        return segments

    @property
    def _has_short_body(self) -> bool:
        """Whether to receive the body's first piece ahead, which may save a hop between threads.

        The client sends it anyway, unless it waits for "100 Continue". Raises 400 for a malformed length.
        """
        return 0 < (self.content_length or 0) <= _SHORT_BODY and "expect" not in self.headers

    def _body_so_far(self) -> bytes | None:
        """Return the body as far as it was received and kept: all of it, or b"" if it was streamed; None if unread."""
        received = self._received
        if isinstance(received, Body):
            return None if received.state is UNREAD else received.data
        return received

    def _release_after(self, release: Callable[[], object]) -> None:
        """Call ``release`` when the request and its functions ``after_response`` are over."""
        self._releases = [*self._releases, release]
        self._closers = self._closers or []  # the drivers look at no other attribute

    def _cleanup_steps(self) -> Iterator[Step]:
        """Yield the steps that clean up after a request that broke off: they close its stream and its generators."""
        for part in (self._answer_stream, *reversed(self._resources), *reversed(self._generators)):
            step = part.close_step() if part is not None else None
            if step is not None:
                yield step

    def close(self) -> None:
        """End the request: call what ``on_close`` was given; release uploads, unless ``after_response`` needs them."""
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
        """Call the functions given to ``_release_after``."""
        releases, self._releases = self._releases, ()
        for release in releases:
            release()

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path!r}>"

    # -- what only a driver knows --------------------------------------------------------------------------------

    scope: Scope
    """The ASGI scope; under WSGI one that is made from the environ."""
    root_path: str
    """The decoded path that the application is mounted at, without a slash at its end; "" for none."""

    def _server_scheme(self) -> str:
        raise NotImplementedError

    def _server_client(self) -> Address | None:
        raise NotImplementedError

    def _server_state(self) -> dict[str, Any]:
        """Return a copy of the state that the lifespan left with the server."""
        return {}

    def _open_headers(self) -> Headers:
        raise NotImplementedError

    def _cookie_header(self) -> str:
        """Return the Cookie header, or "". Parsing all headers would take 2 µs."""
        raise NotImplementedError

    def _accept_header(self) -> str:
        """Return the Accept header, "*/*" without one; as above."""
        raise NotImplementedError

    def _origin_header(self) -> str:
        """Return the Origin header, or ""; as above."""
        raise NotImplementedError

    def _body_headers(self) -> tuple[bytes | str, bytes | None]:
        """Return Content-Type, or an empty one, and Content-Length, or None, without parsing all headers."""
        raise NotImplementedError

    def _raw_query(self) -> bytes | str:
        """Return the query, still escaped; text is latin-1."""
        raise NotImplementedError

    def _raw_path(self) -> bytes:
        """Return the path below the mount, still escaped. It begins with ``/`` unless it is malformed."""
        raise NotImplementedError

    def _server_name(self) -> str:
        """Return the host for a request without a Host header."""
        raise NotImplementedError

    def _perform(self, flow: Flow[Value]) -> Value:
        raise NotImplementedError

    def _perform_async(self, flow: Flow[Value]) -> Awaitable[Value]:
        raise NotImplementedError


class WebSocketRequest(Request):
    """The handshake of a WebSocket: a ``GET`` without a body. ``scheme`` is http or https, as that of the page."""

    __slots__ = ()

    hooks_begun: list[Any]
    """The middleware whose ``before_websocket`` was called and whose ``after_websocket`` was not yet."""
    is_accepted: bool

    @property
    def response(self) -> NoReturn:
        """Raises ``ResponseError``."""
        raise ResponseError("a WebSocket has no response: give headers to ws.accept(headers=...)")

    @property
    def label(self) -> str:
        """The WebSocket's name in log lines: ``WebSocket '/path'``, with its id as ``Request.label`` has it."""
        return f"WebSocket {self.path!r} [{self.id}]" if self.id else f"WebSocket {self.path!r}"

    def _session_opened(self, session: Session) -> None:
        super()._session_opened(session)
        if self.is_accepted:
            session.keep_cookie(self.config.sessions.in_cookie)

    def origin(self) -> str | None:
        """Return the Origin header, or None. An idle connection must not keep all headers in parsed form."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<WebSocketRequest {self.path!r}>"


@lru_cache(maxsize=256)  # browsers send one of three values, but each multipart form has its own boundary
def _media_type(value: bytes | str) -> tuple[str, dict[str, str]]:
    return parse_content_type(value if isinstance(value, str) else value.decode("latin-1"))
