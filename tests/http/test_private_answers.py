"""What was read of a client decides who else may see the answer: it is ``private`` and varies by
that, for handlers, errors and files alike.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import pytest

from micropie import App, Cookie, Header, HTTPError, HttpMiddleware, Redirect, Request, get
from micropie.middleware import BasicAuth, BearerAuth, Compress
from micropie.testing import TestClient
from tests.support.clients import MakeClient

BASIC = {"Authorization": "Basic " + base64.b64encode(b"alice:secret").decode()}
BEARER = {"Authorization": "Bearer token"}
COOKIE = {"Cookie": "u=alice"}


class Guard(HttpMiddleware):
    """A log-in of an application's own."""

    guards = True  # isolated applications, too

    def before_request(self, request: Request) -> None:
        if request.cookies.get("u") != "alice" and request.path.startswith("/files"):
            raise HTTPError(403)


class Root(App):
    def plain(self) -> str:
        return "text"

    def cookies(self) -> str:
        return self.request.cookies.get("u", "nobody")

    async def signed(self) -> str:
        return str(self.request.signed_cookie("u"))

    def parameter(self, u: Annotated[str, Cookie()] = "nobody") -> str:
        return u

    def header(self, authorization: Annotated[str, Header()] = "") -> str:
        return authorization

    def looked_up(self) -> str:
        return self.request.headers.get("authorization", "")

    def looked(self, way: str) -> str:
        headers = self.request.headers
        ways: dict[str, Any] = {
            "contains": lambda: "AUTHORIZATION" in headers,
            "all": lambda: headers.get_all("authorization"),
            "other": lambda: (headers.get("user-agent"), "host" in headers, headers["host"]),
            "iterated": lambda: [*headers],
            "items": lambda: [*headers.items()],
            "values": lambda: [*headers.values()],
            "dict": lambda: dict(headers),
            "nothing": lambda: len(headers),
        }
        return str(ways[way]())

    def missing(self) -> str:
        with suppress(KeyError):
            return self.request.headers["Authorization"]
        return ""

    def fails(self) -> str:
        raise HTTPError(410, self.request.cookies["u"])

    def crashes(self) -> str:
        raise LookupError(self.request.cookies["u"])

    def moves(self) -> Redirect:
        return Redirect(f"/{self.request.cookies['u']}")

    def sets(self) -> str:
        self.response.headers["Cache-Control"] = "max-age=5"
        self.response.headers["Vary"] = "Accept"
        return self.request.cookies["u"]

    def is_public(self) -> str:
        self.response.headers["Cache-Control"] = "public, max-age=5"
        return self.request.cookies["u"]

    def stores_nothing(self) -> str:
        self.response.headers.update({"Cache-Control": "no-store", "Vary": "*"})
        return self.request.cookies["u"]

    def pieces(self) -> Any:
        yield self.request.cookies["u"]
        yield "."

    @get("/inner/<name>")
    def explicit(self, name: str) -> str:
        return name


NOTHING = (None, None)
BY_COOKIE = ("private", "Cookie")
BY_HEADER = ("private", "Authorization")
CASES = [
    ("/plain", COOKIE, NOTHING),
    ("/plain", BASIC, NOTHING),
    ("/inner/x", COOKIE, NOTHING),
    ("/cookies", COOKIE, BY_COOKIE),
    ("/cookies", {}, BY_COOKIE),
    ("/signed", COOKIE, BY_COOKIE),
    ("/parameter", COOKIE, BY_COOKIE),
    ("/parameter", {}, BY_COOKIE),
    ("/header", BEARER, BY_HEADER),
    ("/header", {}, BY_HEADER),
    ("/looked_up", BEARER, BY_HEADER),
    ("/looked_up", {}, BY_HEADER),
    ("/missing", BEARER, BY_HEADER),
    ("/missing", {}, BY_HEADER),
    ("/looked/contains", {}, BY_HEADER),
    ("/looked/contains", BEARER, BY_HEADER),
    ("/looked/all", {}, BY_HEADER),
    ("/looked/all", BEARER, BY_HEADER),
    ("/looked/iterated", BEARER, BY_HEADER),
    ("/looked/iterated", {}, NOTHING),
    ("/looked/items", BEARER, BY_HEADER),
    ("/looked/items", {}, NOTHING),
    ("/looked/values", BEARER, BY_HEADER),
    ("/looked/values", {}, NOTHING),
    ("/looked/dict", BEARER, BY_HEADER),
    ("/looked/dict", {}, NOTHING),
    ("/looked/other", BEARER, NOTHING),
    ("/looked/nothing", BEARER, NOTHING),
    ("/fails", COOKIE, ("private", "Accept, Cookie")),
    ("/crashes", COOKIE, ("private", "Accept, Cookie")),
    ("/moves", COOKIE, BY_COOKIE),
    ("/sets", COOKIE, ("max-age=5", "Accept, Cookie")),
    ("/is_public", COOKIE, ("public, max-age=5", "Cookie")),
    ("/stores_nothing", COOKIE, ("no-store", "*")),
    ("/pieces", COOKIE, BY_COOKIE),
]


