"""What programs ask, answers in pieces, and uploads: ``hello``, ``api``, ``subapps``,
``streaming``, ``upload``, ``primes``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project.examples.serving import Browse, browsing, serving_examples
from tests.servers.harness import ServerOf

pytestmark = pytest.mark.processes

VIDEO = (Path(__file__).parents[3] / "examples" / "streaming" / "pie.webm").read_bytes()


@pytest.fixture(scope="module")
def server_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerOf]:
    with serving_examples(
        "hello api subapps streaming upload primes", tmp_path_factory.mktemp("programs")
    ) as server_of:
        yield server_of


@pytest.fixture(params=["granian-asgi", "granian-wsgi"])
def browse(request: pytest.FixtureRequest, server_of: ServerOf) -> Iterator[Browse]:
    with browsing(server_of(request.param)) as browse:
        yield browse


def test_the_hello_example_greets(browse: Browse) -> None:
    client = browse("hello")
    assert client.get("").text == "Hello, World!"
    assert client.get("greet/Ann?times=2").text == "Hello, Ann! Hello, Ann! "
    assert client.get("greet", params={"name": "<b>"}).text == "Hello, &lt;b&gt;! "
    assert client.get("greet/Ann?times=often").status_code == 400


def test_the_api_example_manages_tasks(browse: Browse) -> None:
    client = browse("api")
    made = client.post("tasks", json={"title": "Bake", "minutes": 45})
    assert made.status_code == 201
    task = {"id": made.json()["id"], "title": "Bake", "minutes": 45, "state": "open"}
    assert made.json() == task
    address = made.url.join(made.headers["location"])
    assert client.get(address).json() == task
    assert client.patch(address, json={"state": "done"}).json() == {**task, "state": "done"}
    assert [task["id"] for task in client.get("tasks?state=done").json()] == [task["id"]]
    assert client.get("tasks?state=open").json() == []
    wrong = client.post("tasks", json={"title": "", "minutes": 45})
    assert (wrong.status_code, wrong.headers["content-type"]) == (400, "application/problem+json")
    assert client.delete(address).status_code == 204
    assert client.get(address).json()["detail"] == f"There is no task {task['id']}."
    assert set(client.get("openapi.json").json()["paths"]) == {"/tasks", "/tasks/{number}"}
    assert "<title>Tasks</title>" in client.get("docs").text


def test_the_subapps_example_sells_pies(browse: Browse) -> None:
    client = browse("subapps")
    shop = client.get("shop")
    assert "apple: 3" in shop.text
    token = re.findall(r'name="csrf_token" value="([^"]+)"', shop.text)[0]
    bought = client.post("shop/buy/plum", data={"csrf_token": token})
    assert "plum: 0" in bought.text
    assert "In your basket: plum" in bought.text
    assert client.post("shop/buy/plum", data={"csrf_token": token}).status_code == 409
    assert client.get("office").status_code == 403
    assert "Left: 3" in client.get("office?key=sesame").text
    assert client.get("api/pies").status_code == 401
    answer = client.get("api/pies", headers={"Authorization": "Bearer sesame"})
    assert answer.json() == {"apple": 3, "plum": 0}


def test_the_streaming_example_sends_rows_and_ranges(browse: Browse) -> None:
    client = browse("streaming")
    with client.stream("GET", "report?rows=3") as answer:
        assert list(answer.iter_lines()) == ["row,square", "0,0", "1,1", "2,4"]
    whole = client.get("video")
    assert (whole.headers["content-type"], whole.content) == ("video/webm", VIDEO)
    part = client.get("video", headers={"Range": "bytes=1000-1999"})
    assert (part.status_code, part.content) == (206, VIDEO[1000:2000])
    assert client.get("video", headers={"Range": f"bytes={len(VIDEO)}-"}).status_code == 416


def test_the_upload_example_hashes_files(browse: Browse) -> None:
    client = browse("upload")
    content = os.urandom(3_000_000)
    sent = [("file", ("pie.bin", content)), ("file", ("empty.txt", b""))]
    assert client.post("upload", files=sent).json() == [
        {"name": "pie.bin", "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()},
        {"name": "empty.txt", "bytes": 0, "sha256": hashlib.sha256().hexdigest()},
    ]
    page = client.get("")
    nonce = re.findall(r'nonce="([^"]+)"', page.text)[0]
    assert f"'nonce-{nonce}'" in page.headers["content-security-policy"]


def test_the_primes_example_counts_in_a_process(browse: Browse) -> None:
    client = browse("primes")
    assert client.get("count?limit=100").json() == {"limit": 100, "primes": 25, "ran in": "process"}
    with client.stream("GET", "progress?limit=100&steps=2") as answer:
        assert list(answer.iter_lines()) == ["15 primes below 50", "25 primes below 100"]
    assert client.get("ping").text == "pong"
