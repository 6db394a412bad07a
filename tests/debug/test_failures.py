"""Hints that a wrong cause would give."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from micropie import App, BindingErrors, post
from tests.support.clients import MakeClient


class Root(App):
    @post
    def answer(self, errors: BindingErrors, number: int) -> Any:
        ticket: Any = None  # not in the database
        return ticket.subject

    @post
    def text(self, errors: BindingErrors, name: str) -> Any:
        return name.strip()


@pytest.mark.parametrize(("path", "is_hinted"), [("/answer", False), ("/text", True)])
def test_the_errors_of_a_form_explain_its_parameters_alone(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture, path: str, is_hinted: bool
) -> None:
    caplog.set_level(logging.ERROR, "micropie")
    client = make_client(Root(debug=True), raise_app_exceptions=False)
    assert client.post(path, data={}).status_code == 500
    assert ("Handle the BindingErrors first" in caplog.text) is is_hinted
