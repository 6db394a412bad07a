"""The tests of Todo-Backend under WSGI, asyncio and trio."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from examples.todo_backend.app import Todos
from micropie.testing import TestClient


@pytest.fixture(
    params=[{"protocol": "wsgi"}, {"backend": "asyncio"}, {"backend": "trio"}],
    ids=["wsgi", "asyncio", "trio"],
)
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    with TestClient(Todos(), **request.param) as client:
        yield client


def test_a_todo_is_added_changed_and_removed(client: TestClient) -> None:
    made = client.post("/", json={"title": "bake", "order": 5})
    url = made.json()["url"]
    assert (made.status_code, made.headers["Location"]) == (201, url)
    assert url == "http://testserver/1"
    todo = {"url": url, "title": "bake", "order": 5, "completed": False}
    assert [client.get(url).json(), *client.get("/").json()] == [todo, todo]
    assert client.patch(url, json={"completed": True}).json() == {**todo, "completed": True}
    assert client.get(url).json()["completed"] is True
    assert client.patch(url, json={"title": ""}).status_code == 400
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404


def test_all_are_removed(client: TestClient) -> None:
    for title in ("one", "two"):
        client.post("/", json={"title": title})
    assert len(client.get("/").json()) == 2
    assert client.delete("/").status_code == 204
    assert client.get("/").json() == []


def test_scripts_of_other_sites_may_ask(client: TestClient) -> None:
    headers = {"Origin": "https://pie.example", "Access-Control-Request-Method": "PATCH"}
    headers["Access-Control-Request-Headers"] = "content-type"
    answer = client.options("/1", headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
