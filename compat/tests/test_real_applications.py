"""Applications that others wrote, unchanged but for the module that they import."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from urllib.parse import urlencode

import pytest

from compat.tests.asking import basic, upload
from tests.servers.harness import Answer, Server, serving
from tests.support.commands import ended

pytestmark = pytest.mark.processes

SERVERS = ["uvicorn", "gunicorn-gthread"]
IN_ANN = {"Authorization": basic("ann", "xyz")}


def wheel(name: str, version: str) -> bytes:
    """Return a wheel with one module, the same bytes each time."""
    information = f"{name}-{version}.dist-info"
    packed = io.BytesIO()
    contents = {
        f"{name}.py": f"version = {version!r}\n",
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/RECORD": "",
    }
    with zipfile.ZipFile(packed, "w") as archive:
        for path, content in contents.items():
            archive.writestr(zipfile.ZipInfo(path), content)  # a bare path would have the time
    return packed.getvalue()


@pytest.fixture(scope="module", params=SERVERS)
def index(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A pypiserver with one package."""
    packages = tmp_path_factory.mktemp("packages")
    (packages / "first-1.0-py3-none-any.whl").write_bytes(wheel("first", "1.0"))
    environ = {"COMPAT_PACKAGES": str(packages)}
    with serving("compat.tests.real_pypiserver:app", environ=environ) as server_of:
        yield server_of(request.param)


def put(index: Server, name: str, version: str, headers: dict[str, str]) -> int:
    """Upload a package as twine does and return the status."""
    content = wheel(name, version)
    ask = upload(
        "/",
        (":action", None, "", b"file_upload"),
        ("protocol_version", None, "", b"1"),
        ("name", None, "", name.encode()),
        ("version", None, "", version.encode()),
        ("filetype", None, "", b"bdist_wheel"),
        ("sha256_digest", None, "", hashlib.sha256(content).hexdigest().encode()),
        ("content", f"{name}-{version}-py3-none-any.whl", "application/octet-stream", content),
    )
    assert not callable(ask.headers)
    return index.request(ask.method, ask.target, {**ask.headers, **headers}, ask.body).status


def test_pip_downloads_from_pypiserver(index: Server, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "--isolated",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "download",
    ]
    options = [
        "--no-deps",
        "--index-url",
        f"http://127.0.0.1:{index.port}/simple/",
        "--dest",
        str(tmp_path),
        "first",
    ]
    done = ended(*command, *options)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["first-1.0-py3-none-any.whl"]


def test_pypiserver_accepts_an_upload_and_serves_it(index: Server) -> None:
    assert put(index, "second", "2.0", {}) == 401
    assert put(index, "second", "2.0", {"Authorization": basic("ann", "wrong")}) == 403
    assert put(index, "second", "2.0", IN_ANN) == 200
    assert put(index, "second", "2.0", IN_ANN) == 409
    found = index.request("GET", "/simple/second/").body
    assert b"/packages/second-2.0-py3-none-any.whl#sha256=" in found
    given = index.request("GET", "/packages/second-2.0-py3-none-any.whl").body
    assert given == wheel("second", "2.0")


def test_pypiserver_s_pages_work(index: Server) -> None:
    welcome = index.request("GET", "/")
    assert welcome.status == 200
    assert b"pypiserver" in welcome.body
    simple = index.request("GET", "/simple/")
    assert (simple.status, b'<a href="first/">' in simple.body) == (200, True)
    found = index.request("GET", "/simple/First/").header("Location")
    assert found == f"http://127.0.0.1:{index.port}/simple/first/"
    page = index.request("GET", "/simple/first/")
    assert b"/packages/first-1.0-py3-none-any.whl#sha256=" in page.body
    assert index.request("GET", "/simple/none/").status == 404
    assert index.request("GET", "/health").body == b"Ok"
    assert b'"1.0"' in index.request("GET", "/first/json").body
    package = index.request("GET", "/packages/first-1.0-py3-none-any.whl")
    assert (package.status, package.body) == (200, wheel("first", "1.0"))
    part = index.request("GET", "/packages/first-1.0-py3-none-any.whl", {"Range": "bytes=0-1"})
    assert (part.status, part.body) == (206, b"PK")


