"""The tests of the extension, with a provider on a real server, under WSGI, asyncio and trio."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from examples.oidc.micropie_oidc import OpenIDConnect
from examples.oidc.tests.provider import (
    CLIENT,
    REDIRECT_URI,
    SECRET,
    Provider,
    Served,
    elliptic_key,
    provider_at_work,
    query_of,
)
from micropie import App, SetupError, WebSocket, get, post, requires
from micropie.testing import TestClient, WebSocketRefused
from tests.support.waiting import PATIENCE, until

ROOT = Path(__file__).parents[3]
AGAIN = "Please log in again."
UNUSABLE = "The log-in failed: the answer of the provider can't be used."
OUT_OF_REACH = "The log-in is unavailable. Please try again in a moment."

Connect = Callable[[App], TestClient]

# The provider uses http, so don't read the certificates, which takes longer than a log-in. Keep no
# connection open, because each provider runs only for a short time.
BROWSER = httpx.Client(
    trust_env=False, verify=False, limits=httpx.Limits(max_keepalive_connections=0)
)


@pytest.fixture(autouse=True)
def no_certificate_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the extension's own client from reading certificates as well."""
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))


@pytest.fixture
def served() -> Iterator[Served]:
    with provider_at_work() as served:
        yield served


@pytest.fixture
def provider(served: Served) -> Provider:
    return served.app


@pytest.fixture(
    params=[{"protocol": "wsgi"}, {"backend": "asyncio"}, {"backend": "trio"}],
    ids=["wsgi", "asyncio", "trio"],
)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Return a function ``connect(app)`` that returns a client for an application, under WSGI,
    asyncio or trio.
    """
    with ExitStack() as clients:
        yield lambda app: clients.enter_context(
            TestClient(app, app_timeout=PATIENCE, follow_redirects=False, **request.param)
        )


# The functions that check the provider's responses don't depend on the protocol and the event loop,
# so their tests run only under asyncio.
in_one_world = pytest.mark.parametrize("connect", [{"backend": "asyncio"}], indirect=True)


def shop(provider: Provider, **options: Any) -> App:
    values = {"client_secret": SECRET, "redirect_uri": REDIRECT_URI, "patience": PATIENCE}
    login = OpenIDConnect(provider.issuer, CLIENT, **{**values, **options})

    class Shop(App):
        def index(self) -> dict[str, Any]:
            return login.user_of(self.request) or {}

        @get
        @requires(login.users)
        def account(self) -> str:
            return "your account"

        @post
        @requires(login.users)
        def buy(self) -> str:
            return "bought"

        @requires(login.users)
        async def ws_news(self, ws: WebSocket) -> None:
            await ws.accept()

        @post
        def fill(self, pie: str) -> str:
            self.request.session["cart"] = pie
            return pie

        def cart(self) -> str:
            return str(self.request.session.get("cart"))

    app = Shop(security=False)
    login.install(app)
    return app


def begun(client: TestClient, **query: str) -> str:
    """Begin a log-in, and return the provider's URL to which the browser is redirected."""
    answer = client.get("/login", params=query)
    assert answer.status_code == 303, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer.headers["Location"]


def let_in(location: str) -> str:
    """Log the user in at the provider, and return the path to which the browser is redirected."""
    answer = BROWSER.get(location)
    assert answer.status_code == 303, answer.text
    back = answer.headers["Location"]
    assert back.startswith(f"{REDIRECT_URI}?")
    return back.removeprefix("https://shop.example")


def logged_in(client: TestClient, **query: str) -> Any:
    """Log in, and return the callback's response."""
    return client.get(let_in(begun(client, **query)))


def refusal(client: TestClient) -> tuple[int, str]:
    """Try to log in, which must fail. Return the status and the text of the response."""
    answer = logged_in(client)
    assert client.get("/").json() == {}
    return answer.status_code, answer.text


# -- what works ----------------------------------------------------------------------------------


