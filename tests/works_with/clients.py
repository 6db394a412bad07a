"""Clients, and what tests an application."""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from micropie import App, EventStream, event
from tests.works_with.listed import World, client_of, works
from tests.works_with.running import serving

SERVED = ("uvicorn", "tests.works_with.shop:app", "--port", "{port}")


@works("httpx2", "asyncio", "trio", "wsgi", what="its transports")
def httpx2(world: World) -> None:
    import anyio
    import httpx2

    app = App()
    app.get("/")(lambda: "hello")
    if world == "wsgi":
        transport = httpx2.WSGITransport(app=app)
        with httpx2.Client(transport=transport, base_url="http://a.example") as client:
            assert client.get("/").text == "hello"
        return

    async def ask() -> str:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://a.example") as client:
            return (await client.get("/")).text

    assert anyio.run(ask, backend=world) == "hello"


@works("httpx", "asyncio", "trio", "wsgi", what="its transports")
def httpx(world: World) -> None:
    import anyio
    import httpx

    app = App()
    app.get("/")(lambda: "hello")
    if world == "wsgi":
        with httpx.Client(
            transport=httpx.WSGITransport(app=app), base_url="http://a.example"
        ) as one:
            assert one.get("/").text == "hello"
        return

    async def ask() -> str:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://a.example") as client:
            return (await client.get("/")).text

    assert anyio.run(ask, backend=world) == "hello"


@works("starlette", "asyncio", "trio", what="its TestClient")
def starlette_client(world: World) -> None:
    from starlette.testclient import TestClient

    app = App()
    app.get("/")(lambda: "hello")
    with TestClient(app, backend=world) as client:
        assert client.get("/").text == "hello"


@works("webtest", "wsgi", what="forms, wsgiref's validator")
def webtest(world: World) -> None:
    from markupsafe import Markup
    from webtest import TestApp

    app = App()
    app.get("/")(lambda: Markup('<form method="post"><input name="pie"></form>'))
    app.post("/")(lambda pie: f"baked {pie}")
    form = TestApp(app).get("/").form
    form["pie"] = "plum"
    assert form.submit().text == "baked plum"
    assert TestApp(app).get("/none", status=404).status_int == 404


@works("requests-wsgi-adapter", "wsgi", what="POST")
def requests_adapter(world: World) -> None:
    import requests
    from wsgiadapter import WSGIAdapter

    app = App()
    app.post("/")(lambda pie: f"baked {pie}")
    with requests.Session() as session:
        session.mount("http://a.example", WSGIAdapter(app))
        assert session.post("http://a.example/", data={"pie": "plum"}).text == "baked plum"


@works("respx", what="a mocked service")
def respx(world: World) -> None:
    import httpx
    import respx

    app = App()
    app.get("/")(lambda: httpx.get("https://service.example/").text)
    with respx.mock(assert_all_called=True) as mock, client_of(app, world) as client:
        mock.get("https://service.example/").respond(text="plum")
        assert client.get("/").text == "plum"


@works("schemathesis", "asyncio", "wsgi")
def schemathesis(world: World) -> None:
    import schemathesis
    from hypothesis import given, settings

    kind = schemathesis.openapi.from_wsgi if world == "wsgi" else schemathesis.openapi.from_asgi
    checked = []
    for operation in kind("/openapi.json", Documented()).get_all_operations():

        @given(case=operation.ok().as_strategy())
        @settings(max_examples=20, deadline=None)
        def check(case: Any) -> None:
            case.call_and_validate()
            checked.append(case)

        check()
    assert checked


class Documented(App):
    """An application that serves its own document."""

    def __init__(self) -> None:
        super().__init__()
        self.get("/openapi.json")(self.openapi)

    def pie(self, number: int) -> dict[str, int]:
        return {"number": number}


@works("asgi-lifespan", "asyncio", "trio")
def asgi_lifespan(world: World) -> None:
    import anyio
    from asgi_lifespan import LifespanManager

    seen: list[str] = []

    class Site(App):
        @asynccontextmanager
        async def lifespan(self) -> AsyncIterator[None]:
            seen.append("start")
            yield
            seen.append("end")

    async def run() -> None:
        async with LifespanManager(Site()):
            assert seen == ["start"]
        assert seen == ["start", "end"]

    anyio.run(run, backend=world)


@works("httpx-sse", what="events")
def httpx_sse(world: World) -> None:
    import httpx
    from httpx_sse import connect_sse

    app = App()

    @app.get("/")
    def news() -> EventStream:
        return EventStream(event("plum", id="1") for _ in range(1))

    if world == "wsgi":
        with (
            httpx.Client(
                transport=httpx.WSGITransport(app=app), base_url="http://a.example"
            ) as one,
            connect_sse(one, "GET", "/") as source,
        ):
            assert [found.data for found in source.iter_sse()] == ["plum"]
        return

    import anyio
    from httpx_sse import aconnect_sse

    async def read() -> list[str]:
        transport = httpx.ASGITransport(app=app)
        async with (
            httpx.AsyncClient(transport=transport, base_url="http://a.example") as client,
            aconnect_sse(client, "GET", "/") as source,
        ):
            return [found.data async for found in source.aiter_sse()]

    assert anyio.run(read, backend=world) == ["plum"]


@works("python-socketio", "asyncio", what="both directions")
def socketio(world: World) -> None:
    import socketio

    served = ("uvicorn", "tests.works_with.talk:app", "--port", "{port}")
    with serving(*served) as url, socketio.SimpleClient() as client:
        client.connect(url)
        client.emit("say", "plum")
        assert client.receive(timeout=10) == ["heard", "plum"]


LOCUST = """
from locust import HttpUser, task

class Guest(HttpUser):
    @task
    def pie(self):
        assert self.client.get("/pies/1").text == "pie 1"
        self.environment.runner.quit()
"""


@works("locust", "asyncio")
def locust(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(*SERVED, path="/pies/1") as url:
        file = Path(folder, "locustfile.py")
        file.write_text(LOCUST)
        options = ["--headless", "-u", "2", "-H", url, "--exit-code-on-error", "1"]
        command = [sys.executable, "-m", "locust", "-f", str(file), "--only-summary", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert "/pies/1" in done.stderr + done.stdout, done


@works("playwright", "asyncio", what="a form in Chromium")
def playwright(world: World) -> None:
    import shutil

    from playwright.sync_api import sync_playwright

    served = ("uvicorn", "tests.works_with.talk:app", "--port", "{port}")
    with serving(*served) as url, sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.goto(url)
        page.fill("input[name=pie]", "plum")
        page.click("button")
        assert page.inner_text("body") == "baked plum"
        browser.close()


TESTS = """
import pytest, pytest_asyncio
from micropie import App
from micropie.testing import AsyncTestClient, TestClient

app = App()
app.get("/")(lambda: "hello")

@pytest_asyncio.fixture
async def client():
    async with AsyncTestClient(app) as client:
        yield client

@pytest.mark.asyncio
async def test_by_asyncio(client):
    assert (await client.get("/")).text == "hello"

@pytest.mark.anyio
async def test_by_anyio(): pass

def test_a_client():
    with TestClient(app) as client:
        assert client.get("/").text == "hello"
"""


@works("pytest-asyncio", "asyncio", what="with anyio's plugin and xdist")
def pytest_plugins(world: World) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_pies.py").write_text(TESTS)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-n",
            "2",
            "-p",
            "no:cacheprovider",
            folder,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
        assert done.returncode == 0, done.stdout
        assert " passed" in done.stdout
