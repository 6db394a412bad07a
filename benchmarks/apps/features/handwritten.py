"""No framework: the least code for each case, for either protocol.

It dispatches on the path with a dictionary, and checks nothing that the case does not ask for.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import secrets
import threading
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from multipart import MultipartSegment, PushMultipartParser

from benchmarks.apps.features.resources import (
    LINE,
    LOGGER,
    TABLE_ROWS,
    TEMPLATES,
    open_log,
    static_directory,
)
from benchmarks.cases import (
    ASYNC_CASES,
    BOUNDARY,
    CHUNK_COUNT,
    EVENT_COUNT,
    EVERYDAY_CASES,
    FILE_CONTENT,
    FOREIGN_ORIGIN,
    MIDDLEWARE_CASES,
    STREAM_CASES,
    SYNC_STREAM,
    TEXT_CHUNK,
)
from benchmarks.harness import AsgiApp, Receive, Send, WsgiApp
from benchmarks.mailbox import mailbox

Scope = dict[str, Any]
Environ = dict[str, Any]
Pairs = list[tuple[bytes, bytes]]
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

ARTICLE = re.compile(r"/users/(-?\d+)/posts/([^/]+)")
SEEN = "seen=1; Path=/"
STATUS = {
    200: "200 OK",
    303: "303 See Other",
    304: "304 Not Modified",
    400: "400 Bad Request",
    404: "404 Not Found",
}

templates = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
sessions: dict[str, dict[str, Any]] = {}


# --- for both protocols: text in, text out --------------------------------------------------------


def _article(path: str) -> str:
    found = ARTICLE.fullmatch(path)
    assert found is not None
    return f"{int(found[1])} {found[2]}"


def _cookies(header: str) -> dict[str, str]:
    """Return the cookies of a header, in which no value is quoted."""
    return dict(pair.split("=", 1) for pair in header.split("; "))


def _new_session() -> str:
    """Store a session and return the value of its Set-Cookie."""
    key = secrets.token_urlsafe(32)
    sessions[key] = {"user": "Alice", "csrf_token": secrets.token_urlsafe(32)}
    return f"session_id={key}; Path=/; HttpOnly; SameSite=Lax"


def _count(header: str) -> tuple[str, str | None]:
    """Return the new number, and the Set-Cookie of a session that is new."""
    cookie = None
    if not header:
        cookie = _new_session()
        header = cookie.partition(";")[0]
    session = sessions[_cookies(header)["session_id"]]
    session["count"] = session.get("count", 0) + 1
    return str(session["count"]), cookie


def _rows_page() -> str:
    return templates.get_template("rows.html").render(rows=TABLE_ROWS)


def _site_page(header: str) -> str:
    cookies = _cookies(header)
    session = sessions[cookies["session_id"]]
    return templates.get_template("site.html").render(
        user=session["user"],
        theme=cookies["theme"],
        rows=TABLE_ROWS,
        csrf_input=Markup('<input type="hidden" name="csrf_token" value="{}">').format(
            session["csrf_token"]
        ),
    )


def _say(header: str, body: bytes) -> None:
    sessions[_cookies(header)["session_id"]]["comment"] = dict(parse_qsl(body.decode()))["comment"]


def _form(body: bytes) -> str:
    form = dict(parse_qsl(body.decode()))
    return f"{form['name']} from {form['city']}"


def _upload(body: bytes) -> str:
    contents: dict[str, list[bytes]] = {}
    current: list[bytes] = []
    for event in PushMultipartParser(BOUNDARY).parse(body):
        if isinstance(event, MultipartSegment):
            current = contents[event.name] = []
        elif event:
            current.append(event)
    name, city, file = (b"".join(contents[key]) for key in ("name", "city", "file"))
    return f"{name.decode()} from {city.decode()} sent {len(file)} bytes"


def _read_file(etag: str) -> tuple[str, bytes | None]:
    """Return the file's ETag and its content, or None if the client has it."""
    path = static_directory() / "pie.txt"
    stat = path.stat()
    current = f'"{stat.st_mtime_ns:x}-{stat.st_size:x}"'
    if etag == current:
        return current, None
    return current, path.read_bytes()


def _which_thread() -> str:
    return (
        "in a thread"
        if threading.current_thread() is not threading.main_thread()
        else "on the loop"
    )


# --- ASGI -----------------------------------------------------------------------------------------

TEXT = (b"content-type", b"text/plain; charset=utf-8")
HTML = (b"content-type", b"text/html; charset=utf-8")


