"""``micropie_compat.pixie_web``: a program for pixie_web runs as it is."""

from __future__ import annotations

import sys
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from micropie import App, SetupError
from micropie.testing import TestClient
from micropie_compat import pixie_web
from micropie_compat.pixie_web import (
    Literal,
    Response,
    RouteType,
    Template,
    Unsafe,
    header,
    proc_env,
    route,
    static_file,
)
from tests.support.clients import MakeClient
from tests.support.commands import Running, ended, serving_command
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE

PROGRAM = """
from micropie_compat.pixie_web import route, run, Response, RouteType, proc_env


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


@pytest.mark.processes
def test_the_documented_pixie_web_program_runs(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.replace("PORT", str(free_port())))
    with serving_command(tmp_path, "program.py") as server:
        assert server.get("/") == "Hello world from process type main"
        assert server.get("/async") == "Hello world (async) from process type main"
        assert server.get("/cpu") == "Hello world (CPU-bound) from process type pool"
        assert server.get("/cpu/pie?a=1") == "GET pie 1"
        server.end()


BOARD = """
import os
import shelve
import signal

from micropie_compat.pixie_web import (
    Literal, Response, RouteType, Template, cached_file, header, proc_env, route, run, server,
    simple_response, static_file
)

page = Template(filename="page.html", path="pages")


@route("/", RouteType.sync)
def index(env):
    with shelve.open("notes") as notes:
        return simple_response(page.render(notes=notes.get("all", []), notice=env.params.get("a")))


@route("/", RouteType.sync, "POST")
def add(env):
    with shelve.open("notes") as notes:
        notes["all"] = [*notes.get("all", []), env.form.get("text")]
        return simple_response("added", 201, headers={"X-Length": len(notes["all"])})


@route("/pool", action=("GET", "POST"))
def pool(env):
    return Response(f"{proc_env.proc_type.value} {os.getpid()}", cookies={"seen": 1})


@route("/thread", RouteType.sync_thread)
def thread(env):
    return Response("thread", code=203)


@route("/stream", RouteType.stream)
def stream(env):
    yield header()
    yield b"one "
    yield b"two"


@route("/file/<name>", RouteType.sync)
def file(env, name):
    return cached_file(name, "pages")


@route("/end", RouteType.sync)
def end(env):
    yield header(202, "text/plain", {"X-Note": 1})
    yield b"closed"
    server.close_server()


if __name__ == "__main__":
    run(port=PORT, workers=WORKERS)
"""
PAGE = """<ul>
    % for note in notes:
    <li>{{note}}{{! "<br>" }}</li>
    % end
