from micropie.testing import TestClient

from app import app


def test_the_place_of_a_mistake():
    ingredients = [{"name": "plums", "grams": 800}, {"name": "salt", "grams": 0}]
    with TestClient(app) as client:
        answer = client.post("/recipes", json={"name": "Plum pie", "ingredients": ingredients})
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["path"] == ["ingredients", 1, "grams"]
