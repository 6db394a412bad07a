"""``Exchange``: the framework's internal object for one request and its response.

Applications use a ``Request`` (``request.py``), which is a view of the exchange. So attributes that
they set on the request never collide with those of the framework. A request refers to its exchange,
but an exchange never refers to its request, because that would be a reference cycle.

The class has three parts: the state that the flow, the drivers and hooks store here; values and
methods that several of them need; and, at the end, the methods that each driver implements in a
subclass. Only these methods differ between protocols. All other methods are shared, so every value
is the same under WSGI and ASGI.
"""

from __future__ import annotations

import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    Sequence,
)
from functools import partial
from operator import attrgetter
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    Unpack,
)
from urllib.parse import quote, unquote_to_bytes

from micropie._core.errors import (
    BadRequest,
    ClientDisconnect,
    HTTPError,
    ResponseError,
    SetupError,
    as_authors_see,
    logger,
)
from micropie._core.execution import Action, LoopTasks, Slots, contained
from micropie._core.execution.placement import AnyFunction, Rank, Threads
from micropie._core.execution.steps import (
    Ends,
    Flow,
    Kind,
    ResourceContext,
    Resources,
    RunningGenerator,
    Step,
    call_each,
)
from micropie._core.http.addresses import (
    DOTS_AND_EMPTY,
    PATH_SAFE,
    SEGMENT_SAFE,
    decoded_segments,
    escaped_path,
    leads_up,
)
from micropie._core.http.answer import AnswerState
from micropie._core.http.body.reader import STREAMED, BodyReader
from micropie._core.http.body.received import NULL, ReceivedBody
from micropie._core.http.forms import MULTIPART, Limits, parse_query
from micropie._core.http.headers import (
    MAX_HEADERS,
    HeaderNames,
    Headers,
    SentCookies,
    content_type,
    is_json,
    parse_cookies,
)
from micropie._core.http.peer import PROXY_HEADERS, Address, Peer, PeerFields, ProxyWatch
from micropie._core.http.protocols import (
    ON_FAILURE,
    Environ,
    Json,
    Parameters,
    RawPairs,
    Scope,
    ServerMessage,
)
from micropie._core.http.response import Response
from micropie._core.http.session import Session, UnopenedSession
from micropie._core.http.settings import Settings
from micropie._core.on_demand import Value, computed, reserve

if TYPE_CHECKING:
    from micropie._core.execution.lane import AsyncLane, LeftCall, Tokens
    from micropie._core.http.headers import AppSigner

_SHORT_BODY = 64 * 1024  # bytes; servers pass on at least this much in one piece

FORM = "application/x-www-form-urlencoded"

BodyKind: TypeAlias = Literal["form", "multipart", "json"]
_KINDS: Final[Mapping[str, BodyKind]] = {FORM: "form", MULTIPART: "multipart"}
_ALL_KINDS: Final[tuple[BodyKind, ...]] = ("form", "multipart", "json")

LEFT_TO_HANDLER = (
    "@reads_body leaves the body to the handler: read it with request.read(), or await "
    "request.body()"
)

EMPTY_JSON = (400, "the JSON body is empty.")


# -- the attributes of higher layers' objects that this package uses -------------------------------


class RouteInfo:
    """The route of a request: the name of its handler and the pattern of its paths.

    ``Route`` is a subclass.
    """

    name: str
    pattern: str
    path: str
    """The pattern without the host."""
    reads_body: bool | Literal["ahead"]
    for_tools: Mapping[str, object]
    """Values for tools that wrap the application. They are added to the server's scope or environ
    once the route is found.
    """
    function: AnyFunction | None = None
    """The handler function without its decorators; None for a mounted application."""
    is_special = False
    """Whether more than a call of the handler is needed: its providers, or a filter of its result.
    """
    is_pooled = False
    """Whether the handler runs in a process of the pool."""
    most_on_loop = 8 * 1024
    """The maximum size, in bytes, of JSON or a form that is parsed and bound on the event loop. For
    a body of this size, that takes 0.1 to 0.9 ms. Larger bodies are parsed in a thread, and using
    the thread takes 0.1 ms.
    """
    path_names: Sequence[str] = ()
    """The names of the values in a request's ``path_params``."""


