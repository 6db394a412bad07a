"""The token against cross-site request forgery: one a client, secret, compared safely, in the session or a cookie."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from micropie import App, InMemorySessionBackend, ResponseError, WebSocket
from micropie.csrf import FIELD, csrf_token, is_csrf_token
from micropie.testing import TestClient
from tests.conftest import MakeClient


class Root(App):
    def token(self) -> str:
        return csrf_token(self.request)

    async def again(self) -> str:
        return csrf_token(self.request) + " " + csrf_token(self.request)

    def check(self, token: str | None = None) -> str:
        return str(is_csrf_token(self.request, token))

    def store(self, value: str) -> str:
        self.request.session[FIELD] = {"number": 5, "empty": ""}[value]
        return "stored"

    def odd(self) -> str:
        return " ".join(str(is_csrf_token(self.request, value)) for value in (None, 5, b"x", "", "é\ud800"))

    def forget(self) -> str:
        del self.request.session[FIELD]
        return ""

    def log_in(self) -> str:
        self.request.session.regenerate()
        self.request.session["user"] = "Ann"
        return csrf_token(self.request)

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


def test_a_session_has_one_token(make_client: MakeClient) -> None:
    client = make_client(Root())
    token = client.get("/token").text
    assert len(token) == 43  # 32 bytes in base64
    assert client.get("/again").text == f"{token} {token}"
    assert make_client(Root()).get("/token").text != token


def test_the_token_alone_is_accepted(make_client: MakeClient) -> None:
    client = make_client(Root())
    token = client.get("/token").text
    answers = {sent: client.get("/check", params={"token": sent}).text for sent in (token, token[:-1], "é", "")}
    assert answers == {token: "True", token[:-1]: "False", "é": "False", "": "False"}
    assert client.get("/check").text == "False"


def test_without_a_token_in_the_session_none_is_accepted_and_none_is_made(make_client: MakeClient) -> None:
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
        assert dict(visitor.cookies) == {"csrf_token": token}
        assert visitor.get("/token").text == token
    assert len(backend._sessions) == 1
    assert user.get("/visit").headers.get("set-cookie") is None  # still there, and unchanged


@pytest.mark.parametrize("https", [False, True])
def test_no_other_host_can_set_the_cookie_over_https(make_client: MakeClient, https: bool) -> None:
    client = make_client(Root(), base_url="https://testserver" if https else "http://testserver", root_path="/shop")
    answer = client.get("/token")
    expected = "__Host-csrf_token={}; Path=/; Secure; HttpOnly" if https else "csrf_token={}; Path=/; HttpOnly"
    assert answer.headers["set-cookie"] == f"{expected.format(answer.text)}; SameSite=Lax"
    assert (answer.headers["vary"], answer.headers["cache-control"]) == ("Cookie", "private")
    assert client.get("/check", params={"token": answer.text}).text == "True"
    client.cookies.clear()
    planted = {"Cookie": f"{'' if https else '__Host-'}csrf_token={answer.text}"}
    assert client.get("/check", params={"token": answer.text}, headers=planted).text == "False"


@pytest.mark.parametrize("planted", ["x", "x" * 44, "x" * 42 + "."])
def test_a_cookie_that_is_no_token_of_ours_is_replaced(make_client: MakeClient, planted: str) -> None:
    client = make_client(Root())
    headers = {"Cookie": f"csrf_token={planted}"}
    assert client.get("/check", params={"token": planted}, headers=headers).text == "False"
    assert client.get("/token", headers=headers).text != planted


def test_a_visitor_s_first_page_has_one_token_and_one_cookie(make_client: MakeClient) -> None:
    answer = make_client(Root()).get("/again")
    first, second = answer.text.split()
    assert first == second
    assert [cookie.partition(";")[0] for cookie in answer.headers.get_list("set-cookie")] == [f"csrf_token={first}"]


def test_a_log_in_of_who_has_no_token_deletes_none(make_client: MakeClient) -> None:
    cookies = make_client(Root()).get("/log_in").headers.get_list("set-cookie")
    assert [cookie.partition("=")[0] for cookie in cookies] == ["session_id"]


def test_a_log_in_gives_another_token(make_client: MakeClient) -> None:
    client = make_client(Root())
    as_visitor = client.get("/token").text
    logged_in = client.get("/log_in")
    assert logged_in.headers.get_list("set-cookie")[-1].startswith("csrf_token=; Max-Age=0; Path=/")
    assert "csrf_token" not in client.cookies
    again = client.get("/log_in").text
    assert len({as_visitor, logged_in.text, again}) == 3
    accepted = [client.get("/check", params={"token": token}).text for token in (as_visitor, logged_in.text, again)]
    assert accepted == ["False", "False", "True"]
    assert client.get("/token").text == again


def test_a_session_that_begins_later_keeps_a_visitor_s_token(make_client: MakeClient) -> None:
    client = make_client(Root())
    token = client.get("/both").text
    assert set(client.cookies) == {"session_id", "csrf_token"}
    client.get("/visit")
    assert client.get("/token").text == token
    assert client.get("/check", params={"token": token}).text == "True"


def test_a_client_with_a_session_has_its_token_there(make_client: MakeClient) -> None:
    client = make_client(Root())
    client.get("/visit")
    token = client.get("/token").text
    assert set(client.cookies) == {"session_id"}
    assert client.get("/check", params={"token": token}).text == "True"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_websocket_has_no_answer_that_could_set_the_cookie(backend: str) -> None:
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
def test_what_is_no_token_is_replaced(make_client: MakeClient, value: str) -> None:
    client = make_client(Root())
    client.get("/store", params={"value": value})
    assert client.get("/odd").text == "False False False False False"
    token = client.get("/token").text
    assert (len(token), client.get("/token").text) == (43, token)


def test_any_text_may_be_compared(make_client: MakeClient) -> None:
    client = make_client(Root())
    client.get("/token")
    assert client.get("/odd").text == "False False False False False"


def test_a_token_that_can_not_be_stored_any_more_is_an_error(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(Root(), raise_app_exceptions=False)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/later")
    assert "call csrf_token(request), from micropie.csrf, in the handler" in caplog.text
    token = client.get("/token").text
    assert client.get("/later").text == f"head{token}"
    client.get("/log_in")
    client.get("/forget")
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/later")