</ul>
% if notice:
{{ notice }}
% else:
nothing
% end"""


@pytest.mark.processes
@pytest.mark.parametrize("workers", ["None", "1", "True"])
def test_a_program_for_the_latest_pixie_web_runs(tmp_path: Path, workers: str) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "page.html").write_text(PAGE)
    program = BOARD.replace("PORT", str(free_port())).replace("WORKERS", workers)
    (tmp_path / "program.py").write_text(program)
    with serving_command(tmp_path, "program.py") as server:
        assert server.get("/") == "<ul>\n</ul>\nnothing"
        added = asked(server, "/", b"text=%3Cb%3E")
        assert (added.status, added.headers["X-Length"]) == (201, "1")
        assert server.get("/?a=%3C") == "<ul>\n    <li>&lt;b&gt;<br></li>\n</ul>\n&lt;"
        pooled = asked(server, "/pool", b"")
        assert pooled.headers["Set-Cookie"].startswith("seen=1;")
        assert (pooled.read().split()[1] == str(server.process.pid).encode()) is (workers == "None")
        assert asked(server, "/thread").status == 203
        assert server.get("/stream") == "one two"
        assert server.get("/file/page.html") == PAGE
        ended = asked(server, "/end")
        assert (ended.status, ended.headers["X-Note"], ended.read()) == (202, "1", b"closed")
        assert ended.headers["Content-Type"].startswith("text/plain")
        server.process.wait(PATIENCE)


def asked(server: Running, path: str, data: bytes | None = None) -> Any:
    return urllib.request.urlopen(f"{server.url}{path}", data, timeout=PATIENCE)


@pytest.fixture
def client(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    app = App()
    app.middlewares.append(pixie_web.ReceiveBody())
    monkeypatch.setattr(pixie_web, "app", app)

    @route("/note/<number>", RouteType.sync, "POST")
    def note(env: pixie_web.Request, number: str) -> Response:
        return Response(
            f"{env.verb} {number} {(env.form or {})['text']} {env.path}",
            201,
            "text/plain",
            {"X-Pie": "apple"},
        )

    @route("/both", RouteType.asnc, ["GET", "POST"])
    async def both(env: pixie_web.Request) -> str:
        return f"{env.params} {proc_env.proc_type}"

    return make_client(app)


def test_pixie_web_handlers_get_forms_and_methods(client: TestClient) -> None:
    answer = client.post("/note/7", data={"text": "a <b>"})
    assert (answer.status_code, answer.text) == (201, "POST 7 a <b> /note/7")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Pie"] == "apple"
    assert client.get("/note/7").status_code == 405
    assert client.get("/both?a=1&a=2").text == "{'a': '1'} main"
    assert client.post("/both").status_code == 200


def test_a_route_type_that_does_not_match_the_function_is_refused() -> None:
    with pytest.raises(
        SetupError,
        match=r"index: for def functions, write RouteType.sync, sync_thread or pool in @route",
    ):

        @route("/", RouteType.asnc)
        def index(env: object) -> None: ...

    with pytest.raises(
        SetupError, match=r"other: for async def functions, write RouteType.asnc in @route"
    ):

        @route("/")
        async def other(env: object) -> None: ...


def test_the_request_has_the_attributes_of_pixie_web_s(client: TestClient) -> None:
    seen: list[Any] = []

    @route("/all/<name>", RouteType.sync, ("GET", "POST"))
    def sync(env: pixie_web.Request, name: str) -> str:
        assert env.method == env.verb  # a name of micropie's request
        seen.extend([env.params, env.verb, env.path, env.protocol, env.req, env.body, env.form])
        return f"{env.headers['HTTP_X_TOKEN']} {env.headers.get('CONTENT_TYPE')} {len(env.headers)}"

    @route("/async/<name>", RouteType.asnc, ("GET", "POST"))
    async def asnc(env: pixie_web.Request, name: str) -> str:
        seen.append(env.raw_data)
        return sync(env, name)

    @route("/thread/<name>", RouteType.sync_thread, ("GET", "POST"))
    def thread(env: pixie_web.Request, name: str) -> str:
        return sync(env, name)

    for kind in ("all", "async", "thread"):
        seen.clear()
        headers = {"X-Token": "secret", "Content-Type": "text/plain"}
        path = f"/{kind}/%C3%A9?a=1&b=%20"
        answer = client.post(path, content="é\n".encode(), headers=headers)
        assert answer.text.startswith("secret text/plain ")
        raw = seen.pop(0) if kind == "async" else b""
        assert raw.startswith(f"POST {path} HTTP/1.1\r\n".encode()) is (kind == "async")
        assert raw.endswith("\r\n\r\né\n".encode()) is (kind == "async")
        sent = "POST", path, "HTTP/1.1"
        assert seen == [{"a": "1", "b": " "}, *sent, sent, "é\n", None]
        seen.clear()
        assert client.get(f"/{kind}/a", headers={"X-Token": "b"}).text.startswith("b None ")
        assert [one for one in seen if not isinstance(one, bytes)][-2:] == ["", None]
        seen.clear()
        client.post(f"/{kind}/a", data={"text": "<b> &"}, headers={"X-Token": "b"})
        assert seen[-2:] == ["text=%3Cb%3E+%26", {"text": "<b> &"}]
        seen.clear()
        client.post(f"/{kind}/a", json={"text": "<b>"}, headers={"X-Token": "b"})
        assert seen[-2:] == ['{"text":"<b>"}', None]


def in_front(function: Any) -> Any:
    def wrapper(env: pixie_web.Request, name: str, *values: Any) -> Any:
        return function(env, name.upper(), *values)

    return wrapper


def test_decorators_may_be_below_route(client: TestClient) -> None:
    """They change the function's parameters, and may hide that it is async."""

    @route("/decorated/<name>", RouteType.asnc)
    @in_front
    async def page(env: pixie_web.Request, title: str) -> Response:
        return Response(f"{env.verb} {title}")

    @route("/again/<name>", RouteType.asnc)
    async def again(env: pixie_web.Request, name: str) -> Any:
        return await page(env, f"{name}!")

    route("/twice/<name>", RouteType.asnc)(again)
    assert client.get("/decorated/pie").text == "GET PIE"
    assert client.get("/again/pie").text == client.get("/twice/pie").text == "GET PIE!"


def test_cookies_survive_other_headers(client: TestClient) -> None:
    @route("/cookie", RouteType.sync)
    def cookie(env: pixie_web.Request) -> Response:
        response = Response("x", cookies={"seen": 1}, headers={"X-A": "1"})
        response.headers = {"X-B": "2"}
        response.cookies["other"] = "o"
        response.cookies["other"]["max-age"] = 60
        return response

    answer = client.get("/cookie")
    assert sorted(answer.headers.get_list("Set-Cookie")) == [
        "other=o; Max-Age=60",
        "seen=1; Path=/",
    ]
    assert (answer.headers["X-B"], "X-A" in answer.headers) == ("2", False)
    assert pixie_web.redirect("/there").headers["Location"] == "/there"


def test_a_response_may_be_returned_several_times(client: TestClient) -> None:
    welcome = Response("welcome", cookies={"seen": 1})
    route("/welcome", RouteType.sync)(lambda env: welcome)
    for _ in range(2):
        assert client.get("/welcome").headers.get_list("Set-Cookie") == ["seen=1; Path=/"]


