"""The test client: an httpx2 client whose requests go to an application in this process."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from copy import deepcopy
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Literal, TypedDict, Unpack
from urllib.parse import quote

import anyio

from micropie.testing.asgi import AppTask, ASGITransport, start_loop
from micropie.testing.call import ClientSettings
from micropie.testing.errors import ClientError
from micropie.testing.forms import PostForms
from micropie.testing.http import APP, AppTransport
from micropie.testing.library import Events, event_headers, httpx
from micropie.testing.requests import session_app
from micropie.testing.websocket import DENIAL, WebSocketCall, WebSocketSession, handshake_headers
from micropie.testing.wsgi import WSGITransport

if TYPE_CHECKING:
    from http.cookiejar import CookieJar

    from micropie.testing.library import HeaderTypes

    CookieTypes = httpx.Cookies | CookieJar | dict[str, str] | list[tuple[str, str]]
    Simple = str | float | bool | None
    File = IO[bytes] | bytes | str
    NamedFile = File | tuple[str | None, File] | tuple[str | None, File, str | None]


class SocketOptions(TypedDict, total=False):
    """The options of a WebSocket, named as in httpx2."""

    params: str | Mapping[str, Simple | Sequence[Simple]] | list[tuple[str, Simple]]
    headers: HeaderTypes
    cookies: CookieTypes
    extensions: Mapping[str, object]


class RequestOptions(SocketOptions, total=False):
    """The options of a request, named as in httpx2."""

    files: Mapping[str, NamedFile] | Sequence[tuple[str, NamedFile]]
    auth: tuple[str, str] | httpx.Auth
    follow_redirects: bool


# The characters that browsers don't escape in a path. They compare its text with the path of a
# cookie, which can't have a semicolon.
_UNESCAPED = "/:@!$&'()*+,="


def tree_of(app: object) -> Any:
    """Return the ``Tree`` of an application.

    Raises ``ClientError`` if the application isn't an ``App``, because others have no tree.
    """
    tree = getattr(app, "_micropie", None)
    if tree is None:
        raise ClientError(
            "this method of the client needs a micropie.App that isn't wrapped in middleware, but "
            f"the client's app is {app!r}"
        )
    return tree


_ELSEWHERE = {
    "websocket_connect": 'client.websocket("/chat")',
    "ws_connect": 'client.websocket("/chat")',
    "force_login": "with client.session_transaction() as session",
    "dependency_overrides": "client.override(Db, fake)",
    "set_cookie": 'client.cookies.set("name", "value")',
}


class TestClient(httpx.Client):
    """Call an ASGI 3 or WSGI (PEP 3333) application as a server would, but without a server.

        with TestClient(app, protocol="asgi", backend="trio") as client:
            assert client.get("/").status_code == 200
            with client.websocket("/chat") as ws:
                ws.send_text("hello")

    The client is an ``httpx2.Client``: cookies, uploads, authentication and ``stream`` work as in
    httpx2. Entering the client runs the application's startup. Leaving the client runs the
    shutdown. Without ``with``, startup and shutdown don't run. In that case call ``close``, which
    ends the threads and the open responses. A WSGI application has no lifespan; if it has a
    callable ``wsgi_shutdown``, closing the client calls it, as the exit of a worker process would.

    - ``protocol``: "asgi" or "wsgi".
    - ``backend``, ``backend_options``: anyio's backend for an ASGI application, "asyncio" or
      "trio", and its options.
    - ``raise_app_exceptions``: whether to raise the application's exceptions in the test; see
      below.
    - ``base_url``, ``headers``, ``cookies``: used for every request, as in httpx2.
    - ``root_path``: the path where the application is mounted (WSGI's SCRIPT_NAME). URLs without a
      host are relative to it.
    - ``client``: the address and port from which the requests come. With None, they are missing, as
      for a server that doesn't know them.
    - ``lifespan``: False skips startup and shutdown.
    - ``app_timeout``: how many seconds the client waits for the application before it raises
      ``AppTimeout``.
    - ``raw_uri``: whether the WSGI environ has gunicorn's RAW_URI.
    - ``denial_response``: whether a rejected handshake may have another status than 403, as under
      uvicorn, hypercorn and granian (the extension "websocket.http.response").
    - ``follow_redirects``: whether to follow redirects, False by default.

    The exceptions raised in the test are those that the application itself raises, and those that
    micropie turns into a 500 or only logs: from a handler, a hook, a stream or a WebSocket.
    Exceptions of functions that run after the response are raised when the client is closed. With
    ``raise_app_exceptions=False``, the test sees what a client would see: a response with status
    500, or ``httpx2.RemoteProtocolError`` in the middle of the body if the response has started.

    httpx2 normalises URLs. ``extensions={"target": b"/%ff/../x"}`` sets the exact bytes of a
    request target, including the ``root_path``. Headers passed as bytes arrive unchanged. Raises
    ``ValueError`` for an unknown ``protocol`` or ``backend``.
    """

    __test__ = False  # otherwise pytest would collect it because of its name

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        protocol: Literal["asgi", "wsgi"] = "asgi",
        backend: str = "asyncio",
        backend_options: Mapping[str, object] | None = None,
        raise_app_exceptions: bool = True,
        base_url: str = "http://testserver",
        headers: HeaderTypes | None = None,
        cookies: CookieTypes | None = None,
        root_path: str = "",
        client: tuple[str, int] | None = ("127.0.0.1", 50000),
        lifespan: bool = True,
        app_timeout: float = 15.0,  # longer than ``websocket_grace``
        raw_uri: bool = True,
        denial_response: bool = True,
        follow_redirects: bool = False,
    ) -> None:
        self._app = app
        settings = ClientSettings(
            root_path,
            client,
            raise_app_exceptions,
            app_timeout,
            lifespan,
            denial_response,
            raw_uri,
            late=[],
        )
        self.app_transport: AppTransport
        if protocol == "asgi":
            if backend not in anyio.get_all_backends():
                raise ValueError(
                    f"backend must be one of {', '.join(anyio.get_all_backends())}, not {backend!r}"
                )
            self.app_transport = ASGITransport(
                app, settings, partial(start_loop, backend, backend_options)
            )
        elif protocol == "wsgi":
            self.app_transport = WSGITransport(app, settings)
        else:
            raise ValueError(f"protocol must be 'asgi' or 'wsgi', not {protocol!r}")
        url = httpx.URL(base_url)
        super().__init__(
            transport=self.app_transport,
            # The URL's path begins with the mount, so that cookies and redirects work as in a
            # browser.
            base_url=url.copy_with(
                raw_path=quote(root_path, safe=_UNESCAPED).encode() + url.raw_path
            ),
            headers=headers,
            cookies=cookies,
            follow_redirects=follow_redirects,
            timeout=None,  # httpx2's timeouts only apply to sockets
            trust_env=False,
        )

    def override(self, key: object, fake: object) -> AbstractContextManager[object]:
        """In the whole application, use ``fake`` in place of the provider from
        ``@app.provides(key)``.

        If ``fake`` is a function or a class, it is called as a provider. Any other object is itself
        the value that parameters get. The override ends when the client is closed, or at the end of
        ``with client.override(Session, fake):``. Raises ``ValueError`` if the application has no
        provider for ``key``, and ``ClientError`` if the application isn't a ``micropie.App``.
        """
        override = self.app_transport.overrides.enter_context(ExitStack())
        override.callback(tree_of(self._app).override(key, fake))
        return override

    if not TYPE_CHECKING:  # pragma: no branch - type checkers see only the real names

        def __getattr__(self, name: str) -> Any:
            """Raise an error for a missing name. If other frameworks' test clients have the name,
            the error's message suggests what to write.
            """
            if name in _ELSEWHERE:
                raise AttributeError(f"TestClient has no {name}: write {_ELSEWHERE[name]}")
            # Raises the usual AttributeError. If a property raised one, it is raised again.
            return object.__getattribute__(self, name)

    @contextmanager
    def session_transaction(self) -> Iterator[dict[str, Any]]:
        """Read and change the client's session, as the application stores it::

            with client.session_transaction() as session:
                session["cart"] = ["apple pie"]

        If the dict has changed at the end of ``with``, it is stored, and the client gets the
        session's cookie. The application's hooks and handlers don't run. Raises ``ClientError`` if
        the application isn't a ``micropie.App``.
        """
        values: dict[str, Any] = {}
        self._visit_session(values.update)
        before = deepcopy(values)
        yield values
        if values != before:

            def replace(session: MutableMapping[str, object]) -> None:
                session.clear()
                session.update(values)

            cookie = self._visit_session(replace).headers.get("set-cookie", "")
            sent = self.build_request("GET", "/").headers.get("cookie", "")
            if values and cookie and f"{cookie.partition('=')[0]}=" not in sent:
                raise ClientError(
                    f"the session's cookie is not sent to {self.base_url}: write TestClient(app, "
                    'base_url="https://testserver"), with the host of session_cookie_domain if set'
                )

    def _visit_session(self, visit: Callable[[MutableMapping[str, Any]], object]) -> httpx.Response:
        """Call ``visit`` with this client's session, in a handler of a separate application. Return
        the response.
        """
        other = session_app(tree_of(self._app), visit)
        # The URL has the path of ``base_url``, which isn't a path of the other application.
        root_path = quote(self.app_transport.settings.root_path, safe=_UNESCAPED)
        extensions = {APP: other, "target": f"{root_path}/".encode()}
        return self.post("/", extensions=extensions, follow_redirects=False).raise_for_status()

    def login(self, /, **values: object) -> None:
        """Set keys of the session: ``client.login(user="alice")``. Pass the keys that the
        application sets when a user logs in. Raises ``ValueError`` for a password, because a
        session shouldn't contain one.
        """
        if "password" in values:
            raise ValueError(
                "login() sets keys of the session, so don't pass a password: write "
                "client.login(user=...)"
            )
        with self.session_transaction() as session:
            session.update(values)

    def login_basic(self, name: str, password: str) -> None:
        """Send a name and a password with every request and WebSocket (``BasicAuth``)."""
        pair = base64.b64encode(f"{name}:{password}".encode()).decode()
        self.headers["Authorization"] = f"Basic {pair}"

    def logout(self) -> None:
        """Clear the session, and stop sending a name and a password."""
        self.headers.pop("Authorization", None)
        with self.session_transaction() as session:
            session.clear()

    def post_form(
        self, page: str, data: Mapping[str, object] | None = None, **options: Unpack[RequestOptions]
    ) -> httpx.Response:
        """Load a page, and send its form as a visitor would, with hidden fields such as the CSRF
        token::

            client.post_form("/login", {"name": "alice", "password": "sesame"})

        ``post_form`` sends the first form with ``method="post"`` that has the fields in ``data``
        and ``files``. The request goes to the form's ``action``, encoded as its ``enctype`` says.
        The other fields are sent with the values in the page, unless they are disabled. ``options``
        are those of ``client.post``. Raises ``ClientError`` if no form has these fields, and
        ``httpx2.HTTPStatusError`` if the page is an error response.
        """
        shown = self.get(page, follow_redirects=True).raise_for_status()
        entered, given = data or {}, options.pop("files", ())
        files = [*(given.items() if isinstance(given, Mapping) else given)]
        form = PostForms(shown.text).with_fields([*entered, *(name for name, _ in files)])
        sent = form.sent_with(entered, files)
        return self.post(shown.url.join(form.action), **sent, **options)

    @contextmanager
    def sse(
        self,
        url: httpx.URL | str,
        method: str = "GET",
        headers: HeaderTypes | None = None,
        **options: Any,
    ) -> Iterator[Events]:
        """Follow a stream of server-sent events; the client disconnects at the end of ``with``::

            with client.sse("/ticks") as events:
                assert next(events).data == "1"

        ``options`` are those of ``client.stream``. Raises ``httpx2.HTTPStatusError`` if the
        response is an error. ``next(events)`` raises ``AppTimeout`` if no event comes within
        ``app_timeout`` seconds, however many heartbeats do.
        """
        with self.stream(method, url, headers=event_headers(headers), **options) as response:
            if response.is_error:
                response.read()  # for a test that looks at the body
            yield Events(response, self.app_transport.settings.app_timeout)

    def websocket(  # type: ignore[override]  # httpx2's session needs a connection
        self, url: str, *, subprotocols: Sequence[str] = (), **options: Unpack[SocketOptions]
    ) -> WebSocketSession:
        """Return a WebSocket; a ``with`` statement connects it.

        Headers, cookies and URLs work as for the client's requests.

        ``options`` are ``params``, ``headers``, ``cookies`` and ``extensions`` of
        ``client.build_request``.
        """
        transport = self.app_transport
        if not isinstance(transport, ASGITransport):
            raise ClientError('WSGI has no WebSockets: use TestClient(app, protocol="asgi")')
        if self.is_closed:
            raise ClientError("the client has been closed")
        if isinstance(subprotocols, str):  # it would be a list of its characters
            raise ClientError(f"subprotocols must be a list: write [{subprotocols!r}]")
        request = self.build_request("GET", url, **options)
        request.headers.update(handshake_headers(subprotocols))
        scope = transport.scope(
            request,
            type="websocket",
            scheme=request.url.scheme.replace("http", "ws"),
            subprotocols=list(subprotocols),
            extensions={DENIAL: {}} if transport.settings.denial_response else {},
        )
        task = AppTask(transport.loop, transport.app, scope)
        call = WebSocketCall(task, f"WebSocket {request.url.path}", transport.settings)
        return WebSocketSession(call, self, request)
