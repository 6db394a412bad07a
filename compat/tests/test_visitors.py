"""What one visitor's request leaves in context variables, of which no other request may see any."""

from __future__ import annotations

import pytest

from micropie_compat.cherrypy.process.plugins import Monitor
from micropie_compat.cherrypy.process.wspbus import Bus
from tests.execution.test_visitors import check_a_shared_thread


def test_a_monitor_s_thread_does_not_belong_to_a_visitor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_a_shared_thread(monkeypatch, lambda: Monitor(Bus(), print).start())
