"""BasicAuth and BearerAuth: which users are admitted, and the answers to the others."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

from micropie import App, HTTPError, SetupError, WebSocket, requires, run_in
from micropie.middleware import BasicAuth, BearerAuth
from micropie.testing import WebSocketRefused
from tests.support.clients import MakeClient

BASIC = 'Basic realm="Please log in", charset="UTF-8"'
BEARER = 'Bearer realm="Please log in"'


class Root(App):
    def index(self) -> Any:
        return str(self.request.state.user)


def guarded(guard: Any, app: App | None = None) -> App:
    app = app or Root()
    app.middlewares.append(guard)
    return app


def basic(user: str, password: str, scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {b64encode(f'{user}:{password}'.encode()).decode()}"}


# -- basic -----------------------------------------------------------------------------------------


KNOWN = {
    "alice": "secret",
    "bob": "with:colons:",
    "zoë": "pässwörd €",
    "": "nameless",
    "dave": " blanks ",
}


@pytest.mark.parametrize("user", KNOWN)
def test_a_valid_user_is_let_in(make_client: MakeClient, user: str) -> None:
    client = make_client(guarded(BasicAuth(KNOWN)))
    for scheme in ("Basic", "basic", "BASIC", "Basic  "):
        answer = client.get("/", headers=basic(user, KNOWN[user], scheme))
        assert (answer.status_code, answer.text) == (200, user)


@pytest.mark.parametrize(
    ("user", "password"),
    [("alice", "wrong"), ("alice", ""), ("nobody", "secret"), ("", ""), ("Alice", "secret")],
)
def test_invalid_credentials_are_refused(make_client: MakeClient, user: str, password: str) -> None:
    answer = make_client(guarded(BasicAuth({"alice": "secret"}))).get(
        "/", headers=basic(user, password)
    )
    assert (answer.status_code, answer.text) == (401, "The user name or the password is wrong.")
    assert answer.headers["www-authenticate"] == BASIC


def test_without_credentials_the_browser_gets_a_challenge(make_client: MakeClient) -> None:
    client = make_client(guarded(BasicAuth({"alice": "secret"}, realm="Staff only")))
    for sent in (None, "", "Bearer abc", "Basicx YTpi"):
        answer = client.get("/", headers={} if sent is None else {"Authorization": sent})
        assert (answer.status_code, answer.text) == (401, "Please log in.")
        assert answer.headers["www-authenticate"] == 'Basic realm="Staff only", charset="UTF-8"'


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "alice:secret",
        "YWxpY2U6c2VjcmV0x",  # not a whole number of bytes
        "YWxpY2U6 c2VjcmV0",
        "YWxpY2U6c2VjcmV0,Basic YWxpY2U6c2VjcmV0",
        "YWxpY2U6c2VjcmV0=",
        "YWxpY2U6c2Vj-_V0",
        "é",
        b64encode(b"alice").decode(),  # without a colon
        b64encode(b"alice:\xff").decode(),  # not UTF-8
        b64encode(b"alice:a\0b").decode(),
        b64encode(b"ali\nce:secret").decode(),
        b64encode(b"alice:secret\x7f").decode(),
    ],
)
def test_R76_a_malformed_authorization_header_gets_a_401(
    make_client: MakeClient, credentials: str
) -> None:
    client = make_client(guarded(BasicAuth(lambda user, password: True)), validate=False)
    answer = client.get("/", headers=[(b"Authorization", f"Basic {credentials}".encode("latin-1"))])
    assert (answer.status_code, answer.text) == (401, "The Authorization header is malformed.")
    assert answer.headers["www-authenticate"] == BASIC


def test_a_repeated_authorization_header_is_malformed(make_client: MakeClient) -> None:
    headers = [*basic("alice", "secret").items()] * 2
    client = make_client(guarded(BasicAuth({"alice": "secret"})))
    assert client.get("/", headers=headers).status_code == 401


def test_R47_an_unknown_user_s_password_is_compared_like_a_known_one_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[int, int]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr("secrets.compare_digest", compare)
    check: Any = BasicAuth({"alice": "secret", "bob": "x" * 1000})._check
    assert check("alice", "secret")
    for names in (("alice", "x"), ("bob", "x"), ("nobody", "x" * 500)):
        assert not check(*names)
    assert compared == [(32, 32)] * 4


class User:
    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"the user {self.name}"


@pytest.mark.parametrize("kind", ["def", "async def", "inline", "returns an awaitable"])
def test_a_function_may_check_the_password(make_client: MakeClient, kind: str) -> None:
    threads: list[int] = []

    def check(user: str, password: str) -> Any:
        threads.append(threading.get_ident())
        return User(user) if password == "secret" else None

    async def check_too(user: str, password: str) -> Any:
        return check(user, password)

    checks: dict[str, Any] = {
        "def": check,
        "async def": check_too,
        "inline": run_in("loop")(lambda user, password: check(user, password)),
        "returns an awaitable": lambda user, password: check_too(user, password),
    }
    client = make_client(guarded(BasicAuth(checks[kind])))
    assert client.get("/", headers=basic("alice", "secret")).text == "the user alice"
    assert client.get("/", headers=basic("alice", "wrong")).status_code == 401


def test_a_password_is_checked_once_for_each_request_and_check(make_client: MakeClient) -> None:
    checked: list[tuple[str, str]] = []

    def check(user: str, password: str) -> bool:
        checked.append((user, password))  # a hash of the password would take long
        return password == "secret"

    auth = BasicAuth(check)

    class Inner(App):
        middlewares = [auth]  # noqa: RUF012

        @auth
        def index(self) -> str:
            return str(self.request.state.user)

        @BasicAuth({"alice": "other"})
        def other(self) -> str:
            return "in"

    class Root(App):
        middlewares = [auth]  # noqa: RUF012
        inner = Inner()

    client = make_client(Root())
    assert client.get("/inner", headers=basic("alice", "secret")).text == "alice"
    assert checked == [("alice", "secret")]
    assert client.get("/inner/other", headers=basic("alice", "secret")).status_code == 401
    assert client.get("/inner", headers=basic("alice", "wrong")).status_code == 401


def test_a_check_that_returns_true_makes_the_name_the_user(make_client: MakeClient) -> None:
    client = make_client(guarded(BasicAuth(lambda user, password: password == "secret")))
    assert client.get("/", headers=basic("alice", "secret")).text == "alice"
    assert client.get("/", headers=basic("alice", "wrong")).status_code == 401


@pytest.mark.parametrize("result", [None, False, [], "", 0])
def test_a_false_result_of_a_check_refuses(make_client: MakeClient, result: Any) -> None:
    """A check may return the rows that it has found."""
    basic = make_client(guarded(BasicAuth(lambda user, password: result)))
    assert basic.get("/", auth=("ann", "x")).status_code == 401
    bearer = make_client(guarded(BearerAuth(lambda token: result)))
    assert bearer.get("/", headers={"Authorization": "Bearer x"}).status_code == 401


def test_a_check_may_refuse_with_its_own_message_or_fail(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    def check(user: str, password: str) -> Any:
        if user == "locked":
            raise HTTPError(403, "This account is locked.")
        raise RuntimeError("secret")

    client = make_client(guarded(BasicAuth(check)))
    answer = client.get("/", headers=basic("locked", "x"))
    assert (answer.status_code, answer.text) == (403, "This account is locked.")
    assert client.get("/", headers=basic("alice", "x")).status_code == 500
    assert "secret" not in answer.text


def test_an_author_s_401_page_keeps_the_challenge(make_client: MakeClient) -> None:
    app = guarded(BasicAuth({"alice": "secret"}))

    @app.error(401)
    def page() -> Any:
        return "<h1>Who are you?</h1>"

    answer = make_client(app).get("/")
    assert (answer.status_code, answer.text) == (401, "<h1>Who are you?</h1>")
    assert answer.headers["www-authenticate"] == BASIC


def test_without_credentials_every_path_gets_a_401(make_client: MakeClient) -> None:
    app = guarded(BasicAuth({"alice": "secret"}))
    client = make_client(app)
    assert [client.get(path).status_code for path in ("/nowhere", "/x/y", "/")] == [401, 401, 401]


def test_an_inner_application_may_have_its_own_access_check(make_client: MakeClient) -> None:
    class Open(App):
        def index(self) -> Any:
            return "open"

    app = Open()
    app.staff = guarded(BasicAuth({"alice": "secret"}))
    client = make_client(app)
    assert [client.get(path).status_code for path in ("/", "/staff", "/staff/x")] == [200, 401, 401]
    assert client.get("/staff", headers=basic("alice", "secret")).text == "alice"


def pair(user: str, password: str) -> Iterator[str]:
    yield user


@pytest.mark.parametrize(
    "check",
    [
        None,
        "alice:secret",
        {"a:b": "x"},
        {"a": ""},
        {"a": None},
        {1: "x"},
        {"a\n": "x"},
        {"a": "x\0"},
        [("a", "b")],
        pair,
        contextmanager(pair),
    ],
)
def test_an_invalid_check_is_refused(check: Any) -> None:
    with pytest.raises(SetupError, match=r"BasicAuth\((check|\{\.\.\.\})\) takes"):
        BasicAuth(check)


@pytest.mark.parametrize("realm", ["", 'a"b', "a\\b", "é", "a\r\nb", None])
@pytest.mark.parametrize("kind", [BasicAuth, BearerAuth])
def test_R1_an_invalid_realm_is_refused(kind: Any, realm: Any) -> None:
    with pytest.raises(SetupError, match=r"A[a-zA-Z]*th\(realm=\.\.\.\) takes ASCII text"):
        kind(print, realm=realm)


def test_a_refused_password_is_not_repeated() -> None:
    with pytest.raises(SetupError) as failure:
        BasicAuth({"alice": "secret\0"})
    assert "secret" not in str(failure.value)


# -- bearer ----------------------------------------------------------------------------------------


def tokens(token: str) -> Any:
    return User("alice") if token == "mF_9.B5f-4.1JqM~+/==" else None


async def tokens_too(token: str) -> Any:
    return tokens(token)


@pytest.mark.parametrize("check", [tokens, tokens_too, run_in("loop")(lambda token: tokens(token))])
def test_a_valid_token_is_accepted(make_client: MakeClient, check: Any) -> None:
    client = make_client(guarded(BearerAuth(check)))
    for scheme in ("Bearer", "bearer", "Bearer "):
        answer = client.get("/", headers={"Authorization": f"{scheme} mF_9.B5f-4.1JqM~+/=="})
        assert (answer.status_code, answer.text) == (200, "the user alice")


def test_an_invalid_token_gets_a_401(make_client: MakeClient) -> None:
    answer = make_client(guarded(BearerAuth(tokens))).get(
        "/", headers={"Authorization": "Bearer abc"}
    )
    assert (answer.status_code, answer.text) == (401, "The token is unknown or has expired.")
    assert answer.headers["www-authenticate"] == f'{BEARER}, error="invalid_token"'


def test_a_missing_token_gets_a_challenge(make_client: MakeClient) -> None:
    client = make_client(guarded(BearerAuth(tokens, realm="The API")))
    for headers in ({}, {"Authorization": ""}, basic("a", "b"), {"Authorization": "Bearerx abc"}):
        answer = client.get("/?access_token=mF_9.B5f-4.1JqM~%2B/==", headers=headers)
        assert (answer.status_code, answer.text) == (401, "A bearer token is required.")
        assert answer.headers["www-authenticate"] == 'Bearer realm="The API"'


@pytest.mark.parametrize("token", ["", "a b", "a,b", "abc, Bearer abc", "=", "a=b", "é", 'a"b'])
def test_R76_a_malformed_token_gets_a_400(make_client: MakeClient, token: str) -> None:
    client = make_client(guarded(BearerAuth(lambda token: True)), validate=False)
    answer = client.get("/", headers=[(b"Authorization", f"Bearer {token}".encode("latin-1"))])
    assert (answer.status_code, answer.text) == (400, "The Authorization header is malformed.")
    assert answer.headers["www-authenticate"] == f'{BEARER}, error="invalid_request"'


def test_a_repeated_token_header_is_malformed(make_client: MakeClient) -> None:
    client = make_client(guarded(BearerAuth(lambda token: True)))
    assert client.get("/", headers=[("Authorization", "Bearer abc")] * 2).status_code == 400


async def stream(token: str) -> AsyncIterator[str]:
    yield token


class Stream:
    def __call__(self, token: str) -> Iterator[str]:
        yield token


# A generator counts as true, so a check with ``yield`` would accept everybody.
@pytest.mark.parametrize(
    "check",
    [
        *(None, "token", {"token": "user"}, ["token"], stream, Stream(), Stream().__call__),
        *(contextmanager(Stream().__call__), asynccontextmanager(stream)),
    ],
)
def test_an_invalid_token_check_is_refused(check: Any) -> None:
    with pytest.raises(SetupError, match=r"BearerAuth\(check\) takes a function"):
        BearerAuth(check)


def test_a_check_may_be_a_method_of_contextlib(make_client: MakeClient) -> None:
    stack = ExitStack()
    checked: Any = stack.push
    client = make_client(guarded(BearerAuth(checked)))
    assert client.get("/", headers={"Authorization": "Bearer abc"}).text == "abc"


@pytest.mark.parametrize(
    "function",
    [stream, Stream(), contextmanager(Stream().__call__), asynccontextmanager(stream)],
)
@pytest.mark.parametrize("kind", [BasicAuth, BearerAuth])
def test_a_check_whose_yield_is_hidden_admits_nobody(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, kind: Any, function: Any
) -> None:
    client = make_client(guarded(kind(lambda *values: function(values[-1]))))
    headers = basic("a", "b") if kind is BasicAuth else {"Authorization": "Bearer abc"}
    assert client.get("/", headers=headers).status_code == 500
    assert f"the check of {kind.__name__} returned a" in caplog.text
    assert "so it has checked nothing: write it without yield" in caplog.text


# -- scopes, and guards above handlers -------------------------------------------------------------


class Baker:
    def __init__(self, *scopes: str) -> None:
        self.scopes = scopes


class Pies(App):
    """Handlers of which each has a guard of its own, and one that has none.

    ``asked`` has the tokens looked up.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        asked = self.asked

        def user_of(token: str) -> Any:
            asked.append(token)
            users = {
                "ann": Baker("r", "w"),
                "bob": {"scope": "r"},
                "carl": {"sub": "carl"},
                "dora": "dora",
            }
            return users.get(token)

        auth = BearerAuth(user_of, scopes={"r": "See pies", "w": "Bake pies"})

        class Inner(App):
            middlewares = [auth.with_scopes("r")]  # noqa: RUF012

            @auth.with_scopes("w")
            def bake(self) -> str:
                return "baked"

            async def ws_live(self, ws: WebSocket) -> None:
                await ws.accept()

        self.inner = Inner()
        self.get("/me")(auth(lambda: "me"))
        self.get("/bake")(auth.with_scopes("r").with_scopes("w")(lambda: "baked"))
        self.get("/open")(lambda: "open")


