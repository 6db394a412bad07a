"""The tracker of ``examples/``: its pages, its API and its commands, and behind nginx below a
prefix.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stdout
from html import unescape
from itertools import count
from pathlib import Path

import httpx2 as httpx
import pytest

from examples.tracker.app import Settings, make_app
from micropie.cli.main import main
from micropie.testing import TestClient
from tests.servers.test_deployment import AROUND, ROOT, block, program, replaced, running
from tests.support.clients import MakeClient
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.processes

MODULE = "examples.tracker.app"
ADDRESSES = count(1)
Visit = Callable[[str], TestClient]


def command(*arguments: str) -> str:
    """Run a command of ``micropie`` and return what it prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        assert main(arguments) == 0
    return printed.getvalue()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Return a folder that the commands have filled, and a token for the API."""
    folder = tmp_path_factory.mktemp("tracker")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKER_FOLDER", str(folder))
        patch.setenv("MICROPIE_APP", f"{MODULE}:make_app")
        command("init-db", "--demo")
        command("add-user", "ann", "--password", "apple pie", "--admin")
        command("add-user", "bob", "--password", "plum pie")
        return folder, command("new-token", "ann").strip()


@pytest.fixture
def visit(filled: tuple[Path, str], tmp_path: Path, make_client: MakeClient) -> Visit:
    """Return ``visit(name)``, which makes a client that is logged in, or nobody's with an empty
    name.
    """
    shutil.copytree(filled[0], tmp_path, dirs_exist_ok=True)
    app = make_app(Settings(folder=tmp_path, hosts=["testserver"]))
    # the limit of log-ins holds for each, in the whole process
    address = f"192.0.2.{next(ADDRESSES)}"

    def visit(name: str) -> TestClient:
        client = make_client(app, follow_redirects=True, client=(address, 1))
        if name:
            client.login(user=name)
        return client

    return visit


def said(page: httpx.Response) -> list[str]:
    return [
        unescape(sentence)
        for sentence in re.findall(r'role="(?:status|alert)">([^<]*)<', page.text)
    ]


def test_users_log_in_to_the_tracker(visit: Visit) -> None:
    client = visit("")
    page = client.get("/projects/pies?page=1")
    assert (page.url.path, page.url.query) == ("/account/login", b"back=%2Fprojects%2Fpies")
    wrong = client.post_form(str(page.url), {"name": "<ann>", "password": "plum"})
    assert (wrong.status_code, said(wrong)) == (422, ["Name or password is wrong."])
    assert 'value="&lt;ann&gt;"' in wrong.text
    assert "plum" not in wrong.text
    right = client.post_form(str(page.url), {"name": "ann", "password": "apple pie"})
    assert (right.url.path, said(right)) == ("/projects/pies", ["Welcome, ann!"])
    assert client.get("/").text.count("Pies and cakes") == 1
    assert client.post_form("/", {}).url.path == "/account/login"  # the layout's form logs out
    assert client.get("/").url.path == "/account/login"
    fields = {"name": "ann", "password": "plum", "back": "https://evil.example/"}
    here = {"Sec-Fetch-Site": "same-origin"}
    assert (
        client.post(
            "/account/login", data={**fields, "password": "apple pie"}, headers=here
        ).status_code
        == 400
    )
    tries = [
        client.post("/account/login", data={"name": "ann"}, headers=here).status_code
        for _ in range(10)
    ]
    assert tries[-1] == 429


def test_an_issue_can_be_opened_and_changed(visit: Visit) -> None:
    client = visit("ann")
    assert 'name="closed"' not in client.get("/projects/pies/new").text
    typed = {
        "title": "No",
        "text": "<b>pie</b>",
        "priority": "high",
        "due": "soon",
        "labels": ["bug", "question"],
    }
    wrong = client.post_form("/projects/pies/new", typed)
    assert wrong.status_code == 422
    assert said(wrong) == [
        "Please use at least 3 characters.",
        "Please enter a date such as 2026-01-31.",
    ]
    for kept in (
        'value="No"',
        "&lt;b&gt;pie",
        "<option selected>high",
        'value="soon"',
        'value="question" checked',
    ):
        assert kept in wrong.text
    page = client.post_form(
        "/projects/pies/new", {**typed, "title": "No <pie>", "due": "2026-12-24"}
    )
    assert (page.url.path, said(page)) == ("/issues/1", ["Issue 1 is open."])
    for shown in ("1: No &lt;pie&gt;", "bug, question, until 2026-12-24", "by ann in"):
        assert shown in page.text
    form = client.get("/issues/1/edit")
    for kept in (
        'value="No &lt;pie&gt;"',
        'value="2026-12-24"',
        'value="bug" checked',
        'name="closed" type="checkbox">',
    ):
        assert kept in form.text
    changed = client.post_form(
        "/issues/1/edit",
        {"title": "No pie", "priority": "low", "text": "", "labels": ["bug"], "closed": "on"},
    )
    assert said(changed) == ["Saved."]
    assert "low, bug, until 2026-12-24, closed" in changed.text
    assert "(0 open)" in client.get("/").text
    assert "1: No pie" not in client.get("/projects/pies").text
    assert "1: No pie" in client.get("/projects/pies?closed=true").text
    assert [
        client.get(path).status_code
        for path in ("/issues/2", "/projects/cakes", "/projects/pies?page=2")
    ] == [404] * 3
    assert client.get("/cgi-bin/bug.cgi/1").url.path == "/issues/1"


def test_open_pages_get_new_comments(visit: Visit) -> None:
    client = visit("ann")
    client.post_form("/projects/pies/new", {"title": "No pie", "priority": "low", "text": ""})
    news = re.findall(r'data-news="([^"]+)"', client.get("/issues/1").text)[0]
    with client.sse(news) as events:
        page = client.post_form("/issues/1", {"text": "<b>Which</b> pie?"})
        assert next(iter(events)).json() == {"id": 1, "author": "ann", "text": "<b>Which</b> pie?"}
    assert (page.url.path, page.url.fragment) == ("/issues/1", "comment-1")
    assert "&lt;b&gt;Which&lt;/b&gt; pie?" in page.text
    empty = client.post_form("/issues/1", {"text": ""})
    assert (empty.status_code, said(empty)) == (422, ["Please fill in this field."])
    assert visit("").get(news).status_code == 403


def test_files_can_be_attached_to_issues(visit: Visit) -> None:
    client = visit("bob")
    client.post_form("/projects/pies/new", {"title": "No pie", "priority": "low", "text": ""})
    page = b"<script>alert(1)</script>"
    for _ in range(2):
        shown = client.post_form(
            "/issues/1", {}, files={"file": ("../a pie.html", page, "text/html")}
        )
    assert said(shown) == ["a pie.html is attached (25 bytes)."]
    links = re.findall(r'href="([^"]+)">a pie.html', shown.text)
    assert len({*links}) == 2
    answer = client.get(links[1])
    assert (answer.content, answer.headers["content-disposition"]) == (
        page,
        'attachment; filename="a pie.html"',
    )
    empty = client.post("/issues/1/attachments", headers={"Sec-Fetch-Site": "same-origin"})
    assert (empty.status_code, said(empty)) == (422, ["Please choose a file."])
    assert visit("").get(links[0]).url.path == "/account/login"


def test_administrators_manage_projects(visit: Visit) -> None:
    client = visit("ann")
    assert "ann (administrator)" in client.get("/admin").text
    wrong = client.post_form("/admin", {"key": "Pies!", "title": "Pi"})
    assert said(wrong) == [
        "Small letters, digits and hyphens, please.",
        "Please use at least 3 characters.",
    ]
    assert said(client.post_form("/admin", {"key": "pies", "title": "Pies"})) == [
        "This key is taken."
    ]
    assert said(client.post_form("/admin", {"key": "cakes", "title": "Cakes"})) == [
        "Cakes is there."
    ]
    assert client.get("/projects/cakes").status_code == 200
    assert visit("bob").get("/admin").status_code == 403
    assert visit("").get("/admin/nothing").url.path == "/account/login"


def test_the_tracker_s_api_manages_issues(visit: Visit, filled: tuple[Path, str]) -> None:
    client = visit("ann")  # in a browser: its cookie does no harm
    client.headers["Authorization"] = f"Bearer {filled[1]}"
    made = client.post(
        "/api/v1/projects/pies/issues", json={"title": "No pie", "due": "2026-12-24"}
    )
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/issues/1")
    issue = client.get(made.headers["location"]).json()
    assert issue == made.json()
    assert issue == {
        "title": "No pie", "text": "", "priority": "normal", "due": "2026-12-24", "labels": [], "closed": False,
        "number": 1, "project": "pies", "author": "ann",
    }  # fmt: skip
    wrong = client.post("/api/v1/projects/pies/issues", json={"title": "No", "labels": ["pie"]})
    assert [(one["field"], one["detail"]) for one in wrong.json()["errors"]] == [
        ("title", "Please use at least 3 characters."),
        ("labels[0]", "Please choose one of bug, feature, question."),
    ]
    listed = client.get("/api/v1/projects/pies/issues")
    assert (listed.json(), listed.headers["link"][:6]) == ([issue], "</api/")
    assert client.get("/api/v1/issues/7").json()["detail"] == "There is no such issue."
    assert (
        client.get("/api/v1/issues/1", headers={"Authorization": "Bearer guess"}).status_code == 401
    )
    document = visit("").get("/api/openapi.json").json()
    assert (document["info"]["title"], [*document["paths"]]) == (
        "Tracker",
        ["/v1/issues/{number}", "/v1/projects/{key}/issues"],
    )
    assert visit("").get("/api/docs").status_code == 200


def test_micropie_s_commands_work_with_the_tracker(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TRACKER_FOLDER", str(tmp_path))
    assert command("check", MODULE) == "0 findings\n"
    routes = command("routes", f"{MODULE}:make_app").splitlines()
    assert any(
        re.match(r"GET,POST +/issues/<number:int>/edit +issues\.edit\(issue: Issue, ", line)
        for line in routes
    )
    assert [path.name for path in tmp_path.iterdir()] == []  # nothing is made before the start


SERVERS = {
    "uvicorn": ("uvicorn --no-proxy-headers --root-path /tracker --uds", "http://tracker/"),
    "gunicorn": (
        "gunicorn --no-control-socket -k gthread --threads 4 --forwarder-headers none --bind",
        "http://tracker",
    ),
}


@pytest.fixture(params=SERVERS)
def prefixed(request: pytest.FixtureRequest, filled: tuple[Path, str]) -> Iterator[str]:
    """Yield the address of nginx, with the documentation's file, that passes ``/tracker/`` on to a
    server.
    """
    server, upstream = SERVERS[request.param]
    nginx, port = program("nginx"), free_port()
    with ExitStack() as stack:
        # a short name, as that of a socket has to be
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shutil.copytree(filled[0], folder, dirs_exist_ok=True)
        bind = (
            f"unix:{folder}/server.sock" if request.param == "gunicorn" else f"{folder}/server.sock"
        )
        variables = {
            "TRACKER_FOLDER": str(folder),
            "TRACKER_HOSTS": "blog.example.com",
            "TRACKER_PROXIES": "unix",
        }
        if request.param == "gunicorn":
            variables["SCRIPT_NAME"] = "/tracker"
        log = stack.enter_context((folder / "log").open("wb"))
        started = [sys.executable, "-m", *server.split(), bind, f"{MODULE}:app"]
        stack.enter_context(running(started, ROOT, variables, log))
        site = replaced(
            block("nginx.md", "nginx"),
            ("/run/blog/server.sock", f"{folder}/server.sock"),
            ("    listen 80;", f"    listen 127.0.0.1:{free_port()};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{port};"),
            ("location / {", "location /tracker/ {"),
            ("proxy_pass http://blog;", f"proxy_pass {upstream};"),
            ("upstream blog", "upstream tracker"),
        )
        site = re.sub(r"^ *ssl_certificate.*\n", "", site, flags=re.MULTILINE)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(folder=folder, site=site, user=user))
        stack.enter_context(
            running([nginx, "-c", f"{folder}/nginx.conf", "-p", str(folder)], folder, {}, log)
        )
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/tracker/account/login"))
        yield address
        assert "Traceback" not in (folder / "log").read_text()


HOST = {"Host": "blog.example.com"}


def answers(url: str) -> bool:
    try:
        return httpx.get(url, headers=HOST, timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        return False


def test_the_tracker_works_below_a_prefix_behind_nginx(prefixed: str) -> None:
    with httpx.Client(base_url=prefixed, headers=HOST, timeout=PATIENCE) as client:

        def send(path: str, data: dict[str, str]) -> str:
            sent = client.post(path, data=data, headers={"Origin": f"http://{HOST['Host']}"})
            assert sent.status_code == 303, sent.text
            return sent.headers["location"]

        assert client.get("/tracker").headers["location"].endswith("/tracker/")
        first = client.get("/tracker/projects/pies").headers["location"]
        assert first == "/tracker/account/login?back=%2Ftracker%2Fprojects%2Fpies"
        back = unescape(re.findall(r'name="back" value="([^"]+)"', client.get(first).text)[0])
        assert (
            send("/tracker/account/login", {"name": "ann", "password": "apple pie", "back": back})
            == "/tracker/projects/pies"
        )
        assert [cookie.path for cookie in client.cookies.jar] == ["/tracker"]
        issue = send("/tracker/projects/pies/new", {"title": "No pie"})
        page = client.get(issue).text
        for link in re.findall(r'(?:href|src|action)="([^"]*)"', page):
            assert link.startswith("/tracker/") or link == "/tracker", link
        assert (
            client.get(re.findall(r'src="([^"]+)"', page)[0])
            .headers["cache-control"]
            .endswith("immutable")
        )
        assert client.get("/tracker/cgi-bin/bug/1").headers["location"] == issue
        assert client.get("/tracker/api/openapi.json").json()["servers"] == [
            {"url": "/tracker/api"}
        ]
        with client.stream("GET", re.findall(r'data-news="([^"]+)"', page)[0]) as news:
            lines = news.iter_lines()
            next(lines)  # a comment: the subscription is there
            send(f"{issue}/comments", {"text": "Which?"})
            assert (
                next(line for line in lines if line.startswith("data"))
                == 'data: {"id":1,"author":"ann","text":"Which?"}'
            )
