"""``request`` and its classes, which read a WSGI environ. Under ASGI the environ is created when it
is first needed.
"""

from __future__ import annotations

import base64
import hashlib
import json as codec
import sys
from collections.abc import Callable, Iterator, KeysView
from contextlib import suppress
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import IO, Any, ClassVar, TypeVar, cast
from urllib.parse import SplitResult, quote

from micropie import HTTPError as NativeError
from micropie.extensions import loads
from micropie_compat.addresses import plain_path
from micropie_compat.bottle.cookies import Digest, cookie_decode
from micropie_compat.bottle.dicts import FormsDict, WSGIHeaderDict
from micropie_compat.bottle.forms import (
    FileUpload,
    as_uploads,
    parse_multipart,
    parse_pairs,
)
from micropie_compat.bottle.responses import HTTPError
from micropie_compat.bottle.state import (
    EXCHANGE,
    current_exchange,
    face,
    outside,
    readable_environ,
)
from micropie_compat.core import Exchange as NativeExchange
from micropie_compat.core import checked_base, current
from micropie_compat.environs import Environ, read_cookies
from micropie_compat.results import CHUNK, words

Value = TypeVar("Value")

# For each key of the environ, the cached values that are parsed from it. Setting the key removes
# these values.
_PARSED_FROM = {
    "wsgi.input": words("body post forms files params json"),
    "QUERY_STRING": words("query params"),
}


def _early_exchange(request: BaseRequest) -> Any:
    """Return the current exchange if it has no environ yet and ``request`` is ``bottle.request``,
    otherwise None.
    """
    exchange = current_exchange() if request._is_current else None
    return None if exchange is None or exchange._environ is not None else exchange


class _Cached:
    """A read-only property whose value is cached in the environ under ``key``.

    ``make_early``: a function that takes micropie's exchange and returns the value, which saves
        creating an environ, or ``_LATER`` if the value must be read from an environ.
    """

    def __init__(
        self,
        key: str,
        make: Callable[[BaseRequest], object],
        make_early: Callable[[NativeExchange], object] | None,
    ) -> None:
        self.key = key
        self.make = make
        self.make_early = make_early
        self.__doc__ = make.__doc__

    def __get__(self, request: BaseRequest | None, kind: object) -> Any:
        if request is None:
            return self
        key, make_early = self.key, self.make_early
        exchange = None if make_early is None else _early_exchange(request)
        if make_early is not None and exchange is not None:
            early: dict[str, Any] = exchange.early
            if key not in early and (value := make_early(exchange.native)) is not _LATER:
                early[key] = value
            if key in early:
                return early[key]
        environ = request.environ
        if key in environ:
            return environ[key]
        # ``make`` reads several values. For each value, a ``LocalRequest`` would look up the
        # current environ, and the lookups would take as long as parsing a form. So pass a request
        # that has the environ already.
        own = object.__new__(BaseRequest)
        object.__setattr__(own, "environ", environ)
        environ[key] = value = self.make(own)
        return value


def _cached(
    key: str, make_early: Callable[[NativeExchange], object] | None = None
) -> Callable[[Callable[[BaseRequest], Value]], Value]:
    """Make the decorated method a ``_Cached`` property. Type checkers see the type of the method's
    result.
    """
    return lambda make: cast("Any", _Cached(key, make, make_early))


_LATER = object()


def _early_forms(exchange: NativeExchange) -> object:
    data = exchange.body.data
    if (
        type(data) is not bytes
        or len(data) > BaseRequest.MEMFILE_MAX
        or exchange.framing[0][:10] == "multipart/"
    ):
        return _LATER
    return parse_pairs(data.decode("latin-1"))


def _early_json(exchange: NativeExchange) -> object:
    data = exchange.body.data
    if type(data) is not bytes or len(data) > BaseRequest.MEMFILE_MAX:
        return _LATER
    return _from_json(data) if exchange.framing[0] in _JSON_TYPES else None


