"""``Request``: the client's request, as handlers and hooks see it.

It is a view of an ``Exchange``, and the same under every protocol. Each part is parsed when it is
first used.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVarTuple, Unpack, cast, overload

from micropie._core.errors import (
    BadRequest,
    HTTPError,
    SetupError,
    is_generator,
    name_of,
    signature_of,
    takes,
)
from micropie._core.execution import current
from micropie._core.execution.steps import ResourceContext, Task
from micropie._core.http import headers
from micropie._core.http.addresses import NO_HOST, is_host
from micropie._core.http.body.received import NULL
from micropie._core.http.exchange import (
    EMPTY_JSON,
    LEFT_TO_HANDLER,
    Exchange,
    FlowIterator,
    RouteInfo,
)
from micropie._core.http.forms import MULTIPART, UploadFile
from micropie._core.http.headers import CookieAttributes, Headers, add_vary, choose_type, is_json
from micropie._core.http.multidict import MultiDict
from micropie._core.http.peer import Address
from micropie._core.http.protocols import Environ, Json, ReceivedJson, Scope
from micropie._core.http.response import Response
from micropie._core.http.session import Session
from micropie._core.http.state import State
from micropie._core.on_demand import Value
from micropie._core.spellings import RequestSpellings, attribute_of

if TYPE_CHECKING:
    from micropie._core.http.body.form_parts import Parts

Arguments = TypeVarTuple("Arguments")


class Request(RequestSpellings):
    """The client's request, which handlers see as ``self.request``.

    You may set your own attributes on it.
    """

    _exchange: Exchange
    _state: State | None = None

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    # -- the request line and the headers ----------------------------------------------------------

    method: str = attribute_of("_exchange.method", sets="_exchange.method")
    """The method as the client wrote it; the standard ones are upper-case."""

    path: str = attribute_of("_exchange.path", sets="_exchange.path")
    """The decoded path, without the prefix of a mount and without a trailing slash.

    This is the path that was routed: for ``/a/``, it is ``/a``. ``raw_path`` keeps the slash. A
    mounted application gets the slash as well.
    """

    path_params: Final[Sequence[Any]] = attribute_of("_exchange.path_params")
    """The values of the parameters in the path, in order."""

    app: Final[Any] = attribute_of("_exchange.config.app")
    """The ``App`` that contains the request's handler; the outermost ``App`` for a path without a
    handler.
    """

    route: Final[RouteInfo | None] = attribute_of("_exchange.route")
    """The route, with its ``name`` and its ``pattern``; None if the path has no handler."""

    id: str = attribute_of("_exchange.id", sets="_exchange.id")
    """The id of the request in logs and on error pages; "" without the middleware ``RequestId``."""

    scope: Final[Scope] = attribute_of("_exchange.scope")
    """The ASGI scope; under WSGI, a scope made from the environ."""

    environ: Final[Environ | None] = attribute_of("_exchange.environ")
    """The WSGI environ; None under ASGI."""

    headers: Final[Headers] = attribute_of("_exchange.headers")
    """The headers: names are case-insensitive, ``get_all`` returns all values of a repeated name,
    and values are latin-1 text.

    If you look up ``Authorization``, the response gets ``Vary: Authorization`` and becomes private,
    whether or not the client sent the header. Raises 431 if there are more than 1000 headers.
    """

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that the client sent: name -> value. If a name is repeated, the first one
        counts (RFC 6265, section 5.4). The cookies are read-only; use ``response.set_cookie`` to
        set one.

        The response gets ``Vary: Cookie``, and ``Cache-Control: private`` unless you set
        Cache-Control.
        """
        self._exchange.answer.depend_on("cookie")
        return self._exchange.cookies

    def signed_cookie(
        self, name: str, default: object = None, max_age: float | timedelta | None = None
    ) -> Any:
        """Return the value of a cookie set by ``set_signed_cookie``, or ``default``.

        Also return ``default`` if the cookie is forged or damaged, or was set longer ago than
        ``max_age``: seconds, a timedelta, or None for no limit. The client can read the value, and
        may send an older value again. Raises ``SetupError`` without ``App(secret_key=...)``.
        """
        signer = self._exchange.signer
        value = self.cookies.get(name)
        return default if value is None else signer.load(name, value, default, max_age)

    def set_signed_cookie(
        self, name: str, value: object, **attributes: Unpack[CookieAttributes]
    ) -> None:
        """Set a cookie that only this application can make. ``value`` is anything that JSON can
        hold; read it with ``signed_cookie``.

        The client can read the value. ``attributes``: see ``response.set_cookie``; HttpOnly is set
        by default. Raises ``SetupError`` without ``App(secret_key=...)``, and ``ValueError`` for a
        cookie of more than 4096 bytes.
        """
        attributes.setdefault("httponly", True)
        self.response.set_cookie(name, self._exchange.signer.dump(name, value), **attributes)

    def sign(self, value: object, purpose: str, *, expires: float | timedelta) -> str:
        """Return ``value``, anything that JSON can hold, as signed text for a link:
        ``self.absolute_url_for("reset", key=request.sign(name, "reset", expires=3600))``.

        For ``expires``, seconds or a timedelta, ``unsign`` returns the value if it is called with
        the same ``purpose``. Only this application can create such text. The client can read the
        value, and use the text more than once. Raises ``SetupError`` without
        ``App(secret_key=...)``, and ``TypeError`` for a value that JSON can't hold.
        """
        return self._exchange.signer.sign(value, purpose, expires)

    def unsign(self, text: str, purpose: str) -> Any:
        """Return the value that ``sign`` has turned into ``text`` for the same ``purpose``.

        Raises ``HTTPError``: 403 if the text is forged, damaged or for another purpose, 410 if it
        has expired. Raises ``SetupError`` as ``sign`` does.
        """
        return self._exchange.signer.unsign(text, purpose)

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that the client of an ``EventStream`` received before it
        reconnected, or None.
        """
        value = self.headers.get("Last-Event-ID")
        # This header is UTF-8, unlike all others (HTML, section 9.2.3).
        return None if value is None else value.encode("latin-1").decode("utf-8", "replace")

    def while_connected(self, work: Callable[[], Awaitable[Value]]) -> Awaitable[Value]:
        """``await request.while_connected(work)``: await ``work()``. If the client disconnects,
        ``work`` is cancelled and ``ClientDisconnect`` is raised, so that no response is sent.

        ``work``: an ``async def`` without arguments. WSGI servers don't report that a client has
        disconnected, so under WSGI ``work`` is never cancelled.
        """
        return self._exchange.while_connected(work)

    @property
    def content_type(self) -> str:
        """The body's media type in lower case, without parameters; "" if there is none."""
        return self._exchange.framing[0]

    @property
    def content_type_parameters(self) -> dict[str, str]:
        """The parameters of the body's media type, such as ``charset`` and ``boundary``."""
        return dict(self._exchange.framing[1])

    @property
    def content_length(self) -> int | None:
        """The announced length of the body in bytes, or None. Raises 400 if it is malformed."""
        return self._exchange.framing[2]

    @property
    def raw_path(self) -> bytes:
        """The path under ``root_path`` as the client sent it, still escaped; b"" if the path is not
        under ``root_path``.
        """
        return self._exchange.raw_path()

    root_path: Final[str] = attribute_of("_exchange.root_path")
    """The decoded path at which the application is mounted, without a trailing slash; "" if the
    application is not mounted.
    """

    query_string: Final[str] = attribute_of("_exchange.query_string")
    """The query without the ``?``, still escaped, as latin-1 text."""

    @property
    def query(self) -> MultiDict[str]:
        """The query's parameters: ``query.get("q", "")``, ``query.getlist("tag")``.

        Raises 400 if it is malformed.
        """
        return MultiDict(self._exchange.query)

    def accepts(self, *types: str) -> str | None:
        """Return the type from ``types`` that the client prefers by its Accept header, or None if
        it accepts none of them.

        A type is ``"text/calendar"``, without parameters, or a short name such as ``"html"``. If
        the client has no preference, the first one is returned. The response gets
        ``Vary: Accept``, so that caches keep the types apart.
        """
        if not self._exchange.is_head_sent:
            add_vary(self.response.pairs, "Accept")
        return choose_type(self.headers.get("accept"), types)

    def not_modified(self, etag: str | None = None, modified: datetime | None = None) -> bool:
        """Return whether the client already has the version that ``etag`` or ``modified``
        identifies. If so, let the handler return None. The response gets the validators ETag and
        Last-Modified whether or not it is a 304::

            if self.request.not_modified(etag=str(pie.version)):
                return None  # a 304 without a body

        ``etag`` is any text that changes with the response. ``modified`` is the time of the last
        change (UTC if it is naive). For a request other than GET and HEAD, the result is False (RFC
        9110, section 13). Raises ``TypeError`` for values of other types.
        """
        fields, tag, seconds = self.response.headers, "\n", inf
        if etag is not None:
            tag = fields["ETag"] = headers.entity_tag(etag)
        if modified is not None:
            if not isinstance(modified, datetime):
                raise TypeError(
                    f"not_modified(modified=...) takes a datetime, not {modified!r}: for "
                    "seconds, write datetime.fromtimestamp(seconds, UTC)"
                )
            seconds = int(
                (modified if modified.tzinfo else modified.replace(tzinfo=UTC)).timestamp()
            )
            fields["Last-Modified"] = headers.http_date(seconds)
        is_hit = self.method in ("GET", "HEAD") and headers.is_known(self.headers, tag, seconds)
        if is_hit:
            self.response.status = 304
        return is_hit

    def check_precondition(self, etag: str | None, *, required: bool = False) -> None:
        """Raise 412 unless the client's change is for the current version of the resource (RFC
        9110, section 13.1)::

            self.request.check_precondition(etag=str(pie.version), required=True)

        ``etag`` is the text that you pass to ``not_modified`` for the current version; None if the
        resource does not exist yet. If-Match has to contain it, and If-None-Match must not. With
        ``required``, a request without If-Match gets a 428 (RFC 6585), unless the resource does not
        exist yet. Tags are compared weakly, unlike in section 13.1.1, because a proxy that
        compresses a response makes its tag weak, although the version is the same.
        """
        tag, wanted = (
            "" if etag is None else headers.entity_tag(etag),
            self.headers.get("if-match"),
        )
        if wanted is None and required and tag:
            raise HTTPError(
                428, "A change needs an If-Match header with the ETag of the version you loaded."
            )
        is_other = wanted is not None and not (
            tag and headers.is_known({"if-none-match": wanted}, tag, inf)
        )
        if is_other or (tag and headers.is_known(self.headers, tag, inf)):
            raise HTTPError(
                412, "The resource has changed since you loaded it. Reload it and try again."
            )

    # -- where the request came from ---------------------------------------------------------------

    # Behind a proxy, the server sees the proxy's address instead of the client's. Middleware sets
    # the following values from the headers of a trusted proxy.

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        scheme = self._exchange.scheme
        if scheme == "http":
            self._exchange.check_peer()
        return scheme

    @scheme.setter
    def scheme(self, scheme: str) -> None:
        self._exchange.set_peer(scheme=scheme)

    @property
    def client(self) -> Address | None:
        """The client's address, or None if the server does not know it, for example for a UNIX
        socket.
        """
        self._exchange.check_peer()
        return self._exchange.client

    @client.setter
    def client(self, client: Address | None) -> None:
        self._exchange.set_peer(client=client)

    @property
    def host(self) -> str:
        """``name`` or ``name:port`` from the Host header, in lower case. Without one, as in
        HTTP/1.0, it is ``localhost``.

        Raises 400 if the header is malformed.
        """
        known = self._exchange.peer.host
        if known is not None:
            return known
        hosts = set(self.headers.get_all("host")) or {""}
        host = hosts.pop() or NO_HOST
        if hosts or not is_host(host):
            raise BadRequest("The Host header must be one name or address, with or without a port.")
        return host.lower()

    @host.setter
    def host(self, host: str) -> None:
        if not is_host(host):
            raise ValueError(f"{host!r} is not a host, such as example.com or example.com:8000")
        self._exchange.set_peer(host=host.lower())

    @property
    def url(self) -> str:
        """The absolute URL with the query. Raises 400 if the Host header is malformed."""
        query = self.query_string
        return f"{self.scheme}://{self.host}{self._exchange.url_path()}" + (
            f"?{query}" if query else ""
        )

    def url_for(self, name: str, /, *segments: object, **values: object) -> str:
        """Return the path of the handler ``name``, which is looked up from the application that
        handles the request. See ``App.url_for``.
        """
        return self._exchange.config.url_for(self, name, segments, values)

    def absolute_url_for(self, name: str, /, *segments: object, **values: object) -> str:
        """Return the absolute URL of the handler ``name``. See ``App.absolute_url_for``."""
        return self._exchange.config.url_for(self, name, segments, values, is_absolute=True)

    def static_url(self, path: str, *, name: str = "static") -> str:
        """Return the path of a file, with a fingerprint of its bytes. See ``App.static_url``."""
        return self._exchange.config.static_url(self, path, name)

    @property
    def state(self) -> State:
        """An object for your own attributes of this request. At first, it has the attributes of the
        lifespan state.
        """
        state = self._state
        if state is None:
            self._state = state = State()
            values = self._exchange.server_state()
            if values:
                state.__dict__ = values
        return state

    # -- the body ----------------------------------------------------------------------------------

    @property
    def form(self) -> MultiDict[Json]:
        """The fields of the form, as text: ``form.get("name", "")``, ``form.getlist("tag")``.

        If the body is JSON, these are the values of its top level. If one of them is an array, its
        elements become several values of the name.

        Raises ``RuntimeError`` in hooks that run before the handler, because the body is not
        received yet: write ``await request.body()`` first. With ``@reads_body`` there are no
        fields.
        """
        exchange = self._exchange
        exchange.require_body("form", "multipart", "json", may_be_left=True)
        return MultiDict(exchange.fields)

    def json(self, name: str | None = None, default: Json = None) -> ReceivedJson:
        """Return the JSON body. With ``name``, return the value of that key at the top level, or
        ``default``.

        Raises 400 for malformed JSON. Without ``name``, it also raises 400 for an empty body, 415
        for a body of another type, and ``RuntimeError`` where JSON is not received automatically:
        with ``@reads_body``, and in hooks that run before the handler, unless they have awaited
        ``request.body()``.
        """
        exchange = self._exchange
        document = exchange.body.parsed(exchange)
        if document is None:
            exchange.require_body("json")  # a hook may have received it
            document = exchange.body.parsed(exchange)
        if name is not None:
            return document.get(name, default) if isinstance(document, dict) else default
        if document is None:
            if exchange.reads_body:
                raise RuntimeError(LEFT_TO_HANDLER)
            if exchange.unread_body() == EMPTY_JSON:
                raise BadRequest("The JSON body is empty.")
            raise HTTPError(
                415, "This resource requires a JSON body (Content-Type: application/json)."
            )
        return None if document is NULL else document

    @property
    def is_json(self) -> bool:
        """Whether the content type is JSON: ``application/json`` or ``application/*+json``."""
        return is_json(self.content_type)

    @property
    def files(self) -> MultiDict[UploadFile]:
        """The uploaded files: ``files["photo"]``, or ``files.getlist("photos")`` for all files of a
        name.

        Raises ``RuntimeError`` in hooks that run before the handler. With ``@reads_body`` there are
        no files.
        """
        self._exchange.require_body("multipart", may_be_left=True)
        return MultiDict(self._exchange.body.uploads)

    def body(self) -> Awaitable[bytes]:
        """``await request.body()``: the whole body. It is received now, unless it has been received
        already.

        Raises 413 if it is longer than ``max_body_size``.
        """
        return self._exchange.perform_async(self._exchange.whole_body())

    def stream(self) -> AsyncIterator[bytes]:
        """``async for chunk in request.stream()``: the body as it arrives.

        It can be read only once.
        """
        self._exchange.incoming.start_stream()
        return FlowIterator(self._exchange.incoming.next_piece, self._exchange)

    def read(self) -> bytes:
        """Return the whole body: the counterpart of ``body`` for ``def`` handlers."""
        return self._exchange.perform(self._exchange.whole_body())

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives: the counterpart of ``stream`` for ``def`` handlers."""
        self._exchange.incoming.start_stream()
        while piece := self._exchange.perform(self._exchange.incoming.next_piece()):
            yield piece

    def parts(self) -> Parts:
        """Iterate over a multipart form part by part: ``async for part in request.parts()``. Use a
        plain ``for`` in a ``def`` handler.

        With ``@reads_body`` above the handler, you get each part while it arrives, and can read it
        once. Otherwise the whole form has been received already. Raises 415 if the body is not a
        multipart form, and 400, 408 and 413 while it is read.
        """
        from micropie._core.http.body.form_parts import (
            ArrivingParts,
            Parts,
            PartSource,
            ReceivedParts,
        )
        from micropie._core.http.forms import PartParser, boundary_of

        exchange = self._exchange
        media_type, parameters, _ = exchange.framing
        if media_type != MULTIPART:
            raise HTTPError(
                415, "This resource requires a multipart form (Content-Type: multipart/form-data)."
            )
        source: PartSource = ReceivedParts(exchange.body.parts)
        if exchange.body.form is None:
            source = ArrivingParts(
                exchange.incoming, PartParser(boundary_of(parameters), exchange.config.limits)
            )
        return Parts(source, exchange)

    # -- the response ------------------------------------------------------------------------------

    @property
    def response(self) -> Response:
        """The object on which to set the status, headers and cookies that are sent with the
        handler's result.

        Raises ``ResponseError`` after a stream has produced its first chunk, because the response
        has started by then.
        """
        return self._exchange.response()

    @property
    def session(self) -> Session:
        """The client's session, a dict whose changes are saved with the response."""
        return self._exchange.opened_session()

    @session.setter
    def session(self, values: dict[str, Any]) -> None:
        session, values = self.session, dict(values)
        for key in session.keys() - values.keys():
            del session[key]
        session.update(values)

    def after_response(
        self, function: Callable[[Unpack[Arguments]], object], /, *arguments: *Arguments
    ) -> None:
        """Call ``function(*arguments)`` after the response has been sent, or after the client has
        disconnected.

        An ``async def`` runs on the event loop, a ``def`` in a thread. Several functions run in the
        order of the calls, even after an error response. They can read the request, its session and
        its uploads, but not change them. A failure is logged. After ``background_timeout`` seconds
        for all of them, an ``async def`` is cancelled, a ``def`` goes on in its thread, and no
        other function is called. Raises ``TypeError`` if ``function`` isn't callable, and
        ``SetupError`` if it can't take these arguments or has a ``yield``.
        """
        if not callable(function):
            raise TypeError(
                f"after_response takes a function and its arguments, not {function!r}: "
                "write after_response(function, argument), not "
                "after_response(function(argument))"
            )
        exchange = self._exchange
        if not takes(function, len(arguments)):
            exchange.config.providers.refuse_resources(function, len(arguments))
            raise SetupError(
                f"{name_of(function)}{signature_of(function)} "
                f"can't be called with the given arguments, of which there are {len(arguments)}: "
                "write after_response(function, *arguments)"
            )
        if is_generator(function):
            raise SetupError(
                f"{name_of(function)} has a yield, so "
                "after_response would run none of its lines: remove the yield"
            )
        exchange.answer.note_reader()
        exchange.at_end().add_task(Task(function, arguments))

    @overload
    def resource(self, key: type[Value], /) -> ResourceContext[Value]: ...

    @overload
    def resource(self, key: Callable[..., object], /) -> ResourceContext[Any]: ...

    def resource(self, key: object, /) -> ResourceContext[Any]:
        """Return a context manager that opens a resource, with the resources that it depends on,
        and closes it at the end of the block.

        ``key``: a type registered with ``app.provides``, or a provider function. Use ``with`` in a
        ``def``, and ``async with`` in an ``async def``. The resource belongs to this block only.
        The providers are those of the application that contains the request's handler. Raises
        ``LookupError`` if no provider matches ``key``, and ``SetupError`` if a provider reads the
        body.
        """
        return self._exchange.config.resource(self, key)

    # -- for middleware ----------------------------------------------------------------------------

    def on_close(self, close: Callable[[], object]) -> None:
        """Call ``close`` when the request is over, whatever happens.

        By then, ``status`` and ``broken_off`` are final.
        """
        self._exchange.on_close(close)

    def on_failure(self, report: Callable[[BaseException], object]) -> None:
        """Call ``report(failure)`` for each failure of this request. A failure is an exception that
        becomes a 500, or that aborts the response after it has started.

            request.on_failure(client.capture_exception)

        ``report`` is called like the function of the setting ``on_error``: at the end of the
        request, once for each failure. It must not block. If it raises an exception, that exception
        is logged.
        """
        self._exchange.at_end().add_report(report)

    def carry_into_process(self, enter: Callable[[], object]) -> None:
        """Call ``enter()`` before the handler, in the pool process that runs it. If the handler
        runs in this process, ``enter`` is not called.

            request.carry_into_process(partial(set_language, request.state.language))

        ``enter`` is pickled, so it must be a function at a module's top level, or a
        ``functools.partial`` of such a function. It may set context variables, which the handler
        sees. If you pass several functions, they are called in the order in which you passed them.
        """
        self._exchange.carry_into_pool(enter)

    status: Final[int | None] = attribute_of("_exchange.answer.status")
    """The final status of the response. It is None until the status is final, and stays None if the
    client disconnects first.
    """

    length: Final[int | None] = attribute_of("_exchange.answer.length")
    """The length of the response's body in bytes; None for a stream of unknown length."""

    broken_off: Final[bool] = attribute_of("_exchange.answer.is_broken_off")
    """Whether the response ended early, as far as the server reports it.

    The reason may be that the client disconnected, a stream failed, or the server timed out. The
    value is final when ``on_close`` functions run.
    """

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path!r}>"


def current_request() -> Request:
    """Return the request that this code is handling.

    Raises ``LookupError`` outside a request.
    """
    try:
        answered: Request = current.get()
    except LookupError:
        raise LookupError(
            "there is no current request: this code runs in __init__, in a thread of its own, or "
            "otherwise outside a handler or a hook. Pass what it needs as an argument"
        ) from None
    return answered


class _CurrentRequest:
    """A proxy for the current request."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(current_request(), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(current_request(), name, value)

    def __repr__(self) -> str:
        return f"<current {current.get(None)!r}>"


bound_request = cast("Request", _CurrentRequest())