def test_pypiserver_removes_a_package(index: Server) -> None:
    assert put(index, "third", "3.0", IN_ANN) == 200
    ask = upload(
        "/",
        (":action", None, "", b"remove_pkg"),
        ("name", None, "", b"third"),
        ("version", None, "", b"3.0"),
    )
    assert not callable(ask.headers)
    assert index.request("POST", "/", {**ask.headers, **IN_ANN}, ask.body).status == 200
    assert index.request("GET", "/packages/third-3.0-py3-none-any.whl").status == 404


@pytest.fixture(scope="module", params=SERVERS)
def glances(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The web interface of Glances; it writes its log in its user's home."""
    environ = {"HOME": str(tmp_path_factory.mktemp("home"))}
    with serving("compat.tests.real_glances:app", environ=environ) as server_of:
        yield server_of(request.param)


def test_glances_pages_work(glances: Server) -> None:
    for path in ("/", "/5"):
        page = glances.request("GET", path)
        assert (page.status, page.header("Content-Type")) == (200, "text/html; charset=UTF-8")
        assert page.header("Access-Control-Allow-Origin") == "*"
        assert b"Glances" in page.body
    script = glances.request("GET", "/glances.js")
    assert (script.status, script.header("Content-Length")) == (200, str(len(script.body)))
    assert (
        glances.request("GET", "/glances.js", {"If-None-Match": script.header("ETag") or ""}).status
        == 304
    )
    assert glances.request("GET", "/none.txt").status == 404
    assert glances.request("GET", "/../__init__.py").status in (400, 403, 404)


def test_glances_api_returns_figures(glances: Server) -> None:
    assert glances.request("GET", "/api/3/status").body == b"Active"
    plugins = glances.request("GET", "/api/3/pluginslist")
    assert plugins.header("Content-Type") == "application/json; charset=utf-8"
    assert "mem" in json.loads(plugins.body)
    packed = glances.request("GET", "/api/3/mem", {"Accept-Encoding": "deflate"})
    assert packed.header("Content-Encoding") == "deflate"
    assert json.loads(zlib.decompress(packed.body))["total"] > 0
    assert list(json.loads(glances.request("GET", "/api/3/mem/total").body)) == ["total"]
    assert glances.request("GET", "/api/3/none").status == 400
    assert glances.request("GET", "/api/3/mem/none").status == 404
    assert glances.request("POST", "/api/3/mem").status == 405


# under WSGI, CherryPy's way, nothing is translated
@pytest.fixture(scope="module", params=["uvicorn"])
def backups(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """The site rdiffweb, whose only user has the repositories that its package brings for tests."""
    data = tmp_path_factory.mktemp("data")
    (data / "repositories").mkdir()
    with (
        as_file(files("rdiffweb") / "tests/testcases.tar.gz") as packed,
        tarfile.open(packed) as archive,
    ):
        archive.extractall(data / "repositories", filter="data")
    with serving("compat.tests.real_rdiffweb:app", environ={"COMPAT_DATA": str(data)}) as server_of:
        server = server_of(request.param)
        browser = Browser(server)
        browser.log_in()
        directory = {"username": "admin", "user_root": str(data / "repositories"), "role": "0"}
        assert browser.post("/admin/users/edit/admin", directory).status == 303
        assert browser.post("/prefs/general", {"action": "update_repos"}).status == 303
        yield server


class Browser:
    """A client of rdiffweb that keeps its cookie."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cookie = ""

    def send(
        self, method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        reply = self.server.request(
            method, target, {"Cookie": self.cookie, **(headers or {})}, body
        )
        cookie = reply.header("Set-Cookie")
        if cookie:
            self.cookie = cookie.partition(";")[0]
        return reply

    def get(self, target: str, **headers: str) -> Answer:
        return self.send(
            "GET", target, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def post(self, target: str, fields: dict[str, str]) -> Answer:
        kind = "application/x-www-form-urlencoded"
        return self.send("POST", target, {"Content-Type": kind}, urlencode(fields).encode())

    def log_in(self) -> None:
        refused = self.post("/login/", {"login": "admin", "password": "wrong"})
        assert (refused.status, b"Invalid username or password" in refused.body) == (200, True)
        before = self.cookie
        assert self.post("/login/", {"login": "admin", "password": "admin-of-tests"}).status == 303
        assert self.cookie != before, "a session gets another id with the log-in"


def test_rdiffweb_requires_a_login(backups: Server) -> None:
    browser = Browser(backups)
    base = f"http://127.0.0.1:{backups.port}"
    page = browser.get("/")
    assert (page.status, page.header("Location")) == (303, f"{base}/login/")
    assert browser.get("/admin/users/").status == 303
    assert browser.get("/api/currentuser/").status == 401
    browser.log_in()
    assert browser.get("/").header("Location") == f"{base}/home/admin"
    assert browser.post("/logout", {"logout": "1"}).status == 303
    assert browser.get("/home/admin/").header("Location") == f"{base}/login/"


def test_rdiffweb_s_pages_work(backups: Server) -> None:
    browser = Browser(backups)
    browser.log_in()
    home = browser.get("/home/admin/")
    assert (home.status, home.header("Content-Type")) == (200, "text/html;charset=utf-8")
    assert home.header("Cache-Control") == "no-cache, no-store, must-revalidate, max-age=0"
    assert b"/browse/admin/broker-repo" in home.body
    for path in (
        "/prefs/general",
        "/prefs/notification",
        "/prefs/session",
        "/admin/sysinfo/",
        "/admin/session/",
    ):
        assert browser.get(path).status == 200, path
    packed = browser.get("/admin/users/", Accept_Encoding="gzip")
    assert packed.header("Content-Encoding") == "gzip"
    assert b"admin" in zlib.decompress(packed.body, wbits=31)
    fields = {"username": "ann", "password": "a-long-password-of-tests", "action": "add"}
    assert browser.post("/admin/users/", fields).status == 303
    again = browser.post("/admin/users/", fields)
    assert (again.status, b"already exists" in again.body) == (200, True)
    missing = browser.get("/none")
    assert (missing.status, b"404 Not Found" in missing.body) == (404, True)
    style = browser.get("/static/main.css")
    assert (style.status, style.header("Content-Type")) == (200, "text/css;charset=utf-8")
    icon = browser.get("/favicon.ico")
    assert (icon.status, icon.header("Content-Length")) == (200, str(len(icon.body)))
    found = browser.get("/favicon.ico", If_Modified_Since=icon.header("Last-Modified") or "").status
    assert found == 304


def test_rdiffweb_shows_repositories(backups: Server) -> None:
    browser = Browser(backups)
    browser.log_in()
    assert b"Revisions" in browser.get("/browse/admin/testcases/").body
    assert browser.get("/history/admin/testcases").status == 200
    assert browser.get("/browse/admin/none/").status == 404
    # The names of files are bytes: in UTF-8, in Latin-1, and with escapes of rdiff-backup.
    names = browser.get("/browse/admin/testcases/").body
    assert b"/browse/admin/testcases/R%C3%A9pertoire%20Existant" in names
    inner = browser.get("/browse/admin/testcases/R%C3%A9pertoire%20Existant/")
    assert (inner.status, b"Fichier%20" in inner.body) == (200, True)
    assert browser.get("/browse/admin/testcases/DIR%EF%BF%BD/").status == 200


def test_rdiffweb_s_api_works(backups: Server) -> None:
    signed_in = {"Authorization": basic("admin", "admin-of-tests")}
    user = backups.request("GET", "/api/currentuser/", signed_in)
    assert (user.status, user.header("Content-Type")) == (200, "application/json")
    assert json.loads(user.body)["username"] == "admin"
    repositories = json.loads(backups.request("GET", "/api/currentuser/repos/", signed_in).body)
    assert {each["name"] for each in repositories} == {"broker-repo", "testcases"}
    kind = {"Content-Type": "application/json", **signed_in}
    changed = backups.request(
        "POST", "/api/currentuser/", kind, json.dumps({"fullname": "Ann"}).encode()
    )
    assert changed.status == 200
    found = json.loads(backups.request("GET", "/api/currentuser/", signed_in).body)["fullname"]
    assert found == "Ann"
    refused = backups.request(
        "POST", "/api/currentuser/tokens/", kind, b'{"name": "t", "scope": ["all"]}'
    )
    assert refused.status == 400
    assert json.loads(refused.body)["message"] == "Token name: Token name too short"
    assert backups.request("DELETE", "/api/currentuser/", signed_in).status == 405
    wrong = {"Authorization": basic("admin", "wrong")}
    assert backups.request("GET", "/api/currentuser/", wrong).status == 401