def said(answer: Any) -> tuple[str | None, str | None]:
    return answer.headers.get("cache-control"), answer.headers.get("vary")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(("path", "headers", "expected"), CASES)
def test_R48_a_response_is_private_if_the_handler_reads_personal_data(
    make_client: MakeClient,
    path: str,
    headers: dict[str, str],
    expected: tuple[str | None, str | None],
    method: str,
) -> None:
    client = make_client(Root(secret_key="s" * 32), raise_app_exceptions=False)
    answer = client.request(method, path, headers=headers, follow_redirects=False)
    assert said(answer) == expected


def site(tmp_path: Path, guard: Any) -> Any:
    (tmp_path / "a.txt").write_text("text of alice")
    app: Any = Root()
    app.middlewares.append(guard)
    app.static("/files", tmp_path, max_age=3600)
    return app


GUARDS: list[tuple[Any, dict[str, str], str]] = [
    (Guard(), COOKIE, "Cookie"),
    (BasicAuth({"alice": "secret"}), BASIC, "Authorization"),
    (BearerAuth(lambda token: token == "token"), BEARER, "Authorization"),
]


@pytest.mark.parametrize(("guard", "headers", "vary"), GUARDS)
def test_R48_responses_behind_a_login_are_private(
    make_client: MakeClient, tmp_path: Path, guard: Any, headers: dict[str, str], vary: str
) -> None:
    client = make_client(site(tmp_path, guard))
    file = client.get("/files/a.txt", headers=headers)
    assert (file.status_code, *said(file)) == (200, "private, max-age=3600", vary)
    more = {"If-None-Match": file.headers["etag"]}, {"Range": "bytes=0-3"}
    for asked, status in zip(more, (304, 206), strict=True):
        again = client.get("/files/a.txt", headers={**headers, **asked})
        assert (again.status_code, *said(again)) == (status, "private, max-age=3600", vary)
    head = client.head("/files/a.txt", headers=headers)
    assert said(head) == ("private, max-age=3600", vary)
    page = client.get("/plain", headers=headers)
    assert said(page) == ("private", vary)


async def asgi_page(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"text/plain"), (b"etag", b'"1"')]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"page of alice"})


def wsgi_page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("ETag", '"1"')])
    return [b"page of alice"]


class Inner(App):
    def page(self) -> str:
        self.response.headers["ETag"] = '"1"'
        return "page of alice"

    def crashes(self) -> str:
        raise LookupError


class ByHost(Inner):
    pass


class SessionGuard(HttpMiddleware):
    guards = True
    needs_session = True

    def before_request(self, request: Request) -> None:
        request.session.get("user")


def everything(tmp_path: Path, *hooks: Any) -> Any:
    """Return an application with all that a guard may stand before."""
    (tmp_path / "a.txt").write_text("text of alice" * 200)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"text of alice" * 200))
    app: Any = Root()
    app.middlewares += hooks
    app.static("/files", tmp_path, max_age=3600)
    app.static("/kept", tmp_path, cached=True, name="kept")
    app.attribute = Inner()
    app.mount("/mounted", Inner())
    app.mount("/isolated", Inner(), isolated=True)
    app.mount("/asgi", asgi_page)
    app.mount("/wsgi", wsgi_page)
    app.other = ByHost(host="other.test")
    return app