def asked_by(client: Any, path: str, token: str) -> Any:
    return client.get(path, headers={"Authorization": f"Bearer {token}"})


def test_authentication_above_a_handler_protects_it_alone(make_client: MakeClient) -> None:
    client = make_client(Pies())
    statuses = [client.get(path).status_code for path in ("/open", "/me", "/bake", "/inner/bake")]
    assert statuses == [200, 401, 401, 401]
    found = [asked_by(client, "/me", token).status_code for token in ("ann", "bob", "eve")]
    assert found == [200, 200, 401]
    assert client.get("/me").headers["www-authenticate"] == BEARER


def test_a_token_without_the_required_scopes_gets_a_403(make_client: MakeClient) -> None:
    client = make_client(Pies())
    assert asked_by(client, "/bake", "ann").text == "baked"
    for token in ("bob", "carl"):
        refused = asked_by(client, "/bake", token)
        assert (refused.status_code, refused.text) == (403, "The token's scope must include r w.")
        found = refused.headers["www-authenticate"]
        assert found == f'{BEARER}, scope="r w", error="insufficient_scope"'
    assert client.get("/bake").headers["www-authenticate"] == f'{BEARER}, scope="r w"'
    unknown = asked_by(client, "/bake", "eve").headers["www-authenticate"]
    assert unknown == f'{BEARER}, scope="r w", error="invalid_token"'


