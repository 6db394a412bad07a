"""The tests of Conduit under WSGI, asyncio and trio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.conduit.app import make_app
from micropie.testing import TestClient


@pytest.fixture(
    params=[{"protocol": "wsgi"}, {"backend": "asyncio"}, {"backend": "trio"}],
    ids=["wsgi", "asyncio", "trio"],
)
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TestClient]:
    with TestClient(make_app(tmp_path / "conduit.db"), **request.param) as client:
        client.base_url = "http://testserver/api/"
        yield client


def register(client: TestClient, name: str) -> dict[str, str]:
    """Register a user, and return the Authorization header for the user's requests."""
    user = {"username": name, "email": f"{name}@pie.example", "password": "apple"}
    answer = client.post("users", json={"user": user})
    assert answer.status_code == 201
    return {"Authorization": f"Token {answer.json()['user']['token']}"}


def publish(client: TestClient, headers: dict[str, str], title: str, *tags: str) -> Any:
    article = {"title": title, "description": "a pie", "body": "Bake it.", "tagList": tags}
    answer = client.post("articles", json={"article": article}, headers=headers)
    assert answer.status_code == 201
    return answer.json()["article"]


def test_a_user_registers_logs_in_and_changes(client: TestClient) -> None:
    ann = register(client, "ann")
    assert client.get("user", headers=ann).json()["user"]["bio"] is None
    login = {"user": {"email": "ann@pie.example", "password": "apple"}}
    assert client.post("users/login", json=login).json()["user"]["username"] == "ann"
    change = {"user": {"bio": "Bakes.", "password": "plum"}}
    assert client.put("user", json=change, headers=ann).json()["user"]["bio"] == "Bakes."
    cleared = client.put("user", json={"user": {"bio": ""}}, headers=ann)
    assert cleared.json()["user"]["bio"] is None
    refused = client.post("users/login", json=login)
    assert (refused.status_code, refused.json()) == (401, {"errors": {"credentials": ["invalid"]}})
    stranger = {"user": {"email": "eve@pie.example", "password": "apple"}}
    assert client.post("users/login", json=stranger).status_code == 401


@pytest.mark.parametrize(
    ("headers", "reason"), [({}, "is missing"), ({"Authorization": "Token x"}, "is invalid")]
)
def test_a_token_is_required(client: TestClient, headers: dict[str, str], reason: str) -> None:
    for method, path in (("GET", "user"), ("GET", "articles/feed"), ("DELETE", "articles/a")):
        refused = client.request(method, path, headers=headers)
        assert (refused.status_code, refused.json()) == (401, {"errors": {"token": [reason]}})
        assert refused.headers["WWW-Authenticate"] == "Token"


def test_invalid_values_are_explained(client: TestClient) -> None:
    ann = register(client, "ann")
    blank = {"user": {"username": "", "email": "ann@pie.example"}}
    answer = client.post("users", json=blank)
    assert answer.status_code == 422
    assert answer.json()["errors"]["username"] == ["can't be blank"]
    assert "errors" in client.get("articles?limit=1000").json()
    for change in ({"email": None}, {"username": ""}):
        assert client.put("user", json={"user": change}, headers=ann).status_code == 422
    register(client, "bob")
    for name, value in (("username", "bob"), ("email", "bob@pie.example")):
        answer = client.put("user", json={"user": {name: value}}, headers=ann)
        assert answer.status_code == 409
        assert answer.json() == {"errors": {name: ["has already been taken"]}}
    again = {"user": {"username": "bob", "email": "new@pie.example", "password": "fig"}}
    assert client.post("users", json=again).status_code == 409


def test_articles_are_published_found_and_changed(client: TestClient) -> None:
    ann, bob = register(client, "ann"), register(client, "bob")
    article = publish(client, ann, "Plum pie", "sweet", "fruit")
    slug = article["slug"]
    assert slug.startswith("plum-pie-")
    assert article["tagList"] == ["fruit", "sweet"]
    assert publish(client, ann, "Plum pie")["slug"] != slug
    assert client.get("tags").json() == {"tags": ["fruit", "sweet"]}
    for query, total in (
        ("", 2),
        ("?tag=sweet", 1),
        ("?author=ann", 2),
        ("?author=bob", 0),
        ("?favorited=bob", 0),
        ("?limit=1", 2),
    ):
        found = client.get(f"articles{query}").json()
        assert found["articlesCount"] == total
        assert all("body" not in one for one in found["articles"])
    assert len(client.get("articles?limit=1&offset=1").json()["articles"]) == 1
    change = {"article": {"body": "Bake it longer.", "tagList": []}}
    changed = client.put(f"articles/{slug}", json=change, headers=ann).json()["article"]
    assert (changed["title"], changed["body"]) == ("Plum pie", "Bake it longer.")
    assert changed["updatedAt"] > changed["createdAt"]
    kept = client.put(f"articles/{slug}", json={"article": {}}, headers=ann).json()["article"]
    assert (kept["tagList"], kept["body"]) == ([], "Bake it longer.")
    refused = client.put(f"articles/{slug}", json=change, headers=bob)
    assert (refused.status_code, refused.json()["errors"]) == (403, {"article": ["forbidden"]})
    assert client.delete(f"articles/{slug}", headers=ann).status_code == 204
    gone = client.get(f"articles/{slug}")
    assert (gone.status_code, gone.json()["errors"]) == (404, {"article": ["not found"]})


def test_a_member_follows_and_marks_favourites(client: TestClient) -> None:
    ann, bob = register(client, "ann"), register(client, "bob")
    slug = publish(client, ann, "Plum pie")["slug"]
    assert client.get("articles/feed", headers=bob).json()["articlesCount"] == 0
    followed = client.post("profiles/ann/follow", headers=bob).json()["profile"]
    assert followed["following"] is True
    [shown] = client.get("articles/feed", headers=bob).json()["articles"]
    assert shown["author"]["following"] is True
    marked = client.post(f"articles/{slug}/favorite", headers=bob).json()["article"]
    assert (marked["favorited"], marked["favoritesCount"]) == (True, 1)
    assert client.get("articles?favorited=bob").json()["articlesCount"] == 1
    marked = client.delete(f"articles/{slug}/favorite", headers=bob).json()["article"]
    assert (marked["favorited"], marked["favoritesCount"]) == (False, 0)
    left = client.delete("profiles/ann/follow", headers=bob).json()["profile"]
    assert left["following"] is False
    missing = client.get("profiles/eve")
    assert (missing.status_code, missing.json()["errors"]) == (404, {"profile": ["not found"]})


def test_comments_are_written_and_removed(client: TestClient) -> None:
    ann, bob = register(client, "ann"), register(client, "bob")
    place = f"articles/{publish(client, ann, 'Plum pie')['slug']}/comments"
    made = client.post(place, json={"comment": {"body": "Good."}}, headers=bob)
    assert made.status_code == 201
    number = made.json()["comment"]["id"]
    [shown] = client.get(place).json()["comments"]
    assert (shown["body"], shown["author"]["username"]) == ("Good.", "bob")
    assert client.delete(f"{place}/{number}", headers=ann).status_code == 403
    assert client.delete(f"{place}/{number}", headers=bob).status_code == 204
    assert client.delete(f"{place}/{number}", headers=bob).status_code == 404
    assert client.get(place).json() == {"comments": []}


def test_scripts_of_other_sites_may_ask(client: TestClient) -> None:
    headers = {"Origin": "https://pie.example", "Access-Control-Request-Method": "PUT"}
    headers["Access-Control-Request-Headers"] = "authorization,content-type"
    answer = client.options("user", headers=headers)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
