"""``Config``: the settings and objects of one ``App`` in a tree, made once and read by every request.

Settings are plain values that an author writes (``settings.py``). A config is made of them (``inheritance.py``) and
has the objects that they describe as well, such as thread limits, the session store and the templates. A part that the
application does not set itself is the same object as in the config of the application around it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import quote

from micropie.binding import OwnTypes, asked_behind, check_filled
from micropie.errors import HTTPError, SetupError
from micropie.execution import kind_of
from micropie.http import HTML, TEXT, Dumps, MessageConfig, Request, dumps_with, split_host, with_host
from micropie.routing.names import RouteNames
from micropie.routing.providers import Asking, Providers
from micropie.routing.settings import Settings
from micropie.streams import ShutdownSignal

if TYPE_CHECKING:
    from micropie.channels import Channels
    from micropie.execution import Threads
    from micropie.http import CookieSigner, Limits
    from micropie.pool import ExecutorPool, Pool
    from micropie.sessions import SessionStore
    from micropie.templates import Templates


ErrorKey: TypeAlias = int | type
Middlewares: TypeAlias = "list[object] | Chain"


class ErrorHandler:
    """An author's function for errors, ``def`` or ``async def``: of the error, the request and resources, or of less.

    ``asking``: the resources that it asks for, None for none. Raises ``SetupError`` for a parameter that nothing fills.
    """

    def __init__(self, function: Callable[..., object], providers: Providers) -> None:
        self.function, self.kind = function, kind_of(function)
        parameters = inspect.signature(function, follow_wrapped=False).parameters
        try:
            asked, _ = asked_behind(function, 0, providers)
            others = [one for name, one in parameters.items() if name not in asked]
            self.asking = providers.asking(asked) if asked else None
            self._takes_request = [one.name == "request" or one.annotation in (Request, "Request") for one in others]
            by_position = [one.name for one in others if one.kind not in (one.KEYWORD_ONLY, one.VAR_KEYWORD)]
            is_first = [one.name for one in others] == by_position == [*parameters][: len(others)]
            if not is_first or self._takes_request.count(False) > 1 or self._takes_request.count(True) > 1:
                check_filled(others[self._takes_request.count(True) + 1 :])
                raise SetupError("write def page(request, error), one of the two or none, and resources behind them")
        except SetupError as error:
            raise SetupError(f"the error handler {getattr(function, '__qualname__', function)}: {error}") from None

    def arguments(self, request: Request, error: Exception) -> Sequence[object]:
        """Return the arguments before the resources."""
        return [request if is_request else error for is_request in self._takes_request]


# By status or exception class, with the content type of their text: that of their own application.
ErrorHandlers: TypeAlias = tuple[Mapping[ErrorKey, ErrorHandler], str]


def handlers_of_classes(levels: Sequence[ErrorHandlers]) -> Sequence[ErrorHandlers]:
    """Return the handlers for classes of exceptions, without those for a status or for any error."""
    return [
        ({key: one for key, one in handlers.items() if isinstance(key, type) and key not in _CATCH_ALL}, text_type)
        for handlers, text_type in levels
    ]


def check_error_key(key: object) -> ErrorKey:
    """Return ``key`` if it is a status from 400 to 599 or an exception class; raise ``SetupError`` otherwise."""
    if isinstance(key, int) and not isinstance(key, bool) and 400 <= key <= 599:
        return key
    if isinstance(key, type) and issubclass(key, Exception):
        return key
    raise SetupError(f"@app.error takes a status from 400 to 599 or an exception class, not {key!r}")


@dataclass(slots=True, eq=False, repr=False)
class Config(MessageConfig):
    """The config of one ``App`` in a tree; every route of it refers to this. Only the flow's plans of hooks change."""

    settings: Settings
    threads: Threads
    """The worker threads for its ``def`` handlers."""
    pool: Pool | ExecutorPool
    """The processes for its handlers that run in one."""
    pool_threads: Threads
    """The threads that wait for the pool."""
    signer: CookieSigner | None
    """Signs cookies; None without a ``secret_key``."""
    sessions: SessionStore
    middlewares: Middlewares
    """All from the outermost application to this one, in a live view: one that is appended later counts.

    For the outermost application this is its own list, because every request checks whether it is empty.
    """
    ws_middlewares: Middlewares
    """The same for WebSockets."""
    error_handlers: Sequence[ErrorHandlers]
    """This application's own, then those of the applications around it that answer for it, too."""
    app: object
    prefix: str
    """The path of ``app`` in the tree: "" or "/blog"; on a host of its own "//blog.example.com"."""
    scopes: Mapping[str, str]
    """The beginnings of routes' names by ``prefix``: of this application's, {"/blog": "blog.", "": ""} for example, and
    of those of the applications around it.
    """
    names: RouteNames
    """The routes of the whole tree by name."""
    templates: Templates
    channels: Channels
    """The channels in which it publishes and subscribes."""
    shutdown: ShutdownSignal
    """Set when the server is told to stop; one for the whole tree."""
    providers: Providers
    tree: list[Config]
    """The configs of the whole tree, the outermost application's first; two of an application that is in it twice."""
    text_type: str = field(init=False)
    """The content type of text, bytes and streams that state none."""
    own_types: OwnTypes = field(init=False)
    dumps: Dumps = field(init=False)
    """Writes JSON, with its own encoders."""
    body_encoders: dict[type, Callable[[Any], bytes]] = field(init=False)
    """How the most frequent bodies become bytes. They are neither streams nor files."""
    limits: Limits = field(init=False)
    """The limits of a query and a form."""
    fallback: Any = field(init=False, default=None)
    """The route of the application that is mounted at ``app``'s own root, for what no route of ``app`` answers."""
    hook_plan: Any = field(init=False, default=None)
    """How ``middlewares`` run, once ``flow/hooks.py`` has found it out."""
    socket_plan: Any = field(init=False, default=None)
    """The same for ``ws_middlewares``."""

    @property
    def scope(self) -> str:
        """The beginning of the names of this application's routes: "" or "blog."."""
        return self.scopes[self.prefix]

    def __post_init__(self) -> None:
        self.text_type = HTML if self.settings.text == "html" else TEXT
        self.own_types = OwnTypes(self.settings.encoders, self.settings.decoders)
        self.dumps = dumps_with(self.settings.encoders)
        self.body_encoders = {str: str.encode, bytes: bytes, dict: self.dumps, list: self.dumps}
        self.limits = self.settings.limits()

    def url_for(
        self,
        request: Request | None,
        name: str,
        segments: Sequence[object],
        values: dict[str, object],
        *,
        is_absolute: bool = False,
    ) -> str:
        """Return the path of a route, see ``RouteNames``, below the mount of ``request``, or its absolute URL.

        That begins with the setting ``base_url``, without one with the request's own scheme and host. A route on
        another host than the request's has an absolute URL in any case, with that host. Raises ``LookupError`` where
        the host is not known.
        """
        there, path = split_host(self.names.url_for(name, self.scopes, segments, values))
        here, _ = split_host((self if request is None else config_of(request._exchange)).prefix)
        root = "" if request is None else quote(request.root_path)
        if there == here and not is_absolute:
            return root + path
        base = None if "*" in there else self.settings.base_url  # which is on one host
        states_host = there != "" and "*" not in there
        if base is None and request is not None and (states_host or there == here):
            base = f"{request.scheme}://{request.host}{root}"
        if base is None:
            raise LookupError(f"the host of {name!r} is not known here: write App(base_url=...), or a host without *")
        return (with_host(base, there[2:]) if states_host else base).rstrip("/") + path

    def static_url(self, request: Request | None, path: str, name: str) -> str:
        """Return the path of a file with its fingerprint, see ``App.static_url``."""
        fingerprint = self.names.fingerprint(name, self.scopes, path)
        return f"{self.url_for(request, name, (), {'path': path})}?v={fingerprint}"

    def asked_by(self, function: Callable[..., object], given: int) -> Asking | None:
        """Return the resources that a function after the response asks for, None for none. Raises ``SetupError``."""
        try:
            return self.providers.asked_later(function, given)
        except SetupError as error:
            name, told = getattr(function, "__qualname__", function), str(error)
        raise SetupError(f"after_response({name}, ...): {told}, or give it an argument")

    def error_handler_for(self, error: Exception, status: int) -> tuple[ErrorHandler | None, bool, str]:
        """Return the author's handler for an error, or None, whether the author expected this error, and the type of
        the handler's text.

        The nearest application that has a handler for the error answers it: by the error's class, then its base
        classes, then its status, then ``HTTPError`` and ``Exception``, which mean any error. An error is expected if
        the handler names its class or a base class of it other than these two.
        """
        kinds = type(error).__mro__
        own = [kind for kind in kinds if kind not in _CATCH_ALL]
        for handlers, text_type in self.error_handlers:
            for key in (*own, status, *_CATCH_ALL):
                if key in handlers and (key is status or key in kinds):
                    return handlers[key], key in own, text_type
        return None, False, self.text_type


