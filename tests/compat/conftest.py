"""Tests of what an imported module answers by itself run with the original, too: it has to pass them."""

from __future__ import annotations

from typing import Any

import bottle as original
import pytest

from micropie.compat import bottle as ours


@pytest.fixture(params=[original, ours], ids=["original", "ours"])
def bottle(request: pytest.FixtureRequest) -> Any:
    """The module: the original, then ours."""
    return request.param
