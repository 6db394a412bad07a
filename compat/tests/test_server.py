"""``Server``, used as older applications use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from micropie import App, Server
from micropie.testing import TestClient
from tests.support.clients import MakeClient


class MyApp(Server):
    async def index(self) -> str:
        if "visits" not in self.session:
            self.session["visits"] = 1
        else:
            self.session["visits"] += 1
        return f"You have visited {self.session['visits']} times."

    async def greet(self, name: str = "Guest") -> str:
        return f"Hello, {name}!"

    def hello(self) -> str:
        name = self.query_params.get("name", ["nobody"])[0]
        return f"Hello {name}"

    async def submit_default_values(self, username: str = "Anonymous") -> str:
        return f"Form submitted by: {username}"

    async def submit_catch_all(self) -> str:
        username = self.body_params.get("username", ["Anonymous"])[0]
        return f"Submitted by: {username}"

    def parts(self, *args: str) -> Any:
        return list(self.path_params)

    def upload(self) -> Any:
        return {name: file.filename for name, file in self.files.items()}

    def replace(self) -> str:
        self.session = {"visits": 10}
        return "replaced"

    def leave(self) -> Any:
        return self.redirect("/greet")

    async def page(self) -> str:
        return await self.render_template("page.html", who="<b>")

    async def stream(self) -> Any:
        async def generator() -> Any:
            for i in range(1, 6):
                yield f"Chunk {i}\n"

        return generator()


@pytest.fixture
def app(tmp_path: Path) -> App:
    (tmp_path / "page.html").write_text("Hello {{ who }}")
    return MyApp(templates=str(tmp_path))


def test_a_micropie_server_is_an_app() -> None:
    assert issubclass(Server, App)


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("/greet/Alice", "Hello, Alice!"),
        ("/greet?name=Alice", "Hello, Alice!"),
        ("/hello?name=Bob&name=Eve", "Hello Bob"),
        ("/hello", "Hello nobody"),
        ("/parts/a/b", '["a","b"]'),
        ("/page", "Hello &lt;b&gt;"),
        ("/stream", "Chunk 1\nChunk 2\nChunk 3\nChunk 4\nChunk 5\n"),
    ],
)
def test_the_readme_of_micropie_works(client: TestClient, target: str, answer: str) -> None:
    assert client.get(target).text == answer


def test_forms_of_a_micropie_server_work(client: TestClient) -> None:
    form = {"username": "Bob"}
    assert client.post("/submit_default_values", data=form).text == "Form submitted by: Bob"
    assert client.post("/submit_catch_all", data=form).text == "Submitted by: Bob"
    assert client.post("/submit_catch_all", json=form).text == "Submitted by: Bob"
    assert client.post("/submit_catch_all").text == "Submitted by: Anonymous"
    assert client.post("/upload", files={"file": ("a.txt", b"x")}).json() == {"file": "a.txt"}


def test_sessions_of_a_micropie_server_count_visits(client: TestClient) -> None:
    assert [client.get("/").text[17:18] for _ in range(3)] == ["1", "2", "3"]
    client.get("/replace")
    assert client.get("/").text == "You have visited 11 times."


def test_the_redirect_of_a_micropie_server_works(client: TestClient) -> None:
    response = client.get("/leave")
    assert (response.status_code, response.headers["location"]) == (303, "/greet")


@pytest.mark.parametrize(
    "name",
    [
        "session",
        "query_params",
        "body_params",
        "path_params",
        "files",
        "render_template",
        "redirect",
        "request",
    ],
)
def test_attributes_of_a_micropie_server_are_not_urls(client: TestClient, name: str) -> None:
    assert [client.get(f"/{name}").status_code, client.get(f"/{name}/x").status_code] == [404, 404]


def test_a_handler_may_have_the_name_of_an_attribute(make_client: MakeClient) -> None:
    class Files(Server):
        def redirect(self, to: str) -> Any:
            return f"mine {to}"

    assert make_client(Files()).get("/redirect/x").text == "mine x"


def test_a_server_and_an_app_can_contain_each_other(make_client: MakeClient, app: App) -> None:
    root: Any = Server()
    root.inner = app
    assert make_client(root).get("/inner/hello?name=x").text == "Hello x"


def test_outside_a_request_a_server_has_no_query() -> None:
    with pytest.raises(LookupError, match="no current request"):
        _ = MyApp().session
