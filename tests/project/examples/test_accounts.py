"""``how_to/accounts``: a password is reset, and an address confirmed, by links in mails."""

from __future__ import annotations

import time
from itertools import count
from queue import SimpleQueue
from typing import Any

import pytest
from argon2 import PasswordHasher

from examples.how_to.accounts import app as accounts_app
from examples.how_to.accounts.app import Accounts, app
from tests.support.clients import MakeClient
from tests.support.waiting import PATIENCE

KEY, NEW_KEY = "k" * 32, "n" * 32
WORD = "correct horse"


NUMBERS = count(1)


@pytest.fixture(autouse=True)
def hasher(monkeypatch: pytest.MonkeyPatch) -> PasswordHasher:
    """Hashes that are as cheap as they can be: each of the example's takes a processor's tenth of
    a second.
    """
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(accounts_app, "hasher", hasher)
    return hasher


class Mails(SimpleQueue[tuple[str, str]]):
    def send(self, email: str, link: str) -> None:
        self.put((email, link.partition("key=")[2]))

    def take(self, expected: str) -> str:
        email, key = self.get(timeout=PATIENCE)
        assert email == expected
        return key


def start(make_client: MakeClient, mails: Mails, key: Any = KEY) -> tuple[Any, Any]:
    make: Any = Accounts
    accounts = make(mails.send, base_url="https://example.com", secret_key=key)
    # each has its own rate limit
    client = make_client(accounts, client=(f"192.0.2.{next(NUMBERS)}", 1))
    return client, accounts._users


def test_a_password_can_be_reset_once(make_client: MakeClient, hasher: PasswordHasher) -> None:
    mails = Mails()
    client, users = start(make_client, mails)
    known = client.post("/forgot", data={"email": "ann@example.com"})
    unknown = client.post("/forgot", data={"email": "eve@example.com"})
    # nobody learns who has an account
    assert (known.status_code, known.text) == (unknown.status_code, unknown.text)
    key = mails.take("ann@example.com")
    assert mails.empty()
    for _ in range(2):  # a mail scanner opens it first
        assert f'value="{key}"' in client.get("/reset", params={"key": key}).text
    sent = {"key": key, "password": WORD}
    assert client.post("/change", data={**sent, "password": "short"}).status_code == 400
    assert [client.post("/change", data=sent).status_code for _ in range(2)] == [303, 410]
    assert hasher.verify(users[7]["password"], WORD)
    assert client.get("/reset", params={"key": key}).status_code == 410


def test_an_address_can_be_confirmed_once(make_client: MakeClient) -> None:
    mails = Mails()
    client, users = start(make_client, mails)
    users[8] = {"email": "bob@example.com", "password": ""}
    taken = client.post("/move", data={"email": "bob@example.com"})
    free = client.post("/move", data={"email": "anna@example.com"})
    assert (taken.status_code, taken.text) == (free.status_code, free.text)
    keys = dict(mails.get(timeout=PATIENCE) for _ in range(2))
    of_bobs, key = keys["bob@example.com"], keys["anna@example.com"]
    assert client.get("/confirm", params={"key": of_bobs}).status_code == 409
    assert "Confirm" in client.get("/confirm", params={"key": key}).text
    assert users[7]["email"] == "ann@example.com"
    results = [client.post("/confirmed", data={"key": key}).status_code for _ in range(2)]
    assert (users[7]["email"], results) == ("anna@example.com", [200, 410])
    # a link for one purpose does nothing for another, nor for an account that is gone
    client.post("/forgot", data={"email": "anna@example.com"})
    key = mails.take("anna@example.com")
    assert client.post("/confirmed", data={"key": key}).status_code == 403
    users.clear()
    assert client.get("/reset", params={"key": key}).status_code == 410


def test_a_link_expires(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    mails = Mails()
    client, _ = start(make_client, mails)
    client.post("/forgot", data={"email": "ann@example.com"})
    sent = {"key": mails.take("ann@example.com"), "password": WORD}
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now + 3605)
        assert client.post("/change", data=sent).status_code == 410
    assert client.post("/change", data=sent).status_code == 303


def test_signing_keys_can_be_rotated(make_client: MakeClient) -> None:
    mails = Mails()
    start(make_client, mails)[0].post("/forgot", data={"email": "ann@example.com"})
    key = mails.take("ann@example.com")
    for keys, status in (([NEW_KEY, KEY], 410), ([NEW_KEY], 403)):  # 410: another hash
        client, _ = start(make_client, mails, keys)
        assert client.get("/reset", params={"key": key}).status_code == status


def test_the_application_of_the_page_has_a_secret_key() -> None:
    app._micropie.compiled()