def test_a_user_logs_in_and_out(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider, after_log_out="https://shop.example/bye"))
    answer = client.get("/account?a=1&b=%26")
    assert answer.status_code == 303
    location = client.get(answer.headers["Location"]).headers["Location"]
    asked = query_of(location)
    assert (asked["redirect_uri"], asked["code_challenge_method"]) == (REDIRECT_URI, "S256")
    answer = client.get(let_in(location))
    assert (answer.status_code, answer.headers["Location"]) == (303, "/account?a=1&b=%26")
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get("/account").text == "your account"
    assert client.post("/buy").text == "bought"
    assert client.get("/").json() == {"sub": "ann", "name": "Ann <b>"}
    answer = client.post("/login/out")
    assert answer.status_code == 303
    assert client.get("/").json() == {}
    assert BROWSER.get(answer.headers["Location"]).text == "bye"
    [ended] = provider.ended
    assert ended["id_token_hint"].count(".") == 2
    assert ended["post_logout_redirect_uri"] == "https://shop.example/bye"
    assert client.get("/account").status_code == 303


def test_the_session_has_a_new_id_and_keeps_what_was_in_it(
    connect: Connect, provider: Provider
) -> None:
    client = connect(shop(provider))
    client.post("/fill", data={"pie": "plum"})
    planted = {"Cookie": f"session_id={client.cookies['session_id']}"}
    logged_in(client)
    assert client.get("/").json()["sub"] == "ann"
    assert client.get("/cart").text == "plum"
    client.cookies.clear()
    assert client.get("/", headers=planted).json() == {}
    assert client.get("/cart", headers=planted).text == "None"


def test_another_user_of_the_browser_finds_nothing_of_the_first(
    connect: Connect, provider: Provider
) -> None:
    client = connect(shop(provider))
    logged_in(client)
    client.post("/fill", data={"pie": "plum"})
    logged_in(client)
    assert client.get("/cart").text == "plum"
    provider.subject = "bob"
    logged_in(client)
    assert client.get("/").json()["sub"] == "bob"
    assert client.get("/cart").text == "None"


def test_each_tab_has_its_own_log_in_and_the_oldest_is_forgotten(
    connect: Connect, provider: Provider
) -> None:
    client = connect(shop(provider))
    backs = [let_in(begun(client, next=f"/?tab={number}")) for number in range(6)]
    answers = [client.get(back) for back in backs]
    assert [one.headers.get("Location") for one in answers] == [
        None,
        *(f"/?tab={number}" for number in range(1, 6)),
    ]
    assert answers[0].status_code == 400


def test_what_is_no_page_gets_401(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    for answer in (
        client.post("/buy"),
        client.get("/account", headers={"Accept": "application/json"}),
    ):
        assert (answer.status_code, "Please log in." in answer.text) == (401, True)
        assert answer.headers["WWW-Authenticate"] == "OpenIDConnect"
    assert provider.asked == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_websocket_is_for_users(provider: Provider, backend: str) -> None:
    with TestClient(shop(provider), backend=backend, follow_redirects=False) as client:
        with pytest.raises(WebSocketRefused, match="Please log in"), client.websocket("/news"):
            pass
        logged_in(client)
        with client.websocket("/news"):
            pass


def test_a_check_above_the_application_leaves_the_log_in_open(
    connect: Connect, provider: Provider
) -> None:
    login = OpenIDConnect(
        provider.issuer, CLIENT, client_secret=SECRET, redirect_uri=REDIRECT_URI, patience=PATIENCE
    )

    @requires(login.users)
    class Closed(App):
        def index(self) -> str:
            return "inside"

    app = Closed(security=False)
    login.install(app)
    client = connect(app)
    assert client.get("/").headers["Location"].startswith("/login/?next=")
    assert client.get("/login/nothing").status_code == 404
    assert client.get("/nothing").status_code == 303
    logged_in(client)
    assert client.get("/").text == "inside"


def test_links_and_next_know_where_the_application_is_mounted(
    connect: Connect, provider: Provider
) -> None:
    provider.redirect_uri = "https://shop.example/inner/login/callback"
    outer = App(security=False)
    outer.mount("/inner", shop(provider, redirect_uri=provider.redirect_uri))
    client = connect(outer)
    answer = client.get("/inner/account?x=1")
    assert answer.headers["Location"] == "/inner/login/?next=%2Finner%2Faccount%3Fx%3D1"
    location = client.get("/inner/login").headers["Location"]
    back = BROWSER.get(location).headers["Location"]
    answer = client.get(back.removeprefix("https://shop.example"))
    assert answer.headers["Location"] == "/inner/"


@in_one_world
@pytest.mark.parametrize("way", ["client_secret_post", "public"])
def test_other_ways_to_name_the_client(connect: Connect, provider: Provider, way: str) -> None:
    secret: str | None = SECRET
    if way == "public":
        provider.client_secret = secret = None
    else:
        provider.document["token_endpoint_auth_methods_supported"] = [way]
    client = connect(shop(provider, client_secret=secret))
    logged_in(client)
    assert client.get("/").json()["sub"] == "ann"


@in_one_world
@pytest.mark.parametrize("algorithm", ["PS256", "ES256"])
def test_other_signatures(connect: Connect, provider: Provider, algorithm: str) -> None:
    provider.algorithm = algorithm
    if algorithm == "ES256":
        provider.keys = [elliptic_key()]
    client = connect(shop(provider))
    logged_in(client)
    assert client.get("/").json()["sub"] == "ann"


@in_one_world
def test_the_secret_signs_only_if_that_is_stated(connect: Connect, provider: Provider) -> None:
    provider.algorithm = "HS256"
    assert refusal(connect(shop(provider))) == (502, UNUSABLE)
    client = connect(shop(provider, algorithms=["HS256"]))
    logged_in(client)
    assert client.get("/").json()["sub"] == "ann"


@in_one_world
def test_claims_that_are_allowed(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    now = int(time.time())
    for claims in (
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "other"], "azp": CLIENT},
        {"exp": now - 30, "iat": now - 30.5},
        {"iat": now + 30, "nbf": now + 30},
    ):
        provider.claims = claims
        assert logged_in(client).status_code == 303, claims