async def _reply(
    send: Send, text: str | bytes, *headers: tuple[bytes, bytes], status: int = 200
) -> None:
    body = text.encode() if isinstance(text, str) else text
    pairs = [*(headers or (TEXT,)), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    message = await receive()
    parts: list[bytes] = [message["body"]]
    while message["more_body"]:
        message = await receive()
        parts.append(message["body"])
    return b"".join(parts)


def _header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return str(value, "latin-1")
    return ""


async def plain(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, "Hello, World!")


async def link(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, f"/users/{7}/posts/{'hello-world'}")


async def cookie(scope: Scope, receive: Receive, send: Send) -> None:
    theme = _cookies(_header(scope, b"cookie"))["theme"]
    await _reply(send, theme, TEXT, (b"set-cookie", SEEN.encode()))


async def bad(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, "Bad Request", status=400)


async def moved(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, "", (b"location", b"/plain"), status=303)


async def login(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, "Welcome", TEXT, (b"set-cookie", _new_session().encode()))


async def session(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, sessions[_cookies(_header(scope, b"cookie"))["session_id"]]["user"])


async def count(scope: Scope, receive: Receive, send: Send) -> None:
    number, cookie = _count(_header(scope, b"cookie"))
    await _reply(send, number, TEXT, *([(b"set-cookie", cookie.encode())] if cookie else []))


async def rows(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, _rows_page(), HTML)


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, _upload(await _body(receive)))


async def body(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, str(len(await _body(receive))))


async def form(scope: Scope, receive: Receive, send: Send) -> None:
    if _header(scope, b"origin") != "http://" + _header(scope, b"host"):
        await _reply(send, "forged", status=403)
        return
    await _reply(send, _form(await _body(receive)))


async def send_mail(address: str) -> None:
    mailbox.send(address)


async def mail(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, "sent")
    await send_mail("alice@example.com")


async def thread(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, await asyncio.get_running_loop().run_in_executor(None, _which_thread))


async def file(scope: Scope, receive: Receive, send: Send) -> None:
    known = _header(scope, b"if-none-match")
    etag, content = await asyncio.get_running_loop().run_in_executor(None, _read_file, known)
    if content is None:
        await send(
            {"type": "http.response.start", "status": 304, "headers": [(b"etag", etag.encode())]}
        )
        await send({"type": "http.response.body", "body": b""})
    else:
        await _reply(send, content, TEXT, (b"etag", etag.encode()))


async def socket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def ticks() -> AsyncIterator[str]:
    for _ in range(EVENT_COUNT):
        yield "tick"


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for tick in ticks():
        await send(
            {
                "type": "http.response.body",
                "body": f"data: {tick}\n\n".encode(),
                "more_body": True,
            }
        )
    await send({"type": "http.response.body", "body": b""})


async def long(scope: Scope, receive: Receive, send: Send) -> None:
    assert "gzip" in _header(scope, b"accept-encoding")
    await _reply(
        send, gzip.compress(FILE_CONTENT, 6, mtime=0), TEXT, (b"content-encoding", b"gzip")
    )


async def cors(scope: Scope, receive: Receive, send: Send) -> None:
    allowed = _header(scope, b"origin") == FOREIGN_ORIGIN
    headers = [(b"access-control-allow-origin", FOREIGN_ORIGIN.encode())] if allowed else []
    await _reply(send, "Hello, World!", TEXT, (b"vary", b"Origin"), *headers)


async def with_id(scope: Scope, receive: Receive, send: Send) -> None:
    await _reply(send, "Hello, World!", TEXT, (b"x-request-id", uuid.uuid4().hex.encode()))


async def hooked(scope: Scope, receive: Receive, send: Send) -> None:
    state: dict[str, Any] = {}
    await _before(state)
    headers = [TEXT]
    await _after(state, headers)
    await _reply(send, "Hello, World!", *headers)


async def _before(state: dict[str, Any]) -> None:
    state["begun"] = True


async def _after(state: dict[str, Any], headers: Pairs) -> None:
    headers.append((b"x-hook", b"after"))


async def logged(scope: Scope, receive: Receive, send: Send) -> None:
    begun = time.perf_counter()
    await _reply(send, "Hello, World!")
    spent = (time.perf_counter() - begun) * 1000
    LOGGER.info(LINE, scope["client"][0], scope["method"], scope["path"], 200, spent)


async def site(scope: Scope, receive: Receive, send: Send) -> None:
    begun = time.perf_counter()
    cookies, status = _header(scope, b"cookie"), 200
    if scope["method"] == "GET":
        await _reply(send, _site_page(cookies), HTML, (b"set-cookie", SEEN.encode()))
    elif _header(scope, b"origin") != "http://" + _header(scope, b"host"):
        status = 403
        await _reply(send, "forged", status=403)
    else:
        status = 303
        _say(cookies, await _body(receive))
        await _reply(send, "", (b"location", b"/site"), status=303)
    spent = (time.perf_counter() - begun) * 1000
    LOGGER.info(LINE, scope["client"][0], scope["method"], scope["path"], status, spent)


