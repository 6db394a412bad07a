"""Cookies that only the application can make."""

from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import Any

import pytest
from itsdangerous import URLSafeSerializer

from micropie import App, HTTPError, SetupError
from micropie._core.http.headers.signing import AppSigner, Signer
from tests.support.clients import MakeClient

KEY, OLD_KEY = "k" * 32, "o" * 32


class Root(App):
    def sign(self, expires: Any = 60, purpose: Any = "pies") -> str:
        return self.request.sign({"filling": "äpple"}, purpose, expires=expires)

    def unsign(self, text: str, purpose: str = "pies") -> Any:
        return self.request.unsign(text, purpose)

    def set(self) -> str:
        self.request.set_signed_cookie("pie", {"filling": "äpple", "n": 5}, max_age=60)
        return "set"

    def read(self, max_age: float | None = None) -> Any:
        return {
            "pie": self.request.signed_cookie("pie", "none", max_age),
            "other": self.request.signed_cookie("other"),
        }


def test_a_signed_cookie_is_read_again(make_client: MakeClient) -> None:
    client = make_client(Root(secret_key=KEY))
    answer = client.get("/set")
    assert "; Max-Age=60; Path=/; HttpOnly; SameSite=Lax" in answer.headers["Set-Cookie"]
    assert client.get("/read").json() == {"pie": {"filling": "äpple", "n": 5}, "other": None}


@pytest.mark.parametrize(
    "change",
    [lambda text: text + "x", lambda text: "x" + text, lambda text: "", lambda text: "a.b"],
)
def test_R46_a_changed_signed_cookie_is_refused(make_client: MakeClient, change: Any) -> None:
    client = make_client(Root(secret_key=KEY))
    signed = client.get("/set").cookies["pie"]
    client.cookies.clear()
    cookie = f"pie={change(signed)}; other={signed}"  # nor is the value of another cookie
    assert client.get("/read", headers={"Cookie": cookie}).json() == {"pie": "none", "other": None}


def test_each_salt_and_key_gives_the_signature_of_itsdangerous() -> None:
    """Other programs that have the secret can read and make such text."""
    signer = Signer([KEY, OLD_KEY], "salt", "test")
    options = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    new, old = (URLSafeSerializer(key, "salt", signer_kwargs=options) for key in (KEY, OLD_KEY))
    for salt in (None, "other", None):
        assert new.loads(signer.dump({"pie": 5}, salt), salt) == {"pie": 5}
        assert signer.load(old.dumps({"pie": 5}, salt), salt) == {"pie": 5}
    with pytest.raises(ValueError, match="does not match"):
        signer.load(signer.dump(5, "other"))


def test_a_signed_text_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = AppSigner(KEY)
    text = signer.dump("pie", "apple")
    assert signer.load("pie", text, None, 60) == "apple"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 62)
    assert signer.load("pie", text, None, 60) is None
    assert signer.load("pie", text, None, None) == "apple"


def test_an_age_may_be_a_timedelta(monkeypatch: pytest.MonkeyPatch) -> None:
    signer, minute = AppSigner(KEY), timedelta(minutes=1)
    cookie, link = signer.dump("pie", "apple"), signer.sign("apple", "pies", minute)
    assert signer.load("pie", cookie, None, minute) == signer.unsign(link, "pies") == "apple"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 62)
    assert signer.load("pie", cookie, None, minute) is None
    with pytest.raises(HTTPError, match="expired"):
        signer.unsign(link, "pies")


def test_signing_keys_can_be_rotated() -> None:
    text = AppSigner(OLD_KEY).dump("pie", "apple")
    assert AppSigner([KEY, OLD_KEY]).load("pie", text, None, None) == "apple"
    assert AppSigner([KEY]).load("pie", text, None, None) is None


def test_an_alternative_encoding_of_the_signature_is_refused() -> None:
    signer = Signer(KEY, "salt", "a test")
    text = signer.dump(1)
    changed = next(
        text[:-1] + letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if letter != text[-1]
    )
    for candidate in (changed, text + "="):
        with pytest.raises(ValueError, match=r"Signature|signature"):
            signer.load(candidate)


def test_R47_a_guessable_secret_key_fails_at_setup() -> None:
    with pytest.raises(
        SetupError, match=r"App\(secret_key=...\) needs a secret of 32 bytes or more"
    ):
        Root(secret_key="short")._micropie.compiled()


@pytest.mark.parametrize("wrong", [5, [], [5]])
def test_an_invalid_secret_key_fails_at_setup(wrong: Any) -> None:
    with pytest.raises(
        SetupError,
        match=r"App\(secret_key=...\) takes a secret \(str or bytes\) or a list of secrets",
    ):
        Root(secret_key=wrong)._micropie.compiled()


def test_without_a_secret_key_the_error_says_what_to_write(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    assert make_client(Root()).get("/set").status_code == 500
    assert "write App(secret_key=os.environ['SECRET_KEY'])" in caplog.text


def test_an_inner_application_uses_the_outer_secret_key_or_its_own(make_client: MakeClient) -> None:
    class Outer(App):
        def __init__(self, inner: App) -> None:
            super().__init__(secret_key=KEY)
            self.inner = inner

    shared, own = make_client(Outer(Root())), make_client(Outer(Root(secret_key=OLD_KEY)))
    cookie = {"Cookie": f"pie={AppSigner(KEY).dump('pie', 'apple')}"}
    assert shared.get("/inner/read", headers=cookie).json()["pie"] == "apple"
    assert own.get("/inner/read", headers=cookie).json()["pie"] == "none"


def test_a_signed_text_is_bound_to_its_purpose_and_expires(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_client(Root(secret_key=KEY))
    text = client.get("/sign").text
    assert client.get("/unsign", params={"text": text}).json() == {"filling": "äpple"}
    cookie = AppSigner(KEY).dump("pies", "apple")
    flipped = text[:-1] + ("A" if text[-1] != "A" else "Q")
    for wrong in (
        {"text": text, "purpose": "other"},
        {"text": cookie},
        {"text": flipped},
        {"text": "é"},
    ):
        answer = client.get("/unsign", params=wrong)
        assert (answer.status_code, answer.text) == (403, "This link is not valid.")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 62)
    answer = client.get("/unsign", params={"text": text})
    assert (answer.status_code, answer.text) == (410, "This link has expired.")


@pytest.mark.parametrize("wrong", [0, "an hour", timedelta(0)])
def test_an_invalid_max_age_says_what_to_write(wrong: Any) -> None:
    with pytest.raises(SetupError, match=r"request.sign\(expires=...\) takes seconds above 0"):
        AppSigner(KEY).sign(1, "pies", wrong)