# -- attacks on the browser's side ---------------------------------------------------------------


def test_an_answer_is_taken_once(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    back = let_in(begun(client))
    assert client.get(back).status_code == 303
    asked = len(provider.asked)
    answer = client.get(back)
    assert (answer.status_code, AGAIN in answer.text) == (400, True)
    assert len(provider.asked) == asked
    assert client.get("/").json()["sub"] == "ann"  # she is still logged in


def test_an_answer_of_another_browser_is_refused(connect: Connect, provider: Provider) -> None:
    app = shop(provider)
    attacker, victim = connect(app), connect(app)
    back = let_in(begun(attacker))
    begun(victim)
    answer = victim.get(back)
    assert (answer.status_code, AGAIN in answer.text) == (400, True)
    assert victim.get("/").json() == {}
    assert attacker.get(back).status_code == 303  # the response itself was valid


def test_a_code_of_another_browser_is_refused(connect: Connect, provider: Provider) -> None:
    app = shop(provider)
    attacker, victim = connect(app), connect(app)
    code = query_of(let_in(begun(attacker)))["code"]
    own = query_of(let_in(begun(victim)))
    answer = victim.get("/login/callback", params={**own, "code": code})
    assert (answer.status_code, AGAIN in answer.text) == (400, True)  # PKCE prevents this
    assert victim.get("/").json() == {}


def test_a_code_is_redeemed_once(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    first = query_of(let_in(begun(client)))
    second = query_of(begun(client))
    assert client.get("/login/callback", params=first).status_code == 303
    replayed = {**first, "state": second["state"]}
    answer = client.get("/login/callback", params=replayed)
    assert (answer.status_code, AGAIN in answer.text) == (400, True)


@in_one_world
def test_a_wrong_nonce_is_refused(connect: Connect, provider: Provider) -> None:
    provider.claims["nonce"] = "of another log-in"
    status, text = refusal(connect(shop(provider)))
    assert (status, AGAIN in text) == (400, True)
    provider.claims["nonce"] = None
    assert refusal(connect(shop(provider)))[0] == 400


@in_one_world
def test_an_answer_of_another_issuer_is_refused(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    for changed in ({"iss": "https://evil.example"}, {"iss": ""}, {}):
        query = query_of(let_in(begun(client)))
        del query["iss"]
        asked = provider.asked.count("/token")
        answer = client.get("/login/callback", params={**query, **changed})
        assert (answer.status_code, "another provider" in answer.text) == (400, True)
        assert provider.asked.count("/token") == asked  # the code was not sent to this provider
    provider.document["authorization_response_iss_parameter_supported"] = False
    client = connect(shop(provider))
    query = query_of(let_in(begun(client)))
    del query["iss"]
    assert client.get("/login/callback", params=query).status_code == 303


def test_two_providers_of_one_application_are_kept_apart(
    connect: Connect, provider: Provider
) -> None:
    app = shop(provider)
    other = OpenIDConnect(
        provider.issuer, CLIENT, redirect_uri="https://shop.example/other/callback"
    )
    other.install(app, "/other")
    client = connect(app)
    back = let_in(begun(client))
    answer = client.get(back.replace("/login/", "/other/"))
    assert (answer.status_code, AGAIN in answer.text) == (400, True)
    assert client.get(back).status_code == 303


AWAY = [
    "https://evil.example/",
    "//evil.example/",
    "/\\evil.example/",
    "\\/evil.example",
    "/a\\b",
    "/\t/evil.example/",
    "/a\r\nSet-Cookie: a=b",
    " /account",
    "account",
    "javascript:alert(1)",
    "/" + "a" * 5000,
]


@in_one_world
def test_next_leads_to_this_site_alone(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    for target in AWAY:
        answer = client.get("/login", params={"next": target})
        refused = 400, "The value of next is no path of this site."
        assert (target, answer.status_code, answer.text) == (target, *refused)
        assert "set-cookie" not in answer.headers


@in_one_world
def test_next_is_any_path_of_this_site(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    for target in ("/", "/a?next=//evil.example", "/a//b", "/caf%C3%A9"):
        answer = logged_in(client, next=target)
        assert (answer.status_code, answer.headers["Location"]) == (303, target)
    assert logged_in(client, next="/é").headers["Location"] == "/%C3%A9"


def test_an_answer_without_a_log_in_is_refused(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    for query in ({}, {"state": ""}, {"state": "x", "code": "y"}, {"error": "x"}):
        answer = client.get("/login/callback", params=query)
        assert (query, answer.status_code, AGAIN in answer.text) == (query, 400, True)
    assert provider.asked == []


@in_one_world
def test_an_answer_without_a_code_is_refused(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    query = query_of(let_in(begun(client)))
    del query["code"]
    answer = client.get("/login/callback", params=query)
    assert (answer.status_code, "has no code" in answer.text) == (400, True)


# -- wrong tokens --------------------------------------------------------------------------------


WRONG_CLAIMS: list[dict[str, Any]] = [
    {"iss": "https://evil.example"},
    {"iss": None},
    {"aud": "other"},
    {"aud": None},
    {"aud": []},
    {"aud": f"{CLIENT} other"},
    {"aud": {CLIENT: 1}},
    {"aud": ["other"], "azp": CLIENT},
    {"aud": [CLIENT, "other"]},
    {"azp": "other"},
    {"exp": 1_000_000_000},
    {"exp": None},
    {"exp": "9999999999"},
    {"exp": True},
    {"exp": float("nan")},
    {"iat": 1_000_000_000},
    {"iat": 99_999_999_999},
    {"iat": 10**400},
    {"iat": None},
    {"nbf": 99_999_999_999},
    {"nbf": "soon"},
    {"sub": None},
    {"sub": ""},
    {"sub": 5},
    {"sub": "a" * 256},
]


@in_one_world
def test_a_token_with_wrong_claims_is_refused(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    for claims in WRONG_CLAIMS:
        provider.claims = claims
        assert (claims, *refusal(client)) == (claims, 502, UNUSABLE)
    provider.claims = {}
    assert logged_in(client).status_code == 303


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


ALTERED: dict[str, Callable[[str], Any]] = {
    "other alg": lambda token: encoded('{"alg":"other"}') + token[token.index(".") :],
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "two parts": lambda token: token.rpartition(".")[0],
    "header": lambda token: "A" + token[1:],
    "signature": lambda token: token[:-8] + "AAAAAAAA",
    "claims": lambda token: ".".join([token.split(".")[0], "e30", token.split(".")[2]]),
    "no text": lambda token: "é",
    "empty": lambda token: "",
    "null": lambda token: None,
    "list": lambda token: [token],
    "alg list": lambda token: f"{encoded(json.dumps({'alg': ['RS256']}))}.e30.AAAA",
    "header list": lambda token: f"{encoded('[]')}.e30.AAAA",
    "deep": lambda token: f"{encoded('[' * 2_000)}.e30.AAAA",
}


@in_one_world
def test_a_token_that_is_not_genuine_is_refused(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    for name, altered in ALTERED.items():
        provider.altered = altered
        assert (name, *refusal(client)) == (name, 502, UNUSABLE)
    provider.altered = lambda token: token
    assert logged_in(client).status_code == 303


@in_one_world
def test_a_public_key_is_no_secret(connect: Connect, provider: Provider) -> None:
    """HS256 is checked with the client's secret, though the token names a published key."""
    provider.algorithm = "HS256"
    assert refusal(connect(shop(provider))) == (502, UNUSABLE)
    both = {"algorithms": ["RS256", "HS256"]}
    assert logged_in(connect(shop(provider, **both))).status_code == 303
    assert refusal(connect(shop(provider, client_secret="another", **both))) == (502, UNUSABLE)


@in_one_world
def test_a_published_secret_is_no_key(connect: Connect, provider: Provider) -> None:
    provider.algorithm = "HS256"
    provider.published = [{"kty": "oct", "k": "c2VzYW1l", "kid": provider.keys[0].kid}]
    assert refusal(connect(shop(provider))) == (502, UNUSABLE)


# -- keys ----------------------------------------------------------------------------------------


@in_one_world
def test_new_keys_are_fetched_but_not_for_each_token(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider, keys_every=1e-9))
    logged_in(client)
    logged_in(client)
    assert provider.asked.count("/jwks") == 1
    provider.rotate()
    logged_in(client)
    assert client.get("/").json()["sub"] == "ann"
    assert provider.asked.count("/jwks") == 2

    client = connect(shop(provider, keys_every=3600))
    logged_in(client)
    client.post("/login/out")
    asked = provider.asked.count("/jwks")
    provider.rotate()
    assert [refusal(client) for _ in range(3)] == [(502, UNUSABLE)] * 3
    assert provider.asked.count("/jwks") == asked


def test_keys_and_addresses_are_fetched_anew_after_some_time(
    connect: Connect, provider: Provider
) -> None:
    client, patient = (
        connect(shop(provider, refresh_every=seconds, keys_every=3600)) for seconds in (1e-9, 3600)
    )
    withdrawn = provider.keys
    for browser in (client, patient):
        logged_in(browser)
        browser.post("/login/out")
    provider.published = [elliptic_key().as_dict(private=False)]
    assert provider.keys == withdrawn
    assert refusal(client) == (502, UNUSABLE)
    assert logged_in(patient).status_code == 303
    provider.document["authorization_endpoint"] = "https://new.example/authorize"
    assert begun(client).startswith("https://new.example/")
    assert not begun(patient).startswith("https://new.example/")


@in_one_world
def test_an_unknown_key_withdraws_others(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider, keys_every=1e-9))
    logged_in(client)
    client.post("/login/out")
    old = provider.keys
    provider.rotate()
    logged_in(client)
    client.post("/login/out")
    provider.published = [one.as_dict(private=False) for one in provider.keys]
    provider.keys = old
    assert refusal(client) == (502, UNUSABLE)


@in_one_world
def test_an_unknown_key_is_refused(connect: Connect, provider: Provider) -> None:
    provider.header["kid"] = "unknown"
    assert refusal(connect(shop(provider))) == (502, UNUSABLE)


@in_one_world
def test_a_token_may_leave_out_the_only_key(connect: Connect, provider: Provider) -> None:
    provider.header["kid"] = None
    client = connect(shop(provider))
    logged_in(client)
    assert client.get("/").json()["sub"] == "ann"
    provider.published = [one.as_dict(private=False) for one in (*provider.keys, elliptic_key())]
    assert refusal(connect(shop(provider))) == (502, UNUSABLE)


@in_one_world
def test_keys_of_other_kinds_do_not_matter(connect: Connect, provider: Provider) -> None:
    right = provider.keys[0].as_dict(private=False)
    provider.published = [
        {"kty": "of 2040", "kid": "new"},
        {"kty": "RSA", "n": "!", "kid": "broken"},
        {"kty": "EC", "crv": "P-9", "x": "a", "y": "b"},
        {},
        None,
        "key",
        right,
    ]
    client = connect(shop(provider))
    logged_in(client)
    assert client.get("/").json()["sub"] == "ann"
    provider.published = [{**right, "use": "enc"}]
    assert refusal(connect(shop(provider))) == (502, UNUSABLE)
    provider.published = [{**right, "alg": "PS256"}]
    assert refusal(connect(shop(provider))) == (502, UNUSABLE)


# -- the provider's errors and outages -----------------------------------------------------------


ERRORS = [
    ("access_denied", 403, "cancelled"),
    ("interaction_required", 403, "interaction_required"),
    ("<script>é", 400, "can't be read"),
    ("x" * 101, 400, "can't be read"),
    ("unauthorized_client", 502, UNUSABLE),
    ("temporarily_unavailable", 503, "at the moment"),
]


@in_one_world
def test_an_error_of_the_provider_is_one_clear_sentence(
    connect: Connect, provider: Provider
) -> None:
    client = connect(shop(provider))
    for error, status, words in ERRORS:
        query = query_of(let_in(begun(client)))
        del query["code"]
        answer = client.get("/login/callback", params={**query, "error": error})
        assert (error, answer.status_code, words in answer.text) == (error, status, True)
        assert ("Retry-After" in answer.headers) is (status == 503)
    assert client.get("/").json() == {}


@in_one_world
@pytest.mark.parametrize(
    ("path", "answered", "status"),
    [
        ("/token", (401, {"error": "invalid_client"}), 502),
        ("/token", (400, {"error": ["odd"]}), 502),
        ("/token", (200, {}), 502),
        ("/token", (200, "no JSON"), 502),
        ("/token", (200, [1]), 502),
        ("/token", (500, {"error": "broken"}), 503),
        ("/token", (429, {}), 503),
        ("/token", (200, {"id_token": "a" * 300_000}), 502),
        ("/jwks", (200, {"keys": 5}), 502),
        ("/jwks", (404, {"keys": []}), 502),
        ("/jwks", (200, {"keys": []}), 502),
        ("/jwks", (503, {}), 503),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_wrong_answer_of_the_provider_is_no_log_in(
    connect: Connect, provider: Provider, path: str, answered: Any, status: int
) -> None:
    provider.answers[path] = answered
    client = connect(shop(provider))
    answer = logged_in(client)
    assert (answer.status_code, answer.text) == (
        status,
        UNUSABLE if status == 502 else OUT_OF_REACH,
    )
    assert ("Retry-After" in answer.headers) is (status == 503)
    assert client.get("/").json() == {}


@in_one_world
@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": None},
        {"token_endpoint": "http://evil.example/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": ["https://evil.example"]},
        {"jwks_uri": "https://[evil/"},
        {"end_session_endpoint": "http://evil.example/end"},
        {"end_session_endpoint": 5},
    ],
    ids=repr,
)
def test_a_wrong_discovery_document_is_not_used(
    connect: Connect, provider: Provider, document: dict[str, Any]
) -> None:
    provider.document = document
    answer = connect(shop(provider)).get("/login")
    assert (answer.status_code, answer.text) == (502, UNUSABLE)


def test_a_provider_without_log_out(connect: Connect, provider: Provider) -> None:
    provider.document["end_session_endpoint"] = None
    client = connect(shop(provider))
    logged_in(client)
    answer = client.post("/login/out")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert client.get("/").json() == {}
    assert client.post("/login/out").headers["Location"] == "/"


def test_a_log_in_gets_503_until_a_stopped_provider_is_back(
    connect: Connect, served: Served
) -> None:
    app, other = shop(served.app), shop(served.app)
    client, fresh = connect(app), connect(other)
    logged_in(client)
    back = let_in(begun(client))
    served.stop()
    try:
        for path in (back, back):
            answer = client.get(path)
            assert (answer.status_code, answer.text) == (503, OUT_OF_REACH)
            assert answer.headers["Retry-After"] == "5"
        assert fresh.get("/login").status_code == 503
        assert client.get("/account").text == "your account"
        answer = client.post("/login/out")
        assert (answer.status_code, client.get("/").json()) == (303, {})
    finally:
        served.start()
    until(lambda: fresh.get("/login").status_code == 303)
    until(lambda: client.get("/login").status_code == 303)
    logged_in(client)
    assert client.get("/").json()["sub"] == "ann"


def test_an_answer_can_be_sent_again_after_an_outage(connect: Connect, served: Served) -> None:
    client = connect(shop(served.app))
    back = let_in(begun(client))
    served.stop()
    try:
        assert client.get(back).status_code == 503
    finally:
        served.start()
    until(lambda: client.get(back).status_code == 303)
    assert client.get("/").json()["sub"] == "ann"


def test_a_provider_that_hangs_is_not_waited_for_longer_than_promised(
    connect: Connect, provider: Provider
) -> None:
    client = connect(shop(provider, patience=0.2))
    with provider.hanging():
        for _ in range(3):
            answer = client.get("/login")
            assert (answer.status_code, answer.text) == (503, OUT_OF_REACH)
            assert client.get("/").json() == {}
    until(lambda: client.get("/login").status_code == 303)


def test_others_are_answered_while_log_ins_wait(connect: Connect, provider: Provider) -> None:
    client = connect(shop(provider))
    with ThreadPoolExecutor(4) as threads:
        with provider.hanging():
            waiting = [threads.submit(client.get, "/login") for _ in range(4)]
            until(lambda: provider.asked)
            for _ in range(10):
                assert client.get("/").json() == {}
            assert not any(one.done() for one in waiting)
        assert [one.result(PATIENCE).status_code for one in waiting] == [303] * 4
    assert len(provider.asked) == 1


def test_a_forked_process_does_not_wait_for_a_thread_of_its_parent(provider: Provider) -> None:
    fork = f"""
import os, threading, time, warnings
import httpx2 as httpx
from examples.oidc.micropie_oidc import OpenIDConnect
from micropie import App
from micropie.testing import TestClient
warnings.simplefilter("ignore")  # newer Pythons warn of what is tested here
login = OpenIDConnect({provider.issuer!r}, "shop", redirect_uri={REDIRECT_URI!r}, patience=5)
app = App(security=False)
login.install(app)
def begin():
    with TestClient(app, protocol="wsgi", follow_redirects=False) as client:
        return client.get("/login").status_code
threading.Thread(target=begin, daemon=True).start()
while httpx.get({provider.issuer + "/held"!r}, trust_env=False).text != "1":
    time.sleep(0.01)
child = os.fork()
if not child:
    httpx.post({provider.issuer + "/go"!r}, trust_env=False)
    os._exit(begin() != 303)
assert os.waitpid(child, 0)[1] == 0
"""
    with provider.hanging():
        done = subprocess.run([sys.executable, "-c", fork], cwd=ROOT, timeout=PATIENCE, check=False)
    assert done.returncode == 0


# -- set-up --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"issuer": "http://id.example.com"}, r"issuer=...\) takes an https URL"),
        ({"issuer": None}, r"issuer=...\) takes an https URL"),
        ({"redirect_uri": "/login/callback"}, r"redirect_uri=...\) takes an https URL"),
        ({"redirect_uri": f"{REDIRECT_URI}#a"}, r"redirect_uri=...\) takes an https URL"),
        ({"after_log_out": "bye"}, r"after_log_out=...\) takes an https URL or None"),
        ({"client_id": ""}, r"client_id=...\) takes the client's name"),
        ({"client_secret": ""}, r"client_secret=...\) takes the client's secret, or None"),
        ({"keep": "name"}, r"keep=...\) takes a list"),
        ({"scope": None}, r"scope=...\) takes words, one of them openid"),
        ({"scope": "profile"}, r"scope=...\) takes words, one of them openid"),
        ({"algorithms": ["none"]}, r"algorithms=...\) takes some of ES256, "),
        ({"algorithms": []}, r"algorithms=...\) takes some of ES256, "),
        ({"algorithms": "RS256"}, r"algorithms=...\) takes some of ES256, "),
        ({"algorithms": ["HS256"], "client_secret": None}, r"algorithms=...\) takes some of ES"),
        ({"patience": 0}, r"patience=...\) takes seconds above 0"),
        ({"refresh_every": 0}, r"refresh_every=...\) takes seconds above 0"),
        ({"keys_every": "60"}, r"keys_every=...\) takes seconds above 0"),
        ({"leeway": -1}, r"leeway=...\) takes seconds, 0 or more"),
    ],
)
def test_wrong_values_are_refused_at_the_start(options: dict[str, Any], sentence: str) -> None:
    values = {
        "issuer": "https://id.example.com",
        "client_id": CLIENT,
        "client_secret": SECRET,
        "redirect_uri": REDIRECT_URI,
    }
    OpenIDConnect(**values)  # type: ignore[arg-type]
    with pytest.raises(SetupError, match=sentence):
        OpenIDConnect(**{**values, **options})


def test_the_pages_are_where_the_redirect_uri_says() -> None:
    login = OpenIDConnect("https://id.example.com", CLIENT, redirect_uri=REDIRECT_URI)
    with pytest.raises(SetupError, match="a URL that ends with /enter/callback"):
        login.install(App(), "/enter")
    login.install(App())
    with pytest.raises(SetupError, match="installed once"):
        login.install(App())