class BaseRequest:
    """The properties of a request, read from a WSGI environ. Attributes that a program sets are
    stored in the environ.
    """

    __slots__ = ("environ",)

    MEMFILE_MAX: ClassVar[int] = 102400
    """The maximum number of bytes of a body stored in memory; a longer body is stored on disk. Form
    fields and JSON must not be longer.
    """

    environ: Environ
    _is_current = False
    """Whether this is ``bottle.request``, which reads early values of the current request."""

    def __init__(self, environ: Environ | None = None) -> None:
        object.__setattr__(self, "environ", {} if environ is None else environ)
        self.environ["bottle.request"] = self

    @_cached("bottle.app")
    def app(self) -> Any:
        """The application that handles the request."""
        raise RuntimeError("This request is not connected to an application.")

    @_cached("bottle.route")
    def route(self) -> Any:
        """The route that handles the request."""
        raise RuntimeError("This request is not connected to a route.")

    @_cached("route.url_args")
    def url_args(self) -> Any:
        """The values of the route's wildcards by name."""
        raise RuntimeError("This request is not connected to a route.")

    # -- path, method, headers ---------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The decoded path without ``script_name``, beginning with exactly one slash."""
        exchange = _early_exchange(self)
        path = self.environ.get("PATH_INFO", "") if exchange is None else exchange.native.path
        return "/" + str(path).lstrip("/")

    @property
    def method(self) -> str:
        """The request's method in capitals."""
        exchange = _early_exchange(self)
        if exchange is not None:
            return str(exchange.native.method)
        return str(self.environ.get("REQUEST_METHOD", "GET")).upper()

    @_cached("bottle.request.headers")
    def headers(self) -> WSGIHeaderDict:
        """The request's headers; the case of names does not matter."""
        return WSGIHeaderDict(self.environ)

    def get_header(self, name: str, default: object = None) -> Any:
        """Return a header, or ``default``."""
        return self.headers.get(name, default)

    @_cached(
        "bottle.request.cookies",
        lambda exchange: FormsDict(read_cookies(exchange.header("cookie") or "")),
    )
    def cookies(self) -> FormsDict:
        """The cookies as sent, by name; ``get_cookie`` reads signed ones."""
        return FormsDict(read_cookies(self.environ.get("HTTP_COOKIE", "")))

    def get_cookie(
        self,
        key: str,
        default: object = None,
        secret: str | bytes | None = None,
        digestmod: Digest = hashlib.sha256,
    ) -> Any:
        """Return a cookie's value. With ``secret``: the value of a signed cookie, or ``default`` if
        its signature is wrong.
        """
        value = self.cookies.get(key)
        if secret:
            match cookie_decode(value or "", secret, digestmod):
                case [name, signed] if name == key:
                    return signed
            return default
        return value or default

    @_cached("bottle.request.query", lambda exchange: parse_pairs(exchange.query_string))
    def query(self) -> FormsDict:
        """The fields of the query string."""
        return parse_pairs(self.query_string)

    GET = query

    @property
    def query_string(self) -> str:
        """The query string as sent, without "?"."""
        return str(self.environ.get("QUERY_STRING", ""))

    @property
    def content_length(self) -> int:
        """The value of the Content-Length header, or -1 if it is missing."""
        return int(self.environ.get("CONTENT_LENGTH") or -1)

    @property
    def content_type(self) -> str:
        """The Content-Type header in lower case."""
        return str(self.environ.get("CONTENT_TYPE", "")).lower()

    @property
    def chunked(self) -> bool:
        """Whether the body was sent in chunks (Transfer-Encoding)."""
        return "chunked" in str(self.environ.get("HTTP_TRANSFER_ENCODING", "")).lower()

    @property
    def is_xhr(self) -> bool:
        """Whether a script sent the request: the header X-Requested-With is "XMLHttpRequest"."""
        return str(self.environ.get("HTTP_X_REQUESTED_WITH", "")).lower() == "xmlhttprequest"

    is_ajax = is_xhr

    @property
    def auth(self) -> tuple[str, str | None] | None:
        """(user, password) if the client uses Basic authentication, (user, None) if the server has
        authenticated the user, otherwise None.
        """
        basic = parse_auth(self.environ.get("HTTP_AUTHORIZATION", ""))
        user = self.environ.get("REMOTE_USER")
        return basic or ((user, None) if user else None)

    # -- URL and client address --------------------------------------------------------------------

    @property
    def url(self) -> str:
        """The whole URL of the request."""
        scheme, host, path, query, _ = self.urlparts
        return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")

    @_cached("bottle.request.urlparts")
    def urlparts(self) -> SplitResult:
        """The parts of ``url``.

        Proxy headers are ignored unless the middleware ``ProxyHeaders`` trusts the proxy.

        Raises ``HTTPError`` 400 for a malformed Host header, because programs put the host in
        links.
        """
        environ = self.environ
        try:
            scheme, host = checked_base(
                environ.get("wsgi.url_scheme", "http"), environ.get("HTTP_HOST", "")
            )
        except NativeError as error:
            raise HTTPError(400, str(error)) from None
        if not host:
            host, port = environ.get("SERVER_NAME", "127.0.0.1"), environ.get("SERVER_PORT")
            if port and port != ("80" if scheme == "http" else "443"):
                host = f"{host}:{port}"
        return SplitResult(scheme, host, quote(self.fullpath), environ.get("QUERY_STRING", ""), "")

    @property
    def fullpath(self) -> str:
        """``script_name`` and ``path`` joined."""
        return plain_path(self.script_name + self.path.lstrip("/"))

    @property
    def script_name(self) -> str:
        """The path at which the application is mounted, with a slash at both ends."""
        name = str(self.environ.get("SCRIPT_NAME", "")).strip("/")
        return f"/{name}/" if name else "/"

    def path_shift(self, shift: int = 1) -> None:
        """Move ``shift`` segments from ``path`` to ``script_name``. A negative ``shift`` moves them
        back.
        """
        script_name, path = path_shift(self.environ.get("SCRIPT_NAME", "/"), self.path, shift)
        self["SCRIPT_NAME"], self["PATH_INFO"] = script_name, path

    @property
    def remote_route(self) -> list[str]:
        """``[remote_addr]``, or ``[]`` if that is None. Only the middleware ``ProxyHeaders`` reads
        the addresses in proxy headers.
        """
        address = self.environ.get("REMOTE_ADDR")
        return [address] if address else []

    @property
    def remote_addr(self) -> str | None:
        """The client's address, or None if the server doesn't provide it."""
        return next(iter(self.remote_route), None)

    # -- the body ----------------------------------------------------------------------------------

    @_cached("bottle.request.body")
    def _body(self) -> IO[bytes]:
        environ = self.environ
        source, left = environ.get("wsgi.input"), self.content_length
        if left < 0 and environ.get("wsgi.input_terminated"):
            left = sys.maxsize  # the server ends the source after the body
        body: BytesIO | SpooledTemporaryFile[bytes] = BytesIO()
        if left > self.MEMFILE_MAX:
            body = SpooledTemporaryFile[bytes](max_size=self.MEMFILE_MAX)
            _release_with(environ, body.close)
        while source is not None and left > 0:
            piece = source.read(min(CHUNK, left))
            if not piece:
                break
            body.write(piece)
            left -= len(piece)
        environ["wsgi.input"] = body
        return body

    @property
    def body(self) -> IO[bytes]:
        """The body as a binary file, positioned at the start. A body of more than ``MEMFILE_MAX``
        bytes is stored on disk.
        """
        self._body.seek(0)
        return self._body

    def _short_body(self) -> bytes:
        most = self.MEMFILE_MAX
        data = b"" if self.content_length > most else self.body.read(most + 1)
        if max(self.content_length, len(data)) > most:
            raise HTTPError(413, "Request entity too large")
        return data

    @_cached("bottle.request.json", _early_json)
    def json(self) -> Any:
        """The value of the JSON body; None if the body is empty or its content type isn't JSON.

        Raises ``HTTPError`` with status 400 or 413.
        """
        is_json = self.content_type.partition(";")[0].strip() in _JSON_TYPES
        return _from_json(self._short_body()) if is_json else None

    @_cached("bottle.request.post")
    def POST(self) -> FormsDict:  # noqa: N802
        """The fields and files of the form. A body that isn't multipart is parsed as urlencoded."""
        header, exchange = (
            self.environ.get("CONTENT_TYPE", ""),
            self.environ.get(EXCHANGE),
        )
        if not header.strip().lower().startswith("multipart/"):
            return parse_pairs(self._short_body().decode("latin-1"))
        # Hooks or native handlers may have parsed the form already.
        if exchange is not None and exchange.body.form is not None:
            parts = as_uploads(exchange.body.parts, exchange.body.unselected)
        else:
            counts = None if exchange is None else exchange.config.limits
            parts, parser = parse_multipart(header, self.body, self.MEMFILE_MAX, counts)
            _release_with(self.environ, parser.close)
        fields = FormsDict()
        for name, part in parts:
            fields.append(name, part)
        return fields

    @_cached("bottle.request.forms", _early_forms)
    def forms(self) -> FormsDict:
        """The fields of the form, without the files."""
        return _chosen(self.POST, lambda value: not isinstance(value, FileUpload))

    @_cached("bottle.request.files")
    def files(self) -> FormsDict:
        """The files of the form: ``FileUpload`` objects."""
        return _chosen(self.POST, lambda value: isinstance(value, FileUpload))

    @_cached("bottle.request.params")
    def params(self) -> FormsDict:
        """The fields of the query and the form. If both have a field of the same name, the form's
        value counts as the one added last.
        """
        params = FormsDict()
        for source in (self.query, self.forms):
            for name, values in source.dict.items():
                params.dict.setdefault(name, []).extend(values)
        return params

    # -- the environ as a dictionary, and attributes that programs set -----------------------------

    def copy(self) -> BaseRequest:
        """Return a new request with a copy of the environ."""
        return BaseRequest(self.environ.copy())

    def get(self, key: str, default: object = None) -> Any:
        """Return the environ's value for ``key``, or ``default``."""
        return self.environ.get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self.environ[key]

    def __setitem__(self, key: str, value: object) -> None:
        if self.environ.get("bottle.request.readonly"):
            raise KeyError("The environ dictionary is read-only.")
        self.environ[key] = value
        for name in (
            ("headers", "cookies") if key.startswith("HTTP_") else _PARSED_FROM.get(key, ())
        ):
            self.environ.pop(f"bottle.request.{name}", None)

    def __delitem__(self, key: str) -> None:
        self[key] = ""
        del self.environ[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.environ)

    def __len__(self) -> int:
        return len(self.environ)

    def keys(self) -> KeysView[str]:
        """Return the keys of the environ."""
        return self.environ.keys()

    @property
    def _own(self) -> dict[str, Any]:
        """The dictionary that stores attributes set by programs."""
        return self.environ

    def __getattr__(self, name: str) -> Any:
        own, key = self._own, f"bottle.request.ext.{name}"
        if key not in own:
            own = self.environ  # an outer application may have set the attribute
        try:
            value = own[key]
        except KeyError:
            raise AttributeError(f"this request has no attribute {name!r}") from None
        return value.__get__(self) if hasattr(value, "__get__") else value

    def __setattr__(self, name: str, value: object) -> None:
        if name == "environ":
            object.__setattr__(self, name, value)
            return
        own, key = self._own, f"bottle.request.ext.{name}"
        if hasattr(type(self), name) or key in own:
            raise AttributeError(
                f"this request already has an attribute {name!r}: use another name"
            )
        own[key] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self._own[f"bottle.request.ext.{name}"]
        except KeyError:
            raise AttributeError(f"this request has no attribute {name!r}") from None

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.method} {self.url}>"


