"""``how_to/reloaded``: a page that reloads when a file has changed or the server has started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

import examples.how_to.reloaded.app as example
from micropie.testing import TestClient


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_page_learns_of_each_change(backend: str, tmp_path: Path) -> None:
    page = tmp_path / "pages" / "index.html"
    page.parent.mkdir()
    page.write_text("old")
    shop: Any = example.Shop(template_globals={"debug": True})
    reload: Any = example.reload_pages
    reload(shop, tmp_path)
    with TestClient(shop, backend=backend) as client:
        assert 'new EventSource("/changes")' in client.get("/").text
        with client.sse("/changes") as events:
            assert next(events).data == "changed"
            os.utime(page, ns=(0, page.stat().st_mtime_ns + 10**9))
            assert next(events).data == "changed"


def test_no_page_reloads_in_production() -> None:
    with TestClient(example.app) as client:
        assert "<script>" not in client.get("/").text
        assert client.get("/changes").status_code == 404