class Sessions(Protocol):
    """The store of an application's sessions."""

    in_cookie: bool
    opens_ahead: bool

    def find_id(self, exchange: Exchange, /) -> str | None: ...

    def is_secure(self, scheme: str, /) -> bool: ...

    def open_ahead(self, session_id: str, /) -> Flow[Session]: ...

    def open(self, exchange: Exchange, /) -> Session: ...

    def saves_with(self, status: int, /) -> bool: ...

    def close(self, session: Session, exchange: Exchange, /) -> Flow[str | None]: ...


class MessageConfig:
    """The part of an application's configuration that requests, responses and sessions use.

    ``Config`` extends it with everything else.
    """

    __slots__ = ()

    error_handlers: Sequence[object]
    changes_errors: bool
    """Whether anything in the configuration changes the default response to an error."""
    settings: Settings
    blocking: Kind
    threads: Threads
    """The worker threads for the application's ``def`` handlers."""
    limits: Limits
    """The limits of a query and a form."""
    signer: AppSigner | None
    """The object that signs cookies and links. It is None without a ``secret_key``."""
    sessions: Sessions
    text_type: str
    """The default content type of str, bytes and streams."""
    bodies: Mapping[type, object]
    json_fields: Collection[str] = ()
    """The names under which a part of a multipart form may contain JSON."""
    url_for: Callable[..., str]
    static_url: Callable[..., str]
    resource: Callable[[Any, object], ResourceContext[Any]]
    proxy_watch: ProxyWatch
    providers: Any
    enter_in_pool: tuple[Action, ...]
    """Functions that are pickled, and called in the pool's process before each handler."""
    advisor: Any
    """In development, the module ``micropie.debug.advisor``, which adds hints to common errors;
    otherwise None.
    """


# -- the exchange ----------------------------------------------------------------------------------


