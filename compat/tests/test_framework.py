"""This package counts as the framework: where it is in the way, an author sees the program's own
code, and gets the hints for its objects.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest

from micropie.debug.failures import hint_for
from micropie_compat import bottle
from micropie_compat.pixie_web import RouteType, app, route
from tests.support.clients import MakeClient


def failing(env: Any) -> None:
    raise LookupError("no pie")


route("/failing-pie", RouteType.sync)(failing)


def test_a_traceback_begins_with_the_program_s_handler(
    make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "micropie"):
        assert make_client(app).get("/failing-pie").status_code == 500
    shown = [record.exc_info for record in caplog.records if record.exc_info]
    assert shown
    for _, _, frames in shown:
        assert frames is not None
        assert frames.tb_frame.f_code is failing.__code__


def test_a_misspelt_attribute_gets_a_hint() -> None:
    with pytest.raises(AttributeError) as caught:
        bottle.response.set_headr("X-Pie", "1")  # type: ignore[attr-defined]
    assert "set_header" in hint_for(cast("Any", SimpleNamespace(route=None)), caught.value)
