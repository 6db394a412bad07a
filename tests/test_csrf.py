"""The token against cross-site request forgery: one a session, secret, compared safely."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from micropie import App
from micropie.csrf import FIELD, csrf_token, is_csrf_token
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
    client.get("/token")
    client.get("/forget")
    assert client.get("/check", params={"token": ""}).text == "False"


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
