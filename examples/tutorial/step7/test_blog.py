import pytest

from micropie.testing import TestClient

from app import make_app
from database import Database


@pytest.fixture(params=["wsgi", "asgi"])
def client(request, tmp_path):
    database = Database(tmp_path / "blog.db")
    database.create_tables()
    database.add_author("ann", "apple pie")
    database.add_post("ann", "Apple pie", "Take six apples.")
    app = make_app({"BLOG_DATA": tmp_path, "BLOG_HOSTS": "testserver"})
    with TestClient(app, protocol=request.param) as client:
        yield client


def send(client, path, form):
    """Send a form with the CSRF token of its page, as a browser does."""
    _, _, rest = client.get("/login").text.partition('name="csrf_token" value="')
    token, _, _ = rest.partition('"')
    return client.post(path, data={**form, "csrf_token": token}, follow_redirects=True)


def test_everybody_can_read(client):
    assert "Apple pie" in client.get("/").text
    assert "Take six apples." in client.get("/read/1").text
    assert client.get("/read/2").status_code == 404


def test_only_authors_can_write(client):
    assert client.get("/write").headers["location"] == "/login"
    assert (
        "Name or password is wrong."
        in send(client, "/login", {"name": "ann", "password": "plum"}).text
    )
    assert (
        "Name or password is wrong."
        in send(client, "/login", {"name": "bob", "password": "apple pie"}).text
    )
    assert client.get("/write").status_code == 303


def test_an_author_writes(client):
    send(client, "/login", {"name": "ann", "password": "apple pie"})
    page = send(client, "/write", {"title": "Plum pie", "text": "<b>Take plums.</b>"})
    assert page.url.path == "/read/2"
    assert "The post is published." in page.text
    assert "&lt;b&gt;Take plums." in page.text


def test_a_form_with_a_mistake_keeps_what_is_right(client):
    send(client, "/login", {"name": "ann", "password": "apple pie"})
    page = send(client, "/write", {"title": "", "text": "Take plums."})
    assert page.status_code == 422
    assert "Please fill in this field." in page.text
    assert "Take plums." in page.text


def test_log_out(client):
    send(client, "/login", {"name": "ann", "password": "apple pie"})
    assert client.get("/write").status_code == 200
    send(client, "/logout", {})
    assert client.get("/write").status_code == 303


def test_no_other_site_can_send_our_forms(client):
    form = {"name": "ann", "password": "apple pie"}
    assert (
        client.post("/login", data=form, headers={"Origin": "https://evil.example"}).status_code
        == 403
    )


def test_nobody_guesses_passwords_quickly(client):
    answers = [send(client, "/login", {"name": "ann"}).status_code for _ in range(11)]
    assert answers == [422] * 10 + [429]


def test_it_is_healthy(client):
    assert client.get("/healthz").json()["status"] == "ok"
