"""Twelve programs, written before anybody looked what ``micropie check`` says of them: it has no
false alarm, and neither has the log of their first request in development.
"""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path

import pytest

import micropie.cli.main
from micropie.cli.serving.reloading import CHILD_PORT
from tests.support.clients import MakeClient

FIRST = {
    "back_office": "https://office.example/",
    "blog": "https://blog.example/drafts",
    "chat": "/",
    "jobs": "/status?id=5",
    "languages": "https://bakery.example/",
    "orders_api": "/v1/orders?limit=5",
    "reports": "/summary",
    "share": "https://share.example/",
    "single_sign_on": "https://shop.example/sso/login",
    "tenants": "https://shops.example/",
    "todo_htmx": "http://localhost/?show=none",
    "webhooks": "/stats",
}


def test_each_example_program_has_a_first_request() -> None:
    files = Path(__file__).parent.joinpath("programs").glob("[a-z]*.py")
    assert {file.stem for file in files} == {*FIRST}


@pytest.mark.parametrize("name", FIRST)
def test_check_finds_nothing_in_the_example_programs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert micropie.cli.main.main(["check", f"tests.debug.programs.{name}"]) == 0
    assert capsys.readouterr().out == "0 findings\n"


@pytest.mark.parametrize("name", FIRST)
def test_the_example_programs_cause_no_hints(
    make_client: MakeClient,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CHILD_PORT, "8000")
    app = import_module(f"tests.debug.programs.{name}").app
    monkeypatch.setitem(
        app._micropie.settings, "loop_watchdog", False
    )  # which a busy machine wakes
    app._micropie.changed()
    with caplog.at_level(logging.WARNING, "micropie"):
        client = make_client(app, headers={"Authorization": "Bearer sesame"})
        answer = client.get(FIRST[name])
    app._micropie.changed()
    assert (answer.status_code in (200, 303, 404), caplog.messages) == (True, [])


def test_a_signature_outside_ascii_is_a_wrong_one(make_client: MakeClient) -> None:
    """``compare_digest`` raises ``TypeError`` for text outside ASCII, which would be a 500."""
    client = make_client(import_module("tests.debug.programs.webhooks").app)
    answer = client.post("/receive", content=b"{}", headers={b"X-Signature": b"sha256=\xe9"})
    assert answer.status_code == 401
