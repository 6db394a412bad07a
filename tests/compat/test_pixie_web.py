"""``micropie.compat.pixie_web``: a program for pixie_web runs as it is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from micropie import App, SetupError
from micropie.compat import pixie_web
from micropie.compat.pixie_web import Response, RouteType, Template, proc_env, route, static_file
from micropie.testing import TestClient
from tests.conftest import MakeClient
from tests.support.commands import serving_command
from tests.support.ports import free_port

PROGRAM = """
from micropie.compat.pixie_web import route, run, Response, RouteType, proc_env


@route("/", RouteType.sync)
def index(env):
    return Response(f"Hello world from process type {proc_env.proc_type}")


@route("/async", RouteType.asnc)
async def index_async(env):
    return Response(f"Hello world (async) from process type {proc_env.proc_type}")


@route("/cpu", RouteType.pool)
def cpu_bound(env):
    return Response(f"Hello world (CPU-bound) from process type {proc_env.proc_type}")


@route("/cpu/<name>")
def stream(env, name):
    yield f"{env.verb} {name} "
    yield f"{env.params['a']}"


if __name__ == "__main__":
    run(port=PORT, workers=1)
"""


def test_the_documents_program(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.replace("PORT", str(free_port())))
    with serving_command(tmp_path, "program.py") as server:
        assert server.get("/") == "Hello world from process type main"
        assert server.get("/async") == "Hello world (async) from process type main"
        assert server.get("/cpu") == "Hello world (CPU-bound) from process type pool"
        assert server.get("/cpu/pie?a=1") == "GET pie 1"
        server.end()


@pytest.fixture
def client(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    app = App()
    monkeypatch.setattr(pixie_web, "app", app)

    @route("/note/<number>", RouteType.sync, "POST")
    def note(env: pixie_web.Env, number: str) -> Response:
        return Response(
            f"{env.verb} {number} {env.form['text']} {env.path}",
            201,
            "text/plain",
            {"X-Pie": "apple"},
        )

    @route("/both", RouteType.asnc, ["GET", "POST"])
    async def both(env: pixie_web.Env) -> str:
        return f"{env.params} {proc_env.proc_type}"

    return make_client(app)


def test_forms_and_methods(client: TestClient) -> None:
    answer = client.post("/note/7", data={"text": "a <b>"})
    assert (answer.status_code, answer.text) == (201, "POST 7 a <b> /note/7")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Pie"] == "apple"
    assert client.get("/note/7").status_code == 405
    assert client.get("/both?a=1&a=2").text == "{'a': '1'} main"
    assert client.post("/both").status_code == 200


def test_a_type_that_does_not_fit_fails_at_once() -> None:
    with pytest.raises(
        SetupError, match=r"index: write RouteType.sync or RouteType.pool above def"
    ):

        @route("/", RouteType.asnc)
        def index(env: object) -> None: ...

    with pytest.raises(SetupError, match=r"other: write RouteType.asnc above async def"):

        @route("/")
        async def other(env: object) -> None: ...


def test_files_and_templates(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<h1>{title}</h1>")
    page = Template("page.html", str(tmp_path))
    fresh = Template("page.html", str(tmp_path), cached=False)
    assert page.render(title="a <b>") == "<h1>a &lt;b&gt;</h1>"
    (tmp_path / "page.html").write_text("<h2>{title}</h2>")
    assert (page.render(title="c"), fresh.render(title="c")) == ("<h1>c</h1>", "<h2>c</h2>")

    app = App()

    @app.get("/file/<name>")
    def file(name: str) -> object:
        return static_file(name, str(tmp_path))

    client = make_client(app)
    assert client.get("/file/page.html").text == "<h2>{title}</h2>"
    assert client.get("/file/..%2fpage.html").status_code == 404


def test_outside_of_a_request_it_is_the_main_process() -> None:
    code = "from micropie.compat.pixie_web import proc_env; print(proc_env.proc_type)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "main\n"
