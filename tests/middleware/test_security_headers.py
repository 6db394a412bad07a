"""SecurityHeaders: the headers of every answer, unless its handler set them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from micropie import App, HTTPError, HttpMiddleware, Response, SetupError
from micropie.middleware import ProxyHeaders, SecurityHeaders
from tests.support.clients import MakeClient

DEFAULTS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cross-origin-opener-policy": "same-origin",
}
# Of any answer. Every other header is one of the middleware's: a new one has to be named in the
# tests below.
USUAL = {"vary", "content-type", "content-length"}
HTTPS = "https://testserver"


class Root(App):
    def index(self) -> Any:
        return "index"

    def crashes(self) -> Any:
        raise RuntimeError("secret")

    def fails(self) -> Any:
        raise HTTPError(410, "gone")

    async def streams(self) -> Any:
        yield "a"

    def framed(self) -> Any:
        self.response.headers["x-frame-options"] = "SAMEORIGIN"
        return Response(
            "x",
            headers={"CONTENT-SECURITY-POLICY": "own", "strict-transport-security": "max-age=1"},
        )

    def framed_stream(self) -> Any:
        yield from self._framed()

    async def framed_async_stream(self) -> Any:
        for chunk in self._framed():
            yield chunk

    def _framed(self) -> Any:
        self.response.headers["x-frame-options"] = "SAMEORIGIN"
        self.response.headers["Content-Security-Policy"] = "own"
        yield "a"

    def nonce(self) -> Any:
        return self.request.state.csp_nonce


def careful(**options: Any) -> Root:
    app = Root()
    app.middlewares.append(SecurityHeaders(**options))
    return app


def said(answer: Any) -> dict[str, str]:
    return {name: ", ".join(answer.headers.get_list(name)) for name in {*answer.headers} - USUAL}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/crashes", 500),
        ("/fails", 410),
        ("/nowhere", 404),
        ("/%ff", 400),
        ("/streams", 200),
    ],
)
def test_every_response_has_each_security_header_once(
    make_client: MakeClient, path: str, status: int
) -> None:
    client = make_client(careful(), validate=False)
    for method in ("GET", "HEAD"):
        answer = client.request(method, "/", extensions={"target": path.encode()})
        assert (answer.status_code, said(answer)) == (status, DEFAULTS)


def test_an_early_response_of_other_middleware_has_security_headers(
    make_client: MakeClient,
) -> None:
    class Refusing(HttpMiddleware):
        def before_request(self, request: Any) -> Any:
            return {"status_code": 401}

    app = careful(csp="script-src 'nonce-{nonce}'")
    app.middlewares.insert(0, Refusing())
    policy = said(make_client(app).get("/"))["content-security-policy"]
    assert re.fullmatch(r"script-src 'nonce-[\w-]{22}'", policy)


def test_hsts_is_only_sent_over_https(make_client: MakeClient) -> None:
    client = make_client(careful())
    assert said(client.get(HTTPS + "/"))["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in client.get("http://testserver/").headers


def test_behind_a_proxy_https_comes_from_the_proxy(make_client: MakeClient) -> None:
    app = careful()
    app.middlewares.insert(0, ProxyHeaders(trusted=["127.0.0.1"]))
    client = make_client(app)
    sentence = "strict-transport-security"
    assert sentence in client.get("/", headers={"X-Forwarded-Proto": "https"}).headers


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"hsts": 0}, {**DEFAULTS, "strict-transport-security": "max-age=0"}),
        ({"hsts": None, "hsts_subdomains": True}, DEFAULTS),
        (
            {"hsts": 60, "hsts_subdomains": True},
            {**DEFAULTS, "strict-transport-security": "max-age=60; includeSubDomains"},
        ),
        (
            {"hsts": None, "frame": None, "referrer": None, "opener": None},
            {"x-content-type-options": "nosniff"},
        ),
        (
            {
                "hsts": None,
                "frame": "SAMEORIGIN",
                "referrer": "no-referrer",
                "opener": "unsafe-none",
                "permissions": "camera=(), geolocation=()",
                "csp": """
                    default-src 'self';
                    img-src 'self' data:
                """,
            },
            {
                "x-content-type-options": "nosniff",
                "x-frame-options": "SAMEORIGIN",
                "referrer-policy": "no-referrer",
                "cross-origin-opener-policy": "unsafe-none",
                "permissions-policy": "camera=(), geolocation=()",
                "content-security-policy": "default-src 'self'; img-src 'self' data:",
            },
        ),
    ],
)
def test_security_headers_have_their_default_values(
    make_client: MakeClient, options: Any, expected: dict[str, str]
) -> None:
    assert said(make_client(careful(**options)).get(HTTPS + "/")) == expected


def test_headers_of_the_handler_are_not_replaced(make_client: MakeClient) -> None:
    answer = make_client(careful(csp="default-src 'self'")).get(HTTPS + "/framed")
    own = {
        "x-frame-options": "SAMEORIGIN",
        "content-security-policy": "own",
        "strict-transport-security": "max-age=1",
    }
    assert said(answer) == DEFAULTS | own


@pytest.mark.parametrize("path", ["/framed_stream", "/framed_async_stream"])
def test_headers_of_a_generator_are_not_replaced(make_client: MakeClient, path: str) -> None:
    client = make_client(careful(csp="default-src 'self'"))
    own = {"x-frame-options": "SAMEORIGIN", "content-security-policy": "own"}
    for method in ("GET", "HEAD"):
        assert said(client.request(method, path)) == DEFAULTS | own


def test_each_request_has_its_own_nonce(make_client: MakeClient) -> None:
    client = make_client(careful(csp="script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"))
    seen = set()
    for _ in range(3):
        answer = client.get("/nonce")
        nonce = answer.text
        assert re.fullmatch(r"[\w-]{22}", nonce)
        found = said(answer)["content-security-policy"]
        assert found == f"script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'"
        seen.add(nonce)
    assert len(seen) == 3


class Versioned(App):
    def index(self) -> Any:
        if self.request.not_modified(etag="1"):
            return None
        return f"<script nonce={getattr(self.request.state, 'csp_nonce', '')}>"


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("script-src 'nonce-{nonce}'", None, None),
        ("script-src 'nonce-{nonce}'", "default-src 'none'", None),
        ("default-src 'self'", "script-src 'nonce-{nonce}'", None),
        ("default-src 'self'", "default-src 'none'", "default-src 'self'"),
        (None, "default-src 'none'", "default-src 'none'"),
        (None, None, None),
    ],
)
def test_a_304_does_not_change_the_nonce_of_the_page_that_the_browser_has(
    make_client: MakeClient, inner: str | None, outer: str | None, expected: str | None
) -> None:
    """The browser puts the headers of a 304 in place of those that came with its copy of the page
    (RFC 9111, section 3.2), and would no longer run the scripts of the page.
    """
    app: Any = Root()
    app.middlewares.append(SecurityHeaders(csp=outer))
    app.inner = Versioned()
    app.inner.middlewares.append(SecurityHeaders(csp=inner))
    client = make_client(app)
    page = client.get("/inner")
    assert ("content-security-policy" in page.headers) == (inner is not None or outer is not None)
    known = client.get("/inner", headers={"If-None-Match": page.headers["etag"]})
    assert (known.status_code, known.headers["x-frame-options"]) == (304, "DENY")
    assert known.headers.get("content-security-policy") == expected


def test_without_a_nonce_in_the_policy_none_is_made(make_client: MakeClient) -> None:
    client = make_client(careful(csp="default-src 'self'"), raise_app_exceptions=False)
    assert client.get("/nonce").status_code == 500


def test_an_inner_application_s_policy_overrides_the_outer_one(
    make_client: MakeClient,
) -> None:
    app = careful(csp="script-src 'nonce-{nonce}'")
    app.inner = careful(csp="default-src 'none'; script-src 'nonce-{nonce}'", frame="SAMEORIGIN")
    client = make_client(app)
    answer = client.get("/inner/nonce")
    found = said(answer)["content-security-policy"]
    assert found == f"default-src 'none'; script-src 'nonce-{answer.text}'"
    assert said(answer)["x-frame-options"] == "SAMEORIGIN"
    assert said(client.get("/"))["x-frame-options"] == "DENY"


def test_an_inner_application_may_have_its_own_security_headers(make_client: MakeClient) -> None:
    app = Root()
    app.inner = careful()
    client = make_client(app)
    by_default = {"x-content-type-options": "nosniff"}
    assert (said(client.get("/inner")), said(client.get("/"))) == (DEFAULTS, by_default)


def test_R17_security_headers_do_not_leak_into_the_next_response(make_client: MakeClient) -> None:
    same = Response("x", headers={"X-Kept": "1"})

    class Keeping(App):
        def index(self) -> Any:
            return same

    app = Keeping()
    app.middlewares.append(SecurityHeaders(csp="script-src 'nonce-{nonce}'"))
    client = make_client(app)
    policies = {said(client.get("/"))["content-security-policy"] for _ in range(3)}
    assert len(policies) == 3
    assert "strict-transport-security" in client.get(HTTPS + "/").headers
    assert "strict-transport-security" not in client.get("/").headers
    assert same.headers.pairs == [("X-Kept", "1")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hsts": -1}, "hsts takes a number of seconds"),
        ({"hsts": True}, "hsts takes a number of seconds"),
        ({"hsts": "1"}, "hsts takes a number of seconds"),
        ({"frame": "deny"}, "DENY, SAMEORIGIN, or None"),
        ({"frame": "ALLOW-FROM https://a.example"}, "DENY, SAMEORIGIN, or None"),
        ({"referrer": "origin-only"}, "strict-origin-when-cross-origin"),
        ({"opener": "same-site"}, "same-origin-allow-popups"),
        ({"csp": "script-src 'nonce-€'"}, "csp: header 'csp' has"),
        ({"csp": "script-src nonce-{nonce}"}, "script-src 'nonce-{nonce}'"),
        ({"csp": "script-src 'nonce-{nonce}' {nonce}"}, "script-src 'nonce-{nonce}'"),
        ({"csp": ["default-src 'self'"]}, "csp takes a string, not"),
        ({"permissions": "a\x00"}, "permissions: header 'permissions' has"),
    ],
)
def test_values_that_browsers_would_not_understand_are_refused(options: Any, says: str) -> None:
    with pytest.raises(SetupError, match=re.escape(says)):
        SecurityHeaders(**options)
