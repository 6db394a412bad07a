"""CSRFMiddleware: it refuses requests that another site made a browser send, and no others."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from micropie import App, SetupError, reads_body
from micropie._core.http.body.receiving import find_field
from micropie.middleware import CORSMiddleware, CSRFMiddleware, ProxyHeaders, csrf_token
from micropie.sessions import SQLiteSessionBackend
from micropie.testing import TestClient
from tests.asgi.calls import respond
from tests.support.clients import MakeClient

FORM = "application/x-www-form-urlencoded"


class Root(App):
    def index(self) -> Any:
        return "index"

    def token(self) -> Any:
        return csrf_token(self.request)

    def pay(self, to: str = "nobody") -> Any:
        return f"paid {to}"

    def field(self) -> Any:
        return [self.request.form("to"), list(self.request.files)]

    def default(self, *path: str) -> Any:
        return "default " + "/".join(path)


def guarded(**options: Any) -> Root:
    app = Root()
    app.middlewares.append(CSRFMiddleware(**options))
    return app


@pytest.fixture
def app() -> Root:
    return guarded(trusted_origins=["https://accounts.example.com", "HTTP://Other.Example:80"])


def outcome(client: TestClient, method: str = "POST", path: str = "/pay", **options: Any) -> int:
    return client.request(method, path, **options).status_code


# -- the golden matrix: which origin, told how -----------------------------------------------------

SITES = [None, "same-origin", "none", "same-site", "cross-site", "Same-Origin"]

# Origin: the status for each of SITES. The client has a cookie and no token.
MATRIX: list[tuple[str | None, list[int]]] = [
    (None, [403, 200, 200, 403, 403, 403]),
    ("http://testserver", [200, 200, 200, 403, 403, 200]),
    ("http://testserver:80", [200, 200, 200, 403, 403, 200]),
    ("HTTP://TESTSERVER", [200, 200, 200, 403, 403, 200]),
    ("https://accounts.example.com", [200] * 6),
    ("https://ACCOUNTS.example.com:443", [200] * 6),
    ("http://other.example", [200] * 6),
    *[
        (foreign, [403, 200, 200, 403, 403, 403])
        for foreign in (
            "",
            "null",
            "*",
            "https://evil.example",
            "https://testserver",
            "http://testserver:8080",
            "http://testserver:443",
            "http://testserver.evil.example",
            "http://eviltestserver",
            "http://sub.testserver",
            "http://testserver@evil.example",
            "http://evil.example/http://testserver",
            "http://testserver/",
            "http://testserver, http://testserver",
            "http://testserver http://evil.example",
            "http://testserver#",
            "http://testserver.",
            "//testserver",
            "testserver",
            "http://accounts.example.com",
            "https://accounts.example.com.evil.example",
            "https://evil.accounts.example.com",
            "https://accounts.example.com:8443",
            "https://accountsXexample.com",
        )
    ],
]


@pytest.mark.parametrize(("origin", "statuses"), MATRIX, ids=[str(row[0]) for row in MATRIX])
def test_only_allowed_origins_may_send_forms(
    client: TestClient, origin: str | None, statuses: list[int]
) -> None:
    sent = {"Cookie": "a=1"} | ({"Origin": origin} if origin is not None else {})
    for site, status in zip(SITES, statuses, strict=True):
        headers = sent | ({"Sec-Fetch-Site": site} if site is not None else {})
        assert outcome(client, headers=headers) == status, site


def test_repeated_origin_headers_are_refused(client: TestClient) -> None:
    origins = [("Origin", "http://testserver"), ("Origin", "https://evil.example")]
    assert outcome(client, headers=origins) == 403
    assert (
        outcome(
            client, headers=[("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site")]
        )
        == 200
    )
    both = [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "cross-site"), ("Cookie", "a=1")]
    assert outcome(client, headers=both) == 403


def test_the_error_names_the_site_s_own_origin(client: TestClient) -> None:
    answer = client.post("/pay", headers={"Origin": "https://evil.example"})
    seen = (answer.status_code, answer.text)
    assert seen == (403, "This request came from a different site, not from http://testserver.")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("host", ["example.com", "example.com:443", "EXAMPLE.com"])
def test_the_own_origin_comes_from_the_request(client: TestClient, host: str) -> None:
    own = {"Host": host, "Origin": "https://example.com"}
    assert outcome(client, path="https://testserver/pay", headers=own) == 200
    assert outcome(client, path="http://testserver/pay", headers=own) == 403


def test_origins_with_ports_and_addresses_are_compared(client: TestClient) -> None:
    assert (
        outcome(client, headers={"Host": "example.com:8080", "Origin": "http://example.com:8080"})
        == 200
    )
    found = outcome(client, headers={"Host": "example.com:8080", "Origin": "http://example.com"})
    assert found == 403
    assert outcome(client, headers={"Host": "[::1]:80", "Origin": "http://[::1]"}) == 200


def test_a_malformed_host_gets_a_400(make_client: MakeClient) -> None:
    client = make_client(guarded(), validate=False)
    assert outcome(client, headers={"Host": "a/b", "Origin": "http://a"}) == 400


def test_behind_a_proxy_the_own_origin_comes_from_the_proxy(make_client: MakeClient) -> None:
    app = Root()
    app.middlewares += [ProxyHeaders(trusted=["127.0.0.1"]), CSRFMiddleware()]
    client = make_client(app)
    sent = {"Origin": "https://testserver", "X-Forwarded-Proto": "https"}
    assert outcome(client, headers=sent) == 200
    assert outcome(client, headers={**sent, "X-Forwarded-Proto": "http"}) == 403


def test_without_an_own_origin_every_origin_is_refused(make_client: MakeClient) -> None:
    def confusing(request: Any) -> Any:
        request.scheme = "no scheme"
        yield

    app = Root()
    app.middlewares += [confusing, CSRFMiddleware()]
    client = make_client(app)
    for origin in ("null", "", "no scheme://testserver"):
        assert outcome(client, headers={"Origin": origin}) == 403


# -- methods ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_safe_methods_need_no_token(client: TestClient, method: str) -> None:
    # those that no handler states, and no 403
    expected = {"OPTIONS": 204, "TRACE": 405}.get(method, 200)
    headers = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert outcome(client, method, headers=headers) == expected


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "QUERY", "NONSENSE"])
def test_unsafe_methods_need_a_token(make_client: MakeClient, method: str) -> None:
    client = make_client(guarded(), validate=False)
    assert outcome(client, method, headers={"Origin": "https://evil.example"}) == 403


def test_method_overrides_are_ignored(client: TestClient) -> None:
    override = {"X-HTTP-Method-Override": "GET", "X-HTTP-Method": "GET", "X-Method-Override": "GET"}
    evil = {"Origin": "https://evil.example", **override}
    assert client.post("/pay?_method=GET", headers=evil, data={"_method": "GET"}).status_code == 403


# -- neither header --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Authorization": "Bearer x"}, 200),
        ({"Authorization": "Token x"}, 200),
        ({"Authorization": "Basic eDp5"}, 403),
        ({"Authorization": "basic eDp5"}, 403),
        ({"Authorization": "DIGEST x"}, 403),
        ({"Authorization": "Negotiate x"}, 403),
        ({"Authorization": "NTLM x"}, 403),
        ({"Authorization": 'Digest username="a", realm="b c"'}, 403),
        ({"Cookie": "a=1"}, 403),
        ({"Cookie": "session_id=x"}, 403),
        # no browser adds these, and other sites' scripts may not without CORS
        ({"Cookie": "a=1", "Authorization": "Bearer x"}, 200),
        ({"Cookie": "a=1", "Authorization": "token x"}, 200),
        ({"Cookie": "a=1", "Authorization": "DPoP x"}, 200),
        ({"Cookie": "a=1", "Authorization": "Basic eDp5"}, 403),
        ({"Cookie": "a=1", "Authorization": "Other x"}, 403),
        ({"Cookie": "a=1", "Authorization": "Bearer x", "Origin": "https://e.vil"}, 403),
        ({"Cookie": ""}, 200),
    ],
)
def test_a_request_without_a_session_needs_no_token(
    client: TestClient, headers: dict[str, str], status: int
) -> None:
    assert outcome(client, headers=headers) == status


@pytest.fixture(params=["memory", "sqlite"])
def backend(request: pytest.FixtureRequest, tmp_path: Any) -> Any:
    return SQLiteSessionBackend(tmp_path / "s.db") if request.param == "sqlite" else None


def test_the_token_may_be_in_a_header_or_a_field(make_client: MakeClient, backend: Any) -> None:
    app = Root(backend)
    app.middlewares.append(CSRFMiddleware())
    client = make_client(app)
    token = client.get("/token").text
    assert client.cookies
    assert client.post("/pay", headers={"X-CSRF-Token": token}, json={"to": "me"}).text == "paid me"
    assert client.post("/pay", data={"csrf_token": token, "to": "me"}).text == "paid me"
    upload = client.post("/field", data={"csrf_token": token, "to": "me"}, files={"file": b"x"})
    assert upload.json() == ["me", ["file"]]


@pytest.mark.parametrize(
    ("data", "sentence", "lines"),
    [
        (
            {},
            "This form has no security token. Please load its page again and send it once more.",
            1,
        ),
        (
            {"csrf_token": "x"},
            "This form has expired. Please load its page again and send it once more.",
            0,
        ),
    ],
)
def test_the_error_distinguishes_a_missing_token_from_an_old_one(
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
    data: dict[str, str],
    sentence: str,
    lines: int,
) -> None:
    client = make_client(guarded())
    assert client.get("/token").text
    refused = client.post("/pay", data={"to": "me", **data})
    assert (refused.status_code, refused.text) == (403, sentence)
    assert caplog.text.count("POST '/pay': the request was refused, because it has") == lines


def test_an_invalid_token_is_refused(make_client: MakeClient) -> None:
    """Which token is another one is a matter of tests/http/test_csrf.py."""
    client = make_client(guarded())
    token = client.get("/token").text
    for sent in ("", "é", token[:-1]):
        assert outcome(client, headers={"X-CSRF-Token": sent.encode()}) == 403
        assert outcome(client, data={"csrf_token": sent}) == 403
        assert outcome(client, files={"file": b"x"}, data={"csrf_token": sent}) == 403
    assert outcome(client, data={"csrf_token": [sent, token]}) == 403
    # The header counts, if there is one.
    for header in ("x", ""):
        assert outcome(client, headers={"X-CSRF-Token": header}, data={"csrf_token": token}) == 403
    # A query is part of the link that an attacker writes.
    assert outcome(client, path=f"/pay?csrf_token={token}") == 403


def test_a_token_does_not_allow_another_site_s_form(client: TestClient) -> None:
    token = client.get("/token").text
    headers = {"X-CSRF-Token": token, "Origin": "https://evil.example"}
    assert outcome(client, headers=headers) == 403


def test_R24_a_form_of_another_media_type_is_not_searched_for_a_token(client: TestClient) -> None:
    token = client.get("/token").text
    for kind in (
        "text/plain",
        "text/plain; application/x-www-form-urlencoded",
        "application/json",
        "x",
        "",
    ):
        body = f'{{"csrf_token": "{token}"}}' if "json" in kind else f"csrf_token={token}"
        assert outcome(client, content=body, headers={"Content-Type": kind}) == 403, kind
    headers = {"Content-Type": f"{FORM}; charset=utf-8"}
    assert outcome(client, content=f"csrf_token={token}", headers=headers) == 200


def test_a_malformed_or_too_large_form_gets_the_same_response_without_the_middleware(
    make_client: MakeClient,
) -> None:
    app = Root(max_body_size=100)
    app.middlewares.append(CSRFMiddleware())
    client = make_client(app)
    client.get("/token")
    assert outcome(client, content=b"x" * 101, headers={"Content-Type": FORM}) == 413
    assert outcome(client, content=b"a=%ff", headers={"Content-Type": FORM}) == 400
    assert (
        outcome(client, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=a"})
        == 400
    )
    assert outcome(client, content=b"", headers={"Content-Type": FORM}) == 403


def test_a_form_for_a_missing_path_gets_a_404(make_client: MakeClient) -> None:
    class Small(App):
        def token(self) -> Any:
            return csrf_token(self.request)

    app = Small()
    app.middlewares.append(CSRFMiddleware())
    client = make_client(app)
    token = client.get("/token").text
    assert outcome(client, path="/nowhere", data={"csrf_token": token}) == 404
    assert outcome(client, path="/nowhere", data={"csrf_token": "x"}) == 403


@pytest.mark.parametrize(
    "sent", [{"data": {"to": "me"}}, {"data": {"to": "me"}, "files": {"file": b"x"}}, {"json": 5}]
)
def test_a_form_received_by_a_hook_is_received_once(
    make_client: MakeClient, sent: dict[str, Any]
) -> None:
    from micropie.middleware.base import FlowMiddleware

    class Reading(FlowMiddleware):
        def before(self, request: Any) -> Any:
            yield from find_field(request._exchange, "to")
            yield from find_field(request._exchange, "to")

    app = Root()
    app.middlewares += [Reading(), Reading()]
    client = make_client(app)
    found = client.post("/field", **sent).json()
    assert found == [None if "json" in sent else "me", [*sent.get("files", [])]]


def raw_wsgi(environ: Any, start_response: Any) -> Any:
    body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


async def raw_asgi(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message["body"], message.get("more_body", False)
    await respond(send, body, b"a/b")


class Reading(Root):
    @reads_body
    def raw(self) -> Any:
        return self.request.read()

    @reads_body
    async def stream(self) -> Any:
        return b"".join([piece async for piece in self.request.stream()])


def part(name: str, value: bytes, more: str = "") -> bytes:
    return (
        f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
        + value
        + b"\r\n"
    )


FILE = '; filename="f"'


@pytest.mark.parametrize("path", ["/asgi", "/wsgi", "/raw", "/stream"])
@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (FORM, b"csrf_token=TOKEN&b=" + b"b" * 3_000_000, 200),
        (FORM, b"a=%E4&csrf_token=TOKEN&b=", 200),
        (FORM, b"csrf_token=TOKEN", 200),
        (FORM, b"a=" + b"a" * 80_000 + b"&csrf_token=TOKEN&b=" + b"b" * 80_000, 200),
        (FORM, b"b=" + b"b" * 3_000_000 + b"&csrf_token=TOKEN", 403),
        (FORM, b"a=csrf_token=TOKEN", 403),
        (FORM, b"xcsrf_token=TOKEN&csrf_token=x&csrf_token=TOKEN", 403),
        (FORM, b"", 403),
        ("text/plain", b"csrf_token=TOKEN", 403),
        (
            "multipart",
            part("a", b"\xe4") + part("csrf_token", b"TOKEN") + part("f", b"f", FILE),
            200,
        ),
        ("multipart", part("csrf_token", b"TOKEN") + part("f", b"f" * 3_000_000, FILE), 200),
        ("multipart", part("f", b"f" * 80_000, FILE) + part("csrf_token", b"TOKEN"), 200),
        ("multipart", part("f", b"f" * 3_000_000, FILE) + part("csrf_token", b"TOKEN"), 403),
        ("multipart", part("csrf_token", b"TOKEN", FILE), 403),
        ("multipart", part("a", b"TOKEN"), 403),
        ("multipart", b"csrf_token=TOKEN\r\n", 403),
        ("multipart", b"csrf_token=TOKEN", 400),  # a boundary in the middle of a line
        ("multipart", b"csrf_token=TOKEN" * 300, 400),
    ],
)
def test_a_body_read_by_its_handler_is_unchanged(
    make_client: MakeClient, path: str, kind: str, body: bytes, status: int
) -> None:
    app = Reading()
    app.mount("/wsgi", raw_wsgi)
    app.mount("/asgi", raw_asgi)
    # the second one looks at the same beginning
    app.middlewares += [CSRFMiddleware(), CSRFMiddleware()]
    client = make_client(app)
    token = client.get("/token").text
    sent = body.replace(b"TOKEN", token.encode())
    if kind == "multipart":
        sent, kind = sent + b"--x--\r\n", "multipart/form-data; boundary=x"
    # as servers pass them on
    pieces = (sent[at : at + 64 * 1024] for at in range(0, len(sent), 64 * 1024))
    answer = client.post(
        path, content=pieces, headers={"Content-Type": kind, "Content-Length": str(len(sent))}
    )
    assert answer.status_code == status
    assert status != 200 or answer.content == sent
    assert (
        client.post(
            path, content=sent, headers={"Content-Type": kind, "X-CSRF-Token": token}
        ).content
        == sent
    )


# -- exempt paths, subtrees ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/hooks", 200),
        ("/hooks/", 200),
        ("/hooks/a/b", 200),
        ("/hook%73/a", 200),
        ("/deep/hooks/a", 200),
        ("/deep", 403),
        ("/deep/other", 403),
        ("/hooksy", 403),
        ("/HOOKS", 403),
        ("/pay", 403),
        ("/a/hooks", 403),
        ("/%2Fhooks", 403),
        ("/Xhooks", 200),
        ("/hooks_in_other_words", 403),
    ],
)
@pytest.mark.parametrize(
    "exempt", [["/hooks", "/deep/hooks", "/Xhooks"], ("/hooks/", "/deep/hooks/", "/Xhooks/")]
)
def test_exempt_paths_need_no_token(
    make_client: MakeClient, exempt: Any, path: str, status: int
) -> None:
    client = make_client(guarded(exempt=exempt))
    assert outcome(client, path=path, headers={"Origin": "https://evil.example"}) == status


@pytest.mark.parametrize(
    "target", ["/hooks/../pay", "/hooks/%2e%2e/pay", "/hooks/./../pay", "//hooks", "/hooks//x"]
)
def test_an_exempt_path_cannot_be_used_as_a_detour(make_client: MakeClient, target: str) -> None:
    client = make_client(guarded(exempt=["/hooks"]), validate=False)
    answer = client.post(
        "/", headers={"Origin": "https://evil.example"}, extensions={"target": target.encode()}
    )
    assert answer.status_code == 404


def test_an_escaped_slash_does_not_end_a_segment(make_client: MakeClient) -> None:
    client = make_client(guarded(exempt=["/hooks"]))
    assert outcome(client, path="/hooks%2Fa", headers={"Origin": "https://evil.example"}) == 403


def test_exempt_paths_are_relative_to_the_mount(make_client: MakeClient) -> None:
    client = make_client(guarded(exempt=["/hooks"]), root_path="/mount")
    evil = {"Origin": "https://evil.example"}
    assert outcome(client, path="/hooks/a", headers=evil) == 200
    assert outcome(client, path="/pay", headers=evil) == 403


def test_exempt_paths_have_the_prefix_of_an_inner_application(make_client: MakeClient) -> None:
    app = Root()
    app.mount("/shop", guarded(exempt=["/shop/hooks", "/deep/hooks"]))
    app.mount("/alone", guarded(exempt=["/hooks"]), isolated=True)
    client, evil = make_client(app), {"Origin": "https://evil.example"}
    for path, status in (("/shop/hooks", 200), ("/shop/deep/hooks", 403), ("/alone/hooks", 200)):
        assert outcome(client, path=path, headers=evil) == status


def test_an_inner_application_may_have_its_own_csrf_middleware(make_client: MakeClient) -> None:
    app, evil = Root(), {"Origin": "https://evil.example"}
    app.shop = guarded()
    client = make_client(app)
    assert outcome(client, path="/shop/pay", headers=evil) == 403
    assert outcome(client, path="/pay", headers=evil) == 200


def test_subdomains_may_be_trusted(make_client: MakeClient) -> None:
    client = make_client(guarded(trusted_origins=["https://*.example.com"]))
    for origin, status in {
        "https://a.example.com": 200,
        "https://example.com": 403,
        "https://b.example/.example.com": 403,  # no origin
    }.items():
        assert outcome(client, headers={"Origin": origin}) == status


# -- mistakes of the author ------------------------------------------------------------------------


@pytest.mark.parametrize("origin", [
    "null", "*", "", "example.com", "https://", "https://*.", "https://a.*.b", "https://a/", "https://a/b", "https://a b",
    "https://é.example", 5, None,
])  # fmt: skip
def test_invalid_origins_are_refused(origin: Any) -> None:
    with pytest.raises(SetupError, match="scheme and host, without a path") as caught:
        CSRFMiddleware(trusted_origins=[origin])
    assert repr(origin) in str(caught.value)


@pytest.mark.parametrize(
    "path", ["", "/", "hooks", "//", "/a//b", 5, None, "/a/*", "/a/<name>", "/{name}", "/a?b=c"]
)
def test_invalid_exempt_paths_are_refused(path: Any) -> None:
    with pytest.raises(SetupError) as caught:
        CSRFMiddleware(exempt=[path])
    advice = (
        'paths such as "/hooks/payments", without wildcards, because all paths under them are '
        "exempt (to exempt every path, leave CSRFMiddleware out)"
    )
    assert str(caught.value) == f"exempt takes {advice}, not {path!r}"


def test_a_string_is_refused_instead_of_a_list() -> None:
    with pytest.raises(SetupError, match=r'write exempt=\["/hooks"\]'):
        CSRFMiddleware(exempt="/hooks")
    with pytest.raises(SetupError, match=r'write trusted_origins=\["https://a.example"\]'):
        CSRFMiddleware(trusted_origins="https://a.example")


FRIEND = "https://friend.example"


@pytest.mark.parametrize("trusted", [[], [FRIEND]])
def test_cors_changes_no_decision_in_either_order(
    make_client: MakeClient, trusted: list[str]
) -> None:
    """Whether a page may read a response is one question, whether it may cause a change another."""
    cors = CORSMiddleware(origins=[FRIEND], credentials=True)
    csrf = CSRFMiddleware(trusted_origins=trusted)
    clients = []
    for middlewares in ([csrf], [cors, csrf], [csrf, cors]):
        app = Root()
        app.middlewares += middlewares
        clients.append(make_client(app))
    for origin, site, cookie in itertools.product(
        ("", FRIEND, "https://other.example", "null", "http://testserver"),
        ("", "same-origin", "same-site", "cross-site", "none"),
        ("", "a=1"),
    ):
        given = {"Origin": origin, "Sec-Fetch-Site": site, "Cookie": cookie}
        headers = {name: value for name, value in given.items() if value}
        alone, *both = [client.post("/pay", headers=headers) for client in clients]
        assert [answer.status_code for answer in both] == [alone.status_code] * 2
        allowed = [answer.headers.get("access-control-allow-origin") for answer in both]
        assert allowed == [FRIEND if origin == FRIEND else None] * 2
        is_trusted = origin == "http://testserver" or origin in trusted
        if site not in ("same-origin", "none") and origin and not is_trusted:
            assert alone.status_code == 403
