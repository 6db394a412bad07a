"""CORSMiddleware: which other sites' scripts may read the answers."""

from __future__ import annotations

from itertools import product
from typing import Any

import httpx2 as httpx
import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Response,
    SetupError,
    post,
)
from micropie.middleware import CORSMiddleware, CSRFMiddleware
from micropie.testing import TestClient
from tests.support.clients import MakeClient

FRIEND = "https://a.example"


class Root(App):
    ran = 0

    def index(self) -> Any:
        self.ran += 1
        return "index"

    def crashes(self) -> Any:
        raise RuntimeError("secret")

    def fails(self) -> Any:
        raise HTTPError(410, "gone", [("X-Own", "1")])

    def unsendable(self) -> Any:
        return Response("x", headers={"X-Own": "\n"})

    async def streams(self) -> Any:
        yield "a"
        yield "b"

    async def streams_by_language(self) -> Any:
        self.response.headers["Vary"] = "Accept-Language"
        yield "a"

    def by_language(self) -> Any:
        return Response("x", headers=[("Vary", "Accept-Language, ORIGIN")])

    def public(self) -> Any:
        return Response("x", headers={"access-control-allow-origin": "*"})


def sharing(**options: Any) -> Root:
    app = Root()
    app.middlewares.append(CORSMiddleware(**options))
    return app


def shown(answer: httpx.Response) -> dict[str, str]:
    """Return the CORS headers of an answer, without the Vary of an error page, which depends on
    Accept.
    """
    found = {
        name: value for name, value in answer.headers.items() if name.startswith("access-control")
    }
    vary = [one for one in answer.headers.get_list("vary", split_commas=True) if one != "Accept"]
    return found | ({"vary": ", ".join(vary)} if vary else {})


