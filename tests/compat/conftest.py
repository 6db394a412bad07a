"""Tests of what an imported module answers by itself run with the original, too: it has to pass them."""

from __future__ import annotations

import threading
from typing import Any

import bottle as original
import pytest

from micropie.compat import bottle as ours


@pytest.fixture(params=[original, ours], ids=["original", "ours"])
def bottle(request: pytest.FixtureRequest) -> Any:
    """The module: the original, then ours."""
    return request.param


@pytest.fixture
def own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a bus that blocks wait for the threads of this test alone: idle ones of other tests never end."""
    list_all = threading.enumerate
    others = {*list_all()}
    monkeypatch.setattr(threading, "enumerate", lambda: [thread for thread in list_all() if thread not in others])
