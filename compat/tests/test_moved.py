"""Old applications that are mounted and moved: ``moved``."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2 as httpx
import pytest
from websockets.sync.client import connect

from tests.servers.harness import ANSWER_WITHIN, KINDS, ServerOf, serving

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def server_of() -> Iterator[ServerOf]:
    with serving("examples.moved.app:app") as server_of:
        yield server_of


@pytest.mark.parametrize("kind", ["hypercorn-trio", "gunicorn-gthread"])
def test_a_migrated_application_works_mounted_and_alone(kind: str, server_of: ServerOf) -> None:
    address = f"127.0.0.1:{server_of(kind).port}"
    with httpx.Client(
        base_url=f"http://{address}", timeout=ANSWER_WITHIN, trust_env=False
    ) as client:
        for place in ("/mounted", "/moved"):
            assert client.get(f"{place}/wiki/pie").json() == {
                "name": "pie",
                "text": "A pie is baked.",
            }
            assert client.get(f"{place}/wiki/cake").status_code == 404
            saved = client.post(f"{place}/wiki/cake", data={"text": "A cake, too."})
            assert (saved.status_code, saved.text) == (201, "saved")
            assert client.get(f"{place}/wiki/cake").json()["text"] == "A cake, too."
            assert client.get(f"{place}/shop/").text == f"pies: {place}/shop/price/plum"
            assert client.get(f"{place}/shop/price/plum?pieces=3").json() == {
                "pie": "plum",
                "price": 12,
            }
            assert client.get(f"{place}/shop/price/mud").status_code == 404
        assert client.get("/moved/wiki/length/pie").json() == {"length": 3}
    if KINDS[kind].protocol == "asgi":
        with connect(
            f"ws://{address}/moved/wiki/echo", proxy=None, open_timeout=ANSWER_WITHIN
        ) as socket:
            socket.send("pie!")
            assert socket.recv(ANSWER_WITHIN) == "pie!"
