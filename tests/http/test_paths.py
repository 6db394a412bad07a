"""One path for all: what hooks, logs, mounts and the router see of a request's path is one and the
same value.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from micropie import App, HTTPError, HttpMiddleware, post
from micropie._core.execution.steps.steps import ANSWER
from micropie._core.flow.http import respond
from micropie._core.http.addresses import decoded_segments
from micropie._core.http.request import Request
from micropie._core.routing.site import Handover, MountRoute
from micropie.asgi.exchange import ASGIExchange
from micropie.wsgi.exchange import WSGIExchange
from tests.support.clients import MakeClient
from tests.wsgi.calls import get as wsgi_get

ESCAPED = st.lists(st.sampled_from(["a", "%41", "%2F", "%2f", "%C3%A9", "%C3", "%", "%4", "=", ""]))


@given(ESCAPED)
def test_path_segments_are_decoded_separately(pieces: list[str]) -> None:
    path = "/".join(pieces)
    try:
        expected = [unquote_to_bytes(segment).decode() for segment in path.split("/")]
    except UnicodeDecodeError:
        with pytest.raises(HTTPError, match="UTF-8"):
            decoded_segments(path.encode())
    else:
        assert decoded_segments(path.encode()) == expected


@pytest.mark.parametrize("path", [b"a/%00", b"%00", b"a\0b/c"])
def test_no_path_segment_contains_nul(path: bytes) -> None:
    with pytest.raises(HTTPError, match="NUL"):
        decoded_segments(path)


class Inner(App):
    def default(self, *segments: str) -> None: ...


class Root(App):
    def admin(self, *rest: str) -> None: ...

    def default(self, *segments: str) -> None: ...


def application(environ: Any, start_response: Any) -> Any: ...


APP = Root()
APP.mount("/shared", Inner())
APP.mount("/alone", Inner(), isolated=True)
APP.mount("/é/wsgi", application)
SITE = APP._micropie.compiled()

# Segments as clients send them: plain, escaped in several ways, dangerous.
SEGMENTS = st.sampled_from([
    "", "app", "x", "admin", "shared", "alone", "wsgi", "%C3%A9", ".", "..", "a+b;c=d",
    "%61pp", "app%2Fx", "app%2fx", "x%2Fadmin", "%2F", "%2Fapp", "app%2F", "%61dmin", "admin%2F",
    "shared%2F", "%2e", "%2E.", "%252e", "%25", "%2525", "%3F", "%3f%3D", "%23", "%", "%zz", "%00",
    "%FF", "%ED%A0%80",
])  # fmt: skip
TARGETS = st.lists(SEGMENTS, min_size=1, max_size=5).map(
    lambda segments: "/" + "/".join(segments)
) | st.just("x/shared/x")
ROOTS = st.sampled_from(["", "/app", "/app/x", "/é", "/x/admin", "/%"])


def asgi_request(root: str, path: str, raw: bytes | None) -> Request:
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "root_path": root,
        "query_string": b"",
        "path": path,
        "raw_path": raw,
        "headers": [],
    }
    if raw is None:
        del scope["raw_path"]

    async def receive() -> Any: ...

    async def send(message: object) -> None: ...

    return Request(ASGIExchange(scope, receive, send))


def wsgi_request(root: bytes, path: bytes, target: str | None) -> Request:
    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": root.decode("latin-1"),
        "PATH_INFO": path.decode("latin-1"),
    }
    return Request(WSGIExchange(environ | ({} if target is None else {"RAW_URI": target})))


def routed(request: Request) -> str | None:
    """Return the path that a handler or a mount gets, put together again; None if the request is
    refused.
    """
    flow = respond(SITE, request)
    step: Any = flow.send(None)
    flow.close()
    kind, _, arguments = step
    if kind is ANSWER:  # a mount that answers by itself, or the answer of an error
        return (
            arguments.mounted_path.path.removeprefix(request.root_path)
            if isinstance(arguments, Handover)
            else None
        )
    if isinstance(request.route, MountRoute):
        return str(arguments[0].path.removeprefix(request.root_path))
    assert request.route is not None
    name = {"default": [], "admin": ["admin"], "shared.default": ["shared"]}[request.route.name]
    return "/" + "/".join([*name, *arguments])


def check(request: Request) -> None:
    path = routed(request)
    assert path is None or request.path == path
    assert path is None or request.raw_path.startswith(b"/")


@given(ROOTS, TARGETS)
@example("/app", "/app%2fx/admin/users")
@example("/app", "/appadmin/users")
@example("", "/admin/")
@example("", "x/admin")
@example("", "x/shared/admin")
@example("/x", "x/shared/admin")
def test_R12_servers_that_pass_the_raw_target_are_supported(root: str, target: str) -> None:
    """The decoded path is cut as text, as servers do it.

    The router splits the path before it decodes it.
    """
    decoded = unquote_to_bytes(target)
    below = decoded.removeprefix(root.encode())
    for request in (
        wsgi_request(root.encode() if below != decoded else b"", below, target),
        asgi_request(root, unquote(target), target.encode()),
    ):
        check(request)
        if (path := routed(request)) is not None:
            segments = [unquote(segment) for segment in target.split("/")]
            depth = request.root_path.count("/") + 1
            # a server that has taken the prefix off already
            if "/".join(segments[:depth]) != request.root_path:
                assert request.environ is None
                assert not (unquote(target) + "/").startswith(root + "/")
                depth = 1
            assert path.rstrip("/") == "/".join(["", *segments[depth:]]).rstrip("/")


@given(ROOTS, TARGETS)
def test_R12_servers_that_only_pass_the_decoded_path_are_supported(root: str, path: str) -> None:
    check(wsgi_request(root.encode(), path.encode(), None))
    check(asgi_request(root, path, None))
    check(asgi_request(root, root + path, None))


@given(ROOTS, TARGETS, TARGETS)
@example("", "/admin", "/x%2Fy")
def test_R12_a_raw_target_that_contradicts_the_path_is_ignored(
    root: str, path: str, target: str
) -> None:
    """Middleware in front has changed the path and not the target."""
    check(wsgi_request(root.encode(), path.encode(), target))
    check(asgi_request(root, path, target.encode()))
    check(asgi_request(root, root + path, target.encode()))
    check(asgi_request(root, unquote(target), root.encode() + target.encode()))


class Guard(HttpMiddleware):
    def before_request(self, request: Any) -> Any:
        if request.path == "/secret" or request.path.startswith("/admin/"):
            return {"status_code": 403, "body": request.path}


class Guarded(App):
    def secret(self) -> str:
        return "a secret"

    @post
    def save(self, name: str) -> str:
        return f"{self.request.path} {name}"

    def admin(self, page: str) -> str:
        return f"{self.request.path} {self.request.raw_path!r} {self.request.url}"


@pytest.mark.parametrize("mount", ["", "/app"])
def test_R12_a_hook_sees_the_path_that_its_handler_gets(
    make_client: MakeClient, mount: str
) -> None:
    app = Guarded()
    app.middlewares.append(Guard())
    client = make_client(app, root_path=mount)
    for target in ("/secret", "/secret/", "/%73ecret", "/%73ecret/"):
        assert (client.get(target).status_code, client.get(target).text) == (403, "/secret"), target
    assert client.get("/admin/users/").text == "/admin/users"
    assert client.get("/secret%2F").status_code == 404
    answer = client.post("/save/", data={"name": "Ann"})
    # no redirect, which would lose the body
    assert (answer.status_code, answer.text) == (200, "/save Ann")


def test_the_raw_path_keeps_escaped_slashes(make_client: MakeClient) -> None:
    answer = make_client(Guarded()).get("/admin/%75sers/")
    assert answer.text == "/admin/users b'/admin/%75sers/' http://testserver/admin/users"


def test_R12_an_escaped_slash_does_not_end_the_script_name() -> None:
    """A server cuts SCRIPT_NAME off the decoded path, so it takes "/app%2fx" to be below "/app"."""
    app = Guarded()
    for path, target in (
        ("/x/admin/users", "/app%2fx/admin/users"),
        ("x/admin/users", "/appx/admin/users"),
    ):
        status, body = wsgi_get(app, path, SCRIPT_NAME="/app", RAW_URI=target)[:2]
        assert (status, body) == (
            400,
            b"The request's URL must have a path that begins with '/'.",
        ), target