def test_files_are_not_cached_by_proxies(make_client: MakeClient, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    app = App()
    app.get("/static")(lambda: static_file("a.txt", str(tmp_path), 5))
    app.get("/cached")(lambda: pixie_web.cached_file("a.txt", str(tmp_path)))
    client = make_client(app)
    assert client.get("/static").headers["Cache-Control"] == "private, max-age=5"
    assert client.get("/cached").headers["Cache-Control"] == "private, max-age=38400"


def test_a_simpletemplate_escapes_values() -> None:
    simple = pixie_web.SimpleTemplate("<h1>{{0}} {1}</h1>{{name}}")
    page = "<h1>&lt; <</h1>&amp;"
    assert simple.render("<", Literal("<"), name="&") == page


def test_file_templates_are_cached_unless_told_otherwise(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "page.html").write_text("<h1>{title}</h1>")
    page = Template("page.html", str(tmp_path))
    fresh = Template("page.html", str(tmp_path), cached=False)
    assert page.render(title="a <b>") == "<h1>a &lt;b&gt;</h1>"
    (tmp_path / "page.html").write_text("<h2>{title}</h2>")
    assert (page.render(title="c"), fresh.render(title="c")) == ("<h1>c</h1>", "<h2>c</h2>")

    (tmp_path / "whole.html").write_text("% include parts/inner.html\n{{title}}")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.html").write_text("% if title:\n  % include end.html\n% end")
    (tmp_path / "end.html").write_text("<hr>")
    monkeypatch.setattr(pixie_web, "TEMPLATE_PATH", str(tmp_path))
    assert Template(file="whole.html").render(title="d") == "<hr>\nd"
    whole = Template(file="whole.html", path=str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        whole.render(title="d")

    app = App()

    @app.get("/file/<name>")
    def file(name: str) -> object:
        return static_file(name, str(tmp_path))

    client = make_client(app)
    assert client.get("/file/page.html").text == "<h2>{title}</h2>"
    assert client.get("/file/..%2fpage.html").status_code == 404


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("{{a}} {{!a}} {{b}} {{c}} {{!c}}", "&lt; < < &lt; &lt;"),
        ("{a} {b} {c}", "&lt; < &lt;"),
        (".a {{ color: red }} {a}", ".a { color: red } &lt;"),
        ("% if 0:\nno\n% elif a:\nyes\n% else:\nno\n% end\n% x = 1\n{{x}}", "yes\n1"),
        ("% if 0:\nno\n% end\n% elif a:\nyes\n% end\n% else:\nno\n% end\nx", "yes\nx"),
        ("% for n in (1, 2):\n% if n == 1: continue\n% end\n{{n}}\n% end", "2"),
        ("% for n in (1, 2):\n% if n == 1: continue\n{{n}}\n% end", "2"),
        ("% try:\n% 1 / 0\n% except ZeroDivisionError:\nsafe\n% end", "safe"),
        ("<p>plain", "<p>plain"),
    ],
)
def test_text_can_be_a_template(text: str, page: str) -> None:
    values = {"a": "<", "b": Literal("<"), "c": Unsafe("<")}
    assert Template(text).render(**values) == page
    assert (Literal("<").esc, str(Literal(1)), Unsafe("<").data) == ("&lt;", "1", "<")


def test_a_response_can_be_changed(client: TestClient) -> None:
    @route("/odd", RouteType.asnc)
    async def odd(env: pixie_web.Request) -> Response:
        response = Response("Hello", headers=[("X-A", "b")])
        response.code = response.code + 100
        response.headers["X-Something-Happened"] = "Yes"
        return response

    answer = client.get("/odd")
    assert (answer.status_code, answer.headers["X-Something-Happened"]) == (300, "Yes")


def given(*chunks: object) -> Generator[object]:
    yield from chunks


def test_headers_set_before_a_process_runs_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pooled:
        class _exchange:  # noqa: N801
            is_pooled = True

    monkeypatch.setattr(pixie_web, "_current", Pooled)
    assert [*pixie_web._without_header(given(header(), b"a"))] == [b"a"]
    assert [*pixie_web._without_header(given(b"a", b"b"))] == [b"a", b"b"]
    assert [*pixie_web._without_header(given())] == []
    for one in (header(404), header(headers={"X-A": "b"})):
        with pytest.raises(SetupError, match=r"use RouteType\.sync_thread, or return"):
            pixie_web._without_header(given(one))


def test_a_pixie_web_server_is_an_application(client: TestClient) -> None:
    assert pixie_web.server.application is not pixie_web.app  # the fixture's
    assert pixie_web.server.run is pixie_web.run


@pytest.mark.processes
def test_outside_a_request_the_process_type_is_main() -> None:
    assert RouteType["sync_nothread"] is RouteType.sync
    code = "from micropie_compat.pixie_web import proc_env; print(proc_env.proc_type)"
    done = ended(sys.executable, "-c", code, check=True)
    assert done.stdout == "main\n"
