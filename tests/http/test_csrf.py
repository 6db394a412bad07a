"""The token against cross-site request forgery: another one in each page, of one secret a client,
compared safely.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
from statistics import mean
from typing import Any

import httpx2 as httpx
import pytest

from micropie import App, InMemorySessionBackend, ResponseError, WebSocket
from micropie._core.http import CSRF_FIELD
from micropie._core.http.csrf import is_csrf_token
from micropie.middleware import Compress, csrf_token
from micropie.testing import TestClient
from tests.support.clients import MakeClient

TOKEN = re.compile(r"([A-Za-z0-9_-]{22})([0-9a-f]{64})")


def masked(secret: str, salt: str) -> str:
    """Return the token that a page with this salt shows."""
    return salt + hmac.new(secret.encode(), salt.encode(), hashlib.sha256).hexdigest()


class Root(App):
    def token(self) -> str:
        return csrf_token(self.request)

    def secret(self) -> str:
        return str(self.request.session.get(CSRF_FIELD))

    async def again(self) -> str:
        return csrf_token(self.request) + " " + csrf_token(self.request)

    def check(self, token: str | None = None) -> str:
        return str(is_csrf_token(self.request, token))

    def store(self, value: str) -> str:
        self.request.session[CSRF_FIELD] = {"number": 5, "empty": ""}[value]
        return "stored"

    def odd(self) -> str:
        return " ".join(
            str(is_csrf_token(self.request, value)) for value in (None, 5, b"x", "", "é\ud800")
        )

    def forget(self) -> str:
        del self.request.session[CSRF_FIELD]
        return ""

    def log_in(self) -> str:
        self.request.session.regenerate()
        self.request.session["user"] = "Ann"
        return csrf_token(self.request)

    def log_in_late(self) -> str:
        self.request.session.regenerate()
        token = csrf_token(self.request)
        self.request.session["user"] = "Ann"
        return token

    def visit(self) -> str:
        self.request.session["visits"] = 1
        return "visited"

    def both(self) -> str:
        token = csrf_token(self.request)
        self.visit()
        return token

    async def later(self) -> Any:
        yield "head"
        yield csrf_token(self.request)


def accepts(client: TestClient, token: str) -> bool:
    return client.get("/check", params={"token": token}).text == "True"


@pytest.mark.parametrize("known", [False, True])
def test_each_page_has_its_own_token_and_all_are_accepted(
    make_client: MakeClient, known: bool
) -> None:
    client = make_client(Root())
    if known:
        client.get("/visit")
    tokens = [client.get("/token").text for _ in range(5)]
    assert [*client.cookies] == ["session_id" if known else "csrf_token"]
    secret = client.get("/secret").text if known else client.cookies["csrf_token"]
    assert len(secret) == 43  # 32 bytes in base64
    found = [TOKEN.fullmatch(token) for token in tokens]
    assert [match and masked(secret, match[1]) for match in found] == tokens
    assert len({match and match[1] for match in found}) == 5
    assert all(accepts(client, token) for token in tokens)
    # The pages have no piece of the secret, nor one of each other.
    shown = [secret, *tokens]
    pieces = {
        (number, text[at : at + 12])
        for number, text in enumerate(shown)
        for at in range(len(text) - 11)
    }
    assert len({piece for _, piece in pieces}) == len(pieces)


def test_one_page_has_one_token_and_the_first_sets_one_cookie(make_client: MakeClient) -> None:
    client = make_client(Root())
    for cookies_set in (1, 0):
        answer = client.get("/again")
        first, second = answer.text.split()
        assert first == second
        assert accepts(client, first)
        cookies = [cookie.partition(";")[0] for cookie in answer.headers.get_list("set-cookie")]
        assert cookies == [f"csrf_token={client.cookies['csrf_token']}"] * cookies_set


@pytest.mark.parametrize("known", [False, True])
def test_the_secret_itself_is_accepted(make_client: MakeClient, known: bool) -> None:
    client = make_client(Root())
    if known:
        client.get("/visit")
    client.get("/token")
    secret = client.get("/secret").text if known else client.cookies["csrf_token"]
    for sent in (secret[:-1], secret + "x", "x" + secret, secret.swapcase()):
        assert not accepts(client, sent)
    assert accepts(client, secret)


def test_an_unrelated_token_is_refused(make_client: MakeClient) -> None:
    app = Root()
    client, other = make_client(app), make_client(app)
    token, theirs, second = (
        client.get("/token").text,
        other.get("/token").text,
        client.get("/token").text,
    )
    secret = client.cookies["csrf_token"]
    # An attacker may choose the salt, but does not know the secret.
    assert accepts(client, masked(secret, "A" * 22))
    for sent in (
        *(
            "",
            "é",
            token[:-1],
            token + "0",
            token[1:],
            token[22:],
            token[:22],
            token.upper(),
            token[:22] + second[22:],
        ),
        *(
            theirs,
            other.cookies["csrf_token"],
            token[:22] + theirs[22:],
            masked("", "A" * 22),
            masked(secret, ""),
        ),
        *(masked(secret, "A" * 21), masked(secret, "A" * 23)),
    ):
        assert not accepts(client, sent), sent
    assert client.get("/check").text == "False"


def test_a_compressed_page_s_length_does_not_reveal_the_token(make_client: MakeClient) -> None:
    """A text that is in the page once more makes it shorter."""

    class Search(Root):
        def form(self, q: str, fixed: str = "") -> str:
            field = f'<input type="hidden" name="csrf_token" value="{fixed or csrf_token(self.request)}">'
            return (
                f"{field}<p>You have looked for: value=&quot;{q}</p>"
                + "<p>Nothing was found.</p>" * 30
            )

    app = Search()
    app.middlewares.append(Compress(codings=["gzip"]))
    client = make_client(app)
    token = client.get("/token").text
    secret = client.cookies["csrf_token"]

    def length(q: str, fixed: str = "") -> int:
        answer = client.get("/form", params={"q": q, "fixed": fixed})
        assert answer.headers["content-encoding"] == "gzip"
        return int(answer.headers["content-length"])

    def gain(right: str, fixed: str = "") -> float:
        """Return how many bytes shorter the page is with the right guess than with the same letters
        turned round.
        """
        return mean(length(right[::-1], fixed) - length(right, fixed) for _ in range(25))

    assert gain(secret[:22], secret) > 8
    for right in (secret[:22], token[:22], token[22:44]):
        assert abs(gain(right)) < 4


def test_without_a_token_in_the_session_none_is_accepted_or_created(
    make_client: MakeClient,
) -> None:
    client = make_client(Root())
    answer = client.get("/check", params={"token": ""})
    assert (answer.text, answer.headers.get("set-cookie")) == ("False", None)
    client.get("/log_in")
    client.get("/forget")
    assert client.get("/check", params={"token": ""}).text == "False"


def test_a_visitor_s_token_is_in_a_cookie_and_not_in_the_store(make_client: MakeClient) -> None:
    backend = InMemorySessionBackend(capacity=50)
    app = Root(backend)
    user = make_client(app)
    user.get("/visit")
    for _ in range(60):
        visitor = make_client(app, lifespan=False)
        token = visitor.get("/token").text
        secret = visitor.cookies["csrf_token"]
        assert dict(visitor.cookies) == {"csrf_token": secret}
        assert token == masked(secret, token[:22])
        assert visitor.get("/token").headers.get("set-cookie") is None
    assert len(backend._sessions) == 1
    assert user.get("/visit").headers.get("set-cookie") is None  # still there, and unchanged


@pytest.mark.parametrize("https", [False, True])
def test_over_https_another_host_cannot_set_the_token_cookie(
    make_client: MakeClient, https: bool
) -> None:
    client = make_client(
        Root(), base_url="https://testserver" if https else "http://testserver", root_path="/shop"
    )
    answer = client.get("/token")
    expected = (
        "__Host-csrf_token={}; Path=/; Secure; HttpOnly"
        if https
        else "csrf_token={}; Path=/; HttpOnly"
    )
    secret = client.cookies["__Host-csrf_token" if https else "csrf_token"]
    assert answer.headers["set-cookie"] == f"{expected.format(secret)}; SameSite=Lax"
    assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Cookie", "private")
    assert accepts(client, answer.text)
    client.cookies.clear()
    planted = {"Cookie": f"{'' if https else '__Host-'}csrf_token={secret}"}
    for sent in (answer.text, secret):
        assert client.get("/check", params={"token": sent}, headers=planted).text == "False"


@pytest.mark.parametrize("planted", ["x", "x" * 44, "x" * 42 + "."])
def test_a_cookie_that_is_not_a_valid_token_is_replaced(
    make_client: MakeClient, planted: str
) -> None:
    client = make_client(Root())
    headers = {"Cookie": f"csrf_token={planted}"}
    assert client.get("/check", params={"token": planted}, headers=headers).text == "False"
    answer = client.get("/token", headers=headers)
    assert answer.text == masked(client.cookies["csrf_token"], answer.text[:22])
    assert client.cookies["csrf_token"] != planted


def test_a_login_without_a_token_deletes_no_cookie(make_client: MakeClient) -> None:
    cookies = make_client(Root()).get("/log_in").headers.get_list("set-cookie")
    assert [cookie.partition("=")[0] for cookie in cookies] == ["session_id"]


def test_a_token_made_between_the_new_id_and_its_first_value_is_kept(
    make_client: MakeClient,
) -> None:
    client = make_client(Root())
    client.get("/token")
    cookies = client.get("/log_in_late").headers.get_list("set-cookie")
    # Browsers apply them in this order.
    deleted, made = (one for one in cookies if one.startswith("csrf_token="))
    assert deleted.startswith("csrf_token=; Max-Age=0")
    assert "Max-Age" not in made


def test_a_login_changes_the_token(make_client: MakeClient) -> None:
    client = make_client(Root())
    as_visitor, as_visitor_secret = client.get("/token").text, client.cookies["csrf_token"]
    logged_in = client.get("/log_in")
    assert logged_in.headers.get_list("set-cookie")[0].startswith("csrf_token=; Max-Age=0; Path=/")
    assert "csrf_token" not in client.cookies
    again = client.get("/log_in").text
    assert len({as_visitor, logged_in.text, again}) == 3
    assert logged_in.text != masked(as_visitor_secret, logged_in.text[:22])
    accepted = [
        accepts(client, token) for token in (as_visitor, as_visitor_secret, logged_in.text, again)
    ]
    assert accepted == [False, False, False, True]
    assert accepts(client, client.get("/token").text)


def test_a_session_started_later_keeps_a_visitor_s_token(make_client: MakeClient) -> None:
    client = make_client(Root())
    token = client.get("/both").text
    assert set(client.cookies) == {"session_id", "csrf_token"}
    client.get("/visit")
    assert client.get("/token").headers.get("set-cookie") is None
    assert client.get("/secret").text == "None"
    assert accepts(client, token)


def test_a_websocket_cannot_set_the_token_cookie(backend: str) -> None:
    class Sockets(App):
        async def ws_index(self, ws: WebSocket) -> None:
            with pytest.raises(ResponseError, match="a WebSocket has no response"):
                csrf_token(self.request)
            self.request.session["a"] = 1
            await ws.accept()
            await ws.send_text(csrf_token(self.request) if self.request.session.id else "none")

    with TestClient(Sockets(), backend=backend) as client, client.websocket("/") as socket:
        assert socket.receive_text() != ""


@pytest.mark.parametrize("value", ["number", "empty"])
def test_an_invalid_token_in_the_session_is_replaced(make_client: MakeClient, value: str) -> None:
    client = make_client(Root())
    client.get("/store", params={"value": value})
    assert client.get("/odd").text == "False False False False False"
    token = client.get("/token").text
    assert token == masked(client.get("/secret").text, token[:22])
    assert accepts(client, token)


def test_any_text_may_be_compared_with_a_token(make_client: MakeClient) -> None:
    client = make_client(Root())
    client.get("/token")
    assert client.get("/odd").text == "False False False False False"


def test_R48_creating_a_token_after_the_response_has_started_raises_an_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Root(), raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/later")
    assert "call csrf_token(request), from micropie.middleware, before" in caplog.text
    for page in ("/token", "/log_in"):  # nor may it be kept by a cache for a client that has one
        client.get(page)
        with pytest.raises(httpx.RemoteProtocolError):
            client.get("/later")


# -- caches ----------------------------------------------------------------------------------------


class Cached(Root):
    def shows(self, cache: str) -> Any:
        return 200, csrf_token(self.request), {"Cache-Control": cache}

    def checks(self, cache: str, token: str) -> Any:
        return 200, str(is_csrf_token(self.request, token)), {"Cache-Control": cache}

    async def streams(self, cache: str) -> Any:
        self.response.headers["Cache-Control"] = cache
        yield csrf_token(self.request)
        yield "!"


@pytest.mark.parametrize(
    ("stated", "sent", "warns"),
    [
        ("public, max-age=60", "private, max-age=60", True),
        ("max-age=5, s-maxage=60", "private, max-age=5", True),
        ("max-age=60", "private, max-age=60", False),
        ("private", "private", False),
        ("no-store", "no-store", False),
    ],
)
@pytest.mark.parametrize("path", ["/shows", "/streams"])
@pytest.mark.parametrize("known", [False, True])
def test_R48_a_page_with_a_token_is_private_on_every_visit(
    make_client: MakeClient,
    path: str,
    stated: str,
    sent: str,
    warns: bool,
    known: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "micropie")
    client = make_client(Cached())
    if known:
        client.get("/visit")
        client.get("/token")
    for _ in range(3):
        caplog.clear()
        answer = client.get(path, params={"cache": stated})
        assert (answer.headers["cache-control"], answer.headers["vary"]) == (sent, "Cookie")
        warning = (
            f"GET '{path}': the response contains one client's cookie or token, so its "
            "Cache-Control: public was changed to private"
        )
        assert [record.getMessage() for record in caplog.records] == [warning] * warns


def test_R48_a_response_that_only_checks_a_token_may_be_cached(
    make_client: MakeClient,
) -> None:
    client = make_client(Cached())
    token = client.get("/token").text
    answer = client.get("/checks", params={"cache": "public", "token": token})
    seen = (answer.text, answer.headers["cache-control"], answer.headers["vary"])
    assert seen == ("True", "public", "Cookie")