def preflight(
    client: TestClient,
    origin: str = FRIEND,
    method: str = "PUT",
    headers: str | None = None,
    path: str = "/",
) -> httpx.Response:
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers is not None:
        sent["Access-Control-Request-Headers"] = headers
    return client.options(
        path, headers=[(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    )


# -- which origins ---------------------------------------------------------------------------------

NAMED = {
    "origins": [FRIEND, "http://B.example:8080", "https://c.example:443", "capacitor://localhost"]
}
REGEX = {"origin_regex": r"https://[a-z0-9-]+\.example\.com|http://localhost:[0-9]+"}

ORIGINS: list[tuple[dict[str, Any], str, bool]] = [
    (NAMED, "https://a.example", True),
    (NAMED, "HTTPS://A.EXAMPLE", True),
    (NAMED, "https://a.example:443", True),
    (NAMED, "http://b.example:8080", True),
    (NAMED, "https://c.example", True),
    (NAMED, "capacitor://localhost", True),
    (NAMED, "http://a.example", False),
    (NAMED, "https://a.example:80", False),
    (NAMED, "https://a.example:444", False),
    (NAMED, "http://b.example", False),
    (NAMED, "https://a.example.evil", False),
    (NAMED, "https://evil-a.example", False),
    (NAMED, "https://x.a.example", False),
    (NAMED, "https://a.example/", False),
    (NAMED, "https://a.example/x", False),
    (NAMED, "https://u@a.example", False),
    (NAMED, "https://a.example#", False),
    (NAMED, "https://a.example https://evil.example", False),
    (NAMED, "https://a.example, https://evil.example", False),
    (NAMED, "https://axexample", False),
    (NAMED, "a.example", False),
    (NAMED, "null", False),
    (NAMED, "*", False),
    (NAMED, "", False),
    (REGEX, "https://b.example.com", True),
    (REGEX, "https://B.Example.Com:443", True),
    (REGEX, "http://localhost:3000", True),
    (REGEX, "https://b.example.com.evil", False),
    (REGEX, "https://evil/https://b.example.com", False),
    (REGEX, "https://b.example.com:1", False),
    (REGEX, "http://b.example.com", False),
    (REGEX, "https://evilexample.com", False),
    (REGEX, "https://example.com", False),
    (REGEX, "null", False),
    ({"origin_regex": ".*"}, "https://any.example", True),
    ({"origin_regex": ".*"}, "null", False),
    ({"origin_regex": ".*"}, "", False),
    ({"origin_regex": ".*"}, "https://é", False),
    ({"origins": ["https://*.b.example"]}, "https://a.b.example", True),
    ({"origins": ["https://*.b.example"]}, "https://b.example", False),
    ({"origins": ["https://*.b.example"]}, "https://evil/.b.example", False),
    ({"origins": [FRIEND], **REGEX}, FRIEND, True),
    ({"origins": [FRIEND], **REGEX}, "https://b.example.com", True),
]


@pytest.mark.parametrize(("options", "origin", "allowed"), ORIGINS)
def test_allowed_origins_get_cors_headers(
    make_client: MakeClient, options: Any, origin: str, allowed: bool
) -> None:
    client = make_client(sharing(**options))
    answer = client.get("/", headers=[(b"Origin", origin.encode("latin-1"))])
    assert answer.text == "index"  # the browser refuses, not the server
    assert shown(answer) == ({"access-control-allow-origin": origin} if allowed else {}) | {
        "vary": "Origin"
    }
    asked = shown(preflight(client, origin))
    assert asked.get("access-control-allow-origin") == (origin if allowed else None)
    assert asked["vary"] == "Origin"


def test_a_response_without_an_allowed_origin_also_varies(make_client: MakeClient) -> None:
    assert shown(make_client(sharing(origins=[FRIEND])).get("/")) == {"vary": "Origin"}


def test_for_all_origins_the_header_is_an_asterisk(make_client: MakeClient) -> None:
    client = make_client(sharing(origins=["*"]))
    for headers in ({}, {"Origin": FRIEND}, {"Origin": "null"}):
        assert shown(client.get("/", headers=headers)) == {"access-control-allow-origin": "*"}


# -- actual requests -------------------------------------------------------------------------------


def test_exposed_headers_and_credentials_are_announced(make_client: MakeClient) -> None:
    client = make_client(sharing(origins=[FRIEND], expose=["X-Total", "X-Page"], credentials=True))
    assert shown(client.get("/", headers={"Origin": FRIEND})) == {
        "access-control-allow-origin": FRIEND,
        "access-control-allow-credentials": "true",
        "access-control-expose-headers": "X-Total, X-Page",
        "vary": "Origin",
    }
    assert shown(client.get("/", headers={"Origin": "https://evil.example"})) == {"vary": "Origin"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/crashes", 500),
        ("/fails", 410),
        ("/unsendable", 500),
        ("/nowhere", 404),
        ("/%ff", 400),
        ("/streams", 200),
    ],
)
def test_every_response_has_each_cors_header_once(
    make_client: MakeClient, path: str, status: int
) -> None:
    client = make_client(sharing(origins=[FRIEND]), validate=False)
    for method in ("GET", "HEAD", "POST"):
        answer = client.request(
            method, "/", headers={"Origin": FRIEND}, extensions={"target": path.encode()}
        )
        assert answer.status_code == status
        assert answer.headers.get_list("access-control-allow-origin") == [FRIEND]
        assert answer.headers.get_list("vary", split_commas=True).count("Origin") == 1


class Unreachable(InMemorySessionBackend):
    blocking = True

    def load(self, session_id: str) -> Any:
        raise ConnectionError("unavailable")


def test_the_503_of_an_unavailable_session_backend_has_cors_headers(
    make_client: MakeClient,
) -> None:
    app = Root(Unreachable())
    app.middlewares.append(CORSMiddleware(origins=[FRIEND]))
    answer = make_client(app).get(
        "/", headers={"Origin": FRIEND, "Cookie": "session_id=" + "x" * 43}
    )
    seen = (answer.status_code, shown(answer))
    assert seen == (503, {"access-control-allow-origin": FRIEND, "vary": "Origin"})


def test_an_early_response_of_other_middleware_has_cors_headers(make_client: MakeClient) -> None:
    class Refusing(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return {"status_code": 401, "body": "no"}

    for order in (0, 1):
        app = sharing(origins=[FRIEND])
        app.middlewares.insert(order, Refusing())
        answer = make_client(app).get("/", headers={"Origin": FRIEND})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (401, FRIEND)


def test_vary_is_extended_and_never_repeated(make_client: MakeClient) -> None:
    client = make_client(sharing(origins=[FRIEND]))
    assert client.get("/by_language").headers.get_list("vary") == ["Accept-Language, ORIGIN"]
    found = sorted(client.get("/streams_by_language").headers.get_list("vary"))
    assert found == ["Accept-Language", "Origin"]


def test_a_handler_may_set_its_own_cors_headers(make_client: MakeClient) -> None:
    client = make_client(sharing(origins=[FRIEND]))
    for origin, allowed in (("https://other.example", "*"), (FRIEND, FRIEND)):
        answer = client.get("/public", headers={"Origin": origin})
        assert answer.headers.get_list("access-control-allow-origin") == [allowed]


def test_R17_cors_headers_do_not_leak_into_the_next_response(make_client: MakeClient) -> None:
    kept = {"X-Kept": "1"}

    class Keeping(App):
        def index(self) -> Any:
            return 200, "x", kept

        def same(self) -> Any:
            return same_object

    same_object = Response("same", headers=kept)
    app = Keeping()
    app.middlewares.append(
        CORSMiddleware(origins=[FRIEND], credentials=True, headers=["*"], expose=["X-Kept"])
    )
    client = make_client(app)
    for path in ("/", "/same", "/nowhere"):
        plain = client.get(path).headers.multi_items()
        for _ in range(2):
            shared = client.get(path, headers={"Origin": FRIEND})
            assert shared.headers["access-control-allow-origin"] == FRIEND
            allowed = preflight(client, headers="X-Secret", path=path)
            assert allowed.headers["access-control-allow-headers"] == "x-secret"
            assert client.get(path).headers.multi_items() == plain
            found = shown(client.get(path, headers={"Origin": "https://evil.example"}))
            assert found == {"vary": "Origin"}
            assert preflight(client, path=path).headers["access-control-allow-headers"] == ""
    assert (kept, same_object.headers.pairs) == ({"X-Kept": "1"}, [("X-Kept", "1")])


# -- preflights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/nowhere", "/crashes", "/%ff"])
def test_a_preflight_is_handled_before_anything_else_runs(
    make_client: MakeClient, path: str
) -> None:
    app = sharing(origins=[FRIEND])
    answer = preflight(
        make_client(app, validate=False), headers="authorization,content-type", path=path
    )
    assert (answer.status_code, answer.content, app.ran) == (204, b"", 0)
    assert shown(answer) == {
        "access-control-allow-origin": FRIEND,
        "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": "Accept, Accept-Language, Content-Language, Content-Type, Authorization",
        "access-control-max-age": "600",
        "vary": "Origin",
    }


def test_a_preflight_may_allow_credentials(make_client: MakeClient) -> None:
    client = make_client(
        sharing(origins=[FRIEND], credentials=True, methods=["put"], max_age=0, expose=["X-A"])
    )
    answer = shown(preflight(client))
    assert answer["access-control-allow-credentials"] == "true"
    seen = (answer["access-control-allow-methods"], answer["access-control-max-age"])
    assert seen == ("PUT", "0")
    assert "access-control-expose-headers" not in answer


@pytest.mark.parametrize(
    ("options", "method", "headers", "allowed"),
    [
        ({}, "PUT", None, True),
        ({}, "PUT", "", True),
        ({}, "PUT", " , ", True),
        ({}, "PUT", "Content-Type, ACCEPT", True),
        ({}, "PUT", "authorization", True),
        ({}, "PUT", "x-own", False),
        ({}, "PUT", "authorization, x-own", False),
        ({}, "put", None, False),
        ({}, "OPTIONS", None, False),
        ({}, "CONNECT", None, False),
        ({}, "", None, False),
        ({}, "GET, PUT", None, False),
        ({"methods": ["GET"]}, "GET", "content-type", True),
        ({"methods": ["GET"]}, "POST", "content-type", False),
        ({"methods": ["*"]}, "QUERY", "content-type", True),
        ({"methods": ["*"]}, "PROPFIND", None, True),
        ({"methods": ["*"], "credentials": True}, "DELETE", None, True),
        ({"methods": iter(["GET", "*"])}, "PATCH", None, True),
        ({"methods": ["*"]}, "*", None, False),
        ({"methods": ["*"]}, "put", None, False),
        ({"headers": ["X-Own"]}, "PUT", "x-own,content-type", True),
        ({"headers": ["X-Own"]}, "PUT", "authorization", False),
        ({"headers": ["X-Own"]}, "PUT", "*", False),
        ({"headers": []}, "PUT", "authorization", False),
        ({"headers": ["*"]}, "PUT", "authorization,x-any", True),
        ({"headers": ["*"]}, "PUT", "x any", False),
        ({"headers": ["*"]}, "PUT", "x-a,\xe9", False),
        ({"headers": ["*"]}, "PUT", None, True),
    ],
)
def test_a_preflight_allows_only_configured_methods_and_headers(
    make_client: MakeClient, options: Any, method: str, headers: str | None, allowed: bool
) -> None:
    answer = preflight(
        make_client(sharing(origins=[FRIEND], **options)), method=method, headers=headers
    )
    assert answer.status_code == 204
    if allowed:
        assert answer.headers["access-control-allow-origin"] == FRIEND
    else:
        assert shown(answer) == {"vary": "Origin"}


def test_all_headers_are_allowed_by_listing_the_requested_ones(make_client: MakeClient) -> None:
    client = make_client(sharing(origins=["*"], headers=["*"]))
    assert shown(preflight(client, headers="Authorization,x-any")) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": "authorization, x-any",
        "access-control-max-age": "600",
    }


@pytest.mark.parametrize("without", ["Origin", "Access-Control-Request-Method"])
def test_other_options_requests_are_not_preflights(make_client: MakeClient, without: str) -> None:
    app = sharing(origins=[FRIEND])
    headers = {"Origin": FRIEND, "Access-Control-Request-Method": "PUT"}
    del headers[without]
    answer = make_client(app).options("/", headers=headers)
    assert (answer.status_code, answer.headers.get("access-control-allow-methods")) == (204, None)
    # the answer to OPTIONS of a handler that does not state it
    assert "POST" in answer.headers["allow"]


def test_a_get_with_preflight_headers_is_not_a_preflight(make_client: MakeClient) -> None:
    answer = make_client(sharing(origins=[FRIEND])).get(
        "/", headers={"Origin": FRIEND, "Access-Control-Request-Method": "PUT"}
    )
    assert (answer.text, "access-control-max-age" in answer.headers) == ("index", False)


def test_cors_works_together_with_the_csrf_middleware(make_client: MakeClient) -> None:
    app = sharing(origins=[FRIEND], credentials=True)
    app.middlewares.append(CSRFMiddleware(trusted_origins=[FRIEND]))
    client = make_client(app)
    assert preflight(client, method="POST").headers["access-control-allow-origin"] == FRIEND
    found = client.post("/", headers={"Origin": FRIEND, "Sec-Fetch-Site": "cross-site"}).text
    assert found == "index"
    refused = client.post(
        "/", headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    )
    assert (refused.status_code, shown(refused)) == (403, {"vary": "Origin"})


# -- subtrees --------------------------------------------------------------------------------------


def test_an_inner_application_may_have_its_own_cors(make_client: MakeClient) -> None:
    app = Root()
    app.api = sharing(origins=["*"])
    client = make_client(app)
    for path in ("/api", "/api/nowhere"):
        assert preflight(client, path=path).headers["access-control-allow-origin"] == "*"
        assert shown(client.get(path)) == {"access-control-allow-origin": "*"}
    assert shown(client.get("/", headers={"Origin": FRIEND})) == {}
    assert shown(preflight(client)) == {}


def test_the_outermost_cors_middleware_handles_preflights(make_client: MakeClient) -> None:
    app = sharing(origins=[FRIEND])
    app.api = sharing(origins=["*"])
    client = make_client(app)
    answer = preflight(client, path="/api")
    assert answer.headers.get_list("access-control-allow-origin") == [FRIEND]
    assert client.get("/api").headers.get_list("access-control-allow-origin") == ["*"]


# -- mistakes of the author ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs the origins to allow"),
        ({"origins": []}, "needs the origins to allow"),
        ({"origins": "https://a.example"}, r'write origins=\["https://a.example"\]'),
        ({"origins": ["null"]}, "not 'null'"),
        ({"origins": ["https://a.example/"]}, "without a path or trailing slash"),
        ({"origins": ["https://*.example"]}, "scheme and host"),
        ({"origins": ["a.example"]}, "scheme and host"),
        ({"origins": ["*"], "credentials": True}, "every site: list the origins"),
        ({"origins": [FRIEND, "*"], "credentials": True}, "every site: list the origins"),
        ({"origin_regex": ".*", "credentials": True}, "ends with your host"),
        ({"origin_regex": "https://.+", "credentials": True}, "ends with your host"),
        ({"origin_regex": "("}, "is not a regular expression"),
        ({"origin_regex": b"x"}, "as text"),
        (
            {"origins": [FRIEND], "expose": ["*"], "credentials": True},
            "list the names of the headers",
        ),
        ({"origins": [FRIEND], "expose": "X-A"}, r'write expose=\["X-A"\]'),
        ({"origins": [FRIEND], "headers": "X-A"}, r'write headers=\["X-A"\]'),
        ({"origins": [FRIEND], "headers": ["X A"]}, "names of headers"),
        ({"origins": [FRIEND], "headers": [5]}, "names of headers"),
        ({"origins": [FRIEND], "expose": ["a\r\nb"]}, "names of headers"),
        ({"origins": [FRIEND], "methods": "GET"}, r'write methods=\["GET"\]'),
        ({"origins": [FRIEND], "methods": "*"}, r'write methods=\["\*"\]'),
        ({"origins": [FRIEND], "methods": ["GET, PUT"]}, "is not an HTTP method"),
        ({"origins": [FRIEND], "max_age": -1}, "0 or more"),
        ({"origins": [FRIEND], "max_age": True}, "0 or more"),
        ({"origins": [FRIEND], "max_age": 1.5}, "0 or more"),
    ],
)
def test_invalid_arguments_are_refused(options: Any, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        CORSMiddleware(**options)


@pytest.mark.parametrize(
    ("expression", "shown_to"),
    [
        (".*", "https://notmysite.com"),
        ("https://.+", "https://notmysite.com"),
        ("http://.*", "http://notmysite.com"),
        ("http://[^/]+:[0-9]+", "http://notmysite.com:3000"),
        (r"https://.*\.com", "https://notmysite.com"),
        (r"https://.*\.co\.uk", "https://notmysite.co.uk"),
        (r"https://.*\.de(:\d+)?", "https://notmysite.de"),
        (r"https://.*:\d+", "https://notmysite.com:3000"),
        (r"https://.*:8443", "https://notmysite.com:8443"),
        (r"https://\w+\.\w+\.com", "https://www.notmysite.com"),
        (r"https://www\..*", "https://www.notmysite.com"),
        (r"https://app\.[a-z.]+", "https://app.notmysite.com"),
        (r"https://example\.com.*", "https://example.comnotmysite.com"),
        (r"^https://my-app\.example(\..*)?$", "https://my-app.example.notmysite.com"),
        (r"(?i)https://.*", "https://notmysite.com"),
        (r"https://app\.example\.com|http://.*", "http://notmysite.com"),
    ],
)
def test_an_expression_that_matches_foreign_origins_may_not_allow_credentials(
    expression: str, shown_to: str
) -> None:
    with pytest.raises(SetupError) as caught:
        CORSMiddleware(origin_regex=expression, credentials=True)
    assert f"users' data to {shown_to}: write a regex that ends with your host" in str(caught.value)
    CORSMiddleware(origin_regex=expression)


@pytest.mark.parametrize(
    "expression",
    [
        r"https://[a-z0-9-]+\.example\.com",
        r"https://.*\.example\.com(:\d+)?",
        r"https://([a-z]+\.)?example\.(com|org|co\.uk)",
        r"https://example\.com:.*",
        r"http://localhost:[0-9]+",
        r"http://127\.0\.0\.1(:.*)?",
        r"https?://192\.168\.[0-9.]+:[0-9]+",
        r"^https://app\.example\.com$",
    ],
)
def test_an_expression_for_the_author_s_origins_may_allow_credentials(expression: str) -> None:
    CORSMiddleware(origin_regex=expression, credentials=True)


def test_a_narrow_expression_may_allow_credentials(make_client: MakeClient) -> None:
    client = make_client(sharing(**REGEX, credentials=True, expose=["X-A"]))
    answer = client.get("/", headers={"Origin": "https://b.example.com"})
    assert answer.headers["access-control-allow-credentials"] == "true"


def test_an_asterisk_exposes_all_headers(make_client: MakeClient) -> None:
    answer = make_client(sharing(origins=["*"], expose=["*"])).get("/")
    assert answer.headers["access-control-expose-headers"] == "*"


# -- together with the protection of forms -----------------------------------------------------------

OWN, SUBDOMAIN = "http://testserver", "https://x.a.example"
EVIL = "https://evil.example"
SHARED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "any": ({"origins": ["*"]}, {FRIEND, SUBDOMAIN, EVIL, OWN, "null"}),
    "one": ({"origins": [FRIEND], "credentials": True}, {FRIEND}),
    "subdomains": ({"origins": ["https://*.a.example"], "credentials": True}, {SUBDOMAIN}),
}
COMBINATIONS = [
    (first, shared, trusted)
    for first in ("CORS", "CSRF")
    for shared in SHARED
    for trusted in ([], [FRIEND])
]


