"""The programs in the public documents of MicroPie and pixie_web, each as a reader would type it.

What such a document states and micropie does otherwise is in ``INTENTIONAL``, with the page that
says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from micropie.testing import TestClient
from micropie_compat import pixie_web
from tests.support.clients import MakeClient

ROOT = Path(__file__).parents[2]
IMPORTS = "from micropie import App, Server, HttpMiddleware\n"
TEMPLATE = "<title>{{ title }}</title><h1>{{ message }}</h1>"

Check = Callable[[TestClient], object]

# Each snippet, with what the document says about it.
SNIPPETS: dict[str, tuple[str, Check]] = {
    "the first application": (
        """
from micropie import App

class MyApp(App):
    async def index(self):
        return "Welcome to MicroPie ASGI."

app = MyApp()
""",
        lambda client: client.get("/").text == "Welcome to MicroPie ASGI.",
    ),
    "the first application of the first versions": (
        """
from micropie import Server

class MyApp(Server):
    async def index(self):
        return "Welcome to MicroPie ASGI."

app = MyApp()
""",
        lambda client: client.get("/").text == "Welcome to MicroPie ASGI.",
    ),
    "GET": (
        """
class MyApp(App):
    async def greet(self, name="Guest"):
        return f"Hello, {name}!"

    async def hello(self):
        name = self.request.query_params.get("name", [None])[0]
        return f"Hello {name}!"
""",
        lambda client: (
            [client.get(path).text for path in ("/greet?name=Alice", "/greet/Alice", "/greet")]
            == ["Hello, Alice!", "Hello, Alice!", "Hello, Guest!"]
            and client.get("/hello?name=Alice").text == "Hello Alice!"
            and client.get("/_private").status_code == 404
        ),
    ),
    "POST": (
        """
class MyApp(App):
    async def submit_default_values(self, username="Anonymous"):
        return f"Form submitted by: {username}"

    async def submit_catch_all(self):
        username = self.request.body_params.get("username", ["Anonymous"])[0]
        return f"Submitted by: {username}"
""",
        lambda client: (
            client.post("/submit_default_values").text == "Form submitted by: Anonymous"
            and client.post("/submit_default_values", data={"username": "A"}).text[-2:] == " A"
            and client.post("/submit_default_values", json={"username": "A"}).text[-2:] == " A"
            and client.post("/submit_catch_all", data={"username": "A"}).text == "Submitted by: A"
            and client.post("/submit_catch_all").text == "Submitted by: Anonymous"
        ),
    ),
    "POST of the first versions": (
        """
class MyApp(Server):
    async def submit_default_values(self, username="Anonymous"):
        return f"Form submitted by: {username}"

    async def submit_catch_all(self):
        username = self.body_params.get('username', ['Anonymous'])[0]
        return f"Submitted by: {username}"
""",
        lambda client: (
            client.post("/submit_catch_all", data={"username": "A"}).text == "Submitted by: A"
        ),
    ),
    "templates": (
        """
class MyApp(App):
    async def index(self):
        return await self._render_template("index.html", title="Welcome", message="Hello from MicroPie!")
""",
        lambda client: (
            client.get("/").text == "<title>Welcome</title><h1>Hello from MicroPie!</h1>"
            and client.get("/").headers["Content-Type"].startswith("text/html")
        ),
    ),
    "templates of the first versions": (
        """
class MyApp(Server):
    async def index(self):
        return await self.render_template("index.html", title="Welcome", message="Hello")
""",
        lambda client: client.get("/").text == "<title>Welcome</title><h1>Hello</h1>",
    ),
    "templates with other names": (
        """
class Web2(App):
    async def index(self):
        return await self._render_template("index.html", title="Hello", message="World")
""",
        lambda client: client.get("/").text == "<title>Hello</title><h1>World</h1>",
    ),
    "streams": (
        """
class MyApp(App):
    async def stream(self):
        async def generator():
            for i in range(1, 6):
                yield f"Chunk {i}\\n"
        return generator()
