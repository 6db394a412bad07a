"""The same request gets the same answer, byte for byte, in every world.

The tables have the expected answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from micropie import App, get, post, route
from micropie.testing import TestClient
from tests.support.clients import MakeClient
from tests.support.selection import WORLDS


def ask(client: TestClient, target: str, method: str = "GET", **options: Any) -> httpx.Response:
    """Return the answer to exactly this target, which httpx would normalise."""
    return client.request(method, "/", extensions={"target": target.encode()}, **options)


def seen(response: httpx.Response) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    return (
        response.status_code,
        sorted((name.lower(), value) for name, value in response.headers.raw),
        response.content,
    )


# -- paths -----------------------------------------------------------------------------------------


class Blog(App):
    def index(self) -> Any:
        return ["blog"]

    def post(self, slug: str) -> Any:  # type: ignore[override]
        return ["post", slug]


class Golden(App):
    blog = Blog()

    def index(self) -> Any:
        return ["index"]

    def admin(self, *rest: str) -> Any:
        return ["admin", *rest]

    async def greet(self, name: str = "-") -> Any:
        return ["greet", name]

    @get("/users/<number:int>")
    def user(self, number: int) -> Any:
        return ["user", number]

    @get("/users/<name>")
    def named(self, name: str) -> Any:
        return ["named", name]

    @get("/files/<path:path>")
    async def files(self, path: str) -> Any:
        return ["files", path]

    @get("/exact/path")
    def exact(self) -> Any:
        return ["exact"]


PATHS: dict[str, int | list[Any]] = {
    "/": ["index"],
    "/index": ["index"],
    "/index/": ["index"],
    "//": 404,
    "/./": 404,
    "/.": 404,
    "/..": 404,
    "/%2e": 404,
    "/%2E%2e/": 404,
    "/admin": ["admin"],
    "/admin/": ["admin"],
    "//admin": 404,
    "/admin//": 404,
    "/./admin": 404,
    "/x/../admin": 404,
    "/x/%2e%2e/admin": 404,
    "/admin/.": 404,
    "/admin/..": 404,
    "/admin/../greet": 404,
    "/admin/a//b": 404,
    "/Admin": 404,
    "/%61dmin": ["admin"],
    "/admin%2F": 404,
    "/%2Fadmin": 404,
    "/admin%2Fa": 404,
    "/admin/a%2Fb": ["admin", "a/b"],
    "/admin/a%2fb/c": ["admin", "a/b", "c"],
    "/admin/%2F": ["admin", "/"],
    "/admin/..%2F..": 404,
    "/admin/a%2F..%2Fb": 404,
    "/admin/a..%2Fb": ["admin", "a../b"],
    "/greet/..%2Fx": 404,
    "/admin/a%252Fb": ["admin", "a%2Fb"],
    "/admin/%25": ["admin", "%"],
    "/admin/a\\b": ["admin", "a\\b"],
    "/admin/a%5Cb": ["admin", "a\\b"],
    "/admin/a+b": ["admin", "a+b"],
    "/admin/a%20b": ["admin", "a b"],
    "/admin/a%3Fb%23c": ["admin", "a?b#c"],
    "/admin/a;b=c": ["admin", "a;b=c"],
    "/admin/a?b/../c": ["admin", "a"],
    "/admin%3Fx": 404,
    "/admin;x": 404,
    "/admin/%C3%A9": ["admin", "é"],
    "/admin/%E2%82%AC%F0%9F%A5%A7": ["admin", "€🥧"],
    "/admin/%ff": 400,
    "/admin/%C3": 400,
    "/admin/%ed%a0%80": 400,
    "/admin/%00": 400,
    "/%ff": 400,
    "/admin/%zz%": ["admin", "%zz%"],
    "/admin/a%0Ab": ["admin", "a\nb"],
    "/greet/Alice/": ["greet", "Alice"],
    "/greet/Alice/x": 404,
    "/blog": ["blog"],
    "/blog/": ["blog"],
    "/blog//": 404,
    "/blog/post/a%2Fb": ["post", "a/b"],
    "/blog%2Fpost/a": 404,
    "/blog/../admin": 404,
    "/users/5": ["user", 5],
    "/users/05/": ["user", 5],
    "/users/%35": ["user", 5],
    "/users/5%2F": ["named", "5/"],
    "/users/a%2Fb": ["named", "a/b"],
    "/users//5": 404,
    "/files/a/b.txt": ["files", "a/b.txt"],
    "/files/a%2Fb/c": ["files", "a/b/c"],
    "/files/a/../b": 404,
    "/files/a//b": 404,
    "/files/": 404,
    "/exact/path": ["exact"],
    "/exact/path/": ["exact"],
    "/exact%2Fpath": 404,
    "/exact//path": 404,
}
# Where a server passes only the decoded path on, an escaped slash can't be told from a plain one.
NEEDS_RAW_TARGET = {target for target in PATHS if "%2f" in target.lower()}


def outcome(response: httpx.Response) -> int | list[Any]:
    return response.json() if response.status_code == 200 else response.status_code


@pytest.mark.parametrize("mount", ["", "/mx", "/a/b"])
def test_R12_forty_paths_are_routed_to_the_same_handler_and_arguments(
    make_client: MakeClient, mount: str
) -> None:
    assert len(PATHS) >= 40
    client = make_client(Golden(), root_path=mount)
    assert {target: outcome(ask(client, mount + target)) for target in PATHS} == PATHS


def test_R12_responses_are_equal_byte_for_byte(connect: MakeClient) -> None:
    app = Golden()
    clients = [connect(app, world) for world in WORLDS]
    for target in PATHS:
        first, *others = [seen(ask(client, target)) for client in clients]
        assert others == [first, first], target


def with_request_uri(app: Any) -> Any:
    """Tell the target as uWSGI, waitress and Apache do: by REQUEST_URI without RAW_URI."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return app({**environ, "REQUEST_URI": environ["RAW_URI"], "RAW_URI": ""}, start_response)

    return application


