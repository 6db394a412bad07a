"""``how_to/data_admin``: sqladmin's pages, mounted behind the application's own log-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from examples.how_to.data_admin.app import Shop
from micropie.middleware import SecurityDefaults
from tests.support.clients import MakeClient

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    make: Any = Shop
    shop: Any = make(f"sqlite:///{tmp_path / 'shop.db'}", security=SecurityDefaults("testserver"))
    shop.init_db()
    return shop  # type: ignore[no-any-return]


def test_only_staff_sees_and_changes_data(shop: Shop, make_client: MakeClient) -> None:
    client = make_client(shop, validate=False)  # Starlette's redirects have no type
    pie = {"name": "<plum>", "price": "4", "save": "Save"}
    for role in ("", "guest"):
        if role:
            client.login(role=role)
        for path in ("/admin", "/admin/pie/list", "/admin/statics/css/main.css"):
            assert client.get(path).headers["location"] == "/login"
        refused = client.post("/admin/pie/create", data=pie, headers=SAME_ORIGIN)
        assert refused.headers["location"] == "/login"
    client.login(role="staff")
    assert client.get("/admin/statics/css/main.css").status_code == 200
    assert client.post("/admin/pie/create", data=pie).status_code == 403  # from another site
    made = client.post("/admin/pie/create", data=pie, headers=SAME_ORIGIN)
    assert made.headers["location"].endswith("/admin/pie/list")
    shown = client.get("/admin/pie/list").text
    assert "&lt;plum&gt;" in shown
    assert "/admin/pie/edit/1" in shown
    changed = {**pie, "name": "cherry"}
    assert client.post("/admin/pie/edit/1", data=changed, headers=SAME_ORIGIN).status_code == 302
    assert "cherry" in client.get("/admin/pie/list?search=cher").text