""",
        lambda client: client.get("/stream").text == "".join(f"Chunk {i}\n" for i in range(1, 6)),
    ),
    "sessions": (
        """
class MyApp(App):
    async def index(self):
        if "visits" not in self.request.session:
            self.request.session["visits"] = 1
        else:
            self.request.session["visits"] += 1
        return f"You have visited {self.request.session['visits']} times."
""",
        lambda client: (
            [client.get("/").text[-8:] for _ in range(2)] == ["1 times.", "2 times."]
            and "session_id" in client.cookies
        ),
    ),
    "a counter of visits": (
        """
class RememberMe(App):
    async def index(self):
        visits = self.request.session.get("visits", 0)
        self.request.session["visits"] = visits + 1
        return f"Visit #{visits + 1}. Still here?"
""",
        lambda client: [client.get("/").text[:8] for _ in range(2)] == ["Visit #1", "Visit #2"],
    ),
    "sessions of the first versions": (
        """
class MyApp(Server):
    async def index(self):
        if "visits" not in self.session:
            self.session["visits"] = 1
        else:
            self.session["visits"] += 1
        return f"You have visited {self.session['visits']} times."
""",
        lambda client: [client.get("/").text[-8:] for _ in range(2)] == ["1 times.", "2 times."],
    ),
    "middleware": (
        """
from micropie import App, HttpMiddleware

class MiddlewareExample(HttpMiddleware):
    async def before_request(self, request):
        print("Hook before request")

    async def after_request(self, request, status_code, response_body, extra_headers):
        print("Hook after request")


class Root(App):
    async def index(self):
        print("Hello, World!")
        return "Hello, World!"

app = Root()
app.middlewares.append(MiddlewareExample())
""",
        lambda client: client.get("/").text == "Hello, World!",
    ),
    "middleware with short names": (
        """
class Judge(HttpMiddleware):
    async def before_request(self, request):
        print(f"Look who's hitting {request.path}... again.")

    async def after_request(self, request, status, body, headers):
        print("You got a response. For now.")

class MyApp(App):
    async def index(self):
        return "Hi. It's me. Your handler."

app = MyApp()
app.middlewares.append(Judge())
""",
        lambda client: client.get("/").text == "Hi. It's me. Your handler.",
    ),
    "a form's token in a hook": (
        """
class Csrf(HttpMiddleware):
    async def before_request(self, request):
        if request.method == "POST" and request.body_params.get("token", [""])[0] != "good":
            return {"status_code": 403, "body": "no"}

    async def after_request(self, request, status_code, response_body, extra_headers):
        return None

class MyApp(App):
    async def index(self, token=""):
        return token

app = MyApp()
app.middlewares.append(Csrf())
""",
        lambda client: (
            client.post("/", data={"token": "good"}).text == "good"
            and client.post("/", data={"token": "bad"}).status_code == 403
            and client.post("/").status_code == 403
        ),
    ),
    "methods that are pages": (
        """
class AppOfMystery(App):
    async def greet(self, name):
        return f"Hello {name}. You're in /greet/{name}"

    async def scream(self):
        return "AAAAAAAAAAAAAAAAAAA"

    async def info(self, name="Ghost", age="???"):
        return f"{name} is {age} years old. Allegedly."

    async def drip_feed(self):
        async def gen():
            for i in range(5):
                yield f"Chunk {i}\\n"
        return gen()

    async def _please_dont_call_this(self):
        return "private"

    async def away(self):
        return self._redirect("/scream")

    async def taken(self):
        return 418, {"tea": True}, [("X-Pot", "short")]