_JSON_TYPES = frozenset({"application/json", "application/json-rpc"})


def _from_json(data: bytes) -> Any:
    """Return the value of a JSON body, None if it is empty. Raises ``HTTPError`` 400."""
    if not data:
        return None
    own = vars(face()).get("json_loads")  # set by the program
    # The standard library also accepts NaN, and encodings other than UTF-8.
    readers: list[Any] = [own] if own else [loads, codec.loads]
    for read in readers:
        # malformed, not UTF-8, or nested too deeply
        with suppress(ValueError, TypeError, RecursionError):
            return read(data)
    raise HTTPError(400, "Invalid JSON")


def _chosen(fields: FormsDict, is_wanted: Callable[[object], bool]) -> FormsDict:
    chosen = FormsDict()
    for name, values in fields.dict.items():
        wanted = [value for value in values if is_wanted(value)]
        if wanted:
            chosen.dict[name] = wanted
    return chosen


def _release_with(environ: Environ, release: Callable[[], object]) -> None:
    exchange = environ.get(EXCHANGE)
    if exchange is not None:
        exchange.release_after(release)


class LocalRequest(BaseRequest):
    """``bottle.request``: a proxy for the current request."""

    __slots__ = ()
    _is_current = True

    def __init__(self) -> None:
        self.bind()

    @property
    def _own(self) -> dict[str, Any]:
        exchange = _early_exchange(self)
        own: dict[str, Any] = self.environ if exchange is None else exchange.early
        return own

    def bind(self, environ: Environ | None = None) -> None:
        """Let ``bottle.request`` read ``environ`` outside of an application, for example in a test
        that calls a handler.
        """
        outside.environ = {} if environ is None else environ
        outside.environ["bottle.request"] = self

    @property
    def environ(self) -> Environ:
        """The WSGI environ. Under ASGI it is made from the scope."""
        exchange = current_exchange()
        if exchange is not None:
            environ: Environ = exchange._environ or exchange.environ
            return environ
        native = current.get(None)
        if native is not None:  # in a native handler
            own = vars(native)
            if "_bottle_environ" not in own:
                own["_bottle_environ"] = readable_environ(native._exchange)
            kept: Environ = own["_bottle_environ"]
            return kept
        try:
            return outside.environ
        except AttributeError:
            raise RuntimeError(
                "Request context not initialized: use bottle.request in handlers, hooks and plugins"
            ) from None

    @environ.setter
    def environ(self, environ: Environ) -> None:
        exchange = current_exchange()
        if exchange is None:
            outside.environ = environ
        else:
            exchange.environ = environ