class Changed(App):
    ran = 0

    @post
    def change(self) -> str:
        self.ran += 1
        return "changed"


@pytest.mark.parametrize(("first", "shared", "trusted"), COMBINATIONS)
def test_permission_to_read_is_no_permission_to_change(
    make_client: MakeClient, first: str, shared: str, trusted: list[str]
) -> None:
    """In either order: which requests run depends on CSRFMiddleware alone, who may read the
    response on CORSMiddleware alone, and a preflight runs nothing.
    """
    options, readers = SHARED[shared]
    app = Changed(security=False)
    hooks = [CORSMiddleware(**options), CSRFMiddleware(trusted_origins=trusted)]
    app.middlewares += hooks if first == "CORS" else hooks[::-1]
    client = make_client(app)
    origins = (None, OWN, FRIEND, SUBDOMAIN, EVIL, "null")
    sites = (None, "same-origin", "same-site", "cross-site", "none")
    logins: tuple[dict[str, str], ...] = (
        {},
        {"cookie": "a=1"},
        {"authorization": "Basic YTpi"},
        {"authorization": "Bearer a"},
    )
    for origin, site, login in product(origins, sites, logins):
        sent = {"origin": origin, "sec-fetch-site": site, **login}
        headers = {name: value for name, value in sent.items() if value is not None}
        answer = client.post("/change", headers=headers)
        if site in ("same-origin", "none"):
            is_allowed = True
        elif origin is not None:
            is_allowed = origin in trusted or (origin == OWN and site is None)
        else:
            is_allowed = site is None and login in (logins[0], logins[3])
        assert (answer.status_code, app.ran) == ((200, 1) if is_allowed else (403, 0)), headers
        app.ran = 0
        reader = answer.headers.get("access-control-allow-origin")
        assert (reader is not None) == (origin in readers or (shared == "any" and not origin))
        assert reader in (None, "*", origin)
        if origin is not None:
            headers["access-control-request-method"] = "POST"
            answer = client.options("/change", headers=headers)
            is_permitted = "access-control-allow-methods" in answer.headers
            assert (is_permitted, app.ran) == (origin in readers, 0)