""",
        lambda client: (
            client.get("/greet/Bob").text == "Hello Bob. You're in /greet/Bob"
            and client.get("/greet").status_code == 400
            and client.get("/scream").text.startswith("AAAA")
            and client.get("/info/Ann/7").text == "Ann is 7 years old. Allegedly."
            and client.get("/info").text == "Ghost is ??? years old. Allegedly."
            and client.get("/drip_feed").text.startswith("Chunk 0\nChunk 1\n")
            and client.get("/_please_dont_call_this").status_code == 404
            and client.get("/away").headers["Location"] == "/scream"
            and client.get("/taken").status_code == 418
            and client.get("/taken").headers["X-Pot"] == "short"
            and client.get("/none").status_code == 404
        ),
    ),
}

# What the documents state and micropie does otherwise, each with a page of the documentation and
# words on it.
INTENTIONAL = {
    "from MicroPie import Server": ("moving/micropie.md", "from MicroPie import Server"),
    "WebSocket(receive, send)": ("websockets.md", "ws"),
    "cookies and session data as parameters": ("moving/micropie.md", "never from cookies or"),
    "_parse_multipart, _send_response": ("moving/micropie.md", "_send_response"),
    "_redirect has the status 302": ("moving/micropie.md", "status 303"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "index.html").write_text(TEMPLATE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_of_the_docs_runs(make_client: MakeClient, folder: Path, name: str) -> None:
    source, holds = SNIPPETS[name]
    program: dict[str, Any] = {"__name__": "program"}
    exec(IMPORTS + source, program)
    app = program.get("app")
    if app is None:
        *_, found = re.findall(r"^class (\w+)\((?:App|Server)\)", source, re.MULTILINE)
        app = program[found]()
    assert holds(make_client(app))


# The class, the path and what its handler sends for "pie", by snippet.
WEBSOCKETS = {
    """
class Root(App):

    async def ws_echo(self, ws):
        await ws.accept()
        while True:
            msg = await ws.receive_text()
            await ws.send_text(f"Echo: {msg}")
""": ("Root", "/echo", "Echo: pie"),
    """
class TalkToMe(App):
    async def ws_chat(self, ws):
        await ws.accept()
        while True:
            msg = await ws.receive_text()
            await ws.send_text(f"You said: {msg}")
""": ("TalkToMe", "/chat", "You said: pie"),
}


@pytest.mark.parametrize("world", ["asyncio", "trio"])
@pytest.mark.parametrize("source", WEBSOCKETS)
def test_the_docs_websocket_examples_run(connect: MakeClient, world: str, source: str) -> None:
    name, path, expected = WEBSOCKETS[source]
    program: dict[str, Any] = {"__name__": "program"}
    exec(IMPORTS + source, program)
    with connect(program[name](), world).websocket(path) as socket:
        socket.send_text("pie")
        assert socket.receive_text() == expected


def test_the_docs_lifespan_example_runs(
    make_client: MakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    program: dict[str, Any] = {"__name__": "program"}
    source = """
from micropie import App

app = App()

async def wake_up():
    print("Starting app...")

async def goodnight():
    print("Shutting down...")

app.startup_handlers.append(wake_up)
app.shutdown_handlers.append(goodnight)
"""
    exec(source, program)
    make_client(program["app"]).get("/")
    assert "Starting app..." in capsys.readouterr().out


def test_the_docs_pixie_web_example_runs(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from micropie import App

    app = App()
    monkeypatch.setattr(pixie_web, "app", app)
    source = """
from micropie_compat.pixie_web import route, run, Response, RouteType, proc_env

# Local synchronous
@route("/", RouteType.sync)
def index(env):
    return Response(f"Hello world from process type {proc_env.proc_type}")


# Local async
@route("/async", RouteType.asnc)
async def index_async(env):
    return Response(f"Hello world (async) from process type {proc_env.proc_type}")


if __name__ == "__main__":
    run()
"""
    exec(source, {"__name__": "program"})
    client = make_client(app)
    assert client.get("/").text == "Hello world from process type main"
    assert client.get("/async").text == "Hello world (async) from process type main"


@pytest.mark.parametrize("name", INTENTIONAL)
def test_each_intentional_difference_is_documented(name: str) -> None:
    page, words = INTENTIONAL[name]
    assert words in (ROOT / "docs" / page).read_text()