class Exchange:
    """One request and its response.

    A driver creates the exchange, with ``method`` and ``path``. The flow sets the other attributes.
    """

    def __init_subclass__(cls) -> None:
        reserve(cls, "config route path_params framing cookies headers hooks ends resources lane")

    method: str
    path: str
    path_params: Sequence[object] = ()
    config: MessageConfig
    route: RouteInfo | None = None
    outside: MutableMapping[str, object]
    """The server's scope or environ. Tools that wrap the application read the route from it."""
    id: str = ""

    body: ReceivedBody
    answer: AnswerState
    ends: Ends | None = None  # Functions to call when the request is over.
    generators: Sequence[RunningGenerator] = ()  # Generator middleware that has begun.
    resources: Resources | None = None  # Opened for access checks and the handler.
    user_checked_by: object = None  # The function that set ``request.state.user``.

    hooks: Any = None  # a ``HookPlan``: the hooks around the handler

    # For a WebSocket, the hooks whose ``after_websocket`` must still be called.
    hooks_begun: list[Any] | None = None

    # The following attributes are set by hooks and middleware.
    time_limit: float | None = None  # Seconds that the handler may take.
    # These functions are pickled, and called in the pool's process before the handler.
    enter_in_pool: tuple[Action, ...] = ()
    list_routes: Callable[[], Sequence[Any]] | None = None  # For the debug page of a 404.
    # Whether to pass an exception on to the server if the application has no error handler for it.
    passes_failure_on = False

    # The following attributes concern the threads and processes in which the flow runs.
    is_special = False  # Whether the handler's call needs more than a step.
    has_begun = False  # Whether a hook or the handler has run in a thread of the application.
    left_calls: Sequence[LeftCall] = ()  # the calls that go on in their threads without a task
    ending: Flow[None] | None = None  # closes the resources when the ``left_calls`` have ended
    lane: AsyncLane | None = None  # under WSGI, that of the ``async def`` parts
    # Under ASGI, ``Held.tokens``, until the generators that are still open have ended.
    tokens: Tokens | None = None
    opens_more = False  # Whether the request may hold resources that are not in ``resources``.
    # Under ASGI, the ``Slots`` of the thread that is waiting for the body, if there is one.
    reader: Slots | None = None
    is_pooled = False  # whether this is a copy of the request in a pool process

    # The path if it has no escapes, so that the router can look it up directly; otherwise None.
    literal_path: str | None = None
    peer: Peer = Peer()  # address, scheme and host, as corrected by middleware

    # -- the request line and the headers ----------------------------------------------------------

    @computed
    def headers(self) -> Headers:
        """The request's headers. Raises 431 if there are more than 1000."""
        raw = self.raw_headers()
        if len(raw) > MAX_HEADERS:
            raise HTTPError(431, "The request has too many headers.")
        return Headers(raw, self.answer.depend_on)

    @computed
    def cookies(self) -> SentCookies:
        """The cookies: name -> value."""
        return SentCookies(parse_cookies(self.header("cookie") or ""))

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        raise NotImplementedError

    @property
    def client(self) -> Address | None:
        """The client's address, or None if the server does not know it, for example for a UNIX
        socket.
        """
        return self.peer.client or self.server_client()

    def set_peer(self, **fields: Unpack[PeerFields]) -> None:
        """Set fields of ``peer``, which override the values from the server."""
        self.peer = self.peer._replace(**fields)

    def headers_with_host(self, host: str) -> RawPairs:
        """Return the headers for a mounted application, with the host that middleware has set."""
        others = (one for one in self.raw_headers() if one[0] != b"host")
        return [(b"host", host.encode("latin-1")), *others]

    def check_peer(self) -> None:
        """Log a warning if the server's peer seems to be a proxy that is not configured."""
        is_stated = self.peer.scheme is not None or self.peer.client is not None
        if not is_stated and self.config.proxy_watch.remaining:
            self.config.proxy_watch.check(
                self.named_headers(PROXY_HEADERS), self.server_client, self.scheme
            )

    @computed
    def query(self) -> Parameters:
        """The query's parameters: name -> values, in order. Raises 400 for a malformed query."""
        raw = self.query_string
        return parse_query(raw, self.config.limits) if raw else {}

    @property
    def signer(self) -> AppSigner:
        """The signer of cookies and links. Raises ``SetupError`` without
        ``App(secret_key=...)``.
        """
        if self.config.signer is None:
            raise SetupError(
                "signed cookies and signed links need a key: write "
                "App(secret_key=os.environ['SECRET_KEY'])"
            )
        return self.config.signer

    @property
    def label(self) -> str:
        """The name of the request in log lines: ``GET '/path'``, with its id if it has one.

        The path is written with ``repr``, so a line end in the path can't begin a new line in the
        log.
        """
        return f"{self.method} {self.path!r}" + (f" [{self.id}]" if self.id else "")

    def raw_path(self) -> bytes:
        """Return the path under ``root_path`` as the client sent it, still escaped; b"" if the
        client's path is not under ``root_path``.
        """
        literal = self.literal_path
        return self._server_path() if literal is None else escaped_path(literal.encode())

    def url_path(self) -> str:
        """Return the path as it appears in a URL, including ``root_path``.

        Each segment is escaped on its own, because the decoded path of ``/%2Fevil.com`` is
        ``//evil.com``, which would be a link to another site.
        """
        segments = map(unquote_to_bytes, self.raw_path().strip(b"/").split(b"/"))
        below = "/".join(quote(segment, safe=SEGMENT_SAFE) for segment in segments)
        return f"{quote(self.root_path, safe=PATH_SAFE)}/{below}"

    def segments(self) -> list[str]:
        """Return the decoded segments of the path under ``root_path``, ``[]`` for ``/``.

        Raises 400 for a malformed path, and 404 for an empty segment, "." or "..".

        Also set ``path`` to these segments joined by "/", so that hooks and logs see the path that
        was routed: ``/secret`` for ``/secret/``.
        """
        path = self.literal_path
        if path and path[0] == "/" and "//" not in path and "/." not in path and "\0" not in path:
            segments = path.split("/")
            del segments[0]
            if not segments[-1]:  # a trailing slash, or the root itself
                del segments[-1]
                self.path = path[:-1] or "/"
            return segments
        raw = self._server_path()
        if not raw.startswith(b"/"):
            raise BadRequest("The request's URL must have a path that begins with '/'.")
        segments = decoded_segments(raw[1:])
        if not segments[-1]:
            del segments[-1]
        path = "/" + "/".join(segments)
        if not DOTS_AND_EMPTY.isdisjoint(segments) or leads_up(path):
            # "..%2Fx" is a single segment, but decoded it is "../x", which leads to a parent
            # directory.
            raise HTTPError(404)
        self.path = path
        return segments

    # -- the body ----------------------------------------------------------------------------------

    @property
    def reads_body(self) -> bool | Literal["ahead"]:
        """Whether the handler reads the body itself; see ``receive_body``."""
        return self.route is not None and self.route.reads_body

    @computed
    def framing(self) -> tuple[str, dict[str, str], int | None]:
        """The body's media type, the media type's parameters, and the body's length in bytes or
        None.

        Raises 400 for a malformed length.
        """
        named, length = self.body_headers()
        # Accept digits only, because ``int`` also accepts "+5" and "1_0". 18 digits are enough for
        # 888 petabytes.
        if length is not None and not (length.isdecimal() and len(length) <= 18):
            raise BadRequest("The Content-Length header must be one whole number.")
        return *content_type(named), None if length is None else int(length)

    @property
    def incoming(self) -> BodyReader:
        """The reader of the body.

        Raises 400 for a malformed Content-Length, and 413 if it is above the limit.
        """
        received = self.body.data
        if isinstance(received, BodyReader):
            return received
        most = self.config.settings.max_body_size
        body = BodyReader(most, self.framing[2])
        if received is not None:
            body.keep(received)
        self.body.keep(body)
        return body

    def whole_body(self) -> Flow[bytes]:
        """Return the whole body; see ``BodyReader.whole``."""
        return self.incoming.whole(self.body.return_piece)

    def json_value(self) -> Json:
        """Return the value of the JSON body; None if it is null, or if there is no JSON."""
        self.require_body("json")
        document = self.body.parsed(self)
        return None if document is NULL else document

    @property
    def fields(self) -> Mapping[str, list[Json]]:
        """The fields of the form, or the top level of the JSON body: name -> values.

        If a value at the top level is an array, its elements become the values of the name.
        """
        document = self.body.parsed(self)
        if not isinstance(document, dict):
            return self.body.form or {}
        return {
            name: value if isinstance(value, list) else [value] for name, value in document.items()
        }

    @property
    def received_fields(self) -> Mapping[str, list[Json]]:
        """``fields``, after ``require_body``."""
        self.require_body(*_ALL_KINDS)
        return self.fields

    def require_body(self, *kinds: BodyKind, may_be_left: bool = False) -> None:
        """Check that a body of these kinds was received, because a hook must not take a field that
        isn't received yet for a missing one. If a hook has received the bytes, have them parsed.

        ``may_be_left``: whether nobody has to receive the body: a handler with ``@reads_body`` does
        so itself, and without a route, for example after a 404, there is no handler.

        Raises ``RuntimeError`` if the body isn't received yet, and 400 or 413 if it can't be.
        """
        body = self.body
        if body.parse is not None or body.form is not None or body.document is not None:
            return
        media_type, _, length = self.framing
        kind = _KINDS.get(media_type) or ("json" if is_json(media_type) else None)
        if kind not in kinds or length == 0 or self.is_pooled or self.method in ("GET", "HEAD"):
            return
        if may_be_left and (self.route is None or self.reads_body):
            return
        if self.reads_body:
            raise RuntimeError(LEFT_TO_HANDLER)
        received, is_streamed = body.so_far, self.incoming.state is STREAMED
        if is_streamed and kind == "multipart":
            raise BadRequest("The form can't be read.")
        if received and kind != "multipart":
            body.parse_later(kind, False)
        elif received != b"" or is_streamed:
            raise RuntimeError(
                "the body is not received yet when hooks run, or another hook has read it as a "
                "stream: write await request.body() first, or, in a def, request.read()"
                if kind != "multipart"
                else "a multipart form is not received yet when hooks run: read it in the handler"
            )

    def unread_body(self) -> tuple[int, str] | None:
        """Return the status and the message of an error if the body is neither JSON nor a form, or
        if a JSON body is empty. Otherwise return None.
        """
        if self.method in ("GET", "HEAD") or self.reads_body:
            return None
        media_type, _, length = self.framing
        if is_json(media_type):
            return EMPTY_JSON if self.body.document is None else None
        has_body = length or (length is None and "transfer-encoding" in self.headers)
        if not has_body or media_type in (FORM, MULTIPART):
            return None
        if not self.header("content-type"):
            return 415, "the request has no Content-Type header, such as application/json."
        return 415, "the request's Content-Type is neither JSON nor a form."

    @property
    def has_short_body(self) -> bool:
        """Whether to receive the body's first piece before the handler runs. This may save a switch
        between threads.

        A client sends a short body at once, unless it waits for "100 Continue". Raises 400 for a
        malformed length.
        """
        return 0 < (self.framing[2] or 0) <= _SHORT_BODY and self.header("expect") is None

    # -- the response ------------------------------------------------------------------------------

    @property
    def is_head_sent(self) -> bool:
        """Whether the status and the headers have been sent, or are about to be."""
        return self.answer.is_over or (
            self.answer.stream is not None and self.answer.stream.has_begun
        )

    def response(self) -> Response:
        """Return the response on which to set status, headers and cookies.

        Raises ``ResponseError`` after the response has started.
        """
        answer = self.answer
        if (answer.is_over or answer.stream is not None) and self.is_head_sent:
            raise ResponseError(
                "the response has started: set status, headers and cookies before the first chunk"
            )
        return answer.response or answer.begin_response()

    def opened_session(self) -> Session:
        """Return the client's session. If it is not loaded yet and the backend never waits, load it
        now.

        If the session's cookie can't be sent any longer, the session refuses changes.
        """
        answer = self.answer
        answer.depend_on("cookie")
        session = answer.session
        if session is None:
            session = self.config.sessions.open(self)
            answer.keep_session(session)
            if answer.is_over or answer.stream is not None:
                if self.is_head_sent:
                    session.seal()
            elif answer.is_accepted:  # a WebSocket whose headers have been sent
                session.keep_cookie(self.config.sessions.in_cookie)
        elif session.typed_views:
            session.write_views()
        return session

    def open_session(self) -> Flow[None]:
        """Load the session, if this was postponed because its backend may have to wait."""
        if isinstance(self.answer.session, UnopenedSession):
            # The cookie's name depends on the scheme, which a hook may have set by now.
            session_id = self.config.sessions.find_id(self)
            self.answer.keep_session(
                (yield from self.config.sessions.open_ahead(session_id)) if session_id else None
            )

    def run_with(self, hooks: object) -> None:
        """Set ``hooks``, the plan of the hooks that run around the handler."""
        self.hooks, answer = hooks, self.answer
        answer.has_more = answer.has_response = True

    def limit_time(self, seconds: float) -> None:
        """Limit the time that the handler may take."""
        self.time_limit, self.is_special = seconds, True

    def note_begin(self) -> None:
        """Record that a hook or the handler has run in one of the application's threads."""
        self.has_begun = self.is_special = True

    @property
    def rank(self) -> Rank:
        """The priority with which this request's next call waits for one of the application's
        threads. The call with the highest priority gets a thread first.
        """
        if not self.has_begun:
            return Rank.QUEUED
        may_hold = (
            self.resources
            or self.generators
            or self.opens_more
            or self.hooks_begun
            or (self.hooks is not None and self.hooks.may_hold)
        )
        return Rank.HOLDING if may_hold else Rank.BEGUN

    def begin_generator(self, running: RunningGenerator) -> None:
        """Record that a generator middleware has begun, so that it will be ended."""
        self.generators = [*self.generators, running]
        # If it guards a WebSocket, close it in the context in which it begins.
        if running.is_async or self.hooks is None:
            self.is_special = True

    def set_user_checker(self, checked_by: object) -> None:
        """Record which function set ``request.state.user``."""
        self.user_checked_by = checked_by

    def set_reader(self, slots: Slots | None) -> None:
        """Record which thread is waiting for the body.

        ``slots``: the ``Slots`` to which the thread belongs; None if no thread is waiting any more.
        """
        self.reader = slots

    def call_before_head(self, change: Callable[[Response], object]) -> None:
        """Call ``change(response)`` when the first chunk of a streamed response has been fetched,
        before anything is sent.

        By then, the handler's generator has set its status and headers on ``request.response``.
        ``change`` may change only headers. It is not called if an error or a hook's response
        replaces the stream.
        """
        self.at_end().add_change(change)

    def at_end(self) -> Ends:
        """Return the lists of functions to call when the request is over.

        If this has been called, the driver calls ``close`` at the end of the request.
        """
        ends = self.ends
        if ends is None:
            self.ends = ends = Ends()
        return ends

    def on_close(self, close: Action) -> None:
        """Call ``close`` when the request is over, whatever happens."""
        self.answer.note_reader()
        if self.ends is None:  # without a call, because middleware does this for each request
            self.ends = Ends()
        self.ends.add_closer(close)

    def release_after(self, release: Action) -> None:
        """Call ``release`` when the request and its ``after_response`` functions have ended."""
        self.at_end().add_release(release)

    def carry_into_pool(self, enter: Action) -> None:
        """Call ``enter`` before the handler, in the pool process that runs the handler."""
        self.enter_in_pool += (enter,)

    def own_resources(self) -> Resources:
        """Return the stack that holds the resources of access checks and of the handler."""
        if self.resources is None:
            self.resources, self.is_special = Resources(), True
            self.at_end()
        return self.resources

    def open_generators(self) -> list[RunningGenerator]:
        """Return those generators, of resources and of middleware, that have not ended. The
        generator that began last comes first, because its scope may be inside the scopes of the
        others.
        """
        begun = [one for one in (*(self.resources or ()), *self.generators) if not one.has_ended]
        return sorted(begun, key=attrgetter("number"), reverse=True)

    def note_left_call(self, call: LeftCall) -> None:
        """Record that ``call`` goes on in its thread, although the request no longer waits for it.
        What it may use is closed when it has ended.
        """
        self.left_calls = (*self.left_calls, call)
        self.at_end()

    def when_unused(self, action: Action) -> None:
        """Call ``action``, which must not raise, when no call goes on in its thread any more."""
        for call in self.left_calls:
            action = partial(call.when_ended, action)
        action()

    @property
    def is_in_use(self) -> bool:
        """Whether a call that may use the resources goes on in its thread."""
        # ask whether there are any first, because most requests have none
        return bool(self.left_calls) and not all(call.has_ended for call in self.left_calls)

    def close_resources(
        self, failure: Exception | None, kept: Iterable[object] = ()
    ) -> Flow[Exception | None]:
        """Close the resources, except those of the providers in ``kept``; see ``Resources.close``.

        If a call that may use them goes on in its thread, close all after its end, as after an
        aborted request if ``failure`` is None. Then an exception that a provider raises is only
        logged, and ``failure`` is returned.
        """
        resources = self.resources
        if not resources or self.ending is not None:
            return failure
        if not self.is_in_use:
            return (yield from resources.close(failure, kept))
        yield from self.leave_scopes()
        self.ending = (
            self.clean_up(resources.close_steps())
            if failure is None
            else self._close_later(resources, failure)
        )
        return failure

    def leave_scopes(self) -> Flow[None]:
        """Exit the scopes of the resources that stay open, because they must not keep middleware
        from exiting those around its ``yield``.
        """
        if self.resources and self.ending is None and any(one.is_async for one in self.generators):
            for running in self.resources[::-1]:
                yield from running.leave_scope()

    def _close_later(self, resources: Resources, failure: Exception) -> Flow[None]:
        raised: Exception | None = None
        try:
            try:
                raised = yield from resources.close(failure)
            except BaseException as error:
                raised = contained(error)
            if raised is not None and raised is not failure:
                self.log_cleanup_failure(raised)
        finally:
            # avoid a reference cycle between the exceptions and this frame
            del failure, raised

    def cleanup_steps(self) -> Iterator[Step]:
        """Yield the steps that clean up after an aborted request: close its stream and its
        generators.

        If a call that may use the resources goes on in its thread, they are closed after its end.
        Async generators can't wait for that, because their cancel scopes end with the task.
        """
        resources = self.resources
        if (
            resources
            and self.ending is None
            and self.is_in_use
            and not any(one.is_async for one in resources)
        ):
            self.ending = self.clean_up(resources.close_steps())
        kept = [] if self.ending is None or resources is None else resources
        for part in (self.answer.stream, *self.open_generators()):
            if part is not None and part not in kept:
                yield from part.close()

    def clean_up(self, steps: Iterable[Step]) -> Flow[None]:
        """Yield steps, such as those of ``cleanup_steps``, after a request was aborted.

        Failures are logged.
        """
        for step in steps:
            try:
                yield step
            except Exception as error:
                self.log_cleanup_failure(error)

    def discard_tasks(self) -> None:
        """Discard the functions passed to ``after_response``, and log a warning."""
        if self.ends is not None and self.ends.tasks:
            logger.warning(
                "%s: closing a resource failed, so functions passed to after_response were not "
                "called; number of functions: %d",
                self.label,
                len(self.ends.tasks),
            )
            self.ends.discard_tasks()

    def close(self) -> None:
        """End the request: call the functions passed to ``on_close``, and release uploads unless
        functions passed to ``after_response`` need them.
        """
        if self.ends is None or self.answer.is_over:
            return
        while self.ends.closers:  # one of these functions may add another
            call_each(
                self.ends.take_closers(),
                (),
                lambda failure: self.log_failure(
                    f"{self.label}: a function passed to on_close failed", failure
                ),
            )
        if self.ends.tasks:
            self.answer.close()
        else:
            self.release()

    def release(self) -> None:
        """Release uploads and everything else that the request holds, when no call uses it."""
        # Avoid reference cycles: ``resources`` and ``ends.context`` may refer to the request.
        if self.ending is None:
            self.resources = None
        ends, self.ends = self.ends, None
        assert ends is not None  # noqa: S101
        release = partial(call_each, ends.releases, (), self.log_cleanup_failure)
        if self.left_calls:
            self.when_unused(release)
        else:  # without a call, because this is so for most requests
            release()

    # -- failures that no client sees --------------------------------------------------------------

    def log_failure(self, sentence: str, failure: BaseException, /) -> None:
        """Log an exception that the client does not see, and pass it to ``App(on_error=...)``. In
        development, a hint is added to common errors.

        If a service is unavailable (a 503), log only ``sentence`` and the error's message. The
        traceback is then logged only if the level is DEBUG.
        """
        if self.config.advisor is not None:
            self.config.advisor.add_hint(self, failure)
        is_outage = isinstance(failure, HTTPError) and failure.status == 503
        if is_outage and not logger.isEnabledFor(logging.DEBUG):
            logger.error("%s: %s", sentence, failure)
        else:
            logger.error("%s", sentence, exc_info=as_authors_see(failure))
        reports: list[Any] = [] if self.ends is None else [*self.ends.failure_reports]
        reports.append(self.config.settings.on_error)
        if not is_outage:
            reports.append((self.environ or self.scope).get(ON_FAILURE))
        report_failed = "a function passed to on_error or on_failure failed"
        call_each(
            filter(None, reports),
            (failure,),
            lambda error: logger.error(report_failed, exc_info=error),
        )

    def break_off(self, failure: BaseException) -> None:
        """Record that the response was aborted after it had started, and log why.

        If the client has disconnected, log at the level DEBUG only.
        """
        self.answer.break_off()
        if isinstance(failure, ClientDisconnect):
            logger.debug("%s: the client disconnected during the stream", self.label)
        else:
            self.log_failure(
                f"{self.label} failed after the response had started: the response was aborted",
                failure,
            )

    def log_cleanup_failure(self, failure: Exception) -> None:
        """Log that a resource of the request could not be closed."""
        self.log_failure(f"{self.label}: closing a resource of this request failed", failure)

    # -- what only a driver knows ------------------------------------------------------------------

    environ: Environ | None = None
    """The WSGI environ; None under ASGI."""
    sends_files = False
    """Whether the server can send an open file itself."""
    has_several_workers: bool | None = None
    """Whether the server runs this application in several processes; None if the server does not
    report this.
    """
    scope: Scope = {}  # noqa: RUF012 - each driver sets its own
    """The ASGI scope; under WSGI, a scope made from the environ."""
    root_path: str
    """The decoded path at which the application is mounted, without a trailing slash; "" if the
    application is not mounted.
    """

    query_string: str
    """The query without the ``?``, still escaped, as latin-1 text."""

    def server_client(self) -> Address | None:
        """Return the address that is connected to the server: the client's or a proxy's. None if
        the server doesn't know it.
        """
        raise NotImplementedError

    def server_state(self) -> dict[str, object]:
        """Return a copy of the state that the lifespan passed to the server."""
        return {}

    def note_outlasting(self) -> Action:
        """Record that a call goes on after the response is complete. Shutdown waits, with a time
        limit, until the returned function is called.
        """
        raise NotImplementedError

    def header(self, name: str) -> str | None:
        """Return the value of a header, or None. ``name`` is in lower case. If you need only a few
        headers, this is faster than ``headers``.
        """
        return self.headers.get(name)

    def named_headers(self, names: HeaderNames) -> dict[str, str]:
        """Return the headers in ``names`` that the request has: lower-case name -> value. All of
        them are found in one pass.
        """
        raise NotImplementedError

    def body_headers(self) -> tuple[str, str | None]:
        """Return the values of Content-Type ("" if missing) and Content-Length (None if missing).
        Drivers override this, so that not all headers are parsed.
        """
        return self.header("content-type") or "", self.header("content-length")

    def raw_headers(self) -> RawPairs:
        """Return the headers as the server passes them, with lower-case names."""
        raise NotImplementedError

    @property
    def is_at_prefix(self) -> bool:
        """Whether the path is exactly the prefix that the server set, without a slash after it."""
        raise NotImplementedError

    def _server_path(self) -> bytes:
        """Return the path under ``root_path``, still escaped.

        It begins with ``/`` unless it is malformed.
        """
        raise NotImplementedError

    def receive_piece(self) -> Any:
        """Return the next piece of the body and whether more may follow (``Piece``). Under ASGI,
        await the result.

        Raises ``ClientDisconnect``, or ``HTTPError`` 408 if the body arrives too slowly.
        """
        raise NotImplementedError

    def receive_message(self) -> Awaitable[ServerMessage]:
        """Return the request's next message, for a mounted ASGI application.

        Raises the same errors as ``receive_piece``.
        """
        raise NotImplementedError

    def while_connected(self, work: Callable[[], Awaitable[Value]]) -> Awaitable[Value]:
        """Await ``work()``; see ``Request.while_connected``."""
        raise NotImplementedError

    def perform(self, flow: Flow[Value]) -> Value:
        """Run a flow for a ``def`` handler, and wait for its result."""
        raise NotImplementedError

    def perform_async(self, flow: Flow[Value]) -> Awaitable[Value]:
        """Return an awaitable that runs a flow, for an ``async def`` handler."""
        raise NotImplementedError

    def server_tasks(self) -> LoopTasks | None:
        """Return what starts tasks on the event loop that serves the request, or None if this loop
        isn't known. The method may be called in any thread.
        """
        return None

    def abandon(self, steps: Iterable[Step]) -> Awaitable[None]:
        """Perform clean-up steps after a cancellation, without being interrupted by it. Failures
        are logged.
        """
        raise NotImplementedError


class FlowIterator(Generic[Value]):
    """An async iterator that runs a flow for each item, until a result is empty.

    It isn't an async generator, because an async generator would have to be closed after a
    ``break``.
    """

    def __init__(self, step: Callable[[], Flow[Value | None]], exchange: Exchange) -> None:
        self._step = step
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[Value]:
        return self

    def __anext__(self) -> Awaitable[Value]:
        return self._exchange.perform_async(self._next())

    def _next(self) -> Flow[Value]:
        item = yield from self._step()
        if not item:
            raise StopAsyncIteration
        return item