def test_a_user_without_scopes_raises_an_error_if_scopes_are_required(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert asked_by(make_client(Pies()), "/bake", "dora").status_code == 500
    assert (
        "that the check of BearerAuth returned: return an object with the attribute scopes"
        in caplog.text
    )


def test_authentication_above_a_handler_does_not_look_up_the_user_again(
    make_client: MakeClient,
) -> None:
    app = Pies()
    client = make_client(app)
    assert [
        asked_by(client, "/inner/bake", token).status_code for token in ("ann", "bob", "carl")
    ] == [200, 403, 403]
    assert app.asked == ["ann", "bob", "carl"]


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_scopes_protect_handshakes(make_client: MakeClient) -> None:
    client = make_client(Pies())
    for token, status in (("carl", 403), ("eve", 401)):
        with (
            pytest.raises(WebSocketRefused) as refused,
            client.websocket("/inner/live", headers={"Authorization": f"Bearer {token}"}),
        ):
            pass
        assert refused.value.status in (status, 403)  # which a server sends that can send no other


def test_authentication_with_another_check_looks_up_its_own_user(make_client: MakeClient) -> None:
    class Root(App):
        middlewares = [BearerAuth(lambda token: {"scope": "w"})]  # noqa: RUF012

        @BearerAuth(lambda token: token == "other", scopes={"w": ""})
        def index(self) -> str:
            return str(self.request.state.user)

    client = make_client(Root())
    assert [asked_by(client, "/", token).status_code for token in ("other", "ann")] == [200, 401]


def test_authentication_and_checks_run_in_their_order(make_client: MakeClient) -> None:
    ran: list[str] = []

    def noted(name: str, result: Any = True) -> Any:
        def check(*given: object) -> Any:
            ran.append(name)
            return result

        return check

    class Root(App):
        @requires(noted("first"))
        @BearerAuth(noted("guard"))
        @requires(noted("second"), noted("third", False))
        def index(self) -> str:
            return "in"

    client = make_client(Root())
    assert asked_by(client, "/", "x").status_code == 403
    assert ran == ["first", "guard", "second", "third"]


def test_authentication_can_decorate_an_application_and_a_mount(make_client: MakeClient) -> None:
    @BearerAuth(tokens)
    class Guarded(App):
        def index(self) -> str:
            return "in"

    app = App()
    app.inner = Guarded()
    app.mount("/mounted", BasicAuth({"ann": "pie"})(Root()))
    client = make_client(app)
    statuses = [client.get(path).status_code for path in ("/inner", "/inner/nowhere", "/mounted")]
    assert statuses == [401] * 3
    assert client.get("/mounted", headers=basic("ann", "pie")).text == "ann"


@pytest.mark.parametrize("scopes", [["r"], {"a b": ""}, {'"': ""}, {"": ""}, {1: ""}, "r"])
def test_scopes_must_be_a_dict_of_names(scopes: Any) -> None:
    with pytest.raises(SetupError, match=r"BearerAuth\(scopes=\.\.\.\) takes a dict"):
        BearerAuth(tokens, scopes=scopes)


@pytest.mark.parametrize("names", [(), ("x",), ("r", "x")])
def test_only_declared_scopes_can_be_required(names: tuple[str, ...]) -> None:
    with pytest.raises(
        SetupError, match="with_scopes takes one or more scopes of this BearerAuth, not"
    ):
        BearerAuth(tokens, scopes={"r": "", "w": ""}).with_scopes(*names)
    with pytest.raises(SetupError, match=r"write BearerAuth\(\.\.\., scopes=\{\.\.\.\}\)"):
        BearerAuth(tokens).with_scopes("r")


def test_a_token_may_have_another_scheme(make_client: MakeClient) -> None:
    app = guarded(BearerAuth(lambda token: token == "right", scheme="Token"))
    client = make_client(app)
    statuses = [
        client.get("/", headers={"Authorization": sent}).status_code
        for sent in ("Token right", "token right", "Token wrong", "Bearer right", "Token")
    ]
    assert statuses == [200, 200, 401, 401, 400]
    refused = client.get("/")
    seen = (refused.text, refused.headers["www-authenticate"])
    assert seen == ("A token is required.", 'Token realm="Please log in"')
    (scheme,) = app.openapi()["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["name"]) == ("apiKey", "Authorization")


@pytest.mark.parametrize("scheme", ["", "To ken", "é", 5])
def test_an_authentication_scheme_is_one_word(scheme: Any) -> None:
    with pytest.raises(SetupError, match='a word such as "Token"'):
        BearerAuth(print, scheme=scheme)
    with pytest.raises(SetupError, match="uses OAuth2, whose scheme is always Bearer"):
        BearerAuth(print, scheme="Token", token_url="/token")


def test_an_authentication_class_is_refused_as_a_check() -> None:
    with pytest.raises(SetupError, match="is not a check"):
        requires(BearerAuth)  # type: ignore[arg-type]


def test_authentication_decorates_without_requires() -> None:
    with pytest.raises(
        SetupError,
        match=r"write @BearerAuth\(\.\.\.\) instead of @requires\(BearerAuth\(\.\.\.\)\)",
    ):
        requires(BearerAuth(tokens))
