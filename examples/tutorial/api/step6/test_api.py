import pytest

from micropie.testing import TestClient

from app import make_app

PIE = {"name": "Apple pie", "ingredients": [{"name": "apples", "grams": 800}], "minutes": 90}


@pytest.fixture(params=["wsgi", "asgi"])
def client(request, tmp_path):
    with TestClient(make_app(f"sqlite:///{tmp_path}/test.db"), protocol=request.param) as client:
        yield client


def token_of(client, name):
    user = {"name": name, "password": "apple pie"}
    assert client.post("/users", json=user).json() == {"name": name}
    return {"Authorization": f"Bearer {client.post('/tokens', json=user).json()['token']}"}


def test_a_recipe_is_added_with_a_token(client):
    ann = token_of(client, "ann")
    made = client.post("/recipes", json=PIE, headers=ann)
    assert made.status_code == 201
    assert made.json() == {**PIE, "id": 1, "author": {"name": "ann"}}
    assert client.get(made.headers["location"]).json() == made.json()


def test_without_a_token_nothing_is_added(client):
    refused = client.post("/recipes", json=PIE)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == 'Bearer realm="Please log in"'
    assert (
        client.post("/recipes", json=PIE, headers={"Authorization": "Bearer wrong"}).status_code
        == 401
    )
    assert client.get("/recipes").json() == []


def test_the_name_or_the_password_is_wrong(client):
    token_of(client, "ann")
    for name, password in (("ann", "plum pie"), ("bob", "apple pie")):
        assert client.post("/tokens", json={"name": name, "password": password}).status_code == 403


def test_names_are_taken_once(client):
    ann = token_of(client, "ann")
    assert client.post("/users", json={"name": "ann", "password": "plum pie"}).status_code == 409
    assert client.post("/recipes", json=PIE, headers=ann).status_code == 201
    assert client.post("/recipes", json=PIE, headers=ann).status_code == 409


def test_only_its_author_deletes_a_recipe(client):
    ann, bob = token_of(client, "ann"), token_of(client, "bob")
    client.post("/recipes", json=PIE, headers=ann)
    assert client.delete("/recipes/1", headers=bob).status_code == 403
    assert client.delete("/recipes/1", headers=ann).status_code == 204
    assert client.delete("/recipes/1", headers=ann).status_code == 404


def test_quick_recipes(client):
    ann = token_of(client, "ann")
    client.post("/recipes", json=PIE, headers=ann)
    client.post("/recipes", json={**PIE, "name": "Toast", "minutes": 5}, headers=ann)
    assert [one["name"] for one in client.get("/recipes?up_to=10").json()] == ["Toast"]


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"name": ""}, ["name"]),
        (
            {"ingredients": [{"name": "apples", "grams": 1}, {"name": "salt", "grams": 0}]},
            ["ingredients", 1, "grams"],
        ),
    ],
)
def test_a_mistake_is_named_by_its_place(client, change, place):
    answer = client.post("/recipes", json={**PIE, **change}, headers=token_of(client, "ann"))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["path"] == place