def with_absolute_uri(app: Any) -> Any:
    """Tell the target in the absolute form that proxies get: ``GET http://testserver/path``."""

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return app({**environ, "RAW_URI": "http://testserver" + environ["RAW_URI"]}, start_response)

    return application


def without_raw_uri(app: Any) -> Any:
    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return app(
            {key: value for key, value in environ.items() if key != "RAW_URI"}, start_response
        )

    return application


@pytest.mark.parametrize("server", [with_request_uri, with_absolute_uri])
@pytest.mark.parametrize("mount", ["", "/mx"])
def test_R12_wsgi_servers_that_pass_the_target_differently_are_supported(
    server: Any, mount: str
) -> None:
    with TestClient(server(Golden()), protocol="wsgi", root_path=mount) as client:
        assert {target: outcome(ask(client, mount + target)) for target in PATHS} == PATHS


@pytest.mark.parametrize("mount", ["", "/mx"])
def test_R12_a_wsgi_server_may_omit_the_raw_target(mount: str) -> None:
    expected = {
        target: answer for target, answer in PATHS.items() if target not in NEEDS_RAW_TARGET
    }
    with TestClient(without_raw_uri(Golden()), protocol="wsgi", root_path=mount) as client:
        assert {target: outcome(ask(client, mount + target)) for target in expected} == expected