async def text_chunks() -> AsyncIterator[str]:
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK


async def waiting_chunks() -> AsyncIterator[str]:
    for _ in range(CHUNK_COUNT):
        await asyncio.sleep(0)
        yield TEXT_CHUNK


def sync_chunks() -> Iterator[str]:
    for _ in range(CHUNK_COUNT):
        yield TEXT_CHUNK


async def _send_chunks(send: Send, chunks: AsyncIterator[str]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    async for chunk in chunks:
        await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def stream_text(scope: Scope, receive: Receive, send: Send) -> None:
    await _send_chunks(send, text_chunks())


async def stream_wait(scope: Scope, receive: Receive, send: Send) -> None:
    await _send_chunks(send, waiting_chunks())


async def stream_sync(scope: Scope, receive: Receive, send: Send) -> None:
    """Send a generator's chunks from the event loop itself, which it blocks: the least that is
    possible.
    """
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    for chunk in sync_chunks():
        await send({"type": "http.response.body", "body": chunk.encode(), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


ASGI_ROUTES: dict[str, Handler] = {
    "/plain": plain, "/link": link, "/cookie": cookie, "/bad": bad, "/moved": moved, "/login": login,  # noqa: E501
    "/session": session, "/count": count, "/rows": rows, "/upload": upload, "/body": body, "/form": form,  # noqa: E501
    "/token": plain, "/mail": mail, "/thread": thread, "/static/pie.txt": file, "/socket": socket, "/events": events,  # noqa: E501
    "/long": long, "/hooked": hooked, "/inner/hello": plain, "/site": site, "/stream_text": stream_text,  # noqa: E501
    "/stream_wait": stream_wait, "/stream_sync": stream_sync,
}  # fmt: skip


def _asgi(routes: dict[str, Handler]) -> AsgiApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        path = scope["path"]
        handler = routes.get(path)
        if handler is not None:
            await handler(scope, receive, send)
        elif path.startswith("/users/"):
            await _reply(send, _article(path))
        else:
            await _reply(send, "Not Found", status=404)

    return app


def make_asgi() -> dict[str, AsgiApp]:
    open_log()
    cases = (*EVERYDAY_CASES, *ASYNC_CASES, *MIDDLEWARE_CASES, *STREAM_CASES)
    return dict.fromkeys([case.name for case in cases], _asgi(ASGI_ROUTES)) | {
        "cors": _asgi(ASGI_ROUTES | {"/plain": cors}),
        "access-log": _asgi(ASGI_ROUTES | {"/plain": logged}),
        "request-id": _asgi(ASGI_ROUTES | {"/plain": with_id}),
    }


# --- WSGI -----------------------------------------------------------------------------------------

StartResponse = Callable[..., Any]
View = Callable[[Environ, StartResponse], Iterable[bytes]]
WSGI_TEXT = ("Content-Type", "text/plain; charset=utf-8")
WSGI_HTML = ("Content-Type", "text/html; charset=utf-8")


def _answer(
    start_response: StartResponse, text: str | bytes, *headers: tuple[str, str], status: int = 200
) -> Iterable[bytes]:
    body = text.encode() if isinstance(text, str) else text
    start_response(STATUS[status], [*(headers or (WSGI_TEXT,)), ("Content-Length", str(len(body)))])
    return [body]


def _input(environ: Environ) -> bytes:
    body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return body


def wsgi_plain(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, "Hello, World!")


def wsgi_link(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, f"/users/{7}/posts/{'hello-world'}")


def wsgi_cookie(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(
        start_response, _cookies(environ["HTTP_COOKIE"])["theme"], WSGI_TEXT, ("Set-Cookie", SEEN)
    )


def wsgi_bad(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, "Bad Request", status=400)


def wsgi_moved(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, "", ("Location", "/plain"), status=303)


def wsgi_login(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, "Welcome", WSGI_TEXT, ("Set-Cookie", _new_session()))


def wsgi_session(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, sessions[_cookies(environ["HTTP_COOKIE"])["session_id"]]["user"])


def wsgi_count(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    number, cookie = _count(environ.get("HTTP_COOKIE", ""))
    return _answer(start_response, number, WSGI_TEXT, *([("Set-Cookie", cookie)] if cookie else []))


def wsgi_rows(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, _rows_page(), WSGI_HTML)


def wsgi_upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, _upload(_input(environ)))


def wsgi_body(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, str(len(_input(environ))))


def _is_own(environ: Environ) -> bool:
    return bool(environ.get("HTTP_ORIGIN") == f"http://{environ['HTTP_HOST']}")


def wsgi_form(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if not _is_own(environ):
        return _answer(start_response, "forged", status=400)
    return _answer(start_response, _form(_input(environ)))


_executor = ThreadPoolExecutor(4)


def wsgi_mail(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _executor.submit(mailbox.send, "alice@example.com")
    return _answer(start_response, "sent")


def wsgi_file(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    etag, content = _read_file(environ.get("HTTP_IF_NONE_MATCH", ""))
    if content is None:
        start_response(STATUS[304], [("ETag", etag)])
        return []
    return _answer(start_response, content, WSGI_TEXT, ("ETag", etag))


def wsgi_long(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    assert "gzip" in environ["HTTP_ACCEPT_ENCODING"]
    body = gzip.compress(FILE_CONTENT, 6, mtime=0)
    return _answer(start_response, body, WSGI_TEXT, ("Content-Encoding", "gzip"))


def wsgi_cors(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    allowed = environ.get("HTTP_ORIGIN") == FOREIGN_ORIGIN
    headers = [("Access-Control-Allow-Origin", FOREIGN_ORIGIN)] if allowed else []
    return _answer(start_response, "Hello, World!", WSGI_TEXT, ("Vary", "Origin"), *headers)


def wsgi_with_id(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _answer(start_response, "Hello, World!", WSGI_TEXT, ("X-Request-ID", uuid.uuid4().hex))


def wsgi_hooked(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    state: dict[str, Any] = {}
    _wsgi_before(state)
    headers = [WSGI_TEXT]
    _wsgi_after(state, headers)
    return _answer(start_response, "Hello, World!", *headers)


def _wsgi_before(state: dict[str, Any]) -> None:
    state["begun"] = True


def _wsgi_after(state: dict[str, Any], headers: list[tuple[str, str]]) -> None:
    headers.append(("X-Hook", "after"))


def wsgi_logged(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    begun = time.perf_counter()
    answer = _answer(start_response, "Hello, World!")
    spent = (time.perf_counter() - begun) * 1000
    LOGGER.info(
        LINE, environ["REMOTE_ADDR"], environ["REQUEST_METHOD"], environ["PATH_INFO"], 200, spent
    )
    return answer


def wsgi_site(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    begun = time.perf_counter()
    cookies, status = environ["HTTP_COOKIE"], 200
    if environ["REQUEST_METHOD"] == "GET":
        answer = _answer(start_response, _site_page(cookies), WSGI_HTML, ("Set-Cookie", SEEN))
    elif not _is_own(environ):
        status = 400
        answer = _answer(start_response, "forged", status=400)
    else:
        status = 303
        _say(cookies, _input(environ))
        answer = _answer(start_response, "", ("Location", "/site"), status=303)
    spent = (time.perf_counter() - begun) * 1000
    LOGGER.info(
        LINE, environ["REMOTE_ADDR"], environ["REQUEST_METHOD"], environ["PATH_INFO"], status, spent
    )
    return answer


def wsgi_stream(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response(STATUS[200], [WSGI_TEXT])
    return (chunk.encode() for chunk in sync_chunks())


WSGI_ROUTES: dict[str, View] = {
    "/plain": wsgi_plain, "/link": wsgi_link, "/cookie": wsgi_cookie, "/bad": wsgi_bad, "/moved": wsgi_moved,  # noqa: E501
    "/login": wsgi_login, "/session": wsgi_session, "/count": wsgi_count, "/rows": wsgi_rows, "/upload": wsgi_upload,  # noqa: E501
    "/body": wsgi_body, "/form": wsgi_form, "/token": wsgi_plain, "/mail": wsgi_mail, "/static/pie.txt": wsgi_file,  # noqa: E501
    "/long": wsgi_long, "/hooked": wsgi_hooked, "/inner/hello": wsgi_plain, "/site": wsgi_site,
    "/stream_sync": wsgi_stream,
}  # fmt: skip


def _wsgi(routes: dict[str, View]) -> WsgiApp:
    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        view = routes.get(path)
        if view is not None:
            return view(environ, start_response)
        if path.startswith("/users/"):
            return _answer(start_response, _article(path))
        return _answer(start_response, "Not Found", status=404)

    return app


def make_wsgi() -> dict[str, WsgiApp]:
    open_log()
    cases = (*EVERYDAY_CASES, *MIDDLEWARE_CASES, SYNC_STREAM)
    return dict.fromkeys([case.name for case in cases], _wsgi(WSGI_ROUTES)) | {
        "cors": _wsgi(WSGI_ROUTES | {"/plain": wsgi_cors}),
        "access-log": _wsgi(WSGI_ROUTES | {"/plain": wsgi_logged}),
        "request-id": _wsgi(WSGI_ROUTES | {"/plain": wsgi_with_id}),
    }
