"""Computing in other processes, and an old application that is mounted and moved: ``primes``, ``moved``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.examples.serving import Browse, browsing, serving_examples
from tests.servers.harness import ANSWER_WITHIN, KINDS, ServerOf


@pytest.fixture(scope="module")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerOf]:
    with serving_examples("primes moved", tmp_path_factory.mktemp("work")) as server_of:
        yield server_of


@pytest.fixture(params=["hypercorn-trio", "gunicorn-gthread"])
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def browse(kind: str, server_of: ServerOf) -> Iterator[Browse]:
    with browsing(server_of(kind)) as browse:
        yield browse


def test_primes(browse: Browse) -> None:
    client = browse("primes")
    assert client.get("count?limit=100").json() == {"limit": 100, "primes": 25, "ran in": "process"}
    with client.stream("GET", "progress?limit=100&steps=2") as answer:
        assert list(answer.iter_lines()) == ["15 primes below 50", "25 primes below 100"]
    assert client.get("ping").text == "pong"


def test_moved(browse: Browse, kind: str, server_of: ServerOf) -> None:
    client = browse("moved")
    for place in ("mounted", "moved"):
        assert client.get(f"{place}/pie").json() == {"name": "pie", "text": "A pie is baked."}
        assert client.get(f"{place}/cake").status_code == 404
        saved = client.post(f"{place}/cake", data={"text": "A cake, too."})
        assert (saved.status_code, saved.text) == (201, "saved")
        assert client.get(f"{place}/cake").json()["text"] == "A cake, too."
    assert client.get("moved/length/pie").json() == {"length": 3}
    if KINDS[kind].protocol == "asgi":
        url = f"ws://127.0.0.1:{server_of(kind).port}/moved/moved/echo"
        with connect(url, proxy=None, open_timeout=ANSWER_WITHIN) as socket:
            socket.send("pie!")
            assert socket.recv(ANSWER_WITHIN) == "pie!"