def config_of(answering: HasConfig) -> Config:
    """Return the configuration of the application that answers.

    The rooms below this one know only the part of it that messages depend on (``http/exchange.py``).
    """
    config: Config = answering.config
    return config


class HasConfig(Protocol):
    """An exchange or the context of a lifespan."""

    @property
    def config(self) -> Any: ...


_CATCH_ALL: tuple[type[Exception], ...] = (HTTPError, Exception)


class Chain:
    """A live view of two lists of middleware as one. ``providers``: of the application of ``inner``."""

    def __init__(self, outer: Middlewares, inner: list[object], providers: Providers) -> None:
        self._parts = (outer, inner)
        self._providers = providers

    def __iter__(self) -> Iterator[object]:
        return chain(*self._parts)

    def __bool__(self) -> bool:
        return any(self._parts)

    def placed(self, outermost: Providers) -> Iterator[tuple[object, Providers]]:
        """Yield each middleware with the providers of its application; ``outermost`` are those of the outermost one."""
        outer, inner = self._parts
        yield from placed(outer, outermost)
        yield from ((one, self._providers) for one in inner)


def placed(middlewares: Middlewares, outermost: Providers) -> Iterable[tuple[object, Providers]]:
    """Return each middleware with the providers of its application."""
    if isinstance(middlewares, Chain):
        return middlewares.placed(outermost)
    return [(one, outermost) for one in middlewares]
