"""A site's protection in one line, and the warnings at the start of a site without it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from micropie import App, InMemorySessionBackend, SetupError, post
from micropie.middleware import (
    CSRFMiddleware,
    ProxyHeaders,
    SecurityDefaults,
    SecurityHeaders,
    TrustedHosts,
    csrf_token,
)
from tests.support.clients import MakeClient


class Site(App):
    def index(self) -> str:
        return "home"

    def form(self) -> str:
        return csrf_token(self.request)

    @post
    def write(self) -> str:
        self.request.session["a"] = 1
        return "written"

    def who(self) -> str:
        return f"{self.request.scheme} {self.request.client.host if self.request.client else None}"


# -- one line --------------------------------------------------------------------------------------


def test_security_defaults_checks_hosts_adds_headers_and_protects_forms_and_cookie(
    make_client: MakeClient,
) -> None:
    app = Site(security=SecurityDefaults("example.com", csp="default-src 'self'"))
    client = make_client(app, base_url="https://example.com")
    answer = client.get("/")
    assert {
        name: answer.headers.get(name) for name in ("x-frame-options", "content-security-policy")
    } == {
        "x-frame-options": "DENY",
        "content-security-policy": "default-src 'self'",
    }
    assert answer.headers["strict-transport-security"] == "max-age=31536000"
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    token = client.get("/form").text
    assert client.post("/write").status_code == 403
    assert client.post("/write", headers={"Origin": "https://evil.example"}).status_code == 403
    written = client.post("/write", data={"csrf_token": token})
    assert written.text == "written"
    assert written.headers["set-cookie"].startswith("__Host-session_id=")


def test_other_protections_can_be_configured_in_the_same_line(make_client: MakeClient) -> None:
    security = SecurityDefaults(
        "example.com",
        proxies=["127.0.0.1"],
        hsts=None,
        trusted_origins=["https://accounts.example.com"],
        exempt=["/write"],
    )
    app = Site(security=security, session_cookie="own")
    client = make_client(app, base_url="http://example.com")
    behind_proxy = {"X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
    answer = client.get("/who", headers=behind_proxy)
    assert answer.text == "https 192.0.2.7"
    assert "strict-transport-security" not in answer.headers
    assert (
        client.post("/write", headers={"Origin": "https://evil.example"})
        .headers["set-cookie"]
        .startswith("own=")
    )
    assert client.post("/", headers={"Origin": "https://accounts.example.com"}).status_code != 403
    assert client.post("/", headers={"Origin": "https://evil.example"}).status_code == 403


def test_security_defaults_run_before_the_author_s_middleware(make_client: MakeClient) -> None:
    def own(request: Any) -> Iterator[None]:
        yield

    class Hooked(Site):
        middlewares: list[Any] = [own]  # noqa: RUF012 - copied for each application

    app = Hooked(security=SecurityDefaults("testserver", proxies=["127.0.0.1"]))
    kinds = [type(hook) for hook in app.middlewares[:-1]]
    assert kinds == [ProxyHeaders, TrustedHosts, SecurityHeaders, CSRFMiddleware]
    assert app.middlewares[-1] is own
    assert make_client(app).get("/").text == "home"


@pytest.mark.parametrize(
    "wrong", [True, "example.com", SecurityDefaults, TrustedHosts("example.com")]
)
def test_an_invalid_security_setting_is_refused(wrong: Any) -> None:
    with pytest.raises(SetupError, match="security takes SecurityDefaults"):
        Site(security=wrong)


def test_security_defaults_need_a_host() -> None:
    with pytest.raises(SetupError, match="SecurityDefaults needs the hosts"):
        SecurityDefaults()  # type: ignore[call-arg]


def test_two_backends_cannot_share_a_host_cookie() -> None:
    app: Any = Site(security=SecurityDefaults("testserver"))
    app.inner = Site(InMemorySessionBackend())
    with pytest.raises(SetupError, match="Site has its own session backend"):
        app._micropie.compiled()
    app.inner = Site(InMemorySessionBackend(), session_cookie="__Host-inner")
    app._micropie.compiled()


# -- the warnings ----------------------------------------------------------------------------------


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what was logged about missing security so far."""
    caplog.set_level(logging.WARNING, "micropie.security")
    return lambda: [
        record.getMessage() for record in caplog.records if record.name == "micropie.security"
    ]


def test_a_site_with_sessions_is_warned_at_startup_about_missing_protection(
    make_client: MakeClient, warned: Callable[[], list[str]]
) -> None:
    client = make_client(Site(InMemorySessionBackend(), session_cookie="session_id"))
    client.get("/")
    client.get("/")
    assert warned() == [
        f"Site has sessions and {what} (docs/security.md)"
        for what in (
            "has no TrustedHosts, so the site accepts any Host header and uses this host in links",
            "has no CSRFMiddleware: pages of other sites can submit forms to it",
            "has no SecurityHeaders: other sites can frame its pages, and browsers may use plain http",
            "lets other hosts of its domain set the session cookie: leave out the setting "
            'session_cookie, or begin its value with the prefix "__Host-"',
        )
    ]


@pytest.mark.parametrize(
    ("settings", "middlewares", "what"),
    [
        ({}, [SecurityHeaders(hsts=None)], "has no hsts in SecurityHeaders"),
        (
            {"session_cookie": "__Secure-id"},
            [SecurityHeaders(hsts=0)],
            "has no hsts in SecurityHeaders",
        ),
        (
            {"session_cookie_secure": False},
            [SecurityHeaders()],
            "sends the session cookie over plain http",
        ),
    ],
)
def test_disabled_protection_is_named_in_the_warning(
    make_client: MakeClient,
    warned: Callable[[], list[str]],
    settings: Any,
    middlewares: list[Any],
    what: str,
) -> None:
    app = Site(InMemorySessionBackend(), **settings)
    app.middlewares += [TrustedHosts("testserver"), CSRFMiddleware(), *middlewares]
    make_client(app).get("/")
    assert [message.startswith(f"Site has sessions and {what}") for message in warned()] == [True]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Site(InMemorySessionBackend(), security=SecurityDefaults("testserver")),
        lambda: Site(InMemorySessionBackend(), security=False),
        lambda: Site(InMemorySessionBackend(), debug=True),
        Site,
    ],
    ids=["SecurityDefaults", "False", "debug", "no sessions are kept"],
)
def test_sites_without_sessions_get_no_warning(
    make_client: MakeClient, warned: Callable[[], list[str]], make: Any
) -> None:
    assert make_client(make()).get("/").text == "home"
    assert warned() == []


def test_an_inner_application_s_protection_counts(
    make_client: MakeClient, warned: Callable[[], list[str]]
) -> None:
    class Root(App):
        inner = Site(InMemorySessionBackend(), session_cookie="__Host-inner")

    app: Any = Root(session_cookie="__Host-id")
    app.inner.middlewares += [TrustedHosts("testserver"), CSRFMiddleware(), SecurityHeaders()]
    assert make_client(app).get("/inner").text == "home"
    assert warned() == []
