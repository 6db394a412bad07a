"""Migrated programs, which need the distribution in ``compat/``: in each world and on a server, alone
and mounted. ``make test-compat`` has its own tests.
"""

from __future__ import annotations

import json
import tempfile
from typing import Any

import pytest

from tests.servers.harness import KINDS, start
from tests.smoke.migrated import app, shop, wiki
from tests.support.clients import MakeClient

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("target", "prefix"), [(wiki, ""), (app, "/wiki")], ids=["alone", "mounted"]
)
def test_a_bottle_program_works_after_migration(
    target: Any, prefix: str, make_client: MakeClient
) -> None:
    client = make_client(target)
    assert client.get(f"{prefix}/pages/pie?of=ann").json() == {"name": "pie", "from": "ann"}
    assert "No such page." in (refused := client.get(f"{prefix}/pages/none")).text
    assert refused.status_code == 404
    saved = client.post(f"{prefix}/pages/pie", data={"text": "crème"})
    assert (saved.status_code, saved.text) == (201, "pie: crème")


@pytest.mark.parametrize(
    ("target", "prefix"), [(shop, ""), (app, "/shop")], ids=["alone", "mounted"]
)
def test_a_cherrypy_program_works_after_migration(
    target: Any, prefix: str, make_client: MakeClient
) -> None:
    client = make_client(target)
    assert f"{prefix}/price'>prices" in client.get(f"{prefix}/").text
    assert client.get(f"{prefix}/price/plum?pieces=3").json() == {"pie": "plum", "price": 12}
    assert "No such pie." in (refused := client.get(f"{prefix}/price/apple")).text
    assert refused.status_code == 404


@pytest.mark.processes
@pytest.mark.smoke
@pytest.mark.parametrize(("name", "program"), [("uvicorn", "shop"), ("gunicorn-gthread", "wiki")])
def test_migrated_programs_work_on_a_server(name: str, program: str) -> None:
    with tempfile.TemporaryFile() as log:
        server = start(KINDS[name], f"tests.smoke.migrated:{program}", log, workers=1)
        try:
            if program == "wiki":
                page = server.request("GET", "/pages/pie?of=ann")
                assert json.loads(page.body) == {"name": "pie", "from": "ann"}
                saved = server.request("POST", "/pages/pie", FORM, b"text=cr%C3%A8me")
                assert (saved.status, saved.body.decode()) == (201, "pie: crème")
            else:
                page = server.request("GET", "/price/plum?pieces=3")
                assert json.loads(page.body) == {"pie": "plum", "price": 12}
                assert server.request("GET", "/price/apple").status == 404
        finally:
            server.end()
        assert not server.leftovers(), server.output()