Request = BaseRequest
request = LocalRequest()


def received_header(name: str) -> str:
    """Return a header of the current request, or "", without creating an environ.

    ``name``: the header's name in lower case.
    """
    exchange = _early_exchange(request)
    if exchange is None:
        return str(request.environ.get(f"HTTP_{name.replace('-', '_').upper()}", ""))
    return exchange.native.header(name) or ""


def parse_auth(header: str) -> tuple[str, str] | None:
    """Return (user, password) from a Basic ``Authorization`` header, or None."""
    try:
        scheme, data = header.split(None, 1)
        user, password = base64.b64decode(data.strip()).decode().split(":", 1)
    except ValueError:
        return None
    return (user, password) if scheme.lower() == "basic" else None


def path_shift(script_name: str, path_info: str, shift: int = 1) -> tuple[str, str]:
    """Move ``shift`` segments from ``path_info`` to ``script_name``, and return both paths. A
    negative ``shift`` moves them back.

    Raises ``AssertionError`` if a path has too few segments.
    """
    if shift == 0:
        return script_name, path_info
    segments = [segment for segment in script_name.strip("/").split("/") if segment]
    cut = len(segments) + shift
    if path_info.strip("/"):
        segments += path_info.strip("/").split("/")
    if not 0 <= cut <= len(segments):
        raise AssertionError(
            f"Cannot shift. Nothing left from {'SCRIPT_NAME' if shift < 0 else 'PATH_INFO'}"
        )
    above, below = segments[:cut], segments[cut:]
    ending = "/" if path_info.endswith("/") and below else ""
    return "/" + "/".join(above), "/" + "/".join(below) + ending