@pytest.mark.parametrize("mount", ["", "/mx"])
def test_R12_an_asgi_server_may_omit_the_raw_path(mount: str) -> None:
    app = Golden()

    async def application(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await app({key: value for key, value in scope.items() if key != "raw_path"}, receive, send)

    undecodable = {
        target for target, answer in PATHS.items() if answer == 400 and "%00" not in target
    }
    expected = {t: answer for t, answer in PATHS.items() if t not in NEEDS_RAW_TARGET | undecodable}
    with TestClient(application, root_path=mount) as client:
        assert {target: outcome(ask(client, mount + target)) for target in expected} == expected


def test_R12_a_mount_cannot_be_bypassed_by_an_unusual_path(make_client: MakeClient) -> None:
    client = make_client(Golden(), root_path="/mx")
    targets = ["/mx/../admin", "/mx//admin", "/mx/%2e%2e/admin", "/mx/mx/admin", "/mx/.%2Fadmin"]
    assert [ask(client, target).status_code for target in targets] == [404] * len(targets)


def test_R12_a_middleware_may_have_changed_the_path() -> None:
    """PATH_INFO counts where RAW_URI differs from it: a middleware may have rewritten it."""
    app = Golden()

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return app({**environ, "PATH_INFO": "/greet/rewritten"}, start_response)

    with TestClient(application, protocol="wsgi") as client:
        assert outcome(ask(client, "/admin/a%2Fb")) == ["greet", "rewritten"]


# -- methods ---------------------------------------------------------------------------------------


class Methods(App):
    def any(self) -> str:
        return self.request.method

    @get("/thing")
    def read(self) -> str:
        return "read"

    @post("/thing")
    async def write(self) -> str:
        return "write"

    @route("/own", methods=["OPTIONS", "GET"])
    def own(self) -> str:
        return "own"


METHODS = {
    ("GET", "/any"): (200, None),
    ("PUT", "/any"): (200, None),
    ("OPTIONS", "/any"): (204, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    ("TRACE", "/any"): (405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
    ("HEAD", "/any"): (200, None),
    ("GET", "/thing"): (200, None),
    ("HEAD", "/thing"): (200, None),
    ("POST", "/thing"): (200, None),
    ("PUT", "/thing"): (405, "GET, HEAD, OPTIONS, POST"),
    ("TRACE", "/thing"): (405, "GET, HEAD, OPTIONS, POST"),
    ("OPTIONS", "/thing"): (204, "GET, HEAD, OPTIONS, POST"),
    ("OPTIONS", "/own"): (200, None),
    ("DELETE", "/own"): (405, "GET, HEAD, OPTIONS"),
    ("HEAD", "/nothing"): (404, None),
    ("OPTIONS", "/nothing"): (404, None),
}


def test_methods_are_handled_alike_under_every_protocol(connect: MakeClient) -> None:
    app = Methods()
    clients = [connect(app, world) for world in WORLDS]
    for (method, target), (status, allow) in METHODS.items():
        responses = [ask(client, target, method) for client in clients]
        first, *others = [seen(response) for response in responses]
        assert others == [first, first], (method, target)
        assert (first[0], responses[0].headers.get("allow")) == (status, allow), (method, target)
        assert method != "HEAD" or first[2] == b""


# -- binding ---------------------------------------------------------------------------------------


class Bound(App):
    def sync(self, a: int, b: str = "-", *rest: str, c: list[int] = [], **others: Any) -> Any:  # noqa: B006
        return [
            a,
            b,
            list(rest),
            c,
            {name: getattr(value, "filename", value) for name, value in others.items()},
        ]

    async def coroutine(
        self,
        a: int,
        b: str = "-",
        *rest: str,
        c: list[int] = [],  # noqa: B006
        **others: Any,
    ) -> Any:
        return self.sync(a, b, *rest, c=c, **others)


JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
REQUESTS: list[tuple[str, str, dict[str, Any], Any]] = [
    ("GET", "?a=1", {}, [1, "-", [], [], {}]),
    ("GET", "/1/x/y/z?c=1&c=2&d=e&d=f", {}, [1, "x", ["y", "z"], [1, 2], {"d": ["e", "f"]}]),
    ("GET", "/1/a%2Fb?a=2&b=x", {}, [1, "a/b", [], [], {}]),
    ("GET", "?a=1&b=%C3%A9+%2B", {}, [1, "é +", [], [], {}]),
    ("GET", "?a=1&=x&b", {}, [1, "", [], [], {"": "x"}]),
    ("GET", "?a=1;b=2", {}, 400),
    ("GET", "", {}, 400),
    ("GET", "?a=x", {}, 400),
    ("GET", "/x", {}, 400),
    ("GET", "?a=1&b=%ff", {}, 400),
    ("GET", "?a=1&b=%00", {}, 400),
    ("GET", "?a=1&c=x", {}, 400),
    ("POST", "", {"data": {"a": "1", "b": "é", "c": ["1", "2"]}}, [1, "é", [], [1, 2], {}]),
    ("POST", "?a=2", {"data": {"a": "1"}}, [2, "-", [], [], {}]),
    ("POST", "", {"content": b"a=1&b=%ff", "headers": FORM}, 400),
    ("POST", "", {"content": b"", "headers": FORM}, 400),
    (
        "POST",
        "",
        {"files": {"f": ("é.txt", b"x"), "a": (None, "1")}},
        [1, "-", [], [], {"f": "é.txt"}],
    ),
    (
        "POST",
        "",
        {"json": {"a": 1, "b": "x", "c": [1], "d": {"e": None}}},
        [1, "x", [], [1], {"d": {"e": None}}],
    ),
    ("PUT", "", {"json": {"a": "1", "b": "x"}}, [1, "x", [], [], {}]),
    ("PATCH", "", {"json": {"a": True}}, 400),
    ("DELETE", "", {"json": {"a": 1, "b": 5}}, 400),
    ("POST", "", {"json": [1]}, 400),
    ("POST", "", {"content": b'{"a": 1', "headers": JSON}, 400),
    ("POST", "", {"content": b'{"a": NaN}', "headers": JSON}, 400),
    ("POST", "?a=1", {"content": b"\xff", "headers": JSON}, 400),
    ("POST", "?a=1", {"content": b"[" * 1100, "headers": JSON}, 400),
    (
        "POST",
        "?a=1",
        {"content": b"not json", "headers": {"content-type": "text/plain"}},
        [1, "-", [], [], {}],
    ),
    ("POST", "?a=1", {"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400),
]


@pytest.mark.parametrize("handler", ["/sync", "/coroutine"])
@pytest.mark.parametrize(("method", "target", "sent", "expected"), REQUESTS)
def test_parameters_are_bound_alike_under_every_protocol(
    connect: MakeClient, handler: str, method: str, target: str, sent: dict[str, Any], expected: Any
) -> None:
    app = Bound()
    responses = [ask(connect(app, world), handler + target, method, **sent) for world in WORLDS]
    first, *others = [seen(response) for response in responses]
    assert others == [first, first]
    assert outcome(responses[0]) == expected, responses[0].text


@pytest.mark.parametrize(
    "target", ["/sync", "/sync?a=x", "/nothing", "/sync?a=1&b=%ff", "/admin/%ff"]
)
def test_every_error_is_one_sentence_of_plain_text(make_client: MakeClient, target: str) -> None:
    response = ask(make_client(Bound()), target)
    assert 400 <= response.status_code < 500
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert 5 < len(response.text) < 150
    assert "\n" not in response.text
    assert "Traceback" not in response.text


# -- anything at all -------------------------------------------------------------------------------

ODD = [
    b"%2F", b"%2e", b"..", b"//", b"%00", b"%ff", b"%C3%A9", b"%", b"+", b";", b"=", b"&", b"a",
    b"1", b"-1", b"%25",
]  # fmt: skip
anything = st.lists(st.sampled_from(ODD) | st.binary(max_size=3), max_size=5).map(b"".join)
printable = anything.map(lambda raw: raw.translate(None, bytes(range(33)) + b"?#\x7f"))
heads = st.sampled_from([
    b"/", b"/admin/", b"/greet/", b"/users/", b"/files/", b"/blog/", b"/blog/post/",
    b"/bound/sync/",
])  # fmt: skip
kinds = st.sampled_from(
    [JSON["content-type"], FORM["content-type"], "multipart/form-data; boundary=x", "text/plain"]
)


def test_R12_any_request_gets_the_same_response_under_every_protocol(connect: MakeClient) -> None:
    app: Any = Golden()
    app.bound = Bound()
    clients = [connect(app, world) for world in WORLDS]

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.sampled_from(["GET", "POST", "HEAD", "DELETE", "OPTIONS"]),
        heads,
        printable,
        printable,
        kinds,
        anything,
    )
    def check(method: str, head: bytes, path: bytes, query: bytes, kind: str, body: bytes) -> None:
        target = head + path + (b"?" + query if query else b"")
        options: Any = {
            "content": body,
            "headers": {"content-type": kind},
            "extensions": {"target": target},
        }
        first, *others = [seen(client.request(method, "/", **options)) for client in clients]
        assert others == [first, first]
        assert first[0] < 500

    check()