ALL_GUARDS = [*GUARDS, (SessionGuard(), {"Cookie": "session_id=x"}, "Cookie")]
PLACES = ["/plain", "/files/a.txt", "/kept/a.txt", "/attribute/page", "/mounted/page", "/nowhere"]
PLACES += ["/isolated/page", "/isolated/crashes", "/isolated/nowhere", "/asgi/x", "/wsgi/x"]
PLACES += ["//other.test/page"]
ASKED: list[tuple[str, dict[str, str]]] = [
    ("GET", {}),
    ("HEAD", {}),
    ("GET", {"Accept-Encoding": "gzip"}),
    ("GET", {"If-None-Match": "*"}),
    ("GET", {"Range": "bytes=0-3"}),
]


@pytest.mark.parametrize("compresses", [False, True])
@pytest.mark.parametrize(("guard", "headers", "vary"), ALL_GUARDS)
def test_R48_an_access_check_makes_all_responses_behind_it_private(
    make_client: MakeClient,
    tmp_path: Path,
    guard: Any,
    headers: dict[str, str],
    vary: str,
    compresses: bool,
) -> None:
    app = everything(tmp_path, *([Compress()] if compresses else []), guard)
    client = make_client(app, raise_app_exceptions=False)
    check_private(client, PLACES, headers, vary)


def check_private(
    client: TestClient, places: Sequence[str], headers: dict[str, str], vary: str
) -> None:
    """Check that the responses to all ways of asking for ``places`` are private."""
    for place, (method, asked) in product(places, ASKED):
        host, path = (
            place[2:].split("/", 1) if place.startswith("//") else ("testserver", place[1:])
        )
        sent = {**headers, **asked, "Host": host}
        answer = client.request(method, f"/{path}", headers=sent, follow_redirects=False)
        control, varies = said(answer)
        # what has to be asked for again reaches the guard again
        assert str(control).startswith(("private", "no-cache")), (place, method, asked, answer)
        assert vary in str(varies), (place, method, asked, answer)


@pytest.mark.parametrize("reads", [lambda request: request.cookies, lambda one: one.session])
@pytest.mark.parametrize(
    "headers", [{}, {"Range": "bytes=0-3"}, {"If-None-Match": "*"}, {"Accept-Encoding": "gzip"}]
)
def test_R48_a_file_is_private_if_a_hook_reads_a_cookie_after_it_was_opened(
    make_client: MakeClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    reads: Any,
    headers: dict[str, str],
) -> None:
    def late(request: Request) -> Any:
        yield
        reads(request)

    client = make_client(everything(tmp_path, late))
    answer = client.get("/files/a.txt", headers=headers | COOKIE)
    assert said(answer)[0] == "private, max-age=3600"
    assert "Cookie" in str(said(answer)[1])
    assert said(client.get("/kept/a.txt", headers=headers | COOKIE))[0] == "no-cache"
    # nobody has written the "public" that was changed
    assert caplog.messages == []


def test_a_hook_that_reads_a_cookie_does_not_change_an_author_s_cache_control(
    make_client: MakeClient, tmp_path: Path
) -> None:
    def late(request: Request) -> Any:
        yield
        request.cookies.get("theme")

    app = Root()
    app.static("/files", tmp_path, max_age=60, headers={"Cache-Control": "public, max-age=5"})
    app.middlewares.append(late)
    (tmp_path / "a.txt").write_text("text")
    answer = make_client(app).get("/files/a.txt")
    assert said(answer) == ("public, max-age=5", "Cookie")


def test_files_without_an_access_check_are_public(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    app = Root()
    app.static("/files", tmp_path, max_age=3600)
    client = make_client(app)
    assert said(client.get("/files/a.txt", headers=COOKIE)) == ("public, max-age=3600", None)
    assert said(client.get("/files/a.txt", headers=BASIC))[0] == "private, max-age=3600"
