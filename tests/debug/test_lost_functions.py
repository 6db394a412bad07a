"""A function that has the route of a method, and no application, is told at the 404 of its page."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from micropie.extensions import Inspector
from tests.support.clients import MakeClient

LOST = """from micropie import App, get
app = App(debug=True)
@get("/about")
def about(): return ""
@app.get("/found")
@get("/other")
def found(): return ""
def plain(): return ""
"""


def test_a_lost_function_is_reported_at_its_404(
    make_client: MakeClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "lost_functions_here.py").write_text(LOST)
    importlib.invalidate_caches()
    module = importlib.import_module("lost_functions_here")
    try:
        assert Inspector.lost_functions(module.app, module.__name__) == [module.about]
        assert Inspector.lost_functions(module.app, "no_module") == []
        client = make_client(module.app)
        assert client.get("/found").status_code == 200
        assert caplog.text == ""
        assert client.get("/about").status_code == 404
    finally:
        del sys.modules[module.__name__]
    assert [one.getMessage() for one in caplog.records] == [
        "lost_functions_here.py:3: about belongs to no application: write @app.get above it"
    ]
